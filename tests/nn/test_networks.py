"""Networks against a plain NumPy re-implementation that loops over joints."""

import math

from flax.traverse_util import flatten_dict
from flax.traverse_util import unflatten_dict
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from diffax.nn import attention
from diffax.nn import embed
from diffax.nn import graph
from diffax.nn import recurrent
from diffax.nn.skeleton import Decoder
from diffax.nn.skeleton import Denoiser
from diffax.nn.skeleton import Encoder

TYPES = (0, 0, 1, 2, 2)  # Two mirrored pairs and a joint of its own.
MIRROR = np.array([1, 0, 2, 4, 3])
J, B, D = len(TYPES), 3, 4
SIZES = {
    'amass21': (
        (0, 0, 1, 2, 2, 3, 4, 4, 5, 6, 6, 7, 8, 8, 9, 10, 10, 11, 11, 12, 12),
        2, 1_232_292, 867_915, 32_135_979,
    ),
    'h36m16': (
        (0, 1, 2, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 7, 8, 9),
        1, 388_608, 667_294, 25_501_184,
    ),
    'freeman17': (
        (0, 0, 1, 1, 2, 2, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8),
        1, 349_923, 600_799, 23_292_899,
    ),
    'amass51': (
        (0, 0, 1, 2, 2, 3, 4, 4, 5, 6, 6, 7, 8, 8, 9, 10, 10, 11, 11, 12, 12)
        + tuple(range(13, 43)),
        2, 4_080_612, 2_875_365, 98_494_779,
    ),
}


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


def apply(network, variables, *args):
  """Run a network under jit; the last argument of a decoder is a length."""
  length = [i for i, arg in enumerate(args) if isinstance(arg, int)]
  run = jax.jit(network.apply, static_argnums=[i + 1 for i in length])
  return run(variables, *args)


def noise(*shape, seed=1):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def close(actual, desired, tolerance=2e-5):
  np.testing.assert_allclose(
      actual, desired, rtol=tolerance, atol=tolerance
  )


# The naive side: one sample, explicit loops, float64, the notation of the
# paper's supplement.


def naive_rows(matrix):
  return np.stack([row / np.abs(row).sum() for row in np.float64(matrix)])


def naive_affine(weight, bias, x):
  rows = []
  for j, kind in enumerate(TYPES):
    row = np.float64(x[j]) @ np.float64(weight[kind])
    rows.append(row if bias is None else row + bias[kind])
  return np.stack(rows)


def naive_linear(p, x):
  y = naive_affine(p['weight'], p.get('bias'), x)
  mixing = naive_rows(p['graph'])
  return np.stack([
      sum(mixing[i, j] * y[j] for j in range(J)) for i in range(J)
  ])


def naive_sigmoid(x):
  return 1.0 / (1.0 + np.exp(-x))


def naive_gru(p, h, frames):
  mixing, states = naive_rows(p['graph']), []
  for x in frames:
    i = mixing @ naive_affine(p['input_weight'], p['input_bias'], x)
    s = mixing @ naive_affine(p['state_weight'], p['state_bias'], h)
    i_r, i_z, i_n = np.split(i, 3, axis=-1)
    h_r, h_z, h_n = np.split(s, 3, axis=-1)
    r, z = naive_sigmoid(i_r + h_r), naive_sigmoid(i_z + h_z)
    n = np.tanh(i_n + r * h_n)
    h = n - n * z + z * h
    states.append(h)
    mixing = naive_rows(mixing + p.get('drift', np.zeros((J, J))))
  return states


def naive_attention(p, x, heads, width):
  normed = np.stack([
      row / np.linalg.norm(row) * p['norm']['scale'] * math.sqrt(len(row))
      for row in np.float64(x)
  ])
  q, k, v = np.split(naive_linear(p['qkv'], normed), 3, axis=-1)
  out = np.zeros((J, heads * width))
  for head in range(heads):
    part = slice(head * width, (head + 1) * width)
    for i in range(J):
      logits = [q[i, part] @ k[j, part] / math.sqrt(width) for j in range(J)]
      weights = np.exp(logits) / np.exp(logits).sum()
      out[i, part] = sum(weights[j] * v[j, part] for j in range(J))
  return x + naive_linear(p['out'], out)


def naive_mix(p, x):
  normed = np.stack([
      row / np.linalg.norm(row) * p['norm']['scale'] * math.sqrt(len(row))
      for row in np.float64(x)
  ])
  return x + naive_linear(p['linear'], normed)


def naive_dense(p, x):
  return np.float64(x) @ np.float64(p['kernel']) + p['bias']


def naive_block(p, x, time):
  scale, shift = np.split(naive_dense(p['film'], time), 2)
  h = np.tanh(naive_linear(p['linear_0'], x) * (scale + 1) + shift)
  h = np.tanh(naive_linear(p['linear_1'], h))
  return h + (naive_linear(p['skip'], x) if 'skip' in p else x)


def naive_denoiser(p, x, condition, t, width, depth, heads, head_width):
  half = width // 2
  angles = [t * math.exp(-math.log(1e4) * i / (half - 1)) for i in range(half)]
  time = np.concatenate([np.sin(angles), np.cos(angles)])
  time = naive_dense(p['time']['hidden'], time)
  time = 0.5 * time * (1 + scipy.special.erf(time / math.sqrt(2)))
  time = np.tanh(naive_dense(p['time']['output'], time))
  x = naive_linear(p['input'], np.concatenate([condition, x], axis=-1))
  first = x
  for i in range(2 * depth):
    x = naive_block(p[f'block_{i}'], x, time)
    if i < 2 * depth - 1 and f'mix_{i}' in p:
      x = naive_mix(p[f'mix_{i}'], x)
    elif i < 2 * depth - 1:
      x = naive_attention(p[f'attention_{i}'], x, heads, head_width)
  x = naive_block(p['final_block'], np.concatenate([x, first], axis=-1), time)
  return naive_linear(p['output'], x)


@pytest.mark.parametrize('use_bias', [True, False])
def test_linear_is_eq_1(use_bias):
  x = noise(J, B, D)
  layer = graph.TypedGraphLinear(TYPES, 6, use_bias)
  variables = scrambled(layer, x)
  out = apply(layer, variables, x)
  for b in range(B):
    close(out[:, b], naive_linear(plain(variables), x[:, b]))


def test_linear_starts_as_released():
  layer = graph.TypedGraphLinear((0, 0, 1, 2), 48)
  params = layer.init(jax.random.key(0), jnp.zeros((4, 1, 32)))['params']
  bound = 1 / math.sqrt(48 * 32)
  for name in ('weight', 'bias'):
    assert 0.9 * bound < np.abs(params[name]).max() <= bound
  weight, bias = np.asarray(params['weight']), np.asarray(params['bias'])
  assert abs(weight[0].std() / (bound / math.sqrt(3)) - 1) < 0.1
  np.testing.assert_array_equal(weight, weight[:1].repeat(3, 0))
  assert not np.array_equal(bias[0], bias[1])
  np.testing.assert_array_equal(params['graph'], np.eye(4))


def test_recurrent_unit_starts_as_released():
  unit = recurrent.TypedGraphGRU(TYPES, 25, drifts=True)
  params = unit.init(jax.random.key(0), 3)['params']
  for name in ('input_weight', 'input_bias', 'state_weight', 'state_bias'):
    value = np.asarray(params[name])
    assert 0.9 * 0.2 < np.abs(value).max() <= 0.2
    assert not np.array_equal(value[0], value[1])
  np.testing.assert_array_equal(params['graph'], np.eye(J))
  assert not params['drift'].any()


def test_row_normalise_keeps_signs_and_survives_an_empty_row():
  rows = graph.row_normalise(jnp.array([[1.0, -3.0], [0.0, 0.0]]))
  np.testing.assert_array_equal(rows, [[0.25, -0.75], [0.0, 0.0]])


def states(unit, params, h, frames):
  """Run a unit over inputs [L, J, B, D] as the networks do."""
  cell = unit.apply({'params': params}, frames.shape[-1])
  matrices = recurrent.drifting(cell.graph, cell.drift, len(frames))

  def step(h, frame):
    x, matrix = frame
    h = recurrent.update(cell, matrix, h, recurrent.input_share(cell, x))
    return h, h

  return recurrent.unroll(step, h, (frames, matrices))[1]


@pytest.mark.parametrize('drifts', [True, False])
def test_recurrent_unit_is_eq_1_to_3(drifts):
  h, frames = noise(J, B, D), noise(4, J, B, 6, seed=2)
  unit = recurrent.TypedGraphGRU(TYPES, D, drifts)
  variables = scrambled(unit, 6)
  assert ('drift' in variables['params']) == drifts
  out = jax.jit(lambda p, h, x: states(unit, p, h, x))(
      variables['params'], h, frames
  )
  assert out.shape == (4, J, B, D)
  for b in range(B):
    expected = naive_gru(plain(variables), h[:, b], frames[:, :, b])
    close(out[:, :, b], expected, 1e-4)


def test_recurrent_unit_is_differentiated_as_the_naive_formula():
  # Central differences of the float64 formula, along random directions.
  h, x = noise(J, 1, D), noise(3, J, 1, 2, seed=2)
  unit = recurrent.TypedGraphGRU(TYPES, D, drifts=True)
  params = scrambled(unit, 2)['params']
  weights = np.random.default_rng(5).normal(size=(3, J, D))

  def naive(params, h, x):
    return np.sum(weights * naive_gru(params, h[:, 0], x[:, :, 0]))

  def loss(params, h, x):
    out = states(unit, params, h, x)
    return jnp.sum(weights.astype(np.float32) * out[:, :, 0])

  grads = jax.jit(jax.grad(loss, argnums=(0, 1, 2)))(params, h, x)
  args = jax.tree.map(np.float64, (params, h, x))
  leaves, tree = jax.tree.flatten(args)
  rng = np.random.default_rng(6)
  for i, (leaf, grad) in enumerate(zip(leaves, jax.tree.leaves(grads))):
    direction, sides = rng.normal(size=leaf.shape), []
    for sign in (1, -1):
      moved = [*leaves[:i], leaf + sign * 1e-5 * direction, *leaves[i + 1:]]
      sides.append(naive(*jax.tree.unflatten(tree, moved)))
    expected = (sides[0] - sides[1]) / 2e-5
    close(np.sum(grad * direction), expected, 1e-3)


def test_gradient_of_a_scan_keeps_the_states_alone():
  h, frames = noise(J, B, D), noise(50, J, B, D, seed=2)
  unit = recurrent.TypedGraphGRU(TYPES, D)
  params = scrambled(unit, D)['params']
  loss = lambda h: jnp.sum(states(unit, params, h, frames)[-1])  # noqa: E731
  jaxpr = jax.make_jaxpr(jax.grad(loss))(h)
  kept = sum(
      var.aval.shape == (50, J, B, D)
      for equation in jaxpr.eqns
      if equation.primitive.name == 'scan' and not equation.params['reverse']
      for var in equation.outvars
  )
  assert kept <= 3  # Inputs, states before and states after; not the gates.


def test_graph_drifts_by_eq_3():
  g, drift = noise(J, J), noise(J, J, seed=2)
  matrices = recurrent.drifting(jnp.asarray(g), jnp.asarray(drift), 5)
  expected = naive_rows(g)
  for matrix in matrices:
    close(matrix, expected)
    expected = naive_rows(expected + drift)
  still = recurrent.drifting(jnp.asarray(g), jnp.zeros((J, J)), 5)
  close(still, np.broadcast_to(naive_rows(g), still.shape), 1e-6)


def test_attention_is_eq_1_and_2():
  x = noise(J, B, 6)
  layer = attention.TypedGraphAttention(TYPES, heads=2, head_width=3)
  variables = scrambled(layer, x)
  out = apply(layer, variables, x)
  for b in range(B):
    close(out[:, b], naive_attention(plain(variables), x[:, b], 2, 3))


def test_norm_of_zero_is_zero_with_a_finite_gradient():
  layer = attention.RMSNorm()
  x = jnp.zeros((2, 3))
  variables = layer.init(jax.random.key(0), x)
  assert not apply(layer, variables, x).any()
  grad = jax.grad(lambda x: jnp.sum(apply(layer, variables, x)))(x)
  assert jnp.isfinite(grad).all()


def test_sinusoidal_layout():
  out = np.asarray(embed.sinusoidal(jnp.array([0, 7]), 6))
  np.testing.assert_array_equal(out[0], [0, 0, 0, 1, 1, 1])
  rates = [1.0, 0.01, 1e-4]
  close(out[1], [*np.sin(7 * np.array(rates)), *np.cos(7 * np.array(rates))])


def test_encoder_is_eq_1():
  motion = noise(B, 5, J, 3)
  encoder = Encoder(TYPES, D, layers=2)
  variables = scrambled(encoder, motion)
  out, p = apply(encoder, variables, motion), plain(variables)
  for b in range(B):
    h, x = naive_linear(p['start'], motion[b, 0]), motion[b]
    for layer in range(2):
      x = naive_gru(p[f'gru_{layer}'], h, x)
    close(out[b], np.tanh(naive_linear(p['readout'], x[-1])), 1e-4)


def test_encoder_ignores_frames_past_the_horizon():
  motion = jnp.asarray(noise(B, 6, J, 3))
  encoder = Encoder(TYPES, D)
  variables = scrambled(encoder, motion)
  horizon = np.array([6, 1, 4])
  out = apply(encoder, variables, motion, jnp.asarray(horizon))
  for b, frames in enumerate(horizon):
    close(out[b], apply(encoder, variables, motion[b:b + 1, :frames])[0], 1e-6)
  grad = jax.grad(
      lambda m: jnp.sum(apply(encoder, variables, m, jnp.asarray(horizon)))
  )(motion)
  used = np.arange(6)[None] < horizon[:, None]
  touched = np.abs(grad).max(axis=(2, 3))
  assert (touched[used] > 0).all() and not touched[~used].any()


def test_decoder_is_eq_2():
  past, z = noise(B, 4, J, 3), noise(B, J, D, seed=2)
  decoder = Decoder(TYPES, D)
  variables = scrambled(decoder, past, z, 5)
  out, p = apply(decoder, variables, past, z, 5), plain(variables)
  for b in range(B):
    h = naive_linear(p['start'], np.concatenate([past[b, -2], z[b]], -1))
    x = np.concatenate([past[b, -1], z[b]], -1)
    states = naive_gru(p['gru'], h, [x] * 5)
    close(out[b], [np.tanh(naive_linear(p['readout'], s)) for s in states],
          1e-4)


def test_decoder_takes_many_latents_of_one_past():
  past, z = noise(B, 4, J, 3), noise(B, 2, J, D, seed=2)
  decoder = Decoder(TYPES, D)
  variables = scrambled(decoder, past, z, 3)
  out = apply(decoder, variables, past, z, 3)
  assert out.shape == (B, 2, 3, J, 3)
  for k in range(2):
    close(out[:, k], apply(decoder, variables, past, z[:, k], 3), 1e-6)


SMALL = dict(latent=D, width=6, depth=2, heads=2, head_width=3)


@pytest.mark.parametrize('attends', [True, False])
def test_denoiser_is_eq_3_and_without_attention_eq_4(attends):
  xt, condition = noise(B, J, D), noise(B, J, D, seed=2)
  t = np.array([0, 3, 9])
  network = Denoiser(TYPES, attention=attends, **SMALL)
  variables = scrambled(network, xt, condition, t)
  between = {n for n in variables['params'] if n.startswith(('att', 'mix'))}
  word = 'attention' if attends else 'mix'
  assert between == {f'{word}_{i}' for i in range(3)}
  out = apply(network, variables, xt, condition, t)
  for b in range(B):
    expected = naive_denoiser(
        plain(variables), xt[b], condition[b], t[b], 6, 2, 2, 3
    )
    close(out[b], expected, 1e-4)


def test_denoiser_takes_many_latents_of_one_condition():
  xt, condition = noise(B, 2, J, D), noise(B, J, D, seed=2)
  t = np.array([0, 3, 9])
  network = Denoiser(TYPES, **SMALL)
  variables = scrambled(network, xt, condition, t)
  out = apply(network, variables, xt, condition, t)
  for k in range(2):
    close(out[:, k], apply(network, variables, xt[:, k], condition, t), 1e-5)


def mirrored_graphs(variables):
  """Make every learned graph symmetric under exchange of left and right."""
  flat = flatten_dict(variables)
  for path, value in flat.items():
    if path[-1] in ('graph', 'drift'):
      flat[path] = value + value[MIRROR][:, MIRROR]
  return unflatten_dict(flat)


@pytest.mark.parametrize('symmetric', [True, False])
def test_exchange_of_sides_is_equivariant_where_the_graphs_are(symmetric):
  past, z, t = noise(1, 3, J, 3), noise(1, J, D), np.array([4])
  for network, args, flipped in (
      (Encoder(TYPES, D), (past,), (past[:, :, MIRROR],)),
      (
          Decoder(TYPES, D),
          (past, z, 3),
          (past[:, :, MIRROR], z[:, MIRROR], 3),
      ),
      (
          Denoiser(TYPES, **SMALL),
          (z, z[:, ::-1], t),
          (z[:, MIRROR], z[:, ::-1][:, MIRROR], t),
      ),
  ):
    variables = scrambled(network, *args)
    if symmetric:
      variables = mirrored_graphs(variables)
    out, other = (apply(network, variables, *a) for a in (args, flipped))
    axis = 2 if isinstance(network, Decoder) else 1
    gap = np.abs(np.take(np.asarray(out), MIRROR, axis) - other).max()
    assert gap < 1e-5 if symmetric else gap > 1e-2


def test_bfloat16_changes_the_computation_but_not_parameters_or_outputs():
  past, z, t = noise(1, 3, J, 3), noise(1, J, D), np.array([4])
  for network, args in (
      (Encoder, (past,)), (Decoder, (past, z, 3)), (Denoiser, (z, z, t)),
  ):
    sizes = SMALL if network is Denoiser else {'width': D}
    full, half = network(TYPES, **sizes), network(
        TYPES, dtype='bfloat16', **sizes
    )
    shapes = jax.eval_shape(lambda k: half.init(k, *args), jax.random.key(0))
    for leaf in jax.tree.leaves(shapes):
      assert leaf.dtype == jnp.float32
    variables = jax.tree.map(lambda x: 0.5 * x, scrambled(half, *args))
    low, high = apply(half, variables, *args), apply(full, variables, *args)
    assert low.dtype == high.dtype == jnp.float32
    gap = np.abs(low - high).max()
    assert 0 < gap < 0.05 * max(1.0, np.abs(high).max())
    dots = [
        line for line in str(
            jax.make_jaxpr(lambda v: half.apply(v, *args))(variables)
        ).splitlines() if 'dot_general' in line and '=' in line
    ]
    assert dots and all(':bf16' in line.split('=')[0] for line in dots)


@pytest.mark.parametrize('name', SIZES)
def test_parameter_counts(name):
  types, layers, *counts = SIZES[name]
  key, t = jax.random.key(0), jnp.zeros((1,), jnp.int32)
  motion = jnp.zeros((1, 2, len(types), 3))
  z = jnp.zeros((1, len(types), 96))
  shapes = (
      jax.eval_shape(Encoder(types, layers=layers).init, key, motion),
      jax.eval_shape(
          lambda key: Decoder(types).init(key, motion, z, 1), key
      ),
      jax.eval_shape(Denoiser(types).init, key, z, z, t),
  )
  assert [
      sum(math.prod(x.shape) for x in jax.tree.leaves(tree)) for tree in shapes
  ] == counts


def test_gradients_are_finite_and_reach_every_parameter():
  past, z, t = noise(B, 3, J, 3), noise(B, J, D), np.array([0, 3, 9])
  for network, args in (
      (Encoder(TYPES, D), (past,)),
      (Decoder(TYPES, D), (past, z, 4)),
      (Denoiser(TYPES, **{**SMALL, 'depth': 1}), (z, z + 1, t)),
  ):
    variables = scrambled(network, *args)
    grads = jax.jit(jax.grad(
        lambda v: jnp.sum(jnp.square(network.apply(v, *args)))
    ))(variables)
    for path, grad in flatten_dict(grads).items():
      assert jnp.isfinite(grad).all() and jnp.abs(grad).max() > 0, path
