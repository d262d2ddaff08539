"""The twin system: what each network sees, objectives, sampling, latents."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax import benchmark
from diffax.diffusion import losses
from diffax.errors import UserError
from diffax.systems import lambda_twin
from diffax.systems.base import System
from diffax.train import optim

LENGTH = 20
NETWORK = {
    'width': 8, 'encoder_layers': 1, 'decoder_layers': 1, 'heads': 2,
    'hidden': 16, 'patch': 2,
}
ALIGNMENT = {
    'options': {
        'contrastive': {'size': 2}, 'covariance': {'over': 'batch'},
    }
}


def series(batch, seed=0, modalities=('x', 'y')):
  rng = np.random.default_rng(seed)
  phase = rng.uniform(0, 6.28, (batch, 1, 1)) + np.arange(LENGTH)[:, None] / 3
  sizes = dict(zip(modalities, (3, 1, 2)))
  return {
      name: np.float32(np.sin(phase + np.arange(size)[None, None]))
      for name, size in sizes.items()
  }


def info_of(modalities=('x', 'y')):
  arrays = series(64, 9, modalities)
  return {
      'modalities': {name: a.shape[-1] for name, a in arrays.items()},
      'length': LENGTH,
      'covariance': {
          name: np.atleast_2d(np.cov(a.reshape(-1, a.shape[-1]).T))
          for name, a in arrays.items()
      },
  }


def build(modalities=('x', 'y'), **options):
  settings = {
      'process': {'steps': 20}, 'network': NETWORK, 'alignment': ALIGNMENT,
      'energy': {'weight': 1.0, 'norm': 'squared'},
      'sampler': {'name': 'ddim', 'steps': 4}, **options,
  }
  system = lambda_twin.twin(info_of(modalities), **settings)
  return System(*(function and jax.jit(function) for function in system))


def scrambled(system, batch):
  """Make parameters that are noise, which needs no compilation."""
  rng = np.random.default_rng(0)
  return jax.tree.map(
      lambda x: jnp.asarray(0.2 * rng.normal(size=x.shape), x.dtype),
      jax.eval_shape(system.init, jax.random.key(0), batch),
  )


@pytest.fixture(scope='module')
def made():
  system = build(samples=3)
  batch = series(4)
  return system, batch, system.init(jax.random.key(0), batch)


def test_latents_see_their_own_modality_only(made):
  system, batch, (params, frozen) = made
  both = system.encode(params, frozen, batch, jax.random.key(0))
  alone = system.encode(params, frozen, {'x': batch['x']}, jax.random.key(1))
  assert set(alone) == {'x'}
  assert both['x'].shape == (4, LENGTH // 2, 8)
  np.testing.assert_array_equal(both['x'], alone['x'])


def test_samples_follow_the_condition_and_the_key(made):
  system, batch, (params, frozen) = made
  given = {'y': batch['y']}
  drawn = system.sample(params, frozen, given, jax.random.key(0))
  assert set(drawn) == {'x'}
  assert drawn['x'].shape == (4, 3, LENGTH, 3)
  again = system.sample(params, frozen, given, jax.random.key(0))
  np.testing.assert_array_equal(drawn['x'], again['x'])
  assert np.ptp(drawn['x'], axis=1).max() > 0
  other = system.sample(params, frozen, {'y': -batch['y']}, jax.random.key(0))
  assert np.abs(other['x'] - drawn['x']).max() > 1e-4


def test_latents_and_alignment_cost_nothing_when_sampling():
  batch = series(4)
  given = {'y': batch['y']}
  key = jax.random.key(0)
  costs = []
  for alignment in (ALIGNMENT, None):
    system = build(alignment=alignment)
    params, frozen = jax.eval_shape(system.init, key, batch)
    costs.append(benchmark.flops(system.sample, params, frozen, given, key))
  t = jnp.ones((4,), jnp.int32)
  network = lambda_twin.networks(info_of(), NETWORK, False)['x']
  once = benchmark.flops(
      lambda params: network.apply(params, batch['x'], t, given), params['x']
  )
  # Four steps of DDIM are four passes through one network.
  assert costs == [4 * once, 4 * once]


def test_known_frames_stay(made):
  system, batch, (params, frozen) = made
  known = np.ones((4, LENGTH), bool)
  known[:, 5:15] = False
  drawn = system.sample(
      params, frozen, {**batch, 'x_known': known}, jax.random.key(0)
  )['x']
  repeated = np.repeat(batch['x'][:, None], 3, axis=1)
  seen = np.broadcast_to(known[:, None, :, None], repeated.shape)
  np.testing.assert_allclose(drawn[seen], repeated[seen], atol=1e-6)
  assert np.abs(drawn - repeated)[~seen].min() > 0


def test_loss_is_the_sum_of_its_parts(made):
  system, batch, (params, frozen) = made
  params = {**params, 'log_weight': jnp.asarray(0.3)}
  loss, parts = system.loss(params, frozen, batch, jax.random.key(0))
  aligned = parts['contrast'] + parts['covariance']
  total = parts['mse_x'] + parts['mse_y'] + parts['energy']
  np.testing.assert_allclose(
      loss, total + jnp.exp(-0.3) * aligned + 0.3, rtol=1e-5
  )


def test_gradients_reach_every_parameter(made):
  system, batch, (params, frozen) = made
  grads = jax.jit(jax.grad(
      lambda p: system.loss(p, frozen, batch, jax.random.key(0))[0]
  ))(params)
  norms = jax.tree.map(lambda g: float(jnp.abs(g).max()), grads)
  # A shift of all keys shifts all scores of a query alike: no gradient.
  dead = [
      jax.tree_util.keystr(path)
      for path, norm in jax.tree_util.tree_leaves_with_path(norms)
      if norm == 0 and "'key']['bias']" not in jax.tree_util.keystr(path)
  ]
  assert not dead


def test_without_alignment_the_models_are_independent():
  system = build(alignment=None)
  batch = series(4)
  params, frozen = scrambled(system, batch)
  assert set(params) == {'x', 'y'}
  grads = jax.jit(jax.grad(
      lambda p: system.loss(p, frozen, batch, jax.random.key(0))[1]['mse_x']
  ))(params)
  assert all(float(jnp.abs(g).max()) == 0 for g in jax.tree.leaves(grads['y']))
  assert any(float(jnp.abs(g).max()) > 0 for g in jax.tree.leaves(grads['x']))


@pytest.mark.parametrize('name', sorted(lambda_twin.ALIGNMENTS))
@pytest.mark.parametrize('among', lambda_twin.AMONG)
def test_every_alignment_pulls_latents_together(name, among):
  options = ALIGNMENT['options'] if name == 'lambda' else {}
  align = lambda_twin.alignment_loss(
      name=name, among=among, rule='fixed', alpha=1.0, options=options
  )
  level = lambda_twin.series_process(np.eye(1), steps=5).at(jnp.ones(6, int))
  keys = jax.random.split(jax.random.key(0), 3)
  start = {n: jax.random.normal(k, (6, 10, 8)) for n, k in zip('abc', keys)}

  @jax.jit
  def loss(latents):
    return align(jnp.zeros(()), latents, level)[0]

  step = 1e-2 if name == 'vicreg' else 1.0
  descend = jax.jit(lambda latents: jax.tree.map(
      lambda z, g: z - step * g, latents, jax.grad(loss)(latents)
  ))
  moved = start
  for _ in range(20):
    moved = descend(moved)
  assert loss(moved) < loss(start)


def test_any_modality_may_be_missing_after_condition_dropout():
  names = ('x', 'y', 'z')
  system = build(names, condition_dropout=0.5)
  batch = series(4, modalities=names)
  params, frozen = scrambled(system, batch)
  loss, _ = system.loss(params, frozen, batch, jax.random.key(1))
  assert np.isfinite(loss)
  for given in (('x',), ('y', 'z')):
    drawn = system.sample(
        params, frozen, {m: batch[m] for m in given}, jax.random.key(0)
    )
    assert set(drawn) == set(names) - set(given)
    assert all(np.isfinite(x).all() for x in drawn.values())


def test_all_but_one_must_be_given_without_it():
  names = ('x', 'y', 'z')
  system = build(names)
  batch = series(4, modalities=names)
  params, frozen = scrambled(system, batch)
  with pytest.raises(UserError, match='condition_dropout'):
    system.sample(params, frozen, {'x': batch['x']}, jax.random.key(0))
  with pytest.raises(UserError, match='given whole'):
    system.sample(params, frozen, {}, jax.random.key(0))


def test_nonisotropic_noise_has_the_covariance_of_the_channels():
  info = info_of()
  process = lambda_twin.series_process(
      info['covariance']['x'], noise='nonisotropic', steps=20
  )
  noise = process.from_basis(
      process.sigma[-1][None]
      * jax.random.normal(jax.random.key(0), (400, LENGTH, 3))
  )
  found = np.cov(np.asarray(noise).reshape(-1, 3).T)
  scaled = info['covariance']['x'] * 3 / np.trace(info['covariance']['x'])
  expected = 0.95 * scaled + 0.05 * np.eye(3)
  np.testing.assert_allclose(found, expected, atol=0.06)


def test_the_weight_learns_the_log_of_the_loss():
  transform = optim.optimiser(
      name='adamw', schedule={'name': 'constant', 'value': 0.0},
      weight_decay=0.1, clip=1.0, rates={'log_weight': 0.02},
  )
  params = {'w': jnp.ones(3), 'log_weight': jnp.zeros(())}
  state = transform.init(params)

  def loss(params):
    aligned = jnp.asarray(4.0)
    weighted = losses.weighted(aligned, params['log_weight'], 'uncertainty')
    return weighted + jnp.sum(params['w'])

  @jax.jit
  def step(_, carry):
    params, state = carry
    updates, state = transform.update(jax.grad(loss)(params), state, params)
    return jax.tree.map(jnp.add, params, updates), state

  params, _ = jax.lax.fori_loop(0, 400, step, (params, state))
  np.testing.assert_allclose(params['log_weight'], np.log(4.0), atol=0.05)
  np.testing.assert_array_equal(params['w'], jnp.ones(3))


@pytest.mark.parametrize(
    'options, words',
    [
        ({'network': {**NETWORK, 'patch': 3}}, 'patch'),
        ({'network': {**NETWORK, 'widht': 3}}, 'widht'),
        ({'network': {**NETWORK, 'width': 7}}, 'width'),
        ({'network': {**NETWORK, 'queries': 'both'}}, 'queries'),
        ({'alignment': {'name': 'lamda'}}, 'alignment.name'),
        ({'alignment': {'among': 'all'}}, 'alignment.among'),
        ({'process': {'steps': 9, 'noise': 'pink'}}, 'pink'),
        ({'sampler': {'name': 'euler', 'steps': 2}}, 'euler'),
    ],
)
def test_wrong_settings_are_named(options, words):
  with pytest.raises(UserError, match=words):
    build(**options)
