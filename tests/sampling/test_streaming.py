"""Live streams: what the model sees of them, what is bridged, and refused."""

import contextlib

import jax
import numpy as np
import pytest

from diffax import config as configs
from diffax.body import skeletons
from diffax.data.base import Source
from diffax.errors import DataError
from diffax.errors import UserError
from diffax.sampling import streaming
from diffax.trained import Trained

BODY = skeletons.BODY14
J = BODY.num_nodes
P, F, K, FPS = 10, 4, 3, 20.0
INFO = {
    'name': 'toy', 'skeleton': BODY, 'fps': FPS, 'past': P, 'future': F,
    'classes': ('any',),
}
SOURCE = Source(INFO, lambda step: {}, lambda split: {})
WRIST = BODY.nodes.index('RWrist')


class Model:
  """Hold the last pose, raised by k millimetres; keep the past and keys."""

  def __init__(self):
    self.pasts, self.keys = [], []

  def __call__(self, batch, key):
    assert set(batch) == {'past'}
    self.pasts.append(batch['past'][0])
    self.keys.append(key)
    lift = 1e-3 * np.arange(K)[:, None, None, None] * np.array([0, 0, 1.0])
    held = np.repeat(batch['past'][0, -1:], F, 0)[None]
    return {'motion': (held + lift)[None]}


def build(**options):
  model = Model()
  made = streaming.StreamingPredictor(Trained(SOURCE, model), **options)
  return made, model


def walk(frames, fps=FPS, seed=0):
  """A figure whose root walks and whose joints move at even speeds."""
  rng = np.random.default_rng(seed)
  pose = streaming._figure(BODY)
  speed = rng.normal(0, 0.2, pose.shape) + np.array([1.0, 0, 0])
  time = np.arange(frames)[:, None, None] / fps
  return pose[None] + time * speed[None]


def centred(poses):
  return poses[:, 1:] - poses[:, :1]


def test_the_model_sees_the_last_frames_about_the_root():
  predictor, model = build()
  poses = walk(P + 5)
  for pose in poses:
    predictor.push(pose)
  found = predictor.predict()
  np.testing.assert_allclose(
      model.pasts[-1], centred(poses[-P:]), atol=1e-7
  )
  assert model.pasts[-1].dtype == found.motion.dtype == np.float32
  assert found.motion.shape == (K, F, J, 3)
  np.testing.assert_allclose(found.root, poses[-1, 0])
  assert found.time == pytest.approx((P + 4) / FPS)
  assert not found.bridged.mask.any()
  assert (found.bridged.frames, found.bridged.joints) == (0, 0)


def test_frames_may_come_together_or_with_a_call():
  poses = walk(P + 2)
  apart, together, called = (build() for _ in range(3))
  for pose in poses:
    apart[0].push(pose)
  together[0].push(poses[:4])
  together[0].push(list(poses[4:]), np.arange(4, P + 2) / FPS)
  motion = apart[0].predict().motion
  np.testing.assert_allclose(motion, together[0].predict().motion, atol=1e-7)
  np.testing.assert_array_equal(motion, called[0](poses).motion)


@pytest.mark.parametrize('told', ['none', 'nan', 'times'])
def test_lost_frames_are_bridged_and_reported(told):
  predictor, model = build()
  poses = walk(P + 3)
  lost = P - 1, P
  for i, pose in enumerate(poses):
    if i not in lost:
      predictor.push(pose, 7.0 + i / FPS if told == 'times' else None)
    elif told != 'times':
      predictor.push(None if told == 'none' else np.nan * pose)
  found = predictor.predict().bridged
  # The joints move evenly, so a line between the neighbours is the truth.
  np.testing.assert_allclose(
      model.pasts[-1], centred(poses[-P:]), atol=1e-6
  )
  assert (found.frames, found.joints, found.share) == (2, 0, 2 / P)
  rows = np.flatnonzero(found.mask.all(1))
  np.testing.assert_array_equal(rows, np.array(lost) - 3)
  assert set(found.longest) == {2} and not found.held.any()


def build_patient():
  return build(max_gap=1.0, max_missing=1.0)


def test_a_lost_joint_is_bridged_alone():
  predictor, model = build()
  poses = walk(P)
  seen = poses.copy()
  seen[2, 1 + WRIST, 1] = np.nan
  predictor.push(seen)
  found = predictor.predict().bridged
  np.testing.assert_allclose(model.pasts[-1], centred(poses), atol=1e-6)
  assert (found.frames, found.joints) == (0, 1)
  assert found.mask[2, WRIST] and not found.held.any()


def test_a_joint_lost_at_an_end_is_held_about_the_root():
  predictor, model = build_patient()
  poses = walk(P)
  seen = poses.copy()
  seen[-2:, 1 + WRIST] = np.inf
  seen[0, 1] = np.nan
  predictor.push(seen)
  found = predictor.predict().bridged
  past, truth = model.pasts[-1], centred(poses)
  np.testing.assert_allclose(
      past[-2:, WRIST], truth[[-3, -3], WRIST], atol=1e-7
  )
  np.testing.assert_allclose(past[0, 0], truth[1, 0], atol=1e-7)
  assert found.held.sum() == found.joints == 3
  np.testing.assert_array_equal(found.held, found.mask)


def test_a_frame_without_its_root_is_lost_and_the_root_is_where_it_was():
  predictor, _ = build()
  poses = walk(P)
  seen = poses.copy()
  seen[-1, 0] = np.nan
  predictor.push(seen)
  found = predictor.predict()
  assert found.bridged.frames == 1 and found.bridged.held[-1].all()
  np.testing.assert_allclose(found.root, poses[-2, 0])
  assert found.time == pytest.approx((P - 1) / FPS)


def test_what_was_seen_before_the_past_bridges_into_it():
  predictor, model = build()
  poses = walk(P + 2)
  seen = poses.copy()
  seen[2, 1 + WRIST] = np.nan
  predictor.push(seen)
  found = predictor.predict().bridged
  np.testing.assert_allclose(model.pasts[-1], centred(poses[2:]), atol=1e-6)
  assert found.joints == 1 and not found.held.any()


def test_a_faster_stream_with_a_jittering_clock_is_taken_at_the_rate():
  predictor, model = build()
  rng = np.random.default_rng(0)
  poses = walk(5 * P, 3 * FPS)
  times = np.arange(5 * P) / (3 * FPS)
  jitter = rng.uniform(-0.2, 0.2, 5 * P) / (3 * FPS)
  jitter[-1] = 0.0
  # A joint moves evenly in time, so it is elsewhere when its clock is off.
  speed = (poses[1] - poses[0]) * 3 * FPS
  predictor.push(poses + jitter[:, None, None] * speed[None], times + jitter)
  found = predictor.predict()
  np.testing.assert_allclose(
      model.pasts[-1], centred(poses[-3 * P + 2::3]), atol=1e-6
  )
  assert not found.bridged.mask.any()


def test_futures_may_be_about_the_last_root():
  poses = walk(P)
  (about_root, _), (moved, _) = build(), build(about='last_root')
  plain, placed = about_root(poses), moved(poses)
  np.testing.assert_allclose(
      placed.motion - plain.motion,
      np.broadcast_to(poses[-1, 0], plain.motion.shape), atol=1e-5,
  )


def test_draws_differ_from_call_to_call_and_follow_from_the_seed():
  poses, keys = walk(P), []
  for _ in range(2):
    predictor, model = build(seed=3)
    predictor(poses)
    predictor.predict()
    # The first call is the one that compiles.
    keys.append([jax.random.key_data(key).tolist() for key in model.keys[1:]])
  assert keys[0] == keys[1] and keys[0][0] != keys[0][1]


def test_too_few_frames_are_refused_and_counted():
  predictor, _ = build()
  assert not predictor.ready
  with pytest.raises(streaming.NotReady, match=r'10 frames \(0.50 s\).*none'):
    predictor.predict()
  predictor.push(walk(P - 1))
  assert not predictor.ready
  with pytest.raises(streaming.NotReady, match='found 9 so far'):
    predictor.predict()
  predictor.push(walk(P)[-1])
  assert predictor.ready
  predictor.reset()
  assert not predictor.ready


def test_after_a_pause_a_stream_begins_anew():
  predictor, model = build()
  poses = walk(2 * P)
  predictor.push(poses[:P])
  predictor.push(poses[P], 60.0)
  with pytest.raises(streaming.NotReady, match='found 1 so far'):
    predictor.predict()
  predictor.push(poses[P + 1:])
  assert not predictor.predict().bridged.mask.any()
  np.testing.assert_allclose(model.pasts[-1], centred(poses[P:]), atol=1e-6)


def test_long_gaps_are_refused_by_the_name_of_the_joint():
  predictor, _ = build()
  poses = walk(P)
  poses[2:5, 1 + WRIST] = np.nan
  predictor.push(poses)
  with pytest.raises(
      streaming.NotReady, match=r'at most 2 frames \(0.1 s\), found 3 without '
      'RWrist'
  ):
    predictor.predict()
  assert not predictor.ready


def test_a_joint_that_is_never_seen_is_refused_by_the_most_patient():
  predictor, _ = build_patient()
  poses = walk(P)
  poses[:, 1 + WRIST] = np.nan
  predictor.push(poses)
  with pytest.raises(streaming.NotReady, match='found 10 without RWrist'):
    predictor.predict()
  predictor.reset()
  predictor.push([None] * P)
  with pytest.raises(streaming.NotReady, match='found 10 without Nose'):
    predictor.predict()


def test_a_slower_stream_is_refused_with_the_rate_of_the_model():
  predictor, _ = build()
  predictor.push(walk(P, FPS / 2), np.arange(P) * 2 / FPS)
  with pytest.raises(
      streaming.NotReady, match='found 50%.*20 frames per second'
  ):
    predictor.predict()


@pytest.mark.parametrize('poses, times, message', [
    (np.zeros((J, 3)), None, r'pose: expected \[15, 3\] or \[N, 15, 3\]'),
    ([np.zeros((3, 3)), None], None, 'no numbers, or poses of several shapes'),
    ('pose', None, 'pose: expected'),
    (1000 * walk(1), None, 'unit: expected metres.*millimetres'),
    (walk(1), np.nan, 'time: expected a finite number of seconds, found nan'),
    (walk(2), [1.0, 1.0], 'after that of the last frame, 1 s, found 1 s'),
    (walk(2), [1.0], 'times: expected one for each of 2 frames, found 1'),
])
def test_what_is_no_pose_is_named(poses, times, message):
  predictor, _ = build()
  with pytest.raises(DataError, match=message):
    predictor.push(poses, times)


@pytest.mark.parametrize('options, message', [
    ({'about': 'floor'}, 'about: expected one of'),
    ({'max_gap': -1.0}, 'max_gap, max_missing'),
    ({'max_missing': 1.5}, 'max_gap, max_missing'),
])
def test_wrong_options_are_named(options, message):
  with pytest.raises(UserError, match=message):
    build(**options)


def test_a_model_of_another_body_or_diverged_is_named():
  wrong = Trained(SOURCE, lambda *given: {'motion': np.zeros((1, K, F, 3, 3))})
  with pytest.raises(UserError, match='futures: expected .1, K, F, 14, 3.'):
    streaming.StreamingPredictor(wrong)
  lost = Trained(
      SOURCE, lambda *given: {'motion': np.full((1, K, F, J, 3), np.nan)}
  )
  with pytest.raises(UserError, match='expected finite positions'):
    streaming.StreamingPredictor(lost)(walk(P))


def test_bridging_equals_interpolation_joint_by_joint():
  rng = np.random.default_rng(1)
  times = np.cumsum(rng.uniform(0.3, 1.7, 40)) / FPS
  poses = rng.normal(size=(40, J, 3))
  poses[rng.random((40, J)) < 0.3] = np.nan
  grid = times[-1] - np.arange(20)[::-1] / FPS
  filled, found = streaming.bridge(poses, times, grid, FPS)
  for j in range(J):
    seen = np.isfinite(poses[:, j, 0])
    expected = [
        np.interp(grid, times[seen], poses[seen, j, c]) for c in range(3)
    ]
    np.testing.assert_allclose(filled[:, j], np.stack(expected, 1), atol=1e-9)
    gap = np.abs(grid[:, None] - times[seen][None]).min(1) * FPS
    np.testing.assert_array_equal(found.mask[:, j], gap > 0.75)
    outside = (grid < times[seen][0]) | (grid > times[seen][-1])
    np.testing.assert_array_equal(found.held[:, j], (gap > 0.75) & outside)
  assert found.held.any() and (found.mask & ~found.held).any()


@pytest.fixture(scope='module')
def live():
  """A tiny diffusion with random weights, and how often it was traced."""
  system = configs.system({'system': {
      'name': 'skeleton_diffusion', 'box_size': 1.5, 'width': 4,
      'encoder_layers': 1, 'samples': K, 'process': {'steps': 2},
      'denoiser': {'width': 8, 'depth': 1, 'heads': 1, 'head_width': 4},
      'sampler': {'name': 'ddpm', 'steps': 2},
  }}, INFO)
  batch = {'past': np.zeros((1, P, J, 3)), 'future': np.zeros((1, F, J, 3))}
  shapes = jax.eval_shape(system.init, jax.random.key(0), batch)
  rng = np.random.default_rng(0)
  variables = jax.tree.map(
      lambda leaf: np.float32(rng.normal(0, 0.3, leaf.shape)), shapes
  )
  traces = []

  @jax.jit
  def call(params, frozen, batch, key):
    traces.append(1)
    return system.sample(params, frozen, batch, key)

  model = Trained(
      SOURCE, lambda batch, key: call(*variables, dict(batch), key)
  )
  return model, traces


@contextlib.contextmanager
def compilations():
  """Collect what is compiled, by whomever."""
  found = []

  def listen(event, duration, **_):
    if 'compile' in event:
      found.append(event)

  jax.monitoring.register_event_duration_secs_listener(listen)
  try:
    yield found
  finally:
    jax.monitoring.unregister_event_duration_listener(listen)


def test_a_thousand_frames_with_losses_compile_nothing(live):
  model, traces = live
  with compilations() as found:
    predictor = streaming.StreamingPredictor(model, max_gap=0.2)
  assert traces == [1] and found
  rng = np.random.default_rng(0)
  poses = walk(1000) % 0.5 + streaming._figure(BODY)[None]
  drops, losses = rng.random(1000) < 0.03, rng.random((1000, J + 1)) < 0.003
  losses[:, 0] = False
  poses[losses] = np.nan
  made, frames, joints = 0, 0, 0
  with compilations() as found:
    for pose, drop in zip(poses, drops):
      predictor.push(None if drop else pose)
      if predictor.ready:
        prediction = predictor.predict()
        assert prediction.motion.shape == (K, F, J, 3)
        made += 1
        frames += bool(prediction.bridged.frames)
        joints += bool(prediction.bridged.joints)
  assert made > 900 and frames > 50 and joints > 50
  assert traces == [1] and not found


def test_latency_is_measured_and_leaves_an_empty_stream(live):
  predictor = streaming.StreamingPredictor(live[0])
  predictor.push(walk(P))
  found = streaming.latency(predictor, calls=20)
  assert 0 < found.median <= found.percentile_99 and found.calls == 20
  assert not predictor.ready
  with pytest.raises(UserError, match='calls: expected 1 or more, found 0'):
    streaming.latency(predictor, 0)
