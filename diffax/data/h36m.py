"""Human3.6M: the published cdf files, to seventeen joints.

The set holds `S1/MyPoseFeatures/D3_Positions/Walking 1.cdf` and so on: seven
persons, fifteen actions twice each, the variable `Pose [1, F, 96]` being 32
joints in millimetres at 50 frames per second, Z up. Of the 32 some repeat each
other; H36M16 has 17. Some files of the persons are called otherwise than those
of the others, `RENAMED`, and one is broken, `DROPPED`.

Training shows S1, S5, S6, S7 and S8, the test S9 and S11. The released code
trains on S8 and validates on it as well; see `jobs`.

References:
  Ionescu et al., "Human3.6M: Large Scale Datasets and Predictive Methods for
  3D Human Sensing in Natural Environments", TPAMI 2014. Joints, split and
  segments are those of Curreli et al., CVPR 2025 (released code), who took
  them from Barquero et al., "BeLFusion", ICCV 2023.
"""

from collections.abc import Iterator, Mapping, Sequence
import functools
import pathlib
from typing import Any

import numpy as np

from diffax.body.skeletons import H36M16
from diffax.data import clips, files, segments, transforms
from diffax.data.base import Clip, Recording, check_recording
from diffax.errors import DataError, UserError

FPS = 50.0
"""Frames per second of the files."""

PROTOCOL = {'past': 25, 'future': 100, 'first': 25, 'stride': 25}
"""The published list as arguments of `transforms.segment_starts`."""

SETTINGS: dict[str, Any] = {
    'fps': FPS, 'skeleton': H36M16.name, 'past_seconds': 0.5,
    'future_seconds': 2.0, 'train_stride': 10, 'train_jitter': 5,
    'test_first_seconds': 0.5, 'test_stride_seconds': 0.5,
}
"""The published settings of `motion.motion`."""

SPLIT = {
    'train': ('S1', 'S5', 'S6', 'S7', 'S8'),
    'test': ('S9', 'S11'),
}
"""The persons by split."""

FILES = 30
"""Files of each person."""

TEST_SEGMENTS = {'S9': 3041, 'S11': 2127}
"""Published test segments of each person; together 5,168."""

ACTIONS = (
    'Directions', 'Discussion', 'Eating', 'Greeting', 'Phoning', 'Photo',
    'Posing', 'Purchases', 'Sitting', 'SittingDown', 'Smoking', 'Waiting',
    'WalkDog', 'WalkTogether', 'Walking',
)

RENAMED = {'TakingPhoto': 'Photo', 'WalkingDog': 'WalkDog'}
"""What two actions are called in the files of some persons."""

DROPPED = frozenset({('S11', 'Directions')})
"""Recordings left out: this one is broken, unlike its twin Directions_1."""

JOINTS = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)
"""Which of the 32 joints of a file are those of H36M16, in its order."""

S8 = ('train', 'val', 'both')
VAL = 'val/'
"""What comes before the names of the clips of S8 that are there twice."""


def action(name: str) -> str:
  """Return the name of a recording that all persons share.

  Args:
    name: of a file or in a list, such as `TakingPhoto 1`.

  Returns:
    Such as `Photo_1`.
  """
  kind, _, take = name.strip().replace(' ', '_').partition('_')
  return '_'.join(filter(None, (RENAMED.get(kind, kind), take)))


def label(name: str) -> str:
  """Return the action of a recording, without its number."""
  return action(name).partition('_')[0]


def read(path: files.PathLike) -> Recording:
  """Read a file of D3_Positions.

  Returns:
    The joints of H36M16, metres, Z up, 50 frames per second.

  Raises:
    DataError: the file holds something else.
    UserError: the package cdflib is missing.
  """
  pose = files.check_numbers(path, 'Pose', _pose(path))
  frames = pose.size // 96
  if pose.shape not in ((frames, 96), (1, frames, 96)):
    raise DataError(path, 'Pose', '[1, frames, 96], 32 joints of 3 numbers',
                    str(list(pose.shape)))
  recording = Recording(
      joints=H36M16.joints, parents=H36M16.parents,
      positions=pose.reshape(frames, 32, 3)[:, JOINTS] * files.METRES['mm'],
      fps=FPS, file=str(path), unit='mm')
  check_recording(recording)
  return recording


def _pose(path: files.PathLike) -> np.ndarray:
  """Read the variable `Pose` of a cdf file."""
  # Only users of this data set need the package.
  try:
    import cdflib
  except ImportError as error:
    raise UserError(
        'cdf files need cdflib: pip install "diffax[data]".') from error
  try:
    return np.asarray(cdflib.CDF(path).varget('Pose'))
  except Exception as error:
    # The package raises whatever a damaged part of a file makes it raise.
    raise DataError(
        path, 'cdf', 'a whole file with the variable Pose',
        f'{type(error).__name__}: {error}') from error


def sequences(root: files.PathLike) -> dict[str, dict[str, pathlib.Path]]:
  """Find the files below `root/h36m`, `root/Human36M` or `root`.

  Returns:
    The files by person and `action`, without the dropped ones, in the order of
    `SPLIT`; only persons with a file.

  Raises:
    DataError: none is there, or two have the same name.
  """
  for place in (pathlib.Path(root) / 'h36m', pathlib.Path(root) / 'Human36M',
                pathlib.Path(root)):
    found = {
        person: _files(place / person / 'MyPoseFeatures' / 'D3_Positions')
        for persons in SPLIT.values() for person in persons
    }
    if any(found.values()):
      return {
          person: {name: path for name, path in paths.items()
                   if (person, name) not in DROPPED}
          for person, paths in found.items() if paths
      }
  raise DataError(
      root, 'folder', 'S1/MyPoseFeatures/D3_Positions/*.cdf', 'none',
      'Unpack the D3 positions of Human3.6M there')


def _files(folder: pathlib.Path) -> dict[str, pathlib.Path]:
  """List the files of a person by `action`."""
  found: dict[str, pathlib.Path] = {}
  for path in sorted(folder.glob('*.cdf')):
    name = action(path.stem)
    if label(name) not in ACTIONS:
      raise DataError(path, 'name', f'one of {", ".join(ACTIONS)}', name)
    if name in found:
      raise DataError(path, 'name', 'another recording',
                      f'{name}, like {found[name].name}')
    found[name] = path
  return found


def clips_of(
    path: pathlib.Path,
    file: str,
    name: str,
    splits: Mapping[str, str],
    fps: float,
    max_speed: float,
) -> tuple[list[Clip], list[str]]:
  """Read one file into clips by the published protocol.

  Args:
    path: the file.
    file: its name in the manifest.
    name: of the clip, the person and the recording, such as `S9/Walking_1`.
    splits: the split of the clip, by what comes before its name.
    fps: rate; every n-th frame is kept.
    max_speed: as in `clips.make`.

  Raises:
    DataError: as `read`.
    UserError: the rate is not 50 divided by a whole number.
  """
  recording = read(path)
  step = transforms.keep_every(recording.fps, fps)
  rate = recording.fps / step
  person, _, recorded = name.partition('/')
  made: list[Clip] = []
  notes: list[str] = []
  for before, split in splits.items():
    found, note = clips.make(
        before + name, recording.positions[::step], rate, rate, subject=person,
        label=label(recorded), split=split, file=file, max_speed=max_speed)
    made, notes = made + found, notes + note
  return made, notes


def splits_of(person: str, s8: str = 'train') -> dict[str, str]:
  """Return the splits of a person's clips by what comes before their names.

  Raises:
    UserError: `s8` is none of `S8`.
  """
  if s8 not in S8:
    raise UserError(f's8: expected {", ".join(S8)}, found {s8!r}.')
  if person != 'S8':
    return {'': next(s for s, who in SPLIT.items() if person in who)}
  return {'': 'train', VAL: 'val'} if s8 == 'both' else {'': s8}


def jobs(
    root: files.PathLike,
    fps: float = FPS,
    s8: str = 'train',
    max_speed: float = 0.0,
) -> Iterator[tuple[str, Any]]:
  """Yield a name and a function that makes clips, for each file.

  Args:
    root: folder of the set; see `sequences`.
    fps: rate of the clips: 50, or that divided by a whole number.
    s8: the split of the person S8. The released code shows it in training and
      validates on it, too. A clip has one split: `'train'` leaves validation
      empty, `'val'` leaves four persons to train on, and `'both'`, as
      published, keeps its clips twice, the second ones named `val/S8/...`.
    max_speed: metres per second that mark a glitch; 0, as published, cuts
      nothing.
  """
  transforms.keep_every(FPS, fps)
  found = sequences(root)
  for person, paths in found.items():
    splits = splits_of(person, s8)
    for name, path in paths.items():
      yield path.as_posix(), functools.partial(
          clips_of, path, path.relative_to(path.parents[3]).as_posix(),
          f'{person}/{name}', splits, fps, max_speed)


def expected(s8: str = 'train') -> dict[str, int]:
  """Count what the whole set holds; see `jobs`."""
  persons = [person for who in SPLIT.values() for person in who]
  kept = {
      person: FILES - sum(who == person for who, _ in DROPPED)
      for person in persons}
  return {
      'clips': sum(kept[p] * len(splits_of(p, s8)) for p in persons),
      'subjects': len(persons),
  }


def read_segments(path: files.PathLike) -> list[segments.Segment]:
  """Read a published list: subject, action, init, pred_init, pred_end.

  Returns:
    Its segments in frames of 50 fps, the clips named as those of the store.

  Raises:
    DataError: the file is no such list.
  """
  return segments.read(path, ('subject', 'action'), lambda row: (
      f'{row["subject"].strip()}/{action(row["action"])}'))


def count_segments(manifest: Mapping[str, Any]) -> dict[str, int]:
  """Count the segments that the rule cuts from the test clips of a store.

  Returns:
    Segments of each person, to hold against `TEST_SEGMENTS`.

  Raises:
    UserError: the store is not one of 50 fps.
  """
  return segments.count(segments.by_rule(manifest, FPS, PROTOCOL), _person)


def compare_segments(
    manifest: Mapping[str, Any],
    published: Sequence[segments.Segment],
    split: str = 'test',
) -> segments.Comparison:
  """Hold the segments of a store against a published list.

  Args:
    manifest: of a store at 50 frames per second.
    published: see `read_segments`.
    split: of the store: test, or val for the list of S8.

  Raises:
    UserError: the list is empty, or the store of another rate.
  """
  generated = [
      s._replace(clip=s.clip.removeprefix(VAL))
      for s in segments.by_rule(manifest, FPS, PROTOCOL, split)]
  return segments.compare(generated, published, _person, manifest)


def _person(clip: str) -> str:
  return clip.partition('/')[0]
