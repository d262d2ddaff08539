"""Read and write TRC, read MOT and STO: the text files of OpenSim.

TRC holds markers: five lines of header, then one line per frame, separated by
tabs; an empty cell is a marker that was not seen.

    PathFileType  4  (X/Y/Z)  walk.trc
    DataRate  CameraRate  NumFrames  NumMarkers  Units  ...
    100       100         250        2           mm     ...
    Frame#  Time  LASI              RASI
                  X1    Y1    Z1    X2    Y2    Z2

MOT and STO hold columns: lines of `name=value` up to `endheader`, one line of
names, the first of them `time`, and numbers. Columns such as

    ground_force_r_vx, _vy, _vz   force, N
    ground_force_r_px, _py, _pz   point of application, m
    ground_torque_r_x, _y, _z     torque at that point, N m

are gathered into the force plates of the signals; the side may also be a
number, before or behind. Y is up in both formats.
"""

from collections.abc import Sequence
import pathlib
import re

import numpy as np

from diffax.data import c3d
from diffax.data import files
from diffax.data import points as points_lib
from diffax.data import tables
from diffax.data.base import ForcePlate
from diffax.data.base import Recording
from diffax.data.base import Signals
from diffax.errors import DataError
from diffax.errors import UserError

_HEADER = 5
_MOST_HEADER = 200


def read(
    path: files.PathLike,
    *,
    fps: float | None = None,
    unit: str = 'auto',
    up: str = 'auto',
    gaps: str = 'refuse',
    max_gap: float = 0.2,
) -> Recording:
  """Read the markers of a TRC file.

  Args:
    path: the file, plain or `.xz`.
    fps: frames per second, if those of the file are wrong.
    unit: `'auto'` or one of `files.METRES`.
    up: the vertical axis, `'auto'`, `'y'` or `'z'`.
    gaps: one of `points.GAPS`.
    max_gap: seconds that may be filled.

  Returns:
    Markers in the order of the file, without parents, metres, Z up.

  Raises:
    DataError: what is wrong with which field of the file.
    UserError: an unknown unit, axis or way with gaps.
  """
  points_lib.check_options(path, unit, up, gaps)
  lines = files.read_text(path).splitlines()
  if len(lines) < _HEADER or not lines[0].startswith('PathFileType'):
    raise DataError(
        path, 'line 1', 'PathFileType, and four more lines of header',
        repr(lines[0][:40]) if lines else 'nothing', 'Is it a TRC file?'
    )
  facts = dict(zip(lines[1].split(), lines[2].split()))
  names = _markers(path, lines[3])
  count = _whole(path, facts, 'NumMarkers')
  if count != len(names):
    raise DataError(
        path, 'NumMarkers', f'{len(names)}, the names in line 4', f'{count}')
  rows = [
      (i + 1, line.rstrip('\r\n'))
      for i, line in enumerate(lines[_HEADER:], _HEADER) if line.strip()
  ]
  frames = _whole(path, facts, 'NumFrames')
  if frames != len(rows):
    raise DataError(
        path, 'NumFrames', f'{len(rows)}, the lines of numbers', f'{frames}',
        'The file is cut or damaged'
    )
  cells = [_cells(path, number, line, count) for number, line in rows]
  values = _numbers(path, cells, [number for number, _ in rows])
  positions = values[:, 2:].reshape(frames, count, 3)
  rate = float(files.numbers(
      path, 'DataRate', [facts.get('DataRate', '')])[0])
  if not rate > 0:
    raise DataError(path, 'DataRate', 'frames per second > 0', f'{rate:g}')
  if fps is None:
    found = tables.rate_of(
        path, values[:, 1], tables.resolution([row[1] for row in cells]))
    tables.check_rate(path, 'DataRate', rate, found)
  return points_lib.recording(
      path, names, (-1,) * count, positions,
      rate if fps is None else float(fps),
      unit=points_lib.find_unit(
          path, positions, (-1,) * count, wanted=unit,
          stated=facts.get('Units', '')),
      up=points_lib.find_up(positions, 'y', wanted=up), gaps=gaps,
      max_gap=max_gap
  )


def write(
    path: files.PathLike,
    joints: Sequence[str],
    positions: np.ndarray,
    fps: float,
    unit: str = 'mm',
) -> float:
  """Write a TRC file, with Y up.

  Args:
    path: the file to write.
    joints: N names; the format knows no parents.
    positions: [L, N, 3] metres, Z up, NaN where a marker is not seen.
    fps: frames per second.
    unit: unit of length in the file, one of `files.METRES`.

  Returns:
    A bound of the distance, in metres, between a point given and as written.

  Raises:
    UserError: arguments that do not fit together.
  """
  positions = np.asarray(positions, np.float64)
  if positions.ndim != 3 or positions.shape[1:] != (len(joints), 3) or not (
      positions.size) or np.isinf(positions).any():
    raise UserError(
        f'{path}: positions: expected finite [frames, {len(joints)}, 3], found '
        f'{list(positions.shape)}.'
    )
  if not (np.isfinite(fps) and fps > 0) or unit not in files.METRES:
    raise UserError(
        f'{path}: expected a rate above 0 and a unit of '
        f'{", ".join(files.METRES)}, found {fps!r} and {unit!r}.'
    )
  raw = files.to_y_up(positions) / files.METRES[unit]
  words = ['_'.join(name.split()) for name in joints]
  count, frames = len(words), len(raw)
  facts = {
      'DataRate': f'{fps!r}', 'CameraRate': f'{fps!r}', 'NumFrames': frames,
      'NumMarkers': count, 'Units': unit, 'OrigDataRate': f'{fps!r}',
      'OrigDataStartFrame': 1, 'OrigNumFrames': frames,
  }
  lines = [
      f'PathFileType\t4\t(X/Y/Z)\t{pathlib.Path(path).name}',
      '\t'.join(facts), '\t'.join(str(v) for v in facts.values()),
      'Frame#\tTime\t' + '\t\t\t'.join(words) + '\t\t',
      '\t\t' + '\t'.join(f'{a}{i + 1}' for i in range(count) for a in 'XYZ'),
      '',
  ]
  for frame, row in enumerate(raw):
    cells = [
        '' if np.isnan(value) else f'{value:.9g}' for point in row
        for value in (point if np.isfinite(point).all() else [np.nan] * 3)
    ]
    lines.append('\t'.join([str(frame + 1), f'{frame / fps:.9f}', *cells]))
  data = ('\n'.join(lines) + '\n').encode()
  files.write_bytes(path, data)
  largest = float(np.abs(np.nan_to_num(raw)).max())
  return largest * 5e-9 * files.METRES[unit] * np.sqrt(3)


def read_mot(
    path: files.PathLike, *, rate: float | None = None, gaps: str = 'refuse'
) -> Signals:
  """Read the columns of a MOT or STO file.

  Args:
    path: the file, plain or `.xz`.
    rate: samples per second, if the times of the file are wrong.
    gaps: `'refuse'`, or `'keep'` what is not finite as NaN.

  Returns:
    All columns but the time, in the units of the file; the forces on the feet
    among them as force plates too, Z up.

  Raises:
    DataError: what is wrong with which field of the file.
    UserError: an unknown way with gaps.
  """
  if gaps not in ('refuse', 'keep'):
    raise UserError(f'{path}: gaps: expected refuse or keep, found {gaps!r}.')
  lines = files.read_text(path).splitlines()
  end = next((i for i, line in enumerate(lines[:_MOST_HEADER])
              if line.strip().lower() == 'endheader'), None)
  if end is None or end + 1 >= len(lines):
    raise DataError(
        path, 'header', 'lines of name=value, endheader, names of columns',
        f'no endheader in {min(len(lines), _MOST_HEADER)} lines, or nothing '
        'after it', 'Is it a MOT or STO file?'
    )
  facts = _facts(lines[:end])
  body = [(i + 1, line.split()) for i, line in enumerate(lines)
          if i > end and line.strip()]
  if len(body) < 3:
    raise DataError(path, 'rows', 'names and at least 2 samples',
                    f'{len(body)} lines')
  header = points_lib.names(path, f'line {body[0][0]}', body[0][1])
  if header[0].lower() != 'time':
    raise DataError(
        path, f'line {body[0][0]}', 'time as the first column', header[0][:40])
  for name, found in (('nrows', len(body) - 1), ('ncolumns', len(header))):
    said = facts.get(name, str(found))
    if said != str(found):
      raise DataError(path, name, f'{found}, as in the table', said[:40],
                      'The file is cut or damaged')
  for number, row in body[1:]:
    if len(row) != len(header):
      raise DataError(
          path, f'line {number}', f'{len(header)} numbers', f'{len(row)}')
  values = _numbers(path, [row for _, row in body[1:]],
                    [number for number, _ in body[1:]])
  bad = ~np.isfinite(values)
  if bad.any() and (gaps == 'refuse' or bad[:, 0].any()):
    at, column = (int(i) for i in np.argwhere(bad)[0])
    raise DataError(
        path, f'line {body[1 + at][0]}, {header[column]}', 'a finite number',
        body[1 + at][1][column][:40], '' if bad[:, 0].any()
        else "Pass gaps='keep' to keep it"
    )
  found_rate = float(rate) if rate is not None else tables.rate_of(
      path, values[:, 0], tables.resolution([row[0] for _, row in body[1:]])
  )
  columns = tuple(header[1:])
  notes = {}
  if 'indegrees' in facts:
    notes['angles'] = (
        'degrees' if facts['indegrees'].lower() == 'yes' else 'radians'
    ) + ', stated by the file'
  return Signals(
      columns, values[:, 1:], values[:, 0] - values[0, 0], found_rate,
      str(path), _ground(columns, values[:, 1:], found_rate), notes
  )


def _ground(
    columns: Sequence[str], values: np.ndarray, rate: float
) -> tuple[ForcePlate, ...]:
  """Gather the columns of ground reaction forces.

  A column file says where the force acts, not where the plate lies; so the
  moments are those about the origin of the room, M = torque + point x force.
  """
  place = {name: i for i, name in enumerate(columns)}
  plates = []
  for name in columns:
    stem = name[:-2]
    force = [f'{stem}v{axis}' for axis in 'xyz']
    point = [f'{stem}p{axis}' for axis in 'xyz']
    if not name.endswith('vx') or not all(c in place for c in force + point):
      continue
    torque = next((
        names for names in _torques(stem) if all(c in place for c in names)
    ), None)
    arrays = [
        values[:, [place[c] for c in names]] if names else
        np.zeros((len(values), 3)) for names in (force, point, torque)
    ]
    f, p, t = (files.to_z_up(array, 'y') for array in arrays)
    loaded = np.abs(f[:, 2]) >= c3d.LOADED
    label = re.sub(r'_*(ground|force)_*', ' ', stem).strip('_ ') or 'ground'
    plates.append(ForcePlate(
        '_'.join(label.split()), f, t + np.cross(p, f),
        np.where(loaded[:, None], p, np.nan), np.zeros(3), None, rate,
        'N, Nm, m'
    ))
  return tuple(plates)


def _torques(stem: str) -> list[list[str]]:
  """Return the names that the torque of a force may have."""
  return [
      [f'{stem.replace("force", word)}{letter}{axis}' for axis in 'xyz']
      for word in ('torque', 'moment') for letter in ('', 'm', 't')
  ]


def _facts(lines: Sequence[str]) -> dict[str, str]:
  """Read `name=value`, or the older `datarows value`."""
  facts = {}
  for line in lines:
    name, found, value = line.partition('=')
    if not found:
      name, _, value = line.strip().partition(' ')
    name = {'datarows': 'nrows', 'datacolumns': 'ncolumns'}.get(
        name.strip().lower(), name.strip().lower())
    facts[name] = value.strip()
  return facts


def _markers(path: files.PathLike, line: str) -> tuple[str, ...]:
  """Read the names of markers, each above its three columns."""
  cells = [cell.strip() for cell in line.split('\t')]
  if len(cells) < 3 or cells[1].lower() != 'time':
    raise DataError(path, 'line 4', 'Frame#, Time and markers, by tabs',
                    repr(line[:40]))
  return points_lib.names(
      path, 'line 4, names', [cell for cell in cells[2:] if cell])


def _whole(path: files.PathLike, facts: dict[str, str], name: str) -> int:
  word = facts.get(name, '')
  # Some programs write 250.000.
  return files.whole(path, name, re.sub(r'\.0*$', '', word))


def _cells(
    path: files.PathLike, number: int, line: str, count: int
) -> list[str]:
  """Split a line into frame, time and coordinates; a gap at its end may be
  cut off."""
  cells = [cell.strip() for cell in line.split('\t')]
  width = 2 + 3 * count
  while len(cells) > width and not cells[-1]:
    cells.pop()
  # Without a gap, spaces separate as well as tabs.
  if len(cells) != width and len(line.split()) == width:
    cells = line.split()
  if len(cells) > width or len(cells) < 2 or (len(cells) - 2) % 3:
    raise DataError(
        path, f'line {number}', f'{width} cells: frame, time, {count} markers',
        f'{len(cells)}', 'The file is cut or damaged'
    )
  return cells + [''] * (width - len(cells))


def _numbers(
    path: files.PathLike, cells: Sequence[Sequence[str]],
    lines: Sequence[int]
) -> np.ndarray:
  """Convert cells to numbers below `files.LARGEST`, empty ones to NaN."""
  try:
    values = np.array([[float(c) if c else np.nan for c in row]
                       for row in cells])
  except ValueError:
    line, word = next(
        (line, c) for line, row in zip(lines, cells) for c in row
        if c and not files.is_number(c)
    )
    raise DataError(
        path, f'line {line}', 'numbers', repr(word[:40])) from None
  seen = np.where(np.isnan(values), 0.0, values)
  files.check_numbers(path, 'rows [row, column]', seen)
  return values
