"""IMUDiffusion on REALDISP: the paper's data; what all IMU cards share.

Paper: Oppel and Munz, "IMUDiffusion: A Diffusion Model for Multivariate Time
       Series Synthetisation for Inertial Motion Capturing Systems", 2024.
Data:  REALDISP (UCI 305, open), `$DIFFAX_DATA/realdisp/subject*_ideal.log`:
       right thigh, walking, running, jump up, cycling, 12 persons.
Run:   python -m diffax.main --config=experiments/imu_realdisp.py
       python -m diffax.main --config=experiments/imu_realdisp.py \\
         --config.data.fold=3             # hold out another person
Sizes: one network for each class, the paper's widths: 915,248
       parameters in all (`conditional`: 229,452).
Cost:  of the paper, 4 x 8 minutes to train and 3 minutes for 128 windows, per
       fold. Not measured here, nor is there a table of ours: the data must be
       downloaded. `imu_dsads` and `imu_motionsense` have tables.

A fold trains on two windows of each class and person. What the generated
windows are worth is the macro-F1 of a classifier on the person held out.

Variants (combine them with commas):
  conditional  one network for all classes, with classifier-free guidance
  time         the samples themselves instead of their spectrogram
  shared       one schedule for both sensors
  standard     samples start from white noise, as the paper reads
  zero_terminal  no signal left at T; the network predicts velocity
  nonisotropic noise correlated across the axes of a sensor as the data are
  frames80     80 frames, as the paper states, of which the last samples repeat
  ddim, dpm    100 steps of DDIM, 25 of DPM-Solver++ instead of all 3000 of
               `ddpm`
  gaussian     no training: residuals of 0, so Gaussian windows with the moments
               of their class; what a network has to beat
  augmented    learn from augmented copies of the picked windows, too
  budget       for one core and four minutes: a small conditional network that
               predicts residuals, 25 steps of DPM-Solver++, a small classifier
  smoke        to check that everything runs
"""

import ml_collections

STEPS = 3000
PAPER = {
    'few': '11 to 30 points below few+synthetic, for 11 of 12 persons',
    'few+synthetic': '1.0 for 8 of 12 persons',
    'full': '1.0 for 6 of 12 persons',
}


def get_config(variant: str = '') -> ml_collections.ConfigDict:
  """Return the run card; `variant` is a comma-separated list of names."""
  config = base('realdisp')
  config.eval.paper = PAPER
  apply(config, variant)
  return config


def base(data: str, persons: int = 12) -> ml_collections.ConfigDict:
  """Return what all IMU cards share.

  Args:
    data: name of the source.
    persons: of the data set; a batch is two windows of each class and person
      but the one held out.

  Returns:
    The paper's setting.
  """
  config = ml_collections.ConfigDict()
  config.seed = 0
  config.stages = ('diffusion',)
  config.log_every = 100
  config.data = {
      'name': data, 'fold': 0, 'length': 160, 'shift': 40, 'picks': 2,
      'pick_seed': 0, 'per_class': True,
  }
  config.system = {
      'name': 'imu_diffusion',
      'domain': 'stft',
      'layout': {'size': 22, 'hop': 2},
      'conditional': False,
      'process': {
          'steps': STEPS, 'betas': 'linear', 'start': 1e-4,
          'stop': {'acc': 9e-4, 'gyr': 6e-4},
      },
      'prior': 'matched',
      'prediction': 'noise',
      'sampler': {'name': 'ddpm', 'steps': STEPS},
      'network': {'base': 32, 'blocks': 2, 'heads': 4, 'attention': 'all'},
  }
  config.ema = {'decay': 0.999, 'every': 1, 'start': 0, 'warmup': 'ratio'}
  # Devices that hold one copy of the state together.
  config.devices = {'fsdp': 1}
  config.checkpoint = {'every': 500, 'keep': 2}
  config.diffusion = {
      'steps': 4500,
      'batch_size': 4 * 2 * (persons - 1),
      'optim': {
          'name': 'adam', 'schedule': {'name': 'constant', 'value': 4e-4},
      },
  }
  config.eval = {
      'name': 'recognition',
      # The paper states no average of the weights.
      'weights': 'params',
      'per_class': 3840,
      'batch_size': 128,
      'seeds': 3,
      'classifier': {'epochs': 100, 'steps': None},
      'quality': {},
      'projection': 'umap',
      'figures': True,
      'keep': True,
      'paper': {},
  }
  config.benchmark = {
      'batch_size': {'diffusion': config.diffusion.batch_size}, 'repeats': 5,
      'pasts': config.diffusion.batch_size, 'given': {'diffusion': ('label',)},
  }
  return config


def apply(config: ml_collections.ConfigDict, variant: str) -> None:
  """Change a card by a comma-separated list of variants."""
  for name in filter(None, variant.split(',')):
    VARIANTS[name](config)


def conditional(config: ml_collections.ConfigDict) -> None:
  """Train one network for all classes."""
  config.system.update({
      'conditional': True, 'class_dropout': 0.1, 'guidance': 1.5,
  })


def time(config: ml_collections.ConfigDict) -> None:
  """Diffuse the samples themselves."""
  config.system.update({'domain': 'time'})
  config.system.layout = {}


def shared(config: ml_collections.ConfigDict) -> None:
  """Give both sensors the schedule between the two."""
  config.system.process.stop.update({'acc': 7.5e-4, 'gyr': 7.5e-4})


def standard(config: ml_collections.ConfigDict) -> None:
  """Start samples from white noise."""
  config.system.prior = 'standard'


def zero_terminal(config: ml_collections.ConfigDict) -> None:
  """Leave no signal at T."""
  config.system.process.zero_terminal = True
  config.system.prediction = 'velocity'
  config.system.prior = 'standard'


def nonisotropic(config: ml_collections.ConfigDict) -> None:
  """Correlate the noise across the axes of each sensor."""
  config.system.process.noise = 'nonisotropic'


def frames80(config: ml_collections.ConfigDict) -> None:
  """Drop the last frame, as the paper's sizes say."""
  if config.system.domain == 'stft':
    config.system.layout.frames = 80


def ddpm(config: ml_collections.ConfigDict) -> None:
  """Sample in all steps."""
  config.system.sampler = {'name': 'ddpm', 'steps': STEPS}


def ddim(config: ml_collections.ConfigDict) -> None:
  """Sample in 100 steps."""
  config.system.sampler = {'name': 'ddim', 'steps': 100, 'eta': 0.0}


def dpm(config: ml_collections.ConfigDict) -> None:
  """Sample in 25 steps, most of them where the noise is low."""
  config.system.sampler = {
      'name': 'dpm_solver_pp', 'steps': 25, 'order': 2, 'spacing': 'quadratic',
  }


def gaussian(config: ml_collections.ConfigDict) -> None:
  """Leave the network as it is initialised, where it says 0."""
  config.system.prediction = 'residual'
  config.diffusion.steps = 1
  config.diffusion.optim = {
      'name': 'adam', 'schedule': {'name': 'constant', 'value': 0.0},
  }


def augmented(config: ml_collections.ConfigDict) -> None:
  """Show the model other positions and speeds of the picked windows."""
  config.data.augment = {
      'kinds': ('jitter', 'scaling', 'rotation', 'timewarp'), 'copies': 40,
      'share': 0.5,
  }


def budget(config: ml_collections.ConfigDict) -> None:
  """Fit a fold into a few minutes of one core."""
  conditional(config)
  config.system.update({
      'guidance': 1.0, 'prediction': 'residual', 'member_clip': None,
  })
  if config.system.domain == 'stft':
    config.system.layout = {'size': 22, 'hop': 8}
  config.system.network.base = 16
  dpm(config)
  config.ema.decay = 0.99
  config.diffusion = {
      'steps': 320,
      'batch_size': 24,
      'optim': {
          'name': 'adam', 'clip': 1.0,
          'schedule': {
              'name': 'cosine', 'value': 2e-3, 'steps': 320, 'warmup': 20,
          },
      },
  }
  config.benchmark.update({'batch_size': {'diffusion': 24}, 'pasts': 24})
  config.eval.update({
      'weights': 'ema', 'per_class': 150, 'batch_size': 300, 'doses': (),
      'conditions': (
          'few', 'few+classical', 'few+synthetic', 'few+classical+synthetic',
          'synthetic', 'full',
      ),
  })
  config.eval.classifier = {
      'steps': 100, 'validations': 2, 'val_windows': 256,
      'network': {'filters': (8, 16, 16), 'hidden': (64, 32)},
  }
  config.eval.quality = {'discriminative': None, 'clusters': None}


def smoke(config: ml_collections.ConfigDict) -> None:
  """Run everything small."""
  config.system.sampler.steps = 4
  config.system.network.update({
      'base': 8, 'blocks': 1, 'heads': 2, 'attention': 'frequency',
  })
  config.diffusion.steps = 10
  config.log_every = 5
  config.eval.update({
      'per_class': 8, 'conditions': ('few', 'few+synthetic'), 'doses': (50,),
      'seeds': 1, 'projection': 'pca', 'batch_size': 32,
  })
  config.eval.classifier = {
      'steps': 4, 'validations': 1, 'val_windows': 40,
      'network': {'filters': (2, 2, 2), 'hidden': (4, 4)},
  }
  config.eval.quality = {
      'discriminative': {'iterations': 2, 'seeds': 1},
      'clusters': None, 'windows': 16,
  }


VARIANTS = {
    'conditional': conditional,
    'time': time,
    'shared': shared,
    'standard': standard,
    'zero_terminal': zero_terminal,
    'nonisotropic': nonisotropic,
    'frames80': frames80,
    'ddpm': ddpm,
    'ddim': ddim,
    'dpm': dpm,
    'gaussian': gaussian,
    'augmented': augmented,
    'budget': budget,
    'smoke': smoke,
}
