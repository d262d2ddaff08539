"""VGGish: its sizes, its front end, and the import of both published forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.errors import DataError
from diffax.errors import UserError
from diffax.nn import vggish

SMALL = vggish.VGGish((2, 3, 4, 5), 6, 7)
CONVS = (0, 3, 6, 8, 11, 13)
SIZES = (1, 2, 3, 4, 4, 5, 5)


def torch_state(seed=0):
  """Weights under the published names of PyTorch."""
  rng = np.random.default_rng(seed)
  state = {}
  for number, inputs, outputs in zip(CONVS, SIZES, SIZES[1:]):
    state[f'features.{number}.weight'] = rng.normal(
        size=(outputs, inputs, 3, 3)
    )
    state[f'features.{number}.bias'] = rng.normal(size=outputs)
  for number, (inputs, outputs) in zip(
      (0, 2, 4), ((6 * 4 * 5, 6), (6, 6), (6, 7))
  ):
    state[f'embeddings.{number}.weight'] = rng.normal(size=(outputs, inputs))
    state[f'embeddings.{number}.bias'] = rng.normal(size=outputs)
  return {name: np.float32(0.3 * value) for name, value in state.items()}


def tensorflow_state(state):
  """The same numbers under the names of the TensorFlow checkpoint."""
  found = {'vggish/pca': np.zeros(3, np.float32)}
  ours = vggish.convert(state, SMALL)['params']
  for layer, name in zip(ours, vggish._TENSORFLOW, strict=True):
    found[f'vggish/{name}/weights'] = ours[layer]['kernel']
    found[f'vggish/{name}/biases'] = ours[layer]['bias']
  return found


def test_the_published_size():
  shapes = jax.eval_shape(
      vggish.VGGish().init, jax.random.key(0), jnp.zeros((1, 96, 64))
  )
  count = sum(leaf.size for leaf in jax.tree.leaves(shapes))
  # Six convolutions and three dense layers, summed by hand.
  convs = ((1, 64), (64, 128), (128, 256), (256, 256), (256, 512), (512, 512))
  dense = ((6 * 4 * 512, 4096), (4096, 4096), (4096, 128))
  assert count == 72_141_184 == sum(9 * a * b + b for a, b in convs) + sum(
      a * b + b for a, b in dense
  )


def test_imported_weights_compute_what_pytorch_does():
  torch = pytest.importorskip('torch')
  x = np.random.default_rng(1).normal(size=(2, 96, 64)).astype(np.float32)
  state = torch_state()
  tensors = {name: torch.from_numpy(v) for name, v in state.items()}
  h = torch.from_numpy(x)[:, None]
  for number in CONVS:
    h = torch.nn.functional.conv2d(
        h, tensors[f'features.{number}.weight'],
        tensors[f'features.{number}.bias'], padding=1
    ).relu()
    if number in (0, 3, 8, 13):
      h = torch.nn.functional.max_pool2d(h, 2)
  h = h.permute(0, 2, 3, 1).reshape(2, -1)
  for number in (0, 2, 4):
    h = torch.nn.functional.linear(
        h, tensors[f'embeddings.{number}.weight'],
        tensors[f'embeddings.{number}.bias']
    )
    h = h.relu() if number < 4 else h
  found = SMALL.apply(vggish.convert(state, SMALL), x)
  assert np.abs(h.numpy()).max() > 0.1
  np.testing.assert_allclose(found, h.numpy(), rtol=1e-4, atol=1e-4)


def test_both_published_forms_are_one():
  state = torch_state()
  first = vggish.convert(state, SMALL)
  second = vggish.convert(tensorflow_state(state), SMALL)
  jax.tree.map(np.testing.assert_array_equal, first, second)


def test_wrong_weights_are_named():
  state = torch_state()
  del state['features.6.bias']
  with pytest.raises(DataError, match='features.6.bias.*1 are missing'):
    vggish.convert(state, SMALL, 'w.pth')
  state = torch_state() | {'features.3.bias': np.zeros(9)}
  with pytest.raises(DataError, match=r'features.3.bias: expected \(3,\)'):
    vggish.convert(state, SMALL)
  with pytest.raises(DataError, match='18 names of VGGish'):
    vggish.convert({'weights': np.zeros(3)})


def test_examples_hold_096_seconds_each():
  wave = np.zeros(3 * 16000)
  assert vggish.examples(wave).shape == (3, 96, 64)
  np.testing.assert_allclose(vggish.examples(wave), np.log(0.01), rtol=1e-6)
  with pytest.raises(UserError, match='15600 samples'):
    vggish.examples(np.zeros(15599))
  with pytest.raises(UserError, match=r'\[2, 16000\]'):
    vggish.examples(np.zeros((2, 16000)))


def test_a_tone_sounds_in_its_band():
  time = np.arange(16000) / 16000
  mel = vggish.examples(np.sin(2 * np.pi * 1000 * time))[0]
  low, high = 1127 * np.log1p(np.array([125, 7500]) / 700)
  place = (1127 * np.log1p(1000 / 700) - low) / (high - low) * 65 - 1
  assert abs(mel.mean(0).argmax() - place) < 1
  # A full-scale tone has the magnitude sum(window) / 2 = 100 in its bin.
  assert 3.5 < mel.max() < np.log(200)


def test_filters_are_triangles_on_the_scale_of_pitch():
  weights = vggish.filters()
  assert weights.shape == (257, 64) and (weights >= 0).all()
  assert (weights[0] == 0).all() and (weights.sum(0) > 0).all()
  hertz = np.linspace(0, 8000, 257)
  outside = (hertz < 125) | (hertz > 7500)
  assert (weights[outside] == 0).all()
  # Between the first and the last centre the triangles add up to one.
  scale = 1127 * np.log1p(hertz / 700)
  low, high = 1127 * np.log1p(np.array([125, 7500]) / 700)
  step = (high - low) / 65
  inside = (scale > low + step) & (scale < high - step)
  np.testing.assert_allclose(weights[inside].sum(1), 1, rtol=1e-9)
