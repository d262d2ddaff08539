"""Longer futures from a draw whose windows are told apart by their numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.errors import UserError
from diffax.systems import continuation

P, F, J, B, K = 2, 4, 3, 2, 5


def walk(key, past, samples):
  """Go on from the last frame by one speed per future, drawn anew."""
  speed = jax.random.normal(key, (len(past), samples, 1, 1, 1))
  frames = jnp.arange(1.0, F + 1)[None, None, :, None, None]
  shape = (len(past), samples, F, J, 3)
  return jnp.broadcast_to(past[:, None, -1:] + speed * frames, shape)


def past_of(frames=P):
  rng = np.random.default_rng(0)
  return jnp.asarray(rng.normal(size=(B, frames, J, 3)), jnp.float32)


def longer(mode, length, past=None, **batch):
  run = jax.jit(lambda key, batch: continuation.continued(
      mode, walk, key, batch, K, F, length
  ))
  past = past_of() if past is None else past
  return run(jax.random.key(0), {'past': past, **batch})


@pytest.mark.parametrize('length', [3, 4, 10, 12])
def test_each_future_goes_on_from_its_own_end(length):
  past = past_of()
  found = np.asarray(longer('own', length, past))
  assert found.shape == (B, K, length, J, 3)
  steps = np.diff(found, axis=2, prepend=np.broadcast_to(
      past[:, None, -1:], (B, K, 1, J, 3)
  ))
  for start in range(0, length, F):
    # One speed within a window, also in its first step from the one before.
    window = steps[:, :, start:start + F]
    expected = np.broadcast_to(window[:, :, :1, :1, :1], window.shape)
    np.testing.assert_allclose(window, expected, atol=1e-5)
  speeds = steps[:, :, ::F, 0, 0]
  assert len(np.unique(speeds.round(4))) == speeds.size


def test_a_past_longer_than_a_window_keeps_older_frames():
  seen = []

  def watch(key, past, samples):
    seen.append(past.shape)
    # The first frame of the past is the whole future.
    first = past[:, None, :1]
    return jnp.broadcast_to(first, (len(past), samples, F, J, 3))

  past = past_of(6)
  found = continuation.own(watch, jax.random.key(0), past, 1, F, 2 * F)
  assert seen[0] == (B, 6, J, 3) and seen[1] == (B, 6, J, 3)
  # 6 + 4 frames, of which the last 6 begin with frame 4 of the past.
  expected = np.broadcast_to(past[:, 4:5], (B, F, J, 3))
  np.testing.assert_array_equal(found[:, 0, F:], expected)


def test_the_oracle_follows_the_truth():
  past = past_of()
  rng = np.random.default_rng(1)
  truth = jnp.asarray(rng.normal(size=(B, 10, J, 3)), jnp.float32)
  found = np.asarray(longer('oracle', 10, past, future=truth))
  assert found.shape == (B, K, 10, J, 3)
  for k in range(1, K):
    np.testing.assert_array_equal(found[:, 0], found[:, k])
  # By hand, from the same keys.
  seen, chain = past, []
  for i, key in enumerate(jax.random.split(jax.random.key(0), 3)):
    futures = np.asarray(walk(key, seen, K))
    part = np.asarray(truth)[:, i * F:(i + 1) * F]
    gaps = np.linalg.norm(
        futures[:, :, :part.shape[1]] - part[:, None], axis=-1
    ).mean((2, 3))
    chosen = futures[np.arange(B), gaps.argmin(1)]
    chain.append(chosen)
    seen = jnp.asarray(np.concatenate([seen, chosen], 1)[:, -P:])
  np.testing.assert_allclose(
      found[:, 0], np.concatenate(chain, 1)[:, :10], atol=1e-5
  )


def test_the_oracle_comes_closer_than_the_best_of_those_that_go_on_alone():
  truth = jnp.zeros((B, 12, J, 3))
  past = jnp.zeros((B, P, J, 3))
  gaps = {
      mode: np.abs(longer(mode, 12, past, future=truth)).mean((2, 3, 4)).min(1)
      for mode in continuation.MODES
  }
  assert (gaps['oracle'] < gaps['own']).all()


@pytest.mark.parametrize('batch, found', [
    ({}, 'found 0'), ({'future': jnp.zeros((B, 6, J, 3))}, 'found 6'),
])
def test_the_oracle_needs_the_truth(batch, found):
  with pytest.raises(UserError, match=f'truth of 10 frames.*{found}'):
    longer('oracle', 10, **batch)


def test_other_modes_are_refused():
  with pytest.raises(UserError, match="'own', 'oracle'.*found 'best'"):
    longer('best', 10)
