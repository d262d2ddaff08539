"""TS2Vec: an encoder of time series trained without labels.

Two crops of a series overlap in the steps [left, right). Steps of both are
hidden at random, encoded, and the latents of the overlap, z and z', compared:
with s running over the other candidates,

  (1)  l(u) = -log exp(<z_u, z'_u>) / sum_s exp(<z_u, s>), symmetric in z, z'
  (2)  temporal: candidates are the steps of both crops of one series
       instance: candidates are both crops of the batch at one step
  (3)  loss = mean over levels of (temporal + instance) / 2

where each level halves the time axis by a maximum over pairs, until one step
is left. The encoder is dilated convolutions; a window's latent is the maximum
over its steps.

Crops have any length, a compiled function has one: here each window keeps its
length and a mask says which steps are inside. Setting all others to zero before
every convolution equals the padding of a shorter window.

References:
  Yue et al., "TS2Vec: Towards universal representation of time series", AAAI
  2022, Eq. 1-3, Algorithm 1, and its released settings.
"""

import functools
import math

from flax import linen as nn
import jax
import jax.numpy as jnp
import optax

from diffax.typing import Array
from diffax.typing import Key
from diffax.typing import Params

_HIDDEN_LOGIT = -1e9
# Of the released optimiser; Eq. 3's temporal and instance terms weigh alike.
_WEIGHT_DECAY = 1e-2


def _dense(features: int, fan_in: int) -> nn.Dense:
  """Build a layer with the released initial law, uniform by its fan-in."""
  bound = 1 / math.sqrt(fan_in)

  def init(key: Key, shape: tuple[int, ...], dtype=jnp.float32) -> Array:
    return jax.random.uniform(key, shape, dtype, -bound, bound)

  return nn.Dense(features, kernel_init=init, bias_init=init)


def _neighbourhood(h: Array, dilation: Array) -> Array:
  """Put each step beside those `dilation` before and after it, 0 outside."""
  length = h.shape[1]
  padded = jnp.pad(h, ((0, 0), (length, length), (0, 0)))
  before, after = (
      jax.lax.dynamic_slice_in_dim(padded, length + shift, length, axis=1)
      for shift in (-dilation, dilation)
  )
  return jnp.concatenate([before, h, after], axis=-1)


class _Block(nn.Module):
  """Two dilated convolutions beside a residual.

  Attributes:
    width: channels that it returns.
    project: send the residual through a layer.
  """

  width: int
  project: bool

  @nn.compact
  def __call__(
      self, h: Array, dilation: Array, keep: Array
  ) -> tuple[Array, None]:
    residual = _dense(self.width, h.shape[-1])(h) if self.project else h
    for _ in range(2):
      h = _neighbourhood(nn.gelu(h, approximate=False), dilation)
      h = keep * _dense(self.width, h.shape[-1])(h)
    return keep * (h + residual), None


class Encoder(nn.Module):
  """Dilated convolutions of width 3 with residuals.

  Attributes:
    features: of a latent.
    hidden: channels between.
    depth: blocks before the last; block i has dilation 2^i.
    drop: rate of dropout on the latents.
  """

  features: int = 320
  hidden: int = 64
  depth: int = 10
  drop: float = 0.1

  @nn.compact
  def __call__(
      self, x: Array, inside: Array, seen: Array | None = None
  ) -> Array:
    """Encode each step.

    Args:
      x: `[B, L, C]`.
      inside: `[B, L]` bool, the steps of the crop, contiguous.
      seen: `[B, L]` bool, the steps not hidden, in training (then with an rng
        `dropout`); None shows all and drops nothing.

    Returns:
      `[B, L, features]`, 0 outside.
    """
    keep = inside[..., None].astype(x.dtype)
    h = keep * _dense(self.hidden, x.shape[-1])(x)
    if seen is not None:
      h = h * seen[..., None].astype(x.dtype)
    # Farther than the window is outside, however far.
    dilations = jnp.minimum(2 ** jnp.arange(self.depth + 1), x.shape[1])
    # One block compiled for all: only the dilation differs.
    blocks = nn.scan(
        _Block, variable_axes={'params': 0}, split_rngs={'params': True},
        in_axes=(0, nn.broadcast),
    )
    h, _ = blocks(self.hidden, False)(h, dilations[:-1], keep)
    h, _ = _Block(self.features, True)(h, dilations[-1], keep)
    return nn.Dropout(self.drop, deterministic=seen is None)(h)


def contrast(z: Array, valid: Array) -> Array:
  """Return the mean of Eq. 1 over groups of candidates.

  Args:
    z: `[G, M, D]`; candidates u and u + M / 2 of a group belong together.
    valid: `[G, M]` bool; others are neither compared nor counted. The two that
      belong together are both valid or both not.

  Returns:
    `[]`; 0 of no valid ones, and of groups of one pair.
  """
  size = z.shape[1]
  own = jnp.sum(z * jnp.roll(z, size // 2, axis=1), axis=-1)
  logits = jnp.einsum('gud,gsd->gus', z, z)
  candidate = valid[:, None, :] & ~jnp.eye(size, dtype=bool)[None]
  logits = jnp.where(candidate, logits, _HIDDEN_LOGIT)
  loss = jax.nn.logsumexp(logits, axis=-1) - own
  return jnp.sum(jnp.where(valid, loss, 0)) / jnp.maximum(jnp.sum(valid), 1)


def hierarchical_loss(z: Array, other: Array, count: Array | int) -> Array:
  """Return the loss of two views of a batch (Eq. 3).

  Args:
    z: `[B, L, D]` latents of one crop; the overlap comes first.
    other: as `z`, of the other crop.
    count: how many first steps overlap, 1 to L.

  Returns:
    `[]`.
  """
  total, levels = jnp.zeros(()), jnp.zeros(())
  count = jnp.asarray(count)
  while True:
    batch, length = z.shape[:2]
    valid = jnp.arange(length) < count
    temporal = contrast(
        jnp.concatenate([z, other], axis=1),
        jnp.broadcast_to(jnp.tile(valid, 2)[None], (batch, 2 * length)),
    )
    instance = contrast(
        jnp.concatenate([z, other], axis=0).swapaxes(0, 1),
        jnp.broadcast_to(valid[:, None], (length, 2 * batch)),
    )
    # Beyond the last step of the overlap both are 0.
    total += (temporal + instance) / 2
    levels += count > 0
    if length == 1:
      return total / levels
    z, other, count = _halve(z), _halve(other), count // 2


def _halve(z: Array) -> Array:
  batch, length, width = z.shape
  pairs = z[:, : length // 2 * 2].reshape(batch, length // 2, 2, width)
  return jnp.max(pairs, axis=2)


def crop_loss(
    encoder: Encoder, params: Params, x: Array, key: Key
) -> Array:
  """Return the loss of random crops of a batch (Algorithm 1).

  Args:
    encoder: whose loss.
    params: its parameters.
    x: `[B, L, C]` with L >= 2.
    key: of the crops, of the hidden steps and of dropout.

  Returns:
    `[]`.
  """
  batch, length = x.shape[:2]
  keys = jax.random.split(key, 7)
  size = jax.random.randint(keys[0], (), 2, length + 1)
  left = jax.random.randint(keys[1], (), 0, length - size + 1)
  right = left + size
  first = jax.random.randint(keys[2], (), 0, left + 1)
  last = jax.random.randint(keys[3], (), right, length + 1)
  # Each series of the batch is cropped at its own place.
  shift = jax.random.randint(keys[4], (batch, 1), -first, length - last + 1)
  time = jnp.arange(length)[None]
  x = jnp.take_along_axis(x, ((time + shift) % length)[..., None], axis=1)
  inside = jnp.concatenate([
      jnp.broadcast_to((time >= start) & (time < stop), (batch, length))
      for start, stop in ((first, right), (left, last))
  ])
  latents = encoder.apply(
      {'params': params}, jnp.concatenate([x, x]), inside,
      jax.random.bernoulli(keys[5], 0.5, inside.shape),
      rngs={'dropout': keys[6]},
  )
  latents = jnp.roll(jnp.asarray(latents), -left, axis=1)
  return hierarchical_loss(latents[:batch], latents[batch:], size)


def released_iterations(size: int) -> int:
  """Return how long to train on so many numbers, N L C."""
  return 200 if size <= 100_000 else 600


@functools.partial(jax.jit, static_argnums=(0, 3, 4, 5))
def fit(
    encoder: Encoder,
    key: Key,
    windows: Array,
    iterations: int,
    batch_size: int = 8,
    rate: float = 1e-3,
) -> tuple[Params, Array]:
  """Train an encoder, in one compiled loop.

  Args:
    encoder: to train.
    key: of the weights, of the batches and of the crops.
    windows: `[N, L, C]` with L >= 2.
    iterations: batches to train on.
    batch_size: at most N.
    rate: of AdamW.

  Returns:
    The mean of the parameters over the iterations, as released, and the
    losses `[iterations]`.
  """
  count = len(windows)
  start, order, draws = jax.random.split(key, 3)
  params = encoder.init(
      start, windows[:1], jnp.ones((1, windows.shape[1]), bool)
  )['params']
  optimiser = optax.adamw(rate, weight_decay=_WEIGHT_DECAY)
  # Whole batches of shuffled epochs; what is left of an epoch is dropped.
  whole = count // batch_size
  epochs = jax.random.split(order, -(-iterations // whole))
  rows = jax.vmap(lambda k: jax.random.permutation(k, count))(epochs)
  rows = rows[:, : whole * batch_size].reshape(-1, batch_size)[:iterations]

  def step(carry, inputs):
    params, mean, state = carry
    number, index, key = inputs
    loss, slope = jax.value_and_grad(
        lambda p: crop_loss(encoder, p, windows[index], key)
    )(params)
    change, state = optimiser.update(slope, state, params)
    params = optax.apply_updates(params, change)
    mean = jax.tree.map(lambda m, p: m + (p - m) / (number + 1), mean, params)
    return (params, mean, state), loss

  (_, mean, _), losses = jax.lax.scan(
      step, (params, params, optimiser.init(params)),
      (jnp.arange(iterations), rows, jax.random.split(draws, iterations)),
  )
  return mean, losses


@functools.partial(jax.jit, static_argnums=(0, 3))
def encode(
    encoder: Encoder, params: Params, windows: Array, batch_size: int = 32
) -> Array:
  """Encode whole windows, `batch_size` at once.

  Args:
    encoder: to use.
    params: its parameters.
    windows: `[N, L, C]`.
    batch_size: bounds memory; without effect on the latents.

  Returns:
    `[N, features]`, the maximum over the steps.
  """
  inside = jnp.ones((1, windows.shape[1]), bool)

  def one(window: Array) -> Array:
    latents = encoder.apply({'params': params}, window[None], inside)
    return jnp.max(jnp.asarray(latents)[0], axis=0)

  return jax.lax.map(one, windows, batch_size=batch_size)
