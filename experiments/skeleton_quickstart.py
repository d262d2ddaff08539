"""SkeletonDiffusion in five minutes of two CPU cores, on generated motion.

Data:  none to download: an articulated figure that walks, runs, turns, squats,
       jumps, waves and kicks (diffax/data/synthetic.py). It is not motion
       capture, and its numbers say nothing about people.
Run:   bash launch/quickstart.sh
Table: ADE 0.614, FDE 0.606 on 48 test segments (Zero-Velocity 0.715, 0.818).
Cost:  about five minutes of two CPU cores, of which one is the installation of
       packages that pip has fetched before.

Variants: those of skeleton_amass; `smoke` takes about a minute.
"""

import ml_collections

from experiments import skeleton_amass


def get_config(variant: str = '') -> ml_collections.ConfigDict:
  """Return the run card; `variant` is a comma-separated list of names."""
  config = skeleton_amass.get_config()
  config.data.name = 'synthetic'
  config.data.options = {}
  # Numbers on people do not compare with those on a generated figure.
  config.eval.paper = {}
  skeleton_amass.brief(config)
  stages = {'autoencoder': (300, 4e-3), 'diffusion': (160, 2e-3)}
  skeleton_amass.shorten(config, stages, ramp=50)
  # One length of futures, so that one program is compiled.
  config.autoencoder.data.curriculum.buckets = (40,)
  config.checkpoint.every = 500
  config.eval.max_segments = 48
  for name in filter(None, variant.split(',')):
    VARIANTS[name](config)
  return config


VARIANTS = skeleton_amass.VARIANTS
