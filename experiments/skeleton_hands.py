"""SkeletonDiffusion on AMASS with hands: 51 joints.

Paper: Curreli et al., CVPR 2025, whose code has this size; no number is
       printed.
Data:  that of skeleton_amass, with an SMPL-H model file, which has the bones of
       the hands: --config.data.options.body_model=FOLDER
Run:   python -m diffax.main --config=experiments/skeleton_hands.py
Sizes: autoencoder 6,955,977 and denoiser 98,494,779 parameters. Fingers have
       types of their own on each side, as published.
Cost:  not measured here: the data are gated.

Variants: those of skeleton_amass.
"""

import ml_collections

from experiments import skeleton_amass


def get_config(variant: str = '') -> ml_collections.ConfigDict:
  """Return the run card; `variant` is a comma-separated list of names."""
  config = skeleton_amass.get_config()
  config.data.skeleton = 'amass51'
  config.data.options.hands = True
  config.eval.paper = {}
  for name in filter(None, variant.split(',')):
    VARIANTS[name](config)
  return config


def smoke(config: ml_collections.ConfigDict) -> None:
  """Run everything small, on generated motion, which has no hands."""
  skeleton_amass.smoke(config)
  config.data.skeleton = 'amass21'


VARIANTS = {**skeleton_amass.VARIANTS, 'smoke': smoke}
