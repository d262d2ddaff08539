"""Joint angles from positions: exact for rigid bodies, best for others."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from diffax.body import kinematics
from diffax.data import fk

PARENTS = (-1, 0, 1, 1, 2, 0, 5, 6, 6, 6)


def _body(seed: int, frames: int = 20) -> np.ndarray:
  rng = np.random.default_rng(seed)
  turns = Rotation.random(frames * 10, random_state=seed).as_matrix()
  offsets = rng.normal(size=(10, 3))
  return kinematics.forward(
      turns.reshape(frames, 10, 3, 3), offsets, PARENTS,
      rng.normal(size=(frames, 3)))[0]


@pytest.mark.parametrize('seed', range(5))
def test_rigid_motion_comes_back(seed: int) -> None:
  positions = _body(seed)
  offsets = fk.rest_offsets(positions, PARENTS)
  turns = fk.fit(positions, PARENTS, offsets)
  np.testing.assert_allclose(
      turns @ np.swapaxes(turns, -1, -2), np.tile(np.eye(3), (20, 10, 1, 1)),
      atol=1e-12)
  np.testing.assert_allclose(np.linalg.det(turns), 1, atol=1e-12)
  made, _ = kinematics.forward(turns, offsets, PARENTS, positions[:, 0])
  np.testing.assert_allclose(made, positions, atol=1e-6)


def test_kabsch_is_the_best_rotation() -> None:
  rng = np.random.default_rng(0)
  rest, bones = rng.normal(size=(3, 3)), rng.normal(size=(1, 3, 3))
  positions = np.concatenate([np.zeros((1, 1, 3)), bones], 1)
  turn = fk.fit(positions, (-1, 0, 0, 0), np.vstack([np.zeros(3), rest]))[0, 0]
  best = Rotation.align_vectors(bones[0], rest)[0].as_matrix()
  np.testing.assert_allclose(turn, best, atol=1e-6)


def test_opposite_and_collinear_bones_stay_rotations() -> None:
  positions = np.zeros((3, 4, 3))
  positions[:, 1:, 0] = [[1, 2, -1], [-1, -2, 1], [1, 2, -1]]
  for parents in ((-1, 0, 1, 0), (-1, 0, 1, 1)):
    offsets = fk.rest_offsets(positions, parents)
    turns = fk.fit(positions, parents, offsets)
    np.testing.assert_allclose(np.linalg.det(turns), 1, atol=1e-9)
    made, _ = kinematics.forward(turns, offsets, parents, positions[:, 0])
    np.testing.assert_allclose(made, positions, atol=1e-6)


def test_offsets_have_mean_lengths() -> None:
  positions = np.zeros((4, 2, 3))
  positions[:, 1, 1] = [0, 1, 2, 3]
  np.testing.assert_allclose(fk.rest_offsets(positions, (-1, 0))[1],
                             [0, 1.5, 0])
