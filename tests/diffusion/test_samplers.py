"""Samplers: identities, exactly known Gaussians, order, joint generation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.diffusion import gaussian
from diffax.diffusion import guidance
from diffax.diffusion import process
from diffax.diffusion import samplers
from diffax.diffusion import schedules
from diffax.errors import UserError

MEAN, SPREAD = 0.7, 0.3  # of Gaussian data, in every direction


def oracle(forward, mean=MEAN, variance=SPREAD**2):
  """Return the best denoiser of data N(mean, variance), data space."""

  def denoise(xt, t):
    level = forward.at(t)
    total = level.alpha**2 * variance + level.sigma**2
    gain = level.alpha * variance / total
    middle = forward.to_basis(jnp.full_like(xt, mean))
    x = forward.to_basis(xt)
    return forward.from_basis(middle + gain * (x - level.alpha * middle))

  return denoise


def levels64(forward, times):
  return [(np.asarray(forward.alpha[t, :, 0], np.float64),
           np.asarray(forward.sigma[t, :, 0], np.float64)) for t in times]


def run(forward, sampler, times, xt, denoise=None, key=0):
  return samplers.reverse(
      jax.random.key(key), forward, denoise or oracle(forward), sampler,
      times, xt)


def some(forward, batch=2, key=5):
  return jax.random.normal(jax.random.key(key), (batch, 5, 3))


PAIRS = [
    (samplers.ddim(1.0), samplers.ddpm()),
    (samplers.ddim(0.0), samplers.dpm_solver_pp(1)),
]


@pytest.mark.parametrize('left, right', PAIRS)
@pytest.mark.parametrize('steps', [1, 4, 10])
def test_identities(skeletal, left, right, steps):
  forward = skeletal()
  times = samplers.timesteps(10, steps)
  x = some(forward)
  np.testing.assert_allclose(
      run(forward, left, times, x), run(forward, right, times, x),
      rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('sampler', [
    samplers.ddim(0.0), samplers.ddim(0.5), samplers.dpm_solver_pp(2),
    samplers.ddpm()])
def test_identity_covariance_samples_as_isotropic(sampler):
  betas = schedules.cosine(10)
  left = process.nonisotropic(betas, betas, np.eye(5), 0, 2)
  right = process.isotropic(betas, 2)
  times = samplers.timesteps(10, 5)
  x = some(right)
  np.testing.assert_allclose(
      run(left, sampler, times, x), run(right, sampler, times, x),
      rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('steps', [3, 10])
@pytest.mark.parametrize('eta', [0.0, 0.4, 1.0])
def test_statistics_on_gaussian_data_are_known(skeletal, steps, eta):
  forward = skeletal()
  times = samplers.timesteps(10, steps)
  levels = levels64(forward, times)
  basis = np.asarray(forward.basis, np.float64)
  middle = basis.T @ np.full(5, MEAN)
  # White start; each step is affine in x, so moments follow exactly.
  mean, variance = np.zeros(5), np.ones(5)
  for (at, st), (a_s, ss) in zip(levels, levels[1:]):
    gain = at * SPREAD**2 / (at**2 * SPREAD**2 + st**2)
    tau = eta**2 * (1 - (at * ss / (a_s * st)) ** 2)
    slope = ss * np.sqrt(1 - tau) / st
    coefficient = a_s * gain + slope * (1 - at * gain)
    offset = (a_s - slope * at) * (1 - gain * at) * middle
    mean = coefficient * mean + offset
    variance = coefficient**2 * variance + ss**2 * tau
  draws = 6000
  x = samplers.sample(
      jax.random.key(steps), forward, oracle(forward), samplers.ddim(eta),
      times, (draws, 5, 3))
  x = np.asarray(forward.to_basis(x), np.float64).transpose(0, 2, 1)
  x = x.reshape(-1, 5)
  error = np.sqrt(variance / len(x))
  np.testing.assert_array_less(np.abs(x.mean(0) - mean), 5 * error)
  np.testing.assert_allclose(x.var(0), variance, rtol=5 * (2 / len(x)) ** .5)


def flow(forward, xt, times):
  """Solve the probability flow of the Gaussian data exactly, float64."""
  (at, st), (a_s, ss) = levels64(forward, (times[0], times[-1]))
  basis = np.asarray(forward.basis, np.float64)
  middle = (basis.T @ np.full(5, MEAN))[:, None]
  x = np.einsum('jk,bjd->bkd', basis, np.asarray(xt, np.float64))
  growth = np.sqrt((a_s**2 * SPREAD**2 + ss**2) /
                   (at**2 * SPREAD**2 + st**2))[:, None]
  x = a_s[:, None] * middle + growth * (x - at[:, None] * middle)
  return np.einsum('jk,bkd->bjd', basis, x)


@pytest.mark.parametrize('sampler, order', [
    (samplers.ddim(0.0), 1), (samplers.dpm_solver_pp(1), 1),
    (samplers.dpm_solver_pp(2), 2)])
def test_order_of_convergence(skeletal, sampler, order):
  forward = skeletal(steps=512, gamma='linear')
  x, errors = some(forward), []
  for steps in (16, 32, 64):
    times = np.linspace(448, 64, steps + 1).astype(np.int32)
    got = run(forward, sampler, times, x)
    errors.append(np.abs(got - flow(forward, x, times)).max())
  rates = np.log2(np.array(errors[:-1]) / errors[1:])
  np.testing.assert_allclose(rates, order, atol=0.3)


def test_ancestral_sampling_reaches_the_data(skeletal):
  forward = skeletal(steps=200)
  draws = 2000
  x = samplers.sample(
      jax.random.key(1), forward, oracle(forward), samplers.ddpm(),
      samplers.timesteps(200, 200), (draws, 5, 3), 'matched')
  np.testing.assert_allclose(x.mean((0, 2)), MEAN, atol=.03)
  np.testing.assert_allclose(x.std((0, 2)), SPREAD, rtol=.06)


def test_perfect_prediction_is_returned_exactly(skeletal):
  forward = skeletal()
  truth = some(forward, key=9)
  for sampler in (samplers.ddpm(), samplers.ddim(.3),
                  samplers.dpm_solver_pp(1), samplers.dpm_solver_pp(2)):
    x = samplers.sample(
        jax.random.key(0), forward, lambda x, t: truth, sampler,
        samplers.timesteps(10, 10), truth.shape)
    np.testing.assert_allclose(x, truth, atol=2e-6)


def published_step(kind, power, x, noise, z, t, s, eta):
  """Make a DDPM or DDIM step as published, from the noise; NumPy."""
  before = power[s - 1] if s else 1.0
  now = power[t - 1]
  x0 = (x - np.sqrt(1 - now) * noise) / np.sqrt(now)
  if kind == 'ddim':
    deviation = eta * np.sqrt(
        (1 - before) / (1 - now) * (1 - now / before))
    towards = np.sqrt(1 - before - deviation**2) * noise
    return np.sqrt(before) * x0 + towards + deviation * z
  beta = 1 - now / before
  mean = (np.sqrt(before) * beta * x0
          + np.sqrt(1 - beta) * (1 - before) * x) / (1 - now)
  return mean + np.sqrt(beta * (1 - before) / (1 - now)) * z


@pytest.mark.parametrize('kind, eta', [
    ('ddpm', 1.0), ('ddim', 0.0), ('ddim', 0.5), ('ddim', 1.0)])
def test_steps_follow_the_published_formulas(kind, eta):
  betas = schedules.scaled_linear(1000)
  forward = process.isotropic(betas, 2)
  power = np.cumprod(1 - betas)
  sampler = samplers.ddpm() if kind == 'ddpm' else samplers.ddim(eta)
  rng = np.random.default_rng(0)
  for s, t in ((0, 1), (0, 20), (480, 500), (980, 1000)):
    key = jax.random.key(t)
    x, noise = rng.normal(size=(2, 3, 4, 2))
    z = np.asarray(jax.random.normal(key, x.shape), np.float64)
    expected = published_step(kind, power, x, noise, z, t, s, eta)
    early, late = (forward.at(jnp.full([3], time)) for time in (s, t))
    x, noise = jnp.float32(x), jnp.float32(noise)
    x0 = gaussian.to_x0('noise', noise, x, late)
    got, _ = sampler.step(key, x0, x, early, late, sampler.init(x, late))
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=3e-5)


def test_second_order_step_is_the_published_multistep():
  forward = process.isotropic(schedules.linear(100), 1)
  sampler = samplers.dpm_solver_pp(2)
  alpha, sigma = (np.asarray(table[:, 0], np.float64)
                  for table in (forward.alpha, forward.sigma))
  log_snr = np.log(alpha[1:] / sigma[1:])
  x0s = (jnp.array([[.3, -1.]]), jnp.array([[.5, -.8]]))
  x = jnp.array([[1., 2.]])
  levels = [forward.at(jnp.array([t])) for t in (90, 70, 40)]
  carry = sampler.init(x, levels[0])
  key = jax.random.key(0)
  x, carry = sampler.step(key, x0s[0], x, levels[1], levels[0], carry)
  got, _ = sampler.step(key, x0s[1], x, levels[2], levels[1], carry)
  h0 = log_snr[69] - log_snr[89]
  h1 = log_snr[39] - log_snr[69]
  ratio = h0 / h1
  direction = (1 + 1 / (2 * ratio)) * x0s[1] - 1 / (2 * ratio) * x0s[0]
  expected = (sigma[40] / sigma[70] * x
              - alpha[40] * np.expm1(-h1) * direction)
  np.testing.assert_allclose(got, expected, rtol=1e-4)


@pytest.mark.parametrize('spacing, expected', [
    ('trailing', [10, 8, 5, 2, 0]), ('leading', [7, 5, 3, 1, 0]),
    ('late', [8, 6, 4, 2, 0]), ('quadratic', [10, 6, 2, 1, 0])])
def test_timesteps(spacing, expected):
  np.testing.assert_array_equal(
      samplers.timesteps(10, 4, spacing), expected)


@pytest.mark.parametrize('spacing', samplers.SPACINGS)
def test_timesteps_of_every_step(spacing):
  if spacing not in ('quadratic', 'late'):
    np.testing.assert_array_equal(
        samplers.timesteps(10, 10, spacing), np.arange(10, -1, -1))
  else:
    with pytest.raises(UserError, match='repeat'):
      samplers.timesteps(10, 10, spacing)


@pytest.mark.parametrize('call', [
    lambda: samplers.timesteps(10, 11), lambda: samplers.timesteps(10, 0),
    lambda: samplers.timesteps(10, 5, 'odd'), lambda: samplers.ddim(1.5),
    lambda: samplers.dpm_solver_pp(3)])
def test_mistakes_are_named(call):
  with pytest.raises(UserError, match='expected'):
    call()


@pytest.mark.parametrize('times', [[11, 5, 0], [5, 5, 0], [0], [3, -1]])
def test_times_outside_the_process_are_refused(skeletal, times):
  forward = skeletal()
  with pytest.raises(UserError, match='within 0 to 10'):
    run(forward, samplers.ddim(), np.array(times), some(forward))


@pytest.mark.parametrize('sampler', [
    samplers.ddim(0.0), samplers.dpm_solver_pp(2)])
def test_joint_generation_runs_each_process_alone(skeletal, sampler):
  body = skeletal()
  sound = process.isotropic(schedules.linear(10), 1)
  times = samplers.timesteps(10, 5)
  x = {'body': some(body), 'sound': jnp.ones([2, 4])}

  def denoise(xt, t):
    return {'body': oracle(body)(xt['body'], t), 'sound': .5 * xt['sound']}

  both = {'body': body, 'sound': sound}
  got = run(both, sampler, times, x, denoise)
  alone = run(body, sampler, times, x['body'])
  np.testing.assert_allclose(got['body'], alone, rtol=1e-5, atol=1e-6)
  alone = run(sound, sampler, times, x['sound'], lambda x, t: .5 * x)
  np.testing.assert_allclose(got['sound'], alone, rtol=1e-5, atol=1e-6)


def test_joint_noise_is_independent():
  forward = process.isotropic(schedules.cosine(4), 1)
  first, second = samplers.sample(
      jax.random.key(0), (forward, forward), lambda x, t: x,
      samplers.ddpm(), samplers.timesteps(4, 4), ((500, 3), (500, 3)))
  correlation = np.corrcoef(first.ravel(), second.ravel())[0, 1]
  assert abs(correlation) < .12


def test_samples_are_reproducible_and_differ_by_key(skeletal):
  forward = skeletal()
  draw = jax.jit(lambda key: samplers.sample(
      key, forward, guidance.clip_x0(oracle(forward)), samplers.ddpm(),
      samplers.timesteps(10, 10), (2, 5, 3)))
  np.testing.assert_array_equal(
      draw(jax.random.key(0)), draw(jax.random.key(0)))
  assert np.abs(draw(jax.random.key(0)) - draw(jax.random.key(1))).max() > .1
