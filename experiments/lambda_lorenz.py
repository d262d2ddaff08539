"""LaMbDA on the Lorenz attractor: x given z and z given x.

Paper: "LaMbDA: Local Latent Embedding Alignment for Cross-modal Time-series
       Diffusion", Table 2; this file also holds what all LaMbDA cards share.
Data:  generated, 10,000 steps of 0.01; 971 windows of 300 samples.
Run:   python -m diffax.main --config=experiments/lambda_lorenz.py
Sizes: 2 x 1.9 M parameters (`large`: 2 x 25 M).
Cost:  see README for steps per second; `budget` takes minutes of one CPU core.

Knowing z one cannot tell x from -x: in standardised units no predictor of x
given z has a mean squared error below about 1, and a perfect sampler has 2.

Variants (combine them with commas):
  budget     one CPU core: 10 samples per token, width 64, 2 + 2 layers
  brief      the same with 400 steps instead of 600
  random     windows shuffled before the split, as published results suggest;
             overlapping windows leak
  large      width 512 and 1536 hidden features, near the paper's 25 M
  unaligned  independent models, the energy loss kept
  simclr, barlow, vicreg, latent_mse    rival alignments (Table 3)
  no_contrast, no_covariance, no_energy ablations (Table 5)
  covariance_window, symmetric, fixed_weight  other readings of the paper
  shared, cvae, cvae_aligned, regressor, cdcd, cmmd  rival models (Tables 4, 6)
  nonisotropic  noise correlated across channels as the data are
  ddpm       all 1000 steps when sampling
  smoke      seconds, to check that everything runs
"""

from collections.abc import Callable, Mapping

import ml_collections
from ml_collections import config_dict

PAPER = {
    'without alignment (paper)': {
        'x|y': {'MSE': 0.678}, 'y|x': {'MSE': 0.135},
    },
    'LaMbDA (paper)': {'x|y': {'MSE': 0.425}, 'y|x': {'MSE': 0.004}},
}


def get_config(variant: str = '') -> ml_collections.ConfigDict:
  """Return the run card; `variant` is a comma-separated list of names."""
  config = base('lorenz', ('x', 'y'))
  config.data.update({'stride': 10, 'split': 'chronological'})
  # z does not know the sign of x.
  config.eval.sign_invariant = ('x',)
  config.eval.paper = PAPER
  apply(config, variant)
  return config


def base(
    data: str, modalities: tuple[str, ...]
) -> ml_collections.ConfigDict:
  """Return what all LaMbDA cards share."""
  config = ml_collections.ConfigDict()
  config.seed = 0
  config.stages = ('twin',)
  config.log_every = 50
  config.data = {'name': data, 'modalities': modalities, 'length': 300}
  config.system = {
      'name': 'lambda_twin',
      'process': {'steps': 1000, 'betas': 'cosine', 'noise': 'isotropic'},
      'sampler': {'name': 'ddim', 'eta': 0.0, 'steps': 50},
      'network': {
          'width': 128, 'encoder_layers': 4, 'decoder_layers': 4, 'heads': 4,
          'hidden': 512, 'dropout': 0.1, 'patch': 1,
      },
      'alignment': {
          'name': 'lambda',
          'rule': 'uncertainty',
          'options': {
              'contrastive': {'size': 10, 'temperature': 0.1},
              'covariance': {'over': 'batch'},
          },
      },
      'energy': {'weight': 1.0, 'norm': 'squared'},
      'samples': 1,
  }
  config.ema = {'decay': 0.999, 'every': 1, 'start': 0, 'warmup': 'ratio'}
  # Devices that hold one copy of the state together.
  config.devices = {'fsdp': 1}
  config.checkpoint = {'every': 500, 'keep': 2}
  config.twin = {
      'steps': 5000,
      'batch_size': 64,
      'optim': {
          'name': 'adamw',
          'weight_decay': 0.01,
          'clip': 1.0,
          'schedule': {
              'name': 'cosine', 'value': 2e-4, 'steps': 5000, 'warmup': 500,
          },
          'rates': {'log_weight': 1e-3},
      },
  }
  config.eval = {
      'name': 'crossmodal',
      'weights': 'ema',
      'split': 'test',
      'batch_size': 64,
      'max_windows': config_dict.placeholder(int),
      'learned': {'predictive': {'iterations': 2000, 'seeds': 5}},
      'entropy': False,
      'projection': 'umap',
      'figures': True,
      'paper': {},
  }
  # One reconstruction of the first modality.
  config.benchmark = {
      'batch_size': {'twin': 64}, 'pasts': 1, 'repeats': 5,
      'given': {'twin': modalities[1:]},
  }
  return config


def apply(config: ml_collections.ConfigDict, variant: str) -> None:
  """Change a card by a comma-separated list of variants."""
  for name in filter(None, variant.split(',')):
    VARIANTS[name](config)


def set_steps(
    config: ml_collections.ConfigDict, steps: int, warmup: int
) -> None:
  """Set the length of the training and of its learning rate."""
  config.twin.steps = steps
  config.twin.optim.schedule.update({'steps': steps, 'warmup': warmup})


def set_samples(config: ml_collections.ConfigDict, samples: int) -> None:
  """Set how many series each condition gets, and counts."""
  config.system.samples = samples
  config.eval.samples = samples


def budget(config: ml_collections.ConfigDict) -> None:
  """Fit a run into minutes of one CPU core."""
  config.system.network.update({
      'width': 64, 'hidden': 256, 'encoder_layers': 2, 'decoder_layers': 2,
      'patch': 10,
  })
  # One token of ten samples is the local window of ten.
  contrastive(config, {'size': 1})
  config.system.sampler.steps = 20
  set_steps(config, 600, 50)
  config.twin.batch_size = 16
  config.twin.optim.schedule.value = 2e-3
  config.eval.learned.predictive.update({'iterations': 200, 'seeds': 1})
  # A short run must forget its first steps.
  config.ema.decay = 0.99
  set_samples(config, 4)


def brief(config: ml_collections.ConfigDict) -> None:
  """Fit many runs into an hour: `budget` with fewer steps."""
  budget(config)
  set_steps(config, 400, 50)


def contrastive(
    config: ml_collections.ConfigDict, settings: Mapping[str, object]
) -> None:
  """Change the window-contrastive loss, where there is one."""
  alignment = config.system.get('alignment')
  if alignment and alignment.name == 'lambda':
    if alignment.options.contrastive is not None:
      alignment.options.contrastive.update(settings)


def large(config: ml_collections.ConfigDict) -> None:
  """Come near the paper's 25 M parameters per model."""
  config.system.network.update({'width': 512, 'hidden': 1536, 'heads': 8})


def ddpm(config: ml_collections.ConfigDict) -> None:
  """Sample with all the steps of the process, as the paper does."""
  config.system.sampler = {'name': 'ddpm', 'steps': 1000}


def random(config: ml_collections.ConfigDict) -> None:
  """Shuffle windows before the split."""
  config.data.split = 'random'


def nonisotropic(config: ml_collections.ConfigDict) -> None:
  """Correlate the noise across channels as the data are."""
  config.system.process.noise = 'nonisotropic'


def unaligned(config: ml_collections.ConfigDict) -> None:
  """Train independent models."""
  config.system.alignment = None


def aligned_by(name: str) -> Callable[[ml_collections.ConfigDict], None]:
  """Return a variant with another alignment."""

  def change(config: ml_collections.ConfigDict) -> None:
    config.system.alignment = {'name': name, 'rule': 'uncertainty'}

  return change


def without(part: str) -> Callable[[ml_collections.ConfigDict], None]:
  """Return a variant without one part of the alignment."""

  def change(config: ml_collections.ConfigDict) -> None:
    config.system.alignment.options[part] = None

  return change


def no_energy(config: ml_collections.ConfigDict) -> None:
  """Leave the energy loss out."""
  config.system.energy = None


def covariance_window(config: ml_collections.ConfigDict) -> None:
  """Take covariances within each local window instead of the batch."""
  options = config.system.alignment.options
  # A covariance needs two tokens.
  size = max(options.contrastive.size, 2)
  options.covariance = {'over': 'window', 'size': size}


def fixed_weight(config: ml_collections.ConfigDict) -> None:
  """Weigh the alignment by 0.1 instead of learning its weight."""
  config.system.alignment.update({'rule': 'fixed', 'alpha': 0.1})


def rival(
    name: str, *dropped: str
) -> Callable[[ml_collections.ConfigDict], None]:
  """Return a variant with another model, which lacks some settings."""

  def change(config: ml_collections.ConfigDict) -> None:
    config.system.name = name
    for key in dropped:
      if key in config.system:
        del config.system[key]

  return change


def cvae(config: ml_collections.ConfigDict) -> None:
  """Train variational autoencoders instead, without alignment."""
  cvae_aligned(config)
  config.system.alignment = None


def cvae_aligned(config: ml_collections.ConfigDict) -> None:
  """Train variational autoencoders instead, aligned."""
  rival('lambda_cvae', 'process', 'sampler')(config)


def smoke(config: ml_collections.ConfigDict) -> None:
  """Run everything small, in seconds."""
  config.system.network.update({
      'width': 16, 'hidden': 32, 'heads': 2, 'encoder_layers': 1,
      'decoder_layers': 1, 'patch': 10,
  })
  contrastive(config, {'size': 1})
  if 'sampler' in config.system:
    config.system.sampler.update({'steps': 5})
  set_steps(config, 10, 2)
  set_samples(config, 2)
  config.log_every = 5
  config.twin.batch_size = 16
  config.eval.update({'max_windows': 16, 'projection': 'pca'})
  # An update would keep what is in it.
  config.eval.learned = {}


VARIANTS = {
    'budget': budget,
    'brief': brief,
    'large': large,
    'ddpm': ddpm,
    'random': random,
    'nonisotropic': nonisotropic,
    'unaligned': unaligned,
    'simclr': aligned_by('simclr'),
    'barlow': aligned_by('barlow'),
    'vicreg': aligned_by('vicreg'),
    'latent_mse': aligned_by('latent_mse'),
    'no_contrast': without('contrastive'),
    'no_covariance': without('covariance'),
    'no_energy': no_energy,
    'covariance_window': covariance_window,
    'symmetric': lambda config: contrastive(config, {'symmetric': True}),
    'fixed_weight': fixed_weight,
    'shared': rival('lambda_shared', 'alignment'),
    'cvae': cvae,
    'cvae_aligned': cvae_aligned,
    'regressor': rival('lambda_regressor', 'process', 'sampler', 'alignment',
                       'energy'),
    'cdcd': rival('lambda_cdcd', 'alignment'),
    'cmmd': rival('lambda_cmmd', 'alignment'),
    'smoke': smoke,
}
