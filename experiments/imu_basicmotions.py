"""IMUDiffusion on BasicMotions: a watch, a few minutes, for quick looks.

Data:  UEA archive, 10 Hz brought to 50 Hz, gravity removed; standing, running,
       walking, badminton; persons unknown, so random groups are held out. In
       `$DIFFAX_DATA/imu/basicmotions`.
Run:   python -m diffax.main --config=experiments/imu_basicmotions.py
Cost:  as imu_realdisp, which has the variants.
"""

import ml_collections

from experiments import imu_realdisp


def get_config(variant: str = '') -> ml_collections.ConfigDict:
  """Return the run card; `variant` is a comma-separated list of names."""
  config = imu_realdisp.base('basicmotions', persons=4)
  imu_realdisp.apply(config, variant)
  return config
