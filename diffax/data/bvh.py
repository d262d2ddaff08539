"""Read and write Biovision hierarchies (BVH), plain or xz.

A joint is the START of its bone. With the channels of a joint in the order of
the file, rotations multiply from the left to the right (`Zrotation Xrotation
Yrotation` is R = Rz Rx Ry); position channels replace the offset, in any
joint, which is what the files in use mean (LAFAN1's root, every joint of the
Bandai-Namco set). The end of a chain is named `End_` + its joint; ends of zero
length say nothing and are left out.

The format names neither its unit nor its vertical axis. The unit is the one
that makes the skeleton a grown person's (see `files.guess_unit`), unless the
caller states it. The vertical axis is Y, the format's custom, unless along Z
the body is half as tall again, in a usual frame. A body that lies
along Z all the time is taken for a standing one: state `up` for such clips.
"""

import dataclasses
import re
from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from diffax.body import kinematics
from diffax.data import files, fk, points
from diffax.data.base import Recording, check_recording, reach
from diffax.errors import DataError, UserError


@dataclasses.dataclass
class Node:
  """A joint of the hierarchy: its channels are words such as `Xrotation`."""

  name: str
  parent: int
  offset: np.ndarray
  channels: tuple[str, ...]


def read(
    path: files.PathLike,
    *,
    fps: float | None = None,
    unit: str = 'auto',
    up: str = 'auto',
    skip_first: int = 0,
) -> Recording:
  """Read a BVH file and compute its joints.

  Args:
    path: the file, plain or `.xz`.
    fps: frames per second, if the file's own `Frame Time` is wrong.
    unit: `'auto'` or one of `files.METRES`.
    up: the vertical axis, `'auto'`, `'y'` or `'z'`.
    skip_first: frames to leave out at the start (a calibration pose).

  Returns:
    Joints in the order of the file, root first, in metres with Z up.

  Raises:
    DataError: what is wrong with which field of the file.
    UserError: an unknown unit or axis.
  """
  if unit not in ('auto', *files.METRES):
    raise UserError(f'unit: expected auto, {", ".join(files.METRES)}, found'
                    f' {unit!r}.')
  if up not in ('auto', 'y', 'z'):
    raise UserError(f"up: expected 'auto', 'y' or 'z', found {up!r}.")
  nodes, motion, rate = parse(path)
  positions = joints(path, nodes, motion[skip_first:])
  nodes, positions = _without_floor(nodes, positions)
  parents = tuple(node.parent for node in nodes)
  axis, why_up = points.find_up(positions, 'y', wanted=up)
  positions = files.to_z_up(positions, axis)
  unit, why = _unit(path, positions, parents, unit)
  positions = positions * files.METRES[unit]
  rate = rate if fps is None else float(fps)
  recording = Recording(
      joints=tuple(node.name for node in nodes), parents=parents,
      positions=positions, fps=rate, file=str(path), unit=unit,
      notes={'unit': why, 'up': f'{axis.upper()}: {why_up}'},
  )
  check_recording(recording)
  return recording


def parse(path: files.PathLike) -> tuple[list[Node], np.ndarray, float]:
  """Split a file into its hierarchy, its motion and its frame rate.

  Returns:
    Nodes (parents first), channel values `[L, C]`, frames per second.

  Raises:
    DataError: what is wrong with which field of the file.
  """
  text = files.read_text(path)
  head, found, body = text.partition('MOTION')
  if not found:
    raise DataError(path, 'MOTION', 'this section after HIERARCHY',
                    'no such word (is it a BVH file?)')
  nodes = _hierarchy(path, head)
  match = re.match(
      r'\s*Frames:\s*(\S+)\s+Frame\s+Time:\s*(\S+)([^\n]*)\n?', body)
  if not match:
    raise DataError(path, 'MOTION', 'Frames: and Frame Time:',
                    repr(body.strip()[:40]))
  count = files.whole(path, 'Frames', match[1])
  rate = frame_rate(path, match[2])
  words = (match[3] + ' ' + body[match.end():]).split()
  width = sum(len(node.channels) for node in nodes)
  if not width:
    raise DataError(path, 'CHANNELS', 'at least one channel', 'none')
  if len(words) != count * width:
    raise DataError(
        path, 'Frames', f'{count} frames of {width} channels',
        f'{len(words) / width:.2f} frames ({len(words)} numbers)',
        'The file is cut or damaged')
  return nodes, files.numbers(
      path, 'motion [frame, channel]', words, width=width), rate


def joints(
    path: files.PathLike, nodes: Sequence[Node], motion: np.ndarray
) -> np.ndarray:
  """Compute joint positions from channels.

  Args:
    path: the file, for messages.
    nodes: the hierarchy.
    motion: channel values `[L, C]`.

  Returns:
    Positions `[L, N, 3]` in the unit and the axes of the file.
  """
  if not len(motion):
    raise DataError(path, 'frames', 'at least 2', '0')
  offsets: list[np.ndarray] = []
  turns: list[np.ndarray] = []
  column = 0
  for node in nodes:
    values = motion[:, column:column + len(node.channels)]
    column += len(node.channels)
    offset = np.tile(node.offset, (len(motion), 1))
    order, angles = '', []
    for channel, value in zip(node.channels, values.T):
      if channel.endswith('position'):
        offset[:, 'XYZ'.index(channel[0])] = value
      else:
        order += channel[0]
        angles.append(value)
    offsets.append(offset)
    turns.append(
        Rotation.from_euler(order, np.stack(angles, -1), True).as_matrix()
        if order else np.tile(np.eye(3), (len(motion), 1, 1)))
  return kinematics.forward(
      np.stack(turns, 1), np.stack(offsets, 1), [n.parent for n in nodes],
      offsets[0])[0]


def frame_rate(path: files.PathLike, word: str) -> float:
  """Read a frame time; undo the rounding of a whole rate.

  `0.0333333` is 30 frames per second, printed with seven digits.

  Raises:
    DataError: the time is not a number above zero.
  """
  time = float(files.numbers(path, 'Frame Time', [word])[0])
  if not 1e-5 < time < 100:
    raise DataError(path, 'Frame Time', 'seconds above 0', word,
                    'Time cannot stand still or run backwards')
  rate = round(1 / time)
  digits = len(word.partition('.')[2].partition('e')[0])
  if rate and abs(1 / rate - time) <= 10.0**-digits:
    return float(rate)
  return 1 / time


def write(
    path: files.PathLike,
    joints: Sequence[str],
    parents: Sequence[int],
    positions: np.ndarray,
    fps: float,
    unit: str = 'cm',
) -> float:
  """Write joint positions as a BVH file with Y up.

  A BVH holds fixed bones: offsets are the mean lengths, rotations are fitted
  (`fk.fit`). Rigid motion survives exactly, other motion approximately.

  Args:
    path: the file to write; compressed if it ends in `.xz`.
    joints: names, root first; parents come before children.
    parents: parent of each joint, -1 for the root.
    positions: `[L, N, 3]` metres, Z up.
    fps: frames per second.
    unit: unit of length in the file, one of `files.METRES`.

  Returns:
    The largest distance, in metres, between a joint given and as written.

  Raises:
    UserError: arguments that do not fit together, or a place that cannot be
      written.
  """
  positions = np.asarray(positions, np.float64)
  _check_write(joints, parents, positions, fps, unit)
  raw = files.to_y_up(positions) / files.METRES[unit]
  offsets = fk.rest_offsets(raw, parents)
  rotations = fk.fit(raw, parents, offsets)
  made, _ = kinematics.forward(rotations, offsets, parents, raw[:, 0])
  angles = np.degrees(_zxy(rotations))[:, _depth_first(parents)]
  table = np.concatenate(
      [raw[:, 0], angles.reshape(len(raw), -1)], axis=1)
  lines = ['HIERARCHY', *_tree(joints, parents, offsets, 0, 0), 'MOTION',
           f'Frames: {len(raw)}', f'Frame Time: {1 / fps:.10f}']
  lines += [' '.join(f'{v:.9g}' for v in row) for row in table]
  data = ('\n'.join(lines) + '\n').encode()
  files.write_bytes(path, data)
  error = np.linalg.norm(made - raw, axis=-1).max() * files.METRES[unit]
  return float(error)


def _check_write(
    joints: Sequence[str],
    parents: Sequence[int],
    positions: np.ndarray,
    fps: float,
    unit: str,
) -> None:
  """Refuse what cannot be written."""
  shape = (len(joints), 3)
  if positions.ndim != 3 or positions.shape[1:] != shape or not len(positions):
    raise UserError(f'BVH: positions: expected [frames, {shape[0]}, 3], found'
                    f' {list(positions.shape)}.')
  if not np.isfinite(positions).all():
    raise UserError('BVH: positions: expected finite numbers, found NaN.')
  if list(parents[:1]) != [-1] or len(parents) != len(joints) or not all(
      0 <= parent < child for child, parent in enumerate(parents) if child):
    raise UserError('BVH: parents: expected -1 first, then indices of earlier'
                    f' joints, found {list(parents)}.')
  if not fps > 0:
    raise UserError(f'BVH: fps: expected a rate above 0, found {fps}.')
  if unit not in files.METRES:
    raise UserError(f'BVH: unit: expected one of {", ".join(files.METRES)},'
                    f' found {unit!r}.')


def _zxy(matrix: np.ndarray) -> np.ndarray:
  """Return angles z, x, y `[..., 3]` of R = Rz Rx Ry `[..., 3, 3]`."""
  # The arc tangent keeps all digits near x = +-90 degrees, the sine does not.
  x = np.arctan2(
      matrix[..., 2, 1], np.hypot(matrix[..., 0, 1], matrix[..., 1, 1]))
  z = np.arctan2(-matrix[..., 0, 1], matrix[..., 1, 1])
  y = np.arctan2(-matrix[..., 2, 0], matrix[..., 2, 2])
  # At x = +-90 degrees only z +- y is fixed: put the whole turn into z.
  locked = np.abs(matrix[..., 2, 1]) > 1 - 1e-12
  flat = np.arctan2(matrix[..., 1, 0], matrix[..., 0, 0])
  return np.stack(
      [np.where(locked, flat, z), x, np.where(locked, 0.0, y)], axis=-1)


def _depth_first(parents: Sequence[int], joint: int = 0) -> list[int]:
  """Return joints in the order in which a BVH lists them."""
  order = [joint]
  for child, parent in enumerate(parents):
    if parent == joint:
      order += _depth_first(parents, child)
  return order


def _tree(
    joints: Sequence[str],
    parents: Sequence[int],
    offsets: np.ndarray,
    joint: int,
    depth: int,
) -> list[str]:
  """Return the lines of one joint and all below it."""
  pad, offset = '  ' * depth, offsets[joint]
  place = 'Xposition Yposition Zposition ' if joint == 0 else ''
  lines = [
      f'{pad}{"JOINT" if depth else "ROOT"} {"_".join(joints[joint].split())}',
      f'{pad}{{',
      f'{pad}  OFFSET {" ".join(f"{v:.9g}" for v in offset)}',
      f'{pad}  CHANNELS {6 if place else 3} {place}'
      'Zrotation Xrotation Yrotation',
  ]
  children = [c for c, parent in enumerate(parents) if parent == joint]
  for child in children:
    lines += _tree(joints, parents, offsets, child, depth + 1)
  if not children:
    lines += [f'{pad}  End Site', f'{pad}  {{', f'{pad}    OFFSET 0 0 0',
              f'{pad}  }}']
  return lines + [f'{pad}}}']


def _hierarchy(path: files.PathLike, text: str) -> list[Node]:
  """Read the HIERARCHY section into nodes, parents first."""
  lines = [
      line.split()
      for line in re.sub(r'([{}])', r'\n\1\n', text).splitlines()
      if line.strip()
  ]
  if not lines or lines[0] != ['HIERARCHY']:
    raise DataError(path, 'HIERARCHY', 'this word first',
                    repr(' '.join(lines[0])[:40]) if lines else 'nothing')
  nodes: list[Node] = []
  stack: list[int] = []
  for words in lines[1:]:
    field = words[0].upper()
    if field in ('ROOT', 'JOINT', 'END'):
      _open(path, nodes, stack, field, ' '.join(words[1:]))
    elif field == '}' and stack:
      stack.pop()
    elif field == 'OFFSET' and stack:
      nodes[stack[-1]].offset = files.numbers(
          path, f'OFFSET of {nodes[stack[-1]].name!r}', words[1:], 3)
    elif field == 'CHANNELS' and stack:
      nodes[stack[-1]].channels = _channels(path, nodes[stack[-1]], words[1:])
    elif field != '{':
      raise DataError(path, 'HIERARCHY', 'ROOT, JOINT, End Site, OFFSET or'
                      ' CHANNELS inside braces', repr(' '.join(words)[:40]))
  if stack or not nodes:
    raise DataError(path, 'HIERARCHY', 'a closed tree of joints',
                    f'{len(stack)} braces left open, {len(nodes)} joints',
                    'The file is cut or damaged')
  return _prune(path, nodes)


def _open(
    path: files.PathLike,
    nodes: list[Node],
    stack: list[int],
    field: str,
    name: str,
) -> None:
  """Begin a joint below the innermost open one."""
  if (field == 'ROOT') != (not stack) or (field == 'ROOT' and nodes):
    raise DataError(path, 'HIERARCHY', 'one ROOT that holds every joint',
                    f'{field} {name} outside of it')
  parent = stack[-1] if stack else -1
  if field == 'END':
    name = f'End_{nodes[parent].name}'
  stack.append(len(nodes))
  nodes.append(Node(name, parent, np.full(3, np.nan), ()))


def _channels(
    path: files.PathLike, node: Node, words: list[str]
) -> tuple[str, ...]:
  """Read `n name name ...`, and refuse what has no meaning."""
  names = tuple(word[:1].upper() + word[1:].lower() for word in words[1:])
  field = f'CHANNELS of {node.name!r}'
  if not words or files.whole(path, field, words[0]) != len(names):
    raise DataError(path, field, 'a count and as many names',
                    repr(' '.join(words)[:60]))
  known = {a + kind for a in 'XYZ' for kind in ('position', 'rotation')}
  if not set(names) <= known or len(set(names)) < len(names):
    raise DataError(path, field, 'positions and rotations, each axis once',
                    repr(' '.join(names)[:60]))
  return names


def _prune(path: files.PathLike, nodes: list[Node]) -> list[Node]:
  """Check offsets and names; drop ends of zero length."""
  names = [node.name for node in nodes]
  for node in nodes:
    if not np.isfinite(node.offset).all():
      raise DataError(path, f'OFFSET of {node.name!r}', 'three numbers',
                      'no such line')
    if not node.name or names.count(node.name) > 1:
      raise DataError(path, 'joint names', 'each name once',
                      f'{names.count(node.name)} times {node.name!r}')
  parents = {node.parent for node in nodes}
  keep = [
      i for i, node in enumerate(nodes)
      if i in parents or node.channels or not node.name.startswith('End_')
      or np.linalg.norm(node.offset) > 1e-9
  ]
  index = {old: new for new, old in enumerate(keep)} | {-1: -1}
  return [
      dataclasses.replace(nodes[i], parent=index[nodes[i].parent])
      for i in keep
  ]


def _without_floor(
    nodes: list[Node], positions: np.ndarray
) -> tuple[list[Node], np.ndarray]:
  """Drop roots that mark a place on the floor, under a body that moves freely.

  Such a root has a single child, which is placed by channels of its own away
  from its offset; it is no joint of the body.
  """
  while [node.parent for node in nodes].count(0) == 1:
    bones = np.linalg.norm(positions[:, 1] - positions[:, 0], axis=-1)
    rest = float(np.linalg.norm(nodes[1].offset))
    if np.abs(bones - rest).max() <= 1e-3 * max(rest, 1e-9):
      break
    nodes = [
        dataclasses.replace(node, parent=max(node.parent - 1, -1))
        for node in nodes[1:]
    ]
    positions = positions[:, 1:]
  return nodes, positions


def _unit(
    path: files.PathLike,
    positions: np.ndarray,
    parents: Sequence[int],
    wanted: str,
) -> tuple[str, str]:
  """Return the unit of length and the reason; guess it from the body's size."""
  if wanted != 'auto':
    return wanted, 'as the caller says'
  size = reach(positions, parents)
  unit = files.guess_unit(size)
  if unit is None:
    raise DataError(
        path, 'unit', 'the skeleton of a grown person, in m, cm, in or mm',
        f'{size:.4g} units along its bones from end to end',
        'State the unit: unit=cm, for instance')
  return unit, (f'guessed: {size:.4g} units along the bones from end to end '
                f'are {size * files.METRES[unit]:.2f} m')
