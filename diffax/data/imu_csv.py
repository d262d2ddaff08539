"""Inertial recordings of the user's own: a folder of tables.

Every table has a line of names and a sample per line, separated by commas,
plain or gz. The config says the rest: which columns are the six axes, in which
units, how fast they were sampled, and where person and activity are written,
in a column or in the path of the file. For files like `anna/walk_2.csv`:

  data.columns = ('ax', 'ay', 'az', 'gx', 'gy', 'gz')
  data.acc_unit, data.gyr_unit, data.rate = 'g', 'deg/s', 100.0
  data.pattern = r'(?P<subject>\\w+)/(?P<label>[a-z]+)_'

A recording ends where person or activity change, or the clock jumps by more
than `max_gap` samples.
"""

from collections.abc import Mapping, Sequence
import pathlib
import re
from typing import Any

import numpy as np

from diffax.data import imu
from diffax.data import imu_recordings
from diffax.data import tables
from diffax.data.base import Source
from diffax.errors import DataError
from diffax.errors import UserError

TIME_UNITS = tables.TIME_UNITS
FIELDS = ('subject', 'label')


def imu_csv(
    *,
    seed: int,
    batch_size: int,
    root: str | None = None,
    columns: Sequence[str] = imu_recordings.CHANNELS,
    acc_unit: str = 'g',
    gyr_unit: str = 'rad/s',
    gravity: bool = True,
    rate: float | None = None,
    time: str | None = None,
    time_unit: str = 's',
    max_gap: float = 3.0,
    pattern: str | None = None,
    subject: str | None = None,
    label: str | None = None,
    labels: Mapping[str, str] | None = None,
    classes: Sequence[str] | None = None,
    glob: str = '**/*.csv*',
    fold: int = 0,
    length: int = 160,
    shift: int = 40,
    picks: int = 2,
    pick_seed: int = 0,
    val_share: float = 0.2,
    per_class: bool = False,
    augment: Mapping[str, Any] | None = None,
) -> Source:
  """Build the source of a folder of tables.

  Args:
    seed: of the order of the batches.
    batch_size: of the global batch.
    root: the folder.
    columns: names of the columns of acceleration x, y, z and angular rate
      x, y, z.
    acc_unit: a key of `imu_recordings.ACC_UNITS`; it is checked.
    gyr_unit: a key of `imu_recordings.GYR_UNITS`; it is checked.
    gravity: whether the acceleration contains gravity.
    rate: samples per second; with None, of the clock in the column `time`.
    time: column of the clock, if there is one.
    time_unit: of the clock, a key of `TIME_UNITS`.
    max_gap: samples that a step of the clock may take.
    pattern: regular expression with the groups `subject`, `label` or both,
      searched in the path of a file below the root, with `/` between folders.
    subject: column of the person, unless the pattern has it.
    label: column of the activity, unless the pattern has it.
    labels: names of classes by what the files call them; None takes these.
    classes: which classes, in the order of their numbers; all if None.
    glob: which files.
    fold: which person is held out, in the order of their names.
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
    DataError: a file is missing or broken, or does not fit the settings.
  """
  _check_columns(columns, rate, time, time_unit)
  groups = _groups(pattern)
  for field, column in (('subject', subject), ('label', label)):
    if (column is None) == (field not in groups):
      raise UserError(
          f'data.{field}: expected a column, or a group (?P<{field}>...) in '
          f'data.pattern, and not both, found {column!r} and {pattern!r}.'
      )
  place, paths = _paths(root, glob)
  clock = (time, TIME_UNITS[time_unit])
  if rate is None:
    rate = _rate(paths[0], *clock)
  facts = imu_recordings.Facts('imu_csv', rate, acc_unit, gyr_unit, gravity)
  imu_recordings.check_facts(facts)
  marks = {'root': str(place.resolve()), 'columns': list(columns),
           'facts': [rate, acc_unit, gyr_unit, gravity], 'clock': clock,
           'max_gap': max_gap, 'who': [pattern, subject, label],
           'labels': dict(labels or {})}

  def work() -> imu_recordings.Reading:
    found = []
    for path in paths:
      found += recordings(
          path, path.relative_to(place).as_posix(), columns,
          {'subject': subject, 'label': label}, pattern, labels or {}, *clock,
          facts.rate, max_gap
      )
    return imu_recordings.prepare(found, facts)

  reading = imu_recordings.cached('imu_csv', marks, paths, work)
  known = sorted({r.label for r in reading.recordings})
  if classes is not None:
    imu.check_classes(classes, known, str(place))
  return imu.source(
      reading, facts, seed=seed, batch_size=batch_size,
      classes=known if classes is None else classes, fold=fold, length=length,
      shift=shift, picks=picks, pick_seed=pick_seed, val_share=val_share,
      per_class=per_class,
      augment=augment
  )


def recordings(
    path: pathlib.Path, name: str, columns: Sequence[str],
    fields: Mapping[str, str | None], pattern: str | None,
    labels: Mapping[str, str], time: str | None, second: float, rate: float,
    max_gap: float
) -> list[imu_recordings.Recording]:
  """Read a table and cut it where a person, an activity or the clock changes.

  Args:
    path: the table.
    name: its path below the root.
    columns: of the six axes.
    fields: column of `subject` and `label`, None where the pattern has it.
    pattern: see `imu_csv`.
    labels: see `imu_csv`.
    time: column of the clock, or None.
    second: length of a unit of the clock, seconds.
    rate: samples per second.
    max_gap: see `imu_csv`.

  Returns:
    The recordings.

  Raises:
    DataError: a column is missing, a cell is no number, the name does not
      match the pattern, or the clock has another rate.
  """
  wanted = [*columns, time] if time else list(columns)
  values = imu_recordings.read_table(path, wanted)
  clock = None
  if time:
    clock = values[:, -1] * second
    found = _clock_rate(path, time, clock)
    if abs(found / rate - 1) > 0.02:
      raise DataError(
          path, f'{time}, rate', f'{rate:g} Hz', f'{found:.4g} Hz',
          'Set data.rate or data.time_unit'
      )
  said = _named(path, name, pattern)
  read = {f: text_column(path, c) for f, c in fields.items() if c}
  for words in read.values():
    if len(words) != len(values):
      raise DataError(
          path, 'rows', f'{len(words)}, each with numbers', f'{len(values)}',
          'Remove lines that begin with #'
      )
  keys = {
      f: read[f] if f in read else np.full(len(values), said[f]) for f in FIELDS
  }
  cuts = imu_recordings.cut(list(keys.values()), clock, rate, max_gap)
  return [
      imu_recordings.Recording(
          f'{name}@{a}' if len(cuts) > 1 else name, values[a:b, :6],
          str(keys['subject'][a]),
          labels.get(str(keys['label'][a]), str(keys['label'][a])), str(path)
      )
      for a, b in cuts
  ]


def text_column(path: pathlib.Path, column: str) -> np.ndarray:
  """Read a column of words, [T].

  Raises:
    DataError: there is no such column, or the table is broken.
  """
  table = tables.read(path)
  names = table.header
  if column not in names:
    raise DataError(
        path, f'column {column}', 'a column of this name', ', '.join(names),
        tables.nearest(column, names)
    )
  place = names.index(column)
  return np.array([row[place].strip() for row in table.rows])


def _check_columns(
    columns: Sequence[str], rate: float | None, time: str | None,
    time_unit: str
) -> None:
  if len(columns) != 6 or len(set(columns)) != 6:
    raise UserError(
        'data.columns: expected six different names, of acceleration x, y, z '
        f'and angular rate x, y, z, found {tuple(columns)}.'
    )
  if rate is None and time is None:
    raise UserError(
        'data.rate, data.time: expected samples per second or the column of a '
        'clock, found neither.'
    )
  if time_unit not in TIME_UNITS:
    raise UserError(
        f'data.time_unit: expected one of {sorted(TIME_UNITS)}, found '
        f'{time_unit!r}.'
    )


def _groups(pattern: str | None) -> set[str]:
  try:
    groups = set(re.compile(pattern or '').groupindex)
  except re.error as error:
    raise UserError(
        f'data.pattern: expected a regular expression, found {pattern!r}: '
        f'{error}.'
    ) from error
  if not groups <= set(FIELDS):
    raise UserError(
        f'data.pattern: expected groups named {FIELDS}, found {sorted(groups)}.'
    )
  return groups


def _paths(
    root: str | None, glob: str
) -> tuple[pathlib.Path, list[pathlib.Path]]:
  if root is None:
    raise UserError('data.root: expected the folder of the tables, found none.')
  place = pathlib.Path(root).expanduser()
  paths = sorted(path for path in place.glob(glob) if path.is_file())
  if not paths:
    raise DataError(
        place, 'folder', f'files like {glob}', 'none', 'Set data.root or '
        'data.glob'
    )
  return place, paths


def _named(
    path: pathlib.Path, name: str, pattern: str | None
) -> dict[str, str]:
  if pattern is None:
    return {}
  found = re.search(pattern, name)
  if not found:
    raise DataError(
        path, 'name', f'a match of data.pattern {pattern!r}', repr(name),
        'Leave the file out by data.glob, or change the pattern'
    )
  return found.groupdict()


def _rate(path: pathlib.Path, time: str | None, second: float) -> float:
  # Only reached with a clock; see _check_columns.
  clock = imu_recordings.read_table(path, [str(time)])[:, 0] * second
  found = _clock_rate(path, str(time), clock)
  if abs(found / round(found) - 1) > 0.01 if round(found) else True:
    raise DataError(
        path, f'{time}, rate', 'about a whole number of samples per second',
        f'{found:.4g}', 'Set data.rate or data.time_unit'
    )
  return float(round(found))


def _clock_rate(path: pathlib.Path, time: str, clock: np.ndarray) -> float:
  steps = np.diff(clock)
  usual = float(np.median(steps)) if steps.size else 0.0
  if not usual > 0:
    raise DataError(path, time, 'a clock that runs', f'steps of {usual:g} s')
  return 1 / usual
