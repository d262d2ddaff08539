"""Fréchet distance where it is known."""

import numpy as np
import pytest

from diffax.errors import UserError
from diffax.metrics import distribution

DRAWS = np.random.default_rng(0).normal(size=(300, 5))


def test_a_set_is_at_no_distance_from_itself():
  np.testing.assert_allclose(
      distribution.frechet(DRAWS, DRAWS), 0.0, atol=1e-10
  )


def test_a_shift_counts_squared():
  found = distribution.frechet(DRAWS, DRAWS + 2.0)
  np.testing.assert_allclose(found, 5 * 4.0, rtol=1e-9)


def test_a_scale_counts_by_the_spread():
  centred = DRAWS - DRAWS.mean(0)
  found = distribution.frechet(centred, 3 * centred)
  expected = (3 - 1) ** 2 * np.trace(np.cov(DRAWS.T))
  np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_it_is_symmetric_when_covariances_do_not_commute():
  other = DRAWS @ np.random.default_rng(1).normal(size=(5, 5))
  there = distribution.frechet(DRAWS, other)
  assert there > 0.1
  np.testing.assert_allclose(
      there, distribution.frechet(other, DRAWS), rtol=1e-9
  )


@pytest.mark.parametrize('pred', [DRAWS[:1], DRAWS[:, :4], DRAWS[0]])
def test_unfit_features_are_refused(pred):
  with pytest.raises(UserError, match='frechet'):
    distribution.frechet(DRAWS, pred)
