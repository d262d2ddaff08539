"""Import of released vocoders: every name and shape, the same function."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from diffax import signal
from diffax.errors import DataError
from diffax.errors import UserError
from diffax.nn.vocoder import low_pass
from diffax.nn.vocoder import Size
from diffax.nn.vocoder import SIZES
from diffax.systems import vocoder_import

BANDS = 5
CONFIG = {
    'resblock': '1',
    'upsample_rates': [2, 4],
    'upsample_kernel_sizes': [4, 8],
    'upsample_initial_channel': 8,
    'resblock_kernel_sizes': [3, 5],
    'resblock_dilation_sizes': [[1, 3], [1, 2]],
    'activation': 'snakebeta',
    'snake_logscale': True,
    'num_mels': BANDS,
    'n_fft': 32,
    'hop_size': 8,
    'win_size': 32,
    'sampling_rate': 8000,
    'fmin': 0,
    'fmax': None,
    'batch_size': 32,
}
SIZE = vocoder_import.size_of(CONFIG)


def normed(rng, name, shape):
  return {
      f'{name}.weight_g': 1 + rng.random((shape[0], *[1] * (len(shape) - 1))),
      f'{name}.weight_v': rng.normal(size=shape),
      f'{name}.bias': rng.normal(
          size=shape[1] if name.startswith('ups') else shape[0]
      ),
  }


def activation(rng, name, width, kinds=('alpha', 'beta')):
  taps = low_pass()[None, None]
  return {f'{name}.act.{kind}': rng.normal(size=width) for kind in kinds} | {
      f'{name}.upsample.filter': taps,
      f'{name}.downsample.lowpass.filter': taps,
  }


def released(size: Size = SIZE):
  """Return a state dict as the released code would save it."""
  rng = np.random.default_rng(0)
  kinds = ('alpha', 'beta') if size.activation == 'snakebeta' else ('alpha',)
  state = normed(rng, 'conv_pre', (size.width, BANDS, 7))
  width = size.width
  for i, taps in enumerate(size.kernels):
    state |= normed(rng, f'ups.{i}.0', (width, width // 2, taps))
    width //= 2
    for j, (kernel, dilations) in enumerate(zip(size.blocks, size.dilations)):
      name = f'resblocks.{i * len(size.blocks) + j}'
      lists = ('convs1', 'convs2') if size.pairs else ('convs',)
      for d in range(len(dilations)):
        for convs in lists:
          state |= normed(rng, f'{name}.{convs}.{d}', (width, width, kernel))
      for a in range(len(lists) * len(dilations)):
        state |= activation(rng, f'{name}.activations.{a}', width, kinds)
  state |= activation(rng, 'activation_post', width, kinds)
  state |= normed(rng, 'conv_post', (1, width, 7))
  if not size.bias:
    del state['conv_post.bias']
  return {
      # Small weights, so that the wave stays off its bounds.
      name: np.float32(value * (0.1 if name.endswith('_g') else 1))
      for name, value in state.items()
  }


def reference(state, size, log_mels):
  """Compute a wave with PyTorch's layers: `[B, M, T]` to `[B, N]`."""
  torch = pytest.importorskip('torch')
  conv = torch.nn.functional
  state = {name: torch.from_numpy(value) for name, value in state.items()}

  def weight(name):
    return torch._weight_norm(
        state[f'{name}.weight_v'], state[f'{name}.weight_g'], 0
    )

  def convolve(x, name, dilation=1):
    w = weight(name)
    return conv.conv1d(
        x, w, state.get(f'{name}.bias'), dilation=dilation,
        padding=(w.shape[-1] - 1) * dilation // 2
    )

  def activate(x, name):
    taps = state[f'{name}.upsample.filter'].expand(x.shape[1], -1, -1)
    x = conv.pad(x, (5, 5), mode='replicate')
    x = 2 * conv.conv_transpose1d(x, taps, stride=2, groups=x.shape[1])
    x = x[..., 15:-15]
    alpha = state[f'{name}.act.alpha'][None, :, None]
    beta = state.get(f'{name}.act.beta', alpha.ravel())[None, :, None]
    if size.logarithmic:
      alpha, beta = alpha.exp(), beta.exp()
    x = x + torch.sin(alpha * x) ** 2 / (beta + 1e-9)
    x = conv.pad(x, (5, 6), mode='replicate')
    return conv.conv1d(x, taps, stride=2, groups=x.shape[1])

  def block(x, name, dilations):
    for d, dilation in enumerate(dilations):
      if size.pairs:
        y = activate(x, f'{name}.activations.{2 * d}')
        y = convolve(y, f'{name}.convs1.{d}', dilation)
        y = activate(y, f'{name}.activations.{2 * d + 1}')
        y = convolve(y, f'{name}.convs2.{d}')
      else:
        y = activate(x, f'{name}.activations.{d}')
        y = convolve(y, f'{name}.convs.{d}', dilation)
      x = x + y
    return x

  x = convolve(torch.from_numpy(log_mels), 'conv_pre')
  for i, (rate, taps) in enumerate(zip(size.rates, size.kernels)):
    x = conv.conv_transpose1d(
        x, weight(f'ups.{i}.0'), state[f'ups.{i}.0.bias'], stride=rate,
        padding=(taps - rate) // 2
    )
    x = sum(
        block(x, f'resblocks.{i * len(size.blocks) + j}', dilations)
        for j, dilations in enumerate(size.dilations)
    ) / len(size.blocks)
  x = convolve(activate(x, 'activation_post'), 'conv_post')[:, 0]
  return (torch.tanh(x) if size.tanh else x.clamp(-1, 1)).numpy()


@pytest.mark.parametrize('size', [
    SIZE,
    SIZE._replace(activation='snake', logarithmic=False, pairs=False,
                  bias=False, tanh=False, rates=(4, 2), kernels=(6, 2)),
])
def test_the_imported_generator_computes_the_released_function(size):
  state = released(size)
  if not size.logarithmic:
    state = {name: np.abs(value) + 0.3 if name.endswith('alpha') else value
             for name, value in state.items()}
  log_mels = np.random.default_rng(1).normal(size=(2, 6, BANDS))
  log_mels = np.float32(log_mels)
  wanted = reference(state, size, log_mels.swapaxes(1, 2))
  params = vocoder_import.generator_params(state, size, BANDS)
  mel = signal.Mel(8000, 32, 8, BANDS, 0.0, 4000.0, 'ln')
  made = vocoder_import.vocoder.bigvgan(mel, size=size)
  found = jax.jit(made.apply)(params, log_mels, jax.random.key(0))
  assert found.shape == wanted.shape == (2, 48)
  assert wanted.std() > 1e-3
  np.testing.assert_allclose(found, wanted, atol=2e-5)


def test_every_number_is_used_once():
  state = released()
  params = vocoder_import.generator_params(state, SIZE, BANDS)
  ours = np.concatenate([np.ravel(x) for x in jax.tree.leaves(params)])
  theirs = np.concatenate([
      x.ravel() for name, x in vocoder_import.fold(state).items()
      if not name.endswith('filter')
  ])
  np.testing.assert_array_equal(np.sort(ours), np.sort(theirs))


def test_names_of_new_pytorch_and_folded_weights_mean_the_same():
  old = released()
  new = {
      name.replace('weight_g', 'parametrizations.weight.original0').replace(
          'weight_v', 'parametrizations.weight.original1'): value
      for name, value in old.items()
  }
  plain = vocoder_import.fold(old)
  assert 'conv_pre.weight' in plain and 'conv_pre.weight_g' not in plain
  g, v = old['ups.0.0.weight_g'], old['ups.0.0.weight_v']
  norms = np.linalg.norm(v.reshape(len(v), -1), axis=1)
  np.testing.assert_allclose(
      plain['ups.0.0.weight'], g * v / norms[:, None, None], rtol=1e-6
  )
  trees = [vocoder_import.generator_params(state, SIZE, BANDS)
           for state in (old, new, plain)]
  jax.tree.map(np.testing.assert_array_equal, trees[0], trees[1])
  jax.tree.map(np.testing.assert_array_equal, trees[0], trees[2])


def test_a_release_is_loaded_from_its_folder(tmp_path):
  torch = pytest.importorskip('torch')
  state = released()
  tensors = {name: torch.from_numpy(value) for name, value in state.items()}
  (tmp_path / 'config.json').write_text(json.dumps(CONFIG))
  torch.save({'generator': tensors}, tmp_path / 'g_05000000')
  safetensors.numpy.save_file(state, tmp_path / 'g.safetensors')
  for name in ('g_05000000', 'g.safetensors'):
    found = vocoder_import.load(tmp_path / name)
    assert found.vocoder.mel == signal.Mel(
        8000, 32, 8, BANDS, 0.0, 4000.0, 'ln'
    )
    wanted = jax.eval_shape(found.vocoder.init, jax.random.key(0))
    assert jax.tree.map(jnp.shape, found.params) == jax.tree.map(
        lambda leaf: leaf.shape, wanted
    )


def test_weights_of_another_mel_are_refused(tmp_path):
  (tmp_path / 'config.json').write_text(json.dumps(CONFIG))
  safetensors.numpy.save_file(released(), tmp_path / 'g.safetensors')
  with pytest.raises(UserError) as error:
    vocoder_import.load(tmp_path / 'g.safetensors', mel=signal.MAA)
  for part in ('g.safetensors', 'rate: expected 8000, found 16000',
               'bands: expected 5, found 80', 'hop: expected 8, found 256',
               "log: expected 'ln', found 'log10'"):
    assert part in str(error.value)
  log10 = vocoder_import.load(tmp_path / 'g.safetensors', log='log10')
  assert log10.vocoder.mel.log == 'log10'


@pytest.mark.parametrize('name', sorted(set(SIZES) & set(signal.MELS)))
def test_sizes_and_mels_of_a_release_fit(name):
  made = vocoder_import.vocoder.bigvgan(name, size=name)
  assert SIZES[name].hop == made.mel.hop == signal.MELS[name].hop


def broken(change):
  state = released()
  change(state)
  return state


@pytest.mark.parametrize('change, words', [
    (lambda s: s.pop('conv_post.bias'), r"missing \['conv_post.bias'\]"),
    (lambda s: s.update({'extra': np.zeros(1)}), r"unexpected \['extra'\]"),
    (lambda s: s.pop('ups.1.0.weight_g'), 'ups.1.0.weight_g: .*found none'),
    (lambda s: s.update({'conv_pre.bias': np.zeros(9)}),
     r'conv_pre.bias: .*\(8,\), found shape \(9,\)'),
    (lambda s: s.update({'conv_pre.weight_v': np.zeros((8, BANDS, 7))}),
     'conv_pre.weight_v: .*zeros'),
    (lambda s: s.update({'activation_post.upsample.filter': np.ones(12)}),
     'activation_post.upsample.filter: .*low-pass'),
])
def test_what_is_wrong_with_weights_is_named(change, words):
  with pytest.raises(DataError, match=words):
    vocoder_import.generator_params(broken(change), SIZE, BANDS, file='g.pt')


@pytest.mark.parametrize('change, words', [
    ({'win_size': 16}, 'win_size: expected n_fft, 32, found 16'),
    ({'hop_size': 64}, 'mel: .*hop'),
    ({'activation': 'relu'}, 'size: .*activation'),
    ({'upsample_kernel_sizes': [5, 8]}, 'size: .*kernels'),
    ({'num_mels': None}, 'mel: '), ({'sampling_rate': '8k'}, 'mel: '),
    ({'upsample_rates': 4}, 'size: '),
])
def test_what_is_wrong_with_a_config_is_named(change, words):
  config = CONFIG | change
  with pytest.raises(DataError, match=words):
    vocoder_import.size_of(config)
    vocoder_import.mel_of(config)


def test_files_that_cannot_be_read_are_named(tmp_path):
  with pytest.raises(DataError, match='config.json: file: .*make_an_audio'):
    vocoder_import.load(tmp_path / 'g.pt')
  (tmp_path / 'config.json').write_text('{"resblock":')
  with pytest.raises(DataError, match='config.json: content: expected JSON'):
    vocoder_import.load(tmp_path / 'g.pt')
  (tmp_path / 'config.json').write_text('{"resblock": "1"}')
  with pytest.raises(DataError, match='upsample_rates: expected a value'):
    vocoder_import.load(tmp_path / 'g.pt')
  with pytest.raises(DataError, match='g.pt: file'):
    vocoder_import.load(tmp_path / 'g.pt', name='make_an_audio')
  (tmp_path / 'g.pt').write_bytes(b'no checkpoint')
  pytest.importorskip('torch')
  with pytest.raises(DataError, match='g.pt: content'):
    vocoder_import.load(tmp_path / 'g.pt', name='make_an_audio')
