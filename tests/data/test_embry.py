"""The layout of InclineExperiment.mat, on a small file of that layout."""

from collections.abc import Callable
import pathlib
import shutil
from typing import Any

import h5py
import numpy as np
import pytest

from diffax.data import embry
from diffax.data.base import Source
from diffax.errors import DataError
from diffax.errors import UserError

ALL = ('angles', 'moments', 'grf')
TRIALS = ('s0x8i10', 's1d7x5', 's1x2i0')
COUNT = 5
FOLDERS = {
    'angles': 'kinematics/jointangles', 'moments': 'kinetics/jointmoment',
    'grf': 'kinetics/forceplate',
}


def value(place: str) -> np.ndarray:
  """A matrix as MATLAB has it, SAMPLES x strides, another for each path."""
  seed = np.frombuffer(place.encode(), np.uint8)
  return np.random.default_rng(seed).normal(size=(embry.SAMPLES, COUNT))


def leaf(trial: str, modality: str, side: str, joint: str, axis: str) -> str:
  parts = (f'Gaitcycle/{trial}', FOLDERS[modality], side,
           joint or 'force', axis)
  return '/'.join(parts)


def leaves(trial: str) -> list[str]:
  return [
      leaf(trial, modality, side, joint, axis)
      for modality, joints in embry.JOINTS.items()
      for side in embry.SIDES for joint in joints for axis in embry.AXES
  ]


def put(path: pathlib.Path, place: str, matlab: np.ndarray) -> None:
  # MATLAB stores columns first, so HDF5 shows the transpose.
  with h5py.File(path, 'a') as file:
    if place in file:
      del file[place]
    file[place] = matlab.T


@pytest.fixture(scope='module')
def original(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
  """Three subjects, three trials, five strides a leg."""
  path = tmp_path_factory.mktemp('original') / 'InclineExperiment.mat'
  with h5py.File(path, 'w') as file:
    for subject in ('AB01', 'AB02', 'AB03'):
      file[f'Gaitcycle/{subject}/subjectdetails'] = np.zeros((3, 2))
      for trial in TRIALS:
        for place in leaves(f'{subject}/{trial}'):
          file[place] = value(place).T
        file[f'Gaitcycle/{subject}/{trial}/description'] = np.zeros((2, 2))
    file['Continuous/AB01/s0x8i10/kinematics'] = np.zeros(3)
  return path


@pytest.fixture
def root(original: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
  """A folder of data with a copy of the file, to be changed."""
  (tmp_path / 'embry').mkdir()
  shutil.copy(original, tmp_path / 'embry')
  return tmp_path


@pytest.fixture
def path(root: pathlib.Path) -> pathlib.Path:
  return root / 'embry' / 'InclineExperiment.mat'


def build(root: pathlib.Path, **options: Any) -> Source:
  settings: dict[str, Any] = {
      'seed': 0, 'batch_size': 4, 'root': str(root), 'modalities': ALL,
      'folds': 3,
  }
  return embry.embry(**settings | options)


def test_windows_are_two_strides_of_one_leg(root: pathlib.Path) -> None:
  source = build(root, fold=1)
  info = source.info
  assert info['modalities'] == {'angles': 15, 'moments': 9, 'grf': 3}
  assert info['classes'] == TRIALS
  assert info['tasks'] == {
      's0x8i10': (0.8, 10.0), 's1d7x5': (1.0, -7.5), 's1x2i0': (1.2, 0.0)}
  assert info['subjects'] == ('AB01', 'AB02', 'AB03')
  assert (info['held_out'], info['skipped']) == (('AB02',), ())
  # Five strides make four windows of two.
  assert info['epoch_size'] == 2 * 3 * 2 * 4
  test = source.segments('test')
  assert test['angles'].shape == (24, 300, 15)
  assert test['track'].tolist() == np.repeat(np.arange(6, 12), 4).tolist()
  assert test['label'].tolist() == np.repeat([0, 1, 2], 8).tolist()
  assert test['start'].tolist() == [0, 150, 300, 450] * 6
  places = {
      'angles': ('right', 'ankle', 'y', 7),
      'moments': ('right', 'knee', 'z', 5),
      'grf': ('right', '', 'x', 0),
  }
  # The second window of the right leg of the second trial.
  for name, (side, joint, axis, channel) in places.items():
    matrix = value(leaf('AB02/s1d7x5', name, side, joint, axis))
    raw = test[name][13] * info['std'][name] + info['mean'][name]
    np.testing.assert_allclose(
        raw[:, channel], matrix[:, 1:3].T.ravel(), atol=1e-5)


def test_strides_with_nan_cut_the_track(
    root: pathlib.Path, path: pathlib.Path
) -> None:
  place = leaf('AB02/s1d7x5', 'moments', 'left', 'hip', 'y')
  matrix = value(place)
  matrix[70, 2] = np.nan
  put(path, place, matrix)
  zeros = leaf('AB03/s0x8i10', 'grf', 'right', '', '{axis}')
  for axis in embry.AXES:
    matrix = value(zeros.format(axis=axis))
    matrix[:, [0, 3, 4]] = 0
    put(path, zeros.format(axis=axis), matrix)
  tracks, skipped = embry.read(path)
  cut = {
      track.name: track for track in tracks
      if track.name.startswith(('AB02/s1d7x5/left', 'AB03/s0x8i10/right'))
  }
  assert {name: len(t.values['grf']) // 150 for name, t in cut.items()} == {
      'AB02/s1d7x5/left/0': 2, 'AB02/s1d7x5/left/3': 2,
      'AB03/s0x8i10/right/1': 2}
  knee = leaf('AB02/s1d7x5', 'angles', 'left', 'knee', 'x')
  np.testing.assert_array_equal(
      cut['AB02/s1d7x5/left/3'].values['angles'][:, 3],
      value(knee)[:, 3:].T.ravel())
  assert skipped == [
      'AB02/s1d7x5/left: 1 of 5 strides have NaN in moments: 2',
      'AB03/s0x8i10/right: 3 of 5 strides have only zeros in grf: 0, 3, 4']
  # Angles alone are whole.
  assert build(root, modalities=('angles',)).info['skipped'] == ()
  info = build(root).info
  assert info['skipped'] == tuple(skipped)
  assert info['epoch_size'] == 2 * 3 * 2 * 4 - 2 - 3


@pytest.mark.parametrize('empty', [np.full((1, 1), np.nan), None])
def test_a_trial_without_data_is_skipped(
    root: pathlib.Path, path: pathlib.Path, empty: np.ndarray | None
) -> None:
  for place in leaves('AB01/s1x2i0'):
    # MATLAB writes [] as its size, and marks it.
    put(path, place, np.zeros(2, np.uint64) if empty is None else empty)
    if empty is None:
      with h5py.File(path, 'a') as file:
        file[place].attrs['MATLAB_empty'] = 1
  info = build(root, fold=2).info
  assert info['skipped'] == tuple(
      f'AB01/s1x2i0/{side}: no stride of {modality}'
      for side in embry.SIDES for modality in ALL)
  assert info['epoch_size'] == (2 * 3 - 1) * 2 * 4


def test_a_trial_that_is_all_nan(path: pathlib.Path) -> None:
  for place in leaves('AB01/s1x2i0'):
    put(path, place, np.full((150, COUNT), np.nan))
  tracks, skipped = embry.read(path)
  assert not [t for t in tracks if t.name.startswith('AB01/s1x2i0')]
  assert len(tracks) == 16 and len(skipped) == 6


@pytest.mark.parametrize('order', [(0, 1, 2), (0, 2, 1)])
def test_forces_in_one_array(
    path: pathlib.Path, order: tuple[int, int, int]
) -> None:
  expected, _ = embry.read(path)
  for subject in ('AB01', 'AB02', 'AB03'):
    for trial in TRIALS:
      for side in embry.SIDES:
        place = f'Gaitcycle/{subject}/{trial}/kinetics/forceplate/{side}/force'
        # MATLAB's 150 x 3 x strides or 150 x strides x 3.
        axes = np.stack([value(f'{place}/{a}') for a in embry.AXES], 1)
        put(path, place, axes.transpose(order))
  found, _ = embry.read(path)
  for one, other in zip(expected, found, strict=True):
    np.testing.assert_array_equal(one.values['grf'], other.values['grf'])


def test_settings_for_another_version(
    root: pathlib.Path, path: pathlib.Path
) -> None:
  with h5py.File(path, 'a') as file:
    file.move('Gaitcycle', 'Other/Strides')
    for name in ('AB01', 'AB02', 'AB03'):
      for trial in TRIALS:
        folder = file[f'Other/Strides/{name}/{trial}/kinetics']
        folder.move('jointmoment', 'moment')
    del file['Other/Strides/AB03/s1d7x5/kinetics']
  path.rename(root / 'New.mat')
  with pytest.raises(DataError, match='AB03/s1d7x5/kinetics: '):
    build(root, file='New.mat', top='Other/Strides',
          groups={'moments': 'kinetics/moment/{side}/{joint}'})
  info = build(
      root, file='New.mat', top='Other/Strides',
      groups={'moments': 'kinetics/moment/{side}/{joint}'},
      skip=('subjectdetails', 'AB03/s1d7x5', 's1x2i0', 'AB02/s0x8i10/left'),
  ).info
  assert info['classes'] == ('s0x8i10', 's1d7x5')
  # Legs of AB02 and AB03; AB01 is held out.
  assert info['epoch_size'] == (1 + 2 + 2) * 4


def test_flips_channels_of_the_left_leg_alone(path: pathlib.Path) -> None:
  plain, _ = embry.read(path)
  flipped, _ = embry.read(path, flip_left=('grf_y', 'hip_angle_z'))
  for one, other in zip(plain, flipped):
    left = -1 if '/left/' in one.name else 1
    np.testing.assert_array_equal(
        other.values['grf'], one.values['grf'] * (1, left, 1))
    np.testing.assert_array_equal(
        other.values['angles'][:, :4],
        one.values['angles'][:, :4] * (1, 1, left, 1))
    np.testing.assert_array_equal(
        other.values['moments'], one.values['moments'])


@pytest.mark.parametrize('name, expected', [
    ('s0x8i10', (0.8, 10)), ('s1i0', (1, 0)), ('s1x2d2x5', (1.2, -2.5)),
    ('s1d10', (1, -10)), ('s1x2', None), ('walk', None), ('s1i7x5b', None),
])
def test_reads_the_task_from_the_name(
    name: str, expected: tuple[float, float] | None
) -> None:
  assert embry.task(name) == expected
  if expected:
    assert embry.task_name(*expected) == name


def remove(place: str) -> Callable[[h5py.File], None]:
  return lambda file: file.__delitem__(place)


def rename(old: str, new: str) -> Callable[[h5py.File], None]:
  def change(file: h5py.File) -> None:
    file.move(old, 'aside')
    file.move('aside', new)
  return change


def nest(place: str) -> Callable[[h5py.File], None]:
  return rename(place, f'{place}/y')


def store(place: str, content: Any) -> Callable[[h5py.File], None]:
  def change(file: h5py.File) -> None:
    del file[place]
    file[place] = content
  return change


KNEE = leaf('AB02/s1d7x5', 'angles', 'right', 'knee', 'y')
PLATE = 'Gaitcycle/AB02/s1d7x5/kinetics/forceplate/left/force'


@pytest.mark.parametrize('change, message', [
    (remove('Gaitcycle'), 'Gaitcycle: expected the key .*found Continuous'),
    (remove(KNEE), f"{KNEE}: expected the key 'y', found x, z"),
    (rename(KNEE[:-2], f'{KNEE[:-2]}s'),
     f'{KNEE[:-2]}: .*found ankle, foot, hip, knees, pelvis. Did you mean '
     'knees'),
    (rename('Gaitcycle/AB02/s1d7x5', 'Gaitcycle/AB02/s1'),
     'AB02/s1: expected a trial named'),
    (store(KNEE, np.zeros((5, 149))), r'knee/y: .* found \[5, 149\]'),
    (store(KNEE, np.zeros((4, 150))), '5 of x, 4 of y, 5 of z'),
    (store(KNEE, [b'a', b'b']), 'knee/y: expected an array of numbers'),
    (store(f'{KNEE}', np.zeros((5, 1, 150))), r'\[5, 1, 150\]'),
    (store(KNEE[:-2], np.zeros((4, 3, 150))),
     'jointangles/right/.*: .* 5 of hip, 4 of knee'),
    (store(PLATE, np.zeros((5, 150))), r'left/force: .* found \[5, 150\]'),
    (store(PLATE, np.zeros((4, 3, 150))),
     'AB02/s1d7x5/left: .* 5 of angles, 5 of moments, 4 of grf.*data.skip'),
    (store(PLATE, np.zeros((5, 2, 150))), r'left/force: .* \[5, 2, 150\]'),
    (store('Gaitcycle/AB02', np.zeros(3)), 'Gaitcycle/AB02: .*a group'),
    (rename(KNEE[:-2], f'{KNEE}/y'), "knee/x: expected the key 'x', found y"),
    (nest(KNEE), 'knee/y: expected an array.*found a group'),
])
def test_names_the_path_that_is_wrong(
    root: pathlib.Path, path: pathlib.Path,
    change: Callable[[h5py.File], None], message: str
) -> None:
  with h5py.File(path, 'a') as file:
    change(file)
  with pytest.raises(DataError, match=message) as error:
    build(root)
  assert str(path) in str(error.value)


def test_a_missing_or_foreign_file(
    root: pathlib.Path, path: pathlib.Path
) -> None:
  with pytest.raises(DataError, match='10.21227/gk32-e868'):
    build(root / 'nothing')
  # Older MATLAB files are not HDF5.
  path.write_bytes(b'MATLAB 5.0 MAT-file' + bytes(200))
  with pytest.raises(DataError, match='expected HDF5'):
    build(root)


def test_a_file_without_strides(path: pathlib.Path) -> None:
  with h5py.File(path, 'a') as file:
    for subject in ('AB01', 'AB02', 'AB03'):
      for trial in TRIALS:
        del file[f'Gaitcycle/{subject}/{trial}']
  with pytest.raises(DataError, match='at least one whole stride'):
    embry.read(path)


@pytest.mark.parametrize('option, message', [
    ({'modalities': ('angle',)}, 'data.modalities: .*angles'),
    ({'groups': {'forces': '{side}'}}, 'data.groups: .*grf'),
    ({'groups': {'grf': 'kinetics/force'}}, 'data.groups.grf: .*{side}'),
    ({'groups': {'grf': 'kinetics/{leg}'}}, 'data.groups.grf: .*{side}'),
    ({'flip_left': ('lateral',)}, 'data.flip_left: .*grf_y'),
])
def test_wrong_settings(
    root: pathlib.Path, option: dict[str, Any], message: str
) -> None:
  with pytest.raises(UserError, match=message):
    build(root, **option)
