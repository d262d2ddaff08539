"""Generated recordings: the physics that they promise."""

from typing import Any

import numpy as np
import pytest

from diffax.data import SOURCES
from diffax.data import imu
from diffax.data import imu_recordings
from diffax.data import imu_signals
from diffax.errors import UserError

G = imu_signals.GRAVITY


@pytest.fixture(scope='module')
def clean() -> list[imu_recordings.Recording]:
  """Three people without noise, 24 s of everything."""
  return list(imu_signals.generate(3, 24.0, noise=0.0))


def sizes(recording: imu_recordings.Recording) -> tuple[np.ndarray, np.ndarray]:
  values = recording.values
  return (np.linalg.norm(values[:, :3], axis=1),
          np.linalg.norm(values[:, 3:], axis=1))


def tempo(values: np.ndarray) -> float:
  """Return the strongest frequency, Hz."""
  power = np.abs(np.fft.rfft(values - values.mean(), 8 * len(values))) ** 2
  return float(power.argmax() / (8 * len(values)) * 50)


def unit(vector: np.ndarray) -> np.ndarray:
  return vector / np.linalg.norm(vector)


def test_twelve_people_four_activities() -> None:
  info = SOURCES['imu_synthetic'](seed=0, batch_size=8, seconds=12.0).info
  assert info['subjects'] == tuple(f'P{i:02d}' for i in range(1, 13))
  assert info['classes'] == ('walking', 'running', 'jumping', 'cycling')
  assert info['epoch_size'] == 88
  assert info['units'] == {'acc': 'm/s^2', 'gyr': 'rad/s'}
  assert (info['windows'] == (600 - 160) // 40 + 1).all()


def test_is_a_function_of_its_seed(
    clean: list[imu_recordings.Recording]
) -> None:
  again = list(imu_signals.generate(2, 24.0, noise=0.0))
  by_name = {r.name: r.values for r in clean}
  assert len(again) == 8
  for r in again:
    np.testing.assert_array_equal(r.values, by_name[r.name])
  one = list(imu_signals.generate(1, 24.0, noise=0.0, classes=('cycling',)))
  np.testing.assert_array_equal(one[0].values, by_name['P01/cycling'])
  other = next(imu_signals.generate(1, 24.0, noise=0.0, data_seed=1))
  assert np.abs(other.values - by_name['P01/walking']).max() > 1


def test_gravity_is_in_the_accelerometer(
    clean: list[imu_recordings.Recording]
) -> None:
  for r in clean:
    mean = np.linalg.norm(r.values[:, :3].mean(0))
    assert 0.9 < mean / G < 1.4, (r.name, mean)
  facts = imu_signals.FACTS
  imu_recordings.prepare(clean, facts)


def test_one_who_stands_measures_gravity_along_the_leg() -> None:
  person = imu_signals._person(np.random.default_rng(3))
  still = imu_signals.Activity(1.0, 0.0, (0, 0, 0), 0.0, (0.0, 0.0), 0.0)
  values = imu_signals._measure(np.random.default_rng(0), person, still, 100)
  up = person.mounting.apply([0, 0, G])
  np.testing.assert_allclose(values, np.tile([*up, 0, 0, 0], (100, 1)),
                             atol=1e-8)
  # A thigh that is raised level has gravity across it.
  level = imu_signals.Activity(1.0, np.pi / 2, (0, 0, 0), 0.0, (0, 0), 0.0)
  values = imu_signals._measure(np.random.default_rng(0), person, level, 100)
  across = person.mounting.inv().apply(values[0, :3])
  np.testing.assert_allclose(np.abs(across), [G, 0, 0], atol=1e-8)


def test_a_turning_thigh_obeys_rigid_body_kinematics() -> None:
  # The sensor at p turns about y: f_z = -w^2 p_z ..., exactly known.
  person = imu_signals._person(np.random.default_rng(4))
  person.offsets[:] = 0
  swing = imu_signals.Activity(0.5, 0.2, (0.5, 0, 0), 0.0, (0.0, 0.0), 0.0)
  values = imu_signals._measure(np.random.default_rng(0), person, swing, 200)
  back = person.mounting.inv()
  force, turning = back.apply(values[:, :3]), back.apply(values[:, 3:])
  np.testing.assert_allclose(turning[:, [0, 2]], 0, atol=1e-8)
  rate = turning[:, 1]
  angle = -0.2 + np.cumsum(rate) / 50
  # The angle is known up to where the phase began; gravity tells it.
  change = np.gradient(rate, 1 / 50)
  x, _, z = person.below
  # In the frame of the thigh: a = w' x p + w x (w x p), with w along y.
  own = np.stack([change * z - rate**2 * x, -change * x - rate**2 * z], 1)
  rest = force[:, [0, 2]] - own
  np.testing.assert_allclose(
      np.linalg.norm(rest, axis=1)[3:-3], G, rtol=2e-3)
  found = np.arctan2(-rest[:, 0], rest[:, 1])
  np.testing.assert_allclose(
      np.diff(found)[3:-3], np.diff(angle)[3:-3], atol=2e-3)


def test_jumps_fly(clean: list[imu_recordings.Recording]) -> None:
  for r in clean:
    force, _ = sizes(r)
    light = (force < 0.35 * G).mean()
    if r.label == 'jumping':
      assert 0.12 < light < 0.5, (r.name, light)
    if r.label in ('walking', 'cycling'):
      assert light < 0.02, (r.name, light)
  # The mean of the hip over whole cycles is none.
  person = imu_signals._person(np.random.default_rng(0))
  hip = imu_signals._hip(person, imu_signals.ACTIVITIES['jumping'],
                         np.arange(4000) / 1000)
  assert np.abs(hip.mean(0)).max() < 0.02
  assert (hip[:, 2] == -G).mean() == pytest.approx(0.35, abs=0.01)


def test_activities_differ_as_they_should(
    clean: list[imu_recordings.Recording]
) -> None:
  by_name = {r.name: r for r in clean}
  for subject in ('P01', 'P02', 'P03'):
    walk, run, cycle = (
        by_name[f'{subject}/{name}']
        for name in ('walking', 'running', 'cycling'))
    assert sizes(run)[0].std() > 2 * sizes(walk)[0].std()
    assert sizes(run)[1].mean() > 1.4 * sizes(walk)[1].mean()
    assert tempo(run.values[:, 4]) > 1.3 * tempo(walk.values[:, 4])
    # A cyclist's thigh is raised by most of a radian; the mounting stays.
    lean = [unit(r.values[:, :3].mean(0)) for r in (walk, cycle)]
    assert 0.7 < np.arccos(lean[0] @ lean[1]) < 1.3


def test_people_differ(clean: list[imu_recordings.Recording]) -> None:
  walks = [r for r in clean if r.label == 'walking']
  tempi = {round(tempo(r.values[:, 4]), 3) for r in walks}
  assert len(tempi) == 3
  means = np.stack([r.values[:, :3].mean(0) for r in walks])
  for i in range(3):
    # The mounting turns gravity by degrees.
    assert unit(means[i]) @ unit(means[i - 1]) < np.cos(0.05)


def test_noise() -> None:
  quiet, loud = (
      next(imu_signals.generate(1, 24.0, noise=noise)).values
      for noise in (0.0, 0.3))
  np.testing.assert_allclose(
      (loud - quiet).std(0), [0.3] * 3 + [0.1] * 3, rtol=0.1)


@pytest.mark.parametrize('option', [
    {'people': 1}, {'seconds': 0.0}, {'noise': -1.0}, {'classes': ('rowing',)},
    {'fold': 2},
])
def test_wrong_settings(option: dict[str, Any]) -> None:
  with pytest.raises(UserError, match=next(iter(option))):
    imu_signals.imu_synthetic(
        **{'seed': 0, 'batch_size': 4, 'people': 2, 'seconds': 9.0} | option)


def test_the_table_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
  source = imu_signals.imu_synthetic(
      seed=0, batch_size=4, people=2, seconds=9.0, fold=1)
  imu.print_table(source.info)
  shown = capsys.readouterr().out
  assert 'imu_synthetic' in shown and '9.0 (8)' in shown
