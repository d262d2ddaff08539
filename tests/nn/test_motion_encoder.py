"""The encoder of motion: its size, its axes, the order of its joints."""

import jax
import jax.numpy as jnp
import numpy as np

from diffax.nn import motion_encoder
from diffax.nn.motion_encoder import MotionEncoder
from diffax.nn.unet import parameters

SMALL = {'width': 8, 'features': 6, 'depth': 1, 'heads': 2, 'expansion': 1}
JOINTS, FRAMES = 3, 8


def motion():
  rng = np.random.default_rng(0)
  return rng.normal(size=(2, FRAMES, 2 * JOINTS)).astype(np.float32)


def test_the_size_is_that_of_the_lite_model():
  shapes = jax.eval_shape(
      MotionEncoder().init, jax.random.key(0), jnp.zeros((1, 4, 34))
  )
  inner = 256 * 4
  axis = 4 * (256 + 1) * 256 + (256 + 1) * inner + (inner + 1) * 256 + 4 * 256
  layer = 4 * axis + (512 + 1) * 2
  ends = (4 + 1) * 256 + 17 * 256 + 2 * 256 + (256 + 1) * 512
  assert parameters(shapes) == 5 * layer + ends
  assert round(parameters(shapes) / 1e6) == 16


def test_joints_are_known_by_their_embedding_alone():
  network, x = MotionEncoder(**SMALL), motion()
  shapes = jax.eval_shape(network.init, jax.random.key(0), x)
  rng = np.random.default_rng(1)
  params = jax.tree.map(
      lambda p: jnp.asarray(rng.normal(size=p.shape) * 0.3, jnp.float32), shapes
  )
  run = jax.jit(network.apply)
  plain = run(params, x)
  assert plain.shape == (2, FRAMES // 2, 6)
  order = np.array([2, 0, 1])
  moved = x.reshape(2, FRAMES, JOINTS, 2)[:, :, order].reshape(x.shape)
  assert np.abs(run(params, moved) - plain).max() > 1e-3
  place = params['params']['joints'][:, :, order]
  renamed = {'params': {**params['params'], 'joints': place}}
  np.testing.assert_allclose(run(renamed, moved), plain, atol=1e-5)


def test_axes():
  x = np.random.default_rng(0).normal(size=(2, 5, 3, 4)).astype(np.float32)

  def total(y):
    return jnp.broadcast_to(jnp.sum(y, 1, keepdims=True), y.shape)

  np.testing.assert_allclose(
      motion_encoder.over_joints(total, x)[:, :, 0], x.sum(2), atol=1e-5
  )
  np.testing.assert_allclose(
      motion_encoder.over_time(total, x)[:, 0], x.sum(1), atol=1e-5
  )
