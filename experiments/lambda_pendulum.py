"""LaMbDA on a double pendulum that swings regularly.

Paper: Table 2, "Double pendulum (non-chaotic)": both angular velocities.
Data:  generated, 10,000 steps of 0.01; 971 windows of 300 samples.
Run:   python -m diffax.main --config=experiments/lambda_pendulum.py
Sizes, cost, variants: as lambda_lorenz.

Small swings are a linear system, so ridge regression is exact here.
"""

import ml_collections

from experiments import lambda_lorenz

PAPER = {
    'without alignment (paper)': {
        'x|y': {'MSE': 2.5e-3}, 'y|x': {'MSE': 6.6e-3},
    },
    'LaMbDA (paper)': {'x|y': {'MSE': 2.5e-3}, 'y|x': {'MSE': 6.4e-3}},
}


def get_config(variant: str = '') -> ml_collections.ConfigDict:
  """Return the run card; `variant` is a comma-separated list of names."""
  config = lambda_lorenz.get_config()
  config.data.update({'name': 'pendulum', 'regime': 'regular'})
  config.eval.sign_invariant = ()
  config.eval.paper = PAPER
  lambda_lorenz.apply(config, variant)
  return config
