"""LaMbDA on generated walking: joint angles and ground-reaction forces.

Signals of the shape of the paper's data (10 subjects, 27 speeds and inclines),
made by a formula, for tests and for trying the tables out. No number measured
on them says anything about people.

Run, variants: as lambda_embry_angles_moments.
"""

import ml_collections

from experiments import lambda_embry_angles_moments
from experiments import lambda_lorenz


def get_config(variant: str = '') -> ml_collections.ConfigDict:
  """Return the run card; `variant` is a comma-separated list of names."""
  config = lambda_embry_angles_moments.embry(('angles', 'grf'), {})
  config.data.name = 'gait_synthetic'
  lambda_lorenz.apply(config, variant)
  return config
