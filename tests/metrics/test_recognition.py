"""Scores against scikit-learn, and a training that is what it says."""

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics as sklearn

from diffax.errors import UserError
from diffax.metrics import recognition


class Small(nn.Module):
  """Tell classes from time means; drops half of them in training."""

  @nn.compact
  def __call__(self, x, train=False):
    x = nn.Dropout(0.5, deterministic=not train)(x.mean(1))
    return nn.Dense(3)(x)


def toy(count=30, seed=0):
  """Windows whose mean of one channel tells their class."""
  rng = np.random.default_rng(seed)
  label = np.arange(count) % 3
  x = rng.normal(size=(count, 4, 3)) + 2 * np.eye(3)[label][:, None]
  return x.astype(np.float32), label


@pytest.mark.parametrize('seed', range(5))
def test_scores_are_those_of_scikit_learn(seed):
  rng = np.random.default_rng(seed)
  # The last class does not occur, the one before is called only.
  truth = rng.integers(0, 4, 57)
  called = np.where(rng.random(57) < 0.6, truth, rng.integers(0, 5, 57))
  counts = recognition.confusion(truth, called, 6)
  np.testing.assert_array_equal(
      counts, sklearn.confusion_matrix(truth, called, labels=range(6))
  )
  expected = sklearn.f1_score(
      truth, called, labels=range(6), average=None, zero_division=0
  )
  np.testing.assert_allclose(recognition.f1(counts), expected, atol=1e-12)
  assert recognition.macro_f1(counts) == pytest.approx(
      sklearn.f1_score(truth, called, average='macro'), abs=1e-12
  )
  assert recognition.accuracy(counts) == pytest.approx(
      sklearn.accuracy_score(truth, called), abs=1e-12
  )


def test_compiled_scores_are_the_same():
  rng = np.random.default_rng(0)
  truth, called = rng.integers(0, 4, (2, 99))
  counts = recognition.confusion(truth, called, 5)
  found = jax.jit(
      lambda a, b: recognition.confusion(a, b, 5)
  )(jnp.asarray(truth), jnp.asarray(called))
  np.testing.assert_array_equal(found, counts)
  assert float(jax.jit(recognition.macro_f1)(found)) == pytest.approx(
      recognition.macro_f1(counts), abs=1e-7
  )


def test_nothing_scores_nothing():
  counts = np.zeros((3, 3))
  assert recognition.macro_f1(counts) == recognition.accuracy(counts) == 0


def test_batches_see_each_window_equally_often():
  rows = recognition.batches(np.random.default_rng(0), 10, 5, 4)
  assert rows.shape == (5, 4) and rows.dtype == np.int32
  np.testing.assert_array_equal(np.bincount(rows.ravel()), 2)
  first, second = rows.ravel()[:10], rows.ravel()[10:]
  np.testing.assert_array_equal(np.sort(first), np.arange(10))
  assert (first != second).any()


def fit(x, label, **options):
  options = {'steps': 60, 'validations': 3, 'seeds': 2} | options
  training = recognition.Training(batch_size=8, rate=0.05)
  return recognition.fit(Small(), training, x, label, **options)


def test_it_learns():
  x, label = toy()
  fitted = fit(x, label, validation=toy(seed=2))
  other, truth = toy(300, seed=1)
  called = recognition.predict(Small(), fitted.last, other)
  assert called.shape == (2, 300)
  assert ((called == truth[None]).mean(1) > 0.9).all()
  assert fitted.loss.shape == fitted.score.shape == (2, 3)
  assert (fitted.loss[:, -1] < fitted.loss[:, 0]).all()


def test_seeds_differ_and_repeat_by_themselves():
  x, label = toy()
  two, one = fit(x, label), fit(x, label, seeds=1)
  jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a[:1], b, rtol=1e-5, atol=1e-6),
      two.last, one.last
  )
  kernel = two.last['params']['Dense_0']['kernel']
  assert np.abs(kernel[0] - kernel[1]).max() > 0


def test_padding_and_training_side_by_side_change_nothing():
  x, label = toy()
  plain = fit(x, label)
  wide = fit(x, label, capacity=50)
  training = recognition.Training(batch_size=8, rate=0.05, together=0)
  beside = recognition.fit(
      Small(), training, x, label, steps=60, validations=3, seeds=2
  )
  for other in (wide, beside):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        plain.last, other.last
    )


def test_the_best_validation_is_kept():
  x, label = toy()
  # Validation labels are wrong, so learning makes it worse.
  valid = toy(60, seed=3)[0], (np.arange(60) + 1) % 3
  fitted = fit(x, label, validation=valid, steps=40, validations=8)
  for s in range(2):
    called = recognition.predict(
        Small(), jax.tree.map(lambda p: p[s:s + 1], fitted.best), valid[0]
    )[0]
    score = sklearn.f1_score(valid[1], called, average='macro')
    assert score == pytest.approx(float(fitted.score[s].max()), abs=1e-6)
  assert (fitted.score.max(1) > fitted.score[:, -1]).all()


def test_without_validation_the_last_is_the_best():
  fitted = fit(*toy())
  jax.tree.map(np.testing.assert_array_equal, fitted.best, fitted.last)
  assert np.isnan(fitted.score).all()


def test_one_hot_and_mixed_targets():
  x, label = toy()
  target = np.eye(3, dtype=np.float32)[label]
  jax.tree.map(
      np.testing.assert_array_equal, fit(x, label).last, fit(x, target).last
  )
  even = fit(x, np.full((30, 3), 1 / 3, np.float32), steps=200)
  logits = Small().apply(jax.tree.map(lambda p: p[0], even.last), x)
  assert np.abs(jax.nn.softmax(logits) - 1 / 3).max() < 0.15


def test_decay_shrinks_weights():
  x, label = toy()

  def size(decay):
    training = recognition.Training(8, 0.05, decay)
    fitted = recognition.fit(
        Small(), training, x, label, steps=100, seeds=1, validations=1
    )
    return np.square(fitted.last['params']['Dense_0']['kernel']).sum()

  assert size(0.1) < 0.5 * size(0.0)


@pytest.mark.parametrize('change, message', [
    ({'steps': 0}, 'classifier.steps: expected 1 or more, found 0'),
    ({'seeds': 0}, 'classifier.seeds'),
    ({'validations': 0}, 'classifier.validations'),
    ({'x': np.zeros((0, 4, 3)), 'label': np.zeros(0, int)}, 'training windows'),
    ({'label': np.zeros(7, int)}, r'found \[30, 4, 3\] and \[7\]'),
    ({'x': np.full((30, 4, 3), np.nan)}, 'finite training windows'),
    ({'validation': (np.zeros((0, 4, 3)), np.zeros(0, int))}, 'validation'),
])
def test_wrong_settings_are_named(change, message):
  x, label = toy()
  arguments = {'x': x, 'label': label} | change
  with pytest.raises(UserError, match=message):
    fit(**arguments)
