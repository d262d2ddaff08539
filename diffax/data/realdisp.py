"""REALDISP: 17 people in a gymnasium, nine sensors, 33 activities, 50 Hz.

The published files, one per person and placement of the sensors:

  subject{1..17}_{ideal,self,mutualN}.log

A line has 120 numbers, separated by tabs, and there is no header:

  0, 1       seconds and microseconds
  2 + 13 s   sensor s of `SENSORS`: acceleration x y z (m/s^2), angular rate
             x y z (rad/s), magnetic field x y z, quaternion
  119        activity, 0 for none

so the right thigh, s = 6, has its acceleration in columns 80-82 and its
angular rate in 83-85. A recording is a stretch of one activity without a gap
of more than three samples. We follow Oppel and Munz in the sensor, the
placement, the four activities and the twelve people (the others lack cycling).

References:
  Banos, Toth, Damas, Pomares, Rojas, "Dealing with the effects of sensor
  displacement in wearable activity recognition", Sensors 14, 2014 (UCI 305).
  Oppel, Munz, "IMUDiffusion", arXiv 2411.02954.
"""

from collections.abc import Mapping, Sequence
import operator
import pathlib
from typing import Any

import numpy as np

from diffax.data import imu
from diffax.data import imu_recordings
from diffax.data.base import Source
from diffax.errors import DataError
from diffax.errors import UserError

SENSORS = ('RLA', 'RUA', 'BACK', 'LUA', 'LLA', 'RC', 'RT', 'LT', 'LC')
"""Right lower arm, right upper arm, back, ..., right calf and thigh, left."""
COLUMNS = 120
LABELS: Mapping[str, int] = {
    'walking': 1,
    'running': 3,
    'jump_up': 4,
    'cycling': 33,
}
"""Numbers of the activities by class."""
PEOPLE = (1, 2, 3, 5, 8, 9, 10, 11, 12, 13, 14, 16)
RATE = 50.0
TIMES = ('check', 'ignore')

_PER_SENSOR = 13


def realdisp(
    *,
    seed: int,
    batch_size: int,
    root: str | None = None,
    labels: Mapping[str, int] = LABELS,
    sensor: str = 'RT',
    placement: str = 'ideal',
    subjects: Sequence[int] = PEOPLE,
    times: str = 'check',
    acc_unit: str = 'm/s^2',
    gyr_unit: str = 'rad/s',
    fold: int = 0,
    length: int = 160,
    shift: int = 40,
    picks: int = 2,
    pick_seed: int = 0,
    val_share: float = 0.2,
    per_class: bool = False,
    augment: Mapping[str, Any] | None = None,
) -> Source:
  """Build the source of people in a gymnasium.

  Args:
    seed: of the order of the batches.
    batch_size: of the global batch.
    root: folder of data sets; by default `$DIFFAX_DATA`.
    labels: number of the activity by name of a class.
    sensor: one of `SENSORS`.
    placement: `ideal`, `self` or `mutual4` and so on, as in the file names.
    subjects: numbers of the people.
    times: `check` cuts at gaps of the clock; `ignore` takes every line for
      the next sample, for the files whose clock is zero.
    acc_unit: unit of the acceleration; it is checked.
    gyr_unit: unit of the angular rate; it is checked.
    fold: which person is held out, in the order of their numbers.
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
  facts = imu_recordings.Facts('realdisp', RATE, acc_unit, gyr_unit)
  reading = read(root, facts, labels, sensor, placement, subjects, times)
  return imu.source(
      reading, facts, seed=seed, batch_size=batch_size, classes=tuple(labels),
      fold=fold, length=length, shift=shift, picks=picks, pick_seed=pick_seed,
      val_share=val_share, per_class=per_class,
      augment=augment
  )


def read(
    root: str | None, facts: imu_recordings.Facts, labels: Mapping[str, int],
    sensor: str, placement: str, subjects: Sequence[int], times: str
) -> imu_recordings.Reading:
  """Read the activities of some people; see `realdisp`."""
  for value, name, known in (
      (sensor, 'sensor', SENSORS), (times, 'times', TIMES)
  ):
    if value not in known:
      raise UserError(f'data.{name}: expected one of {known}, found {value!r}.')
  imu_recordings.check_facts(facts)
  place = imu_recordings.data_folder(
      root, 'realdisp', f'subject*_{placement}.log',
      'Get it from archive.ics.uci.edu/dataset/305, without registration'
  )
  paths = [place / f'subject{n}_{placement}.log' for n in sorted(subjects)]
  marks = {'labels': dict(labels), 'sensor': sensor, 'times': times,
           'units': [facts.acc, facts.gyr]}

  def work() -> imu_recordings.Reading:
    found = [recordings(path, labels, sensor, times) for path in paths]
    return imu_recordings.prepare(
        [r for each, _ in found for r in each], facts,
        [note for _, notes in found for note in notes]
    )

  return imu_recordings.cached('realdisp', marks, paths, work)


def columns(sensor: str) -> tuple[int, ...]:
  """Return the columns of the six axes of a sensor."""
  first = 2 + _PER_SENSOR * SENSORS.index(sensor)
  return tuple(range(first, first + 6))


def recordings(
    path: pathlib.Path, labels: Mapping[str, int], sensor: str, times: str
) -> tuple[list[imu_recordings.Recording], list[str]]:
  """Read a file and cut it where the activity or the clock changes.

  Args:
    path: the file.
    labels: number of the activity by class.
    sensor: one of `SENSORS`.
    times: see `realdisp`.

  Returns:
    The recordings, and notes on gaps.

  Raises:
    DataError: the file is broken, its clock is zero or of another rate, or it
      has none of the activities.
  """
  rows = numbers(path, (0, 1, *columns(sensor), COLUMNS - 1))
  clock = None
  if times == 'check':
    clock = rows[:, 0] + 1e-6 * rows[:, 1]
    _check_clock(path, clock)
  label = rows[:, -1].astype(int)
  names = {number: name for name, number in labels.items()}
  stretches = imu_recordings.cut([label], clock, RATE)
  changes = imu_recordings.cut([label])
  subject = path.name.partition('_')[0].removeprefix('subject')
  found = [
      imu_recordings.Recording(
          f'{path.stem}/{names[label[a]]}@{a}', rows[a:b, 2:8], subject,
          names[label[a]], str(path)
      )
      for a, b in stretches if label[a] in names
  ]
  if not found:
    raise DataError(
        path, f'column {COLUMNS - 1}, activity', f'some of {sorted(names)}',
        f'{sorted(set(label.tolist()))}'
    )
  gaps = len(stretches) - len(changes)
  return found, [f'{path}: cut at {gaps} gaps of the clock'] if gaps else []


def numbers(path: pathlib.Path, wanted: Sequence[int]) -> np.ndarray:
  """Read columns of a file.

  Args:
    path: the file.
    wanted: which columns.

  Returns:
    [T, len(wanted)] float64; NaN is left for whoever uses the line.

  Raises:
    DataError: the file is unreadable or empty, or a line has another width or
      a word.
  """
  choose = operator.itemgetter(*wanted)
  rows, line = [], 0
  try:
    with path.open(encoding='utf-8', errors='replace') as file:
      for line, text in enumerate(file, 1):
        cells = text.split()
        if len(cells) != COLUMNS:
          raise DataError(
              path, f'line {line}', f'{COLUMNS} numbers', f'{len(cells)}'
          )
        rows.append([float(cell) for cell in choose(cells)])
  except OSError as error:
    raise DataError(
        path, 'file', 'a readable file', error.strerror or str(error)
    ) from error
  except ValueError as error:
    if isinstance(error, DataError):
      raise
    raise DataError(path, f'line {line}', 'numbers', str(error)) from error
  if not rows:
    raise DataError(path, 'file', 'lines of numbers', 'an empty file')
  return np.array(rows)


def _check_clock(path: pathlib.Path, clock: np.ndarray) -> None:
  steps = np.diff(clock)
  if not steps.size:
    return
  if not clock.any():
    raise DataError(
        path, 'columns 0 and 1, time', 'seconds and microseconds', 'only zeros',
        "Gaps cannot be seen; leave the person out of data.subjects, or set "
        "data.times to 'ignore'"
    )
  usual = float(np.median(steps))
  if abs(usual * RATE - 1) > 0.1:
    raise DataError(
        path, 'columns 0 and 1, time', f'steps of {1 / RATE:g} s',
        f'steps of {usual:.4g} s'
    )
