"""Bones of futures: what keeps its length, and what stays as it is."""

import jax.numpy as jnp
import numpy as np
import pytest

from diffax.body import kinematics
from diffax.body import skeletons
from diffax.systems import skeleton_bones

BODY = skeletons.AMASS21


def test_a_rigid_pelvis_keeps_every_edge_of_the_graph():
  rng = np.random.default_rng(0)
  past, motion = (
      jnp.asarray(rng.standard_normal(shape), jnp.float32)
      for shape in ((3, 1, 21, 3), (3, 2, 6, 21, 3))
  )
  found, tree = (
      np.asarray(skeleton_bones.fixed(kind, BODY.parents, past, motion))
      for kind in ('rigid', 'past')
  )
  ends = np.array(BODY.edges).T

  def lengths(x):
    return np.linalg.norm(x[..., ends[0], :] - x[..., ends[1], :], axis=-1)

  gaps = abs(lengths(found) / lengths(np.asarray(past)[:, None]) - 1)
  assert gaps.max() < 1e-4
  # Else the triangle of the hips and the spine is free.
  gaps = abs(lengths(tree) / lengths(np.asarray(past)[:, None]) - 1)
  assert (gaps.max((0, 1, 2))[:3] > 1e-2).all() and gaps[..., 3:].max() < 1e-4


@pytest.mark.parametrize('kind', skeleton_bones.KINDS)
def test_a_future_with_the_bones_of_its_past_stays_as_it_is(kind):
  rng = np.random.default_rng(0)
  turns = kinematics.axis_angle(0.4 * rng.normal(size=(2, 7, 22, 3)))
  places, _ = kinematics.forward(
      turns, kinematics.SMPL_OFFSETS, BODY.parents, np.zeros((2, 7, 3))
  )
  motion = jnp.asarray(places[:, :, 1:], jnp.float32)
  past, future = motion[:, :3], motion[:, None, 3:]
  found = skeleton_bones.fixed(kind, BODY.parents, past, future)
  np.testing.assert_allclose(found, future, atol=1e-6)
