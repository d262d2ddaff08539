"""The step: what is kept, skipped, reused and drawn."""

import functools

import jax
import numpy as np
import pytest
import toy

from diffax.errors import UserError
from diffax.train import devices
from diffax.train import loop
from diffax.train import optim
from diffax.train import state as states
from diffax.train import step as steps


def _built(system=None):
  system = system or toy.system()
  optimiser = optim.optimiser(**toy.ARGUMENTS['optim'])
  step = steps.make_step(system, optimiser, toy.ARGUMENTS['ema'])
  state = states.create(
      system, optimiser, jax.random.key(0), toy.train()(0)
  )
  return step, state


def _equal(a, b):
  return all(
      np.array_equal(x, y, equal_nan=True)
      for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
  )


def test_a_step_that_is_not_finite_changes_nothing():
  step, state = _built()
  step = jax.jit(step)
  key = jax.random.key(1)
  for i in range(6):
    state, metrics = step(state, toy.train()(i), key)
  assert int(metrics['skipped']) == 0
  after, metrics = step(state, toy.train(bad=[6])(6), key)
  assert not np.isfinite(metrics['loss'])
  assert int(metrics['skipped']) == int(after.skipped) == 1
  assert int(after.step) == 7
  for part in ('params', 'ema', 'opt_state'):
    assert _equal(getattr(after, part), getattr(state, part)), part
  again, metrics = step(after, toy.train()(7), key)
  assert int(again.skipped) == 0
  assert not _equal(again.params, state.params)


def test_an_infinite_gradient_of_a_finite_loss_is_skipped():
  system = toy.system()

  def loss(params, frozen, batch, key):
    value, metrics = system.loss(params, frozen, batch, key)
    # sqrt has an infinite slope at 0.
    return value + jax.numpy.sqrt(0.0 * params['b'][0] ** 2), metrics

  step, state = _built(system._replace(loss=loss))
  after, metrics = jax.jit(step)(state, toy.train()(0), jax.random.key(0))
  assert np.isfinite(metrics['loss'])
  assert int(metrics['skipped']) == 1
  assert _equal(after.params, state.params)


def test_the_average_lags_behind():
  step, state = _built()
  step = jax.jit(step)
  # A fused multiplication and addition rounds once.
  close = functools.partial(
      np.testing.assert_allclose, rtol=1e-6, atol=1e-9
  )
  seen = [state.params]
  for i in range(9):
    state, _ = step(state, toy.train()(i), jax.random.key(i))
    seen.append(state.params)
    if i + 1 in (5, 6):
      # A copy, and then one that stays for a step.
      jax.tree.map(close, state.ema, seen[5])
  # At step 9 the rate is 1 - (1 + 4)^(-2/3).
  rate = 1 - 5 ** (-2 / 3)
  expected = rate * seen[7]['w'] + (1 - rate) * seen[9]['w']
  np.testing.assert_allclose(state.ema['w'], expected, rtol=1e-5)


def test_the_memory_of_the_state_is_reused_and_one_compile_is_enough(caplog):
  step, state = _built()
  mesh = devices.mesh()
  jitted = loop.jit_step(step, loop._Key(0, 'toy'), mesh)
  # A jit owns its results; what `device_put` returns may share its source.
  state = jax.jit(
      lambda s: jax.tree.map(jax.numpy.copy, s),
      out_shardings=devices.replicated(mesh),
  )(state)
  with jax.log_compiles():
    for i in range(40):
      old = state
      state, _ = jitted(state, devices.shard(toy.train()(i), mesh))
      assert all(leaf.is_deleted() for leaf in jax.tree.leaves(old))
  compiled = [
      r for r in caplog.messages
      if 'Finished XLA compilation' in r and 'keyed' in r
  ]
  assert len(compiled) == 1, caplog.messages[:5]


def test_keys_differ_by_seed_name_and_step():
  keys = {
      (seed, name, step): jax.random.key_data(
          jax.random.fold_in(loop._Key(seed, name).make(), step)
      )
      for seed in (0, 1) for name in ('a', 'b') for step in (0, 1)
  }
  assert len({tuple(np.asarray(k)) for k in keys.values()}) == 8


@pytest.mark.parametrize('ema, named', [
    ({'decay': 0.9, 'every': 1}, 'ema.start'),
    ({'decay': 0.9, 'every': 1, 'start': 0, 'beta': 1}, 'ema.beta'),
    ({'decay': 0.9, 'every': 0, 'start': 0}, 'ema.every'),
])
def test_mistakes_are_named(ema, named):
  with pytest.raises(UserError, match=named):
    steps.make_step(
        toy.system(), optim.optimiser(**toy.ARGUMENTS['optim']), ema
    )
