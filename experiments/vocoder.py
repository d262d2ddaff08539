"""A small vocoder for log-mels at 16 kHz, trained from scratch on music.

Paper: the networks and losses of Lee et al., "BigVGAN", ICLR 2023, at a size
       that two cores can train; MoMu-Diffusion takes a large one that others
       trained.
Data:  any folder of sound files, `$DIFFAX_DATA/music/tracks` by default; one
       track of seven is tested, another validated.
Run:   python -m diffax.main --config=experiments/vocoder.py
       python -m diffax.main --config=experiments/vocoder.py --mode=sample \\
         --input=song.ogg
       python -m diffax.main --config=experiments/momu_joint.py ... \\
         --config.eval.vocoder.name=bigvgan \\
         --config.eval.vocoder.weights=runs/vocoder/vocoder
Sizes: generator 0.46 M parameters; `large` is the published 112 M.
Cost:  hours on a GPU. Beside it stands Griffin and Lim's algorithm, which
       needs no training.

Variants (combine them with commas):
  large  the published generator and judges, batches of 32
  smoke  to check that everything runs
"""

from collections.abc import Callable, Mapping

import ml_collections


def get_config(variant: str = '') -> ml_collections.ConfigDict:
  """Return the run card; `variant` is a comma-separated list of names."""
  config = ml_collections.ConfigDict()
  config.seed = 0
  config.stages = ('vocoder',)
  config.log_every = 50
  config.data = {'name': 'waves', 'samples': 8192, 'folds': 7}
  config.ema = {'decay': 0.999, 'every': 1, 'start': 0}
  # Devices that hold one copy of the state together.
  config.devices = {'fsdp': 1}
  config.checkpoint = {'every': 1000, 'keep': 2}
  config.vocoder = {
      'steps': 100_000, 'batch_size': 16,
      'system': {
          'name': 'vocoder', 'mel': 'make_an_audio', 'size': 'small',
          'periods': (2, 3, 5, 7, 11), 'period_width': 8,
          'spectrum_width': 16, 'mel_weight': 45.0, 'feature_weight': 2.0,
          # The mel alone teaches faster at first.
          'start': 2000,
      },
      'optim': {
          'name': 'adamw', 'b1': 0.8, 'b2': 0.99,
          'schedule': {
              'name': 'cosine', 'value': 5e-4, 'steps': 100_000,
              'warmup': 200, 'end': 5e-5,
          },
      },
  }
  config.eval = {
      'name': 'vocoder', 'weights': 'ema', 'mel': 'make_an_audio',
      'split': 'test', 'seconds': 8.0, 'clips': 16, 'iterations': 32,
      'figures': True,
  }
  config.benchmark = {'batch_size': {'vocoder': 4}}
  for name in filter(None, variant.split(',')):
    VARIANTS[name](config)
  return config


def large(config: ml_collections.ConfigDict) -> None:
  """Take the published sizes."""
  stage = config.vocoder
  stage.batch_size, stage.steps = 32, 1_000_000
  stage.system.update({
      'size': 'make_an_audio', 'period_width': 32, 'spectrum_width': 32,
      'start': 0,
  })
  stage.optim.schedule = {
      'name': 'cosine', 'value': 1e-4, 'steps': 1_000_000, 'warmup': 200,
      'end': 1e-5,
  }


def smoke(config: ml_collections.ConfigDict) -> None:
  """Run for a few steps."""
  stage = config.vocoder
  stage.batch_size, stage.steps = 2, 4
  stage.optim.schedule.update({'warmup': 1, 'steps': 4})
  # A name becomes fields, which a config takes for a mistake.
  del stage.system['size']
  stage.system.update({
      'periods': (2,), 'period_width': 1, 'spectrum_width': 1, 'start': 2,
      'resolutions': ((512, 128),),
      'size': {
          'rates': (16, 16), 'kernels': (32, 32), 'width': 8, 'blocks': (3,),
          'dilations': ((1,),), 'pairs': False,
      },
  })
  config.data.samples = 2048
  config.checkpoint.every = 4
  config.log_every = 2
  config.eval.update({'clips': 2, 'seconds': 2.0, 'iterations': 4})


VARIANTS: Mapping[str, Callable[[ml_collections.ConfigDict], None]] = {
    'large': large, 'smoke': smoke,
}
