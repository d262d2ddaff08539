"""A convolutional network that recognises the activity of a window.

  (1)  h = relu(conv_3(pool(relu(conv_2(relu(conv_1(x)))))))
  (2)  logits = W_3 relu(W_2 relu(W_1 flatten(h)))

Kernels span time alone: the channels of the sensors stay apart until W_1,
which reads all of them. Dropout follows the first two linear layers.

Convolutions are the products of `unet.TimeConv`, and the pooling is a maximum:
inside a compiled loop on a processor their gradients take a tenth of the time
of those of convolutions.

References:
  Oppel and Munz, "IMUDiffusion: A Diffusion Model for Multivariate Time Series
  Synthetisation for Inertial Motion Capturing Systems", 2024, its classifier.
  It names the layers and the rate of dropout; the widths are ours.
"""

from collections.abc import Sequence
from typing import Any

import einops
from flax import linen as nn
import jax.numpy as jnp

from diffax.nn.unet import TimeConv
from diffax.typing import Array


class Recogniser(nn.Module):
  """Tell the class of a window (Eq. 1-2).

  Attributes:
    classes: how many.
    filters: of the three convolutions.
    taps: samples that a kernel spans.
    pool: samples that become one after the second convolution.
    hidden: features of the first two linear layers.
    dropout: rate while training.
    dtype: of the computation; parameters are float32.
  """

  classes: int
  filters: Sequence[int] = (16, 32, 64)
  taps: int = 5
  pool: int = 2
  hidden: Sequence[int] = (128, 64)
  dropout: float = 0.3
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array, train: bool = False) -> Array:
    """Map windows to logits.

    Args:
      x: standardised windows `[B, L, C]`.
      train: whether to drop features; needs the random stream `dropout`.

    Returns:
      `[B, classes]` float32.
    """
    # The axes of the sensors stand where an image has its bins.
    x = einops.rearrange(x.astype(self.dtype), 'b l c -> b c l 1')
    for layer, width in enumerate(self.filters, 1):
      conv = TimeConv(
          width, self.taps, dtype=self.dtype, name=f'conv_{layer}'
      )
      x = nn.relu(conv(x))
      if layer == 2:
        # Samples that fill no pool are dropped.
        x = x[:, :, :x.shape[2] // self.pool * self.pool]
        x = einops.reduce(
            x, 'b c (l p) d -> b c l d', 'max', p=self.pool
        )
    x = x.reshape(len(x), -1)
    for layer, width in enumerate(self.hidden, 1):
      x = nn.relu(nn.Dense(width, dtype=self.dtype, name=f'linear_{layer}')(x))
      x = nn.Dropout(self.dropout, deterministic=not train)(x)
    return nn.Dense(self.classes, name='logits')(x.astype(jnp.float32))
