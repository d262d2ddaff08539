"""BHS Dance: ballet, zumba and hip-hop, as features and poses without sound.

The set of "Dancing to Music", in the layout that its published loader reads:

  unitList/{ballet,zumba,hiphop}_unitseq{3,4}.txt     paths, one a line, like
      data/zumba/VIDEO/CLIP/pose/x.npy
  zumba/VIDEO/CLIP/pose/x.npy             [S, 32, 14, 2] pixels, or [T, 14, 2]
  zumba/VIDEO/CLIP/aud/cCLIP_fps15.npy    [T', 28] features at 15 a second
  stats/all_aud_{mean,std}.npy            [28] of the features

The first part of a path, `data`, stands for the root. Joints are OpenPose's
first fourteen, -1 where missing, y down.

Sequences of S units are standardised: each unit, from beat to beat, has been
stretched to 32 frames, so the clock of the movement is lost. The features of
the clip are stretched linearly to the 32 S frames of the sequence; both then
count as 15 frames per second. Poses [T, 14, 2] are at 15 per second already,
and must have as many frames as features but for one.

Features are standardised with `stats`, of the authors, or with the mean and the
deviation over the training dances where there are none. No split is published:
videos are divided 90 / 5 / 5 by the hash of their names, so no video is in two
parts. The loader draws its class twice, the second time of two, and so never
shows hip-hop; here all three are read.

References:
  Lee et al., "Dancing to Music", NeurIPS 2019.
"""

from collections.abc import Iterator, Sequence
import dataclasses
import hashlib
import pathlib
from typing import Any, NamedTuple

import numpy as np

from diffax.body import poses as poses_lib
from diffax.data import dance
from diffax.data import dance_store
from diffax.data import files
from diffax.data import loris
from diffax.data.base import Source
from diffax.errors import DataError
from diffax.errors import UserError

VERSION = 1
FPS = 15.0
FEATURES = 28
CLASSES = ('ballet', 'zumba', 'hiphop')
_MISSING = -1.0
_UNIT = 32
_SMALL = 1e-6


class Entry(NamedTuple):
  """A line of the lists.

  Attributes:
    name: class, video, clip and file.
    label: of `CLASSES`.
    video: its name.
    poses: path of the poses.
    features: path of the features.
  """

  name: str
  label: str
  video: str
  poses: pathlib.Path
  features: pathlib.Path


def bhs(
    *,
    seed: int,
    batch_size: int,
    root: str | None = None,
    store: str | None = None,
    classes: Sequence[str] = CLASSES,
    longest_gap: float = 0.5,
    skip_bad: bool = False,
    seconds: float = 6.0,
    eval_seconds: float | None = None,
    pose: str = 'positions',
    mirror: bool = True,
    limit: int = 256,
) -> Source:
  """Build the source of BHS Dance, read once and stored.

  Args:
    seed: of the batches.
    batch_size: of the global batch.
    root: folder of the set, or one with `bhs/`; by default `$DIFFAX_DATA`.
    store: folder of the prepared set; by default `store.default_folder`.
    classes: of `CLASSES`.
    longest_gap: seconds for which a missing joint may be filled.
    skip_bad: leave out sequences that cannot be used, and list them.
    seconds: see `dance.View`.
    eval_seconds: see `dance.View`.
    pose: see `dance.View`.
    mirror: see `dance.View`.
    limit: see `dance.View`.

  Returns:
    The source; see `dance.source`. Its music is `features`, of 28 dimensions,
    at 15 frames per second, and there are no waves.

  Raises:
    UserError: a setting is wrong.
    DataError: a file is missing or broken.
  """
  unknown = sorted(set(classes) - set(CLASSES))
  if unknown or not classes:
    raise UserError(
        f'data.classes: expected some of {CLASSES}, found {unknown or "none"}.'
    )
  options: dict[str, Any] = {
      'classes': list(classes), 'longest_gap': longest_gap,
      'skip_bad': skip_bad
  }
  place = folder(root)
  made = dance.prepared(
      'bhs', VERSION, lambda: read(place, **options), fps=FPS,
      options=options, root=place, store=store
  )
  view = dance.View(seconds, eval_seconds, pose, 'mel', 0.0, mirror, limit)
  return dance.source(made, view, seed=seed, batch_size=batch_size)


def folder(root: files.PathLike | None) -> pathlib.Path:
  """Find the folder of the set: the root, or `bhs` below it.

  Raises:
    DataError: neither has lists of units.
  """
  # The preparers import every reader, which takes most of a second.
  from diffax.data import prepare
  base = prepare.data_root(root)
  for place in (base / 'bhs', base):
    if (place / 'unitList').is_dir():
      return place
  raise DataError(
      base, 'folder', 'unitList/ of BHS Dance', 'no such folder',
      'Set data.root to the folder of the set'
  )


def read(
    place: pathlib.Path, classes: Sequence[str] = CLASSES,
    longest_gap: float = 0.5, skip_bad: bool = False
) -> tuple[list[dance_store.Track], list[dance_store.Dance], dict[str, Any]]:
  """Read the set.

  Args:
    place: its folder.
    classes: see `bhs`.
    longest_gap: see `bhs`.
    skip_bad: see `bhs`.

  Returns:
    See `dance.prepared`.

  Raises:
    DataError: a file is missing or broken.
  """
  tracks, dances, skipped = [], [], []
  for entry in entries(place, classes):
    try:
      poses = read_poses(entry.poses, longest_gap)
      features = _fit(read_features(entry.features), poses, entry)
    except DataError as error:
      if not skip_bad:
        raise
      skipped.append(str(error))
      continue
    poses = poses.reshape(-1, *poses.shape[-2:])
    tracks.append(dance_store.Track(
        entry.name, features, entry.features.relative_to(place).as_posix()))
    dances.append(dance_store.Dance(
        entry.name, entry.name, poses, entry.label, entry.video,
        split_of(entry.video), entry.poses.relative_to(place).as_posix()))
  mean, std = moments(place, tracks, dances)
  tracks = [
      dataclasses.replace(track, sound=(track.sound - mean) / std)
      for track in tracks
  ]
  return tracks, dances, {
      'what': 'BHS Dance: poses and standardised audio features, no sound',
      'licence': 'by the terms of Dancing to Music and of the videos',
      'styles': list(classes),
      'mean': mean.tolist(),
      'std': std.tolist(),
      'skipped': skipped,
  }


def entries(
    place: pathlib.Path, classes: Sequence[str] = CLASSES
) -> Iterator[Entry]:
  """List what the unit lists name, each once.

  Raises:
    DataError: a list is missing, or a line is no path of a set.
  """
  seen = set()
  for label in classes:
    for units in (3, 4):
      path = place / 'unitList' / f'{label}_unitseq{units}.txt'
      for number, line in enumerate(files.read_text(path).splitlines(), 1):
        if not line.strip() or line in seen:
          continue
        seen.add(line)
        yield _entry(place, path, number, line.split()[0], label)


def _entry(
    place: pathlib.Path, path: pathlib.Path, number: int, line: str, label: str
) -> Entry:
  parts = pathlib.PurePosixPath(line).parts
  if len(parts) < 6 or parts[1] != label or '..' in parts:
    raise DataError(
        path, f'line {number}', f'data/{label}/VIDEO/CLIP/FOLDER/FILE.npy',
        line
    )
  video, clip = parts[-4], parts[-3]
  return Entry(
      '/'.join((label, video, clip, pathlib.PurePosixPath(line).stem)), label,
      video, place.joinpath(*parts[1:]),
      place / label / video / clip / 'aud' / f'c{clip}_fps15.npy'
  )


def read_poses(path: pathlib.Path, longest_gap: float = 0.5) -> np.ndarray:
  """Read poses, or sequences of units.

  Args:
    path: of the file.
    longest_gap: seconds for which a missing joint may be filled.

  Returns:
    [T, 14, 2] or [S, 32, 14, 2] pixels, y up.

  Raises:
    DataError: the file is missing or broken, has another shape, or misses a
      joint for too long.
  """
  found = loris.read_array(path)
  joints = (len(poses_lib.JOINTS), 2)
  units = found.ndim == 4 and found.shape[1:] == (_UNIT, *joints)
  if not units and not (found.ndim == 3 and found.shape[1:] == joints):
    raise DataError(
        path, 'poses', '[T, 14, 2] or [S, 32, 14, 2]', f'{list(found.shape)}'
    )
  flat = found.reshape(-1, *joints)
  missing = (flat == _MISSING).any(-1) | ~np.isfinite(flat).all(-1)
  flat = np.where(missing[..., None], np.nan, flat * (1, -1))
  filled = poses_lib.fill_gaps(
      flat, FPS, longest=longest_gap, name=str(path))
  return filled.reshape(found.shape)


def read_features(path: pathlib.Path) -> np.ndarray:
  """Read the features of a clip, [T, 28].

  Raises:
    DataError: the file is missing or broken, has another shape, or NaN.
  """
  found = loris.read_array(path)
  if found.ndim != 2 or found.shape[1] != FEATURES or len(found) < 2:
    raise DataError(
        path, 'features', f'[T, {FEATURES}]', f'{list(found.shape)}'
    )
  if not np.isfinite(found).all():
    frame = int(np.argwhere(~np.isfinite(found))[0][0])
    raise DataError(path, f'frame {frame}', 'finite features', 'NaN')
  return found


def _fit(features: np.ndarray, poses: np.ndarray, entry: Entry) -> np.ndarray:
  """Give features [T', 28] the frames of poses; see the module."""
  frames = int(np.prod(poses.shape[:-2]))
  if poses.ndim == 3:
    if abs(len(features) - frames) > 1:
      raise DataError(
          entry.features, 'frames', f'{frames}, as many as the poses at 15 a '
          'second, but for one', f'{len(features)}', 'Another rate?'
      )
    return features[np.minimum(np.arange(frames), len(features) - 1)]
  places = np.linspace(0, len(features) - 1, frames)
  return np.stack([
      np.interp(places, np.arange(len(features)), column)
      for column in features.T
  ], -1)


def split_of(video: str) -> str:
  """Return the split of a video: 90 / 5 / 5 by the hash of its name."""
  number = int(hashlib.sha256(video.encode()).hexdigest(), 16) % 20
  return {0: 'val', 1: 'test'}.get(number, 'train')


def moments(
    place: pathlib.Path, tracks: Sequence[dance_store.Track],
    dances: Sequence[dance_store.Dance]
) -> tuple[np.ndarray, np.ndarray]:
  """Return mean and deviation [28] of the features; see the module.

  Raises:
    DataError: the published ones are broken, or nothing is left to train on.
  """
  stats = [place / 'stats' / f'all_aud_{key}.npy' for key in ('mean', 'std')]
  if all(path.is_file() for path in stats):
    mean, std = (loris.read_array(path) for path in stats)
    for path, values in zip(stats, (mean, std)):
      if values.shape != (FEATURES,) or not np.isfinite(values).all():
        raise DataError(
            path, 'features', f'[{FEATURES}] finite', f'{list(values.shape)}'
        )
    return mean, np.maximum(std, _SMALL)
  train = {d.track for d in dances if d.split == 'train'}
  found = [track.sound for track in tracks if track.name in train]
  if not found:
    raise DataError(
        place / 'unitList', 'videos', 'one or more to train on', 'none'
    )
  flat = np.concatenate(found)
  return flat.mean(0), np.maximum(flat.std(0), _SMALL)
