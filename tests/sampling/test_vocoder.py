"""Sound through a vocoder, as files."""

import numpy as np
import pytest

from diffax.data import audio
from diffax.data.base import Source
from diffax.errors import UserError
from diffax.sampling import vocoder
from diffax.trained import Trained

pytest.importorskip('soundfile')


@pytest.fixture
def model():
  """A source of a track, and a vocoder that returns half the wave."""
  rng = np.random.default_rng(0)
  arrays = {
      'wave': np.float32(0.1 * rng.normal(size=(16, 2048))),
      'track': np.repeat([3, 5], 8),
  }
  source = Source({'rate': 16000}, lambda step: {}, lambda name: arrays)
  return Trained(source, lambda batch, key: {'wave': batch['wave'] / 2})


def test_a_held_out_track_goes_through_and_is_written(model, tmp_path):
  written = vocoder.vocoder(model, tmp_path / 'out', seed=0, seconds=1.0)
  assert sorted(written) == ['made.wav', 'true.wav']
  true, made = (
      audio.read(written[f'{name}.wav']) for name in ('true', 'made')
  )
  assert true.shape == (31 * 512,)
  whole = model.source.segments('test')['wave'][:8].ravel()
  np.testing.assert_allclose(true, whole[:31 * 512], atol=1e-4)
  np.testing.assert_allclose(made, true / 2, atol=1e-4)


def test_a_part_of_a_file_goes_through(model, tmp_path):
  path = tmp_path / 'song.flac'
  wave = 0.3 * np.sin(np.arange(32000) * 0.1)
  audio.write(path, wave, 16000)
  written = vocoder.vocoder(model, tmp_path, seed=0, input=path, start=0.5)
  found = audio.read(written['true.wav'])
  assert found.shape == (46 * 512,)
  np.testing.assert_allclose(found, wave[8000:8000 + 46 * 512], atol=1e-4)
  with pytest.raises(UserError, match='--start 9,.*found 0.00 s'):
    vocoder.vocoder(model, tmp_path, seed=0, input=path, start=9.0)
