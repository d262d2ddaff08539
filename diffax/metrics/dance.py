"""How real, faithful and diverse generated clips are, by learned features.

A network that was trained to name the class of real clips is the judge. Its
features f [D] and class probabilities p [K] of clips give

  (1)  FID       Fréchet distance of the features, `distribution.frechet`
  (2)  Mean KLD  mean_n sum_k p_k(true_n) (log p_k(true_n) - log p_k(made_n))
  (3)  inter     mean |f_a - f_b| over 200 random pairs of 50 different inputs
  (4)  intra     mean |f_a - f_b| over all pairs of 5 clips of one input,
                 averaged over inputs

Eq. 2 needs pairs, made_n being what was generated for the input whose truth
is true_n. All values depend on the judge: only those of one judge compare,
and a judge follows from the training split and its seed alone.

References:
  MoMu-Diffusion, App. B.4 and B.5; it does not say how KLD is averaged, and
  prints one diversity, not saying which.
  Lee et al., "Dancing to Music", NeurIPS 2019, for the classifier.
"""

import functools
from typing import NamedTuple

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from diffax.errors import UserError
from diffax.metrics import recognition
from diffax.typing import Array
from diffax.typing import Params

ITEMS, PAIRS = 50, 200
# Clips read at once, to bound memory; without effect on the results.
_AT_ONCE = 128
# Spread of a channel, in parts of the mean one.
_LEAST = 0.1


class Judge(NamedTuple):
  """Hold a trained classifier and the scale of its input.

  Attributes:
    network: maps `[B, T, C]` to logits `[B, K]`, and by its method `encode`
      to features `[B, D]`.
    params: its variables.
    mean: `[C]`, subtracted from clips.
    std: `[C]`, by which they are divided.
    clip: T, frames of a clip.
    accuracy: on the clips that it was not trained on; NaN without any.
  """

  network: nn.Module
  params: Params
  mean: np.ndarray
  std: np.ndarray
  clip: int
  accuracy: float


class Reading(NamedTuple):
  """Hold what a judge sees in N items, each of M clips.

  Attributes:
    clips: `[N M, D]` features of clips.
    items: `[N, D]` their means over an item.
    probability: `[N, K]` of the classes, means over an item.
  """

  clips: np.ndarray
  items: np.ndarray
  probability: np.ndarray


def train_judge(
    network: nn.Module,
    items: np.ndarray,
    label: np.ndarray,
    clip: int,
    *,
    steps: int,
    training: recognition.Training = recognition.Training(),
    seed: int = 0,
    held: tuple[np.ndarray, np.ndarray] | None = None,
) -> Judge:
  """Train a classifier of clips.

  Args:
    network: see `Judge`.
    items: `[N, T, C]`, each cut into clips that bear its label.
    label: `[N]` classes.
    clip: frames of a clip.
    steps: batches.
    training: how.
    seed: of all draws.
    held: items and labels that only measure the accuracy.

  Returns:
    The judge.

  Raises:
    UserError: items are shorter than a clip, not finite or of one class.
  """
  if len(np.unique(label)) < 2:
    raise UserError(
        'judge: expected items of two or more classes to tell apart, found '
        f'{len(np.unique(label))} in {len(label)} items.'
    )
  mean, std = items.mean((0, 1)), items.std((0, 1))
  # What hardly moves in real items, such as bands above a codec's limit, would
  # drown the rest wherever it moves in others.
  std = np.maximum(std, _LEAST * np.sqrt(np.mean(std**2)) + 1e-6)
  clips = _standardised(items, clip, mean, std)
  each = len(clips) // len(items)
  fitted = recognition.fit(
      network, training, clips, np.repeat(label, each), steps=steps, seeds=1,
      seed=seed, validations=1,
  )
  params = jax.tree.map(lambda leaf: leaf[0], fitted.last)
  judge = Judge(network, params, mean, std, clip, float('nan'))
  if held is None or not len(held[0]):
    return judge
  called = read(judge, held[0]).probability.argmax(1)
  return judge._replace(accuracy=float((called == held[1]).mean()))


def read(judge: Judge, items: np.ndarray) -> Reading:
  """Return what a judge sees in items `[N, T, C]`.

  Raises:
    UserError: items are shorter than a clip, or not finite.
  """
  clips = _standardised(items, judge.clip, judge.mean, judge.std)
  parts = [
      _encode(judge.network, judge.params, clips[i:i + _AT_ONCE])
      for i in range(0, len(clips), _AT_ONCE)
  ]
  features, probability = (
      np.concatenate([np.asarray(x, np.float64) for x in part])
      for part in zip(*parts)
  )
  shape = len(items), -1
  return Reading(
      features,
      features.reshape(*shape, features.shape[-1]).mean(1),
      probability.reshape(*shape, probability.shape[-1]).mean(1),
  )


def mean_kld(truth: np.ndarray, made: np.ndarray) -> np.ndarray:
  """Return the divergence of each pair (Eq. 2 before its mean), nats.

  Args:
    truth: `[N, K]` probabilities.
    made: `[N, K]` of what was generated for the same inputs.

  Returns:
    `[N]`, >= 0.
  """
  least = np.finfo(np.float32).tiny
  ratio = np.log(np.maximum(truth, least)) - np.log(np.maximum(made, least))
  return np.maximum((truth * ratio).sum(1), 0.0)


def inter_diversity(
    features: np.ndarray, *, items: int = ITEMS, pairs: int = PAIRS,
    seed: int = 0
) -> np.ndarray:
  """Return distances of random pairs of different items (Eq. 3).

  Args:
    features: `[N, D]`, one row for each input.
    items: of them that count, drawn at random, or all if there are fewer.
    pairs: drawn without repetition, or all that there are.
    seed: of the draws.

  Returns:
    `[pairs]`; empty of one item.
  """
  rng = np.random.default_rng(seed)
  few = rng.permutation(len(features))[:items]
  first, second = np.triu_indices(len(few), 1)
  drawn = rng.permutation(len(first))[:pairs]
  gaps = features[few[first[drawn]]] - features[few[second[drawn]]]
  return np.linalg.norm(gaps, axis=1)


def intra_diversity(features: np.ndarray) -> np.ndarray:
  """Return the mean distance of what was made of each input (Eq. 4).

  Args:
    features: `[N, R, D]` of R >= 2 clips for each of N inputs.

  Returns:
    `[N]`.
  """
  first, second = np.triu_indices(features.shape[1], 1)
  gaps = features[:, first] - features[:, second]
  return np.linalg.norm(gaps, axis=-1).mean(1)


@functools.partial(jax.jit, static_argnums=0)
def _encode(
    network: nn.Module, params: Params, clips: Array
) -> tuple[Array, Array]:
  """Return features `[B, D]` and probabilities `[B, K]`."""
  features = network.apply(params, clips, method='encode')
  logits = jnp.asarray(network.apply(params, clips), jnp.float32)
  return jnp.asarray(features), jax.nn.softmax(logits)


def _standardised(
    items: np.ndarray, clip: int, mean: np.ndarray, std: np.ndarray
) -> np.ndarray:
  """Cut items `[N, T, C]` into standardised clips `[N M, clip, C]`."""
  if items.ndim != 3 or not len(items) or items.shape[1] < clip:
    raise UserError(
        f'judge: expected items [N, T, C] with T of at least one clip, {clip} '
        f'frames, found {list(items.shape)}.'
    )
  if not np.isfinite(items).all():
    raise UserError('judge: expected finite items, found NaN or infinity.')
  count = items.shape[1] // clip
  clips = items[:, :count * clip].reshape(-1, clip, items.shape[2])
  return ((clips - mean[None, None]) / std[None, None]).astype(np.float32)
