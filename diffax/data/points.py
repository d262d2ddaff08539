"""From the points of a file to a recording: rate, unit, vertical, gaps.

C3D, TRC and tables hold points in a unit and in axes that they may or may not
name, at times that may be rounded, with holes where no camera saw a marker.
The readers of these formats share what is done about it, and each decision is
noted in the recording with its reason.

  unit      as stated; else the one in which the bones make a grown person,
            or, without bones, in which the points span a third of a metre to
            two and a half: the units m, cm and mm are a factor ten apart
  vertical  as stated; else Y or Z, if the points reach half as far again along
            it as along the other; else by the custom of the format
  gaps      refused, with the joint and the frame; kept as NaN; or filled, if
            short, by a curve that overshoots none of the points beside it
"""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import interpolate

from diffax.data import base
from diffax.data import files
from diffax.data import tables
from diffax.data.base import Recording
from diffax.errors import DataError
from diffax.errors import UserError

GAPS = ('refuse', 'keep', 'fill')
UNITS: Mapping[str, str] = {
    'm': 'm', 'meter': 'm', 'meters': 'm', 'metre': 'm', 'metres': 'm',
    'cm': 'cm', 'centimeters': 'cm', 'centimetres': 'cm',
    'mm': 'mm', 'millimeters': 'mm', 'millimetres': 'mm',
    'in': 'in', 'inch': 'in', 'inches': 'in',
    'ft': 'ft', 'foot': 'ft', 'feet': 'ft',
    'acclaim': 'acclaim',
}
"""Units of length by the words of files."""

Parents = Mapping[str, str | None] | Sequence[int] | None
"""From joints to parents, None or '' for a root; or N indices, -1 for a root;
None for markers."""

# Metres across the points of one frame, markers on a foot to a whole studio.
_SPAN = (0.05, 30.0)
# The same of one person, to guess a unit by; less than a factor ten.
_PERSON = (0.28, 2.75)


def check_options(
    path: files.PathLike, unit: str, up: str, gaps: str
) -> None:
  """Raise a UserError unless the options of a reader are known ones."""
  for name, value, known in (
      ('unit', unit, ('auto', *files.METRES)), ('up', up, ('auto', 'y', 'z')),
      ('gaps', gaps, GAPS),
  ):
    if value not in known:
      raise UserError(
          f'{path}: {name}: expected one of {", ".join(known)}, found '
          f'{value!r}.'
      )


def recording(
    path: files.PathLike,
    joints: Sequence[str],
    parents: Sequence[int],
    positions: np.ndarray,
    fps: float,
    *,
    unit: tuple[str, str],
    up: tuple[str, str],
    gaps: str = 'refuse',
    max_gap: float = 0.2,
    plates: Sequence[base.ForcePlate] = (),
    notes: Mapping[str, str] | None = None,
) -> Recording:
  """Make a recording of points.

  Args:
    path: the file.
    joints: N names.
    parents: N indices, -1 for a root or a marker.
    positions: [L, N, 3] in the unit and axes of the file, NaN in gaps.
    fps: frames per second.
    unit: the unit and why it is this one, see `find_unit`.
    up: the vertical axis and why, see `find_up`.
    gaps: one of `GAPS`.
    max_gap: seconds that may be filled.
    plates: force plates, in metres, Z up.
    notes: of the reader.

  Returns:
    The recording, metres, Z up.

  Raises:
    DataError: gaps, or a size that no scene with a body has.
  """
  if not (np.isfinite(fps) and 0 < fps <= files.LARGEST):
    raise DataError(path, 'fps', 'frames per second > 0', f'{fps!r}')
  positions = files.to_z_up(
      np.asarray(positions, np.float64), up[0]) * files.METRES[unit[0]]
  missing = np.isnan(positions.sum(-1))
  said = {'unit': unit[1], 'up': f'{up[0].upper()}: {up[1]}', **(notes or {})}
  if gaps == 'fill' and missing.any():
    positions = fill(path, joints, positions, fps, max_gap)
    said['gaps'] = f'{int(missing.sum())} points filled'
  found = Recording(
      tuple(joints), tuple(parents), positions, float(fps), str(path), unit[0],
      tuple(plates), said
  )
  if gaps == 'refuse' and missing.any():
    frame, joint = (int(i) for i in np.argwhere(missing)[0])
    raise DataError(
        path, f'frame {frame}, joint {joints[joint]}', 'a position',
        f'a gap ({int(missing.sum())} in all, in {int(missing.any(1).sum())} '
        f'of {len(missing)} frames)', "Pass gaps='fill' or gaps='keep'"
    )
  base.check_recording(found, gaps=gaps == 'keep')
  if not found.has_bones:
    _check_span(path, positions, unit[0])
  return found


def find_unit(
    path: files.PathLike,
    positions: np.ndarray,
    parents: Sequence[int],
    *,
    wanted: str = 'auto',
    stated: str = '',
) -> tuple[str, str]:
  """Find the unit of length.

  Args:
    path: the file.
    positions: [L, N, 3], in the unit of the file.
    parents: N indices.
    wanted: by the caller, `'auto'` or a key of `files.METRES`.
    stated: by the file; a word that means no unit counts as none.

  Returns:
    A key of `files.METRES`, and the reason.

  Raises:
    DataError: nothing says what it is.
  """
  if wanted != 'auto':
    return wanted, 'as the caller says'
  word = stated.strip().lower().rstrip('.')
  if word in UNITS:
    return UNITS[word], f'stated by the file: {stated.strip()!r}'
  whole = positions[np.isfinite(positions).all((1, 2))]
  if any(parent >= 0 for parent in parents):
    size = base.reach(whole, parents) if len(whole) else 0.0
    unit = files.guess_unit(size)
    reason = 'along the bones from hand to foot'
  else:
    size, reason = _span(positions), 'across the points of a frame'
    unit = next((u for u in ('m', 'cm', 'mm')
                 if _PERSON[0] <= size * files.METRES[u] <= _PERSON[1]), None)
  if unit is None:
    raise DataError(
        path, 'unit', 'a stated unit of length, or the size of a person',
        f'{stated.strip()!r} and {size:.4g} units {reason}',
        'State the unit: unit=mm, for instance'
    )
  return unit, (f'guessed: {size:.4g} units {reason} are '
                f'{size * files.METRES[unit]:.2f} m')


def find_up(
    positions: np.ndarray, custom: str, *, wanted: str = 'auto',
    stated: str | None = None, said_by: str = ''
) -> tuple[str, str]:
  """Find the vertical axis.

  Args:
    positions: [L, N, 3].
    custom: the axis that the format usually has.
    wanted: by the caller, `'auto'`, `'y'` or `'z'`.
    stated: by the file, if it says so.
    said_by: where the file says so.

  Returns:
    `'y'` or `'z'`, and the reason.
  """
  if wanted != 'auto':
    return wanted, 'as the caller says'
  if stated in ('y', 'z'):
    return stated, said_by
  extent = _extents(positions)
  for axis, other in (('y', 'z'), ('z', 'y')):
    high, wide = (extent['xyz'.index(letter)] for letter in (axis, other))
    if high > 1.5 * wide:
      return axis, (f'the points reach {high:.4g} units along it, {wide:.4g} '
                    f'along {other.upper()}')
  return custom, 'the custom of the format'


def fill(
    path: files.PathLike, joints: Sequence[str], positions: np.ndarray,
    fps: float, max_gap: float
) -> np.ndarray:
  """Fill short gaps.

  Args:
    path: the file.
    joints: N names.
    positions: [L, N, 3], NaN in gaps.
    fps: frames per second.
    max_gap: seconds that a gap may last.

  Returns:
    Positions without NaN.

  Raises:
    DataError: a gap is longer, or at the beginning or the end.
  """
  filled = positions.copy()
  frames = np.arange(len(positions))
  for joint, name in enumerate(joints):
    seen = np.isfinite(positions[:, joint]).all(-1)
    if seen.all():
      continue
    edges = np.flatnonzero(np.diff(np.concatenate([[1], seen, [1]])))
    for begin, end in zip(edges[::2], edges[1::2]):
      inside = begin > 0 and end < len(seen)
      if not inside or end - begin > max_gap * fps:
        raise DataError(
            path, f'frames {begin} to {end - 1}, joint {name}',
            f'a gap of {max_gap:g} s at most, with the joint seen before and '
            'after it', f'{(end - begin) / fps:.3f} s',
            "Pass a greater max_gap, or gaps='keep'"
        )
    curve = interpolate.PchipInterpolator(frames[seen], filled[seen, joint])
    filled[~seen, joint] = curve(frames[~seen])
  return filled


def names(
    path: files.PathLike, field: str, found: Sequence[str]
) -> tuple[str, ...]:
  """Return names of points; refuse none, an empty one or one twice."""
  for name in found:
    if not name or list(found).count(name) > 1:
      raise DataError(
          path, field, 'each name once', f'{list(found).count(name)} times '
          f'{name[:40]!r}'
      )
  return tuple(found)


def tree(
    path: files.PathLike, joints: Sequence[str], parents: Parents
) -> tuple[list[int], list[int]]:
  """Order joints so that parents come before their children.

  Args:
    path: the file.
    joints: N names.
    parents: of the joints.

  Returns:
    Indices of the joints in their new order, which is the old one where that
    serves; and the index of each one's parent in the new order, -1 for a root.

  Raises:
    DataError: a name that is no joint, or joints in a ring.
    UserError: indices that do not fit.
  """
  above = _indices(path, list(joints), parents)
  order: list[int] = []
  placed, left = {-1}, list(range(len(above)))
  while left:
    # The first that can be placed, so that a tree in order stays as it is.
    ready = next((i for i in left if above[i] in placed), None)
    if ready is None:
      raise DataError(
          path, 'parents', 'a tree', f'a ring of {joints[left[0]]} and others')
    order.append(ready)
    placed.add(ready)
    left.remove(ready)
  index = {old: new for new, old in enumerate(order)} | {-1: -1}
  return order, [index[above[i]] for i in order]


def _indices(
    path: files.PathLike, joints: list[str], parents: Parents
) -> list[int]:
  if parents is None:
    return [-1] * len(joints)
  if not isinstance(parents, Mapping):
    found = [int(parent) for parent in parents]
    if len(found) != len(joints) or not all(
        -1 <= parent < len(joints) for parent in found):
      raise UserError(
          f'{path}: parents: expected {len(joints)} indices of joints or -1, '
          f'found {found}.'
      )
    return found
  for child, parent in parents.items():
    for name in (child, parent):
      if name and name not in joints:
        raise DataError(
            path, f'parents, {child}', 'joints of the file', repr(name[:40]),
            tables.nearest(name, joints)
        )
  return [
      joints.index(str(parents[joint])) if parents.get(joint) else -1
      for joint in joints
  ]


def _extents(positions: np.ndarray) -> np.ndarray:
  """Return the usual size of a frame along x, y and z; 0 without points."""
  few = positions[:: max(1, len(positions) // 256)]
  seen = np.isfinite(few).all(-1, keepdims=True)
  if not seen.any():
    return np.zeros(3)
  high = np.where(seen, few, -np.inf).max(1)
  low = np.where(seen, few, np.inf).min(1)
  some = seen.any((1, 2))
  return np.median(high[some] - low[some], axis=0)


def _span(positions: np.ndarray) -> float:
  """Return the diagonal of the box around the points of a usual frame."""
  return float(np.linalg.norm(_extents(positions)))


def _check_span(
    path: files.PathLike, positions: np.ndarray, unit: str
) -> None:
  size = _span(positions)
  if size == 0 or _SPAN[0] <= size <= _SPAN[1]:
    return
  raw = size / files.METRES[unit]
  likely = next((u for u in ('m', 'cm', 'mm')
                 if _PERSON[0] <= raw * files.METRES[u] <= _PERSON[1]), None)
  raise DataError(
      path, 'unit', f'points {_SPAN[0]:g} to {_SPAN[1]:g} m apart',
      f'{size:.4g} m (file read in {unit})',
      f'State the unit: {likely}' if likely else ''
  )
