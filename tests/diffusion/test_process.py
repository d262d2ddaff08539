"""Tables of forward processes against their definitions and goldens."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from diffax.diffusion import covariance
from diffax.diffusion import gaussian
from diffax.diffusion import process
from diffax.diffusion import schedules
from diffax.errors import UserError

VARIANTS = {'': 'released', 'aniso_': 'one', 'monogamma_': 'linear'}


def relative(actual, expected):
  """Largest error of a matrix over its largest entry, worst over steps."""
  actual, expected = np.asarray(actual, np.float64), np.asarray(expected)
  axes = tuple(range(1, expected.ndim))
  scale = np.abs(expected).max(axes)
  error = np.abs(actual - expected).max(axes)
  return np.max(error[scale > 0] / scale[scale > 0])


def golden_process(table, prefix, steps):
  betas = schedules.cosine(steps)
  if prefix == 'iso_':
    sigma, gamma = np.eye(16), 'released'
  else:
    sigma, gamma = table['Sigma_N'], VARIANTS[prefix]
  return process.nonisotropic(
      betas, schedules.gammas(gamma, betas), sigma, 0, 2)


@pytest.mark.parametrize('name, steps, prefix', [
    *((name, steps, '') for name in ('A', 'R', 'Rhip') for steps in (10, 50)),
    *(('A', 10, prefix) for prefix in ('aniso_', 'monogamma_', 'iso_')),
])
def test_tables_agree_with_the_released_code(golden_dir, name, steps, prefix):
  table = np.load(golden_dir / f'tables_h36m16_{name}_f64.npz')
  forward = golden_process(table, prefix, steps)
  want = {k: table[f'T{steps}_{prefix}{k}'] for k in (
      'betas', 'alphas_cumprod', 'Lambda_t', 'Lambda_bar_t',
      'Lambda_bar_t_prev', 'Lambda_posterior', 'posterior_mean_coef1_x0',
      'posterior_mean_coef2_xt', 'Umm_sqrt_Lambda_bar_t',
      'inv_sqrt_Lambda_bar_mmUt', 'loss_weight')}
  index = jnp.arange(1, steps + 1)
  t, s = forward.at(index), forward.at(index - 1)
  tight = {'rtol': 1e-6, 'atol': 0}
  np.testing.assert_allclose(schedules.cosine(steps), want['betas'], rtol=1e-12)
  np.testing.assert_allclose(t.alpha[:, 0, 0] ** 2, want['loss_weight'],
                             **tight)
  np.testing.assert_allclose(t.sigma[..., 0] ** 2, want['Lambda_bar_t'],
                             **tight)
  np.testing.assert_allclose(s.sigma[..., 0] ** 2, want['Lambda_bar_t_prev'],
                             **tight)
  spread = t.sigma**2 * gaussian.snr_gap(s, t)
  np.testing.assert_allclose(spread[..., 0], want['Lambda_t'], **tight)

  # The rows of the identity, pushed through a kernel, are its matrix.
  eye = jnp.broadcast_to(jnp.eye(16), (steps, 16, 16))
  zero = jnp.zeros_like(eye)
  basis_eye = forward.to_basis(eye)
  mean0, variance = gaussian.posterior(basis_eye, zero, s, t)
  mean1, _ = gaussian.posterior(zero, basis_eye, s, t)
  np.testing.assert_allclose(
      variance[..., 0], want['Lambda_posterior'], **tight)
  for mean, key in ((mean0, 'posterior_mean_coef1_x0'),
                    (mean1, 'posterior_mean_coef2_xt')):
    assert relative(forward.from_basis(mean), want[key]) < 1e-6
  # These two hold U once: its columns are unique up to sign.
  root = gaussian.corrupt(forward, zero, eye, index)
  assert relative(*aligned(
      np.swapaxes(root, 1, 2),
      np.swapaxes(want['Umm_sqrt_Lambda_bar_t'], 1, 2))) < 1e-6
  assert relative(*aligned(
      gaussian.standardise(basis_eye, t),
      want['inv_sqrt_Lambda_bar_mmUt'])) < 1e-6


def aligned(actual, expected):
  """Give the rows of `actual` [T, N, N] the signs of those of `expected`."""
  actual = np.asarray(actual, np.float64)
  signs = np.sign(np.sum(actual * expected, axis=-1, keepdims=True))
  return actual * signs, expected


def test_isotropic_posterior_agrees_with_the_released_class(golden_dir):
  table = np.load(golden_dir / 'tables_h36m16_A_f64.npz')
  forward = process.isotropic(schedules.cosine(10), 1)
  index = jnp.arange(1, 11)
  t, s = forward.at(index), forward.at(index - 1)
  one, zero = jnp.ones([10, 1]), jnp.zeros([10, 1])
  coefficient1, variance = gaussian.posterior(one, zero, s, t)
  coefficient2, _ = gaussian.posterior(zero, one, s, t)
  for got, key in ((coefficient1, 'mean_coef1'), (coefficient2, 'mean_coef2'),
                   (variance, 'variance')):
    np.testing.assert_allclose(
        got[:, 0], table[f'T10_isoclass_posterior_{key}'], rtol=1e-6)
  np.testing.assert_allclose(
      1 / t.ratio[:, 0], table['T10_isoclass_loss_weight'], rtol=1e-6)


def test_equation_4_and_its_recursion(tree):
  betas = schedules.cosine(12)
  gammas = schedules.gammas('released', betas)
  sigma = covariance.covariance(tree(6, 4))
  values = covariance.eigen(sigma)[0]
  forward = process.nonisotropic(betas, gammas, sigma, 0, 1)
  power = np.cumprod(1 - betas)
  tilde = power * np.cumsum(betas * gammas / power)
  expected = tilde[:, None] * (values - 1) + (1 - power)[:, None]
  np.testing.assert_allclose(forward.sigma[1:] ** 2, expected, rtol=1e-6)
  assert (forward.alpha[0] == 1).all() and (forward.sigma[0] == 0).all()


def test_discarded_schedule_is_equation_48(tree):
  betas = schedules.cosine(12)
  sigma = covariance.covariance(tree(6, 4))
  forward = process.nonisotropic(
      betas, schedules.gammas('discarded', betas), sigma, 0, 1,
      schedules.scales('discarded', betas))
  tilde = [0.0]
  for alpha in 1 - betas:
    tilde.append(alpha * (1 + tilde[-1]))
  power = np.concatenate([[1], np.cumprod(1 - betas)])
  expected = np.outer(tilde, covariance.eigen(sigma)[0]) + 1 - power[:, None]
  np.testing.assert_allclose(forward.sigma**2, expected, rtol=1e-6)


@pytest.mark.parametrize('gamma', ['released', 'one', 'zero', 'linear'])
def test_identity_covariance_is_isotropic(gamma):
  betas = schedules.linear(20)
  left = process.nonisotropic(
      betas, schedules.gammas(gamma, betas), np.eye(4), 1, 2)
  right = process.isotropic(betas, 2)
  for mine, theirs in zip(left.levels, right.levels):
    assert mine.shape == (21, 1, 4) and theirs.shape == (21, 1, 1)
    np.testing.assert_allclose(
        mine, np.broadcast_to(theirs, mine.shape), rtol=1e-6, atol=1e-6 if
        theirs is right.levels.ratio_rest else 0)


def test_zero_gamma_is_isotropic(tree):
  betas = schedules.cosine(10)
  sigma = covariance.covariance(tree(5, 0))
  left = process.nonisotropic(betas, np.zeros(10), sigma, 0, 1)
  right = process.isotropic(betas, 1)
  np.testing.assert_allclose(
      left.sigma, np.broadcast_to(right.sigma, (11, 5)), rtol=1e-6)


def test_per_axis_runs_each_schedule_alone():
  betas = np.stack([schedules.linear(30), schedules.constant(30, .01)], 1)
  both = process.per_axis(betas, 2, 4)
  assert both.alpha.shape == (31, 1, 1, 2, 1)
  for sensor in range(2):
    alone = process.isotropic(betas[:, sensor], 4)
    for mine, theirs in zip(both.levels, alone.levels):
      np.testing.assert_array_equal(mine[:, :, :, sensor], theirs[..., 0])


def test_blocks_of_white_noise_are_schedules_of_their_own():
  betas = np.stack([schedules.linear(30), schedules.constant(30, .01)], 1)
  blocks = process.per_block(betas, [np.eye(2), np.eye(3)], -1, 2)
  entries = process.per_axis(np.repeat(betas, [2, 3], axis=1), -1, 2)
  for mine, theirs in zip(blocks.levels, entries.levels):
    np.testing.assert_array_equal(mine, theirs)


def test_one_block_is_nonisotropic(tree):
  betas, sigma = schedules.linear(20), covariance.covariance(tree(5, 0))
  one = process.per_block(betas[:, None], [sigma], 0, 2)
  whole = process.nonisotropic(betas, np.ones(20), sigma, 0, 2)
  for mine, theirs in zip(jax.tree.leaves(one), jax.tree.leaves(whole)):
    np.testing.assert_allclose(mine, theirs, rtol=1e-6, atol=1e-12)


def test_blocks_keep_their_schedule_and_covariance(tree):
  betas = np.stack([schedules.linear(10), schedules.constant(10, .1)], 1)
  sigmas = [covariance.covariance(tree(n, n)) for n in (3, 4)]
  blocks = process.per_block(betas, sigmas, 0, 1)
  eye = jnp.eye(7)
  level = blocks.at(jnp.full([7], 10))
  signal = blocks.from_basis(level.alpha * blocks.to_basis(eye))
  root = blocks.from_basis(level.sigma * eye)
  powers = np.prod(1 - betas, axis=0)
  np.testing.assert_allclose(
      signal, np.diag(np.repeat(np.sqrt(powers), [3, 4])), atol=1e-6)
  np.testing.assert_allclose(
      root.T @ root, scipy.linalg.block_diag(*(
          (1 - power) * sigma for power, sigma in zip(powers, sigmas)
      )), atol=1e-6)


def test_marginal_is_the_diagonal_of_the_noise(tree):
  betas = np.stack([schedules.linear(10), schedules.constant(10, .1)], 1)
  sigmas = [covariance.covariance(tree(n, n)) for n in (3, 4)]
  alpha, sigma = process.per_block(betas, sigmas, -1, 2).marginal(
      jnp.array([0, 10]))
  power = np.repeat(np.prod(1 - betas, axis=0), [3, 4])
  spread = np.concatenate([np.diag(s) for s in sigmas]) * (1 - power)
  assert alpha.shape == sigma.shape == (2, 1, 7)
  np.testing.assert_allclose(alpha[1, 0], np.sqrt(power), rtol=1e-6)
  np.testing.assert_allclose(sigma[1, 0], np.sqrt(spread), rtol=1e-5)
  np.testing.assert_allclose(sigma[0], 0)


def test_basis_is_orthonormal_on_any_axis(tree):
  betas = schedules.cosine(4)
  sigma = covariance.covariance(tree(5, 1))
  x = jax.random.normal(jax.random.key(0), (2, 4, 5, 3))
  for axis in (1, -2):
    forward = process.nonisotropic(betas, betas, sigma, axis, 3)
    assert forward.axis == -2 and forward.steps == 4
    basis = covariance.eigen(sigma)[1]
    np.testing.assert_allclose(
        forward.to_basis(x), np.einsum('btjd,jk->btkd', x, basis), atol=1e-5)
    np.testing.assert_allclose(
        forward.from_basis(forward.to_basis(x)), x, atol=1e-5)


def test_gap_keeps_its_digits_over_many_steps():
  betas = schedules.linear(1000)
  forward = process.isotropic(betas, 1)
  power = np.cumprod(1 - betas)
  noise = (1 - power) / power
  gap = 1 - noise[:-1] / noise[1:]
  index = jnp.arange(2, 1001)
  t, s = forward.at(index), forward.at(index - 1)
  np.testing.assert_allclose(gaussian.snr_gap(s, t)[:, 0], gap, rtol=1e-6)


@pytest.mark.parametrize('call, match', [
    (lambda b, g, c: process.isotropic(-b, 1), 'betas'),
    (lambda b, g, c: process.isotropic(b[:, None], 1), 'axes'),
    (lambda b, g, c: process.isotropic(b * [0, 1, 1], 1), 'noise'),
    (lambda b, g, c: process.nonisotropic(b, g[:2], c, 0, 1), 'gammas'),
    (lambda b, g, c: process.nonisotropic(b, g, c, 1, 1), 'axis'),
    (lambda b, g, c: process.per_block(b[:, None], [c, c], 0, 1), 'blocks'),
    (lambda b, g, c: process.nonisotropic(b, g, -c, 0, 1), 'eigenvalue'),
    (lambda b, g, c: process.nonisotropic(b, 3 * g, c, 0, 1), 'noise'),
    (lambda b, g, c: process.nonisotropic(b, g * np.nan, c, 0, 1), 'finite'),
    (lambda b, g, c: process.nonisotropic(b, [0, 0, 3], c, 0, 1), 'negative'),
])
def test_impossible_processes_are_refused(call, match):
  with pytest.raises(UserError, match=match):
    call(np.full(3, .1), np.ones(3), np.diag([.5, 1]))


@pytest.mark.parametrize('gamma', ['released', 'one', 'linear', 'discarded'])
@pytest.mark.parametrize('steps', [10, 1000])
def test_eigenvalues_of_a_running_program_build_the_same_process(
    tree, gamma, steps
):
  betas = schedules.cosine(steps)
  tables = schedules.gammas(gamma, betas), schedules.scales(gamma, betas)
  # Eigenvalues of few bits, so that both are of the same covariance.
  values = np.sort(np.random.default_rng(0).integers(1, 64, 5)) / 64
  basis = covariance.eigen(covariance.covariance(tree(5, 1)))[1]
  sigma = (basis * values) @ basis.T
  known = process.nonisotropic(betas, tables[0], sigma, 0, 2, tables[1])

  @jax.jit
  def run(values, basis):
    return process.from_spectrum(
        betas, tables[0], values, basis, 0, 2, tables[1]
    )

  found = run(jnp.float32(values), jnp.float32(basis))
  assert found.steps == steps and found.axis == known.axis
  assert found.sigma.shape == known.sigma.shape
  np.testing.assert_allclose(found.alpha, known.alpha, rtol=1e-6)
  np.testing.assert_allclose(found.sigma, known.sigma, rtol=1e-6)
  index = jnp.arange(1, steps + 1)
  gaps = [
      gaussian.snr_gap(p.at(index - 1), p.at(index)) for p in (known, found)
  ]
  # Without the rest of the rounding, gaps of 1000 steps differ by 1e-5.
  np.testing.assert_allclose(gaps[1], gaps[0], rtol=1e-6)


def test_eigenvalues_of_many_bits_are_kept_to_a_thousandth():
  betas = schedules.cosine(10)
  values = jnp.array([0.0123456789, 0.5 + 1e-4, 1.0])
  forward = process.from_spectrum(
      betas, np.ones(10), values, jnp.eye(3), -1, 1
  )
  share = forward.sigma[-1] ** 2 / (1 - forward.alpha[-1] ** 2)
  np.testing.assert_allclose(share, values, rtol=1e-3)
