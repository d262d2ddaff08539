"""Noise covariance from the graph of a body, in float64 NumPy.

A correlation C between joints (adjacency A, its weighted transitive closure R,
or R cut at the hips) has zero diagonal and is not positive definite. With its
extreme eigenvalues lmin, lmax and its spectral radius rho,

  (1)  S = C + (rho + ridge) I        `released` shift
  (2)  S = C - (lmin - ridge) I       `paper` shift, singular if ridge = 0
  (3)  Sigma_N = S / max eig(S)       `spectral`
  (4)  Sigma_N = S / mean eig(S)      `frobenius`, so that trace = N.

References:
  Curreli et al., "Nonisotropic Gaussian Diffusion for Realistic 3D Human
  Motion Prediction", CVPR 2025, Eq. 4, Sec. E.2 and its released code.
"""

import numpy as np

from diffax.errors import UserError


def check_symmetric(matrix: np.ndarray, name: str) -> np.ndarray:
  """Return `matrix` [N, N] in float64; raise unless symmetric and finite."""
  matrix = np.asarray(matrix, np.float64)
  if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
    raise UserError(f'{name}: expected a square matrix, found {matrix.shape}.')
  if matrix.size == 0 or not np.all(np.isfinite(matrix)):
    raise UserError(f'{name}: expected finite entries, found NaN, inf or none.')
  if not np.allclose(matrix, matrix.T, rtol=0, atol=1e-12):
    i, j = np.argwhere(~np.isclose(matrix, matrix.T, rtol=0, atol=1e-12))[0]
    raise UserError(
        f'{name}: expected a symmetric matrix (an undirected graph), found '
        f'{matrix[i, j]:g} at {i, j} and {matrix[j, i]:g} at {j, i}.'
    )
  return matrix


def _check_correlation(matrix: np.ndarray, name: str) -> np.ndarray:
  matrix = check_symmetric(matrix, name)
  if np.any(np.diag(matrix) != 0):
    node = int(np.argmax(np.diag(matrix) != 0))
    raise UserError(
        f'{name}: expected a zero diagonal, found {matrix[node, node]:g} at '
        f'node {node}.'
    )
  return matrix


def _check_graph(adjacency: np.ndarray, eta: float) -> np.ndarray:
  adjacency = _check_correlation(adjacency, 'adjacency')
  if not np.all((adjacency == 0) | (adjacency == 1)):
    raise UserError('adjacency: expected entries 0 and 1, found others.')
  if not 0 < eta <= 1:
    raise UserError(f'eta: expected a factor within (0, 1], found {eta:g}.')
  return adjacency


def _hops(adjacency: np.ndarray) -> np.ndarray:
  """Count the edges of shortest paths, inf between parts: [N, N]."""
  size = len(adjacency)
  hops = np.where(np.eye(size, dtype=bool), 0.0, np.inf)
  reached = np.eye(size)
  for distance in range(1, size):
    reached = np.minimum(reached + reached @ adjacency, 1)
    hops = np.where((reached > 0) & np.isinf(hops), distance, hops)
  return hops


def _decay(hops: np.ndarray, eta: float) -> np.ndarray:
  related = np.isfinite(hops) & (hops > 0)
  return np.where(related, eta ** (np.where(related, hops, 1) - 1), 0.0)


def reachability(adjacency: np.ndarray, eta: float = 0.5) -> np.ndarray:
  """Relate all joints by their distance: R_ij = eta^(hops_ij - 1).

  Args:
    adjacency: [N, N], symmetric, 0 or 1, zero diagonal.
    eta: factor per further edge; unconnected joints get 0.

  Returns:
    R [N, N] float64, zero diagonal.

  Raises:
    UserError: the graph is not undirected and simple.

  References:
    Curreli et al. 2025, Sec. E.2 (weighted transitive closure).
  """
  return _decay(_hops(_check_graph(adjacency, eta)), eta)


def hip_reachability(
    adjacency: np.ndarray, hips: np.ndarray, eta: float = 0.5
) -> np.ndarray:
  """Relate joints by distance, but never across the hips.

  A joint next to a hip keeps its direct neighbours only; all other pairs are
  related by eta^(hops - 1) along paths of joints that are not next to a hip.

  Args:
    adjacency: [N, N], symmetric, 0 or 1, zero diagonal.
    hips: [N] bool, true at the hips.
    eta: factor per further edge.

  Returns:
    R_hip [N, N] float64, zero diagonal.

  Raises:
    UserError: the graph is not undirected and simple, or no mask over it.

  References:
    Curreli et al. 2025, Sec. E.2; the rule is that of the released code.
  """
  adjacency = _check_graph(adjacency, eta)
  hips = np.asarray(hips, bool)
  if hips.shape != adjacency.shape[:1]:
    raise UserError(
        f'hips: expected a mask of {len(adjacency)} nodes, found {hips.shape}.'
    )
  free = ~np.any((adjacency > 0) & hips[None, :], axis=1)
  inner = adjacency * free[:, None] * free[None, :]
  return np.maximum(_decay(_hops(inner), eta), adjacency)


def covariance(
    correlation: np.ndarray,
    shift: str = 'released',
    normalise: str = 'spectral',
    ridge: float | None = None,
) -> np.ndarray:
  """Turn a correlation into a normalised covariance Sigma_N, Eq. 1-4.

  Args:
    correlation: C [N, N], symmetric with zero diagonal.
    shift: 'released' (Eq. 1) or 'paper' (Eq. 2).
    normalise: 'spectral' (Eq. 3) or 'frobenius' (Eq. 4).
    ridge: added to the diagonal before normalisation; default 1e-6 for
      'released', 0 for 'paper', which leaves that one singular.

  Returns:
    Sigma_N [N, N] float64, positive (semi-)definite.

  Raises:
    UserError: unknown choice, bad matrix, or nothing to normalise.

  References:
    Curreli et al. 2025, Eq. 4.
  """
  correlation = _check_correlation(correlation, 'correlation')
  eigenvalues = np.linalg.eigvalsh(correlation)
  floors = {'released': np.abs(eigenvalues).max(), 'paper': -eigenvalues[0]}
  if shift not in floors:
    raise UserError(f'shift: expected one of {list(floors)}, found {shift!r}.')
  if ridge is None:
    ridge = 1e-6 if shift == 'released' else 0.0
  if ridge < 0:
    raise UserError(f'ridge: expected 0 or more, found {ridge:g}.')
  eigenvalues = eigenvalues + floors[shift] + ridge
  divisors = {'spectral': eigenvalues[-1], 'frobenius': eigenvalues.mean()}
  if normalise not in divisors:
    raise UserError(
        f'normalise: expected one of {list(divisors)}, found {normalise!r}.'
    )
  if divisors[normalise] <= 0:
    raise UserError('correlation: expected at least one edge, found none.')
  shifted = correlation + (floors[shift] + ridge) * np.eye(len(correlation))
  return shifted / divisors[normalise]


def eigen(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Decompose a covariance: matrix = U diag(values) U^T.

  Values below rounding are set to 0; each column of U has its largest entry
  positive, so that machines agree on the signs.

  Args:
    matrix: [N, N], symmetric, positive semi-definite.

  Returns:
    values [N] ascending and U [N, N], float64.

  Raises:
    UserError: not symmetric, or a negative eigenvalue.
  """
  matrix = check_symmetric(matrix, 'covariance')
  values, vectors = np.linalg.eigh(matrix)
  rounding = 1e-12 * max(np.abs(values).max(), 1e-300)
  if values[0] < -rounding:
    raise UserError(
        'covariance: expected no negative eigenvalue, found '
        f'{values[0]:g}. Shift its diagonal with covariance(...).'
    )
  largest = np.argmax(np.abs(vectors) > np.abs(vectors).max(0) - 1e-9, axis=0)
  signs = np.sign(vectors[largest, np.arange(len(vectors))])
  return np.where(values < rounding, 0.0, values), vectors * signs[None, :]
