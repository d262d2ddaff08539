"""Distances between distributions of features."""

import numpy as np

from diffax.errors import UserError


def frechet(truth: np.ndarray, pred: np.ndarray) -> float:
  """Return the Fréchet distance of two sets of features as Gaussians.

    |mu_a - mu_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^{1/2})

  The trace of the root is the sum of the roots of the eigenvalues of
  S_a^{1/2} S_b S_a^{1/2}, which is symmetric: no complex residue has to be
  thrown away. In float64 on the host, as it is a difference of large numbers.

  Args:
    truth: `[N, D]` features of the data.
    pred: `[M, D]` features of the predictions.

  Returns:
    The squared distance, >= 0, in the square of the features' unit.

  Raises:
    UserError: if a set has fewer than two rows, or another width.

  References:
    Heusel et al., "GANs trained by a two time-scale update rule", 2017, Eq. 6.
  """
  truth, pred = np.asarray(truth, np.float64), np.asarray(pred, np.float64)
  if truth.ndim != 2 or pred.ndim != 2 or truth.shape[1] != pred.shape[1]:
    raise UserError(
        'frechet: expected features [N, D] and [M, D], found '
        f'{truth.shape} and {pred.shape}.'
    )
  if min(len(truth), len(pred)) < 2:
    raise UserError(
        'frechet: expected two or more rows for a covariance, found '
        f'{len(truth)} and {len(pred)}.'
    )
  cov_a, cov_b = (np.atleast_2d(np.cov(x.T)) for x in (truth, pred))
  values, vectors = np.linalg.eigh(cov_a)
  root = (vectors * np.sqrt(np.maximum(values, 0))[None]) @ vectors.T
  mixed = np.linalg.eigvalsh(root @ cov_b @ root)
  gap = np.sum((truth.mean(0) - pred.mean(0)) ** 2)
  spread = np.trace(cov_a) + np.trace(cov_b)
  distance = gap + spread - 2 * np.sum(np.sqrt(np.maximum(mixed, 0)))
  return float(max(distance, 0.0))
