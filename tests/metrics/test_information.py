"""Estimates of information against closed forms and published ones."""

import numpy as np
import pytest
from scipy import special

from diffax.errors import UserError
from diffax.metrics import information

UNIT = 0.5 * np.log(2 * np.pi * np.e)


def gaussian(cov, count=4000, seed=0):
  rng = np.random.default_rng(seed)
  return rng.multivariate_normal(np.zeros(len(cov)), cov, count)


def lorenz(count=10_000, step=0.01):
  def slope(s):
    x, y, z = s
    return np.array([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z])

  states = [np.array([5.0, 5.0, 5.0])]
  for _ in range(count - 1):
    s = states[-1]
    k1 = slope(s)
    k2 = slope(s + step / 2 * k1)
    k3 = slope(s + step / 2 * k2)
    k4 = slope(s + step * k3)
    states.append(s + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4))
  return np.stack(states)


def naive(x, y, k):
  """Sum both estimators as the papers print them, over all pairs."""
  def gaps(z):
    found = np.abs(z[:, None] - z[None]).max(-1)
    np.fill_diagonal(found, np.inf)
    return found

  count, near = len(x), np.sort(gaps(x), 1)[:, k - 1]
  entropy = (
      special.digamma(count) - special.digamma(k)
      + x.shape[1] * np.log(2 * near).mean()
  )
  joint = np.sort(np.maximum(gaps(x), gaps(y)), 1)[:, k - 1, None]
  nx, ny = ((gaps(z) < joint).sum(1) for z in (x, y))
  shared = special.digamma(k) + special.digamma(count) - np.mean(
      special.digamma(nx + 1) + special.digamma(ny + 1)
  )
  return entropy, shared


@pytest.mark.parametrize('k', [1, 20])
def test_estimates_are_the_printed_formulae(k):
  rng = np.random.default_rng(0)
  x = rng.normal(size=(300, 2))
  y = x[:, :1] + rng.normal(size=(300, 1))
  entropy, shared = naive(x, y, k)
  options: dict = {'standardise': False, 'jitter': 0.0}
  np.testing.assert_allclose(
      information.entropy(x, k, **options), entropy, rtol=1e-12
  )
  np.testing.assert_allclose(
      information.mutual_information(x, y, k, **options), shared, rtol=1e-12
  )


def test_entropy_of_the_normal_law():
  x = gaussian(np.eye(1), 20_000)
  np.testing.assert_allclose(information.entropy(x), UNIT, rtol=0.01)
  np.testing.assert_allclose(UNIT, 1.419, atol=5e-4)


def test_entropy_of_correlated_features():
  cov = np.array([[1.0, 0.6, 0.0], [0.6, 1.0, -0.3], [0.0, -0.3, 1.0]])
  expected = 3 * UNIT + 0.5 * np.log(np.linalg.det(cov))
  np.testing.assert_allclose(
      information.entropy(gaussian(cov)), expected, rtol=0.05
  )


def test_entropy_of_the_uniform_law_in_its_own_unit():
  x = np.random.default_rng(0).uniform(0, 5, size=(4000, 1))
  np.testing.assert_allclose(
      information.entropy(x, standardise=False), np.log(5), rtol=0.05
  )


@pytest.mark.parametrize('rho', [0.5, -0.9])
def test_information_of_two_normal_variables(rho):
  x, y = np.split(gaussian(np.array([[1, rho], [rho, 1]]), 10_000), 2, axis=1)
  np.testing.assert_allclose(
      information.mutual_information(x, y), -0.5 * np.log(1 - rho**2),
      rtol=0.05,
  )


def test_information_of_several_features():
  cov = np.eye(4) + 0.0
  cov[0, 2] = cov[2, 0] = 0.8
  cov[1, 3] = cov[3, 1] = 0.6
  z = gaussian(cov, 10_000)
  # Scaled axes have as much; one of the features is in other units.
  found = information.mutual_information(z[:, :2] * [1, 1e3], z[:, 2:])
  np.testing.assert_allclose(found, -np.log(0.6) - np.log(0.8), rtol=0.05)


def test_independent_variables_share_nothing():
  z = gaussian(np.eye(4))
  assert abs(information.mutual_information(z[:, :2], z[:, 2:])) < 0.02


def test_units_shift_entropy_only():
  x, y = np.split(gaussian(np.array([[1, 0.7], [0.7, 1]]), 1000), 2, axis=1)
  options: dict = {'jitter': 0.0}
  entropy = information.entropy(x, **options)
  shared = information.mutual_information(x, y, **options)
  moved = -50 * x + 3
  np.testing.assert_allclose(
      information.entropy(moved, **options), entropy, rtol=1e-9
  )
  np.testing.assert_allclose(
      information.entropy(x, standardise=False, **options),
      entropy + np.log(x.std()), rtol=1e-9,
  )
  np.testing.assert_allclose(
      information.mutual_information(moved, y, **options), shared, rtol=1e-9
  )
  np.testing.assert_allclose(
      information.mutual_information(y, x, **options), shared, rtol=1e-9
  )


def test_what_is_left_is_the_difference():
  rho = 0.8
  x, y = np.split(gaussian(np.array([[1, rho], [rho, 1]])), 2, axis=1)
  found = information.conditional_entropy(x, y, seed=3)
  np.testing.assert_allclose(found, UNIT + 0.5 * np.log(1 - rho**2), rtol=0.05)
  np.testing.assert_allclose(
      found,
      information.entropy(x, seed=3)
      - information.mutual_information(x, y, seed=3), rtol=1e-12,
  )


def test_lorenz_gives_the_known_values():
  states = lorenz()
  x, z = states[:, :1], states[:, 2:]
  found = (
      information.entropy(x), information.entropy(z),
      information.mutual_information(x, z),
  )
  np.testing.assert_allclose(found, (1.343, 1.317, 0.550), atol=2e-3)


def test_many_samples_are_drawn_from_by_seed():
  x, y = np.split(gaussian(np.array([[1, 0.7], [0.7, 1]]), 3000), 2, axis=1)
  full = information.mutual_information(x, y)
  drawn = [
      information.mutual_information(x, y, limit=1000, seed=s)
      for s in (0, 0, 1)
  ]
  assert drawn[0] == drawn[1] != drawn[2] != full
  # Rows of both are drawn together, else nothing would be shared.
  np.testing.assert_allclose(drawn, full, atol=0.1)


def test_a_few_repeated_samples_are_taken_by_the_jitter():
  x = gaussian(np.eye(1), 1000)
  x[:100] = 0.0
  assert np.isfinite(information.entropy(x))
  with pytest.raises(UserError, match='copies'):
    information.entropy(x, jitter=0.0)


@pytest.mark.parametrize(
    'x, match',
    [
        (np.zeros(50), r'\(50,\)'),
        (np.zeros((20, 1)), 'k = 20 and 20 samples'),
        (np.full((50, 1), 0.1), 'feature 0 constant'),
        (np.full((50, 1), np.inf), 'finite'),
        (np.repeat(gaussian(np.eye(1), 20), 30, axis=0), '600 of 600'),
    ],
)
def test_degenerate_samples_are_refused(x, match):
  with pytest.raises(UserError, match=match):
    information.entropy(x)


def test_samples_must_be_paired():
  x = gaussian(np.eye(1), 50)
  with pytest.raises(UserError, match=r'\(50, 1\) and \(49, 1\)'):
    information.mutual_information(x, x[1:])
