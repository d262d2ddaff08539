"""Body realism: do the limbs of a prediction keep their length?

With l_f the length of a limb in frame f of a sample and b its true length,
the mean over the frames of the true future,

  (1)  stretch e_f = |l_f - b| / b,      jitter v_f = |l_{f+1} - l_f| / b

and the reported values are means over samples and limbs, in percent, of

  (2)  mean:  |mean_f l_f - b| / b (released)  or  mean_f e_f (paper)
       RMSE:  sqrt(mean_f e_f^2)
  (3)  mean:  mean_f v_f
       RMSE:  sqrt(mean_f v_f^2)

Limbs are the edges of the node graph, the three of the hips included.

References:
  Curreli et al., CVPR 2025, Eq. 13, Fig. 7 and 12, Appendix F.1, and its
  released code.
"""

from typing import NamedTuple

import chex
import jax.numpy as jnp
import numpy as np

from diffax.errors import UserError
from diffax.typing import Array


class LimbErrors(NamedTuple):
  """Errors of the limbs of one segment, as fractions of their length.

  Attributes:
    stretch_mean: `[K, E]`.
    stretch_rmse: `[K, E]`.
    jitter_mean: `[K, E]`.
    jitter_rmse: `[K, E]`.
    stretch_max: `[K]`, over frames and limbs.
    jitter_max: `[K]`, over frames and limbs.
  """

  stretch_mean: Array
  stretch_rmse: Array
  jitter_mean: Array
  jitter_rmse: Array
  stretch_max: Array
  jitter_max: Array


def limb_lengths(motion: Array, edges: np.ndarray) -> Array:
  """Return the lengths of limbs.

  Args:
    motion: `[..., J, 3]`, metres.
    edges: `[E, 2]` pairs of nodes.

  Returns:
    `[..., E]` metres.
  """
  edges = np.asarray(edges)
  limbs = motion[..., edges[:, 0], :] - motion[..., edges[:, 1], :]
  return jnp.sqrt(jnp.sum(limbs**2, axis=-1))


def limb_errors(
    pred: Array, target: Array, edges: np.ndarray, stretch: str = 'released'
) -> LimbErrors:
  """Return stretching and jitter of every sample and limb (Eq. 1-3).

  Args:
    pred: `[K, F, J, 3]`, metres.
    target: `[F, J, 3]`, metres.
    edges: `[E, 2]` pairs of nodes.
    stretch: which mean of Eq. 2, `released` or `paper`. The released one
      lets longer and shorter frames cancel.

  Returns:
    Fractions of the true length; times 100 they are the tables' percent.
  """
  chex.assert_rank([pred, target], [4, 3])
  if stretch not in ('released', 'paper'):
    raise UserError(
        f"stretch: expected 'released' or 'paper', found {stretch!r}."
    )
  length = limb_lengths(pred, edges)
  true = jnp.mean(limb_lengths(target, edges), axis=0)[None, None]
  error = (length - true) / true
  step = jnp.abs(length[:, 1:] - length[:, :-1]) / true
  if stretch == 'released':
    mean = jnp.abs(jnp.mean(error, axis=1))
  else:
    mean = jnp.mean(jnp.abs(error), axis=1)
  return LimbErrors(
      mean,
      jnp.sqrt(jnp.mean(error**2, axis=1)),
      jnp.mean(step, axis=1),
      jnp.sqrt(jnp.mean(step**2, axis=1)),
      jnp.max(jnp.abs(error), axis=(1, 2)),
      jnp.max(step, axis=(1, 2)),
  )


class Spread(NamedTuple):
  """Mean, largest and least of a statistic of the limbs."""

  mean: Array
  max: Array
  min: Array


def limb_statistics(
    pred: Array, target: Array, edges: np.ndarray
) -> dict[str, Spread]:
  """Return the limb statistics that the released validation logs.

  Args:
    pred: `[K, F, J, 3]`, metres.
    target: `[F, J, 3]`, metres.
    edges: `[E, 2]` pairs of nodes.

  Returns:
    `error`: |l_f - true l_f| averaged over frames and limbs, metres, over
    samples; `variance`: of l over the frames (unbiased), metres squared, over
    samples and limbs; `jitter`: |l_{f+1} - l_f|, metres, over everything.
  """
  length = limb_lengths(pred, edges)
  true = limb_lengths(target, edges)[None]
  statistics = {
      'error': jnp.mean(jnp.abs(length - true), axis=(1, 2)),
      'variance': jnp.var(length, axis=1, ddof=1),
      'jitter': jnp.abs(length[:, 1:] - length[:, :-1]),
  }
  return {
      name: Spread(jnp.mean(x), jnp.max(x), jnp.min(x))
      for name, x in statistics.items()
  }


def validity(largest: Array, tolerances: Array) -> Array:
  """Return the share of samples that stay within each tolerance (Fig. 7).

  Args:
    largest: largest error of each sample, `[K]`, in percent.
    tolerances: `[T]`, in percent.

  Returns:
    `[T]` between 0 and 1.
  """
  valid = largest[None, :] <= tolerances[:, None]
  return jnp.mean(valid.astype(largest.dtype), axis=1)


def valid_apd(distance: Array, largest: Array, tolerances: Array) -> Array:
  """Return the diversity among the valid samples (Fig. 12).

  The figure divides it by the APD of all samples.

  Args:
    distance: `[K, K]` of `forecasting.pairwise_distance`, metres.
    largest: largest error of each sample, `[K]`, in percent.
    tolerances: `[T]`, in percent.

  Returns:
    APD of the valid `[T]` in metres; 0 where fewer than two are valid.
  """
  valid = (largest[None, :] <= tolerances[:, None]).astype(distance.dtype)
  pairs = jnp.einsum('tk,kl,tl->t', valid, distance, valid, precision='highest')
  count = jnp.sum(valid, axis=1)
  return pairs / jnp.maximum(count * (count - 1), 1)
