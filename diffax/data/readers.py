"""Read a file of any known kind by its suffix, and our own npz files.

What a file holds decides what comes back, one of three types:

  Recording         joints or markers in space, metres, Z up; with the force
                    plates, if the file has some
  Signals           named channels over time: angles, forces, inertial axes
  audio.Recording   a wave and what its file was

`load(path, 'motion')` asks for the first and refuses all else, so a caller who
needs joints never finds a song in their place; likewise `'signals'`, `'sound'`.

Our npz holds `positions [L, N, 3]`, `fps`, `joints [N]`, `parents [N]`, `unit`
and `up`; `time [L]` in seconds may stand for `fps`. Force plates are arrays
`plate0_forces`, `plate0_moments` and so on, by the fields of `ForcePlate`.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import pathlib
from typing import Any, Literal, overload

import numpy as np

from diffax.data import amass
from diffax.data import asf
from diffax.data import audio
from diffax.data import base
from diffax.data import bvh
from diffax.data import c3d
from diffax.data import files
from diffax.data import points
from diffax.data import positions_csv
from diffax.data import tables
from diffax.data import trc
from diffax.data.base import ForcePlate
from diffax.data.base import Recording
from diffax.data.base import Signals
from diffax.errors import DataError
from diffax.errors import UserError

Loaded = Recording | Signals | audio.Recording

SUFFIXES = ('.bvh', '.amc', '.c3d', '.trc', '.npz')
"""Of files that hold motion and nothing else."""
TABLES = ('.csv',)
"""Of files that hold motion or signals, as their columns say."""
SERIES = ('.mot', '.sto')
SOUNDS = ('.wav', '.flac', '.ogg')
ALL = (*SUFFIXES, *TABLES, *SERIES, *SOUNDS)

_KINDS = {
    'motion': (Recording, 'a motion', (*SUFFIXES, *TABLES)),
    'signals': (Signals, 'channels over time', (*TABLES, *SERIES)),
    'sound': (audio.Recording, 'a sound', SOUNDS),
}


@overload
def load(
    path: files.PathLike, kind: Literal['motion'], /, **options: Any
) -> Recording:
  ...


@overload
def load(
    path: files.PathLike, kind: Literal['signals'], /, **options: Any
) -> Signals:
  ...


@overload
def load(
    path: files.PathLike, kind: Literal['sound'], /, **options: Any
) -> audio.Recording:
  ...


@overload
def load(path: files.PathLike, kind: None = None, /, **options: Any) -> Any:
  ...


def load(
    path: files.PathLike, kind: str | None = None, /, **options: Any
) -> Loaded:
  """Read a file by its suffix, plain, `.xz` or `.gz`.

  Args:
    path: one of `ALL`; an `.npz` is of ours or of AMASS.
    kind: what must come back, `'motion'`, `'signals'` or `'sound'`; whatever
      the file holds if None.
    **options: of `bvh.read` (fps, unit, up, skip_first), `asf.read` (asf, fps,
      allow_cut), `c3d.read`, `trc.read` and `positions_csv.read` (fps, unit,
      up, gaps, max_gap and more), `read_npz` (fps, unit, up, gaps),
      `amass.read` (body_model), `tables.read_signals` (rate, time, time_unit,
      gaps), `trc.read_mot` (rate, gaps) or `audio.load` (rate, shortest).

  Returns:
    A motion in metres, Z up, on the joints of the file; or signals, or a
    sound, see above.

  Raises:
    DataError: the file cannot be used; says which field is wrong.
    UserError: an unknown kind of file, or an option that it does not have.
  """
  if kind is not None and kind not in _KINDS:
    raise UserError(f'kind: expected one of {", ".join(_KINDS)}, found '
                    f'{kind!r}.')
  reader = _reader(path, kind)
  suffix = files.bare_suffix(path)
  known = options_of(reader)
  for key in options:
    if key not in known:
      raise UserError(f'{path}: no option {key!r} for {suffix} files; expected'
                      f' one of {", ".join(sorted(known))}.')
  return reader(path, **options)


def options(path: files.PathLike, kind: str | None = None) -> set[str]:
  """Return the names of the options that `load` has for a file.

  Raises:
    DataError: the file must be looked into, and cannot be read.
    UserError: an unknown kind of file.
  """
  return options_of(_reader(path, kind))


def options_of(reader: Callable[..., Any]) -> set[str]:
  """Return the names of the options of a reader."""
  return set(reader.__annotations__) - {'path', 'return'}


def _reader(path: files.PathLike, kind: str | None) -> Callable[..., Loaded]:
  """Choose the function that reads a file."""
  suffix = files.bare_suffix(path)
  suffixes = ALL if kind is None else _KINDS[kind][2]
  if suffix not in suffixes:
    what = 'a file of movement, signals or sound' if kind is None else (
        f'{_KINDS[kind][1]}')
    raise UserError(f'{path}: expected {what} ({", ".join(suffixes)}, each '
                    f'also .xz or .gz), found suffix {suffix!r}.')
  if suffix == '.npz':
    return amass.read if 'poses' in files.read_arrays(path) else read_npz
  if suffix == '.csv':
    if kind is None:
      joints = positions_csv.joints_of(tables.read(path).header)
      kind = 'motion' if joints else 'signals'
    return positions_csv.read if kind == 'motion' else tables.read_signals
  if suffix in SOUNDS:
    return audio.load
  if suffix in SERIES:
    return trc.read_mot
  readers: dict[str, Callable[..., Recording]] = {
      '.bvh': bvh.read, '.amc': asf.read, '.c3d': c3d.read, '.trc': trc.read}
  return readers[suffix]


def read_npz(
    path: files.PathLike,
    *,
    fps: float | None = None,
    unit: str | None = None,
    up: str | None = None,
    gaps: str = 'refuse',
    max_gap: float = 0.2,
) -> Recording:
  """Read our own npz format.

  Args:
    path: the file.
    fps: frames per second, instead of the file's.
    unit: of length, instead of the file's; one of `files.METRES`.
    up: the vertical axis, instead of the file's.
    gaps: one of `points.GAPS`.
    max_gap: seconds that may be filled.

  Returns:
    The joints of the file, in metres, Z up.

  Raises:
    DataError: an array is missing or holds what it should not.
  """
  arrays = files.read_arrays(path)
  for key in ('positions', 'joints', 'parents'):
    if key not in arrays:
      raise DataError(path, key, 'this array', ', '.join(arrays) or 'none')
  joints, parents = _tree(path, arrays['joints'], arrays['parents'])
  positions = arrays['positions']
  if positions.dtype.kind not in 'fiu' or positions.ndim != 3 or (
      positions.shape[1:] != (len(joints), 3)):
    raise DataError(path, 'positions', f'numbers [frames, {len(joints)}, 3]',
                    f'{positions.dtype} {list(positions.shape)}')
  # NaN passes here, for check_recording says in which frame and joint it is.
  files.check_numbers(path, 'positions', np.nan_to_num(positions))
  reason = 'as the caller says' if unit else (
      'stated by the file' if 'unit' in arrays else 'the custom of the format')
  unit = unit or _word(path, arrays, 'unit', tuple(files.METRES), 'm')
  up = up or _word(path, arrays, 'up', ('y', 'z'), 'z')
  if unit not in files.METRES or up not in ('y', 'z'):
    raise UserError(f'{path}: unit, up: expected one of'
                    f' {", ".join(files.METRES)} and y or z, found {unit!r}'
                    f' and {up!r}.')
  points.check_options(path, unit, up, gaps)
  if gaps == 'refuse':
    recording = Recording(
        joints, parents, files.to_z_up(positions.astype(np.float64), up)
        * files.METRES[unit], _fps(path, arrays, fps), str(path), unit,
        _plates(path, arrays), {'unit': reason})
    base.check_recording(recording)
    return recording
  return points.recording(
      path, joints, parents, positions, _fps(path, arrays, fps),
      unit=(unit, reason), up=(up, 'stated by the file'), gaps=gaps,
      max_gap=max_gap, plates=_plates(path, arrays))


def save_npz(
    path: files.PathLike,
    joints: Sequence[str],
    parents: Sequence[int],
    positions: np.ndarray,
    fps: float,
    plates: Sequence[ForcePlate] = (),
    gaps: bool = False,
) -> None:
  """Write our own npz format: metres, Z up.

  Args:
    path: the file to write.
    joints: N names, root first.
    parents: parent of each joint, -1 for roots and markers.
    positions: `[L, N, 3]` metres, Z up.
    fps: frames per second.
    plates: force plates.
    gaps: allow NaN, where a marker is not seen.

  Raises:
    DataError: the motion could not be read back.
    UserError: the file cannot be written.
  """
  tree = np.asarray(joints, np.str_), np.asarray(parents, np.int64)
  base.check_motion(positions, *_tree(path, *tree), fps, file=str(path),
                    zero_bones=True, gaps=gaps)
  extra: dict[str, Any] = {
      f'plate{i}_{field.name}': np.asarray(getattr(plate, field.name))
      for i, plate in enumerate(plates) for field in dataclasses.fields(plate)
      if getattr(plate, field.name) is not None
  }
  path = pathlib.Path(path)
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('wb') as file:
      np.savez_compressed(
          file, positions=np.asarray(positions), joints=tree[0],
          parents=tree[1], fps=np.float64(fps), unit='m', up='z', **extra)
  except OSError as error:
    raise UserError(f'{path}: cannot be written: {error}') from error


def _tree(
    path: files.PathLike, joints: np.ndarray, parents: np.ndarray
) -> tuple[tuple[str, ...], tuple[int, ...]]:
  """Check names and parents of a tree."""
  if joints.ndim != 1 or joints.dtype.kind != 'U' or not joints.size:
    raise DataError(path, 'joints', 'a list of names',
                    f'{joints.dtype} {list(joints.shape)}')
  if len(set(joints.tolist())) < joints.size:
    raise DataError(path, 'joints', 'each name once', 'a name twice')
  if parents.dtype.kind not in 'iu' or parents.shape != joints.shape:
    raise DataError(path, 'parents', f'{joints.size} whole numbers',
                    f'{parents.dtype} {list(parents.shape)}')
  above = [int(parent) for parent in parents]
  if not all(-1 <= parent < child for child, parent in enumerate(above)):
    raise DataError(path, 'parents', '-1, or the index of an earlier joint',
                    str(above))
  return tuple(joints.tolist()), tuple(above)


def _plates(
    path: files.PathLike, arrays: Mapping[str, np.ndarray]
) -> tuple[ForcePlate, ...]:
  """Read the force plates of our own format."""
  plates: list[ForcePlate] = []
  while f'plate{len(plates)}_forces' in arrays:
    stem = f'plate{len(plates)}_'
    found: dict[str, Any] = {'corners': None}
    count = len(np.atleast_1d(arrays[stem + 'forces']))
    shapes = {'forces': (count, 3), 'moments': (count, 3),
              'pressure': (count, 3), 'origin': (3,), 'corners': (4, 3),
              'rate': (), 'name': (), 'unit': ()}
    for name, shape in shapes.items():
      array = arrays.get(stem + name)
      if array is None and name == 'corners':
        continue
      words = name in ('name', 'unit')
      if array is None or array.shape != shape or (
          array.dtype.kind not in ('U' if words else 'fiu')):
        raise DataError(
            path, stem + name, f'{"a word" if words else "numbers"} '
            f'{list(shape)}', 'none' if array is None
            else f'{array.dtype} {list(array.shape)}')
      if words:
        found[name] = str(array)
      elif name == 'pressure':
        files.check_numbers(path, stem + name, np.nan_to_num(array))
        found[name] = array.astype(np.float64)
      else:
        found[name] = files.check_numbers(path, stem + name, array)
    found['rate'] = float(found['rate'])
    if not found['rate'] > 0:
      raise DataError(path, stem + 'rate', 'samples per second > 0',
                      f'{found["rate"]:g}')
    plates.append(ForcePlate(**found))
  return tuple(plates)


def _word(
    path: files.PathLike,
    arrays: dict[str, np.ndarray],
    key: str,
    known: tuple[str, ...],
    default: str,
) -> str:
  """Read a word of the file."""
  value = arrays.get(key, np.array(default))
  if value.dtype.kind != 'U' or value.size != 1 or str(
      value.reshape(())) not in known:
    raise DataError(path, key, f'one of {", ".join(known)}',
                    repr(value.tolist()))
  return str(value.reshape(()))


def _fps(
    path: files.PathLike, arrays: dict[str, np.ndarray], fps: float | None
) -> float:
  """Take the rate from the caller, from `fps` or from `time`."""
  if fps is not None:
    return float(fps)
  if 'time' in arrays:
    time = arrays['time']
    if time.dtype.kind not in 'fiu' or time.shape != (
        len(arrays['positions']),):
      raise DataError(path, 'time', f'[{len(arrays["positions"])}] seconds',
                      f'{time.dtype} {list(time.shape)}')
    return base.check_times(time, str(path))
  value = arrays.get('fps')
  if value is None or value.dtype.kind not in 'fiu' or value.size != 1:
    raise DataError(path, 'fps', 'frames per second, or an array time',
                    'none' if value is None else repr(value.tolist())[:60])
  return float(value.reshape(()))
