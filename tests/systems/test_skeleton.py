"""SkeletonDiffusion: sizes, losses, the choice of the best, samples."""

import functools

from experiments import skeleton_amass
from experiments import skeleton_cmu
from experiments import skeleton_quickstart
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax import benchmark
from diffax import config as configs
from diffax.body import skeletons
from diffax.errors import UserError
from diffax.systems import skeleton
from diffax.systems import skeleton_noise
from diffax.systems import SYSTEMS

PAST, FUTURE, BATCH = 4, 6, 3
INFO = {'skeleton': skeletons.AMASS21, 'past': PAST, 'future': FUTURE}
SMALL = {
    'box_size': 1.2,
    'width': 8,
    'encoder_layers': 1,
    'process': {},
    'denoiser': {'width': 12, 'depth': 1, 'heads': 2, 'head_width': 4},
    'sampler': {'name': 'ddpm', 'steps': 10},
    'relaxation': 5,
    'samples': 3,
}


@pytest.fixture(scope='module')
def batch():
  rng = np.random.default_rng(0)

  def motion(frames):
    shape = (BATCH, frames, 21, 3)
    return jnp.asarray(0.3 * rng.standard_normal(shape), jnp.float32)

  return {'past': motion(PAST), 'future': motion(FUTURE)}


def _diffusion(**changes):
  return skeleton.diffusion(INFO, **{**SMALL, **changes})


@pytest.fixture(scope='module')
def start(batch):
  """Return variables of `_diffusion()`, whatever its noise and sampler."""
  return jax.jit(_diffusion().init)(jax.random.key(0), batch)


@pytest.fixture(scope='module')
def autoencoder(batch):
  """Return an autoencoder, its variables and its compiled loss."""
  system = skeleton.autoencoder(INFO, box_size=1.2, width=8, encoder_layers=1)
  variables = jax.jit(system.init)(jax.random.key(0), batch)
  return system, variables, jax.jit(system.loss)


@pytest.mark.parametrize(
    ('body', 'layers', 'autoencoder', 'denoiser'),
    [
        ('amass21', 2, 2_100_207, 32_135_979),
        ('h36m16', 1, 1_055_902, 25_501_184),
        ('freeman17', 1, 950_722, 23_292_899),
    ],
)
def test_parameter_counts_are_the_papers(body, layers, autoencoder, denoiser):
  info = {**INFO, 'skeleton': skeletons.SKELETONS[body]}
  joints = info['skeleton'].num_nodes
  config = skeleton_amass.get_config()
  config.system.encoder_layers = layers
  shapes = jax.ShapeDtypeStruct((1, PAST, joints, 3), jnp.float32)
  example = {'past': shapes, 'future': shapes}
  counts = []
  for stage in config.stages:
    settings = configs.stage(config, stage)
    system = configs.build(SYSTEMS, settings['system'], 'system', info=info)
    variables = jax.eval_shape(system.init, jax.random.key(0), example)
    counts.append(benchmark.count(variables.params))
  assert counts == [autoencoder, denoiser]


@pytest.mark.parametrize(
    'module', [skeleton_amass, skeleton_cmu, skeleton_quickstart]
)
def test_every_variant_of_every_experiment_builds(module):
  for variant in ('', *module.VARIANTS):
    config = module.get_config(variant)
    for stage in config.stages:
      settings = configs.stage(config, stage)
      configs.build(SYSTEMS, settings['system'], 'system', info=INFO)


def test_autoencoder_learns_to_reconstruct(batch, autoencoder):
  system, (params, frozen), loss = autoencoder
  still = {k: jnp.broadcast_to(x[:, :1], x.shape) for k, x in batch.items()}

  @jax.jit
  def step(params):
    value, grads = jax.value_and_grad(
        lambda p: system.loss(p, frozen, still, jax.random.key(0))[0]
    )(params)
    return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads), value

  values = []
  for _ in range(80):
    params, value = step(params)
    values.append(float(value))
  assert values[-1] < 0.8 * values[0]
  draw = jax.jit(system.sample)
  motion = draw(params, frozen, still, jax.random.key(0))['motion']
  assert motion.shape == (BATCH, 1, FUTURE, 21, 3)
  # The loss is in box units, the reconstruction in metres.
  error = jnp.mean(jnp.sum(jnp.abs(motion[:, 0] - still['future']), -1))
  value = loss(params, frozen, still, jax.random.key(0))[0]
  np.testing.assert_allclose(error / 1.2, value, rtol=1e-5)


def test_horizon_hides_the_frames_after_it(batch, autoencoder):
  _, (params, frozen), compiled = autoencoder
  loss = functools.partial(compiled, params, frozen, key=jax.random.key(0))
  horizon = jnp.full([BATCH], 4)
  cut = {**batch, 'future': batch['future'][:, :4]}
  other = {**batch, 'future': batch['future'].at[:, 4:].set(9.0)}
  values = [
      loss({**other, 'horizon': horizon})[0],
      loss({**batch, 'horizon': horizon})[0],
      loss(cut)[0],
  ]
  np.testing.assert_allclose(values[:2], values[2], rtol=1e-5)


def test_motion_distance_by_hand():
  motion = jnp.zeros((1, 2, 2, 3)).at[0, 1, 0].set(jnp.array([1.0, -2.0, 3.0]))
  found = skeleton.motion_distance(motion, jnp.zeros_like(motion))
  np.testing.assert_allclose(found, [6.0 / 4])


@pytest.mark.parametrize('selection', skeleton.SELECTIONS)
def test_the_best_of_many_beats_a_single_draw(batch, start, selection):
  one = _diffusion(relaxation=1)
  many = _diffusion(relaxation=20, selection=selection)
  params, frozen = start
  keys = jax.random.split(jax.random.key(1), 20)

  def mean(system):
    run = jax.jit(lambda key: system.loss(params, frozen, batch, key)[0])
    return np.mean([run(key) for key in keys])

  if selection == 'latent':
    assert mean(many) < mean(one)
  else:
    # The choice is by motion: it need not lower the loss of an untrained
    # network, but it must change what is trained.
    assert mean(many) != mean(one)


def test_scoring_in_chunks_chooses_the_same(batch, start):
  keywords = {'relaxation': 4, 'selection': 'latent'}
  params, frozen = start
  key = jax.random.key(3)
  values, grads = zip(*(
      jax.jit(jax.value_and_grad(
          lambda p, s=system: s.loss(p, frozen, batch, key)[0]
      ))(params)
      for system in (_diffusion(**keywords), _diffusion(chunk=2, **keywords))
  ))
  np.testing.assert_allclose(*values, rtol=1e-5)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), *grads)
  leaves = jax.tree.leaves(grads[0])
  assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in leaves)
  assert any(bool(jnp.any(leaf != 0)) for leaf in leaves)


@pytest.mark.parametrize('noise', ['nonisotropic', 'isotropic'])
@pytest.mark.parametrize(
    'sampler',
    [
        {'name': 'ddpm', 'steps': 10},
        {'name': 'ddim', 'steps': 5, 'eta': 0.0, 'start': 'matched'},
        {'name': 'dpm_solver_pp', 'steps': 4, 'order': 2, 'clip': None},
    ],
    ids=lambda s: s['name'],
)
def test_samples_are_futures_in_metres(batch, start, noise, sampler):
  system = _diffusion(process={'noise': noise}, sampler=sampler)
  params, frozen = start
  draw = jax.jit(system.sample)
  past = {'past': batch['past']}
  motion = draw(params, frozen, past, jax.random.key(0))['motion']
  assert motion.shape == (BATCH, 3, FUTURE, 21, 3)
  assert float(jnp.max(jnp.abs(motion))) <= 1.2
  again = draw(params, frozen, past, jax.random.key(0))['motion']
  other = draw(params, frozen, past, jax.random.key(1))['motion']
  np.testing.assert_array_equal(motion, again)
  assert float(jnp.max(jnp.abs(motion - other))) > 0
  # Samples of one past differ from each other.
  assert float(jnp.max(jnp.abs(motion[:, 0] - motion[:, 1]))) > 0


def test_half_precision_is_close_and_keeps_float32_parameters(batch):
  whole, half = _diffusion(), _diffusion(dtype='bfloat16')
  params, frozen = jax.jit(half.init)(jax.random.key(0), batch)
  assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.float32.dtype}
  values = [
      float(jax.jit(system.loss)(params, frozen, batch, jax.random.key(0))[0])
      for system in (whole, half)
  ]
  assert values[0] != values[1]
  np.testing.assert_allclose(*values, rtol=0.05)


def test_noise_follows_the_skeleton():
  body = skeletons.AMASS21
  white = skeleton_noise.build(body, noise='isotropic').process(None)
  shaped = skeleton_noise.build(body).process(None)
  assert white.basis is None and shaped.basis.shape == (21, 21)
  sigma = shaped.basis * shaped.sigma[-1].T**2 @ shaped.basis.T
  linked = skeletons.adjacency(body) > 0
  apart = ~linked & ~np.eye(21, dtype=bool)
  assert np.mean(np.abs(sigma[linked])) > 10 * np.mean(np.abs(sigma[apart]))


@pytest.mark.parametrize(
    ('changes', 'word'),
    [
        ({'selection': 'pose'}, 'selection'),
        ({'sampler': {'name': 'euler', 'steps': 5}}, 'sampler'),
        ({'sampler': {'name': 'ddpm', 'steps': 5, 'eta': 1}}, 'sampler'),
        ({'process': {'correlation': 'distance'}}, 'correlation'),
        ({'process': {'gammas': 'one', 'shift': 'paper'}}, 'singular'),
    ],
)
def test_wrong_settings_are_refused_by_name(changes, word):
  with pytest.raises(UserError, match=word):
    _diffusion(**changes)
