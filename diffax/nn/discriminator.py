"""A critic of patches of spectrograms, seen as images of one channel.

Convolutions of 4 x 4 halve both axes thrice, two more look at neighbours, and
what remains is a map of verdicts, each on a patch of some 70 x 70. The norms
of the middle layers are over groups of features of one image; the paper's are
over the batch, which would mix true with made ones and need running moments.

References:
  Isola et al., "Image-to-Image Translation with Conditional Adversarial
  Networks", CVPR 2017 (the 70 x 70 critic).
  You et al., "MoMu-Diffusion", NeurIPS 2024, A.2.
"""

from typing import Any

from flax import linen as nn
import jax.numpy as jnp

from diffax.typing import Array

_SLOPE = 0.2


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
      y = self._conv(multiple * self.width, stride, f'conv_{layer}')(y)
      if layer:
        y = nn.GroupNorm(
            self.groups, epsilon=1e-5, dtype=self.dtype, name=f'norm_{layer}'
        )(y)
      y = nn.leaky_relu(y, _SLOPE)
    return self._conv(1, 1, 'verdict')(y)[..., 0].astype(jnp.float32)

  def _conv(self, features: int, stride: int, name: str) -> nn.Conv:
    return nn.Conv(
        features, (4, 4), stride, 1, dtype=self.dtype, name=name,
        kernel_init=nn.initializers.normal(0.02),
    )
