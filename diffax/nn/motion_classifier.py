"""Networks that tell the class of a clip, whose features serve as a measure.

A clip of movement is cut into patches of P frames. Its tokens are the joints
of the patches, and layers look in turn at the joints of one patch and at the
patches of one joint,

  (1)  h = h + A_space(n(h));  h = h + A_time(n(h));  h = h + F(n(h))
  (2)  f = W mean_{j,p} n(h),  logits = V f.

with attention A, layer norms n and F = W_2 gelu(W_1). A clip of sound, a
mel-spectrogram, goes through convolutions over time, whose channels are the
bands, each followed by a maximum over two frames,

  (3)  h = pool(relu(conv(h))),  f = W [mean_t h, max_t h],  logits = V f.

Features are linear: a function that saturates would make clips alike.

References:
  Zhu et al., "MotionBERT: A Unified Perspective on Learning Human Motion
  Representations", ICCV 2023, for attention over space and time; its width
  is 512, which needs more clips than a small set has.
"""

from collections.abc import Sequence

import einops
from flax import linen as nn
import jax.numpy as jnp

from diffax.nn.transformer import positions
from diffax.nn.unet import TimeConv
from diffax.typing import Array


class MotionClassifier(nn.Module):
  """Tell the class of a clip of 2-D poses (Eq. 1-2).

  Attributes:
    classes: how many.
    joints: J, of a pose.
    width: features of a token, a multiple of `heads`.
    layers: rounds of Eq. 1.
    heads: of the attention.
    patch: P, frames of a token.
    features: of a clip.
    dropout: rate while training.
  """

  classes: int
  joints: int = 14
  width: int = 32
  layers: int = 2
  heads: int = 4
  patch: int = 8
  features: int = 32
  dropout: float = 0.1

  def setup(self) -> None:
    self.embed = nn.Dense(self.width)
    self.joint = self.param(
        'joint', nn.initializers.normal(0.02), (self.joints, self.width)
    )
    self.rounds = [
        SpaceTime(self.heads, 2 * self.width, self.dropout)
        for _ in range(self.layers)
    ]
    self.norm = nn.LayerNorm()
    self.bottleneck = nn.Dense(self.features)
    self.logits = nn.Dense(self.classes)

  def __call__(self, x: Array, train: bool = False) -> Array:
    """Map clips to logits.

    Args:
      x: normalised poses `[B, T, 2 J]`, T a multiple of `patch`.
      train: whether to drop features; needs the random stream `dropout`.

    Returns:
      `[B, classes]`.
    """
    return self.logits(self.encode(x, train))

  def encode(self, x: Array, train: bool = False) -> Array:
    """Map clips `[B, T, 2 J]` to features `[B, features]`."""
    tokens = einops.rearrange(
        x, 'b (p f) (j c) -> b p j (f c)', f=self.patch, j=self.joints
    )
    place = positions(tokens.shape[1], self.width)[None, :, None]
    h = self.embed(tokens)
    h = h + jnp.broadcast_to(place + self.joint[None, None], h.shape)
    for layer in self.rounds:
      h = layer(h, train)
    return self.bottleneck(self.norm(h).mean((1, 2)))


class SpaceTime(nn.Module):
  """Attend over joints, then over time (Eq. 1).

  Attributes:
    heads: of the attention.
    hidden: features within F.
    dropout: rate after each part.
  """

  heads: int
  hidden: int
  dropout: float = 0.0

  @nn.compact
  def __call__(self, h: Array, train: bool = False) -> Array:
    """Map tokens `[B, P, J, D]` to the same shape."""

    def drop(y: Array) -> Array:
      return nn.Dropout(self.dropout, deterministic=not train)(y)

    def attend(name: str, y: Array) -> Array:
      y = nn.LayerNorm(name=f'norm_{name}')(y)
      return drop(nn.MultiHeadAttention(self.heads, name=name)(y, y))

    h = h + attend('space', h)
    turned = jnp.swapaxes(h, 1, 2)
    h = h + jnp.swapaxes(attend('time', turned), 1, 2)
    y = nn.gelu(nn.Dense(self.hidden, name='in')(nn.LayerNorm(name='norm')(h)))
    return h + drop(nn.Dense(h.shape[-1], name='out')(y))


class MelClassifier(nn.Module):
  """Tell the class of a clip of sound (Eq. 3).

  Attributes:
    classes: how many.
    filters: of the convolutions.
    taps: frames that a kernel spans.
    features: of a clip.
    dropout: rate while training.
  """

  classes: int
  filters: Sequence[int] = (64, 64, 64)
  taps: int = 5
  features: int = 32
  dropout: float = 0.1

  def setup(self) -> None:
    self.convs = [TimeConv(width, self.taps) for width in self.filters]
    self.bottleneck = nn.Dense(self.features)
    self.logits = nn.Dense(self.classes)
    self.drop = nn.Dropout(self.dropout)

  def __call__(self, x: Array, train: bool = False) -> Array:
    """Map clips to logits.

    Args:
      x: standardised log mel `[B, T, bands]`.
      train: whether to drop features; needs the random stream `dropout`.

    Returns:
      `[B, classes]`.
    """
    return self.logits(self.encode(x, train))

  def encode(self, x: Array, train: bool = False) -> Array:
    """Map clips `[B, T, bands]` to features `[B, features]`."""
    h = x[:, None]
    for conv in self.convs:
      h = nn.relu(conv(h))
      # Frames that fill no pair are dropped.
      h = h[:, :, :h.shape[2] // 2 * 2]
      h = einops.reduce(h, 'b 1 (t p) c -> b 1 t c', 'max', p=2)
    pooled = jnp.concatenate([h.mean((1, 2)), h.max((1, 2))], axis=-1)
    return self.bottleneck(self.drop(pooled, deterministic=not train))
