"""Read and write C3D: markers and force plates; read plain or xz.

A C3D file is a header of one block of 512 bytes, a section of named
parameters, and frames of numbers. Everything is read here by NumPy, each
offset checked against the length of the file first: libraries in C++ may end
the process, or run for ever, on a damaged one. The library ezc3d is the judge
of reader and writer in the tests.

Markers have no parents. A file of ours keeps those of a skeleton in a group of
its own, `DIFFAX:PARENTS`, which other programs pass over.

A force plate has axes of its own, z into the ground, x and y along its edges:
with its corners c1 to c4

  (1)  x = c1 - c2,  z = x cross (c1 - c4),  y = z cross x,  each of length 1

and its channels hold the force f that the ground exerts and the moment m about
a point that lies at o from the middle of the surface, so about that middle

  (2)  F = R f,  M = R (m + f cross o),  R = [x y z]

The centre of pressure is where on the surface the horizontal moments vanish:

  (3)  p = (-m_y / f_z, m_x / f_z, 0),  m now about the middle.

Files in which the ground pulls at the feet hold the force on the plate; these
are turned round.

References:
  Motion Lab Systems, "The C3D File Format: A Technical User Guide", 2021.
"""

from collections.abc import Mapping, Sequence
import math
import re
from typing import Any, NamedTuple

import numpy as np

from diffax.data import files
from diffax.data import points as points_lib
from diffax.data.base import ForcePlate
from diffax.data.base import Recording
from diffax.errors import DataError
from diffax.errors import UserError

_BLOCK = 512
_MAGIC = 0x50
# By the byte of the parameter section: order of bytes, and VAX floats.
_PROCESSORS: Mapping[int, tuple[str, bool]] = {
    84: ('<', False), 85: ('<', True), 86: ('>', False)}
# Newtons on a plate below which a centre of pressure means nothing.
LOADED = 10.0
MOST_FRAMES = 65535
MOST_POINTS = 255

# Metres or newtons in a unit, spelt without anything but letters.
_FORCES: Mapping[str, float] = {'n': 1.0, 'kn': 1000.0, 'lbf': 4.4482216153}
_LENGTHS: Mapping[str, float] = {
    'm': 1.0, 'cm': 0.01, 'mm': 0.001, 'in': 0.0254, 'ft': 0.3048}

Parameter = np.ndarray | list[str]


class Raw(NamedTuple):
  """A file as it is.

  Attributes:
    parameters: arrays of numbers, or words, by `GROUP:NAME`; of an array of
      several dimensions the last one comes first, as in NumPy.
    rate: frames per second.
    points: [L, N, 3] in the unit of the file, NaN where a marker is not seen.
    analog: [L subframes, C] scaled channels.
    subframes: samples of a channel in a frame.
  """

  parameters: dict[str, Parameter]
  rate: float
  points: np.ndarray
  analog: np.ndarray
  subframes: int


class _Layout(NamedTuple):
  """Where the numbers of a file lie."""

  points: int
  channels: int
  subframes: int
  frames: int
  start: int
  floats: bool
  order: str
  vax: bool


def read(
    path: files.PathLike,
    *,
    fps: float | None = None,
    unit: str = 'auto',
    up: str = 'auto',
    gaps: str = 'refuse',
    max_gap: float = 0.2,
    plates: bool = True,
) -> Recording:
  """Read the markers and the force plates of a C3D file.

  Points that the file lists as angles, forces, moments, powers or scalars are
  left out.

  Args:
    path: the file, plain or `.xz`.
    fps: frames per second, if those of the file are wrong.
    unit: `'auto'` or one of `files.METRES`.
    up: the vertical axis, `'auto'`, `'y'` or `'z'`.
    gaps: one of `points.GAPS`.
    max_gap: seconds that may be filled.
    plates: whether to read the force plates.

  Returns:
    Markers in the order of the file, metres, Z up; the rate of the plates is
    their own.

  Raises:
    DataError: what is wrong with which field of the file.
    UserError: an unknown unit, axis or way with gaps.
  """
  points_lib.check_options(path, unit, up, gaps)
  raw = parse(path)
  rate = raw.rate if fps is None else float(fps)
  names, keep, notes = _labels(path, raw)
  positions = raw.points[:, keep]
  parents = _parents(raw.parameters, len(names))
  found_unit = points_lib.find_unit(
      path, positions, parents, wanted=unit,
      stated=_word(raw.parameters, 'POINT:UNITS')
  ) if len(names) or unit != 'auto' else ('m', 'no markers')
  stated, said_by = _vertical(raw.parameters)
  found_up = points_lib.find_up(
      positions, 'z', wanted=up, stated=stated, said_by=said_by)
  length = files.METRES[found_unit[0]]
  found = _plates(
      path, raw, rate, found_up[0], length, found_unit[0]) if plates else ()
  return points_lib.recording(
      path, names, parents, positions, rate, unit=found_unit, up=found_up,
      gaps=gaps, max_gap=max_gap, plates=found, notes=notes
  )


def parse(path: files.PathLike) -> Raw:
  """Read the parameters and the numbers of a file, checked for wholeness.

  Raises:
    DataError: what is wrong with which field of the file.
  """
  data = files.read_bytes(path)
  if len(data) < 2 * _BLOCK or data[1] != _MAGIC:
    raise DataError(
        path, 'header', 'a block of 512 bytes that begins with a number and '
        'the byte 0x50, and parameters', f'{len(data)} bytes that begin with '
        f'{data[:2].hex()}', 'Is it a C3D file?'
    )
  start = (data[0] - 1) * _BLOCK
  if not 0 < start <= len(data) - 4 or data[start + 3] not in _PROCESSORS:
    raise DataError(
        path, 'parameter section', 'blocks 2 and on, of processor 84, 85 or '
        '86', f'block {data[0]} of {len(data) // _BLOCK}'
    )
  order, vax = _PROCESSORS[data[start + 3]]
  parameters = _parameters(path, data, start + 4, order, vax)
  layout = _layout(path, data, parameters, order, vax)
  rate = _number(path, parameters, 'POINT:RATE')
  if not 0 < rate < 1e6:
    raise DataError(path, 'POINT:RATE', 'frames per second > 0', f'{rate:g}')
  # The shortest decimal that the file's four bytes can mean.
  rate = float(str(np.float32(rate)))
  numbers = _numbers(data, layout)
  scale = abs(_number(path, parameters, 'POINT:SCALE', 1.0))
  count = 4 * layout.points
  places = numbers[:, :count].reshape(layout.frames, layout.points, 4)
  with np.errstate(invalid='ignore'):
    places = places.astype(np.float64)
  seen = places[..., 3] >= 0
  places = places[..., :3] * (1.0 if layout.floats else scale)
  whole = np.where(seen[..., None], places, 0.0)
  files.check_numbers(
      path, 'points [frame, point, axis]', np.nan_to_num(whole, posinf=np.inf,
                                                         neginf=-np.inf))
  return Raw(
      parameters, rate, np.where(seen[..., None], places, np.nan),
      _analog(path, parameters, numbers[:, count:], layout), layout.subframes)


def write(
    path: files.PathLike,
    joints: Sequence[str],
    parents: Sequence[int],
    positions: np.ndarray,
    fps: float,
    unit: str = 'mm',
    plates: Sequence[ForcePlate] = (),
) -> float:
  """Write a C3D file with Z up.

  A C3D holds single precision: what is written lies within 2^-24 of each
  coordinate of what is given, that is 1e-4 mm within 2 m of the origin.

  Args:
    path: the file to write.
    joints: N names.
    parents: N indices, -1 for roots and markers.
    positions: [L, N, 3] metres, Z up, NaN where a marker is not seen.
    fps: frames per second.
    unit: unit of length in the file, `'m'`, `'cm'` or `'mm'`.
    plates: force plates with corners, of one rate, a multiple of `fps`.

  Returns:
    The largest distance, in metres, between a point given and as written.

  Raises:
    UserError: arguments that do not fit together or into the format.
  """
  positions = np.asarray(positions, np.float64)
  _check_write(path, joints, parents, positions, fps, unit)
  ratio = _check_plates(path, plates, len(positions), fps)
  metres = _LENGTHS[unit]
  seen = np.isfinite(positions).all(-1, keepdims=True)
  raw = np.where(seen, positions, 0.0) / metres
  frames = len(raw)
  numbers = np.concatenate([raw, np.where(seen, 0.0, -1.0)], -1)
  table = np.concatenate(
      [numbers.reshape(frames, -1), _channels(plates, metres, frames)], -1)
  groups = {
      'POINT': {
          'USED': len(joints), 'SCALE': -1.0, 'RATE': float(fps),
          'FRAMES': np.uint16(min(frames, MOST_FRAMES)), 'LABELS': joints,
          'UNITS': [unit], 'X_SCREEN': ['+X'], 'Y_SCREEN': ['+Z'],
      },
      'ANALOG': _analog_group(plates, unit, fps * ratio),
      'FORCE_PLATFORM': _plate_group(plates, metres),
      'TRIAL': {
          'ACTUAL_START_FIELD': np.array([1, 0], np.uint16),
          'ACTUAL_END_FIELD': np.array(
              [frames & 0xFFFF, frames >> 16], np.uint16),
      },
  }
  if any(parent >= 0 for parent in parents):
    groups['DIFFAX'] = {'PARENTS': np.array(parents, np.int16)}
  section = _section(groups)
  block = 2 + len(section) // _BLOCK
  header = np.zeros(_BLOCK // 2, '<u2')
  header[:10] = (
      2 + (_MAGIC << 8), len(joints), 6 * len(plates) * ratio, 1,
      min(frames, MOST_FRAMES), 0, 0, 0, block, ratio)
  header[6:8] = np.array([-1.0], '<f4').view('<u2')
  header[10:12] = np.array([fps], '<f4').view('<u2')
  data = header.tobytes() + section + table.astype('<f4').tobytes()
  data += bytes(-len(data) % _BLOCK)
  files.write_bytes(path, data)
  gone = (raw.astype(np.float32) - raw) * metres
  return float(np.linalg.norm(gone, axis=-1).max(initial=0.0))


def plate_frame(corners: np.ndarray) -> np.ndarray:
  """Return the axes of a plate, the columns of R `[3, 3]`, eq. 1.

  Args:
    corners: [4, 3]; not all on one line.
  """
  x = corners[0] - corners[1]
  z = np.cross(x, corners[0] - corners[3])
  axes = np.stack([x, np.cross(z, x), z], -1)
  return axes / np.linalg.norm(axes, axis=0)


def pressure(
    forces: np.ndarray, moments: np.ndarray, frame: np.ndarray,
    origin: np.ndarray
) -> np.ndarray:
  """Return the centre of pressure on a plate, eq. 3.

  Args:
    forces: [T, 3] newtons, in the axes of the room.
    moments: [T, 3] newton metres about `origin`.
    frame: [3, 3] axes of the plate.
    origin: [3] middle of the surface, metres.

  Returns:
    [T, 3] metres, NaN where the force across the plate is below `LOADED`.
  """
  f, m = forces @ frame, moments @ frame
  loaded = np.abs(f[:, 2]) >= LOADED
  down = np.where(loaded, f[:, 2], 1.0)
  centre = np.stack([-m[:, 1] / down, m[:, 0] / down, 0 * down], -1)
  return np.where(loaded[:, None], centre @ frame.T + origin, np.nan)


def _parameters(
    path: files.PathLike, data: bytes, at: int, order: str, vax: bool
) -> dict[str, Parameter]:
  """Walk the chain of groups and parameters."""
  groups: dict[int, str] = {}
  entries: list[tuple[int, str, Parameter]] = []

  def need(end: int, what: str) -> None:
    if end > len(data):
      raise DataError(
          path, f'parameter section, {what}', f'bytes up to {end}',
          f'a file of {len(data)}', 'The file is cut or damaged'
      )

  while True:
    need(at + 2, 'name')
    length = abs(int.from_bytes(data[at:at + 1], 'big', signed=True))
    if not length:
      break
    number = int.from_bytes(data[at + 1:at + 2], 'big', signed=True)
    body = at + 2 + length
    need(body + 2, 'name')
    name = data[at + 2:body].decode('latin-1').strip().upper()
    step = int(np.frombuffer(data, f'{order}u2', 1, body)[0])
    if number < 0:
      groups[-number] = name
    else:
      entries.append((number, name, _value(
          path, name, data, body + 2, order, vax, need)))
    if not step:
      break
    at = body + step
  found: dict[str, Parameter] = {}
  for number, name, value in entries:
    found.setdefault(f'{groups.get(number, number)}:{name}', value)
  return found


def _value(
    path: files.PathLike, name: str, data: bytes, at: int, order: str,
    vax: bool, need: Any
) -> Parameter:
  """Read one parameter."""
  need(at + 2, name)
  kind = int.from_bytes(data[at:at + 1], 'big', signed=True)
  rank = data[at + 1]
  if kind not in (-1, 1, 2, 4) or rank > 7:
    raise DataError(
        path, f'parameter {name[:40]!r}', 'characters, bytes, integers or '
        'floats in at most 7 dimensions', f'type {kind}, {rank} dimensions'
    )
  need(at + 2 + rank, name)
  shape = tuple(data[at + 2:at + 2 + rank])
  at, count = at + 2 + rank, math.prod(shape)
  need(at + count * abs(kind), name)
  if kind == -1:
    width = shape[0] if shape else 1
    rows = math.prod(shape[1:]) if width else 0
    return [
        data[at + i * width:at + (i + 1) * width].decode('latin-1')
        .replace('\0', ' ').strip() for i in range(rows)
    ]
  if kind == 4:
    values = _floats(data, at, count, order, vax)
  else:
    letter = {1: 'u1', 2: 'i2'}[kind]
    values = np.frombuffer(data, order + letter, count, at)
  return values.reshape(shape[::-1])


def _floats(
    data: bytes, at: int, count: int, order: str, vax: bool
) -> np.ndarray:
  """Read numbers of four bytes; those of a VAX have swapped halves and are
  four times as large as the same bits elsewhere."""
  if not vax:
    return np.frombuffer(data, f'{order}f4', count, at)
  halves = np.frombuffer(data, '<u2', 2 * count, at).reshape(-1, 2)
  bits = (halves[:, 0].astype(np.uint32) << 16) | halves[:, 1]
  return np.where(bits & 0x7F800000, bits.view(np.float32) / 4, 0)


def _layout(
    path: files.PathLike, data: bytes, parameters: Mapping[str, Parameter],
    order: str, vax: bool
) -> _Layout:
  """Find where the numbers lie, and whether the file is long enough."""
  header = np.frombuffer(data, f'{order}u2', 10)
  points, samples, first, last = (int(word) for word in header[1:5])
  subframes = int(header[9])
  used = int(_number(path, parameters, 'POINT:USED', points)) & 0xFFFF
  if used != points:
    raise DataError(
        path, 'POINT:USED', f'{points}, the points of the header', f'{used}')
  channels = int(_number(path, parameters, 'ANALOG:USED', 0)) & 0xFFFF
  subframes = subframes if channels else 0
  if channels * subframes != samples:
    raise DataError(
        path, 'ANALOG:USED', f'channels that make {samples} samples a frame',
        f'{channels} of {subframes} samples each'
    )
  start = (int(header[8]) - 1) * _BLOCK
  floats = _number(path, parameters, 'POINT:SCALE', 1.0) < 0
  width = (4 * points + samples) * (4 if floats else 2)
  frames = _frames(path, parameters, first, last)
  if start < _BLOCK or not width or start + frames * width > len(data):
    raise DataError(
        path, 'frames', f'{frames} of {points} points and {samples} samples, '
        f'{frames * width} bytes from block {start // _BLOCK + 1} on',
        f'{max(0, len(data) - start)}', 'The file is cut or damaged'
    )
  return _Layout(points, channels, subframes, frames, start, floats, order, vax)


def _frames(
    path: files.PathLike, parameters: Mapping[str, Parameter], first: int,
    last: int
) -> int:
  """Count frames: beyond 65,535 the header cannot, and others take over."""
  ends = []
  for name in ('START', 'END'):
    value = parameters.get(f'TRIAL:ACTUAL_{name}_FIELD')
    if isinstance(value, np.ndarray) and value.size == 2:
      low, high = (int(word) & 0xFFFF for word in value.ravel())
      ends.append(low + (high << 16))
  if len(ends) == 2 and ends[1] >= ends[0] and (
      last == MOST_FRAMES or ends[1] - ends[0] == last - first):
    return ends[1] - ends[0] + 1
  if last == MOST_FRAMES:
    stated = _number(path, parameters, 'POINT:FRAMES', last - first + 1)
    return int(stated) & 0xFFFF if stated < 0 else int(stated)
  if last < first:
    raise DataError(path, 'frames', 'a last frame after the first',
                    f'{first} to {last}')
  return last - first + 1


def _numbers(data: bytes, layout: _Layout) -> np.ndarray:
  """Read all frames, [L, 4 N + samples], float32 or int16."""
  width = 4 * layout.points + layout.channels * layout.subframes
  count = layout.frames * width
  if layout.floats:
    values = _floats(data, layout.start, count, layout.order, layout.vax)
  else:
    values = np.frombuffer(data, f'{layout.order}i2', count, layout.start)
  return values.reshape(layout.frames, width)


def _analog(
    path: files.PathLike, parameters: Mapping[str, Parameter],
    numbers: np.ndarray, layout: _Layout
) -> np.ndarray:
  """Scale the channels: (sample - offset) scale general scale."""
  count = layout.channels
  if not numbers.size:
    return np.zeros((0, count))
  with np.errstate(invalid='ignore'):
    values = numbers.reshape(-1, count).astype(np.float64)
  unsigned = _word(parameters, 'ANALOG:FORMAT').upper() == 'UNSIGNED'
  if unsigned and not layout.floats:
    values = np.where(values < 0, values + 65536, values)

  def per_channel(name: str, default: float) -> np.ndarray:
    value = _array(parameters, name)
    value = value if len(value) >= count else np.concatenate(
        [value, np.full(count - len(value), default)])
    return value[:count]

  offset = per_channel('ANALOG:OFFSET', 0.0)
  if unsigned:
    offset = np.where(offset < 0, offset + 65536, offset)
  scale = per_channel('ANALOG:SCALE', 1.0) * _number(
      path, parameters, 'ANALOG:GEN_SCALE', 1.0)
  for name, array in (('OFFSET', offset), ('SCALE', scale)):
    files.check_numbers(path, f'ANALOG:{name}', array)
  with np.errstate(over='ignore', invalid='ignore'):
    return (values - offset) * scale


def _labels(
    path: files.PathLike, raw: Raw
) -> tuple[tuple[str, ...], list[int], dict[str, str]]:
  """Name the points, and leave out those that are no places."""
  count = raw.points.shape[1]
  labels = _series(raw.parameters, 'POINT:LABELS')[:count]
  labels += [''] * (count - len(labels))
  others = {
      label for kind in ('ANGLES', 'FORCES', 'MOMENTS', 'POWERS', 'SCALARS',
                         'REACTIONS')
      for label in _series(raw.parameters, f'POINT:{kind}')
  } - {''}
  keep = [i for i, label in enumerate(labels) if label not in others]
  taken: set[str] = set()
  names, renamed = [], 0
  for i in keep:
    name, copy = labels[i] or f'point{i + 1}', 1
    while name in taken:
      copy += 1
      name = f'{labels[i]}_{copy}'
    renamed += name != labels[i]
    taken.add(name)
    names.append(name)
  notes = {}
  if renamed:
    notes['names'] = f'{renamed} points without a name of their own named'
  if len(keep) < count:
    notes['left out'] = f'{count - len(keep)} angles, forces and the like'
  return tuple(names), keep, notes


def _parents(
    parameters: Mapping[str, Parameter], count: int
) -> tuple[int, ...]:
  """Return the parents that a file of ours holds, else none."""
  found = [int(p) for p in _array(parameters, 'DIFFAX:PARENTS')]
  # Stored as they are, -1 for a root, each before its children.
  if len(found) == count and all(
      -1 <= parent < child for child, parent in enumerate(found)):
    return tuple(found)
  return (-1,) * count


def _vertical(parameters: Mapping[str, Parameter]) -> tuple[str | None, str]:
  """Return the axis that is drawn upwards, or the normal of the plates."""
  word = _word(parameters, 'POINT:Y_SCREEN').upper()
  if word in ('+Y', '+Z', 'Y', 'Z'):
    return word[-1].lower(), f'stated by the file: Y_SCREEN {word}'
  corners = _array(parameters, 'FORCE_PLATFORM:CORNERS')
  if len(corners) >= 12 and np.isfinite(corners[:12]).all():
    sides = np.diff(corners[:12].reshape(4, 3), axis=0)
    normal = np.abs(np.cross(sides[0], sides[1]))
    axis = int(normal.argmax())
    if axis and normal[axis] > 10 * np.delete(normal, axis).max():
      return 'xyz'[axis], 'the force plate lies across it'
  return None, ''


def _plates(
    path: files.PathLike, raw: Raw, fps: float, up: str, metres: float,
    unit: str
) -> tuple[ForcePlate, ...]:
  """Read the force plates."""
  group = 'FORCE_PLATFORM:'
  count = int(_number(path, raw.parameters, group + 'USED', 0))
  if count <= 0 or not raw.analog.size:
    return ()
  kinds = _array(raw.parameters, group + 'TYPE')
  corners = _array(raw.parameters, group + 'CORNERS')
  origins = _array(raw.parameters, group + 'ORIGIN')
  channels = raw.parameters.get(group + 'CHANNEL')
  if (
      len(kinds) < count or len(corners) < 12 * count
      or len(origins) < 3 * count or not isinstance(channels, np.ndarray)
      or channels.ndim > 2 or len(np.atleast_2d(channels)) < count
  ):
    raise DataError(
        path, group + 'USED', f'type, corners, origin and channels of {count} '
        f'plates', f'{len(kinds)} types, {len(corners) // 12} times four '
        f'corners, {len(origins) // 3} origins', 'Pass plates=False to read '
        'the markers alone'
    )
  return tuple(
      _plate(
          path, raw, i, int(kinds[i]), corners[12 * i:12 * i + 12],
          origins[3 * i:3 * i + 3],
          np.atleast_2d(channels)[i].astype(np.int64) - 1, fps, up, metres,
          unit
      ) for i in range(count)
  )


def _plate(
    path: files.PathLike, raw: Raw, index: int, kind: int,
    corners: np.ndarray, origin: np.ndarray, channels: np.ndarray, fps: float,
    up: str, metres: float, unit: str
) -> ForcePlate:
  field = f'FORCE_PLATFORM {index + 1}'
  mend = 'Pass plates=False to read the markers alone'
  if kind not in (1, 2, 3, 4):
    raise DataError(path, f'{field}, TYPE', '1, 2, 3 or 4', f'{kind}', mend)
  width = 8 if kind == 3 else 6
  channels = channels[:width]
  if len(channels) < width or channels.min() < 0 or (
      channels.max() >= raw.analog.shape[1]):
    raise DataError(
        path, f'{field}, CHANNEL', f'{width} of {raw.analog.shape[1]} '
        'channels', f'{(channels + 1).tolist()}', mend
    )
  places = files.check_numbers(
      path, f'{field}, CORNERS', corners).reshape(4, 3) * metres
  origin = files.check_numbers(path, f'{field}, ORIGIN', origin) * metres
  # The point lies below the surface, whatever sign a maker gives it.
  origin = -origin if origin[2] > 0 else origin
  sides = places[:2] - places[[1, 2]]
  if np.linalg.norm(np.cross(*sides)) < 1e-4:
    raise DataError(
        path, f'{field}, CORNERS', 'four corners of a surface',
        f'{(places / metres).tolist()}', mend
    )
  force, length, said = _units(path, field, raw.parameters, channels, unit)
  data = files.check_numbers(
      path, f'{field}, samples', raw.analog[:, channels])
  if kind == 4:
    data = data @ _calibration(path, field, raw.parameters, index).T
  local, moments = _wrench(kind, data, origin, force, length)
  if kind == 3:
    moments = _corrected(local, moments, raw.parameters, index)
  frame = plate_frame(places)
  middle = places.mean(0)
  forces, moments = local @ frame.T, moments @ frame.T
  turned = files.to_z_up(np.stack([forces, moments]), up)
  frame = files.to_z_up(frame.T, up).T
  middle, places = (files.to_z_up(p, up) for p in (middle, places))
  forces, moments = -turned if turned[0, :, 2].sum() < 0 else turned
  return ForcePlate(
      f'plate {index + 1}', forces, moments,
      pressure(forces, moments, frame, middle), middle, places,
      fps * raw.subframes, said
  )


def _wrench(
    kind: int, data: np.ndarray, origin: np.ndarray, force: float,
    length: float
) -> tuple[np.ndarray, np.ndarray]:
  """Return force, N, and moment about the middle, N m, in axes of the plate.

  Args:
    kind: 1, six numbers with the centre of pressure; 2 and 4, with the
      moment; 3, eight forces at the feet of the plate.
    data: [T, 6 or 8] of the file.
    origin: [3] of the sensor from the middle, metres.
    force: newtons in a unit of force.
    length: metres in the unit of length of the moments.
  """
  if kind == 3:
    c, (a, b, down) = data.T * force, origin
    a, b = abs(a), abs(b)
    f = np.stack([c[0] + c[1], c[2] + c[3], c[4:].sum(0)], -1)
    m = np.stack([
        b * (c[4] + c[5] - c[6] - c[7]), a * (c[5] + c[6] - c[4] - c[7]),
        b * (c[1] - c[0]) + a * (c[2] - c[3])], -1)
    return f, m + np.cross(f, [0, 0, down])
  f = data[:, :3] * force
  if kind == 1:
    centre = np.concatenate(
        [data[:, 3:5] * length, np.zeros((len(data), 1))], -1)
    free = data[:, 5:] * force * length * np.array([0, 0, 1.0])
    return f, np.cross(centre, f) + free
  return f, data[:, 3:] * force * length + np.cross(f, origin)


def _corrected(
    forces: np.ndarray, moments: np.ndarray,
    parameters: Mapping[str, Parameter], index: int
) -> np.ndarray:
  """Move the centre of pressure of a plate on four feet as its maker says."""
  table = _array(parameters, 'FORCE_PLATFORM:FPCOPPOLY')
  table = table[12 * index:12 * index + 12]
  if len(table) < 12 or not table.any() or not np.isfinite(table).all():
    return moments
  loaded = np.abs(forces[:, 2]) >= LOADED
  down = np.where(loaded, forces[:, 2], 1.0)
  # The polynomials are in millimetres.
  x, y = -moments[:, 1] / down * 1e3, moments[:, 0] / down * 1e3

  def off(p: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return (
        (p[0] * v**4 + p[1] * v**2 + p[2]) * u**3
        + (p[3] * v**4 + p[4] * v**2 + p[5]) * u
    )

  x, y = x - off(table[:6], x, y), y - off(table[6:], y, x)
  new = np.stack([y * down / 1e3, -x * down / 1e3, moments[:, 2]], -1)
  return np.where(loaded[:, None], new, moments)


def _calibration(
    path: files.PathLike, field: str, parameters: Mapping[str, Parameter],
    index: int
) -> np.ndarray:
  """Return the matrix [6, 6] from channels to forces and moments."""
  table = _array(parameters, 'FORCE_PLATFORM:CAL_MATRIX')
  if not len(table):
    return np.eye(6)
  if len(table) < 36 * (index + 1):
    raise DataError(
        path, f'{field}, CAL_MATRIX', '36 numbers a plate', f'{len(table)}')
  table = files.check_numbers(
      path, f'{field}, CAL_MATRIX', table[36 * index:36 * index + 36])
  return table.reshape(6, 6).T


def _units(
    path: files.PathLike, field: str, parameters: Mapping[str, Parameter],
    channels: np.ndarray, unit: str
) -> tuple[float, float, str]:
  """Return newtons in a unit of force, metres in that of moments, names."""
  stated = _series(parameters, 'ANALOG:UNITS')
  words = [
      re.sub('[^a-z]', '', stated[c].lower()) if c < len(stated) else ''
      for c in channels
  ]
  force = words[0] or 'n'
  moment = words[3] if len(words) == 6 and words[3] else ''
  length = next(
      (u for u in ('mm', 'cm', 'm', 'in', 'ft') if moment.endswith(u)), unit)
  # Volts are turned into newtons by a calibration, if at all.
  force = 'n' if force in ('v', 'mv') else force
  if force not in _FORCES or length not in _LENGTHS:
    raise DataError(
        path, f'{field}, ANALOG:UNITS', 'newtons and newton metres, or their '
        'multiples', f'{words}', 'Pass plates=False to read the markers alone'
    )
  name = {'n': 'N', 'kn': 'kN'}.get(force, force)
  return _FORCES[force], _LENGTHS[length], f'{name}, {name}{length}, {unit}'


def _number(
    path: files.PathLike, parameters: Mapping[str, Parameter], name: str,
    default: float | None = None
) -> float:
  """Return the first number of a parameter."""
  value = parameters.get(name)
  if isinstance(value, np.ndarray) and value.size:
    with np.errstate(invalid='ignore'):
      return float(files.check_numbers(path, name, value.ravel()[:1])[0])
  if default is None:
    raise DataError(path, name, 'a number', 'no such parameter')
  return default


def _array(parameters: Mapping[str, Parameter], name: str) -> np.ndarray:
  """Return the numbers of a parameter, flat; none if it has none."""
  value = parameters.get(name)
  with np.errstate(invalid='ignore'):
    return value.ravel().astype(np.float64) if isinstance(
        value, np.ndarray) else np.zeros(0)


def _word(parameters: Mapping[str, Parameter], name: str) -> str:
  value = parameters.get(name)
  return value[0] if isinstance(value, list) and value else ''


def _series(parameters: Mapping[str, Parameter], name: str) -> list[str]:
  """Return the words of a parameter and of its sequels, LABELS2 and on."""
  words: list[str] = []
  number, key = 1, name
  while isinstance(parameters.get(key), list):
    words += parameters[key]  # type: ignore[arg-type]
    number += 1
    key = f'{name}{number}'
  return words


def _check_write(
    path: files.PathLike, joints: Sequence[str], parents: Sequence[int],
    positions: np.ndarray, fps: float, unit: str
) -> None:
  shape = (len(joints), 3)
  if positions.ndim != 3 or positions.shape[1:] != shape or not (
      positions.size):
    raise UserError(
        f'{path}: positions: expected [frames, {shape[0]}, 3], found '
        f'{list(positions.shape)}.'
    )
  longest = max((len(name) for name in joints), default=0)
  if len(joints) > MOST_POINTS or longest > MOST_POINTS:
    raise UserError(
        f'{path}: points: expected at most {MOST_POINTS}, of as many letters, '
        f'in a C3D file, found {len(joints)} of {longest}. Write npz instead.'
    )
  if len(parents) != len(joints) or not all(
      -1 <= parent < child for child, parent in enumerate(parents)):
    raise UserError(
        f'{path}: parents: expected -1 or an earlier joint for each of '
        f'{len(joints)}, found {list(parents)}.'
    )
  if np.isinf(positions).any() or not (np.isfinite(fps) and fps > 0):
    raise UserError(
        f'{path}: expected finite positions and a rate above 0, found '
        f'{"infinity" if np.isinf(positions).any() else fps}.'
    )
  if unit not in ('m', 'cm', 'mm'):
    raise UserError(f'{path}: unit: expected m, cm or mm, found {unit!r}.')


def _check_plates(
    path: files.PathLike, plates: Sequence[ForcePlate], frames: int, fps: float
) -> int:
  """Return the samples of the plates in a frame."""
  if not plates:
    return 0
  ratio = round(plates[0].rate / fps)
  for plate in plates:
    if plate.corners is None:
      raise UserError(
          f'{path}: {plate.name}: expected corners, which a C3D file needs, '
          'found none. Write npz instead.'
      )
    if ratio < 1 or abs(plate.rate / fps - ratio) > 1e-6 * ratio or (
        len(plate.forces) != ratio * frames):
      raise UserError(
          f'{path}: {plate.name}: expected {frames} frames at {fps:g} per '
          f'second times a whole number, the same for every plate, found '
          f'{len(plate.forces)} samples at {plate.rate:g}. Write npz instead.'
      )
  return ratio


def _channels(
    plates: Sequence[ForcePlate], metres: float, frames: int
) -> np.ndarray:
  """Return the samples of plates, [L, subframes 6 P], in their own axes.

  The sensor is in the middle of the surface, so eq. 2 has no o.
  """
  channels = [np.zeros((frames, 0))]
  for plate in plates:
    assert plate.corners is not None
    frame = plate_frame(plate.corners)
    arm = plate.origin - plate.corners.mean(0)
    moments = plate.moments + np.cross(arm, plate.forces)
    channels += [plate.forces @ frame, moments @ frame / metres]
  if len(channels) == 1:
    return channels[0]
  return np.concatenate(channels[1:], -1).reshape(frames, -1)


def _analog_group(
    plates: Sequence[ForcePlate], unit: str, rate: float
) -> dict[str, Any]:
  count = 6 * len(plates)
  axes = ('Fx', 'Fy', 'Fz', 'Mx', 'My', 'Mz')
  group = {
      'USED': count, 'RATE': float(rate), 'GEN_SCALE': 1.0,
      'SCALE': np.ones(count, np.float32),
      'OFFSET': np.zeros(count, np.int16),
      'LABELS': [f'{axis}{i + 1}' for i in range(len(plates)) for axis in axes],
      'UNITS': (['N'] * 3 + [f'N{unit}'] * 3) * len(plates),
  }
  return group


def _plate_group(
    plates: Sequence[ForcePlate], metres: float
) -> dict[str, Any]:
  """Describe plates of type 2: six channels of force and moment."""
  count = len(plates)
  if not count:
    return {'USED': 0}
  corners = np.stack([np.asarray(plate.corners) for plate in plates])
  return {
      'USED': count, 'TYPE': np.full(count, 2, np.int16),
      'ZERO': np.zeros(2, np.int16),
      'CHANNEL': np.arange(1, 6 * count + 1, dtype=np.int16).reshape(-1, 6),
      'CORNERS': (corners / metres).astype(np.float32),
      'ORIGIN': np.zeros((count, 3), np.float32),
  }


def _section(groups: Mapping[str, Mapping[str, Any]]) -> bytes:
  """Write the parameter section, whole blocks."""
  body = b''
  for number, (group, parameters) in enumerate(groups.items(), 1):
    body += _entry(group, -number, b'\0')
    for name, value in parameters.items():
      body += _entry(name, number, _encoded(value) + b'\0')
  blocks = -(-(len(body) + 6) // _BLOCK)
  head = bytes([1, _MAGIC, blocks, 84])
  return (head + body).ljust(blocks * _BLOCK, b'\0')


def _entry(name: str, number: int, rest: bytes) -> bytes:
  """Write a name, the way to the next entry, and what is in between."""
  return (
      bytes([len(name)]) + number.to_bytes(1, 'little', signed=True)
      + name.encode() + (len(rest) + 2).to_bytes(2, 'little') + rest
  )


def _encoded(value: Any) -> bytes:
  """Write type, dimensions and values; the first dimension is the fastest."""
  if isinstance(value, (list, tuple)):
    words = [word.encode('latin-1', 'replace') for word in value]
    width = max((len(word) for word in words), default=0)
    return bytes([255, 2, width, len(words)]) + b''.join(
        word.ljust(width) for word in words)
  array = np.asarray(value)
  array = array.astype('<f4' if array.dtype.kind == 'f' else '<i2')
  shape = bytes([array.ndim, *array.shape[::-1]])
  return bytes([array.dtype.itemsize]) + shape + array.tobytes()
