"""IMUDiffusion on generated signals of 12 virtual persons; nothing to download.

Data:  made on first use (`diffax/data/imu_signals.py`): walking, running,
       jumping, cycling; its numbers say nothing about people.
Run:   python -m diffax.main --config=experiments/imu_synthetic.py:smoke
Cost:  as imu_realdisp, which has the variants.
"""

import ml_collections

from experiments import imu_realdisp


def get_config(variant: str = '') -> ml_collections.ConfigDict:
  """Return the run card; `variant` is a comma-separated list of names."""
  config = imu_realdisp.base('imu_synthetic')
  imu_realdisp.apply(config, variant)
  return config
