"""Index arithmetic by hand and by brute force; the augmentation's effects."""

import numpy as np
import pytest

from diffax.body import kinematics
from diffax.body import skeletons
from diffax.data import transforms
from diffax.errors import UserError


def test_root_centre_drops_the_root_and_keeps_differences():
  positions = np.arange(24.0).reshape(2, 4, 3) ** 2
  centred = transforms.root_centre(positions)
  assert centred.shape == (2, 3, 3)
  np.testing.assert_array_equal(
      centred[:, 1] - centred[:, 0], positions[:, 2] - positions[:, 1]
  )
  np.testing.assert_array_equal(centred[1, 0], positions[1, 1]
                                - positions[1, 0])


def test_resampling_keeps_every_nth_frame():
  assert transforms.keep_every(120.00004577636719, 60) == 2
  assert transforms.keep_every(60, 60) == 1
  assert transforms.keep_every(250, 60) == 4      # 62.5, as released
  with pytest.raises(UserError, match='found 45; the nearest is 60'):
    transforms.keep_every(60, 45)
  with pytest.raises(UserError, match='found 120; the nearest is 60'):
    transforms.keep_every(60, 120)


def test_window_starts_are_all_but_the_last_of_each_clip():
  lengths, window = np.array([7, 3, 5, 4]), 4
  offsets = np.cumsum(lengths) - lengths
  expected = [o + i for o, n in zip(offsets, lengths)
              for i in range(n - window)]
  assert transforms.window_starts(offsets, lengths, window).tolist() == expected


def test_segments_follow_the_published_protocol():
  lengths = np.array([300, 299, 420, 1000])
  offsets = np.cumsum(lengths) - lengths
  starts, clip = transforms.segment_starts(
      offsets, lengths, past=30, future=120, first=180, stride=120
  )
  expected = [
      (c, offsets[c] + future - 30)
      for c, n in enumerate(lengths)
      for future in range(180, n - 120 + 1, 120)
  ]
  assert list(zip(clip, starts)) == expected
  assert np.bincount(clip, minlength=4).tolist() == [1, 0, 2, 6]


def test_segments_refuse_a_past_before_the_clip():
  settings = {'past': 30, 'future': 9, 'first': 29, 'stride': 5}
  with pytest.raises(UserError, match='first_seconds: expected at least 30'):
    transforms.segment_starts(np.array([0]), np.array([99]), **settings)
  settings |= {'first': 30, 'stride': 0}
  with pytest.raises(UserError, match='test_stride_seconds: expected a frame'):
    transforms.segment_starts(np.array([0]), np.array([99]), **settings)


@pytest.mark.parametrize('segments', [120, 121, 179, 180])
def test_training_items_reach_every_segment_and_no_other(segments):
  items = transforms.training_items(segments, 60)
  item, jitter = np.meshgrid(np.arange(items), np.arange(-30, 31))
  found = transforms.training_segment(
      item.ravel(), jitter.ravel(), stride=60, reach=30, segments=segments
  )
  top = min(60 * items, segments - 1)
  assert sorted(set(found.tolist())) == list(range(top + 1))
  assert transforms.training_segment(
      np.array([1]), np.array([-7]), stride=60, reach=30, segments=segments
  ) == 60 + 30 - 7


def test_the_augmentation_is_flips_then_a_turn_by_whole_degrees():
  matrix, mirrored = transforms.augmentation(np.random.default_rng(0), 4000)
  assert matrix.dtype == np.float32
  eye = matrix @ matrix.swapaxes(1, 2)
  np.testing.assert_allclose(
      eye, np.broadcast_to(np.eye(3), eye.shape), atol=1e-6
  )
  np.testing.assert_array_equal(matrix[:, 2], np.tile([0, 0, 1], (4000, 1)))
  np.testing.assert_array_equal(np.linalg.det(matrix) < 0, mirrored)
  assert 0.45 < mirrored.mean() < 0.55
  # Turned back by its own angle, what is left is the flip.
  degrees = np.rad2deg(np.arctan2(matrix[:, 1, 0], matrix[:, 0, 0]))
  np.testing.assert_allclose(degrees, np.rint(degrees), atol=1e-3)
  assert len(set(np.rint(degrees).tolist())) > 350


def test_the_augmentation_keeps_bone_lengths_and_heights():
  rng = np.random.default_rng(1)
  motion = rng.normal(size=(8, 5, 22, 3)).astype(np.float32)
  matrix, _ = transforms.augmentation(rng, 8)
  moved = transforms.augment(motion, matrix)
  parents = skeletons.AMASS21.parents
  np.testing.assert_allclose(
      kinematics.bone_lengths(moved, parents),
      kinematics.bone_lengths(motion, parents), atol=1e-5
  )
  np.testing.assert_array_equal(moved[..., 2], motion[..., 2])
  np.testing.assert_allclose(
      moved[3, 2, 7], matrix[3] @ motion[3, 2, 7], atol=1e-6
  )


@pytest.mark.parametrize('skeleton', [
    skeletons.AMASS21, skeletons.H36M16, skeletons.FREEMAN17
])
def test_mirrors_are_pairs_of_left_and_right(skeleton):
  nodes = skeleton.nodes
  mirror = transforms.mirror_joints(nodes)
  np.testing.assert_array_equal(mirror[mirror], np.arange(len(nodes)))
  assert mirror[nodes.index('LKnee')] == nodes.index('RKnee')
  for node, other in enumerate(mirror):
    assert (node == other) == (nodes[node][0] not in 'LR')


def test_the_curriculum_is_the_released_one():
  plan = transforms.Curriculum()
  # The steps at which the lower end rises were measured on the released code.
  assert [plan.bounds(step, 120)[0] for step in (0, 12888, 12889, 25777, 25778)
          ] == [1, 1, 2, 2, 3]
  assert plan.bounds(116000, 120) == (10, 120)
  assert plan.bounds(10**7, 120) == (10, 120)
  # Half-way up the cosine is half of the future.
  assert plan.bounds(2900, 120)[1] == 60
  assert plan.bounds(0, 120) == (1, 1)
  rng = np.random.default_rng(0)
  assert plan.draw(rng, 0, 120) == 1
  drawn = {plan.draw(rng, 10**6, 24) for _ in range(500)}
  assert drawn == set(range(10, 24))
  last = transforms.Curriculum(inclusive=True)
  assert {last.draw(rng, 10**6, 24) for _ in range(500)} == set(range(10, 25))


def test_buckets_end_at_the_whole_future():
  assert transforms.Curriculum().lengths(120) == (30, 60, 90, 120)
  assert transforms.Curriculum(buckets=(7,)).lengths(20) == (7, 20)
  with pytest.raises(UserError, match='buckets: expected lengths of 1 to 20'):
    transforms.Curriculum(buckets=(21,)).lengths(20)


def test_released_noise_moves_a_quarter_of_the_joints_by_two_centimetres():
  past = np.full((100, 30, 21, 3), 3, np.float32)
  noise = transforms.Disturbance()
  move = noise(past) - past
  moved = (move != 0).all(-1)
  np.testing.assert_array_equal((move != 0).any(-1), moved)
  assert abs(moved.mean() - 0.25) < 0.005
  assert moved.sum(axis=(1, 2)).std() > 5
  np.testing.assert_allclose(move[moved].std(0), 0.02, rtol=0.03)
  np.testing.assert_allclose(move[moved].mean(0), 0, atol=1e-3)
  # Draws of frames and of axes are their own.
  assert abs(np.corrcoef(move[moved].T) - np.eye(3)).max() < 0.02


def test_bounded_noise_moves_exactly_a_quarter_by_at_most_two_centimetres():
  past = np.zeros((100, 30, 21, 3), np.float32)
  move = transforms.Disturbance(kind='bounded', share=0.2)(past)
  length = np.linalg.norm(move, axis=-1)
  np.testing.assert_array_equal((length > 0).sum(axis=(1, 2)), 126)
  assert length.max() <= 0.02
  shares = np.histogram(length[length > 0], 4, (0, 0.02))[0] / (100 * 126)
  np.testing.assert_allclose(shares, 0.25, atol=0.02)
  # No joint, no frame and no direction is preferred.
  np.testing.assert_allclose((length > 0).mean((0, 1)), 0.2, atol=0.04)
  np.testing.assert_allclose((length > 0).mean((0, 2)), 0.2, atol=0.04)
  np.testing.assert_allclose(move.mean((0, 1, 2)), 0, atol=1e-4)


def test_every_item_once_per_epoch_and_every_batch_full():
  items, batch = 23, 7
  drawn = np.concatenate([
      transforms.batch_items(5, step, batch, items) for step in range(23)
  ])
  for epoch in drawn.reshape(7, items):
    assert sorted(epoch.tolist()) == list(range(items))
  assert drawn[:items].tolist() != drawn[items:2 * items].tolist()
  # Fewer items than a batch: several epochs in one.
  few = transforms.batch_items(5, 0, 10, 4)
  assert np.bincount(few).sum() == 10 and np.bincount(few[:8]).tolist() == [2]*4


def test_orders_depend_on_the_seed():
  a, b = (transforms.permutation(seed, 0, 50).tolist() for seed in (0, 1))
  assert a != b and sorted(a) == sorted(b)
