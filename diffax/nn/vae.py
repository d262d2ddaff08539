"""A variational autoencoder of sequences, at half their rate.

  (1)  E(x)  conv -> 2 Res, halve -> 2 Res -> 2 Res -> Res, Attn, Res -> conv
  (2)  D(z)  conv -> Res, Attn, Res -> 3 Res -> 3 Res, double -> 3 Res -> conv
  (3)  Res(x)  = x + conv(swish(norm(conv(swish(norm(x))))))
  (4)  Attn(x) = x + O(softmax(Q y (K y)^T / sqrt(C)) V y),  y = norm(x)
  (5)  q(z | x) = N(mean, exp(log_variance)), linear in E's output

with widths of 1, 2 and 4 times a base along the levels of E, and back along
those of D. Kernels of Eq. 2 span 3 frames but for its first and last: with
them the network has the size that its paper states.

References:
  You et al., "MoMu-Diffusion", NeurIPS 2024, A.1, Table 8, whose hidden
  channels are those of z, and whose attention is that of the middle alone.
  Huang et al., "Make-An-Audio 2", 2023: the network, released.
  Kingma and Welling, "Auto-Encoding Variational Bayes", 2014.
"""

from collections.abc import Sequence
import functools
from typing import Any, NamedTuple

from flax import linen as nn
import jax
import jax.numpy as jnp

from diffax.nn.temporal import Conv
from diffax.nn.temporal import GroupNorm
from diffax.nn.temporal import SelfAttention
from diffax.typing import Array
from diffax.typing import Key

# Of log variances, as released.
BOUNDS = (-30.0, 20.0)
_DECODER_TAPS = 3


class Posterior(NamedTuple):
  """Hold q(z | x) of Eq. 5, both `[B, L / 2, D]` float32."""

  mean: Array
  log_variance: Array

  def draw(self, key: Key) -> Array:
    """Draw latents `[B, L / 2, D]`."""
    noise = jax.random.normal(key, self.mean.shape)
    return self.mean + jnp.exp(0.5 * self.log_variance) * noise


class Residual(nn.Module):
  """Apply Eq. 3; a linear layer widens x where it must.

  Attributes:
    features: of the output.
    taps: frames that a kernel spans.
    groups: of the norms.
    ends: of `temporal.ENDS`, beyond the ends of a sequence.
    dtype: of the computation; parameters are float32.
  """

  features: int
  taps: int = 3
  groups: int = 32
  ends: str = 'zeros'
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Map `[B, L, C]` to `[B, L, features]`."""
    y = x
    for name in ('in', 'out'):
      y = GroupNorm(self.groups, self.dtype, name=f'norm_{name}')(y)
      y = Conv(
          self.features, self.taps, ends=self.ends, dtype=self.dtype,
          name=f'conv_{name}',
      )(nn.swish(y))
    if x.shape[-1] != self.features:
      x = Conv(self.features, dtype=self.dtype, name='skip')(x)
    return x + y


class Middle(nn.Module):
  """Apply Res, Attn, Res (Eq. 3-4) without a change of width.

  Attributes:
    taps: frames that a kernel spans.
    groups: of the norms.
    ends: of `temporal.ENDS`, beyond the ends of a sequence.
    dtype: of the computation.
  """

  taps: int = 3
  groups: int = 32
  ends: str = 'zeros'
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Map `[B, L, C]` to `[B, L, C]`."""

    def residual(name: str) -> Residual:
      return Residual(
          x.shape[-1], self.taps, self.groups, self.ends, self.dtype, name=name
      )

    x = residual('res_in')(x)
    y = GroupNorm(self.groups, self.dtype, name='norm')(x)
    x = x + SelfAttention(dtype=self.dtype, name='attention')(y)
    return residual('res_out')(x)


class Encoder(nn.Module):
  """Map a sequence to the moments of its latents (Eq. 1).

  Attributes:
    width: the base.
    multiples: of the base, by level.
    blocks: residual blocks of a level.
    taps: frames that a kernel spans.
    latent: D.
    groups: of the norms, a divisor of the width.
    ends: of `temporal.ENDS`, beyond the ends of a sequence.
    dtype: of the computation; parameters are float32.
  """

  width: int = 384
  multiples: Sequence[int] = (1, 2, 4)
  blocks: int = 2
  taps: int = 5
  latent: int = 20
  groups: int = 32
  ends: str = 'zeros'
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Map `[B, L, C]` to `[B, L / 2, 2 D]`, L even."""
    conv = functools.partial(Conv, ends=self.ends, dtype=self.dtype)
    y = conv(self.width, self.taps, name='read')(x)
    for level, multiple in enumerate(self.multiples):
      for block in range(self.blocks):
        y = Residual(
            multiple * self.width, self.taps, self.groups, self.ends,
            self.dtype, name=f'res_{level}_{block}',
        )(y)
      if level == 0:
        y = conv(self.width * multiple, 3, 2, name='halve')(y)
    y = Middle(
        self.taps, self.groups, self.ends, self.dtype, name='middle'
    )(y)
    y = nn.swish(GroupNorm(self.groups, self.dtype, name='norm')(y))
    return conv(2 * self.latent, self.taps, name='write')(y)


class Decoder(nn.Module):
  """Map latents to the features of which the sequence is linear (Eq. 2).

  Attributes:
    width: the base.
    multiples: of the base, by level of the encoder.
    blocks: residual blocks of its levels; one more here.
    taps: frames that the first kernel spans.
    groups: of the norms.
    ends: of `temporal.ENDS`, beyond the ends of a sequence.
    dtype: of the computation; parameters are float32.
  """

  width: int = 384
  multiples: Sequence[int] = (1, 2, 4)
  blocks: int = 2
  taps: int = 5
  groups: int = 32
  ends: str = 'zeros'
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, z: Array) -> Array:
    """Map `[B, L / 2, D]` to `[B, L, width]`."""
    inner = self.width * self.multiples[-1]
    conv = functools.partial(Conv, ends=self.ends, dtype=self.dtype)
    y = conv(inner, self.taps, name='read')(z)
    y = Middle(
        _DECODER_TAPS, self.groups, self.ends, self.dtype, name='middle'
    )(y)
    for level in reversed(range(len(self.multiples))):
      features = self.width * self.multiples[level]
      for block in range(self.blocks + 1):
        y = Residual(
            features, _DECODER_TAPS, self.groups, self.ends, self.dtype,
            name=f'res_{level}_{block}',
        )(y)
      if level == 1:
        y = jnp.repeat(y, 2, axis=1)
        y = conv(features, 3, name='double')(y)
    return nn.swish(GroupNorm(self.groups, self.dtype, name='norm')(y))


class Autoencoder(nn.Module):
  """Encode sequences to Gaussians of latents, and decode latents.

  Attributes:
    channels: C of the sequences.
    width: the base, a multiple of `groups`.
    multiples: of the base, by level; two or more.
    blocks: residual blocks of a level.
    taps: frames that a kernel spans.
    latent: D.
    groups: of the norms.
    ends: of `temporal.ENDS`, beyond the ends of a sequence.
    dtype: of the computation; parameters are float32.
  """

  channels: int
  width: int = 384
  multiples: Sequence[int] = (1, 2, 4)
  blocks: int = 2
  taps: int = 5
  latent: int = 20
  groups: int = 32
  ends: str = 'zeros'
  dtype: Any = jnp.float32

  def setup(self) -> None:
    """Make the parts."""
    shape = {
        'width': self.width, 'multiples': self.multiples,
        'blocks': self.blocks, 'taps': self.taps, 'groups': self.groups,
        'ends': self.ends, 'dtype': self.dtype,
    }
    self.encoder = Encoder(latent=self.latent, **shape)
    self.decoder = Decoder(**shape)
    self.moments = Conv(2 * self.latent, dtype=self.dtype)
    self.unpack = Conv(self.latent, dtype=self.dtype)
    self.write = Conv(
        self.channels, self.taps, ends=self.ends, dtype=self.dtype
    )

  def __call__(self, x: Array) -> Array:
    """Decode the mean of the posterior: `[B, L, C]` to `[B, L, C]`."""
    return self.decode(self.encode(x).mean)

  def encode(self, x: Array) -> Posterior:
    """Return the posterior of sequences `[B, L, C]`, L even."""
    moments = self.moments(self.encoder(x.astype(self.dtype)))
    mean, log_variance = jnp.split(moments.astype(jnp.float32), 2, axis=-1)
    return Posterior(mean, jnp.clip(log_variance, *BOUNDS))

  def decode(self, z: Array) -> Array:
    """Map latents `[B, L / 2, D]` to sequences `[B, L, C]` float32."""
    return self.output(self.features(z))

  def features(self, z: Array) -> Array:
    """Map latents `[B, L / 2, D]` to all but the last layer: `[B, L, W]`."""
    return self.decoder(self.unpack(z.astype(self.dtype)))

  def output(self, features: Array) -> Array:
    """Apply the last layer: `[B, L, W]` to `[B, L, C]` float32."""
    return self.write(features).astype(jnp.float32)
