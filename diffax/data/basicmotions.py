"""BasicMotions: a smart-watch at four students' wrists, for smoke tests.

80 cases of 10 s at 10 Hz, published as two files of 40. There is little in
them: no person is named, gravity has been removed (a standing person shows
0.8 m/s^2), and nothing above 5 Hz was recorded, so the 50 Hz that we make of
it hold no more. The units are not published; m/s^2 and rad/s fit the sizes.

A fold holds out a group of cases drawn at random, the same number of each
class. The same student is in several groups: a score on this set says nothing
about new people.

Files in the .ts format: lines of `@` are a header; after `@data` every line is
a case, its axes parted by colons, the samples of an axis by commas, and the
class at the end.

References:
  Bagnall et al., "The UEA multivariate time series classification archive",
  arXiv 1811.00075.
"""

from collections.abc import Mapping, Sequence
import gzip
import pathlib
import zlib
from typing import Any

import numpy as np

from diffax.data import files
from diffax.data import imu
from diffax.data import imu_recordings
from diffax.data.base import Source
from diffax.errors import DataError
from diffax.errors import UserError

CLASSES = ('standing', 'running', 'walking', 'badminton')
PARTS = ('TRAIN', 'TEST')
FACTS = imu_recordings.Facts(
    'basicmotions', 10.0, 'm/s^2', 'rad/s', gravity=False,
    subjects='random groups'
)


def basicmotions(
    *,
    seed: int,
    batch_size: int,
    root: str | None = None,
    classes: Sequence[str] = CLASSES,
    groups: int = 4,
    group_seed: int = 0,
    fold: int = 0,
    length: int = 160,
    shift: int = 40,
    picks: int = 2,
    pick_seed: int = 0,
    val_share: float = 0.2,
    per_class: bool = False,
    augment: Mapping[str, Any] | None = None,
) -> Source:
  """Build the source of a smart-watch.

  Args:
    seed: of the order of the batches.
    batch_size: of the global batch.
    root: folder of data sets; by default `$DIFFAX_DATA`.
    classes: some of `CLASSES`.
    groups: of cases, which take the place of people.
    group_seed: of the draw of the groups.
    fold: which group is held out.
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
    DataError: a file is missing or broken.
  """
  imu.check_classes(classes, CLASSES, 'basicmotions')
  if groups < 2:
    raise UserError(f'data.groups: expected 2 or more, found {groups}.')
  place = imu_recordings.data_folder(
      root, 'basicmotions', 'BasicMotions_*.ts*',
      'Get it from timeseriesclassification.com'
  )
  cases = [
      (f'{part}/{i}', values, label, path)
      for part in PARTS for path in [_path(place, part)]
      for i, (values, label) in enumerate(read_cases(path))
  ]
  taken = group([label for _, _, label, _ in cases], groups, group_seed)
  recordings = [
      imu_recordings.Recording(
          name, values, f'group{g}', label.lower(), str(path))
      for (name, values, label, path), g in zip(cases, taken)
  ]
  return imu.source(
      imu_recordings.prepare(recordings, FACTS), FACTS, seed=seed,
      batch_size=batch_size, classes=classes, fold=fold, length=length,
      shift=shift, picks=picks, pick_seed=pick_seed, val_share=val_share,
      per_class=per_class,
      augment=augment
  )


def group(labels: Sequence[str], groups: int, seed: int) -> np.ndarray:
  """Deal the cases of every class to the groups at random, [N]."""
  taken = np.zeros(len(labels), int)
  rng = np.random.default_rng(seed)
  for label in sorted(set(labels)):
    mine = [i for i, other in enumerate(labels) if other == label]
    taken[rng.permutation(mine)] = np.arange(len(mine)) % groups
  return taken


def read_cases(path: pathlib.Path) -> list[tuple[np.ndarray, str]]:
  """Read a .ts file of six axes, plain or gz.

  Args:
    path: the file.

  Returns:
    Values [T, 6] and class of each case.

  Raises:
    DataError: the file is unreadable, or a case is not six axes of one length
      and a class.
  """
  head, mark, body = _text(path).partition('@data')
  lines = body.strip().splitlines()
  if not mark or not lines:
    raise DataError(path, '@data', 'cases after it', 'none')
  cases = []
  for i, line in enumerate(lines):
    field = f'line {head.count(chr(10)) + i + 2}'
    *axes, label = line.split(':')
    if len(axes) != len(imu_recordings.CHANNELS):
      raise DataError(
          path, field, '6 axes and a class, parted by colons',
          f'{len(axes)} axes'
      )
    columns = [files.numbers(path, field, axis.split(',')) for axis in axes]
    if len({len(column) for column in columns}) > 1:
      raise DataError(
          path, field, 'axes of one length',
          f'{[len(column) for column in columns]}'
      )
    cases.append((np.stack(columns, 1), label.strip()))
  return cases


def _path(place: pathlib.Path, part: str) -> pathlib.Path:
  for suffix in ('.ts', '.ts.gz'):
    if (place / f'BasicMotions_{part}{suffix}').is_file():
      return place / f'BasicMotions_{part}{suffix}'
  raise DataError(
      place, 'folder', f'BasicMotions_{part}.ts or .ts.gz', 'no such file'
  )


def _text(path: pathlib.Path) -> str:
  data = files.read_bytes(path)
  if data[:2] == b'\x1f\x8b':
    try:
      data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
      raise DataError(
          path, 'compression', 'a whole gzip archive', str(error)
      ) from error
  return data.decode('utf-8', errors='replace')
