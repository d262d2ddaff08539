"""Layers over sequences `[B, L, C]` in which padding leaves no trace.

A mask `[B, L]` marks the frames that count. What stands in the others never
reaches those: a convolution reads zeros there, as it does beyond the ends, a
norm takes its moments without them, and no frame attends to them.
"""

from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from diffax.typing import Array


def hide(x: Array, mask: Array | None) -> Array:
  """Set the frames of `x` `[B, L, C]` that do not count to 0."""
  return x if mask is None else jnp.where(mask[..., None], x, 0)


ENDS = ('zeros', 'hold')


class Conv(nn.Module):
  """Convolve along time, with zeros where masked.

  Beyond the ends there are zeros, too, or `hold` repeats what is there. To a
  sequence whose mean is not 0 zeros are a jump, which a network has to learn
  to overlook.

  Of an odd number of zeros to add, the end has one more: a stride of 2 with 3
  taps reads one frame beyond the end.

  Attributes:
    features: of the output.
    taps: frames that the kernel spans.
    stride: frames between outputs, a divisor of the number of frames.
    zeros: whether the kernel starts at 0.
    ends: of `ENDS`; a mask goes with `zeros` alone.
    dtype: of the computation; parameters are float32.
  """

  features: int
  taps: int = 1
  stride: int = 1
  zeros: bool = False
  ends: str = 'zeros'
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array, mask: Array | None = None) -> Array:
    """Map `[B, L, C]` to `[B, L / stride, features]`."""
    before = (self.taps - self.stride) // 2
    after = self.taps - self.stride - before
    init: Any = nn.initializers.lecun_normal()
    if self.ends == 'hold':
      x = jnp.pad(x, ((0, 0), (before, after), (0, 0)), mode='edge')
      before = after = 0
    conv = nn.Conv(
        self.features, (self.taps,), self.stride, ((before, after),),
        dtype=self.dtype, name='conv',
        kernel_init=nn.initializers.zeros if self.zeros else init,
    )
    return conv(hide(x, mask))


class GroupNorm(nn.Module):
  """Normalise groups of features over the frames that count.

  Attributes:
    groups: a divisor of the features.
    dtype: of the result; moments are float32.
  """

  groups: int = 32
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array, mask: Array | None = None) -> Array:
    """Map `[B, L, C]` to `[B, L, C]`."""
    norm = nn.GroupNorm(
        self.groups, epsilon=1e-6, dtype=self.dtype, name='norm'
    )
    if mask is None:
      return norm(x)
    return norm(hide(x, mask), mask=jnp.broadcast_to(mask[..., None], x.shape))


def attend(
    query: Array, key: Array, value: Array, mask: Array | None = None
) -> Array:
  """Attend to the frames that count: softmax(q k^T / sqrt(C)) v.

  Args:
    query: `[B, L, heads, C]`.
    key: `[B, M, heads, C]`.
    value: `[B, M, heads, C]`.
    mask: of the keys `[B, M]`; one of each sequence counts at least.

  Returns:
    `[B, L, heads, C]`.
  """
  if mask is None:
    mask = jnp.ones(key.shape[:2], bool)

  def one(parts: tuple[Array, ...]) -> Array:
    q, k, v, seen = (x[None] for x in parts)
    return jax.nn.dot_product_attention(q, k, v, mask=seen[:, None, None])[0]

  parts = query, key, value, mask
  if jax.default_backend() == 'cpu':
    # One sequence's weights fit in the cache, a batch's do not.
    return jax.lax.map(jax.checkpoint(one), parts)
  return jax.nn.dot_product_attention(
      query, key, value, mask=mask[:, None, None]
  )


class SelfAttention(nn.Module):
  """Attend from each frame to all that count.

  Attributes:
    heads: a divisor of the features.
    bias: whether queries, keys and values have one; the output always has.
    dtype: of the computation; parameters are float32.
  """

  heads: int = 1
  bias: bool = True
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array, mask: Array | None = None) -> Array:
    """Map `[B, L, C]` to `[B, L, C]`."""
    width = x.shape[-1]
    shape = (self.heads, width // self.heads)

    def project(name: str) -> Array:
      dense = nn.DenseGeneral(
          shape, use_bias=self.bias, dtype=self.dtype, name=name,
          kernel_init=nn.initializers.xavier_uniform(),
      )
      return dense(x)

    out = attend(project('query'), project('key'), project('value'), mask)
    back = nn.DenseGeneral(
        width, (-2, -1), dtype=self.dtype, name='out',
        kernel_init=nn.initializers.xavier_uniform(),
    )
    return back(out)
