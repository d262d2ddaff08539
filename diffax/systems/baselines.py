"""Forecasts without training: the rivals that every model has to beat.

Each is a function like a trained system's: (batch, key) -> `[B, K, F, J, 3]`
in metres; none draws random numbers.
"""

from collections.abc import Callable, Mapping
import functools
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
    self._future = info.get('test_future', info['future'])

  def __call__(self, batch: Batch, key: Key) -> Array:
    """Return `[B, 1, F, J, 3]` of `batch['past']` `[B, P, J, 3]`."""
    del key
    last = jnp.asarray(batch['past'])[:, -1]
    return jnp.repeat(last[:, None, None], self._future, axis=2)


class NearestNeighbour:
  """Continue as those training windows did whose past is most similar.

  With `turn`, similar is the distance after the best turn about the vertical:
  the heading of a walk says nothing of how it goes on, and models see all
  headings in training. With x + iy a point seen from above,

    (1)  min_theta |a - e^{i theta} b|^2
           = |a|^2 + |b|^2 - 2 |sum a_xy conj(b_xy)| - 2 sum a_z b_z,
         theta = arg sum a_xy conj(b_xy)

  Attributes:
    samples: K neighbours, nearest first.
  """

  def __init__(
      self, pasts: np.ndarray, futures: np.ndarray, samples: int,
      turn: bool = True
  ):
    """Keep the windows.

    Args:
      pasts: `[N, P, J, 3]`, root-centred, z up.
      futures: `[N, F, J, 3]`.
      samples: K; all N where there are fewer.
      turn: compare, and continue, after the best turn; else as they stand.

    Raises:
      UserError: if there are no windows or no samples.
    """
    if samples < 1 or not len(pasts):
      raise UserError(
          'nearest neighbour: expected one or more samples and training '
          f'windows, found {samples} and {len(pasts)}.'
      )
    self.samples = min(samples, len(pasts))
    self._turn = turn
    self._futures = futures
    self._bank = jnp.asarray(pasts, jnp.float32)

  def __call__(self, batch: Batch, key: Key) -> Array:
    """Return `[B, K, F, J, 3]` of `batch['past']` `[B, P, J, 3]`."""
    del key
    past = jnp.asarray(batch['past'], jnp.float32)
    nearest, angle = _nearest(past, self._bank, self.samples, self._turn)
    return _turned(self._futures[np.asarray(nearest)], angle)


def zero_velocity(source: Source, samples: int) -> ZeroVelocity:
  """Build the baseline that stands still; one sample whatever `samples`."""
  del samples
  return ZeroVelocity(source.info)


def neighbours(
    source: Source, samples: int, *, many: bool, turn: bool
) -> NearestNeighbour:
  """Build a baseline of the training windows nearest to the past.

  Args:
    source: whose training segments are the windows.
    samples: K.
    many: give K futures, as many as a model does (all windows where there are
      fewer), instead of the one nearest.
    turn: compare after the best turn about the vertical.

  Returns:
    The baseline.
  """
  windows = source.segments('train')
  count = samples if many else 1
  return NearestNeighbour(windows['past'], windows['future'], count, turn)


@functools.partial(jax.jit, static_argnums=(2, 3))
def _nearest(
    past: Array, bank: Array, samples: int, turn: bool
) -> tuple[Array, Array]:
  """Return the windows nearest to each past and their turns, `[B, K]`."""
  def product(a: int, b: int) -> Array:
    rows, columns = (
        x[..., axis].reshape(x.shape[0], -1)
        for x, axis in ((past, a), (bank, b))
    )
    return jnp.matmul(rows, columns.T, precision=jax.lax.Precision.HIGHEST)

  along = product(0, 0) + product(1, 1)
  across = product(1, 0) - product(0, 1) if turn else jnp.zeros_like(along)
  level = jnp.sqrt(along**2 + across**2) if turn else along
  size = jnp.sum(bank**2, axis=(1, 2, 3))
  # |a|^2 does not change the order.
  score = 2 * (level + product(2, 2)) - size[None]
  nearest = jax.lax.top_k(score, samples)[1]
  angle = jnp.arctan2(across, along) if turn else across
  return nearest, jnp.take_along_axis(angle, nearest, axis=1)


@jax.jit
def _turned(motion: Array, angle: Array) -> Array:
  """Turn motions `[B, K, F, J, 3]` about z by `[B, K]` radians."""
  cos, sin = jnp.cos(angle), jnp.sin(angle)
  cos, sin = (x[:, :, None, None] for x in (cos, sin))
  x, y, z = motion[..., 0], motion[..., 1], motion[..., 2]
  return jnp.stack([cos * x - sin * y, sin * x + cos * y, z], axis=-1)


Baseline = ZeroVelocity | NearestNeighbour
BASELINES: Mapping[str, Callable[[Source, int], Baseline]] = {
    'zero_velocity': zero_velocity,
    'nearest_neighbour': functools.partial(
        neighbours, many=False, turn=False
    ),
    'nearest_neighbours': functools.partial(neighbours, many=True, turn=False),
    'turned_neighbour': functools.partial(neighbours, many=False, turn=True),
    'turned_neighbours': functools.partial(neighbours, many=True, turn=True),
}
