"""Losses of denoisers: weights, Mahalanobis reductions, best of K, KL.

With e the error of x_0 in the directions of the process,

  (1)  l1    weight * mean |e / sigma_t|      as SkeletonDiffusion released it
  (2)  l2    weight * mean (e / sigma_t)^2
  (3)  norm  weight * |e / sigma_t|           as its paper prints it.

References:
  Curreli et al., "Nonisotropic Gaussian Diffusion for Realistic 3D Human
  Motion Prediction", CVPR 2025, Eq. 8, 10 and its released code.
  Hang et al., "Efficient Diffusion Training via Min-SNR Weighting", 2023.
  Kingma and Welling, "Auto-Encoding Variational Bayes", 2014, App. B.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from diffax.diffusion import gaussian
from diffax.diffusion.process import Level, Process
from diffax.errors import UserError
from diffax.typing import Array, PyTree

WEIGHTS = ('uniform', 'alphabar', 'snr', 'min_snr')
NORMS = ('l1', 'l2', 'norm')


def weights(kind: str, t: Level, cap: float = 5.0) -> Array:
  """Return the weight of an error of x_0 at `t`.

  Args:
    kind: 'uniform' 1, 'alphabar' alpha^2, 'snr' alpha^2 / sigma^2, 'min_snr'
      the same but at most `cap`.
    t: level [B, *E]; not the clean one for 'snr'.
    cap: bound of 'min_snr'.

  Returns:
    [B, *E].
  """
  if kind not in WEIGHTS:
    raise UserError(f'weight: expected one of {WEIGHTS}, found {kind!r}.')
  if kind == 'uniform':
    return jnp.ones_like(t.alpha)
  if kind == 'alphabar':
    return t.alpha**2
  snr = 1 / t.ratio
  return snr if kind == 'snr' else jnp.minimum(snr, cap)


def mahalanobis(
    process: Process,
    error: Array,
    t: Array,
    norm: str = 'l1',
    weight: str = 'alphabar',
) -> Array:
  """Reduce errors of x_0 to one weighted Mahalanobis loss per sample, Eq. 1-3.

  Args:
    process: the forward process.
    error: prediction minus x_0 [B, *S], data space.
    t: times [B], 1 .. T.
    norm: 'l1', 'l2' or 'norm'.
    weight: kind of `weights`.

  Returns:
    [B].

  References:
    Curreli et al. 2025, Eq. 8 (norm), 38 (l2, up to the mean).
  """
  if norm not in NORMS:
    raise UserError(f'norm: expected one of {NORMS}, found {norm!r}.')
  level = process.at(t)
  whitened = gaussian.standardise(process.to_basis(error), level)
  scale = weights(weight, level)
  axes = tuple(range(t.ndim, error.ndim))
  if norm == 'l1':
    return jnp.mean(scale * jnp.abs(whitened), axes)
  if norm == 'l2':
    return jnp.mean(scale * whitened**2, axes)
  total = jnp.sum((scale * whitened) ** 2, axes)
  # The root has no gradient at 0.
  return jnp.where(total > 0, jnp.sqrt(jnp.where(total > 0, total, 1)), 0)


class Best(NamedTuple):
  """Hold the candidates that scored lowest.

  Attributes:
    candidate: tree of [B, ...], the winner of each batch element.
    choice: which one of K it was [B] int32.
    scores: of all candidates [K, B].
  """

  candidate: PyTree
  choice: Array
  scores: Array


def best_of(
    score: Callable[[PyTree, PyTree], Array],
    inputs: PyTree,
    candidates: PyTree,
    chunk: int | None = None,
) -> Best:
  """Choose the best of K candidates without gradients.

  The relaxed loss is min_k score(k). Only the winner has a gradient, so the
  others need no backward pass: choose here, then differentiate a loss of the
  winner alone.

    best = best_of(score, params, noise)
    loss = objective(params, best.candidate)

  Args:
    score: (inputs, candidates [k, B, ...]) -> [k, B]; lower is better.
    inputs: all that `score` depends on differentiably, e.g. parameters; it is
      cut from the gradient, so that nothing is stored for a backward pass.
    candidates: tree of [K, B, ...], e.g. noise.
    chunk: candidates scored at once, a divisor of K, to bound memory; default
      all.

  Returns:
    Best.

  Raises:
    UserError: `chunk` does not divide K.

  References:
    Curreli et al. 2025, Eq. 10; the choice without gradients is that of its
    released code since 2026.
  """
  inputs, candidates = jax.lax.stop_gradient((inputs, candidates))
  count = jax.tree.leaves(candidates)[0].shape[0]
  chunk = count if chunk is None else chunk
  if chunk < 1 or count % chunk:
    raise UserError(f'chunk: expected a divisor of {count}, found {chunk}.')
  if chunk == count:
    scores = score(inputs, candidates)
  else:
    parts = jax.tree.map(
        lambda x: x.reshape(count // chunk, chunk, *x.shape[1:]), candidates
    )
    scores = jax.lax.map(lambda part: score(inputs, part), parts)
    scores = scores.reshape(count, -1)
  choice = jnp.argmin(scores, axis=0)
  rows = jnp.arange(choice.shape[0])
  winner = jax.tree.map(lambda x: x[choice, rows], candidates)
  return Best(winner, choice, scores)


def kl_normal(mean: Array, log_variance: Array) -> Array:
  """Return KL(N(mean, exp(log_variance)) || N(0, 1)) per element: [...]."""
  return 0.5 * (mean**2 + jnp.exp(log_variance) - 1 - log_variance)
