"""Judges of clips, and what is measured by their features."""

import itertools

from flax import linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.errors import UserError
from diffax.metrics import dance
from diffax.metrics import distribution
from diffax.metrics import recognition


class Net(nn.Module):
  """Tell clips by their mean and spread."""

  classes: int = 2

  def setup(self):
    self.hidden = nn.Dense(4)
    self.logits = nn.Dense(self.classes)

  def __call__(self, x, train=False):
    return self.logits(self.encode(x))

  def encode(self, x, train=False):
    return nn.tanh(self.hidden(jnp.concatenate([x.mean(1), x.std(1)], -1)))


def items(count, seed=0, length=40):
  """Slow and fast movements at any phase; the label is the pace."""
  rng = np.random.default_rng(seed)
  label = np.arange(count) % 2
  pace = np.array([0.1, 0.6])[label][:, None, None]
  phase = rng.uniform(0, 6.3, (count, 1, 3))
  wave = np.sin(pace * np.arange(length)[None, :, None] + phase)
  scale = np.array([1.0, 3.0])[label][:, None, None]
  return np.float32(scale * wave + rng.normal(0, 0.1, wave.shape)), label


@pytest.fixture(scope='module')
def judge():
  x, label = items(40)
  return dance.train_judge(
      Net(), x, label, 16, steps=150,
      training=recognition.Training(32, 0.03), held=items(20, 1),
  )


def test_a_judge_learns_and_is_measured_on_held_items(judge):
  assert judge.accuracy == 1.0
  assert judge.clip == 16 and judge.mean.shape == (3,)


def test_a_judge_follows_from_its_seed(judge):
  x, label = items(40)
  again = dance.train_judge(
      Net(), x, label, 16, steps=150, training=recognition.Training(32, 0.03)
  )
  np.testing.assert_array_equal(
      dance.read(judge, x).items, dance.read(again, x).items
  )
  assert np.isnan(again.accuracy)


def test_what_never_moves_does_not_drown_the_rest():
  x, label = items(8)
  x[..., 2] = 4.0
  found = dance.train_judge(
      Net(), x, label, 16, steps=1, training=recognition.Training(4, 0.01)
  )
  np.testing.assert_allclose(
      found.std[2], 0.1 * np.sqrt(np.mean(x.std((0, 1)) ** 2)), rtol=1e-3
  )


def test_items_are_the_means_of_their_clips(judge):
  x, _ = items(3)
  found = dance.read(judge, x)
  assert found.clips.shape == (6, 4) and found.items.shape == (3, 4)
  np.testing.assert_allclose(found.clips.reshape(3, 2, 4).mean(1), found.items)
  np.testing.assert_allclose(found.probability.sum(1), 1, rtol=1e-6)
  # Frames after the last whole clip do not count.
  np.testing.assert_array_equal(
      dance.read(judge, x[:, :32]).clips, found.clips
  )


def test_what_is_real_is_nearer_than_what_is_not(judge):
  truth, fresh = (dance.read(judge, items(40, seed)[0]) for seed in (2, 3))
  slow = dance.read(judge, items(40, 3)[0][::2])
  near, far = (
      distribution.frechet(truth.clips, made.clips) for made in (fresh, slow)
  )
  assert near < 0.1 * far
  right = dance.mean_kld(truth.probability, fresh.probability).mean()
  swapped = dance.mean_kld(truth.probability, fresh.probability[::-1]).mean()
  assert right < 0.1 * swapped


def test_divergence_is_known_of_two_classes():
  truth = np.array([[0.5, 0.5], [1.0, 0.0]])
  made = np.array([[0.25, 0.75], [0.5, 0.5]])
  expected = [0.5 * np.log(2) + 0.5 * np.log(2 / 3), np.log(2)]
  np.testing.assert_allclose(dance.mean_kld(truth, made), expected)
  np.testing.assert_array_equal(dance.mean_kld(truth, truth), 0)


def test_inter_diversity_takes_each_pair_once():
  features = np.random.default_rng(0).normal(size=(6, 3))
  expected = sorted(
      np.linalg.norm(a - b) for a, b in itertools.combinations(features, 2)
  )
  found = dance.inter_diversity(features)
  np.testing.assert_allclose(sorted(found), expected)
  assert len(dance.inter_diversity(np.zeros((80, 3)))) == 200
  few = dance.inter_diversity(features, items=3)
  assert len(few) == 3 and len(dance.inter_diversity(features[:1])) == 0


def test_intra_diversity_is_of_one_input():
  features = np.zeros((2, 3, 2))
  features[1, 0] = [3, 4]
  # Two of its three pairs lie 5 apart.
  np.testing.assert_allclose(dance.intra_diversity(features), [0, 10 / 3])


def test_unfit_items_are_refused(judge):
  x, label = items(4)
  with pytest.raises(UserError, match='two or more classes'):
    dance.train_judge(Net(), x, 0 * label, 16, steps=1)
  with pytest.raises(UserError, match=r'16 frames, found \[4, 10, 3\]'):
    dance.read(judge, x[:, :10])
  with pytest.raises(UserError, match='NaN'):
    dance.read(judge, np.full_like(x, np.nan))
