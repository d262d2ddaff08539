"""The networks of SkeletonDiffusion: encoder, decoder and denoiser.

All speak positions of nodes in units of the motion box, and one latent of D
features per node. Inside they are joint-major (see graph.py).

  (1)  z = tanh(A(h_L)),  h = GRU(x_1..x_L), h_0 = A'(x_1)
  (2)  y_t = tanh(A(h_t)), h = GRU([x_P; z], the same for all frames),
       h_0 = A'([x_{P-1}; z])
  (3)  g(x_t, c, t) = A(R'([R...R(a); a])),  a = A'([c; x_t])

A are typed graph linear layers, R residual blocks modulated by the time, with
attention between them, R' one that halves its width. Without attention, a
layer without bias stands in its place,

  (4)  y = x + A(norm(x)),  norm as in attention.py.

References:
  Curreli et al., "Nonisotropic Gaussian Diffusion for Realistic 3D Human
  Motion Prediction", CVPR 2025, Sec. 4.2-4.4 and the supplement, as released.
"""

from typing import Any

import chex
from flax import linen as nn
import jax.numpy as jnp

from diffax.nn import recurrent
from diffax.nn.attention import RMSNorm
from diffax.nn.attention import TypedGraphAttention
from diffax.nn.embed import linear
from diffax.nn.embed import TimeEmbedding
from diffax.nn.graph import row_normalise
from diffax.nn.graph import TypedGraphLinear
from diffax.typing import Array

Frame = tuple[Array, ...]


class Encoder(nn.Module):
  """Map a motion of any length to one latent per node (Eq. 1).

  Attributes:
    types: of the nodes, J.
    width: features of a latent and of the state, D.
    layers: of the GRU; all start from the same h_0.
    dtype: of the computation; parameters and latents are float32.
  """

  types: tuple[int, ...]
  width: int = 96
  layers: int = 2
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, motion: Array, horizon: Array | None = None) -> Array:
    """Encode a motion.

    Args:
      motion: `[B, L, J, 3]`, box units.
      horizon: number of frames that count in each sample, 1..L, `[B]`; all
        of them if None.

    Returns:
      Latents `[B, J, D]` in (-1, 1).
    """
    chex.assert_shape(motion, (None, None, len(self.types), 3))
    x = jnp.transpose(motion, (1, 2, 0, 3)).astype(self.dtype)
    start = TypedGraphLinear(
        self.types, self.width, dtype=self.dtype, name='start'
    )
    cells = [
        recurrent.TypedGraphGRU(
            self.types, self.width, dtype=self.dtype, name=f'gru_{layer}'
        )(self.width if layer else 3)
        for layer in range(self.layers)
    ]
    matrices = [row_normalise(c.graph).astype(self.dtype) for c in cells]

    def step(states: Frame, frame: Frame) -> tuple[Frame, None]:
      x, *counts = frame
      after = []
      for cell, matrix, h in zip(cells, matrices, states):
        share = recurrent.input_share(cell, x)
        x = recurrent.update(cell, matrix, h, share)
        x = jnp.where(counts[0], x, h) if counts else x
        after.append(x)
      return tuple(after), None

    frames: Frame = (x,)
    if horizon is not None:
      chex.assert_shape(horizon, motion.shape[:1])
      frame = jnp.arange(motion.shape[1])[:, None, None, None]
      frames = (x, frame < horizon[None, None, :, None])
    (*_, last), _ = recurrent.unroll(step, (start(x[0]),) * self.layers, frames)
    readout = TypedGraphLinear(
        self.types, self.width, dtype=self.dtype, name='readout'
    )
    return jnp.swapaxes(jnp.tanh(readout(last)), 0, 1).astype(jnp.float32)


class Decoder(nn.Module):
  """Map latents and the past to future motions (Eq. 2).

  Attributes:
    types: of the nodes, J.
    width: features of a latent and of the state, D.
    dtype: of the computation; parameters and positions are float32.
  """

  types: tuple[int, ...]
  width: int = 96
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, past: Array, z: Array, length: int) -> Array:
    """Decode latents.

    Args:
      past: at least two frames `[B, P, J, 3]`, box units.
      z: latents `[B, J, D]`, or K of each past `[B, K, J, D]`.
      length: number of future frames, F.

    Returns:
      Positions `[B, F, J, 3]` or `[B, K, F, J, 3]`, box units.
    """
    chex.assert_shape(past, (None, None, len(self.types), 3))
    chex.assert_axis_dimension_gteq(past, 1, 2)
    batch = z.shape[:-2]
    z = _nodes_first(z)
    before, last = (
        jnp.concatenate([_nodes_first(frame, batch), z], axis=-1)
        for frame in (past[:, -2], past[:, -1])
    )
    start = TypedGraphLinear(
        self.types, self.width, dtype=self.dtype, name='start'
    )
    gru = recurrent.TypedGraphGRU(
        self.types, self.width, drifts=True, dtype=self.dtype, name='gru'
    )
    readout = TypedGraphLinear(self.types, 3, dtype=self.dtype, name='readout')
    cell, read = gru(last.shape[-1]), readout.function(self.width)
    share = recurrent.input_share(cell, last.astype(self.dtype))

    def step(h: Array, matrix: Array) -> tuple[Array, Array]:
      h = recurrent.update(cell, matrix, h, share)
      return h, jnp.tanh(read(h))

    matrices = recurrent.drifting(cell.graph, cell.drift, length)
    _, y = recurrent.unroll(step, start(before), matrices.astype(self.dtype))
    y = jnp.transpose(y, (2, 0, 1, 3)).astype(jnp.float32)
    return y.reshape(*batch, *y.shape[1:])


class ResidualBlock(nn.Module):
  """Two typed graph layers, the first modulated by the time.

  Attributes:
    types: of the nodes, J.
    features: of the output.
    dtype: of the computation; parameters are float32.
  """

  types: tuple[int, ...]
  features: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array, time: Array) -> Array:
    """Apply the block.

    Args:
      x: `[J, B K, D]`.
      time: embedding after its activation, `[B, E]`.

    Returns:
      `[J, B K, features]`.
    """

    def typed(name: str, use_bias: bool = True) -> TypedGraphLinear:
      return TypedGraphLinear(
          self.types, self.features, use_bias, self.dtype, name=name
      )

    film = linear(time.shape[-1], 2 * self.features, self.dtype, 'film')(time)
    film = jnp.repeat(film, x.shape[1] // time.shape[0], axis=0)
    scale, shift = jnp.split(film[None], 2, axis=-1)
    h = typed('linear_0')(x)
    h = jnp.tanh(
        h * jnp.broadcast_to(scale + 1.0, h.shape)
        + jnp.broadcast_to(shift, h.shape)
    )
    h = jnp.tanh(typed('linear_1')(h))
    if x.shape[-1] != self.features:
      x = typed('skip', use_bias=False)(x)
    return h + x


class TypedGraphMix(nn.Module):
  """Mix the nodes as the graph says, whatever they hold (Eq. 4).

  Attributes:
    types: of the nodes, J.
    dtype: of the computation; parameters are float32.
  """

  types: tuple[int, ...]
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Map `[J, B, D]` to `[J, B, D]`."""
    mix = TypedGraphLinear(
        self.types, x.shape[-1], use_bias=False, dtype=self.dtype, name='linear'
    )
    return x + mix(RMSNorm(name='norm')(x))


class Denoiser(nn.Module):
  """Predict clean latents from noisy ones, a condition and the time (Eq. 3).

  Attributes:
    types: of the nodes, J.
    latent: features of a latent.
    width: features inside, D.
    depth: pairs of residual blocks.
    heads: of the attention.
    head_width: features of a head.
    attention: False puts Eq. 4 between the blocks instead.
    dtype: of the computation; parameters and the prediction are float32.
  """

  types: tuple[int, ...]
  latent: int = 96
  width: int = 192
  depth: int = 4
  heads: int = 8
  head_width: int = 32
  attention: bool = True
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, xt: Array, condition: Array, t: Array) -> Array:
    """Predict the clean latents.

    K latents of one condition and time share what depends on those alone.

    Args:
      xt: noisy latents `[B, J, latent]` or `[B, K, J, latent]`.
      condition: `[B, J, latent]`.
      t: time index 0..T-1, `[B]`.

    Returns:
      The prediction, shaped like `xt`.
    """
    chex.assert_shape(condition, (None, len(self.types), self.latent))
    chex.assert_shape(t, condition.shape[:1])
    batch = xt.shape[:-2]
    embed = TimeEmbedding(
        self.width, 4 * self.width, dtype=self.dtype, name='time'
    )
    time = jnp.tanh(embed(t))
    x = jnp.concatenate(
        [_nodes_first(condition, batch), _nodes_first(xt)], axis=-1
    )
    x = first = TypedGraphLinear(
        self.types, self.width, dtype=self.dtype, name='input'
    )(x)
    for i in range(2 * self.depth):
      if i:
        x = self.between(i - 1)(x)
      x = ResidualBlock(
          self.types, self.width, dtype=self.dtype, name=f'block_{i}'
      )(x, time)
    x = jnp.concatenate([x, first], axis=-1)
    x = ResidualBlock(
        self.types, self.width, dtype=self.dtype, name='final_block'
    )(x, time)
    x = TypedGraphLinear(
        self.types, self.latent, dtype=self.dtype, name='output'
    )(x)
    x = jnp.swapaxes(x, 0, 1).astype(jnp.float32)
    return x.reshape(*batch, *x.shape[1:])

  @nn.nowrap
  def between(self, index: int) -> nn.Module:
    """Return what stands between block `index` and the next."""
    if not self.attention:
      return TypedGraphMix(self.types, dtype=self.dtype, name=f'mix_{index}')
    return TypedGraphAttention(
        self.types, self.heads, self.head_width, dtype=self.dtype,
        name=f'attention_{index}',
    )


def _nodes_first(x: Array, batch: tuple[int, ...] | None = None) -> Array:
  """Bring `[B, (K,) J, D]` to `[J, B K, D]`, spread over K if `batch` says."""
  if batch is not None and len(batch) == 2:
    x = jnp.broadcast_to(x[:, None], (*batch, *x.shape[1:]))
  return jnp.swapaxes(x.reshape(-1, *x.shape[-2:]), 0, 1)
