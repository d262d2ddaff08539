"""A denoiser of sequences given others of their length: the FFT.

Time, condition and noisy sequence are tokens of one sequence, in that order,

  (1)  h = [e(t), c(y_1) .. c(y_L), r(x)_1 .. r(x)_L] + positions
  (2)  Block(h) = h + O(F(A(A(I(norm(h))))))
  (3)  A(h) = h + attention(n(h)),  F(h) = h + W_2 * g(W_1 * n(h))
  (4)  g([a, b]) = a gelu(b)
  (5)  eps = V norm(x's tokens of the last block's h)

with layer norms n, group norms `norm`, linear layers I, O (which starts at 0)
and V, and convolutions r, W_1 and W_2, marked *. A convolution sees the three
kinds of token apart, with zeros around each: what ends one is no neighbour of
what begins the next, and padding of the one could not be hidden from the other.

The paper joins condition and sequence as `tokens` (Eq. 1) and learns a position
for each place in that row. To align y_l with x_l is then left to attention.
`aligned` positions give both the same sinusoid, and one vector for each kind;
they reach any length. `sum` adds c(y_l) to r(x)_l, half the tokens.

A mask marks the frames that count (`nn.temporal`); with it the output there
does not depend on how much padding follows.

References:
  You et al., "MoMu-Diffusion", NeurIPS 2024, Sec. 4, Table 9.
  Huang et al., "Make-An-Audio 2", 2023: the network, released.
  Shazeer, "GLU Variants Improve Transformer", 2020 (Eq. 4).
"""

from collections.abc import Sequence
from typing import Any

from flax import linen as nn
import jax.numpy as jnp

from diffax.nn.embed import sinusoidal
from diffax.nn.temporal import Conv
from diffax.nn.temporal import GroupNorm
from diffax.nn.temporal import hide
from diffax.nn.temporal import SelfAttention
from diffax.nn.transformer import positions
from diffax.typing import Array

JOINS = ('tokens', 'sum')
POSITIONS = ('learned', 'aligned')
_XAVIER = nn.initializers.xavier_uniform()


def periods(t: Array, width: int) -> Array:
  """Embed times `[B]` with rates 10000^(-i / (width / 2)): `[B, width]`."""
  # With this theta the exponents are i / half instead of i / (half - 1).
  half = width // 2
  return sinusoidal(t, width, 10000.0 ** ((half - 1) / half))


class TimeToken(nn.Module):
  """Embed times as tokens, e of Eq. 1.

  Attributes:
    width: of a token.
    t_dim: sines and cosines of a time.
    dtype: of the computation; parameters are float32.
  """

  width: int
  t_dim: int = 256
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, t: Array) -> Array:
    """Map times `[B]` to `[B, 1, width]`."""
    x = periods(t, self.t_dim).astype(self.dtype)
    for name in ('hidden', 'output'):
      x = nn.Dense(
          self.width, dtype=self.dtype, name=name,
          kernel_init=nn.initializers.normal(0.02),
      )(x)
      x = nn.silu(x) if name == 'hidden' else x
    return x[:, None]


class ConditionTokens(nn.Module):
  """Embed a condition frame by frame, c of Eq. 1, or its absence.

  Attributes:
    width: of a token.
    dtype: of the computation; parameters are float32.
  """

  width: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, condition: Array, present: Array) -> Array:
    """Map `[B, L, D]`, there or not `[B]`, to `[B, L, width]`."""

    def dense(name: str) -> nn.Dense:
      return nn.Dense(
          self.width, dtype=self.dtype, kernel_init=_XAVIER, name=name
      )

    y = nn.gelu(dense('hidden')(condition.astype(self.dtype)))
    y = nn.LayerNorm(dtype=self.dtype, name='norm')(dense('output')(y))
    null = self.param('null', nn.initializers.normal(0.02), (self.width,))
    absent = jnp.broadcast_to(null.astype(self.dtype), y.shape)
    return jnp.where(present[:, None, None], y, absent)


class FeedForward(nn.Module):
  """Apply F of Eq. 3, without its residual and norm.

  Attributes:
    segments: tokens of each kind, whose neighbours are their own.
    expansion: features within, over those of a token.
    taps: tokens that a kernel spans.
    dtype: of the computation; parameters are float32.
  """

  segments: Sequence[int]
  expansion: int = 4
  taps: int = 9
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array, mask: Array) -> Array:
    """Map `[B, N, D]` and a mask `[B, N]` to `[B, N, D]`."""
    hidden = self.expansion * x.shape[-1]

    def conv(y: Array, features: int, name: str) -> Array:
      layer = Conv(features, self.taps, dtype=self.dtype, name=name)
      gap = self.taps // 2
      apart = layer(spread(hide(y, mask), self.segments, gap))
      return gather(apart, self.segments, gap)

    value, gate = jnp.split(conv(x, 2 * hidden, 'in'), 2, axis=-1)
    return conv(value * nn.gelu(gate), x.shape[-1], 'out')


def spread(x: Array, segments: Sequence[int], gap: int) -> Array:
  """Put `gap` zeros after each segment of `[B, N, D]`."""
  pads = ((0, 0), (0, gap), (0, 0))
  return jnp.concatenate(
      [jnp.pad(part, pads) for part in _cut(x, segments)], axis=1
  )


def gather(x: Array, segments: Sequence[int], gap: int) -> Array:
  """Undo `spread`."""
  parts = _cut(x, [size + gap for size in segments])
  sizes = zip(parts, segments)
  return jnp.concatenate([part[:, :size] for part, size in sizes], axis=1)


def _cut(x: Array, segments: Sequence[int]) -> list[Array]:
  parts, start = [], 0
  for size in segments:
    parts.append(x[:, start:start + size])
    start += size
  return parts


class Block(nn.Module):
  """Apply Eq. 2.

  Attributes:
    segments: tokens of each kind.
    heads: of the attention.
    attentions: how many A there are.
    expansion: of F.
    taps: of F.
    groups: of the norm.
    dtype: of the computation; parameters are float32.
  """

  segments: Sequence[int]
  heads: int = 8
  attentions: int = 2
  expansion: int = 4
  taps: int = 9
  groups: int = 32
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array, mask: Array) -> Array:
    """Map `[B, N, D]` and a mask `[B, N]` to `[B, N, D]`."""
    width = x.shape[-1]

    def norm(name: str) -> nn.LayerNorm:
      return nn.LayerNorm(epsilon=1e-5, dtype=self.dtype, name=name)

    y = GroupNorm(self.groups, self.dtype, name='norm')(x, mask)
    y = Conv(width, dtype=self.dtype, name='in')(y)
    for i in range(self.attentions):
      attention = SelfAttention(
          self.heads, bias=False, dtype=self.dtype, name=f'attention_{i}'
      )
      y = y + attention(norm(f'norm_{i}')(y), mask)
    forward = FeedForward(
        self.segments, self.expansion, self.taps, self.dtype, name='forward'
    )
    y = y + forward(norm('norm_forward')(y), mask)
    return x + Conv(width, zeros=True, dtype=self.dtype, name='out')(y)


class FeedForwardTransformer(nn.Module):
  """Predict the noise of a sequence given another (Eq. 1-5).

  Attributes:
    channels: C of the sequence.
    width: of a token, a multiple of the groups and of the heads.
    depth: blocks.
    heads: of the attention.
    attentions: in a block.
    expansion: features within F, over those of a token.
    taps: tokens that F's kernels span.
    read_taps: frames that r spans.
    join: of `JOINS`, how the condition meets the sequence.
    positions: of `POSITIONS`.
    places: positions that are learned: `longest` frames fit.
    groups: of the norms within blocks; half as many at the end.
    remat: recompute blocks in the backward pass, to save memory.
    dtype: of the computation; parameters are float32.
  """

  channels: int
  width: int = 576
  depth: int = 4
  heads: int = 8
  attentions: int = 2
  expansion: int = 4
  taps: int = 9
  read_taps: int = 5
  join: str = 'tokens'
  positions: str = 'learned'
  places: int = 3200
  groups: int = 32
  remat: bool = False
  dtype: Any = jnp.float32

  @property
  def longest(self) -> int | None:
    """Frames that fit the learned positions; None for any."""
    if self.positions == 'aligned':
      return None
    return (self.places - 1) // (2 if self.join == 'tokens' else 1)

  @nn.compact
  def __call__(
      self,
      x: Array,
      t: Array,
      condition: Array,
      present: Array,
      mask: Array | None = None,
  ) -> Array:
    """Predict.

    Args:
      x: `[B, L, C]`.
      t: times `[B]`.
      condition: `[B, L, D]`.
      present: whether the condition is there, `[B]`.
      mask: which frames count, the first of each sequence, `[B, L]`; None for
        all.

    Returns:
      `[B, L, C]` float32.
    """
    length = x.shape[1]
    if mask is None:
      mask = jnp.ones(x.shape[:2], bool)
    read = Conv(self.width, self.read_taps, dtype=self.dtype, name='read')
    own = read(x.astype(self.dtype), mask)
    given = ConditionTokens(self.width, self.dtype, name='condition')(
        condition, present
    )
    sequences = [given, own] if self.join == 'tokens' else [own + given]
    time = TimeToken(self.width, dtype=self.dtype, name='time')(t)
    tokens = jnp.concatenate([time, *sequences], axis=1)
    tokens += self._places(mask, len(sequences)).astype(self.dtype)
    counts = jnp.concatenate(
        [jnp.ones_like(mask[:, :1])] + [mask] * len(sequences), axis=1
    )
    segments = (1,) + (length,) * len(sequences)
    block: Any = nn.remat(Block) if self.remat else Block
    for i in range(self.depth):
      tokens = block(
          segments, self.heads, self.attentions, self.expansion, self.taps,
          self.groups, self.dtype, name=f'block_{i}',
      )(tokens, counts)
    norm = GroupNorm(self.groups // 2, self.dtype, name='norm')
    out = Conv(self.channels, dtype=self.dtype, name='write')(
        norm(tokens[:, -length:], mask)
    )
    return hide(out.astype(jnp.float32), mask)

  def _places(self, mask: Array, sequences: int) -> Array:
    """Return the positions of all tokens: `[B, 1 + n L, D]`."""
    length = mask.shape[1]
    if self.positions == 'aligned':
      kinds = self.param(
          'kinds', nn.initializers.normal(0.02), (1 + sequences, self.width)
      )
      place = positions(length, self.width)
      parts = [kinds[:1]] + [place + kinds[i:i + 1] for i in
                             range(1, 1 + sequences)]
      every = jnp.concatenate(parts)[None]
      return jnp.broadcast_to(every, (len(mask), *every.shape[1:]))
    table = self.param(
        'places', nn.initializers.xavier_normal(), (self.places, self.width)
    )
    # The sequence follows what counts of the condition, not its padding.
    count = jnp.sum(mask, axis=1, keepdims=True)
    steps = jnp.arange(length)[None]
    first = jnp.zeros((len(mask), 1), jnp.int32)
    rows = [first] + [1 + i * count + steps for i in range(sequences)]
    return jnp.asarray(table)[jnp.concatenate(rows, axis=1)]
