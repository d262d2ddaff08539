"""LaMbDA with three modalities on running: angles, moments and forces.

Beyond the paper, whose open question this is: the latents of three models are
aligned pair by pair, or (`centroid`) each with the mean of all. Conditions are
hidden at random while training, so one or two modalities may be given.

Data, run, cost, variants: as lambda_rbds_angles_moments; and `centroid`.
"""

import ml_collections

from experiments import lambda_lorenz
from experiments import lambda_rbds_angles_moments


def get_config(variant: str = '') -> ml_collections.ConfigDict:
  """Return the run card; `variant` is a comma-separated list of names."""
  config = lambda_rbds_angles_moments.rbds(('angles', 'moments', 'grf'))
  config.system.condition_dropout = 0.25
  config.system.alignment.among = 'pairwise'
  names = [name for name in variant.split(',') if name != 'centroid']
  if 'centroid' in variant.split(','):
    config.system.alignment.among = 'centroid'
  lambda_lorenz.apply(config, ','.join(names))
  return config
