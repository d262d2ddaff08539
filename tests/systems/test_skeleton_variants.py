"""The variants of the paper's tables, and ours: what each setting changes."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from diffax import benchmark
from diffax.body import skeletons
from diffax.errors import UserError
from diffax.systems import skeleton
from diffax.systems import skeleton_noise
from diffax.systems.skeleton_space import Space

PAST, FUTURE, BATCH = 4, 6, 3
BODY = skeletons.AMASS21
INFO = {'skeleton': BODY, 'past': PAST, 'future': FUTURE}
SMALL = {
    'box_size': 1.2,
    'width': 4,
    'encoder_layers': 1,
    'process': {'steps': 4},
    'denoiser': {'width': 6, 'depth': 1, 'heads': 1, 'head_width': 2},
    'sampler': {'name': 'ddpm', 'steps': 2},
    'relaxation': 1,
    'samples': 2,
}
RELEASED = {'width': 192, 'depth': 4, 'heads': 8, 'head_width': 32}
KEY = jax.random.key(0)


@pytest.fixture(scope='module')
def batch():
  rng = np.random.default_rng(0)

  def motion(frames):
    shape = (BATCH, frames, 21, 3)
    return jnp.asarray(0.3 * rng.standard_normal(shape), jnp.float32)

  return {'past': motion(PAST), 'future': motion(FUTURE)}


def build(info=INFO, **changes):
  return skeleton.diffusion(info, **{**SMALL, **changes})


@pytest.fixture(scope='module')
def made(batch):
  """Make parameters of the plain system that are noise, without compiling."""
  rng = np.random.default_rng(1)
  return jax.tree.map(
      lambda x: jnp.asarray(0.4 * rng.standard_normal(x.shape), x.dtype),
      jax.eval_shape(build().init, KEY, batch),
  )


@pytest.fixture(scope='module')
def plain(made):
  """Compile the plain system's functions of a batch, once for all tests."""
  system = build()
  return {
      'loss': jax.jit(lambda batch: system.loss(*made, batch, KEY)[0]),
      'motion': jax.jit(
          lambda past: system.sample(*made, {'past': past}, KEY)['motion']
      ),
  }


@pytest.mark.parametrize('changes, count', [
    ({'denoiser': RELEASED}, 32_135_979),
    # Each of seven attentions has 13 types x 192 x (3 + 1) x 256 weights, two
    # graphs and a norm; what stands in its place 13 x 192 x 192 and one graph.
    ({'denoiser': {**RELEASED, 'attention': False}},
     32_135_979 - 7 * (13 * 192 * (1024 - 192) + 441)),
    # Table 6: with the autoencoder's 2,100,207 these are 8.9 million.
    ({'denoiser': {'width': 128, 'depth': 2, 'heads': 4, 'head_width': 32}},
     6_817_691),
    ({'denoiser': RELEASED, 'past_encoder': 'tuned'}, 32_135_979 + 1_232_292),
    ({'denoiser': RELEASED, 'process': {'correlation': 'latent'}},
     32_135_979 + 1 + 21 + 21**2),
    ({'denoiser': RELEASED, 'process': {'noise': 'isotropic'}}, 32_135_979),
])
def test_sizes_on_amass(changes, count):
  system = build(width=96, encoder_layers=2, **changes)
  shape = jax.ShapeDtypeStruct((1, PAST, 21, 3), jnp.float32)
  example = {'past': shape, 'future': shape}
  params = jax.eval_shape(system.init, KEY, example).params
  assert benchmark.count(params) == count


def test_the_encoder_of_pasts_is_tuned_from_the_trained_one(
    batch, made, plain
):
  tuned, frozen = build(past_encoder='tuned'), made.frozen
  assert build().prepare is None and set(made.params) == {'params'}
  params = tuned.prepare(dict(made.params), frozen, batch, KEY)
  trained = frozen['autoencoder']['encoder']
  jax.tree.map(np.testing.assert_array_equal, params['past_encoder'], trained)
  run = jax.jit(jax.value_and_grad(
      lambda p, batch: tuned.loss(p, frozen, batch, KEY)[0]
  ))
  # At first nothing differs but that the copy learns, too.
  value, grads = run(params, batch)
  np.testing.assert_allclose(value, plain['loss'](batch), rtol=1e-6)
  assert float(optax.tree.norm(grads['past_encoder'])) > 0
  moved = jax.tree.map(lambda x: x + 0.3, params['past_encoder'])
  after, _ = run({**params, 'past_encoder': moved}, batch)
  assert abs(float(after) - float(value)) > 1e-6
  # What is generated are still latents of the frozen encoder.
  find = jax.jit(tuned.encode)
  found = [
      find({'past_encoder': p}, frozen, batch, KEY)['future']
      for p in (moved, trained)
  ]
  np.testing.assert_array_equal(*found)


def test_noise_is_measured_on_the_latents_of_futures(batch, made):
  system = build(process={'correlation': 'latent'})
  params = jax.jit(system.prepare)(made.params, made.frozen, batch, KEY)
  z = jax.jit(system.encode)(params, made.frozen, batch, KEY)['future']
  rows = np.asarray(z - z.mean(0)[None]).transpose(0, 2, 1).reshape(-1, 21)
  sigma = rows.T @ rows
  sigma = 0.9 * sigma + 0.1 * np.trace(sigma) / 21 * np.eye(21)
  held = params['noise']
  found = (held['basis'] * held['values'][None]) @ held['basis'].T
  expected = sigma / np.linalg.eigvalsh(sigma)[-1]
  np.testing.assert_allclose(found, expected, atol=1e-4)
  loss = jax.jit(system.loss)
  value = loss(params, made.frozen, batch, KEY)[0]
  white = {**params, 'noise': skeleton_noise.build(
      BODY, correlation='latent'
  ).unmeasured}
  other = loss(white, made.frozen, batch, KEY)[0]
  assert np.isfinite(value) and abs(float(value - other)) > 1e-3


def test_training_leaves_measured_noise_as_it_is():
  noise = skeleton_noise.build(BODY, correlation='latent')
  z = jax.random.normal(KEY, (8, 21, 5)) * jnp.linspace(1, 3, 21)[None, :, None]
  numbers = noise.measure(z)
  decayed = jax.tree.map(lambda x: 0.7 * x, numbers)
  first, second = noise.process(numbers), noise.process(decayed)
  np.testing.assert_allclose(first.sigma, second.sigma, rtol=1e-3)
  np.testing.assert_allclose(first.basis, second.basis, atol=1e-6)
  assert noise.steps == first.steps == 10
  grads = jax.grad(lambda n: jnp.sum(noise.process(n).sigma))(numbers)
  assert not any(jnp.any(g) for g in jax.tree.leaves(grads))
  unmeasured = noise.process(noise.unmeasured)
  white = skeleton_noise.build(BODY, noise='isotropic').process(None)
  np.testing.assert_allclose(
      unmeasured.sigma, np.broadcast_to(white.sigma, unmeasured.sigma.shape),
      rtol=1e-6
  )


@pytest.mark.parametrize('normalise', ['spectral', 'frobenius'])
@pytest.mark.parametrize('gammas', ['released', 'one'])
def test_measured_noise_is_normalised_like_the_graphs(normalise, gammas):
  settings = {'normalise': normalise, 'gammas': gammas}
  graph = skeleton_noise.build(BODY, **settings).process(None)
  noise = skeleton_noise.build(BODY, correlation='latent', **settings)
  numbers = noise.measure(jax.random.normal(KEY, (8, 21, 5)))
  measured = noise.process(numbers)
  measure = np.max if normalise == 'spectral' else np.mean
  for t in (1, 5, 10):
    np.testing.assert_allclose(
        measure(measured.sigma[t] ** 2), measure(graph.sigma[t] ** 2), rtol=1e-3
    )


def test_bones_of_the_past_are_kept_exactly(batch, made, plain):
  run = jax.jit(build(bones='past').sample)
  after = np.asarray(run(*made, {'past': batch['past']}, KEY)['motion'])
  before = np.asarray(plain['motion'](batch['past']))

  def bones(motion):
    root = np.zeros_like(motion[..., :1, :])
    whole = np.concatenate([root, motion], -2)
    return whole[..., 1:, :] - whole[..., list(BODY.parents[1:]), :]

  lengths = np.linalg.norm(bones(np.asarray(batch['past'])), axis=-1).mean(1)
  found = np.linalg.norm(bones(after), axis=-1)
  np.testing.assert_allclose(
      found, np.broadcast_to(lengths[:, None, None], found.shape), rtol=1e-5
  )
  assert abs(np.linalg.norm(bones(before), axis=-1) - found).max() > 1e-2
  unit = [
      b / np.linalg.norm(b, axis=-1, keepdims=True)
      for b in (bones(before), bones(after))
  ]
  np.testing.assert_allclose(*unit, atol=1e-4)


def test_longer_futures_than_trained_are_drawn_in_windows(batch, made):
  info = {**INFO, 'test_future': 15}
  found = jax.jit(build(info).sample)(*made, {'past': batch['past']}, KEY)
  assert set(found) == {'motion'}
  assert found['motion'].shape == (BATCH, 2, 15, 21, 3)
  first, second = found['motion'][:, 0], found['motion'][:, 1]
  assert float(jnp.abs(first - second).max()) > 0
  truth = jnp.tile(batch['future'], (1, 3, 1, 1))[:, :15]
  guided = build(info, continuation='oracle')
  with pytest.raises(UserError, match='truth of 15 frames'):
    guided.sample(*made, batch, KEY)
  segments = {**batch, 'future': truth}
  chain = jax.eval_shape(guided.sample, *made, segments, KEY)['motion']
  assert chain.shape == (BATCH, 2, 15, 21, 3)


def test_coefficients_are_compared_and_frames_are_drawn(batch, made, plain):
  system, space = build(representation='dct'), Space(1.2, 'dct')
  # The same numbers, as coefficients and as positions in the box.
  seen = {k: 1.2 * space.enter(x) for k, x in batch.items()}
  value = jax.jit(system.loss)(*made, batch, KEY)[0]
  np.testing.assert_allclose(value, plain['loss'](seen), rtol=1e-5)
  past = {'past': batch['past']}
  motion = jax.jit(system.sample)(*made, past, KEY)['motion']
  expected = space.leave(plain['motion'](seen['past']) / 1.2)
  np.testing.assert_allclose(motion, expected, atol=1e-5)
  with pytest.raises(UserError, match=r'buckets = \(6,\)'):
    cut = {**batch, 'future': batch['future'][:, :5]}
    system.loss(*made, cut, KEY)


def test_a_horizon_counts_coefficients(batch, made):
  system = skeleton.autoencoder(
      INFO, box_size=1.2, width=4, encoder_layers=1, representation='dct'
  )
  params, run = made.frozen['autoencoder'], jax.jit(system.loss)
  # The highest of six frequencies.
  waves = np.cos(np.pi * (np.arange(FUTURE) + 0.5) * 5 / FUTURE)
  fast = jnp.asarray(0.1 * waves, jnp.float32)[None, :, None, None]
  other = {**batch, 'future': batch['future'] + fast}

  def loss(motions, horizon):
    cut = {**motions, 'horizon': jnp.full([BATCH], horizon)}
    value, metrics = run(params, {}, cut, KEY)
    assert set(metrics) == {'l1_coefficients'}
    return float(value)

  value, same, differs = loss(batch, 2), loss(other, 2), loss(other, 6)
  np.testing.assert_allclose(value, same, rtol=1e-5)
  assert abs(value - differs) > 1e-3


@pytest.mark.parametrize(('changes', 'word'), [
    ({'bones': 'stiff'}, 'bones: .*found'),
    ({'past_encoder': 'trained'}, 'past_encoder: .*found'),
    ({'continuation': 'best'}, 'continuation: .*found'),
    ({'representation': 'fft'}, 'representation: .*found'),
    ({'denoiser': {'dept': 3}}, 'system.denoiser: .*dept'),
    ({'process': {'gamma': 'one'}}, 'system.process: .*gamma'),
    ({'process': {'correlation': 'latent', 'shrinkage': 0}}, 'shrinkage'),
    ({'process': {'correlation': 'latent', 'normalise': 'no'}}, 'normalise'),
])
def test_wrong_variants_are_refused_by_name(changes, word):
  with pytest.raises(UserError, match=word):
    build(**changes)
