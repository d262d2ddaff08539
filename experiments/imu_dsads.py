"""IMUDiffusion on DSADS, right leg: walking, running, jumping, cycling.

Data:  Barshan and Altun, Daily and Sports Activities (UCI 256, CC BY 4.0), the
       unit at the right knee, 8 persons, 25 Hz brought to 50 Hz, in
       `$DIFFAX_DATA/imu/dsads`. p8's jumping is p4's recording, so it is left
       out, and the test of p8 has three classes.
Run:   python -m diffax.main --config=experiments/imu_dsads.py
       python -m diffax.study --jobs=2 \\
         --config=experiments/imu_tables.py:loso,dsads,budget
Table: `budget`: few 0.815, few+classical 0.901, few+synthetic 0.958, full 0.991
       (macro-F1, mean of 8 persons).
Cost:  as imu_realdisp, which has the variants.
"""

import ml_collections

from experiments import imu_realdisp


def get_config(variant: str = '') -> ml_collections.ConfigDict:
  """Return the run card; `variant` is a comma-separated list of names."""
  config = imu_realdisp.base('dsads', persons=8)
  imu_realdisp.apply(config, variant)
  return config
