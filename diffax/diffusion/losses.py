"""Losses of denoisers and of paired latents.

With e the error of x_0 in the directions of the process,

  (1)  l1    weight * mean |e / sigma_t|      as SkeletonDiffusion released it
  (2)  l2    weight * mean (e / sigma_t)^2
  (3)  norm  weight * |e / sigma_t|           as its paper prints it.

A series x [L, C] has the energy of its first differences, one per sample and
channel, and a prediction of it is pushed from its time-shuffles x^k by

  (4)  energy    mean (E(x_hat) - E(x))^2,  E(x)_l = (x_{l+1} - x_l)^2 / 2
  (5)  negative  mean (x_hat - x)^2
                 - w mean_k min(mean (x_hat - x^k)^2, clip).

Latents X, Y [B, L, D] of two modalities are cut into P windows of S steps.
With windows i, j of all B P, sim(i, j) the similarity of X^i and Y^j, and
covariances C over the samples of a group g (a step's batch, a window or a
sequence),

  (6)  contrast    -mean_i log(exp(sim(i, i) / tau)
                               / sum_j exp(sim(i, j) / tau))
  (7)  covariance  mean_g mean_ij (C_X - C_Y)_ij^2

are LaMbDA's alignment; `diffusion.alignment` holds its self-supervised rivals.
Its weight alpha is learned. As the paper prints it, the loss alpha L falls
without bound as alpha does; with s = log of the loss at the optimum,

  (8)  weighted    exp(-s) L + s.

An error e of what a network predicts may be counted as it is,

  (9)  smooth l1   e^2 / (2 beta) where |e| < beta, else |e| - beta / 2.

References:
  Curreli et al., "Nonisotropic Gaussian Diffusion for Realistic 3D Human
  Motion Prediction", CVPR 2025, Eq. 8, 10 and its released code.
  Hang et al., "Efficient Diffusion Training via Min-SNR Weighting", 2023.
  Kingma and Welling, "Auto-Encoding Variational Bayes", 2014, App. B.
  "LaMbDA: Local Latent Embedding Alignment for Cross-modal Time-series
  Diffusion", Eq. 4-8, A.6.5.
  Kendall et al., "Multi-Task Learning Using Uncertainty to Weigh Losses for
  Scene Geometry and Semantics", CVPR 2018, Eq. 7-8.
  Zhu et al., "Discrete Contrastive Diffusion for Cross-Modal Music and Image
  Generation", ICLR 2023, Eq. 9.
  Girshick, "Fast R-CNN", ICCV 2015, Eq. 3 (smooth l1).
"""

from collections.abc import Callable
from collections.abc import Sequence
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from diffax.diffusion import alignment
from diffax.diffusion import gaussian
from diffax.diffusion.process import Level, Process
from diffax.errors import UserError
from diffax.typing import Array
from diffax.typing import Key
from diffax.typing import PyTree

WEIGHTS = ('uniform', 'alphabar', 'snr', 'min_snr')
NORMS = ('l1', 'l2', 'norm')
ENERGY_NORMS = ('squared', 'l2')
POOLS = ('flatten', 'mean')
SIMILARITIES = ('cosine', 'dot')
GROUPS = ('batch', 'window', 'sequence')
RULES = ('uncertainty', 'fixed', 'literal', 'softplus')

# The learned s of Eq. 8 acts within these bounds.
_S_BOUNDS = (-3.0, 3.0)


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
  _one_of('weight', kind, WEIGHTS)
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
  _one_of('norm', norm, NORMS)
  level = process.at(t)
  whitened = gaussian.standardise(process.to_basis(error), level)
  scale = weights(weight, level)
  axes = tuple(range(t.ndim, error.ndim))
  if norm == 'l1':
    return jnp.mean(scale * jnp.abs(whitened), axes)
  if norm == 'l2':
    return jnp.mean(scale * whitened**2, axes)
  return _root(jnp.sum((scale * whitened) ** 2, axes))


def smooth_l1(
    error: Array, mask: Array | None = None, beta: float = 1.0
) -> Array:
  """Reduce errors to one smooth L1 loss per sample, Eq. 9.

  Args:
    error: [B, *S].
    mask: which elements count, broadcastable to [B, *S]; default all.
    beta: width of the parabola.

  Returns:
    [B], the mean over the elements that count.
  """
  size = jnp.abs(error)
  loss = jnp.where(size < beta, 0.5 * size**2 / beta, size - 0.5 * beta)
  where = None if mask is None else jnp.broadcast_to(mask, error.shape)
  return jnp.mean(loss, axis=tuple(range(1, error.ndim)), where=where)


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


def energy(pred: Array, truth: Array, norm: str = 'squared') -> Array:
  """Compare the energies of first differences, Eq. 4.

  A step of time counts as 1, so that the loss means the same at any rate.

  Args:
    pred: [B, L, C].
    truth: [B, L, C].
    norm: 'squared' takes the mean over samples and channels (the paper's
      Alg. 1), 'l2' the norm of each series' error, mean over B (its Eq. 7).

  Returns:
    Scalar.

  References:
    LaMbDA, Eq. 7, Alg. 1.
  """
  _one_of('norm', norm, ENERGY_NORMS)
  error = 0.5 * (jnp.diff(pred, axis=1) ** 2 - jnp.diff(truth, axis=1) ** 2)
  if norm == 'squared':
    return jnp.mean(error**2)
  return jnp.mean(_root(jnp.sum(error**2, axis=(1, 2))))


def negative_contrast(
    pred: Array,
    truth: Array,
    key: Key,
    count: int = 10,
    weight: float = 5e-5,
    clip: float = 2.0,
) -> Array:
  """Pull a prediction to the truth and off its time-shuffles, Eq. 5.

  A continuous stand-in for a loss that was made for discrete tokens.

  Args:
    pred: [B, L, C].
    truth: [B, L, C], standardised.
    key: of the shuffles, one order of the L samples per series and negative.
    count: negatives per series.
    weight: w.
    clip: a negative this far away pushes no more, so that the loss is bounded;
      2 is the distance of unrelated standardised series.

  Returns:
    Scalar.

  References:
    Zhu et al. 2023, Eq. 9 (step-wise intra-negatives) and released weights.
  """
  repeated = jnp.broadcast_to(truth, (count, *truth.shape))
  order = jnp.argsort(jax.random.uniform(key, repeated.shape[:3]), axis=2)
  shuffled = jnp.take_along_axis(repeated, order[..., None], axis=2)
  apart = jnp.mean((pred[None] - shuffled) ** 2, axis=(2, 3))
  near = jnp.mean((pred - truth) ** 2)
  return near - weight * jnp.mean(jnp.minimum(apart, clip))


def window_contrastive(
    z_x: Array,
    z_y: Array,
    size: int,
    temperature: float = 0.1,
    pool: str = 'flatten',
    similarity: str = 'cosine',
    symmetric: bool = False,
    period: float | None = None,
    weight: Array | None = None,
) -> Array:
  """Tell each window of X its own window of Y among all of the batch, Eq. 6.

  Args:
    z_x: latents [B, L, D].
    z_y: latents [B, L, D].
    size: S, tokens of a window; windows do not overlap and what remains of L
      is left out.
    temperature: tau.
    pool: 'flatten' compares the S D numbers of windows, 'mean' their means.
    similarity: 'cosine' or 'dot'.
    symmetric: average with the same loss from Y to X.
    period: of the movement in tokens; windows of the same sequence whose
      distance differs from a multiple of it by S or less are no negatives.
    weight: of each sequence [B], default 1.

  Returns:
    Scalar; log(B P) if all latents are equal.

  Raises:
    UserError: S is not within 1 .. L, or another setting is unknown.

  References:
    LaMbDA, Eq. 3-4; van den Oord et al., "Representation Learning with
    Contrastive Predictive Coding", 2018, Eq. 4.
  """
  _one_of('pool', pool, POOLS)
  _one_of('similarity', similarity, SIMILARITIES)
  x, y = (_windows(z, size) for z in (z_x, z_y))
  batch, count = x.shape[:2]
  if pool == 'mean':
    x, y = jnp.mean(x, axis=2), jnp.mean(y, axis=2)
  x, y = (z.reshape(batch * count, -1) for z in (x, y))
  if similarity == 'cosine':
    x, y = alignment.unit(x), alignment.unit(y)
  logits = (x @ y.T / temperature).reshape(batch, count, batch, count)
  if period is not None:
    same = jnp.eye(batch, dtype=bool)[:, None, :, None]
    phase = jnp.asarray(_in_phase(count, size, period))[None, :, None, :]
    logits = jnp.where(same & phase, -jnp.inf, logits)
  logits = logits.reshape(batch * count, batch * count)
  rows = alignment.cross_entropy(logits)
  if symmetric:
    rows = 0.5 * (rows + alignment.cross_entropy(logits.T))
  rows = jnp.mean(rows.reshape(batch, count), axis=1)
  return jnp.mean(rows if weight is None else weight * rows)


def covariance_alignment(
    z_x: Array, z_y: Array, over: str = 'batch', size: int | None = None
) -> Array:
  """Compare the covariances of latents, Eq. 7.

  Args:
    z_x: latents [B, L, D].
    z_y: latents [B, L, D].
    over: which samples a covariance is of: those of the 'batch' at one step,
      of one 'window' of `size` steps, or of one whole 'sequence'.
    size: S, steps of a window; what remains of L is left out.

  Returns:
    Scalar: the mean over entries and over steps, windows or sequences.

  Raises:
    UserError: a group has less than two samples, or `over` is unknown.

  References:
    LaMbDA, Eq. 5, which leaves open what its covariances are over.
  """
  _one_of('over', over, GROUPS)
  if over == 'window' and size is None:
    raise UserError("size: over='window' needs the steps of a window.")
  x, y = (z.astype(jnp.float32) for z in (z_x, z_y))
  if over == 'batch':
    x, y = jnp.swapaxes(x, 0, 1), jnp.swapaxes(y, 0, 1)
  elif over == 'window':
    x, y = _windows(x, size or 0), _windows(y, size or 0)
  count, width = x.shape[-2:]
  if count < 2:
    raise UserError(
        f'covariance over {over!r}: expected two samples or more, found '
        f'{count}.'
    )
  x, y = (z - jnp.mean(z, axis=-2, keepdims=True) for z in (x, y))
  # |C_X - C_Y|^2 = |X X'|^2 + |Y Y'|^2 - 2 |X Y'|^2: the smaller matrices.
  if count < width:
    square = (
        _product_norm(x, x, 'nd,md->nm') + _product_norm(y, y, 'nd,md->nm')
        - 2 * _product_norm(x, y, 'nd,md->nm')
    )
  else:
    both = jnp.concatenate([x, y], axis=-2), jnp.concatenate([x, -y], axis=-2)
    square = _product_norm(*both, 'nd,ne->de')
  return jnp.mean(square) / ((count - 1) * width) ** 2


def weighted(
    loss: Array,
    s: Array,
    rule: str,
    alpha: float = 0.1,
    floor: float = 0.01,
) -> Array:
  """Weigh a loss by a learned number, Eq. 8.

  Args:
    loss: L, scalar.
    s: learned, scalar, 0 at first.
    rule: 'uncertainty' is Eq. 8 with s clipped to [-3, 3]; 'fixed' is alpha L;
      'literal' (alpha + s) L, whose weight gradient descent drives to minus
      infinity as soon as L > 0; 'softplus' (floor + softplus(s + b)) L, which
      starts at alpha and can only fall to the floor.
    alpha: weight of 'fixed', first weight of 'literal' and 'softplus'.
    floor: least weight of 'softplus'.

  Returns:
    Scalar.

  Raises:
    UserError: unknown rule, or not 0 <= floor < alpha for 'softplus'.

  References:
    LaMbDA, Eq. 8 (literal); Kendall et al. 2018, Eq. 7-8 (uncertainty).
  """
  _one_of('rule', rule, RULES)
  if rule == 'fixed':
    return alpha * loss
  if rule == 'literal':
    return (alpha + s) * loss
  if rule == 'softplus':
    if not 0 <= floor < alpha:
      raise UserError(
          f'floor: expected 0 <= floor < alpha = {alpha}, found {floor}.'
      )
    first = math.log(math.expm1(alpha - floor))
    return (floor + jax.nn.softplus(s + first)) * loss
  bounded = jnp.clip(s, *_S_BOUNDS)
  # Beyond a bound s may return but not go on; clip alone would hold it there.
  slope = 1 - jnp.exp(-bounded) * loss
  free = (s == bounded) | ((s - bounded) * slope > 0)
  passing = s + jax.lax.stop_gradient(bounded - s)
  s = jnp.where(free, passing, jax.lax.stop_gradient(bounded))
  return jnp.exp(-s) * loss + s


def _one_of(field: str, value: str, known: Sequence[str]) -> None:
  if value not in known:
    raise UserError(f'{field}: expected one of {known}, found {value!r}.')


def _root(square: Array) -> Array:
  # The root has no gradient at 0.
  return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)


def _windows(z: Array, size: int) -> Array:
  """Cut [B, L, D] into [B, P, S, D] float32."""
  batch, length, width = z.shape
  if not 1 <= size <= length:
    raise UserError(f'size: expected 1 .. {length}, found {size}.')
  count = length // size
  cut = z[:, :count * size].astype(jnp.float32)
  return cut.reshape(batch, count, size, width)


def _in_phase(count: int, size: int, period: float) -> np.ndarray:
  """Mark windows [P, P] that are near whole periods apart, not the same."""
  if period <= 0:
    raise UserError(f'period: expected a positive number, found {period}.')
  place = np.arange(count) * size
  apart = np.abs(place[:, None] - place[None])
  cycles = np.maximum(np.round(apart / period), 1)
  return (np.abs(apart - cycles * period) <= size) & (apart > 0)


def _product_norm(x: Array, y: Array, product: str) -> Array:
  """Return the squared norm of products of matrices [..., n, d]: [...]."""
  left, right = product.split('->')
  spec = ','.join(f'...{part}' for part in left.split(',')) + f'->...{right}'
  # Their difference is small: the products must be exact.
  found = jnp.einsum(spec, x, y, precision=jax.lax.Precision.HIGHEST)
  return jnp.sum(found**2, axis=(-2, -1))
