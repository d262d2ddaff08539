"""Real dances laid upon real music: CMU motion capture, warped in time.

Nobody danced to this music. Recordings of dancers, who heard other music or
none, are played faster and slower so that beats of the movement fall on beats
of a track; `info['manifest']` says so, and lists for every dance its
recordings, their speeds and the licences.

The kinematic flux of a recording (`body.beats`, Eq. 3, smoothed as it is there
for beats) depends on the camera; beats here are the peaks k, of heights w, of
its sum over cameras all around. Beats b of a track, as its tracker found them,
are worth u: how far the spectrum rises there, and little in the middles between
beats. Beats are matched in the order of time: the chosen pairs maximise

  (1)  sum of w u - skipped sum of w over the beats k left out between pairs
       - strain sum of (b' - b) log2(v)^2,   v = (k' - k) / (b' - b),

over successive pairs (k, b), (k', b'), with the speed v of the dance between
them bounded,

  (2)  1 / limit <= v <= limit.

Matches alone are weak: what one camera takes for a beat of a movement that
flows, others do not. So the speed is also made to pulse: between beats at b_j
and b_(j+1), of which the first has the stress a_j, it is v times

  (3)  p(t) = c + (1 + push a_j - c) exp(-(t - b_j) / fall),

with c such that the mean of p is 1, which keeps the matches: the body slows
down towards a beat and sets out on it, more so on a loud one. v is smoothed by
a Gaussian, which keeps its bounds, v p is added up to the time of the recording
that is shown at each frame. It rises without exception; the slowest and the
fastest speed are in the manifest.

A recording goes with a track by tempo: the ratio of their tempi, but for
octaves, is to be close to 1; the closest half of a dancer's recordings takes
turns, mirrored every other time, until the track ends. Where one recording
follows another it is turned and moved so that the hips go on where they are,
and faded in for half a second. Before all this recordings are smoothed by a
Gaussian of 0.03 s: jitter makes flux.

A split for training is small, and tracks and dances are soon known by heart.
There every track is also played faster and slower, as a tape would, with its
pitch, and every dancer dances to it several times: with another recording
first, of which the beginning is left out, and mirrored the other way.

In windows of 10 s of the test (F1, one to one, 0.1 s) beats of the movement and
the track go from 40 % as recorded to 81 %; a metronome has 37 %, the dance to
another track 37 %. Onsets are more than beats: the track's own beats have 55 %
of them, the movement 56 %, a metronome 41 %, another dance 42 %.

Tracks and subjects are divided between the splits: none is in two.

References:
  CMU motion capture: mocap.cs.cmu.edu (NSF EIA-0196217).
"""

from collections.abc import Mapping, Sequence
import csv
import dataclasses
import io
import pathlib
from typing import Any

import numpy as np
from scipy import interpolate
from scipy import ndimage

from diffax.body import beats
from diffax.body import poses as poses_lib
from diffax.data import audio
from diffax.data import cmu
from diffax.data import dance
from diffax.data import dance_store
from diffax.data import files
from diffax.data.base import Source
from diffax.data.dance_store import FPS
from diffax.data.dance_store import RATE
from diffax.errors import DataError
from diffax.errors import UserError

VERSION = 5
"""Of the alignment; what an older one stored is not used."""

VAL_SUBJECTS, TEST_SUBJECTS = ('55',), ('94',)
VAL_TRACKS = ('singularity_aberrations', 'librosa_vibe_ace')
TEST_TRACKS = ('singularity_orbital_elevator', 'librosa_lets_go_fishin',
               'sectoid_metal_madness')

STYLES = (('salsa', 'salsa'), ('indian', 'indian'), ('lambada', 'lambada'),
          ('charleston', 'charleston'), ('dance - ', 'ballet'))
"""Words of an action and the style they mean; `dance` if none occurs."""

CAMERAS = tuple(np.deg2rad((0.0, 45.0, 90.0, 135.0)))
"""Azimuths over which the flux is summed; those behind see the same."""

_FIELDS = ('file', 'licence', 'artist', 'title')
# Seconds: shortest recording, deviations of the Gaussians over poses, flux and
# speed, and the fade between recordings.
_SHORTEST, _SMOOTH, _BLUR, _EASE, _FADE = 3.0, 0.03, 0.12, 0.06, 0.5
# Eq. 1, and how many beats of the movement and the music a pair may pass.
_SKIPPED, _STRAIN, _NEXT, _BACK = 0.5, 1.0, 8, 16
# Multiples of it, but for whole numbers, are spread evenly over 0 to 1.
_GOLDEN = 0.618
# Eq. 3, steps per frame, and the largest share of the way a pulse may cover.
_FALL, _FINE, _MOST = 0.15, 4, 0.8
# Reach of a beat in the spectrum, worth of a middle, worth of a silent beat.
_NEAR, _MIDDLE, _LEAST = 0.05, 0.15, 0.4
_NECK, _LEFT, _RIGHT = (
    poses_lib.JOINTS.index(name) for name in ('neck', 'l_hip', 'r_hip')
)
Goals = tuple[np.ndarray, np.ndarray, np.ndarray]
"""What `targets` returns."""


@dataclasses.dataclass(frozen=True)
class Song:
  """A track, with the beats of a tracker or an annotator.

  Attributes:
    track: its sound.
    beats: [N] seconds, rising.
  """

  track: dance_store.Track
  beats: np.ndarray

  @property
  def period(self) -> float:
    """Seconds between beats."""
    return float(np.median(np.diff(self.beats)))


@dataclasses.dataclass(frozen=True)
class Move:
  """A recording of a dancer, with its beats.

  Attributes:
    name: of the recording.
    poses: [T, 14, 3] metres, Z up, at `FPS`.
    beats: [N] seconds.
    weights: [N] in (0, 1].
    period: seconds between beats, by autocorrelation of the flux.
    style: of `STYLES`.
    subject: the person.
  """

  name: str
  poses: np.ndarray
  beats: np.ndarray
  weights: np.ndarray
  period: float
  style: str
  subject: str


def dance_aligned(
    *,
    seed: int,
    batch_size: int,
    root: str | None = None,
    store: str | None = None,
    limit_speed: float = 1.25,
    push: float = 2.0,
    takes: int = 2,
    speeds: Sequence[float] = (1.0, 0.84, 1.19),
    val_subjects: Sequence[str] = VAL_SUBJECTS,
    test_subjects: Sequence[str] = TEST_SUBJECTS,
    val_tracks: Sequence[str] = VAL_TRACKS,
    test_tracks: Sequence[str] = TEST_TRACKS,
    seconds: float = 10.0,
    eval_seconds: float | None = None,
    pose: str = 'positions',
    music: str = 'mel',
    yaw: float = 180.0,
    mirror: bool = True,
    limit: int = 256,
) -> Source:
  """Build the source of aligned dances.

  Args:
    seed: of the batches.
    batch_size: of the global batch.
    root: folder with `motion/` and `music/`; by default `$DIFFAX_DATA`.
    store: folder of the set; by default `store.default_folder`.
    limit_speed: the bound of Eq. 2, 1 to 2.
    push: of Eq. 3, 0 to 2; with 0, and a limit of 1, all is as recorded.
    takes: dances of every training dancer to every training track.
    speeds: at which training tracks are played, 0.5 to 2.
    val_subjects: dancers kept for validation.
    test_subjects: dancers kept for testing.
    val_tracks: names of files, without suffix, kept for validation.
    test_tracks: as well, for testing.
    seconds: see `dance.View`.
    eval_seconds: see `dance.View`.
    pose: see `dance.View`.
    music: see `dance.View`.
    yaw: see `dance.View`; dancers turn, so cameras all around augment.
    mirror: see `dance.View`.
    limit: see `dance.View`.

  Returns:
    The source; see `dance.source`.

  Raises:
    UserError: a setting is wrong.
    DataError: a file is missing or broken.
  """
  if not (1 <= limit_speed <= 2 and 0 <= push <= 2):
    raise UserError(
        'data.limit_speed, data.push: expected 1 to 2, 0 to 2, found '
        f'{limit_speed:g}, {push:g}.'
    )
  if takes < 1 or not speeds or not all(0.5 <= x <= 2 for x in speeds) or (
      len(set(speeds)) < len(speeds)
  ):
    raise UserError(
        'data.takes, data.speeds: expected 1 or more, and numbers from 0.5 to '
        f'2, each once, found {takes}, {tuple(speeds)}.'
    )
  options: dict[str, Any] = {
      'limit_speed': limit_speed,
      'push': push,
      'takes': takes,
      'speeds': list(speeds),
      'val_subjects': list(val_subjects),
      'test_subjects': list(test_subjects),
      'val_tracks': list(val_tracks),
      'test_tracks': list(test_tracks),
  }

  def make() -> tuple:
    """Read and align everything."""
    # The preparers import every reader, which takes most of a second.
    from diffax.data import prepare
    place = prepare.data_root(root)
    return assemble(moves(place), songs(place), **options)

  folder = dance.prepared(
      'dance_aligned', VERSION, make, options=options, root=root, store=store
  )
  view = dance.View(seconds, eval_seconds, pose, music, yaw, mirror, limit)
  return dance.source(folder, view, seed=seed, batch_size=batch_size)


def songs(root: files.PathLike) -> list[Song]:
  """Read the tracks of `music/index.csv` that have beats.

  Args:
    root: folder with `music/`, or that folder.

  Returns:
    Tracks in the order of the index, each with the beats of the file
    `*.beats.txt` beside it; those without (drum loops) are left out.

  Raises:
    DataError: the index or a file is missing or broken, or no track has beats.
  """
  place = _folder(root, 'music')
  path = place / 'index.csv'
  rows = list(csv.DictReader(io.StringIO(files.read_text(path))))
  missing = [name for name in _FIELDS if not rows or name not in rows[0]]
  if missing:
    raise DataError(
        path, 'columns', ', '.join(_FIELDS), f'no {", ".join(missing)}'
    )
  found = []
  for row in rows:
    file = place / row['file']
    times = file.with_name(file.stem + '.beats.txt')
    if not times.is_file():
      continue
    beat = read_beats(times)
    facts = {key: row[key] for key in _FIELDS if key != 'file'}
    facts |= {'beats': beat.tolist()}
    track = dance_store.Track(
        file.stem, audio.read(file, RATE), row['file'], facts
    )
    found.append(Song(track, beat))
  if not found:
    raise DataError(
        path, 'tracks', 'one or more with a file *.beats.txt', 'none'
    )
  return found


def read_beats(path: pathlib.Path) -> np.ndarray:
  """Read the times of beats, one a line.

  Returns:
    [N] seconds.

  Raises:
    DataError: a line is no number, the times do not rise, or are too few.
  """
  words = files.read_text(path).split()
  times = files.numbers(path, 'beats', words)
  if len(times) < 4 or times[0] < 0 or (np.diff(times) <= 0).any():
    raise DataError(
        path, 'beats', '4 or more times in seconds that rise from 0',
        f'{len(times)} that do not' if len(times) > 3 else f'{len(times)}'
    )
  return times


def moves(root: files.PathLike) -> list[Move]:
  """Read the dances of the CMU set, cut at glitches; pieces of 3 s or more.

  Args:
    root: folder with `motion/`, or that folder.

  Returns:
    Recordings in the order of the index.

  Raises:
    DataError: the index or a file is missing or broken, or there is no dance.
  """
  place = cmu.folder(root)
  found = []
  for row in cmu.index(place):
    if cmu.label(row['action']) != 'dance':
      continue
    for clip in cmu.clips_of(place, row, FPS)[0]:
      if len(clip.positions) >= _SHORTEST * FPS:
        found.append(move(
            clip.name, poses_lib.body14(clip.positions, 'amass21'),
            style_of(row['action']), clip.subject
        ))
  if not found:
    raise DataError(
        place / 'index.csv', 'action', 'a dance of 3 s or more', 'none'
    )
  return found


def style_of(action: str) -> str:
  """Return the style of a dance from the words of its action."""
  text = action.lower()
  return next((name for word, name in STYLES if word in text), 'dance')


def move(name: str, poses: np.ndarray, style: str, subject: str) -> Move:
  """Smooth a recording, put it on the floor and find its beats.

  Args:
    name: of the recording.
    poses: [T, 14, 3] metres, Z up, at `FPS`.
    style: of the dance.
    subject: the person.

  Returns:
    The recording.
  """
  poses = ndimage.gaussian_filter1d(
      np.asarray(poses, np.float64), _SMOOTH * FPS, axis=0, mode='nearest'
  )
  floor = np.percentile(poses[..., 2].min(1), 2)
  poses = poses - (0, 0, floor)
  values = flux(poses)
  values /= max(values.max(), 1e-9)
  peaks = beats.peaks(values, FPS)
  return Move(
      name, poses, peaks / FPS, values[peaks], _period(values), style, subject
  )


def flux(poses: np.ndarray) -> np.ndarray:
  """Sum the smoothed kinematic flux of a dance over cameras all around.

  Args:
    poses: [T, 14, 3].

  Returns:
    [T] in the unit of the poses, per frame.
  """
  views = np.stack([dance.seen(poses, yaw) for yaw in CAMERAS])
  image = ndimage.gaussian_filter1d(
      beats.directogram(views), _BLUR * FPS, axis=1)
  rise = np.maximum(np.diff(image, axis=1, prepend=image[:, :1]), 0)
  return rise.sum((0, 2))


def _period(values: np.ndarray, low: float = 0.3, high: float = 1.2) -> float:
  """Return the lag in seconds at which a series [T] is most like itself."""
  spread = values - values.mean()
  likeness = np.correlate(spread, spread, 'full')[len(spread) - 1:]
  first, last = round(low * FPS), min(round(high * FPS), len(spread) - 2)
  lags = np.arange(first, last + 1)
  # The side of the peak at lag 0 is no period.
  tops = lags[(likeness[lags] >= likeness[lags - 1])
              & (likeness[lags] >= likeness[lags + 1])]
  lags = tops if len(tops) else lags
  return float(lags[np.argmax(likeness[lags])] / FPS)


def assemble(
    found: Sequence[Move], tracks: Sequence[Song], *, limit_speed: float,
    push: float, val_subjects: Sequence[str], test_subjects: Sequence[str],
    val_tracks: Sequence[str], test_tracks: Sequence[str], takes: int = 1,
    speeds: Sequence[float] = (1.0,)
) -> tuple[list[dance_store.Track], list[dance_store.Dance], dict[str, Any]]:
  """Lay every dancer of a split upon every track of it.

  Args:
    found: recordings.
    tracks: with their beats.
    limit_speed: of Eq. 2.
    push: of Eq. 3.
    val_subjects: dancers for validation.
    test_subjects: dancers for testing.
    val_tracks: tracks for validation.
    test_tracks: tracks for testing.
    takes: of every dancer and track of the training split.
    speeds: at which its tracks are played.

  Returns:
    See `dance.prepared`.

  Raises:
    UserError: a name is unknown or in two splits, or a split is empty.
  """
  people = _divide(
      'subjects', sorted({m.subject for m in found}), val_subjects,
      test_subjects
  )
  music = _divide(
      'tracks', [s.track.name for s in tracks], val_tracks, test_tracks
  )
  played, dances = [], []
  for song in tracks:
    split = music[song.track.name]
    train = split == 'train'
    for version in [at_speed(song, x) for x in speeds] if train else [song]:
      played.append(version)
      for subject in sorted({m.subject for m in found}):
        if people[subject] == split:
          own = [m for m in found if m.subject == subject]
          dances += [
              perform(own, version, split, limit_speed, push, take)
              for take in range(takes if train else 1)
          ]
  return [song.track for song in played], dances, _about(played, dances)


def at_speed(song: Song, speed: float) -> Song:
  """Play a track faster or slower, its pitch with it.

  Args:
    song: the track.
    speed: 1 is as recorded.

  Returns:
    The track itself at 1, or another of the name `TRACK@SPEED`.
  """
  if speed == 1:
    return song
  beat = song.beats / speed
  track = dataclasses.replace(
      song.track, name=f'{song.track.name}@{speed:g}',
      sound=audio.resample(song.track.sound, round(speed * RATE), RATE),
      facts={**song.track.facts, 'beats': beat.tolist(), 'played': speed},
  )
  return Song(track, beat)


def _about(
    tracks: Sequence[Song], dances: Sequence[dance_store.Dance]
) -> dict[str, Any]:
  speeds = np.array([dance.facts['speed'] for dance in dances])
  return {
      'what': 'real dances (CMU motion capture) laid upon real music that the '
              'dancers did not hear: time-warped so that kinematic beats fall '
              'on beats of the track, looped and cross-faded; see '
              'diffax.data.dance_aligned',
      'speed': [float(speeds[:, 0].min()), float(speeds[:, 1].max())],
      'licence': {
          'motion': 'CMU: mocap.cs.cmu.edu, funded by NSF EIA-0196217; free '
                    'to use, not to be resold',
          'music': sorted({song.track.facts['licence'] for song in tracks}),
      },
  }


def perform(
    own: Sequence[Move], song: Song, split: str, limit_speed: float,
    push: float, take: int = 0
) -> dance_store.Dance:
  """Let a dancer dance to a whole track.

  Args:
    own: recordings of one person.
    song: the track.
    split: of the dance.
    limit_speed: of Eq. 2.
    push: of Eq. 3.
    take: number of the dance; another is another, to the same track.

  Returns:
    The dance. Its `facts` have `speed`, the slowest and the fastest, `tempo`,
    beats per minute of the track, `matches`, their number, and `recordings`:
    name, time in the track, tempo, matches, speeds, whether mirrored.
  """
  frames = len(song.track.sound) // dance_store.HOP
  order = sorted(own, key=lambda m: abs(misfit(m.period, song.period)))
  order = order[:max(1, (len(order) + 1) // 2)]
  goals = targets(song)
  poses = np.zeros((0, len(poses_lib.JOINTS), 3))
  rows: list[dict[str, Any]] = []
  while len(poses) < frames:
    chosen = order[(len(rows) + take) % len(order)]
    if take and not rows:
      chosen = later(chosen, take)
    fade = round(_FADE * FPS) if len(poses) else 0
    start = (len(poses) - fade) / FPS
    piece, row = _piece(chosen, song.beats, goals, start, limit_speed, push)
    flip = (len(rows) // len(order) + take) % 2 == 1
    poses = join(poses, _flip(piece) if flip else piece, fade)
    rows.append({**row, 'mirrored': flip})
  speeds = np.array([row['speed'] for row in rows])
  track, subject = song.track.name, own[0].subject
  name = f'{subject}/{track}' + (f'#{take}' if take else '')
  return dance_store.Dance(
      name, track, poses[:frames].astype(np.float32),
      own[0].style, subject, split, ', '.join(m.name for m in order),
      facts={
          'tempo': round(60 / song.period, 1),
          'speed': [float(speeds[:, 0].min()), float(speeds[:, 1].max())],
          'matches': sum(row['matches'] for row in rows),
          'recordings': rows,
      }
  )


def later(recording: Move, take: int) -> Move:
  """Leave out the first of a recording, for every take another share of it.

  Args:
    recording: of 3 s or more.
    take: number of the dance.

  Returns:
    The rest of it, of 2 s or more.
  """
  frames = len(recording.poses)
  room = max(0, frames - round(2 * FPS))
  start = round(take * _GOLDEN % 1 * room)
  kept = recording.beats >= start / FPS
  return dataclasses.replace(
      recording, poses=recording.poses[start:],
      beats=recording.beats[kept] - start / FPS,
      weights=recording.weights[kept],
  )


def _piece(
    chosen: Move, beat: np.ndarray, goals: Goals, start: float,
    limit_speed: float, push: float
) -> tuple[np.ndarray, dict[str, Any]]:
  """Warp one recording that sets in at a time of the track (seconds)."""
  times, worth, stress = goals
  knots = match(chosen, times - start, worth, limit_speed)
  shown, speed = warp(knots, len(chosen.poses), beat - start, push * stress)
  return play(chosen.poses, shown), {
      'name': chosen.name, 'at': round(start, 3),
      'tempo': round(60 / chosen.period, 1), 'matches': len(knots) - 1,
      'speed': [float(speed.min()), float(speed.max())],
  }


def misfit(period: float, other: float) -> float:
  """Return the ratio of periods in octaves, but for whole octaves."""
  octaves = np.log2(period / other)
  return float(octaves - np.round(octaves))


def targets(song: Song) -> Goals:
  """Say where movement should fall in a track, and how much it is worth.

  Args:
    song: the track.

  Returns:
    Seconds [N] of the beats and of the middles between them, rising; what a
    match is worth, [N] in (0, 1]: how far the spectrum rises within 50 ms, of
    the largest rises of the track, and less in the middles; and the stress of
    the beats alone, in [0, 1].
  """
  mel = dance_store.mel(song.track.sound)
  rise = np.maximum(np.diff(mel, axis=0, prepend=mel[:1]), 0).sum(1)
  rise = ndimage.maximum_filter1d(rise, 2 * round(_NEAR * FPS) + 1)
  middles = (song.beats[1:] + song.beats[:-1]) / 2
  times = np.sort(np.r_[song.beats, middles])
  frames = np.minimum((times * FPS).astype(int), len(rise) - 1)
  heard = np.clip(rise[frames] / max(np.percentile(rise, 95), 1e-9), 0, 1)
  stress = _LEAST + (1 - _LEAST) * heard
  main = np.isin(times, song.beats)
  return times, np.where(main, 1.0, _MIDDLE) * stress, stress[main]


def match(
    recording: Move, times: np.ndarray, worth: np.ndarray, limit_speed: float
) -> np.ndarray:
  """Choose beats of a recording and of the music that fall together (Eq. 1).

  Args:
    recording: of D seconds.
    times: [N] seconds of beats, counted from where the recording sets in.
    worth: [N] of each.
    limit_speed: of Eq. 2.

  Returns:
    [M, 2]: times of the music and of the recording, rising, (0, 0) first.
  """
  inside = (times > 0.1) & (times < limit_speed * len(recording.poses) / FPS)
  grid, worth = np.r_[0.0, times[inside]], np.r_[0.0, worth[inside]]
  own = np.r_[0.0, recording.beats[recording.beats > 0.1]]
  weights = np.r_[0.0, recording.weights[recording.beats > 0.1]]
  score, before = _best(own, weights, grid, worth, limit_speed)
  end = np.unravel_index(np.argmax(score), score.shape)
  knots, place = [], (int(end[0]), int(end[1]))
  while place != (0, 0):
    knots.append((grid[place[1]], own[place[0]]))
    place = tuple(before[place])
  return np.array([(0.0, 0.0), *reversed(knots)])


def _best(
    own: np.ndarray, weights: np.ndarray, grid: np.ndarray, worth: np.ndarray,
    limit_speed: float
) -> tuple[np.ndarray, np.ndarray]:
  """Maximise Eq. 1: scores [I, J] of ends of chains, and what led to each."""
  score = np.full((len(own), len(grid)), -np.inf)
  score[0, 0] = 0
  before = np.zeros((*score.shape, 2), int)
  lead = np.arange(len(grid))[:, None] - np.arange(1, _BACK + 1)
  inside, lead = lead >= 0, np.maximum(lead, 0)
  apart = np.where(inside, grid[:, None] - grid[lead], np.inf)
  total, most = np.cumsum(weights), np.log2(limit_speed) + 1e-9
  for i in range(1, len(own)):
    for last in range(max(0, i - _NEXT), i):
      strain = np.abs(np.log2((own[i] - own[last]) / apart + 1e-12))
      cost = _STRAIN * np.minimum(apart, 1e3) * strain**2
      chain = np.where(strain <= most, score[last][lead] - cost, -np.inf)
      chosen = chain.argmax(1)
      found = chain[np.arange(len(grid)), chosen] + (
          weights[i] * worth - _SKIPPED * (total[i - 1] - total[last]))
      better = found > score[i]
      score[i, better] = found[better]
      before[i, better, 0] = last
      before[i, better, 1] = lead[better, chosen[better]]
  return score, before


def warp(
    knots: np.ndarray, frames: int, beat: np.ndarray, stress: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Turn matches into the time of the recording at each frame of the music.

  Args:
    knots: [M, 2] of `match`.
    frames: of the recording.
    beat: [N] seconds of the beats that are stressed, counted as the knots.
    stress: [N] push a of Eq. 3.

  Returns:
    Seconds of the recording [T], rising, up to its end, and speeds [T].
  """
  end = (frames - 1) / FPS
  last = knots[-1] + max(end - knots[-1, 1], 0) + 1
  knots = np.concatenate([knots, last[None]])
  fine = np.arange(int(last[0] * FPS) * _FINE) / (FPS * _FINE)
  gap = np.searchsorted(knots[:, 0], fine, 'right') - 1
  slope = np.diff(knots[:, 1]) / np.diff(knots[:, 0])
  speed = ndimage.gaussian_filter1d(
      slope[gap], _EASE * FPS * _FINE, mode='nearest'
  ) * pulse(fine, beat, stress)
  times = np.r_[0.0, np.cumsum(speed)[:-1]] / (FPS * _FINE)
  # The sum of many steps is not exact.
  kept = times[::_FINE] <= end + 1e-6
  shown = np.minimum(times[::_FINE][kept], end)
  return shown, speed.reshape(-1, _FINE).mean(1)[kept]


def pulse(
    time: np.ndarray, beat: np.ndarray, stress: np.ndarray
) -> np.ndarray:
  """Return the factor of the speed (Eq. 3), whose mean between beats is 1.

  Args:
    time: [T] seconds.
    beat: [N] seconds, rising.
    stress: [N] push a of Eq. 3.

  Returns:
    [T]; 1 before the first beat and after the last.
  """
  gap = np.searchsorted(beat, time, 'right') - 1
  inside = (gap >= 0) & (gap < len(beat) - 1)
  gap = np.where(inside, gap, 0)
  length = np.diff(beat, append=beat[-1] + 1)[gap]
  share = _FALL / length * (1 - np.exp(-length / _FALL))
  # Beats so close that nothing would be left to move with between them.
  top = np.minimum(1 + stress[gap], _MOST / share)
  calm = (1 - top * share) / (1 - share)
  since = np.where(inside, time - beat[gap], 0)
  return np.where(
      inside, calm + (top - calm) * np.exp(-since / _FALL), 1.0)


def play(poses: np.ndarray, times: np.ndarray) -> np.ndarray:
  """Show a recording [T, 14, 3] at given times (seconds) of it."""
  spline = interpolate.make_interp_spline(
      np.arange(len(poses)) / FPS, poses, 3
  )
  return spline(times)


def join(before: np.ndarray, after: np.ndarray, fade: int) -> np.ndarray:
  """Let one dance follow another.

  Args:
    before: [T, 14, 3], or empty.
    after: [T', 14, 3]; is turned about the vertical and moved to go on where
      the first ends.
    fade: frames over which they overlap.

  Returns:
    [T + T' - fade, 14, 3].
  """
  if not len(before):
    return after
  fade = min(fade, len(before), len(after))
  old, new = before[len(before) - fade:], after[:fade]
  turn = _heading(old) - _heading(new)
  cos, sin = np.cos(turn), np.sin(turn)
  matrix = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
  after = after @ matrix
  shift = _hips(old).mean(0) - _hips(after[:fade]).mean(0)
  after = after + shift * (1, 1, 0)
  rise = (np.arange(fade) + 1) / (fade + 1)
  weight = (rise * rise * (3 - 2 * rise))[:, None, None]
  mixed = (1 - weight) * old + weight * after[:fade]
  return np.concatenate([before[:len(before) - fade], mixed, after[fade:]])


def _heading(poses: np.ndarray) -> float:
  """Return the mean direction of the hips [T, 14, 3], radians."""
  across = (poses[:, _LEFT] - poses[:, _RIGHT])[:, :2].sum(0)
  return float(np.arctan2(across[1], across[0]))


def _hips(poses: np.ndarray) -> np.ndarray:
  return (poses[:, _LEFT] + poses[:, _RIGHT]) / 2


def _flip(poses: np.ndarray) -> np.ndarray:
  """Mirror [T, 14, 3] at a vertical plane, left and right exchanged."""
  return poses[:, dance.MIRRORED] * (1, -1, 1)


def _divide(
    kind: str, names: Sequence[str], val: Sequence[str], test: Sequence[str]
) -> Mapping[str, str]:
  """Return the split of each name."""
  for split, chosen in (('val', val), ('test', test)):
    unknown = sorted(set(chosen) - set(names))
    if unknown or not chosen:
      raise UserError(
          f'data.{split}_{kind}: expected one or more of {list(names)}, found '
          f'{unknown or "none"}.'
      )
  both = sorted(set(val) & set(test))
  if both or set(names) <= {*val, *test}:
    raise UserError(
        f'data.val_{kind}, data.test_{kind}: expected {kind} in one of them '
        f'each and some in neither, to train on, found {both or list(names)}.'
    )
  return {
      name: 'val' if name in val else 'test' if name in test else 'train'
      for name in names
  }


def _folder(root: files.PathLike, name: str) -> pathlib.Path:
  for place in (pathlib.Path(root) / name, pathlib.Path(root)):
    if (place / 'index.csv').is_file():
      return place
  raise DataError(
      root, 'folder', f'{name}/index.csv', 'no such file',
      'Set data.root or DIFFAX_DATA to the folder of the data'
  )
