"""SkeletonDiffusion on FreeMan, at the sizes and schedule of the paper.

Paper: Curreli et al., CVPR 2025, Table 2.
Data:  FreeMan's keypoints3d under its own terms in `$DIFFAX_DATA/freeman`, and
       the published lists of slices and splits beside them:
       `python -m diffax.data prepare freeman`. 11,015 test segments.
Run:   python -m diffax.main --config=experiments/skeleton_freeman.py
Sizes: autoencoder 950,722 and denoiser 23,292,899 parameters.
Cost:  not measured here: this setting has not been trained, the data are gated.

Variants: those of skeleton_amass.
"""

import ml_collections

from experiments import skeleton_amass

PAPER = {
    'SkeletonDiffusion (paper, FreeMan)': skeleton_amass.printed(
        '0.374 0.457 7.424 0.506 0.508 6.732 3.166 7.58 0.51 9.64 0.66'
    ),
    'CoMusion (paper, FreeMan)': skeleton_amass.printed(
        '0.389 0.480 7.812 0.527 0.525 6.687 2.764 7.94 0.81 10.27 1.05'
    ),
    'Zero-Velocity (paper, FreeMan)': skeleton_amass.printed(
        '0.603 0.835 9.841 0.687 0.865 0.000 14.734 6.37 0.00 6.37 0.00'
    ),
}


def get_config(variant: str = '') -> ml_collections.ConfigDict:
  """Return the run card; `variant` is a comma-separated list of names."""
  config = skeleton_amass.get_config()
  config.data = {
      'name': 'freeman', 'root': config.data.get_ref('root'),
      'store': config.data.get_ref('store'), 'fps': 30, 'past_seconds': 0.5,
      'future_seconds': 2.0, 'train_stride': 10, 'train_jitter': 5,
      'test_first_seconds': 0.5, 'test_stride_seconds': 0.5,
      'options': {'protocol': 'published', 'upright': 'negate'},
  }
  config.system.update({'box_size': 1.5, 'encoder_layers': 1})
  config.autoencoder.epochs = 200
  config.diffusion.epochs = 200
  config.diffusion.optim.schedule.update({
      'hold': 30, 'every': 5, 'factor': 0.85, 'floor': 1e-4,
  })
  config.eval.update({'mm_threshold': 0.5, 'paper': PAPER})
  for name in filter(None, variant.split(',')):
    VARIANTS[name](config)
  return config


VARIANTS = skeleton_amass.VARIANTS
