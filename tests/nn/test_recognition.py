"""The recognition network: shapes, what its kernels span, that it learns."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from diffax.nn.recognition import Recogniser


def windows(count=8, length=40, channels=3, seed=0):
  rng = np.random.default_rng(seed)
  return np.float32(rng.normal(size=(count, length, channels)))


@pytest.fixture(scope='module')
def made():
  network = Recogniser(4)
  x = windows()
  return network, jax.jit(network.init)(jax.random.key(0), x), x


def test_the_paper_has_its_layers():
  network = Recogniser(4)
  shapes = jax.eval_shape(
      network.init, jax.random.key(0), jnp.zeros((1, 160, 6))
  )['params']
  kernels = {
      # That of a convolution is a matrix, inside a layer of its own.
      name: (part if name[0] == 'l' else part['kernel'])['kernel'].shape
      for name, part in shapes.items()
  }
  assert kernels == {
      'conv_1': (5, 16), 'conv_2': (5 * 16, 32), 'conv_3': (5 * 32, 64),
      'linear_1': (80 * 6 * 64, 128),
      'linear_2': (128, 64), 'logits': (64, 4),
  }


def test_channels_meet_in_the_linear_layers_only(made):
  network, params, x = made
  far = x.copy()
  far[:, :, 1] += 1
  run = jax.jit(lambda params, x: network.apply(
      params, x, capture_intermediates=True, mutable='intermediates'
  )[1]['intermediates']['conv_3']['__call__'][0])
  a, b = run(params, x), run(params, far)
  assert a.shape == (8, 3, 20, 64)
  np.testing.assert_array_equal(a[:, [0, 2]], b[:, [0, 2]])
  assert np.abs(a[:, 1] - b[:, 1]).max() > 0


def test_dropout_acts_in_training_only(made):
  network, params, x = made
  apply = jax.jit(network.apply, static_argnames='train')
  draws = [
      apply(params, x, train=True, rngs={'dropout': jax.random.key(i)})
      for i in range(2)
  ]
  assert np.abs(draws[0] - draws[1]).max() > 0
  np.testing.assert_array_equal(apply(params, x), apply(params, x))


def test_it_learns_to_tell_frequencies_apart():
  time = np.arange(40)[None, :, None]
  label = np.arange(16) % 2
  phase = np.random.default_rng(0).uniform(0, 6, (16, 1, 3))
  x = np.float32(np.sin(time * (0.3 + 0.6 * label[:, None, None]) + phase))
  network = Recogniser(2, filters=(4, 4, 4), hidden=(16, 8))
  params = jax.jit(network.init)(jax.random.key(0), x)
  optimiser = optax.adam(1e-2)

  def loss(params, key):
    logits = network.apply(params, x, train=True, rngs={'dropout': key})
    return optax.losses.softmax_cross_entropy_with_integer_labels(
        logits, label
    ).mean()

  @jax.jit
  def fit(params):
    def step(carry, key):
      grads = jax.grad(loss)(carry[0], key)
      updates, state = optimiser.update(grads, carry[1])
      return (optax.apply_updates(carry[0], updates), state), None

    keys = jax.random.split(jax.random.key(1), 60)
    carry, _ = jax.lax.scan(step, (params, optimiser.init(params)), keys)
    return network.apply(carry[0], x)

  np.testing.assert_array_equal(np.argmax(fit(params), axis=1), label)
