"""What recordings must pass: units, faults, rates; and the store of arrays."""

import dataclasses
import gzip
import os
import pathlib

import numpy as np
import pytest

from diffax.data import imu_recordings
from diffax.data import imu_signals
from diffax.data.imu_recordings import Facts
from diffax.data.imu_recordings import Reading
from diffax.data.imu_recordings import Recording
from diffax.errors import DataError
from diffax.errors import UserError

FACTS = imu_signals.FACTS
G = 9.80665


@pytest.fixture(scope='module')
def walks() -> list[Recording]:
  """Two people, two activities, 8 s."""
  return list(imu_signals.generate(2, 8.0, classes=('walking', 'running')))


def scaled(
    found: list[Recording], acc: float = 1.0, gyr: float = 1.0
) -> list[Recording]:
  return [
      dataclasses.replace(r, values=r.values * np.repeat([acc, gyr], 3))
      for r in found
  ]


def rest(found: list[Recording]) -> list[Recording]:
  """Let everyone stand for two seconds first."""
  still = np.array([0.6, 0, 0.8, 0, 0, 0]) * G
  noise = np.random.default_rng(0).normal(0, 0.02, (100, 6))
  return [
      dataclasses.replace(r, values=np.concatenate([still + noise, r.values]))
      for r in found
  ]


def test_right_units_pass_unchanged(walks: list[Recording]) -> None:
  found = imu_recordings.prepare(walks, FACTS, ['read'])
  assert found.notes == ('read',)
  for before, after in zip(walks, found.recordings, strict=True):
    assert after.values.dtype == np.float32
    np.testing.assert_allclose(after.values, before.values, rtol=1e-6)
  for acc, gyr, a, w in (('g', 'rad/s', 1 / G, 1), ('m/s^2', 'deg/s', 1, 57.3),
                         ('g', 'deg/s', 1 / G, 57.3)):
    facts = dataclasses.replace(FACTS, acc=acc, gyr=gyr)
    imu_recordings.prepare(scaled(walks, a, w), facts)
    imu_recordings.prepare(scaled(rest(walks), a, w), facts)


@pytest.mark.parametrize('resting', [False, True])
@pytest.mark.parametrize('declared, size, message', [
    ('m/s^2', 1 / G, 'accelerometer in m/s.2: expected about 9.807.*like g;'),
    ('g', 1.0, 'accelerometer in g: expected about 1 .*like m/s.2; declare'),
    ('g', 1000 / G, 'look like mg; convert'),
    ('g', 16384 / G, 'look like raw counts'),
])
def test_wrong_units_of_acceleration(
    walks: list[Recording], declared: str, size: float, message: str,
    resting: bool
) -> None:
  found = rest(walks) if resting else walks
  facts = dataclasses.replace(FACTS, acc=declared)
  with pytest.raises(DataError, match=message) as error:
    imu_recordings.prepare(scaled(found, size), facts)
  assert ('at rest' in str(error.value)) == resting
  assert 'generated: P01/walking' in str(error.value)


def test_wrong_units_of_turning(walks: list[Recording]) -> None:
  with pytest.raises(DataError, match='gyroscope of P01 in rad/s.*like deg/s'):
    imu_recordings.prepare(scaled(walks, 1, 57.3), FACTS)
  facts = dataclasses.replace(FACTS, gyr='deg/s')
  with pytest.raises(DataError, match='gyroscope of P01 in deg/s.*like rad/s'):
    imu_recordings.prepare(walks, facts)
  # One who only rests turns slowly in any unit.
  still = [dataclasses.replace(r, values=r.values[:100].repeat(4, 0) * 0
                               + rest(walks)[0].values[:100].mean(0)
                               + np.random.default_rng(1).normal(
                                   0, 0.01, (400, 6)))
           for r in walks[:1]]
  imu_recordings.prepare(still, facts)


def test_gravity_that_is_not_there(walks: list[Recording]) -> None:
  free = [
      dataclasses.replace(r, values=r.values - r.values.mean(0)) for r in walks
  ]
  with pytest.raises(DataError, match='had been removed.*gravity=False'):
    imu_recordings.prepare(free, FACTS)
  facts = dataclasses.replace(FACTS, gravity=False)
  imu_recordings.prepare(free, facts)
  with pytest.raises(DataError, match='contain gravity; declare gravity=True'):
    imu_recordings.prepare(walks, facts)


def test_unknown_units_and_rates(walks: list[Recording]) -> None:
  for change, message in (
      ({'acc': 'G'}, 'acc_unit'), ({'gyr': 'rpm'}, 'gyr_unit'),
      ({'rate': 0.0}, 'data.rate'), ({'rate': float('nan')}, 'data.rate'),
  ):
    facts = dataclasses.replace(FACTS, **change)
    with pytest.raises(UserError, match=message):
      imu_recordings.prepare(walks, facts)


def test_numbers_that_are_none(walks: list[Recording]) -> None:
  values = walks[0].values.copy()
  values[7, 4] = np.nan
  with pytest.raises(DataError, match='generated: P01/walking, gyr_y, sample 7'
                     '.*found nan .1 of 400'):
    imu_recordings.prepare(
        [dataclasses.replace(walks[0], values=values)], FACTS)
  with pytest.raises(DataError, match=r'values \[T, 6\].*400, 5'):
    imu_recordings.prepare(
        [dataclasses.replace(walks[0], values=values[:, :5])], FACTS)
  with pytest.raises(DataError, match='at least one, found none'):
    imu_recordings.prepare([], FACTS)
  with pytest.raises(DataError, match='same numbers all the time'):
    imu_recordings.prepare(
        [dataclasses.replace(walks[0], values=np.ones((400, 6)))], FACTS)


def test_a_sensor_that_drops_out(walks: list[Recording]) -> None:
  values = walks[0].values.copy()
  values[100:130] = 0
  # Short of half a second, equal samples are chance.
  values[200:220] = values[200]
  found = imu_recordings.prepare(
      [dataclasses.replace(walks[0], values=values)], FACTS)
  names = [r.name for r in found.recordings]
  assert names == ['P01/walking@0', 'P01/walking@130']
  assert [len(r.values) for r in found.recordings] == [100, 270]
  np.testing.assert_allclose(
      found.recordings[1].values, values[130:], rtol=1e-6)
  assert found.notes == ('generated: left out 30 samples that are frozen',)


def test_copies_are_kept_once(walks: list[Recording]) -> None:
  # Another person's file is this one's, ten samples later.
  head = np.random.default_rng(2).normal(size=(10, 6))
  copy = Recording(
      'b', np.concatenate([head, walks[0].values[:-10]]), 'P09', 'walking', 'b')
  found = imu_recordings.prepare([*walks, copy], FACTS)
  assert [r.name for r in found.recordings][-1] == 'b@0'
  assert len(found.recordings[-1].values) == 10
  assert found.notes == (
      'b: left out 390 samples that are copies of generated',)
  # Within one recording too; the first is kept.
  twice = dataclasses.replace(
      walks[0], values=np.concatenate([walks[0].values, walks[0].values[40:90]])
  )
  found = imu_recordings.prepare([twice], FACTS)
  assert [len(r.values) for r in found.recordings] == [400]


def test_resampling_keeps_what_the_rate_can_hold() -> None:
  def wave(rate: float) -> np.ndarray:
    time = np.arange(round(8 * rate)) / rate
    return np.stack([
        G + np.sin(2 * np.pi * (f * time + f)) for f in (0.9, 1.8, 2.7)], 1)

  for rate in (10.0, 25.0, 100.0, 128.0):
    found = imu_recordings.resample(wave(rate), rate)
    assert found.shape == (400, 3) and found.dtype == np.float32
    # The filter knows nothing beyond the ends.
    error = np.abs(found - wave(50.0))
    assert error[50:-50].max() < 0.02, rate
    assert error.max() < 1.0, rate
  with pytest.raises(UserError, match='data.rate: .*found 70001'):
    imu_recordings.resample(wave(25.0), 70001.0)


def test_cuts() -> None:
  label = np.array([1, 1, 2, 2, 2, 1])
  assert imu_recordings.cut([label]) == [(0, 2), (2, 5), (5, 6)]
  time = np.array([0, 0.02, 0.04, 0.1, 0.17, 0.19])
  # Three samples are allowed, three and a half are not.
  assert imu_recordings.cut([np.zeros(6)], time) == [(0, 4), (4, 6)]
  assert imu_recordings.cut([label], time) == [(0, 2), (2, 4), (4, 5), (5, 6)]
  back = np.array([1, 1.02, 1.02, 0.5, 0.52, 0.54])
  assert imu_recordings.cut([np.zeros(6)], back) == [(0, 3), (3, 6)]
  assert imu_recordings.cut([np.zeros(0)]) == []


def test_tables(tmp_path: pathlib.Path) -> None:
  path = tmp_path / 'a.csv.gz'
  path.write_bytes(gzip.compress(b'b,a,c\n1,2,3\n4,5,6\n'))
  np.testing.assert_array_equal(
      imu_recordings.read_table(path, ['a', 'b']), [[2, 1], [5, 4]])
  # Quoted cells need the patient reader.
  path.write_bytes(gzip.compress(b'"b",a\n"1",2\n'))
  np.testing.assert_array_equal(
      imu_recordings.read_table(path, ['a', 'b']), [[2, 1]])
  for text, message in (
      (b'a,b\n1,nan\n', 'line 2, b: expected a finite'),
      (b'a,b\n1,x\n', "line 2, b: expected a number, found 'x'"),
      (b'a,b\n1\n', 'line 2: expected 2 cells'),
      (b'a,bb\n1,2\n', 'column b: .*Did you mean bb'),
      (b'a,b\n', 'found none'),
      (b'a,b,a\n1,2,3\n', 'a more than once'),
  ):
    path.write_bytes(gzip.compress(text))
    with pytest.raises(DataError, match=message) as error:
      imu_recordings.read_table(path, ['a', 'b'])
    assert 'a.csv.gz' in str(error.value)
  path.write_bytes(gzip.compress(b'a,b\n1,2\n')[:-4])
  with pytest.raises(DataError, match='whole gzip'):
    imu_recordings.read_table(path, ['a', 'b'])


def test_the_store(
    tmp_path: pathlib.Path, walks: list[Recording],
    monkeypatch: pytest.MonkeyPatch
) -> None:
  monkeypatch.setenv('DIFFAX_STORE', str(tmp_path / 'store'))
  path = tmp_path / 'a.csv'
  path.write_text('1')
  calls = []

  def read() -> Reading:
    calls.append(1)
    return imu_recordings.prepare(walks, FACTS, ['a note'])

  def get(**marks: int) -> Reading:
    return imu_recordings.cached('test', marks, [path], read)

  first, second = get(), get()
  assert len(calls) == 1 and second.notes == ('a note',)
  for one, other in zip(first.recordings, second.recordings, strict=True):
    np.testing.assert_array_equal(one.values, other.values)
    assert dataclasses.replace(one, values=0) == dataclasses.replace(
        other, values=0)
  get(length=3)
  assert len(calls) == 2
  # A changed file, a damaged store and one that cannot be written.
  path.write_text('12')
  get()
  assert len(calls) == 3
  places = sorted((tmp_path / 'store').glob('*'))
  assert len(places) == 3 and all(p.suffix == '.npz' for p in places)
  for place in places:
    data = bytearray(place.read_bytes())
    data[len(data) // 2] ^= 1
    place.write_bytes(bytes(data))
  np.testing.assert_array_equal(
      get().recordings[0].values, first.recordings[0].values)
  assert len(calls) == 4
  monkeypatch.setenv('DIFFAX_STORE', str(path))
  get()
  assert len(calls) == 5
  os.remove(path)
  with pytest.raises(DataError, match='a.csv: file: expected a readable'):
    get()


def test_no_folder(tmp_path: pathlib.Path) -> None:
  (tmp_path / 'x' / 'y').mkdir(parents=True)
  (tmp_path / 'x' / 'y' / 'a.csv').write_text('1')
  assert imu_recordings.data_folder(
      tmp_path / 'x', 'y', '*.csv', '') == tmp_path / 'x' / 'y'
  assert imu_recordings.data_folder(
      tmp_path / 'x' / 'y', 'y', '*.csv', '') == tmp_path / 'x' / 'y'
  with pytest.raises(DataError, match='Get it there. Set data.root or DIFFAX'):
    imu_recordings.data_folder(tmp_path, 'y', '*.csv', 'Get it there')


def test_facts_are_plain() -> None:
  facts = Facts('a', 50.0, 'g', 'rad/s')
  assert facts.gravity and facts.subjects == 'persons'
