"""Poses: layouts, cameras, gaps, rates, scales and bones."""

import hypothesis
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.body import kinematics
from diffax.body import poses
from diffax.body import skeletons
from diffax.errors import DataError
from diffax.errors import UserError

RNG = np.random.default_rng(0)
STAND = np.array([
    [0, 1.3], [0, 1], [-0.3, 1], [-0.45, 0.5], [-0.5, 0], [0.3, 1],
    [0.45, 0.5], [0.5, 0], [-0.2, 0], [-0.2, -0.7], [-0.2, -1.4], [0.2, 0],
    [0.2, -0.7], [0.2, -1.4],
])
CLIP = STAND + RNG.normal(size=(40, 14, 2)).cumsum(0) * 0.02
PROPERTIES = hypothesis.settings(
    max_examples=30, deadline=None, derandomize=True
)


# Every place is drawn: by default most would be one and the same.
CLIPS = arrays.arrays(
    np.float64, (2, 14, 2), elements=st.floats(-10, 10), fill=st.nothing()
)


def test_joints_are_those_of_body14_in_its_order():
  spelt = [
      name[0].lower() + '_' + name[1:].lower()
      if name[:1] in 'LR' and name[1:2].isupper() else name.lower()
      for name in skeletons.BODY14.nodes
  ]
  assert list(poses.JOINTS) == spelt
  seen = {1}
  for parent, child in poses.BONES:
    assert parent in seen and child not in seen
    seen.add(child)
  assert seen == set(range(14))


@pytest.mark.parametrize('layout, rows', [
    # The indices of OpenPose and COCO as they are published.
    ('body25', [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14]),
    ('coco18', list(range(14))),
    ('body14', list(range(14))),
    ('coco17', [0, None, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15]),
])
def test_layouts_of_detectors(layout, rows):
  names, _ = poses.LAYOUTS[layout]
  assert len(names) == {'body25': 25, 'body14': 14}.get(
      layout, int(layout[-2:])
  )
  points = RNG.normal(size=(5, len(names), 3))
  found = poses.body14(points, layout)
  for joint, row in enumerate(rows):
    expected = points[:, 5:7].mean(1) if row is None else points[:, row]
    np.testing.assert_allclose(found[:, joint], expected, atol=1e-15)


@pytest.mark.parametrize('layout', ['amass21', 'h36m16', 'freeman17'])
def test_layouts_of_skeletons_keep_sides_and_heights(layout):
  skeleton = skeletons.SKELETONS[layout]
  names, _ = poses.LAYOUTS[layout]
  assert names == skeleton.joints
  mark = np.array([{'L': 1.0, 'R': -1.0}.get(n[0], 0.0) for n in names])
  mark[[n in ('Neck', 'Nose') for n in names]] = 0
  made = poses.body14(np.tile(mark[:, None], (1, 3)), layout)[:, 0]
  expected = [{'l_': 1.0, 'r_': -1.0}.get(n[:2], 0.0) for n in poses.JOINTS]
  np.testing.assert_array_equal(made, expected)


def test_the_nose_of_smpl_lies_before_and_above_its_neck():
  rest = np.zeros((22, 3))
  for joint, parent in enumerate(skeletons.AMASS21.parents[1:], 1):
    rest[joint] = rest[parent] + kinematics.SMPL_OFFSETS[joint]
  made = poses.body14(rest, 'amass21')
  nose, neck = made[0], made[1]
  assert nose[2] > neck[2] + 0.05
  assert 0.1 < nose[1] - neck[1] < 0.3
  ankles = made[[10, 13], 1]
  assert (ankles < made[[9, 12], 1] - 0.3).all()


def test_keypoints_of_an_image_are_turned_up_and_the_unseen_are_nan():
  points = RNG.uniform(1, 9, (4, 17, 3))
  points[2, 5, 2] = 0
  points[1, 9, 2] = 0.2
  found = poses.from_keypoints(points, 'coco17', threshold=0.2)
  missing = np.argwhere(np.isnan(found).all(-1)).tolist()
  # Without a shoulder there is no neck.
  assert missing == [[1, 7], [2, 1], [2, 5]]
  np.testing.assert_array_equal(found[0, 0], points[0, 0, :2] * [1, -1])
  up = poses.from_keypoints(points[..., :2], 'coco17', y_down=False)
  np.testing.assert_array_equal(up[2, 5], points[2, 5, :2])


def test_wrong_keypoints_are_refused():
  with pytest.raises(UserError, match="one of .*found 'coco'"):
    poses.body14(CLIP, 'coco')
  with pytest.raises(UserError, match=r"'coco17': expected points \[..., 17"):
    poses.from_keypoints(np.zeros((2, 18, 3)), 'coco17')
  with pytest.raises(UserError, match='2 or 3'):
    poses.from_keypoints(np.zeros((2, 17, 4)), 'coco17')


def test_cameras_see_what_they_should():
  points = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])
  origin = np.zeros(3)
  np.testing.assert_allclose(
      poses.project(points, target=origin), [[0, 0], [1, 0], [0, 1]],
      atol=1e-15
  )
  np.testing.assert_allclose(
      poses.project(points, yaw=np.pi / 2, target=origin),
      [[-1, 0], [0, 0], [0, 1]], atol=1e-15
  )
  # With y up, z points to the camera of yaw 0 and x to its right.
  np.testing.assert_allclose(
      poses.project(points, target=origin, up='y'),
      [[1, 0], [0, 1], [0, 0]], atol=1e-15
  )
  # From straight above, what is in front is below.
  np.testing.assert_allclose(
      poses.project(points, elevation=np.pi / 2, target=origin),
      [[0, -1], [1, 0], [0, 0]], atol=1e-15
  )


def test_perspective_enlarges_the_near_and_ends_in_orthography():
  points = RNG.uniform(-1, 1, (30, 3))
  near = poses.project(points, yaw=0.4, elevation=0.2, distance=4.0)
  far = poses.project(points, yaw=0.4, elevation=0.2, distance=1e9)
  flat = poses.project(points, yaw=0.4, elevation=0.2)
  np.testing.assert_allclose(far, flat, atol=1e-8)
  shifted = points - points.mean(0)
  depth = (
      np.cos(0.2) * (np.cos(0.4) * shifted[:, 0] + np.sin(0.4) * shifted[:, 1])
      + np.sin(0.2) * shifted[:, 2]
  )
  # A pinhole at distance 4 whose screen is at the target.
  np.testing.assert_allclose(near, flat / (1 - depth / 4)[:, None])
  with pytest.raises(UserError, match='in front of all points, found 0.5'):
    poses.project(points, distance=0.5)
  with pytest.raises(UserError, match="'z' or 'y', found 'x'"):
    poses.project(points, up='x')


def test_joints_are_picked_then_projected():
  points = RNG.normal(size=(6, 22, 3))
  found = poses.from_joints(points, 'amass21', yaw=1.0, distance=20.0)
  joints = poses.body14(points, 'amass21')
  np.testing.assert_array_equal(
      found, poses.project(joints, yaw=1.0, distance=20.0)
  )


def test_gaps_are_filled_on_a_line_and_at_the_ends_held():
  line = STAND + np.arange(20)[:, None, None] * np.array([0.1, -0.2])
  holes = line.copy()
  holes[5:10, 3] = np.nan
  holes[:2, 4, 0] = np.nan
  holes[18:, 5] = np.inf
  filled = poses.fill_gaps(holes, 10.0)
  expected = line.copy()
  expected[:2, 4], expected[18:, 5] = line[2, 4], line[17, 5]
  expected[:2, 4, 1] = line[2, 4, 1]
  np.testing.assert_allclose(filled, expected, atol=1e-12)
  assert np.isnan(holes[5, 3, 0])
  np.testing.assert_array_equal(poses.fill_gaps(line, 10.0), line)


@pytest.mark.parametrize('joint, first, last', [(4, 3, 9), (13, 0, 19)])
def test_long_gaps_are_refused_with_joint_and_frames(joint, first, last):
  holes = CLIP[:20].copy()
  holes[first:last + 1, joint] = np.nan
  holes[15:17, 2] = np.nan
  seconds = (last - first + 1) / 10
  with pytest.raises(DataError) as error:
    poses.fill_gaps(holes, 10.0, longest=0.6, name='a.npy')
  for word in ('a.npy', poses.JOINTS[joint], '0.6 s', f'{seconds:.2f} s',
               f'frames {first} to {last}'):
    assert word in str(error.value)


def test_a_joint_never_seen_is_refused_however_short_the_clip():
  holes = CLIP[:3].copy()
  holes[:, 6] = np.nan
  with pytest.raises(DataError, match='l_elbow'):
    poses.fill_gaps(holes, 10.0, longest=9.0)


@pytest.mark.parametrize('kind, degree', [('linear', 1), ('cubic', 3)])
@pytest.mark.parametrize('fps', [15.0, 16.0, 30.0, 60.0, 120.0])
def test_resampling_keeps_polynomials_of_its_degree(kind, degree, fps):
  frames = int(2 * fps) + 1
  weights = RNG.normal(size=(degree + 1, 14, 2))

  def curve(times: np.ndarray) -> np.ndarray:
    powers = times[:, None] ** np.arange(degree + 1)
    return np.einsum('tp,pjd->tjd', powers, weights)

  found = poses.resample(curve(np.arange(frames) / fps), fps, 62.5, kind)
  assert len(found) == 126
  np.testing.assert_allclose(
      found, curve(np.arange(126) / 62.5), atol=1e-10
  )


def test_resampling_stays_inside_the_clip_and_goes_back():
  assert len(poses.resample(CLIP, 62.5, 31.25)) == 20
  assert len(poses.resample(CLIP, 25.0, 62.5)) == 98
  twice = poses.resample(poses.resample(CLIP, 31.25, 62.5), 62.5, 31.25)
  np.testing.assert_allclose(twice, CLIP, atol=1e-12)
  same = poses.resample(CLIP.astype(np.float32), 62.5)
  assert same.dtype == np.float32
  np.testing.assert_array_equal(same, CLIP.astype(np.float32))


def test_wrong_rates_are_refused():
  for options, words in [
      (dict(kind='spline'), "found 'spline'"),
      (dict(fps=0.0), 'rates above 0, found 0'),
      (dict(poses=CLIP[:3], kind='cubic'), 'more than 3 frames'),
      (dict(poses=np.full((4, 14, 2), np.nan)), 'NaN'),
  ]:
    with pytest.raises(UserError, match=words):
      poses.resample(**{'poses': CLIP, 'fps': 30.0, **options})


def test_normalised_clips_have_their_neck_in_the_middle_and_torso_one():
  batch = np.stack([CLIP, 50 * CLIP + 300])
  found, centre, scale = poses.normalise(batch)
  np.testing.assert_allclose(found[:, :, 1].mean(1), 0, atol=1e-12)
  torso = found[:, :, 1] - found[:, :, [8, 11]].mean(2)
  np.testing.assert_allclose(np.linalg.norm(torso, axis=-1).mean(1), 1)
  assert centre.shape == (2, 2) and scale.shape == (2,)
  # Place and size are gone.
  np.testing.assert_allclose(found[0], found[1], atol=1e-12)


@PROPERTIES
@hypothesis.given(CLIPS)
def test_normalisation_has_an_inverse(clip):
  hypothesis.assume(
      np.linalg.norm(clip[:, 1] - clip[:, [8, 11]].mean(1), axis=-1).mean()
      > 1e-3
  )
  found, centre, scale = poses.normalise(clip)
  np.testing.assert_allclose(
      poses.denormalise(found, centre, scale), clip, atol=1e-12
  )


def test_normalisation_refuses_what_has_no_scale_or_place():
  with pytest.raises(DataError, match='b.npy: torso'):
    poses.normalise(np.zeros((3, 14, 2)), 'b.npy')
  holes = CLIP.copy()
  holes[7, 2, 0] = np.nan
  with pytest.raises(DataError, match='r_shoulder.*NaN or infinity in frame 7'):
    poses.normalise(holes)


@PROPERTIES
@hypothesis.given(CLIPS)
def test_directions_and_lengths_make_the_pose_again(clip):
  made = poses.from_directions(
      poses.directions(clip), poses.bone_lengths(clip)
  )
  np.testing.assert_allclose(made, clip - clip[:, 1:2], atol=1e-9)
  lengths = np.linalg.norm(poses.directions(clip), axis=-1)
  np.testing.assert_allclose(
      lengths, poses.bone_lengths(clip) > 0, atol=1e-9
  )


def test_only_the_direction_of_a_vector_counts():
  lengths = RNG.uniform(0.2, 2, 13)
  vectors = RNG.normal(size=(5, 13, 2))
  made = poses.from_directions(vectors, lengths)
  np.testing.assert_allclose(
      poses.bone_lengths(made), np.tile(lengths, (5, 1))
  )
  np.testing.assert_allclose(
      made, poses.from_directions(3 * vectors, lengths), atol=1e-12
  )


def test_a_long_arm_is_shortened_and_the_hand_comes_along():
  lengths = poses.bone_lengths(STAND)
  wrong = STAND.copy()
  # The elbow is pulled away; the forearm keeps its place at it.
  pull = 2 * (STAND[3] - STAND[2])
  wrong[[3, 4]] += pull
  np.testing.assert_allclose(
      poses.correct_bones(wrong, lengths), STAND, atol=1e-12
  )
  slight = STAND.copy()
  slight[[3, 4]] += 0.25 * (STAND[3] - STAND[2])
  np.testing.assert_array_equal(poses.correct_bones(slight, lengths), slight)


@PROPERTIES
@hypothesis.given(
    CLIPS, st.integers(0, 2**32 - 1), st.floats(1.01, 3.0)
)
def test_bone_correction_bounds_lengths_keeps_directions_and_rests(
    clip, seed, limit
):
  lengths = np.random.default_rng(seed).uniform(0.2, 3, 13)
  found = poses.correct_bones(clip, lengths, limit)
  before, after = poses.bone_lengths(clip), poses.bone_lengths(found)
  long = before > limit * lengths
  np.testing.assert_allclose(after, np.where(long, lengths, before), atol=1e-9)
  # A turn shows in the components across a bone.
  bone, old = poses.bone_vectors(found), poses.bone_vectors(clip)
  cross = bone[..., 0] * old[..., 1] - bone[..., 1] * old[..., 0]
  np.testing.assert_allclose(cross, 0, atol=1e-8)
  assert ((bone * old).sum(-1) >= -1e-9).all()
  np.testing.assert_array_equal(found[:, 1], clip[:, 1])
  again = poses.correct_bones(found, lengths, limit)
  np.testing.assert_array_equal(again, found)


def test_bone_correction_refuses_what_is_no_length():
  with pytest.raises(UserError, match='13 bone lengths above 0'):
    poses.correct_bones(CLIP, np.zeros(13))
  with pytest.raises(UserError, match='limit: expected 1 or more, found 0.5'):
    poses.correct_bones(CLIP, np.ones(13), 0.5)


def test_jax_agrees_with_numpy_under_jit():
  clip = CLIP.astype(np.float32)
  lengths = 0.8 * poses.bone_lengths(STAND)
  _, centre, scale = poses.normalise(clip[None])

  def run(x, centre, scale):
    turned = poses.directions(x)
    return (
        turned, poses.from_directions(turned, lengths),
        poses.correct_bones(x, lengths, 1.1),
        poses.denormalise(x[None], centre, scale),
    )

  for a, b in zip(jax.jit(run)(clip, centre, scale), run(clip, centre, scale)):
    assert isinstance(a, jax.Array) and a.dtype == jnp.float32
    assert isinstance(b, np.ndarray) and b.dtype == np.float32
    np.testing.assert_allclose(a, b, atol=3e-6)
