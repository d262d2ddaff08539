"""LORIS: dance, floor exercise and figure skating with sound.

The published set has three parts, each in segments of 25 s, and of 50 s but for
dance:

  dance/audio_s25/gKR_sFM_c09_d28_mKR1_ch02.wav       22050 Hz
  dance/pose2d_s25/gKR_sFM_c09_d28_mKR1_ch02.npy      [T, 17, 3]
  dance/dance_{audio,pose2d}_s25_{train,test}_segment.txt

and `fe`, `fs` as well. Poses are COCO's 17 joints, pixels and confidences. The
lists name files by paths of their author's machine, of which the last part
counts; the two lists of a split name the same segments in the same order. The
rate of the poses is told by nothing but their number: T over the length of a
segment. LORIS deletes frames until 400 are left, 16 per second; here they are
resampled instead.

The published lists are of segments drawn at random. Of dance, the nine cameras
of a performance and the 60 pieces of music are in both; `split='music'` holds
out pieces instead, see `aist`. A share of the training list, drawn by the hash
of names (of the video without its segment), is for validation.

Joints that the detector missed are filled for up to `longest_gap` seconds.
Floor exercise and figure skating hold many longer ones: with `skip_bad` such
segments are left out and listed.

References:
  Yu et al., "Long-Term Rhythmic Video Soundtracker", ICML 2023.
"""

from collections.abc import Mapping
import hashlib
import pathlib
import re
from typing import Any

import numpy as np

from diffax.body import poses as poses_lib
from diffax.data import aist
from diffax.data import audio
from diffax.data import dance
from diffax.data import dance_store
from diffax.data import files
from diffax.data.base import Source
from diffax.data.dance_store import FPS
from diffax.data.dance_store import RATE
from diffax.errors import DataError
from diffax.errors import UserError

VERSION = 1
PARTS: Mapping[str, str] = {
    'dance': 'dance', 'fe': 'floor exercise', 'fs': 'figure skating'
}
LENGTHS = (25, 50)
SPLITS = ('published', 'music')
COUNTS: Mapping[tuple[str, int], tuple[int, int]] = {
    ('dance', 25): (1692, 189), ('fe', 25): (1755, 195), ('fe', 50): (594, 66),
    ('fs', 25): (7726, 859), ('fs', 50): (3732, 415),
}
"""Segments of the published lists, train and test."""

# Frames per second that a video of a set of this kind can have.
_RATES = (10.0, 62.0)
_SLACK = 1.0
_DANCE = re.compile(
    r'g(?P<genre>[A-Z]{2})_s[A-Z]{2}_c\d\d_(?P<dancer>d\d\d)_'
    r'(?P<music>m[A-Z]{2}\d)_ch\d\d(_.*)?'
)


def loris(
    *,
    seed: int,
    batch_size: int,
    root: str | None = None,
    store: str | None = None,
    part: str = 'dance',
    segment_seconds: int = 25,
    split: str = 'published',
    val_share: float = 0.05,
    confidence: float = 0.2,
    longest_gap: float = 0.5,
    skip_bad: bool = False,
    seconds: float = 10.0,
    eval_seconds: float | None = None,
    pose: str = 'positions',
    music: str = 'mel',
    mirror: bool = True,
    limit: int = 256,
) -> Source:
  """Build the source of a part of LORIS, read once and stored.

  Args:
    seed: of the batches.
    batch_size: of the global batch.
    root: folder of the set, or one with `loris/`; by default `$DIFFAX_DATA`.
    store: folder of the prepared set; by default `store.default_folder`.
    part: key of `PARTS`.
    segment_seconds: 25, or 50 of `fe` and `fs`.
    split: of `SPLITS`; `music` of dance only.
    val_share: of the training list.
    confidence: up to which a joint counts as missed.
    longest_gap: seconds for which a missed joint may be filled.
    skip_bad: leave out segments that cannot be used, and list them.
    seconds: see `dance.View`.
    eval_seconds: see `dance.View`.
    pose: see `dance.View`.
    music: see `dance.View`.
    mirror: see `dance.View`.
    limit: see `dance.View`.

  Returns:
    The source; see `dance.source`.

  Raises:
    UserError: a setting is wrong.
    DataError: a file is missing or broken.
  """
  if (part, segment_seconds) not in COUNTS:
    raise UserError(
        'data.part, data.segment_seconds: expected one of '
        f'{sorted(COUNTS)}, found {(part, segment_seconds)}.'
    )
  if split not in SPLITS or (split == 'music' and part != 'dance'):
    raise UserError(
        f"data.split: expected one of {SPLITS}, 'music' of dance only, found "
        f'{split!r} of {part}.'
    )
  if not 0 < val_share < 1:
    raise UserError(
        f'data.val_share: expected a share in (0, 1), found {val_share:g}.'
    )
  options: dict[str, Any] = {
      'part': part, 'segment_seconds': segment_seconds, 'split': split,
      'val_share': val_share, 'confidence': confidence,
      'longest_gap': longest_gap, 'skip_bad': skip_bad
  }
  place = folder(root, part)
  made = dance.prepared(
      'loris', VERSION, lambda: read(place, **options), options=options,
      root=place, store=store
  )
  view = dance.View(seconds, eval_seconds, pose, music, 0.0, mirror, limit)
  return dance.source(made, view, seed=seed, batch_size=batch_size)


def folder(root: files.PathLike | None, part: str) -> pathlib.Path:
  """Find the folder of a part: below the root, or below its `loris`.

  Raises:
    DataError: neither has it.
  """
  # The preparers import every reader, which takes most of a second.
  from diffax.data import prepare
  base = prepare.data_root(root)
  for place in (base / 'loris', base / 'LORIS', base):
    if (place / part).is_dir():
      return place / part
  raise DataError(
      base, 'folder', f'{part}/ of LORIS', 'no such folder',
      'Set data.root to the folder of the set'
  )


def read(
    place: pathlib.Path, part: str, segment_seconds: int = 25,
    split: str = 'published', val_share: float = 0.05,
    confidence: float = 0.2, longest_gap: float = 0.5, skip_bad: bool = False
) -> tuple[list[dance_store.Track], list[dance_store.Dance], dict[str, Any]]:
  """Read a part.

  Args:
    place: its folder.
    part: see `loris`.
    segment_seconds: see `loris`.
    split: see `loris`.
    val_share: see `loris`.
    confidence: see `loris`.
    longest_gap: see `loris`.
    skip_bad: see `loris`.

  Returns:
    See `dance.prepared`.

  Raises:
    DataError: a file is missing or broken, or the lists disagree.
  """
  tracks, dances, skipped = [], [], []
  lists = {
      name: names(place, part, segment_seconds, name)
      for name in ('train', 'test')
  }
  for published, listed in lists.items():
    for name in listed:
      chosen = _split(name, published, split, val_share)
      try:
        track = read_sound(place, name, segment_seconds)
        dances.append(read_dance(
            place, part, name, segment_seconds, chosen, confidence, longest_gap
        ))
      except DataError as error:
        if not skip_bad:
          raise
        skipped.append(str(error))
        continue
      tracks.append(track)
  return tracks, dances, {
      'what': f'LORIS, {PARTS[part]}, segments of {segment_seconds} s',
      'licence': 'by the terms of LORIS and of the videos',
      'found': {name: len(listed) for name, listed in lists.items()},
      'published': COUNTS[part, segment_seconds],
      'skipped': skipped,
  }


def names(
    place: pathlib.Path, part: str, segment_seconds: int, split: str
) -> list[str]:
  """Read which segments a published list holds.

  Raises:
    DataError: a list is missing or empty, or sound and poses disagree.
  """
  found = {}
  for kind in ('audio', 'pose2d'):
    path = place / f'{part}_{kind}_s{segment_seconds}_{split}_segment.txt'
    lines = files.read_text(path).splitlines()
    found[kind] = [
        pathlib.PurePosixPath(line.strip()).stem for line in lines
        if line.strip()
    ]
  for row, pair in enumerate(zip(found['audio'], found['pose2d'])):
    if pair[0] != pair[1]:
      raise DataError(
          path, f'line {row + 1}', f'{pair[0]}, as in the list of sounds',
          pair[1]
      )
  if len(found['audio']) != len(found['pose2d']):
    raise DataError(
        path, 'lines', f'{len(found["audio"])}, as in the list of sounds',
        f'{len(found["pose2d"])}'
    )
  return found['audio']


def read_sound(
    place: pathlib.Path, name: str, segment_seconds: int
) -> dance_store.Track:
  """Read the sound of a segment.

  Raises:
    DataError: it is missing, broken, silent or of another length.
  """
  path = place / f'audio_s{segment_seconds}' / f'{name}.wav'
  wave = audio.read(path, RATE)
  if abs(len(wave) / RATE - segment_seconds) > _SLACK:
    raise DataError(
        path, 'length', f'{segment_seconds} s, as the segment',
        f'{len(wave) / RATE:.2f} s'
    )
  return dance_store.Track(name, wave, path.relative_to(place).as_posix())


def read_dance(
    place: pathlib.Path, part: str, name: str, segment_seconds: int,
    split: str, confidence: float = 0.2, longest_gap: float = 0.5
) -> dance_store.Dance:
  """Read the poses of a segment.

  Args:
    place: folder of the part.
    part: key of `PARTS`.
    name: of the segment.
    segment_seconds: its length.
    split: of the dance.
    confidence: see `loris`.
    longest_gap: see `loris`.

  Returns:
    The dance, in pixels.

  Raises:
    DataError: the file is missing or broken, has another shape or number of
      frames, or misses a joint for too long.
  """
  path = place / f'pose2d_s{segment_seconds}' / f'{name}.npy'
  points = read_array(path)
  if points.ndim != 3 or points.shape[1:] != (17, 3):
    raise DataError(
        path, 'poses', '[T, 17, 3], COCO and confidence', f'{points.shape}'
    )
  fps = len(points) / segment_seconds
  if not _RATES[0] <= fps <= _RATES[1]:
    raise DataError(
        path, 'frames', f'{_RATES[0]:g} to {_RATES[1]:g} a second for '
        f'{segment_seconds} s', f'{len(points)}, {fps:.3g} a second'
    )
  points = np.where(np.isfinite(points).all(-1, keepdims=True), points, 0)
  poses = poses_lib.fill_gaps(
      poses_lib.from_keypoints(points, 'coco17', threshold=confidence), fps,
      longest=longest_gap, name=str(path)
  )
  parts = _DANCE.fullmatch(name)
  style = PARTS[part]
  if part == 'dance' and parts:
    style = aist.GENRES.get(parts['genre'], parts['genre'])
  return dance_store.Dance(
      name, name, poses_lib.resample(poses, fps, FPS), style,
      parts['dancer'] if parts else _video(name), split,
      path.relative_to(place).as_posix(), facts={'fps': fps}
  )


def read_array(path: files.PathLike) -> np.ndarray:
  """Read the numbers of an .npy file, refusing pickled objects.

  Returns:
    An array in float64.

  Raises:
    DataError: the file is missing, broken or holds no numbers.
  """
  files.read_bytes(path)
  try:
    return np.load(path, allow_pickle=False).astype(np.float64)
  except Exception as error:
    # A damaged header raises whatever its bytes happen to mean.
    raise DataError(
        path, 'npy array', 'numbers, without Python objects',
        f'{type(error).__name__}: {error}'
    ) from error


def _split(name: str, published: str, split: str, val_share: float) -> str:
  if split == 'music':
    parts = _DANCE.fullmatch(name)
    if not parts:
      raise DataError(
          'LORIS', f'segment {name}', 'a name with the music, as in '
          'gKR_sFM_c09_d28_mKR1_ch02', name, "Use data.split='published'"
      )
    if parts['music'] in aist.TEST_MUSIC:
      return 'test'
    key = parts['music']
  elif published == 'test':
    return 'test'
  else:
    key = _video(name)
  number = int(hashlib.sha256(key.encode()).hexdigest(), 16) % 10_000
  return 'val' if number < val_share * 10_000 else 'train'


def _video(name: str) -> str:
  """Return the name of the video of a segment, without camera and number."""
  return re.sub(r'_seg\d+$', '', re.sub(r'_c\d\d_', '_', name))
