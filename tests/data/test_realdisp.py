"""REALDISP: files of the published layout, made here, and how they break."""

from collections.abc import Callable
import functools
import pathlib
from typing import Any

import numpy as np
import pytest

from diffax.data import imu
from diffax.data import imu_recordings
from diffax.data import imu_signals
from diffax.data import realdisp
from diffax.data.base import Source
from diffax.errors import DataError
from diffax.errors import UserError

# Mean durations in the paper, seconds.
DURATIONS = {'walking': 72.55, 'running': 52.59, 'jump_up': 11.12,
             'cycling': 69.57}
MADE = {'jump_up': 'jumping'}
PEOPLE = (2, 10)


@pytest.fixture(autouse=True)
def own_store(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
  monkeypatch.setenv('DIFFAX_STORE', str(tmp_path / 'store'))


@functools.cache
def generated() -> list[imu_recordings.Recording]:
  return list(imu_signals.generate(2, 73.0))


def activities(share: float = 1.0) -> dict[str, dict[str, np.ndarray]]:
  """Values by class for each of two people."""
  found: dict[str, dict[str, np.ndarray]] = {}
  for r in generated():
    person = found.setdefault(r.subject, {})
    for label, seconds in DURATIONS.items():
      if MADE.get(label, label) == r.label:
        person[label] = r.values[:int(share * seconds * 50)]
  return found


def lines(
    values: dict[str, np.ndarray], place: int = 80, label: int | None = None
) -> list[str]:
  """Write an hour's plan: nothing, an activity, nothing, the next."""
  rows, clock = [], 0
  for name, samples in values.items():
    number = realdisp.LABELS[name] if label is None else label
    idle = np.broadcast_to([0, 0, 9.8, 0, 0, 0], (3, 6))
    for code, block in ((0, idle), (number, samples)):
      for row in block:
        cells = ['0'] * 120
        cells[0], cells[1] = str(clock // 50), str(clock % 50 * 20000)
        cells[place:place + 6] = [f'{v:.5f}' for v in row]
        cells[119] = str(code)
        rows.append('\t'.join(cells))
        clock += 1
  return rows


def write(root: pathlib.Path, number: int, rows: list[str]) -> pathlib.Path:
  folder = root / 'realdisp'
  folder.mkdir(exist_ok=True)
  path = folder / f'subject{number}_ideal.log'
  path.write_text('\n'.join(rows) + '\n')
  return path


@pytest.fixture(scope='module')
def published(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
  """Two people with activities of the durations in the paper."""
  root = tmp_path_factory.mktemp('realdisp')
  for number, values in zip(PEOPLE, activities().values()):
    write(root, number, lines(values))
  return root


def build(root: pathlib.Path, **options: Any) -> Source:
  settings: dict[str, Any] = {
      'seed': 0, 'batch_size': 4, 'root': str(root), 'subjects': PEOPLE}
  return realdisp.realdisp(**settings | options)


@pytest.fixture
def small(tmp_path: pathlib.Path) -> pathlib.Path:
  """Two people with a fifth of that."""
  for number, values in zip(PEOPLE, activities(0.3).values()):
    write(tmp_path, number, lines(values))
  return tmp_path


def test_columns_of_the_right_thigh() -> None:
  assert realdisp.columns('RT') == (80, 81, 82, 83, 84, 85)
  assert realdisp.columns('LC') == (106, 107, 108, 109, 110, 111)
  assert realdisp.PEOPLE == (1, 2, 3, 5, 8, 9, 10, 11, 12, 13, 14, 16)
  assert tuple(realdisp.LABELS.values()) == (1, 3, 4, 33)


def test_windows_of_the_published_durations(published: pathlib.Path) -> None:
  source = build(published, fold=1)
  info = source.info
  # 87 + 62 + 10 + 83 = 242 windows a person; times 11, the 2600 to 2700 of the
  # paper.
  assert info['windows'].tolist() == [[87, 62, 10, 83]] * 2
  assert 2600 < 11 * info['windows'][0].sum() < 2700
  assert info['subjects'] == ('2', '10') and info['test_subject'] == '10'
  assert info['epoch_size'] == 2 * 4
  assert info['units'] == {'acc': 'm/s^2', 'gyr': 'rad/s'}
  np.testing.assert_allclose(
      info['seconds'], [list(DURATIONS.values())] * 2, atol=0.02)
  values = activities()['P02']
  test = source.segments('test')
  raw = imu.restore(test['window'], info)
  for i in (0, 100, 155, 241):
    name = info['classes'][test['label'][i]]
    start = test['start'][i]
    np.testing.assert_allclose(
        raw[i], values[name][start:start + 160], atol=1e-4)


def test_gaps_cut(small: pathlib.Path) -> None:
  values = activities(0.3)['P01']
  rows = lines(values)
  # Sample 100 of running: three idle lines stand before each activity.
  at = 3 + len(values['walking']) + 3 + 100
  write(small, 2, rows[:at] + rows[at + 2:])
  whole = build(small).info
  # A step of three samples is forgiven, one of six is not.
  assert not any('cut at' in note for note in whole['notes'])
  write(small, 2, rows[:at] + rows[at + 5:])
  cut = build(small).info
  assert len(cut['recordings']) == len(whole['recordings']) + 1
  assert any('subject2_ideal.log: cut at 1 gaps' in n for n in cut['notes'])
  rest = len(values['running']) - 105
  assert cut['seconds'][0, 1] == pytest.approx((100 + rest) / 50)
  # The first 100 samples hold no window.
  assert cut['windows'][0, 1] == (rest - 160) // 40 + 1


def test_another_sensor_and_placement(small: pathlib.Path) -> None:
  folder = small / 'realdisp'
  for number, values in zip(PEOPLE, activities(0.3).values()):
    path = write(small, number, lines(values, realdisp.columns('LC')[0]))
    path.rename(folder / f'subject{number}_self.log')
  info = build(small, sensor='LC', placement='self').info
  assert info['recordings'][0].startswith('subject2_self/walking@3')
  with pytest.raises(DataError, match='same numbers|gravity'):
    build(small, sensor='LT', placement='self')


def test_a_person_without_a_class(small: pathlib.Path) -> None:
  values = activities(0.3)['P01']
  values.pop('cycling')
  write(small, 2, lines(values))
  labels = {'walking': 1, 'running': 3, 'cycling': 33}
  assert build(small, labels=labels).info['lacking'] == (('2', 'cycling'),)
  with pytest.raises(DataError, match='class cycling: .*10, who is held out'):
    build(small, labels=labels, fold=1)


def test_clocks(small: pathlib.Path) -> None:
  rows = lines(activities(0.3)['P01'])
  zero = ['\t'.join(['0', '0', *row.split('\t')[2:]]) for row in rows]
  write(small, 2, zero)
  with pytest.raises(DataError, match='subject2_ideal.log: .*only zeros.*'
                     "data.times to 'ignore'"):
    build(small)
  assert build(small, times='ignore').info['subjects'] == ('2', '10')
  write(small, 2, rows[::2])
  with pytest.raises(DataError, match='steps of 0.02 s, found steps of 0.04'):
    build(small)


@pytest.mark.parametrize('change, message', [
    (lambda rows: [*rows[:5], rows[5][:-2], *rows[6:]],
     'line 6: expected 120 numbers, found 119'),
    (lambda rows: [*rows[:5], with_cell(rows[5], 81, 'x'), *rows[6:]],
     "line 6: expected numbers.*'x'"),
    (lambda rows: [*rows[:20], with_cell(rows[20], 84, 'nan'), *rows[21:]],
     'walking@3, gyr_y, sample 17: .*found nan'),
    (lambda rows: [with_cell(row, 119, '7') for row in rows],
     r'activity: expected some of \[1, 3, 4, 33\], found \[7\]'),
])
def test_broken_files(
    small: pathlib.Path, change: Callable[[list[str]], list[str]], message: str
) -> None:
  write(small, 2, change(lines(activities(0.3)['P01'])))
  with pytest.raises(DataError, match=message) as error:
    build(small)
  assert 'subject2_ideal.log' in str(error.value)


def test_an_empty_file(small: pathlib.Path) -> None:
  (small / 'realdisp' / 'subject2_ideal.log').write_text('')
  with pytest.raises(DataError, match='subject2_ideal.log: .*an empty file'):
    build(small)


def with_cell(row: str, place: int, value: str) -> str:
  cells = row.split('\t')
  return '\t'.join([*cells[:place], value, *cells[place + 1:]])


def test_units_are_checked(small: pathlib.Path) -> None:
  with pytest.raises(DataError, match='subject2.*in g: .*look like m/s.2'):
    build(small, acc_unit='g')
  with pytest.raises(DataError, match='gyroscope of 2 in deg/s.*like rad/s'):
    build(small, gyr_unit='deg/s')


def test_missing_files(small: pathlib.Path, tmp_path: pathlib.Path) -> None:
  with pytest.raises(DataError, match='archive.ics.uci.edu/dataset/305'):
    build(tmp_path / 'nothing')
  with pytest.raises(DataError, match='subject3_ideal.log: file: .*No such'):
    build(small, subjects=(2, 3))
  for option in ({'sensor': 'thigh'}, {'times': 'no'}, {'acc_unit': 'G'},
                 {'gyr_unit': 'x'}, {'fold': 2}):
    with pytest.raises(UserError, match=next(iter(option))):
      build(small, **option)
