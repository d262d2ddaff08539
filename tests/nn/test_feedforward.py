"""The denoiser: its size, what meets what, and padding without a trace."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.nn import feedforward
from diffax.nn.feedforward import FeedForwardTransformer
from diffax.nn.series_unet import SeriesUNet
from diffax.nn.unet import parameters

SMALL = {'width': 16, 'depth': 1, 'heads': 2, 'groups': 4, 'places': 60,
         'taps': 5, 'expansion': 1}
BATCH, LENGTH, CHANNELS, GIVEN = 2, 8, 3, 4
T = jnp.array([3, 900])


def noise(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def scrambled(module, *args):
  """Make parameters that are noise, so that none is at its start."""
  shapes = jax.eval_shape(module.init, jax.random.key(0), *args)
  rng = np.random.default_rng(0)
  return jax.tree.map(
      lambda x: jnp.asarray(rng.normal(size=x.shape) * 0.3, jnp.float32),
      shapes,
  )


def inputs(present=(True, True)):
  x, given = noise(BATCH, LENGTH, CHANNELS), noise(BATCH, LENGTH, GIVEN, seed=1)
  return x, T, given, jnp.array(present)


def size(network, given):
  x, one = jnp.zeros((1, 8, network.channels)), jnp.ones(1, jnp.int32)
  shapes = jax.eval_shape(
      network.init, jax.random.key(0), x, one, jnp.zeros((1, 8, given)), one > 0
  )
  return parameters(shapes)


def test_the_size_is_the_papers():
  network = FeedForwardTransformer(20, places=1000)
  assert round(size(network, 1024) / 1e6, 2) == 158.70
  assert round(size(network, 20) / 1e6, 2) == 158.12
  longer = FeedForwardTransformer(20)
  assert size(longer, 20) - size(network, 20) == 2200 * 576
  # 50 s of latents at 31.25 Hz.
  assert longer.longest >= 1563


@pytest.mark.parametrize('join, places', list(
    itertools.product(feedforward.JOINS, feedforward.POSITIONS)
))
def test_padding_leaves_no_trace(join, places):
  network = FeedForwardTransformer(
      CHANNELS, join=join, positions=places, **SMALL
  )
  x, t, given, present = inputs((True, False))
  params = scrambled(network, x, t, given, present)
  run = jax.jit(network.apply)
  plain = run(params, x, t, given, present)

  def padded(y, more):
    junk = np.full((BATCH, more, y.shape[-1]), 1e3, np.float32)
    return np.concatenate([y, junk], axis=1)

  for more in (3,) if join == 'sum' else (3, 11):
    mask = np.broadcast_to(
        np.arange(LENGTH + more) < LENGTH, (BATCH, LENGTH + more)
    )
    got = run(params, padded(x, more), t, padded(given, more), present, mask)
    np.testing.assert_allclose(got[:, :LENGTH], plain, atol=1e-5)
    np.testing.assert_array_equal(got[:, LENGTH:], 0)


def test_segments_are_no_neighbours():
  layer = feedforward.FeedForward((1, 4, 4), expansion=1, taps=5)
  x, mask = noise(1, 9, 8), jnp.ones((1, 9), bool)
  params = scrambled(layer, x, mask)
  plain = layer.apply(params, x, mask)
  changed = x.copy()
  changed[:, 4] += 1
  change = np.abs(layer.apply(params, changed, mask) - plain).max((0, 2)) > 0
  np.testing.assert_array_equal(change, [False] + [True] * 4 + [False] * 4)


def test_gather_undoes_spread():
  x = noise(1, 9, 2)
  apart = feedforward.spread(x, (1, 3, 5), 2)
  assert apart.shape == (1, 15, 2)
  np.testing.assert_array_equal(apart[:, 1:3], 0)
  np.testing.assert_array_equal(feedforward.gather(apart, (1, 3, 5), 2), x)


@pytest.mark.parametrize('network', [
    FeedForwardTransformer(CHANNELS, **SMALL),
    SeriesUNet(CHANNELS, base=16, blocks=1, heads=2, groups=4),
])
def test_what_reaches_the_output(network):
  x, t, given, present = inputs((True, False))
  params = scrambled(network, x, t, given, present)
  run = jax.jit(network.apply)
  plain = run(params, x, t, given, present)
  assert plain.shape == x.shape and plain.dtype == jnp.float32
  other = run(params, x, t, given + 1, present)
  change = np.abs(other - plain).max((1, 2))
  # The second is hidden: what stands there is not seen.
  assert change[0] > 1e-3 and change[1] == 0
  assert np.abs(run(params, x, t + 50, given, present) - plain).max() > 1e-3


def test_a_block_begins_as_the_identity():
  block = feedforward.Block((1, 4), heads=2, groups=2, expansion=1, taps=3)
  x, mask = noise(1, 5, 4), jnp.ones((1, 5), bool)
  params = jax.jit(block.init)(jax.random.key(0), x, mask)
  run = jax.jit(block.apply)
  np.testing.assert_array_equal(run(params, x, mask), x)
  changed = jax.tree.map(lambda p: p + 0.1, params)
  assert np.abs(run(changed, x, mask) - x).max() > 1e-3


def test_the_embedding_of_time_has_even_rates():
  got = feedforward.periods(T, 8)
  angles = np.asarray(T)[:, None] * 10000.0 ** (-np.arange(4) / 4)
  want = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
  np.testing.assert_allclose(got, want, atol=1e-4)


def test_the_longest_series_that_positions_are_for():
  assert FeedForwardTransformer(3, places=101).longest == 50
  assert FeedForwardTransformer(3, places=101, join='sum').longest == 100
  assert FeedForwardTransformer(3, positions='aligned').longest is None
