"""Joint angles from joint positions: the way back of forward kinematics.

With G_j = G_parent(j) R_j and p_j = p_parent(j) + G_parent(j) o_j, `fit` finds
local rotations R_j from positions alone, one joint at a time from the root:
with bone vectors b_c of the children c at rest and v_c in the frame,

    G_j = argmax_G sum_c v_c^T G b_c

by a singular value decomposition (Kabsch) where two or more children fix it,
and by the smallest turn that points the bone where only one does.

References:
  W. Kabsch, "A solution for the best rotation to relate two sets of vectors",
  Acta Crystallographica A32, 1976.
"""

from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation


def rest_offsets(
    positions: np.ndarray, parents: Sequence[int]
) -> np.ndarray:
  """Return fixed offsets: directions of the first frame, mean lengths.

  Args:
    positions: `[L, N, 3]`.
    parents: parent of each joint, -1 for the root.

  Returns:
    Offsets `[N, 3]`; the root's is zero.
  """
  offsets = np.zeros(positions.shape[1:])
  for child, parent in enumerate(parents):
    if parent < 0:
      continue
    bones = positions[:, child] - positions[:, parent]
    lengths = np.linalg.norm(bones, axis=-1)
    first = int(np.argmax(lengths > 1e-9))
    offsets[child] = bones[first] * lengths.mean() / max(lengths[first], 1e-9)
  return offsets


def fit(
    positions: np.ndarray, parents: Sequence[int], offsets: np.ndarray
) -> np.ndarray:
  """Find local rotations whose forward kinematics follow the positions.

  Exact for rigid bones; otherwise each joint is the best for its own children.
  The twist of a bone with a single child is left as its parent's.

  Args:
    positions: `[L, N, 3]`.
    parents: parent of each joint, -1 for the root; parents come first.
    offsets: rest offsets `[N, 3]`.

  Returns:
    Local rotations `[L, N, 3, 3]`; leaves turn with their parents.
  """
  count = len(positions)
  turned: list[Rotation] = []
  local: list[Rotation] = []
  for joint, parent in enumerate(parents):
    frame = turned[parent] if parent >= 0 else Rotation.identity(count)
    children = [
        child for child, above in enumerate(parents)
        if above == joint and np.linalg.norm(offsets[child]) > 1e-9
    ]
    bones = positions[:, children] - positions[:, joint, None]
    turned.append(_turn(frame, offsets[children], bones))
    local.append(frame.inv() * turned[-1])
  return np.stack([rotation.as_matrix() for rotation in local], axis=1)


def _turn(frame: Rotation, rest: np.ndarray, bones: np.ndarray) -> Rotation:
  """Return global rotations that take `rest` [C, 3] to `bones` [L, C, 3]."""
  if not len(rest):
    return frame
  if len(rest) == 1:
    return _swing(frame.apply(rest[0]), bones[:, 0]) * frame
  cross = np.einsum('lci,cj->lij', bones, rest)
  scale = np.linalg.norm(cross, axis=(1, 2))[:, None, None]
  # Collinear children leave the twist open: lean on the parent's, very little.
  u, _, vt = np.linalg.svd(cross + 1e-9 * scale * frame.as_matrix())
  u[:, :, 2] *= np.sign(np.linalg.det(u @ vt))[:, None]
  return Rotation.from_matrix(u @ vt)


def _swing(start: np.ndarray, end: np.ndarray) -> Rotation:
  """Return the smallest rotations that point `start` along `end`, [L, 3]."""
  a = start / np.maximum(np.linalg.norm(start, axis=-1, keepdims=True), 1e-12)
  b = end / np.maximum(np.linalg.norm(end, axis=-1, keepdims=True), 1e-12)
  axis = np.cross(a, b)
  cosine = np.sum(a * b, axis=-1, keepdims=True)
  # Opposite vectors have no smallest turn: any half turn across them will do.
  across = np.cross(a, np.eye(3)[np.argmin(np.abs(a), axis=-1)])
  axis = np.where(cosine > -1 + 1e-12, axis, across)
  size = np.linalg.norm(axis, axis=-1, keepdims=True)
  angle = np.arctan2(np.where(cosine > -1 + 1e-12, size, 0.0), cosine)
  return Rotation.from_rotvec(axis / np.maximum(size, 1e-300) * angle)
