"""LaMbDA on walking at 27 speeds and inclines: joint angles and moments.

Paper: Tables 1, 3, 4, 5; this file also holds what the gait cards share.
Data:  Embry et al. 2018, `InclineExperiment.mat` in `$DIFFAX_DATA/embry`,
       10.21227/gk32-e868, behind a free login; leave one subject out.
Run:   python -m diffax.main --config=experiments/lambda_embry_angles_moments.py
       python -m diffax.study --config=experiments/lambda_tables.py:table1
Cost:  the paper: 10 folds in about 10 hours of one RTX 4090. Not run here, the
       data are gated; lambda_rbds_* is the like on open data.

Variants: as lambda_lorenz.
"""

from collections.abc import Mapping

import ml_collections

from experiments import lambda_lorenz

PAPER = {
    'without alignment (paper)': {
        'angles|moments': {'MSE': 0.18, 'FID': 37.8, 'predictive MAE': 0.18},
        'moments|angles': {'MSE': 0.08, 'FID': 20.4, 'predictive MAE': 0.08},
    },
    'LaMbDA (paper)': {
        'angles|moments': {'MSE': 0.14, 'FID': 32.4, 'predictive MAE': 0.16},
        'moments|angles': {'MSE': 0.07, 'FID': 14.2, 'predictive MAE': 0.07},
    },
}


def get_config(variant: str = '') -> ml_collections.ConfigDict:
  """Return the run card; `variant` is a comma-separated list of names."""
  config = embry(('angles', 'moments'), PAPER)
  lambda_lorenz.apply(config, variant)
  return config


def embry(
    modalities: tuple[str, ...],
    paper: Mapping[str, Mapping[str, Mapping[str, float]]],
) -> ml_collections.ConfigDict:
  """Return a card of walking: two strides of 150 samples a window."""
  config = lambda_lorenz.base('embry', modalities)
  config.data.update({
      'stride': 150, 'split': 'subjects', 'fold': 0, 'folds': 10,
  })
  config.eval.paper = dict(paper)
  return config
