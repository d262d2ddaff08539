"""Kernels against brute-force conditioning and the published formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.diffusion import covariance
from diffax.diffusion import gaussian
from diffax.diffusion import process
from diffax.diffusion import schedules
from diffax.errors import UserError


def chain(sigma, betas, gammas, scales, last):
  """Build the joint covariance of x_1 .. x_last, x_0 known: [last, last].

  Returns:
    signal power [last + 1] and blocks[i][j] = Cov(x_i, x_j) [N, N].
  """
  size = len(sigma)
  blocks = [[np.zeros((size, size))] * (last + 1) for _ in range(last + 1)]
  power = np.cumprod(np.concatenate([[1], 1 - betas[:last]]))
  for t in range(1, last + 1):
    noise = scales[t - 1] * (
        gammas[t - 1] * sigma + (1 - gammas[t - 1]) * np.eye(size))
    keep = np.sqrt(1 - betas[t - 1])
    for s in range(t):
      blocks[s][t] = keep * blocks[s][t - 1]
      blocks[t][s] = blocks[s][t].T
    blocks[t][t] = keep**2 * blocks[t - 1][t - 1] + noise
  return np.sqrt(power), blocks


@pytest.mark.parametrize('gamma', schedules.GAMMAS)
@pytest.mark.parametrize('s, t', [(0, 1), (1, 2), (3, 8), (0, 8), (7, 8)])
def test_posterior_is_gaussian_conditioning(tree, gamma, s, t):
  rng = np.random.default_rng(t)
  betas = schedules.cosine(8)
  gammas, scales = (
      table(gamma, betas) for table in (schedules.gammas, schedules.scales))
  sigma = covariance.covariance(tree(7, s + t))
  forward = process.nonisotropic(betas, gammas, sigma, 0, 2, scales)
  alpha, blocks = chain(sigma, betas, gammas, scales, t)
  x0, xt = rng.normal(size=(2, 7, 3))
  gain = blocks[s][t] @ np.linalg.inv(blocks[t][t])
  mean = alpha[s] * x0 + gain @ (xt - alpha[t] * x0)
  spread = blocks[s][s] - gain @ blocks[t][s]

  levels = [forward.at(jnp.array([time])) for time in (s, t)]
  rotated = [forward.to_basis(jnp.float32(x)[None]) for x in (x0, xt)]
  got, variance = gaussian.posterior(*rotated, *levels)
  np.testing.assert_allclose(
      forward.from_basis(got)[0], mean, rtol=1e-5, atol=1e-5)
  basis = np.asarray(forward.basis, np.float64)
  np.testing.assert_allclose(
      basis @ np.diag(variance[0, :, 0]) @ basis.T, spread, atol=1e-6)


def test_one_step_composes_to_the_marginal(skeletal):
  forward = skeletal(12)
  for s, t in ((0, 1), (4, 5), (11, 12), (3, 9)):
    early, late = (forward.at(jnp.array([time])) for time in (s, t))
    one, zero = jnp.ones([1, 5, 1]), jnp.zeros([1, 5, 1])
    keep = gaussian.step(one, zero, early, late)
    noise = gaussian.step(zero, one, early, late)
    np.testing.assert_allclose(keep * early.alpha, late.alpha, rtol=1e-6)
    np.testing.assert_allclose(
        keep**2 * early.sigma**2 + noise**2, late.sigma**2, rtol=1e-5)


def test_posteriors_compose(skeletal):
  forward = skeletal(12)
  s, u, t = (forward.at(jnp.array([time])) for time in (2, 5, 11))
  one, zero = jnp.ones([1, 5, 1]), jnp.zeros([1, 5, 1])
  for x0, xt in ((one, zero), (zero, one)):
    middle, spread = gaussian.posterior(x0, xt, u, t)
    mean, variance = gaussian.posterior(x0, middle, s, u)
    carried = gaussian.posterior(zero, one, s, u)[0]
    direct, total = gaussian.posterior(x0, xt, s, t)
    np.testing.assert_allclose(mean, direct, rtol=1e-5)
    np.testing.assert_allclose(
        variance + carried**2 * spread, total, rtol=1e-5)


def test_posterior_matches_ddpm_as_published():
  betas = schedules.linear(50)
  forward = process.isotropic(betas, 1)
  power = np.cumprod(1 - betas)
  before = np.concatenate([[1], power[:-1]])
  x0, xt = np.random.default_rng(0).normal(size=(2, 50, 4))
  coefficients = (np.sqrt(before) * betas / (1 - power),
                  np.sqrt(1 - betas) * (1 - before) / (1 - power))
  mean = coefficients[0][:, None] * x0 + coefficients[1][:, None] * xt
  index = jnp.arange(1, 51)
  got, variance = gaussian.posterior(
      jnp.float32(x0), jnp.float32(xt), forward.at(index - 1),
      forward.at(index))
  np.testing.assert_allclose(got, mean, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(
      variance[:, 0], (1 - before) / (1 - power) * betas, rtol=1e-6)


def test_ratio_is_that_of_the_scales(skeletal):
  forward = skeletal(9)
  s, t = forward.at(jnp.array([3])), forward.at(jnp.array([7]))
  ratio = (t.alpha * s.sigma / (s.alpha * t.sigma)) ** 2
  np.testing.assert_allclose(gaussian.snr_ratio(s, t), ratio, rtol=1e-5)
  np.testing.assert_allclose(gaussian.snr_gap(s, t), 1 - ratio, rtol=1e-5)
  clean = forward.at(jnp.array([0]))
  np.testing.assert_array_equal(gaussian.snr_ratio(clean, t), 0)
  np.testing.assert_array_equal(gaussian.snr_gap(clean, t), 1)


@pytest.mark.parametrize('kind', gaussian.KINDS)
@pytest.mark.parametrize('t', [1, 6, 10])
def test_predictions_invert_their_targets(skeletal, kind, t):
  level = skeletal().at(jnp.array([t, t]))
  x0, noise = jax.random.normal(jax.random.key(t), (2, 2, 5, 3))
  xt = gaussian.diffuse(x0, noise, level)
  wanted = gaussian.target(kind, x0, noise, level)
  # At T the signal is 0.5 % of x_t, so float32 keeps five digits of x_0.
  np.testing.assert_allclose(
      gaussian.to_x0(kind, wanted, xt, level), x0, atol=2e-4)
  np.testing.assert_allclose(
      gaussian.to_noise(x0, xt, level), noise, atol=1e-4)


def test_velocity_is_that_of_progressive_distillation():
  forward = process.isotropic(schedules.cosine(20), 1)
  level = forward.at(jnp.array([7]))
  angle = np.arctan2(level.sigma, level.alpha)
  x0, noise = jnp.array([[1.0]]), jnp.array([[-2.0]])
  xt = gaussian.diffuse(x0, noise, level)
  velocity = np.cos(angle) * noise - np.sin(angle) * x0
  np.testing.assert_allclose(
      gaussian.target('velocity', x0, noise, level), velocity, rtol=1e-6)
  np.testing.assert_allclose(
      np.cos(angle) * xt - np.sin(angle) * velocity, x0, rtol=1e-5)


def test_corrupt_has_the_marginal_covariance(skeletal, tree):
  forward = skeletal(6)
  betas = schedules.cosine(6)
  _, blocks = chain(
      covariance.covariance(tree(5, 0)), betas, betas, betas, 6)
  eye = jnp.broadcast_to(jnp.eye(5)[None], (6, 5, 5))
  root = gaussian.corrupt(
      forward, jnp.zeros_like(eye), eye, jnp.arange(1, 7))
  root = np.asarray(root, np.float64)
  for t in range(6):
    np.testing.assert_allclose(
        root[t] @ root[t].T, blocks[t + 1][t + 1], atol=1e-6)


def test_standardise_is_the_mahalanobis_distance(skeletal, tree):
  forward = skeletal(6)
  betas = schedules.cosine(6)
  _, blocks = chain(
      covariance.covariance(tree(5, 0)), betas, betas, betas, 4)
  error = np.random.default_rng(0).normal(size=5)
  expected = error @ np.linalg.solve(blocks[4][4], error)
  level = forward.at(jnp.array([4]))
  rotated = forward.to_basis(jnp.float32(error)[None, :, None])
  whitened = gaussian.standardise(rotated, level)
  np.testing.assert_allclose(jnp.sum(whitened**2), expected, rtol=1e-5)


@pytest.mark.parametrize('kind', gaussian.KINDS)
def test_objectives_of_all_kinds_are_one(skeletal, kind):
  forward = skeletal()
  s, t = forward.at(jnp.array([3])), forward.at(jnp.array([4]))
  x0, noise, other = jax.random.normal(jax.random.key(1), (3, 1, 5, 3))
  xt = gaussian.diffuse(x0, noise, t)
  # Another x_0 at the same x_t comes with another noise.
  changed = gaussian.to_noise(other, xt, t)
  error = gaussian.target(kind, other, changed, t) - gaussian.target(
      kind, x0, noise, t)
  expected = (other - x0) ** 2 / t.ratio
  got = gaussian.mahalanobis(kind, error, t) ** 2
  np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-5)
  if kind == 'noise':
    np.testing.assert_allclose(got, error**2, rtol=1e-4)

  means = [gaussian.posterior(x, xt, s, t)[0] for x in (x0, other)]
  variance = gaussian.posterior(x0, xt, s, t)[1]
  divergence = 0.5 * (means[0] - means[1]) ** 2 / variance
  np.testing.assert_allclose(
      gaussian.posterior_kl(kind, error, s, t), divergence, rtol=2e-3,
      atol=1e-5)


def test_start_noise(skeletal):
  level = skeletal(gamma='one').at(jnp.full([4000], 10))
  shape = (4000, 5, 1)
  white = gaussian.start_noise(jax.random.key(0), level, shape)
  matched = gaussian.start_noise(jax.random.key(0), level, shape, 'matched')
  np.testing.assert_allclose(white * level.sigma, matched, rtol=1e-6)
  np.testing.assert_allclose(jnp.std(white, 0), 1, atol=.06)
  np.testing.assert_allclose(
      jnp.std(matched, 0), level.sigma[0], rtol=.06)


@pytest.mark.parametrize('call', [
    lambda x, t: gaussian.to_x0('eps', x, x, t),
    lambda x, t: gaussian.target('score', x, x, t),
    lambda x, t: gaussian.start_noise(jax.random.key(0), t, (1, 5, 3), 'red'),
])
def test_unknown_kinds_are_refused(skeletal, call):
  with pytest.raises(UserError, match='expected one of'):
    call(jnp.zeros([1, 5, 3]), skeletal().at(jnp.array([2])))


def test_start_data_has_the_moments_of_noised_data(tree):
  betas = np.stack([schedules.linear(40), schedules.constant(40, .02)], 1)
  sigmas = [covariance.covariance(tree(2, n)) for n in range(2)]
  forward = process.per_block(betas, sigmas, -1, 1)
  mean, std = jnp.array([[1., -2, 0, 3]]), jnp.array([[.5, 1, 2, 0]])
  t = jnp.full([40_000], 40)
  found = np.asarray(gaussian.start_data(
      jax.random.key(0), forward, mean, std, t, (40_000, 4)))
  powers = np.repeat(np.prod(1 - betas, axis=0), 2)
  noise = np.kron(np.eye(2), np.ones((2, 2))) * np.sqrt(
      np.outer(1 - powers, 1 - powers))
  noise[:2, :2] *= sigmas[0]
  noise[2:, 2:] *= sigmas[1]
  np.testing.assert_allclose(
      found.mean(0), np.sqrt(powers) * mean[0], atol=0.04)
  np.testing.assert_allclose(
      np.cov(found.T), noise + np.diag(powers * std[0] ** 2), atol=0.06)


def test_guess_is_the_posterior_of_gaussian_data():
  # The density of x_0 given x_t, on a grid, by Bayes.
  grid = np.linspace(-30, 30, 200_001)
  for xt, mean, std, alpha, sigma in (
      (0.3, 1.0, 0.5, 0.9, 0.4), (-2.0, 0.2, 3.0, 0.3, 0.95)
  ):
    square = ((grid - mean) / std) ** 2 + ((xt - alpha * grid) / sigma) ** 2
    weight = np.exp(0.5 * (square.min() - square))
    weight /= weight.sum()
    centre = np.sum(weight * grid)
    spread = np.sqrt(np.sum(weight * (grid - centre) ** 2))
    found = gaussian.guess(*map(jnp.float32, (xt, mean, std, alpha, sigma)))
    np.testing.assert_allclose(found.mean, centre, rtol=1e-4)
    np.testing.assert_allclose(found.std, spread, rtol=1e-4)
    np.testing.assert_allclose(
        found.unit, (xt - alpha * mean) / np.hypot(alpha * std, sigma),
        rtol=1e-5)
