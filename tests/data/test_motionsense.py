"""MotionSense: the layout, and what the real files hold."""

import csv
import gzip
import pathlib
from typing import Any

import numpy as np
import pytest

from diffax.data import imu
from diffax.data import imu_signals
from diffax.data import motionsense
from diffax.data.base import Source
from diffax.errors import DataError
from diffax.errors import UserError

G = 9.80665


@pytest.fixture
def small(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> pathlib.Path:
  """People 2 and 11, walking twice and jogging once."""
  monkeypatch.setenv('DIFFAX_STORE', str(tmp_path / 'store'))
  made = imu_signals.generate(2, 16.0, classes=('walking', 'running'))
  for r in made:
    number = {'P01': 2, 'P02': 11}[r.subject]
    values = r.values / np.repeat([G, 1], 3)
    if r.label == 'walking':
      write(tmp_path, f'wlk_8/sub_{number}', values[:400])
      write(tmp_path, f'wlk_15/sub_{number}', values[400:])
    else:
      write(tmp_path, f'jog_9/sub_{number}', values)
  return tmp_path


def write(root: pathlib.Path, name: str, values: np.ndarray) -> pathlib.Path:
  path = root / 'imu' / 'motionsense' / f'{name}.csv.gz'
  path.parent.mkdir(parents=True, exist_ok=True)
  with gzip.open(path, 'wt', newline='') as file:
    csv.writer(file).writerows([motionsense.COLUMNS, *np.round(values, 4)])
  return path


def build(root: pathlib.Path, **options: Any) -> Source:
  settings: dict[str, Any] = {
      'seed': 0, 'batch_size': 4, 'root': str(root),
      'classes': ('walking', 'jogging')}
  return motionsense.motionsense(**settings | options)


def test_trials(small: pathlib.Path) -> None:
  source = build(small)
  info = source.info
  # 8 s and 8 s hold seven windows each, 16 s hold seventeen.
  assert info['windows'].tolist() == [[14, 17], [14, 17]]
  assert info['subjects'] == ('2', '11')
  assert info['units'] == {'acc': 'g', 'gyr': 'rad/s'}
  # Trial 8 comes before trial 15, and its people in a row.
  assert info['recordings'] == (
      'wlk_8/sub_11', 'wlk_8/sub_2', 'wlk_15/sub_11', 'wlk_15/sub_2',
      'jog_9/sub_11', 'jog_9/sub_2')
  made = next(imu_signals.generate(1, 16.0)).values / np.repeat([G, 1], 3)
  raw = imu.restore(source.segments('test')['window'], info)
  np.testing.assert_allclose(raw[0], made[:160], atol=1e-3)
  np.testing.assert_allclose(raw[7], made[400:560], atol=1e-3)


def test_choice_of_people_and_classes(small: pathlib.Path) -> None:
  with pytest.raises(UserError, match='two persons or more'):
    build(small, subjects=(2,))
  with pytest.raises(DataError, match='data.subjects, 3: '):
    build(small, subjects=(2, 3))
  with pytest.raises(UserError, match="standing, found 'running'"):
    build(small, classes=('walking', 'running'))
  with pytest.raises(DataError, match='class upstairs: .*ups_7/sub_1'):
    build(small, classes=('walking', 'upstairs'))
  with pytest.raises(DataError, match='github.com/mmalekzadeh/motion-sense'):
    build(small / 'store')


def test_broken_files(small: pathlib.Path) -> None:
  path = write(small, 'wlk_8/sub_2', np.full((400, 6), np.nan))
  with pytest.raises(DataError, match='line 2, acc_x_g: .* found nan'):
    build(small)
  made = next(imu_signals.generate(1, 8.0)).values
  write(small, 'wlk_8/sub_2', made)
  with pytest.raises(DataError, match='wlk_8/sub_2.csv.gz: .*like m/s.2'):
    build(small)
  path.write_bytes(path.read_bytes()[:100])
  with pytest.raises(DataError, match='wlk_8/sub_2.csv.gz: compression'):
    build(small)


def test_the_published_recordings(
    data_dir: pathlib.Path, tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch
) -> None:
  monkeypatch.setenv('DIFFAX_STORE', str(tmp_path))
  people = (1, 13, 21)
  source = build(data_dir, classes=(
      'walking', 'jogging', 'upstairs', 'downstairs', 'sitting', 'standing'
  ), subjects=people, fold=1)
  info = source.info
  assert info['subjects'] == ('1', '13', '21')
  assert info['windows'].tolist()[1:] == [
      [265, 104, 59, 88, 94, 94], [411, 172, 206, 177, 94, 94]]
  # The second recording of person 1 sitting is a copy of the first.
  assert info['windows'][0].tolist() == [267, 154, 147, 117, 47, 94]
  assert any('left out 2000 samples that are copies' in n
             for n in info['notes'])
  test = source.segments('test')
  raw = imu.restore(test['window'], info)
  sizes = np.linalg.norm(raw[..., :3], axis=-1)
  for label, size in ((4, 1.0), (5, 1.0)):
    assert sizes[test['label'] == label].mean() == pytest.approx(size, abs=0.02)
  assert sizes[test['label'] == 1].mean() > 1.2


def test_all_persons(data_dir: pathlib.Path) -> None:
  place = data_dir / 'imu' / 'motionsense'
  found = motionsense.paths(place, ('walking', 'jogging'))
  assert len(found) == 21 * (3 + 2)
  people = {motionsense.person(path) for path, _ in found}
  assert people == {str(n) for n in range(1, 22)}
