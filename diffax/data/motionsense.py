"""MotionSense: 24 people with a telephone in the front trouser pocket, 50 Hz.

Total acceleration (g) and angular rate (rad/s) in the axes of the telephone.
Each activity was recorded two or three times:

  {code}_{trial}/sub_{person}.csv.gz     wlk_7/sub_1.csv.gz

Walking, jogging and stairs are the default, for sitting and standing are told
apart by the posture alone. A trial of one person that is the copy of another
(sitting of person 1) counts once.

References:
  Malekzadeh, Clegg, Cavallaro, Haddadi, "Mobile Sensor Data Anonymization",
  IoTDI 2019.
"""

from collections.abc import Mapping, Sequence
import pathlib
from typing import Any

from diffax.data import imu
from diffax.data import imu_recordings
from diffax.data.base import Source
from diffax.errors import DataError

CLASSES: Mapping[str, str] = {
    'walking': 'wlk',
    'jogging': 'jog',
    'upstairs': 'ups',
    'downstairs': 'dws',
    'sitting': 'sit',
    'standing': 'std',
}
"""Code of a folder by class."""
COLUMNS = ('acc_x_g', 'acc_y_g', 'acc_z_g', 'gyr_x_rads', 'gyr_y_rads',
           'gyr_z_rads')
FACTS = imu_recordings.Facts('motionsense', 50.0, 'g', 'rad/s')


def motionsense(
    *,
    seed: int,
    batch_size: int,
    root: str | None = None,
    classes: Sequence[str] = ('walking', 'jogging', 'upstairs', 'downstairs'),
    subjects: Sequence[int] | None = None,
    fold: int = 0,
    length: int = 160,
    shift: int = 40,
    picks: int = 2,
    pick_seed: int = 0,
    val_share: float = 0.2,
    per_class: bool = False,
    augment: Mapping[str, Any] | None = None,
) -> Source:
  """Build the source of a telephone in the pocket.

  Args:
    seed: of the order of the batches.
    batch_size: of the global batch.
    root: folder of data sets; by default `$DIFFAX_DATA`.
    classes: keys of `CLASSES`.
    subjects: numbers of the people to use; all by default.
    fold: which of them is held out, in the order of their numbers.
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
  imu.check_classes(classes, tuple(CLASSES), 'motionsense')
  return imu.source(
      read(root, classes, subjects), FACTS, seed=seed, batch_size=batch_size,
      classes=classes, fold=fold, length=length, shift=shift, picks=picks,
      pick_seed=pick_seed, val_share=val_share, per_class=per_class,
      augment=augment
  )


def read(
    root: str | None = None, classes: Sequence[str] = tuple(CLASSES),
    subjects: Sequence[int] | None = None
) -> imu_recordings.Reading:
  """Read the trials of some classes; see `motionsense`."""
  place = imu_recordings.data_folder(
      root, 'motionsense', '*_*/sub_*.csv*',
      'Get it from github.com/mmalekzadeh/motion-sense'
  )
  found = paths(place, classes, subjects)
  return imu_recordings.cached(
      'motionsense', {'classes': sorted(classes)}, [path for path, _ in found],
      lambda: imu_recordings.prepare(
          [recording(path, label) for path, label in found], FACTS)
  )


def paths(
    place: pathlib.Path, classes: Sequence[str],
    subjects: Sequence[int] | None = None
) -> list[tuple[pathlib.Path, str]]:
  """List the files of classes and people, with the class of each.

  Raises:
    DataError: a person or class has no file at all.
  """
  found = []
  for label in classes:
    folders = sorted(
        place.glob(f'{CLASSES[label]}_*'),
        key=lambda path: int(path.name.partition('_')[2])
    )
    files = [p for f in folders for p in sorted(f.glob('sub_*.csv*'))]
    if not files:
      raise DataError(
          place, f'class {label}',
          f'files like {CLASSES[label]}_7/sub_1.csv.gz', 'none'
      )
    found += [(path, label) for path in files]
  if subjects is None:
    return found
  for number in subjects:
    if not any(person(path) == str(number) for path, _ in found):
      raise DataError(
          place, f'data.subjects, {number}', 'the number of a person with a '
          'file', 'none like it'
      )
  wanted = {str(number) for number in subjects}
  return [(path, label) for path, label in found if person(path) in wanted]


def person(path: pathlib.Path) -> str:
  """Return the number of the person in the name of a file."""
  return path.name.partition('.')[0].removeprefix('sub_')


def recording(path: pathlib.Path, label: str) -> imu_recordings.Recording:
  """Read one trial; see `imu_recordings.read_table` for what it raises."""
  name = f'{path.parent.name}/{path.name.partition(".")[0]}'
  return imu_recordings.Recording(
      name, imu_recordings.read_table(path, COLUMNS), person(path), label,
      str(path)
  )
