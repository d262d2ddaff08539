"""Generated walking: what the formulas promise, and what they must share."""

from typing import Any

import numpy as np
import pytest

from diffax.data import gait_signals
from diffax.data.base import Source
from diffax.data.series import Track
from diffax.errors import UserError
from diffax.typing import Batch

ALL = ('angles', 'moments', 'grf')
WIDTHS = {'angles': 15, 'moments': 9, 'grf': 3}


@pytest.fixture(scope='module')
def source() -> Source:
  """All people and tasks; the first person is held out."""
  return gait_signals.gait_synthetic(seed=0, batch_size=4, modalities=ALL)


@pytest.fixture(scope='module')
def clean() -> list[Track]:
  """Three people, three tasks, no noise."""
  return list(gait_signals.generate(3, 3, noise=0.0))


def test_people_tasks_and_channels(source: Source) -> None:
  info = source.info
  assert info['modalities'] == WIDTHS
  assert len(info['subjects']) == 10 and len(info['classes']) == 27
  assert set(info['tasks'].values()) == {
      (speed, incline) for speed in (0.8, 1.0, 1.2)
      for incline in (-10, -7.5, -5, -2.5, 0, 2.5, 5, 7.5, 10)}
  assert info['held_out'] == ('S01',)
  # Eight strides hold seven windows of two.
  assert info['epoch_size'] == 9 * 27 * 7
  assert {name: source.segments('test')[name].shape for name in ALL} == {
      name: (27 * 7, 300, width) for name, width in WIDTHS.items()}


def test_is_a_function_of_its_seed(clean: list[Track]) -> None:
  for one, other in zip(
      clean, gait_signals.generate(3, 3, noise=0.0), strict=True
  ):
    for name in ALL:
      np.testing.assert_array_equal(one.values[name], other.values[name])
  other = next(gait_signals.generate(1, 1, noise=0.0, data_seed=1))
  assert np.abs(other.values['angles'] - clean[0].values['angles']).max() > 1


def test_a_subset_holds_the_same_trials() -> None:
  few = {track.name: track for track in gait_signals.generate(2, 2, 1)}
  many = {track.name: track for track in gait_signals.generate(3, 27, 1)}
  assert len(few) == 4 and len(many) == 81
  for name, track in few.items():
    np.testing.assert_array_equal(
        track.values['grf'], many[name].values['grf'])


def test_strides_repeat_but_not_exactly(clean: list[Track]) -> None:
  for track in clean:
    for name in ALL:
      strides = track.values[name].reshape(8, 150, -1)
      spread = (strides - strides.mean(0)).var((0, 1))
      share = spread / strides.var((0, 1))
      # Off by half a stride, most of the variance would remain.
      assert np.median(share) < 0.4, (track.name, name)
      assert share.min() > 1e-3, (track.name, name)
      opposed = np.roll(strides, 75, axis=1)[::2]
      apart = ((strides[1::2] - opposed) ** 2).mean((0, 1))
      near = ((strides[1::2] - strides[::2]) ** 2).mean((0, 1))
      assert np.median(apart / near) > 3, (track.name, name)


def test_curves_are_smooth(clean: list[Track]) -> None:
  for track in clean:
    for name, above in (('angles', 10), ('moments', 40), ('grf', 40)):
      values = track.values[name] - track.values[name].mean(0)
      # A taper, for the series does not end as it begins.
      power = np.abs(
          np.fft.rfft(values * np.hanning(len(values))[:, None], axis=0)) ** 2
      high = power[8 * above:].sum(0) / power.sum(0)
      assert high.max() < 1e-3, (track.name, name, high)


def test_the_foot_lands_bears_and_swings(clean: list[Track]) -> None:
  level = [track for track in clean if track.label == 's1i0']
  assert len(level) == 3
  for track in level:
    along, _, up = track.values['grf'].reshape(8, 150, 3).mean(0).T
    assert up.min() > -1e-9
    assert up[15:80].min() > 5 and up[110:140].max() < 0.5
    # Brakes, then drives; two humps and a dip between.
    assert along[20] < -0.5 and along[75] > 0.5
    assert up[48] < up[25:35].mean() and up[48] < up[60:72].mean()


def test_moments_of_a_swinging_leg_are_inertia_and_damping() -> None:
  person = gait_signals._person(
      gait_signals._crowd(np.random.default_rng(0)), np.random.default_rng(1))
  time, duration = np.arange(450) / 150, 1.2
  turn = 2 * np.pi * time
  moments = gait_signals._moments(
      person, np.rad2deg(0.3 * np.sin(turn))[:, None] * np.ones(15),
      np.zeros((450, 3)), duration)
  rate = 2 * np.pi / duration
  expected = (
      person.inertia * (0.3 * rate**2 * np.sin(turn))[:, None]
      - person.damping * np.tanh(0.3 * rate * np.cos(turn) / 2)[:, None])
  np.testing.assert_allclose(moments[3:-3], expected[3:-3], atol=1e-3)
  assert np.abs(expected).max() > 0.05


def _strides(batch: Batch, name: str) -> np.ndarray:
  first, second = np.split(batch[name], 2, axis=1)
  return ((first + second) / 2)[:, ::5].reshape(len(first), -1)


@pytest.mark.parametrize('name', ALL)
def test_a_task_is_known_by_each_modality(source: Source, name: str) -> None:
  train, test = source.segments('train'), source.segments('test')
  known, asked = _strides(train, name), _strides(test, name)
  centres = np.stack(
      [known[train['label'] == task].mean(0) for task in range(27)])
  found = ((asked[:, None] - centres) ** 2).sum(-1).argmin(1)
  assert (found == test['label']).mean() > 4 / 27


@pytest.mark.parametrize('name', ALL)
def test_a_person_is_known_at_other_tasks(source: Source, name: str) -> None:
  train = source.segments('train')
  strides, people = _strides(train, name), np.unique(train['subject'])
  even = train['label'] % 2 == 0
  # What the task does to everyone is no mark of a person.
  for task in range(27):
    strides[train['label'] == task] -= strides[train['label'] == task].mean(0)
  centres = np.stack(
      [strides[even & (train['subject'] == who)].mean(0) for who in people])
  found = ((strides[~even][:, None] - centres) ** 2).sum(-1).argmin(1)
  assert (people[found] == train['subject'][~even]).mean() > 2 / 9


def _flat(batch: Batch, name: str) -> np.ndarray:
  return batch[name][:, ::10].reshape(len(batch[name]), -1).astype(np.float64)


@pytest.mark.parametrize('given', ALL)
@pytest.mark.parametrize('target', ALL)
def test_a_window_says_more_of_itself_than_its_task_does(
    source: Source, given: str, target: str
) -> None:
  if given == target:
    return
  train, test = source.segments('train'), source.segments('test')
  x, y, truth = _flat(train, given), _flat(train, target), _flat(test, target)
  weights = np.linalg.solve(x.T @ x + 300 * np.eye(x.shape[1]), x.T @ y)
  guess = _flat(test, given) @ weights
  # Two windows on, most likely of the same trial, with no stride in common.
  moved = np.roll(guess, 2, axis=0)
  same = np.roll(test['track'], 2) == test['track']
  task = np.stack([y[train['label'] == i].mean(0) for i in range(27)])
  error = ((guess - truth) ** 2).mean()
  assert error < ((task[test['label']] - truth) ** 2).mean()
  assert error < 0.8 * ((moved - truth)[same] ** 2).mean()
  # Nor is one modality a copy of another.
  assert error > 0.01


@pytest.mark.parametrize('option', [
    {'subjects': 0}, {'profiles': 28}, {'profiles': 0},
    {'strides_per_trial': 0}, {'noise': -1.0}, {'fold': 2, 'subjects': 2},
    {'modalities': ('forces',)},
])
def test_wrong_settings(option: dict[str, Any]) -> None:
  settings: dict[str, Any] = {'seed': 0, 'batch_size': 4, 'profiles': 1}
  with pytest.raises(UserError, match=f'data.{next(iter(option))}'):
    gait_signals.gait_synthetic(**settings | option)


def test_noise_is_white_and_of_the_size_asked() -> None:
  (clean,), (noisy,) = (
      list(gait_signals.generate(1, 1, noise=noise)) for noise in (0.0, 0.1))
  rest = noisy.values['angles'] - clean.values['angles']
  share = rest.std(0) / clean.values['angles'].std(0)
  np.testing.assert_allclose(share, 0.1, rtol=0.15)
  assert np.abs(np.mean(rest[1:] * rest[:-1]) / rest.var()) < 0.05
