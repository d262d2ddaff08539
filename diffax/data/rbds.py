"""Running of 23 people at 2.5, 3.5 and 4.5 m/s: angles, moments and forces.

Joint angles (degrees), internal joint moments (N m / kg) and ground-reaction
forces (N / kg) of both legs on an instrumented treadmill, computed from the
markers and forces of Fukuchi et al. Two forms of the same recordings lie in
`gait/rbds_running`:

  trials/*.csv.gz   15 s at 100 Hz, 10 angles, 10 moments, 6 forces
  strides.npz       foot strike to foot strike of one leg, 101 samples each of
                    3 angles, 3 moments, 3 forces

The label of a track is its speed in m/s.

Signs: hip flexion, knee flexion (moment: extension) and ankle dorsiflexion are
positive, force forward and up too. Adduction and rotation are named from the
leg's own side and agree between legs. The lateral force does not: in the
trials it points to the right for both legs. A single leg (`side='per_leg'`,
and the strides) counts it positive away from the midline, so it changes sign
on the left:

  (1)  lateral_right = ml_right,   lateral_left = -ml_left

References:
  Fukuchi, Fukuchi, Duarte, "A public dataset of running biomechanics and the
  effects of running speed on lower extremity kinematics and kinetics", PeerJ
  5:e3298, 2017 (CC BY 4.0).
"""

from collections.abc import Iterator, Mapping, Sequence
import pathlib
import re

import numpy as np

from diffax.data import files
from diffax.data import series as series_lib
from diffax.data import tables
from diffax.data.base import Source
from diffax.errors import DataError
from diffax.errors import UserError

SERIES = ('trials', 'strides')
SIDES = ('both', 'per_leg')
RATE = 100.0
"""Samples per second of the trials, per stride of the strides."""

_LENGTHS = {'trials': 300, 'strides': 101}
_ANGLES = ('hip_flexion', 'hip_adduction', 'hip_rotation', 'knee_flexion',
           'ankle_dorsiflexion')
_MOMENTS = ('hip_flexion', 'hip_adduction', 'hip_rotation', 'knee_extension',
            'ankle_dorsiflexion')
_UNITS = {'angles': 'deg', 'moments': 'N m / kg', 'grf': 'N / kg'}


def _columns(side: str) -> dict[str, tuple[str, ...]]:
  return {
      'angles': tuple(f'{name}_angle_{side}_deg' for name in _ANGLES),
      'moments': tuple(f'{name}_moment_{side}_nmkg' for name in _MOMENTS),
      'grf': tuple(f'grf_{name}_{side}_nkg' for name in ('ap', 'vert', 'ml')),
  }


BOTH: Mapping[str, tuple[str, ...]] = {
    name: columns + _columns('l')[name]
    for name, columns in _columns('r').items()
}
"""Columns of a trial by modality."""

LEG: Mapping[str, tuple[str, ...]] = {
    'angles': tuple(f'{name}_angle_deg' for name in _ANGLES),
    'moments': tuple(f'{name}_moment_nmkg' for name in _MOMENTS),
    'grf': ('grf_ap_nkg', 'grf_vert_nkg', 'grf_lateral_nkg'),
}
"""Channels of one leg of a trial."""

STRIDE: Mapping[str, tuple[str, ...]] = {
    'angles': tuple(LEG['angles'][i] for i in (0, 3, 4)),
    'moments': tuple(LEG['moments'][i] for i in (0, 3, 4)),
    'grf': LEG['grf'],
}
"""Channels of a stride."""


def rbds(
    *,
    seed: int,
    batch_size: int,
    root: str | None = None,
    modalities: Sequence[str] = ('angles', 'moments'),
    series: str = 'trials',
    side: str = 'both',
    length: int | None = None,
    stride: int = 150,
    split: str = 'subjects',
    fold: int = 0,
    folds: int = 5,
    train_share: float = 0.8,
    split_seed: int = 0,
) -> Source:
  """Build the source of running.

  Args:
    seed: of the order of training windows.
    batch_size: of the global batch.
    root: folder of data sets; by default `$DIFFAX_DATA`.
    modalities: which of `angles, moments, grf` to use, in this order.
    series: `trials`, or `strides`, each a track of 101 samples.
    side: channels of `both` legs together, or tracks `per_leg`, of which a
      subject then has two as many; strides are of one leg in any case.
    length: L, samples of a window; 300 of a trial, 101 of a stride if None.
    stride: samples between the starts of windows.
    split: one of `series.SPLITS`.
    fold: which fold of subjects is held out.
    folds: of subjects.
    train_share: see `series.source`.
    split_seed: see `series.source`.

  Returns:
    The source; see `series.source`.

  Raises:
    UserError: a setting is wrong.
    DataError: a file is missing or broken.
  """
  for value, name, choices in (
      (series, 'series', SERIES), (side, 'side', SIDES)
  ):
    if value not in choices:
      raise UserError(
          f'data.{name}: expected one of {choices}, found {value!r}.'
      )
  place = folder(root)
  wanted = tuple(name for name in BOTH if name in modalities)
  if series == 'strides':
    channels = STRIDE
    tracks = list(strides(place / 'strides.npz'))
  elif side == 'per_leg':
    channels = LEG
    tracks = [
        leg for path in paths(place) for leg in legs(trial(path, wanted))
    ]
  else:
    channels = BOTH
    tracks = [trial(path, wanted) for path in paths(place)]
  return series_lib.source(
      tracks, _facts(channels), seed=seed, batch_size=batch_size,
      modalities=modalities,
      length=_LENGTHS[series] if length is None else length, stride=stride,
      split=split, fold=fold, folds=folds, train_share=train_share,
      split_seed=split_seed
  )


def folder(root: files.PathLike | None) -> pathlib.Path:
  """Find the folder of the recordings, `gait/rbds_running` or the root itself.

  Raises:
    DataError: there is neither.
  """
  # The preparers import every reader, which takes most of a second.
  from diffax.data import prepare
  base = prepare.data_root(root)
  for place in (base / 'gait' / 'rbds_running', base):
    if (place / 'trials').is_dir() or (place / 'strides.npz').is_file():
      return place
  raise DataError(
      base, 'folder', 'gait/rbds_running with trials/ and strides.npz',
      'no such folder', 'Set data.root or DIFFAX_DATA to the folder of the data'
  )


def paths(place: pathlib.Path) -> list[pathlib.Path]:
  """List the trials, RBDS001_T25.csv.gz and so on.

  Raises:
    DataError: there is none, or a table has another name.
  """
  found = sorted(
      path for path in (place / 'trials').glob('*')
      if path.name.endswith(('.csv', '.csv.gz'))
  )
  if not found:
    raise DataError(
        place / 'trials', 'folder', 'files like RBDS001_T25.csv.gz', 'none'
    )
  return found


def trial(
    path: pathlib.Path, modalities: Sequence[str] = tuple(BOTH)
) -> series_lib.Track:
  """Read one trial.

  Args:
    path: the table.
    modalities: which to read.

  Returns:
    A track of both legs, channels as in `BOTH`.

  Raises:
    DataError: see `tables.read_series`; or the name of the file says neither
      subject nor speed.
  """
  name = path.name.partition('.')[0]
  parts = re.fullmatch(r'(\w+)_T(\d)(\d)', name)
  if not parts:
    raise DataError(
        path, 'name', 'subject and tenths of m/s, as in RBDS001_T25.csv.gz',
        path.name
    )
  values = tables.read_series(
      path, {m: BOTH[m] for m in modalities}, need=modalities, rate=RATE
  )
  return series_lib.Track(
      name, values, parts[1], f'{parts[2]}.{parts[3]}', str(path)
  )


def legs(both: series_lib.Track) -> Iterator[series_lib.Track]:
  """Yield the right and the left leg of a trial, channels as in `LEG`."""
  for side, place in (('r', 0), ('l', 1)):
    values = {
        name: np.split(array, 2, axis=1)[place]
        for name, array in both.values.items()
    }
    if 'grf' in values:
      # Eq. 1.
      values['grf'] = values['grf'] * (1, 1, 1 - 2 * place)
    yield series_lib.Track(
        f'{both.name}_{side}', values, both.subject, both.label, both.file
    )


def strides(path: pathlib.Path) -> Iterator[series_lib.Track]:
  """Read the strides, each a track, channels as in `STRIDE`.

  Raises:
    DataError: the file is broken, or lacks an array or a channel.
  """
  arrays = _stride_arrays(path)
  names = [str(name) for name in arrays['channels']]
  places = {}
  for modality, wanted in STRIDE.items():
    for name in wanted:
      if name not in names:
        raise DataError(
            path, f'channels, {modality} {name}', ', '.join(wanted),
            ', '.join(names), tables.nearest(name, names)
        )
    places[modality] = [names.index(name) for name in wanted]
  x = arrays['x'].astype(np.float64)
  for i, (subject, speed, side, start) in enumerate(
      zip(*(arrays[key] for key in ('subject', 'speed_mps', 'side', 'start_s')))
  ):
    yield series_lib.Track(
        f'{subject}_T{10 * speed:.0f}_{side.lower()}_{start:.2f}s',
        {name: x[i][:, columns] for name, columns in places.items()},
        str(subject), f'{speed:.1f}', str(path)
    )


def _stride_arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
  arrays = files.read_arrays(path)
  rows = ('x', 'subject', 'speed_mps', 'side', 'start_s')
  for key in (*rows, 'channels'):
    if key not in arrays:
      raise DataError(path, key, 'an array of this name', ', '.join(arrays),
                      tables.nearest(key, list(arrays)))
  counts = {key: len(np.atleast_1d(arrays[key])) for key in rows}
  if len(set(counts.values())) > 1:
    raise DataError(path, ', '.join(rows), 'one row per stride in each',
                    ', '.join(f'{n} {key}' for key, n in counts.items()))
  shape = arrays['x'].shape
  if len(shape) != 3 or not counts['x'] or (
      shape[2] != len(arrays['channels'])
  ):
    raise DataError(
        path, 'x', f'[strides, samples, {len(arrays["channels"])}]',
        str(list(shape))
    )
  return arrays


def _facts(channels: Mapping[str, Sequence[str]]) -> series_lib.Facts:
  return series_lib.Facts(
      'rbds', RATE, channels,
      {name: (_UNITS[name],) * len(c) for name, c in channels.items()}
  )
