"""Transforms against SciPy, and the images that networks see."""

import jax
import numpy as np
import pytest
import scipy.signal

from diffax import signal
from diffax.errors import UserError

CASES = [
    (160, 22, 2, 'periodic', 'spectrum'),
    (160, 22, 2, 'symmetric', 'spectrum'),
    (160, 22, 2, 'periodic', 'none'),
    (101, 16, 4, 'periodic', 'spectrum'),
    (57, 9, 3, 'symmetric', 'none'),
]


def windows(count=3, length=160, channels=6, seed=0):
  rng = np.random.default_rng(seed)
  return np.float32(rng.normal(size=(count, length, channels)))


def scipy_settings(size, hop, window):
  weights = scipy.signal.get_window('hann', size, fftbins=window == 'periodic')
  return weights, {
      'window': weights, 'nperseg': size, 'noverlap': size - hop,
  }


@pytest.mark.parametrize('length, size, hop, window, scaling', CASES)
def test_it_equals_scipy(length, size, hop, window, scaling):
  x = np.swapaxes(windows(2, length, 3), 1, 2)
  weights, settings = scipy_settings(size, hop, window)
  factor = weights.sum() if scaling == 'none' else 1.0
  want = scipy.signal.stft(x, **settings)[2] * factor
  options = {'size': size, 'hop': hop, 'window': window, 'scaling': scaling}
  found = jax.jit(lambda x: signal.stft(x, **options))(x)
  assert found.shape == want.shape
  assert found.shape[-1] == signal.frame_count(length, size, hop)
  np.testing.assert_allclose(found, want, atol=1e-5 * factor)

  # A spectrum that no signal has tests the least-squares inverse.
  rng = np.random.default_rng(1)
  noise = rng.normal(size=want.shape) + 1j * rng.normal(size=want.shape)
  noise = np.complex64(noise)
  want = scipy.signal.istft(noise / factor, **settings)[1]
  back = jax.jit(lambda z: signal.istft(z, **options))(noise)
  assert back.shape == want.shape
  np.testing.assert_allclose(back, want, atol=1e-5 * np.abs(want).max())
  restored = signal.istft(found, **options)[..., :length]
  np.testing.assert_allclose(restored, x, atol=2e-6)


@pytest.mark.parametrize('window', signal.WINDOWS)
def test_the_default_image_restores_every_sample(window):
  x = windows()
  layout = signal.Spectrogram(window=window)
  image = jax.jit(layout.to_image)(x)
  assert image.shape == (3, *layout.shape(160, 6)) == (3, 12, 82, 12)
  invert = jax.jit(layout.to_window, static_argnums=1)
  back = invert(image, 160)
  np.testing.assert_allclose(back, x, atol=2e-6)
  # The frame that was added does not count.
  changed = invert(image.at[:, :, 81].add(1.0), 160)
  np.testing.assert_array_equal(changed, back)
  np.testing.assert_array_equal(image[:, :, 81], image[:, :, 79])


def test_the_image_of_the_paper_loses_two_samples():
  x = windows()
  layout = signal.Spectrogram(frames=80)
  image = layout.to_image(x)
  assert image.shape == (3, 12, 80, 12)
  back = layout.to_window(image, 160)
  np.testing.assert_allclose(back[:, :158], x[:, :158], atol=2e-6)
  np.testing.assert_array_equal(back[:, 158:], back[:, [157, 157]])


def test_channels_are_those_of_their_axis():
  x = windows()
  image = signal.Spectrogram().to_image(x)
  spectrum = signal.stft(np.swapaxes(x, 1, 2))
  for axis in range(6):
    np.testing.assert_array_equal(
        image[:, :, :81, 2 * axis], spectrum[:, axis].real
    )
    np.testing.assert_array_equal(
        image[:, :, :81, 2 * axis + 1], spectrum[:, axis].imag
    )


@pytest.mark.parametrize('size, constant', [(22, 2), (21, 1)])
def test_the_mask_marks_what_is_always_zero(size, constant):
  layout = signal.Spectrogram(size=size)
  mask = layout.mask(6)
  image = np.abs(layout.to_image(windows()))
  assert mask.shape == (size // 2 + 1, 1, 12)
  assert np.sum(~mask) == 6 * constant
  still = image.max((0, 2)) < 1e-7
  np.testing.assert_array_equal(still, ~mask[:, 0])
  # What a network writes there is lost.
  noise = np.random.default_rng(0).normal(size=image.shape)
  noisy = image + np.float32(noise * ~mask[None])
  np.testing.assert_array_equal(
      layout.to_window(noisy, 160), layout.to_window(image, 160)
  )


def test_samples_may_be_images_themselves():
  x = windows()
  layout = signal.LAYOUTS['time']()
  image = layout.to_image(x)
  assert image.shape == (3, *layout.shape(160, 6)) == (3, 1, 160, 6)
  np.testing.assert_array_equal(layout.to_window(image, 160), x)
  assert layout.mask(6).all()


@pytest.mark.parametrize('settings, words', [
    ({'window': 'hamming'}, 'window'),
    ({'scaling': 'psd'}, 'scaling'),
    ({'hop': 12}, 'hop'),
    ({'frames': 200}, 'frames'),
])
def test_wrong_settings_are_named(settings, words):
  with pytest.raises(UserError, match=words):
    signal.Spectrogram(**settings).to_image(windows())


@pytest.mark.parametrize('size, hop', [(6, 2), (7, 3), (5, 5), (8, 3)])
def test_adding_frames_is_the_transpose_of_cutting_them(size, hop):
  rng = np.random.default_rng(0)
  x = np.float32(rng.normal(size=(2, 23)))
  cut = jax.jit(signal.frame, static_argnums=(1, 2))(x, size, hop)
  assert cut.shape == (2, (23 - size) // hop + 1, size)
  for n in range(cut.shape[1]):
    np.testing.assert_array_equal(cut[:, n], x[:, n * hop:n * hop + size])
  frames = np.float32(rng.normal(size=cut.shape))
  added = jax.jit(signal.overlap_add, static_argnums=1)(frames, hop)
  assert added.shape == (2, (cut.shape[1] - 1) * hop + size)
  used = x[:, :added.shape[1]]
  np.testing.assert_allclose(
      np.sum(cut * frames), np.sum(used * added), rtol=1e-5
  )
