"""Read and write sound: any rate and number of channels in, mono out.

A file is one float32 wave within -1 and 1, at the rate that is asked for. What
a listener would want to know of it, such as that it is clipped, are its
`Facts`; what no system can use is refused.
"""

from collections.abc import Mapping
import pathlib
from typing import Any, NamedTuple

import numpy as np

from diffax.data import files
from diffax.errors import DataError
from diffax.errors import UserError

# Samples per second that a recording may have.
RATES = (1000, 768000)
SHORTEST = 0.1  # Seconds: a window of the mel and its reflection fit in.
# -80 dB: below the last bits of 16, above the dither.
QUIET = 1e-4
# Samples in a row at full scale that no microphone gives.
_FLAT = 3
_FULL_SCALE = 0.999
_BLOCK = 65536
LARGEST = 2**29
"""Samples in a file; two hours of stereo at 32 kHz and more."""
# How many samples fewer than their header tells whole files may have, by
# format. Encoders round the end of OGG to a block, of at most this many.
_SHORT = {'WAV': 0, 'FLAC': 0, 'OGG': 8192}
_UNKNOWN = 2**62

# libsndfile's names of the format and of its samples, by suffix.
FORMATS: Mapping[str, tuple[str, str]] = {
    '.wav': ('WAV', 'PCM_16'),
    '.flac': ('FLAC', 'PCM_16'),
    '.ogg': ('OGG', 'VORBIS'),
}


class Facts(NamedTuple):
  """What a recording was before it was mixed and resampled.

  Attributes:
    rate: samples per second.
    channels: number of them.
    seconds: length.
    peak: greatest absolute value.
    level: root of the mean square.
    clipped: share of the samples that lie in runs at full scale, 3 or more in
      a row; above 1e-3 or so it is heard, and onsets suffer.
    silent: whether no sample is above -80 dB.
  """

  rate: int
  channels: int
  seconds: float
  peak: float
  level: float
  clipped: float
  silent: bool


class Recording(NamedTuple):
  """Hold a wave and what its file was.

  Attributes:
    wave: [N] float32, mono, at the rate that was asked for.
    facts: of the file.
  """

  wave: np.ndarray
  facts: Facts


def read(
    path: files.PathLike, rate: int = 16000, *, shortest: float = SHORTEST
) -> np.ndarray:
  """Read a sound that can be heard; see `load`.

  Args:
    path: WAV, OGG, FLAC or whatever else libsndfile reads.
    rate: samples per second of the result.
    shortest: seconds that the file must last.

  Returns:
    [N] float32, mono.

  Raises:
    DataError: as `load`, or the file is silent.
    UserError: soundfile or soxr is missing.
  """
  recording = load(path, rate, shortest=shortest)
  if recording.facts.silent:
    raise DataError(
        path, 'samples', 'a sound above -80 dB', 'silence',
        'Read it with `load` if silence is meant'
    )
  return recording.wave


def load(
    path: files.PathLike, rate: int = 16000, *, shortest: float = SHORTEST
) -> Recording:
  """Read a sound file, mix it to mono and resample it.

  Args:
    path: WAV, OGG, FLAC or whatever else libsndfile reads.
    rate: samples per second of the result.
    shortest: seconds that the file must last.

  Returns:
    The wave, and the facts of the file.

  Raises:
    DataError: the file is missing, empty, no sound, too short, has a sample
      that is not finite or a rate that no recording has, or its channels
      cancel each other.
    UserError: soundfile or soxr is missing, or the rate is out of range.
  """
  _check_rate(rate)
  samples, own = _decode(path)
  _check(path, samples, own, shortest)
  found = describe(samples, own)
  wave = samples.mean(axis=1, dtype=np.float32)
  if not found.silent and np.abs(wave).max() < QUIET:
    raise DataError(
        path, 'channels', 'channels that add up to a sound',
        'channels of opposite sign, silent as mono', 'Invert one of them'
    )
  return Recording(resample(wave, own, rate), found)


def facts(path: files.PathLike) -> Facts:
  """Return the facts of a sound file, of any length.

  Raises:
    DataError: as `load`.
    UserError: soundfile is missing.
  """
  samples, own = _decode(path)
  _check(path, samples, own, 0.0)
  return describe(samples, own)


def describe(samples: np.ndarray, rate: int) -> Facts:
  """Return the facts of samples `[N, C]`."""
  peak = float(np.abs(samples).max(initial=0.0))
  square = np.mean(np.square(samples, dtype=np.float64)) if samples.size else 0
  return Facts(
      rate=rate,
      channels=samples.shape[1],
      seconds=len(samples) / rate,
      peak=peak,
      level=float(np.sqrt(square)),
      clipped=_clipped(samples),
      silent=peak < QUIET,
  )


def resample(wave: np.ndarray, rate: int, to: int) -> np.ndarray:
  """Change the rate of a wave, band-limited.

  Args:
    wave: [N] float32.
    rate: samples per second.
    to: wanted samples per second.

  Returns:
    [round(N to / rate)] float32; the wave itself if the rates are equal.

  Raises:
    UserError: soxr is missing.
  """
  if rate == to:
    return wave
  soxr = _optional('soxr')
  length = round(len(wave) * to / rate)
  found = soxr.resample(wave, rate, to)[:length]
  return np.pad(found, (0, length - len(found))).astype(np.float32)


def write(path: files.PathLike, wave: np.ndarray, rate: int = 16000) -> float:
  """Write a mono wave; 16 bits a sample, or Vorbis.

  Args:
    path: ends in one of `FORMATS`.
    wave: [N]. One louder than full scale is made quieter as a whole, never
      clipped.
    rate: samples per second.

  Returns:
    The factor by which the wave was multiplied: 1 unless it was too loud.

  Raises:
    UserError: another suffix, shape or rate, no samples, or samples that are
      not finite; soundfile is missing; or the file cannot be written.
  """
  path, wave = pathlib.Path(path), np.asarray(wave, np.float32)
  if path.suffix.lower() not in FORMATS:
    raise UserError(
        f'{path}: expected a file that ends in one of {sorted(FORMATS)}, '
        f'found {path.suffix!r}.'
    )
  _check_rate(rate)
  if wave.ndim != 1 or not wave.size:
    raise UserError(
        f'{path}: expected a mono wave [N], found shape {list(wave.shape)}.'
    )
  if not np.isfinite(wave).all():
    raise UserError(f'{path}: expected finite samples, found NaN or infinity.')
  gain = min(1.0, 1.0 / max(float(np.abs(wave).max()), 1e-9))
  _encode(path, wave * np.float32(gain), rate)
  return gain


def _encode(path: pathlib.Path, wave: np.ndarray, rate: int) -> None:
  soundfile = _optional('soundfile')
  container, kind = FORMATS[path.suffix.lower()]
  try:
    with soundfile.SoundFile(
        path, 'w', rate, 1, subtype=kind, format=container
    ) as file:
      # libsndfile's Vorbis encoder overflows its stack on long writes.
      for start in range(0, len(wave), _BLOCK):
        file.write(wave[start:start + _BLOCK])
  except (OSError, RuntimeError) as error:
    raise UserError(f'{path}: cannot be written: {error}') from error


def _decode(path: files.PathLike) -> tuple[np.ndarray, int]:
  """Return samples [N, C] float32 and their rate."""
  soundfile = _optional('soundfile')
  place = pathlib.Path(path)
  if not place.is_file():
    raise DataError(path, 'file', 'a sound file', 'none')
  if not place.stat().st_size:
    raise DataError(path, 'file', 'a sound file', 'an empty file')
  try:
    with soundfile.SoundFile(place) as file:
      samples, claimed = _samples(path, file), file.frames
      rate, short = file.samplerate, _SHORT.get(file.format)
  except UserError:
    raise
  except (OSError, RuntimeError, ValueError, TypeError) as error:
    raise DataError(
        path, 'format', 'WAV, OGG, FLAC or MP3', f'what is none: {error}',
        'ffmpeg converts most other files'
    ) from error
  if short is not None and len(samples) + short < claimed < _UNKNOWN:
    raise DataError(
        path, 'length', f'{claimed} samples, as its header says',
        f'{len(samples)}', 'The file is cut or damaged'
    )
  return samples, int(rate)


def _samples(path: files.PathLike, file: Any) -> np.ndarray:
  """Read a file block by block, whatever length its header claims."""
  blocks, count = [], 0
  while len(block := file.read(_BLOCK, dtype='float32', always_2d=True)):
    blocks.append(block)
    count += block.size
    if count > LARGEST:
      raise DataError(
          path, 'length', f'at most {LARGEST} samples in all channels', 'more',
          'Cut it into pieces'
      )
  return np.concatenate(blocks) if blocks else np.zeros(
      (0, file.channels), np.float32)


def _check(
    path: files.PathLike, samples: np.ndarray, rate: int, shortest: float
) -> None:
  if not RATES[0] <= rate <= RATES[1]:
    raise DataError(
        path, 'rate', f'{RATES[0]} to {RATES[1]} samples per second', f'{rate}'
    )
  if not len(samples):
    raise DataError(path, 'samples', 'some', 'none')
  bad = np.argwhere(~np.isfinite(samples))
  if len(bad):
    where, channel = bad[0].tolist()
    raise DataError(
        path, f'sample {where} ({where / rate:.3f} s), channel {channel}',
        'a finite number', f'{samples[where, channel]} ({len(bad)} in all)'
    )
  if len(samples) < shortest * rate:
    raise DataError(
        path, 'length', f'at least {shortest:g} s',
        f'{len(samples) / rate:.3f} s ({len(samples)} samples)'
    )


def _clipped(samples: np.ndarray) -> float:
  """Return the share of samples in runs of `_FLAT` or more at full scale."""
  count = len(samples) - _FLAT + 1
  if count < 1:
    return 0.0
  high = np.stack([samples >= _FULL_SCALE, samples <= -_FULL_SCALE])
  starts = np.ones((2, count, samples.shape[1]), bool)
  for k in range(_FLAT):
    starts &= high[:, k:k + count]
  inside = np.zeros_like(high)
  for k in range(_FLAT):
    inside[:, k:k + count] |= starts
  return float(inside.sum() / samples.size)


def _check_rate(rate: int) -> None:
  if not RATES[0] <= rate <= RATES[1]:
    raise UserError(
        f'rate: expected {RATES[0]} to {RATES[1]} samples per second, found '
        f'{rate!r}.'
    )


def _optional(name: str) -> Any:
  try:
    return __import__(name)
  except ImportError as error:
    raise UserError(
        f'sound files need {name}: pip install "diffax[audio]".'
    ) from error
