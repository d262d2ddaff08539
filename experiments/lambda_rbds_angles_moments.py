"""LaMbDA on treadmill running at three speeds: joint angles and moments.

Data:  Fukuchi et al. 2017 (PeerJ 5:e3298), 23 runners, three speeds, in
       `$DIFFAX_DATA/gait/rbds_running`; held out by subject, five folds. The
       task label is the speed.
Run:   python -m diffax.main --config=experiments/lambda_rbds_angles_moments.py
       python -m diffax.study --config=experiments/lambda_tables.py:table1,rbds
Cost:  `budget`, minutes of one CPU core.

The paper's tables are of walking at 27 speeds and inclines; its numbers do not
compare and are not printed beside these. Variants: as lambda_lorenz.
"""

import ml_collections

from experiments import lambda_lorenz


def get_config(variant: str = '') -> ml_collections.ConfigDict:
  """Return the run card; `variant` is a comma-separated list of names."""
  config = rbds(('angles', 'moments'))
  lambda_lorenz.apply(config, variant)
  return config


def rbds(modalities: tuple[str, ...]) -> ml_collections.ConfigDict:
  """Return a card of running: 3 s of both legs a window, about four cycles."""
  config = lambda_lorenz.base('rbds', modalities)
  config.data.update({
      'series': 'trials', 'stride': 150, 'split': 'subjects', 'fold': 0,
      'folds': 5,
  })
  return config
