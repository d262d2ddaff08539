"""A gated recurrent unit on the nodes of a graph.

  (1)  [i_r, i_z, i_n] = Ghat (W_i^T x + b_i)
       [h_r, h_z, h_n] = Ghat (W_h^T h + b_h)
  (2)  r = sigmoid(i_r + h_r),  z = sigmoid(i_z + h_z)
       n = tanh(i_n + r h_n),   h' = (1 - z) n + z h
  (3)  Ghat <- rownorm(Ghat + drift) after every step

with weights per node type (see graph.py). The matrices of Eq. 3 do not depend
on the data, so those of all frames are made before the loop over time, and so
is the input's share of Eq. 1.

References:
  Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder",
  EMNLP 2014. Curreli et al., CVPR 2025, Sec. 4.4 and its released code.
"""

import math
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from diffax.nn import graph as graphs
from diffax.nn.embed import symmetric_uniform
from diffax.typing import Array


def drifting(graph: Array, drift: Array, length: int) -> Array:
  """Return the matrices of the first frames (Eq. 3).

  Args:
    graph: G before normalisation, `[J, J]`.
    drift: what is added after each step, `[J, J]`.
    length: number of frames, L.

  Returns:
    `[L, J, J]`, rows normalised.
  """

  def step(carry: Array, _: None) -> tuple[Array, Array]:
    return graphs.row_normalise(carry + drift), carry

  return jax.lax.scan(step, graphs.row_normalise(graph), length=length)[1]


def scan_states(
    h: Array, matrices: Array, weight: Array, shift: Array, new: Array
) -> Array:
  """Run Eq. 1 and 2 over time, the input's share given.

  Args:
    h: state before the first frame, `[J, B, H]`.
    matrices: Ghat of each frame, `[L, J, J]`.
    weight: W_h of each node, `[J, H, 3 H]`.
    shift: b_h plus the input's share of r and z before the sum over nodes,
      `[L, J, B, 3 H]`, or `[J, B, 3 H]` when it is the same for all frames.
    new: the input's share of n, likewise `[(L,) J, B, H]`.

  Returns:
    States `[L, J, B, H]`.
  """
  constant = shift.ndim == 3

  def step(h: Array, frame: tuple[Array, ...]) -> tuple[Array, Array]:
    matrix, c, i_n = (frame[0], shift, new) if constant else frame
    part = graphs.mix(matrix, jnp.einsum('jbd,jdo->jbo', h, weight) + c)
    h = _gate(part, graphs.mix(matrix, i_n), h)
    return h, h

  frames = (matrices,) if constant else (matrices, shift, new)
  return jax.lax.scan(step, h, frames)[1]


def _gate(part: Array, i_n: Array, h: Array) -> Array:
  """Apply Eq. 2 to `[..., 3 H]`, in which i_r and i_z are already added."""
  r, z, h_n = jnp.split(part, 3, axis=-1)
  n = jnp.tanh(i_n + jax.nn.sigmoid(r) * h_n)
  return n + jax.nn.sigmoid(z) * (h - n)


class TypedGraphGRU(nn.Module):
  """Run Eq. 1-3 over time.

  Attributes:
    types: of the nodes, J.
    features: of the state, H.
    drifts: whether Ghat changes from frame to frame by a learned drift.
    dtype: of the computation; parameters are float32.
  """

  types: tuple[int, ...]
  features: int
  drifts: bool = False
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, h: Array, x: Array, length: int) -> Array:
    """Return the states of all frames.

    Args:
      h: state before the first frame, `[J, B, H]`.
      x: inputs `[L, J, B, D]`, or `[J, B, D]`, the same for all frames.
      length: number of frames, L.

    Returns:
      States `[L, J, B, H]`.
    """
    w_i, b_i = self._affine('input', x.shape[-1])
    w_h, b_h = self._affine('state', self.features)
    graph = self.param('graph', graphs.identity, len(self.types))
    drift = jnp.zeros_like(graph)
    if self.drifts:
      drift = self.param('drift', nn.initializers.zeros, graph.shape)
    matrices = drifting(graph, drift, length).astype(self.dtype)
    share = jnp.einsum('...jbd,jdo->...jbo', x.astype(self.dtype), w_i)
    share = share + _like(b_i, share)
    gates, new = jnp.split(share, [2 * self.features], axis=-1)
    gates = jnp.pad(gates, [(0, 0)] * (x.ndim - 1) + [(0, self.features)])
    return scan_states(
        h.astype(self.dtype), matrices, w_h, gates + _like(b_h, gates), new
    )

  def _affine(self, part: str, inputs: int) -> tuple[Array, Array]:
    """Make a weight `[J, inputs, 3 H]` and a bias `[J, 1, 3 H]`."""
    kinds, width = max(self.types) + 1, 3 * self.features
    draw = symmetric_uniform(1.0 / math.sqrt(self.features))
    weight = self.param(f'{part}_weight', draw, (kinds, inputs, width))
    bias = self.param(f'{part}_bias', draw, (kinds, width))
    return (
        graphs.per_node(weight, self.types).astype(self.dtype),
        graphs.per_node(bias, self.types).astype(self.dtype)[:, None, :],
    )


def _like(bias: Array, x: Array) -> Array:
  return jnp.broadcast_to(bias, x.shape)
