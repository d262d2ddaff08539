"""Rates, optimisers and the average against numbers worked out otherwise."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from diffax.errors import UserError
from diffax.train import optim

CONSTANT = {'name': 'constant', 'value': 0.01}


def _rates(name, at, **options):
  rate = optim.make_schedule(name, **options)
  return [float(rate(jnp.asarray(step))) for step in at]


@pytest.mark.parametrize('value, hold, every, factor, floor, expected', [
    # The released rates, by epoch counted from 1.
    (5e-3, 10, 1, 0.98, 1e-4, {1: 5e-3, 10: 5e-3, 11: 4.9e-3, 200: 1.076e-4,
                               205: 1e-4, 300: 1e-4}),
    (1e-3, 77, 2, 0.98, 0.0, {77: 1e-3, 78: 9.8e-4, 79: 9.8e-4, 80: 9.604e-4,
                              150: 4.735e-4}),
    (1e-3, 30, 5, 0.85, 1e-4, {30: 1e-3, 31: 8.5e-4, 100: 1.0277e-4,
                               101: 1e-4, 200: 1e-4}),
    (1e-3, 28, 2, 0.85, 1e-4, {28: 1e-3, 29: 8.5e-4, 56: 1.0277e-4,
                               57: 1e-4}),
])
def test_step_decay_gives_the_released_rates(
    value, hold, every, factor, floor, expected
):
  epoch = 7  # steps
  first = [(e - 1) * epoch for e in expected]
  last = [e * epoch - 1 for e in expected]
  options = dict(value=value, factor=factor, floor=floor)
  for steps in (first, last):
    rates = _rates(
        'step_decay', steps, hold=hold * epoch, every=every * epoch, **options
    )
    np.testing.assert_allclose(rates, list(expected.values()), rtol=5e-4)


def test_cosine_rises_and_falls():
  rates = _rates('cosine', range(13), value=2.0, steps=12, warmup=4, end=1.0)
  np.testing.assert_allclose(rates[:5], [0, 0.5, 1, 1.5, 2])
  fall = [1.5 + 0.5 * np.cos(np.pi * k / 8) for k in range(9)]
  np.testing.assert_allclose(rates[4:], fall, rtol=1e-6)


def test_constant_and_cosine_without_warmup():
  assert _rates('constant', [0, 9], value=0.5) == [0.5, 0.5]
  np.testing.assert_allclose(
      _rates('cosine', [0, 5, 10], value=2.0, steps=10), [2, 1, 0], atol=1e-7
  )


def _adam_numpy(params, grads, name, lr, decay, clip, b1=0.9, b2=0.9):
  """Follow PyTorch's published AdamW loop in float64."""
  m = v = w = np.zeros_like(params)
  for n, g in enumerate(grads.astype(np.float64), 1):
    g = g * min(1.0, clip / np.linalg.norm(g))
    params = params * (1 - lr * decay)
    m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
    w = np.maximum(w, v) if name == 'adamw_amsgrad' else v
    root = np.sqrt(w) / np.sqrt(1 - b2**n) + 1e-8
    params = params - lr / (1 - b1**n) * m / root
  return params


@pytest.mark.parametrize('name', ['adam', 'adamw', 'adamw_amsgrad'])
def test_optimisers_follow_pytorch(name):
  draw = np.random.default_rng(0)
  start = draw.normal(size=5)
  # Sizes vary widely, so that the maximum and the clipping both matter.
  grads = draw.normal(size=(60, 5)) * np.exp(draw.normal(size=(60, 1)))
  decay = 0.0 if name == 'adam' else 0.1
  optimiser = optim.optimiser(
      name=name, schedule=CONSTANT, clip=1.0, weight_decay=decay, b2=0.9
  )
  params = jnp.asarray(start, jnp.float32)
  state = optimiser.init(params)
  for g in grads.astype(np.float32):
    updates, state = optimiser.update(jnp.asarray(g), state, params)
    params = optax.apply_updates(params, updates)
  expected = _adam_numpy(start, grads, name, 0.01, decay, 1.0)
  np.testing.assert_allclose(params, expected, rtol=0, atol=2e-6)
  if name == 'adamw_amsgrad':
    plain = _adam_numpy(start, grads, 'adamw', 0.01, decay, 1.0)
    assert np.abs(plain - expected).max() > 1e-3


def test_average_follows_the_released_schedule():
  """Replay the library's counters in plain Python."""
  decay, every, start = 0.995, 10, 100
  weights = np.random.default_rng(1).normal(size=400)
  average, ours, moved, counter = 0.0, jnp.zeros(()), False, 0
  for step, weight in enumerate(weights, 1):
    before, counter = counter, counter + 1
    if before % every == 0:
      if before <= start or not moved:
        average, moved = weight, before > start
      else:
        n = counter - start - 1
        rate = min(decay, 1 - (1 + n) ** (-2 / 3))
        average = rate * average + (1 - rate) * weight
    now = optim.ema_decay(jnp.asarray(step), decay, every, start)
    ours = optim.update_ema(ours, jnp.asarray(weight, jnp.float32), now)
    np.testing.assert_allclose(ours, average, rtol=2e-6, atol=1e-7)


def test_average_decay_saturates():
  moves = [optim.ema_decay(jnp.asarray(s), 0.9, 1, 0) for s in (1, 3, 10, 99)]
  np.testing.assert_allclose(
      moves, [0, 1 - 3 ** (-2 / 3), 1 - 10 ** (-2 / 3), 0.9], rtol=1e-6
  )


@pytest.mark.parametrize('options, named', [
    ({'name': 'sgd', 'schedule': CONSTANT}, 'optim.name'),
    ({'name': 'adam', 'schedule': CONSTANT, 'lr': 1}, 'optim.lr'),
    ({'name': 'adam'}, 'optim.schedule'),
    ({'schedule': CONSTANT}, 'optim.name'),
    ({'name': 'adam', 'schedule': CONSTANT, 'weight_decay': 1}, 'weight_decay'),
    ({'name': 'adam', 'schedule': {'value': 1}}, 'optim.schedule.name'),
    ({'name': 'adam', 'schedule': {'name': 'line'}}, 'optim.schedule.name'),
    ({'name': 'adam', 'schedule': dict(CONSTANT, hold=1)},
     'optim.schedule.hold'),
    ({'name': 'adam', 'schedule': {'name': 'constant'}},
     'optim.schedule.value'),
    ({'name': 'adam', 'schedule': {
        'name': 'step_decay', 'value': 1, 'hold': 1, 'every': 0, 'factor': 1}},
     'optim.schedule.every'),
    ({'name': 'adam', 'schedule': {
        'name': 'cosine', 'value': 1, 'steps': 3, 'warmup': 3}},
     'optim.schedule.steps'),
])
def test_mistakes_are_named(options, named):
  with pytest.raises(UserError, match=named):
    optim.optimiser(**options)
