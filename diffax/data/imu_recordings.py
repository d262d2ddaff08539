"""Inertial recordings: what every reader yields, and what all must pass.

A recording holds the six axes of one sensor, acceleration then angular rate,
while one person does one thing. `prepare` turns what a file says into what a
model may see, in this order:

  frozen   half a second or more in which no axis changes: a sensor that
           dropped out, often filled with zeros; the recording is cut there
  copied   half a second or more that was met before, sample by sample, in any
           recording: kept once, or a person held out would be known; cut too
  units    an accelerometer measures f = R^T (a - g). At rest |f| = |g|; and in
           steady movement a averages to nothing, so with g = 9.80665 m/s^2

             (1)  |f| = g             in the quietest second, if it is quiet
             (2)  |mean f| near g     otherwise

           Both are far off when g and m/s^2 are confused, or gravity is gone.
           The rate of turning tells rad/s from deg/s by its size (eq. 3).
  rate     polyphase resampling to 50 Hz
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import fractions
import gzip
import hashlib
import io
import json
import os
import pathlib
import tempfile
from typing import Any, NamedTuple
import zlib

import numpy as np
from scipy import signal

from diffax.data import files
from diffax.data import store
from diffax.data import tables
from diffax.errors import DataError
from diffax.errors import UserError

CHANNELS = ('acc_x', 'acc_y', 'acc_z', 'gyr_x', 'gyr_y', 'gyr_z')
SENSORS: Mapping[str, tuple[int, ...]] = {'acc': (0, 1, 2), 'gyr': (3, 4, 5)}
RATE = 50.0
"""Samples per second of what `prepare` returns."""

ACC_UNITS: Mapping[str, float] = {'g': 1.0, 'm/s^2': 9.80665}
"""Size of gravity by unit."""
GYR_UNITS: Mapping[str, float] = {'rad/s': 1.0, 'deg/s': 180 / np.pi}
"""Size of a rad/s by unit."""

# Seconds.
_FROZEN = 0.5
_COPIED = 0.5
_JUDGED = 3.0
# A second is quiet if |f| spreads by less than this share of its mean.
_QUIET = 0.03
_REST = (0.85, 1.15)
_STEADY = (0.6, 1.5)
# No movement of people turns this fast on average (rad/s), and in deg/s none
# that is worth recognising turns this slowly; eq. 3.
_TURNING = 20.0
_LOOKS: Mapping[str, float] = {**ACC_UNITS, 'mg': 1000.0}
_FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Facts:
  """What a data set declares of itself.

  Attributes:
    name: of the data set.
    rate: samples per second of the files.
    acc: unit of acceleration, a key of `ACC_UNITS`.
    gyr: unit of angular rate, a key of `GYR_UNITS`.
    gravity: whether the acceleration contains gravity.
    subjects: what the folds hold out, `persons` or `random groups`.
  """

  name: str
  rate: float
  acc: str
  gyr: str
  gravity: bool = True
  subjects: str = 'persons'


@dataclasses.dataclass(frozen=True)
class Recording:
  """One person doing one thing, without a break.

  Attributes:
    name: unique in its data set.
    values: [T, 6] as in `CHANNELS`, in the units of the `Facts`.
    subject: the person.
    label: the activity.
    file: where it came from.
  """

  name: str
  values: np.ndarray
  subject: str
  label: str
  file: str


class Reading(NamedTuple):
  """What was read.

  Attributes:
    recordings: at 50 Hz, float32.
    notes: what was left out or cut, and why, a line each.
  """

  recordings: tuple[Recording, ...]
  notes: tuple[str, ...]


def prepare(
    recordings: Sequence[Recording], facts: Facts, notes: Sequence[str] = ()
) -> Reading:
  """Check, cut and resample recordings; see the module docstring.

  Args:
    recordings: as in the files, at `facts.rate`.
    facts: of the data set.
    notes: of the reader, to begin with.

  Returns:
    The recordings at `RATE` and all notes.

  Raises:
    DataError: no recording, a wrong shape, NaN, or numbers that do not fit
      the declared units.
    UserError: an unknown unit or rate.
  """
  check_facts(facts)
  if not recordings:
    raise DataError(facts.name, 'recordings', 'at least one', 'none')
  for recording in recordings:
    _check_values(recording)
  pieces, cuts = _without_faults(recordings, facts.rate)
  for piece in pieces:
    check_acceleration(piece, facts)
  if not facts.gravity:
    _check_no_gravity(pieces, facts)
  _check_turning(pieces, facts)
  return Reading(
      tuple(
          dataclasses.replace(piece, values=resample(piece.values, facts.rate))
          for piece in pieces
      ),
      (*notes, *cuts),
  )


def check_facts(facts: Facts) -> None:
  """Raise a UserError unless units and rate are of a known kind."""
  for value, name, known in (
      (facts.acc, 'acc_unit', ACC_UNITS), (facts.gyr, 'gyr_unit', GYR_UNITS)
  ):
    if value not in known:
      raise UserError(
          f'data.{name}: expected one of {sorted(known)}, found {value!r}.'
      )
  if not (np.isfinite(facts.rate) and facts.rate > 0):
    raise UserError(
        f'data.rate: expected samples per second, found {facts.rate!r}.'
    )


def resample(
    values: np.ndarray, rate: float, to: float = RATE
) -> np.ndarray:
  """Change the rate by polyphase filtering.

  Args:
    values: [T, C].
    rate: samples per second now.
    to: samples per second wanted.

  Returns:
    [ceil(T to / rate), C] float32.

  Raises:
    UserError: the rates are not close to a ratio of whole numbers up to 1000.
  """
  ratio = fractions.Fraction(to / rate).limit_denominator(1000)
  if not ratio or abs(float(ratio) * rate / to - 1) > 1e-4:
    raise UserError(
        f'data.rate: expected a rate of which {to:g} Hz is a simple fraction, '
        f'found {rate:g}.'
    )
  if ratio == 1:
    return np.asarray(values, np.float32)
  # Gravity is an offset: padding with zeros would ring at both ends.
  return signal.resample_poly(
      np.asarray(values, np.float64), ratio.numerator, ratio.denominator,
      axis=0, padtype='line'
  ).astype(np.float32)


def cut(
    keys: Sequence[np.ndarray], times: np.ndarray | None = None,
    rate: float = RATE, max_gap: float = 3.0
) -> list[tuple[int, int]]:
  """Find the stretches without a change of key or a gap in time.

  Args:
    keys: arrays [T], e.g. of labels.
    times: [T] seconds; None if the file has no clock.
    rate: samples per second.
    max_gap: samples that a step of time may take; more, or a step back, cuts.
      A clock that stands still does not, for some are coarse.

  Returns:
    First sample and the sample after the last of each stretch, in order.
  """
  count = len(keys[0])
  breaks = np.zeros(max(count - 1, 0), bool)
  for key in keys:
    breaks |= key[1:] != key[:-1]
  if times is not None:
    steps = np.diff(times) * rate
    # Three samples of 0.02 s are 3.0000000000000004 of them.
    breaks |= (steps > max_gap + 1e-3) | (steps < 0)
  edges = [0, *(np.flatnonzero(breaks) + 1), count]
  return [(int(a), int(b)) for a, b in zip(edges[:-1], edges[1:]) if b > a]


def check_acceleration(recording: Recording, facts: Facts) -> None:
  """Raise unless the size of gravity is that of the declared unit (eq. 1, 2).

  Stretches of less than three seconds are not judged, nor any where gravity
  is declared to be removed.

  Args:
    recording: at `facts.rate`.
    facts: of the data set.

  Raises:
    DataError: naming the file and what the numbers look like.
  """
  if not facts.gravity or len(recording.values) < _JUDGED * facts.rate:
    return
  size, resting = _gravity(recording.values[:, :3], facts.rate)
  low, high = _REST if resting else _STEADY
  if low <= size / ACC_UNITS[facts.acc] <= high:
    return
  raise DataError(
      recording.file, f'{recording.name}, accelerometer in {facts.acc}',
      f'about {ACC_UNITS[facts.acc]:.4g} '
      + ('at rest' if resting else 'as the length of the mean'),
      f'{size:.4g}', _looks(size, facts.acc)
  )


def read_table(path: pathlib.Path, columns: Sequence[str]) -> np.ndarray:
  """Read columns of a table of numbers, plain or gz, with names above.

  Args:
    path: the table, comma-separated.
    columns: which.

  Returns:
    [T, len(columns)] float64, finite.

  Raises:
    DataError: see `tables.read_series`.
  """
  try:
    data = path.read_bytes()
    text = (gzip.decompress(data) if data[:2] == b'\x1f\x8b' else data).decode()
    header, _, rows = text.lstrip('\ufeff').partition('\n')
    names = [name.strip() for name in header.split(',')]
    if len(set(names)) == len(names) and rows.strip():
      values = np.loadtxt(
          io.StringIO(rows), delimiter=',', ndmin=2,
          usecols=[names.index(column) for column in columns]
      )
      if np.isfinite(values).all():
        return values
  except (OSError, EOFError, zlib.error, ValueError):
    pass
  # Four times slower, and says what is wrong and where.
  return tables.read_series(path, {'imu': columns}, need=('imu',))['imu']


def cached(
    name: str, marks: Mapping[str, Any], paths: Sequence[pathlib.Path],
    read: Callable[[], Reading]
) -> Reading:
  """Read once, then from one file of arrays in the store.

  The file's name is a digest of the settings and of path, size and time of
  change of every file read, so a changed folder is read anew; zip checks the
  sums of what is inside. A store that cannot be used is only slower.

  Args:
    name: of the data set.
    marks: settings that change what is read.
    paths: files that will be read.
    read: does it.

  Returns:
    What `read` returns.
  """
  stamps = [(str(path.resolve()), *_stamp(path)) for path in paths]
  place = store.default_folder(
      f'imu-{name}', RATE, {'format': _FORMAT, 'files': stamps, **marks}
  )
  place = place.with_name(f'{place.name}.npz')
  kept = _load(place)
  if kept is None:
    kept = read()
    _save(place, kept)
  return kept


def _stamp(path: pathlib.Path) -> tuple[int, int]:
  try:
    found = path.stat()
  except OSError as error:
    raise DataError(
        path, 'file', 'a readable file', error.strerror or str(error)
    ) from error
  return found.st_size, found.st_mtime_ns


def _load(place: pathlib.Path) -> Reading | None:
  try:
    with np.load(place, allow_pickle=False) as arrays:
      values, ends = arrays['values'], arrays['ends']
      rows, notes = json.loads(str(arrays['facts']))
    parts = np.split(values, ends[:-1])
    return Reading(
        tuple(Recording(row[0], v, *row[1:]) for row, v in zip(
            rows, parts, strict=True)),
        tuple(notes),
    )
  except Exception:
    # Absent or damaged in any way: the files themselves are the truth.
    return None


def _save(place: pathlib.Path, reading: Reading) -> None:
  rows = [(r.name, r.subject, r.label, r.file) for r in reading.recordings]
  try:
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as folder:
      part = pathlib.Path(folder) / place.name
      np.savez(
          part,
          values=np.concatenate([r.values for r in reading.recordings]),
          ends=np.cumsum([len(r.values) for r in reading.recordings]),
          facts=np.array(json.dumps([rows, reading.notes])),
      )
      os.replace(part, place)
  except OSError:
    return


def _check_values(recording: Recording) -> None:
  values = recording.values
  if values.ndim != 2 or values.shape[1] != len(CHANNELS):
    raise DataError(
        recording.file, recording.name, 'values [T, 6]', f'{values.shape}'
    )
  bad = ~np.isfinite(values)
  if bad.any():
    row, axis = (int(i) for i in np.argwhere(bad)[0])
    raise DataError(
        recording.file, f'{recording.name}, {CHANNELS[axis]}, sample {row}',
        'a finite number', f'{values[row, axis]} ({int(bad.any(1).sum())} of '
        f'{len(bad)} samples are affected)'
    )


def _without_faults(
    recordings: Sequence[Recording], rate: float
) -> tuple[list[Recording], list[str]]:
  """Cut out what is frozen or copied; say what and how much, by file."""
  copied, origins = _copied(recordings, _span(_COPIED, rate))
  pieces: list[Recording] = []
  lost: dict[str, dict[str, int]] = {}
  for index, recording in enumerate(recordings):
    still = _frozen(recording.values, _span(_FROZEN, rate))
    copy = copied[index] & ~still
    if not (still.any() or copy.any()):
      pieces.append(recording)
      continue
    counts = lost.setdefault(recording.file, {})
    for bad, what in (
        (still, 'frozen'),
        (copy, f'copies of {recordings[origins.get(index, index)].file}'),
    ):
      counts[what] = counts.get(what, 0) + int(bad.sum())
    pieces += _parts(recording, ~(still | copy))
  if not pieces:
    raise DataError(
        recordings[0].file, 'samples', 'a sensor that moves',
        'the same numbers all the time, in every recording'
    )
  return pieces, [
      f'{file}: left out {count} samples that are {what}'
      for file, counts in lost.items() for what, count in counts.items()
      if count
  ]


def _span(seconds: float, rate: float) -> int:
  return max(2, round(seconds * rate))


def _parts(recording: Recording, good: np.ndarray) -> list[Recording]:
  return [
      dataclasses.replace(
          recording, name=f'{recording.name}@{a}', values=recording.values[a:b]
      )
      for a, b in cut([good]) if good[a]
  ]


def _frozen(values: np.ndarray, span: int) -> np.ndarray:
  """Mark runs of `span` or more equal samples, [T] bool."""
  marks = np.zeros(len(values), bool)
  same = (values[1:] == values[:-1]).all(1)
  for a, b in cut([same]):
    # b - a equal steps are b - a + 1 equal samples.
    if same[a] and b - a + 1 >= span:
      marks[a:b + 1] = True
  return marks


def _copied(
    recordings: Sequence[Recording], span: int
) -> tuple[list[np.ndarray], dict[int, int]]:
  """Mark runs of `span` or more samples that occurred before.

  Returns:
    [T] bool by recording, and by index of a recording that of the one which
    it first repeats.
  """
  prints = [_fingerprints(r.values, span) for r in recordings]
  owner = np.repeat(np.arange(len(prints)), [len(p) for p in prints])
  _, first, which = np.unique(
      np.concatenate(prints), return_index=True, return_inverse=True
  )
  source = first[which]
  repeats = source != np.arange(len(source))
  marks, origins = [], {}
  for index, recording in enumerate(recordings):
    mine = repeats[owner == index]
    mark = np.zeros(len(recording.values), bool)
    for start in np.flatnonzero(mine):
      mark[start:start + span] = True
    marks.append(mark)
    if mine.any():
      origins[index] = int(owner[source[owner == index][mine.argmax()]])
  return marks, origins


def _fingerprints(values: np.ndarray, span: int) -> np.ndarray:
  """Hash every run of `span` samples, [T - span + 1] uint64.

  A polynomial in odd constants modulo 2^64: exact, so equal runs have equal
  hashes in whatever order a machine adds.
  """
  # Adding zero makes -0 the same as 0.
  bits = np.ascontiguousarray(values, np.float64) + 0.0
  words = bits.view(np.uint64)
  rng = np.random.default_rng(0)
  odd = rng.integers(1 << 63, size=6, dtype=np.uint64) * np.uint64(2) + (
      np.uint64(1))
  rows = (words ^ (words >> np.uint64(29))) * odd
  rows = (rows ^ (rows >> np.uint64(32))).sum(1, dtype=np.uint64)
  count = max(len(rows) - span + 1, 0)
  total = np.zeros(count, np.uint64)
  for shift in range(span):
    total = total * odd[0] + rows[shift:shift + count]
  return total


def _gravity(acceleration: np.ndarray, rate: float) -> tuple[float, bool]:
  """Return the size of gravity (eq. 1, or eq. 2), and whether at rest."""
  second = max(2, round(rate))
  size = np.linalg.norm(acceleration, axis=1)
  whole = size[:len(size) // second * second].reshape(-1, second)
  spread = whole.std(1) / np.maximum(whole.mean(1), 1e-12)
  quiet = int(spread.argmin())
  if spread[quiet] < _QUIET:
    return float(whole[quiet].mean()), True
  return float(np.linalg.norm(acceleration.mean(0))), False


def _looks(size: float, declared: str) -> str:
  for unit, gravity in _LOOKS.items():
    if unit != declared and _STEADY[0] <= size / gravity <= _STEADY[1]:
      known = unit in ACC_UNITS
      return f'The numbers look like {unit}; ' + (
          'declare that unit' if known else 'convert them')
  if size < _STEADY[0] * ACC_UNITS[declared]:
    return ('The numbers look as if gravity had been removed; declare '
            'gravity=False')
  return 'The numbers look like raw counts; convert them'


def _check_no_gravity(pieces: Sequence[Recording], facts: Facts) -> None:
  # Centripetal acceleration gives some movements a mean of their own, but not
  # all of them; gravity is in every recording.
  sizes = [
      (_gravity(piece.values[:, :3], facts.rate)[0], piece) for piece in pieces
      if len(piece.values) >= _JUDGED * facts.rate
  ]
  if not sizes:
    return
  size, piece = min(sizes, key=lambda pair: pair[0])
  if size >= _STEADY[0] * ACC_UNITS[facts.acc]:
    raise DataError(
        piece.file, f'{piece.name}, accelerometer in {facts.acc} without '
        'gravity', f'a mean far below {ACC_UNITS[facts.acc]:.4g} in some '
        'recording', f'{size:.4g} or more in all',
        'The numbers contain gravity; declare gravity=True'
    )


def _check_turning(pieces: Sequence[Recording], facts: Facts) -> None:
  """Raise if a person's mean square rate of turning is of another unit.

    (3)  rms |w| < 20 in rad/s, > 20 in deg/s (of what moves)
  """
  for subject in dict.fromkeys(piece.subject for piece in pieces):
    mine = [piece for piece in pieces if piece.subject == subject]
    moving = [piece for piece in mine if _moves(piece.values, facts)] or mine
    turns = np.concatenate([piece.values[:, 3:] for piece in moving])
    size = float(np.sqrt((turns ** 2).sum(1).mean()))
    radians = facts.gyr == 'rad/s'
    if radians and size > _TURNING or (
        not radians and size < _TURNING and _moves(moving[0].values, facts)
    ):
      other = 'deg/s' if radians else 'rad/s'
      raise DataError(
          moving[0].file, f'gyroscope of {subject} in {facts.gyr}',
          f'a root mean square {"below" if radians else "above"} '
          f'{_TURNING:g} while moving', f'{size:.4g}',
          f'The numbers look like {other}; declare that unit'
      )


def _moves(values: np.ndarray, facts: Facts) -> bool:
  # A tenth of gravity: more than breathing, less than any gait.
  spread = np.linalg.norm(values[:, :3], axis=1).std()
  return bool(spread > 0.1 * ACC_UNITS[facts.acc])


def digest(text: str) -> int:
  """Return a number for a name, the same in every process."""
  return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])


def data_folder(
    root: files.PathLike | None, name: str, holds: str, where: str
) -> pathlib.Path:
  """Find the folder of a data set below the root, or the root itself.

  Args:
    root: folder of data sets; by default `$DIFFAX_DATA`, or `data`.
    name: of the folder, which may lie in `imu`.
    holds: a pattern of `Path.glob` of which it has at least one file.
    where: to get the data.

  Returns:
    The folder.

  Raises:
    DataError: there is none.
  """
  # The preparers import every reader, which takes most of a second.
  from diffax.data import prepare as prepare_lib
  base = prepare_lib.data_root(root)
  for place in (base / 'imu' / name, base / name, base):
    if place.is_dir() and next(place.glob(holds), None):
      return place
  raise DataError(
      base, 'folder', f'imu/{name} with files like {holds}', 'no such folder',
      f'{where}. Set data.root or DIFFAX_DATA to the folder of the data'
  )
