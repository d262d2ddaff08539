"""The encoder against its own definition on shorter windows, and loops."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.metrics import ts2vec

SMALL = ts2vec.Encoder(features=6, hidden=4, depth=2)
X = jax.random.normal(jax.random.key(0), (3, 12, 2))
INIT, APPLY = jax.jit(SMALL.init), jax.jit(SMALL.apply)
# Compiled once for every overlap; op by op it is slow.
LOSS = jax.jit(ts2vec.hierarchical_loss)
SLOPE = jax.jit(jax.grad(ts2vec.hierarchical_loss))


@functools.cache
def params():
  return INIT(jax.random.key(1), X, jnp.ones((3, 12), bool))['params']


def encoded(x, inside=None):
  inside = jnp.ones(x.shape[:2], bool) if inside is None else inside
  return jnp.asarray(APPLY({'params': params()}, x, inside))


def naive_loss(z, other):
  """Follow Algorithm 2 of the paper, one softmax at a time."""
  def pull(anchor, partner, candidates):
    return np.log(np.sum(np.exp(candidates @ anchor))) - anchor @ partner

  def level(z, other):
    batch, length, _ = z.shape
    views, found = np.stack([z, other]), []
    for v in range(2):
      for b in range(batch):
        for t in range(length):
          anchor, partner = views[v, b, t], views[1 - v, b, t]
          steps = [
              views[w, b, s] for w in range(2) for s in range(length)
              if (w, s) != (v, t)
          ]
          series = [
              views[w, c, t] for w in range(2) for c in range(batch)
              if (w, c) != (v, b)
          ]
          found.append(
              pull(anchor, partner, np.array(steps))
              + pull(anchor, partner, np.array(series))
          )
    return np.mean(found) / 2

  losses = [level(z, other)]
  while z.shape[1] > 1:
    even = z.shape[1] // 2 * 2
    z, other = (np.maximum(x[:, :even:2], x[:, 1:even:2]) for x in (z, other))
    losses.append(level(z, other))
  return np.mean(losses)


@pytest.mark.parametrize('span', [(0, 12), (0, 5), (3, 9), (7, 12)])
def test_a_masked_window_is_a_shorter_one(span):
  start, stop = span
  inside = jnp.zeros((3, 12), bool).at[:, start:stop].set(True)
  found = encoded(X, inside)
  np.testing.assert_allclose(
      found[:, start:stop], encoded(X[:, start:stop]), atol=1e-6
  )
  outside = np.delete(np.asarray(found), np.arange(start, stop), axis=1)
  assert not outside.any()


def test_a_step_sees_as_far_as_the_dilations_reach():
  # Two convolutions of width 3 in blocks of dilation 1, 2 and 4.
  x = jnp.zeros((1, 41, 2))
  apart = np.asarray(encoded(x.at[0, 20].set(1.0)) - encoded(x))
  reached = np.flatnonzero(np.abs(apart[0]).max(-1) > 0)
  assert (reached.min(), reached.max()) == (20 - 14, 20 + 14)


@pytest.mark.parametrize('count', [12, 11, 7, 2, 1])
def test_the_loss_is_that_of_the_overlap_alone(count):
  z, other = np.random.default_rng(0).normal(size=(2, 3, 12, 4))
  expected = naive_loss(z[:, :count], other[:, :count])
  found = LOSS(jnp.array(z), jnp.array(other), count)
  np.testing.assert_allclose(found, expected, rtol=1e-5)
  # What lies behind the overlap has no slope either.
  slope = SLOPE(jnp.array(z), jnp.array(other), count)
  assert np.isfinite(slope).all() and not slope[:, count:].any()


def test_equal_views_that_stand_apart_cost_least():
  z = 9 * jnp.eye(16).reshape(2, 8, 16)
  assert LOSS(z, z, 8) < 1e-6
  assert LOSS(z, z[:, ::-1], 8) > 1


def test_training_lowers_the_loss_and_repeats():
  time = jnp.arange(24) / 24 * 2 * jnp.pi
  phase = jnp.linspace(0, 6, 12)[:, None]
  windows = jnp.sin(2 * time[None] + phase)[..., None]
  fit = jax.tree_util.Partial(ts2vec.fit, SMALL)
  (once, losses), (again, _) = (
      fit(jax.random.key(0), windows, 150, 5, 1e-2) for _ in range(2)
  )
  assert losses[-30:].mean() < 0.9 * losses[:10].mean()
  jax.tree.map(np.testing.assert_array_equal, once, again)


def test_what_is_returned_is_the_mean_over_iterations():
  # With one batch of all windows, iterations of a longer run are prefixes.
  runs = [
      ts2vec.fit(SMALL, jax.random.key(0), X, n, 3, 1e-2)[0] for n in (1, 2)
  ]
  start = INIT(
      jax.random.split(jax.random.key(0), 3)[0], X[:1],
      jnp.ones((1, 12), bool),
  )['params']
  one, two = (
      np.concatenate([
          np.ravel(x) for x in jax.tree.leaves(
              jax.tree.map(lambda a, b: a - b, run, start)
          )
      ]) for run in runs
  )
  # Adam's first step is of the rate, whatever the slope; the mean of the
  # first and the second parameters lies at most half a step further.
  assert np.abs(one).max() == pytest.approx(1e-2, rel=0.05)
  assert np.abs(two - one).max() <= 0.5e-2 * 1.05
  assert np.abs(two - one).max() > 0.3e-2


def test_latents_do_not_depend_on_the_batches():
  latents = ts2vec.encode(SMALL, params(), X, batch_size=2)
  np.testing.assert_allclose(latents, encoded(X).max(1), atol=1e-6)
  np.testing.assert_allclose(
      ts2vec.encode(SMALL, params(), X[::-1], batch_size=3), latents[::-1],
      atol=1e-6,
  )


def test_a_window_longer_than_the_dilation_is_no_condition():
  assert encoded(X[:, :2]).shape == (3, 2, 6)


def test_iterations_as_released():
  assert ts2vec.released_iterations(100_000) == 200
  assert ts2vec.released_iterations(100_001) == 600
