"""Reverse samplers: pairs of pure functions, run by one `lax.scan`.

With r of `gaussian.snr_ratio` and x_0 the denoiser's prediction at time t, a
step from t to s < t is, elementwise in the directions of the process,

  (1)  DDPM            draw from q(x_s | x_t, x_0)
  (2)  DDIM(eta)       x_s = alpha_s x_0 + sigma_s (sqrt(1 - tau) noise
                             + sqrt(tau) z),  tau = eta^2 (1 - r)
  (3)  DPM-Solver++    x_s = sigma_s / sigma_t x_t + alpha_s (1 - sqrt(r)) D

where D = x_0 at order 1 and, at order 2, with the step h in half the log of
signal over noise, h = -1/2 log r, and w = h / (2 h_previous),

  (4)  D = (1 + w) x_0 - w x_0_previous.

DDIM(1) is DDPM and DDIM(0) is DPM-Solver++ of order 1. At s = 0, sigma_s = 0
and every step returns x_0: no noise is added last.

References:
  Ho et al., "Denoising Diffusion Probabilistic Models", 2020, Alg. 2.
  Song et al., "Denoising Diffusion Implicit Models", 2021, Eq. 12, 16.
  Lu et al., "DPM-Solver++", 2022, Eq. 9 and Alg. 2 (2M).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from diffax.diffusion import gaussian
from diffax.diffusion.guidance import in_basis, is_process, map_processes
from diffax.diffusion.process import Level, Process
from diffax.errors import UserError
from diffax.typing import Array, DenoiseFn, Key, PyTree

SPACINGS = ('trailing', 'leading', 'late', 'quadratic')


class Sampler(NamedTuple):
  """Hold a reverse sampler as two pure functions.

  Attributes:
    init: (x_t, level t) -> carry.
    step: (key, x0, xt, level s, level t, carry) -> (xs, carry).
  """

  init: Callable[[Array, Level], PyTree]
  step: Callable[..., tuple[Array, PyTree]]


def _no_carry(xt: Array, t: Level) -> PyTree:
  del xt, t
  return ()


def ddpm() -> Sampler:
  """Build the ancestral sampler, Eq. 1."""

  def step(
      key: Key, x0: Array, xt: Array, s: Level, t: Level, carry: PyTree
  ) -> tuple[Array, PyTree]:
    mean, variance = gaussian.posterior(x0, xt, s, t)
    return mean + jnp.sqrt(variance) * _normal(key, xt), carry

  return Sampler(_no_carry, step)


def _normal(key: Key, like: Array) -> Array:
  return jax.random.normal(key, like.shape, like.dtype)


def ddim(eta: float = 0.0) -> Sampler:
  """Build the DDIM sampler, Eq. 2.

  Args:
    eta: 0 is deterministic, 1 is DDPM.

  Returns:
    Sampler.

  Raises:
    UserError: eta outside [0, 1].
  """
  if not 0 <= eta <= 1:
    raise UserError(f'eta: expected a value within [0, 1], found {eta:g}.')

  def step(
      key: Key, x0: Array, xt: Array, s: Level, t: Level, carry: PyTree
  ) -> tuple[Array, PyTree]:
    tau = eta**2 * gaussian.snr_gap(s, t)
    noise = jnp.sqrt(1 - tau) * gaussian.to_noise(x0, xt, t)
    if eta > 0:
      noise = noise + jnp.sqrt(tau) * _normal(key, xt)
    return s.alpha * x0 + s.sigma * noise, carry

  return Sampler(_no_carry, step)


def dpm_solver_pp(order: int = 2) -> Sampler:
  """Build DPM-Solver++, multistep, Eq. 3 and 4.

  Order 2 falls back to order 1 at the first step, for want of a previous one,
  and at a last step to the clean level, where h is infinite.

  Args:
    order: 1 or 2.

  Returns:
    Sampler; its carry is the previous (x0, h).

  Raises:
    UserError: another order.
  """
  if order not in (1, 2):
    raise UserError(f'order: expected 1 or 2, found {order}.')

  def init(xt: Array, t: Level) -> PyTree:
    return (jnp.zeros_like(xt), jnp.zeros_like(t.alpha)) if order == 2 else ()

  def step(
      key: Key, x0: Array, xt: Array, s: Level, t: Level, carry: PyTree
  ) -> tuple[Array, PyTree]:
    del key
    gap, ratio = gaussian.snr_gap(s, t), gaussian.snr_ratio(s, t)
    direction = x0
    if order == 2:
      x0_previous, h_previous = carry
      noisy = s.sigma > 0
      h = 0.5 * jnp.log1p(jnp.where(noisy, gap / jnp.where(noisy, ratio, 1), 0))
      known = h_previous > 0
      weight = jnp.where(known, h / (2 * jnp.where(known, h_previous, 1)), 0)
      direction = x0 + weight * (x0 - x0_previous)
      carry = (x0, h)
    pull = s.alpha * gap / (1 + jnp.sqrt(ratio))
    return s.sigma / t.sigma * xt + pull * direction, carry

  return Sampler(init, step)


def timesteps(T: int, steps: int, spacing: str = 'trailing') -> np.ndarray:
  """Choose the times that a sampler visits, from noise to clean.

  Args:
    T: steps of the process.
    steps: steps of the sampler, at most T.
    spacing: 'trailing' is even and starts at T; 'leading' is even and has 1
      as its last time before 0, as DDIM was released; 'late' is one later, as
      latent diffusion was, whose times count from 0 and are raised by 1;
      'quadratic' is dense near the clean end and starts at T.

  Returns:
    [steps + 1] int32, falling, ends with 0.

  Raises:
    UserError: unknown spacing, or times that would repeat.
  """
  if not 1 <= steps <= T:
    raise UserError(f'steps: expected 1 to {T}, found {steps}.')
  if spacing not in SPACINGS:
    raise UserError(f'spacing: expected one of {SPACINGS}, found {spacing!r}.')
  even = np.linspace(0, 1, steps + 1)
  times = {
      'trailing': np.rint(T * even),
      'leading': np.append(0, np.arange(steps) * (T // steps) + 1),
      'late': np.append(0, np.arange(steps) * (T // steps) + 2),
      'quadratic': np.rint(T * even**2),
  }[spacing]
  if np.any(np.diff(times) < 1) or times[-1] > T:
    raise UserError(
        f'steps: {steps} {spacing} times of {T} repeat or pass it; take fewer '
        'steps.'
    )
  return times[::-1].astype(np.int32)


def _split(key: Key, process: PyTree) -> PyTree:
  # A key of its own for each process: joint noise must be independent.
  leaves, structure = jax.tree.flatten(process, is_leaf=is_process)
  keys = jax.random.split(key, len(leaves))
  return jax.tree.unflatten(structure, list(keys))


def _check_times(times: Array | np.ndarray, process: PyTree) -> Array:
  # Indexing clamps, so a time beyond the tables would pass unseen.
  if isinstance(times, jax.core.Tracer):
    return times
  known, last = np.asarray(times), min(
      leaf.steps for leaf in jax.tree.leaves(process, is_leaf=is_process)
  )
  falls = known.ndim == 1 and known.size > 1 and np.all(np.diff(known) < 0)
  if not (falls and known[-1] >= 0 and known[0] <= last):
    raise UserError(
        f'times: expected falling times within 0 to {last}, found '
        f'{known.tolist()}.'
    )
  return jnp.asarray(known)


def reverse(
    key: Key,
    process: PyTree,
    denoise: DenoiseFn,
    sampler: Sampler,
    times: Array | np.ndarray,
    xt: PyTree,
) -> PyTree:
  """Carry noisy samples along `times` with one scan.

  Args:
    key: random key.
    process: Process, or a tree of them for joint generation.
    denoise: (x_t, t [B]) -> x_0 in data space, trees like `xt`.
    sampler: what makes a step.
    times: [steps + 1] integers, falling; see `timesteps`.
    xt: samples at times[0], data space [B, *S], one per process.

  Returns:
    Samples at times[-1], data space, like `xt`.

  Raises:
    UserError: times that do not fall or leave the process.
  """
  times = _check_times(times, process)
  batch = jax.tree.leaves(xt)[0].shape[0]
  predict = in_basis(denoise, process)

  def levels(t: Array) -> PyTree:
    return map_processes(lambda p: p.at(jnp.full([batch], t)), process)

  def advance(state: PyTree, now: PyTree) -> tuple[PyTree, None]:
    index, t, s = now
    x, carry = state
    keys = _split(jax.random.fold_in(key, index), process)
    x0 = predict(x, jnp.full([batch], t))
    stepped = map_processes(
        lambda _, k, y0, y, ls, lt, c: sampler.step(
            k, y0.astype(y.dtype), y, ls, lt, c
        ),
        process, keys, x0, x, levels(s), levels(t), carry,
    )
    return tuple(
        map_processes(lambda _, pair: pair[i], process, stepped)  # noqa: B023
        for i in (0, 1)
    ), None

  x = map_processes(Process.to_basis, process, xt)
  carry = map_processes(
      lambda _, y, level: sampler.init(y, level), process, x, levels(times[0])
  )
  scanned = (jnp.arange(len(times) - 1), times[:-1], times[1:])
  (x, _), _ = jax.lax.scan(advance, (x, carry), scanned)
  return map_processes(Process.from_basis, process, x)


def sample(
    key: Key,
    process: PyTree,
    denoise: DenoiseFn,
    sampler: Sampler,
    times: Array | np.ndarray,
    shape: PyTree,
    start: str = 'white',
) -> PyTree:
  """Generate samples from noise.

  Args:
    key: random key.
    process: Process, or a tree of them for joint generation.
    denoise: (x_t, t [B]) -> x_0 in data space, trees like `shape`.
    sampler: what makes a step.
    times: [steps + 1] integers, falling; see `timesteps`.
    shape: (B, *S), one per process.
    start: 'white' or 'matched', see `gaussian.start_noise`.

  Returns:
    Samples [B, *S], data space, one per process.
  """
  start_key, key = jax.random.split(key)
  keys = _split(start_key, process)

  def begin(leaf: Process, leaf_key: Key, size: tuple[int, ...]) -> Array:
    level = leaf.at(jnp.full([size[0]], jnp.asarray(times)[0]))
    return leaf.from_basis(gaussian.start_noise(leaf_key, level, size, start))

  xt = map_processes(begin, process, keys, shape)
  return reverse(key, process, denoise, sampler, times, xt)
