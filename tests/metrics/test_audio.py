"""Fréchet distance of sounds, named after what it listens with."""

import numpy as np
import pytest

from diffax.errors import UserError
from diffax.metrics import audio
from diffax.metrics import distribution


def bands(wave):
  """Log energy of four bands in frames of 400 samples."""
  frames = wave[:len(wave) // 400 * 400].reshape(-1, 400)
  power = np.abs(np.fft.rfft(frames)) ** 2
  parts = np.array_split(power, 4, axis=1)
  return np.log(1e-3 + np.stack([x.sum(1) for x in parts], 1))


PROXY = audio.Embedding('band energies', bands)


def waves(count, colour=0.0, seed=0):
  rng = np.random.default_rng(seed)
  noise = rng.normal(size=(count, 8000))
  return 0.1 * noise + 0.1 * colour * np.cumsum(noise, axis=1) / 10


def test_the_distance_bears_the_name_of_its_embedding():
  assert PROXY.label == 'FAD (band energies)'
  assert audio.Embedding('VGGish', bands).label == 'FAD (VGGish)'


def test_frames_of_all_waves_are_pooled():
  found = audio.listen(PROXY, list(waves(3)))
  assert found.frames.shape == (60, 4) and found.items.shape == (3, 4)
  np.testing.assert_allclose(
      found.frames.reshape(3, 20, 4).mean(1), found.items
  )


def test_other_sounds_are_farther():
  truth, same, other = (
      audio.listen(PROXY, list(x))
      for x in (waves(10), waves(10, seed=1), waves(10, 1.0, seed=1))
  )
  assert audio.frechet(truth, truth) < 1e-9
  near, far = audio.frechet(truth, same), audio.frechet(truth, other)
  assert near < 0.05 * far
  np.testing.assert_allclose(
      far, distribution.frechet(truth.frames, other.frames)
  )


def test_waves_of_different_lengths_count_by_their_frames():
  long = waves(2)
  found = audio.listen(PROXY, [long[0], long[1, :4000]])
  assert found.frames.shape == (30, 4)


def test_what_cannot_be_heard_is_refused():
  with pytest.raises(UserError, match='expected waves, found none'):
    audio.listen(PROXY, [])
  with pytest.raises(UserError, match=r'wave 1, found \[0, 4\]'):
    audio.listen(PROXY, [waves(1)[0], np.zeros(10)])
  with pytest.raises(UserError, match='finite: False'):
    audio.listen(PROXY, [np.full(800, np.nan)])
