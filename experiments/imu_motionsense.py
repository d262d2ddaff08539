"""IMUDiffusion on MotionSense: walking, jogging, stairs up and down.

Data:  Malekzadeh et al., MotionSense (MIT): a telephone in the front pocket,
       50 Hz, 21 persons, in `$DIFFAX_DATA/imu/motionsense`.
Run:   python -m diffax.main --config=experiments/imu_motionsense.py
       python -m diffax.study --jobs=2 \\
         --config=experiments/imu_tables.py:loso,motionsense,budget
Table: `budget`, 0.572 few, 0.617 few+classical, 0.644 few+synthetic (`augmented`), 0.690
       full (macro-F1, mean of 21 persons; README).
Cost:  as imu_realdisp, which has the variants.
"""

import ml_collections

from experiments import imu_realdisp


def get_config(variant: str = '') -> ml_collections.ConfigDict:
  """Return the run card; `variant` is a comma-separated list of names."""
  config = imu_realdisp.base('motionsense', persons=21)
  imu_realdisp.apply(config, variant)
  return config
