"""Recognition of classes: training of a classifier, and what it gets right.

With n_ij windows of class i that are called j,

  (1)  F_i = 2 n_ii / (sum_j n_ij + sum_j n_ji)
  (2)  macro-F1 = mean of F_i over the classes that occur, true or called

so a class that nobody did and nobody was taken to do does not count. A network
with logits z and weights w is trained on targets y, one-hot or mixed, by Adam
on batches of

  (3)  -mean_b sum_k y_bk log softmax(z_b)_k + decay / 2 |w|^2

The network is an argument: any module with `init(key, x)` and
`apply(variables, x, train=..., rngs={'dropout': key})` from `[B, L, C]` to
logits `[B, K]`. A whole training, of all seeds, is one compiled call. Its time
does not depend on how many windows there are but on the number of steps, and
sets padded to one size share the compiled code.

References:
  Opitz and Burst, "Macro F1 and Macro F1", 2019 (Eq. 2 is their mean of F1).
"""

import functools
from typing import Any, NamedTuple

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from diffax.errors import UserError
from diffax.typing import Array
from diffax.typing import Key
from diffax.typing import Params

# Windows classified at once, to bound memory; without effect on the results.
_AT_ONCE = 256


class Training(NamedTuple):
  """How a classifier is trained.

  Attributes:
    batch_size: windows of a batch.
    rate: of Adam.
    decay: of the weights, as a penalty (Eq. 3), so scaled by Adam.
    together: seeds trained at once, side by side; 0 for all. On a processor
      one after the other is faster.
  """

  batch_size: int = 64
  rate: float = 1e-3
  decay: float = 1e-4
  together: int = 1


class Fitted(NamedTuple):
  """Classifiers, one for each of S seeds.

  Attributes:
    last: parameters after the last step, leading axis S.
    best: those of the best validation; of equal ones the latest. `last` if
      there are no validation windows.
    loss: `[S, V]`, mean of Eq. 3 without its penalty between validations.
    score: `[S, V]`, macro-F1 of the validation windows, NaN without any.
  """

  last: Params
  best: Params
  loss: Array
  score: Array


def confusion(truth: Any, called: Any, classes: int) -> Any:
  """Count windows by true class and by what they are called.

  Args:
    truth: `[N]` true classes, 0 to K - 1.
    called: `[N]` classes found.
    classes: K.

  Returns:
    `[K, K]` counts n, rows are true; float64 of NumPy arrays.
  """
  if isinstance(truth, np.ndarray) and isinstance(called, np.ndarray):
    counts = np.bincount(classes * truth + called, minlength=classes**2)
    return counts.reshape(classes, classes).astype(np.float64)
  rows, columns = (jax.nn.one_hot(x, classes) for x in (truth, called))
  return rows.T @ columns


def f1(counts: Any) -> Any:
  """Return the F1 score of each class (Eq. 1), 0 of one that does not occur.

  Args:
    counts: `[K, K]` from `confusion`.

  Returns:
    `[K]`.
  """
  total = counts.sum(0) + counts.sum(1)
  return 2 * counts.diagonal() / (total + (total == 0))


def macro_f1(counts: Any) -> Any:
  """Return the mean F1 of the classes that occur (Eq. 2).

  Args:
    counts: `[K, K]` from `confusion`.

  Returns:
    Between 0 and 1; 0 of no windows.
  """
  occur = (counts.sum(0) + counts.sum(1) > 0).sum()
  return f1(counts).sum() / (occur + (occur == 0))


def accuracy(counts: Any) -> Any:
  """Return the share of windows on the diagonal of `[K, K]` counts."""
  total = counts.sum()
  return counts.diagonal().sum() / (total + (total == 0))


def batches(
    rng: np.random.Generator, count: int, steps: int, size: int
) -> np.ndarray:
  """Draw the rows of batches: shuffled epochs, one after the other.

  A batch may end one epoch and begin the next, so that each window is seen
  equally often and no batch is short.

  Args:
    rng: of the order.
    count: windows.
    steps: batches.
    size: of a batch.

  Returns:
    `[steps, size]` int32.
  """
  epochs = -(-steps * size // count)
  order = [rng.permutation(count) for _ in range(epochs)]
  rows = np.concatenate(order)[:steps * size]
  return rows.reshape(steps, size).astype(np.int32)


def padded(values: np.ndarray, size: int) -> np.ndarray:
  """Append zeros to the first axis up to a size; nothing reads them."""
  room = [(0, size - len(values))] + [(0, 0)] * (values.ndim - 1)
  return np.pad(values, room)


def fit(
    network: nn.Module,
    training: Training,
    x: np.ndarray,
    target: np.ndarray,
    *,
    steps: int,
    seeds: int = 3,
    seed: int = 0,
    validation: tuple[np.ndarray, np.ndarray] | None = None,
    validations: int = 10,
    capacity: int | None = None,
) -> Fitted:
  """Train classifiers that differ in their seed.

  Args:
    network: of the classifier.
    training: how.
    x: `[N, L, C]` standardised windows.
    target: `[N]` classes, or `[N, K]` shares of them.
    steps: batches to train on, rounded up to a multiple of `validations`.
    seeds: S. Number s draws its weights, order and dropout from (seed, s)
      alone, so that other sets begin with the same weights.
    seed: see `seeds`.
    validation: windows `[V, L, C]` and classes `[V]` that choose `best`.
    validations: how often they are classified, evenly spread.
    capacity: pad the windows to so many; calls of one capacity, number of
      steps and validation set share the compiled code.

  Returns:
    The classifiers.

  Raises:
    UserError: the windows or settings do not fit.
  """
  x, classes = np.asarray(x, np.float32), _classes(network, np.asarray(x))
  _check(x, target, validation, steps, seeds, validations, training)
  if target.ndim == 1:
    target = np.eye(classes, dtype=np.float32)[target]
  every = -(-steps // validations)
  rows = np.stack([
      batches(np.random.default_rng([seed, s]), len(x), validations * every,
              training.batch_size) for s in range(seeds)
  ]).reshape(seeds, validations, every, training.batch_size)
  size = max(len(x), capacity or 0)
  return _fit(
      network, training, _keys(seed, seeds), padded(x, size),
      padded(np.asarray(target, np.float32), size), rows, validation
  )


@functools.partial(jax.jit, static_argnums=(0, 1))
def _fit(
    network: nn.Module, training: Training, keys: Key, x: Array, target: Array,
    rows: Array, validation: tuple[Array, Array] | None
) -> Fitted:
  optimiser = optax.chain(
      optax.add_decayed_weights(training.decay), optax.adam(training.rate)
  )

  def loss(params: Params, index: Array, key: Key) -> Array:
    logits = network.apply(
        params, x[index], train=True, rngs={'dropout': key}
    )
    return optax.softmax_cross_entropy(logits, target[index]).mean()

  def step(carry, inputs):
    params, state = carry
    value, slope = jax.value_and_grad(loss)(params, *inputs)
    change, state = optimiser.update(slope, state, params)
    return (optax.apply_updates(params, change), state), value

  def stretch(carry, inputs):
    now, best, highest = carry
    now, losses = jax.lax.scan(step, now, inputs)
    if validation is None:
      return (now, now[0], highest), (losses.mean(), jnp.nan)
    score = _score(network, now[0], validation)
    better = score >= highest
    best = jax.tree.map(
        lambda new, old: jnp.where(better, new, old), now[0], best
    )
    return (now, best, jnp.maximum(score, highest)), (losses.mean(), score)

  def one(inputs: tuple[Key, Array]) -> Fitted:
    key, rows = inputs
    start, drop = jax.random.split(key)
    params = network.init(start, x[:1])
    drops = jax.random.split(drop, rows.shape[:2])
    carry = (params, optimiser.init(params)), params, jnp.float32(-1)
    ((last, _), best, _), (losses, scores) = jax.lax.scan(
        stretch, carry, (rows, drops)
    )
    return Fitted(last, best, losses, scores)

  return jax.lax.map(
      one, (keys, rows), batch_size=training.together or len(rows)
  )


def predict(network: nn.Module, params: Params, x: np.ndarray) -> np.ndarray:
  """Classify windows by each of S classifiers.

  Args:
    network: of the classifiers.
    params: with leading axis S.
    x: `[N, L, C]` standardised windows.

  Returns:
    `[S, N]` int64 classes.
  """
  found = _predict(network, params, np.asarray(x, np.float32))
  return np.asarray(found, np.int64)


@functools.partial(jax.jit, static_argnums=0)
def _predict(network: nn.Module, params: Params, x: Array) -> Array:
  return jax.lax.map(lambda p: _classify(network, p, x), params)


def _classify(network: nn.Module, params: Params, x: Array) -> Array:
  def one(window: Array) -> Array:
    return jnp.argmax(jnp.asarray(network.apply(params, window[None]))[0])

  return jax.lax.map(one, x, batch_size=_AT_ONCE)


def _score(
    network: nn.Module, params: Params, validation: tuple[Array, Array]
) -> Array:
  x, label = validation
  logits = jax.eval_shape(network.apply, params, x[:1])
  called = _classify(network, params, x)
  return macro_f1(confusion(label, called, logits.shape[-1]))


def _classes(network: nn.Module, x: np.ndarray) -> int:
  """Return K, of which the network has logits."""
  made = jax.eval_shape(
      lambda key, x: network.init_with_output(key, x)[0], jax.random.key(0),
      jax.ShapeDtypeStruct((1, *x.shape[1:]), jnp.float32),
  )
  return int(made.shape[-1])


def _keys(seed: int, seeds: int) -> Key:
  """Return keys `[S]`; each depends on its number alone."""
  fold = functools.partial(jax.random.fold_in, jax.random.key(seed))
  return jax.vmap(fold)(jnp.arange(seeds))


def _check(
    x: np.ndarray, target: np.ndarray,
    validation: tuple[np.ndarray, np.ndarray] | None, steps: int, seeds: int,
    validations: int, training: Training
) -> None:
  counts = {'steps': steps, 'seeds': seeds, 'validations': validations,
            'batch_size': training.batch_size}
  for field, value in counts.items():
    if value < 1:
      raise UserError(
          f'classifier.{field}: expected 1 or more, found {value}.'
      )
  sets = {'training': (x, target)}
  if validation is not None:
    sets['validation'] = validation
  for name, (windows, label) in sets.items():
    if not len(windows) or len(windows) != len(label):
      raise UserError(
          f'classifier: expected {name} windows [N, L, C] with N labels, N >= '
          f'1, found {list(windows.shape)} and {list(label.shape)}.'
      )
    if not np.isfinite(windows).all():
      raise UserError(
          f'classifier: expected finite {name} windows, found NaN or infinity.'
      )
