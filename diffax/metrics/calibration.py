"""Whether predicted futures differ from each other as the truth differs.

A coordinate of one joint in one frame has K predicted values x_k and a true
one y, whose rank among them is

  (1)  r = #{k: x_k < y} + #{k: x_k = y} / 2,   0 <= r <= K.

If the truth is one more draw of what drew the samples, its K + 1 places are
equally likely. The interval from the i-th least to the i-th greatest sample
then holds it with probability

  (2)  p_i = (K + 1 - 2 i) / (K + 1),   i = 1 .. floor(K / 2),

exactly and for every K; the 1 - 2 i / K of very many samples would call a
perfect set of few too narrow. Let c_i be the share of coordinates, frames and
segments with i <= r <= K - i. The expected calibration error and its sign are

  (3)  ECE = mean_i |c_i - p_i|,   bias = mean_i (c_i - p_i).

A negative bias says that futures are too much alike, a positive one that they
spread too far. The shares are averaged before the absolute value: those of
one segment, whose coordinates move together, are far from p_i by chance.
ECE is 0 if each coordinate for itself is calibrated on average; what
coordinates do together it does not see.

References:
  Hamill, "Interpretation of rank histograms for verifying ensemble
  forecasts", 2001, for Eq. 1-2. Kuleshov et al., "Accurate uncertainties for
  deep learning using calibrated regression", ICML 2018, for the comparison of
  levels with coverage; its error is a weighted sum of squares.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from diffax.typing import Array


class Calibration(NamedTuple):
  """Hold how often intervals of samples cover the truth.

  Attributes:
    level: p of Eq. 2, `[K // 2]`, falling.
    coverage: c `[K // 2]`.
    error: ECE of Eq. 3, None of fewer than two samples.
    bias: its sign and size, likewise.
  """

  level: np.ndarray
  coverage: np.ndarray
  error: float | None
  bias: float | None


def levels(samples: int) -> np.ndarray:
  """Return the nominal levels of K samples, `[K // 2]` float64 (Eq. 2)."""
  i = np.arange(1, samples // 2 + 1)
  return (samples + 1.0 - 2 * i) / (samples + 1)


def ranks(pred: Array, target: Array) -> Array:
  """Return the ranks of true values among samples (Eq. 1).

  Args:
    pred: `[K, ...]`.
    target: `[...]`.

  Returns:
    `[...]`, 0 to K in steps of one half.
  """
  chex.assert_equal_shape([pred[0], target])
  below = jnp.sum(pred < target[None], axis=0)
  return below + jnp.sum(pred == target[None], axis=0) / 2


def coverage(pred: Array, target: Array) -> Array:
  """Return how many coordinates of a segment lie within each interval.

  Args:
    pred: `[K, F, J, 3]`.
    target: `[F, J, 3]`.

  Returns:
    `[K // 2]`, shares of the F J 3 coordinates.
  """
  chex.assert_rank([pred, target], [4, 3])
  samples = pred.shape[0]
  rank = ranks(pred, target).reshape(-1)
  # How many samples lie beyond the truth on the side where there are fewer.
  depth = jnp.minimum(rank, samples - rank)
  return jnp.mean(
      depth[None] >= jnp.arange(1, samples // 2 + 1)[:, None], axis=1
  )


def summary(covered: np.ndarray, samples: int) -> Calibration:
  """Return the calibration of a data set (Eq. 3).

  Args:
    covered: mean of `coverage` over its segments, `[K // 2]`.
    samples: K.
  """
  level, covered = levels(samples), np.asarray(covered, np.float64)
  chex.assert_equal_shape([level, covered])
  if not len(level):
    return Calibration(level, covered, None, None)
  gap = covered - level
  return Calibration(
      level, covered, float(np.abs(gap).mean()), float(gap.mean())
  )


def calibration(pred: Array, target: Array) -> Calibration:
  """Return the calibration of K futures of each of B segments.

  Args:
    pred: `[B, K, F, J, 3]`.
    target: `[B, F, J, 3]`.

  Returns:
    That of all segments together.
  """
  chex.assert_rank([pred, target], [5, 4])
  each = jax.lax.map(lambda x: coverage(*x), (pred, target))
  return summary(np.asarray(each, np.float64).mean(0), pred.shape[1])
