"""Guidance decorators against their formulas."""

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

T = jnp.array([3, 3])
X = jax.random.normal(jax.random.key(0), (2, 5, 3))


def test_in_basis_conjugates(skeletal):
  forward = skeletal()

  def denoise(x, t):
    return jnp.tanh(x) * t[:, None, None]

  got = guidance.in_basis(denoise, forward)(forward.to_basis(X), T)
  np.testing.assert_allclose(
      forward.from_basis(got), denoise(X, T), atol=1e-5)


def test_in_basis_takes_trees(skeletal):
  forward, plain = skeletal(), process.isotropic(schedules.cosine(10), 2)
  both = guidance.in_basis(lambda x, t: x, (forward, plain))
  got = both((X, X), T)
  np.testing.assert_allclose(got[0], X, atol=1e-5)
  np.testing.assert_array_equal(got[1], X)


def test_clip_x0():
  clipped = guidance.clip_x0(lambda x, t: {'a': 3 * x['a']}, -.5, 1.)
  got = clipped({'a': X}, T)['a']
  np.testing.assert_array_equal(got, np.clip(3 * X, -.5, 1.))
  assert got.min() == -.5 and got.max() == 1.


@pytest.mark.parametrize('scale', [0., 1., 3.])
def test_classifier_free_in_x0_is_that_of_the_noise(skeletal, scale):
  level = skeletal().at(T)
  x0s = jax.random.normal(jax.random.key(1), (2, *X.shape))
  guided = guidance.classifier_free(
      lambda x, t: x0s[0], lambda x, t: x0s[1], scale)
  noises = [gaussian.to_noise(x0, X, level) for x0 in x0s]
  mixed = noises[1] + scale * (noises[0] - noises[1])
  np.testing.assert_allclose(
      guided(X, T), gaussian.to_x0('noise', mixed, X, level), atol=1e-4)


def expert(factor):
  def denoise(x, t, condition):
    return factor * x if condition is None else factor * x + condition

  return denoise


def test_cross_exchanges_after_the_threshold():
  denoise = guidance.cross(expert(.5), expert(-2.), 3., 3)
  first, second = X, 2 * X
  early = denoise((first, second), jnp.array([4, 4]))
  np.testing.assert_allclose(early[0], .5 * first)
  np.testing.assert_allclose(early[1], -2. * second)
  late = denoise((first, second), jnp.array([3, 1]))
  # null + 3 (conditional - null), conditional = null + the other's null.
  np.testing.assert_allclose(
      late[0], .5 * first + 3 * (-2. * second), rtol=1e-5)
  np.testing.assert_allclose(
      late[1], -2. * second + 3 * (.5 * first), rtol=1e-5)
  mixed = denoise((first, second), jnp.array([4, 3]))
  for got, before, after in zip(mixed, early, late):
    np.testing.assert_array_equal(got[0], before[0])
    np.testing.assert_array_equal(got[1], after[1])


def test_cross_guides_joint_generation():
  forward = process.isotropic(schedules.cosine(10), 1)
  pull = guidance.cross(
      lambda x, t, c: jnp.ones_like(x) if c is None else c,
      lambda x, t, c: jnp.zeros_like(x) if c is None else c, 1., 5)
  first, second = samplers.sample(
      jax.random.key(0), (forward, forward), pull, samplers.ddim(),
      samplers.timesteps(10, 10), ((2, 4), (2, 4)))
  np.testing.assert_allclose(first, 0, atol=1e-6)
  np.testing.assert_allclose(second, 1, atol=1e-6)


@pytest.mark.parametrize('part', ['frames', 'joints'])
def test_inpaint_ends_at_the_known_part(skeletal, part):
  forward = skeletal()
  mask = jnp.zeros(X.shape, bool)
  mask = mask.at[:, :, :1].set(True) if part == 'frames' else (
      mask.at[:, 1:3].set(True))
  known = jnp.where(mask, X, jnp.nan)
  denoise = guidance.inpaint(lambda x, t: .5 * x, known, mask)
  got = samplers.sample(
      jax.random.key(0), forward, denoise, samplers.ddpm(),
      samplers.timesteps(10, 10), X.shape)
  np.testing.assert_allclose(got[mask], X[mask], atol=2e-6)
  assert np.isfinite(got).all() and np.abs(got[~mask] - X[~mask]).max() > .1


def test_inpaint_keeps_the_known_part_on_the_forward_process():
  forward = process.isotropic(schedules.cosine(10), 1)
  known = jnp.full([4000, 2], 2.)
  mask = jnp.broadcast_to(jnp.array([[True, False]]), known.shape)
  denoise = guidance.inpaint(lambda x, t: 0 * x, known, mask)
  x = samplers.sample(
      jax.random.key(0), forward, denoise, samplers.ddpm(),
      jnp.array([10, 8, 5]), known.shape)[:, 0]
  np.testing.assert_allclose(x.mean(), 2 * forward.alpha[5, 0], atol=.05)
  np.testing.assert_allclose(x.std(), forward.sigma[5, 0], rtol=.06)


def edge(expert, forward, times, x, size):
  """Generate as EDGE released it: windows that copy halves at every step."""
  half = size // 2
  windows = np.stack([
      x[0, i:i + size] for i in range(0, x.shape[1] - half, half)
  ])
  for t, s in zip(times[:-1], times[1:]):
    row = jnp.full(len(windows), t)
    x0 = np.asarray(expert(jnp.asarray(windows), row, None))
    at, to = ((float(forward.alpha[i, 0, 0]), float(forward.sigma[i, 0, 0]))
              for i in (t, s))
    noise = (windows - at[0] * x0) / at[1]
    windows = to[0] * x0 + to[1] * noise
    windows[1:, :half] = windows[:-1, half:]
  return np.concatenate([windows[0], *(w[half:] for w in windows[1:])])


def smear(x, t, condition):
  """Mix all steps of a window, so that windows matter."""
  del condition
  share = jnp.mean(x, axis=1, keepdims=True)
  return jnp.tanh(x + share) * (1 + t[:, None, None] / 20)


def test_windows_are_those_of_edge():
  forward = process.isotropic(schedules.cosine(10), 2)
  times = samplers.timesteps(10, 5)
  x = np.random.default_rng(0).normal(size=(1, 12, 2)).astype(np.float32)
  expert = guidance.windowed(smear, 4)
  got = samplers.reverse(
      jax.random.key(0), forward, lambda x, t: expert(x, t, None),
      samplers.ddim(), times, jnp.asarray(x))
  np.testing.assert_allclose(
      got[0], edge(smear, forward, times, x, 4), atol=1e-5)


@pytest.mark.parametrize('blend, want', [
    ('first', [0, 0, 0, 0, 2, 2, 3]), ('mean', [0, 0, 1, 5 / 3, 2.5, 2.5, 3])])
def test_windows_of_any_length(blend, want):
  def numbered(x, t, condition):
    # The condition is cut like the series; windows are rows of one batch.
    assert x.shape[1] == condition.shape[1] == 4
    np.testing.assert_array_equal(t, 3)
    return jnp.broadcast_to(condition[:, :1], x.shape)

  place = jnp.arange(7.0)[None, :, None].repeat(2, 0)
  got = guidance.windowed(numbered, 4, blend)(place, T, place)[1, :, 0]
  # Windows begin at 0, 2 and 3.
  np.testing.assert_allclose(got, want, rtol=1e-6)


def test_a_short_series_is_one_window():
  got = guidance.windowed(smear, 8)(X, T, None)
  np.testing.assert_array_equal(got, smear(X, T, None))
  with pytest.raises(UserError, match='windows'):
    guidance.windowed(smear, 1)
  with pytest.raises(UserError, match='windows'):
    guidance.windowed(smear, 4, 'last')
