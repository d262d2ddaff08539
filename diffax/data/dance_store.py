"""A prepared set of dances and music: one folder, three arrays, checksums.

  folder/
    manifest.json   what is inside: tracks, dances, splits, licence, checksums
    poses.npy       float32 [sum of T, 14, D], the dances in a row
    sound.npy       int16 [sum of 256 T], the tracks in a row; only of waves
    music.npy       float32 [sum of T, F], mel spectrograms or features

The spectrograms are computed once, of whole tracks, from the sound as it is
stored. A store is whole or absent, see `data.folders`.
"""

from collections.abc import Iterator, Mapping, Sequence
import dataclasses
import functools
import pathlib
from typing import Any, NamedTuple

import jax
import numpy as np

from diffax import signal
from diffax.body import poses as poses_lib
from diffax.data import folders
from diffax.errors import DataError
from diffax.errors import UserError

RATE, HOP = 16_000, 256
FPS = RATE / HOP
"""Frames per second of the spectrograms, and of the poses with them."""

FORMAT = 1
SPLITS = ('train', 'val', 'test')
_CHUNK, _REACH = 1024, 2
_LOUD = 32767


@dataclasses.dataclass(frozen=True)
class Track:
  """A piece of music.

  Attributes:
    name: unique in its set.
    sound: wave [N] at 16 kHz, or features [T, F] at the rate of the poses.
    file: where it came from.
    facts: further entries of the manifest: licence, tempo and so on; `beats`,
      in seconds, if they are known.
  """

  name: str
  sound: np.ndarray
  file: str
  facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Dance:
  """A person who dances to a track.

  Attributes:
    name: unique in its set.
    track: name of the track.
    poses: [T, 14, 2], y up, or [T, 14, 3], Z up, at the rate of the music.
    style: a class of dances.
    subject: the person.
    split: `train`, `val` or `test`.
    file: where it came from.
    start: frame of the track at which the dance begins.
    facts: further entries of the manifest: how it was made.
  """

  name: str
  track: str
  poses: np.ndarray
  style: str
  subject: str
  split: str
  file: str
  start: int = 0
  facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class Part(NamedTuple):
  """A dance as read back, its music beside it.

  Attributes:
    poses: [T, 14, D] float32.
    music: [T, F] float32.
    wave: [256 T] int16, or None of a set that has features only.
    row: its entry in the manifest.
  """

  poses: np.ndarray
  music: np.ndarray
  wave: np.ndarray | None
  row: Mapping[str, Any]


def check_dance(dance: Dance) -> None:
  """Raise a DataError unless a dance has finite poses and a known split."""
  shape = dance.poses.shape
  if len(shape) != 3 or shape[1] != len(poses_lib.JOINTS) or (
      shape[2] not in (2, 3)
  ):
    raise DataError(
        dance.file, f'poses of {dance.name}',
        f'shape [T, {len(poses_lib.JOINTS)}, 2 or 3]', f'{list(shape)}'
    )
  if shape[0] < 2:
    raise DataError(
        dance.file, f'poses of {dance.name}', '2 frames or more', f'{shape[0]}'
    )
  if not np.isfinite(dance.poses).all():
    frame, joint = np.argwhere(~np.isfinite(dance.poses))[0][:2]
    raise DataError(
        dance.file, f'frame {frame}, joint {poses_lib.JOINTS[joint]} of '
        f'{dance.name}', 'finite places', 'NaN or infinity'
    )
  if dance.split not in SPLITS:
    raise DataError(
        dance.file, f'split of {dance.name}', ', '.join(SPLITS),
        repr(dance.split)
    )


def check_track(track: Track) -> None:
  """Raise a DataError unless a track is finite and lasts some frames."""
  needed = 4 * HOP if track.sound.ndim == 1 else 4
  if track.sound.ndim not in (1, 2) or len(track.sound) < needed:
    raise DataError(
        track.file, f'music of {track.name}', f'a wave of {needed} samples or '
        'more, or features [T, F] of 4 frames or more',
        f'shape {list(track.sound.shape)}'
    )
  if not np.isfinite(track.sound).all():
    raise DataError(
        track.file, f'music of {track.name}', 'finite samples',
        'NaN or infinity'
    )


def write(
    folder: pathlib.Path, name: str, fps: float, tracks: Sequence[Track],
    dances: Sequence[Dance], info: Mapping[str, Any]
) -> None:
  """Write a set to a folder, whole or not at all.

  A dance that outlasts its track is cut at the end of the track.

  Args:
    folder: of the store.
    name: of the set.
    fps: frames per second of poses and music.
    tracks: all waves, or all features.
    dances: all in a plane, or all in space.
    info: further entries of the manifest.

  Raises:
    DataError: a dance or a track is broken, or names do not fit.
    UserError: the folder cannot be written.
  """
  _check(tracks, dances, folder)
  frames = {track.name: _frames(track) for track in tracks}
  dances = [
      dataclasses.replace(
          dance, poses=dance.poses[:frames[dance.track] - dance.start])
      for dance in dances
  ]
  arrays = _arrays(tracks, dances)
  manifest = {
      **info,
      'format': FORMAT,
      'name': name,
      'fps': fps,
      'tracks': [
          {'name': t.name, 'file': t.file, 'frames': frames[t.name],
           'offset': offset, **t.facts}
          for t, offset in zip(tracks, _offsets(frames.values()))
      ],
      'dances': [
          {**{key: getattr(d, key) for key in (
              'name', 'track', 'start', 'style', 'subject', 'split', 'file')},
           'frames': len(d.poses), 'offset': offset, **d.facts}
          for d, offset in zip(dances, _offsets(len(d.poses) for d in dances))
      ],
  }
  try:
    with folders.filling(folder) as work:
      for file, array in arrays.items():
        np.save(work / file, array)
      folders.write_manifest(work, manifest, arrays)
  except OSError as error:
    raise UserError(f'{folder}: cannot write the store: {error}') from error


def read(folder: pathlib.Path) -> tuple[list[Part], dict[str, Any]]:
  """Read a store.

  Args:
    folder: of the store.

  Returns:
    The dances, whose arrays are mapped from disk, and the manifest.

  Raises:
    DataError: the store is absent, cut, changed or of another format.
  """
  manifest = folders.read_manifest(folder, FORMAT, _remedy(folder))
  arrays = {
      name: folders.load(folder, name, manifest, _remedy(folder))
      for name in manifest['files']
  }
  tracks = {row['name']: row for row in manifest['tracks']}
  sound = arrays.get('sound.npy')
  parts = []
  for row in manifest['dances']:
    begin = tracks[row['track']]['offset'] + row['start']
    end = begin + row['frames']
    parts.append(Part(
        arrays['poses.npy'][row['offset']:row['offset'] + row['frames']],
        arrays['music.npy'][begin:end],
        None if sound is None else sound[HOP * begin:HOP * end],
        row,
    ))
  return parts, manifest


def mel(wave: np.ndarray) -> np.ndarray:
  """Compute the log-mel spectrogram of a wave of any length.

  Pieces of one length are transformed, so that nothing is compiled twice; what
  an end of a piece reflects never enters a frame that is kept.

  Args:
    wave: [256 T].

  Returns:
    [T, 80] float32.
  """
  frames = len(wave) // HOP
  pad = _REACH * HOP
  wave = np.pad(np.asarray(wave[:frames * HOP], np.float32), pad, 'reflect')
  size = (_CHUNK + 2 * _REACH) * HOP
  pieces = []
  for begin in range(0, frames, _CHUNK):
    piece = wave[begin * HOP:begin * HOP + size]
    piece = np.pad(piece, (0, size - len(piece)))
    pieces.append(np.asarray(_log_mel(piece))[_REACH:-_REACH])
  return np.concatenate(pieces)[:frames]


@functools.cache
def _compiled() -> Any:
  return jax.jit(lambda wave: signal.log_mel(wave, signal.MAA))


def _log_mel(wave: np.ndarray) -> np.ndarray:
  return np.asarray(_compiled()(wave))


def _frames(track: Track) -> int:
  return len(track.sound) // (HOP if track.sound.ndim == 1 else 1)


def _offsets(lengths: Any) -> Iterator[int]:
  total = 0
  for length in lengths:
    yield total
    total += length


def _arrays(
    tracks: Sequence[Track], dances: Sequence[Dance]
) -> dict[str, np.ndarray]:
  poses = np.concatenate([np.asarray(d.poses, np.float32) for d in dances])
  if tracks[0].sound.ndim == 2:
    music = [np.asarray(track.sound, np.float32) for track in tracks]
    return {'poses.npy': poses, 'music.npy': np.concatenate(music)}
  sounds = [
      np.round(np.clip(t.sound[:_frames(t) * HOP], -1, 1) * _LOUD).astype(
          np.int16)
      for t in tracks
  ]
  return {
      'poses.npy': poses,
      'sound.npy': np.concatenate(sounds),
      'music.npy': np.concatenate([mel(to_wave(s)) for s in sounds]),
  }


def to_wave(sound: np.ndarray) -> np.ndarray:
  """Return stored samples as a float32 wave in [-1, 1]."""
  return (sound / np.float32(_LOUD)).astype(np.float32)


def _check(
    tracks: Sequence[Track], dances: Sequence[Dance], folder: pathlib.Path
) -> None:
  if not dances or not tracks:
    raise DataError(folder, 'set', 'a dance and a track', 'none')
  for track in tracks:
    check_track(track)
  for dance in dances:
    check_dance(dance)
  for kind, items in (('track', tracks), ('dance', dances)):
    names = [item.name for item in items]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
      raise DataError(
          folder, f'{kind}s', 'names that differ', f'{sorted(twice)} twice'
      )
  frames = {track.name: _frames(track) for track in tracks}
  for dance in dances:
    if dance.track not in frames:
      raise DataError(
          dance.file, f'music of {dance.name}', 'one of the tracks',
          repr(dance.track)
      )
    if not 0 <= dance.start < frames[dance.track] - 1:
      raise DataError(
          dance.file, f'start of {dance.name}', f'a frame of the track, 0 to '
          f'{frames[dance.track] - 2}', f'{dance.start}'
      )


def _remedy(folder: pathlib.Path) -> str:
  return f'Delete {folder}; the set is then made anew'
