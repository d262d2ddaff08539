"""Self-supervised alignments of pooled latents, and more than two modalities.

For embeddings a, b [B, D] of two modalities, with cosines sim, and the 2 B
embeddings z = (a, b) in which z_i and z_i' are partners,

  (1)  nt_xent  -mean_i log(exp(sim(z_i, z_i') / tau)
                            / sum_{j != i} exp(sim(z_i, z_j) / tau))
  (2)  barlow   sum_i (1 - R_ii)^2 + lambda sum_{i != j} R_ij^2,
                R the correlations of features of a with features of b
  (3)  vicreg   v_1 mean (a - b)^2
                + v_2 mean of max(0, gamma - deviation) over features of a, b
                + v_3 sum over a, b of sum_{i != j} C_ij^2 / D,
                C the covariances of features.

LaMbDA's paper prints (2) without standardising and (3) with sums and a squared
hinge; both readings are offered.

References:
  Chen et al., "A Simple Framework for Contrastive Learning of Visual
  Representations" (SimCLR), ICML 2020.
  Zbontar et al., "Barlow Twins: Self-Supervised Learning via Redundancy
  Reduction", ICML 2021.
  Bardes et al., "VICReg: Variance-Invariance-Covariance Regularization for
  Self-Supervised Learning", ICLR 2022.
  "LaMbDA: Local Latent Embedding Alignment for Cross-modal Time-series
  Diffusion", A.6.5.
"""

from collections.abc import Callable
from collections.abc import Sequence
import itertools

import jax
import jax.numpy as jnp

from diffax.errors import UserError
from diffax.typing import Array

VERSIONS = ('released', 'paper')
AMONG = ('pairwise', 'centroid')


def unit(x: Array, least: float = 1e-12) -> Array:
  """Divide rows [N, D] by their norms; the zero vector stays."""
  square = jnp.sum(x**2, axis=1, keepdims=True)
  return x * jax.lax.rsqrt(jnp.maximum(square, least))


def cross_entropy(logits: Array) -> Array:
  """Return the cross entropy of each row's own column: [N]."""
  return jax.nn.logsumexp(logits, axis=1) - jnp.diagonal(logits)


def nt_xent(a: Array, b: Array, temperature: float = 0.5) -> Array:
  """Tell each of 2 B embeddings its partner among all others, Eq. 1.

  Args:
    a: [B, D].
    b: [B, D].
    temperature: of the cosines.

  Returns:
    Scalar.

  References:
    Chen et al. 2020, Eq. 1; LaMbDA, Eq. 11-12.
  """
  every = unit(jnp.concatenate([a, b]))
  logits = every @ every.T / temperature
  logits = jnp.where(jnp.eye(len(every), dtype=bool), -jnp.inf, logits)
  return jnp.mean(cross_entropy(jnp.roll(logits, len(a), axis=1)))


def barlow_twins(
    a: Array,
    b: Array,
    off_diagonal: float = 5e-3,
    version: str = 'released',
    eps: float = 1e-5,
) -> Array:
  """Bring the correlations between features to the identity, Eq. 2.

  Args:
    a: [B, D].
    b: [B, D].
    off_diagonal: lambda.
    version: 'released' standardises features over the batch, 'paper' takes
      R = a' b / B as LaMbDA's Eq. 13 prints it.
    eps: added to variances.

  Returns:
    Scalar.

  References:
    Zbontar et al. 2021, Eq. 1-2, Alg. 1; LaMbDA, Eq. 13-14.
  """
  _one_of('version', version, VERSIONS)
  if version == 'released':
    a, b = (
        (z - jnp.mean(z, axis=0, keepdims=True))
        * jax.lax.rsqrt(jnp.var(z, axis=0, keepdims=True) + eps)
        for z in (a, b)
    )
  square = (a.T @ b / len(a) - jnp.eye(a.shape[1])) ** 2
  diagonal = jnp.trace(square)
  return diagonal + off_diagonal * (jnp.sum(square) - diagonal)


def vicreg(
    a: Array,
    b: Array,
    invariance: float = 25.0,
    variance: float = 25.0,
    covariance: float = 1.0,
    gamma: float = 1.0,
    hinge: str = 'released',
    reduction: str = 'released',
    eps: float = 1e-4,
) -> Array:
  """Pull pairs together, keep features spread and uncorrelated, Eq. 3.

  Args:
    a: [B, D], two samples or more.
    b: [B, D].
    invariance: v_1.
    variance: v_2.
    covariance: v_3.
    gamma: least deviation wanted.
    hinge: 'released' takes the hinge as it is, 'paper' its square.
    reduction: 'released' is Eq. 3 with centred C over B - 1; 'paper' has sums
      for its means, no division by D, and C = z' z / B.
    eps: added to variances.

  Returns:
    Scalar.

  Raises:
    UserError: a single sample, or a version is unknown.

  References:
    Bardes et al. 2022, Eq. 1-6 and its released code; LaMbDA, Eq. 15.
  """
  _one_of('hinge', hinge, VERSIONS)
  _one_of('reduction', reduction, VERSIONS)
  count, width = a.shape
  if count < 2:
    raise UserError(f'vicreg: expected two samples or more, found {count}.')
  released = reduction == 'released'
  distance = jnp.sum((a - b) ** 2)
  short, off = jnp.zeros(()), jnp.zeros(())
  for z in (a, b):
    deviation = jnp.sqrt(jnp.var(z, axis=0, ddof=1) + eps)
    lack = jnp.maximum(0, gamma - deviation)
    short += jnp.sum(lack if hinge == 'released' else lack**2)
    z = z - jnp.mean(z, axis=0, keepdims=True) if released else z
    square = (z.T @ z / (count - released)) ** 2
    off += jnp.sum(square) - jnp.trace(square)
  if released:
    distance, short, off = (
        distance / a.size, short / (2 * width), off / width
    )
  return invariance * distance + variance * short + covariance * off


def latent_mse(z_x: Array, z_y: Array) -> Array:
  """Return the mean squared distance of latents of equal shape: scalar."""
  return jnp.mean((z_x - z_y) ** 2)


def centroid(latents: Sequence[Array]) -> Array:
  """Return the mean of modalities' latents, of their shape."""
  return sum(latents[1:], latents[0]) / len(latents)


def align(
    loss: Callable[[Array, Array], Array],
    latents: Sequence[Array],
    mode: str = 'pairwise',
) -> Array:
  """Extend a loss of two modalities to more.

  Args:
    loss: of two latents.
    latents: of two modalities or more.
    mode: 'pairwise' is the mean over the pairs (i, j), i < j; 'centroid' over
      each modality with the centroid of all.

  Returns:
    Scalar.

  Raises:
    UserError: unknown mode, or less than two modalities.
  """
  _one_of('mode', mode, AMONG)
  if len(latents) < 2:
    raise UserError(
        f'latents: expected two modalities or more, found {len(latents)}.'
    )
  pairs = list(itertools.combinations(latents, 2))
  if mode == 'centroid':
    centre = centroid(latents)
    pairs = [(z, centre) for z in latents]
  return jnp.mean(jnp.stack([loss(*pair) for pair in pairs]))


def _one_of(field: str, value: str, known: Sequence[str]) -> None:
  if value not in known:
    raise UserError(f'{field}: expected one of {known}, found {value!r}.')
