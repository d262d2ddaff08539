"""Forward processes: one table of signal and noise scales per direction.

Every process here is elementwise in some orthonormal basis U,

  (1)  x_t = alpha_t x_0 + U (sigma_t * noise),   t = 0 .. T,

with alpha_0 = 1, sigma_0 = 0. One step multiplies the signal by sqrt(1 -
beta_t) and adds noise of variance lambda_t per direction, so

  (2)  alpha_t^2 = prod_{i <= t} (1 - beta_i) = alphabar_t,
  (3)  sigma_t^2 = (1 - beta_t) sigma_{t-1}^2 + lambda_t.

Isotropic: lambda_t = beta_t. Nonisotropic, with the eigenvalues Lambda_N:
lambda_t = scale_t (gamma_t (Lambda_N - 1) + 1), which for scale_t = beta_t is

  (4)  sigma_t^2 = gammatilde_t (Lambda_N - 1) + 1 - alphabar_t,
       gammatilde_t = beta_t gamma_t + (1 - beta_t) gammatilde_{t-1}.

The ratio of noise to signal, n_t = sigma_t^2 / alpha_t^2, only rises. Its
differences, 1 - n_s / n_t, rule every reverse step and cancel badly in
float32, so tables keep n as the unevaluated sum of two float32 numbers. By (3)
it is affine in the eigenvalues, with coefficients that do not depend on them,

  (5)  n_t = still_t + moving_t Lambda_N,

which is how the tables follow eigenvalues that only a running program knows.

References:
  Ho et al., "Denoising Diffusion Probabilistic Models", 2020, Eq. 4.
  Curreli et al., "Nonisotropic Gaussian Diffusion for Realistic 3D Human
  Motion Prediction", CVPR 2025, Eq. 5, 6, A.2 (with Lambda_N - 1 where the
  text after Eq. 6 prints Lambda_t).
"""

from collections.abc import Sequence
from typing import NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg

from diffax.diffusion import covariance as covariance_lib
from diffax.errors import UserError
from diffax.typing import Array


class Level(NamedTuple):
  """Hold the scales at one time, broadcastable to a batch of samples.

  Attributes:
    alpha: signal scale [B, *E].
    sigma: noise scale [B, *E].
    ratio: n = sigma^2 / alpha^2 [B, *E], rounded to float32.
    ratio_rest: what rounding took from `ratio` [B, *E].
  """

  alpha: Array
  sigma: Array
  ratio: Array
  ratio_rest: Array


@flax.struct.dataclass
class Process:
  """Hold the tables of a forward process; row t of T + 1, row 0 is clean.

  Attributes:
    levels: scales [T + 1, *E]; E has the rank of a sample.
    basis: U [N, N], columns are directions; None is the identity.
    axis: axis of a sample that the basis rotates, counted from the end.
  """

  levels: Level
  basis: Array | None
  axis: int = flax.struct.field(pytree_node=False)

  @property
  def steps(self) -> int:
    """Number of steps T."""
    return self.levels.alpha.shape[0] - 1

  @property
  def alpha(self) -> Array:
    """Signal scales [T + 1, *E]."""
    return self.levels.alpha

  @property
  def sigma(self) -> Array:
    """Noise scales [T + 1, *E]."""
    return self.levels.sigma

  def at(self, t: Array) -> Level:
    """Look up the level of times `t` [B], integers 0 .. T: [B, *E]."""
    return jax.tree.map(lambda table: jnp.asarray(table)[t], self.levels)

  def marginal(self, t: Array) -> tuple[Array, Array]:
    """Return the scales of single elements of x_t in data space: [B, *E].

    Signal scales must not differ between directions that the basis mixes, as
    they do in no process of this module.
    """
    level = self.at(t)
    if self.basis is None:
      return level.alpha, level.sigma
    variance = _rotate(level.sigma**2, self.basis.T**2, self.axis)
    return level.alpha, jnp.sqrt(variance)

  def to_basis(self, x: Array) -> Array:
    """Rotate samples [B, *S] from data space into directions: U^T x."""
    return x if self.basis is None else _rotate(x, self.basis, self.axis)

  def from_basis(self, x: Array) -> Array:
    """Rotate samples [B, *S] from directions into data space: U x."""
    return x if self.basis is None else _rotate(x, self.basis.T, self.axis)


def _rotate(x: Array, basis: Array, axis: int) -> Array:
  # Lower precision would break the orthogonality that the kernels rely on.
  rotated = jnp.tensordot(
      x, basis.astype(x.dtype), ((axis,), (0,)),
      precision=jax.lax.Precision.HIGHEST,
  )
  return jnp.moveaxis(rotated, -1, axis)


def _validate(alpha: np.ndarray, sigma: np.ndarray) -> None:
  if not (np.all(np.isfinite(alpha)) and np.all(np.isfinite(sigma))):
    raise UserError('process: expected finite scales, found NaN or inf.')
  if np.any(alpha <= 0) or np.any(np.diff(alpha, axis=0) > 0):
    raise UserError(
        'process: expected signal scales that fall and stay above 0, found '
        f'{alpha.min():g} at the least.'
    )
  if np.any(sigma[1:] <= 0):
    step = int(np.argwhere(sigma[1:] <= 0)[0][0]) + 1
    raise UserError(
        f'process: expected noise in every direction, found none at t={step}.'
        ' The first beta must exceed 0; a singular covariance (shift="paper")'
        ' needs gamma < 1, shift="released" or covariance(..., ridge=1e-6).'
    )
  ratio = (sigma / alpha) ** 2
  if np.any(np.diff(ratio, axis=0) < 0):
    step = int(np.argwhere(np.diff(ratio, axis=0) < 0)[0][0]) + 1
    raise UserError(
        'process: expected steps of variance 0 or more, found a negative one '
        f'at t={step}.'
    )


def _build(
    betas: np.ndarray,
    variances: np.ndarray,
    basis: np.ndarray | None,
    axis: int,
) -> Process:
  """Accumulate Eq. 2 and 3 from betas, variances [T, *E] in float64."""
  alpha_bar, sigma_sq = _accumulate(betas, variances)
  # A negative total is reported by _validate, not by a NumPy warning.
  alpha, sigma = np.sqrt(alpha_bar), np.sqrt(np.maximum(sigma_sq, 0))
  _validate(alpha, sigma)
  ratio = sigma_sq / alpha_bar
  rounded = ratio.astype(np.float32)
  tables = Level(alpha, sigma, rounded, ratio - rounded)
  levels = Level(*(jnp.asarray(np.float32(table)) for table in tables))
  rotation = None if basis is None else jnp.asarray(np.float32(basis))
  return Process(levels, rotation, axis)


def _accumulate(
    betas: np.ndarray, variances: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Return alphabar and sigma^2 of Eq. 2 and 3, both [T + 1, *E]."""
  powers = np.cumprod(1 - betas, 0)
  alpha_bar = np.concatenate([np.ones_like(betas[:1]), powers])
  totals = [np.zeros_like(variances[0])]
  for beta, variance in zip(betas, variances):
    totals.append((1 - beta) * totals[-1] + variance)
  sigma_sq = np.stack(totals)
  return np.broadcast_to(alpha_bar, sigma_sq.shape), sigma_sq


def _check_betas(betas: np.ndarray, rank: int) -> np.ndarray:
  betas = np.asarray(betas, np.float64)
  if betas.ndim != rank or betas.shape[0] == 0:
    raise UserError(
        f'betas: expected {rank} axes, steps first, found shape {betas.shape}.'
    )
  if not np.all((betas >= 0) & (betas < 1)):
    raise UserError('betas: expected values within [0, 1), found others.')
  return betas


def _check_axis(axis: int, ndim: int) -> int:
  if not -ndim <= axis < ndim:
    raise UserError(f'axis: expected one of {ndim} sample axes, found {axis}.')
  return axis % ndim - ndim


def isotropic(betas: np.ndarray, ndim: int) -> Process:
  """Build a process with the same noise in every direction.

  Args:
    betas: [T].
    ndim: rank of one sample, without the batch.

  Returns:
    Process with E = [1] * ndim and no basis.

  References:
    Ho et al. 2020, Eq. 4.
  """
  betas = _check_betas(betas, 1).reshape(-1, *[1] * ndim)
  return _build(betas, betas, None, -1)


def nonisotropic(
    betas: np.ndarray,
    gammas: np.ndarray,
    covariance: np.ndarray,
    axis: int,
    ndim: int,
    scales: np.ndarray | None = None,
) -> Process:
  """Build a process whose noise is correlated along one axis, Eq. 4.

  Args:
    betas: [T].
    gammas: share of `covariance` in the noise of each step [T].
    covariance: Sigma_N [N, N].
    axis: axis of a sample that `covariance` correlates.
    ndim: rank of one sample, without the batch.
    scales: magnitude of each step's noise [T]; default `betas`.

  Returns:
    Process with E = N on `axis` and 1 elsewhere.

  Raises:
    UserError: bad tables, or no noise in some direction (singular).

  References:
    Curreli et al. 2025, Eq. 5 and 6; A.4 for other gammas and scales.
  """
  axis = _check_axis(axis, ndim)
  betas, gammas, scales = _check_tables(betas, gammas, scales)
  values, basis = covariance_lib.eigen(covariance)
  blended = gammas[:, None] * (values[None, :] - 1) + 1
  shape = [1] * ndim
  shape[axis] = len(values)
  variances = (scales[:, None] * blended).reshape(-1, *shape)
  return _build(betas.reshape(-1, *[1] * ndim), variances, basis, axis)


def from_spectrum(
    betas: np.ndarray,
    gammas: np.ndarray,
    values: Array,
    basis: Array,
    axis: int,
    ndim: int,
    scales: np.ndarray | None = None,
) -> Process:
  """Build `nonisotropic` from eigenvalues that are known at run time, Eq. 5.

  For covariances that are measured while a program runs: what `nonisotropic`
  reports of bad tables cannot be seen then.

  Args:
    betas: [T].
    gammas: as of `nonisotropic`, within [0, 1].
    values: eigenvalues Lambda_N [N], float32, above 0. Twelve bits of them
      count, so that the products of Eq. 5 are exact.
    basis: eigenvectors U [N, N], columns are directions, float32.
    axis: axis of a sample that the basis rotates.
    ndim: rank of one sample, without the batch.
    scales: as of `nonisotropic`.

  Returns:
    Process with E = N on `axis` and 1 elsewhere.
  """
  axis = _check_axis(axis, ndim)
  betas, gammas, scales = _check_tables(betas, gammas, scales)
  alpha_bar, still = _accumulate(betas, scales * (1 - gammas))
  moving = _accumulate(betas, scales * gammas)[1]
  shape = [1] * ndim
  shape[axis] = len(values)
  alpha_bar, still, moving = (
      table.reshape(-1, *[1] * ndim) for table in (alpha_bar, still, moving)
  )
  ratio, rest = _affine(
      still / alpha_bar, moving / alpha_bar, values.reshape(1, *shape)
  )
  alpha = jnp.broadcast_to(jnp.float32(np.sqrt(alpha_bar)), ratio.shape)
  levels = Level(alpha, alpha * jnp.sqrt(ratio), ratio, rest)
  return Process(levels, basis, axis)


def _check_tables(
    betas: np.ndarray, gammas: np.ndarray, scales: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  betas = _check_betas(betas, 1)
  gammas = np.asarray(gammas, np.float64)
  scales = betas if scales is None else np.asarray(scales, np.float64)
  for name, table in (('gammas', gammas), ('scales', scales)):
    if table.shape != betas.shape:
      raise UserError(f'{name}: expected {betas.shape}, found {table.shape}.')
  return betas, gammas, scales


def _affine(
    still: np.ndarray, moving: np.ndarray, values: Array
) -> tuple[Array, Array]:
  """Return still + moving * values and what rounding took from it."""
  head, coarse = np.float32(still), np.float32(moving)
  # Numbers of twelve bits have a product of float32's twenty-four.
  coarse = (coarse.view(np.uint32) & _TWELVE).view(np.float32)
  bits = jax.lax.bitcast_convert_type(values, jnp.uint32) & _TWELVE
  values = jax.lax.bitcast_convert_type(bits, jnp.float32)
  product = coarse * values
  total = head + product
  part = total - head
  lost = (head - (total - part)) + (product - part)
  fine = np.float32(still - head) + np.float32(moving - coarse) * values
  rest = lost + fine
  rounded = total + rest
  return rounded, rest - (rounded - total)


_TWELVE = np.uint32(0xFFFFF000)


def per_axis(betas: np.ndarray, axis: int, ndim: int) -> Process:
  """Build a process with its own schedule for each entry of one axis.

  Args:
    betas: [T, S].
    axis: axis of a sample, of length S.
    ndim: rank of one sample, without the batch.

  Returns:
    Process with E = S on `axis` and 1 elsewhere, no basis.
  """
  betas, axis = _check_betas(betas, 2), _check_axis(axis, ndim)
  shape = [1] * ndim
  shape[axis] = betas.shape[1]
  betas = betas.reshape(-1, *shape)
  return _build(betas, betas, None, axis)


def per_block(
    betas: np.ndarray,
    covariances: Sequence[np.ndarray],
    axis: int,
    ndim: int,
) -> Process:
  """Build a process of blocks of an axis, each with its schedule and noise.

  Every step of block s adds noise of covariance beta_s Sigma_s. Noise that
  correlated blocks would have directions across them, along which schedules of
  their own could not be kept; hence no covariance between blocks.

  Args:
    betas: [T, S].
    covariances: Sigma_s [N_s, N_s] of each of the S blocks.
    axis: axis of a sample, of length N = sum N_s, block after block.
    ndim: rank of one sample, without the batch.

  Returns:
    Process with E = N on `axis` and 1 elsewhere.

  Raises:
    UserError: bad tables, or no noise in some direction (singular).
  """
  betas, axis = _check_betas(betas, 2), _check_axis(axis, ndim)
  if betas.shape[1] != len(covariances):
    raise UserError(
        f'betas: expected a column for each of {len(covariances)} blocks, '
        f'found {betas.shape[1]}.'
    )
  pairs = [covariance_lib.eigen(matrix) for matrix in covariances]
  values = np.concatenate([pair[0] for pair in pairs])
  betas = np.repeat(betas, [len(pair[0]) for pair in pairs], axis=1)
  shape = [1] * ndim
  shape[axis] = len(values)
  return _build(
      betas.reshape(-1, *shape), (betas * values[None]).reshape(-1, *shape),
      scipy.linalg.block_diag(*(pair[1] for pair in pairs)), axis
  )
