"""The autoencoders: sizes, who is trained by what, and the alignment."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.diffusion import adversarial
from diffax.errors import UserError
from diffax.nn.unet import parameters
from diffax.systems import momu_vae

INFO = {'music': {'dims': 24}, 'motion': {'dims': 6}, 'frames': 24}
NETWORK = {'width': 4, 'multiples': (1, 2), 'blocks': 0, 'groups': 2,
           'latent': 3}
MUSIC = {'network': NETWORK, 'critic': 8}
GAN = {'start': 10}
CLIPS = {'clip': 4, 'draws': 8, 'categories': 4, 'clips': 4}
BATCH, FRAMES = 2, 24


def batch(step=0):
  rng = np.random.default_rng(0)

  def draw(*shape):
    return jnp.asarray(rng.normal(size=shape), jnp.float32)

  return {
      'music': draw(BATCH, FRAMES, 24), 'motion': draw(BATCH, FRAMES, 6),
      'amplitude': jnp.abs(draw(BATCH, FRAMES)),
      'step': jnp.full(BATCH, step),
  }


def scrambled(shapes):
  """Make parameters that are noise, so that none is at its start."""
  rng = np.random.default_rng(1)
  return jax.tree.map(
      lambda x: jnp.asarray(rng.normal(size=x.shape) * 0.2, jnp.float32),
      shapes,
  )


@pytest.fixture(scope='module')
def music():
  """The first stage, its parameters, and value and gradient of its loss."""
  system = momu_vae.momu_mel_vae(INFO, gan=GAN, kl=0.1, **MUSIC)
  shapes = jax.eval_shape(system.init, jax.random.key(0), batch())
  run = jax.jit(jax.value_and_grad(system.loss, has_aux=True))
  return system, scrambled(shapes.params), run


@jax.jit
def evidence(params, key):
  part = momu_vae.part_of(INFO, 'music', **MUSIC)
  return momu_vae.evidence(part, params, batch()['music'], key, 0.1)


def test_sizes_are_the_papers():
  info = {'music': {'dims': 80}, 'motion': {'dims': 28}}
  first = jax.eval_shape(
      momu_vae.momu_mel_vae(info).init, jax.random.key(0), {}
  )
  assert parameters(first.params['autoencoder']) == 212_958_212
  assert parameters(first.params['critic']) == 2_764_481
  second = jax.eval_shape(
      momu_vae.momu_motion_vae(info).init, jax.random.key(0), {}
  )
  assert parameters(second.params) == 212_758_480
  assert jax.tree.map(jnp.shape, second.frozen['music']) == jax.tree.map(
      jnp.shape, first.params
  )


def test_the_critic_rests_until_its_step(music):
  _, params, run = music
  key = jax.random.key(1)
  (loss, metrics), grads = run(params, {}, batch(9), key)
  assert metrics['critic'] == 0
  assert all(np.all(x == 0) for x in jax.tree.leaves(grads['critic']))
  np.testing.assert_allclose(loss, evidence(params, key).loss, rtol=1e-5)
  (_, metrics), grads = run(params, {}, batch(10), key)
  assert metrics['critic'] > 0 and metrics['gan_weight'] > 0
  assert all(np.any(x != 0) for x in jax.tree.leaves(grads['critic']['params'])
             if x.ndim > 1)


def test_one_gradient_is_that_of_two_players(music):
  _, params, run = music
  key, data = jax.random.key(1), batch(10)
  part = momu_vae.part_of(INFO, 'music', **MUSIC)
  x = data['music']
  (_, metrics), grads = run(params, {}, data, key)

  def first(autoencoder):
    full = {**params, 'autoencoder': autoencoder}
    found = momu_vae.evidence(part, full, x, key, 0.1)
    verdicts = part.judge(params, found.made)
    return found.loss - 2 * metrics['gan_weight'] * jnp.mean(verdicts)

  fixed = evidence(params, key).made

  def second(critic):
    full = {**params, 'critic': critic}
    r1 = jnp.mean(jax.grad(lambda y: jnp.sum(part.judge(full, y)))(x) ** 2)
    told = adversarial.critic(part.judge(full, x), part.judge(full, fixed))
    return 2 * told + 3 * r1

  players = {'autoencoder': first, 'critic': second}
  want = jax.jit(lambda params: {
      name: jax.grad(player)(params[name]) for name, player in players.items()
  })(params)
  for got, expected in zip(
      jax.tree.leaves(grads), jax.tree.leaves(want), strict=True
  ):
    np.testing.assert_allclose(got, expected, rtol=2e-3, atol=2e-3)


def test_the_weight_makes_both_pull_alike(music):
  _, params, run = music
  data, key = batch(10), jax.random.key(1)
  part = momu_vae.part_of(INFO, 'music', **MUSIC)
  (_, metrics), _ = run(params, {}, data, key)
  found = evidence(params, key)

  def last(kernel, judge):
    tree = params['autoencoder']['params']
    conv = {**tree['write']['conv'], 'kernel': kernel}
    inner = {'params': {**tree, 'write': {'conv': conv}}}
    y = part.output({'autoencoder': inner}, found.features)
    if judge:
      return -jnp.mean(part.judge(params, y))
    return jnp.sum(jnp.abs(y - data['music'])) / BATCH

  kernel = params['autoencoder']['params']['write']['conv']['kernel']
  norms = [
      np.linalg.norm(jax.jit(jax.grad(last), static_argnums=1)(kernel, judge))
      for judge in (False, True)
  ]
  want = 0.5 * norms[0] / (norms[1] + 1e-4)
  np.testing.assert_allclose(metrics['gan_weight'], want, rtol=1e-3)


def test_the_critic_sees_a_stretch_that_moves():
  x = jnp.arange(40.0).reshape(1, 20, 2)
  starts = set()
  for seed in range(20):
    seen = momu_vae._stretch(jax.random.key(seed), x, 8)(x)
    assert seen.shape == (1, 8, 2)
    start = int(seen[0, 0, 0]) // 2
    np.testing.assert_array_equal(seen, x[:, start:start + 8])
    starts.add(start)
  assert len(starts) > 5
  whole = momu_vae._stretch(jax.random.key(0), x, None)(x)
  np.testing.assert_array_equal(whole, x)


@pytest.fixture(scope='module')
def motion():
  system = momu_vae.momu_motion_vae(
      INFO, network=NETWORK, music=MUSIC, contrast=50.0, clips=CLIPS
  )
  shapes = jax.eval_shape(system.init, jax.random.key(0), batch())
  return system, scrambled(shapes)


def test_the_motion_follows_the_music(motion):
  system, (params, frozen) = motion
  data, key = batch(), jax.random.key(3)
  run = jax.jit(jax.value_and_grad(system.loss, has_aux=True))
  values = []
  for _ in range(12):
    (_, metrics), grads = run(params, frozen, data, key)
    values.append((metrics['contrast'], metrics['l1']))
    norm = jnp.sqrt(sum(jnp.sum(g**2) for g in jax.tree.leaves(grads)))
    rate = 0.3 / norm
    params = jax.tree.map(lambda p, g: p - rate * g, params, grads)
  assert values[-1][0] < 0.8 * values[0][0]
  assert values[-1][1] < 1.1 * values[0][1]


def test_without_contrast_the_music_is_not_read(motion):
  _, (params, frozen) = motion
  system = momu_vae.momu_motion_vae(
      INFO, network=NETWORK, music=MUSIC, contrast=0.0
  )
  _, metrics = jax.eval_shape(
      system.loss, params, frozen, {'motion': batch()['motion']},
      jax.random.key(0),
  )
  assert set(metrics) == {'l1', 'kl'}


def test_changes_from_frame_to_frame_can_be_weighed(motion):
  _, (params, frozen) = motion
  data, key = {'motion': batch()['motion']}, jax.random.key(0)
  options = {'network': NETWORK, 'music': MUSIC, 'contrast': 0.0}
  (plain, _), (more, metrics) = (
      momu_vae.momu_motion_vae(INFO, velocity=weight, **options).loss(
          params, frozen, data, key)
      for weight in (0.0, 3.0)
  )
  part = momu_vae.part_of(INFO, 'motion', network=NETWORK)
  draw = jax.random.split(key)[0]
  made = momu_vae.evidence(part, params, data['motion'], draw, 1e-5).made
  apart = np.abs(np.diff(made, axis=1) - np.diff(data['motion'], axis=1))
  np.testing.assert_allclose(metrics['velocity'], apart.mean(), rtol=1e-5)
  np.testing.assert_allclose(
      more - plain, 3 * apart.sum() / len(apart), rtol=1e-4)


def test_what_it_encodes_and_reconstructs(motion, music):
  system, (params, frozen) = motion
  key = jax.random.key(0)
  latents = jax.eval_shape(system.encode, params, frozen, batch(), key)
  assert {k: v.shape for k, v in latents.items()} == dict.fromkeys(
      ('motion', 'music'), (BATCH, FRAMES // 2, 3)
  )
  out = jax.eval_shape(system.sample, params, frozen, batch(), key)
  assert {k: v.shape for k, v in out.items()} == {'motion': (BATCH, FRAMES, 6)}
  first, params, _ = music
  out = jax.eval_shape(first.sample, params, {}, batch(), key)
  assert {k: v.shape for k, v in out.items()} == {'music': (BATCH, FRAMES, 24)}


def test_amplitudes_at_latents():
  got = momu_vae.at_latents(jnp.array([[1.0, 2.0, 5.0, 4.0]]))
  np.testing.assert_array_equal(got, [[2.0, 5.0]])


@pytest.mark.parametrize('build, options, named', [
    (momu_vae.momu_mel_vae, {'network': {'width': 33}}, 'width'),
    (momu_vae.momu_mel_vae, {'network': {'depth': 1}}, 'network'),
    (momu_vae.momu_mel_vae, {'network': {'ends': 'held'}}, 'network.ends'),
    (momu_vae.momu_mel_vae, {'critic': 9}, 'critic'),
    (momu_vae.momu_mel_vae, {'gan': {'begin': 1}}, 'gan'),
    (momu_vae.momu_mel_vae, {'gan': {'frames': 23}}, 'gan.frames'),
    (momu_vae.momu_mel_vae, {'gan': {'frames': 25}}, 'gan.frames'),
    (momu_vae.momu_motion_vae, {'clips': {'length': 1}}, 'clips'),
    (momu_vae.momu_motion_vae, {'music': {'width': 4}}, 'music'),
    (momu_vae.momu_motion_vae, {'network': {'latent': 7}}, 'latent'),
    (momu_vae.momu_motion_vae, {'velocity': -1.0}, 'velocity'),
])
def test_mistakes_are_named(build, options, named):
  with pytest.raises(UserError, match=named):
    build(INFO, **options)


def test_odd_lengths_are_refused(music):
  system, params, _ = music
  with pytest.raises(UserError, match='even number of frames'):
    system.sample(params, {}, {'music': jnp.zeros((1, 25, 24))}, None)


def test_an_autoencoder_reconstructs_and_nothing_else(music):
  system, params, _ = music
  with pytest.raises(UserError, match=r"expected music.*\['motion'\].*stages"):
    system.sample(params, {}, {'motion': jnp.zeros((1, 24, 6))}, None)


def test_the_critic_sees_a_stretch(monkeypatch):
  long = INFO | {'frames': 32}
  seen = []
  monkeypatch.setattr(
      momu_vae.Part, 'judge',
      lambda self, params, x: seen.append(x.shape[1]) or x.mean((1, 2)),
  )
  data = batch() | {'music': jnp.zeros((BATCH, 32, 24))}
  for frames in (24, None):
    system = momu_vae.momu_mel_vae(long, gan={'frames': frames}, **MUSIC)
    shapes = jax.eval_shape(system.init, jax.random.key(0), data)
    jax.eval_shape(system.loss, shapes.params, {}, data, jax.random.key(0))
    assert set(seen) == {frames or 32} and len(seen) >= 4
    seen.clear()
