"""SkeletonDiffusion on Human3.6M, at the sizes and schedule of the paper.

Paper: Curreli et al., CVPR 2025, Table 9.
Data:  Human3.6M's D3_Positions (.cdf), under your own licence, in
       `$DIFFAX_DATA/h36m`: `python -m diffax.data prepare h36m`. Train S1, S5,
       S6, S7 and S8; test S9 and S11; 5,168 segments.
Run:   python -m diffax.main --config=experiments/skeleton_h36m.py
Sizes: autoencoder 1,055,902 and denoiser 25,501,184 parameters.
Cost:  not measured here: this setting has not been trained, the data are gated.

FID is that of a classifier which is trained here, from zero states; the paper's
is another and draws its states, so their values do not compare.

Variants: those of skeleton_amass.
"""

import ml_collections

from experiments import skeleton_amass

PAPER = {
    'SkeletonDiffusion (paper, H36M)': skeleton_amass.printed(
        '0.344 0.450 5.556 0.487 0.512 7.249 4.178 3.90 0.16 4.96 0.21'
    ),
    'CoMusion (paper, H36M)': skeleton_amass.printed(
        '0.350 0.458 5.904 0.494 0.506 7.632 3.202 4.61 0.41 5.97 0.56'
    ),
    'Zero-Velocity (paper, H36M)': skeleton_amass.printed(
        '0.597 0.884 6.753 0.683 0.909 0.000 22.812 0.00 0.00 0.00 0.00'
    ),
}


def get_config(variant: str = '') -> ml_collections.ConfigDict:
  """Return the run card; `variant` is a comma-separated list of names."""
  config = skeleton_amass.get_config()
  config.data = {
      'name': 'h36m', 'root': config.data.get_ref('root'),
      'store': config.data.get_ref('store'), 'fps': 50, 'past_seconds': 0.5,
      'future_seconds': 2.0, 'train_stride': 10, 'train_jitter': 5,
      'test_first_seconds': 0.5, 'test_stride_seconds': 0.5,
      'options': {'s8': 'train'},
  }
  config.system.update({'box_size': 1.5, 'encoder_layers': 1})
  config.autoencoder.update({'epochs': 200, 'epoch_steps': 485})
  config.diffusion.epochs = 100
  config.diffusion.optim.schedule.update({
      'hold': 28, 'every': 2, 'factor': 0.85, 'floor': 1e-4,
  })
  config.eval.update({'mm_threshold': 0.5, 'paper': PAPER})
  config.eval.fid = {'steps': 1000}
  for name in filter(None, variant.split(',')):
    VARIANTS[name](config)
  return config


def smoke(config: ml_collections.ConfigDict) -> None:
  """Run everything small, on generated motion."""
  skeleton_amass.smoke(config)
  config.eval.fid = {'steps': 5}


VARIANTS = {**skeleton_amass.VARIANTS, 'smoke': smoke}
