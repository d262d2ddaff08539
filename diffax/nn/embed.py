"""Embeddings of the diffusion time, and the plain linear layer they use.

  (1)  e(t) = [sin(t w_i), cos(t w_i)],  w_i = theta^(-i / (half - 1))

References:
  Vaswani et al., "Attention Is All You Need", NeurIPS 2017, Sec. 3.5, with
  sines and cosines in halves instead of interleaved.
"""

import math
from typing import Any

from flax import linen as nn
from flax.typing import Initializer
import jax
import jax.numpy as jnp

from diffax.typing import Array


def symmetric_uniform(bound: float) -> Initializer:
  """Return an initialiser that draws from U(-bound, bound)."""

  def init(key: Any, shape: Any, dtype: Any = jnp.float32) -> Array:
    return jax.random.uniform(key, shape, dtype, -bound, bound)

  return init


def linear(inputs: int, features: int, dtype: Any, name: str) -> nn.Dense:
  """Make a linear layer with weights and biases from U(+-1/sqrt(inputs))."""
  init = symmetric_uniform(1.0 / math.sqrt(inputs))
  return nn.Dense(
      features, dtype=dtype, kernel_init=init, bias_init=init, name=name
  )


def sinusoidal(t: Array, width: int, theta: float = 10000.0) -> Array:
  """Embed times by Eq. 1.

  Args:
    t: times, `[B]`.
    width: of the embedding, even and at least 4.
    theta: ratio of the longest to the shortest period.

  Returns:
    `[B, width]` float32, the sines first.
  """
  half = width // 2
  rates = jnp.exp(jnp.arange(half) * (-math.log(theta) / (half - 1)))
  angles = t.astype(jnp.float32)[:, None] * rates[None, :]
  return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)


class TimeEmbedding(nn.Module):
  """Embed times and pass them through a two-layer perceptron.

  Attributes:
    width: of the sinusoidal embedding.
    features: of the hidden layer and the output.
    dtype: of the computation.
    activation: between the layers, `gelu` or `silu`.
  """

  width: int
  features: int
  dtype: Any = jnp.float32
  activation: str = 'gelu'

  @nn.compact
  def __call__(self, t: Array) -> Array:
    """Map times `[B]` to features `[B, features]`."""
    x = sinusoidal(t, self.width)
    x = linear(self.width, self.features, self.dtype, 'hidden')(x)
    silu = self.activation == 'silu'
    x = nn.silu(x) if silu else nn.gelu(x, approximate=False)
    return linear(self.features, self.features, self.dtype, 'output')(x)
