"""Members trained together against each trained alone."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from diffax.errors import UserError
from diffax.systems.base import System
from diffax.systems.base import Variables
from diffax.systems.ensemble import ensemble
from diffax.train import optim
from diffax.train import state as states
from diffax.train import step as steps

MEMBERS = 3
ADAM = {
    'name': 'adamw', 'weight_decay': 0.1,
    'schedule': {'name': 'constant', 'value': 0.05},
}
EMA = {'decay': 0.9, 'every': 1, 'start': 0}


def line():
  """Fit y = tanh(x w) b with noisy inputs."""

  def init(key, batch):
    w = jax.random.normal(key, (batch['x'].shape[-1], 2))
    return Variables({'w': w, 'b': jnp.ones(2)}, {})

  def loss(params, frozen, batch, key):
    noise = 0.1 * jax.random.normal(key, batch['x'].shape)
    y = jnp.tanh((batch['x'] + noise) @ params['w']) * params['b'][None]
    value = jnp.mean((y - batch['y']) ** 2)
    return value, {'root': jnp.sqrt(value)}

  def sample(params, frozen, batch, key):
    noise = jax.random.normal(key, batch['x'].shape)
    return {'y': jnp.tanh((batch['x'] + noise) @ params['w'])}

  return System(init, loss, sample)


def batch(step):
  # Members of very different scales would share any common bound.
  rng = np.random.default_rng(step)
  scale = np.array([1, 10, 100])[:, None, None]
  x = rng.normal(size=(MEMBERS, 8, 4))
  y = scale * rng.normal(size=(MEMBERS, 8, 2))
  return {'x': np.float32(x), 'y': np.float32(y)}


def keys(key):
  return [jax.random.fold_in(key, m) for m in range(MEMBERS)]


def trained(system, options, batches, key_of):
  """Take steps with the house's trainer."""
  optimiser = optim.optimiser(**options)
  step = jax.jit(steps.make_step(system, optimiser, EMA))
  state = states.create(
      system, optimiser, key_of(jax.random.key(0)), batches[0]
  )
  for i, one in enumerate(batches, 1):
    state, metrics = step(state, one, key_of(jax.random.key(i)))
  return state, metrics


def member(tree, m):
  return jax.tree.map(lambda x: x[m], tree)


@pytest.mark.parametrize('clip', [None, 0.5])
def test_members_train_as_if_alone(clip):
  batches = [batch(i) for i in range(6)]
  together, metrics = trained(
      ensemble(line(), MEMBERS, clip), ADAM, batches, lambda key: key
  )
  totals = []
  for m in range(MEMBERS):
    alone, mine = trained(
        line(), {**ADAM, 'clip': clip}, [member(b, m) for b in batches],
        lambda key: keys(key)[m],  # noqa: B023
    )
    totals.append(mine)
    for part in ('params', 'ema'):
      chosen = member(getattr(together, part), m)
      for a, b in zip(jax.tree.leaves(chosen),
                      jax.tree.leaves(getattr(alone, part))):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(
      metrics['loss'], sum(x['loss'] for x in totals), rtol=1e-5
  )
  np.testing.assert_allclose(
      metrics['root'], np.mean([x['root'] for x in totals]), rtol=1e-5
  )


def test_a_common_bound_is_not_that_of_each():
  # What the docstring warns of: optim.clip sees the norm over all members.
  batches = [batch(i) for i in range(6)]
  bound = 0.5
  apart, _ = trained(
      ensemble(line(), MEMBERS, bound), ADAM, batches, lambda key: key
  )
  common, _ = trained(
      ensemble(line(), MEMBERS), {**ADAM, 'clip': bound}, batches,
      lambda key: key
  )
  assert np.abs(apart.params['w'] - common.params['w']).max() > 1e-3


def test_the_bound_is_that_of_optax():
  system = ensemble(line(), MEMBERS, clip=0.5)
  one = batch(0)
  params, frozen = system.init(jax.random.key(0), one)
  grads = jax.grad(
      lambda p: system.loss(p, frozen, one, jax.random.key(1))[0]
  )(params)
  norms = [float(optax.tree.norm(member(grads, m))) for m in range(MEMBERS)]
  # The first member is within the bound, the last far beyond.
  assert norms[0] < 0.5 or norms[0] == pytest.approx(0.5, rel=1e-5)
  assert norms[2] == pytest.approx(0.5, rel=1e-5)


def test_one_bad_member_makes_all_skip():
  good, bad = batch(0), batch(1)
  bad['x'][1, 0, 0] = np.nan
  system = ensemble(line(), MEMBERS)
  before, _ = trained(system, ADAM, [good], lambda key: key)
  after, metrics = trained(system, ADAM, [good, bad], lambda key: key)
  assert int(metrics['skipped']) == 1
  jax.tree.map(np.testing.assert_array_equal, before.params, after.params)


def test_members_sample_with_their_own_key():
  system, one = ensemble(line(), MEMBERS), batch(0)
  params, frozen = system.init(jax.random.key(0), one)
  drawn = system.sample(params, frozen, one, jax.random.key(5))['y']
  for m, key in enumerate(keys(jax.random.key(5))):
    alone = line().sample(member(params, m), {}, member(one, m), key)['y']
    np.testing.assert_allclose(drawn[m], alone, rtol=1e-6)


def test_wrong_numbers_are_named():
  with pytest.raises(UserError, match='members'):
    ensemble(line(), 0)
  with pytest.raises(UserError, match='4 members'):
    ensemble(line(), 4).init(jax.random.key(0), batch(0))
