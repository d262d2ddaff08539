"""A critic of patches of spectrograms, seen as images of one channel.

Convolutions of 4 x 4 halve both axes thrice, two more look at neighbours, and
what remains is a map of verdicts, each on a patch of some 70 x 70. The norms
of the middle layers are over groups of features of one image; the paper's are
over the batch, which would mix true with made ones and need running moments.

Convolutions are products with patches: the second derivatives that a penalty
on gradients takes of `lax.conv` were four times as slow on a processor, and
twenty times within a conditional.

References:
  Isola et al., "Image-to-Image Translation with Conditional Adversarial
  Networks", CVPR 2017 (the 70 x 70 critic).
  You et al., "MoMu-Diffusion", NeurIPS 2024, A.2.
"""

from typing import Any

import einops
from flax import linen as nn
import jax.numpy as jnp

from diffax.typing import Array

_SLOPE = 0.2
_TAPS = 4


class PatchConv(nn.Module):
  """Convolve images with 4 x 4 taps, one pixel of zeros around them.

  Attributes:
    features: of the output.
    stride: 1 or 2.
    dtype: of the computation; parameters are float32.
  """

  features: int
  stride: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Map `[B, H, W, C]` to `[B, H', W', features]`."""
    dense = nn.Dense(
        self.features, dtype=self.dtype, name='kernel',
        kernel_init=nn.initializers.normal(0.02),
    )
    return dense(patches(x, _TAPS, self.stride))


def patches(x: Array, taps: int, stride: int) -> Array:
  """Collect the neighbours of pixels, one pixel of zeros around the image.

  Args:
    x: `[B, H, W, C]`.
    taps: pixels of a patch along each axis, a multiple of the stride.
    stride: pixels between patches.

  Returns:
    `[B, (H - taps + 2) // stride + 1, ..., taps^2 C]`.
  """
  x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
  height, width = ((n - taps) // stride + 1 for n in x.shape[1:3])
  reach = taps // stride
  x = x[:, :stride * (height + reach - 1), :stride * (width + reach - 1)]
  # Blocks of the stride become features, so that patches are plain slices.
  x = einops.rearrange(
      x, 'b (h i) (w j) c -> b h w (i j c)', i=stride, j=stride
  )
  return jnp.concatenate(
      [x[:, i:i + height, j:j + width] for i in range(reach)
       for j in range(reach)], axis=-1
  )


class PatchCritic(nn.Module):
  """Judge patches of spectrograms.

  Attributes:
    width: features of the first layer; the others have 2, 4 and 8 times that.
    groups: of the norms.
    dtype: of the computation; parameters are float32.
  """

  width: int = 64
  groups: int = 8
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Map `[B, T, C]`, T and C 24 or more, to verdicts `[B, T', C']`."""
    y = x[..., None].astype(self.dtype)
    for layer, (multiple, stride) in enumerate(
        ((1, 2), (2, 2), (4, 2), (8, 1))
    ):
      y = PatchConv(
          multiple * self.width, stride, self.dtype, name=f'conv_{layer}'
      )(y)
      if layer:
        y = nn.GroupNorm(
            self.groups, epsilon=1e-5, dtype=self.dtype, name=f'norm_{layer}'
        )(y)
      y = nn.leaky_relu(y, _SLOPE)
    verdict = PatchConv(1, 1, self.dtype, name='verdict')(y)
    return verdict[..., 0].astype(jnp.float32)
