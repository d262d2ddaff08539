"""A UNet over images `[B, F, N, C]` of bins, frames and channels.

  (1)  Down  (Res, Attn) x 2, then half the frames
       Mid   (Res, Attn) x 2 with twice the features
       Up    twice the frames, Down's features beside them, (Res, Attn) x 2
  (2)  Res(x)  = x + conv(silu(norm(conv(silu(norm(x))) + W silu(e))))
  (3)  Attn(x) = x + O(softmax(Q y (K y)^T / sqrt(C)) V y),  y = norm(x)
  (4)  e(t) = MLP([sin(t w_i), cos(t w_i)]),  w_i = 10000^(-i / T), i < T

Convolutions span three frames and no bins, so only attention mixes bins, over
the tokens of one of `ATTENTION`. Neither tells one bin from another: each has
a learned offset of its own. An image of one bin is a series.

A convolution along time is a product of shifted copies with one matrix. A
stack of networks under `jax.vmap` is then a stack of products; as convolutions
they would turn into grouped ones, for which few devices have a fast kernel.

References:
  Oppel and Munz, "IMUDiffusion", 2024: blocks, base width 32, one reduction
  along time, kernels along time, the form of Eq. 4 with T = 128. The MLP of
  Eq. 4, the offsets and the number of heads and groups are ours.
  Ronneberger et al., "U-Net", 2015. Wu and He, "Group Normalization", 2018.
"""

from collections.abc import Mapping
from typing import Any

import einops
from flax import linen as nn
import jax
import jax.numpy as jnp

from diffax.nn.embed import sinusoidal
from diffax.nn.transformer import attend
from diffax.typing import Array
from diffax.typing import Params

# What attends to what: tokens `f n` of heads `h`, or of heads and lines.
ATTENTION: Mapping[str, str] = {
    'all': 'b h (f n) c',
    'time': 'b (f h) n c',
    'frequency': 'b (n h) f c',
    'none': '',
}
_IMAGE = 'b f n h c'


def parameters(params: Params) -> int:
  """Count the numbers in a tree of parameters or of their shapes."""
  return sum(leaf.size for leaf in jax.tree.leaves(params))


class TimeConv(nn.Module):
  """Convolve along time, with zeros beyond the ends.

  Attributes:
    features: of the output.
    taps: frames that the kernel spans.
    stride: frames between outputs, a divisor of the number of frames.
    zeros: whether the kernel starts at 0.
    dtype: of the computation; parameters are float32.
  """

  features: int
  taps: int = 3
  stride: int = 1
  zeros: bool = False
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Map `[B, F, N, C]` to `[B, F, N / stride, features]`."""
    frames = x.shape[2]
    before = (self.taps - self.stride + 1) // 2
    after = self.taps - self.stride - before
    x = jnp.pad(x, ((0, 0), (0, 0), (before, after), (0, 0)))
    last = frames - self.stride + 1
    copies = [x[:, :, k:k + last:self.stride] for k in range(self.taps)]
    init: Any = nn.initializers.lecun_normal()
    dense = nn.Dense(
        self.features, dtype=self.dtype, name='kernel',
        kernel_init=nn.initializers.zeros if self.zeros else init,
    )
    return dense(jnp.concatenate(copies, axis=-1))


class Residual(nn.Module):
  """Apply Eq. 2; a linear layer widens x where it must.

  Attributes:
    features: of the output.
    groups: of the norms.
    dtype: of the computation.
  """

  features: int
  groups: int = 8
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array, embedding: Array) -> Array:
    """Map `[B, F, N, C]` and `[B, E]` to `[B, F, N, features]`."""

    def change(y: Array, name: str) -> Array:
      y = nn.GroupNorm(self.groups, dtype=self.dtype, name=f'norm_{name}')(y)
      conv = TimeConv(self.features, dtype=self.dtype, name=f'conv_{name}')
      return conv(nn.silu(y))

    moved = nn.Dense(self.features, dtype=self.dtype, name='embedding')(
        nn.silu(embedding)
    )
    y = change(x, 'in') + moved[:, None, None]
    y = change(y, 'out')
    if x.shape[-1] != self.features:
      x = nn.Dense(self.features, dtype=self.dtype, name='skip')(x)
    return x + y


class SelfAttention(nn.Module):
  """Apply Eq. 3 to the tokens of an image.

  Attributes:
    over: key of `ATTENTION`, not `none`.
    heads: a divisor of the features.
    groups: of the norm.
    dtype: of the computation.
  """

  over: str = 'all'
  heads: int = 4
  groups: int = 8
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Map `[B, F, N, C]` to `[B, F, N, C]`."""
    _, bins, frames, width = x.shape
    y = nn.GroupNorm(self.groups, dtype=self.dtype, name='norm')(x)
    tokens = ATTENTION[self.over]

    def project(name: str) -> Array:
      shape = (self.heads, width // self.heads)
      made = nn.DenseGeneral(shape, dtype=self.dtype, name=name)(y)
      return einops.rearrange(made, f'{_IMAGE} -> {tokens}')

    out = attend(project('query'), project('key'), project('value'))
    out = einops.rearrange(
        out, f'{tokens} -> {_IMAGE}', f=bins, n=frames, h=self.heads
    )
    return x + nn.DenseGeneral(width, (-2, -1), dtype=self.dtype, name='out')(
        out
    )


class Blocks(nn.Module):
  """Apply (Res, Attn) some times.

  Attributes:
    features: of the output.
    count: how many times.
    attention: key of `ATTENTION`.
    heads: of the attention.
    groups: of the norms.
    dtype: of the computation.
  """

  features: int
  count: int = 2
  attention: str = 'all'
  heads: int = 4
  groups: int = 8
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array, embedding: Array) -> Array:
    """Map `[B, F, N, C]` and `[B, E]` to `[B, F, N, features]`."""
    for i in range(self.count):
      x = Residual(self.features, self.groups, self.dtype, name=f'res_{i}')(
          x, embedding
      )
      if self.attention != 'none':
        x = SelfAttention(
            self.attention, self.heads, self.groups, self.dtype,
            name=f'attn_{i}',
        )(x)
    return x


class UNet(nn.Module):
  """Map a noisy image, its time and its class to an image (Eq. 1).

  The output starts at 0.

  Attributes:
    channels: of the output.
    classes: how many there are to condition on; 0 for none. There is one more,
      the null class, whose number is `classes`.
    base: features of Down and Up, a multiple of `groups` and `heads`.
    blocks: (Res, Attn) pairs of each of Down, Mid and Up.
    attention: key of `ATTENTION`.
    heads: of the attention.
    groups: of the norms.
    t_dim: T of Eq. 4, and features of e.
    offsets: whether each bin has a learned offset.
    dtype: of the computation; parameters are float32.
  """

  channels: int
  classes: int = 0
  base: int = 32
  blocks: int = 2
  attention: str = 'all'
  heads: int = 4
  groups: int = 8
  t_dim: int = 128
  offsets: bool = True
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array, t: Array, label: Array | None = None) -> Array:
    """Predict.

    Args:
      x: `[B, F, N, C]`, N even.
      t: times `[B]`.
      label: classes `[B]`; None is the null class of all.

    Returns:
      `[B, F, N, channels]` float32.
    """
    embedding = self._embedding(t, label)

    def part(name: str, features: int, y: Array) -> Array:
      blocks = Blocks(
          features, self.blocks, self.attention, self.heads, self.groups,
          self.dtype, name=name,
      )
      return blocks(y, embedding)

    y = TimeConv(self.base, dtype=self.dtype, name='in')(x.astype(self.dtype))
    if self.offsets:
      shape = (1, x.shape[1], 1, self.base)
      y += self.param('bins', nn.initializers.normal(0.02), shape).astype(
          self.dtype
      )
    skip = part('down', self.base, y)
    y = TimeConv(2 * self.base, 4, 2, dtype=self.dtype, name='halve')(skip)
    y = part('mid', 2 * self.base, y)
    y = jnp.repeat(y, 2, axis=2)
    y = part('up', self.base, jnp.concatenate([y, skip], axis=-1))
    y = nn.silu(nn.GroupNorm(self.groups, dtype=self.dtype, name='norm')(y))
    y = TimeConv(self.channels, zeros=True, dtype=self.dtype, name='out')(y)
    return y.astype(jnp.float32)

  def _embedding(self, t: Array, label: Array | None) -> Array:
    """Return e of Eq. 4, and the class's on top of it: `[B, t_dim]`."""
    # With this theta the exponents are i / T instead of i / (T - 1).
    theta = 10000.0 ** ((self.t_dim - 1) / self.t_dim)
    x = sinusoidal(t, 2 * self.t_dim, theta).astype(self.dtype)
    x = nn.silu(nn.Dense(self.t_dim, dtype=self.dtype, name='time_in')(x))
    x = nn.Dense(self.t_dim, dtype=self.dtype, name='time_out')(x)
    if self.classes:
      null = jnp.full(t.shape, self.classes)
      embed = nn.Embed(
          self.classes + 1, self.t_dim, dtype=self.dtype, name='class'
      )
      x += embed(null if label is None else label)
    return x
