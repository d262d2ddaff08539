"""Read paired series from a table of named columns: CSV, plain, gz or xz.

The first line names the columns, every further line is a sample. Columns are
found by name, so their order is free and others may stand between them. Lines
above the names that begin with `#` and hold `name: value` state what a table
cannot, such as a rate.
"""

from collections.abc import Mapping, Sequence
import csv
import difflib
import re
from typing import NamedTuple

import numpy as np

from diffax.data import base
from diffax.data import files
from diffax.data.base import Signals
from diffax.errors import DataError
from diffax.errors import UserError

TIME = 'time_s'
TIME_UNITS: Mapping[str, float] = {'s': 1.0, 'ms': 1e-3, 'us': 1e-6, 'ns': 1e-9}

_CLOCK = re.compile(
    r'(?:time|times|timestamp|timestamps|t|seconds|elapsed)'
    r'[\s_.\-\[(]*(s|sec|seconds|ms|us|ns)?[\])]?', re.IGNORECASE
)


class Table(NamedTuple):
  """Words of a table.

  Attributes:
    header: names of the columns, each once.
    rows: cells, as many in each row.
    said: what the lines above the names state, by lower-case name.
    lines: number in the file of each row.
  """

  header: list[str]
  rows: list[list[str]]
  said: dict[str, str]
  lines: list[int]


def read_series(
    path: files.PathLike,
    channels: Mapping[str, Sequence[str]],
    *,
    need: Sequence[str],
    rate: float | None = None,
) -> dict[str, np.ndarray]:
  """Read the modalities that a table holds.

  Args:
    path: the table.
    channels: names of the columns by modality.
    need: modalities that must be there; each other is read if all of its
      columns are there, and left out if none is.
    rate: samples per second that a column `time_s`, if there is one, must
      show; None takes any that is steady.

  Returns:
    `[T, C]` float64 by modality, in the order of `channels`.

  Raises:
    UserError: `need` names no modality of `channels`.
    DataError: the file is unreadable or empty, a modality lacks some of its
      columns, a row is of another width, a cell is no finite number, or time
      runs backwards, jumps or has another rate.
  """
  for name in need:
    if name not in channels:
      raise UserError(
          f'need: expected some of {sorted(channels)}, found {name!r}.'
      )
  table = read(path)
  header = table.header
  present = [
      name for name, wanted in channels.items()
      if name in need or any(column in header for column in wanted)
  ]
  for name in present:
    _check_columns(path, name, channels[name], header)
  wanted = [column for name in present for column in channels[name]]
  if TIME in header:
    wanted.append(TIME)
  values = numbers(path, table, wanted)
  if TIME in header:
    check_clock(path, values[:, wanted.index(TIME)], rate)
  return {
      name: values[:, [wanted.index(column) for column in channels[name]]]
      for name in present
  }


def check_clock(
    path: files.PathLike, time: np.ndarray, rate: float | None = None
) -> None:
  """Raise unless time advances by one step per sample.

  Args:
    path: the file, for the message.
    time: [T] seconds.
    rate: samples per second; None for any.

  Raises:
    DataError: a step is less than half or more than 1.5 of the usual one, or
      the rate differs by more than 1 %.
  """
  steps = np.diff(time)
  if not steps.size:
    return
  usual = 1 / rate if rate else float(np.median(steps))
  uneven = np.flatnonzero(~(np.abs(steps - usual) <= usual / 2))
  # A few odd steps are gaps; many are another rate.
  if 0 < uneven.size <= steps.size / 2:
    at = int(uneven[0])
    raise DataError(
        path, f'{TIME}, sample {at + 1}',
        f'{time[at] + usual:.6g} s, a step of {usual:.4g} s',
        f'{time[at + 1]:.6g} s after {time[at]:.6g} s', 'Cut the series there'
    )
  drift = abs(steps.mean() - usual) if rate else 0.0
  if uneven.size or not usual > 0 or drift > 0.01 * usual:
    raise DataError(
        path, TIME, f'a step of {usual:.4g} s' if rate else 'rising time',
        f'steps of {steps.mean():.4g} s', 'Resample the series'
    )


def nearest(name: str, names: Sequence[str]) -> str:
  """Return a question for the likeliest of some names, or nothing."""
  close = difflib.get_close_matches(name, names, 1)
  return f'Did you mean {close[0]}?' if close else ''


def read(path: files.PathLike) -> Table:
  """Read the words of a table.

  Raises:
    DataError: the file is unreadable or empty, two columns have one name, or
      a row is of another width.
  """
  lines = files.read_text(path).rstrip().splitlines()
  above = 0
  said: dict[str, str] = {}
  while above < len(lines) and (
      lines[above].startswith('#') or not lines[above].strip()):
    name, _, value = lines[above].lstrip('#').partition(':')
    said[name.strip().lower()] = value.strip()
    above += 1
  if above == len(lines):
    raise DataError(path, 'line 1', 'names of columns', 'no table')
  reader = csv.reader(lines[above:], skipinitialspace=True)
  try:
    found = [(above + reader.line_num, row) for row in reader if row]
  except csv.Error as error:
    raise DataError(
        path, 'table', 'comma-separated values', str(error)
    ) from error
  header = [name.strip() for name in found[0][1]]
  twice = {name for name in header if header.count(name) > 1}
  if twice:
    raise DataError(
        path, f'line {above + 1}', 'different names of columns',
        f'{", ".join(sorted(twice))} more than once'
    )
  if len(found) == 1:
    raise DataError(path, 'rows', 'samples below the names', 'none')
  for number, row in found[1:]:
    if len(row) != len(header):
      raise DataError(
          path, f'line {number}', f'{len(header)} cells, as the names',
          f'{len(row)}'
      )
  return Table(
      header, [row for _, row in found[1:]], said,
      [number for number, _ in found[1:]])


def numbers(
    path: files.PathLike, table: Table, wanted: Sequence[str], *,
    gaps: bool = False
) -> np.ndarray:
  """Convert columns of a table to numbers.

  Args:
    path: the file, for the message.
    table: its words.
    wanted: names of columns.
    gaps: take empty cells and NaN for gaps.

  Returns:
    [T, len(wanted)] float64, NaN in gaps.

  Raises:
    DataError: a cell is no finite number.
  """
  places = [table.header.index(column) for column in wanted]
  cells = [[row[i] for i in places] for row in table.rows]
  try:
    values = np.array([
        [float(c) if not gaps or c.strip() else np.nan for c in row]
        for row in cells])
  except ValueError:
    line, i = next(
        (line, i) for line, row in enumerate(table.rows) for i in places
        if not files.is_number(row[i]) and not (gaps and not row[i].strip())
    )
    word = table.rows[line][i]
    raise DataError(
        path, f'line {table.lines[line]}, {table.header[i]}', 'a number',
        repr(word[:40]) if word.strip() else 'an empty cell'
    ) from None
  bad = np.isinf(values) if gaps else ~np.isfinite(values)
  if bad.any():
    line, column = (int(i) for i in np.argwhere(bad)[0])
    raise DataError(
        path, f'line {table.lines[line]}, {wanted[column]}', 'a finite number',
        f'{values[line, column]} ({int(bad.any(1).sum())} of {len(bad)} '
        'samples are affected)'
    )
  return values


def clock(
    path: files.PathLike, table: Table, name: str | None = None,
    unit: str | None = None
) -> tuple[np.ndarray, float] | None:
  """Find the times of a table.

  Args:
    path: the file, for the message.
    table: its words.
    name: of the column of times; found by its name, such as `time`,
      `time_s` or `timestamp [ms]`, if None.
    unit: of the times, a key of `TIME_UNITS`; from the name, else seconds, if
      None.

  Returns:
    Times [T] in seconds, and the unit of their last digit; None without such
    a column.

  Raises:
    DataError: there is no such column, or a time is no number.
    UserError: an unknown unit.
  """
  if unit is not None and unit not in TIME_UNITS:
    raise UserError(f'{path}: time_unit: expected one of {list(TIME_UNITS)}, '
                    f'found {unit!r}.')
  if name is None:
    name = next((c for c in table.header if _CLOCK.fullmatch(c)), None)
    if name is None:
      return None
  if name not in table.header:
    raise DataError(path, f'column {name}', 'a column of this name',
                    ', '.join(table.header), nearest(name, table.header))
  match = _CLOCK.fullmatch(name)
  word = (match[1] or 's').lower() if match else 's'
  second = TIME_UNITS[unit or {'sec': 's', 'seconds': 's'}.get(word, word)]
  column = table.header.index(name)
  times = numbers(path, table, [name])[:, 0] * second
  digits = resolution([row[column] for row in table.rows])
  return times, digits * second


def read_signals(
    path: files.PathLike,
    *,
    rate: float | None = None,
    time: str | None = None,
    time_unit: str | None = None,
    gaps: str = 'refuse',
) -> Signals:
  """Read all columns of numbers of a table, such as those of a sensor.

  Args:
    path: the table, plain, `.gz` or `.xz`.
    rate: samples per second.
    time: column of the times, see `clock`.
    time_unit: of the times, see `clock`.
    gaps: `'refuse'` empty cells and NaN, or `'keep'` them.

  Returns:
    The columns; columns of words are named in the notes. Times may have gaps.

  Raises:
    DataError: the file is broken, has no column of numbers, or time runs
      backwards.
    UserError: an unknown unit or way with gaps.
  """
  if gaps not in ('refuse', 'keep'):
    raise UserError(f'{path}: gaps: expected refuse or keep, found {gaps!r}.')
  table = read(path)
  found = clock(path, table, time, time_unit)
  times_of = {time or c for c in table.header if time or _CLOCK.fullmatch(c)}
  names = [
      c for i, c in enumerate(table.header)
      if files.is_number(next((row[i] for row in table.rows if row[i].strip()),
                              'nan'))
      and c not in times_of
  ]
  if not names:
    raise DataError(path, 'columns', 'columns of numbers',
                    ', '.join(table.header[:12]))
  values = numbers(path, table, names, gaps=gaps == 'keep')
  files.check_numbers(path, 'table [row, column]', np.nan_to_num(values))
  words = [c for c in table.header if c not in (*names, *times_of)]
  notes = {'other columns': ', '.join(words)} if words else {}
  if found is None and rate is None:
    word = table.said.get('rate', table.said.get('fps'))
    if word is None:
      raise DataError(
          path, 'rate', 'a column of times or a line # rate: 100',
          ', '.join(table.header[:6]), 'State the rate: rate=100, for instance'
      )
    rate = float(files.numbers(path, '# rate', [word])[0])
  if found is not None:
    steady = base.check_times(found[0], str(path))
    times = found[0] - found[0][0]
    # A clock with gaps tells its rate by its usual step alone.
    if rate is None and abs(steady * np.diff(times) - 1).max() <= 0.5:
      steady = rate_of(path, *found)
    rate = steady if rate is None else rate
  samples = float(rate or 0)
  if not (np.isfinite(samples) and samples > 0):
    raise DataError(path, 'rate', 'samples per second > 0', f'{samples}')
  if found is None:
    times = np.arange(len(values)) / samples
  return Signals(
      tuple(names), values, times, samples, str(path), notes=notes)


def rate_of(
    path: files.PathLike, times: np.ndarray, resolution: float = 1e-9
) -> float:
  """Return the rate of steady timestamps; undo their rounding.

  Args:
    path: the file.
    times: [L] seconds.
    resolution: unit of the last digit written.

  Returns:
    Frames per second; a whole number if the rounding of the first and the
    last timestamp allows one.

  Raises:
    DataError: time stands still, runs backwards or jumps.
  """
  base.check_times(times, str(path))
  check_clock(path, times)
  span = float(times[-1] - times[0])
  rate = (len(times) - 1) / span
  whole = float(round(rate))
  near = max(resolution / span, 1e-9)
  return whole if whole and abs(whole / rate - 1) <= near else rate


def resolution(tokens: Sequence[str]) -> float:
  """Return the unit of the last digit of the most precise of some numbers."""
  if any('e' in token.lower() for token in tokens):
    return 1e-9
  return 10.0 ** -max(
      (len(token.partition('.')[2]) for token in tokens), default=9)


def check_rate(
    path: files.PathLike, field: str, stated: float, found: float
) -> None:
  """Raise a DataError if the times of a file deny the rate that it states."""
  if not abs(found / stated - 1) <= 0.02:
    raise DataError(
        path, field, f'the rate of its times, {found:.6g} per second',
        f'{stated:g}', 'State the rate: fps=100, for instance'
    )


def _check_columns(
    path: files.PathLike, modality: str, wanted: Sequence[str],
    header: Sequence[str]
) -> None:
  missing = [column for column in wanted if column not in header]
  if not missing:
    return
  free = [name for name in header if name not in wanted]
  hint = nearest(missing[0], free)
  if len(header) == 1 and any(mark in header[0] for mark in ';\t'):
    hint = 'Separate the columns by commas'
  raise DataError(
      path, f'{modality}, column {", ".join(missing)}',
      f'the columns {", ".join(wanted)}',
      f'{len(wanted) - len(missing)} of them; beside these the file has '
      f'{", ".join(free) or "no column"}', hint
  )
