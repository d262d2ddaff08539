"""Recognition from inertial recordings: windows, one person held out, picks.

A reader yields recordings of T samples at 50 Hz, each of one person doing one
thing (`imu_recordings`). Windows of L samples start every S samples and never
cross recordings, of which each has

  (1)  N = floor((T - L) / S) + 1,   none if T < L.

Fold i holds out all windows of person i: `test`. Of each other person and
class, the N windows in the order of time are parted once,

  (2)  val   the last round(v N)
       full  the earlier ones that share no sample with `val`,

so that up to ceil(L / S) - 1 windows at the border are in neither. From `full`
come the picks, `train`: windows drawn at random of which no two share a
sample, `picks` per person and class. A person's picks depend on the person,
the class and `pick_seed` alone, so they are the same in every fold.

Each axis is standardised with the mean and deviation over all windows (picked,
full, val or between) of all classes of the training persons of the fold,

  (3)  z = (v - mean) / std,   v = mean + std z;

a sample counts as often as windows hold it. Nothing of the person held out
enters a pick, a mean or a deviation.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import re
from typing import Any

import numpy as np
import rich
from rich import table as rich_table

from diffax.data import augment as augmentation
from diffax.data import imu_recordings
from diffax.data import transforms
from diffax.data.base import Source
from diffax.data.imu_recordings import CHANNELS
from diffax.data.imu_recordings import RATE
from diffax.data.imu_recordings import SENSORS
from diffax.data.series import window_starts
from diffax.errors import DataError
from diffax.errors import UserError
from diffax.typing import Batch

SPLITS = ('train', 'full', 'val', 'test')


@dataclasses.dataclass(frozen=True)
class Windows:
  """Where windows lie.

  Attributes:
    recording: [N] index.
    start: [N] first sample in the recording.
    label: [N] index into the classes.
    subject: [N] index into the subjects.
  """

  recording: np.ndarray
  start: np.ndarray
  label: np.ndarray
  subject: np.ndarray

  def take(self, rows: np.ndarray) -> 'Windows':
    """Return some of them."""
    return Windows(
        self.recording[rows], self.start[rows], self.label[rows],
        self.subject[rows]
    )


def source(
    reading: imu_recordings.Reading,
    facts: imu_recordings.Facts,
    *,
    seed: int,
    batch_size: int,
    classes: Sequence[str],
    fold: int = 0,
    length: int = 160,
    shift: int = 40,
    picks: int = 2,
    pick_seed: int = 0,
    val_share: float = 0.2,
    per_class: bool = False,
    augment: Mapping[str, Any] | None = None,
) -> Source:
  """Build the source of a fold.

  Args:
    reading: recordings at 50 Hz.
    facts: of the data set.
    seed: of the order of the batches.
    batch_size: of the global batch.
    classes: names of labels, in the order of their numbers; recordings with
      another label are left out.
    fold: which person is held out.
    length: L, samples of a window.
    shift: S, samples between the starts of windows.
    picks: windows per class and training person in `train`.
    pick_seed: of the choice of these; not the training seed, so that runs
      compare on the same windows.
    val_share: v, of the windows of the training persons.
    per_class: draw the same number of windows of every class into a batch,
      sorted by class.
    augment: arguments of `widen`: batches come from the picks and augmented
      copies of them; `segments('train')` stays the picks.

  Returns:
    A source. `train(step)` gives `window` [B, L, 6] float32, standardised, and
    `label` [B] int32, drawn from the picks. `segments(split)` for a split of
    `SPLITS` gives `window` [N, L, 6], and `label`, `subject`, `recording`
    (indices into `info`) and `start` (at 50 Hz), each [N] int32. `info` has
    `name, rate, length, shift, channels, sensors, units, gravity, classes,
    subjects, held_out` (`persons` or `random groups`), `fold, test_subject,
    mean` [6]`, std` [6]`, epoch_size` (the number of picks), `recordings`
    (names), `picks` (recording and start of each), `picked` (what
    batches are drawn from, for models that take its moments), `windows` and
    `seconds` (of each person and class, [S, K]), `counts` (windows by split and
    class, [K]), `lacking` (pairs of a person and a class without a window) and
    `notes`.

  Raises:
    UserError: a setting is wrong.
    DataError: a class, the training persons or the person held out have no
      window, or an axis is constant.
  """
  _check_settings(batch_size, length, shift, picks, val_share, classes,
                  per_class)
  recordings = [r for r in reading.recordings if r.label in classes]
  short = [r for r in recordings if len(r.values) < length]
  _check_some(recordings, short, facts, classes, length)
  usable = {r.subject for r in recordings if len(r.values) >= length}
  subjects = tuple(sorted(usable, key=_natural))
  _check_fold(fold, subjects)
  windows = cut(recordings, classes, subjects, length, shift)
  parts = split(windows, fold, length, val_share, picks, [
      [imu_recordings.digest(f'{pick_seed}/{person}/{name}')
       for name in classes] for person in subjects
  ])
  _check_parts(parts, facts, classes, subjects[fold])
  mean, std = moments(
      recordings, windows.take(np.flatnonzero(windows.subject != fold)),
      length, facts
  )
  info = {
      'name': facts.name,
      'rate': RATE,
      'length': length,
      'shift': shift,
      'channels': CHANNELS,
      'sensors': dict(SENSORS),
      'units': {'acc': facts.acc, 'gyr': facts.gyr},
      'gravity': facts.gravity,
      'classes': tuple(classes),
      'subjects': subjects,
      'held_out': facts.subjects,
      'fold': fold,
      'test_subject': subjects[fold],
      'mean': mean,
      'std': std,
      'epoch_size': len(parts['train'].label),
      'recordings': tuple(r.name for r in recordings),
      'picks': np.stack([parts['train'].recording, parts['train'].start], 1),
      **_counts(recordings, windows, parts, classes, subjects),
      'notes': (*reading.notes, *_short_notes(short, length)),
  }
  settings = None if augment is None else _widening(augment, pick_seed)
  return _served(
      recordings, parts, info, seed, batch_size, per_class, settings
  )


def widen(
    picked: Batch, info: Mapping[str, Any], *, kinds: Sequence[str],
    copies: int = 20, share: float = 0.5, seed: int = 0,
    options: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, np.ndarray]:
  """Add augmented copies to the windows that a model learns from.

  So few windows show a sensor in as few positions; the model cannot know that
  others do not change what a person does, unless it sees them.

  Args:
    picked: `window` [N, L, 6] standardised, `label` [N].
    info: of the source.
    kinds: of `augment.AUGMENTATIONS`, but those that mix classes.
    copies: of each window.
    share: of the copies that each kind changes.
    seed: of all draws.
    options: of the kinds, by name.

  Returns:
    The picks, then their copies, N `copies` in all if classes have as many.

  Raises:
    UserError: a setting is wrong.
  """
  if 'mixup' in kinds:
    raise UserError(
        'data.augment.kinds: mixup gives windows of several classes, and the '
        'model learns one class each.'
    )
  if copies < 1 or not 0 <= share <= 1:
    raise UserError(
        'data.augment: expected copies >= 1 and a share in [0, 1], found '
        f'{copies} and {share}.'
    )
  most = np.bincount(picked['label']).max()
  made = augmentation.expand(
      picked['window'], picked['label'], kinds,
      augmentation.Signals.of(info), classes=len(info['classes']),
      per_class=copies * int(most), seed=seed, share=share, options=options
  )
  label = made.target.argmax(1).astype(np.int32)
  return {
      'window': np.concatenate([picked['window'], made.x]),
      'label': np.concatenate([picked['label'], label]),
  }


def _widening(given: Mapping[str, Any], seed: int) -> dict[str, Any]:
  known = ('kinds', 'copies', 'share', 'options')
  for key in given:
    if key not in known:
      raise UserError(
          f'data.augment.{key}: expected one of {list(known)}.'
      )
  if not given.get('kinds'):
    raise UserError(
        'data.augment.kinds: expected some of '
        f'{list(augmentation.AUGMENTATIONS)}, found none.'
    )
  return {'seed': seed, **given}


def standardise(values: np.ndarray, info: Mapping[str, Any]) -> np.ndarray:
  """Apply Eq. 3 to values [..., 6] in the units of the files (float64)."""
  return (np.asarray(values, np.float64) - info['mean']) / info['std']


def restore(values: np.ndarray, info: Mapping[str, Any]) -> np.ndarray:
  """Undo `standardise`: values [..., 6] in `info['units']` (float64)."""
  return np.asarray(values, np.float64) * info['std'] + info['mean']


def cut(
    recordings: Sequence[imu_recordings.Recording], classes: Sequence[str],
    subjects: Sequence[str], length: int, shift: int
) -> Windows:
  """List all windows of recordings (eq. 1), in their order.

  Args:
    recordings: at one rate.
    classes: names that labels index.
    subjects: names that subjects index.
    length: L.
    shift: S.

  Returns:
    The windows.
  """
  starts = [window_starts(len(r.values), length, shift) for r in recordings]
  counts = [len(s) for s in starts]

  def each(values: Sequence[int]) -> np.ndarray:
    return np.repeat(np.asarray(values, np.int32), counts)

  return Windows(
      each(range(len(recordings))),
      np.concatenate(starts).astype(np.int32),
      each([classes.index(r.label) for r in recordings]),
      each([subjects.index(r.subject) if n else -1
            for r, n in zip(recordings, counts)]),
  )


def split(
    windows: Windows, fold: int, length: int, val_share: float, picks: int,
    pick_seeds: Sequence[Sequence[int]]
) -> dict[str, Windows]:
  """Part windows as in Eq. 2 and draw the picks.

  Args:
    windows: in the order of time within each person and class.
    fold: index of the person held out.
    length: L.
    val_share: v.
    picks: per class and training person.
    pick_seeds: by person and class.

  Returns:
    Windows by split.
  """
  rows: dict[str, list[np.ndarray]] = {'train': [], 'full': [], 'val': []}
  for label in range(len(pick_seeds[0])):
    for subject, seeds in enumerate(pick_seeds):
      mine = np.flatnonzero(
          (windows.label == label) & (windows.subject == subject)
      )
      if subject == fold or not mine.size:
        continue
      border = len(mine) - round(val_share * len(mine))
      early, late = mine[:border], mine[border:]
      if late.size:
        early = early[~_touch(windows, early, late[0], length)]
      rng = np.random.default_rng(seeds[label])
      rows['train'].append(draw(windows, early, picks, length, rng))
      rows['full'].append(early)
      rows['val'].append(late)
  test = np.flatnonzero(windows.subject == fold)
  return {
      **{name: windows.take(np.concatenate(found or [test[:0]]))
         for name, found in rows.items()},
      'test': windows.take(test),
  }


def draw(
    windows: Windows, rows: np.ndarray, count: int, length: int,
    rng: np.random.Generator
) -> np.ndarray:
  """Draw windows at random of which no two share a sample.

  Args:
    windows: all.
    rows: [N] of those to draw from, in the order of time.
    count: how many; fewer if there is no room for as many.
    length: L.
    rng: of the draw.

  Returns:
    [<= count] of the rows, in the order of time.
  """
  chosen: list[int] = []
  free = rows
  for left in reversed(range(min(count, _room(windows, rows, length)))):
    # A window in the middle of a short recording may leave no room for
    # another; take the first that does.
    for row in rng.permutation(free):
      rest = free[~_touch(windows, free, row, length)]
      if _room(windows, rest, length) >= left:
        chosen.append(int(row))
        free = rest
        break
  return np.sort(np.asarray(chosen, np.int64))


def moments(
    recordings: Sequence[imu_recordings.Recording], windows: Windows,
    length: int, facts: imu_recordings.Facts
) -> tuple[np.ndarray, np.ndarray]:
  """Return mean and deviation [6] over all samples of windows.

  Raises:
    DataError: an axis is constant.
  """
  values, weights = [], []
  for index in np.unique(windows.recording):
    found = recordings[index].values
    values.append(found)
    weights.append(_cover(
        windows.start[windows.recording == index], length, len(found)
    ))
  flat = np.concatenate(values).astype(np.float64)
  weight = np.concatenate(weights)
  mean = np.average(flat, axis=0, weights=weight)
  std = np.sqrt(np.average((flat - mean) ** 2, axis=0, weights=weight))
  constant = np.flatnonzero(std <= 1e-9 * np.abs(flat).max(0))
  if constant.size:
    axis = int(constant[0])
    raise DataError(
        facts.name, CHANNELS[axis], 'an axis that varies in the training '
        'windows', f'the constant {mean[axis]:g}'
    )
  return mean, std


def table(info: Mapping[str, Any]) -> rich_table.Table:
  """Return what was read as a table: seconds and windows of all persons.

  Args:
    info: of a source.

  Returns:
    A row per person and class sums below; a person without a class has a dash.
  """
  units = ', '.join(info['units'].values())
  result = rich_table.Table(
      title=f'{info["name"]}: {len(info["recordings"])} recordings, '
      f'{info["rate"]:g} Hz, {units}; seconds (windows of {info["length"]}), '
      f'{info["test_subject"]} held out'
  )
  result.add_column('person' if info['held_out'] == 'persons' else 'group')
  for name in info['classes']:
    result.add_column(name, justify='right')
  for name, seconds, windows in zip(
      (*info['subjects'], 'all'), _summed(info['seconds']),
      _summed(info['windows'])
  ):
    result.add_row(name, *(
        f'{s:.1f} ({n})' if n else '-' for s, n in zip(seconds, windows)
    ))
  for name in SPLITS:
    result.add_row(name, *(f'({n})' for n in info['counts'][name]))
  return result


def print_table(info: Mapping[str, Any]) -> None:
  """Print `table`, then what was left out and why."""
  rich.print(table(info))
  for subject, name in info['lacking']:
    rich.print(f'{subject} has no window of {name}')
  for note in info['notes']:
    rich.print(note)


def _short_notes(
    short: Sequence[imu_recordings.Recording], length: int
) -> list[str]:
  found: dict[str, list[int]] = {}
  for r in short:
    found.setdefault(f'{r.file}: {r.label}', []).append(len(r.values))
  return [
      f'{name}: {len(sizes)} of its recordings, {sum(sizes) / RATE:.1f} s in '
      f'all, are shorter than a window of {length / RATE:g} s'
      for name, sizes in found.items()
  ]


def _summed(values: np.ndarray) -> np.ndarray:
  return np.concatenate([values, values.sum(0, keepdims=True)])


def _natural(name: str) -> tuple[list[int | str], str]:
  # Person 10 comes after person 9; the name itself parts 1 from 01.
  pieces = re.split('([0-9]+)', name)
  return [int(p) if i % 2 else p for i, p in enumerate(pieces)], name


def _touch(
    windows: Windows, rows: np.ndarray, row: int, length: int
) -> np.ndarray:
  """Say which of the rows [N] share a sample with one."""
  return (windows.recording[rows] == windows.recording[row]) & (
      np.abs(windows.start[rows] - windows.start[row]) < length
  )


def _room(windows: Windows, rows: np.ndarray, length: int) -> int:
  """Count the most windows of which no two share a sample."""
  count, last, end = 0, -1, 0
  for recording, start in zip(windows.recording[rows], windows.start[rows]):
    if recording != last or start >= end:
      count, last, end = count + 1, recording, start + length
  return count


def _cover(starts: np.ndarray, length: int, samples: int) -> np.ndarray:
  # In how many windows each sample lies, [T].
  steps = np.zeros(samples + 1)
  np.add.at(steps, starts, 1)
  np.add.at(steps, starts + length, -1)
  return np.cumsum(steps)[:-1]


def _counts(
    recordings: Sequence[imu_recordings.Recording], windows: Windows,
    parts: Mapping[str, Windows], classes: Sequence[str],
    subjects: Sequence[str]
) -> dict[str, Any]:
  shape = (len(subjects), len(classes))
  count, seconds = np.zeros(shape, np.int64), np.zeros(shape)
  np.add.at(count, (windows.subject, windows.label), 1)
  for r in recordings:
    if r.subject in subjects:
      place = subjects.index(r.subject), classes.index(r.label)
      seconds[place] += len(r.values) / RATE
  return {
      'windows': count,
      'seconds': seconds,
      'counts': {
          name: np.bincount(part.label, minlength=len(classes))
          for name, part in parts.items()
      },
      'lacking': tuple(
          (subjects[s], classes[k]) for s, k in np.argwhere(count == 0)
      ),
  }


def _served(
    recordings: Sequence[imu_recordings.Recording],
    parts: Mapping[str, Windows], info: Mapping[str, Any], seed: int,
    batch_size: int, per_class: bool,
    augment: Mapping[str, Any] | None
) -> Source:
  """Answer batches and segments."""
  def segments(name: str) -> Batch:
    if name not in parts:
      raise UserError(
          f'split: expected one of {SPLITS}, found {name!r}.'
      )
    return _gather(recordings, parts[name], info)

  picked = segments('train')
  if augment is not None:
    picked = widen(picked, info, **augment)
  window, label = picked['window'], picked['label']
  groups = (
      [np.flatnonzero(label == k) for k in range(len(info['classes']))]
      if per_class else [np.arange(len(label))]
  )

  def batch(step: int) -> Batch:
    size = batch_size // len(groups)
    rows = np.concatenate([
        # Every class in an order of its own.
        group[transforms.batch_items(
            seed * len(groups) + k, step, size, len(group))]
        for k, group in enumerate(groups)
    ])
    return {'window': window[rows], 'label': label[rows]}

  return Source({**info, 'picked': picked}, batch, segments)


def _gather(
    recordings: Sequence[imu_recordings.Recording], windows: Windows,
    info: Mapping[str, Any]
) -> Batch:
  length = info['length']
  values = np.empty((len(windows.start), length, len(CHANNELS)), np.float32)
  for i, (index, start) in enumerate(zip(windows.recording, windows.start)):
    values[i] = standardise(
        recordings[index].values[start:start + length], info
    )
  return {
      'window': values,
      'label': windows.label,
      'subject': windows.subject,
      'start': windows.start,
      'recording': windows.recording,
  }


def _check_settings(
    batch_size: int, length: int, shift: int, picks: int, val_share: float,
    classes: Sequence[str], per_class: bool
) -> None:
  for value, name in (
      (batch_size, 'batch_size'), (length, 'data.length'),
      (shift, 'data.shift'), (picks, 'data.picks')
  ):
    if value < 1:
      raise UserError(f'{name}: expected 1 or more, found {value}.')
  if not 0 <= val_share < 1:
    raise UserError(
        f'data.val_share: expected a share in [0, 1), found {val_share:g}.'
    )
  if len(classes) < 2 or len(set(classes)) < len(classes):
    raise UserError(
        f'data.classes: expected two or more different names, found {classes}.'
    )
  if per_class and batch_size % len(classes):
    raise UserError(
        f'batch_size: expected a multiple of {len(classes)}, the number of '
        f'classes, for data.per_class, found {batch_size}.'
    )


def check_classes(
    classes: Sequence[str], known: Sequence[str], name: str
) -> None:
  """Raise a UserError if a class is not one of a data set's."""
  for label in classes:
    if label not in known:
      raise UserError(
          f'data.classes: {name} has {", ".join(known)}, found {label!r}.'
      )


def _check_some(
    recordings: Sequence[imu_recordings.Recording],
    short: Sequence[imu_recordings.Recording], facts: imu_recordings.Facts,
    classes: Sequence[str], length: int
) -> None:
  for name in classes:
    if not any(r.label == name for r in recordings):
      raise DataError(
          facts.name, f'class {name}', 'a recording', 'none',
          'Leave it out of data.classes'
      )
  if len(short) == len(recordings):
    longest = max(short, key=lambda r: len(r.values))
    raise DataError(
        longest.file, longest.name, f'{length} samples at {RATE:g} Hz, a '
        f'window ({length / RATE:g} s)', f'{len(longest.values)} in the '
        'longest of all recordings', 'Shorten data.length'
    )


def _check_fold(fold: int, subjects: Sequence[str]) -> None:
  if len(subjects) < 2:
    raise UserError(
        'data.fold: expected two persons or more, one to hold out, found '
        f'{", ".join(subjects)}.'
    )
  if not 0 <= fold < len(subjects):
    raise UserError(
        f'data.fold: expected 0 to {len(subjects) - 1}, one for each of '
        f'{", ".join(subjects)}, found {fold}.'
    )


def _check_parts(
    parts: Mapping[str, Windows], facts: imu_recordings.Facts,
    classes: Sequence[str], held_out: str
) -> None:
  for k, name in enumerate(classes):
    if not (parts['train'].label == k).any():
      raise DataError(
          facts.name, f'class {name}', 'a window of a training person',
          f'none beside those of {held_out}, who is held out',
          'Leave the class out of data.classes, or shorten data.length'
      )
