"""Log-mels against librosa, and waves made of them."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax import signal
from diffax.errors import UserError
from diffax.metrics import rhythm

pytest.importorskip('librosa')
librosa = rhythm.import_librosa()

log_mel = jax.jit(signal.log_mel, static_argnums=1)


def reference(wave, mel):
  """Compute a log-mel in double precision from librosa's parts."""
  pad = (mel.fft - mel.hop) // 2
  padded = np.pad(np.float64(wave), (pad, pad), mode='reflect')
  spectrum = librosa.stft(
      padded, n_fft=mel.fft, hop_length=mel.hop, center=False
  )
  filters = librosa.filters.mel(
      sr=mel.rate, n_fft=mel.fft, n_mels=mel.bands, fmin=mel.fmin,
      fmax=mel.fmax, dtype=np.float64
  )
  linear = np.sqrt(np.abs(spectrum) ** 2 + 1e-9)
  logarithm = {'log10': np.log10, 'ln': np.log}[mel.log]
  return logarithm(np.maximum(filters @ linear, mel.floor)).T


def sounds(rate):
  rng, time = np.random.default_rng(0), np.arange(rate // 2) / rate
  waves = {
      'noise': 0.3 * rng.normal(size=time.size),
      'whisper': 1e-3 * rng.normal(size=time.size),
      'tone': 0.9 * np.sin(2 * np.pi * 440 * time),
      'click': np.float64(time == time[2000]),
      'silence': np.zeros(time.size),
  }
  return {name: np.float32(wave) for name, wave in waves.items()}


def assert_close(found, wanted, log):
  """Compare as well as float32 can: quiet bins beside loud ones round."""
  assert found.shape == wanted.shape
  base = {'log10': 10.0, 'ln': np.e}[log]
  np.testing.assert_allclose(base**found, base**wanted, rtol=1e-4, atol=2e-7)


@pytest.mark.parametrize('name', ['make_an_audio', 'bigvgan_24khz_100band',
                                  'bigvgan_v2_44khz_128band_512x'])
def test_it_equals_librosa(name):
  mel = signal.MELS[name]
  for sound, wave in sounds(mel.rate).items():
    found, wanted = log_mel(wave, mel), reference(wave, mel)
    assert_close(found, wanted, mel.log)
    if sound != 'tone':  # The one with 140 dB between its bins.
      np.testing.assert_allclose(found, wanted, atol=1e-5)
    elif name == 'make_an_audio':
      assert np.abs(found - wanted)[wanted > -3.5].max() < 1e-4
  np.testing.assert_allclose(found, mel.silence, rtol=1e-6)


@pytest.mark.parametrize('name', sorted(signal.MELS))
def test_filters_are_those_of_librosa(name):
  mel = signal.MELS[name]
  filters = librosa.filters.mel(
      sr=mel.rate, n_fft=mel.fft, n_mels=mel.bands, fmin=mel.fmin,
      fmax=mel.fmax
  )
  np.testing.assert_allclose(signal.mel_filters(mel), filters.T, atol=1e-8)


def music(data_dir: pathlib.Path, seconds: float = 5.0) -> np.ndarray:
  soundfile = pytest.importorskip('soundfile')
  path = data_dir / 'music' / 'tracks' / 'singularity_aberrations.ogg'
  if not path.is_file():
    pytest.skip(f'{path} is absent')
  return soundfile.read(
      path, int(16000 * seconds), start=320000, dtype='float32'
  )[0]


def test_music_has_the_mels_of_librosa(data_dir):
  wave = music(data_dir)
  found, wanted = log_mel(wave, signal.MAA), reference(wave, signal.MAA)
  assert_close(found, wanted, 'log10')
  error = np.abs(found - wanted)
  assert error[wanted > -3.5].max() < 1e-4
  assert np.mean(error > 1e-4) < 5e-3


def test_frames_last_a_hop_and_batches_are_waves_apart():
  waves = np.stack(list(sounds(16000).values()))[:, :30 * 256 + 200]
  whole = log_mel(waves.reshape(5, 1, -1), signal.MAA)
  assert whole.shape == (5, 1, 30, 80)
  np.testing.assert_allclose(
      whole[2, 0], log_mel(waves[2], signal.MAA), atol=1e-4
  )
  # The mel of the beginning does not depend on what comes later.
  short = log_mel(waves[:, :20 * 256], signal.MAA)
  np.testing.assert_allclose(short[:, :18], whole[:, 0, :18], atol=2e-4)


def test_silence_has_a_slope():
  slope = jax.grad(lambda x: signal.log_mel(x).sum())(jnp.zeros(2048))
  assert np.isfinite(slope).all()


def test_the_inverse_of_the_logarithm_is_exact():
  for name in ('make_an_audio', 'bigvgan_22khz_80band'):
    mel = signal.MELS[name]
    x = jnp.float32([1e-5, 1e-3, 1.0, 9.0])
    back = signal.expand(signal.compress(x, mel), mel)
    np.testing.assert_allclose(back, x, rtol=2e-6)


def test_magnitudes_explain_their_bands_and_stay_positive():
  bands = log_mel(sounds(16000)['noise'], signal.MAA)
  linear = jax.jit(signal.linear_magnitudes)(bands)
  assert linear.shape == (len(bands), 513) and (linear >= 0).all()
  again = signal.compress(linear @ signal.mel_filters(signal.MAA), signal.MAA)
  assert np.abs(again - bands).mean() < 1e-3
  assert np.abs(again - bands).max() < 0.05


def test_the_signal_of_known_magnitudes_is_found():
  time = np.arange(40 * 64) / 8000
  wave = np.float32(0.5 * np.sin(2 * np.pi * (300 + 800 * time) * time))
  wanted = signal.magnitudes(wave, 256, 64)

  def error(**options):
    found = signal.find_phase(
        wanted, jax.random.key(0), fft=256, hop=64, **options
    )
    assert found.shape == (39 * 64 + 256,)
    spectrum = signal.analyse(found, signal.hann(256), 64)
    return np.linalg.norm(np.abs(spectrum) - wanted) / np.linalg.norm(wanted)

  fast, slow = error(iterations=40), error(iterations=40, momentum=0.0)
  assert fast < slow < error(iterations=2, momentum=0.0)
  assert fast < 0.1


def test_a_wave_comes_back_from_its_mel(data_dir):
  wave = music(data_dir, 2.0)
  wave = wave[:len(wave) // 256 * 256]
  bands = log_mel(wave, signal.MAA)
  back = signal.griffin_lim(bands, signal.MAA, jax.random.key(1), 32)
  assert back.shape == wave.shape and back.dtype == jnp.float32
  assert np.abs(log_mel(back, signal.MAA) - bands).mean() < 0.06
  np.testing.assert_array_equal(
      back, signal.griffin_lim(bands, signal.MAA, jax.random.key(1), 32)
  )


def test_a_batch_of_mels_gives_a_batch_of_waves():
  bands = jnp.full((2, 3, 8, 80), -1.0)
  waves = signal.griffin_lim(bands, iterations=2, spread=3)
  assert waves.shape == (2, 3, 2048) and np.isfinite(waves).all()
  silent = signal.griffin_lim(jnp.full((8, 80), -5.0), iterations=2)
  assert np.abs(silent).max() < 1e-2
  with pytest.raises(UserError, match=r'\[\.\.\., T, 80\], found \[8, 100\]'):
    signal.griffin_lim(jnp.zeros((8, 100)))


def test_each_field_of_another_mel_is_named():
  ours, theirs = signal.MAA, signal.MELS['bigvgan_v2_44khz_128band_512x']
  signal.check_mel(ours, signal.preset('make_an_audio'), 'weights.pt')
  with pytest.raises(UserError) as error:
    signal.check_mel(theirs, ours, 'weights.pt')
  for part in ('weights.pt', 'rate: expected 44100, found 16000',
               'bands: expected 128, found 80', 'hop: expected 512, found 256',
               "log: expected 'ln', found 'log10'",
               'fmax: expected 22050.0, found 8000.0'):
    assert part in str(error.value)
  assert 'floor' not in str(error.value)
  with pytest.raises(UserError, match='floor: expected 1e-05, found 0.01'):
    signal.check_mel(ours, ours._replace(floor=0.01), 'x')


@pytest.mark.parametrize('change, words', [
    ({'fmax': 9000.0}, r'mel\.fmax: .* at most 8000 Hz, found 9000'),
    ({'log': 'log2'}, r"mel\.log: .*'ln', 'log10'.*found 'log2'"),
    ({'hop': 513}, r'mel\.hop: expected 1 to fft / 2, 512'),
    ({'floor': 0.0}, r'mel\.floor'), ({'fft': 1023}, r'mel\.fft'),
    ({'bands': 0}, r'mel\.bands'),
    ({'bands': 400}, 'bands that each span a bin'),
])
def test_wrong_settings_are_named(change, words):
  with pytest.raises(UserError, match=words):
    signal.mel_filters(signal.MAA._replace(**change))


def test_wrong_names_and_short_waves_are_named():
  with pytest.raises(UserError, match="make_an_audio.*found 'mel80'"):
    signal.preset('mel80')
  with pytest.raises(UserError, match='more than 384 samples'):
    signal.log_mel(jnp.zeros(384))
