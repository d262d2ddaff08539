"""The UNet against plain NumPy, what it mixes, and its size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.nn import unet
from diffax.nn.unet import UNet

SMALL = {'base': 8, 'blocks': 1, 'groups': 2, 'heads': 2, 't_dim': 8}
BATCH, BINS, FRAMES, CHANNELS = 2, 3, 6, 4


def noise(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def scrambled(network, *args):
  """Make parameters that are noise, so that none is at its start."""
  shapes = jax.eval_shape(network.init, jax.random.key(0), *args)
  rng = np.random.default_rng(0)
  return jax.tree.map(
      lambda x: jnp.asarray(rng.normal(size=x.shape) * 0.4, jnp.float32),
      shapes,
  )


def image(bins=BINS):
  return noise(BATCH, bins, FRAMES, CHANNELS), jnp.array([1, 7])


@pytest.mark.parametrize('taps, stride', [(3, 1), (4, 2)])
def test_the_product_is_a_convolution(taps, stride):
  x, _ = image()
  layer = unet.TimeConv(5, taps, stride)
  params = scrambled(layer, x)
  inner = params['params']['kernel']
  kernel = inner['kernel'].reshape(1, taps, CHANNELS, 5)
  want = jax.lax.conv_general_dilated(
      x, kernel, (1, stride), 'SAME',
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
  ) + inner['bias'][None, None, None]
  np.testing.assert_allclose(layer.apply(params, x), want, atol=1e-5)


def naive_attention(query, key, value):
  scores = query @ key.T / np.sqrt(query.shape[-1])
  weights = np.exp(scores - scores.max(-1, keepdims=True))
  return weights / weights.sum(-1, keepdims=True) @ value


def naive_groups(over):
  """List the tokens (bin, frame) that attend to each other."""
  every = [[(f, n) for n in range(FRAMES)] for f in range(BINS)]
  return {
      'all': [sum(every, [])],
      'time': every,
      'frequency': [list(line) for line in zip(*every)],
  }[over]


@pytest.mark.parametrize('over', ['all', 'time', 'frequency'])
def test_attention_mixes_its_tokens_only(over):
  x = noise(BATCH, BINS, FRAMES, 8)
  layer = unet.SelfAttention(over, heads=2, groups=2)
  params = scrambled(layer, x)
  p = jax.tree.map(np.float64, params['params'])
  grouped = np.float64(x).reshape(BATCH, -1, 2, 4)
  spread = grouped.std((1, 3), keepdims=True)
  y = (grouped - grouped.mean((1, 3), keepdims=True)) / np.hypot(spread, 1e-3)
  y = y.reshape(x.shape) * p['norm']['scale'] + p['norm']['bias']
  query, key, value = (
      np.einsum('bfnd,dhc->bfnhc', y, p[name]['kernel']) + p[name]['bias']
      for name in ('query', 'key', 'value')
  )
  want = np.float64(x)
  for tokens in naive_groups(over):
    f, n = np.array(tokens).T
    for b in range(BATCH):
      for h in range(2):
        mixed = naive_attention(*(
            z[b, f, n, h] for z in (query, key, value)
        ))
        want[b, f, n] += mixed @ p['out']['kernel'][h]
  want += p['out']['bias']
  np.testing.assert_allclose(layer.apply(params, x), want, atol=2e-5)


@pytest.mark.parametrize('over', ['none', 'time', 'frequency'])
def test_attention_alone_mixes_bins(over, monkeypatch):
  # Norms see the whole image and would hide who mixes.
  monkeypatch.setattr(unet.nn.GroupNorm, '__call__', lambda self, y: y)
  x, t = image()
  network = UNet(CHANNELS, attention=over, **SMALL)
  params = scrambled(network, x, t)
  run = jax.jit(network.apply)
  changed = x.copy()
  changed[:, 1, 2] += 1
  change = np.abs(run(params, changed, t) - run(params, x, t)).max((0, 2, 3))
  expected = [True] * BINS if over == 'frequency' else [False, True, False]
  np.testing.assert_array_equal(change > 0, expected)


def test_a_bin_is_known_by_its_offset():
  x, t = image()
  same = np.broadcast_to(x[:, :1], x.shape)
  for offsets in (True, False):
    network = UNet(CHANNELS, offsets=offsets, **SMALL)
    params = scrambled(network, same, t)
    out = jax.jit(network.apply)(params, same, t)
    apart = np.abs(out - out[:, :1]).max()
    assert (apart > 1e-2) == offsets


def test_time_and_class_reach_the_output():
  x, t = image()
  network = UNet(CHANNELS, classes=3, **SMALL)
  params = scrambled(network, x, t, jnp.zeros(2, jnp.int32))
  run = jax.jit(network.apply)
  outs = [run(params, x, t, jnp.full(2, label)) for label in range(4)]
  for other in outs[1:]:
    assert np.abs(outs[0] - other).max() > 1e-3
  np.testing.assert_array_equal(run(params, x, t), outs[3])
  assert np.abs(run(params, x, t + 1) - outs[3]).max() > 1e-3


def test_the_embedding_has_the_odd_exponents():
  network = UNet(CHANNELS, **{**SMALL, 't_dim': 4})
  x, t = image()
  variables = scrambled(network, x, t)
  params = jax.tree.map(np.float64, variables['params'])
  rates = 10000.0 ** (-np.arange(4) / 4)
  angles = np.asarray(t)[:, None] * rates
  h = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
  for name in ('time_in', 'time_out'):
    h = h @ params[name]['kernel'] + params[name]['bias']
    h = h / (1 + np.exp(-h)) if name == 'time_in' else h
  _, seen = jax.jit(lambda *args: network.apply(
      *args, capture_intermediates=True, mutable='intermediates'
  ))(variables, x, t)
  found = seen['intermediates']['time_out']['__call__'][0]
  np.testing.assert_allclose(found, h, rtol=1e-4, atol=1e-5)


def test_it_starts_at_zero_and_takes_series():
  x, t = image(bins=1)
  network = UNet(CHANNELS, **SMALL)
  params = jax.jit(network.init)(jax.random.key(0), x, t)
  out = jax.jit(network.apply)(params, x, t)
  assert out.shape == x.shape
  np.testing.assert_array_equal(out, 0)


def test_the_size_of_the_paper_is_known():
  network = UNet(12)
  shapes = jax.eval_shape(
      network.init, jax.random.key(0), jnp.zeros((1, 12, 82, 12)),
      jnp.ones(1, jnp.int32),
  )

  def residual(inputs, outputs):
    skip = (inputs + 1) * outputs if inputs != outputs else 0
    convs = 3 * (inputs + outputs) * outputs + 2 * outputs
    return 2 * (inputs + outputs) + convs + 129 * outputs + skip

  def attention(width):
    return 2 * width + 4 * (width + 1) * width

  def part(inputs, width):
    second = residual(width, width)
    return residual(inputs, width) + second + 2 * attention(width)

  want = 257 * 128 + 129 * 128 + 12 * 32
  want += 3 * 12 * 32 + 32 + 4 * 32 * 64 + 64
  want += part(32, 32) + part(64, 64) + part(96, 32)
  want += 2 * 32 + 3 * 32 * 12 + 12
  assert unet.parameters(shapes) == want
