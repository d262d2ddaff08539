"""Voices by their settings: what they sing, and what is refused."""

import jax
import numpy as np
import pytest

from diffax import signal
from diffax.errors import UserError
from diffax.sampling import voices
from diffax.systems import vocoder

TIME = np.arange(64 * 256) / 16000
WAVE = np.float32(0.5 * np.sin(2 * np.pi * 440 * TIME))
MEL = np.asarray(signal.log_mel(WAVE))
KEY = jax.random.key(0)


def test_the_usual_voice_needs_no_weights():
  voice = voices.voice({'iterations': 8})
  assert voice.name == 'Griffin-Lim'
  wave = voice.apply(MEL, KEY)
  assert wave.shape == WAVE.shape and np.abs(wave).max() <= 1
  again = np.asarray(signal.log_mel(wave))
  # The band of the tone is the loudest in all but the outermost frames.
  assert (again[4:-4].argmax(1) == MEL[4:-4].argmax(1)).mean() > 0.9


def test_a_trained_voice_has_its_own_weights(tmp_path, monkeypatch):
  size = {'rates': (16, 16), 'kernels': (32, 32), 'width': 8,
          'blocks': (3,), 'dilations': ((1,),)}
  made = vocoder.bigvgan(signal.MAA, size=size)
  params = jax.jit(made.init)(KEY)
  monkeypatch.setattr(
      voices.checkpoint, 'load',
      lambda folder, name: ({'generator': params, 'judges': {}}, 7),
  )
  voice = voices.voice(
      {'name': 'bigvgan', 'weights': str(tmp_path), 'size': size}
  )
  expected = np.asarray(made.apply(params, MEL[None, :8], KEY))[0]
  np.testing.assert_allclose(
      voice.apply(MEL[:8], KEY), np.clip(expected, -1, 1), atol=1e-5
  )
  assert str(tmp_path) in voice.name


@pytest.mark.parametrize('settings, message', [
    ({'name': 'hifi'}, "eval.vocoder.name: .*'hifi'"),
    ({'iterations': 0}, 'eval.vocoder.iterations'),
    ({'steps': 2}, 'eval.vocoder: .*steps'),
    ({'name': 'bigvgan'}, 'eval.vocoder.weights'),
    ({'name': 'bigvgan', 'weights': 'nowhere'}, "'nowhere'"),
])
def test_wrong_settings_are_named(settings, message):
  with pytest.raises(UserError, match=message):
    voices.voice(settings)
