"""Forecasts without training: the rivals that every model has to beat.

Each is a function like a trained system's: (batch, key) -> `[B, K, F, J, 3]`
in metres; none draws random numbers.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from diffax.data.base import Source
from diffax.errors import UserError
from diffax.typing import Array
from diffax.typing import Batch
from diffax.typing import Key


class ZeroVelocity:
  """Repeat the last observed pose."""

  samples = 1

  def __init__(self, info: Mapping[str, Any]):
    self._future = info['future']

  def __call__(self, batch: Batch, key: Key) -> Array:
    """Return `[B, 1, F, J, 3]` of `batch['past']` `[B, P, J, 3]`."""
    del key
    last = jnp.asarray(batch['past'])[:, -1]
    return jnp.repeat(last[:, None, None], self._future, axis=2)


class NearestNeighbour:
  """Continue as those training windows did whose past is most similar.

  Similar is |past - past'|, the norm over frames, joints and coordinates of
  root-centred poses.

  Attributes:
    samples: K neighbours, nearest first.
  """

  def __init__(self, pasts: np.ndarray, futures: np.ndarray, samples: int):
    if samples < 1 or not len(pasts):
      raise UserError(
          'nearest neighbour: expected one or more samples and training '
          f'windows, found {samples} and {len(pasts)}.'
      )
    self.samples = min(samples, len(pasts))
    self._futures = futures
    flat = np.asarray(pasts, np.float32).reshape(len(pasts), -1)
    self._centre = flat.mean(0, keepdims=True)
    self._bank = jnp.asarray(flat - self._centre)
    self._size = jnp.sum(self._bank**2, axis=-1)

  def __call__(self, batch: Batch, key: Key) -> Array:
    """Return `[B, K, F, J, 3]` of `batch['past']` `[B, P, J, 3]`."""
    del key
    past = np.asarray(batch['past'], np.float32)
    query = past.reshape(len(past), -1) - self._centre
    nearest = _nearest(query, self._bank, self._size, self.samples)
    return jnp.asarray(self._futures[np.asarray(nearest)])


def zero_velocity(source: Source, samples: int) -> ZeroVelocity:
  """Build the baseline that stands still; one sample whatever `samples`."""
  del samples
  return ZeroVelocity(source.info)


def nearest_neighbour(source: Source, samples: int) -> NearestNeighbour:
  """Build the baseline of the one nearest training window."""
  del samples
  windows = source.segments('train')
  return NearestNeighbour(windows['past'], windows['future'], 1)


def nearest_neighbours(source: Source, samples: int) -> NearestNeighbour:
  """Build the baseline of the `samples` nearest training windows.

  It draws as many futures as a model, and each is a real motion; where the
  training split has fewer windows it draws them all.
  """
  windows = source.segments('train')
  return NearestNeighbour(windows['past'], windows['future'], samples)


def _search(query: Array, bank: Array, size: Array, samples: int) -> Array:
  # |a - b|^2 without |a|^2, which does not change the order.
  cross = jnp.matmul(query, bank.T, precision=jax.lax.Precision.HIGHEST)
  return jax.lax.top_k(2 * cross - size[None], samples)[1]


_nearest = jax.jit(_search, static_argnums=3)

Baseline = ZeroVelocity | NearestNeighbour
BASELINES: Mapping[str, Callable[[Source, int], Baseline]] = {
    'zero_velocity': zero_velocity,
    'nearest_neighbour': nearest_neighbour,
    'nearest_neighbours': nearest_neighbours,
}
