"""Losses against hand-made reductions, loops and brute-force minima."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from diffax.diffusion import losses
from diffax.diffusion import process
from diffax.diffusion import schedules
from diffax.errors import UserError

T = jnp.array([1, 4, 10])
Z_X, Z_Y = np.random.default_rng(0).normal(size=(2, 3, 11, 4))

contrast = jax.jit(losses.window_contrastive, static_argnames=(
    'size', 'temperature', 'pool', 'similarity', 'symmetric', 'period'))
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


def test_energy_by_hand():
  truth = jnp.array([[[0.], [1.], [3.]]])
  pred = jnp.array([[[5.], [5.], [8.]]])
  # E is (.5, 2) and (0, 4.5).
  assert losses.energy(pred, truth) == (.5**2 + 2.5**2) / 2
  np.testing.assert_allclose(
      losses.energy(pred, truth, 'l2'), np.sqrt(.5**2 + 2.5**2), rtol=1e-6)


@pytest.mark.parametrize('norm', losses.ENERGY_NORMS)
def test_energy_sees_motion_only(norm):
  x = jnp.float32(Z_X)
  np.testing.assert_allclose(losses.energy(x + 3, x, norm), 0, atol=1e-5)
  np.testing.assert_allclose(losses.energy(-x, x, norm), 0)
  assert losses.energy(x[:, ::-1], x, norm) > .1
  slope = jax.jit(jax.grad(losses.energy), static_argnums=2)(x, x, norm)
  # Terms that cancel, each rounded.
  np.testing.assert_allclose(slope, 0, atol=1e-7)


def test_energy_norms_reduce_over_what_they_say():
  e_x, e_y = (np.diff(z, axis=1)**2 / 2 for z in (Z_X, Z_Y))
  x, y = jnp.float32(Z_X), jnp.float32(Z_Y)
  np.testing.assert_allclose(
      losses.energy(x, y), ((e_x - e_y)**2).mean(), rtol=1e-5)
  np.testing.assert_allclose(
      losses.energy(x, y, 'l2'),
      np.mean([np.linalg.norm(d) for d in e_x - e_y]), rtol=1e-5)


def test_negative_contrast_pushes_from_shuffles_of_the_truth():
  truth = jnp.array([[[0.], [1.]]])
  pred = jnp.array([[[0.], [0.5]]])
  # A shuffle of two is the truth (.125) or its reverse (.625).
  got = losses.negative_contrast(
      pred, truth, jax.random.key(0), count=400, weight=1.)
  share = (.125 - got - .125) / .5
  assert abs(share - .5) < .1


def test_negative_contrast_keeps_channels_and_series_together():
  rows = jnp.arange(4.)
  truth = jnp.stack([jnp.stack([rows, rows], -1),
                     jnp.stack([rows + 50, rows + 50], -1)])
  pred = jnp.zeros_like(truth)
  far = jnp.mean(truth**2, axis=(1, 2))
  # Shuffles over time change no distance from a constant.
  for clip in (5., 1e6):
    got = losses.negative_contrast(
        pred, truth, jax.random.key(1), weight=.5, clip=clip)
    want = far.mean() - .5 * jnp.minimum(far, clip).mean()
    np.testing.assert_allclose(got, want, rtol=1e-6)


def contrast_by_loops(
    x, y, size, tau, pool, similarity, symmetric, period, weight):
  batch, count = x.shape[0], x.shape[1] // size

  def window(z, b, p):
    cut = z[b, p * size:(p + 1) * size]
    return cut.ravel() if pool == 'flatten' else cut.mean(0)

  def score(u, v):
    norms = np.linalg.norm(u) * np.linalg.norm(v)
    return np.exp(u @ v / (norms if similarity == 'cosine' else 1) / tau)

  def negative(b, p, c, q):
    if period is None or b != c or p == q:
      return True
    distance = abs(p - q) * size
    return all(abs(distance - m * period) > size for m in range(1, 50))

  def one_way(x, y):
    total = 0.
    for b in range(batch):
      for p in range(count):
        u = window(x, b, p)
        below = sum(
            score(u, window(y, c, q)) for c in range(batch)
            for q in range(count) if negative(b, p, c, q))
        total -= weight[b] * np.log(score(u, window(y, b, p)) / below)
    return total / batch / count

  return (one_way(x, y) + one_way(y, x)) / 2 if symmetric else one_way(x, y)


@pytest.mark.parametrize('options', [
    {}, {'size': 3}, {'size': 1, 'tau': .5}, {'pool': 'mean'},
    {'similarity': 'dot', 'tau': 5.}, {'symmetric': True},
    {'period': 7.}, {'size': 1, 'period': 4.5, 'symmetric': True},
    {'weight': (1., .2, 0.)}])
def test_window_contrastive_is_its_double_sum(options):
  options = {
      'size': 2, 'tau': .1, 'pool': 'flatten', 'similarity': 'cosine',
      'symmetric': False, 'period': None, 'weight': (1., 1., 1.), **options}
  want = contrast_by_loops(Z_X, Z_Y, **options)
  options['temperature'] = options.pop('tau')
  options['weight'] = jnp.array(options['weight'])
  got = contrast(
      jnp.float32(Z_X), jnp.float32(Z_Y), **options)
  np.testing.assert_allclose(got, want, rtol=1e-4)


def test_window_contrastive_limits():
  same = jnp.ones([4, 12, 3])
  np.testing.assert_allclose(
      contrast(same, same, 3), np.log(16), rtol=1e-6)
  # The first and the last of four windows are 9 apart, within 3 of 12.
  near = contrast(same[:1], same[:1], 3, period=12.)
  np.testing.assert_allclose(
      near, (2 * np.log(3) + 2 * np.log(4)) / 4, rtol=1e-6)
  apart = jnp.eye(12).reshape(2, 6, 12)
  assert contrast(apart, apart, 1, .01) < 1e-6
  x, y = jnp.float32(Z_X), jnp.float32(Z_Y)
  np.testing.assert_allclose(
      contrast(x, y, 2, 1e6), np.log(15), rtol=1e-4)


def test_window_contrastive_flattened_sees_order_within_windows():
  x = jnp.float32(Z_X[:, :10])
  turned = x.reshape(3, 5, 2, 4)[:, :, ::-1].reshape(x.shape)
  aligned = contrast(x, x, 2)
  assert contrast(x, turned, 2) > aligned + 1
  np.testing.assert_allclose(
      contrast(x, turned, 2, pool='mean'),
      contrast(x, x, 2, pool='mean'), rtol=1e-5)


def covariance_by_loops(x, y, over, size):
  if over == 'batch':
    groups = [(x[:, step], y[:, step]) for step in range(11)]
  elif over == 'sequence':
    groups = list(zip(x, y))
  else:
    groups = [
        (x[b, k:k + size], y[b, k:k + size]) for b in range(3)
        for k in range(0, 11 - size + 1, size)]
  return np.mean([(np.cov(a.T) - np.cov(b.T))**2 for a, b in groups])


@pytest.mark.parametrize('over, size', [
    ('batch', 1), ('window', 2), ('window', 5), ('sequence', 1)])
def test_covariance_alignment_is_its_mean(over, size):
  # Groups of fewer and of more samples than features.
  got = losses.covariance_alignment(
      jnp.float32(Z_X), jnp.float32(Z_Y), over, size)
  want = covariance_by_loops(Z_X, Z_Y, over, size)
  np.testing.assert_allclose(got, want, rtol=1e-4)
  x = jnp.float32(Z_X)
  np.testing.assert_allclose(
      losses.covariance_alignment(-x, x + 1, over, size), 0, atol=1e-6)


def aligned(name, z_x, z_y):
  if name == 'contrast':
    return losses.window_contrastive(z_x, z_y, 2)
  return losses.covariance_alignment(z_x, z_y, name, 2)


@pytest.mark.parametrize('name', ['contrast', *losses.GROUPS])
def test_alignments_ignore_order_and_have_finite_slopes(name):
  order = np.array([2, 0, 1])
  x, y = Z_X.astype(np.float32), Z_Y.astype(np.float32)
  slope = jax.jit(jax.vmap(jax.value_and_grad(
      lambda x, y: aligned(name, x, y), (0, 1))))
  values, (found, other) = slope(
      np.stack([x, x[order], x, 0 * x]), np.stack([y, y[order], 0 * y, 0 * y]))
  np.testing.assert_allclose(values[0], values[1], rtol=1e-5)
  assert np.isfinite(found).all() and np.isfinite(other).all()
  direction = np.asarray(found[0])
  lower = x - 1e-2 / np.linalg.norm(direction) * direction
  after, _ = slope(np.stack([lower] * 4), np.stack([y] * 4))
  assert after[0] < values[0]


def test_alignments_of_half_precision_are_computed_in_single():
  x, y = jnp.bfloat16(Z_X), jnp.bfloat16(Z_Y)
  for name in ('contrast', *losses.GROUPS):
    got = aligned(name, x, y)
    assert got.dtype == jnp.float32
    want = aligned(name, x.astype(jnp.float32), y.astype(jnp.float32))
    assert got == want


def descend(rule, loss, s=0., rate=.1, steps=400, **options):
  slope = jax.jit(jax.grad(
      lambda s: losses.weighted(jnp.asarray(loss), s, rule, **options)))
  s = jnp.asarray(s)
  for _ in range(steps):
    s = s - rate * slope(s)
  return s


def weight(rule, s, **options):
  return jax.grad(
      lambda x: losses.weighted(x, jnp.asarray(s), rule, **options))(1.)


def test_the_literal_weight_falls_without_bound():
  one, more = (descend('literal', 2., steps=n) for n in (1, 400))
  assert weight('literal', 0.) == np.float32(.1)
  assert weight('literal', one) < 0
  assert weight('literal', more) < -50


@pytest.mark.parametrize('loss', [.2, 1., 7.6])
def test_the_uncertain_weight_converges_to_one_over_the_loss(loss):
  s = descend('uncertainty', loss)
  np.testing.assert_allclose(s, np.log(loss), atol=1e-3)
  np.testing.assert_allclose(weight('uncertainty', s), 1 / loss, rtol=1e-3)
  value = losses.weighted(jnp.asarray(loss), s, 'uncertainty')
  np.testing.assert_allclose(value, 1 + np.log(loss), atol=1e-3)


@pytest.mark.parametrize('loss, bound', [(1e4, 3.), (1e-4, -3.)])
def test_the_uncertain_weight_stops_at_a_bound_and_returns(loss, bound):
  s = descend('uncertainty', loss, rate=.01, steps=600)
  assert abs(s) >= 3 and np.sign(s) == np.sign(bound)
  np.testing.assert_allclose(
      weight('uncertainty', s), np.exp(-bound), rtol=1e-6)
  # It does not move on, and is not held there when the loss changes.
  assert descend('uncertainty', loss, s, steps=5) == s
  back = descend('uncertainty', 1., np.sign(bound) * 3.5)
  np.testing.assert_allclose(back, 0, atol=1e-3)


def test_fixed_and_softplus_weights():
  assert weight('fixed', 5., alpha=.3) == np.float32(.3)
  assert descend('fixed', 2.) == 0
  start = weight('softplus', 0., alpha=.3, floor=.1)
  np.testing.assert_allclose(start, .3, rtol=1e-6)
  end = weight('softplus', descend('softplus', 2.), alpha=.3, floor=.1)
  assert .1 < end < .15


@pytest.mark.parametrize('call', [
    lambda p: losses.weights('sigma', p.at(T)),
    lambda p: losses.mahalanobis(p, ERROR, T, 'l3'),
    lambda p: losses.best_of(score, 1., jnp.ones([4, 2, 3]), 3),
    lambda p: losses.energy(ERROR, ERROR, 'l1'),
    lambda p: losses.window_contrastive(ERROR, ERROR, 6),
    lambda p: losses.window_contrastive(ERROR, ERROR, 0),
    lambda p: losses.window_contrastive(ERROR, ERROR, 2, pool='max'),
    lambda p: losses.window_contrastive(ERROR, ERROR, 2, similarity='l2'),
    lambda p: losses.window_contrastive(ERROR, ERROR, 2, period=0.),
    lambda p: losses.covariance_alignment(ERROR, ERROR, 'time'),
    lambda p: losses.covariance_alignment(ERROR, ERROR, 'window', 1),
    lambda p: losses.covariance_alignment(ERROR[:1], ERROR[:1]),
    lambda p: losses.weighted(ERROR, ERROR, 'learned'),
    lambda p: losses.weighted(ERROR, ERROR, 'softplus', alpha=.01)])
def test_mistakes_are_named(skeletal, call):
  with pytest.raises(UserError, match='expected'):
    call(skeletal())


@pytest.mark.parametrize('beta', [0.5, 1.0])
def test_smooth_l1_is_the_huber_loss_over_its_width(beta):
  want = optax.losses.huber_loss(ERROR, delta=beta) / beta
  np.testing.assert_allclose(
      losses.smooth_l1(ERROR, beta=beta), want.mean((1, 2)), rtol=1e-6)
  # What is masked has neither a loss nor a part in the mean.
  mask = jnp.array([True, True, False, True, False])[None, :, None]
  np.testing.assert_allclose(
      losses.smooth_l1(ERROR, mask, beta), want[:, [0, 1, 3]].mean((1, 2)),
      rtol=1e-6)
