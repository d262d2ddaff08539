"""SkeletonDiffusion on your own folder of BVH files.

Data:  --config.data.root=FOLDER. Clips of 2.5 seconds or more are tested on,
       split by file; --config.data.options.split=folder reads train, val and
       test sub-folders instead. Joints are mapped to the 21 of AMASS by name
       (the table is printed); with --config.data.options.skeleton=own the
       motion stays on the files' own skeleton, whose graph shapes the noise.
Run:   python -m diffax.main --config=experiments/skeleton_bvh.py \\
         --config.data.root=FOLDER --config.data.fps=30
Sizes: `budget` of skeleton_cmu.

Variants: those of skeleton_amass.
"""

import ml_collections
from ml_collections import config_dict

from experiments import skeleton_amass
from experiments import skeleton_cmu


def get_config(variant: str = '') -> ml_collections.ConfigDict:
  """Return the run card; `variant` is a comma-separated list of names."""
  config = skeleton_cmu.get_config('budget')
  config.data.name = 'bvh'
  config.data.skeleton = config_dict.placeholder(str)
  config.data.fps = 30
  config.eval.paper = {}
  config.data.options = {
      'skeleton': 'amass21',
      'split': 'hash',
      'joint_map': config_dict.placeholder(str),
      'unit': config_dict.placeholder(str),
      'up': config_dict.placeholder(str),
  }
  for name in filter(None, variant.split(',')):
    VARIANTS[name](config)
  return config


VARIANTS = skeleton_amass.VARIANTS
