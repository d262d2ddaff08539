"""MoMu-Diffusion, motion to music: Tables 2, 3, 4 and Figure 3 of the paper.

Paper, data, sizes: as momu_joint, with one denoiser; with the encoder of
       sports 175,607,966 parameters.
Run:   python -m diffax.main --config=experiments/momu_motion_to_music.py
       python -m diffax.main \\
         --config=experiments/momu_motion_to_music.py:budget,dance_synthetic
       python -m diffax.main --config=... --mode=sample --input=dance.bvh
Cost:  of the paper, 12 hours for the autoencoders and 2 days (figure skating
       4 days) on 8 GPUs. Not trained at this size here.

Variants: those of momu_joint without the switches, and
  loris_floor loris_floor50 loris_skating loris_skating50
           floor exercise and figure skating, clips of 25 and 50 s; their poses
           are too poor for an autoencoder, so an encoder reads them that is
           learned with the denoiser, and there are two stages
"""

import functools

from experiments import momu_joint
import ml_collections

# What the paper prints of LORIS on figure skating is what it prints of floor
# exercise, so it stands for one of the two at most and is left out.
PAPER = {
    ('fe', 25): '66.6 14.3 76.9 19.1 71.4',
    ('fe', 50): '62.7 24.0 68.1 20.2 65.3',
    ('fs', 25): '63.5 16.3 75.6 28.8 69.0',
    ('fs', 50): '59.9 22.6 68.7 22.2 64.0',
}


def get_config(variant: str = '') -> ml_collections.ConfigDict:
  """Return the run card; `variant` is a comma-separated list of names."""
  config = momu_joint.base()
  config.diffusion.system.tasks = ('music',)
  config.eval.tasks = ('motion_to_music',)
  momu_joint.apply(config, variant, VARIANTS)
  return config


def sports(
    config: ml_collections.ConfigDict, part: str, seconds: int
) -> None:
  """Take clips of a sport, whose poses an encoder reads.

  Args:
    config: to change.
    part: `fe` or `fs`.
    seconds: 25 or 50.
  """
  momu_joint.use(config, 'loris', float(seconds))
  config.data.update({
      'part': part, 'segment_seconds': seconds, 'skip_bad': True,
  })
  config.stages = ('music', 'diffusion')
  del config['motion']
  system = config.diffusion.system
  system.kinds = {'motion': 'encoder'}
  del system['motion']
  system.encoder = {'width': 256, 'features': 512, 'depth': 5, 'heads': 8}
  del config.diffusion.pretrained['motion']
  del config.benchmark.batch_size['motion']
  config.eval.paper = {
      'MoMu-Diffusion': momu_joint.beats(PAPER[part, seconds]),
  }


VARIANTS = {
    **{name: change for name, change in momu_joint.VARIANTS.items()
       if not name.startswith('switch')},
    'loris_floor': functools.partial(sports, part='fe', seconds=25),
    'loris_floor50': functools.partial(sports, part='fe', seconds=50),
    'loris_skating': functools.partial(sports, part='fs', seconds=25),
    'loris_skating50': functools.partial(sports, part='fs', seconds=50),
}
