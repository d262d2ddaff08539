"""Distances between distributions, each set taken as a Gaussian.

With means mu and covariances S of two sets of D features,

  (1)  |mu_a - mu_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^{1/2})

is the squared Wasserstein distance of the Gaussians. With the centred rows
A [N, D] and B [M, D], S_a = A^T A / n and S_b = B^T B / m, the eigenvalues of
S_a S_b are the squared singular values of A B^T / sqrt(n m), so

  (2)  tr (S_a S_b)^{1/2} = |A B^T|_* / sqrt(n m)

(nuclear norm), which needs no D x D matrix. n is N - ddof.
"""

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


def frechet_windows(
    truth: np.ndarray, pred: np.ndarray, ddof: int = 1
) -> float:
  """Return the Fréchet distance of sets of windows, flattened (Eq. 1, 2).

  The features are the L C values of a window, so the covariance holds the
  temporal structure. For paired sets and ddof = 0 the distance is at most
  L C times their mean squared error, as the pairing is one coupling of the
  two. The covariances are rank deficient for N <= L C: values of different
  N or M are not comparable, so state them.

  Args:
    truth: `[N, L, C]` windows of the data.
    pred: `[M, L, C]` generated windows.
    ddof: 1 for unbiased covariances, 0 for those of the empirical law.

  Returns:
    The squared distance, >= 0, in the square of the series' unit. In float64
    on the host.

  Raises:
    UserError: the windows differ in shape, are too few or not finite.

  References:
    LaMbDA, Eq. 10. Dowson and Landau, "The Fréchet distance between
    multivariate normal distributions", 1982, Eq. 4.
  """
  truth, pred = np.asarray(truth, np.float64), np.asarray(pred, np.float64)
  if truth.ndim != 3 or pred.ndim != 3 or truth.shape[1:] != pred.shape[1:]:
    raise UserError(
        'frechet_windows: expected windows [N, L, C] and [M, L, C], found '
        f'{truth.shape} and {pred.shape}.'
    )
  if min(len(truth), len(pred)) < 1 + ddof:
    raise UserError(
        f'frechet_windows: expected {1 + ddof} or more windows for a '
        f'covariance, found {len(truth)} and {len(pred)}.'
    )
  if not (np.isfinite(truth).all() and np.isfinite(pred).all()):
    raise UserError('frechet_windows: expected finite windows, found others.')
  (mean_a, a), (mean_b, b) = map(_spread, (truth, pred))
  scale_a, scale_b = (len(x) - ddof for x in (truth, pred))
  mixed = np.linalg.norm(a @ b.T, 'nuc') / np.sqrt(scale_a * scale_b)
  spread = np.sum(a**2) / scale_a + np.sum(b**2) / scale_b
  distance = np.sum((mean_a - mean_b) ** 2) + spread - 2 * mixed
  return float(max(distance, 0.0))


def _spread(windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Return the mean `[D]` and at most D rows of the same scatter matrix."""
  rows = windows.reshape(len(windows), -1)
  mean = rows.mean(0)
  centred = rows - mean[None]
  # R^T R = A^T A, and the nuclear norm of A B^T is that of R_a R_b^T.
  if len(rows) > rows.shape[1]:
    centred = np.asarray(np.linalg.qr(centred, mode='r'))
  return mean, centred
