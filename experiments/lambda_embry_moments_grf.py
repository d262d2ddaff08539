"""LaMbDA on walking: joint moments and ground-reaction forces (Table 1).

Data, run, cost, variants: as lambda_embry_angles_moments.
"""

import ml_collections

from experiments import lambda_embry_angles_moments
from experiments import lambda_lorenz

PAPER = {
    'without alignment (paper)': {
        'moments|grf': {'MSE': 0.08, 'FID': 16.5, 'predictive MAE': 0.08},
        'grf|moments': {'MSE': 0.03, 'FID': 6.6, 'predictive MAE': 0.07},
    },
    'LaMbDA (paper)': {
        'moments|grf': {'MSE': 0.07, 'FID': 13.7, 'predictive MAE': 0.07},
        'grf|moments': {'MSE': 0.03, 'FID': 4.3, 'predictive MAE': 0.05},
    },
}


def get_config(variant: str = '') -> ml_collections.ConfigDict:
  """Return the run card; `variant` is a comma-separated list of names."""
  config = lambda_embry_angles_moments.embry(('moments', 'grf'), PAPER)
  lambda_lorenz.apply(config, variant)
  return config
