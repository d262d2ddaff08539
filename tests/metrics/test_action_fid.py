"""The classifier of the FID, and distances of what is real and what is not."""

import jax
import numpy as np
import pytest

from diffax.errors import UserError
from diffax.metrics import action_fid

F, J = 12, 4
PLAN = action_fid.Settings(
    steps=150, batch_size=32, rate=0.01, windows=240, turn=False, width=8
)


def motions(count, seed=0):
  """Slow and fast swings at any phase; the label is the pace."""
  rng = np.random.default_rng(seed)
  label = np.arange(count) % 2
  pace = np.array([0.2, 0.9])[label][:, None, None, None]
  phase = rng.uniform(0, 6.3, (count, 1, J, 3))
  swing = np.sin(pace * np.arange(F)[None, :, None, None] + phase)
  return np.float32(swing + rng.normal(0, 0.05, swing.shape)), label


@pytest.fixture(scope='module')
def known():
  return action_fid.reference(*motions(240), *motions(60, 1), 2, PLAN)


def test_the_classifier_learns_and_says_how_well(known):
  assert known.facts['accuracy'] > 0.9 and known.facts['chance'] == 0.5
  assert known.facts['known'] == 60
  assert known.facts['training accuracy'] > 0.9
  assert known.truth.shape == (60, 30)
  assert np.abs(known.truth).max() <= 1.0


def test_classes_that_were_not_learnt_have_no_accuracy(known, monkeypatch):
  monkeypatch.setattr(
      action_fid.dance, 'train_judge', lambda *given, **options: known.judge
  )
  future, label = motions(8)
  found = action_fid.reference(future, label, future, label + 2, 4, PLAN)
  assert found.facts['known'] == 0
  assert found.facts['accuracy'] is found.facts['chance'] is None
  label[:2] = 0
  facts = action_fid.reference(future, label, future, label + 1, 4, PLAN).facts
  # Class 2 is unknown; of class 1 are all the others.
  assert facts['known'] == facts['chance'] * 5 == 5


def test_distances_order_what_is_real_and_what_is_not(known):
  future, label = motions(60, 2)
  noise = np.random.default_rng(3).normal(0, 0.5, future.shape)
  fresh, noisy, slow = (
      action_fid.distance(known, action_fid.features(known, np.float32(x)))
      for x in (future, future + noise, future[label == 0])
  )
  assert 0 <= fresh < 0.2 * min(noisy, slow)
  assert action_fid.distance(known, known.truth) < 1e-6


def test_samples_of_a_batch_are_futures_like_others(known):
  future, _ = motions(6, 4)
  found = action_fid.features(known, future.reshape(2, 3, F, J, 3))
  np.testing.assert_allclose(
      found, action_fid.features(known, future), atol=1e-6
  )


def test_features_and_training_are_deterministic(known):
  future, _ = motions(5, 5)
  first, second = (action_fid.features(known, future) for _ in range(2))
  np.testing.assert_array_equal(first, second)
  again = action_fid.reference(*motions(240), *motions(60, 1), 2, PLAN)
  np.testing.assert_array_equal(again.truth, known.truth)


def test_the_network_is_that_of_the_literature():
  network = action_fid.ActionClassifier(15)
  x = jax.ShapeDtypeStruct((2, 100, 48), np.float32)
  made = jax.eval_shape(network.init, jax.random.key(0), x)
  total = sum(leaf.size for leaf in jax.tree.leaves(made))
  # Flax keeps one bias of the gates r and z, where the sum of two is meant.
  units = sum(3 * 128 * (n + 128) + 4 * 128 for n in (48, 128))
  assert total == units + 128 * 30 + 30 + 30 * 15 + 15
  features = jax.eval_shape(
      lambda p, x: network.apply(p, x, method='encode'), made, x
  )
  assert features.shape == (2, 30)


@pytest.fixture
def learnt(known, monkeypatch):
  """What a classifier would learn from, which nobody trains."""
  seen = []

  def spy(network, items, labels, clip, **options):
    seen.append((items.reshape(-1, F, J, 3), labels))
    assert clip == F
    return known.judge

  monkeypatch.setattr(action_fid.dance, 'train_judge', spy)
  return seen


def test_windows_are_thinned_evenly(learnt):
  future, label = motions(40)
  plan = action_fid.Settings(windows=6, turn=False)
  action_fid.reference(future, label, future, label, 2, plan)
  rows = np.linspace(0, 39, 6).astype(int)
  np.testing.assert_array_equal(learnt[0][0], future[rows])
  np.testing.assert_array_equal(learnt[0][1], label[rows])


def test_few_windows_are_seen_at_several_headings(learnt):
  future, label = motions(4)
  plan = action_fid.Settings(windows=10)
  action_fid.reference(future, label, future, label, 2, plan)
  seen, named = learnt[0]
  rows = np.arange(10) % 4
  np.testing.assert_array_equal(named, label[rows])
  # A turn about the vertical changes neither height nor distance from it.
  np.testing.assert_allclose(seen[..., 2], future[rows][..., 2])
  np.testing.assert_allclose(
      np.hypot(seen[..., 0], seen[..., 1]),
      np.hypot(future[rows][..., 0], future[rows][..., 1]), rtol=1e-5,
  )
  angle = np.arctan2(seen[..., 1], seen[..., 0]) - np.arctan2(
      future[rows][..., 1], future[rows][..., 0]
  )
  spin = np.exp(1j * angle).reshape(10, -1)
  np.testing.assert_allclose(spin, spin[:, :1].repeat(F * J, 1), atol=1e-3)
  assert len(np.unique(spin[:, 0].round(3))) == 10


def test_one_class_is_refused():
  future, label = motions(8)
  with pytest.raises(UserError, match='eval.fid: expected a training split'):
    action_fid.reference(future, 0 * label, future, label, 2, PLAN)


@pytest.mark.parametrize('given, message', [
    ({'step': 3}, r"eval.fid: unknown \['step'\]; it has \['steps'"),
    ({'steps': 0}, 'eval.fid.steps: expected 1 or more, found 0'),
    ({'width': 0}, 'eval.fid.width'),
])
def test_wrong_settings_are_named(given, message):
  with pytest.raises(UserError, match=message):
    action_fid.settings(given)


def test_settings_change_what_is_given():
  assert action_fid.settings({'steps': 3}) == action_fid.Settings(steps=3)
