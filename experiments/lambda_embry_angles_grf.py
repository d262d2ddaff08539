"""LaMbDA on walking: joint angles and ground-reaction forces (Table 1).

Data, run, cost, variants: as lambda_embry_angles_moments.
"""

import ml_collections

from experiments import lambda_embry_angles_moments
from experiments import lambda_lorenz

PAPER = {
    'without alignment (paper)': {
        'angles|grf': {'MSE': 0.22, 'FID': 66.7, 'predictive MAE': 0.30},
        'grf|angles': {'MSE': 0.07, 'FID': 24.8, 'predictive MAE': 0.12},
    },
    'LaMbDA (paper)': {
        'angles|grf': {'MSE': 0.19, 'FID': 40.4, 'predictive MAE': 0.16},
        'grf|angles': {'MSE': 0.06, 'FID': 5.8, 'predictive MAE': 0.08},
    },
}


def get_config(variant: str = '') -> ml_collections.ConfigDict:
  """Return the run card; `variant` is a comma-separated list of names."""
  config = lambda_embry_angles_moments.embry(('angles', 'grf'), PAPER)
  lambda_lorenz.apply(config, variant)
  return config
