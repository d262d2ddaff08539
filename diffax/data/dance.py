"""Windows of dances and their music: training batches, segments to judge.

Frame r of the poses is of the time r / f and of the samples H r to H (r + 1)
of the wave, at f = 16000 / 256 = 62.5 frames per second; a set of features has
a rate of its own. A window has

  (1)  T = 4 floor(f s / 4)

frames, so that T = 624, 1560, 3124 for s = 10, 25, 50 seconds: networks halve
it twice. Its spectrogram is cut from that of the whole track: the outermost
frames see sound beyond the window.

A dance of D frames has max(1, floor(D / T)) items of an epoch, so an epoch
shows every second about once. Item k of them starts at random between k T and
(k + 1) T, as far as the dance goes. Dances in space are seen by a camera at the
height of the ground, infinitely far, from any side within `yaw` degrees of the
front; dances may be mirrored, with left and right exchanged. The order, the
starts, the cameras and the mirrors are functions of (seed, step).

Poses are normalised window by window (`body.poses`, Eq. 2), and the kinematic
amplitude (`body.beats`, Eq. 3) has its maximum, 1, in each window. As
`directions` poses are the unit vectors of the 13 bones, of which the mean
lengths `info['motion']['lengths']` make poses again.

References:
  You et al., "MoMu-Diffusion", NeurIPS 2024: poses, and Table 7 for directions
  and waves instead of spectrograms.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import pathlib
import sys
from typing import Any

import grain
import numpy as np

from diffax.body import beats
from diffax.body import poses as poses_lib
from diffax.data import dance_store
from diffax.data import store as store_lib
from diffax.data import transforms
from diffax.data.base import Source
from diffax.data.dance_store import HOP
from diffax.data.dance_store import RATE
from diffax.errors import DataError
from diffax.errors import UserError
from diffax.typing import Batch

POSES = ('positions', 'directions')
MUSIC = ('mel', 'wave')
MIRRORED = tuple(
    poses_lib.JOINTS.index({'l': 'r', 'r': 'l'}[name[0]] + name[1:])
    if name[1] == '_' else joint
    for joint, name in enumerate(poses_lib.JOINTS)
)
"""Joints of a body seen in a mirror."""

# Windows from which the mean lengths of bones are taken.
_MEASURED = 64


@dataclasses.dataclass(frozen=True)
class View:
  """How windows are cut and shown.

  Attributes:
    seconds: of a training window, rounded by Eq. 1.
    eval_seconds: of a segment; the training window's if None.
    pose: of `POSES`.
    music: of `MUSIC`; features are what they are.
    yaw: degrees from the front, of cameras that see dances in space.
    mirror: show half of the training windows mirrored.
    limit: most segments of a split; more are thinned out evenly.
  """

  seconds: float = 10.0
  eval_seconds: float | None = None
  pose: str = 'positions'
  music: str = 'mel'
  yaw: float = 180.0
  mirror: bool = True
  limit: int = 256


@dataclasses.dataclass(frozen=True)
class Stage:
  """A set in memory.

  Attributes:
    parts: dances by split.
    fps: frames per second.
    styles: names, in the order of their numbers.
    tracks: names.
    subjects: names.
    beats: seconds into the track, by name, of tracks whose beats are known.
  """

  parts: Mapping[str, Sequence[dance_store.Part]]
  fps: float
  styles: tuple[str, ...]
  tracks: tuple[str, ...]
  subjects: tuple[str, ...]
  beats: Mapping[str, np.ndarray]

  def labels(self, part: dance_store.Part) -> dict[str, int]:
    """Return the numbers of style, track and subject of a dance."""
    return {
        'style': self.styles.index(part.row['style']),
        'track': self.tracks.index(part.row['track']),
        'subject': self.subjects.index(part.row['subject']),
    }


def prepared(
    name: str,
    version: int,
    make: Callable[[], tuple[
        Sequence[dance_store.Track], Sequence[dance_store.Dance],
        Mapping[str, Any]]],
    *,
    fps: float = dance_store.FPS,
    options: Mapping[str, Any] | None = None,
    root: str | pathlib.Path | None = None,
    store: str | None = None,
) -> pathlib.Path:
  """Return the folder of a prepared set, which is made where there is none.

  Args:
    name: of the set.
    version: of what makes it; another version has a folder of its own.
    make: returns tracks, dances and entries of the manifest.
    fps: frames per second.
    options: that the set depends on.
    root: of the user's files, if any.
    store: the folder; by default `store.default_folder`.

  Returns:
    The folder, whose manifest exists.
  """
  marks = {'version': version, **(options or {})}
  folder = (
      pathlib.Path(store).expanduser() if store
      else store_lib.default_folder(name, fps, marks, root)
  )
  if not (folder / 'manifest.json').is_file():
    tracks, dances, info = make()
    dance_store.write(
        folder, name, fps, tracks, dances, {**info, 'options': marks}
    )
  return folder


def source(
    folder: pathlib.Path, view: View, *, seed: int, batch_size: int
) -> Source:
  """Build the source of a prepared set.

  Args:
    folder: of the store.
    view: how windows are cut and shown.
    seed: of the batches.
    batch_size: B, of the global batch.

  Returns:
    A source. `train(step)` gives

      music      [B, T, 80] log10 mel, [B, T, 256] samples, or [B, T, F]
      motion     [B, T, 28] normalised poses, x and y of 14 joints, or
                 [B, T, 26] directions of 13 bones
      amplitude  [B, T] in [0, 1]
      style      [B] int32
      step       [B] int32

    and `segments(split)` the same without `step` for windows that follow one
    another through the dances of a split, with `track` and `subject` [N]
    int32, `start` [N] seconds into the track, `scale` [N] and `centre` [N, 2]
    of the normalisation and, unless the set has features only, `wave`
    [N, 256 T]; of tracks whose beats are known, `beat` [N, T] marks the frames
    with one. `info` has `name, rate, hop, fps, frames` (T), `eval_frames,
    music` (`kind`, `dims`), `motion` (`kind, dims, joints, bones`, and
    `lengths` [13], the mean lengths of the bones in torso lengths), `styles,
    tracks, subjects, epoch_size, dances` (names by split), `manifest, store`.
    Rate and hop of features are None.

  Raises:
    UserError: a setting is wrong.
    DataError: the store is broken, or no dance is as long as a window.
  """
  parts, manifest = dance_store.read(folder)
  stage = _stage(parts, manifest)
  waves = parts[0].wave is not None
  _check_view(view, waves, batch_size)
  frames = frame_count(view.seconds, stage.fps)
  eval_frames = frame_count(view.eval_seconds or view.seconds, stage.fps)
  windows = Windows(stage, view, frames, seed, batch_size, folder)
  dataset = grain.MapDataset.source(windows)
  kind = view.music if waves else 'features'
  info = {
      'name': manifest['name'],
      'rate': RATE if waves else None,
      'hop': HOP if waves else None,
      'fps': stage.fps,
      'frames': frames,
      'eval_frames': eval_frames,
      'music': {
          'kind': kind,
          'dims': HOP if kind == 'wave' else parts[0].music.shape[-1],
      },
      'motion': {
          'kind': view.pose,
          'dims': 28 if view.pose == 'positions' else 26,
          'joints': poses_lib.JOINTS,
          'bones': tuple(poses_lib.BONES),
          'lengths': windows.lengths(),
      },
      'styles': stage.styles,
      'tracks': stage.tracks,
      'subjects': stage.subjects,
      'epoch_size': windows.items,
      'dances': {
          split: tuple(part.row['name'] for part in rows)
          for split, rows in stage.parts.items()
      },
      'manifest': manifest,
      'store': str(folder),
  }

  def segments(split: str) -> Batch:
    """Cut the segments of a split; see `source`."""
    if split not in stage.parts:
      raise UserError(
          f'split: expected {sorted(stage.parts)}, found {split!r}.'
      )
    return _segments(stage, split, view, eval_frames, folder)

  return Source(info, lambda step: dataset[step], segments)


def frame_count(seconds: float, fps: float) -> int:
  """Count the frames of a window, Eq. 1.

  Raises:
    UserError: there would be none.
  """
  frames = 4 * int(seconds * fps / 4 + 1e-9) if np.isfinite(seconds) else 0
  if frames < 4:
    raise UserError(
        f'data.seconds: expected 4 frames or more, {4 / fps:.3g} s, found '
        f'{seconds:g}.'
    )
  return frames


def flatten(poses: np.ndarray, pose: str) -> np.ndarray:
  """Turn normalised poses [..., T, 14, 2] into channels [..., T, 28 or 26]."""
  if pose == 'directions':
    poses = poses_lib.directions(poses)
  return poses.reshape(*poses.shape[:-2], -1).astype(np.float32)


class Windows:
  """Training batches by step: a random-access source for grain."""

  def __init__(
      self, stage: Stage, view: View, frames: int, seed: int, batch_size: int,
      folder: pathlib.Path
  ):
    self.stage, self.view, self.frames = stage, view, frames
    self.seed, self.batch_size, self.folder = seed, batch_size, folder
    self.parts = [
        part for part in stage.parts['train'] if len(part.poses) >= frames
    ]
    if not self.parts:
      raise _too_short(stage, 'train', frames, folder)
    counts = [len(part.poses) // frames for part in self.parts]
    self.owner = np.repeat(np.arange(len(counts)), counts)
    self.place = np.concatenate([np.arange(count) for count in counts])
    self.items = len(self.owner)

  def __len__(self) -> int:
    return sys.maxsize

  def __repr__(self) -> str:
    # Grain refuses to restore a data position under another name, and the
    # default one holds a memory address.
    return (
        f'diffax.dance(name={self.folder.name!r}, seed={self.seed}, '
        f'batch_size={self.batch_size}, items={self.items}, '
        f'frames={self.frames})'
    )

  def __getitem__(self, step: int) -> Batch:
    """Return the batch of a step, a function of (seed, step) alone."""
    rng = np.random.default_rng([self.seed, step, 0xDA])
    items = transforms.batch_items(
        self.seed, step, self.batch_size, self.items
    )
    chosen = [self.parts[self.owner[item]] for item in items]
    starts = self._starts(rng, items)
    poses = self._seen(rng, chosen, starts)
    return {
        'music': np.stack([
            _music(part, start, self.frames, self.view.music)
            for part, start in zip(chosen, starts)
        ]),
        **_motion(poses, self.view.pose),
        'style': np.array(
            [self.stage.labels(part)['style'] for part in chosen], np.int32),
        'step': np.full(self.batch_size, step, np.int32),
    }

  def lengths(self) -> np.ndarray:
    """Measure the mean lengths [13] of the bones of training windows."""
    rng = np.random.default_rng(0xB0)
    items = np.unique(
        np.linspace(0, self.items - 1, min(_MEASURED, self.items)).astype(int)
    )
    chosen = [self.parts[self.owner[item]] for item in items]
    poses = self._seen(rng, chosen, self._starts(rng, items))
    lengths = poses_lib.bone_lengths(poses_lib.normalise(poses)[0])
    return lengths.mean((0, 1)).astype(np.float32)

  def _starts(self, rng: np.random.Generator, items: np.ndarray) -> np.ndarray:
    shift = rng.integers(0, self.frames, len(items))
    last = np.array([
        len(self.parts[owner].poses) - self.frames
        for owner in self.owner[items]
    ])
    return np.minimum(self.place[items] * self.frames + shift, last)

  def _seen(
      self, rng: np.random.Generator, chosen: Sequence[dance_store.Part],
      starts: np.ndarray
  ) -> np.ndarray:
    """Return windows as a random camera sees them, [B, T, 14, 2]."""
    turns = np.deg2rad(self.view.yaw) * rng.uniform(-1, 1, len(chosen))
    flips = (rng.random(len(chosen)) < 0.5) & self.view.mirror
    windows = []
    for part, start, turn, flip in zip(chosen, starts, turns, flips):
      poses = seen(part.poses[start:start + self.frames], turn)
      windows.append(mirrored(poses) if flip else poses)
    return np.stack(windows)


def seen(poses: np.ndarray, yaw: float = 0.0) -> np.ndarray:
  """See poses [T, 14, 3] from an angle (radians); a plane stays as it is."""
  poses = np.asarray(poses, np.float64)
  if poses.shape[-1] == 2:
    return poses
  return poses_lib.project(poses, yaw=yaw, target=np.zeros(3))


def mirrored(poses: np.ndarray) -> np.ndarray:
  """Return poses [..., 14, 2] as in a mirror, left and right exchanged."""
  return poses[..., MIRRORED, :] * (-1, 1)


def _motion(poses: np.ndarray, pose: str) -> dict[str, np.ndarray]:
  """Return the channels and the amplitude of windows [B, T, 14, 2]."""
  amplitude = beats.amplitude(beats.directogram(poses))
  return {
      'motion': flatten(poses_lib.normalise(poses)[0], pose),
      'amplitude': amplitude.astype(np.float32),
  }


def _music(
    part: dance_store.Part, start: int, frames: int, kind: str
) -> np.ndarray:
  if kind == 'wave' and part.wave is not None:
    return _wave(part, start, frames).reshape(frames, HOP)
  return np.asarray(part.music[start:start + frames])


def _wave(part: dance_store.Part, start: int, frames: int) -> np.ndarray:
  assert part.wave is not None
  return dance_store.to_wave(part.wave[HOP * start:HOP * (start + frames)])


def _stage(
    parts: Sequence[dance_store.Part], manifest: Mapping[str, Any]
) -> Stage:
  rows = manifest['dances']
  names = {key: sorted({row[key] for row in rows})
           for key in ('style', 'subject')}
  return Stage(
      {split: [part for part in parts if part.row['split'] == split]
       for split in dance_store.SPLITS},
      manifest['fps'],
      tuple(manifest.get('styles', names['style'])),
      tuple(row['name'] for row in manifest['tracks']),
      tuple(names['subject']),
      {row['name']: np.asarray(row['beats'], float)
       for row in manifest['tracks'] if 'beats' in row},
  )


def _segments(
    stage: Stage, split: str, view: View, frames: int, folder: pathlib.Path
) -> Batch:
  places = [
      (part, start) for part in stage.parts[split]
      for start in range(0, len(part.poses) - frames + 1, frames)
  ]
  if not places:
    raise _too_short(stage, split, frames, folder)
  chosen = np.linspace(0, len(places) - 1, min(view.limit, len(places)))
  places = [places[int(i)] for i in np.unique(chosen.astype(int))]
  cameras = np.deg2rad(view.yaw) * _spread(len(places))
  poses = np.stack([
      seen(part.poses[start:start + frames], camera)
      for (part, start), camera in zip(places, cameras)
  ])
  _, centre, scale = poses_lib.normalise(poses)
  labels = [stage.labels(part) for part, _ in places]
  segments = {
      'music': np.stack(
          [_music(*place, frames, view.music) for place in places]),
      **_motion(poses, view.pose),
      **{key: np.array([row[key] for row in labels], np.int32)
         for key in ('style', 'track', 'subject')},
      'start': np.array(
          [(part.row['start'] + start) / stage.fps for part, start in places],
          np.float32),
      'scale': scale.astype(np.float32),
      'centre': centre.astype(np.float32),
  }
  if places[0][0].wave is not None:
    segments['wave'] = np.stack([_wave(*place, frames) for place in places])
  if all(part.row['track'] in stage.beats for part, _ in places):
    segments['beat'] = np.stack(
        [_beats(stage, *place, frames) for place in places])
  return segments


def _beats(
    stage: Stage, part: dance_store.Part, start: int, frames: int
) -> np.ndarray:
  """Mark the frames [T] of a window in which its track has a beat."""
  times = stage.beats[part.row['track']] * stage.fps
  places = np.floor(times).astype(int) - part.row['start'] - start
  marks = np.zeros(frames, bool)
  marks[places[(places >= 0) & (places < frames)]] = True
  return marks


def _spread(count: int) -> np.ndarray:
  """Return numbers in [-1, 1) that cover it evenly however many there are."""
  golden = (5 ** 0.5 - 1) / 2
  return (np.arange(count) * golden + 0.5) % 1 * 2 - 1


def _too_short(
    stage: Stage, split: str, frames: int, folder: pathlib.Path
) -> DataError:
  parts = stage.parts[split]
  longest = max((len(part.poses) for part in parts), default=0)
  return DataError(
      folder, f'split {split!r}',
      f'a dance of {frames} frames or more ({frames / stage.fps:.1f} s)',
      f'{longest} ({longest / stage.fps:.1f} s) in the longest of {len(parts)}',
      'Shorten data.seconds or data.eval_seconds'
  )


def _check_view(view: View, waves: bool, batch_size: int) -> None:
  for value, name, choices in (
      (view.pose, 'pose', POSES), (view.music, 'music', MUSIC)
  ):
    if value not in choices:
      raise UserError(
          f'data.{name}: expected one of {choices}, found {value!r}.'
      )
  if view.music == 'wave' and not waves:
    raise UserError(
        'data.music: wave: the set has features only and no sound.'
    )
  if not (0 <= view.yaw <= 180 and view.limit >= 1 and batch_size >= 1):
    raise UserError(
        'data.yaw, data.limit, batch_size: expected 0 to 180 degrees, 1 or '
        f'more, 1 or more, found {view.yaw:g}, {view.limit}, {batch_size}.'
    )
