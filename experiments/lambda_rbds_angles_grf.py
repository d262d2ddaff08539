"""LaMbDA on treadmill running: joint angles and ground-reaction forces.

Data, run, cost, variants: as lambda_rbds_angles_moments.
"""

import ml_collections

from experiments import lambda_lorenz
from experiments import lambda_rbds_angles_moments


def get_config(variant: str = '') -> ml_collections.ConfigDict:
  """Return the run card; `variant` is a comma-separated list of names."""
  config = lambda_rbds_angles_moments.rbds(('angles', 'grf'))
  lambda_lorenz.apply(config, variant)
  return config
