"""Daily and Sports Activities: eight people, a sensor at the right knee, 25 Hz.

Five minutes of each activity, which the authors stored as 60 pieces of 5 s.
Here one table holds the acceleration (m/s^2) and the angular rate (rad/s) of
the unit on the right leg:

  a{activity}/p{person}_RL.csv.gz     a10/p1_RL.csv.gz, with a column `seg`

It has every class of the published protocol (`ACTIVITIES`), some in several
forms. The default takes those that are nearest to a gymnasium's: walking on a
level treadmill (10; others 9 outdoors, 11 uphill), running on a treadmill
(12), jumping (18), and an upright exercise bicycle (16; 15 is a recumbent
one). A class may join several forms, e.g. `{'walking': (9, 10, 11)}`.

Do the pieces follow each other without a gap? We measured how badly a sample
is foreseen by a parabola through its neighbours,

  (1)  e_n = |v_{n+2} - 3 v_{n+1} + 3 v_n - v_{n-1}|,   v in deviations,

where it spans a join, against where it does not (rank-sum test). Walking,
running and cycling do in all persons: no p below 0.005, and ratios of the
means of 0.75 to 1.4. Stairs do not, but for person 5, nor jumping of persons 3
and 6, nor the stepper of person 3 (ratios of 1.3 to 3). The copy below shows
it directly: it runs on across every join, ten samples off. So the default
`tested` joins the pieces of a file unless p < 0.001 (`CONTINUOUS`); `joined`
always does, `separate` never. A window of 3.2 s fits into a piece three times,
into five minutes 372 times, so separate pieces halve the windows.

Two faults of the published files are found and cut out (`imu_recordings`):
rowing and jumping of person 8 are those of person 4, ten samples later, so
person 8 lacks these classes; and some pieces (stairs of persons 1 and 6,
jumping of person 6) end in a second of zeros, or repeat each other.

References:
  Altun, Barshan, Tuncel, "Comparative study on classifying human activities
  with miniature inertial and magnetic sensors", Pattern Recognition 43, 2010
  (UCI 256, CC BY 4.0).
"""

from collections.abc import Mapping, Sequence
import dataclasses
import pathlib
from typing import Any

import numpy as np

from diffax.data import imu
from diffax.data import imu_recordings
from diffax.data.base import Source
from diffax.errors import DataError
from diffax.errors import UserError

ACTIVITIES: Mapping[str, tuple[int, ...]] = {
    'walking': (10,),
    'running': (12,),
    'jumping': (18,),
    'cycling': (16,),
}
"""Numbers of the published activities by class."""
COLUMNS = ('acc_x_ms2', 'acc_y_ms2', 'acc_z_ms2', 'gyr_x_rads', 'gyr_y_rads',
           'gyr_z_rads')
SEGMENTS = ('tested', 'joined', 'separate')
CONTINUOUS = 0.001
"""The p below which pieces are held to be apart."""
FACTS = imu_recordings.Facts('dsads', 25.0, 'm/s^2', 'rad/s')


def dsads(
    *,
    seed: int,
    batch_size: int,
    root: str | None = None,
    activities: Mapping[str, Sequence[int]] = ACTIVITIES,
    segments: str = 'tested',
    fold: int = 0,
    length: int = 160,
    shift: int = 40,
    picks: int = 2,
    pick_seed: int = 0,
    val_share: float = 0.2,
    per_class: bool = False,
    augment: Mapping[str, Any] | None = None,
) -> Source:
  """Build the source of a sensor at the knee.

  Args:
    seed: of the order of the batches.
    batch_size: of the global batch.
    root: folder of data sets; by default `$DIFFAX_DATA`.
    activities: numbers of the published activities by name of a class.
    segments: one of `SEGMENTS`; see the module docstring.
    fold: which of the eight people is held out.
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
  return imu.source(
      read(root, activities, segments), FACTS, seed=seed,
      batch_size=batch_size, classes=tuple(activities), fold=fold,
      length=length, shift=shift, picks=picks, pick_seed=pick_seed,
      val_share=val_share, per_class=per_class,
      augment=augment
  )


def read(
    root: str | None = None,
    activities: Mapping[str, Sequence[int]] = ACTIVITIES,
    segments: str = 'tested',
) -> imu_recordings.Reading:
  """Read some activities; see `dsads`."""
  if segments not in SEGMENTS:
    raise UserError(
        f'data.segments: expected one of {SEGMENTS}, found {segments!r}.'
    )
  place = imu_recordings.data_folder(
      root, 'dsads', 'a*/p*_RL.csv*',
      'Get it from archive.ics.uci.edu/dataset/256'
  )
  found = paths(place, activities)
  marks = {'segments': segments, 'classes': {
      name: list(numbers) for name, numbers in activities.items()}}
  return imu_recordings.cached(
      'dsads', marks, [path for path, _ in found],
      lambda: _read(found, segments)
  )


def paths(
    place: pathlib.Path, activities: Mapping[str, Sequence[int]]
) -> list[tuple[pathlib.Path, str]]:
  """List the files of activities, with the class of each.

  Raises:
    DataError: an activity has no file.
    UserError: an activity belongs to two classes.
  """
  numbers = [n for each in activities.values() for n in each]
  if len(set(numbers)) < len(numbers):
    raise UserError(
        f'data.activities: expected each number once, found {numbers}.'
    )
  found = []
  for label, each in activities.items():
    for number in each:
      files = sorted((place / f'a{number:02d}').glob('p*_RL.csv*'))
      if not files:
        there = sorted(path.name[1:] for path in place.glob('a*'))
        raise DataError(
            place, f'data.activities, {label}, {number}',
            f'files a{number:02d}/p1_RL.csv.gz and so on', 'none',
            f'There are the activities {", ".join(there)}'
        )
      found += [(path, label) for path in files]
  return found


def recording(path: pathlib.Path, label: str) -> tuple[
    imu_recordings.Recording, list[tuple[int, int]]
]:
  """Read one file.

  Args:
    path: the table.
    label: its class.

  Returns:
    The whole recording, and the bounds of its pieces.

  Raises:
    DataError: see `imu_recordings.read_table`.
  """
  table = imu_recordings.read_table(path, ('seg', *COLUMNS))
  subject = path.name.partition('_')[0]
  whole = imu_recordings.Recording(
      f'{path.parent.name}/{subject}', table[:, 1:], subject, label, str(path)
  )
  return whole, imu_recordings.cut([table[:, 0]])


def join_test(
    values: np.ndarray, pieces: Sequence[tuple[int, int]]
) -> tuple[float, float]:
  """Compare the steps across joins with the others (eq. 1).

  Args:
    values: [T, 6].
    pieces: bounds, in order.

  Returns:
    Ratio of the mean at joins to that elsewhere, and the p of the one-sided
    rank-sum test that it is no larger; (1, 1) without joins.
  """
  scaled = values / np.maximum(values.std(0), 1e-12)
  error = np.linalg.norm(np.diff(scaled, 3, axis=0), axis=1)
  joins = np.array([a for a, _ in pieces[1:]], int)
  joins = joins[(joins >= 2) & (joins < len(values) - 1)]
  if not joins.size:
    return 1.0, 1.0
  # Error n spans samples n .. n + 3: the join is in the middle of n + 1, n + 2.
  across = np.zeros(len(error), bool)
  across[joins - 2] = True
  near = np.isin(
      np.arange(len(error)), (joins[:, None] + np.arange(-4, 1)).ravel()
  )
  # It takes half a second to import, and is needed once per store.
  from scipy import stats
  test = stats.mannwhitneyu(
      error[across], error[~near], alternative='greater')
  return float(error[across].mean() / error[~near].mean()), float(test.pvalue)


def _read(
    found: Sequence[tuple[pathlib.Path, str]], segments: str
) -> imu_recordings.Reading:
  recordings, notes = [], []
  for path, label in found:
    whole, pieces = recording(path, label)
    ratio, p = join_test(whole.values, pieces)
    apart = segments == 'separate'
    if segments == 'tested' and p < CONTINUOUS:
      apart = True
      notes.append(
          f'{path}: {whole.name}: {len(pieces)} pieces kept apart; steps at '
          f'their joins are {ratio:.2f} times the others (p = {p:.1g})'
      )
    recordings += [
        dataclasses.replace(
            whole, name=f'{whole.name}/{i + 1}', values=whole.values[a:b])
        for i, (a, b) in enumerate(pieces)
    ] if apart else [whole]
  return imu_recordings.prepare(recordings, FACTS, notes)
