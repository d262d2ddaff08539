"""Errors of generated windows against the window they should reproduce.

With a true window x and K samples xh_k of it, e(a, b) the mean over time steps
and channels of (a - b)^2,

  (1)  first    e(x, xh_1): what a table of one sample for each condition holds
  (2)  mean     mean_k e(x, xh_k): its expectation over the sampler's noise
  (3)  of_mean  e(x, mean_k xh_k): the sampler as a regressor
  (4)  best     min_k e(x, xh_k)

A sampler of the true conditional with variance v has (1) and (2) near 2 v, the
best regressor v, and (3) falls from 2 v to v as K grows: (2) = (3) + the
variance of the samples, so sharp samples and a low (2) exclude each other.

Where the condition cannot tell x from -x (Lorenz's x given its z), the sign is
not an error; e is then replaced by

  (5)  min(e(x, xh), e(x, -xh))   one sign for the whole window.

In (3) the mean is taken first, and samples of either sign cancel in it.

References:
  LaMbDA, App. A.6.4 (Eq. 1). Lorenz, "Deterministic nonperiodic flow", 1963:
  the symmetry (x, y, z) -> (-x, -y, z).
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from diffax.errors import UserError
from diffax.typing import Array

KINDS = ('first', 'mean', 'of_mean', 'best')


def mse(
    truth: Array | np.ndarray,
    samples: Array | np.ndarray,
    kind: str = 'first',
    sign_invariant: bool = False,
) -> Array:
  """Return the mean squared error of each window (Eq. 1-5).

  Args:
    truth: `[N, L, C]`.
    samples: `[N, K, L, C]`, K samples for each window.
    kind: one of `KINDS`.
    sign_invariant: forgive the sign of a whole window (Eq. 5).

  Returns:
    `[N]` in the square of the series' unit.

  Raises:
    UserError: the kind is unknown.
  """
  if kind not in KINDS:
    raise UserError(f'kind: expected one of {KINDS}, found {kind!r}.')
  truth, samples = jnp.asarray(truth), jnp.asarray(samples)
  chex.assert_rank([truth, samples], [3, 4])
  chex.assert_equal(truth.shape, samples.shape[:1] + samples.shape[2:])
  if kind == 'first':
    samples = samples[:, :1]
  elif kind == 'of_mean':
    samples = jnp.mean(samples, axis=1, keepdims=True)
  error = _error(truth, samples)
  if sign_invariant:
    error = jnp.minimum(error, _error(-truth, samples))
  return jnp.min(error, axis=1) if kind == 'best' else jnp.mean(error, axis=1)


@jax.jit
def errors(
    truth: Array | np.ndarray, samples: Array | np.ndarray
) -> dict[str, Array]:
  """Return every kind of error of each window, compiled together.

  Args:
    truth: `[N, L, C]`.
    samples: `[N, K, L, C]`.

  Returns:
    `[N]` by name: those of `KINDS`, and the same with `_sign` appended where
    the sign of a window is forgiven.
  """
  return {
      kind + ('_sign' if free else ''): mse(truth, samples, kind, free)
      for free in (False, True) for kind in KINDS
  }


def _error(truth: Array, samples: Array) -> Array:
  return jnp.mean((samples - truth[:, None]) ** 2, axis=(2, 3))
