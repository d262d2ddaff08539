"""Read Acclaim skeletons (ASF) and motions (AMC), plain or xz.

A bone is a rotation at its start and a vector to its end; its joint here is
the END. With C the orientation of the bone's axes in the rest pose and M the
rotation of the frame (degrees of freedom that the file leaves out are 0),

    G = G_parent C M C^T,    p = p_parent + G (length * direction)

where both C and M turn about fixed axes in the order of their letters, so
`rx ry rz` is M = Rz Ry Rx. Lengths are in units of `:length` per inch
(0.45 in the CMU set). Y points up; the reader returns metres with Z up.

References:
  Acclaim Advanced Technologies Group, "ASF/AMC file format", 1994.
"""

import dataclasses
import pathlib

import numpy as np
from scipy.spatial.transform import Rotation

from diffax.data import files
from diffax.data.base import Recording, check_recording
from diffax.errors import DataError

CMU_FPS = 120.0
"""An AMC names no frame rate; this is the rate of the CMU recordings."""


@dataclasses.dataclass(frozen=True)
class Bone:
  """One bone of a rest skeleton; the root has a zero vector.

  Attributes:
    name: of the bone, and of the joint at its end.
    parent: index of the parent bone, -1 for the root.
    vector: start to end in the rest pose, metres, Y up `[3]`.
    axes: orientation C of the bone's axes.
    dof: channels of the motion in the order of the file, e.g. `('rx', 'rz')`.
  """

  name: str
  parent: int
  vector: np.ndarray
  axes: Rotation
  dof: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Rest:
  """A skeleton of an ASF file: bones root first, and its units.

  Attributes:
    bones: parents come before children.
    metres: metres in one unit of length.
    degrees: whether angles are in degrees.
    unit: the unit as found, for the record.
  """

  bones: tuple[Bone, ...]
  metres: float
  degrees: bool
  unit: str


def read(
    path: files.PathLike,
    asf: files.PathLike | None = None,
    *,
    fps: float | None = None,
    allow_cut: bool = False,
) -> Recording:
  """Read a motion and compute its joints.

  Args:
    path: the AMC file, plain or `.xz`.
    asf: its skeleton; looked for beside the motion if None.
    fps: frames per second, which the format does not hold; 120 if None.
    allow_cut: accept frame numbers that do not start at 1.

  Returns:
    Joints of the whole skeleton, root first, in metres with Z up.

  Raises:
    DataError: what is wrong with which field of which file.
  """
  rest = read_skeleton(asf if asf is not None else find_skeleton(path))
  names, motion = _read_motion(path, allow_cut)
  channels = _channels(path, rest, names, motion)
  positions = files.to_z_up(joints(rest, channels), 'y')
  parents = tuple(bone.parent for bone in rest.bones)
  rate = CMU_FPS if fps is None else float(fps)
  recording = Recording(
      joints=tuple(bone.name for bone in rest.bones), parents=parents,
      positions=positions, fps=rate, file=str(path), unit=rest.unit,
      notes={
          'unit': 'stated by the skeleton: units per inch',
          'up': 'Y: the custom of the format',
          'rate': 'the custom of the format' if fps is None
          else 'as the caller says',
      },
  )
  check_recording(recording)
  return recording


def joints(rest: Rest, channels: list[np.ndarray]) -> np.ndarray:
  """Compute the ends of all bones.

  Args:
    rest: the skeleton.
    channels: values `[L, dof]` of each bone, root first, in the file's units.

  Returns:
    Positions `[L, N, 3]` in metres, Y up, root first.
  """
  turned: list[Rotation] = []
  places: list[np.ndarray] = []
  for bone, values in zip(rest.bones, channels):
    order = ''.join(dof[1] for dof in bone.dof if dof[0] == 'r')
    angles = values[:, [i for i, dof in enumerate(bone.dof) if dof[0] == 'r']]
    local = bone.axes
    if order:
      local = local * Rotation.from_euler(order, angles, rest.degrees)
    local = local * bone.axes.inv()
    if bone.parent < 0:
      start = np.zeros((len(values), 3))
      for i, dof in enumerate(bone.dof):
        if dof[0] == 't':
          start[:, 'xyz'.index(dof[1])] = values[:, i] * rest.metres
      turned.append(local)
      places.append(start)
      continue
    turned.append(turned[bone.parent] * local)
    places.append(places[bone.parent] + turned[-1].apply(bone.vector))
  return np.stack(places, axis=1)


def find_skeleton(path: files.PathLike) -> pathlib.Path:
  """Find the skeleton of a motion.

  Looked for beside the motion: its own name (`07_02.asf`), its subject
  (`07.asf`), the only `.asf` there; then the subject in a folder `asf` two
  levels up, where the CMU set keeps its own.

  Raises:
    DataError: there is none, or no telling which.
  """
  path = pathlib.Path(path)
  stem = files.bare_name(path).rsplit('.', 1)[0]
  subject = stem.split('_')[0]
  folder = path.parent
  for place in (folder, folder.parent.parent / 'asf'):
    for name in (stem, subject):
      for suffix in ('.asf', '.asf.xz', '.ASF'):
        if (place / f'{name}{suffix}').is_file():
          return place / f'{name}{suffix}'
  near = sorted(folder.glob('*.asf')) + sorted(folder.glob('*.asf.xz'))
  if len(near) == 1:
    return near[0]
  raise DataError(
      path, 'skeleton', f'{subject}.asf beside the motion',
      f'{len(near)} .asf files there', 'Pass asf= the skeleton file',
  )


def read_skeleton(path: files.PathLike) -> Rest:
  """Read an ASF file.

  Raises:
    DataError: a section is missing, or holds what it should not.
  """
  sections = _sections(files.read_text(path))
  for field in ('root', 'bonedata', 'hierarchy'):
    if field not in sections:
      raise DataError(path, f':{field}', 'this section', 'no such section')
  units = {line[0]: line[1] for line in sections.get('units', ()) if line[1:]}
  scale = units.get('length', '1')
  per_inch = float(files.numbers(path, ':units length', [scale])[0])
  if not 1e-6 < per_inch < 1e6:
    raise DataError(path, ':units length', 'units per inch, above 0', scale)
  metres = 0.0254 / per_inch
  degrees = not units.get('angle', 'deg').startswith('rad')
  parents = _hierarchy(path, sections['hierarchy'])
  bones = {
      bone.name: bone
      for bone in _bones(path, sections['bonedata'], metres, degrees)
  }
  bones['root'] = _root(path, sections['root'], degrees)
  order = {name: index for index, name in enumerate(parents)}
  for name in order:
    if name not in bones:
      raise DataError(path, ':bonedata', f'bone {name!r} of the hierarchy',
                      'no such bone')
  return Rest(
      bones=tuple(
          dataclasses.replace(bones[name], parent=order.get(parent, -1))
          for name, parent in parents.items()
      ),
      metres=metres, degrees=degrees, unit=f'inch/{per_inch:g}',
  )


def _sections(text: str) -> dict[str, list[list[str]]]:
  """Split at the keywords that start with a colon."""
  sections: dict[str, list[list[str]]] = {}
  lines: list[list[str]] = []
  for line in text.splitlines():
    words = line.split('#')[0].split()
    if words and words[0].startswith(':'):
      lines = sections.setdefault(words[0][1:].lower(), [])
    elif words:
      lines.append(words)
  return sections


def _axes(path: files.PathLike, words: list[str], degrees: bool) -> Rotation:
  """Read `x y z ORDER` into a rotation about fixed axes in that order."""
  order = words[-1].lower() if words else ''
  if sorted(order) != ['x', 'y', 'z']:
    raise DataError(path, 'axis', 'three angles and an order such as XYZ',
                    repr(' '.join(words)))
  angles = files.numbers(path, 'axis', words[:-1], 3)
  return Rotation.from_euler(
      order, [angles['xyz'.index(letter)] for letter in order], degrees
  )


def _root(
    path: files.PathLike, lines: list[list[str]], degrees: bool
) -> Bone:
  """Read the root; a rest pose that is moved or turned is refused."""
  found = {line[0].lower(): line[1:] for line in lines}
  for field in ('position', 'orientation'):
    if files.numbers(path, f':root {field}', found.get(field, ())).any():
      raise DataError(path, f':root {field}', '0 0 0',
                      ' '.join(found[field]))
  dof = _dof(path, 'root', found.get('order', []), 'tr')
  order = found.get('axis', ['xyz'])
  return Bone('root', -1, np.zeros(3),
              _axes(path, ['0', '0', '0', *order[:1]], degrees), dof)


def _bones(
    path: files.PathLike,
    lines: list[list[str]],
    metres: float,
    degrees: bool,
) -> list[Bone]:
  """Read the `begin ... end` blocks of :bonedata."""
  bones: list[Bone] = []
  block: dict[str, list[str]] = {}
  for words in lines:
    if words[0] == 'begin':
      block = {}
    elif words[0] == 'end':
      bones.append(_bone(path, block, metres, degrees))
    else:
      block.setdefault(words[0], words[1:])
  return bones


def _bone(
    path: files.PathLike,
    block: dict[str, list[str]],
    metres: float,
    degrees: bool,
) -> Bone:
  """Build one bone from its block."""
  name = ' '.join(block.get('name', ['?']))
  for field in ('name', 'direction', 'length', 'axis'):
    if field not in block:
      raise DataError(path, f'bone {name!r}', f'a line {field!r}', 'none')
  direction = files.numbers(path, f'direction of {name!r}',
                            block['direction'], 3)
  length = files.numbers(path, f'length of {name!r}', block['length'], 1)
  return Bone(
      name, -1, direction * length * metres,
      _axes(path, block['axis'], degrees),
      _dof(path, name, block.get('dof', []), 'r'),
  )


def _dof(
    path: files.PathLike, name: str, words: list[str], kinds: str
) -> tuple[str, ...]:
  """Check channel names: each once, of the kinds that a bone can have."""
  dof = tuple(word.lower() for word in words)
  known = {kind + axis for kind in kinds for axis in 'xyz'}
  if not set(dof) <= known or len(set(dof)) < len(dof):
    raise DataError(path, f'dof of {name!r}',
                    f'each of {" ".join(sorted(known))} at most once',
                    ' '.join(words))
  return dof


def _hierarchy(
    path: files.PathLike, lines: list[list[str]]
) -> dict[str, str]:
  """Read `parent child child ...` lines into child -> parent, root first."""
  parents = {'root': ''}
  for words in lines:
    if words[0] in ('begin', 'end') and len(words) == 1:
      continue
    if words[0] not in parents:
      raise DataError(path, ':hierarchy', 'parents before their children',
                      f'{words[0]!r} before its own line')
    for child in words[1:]:
      if child in parents:
        raise DataError(path, ':hierarchy', 'each bone once',
                        f'{child!r} twice')
      parents[child] = words[0]
  return parents


def _read_motion(
    path: files.PathLike, allow_cut: bool
) -> tuple[list[tuple[str, int]], np.ndarray]:
  """Read an AMC into bone names with widths, and values `[L, channels]`.

  Every frame has the same words in the same places, so the file is one table
  of words, checked column by column instead of line by line.
  """
  lines = [
      line for line in files.read_text(path).splitlines()
      if line.strip() and line.lstrip()[0] not in '#:'
  ]
  words = ' '.join(lines).split()
  starts = [i for i, line in enumerate(lines) if line.strip().isdigit()]
  if not starts or starts[0] != 0:
    raise DataError(path, 'first frame', 'a frame number',
                    repr(lines[0].strip()[:40]) if lines else 'no frames')
  end = starts[1] if len(starts) > 1 else len(lines)
  head = [line.split() for line in lines[1:end]]
  period = 1 + sum(len(line) for line in head)
  names = [(line[0], len(line) - 1) for line in head]
  _check_table(path, lines, words, starts, head, period)
  _check_count(path, words[::period], allow_cut)
  table: list[np.ndarray] = []
  column = 1
  for name, width in names:
    for c in range(column + 1, column + 1 + width):
      field = f'motion of {name!r} [frame]'
      table.append(files.numbers(path, field, words[c::period]))
    column += 1 + width
  return names, np.stack(table, axis=1) if table else np.zeros((1, 0))


def _check_table(
    path: files.PathLike,
    lines: list[str],
    words: list[str],
    starts: list[int],
    head: list[list[str]],
    period: int,
) -> None:
  """Refuse frames that lack a bone or a number, naming the frame."""
  frames = len(starts)
  column, sound = 1, len(words) == frames * period
  for line in head:
    sound = sound and words[column::period].count(line[0]) == frames
    column += len(line)
  if sound:
    return
  shape = [(line[0], len(line)) for line in head]
  for start, end in zip(starts, [*starts[1:], len(lines)]):
    block = [line.split() for line in lines[start + 1:end]]
    found = [(line[0], len(line)) for line in block]
    if found != shape:
      wrong = next(
          (f'{b[0]!r} with {b[1] - 1} numbers' for a, b in zip(shape, found)
           if a != b), f'{len(found)} lines')
      raise DataError(
          path, f'frame {lines[start].strip()[:20]}',
          f'the {len(shape)} bones of the first frame, {period} words in all',
          wrong, 'The file is cut or damaged',
      )
  raise DataError(path, 'motion', 'the same words in every frame',
                  'frames that differ')


def _check_count(
    path: files.PathLike, words: list[str], allow_cut: bool
) -> None:
  """Refuse frame numbers that jump, run backwards or start late."""
  index = np.array(
      [files.whole(path, 'frame number', word) for word in words], np.int64
  )
  steps = np.flatnonzero(np.diff(index) != 1)
  if steps.size:
    first = steps[0]
    way = 'backwards' if index[first + 1] <= index[first] else 'with a gap'
    raise DataError(
        path, 'frame numbers', f'{index[first] + 1} after {index[first]}',
        f'{index[first + 1]} (time runs {way})')
  if index[0] != 1 and not allow_cut:
    raise DataError(
        path, 'frame numbers', 'a first frame 1', f'{index[0]}',
        'The file is cut at its beginning; pass allow_cut=True to accept it')


def _channels(
    path: files.PathLike,
    rest: Rest,
    names: list[tuple[str, int]],
    motion: np.ndarray,
) -> list[np.ndarray]:
  """Deal the columns of a motion to the bones of the skeleton."""
  columns: dict[str, np.ndarray] = {}
  column = 0
  for name, width in names:
    columns[name] = motion[:, column:column + width]
    column += width
  known = {bone.name: len(bone.dof) for bone in rest.bones}
  for name, width in names:
    if known.get(name) != width:
      raise DataError(
          path, f'bone {name!r}',
          f'{known[name]} numbers (dof of the skeleton)' if name in known
          else 'a bone of the skeleton', f'{width} numbers',
          'Is this the skeleton of this motion?')
  missing = [n for n, dof in known.items() if dof and n not in columns]
  if 'root' in missing:
    raise DataError(path, 'root', 'its position and rotation', 'no such line')
  zeros = {n: np.zeros((len(motion), known[n])) for n in known}
  return [columns.get(b.name, zeros[b.name]) for b in rest.bones]
