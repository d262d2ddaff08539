"""The running data: layout, signs, splits, and each way a file breaks."""

from collections.abc import Callable
import csv
import gzip
import pathlib
from typing import Any

import numpy as np
import pytest

from diffax.data import rbds
from diffax.data.base import Source
from diffax.errors import DataError
from diffax.errors import UserError

ALL = ('angles', 'moments', 'grf')
COLUMNS = ['time_s', *(name for m in ALL for name in rbds.BOTH[m])]


def lines(seed: int, samples: int = 60) -> list[list[str]]:
  values = np.random.default_rng(seed).normal(size=(samples, 26))
  return [
      [f'{7.5 + i / 100:.2f}', *(f'{v:.4f}' for v in row)]
      for i, row in enumerate(values)
  ]


def write_trial(
    root: pathlib.Path, name: str, rows: list[list[str]],
    columns: list[str] = COLUMNS
) -> pathlib.Path:
  folder = root / 'gait' / 'rbds_running' / 'trials'
  folder.mkdir(parents=True, exist_ok=True)
  with gzip.open(folder / f'{name}.csv.gz', 'wt', newline='') as file:
    csv.writer(file).writerows([columns, *rows])
  return folder / f'{name}.csv.gz'


def write_strides(root: pathlib.Path, **change: Any) -> None:
  folder = root / 'gait' / 'rbds_running'
  folder.mkdir(parents=True, exist_ok=True)
  arrays: dict[str, Any] = {
      'x': np.random.default_rng(0).normal(size=(6, 101, 9)).astype('f4'),
      'subject': np.repeat(['RBDS001', 'RBDS002'], 3),
      'speed_mps': np.array([2.5, 3.5, 4.5] * 2, np.float32),
      'side': np.array(['R', 'L'] * 3),
      'start_s': np.arange(6, dtype=np.float32),
      'channels': np.array([n for m in ALL for n in rbds.STRIDE[m]]),
  } | change
  arrays = {key: v for key, v in arrays.items() if v is not None}
  np.savez(folder / 'strides.npz', **arrays)


@pytest.fixture
def small(tmp_path: pathlib.Path) -> pathlib.Path:
  """Two subjects, two trials each, 60 samples."""
  names = ['RBDS001_T25', 'RBDS001_T35', 'RBDS03_T25', 'RBDS03_T45']
  for i, name in enumerate(names):
    write_trial(tmp_path, name, lines(i))
  return tmp_path


def build(root: pathlib.Path, **options: Any) -> Source:
  settings: dict[str, Any] = {
      'seed': 0, 'batch_size': 4, 'root': str(root), 'modalities': ALL,
      'length': 20, 'stride': 20, 'folds': 2,
  }
  return rbds.rbds(**settings | options)


def test_trials(small: pathlib.Path) -> None:
  source = build(small)
  info = source.info
  assert info['modalities'] == {'angles': 10, 'moments': 10, 'grf': 6}
  assert (info['rate'], info['classes']) == (100.0, ('2.5', '3.5', '4.5'))
  assert info['subjects'] == ('RBDS001', 'RBDS03')
  assert info['held_out'] == ('RBDS001',)
  assert info['epoch_size'] == 6
  test = source.segments('test')
  assert test['label'].tolist() == [0, 0, 0, 1, 1, 1]
  assert test['start'].tolist() == [0, 20, 40] * 2
  table = np.array(lines(1), np.float64)[20:40, 1:]
  for name, places in (('angles', slice(10)), ('moments', slice(10, 20)),
                       ('grf', slice(20, 26))):
    raw = test[name][4] * info['std'][name] + info['mean'][name]
    np.testing.assert_allclose(raw, table[:, places], atol=1e-4)
  assert {k: v.shape for k, v in source.train(0).items()} == {
      'angles': (4, 20, 10), 'moments': (4, 20, 10), 'grf': (4, 20, 6)}


def test_legs_are_tracks_of_one_subject(small: pathlib.Path) -> None:
  source = build(small, side='per_leg', modalities=('grf', 'angles'))
  assert source.info['modalities'] == {'grf': 3, 'angles': 5}
  assert source.info['epoch_size'] == 12
  test = source.segments('test')
  assert set(test['subject']) == {0}
  assert test['track'].tolist() == np.repeat(np.arange(4), 3).tolist()
  right, left = rbds.legs(rbds.trial(rbds.paths(rbds.folder(small))[0]))
  table = np.array(lines(0), np.float64)
  for leg, places in ((right, range(1, 6)), (left, range(6, 11))):
    np.testing.assert_array_equal(leg.values['angles'], table[:, places])
  # The force to the right is away from the midline on the right leg alone.
  np.testing.assert_array_equal(right.values['grf'], table[:, 21:24])
  np.testing.assert_array_equal(
      left.values['grf'], table[:, 24:27] * [1, 1, -1])


def test_strides(tmp_path: pathlib.Path) -> None:
  write_strides(tmp_path)
  source = build(tmp_path, series='strides', length=None)
  assert source.info['modalities'] == {'angles': 3, 'moments': 3, 'grf': 3}
  assert source.segments('test')['grf'].shape == (3, 101, 3)
  assert source.segments('test')['label'].tolist() == [0, 1, 2]
  with pytest.raises(DataError, match='at least 300 samples, found 101'):
    build(tmp_path, series='strides', length=300)


def test_modalities_not_asked_for_may_be_absent(small: pathlib.Path) -> None:
  rows = [row[:11] for row in lines(5)]
  write_trial(small, 'RBDS03_T25', rows, COLUMNS[:11])
  assert build(small, modalities=('angles',)).info['epoch_size'] == 6
  with pytest.raises(DataError, match='moments, column hip_flexion_moment_r'):
    build(small, modalities=('angles', 'moments'))


def set_cell(rows: list[list[str]], value: str) -> list[list[str]]:
  rows[7][3] = value
  return rows


@pytest.mark.parametrize('change, message', [
    (lambda rows: set_cell(rows, 'nan'),
     'line 9, hip_rotation_angle_r_deg: expected a finite number, found nan'),
    (lambda rows: set_cell(rows, 'x'), 'line 9, hip_rotation_angle_r_deg'),
    (lambda rows: rows[:7] + [rows[7][:-1]] + rows[8:], 'line 9: .* 27 cells'),
    (lambda rows: rows[:7] + rows[8:], 'time_s, sample 7: .* 7.57 s'),
    (lambda rows: rows[:30] + rows[:30], 'time_s, sample 30: '),
    (lambda rows: rows[::2], 'time_s: expected a step of 0.01 s'),
    (lambda rows: [], 'rows: .* none'),
    (lambda rows: rows[:9], 'at least 20 samples, found 9 .*data.length'),
])
def test_broken_trials(
    tmp_path: pathlib.Path, change: Callable, message: str
) -> None:
  for name in ('RBDS001_T25', 'RBDS002_T25'):
    path = write_trial(tmp_path, name, change(lines(0)))
  with pytest.raises(DataError, match=message) as error:
    build(tmp_path)
  assert str(path.parent) in str(error.value)


def test_a_misspelt_column(small: pathlib.Path) -> None:
  columns = [name.replace('knee_flexion', 'kne_flexion') for name in COLUMNS]
  path = write_trial(small, 'RBDS03_T25', lines(0), columns)
  with pytest.raises(DataError) as error:
    build(small)
  for part in (str(path), 'column knee_flexion_angle_r_deg',
               'ankle_dorsiflexion_angle_l_deg',
               'Did you mean kne_flexion_angle_r_deg?'):
    assert part in str(error.value)


def test_missing_folders_and_foreign_files(
    tmp_path: pathlib.Path, small: pathlib.Path
) -> None:
  with pytest.raises(DataError, match='DIFFAX_DATA'):
    build(tmp_path / 'nothing')
  trials = rbds.folder(small) / 'trials'
  (trials / 'notes.txt').write_text('not a trial')
  build(small)
  (trials / 'run.csv').write_text('a,b\n1,2\n')
  with pytest.raises(DataError, match='run.csv: name: .*RBDS001_T25'):
    build(small)
  for path in trials.glob('*'):
    path.unlink()
  with pytest.raises(DataError, match='trials: folder: .*found none'):
    build(small)


@pytest.mark.parametrize('change, message', [
    ({'side': None, 'sides': np.array(['R'] * 6)}, 'Did you mean sides?'),
    ({'subject': np.array(['RBDS001'] * 5)}, '6 x, 5 subject'),
    ({'x': np.zeros((6, 101, 8))}, r'\[strides, samples, 9\], .*101, 8\]'),
    ({'channels': np.array(['hip_flexion_angle_degrees'] * 9)},
     'channels, angles hip_flexion_angle_deg'),
    ({'x': np.full((6, 101, 9), np.nan)}, 'finite number'),
])
def test_broken_strides(
    tmp_path: pathlib.Path, change: dict, message: str
) -> None:
  write_strides(tmp_path, **change)
  with pytest.raises(DataError, match=message) as error:
    build(tmp_path, series='strides', length=None)
  assert 'strides.npz' in str(error.value)


@pytest.mark.parametrize('option', [
    {'series': 'stride'}, {'side': 'left'}, {'modalities': ('angle',)},
    {'folds': 1}, {'length': 0},
])
def test_wrong_settings(small: pathlib.Path, option: dict) -> None:
  with pytest.raises(UserError, match=next(iter(option))):
    build(small, **option)


def test_the_published_recordings(data_dir: pathlib.Path) -> None:
  source = build(data_dir, length=300, stride=150, folds=23)
  assert len(source.info['subjects']) == 23
  # 15 s at 100 Hz hold nine windows, and everyone ran at three speeds.
  assert source.info['epoch_size'] == 22 * 3 * 9
  assert source.segments('test')['angles'].shape == (27, 300, 10)


def test_strides_are_stretches_of_the_trials(data_dir: pathlib.Path) -> None:
  place = rbds.folder(data_dir)
  legs = list(rbds.legs(rbds.trial(place / 'trials' / 'RBDS001_T25.csv.gz')))
  both = {leg.name[-1]: leg for leg in legs}
  arrays = np.load(place / 'strides.npz')
  clock = 7.5 + np.arange(1500) / 100
  rows = np.flatnonzero(
      (arrays['subject'] == 'RBDS001') & (arrays['speed_mps'] == 2.5))
  found = list(rbds.strides(place / 'strides.npz'))
  for i in (rows[2], rows[-2]):
    leg = both[arrays['side'][i].lower()]
    moments = arrays['start_s'][i] + np.linspace(0, 1, 101) * (
        arrays['duration_s'][i])
    for name, channels in rbds.STRIDE.items():
      for c, channel in enumerate(channels):
        column = leg.values[name][:, rbds.LEG[name].index(channel)]
        cut = np.interp(moments, clock, column)
        np.testing.assert_allclose(
            found[i].values[name][:, c], cut, atol=0.05 * np.ptp(cut),
            err_msg=channel
        )
