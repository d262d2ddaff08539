"""Gaussian kernels of a forward process, elementwise in its directions.

Samples here are in the coordinates of the process (`Process.to_basis`); a
process without a basis needs no rotation. For times s < t with levels
(alpha_s, sigma_s), (alpha_t, sigma_t), and n = sigma^2 / alpha^2,

  (1)  r = n_s / n_t = (alpha_t sigma_s / (alpha_s sigma_t))^2
  (2)  x_t = alpha_t x_0 + sigma_t noise
  (3)  x_t = alpha_t / alpha_s x_s + sigma_t sqrt(1 - r) noise
  (4)  q(x_s | x_t, x_0) has mean alpha_s / alpha_t r x_t + alpha_s (1 - r) x_0
       and variance sigma_s^2 (1 - r)
  (5)  v = alpha_t noise - sigma_t x_0
  (6)  KL of two such posteriors = 1/2 (1 / n_s - 1 / n_t) |x_0' - x_0|^2.

The noise of x_0 is (x_t - alpha_t x_0) / sigma_t with sigma_t of the marginal:
an error of the noise is one of x_0 scaled by -alpha_t / sigma_t, whatever the
covariance. In (6) 1/n_s - 1/n_t thus becomes 1/r - 1 for the noise.

Were x_0 N(m, s^2), x_t would have the deviation v = sqrt(alpha_t^2 s^2 +
sigma_t^2) and tell of x_0

  (7)  x_0 | x_t ~ N(m + alpha_t s^2 / v^2 (x_t - alpha_t m),
                     (s sigma_t / v)^2).

References:
  Ho et al., "Denoising Diffusion Probabilistic Models", 2020, Eq. 4, 6, 7.
  Salimans and Ho, "Progressive Distillation", 2022, App. D (velocity).
  Karras et al., "Elucidating the Design Space of Diffusion-Based Generative
  Models", 2022, Table 1: (7) with m = 0 and one s is its preconditioning.
  Curreli et al., "Nonisotropic Gaussian Diffusion for Realistic 3D Human
  Motion Prediction", CVPR 2025, Eq. 6-8, 36, 40. Where its Eq. 39-41 print
  Lambda_t and Eq. 7 prints Lambda_q, (2) and (4) give Lambda_bar_t and the
  root of Lambda_q.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from diffax.diffusion.process import Level, Process
from diffax.errors import UserError
from diffax.typing import Array, Key

KINDS = ('x0', 'noise', 'velocity')
STARTS = ('white', 'matched')


def _divide(x: Array, y: Array) -> Array:
  """Return x / y, and 0 with zero gradient where y is 0."""
  return jnp.where(y > 0, x / jnp.where(y > 0, y, 1), 0)


def _check_kind(kind: str) -> None:
  if kind not in KINDS:
    raise UserError(f'prediction: expected one of {KINDS}, found {kind!r}.')


def snr_ratio(s: Level, t: Level) -> Array:
  """Return r of Eq. 1, the ratio of signal to noise at t over that at s.

  Args:
    s: earlier level [B, *E]; the clean one gives 0.
    t: later level [B, *E].

  Returns:
    r [B, *E] within [0, 1].
  """
  return _divide(s.ratio, t.ratio)


def snr_gap(s: Level, t: Level) -> Array:
  """Return 1 - r without cancellation: [B, *E], see `snr_ratio`."""
  gap = (t.ratio - s.ratio) + (t.ratio_rest - s.ratio_rest)
  return _divide(gap, t.ratio)


def diffuse(x0: Array, noise: Array, t: Level) -> Array:
  """Draw from the marginal at `t`, Eq. 2.

  Args:
    x0: clean samples [B, *S], in directions.
    noise: standard normal [B, *S].
    t: level [B, *E].

  Returns:
    x_t [B, *S], in directions.
  """
  return t.alpha * x0 + t.sigma * noise


def step(xs: Array, noise: Array, s: Level, t: Level) -> Array:
  """Carry samples forward from `s` to `t`, Eq. 3: [B, *S], in directions."""
  spread = t.sigma * jnp.sqrt(snr_gap(s, t))
  return t.alpha / s.alpha * xs + spread * noise


def corrupt(process: Process, x0: Array, noise: Array, t: Array) -> Array:
  """Draw from the marginal in data space: x_t = alpha x_0 + U (sigma noise).

  Args:
    process: the forward process.
    x0: clean samples [B, *S], data space.
    noise: standard normal [B, *S], in directions.
    t: times [B], 0 .. T.

  Returns:
    x_t [B, *S], data space.

  References:
    Curreli et al. 2025, Eq. 6.
  """
  xt = diffuse(process.to_basis(x0), noise, process.at(t))
  return process.from_basis(xt)


def posterior(
    x0: Array, xt: Array, s: Level, t: Level
) -> tuple[Array, Array]:
  """Return mean and variance of q(x_s | x_t, x_0), Eq. 4.

  Args:
    x0: clean samples [B, *S], in directions.
    xt: samples at `t` [B, *S], in directions.
    s: earlier level [B, *E].
    t: later level [B, *E].

  Returns:
    mean [B, *S] and variance [B, *E]; x_0 and 0 at the clean level.
  """
  gap = snr_gap(s, t)
  kept = s.alpha / t.alpha * snr_ratio(s, t)
  return kept * xt + s.alpha * gap * x0, s.sigma**2 * gap


def to_noise(x0: Array, xt: Array, t: Level) -> Array:
  """Return the noise that leads from x_0 to x_t: [B, *S], 0 if t is clean."""
  return _divide(xt - t.alpha * x0, t.sigma)


def target(kind: str, x0: Array, noise: Array, t: Level) -> Array:
  """Return what a network of the given kind should predict.

  Args:
    kind: 'x0', 'noise' or 'velocity' (Eq. 5).
    x0: clean samples [B, *S], in directions.
    noise: standard normal [B, *S].
    t: level [B, *E].

  Returns:
    [B, *S], in directions.
  """
  _check_kind(kind)
  if kind == 'x0':
    return x0
  return noise if kind == 'noise' else t.alpha * noise - t.sigma * x0


def to_x0(kind: str, output: Array, xt: Array, t: Level) -> Array:
  """Turn a prediction into one of x_0; the inverse of `target`.

  Args:
    kind: 'x0', 'noise' or 'velocity'.
    output: prediction [B, *S], in directions.
    xt: samples [B, *S], in directions.
    t: level [B, *E].

  Returns:
    x_0 [B, *S], in directions.
  """
  _check_kind(kind)
  if kind == 'x0':
    return output
  if kind == 'noise':
    return (xt - t.sigma * output) / t.alpha
  # alpha^2 + sigma^2 is 1 only where the process preserves variance.
  return (t.alpha * xt - t.sigma * output) / (t.alpha**2 + t.sigma**2)


class Guess(NamedTuple):
  """Hold what x_t tells of Gaussian data, elementwise (Eq. 7).

  A network that predicts r of x_0 = mean + std r, given `unit`, has an input
  and a target of order 1 at all times and in every element, and at r = 0 it is
  the best denoiser of data with these moments.

  Attributes:
    mean: of x_0 given x_t [B, *S].
    std: of x_0 given x_t, broadcastable to [B, *S].
    unit: x_t less its mean, over its deviation [B, *S].
  """

  mean: Array
  std: Array
  unit: Array


def guess(
    xt: Array, mean: Array, std: Array, alpha: Array, sigma: Array
) -> Guess:
  """Guess x_0 from x_t and moments alone, Eq. 7.

  Args:
    xt: samples [B, *S].
    mean: m of x_0, broadcastable to [B, *S].
    std: s of x_0, above 0, broadcastable to [B, *S].
    alpha: signal scale of each element [B, *E], see `Process.marginal`.
    sigma: noise scale of each element [B, *E].

  Returns:
    Guess.

  References:
    Karras et al. 2022, Eq. 7 and Table 1.
  """
  v = jnp.sqrt((alpha * std) ** 2 + sigma**2)
  unit = (xt - alpha * mean) / v
  return Guess(mean + alpha * std**2 / v * unit, std * sigma / v, unit)


def standardise(error: Array, t: Level) -> Array:
  """Divide an error by the noise scale, Sigma_bar_t^(-1/2) of data space.

  Args:
    error: [B, *S], in directions (`Process.to_basis`).
    t: level [B, *E]; not the clean one.

  Returns:
    Mahalanobis coordinates [B, *S]; their norm is the distance.

  References:
    Curreli et al. 2025, Eq. 8 without its factor.
  """
  return _divide(error, t.sigma)


def mahalanobis(kind: str, error: Array, t: Level) -> Array:
  """Return coordinates whose squared norm is the objective of `kind`.

  The objective is that of x_0, |error_x0|^2 / n_t, in the error of `kind`: an
  error of the noise counts as it is.

  Args:
    kind: 'x0', 'noise' or 'velocity', of what `error` is an error.
    error: [B, *S], in directions.
    t: level [B, *E]; not the clean one.

  Returns:
    [B, *S].

  References:
    Curreli et al. 2025, Eq. 37-38; Eq. 40 with S^-1 = SNR(t), rederived.
  """
  return t.alpha * standardise(_x0_error(kind, error, t), t)


def _x0_error(kind: str, error: Array, t: Level) -> Array:
  return to_x0(kind, error, jnp.zeros_like(error), t)


def posterior_kl(kind: str, error: Array, s: Level, t: Level) -> Array:
  """Return the KL of the posteriors of two predictions, Eq. 6.

  Args:
    kind: 'x0', 'noise' or 'velocity', of what `error` is the difference.
    error: [B, *S], in directions.
    s: earlier level [B, *E]; at the clean one, where both posteriors are
      points and the KL is infinite, the result is 0.
    t: later level [B, *E].

  Returns:
    KL per element [B, *S]; the sum is that of the sample.

  References:
    Curreli et al. 2025, Eq. 36 and 40, rederived.
  """
  weight = _divide(snr_gap(s, t), s.ratio)
  return 0.5 * weight * _x0_error(kind, error, t) ** 2


def start_noise(
    key: Key, t: Level, shape: tuple[int, ...], kind: str = 'white'
) -> Array:
  """Draw the samples that the reverse process starts from.

  Args:
    key: random key.
    t: level of the start [B, *E].
    shape: (B, *S).
    kind: 'white' is N(0, I), as released by SkeletonDiffusion; 'matched' is
      N(0, Sigma_bar_T), what training saw.

  Returns:
    [B, *S], in directions.
  """
  if kind not in STARTS:
    raise UserError(f'start: expected one of {STARTS}, found {kind!r}.')
  noise = jax.random.normal(key, shape)
  return noise if kind == 'white' else t.sigma * noise


def start_data(
    key: Key,
    process: Process,
    mean: Array,
    std: Array,
    t: Array,
    shape: tuple[int, ...],
) -> Array:
  """Draw x_t of data that are Gaussian, elementwise and in data space.

  Where a process leaves signal at its end, this is what a reverse process
  should start from, up to the shape of the data's distribution: without a
  basis, N(alpha_t mean, alpha_t^2 std^2 + sigma_t^2).

  Args:
    key: random key.
    process: the forward process.
    mean: of x_0, broadcastable to [B, *S].
    std: of x_0, broadcastable to [B, *S].
    t: times [B].
    shape: (B, *S).

  Returns:
    [B, *S], data space.
  """
  key_x0, key_noise = jax.random.split(key)
  x0 = mean + std * jax.random.normal(key_x0, shape)
  return corrupt(process, x0, jax.random.normal(key_noise, shape), t)
