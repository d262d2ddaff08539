"""A transformer over joints and time that reads motion as a condition.

Tokens are joints of `fold` frames. Two streams per layer take the axes in
either order, and each token weighs their results,

  (1)  S(h) = M(h + attention over joints), T(h) = M(h + attention over time)
  (2)  h = a T(S(h)) + (1 - a) S(T(h)),  [a, 1 - a] = softmax(W [TS, ST])

with perceptrons M, all normalised before. The condition is the mean over the
joints of tanh(V h). It is trained with the denoiser that it serves, where poses
are too poor for an autoencoder.

References:
  Zhu et al., "MotionBERT: A Unified Perspective on Learning Human Motion
  Representations", ICCV 2023, Sec. 3.2; sizes of its lite model.
  You et al., "MoMu-Diffusion", NeurIPS 2024, Sec. 5.1.
"""

from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from diffax.nn.temporal import SelfAttention
from diffax.nn.transformer import positions
from diffax.typing import Array


class Axis(nn.Module):
  """Attend along the second axis, then apply a perceptron (S or T of Eq. 1).

  Attributes:
    heads: of the attention.
    expansion: features within the perceptron, over those of a token.
    dtype: of the computation; parameters are float32.
  """

  heads: int = 8
  expansion: int = 4
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Map `[B, N, D]` to `[B, N, D]`."""

    def norm(name: str) -> nn.LayerNorm:
      return nn.LayerNorm(epsilon=1e-6, dtype=self.dtype, name=name)

    attention = SelfAttention(self.heads, dtype=self.dtype, name='attention')
    x = x + attention(norm('norm_attention')(x))
    width = x.shape[-1]
    y = nn.Dense(self.expansion * width, dtype=self.dtype, name='in')(
        norm('norm')(x)
    )
    return x + nn.Dense(width, dtype=self.dtype, name='out')(nn.gelu(y))


class Layer(nn.Module):
  """Apply Eq. 2.

  Attributes:
    heads: of the attention.
    expansion: of the perceptrons.
    dtype: of the computation.
  """

  heads: int = 8
  expansion: int = 4
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Map `[B, L, J, D]` to `[B, L, J, D]`."""

    def joints(y: Array, name: str) -> Array:
      return over_joints(self._axis(name), y)

    def time(y: Array, name: str) -> Array:
      return over_time(self._axis(name), y)

    space_time = time(joints(x, 'joints_first'), 'time_second')
    time_space = joints(time(x, 'time_first'), 'joints_second')
    both = jnp.stack([space_time, time_space], axis=-2)
    weigh = nn.Dense(
        2, dtype=self.dtype, name='weigh', kernel_init=nn.initializers.zeros
    )
    weights = jax.nn.softmax(weigh(both.reshape(*x.shape[:3], -1)), axis=-1)
    return jnp.sum(weights[..., None] * both, axis=-2)

  def _axis(self, name: str) -> Axis:
    return Axis(self.heads, self.expansion, self.dtype, name=name)


def over_joints(axis: Any, x: Array) -> Array:
  """Apply `axis` to each frame of `[B, L, J, D]`."""
  return axis(x.reshape(-1, *x.shape[2:])).reshape(x.shape)


def over_time(axis: Any, x: Array) -> Array:
  """Apply `axis` to each joint of `[B, L, J, D]`."""
  return jnp.swapaxes(over_joints(axis, jnp.swapaxes(x, 1, 2)), 1, 2)


class MotionEncoder(nn.Module):
  """Read poses as features at a fraction of their rate.

  Attributes:
    width: of a token.
    features: of the output.
    depth: layers.
    heads: of the attention.
    expansion: of the perceptrons.
    fold: frames of a token.
    dtype: of the computation; parameters are float32.
  """

  width: int = 256
  features: int = 512
  depth: int = 5
  heads: int = 8
  expansion: int = 4
  fold: int = 2
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, motion: Array) -> Array:
    """Map poses `[B, T, 2 J]` to `[B, T / fold, features]` float32."""
    batch, frames, width = motion.shape
    joints, length = width // 2, frames // self.fold
    x = motion.astype(self.dtype).reshape(batch, length, self.fold, joints, 2)
    x = jnp.swapaxes(x, 2, 3).reshape(batch, length, joints, -1)
    h = nn.Dense(self.width, dtype=self.dtype, name='read')(x)
    place = self.param(
        'joints', nn.initializers.normal(0.02), (1, 1, joints, self.width)
    )
    time = positions(length, self.width)[None, :, None]
    h += place.astype(self.dtype) + time.astype(self.dtype)
    for i in range(self.depth):
      h = Layer(self.heads, self.expansion, self.dtype, name=f'layer_{i}')(h)
    h = nn.LayerNorm(epsilon=1e-6, dtype=self.dtype, name='norm')(h)
    out = nn.tanh(nn.Dense(self.features, dtype=self.dtype, name='write')(h))
    return jnp.mean(out.astype(jnp.float32), axis=2)
