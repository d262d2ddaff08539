"""Losses against hand-made reductions and brute-force minima."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.diffusion import losses
from diffax.diffusion import process
from diffax.diffusion import schedules
from diffax.errors import UserError

T = jnp.array([1, 4, 10])
ERROR = jax.random.normal(jax.random.key(0), (3, 5, 3))


def test_weights(skeletal):
  level = skeletal().at(T)
  alpha, sigma = np.asarray(level.alpha), np.asarray(level.sigma)
  np.testing.assert_array_equal(losses.weights('uniform', level), 1)
  np.testing.assert_allclose(losses.weights('alphabar', level), alpha**2)
  snr = alpha**2 / sigma**2
  np.testing.assert_allclose(losses.weights('snr', level), snr, rtol=1e-5)
  np.testing.assert_allclose(
      losses.weights('min_snr', level, 2.), np.minimum(snr, 2), rtol=1e-5)
  assert snr.max() > 2 > snr.min()


@pytest.mark.parametrize('norm', losses.NORMS)
def test_mahalanobis(skeletal, norm):
  forward = skeletal()
  basis, sigma = np.asarray(forward.basis), np.asarray(forward.sigma)
  power = np.cumprod(1 - schedules.cosine(10))
  expected = []
  for t, error in zip(T, np.asarray(ERROR)):
    white = (basis.T @ error) / sigma[t]
    expected.append(power[t - 1] * {
        'l1': np.abs(white).mean(), 'l2': (white**2).mean(),
        'norm': np.linalg.norm(white)}[norm])
  np.testing.assert_allclose(
      losses.mahalanobis(forward, ERROR, T, norm), expected, rtol=1e-4)


def test_released_loss_on_golden_tables(golden_dir):
  table = np.load(golden_dir / 'tables_h36m16_A_f64.npz')
  betas = schedules.cosine(10)
  forward = process.nonisotropic(betas, betas, table['Sigma_N'], 0, 2)
  error = np.random.default_rng(0).normal(size=(10, 16, 6))
  white = table['T10_inv_sqrt_Lambda_bar_mmUt'] @ error
  expected = table['T10_loss_weight'] * np.abs(white).mean((1, 2))
  got = losses.mahalanobis(forward, jnp.float32(error), jnp.arange(1, 11))
  np.testing.assert_allclose(got, expected, rtol=2e-6)


def test_mahalanobis_takes_leading_axes(skeletal):
  forward = skeletal()
  error = jnp.stack([ERROR, 2 * ERROR], 1)
  got = losses.mahalanobis(forward, error, jnp.stack([T, T], 1))
  flat = losses.mahalanobis(forward, ERROR, T)
  np.testing.assert_allclose(got, jnp.stack([flat, 2 * flat], 1), rtol=1e-5)


def score(params, noise):
  return jnp.sum(jnp.abs(params * noise - 1), -1)


@pytest.mark.parametrize('chunk', [None, 1, 2, 6])
def test_best_of_is_the_relaxed_minimum_and_its_gradient(chunk):
  noise = jax.random.normal(jax.random.key(0), (6, 4, 3))

  def relaxed(params):
    return jnp.mean(jnp.min(score(params, noise), axis=0))

  def chosen(params):
    best = losses.best_of(score, params, noise, chunk)
    return jnp.mean(score(params, best.candidate[None])[0])

  params = jnp.full([1, 1, 1], .8)
  want, want_grad = jax.value_and_grad(relaxed)(params)
  got, got_grad = jax.jit(jax.value_and_grad(chosen))(params)
  np.testing.assert_allclose(got, want, rtol=1e-6)
  np.testing.assert_allclose(got_grad, want_grad, rtol=1e-6)


def test_best_of_picks_rows_of_trees():
  noise = {'a': jnp.arange(12.).reshape(3, 2, 2), 'b': jnp.arange(6).reshape(
      3, 2)}
  scores = jnp.array([[2., 0.], [1., 5.], [3., 1.]])
  best = losses.best_of(lambda _, c: scores, (), noise)
  np.testing.assert_array_equal(best.choice, [1, 0])
  np.testing.assert_array_equal(best.candidate['a'], [[4, 5], [2, 3]])
  np.testing.assert_array_equal(best.candidate['b'], [2, 1])
  np.testing.assert_array_equal(best.scores, scores)


def test_best_of_stores_nothing_for_a_backward_pass():
  noise = jnp.ones([4, 2, 3])

  def count(params):
    return jnp.sum(losses.best_of(score, params, noise).scores)

  np.testing.assert_array_equal(jax.grad(count)(jnp.ones([1, 1, 1])), 0)
  # Forward and backward of the choice hold the same operations.
  plain = str(jax.make_jaxpr(count)(jnp.ones([1, 1, 1]))).count('abs')
  traced = str(jax.make_jaxpr(jax.grad(count))(jnp.ones([1, 1, 1])))
  assert plain == 1 and traced.count('sign') == 0


def test_kl_normal_by_quadrature():
  mean, log_variance = 0.4, -0.7
  x = np.linspace(-8, 8, 20001)
  variance = np.exp(log_variance)
  density = np.exp(-(x - mean)**2 / 2 / variance) / np.sqrt(
      2 * np.pi * variance)
  log_ratio = -.5 * (x - mean)**2 / variance - .5 * log_variance + .5 * x**2
  expected = np.trapezoid(density * log_ratio, x)
  got = losses.kl_normal(jnp.array([mean]), jnp.array([log_variance]))
  np.testing.assert_allclose(got, [expected], rtol=1e-5)
  np.testing.assert_array_equal(
      losses.kl_normal(jnp.zeros([2]), jnp.zeros([2])), 0)


@pytest.mark.parametrize('call', [
    lambda p: losses.weights('sigma', p.at(T)),
    lambda p: losses.mahalanobis(p, ERROR, T, 'l3'),
    lambda p: losses.best_of(score, 1., jnp.ones([4, 2, 3]), 3)])
def test_mistakes_are_named(skeletal, call):
  with pytest.raises(UserError, match='expected'):
    call(skeletal())
