"""Noise covariance from data instead of a graph, in JAX.

What a trained encoder makes of motions tells how its joints vary together.
Of samples z_b [N, D], of which the D features count as so many samples more,

  (1)  C = sum_b (z_b - mean) (z_b - mean)^T / ((B - 1) D)
  (2)  S = (1 - s) C + s trace(C) / N I
  (3)  Sigma_N = S / max eig(S)  `spectral`,  S / mean eig(S)  `frobenius`,

normalised like the covariance of a graph (`covariance.covariance`). A batch
says little of the directions in which it varies least; shrinkage s lifts them,
and every eigenvalue is at least s trace(C) / N before Eq. 3.

References:
  Ledoit and Wolf, "A well-conditioned estimator for large-dimensional
  covariance matrices", 2004, Eq. 5 (with a given s).
  Curreli et al., "Nonisotropic Gaussian Diffusion for Realistic 3D Human
  Motion Prediction", CVPR 2025, Eq. 4 and Sec. E.1.
"""

import chex
import jax
import jax.numpy as jnp

from diffax.errors import UserError
from diffax.typing import Array

NORMALISATIONS = ('spectral', 'frobenius')


def check(shrinkage: float, normalise: str) -> None:
  """Raise a UserError unless Eq. 2 and 3 have such settings."""
  if not 0 < shrinkage <= 1:
    raise UserError(
        f'shrinkage: expected above 0 and at most 1, found {shrinkage:g}.'
    )
  if normalise not in NORMALISATIONS:
    raise UserError(
        f'normalise: expected one of {list(NORMALISATIONS)}, found '
        f'{normalise!r}.'
    )


def spectrum(
    z: Array, shrinkage: float = 0.1, normalise: str = 'spectral'
) -> tuple[Array, Array]:
  """Return eigenvalues and eigenvectors of Sigma_N, Eq. 1-3.

  Args:
    z: samples [B, N, D].
    shrinkage: s, above 0; 1 is white noise.
    normalise: 'spectral' or 'frobenius'.

  Returns:
    values [N] ascending and basis [N, N], columns are directions, float32;
    ones if the samples are all equal.

  Raises:
    UserError: unknown choice, or fewer than two samples.
  """
  chex.assert_rank(z, 3)
  check(shrinkage, normalise)
  count, nodes, features = z.shape
  if count < 2:
    raise UserError(f'covariance: expected two samples or more, found {count}.')
  centred = z.astype(jnp.float32) - jnp.mean(z, axis=0, keepdims=True)
  covariance = jnp.einsum(
      'bjd,bkd->jk', centred, centred, precision=jax.lax.Precision.HIGHEST
  ) / ((count - 1) * features)
  mean = jnp.trace(covariance) / nodes
  varies = mean > 0
  covariance = covariance / jnp.where(varies, mean, 1)
  shrunk = (1 - shrinkage) * covariance + shrinkage * jnp.eye(nodes)
  values, basis = jnp.linalg.eigh(jnp.where(varies, shrunk, jnp.eye(nodes)))
  values = jnp.maximum(values, shrinkage)
  divisor = values[-1] if normalise == 'spectral' else jnp.mean(values)
  return values / divisor, basis
