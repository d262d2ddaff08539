"""Classifiers of movement and of sound: what they see, and that they learn."""

import functools

import jax
import numpy as np
import optax
import pytest

from diffax.nn.motion_classifier import MelClassifier
from diffax.nn.motion_classifier import MotionClassifier

CASES = {
    'motion': (
        MotionClassifier(3, 4, width=8, layers=1, heads=2, patch=4), 8
    ),
    'mel': (MelClassifier(3, (8, 8), features=8), 10),
}


def clips(channels, count=12, seed=0):
  """Three paces at any phase."""
  rng = np.random.default_rng(seed)
  label = np.arange(count) % 3
  pace = np.array([0.1, 0.5, 1.2])[label][:, None, None]
  phase = rng.uniform(0, 6.3, (count, 1, channels))
  wave = np.sin(pace * np.arange(24)[None, :, None] + phase)
  return np.float32(wave), label


@functools.cache
def begun(name):
  """Return a network's parameters as it begins and its compiled function."""
  network, channels = CASES[name]
  x = clips(channels)[0]
  return jax.jit(network.init)(jax.random.key(0), x), jax.jit(network.apply)


@pytest.mark.parametrize('name', CASES)
def test_they_learn_the_pace(name):
  network, channels = CASES[name]
  x, label = clips(channels, 60)
  params, apply = begun(name)
  optimiser = optax.adam(0.02)

  @jax.jit
  def train(params):
    def step(carry, key):
      params, state = carry

      def loss(params):
        logits = network.apply(params, x, train=True, rngs={'dropout': key})
        return optax.softmax_cross_entropy_with_integer_labels(
            logits, label
        ).mean()

      change, state = optimiser.update(jax.grad(loss)(params), state, params)
      return (optax.apply_updates(params, change), state), None

    keys = jax.random.split(jax.random.key(1), 40)
    return jax.lax.scan(step, (params, optimiser.init(params)), keys)[0][0]

  fresh, truth = clips(channels, 30, seed=1)
  logits = np.asarray(apply(train(params), fresh))
  assert logits.shape == (30, 3)
  assert (logits.argmax(1) == truth).mean() > 0.8


@pytest.mark.parametrize('name', CASES)
def test_features_decide_and_tell_clips_apart(name):
  network, channels = CASES[name]
  x = clips(channels)[0]
  params, apply = begun(name)
  encode = jax.jit(functools.partial(network.apply, method='encode'))
  features = np.asarray(encode(params, x))
  assert features.shape == (12, network.features)
  gaps = features[:, None] - features[None]
  assert (np.abs(gaps).max(-1) + np.eye(12) > 1e-3).all()
  head = params['params']['logits']
  np.testing.assert_allclose(
      apply(params, x),
      features @ head['kernel'] + head['bias'][None], atol=1e-5,
  )


def test_motion_sees_which_joint_moves():
  channels = CASES['motion'][1]
  x = clips(channels)[0]
  params, apply = begun('motion')
  apart = x.reshape(12, 24, 4, 2)[:, :, ::-1].reshape(x.shape)
  change = apply(params, x) - apply(params, apart)
  assert np.abs(change).max() > 1e-3


def test_motion_sees_the_order_of_time():
  channels = CASES['motion'][1]
  x = clips(channels)[0]
  params, apply = begun('motion')
  # Patches as they are, in another order.
  apart = x.reshape(12, 6, 4, channels)[:, ::-1].reshape(x.shape)
  change = apply(params, x) - apply(params, apart)
  assert np.abs(change).max() > 1e-4
