"""Trained rivals: what each sees, learns, samples and encodes."""

import copy
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.errors import UserError
from diffax.systems import lambda_baselines

BATCH, LENGTH, PATCH, WIDTH, SAMPLES = 4, 8, 2, 8, 3
NETWORK = {
    'width': WIDTH, 'encoder_layers': 1, 'decoder_layers': 1, 'heads': 2,
    'hidden': 8, 'patch': PATCH, 'dropout': 0.0,
}
DIFFUSION = {
    'process': {'steps': 20}, 'sampler': {'name': 'ddim', 'steps': 3},
}
ENERGY = {'energy': {'weight': 1.0, 'norm': 'squared'}}
ALIGNED = {
    'alignment': {'name': 'latent_mse', 'rule': 'fixed', 'alpha': 0.5}
}
RIVALS = {
    'shared': (lambda_baselines.shared_encoder, DIFFUSION | ENERGY),
    'cvae': (lambda_baselines.cvae, ENERGY | ALIGNED),
    'regressor': (lambda_baselines.regressor, {}),
    'cdcd': (lambda_baselines.cdcd_like, DIFFUSION | ENERGY),
    'cmmd': (lambda_baselines.cmmd_like, DIFFUSION | ENERGY),
}
NAMES = tuple(RIVALS)


def series(batch, seed=0, modalities=('x', 'y')):
  """Draw sines: what comes first tells all of the others."""
  rng = np.random.default_rng(seed)
  phase = rng.uniform(0, 6.28, (batch, 1, 1)) + np.arange(LENGTH)[:, None] / 2
  return {
      name: np.float32(1.4 * np.sin(phase + np.arange(size)[None, None]))
      for name, size in zip(modalities, (3, 1, 2))
  }


def build(name, modalities=('x', 'y'), **options):
  arrays = series(64, 9, modalities)
  info = {
      'modalities': {m: a.shape[-1] for m, a in arrays.items()},
      'length': LENGTH,
      'covariance': {
          m: np.atleast_2d(np.cov(a.reshape(-1, a.shape[-1]).T))
          for m, a in arrays.items()
      },
  }
  make, settings = RIVALS[name]
  return make(info, **{
      'network': NETWORK, 'samples': SAMPLES, **settings, **options
  })


def scrambled(system, batch):
  """Make parameters that are noise, which needs no compilation."""
  shapes = jax.eval_shape(system.init, jax.random.key(0), batch)
  rng = np.random.default_rng(0)
  assert not shapes.frozen
  return jax.tree.map(
      lambda x: np.float32(rng.normal(size=x.shape) * 0.3), shapes.params
  )


@functools.cache
def made(name):
  """Return a system, its parameters and its compiled functions."""
  system = build(name)
  params = scrambled(system, series(BATCH))
  step = jax.jit(jax.value_and_grad(
      lambda p, batch, key: system.loss(p, {}, batch, key), has_aux=True
  ))
  sample = jax.jit(lambda p, batch, key: system.sample(p, {}, batch, key))
  return system, params, step, sample


# The CDCD-like rival samples and encodes as the twin does.
@pytest.mark.parametrize('name', ['shared', 'cvae', 'regressor', 'cmmd'])
def test_samples_follow_what_is_given(name):
  _, params, _, sample = made(name)
  given = {'y': series(BATCH)['y']}
  drawn = sample(params, given, jax.random.key(0))
  assert set(drawn) == {'x'} and drawn['x'].shape == (BATCH, SAMPLES, LENGTH, 3)
  again = sample(params, given, jax.random.key(0))['x']
  np.testing.assert_array_equal(drawn['x'], again)
  other = sample(params, {'y': -given['y']}, jax.random.key(0))['x']
  assert np.abs(other - again).min((1, 2)).max() > 1e-5
  key = sample(params, given, jax.random.key(1))['x']
  if name == 'regressor':
    np.testing.assert_array_equal(key, again)
    np.testing.assert_allclose(again, again[:, :1].repeat(SAMPLES, 1))
  else:
    assert np.abs(key - again).max() > 1e-4
    assert np.ptp(again, axis=1).max() > 1e-4


@pytest.mark.parametrize('name', NAMES)
def test_gradients_reach_every_parameter(name):
  _, params, step, _ = made(name)
  grads = step(params, series(BATCH), jax.random.key(0))[1]
  dead = [
      jax.tree_util.keystr(path)
      for path, grad in jax.tree_util.tree_leaves_with_path(grads)
      if float(jnp.abs(grad).max()) == 0
  ]
  # A shift of all keys shifts all scores of a query alike, and the weight of
  # an alignment is learned by another rule than `fixed`.
  expected = {"['log_weight']"}
  assert {n for n in dead if "'key']['bias']" not in n} <= expected


@pytest.mark.parametrize('name', NAMES)
def test_thirty_steps_lower_the_loss(name):
  _, params, step, _ = made(name)
  losses = []
  for i in range(30):
    (loss, _), grads = step(params, series(BATCH), jax.random.key(i))
    params = jax.tree.map(
        lambda w, grad: w - 0.01 * np.sign(grad), params, grads
    )
    losses.append(float(loss))
  assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])


@pytest.mark.parametrize('name', ['cvae', 'regressor', 'cmmd'])
def test_latents_are_of_one_modality(name):
  system, params, _, _ = made(name)
  batch = series(BATCH)
  encode = jax.jit(lambda p, b: system.encode(p, {}, b, jax.random.key(0)))
  both = encode(params, batch)
  changed = encode(params, {**batch, 'y': -batch['y']})
  assert {m: z.shape for m, z in both.items()} == dict.fromkeys(
      'xy', (BATCH, LENGTH // PATCH, WIDTH)
  )
  np.testing.assert_array_equal(both['x'], changed['x'])
  assert np.abs(both['y'] - changed['y']).max() > 1e-3
  assert set(jax.eval_shape(encode, params, {'y': batch['y']})) == {'y'}


def test_the_shared_encoder_and_mixed_regressors_have_no_latents():
  assert made('shared')[0].encode is None
  assert build('regressor', ('x', 'y', 'z')).encode is None


def test_known_frames_stay():
  _, params, _, sample = made('cvae')
  batch = series(BATCH)
  known = np.ones((BATCH, LENGTH), bool)
  known[:, 2:6] = False
  drawn = sample(params, {**batch, 'x_known': known}, jax.random.key(0))['x']
  repeated = np.repeat(batch['x'][:, None], SAMPLES, axis=1)
  seen = np.broadcast_to(known[:, None, :, None], repeated.shape)
  np.testing.assert_allclose(drawn[seen], repeated[seen], atol=1e-5)
  assert np.abs(drawn - repeated)[~seen].min() > 0


def test_the_shared_encoder_sees_the_given_as_noisy_as_the_sample():
  _, params, _, sample = made('shared')
  # Without the decoder's condition, y speaks through the encoder alone.
  params = copy.deepcopy(params)
  gate = params['x']['params']['condition_y']
  params['x']['params']['condition_y'] = jax.tree.map(np.zeros_like, gate)
  once = build('shared', sampler={'name': 'ddim', 'steps': 1})

  def change(sample):
    y = series(BATCH)['y']
    drawn = [
        sample(params, {'y': given}, jax.random.key(0))['x']
        for given in (y, -y)
    ]
    return float(jnp.abs(drawn[0] - drawn[1]).max())

  # The first of the steps sees nothing but noise.
  first = change(jax.jit(lambda p, batch, key: once.sample(p, {}, batch, key)))
  assert first < 0.1 * change(sample)


def test_the_divergence_is_counted_in_nats_per_token():
  system, params, step, _ = made('cvae')
  batch, key = series(BATCH), jax.random.key(0)
  params = copy.deepcopy(params)
  for name in 'xy':
    moment = params[name]['params']['moment']
    params[name]['params']['moment'] = jax.tree.map(np.zeros_like, moment)
  (loss, parts), _ = step(params, batch, key)
  assert parts['kl_x'] == parts['kl_y'] == parts['align'] == 0
  plain = parts['mse_x'] + parts['mse_y'] + parts['energy']
  np.testing.assert_allclose(loss, plain, rtol=1e-6)
  bias = jnp.concatenate([jnp.full(WIDTH, 2.0), jnp.full(WIDTH, np.log(3.0))])
  params['x']['params']['moment']['bias'] = bias
  (loss, parts), _ = step(params, batch, key)
  nats = WIDTH * (np.log(1 / np.sqrt(3)) + (3 + 4) / 2 - 1 / 2)
  np.testing.assert_allclose(parts['kl_x'], 0.01 * nats, rtol=1e-5)
  np.testing.assert_allclose(parts['align'], 4.0, rtol=1e-5)
  plain = parts['mse_x'] + parts['mse_y'] + parts['energy'] + parts['kl_x']
  np.testing.assert_allclose(loss, plain + 0.5 * 4.0, rtol=1e-5)
  z = system.encode(params, {}, {'x': batch['x']}, key)['x']
  np.testing.assert_allclose(z, 2.0)


def test_a_regressor_minimises_the_error_of_its_samples():
  _, params, step, sample = made('regressor')
  batch = series(BATCH)
  (loss, parts), _ = step(params, batch, jax.random.key(0))
  drawn = sample(params, {'y': batch['y']}, jax.random.key(1))['x']
  error = np.mean((drawn - batch['x'][:, None]) ** 2)
  np.testing.assert_allclose(parts['mse_x'], error, rtol=1e-5)
  np.testing.assert_allclose(loss, error + parts['mse_y'], rtol=1e-5)


def test_shuffled_targets_are_pushed_away_within_bounds():
  _, params, step, _ = made('cdcd')
  (loss, parts), _ = step(params, series(BATCH), jax.random.key(0))
  for name in 'xy':
    pushed = parts[f'mse_{name}'] - parts[f'contrast_{name}']
    assert 0.1 * 5e-5 < pushed < 2.01 * 5e-5
  total = parts['contrast_x'] + parts['contrast_y'] + parts['energy']
  np.testing.assert_allclose(loss, total, rtol=1e-6)


def test_one_joint_model_takes_whatever_is_given():
  names = ('x', 'y', 'z')
  system = build('cmmd', names)
  batch = series(BATCH, modalities=names)
  params = jax.eval_shape(system.init, jax.random.key(0), batch).params
  for given in (('y',), ('x', 'z')):
    drawn = jax.eval_shape(
        lambda p: system.sample(
            p, {}, {m: batch[m] for m in given}, jax.random.key(0)  # noqa: B023
        ),
        params
    )
    assert set(drawn) == set(names) - set(given)


def test_a_joint_model_reads_what_is_known_alone():
  _, params, _, sample = made('cmmd')
  x = series(BATCH)['x']
  known = np.zeros((BATCH, LENGTH), bool)
  known[:, 2:6] = True
  drawn, blind = (
      sample(params, {'x': values, 'x_known': known}, jax.random.key(0))
      for values in (x, np.where(known[..., None], x, np.float32(9.0)))
  )
  assert set(drawn) == {'x', 'y'}
  jax.tree.map(np.testing.assert_array_equal, drawn, blind)
  repeated = np.repeat(x[:, None], SAMPLES, axis=1)
  np.testing.assert_allclose(
      drawn['x'][:, :, 2:6], repeated[:, :, 2:6], atol=1e-5
  )
  assert np.abs(drawn['x'] - repeated)[:, :, :2].min() > 0


def test_a_joint_model_is_given_any_part_but_never_all():
  names = ('x', 'y', 'z')
  masks = lambda_baselines.draw_given(jax.random.key(0), names, 7000)
  code = sum(np.int32(masks[name]) << i for i, name in enumerate(names))
  counts = np.bincount(code, minlength=8)
  # The deviation of a count is 29.
  assert counts[7] == 0 and np.abs(counts[:7] - 1000).max() < 120


def test_what_a_joint_model_is_given_it_need_not_predict():
  system, params, _, _ = made('cmmd')
  loss = jax.jit(system.loss)
  zeros = []
  for seed in range(12):
    _, parts = loss(params, {}, series(1), jax.random.key(seed))
    zeros.append((bool(parts['mse_x'] == 0), bool(parts['mse_y'] == 0)))
  assert set(zeros) == {(False, False), (True, False), (False, True)}


@pytest.mark.parametrize('name', NAMES)
def test_wrong_settings_are_named(name):
  with pytest.raises(UserError, match='widht'):
    build(name, network={**NETWORK, 'widht': 3})
  with pytest.raises(UserError, match='patch'):
    build(name, network={**NETWORK, 'patch': 3})
  system, params, _, _ = made(name)
  with pytest.raises(UserError, match='sample: expected'):
    system.sample(params, {}, {}, jax.random.key(0))


@pytest.mark.parametrize('name, field', [
    ('cvae', 'beta'), ('cdcd', 'shuffles'), ('cmmd', 'temperature'),
])
def test_numbers_must_be_positive(name, field):
  with pytest.raises(UserError, match=f'system.{field}: .* found 0'):
    build(name, **{field: 0})


@pytest.mark.parametrize('name', ['shared', 'cvae', 'regressor', 'cdcd'])
def test_all_but_one_must_be_given(name):
  names = ('x', 'y', 'z')
  system = build(name, names)
  batch = series(2, modalities=names)
  shapes = jax.eval_shape(system.init, jax.random.key(0), batch).params
  with pytest.raises(UserError, match='all but one'):
    jax.eval_shape(
        lambda p: system.sample(p, {}, {'x': batch['x']}, jax.random.key(0)),
        shapes
    )
  drawn = jax.eval_shape(
      lambda p: system.sample(
          p, {}, {m: batch[m] for m in 'xz'}, jax.random.key(0)
      ),
      shapes
  )
  assert drawn['y'].shape == (2, SAMPLES, LENGTH, 1)
