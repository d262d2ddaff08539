"""MoMu-Diffusion: what is learnt, both at once by hand, any length."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax import systems
from diffax.errors import UserError
from diffax.nn.unet import parameters
from diffax.systems import momu
from diffax.train import optim
from diffax.train import state as states
from diffax.train import step as steps

VAE = {'network': {'width': 4, 'multiples': (1, 2), 'blocks': 1, 'groups': 2,
                   'latent': 3}}
MUSIC = {**VAE, 'critic': 0}
DENOISER = {'width': 8, 'depth': 1, 'heads': 2, 'groups': 2, 'expansion': 1,
            'taps': 3, 'places': 60}
FRAMES, BATCH = 16, 2
INFO = {'music': {'dims': 5}, 'motion': {'dims': 6}, 'frames': FRAMES}
SMALL = {'music': MUSIC, 'motion': VAE, 'denoiser': DENOISER,
         'process': {'steps': 20}, 'sampler': {'steps': 4}}
OPTIM = {'name': 'adamw', 'weight_decay': 0.3,
         'schedule': {'name': 'constant', 'value': 0.01}}


def build(**options):
  return momu.momu_diffusion(INFO, **{**SMALL, **options})


def model_of(**options):
  """Return the object behind a system."""
  return build(**options).loss.__self__


def batch(frames=FRAMES, count=BATCH, dims=(5, 6)):
  rng = np.random.default_rng(0)

  def draw(*shape):
    return jnp.asarray(rng.normal(size=shape), jnp.float32)

  return {'music': 3 * draw(count, frames, dims[0]),
          'motion': draw(count, frames, dims[1])}


def scrambled(tree):
  """Replace zeros at the start of blocks, which would hide everything."""
  rng = np.random.default_rng(5)
  return jax.tree.map(
      lambda x: x + jnp.asarray(0.2 * rng.normal(size=x.shape), jnp.float32),
      tree,
  )


@pytest.fixture(scope='module')
def made():
  system = build()
  params, frozen = jax.jit(system.init)(jax.random.key(0), batch())
  held = {'music': scrambled(params['music']),
          'motion': scrambled(params['motion'])}
  params = {**params, **held}
  return system, params, frozen, jax.jit(system.sample)


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


def test_tasks_learn_apart(made):
  _, params, frozen, _ = made
  data, key = batch(), jax.random.key(1)

  def gradient(tasks):
    loss = build(tasks=tasks, clip=0.1).loss
    own = {**{task: params[task] for task in tasks}, 'scale': params['scale']}
    run = jax.jit(jax.value_and_grad(loss, has_aux=True))
    return run(own, frozen, data, key)

  (total, both), together = gradient(('music', 'motion'))
  np.testing.assert_allclose(total, sum(both.values()), rtol=1e-6)
  for task in ('music', 'motion'):
    (value, _), alone = gradient((task,))
    np.testing.assert_allclose(value, both[f'mse_{task}'], rtol=1e-6)
    norm = np.sqrt(sum(np.sum(x**2) for x in jax.tree.leaves(alone[task])))
    np.testing.assert_allclose(norm, 0.1, rtol=1e-4)
    for x, y in zip(*map(jax.tree.leaves, (alone[task], together[task]))):
      np.testing.assert_allclose(x, y, atol=1e-6)


def test_the_scale_is_set_once_and_stays(made):
  system, _, frozen, _ = made
  optimiser = optim.optimiser(**OPTIM)
  state = jax.jit(lambda data: states.create(
      system, optimiser, jax.random.key(0), data, frozen
  ))(batch())
  model = system.loss.__self__
  for name in ('music', 'motion'):
    read = model.read(state.params, frozen, batch())[name]
    np.testing.assert_allclose(np.std(read), 1, rtol=1e-4)
  # Latents are not of deviation 1 by themselves.
  assert abs(model.scale(state.params, 'music') - 1) > 1e-2
  for x, y in zip(*map(jax.tree.leaves, (state.params, state.ema))):
    np.testing.assert_array_equal(x, y)
  step = jax.jit(steps.make_step(
      system, optimiser, {'decay': 0.5, 'every': 1, 'start': 0}
  ))
  after = state
  for i in range(5):
    after, _ = step(after, batch(), jax.random.key(i))
  for params in (after.params, after.ema):
    np.testing.assert_allclose(
        model.scale(params, 'music'), model.scale(state.params, 'music'),
        rtol=1e-5,
    )
  # Decay did act, on both numbers of the quotient.
  assert after.params['scale']['music']['one'] < 0.99


def test_each_direction_and_both(made):
  _, params, frozen, sample = made
  data, key = batch(), jax.random.key(2)
  found = sample(params, frozen, {'motion': data['motion']}, key)
  assert sizes(found) == {'music': (BATCH, FRAMES, 5)}
  other = sample(params, frozen, {'motion': 2 * data['motion']}, key)
  assert np.abs(other['music'] - found['music']).max() > 1e-3
  # 40 frames are windows of 16.
  both = sample(params, frozen, {'frames': jnp.zeros((BATCH, 40, 0))}, key)
  assert sizes(both) == {'music': (BATCH, 40, 5), 'motion': (BATCH, 40, 6)}
  assert all(np.isfinite(x).all() for x in both.values())


def network_noise(model, params, task, x, t, given):
  """Run a denoiser, with None for no condition."""
  present = jnp.full(len(x), given is not None)
  given = jnp.zeros_like(x) if given is None else given
  return model.networks[task].apply(
      params[task]['denoiser'], x, jnp.full(len(x), t), given, present
  )


@pytest.mark.parametrize('switch', [0.5, 0.0])
def test_both_at_once_by_hand(made, switch):
  """Algorithm 2 as the paper prints it, in noises, with DDIM's step."""
  _, params, frozen, _ = made
  times, until = [17, 12, 7, 2, 0], round(20 * switch)
  model = model_of(switch=switch)
  sample = jax.jit(model.sample)
  key = jax.random.key(7)
  got = sample(params, frozen, {'frames': jnp.zeros((BATCH, FRAMES, 0))}, key)
  noise = jax.jit(
      lambda task, x, t, given: network_noise(
          model, params, task, x, t, given
      ), static_argnums=0,
  )
  keys = jax.random.split(jax.random.split(key)[0], 2)
  x = {
      task: jax.random.normal(k, (BATCH, FRAMES // 2, 3))
      for task, k in zip(momu.OTHER, keys)
  }
  for t, s in zip(times[:-1], times[1:]):
    (a, b), (c, d) = (
        (float(model.process.alpha[i, 0, 0]),
         float(model.process.sigma[i, 0, 0])) for i in (t, s)
    )
    null = {task: noise(task, x[task], t, None) for task in x}
    clean = {task: (x[task] - b * null[task]) / a for task in x}
    eps = null
    if t <= until:
      told = {
          task: noise(task, x[task], t, clean[momu.OTHER[task]]) for task in x
      }
      eps = {task: null[task] + 3 * (told[task] - null[task]) for task in x}
    x = {
        task: c * (x[task] - b * eps[task]) / a + d * eps[task] for task in x
    }
  for task, z in x.items():
    want = model.finish(params, frozen, task, z, {})
    np.testing.assert_allclose(got[task], want, atol=2e-4, rtol=2e-4)


def test_a_known_part_stays_and_is_continued(made):
  system, params, frozen, sample = made
  data, key = batch(frames=40), jax.random.key(3)
  known = jnp.broadcast_to(jnp.arange(40) < 18, (BATCH, 40))
  given = {**data, 'music_known': known}
  found = sample(params, frozen, given, key)
  assert sizes(found) == {'music': (BATCH, 40, 5)}
  np.testing.assert_array_equal(
      found['music'][:, :18], data['music'][:, :18]
  )
  # What is known tells on what follows, what stands in the rest does not.
  series = system.loss.__self__.read(params, frozen, given)
  model = system.loss.__self__
  expert = model.hold(
      lambda x, t, given: x, 'music', series, given
  )
  z = expert(jnp.zeros_like(series['music']), None, None)
  np.testing.assert_array_equal(z[:, :9], series['music'][:, :9])
  np.testing.assert_array_equal(z[:, 9:], 0)


def test_what_is_cut_off_does_not_count(made):
  _, params, _, _ = made
  model = model_of(shortest=8)
  key = jax.random.key(0)
  rng = np.random.default_rng(0)
  x, given = (jnp.asarray(rng.normal(size=(BATCH, 8, 3)), jnp.float32)
              for _ in range(2))
  mask = jnp.arange(8)[None] < jnp.array([[5], [8]])
  loss = jax.jit(lambda x, given: model.task_loss(
      params['music'], 'music', x, given, mask, key
  ))
  changed = jnp.where(mask[..., None], x, 50.0)
  other = jnp.where(mask[..., None], given, 50.0)
  np.testing.assert_allclose(loss(changed, other), loss(x, given), rtol=1e-5)
  drawn = model.lengths(jax.random.key(1), (500, 8))
  assert set(np.sum(drawn, 1).tolist()) == set(range(4, 9))
  assert model_of().lengths(key, (2, 8)) is None


VARIANTS = {
    'unet': {'network': 'unet', 'denoiser': {
        'base': 8, 'blocks': 1, 'heads': 2, 'groups': 2}},
    'sum': {'denoiser': {**DENOISER, 'join': 'sum', 'positions': 'aligned'}},
    'variable': {'shortest': 8},
    'bfloat16': {'dtype': 'bfloat16'},
    'dpm': {'sampler': {'name': 'dpm_solver_pp', 'steps': 4}},
    'remat': {'denoiser': {**DENOISER, 'remat': True}},
    'encoder': {
        'tasks': ('music',), 'kinds': {'motion': 'encoder'}, 'motion': None,
        'encoder': {'width': 8, 'features': 6, 'depth': 1, 'heads': 2},
    },
    'raw': {'kinds': {'music': 'raw', 'motion': 'raw'}, 'music': None,
            'motion': None},
    'raw_motion': {'tasks': ('motion',), 'kinds': {'motion': 'raw'},
                   'motion': None},
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
  asked = [{momu.OTHER[task]: batch(40)[momu.OTHER[task]]} for task in tasks]
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
  space = momu.space_of(INFO, 'motion', 'raw', 2, None, 'float32')
  x = batch()['motion']
  z = space.encode({}, x)
  assert z.shape == (BATCH, FRAMES // 2, 12)
  np.testing.assert_array_equal(z[:, 3, 6:], x[:, 7])
  np.testing.assert_array_equal(space.decode({}, z), x)


def test_a_length_is_compiled_once():
  system = build(
      kinds={'music': 'raw', 'motion': 'raw'}, music=None, motion=None,
      sampler={'steps': 2},
  )
  params, frozen = jax.jit(system.init)(jax.random.key(0), batch())
  traces = []

  def counted(*args):
    traces.append(1)
    return system.sample(*args)

  sample = jax.jit(counted)
  for i in range(3):
    given = {'motion': batch(24)['motion'] + i}
    sample(params, frozen, given, jax.random.key(i))
  assert len(traces) == 1


@pytest.mark.parametrize('options, named', [
    ({'tasks': ()}, 'tasks'),
    ({'tasks': ('dance',)}, 'tasks'),
    ({'kinds': {'music': 'encoder'}}, 'kinds.music'),
    ({'kinds': {'motion': 'encoder'}, 'motion': None}, 'kinds.motion'),
    ({'kinds': {'motion': 'raw'}}, 'motion'),
    ({'network': 'cnn'}, 'network'),
    ({'denoiser': {'layers': 3}}, 'denoiser'),
    ({'denoiser': {**DENOISER, 'width': 9}}, 'denoiser'),
    ({'denoiser': {**DENOISER, 'join': 'time'}}, 'join'),
    ({'denoiser': {**DENOISER, 'places': 8}}, 'window'),
    ({'window': 10}, 'window'),
    ({'shortest': 8, 'network': 'unet', 'denoiser': VARIANTS['unet'][
        'denoiser']}, 'shortest'),
    ({'condition_dropout': 0.0}, 'condition_dropout'),
    ({'switch': 1.5}, 'switch'),
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
def test_batches_that_ask_for_nothing_sensible(made, given, named):
  system, params, frozen, _ = made
  data = {name: jnp.zeros(shape) for name, shape in given.items()}
  with pytest.raises(UserError, match=named):
    system.sample(params, frozen, data, jax.random.key(0))


def test_a_model_of_one_task_refuses_the_other():
  system = build(tasks=('music',))
  params, frozen = jax.eval_shape(system.init, jax.random.key(0), batch())
  for given in ({'music': batch()['music']},
                {'frames': jnp.zeros((BATCH, FRAMES, 0))}):
    with pytest.raises(UserError, match='lacks'):
      jax.eval_shape(
          system.sample, params, frozen, given, jax.random.key(0)
      )
