"""Log-mel spectrograms, with the settings that public vocoders were made for.

A mel M has B triangular filters over F = fft / 2 + 1 bins, whose corners
f_0 .. f_{B+1} lie evenly on the scale of Slaney, linear below 1 kHz,

  (1)  mel(f) = 3 f / 200                              f <  1000 Hz
       mel(f) = 15 + 27 log(f / 1000) / log 6.4        f >= 1000 Hz
  (2)  W[f, b] = 2 / (f_{b+2} - f_b) max(0, min((f - f_b) / (f_{b+1} - f_b),
                                     (f_{b+2} - f) / (f_{b+2} - f_{b+1})))

and each filter has the same area. With the reflected signal x, (fft - hop) / 2
samples longer at both ends, and periodic Hann windows of `fft` samples,

  (3)  S[n, f] = sqrt(|X[n, f]|^2 + 1e-9)
  (4)  m[n, b] = log(max(sum_f S[n, f] W[f, b], floor)),

so N hop samples give N frames. The logarithm is base 10 or natural: a vocoder
hears noise in a mel that is not its own, so weights carry their `Mel` and
`check_mel` compares it.

In float32 a spectrum is known to about 1e-8 of its loudest bin. Values above
-3.5 (log10) are therefore within 1e-4 of double precision; in the 30 dB above
the floor quiet bands beside loud ones are within 3e-3.

References:
  Slaney, "Auditory Toolbox", 1998, as `librosa.filters.mel` has it.
  "Make-An-Audio 2", 2023, and "BigVGAN", ICLR 2023: the front ends of their
  released code, which differ in rate, bands and logarithm alone.
"""

from collections.abc import Mapping
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from diffax.errors import UserError
from diffax.signal.fourier import analyse
from diffax.signal.fourier import hann
from diffax.typing import Array

# The natural logarithm of the base.
LOGS: Mapping[str, float] = {'log10': float(np.log(10.0)), 'ln': 1.0}
_TINY = 1e-9
# Eq. 1: where the scale bends, Hz and mels, and its two slopes.
_BEND, _BEND_MEL = 1000.0, 15.0
_LINEAR, _STEP = 3.0 / 200.0, float(np.log(6.4)) / 27.0


class Mel(NamedTuple):
  """Settings of a log-mel spectrogram.

  Attributes:
    rate: samples per second.
    fft: samples of a window, even.
    hop: samples between frames.
    bands: B.
    fmin: lowest frequency, Hz.
    fmax: highest frequency, Hz.
    log: `log10` or `ln`.
    floor: least value before the logarithm.
  """

  rate: int
  fft: int
  hop: int
  bands: int
  fmin: float
  fmax: float
  log: str = 'log10'
  floor: float = 1e-5

  @property
  def fps(self) -> float:
    """Frames per second."""
    return self.rate / self.hop

  @property
  def silence(self) -> float:
    """Value of a silent band, the least there is."""
    return float(np.log(self.floor)) / LOGS[self.log]


MAA = Mel(16000, 1024, 256, 80, 0.0, 8000.0)
_NARROW = Mel(22050, 1024, 256, 80, 0.0, 8000.0, 'ln')
_LIBRI = Mel(24000, 1024, 256, 100, 0.0, 12000.0, 'ln')
_WIDE = Mel(44100, 1024, 256, 128, 0.0, 22050.0, 'ln')
# By the names of the public weights.
MELS: Mapping[str, Mel] = {
    'make_an_audio': MAA,
    'bigvgan_base_22khz_80band': _NARROW,
    'bigvgan_22khz_80band': _NARROW,
    'bigvgan_base_24khz_100band': _LIBRI,
    'bigvgan_24khz_100band': _LIBRI,
    'bigvgan_v2_22khz_80band_256x': _NARROW._replace(fmax=11025.0),
    'bigvgan_v2_22khz_80band_fmax8k_256x': _NARROW,
    'bigvgan_v2_24khz_100band_256x': _LIBRI,
    'bigvgan_v2_44khz_128band_256x': _WIDE,
    'bigvgan_v2_44khz_128band_512x': _WIDE._replace(fft=2048, hop=512),
}


def preset(mel: str | Mel) -> Mel:
  """Return a mel by its name in `MELS`; a `Mel` is checked and returned.

  Raises:
    UserError: the name is unknown, or a setting is out of range.
  """
  if isinstance(mel, str):
    if mel not in MELS:
      raise UserError(f'mel: expected one of {sorted(MELS)}, found {mel!r}.')
    return MELS[mel]
  _check_settings(mel)
  return mel


def check_mel(expected: Mel, found: Mel, where: str) -> None:
  """Raise unless two mels are the same.

  Args:
    expected: what weights, or a network, were made for.
    found: what they would be given.
    where: whose mel is expected, for the message.

  Raises:
    UserError: naming each field that differs, expected and found.
  """
  differing = [
      f'{field}: expected {wanted!r}, found {got!r}'
      for field, wanted, got in zip(Mel._fields, expected, found)
      if wanted != got
  ]
  if differing:
    raise UserError(
        f'{where}: made for another mel. {"; ".join(differing)}. A vocoder '
        'turns a mel that is not its own into noise.'
    )


def to_mels(hertz: np.ndarray) -> np.ndarray:
  """Map frequencies to Slaney's scale, Eq. 1."""
  hertz = np.asarray(hertz, np.float64)
  above = np.log(np.maximum(hertz, _BEND) / _BEND) / _STEP
  return np.where(hertz < _BEND, hertz * _LINEAR, _BEND_MEL + above)


def to_hertz(mels: np.ndarray) -> np.ndarray:
  """Invert `to_mels`."""
  mels = np.asarray(mels, np.float64)
  above = _BEND * np.exp(_STEP * (np.maximum(mels, _BEND_MEL) - _BEND_MEL))
  return np.where(mels < _BEND_MEL, mels / _LINEAR, above)


@functools.cache
def mel_filters(mel: Mel) -> np.ndarray:
  """Return the filters of Eq. 2, [F, B] float32, not to be written to.

  Raises:
    UserError: a setting is out of range, or a filter spans no bin.
  """
  _check_settings(mel)
  bins = np.arange(mel.fft // 2 + 1) * mel.rate / mel.fft
  ends = to_mels(np.array([mel.fmin, mel.fmax]))
  corners = to_hertz(np.linspace(ends[0], ends[1], mel.bands + 2))
  left, middle, right = corners[:-2], corners[1:-1], corners[2:]
  rise = (bins[:, None] - left) / (middle - left)
  fall = (right - bins[:, None]) / (right - middle)
  filters = np.maximum(np.minimum(rise, fall), 0) * 2 / (right - left)
  if not filters.any(0).all():
    raise UserError(
        f'mel: expected bands that each span a bin of {mel.rate / mel.fft:g} '
        f'Hz, found {mel.bands} bands between {mel.fmin:g} and {mel.fmax:g} '
        'Hz; take fewer, or a longer window.'
    )
  filters = filters.astype(np.float32)
  filters.setflags(write=False)
  return filters


def magnitudes(wave: Array, fft: int, hop: int, tiny: float = _TINY) -> Array:
  """Return the magnitudes of the short-time spectrum, Eq. 3.

  Args:
    wave: `[..., L]`, L more than (fft - hop) / 2, which is reflected.
    fft: samples of a window.
    hop: samples between frames.
    tiny: power added to each bin, so that the root has a slope at 0.

  Returns:
    `[..., L // hop, fft // 2 + 1]`.
  """
  pad = (fft - hop) // 2
  pads = [(0, 0)] * (wave.ndim - 1) + [(pad, fft - hop - pad)]
  spectrum = analyse(jnp.pad(wave, pads, mode='reflect'), hann(fft), hop)
  return jnp.sqrt(spectrum.real**2 + spectrum.imag**2 + tiny)


def compress(values: Array, mel: Mel) -> Array:
  """Take the logarithm of Eq. 4."""
  return jnp.log(jnp.maximum(values, mel.floor)) / LOGS[mel.log]


def expand(log_mels: Array, mel: Mel) -> Array:
  """Invert `compress`."""
  return jnp.exp(log_mels * LOGS[mel.log])


def log_mel(wave: Array, mel: Mel = MAA) -> Array:
  """Compute a log-mel spectrogram, Eq. 4.

  Args:
    wave: `[..., L]` at `mel.rate`, within -1 and 1.
    mel: its settings.

  Returns:
    `[..., L // hop, B]` float32; samples that fill no hop are left.

  Raises:
    UserError: the wave is too short to be reflected.
  """
  pad = mel.fft - mel.hop - (mel.fft - mel.hop) // 2
  if wave.shape[-1] <= pad:
    raise UserError(
        f'wave: expected more than {pad} samples ({pad / mel.rate:.3f} s), '
        f'found {wave.shape[-1]}.'
    )
  filters = jnp.asarray(mel_filters(mel))
  linear = magnitudes(wave, mel.fft, mel.hop)
  # Accelerators multiply matrices in fewer bits unless told otherwise.
  bands = jnp.matmul(linear, filters, precision=jax.lax.Precision.HIGHEST)
  return compress(bands, mel)


def _check_settings(mel: Mel) -> None:
  rules = {
      'fft': (mel.fft >= 2 and mel.fft % 2 == 0, 'an even number of samples'),
      'hop': (1 <= mel.hop <= mel.fft // 2, f'1 to fft / 2, {mel.fft // 2}'),
      'bands': (mel.bands >= 1, '1 or more'),
      'fmax': (0 <= mel.fmin < mel.fmax <= mel.rate / 2,
               f'more than fmin {mel.fmin:g} and at most {mel.rate / 2:g} Hz'),
      'log': (mel.log in LOGS, f'one of {sorted(LOGS)}'),
      'floor': (mel.floor > 0, 'more than 0'),
  }
  for field, (holds, wanted) in rules.items():
    if not holds:
      raise UserError(
          f'mel.{field}: expected {wanted}, found {getattr(mel, field)!r}.'
      )
