"""Walking of ten people at 27 speeds and inclines, from InclineExperiment.mat.

The published file is MATLAB 7.3, that is HDF5, and holds every stride of a
trial resampled to 150 points. MATLAB's arrays of 150 x strides appear in HDF5
as strides x 150:

  Gaitcycle/AB01/s0x8i10/kinematics/jointangles/{left,right}/{hip,...}/{x,y,z}
                         kinetics/jointmoment/{left,right}/{hip,...}/{x,y,z}
                         kinetics/forceplate/{left,right}/force/{x,y,z}

`s0x8i10` is 0.8 m/s up 10 degrees, `s1d7x5` is 1 m/s down 7.5 degrees. Strides
of one trial and one leg that follow each other make a track; the two legs are
tracks of their own, of one subject. A stride with NaN or without any signal
ends a track, and is listed in `info['skipped']`.

The paths are those of public readers of the file. Each can be set, for whoever
has another version.

References:
  Embry, Villarreal, Macaluso, Gregg, "The effect of walking incline and speed
  on human leg kinematics, kinetics, and EMG", IEEE DataPort, 2018,
  10.21227/gk32-e868.
"""

from collections.abc import Iterator, Mapping, Sequence
import pathlib
import re
from typing import Any

import numpy as np

from diffax.data import files
from diffax.data import series as series_lib
from diffax.data import tables
from diffax.data.base import Source
from diffax.errors import DataError
from diffax.errors import UserError

SAMPLES = 150
"""Points of a stride."""
SIDES = ('left', 'right')
AXES = ('x', 'y', 'z')
JOINTS: Mapping[str, tuple[str, ...]] = {
    'angles': ('hip', 'knee', 'ankle', 'foot', 'pelvis'),
    'moments': ('hip', 'knee', 'ankle'),
    'grf': ('',),
}
GROUPS: Mapping[str, str] = {
    'angles': 'kinematics/jointangles/{side}/{joint}',
    'moments': 'kinetics/jointmoment/{side}/{joint}',
    'grf': 'kinetics/forceplate/{side}/force',
}
"""Where a trial keeps x, y and z; or one array that has all three."""
CHANNELS: Mapping[str, tuple[str, ...]] = {
    'angles': tuple(f'{j}_angle_{a}' for j in JOINTS['angles'] for a in AXES),
    'moments': tuple(
        f'{j}_moment_{a}' for j in JOINTS['moments'] for a in AXES
    ),
    'grf': tuple(f'grf_{a}' for a in AXES),
}
UNITS: Mapping[str, str] = {'angles': 'deg', 'moments': 'N mm', 'grf': 'N'}


def embry(
    *,
    seed: int,
    batch_size: int,
    root: str | None = None,
    modalities: Sequence[str] = ('angles', 'moments'),
    length: int = 300,
    stride: int = 150,
    split: str = 'subjects',
    fold: int = 0,
    folds: int = 10,
    train_share: float = 0.8,
    split_seed: int = 0,
    file: str = 'InclineExperiment.mat',
    top: str = 'Gaitcycle',
    groups: Mapping[str, str] | None = None,
    skip: Sequence[str] = ('subjectdetails',),
    flip_left: Sequence[str] = (),
) -> Source:
  """Build the source of walking on inclines.

  Args:
    seed: of the order of training windows.
    batch_size: of the global batch.
    root: folder of data sets, with `embry/` in it; by default `$DIFFAX_DATA`.
    modalities: which of `angles, moments, grf` to use, in this order.
    length: L, samples of a window; 300 are two strides.
    stride: samples between the starts of windows.
    split: one of `series.SPLITS`.
    fold: which fold of subjects is held out.
    folds: of subjects; 10 leaves one out at a time.
    train_share: see `series.source`.
    split_seed: see `series.source`.
    file: name of the file.
    top: HDF5 path of the group of subjects.
    groups: HDF5 paths below a trial by modality, where they are not `GROUPS`.
    skip: names to leave out: `AB03`, `s1i5`, `AB03/s1i5`, `AB03/s1i5/left`.
    flip_left: channels whose sign is changed on the left leg. Joint angles
      and moments are named from the leg's own side, forces from the room.

  Returns:
    The source, see `series.source`; `info` also has `skipped`, what was left
    out and why, and `tasks`, speed (m/s) and incline (degrees) by label.

  Raises:
    UserError: a setting is wrong.
    DataError: the file is missing, of another layout, or holds no stride.
  """
  path = find(root, file)
  wanted = _places(groups or {}, modalities)
  known = [name for channels in CHANNELS.values() for name in channels]
  _check_names('data.flip_left', flip_left, known)
  tracks, skipped = read(path, top, wanted, skip, flip_left)
  facts = series_lib.Facts(
      'embry', SAMPLES, CHANNELS,
      {name: (UNITS[name],) * len(c) for name, c in CHANNELS.items()}
  )
  source = series_lib.source(
      tracks, facts, seed=seed, batch_size=batch_size, modalities=modalities,
      length=length, stride=stride, split=split, fold=fold, folds=folds,
      train_share=train_share, split_seed=split_seed
  )
  return source._replace(info={
      **source.info, 'skipped': tuple(skipped),
      'tasks': {name: task(name) for name in source.info['classes']},
  })


def task(name: str) -> tuple[float, float] | None:
  """Return the speed (m/s) and incline (degrees) that a trial is named after.

  Args:
    name: such as `s0x8i10` (0.8, 10) or `s1x2d7x5` (1.2, -7.5).

  Returns:
    Speed and incline; None if it is no such name.
  """
  parts = re.fullmatch(r's(\d+(?:x\d+)?)([id])(\d+(?:x\d+)?)', name)
  if not parts:
    return None
  speed, incline = (float(parts[i].replace('x', '.')) for i in (1, 3))
  # Plus zero, so that level is not -0.
  return speed, (incline if parts[2] == 'i' else -incline) + 0.0


def task_name(speed: float, incline: float) -> str:
  """Return the name of a speed (m/s) and an incline (degrees); see `task`."""
  way = 'd' if incline < 0 else 'i'
  return f's{speed:g}{way}{abs(incline):g}'.replace('.', 'x')


def find(root: files.PathLike | None, file: str) -> pathlib.Path:
  """Find the file in `embry/` below a folder, or in the folder itself.

  Raises:
    DataError: it is in neither.
  """
  # The preparers import every reader, which takes most of a second.
  from diffax.data import prepare
  base = prepare.data_root(root)
  for path in (base / 'embry' / file, base / file):
    if path.is_file():
      return path
  raise DataError(
      base / 'embry' / file, 'file', 'the data of Embry et al. 2018',
      'no such file', 'It is at 10.21227/gk32-e868, behind a free login; set '
      'data.root or DIFFAX_DATA to the folder that has it in embry/'
  )


def read(
    path: files.PathLike,
    top: str = 'Gaitcycle',
    groups: Mapping[str, str] = GROUPS,
    skip: Sequence[str] = ('subjectdetails',),
    flip_left: Sequence[str] = (),
) -> tuple[list[series_lib.Track], list[str]]:
  """Read the tracks of all subjects.

  Args:
    path: the file.
    top: HDF5 path of the group of subjects.
    groups: HDF5 paths below a trial of the modalities to read.
    skip: names to leave out; see `embry`.
    flip_left: channels to negate on the left; see `embry`.

  Returns:
    Tracks in the order of the file, and what was skipped.

  Raises:
    DataError: see `embry`.
  """
  # Only this file needs the package.
  import h5py
  tracks: list[series_lib.Track] = []
  skipped: list[str] = []
  try:
    file = h5py.File(path, 'r')
  except OSError as error:
    raise DataError(
        path, 'file', 'HDF5, as MATLAB 7.3 writes it', str(error)
    ) from error
  with file:
    for subject, trial, side in _recordings(path, file, top, skip):
      name = f'{subject}/{trial}/{side}'
      strides = {
          modality: _strides(
              path, file, f'{top}/{subject}/{trial}/{group}', modality, side,
              flip_left
          )
          for modality, group in groups.items()
      }
      good, notes = _usable(path, f'{top}/{name}', strides)
      skipped += [f'{name}: {note}' for note in notes]
      tracks += [
          series_lib.Track(
              f'{name}/{run.start}',
              {
                  modality: array[run].reshape(-1, array.shape[-1])
                  for modality, array in strides.items()
              },
              subject, trial, str(path)
          )
          for run in _runs(good)
      ]
  if not tracks:
    raise DataError(path, top, 'at least one whole stride', 'none')
  return tracks, skipped


def _recordings(
    path: files.PathLike, file: Any, top: str, skip: Sequence[str]
) -> Iterator[tuple[str, str, str]]:
  # Subject, trial and side of what is there and not to be skipped.
  subjects = _group(path, file, top)
  for subject in subjects:
    for trial in _group(path, file, f'{top}/{subject}'):
      if {subject, trial, f'{subject}/{trial}'} & set(skip):
        continue
      if task(trial) is None:
        raise DataError(
            path, f'{top}/{subject}/{trial}',
            'a trial named after speed and incline, such as s0x8i10', trial,
            'Name it in data.skip to leave it out'
        )
      for side in SIDES:
        if f'{subject}/{trial}/{side}' not in skip:
          yield subject, trial, side


def _strides(
    path: files.PathLike, file: Any, group: str, modality: str, side: str,
    flip_left: Sequence[str]
) -> np.ndarray:
  # [strides, SAMPLES, C] of one modality of a leg, no stride if it has none.
  joints = [
      _axes(path, file, group.format(side=side, joint=joint))
      for joint in JOINTS[modality]
  ]
  _check_counts(
      path, group.format(side=side, joint='*'),
      dict(zip(JOINTS[modality], map(len, joints)))
  )
  values = np.concatenate(joints, -1)
  if side == 'left':
    signs = [-1 if c in flip_left else 1 for c in CHANNELS[modality]]
    values = values * signs
  return values


def _axes(path: files.PathLike, file: Any, place: str) -> np.ndarray:
  # [strides, SAMPLES, 3] from a group of x, y, z, or from one array.
  node = _node(path, file, place)
  if not isinstance(node, Mapping):
    return _array(path, node, place)
  axes = [
      _array(path, _node(path, file, f'{place}/{axis}'), f'{place}/{axis}')
      for axis in AXES
  ]
  _check_counts(path, place, dict(zip(AXES, map(len, axes))))
  return np.stack(axes, -1)


def _array(path: files.PathLike, node: Any, place: str) -> np.ndarray:
  # A stride last, or its points last before the axes; see the module.
  dimensions = 3 if place.rpartition('/')[2] not in AXES else 2
  shape = f'strides x {SAMPLES}' if dimensions == 2 else (
      f'strides x 3 x {SAMPLES}'
  )
  if isinstance(node, Mapping):
    raise DataError(path, place, f'an array, {shape}', 'a group')
  if node.dtype.kind not in 'fiu':
    raise DataError(path, place, 'an array of numbers', f'{node.dtype}')
  # MATLAB marks a missing matrix as empty, its readers find NaN instead.
  if 'MATLAB_empty' in node.attrs or node.size < 2:
    return np.zeros((0, SAMPLES, 3)[:dimensions])
  values = np.asarray(node[()], np.float64)
  if values.ndim == dimensions and values.shape[-1] != SAMPLES:
    values = values.T
  if values.ndim != dimensions or values.shape[-1] != SAMPLES:
    raise DataError(path, place, f'an array, {shape}', str(list(node.shape)))
  if dimensions == 2:
    return values
  if 3 not in values.shape[:2]:
    raise DataError(path, place, f'an array, {shape}', str(list(node.shape)))
  # Three strides of three axes look the same either way.
  axis = 1 if values.shape[1] == 3 else 0
  return np.moveaxis(values, axis, -1)


def _usable(
    path: files.PathLike, name: str, strides: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, list[str]]:
  # Which strides are whole, [strides], and notes on the others.
  notes = [f'no stride of {m}' for m, rows in strides.items() if not len(rows)]
  if notes:
    return np.zeros(0, bool), notes
  _check_counts(path, name, {m: len(array) for m, array in strides.items()})
  good = np.ones(len(next(iter(strides.values()))), bool)
  for modality, array in strides.items():
    for reason, bad in (
        ('NaN', ~np.isfinite(array).all((1, 2))),
        ('only zeros', (array == 0).all((1, 2))),
    ):
      if bad.any():
        notes.append(
            f'{bad.sum()} of {len(bad)} strides have {reason} in {modality}: '
            f'{", ".join(map(str, np.flatnonzero(bad)))}'
        )
      good &= ~bad
  return good, notes


def _runs(good: np.ndarray) -> list[slice]:
  """Return the stretches of True."""
  edges = np.flatnonzero(np.diff(np.r_[0, good, 0]))
  return [slice(*map(int, pair)) for pair in edges.reshape(-1, 2)]


def _group(path: files.PathLike, file: Any, place: str) -> Mapping[str, Any]:
  node = _node(path, file, place)
  if not isinstance(node, Mapping):
    raise DataError(path, place, 'a group', f'an array {list(node.shape)}')
  return node


def _node(path: files.PathLike, file: Any, place: str) -> Any:
  found = file.get(place)
  if found is not None:
    return found
  node, gone = file, ''
  for part in place.split('/'):
    if not isinstance(node, Mapping) or part not in node:
      break
    node, gone = node[part], f'{gone}{part}/'
  here = list(node) if isinstance(node, Mapping) else []
  raise DataError(
      path, f'{gone}{part}', f'the key {part!r}',
      ', '.join(here[:40]) or f'none of any name in {gone or "the file"}',
      tables.nearest(part, here) or 'Set data.top or data.groups to where it '
      'is, or leave the trial out by data.skip'
  )


def _check_counts(
    path: files.PathLike, place: str, counts: Mapping[str, int]
) -> None:
  if len(set(counts.values())) > 1:
    raise DataError(
        path, place, 'as many strides of each',
        ', '.join(f'{n} of {name}' for name, n in counts.items()),
        'Name the trial in data.skip to leave it out'
    )


def _places(
    groups: Mapping[str, str], modalities: Sequence[str]
) -> dict[str, str]:
  # HDF5 paths of the modalities to read.
  _check_names('data.modalities', modalities, list(GROUPS))
  _check_names('data.groups', groups, list(GROUPS))
  places = {**GROUPS, **groups}
  for name, place in places.items():
    try:
      told_apart = len({place.format(side=s, joint='hip') for s in SIDES}) == 2
    except (KeyError, IndexError, ValueError):
      told_apart = False
    if not told_apart:
      raise UserError(
          f'data.groups.{name}: expected a path with {{side}}, and {{joint}} '
          f'if there are joints, found {place!r}.'
      )
  return {name: places[name] for name in GROUPS if name in modalities}


def _check_names(
    setting: str, names: Sequence[str] | Mapping[str, str],
    known: Sequence[str]
) -> None:
  for name in names:
    if name not in known:
      raise UserError(
          f'{setting}: expected some of {", ".join(known)}, found {name!r}.'
      )
