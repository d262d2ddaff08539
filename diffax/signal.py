"""Short-time Fourier transforms that compile, and images made of them.

With a window w of size S, a hop H and zeros of length S // 2 on both sides,
frame n and bin f of a signal x are

  (1)  X[f, n] = c sum_s w[s] x[n H + s] exp(-2 pi i f s / S),

with c = 1 / sum w ('spectrum') or 1 ('none'). The least-squares inverse adds
the inverse transforms x_n of the frames up again,

  (2)  x[l] = sum_n w[l - n H] x_n[l - n H] / (c sum_n w[l - n H]^2),

and is exact. A Hann window is 0.5 - 0.5 cos(2 pi s / N), N = S if periodic and
S - 1 if symmetric.

A network sees windows `[B, L, C]` of a movement as an image `[B, F, N, D]`:
bins, frames, and two channels for each axis, its real and imaginary part. The
imaginary part of bin 0 and, for an even S, of the last bin is always 0.

References:
  Griffin and Lim, "Signal Estimation from Modified Short-Time Fourier
  Transform", 1984, Eq. 6. `scipy.signal.stft` and `istft`, which these equal.
  Oppel and Munz, "IMUDiffusion", 2024, for the sizes.
"""

from collections.abc import Callable, Mapping
import dataclasses
from typing import Protocol

import jax.numpy as jnp
import numpy as np

from diffax.errors import UserError
from diffax.typing import Array

WINDOWS = ('periodic', 'symmetric')
SCALINGS = ('spectrum', 'none')
# Where no window reaches there is nothing to divide by; as scipy.
_NONE = 1e-10


def hann(size: int, kind: str = 'periodic') -> np.ndarray:
  """Return a Hann window `[size]` float64, `periodic` or `symmetric`."""
  if kind not in WINDOWS:
    raise UserError(f'window: expected one of {WINDOWS}, found {kind!r}.')
  if size < 2:
    raise UserError(f'size: expected 2 or more, found {size}.')
  period = size if kind == 'periodic' else size - 1
  return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / period)


def frame_count(length: int, size: int = 22, hop: int = 2) -> int:
  """Count the frames of `stft`: 81 of 160 samples by default."""
  padded = length + 2 * (size // 2)
  return -(-(padded - size) // hop) + 1


def stft(
    x: Array,
    size: int = 22,
    hop: int = 2,
    window: str = 'periodic',
    scaling: str = 'spectrum',
) -> Array:
  """Transform signals, Eq. 1.

  Args:
    x: real, `[..., L]`.
    size: S, samples of a window.
    hop: H, samples between windows.
    window: `periodic` or `symmetric` Hann.
    scaling: `spectrum` or `none`.

  Returns:
    `[..., F, N]` complex; F = S // 2 + 1 and N as `frame_count`.

  Raises:
    UserError: a setting is wrong.
  """
  weights, scale = _scaled(size, hop, window, scaling)
  length, half = x.shape[-1], size // 2
  frames = frame_count(length, size, hop)
  after = (frames - 1) * hop + size - half - length
  x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(half, after)])
  cut = x[..., _places(frames, size, hop)]
  cut = cut * _row(weights, cut)
  return jnp.swapaxes(jnp.fft.rfft(cut, axis=-1), -1, -2) * scale


def istft(
    spectrum: Array,
    size: int = 22,
    hop: int = 2,
    window: str = 'periodic',
    scaling: str = 'spectrum',
) -> Array:
  """Invert `stft`, Eq. 2.

  Args:
    spectrum: `[..., F, N]` complex.
    size: S, samples of a window.
    hop: H, samples between windows.
    window: `periodic` or `symmetric` Hann.
    scaling: `spectrum` or `none`.

  Returns:
    `[..., (N - 1) H + S - 2 (S // 2)]` real.

  Raises:
    UserError: a setting is wrong.
  """
  weights, scale = _scaled(size, hop, window, scaling)
  frames, half = spectrum.shape[-1], size // 2
  places = _places(frames, size, hop)
  parts = jnp.fft.irfft(jnp.swapaxes(spectrum, -1, -2), size, axis=-1)
  total = jnp.zeros((*spectrum.shape[:-2], places[-1, -1] + 1), parts.dtype)
  total = total.at[..., places].add(parts * _row(weights / scale, parts))
  norm = np.zeros(total.shape[-1])
  np.add.at(norm, places, np.broadcast_to(weights**2, places.shape))
  total = total / _row(np.where(norm > _NONE, norm, 1), total)
  return total[..., half:total.shape[-1] - half]


def _scaled(
    size: int, hop: int, window: str, scaling: str
) -> tuple[np.ndarray, float]:
  """Return the window [S] and c of Eq. 1."""
  if scaling not in SCALINGS:
    raise UserError(f'scaling: expected one of {SCALINGS}, found {scaling!r}.')
  if not 1 <= hop <= size // 2:
    raise UserError(
        f'hop: expected 1 to half the window, {size // 2}, so that every '
        f'sample can be restored, found {hop}.'
    )
  weights = hann(size, window)
  return weights, 1 / weights.sum() if scaling == 'spectrum' else 1.0


def _row(values: np.ndarray, like: Array) -> Array:
  """Return `values` [N] with the rank and type of `like` [..., N]."""
  return jnp.asarray(values, like.dtype).reshape(*[1] * (like.ndim - 1), -1)


def _places(frames: int, size: int, hop: int) -> np.ndarray:
  """Return which samples the frames hold: [N, S]."""
  return np.arange(frames)[:, None] * hop + np.arange(size)[None, :]


class Layout(Protocol):
  """How windows `[B, L, C]` become images `[B, F, N, D]` and back.

  Attributes:
    parts: D / C, image channels of one axis. They are neighbours: those of
      axis c are `parts * c` to `parts * (c + 1) - 1`.
  """

  @property
  def parts(self) -> int:
    """Image channels of one axis."""

  def shape(self, length: int, channels: int) -> tuple[int, int, int]:
    """Return (F, N, D) of windows of `length` samples and `channels`."""

  def mask(self, channels: int) -> np.ndarray:
    """Return where coefficients can differ from 0: [F, 1, D] bool."""

  def to_image(self, x: Array) -> Array:
    """Map `[B, L, C]` to `[B, F, N, D]`."""

  def to_window(self, image: Array, length: int) -> Array:
    """Map `[B, F, N, D]` to `[B, L, C]`."""


@dataclasses.dataclass(frozen=True)
class Spectrogram:
  """Lay out windows as spectrograms; channels are axis-major, (re, im) each.

  Attributes:
    size: S, samples of a Fourier window.
    hop: H, samples between windows.
    window: `periodic` or `symmetric` Hann.
    scaling: `spectrum` or `none`.
    frames: N of the image. None is the transform's own number (81 for 160
      samples), made even by a frame that reflects the one before the last, so
      that a network may halve it; the way back drops that frame and is exact.
      Less, such as the paper's 80, drops the last frames; the way back then
      restores the samples that remain and repeats the last of them.
  """

  size: int = 22
  hop: int = 2
  window: str = 'periodic'
  scaling: str = 'spectrum'
  frames: int | None = None

  @property
  def parts(self) -> int:
    """Image channels of one axis: the real and the imaginary part."""
    return 2

  def shape(self, length: int, channels: int) -> tuple[int, int, int]:
    """Return (F, N, D): (12, 82, 12) for 160 samples of 6 axes."""
    own = frame_count(length, self.size, self.hop)
    frames = own + own % 2 if self.frames is None else self.frames
    if not 2 <= frames < 2 * own:
      raise UserError(
          f'frames: expected 2 to {2 * own - 1} for {length} samples, found '
          f'{frames}.'
      )
    return self.size // 2 + 1, frames, self.parts * channels

  def mask(self, channels: int) -> np.ndarray:
    """Return False at imaginary parts that are always 0: [F, 1, D]."""
    mask = np.ones((self.size // 2 + 1, 1, channels, 2), bool)
    mask[0, ..., 1] = False
    if self.size % 2 == 0:
      mask[-1, ..., 1] = False
    return mask.reshape(len(mask), 1, -1)

  def to_image(self, x: Array) -> Array:
    """Map `[B, L, C]` to `[B, F, N, 2 C]`."""
    bins, frames, _ = self.shape(*x.shape[1:])
    spectrum = stft(jnp.swapaxes(x, 1, 2), *self._transform)
    more = max(frames - spectrum.shape[-1], 0)
    pads = [(0, 0)] * 3 + [(0, more)]
    spectrum = jnp.pad(spectrum, pads, mode='reflect')[..., :frames]
    image = jnp.stack([spectrum.real, spectrum.imag], axis=-1)
    image = jnp.transpose(image, (0, 2, 3, 1, 4))
    return image.reshape(len(x), bins, frames, -1)

  def to_window(self, image: Array, length: int) -> Array:
    """Map `[B, F, N, 2 C]` to `[B, L, C]`."""
    channels = image.shape[-1] // 2
    image = image * jnp.asarray(self.mask(channels)[None], image.dtype)
    image = image.reshape(*image.shape[:3], channels, 2)
    spectrum = jnp.transpose(image[..., 0] + 1j * image[..., 1], (0, 3, 1, 2))
    own = frame_count(length, self.size, self.hop)
    x = istft(spectrum[..., :own], *self._transform)[..., :length]
    short = length - x.shape[-1]
    x = jnp.pad(x, [(0, 0), (0, 0), (0, short)], mode='edge')
    return jnp.swapaxes(x, 1, 2)

  @property
  def _transform(self) -> tuple[int, int, str, str]:
    return self.size, self.hop, self.window, self.scaling


@dataclasses.dataclass(frozen=True)
class Waveform:
  """Lay out windows as images of one bin: the samples themselves."""

  @property
  def parts(self) -> int:
    """Image channels of one axis."""
    return 1

  def shape(self, length: int, channels: int) -> tuple[int, int, int]:
    """Return (1, L, C)."""
    return 1, length, channels

  def mask(self, channels: int) -> np.ndarray:
    """Return True everywhere: [1, 1, C]."""
    return np.ones((1, 1, channels), bool)

  def to_image(self, x: Array) -> Array:
    """Map `[B, L, C]` to `[B, 1, L, C]`."""
    return x[:, None]

  def to_window(self, image: Array, length: int) -> Array:
    """Map `[B, 1, L, C]` to `[B, L, C]`."""
    del length
    return image[:, 0]


LAYOUTS: Mapping[str, Callable[..., Layout]] = {
    'stft': Spectrogram, 'time': Waveform,
}
