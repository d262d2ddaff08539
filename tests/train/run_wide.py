"""Train a wide toy as a program: run_wide.py WORKDIR STEPS {"delay": 0, ...}.

The JSON may name `sharing`, the loop's setting, `every`, steps between
checkpoints, and `delay`, seconds between batches.
"""

import json
import pathlib
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import toy

from diffax.systems.base import System
from diffax.systems.base import Variables
from diffax.train import devices
from diffax.train import loop

WIDTHS = 8, 64, 8


def system():
  """Fit two layers whose arrays two, four and eight devices divide."""

  def init(key, batch):
    del batch
    keys = jax.random.split(key, 2)
    shapes = zip(WIDTHS, WIDTHS[1:])
    layers = {
        f'w{i}': jax.random.normal(k, shape) / shape[0] ** 0.5
        for i, (k, shape) in enumerate(zip(keys, shapes))
    }
    return Variables(layers, {'scale': jnp.linspace(0.5, 1, WIDTHS[-1])})

  def loss(params, frozen, batch, key):
    noise = 0.1 * jax.random.normal(key, batch['x'].shape)
    hidden = jnp.tanh((batch['x'] + noise) @ params['w0'])
    error = frozen['scale'][None] * (hidden @ params['w1'] - batch['y'])
    return jnp.mean(error**2), {'worst': jnp.max(jnp.abs(error))}

  return System(init, loss, lambda *_: {})


def train(delay=0.0):
  """Return step -> batch of 16."""

  def batch(step):
    time.sleep(delay)
    draw = np.random.default_rng([5, step])
    x = draw.normal(size=(16, WIDTHS[0])).astype(np.float32)
    return {'x': x, 'y': np.sin(x[:, ::-1])}

  return batch


def fit(workdir, steps, every=10**6, delay=0.0, **options):
  """Train so many steps and write the metrics of each."""
  arguments = {
      **toy.ARGUMENTS, 'name': 'wide', 'log_every': 1,
      'checkpoint': {'every': every, 'keep': 2}, **options,
  }
  return loop.fit(
      system(), train(delay), steps=steps, workdir=pathlib.Path(workdir),
      **arguments,
  )


if __name__ == '__main__':
  devices.initialise()
  fit(sys.argv[1], int(sys.argv[2]), **json.loads(sys.argv[3]))
