"""SkeletonDiffusion on 30 minutes of CMU motion capture, split by person.

Data:  CMU Graphics Lab Motion Capture Database, the clips listed in
       `$DIFFAX_DATA/motion/index.csv`; train 14, val 7, test 4 persons.
Run:   python -m diffax.main --config=experiments/skeleton_cmu.py
       python -m diffax.main --config=experiments/skeleton_cmu.py:budget
Sizes: as skeleton_amass, the paper's.

Table: `budget`, 415 test segments, seed 0: ADE 0.760, FDE 0.773 (isotropic
       0.754, 0.768; Zero-Velocity 0.960, 1.269; nearest neighbour 1.308,
       1.442). `brief`, seeds 0 to 2: ADE 0.809±0.014, FDE 0.814±0.022
       (isotropic 0.822±0.011, 0.833±0.019). The full size has not been
       trained.
Cost:  `budget`, about 65 minutes of two CPU cores; `brief`, 9 of one.

Variants: those of skeleton_amass.
Combine them with commas, `budget` or `brief` first; for a fair pair give both
the same autoencoder:
  --config=experiments/skeleton_cmu.py:budget,isotropic
  --config.diffusion.pretrained.autoencoder=RUN/autoencoder
  --config.stages="('diffusion',)"
"""

import ml_collections

from experiments import skeleton_amass


def get_config(variant: str = '') -> ml_collections.ConfigDict:
  """Return the run card; `variant` is a comma-separated list of names."""
  config = skeleton_amass.get_config()
  config.data.update({'name': 'cmu', 'skeleton': 'amass21'})
  config.data.options = {}
  # The test set is four minutes: a segment every half second, not every two.
  config.data.update({'test_first_seconds': 0.5, 'test_stride_seconds': 0.5})
  config.data.update({'train_stride': 15, 'train_jitter': 7})
  config.autoencoder.update({'epochs': 300, 'epoch_steps': 72})
  for name in filter(None, variant.split(',')):
    VARIANTS[name](config)
  return config


VARIANTS = skeleton_amass.VARIANTS
