"""SkeletonDiffusion on AMASS, at the sizes and schedule of the paper.

Paper: Curreli et al., CVPR 2025, Table 1.
Data:  AMASS (SMPL+H G) and, for exact joints, an SMPL-H model file, both under
       your own licence: `python -m diffax.data prepare amass`.
Run:   python -m diffax.main --config=experiments/skeleton_amass.py
Sizes: autoencoder 2,100,207 and denoiser 32,135,979 parameters.
Cost:  the paper trained 6 days on one 48 GB GPU; not measured here.
Table: the paper's rows are printed beside ours. No number of ours is claimed:
       this setting has not been trained here, the data are gated.

Variants: `isotropic` (Table 7, Lambda_N = 1), `smoke` (minutes, generated
motion, for checking that everything runs).
"""

import ml_collections
from ml_collections import config_dict

PAPER = {
    'SkeletonDiffusion (paper, AMASS)': {
        'ADE': 0.480, 'FDE': 0.545, 'MAE': 6.124, 'MMADE': 0.561,
        'MMFDE': 0.580, 'APDE': 2.067, 'APD': 9.456, 'CMD': 11.417,
        'stretch mean': 3.15, 'jitter mean': 0.20, 'stretch RMSE': 4.45,
        'jitter RMSE': 0.26,
    },
    'CoMusion (paper, AMASS)': {
        'ADE': 0.494, 'FDE': 0.547, 'MAE': 6.715, 'MMADE': 0.469,
        'MMFDE': 0.466, 'APDE': 2.328, 'APD': 10.848, 'CMD': 9.636,
        'stretch mean': 4.04, 'jitter mean': 0.25, 'stretch RMSE': 5.63,
        'jitter RMSE': 0.52,
    },
    'Zero-Velocity (paper, AMASS)': {
        'ADE': 0.755, 'FDE': 0.992, 'MAE': 7.779, 'MMADE': 0.814,
        'MMFDE': 1.015, 'APDE': 9.292, 'APD': 0.0, 'CMD': 39.262,
        'stretch mean': 0.0, 'jitter mean': 0.0, 'stretch RMSE': 0.0,
        'jitter RMSE': 0.0,
    },
}


def get_config(variant: str = '') -> ml_collections.ConfigDict:
  """Return the run card; `variant` is a comma-separated list of names."""
  config = ml_collections.ConfigDict()
  config.seed = 0
  config.stages = ('autoencoder', 'diffusion')
  config.log_every = 100

  config.data = {
      'name': 'amass',
      # None is $DIFFAX_DATA, and the store that `diffax.data prepare` fills.
      'root': config_dict.placeholder(str),
      'store': config_dict.placeholder(str),
      'fps': 60,
      'past_seconds': 0.5,
      'future_seconds': 2.0,
      'test_first_seconds': 3.0,
      'test_stride_seconds': 2.0,
      'options': {'body_model': config_dict.placeholder(str)},
  }
  config.system = {
      'box_size': 1.2,
      'width': 96,
      'encoder_layers': 2,
      'dtype': 'float32',
  }
  config.ema = {'decay': 0.995, 'every': 10, 'start': 100}
  config.checkpoint = {'every': 1000, 'keep': 3}

  config.autoencoder = {
      'seed': 52345,
      'epochs': 300,
      'epoch_steps': 580,
      'batch_size': 64,
      'system': {'name': 'skeleton_autoencoder'},
      # In epochs, like `hold` and `every` below.
      'data': {'curriculum': {'ramp': 10, 'floor_ramp': 200}},
      'optim': {
          'name': 'adamw_amsgrad',
          'weight_decay': 0.01,
          'clip': 1.0,
          'schedule': {
              'name': 'step_decay', 'value': 5e-3, 'hold': 10, 'every': 1,
              'factor': 0.98, 'floor': 1e-4,
          },
      },
  }
  config.diffusion = {
      'seed': 63485,
      'epochs': 150,
      'batch_size': 64,
      'pretrained': {'autoencoder': 'autoencoder'},
      'system': {
          'name': 'skeleton_diffusion',
          'process': {
              'noise': 'nonisotropic', 'steps': 10, 'betas': 'cosine',
              'gammas': 'released', 'correlation': 'adjacency', 'eta': 0.5,
              'shift': 'released', 'normalise': 'spectral',
          },
          'denoiser': {
              'width': 192, 'depth': 4, 'heads': 8, 'head_width': 32,
          },
          'sampler': {
              'name': 'ddpm', 'steps': 10, 'start': 'white', 'clip': 1.0,
          },
          'relaxation': 50,
          'selection': 'motion',
          'samples': 50,
      },
      'optim': {
          'name': 'adam',
          'b2': 0.99,
          'clip': 1.0,
          'schedule': {
              'name': 'step_decay', 'value': 1e-3, 'hold': 77, 'every': 2,
              'factor': 0.98, 'floor': 0.0,
          },
      },
  }
  config.eval = {
      'name': 'forecasting',
      'weights': 'params',
      'split': 'test',
      'samples': 50,
      'max_segments': config_dict.placeholder(int),
      'batch_size': 16,
      'mm_threshold': 0.4,
      'paper': PAPER,
  }
  config.benchmark = {
      'batch_size': {'autoencoder': 64, 'diffusion': 8},
      'pasts': 1,
      'repeats': 5,
  }
  for name in filter(None, variant.split(',')):
    VARIANTS[name](config)
  return config


def shorten(
    config: ml_collections.ConfigDict,
    stages: dict[str, tuple[int, float]],
    ramp: int,
) -> None:
  """Train small networks at 20 frames per second, by steps and a cosine.

  Args:
    config: to change.
    stages: steps and first learning rate by stage.
    ramp: steps until the autoencoder sees whole futures.
  """
  config.data.update({'fps': 20, 'train_stride': 5, 'train_jitter': 2})
  config.system.encoder_layers = 1
  for name, (steps, rate) in stages.items():
    stage = config[name]
    stage.update({'epochs': None, 'steps': steps, 'batch_size': 32})
    stage.optim.schedule = {'name': 'cosine', 'value': rate, 'steps': steps}
  config.autoencoder.epoch_steps = None
  config.autoencoder.data.curriculum = {'ramp': ramp, 'floor_ramp': ramp}


def isotropic(config: ml_collections.ConfigDict) -> None:
  """Use white noise over the joints: the same network and steps."""
  config.diffusion.system.process.noise = 'isotropic'


def smoke(config: ml_collections.ConfigDict) -> None:
  """Run everything small, in a minute or two, on generated motion."""
  config.data.update({'name': 'synthetic', 'fps': 20})
  config.data.options = {'persons': 6, 'seconds': 12.0}
  config.system.width = 16
  config.log_every = 5
  for stage in (config.autoencoder, config.diffusion):
    stage.update({'epochs': None, 'steps': 10, 'batch_size': 8})
  # One length of futures, so that one program is compiled.
  config.autoencoder.data.curriculum = {'ramp': 5, 'buckets': (40,)}
  config.diffusion.system.denoiser = {
      'width': 32, 'depth': 2, 'heads': 2, 'head_width': 16,
  }
  config.diffusion.system.update({'relaxation': 4, 'samples': 10})
  config.eval.update({'samples': 10, 'max_segments': 16})
  # Numbers on people do not compare with those on a generated figure.
  config.eval.paper = {}


VARIANTS = {'isotropic': isotropic, 'smoke': smoke}
