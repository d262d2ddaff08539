"""MoMu-Diffusion, its second stage: the autoencoder of motion, aligned.

Paper, data: as momu_joint. Tables 7 (3) and 8.
Run:   python -m diffax.main --config=experiments/momu_motion_vae.py
       python -m diffax.main \\
         --config=experiments/momu_motion_vae.py:budget,dance_synthetic
Sizes: 212,758,480 parameters.
Cost:  of the paper, 12 hours on 8 GPUs for both autoencoders. Not trained at
       this size here.

What it keeps is measured by the kinematic beats of what it reconstructs, beside
those of the truth.

Variants: those of momu_joint that change data, poses, music, alignment or size.
"""

from experiments import momu_joint
import ml_collections

_APART = ('unet', 'variable_length', 'dpm')
VARIANTS = {
    name: change for name, change in momu_joint.VARIANTS.items()
    if not name.startswith('switch') and name not in _APART
}


def get_config(variant: str = '') -> ml_collections.ConfigDict:
  """Return the run card; `variant` is a comma-separated list of names."""
  config = momu_joint.base()
  del config['diffusion']
  del config.benchmark.batch_size['diffusion']
  config.stages = ('music', 'motion')
  config.eval.update({'tasks': ('motion_vae',), 'lengths': ()})
  config.eval.paper = {}
  momu_joint.apply(config, variant, VARIANTS)
  return config
