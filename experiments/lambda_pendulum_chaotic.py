"""LaMbDA on a double pendulum that swings chaotically.

Paper: Table 2, "Double pendulum (chaotic)": both angular velocities.
Data:  generated, 10,000 steps of 0.01; 971 windows of 300 samples.
Run:   python -m diffax.main --config=experiments/lambda_pendulum_chaotic.py
Sizes, cost, variants: as lambda_lorenz.
"""

import ml_collections

from experiments import lambda_pendulum
from experiments import lambda_lorenz

PAPER = {
    'without alignment (paper)': {
        'x|y': {'MSE': 0.042}, 'y|x': {'MSE': 0.031},
    },
    'LaMbDA (paper)': {'x|y': {'MSE': 0.028}, 'y|x': {'MSE': 0.021}},
}


def get_config(variant: str = '') -> ml_collections.ConfigDict:
  """Return the run card; `variant` is a comma-separated list of names."""
  config = lambda_pendulum.get_config()
  config.data.regime = 'chaotic'
  config.eval.paper = PAPER
  lambda_lorenz.apply(config, variant)
  return config
