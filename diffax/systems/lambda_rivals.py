"""Predictors of one modality from others, the rivals that need no training.

With flattened windows, conditions A `[N, P]` and targets B `[N, Q]`:

  (1)  ridge    W = argmin |A W + b - B|^2 + alpha |W|^2
  (2)  nearest  the target of the training window nearest to the condition
  (3)  mean     the training mean, zero of standardised series

A model of a pair has to beat all of them: ridge solves whatever is linear,
the nearest window profits from windows that overlap across a random split.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from diffax.data.base import Source
from diffax.errors import UserError
from diffax.typing import Batch

Predictor = Callable[[Batch], np.ndarray]


def ridge(
    source: Source, given: tuple[str, ...], target: str, alpha: float = 10.0
) -> Predictor:
  """Fit Eq. 1 on the training windows.

  Args:
    source: of standardised windows.
    given: modalities of the condition.
    target: modality to predict.
    alpha: strength; a fixed one, as choosing it needs windows held out that
      share no sample with the others, too few of a short recording.

  Returns:
    batch -> `[B, 1, L, C]`; the batch holds the given modalities.

  Raises:
    UserError: the modalities are not the source's, or overlap.
  """
  # Here, as it takes half a second of every command's start.
  from sklearn import linear_model

  conditions, targets = _training(source, given, target)
  shape = targets.shape[1:]
  # Solves for N unknowns instead of P where there are fewer windows.
  model = linear_model.Ridge(alpha=alpha, solver='cholesky')
  model.fit(conditions, targets.reshape(len(targets), -1))

  def predict(batch: Batch) -> np.ndarray:
    predicted = model.predict(_flat(batch, given))
    return predicted.reshape(-1, 1, *shape).astype(np.float32)

  return predict


def nearest_neighbour(
    source: Source, given: tuple[str, ...], target: str
) -> Predictor:
  """Keep the training windows, to answer with the nearest (Eq. 2).

  Args:
    source: of standardised windows.
    given: modalities of the condition; each sample counts alike.
    target: modality to predict.

  Returns:
    batch -> `[B, 1, L, C]`; the batch holds the given modalities.

  Raises:
    UserError: the modalities are not the source's, or overlap.
  """
  from sklearn import neighbors

  conditions, targets = _training(source, given, target)
  model = neighbors.NearestNeighbors(n_neighbors=1, algorithm='brute')
  model.fit(conditions)

  def predict(batch: Batch) -> np.ndarray:
    rows = model.kneighbors(_flat(batch, given), return_distance=False)
    return targets[rows]

  return predict


def mean(source: Source, given: tuple[str, ...], target: str) -> Predictor:
  """Answer with the mean of each channel whatever the condition (Eq. 3).

  Args:
    source: of standardised windows.
    given: modalities of the condition, of which only the count matters.
    target: modality to predict.

  Returns:
    batch -> zeros `[B, 1, L, C]`.

  Raises:
    UserError: the modalities are not the source's, or overlap.
  """
  _check(source, given, target)
  shape = (1, source.info['length'], source.info['modalities'][target])

  def predict(batch: Batch) -> np.ndarray:
    return np.zeros((len(batch[given[0]]), *shape), np.float32)

  return predict


PREDICTORS: Mapping[
    str, Callable[[Source, tuple[str, ...], str], Predictor]
] = {
    'ridge': ridge,
    'nearest_neighbour': nearest_neighbour,
    'mean': mean,
}


def _training(
    source: Source, given: Sequence[str], target: str
) -> tuple[np.ndarray, np.ndarray]:
  """Return conditions `[N, P]` and targets `[N, L, C]`."""
  _check(source, given, target)
  windows = source.segments('train')
  return _flat(windows, given), np.asarray(windows[target])


def _flat(batch: Batch, given: Sequence[str]) -> np.ndarray:
  return np.concatenate(
      [
          np.asarray(batch[name], np.float64).reshape(len(batch[name]), -1)
          for name in given
      ],
      axis=1,
  )


def _check(source: Source, given: Sequence[str], target: str) -> None:
  known = tuple(source.info['modalities'])
  if not given or target in given or not {*given, target} <= set(known):
    raise UserError(
        f'predictor: expected a target and other modalities among {known}, '
        f'found {target!r} given {tuple(given)}.'
    )
