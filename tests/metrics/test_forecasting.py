"""Metrics against hand-made motions and naive loops."""

import itertools
import tracemalloc

import jax
from jax.extend import core as jex_core
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.body import skeletons
from diffax.errors import UserError
from diffax.metrics import forecasting

J = 21
EDGES = np.asarray(skeletons.AMASS21.edges)
PAIRS = forecasting.angle_pairs(skeletons.AMASS21)


def motions(*shape, seed=0):
  rng = np.random.default_rng(seed)
  return rng.normal(size=(*shape, J, 3)).astype(np.float32)


def test_a_constant_offset_is_measured_over_all_joints():
  target = motions(7)
  pred = np.stack([target + 0.3, target - 0.1])
  # The norm is over 3 J coordinates, of one joint over three.
  expected = 0.1 * np.sqrt(3 * J)
  np.testing.assert_allclose(
      forecasting.ade(pred, target), expected, rtol=1e-5
  )
  np.testing.assert_allclose(
      forecasting.fde(pred, target), expected, rtol=1e-5
  )
  np.testing.assert_allclose(
      forecasting.mpjpe(pred, target), np.sqrt(3) * np.array([0.3, 0.1]),
      rtol=1e-5,
  )


def test_ade_and_fde_choose_their_samples_apart():
  target = np.zeros((4, J, 3), np.float32)
  late, early = target.copy(), target.copy()
  late[-1] += 1.0
  early[:-1] += 1.0
  pred = np.stack([late, early])
  np.testing.assert_allclose(
      forecasting.ade(pred, target), np.sqrt(3 * J) / 4, rtol=1e-6
  )
  assert forecasting.fde(pred, target) == 0.0


def test_angles_of_known_limbs():
  # Four nodes: along x, back along x, up, and a limb without length.
  pose = jnp.array([[0, 0, 0], [1, 0, 0], [2, 0, 0], [1, 0, 1], [1, 0, 1.0]])
  edges = np.array([(0, 1), (2, 1), (1, 3), (4, 3)])
  pairs = np.array([(0, 1), (0, 2), (0, 3), (0, 0)])
  found = forecasting.limb_angles(pose, edges, pairs)
  np.testing.assert_allclose(found, [0.0, 90.0, 90.0, 0.0], atol=1e-5)


def test_small_angles_keep_float32_precision():
  angle = np.radians(0.01)
  pose = np.array([
      [0, 0, 0], [1, 0, 0], [1 + np.cos(angle), np.sin(angle), 0]
  ])
  found = forecasting.limb_angles(
      jnp.asarray(pose, jnp.float32), np.array([(0, 1), (1, 2)]),
      np.array([(0, 1)])
  )
  np.testing.assert_allclose(found, [0.01], rtol=1e-3)


def test_angle_error_ignores_rotation_and_size():
  target = motions(5)
  turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
  pred = np.stack([2.0 * target @ turn.astype(np.float32), motions(5, seed=2)])
  found = forecasting.mae(pred, target, EDGES, PAIRS)
  np.testing.assert_allclose(found, 0.0, atol=1e-3)
  assert forecasting.mae(pred[1:], target, EDGES, PAIRS) > 10


def test_a_body_without_angles_has_no_angle_error():
  none = np.zeros((0, 2), np.int32)
  assert forecasting.mae(motions(2, 3), motions(3), EDGES, none) == 0.0


def naive_apd(x):
  pairs = itertools.combinations(np.asarray(x, np.float64), 2)
  return np.mean([np.linalg.norm(a - b) for a, b in pairs])


def test_diversity_of_near_duplicates_in_float32():
  x = motions(1, 9) * 5 + 1e-3 * motions(6, 9, seed=1)
  np.testing.assert_allclose(forecasting.apd(x), naive_apd(x), rtol=1e-5)


def test_copies_have_no_diversity():
  x = motions(1, 9)
  assert forecasting.apd(x) == 0.0
  assert forecasting.apd(x.repeat(4, 0)) < 1e-5


def test_diversity_error_drops_or_keeps_zeros():
  error, counted = forecasting.apde(jnp.ones(3), jnp.array([0.0, 0.5, 3.0]))
  np.testing.assert_array_equal(error, [1.0, 0.5, 2.0])
  np.testing.assert_array_equal(counted, [False, True, True])
  _, counted = forecasting.apde(jnp.ones(2), jnp.zeros(2), 'all')
  assert counted.all()


def naive_sets(pose, threshold, itself):
  gap = np.linalg.norm((pose[:, None] - pose[None]).reshape(
      len(pose), len(pose), -1), axis=-1)
  near = gap < threshold
  if not itself:
    near &= ~np.eye(len(pose), dtype=bool)
  return [np.flatnonzero(row) for row in near]


def lists(sets):
  return [
      sets.members[start:start + count]
      for start, count in zip(sets.starts, sets.counts)
  ]


@pytest.mark.parametrize('members', ['released', 'paper'])
@pytest.mark.parametrize('block', [4, 64])
def test_multimodal_truth_is_found(members, block):
  pose = motions(23)
  threshold = float(np.sqrt(6 * J))
  found = forecasting.multimodal(
      pose, threshold, members=members, block=block
  )
  expected = naive_sets(pose, threshold, members == 'released')
  assert 0 < sum(map(len, expected)) < 22 * 23
  for a, b in zip(lists(found), expected, strict=True):
    np.testing.assert_array_equal(a, b)


def test_the_threshold_itself_is_too_far():
  pose = np.zeros((2, J, 3), np.float32)
  pose[1, 0, 0] = 0.5
  assert forecasting.multimodal(pose, 0.5).counts.tolist() == [1, 1]
  assert forecasting.multimodal(pose, 0.51).counts.tolist() == [2, 2]


@pytest.fixture(scope='module')
def crowd():
  """150 segments; the first 100 share their past, the last is alone."""
  pose = np.arange(150.0)[:, None, None] * np.ones((1, J, 3))
  pose[:100] = 0.0
  sets = forecasting.multimodal(pose, 0.1)
  return motions(150, 5, seed=3), sets


def test_multimodal_errors_equal_loops(crowd):
  futures, sets = crowd
  pred = motions(4, 5, seed=4)
  measure = jax.jit(forecasting.multimodal_errors)
  for index in (0, 99, 149):
    found = measure(
        pred, index, futures, sets.members, sets.starts[index],
        sets.counts[index]
    )
    ids = lists(sets)[index]
    truth = futures[ids].astype(np.float64)
    gap = np.linalg.norm(
        (pred[:, None] - truth[None]).reshape(4, len(ids), 5, -1), axis=-1
    )
    np.testing.assert_allclose(
        found[:2], [gap.mean(-1).min(0).mean(), gap[..., -1].min(0).mean()],
        rtol=1e-5,
    )
    other = gap[:, ids != index]
    assert found.others == other.shape[1]
    least = [other.mean(-1), other[..., -1]]
    np.testing.assert_allclose(
        found[2:4], [x.min(initial=np.inf) for x in least], rtol=1e-5
    )
  assert measure._cache_size() == 1


def test_multimodal_diversity_equals_loops(crowd):
  futures, sets = crowd
  found = forecasting.multimodal_apd(futures, sets, block=32)
  np.testing.assert_allclose(found[0], naive_apd(futures[:100]), rtol=1e-5)
  np.testing.assert_allclose(found[100:], 0.0)


def test_diversity_without_the_segment_itself_needs_no_second_pass(crowd):
  futures, sets = crowd
  pose = np.arange(150.0)[:, None, None] * np.ones((1, J, 3))
  pose[:100], pose[148] = 0.0, pose[147]
  sets = forecasting.multimodal(pose, 0.1)
  others = forecasting.multimodal(pose, 0.1, members='paper')
  found = forecasting.multimodal_apds(futures, sets, block=32)
  for part, expected in zip(found, (sets, others)):
    np.testing.assert_allclose(
        part, forecasting.multimodal_apd(futures, expected, block=64),
        rtol=1e-5, atol=1e-5,
    )
  # Two that share their past: a pair with the segment itself, none without.
  assert found[0][147] > 1 and found[1][147] == 0.0


N, BLOCK = 12_727, 256


def sizes(function, *arguments):
  """Return the bytes of every array of a traced function."""
  return [
      variable.aval.size * variable.aval.dtype.itemsize
      for variable in _variables(jax.make_jaxpr(function)(*arguments).jaxpr)
  ]


def _variables(jaxpr):
  yield from jaxpr.invars
  for equation in jaxpr.eqns:
    yield from equation.outvars
    for inner in jex_core.jaxprs_in_params(equation.params):
      yield from _variables(inner)


def test_the_search_among_all_of_amass_never_holds_all_pairs():
  rows, poses = (
      jax.ShapeDtypeStruct((n, 3 * J), np.float32) for n in (BLOCK, N)
  )
  # One row of differences, or one block of answers: 3 MB where all pairs of
  # the 12,727 have 162 MB as answers and 648 MB as distances.
  largest = max(sizes(forecasting._within, rows, poses, 0.4))
  assert largest == max(N * 3 * J * 4, BLOCK * N) < 4e6
  memory = forecasting._within.lower(
      rows, poses, 0.4
  ).compile().memory_analysis()
  assert memory.temp_size_in_bytes + memory.output_size_in_bytes < 12e6


def test_the_diversity_of_all_truths_never_holds_all_pairs():
  block, frames = 512, 2
  flat = jax.ShapeDtypeStruct((N, frames * 3 * J), np.float32)
  columns = jax.ShapeDtypeStruct((block,), np.int32)
  assert max(sizes(forecasting._distances, flat, columns)) == block * N * 4
  chosen, inside = (
      jax.ShapeDtypeStruct((block, n), bool) for n in (N, block)
  )
  distance = jax.ShapeDtypeStruct((N, block), np.float32)
  found = sizes(forecasting._pair_sums, chosen, distance, inside)
  assert max(found) == block * N * 4 < 27e6


def test_lists_and_memberships_on_the_host_are_blocked():
  total, block = 2048, 64
  pose = np.arange(float(total))[:, None, None] * np.ones((1, 1, 3))
  futures = np.zeros((total, 2, 1, 3), np.float32)
  forecasting.multimodal(pose[:block], 0.1, block=block)
  tracemalloc.start()
  try:
    sets = forecasting.multimodal(pose, 0.1, block=block)
    forecasting.multimodal_apds(futures, sets, block=block)
    _, peak = tracemalloc.get_traced_memory()
  finally:
    tracemalloc.stop()
  np.testing.assert_array_equal(sets.counts, 1)
  # A byte for each pair would be 4 MiB.
  assert peak < total**2 / 4


def test_speed_of_uniform_motion():
  motion = np.zeros((6, J, 3)) + 0.3 * np.arange(6)[:, None, None]
  found = forecasting.motion_speed(motion)
  np.testing.assert_allclose(found, np.full(5, 0.3 * np.sqrt(3)), rtol=1e-6)


def test_cmd_weighs_early_frames_and_classes():
  speed = np.array([[1.0, 0.0], [3.0, 0.0], [0.0, 2.0]])
  labels, mean = np.array([0, 0, 2]), np.array([1.0, np.nan, 1.0])
  # Class 0: mean course (2, 0), gaps 1 and 1, weights 2 and 1: 3; class 2: 3.
  found = forecasting.cmd(speed, labels, mean)
  assert found == (3.0, 0.0)
  found = forecasting.cmd(speed, labels, np.array([1.0, 0, 0]))
  np.testing.assert_allclose(found.mean, (2 * 3.0 + 1 * 2.0) / 3)
  np.testing.assert_allclose(found.std, np.sqrt(2) / 3)
  found = forecasting.cmd(
      speed, labels, np.array([1.0, 0, 0]), frequency=np.array([0, 5, 1.0])
  )
  assert found.mean == 2.0


def test_cmd_by_class_leaves_out_absent_ones():
  speed = np.array([[1.0, 0.0], [3.0, 0.0], [0.0, 2.0]])
  found = forecasting.cmd_by_class(
      speed, np.array([0, 0, 2]), np.array([1.0, np.nan, 0.0])
  )
  np.testing.assert_array_equal(found.segments, [2, 0, 1])
  np.testing.assert_array_equal(found.value, [3.0, np.nan, 2.0])
  np.testing.assert_array_equal(found.speed, [1.0, np.nan, 1.0])


def test_cmd_of_the_paper_knows_one_class():
  speed = np.array([[1.0, 0.0], [3.0, 2.0]])
  found = forecasting.cmd(speed, [0, 1], np.array([1.5]), classes='paper')
  assert found == (2 * 0.5 + 0.5, 0.0)


def test_mean_speed_by_class():
  future = np.zeros((3, 4, J, 3)) + np.arange(4)[None, :, None, None]
  future[2] *= 2
  found = forecasting.mean_speed(future, np.array([0, 0, 2]), 3)
  np.testing.assert_allclose(
      found, np.sqrt(3) * np.array([1, np.nan, 2]), rtol=1e-6
  )


def test_ranks_are_permutations_and_greedy():
  pred, target = motions(8, 3), motions(3, seed=9)
  closest = forecasting.rank_closest(pred, target)
  errors = np.asarray(forecasting.frame_distance(pred, target)).mean(1)
  np.testing.assert_array_equal(closest, np.argsort(errors))
  diverse = forecasting.rank_diverse(pred, target)
  assert sorted([closest[0], *diverse]) == list(range(8))
  chosen = [closest[0]]
  gap = np.linalg.norm((pred[:, None] - pred[None]).reshape(8, 8, -1), axis=-1)
  for index in diverse:
    left = np.setdiff1d(np.arange(8), chosen)
    assert index == left[gap[left][:, chosen].min(1).argmax()]
    chosen.append(index)


def test_one_sample_has_no_diverse_ones():
  assert forecasting.rank_diverse(motions(1, 3), motions(3), 5).shape == (0,)


@pytest.mark.parametrize('call', [
    lambda: forecasting.apde(jnp.ones(1), jnp.ones(1), 'some'),
    lambda: forecasting.multimodal(motions(2), 0.4, members='none'),
    lambda: forecasting.cmd(np.ones((1, 2)), [0], np.ones(1), classes='two'),
])
def test_unknown_definitions_are_refused(call):
  with pytest.raises(UserError, match="'released'"):
    call()
