"""A gated recurrent unit on the nodes of a graph.

  (1)  [i_r, i_z, i_n] = Ghat (W_i^T x + b_i)
       [h_r, h_z, h_n] = Ghat (W_h^T h + b_h)
  (2)  r = sigmoid(i_r + h_r),  z = sigmoid(i_z + h_z)
       n = tanh(i_n + r h_n),   h' = (1 - z) n + z h
  (3)  Ghat <- rownorm(Ghat + drift) after every step

with weights per node type (see graph.py). The matrices of Eq. 3 do not depend
on the data, so those of all frames are made before the loop over time; the
share of an input that never changes is computed once as well.

References:
  Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder",
  EMNLP 2014. Curreli et al., CVPR 2025, Sec. 4.4 and its released code.
"""

from collections.abc import Callable
import math
from typing import Any, NamedTuple

from flax import linen as nn
import jax
import jax.numpy as jnp

from diffax.nn import graph as graphs
from diffax.nn.embed import symmetric_uniform
from diffax.typing import Array
from diffax.typing import PyTree


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


class Cell(NamedTuple):
  """The parameters of a unit, those of its type given to each node.

  Attributes:
    input_weight: W_i, `[J, D, 3 H]`.
    input_bias: b_i, `[J, 1, 3 H]`.
    state_weight: W_h, `[J, H, 3 H]`.
    state_bias: b_h, `[J, 1, 3 H]`.
    graph: G, `[J, J]`.
    drift: `[J, J]`, zero unless the unit drifts.
  """

  input_weight: Array
  input_bias: Array
  state_weight: Array
  state_bias: Array
  graph: Array
  drift: Array


def input_share(cell: Cell, x: Array) -> tuple[Array, Array]:
  """Compute what does not depend on the state in Eq. 1, before the sum.

  Args:
    cell: the unit.
    x: input `[J, B, D]`.

  Returns:
    The shares of r and z with the state's bias, `[J, B, 3 H]`, and that of n,
    `[J, B, H]`: r multiplies h_n alone, so n is summed apart.
  """
  share = jnp.einsum('jbd,jdo->jbo', x, cell.input_weight) + cell.input_bias
  width = share.shape[-1] // 3
  gates, new = jnp.split(share, [2 * width], axis=-1)
  gates = jnp.pad(gates, [(0, 0), (0, 0), (0, width)])
  return gates + cell.state_bias, new


def update(
    cell: Cell, matrix: Array, h: Array, share: tuple[Array, Array]
) -> Array:
  """Return the next state `[J, B, H]` (Eq. 1 and 2).

  Args:
    cell: the unit.
    matrix: Ghat of this frame, `[J, J]`.
    h: state `[J, B, H]`.
    share: of the input, from `input_share`.
  """
  gates, new = share
  part = jnp.einsum('jbd,jdo->jbo', h, cell.state_weight) + gates
  r, z, h_n = jnp.split(graphs.mix(matrix, part), 3, axis=-1)
  n = jnp.tanh(graphs.mix(matrix, new) + jax.nn.sigmoid(r) * h_n)
  return n + jax.nn.sigmoid(z) * (h - n)


def unroll(
    step: Callable[[PyTree, PyTree], tuple[PyTree, PyTree]],
    state: PyTree,
    frames: PyTree,
) -> tuple[PyTree, PyTree]:
  """Scan over frames, keeping only the states for the gradient.

  The gradient recomputes each step: a third more products, but a tenth of the
  memory, and on a CPU less time, which moving the memory costs.
  """
  return jax.lax.scan(jax.checkpoint(step, prevent_cse=False), state, frames)


class TypedGraphGRU(nn.Module):
  """Hold the parameters of a unit.

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
  def __call__(self, inputs: int) -> Cell:
    """Return the unit for inputs of D = `inputs` features."""
    w_i, b_i = self._affine('input', inputs)
    w_h, b_h = self._affine('state', self.features)
    graph = self.param('graph', graphs.identity, len(self.types))
    drift = jnp.zeros_like(graph)
    if self.drifts:
      drift = self.param('drift', nn.initializers.zeros, graph.shape)
    return Cell(w_i, b_i, w_h, b_h, graph, drift)

  def _affine(self, part: str, inputs: int) -> tuple[Array, Array]:
    kinds, width = max(self.types) + 1, 3 * self.features
    draw = symmetric_uniform(1.0 / math.sqrt(self.features))
    weight = self.param(f'{part}_weight', draw, (kinds, inputs, width))
    bias = self.param(f'{part}_bias', draw, (kinds, width))
    return (
        graphs.per_node(weight, self.types).astype(self.dtype),
        graphs.per_node(bias, self.types).astype(self.dtype)[:, None, :],
    )
