"""SkeletonDiffusion on 18 minutes of acted styles, split by file.

Data:  Bandai-Namco Research Motiondataset 1 (CC BY-NC 4.0), the files listed
       in `$DIFFAX_DATA/motion/index.csv`, 30 frames per second. Who acted is
       not published: persons of the test were seen while training.
Run:   python -m diffax.main --config=experiments/skeleton_bandai.py:budget
Sizes: as skeleton_amass.
Table: `brief`, 326 test segments, seeds 0 to 2: ADE 0.627±0.003, FDE
       0.651±0.019 (isotropic 0.632±0.006, 0.657±0.014; Zero-Velocity 0.715,
       0.829).
Cost:  `brief`, 9 minutes of a CPU core; `budget` trains as many steps as that
       of skeleton_cmu.

Variants: those of skeleton_amass.
"""

import ml_collections

from experiments import skeleton_amass
from experiments import skeleton_cmu


def get_config(variant: str = '') -> ml_collections.ConfigDict:
  """Return the run card; `variant` is a comma-separated list of names."""
  config = skeleton_cmu.get_config()
  config.data.update({'name': 'bandai', 'fps': 30})
  config.data.update({'train_stride': 8, 'train_jitter': 4})
  for name in filter(None, variant.split(',')):
    VARIANTS[name](config)
  return config


VARIANTS = skeleton_amass.VARIANTS
