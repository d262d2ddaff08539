"""SkeletonDiffusion on AMASS, at the sizes and schedule of the paper.

Paper: Curreli et al., CVPR 2025, Table 1.
Data:  AMASS (SMPL+H G) and, for exact joints, an SMPL-H model file, both under
       your own licence: `python -m diffax.data prepare amass`.
Run:   python -m diffax.main --config=experiments/skeleton_amass.py
Sizes: autoencoder 2,100,207 and denoiser 32,135,979 parameters.
Cost:  the paper trained 6 days on one 48 GB GPU; not measured here.
Table: the paper's rows are printed beside ours. No number of ours is claimed:
       this setting has not been trained here, the data are gated.

Variants (combine them with commas, `budget` or `brief` first and `smoke` last;
`skeleton_tables` runs them all):
  reach, reach_hips   noise from R or R_hip instead of A (Table 4)
  frobenius           its eigenvalues' mean is 1, not their largest (Table 5)
  small               9 M parameters (Table 6)
  isotropic           white noise over the joints, Lambda_N = 1 (Tables 6, 7)
  no_attention        convolutions of the typed graph alone (Table 7)
  gamma_one           gamma_t = 1, Eq. 3 (Table 7)
  tuned_past          the encoder of the past learns on (Table 8, +Past)
  dct                 cosine coefficients instead of frames (Table 8, +DCT)
  one_draw            k = 1 (Table 8)
  latent_choice       the best of 50 by their latents (Table 8)
  latent_noise        noise as the latents of the training data are correlated
  noisy, noisy_bounded   disturbed pasts (Table 10): N(0, 2 cm) at a quarter of
                      the positions as released; at most 2 cm as printed
  long, long_oracle   5 s, each future going on by itself, or all from the one
                      that came closest, as published (Table 11)
  ddim, dpm           5 steps of DDIM, 5 of DPM-Solver++
  matched             start from noise of the covariance that was trained
  bones               bones of drawn futures have the lengths of the past
  budget              two CPU cores: 15 to 25 frames per second, narrower
                      networks, 10 noise draws, a few thousand steps
  brief               minutes of two CPU cores, to compare variants
  smoke               minutes, generated motion, to check that everything runs
"""

from collections.abc import Callable
from typing import Any

import ml_collections
from ml_collections import config_dict

# The columns of the paper's tables without APDE.
COLUMNS = (
    'ADE', 'FDE', 'MAE', 'MMADE', 'MMFDE', 'APD', 'CMD', 'stretch mean',
    'jitter mean', 'stretch RMSE', 'jitter RMSE',
)


def printed(numbers: str) -> dict[str, float]:
  """Return a printed line by the names of `COLUMNS`."""
  return dict(zip(COLUMNS, map(float, numbers.split()), strict=True))


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
      'representation': 'frames',
      'dtype': 'float32',
  }
  config.ema = {'decay': 0.995, 'every': 10, 'start': 100}
  # Devices that hold one copy of the state together.
  config.devices = {'fsdp': 1}
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
              'shift': 'released', 'normalise': 'spectral', 'shrinkage': 0.1,
          },
          'denoiser': {
              'width': 192, 'depth': 4, 'heads': 8, 'head_width': 32,
              'attention': True,
          },
          'sampler': {
              'name': 'ddpm', 'steps': 10, 'start': 'white', 'clip': 1.0,
          },
          'relaxation': 50,
          'selection': 'motion',
          'samples': 50,
          'past_encoder': 'frozen',
          'bones': 'free',
          'continuation': 'own',
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
      'step': config_dict.placeholder(int),
      'split': 'test',
      'given': ('past',),
      'samples': 50,
      'max_segments': config_dict.placeholder(int),
      'batch_size': 16,
      'mm_threshold': 0.4,
      'baselines': (
          'zero_velocity', 'nearest_neighbour', 'nearest_neighbours',
          'turned_neighbour', 'turned_neighbours',
      ),
      'fid': None,
      'paper': PAPER,
      'figures': True,
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
  """Train small networks at 15 to 25 frames per second, by steps and a cosine.

  Args:
    config: to change.
    stages: steps and first learning rate by stage.
    ramp: steps until the autoencoder sees whole futures.
  """
  fps = config.data.fps
  config.data.update({
      'fps': fps // -(-fps // 25), 'train_stride': 5, 'train_jitter': 2,
  })
  config.system.encoder_layers = 1
  for name, (steps, rate) in stages.items():
    stage = config[name]
    stage.update({'epochs': None, 'steps': steps, 'batch_size': 32})
    stage.optim.schedule = {'name': 'cosine', 'value': rate, 'steps': steps}
  config.autoencoder.epoch_steps = None
  config.autoencoder.data.curriculum = {'ramp': ramp, 'floor_ramp': ramp}


def budget(config: ml_collections.ConfigDict) -> None:
  """Fit the run into about an hour and a half of two CPU cores."""
  stages = {'autoencoder': (7000, 4e-3), 'diffusion': (3500, 1e-3)}
  shorten(config, stages, ramp=1000)
  config.system.width = 64
  config.diffusion.system.denoiser.update({
      'width': 128, 'depth': 2, 'heads': 4, 'head_width': 32,
  })
  config.diffusion.system.relaxation = 10


def brief(config: ml_collections.ConfigDict) -> None:
  """Fit the run into some minutes, to compare variants."""
  stages = {'autoencoder': (1500, 4e-3), 'diffusion': (800, 2e-3)}
  shorten(config, stages, ramp=300)
  config.system.width = 48
  config.diffusion.system.denoiser.update({
      'width': 96, 'depth': 2, 'heads': 4, 'head_width': 24,
  })
  config.diffusion.system.relaxation = 8


def isotropic(config: ml_collections.ConfigDict) -> None:
  """Use white noise over the joints: the same network and steps."""
  config.diffusion.system.process.noise = 'isotropic'


def process(**changes: Any) -> Callable[[ml_collections.ConfigDict], None]:
  """Return a variant with another forward process."""
  return lambda config: config.diffusion.system.process.update(changes)


def system(**changes: Any) -> Callable[[ml_collections.ConfigDict], None]:
  """Return a variant with other settings of the diffusion."""

  def change(config: ml_collections.ConfigDict) -> None:
    config.diffusion.system.update(changes)

  return change


def small(config: ml_collections.ConfigDict) -> None:
  """Shrink the denoiser so that the paper's networks have 9 M parameters."""
  whole = config.diffusion.system.denoiser
  whole.update({
      'width': whole.width * 2 // 24 * 8, 'depth': whole.depth // 2,
      'heads': whole.heads // 2,
  })


def no_attention(config: ml_collections.ConfigDict) -> None:
  """Leave convolutions of the graph alone; the paper's row is isotropic."""
  isotropic(config)
  config.diffusion.system.denoiser.attention = False


def dct(config: ml_collections.ConfigDict) -> None:
  """Describe motions by cosine coefficients, of whole futures."""
  config.system.representation = 'dct'
  whole = round(config.data.future_seconds * config.data.fps)
  config.autoencoder.data.curriculum.buckets = (whole,)


def evaluated_on(config: ml_collections.ConfigDict, **changes: Any) -> None:
  """Evaluate on data that differ from those of the training."""
  config.eval.data = {**config.eval.to_dict().get('data', {}), **changes}


def noisy(kind: str) -> Callable[[ml_collections.ConfigDict], None]:
  """Return a variant that disturbs what is observed in the evaluation."""

  def change(config: ml_collections.ConfigDict) -> None:
    evaluated_on(config, test_noise={'kind': kind})

  return change


def long(mode: str) -> Callable[[ml_collections.ConfigDict], None]:
  """Return a variant that predicts 5 s by going on."""

  def change(config: ml_collections.ConfigDict) -> None:
    # As published, where 8 s are left, of which 5 are measured.
    evaluated_on(config, test_future_seconds=5.0, test_left_seconds=8.0)
    config.diffusion.system.continuation = mode
    if mode == 'oracle':
      config.eval.given = ('past', 'future')

  return change


def sampler(
    name: str, **options: Any
) -> Callable[[ml_collections.ConfigDict], None]:
  """Return a variant with another sampler, of a run that may be trained."""

  def change(config: ml_collections.ConfigDict) -> None:
    config.diffusion.system.sampler.update({'name': name, **options})

  return change


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
  config.diffusion.system.denoiser.update({
      'width': 32, 'depth': 2, 'heads': 2, 'head_width': 16,
  })
  config.diffusion.system.update({'relaxation': 4, 'samples': 10})
  config.eval.update({'samples': 10, 'max_segments': 16})
  # Numbers on people do not compare with those on a generated figure.
  config.eval.paper = {}


# Of a trained run: how it draws, and from what.
DRAWING: dict[str, Callable[[ml_collections.ConfigDict], None]] = {
    'noisy': noisy('gaussian'),
    'noisy_bounded': noisy('bounded'),
    'long': long('own'),
    'long_oracle': long('oracle'),
    'ddim': sampler('ddim', steps=5),
    'dpm': sampler('dpm_solver_pp', steps=5),
    'matched': sampler('ddpm', start='matched'),
    'bones': system(bones='past'),
}
VARIANTS: dict[str, Callable[[ml_collections.ConfigDict], None]] = {
    'reach': process(correlation='reachability'),
    'reach_hips': process(correlation='hip_reachability'),
    'frobenius': process(normalise='frobenius'),
    'small': small,
    'isotropic': isotropic,
    'no_attention': no_attention,
    'gamma_one': process(gammas='one'),
    'tuned_past': system(past_encoder='tuned'),
    'dct': dct,
    'one_draw': system(relaxation=1),
    'latent_choice': system(selection='latent'),
    'latent_noise': process(correlation='latent'),
    **DRAWING,
    'budget': budget,
    'brief': brief,
    'smoke': smoke,
}
