"""Sound files: what comes back, and each way a file can be bad."""

import builtins
import pathlib

import numpy as np
import pytest

from diffax.data import audio
from diffax.errors import DataError
from diffax.errors import UserError

soundfile = pytest.importorskip('soundfile')
pytest.importorskip('soxr')


def tone(rate, seconds=0.5, hertz=440.0, level=0.5):
  time = np.arange(int(rate * seconds)) / rate
  return np.float32(level * np.sin(2 * np.pi * hertz * time))


def saved(path: pathlib.Path, samples, rate=16000, **options) -> pathlib.Path:
  soundfile.write(path, samples, rate, **options)
  return path


@pytest.mark.parametrize('suffix, error', [
    ('.wav', 4e-5), ('.flac', 4e-5), ('.ogg', 0.05), ('.WAV', 4e-5),
])
def test_what_is_written_is_read(tmp_path, suffix, error):
  wave = tone(16000, 5.0)  # More than a block of the encoder.
  path = tmp_path / f'tone{suffix}'
  assert audio.write(path, wave, 16000) == 1.0
  back = audio.read(path, 16000)
  assert back.dtype == np.float32 and back.shape == wave.shape
  assert np.abs(back - wave)[100:-100].max() < error


@pytest.mark.parametrize('rate', [8000, 11025, 22050, 44100, 48000, 96000])
def test_any_rate_is_resampled(tmp_path, rate):
  path = saved(tmp_path / 'tone.wav', tone(rate), rate, subtype='FLOAT')
  recording = audio.load(path, 16000)
  assert recording.facts.rate == rate
  assert abs(len(recording.wave) - 8000) <= 1
  np.testing.assert_allclose(
      recording.wave[500:7500], tone(16000)[500:7500], atol=2e-3
  )


def test_what_the_new_rate_cannot_hold_is_gone(tmp_path):
  path = saved(tmp_path / 'high.wav', tone(44100, hertz=12000.0), 44100)
  assert np.abs(audio.read(path, 16000)[500:-500]).max() < 1e-3


def test_channels_are_averaged(tmp_path):
  left, right = tone(16000, hertz=440.0), tone(16000, hertz=700.0)
  path = saved(tmp_path / 'stereo.wav', np.stack([left, right, left], 1))
  recording = audio.load(path)
  assert recording.facts.channels == 3
  np.testing.assert_allclose(
      recording.wave, (2 * left + right) / 3, atol=4e-5
  )


def test_channels_that_cancel_are_refused(tmp_path):
  wave = tone(16000)
  path = saved(tmp_path / 'phase.wav', np.stack([wave, -wave], 1))
  with pytest.raises(DataError, match='phase.wav: channels: .*opposite sign'):
    audio.read(path)


def test_facts_describe_the_file(tmp_path):
  path = saved(tmp_path / 'tone.flac', tone(22050, 2.0), 22050)
  facts = audio.load(path).facts
  assert (facts.rate, facts.channels, facts.silent) == (22050, 1, False)
  np.testing.assert_allclose(
      [facts.seconds, facts.peak, facts.level, facts.clipped],
      [2.0, 0.5, 0.5 / np.sqrt(2), 0.0], atol=1e-3
  )


def test_clipping_is_a_fact(tmp_path):
  wave = np.clip(tone(16000, hertz=100.0, level=2.0), -1, 1)
  path = saved(tmp_path / 'loud.wav', wave)
  facts = audio.load(path).facts
  # A sine of twice the full scale is above it for two thirds of the time.
  np.testing.assert_allclose(facts.clipped, 2 / 3, atol=0.02)
  # Peaks that touch full scale for a sample or two are none.
  samples = np.zeros((1000, 1), np.float32)
  samples[::10] = samples[1::10] = 1.0
  assert audio.describe(samples, 16000).clipped == 0.0
  samples[500:503] = -1.0
  assert audio.describe(samples, 16000).clipped == pytest.approx(3e-3)


def test_silence_is_a_fact_that_read_refuses(tmp_path):
  path = saved(tmp_path / 'silent.wav', np.zeros(8000))
  recording = audio.load(path)
  assert recording.facts.silent and not recording.wave.any()
  with pytest.raises(DataError, match='silent.wav: samples: .*silence'):
    audio.read(path)


def test_short_and_empty_files_are_refused(tmp_path):
  path = saved(tmp_path / 'short.wav', tone(16000, 0.05))
  with pytest.raises(DataError, match=r'at least 0\.1 s, found 0\.050 s \(800'):
    audio.read(path)
  assert audio.read(path, shortest=0.05).shape == (800,)
  with pytest.raises(DataError, match='at least 30 s'):
    audio.read(path, shortest=30)
  with pytest.raises(DataError, match='samples: expected some, found none'):
    audio.read(saved(tmp_path / 'no.wav', np.zeros(0)))
  (tmp_path / 'empty.wav').touch()
  with pytest.raises(DataError, match='empty.wav: file: .*an empty file'):
    audio.read(tmp_path / 'empty.wav')


@pytest.mark.parametrize('value, name', [(np.nan, 'nan'), (np.inf, 'inf')])
def test_a_sample_that_is_not_finite_is_named(tmp_path, value, name):
  samples = np.stack([tone(16000), tone(16000)], 1)
  samples[1600, 1] = value
  path = saved(tmp_path / 'bad.wav', samples, subtype='FLOAT')
  with pytest.raises(
      DataError, match=rf'sample 1600 \(0\.100 s\), channel 1: .*{name} \(1 in'
  ):
    audio.read(path)


def test_what_is_no_sound_is_refused(tmp_path, mutate, survives):
  (tmp_path / 'text.ogg').write_text('not a sound')
  with pytest.raises(DataError, match='text.ogg: format: .*ffmpeg'):
    audio.read(tmp_path / 'text.ogg')
  with pytest.raises(DataError, match='absent.wav: file'):
    audio.read(tmp_path / 'absent.wav')
  with pytest.raises(DataError, match='file: expected a sound file, found non'):
    audio.read(tmp_path)
  whole = saved(tmp_path / 'whole.wav', tone(16000)).read_bytes()
  broken, outcomes = tmp_path / 'broken.wav', set()
  for seed in range(60):
    broken.write_bytes(mutate(whole, seed))
    outcomes.add(survives(lambda: audio.read(broken)))
  assert outcomes == {True, False}


def test_a_rate_that_no_recording_has_is_refused(tmp_path):
  path = saved(tmp_path / 'slow.wav', tone(16000), 100)
  with pytest.raises(DataError, match='rate: expected 1000 to 768000'):
    audio.read(path)
  with pytest.raises(UserError, match='rate: expected 1000'):
    audio.read(saved(tmp_path / 'tone.wav', tone(16000)), 0)


def test_loud_waves_are_made_quieter_not_clipped(tmp_path):
  path = tmp_path / 'loud.wav'
  assert audio.write(path, 4 * tone(16000), 16000) == pytest.approx(0.5, 1e-3)
  np.testing.assert_allclose(audio.read(path), 2 * tone(16000), atol=1e-3)


@pytest.mark.parametrize('name, wave, words', [
    ('a.mp4', np.zeros(9), r"'\.wav'\], found '\.mp4'"),
    ('a.wav', np.zeros((9, 2)), r'\[N\], found shape \[9, 2\]'),
    ('a.wav', np.zeros(0), 'found shape'),
    ('a.wav', np.array([0, np.nan]), 'finite'),
    ('no/a.wav', np.zeros(9), 'cannot be written'),
])
def test_what_cannot_be_written_is_named(tmp_path, name, wave, words):
  with pytest.raises(UserError, match=words):
    audio.write(tmp_path / name, wave)


def test_a_missing_library_names_its_extra(tmp_path, monkeypatch):
  path, real = saved(tmp_path / 'tone.wav', tone(8000), 8000), __import__

  def without(missing):
    def fake(name, *rest, **more):
      if name == missing:
        raise ImportError(name)
      return real(name, *rest, **more)
    return fake

  for missing in ('soundfile', 'soxr'):
    monkeypatch.setattr(builtins, '__import__', without(missing))
    with pytest.raises(UserError, match=rf'need {missing}.*diffax\[audio\]'):
      audio.read(path)


def test_the_published_tracks_are_read(data_dir):
  for path in sorted((data_dir / 'music').glob('loops/*.ogg')):
    recording = audio.load(path)
    assert recording.facts.rate == 16000 and not recording.facts.silent
    assert recording.facts.clipped < 1e-3


@pytest.mark.parametrize('suffix', ['.ogg', '.wav'])
def test_an_ogg_may_be_a_little_shorter_than_its_header_says(
    tmp_path, monkeypatch, suffix
):
  path = saved(tmp_path / f'tone{suffix}', tone(16000, 3.0))

  class Claims(soundfile.SoundFile):
    """Tell as many samples as headers of encoders that round their end."""

    @property
    def frames(self):
      return super().frames + 149

  monkeypatch.setattr(soundfile, 'SoundFile', Claims)
  if suffix == '.ogg':
    assert len(audio.read(path, 16000)) == 48000
  else:
    with pytest.raises(DataError, match='48149 samples.*found 48000'):
      audio.read(path, 16000)


def test_a_flac_that_claims_to_last_for_weeks_fills_no_memory(
    tmp_path: pathlib.Path
) -> None:
  path = tmp_path / 'a.flac'
  audio.write(path, 0.5 * np.sin(np.arange(2400) / 5), 8000)
  data = bytearray(path.read_bytes())
  # The last 36 bits before the check sum of the samples: their number.
  data[21] |= 15
  data[22:26] = b'\xff' * 4
  path.write_bytes(data)
  with pytest.raises(DataError, match='length|format'):
    audio.load(path, 8000)
