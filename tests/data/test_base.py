"""Every bad clip is refused by name; a good one passes."""

import dataclasses

import numpy as np
import pytest

from diffax.body import kinematics
from diffax.body import skeletons
from diffax.data import base
from diffax.errors import DataError

BODY = skeletons.AMASS21


def standing(frames: int = 8) -> np.ndarray:
  eye = np.broadcast_to(np.eye(3), (frames, 22, 3, 3))
  places, _ = kinematics.forward(
      eye, kinematics.SMPL_OFFSETS, BODY.parents, np.zeros((frames, 3))
  )
  return places.astype(np.float32)


def clip(**changes: object) -> base.Clip:
  good = base.Clip('c', standing(), 60.0, 's', 'walk', 'train', 'a/b.amc')
  return dataclasses.replace(good, **changes)


def refusal(bad: base.Clip, **options: int) -> DataError:
  with pytest.raises(DataError) as caught:
    base.check_clip(bad, BODY, **options)
  assert caught.value.file == 'a/b.amc'
  assert str(caught.value).startswith('a/b.amc: ')
  return caught.value


def test_a_good_clip_passes():
  base.check_clip(clip(), BODY, min_frames=8)


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_a_number_that_is_not_finite_names_frame_and_joint(value):
  positions = standing()
  positions[5, 4, 2] = value
  error = refusal(clip(positions=positions))
  assert error.field == 'frame 5, joint LKnee'
  assert '1 of 8 frames' in error.found


@pytest.mark.parametrize('scale, unit', [
    (1000, 'millimetres'), (100, 'centimetres'), (39.37, 'inches'),
    (17.717, 'ASF units'),
])
def test_a_wrong_unit_is_recognised(scale, unit):
  error = refusal(clip(positions=standing() * scale))
  assert error.field == 'unit' and 'metres' in error.expected
  assert f'look like {unit}' in str(error)


def test_a_size_of_no_unit_is_refused_without_a_guess():
  assert 'in any known unit' in str(refusal(clip(positions=standing() * 6)))
  assert 'in any known unit' in str(refusal(clip(positions=standing() / 99)))


def test_the_unit_check_looks_at_bones_and_not_at_the_pose():
  # One who lies down, or walks half a mile, is still as long as before.
  flat = standing()[..., [2, 0, 1]]
  far = flat + np.linspace(0, 900, 8, dtype=np.float32)[:, None, None]
  base.check_clip(clip(positions=flat), BODY)
  base.check_clip(clip(positions=far), BODY)
  assert base.reach(flat, BODY.parents) == pytest.approx(
      base.reach(standing(), BODY.parents)
  )


def test_reach_is_the_longest_path():
  # A fork 1 - 0 - 2 with legs of 3 and 4, and a twig of 1 on the second.
  positions = np.array([[[0.0, 0, 0], [3, 0, 0], [0, 4, 0], [0, 5, 0]]] * 2)
  assert base.reach(positions, (-1, 0, 0, 2)) == pytest.approx(8.0)


def test_missing_joints_short_clips_rates_and_splits():
  error = refusal(clip(positions=standing()[:, :21]))
  assert error.field == 'joints' and '22' in error.expected
  assert '21' in error.found
  error = refusal(clip(), min_frames=150)
  assert error.field == 'frames' and 'at least 150 (2.50 s' in error.expected
  assert '8 (0.13 s)' in error.found
  for fps in (0.0, -1.0, np.nan):
    assert refusal(clip(fps=fps)).field == 'fps'
  assert "'dev'" in refusal(clip(split='dev')).found


def test_a_bone_of_no_length_is_named_in_clips_and_allowed_in_recordings():
  positions = standing()
  positions[:, 7] = positions[:, 4]
  error = refusal(clip(positions=positions))
  assert error.field == 'bone LKnee - LHeel'
  base.check_recording(base.Recording(
      BODY.joints, BODY.parents, positions, 60.0, 'a/b.bvh', 'cm'
  ))


def test_times_give_the_rate_and_must_run_forwards():
  times = np.arange(6) / 120
  assert base.check_times(times, 'f.trc') == pytest.approx(120)
  for value, frame in ((times[1], 2), (times[0], 2), (np.nan, 2)):
    bad = times.copy()
    bad[frame] = value
    with pytest.raises(DataError, match=f'f.trc: time of frame {frame}'):
      base.check_times(bad, 'f.trc')
  with pytest.raises(DataError, match='at least 2 timestamps, found 1'):
    base.check_times(times[:1], 'f.trc')


@pytest.mark.parametrize('parents', [
    (0,) * 22, (-1, 2, 1) + (0,) * 19, (-1,) * 21, (-1,) + (22,) * 21,
])
def test_parents_that_are_no_tree_are_refused(parents):
  # Without the check, the way up from a joint would never end.
  with pytest.raises(DataError) as caught:
    base.check_recording(base.Recording(
        BODY.joints, parents, standing(), 60.0, 'a.npz', 'm'))
  assert caught.value.field == 'parents'


def test_gaps_are_allowed_where_they_are_meant():
  positions = standing()
  positions[5, 4] = np.nan
  recording = base.Recording(
      BODY.joints, BODY.parents, positions, 60.0, 'a.c3d', 'mm')
  with pytest.raises(DataError, match='frame 5, joint LKnee'):
    base.check_recording(recording)
  base.check_recording(recording, gaps=True)
  large = dataclasses.replace(recording, positions=positions * 1000)
  with pytest.raises(DataError, match='millimetres'):
    base.check_recording(large, gaps=True)
