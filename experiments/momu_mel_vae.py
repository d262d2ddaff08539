"""MoMu-Diffusion, its first stage: the autoencoder of music.

Paper, data: as momu_joint. Table 8.
Run:   python -m diffax.main --config=experiments/momu_mel_vae.py
       python -m diffax.main \\
         --config=experiments/momu_mel_vae.py:budget,dance_synthetic
Sizes: 212,958,212 parameters, and 2,764,481 of the critic.
Cost:  of the paper, 12 hours on 8 GPUs for both autoencoders. Not trained at
       this size here.

What it keeps is measured by the onsets of what it reconstructs, beside those of
the true log-mels through the same vocoder. Later stages take it from here:
  --config.motion.pretrained.music=RUN/music, and so on.

Variants: those of momu_joint that change data, music or size.
"""

from experiments import momu_joint
import ml_collections

_APART = ('directions', 'no_contrast', 'unet', 'variable_length', 'dpm')
VARIANTS = {
    name: change for name, change in momu_joint.VARIANTS.items()
    if not name.startswith('switch') and name not in _APART
}


def get_config(variant: str = '') -> ml_collections.ConfigDict:
  """Return the run card; `variant` is a comma-separated list of names."""
  config = momu_joint.base()
  for stage in ('motion', 'diffusion'):
    del config[stage]
    del config.benchmark.batch_size[stage]
  config.stages = ('music',)
  config.eval.update({'tasks': ('music_vae',), 'lengths': ()})
  config.eval.paper = {}
  momu_joint.apply(config, variant, VARIANTS)
  return config
