"""Rhythmic contrast against loops, its limits, and where it pulls."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.diffusion import rhythmic
from diffax.errors import UserError

OPTIONS = {'clip': 4, 'draws': 16, 'categories': 4, 'clips': 4}
BATCH, LENGTH, WIDTH = 3, 40, 5


def noise(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def pair():
  amplitude = np.random.default_rng(2).uniform(size=(BATCH, LENGTH))
  return (
      noise(BATCH, LENGTH, WIDTH), noise(BATCH, LENGTH, WIDTH, seed=1),
      jnp.asarray(amplitude, jnp.float32),
  )


def by_loops(z_a, z_m, starts, clip, tau, groups):
  """Return Eq. 2, with negatives from the pairs of each group."""

  def pooled(z, b, start):
    c = z[b, start:start + clip].max(0)
    return c / np.linalg.norm(c)

  total, count = 0.0, 0
  for group in groups:
    clips = [(b, s) for b in group for s in np.asarray(starts[b])]
    a, m = (np.stack([pooled(z, *c) for c in clips]) for z in (z_a, z_m))
    for i in range(len(clips)):
      for x, y in ((a, m), (m, a)):
        scores = y @ x[i] / tau
        total += np.log(np.exp(scores).sum()) - scores[i]
        count += 1
  return total / count


@pytest.mark.parametrize('batch_negatives', [False, True])
def test_contrast_by_loops(batch_negatives):
  z_a, z_m, amplitude = pair()
  key = jax.random.key(0)
  got, share = rhythmic.contrast(
      z_a, z_m, amplitude, key, temperature=0.2,
      batch_negatives=batch_negatives, **OPTIONS,
  )
  starts = rhythmic.choose(key, amplitude, *OPTIONS.values())
  groups = [range(BATCH)] if batch_negatives else [[b] for b in range(BATCH)]
  want = by_loops(z_a, z_m, starts, OPTIONS['clip'], 0.2, groups)
  np.testing.assert_allclose(got, want, rtol=1e-5)
  assert 0 <= share < 1


def test_clips_are_of_different_categories():
  amplitude = pair()[2]
  key = jax.random.key(3)
  draws, categories, clip = 24, 6, 3
  chosen = rhythmic.choose(key, amplitude, clip, draws, categories, 9)
  drawn = np.asarray(jax.random.randint(
      jax.random.split(key, 3)[0], (BATCH, draws), 0, LENGTH - clip + 1
  ))
  for b in range(BATCH):
    largest = [amplitude[b, s:s + clip].max() for s in drawn[b]]
    order = drawn[b][np.argsort(largest, kind='stable')]
    members = order.reshape(categories, -1)
    # The same start may be drawn twice, and so have two categories.
    where = [
        {c for c in range(categories) if s in members[c]}
        for s in np.asarray(chosen[b])
    ]
    assert all(where)
    one_each = where[:categories]
    assert set().union(*one_each) == set(range(categories))


def test_all_draws_are_chosen_if_they_are_as_many():
  amplitude = pair()[2]
  key = jax.random.key(4)
  chosen = rhythmic.choose(key, amplitude, 4, 8, 8, 8)
  drawn = jax.random.randint(
      jax.random.split(key, 3)[0], (BATCH, 8), 0, LENGTH - 3
  )
  np.testing.assert_array_equal(np.sort(chosen), np.sort(drawn))


def test_its_limits():
  amplitude = pair()[2]
  same = jnp.ones((BATCH, LENGTH, WIDTH))
  for negatives, count in ((False, 4), (True, 4 * BATCH)):
    loss, _ = rhythmic.contrast(
        same, same, amplitude, jax.random.key(0), batch_negatives=negatives,
        **OPTIONS,
    )
    np.testing.assert_allclose(loss, np.log(count), rtol=1e-5)
  z = noise(BATCH, LENGTH, 64)
  loss, share = rhythmic.contrast(
      z, z, amplitude, jax.random.key(1), temperature=0.01,
      **{**OPTIONS, 'clip': 1},
  )
  assert loss < 0.8 and share > 0.7


def test_a_step_down_brings_clips_to_their_own():
  z_a, z_m, amplitude = pair()

  def loss(z):
    return rhythmic.contrast(
        z_a, z, amplitude, jax.random.key(0), temperature=0.2, **OPTIONS
    )[0]

  def own(z):
    starts = rhythmic.choose(
        jax.random.key(0), amplitude, *OPTIONS.values()
    )
    a, m = (rhythmic.pool(y, starts, OPTIONS['clip']) for y in (z_a, z))
    return jnp.mean(jnp.sum(a * m, axis=-1))

  stepped = z_m - 0.5 * jax.jit(jax.grad(loss))(z_m)
  assert own(stepped) > own(z_m)
  assert loss(stepped) < loss(z_m)


@pytest.mark.parametrize('change', [
    {'clip': 41}, {'clip': 0}, {'draws': 15}, {'clips': 1}, {'clips': 17},
    {'categories': 0},
])
def test_mistakes_are_named(change):
  with pytest.raises(UserError, match='contrast'):
    rhythmic.contrast(*pair(), jax.random.key(0), **{**OPTIONS, **change})
