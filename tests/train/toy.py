"""A linear system that trains in milliseconds."""

import jax
import jax.numpy as jnp
import numpy as np

from diffax.systems.base import System
from diffax.systems.base import Variables

ARGUMENTS = {
    'name': 'toy',
    'seed': 3,
    'optim': {
        'name': 'adamw_amsgrad',
        'weight_decay': 0.01,
        'clip': 1.0,
        'schedule': {'name': 'constant', 'value': 0.02},
    },
    'ema': {'decay': 0.9, 'every': 2, 'start': 4},
    'checkpoint': {'every': 5, 'keep': 2},
    'log_every': 2,
}


def system(traces=None):
  """Fit y = x w + b with noisy inputs; `traces` counts tracings of the loss."""

  def init(key, batch):
    w = jax.random.normal(key, (batch['x'].shape[-1], 2))
    return Variables({'w': w, 'b': jnp.zeros(2)}, {'scale': jnp.ones(2)})

  def loss(params, frozen, batch, key):
    if traces is not None:
      traces.append(1)
    noise = 0.1 * jax.random.normal(key, batch['x'].shape)
    y = (batch['x'] + noise) @ params['w'] + params['b'][None]
    error = frozen['scale'][None] * (y - batch['y'])
    return jnp.mean(error**2), {'worst': jnp.max(jnp.abs(error))}

  def sample(params, frozen, batch, key):
    del frozen, key
    return {'y': batch['x'] @ params['w'] + params['b'][None]}

  return System(init, loss, sample)


def train(bad=(), size=16):
  """Return step -> batch; the batches of the steps in `bad` hold a NaN."""

  def batch(step):
    draw = np.random.default_rng([7, step])
    x = draw.normal(size=(size, 3)).astype(np.float32)
    y = x @ np.array([[1, 2], [3, 4], [5, 6]], np.float32)
    if step in bad:
      x[1, 1] = np.nan
    return {'x': x, 'y': y}

  return batch
