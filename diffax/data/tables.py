"""Read paired series from a table of named columns: CSV, plain, gz or xz.

The first line names the columns, every further line is a sample. Columns are
found by name, so their order is free and others may stand between them.
"""

from collections.abc import Mapping, Sequence
import csv
import difflib
import gzip
import zlib

import numpy as np

from diffax.data import files
from diffax.errors import DataError
from diffax.errors import UserError

TIME = 'time_s'


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
  header, rows = _rows(path)
  present = [
      name for name, wanted in channels.items()
      if name in need or any(column in header for column in wanted)
  ]
  for name in present:
    _check_columns(path, name, channels[name], header)
  wanted = [column for name in present for column in channels[name]]
  if TIME in header:
    wanted.append(TIME)
  values = _numbers(path, header, rows, wanted)
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


def _rows(path: files.PathLike) -> tuple[list[str], list[list[str]]]:
  lines = _text(path).rstrip().splitlines()
  try:
    header, *rows = csv.reader(lines, skipinitialspace=True)
  except csv.Error as error:
    raise DataError(
        path, 'table', 'comma-separated values', str(error)
    ) from error
  header = [name.strip() for name in header]
  twice = {name for name in header if header.count(name) > 1}
  if twice:
    raise DataError(
        path, 'line 1', 'different names of columns',
        f'{", ".join(sorted(twice))} more than once'
    )
  if not rows:
    raise DataError(path, 'rows', 'samples below the names', 'none')
  for i, row in enumerate(rows):
    if len(row) != len(header):
      raise DataError(
          path, f'line {i + 2}', f'{len(header)} cells, as the names',
          f'{len(row)}'
      )
  return header, rows


def _text(path: files.PathLike) -> str:
  data = files.read_bytes(path)
  if data[:2] == b'\x1f\x8b':
    try:
      data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
      raise DataError(
          path, 'compression', 'a whole gzip archive', str(error)
      ) from error
  if b'\0' in data:
    raise DataError(path, 'file', 'a table of text', 'binary data')
  text = data.decode('utf-8-sig', errors='replace')
  if not text.strip():
    raise DataError(path, 'file', 'a table', 'an empty file')
  return text


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


def _numbers(
    path: files.PathLike, header: Sequence[str], rows: Sequence[Sequence[str]],
    wanted: Sequence[str]
) -> np.ndarray:
  places = [header.index(column) for column in wanted]
  try:
    values = np.array([[float(row[i]) for i in places] for row in rows])
  except ValueError:
    line, i = next(
        (line, i) for line, row in enumerate(rows) for i in places
        if not files.is_number(row[i])
    )
    raise DataError(
        path, f'line {line + 2}, {header[i]}', 'a number',
        repr(rows[line][i][:40]) if rows[line][i].strip() else 'an empty cell'
    ) from None
  bad = ~np.isfinite(values)
  if bad.any():
    line, column = (int(i) for i in np.argwhere(bad)[0])
    raise DataError(
        path, f'line {line + 2}, {wanted[column]}', 'a finite number',
        f'{values[line, column]} ({int(bad.any(1).sum())} of {len(bad)} '
        'samples are affected)'
    )
  return values
