"""AIST++: ten genres of street dance, their keypoints and their music.

The published annotations and, from the AIST set, the music:

  keypoints3d/gBR_sBM_cAll_d04_mBR0_ch01.pkl  `keypoints3d_optim` or
                                `keypoints3d`, [T, 17, 3] centimetres, Y up
  keypoints2d/gBR_...pkl        `keypoints2d` [9, T, 17, 3] pixels and
                                confidences, `timestamps` [T] microseconds
  splits/crossmodal_{train,val,test}.txt, ignore_list.txt    names, one a line
  wav/mBR0.wav                  or music/, .wav .flac .ogg .mp3; 60 pieces

Joints are COCO's 17, at 60 frames per second. A name tells genre, situation,
dancer and music; movement and music begin together. Sequences of the ignore
list are left out. Pickles may hold arrays only: no code in them is run.

Three ways to divide the set are offered. `music`, the default: the ten pieces
that the official split keeps for validation and test are the test, one of each
genre, and the next piece of each genre is for validation. `official`: the lists
of the folder; they leave many sequences out. `random`: nine in ten sequences to
train, the rest halved, by the hash of their names, as in the paper; the same
music is then in all parts.

References:
  Li et al., "AI Choreographer: Music Conditioned 3D Dance Generation with
  AIST++", ICCV 2021. Tsuchida et al., "AIST Dance Video Database", ISMIR 2019.
"""

from collections.abc import Iterator, Mapping
import dataclasses
import hashlib
import pathlib
import re
from typing import Any

import numpy as np

from diffax.body import poses as poses_lib
from diffax.data import audio
from diffax.data import dance
from diffax.data import dance_store
from diffax.data import files
from diffax.data import pickles
from diffax.data.base import Source
from diffax.data.dance_store import FPS
from diffax.data.dance_store import RATE
from diffax.errors import DataError
from diffax.errors import UserError

VERSION = 1
RATE_OF_POSES = 60.0
KEYPOINTS = ('3d', '2d')
SPLITS = ('music', 'official', 'random')
GENRES: Mapping[str, str] = {
    'BR': 'break', 'PO': 'pop', 'LO': 'lock', 'WA': 'waack', 'MH':
    'middle hip-hop', 'LH': 'LA-style hip-hop', 'HO': 'house', 'KR': 'krump',
    'JS': 'street jazz', 'JB': 'ballet jazz',
}
TEST_MUSIC = ('mBR0', 'mPO1', 'mLO2', 'mMH3', 'mLH4', 'mHO5', 'mWA0', 'mKR2',
              'mJS3', 'mJB5')
"""The pieces that the official split keeps for validation and test."""

_FOLDERS = ('wav', 'music')
_SUFFIXES = ('.wav', '.flac', '.ogg', '.mp3')
_NAME = re.compile(
    r'g(?P<genre>[A-Z]{2})_s[A-Z]{2}_cAll_(?P<dancer>d\d\d)_'
    r'(?P<music>m[A-Z]{2}\d)_ch\d\d'
)
_PIECES = 6
_LOW, _HIGH = ('l_ankle', 'r_ankle'), 'nose'


@dataclasses.dataclass(frozen=True)
class Sequence:
  """What the name of a sequence tells.

  Attributes:
    name: e.g. gBR_sBM_cAll_d04_mBR0_ch01.
    genre: a value of `GENRES`.
    dancer: e.g. d04.
    music: e.g. mBR0.
    path: of its keypoints.
  """

  name: str
  genre: str
  dancer: str
  music: str
  path: pathlib.Path


def aist(
    *,
    seed: int,
    batch_size: int,
    root: str | None = None,
    store: str | None = None,
    keypoints: str = '3d',
    camera: int = 1,
    split: str = 'music',
    skip_bad: bool = False,
    seconds: float = 10.0,
    eval_seconds: float | None = None,
    pose: str = 'positions',
    music: str = 'mel',
    yaw: float = 45.0,
    mirror: bool = True,
    limit: int = 256,
) -> Source:
  """Build the source of AIST++, read once and stored.

  Args:
    seed: of the batches.
    batch_size: of the global batch.
    root: folder of the set, or one with `aist/`; by default `$DIFFAX_DATA`.
    store: folder of the prepared set; by default `store.default_folder`.
    keypoints: `3d`, seen by any camera, or `2d`, by one of the nine.
    camera: 1 to 9, of `2d`; 1 stands in front.
    split: of `SPLITS`.
    skip_bad: leave out sequences that cannot be used, and list them.
    seconds: see `dance.View`.
    eval_seconds: see `dance.View`.
    pose: see `dance.View`.
    music: see `dance.View`.
    yaw: see `dance.View`; of `3d`.
    mirror: see `dance.View`.
    limit: see `dance.View`.

  Returns:
    The source; see `dance.source`.

  Raises:
    UserError: a setting is wrong.
    DataError: a file is missing or broken.
  """
  for value, name, choices in (
      (keypoints, 'keypoints', KEYPOINTS), (split, 'split', SPLITS)
  ):
    if value not in choices:
      raise UserError(
          f'data.{name}: expected one of {choices}, found {value!r}.'
      )
  if not 1 <= camera <= 9:
    raise UserError(f'data.camera: expected 1 to 9, found {camera}.')
  options: dict[str, Any] = {
      'keypoints': keypoints, 'camera': camera, 'split': split,
      'skip_bad': skip_bad
  }
  place = folder(root)
  made = dance.prepared(
      'aist', VERSION, lambda: read(place, **options), options=options,
      root=place, store=store
  )
  view = dance.View(seconds, eval_seconds, pose, music, yaw, mirror, limit)
  return dance.source(made, view, seed=seed, batch_size=batch_size)


def folder(root: files.PathLike | None) -> pathlib.Path:
  """Find the folder of the set: the root, or `aist` below it.

  Raises:
    DataError: neither has keypoints.
  """
  # The preparers import every reader, which takes most of a second.
  from diffax.data import prepare
  base = prepare.data_root(root)
  for place in (base / 'aist', base):
    if any((place / f'keypoints{kind}').is_dir() for kind in KEYPOINTS):
      return place
  raise DataError(
      base, 'folder', 'keypoints3d/ or keypoints2d/ of AIST++', 'neither',
      'Set data.root to the folder of the annotations'
  )


def read(
    place: pathlib.Path, keypoints: str = '3d', camera: int = 1,
    split: str = 'music', skip_bad: bool = False
) -> tuple[list[dance_store.Track], list[dance_store.Dance], dict[str, Any]]:
  """Read the set.

  Args:
    place: its folder.
    keypoints: see `aist`.
    camera: see `aist`.
    split: see `aist`.
    skip_bad: see `aist`.

  Returns:
    See `dance.prepared`.

  Raises:
    DataError: a file is missing or broken.
  """
  chosen = list(sequences(place, keypoints))
  splits = divide(place, chosen, split)
  dances, skipped = [], []
  for sequence in chosen:
    if sequence.name not in splits:
      continue
    try:
      dances.append(_dance(sequence, keypoints, camera, splits, place))
    except DataError as error:
      if not skip_bad:
        raise
      skipped.append(str(error))
  names = sorted({d.track for d in dances})
  return [_track(place, name) for name in names], dances, {
      'what': 'AIST++ keypoints and the music of AIST',
      'licence': 'annotations CC BY 4.0; music and videos by the terms of AIST',
      'styles': list(GENRES.values()),
      'skipped': skipped,
  }


def sequences(
    place: pathlib.Path, keypoints: str = '3d'
) -> Iterator[Sequence]:
  """List the sequences that are not on the ignore list, by name.

  Raises:
    DataError: there is none, or a file has another name.
  """
  ignored = place / 'ignore_list.txt'
  left_out = set(
      files.read_text(ignored).split() if ignored.is_file() else ())
  paths = sorted((place / f'keypoints{keypoints}').glob('*.pkl'))
  if not paths:
    raise DataError(
        place / f'keypoints{keypoints}', 'folder',
        'files like gBR_sBM_cAll_d04_mBR0_ch01.pkl', 'none'
    )
  for path in paths:
    parts = _NAME.fullmatch(path.stem)
    if not parts or parts['genre'] not in GENRES:
      raise DataError(
          path, 'name', 'genre, situation, cAll, dancer, music and '
          'choreography, as in gBR_sBM_cAll_d04_mBR0_ch01.pkl', path.name
      )
    if path.stem not in left_out:
      yield Sequence(
          path.stem, GENRES[parts['genre']], parts['dancer'], parts['music'],
          path
      )


def divide(
    place: pathlib.Path, chosen: list[Sequence], split: str
) -> dict[str, str]:
  """Return the split of each sequence that has one; see the module."""
  if split == 'official':
    return _official(place)
  if split == 'random':
    return {s.name: _hashed(s.name) for s in chosen}
  val = {name[:3] + str((int(name[3]) + 1) % _PIECES) for name in TEST_MUSIC}
  return {
      s.name: 'test' if s.music in TEST_MUSIC else
      'val' if s.music in val else 'train' for s in chosen
  }


def _official(place: pathlib.Path) -> dict[str, str]:
  return {
      name: split for split in dance_store.SPLITS
      for name in files.read_text(
          place / 'splits' / f'crossmodal_{split}.txt').split()
  }


def _hashed(name: str) -> str:
  number = int(hashlib.sha256(name.encode()).hexdigest(), 16) % 20
  return {0: 'val', 1: 'test'}.get(number, 'train')


def _dance(
    sequence: Sequence, keypoints: str, camera: int,
    splits: Mapping[str, str], place: pathlib.Path
) -> dance_store.Dance:
  read_poses = read_3d if keypoints == '3d' else read_2d
  arguments = (sequence.path,) if keypoints == '3d' else (
      sequence.path, camera)
  poses = read_poses(*arguments)
  return dance_store.Dance(
      sequence.name, sequence.music, poses_lib.resample(
          poses, RATE_OF_POSES, FPS),
      sequence.genre, sequence.dancer, splits[sequence.name],
      sequence.path.relative_to(place).as_posix()
  )


def read_3d(path: pathlib.Path) -> np.ndarray:
  """Read joints in space.

  Args:
    path: of a file of `keypoints3d/`.

  Returns:
    [T, 14, 3] metres, Z up, 60 frames per second, gaps filled.

  Raises:
    DataError: the file is broken, has another shape, or lies on its side.
  """
  arrays = pickles.read(path)
  key = 'keypoints3d_optim'
  key = key if key in arrays else 'keypoints3d'
  points = _array(path, arrays, key, (None, 17, 3))
  # To metres, and from Y up to Z up without a mirror.
  points = points[..., [2, 0, 1]] / 100
  poses = poses_lib.fill_gaps(
      poses_lib.body14(points, 'coco17'), RATE_OF_POSES, name=str(path)
  )
  _check_upright(path, poses)
  return poses


def read_2d(path: pathlib.Path, camera: int = 1) -> np.ndarray:
  """Read joints in the picture of a camera.

  Args:
    path: of a file of `keypoints2d/`.
    camera: 1 to 9.

  Returns:
    [T, 14, 2] pixels, y up, 60 frames per second, gaps filled.

  Raises:
    DataError: the file is broken, has another shape or another rate.
  """
  arrays = pickles.read(path)
  points = _array(path, arrays, 'keypoints2d', (None, None, 17, 3))
  if len(points) < camera:
    raise DataError(
        path, 'keypoints2d', f'{camera} cameras or more', f'{len(points)}',
        'Change data.camera'
    )
  if 'timestamps' in arrays:
    _check_rate(path, np.asarray(arrays['timestamps'], np.float64))
  seen = points[camera - 1].astype(np.float64)
  seen[~np.isfinite(seen).all(-1)] = 0
  poses = poses_lib.from_keypoints(seen, 'coco17')
  poses = poses_lib.fill_gaps(poses, RATE_OF_POSES, name=str(path))
  _check_upright(path, poses)
  return poses


def _array(
    path: pathlib.Path, arrays: Mapping[str, Any], key: str,
    shape: tuple[int | None, ...]
) -> np.ndarray:
  """Return an array of a pickle in float64; None in the shape is any size."""
  if key not in arrays:
    raise DataError(path, key, 'an array', f'{", ".join(arrays)}')
  found = np.asarray(arrays[key])
  fits = found.ndim == len(shape) and found.dtype.kind == 'f' and all(
      want in (None, size) for want, size in zip(shape, found.shape)
  )
  if not fits or found.shape[-3] < 2:
    wanted = ', '.join('T' if size is None else str(size) for size in shape)
    raise DataError(
        path, key, f'floats [{wanted}], 2 frames or more',
        f'{found.dtype} {list(found.shape)}'
    )
  return found.astype(np.float64)


def _check_rate(path: pathlib.Path, times: np.ndarray) -> None:
  """Raise unless timestamps (s, ms or us) are those of 60 frames a second."""
  step = float(np.median(np.diff(times.ravel())))
  rates = [unit / step for unit in (1, 1e3, 1e6)] if step > 0 else []
  if not any(abs(rate / RATE_OF_POSES - 1) < 0.02 for rate in rates):
    raise DataError(
        path, 'timestamps', 'steps of 1/60 s', f'a step of {step:g}',
        'Other rates are not published'
    )


def _check_upright(path: pathlib.Path, poses: np.ndarray) -> None:
  high = poses[:, poses_lib.JOINTS.index(_HIGH), -1]
  low = poses[:, [poses_lib.JOINTS.index(name) for name in _LOW], -1].mean(1)
  if np.median(high - low) <= 0:
    raise DataError(
        path, 'axes', 'the nose above the feet most of the time',
        f'{np.median(high - low):.3g} above', 'Is another axis up?'
    )


def _track(place: pathlib.Path, name: str) -> dance_store.Track:
  for where in _FOLDERS:
    for suffix in _SUFFIXES:
      path = place / where / f'{name}{suffix}'
      if path.is_file():
        return dance_store.Track(
            name, audio.read(path, RATE), path.relative_to(place).as_posix())
  raise DataError(
      place / _FOLDERS[0] / f'{name}.wav', 'music', 'the piece danced to',
      'no such file', 'The music of AIST is to be had apart from AIST++'
  )
