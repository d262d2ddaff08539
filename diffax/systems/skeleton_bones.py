"""Futures whose bones have the lengths that the past shows.

A decoder of positions does not know that bones are rigid. Its futures can be
given the mean lengths of the past afterwards, by a walk down the tree of the
skeleton that keeps the directions of the bones (`body.kinematics`),

  (1)  p'_j = p'_parent(j) + l_j (p_j - p_parent(j)) / |p_j - p_parent(j)|

The root, which a root-centred pose leaves out, is at the origin: so all J bones
of the tree are known, the hips' and the spine's first too. The edges by which
the graph of the nodes replaces the root, a triangle, close loops and are no
bones; a walk cannot give them their lengths as well. Hence two kinds:

  past   Eq. 1 alone. The triangle's edges follow from their bones' directions.
  rigid  also, the root and its children are one body, the mean of that of the
         past, turned to where the children are: every edge of the graph keeps
         its length. True of a pelvis with the first joint of the spine on it,
         as in SMPL and in most motion capture; not where the root's children
         move against each other, as the torso of H36M and the nose of FreeMan.

A joint at the end of a chain is moved by what all bones before it were too long
or too short: the price of exact lengths is paid in positions.
"""

from collections.abc import Sequence

import chex
import jax.numpy as jnp
import numpy as np

from diffax.body import kinematics
from diffax.typing import Array

KINDS = ('free', 'past', 'rigid')


def fixed(
    kind: str, parents: Sequence[int], past: Array, motion: Array
) -> Array:
  """Give the bones of futures their lengths in the past.

  Args:
    kind: of `KINDS`; `free` changes nothing.
    parents: of the joints, the root first, J + 1.
    past: `[B, P, J, 3]`, root-centred.
    motion: `[B, K, F, J, 3]`, likewise and in the same unit.

  Returns:
    `[B, K, F, J, 3]`.
  """
  chex.assert_rank([past, motion], [4, 5])
  if kind == 'free':
    return motion
  lengths = kinematics.bone_lengths(_with_root(past), parents)
  lengths = jnp.mean(lengths, axis=1)[:, None, None]
  whole = kinematics.with_bone_lengths(_with_root(motion), lengths, parents)
  if kind == 'rigid':
    pelvis = _pelvis(past, parents)[:, None, None]
    whole = kinematics.with_rigid_root(whole, pelvis, parents)
  return whole[..., 1:, :]


def _pelvis(past: Array, parents: Sequence[int]) -> Array:
  """Return the mean children of the root `[B, M, 3]`, as they last stood."""
  children = np.flatnonzero(np.asarray(parents) == 0) - 1
  poses = past[:, :, children]
  return jnp.mean(kinematics.fit_rotation(poses, poses[:, -1:]), axis=1)


def _with_root(motion: Array) -> Array:
  return jnp.concatenate([jnp.zeros_like(motion[..., :1, :]), motion], axis=-2)
