"""Daily and Sports Activities: joins, copies, and what the files hold."""

import csv
import gzip
import pathlib
from typing import Any

import numpy as np
import pytest

from diffax.data import dsads
from diffax.data import imu
from diffax.data import imu_recordings
from diffax.data import imu_signals
from diffax.data.base import Source
from diffax.errors import DataError
from diffax.errors import UserError

PIECE = 125


def made() -> dict[tuple[str, str], np.ndarray]:
  """A minute at 25 Hz by person and class; their pieces follow each other."""
  found = imu_signals.generate(2, 60.0, classes=('walking', 'running'))
  return {(r.subject, r.label): r.values[::2] for r in found}


@pytest.fixture
def small(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> pathlib.Path:
  """People 1 and 2, walking (10) and running (12), twelve pieces each."""
  monkeypatch.setenv('DIFFAX_STORE', str(tmp_path / 'store'))
  for (subject, label), values in made().items():
    number = {'walking': 10, 'running': 12}[label]
    write(tmp_path, number, int(subject[1:]), values)
  return tmp_path


def write(
    root: pathlib.Path, activity: int, person: int, values: np.ndarray
) -> pathlib.Path:
  path = root / 'imu' / 'dsads' / f'a{activity:02d}' / f'p{person}_RL.csv.gz'
  path.parent.mkdir(parents=True, exist_ok=True)
  rows = [[i // PIECE + 1, *row] for i, row in enumerate(np.round(values, 5))]
  with gzip.open(path, 'wt', newline='') as file:
    csv.writer(file).writerows([('seg', *dsads.COLUMNS), *rows])
  return path


def shuffled(values: np.ndarray) -> np.ndarray:
  """Turn the pieces round, which breaks their joins."""
  return np.concatenate(np.split(values, len(values) // PIECE)[::-1])


def build(root: pathlib.Path, **options: Any) -> Source:
  settings: dict[str, Any] = {
      'seed': 0, 'batch_size': 4, 'root': str(root),
      'activities': {'walking': (10,), 'running': (12,)}}
  return dsads.dsads(**settings | options)


def test_joined_and_separate_pieces(small: pathlib.Path) -> None:
  whole = (3000 - 160) // 40 + 1
  joined = build(small, segments='joined')
  assert joined.info['windows'].tolist() == [[whole] * 2] * 2
  assert joined.info['recordings'][0] == 'a10/p1'
  separate = build(small, segments='separate')
  # 125 samples at 25 Hz are 250 at 50 Hz, three windows.
  assert separate.info['windows'].tolist() == [[12 * 3] * 2] * 2
  assert separate.info['recordings'][:2] == ('a10/p1/1', 'a10/p1/2')
  assert joined.info['rate'] == 50.0
  assert build(small).info['windows'].tolist() == [[whole] * 2] * 2


def test_it_is_resampled(small: pathlib.Path) -> None:
  source = build(small, segments='joined')
  raw = imu.restore(source.segments('test')['window'], source.info)
  values = made()['P01', 'walking']
  # Every second sample is one of the file's, as far as the filter is true.
  error = np.abs(raw[10][::2] - values[200:280]) / values.std(0)
  assert np.median(error) < 0.05


def test_broken_joins_are_found(small: pathlib.Path) -> None:
  values = made()['P02', 'walking']
  pieces = [(a, a + PIECE) for a in range(0, len(values), PIECE)]
  ratio, p = dsads.join_test(values, pieces)
  assert p > dsads.CONTINUOUS and 0.5 < ratio < 2
  ratio, p = dsads.join_test(shuffled(values), pieces)
  assert p < dsads.CONTINUOUS and ratio > 2
  assert dsads.join_test(values, pieces[:1]) == (1.0, 1.0)
  write(small, 10, 2, shuffled(values))
  info = build(small).info
  assert info['windows'].tolist() == [[72, 72], [36, 72]]
  assert any('a10/p2: 12 pieces kept apart' in n for n in info['notes'])


def test_a_recording_under_two_names(small: pathlib.Path) -> None:
  values = made()
  # As published: person 2 has the jumping of person 1, ten samples later.
  mine = values['P01', 'running']
  write(small, 12, 2, np.concatenate([mine[-10:] + 1, mine[:-10]]))
  # Of a separate piece, the ten samples before a join are too few to tell.
  for segments, count in (('joined', 1490), ('separate', 12 * 115)):
    info = build(small, segments=segments, fold=1).info
    assert info['lacking'] == (('p2', 'running'),)
    assert any(f'p2_RL.csv.gz: left out {count} samples' in n and 'p1_RL' in n
               for n in info['notes'])


def test_several_forms_of_a_class(small: pathlib.Path) -> None:
  for person in (1, 2):
    values = made()[f'P0{person}', 'walking']
    write(small, 9, person, 1.02 * values)
  info = build(small, activities={
      'walking': (9, 10), 'running': (12,)}, segments='joined').info
  assert info['classes'] == ('walking', 'running')
  assert info['windows'].tolist() == [[144, 72]] * 2
  with pytest.raises(UserError, match='each number once'):
    build(small, activities={'walking': (10,), 'running': (10, 12)})
  with pytest.raises(DataError, match='rowing, 17: .*activities 09, 10, 12'):
    build(small, activities={'walking': (10,), 'rowing': (17,)})


def test_settings_and_folders(small: pathlib.Path) -> None:
  with pytest.raises(UserError, match='data.segments: .*separate'):
    build(small, segments='join')
  with pytest.raises(DataError, match='archive.ics.uci.edu/dataset/256'):
    build(small / 'store')
  with pytest.raises(UserError, match='data.fold: expected 0 to 1'):
    build(small, fold=2)
  path = write(small, 10, 2, made()['P02', 'walking'] / 9.80665)
  with pytest.raises(DataError, match=f'{path.name}: .*in m/s.2.*like g'):
    build(small)


@pytest.fixture(scope='module')
def published(
    data_dir: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> Source:
  """The real recordings."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv('DIFFAX_STORE', str(tmp_path_factory.mktemp('store')))
    return dsads.dsads(seed=0, batch_size=8, root=str(data_dir), fold=7)


def test_the_published_recordings(published: Source) -> None:
  info = published.info
  assert info['subjects'] == tuple(f'p{i}' for i in range(1, 9))
  assert info['classes'] == ('walking', 'running', 'jumping', 'cycling')
  # Five minutes at 50 Hz.
  assert (info['windows'][:, [0, 1, 3]] == (15000 - 160) // 40 + 1).all()
  assert info['windows'][:, 2].tolist() == [
      372, 372, 180, 372, 372, info['windows'][5, 2], 372, 0]
  assert 60 < info['windows'][5, 2] < 180
  assert info['lacking'] == (('p8', 'jumping'),)
  assert info['epoch_size'] == 7 * 4 * 2
  test = published.segments('test')
  raw = imu.restore(test['window'], info)
  sizes = np.linalg.norm(raw[..., :3], axis=-1)
  means = [sizes[test['label'] == k].mean() for k in (0, 1, 3)]
  assert means[0] == pytest.approx(12.96, abs=0.2)
  assert means[1] == pytest.approx(18.87, abs=0.3)


def test_pieces_follow_each_other_where_the_note_says(
    data_dir: pathlib.Path
) -> None:
  place = imu_recordings.data_folder(
      str(data_dir), 'dsads', 'a*/p*_RL.csv*', '')

  def p(activity: str, person: int) -> float:
    whole, pieces = dsads.recording(
        place / activity / f'p{person}_RL.csv.gz', 'x')
    assert len(pieces) == 60
    return dsads.join_test(whole.values, pieces)[1]

  for activity in ('a10', 'a12', 'a16'):
    assert min(p(activity, person) for person in (1, 4, 8)) > 0.005
  assert p('a05', 1) < dsads.CONTINUOUS
  assert p('a18', 3) < dsads.CONTINUOUS < p('a18', 1)
