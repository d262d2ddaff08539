"""Generated inertial recordings: made-up people with a sensor at the thigh.

These are formulas, not recordings; no number measured on them says anything
about people. They let the whole of a study run where no data may be shared.

A thigh turns about the hip by an angle q (flexion), a little about the two
other axes, and the hip itself accelerates by h along the way and upward:

  (1)  phase     phi(t) = c t + j(t)           in cycles; j wanders slowly
  (2)  angles    q_i = m_i + sum_k A_ik sin 2 pi (k phi + o_ik),  k = 1..3
  (3)  hip       walking, running: h = sum_k H_k sin 2 pi (2 k phi + o_k),
                 along the way and upward, and a ringing of 14 Hz at each step;
                 cycling: none but a tremor;
                 jumping: free flight for a share s of the cycle, then a thrust,
                   h_up = -g                                     in flight
                   h_up = g (pi / (2 (1 - s)) sin(pi u) - 1)     u = 0..1
                 whose mean is 0, as it is for whoever lands where he took off
  (4)  sensor    at p below the hip, in a mounting M of the person's own:
                   f = M R^T (h + (R p)'' + g z),   w = M w_body,
                 with R from the angles; f and w are what a sensor measures.

In flight the accelerometer shows next to nothing, at rest g; the mean of f is
about g in any activity. Cadence c, sizes A and H, offsets o and the mounting M
differ between people; running is faster and larger than walking, cycling turns
about a thigh that is nearly level.
"""

from collections.abc import Iterator, Mapping, Sequence
import dataclasses
from typing import Any

import numpy as np
from scipy.spatial import transform

from diffax.data import imu
from diffax.data import imu_recordings
from diffax.data.base import Source
from diffax.errors import UserError

GRAVITY = imu_recordings.ACC_UNITS['m/s^2']
FACTS = imu_recordings.Facts('imu_synthetic', imu_recordings.RATE, 'm/s^2',
                             'rad/s')

# Derivatives are taken at a finer step, and their ends are cut.
_FINE = 4
_MARGIN = 8
_HARMONICS = 3
_FLIGHT = 0.35
_RING = 14.0


@dataclasses.dataclass(frozen=True)
class Activity:
  """Sizes of the formulas (1) to (3).

  Attributes:
    cadence: c, cycles per second.
    flexion: m of the thigh, radians.
    swing: A of flexion by harmonic, radians.
    sway: A of the two other axes, radians.
    bounce: H along the way and upward, m/s^2.
    strike: the ringing at each step, m/s^2.
    jumps: whether the hip flies.
  """

  cadence: float
  flexion: float
  swing: tuple[float, float, float]
  sway: float
  bounce: tuple[float, float]
  strike: float
  jumps: bool = False


ACTIVITIES: Mapping[str, Activity] = {
    'walking': Activity(0.92, 0.12, (0.42, 0.09, 0.03), 0.06, (1.2, 2.0), 5.0),
    'running': Activity(1.35, 0.3, (0.52, 0.12, 0.03), 0.08, (3.0, 9.0), 16.0),
    'jumping': Activity(1.6, 0.35, (0.16, 0.04, 0.01), 0.03, (0.0, 0.0), 0.0,
                        True),
    'cycling': Activity(1.1, 1.05, (0.36, 0.04, 0.01), 0.05, (0.3, 0.3), 0.0),
}


@dataclasses.dataclass(frozen=True)
class _Person:
  """What one person differs in."""

  cadence: float
  size: float
  bounce: float
  offsets: np.ndarray      # o [5, H], in the cycle: three angles, two of h
  below: np.ndarray        # p [3], metres
  mounting: transform.Rotation


def imu_synthetic(
    *,
    seed: int,
    batch_size: int,
    root: str | None = None,
    classes: Sequence[str] = tuple(ACTIVITIES),
    people: int = 12,
    seconds: float = 60.0,
    noise: float = 0.15,
    data_seed: int = 0,
    fold: int = 0,
    length: int = 160,
    shift: int = 40,
    picks: int = 2,
    pick_seed: int = 0,
    val_share: float = 0.2,
    per_class: bool = False,
    augment: Mapping[str, Any] | None = None,
) -> Source:
  """Build the source of made-up people.

  Args:
    seed: of the order of the batches.
    batch_size: of the global batch.
    root: not used; nothing is read.
    classes: keys of `ACTIVITIES`.
    people: how many.
    seconds: of each activity of each person.
    noise: deviation of the white noise of the accelerometer, m/s^2; a third
      of it, in rad/s, is that of the gyroscope.
    data_seed: of the people and their recordings; fewer people are the first
      of more.
    fold: which person is held out.
    length: see `imu.source`.
    shift: see `imu.source`.
    picks: see `imu.source`.
    pick_seed: see `imu.source`.
    val_share: see `imu.source`.
    per_class: see `imu.source`.
    augment: see `imu.source`.

  Returns:
    The source; see `imu.source`.

  Raises:
    UserError: a setting is wrong.
  """
  del root
  imu.check_classes(classes, tuple(ACTIVITIES), 'imu_synthetic')
  if not (people >= 2 and seconds > 0 and noise >= 0):
    raise UserError(
        'data.people, data.seconds, data.noise: expected at least 2, above 0, '
        f'at least 0, found {people}, {seconds:g}, {noise:g}.'
    )
  recordings = list(generate(people, seconds, noise, data_seed, classes))
  return imu.source(
      imu_recordings.prepare(recordings, FACTS), FACTS, seed=seed,
      batch_size=batch_size, classes=classes, fold=fold, length=length,
      shift=shift, picks=picks, pick_seed=pick_seed, val_share=val_share,
      per_class=per_class,
      augment=augment
  )


def generate(
    people: int = 12, seconds: float = 60.0, noise: float = 0.15,
    data_seed: int = 0, classes: Sequence[str] = tuple(ACTIVITIES)
) -> Iterator[imu_recordings.Recording]:
  """Yield a recording of each person in each activity; see `imu_synthetic`."""
  samples = round(seconds * FACTS.rate)
  names = list(ACTIVITIES)
  for number in range(people):
    person = _person(np.random.default_rng([data_seed, 0, number]))
    for label in classes:
      rng = np.random.default_rng([data_seed, 1, number, names.index(label)])
      values = _measure(rng, person, ACTIVITIES[label], samples)
      spread = np.repeat([noise, noise / 3], 3)
      subject = f'P{number + 1:02d}'
      yield imu_recordings.Recording(
          f'{subject}/{label}', values + spread * rng.normal(size=values.shape),
          subject, label, 'generated'
      )


def _person(rng: np.random.Generator) -> _Person:
  return _Person(
      cadence=float(np.exp(rng.normal(0, 0.08))),
      size=float(np.exp(rng.normal(0, 0.12))),
      bounce=float(np.exp(rng.normal(0, 0.12))),
      offsets=rng.normal(0, 0.05, (5, _HARMONICS)),
      below=np.array([0.06, 0.04, -0.25]) + rng.normal(0, 0.02, 3),
      mounting=transform.Rotation.from_rotvec(rng.normal(0, 0.2, 3)),
  )


def _measure(
    rng: np.random.Generator, person: _Person, activity: Activity,
    samples: int
) -> np.ndarray:
  """Return what the sensor measures, [T, 6] without noise (eq. 4)."""
  step = 1 / (FACTS.rate * _FINE)
  time = np.arange(-_MARGIN * _FINE, (samples + _MARGIN) * _FINE) * step
  phase = _phase(rng, activity.cadence * person.cadence, time)
  # Flexion turns about y, which points to the left; then x, then z.
  body = transform.Rotation.from_euler(
      'YXZ', _angles(person, activity, phase))
  placed = body.apply(person.below)
  force = _hip(person, activity, phase) + np.gradient(
      np.gradient(placed, step, axis=0), step, axis=0)
  force[:, 2] += GRAVITY
  turning = (body[:-2].inv() * body[2:]).as_rotvec() / (2 * step)
  turning = np.concatenate([turning[:1], turning, turning[-1:]])
  measured = np.concatenate([
      person.mounting.apply(body.inv().apply(force)),
      person.mounting.apply(turning),
  ], 1)
  return measured[_MARGIN * _FINE:-_MARGIN * _FINE:_FINE]


def _phase(
    rng: np.random.Generator, cadence: float, time: np.ndarray
) -> np.ndarray:
  # Eq. 1; tempi from some seconds to most of a minute, no two alike.
  tempi = np.geomspace(0.02, 0.3, 6)
  wander = np.sin(
      2 * np.pi * (time[:, None] * tempi + rng.uniform(size=6))
  ) @ rng.normal(0, 0.04 / np.sqrt(tempi * 6))
  return cadence * time + rng.uniform() + wander


def _angles(
    person: _Person, activity: Activity, phase: np.ndarray
) -> np.ndarray:
  """Return flexion and the two other angles, [T, 3] radians (eq. 2)."""
  order = np.arange(1, _HARMONICS + 1)
  waves = np.sin(
      2 * np.pi * (phase[:, None, None] * order + person.offsets[:3]))
  swing = np.asarray(activity.swing)
  sway = activity.sway / order ** 2
  sizes = person.size * np.stack([swing, sway, sway])
  # A positive turn about y takes the knee back; flexion takes it forward.
  return (waves * sizes).sum(-1) * (-1, 1, 1) - (activity.flexion, 0, 0)


def _hip(
    person: _Person, activity: Activity, phase: np.ndarray
) -> np.ndarray:
  """Return the acceleration of the hip, [T, 3] m/s^2 (eq. 3)."""
  hip = np.zeros((len(phase), 3))
  if activity.jumps:
    cycle = phase % 1
    thrust = np.clip((cycle - _FLIGHT) / (1 - _FLIGHT), 0, 1)
    hip[:, 2] = GRAVITY * (
        np.pi / (2 * (1 - _FLIGHT)) * np.sin(np.pi * thrust) - 1)
    return hip
  order = np.arange(1, _HARMONICS + 1)
  waves = np.sin(2 * np.pi * (
      2 * phase[:, None, None] * order + person.offsets[3:]))
  # Each half cycle has a step; its ringing lasts a few hundredths of a second.
  since = (2 * phase % 1) / (2 * activity.cadence)
  ring = np.exp(-since / 0.04) * np.sin(2 * np.pi * _RING * since)
  sizes = np.stack([size / order ** 2 for size in activity.bounce])
  hip[:, [0, 2]] = person.bounce * (waves * sizes).sum(-1)
  hip[:, 2] += person.bounce * activity.strike * (ring - ring.mean())
  return hip
