"""A denoiser of one modality of a paired series, given the others.

  (1)  z = E(W x_t + p + e(t))                the latents, of x_t alone
  (2)  c = sum over modalities m of W_m y_m   the condition
  (3)  x_0 = V D(c + p + e(t), z)             queries from c, memory z

with sinusoidal positions p, a time embedding e, a transformer encoder E and
decoder D. With `patch` samples per token, W reads and V writes that many
samples at once: p samples cost one token.

References:
  "LaMbDA: Local Latent Embedding Alignment for Cross-modal Time-series
  Diffusion", Sec. 3.2, A.6.2-A.6.3.
"""

from collections.abc import Mapping
from typing import Any

from flax import linen as nn
import jax.numpy as jnp

from diffax.nn.embed import TimeEmbedding
from diffax.nn.transformer import positions
from diffax.nn.transformer import Stack
from diffax.typing import Array

QUERIES = ('condition', 'latent')


class CrossModal(nn.Module):
  """Denoise a modality given others (Eq. 1-3).

  Attributes:
    channels: C of the modality.
    others: names of the modalities it may be given.
    width: D.
    encoder_layers: of E.
    decoder_layers: of D.
    heads: of the attention.
    hidden: features within the feed-forward layers.
    dropout: rate while training.
    patch: samples per token, a divisor of L.
    queries: whether D's queries are the `condition` (Eq. 3) or the `latent`,
      the other then being its memory.
    nullable: whether a modality may be missing; each then has a learned
      embedding of its absence.
    remat: recompute layers in the backward pass.
    dtype: of the computation; parameters are float32.
  """

  channels: int
  others: tuple[str, ...]
  width: int = 128
  encoder_layers: int = 4
  decoder_layers: int = 4
  heads: int = 4
  hidden: int = 512
  dropout: float = 0.1
  patch: int = 1
  queries: str = 'condition'
  nullable: bool = False
  remat: bool = False
  dtype: Any = jnp.float32

  def setup(self) -> None:
    """Make the parts."""
    shared = {
        'heads': self.heads, 'hidden': self.hidden, 'dropout': self.dropout,
        'remat': self.remat, 'dtype': self.dtype,
    }
    self.read = nn.Dense(self.width, dtype=self.dtype)
    self.encoder = Stack(self.encoder_layers, **shared)
    self.decoder = Stack(self.decoder_layers, **shared)
    self.write = nn.Dense(self.channels * self.patch, dtype=self.dtype)
    self.time = TimeEmbedding(
        self.width, self.width, self.dtype, activation='silu'
    )
    self.condition = {
        name: nn.Dense(self.width, dtype=self.dtype) for name in self.others
    }
    self.null = {
        name: self.param(f'null_{name}', nn.initializers.normal(0.02),
                         (self.width,))
        for name in self.others if self.nullable
    }

  def __call__(
      self,
      xt: Array,
      t: Array,
      given: Mapping[str, Array],
      present: Mapping[str, Array] | None = None,
      train: bool = False,
  ) -> tuple[Array, Array]:
    """Denoise.

    Args:
      xt: `[B, L, C]`.
      t: times `[B]`.
      given: the others `[B, L, C_m]` by name; those not there are missing.
      present: masks `[B]` of those there; all by default.
      train: whether to drop features.

    Returns:
      x_0 `[B, L, C]` and the latents z `[B, L / patch, D]`.
    """
    z = self.encode(xt, t, train)
    return self.decode(z, t, given, present, train), z

  def encode(self, xt: Array, t: Array, train: bool = False) -> Array:
    """Return the latents of Eq. 1, `[B, L / patch, D]`."""
    return self.encoder(self._placed(self.read(self._tokens(xt)), t),
                        train=train)

  def decode(
      self,
      z: Array,
      t: Array,
      given: Mapping[str, Array],
      present: Mapping[str, Array] | None = None,
      train: bool = False,
  ) -> Array:
    """Return x_0 of Eq. 3, `[B, L, C]`, from latents."""
    embedded = self._placed(self._condition(z, given, present or {}), t)
    pair = (embedded, z) if self.queries == 'condition' else (z, embedded)
    out = self.write(self.decoder(*pair, train=train))
    return out.reshape(z.shape[0], -1, self.channels)

  def _condition(
      self,
      like: Array,
      given: Mapping[str, Array],
      present: Mapping[str, Array],
  ) -> Array:
    """Return c of Eq. 2, `[B, L / patch, D]`."""
    total = jnp.zeros(like.shape, self.dtype)
    for name in self.others:
      if name not in given and not self.nullable:
        raise ValueError(f'given: expected {self.others}, found no {name!r}.')
      if name not in given:
        total += jnp.broadcast_to(self.null[name], like.shape)
        continue
      part = self.condition[name](self._tokens(given[name]))
      if name in present:
        null = jnp.broadcast_to(self.null[name], like.shape)
        part = jnp.where(present[name][:, None, None], part, null)
      total += part
    return total

  def _tokens(self, x: Array) -> Array:
    return x.reshape(x.shape[0], x.shape[1] // self.patch, -1)

  def _placed(self, tokens: Array, t: Array) -> Array:
    place = positions(tokens.shape[1], self.width)[None]
    return tokens + place.astype(tokens.dtype) + self.time(t)[:, None]
