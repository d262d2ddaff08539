"""Layers over time against plain NumPy, and padding that leaves no trace."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.nn import temporal

BATCH, LENGTH, WIDTH = 2, 6, 4


def noise(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def scrambled(module, *args):
  """Make parameters that are noise, so that none is at its start."""
  shapes = jax.eval_shape(module.init, jax.random.key(0), *args)
  rng = np.random.default_rng(0)
  return jax.tree.map(
      lambda x: jnp.asarray(rng.normal(size=x.shape) * 0.4, jnp.float32),
      shapes,
  )


@pytest.mark.parametrize('taps, stride, before', [(5, 1, 2), (3, 2, 0)])
def test_a_convolution_by_loops(taps, stride, before):
  x = noise(BATCH, LENGTH, WIDTH)
  layer = temporal.Conv(3, taps, stride)
  params = scrambled(layer, x)
  kernel, bias = (params['params']['conv'][k] for k in ('kernel', 'bias'))
  wide = np.pad(x, ((0, 0), (before, taps), (0, 0)))
  want = np.stack([
      sum(wide[:, i * stride + k] @ kernel[k] for k in range(taps))
      for i in range(LENGTH // stride)
  ], axis=1) + np.asarray(bias)
  np.testing.assert_allclose(layer.apply(params, x), want, atol=1e-5)


@pytest.mark.parametrize('taps, stride', [(3, 1), (5, 1), (3, 2)])
def test_held_ends_repeat_what_is_there(taps, stride):
  x = jax.random.normal(jax.random.key(0), (2, 8, 3))
  layer = temporal.Conv(4, taps, stride, ends='hold')
  params = layer.init(jax.random.key(1), x)
  longer = jnp.concatenate([x[:, :1]] * 4 + [x] + [x[:, -1:]] * 4, axis=1)
  full = temporal.Conv(4, taps, stride).apply(params, longer)
  skip = 4 // stride
  np.testing.assert_allclose(
      layer.apply(params, x), full[:, skip:skip + 8 // stride], atol=1e-5
  )


def test_a_norm_of_frames_that_count():
  x = noise(BATCH, LENGTH, WIDTH)
  mask = np.arange(LENGTH)[None] < np.array([[4], [6]])
  layer = temporal.GroupNorm(2)
  params = layer.init(jax.random.key(0), x, mask)
  got = layer.apply(params, x, mask)
  for row, count in enumerate((4, 6)):
    for group in (slice(0, 2), slice(2, 4)):
      own = np.float64(x[row, :count, group])
      want = (own - own.mean()) / np.sqrt(own.var() + 1e-6)
      np.testing.assert_allclose(got[row, :count, group], want, atol=1e-5)


def test_attention_by_loops():
  x = noise(BATCH, LENGTH, WIDTH)
  mask = np.arange(LENGTH)[None] < np.array([[4], [6]])
  layer = temporal.SelfAttention(heads=2)
  params = scrambled(layer, x)
  p = jax.tree.map(np.float64, params['params'])
  query, key, value = (
      np.einsum('bld,dhc->blhc', x, p[n]['kernel']) + p[n]['bias']
      for n in ('query', 'key', 'value')
  )
  want = np.zeros_like(x) + p['out']['bias']
  for b in range(BATCH):
    for h in range(2):
      scores = query[b, :, h] @ key[b, :, h].T / np.sqrt(2)
      weights = np.exp(scores) * mask[b]
      weights /= weights.sum(-1, keepdims=True)
      want[b] += weights @ value[b, :, h] @ p['out']['kernel'][h]
  np.testing.assert_allclose(layer.apply(params, x, mask), want, atol=1e-5)


@pytest.mark.parametrize('layer', [
    temporal.Conv(3, 5), temporal.GroupNorm(2), temporal.SelfAttention(2),
])
def test_padding_leaves_no_trace(layer):
  x = noise(BATCH, LENGTH, WIDTH)
  params = scrambled(layer, x)
  plain = layer.apply(params, x)
  for more in (1, 5):
    junk = np.full((BATCH, more, WIDTH), 1e4, np.float32)
    padded = np.concatenate([x, junk], axis=1)
    mask = np.broadcast_to(np.arange(LENGTH + more) < LENGTH,
                           (BATCH, LENGTH + more))
    got = layer.apply(params, padded, mask)[:, :LENGTH]
    np.testing.assert_allclose(got, plain, atol=1e-5)
    # The mask is what hides it.
    assert np.abs(layer.apply(params, padded)[:, :LENGTH] - plain).max() > 1e-2
