"""BasicMotions: the .ts format, groups for people, and the real files."""

import gzip
import pathlib
from typing import Any

import numpy as np
import pytest

from diffax.data import basicmotions
from diffax.data import imu
from diffax.data.base import Source
from diffax.errors import DataError
from diffax.errors import UserError

HEAD = '#A watch\n@problemName BasicMotions\n@classLabel true Standing\n@data\n'
CLASSES = ('Standing', 'Running', 'Walking', 'Badminton')


def case(values: np.ndarray, label: str) -> str:
  axes = [','.join(f'{v:.6f}' for v in axis) for axis in values.T]
  return ':'.join([*axes, label])


def write(root: pathlib.Path, part: str, lines: list[str]) -> None:
  place = root / 'imu' / 'basicmotions'
  place.mkdir(parents=True, exist_ok=True)
  text = HEAD + '\n'.join(lines) + '\n'
  (place / f'BasicMotions_{part}.ts.gz').write_bytes(
      gzip.compress(text.encode()))


@pytest.fixture
def small(tmp_path: pathlib.Path) -> pathlib.Path:
  """Three cases of each class in each file."""
  rng = np.random.default_rng(0)
  for part in basicmotions.PARTS:
    write(tmp_path, part, [
        case((k + 1) * rng.normal(size=(100, 6)), label)
        for k, label in enumerate(CLASSES) for _ in range(3)
    ])
  return tmp_path


def build(root: pathlib.Path, **options: Any) -> Source:
  settings: dict[str, Any] = {
      'seed': 0, 'batch_size': 4, 'root': str(root), 'groups': 3}
  return basicmotions.basicmotions(**settings | options)


def test_groups_take_the_place_of_people(small: pathlib.Path) -> None:
  info = build(small, fold=2).info
  assert info['held_out'] == 'random groups'
  assert info['subjects'] == ('group0', 'group1', 'group2')
  assert info['test_subject'] == 'group2'
  assert info['classes'] == basicmotions.CLASSES
  assert not info['gravity']
  # 10 s at 50 Hz hold nine windows; two cases of a class are in each group.
  assert (info['windows'] == 18).all()
  other = build(small, fold=2, group_seed=1).info
  assert not np.array_equal(info['mean'], other['mean'])


def test_groups_are_even() -> None:
  labels = ['a'] * 20 + ['b'] * 7
  taken = basicmotions.group(labels, 4, 0)
  assert np.bincount(taken[:20]).tolist() == [5] * 4
  assert np.bincount(taken[20:]).tolist() == [2, 2, 2, 1]
  assert taken[:20].tolist() != sorted(taken[:20].tolist())


def test_axes_of_a_case(small: pathlib.Path) -> None:
  values = np.arange(600.0).reshape(100, 6)
  write(small, 'TEST', [case(values, 'Walking')])
  path = small / 'imu' / 'basicmotions' / 'BasicMotions_TEST.ts.gz'
  (found, label), = basicmotions.read_cases(path)
  np.testing.assert_array_equal(found, values)
  assert label == 'Walking'


@pytest.mark.parametrize('line, message', [
    (':'.join(['1,2'] * 5 + ['Walking']), 'line 5: expected 6 axes'),
    (':'.join(['1,2'] * 5 + ['1', 'Walking']), 'line 5: expected axes of one'),
    (':'.join(['1,2'] * 5 + ['1,x', 'Walking']), "line 5: .*'x'"),
    (':'.join(['1,2'] * 5 + ['1,nan', 'Walking']), 'line 5: .*finite'),
    ('', '@data: expected cases after it'),
])
def test_broken_files(
    small: pathlib.Path, line: str, message: str
) -> None:
  write(small, 'TEST', [line])
  with pytest.raises(DataError, match=message) as error:
    build(small)
  assert 'BasicMotions_TEST.ts.gz' in str(error.value)


def test_settings_and_folders(small: pathlib.Path) -> None:
  with pytest.raises(UserError, match='data.groups'):
    build(small, groups=1)
  with pytest.raises(UserError, match="badminton, found 'Walking'"):
    build(small, classes=('standing', 'Walking'))
  with pytest.raises(DataError, match='timeseriesclassification.com'):
    build(small / 'imu' / 'none')
  path = small / 'imu' / 'basicmotions' / 'BasicMotions_TEST.ts.gz'
  data = path.read_bytes()
  path.write_bytes(data[:200])
  with pytest.raises(DataError, match='whole gzip'):
    build(small)
  path.unlink()
  with pytest.raises(DataError, match='BasicMotions_TEST.ts or .ts.gz'):
    build(small)


def test_the_published_recordings(data_dir: pathlib.Path) -> None:
  source = build(data_dir, groups=4)
  info = source.info
  assert info['seconds'].sum() == pytest.approx(800, abs=1)
  assert (info['windows'][:, :3] == 5 * 9).all()
  test = source.segments('test')
  raw = imu.restore(test['window'], info)
  sizes = np.linalg.norm(raw[..., :3], axis=-1)
  standing = sizes[test['label'] == 0].mean()
  # Gravity is not in it.
  assert standing < 2 < sizes[test['label'] == 1].mean()
