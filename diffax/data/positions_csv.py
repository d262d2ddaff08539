"""Read and write positions in a table: a column per joint and axis.

    # unit: m
    # up: z
    # parents: Hips=, Chest=Hips
    time,Hips_x,Hips_y,Hips_z,Chest_x,Chest_y,Chest_z
    0,0,0,0.9,0,0,1.5
    0.01,0,0,0.9,0,0,1.5

The three columns of a joint are its name, `_`, `.`, `:`, `-` or a space, and
x, y, z; or the name and a capital, as in `hipX`. A unit of length may follow,
`hip_x_mm` or `hip_x [mm]`. Other columns are passed over.
The rate comes from the caller, from a line `# fps:`, or from a column of times.
Lines that begin with `#` are optional and state what a table cannot: `fps`,
`unit`, `up` and `parents`. A caller's word counts for more than the file's.
"""

from collections.abc import Sequence
import re

import numpy as np

from diffax.data import files
from diffax.data import points as points_lib
from diffax.data import tables
from diffax.data.base import Recording
from diffax.errors import DataError
from diffax.errors import UserError

# Triples of these words are axes of sensors, and forces, not places.
_SENSED = (
    'acc', 'gyr', 'grav', 'quat', 'euler', 'force', 'moment', 'torque', 'grf',
    'angles', 'attitude', 'rotation', 'velocity', 'magnet', 'omega', 'orient')
_SENSED_WORDS = ('mag', 'rot', 'vel', 'imu', 'ori', 'angle')
_SENSED_NAMES = ('a', 'g', 'm', 'w')
_WORDS = re.compile(r'[A-Z]?[a-z]+|[A-Z]+(?![a-z])')
_COLUMN = re.compile(
    r'(.+?)(?:[\s_.:\-]+([xyzXYZ])|(?<=[a-z0-9])([XYZ]))'
    r'(?:[\s_]*[\[(]?(m|cm|mm|in|ft)[\])]?)?$')


def read(
    path: files.PathLike,
    *,
    fps: float | None = None,
    time: str | None = None,
    time_unit: str | None = None,
    parents: points_lib.Parents = None,
    unit: str = 'auto',
    up: str = 'auto',
    gaps: str = 'refuse',
    max_gap: float = 0.2,
) -> Recording:
  """Read joints from a table.

  Args:
    path: the table, plain, `.gz` or `.xz`.
    fps: frames per second.
    time: name of the column of times; found by its name if None.
    time_unit: of that column, a key of `tables.TIME_UNITS`; from its name if
      None, else seconds.
    parents: from joints to parents, None or '' for a root; or N indices;
      without any, and none in the file, the joints are markers.
    unit: `'auto'` or one of `files.METRES`.
    up: the vertical axis, `'auto'`, `'y'` or `'z'`.
    gaps: one of `points.GAPS`.
    max_gap: seconds that may be filled.

  Returns:
    Joints in the order of the file, parents before children, metres, Z up.

  Raises:
    DataError: what is wrong with which field of the file.
    UserError: an option that is unknown or does not fit the file.
  """
  points_lib.check_options(path, unit, up, gaps)
  table = tables.read(path)
  names = joints_of(table.header)
  if not names:
    raise DataError(
        path, 'columns', 'joints such as hip_x, hip_y, hip_z',
        ', '.join(table.header[:12]) or 'none'
    )
  said = table.said
  wanted = [f for name in names for f in names[name]]
  values = tables.numbers(path, table, wanted, gaps=True)
  files.check_numbers(
      path, 'table [row, column]', np.where(np.isnan(values), 0.0, values))
  positions = values.reshape(len(values), len(names), 3)
  if parents is None and 'parents' in said:
    pairs = (pair.partition('=') for pair in said['parents'].split(','))
    parents = {a.strip(): b.strip() for a, _, b in pairs if a.strip()}
  order, above = points_lib.tree(path, list(names), parents)
  joints = [list(names)[i] for i in order]
  positions = positions[:, order]
  stated = said.get('up', '').strip().lower() or None
  if stated not in (None, 'y', 'z'):
    raise DataError(path, '# up', 'y or z', stated or '')
  return points_lib.recording(
      path, joints, above, positions,
      _rate(path, table, fps, time, time_unit),
      unit=points_lib.find_unit(
          path, positions, above, wanted=unit,
          stated=said.get('unit', _unit_of(path, wanted))),
      up=points_lib.find_up(
          positions, 'z', wanted=up, stated=stated,
          said_by='stated by the file: # up'), gaps=gaps, max_gap=max_gap
  )


def joints_of(header: Sequence[str]) -> dict[str, tuple[str, str, str]]:
  """Find the joints among the columns of a table.

  Args:
    header: names of the columns.

  Returns:
    The columns of x, y and z by joint, in the order of the table; the axes of
    sensors, such as `acc_x`, make none.
  """
  found: dict[str, dict[str, str]] = {}
  for column in header:
    match = _COLUMN.match(column)
    if match:
      axis = (match[2] or match[3]).lower()
      found.setdefault(match[1].strip(), {}).setdefault(axis, column)
  return {
      name: (axes['x'], axes['y'], axes['z'])
      for name, axes in found.items()
      if len(axes) == 3 and not _is_sensed(name)
  }


def write(
    path: files.PathLike,
    joints: Sequence[str],
    parents: Sequence[int],
    positions: np.ndarray,
    fps: float,
    unit: str = 'm',
) -> float:
  """Write joints as a table with Z up.

  Args:
    path: the file to write; compressed if it ends in `.xz`.
    joints: N names.
    parents: N indices, -1 for roots and markers.
    positions: [L, N, 3] metres, Z up, NaN where a joint is not seen.
    fps: frames per second.
    unit: unit of length in the file, one of `files.METRES`.

  Returns:
    A bound of the distance, in metres, between a point given and as written.

  Raises:
    UserError: arguments that do not fit together.
  """
  positions = np.asarray(positions, np.float64)
  _check_write(path, joints, parents, positions, fps, unit)
  raw = positions / files.METRES[unit]
  lines = [f'# fps: {float(fps)!r}', f'# unit: {unit}', '# up: z']
  if any(parent >= 0 for parent in parents):
    pairs = (
        f'{name}={joints[parent] if parent >= 0 else ""}'
        for name, parent in zip(joints, parents)
    )
    lines.append(f'# parents: {", ".join(pairs)}')
  lines.append(','.join(
      ['time', *(f'{name}_{axis}' for name in joints for axis in 'xyz')]))
  for frame, row in enumerate(raw.reshape(len(raw), -1)):
    cells = ('' if np.isnan(value) else f'{value:.10g}' for value in row)
    lines.append(','.join([f'{frame / fps:.9f}', *cells]))
  data = ('\n'.join(lines) + '\n').encode()
  files.write_bytes(path, data)
  largest = float(np.abs(np.nan_to_num(raw)).max(initial=0.0))
  return largest * 5e-10 * files.METRES[unit] * np.sqrt(3)


def _unit_of(path: files.PathLike, columns: Sequence[str]) -> str:
  """Return the unit behind the names of columns, if all have the same."""
  units = {_COLUMN.match(column)[4] or '' for column in columns}  # type: ignore
  if len(units) > 1:
    raise DataError(path, 'columns', 'one unit behind all of them',
                    ', '.join(sorted(units)))
  return units.pop()


def _is_sensed(name: str) -> bool:
  words = [word.lower() for word in _WORDS.findall(name)]
  return name.lower() in _SENSED_NAMES or any(
      word in _SENSED_WORDS or word.startswith(_SENSED) for word in words)


def _rate(
    path: files.PathLike, table: tables.Table, fps: float | None,
    time: str | None, time_unit: str | None
) -> float:
  """Take the rate from the caller, from `# fps` or from the times."""
  clock = tables.clock(path, table, time, time_unit)
  found = None
  if clock is not None and fps is None:
    found = tables.rate_of(path, *clock)
  if fps is not None:
    return float(fps)
  word = table.said.get('fps')
  if word is not None:
    stated = float(files.numbers(path, '# fps', [word.strip()])[0])
    if not stated > 0:
      raise DataError(path, '# fps', 'frames per second > 0', word.strip())
    if found is not None:
      tables.check_rate(path, '# fps', stated, found)
    return stated
  if found is None:
    raise DataError(
        path, 'fps', 'a column of times or a line # fps: 100',
        ', '.join(table.header[:6]), 'State the rate: fps=100, for instance'
    )
  return found


def _check_write(
    path: files.PathLike, joints: Sequence[str], parents: Sequence[int],
    positions: np.ndarray, fps: float, unit: str
) -> None:
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
  if len(parents) != len(joints) or not all(
      -1 <= p < len(joints) for p in parents):
    raise UserError(
        f'{path}: parents: expected an index or -1 for each of {len(joints)} '
        f'joints, found {list(parents)}.'
    )
  odd = [name for name in joints if not name or re.search('[,=\\n\\r"#]', name)]
  if odd or len(joints_of([f'{n}_{a}' for n in joints for a in 'xyz'])) < (
      len(joints)):
    raise UserError(
        f'{path}: joints: expected different names without , = # and quotes '
        f'that are not those of sensors, found {odd or list(joints)}.'
    )
