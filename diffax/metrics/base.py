"""Accumulators: statistics of a stream, merged from its parts.

For parts a and b with counts n, means m and sums of squared deviations s,

  (1)  n = n_a + n_b,   m = m_a + (m_b - m_a) n_b / n
  (2)  s = s_a + s_b + (m_b - m_a)^2 n_a n_b / n

so batches, hosts and devices may be summed up in any order.

References:
  Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for
  computing sample variances", 1979, Eq. 1.5.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from diffax.typing import Array


class Mean(NamedTuple):
  """Hold a running mean.

  Attributes:
    total: sum of the values counted.
    count: number of values counted.
  """

  total: Any
  count: Any

  def result(self) -> Any:
    """Return the mean, NaN of nothing."""
    return self.total / jnp.where(self.count > 0, self.count, jnp.nan)


class Moments(NamedTuple):
  """Hold a running mean and spread.

  Attributes:
    count: number of values counted.
    mean: their mean, 0 of nothing.
    square: their sum of squared deviations from the mean.
  """

  count: Any
  mean: Any
  square: Any


def mean(values: Array, where: Array | None = None) -> Mean:
  """Start a mean from values of any shape; `where` masks those counted."""
  where = jnp.ones(values.shape, bool) if where is None else where
  return Mean(jnp.sum(jnp.where(where, values, 0)), jnp.sum(where))


def merge_means(a: Mean, b: Mean) -> Mean:
  """Join two means."""
  return Mean(a.total + b.total, a.count + b.count)


def moments(values: Array, where: Array | None = None) -> Moments:
  """Start moments from values of any shape; `where` masks those counted."""
  where = jnp.ones(values.shape, bool) if where is None else where
  count = jnp.sum(where).astype(values.dtype)
  centre = jnp.sum(jnp.where(where, values, 0)) / jnp.maximum(count, 1)
  square = jnp.sum(jnp.where(where, values - centre, 0) ** 2)
  return Moments(count, centre, square)


def merge(a: Moments, b: Moments) -> Moments:
  """Join two moments (Eq. 1-2).

  Args:
    a: moments of one part, or a tree of them with equal structure to `b`.
    b: moments of the other part; numbers or arrays.

  Returns:
    Moments of both parts.
  """
  count = a.count + b.count
  # A Python scalar and an array both compare and divide; 0 / 1 of nothing.
  share = b.count / (count + (count == 0))
  gap = b.mean - a.mean
  return Moments(
      count,
      a.mean + gap * share,
      a.square + b.square + gap**2 * a.count * share,
  )


def summary(parts: Moments) -> dict[str, float | int | None]:
  """Return `mean`, `std` (of the population) and `n` as plain numbers.

  Mean and spread of nothing are None, which JSON can write.
  """
  count, centre, square = (float(x) for x in jax.device_get(parts))
  if not count:
    return {'mean': None, 'std': None, 'n': 0}
  return {'mean': centre, 'std': (square / count) ** 0.5, 'n': int(count)}
