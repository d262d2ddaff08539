"""Rotations and forward kinematics, for NumPy and JAX alike.

Angles are in radians, matrices act on columns, and every function returns the
kind of array that it was given (NumPy in, NumPy out, with its precision).

    R(v) = I + sin(a) K + (1 - cos(a)) K^2,   a = |v|, K = [v / a]_x       (1)
    G_j = G_parent(j) R_j,   p_j = p_parent(j) + G_parent(j) o_j           (2)
    p'_j = p'_parent(j) + l_j (p_j - p_parent(j)) / |p_j - p_parent(j)|    (3)

`SMPL_OFFSETS` is the rest pose of the mean body of SMPL as offsets from the
parent joint, for the 22 joints of AMASS: X to the body's left, Y up, Z
forwards.
"""

from collections.abc import Sequence
import types
from typing import TypeVar

import jax.numpy as jnp
import numpy as np

from diffax.typing import Array

AnyArray = TypeVar('AnyArray', np.ndarray, Array)

SMPL_OFFSETS = np.array([
    [-0.0018, -0.2233, 0.0282],
    [0.0695, -0.0914, -0.0068],
    [-0.0677, -0.0905, -0.0043],
    [-0.0025, 0.1090, -0.0267],
    [0.0343, -0.3752, -0.0045],
    [-0.0383, -0.3826, -0.0089],
    [0.0055, 0.1352, 0.0011],
    [-0.0136, -0.3980, -0.0437],
    [0.0158, -0.3984, -0.0423],
    [0.0015, 0.0529, 0.0254],
    [0.0264, -0.0558, 0.1193],
    [-0.0254, -0.0481, 0.1233],
    [-0.0028, 0.2139, -0.0429],
    [0.0788, 0.1217, -0.0341],
    [-0.0818, 0.1188, -0.0386],
    [0.0052, 0.0650, 0.0513],
    [0.0910, 0.0305, -0.0089],
    [-0.0960, 0.0326, -0.0091],
    [0.2596, -0.0128, -0.0275],
    [-0.2537, -0.0133, -0.0214],
    [0.2492, 0.0090, -0.0012],
    [-0.2553, 0.0078, -0.0056],
])


def rotation(axis: str, angle: AnyArray) -> AnyArray:
  """Return the rotation about a coordinate axis.

  Args:
    axis: 'x', 'y' or 'z'.
    angle: [...] radians, right-handed.

  Returns:
    Matrices [..., 3, 3].

  Raises:
    ValueError: if the axis has another name.
  """
  if axis not in ('x', 'y', 'z'):
    raise ValueError(f"axis: expected 'x', 'y' or 'z', found {axis!r}.")
  xp = _namespace(angle)
  one, zero = xp.ones_like(angle), xp.zeros_like(angle)
  sin, cos = xp.sin(angle), xp.cos(angle)
  rows = {
      'x': (one, zero, zero, zero, cos, -sin, zero, sin, cos),
      'y': (cos, zero, sin, zero, one, zero, -sin, zero, cos),
      'z': (cos, -sin, zero, sin, cos, zero, zero, zero, one),
  }[axis]
  return xp.stack(rows, -1).reshape(angle.shape + (3, 3))


def euler(angles: AnyArray, order: str) -> AnyArray:
  """Return the product of rotations about coordinate axes.

  `R = R_order[0](angles[0]) R_order[1](angles[1]) ...`, so the last is applied
  to a vector first.

  Args:
    angles: [..., n] radians.
    order: n letters of 'xyz'.

  Returns:
    Matrices [..., 3, 3].

  Raises:
    ValueError: if the number of letters is not n.
  """
  if len(order) != angles.shape[-1]:
    raise ValueError(
        f'order: expected {angles.shape[-1]} letters for angles of shape '
        f'{angles.shape}, found {order!r}.'
    )
  product = rotation(order[0], angles[..., 0])
  for i, axis in enumerate(order[1:], 1):
    product = product @ rotation(axis, angles[..., i])
  return product


def axis_angle(vectors: AnyArray) -> AnyArray:
  """Return the rotation by |v| about v, Eq. 1; differentiable at v = 0.

  Args:
    vectors: [..., 3] radians.

  Returns:
    Matrices [..., 3, 3].
  """
  xp = _namespace(vectors)
  square = (vectors * vectors).sum(-1)[..., None, None]
  # The series keeps value and gradient finite where |v| vanishes.
  small = square < 1e-6
  safe = xp.where(small, xp.ones_like(square), square)
  angle = xp.sqrt(safe)
  first = xp.where(small, 1 - square / 6, xp.sin(angle) / angle)
  second = xp.where(small, 0.5 - square / 24, (1 - xp.cos(angle)) / safe)
  x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
  zero = xp.zeros_like(x)
  cross = xp.stack((zero, -z, y, z, zero, -x, -y, x, zero), -1)
  cross = cross.reshape(vectors.shape[:-1] + (3, 3))
  identity = xp.broadcast_to(xp.eye(3, dtype=cross.dtype), cross.shape)
  return identity + first * cross + second * (cross @ cross)


def forward(
    rotations: AnyArray,
    offsets: AnyArray,
    parents: Sequence[int],
    root: AnyArray,
) -> tuple[AnyArray, AnyArray]:
  """Compute joint positions from joint angles, Eq. 2.

  Args:
    rotations: [..., N, 3, 3], of each joint in its parent's frame; of the root
      in the world.
    offsets: [N, 3] or [..., N, 3] from the parent; the root's is not used.
    parents: N indices, each before its child; -1 for the root, joint 0.
    root: [..., 3], position of the root.

  Returns:
    Positions [..., N, 3] in the unit of the offsets and global rotations
    [..., N, 3, 3].

  Raises:
    ValueError: if a joint comes before its parent.
  """
  check_parents(parents)
  xp = _namespace(rotations)
  turns, places = [rotations[..., 0, :, :]], [root]
  for joint, parent in enumerate(parents[1:], 1):
    offset = xp.broadcast_to(offsets[..., joint, :], root.shape)
    step = turns[parent] @ offset[..., None]
    places.append(places[parent] + step[..., 0])
    turns.append(turns[parent] @ rotations[..., joint, :, :])
  return xp.stack(places, -2), xp.stack(turns, -3)


def bone_lengths(positions: AnyArray, parents: Sequence[int]) -> AnyArray:
  """Measure the bones: `|p_j - p_parent(j)|` for every joint but the root.

  Args:
    positions: [..., N, 3].
    parents: N indices, -1 for the root, joint 0.

  Returns:
    [..., N - 1] in the unit of `positions`.
  """
  xp = _namespace(positions)
  up = np.asarray(parents[1:])
  return xp.linalg.norm(positions[..., 1:, :] - positions[..., up, :], axis=-1)


def with_bone_lengths(
    positions: AnyArray, lengths: AnyArray, parents: Sequence[int]
) -> AnyArray:
  """Give the bones their lengths and leave their directions, Eq. 3.

  The root stays where it is. A joint that lies exactly on its parent has no
  direction and stays on it.

  Args:
    positions: [..., N, 3].
    lengths: [..., N - 1], see `bone_lengths`; leading axes of length 1 stand
      for all of `positions`.
    parents: N indices, -1 for the root, joint 0; in any order, as a skeleton's
      may be.

  Returns:
    [..., N, 3], of the type of `positions`.
  """
  xp = _namespace(positions)
  up = np.asarray(parents[1:])
  bones = positions[..., 1:, :] - positions[..., up, :]
  norm = xp.linalg.norm(bones, axis=-1, keepdims=True)
  bones = lengths[..., None] * bones / xp.where(norm > 0, norm, 1)
  places = {0: positions[..., 0, :]}
  for joint in parents_first(parents)[1:]:
    places[joint] = places[parents[joint]] + bones[..., joint - 1, :]
  return xp.stack([places[joint] for joint in range(len(parents))], -2)


def with_rigid_root(
    positions: AnyArray, shape: AnyArray, parents: Sequence[int]
) -> AnyArray:
  """Make the root and its children one rigid body, as a pelvis is.

  The body turns to where the children are, in the least squares; what hangs on
  a child moves along with it.

  Args:
    positions: [..., N, 3].
    shape: [..., M, 3], the M children of the root relative to it, in the order
      of the joints; leading axes of length 1 stand for all of `positions`.
    parents: N indices, -1 for the root, joint 0.

  Returns:
    [..., N, 3], of the type of `positions`.
  """
  xp = _namespace(positions)
  branch, root = root_branches(parents), positions[..., :1, :]
  children = np.flatnonzero(np.asarray(parents) == 0)
  found = positions[..., children, :] - root
  shift = fit_rotation(shape, found) - found
  moved = positions[..., 1:, :] + shift[..., branch, :]
  return xp.concatenate([root, moved], -2)


def fit_rotation(shape: AnyArray, points: AnyArray) -> AnyArray:
  """Turn a shape about the origin to come closest to points, least squares.

  Args:
    shape: [..., M, 3]; leading axes of length 1 stand for all of `points`.
    points: [..., M, 3].

  Returns:
    The turned shape [..., M, 3].

  References:
    Kabsch, "A solution for the best rotation to relate two sets of vectors",
    1976.
  """
  xp = _namespace(points)
  product = (shape[..., :, None] * points[..., None, :]).sum(-3)
  left, _, right = xp.linalg.svd(product)
  # The best fit may be a mirror image; turning the last axis makes it a turn.
  sign = xp.linalg.det(left) * xp.linalg.det(right)
  last = left[..., 2:] * sign[..., None, None]
  left = xp.concatenate([left[..., :2], last], -1)
  # Sums, not matrix products: some devices round the factors of those.
  turn = (left[..., :, None] * right[..., None, :, :]).sum(-2)
  return (shape[..., :, None] * turn[..., None, :, :]).sum(-2)


def root_branches(parents: Sequence[int]) -> np.ndarray:
  """Say on which child of the root each joint but the root hangs.

  Args:
    parents: N indices, -1 for the root, joint 0.

  Returns:
    [N - 1] numbers of children, 0 for the first; a child hangs on itself.
  """
  branch = {child: i for i, child in enumerate(
      joint for joint, up in enumerate(parents) if up == 0
  )}
  for joint in parents_first(parents)[1:]:
    branch.setdefault(joint, branch.get(parents[joint], 0))
  return np.array([branch[joint] for joint in range(1, len(parents))])


def parents_first(parents: Sequence[int]) -> list[int]:
  """Return the joints of a tree in an order in which parents come first."""
  order = [0]
  for joint in order:
    order += [child for child, up in enumerate(parents) if up == joint]
  return order


def check_parents(parents: Sequence[int]) -> None:
  """Raise a ValueError unless joint 0 is the root and parents come first."""
  if parents[0] != -1:
    raise ValueError(
        f'parents: expected -1 for joint 0, the root, found {parents[0]}.'
    )
  for joint, parent in enumerate(parents[1:], 1):
    if not 0 <= parent < joint:
      raise ValueError(
          f'parents: expected 0 to {joint - 1} for joint {joint}, found '
          f'{parent}.'
      )


def _namespace(array: object) -> types.ModuleType:
  return np if isinstance(array, (np.ndarray, np.generic)) else jnp
