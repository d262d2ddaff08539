"""Generated dances and their music: a stick figure that moves on the accents.

No one danced and no one played; no number measured on this set says anything
about people. Everything is made of one score. A piece has a tempo of 80 to 140
beats per minute and bars of n steps, eighths of

  (1)  d = 30 / tempo   seconds,

and each step of a bar is an accent with a probability that depends on the
style and the step. Of three styles, `step` is in four with most accents on the
beats, `waltz` in three, and `latin` syncopates (3 + 3 + 2 eighths). A bar is
drawn anew, or repeats the last or the one before that, so beats stay silent and
accents fall between them: neither a metronome nor the music of another piece of
the same tempo tells where they are. Some bars rest, and no two accents are
closer than 0.3 s, which no body could follow. An accent has a strength in
[1/2, 1], which is the loudness of what sounds and the size of what moves.

An accent at t_i sounds as a drum and a chord with sudden attacks; below lies a
pad without any. At the same time the body sets out from where it is for a new
key pose of the style, with targets q_i of its joint angles,

  (2)  q(t) = q_0 + sum_i (q_i - q_(i-1)) s((t - t_i) / tau),
       s(x) = 1 - (1 + x) exp(-x)   for x > 0, else 0,

whose acceleration is largest at t_i: kinematic beats fall on accents by
construction. What moves besides (a slow turn, a sway) has no beats. Positions
follow by `data.synthetic`, for bodies and habits of the dancer's own, but for
the path, which keeps the lower foot where it is.

In windows of 10 s of the test, of beats of the movement and onsets of the sound
97 % (F1, one to one, 0.1 s) are one; of a metronome's beats 25 %, of those of
another piece 23 %. A metronome of the right tempo and phase has most of them,
which have to be found first.
"""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any

import numpy as np
from scipy import ndimage

from diffax.body import poses as poses_lib
from diffax.data import actions
from diffax.data import dance
from diffax.data import dance_store
from diffax.data import synthetic
from diffax.data.base import Source
from diffax.data.dance_store import FPS
from diffax.data.dance_store import HOP
from diffax.data.dance_store import RATE
from diffax.errors import UserError

VERSION = 2
"""Of the generator; what an older one stored is not used."""

TEMPI = (80.0, 140.0)
# Share of bars that rest; tau of Eq. 2 and time between accents, seconds.
_REST, _RISE, _APART = 0.08, 0.08, 0.3
_TRACKS_OF_A_DANCER = 4
_HEADROOM = 0.9
# Metres over which the weight shifts, seconds over which the path returns.
_SOFT, _STAY = 0.02, 2.0
_HIPS = [poses_lib.JOINTS.index(name) for name in ('l_hip', 'r_hip')]
_FEET = [poses_lib.JOINTS.index(name) for name in ('l_ankle', 'r_ankle')]

Angles = Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Style:
  """How a style sounds and moves.

  Attributes:
    accents: probability of an accent at each step (eighth) of a bar.
    drums: names of the sounds of strong, middle and weak steps.
    chords: roots of the bars' chords, semitones from the key.
    third: semitones of the chords' third.
    keys: key poses, degrees that differ from standing.
  """

  accents: tuple[float, ...]
  drums: tuple[str, str, str]
  chords: tuple[int, ...]
  third: int
  keys: tuple[Angles, ...]


def _both(**angles: float) -> dict[str, float]:
  return {f'{side}_{name}': x for side in 'lr' for name, x in angles.items()}


def _mirror(angles: Angles) -> dict[str, float]:
  """Exchange the sides; turns about upright and forward axes change sign."""
  signed = {'pelvis_yaw', 'pelvis_roll', 'twist', 'lean', 'look', 'tilt'}
  sides = {'l': 'r', 'r': 'l'}
  return {
      sides[name[0]] + name[1:] if name[1] == '_' else name:
      -x if name in signed else x for name, x in angles.items()
  }


def _with_mirrors(*keys: Angles) -> tuple[Angles, ...]:
  mirrors = [_mirror(key) for key in keys]
  return (*keys, *(m for m, key in zip(mirrors, keys) if m != key))


_SQUAT = _both(hip=52, knee=84, ankle=32)
STYLES: Mapping[str, Style] = {
    'step': Style(
        (0.95, 0.08, 0.65, 0.15, 0.85, 0.08, 0.65, 0.25),
        ('kick', 'snare', 'hat'), (0, 5, 7, 5), 4,
        _with_mirrors(
            {'l_hip': 62, 'l_knee': 78, 'r_arm': 85, 'r_elbow': 60,
             'l_arm': -30, 'twist': 14},
            {**_SQUAT, **_both(arm=55, elbow=85)},
            {'l_raise': 128, 'l_elbow': 20, 'r_raise': 40, 'r_elbow': 95,
             'l_spread': 16, 'r_spread': 16, 'lean': -8},
            {**_both(raise_=88, elbow=92), 'pelvis_yaw': 18},
            {},
        ),
    ),
    'waltz': Style(
        (0.95, 0.06, 0.5, 0.12, 0.6, 0.12),
        ('bass', 'pluck', 'pluck'), (0, 7, 9, 5), 3,
        _with_mirrors(
            {'lean': 16, 'tilt': 10, 'l_raise': 112, 'l_elbow': 26,
             'r_raise': 52, 'r_elbow': 32, 'l_spread': 18, 'pelvis_roll': 7},
            {'l_arm': 120, 'r_arm': 120, 'l_elbow': 24, 'r_elbow': 24,
             'bend': -6},
            {'l_hip': 34, 'l_knee': 22, 'r_hip': -14, 'l_arm': 70,
             'r_raise': 92, 'twist': 18, 'l_elbow': 36},
            _both(raise_=70, elbow=18, hip=22, knee=36, ankle=14),
            {},
        ),
    ),
    'latin': Style(
        (0.9, 0.1, 0.12, 0.85, 0.12, 0.1, 0.8, 0.2),
        ('conga', 'clave', 'shaker'), (0, 3, 10, 7), 3,
        _with_mirrors(
            {'pelvis_roll': 13, 'lean': -13, 'l_knee': 42, 'l_hip': 26,
             'l_elbow': 105, 'r_elbow': 70, 'r_raise': 42, 'pelvis_yaw': 16},
            {'l_hip': 44, 'l_knee': 32, 'r_hip': -16, 'r_arm': 62,
             'r_elbow': 85, 'l_arm': -34, 'l_elbow': 60, 'twist': 16},
            {'l_raise': 120, 'l_elbow': 82, 'r_raise': 28, 'r_elbow': 100,
             'r_spread': 20, 'pelvis_roll': -9},
            {**_both(hip=32, knee=52, ankle=20, elbow=110, raise_=30)},
        ),
    ),
}


@dataclasses.dataclass(frozen=True)
class Score:
  """What happens when.

  Attributes:
    style: of `STYLES`.
    tempo: beats per minute; a beat has two steps.
    times: [N] seconds of the accents.
    strengths: [N] in [1/2, 1].
    ranks: [N] 0, 1 or 2: strong, middle or weak step.
    bars: [M] seconds of the bar lines.
  """

  style: str
  tempo: float
  times: np.ndarray
  strengths: np.ndarray
  ranks: np.ndarray
  bars: np.ndarray


def dance_synthetic(
    *,
    seed: int,
    batch_size: int,
    root: str | None = None,
    store: str | None = None,
    tracks: int = 96,
    track_seconds: float = 50.0,
    data_seed: int = 0,
    seconds: float = 10.0,
    eval_seconds: float | None = None,
    pose: str = 'positions',
    music: str = 'mel',
    yaw: float = 45.0,
    mirror: bool = True,
    limit: int = 256,
) -> Source:
  """Build the source of made-up dances; an eighth each to val and to test.

  Args:
    seed: of the batches.
    batch_size: of the global batch.
    root: not used; nothing is read.
    store: folder of the set; by default `store.default_folder`.
    tracks: how many; at least 24, so that every split has every style.
    track_seconds: of each, 4 or more.
    data_seed: of everything in the set.
    seconds: see `dance.View`.
    eval_seconds: see `dance.View`.
    pose: see `dance.View`.
    music: see `dance.View`.
    yaw: see `dance.View`.
    mirror: see `dance.View`.
    limit: see `dance.View`.

  Returns:
    The source; see `dance.source`. Entries of the tracks in the manifest have
    `tempo` and `accents`, the seconds of all.

  Raises:
    UserError: a setting is wrong.
  """
  del root
  options: dict[str, Any] = {
      'tracks': tracks, 'track_seconds': track_seconds, 'data_seed': data_seed
  }
  _check(**options)
  folder = dance.prepared(
      'dance_synthetic', VERSION, lambda: generate(**options), options=options,
      store=store
  )
  view = dance.View(
      seconds, eval_seconds, pose, music, yaw, mirror, limit
  )
  return dance.source(folder, view, seed=seed, batch_size=batch_size)


def generate(
    tracks: int = 96, track_seconds: float = 50.0, data_seed: int = 0
) -> tuple[list[dance_store.Track], list[dance_store.Dance], dict[str, Any]]:
  """Generate music, dances and what the manifest says of them.

  Args:
    tracks: how many.
    track_seconds: of each.
    data_seed: of everything; fewer tracks are the first of more.

  Returns:
    See `dance.prepared`.
  """
  songs, dances = [], []
  for number in range(tracks):
    style = list(STYLES)[number % len(STYLES)]
    split = split_of(number)
    dancer = f'{split}{number // _TRACKS_OF_A_DANCER}'
    song, performed = piece(
        np.random.default_rng([data_seed, number]), f'{style}{number:03d}',
        style, dancer, split, track_seconds
    )
    songs.append(song)
    dances.append(performed)
  return songs, dances, {
      'what': 'generated by diffax.data.dance_synthetic: a stick figure and '
              'rendered music, by formula',
      'licence': 'as diffax',
      'styles': list(STYLES),
  }


def split_of(number: int) -> str:
  """Return the split of a track: of 24, three each are val and test."""
  return {6: 'val', 7: 'test'}.get(number // len(STYLES) % 8, 'train')


def piece(
    rng: np.random.Generator, name: str, style: str, dancer: str, split: str,
    seconds: float
) -> tuple[dance_store.Track, dance_store.Dance]:
  """Make one piece of music and the dance to it.

  Args:
    rng: where to draw from.
    name: of both.
    style: of `STYLES`.
    dancer: whose body and habits these are.
    split: of both.
    seconds: how long.

  Returns:
    The track and the dance.
  """
  file = 'generated by diffax.data.dance_synthetic'
  frames = int(seconds * FPS)
  score = compose(rng, style, seconds)
  facts = {
      'tempo': round(score.tempo, 2), 'accents': score.times.round(4).tolist()
  }
  wave = render(rng, score, frames * HOP)
  poses = perform(rng, score, dancer, frames)
  return (
      dance_store.Track(name, wave, file, facts),
      dance_store.Dance(name, name, poses, style, dancer, split, file),
  )


def compose(rng: np.random.Generator, style: str, seconds: float) -> Score:
  """Draw a score of accents (Eq. 1); see the module."""
  chances = np.array(STYLES[style].accents)
  tempo = float(rng.uniform(*TEMPI))
  step, begin = 30 / tempo, float(rng.uniform(0.1, 0.6))
  count = int((seconds - begin) / (len(chances) * step)) + 1
  history: list[np.ndarray] = []
  for _ in range(count):
    history.append(_bar(rng, chances, history))
  places = _apart(np.flatnonzero(np.concatenate(history)), _APART / step)
  times = begin + step * places
  inside = times < seconds - 0.3
  ranks = np.digitize(-chances[places % len(chances)], (-0.75, -0.4))
  strengths = rng.uniform(0.5, 0.75, len(times)) + 0.25 * (ranks == 0)
  bars = begin + step * len(chances) * np.arange(count)
  return Score(
      style, tempo, times[inside], strengths[inside], ranks[inside], bars
  )


def _apart(places: np.ndarray, least: float) -> np.ndarray:
  """Leave out what comes sooner than `least` after one that stays."""
  kept: list[int] = []
  for place in places:
    if not kept or place - kept[-1] >= least:
      kept.append(int(place))
  return np.array(kept, int)


def _bar(
    rng: np.random.Generator, chances: np.ndarray,
    history: Sequence[np.ndarray]
) -> np.ndarray:
  """Draw which steps of a bar are accents, [n] bool."""
  kind = rng.random()
  if kind < _REST:
    return np.zeros(len(chances), bool)
  if kind < 0.3 and history:
    return history[-1]
  if kind < 0.5 and len(history) > 1:
    return history[-2]
  return rng.random(len(chances)) < chances


def perform(
    rng: np.random.Generator, score: Score, dancer: str, frames: int
) -> np.ndarray:
  """Dance a score.

  Args:
    rng: of what differs between pieces.
    score: what happens when.
    dancer: seeds the body and its habits.
    frames: T.

  Returns:
    [T, 14, 3] float32, metres, Z up; the front is towards x.
  """
  own = np.random.default_rng(list(dancer.encode()))
  offsets, habit = synthetic.body(own), actions.draw_style(own)
  time = np.arange(frames) / FPS
  pose = {name: np.full(frames, x) for name, x in actions.STANDING.items()}
  targets = _targets(rng, score, habit.reach)
  rises = _rise((time[:, None] - score.times) / _RISE)
  for name, values in targets.items():
    pose[name] = pose[name] + rises @ np.diff(values, prepend=0.0)
  for name, size in (('turn', 14), ('lean', 2), ('bend', 2), ('look', 8)):
    rate, phase = rng.uniform(0.08, 0.2), rng.uniform(0, 2 * np.pi)
    pose[name] = pose[name] + size * np.sin(2 * np.pi * rate * time + phase)
  pose['bend'] += habit.stoop
  placed = synthetic.embody(pose, offsets, FPS, heading=np.pi / 2)
  return _stand(poses_lib.body14(placed, 'amass21')).astype(np.float32)


def _stand(poses: np.ndarray) -> np.ndarray:
  """Keep the lower foot in place, [T, 14, 3].

  `synthetic.embody` smooths the path, and what is smoothed sets out before the
  accent. The slow part of the new path is taken out: dancers stay on the spot.
  """
  poses = poses - poses[:, _HIPS].mean(1, keepdims=True) * (1, 1, 0)
  feet = poses[:, _FEET]
  weight = np.exp(-(feet[..., 2] - feet[..., 2].min(1, keepdims=True)) / _SOFT)
  weight = (weight / weight.sum(1, keepdims=True))[..., None]
  steps = np.diff(feet[..., :2], axis=0, prepend=feet[:1, :, :2])
  path = -np.cumsum((weight * steps).sum(1), axis=0)
  path = path - ndimage.gaussian_filter1d(path, _STAY * FPS, axis=0)
  return poses + np.c_[path, np.zeros(len(path))][:, None]


def _targets(
    rng: np.random.Generator, score: Score, reach: float
) -> dict[str, np.ndarray]:
  """Draw the key poses of Eq. 2: degrees [N] by degree of freedom."""
  keys = STYLES[score.style].keys
  last, chosen = -1, []
  for _ in score.times:
    last = int(rng.choice([k for k in range(len(keys)) if k != last]))
    chosen.append(last)
  sizes = reach * (0.5 + 0.5 * score.strengths)
  names = sorted({name for key in keys for name in key})
  return {
      name.replace('raise_', 'raise'):
      np.array([keys[k].get(name, 0.0) for k in chosen]) * sizes
      for name in names
  }


def _rise(x: np.ndarray) -> np.ndarray:
  # s of Eq. 2.
  x = np.maximum(x, 0)
  return 1 - (1 + x) * np.exp(-x)


def render(
    rng: np.random.Generator, score: Score, samples: int
) -> np.ndarray:
  """Play a score.

  Args:
    rng: of the key and the colour.
    score: what happens when.
    samples: N.

  Returns:
    [N] float32 at 16 kHz, within [-0.9, 0.9].
  """
  style = STYLES[score.style]
  key = 110 * 2 ** (rng.integers(0, 12) / 12)
  wave = 0.12 * _pad(score, style, key, samples)
  drums = [_drum(rng, name) for name in style.drums]
  roots = np.searchsorted(score.bars, score.times, 'right') - 1
  for time, strength, rank, bar in zip(
      score.times, score.strengths, score.ranks, roots
  ):
    root = key * 2 ** (style.chords[bar % len(style.chords)] / 12)
    sound = drums[rank] + 0.5 * _stab(2 * root, style.third, len(drums[rank]))
    start = round(time * RATE)
    end = min(start + len(sound), samples)
    wave[start:end] += strength * sound[:end - start]
  wave += 2e-3 * rng.normal(size=samples)
  return (_HEADROOM * wave / np.abs(wave).max()).astype(np.float32)


def _pad(score: Score, style: Style, key: float, samples: int) -> np.ndarray:
  """Hold a chord through each bar, faded in and out for lack of attacks."""
  wave = np.zeros(samples)
  ends = np.round(np.r_[score.bars, samples / RATE] * RATE).astype(int)
  for bar, (start, end) in enumerate(zip(ends, ends[1:])):
    end = min(end, samples)
    if end <= start:
      continue
    time = np.arange(end - start) / RATE
    root = key * 2 ** (style.chords[bar % len(style.chords)] / 12)
    tones = sum(
        np.sin(2 * np.pi * root * 2 ** (semitones / 12) * time)
        for semitones in (0, style.third, 7)
    )
    wave[start:end] = tones * np.sin(np.pi * time / time[-1]) ** 2
  return wave


def _stab(root: float, third: int, samples: int) -> np.ndarray:
  """Strike a chord that dies away within a fifth of a second."""
  time = np.arange(samples) / RATE
  tones = sum(
      np.sin(2 * np.pi * order * root * 2 ** (semitones / 12) * time) / order
      for semitones in (0, third, 7) for order in (1, 2, 3)
  )
  return tones / 3 * np.exp(-time / 0.09) * np.minimum(time / 0.003, 1)


def _drum(
    rng: np.random.Generator, name: str, seconds: float = 0.35
) -> np.ndarray:
  """Make the sound of a drum, [N] of about 1."""
  time = np.arange(int(seconds * RATE)) / RATE
  noise = rng.normal(size=len(time))
  pitch, decay, hiss, fade, glide = _DRUMS[name]
  pitch *= rng.uniform(0.9, 1.1)
  phase = pitch * time + glide * pitch * 0.03 * (1 - np.exp(-time / 0.03))
  tone = np.sin(2 * np.pi * phase) * np.exp(-time / decay)
  return tone + hiss * noise * np.exp(-time / fade)


# Pitch (Hz), decay (s), noise, decay of the noise (s), glide of the pitch.
_DRUMS = {
    'kick': (55.0, 0.12, 0.15, 0.01, 2.5),
    'snare': (185.0, 0.07, 0.7, 0.08, 0.5),
    'hat': (900.0, 0.01, 0.6, 0.03, 0.0),
    'bass': (82.0, 0.2, 0.1, 0.01, 0.2),
    'pluck': (330.0, 0.12, 0.15, 0.01, 0.0),
    'conga': (210.0, 0.11, 0.2, 0.015, 0.4),
    'clave': (1250.0, 0.04, 0.1, 0.005, 0.0),
    'shaker': (600.0, 0.01, 0.6, 0.04, 0.0),
}


def _check(tracks: int, track_seconds: float, data_seed: int) -> None:
  if not (tracks >= 24 and 4 <= track_seconds < 3600 and data_seed >= 0):
    raise UserError(
        'data.tracks, data.track_seconds, data.data_seed: expected at least '
        '24 to fill three splits, 4 to 3600 s, 0 or more, found '
        f'{tracks}, {track_seconds:g}, {data_seed}.'
    )
