"""Linear layers on the nodes of a graph whose weights depend on node types.

  (1)  y_i = sum_j Ghat_ij (W_type(j)^T x_j + b_type(j))
  (2)  Ghat_ij = G_ij / sum_k |G_ik|

G is learned, starts as the identity and belongs to one layer. Arrays are
joint-major, `[J, B, D]`: the typed product of Eq. 1 is then one batched matrix
product and the sum over j another, without a transposition between them.

References:
  Curreli et al., "Nonisotropic Gaussian Diffusion for Realistic 3D Human
  Motion Prediction", CVPR 2025, Sec. 4.4.
  Salzmann et al., "Motron: Multimodal Probabilistic Human Motion
  Forecasting", CVPR 2022, Sec. 3.2.
"""

from collections.abc import Callable
import math
from typing import Any

from flax import linen as nn
import jax.numpy as jnp
import numpy as np

from diffax.nn.embed import symmetric_uniform
from diffax.typing import Array


def per_node(table: Array, types: tuple[int, ...]) -> Array:
  """Look up a row of `[types, ...]` for each node, `[J, ...]`."""
  return jnp.asarray(table)[np.array(types)]


def row_normalise(graph: Array) -> Array:
  """Divide the rows of `[J, J]` by their sums of absolute values (Eq. 2)."""
  total = jnp.sum(jnp.abs(graph), axis=-1, keepdims=True)
  return graph / jnp.maximum(total, 1e-12)


def mix(graph: Array, x: Array) -> Array:
  """Sum node features `[J, ...]` with the weights `[J, J]` of each row."""
  # Flat, because the gradient of a product with two free axes is slower.
  flat = graph.astype(x.dtype) @ x.reshape(x.shape[0], -1)
  return flat.reshape(x.shape)


def identity(key: Any, nodes: int) -> Array:
  """Initialise a graph as the identity `[nodes, nodes]`."""
  del key
  return jnp.eye(nodes)


def tied_uniform(key: Any, shape: tuple[int, int, int]) -> Array:
  """Draw one weight from U(+-1/sqrt(D O)) and give it to every type.

  Args:
    key: random key.
    shape: types, D, O.

  Returns:
    `[types, D, O]`.
  """
  _, inputs, features = shape
  draw = symmetric_uniform(1.0 / math.sqrt(inputs * features))
  return jnp.broadcast_to(draw(key, (1, inputs, features)), shape)


class TypedGraphLinear(nn.Module):
  """Apply Eq. 1.

  Attributes:
    types: of the nodes, J.
    features: O.
    use_bias: whether b is there.
    dtype: of the computation; parameters are float32.
  """

  types: tuple[int, ...]
  features: int
  use_bias: bool = True
  dtype: Any = jnp.float32

  def __call__(self, x: Array) -> Array:
    """Map `[J, B, D]` to `[J, B, O]`."""
    return self.function(x.shape[-1])(x)

  @nn.compact
  def function(self, inputs: int) -> Callable[[Array], Array]:
    """Return the layer as a function of its input, for use in a scan."""
    kinds = max(self.types) + 1
    shape = (kinds, inputs, self.features)
    weight = self.param('weight', tied_uniform, shape)
    weight = per_node(weight.astype(self.dtype), self.types)
    matrix = row_normalise(self.param('graph', identity, len(self.types)))
    bias = None
    if self.use_bias:
      draw = symmetric_uniform(1.0 / math.sqrt(inputs * self.features))
      bias = self.param('bias', draw, (kinds, self.features))
      bias = per_node(bias.astype(self.dtype), self.types)[:, None, :]

    def apply(x: Array) -> Array:
      x = jnp.einsum('jbd,jdo->jbo', x.astype(self.dtype), weight)
      return mix(matrix, x if bias is None else x + bias)

    return apply
