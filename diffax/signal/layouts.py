"""Images of the windows of a movement, as networks see them.

A network sees windows `[B, L, C]` of a movement as an image `[B, F, N, D]`:
bins, frames, and two channels for each axis, its real and imaginary part. The
imaginary part of bin 0 and, for an even window, of the last bin is always 0.

References:
  Oppel and Munz, "IMUDiffusion", 2024, for the sizes.
"""

from collections.abc import Callable, Mapping
import dataclasses
from typing import Protocol

import jax.numpy as jnp
import numpy as np

from diffax.errors import UserError
from diffax.signal.fourier import frame_count
from diffax.signal.fourier import istft
from diffax.signal.fourier import stft
from diffax.typing import Array


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
