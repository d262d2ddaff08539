"""Noise schedules: float64 NumPy tables over the diffusion steps.

Entry i of a table belongs to step t = i + 1 of T. `betas` is the variance that
one step adds, alpha_t = 1 - beta_t the signal power that it keeps. A
nonisotropic step adds noise of covariance

  (1)  Sigma_t = scale_t (gamma_t Sigma_N + (1 - gamma_t) I),

with scale_t = beta_t for every schedule but the discarded one.

A table that leaves signal at T is stretched until none is left,

  (2)  sqrt(alphabar_t)' = f + (sqrt(alphabar_t) - sqrt(alphabar_T))
         (sqrt(alphabar_1) - f) / (sqrt(alphabar_1) - sqrt(alphabar_T)),

with a floor f near 0 in place of the 0 of its paper.

References:
  Nichol and Dhariwal, "Improved Denoising Diffusion Probabilistic Models",
  2021, Eq. 17 (cosine).
  Curreli et al., "Nonisotropic Gaussian Diffusion for Realistic 3D Human
  Motion Prediction", CVPR 2025, Eq. 5 (gamma), A.4.1, A.4.2 (Eq. 46).
  Lin et al., "Common Diffusion Noise Schedules and Sample Steps are Flawed",
  WACV 2024, Alg. 1.
"""

from collections.abc import Callable

import numpy as np

from diffax.errors import UserError


def _check(name: str, betas: np.ndarray) -> np.ndarray:
  if betas.size == 0:
    raise UserError(f'{name} schedule: expected at least 1 step, found 0.')
  if not (np.all(betas > 0) and np.all(betas < 1)):
    raise UserError(
        f'{name} schedule: expected every beta within (0, 1), found '
        f'{betas.min():g} to {betas.max():g}.'
    )
  return betas


def cosine(
    steps: int, offset: float = 0.008, clip: float = 0.999
) -> np.ndarray:
  """Build betas of which the signal power falls as a squared cosine.

  alphabar(u) = cos((u / T + s) / (1 + s) pi / 2)^2, beta_t = min(1 -
  alphabar(t) / alphabar(t - 1), clip).

  Args:
    steps: number of steps T.
    offset: s, keeps the first betas away from 0.
    clip: largest beta.

  Returns:
    [T] float64.

  References:
    Nichol and Dhariwal 2021, Eq. 17.
  """
  u = np.arange(steps + 1, dtype=np.float64) / max(steps, 1)
  power = np.cos((u + offset) / (1 + offset) * np.pi / 2) ** 2
  betas = 1 - power[1:] / power[:-1]
  return _check('cosine', np.minimum(betas, clip))


def linear(
    steps: int, start: float = 1e-4, stop: float = 0.02
) -> np.ndarray:
  """Build betas that rise linearly from `start` to `stop`: [T] float64."""
  return _check('linear', np.linspace(start, stop, steps, dtype=np.float64))


def scaled_linear(
    steps: int, start: float = 0.00085, stop: float = 0.012
) -> np.ndarray:
  """Build betas of which the square root rises linearly: [T] float64."""
  roots = np.linspace(start**0.5, stop**0.5, steps, dtype=np.float64)
  return _check('scaled_linear', roots**2)


def constant(steps: int, value: float) -> np.ndarray:
  """Build equal betas: [T] float64."""
  return _check('constant', np.full(steps, value, np.float64))


BETAS: dict[str, Callable[..., np.ndarray]] = {
    'cosine': cosine,
    'linear': linear,
    'scaled_linear': scaled_linear,
    'constant': constant,
}
GAMMAS = ('released', 'one', 'zero', 'linear', 'discarded')


def betas(name: str, steps: int, **options: float) -> np.ndarray:
  """Build the named beta table.

  Args:
    name: one of `BETAS`.
    steps: number of steps T.
    **options: keyword arguments of that schedule.

  Returns:
    [T] float64.

  Raises:
    UserError: unknown name, or a beta outside (0, 1).
  """
  if name not in BETAS:
    raise UserError(f'betas: expected one of {list(BETAS)}, found {name!r}.')
  return BETAS[name](steps, **options)


def zero_terminal(betas: np.ndarray, floor: float = 1e-3) -> np.ndarray:
  """Stretch a table until almost no signal is left at T, Eq. 2.

  A signal scale of exactly 0 would have no ratio of noise to signal, by which
  every reverse step is ruled; at the default floor the signal-to-noise ratio
  is 1e-6. Predicting the noise says nothing about x_0 there: predict x_0 or
  the velocity.

  Args:
    betas: [T, ...], T > 1.
    floor: f, signal scale at T.

  Returns:
    [T, ...] float64; the first entries are as they were.

  Raises:
    UserError: the floor is not between 0 and the signal scale at T.

  References:
    Lin et al. 2024, Alg. 1.
  """
  betas = np.asarray(betas, np.float64)
  alpha = np.sqrt(np.cumprod(1 - betas, axis=0))
  first, last = alpha[0], alpha[-1]
  if not (0 < floor < np.min(last) and len(betas) > 1):
    raise UserError(
        'floor: expected a signal scale above 0 and below that at T, '
        f'{np.min(last):g}, and 2 steps or more, found {floor:g} and '
        f'{len(betas)}.'
    )
  alpha = floor + (alpha - last) * (first - floor) / (first - last)
  later = 1 - (alpha[1:] / alpha[:-1]) ** 2
  return _check('zero terminal', np.concatenate([betas[:1], later]))


def gammas(name: str, betas: np.ndarray) -> np.ndarray:
  """Build the share of Sigma_N in the noise of each step, gamma_t of Eq. 1.

  `released` is 1 - alpha_t = beta_t; `linear` falls as 1 - (t - 1) / T, the
  released code's decreasing option; `discarded` is alpha_t and needs
  `scales('discarded', betas)` beside it.

  Args:
    name: one of `GAMMAS`.
    betas: [T].

  Returns:
    [T] float64 within [0, 1].

  References:
    Curreli et al. 2025, Eq. 5, A.4.1 (`one`), A.4.2 (`discarded`).
  """
  betas = np.asarray(betas, np.float64)
  tables = {
      'released': betas,
      'one': np.ones_like(betas),
      'zero': np.zeros_like(betas),
      'linear': 1 - np.arange(betas.size) / betas.size,
      'discarded': 1 - betas,
  }
  if name not in tables:
    raise UserError(f'gammas: expected one of {GAMMAS}, found {name!r}.')
  return tables[name]


def scales(name: str, betas: np.ndarray) -> np.ndarray:
  """Build the magnitude of the noise of each step, scale_t of Eq. 1.

  Args:
    name: one of `GAMMAS`; 1 for `discarded`, beta_t for the others.
    betas: [T].

  Returns:
    [T] float64.

  References:
    Curreli et al. 2025, Eq. 46: Sigma_t = alpha_t Sigma_N + (1 - alpha_t) I.
  """
  betas = np.asarray(betas, np.float64)
  if name not in GAMMAS:
    raise UserError(f'scales: expected one of {GAMMAS}, found {name!r}.')
  return np.ones_like(betas) if name == 'discarded' else betas
