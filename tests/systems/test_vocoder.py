"""Vocoders: one gradient for two players, and mels that must be their own."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from diffax import signal
from diffax.errors import UserError
from diffax.systems import vocoder

SMALL = {'rates': (16, 16), 'kernels': (32, 32), 'width': 8, 'blocks': (3,),
         'dilations': ((1,),), 'pairs': False}
OPTIONS = {'size': SMALL, 'periods': (), 'period_width': 1,
           'spectrum_width': 1, 'resolutions': ((64, 32),)}
INFO = {'rate': 16000, 'samples': 1024}


def batch(step=0):
  time = np.arange(1024) / 16000
  waves = [0.5 * np.sin(2 * np.pi * f * time) for f in (220.0, 550.0)]
  return {'wave': np.float32(waves), 'step': np.full(2, step, np.int32)}


@pytest.fixture(scope='module')
def made():
  system = vocoder.vocoder(INFO, start=10, **OPTIONS)
  params, frozen = jax.jit(system.init)(jax.random.key(0), batch())
  assert frozen == {}
  return system, params


@pytest.fixture(scope='module')
def gradient(made):
  return jax.jit(jax.grad(made[0].loss, has_aux=True))


def largest(tree):
  return max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(tree))


def test_one_gradient_is_that_of_both_players(made, gradient):
  system, params = made
  model = system.loss.__self__
  grads, metrics = gradient(params, {}, batch(10), jax.random.key(0))
  wave = batch()['wave']
  bands = signal.log_mel(wave, signal.MAA)

  def of_judges(judges):
    made = model.vocoder.apply(params['generator'], bands, None)
    true, false = (model._judge(judges, x) for x in (wave, made))
    return vocoder.judged(true, false)

  def of_generator(generator):
    made = model.vocoder.apply(generator, bands, None)
    true, false = (model._judge(params['judges'], x) for x in (wave, made))
    heard = signal.log_mel(made, signal.MAA)
    return (
        45 * np.log(10) * jnp.mean(jnp.abs(heard - bands))
        + vocoder.pleased(false) + 2 * vocoder.apart(false, true)
    )

  wanted = jax.jit(lambda p: {
      'judges': jax.grad(of_judges)(p['judges']),
      'generator': jax.grad(of_generator)(p['generator']),
  })(params)
  for part, tree in wanted.items():
    scale = largest(tree)
    assert scale > 0
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4 * scale),
        grads[part], tree
    )
  assert set(metrics) == {'mel', 'adversarial', 'feature', 'judges'}


def test_the_generator_heeds_its_judges_from_the_start_step(made, gradient):
  system, params = made
  early, late = (
      gradient(params, {}, batch(step), jax.random.key(0))[0]
      for step in (9, 10)
  )
  jax.tree.map(
      np.testing.assert_array_equal, early['judges'], late['judges']
  )
  gap = jax.tree.map(jnp.subtract, early['generator'], late['generator'])
  assert largest(gap) > 0


def test_training_brings_the_mels_together(made, gradient):
  system, params = made
  optimiser = optax.adam(5e-3, b1=0.8, b2=0.99)

  @jax.jit
  def move(params, state, grads):
    updates, state = optimiser.update(grads, state)
    return optax.apply_updates(params, updates), state

  state, values = optimiser.init(params), []
  for step in range(15):
    grads, metrics = gradient(params, {}, batch(step), jax.random.key(0))
    params, state = move(params, state, grads)
    values.append(float(metrics['mel']))
  assert values[-1] < 0.7 * values[0]


def test_samples_are_of_the_mel_that_is_given(made):
  system, params = made
  sample = jax.jit(system.sample)
  wave = sample(params, {}, {'wave': batch()['wave']}, jax.random.key(0))
  mels = signal.log_mel(batch()['wave'], signal.MAA)
  same = sample(params, {}, {'music': mels}, jax.random.key(1))
  assert wave['wave'].shape == (2, 1024)
  np.testing.assert_allclose(wave['wave'], same['wave'], atol=1e-6)
  longer = jnp.concatenate([mels, mels], 1)
  assert sample(params, {}, {'music': longer}, jax.random.key(1))[
      'wave'].shape == (2, 2048)
  # The trained generator is a vocoder of the table.
  built = vocoder.VOCODERS['bigvgan'](size=SMALL)
  np.testing.assert_allclose(
      built.apply(params['generator'], mels, jax.random.key(0)),
      same['wave'], atol=1e-6
  )


def test_every_vocoder_has_the_mel_that_it_names():
  built = vocoder.VOCODERS['griffin_lim']('make_an_audio', iterations=2)
  assert built.init(jax.random.key(0)) == {}
  waves = built.apply({}, jnp.full((2, 8, 80), -2.0), jax.random.key(0))
  assert waves.shape == (2, 8 * 256)
  assert set(vocoder.VOCODERS) == {'griffin_lim', 'bigvgan'}
  for name, build in vocoder.VOCODERS.items():
    made = build('make_an_audio')
    signal.check_mel(made.mel, signal.MAA, name)
    with pytest.raises(UserError, match='rate: expected 16000, found 24000'):
      signal.check_mel(
          made.mel, signal.MELS['bigvgan_24khz_100band'], name
      )


@pytest.mark.parametrize('change, words', [
    ({'mel': 'bigvgan_22khz_80band'}, 'waves at 22050 Hz, .* at 16000'),
    ({'mel': 'mel'}, 'make_an_audio'),
    ({'size': 'tiny'}, "size: expected one of .*'small'.*found 'tiny'"),
    ({'size': SMALL | {'rates': (16, 8), 'kernels': (32, 16)}},
     r'hop of the mel, 256, found \(16, 8\) \(128\)'),
    ({'size': SMALL | {'width': 6}}, 'width: expected a multiple of 4'),
    ({'size': SMALL | {'blocks': (4,)}}, 'blocks: expected odd'),
    ({'size': SMALL | {'depth': 1}}, r"unknown or missing \['depth'\]"),
    ({'resolutions': ((4096, 64),)}, 'at least 4096, found 1024'),
])
def test_wrong_settings_are_named(change, words):
  with pytest.raises(UserError, match=words):
    vocoder.vocoder(INFO, **OPTIONS | change)


def test_wrong_mels_are_named():
  made = vocoder.bigvgan(size=SMALL)
  params = jax.eval_shape(made.init, jax.random.key(0))
  with pytest.raises(UserError, match=r'\[B, T, 80\], found \[4, 80\]'):
    made.apply(params, jnp.zeros((4, 80)), jax.random.key(0))
