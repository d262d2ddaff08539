"""Transformer layers over time, normalised before each sub-layer.

  (1)  encoder   x = x + A(n(x), n(x));  x = x + F(n(x))
  (2)  decoder   x = x + A(n(x), n(x));  x = x + A(n(x), m);  x = x + F(n(x))
  (3)  A(q, m) = O(softmax(Q q (K m)^T / sqrt(C)) V m),  F = W_2 gelu(W_1)

with layer norms n and the memory m. Layers of a stack are one scanned layer,
so that a program's size does not grow with depth.

References:
  Vaswani et al., "Attention Is All You Need", NeurIPS 2017.
  Xiong et al., "On Layer Normalization in the Transformer Architecture", 2020.
"""

from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from diffax.nn.embed import sinusoidal
from diffax.typing import Array


def positions(length: int, width: int) -> Array:
  """Embed the places 0 .. length - 1: `[length, width]`."""
  return sinusoidal(jnp.arange(length), width)


def attend(query: Array, key: Array, value: Array) -> Array:
  """Attend over time (Eq. 3), the weights in float32.

  Args:
    query: `[B, heads, L, C]`.
    key: `[B, heads, M, C]`.
    value: `[B, heads, M, C]`.

  Returns:
    `[B, heads, L, C]`.
  """
  scaled = query * query.shape[-1] ** -0.5
  if jax.default_backend() == 'cpu':
    # One sequence's weights fit in the cache, a batch's do not.
    return jax.lax.map(
        jax.checkpoint(lambda parts: _attend_one(*parts)), (scaled, key, value)
    )
  return jax.vmap(_attend_one)(scaled, key, value)


def _attend_one(query: Array, key: Array, value: Array) -> Array:
  scores = jnp.einsum('hic,hjc->hij', query, key)
  weights = jax.nn.softmax(scores.astype(jnp.float32), axis=-1)
  return jnp.einsum('hij,hjc->hic', weights.astype(value.dtype), value)


class Attention(nn.Module):
  """Attend from one sequence to another (A of Eq. 3).

  Attributes:
    heads: number of heads, a divisor of the width.
    dtype: of the computation; parameters are float32.
  """

  heads: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array, memory: Array) -> Array:
    """Map `[B, L, D]` and a memory `[B, M, D]` to `[B, L, D]`."""
    width = x.shape[-1]
    shape = (self.heads, width // self.heads)

    def project(name: str, of: Array) -> Array:
      dense = nn.DenseGeneral(shape, dtype=self.dtype, name=name)
      return jnp.swapaxes(dense(of), 1, 2)

    out = attend(
        project('query', x), project('key', memory), project('value', memory)
    )
    back = nn.DenseGeneral(width, (-2, -1), dtype=self.dtype, name='out')
    return back(jnp.swapaxes(out, 1, 2))


# What these would keep for the backward pass is more than all the rest, and
# to compute it again is cheap beside the traffic.
_gelu = jax.checkpoint(lambda y: nn.gelu(y, approximate=False))
_LayerNorm: Any = nn.remat(nn.LayerNorm)


class Layer(nn.Module):
  """Apply Eq. 1, or Eq. 2 if there is a memory.

  Attributes:
    heads: number of heads.
    hidden: features within F.
    dropout: rate after each sub-layer and within F.
    dtype: of the computation.
  """

  heads: int
  hidden: int
  dropout: float = 0.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
      self, x: Array, memory: Array | None = None, train: bool = False
  ) -> Array:
    """Map `[B, L, D]` (and `[B, M, D]`) to `[B, L, D]`."""

    def drop(y: Array) -> Array:
      return nn.Dropout(self.dropout, deterministic=not train)(y)

    def norm(name: str) -> Any:
      return _LayerNorm(epsilon=1e-5, dtype=self.dtype, name=name)

    y = norm('norm_self')(x)
    x = x + drop(Attention(self.heads, self.dtype, name='self')(y, y))
    if memory is not None:
      y = norm('norm_cross')(x)
      cross = Attention(self.heads, self.dtype, name='cross')
      x = x + drop(cross(y, memory))
    y = nn.Dense(self.hidden, dtype=self.dtype, name='in')(norm('norm')(x))
    y = drop(_gelu(y))
    return x + drop(nn.Dense(x.shape[-1], dtype=self.dtype, name='out')(y))


class Stack(nn.Module):
  """Apply layers one after another, and a layer norm at the end.

  Attributes:
    layers: how many.
    heads: number of heads.
    hidden: features within F.
    dropout: rate.
    remat: recompute each layer in the backward pass, to save memory.
    dtype: of the computation.
  """

  layers: int
  heads: int
  hidden: int
  dropout: float = 0.0
  remat: bool = False
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
      self, x: Array, memory: Array | None = None, train: bool = False
  ) -> Array:
    """Map `[B, L, D]` (and a memory `[B, M, D]`) to `[B, L, D]`."""
    module: Any = nn.remat(Layer, static_argnums=(3,)) if self.remat else Layer

    def body(layer: Any, y: Array, _: None) -> tuple[Array, None]:
      return layer(y, memory, train), None

    scanned = nn.scan(
        body,
        variable_axes={'params': 0},
        split_rngs={'params': True, 'dropout': True},
        length=self.layers,
    )
    layer = module(
        self.heads, self.hidden, self.dropout, self.dtype, name='layers'
    )
    x, _ = scanned(layer, x, None)
    return nn.LayerNorm(epsilon=1e-5, dtype=self.dtype, name='norm')(x)
