"""SkeletonDiffusion of AMASS on 3DPW, which it has not seen.

Paper: Curreli et al., CVPR 2025, Tables 3 and 10.
Data:  to train, that of skeleton_amass; to evaluate, 3DPW's sequenceFiles in
       `$DIFFAX_DATA/3dpw`: `python -m diffax.data prepare 3dpw`. All its
       sequences are tested on, with both persons of each; 3,252 segments as
       published, which has one person of each and mirrors them:
       --config.eval.data.options.actors=last ...options.axes=released
Run:   python -m diffax.main --config=experiments/skeleton_3dpw.py
       python -m diffax.study --config=experiments/skeleton_tables.py:table3
       which starts from a trained run of Table 1.
Sizes: as skeleton_amass.
Cost:  not measured here: the data are gated.

Variants: those of skeleton_amass; `noisy` and `noisy_bounded` are Table 10.
"""

import ml_collections
from ml_collections import config_dict

from experiments import skeleton_amass

PAPER = {
    'SkeletonDiffusion (paper, 3DPW)': skeleton_amass.printed(
        '0.472 0.575 6.025 0.535 0.594 9.814 10.474 3.02 0.17 4.16 0.23'
    ),
    'CoMusion (paper, 3DPW)': skeleton_amass.printed(
        '0.477 0.570 6.830 0.540 0.587 11.404 7.093 4.01 0.38 5.54 0.50'
    ),
    'Zero-Velocity (paper, 3DPW)': skeleton_amass.printed(
        '0.755 1.011 7.294 0.777 1.013 0.000 40.695 0.00 0.00 0.00 0.00'
    ),
}


def get_config(variant: str = '') -> ml_collections.ConfigDict:
  """Return the run card; `variant` is a comma-separated list of names."""
  config = skeleton_amass.get_config()
  config.eval.data = {
      'name': '3dpw', 'test_first_seconds': 0.5, 'test_stride_seconds': 0.5,
      'options': {
          'body_model': config_dict.placeholder(str), 'actors': 'both',
          'axes': 'upright',
      },
  }
  # There is no training split of 3DPW to find neighbours in.
  config.eval.baselines = ('zero_velocity',)
  config.eval.paper = PAPER
  for name in filter(None, variant.split(',')):
    VARIANTS[name](config)
  return config


def smoke(config: ml_collections.ConfigDict) -> None:
  """Run everything small; other generated persons stand for 3DPW."""
  skeleton_amass.smoke(config)
  config.eval.data.update({'name': 'synthetic'})
  config.eval.data.options = {'persons': 6, 'seconds': 12.0, 'seed': 1}


VARIANTS = {**skeleton_amass.VARIANTS, 'smoke': smoke}
