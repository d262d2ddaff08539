"""Baselines against brute force."""

import jax
import numpy as np
import pytest

from diffax.data.base import Source
from diffax.errors import UserError
from diffax.systems import baselines

KEY = jax.random.key(0)


@pytest.fixture(scope='module')
def source():
  rng = np.random.default_rng(0)
  windows = {
      'past': rng.normal(5.0, 1.0, (12, 3, 4, 3)).astype(np.float32),
      'future': rng.normal(size=(12, 6, 4, 3)).astype(np.float32),
  }
  splits = {'train': windows}
  return Source({'future': 6}, None, splits.__getitem__)


def test_zero_velocity_repeats_the_last_pose(source):
  past = source.segments('train')['past'][:2]
  method = baselines.BASELINES['zero_velocity'](source, 50)
  found = method({'past': past}, KEY)
  assert found.shape == (2, 1, 6, 4, 3) and method.samples == 1
  expected = np.broadcast_to(past[:, -1][:, None, None], found.shape)
  np.testing.assert_array_equal(found, expected)


def test_a_training_window_finds_itself(source):
  windows = source.segments('train')
  method = baselines.BASELINES['nearest_neighbour'](source, 50)
  found = method({'past': windows['past']}, KEY)
  np.testing.assert_allclose(found[:, 0], windows['future'], atol=1e-5)


def test_without_turns_neighbours_come_in_order_of_distance(source):
  windows = source.segments('train')
  past = np.random.default_rng(1).normal(5.0, 1.0, (4, 3, 4, 3))
  method = baselines.NearestNeighbour(
      windows['past'], windows['future'], 5, turn=False
  )
  found = method({'past': past.astype(np.float32)}, KEY)
  gap = ((past[:, None] - windows['past'][None]) ** 2).sum((2, 3, 4))
  nearest = np.argsort(gap, axis=1)[:, :5]
  np.testing.assert_array_equal(found, windows['future'][nearest])


def turned(motion, angle):
  cos, sin = np.cos(angle), np.sin(angle)
  return motion @ np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])


def test_a_turned_past_has_the_turned_future(source):
  windows = source.segments('train')
  for angle in (0.5, np.pi, -2.0):
    past = turned(windows['past'], angle)
    method = baselines.BASELINES['turned_neighbour'](source, 1)
    found = method({'past': past}, KEY)[:, 0]
    np.testing.assert_allclose(
        found, turned(windows['future'], angle), atol=1e-5
    )


def test_turned_neighbours_come_in_order_of_the_least_distance(source):
  windows = source.segments('train')
  past = np.random.default_rng(2).normal(size=(1, 3, 4, 3))
  method = baselines.BASELINES['turned_neighbours'](source, 5)
  found = np.asarray(method({'past': past}, KEY))[0]
  angles = np.linspace(0, 2 * np.pi, 3600, endpoint=False)
  gap = np.array([
      ((past - turned(windows['past'], angle)) ** 2).sum((1, 2, 3))
      for angle in angles
  ])
  nearest = np.argsort(gap.min(0))[:5]
  for window, future in zip(nearest, found):
    expected = turned(
        windows['future'][window], angles[gap[:, window].argmin()]
    )
    np.testing.assert_allclose(future, expected, atol=1e-2)


def test_a_small_training_split_gives_all_it_has(source):
  method = baselines.BASELINES['nearest_neighbours'](source, 50)
  assert method.samples == 12


def test_an_empty_training_split_is_refused():
  none = {'past': np.zeros((0, 3, 4, 3)), 'future': np.zeros((0, 6, 4, 3))}
  source = Source({'future': 6}, None, lambda split: none)
  with pytest.raises(UserError, match='training windows'):
    baselines.BASELINES['nearest_neighbour'](source, 1)
