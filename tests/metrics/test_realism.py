"""Limb errors of motions whose limbs change by known amounts."""

import jax.numpy as jnp
import numpy as np
import pytest

from diffax.body import skeletons
from diffax.errors import UserError
from diffax.metrics import forecasting
from diffax.metrics import realism

EDGES = np.asarray(skeletons.AMASS21.edges)
POSE = np.random.default_rng(0).normal(size=(21, 3)).astype(np.float32)
STILL = np.broadcast_to(POSE, (8, 21, 3))


def scaled(*factors):
  """A sample whose limbs are these multiples of the true ones by frame."""
  return np.array(factors, np.float32)[None, :, None, None] * POSE


def test_a_rigid_body_has_no_errors():
  turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
  pred = np.stack([STILL, STILL @ turn.astype(np.float32) + 0.5])
  for error in realism.limb_errors(pred, STILL, EDGES):
    np.testing.assert_allclose(error, 0.0, atol=1e-5)


@pytest.mark.parametrize('stretch', ['released', 'paper'])
def test_longer_limbs(stretch):
  found = realism.limb_errors(scaled(*[1.1] * 8), STILL, EDGES, stretch)
  np.testing.assert_allclose(found.stretch_mean, 0.1, rtol=1e-4)
  np.testing.assert_allclose(found.stretch_rmse, 0.1, rtol=1e-4)
  np.testing.assert_allclose(found.stretch_max, 0.1, rtol=1e-4)
  np.testing.assert_allclose(found.jitter_rmse, 0.0, atol=1e-6)


def test_the_released_mean_cancels_and_the_printed_one_does_not():
  pred = scaled(*[0.9, 1.1] * 4)
  released = realism.limb_errors(pred, STILL, EDGES)
  printed = realism.limb_errors(pred, STILL, EDGES, 'paper')
  np.testing.assert_allclose(released.stretch_mean, 0.0, atol=1e-6)
  np.testing.assert_allclose(printed.stretch_mean, 0.1, rtol=1e-4)
  np.testing.assert_allclose(released.jitter_mean, 0.2, rtol=1e-4)


def test_jitter_moments_differ_for_a_single_jump():
  found = realism.limb_errors(scaled(*[1.0] * 4, *[1.2] * 4), STILL, EDGES)
  np.testing.assert_allclose(found.jitter_mean, 0.2 / 7, rtol=1e-4)
  np.testing.assert_allclose(found.jitter_rmse, 0.2 / np.sqrt(7), rtol=1e-4)
  np.testing.assert_allclose(found.jitter_max, 0.2, rtol=1e-4)


def test_validity_counts_the_samples_within():
  found = realism.validity(
      jnp.array([0.5, 1.0, 3.0, 9.0]), jnp.array([0.0, 1.0, 5.0, 10.0])
  )
  np.testing.assert_allclose(found, [0.0, 0.5, 0.75, 1.0])


def test_diversity_of_the_valid():
  pred = np.random.default_rng(2).normal(size=(4, 3, 21, 3)).astype(np.float32)
  largest = jnp.array([0.5, 1.0, 3.0, 9.0])
  apart = forecasting.pairwise_distance(pred)
  found = realism.valid_apd(
      apart, largest, jnp.array([0.0, 0.6, 1.0, 5.0, 10.0])
  )
  expected = [0.0, 0.0] + [forecasting.apd(pred[:k]) for k in (2, 3, 4)]
  np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_unknown_definition_is_refused():
  with pytest.raises(UserError, match='stretch'):
    realism.limb_errors(scaled(*[1.0] * 8), STILL, EDGES, 'mean')
