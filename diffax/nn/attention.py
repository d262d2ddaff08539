"""Attention between the nodes of a graph, with typed projections.

  (1)  y = x + O(softmax(q k^T / sqrt(C)) v),  [q, k, v] = Q(norm(x))
  (2)  norm(x) = sqrt(D) g x / |x|

Q and O are typed graph linear layers without bias (graph.py).

References:
  Curreli et al., "Nonisotropic Gaussian Diffusion for Realistic 3D Human
  Motion Prediction", CVPR 2025, Sec. 4.4, and its released code.
"""

from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from diffax.nn.graph import TypedGraphLinear
from diffax.typing import Array


class RMSNorm(nn.Module):
  """Scale each feature vector to the length sqrt(D) and by g (Eq. 2)."""

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Map `[..., D]` to `[..., D]`; the norm is computed in float32."""
    scale = self.param('scale', nn.initializers.ones, x.shape[-1:])
    wide = x.astype(jnp.float32)
    mean_square = jnp.mean(jnp.square(wide), axis=-1, keepdims=True)
    # The bound is that of a length of 1e-12, as released.
    factor = jax.lax.rsqrt(jnp.maximum(mean_square, 1e-24 / x.shape[-1]))
    return (wide * factor * jnp.broadcast_to(scale, x.shape)).astype(x.dtype)


def attend(query: Array, key: Array, value: Array) -> Array:
  """Attend over the nodes.

  Args:
    query: `[J, B, heads, C]`.
    key: `[J, B, heads, C]`.
    value: `[J, B, heads, C]`.

  Returns:
    `[J, B, heads, C]`.
  """
  query, key, value = (
      jnp.transpose(x, (1, 2, 0, 3)) for x in (query, key, value)
  )
  scores = jnp.einsum('bhic,bhjc->bhij', query, key) * query.shape[-1] ** -0.5
  weights = jax.nn.softmax(scores.astype(jnp.float32), axis=-1)
  out = jnp.einsum('bhij,bhjc->bhic', weights.astype(value.dtype), value)
  return jnp.transpose(out, (2, 0, 1, 3))


class TypedGraphAttention(nn.Module):
  """Apply Eq. 1, the residual included.

  Attributes:
    types: of the nodes, J.
    heads: number of heads.
    head_width: features of a head, C.
    dtype: of the computation; parameters are float32.
  """

  types: tuple[int, ...]
  heads: int = 8
  head_width: int = 32
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Map `[J, B, D]` to `[J, B, D]`."""
    inner = self.heads * self.head_width
    project = TypedGraphLinear(
        self.types, 3 * inner, use_bias=False, dtype=self.dtype, name='qkv'
    )
    qkv = jnp.split(project(RMSNorm(name='norm')(x)), 3, axis=-1)
    shape = (*x.shape[:-1], self.heads, self.head_width)
    out = attend(*(part.reshape(shape) for part in qkv))
    back = TypedGraphLinear(
        self.types, x.shape[-1], use_bias=False, dtype=self.dtype, name='out'
    )
    return x + back(out.reshape(*x.shape[:-1], inner))
