"""Vocoder networks: published sizes, filters, and what a layer may see."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from diffax.nn import vocoder

TINY = vocoder.Size((2, 4), (4, 8), 8, (3,), ((3,),))
KEY = jax.random.key(0)


def parameters(module, *args):
  shapes = jax.eval_shape(module.init, jax.random.key(0), *args)
  return sum(leaf.size for leaf in jax.tree.leaves(shapes))


@pytest.mark.parametrize('name, bands, millions', [
    ('bigvgan_base_24khz_100band', 100, 14),
    ('bigvgan_24khz_100band', 100, 112),
    ('bigvgan_v2_44khz_128band_512x', 128, 122),
])
def test_published_sizes_have_the_published_numbers(name, bands, millions):
  size = vocoder.SIZES[name]
  found = parameters(vocoder.Generator(size), jnp.zeros((1, 4, bands)))
  assert round(found / 1e6) == millions


def test_judges_of_the_published_width_have_the_published_number():
  wave = jnp.zeros((1, 2048))
  judges = vocoder.Discriminators(spectrum_width=32)
  # HiFi-GAN's five judges of periods have 41.1 M.
  assert round(parameters(judges, wave, []) / 1e5) == 411


def test_the_low_pass_is_the_kaiser_design():
  taps = vocoder.low_pass()
  np.testing.assert_allclose(taps, taps[::-1])
  assert taps.sum() == pytest.approx(1)
  # A window of this attenuation, cut at half the band, scaled to sum 1.
  beta = scipy.signal.kaiser_beta(2.285 * 5 * np.pi * 1.2 + 7.95)
  wanted = scipy.signal.firwin(12, 0.5, window=('kaiser', beta))
  np.testing.assert_allclose(taps, wanted, atol=1e-12)


def doubled(x, function):
  """Double, apply and halve with the whole signals, in NumPy."""
  taps = vocoder.low_pass()
  long = np.pad(x, ((0, 0), (5, 5), (0, 0)), mode='edge')
  spread = np.zeros((x.shape[0], 2 * long.shape[1], x.shape[2]))
  spread[:, ::2] = 2 * long
  wide = np.apply_along_axis(np.convolve, 1, spread, taps)
  high = function(wide[:, 15:15 + 2 * x.shape[1]])
  high = np.pad(high, ((0, 0), (5, 6), (0, 0)), mode='edge')
  low = np.apply_along_axis(np.convolve, 1, high, taps, mode='valid')
  return low[:, ::2]


@pytest.mark.parametrize('function', [
    lambda x: x, lambda x: x**2, lambda x: x + np.sin(3 * x) ** 2,
])
def test_two_phases_equal_the_whole_signal(function):
  x = np.random.default_rng(0).normal(size=(2, 9, 3))
  found = vocoder.without_aliases(
      lambda y: jnp.asarray(function(np.asarray(y))), jnp.float32(x)
  )
  np.testing.assert_allclose(found, doubled(x, function), atol=1e-5)


def test_overtones_do_not_fold_back():
  window, time = np.hanning(512), np.arange(512)
  tone = np.sin(2 * np.pi * 0.34 * time)
  # The square has its overtone at 0.68 of the rate, which folds to 0.32.
  fold = round(0.32 * 512)
  alone = np.abs(np.fft.rfft(tone**2 * window))
  kept = doubled(tone[None, :, None], np.square)[0, :, 0]
  kept = np.abs(np.fft.rfft(kept * window))
  assert kept[fold] < 0.25 * alone[fold]
  np.testing.assert_allclose(kept[0], alone[0], rtol=0.2)


@pytest.mark.parametrize('kind', vocoder.ACTIVATIONS)
def test_snake_is_its_formula(kind):
  x = jnp.full((1, 16, 2), 0.7)
  module = vocoder.Snake(kind, logarithmic=True)
  params = module.init(jax.random.key(0), x)['params']
  assert set(params) == ({'alpha', 'beta'} if kind == 'snakebeta'
                         else {'alpha'})
  params = {name: value + (0.5 if name == 'alpha' else -0.2)
            for name, value in params.items()}
  alpha = np.exp(0.5)
  beta = np.exp(-0.2) if kind == 'snakebeta' else alpha
  wanted = 0.7 + np.sin(alpha * 0.7) ** 2 / beta
  # A constant passes every low-pass.
  found = module.apply({'params': params}, x)
  np.testing.assert_allclose(found, wanted, rtol=1e-5)
  plain = vocoder.Snake(kind, logarithmic=False)
  params = {name: jnp.exp(value) for name, value in params.items()}
  np.testing.assert_allclose(
      plain.apply({'params': params}, x), wanted, rtol=1e-5
  )


def test_the_generator_sees_each_frame_where_it_is():
  generator = vocoder.Generator(TINY)
  x = jax.random.normal(jax.random.key(1), (2, 40, 5))
  params = jax.jit(generator.init)(KEY, x)
  apply = jax.jit(generator.apply)
  wave = apply(params, x)
  assert wave.shape == (2, 40 * 8) == (2, 40 * TINY.hop)
  assert np.abs(wave).max() <= 1
  moved = np.abs(apply(params, x.at[0, 20].add(1.0)) - wave)
  changed = np.flatnonzero(moved[0] > 1e-7)
  # About its own samples 160 to 167, and no other wave.
  assert changed.size and abs(changed.mean() - 163.5) < 8
  assert moved[1].max() == 0


def test_the_last_layer_may_be_cut_instead_of_bent():
  size = TINY._replace(
      tanh=False, bias=False, pairs=False, rates=(2,), kernels=(4,)
  )
  generator = vocoder.Generator(size)
  x = 400 * jax.random.normal(jax.random.key(1), (1, 6, 5))
  wave, params = jax.jit(generator.init_with_output)(KEY, x)
  assert 'bias' not in params['params']['out']
  assert 'conv_out_0' not in params['params']['block_0_0']
  assert np.abs(wave).max() == 1.0


def test_a_judge_of_a_period_sees_its_columns():
  judge = vocoder.PeriodDiscriminator(5, width=2)
  wave = jax.random.normal(jax.random.key(1), (2, 403))
  (verdict, features), params = jax.jit(judge.init_with_output)(KEY, wave)
  assert verdict.shape[0] == 2 and len(features) == 5
  assert features[0].shape == (10, 27, 2)
  # Column 2 of wave 1 alone.
  _, moved = jax.jit(judge.apply)(params, wave.at[1, 2::5].add(1.0))
  rows = np.abs(moved[0] - features[0]).max((1, 2)) > 1e-5
  assert np.flatnonzero(rows).tolist() == [7]


def test_judges_return_verdicts_and_features():
  judges = vocoder.Discriminators((2, 3), 1, 2)
  wave = jnp.ones((2, 60))
  spectra = [jnp.ones((2, 16, 9)), jnp.ones((2, 8, 17))]
  found, params = jax.jit(judges.init_with_output)(KEY, wave, spectra)
  assert set(params['params']) == {
      'period_2', 'period_3', 'spectrum_0', 'spectrum_1'
  }
  assert [verdict.shape[0] for verdict, _ in found] == [2] * 4
  assert found[2][1][1].shape == (2, 8, 9, 2)  # Half the frames, all bins.
