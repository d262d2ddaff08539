"""Rhythmic contrastive learning of paired latents.

Clips of a pair of latents z_a, z_m [L, D] start at random. By the greatest
kinematic amplitude within, they fall into categories of equal size, and S of
them, of different categories as far as there are so many, meet each other:

  (1)  c_a^i = unit(max over the clip of z_a),  c_m^i likewise
  (2)  loss = -1/2 mean_i log softmax_j(<c_a^i, c_m^j> / tau)_i
              -1/2 mean_i log softmax_j(<c_m^i, c_a^j> / tau)_i.

Clips that differ in amplitude differ in rhythm, which clips at random times of
one dance need not. Categories are quantiles: most of an amplitude's range is
empty. The paper leaves the numbers open; those here are ours.

References:
  You et al., "MoMu-Diffusion", NeurIPS 2024, Eq. 3-4, in which the positive's
  "i" and "j" are read as the same clip.
  Luo et al., "Diff-Foley", NeurIPS 2023 (clips of one pair as negatives).
"""

import jax
import jax.numpy as jnp

from diffax.diffusion import alignment
from diffax.errors import UserError
from diffax.typing import Array
from diffax.typing import Key


def contrast(
    z_a: Array,
    z_m: Array,
    amplitude: Array,
    key: Key,
    *,
    clip: int = 32,
    draws: int = 64,
    categories: int = 8,
    clips: int = 8,
    temperature: float = 0.07,
    batch_negatives: bool = False,
) -> tuple[Array, Array]:
  """Tell each clip of one modality its own of the other, Eq. 1-2.

  Args:
    z_a: latents [B, L, D].
    z_m: latents [B, L, D].
    amplitude: kinematic, at the latents' rate [B, L].
    key: of the clips.
    clip: latents of a clip.
    draws: N_T, clips drawn of each pair, a multiple of the categories.
    categories: N_C.
    clips: N_S, clips that meet, at most the draws.
    temperature: tau.
    batch_negatives: whether clips of the other pairs are negatives too.

  Returns:
    Scalar, log N_S (or log(B N_S)) if all latents are equal; and the share of
    clips that are nearest to their own.

  Raises:
    UserError: a number is out of range.

  References:
    You et al. 2024, Eq. 4.
  """
  starts = choose(key, amplitude, clip, draws, categories, clips)
  a, m = pool(z_a, starts, clip), pool(z_m, starts, clip)
  if batch_negatives:
    a, m = (c.reshape(1, -1, c.shape[-1]) for c in (a, m))
  logits = jnp.einsum('bid,bjd->bij', a, m) / temperature
  return symmetric(logits), accuracy(logits)


def choose(
    key: Key,
    amplitude: Array,
    clip: int,
    draws: int,
    categories: int,
    clips: int,
) -> Array:
  """Choose clips of different categories of amplitude.

  Args:
    key: random key.
    amplitude: [B, L].
    clip: steps of a clip.
    draws: N_T, a multiple of the categories.
    categories: N_C.
    clips: N_S.

  Returns:
    Starts [B, N_S] int32. Each category gives one clip before any gives two;
    which ones give more, or none, is random.

  Raises:
    UserError: a number is out of range.
  """
  batch, length = amplitude.shape
  if not 1 <= clip <= length:
    raise UserError(
        f'contrast.clip: expected 1 to {length} latents, found {clip}.'
    )
  if categories < 1 or draws % categories or not 2 <= clips <= draws:
    raise UserError(
        'contrast: expected draws a multiple of categories and 2 to as many '
        f'clips, found draws {draws}, categories {categories}, clips {clips}.'
    )
  key_start, key_member, key_category = jax.random.split(key, 3)
  starts = jax.random.randint(key_start, (batch, draws), 0, length - clip + 1)
  largest = jnp.max(_clips(amplitude[..., None], starts, clip), axis=(2, 3))
  order = jnp.argsort(largest, axis=1)
  ranked = jnp.take_along_axis(starts, order, axis=1)
  ranked = ranked.reshape(batch, categories, -1)
  ranked = _shuffled(key_member, ranked, 2)
  ranked = _shuffled(key_category, ranked, 1)
  return jnp.swapaxes(ranked, 1, 2).reshape(batch, -1)[:, :clips]


def pool(z: Array, starts: Array, clip: int) -> Array:
  """Reduce clips to unit vectors, Eq. 1.

  Args:
    z: [B, L, D].
    starts: [B, S].
    clip: steps of a clip.

  Returns:
    [B, S, D].
  """
  largest = jnp.max(_clips(z.astype(jnp.float32), starts, clip), axis=2)
  return alignment.unit(largest.reshape(-1, z.shape[-1])).reshape(largest.shape)


def symmetric(logits: Array) -> Array:
  """Return the loss of similarities [G, S, S] of own and others, Eq. 2."""
  both = jnp.concatenate([logits, jnp.swapaxes(logits, 1, 2)])
  return jnp.mean(jax.vmap(alignment.cross_entropy)(both))


def accuracy(logits: Array) -> Array:
  """Return the share of rows of [G, S, S] whose own column is largest."""
  own = jnp.arange(logits.shape[-1])[None]
  return jnp.mean(jnp.argmax(logits, axis=-1) == own)


def _clips(z: Array, starts: Array, clip: int) -> Array:
  """Cut [B, L, D] at starts [B, S] into [B, S, clip, D]."""
  places = starts[..., None] + jnp.arange(clip)[None, None]
  return jax.vmap(lambda row, place: row[place])(z, places)


def _shuffled(key: Key, x: Array, axis: int) -> Array:
  """Shuffle [B, C, M]: its rows whole (axis 1), or within each row (2)."""
  shape = x.shape[:axis + 1] + (1,) * (x.ndim - axis - 1)
  order = jnp.argsort(jax.random.uniform(key, shape), axis=axis)
  return jnp.take_along_axis(x, jnp.broadcast_to(order, x.shape), axis=axis)
