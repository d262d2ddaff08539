"""MoMu-Diffusion, music to motion: Tables 5 and 6 of the paper.

Paper, data, sizes: as momu_joint, with one denoiser.
Run:   python -m diffax.main --config=experiments/momu_music_to_motion.py
       python -m diffax.main \\
         --config=experiments/momu_music_to_motion.py:budget,dance_synthetic
       python -m diffax.main --config=... --mode=sample --input=song.ogg
Cost:  of the paper, 12 hours for the autoencoders and 2 days on 8 GPUs. Not
       trained at this size here.

How kinematic beats are found, and how near counts, is not printed: the paper's
numbers stand beside one-to-one matches within 0.1 s, its FID, diversity and
divergence beside those of another judge.

Variants: those of momu_joint without the switches, and
  bhs      Ballet, Hip-Hop and Zumba: features of 28 numbers at 15 per second
           instead of sound; no autoencoders, one stage
"""

from experiments import momu_joint
import ml_collections

PAPER = {
    'BHS MoMu-Diffusion': '47.9 8.4 78.5 12.1 59.5 6.5 67.4 4.2',
    'BHS D2M': '35.1 15.9 57.5 35.0 43.6 11.6 55.9 7.4',
    'BHS DiffGesture': '42.8 21.3 61.1 23.9 50.3 13.8 38.9 7.0',
}
_NAMES = (
    'BCS 100ms', 'CSD 100ms', 'BHS 100ms', 'HSD 100ms', 'F1 100ms', 'FID',
    'Diversity inter', 'Mean KLD',
)


def get_config(variant: str = '') -> ml_collections.ConfigDict:
  """Return the run card; `variant` is a comma-separated list of names."""
  config = momu_joint.base()
  config.diffusion.system.tasks = ('motion',)
  config.eval.tasks = ('music_to_motion',)
  config.benchmark.given = {'diffusion': ('music',)}
  momu_joint.apply(config, variant, VARIANTS)
  return config


def bhs(config: ml_collections.ConfigDict) -> None:
  """Take features and poses as they are."""
  momu_joint.use(config, 'bhs', 6.0)
  # There is no choice of music: it is features.
  del config.data['music']
  config.stages = ('diffusion',)
  for stage in ('music', 'motion'):
    del config[stage]
    del config.diffusion.system[stage]
    del config.benchmark.batch_size[stage]
  config.diffusion.pretrained = {}
  config.diffusion.system.kinds = {'music': 'raw', 'motion': 'raw'}
  config.eval.lengths = (10.0, 25.0)
  config.eval.judges = {'motion_clip': 32}
  config.eval.paper = {
      name: {'music_to_motion': momu_joint.printed(_NAMES, numbers)}
      for name, numbers in PAPER.items()
  }


VARIANTS = {
    **{name: change for name, change in momu_joint.VARIANTS.items()
       if not name.startswith('switch')},
    'bhs': bhs,
}
