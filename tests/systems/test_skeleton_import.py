"""Import of released weights: every name, every shape, the same function."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from diffax.errors import DataError
from diffax.errors import UserError
from diffax.nn.skeleton import Decoder
from diffax.nn.skeleton import Denoiser
from diffax.nn.skeleton import Encoder
from diffax.systems import skeleton_import

TYPES = (0, 0, 1, 2, 2)
J, KINDS, H = 5, 3, 4
W, E, INNER = 6, 24, 6  # Width, time features and heads x head width.
DENOISER = dict(latent=H, width=W, depth=2, heads=2, head_width=3)


def typed(name, inputs, features, bias=True):
  shapes = {
      f'{name}.G': (J, J), f'{name}.weight': (KINDS, features, inputs)
  }
  return shapes | ({f'{name}.bias': (KINDS, features)} if bias else {})


def dense(name, inputs, features):
  return {f'{name}.weight': (features, inputs), f'{name}.bias': (features,)}


def cell(name, inputs):
  return {
      f'{name}.G': (J, J),
      f'{name}.weight_ih': (KINDS, 3 * H, inputs),
      f'{name}.weight_hh': (KINDS, 3 * H, H),
      f'{name}.bias_ih': (KINDS, 3 * H),
      f'{name}.bias_hh': (KINDS, 3 * H),
  }


def filled(shapes):
  rng = np.random.default_rng(0)
  return {
      name: (0.4 * rng.normal(size=shape)).astype(np.float32)
      for name, shape in shapes.items()
  }


@pytest.fixture
def autoencoder():
  return filled(
      typed('encoder.initial_hidden1', 3, H)
      | typed('encoder.fc', H, H)
      | cell('encoder.rnn.layers.0', 3)
      | cell('encoder.rnn.layers.1', H)
      | typed('decoder.initial_hidden_h', 3 + H, H)
      | typed('decoder.fc', H, 3)
      | cell('decoder.rnn.layers.0', 3 + H)
      | {'decoder.rnn.layers.0.G_add': (J, J)}
  )


def block(name, inputs):
  return (
      dense(f'{name}.mlp.1', E, 2 * W)
      | typed(f'{name}.block1.proj', inputs, W)
      | typed(f'{name}.block2.proj', W, W)
  )


@pytest.fixture
def denoiser():
  shapes = (
      typed('model.init_lin', 2 * H, W)
      | dense('model.time_mlp.1', W, E)
      | dense('model.time_mlp.3', E, E)
      | block('model.final_res_block', 2 * W)
      | typed('model.final_res_block.res_linear', 2 * W, W, bias=False)
      | typed('model.final_glin', W, H)
      | {'betas': (10,), 'Lambda_bar_t': (10, J)}
  )
  for i in range(4):
    shapes |= block(f'model.layers.{i}.0', W)
  for i in range(3):
    name = f'model.layers.{i}.1.fn'
    shapes |= {f'{name}.norm.g': (1, W)}
    shapes |= typed(f'{name}.fn.to_qkv', W, 3 * INNER, bias=False)
    shapes |= typed(f'{name}.fn.to_out', INNER, W, bias=False)
  return filled(shapes)


def test_every_number_of_the_autoencoder_is_used_once(autoencoder):
  params = skeleton_import.autoencoder_params(autoencoder, TYPES, width=H)
  ours = np.concatenate([np.ravel(x) for x in jax.tree.leaves(params)])
  theirs = np.concatenate([x.ravel() for x in autoencoder.values()])
  np.testing.assert_array_equal(np.sort(ours), np.sort(theirs))


def test_every_number_of_the_denoiser_is_used_once(denoiser):
  params = skeleton_import.denoiser_params(denoiser, TYPES, **DENOISER)
  ours = np.concatenate([np.ravel(x) for x in jax.tree.leaves(params)])
  theirs = np.concatenate([
      x.ravel() for name, x in denoiser.items() if name.startswith('model.')
  ])
  np.testing.assert_array_equal(np.sort(ours), np.sort(theirs))


def released_linear(state, name, x):
  """Multiply as the released layer does: [O, D] weights of each joint."""
  mixing = state[f'{name}.G']
  mixing = mixing / np.abs(mixing).sum(1, keepdims=True)
  weight = state[f'{name}.weight'][list(TYPES)]
  y = np.einsum('joi,...ji->...jo', weight, x)
  if f'{name}.bias' in state:
    y = y + state[f'{name}.bias'][list(TYPES)]
  return np.einsum('ij,...jo->...io', mixing, y)


def sigmoid(x):
  return 1 / (1 + np.exp(-x))


def released_step(state, name, h, x, mixing):
  def share(kind, x):
    weight = state[f'{name}.weight_{kind}'][list(TYPES)]
    bias = state[f'{name}.bias_{kind}'][list(TYPES)]
    return mixing @ (np.einsum('joi,ji->jo', weight, x) + bias)

  i_r, i_z, i_n = np.split(share('ih', x), 3, -1)
  h_r, h_z, h_n = np.split(share('hh', h), 3, -1)
  r, z = sigmoid(i_r + h_r), sigmoid(i_z + h_z)
  n = np.tanh(i_n + r * h_n)
  return n - n * z + z * h


def rows(matrix):
  return matrix / np.abs(matrix).sum(1, keepdims=True)


def test_imported_encoder_computes_the_released_function(autoencoder):
  params = skeleton_import.autoencoder_params(autoencoder, TYPES, width=H)
  motion = np.random.default_rng(1).normal(size=(4, J, 3)).astype(np.float32)
  frames = list(motion)
  start = released_linear(autoencoder, 'encoder.initial_hidden1', motion[0])
  for layer in range(2):
    name, h = f'encoder.rnn.layers.{layer}', start
    mixing = rows(autoencoder[f'{name}.G'])
    for i, x in enumerate(frames):
      frames[i] = h = released_step(autoencoder, name, h, x, mixing)
  expected = np.tanh(released_linear(autoencoder, 'encoder.fc', frames[-1]))
  z = jax.jit(Encoder(TYPES, H).apply)(params['encoder'], motion[None])[0]
  np.testing.assert_allclose(z, expected, atol=2e-5)


def test_imported_decoder_computes_the_released_function(autoencoder):
  params = skeleton_import.autoencoder_params(autoencoder, TYPES, width=H)
  rng = np.random.default_rng(1)
  past, z = rng.normal(size=(3, J, 3)), rng.normal(size=(J, H))
  name = 'decoder.rnn.layers.0'
  x = np.concatenate([past[-1], z], -1)
  h = released_linear(
      autoencoder, 'decoder.initial_hidden_h',
      np.concatenate([past[-2], z], -1),
  )
  mixing, expected = rows(autoencoder[f'{name}.G']), []
  for _ in range(3):
    h = released_step(autoencoder, name, h, x, mixing)
    mixing = rows(mixing + autoencoder[f'{name}.G_add'])
    expected.append(np.tanh(released_linear(autoencoder, 'decoder.fc', h)))
  decode = jax.jit(lambda past, z: Decoder(TYPES, H).apply(
      params['decoder'], past[None], z[None], 3
  )[0])
  out = decode(jnp.float32(past), jnp.float32(z))
  np.testing.assert_allclose(out, expected, atol=2e-5)


def test_imported_denoiser_has_the_layout_of_the_module(denoiser):
  params = skeleton_import.denoiser_params(denoiser, TYPES, **DENOISER)
  z, t = jnp.ones((1, J, H)), jnp.zeros((1,), jnp.int32)
  network = Denoiser(TYPES, **DENOISER)
  shapes = jax.eval_shape(network.init, jax.random.key(0), z, z, t)
  assert jax.tree.map(jnp.shape, params) == jax.tree.map(
      lambda x: x.shape, shapes
  )
  block = params['params']['final_block']
  for ours, theirs in (
      (block['linear_1'], 'model.final_res_block.block2.proj'),
      (params['params']['block_3']['linear_0'], 'model.layers.3.0.block1.proj'),
      (params['params']['attention_2']['qkv'], 'model.layers.2.1.fn.fn.to_qkv'),
  ):
    np.testing.assert_array_equal(
        ours['weight'].swapaxes(1, 2), denoiser[f'{theirs}.weight']
    )
    np.testing.assert_array_equal(ours['graph'], denoiser[f'{theirs}.G'])
  np.testing.assert_array_equal(
      params['params']['time']['output']['kernel'].T,
      denoiser['model.time_mlp.3.weight'],
  )


def test_missing_and_unexpected_names_are_named(autoencoder):
  autoencoder['encoder.extra'] = autoencoder.pop('decoder.rnn.layers.0.G_add')
  with pytest.raises(DataError) as error:
    skeleton_import.autoencoder_params(
        autoencoder, TYPES, width=H, file='best.pt'
    )
  for word in (
      'best.pt', "missing ['decoder.rnn.layers.0.G_add']",
      "unexpected ['encoder.extra']",
  ):
    assert word in str(error.value)


def test_a_wrong_number_of_layers_is_an_error(autoencoder):
  with pytest.raises(DataError, match=r'encoder\.rnn\.layers\.1\.G'):
    skeleton_import.autoencoder_params(
        autoencoder, TYPES, width=H, encoder_layers=1
    )


@pytest.mark.parametrize('name', ['model.init_lin.weight', 'model.init_lin.G'])
def test_a_wrong_shape_is_an_error(denoiser, name):
  denoiser[name] = denoiser[name][..., :-1]
  with pytest.raises(DataError, match=f'{name}: expected shape'):
    skeleton_import.denoiser_params(denoiser, TYPES, **DENOISER)


def test_an_autoencoder_is_no_denoiser(autoencoder):
  with pytest.raises(DataError, match='missing .*model.final_glin'):
    skeleton_import.denoiser_params(autoencoder, TYPES, **DENOISER)


@pytest.mark.parametrize('suffix', ['.safetensors', '.npz'])
def test_state_is_read_from_files(autoencoder, tmp_path, suffix):
  path = tmp_path / f'state{suffix}'
  if suffix == '.npz':
    np.savez(path, **autoencoder)
  else:
    safetensors.numpy.save_file(autoencoder, path)
  state = skeleton_import.read_state(path)
  assert state.keys() == autoencoder.keys()
  for name, value in state.items():
    np.testing.assert_array_equal(value, autoencoder[name])


def test_state_is_read_from_a_released_checkpoint(autoencoder, tmp_path):
  torch = pytest.importorskip('torch')
  path = tmp_path / 'checkpoint.pt'
  tensors = {k: torch.from_numpy(v) for k, v in autoencoder.items()}
  torch.save(
      {
          'model': tensors,
          'opt': {'state': {}},
          'random_states': (torch.get_rng_state(), np.random.get_state()),
      },
      path,
  )
  state = skeleton_import.read_state(path)
  for name, value in state.items():
    np.testing.assert_array_equal(value, autoencoder[name])


def test_unreadable_files_are_named(tmp_path):
  with pytest.raises(UserError, match=r"\.npz.*found '\.bin'"):
    skeleton_import.read_state(tmp_path / 'state.bin')
  with pytest.raises(DataError, match='absent.npz: file: expected a file'):
    skeleton_import.read_state(tmp_path / 'absent.npz')
  for suffix in ('.npz', '.safetensors'):
    path = tmp_path / f'broken{suffix}'
    path.write_bytes(b'not arrays')
    with pytest.raises(DataError, match=f'broken{suffix}: content'):
      skeleton_import.read_state(path)
