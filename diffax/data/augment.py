"""Classical augmentation of windows of inertial sensors.

Of a window x `[L, C]` in the units of the sensors, with s_c the deviation of a
channel in training and n standard normal numbers,

  (1)  jitter     x_lc + sigma s_c n_lc
  (2)  scaling    x_lc (1 + sigma n_c)
  (3)  rotation   R x, one R for all triples of axes: the sensor sits askew
  (4)  time-warp  x(tau(l)), tau increasing with tau' = exp(spline(sigma n)),
                  tau(0) = 0, tau(L - 1) = L - 1, linear between samples
  (5)  mixup      lambda x + (1 - lambda) x' of two windows, and of their
                  targets, lambda ~ Beta(alpha, alpha)

A rotation of standardised axes would be no rotation, and their zero is not the
sensor's: therefore the units. The windows go in and come out standardised.

A time-warp moves values in time only; that a faster turn has larger angular
rates is left out, as in the reference.

References:
  Um et al., "Data augmentation of wearable sensor data for Parkinson's disease
  monitoring using convolutional neural networks", ICMI 2017 (1-4). Zhang et
  al., "mixup: beyond empirical risk minimization", ICLR 2018 (5).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import interpolate
from scipy.spatial import transform

from diffax.errors import UserError


class Windows(NamedTuple):
  """Windows and what to call them.

  Attributes:
    x: `[N, L, C]`.
    target: `[N, K]` shares of the classes, which sum to 1.
  """

  x: np.ndarray
  target: np.ndarray


class Signals(NamedTuple):
  """What is known of the channels.

  Attributes:
    triples: channels x, y, z of each sensor.
    mean: `[C]` of training, in the units of the sensors.
    std: `[C]` likewise.
  """

  triples: tuple[tuple[int, ...], ...]
  mean: np.ndarray
  std: np.ndarray

  @classmethod
  def of(cls, info: Mapping[str, Any]) -> 'Signals':
    """Take them from the `info` of a source of inertial windows."""
    triples = tuple(tuple(axes) for axes in info['sensors'].values())
    return cls(triples, np.asarray(info['mean']), np.asarray(info['std']))

  def physical(self, x: np.ndarray) -> np.ndarray:
    """Return standardised values `[..., C]` in the units of the sensors."""
    shape = (1,) * (np.ndim(x) - 1) + (-1,)
    return x * self.std.reshape(shape) + self.mean.reshape(shape)

  def standardised(self, x: np.ndarray) -> np.ndarray:
    """Undo `physical`."""
    shape = (1,) * (np.ndim(x) - 1) + (-1,)
    return (x - self.mean.reshape(shape)) / self.std.reshape(shape)


Augment = Callable[..., Windows]


def jitter(
    rng: np.random.Generator, windows: Windows, signals: Signals, *,
    sigma: float = 0.05
) -> Windows:
  """Add white noise (Eq. 1).

  Args:
    rng: of the noise.
    windows: in the units of the sensors.
    signals: of the channels.
    sigma: deviation of the noise, in deviations of the channel.

  Returns:
    Windows of the same shape.
  """
  noise = rng.normal(0, sigma, windows.x.shape)
  return windows._replace(x=windows.x + signals.std[None, None] * noise)


def scaling(
    rng: np.random.Generator, windows: Windows, signals: Signals, *,
    sigma: float = 0.1
) -> Windows:
  """Multiply each channel of each window by a factor (Eq. 2).

  Args:
    rng: of the factors.
    windows: in the units of the sensors.
    signals: not needed.
    sigma: deviation of the factors from 1.

  Returns:
    Windows of the same shape.
  """
  count, _, channels = windows.x.shape
  factor = 1 + rng.normal(0, sigma, (count, 1, channels))
  return windows._replace(x=windows.x * factor)


def rotation(
    rng: np.random.Generator, windows: Windows, signals: Signals, *,
    degrees: float = 30.0
) -> Windows:
  """Turn all sensors by one rotation (Eq. 3).

  Args:
    rng: of the axis, uniform on the sphere, and of the angle.
    windows: in the units of the sensors.
    signals: of the channels; those of no triple stay.
    degrees: the angle is uniform up to this; 180 is the reference's.

  Returns:
    Windows of the same shape.

  Raises:
    UserError: a sensor has not three axes.
  """
  if any(len(axes) != 3 for axes in signals.triples):
    raise UserError(
        'rotation: expected three axes of each sensor, found channels '
        f'{signals.triples}.'
    )
  count = len(windows.x)
  axis = rng.normal(size=(count, 3))
  axis /= np.linalg.norm(axis, axis=1, keepdims=True)
  angle = np.deg2rad(rng.uniform(0, degrees, (count, 1)))
  turn = transform.Rotation.from_rotvec(axis * angle).as_matrix()
  x = windows.x.copy()
  for axes in map(list, signals.triples):
    x[..., axes] = np.einsum('nij,nlj->nli', turn, x[..., axes])
  return windows._replace(x=x)


def timewarp(
    rng: np.random.Generator, windows: Windows, signals: Signals, *,
    sigma: float = 0.2, knots: int = 4
) -> Windows:
  """Speed windows up and down, smoothly (Eq. 4).

  Args:
    rng: of the speeds at the knots.
    windows: in any unit.
    signals: not needed.
    sigma: deviation of the logarithm of the speed at a knot.
    knots: between the ends, which are knots, too.

  Returns:
    Windows of the same shape.
  """
  count, length, _ = windows.x.shape
  places = np.linspace(0, length - 1, knots + 2)
  speed = interpolate.CubicSpline(
      places, rng.normal(0, sigma, (knots + 2, count))
  )
  # The speed is that between two samples.
  steps = np.exp(speed(np.arange(length - 1) + 0.5)).T
  time = np.concatenate([np.zeros((count, 1)), np.cumsum(steps, 1)], 1)
  time *= (length - 1) / time[:, -1:]
  before = np.clip(time.astype(int), 0, length - 2)[..., None]
  share = time[..., None] - before
  left, right = (
      np.take_along_axis(windows.x, before + i, axis=1) for i in (0, 1)
  )
  return windows._replace(x=left + share * (right - left))


def mixup(
    rng: np.random.Generator, windows: Windows, signals: Signals, *,
    alpha: float = 0.2
) -> Windows:
  """Mix each window with another, and their targets (Eq. 5).

  Args:
    rng: of the partners and weights.
    windows: in any unit.
    signals: not needed.
    alpha: of the weights' Beta distribution.

  Returns:
    Windows of the same shape.
  """
  other = rng.permutation(len(windows.x))
  weight = rng.beta(alpha, alpha, len(windows.x))
  x, target = (
      weight.reshape(-1, *[1] * (part.ndim - 1)) * (part - part[other])
      + part[other] for part in windows
  )
  return Windows(x, target)


AUGMENTATIONS: Mapping[str, Augment] = {
    'jitter': jitter,
    'scaling': scaling,
    'rotation': rotation,
    'timewarp': timewarp,
    'mixup': mixup,
}


def expand(
    x: np.ndarray,
    label: np.ndarray,
    kinds: Sequence[str],
    signals: Signals,
    *,
    classes: int,
    per_class: int,
    seed: int,
    share: float = 1.0,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> Windows:
  """Make new windows from real ones, as many of each class.

  Each class's windows are taken in turn, in shuffled rounds; then each kind
  changes a `share` of them, one kind after the other.

  Args:
    x: `[N, L, C]` standardised.
    label: `[N]` classes.
    kinds: names in `AUGMENTATIONS`.
    signals: of the channels.
    classes: K.
    per_class: how many new ones of each class that has windows.
    seed: of all draws.
    share: of the windows that a kind changes.
    options: of the kinds, by name.

  Returns:
    New windows, standardised, float32, in random order.

  Raises:
    UserError: a kind is unknown.
  """
  for kind in {*kinds, *(options or {})}:
    if kind not in AUGMENTATIONS:
      raise UserError(
          f'augmentation: expected some of {list(AUGMENTATIONS)}, found '
          f'{kind!r}.'
      )
  rng = np.random.default_rng(seed)
  rows = _balanced(rng, label, per_class)
  windows = Windows(
      signals.physical(np.asarray(x, np.float32)[rows]),
      np.eye(classes)[label[rows]],
  )
  for kind in kinds:
    changed = AUGMENTATIONS[kind](
        rng, windows, signals, **(options or {}).get(kind, {})
    )
    chosen = rng.random(len(rows)) < share
    windows = Windows(*(
        np.where(chosen.reshape(-1, *[1] * (new.ndim - 1)), new, old)
        for new, old in zip(changed, windows)
    ))
  return Windows(
      signals.standardised(windows.x).astype(np.float32),
      windows.target.astype(np.float32),
  )


def _balanced(
    rng: np.random.Generator, label: np.ndarray, per_class: int
) -> np.ndarray:
  """Return rows, `per_class` of each label that there is, shuffled."""
  chosen = []
  for kind in np.unique(label):
    own = np.flatnonzero(label == kind)
    rounds = -(-per_class // len(own))
    turns = [rng.permutation(own) for _ in range(rounds)]
    chosen.append(np.concatenate(turns)[:per_class])
  return rng.permutation(np.concatenate(chosen))
