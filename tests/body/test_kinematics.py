"""Rotations against scipy and identities; kinematics against a chain."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial import transform

from diffax.body import kinematics
from diffax.body import skeletons

RNG = np.random.default_rng(0)
PARENTS = skeletons.AMASS21.parents


@pytest.mark.parametrize('order', ['x', 'zyx', 'yxz', 'xzx'])
def test_euler_is_the_product_of_intrinsic_turns(order):
  angles = RNG.uniform(-3, 3, (5, len(order)))
  expected = transform.Rotation.from_euler(order.upper(), angles).as_matrix()
  np.testing.assert_allclose(
      kinematics.euler(angles, order), expected, atol=1e-12
  )


@pytest.mark.parametrize('size', [0.0, 1e-9, 1e-4, 9e-4, 1.1e-3, 1.0, 3.1])
def test_axis_angle_agrees_with_scipy(size):
  vectors = RNG.normal(size=(2, 4, 3))
  vectors *= size / np.linalg.norm(vectors, axis=-1, keepdims=True)
  expected = transform.Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix()
  np.testing.assert_allclose(
      kinematics.axis_angle(vectors), expected.reshape(2, 4, 3, 3), atol=1e-12
  )


def test_axis_angle_has_the_derivative_of_the_generators_at_zero():
  jacobian = jax.jacobian(kinematics.axis_angle)(jnp.zeros(3))
  # dR / dv_z at 0 is the cross product with z.
  np.testing.assert_allclose(
      jacobian[..., 2], [[0, -1, 0], [1, 0, 0], [0, 0, 0]], atol=1e-6
  )
  assert np.isfinite(jacobian).all()


def test_forward_on_a_bent_chain():
  quarter = kinematics.rotation('z', np.array(np.pi / 2))
  turns = np.stack([np.eye(3), quarter, quarter])
  offsets = np.array([[9.0, 9, 9], [1, 0, 0], [1, 0, 0]])
  places, worlds = kinematics.forward(
      turns, offsets, (-1, 0, 1), np.array([0.0, 0, 1])
  )
  np.testing.assert_allclose(
      places, [[0, 0, 1], [1, 0, 1], [1, 1, 1]], atol=1e-12
  )
  np.testing.assert_allclose(worlds[2], np.diag([-1.0, -1, 1]), atol=1e-12)


def test_forward_keeps_bone_lengths_and_is_equivariant():
  turns = kinematics.axis_angle(RNG.normal(size=(6, 22, 3)))
  offsets, root = kinematics.SMPL_OFFSETS, RNG.normal(size=(6, 3))
  places, _ = kinematics.forward(turns, offsets, PARENTS, root)
  np.testing.assert_allclose(
      kinematics.bone_lengths(places, PARENTS),
      np.broadcast_to(np.linalg.norm(offsets[1:], axis=-1), (6, 21)),
      atol=1e-12
  )
  turn = kinematics.rotation('y', np.array(0.7))
  turns[:, 0] = turn @ turns[:, 0]
  moved, _ = kinematics.forward(turns, offsets, PARENTS, root @ turn.T)
  np.testing.assert_allclose(moved, places @ turn.T, atol=1e-12)


@pytest.mark.parametrize('name', ['amass21', 'h36m16', 'body14'])
def test_bones_take_their_lengths_and_keep_their_directions(name):
  parents = skeletons.SKELETONS[name].parents
  places = RNG.normal(size=(2, 5, len(parents), 3))
  lengths = RNG.uniform(0.1, 2, (2, 1, len(parents) - 1))
  found = kinematics.with_bone_lengths(places, lengths, parents)
  np.testing.assert_allclose(
      kinematics.bone_lengths(found, parents),
      np.broadcast_to(lengths, (2, 5, len(parents) - 1)), rtol=1e-12
  )
  np.testing.assert_array_equal(found[..., 0, :], places[..., 0, :])
  up = list(parents[1:])
  before, after = (
      x[..., 1:, :] - x[..., up, :] for x in (places, found)
  )
  np.testing.assert_allclose(
      np.cross(before, after), 0, atol=1e-12
  )
  assert (np.sum(before * after, -1) > 0).all()
  # Bones that have their lengths already stay as they are.
  own = kinematics.bone_lengths(places, parents)
  np.testing.assert_allclose(
      kinematics.with_bone_lengths(places, own, parents), places, atol=1e-12
  )


def test_a_fitted_turn_is_the_one_that_was_made():
  shape = RNG.normal(size=(4, 5, 3))
  turns = kinematics.axis_angle(RNG.normal(size=(4, 3)))
  points = shape @ turns.swapaxes(-1, -2)
  np.testing.assert_allclose(
      kinematics.fit_rotation(shape, points), points, atol=1e-12
  )
  # Two points and the origin lie in a plane: its mirror image is a turn.
  np.testing.assert_allclose(
      kinematics.fit_rotation(shape[:, :2], points[:, :2]), points[:, :2],
      atol=1e-12
  )


def test_the_fit_is_a_turn_and_better_than_others():
  shape, points = RNG.normal(size=(2, 30, 3, 3))
  points[:15] = shape[:15] * np.array([1.0, 1.0, -1.0])
  found = kinematics.fit_rotation(shape, points)
  turn = np.linalg.solve(shape, found)
  np.testing.assert_allclose(
      turn @ turn.swapaxes(-1, -2), np.broadcast_to(np.eye(3), turn.shape),
      atol=1e-8
  )
  np.testing.assert_allclose(np.linalg.det(turn), 1, atol=1e-8)
  gap = np.linalg.norm(found - points, axis=(1, 2))
  for size in (0.03, 1.0):
    other = kinematics.axis_angle(size * RNG.normal(size=(50, 30, 3)))
    gaps = np.linalg.norm(found @ other - points, axis=(2, 3))
    assert (gaps >= gap - 1e-9).all()


def test_joints_hang_on_a_child_of_the_root():
  branch = kinematics.root_branches(PARENTS)
  names = np.array(skeletons.AMASS21.nodes)
  assert set(names[branch == 1]) == {'RHip', 'RKnee', 'RHeel', 'RFoot'}
  assert (branch == 2).sum() == 13
  # Parents after their children, and the root's children first to last.
  assert kinematics.root_branches((-1, 2, 0, 0, 1)).tolist() == [0, 0, 1, 0]


def test_a_rigid_root_moves_what_hangs_on_it_along():
  places = RNG.normal(size=(2, 3, 22, 3))
  shape = RNG.normal(size=(2, 1, 3, 3))
  found = kinematics.with_rigid_root(places, shape, PARENTS)
  children = found[..., 1:4, :] - found[..., :1, :]
  square = children @ children.swapaxes(-1, -2)
  expected = shape @ shape.swapaxes(-1, -2)
  np.testing.assert_allclose(
      square, np.broadcast_to(expected, square.shape), atol=1e-12
  )
  lengths = kinematics.bone_lengths(places, PARENTS)[..., 3:]
  np.testing.assert_allclose(
      kinematics.bone_lengths(found, PARENTS)[..., 3:], lengths, atol=1e-12
  )
  np.testing.assert_array_equal(found[..., 0, :], places[..., 0, :])
  own = places[..., 1:4, :] - places[..., :1, :]
  np.testing.assert_allclose(
      kinematics.with_rigid_root(places, own, PARENTS), places, atol=1e-12
  )


def test_a_joint_on_its_parent_stays_there():
  places = jnp.zeros((3, 3)).at[2].set(jnp.array([0.0, 0.0, 5.0]))
  found = kinematics.with_bone_lengths(places, jnp.ones(2), (-1, 0, 1))
  np.testing.assert_array_equal(found, [[0, 0, 0], [0, 0, 0], [0, 0, 1]])


def test_jax_and_numpy_agree_under_jit():
  angles = RNG.normal(size=(4, 22, 3)).astype(np.float32)
  offsets = kinematics.SMPL_OFFSETS.astype(np.float32)
  root = np.zeros((4, 3), np.float32)

  @jax.jit
  def run(angles, offsets, root):
    turns = kinematics.axis_angle(angles)
    places, _ = kinematics.forward(turns, offsets, PARENTS, root)
    return places, kinematics.bone_lengths(places, PARENTS)

  places, lengths = run(angles, offsets, root)
  assert isinstance(places, jax.Array) and places.dtype == jnp.float32
  expected, _ = kinematics.forward(
      kinematics.axis_angle(angles), offsets, PARENTS, root
  )
  assert isinstance(expected, np.ndarray) and expected.dtype == np.float32
  np.testing.assert_allclose(places, expected, atol=2e-6)
  np.testing.assert_allclose(
      lengths, kinematics.bone_lengths(expected, PARENTS), atol=2e-6
  )


@pytest.mark.parametrize('parents, words', [
    ((0, 0), 'expected -1 for joint 0'),
    ((-1, 2, 0), 'expected 0 to 0 for joint 1, found 2'),
])
def test_disordered_parents_are_refused(parents, words):
  with pytest.raises(ValueError, match=words):
    kinematics.check_parents(parents)


def test_unknown_axis_and_wrong_order_are_refused():
  with pytest.raises(ValueError, match="'x', 'y' or 'z', found 'w'"):
    kinematics.rotation('w', np.array(0.0))
  with pytest.raises(ValueError, match='expected 2 letters'):
    kinematics.euler(np.zeros((4, 2)), 'xyz')
