"""A user's own folder: columns, clocks, names, and what can be wrong."""

from collections.abc import Sequence
import gzip
import pathlib
from typing import Any

import numpy as np
import pytest

from diffax.data import imu
from diffax.data import imu_csv
from diffax.data import imu_recordings
from diffax.data import imu_signals
from diffax.data.base import Source
from diffax.errors import DataError
from diffax.errors import UserError

NAMES = ('ax', 'ay', 'az', 'gx', 'gy', 'gz')
G, DEGREES = 9.80665, 180 / np.pi


@pytest.fixture(autouse=True)
def own_store(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
  monkeypatch.setenv('DIFFAX_STORE', str(tmp_path / 'store'))


@pytest.fixture(scope='module')
def made() -> list[imu_recordings.Recording]:
  """Two people, two activities, 8 s, in g and deg/s."""
  scale = np.repeat([1 / G, DEGREES], 3)
  return [
      imu_recordings.Recording(
          r.name, np.round(r.values * scale, 4), r.subject, r.label, r.file)
      for r in imu_signals.generate(2, 8.0, classes=('walking', 'running'))
  ]


def write(
    path: pathlib.Path, rows: Sequence[Sequence[Any]],
    names: Sequence[str] = NAMES
) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  text = '\n'.join(','.join(str(v) for v in row) for row in [names, *rows])
  if path.suffix == '.gz':
    path.write_bytes(gzip.compress(text.encode()))
  else:
    path.write_text(text)


@pytest.fixture
def folder(
    tmp_path: pathlib.Path, made: list[imu_recordings.Recording]
) -> pathlib.Path:
  """One table a recording, P01/walking_1.csv and so on."""
  for r in made:
    write(tmp_path / 'own' / r.subject / f'{r.label}_1.csv', r.values)
  return tmp_path / 'own'


def build(place: pathlib.Path, **options: Any) -> Source:
  settings: dict[str, Any] = {
      'seed': 0, 'batch_size': 4, 'root': str(place), 'columns': NAMES,
      'acc_unit': 'g', 'gyr_unit': 'deg/s', 'rate': 50.0,
      'pattern': r'(?P<subject>\w+)/(?P<label>[a-z]+)_',
  }
  return imu_csv.imu_csv(**settings | options)


def test_names_tell_person_and_activity(
    folder: pathlib.Path, made: list[imu_recordings.Recording]
) -> None:
  source = build(folder)
  info = source.info
  assert info['subjects'] == ('P01', 'P02')
  assert info['classes'] == ('running', 'walking')
  assert info['units'] == {'acc': 'g', 'gyr': 'deg/s'}
  assert info['recordings'][0] == 'P01/running_1.csv'
  test = source.segments('test')
  raw = imu.restore(test['window'], info)
  np.testing.assert_allclose(raw[0], made[1].values[:160], atol=1e-3)
  info = build(folder, classes=('walking', 'running')).info
  assert info['classes'] == ('walking', 'running')
  info = build(folder, labels={'walking': 'gait', 'running': 'run'}).info
  assert info['classes'] == ('gait', 'run')


def test_columns_tell_person_and_activity(
    tmp_path: pathlib.Path, made: list[imu_recordings.Recording]
) -> None:
  rows: list[list[Any]] = []
  for r in made:
    rows += [[*v, r.label, i / 50 + 100 * len(rows), r.subject]
             for i, v in enumerate(r.values)]
  names = [*NAMES, 'what', 'time_s', 'who']
  write(tmp_path / 'own' / 'all.csv.gz', rows, names)
  options: dict[str, Any] = {
      'pattern': None, 'subject': 'who', 'label': 'what', 'time': 'time_s'}
  info = build(tmp_path / 'own', **options, rate=None).info
  assert info['recordings'] == tuple(
      f'all.csv.gz@{400 * i}' for i in range(4))
  assert (info['windows'] == 7).all()
  with pytest.raises(DataError, match='column whom: .*Did you mean who'):
    build(tmp_path / 'own', **options | {'subject': 'whom'})


def test_clocks(
    tmp_path: pathlib.Path, made: list[imu_recordings.Recording]
) -> None:
  place = tmp_path / 'own'
  for r in made:
    clock = np.arange(400) * 20.0
    # The clock of one jumps by a second after 200 samples.
    if r.name == 'P01/walking':
      clock[200:] += 1000
    write(place / r.subject / f'{r.label}_1.csv',
          np.column_stack([clock, r.values]), ('t', *NAMES))
  options: dict[str, Any] = {'time': 't', 'time_unit': 'ms', 'rate': None}
  info = build(place, **options).info
  assert info['recordings'][1:3] == (
      'P01/walking_1.csv@0', 'P01/walking_1.csv@200')
  assert info['windows'].tolist() == [[7, 4], [7, 7]]
  info = build(place, **options, max_gap=60.0).info
  assert info['windows'].tolist() == [[7, 7], [7, 7]]
  with pytest.raises(DataError, match='t, rate: expected 25 Hz, found 50 Hz'):
    build(place, time='t', time_unit='ms', rate=25.0)
  with pytest.raises(DataError, match='found 0.05. Set data.rate or'):
    build(place, time='t', rate=None)
  with pytest.raises(UserError, match='data.time_unit'):
    build(place, time='t', time_unit='h')


def test_another_rate(
    tmp_path: pathlib.Path, made: list[imu_recordings.Recording]
) -> None:
  for r in made:
    twice = imu_recordings.resample(r.values, 50.0, 100.0)
    write(tmp_path / 'own' / r.subject / f'{r.label}_1.csv', twice)
  source = build(tmp_path / 'own', rate=100.0)
  raw = imu.restore(source.segments('test')['window'], source.info)
  spread = made[1].values.std(0)
  error = np.abs(raw[1] - made[1].values[40:200]) / spread
  # Twice through a filter that cuts a little below 25 Hz.
  assert np.median(error) < 0.05


def test_units_are_declared_and_checked(folder: pathlib.Path) -> None:
  with pytest.raises(DataError, match='running_1.csv.*look like g; declare'):
    build(folder, acc_unit='m/s^2')
  with pytest.raises(DataError, match='running_1.csv.*look like deg/s'):
    build(folder, gyr_unit='rad/s')
  with pytest.raises(DataError, match='contain gravity'):
    build(folder, gravity=False)


@pytest.mark.parametrize('option, message', [
    ({'columns': NAMES[:5]}, 'data.columns: expected six'),
    ({'rate': None}, 'data.rate, data.time'),
    ({'rate': -1.0}, 'data.rate'),
    ({'pattern': '('}, 'data.pattern: .*regular expression'),
    ({'pattern': r'(?P<who>\w+)'}, 'data.pattern: expected groups'),
    ({'pattern': r'(?P<subject>\w+)'}, 'data.label: expected a column, or'),
    ({'label': 'what'}, 'data.label: .*not both'),
    ({'pattern': r'(?P<subject>\d{9})/(?P<label>x)'}, 'running_1.csv: name: '),
    ({'columns': ('axx', *NAMES[1:])}, 'running_1.csv: .*axx.*mean ax[?]'),
    ({'glob': '*.txt'}, r'files like \*.txt, found none'),
    ({'root': None}, 'data.root'),
    ({'classes': ('walking', 'rowing')}, "running, walking, found 'rowing'"),
    ({'fold': 2}, 'data.fold: expected 0 to 1'),
])
def test_wrong_settings(
    folder: pathlib.Path, option: dict[str, Any], message: str
) -> None:
  with pytest.raises(UserError, match=message):
    build(folder, **option)


def test_a_changed_file_is_read_anew(
    folder: pathlib.Path, made: list[imu_recordings.Recording]
) -> None:
  def windows() -> np.ndarray:
    return build(folder).segments('test')['window']

  before = windows()
  np.testing.assert_array_equal(before, windows())
  write(folder / 'P01' / 'walking_1.csv', made[0].values[::-1])
  assert not np.array_equal(before, windows())


def test_nan(
    folder: pathlib.Path, made: list[imu_recordings.Recording]
) -> None:
  rows = made[2].values.astype(object)
  rows[5, 1] = 'nan'
  write(folder / 'P02' / 'walking_1.csv', rows)
  with pytest.raises(DataError, match='walking_1.csv: line 7, ay: .* finite'):
    build(folder)


def _words(path: pathlib.Path) -> list[imu_recordings.Recording]:
  return imu_csv.recordings(
      path, path.name, NAMES, {'subject': 'who', 'label': 'what'}, None, {},
      None, 1.0, 50.0, 3.0)


def _labelled(path: pathlib.Path, encoding: str = 'utf-8') -> None:
  rows = [','.join([*(f'{i + k}.5' for k in range(6)), 'J\xf6rg', 'walk'])
          for i in range(4)]
  path.write_bytes('\n'.join([','.join([*NAMES, 'who', 'what']), *rows])
                   .encode(encoding))


def test_a_row_that_ends_before_its_label_is_refused(
    tmp_path: pathlib.Path
) -> None:
  path = tmp_path / 'a.csv'
  _labelled(path)
  assert _words(path)[0].subject == 'J\xf6rg'
  lines = path.read_text().splitlines()
  lines[2] = lines[2].rpartition(',')[0]
  path.write_text('\n'.join(lines))
  with pytest.raises(DataError, match='line 3: expected 8 cells'):
    _words(path)


def test_labels_in_another_encoding_are_read(tmp_path: pathlib.Path) -> None:
  path = tmp_path / 'a.csv'
  _labelled(path, 'latin-1')
  found = _words(path)
  assert [len(r.values) for r in found] == [4]
  assert found[0].label == 'walk' and found[0].subject.startswith('J')


def test_gzip_is_known_by_its_bytes(tmp_path: pathlib.Path) -> None:
  path = tmp_path / 'a.csv'
  _labelled(path)
  path.write_bytes(gzip.compress(path.read_bytes()))
  assert _words(path)[0].label == 'walk'


def test_a_row_behind_a_hash_is_refused(tmp_path: pathlib.Path) -> None:
  path = tmp_path / 'a.csv'
  _labelled(path)
  lines = path.read_text().splitlines()
  lines[3] = '#' + lines[3]
  path.write_text('\n'.join(lines))
  with pytest.raises(DataError, match='rows'):
    _words(path)
