"""The UNet as a denoiser of sequences given others of their length.

It takes what `nn.feedforward` takes, so that the two can be compared. Sequences
are images of one bin; the condition, embedded frame by frame, joins the noisy
sequence along the channels. There are no masks: a UNet's norms and borders see
where a sequence ends, so it is trained and run on whole sequences.
"""

from typing import Any

from flax import linen as nn
import jax.numpy as jnp

from diffax.nn.feedforward import ConditionTokens
from diffax.nn.unet import UNet
from diffax.typing import Array


class SeriesUNet(nn.Module):
  """Predict the noise of a sequence given another.

  Attributes:
    channels: C of the sequence.
    base: features of the outer level.
    blocks: (Res, Attn) pairs of each part.
    heads: of the attention.
    groups: of the norms.
    dtype: of the computation; parameters are float32.
  """

  channels: int
  base: int = 576
  blocks: int = 4
  heads: int = 8
  groups: int = 32
  dtype: Any = jnp.float32

  @property
  def longest(self) -> int | None:
    """Frames that it takes at most: any number."""
    return None

  @nn.compact
  def __call__(
      self,
      x: Array,
      t: Array,
      condition: Array,
      present: Array,
      mask: Array | None = None,
  ) -> Array:
    """Predict.

    Args:
      x: `[B, L, C]`, L even.
      t: times `[B]`.
      condition: `[B, L, D]`.
      present: whether the condition is there, `[B]`.
      mask: None.

    Returns:
      `[B, L, C]` float32.
    """
    if mask is not None:
      raise ValueError('mask: the UNet takes none; train the FFT, or whole.')
    given = ConditionTokens(self.base, self.dtype, name='condition')(
        condition, present
    )
    both = jnp.concatenate([x.astype(self.dtype), given], axis=-1)
    unet = UNet(
        self.channels, base=self.base, blocks=self.blocks, heads=self.heads,
        groups=self.groups, offsets=False, dtype=self.dtype, name='unet',
    )
    return unet(both[:, None], t)[:, 0]
