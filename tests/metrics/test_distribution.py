"""Fréchet distance where it is known."""

from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
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


def windows(count, length=6, channels=2, seed=0):
  rng = np.random.default_rng(seed)
  mix = rng.normal(size=(length * channels, length * channels))
  drawn = rng.normal(size=(count, length * channels)) @ mix
  return (drawn + rng.normal(size=length * channels)).reshape(
      count, length, channels
  )


@pytest.mark.parametrize(
    'sizes, rtol',
    # Roots of eigenvalues that are 0 but for rounding limit the other formula.
    [((40, 50), 1e-9), ((40, 9), 1e-7), ((9, 7), 1e-7)],
)
def test_windows_agree_with_the_root_of_covariances(sizes, rtol):
  a, b = windows(sizes[0]), windows(sizes[1], seed=1)
  expected = distribution.frechet(
      a.reshape(sizes[0], -1), b.reshape(sizes[1], -1)
  )
  np.testing.assert_allclose(
      distribution.frechet_windows(a, b), expected, rtol=rtol
  )


def test_two_gaussians_of_one_number_have_a_closed_form():
  a, b = windows(30, 1, 1), 5 + windows(20, 1, 1, seed=1)
  expected = (a.mean() - b.mean()) ** 2 + (a.std() - b.std()) ** 2
  np.testing.assert_allclose(
      distribution.frechet_windows(a, b, ddof=0), expected, rtol=1e-9
  )


@given(
    st.integers(1, 20), st.integers(1, 5), st.integers(1, 3),
    st.floats(0, 3), st.integers(0, 2**31),
)
@settings(max_examples=60, deadline=None)
def test_a_pairing_bounds_the_distance(count, length, channels, noise, seed):
  truth = windows(count, length, channels, seed)
  rng = np.random.default_rng(seed)
  turned = rng.permutation(truth.ravel()).reshape(truth.shape)
  pred = truth + noise * turned
  bound = length * channels * np.mean((truth - pred) ** 2)
  found = distribution.frechet_windows(truth, pred, ddof=0)
  assert found <= bound + 1e-9 * (1 + bound)


def test_a_constant_shift_reaches_the_bound():
  truth = windows(10)
  shift = np.linspace(-1, 1, 12).reshape(1, 6, 2)
  np.testing.assert_allclose(
      distribution.frechet_windows(truth, truth + shift, ddof=0),
      12 * np.mean(shift**2), rtol=1e-9,
  )


@pytest.mark.parametrize(
    'pred, match',
    [
        (windows(1), '2 or more'),
        (windows(9, 5), r'\(9, 5, 2\)'),
        (windows(9)[0], 'found'),
        (np.full((9, 6, 2), np.nan), 'finite'),
    ],
)
def test_unfit_windows_are_refused(pred, match):
  with pytest.raises(UserError, match=match):
    distribution.frechet_windows(windows(9), pred)
