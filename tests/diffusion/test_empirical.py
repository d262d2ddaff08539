"""Covariances of samples, against the moments that the samples came from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.diffusion import covariance
from diffax.diffusion import empirical
from diffax.diffusion import process
from diffax.diffusion import schedules
from diffax.errors import UserError

RNG = np.random.default_rng(0)
# Joint 0 and 1 move together, 2 apart and twice as far.
TRUE = np.array([[1.0, 0.8, 0.0], [0.8, 1.0, 0.0], [0.0, 0.0, 4.0]])


def samples(count, features=50):
  root = np.linalg.cholesky(TRUE)
  white = RNG.standard_normal((count, 3, features))
  # A mean of their own says nothing of how samples vary.
  mean = RNG.standard_normal((1, 3, features))
  return jnp.asarray(5 * mean + np.einsum('jk,bkd->bjd', root, white))


def rebuilt(z, *settings):
  values, basis = jax.jit(lambda z: empirical.spectrum(z, *settings))(z)
  return np.asarray((basis * values[None]) @ basis.T)


def test_the_covariance_is_that_of_the_samples_shrunk_and_normalised():
  shrunk = 0.8 * TRUE + 0.2 * np.trace(TRUE) / 3 * np.eye(3)
  z = samples(400)
  np.testing.assert_allclose(
      rebuilt(z, 0.2), shrunk / np.linalg.eigvalsh(shrunk)[-1], atol=0.02
  )
  np.testing.assert_allclose(
      rebuilt(z, 0.2, 'frobenius'), shrunk / np.trace(shrunk) * 3, atol=0.02
  )


def test_equation_1_by_hand():
  z = RNG.standard_normal((4, 3, 2))
  rows = (z - z.mean(0)).transpose(0, 2, 1).reshape(-1, 3)
  sigma = 0.9 * rows.T @ rows / 6 + 0.1 * np.trace(rows.T @ rows / 6) / 3 * (
      np.eye(3)
  )
  found = rebuilt(jnp.asarray(z, jnp.float32))
  np.testing.assert_allclose(
      found, sigma / np.linalg.eigvalsh(sigma)[-1], atol=1e-5
  )


@pytest.mark.parametrize('normalise', empirical.NORMALISATIONS)
def test_it_is_normalised_like_that_of_a_graph(normalise):
  graph = np.diag(np.ones(2), 1) + np.diag(np.ones(2), -1)
  other = np.linalg.eigvalsh(covariance.covariance(graph, normalise=normalise))
  values, basis = empirical.spectrum(samples(20), 0.1, normalise)
  measure = np.max if normalise == 'spectral' else np.mean
  np.testing.assert_allclose(measure(values), measure(other), rtol=1e-5)
  np.testing.assert_allclose(basis.T @ basis, np.eye(3), atol=1e-5)


def test_few_or_still_samples_leave_noise_in_every_direction():
  # Two samples of one feature vary along a single direction.
  few = jnp.asarray(RNG.standard_normal((2, 5, 1)))
  for z in (few, jnp.ones((4, 5, 2))):
    values, basis = empirical.spectrum(z, 0.1)
    assert float(values.min()) > 0 and np.isfinite(basis).all()
    betas = schedules.cosine(10)
    forward = process.from_spectrum(betas, np.ones(10), values, basis, 0, 2)
    assert float(forward.sigma[1:].min()) > 0
  np.testing.assert_allclose(values, 1)


@pytest.mark.parametrize('arguments, words', [
    ((jnp.ones((1, 3, 2)),), 'two samples or more, found 1'),
    ((jnp.ones((2, 3, 2)), 0.0), 'shrinkage: expected above 0'),
    ((jnp.ones((2, 3, 2)), 0.1, 'max'), "normalise: .* found 'max'"),
])
def test_bad_settings_are_named(arguments, words):
  with pytest.raises(UserError, match=words):
    empirical.spectrum(*arguments)
