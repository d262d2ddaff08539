"""Predictors without training against closed forms and brute force."""

import numpy as np
import pytest

from diffax.data.base import Source
from diffax.errors import UserError
from diffax.systems.lambda_rivals import PREDICTORS
from diffax.systems.lambda_rivals import ridge

L, SIZES = 6, {'x': 3, 'y': 1, 'z': 2}


def make(train, seed=0, change=None):
  rng = np.random.default_rng(seed)
  windows = {
      name: np.float32(rng.normal(size=(train, L, size)))
      for name, size in SIZES.items()
  }
  windows.update(change(windows) if change else {})
  return Source(
      {'modalities': SIZES, 'length': L}, None, {'train': windows}.__getitem__
  )


def linear(windows):
  """Make x a linear function of the whole window of y, with an offset."""
  rng = np.random.default_rng(5)
  weight = rng.normal(size=(L, L * 3))
  flat = windows['y'].reshape(len(windows['y']), -1)
  return {'x': np.float32(flat @ weight + 2.0).reshape(-1, L, 3)}


@pytest.mark.parametrize('train', [5, 200])
def test_ridge_is_its_closed_form(train):
  # Fewer windows than the 24 features take another way to the same answer.
  source, alpha = make(train), 3.0
  windows, test = source.segments('train'), make(4, 1).segments('train')
  found = ridge(source, ('y', 'x'), 'z', alpha)({
      name: test[name] for name in ('x', 'y')
  })

  def flat(batch):
    return np.concatenate(
        [np.float64(batch[m]).reshape(len(batch[m]), -1) for m in ('y', 'x')],
        axis=1
    )

  a, b = flat(windows), np.float64(windows['z']).reshape(train, -1)
  centred = a - a.mean(0)
  weight = np.linalg.solve(
      centred.T @ centred + alpha * np.eye(a.shape[1]),
      centred.T @ (b - b.mean(0))
  )
  expected = (flat(test) - a.mean(0)) @ weight + b.mean(0)
  assert found.shape == (4, 1, L, 2) and found.dtype == np.float32
  np.testing.assert_allclose(found.reshape(4, -1), expected, atol=1e-5)


def test_ridge_finds_what_is_linear_the_nearest_window_does_not():
  source = make(400, change=linear)
  test = make(50, 1, linear).segments('train')
  truth, batch = test['x'][:, None], {'y': test['y']}
  error = {
      name: ((PREDICTORS[name](source, ('y',), 'x')(batch) - truth) ** 2).mean()
      for name in ('ridge', 'nearest_neighbour')
  }
  assert error['ridge'] < 0.02 * truth.var()
  assert error['nearest_neighbour'] > 0.2 * truth.var()


def test_the_nearest_window_is_that_of_brute_force():
  source = make(30)
  windows, test = source.segments('train'), make(9, 1).segments('train')
  batch = {'x': test['x'], 'y': test['y']}
  found = PREDICTORS['nearest_neighbour'](source, ('x', 'y'), 'z')(batch)
  gap = sum(
      ((test[m][:, None] - windows[m][None]) ** 2).sum((2, 3)) for m in batch
  )
  np.testing.assert_array_equal(found[:, 0], windows['z'][gap.argmin(1)])


def test_a_training_window_finds_itself():
  source = make(30)
  windows = source.segments('train')
  found = PREDICTORS['nearest_neighbour'](source, ('y',), 'x')(
      {'y': windows['y']}
  )
  np.testing.assert_array_equal(found[:, 0], windows['x'])


def test_the_mean_of_standardised_series_is_zero():
  found = PREDICTORS['mean'](make(3), ('y',), 'x')({'y': np.ones((5, L, 1))})
  np.testing.assert_array_equal(found, np.zeros((5, 1, L, 3)))


@pytest.mark.parametrize('name', sorted(PREDICTORS))
@pytest.mark.parametrize(
    'given, target', [(('x',), 'x'), ((), 'x'), (('y',), 'w'), (('w',), 'x')]
)
def test_wrong_modalities_are_named(name, given, target):
  with pytest.raises(UserError, match=f"'{target}' given"):
    PREDICTORS[name](make(3), given, target)
