"""The Lorenz system and the double pendulum as paired time series.

Each source is one series of a deterministic system, of which two state
variables are taken for modalities x and y.

Lorenz system, without units; x = X, y = Z:

  (1)  X' = sigma (Y - X),  Y' = X (rho - Z) - Y,  Z' = X Y - beta Z

As (X, Y, Z) -> (-X, -Y, Z) leaves (1) unchanged, Z cannot tell the sign of X.

Double pendulum of two point masses of 1 kg on massless rods of 1 m, angles
from hanging, w_i = th_i', D = th_1 - th_2; x = w_1, y = w_2:

  (2)  w_1' = (-3 g sin th_1 - g sin(th_1 - 2 th_2)
               - 2 sin D (w_2^2 + w_1^2 cos D)) / (3 - cos 2 D)
       w_2' = 2 sin D (2 w_1^2 + 2 g cos th_1 + w_2^2 cos D) / (3 - cos 2 D)

which keeps

  (3)  E = w_1^2 + w_2^2 / 2 + w_1 w_2 cos D - 2 g cos th_1 - g cos th_2.

Both are integrated by the classical Runge-Kutta scheme of order 4 with a fixed
step. Rounding grows e-fold about every second in the chaotic ones, so that a
series of 100 s is that of one order of operations in one precision: the loop
is over Python floats, whose sums and products are the same on every machine
(sines are the C library's; those of array libraries depend on the processor).

References:
  LaMbDA, App. A.2: equations, step, initial states. Lorenz, "Deterministic
  nonperiodic flow", J. Atmos. Sci. 20, 1963.
"""

from collections.abc import Callable, Mapping, Sequence
import math
from typing import Any

import numpy as np

from diffax.data import series
from diffax.data.base import Source
from diffax.errors import UserError

State = tuple[float, ...]

REGIMES: Mapping[str, State] = {
    'regular': (0.2, 0.18, 0.0, 0.0),
    'chaotic': (2.1, -0.1, 0.0, 0.0),
}
"""Initial (th_1, th_2, w_1, w_2) of the pendulum, radians and radians / s."""


def lorenz(
    *,
    seed: int,
    batch_size: int,
    modalities: Sequence[str] = ('x', 'y'),
    length: int = 300,
    stride: int = 10,
    split: str = 'chronological',
    train_share: float = 0.8,
    split_seed: int = 0,
    steps: int = 10_000,
    dt: float = 0.01,
    initial: Sequence[float] = (5.0, 5.0, 5.0),
    sigma: float = 10.0,
    rho: float = 28.0,
    beta: float = 8 / 3,
) -> Source:
  """Build the source of the Lorenz system, x = X and y = Z.

  Args:
    seed: of the order of training windows.
    batch_size: of the global batch.
    modalities: of `x`, `y`, which to use, in this order.
    length: L, samples of a window.
    stride: samples between the starts of windows.
    split: `chronological` or `random`, see `series.source`.
    train_share: see `series.source`.
    split_seed: see `series.source`.
    steps: samples, the initial state among them.
    dt: units of time from one to the next.
    initial: (X, Y, Z).
    sigma: of Eq. 1.
    rho: of Eq. 1.
    beta: of Eq. 1.

  Returns:
    The source, see `series.source`.

  Raises:
    UserError: a setting is wrong, or lets the state grow without bound.
    DataError: a part is shorter than a window, or a modality is constant.
  """
  states = lorenz_states(
      steps=steps, dt=dt, initial=initial, sigma=sigma, rho=rho, beta=beta
  )
  return _source(
      'lorenz', states[:, [0, 2]], ('x', 'z'), '', dt,
      {
          'seed': seed, 'batch_size': batch_size, 'modalities': modalities,
          'length': length, 'stride': stride, 'split': split,
          'train_share': train_share, 'split_seed': split_seed,
      },
  )


def pendulum(
    *,
    seed: int,
    batch_size: int,
    regime: str = 'regular',
    modalities: Sequence[str] = ('x', 'y'),
    length: int = 300,
    stride: int = 10,
    split: str = 'chronological',
    train_share: float = 0.8,
    split_seed: int = 0,
    steps: int = 10_000,
    dt: float = 0.01,
    initial: Sequence[float] | None = None,
    gravity: float = 9.81,
) -> Source:
  """Build the source of the double pendulum, x = w_1 and y = w_2.

  Args:
    seed: of the order of training windows.
    batch_size: of the global batch.
    regime: names the initial state, a key of `REGIMES`.
    modalities: of `x`, `y`, which to use, in this order.
    length: L, samples of a window.
    stride: samples between the starts of windows.
    split: `chronological` or `random`, see `series.source`.
    train_share: see `series.source`.
    split_seed: see `series.source`.
    steps: samples, the initial state among them.
    dt: seconds from one to the next.
    initial: (th_1, th_2, w_1, w_2) instead of the regime's.
    gravity: g, m / s^2.

  Returns:
    The source, see `series.source`.

  Raises:
    UserError: a setting is wrong, or lets the state grow without bound.
    DataError: a part is shorter than a window, or a modality is constant.
  """
  states = pendulum_states(
      regime, steps=steps, dt=dt, initial=initial, gravity=gravity
  )
  name = f'{regime} pendulum' if initial is None else 'pendulum'
  return _source(
      name, states[:, 2:], ('omega_1', 'omega_2'), 'rad / s', dt,
      {
          'seed': seed, 'batch_size': batch_size, 'modalities': modalities,
          'length': length, 'stride': stride, 'split': split,
          'train_share': train_share, 'split_seed': split_seed,
      },
  )


def lorenz_states(
    *,
    steps: int = 10_000,
    dt: float = 0.01,
    initial: Sequence[float] = (5.0, 5.0, 5.0),
    sigma: float = 10.0,
    rho: float = 28.0,
    beta: float = 8 / 3,
) -> np.ndarray:
  """Integrate the Lorenz system (Eq. 1).

  Args:
    steps: samples, the initial state among them.
    dt: units of time from one to the next.
    initial: (X, Y, Z).
    sigma: of Eq. 1.
    rho: of Eq. 1.
    beta: of Eq. 1.

  Returns:
    [steps, 3] float64: X, Y, Z.

  Raises:
    UserError: a setting is wrong, or lets the state grow without bound.
  """

  def slope(state: State) -> State:
    x, y, z = state
    return sigma * (y - x), x * (rho - z) - y, x * y - beta * z

  _check_finite({'sigma': sigma, 'rho': rho, 'beta': beta})
  return _integrate(slope, initial, 3, steps, dt)


def pendulum_states(
    regime: str = 'regular',
    *,
    steps: int = 10_000,
    dt: float = 0.01,
    initial: Sequence[float] | None = None,
    gravity: float = 9.81,
) -> np.ndarray:
  """Integrate the double pendulum (Eq. 2).

  Args:
    regime: names the initial state, a key of `REGIMES`.
    steps: samples, the initial state among them.
    dt: seconds from one to the next.
    initial: (th_1, th_2, w_1, w_2) instead of the regime's.
    gravity: g, m / s^2.

  Returns:
    [steps, 4] float64: th_1, th_2, w_1, w_2 in radians and radians / s; the
    angles are not wrapped.

  Raises:
    UserError: a setting is wrong, or lets the state grow without bound.
  """

  def slope(state: State) -> State:
    th1, th2, w1, w2 = state
    sin, cos = math.sin(th1 - th2), math.cos(th1 - th2)
    share = 3 - math.cos(2 * (th1 - th2))
    fall = -3 * gravity * math.sin(th1) - gravity * math.sin(th1 - 2 * th2)
    return (
        w1,
        w2,
        (fall - 2 * sin * (w2 * w2 + w1 * w1 * cos)) / share,
        2 * sin * (2 * w1 * w1 + 2 * gravity * math.cos(th1) + w2 * w2 * cos)
        / share,
    )

  if regime not in REGIMES:
    raise UserError(
        f'data.regime: expected one of {sorted(REGIMES)}, found {regime!r}.'
    )
  _check_finite({'gravity': gravity})
  start = REGIMES[regime] if initial is None else initial
  return _integrate(slope, start, 4, steps, dt)


def pendulum_energy(states: np.ndarray, gravity: float = 9.81) -> np.ndarray:
  """Compute the energy of the double pendulum (Eq. 3).

  Args:
    states: `[..., 4]`: th_1, th_2, w_1, w_2 in radians and radians / s.
    gravity: g, m / s^2.

  Returns:
    `[...]` joules, 0 for both masses at rest at the height of the pivot.
  """
  th1, th2, w1, w2 = np.moveaxis(np.asarray(states, np.float64), -1, 0)
  moving = w1**2 + w2**2 / 2 + w1 * w2 * np.cos(th1 - th2)
  return moving - gravity * (2 * np.cos(th1) + np.cos(th2))


def _integrate(
    slope: Callable[[State], State], initial: Sequence[float], width: int,
    steps: int, dt: float
) -> np.ndarray:
  """Return [steps, width] states by the Runge-Kutta scheme of order 4."""
  _check_integration(initial, width, steps, dt)
  state = tuple(float(value) for value in initial)
  states = [state]
  for sample in range(1, steps):
    try:
      state = _runge_kutta(slope, state, dt)
      finite = math.isfinite(sum(state))
    except ValueError:
      # The sine of infinity.
      finite = False
    if not finite:
      raise UserError(
          f'data.dt: expected a step with which the state stays finite, found '
          f'{dt:g}: it is lost at sample {sample} of {steps}. Take a smaller '
          'one, unless the other settings make the system unstable.'
      )
    states.append(state)
  return np.array(states)


def _runge_kutta(
    slope: Callable[[State], State], state: State, dt: float
) -> State:
  half, sixth = dt / 2, dt / 6
  a = slope(state)
  b = slope(tuple(u + half * v for u, v in zip(state, a)))
  c = slope(tuple(u + half * v for u, v in zip(state, b)))
  d = slope(tuple(u + dt * v for u, v in zip(state, c)))
  return tuple(
      u + sixth * (p + 2 * q + 2 * r + s)
      for u, p, q, r, s in zip(state, a, b, c, d)
  )


def _source(
    name: str, values: np.ndarray, channels: Sequence[str], unit: str,
    dt: float, settings: Mapping[str, Any]
) -> Source:
  names = ('x', 'y')
  track = series.Track(
      name,
      {m: values[:, i:i + 1] for i, m in enumerate(names)},
      subject=name,
      label=name,
      file='generated by diffax.data.dynamics',
  )
  facts = series.Facts(
      name,
      rate=1 / dt,
      channels={m: (channel,) for m, channel in zip(names, channels)},
      units={m: (unit,) for m in names},
  )
  return series.source([track], facts, **settings)


def _check_integration(
    initial: Sequence[float], width: int, steps: int, dt: float
) -> None:
  if len(initial) != width or not all(math.isfinite(v) for v in initial):
    raise UserError(
        f'data.initial: expected {width} finite numbers, found '
        f'{list(initial)}.'
    )
  if steps < 2:
    raise UserError(f'data.steps: expected 2 or more, found {steps}.')
  if not (math.isfinite(dt) and dt > 0):
    raise UserError(f'data.dt: expected a time above 0, found {dt:g}.')


def _check_finite(settings: Mapping[str, float]) -> None:
  for field, value in settings.items():
    if not math.isfinite(value):
      raise UserError(
          f'data.{field}: expected a finite number, found {value}.'
      )
