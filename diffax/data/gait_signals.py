"""Generated walking: joint angles, joint moments and forces of made-up people.

These are formulas, not recordings, and no model of physiology. They let code
for paired series run where the data may not be shared; no number measured on
them says anything about people.

A made-up person walks at one of three speeds on one of nine inclines. Two
hidden things vary smoothly, from within a stride to over ten strides, and
every modality follows them:

  (1)  phase  phi(t) = t / 150 + j(t), in strides; 0 is foot strike
  (2)  state  u(t) = (v, a, posture, push); speed v and incline a in [-1, 1]

Angles are Fourier series of the phase whose coefficients K depend smoothly on
the state and differ between people,

  (3)  q_c = sum_hf B_h(phi) F_f(u) K_hfc
       B = (1, cos 2 pi h phi, sin 2 pi h phi),   h = 1..5
       F = (1, v, a, v^2, v a, a^2, posture),

but the pitch of the foot has the chain of joints above it added. Forces load
the leg while c = cos 2 pi x, x = phi - d / 2, is above its value at the end of
a stance of d strides; the vertical one dips in mid-stance, the one along the
way brakes and then drives:

  (4)  load     w = (1 + push / 8) / (1 + exp(-12 (c - cos pi d)))
       along    9.81 w (0.2 (1 + v / 4) sin 2 pi x + 0.1 a)
       lateral  9.81 w (0.04 + 0.02 posture + 0.02 cos 4 pi x)
       up       9.81 w (1.1 - r) (1 + a sin(2 pi x) / 8)
       dip      r = (0.25 + 0.1 v) exp(-((1 - c) / 0.35)^2),

each times a gain of the person, whose d shrinks with v. Moments are inertia,
damping, and forces R on levers that are sines of sums of angles (radians),
with time in strides and the stride's duration T(v):

  (5)  M_c = -I_c q_c'' / T^2 - D_c tanh(q_c' / 2 T)
             + sum_i R_i A_ci sin(W_c q - o_c)

Posture and push are not told by the task; push does not show in the angles.
"""

from collections.abc import Iterator, Sequence
import dataclasses
import itertools

import numpy as np

from diffax.data import embry
from diffax.data import series as series_lib
from diffax.data.base import Source
from diffax.errors import UserError

SPEEDS = (0.8, 1.0, 1.2)
INCLINES = tuple(float(a) for a in np.arange(-10, 10.1, 2.5))
PROFILES = tuple(itertools.product(SPEEDS, INCLINES))
"""Speed (m/s) and incline (degrees) of the 27 tasks."""
SAMPLES = embry.SAMPLES
CHANNELS = embry.CHANNELS
UNITS = {'angles': 'deg', 'moments': 'N m / kg', 'grf': 'N / kg'}

_GRAVITY = 9.81
_HARMONICS = 5
# Sizes of the coefficients of v, a, v^2, v a, a^2, posture, in a channel's own.
_SLOPES = (0.12, 0.15, 0.04, 0.05, 0.06, 0.1)
_STATES = 4
# Cycles per stride of the fluctuations; no two share a period.
_TEMPI = np.geomspace(0.09, 1.7, 14)
_JITTER = 0.02
_SWING = np.array([0.2, 0.2, 0.8, 1.0])
# Derivatives are one-sided at the ends, which are cut.
_MARGIN = 3
# Mean, then amplitude and phase of the peak of each harmonic, of the sagittal
# angles; degrees and strides.
_SHAPES: dict[str, tuple[float, list[tuple[float, float]]]] = {
    'hip_angle_x': (12, [(20, 0.93), (4, 0.36), (1, 0.2)]),
    'knee_angle_x': (23, [(18, 0.72), (17, 0.17), (4, 0.4)]),
    'ankle_angle_x': (0, [(5, 0.4), (8, 0.4), (4, 0.42)]),
    'foot_angle_x': (0, [(3, 0.1), (1, 0.3)]),
    'pelvis_angle_x': (8, [(0.5, 0.2), (1.5, 0.1)]),
}
# Degrees that full incline adds to them.
_CLIMB = {'hip_angle_x': 9, 'knee_angle_x': 5, 'ankle_angle_x': 4,
          'pelvis_angle_x': 3}


@dataclasses.dataclass(frozen=True)
class _Person:
  """Constants of the formulas (3) to (5)."""

  series: np.ndarray   # K [F, 1 + 2 H, 15], degrees
  stance: float        # d at 1 m/s, strides
  force: np.ndarray    # gains [3]
  inertia: np.ndarray  # I [9]
  damping: np.ndarray  # D [9]
  lever: np.ndarray    # A [9, 3], metres
  posed: np.ndarray    # W [9, 15]
  offset: np.ndarray   # o [9], radians


def gait_synthetic(
    *,
    seed: int,
    batch_size: int,
    root: str | None = None,
    modalities: Sequence[str] = ('angles', 'moments'),
    length: int = 300,
    stride: int = 150,
    split: str = 'subjects',
    fold: int = 0,
    folds: int = 10,
    train_share: float = 0.8,
    split_seed: int = 0,
    subjects: int = 10,
    profiles: int = len(PROFILES),
    strides_per_trial: int = 8,
    noise: float = 0.02,
    data_seed: int = 0,
) -> Source:
  """Build the source of generated walking.

  Args:
    seed: of the order of training windows.
    batch_size: of the global batch.
    root: not used; nothing is read.
    modalities: which of `angles, moments, grf` to use, in this order.
    length: L, samples of a window; a stride has about 150.
    stride: samples between the starts of windows.
    split: one of `series.SPLITS`.
    fold: which fold of subjects is held out.
    folds: of subjects.
    train_share: see `series.source`.
    split_seed: see `series.source`.
    subjects: how many people.
    profiles: how many of the 27 tasks, spread over them.
    strides_per_trial: of each person at each task.
    noise: deviation of the white noise, in deviations of the channel.
    data_seed: of people and trials; a subset holds the same ones.

  Returns:
    The source, see `series.source`; `info` also has `tasks`, speed (m/s) and
    incline (degrees) by label.

  Raises:
    UserError: a setting is wrong.
  """
  del root
  if not (subjects >= 1 and 1 <= profiles <= len(PROFILES)
          and strides_per_trial >= 1 and noise >= 0):
    raise UserError(
        'data.subjects, data.profiles, data.strides_per_trial, data.noise: '
        f'expected at least 1, 1 to {len(PROFILES)}, at least 1, at least 0, '
        f'found {subjects}, {profiles}, {strides_per_trial}, {noise:g}.'
    )
  facts = series_lib.Facts(
      'gait_synthetic', SAMPLES, CHANNELS,
      {name: (UNITS[name],) * len(c) for name, c in CHANNELS.items()}
  )
  source = series_lib.source(
      list(generate(subjects, profiles, strides_per_trial, noise, data_seed)),
      facts, seed=seed, batch_size=batch_size, modalities=modalities,
      length=length, stride=stride, split=split, fold=fold, folds=folds,
      train_share=train_share, split_seed=split_seed
  )
  return source._replace(info={
      **source.info,
      'tasks': {name: embry.task(name) for name in source.info['classes']},
  })


def generate(
    subjects: int = 10,
    profiles: int = len(PROFILES),
    strides_per_trial: int = 8,
    noise: float = 0.02,
    data_seed: int = 0,
) -> Iterator[series_lib.Track]:
  """Yield one trial of each person at each task; see `gait_synthetic`."""
  chosen = np.linspace(0, len(PROFILES) - 1, profiles).round().astype(int)
  time = np.arange(-_MARGIN, strides_per_trial * SAMPLES + _MARGIN) / SAMPLES
  turns = 2 * np.pi * time[:, None] * _TEMPI
  tempi = np.concatenate([np.cos(turns), np.sin(turns)], -1)
  crowd = _crowd(np.random.default_rng([data_seed, 0]))
  for number in range(subjects):
    person = _person(crowd, np.random.default_rng([data_seed, 1, number]))
    for task in chosen:
      rng = np.random.default_rng([data_seed, 2, number, task])
      speed, incline = PROFILES[task]
      label = embry.task_name(speed, incline)
      subject = f'S{number + 1:02d}'
      values = _trial(rng, person, time, tempi, (speed - 1) / 0.2, incline / 10)
      yield series_lib.Track(
          f'{subject}/{label}',
          {name: _noisy(rng, array, noise) for name, array in values.items()},
          subject, label, 'generated'
      )


def _trial(
    rng: np.random.Generator, person: _Person, time: np.ndarray,
    tempi: np.ndarray, speed: float, incline: float
) -> dict[str, np.ndarray]:
  # Eq. 1 and 2, then the modalities without their margins.
  size = (len(_TEMPI), 1 + _STATES)
  weights = rng.normal(size=(2, *size)).reshape(-1, size[1])
  drift = tempi @ weights / np.sqrt(len(_TEMPI))
  phase = time + _JITTER * drift[:, 0]
  state = np.array([speed, incline, 0, 0]) + _SWING * drift[:, 1:]
  angles = _angles(person, phase, state)
  forces = _forces(person, phase, state)
  moments = _moments(person, angles, forces, 1.15 - 0.08 * speed)
  inner = slice(_MARGIN, -_MARGIN)
  return {
      'angles': angles[inner], 'moments': moments[inner], 'grf': forces[inner]
  }


def _angles(
    person: _Person, phase: np.ndarray, state: np.ndarray
) -> np.ndarray:
  # Eq. 3, [T, 15] degrees.
  speed, incline, posture, _ = state.T
  features = np.stack([
      np.ones_like(speed), speed, incline, speed**2, speed * incline,
      incline**2, posture
  ], -1)
  turns = 2 * np.pi * phase[:, None] * np.arange(1, _HARMONICS + 1)
  basis = np.concatenate(
      [np.ones_like(turns[:, :1]), np.cos(turns), np.sin(turns)], -1
  )
  angles = np.einsum('tf,ftc->tc', features, basis @ person.series)
  hip, knee, ankle, foot, pelvis = (
      CHANNELS['angles'].index(name) for name in (
          'hip_angle_x', 'knee_angle_x', 'ankle_angle_x', 'foot_angle_x',
          'pelvis_angle_x')
  )
  angles[:, foot] += (
      angles[:, pelvis] + angles[:, hip] - angles[:, knee] + angles[:, ankle]
  )
  return angles


def _forces(
    person: _Person, phase: np.ndarray, state: np.ndarray
) -> np.ndarray:
  # Eq. 4, [T, 3] N / kg.
  speed, incline, posture, push = state.T
  stance = person.stance - 0.02 * speed
  turn = 2 * np.pi * (phase - stance / 2)
  sway, middle = np.sin(turn), np.cos(turn)
  load = (1 + push / 8) / (
      1 + np.exp(-12 * (middle - np.cos(np.pi * stance)))
  )
  dip = (0.25 + 0.1 * speed) * np.exp(-((1 - middle) / 0.35) ** 2)
  forces = np.stack([
      0.2 * (1 + speed / 4) * sway + 0.1 * incline,
      0.04 + 0.02 * posture + 0.02 * np.cos(2 * turn),
      (1.1 - dip) * (1 + incline * sway / 8),
  ], -1)
  return _GRAVITY * person.force * load[:, None] * forces


def _moments(
    person: _Person, angles: np.ndarray, forces: np.ndarray, duration: float
) -> np.ndarray:
  # Eq. 5, [T, 9] N m / kg; the first nine angles are hip, knee and ankle.
  pose = np.deg2rad(angles)
  own = pose[:, :len(CHANNELS['moments'])]
  pace = np.gradient(own, axis=0) * SAMPLES / duration
  change = np.gradient(pace, axis=0) * SAMPLES / duration
  levers = np.sin(pose @ person.posed.T - person.offset)
  return (
      -person.inertia * change
      - person.damping * np.tanh(pace / 2)
      + (forces @ person.lever.T) * levers
  )


def _noisy(
    rng: np.random.Generator, values: np.ndarray, noise: float
) -> np.ndarray:
  return values + noise * values.std(0) * rng.normal(size=values.shape)


def _crowd(rng: np.random.Generator) -> _Person:
  """Draw what people have in common."""
  names = CHANNELS['angles']
  base = np.zeros((1 + 2 * _HARMONICS, len(names)))
  for c, name in enumerate(names):
    base[0, c], peaks = _SHAPES.get(name) or (rng.normal(0, 4), [
        (abs(rng.normal(0, 5)) / h**2, rng.uniform()) for h in (1, 2, 3)
    ])
    for h, (size, at) in enumerate(peaks, 1):
      base[h, c] = size * np.cos(2 * np.pi * h * at)
      base[_HARMONICS + h, c] = size * np.sin(2 * np.pi * h * at)
  series = np.stack(
      [base, *(size * _deviation(rng, base) for size in _SLOPES)]
  )
  series[2, 0] += [_CLIMB.get(name, 0) for name in names]
  count = len(CHANNELS['moments'])
  axis = np.arange(count) % 3
  posed = rng.normal(0, 0.4, (count, len(names)))
  posed[np.arange(count), np.arange(count)] += 1.5
  return _Person(
      series,
      0.64,
      np.ones(3),
      np.where(axis == 0, 0.01, 0.004) * rng.uniform(0.7, 1.3, count),
      np.where(axis == 0, 0.12, 0.05) * rng.uniform(0.7, 1.3, count),
      rng.normal(0, (0.15, 0.15, 0.09), (count, 3)),
      posed,
      rng.uniform(-0.5, 0.5, count),
  )


def _person(crowd: _Person, rng: np.random.Generator) -> _Person:
  """Draw a person: the crowd's constants, a tenth or so off."""
  base = crowd.series[0]
  series = crowd.series + np.stack(
      [size * _deviation(rng, base) for size in (0.1, *[0.02] * len(_SLOPES))]
  )

  def near(values: np.ndarray, share: float = 0.1) -> np.ndarray:
    return values * np.exp(rng.normal(0, share, values.shape))

  return _Person(
      series,
      crowd.stance + rng.normal(0, 0.015),
      np.exp(rng.normal(0, (0.1, 0.15, 0.03))),
      near(crowd.inertia), near(crowd.damping), near(crowd.lever),
      near(crowd.posed), crowd.offset + rng.normal(0, 0.08, crowd.offset.shape),
  )


def _deviation(rng: np.random.Generator, base: np.ndarray) -> np.ndarray:
  # Random coefficients [1 + 2 H, C] of the size of a channel's own, falling
  # with the harmonic so that curves stay smooth.
  size = np.sqrt((base[1:] ** 2).sum(0))
  order = np.r_[1, np.tile(np.arange(1, _HARMONICS + 1), 2)]
  return rng.normal(size=base.shape) * size / order[:, None] ** 2
