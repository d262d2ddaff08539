"""IMUDiffusion on MotionSense: walking, jogging, stairs up and down.

Data:  Malekzadeh et al., MotionSense (MIT): a telephone in the front pocket,
       50 Hz, 21 persons, in `$DIFFAX_DATA/imu/motionsense`.
Run:   python -m diffax.main --config=experiments/imu_motionsense.py
       python -m diffax.study --jobs=2 \\
         --config=experiments/imu_tables.py:loso,motionsense,budget
Table: `budget`: few 0.572, few+classical 0.617, full 0.690, and with
       `augmented` few+synthetic 0.644 (macro-F1, mean of 21 persons).
Cost:  as imu_realdisp, which has the variants.
"""

import ml_collections

from experiments import imu_realdisp


def get_config(variant: str = '') -> ml_collections.ConfigDict:
  """Return the run card; `variant` is a comma-separated list of names."""
  config = imu_realdisp.base('motionsense', persons=21)
  imu_realdisp.apply(config, variant)
  return config
