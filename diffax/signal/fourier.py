"""Short-time Fourier transforms that compile.

A signal x is cut into frames of S samples every H samples, and frames are put
together again by adding them where they overlap,

  (1)  x_n[s] = x[n H + s],   (2)  x[l] = sum_n x_n[l - n H].

With a window w of size S and zeros of length S // 2 on both sides, frame n and
bin f of a spectrum are

  (3)  X[f, n] = c sum_s w[s] x_n[s] exp(-2 pi i f s / S),

with c = 1 / sum w ('spectrum') or 1 ('none'). The least-squares inverse adds
the inverse transforms x_n of the frames up again,

  (4)  x[l] = sum_n w[l - n H] x_n[l - n H] / (c sum_n w[l - n H]^2),

and is exact. A Hann window is 0.5 - 0.5 cos(2 pi s / N), N = S if periodic and
S - 1 if symmetric.

References:
  Griffin and Lim, "Signal Estimation from Modified Short-Time Fourier
  Transform", 1984, Eq. 6. `scipy.signal.stft` and `istft`, which these equal.
"""

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
  """Transform signals, Eq. 3.

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
  after = (frame_count(length, size, hop) - 1) * hop + size - half - length
  x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(half, after)])
  return jnp.swapaxes(analyse(x, weights, hop), -1, -2) * scale


def istft(
    spectrum: Array,
    size: int = 22,
    hop: int = 2,
    window: str = 'periodic',
    scaling: str = 'spectrum',
) -> Array:
  """Invert `stft`, Eq. 4.

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
  spectrum = jnp.swapaxes(spectrum, -1, -2) / scale
  total, half = synthesise(spectrum, weights, hop), size // 2
  return total[..., half:total.shape[-1] - half]


def frame(x: Array, size: int, hop: int) -> Array:
  """Cut a signal into frames, Eq. 1.

  Args:
    x: `[..., L]`, L at least `size`.
    size: S, samples of a frame.
    hop: H, samples between frames.

  Returns:
    `[..., N, S]`, N = (L - S) // H + 1; samples that fill no frame are left.
  """
  # Shifted copies of whole hops: a gather would be slow to differentiate.
  frames, pieces = (x.shape[-1] - size) // hop + 1, -(-size // hop)
  used = (frames + pieces - 1) * hop
  short = max(used - x.shape[-1], 0)
  x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, short)])[..., :used]
  blocks = x.reshape(*x.shape[:-1], -1, hop)
  copies = [blocks[..., k:k + frames, :] for k in range(pieces)]
  return jnp.concatenate(copies, axis=-1)[..., :size]


def overlap_add(frames: Array, hop: int) -> Array:
  """Add frames where they overlap, Eq. 2, the transpose of `frame`.

  Args:
    frames: `[..., N, S]`.
    hop: H, samples between frames.

  Returns:
    `[..., (N - 1) H + S]`.
  """
  *lead, count, size = frames.shape
  pieces = -(-size // hop)
  pads = [(0, 0)] * (frames.ndim - 1) + [(0, pieces * hop - size)]
  blocks = jnp.pad(frames, pads).reshape(*lead, count, pieces, hop)
  still = [(0, 0)] * len(lead)
  total = sum(
      jnp.pad(blocks[..., k, :], [*still, (k, pieces - 1 - k), (0, 0)])
      for k in range(pieces)
  )
  return jnp.reshape(total, (*lead, -1))[..., :(count - 1) * hop + size]


def analyse(x: Array, weights: np.ndarray, hop: int) -> Array:
  """Transform the frames of a signal, Eq. 3 without padding and with c = 1.

  Args:
    x: real, `[..., L]`.
    weights: the window, [S].
    hop: H, samples between frames.

  Returns:
    `[..., N, F]` complex, frames before bins.
  """
  cut = frame(x, len(weights), hop)
  return jnp.fft.rfft(cut * _row(weights, cut), axis=-1)


def synthesise(spectrum: Array, weights: np.ndarray, hop: int) -> Array:
  """Invert `analyse` in the sense of least squares, Eq. 4 with c = 1.

  Args:
    spectrum: `[..., N, F]` complex.
    weights: the window, [S].
    hop: H, samples between frames.

  Returns:
    `[..., (N - 1) H + S]` real; 0 where no window reaches.
  """
  parts = jnp.fft.irfft(spectrum, len(weights), axis=-1)
  total = overlap_add(parts * _row(weights, parts), hop)
  norm = _power(weights, spectrum.shape[-2], hop)
  return total / _row(np.where(norm > _NONE, norm, 1), total)


def _scaled(
    size: int, hop: int, window: str, scaling: str
) -> tuple[np.ndarray, float]:
  """Return the window [S] and c of Eq. 3."""
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


def _power(weights: np.ndarray, frames: int, hop: int) -> np.ndarray:
  """Return the sum of squared windows at each sample: [(N - 1) H + S]."""
  pieces = -(-len(weights) // hop)
  squares = np.pad(weights**2, (0, pieces * hop - len(weights)))
  rows = np.zeros((frames + pieces - 1, hop))
  for k, block in enumerate(squares.reshape(pieces, hop)):
    rows[k:k + frames] += block
  return rows.ravel()[:(frames - 1) * hop + len(weights)]
