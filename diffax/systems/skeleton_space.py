"""Motions as the networks of SkeletonDiffusion see them.

Motions are metres, root-centred, `[..., L, J, 3]`. The networks see, along the
same axes, one of `REPRESENTATIONS`:

  frames           x_l / box
  dct              c_k / (box sqrt(L)),  c = C x over the frames
  dct_orthonormal  c_k / box

with C the orthonormal cosine transform (DCT-II) of L frames, past and future
each transformed by themselves, no coefficient left out,

  (1)  C_kl = sqrt(2 / L) cos(pi (l + 1/2) k / L),  row 0 over sqrt(2).

Everything that the networks do over frames they then do over coefficients, low
frequencies first: a horizon counts coefficients, the decoder is told the two
highest of the past, losses compare coefficients. The third is that of the
released code. It holds numbers of the order sqrt(L), which no decoder that
ends in tanh can make; over sqrt(L) they are at most as large as positions.

References:
  Curreli et al., "Nonisotropic Gaussian Diffusion for Realistic 3D Human
  Motion Prediction", CVPR 2025, Table 8 (Ours+DCT), Sec. E.4; the transform
  is that of its released code.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np

from diffax.errors import UserError
from diffax.typing import Array

REPRESENTATIONS = ('frames', 'dct', 'dct_orthonormal')


@dataclasses.dataclass(frozen=True)
class Space:
  """What the networks see of a motion.

  Attributes:
    box_size: metres that count as one.
    kind: one of `REPRESENTATIONS`.
  """

  box_size: float
  kind: str = 'frames'

  def __post_init__(self) -> None:
    if self.kind not in REPRESENTATIONS:
      raise UserError(
          f'representation: expected one of {REPRESENTATIONS}, found '
          f'{self.kind!r}.'
      )

  def enter(self, motion: Array) -> Array:
    """Map metres `[..., L, J, 3]` to what the networks see, likewise."""
    if self.kind == 'frames':
      return motion / self.box_size
    length = motion.shape[-3]
    return _along_frames(cosines(length), motion) / self._scale(length)

  def leave(self, x: Array) -> Array:
    """Undo `enter`."""
    if self.kind == 'frames':
      return x * self.box_size
    length = x.shape[-3]
    return _along_frames(cosines(length).T, x) * self._scale(length)

  def check_whole(self, frames: int, future: int) -> None:
    """Raise a UserError if a training future is cut, where it must not be."""
    if self.kind != 'frames' and frames != future:
      raise UserError(
          f'config.system.representation {self.kind!r}: expected whole futures '
          f'of {future} frames, found {frames}; set '
          f'config.data.curriculum.buckets = ({future},).'
      )

  def _scale(self, length: int) -> float:
    spread = math.sqrt(length) if self.kind == 'dct' else 1.0
    return self.box_size * spread


def cosines(length: int) -> np.ndarray:
  """Return C of Eq. 1, `[L, L]` float64, orthonormal."""
  k, frame = np.arange(length)[:, None], np.arange(length)[None]
  rows = np.sqrt(2 / length) * np.cos(np.pi * (frame + 0.5) * k / length)
  rows[0] /= np.sqrt(2)
  return rows


def _along_frames(matrix: np.ndarray, motion: Array) -> Array:
  return jnp.einsum(
      'kl,...ljc->...kjc', jnp.asarray(matrix, jnp.float32), motion,
      precision=jax.lax.Precision.HIGHEST,
  )
