"""Transformers and the cross-modal denoiser against plain NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from diffax.nn import transformer
from diffax.nn.crossmodal import CrossModal
from diffax.nn.crossmodal import QUERIES

B, L, M, D, HEADS, HIDDEN = 3, 6, 5, 8, 2, 12
PATCH, WIDTHS = 2, {'y': 1, 'w': 3}
T = jnp.array([1, 7, 40])


def scrambled(network, *args):
  """Make parameters that are noise, so that none is at its start."""
  shapes = jax.eval_shape(
      lambda key: network.init(key, *args), jax.random.key(0)
  )
  rng = np.random.default_rng(0)
  return jax.tree.map(
      lambda x: jnp.asarray(rng.normal(size=x.shape) * 0.4, jnp.float32),
      shapes,
  )


def plain(variables):
  """Return the parameters as float64 NumPy arrays."""
  return jax.tree.map(np.float64, variables['params'])


def dense(p, x):
  return x @ p['kernel'] + p['bias']


def norm(p, x):
  centred = x - x.mean(-1, keepdims=True)
  spread = np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
  return centred / spread * p['scale'] + p['bias']


def attention(p, x, memory):
  out = p['out']['bias'] + np.zeros_like(x)
  for head in range(HEADS):
    q, k, v = (
        of @ p[name]['kernel'][:, head] + p[name]['bias'][head]
        for name, of in (('query', x), ('key', memory), ('value', memory))
    )
    scores = np.exp(np.einsum('bic,bjc->bij', q, k) / np.sqrt(D / HEADS))
    mixed = scores / scores.sum(-1, keepdims=True) @ v
    out = out + mixed @ p['out']['kernel'][head]
  return out


def layer(p, x, memory=None):
  y = norm(p['norm_self'], x)
  x = x + attention(p['self'], y, y)
  if memory is not None:
    x = x + attention(p['cross'], norm(p['norm_cross'], x), memory)
  y = dense(p['in'], norm(p['norm'], x))
  y = y * (1 + scipy.special.erf(y / np.sqrt(2))) / 2
  return x + dense(p['out'], y)


def stack(p, x, memory=None):
  depth = len(p['layers']['in']['bias'])
  for i in range(depth):
    x = layer(jax.tree.map(lambda w: w[i], p['layers']), x, memory)  # noqa
  return norm(p['norm'], x)


def sinusoidal(t):
  rates = 10000.0 ** (-np.arange(D // 2) / (D // 2 - 1))
  angles = np.float64(t)[:, None] * rates
  return np.concatenate([np.sin(angles), np.cos(angles)], -1)


def time_embedding(p, t):
  x = dense(p['hidden'], sinusoidal(t))
  return dense(p['output'], x * scipy.special.expit(x))


def tokens(x):
  return np.stack(
      [x[:, i:i + PATCH].reshape(len(x), -1) for i in range(0, L, PATCH)], 1
  )


def cross_modal(p, x, t, given, shown, queries):
  placed = sinusoidal(range(L // PATCH)) + time_embedding(p['time'], t)[:, None]
  z = stack(p['encoder'], dense(p['read'], tokens(x)) + placed)
  c = np.zeros_like(z)
  for name in WIDTHS:
    part = dense(p[f'condition_{name}'], tokens(given[name]))
    c += np.where(shown[name][:, None, None], part, p[f'null_{name}'])
  pair = (c + placed, z) if queries == 'condition' else (z, c + placed)
  out = dense(p['write'], stack(p['decoder'], *pair))
  return out.reshape(len(x), L, -1), z


@functools.partial(jax.jit, static_argnames=('network', 'train', 'method'))
def run(network, variables, *inputs, train=False, method=None, rngs=None):
  """Apply a network, compiled: piece by piece would take seconds."""
  options = {'train': True} if train else {}
  return network.apply(
      variables, *inputs, method=method, rngs=rngs, **options
  )


def arrays(*shapes):
  rng = np.random.default_rng(1)
  return [np.float32(rng.normal(size=shape)) for shape in shapes]


@pytest.mark.parametrize('decoder', [False, True])
def test_a_layer_is_its_formula(decoder):
  x, memory = arrays((B, L, D), (B, M, D))
  inputs = (x, memory) if decoder else (x,)
  network = transformer.Layer(HEADS, HIDDEN)
  variables = scrambled(network, *inputs)
  found = run(network, variables, *inputs)
  np.testing.assert_allclose(
      found, layer(plain(variables), *inputs), rtol=1e-4, atol=1e-4
  )


@pytest.mark.parametrize('remat', [False, True])
def test_a_stack_is_one_layer_after_another(remat):
  x, memory = arrays((B, L, D), (B, M, D))
  network = transformer.Stack(3, HEADS, HIDDEN, remat=remat)
  variables = scrambled(network, x, memory)
  found = run(network, variables, x, memory)
  expected = stack(plain(variables), x, memory)
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_layers_start_from_numbers_of_their_own():
  x, = arrays((B, L, D))
  network = transformer.Stack(2, HEADS, HIDDEN)
  start = jax.jit(network.init)(jax.random.key(0), x)['params']['layers']
  kernel = start['self']['query']['kernel']
  assert np.abs(kernel[0] - kernel[1]).min() > 0


def test_attention_is_the_same_one_by_one_and_at_once(monkeypatch):
  query, key, value, weight = arrays(
      (B, HEADS, L, D), (B, HEADS, M, D), (B, HEADS, M, D), (B, HEADS, L, D)
  )

  def both():
    def total(q, k, v):
      return jnp.sum(weight * transformer.attend(q, k, v))
    out = transformer.attend(query, key, value)
    return out, jax.grad(total, (0, 1, 2))(query, key, value)

  assert jax.default_backend() == 'cpu'
  mapped = both()
  monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
  jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
      mapped, both()
  )


def test_half_precision_keeps_parameters_and_softmax_whole():
  x, = arrays((B, L, D))
  network = transformer.Layer(HEADS, HIDDEN, dtype=jnp.bfloat16)
  variables = jax.jit(network.init)(jax.random.key(0), x)
  assert {str(w.dtype) for w in jax.tree.leaves(variables)} == {'float32'}
  # Weights of 300 equal scores sum to 1 only if they are not rounded first.
  ones = jnp.ones((1, 1, 300, 4), jnp.bfloat16)
  out = transformer.attend(ones, ones, ones)
  assert out.dtype == jnp.bfloat16
  np.testing.assert_allclose(np.float32(out), 1.0, atol=0.01)


@pytest.fixture(scope='module')
def denoiser():
  network = CrossModal(
      2, tuple(WIDTHS), width=D, encoder_layers=2, decoder_layers=1,
      heads=HEADS, hidden=HIDDEN, patch=PATCH, nullable=True,
  )
  x, y, w = arrays((B, L, 2), *((B, L, c) for c in WIDTHS.values()))
  given = {'y': y, 'w': w}
  return network, scrambled(network, x, T, given), x, given


@pytest.mark.parametrize('queries', QUERIES)
def test_the_denoiser_is_its_formula(denoiser, queries):
  network, variables, x, given = denoiser
  shown = {'y': np.array([True, False, True]), 'w': np.ones(B, bool)}
  found = run(
      network.clone(queries=queries), variables, x, T, given,
      {'y': shown['y']}
  )
  expected = cross_modal(plain(variables), x, T, given, shown, queries)
  for a, b in zip(found, expected):
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)


def test_hidden_and_absent_are_the_same(denoiser):
  network, variables, x, given = denoiser
  absent = run(network, variables, x, T, {'w': given['w']})[0]
  masks = {'y': np.zeros(B, bool), 'w': np.ones(B, bool)}
  hidden = run(network, variables, x, T, given, masks)[0]
  np.testing.assert_allclose(absent, hidden, rtol=1e-5, atol=1e-5)
  whole = run(network, variables, x, T, given)[0]
  assert np.abs(whole - absent).max() > 1e-3
  alone = run(network, variables, x, T, {})[0]
  assert np.abs(alone - absent).max() > 1e-3


def test_latents_are_of_the_own_modality(denoiser):
  network, variables, x, given = denoiser
  z = run(network, variables, x, T, given)[1]
  other = run(network, variables, x, T, {'y': -given['y']})[1]
  np.testing.assert_array_equal(z, other)
  own = run(network, variables, -x, T, method='encode')
  assert np.abs(z - own).max() > 1e-3
  later = run(network, variables, x, T + 5, method='encode')
  assert np.abs(z - later).max() > 1e-3


def test_order_matters_to_the_denoiser_alone(denoiser):
  network, variables, x, _ = denoiser
  turned = x.reshape(B, L // PATCH, -1)[:, ::-1].reshape(x.shape)
  z, other = (
      run(network, variables, s, T, method='encode') for s in (x, turned)
  )
  assert np.abs(z - other[:, ::-1]).max() > 1e-2
  # A stack has no notion of place: positions must come from its input.
  encoder = transformer.Stack(2, HEADS, HIDDEN)
  part = {'params': variables['params']['encoder']}
  (h,) = arrays((B, L, D))
  np.testing.assert_allclose(
      run(encoder, part, h)[:, ::-1], run(encoder, part, h[:, ::-1]),
      rtol=1e-4, atol=1e-5,
  )


def test_dropout_is_for_training(denoiser):
  network, variables, x, given = denoiser

  def train(seed):
    return run(
        network, variables, x, T, given, train=True,
        rngs={'dropout': jax.random.key(seed)},
    )[0]

  np.testing.assert_array_equal(train(0), train(0))
  assert np.abs(train(0) - train(1)).max() > 1e-3
  calm = network.clone(dropout=0.0)
  np.testing.assert_allclose(
      run(network, variables, x, T, given)[0],
      run(
          calm, variables, x, T, given, train=True,
          rngs={'dropout': jax.random.key(0)},
      )[0],
      rtol=1e-5, atol=1e-5,
  )


@pytest.mark.parametrize(
    'width, hidden, count',
    [
        (128, 256, 1_363_855), (128, 512, 1_890_191), (128, 1024, 2_942_863),
        (128, 2048, 5_048_207), (512, 1024, 21_577_231),
        (512, 2048, 29_974_031),
    ],
)
def test_sizes_are_those_of_angles_given_moments(width, hidden, count):
  network = CrossModal(15, ('moments',), width=width, hidden=hidden)
  x, y = jnp.zeros((1, 300, 15)), jnp.zeros((1, 300, 9))
  shapes = jax.eval_shape(
      lambda key: network.init(key, x, jnp.ones(1, int), {'moments': y}),
      jax.random.key(0),
  )
  assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == count
  # Attention has 4 D^2 weights, of which a decoder layer has two; the rest
  # are the feed-forward layers, biases, norms, embeddings and projections.
  layers = 4 * (4 * width**2 + 2 * width * hidden) + 4 * (
      8 * width**2 + 2 * width * hidden
  )
  assert layers < count < 1.05 * layers
