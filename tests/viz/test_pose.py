"""Sides, shades, headings and the camera."""

import colorsys

import numpy as np
import pytest

from diffax.body import skeletons
from diffax.errors import UserError
from diffax.viz import pose


@pytest.mark.parametrize('name, other, expected', [
    ('LHip', 'RHip', 'left'),
    ('RWrist', 'LWrist', 'right'),
    ('left_knee', 'right_knee', 'left'),
    ('mixamorig:RightArm', 'mixamorig:LeftArm', 'right'),
    ('lfemur', 'rfemur', 'left'),
    ('Hand_R', 'Hand_L', 'right'),
    ('thigh.l', 'thigh.r', 'left'),
    ('Bip01 R Thigh', 'Bip01 L Thigh', 'right'),
    ('L_Ankle', 'R_Ankle', 'left'),
    ('lowerback', 'upperback', 'centre'),
    ('root', 'head', 'centre'),
])
def test_side_of_any_naming_scheme(name, other, expected):
  assert pose.side(name, (name, other)) == expected


@pytest.mark.parametrize('skeleton', skeletons.SKELETONS.values(),
                         ids=lambda skeleton: skeleton.name)
def test_every_skeleton_has_as_many_left_as_right_joints(skeleton):
  where = pose.sides(skeleton)
  assert where.count('left') == where.count('right') > 3
  assert where[0] == 'centre'


@pytest.mark.parametrize('turn', [0.0, 1.0, -2.5])
def test_heading_turns_with_the_body(swing, turn):
  sin, cos = np.sin(turn), np.cos(turn)
  matrix = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
  found = pose.facing(swing @ matrix.T, skeletons.AMASS21)
  # The mean body's hips are not quite level with each other.
  np.testing.assert_allclose(
      np.exp(1j * found), np.exp(1j * (np.pi / 2 + turn)), atol=0.02
  )


def test_heading_is_unknown_without_sides():
  tail = skeletons.from_tree('tail', ('a', 'b', 'c'), (-1, 0, 1))
  assert pose.facing(np.zeros((2, 3, 3)), tail) is None
  assert np.isfinite(pose.camera(np.zeros((2, 3, 3)), tail).azimuth)


def test_camera_keeps_all_lengths():
  points = np.random.default_rng(0).normal(size=(7, 3))
  flat, near = pose.Camera(0.7, 0.4)(points)
  seen = np.concatenate([flat, near[:, None]], 1)
  np.testing.assert_allclose(seen @ seen.T, points @ points.T, atol=1e-12)


def test_camera_before_a_face_sees_left_at_the_right(swing):
  flat, _ = pose.Camera(np.pi / 2, 0.0)(swing[0])
  joints = skeletons.AMASS21.joints
  assert flat[joints.index('LHip'), 0] > flat[joints.index('RHip'), 0]
  assert flat[joints.index('Head'), 1] > flat[joints.index('LFoot'), 1]
  _, near = pose.Camera(np.pi / 2, 0.0)(np.eye(3))
  assert near.argmax() == 1


def test_complete_adds_the_root_at_the_origin(swing):
  nodes = (swing - swing[:, :1])[:, 1:]
  full = pose.complete(nodes, skeletons.AMASS21)
  assert full.shape == (40, 22, 3)
  assert not full[:, 0].any()
  np.testing.assert_array_equal(full[:, 1:], nodes)
  np.testing.assert_array_equal(
      pose.complete(swing, skeletons.AMASS21), swing
  )


@pytest.mark.parametrize('shape', [(4, 20, 3), (4, 21, 2), (0, 21, 3), (21, 3)])
def test_complete_refuses_other_shapes(shape):
  with pytest.raises(UserError, match='expected .frames, 21 or 22, 3'):
    pose.complete(np.zeros(shape), skeletons.AMASS21)


def test_complete_names_the_frame_of_a_nan(swing):
  broken = swing.copy()
  broken[7, 3, 1] = np.nan
  with pytest.raises(UserError, match='mine: .* frame 7'):
    pose.complete(broken, skeletons.AMASS21, 'mine')


def test_right_limbs_are_darker_in_the_same_hue():
  for colour in (pose.TRUTH, *pose.colours(7)):
    parts = [
        colorsys.rgb_to_hls(*(int(c[i:i + 2], 16) / 255 for i in (1, 3, 5)))
        for c in (pose.shade(colour, s) for s in ('left', 'centre', 'right'))
    ]
    assert parts[0][1] > parts[1][1] > parts[2][1] + 0.05
    assert np.ptp([part[0] for part in parts]) < 0.02
    assert pose.shade(colour, 'left') == colour


def test_colours_of_futures_differ():
  chosen = (pose.PAST, pose.TRUTH, *pose.colours(7))
  assert len(set(chosen)) == 9


def test_a_folder_is_no_file(tmp_path):
  with pytest.raises(UserError, match='found a folder'):
    pose.writable(tmp_path)
  (tmp_path / 'file').write_text('')
  with pytest.raises(UserError, match='cannot write'):
    pose.writable(tmp_path / 'file' / 'picture.png')
