"""Self-supervised losses against loops written from their formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.diffusion import alignment
from diffax.errors import UserError

A, B = np.random.default_rng(0).normal(size=(2, 6, 4)) * [1, .3, 2, .1]
LOSSES = [
    alignment.nt_xent, alignment.barlow_twins, alignment.vicreg,
    alignment.latent_mse]


def cosine(x, y):
  return x @ y / np.linalg.norm(x) / np.linalg.norm(y)


def test_unit_leaves_zero_and_has_a_finite_slope_there():
  x = jnp.array([[3., 4.], [0., 0.]])
  np.testing.assert_allclose(alignment.unit(x), [[.6, .8], [0., 0.]], rtol=1e-6)
  slope = jax.grad(lambda x: jnp.sum(alignment.unit(x)))(x)
  assert np.isfinite(slope).all()


def test_cross_entropy_by_hand():
  logits = jnp.log(jnp.array([[1., 3.], [2., 6.]]))
  np.testing.assert_allclose(
      alignment.cross_entropy(logits), np.log([4, 8 / 6]), rtol=1e-6)


@pytest.mark.parametrize('temperature', [.2, .5])
def test_nt_xent_is_its_double_sum(temperature):
  every = np.concatenate([A, B])
  total = 0.
  for i in range(12):
    scores = [
        np.exp(cosine(every[i], every[k]) / temperature) for k in range(12)]
    total -= np.log(scores[(i + 6) % 12] / (sum(scores) - scores[i]))
  got = alignment.nt_xent(jnp.float32(A), jnp.float32(B), temperature)
  np.testing.assert_allclose(got, total / 12, rtol=1e-5)


def test_nt_xent_limits():
  same = jnp.ones([5, 3])
  np.testing.assert_allclose(
      alignment.nt_xent(same, same), np.log(9), rtol=1e-6)
  apart = jnp.eye(5)
  assert alignment.nt_xent(apart, apart, .01) < 1e-6


def barlow_by_loops(a, b, off_diagonal, version):
  if version == 'released':
    a, b = (
        (z - z.mean(0)) / np.sqrt(((z - z.mean(0))**2).mean(0) + 1e-5)
        for z in (a, b))
  total = 0.
  for i in range(4):
    for j in range(4):
      c = sum(a[n, i] * b[n, j] for n in range(6)) / 6
      total += (1 - c)**2 if i == j else off_diagonal * c**2
  return total


@pytest.mark.parametrize('version', alignment.VERSIONS)
def test_barlow_twins_is_its_double_sum(version):
  got = alignment.barlow_twins(jnp.float32(A), jnp.float32(B), .3, version)
  want = barlow_by_loops(A, B, .3, version)
  np.testing.assert_allclose(got, want, rtol=1e-4)


def test_barlow_twins_of_uncorrelated_features_is_zero():
  # Columns of a Hadamard matrix.
  z = jnp.array([[1., 1, 1], [-1, 1, -1], [1, -1, -1], [-1, -1, 1]])
  np.testing.assert_allclose(alignment.barlow_twins(z, z), 0, atol=1e-8)
  # Released standardising forgives scale and offset, the paper's does not.
  moved = 5 * z + 2
  assert alignment.barlow_twins(moved, z) < 1e-4
  assert alignment.barlow_twins(moved, z, version='paper') > 10


def vicreg_by_loops(a, b, weights, gamma, hinge, reduction):
  n, d = a.shape
  distance = sum((a[k, i] - b[k, i])**2 for k in range(n) for i in range(d))
  short, off = 0., 0.
  for z in (a, b):
    for i in range(d):
      lack = max(0, gamma - np.sqrt(z[:, i].var(ddof=1) + 1e-4))
      short += lack if hinge == 'released' else lack**2
    c = np.cov(z.T) if reduction == 'released' else z.T @ z / n
    off += sum(c[i, j]**2 for i in range(d) for j in range(d) if i != j)
  if reduction == 'released':
    distance, short, off = distance / n / d, short / d / 2, off / d
  return weights[0] * distance + weights[1] * short + weights[2] * off


@pytest.mark.parametrize('reduction', alignment.VERSIONS)
@pytest.mark.parametrize('hinge', alignment.VERSIONS)
@pytest.mark.parametrize('weights', [(1., 0., 0.), (0., 1., 0.), (0., 0., 1.),
                                     (25., 25., 1.)])
def test_vicreg_is_its_three_sums(weights, hinge, reduction):
  got = alignment.vicreg(
      jnp.float32(A), jnp.float32(B), weights[0], weights[1], weights[2],
      1.2, hinge, reduction)
  want = vicreg_by_loops(A, B, weights, 1.2, hinge, reduction)
  np.testing.assert_allclose(got, want, rtol=1e-5)


def test_vicreg_of_collapsed_latents_is_its_hinge():
  same = jnp.ones([4, 3])
  np.testing.assert_allclose(
      alignment.vicreg(same, same), 25 * (1 - .01), rtol=1e-6)


def test_latent_mse():
  x, y = jnp.zeros([2, 3, 4]), jnp.full([2, 3, 4], 3.)
  assert alignment.latent_mse(x, y) == 9


@pytest.mark.parametrize('loss', LOSSES)
def test_order_of_the_batch_does_not_count(loss):
  order = np.random.default_rng(1).permutation(6)
  np.testing.assert_allclose(
      loss(jnp.float32(A[order]), jnp.float32(B[order])),
      loss(jnp.float32(A), jnp.float32(B)), rtol=1e-5)
  # But pairs do.
  assert abs(loss(jnp.float32(A[order]), jnp.float32(B))
             - loss(jnp.float32(A), jnp.float32(B))) > 1e-3


@pytest.mark.parametrize('loss', LOSSES)
def test_descent_on_one_modality_aligns_it(loss):
  b = jnp.float32(B)
  slope = jax.jit(jax.value_and_grad(loss))
  start, direction = slope(jnp.float32(A), b)
  step = 1e-3 / jnp.linalg.norm(direction)
  assert slope(jnp.float32(A) - step * direction, b)[0] < start


@pytest.mark.parametrize('loss', LOSSES)
def test_gradients_are_finite_at_zero_and_under_vmap(loss):
  zeros = jnp.zeros([3, 6, 4])
  both = jnp.stack([jnp.float32(A), jnp.zeros([6, 4]), jnp.float32(B)])
  slopes = jax.jit(jax.vmap(jax.grad(loss, (0, 1))))(both, zeros)
  assert all(np.isfinite(slope).all() for slope in slopes)


def test_more_than_two_modalities():
  latents = [jnp.full([1, 2], v) for v in (0., 2., 7.)]
  np.testing.assert_array_equal(alignment.centroid(latents), [[3, 3]])
  assert alignment.align(alignment.latent_mse, latents) == (4 + 49 + 25) / 3
  got = alignment.align(alignment.latent_mse, latents, 'centroid')
  np.testing.assert_allclose(got, (9 + 1 + 16) / 3)

  def first(a, b):
    return a[0, 0] + 0 * b[0, 0]

  # Of a pair, the earlier modality comes first.
  np.testing.assert_allclose(alignment.align(first, latents), (0 + 0 + 2) / 3)


@pytest.mark.parametrize('call', [
    lambda z: alignment.barlow_twins(z, z, version='original'),
    lambda z: alignment.vicreg(z, z, hinge='squared'),
    lambda z: alignment.vicreg(z, z, reduction='sum'),
    lambda z: alignment.vicreg(z[:1], z[:1]),
    lambda z: alignment.align(alignment.latent_mse, [z]),
    lambda z: alignment.align(alignment.latent_mse, [z, z], 'all')])
def test_mistakes_are_named(call):
  with pytest.raises(UserError, match='expected'):
    call(jnp.ones([2, 3]))
