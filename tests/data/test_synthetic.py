"""The generated figure: exact bones, a human's joints, an open future."""

import numpy as np
import pytest
from scipy import spatial

from diffax.body import kinematics
from diffax.body import skeletons
from diffax.data import actions
from diffax.data import base
from diffax.data import gait
from diffax.data import synthetic
from diffax.errors import UserError

BODY = skeletons.AMASS21
FPS = 60.0
STYLE = actions.Style(1, 1, 0, 1, 0, 0, 1, 0.5)


def at(name: str) -> int:
  return BODY.joints.index(name)


def act(name: str, seed: int = 0, seconds: float = 3.0) -> np.ndarray:
  """One action on the mean body that faces -Y: positions [L, 22, 3]."""
  motion, _ = actions.ACTIONS[name](np.random.default_rng(seed), STYLE)
  time = np.arange(round(seconds * FPS)) / FPS
  values = motion(time)
  pose = {
      key: np.broadcast_to(values.get(key, rest), time.shape).astype(float)
      for key, rest in actions.STANDING.items()
  }
  return synthetic.embody(pose, kinematics.SMPL_OFFSETS, FPS)


@pytest.fixture(scope='module')
def clips():
  return synthetic.generate(seed=0, persons=6, seconds=12.0)


def test_the_same_seed_gives_the_same_motion():
  one, two, other = (
      synthetic.generate(seed, persons=6, seconds=0.5) for seed in (4, 4, 5)
  )
  for a, b, c in zip(one, two, other):
    np.testing.assert_array_equal(a.positions, b.positions)
    assert not np.array_equal(a.positions, c.positions)


def test_clips_pass_the_checks_and_people_are_kept_apart(clips):
  people = {}
  for clip in clips:
    base.check_clip(clip, BODY, min_frames=720)
    assert clip.positions.dtype == np.float32
    people.setdefault(clip.split, set()).add(clip.subject)
  assert {k: len(v) for k, v in people.items()} == {
      'train': 4, 'val': 1, 'test': 1
  }
  assert len(set.union(*people.values())) == 6
  assert {clip.label for clip in clips} == set(synthetic.HABITS)


def test_bone_lengths_are_exact_and_differ_between_people(clips):
  lengths = {}
  for clip in clips:
    bones = kinematics.bone_lengths(
        clip.positions.astype(np.float64), BODY.parents
    )
    assert np.abs(bones - bones[0]).max() < 1e-5
    lengths.setdefault(clip.subject, []).append(bones[0])
  for rows in lengths.values():
    np.testing.assert_allclose(rows, np.tile(rows[0], (4, 1)), atol=1e-5)
  assert np.std([rows[0] for rows in lengths.values()], axis=0).min() > 1e-3


def test_left_and_right_are_alike():
  offsets = synthetic.body(np.random.default_rng(0))
  ratio = offsets / kinematics.SMPL_OFFSETS
  for name in ('Hip', 'Knee', 'Heel', 'Shoulder', 'Elbow', 'Wrist'):
    np.testing.assert_allclose(ratio[at('L' + name)], ratio[at('R' + name)])


def test_motion_is_smooth_and_feet_stay_near_the_ground(clips):
  feet = [at(name) for name in ('LHeel', 'RHeel', 'LFoot', 'RFoot')]
  for clip in clips:
    speed = np.linalg.norm(np.diff(clip.positions, axis=0), axis=-1) * FPS
    assert speed.max() < 16
    lowest = clip.positions[:, feet, 2].min(1)
    assert lowest.min() > -0.03
    assert np.median(lowest) < 0.05
    centred = clip.positions - clip.positions[:, :1]
    jerk = np.abs(np.diff(centred, n=2, axis=0)).max() * FPS**2
    assert jerk < 400


@pytest.mark.parametrize('name', sorted(actions.ACTIONS))
@pytest.mark.parametrize('seed', [0, 1])
def test_joints_bend_as_those_of_people(name, seed):
  x = act(name, seed)
  left = x[:, at('LHip')] - x[:, at('RHip')]
  ahead = np.cross(left, [0, 0, 1.0])
  for side in 'LR':
    hip, knee, heel, toe = (
        x[:, at(side + part)] for part in ('Hip', 'Knee', 'Heel', 'Foot')
    )
    # About the axis to the left the shank turns back from the thigh; a knee
    # is never bent forwards by more than 2 degrees.
    thigh, shank = knee - hip, heel - knee
    back = np.einsum('li,li->l', np.cross(thigh, shank), left)
    size = np.linalg.norm(thigh, axis=-1) * np.linalg.norm(shank, axis=-1)
    assert (back / size / np.linalg.norm(left, axis=-1) > -0.035).all()
    # The foot points forwards from the shank.
    assert (np.einsum('li,li->l', np.cross(toe - heel, shank), left) > 0).all()
    shoulder, elbow, wrist = (
        x[:, at(side + part)] for part in ('Shoulder', 'Elbow', 'Wrist')
    )
    upper, fore = elbow - shoulder, wrist - elbow
    cosine = np.einsum('li,li->l', upper, fore) / (
        np.linalg.norm(upper, axis=-1) * np.linalg.norm(fore, axis=-1)
    )
    assert (cosine > np.cos(np.deg2rad(150))).all()
  assert np.linalg.norm(ahead, axis=-1).min() > 0.05
  assert (x[:, at('Head'), 2] > x[:, 0, 2] + 0.3).all()


def clearance(x: np.ndarray) -> np.ndarray:
  """Height of the lowest contact above its place in standing, [L]."""
  names = ('LHeel', 'RHeel', 'LFoot', 'RFoot')
  rest = act('squat', seconds=0.1)[0, [at(name) for name in names], 2]
  return (x[:, [at(name) for name in names], 2] - rest).min(1)


def test_walking_goes_forwards_and_running_faster_and_into_the_air():
  walk, run = act('walk', 2), act('run', 2)

  def distance(x):
    return np.linalg.norm(np.diff(x[:, 0, :2], axis=0), axis=-1).sum() / 3

  assert 0.3 < distance(walk) < 1.8 < distance(run) < 4
  assert clearance(walk).max() < 0.012 < clearance(run).max()
  # Arms swing against the legs, and the figure faces where it goes.
  walked = -walk[:, :, 1] + walk[:, :1, 1]
  swing = np.corrcoef(walked[:, at('LWrist')] - walked[:, at('RWrist')],
                      walked[:, at('LHeel')] - walked[:, at('RHeel')])[0, 1]
  assert swing < -0.5


def test_a_loaded_foot_does_not_slide():
  way = gait.walking(1.2, 0.97)
  phase = np.linspace(0, 1, 400, endpoint=False)
  angles = gait.leg(way, phase)
  loaded = angles['clear'] < 1e-9
  assert loaded.mean() == pytest.approx(way.duty, abs=0.02)
  assert angles['knee'].min() > -7 and angles['knee'].max() < 80
  assert angles['hip'].max() > 20 > -10 > angles['hip'].min()


def test_squats_are_low_jumps_high_kicks_forward_and_waves_above():
  squat = act('squat', 0)[:, 0, 2]
  assert squat.min() < squat[0] - 0.15
  jump = act('jump', 0)
  assert clearance(jump).max() > 0.08
  assert jump[:, 0, 2].min() < jump[0, 0, 2] - 0.1
  kick = act('kick', 0)
  reach = -(kick[:, [at('LFoot'), at('RFoot')], 1] - kick[:, :1, 1])
  assert reach.max() > 0.5
  wave = act('wave', 0)
  hands = wave[:, [at('LWrist'), at('RWrist')], 2]
  assert hands.max() > wave[0, at('LShoulder'), 2] + 0.1


def test_a_jump_flies_as_gravity_wants():
  # In flight the height of the lift is a parabola of -9.81 m/s^2.
  motion, _ = actions.jump(np.random.default_rng(0), STYLE)
  lift = motion(np.arange(0, 0.9, 0.001))['lift']
  inside = np.flatnonzero(lift > 0)[2:-2]
  np.testing.assert_allclose(
      np.diff(lift, n=2)[inside] * 1e6, -gait.GRAVITY, rtol=1e-3
  )


def test_futures_are_multimodal_given_the_past():
  """From one and the same past, what is drawn next leads far apart."""
  ends = []
  for seed in range(12):
    # Two generators that agree until the walk is drawn, and then do not.
    rng = np.random.default_rng(7)
    motion, _ = actions.walk(rng, STYLE)
    time = np.arange(150) / FPS
    pose = {k: np.full(150, x) for k, x in actions.STANDING.items()}
    pose |= {k: v + 0 * time for k, v in motion(time).items()}
    later, _ = list(actions.ACTIONS.values())[seed % 8](
        np.random.default_rng(seed), STYLE
    )
    weight = synthetic._ease((time - 0.5) / 0.4)
    for key, values in later(np.maximum(time - 0.5, 0)).items():
      pose[key] = pose[key] + weight * (values - pose[key])
    x = synthetic.embody(pose, kinematics.SMPL_OFFSETS, FPS)
    ends.append(x - x[:, :1])
  motions = np.stack(ends)
  np.testing.assert_allclose(
      motions[:, :30], np.broadcast_to(motions[:1, :30], (12, 30, 22, 3)),
      atol=1e-9
  )
  apart = np.linalg.norm(motions[:, None] - motions[None], axis=(-1, -2))
  assert np.median(apart[:, :, -1][np.triu_indices(12, 1)]) > 0.7


def test_near_equal_pasts_of_the_set_lead_apart():
  # Across people and clips: the nearest pasts, in a frame that faces ahead.
  pasts, futures = [], []
  for clip in synthetic.generate(seed=2, persons=12, seconds=12.0, fps=30):
    x = clip.positions - clip.positions[:, :1]
    for start in range(0, len(x) - 75, 15):
      left = x[start + 14, at('LHip')] - x[start + 14, at('RHip')]
      turn = kinematics.rotation('z', -np.arctan2(left[1], left[0]))
      window = x[start:start + 75] @ turn.T
      pasts.append(window[:15:2].ravel() / np.sqrt(8))
      futures.append(window[-1].ravel())
  past, future = np.array(pasts), np.array(futures)
  apart = spatial.distance.cdist(past, past)
  np.fill_diagonal(apart, np.inf)
  nearest = apart.argmin(1)
  close = apart.min(1) < 0.4
  assert close.sum() > 50
  ahead = np.linalg.norm(future - future[nearest], axis=-1)[close]
  assert np.median(ahead) > 2 * np.median(apart.min(1)[close])


@pytest.mark.parametrize('settings, words', [
    ({'persons': 5}, 'persons: expected at least 6'),
    ({'seconds': 0.1}, 'at least 30 frames, found 0.1 s at 60 fps'),
    ({'fps': 5.0}, 'expected fps >= 10'),
])
def test_settings_of_no_use_are_refused(settings, words):
  with pytest.raises(UserError, match=words):
    synthetic.generate(**settings)
