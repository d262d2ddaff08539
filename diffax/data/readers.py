"""Read a motion file of any known kind, and our own npz files.

Our npz holds `positions [L, N, 3]`, `fps`, `joints [N]`, `parents [N]`, `unit`
and `up`; `time [L]` in seconds may stand for `fps`.
"""

from collections.abc import Callable, Sequence
import pathlib
from typing import Any

import numpy as np

from diffax.data import amass, asf, bvh, files
from diffax.data import base
from diffax.data.base import Recording
from diffax.errors import DataError, UserError

SUFFIXES = ('.bvh', '.amc', '.npz')


def load(path: files.PathLike, **options: Any) -> Recording:
  """Read a motion file by its suffix, plain or `.xz`.

  Args:
    path: a `.bvh`, an `.amc`, an `.npz` of ours or of AMASS.
    **options: of `bvh.read` (fps, unit, up, skip_first), `asf.read` (asf, fps,
      allow_cut), `read_npz` (fps, unit, up) or `amass.read` (body_model).

  Returns:
    The joints of the file, in metres, Z up.

  Raises:
    DataError: the file cannot be used; says which field is wrong.
    UserError: an unknown kind of file or option.
  """
  suffix = files.bare_suffix(path)
  if suffix not in SUFFIXES:
    raise UserError(f'{path}: expected a motion file ({", ".join(SUFFIXES)},'
                    f' each also .xz), found suffix {suffix!r}.')
  readers: dict[str, Callable[..., Recording]] = {
      '.bvh': bvh.read, '.amc': asf.read, '.npz': read_npz}
  reader = readers[suffix]
  if suffix == '.npz' and 'poses' in files.read_arrays(path):
    reader = amass.read
  known = set(reader.__annotations__) - {'path', 'return'}
  for key in options:
    if key not in known:
      raise UserError(f'{path}: no option {key!r} for {suffix} files; expected'
                      f' one of {", ".join(sorted(known))}.')
  return reader(path, **options)


def read_npz(
    path: files.PathLike,
    *,
    fps: float | None = None,
    unit: str | None = None,
    up: str | None = None,
) -> Recording:
  """Read our own npz format.

  Args:
    path: the file.
    fps: frames per second, instead of the file's.
    unit: of length, instead of the file's; one of `files.METRES`.
    up: the vertical axis, instead of the file's.

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
  unit = unit or _word(path, arrays, 'unit', tuple(files.METRES), 'm')
  up = up or _word(path, arrays, 'up', ('y', 'z'), 'z')
  if unit not in files.METRES or up not in ('y', 'z'):
    raise UserError(f'{path}: unit, up: expected one of'
                    f' {", ".join(files.METRES)} and y or z, found {unit!r}'
                    f' and {up!r}.')
  recording = Recording(
      joints=joints, parents=parents, fps=_fps(path, arrays, fps),
      positions=files.to_z_up(positions.astype(np.float64), up)
      * files.METRES[unit], file=str(path), unit=unit)
  base.check_recording(recording)
  return recording


def save_npz(
    path: files.PathLike,
    joints: Sequence[str],
    parents: Sequence[int],
    positions: np.ndarray,
    fps: float,
) -> None:
  """Write our own npz format: metres, Z up.

  Args:
    path: the file to write.
    joints: N names, root first.
    parents: parent of each joint, -1 for the root.
    positions: `[L, N, 3]` metres, Z up.
    fps: frames per second.

  Raises:
    DataError: the motion could not be read back.
  """
  tree = np.asarray(joints, np.str_), np.asarray(parents, np.int64)
  base.check_motion(positions, *_tree(path, *tree), fps, file=str(path),
                    zero_bones=True)
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  with path.open('wb') as file:
    np.savez_compressed(
        file, positions=np.asarray(positions), joints=tree[0],
        parents=tree[1], fps=np.float64(fps), unit='m', up='z')


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
  if above[0] != -1 or not all(
      0 <= parent < child for child, parent in enumerate(above) if child):
    raise DataError(path, 'parents', '-1 first, then indices of earlier'
                    ' joints', str(above))
  return tuple(joints.tolist()), tuple(above)


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
