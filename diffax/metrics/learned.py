"""Scores of generated windows that train a network.

  Context-FID     Fréchet distance of latents of an encoder (`ts2vec.py`) that
                  was trained on the real windows
  predictive      error on real windows of a network that learnt from generated
                  ones to continue them ("train on synthetic, test on real")
  discriminative  |accuracy - 1/2| of a network that tells real from generated

All depend on the network, on how long it trains and on the number of windows:
compare only scores of the same settings and sizes. Each runs several times,
from seeds of its own, and returns what every run found.

Real windows that overlap are near copies of each other, on both sides of a
random split; a discriminator can then know a held-out window by its neighbour.

References:
  Jeha et al., "PSA-GAN", ICLR 2022 (Context-FID), as computed by the released
  code of Yuan and Qiao, "Diffusion-TS", ICLR 2024. Yoon et al., "Time-series
  generative adversarial networks", NeurIPS 2019, Sec. 5, and its released code.
  LaMbDA, App. A.6.4.
"""

from collections.abc import Callable
import functools
from typing import NamedTuple

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from diffax.errors import UserError
from diffax.metrics import distribution
from diffax.metrics import ts2vec
from diffax.typing import Array
from diffax.typing import Key
from diffax.typing import Params

MODES = ('seq2seq', 'timegan')
LossFn = Callable[[Array, Array], Array]
# Inputs and targets that share their leading axis.
Examples = tuple[Array, Array]


class Forecast(NamedTuple):
  """Errors of the predictive score, one of each run.

  Attributes:
    mae: `[seeds]`, mean absolute error.
    mse: `[seeds]`, mean squared error.
  """

  mae: np.ndarray
  mse: np.ndarray


class Training(NamedTuple):
  """How a network of a score is trained.

  Attributes:
    iterations: batches.
    batch_size: windows of each set in a batch, or all if there are fewer.
    rate: of Adam.
  """

  iterations: int
  batch_size: int
  rate: float


def context_fid(
    truth: np.ndarray,
    pred: np.ndarray,
    *,
    iterations: int | None = None,
    seeds: int = 1,
    seed: int = 0,
    features: int = 320,
    hidden: int = 64,
    depth: int = 10,
    batch_size: int = 8,
    rate: float = 1e-3,
) -> np.ndarray:
  """Return the Fréchet distance of latents of whole windows.

  The sets must be of one size: the distance depends on it. The released code
  takes both sets in one random order of the real ones, on which means and
  covariances do not depend, so no order is drawn here.

  Args:
    truth: `[N, L, C]` real windows; the encoder learns from them.
    pred: `[N, L, C]` generated windows.
    iterations: batches to train on; by default as released, 200 for up to
      100 000 numbers and 600 for more.
    seeds: how many encoders.
    seed: of all draws.
    features: of a latent. With N <= features the covariances are rank
      deficient.
    hidden: channels of the encoder.
    depth: blocks of the encoder before its last.
    batch_size: windows of a batch.
    rate: of AdamW.

  Returns:
    `[seeds]`, >= 0.

  Raises:
    UserError: the windows do not fit.
  """
  real, fake = _checked('context_fid', truth, pred, 2)
  if len(real) != len(fake):
    raise UserError(
        'context_fid: expected as many generated windows as real ones, found '
        f'{len(fake)} and {len(real)}.'
    )
  _check_counts(
      'context_fid', seeds=seeds, batch_size=batch_size, iterations=iterations
  )
  iterations = iterations or ts2vec.released_iterations(real.size)
  encoder = ts2vec.Encoder(features, hidden, depth)
  found = []
  for key in _keys(seed, seeds):
    params, _ = ts2vec.fit(
        encoder, key, real, iterations, min(batch_size, len(real)), rate
    )
    a, b = (
        np.asarray(ts2vec.encode(encoder, params, x)) for x in (real, fake)
    )
    found.append(distribution.frechet(a, b))
  return np.array(found)


def predictive_score(
    truth: np.ndarray,
    pred: np.ndarray,
    mode: str = 'seq2seq',
    *,
    iterations: int | None = None,
    seeds: int = 5,
    seed: int = 0,
    hidden: int | None = None,
    batch_size: int = 128,
    rate: float = 1e-3,
    loss: str | None = None,
) -> Forecast:
  """Return the errors on real windows of what learnt from generated ones.

  'seq2seq': an LSTM reads the first half of a window, another continues it from
  its own outputs; all channels, in the windows' unit. 'timegan': a GRU reads
  all channels but the last and gives the last one a step later, each channel
  scaled to 0..1 by its range in the real windows.

  Args:
    truth: `[N, L, C]` real windows, to test on.
    pred: `[M, L, C]` generated windows, to train on.
    mode: one of `MODES`.
    iterations: batches to train on; by default 2000, and 5000 of 'timegan'.
    seeds: how many runs.
    seed: of all draws.
    hidden: units; by default 64, and max(1, C // 2) of 'timegan'.
    batch_size: windows of a batch, or all if there are fewer.
    rate: of Adam.
    loss: 'l1' or 'l2'; by default 'l2', and 'l1' of 'timegan'.

  Returns:
    Mean absolute and mean squared error of each run.

  Raises:
    UserError: unfit windows or settings, or 'timegan' with one channel.

  References:
    LaMbDA, App. A.6.4 ('seq2seq', sizes not stated). Yoon et al., 2019, and
    its released code ('timegan').
  """
  if mode not in MODES:
    raise UserError(f'mode: expected one of {MODES}, found {mode!r}.')
  real, fake = _checked('predictive_score', truth, pred, 1)
  _check_counts(
      'predictive_score', seeds=seeds, batch_size=batch_size,
      iterations=iterations, hidden=hidden,
  )
  loss = loss or ('l2' if mode == 'seq2seq' else 'l1')
  if loss not in _LOSSES:
    raise UserError(f'loss: expected one of {tuple(_LOSSES)}, found {loss!r}.')
  length, channels = real.shape[1:]
  network: nn.Module
  if mode == 'seq2seq':
    first = length // 2
    network = Continuation(hidden or 64, channels, length - first)
    parts = [(x[:, :first], x[:, first:]) for x in (real, fake)]
  else:
    network = LastChannel(hidden or max(1, channels // 2))
    parts = [_shifted(x) for x in _to_unit(real, fake)]
  training = Training(
      iterations or (2000 if mode == 'seq2seq' else 5000), batch_size, rate
  )
  mae, mse = _forecasts(
      network, loss, training, _keys(seed, seeds), parts[1], parts[0]
  )
  return Forecast(np.asarray(mae), np.asarray(mse))


def discriminative_score(
    truth: np.ndarray,
    pred: np.ndarray,
    *,
    iterations: int = 2000,
    seeds: int = 5,
    seed: int = 0,
    hidden: int | None = None,
    batch_size: int = 128,
    rate: float = 1e-3,
    train_share: float = 0.8,
) -> np.ndarray:
  """Return how well a GRU tells real from generated windows.

  Args:
    truth: `[N, L, C]` real windows.
    pred: `[M, L, C]` generated windows.
    iterations: batches to train on.
    seeds: how many runs, each with a split of its own.
    seed: of all draws.
    hidden: units; by default max(1, C // 2).
    batch_size: windows of each set in a batch, or all if there are fewer.
    rate: of Adam.
    train_share: of each set; the score is of the rest.

  Returns:
    `[seeds]` of |accuracy - 1/2|: 0 if it cannot tell, 1/2 if it always can.
    Accuracy is the mean of those of the two sets, which N and M do not move.

  Raises:
    UserError: the windows or settings do not fit.

  References:
    Yoon et al., 2019, and its released code.
  """
  real, fake = _checked('discriminative_score', truth, pred, 2)
  _check_counts(
      'discriminative_score', seeds=seeds, batch_size=batch_size,
      iterations=iterations, hidden=hidden,
  )
  for x in (real, fake):
    if not 0 < int(train_share * len(x)) < len(x):
      raise UserError(
          'discriminative_score: expected windows on both sides of the split, '
          f'found train_share {train_share} of {len(x)}.'
      )
  network = Discriminator(hidden or max(1, real.shape[2] // 2))
  accuracy = _discriminations(
      network, Training(iterations, batch_size, rate), train_share,
      _keys(seed, seeds), real, fake
  )
  return np.abs(np.asarray(accuracy) - 0.5)


class _Continue(nn.Module):
  """Read the last value, return the next one."""

  hidden: int
  channels: int

  @nn.compact
  def __call__(self, carry, _):
    state, x = carry
    state, h = nn.OptimizedLSTMCell(self.hidden)(state, x)
    x = nn.Dense(self.channels)(h)
    return (state, x), x


class Continuation(nn.Module):
  """Continue a series: an LSTM encodes it, another goes on from its state.

  Attributes:
    hidden: units of each.
    channels: C.
    steps: F, to predict.
  """

  hidden: int
  channels: int
  steps: int

  @nn.compact
  def __call__(self, past: Array) -> Array:
    """Map `[B, P, C]` to `[B, F, C]`."""
    reader = nn.RNN(nn.OptimizedLSTMCell(self.hidden), return_carry=True)
    state, _ = reader(past)
    writer = nn.scan(
        _Continue, variable_broadcast='params',
        split_rngs={'params': False}, length=self.steps, out_axes=1,
    )
    _, future = writer(self.hidden, self.channels)((state, past[:, -1]), None)
    return future


class LastChannel(nn.Module):
  """Follow a series with one number between 0 and 1.

  Attributes:
    hidden: units of the GRU.
  """

  hidden: int

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Map `[B, L, C]` to `[B, L, 1]`."""
    return nn.sigmoid(nn.Dense(1)(nn.RNN(nn.GRUCell(self.hidden))(x)))


class Discriminator(nn.Module):
  """Judge a whole window by the last state of a GRU.

  Attributes:
    hidden: units of the GRU.
  """

  hidden: int

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Map `[B, L, C]` to logits `[B]`, positive for real."""
    state, _ = nn.RNN(nn.GRUCell(self.hidden), return_carry=True)(x)
    return nn.Dense(1)(state)[:, 0]


def _l1(found: Array, target: Array) -> Array:
  return jnp.mean(jnp.abs(found - target))


def _l2(found: Array, target: Array) -> Array:
  return jnp.mean((found - target) ** 2)


def _cross_entropy(logit: Array, target: Array) -> Array:
  return jnp.mean(optax.sigmoid_binary_cross_entropy(logit, target))


_LOSSES: dict[str, LossFn] = {'l1': _l1, 'l2': _l2}


def _apply(network: nn.Module, params: Params, x: Array) -> Array:
  return jnp.asarray(network.apply(params, x))


def _train(
    network: nn.Module, loss: LossFn, training: Training, key: Key,
    sets: list[Examples]
) -> Params:
  """Train by Adam on batches that draw from each set alike."""
  start, order = jax.random.split(key)
  params = network.init(start, sets[0][0][:1])
  optimiser = optax.adam(training.rate)

  def batch(key: Key) -> Examples:
    drawn = []
    for draw, examples in zip(jax.random.split(key, len(sets)), sets):
      rows = jax.random.permutation(draw, len(examples[0]))
      rows = rows[:training.batch_size]
      drawn.append([part[rows] for part in examples])
    inputs, targets = (jnp.concatenate(parts) for parts in zip(*drawn))
    return inputs, targets

  def step(carry, key):
    params, state = carry
    inputs, targets = batch(key)
    slope = jax.grad(
        lambda p: loss(_apply(network, p, inputs), targets)
    )(params)
    change, state = optimiser.update(slope, state, params)
    return (optax.apply_updates(params, change), state), None

  keys = jax.random.split(order, training.iterations)
  (params, _), _ = jax.lax.scan(step, (params, optimiser.init(params)), keys)
  return params


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _forecasts(
    network: nn.Module, loss: str, training: Training, keys: Key,
    generated: Examples, real: Examples
) -> tuple[Array, Array]:
  def run(key: Key) -> tuple[Array, Array]:
    params = _train(network, _LOSSES[loss], training, key, [generated])
    found = _apply(network, params, real[0])
    return _l1(found, real[1]), _l2(found, real[1])

  return jax.lax.map(run, keys)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _discriminations(
    network: nn.Module, training: Training, train_share: float, keys: Key,
    truth: Array, pred: Array
) -> Array:
  def run(key: Key) -> Array:
    split, train = jax.random.split(key)
    sets, held = [], []
    for draw, x, label in zip(jax.random.split(split), (truth, pred), (1, 0)):
      x = jax.random.permutation(draw, x)
      border = int(train_share * len(x))
      sets.append((x[:border], jnp.full(border, label, x.dtype)))
      held.append(x[border:])
    params = _train(network, _cross_entropy, training, train, sets)
    real, fake = (_apply(network, params, x) > 0 for x in held)
    return (jnp.mean(real) + 1 - jnp.mean(fake)) / 2

  return jax.lax.map(run, keys)


def _keys(seed: int, seeds: int) -> Key:
  """Return keys `[seeds]`; each depends on its number alone."""
  fold = functools.partial(jax.random.fold_in, jax.random.key(seed))
  return jax.vmap(fold)(jnp.arange(seeds))


def _shifted(x: Array) -> Examples:
  """Return all channels but the last, and the last one step later."""
  return x[:, :-1, :-1], x[:, 1:, -1:]


def _to_unit(truth: Array, pred: Array) -> tuple[Array, Array]:
  """Scale channels to 0..1 by their range in the real windows."""
  if truth.shape[2] < 2:
    raise UserError(
        "predictive_score: mode 'timegan' predicts the last channel from the "
        'others, so it is undefined for one channel (there is no input, and '
        "C // 2 units are none); use mode 'seq2seq'."
    )
  low = jnp.min(truth, axis=(0, 1), keepdims=True)
  span = jnp.max(truth, axis=(0, 1), keepdims=True) - low
  span = jnp.where(span > 0, span, 1)
  return (truth - low) / span, (pred - low) / span


def _checked(
    name: str, truth: np.ndarray, pred: np.ndarray, least: int
) -> tuple[Array, Array]:
  if (
      truth.ndim != 3 or pred.ndim != 3 or truth.shape[1:] != pred.shape[1:]
      or truth.shape[1] < 2 or not truth.shape[2]
      or min(len(truth), len(pred)) < least
  ):
    raise UserError(
        f'{name}: expected windows [N, L, C] and [M, L, C] with N and M >= '
        f'{least} and L >= 2, found {truth.shape} and {pred.shape}.'
    )
  if not (np.isfinite(truth).all() and np.isfinite(pred).all()):
    raise UserError(f'{name}: expected finite windows, found NaN or infinity.')
  return jnp.asarray(truth, jnp.float32), jnp.asarray(pred, jnp.float32)


def _check_counts(name: str, **counts: int | None) -> None:
  """Refuse what is below 1; None stands for a default."""
  for field, value in counts.items():
    if value is not None and value < 1:
      raise UserError(f'{name}: {field}: expected 1 or more, found {value}.')
