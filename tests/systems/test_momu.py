"""MoMu-Diffusion: what is learnt, both at once by hand, any length."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from diffax import systems
from diffax.body import beats
from diffax.errors import UserError
from diffax.nn.unet import parameters
from diffax.systems import momu
from diffax.systems import momu_parts
from diffax.systems.base import Variables
from diffax.train import optim
from diffax.train import state as states

VAE = {'network': {'width': 4, 'multiples': (1, 2), 'blocks': 0, 'groups': 2,
                   'latent': 3}}
MUSIC = {**VAE, 'critic': 0}
DENOISER = {'width': 8, 'depth': 1, 'heads': 2, 'groups': 2, 'expansion': 1,
            'attentions': 1, 'taps': 3, 'places': 60}
FRAMES, BATCH = 16, 2
INFO = {'music': {'dims': 5}, 'motion': {'dims': 6}, 'frames': FRAMES}
SMALL = {'music': MUSIC, 'motion': VAE, 'denoiser': DENOISER,
         'process': {'steps': 20}, 'sampler': {'steps': 4}}
# Without autoencoders, where they are not what is tested.
RAW = {'kinds': {'music': 'raw', 'motion': 'raw'}, 'music': None,
       'motion': None}
OPTIM = {'name': 'adamw', 'weight_decay': 0.3,
         'schedule': {'name': 'constant', 'value': 0.01}}


def build(**options):
  return momu.momu_diffusion(INFO, **{**SMALL, **options})


def model_of(**options):
  """Return the object behind a system."""
  return build(**options).loss.__self__


def batch(frames=FRAMES, count=BATCH):
  rng = np.random.default_rng(0)

  def draw(*shape):
    return jnp.asarray(rng.normal(size=shape), jnp.float32)

  return {'music': 3 * draw(count, frames, 5),
          'motion': draw(count, frames, 6)}


def scrambled(system):
  """Make parameters that are noise, since blocks begin as identities."""
  rng = np.random.default_rng(5)

  def draw(path, x):
    # Norms that scale by 1, so that what is given reaches the output.
    centre = float(path[-1].key == 'scale')
    return jnp.asarray(centre + 0.6 * rng.normal(size=x.shape), jnp.float32)

  params, frozen = jax.tree_util.tree_map_with_path(
      draw, jax.eval_shape(system.init, jax.random.key(0), batch())
  )
  return {**params, 'scale': unit(params['scale'])}, frozen


def unit(scale):
  """Leave series as they are."""
  return {
      name: {key: jnp.full_like(x, key != 'mean') for key, x in held.items()}
      for name, held in scale.items()
  }


@pytest.fixture(scope='module')
def latent():
  system = build()
  return system, *scrambled(system)


@pytest.fixture(scope='module')
def raw():
  system = build(**RAW)
  return system, scrambled(system)[0]


def sizes(tree):
  return {name: x.shape for name, x in tree.items()}


def test_the_size_is_the_papers():
  info = {'music': {'dims': 80}, 'motion': {'dims': 28}, 'frames': 624}
  system = systems.SYSTEMS['momu_diffusion'](info=info)
  shapes = jax.eval_shape(system.init, jax.random.key(0), {})
  for task in ('music', 'motion'):
    count = parameters(shapes.params[task])
    # Positions for 50 s instead of the paper's 1000 tokens.
    assert round((count - 2200 * 576) / 1e6, 2) == 158.12
    assert round(parameters(shapes.frozen[task]) / 1e6, 1) == (
        {'music': 215.7, 'motion': 212.8}[task]
    )


def test_tasks_learn_apart(raw):
  _, params = raw
  data, key = batch(), jax.random.key(1)
  both = build(clip=0.1, **RAW).loss
  (total, metrics), grads = jax.jit(jax.value_and_grad(both, has_aux=True))(
      params, {}, data, key
  )
  np.testing.assert_allclose(total, sum(metrics.values()), rtol=1e-6)
  for task in ('music', 'motion'):
    norm = np.sqrt(sum(np.sum(x**2) for x in jax.tree.leaves(grads[task])))
    np.testing.assert_allclose(norm, 0.1, rtol=1e-4)
  assert all(np.all(x == 0) for x in jax.tree.leaves(grads['scale']))
  one = build(tasks=('motion',), **RAW).loss
  own = {name: params[name] for name in ('motion', 'scale')}
  value, _ = jax.jit(one)(own, {}, data, key)
  np.testing.assert_allclose(value, metrics['mse_motion'], rtol=1e-5)


def test_the_scale_is_set_once_and_stays(raw):
  system, params = raw
  given = system._replace(init=lambda key, batch: Variables(params, {}))
  optimiser = optim.optimiser(**OPTIM)
  state = states.create(given, optimiser, jax.random.key(0), batch())
  model = system.loss.__self__
  for name, series in model.read(state.params, {}, batch()).items():
    np.testing.assert_allclose(np.std(series), 1, rtol=1e-4)
    mean, deviation = model.moments(state.params, name)
    assert np.all(mean == 0)
    np.testing.assert_allclose(
        deviation.item(), np.std(batch()[name]), rtol=1e-5
    )
  for x, y in zip(*map(jax.tree.leaves, (state.params, state.ema))):
    np.testing.assert_array_equal(x, y)
  # Its gradient is 0; what is left is the decay, of all numbers alike.
  held = {'scale': jax.tree.map(lambda x: x + 0.5, state.params['scale'])}
  before = model.moments(held, 'music')
  memory = optimiser.init(held)
  for _ in range(5):
    updates, memory = optimiser.update(
        jax.tree.map(jnp.zeros_like, held), memory, held
    )
    held = optax.apply_updates(held, updates)
  assert held['scale']['music']['one'] < 0.99 * 1.5
  np.testing.assert_allclose(model.moments(held, 'music'), before, rtol=1e-5)


def test_the_scale_is_that_of_latents(latent):
  system, params, frozen = latent
  model = system.loss.__self__

  @jax.jit
  def read(params):
    params = model.prepare(params, frozen, batch(), None)
    return params['scale'], model.read(params, frozen, batch())

  scale, series = read(params)
  for name, z in series.items():
    assert z.shape == (BATCH, FRAMES // 2, 3)
    np.testing.assert_allclose(np.std(z), 1, rtol=1e-3)
    assert abs(scale[name]['variance'].item() - 1) > 1e-2


def test_the_rhythm_of_motion_can_be_a_channel():
  system, data = build(rhythm=True), batch()
  params, frozen = scrambled(system)
  model = system.loss.__self__
  series = model.read(params, frozen, data)
  assert sizes(series) == {
      'music': (BATCH, FRAMES // 2, 3), 'motion': (BATCH, FRAMES // 2, 4)}
  poses = np.asarray(data['motion'], np.float64).reshape(BATCH, FRAMES, 3, 2)
  wanted = beats.amplitude(beats.directogram(poses))
  np.testing.assert_allclose(
      series['motion'][..., 3], wanted.reshape(BATCH, -1, 2).max(-1), atol=1e-5)
  # What is generated of it does not show.
  z = series['motion']
  np.testing.assert_array_equal(
      model.decode(params, frozen, 'motion', z),
      model.decode(params, frozen, 'motion', z.at[..., 3].add(7.0)))
  key = jax.random.key(0)
  for given in ({'music': data['music']}, {'frames': data['music'][..., :0]}):
    drawn = jax.eval_shape(system.sample, params, frozen, given, key)
    assert drawn['motion'].shape == data['motion'].shape
  plain = build().loss.__self__.read(params, frozen, data)
  np.testing.assert_allclose(plain['motion'], z[..., :3], atol=1e-6)


def test_each_channel_can_have_a_scale_of_its_own():
  system = build(scaling='channels')
  params, frozen = scrambled(system)
  model, data = system.loss.__self__, batch()

  @jax.jit
  def there_and_back(params):
    params = model.prepare(params, frozen, data, None)
    series = model.read(params, frozen, data)
    return series, {
        name: model.decode(params, frozen, name, z)
        for name, z in series.items()
    }

  series, back = there_and_back(params)
  for name, z in series.items():
    np.testing.assert_allclose(np.mean(z, (0, 1)), 0, atol=1e-5)
    np.testing.assert_allclose(np.std(z, (0, 1)), 1, rtol=1e-4)
    space = model.spaces[name]
    straight = space.decode(frozen, space.encode(frozen, data[name]))
    np.testing.assert_allclose(back[name], straight, rtol=1e-3, atol=1e-4)


def test_training_series_are_stretches_of_both_at_once():
  model = build(crop=8, **RAW).loss.__self__
  clock = jnp.tile(jnp.arange(FRAMES)[None, :, None], (64, 1, 1))
  cut = model.stretches({'music': clock, 'motion': -clock}, jax.random.key(0))
  assert cut['music'].shape == (64, 8, 1)
  np.testing.assert_array_equal(cut['music'], -cut['motion'])
  np.testing.assert_array_equal(np.diff(cut['music'], axis=1), 1)
  assert build(crop=FRAMES + 4, **RAW).loss.__self__.crop is None
  starts = np.unique(cut['music'][:, 0])
  np.testing.assert_array_equal(
      starts, np.arange(0, FRAMES - 8 + 1, model.fold)
  )


def test_music_follows_motion_through_autoencoders(latent):
  system, params, frozen = latent
  data, key = batch(frames=40)['motion'], jax.random.key(2)
  sample = jax.jit(system.sample)
  found = sample(params, frozen, {'motion': data}, key)
  # 40 frames are windows of 16.
  assert sizes(found) == {'music': (BATCH, 40, 5)}
  assert np.isfinite(found['music']).all()
  other = sample(params, frozen, {'motion': data[:, ::-1]}, key)
  assert np.abs(other['music'] - found['music']).max() > 1e-3


def by_hand(model, params, x, until):
  """Algorithm 2 as the paper prints it, in noises, with DDIM's step."""

  @jax.jit
  def noises(x, t, given, present):
    return {
        task: model.networks[task].apply(
            params[task]['denoiser'], x[task], jnp.full(BATCH, t),
            given[momu_parts.OTHER[task]], jnp.full(BATCH, present),
        ) for task in x
    }

  times = [17, 12, 7, 2, 0]
  for t, s in zip(times[:-1], times[1:]):
    (a, b), (c, d) = (
        (float(model.process.alpha[i, 0, 0]),
         float(model.process.sigma[i, 0, 0])) for i in (t, s)
    )
    eps = null = noises(x, t, x, False)
    if t <= until:
      clean = {task: (x[task] - b * null[task]) / a for task in x}
      told = noises(x, t, clean, True)
      eps = {task: null[task] + 3 * (told[task] - null[task]) for task in x}
    x = {
        task: c * (x[task] - b * eps[task]) / a + d * eps[task] for task in x
    }
  return x


def test_both_at_once_by_hand(raw):
  system, params = raw
  key = jax.random.key(7)
  got = jax.jit(system.sample)(
      params, {}, {'frames': jnp.zeros((BATCH, FRAMES, 0))}, key
  )
  keys = jax.random.split(jax.random.split(key)[0], 2)
  x = {
      task: jax.random.normal(k, (BATCH, FRAMES, INFO[task]['dims']))
      for task, k in zip(momu_parts.OTHER, keys)
  }
  model = system.loss.__self__
  want, apart = (by_hand(model, params, x, until) for until in (10, 0))
  for task in x:
    np.testing.assert_allclose(got[task], want[task], atol=1e-3, rtol=1e-3)
    assert np.abs(got[task] - apart[task]).max() > 0.1


def test_a_known_part_stays(raw):
  system, params = raw
  data, key = batch(frames=40), jax.random.key(3)
  known = jnp.broadcast_to(jnp.arange(40) < 18, (BATCH, 40))
  sample = jax.jit(system.sample)
  found = sample(params, {}, {**data, 'music_known': known}, key)
  assert sizes(found) == {'music': (BATCH, 40, 5)}
  np.testing.assert_array_equal(found['music'][:, :18], data['music'][:, :18])
  # What is known tells on what follows; what stands in the rest does not.
  rest = jnp.where(known[..., None], data['music'], 7.0)
  same = sample(params, {}, {**data, 'music': rest, 'music_known': known}, key)
  np.testing.assert_array_equal(same['music'], found['music'])
  moved = {**data, 'music': data['music'] + 1, 'music_known': known}
  other = sample(params, {}, moved, key)['music']
  assert np.abs(other - found['music'])[:, 18:].max() > 1e-3


def test_a_step_is_known_if_all_its_frames_are():
  model = model_of()
  series = {'music': jnp.ones((1, 4, 3))}
  known = jnp.array([[True, True, True, False, False, True, True, True]])
  held = model.hold(
      lambda x, t, given: x, 'music', series, {'music_known': known}
  )
  got = held(jnp.zeros((1, 4, 3)), None, None)[0, :, 0]
  np.testing.assert_array_equal(got, [1, 0, 0, 1])


def test_what_is_cut_off_does_not_count(raw):
  _, params = raw
  model = model_of(shortest=8, **RAW)
  key = jax.random.key(0)
  x, given = (batch()[name] for name in ('music', 'motion'))
  mask = jnp.arange(FRAMES)[None] < jnp.array([[9], [FRAMES]])
  loss = jax.jit(lambda x, given: model.task_loss(
      params['music'], 'music', x, given, mask, key
  ))
  changed = jnp.where(mask[..., None], x, 50.0)
  other = jnp.where(mask[..., None], given, 50.0)
  np.testing.assert_allclose(loss(changed, other), loss(x, given), rtol=1e-5)
  drawn = model.lengths(jax.random.key(1), (500, FRAMES))
  assert set(np.sum(drawn, 1).tolist()) == set(range(8, FRAMES + 1))
  assert model_of().lengths(key, (2, 8)) is None


def test_the_networks_learn_what_they_predict():
  system = build(**RAW, prediction='x0')
  params, frozen = scrambled(system)
  silent = {**jax.tree.map(jnp.zeros_like, params), 'scale': params['scale']}
  _, metrics = jax.jit(system.loss)(
      silent, frozen, batch(), jax.random.key(0)
  )
  for name, x in batch().items():
    np.testing.assert_allclose(
        metrics[f'mse_{name}'], jnp.mean(x**2), rtol=1e-5
    )
  # A network of zeros says that x_0 is 0, whatever else is given.
  drawn = jax.jit(system.sample)(
      silent, frozen, {'music': batch()['music']}, jax.random.key(1)
  )
  np.testing.assert_allclose(drawn['motion'], 0, atol=1e-5)


UNET = {'base': 8, 'blocks': 1, 'heads': 2, 'groups': 2}
VARIANTS = {
    'unet': {
        **RAW, 'network': 'unet', 'denoiser': UNET,
        'sampler': {'name': 'dpm_solver_pp', 'steps': 4},
    },
    'sum': {
        **RAW, 'shortest': 8, 'dtype': 'bfloat16', 'denoiser': {
            **DENOISER, 'join': 'sum', 'positions': 'aligned', 'remat': True,
        },
    },
    'encoder': {
        'tasks': ('music',), 'kinds': {'motion': 'encoder'}, 'motion': None,
        'encoder': {'width': 8, 'features': 6, 'depth': 1, 'heads': 2},
    },
    'raw_motion': {'tasks': ('motion',), 'kinds': {'motion': 'raw'},
                   'motion': None, 'prediction': 'velocity'},
}


@pytest.mark.parametrize('name', VARIANTS)
def test_every_kind_learns_and_generates(name):
  options = VARIANTS[name]
  system = build(**options)
  key = jax.random.key(0)
  tasks = options.get('tasks', ('music', 'motion'))
  params, frozen = jax.eval_shape(system.init, key, batch())
  kinds = {'music': 'vae', 'motion': 'vae', **options.get('kinds', {})}
  assert set(frozen) == {m for m, kind in kinds.items() if kind == 'vae'}
  params = jax.eval_shape(system.prepare, params, frozen, batch(), key)
  loss, metrics = jax.eval_shape(system.loss, params, frozen, batch(), key)
  assert loss.shape == () and set(metrics) == {f'mse_{t}' for t in tasks}
  others = [momu_parts.OTHER[task] for task in tasks]
  asked = [{other: batch(40)[other]} for other in others]
  wanted = [{task} for task in tasks]
  if len(tasks) == 2:
    asked.append({'frames': jnp.zeros((BATCH, 40, 0))})
    wanted.append(set(tasks))
  for given, want in zip(asked, wanted):
    found = jax.eval_shape(system.sample, params, frozen, given, key)
    assert sizes(found) == {
        task: batch(40)[task].shape for task in want
    }
  latents = jax.eval_shape(system.encode, params, frozen, batch(), key)
  for m, kind in kinds.items():
    assert (m in latents) == (kind != 'encoder')
    if kind != 'encoder':
      assert latents[f'{m}_decoded'].shape == batch()[m].shape


def test_raw_series_keep_every_frame():
  space = momu_parts.space_of(INFO, 'motion', 'raw', 2, None, 'float32')
  x = batch()['motion']
  z = space.encode({}, x)
  assert z.shape == (BATCH, FRAMES // 2, 12)
  np.testing.assert_array_equal(z[:, 3, 6:], x[:, 7])
  np.testing.assert_array_equal(space.decode({}, z), x)


def test_a_length_is_compiled_once(raw):
  system, params = raw
  traces = []

  def counted(*args):
    traces.append(1)
    return system.sample(*args)

  sample = jax.jit(counted)
  for i in range(3):
    given = {'music': batch()['music'] + i}
    sample(params, {}, given, jax.random.key(i))
  assert len(traces) == 1


@pytest.mark.parametrize('options, named', [
    ({'tasks': ()}, 'tasks'),
    ({'tasks': ('dance',)}, 'tasks'),
    ({'kinds': {'music': 'encoder'}}, 'kinds.music'),
    ({'kinds': {'motion': 'encoder'}, 'motion': None, 'tasks': ('music',),
      'rhythm': True}, 'rhythm'),
    ({'kinds': {'motion': 'encoder'}, 'motion': None}, 'kinds.motion'),
    ({'kinds': {'motion': 'raw'}}, 'motion'),
    ({'network': 'cnn'}, 'network'),
    ({'denoiser': {'layers': 3}}, 'denoiser'),
    ({'denoiser': {**DENOISER, 'width': 9}}, 'denoiser'),
    ({'denoiser': {**DENOISER, 'join': 'time'}}, 'join'),
    ({'denoiser': {**DENOISER, 'places': 8}}, 'places'),
    ({'denoiser': {**DENOISER, 'places': 20}, 'window': 40}, 'window'),
    ({'window': 10}, 'window'),
    ({'shortest': 8, 'network': 'unet', 'denoiser': UNET}, 'shortest'),
    ({'crop': 6}, 'crop'), ({'crop': 0}, 'crop'),
    ({'scaling': 'none'}, 'scaling'),
    ({'condition_dropout': 0.0}, 'condition_dropout'),
    ({'switch': 1.5}, 'switch'),
    ({'blend': 'last'}, 'blend'),
    ({'process': {'betas': 'square'}}, 'betas'),
    ({'music': {'width': 4}}, 'music'),
])
def test_mistakes_are_named(options, named):
  with pytest.raises(UserError, match=named):
    build(**options)


@pytest.mark.parametrize('given, named', [
    ({'music': (2, 16, 5), 'motion': (2, 16, 6)}, 'lacks'),
    ({}, 'one size'),
    ({'frames': (2, 18, 0)}, 'multiple of 4'),
    ({'motion': (2, 16, 6), 'frames': (2, 20, 0)}, 'one size'),
])
def test_batches_that_ask_for_nothing_sensible(raw, given, named):
  system, params = raw
  data = {name: jnp.zeros(shape) for name, shape in given.items()}
  with pytest.raises(UserError, match=named):
    system.sample(params, {}, data, jax.random.key(0))


def test_both_take_a_model_that_knows_no_condition():
  system = build(condition_dropout=0.0, guidance=1.0, **RAW)
  shapes = jax.eval_shape(system.init, jax.random.key(0), batch()).params
  params = {'scale': unit(shapes['scale'])}
  with pytest.raises(UserError, match='condition_dropout'):
    system.sample(
        params, {}, {'frames': jnp.zeros((BATCH, FRAMES, 0))}, None
    )


def test_a_model_of_one_task_refuses_the_other():
  system = build(tasks=('music',), **RAW)
  for given in ({'music': batch()['music']},
                {'frames': jnp.zeros((BATCH, FRAMES, 0))}):
    with pytest.raises(UserError, match='lacks'):
      system.sample({}, {}, given, jax.random.key(0))
