"""IMUDiffusion: the process, the prior, what is learnt, and classes apart."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from diffax.diffusion import gaussian
from diffax.errors import UserError
from diffax.systems import imu
from diffax.systems.base import System
from diffax.systems.base import Variables
from diffax.train import optim
from diffax.train import state as states
from diffax.train import step as steps

LENGTH, CLASSES = 24, 3
SENSORS = {'acc': (0, 1, 2), 'gyr': (3, 4, 5)}
LAYOUT = {'size': 6}
NETWORK = {
    'base': 8, 'blocks': 1, 'groups': 2, 'heads': 2, 't_dim': 8,
    'attention': 'frequency',
}
PROCESS = {
    'steps': 60, 'betas': 'linear', 'start': 5e-3,
    'stop': {'acc': 3e-2, 'gyr': 2e-2},
}
MIXING = np.linalg.cholesky(
    0.4 * np.eye(6) + 0.6 * np.outer(*[[1, -1, 1, 1, 1, -1]] * 2)
)


def windows(count=4, seed=0, correlated=False):
  """Make `count` windows of each class, which differ in offset and pitch."""
  rng = np.random.default_rng(seed)
  label = np.tile(np.arange(CLASSES), count)
  time = np.arange(LENGTH)[None, :, None]
  phase = rng.uniform(0, 6.28, (len(label), 1, 6))
  kind = label[:, None, None]
  x = (kind - 1) + np.sin((0.4 + 0.5 * kind) * time + phase)
  if correlated:
    x = rng.normal(size=x.shape) @ MIXING.T
  return {'window': np.float32(x), 'label': label.astype(np.int32)}


def info_of(**options):
  return {
      'length': LENGTH, 'channels': tuple('abcdef'), 'sensors': SENSORS,
      'classes': ('still', 'slow', 'fast'), 'picked': windows(200, **options),
  }


def build(info=None, jit=True, **options):
  settings = {
      'process': PROCESS, 'network': NETWORK, 'layout': LAYOUT,
      'sampler': {'name': 'dpm_solver_pp', 'steps': 4}, 'prior': 'standard',
      **options,
  }
  system = imu.imu_diffusion(info or info_of(), **settings)
  if not jit:
    return system
  return System(*(jax.jit(function) for function in system[:3]))


def model_of(**options):
  """Return the object behind a conditional system."""
  return build(jit=False, **options).loss.__self__


@pytest.fixture(scope='module')
def made():
  system = build(prior='matched')
  batch = windows()
  return system, batch, system.init(jax.random.key(0), batch)


def test_each_sensor_has_its_schedule():
  model = model_of()
  assert model.process.alpha.shape == (61, 1, 1, 12)
  for stop, channels in ((3e-2, range(6)), (2e-2, range(6, 12))):
    powers = np.cumprod(1 - np.linspace(5e-3, stop, 60))
    for channel in channels:
      np.testing.assert_allclose(
          model.process.alpha[1:, 0, 0, channel], np.sqrt(powers), rtol=1e-6
      )


def test_the_paper_leaves_the_signal_that_it_does():
  table = imu.sensor_betas(
      tuple(SENSORS), 'linear', 3000, start=1e-4,
      stop={'acc': 9e-4, 'gyr': 6e-4},
  )
  np.testing.assert_allclose(
      np.prod(1 - table, axis=0), [0.223, 0.350], atol=5e-4
  )
  constant = imu.sensor_betas(
      tuple(SENSORS), 'constant', 3000, value={'acc': 9e-4, 'gyr': 6e-4}
  )
  np.testing.assert_allclose(
      np.prod(1 - constant, axis=0), [0.067, 0.165], atol=5e-4
  )


@pytest.mark.parametrize('domain, noise', [
    ('stft', 'isotropic'), ('stft', 'nonisotropic'), ('time', 'isotropic'),
])
def test_the_matched_prior_agrees_with_noised_windows(domain, noise):
  info = info_of()
  options = {
      'info': info, 'domain': domain, 'layout': LAYOUT if domain == 'stft'
      else {}, 'process': {**PROCESS, 'noise': noise},
  }
  model = model_of(**options)
  data = info['picked']
  image = model.layout.to_image(jnp.asarray(data['window']))
  t = jnp.full(len(image), model.process.steps)
  noised = gaussian.corrupt(
      model.process, image, jax.random.normal(jax.random.key(0), image.shape), t
  )
  label = jnp.asarray(data['label'])
  begun = {
      prior: model_of(prior=prior, **options).begin(jax.random.key(1), label)
      for prior in imu.PRIORS
  }
  gaps = {prior: worst_gap(noised, x, label) for prior, x in begun.items()}
  # 200 windows of some frames each: a mean is known to some hundredths.
  assert max(gaps['matched']) < 0.15
  assert gaps['standard'][0] > 0.3


def worst_gap(noised, begun, label):
  """Return the worst error of means and variances by class and row."""
  gaps = []
  for k in range(CLASSES):
    a, b = (np.asarray(x)[np.asarray(label) == k] for x in (noised, begun))
    gaps.append((
        np.abs(a.mean((0, 2)) - b.mean((0, 2))).max(),
        np.abs(a.var((0, 2)) - b.var((0, 2))).max(),
    ))
  return np.max(gaps, axis=0)


def test_zero_terminal_needs_no_matched_prior():
  model = model_of(
      process={**PROCESS, 'zero_terminal': True}, prediction='velocity',
  )
  np.testing.assert_allclose(model.process.alpha[-1], 1e-3, rtol=1e-4)
  with pytest.raises(UserError, match='velocity'):
    build(process={**PROCESS, 'zero_terminal': True})


@pytest.mark.parametrize('blocks', imu.BLOCKS)
def test_noise_may_be_correlated_as_the_axes_are(blocks):
  info = info_of(correlated=True)
  process = {**PROCESS, 'noise': 'nonisotropic', 'blocks': blocks, 'ridge': .1}
  if blocks == 'all':
    process['stop'] = 3e-2
  model = model_of(info=info, process=process)
  eye = jnp.broadcast_to(jnp.eye(12)[:, None, None], (12, 4, 2, 12))
  level = model.process.at(jnp.full(12, 60))
  root = np.asarray(model.process.from_basis(level.sigma * eye))[:, 0, 0]
  shape = 0.1 * np.eye(6) + 0.9 * MIXING @ MIXING.T
  if blocks == 'sensor':
    shape = scipy.linalg.block_diag(shape[:3, :3], shape[3:, 3:])
  stops = np.repeat([3e-2, 3e-2 if blocks == 'all' else 2e-2], 3)
  powers = [np.prod(1 - np.linspace(5e-3, stop, 60)) for stop in stops]
  want = np.kron(shape * (1 - np.array(powers))[:, None], np.eye(2))
  np.testing.assert_allclose(root.T @ root, want, atol=0.03)
  with pytest.raises(UserError, match='one schedule'):
    build(process={**PROCESS, 'noise': 'nonisotropic', 'blocks': 'all'})


def test_the_loss_is_that_of_the_noise(made):
  system, batch, (params, frozen) = made
  # The network starts at 0, so that the error is the noise itself.
  model = model_of(beta=0.5)
  value, metrics = jax.jit(model.loss)(params, frozen, batch, jax.random.key(3))
  noise = np.abs(np.random.default_rng(0).normal(size=1_000_000))
  want = np.mean(np.where(noise < 0.5, noise**2, noise - 0.25))
  np.testing.assert_allclose(value, want, rtol=0.03)
  np.testing.assert_allclose(
      value, (metrics['loss_acc'] + metrics['loss_gyr']) / 2, rtol=1e-5
  )


def test_what_is_always_zero_is_neither_seen_nor_learnt(made):
  _, batch, (params, frozen) = made
  model = model_of()
  params = scrambled(params)
  image = model.layout.to_image(jnp.asarray(batch['window']))
  t = jnp.full(len(image), 30)
  hidden = ~np.asarray(model.mask)
  assert hidden.sum() == 2 * 6
  noisy = image + 3.0 * hidden
  run = jax.jit(model.denoiser(params, jnp.asarray(batch['label'])))
  np.testing.assert_array_equal(run(noisy, t), run(image, t))
  assert np.all(np.asarray(run(image, t))[np.broadcast_to(
      hidden, image.shape)] == 0)
  error = jnp.zeros(image.shape) + 5.0 * hidden
  assert model.reduce(error, range(12)) == 0


def scrambled(params, scale=0.3):
  rng = np.random.default_rng(0)
  return jax.tree.map(
      lambda x: jnp.float32(rng.normal(size=x.shape) * scale), params
  )


@pytest.mark.parametrize('kind', imu.PREDICTIONS)
def test_a_network_that_knows_restores_the_windows(kind, monkeypatch):
  model = model_of(
      prediction=kind, process={**PROCESS, 'noise': 'nonisotropic'}
  )
  batch = windows()
  image = model.layout.to_image(jnp.asarray(batch['window']))
  noise = jax.random.normal(jax.random.key(0), image.shape)
  t = jnp.full(len(image), 40)
  label = jnp.asarray(batch['label'])
  xt, target = model.corrupt(image, noise, t, label)
  monkeypatch.setattr(type(model), 'predict', lambda *_: target)
  found = model.denoiser(None, label)(xt, t)
  np.testing.assert_allclose(found, image, atol=2e-5)


def test_samples_follow_class_key_and_guidance(made):
  system, batch, (params, frozen) = made
  params = scrambled(params)
  label = {'label': batch['label']}
  drawn = system.sample(params, frozen, label, jax.random.key(0))
  assert set(drawn) == {'window'}
  assert drawn['window'].shape == (12, LENGTH, 6)
  again = system.sample(params, frozen, label, jax.random.key(0))
  np.testing.assert_array_equal(drawn['window'], again['window'])
  other = system.sample(params, frozen, label, jax.random.key(1))
  assert np.abs(drawn['window'] - other['window']).max() > 1e-2


def test_guidance_moves_samples_from_no_class_to_one(made):
  _, batch, (params, frozen) = made
  params = scrambled(params)
  none, strong = (
      build(guidance=scale).sample for scale in (0.0, 2.0)
  )

  def draw(sample, shift=0):
    label = (batch['label'] + shift) % CLASSES
    return sample(params, frozen, {'label': label}, jax.random.key(0))['window']

  # Without a class, and from the same noise, all classes are one.
  np.testing.assert_array_equal(draw(none), draw(none, 1))
  assert np.abs(draw(strong) - draw(none)).max() > 1e-2
  assert np.abs(draw(strong) - draw(strong, 1)).max() > 1e-2


def test_residuals_begin_at_the_moments_of_the_class():
  info = info_of()
  model = model_of(
      info=info, prediction='residual', prior='matched', domain='time',
      layout={}, sampler={'name': 'ddpm', 'steps': 60},
  )
  label = jnp.repeat(jnp.arange(CLASSES), 100)
  params, _ = jax.jit(model.init)(jax.random.key(0), {})
  drawn = np.asarray(jax.jit(model.sample)(
      params, {}, {'label': label}, jax.random.key(1)
  )['window'])
  for k in range(CLASSES):
    real = info['picked']['window'][info['picked']['label'] == k]
    made = drawn[np.asarray(label) == k]
    np.testing.assert_allclose(made.mean((0, 1)), real.mean((0, 1)), atol=0.06)
    np.testing.assert_allclose(made.std((0, 1)), real.std((0, 1)), rtol=0.08)


def test_targets_of_residuals_are_of_order_one():
  model = model_of(prediction='residual')
  data = windows(60)
  image = model.layout.to_image(jnp.asarray(data['window']))
  noise = jax.random.normal(jax.random.key(0), image.shape)
  label = jnp.asarray(data['label'])
  for time in (1, 30, 60):
    t = jnp.full(len(image), time)
    xt, target = model.corrupt(image, noise, t, label)
    seen = model.guess(xt, t, label).unit
    for x in (target, seen):
      scale = np.std(np.asarray(x), (0, 2))[np.asarray(model.mask)[0, :, 0]]
      np.testing.assert_allclose(scale, 1, atol=0.2)


def train(system, batch, count, value=1e-2):
  optimiser = optim.optimiser(
      name='adam', schedule={'name': 'constant', 'value': value}
  )
  ema = {'decay': 0.9, 'every': 1, 'start': 0}
  step = steps.make_step(system, optimiser, ema)
  state = jax.jit(
      lambda key: states.create(system, optimiser, key, batch)
  )(jax.random.key(0))

  @jax.jit
  def fit(state):
    keys = jax.random.split(jax.random.key(1), count)
    return jax.lax.scan(lambda s, k: step(s, batch, k), state, keys)

  return fit(state)


def test_it_learns_the_offsets_of_the_classes():
  batch = windows(4)
  system = build(
      jit=False, domain='time', layout={},
      process={**PROCESS, 'zero_terminal': True}, prediction='x0',
      network={**NETWORK, 'attention': 'none'},
  )
  state, metrics = train(system, batch, 80)
  assert metrics['loss'][-10:].mean() < 0.6 * metrics['loss'][:10].mean()
  drawn = jax.jit(system.sample)(state.params, {}, batch, jax.random.key(2))
  mean = [
      np.mean(drawn['window'][batch['label'] == k]) for k in range(CLASSES)
  ]
  np.testing.assert_allclose(mean, [-1, 0, 1], atol=0.4)


def member():
  """Know the mean of its windows; sample it, and the label it was asked."""

  def init(key, batch):
    del key
    return Variables({'mean': jnp.mean(batch['window'])}, {})

  def loss(params, frozen, batch, key):
    del frozen, key
    return jnp.mean((batch['window'] - params['mean']) ** 2), {}

  def sample(params, frozen, batch, key):
    del frozen
    noise = jax.random.uniform(key, batch['label'].shape, maxval=1e-3)
    return {'window': params['mean'] + noise, 'label': batch['label']}

  return System(init, loss, sample)


def means(*label):
  """Make a batch of windows [B, 1] that hold ten times their label."""
  label = np.int32(label)
  return {'window': np.float32(10 * label[:, None]), 'label': label}


def test_each_class_has_its_network():
  system = imu.per_class(member(), CLASSES)
  batch = means(2, 0, 1, 1, 0, 2)
  params, frozen = system.init(jax.random.key(0), batch)
  np.testing.assert_array_equal(params['mean'], [0, 10, 20])
  key = jax.random.key(1)
  assert system.loss(params, frozen, batch, key)[0] == 0
  assert np.isnan(system.loss(params, frozen, means(0, 0, 0, 1, 1, 2), key)[0])
  with pytest.raises(UserError, match='batch_size'):
    system.loss(params, frozen, means(0, 1), key)


@pytest.mark.parametrize(
    'label', [(2, 0, 1, 1, 0, 2), (0, 0, 1, 2, 2, 2), (1, 1, 1), (2,)]
)
def test_any_labels_may_be_drawn(label):
  system = imu.per_class(member(), CLASSES)
  params = {'mean': jnp.array([0.0, 10.0, 20.0])}
  drawn = jax.jit(system.sample)(
      params, {}, {'label': np.int32(label)}, jax.random.key(1)
  )
  np.testing.assert_array_equal(drawn['label'], label)
  np.testing.assert_allclose(drawn['window'], 10 * np.array(label), atol=2e-3)
  assert len(set(np.asarray(drawn['window']).tolist())) == len(label)


def test_the_network_of_a_class_learns_and_samples():
  system = build(jit=False, conditional=False)
  batch = windows(2)
  state, metrics = train(system, batch, 2)
  assert np.all(np.isfinite(metrics['loss']))
  assert all(len(x) == CLASSES for x in jax.tree.leaves(state.params))
  assert 'class' not in state.params['params']
  drawn = jax.eval_shape(
      system.sample, state.params, {}, batch, jax.random.key(2)
  )
  assert drawn['window'].shape == batch['window'].shape


def without(name):
  return {k: v for k, v in info_of().items() if k != name}


@pytest.mark.parametrize('options, words', [
    ({'domain': 'mel'}, 'domain'),
    ({'prior': 'flat'}, 'prior'),
    ({'prediction': 'score'}, 'prediction'),
    ({'layout': {'hops': 2}}, 'layout'),
    ({'layout': {'size': 6, 'frames': 11}}, 'frames'),
    ({'network': {**NETWORK, 'bass': 3}}, 'bass'),
    ({'network': {**NETWORK, 'base': 9}}, 'base'),
    ({'network': {**NETWORK, 'attention': 'bins'}}, 'attention'),
    ({'process': {**PROCESS, 'stop': {'acc': 0.1}}}, 'stop'),
    ({'process': {**PROCESS, 'end': 0.1}}, 'process'),
    ({'process': {**PROCESS, 'noise': 'pink'}}, 'noise'),
    ({'process': {**PROCESS, 'noise': 'nonisotropic', 'ridge': 0}}, 'ridge'),
    ({'sampler': {'name': 'euler', 'steps': 2}}, 'euler'),
    ({'sampler': {'name': 'ddim', 'steps': 2, 'order': 1}}, 'sampler'),
    ({'class_dropout': 1.0}, 'class_dropout'),
    ({'guidance': 2.0, 'class_dropout': 0.0}, 'guidance'),
    ({'guidance': 2.0, 'conditional': False}, 'guidance'),
    ({'info': without('picked'), 'prior': 'matched'}, 'info.picked'),
    ({'info': {**info_of(), 'sensors': {'acc': (0, 2, 1, 3, 4, 5)}}},
     'sensors'),
    ({'info': {**info_of(), 'classes': tuple('wxyz')}, 'prior': 'matched'},
     'every class'),
])
def test_wrong_settings_are_named(options, words):
  with pytest.raises(UserError, match=words):
    build(**options)
