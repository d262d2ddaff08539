"""Every number of the released code's evaluation, in float32."""

import jax
import numpy as np
import pytest

from diffax.body.skeletons import H36M16
from diffax.metrics import distribution
from diffax.metrics import forecasting
from diffax.metrics import realism
from diffax.metrics import suite as suites

FILES = (
    'metrics_h36m16_F60_N50_B4_f64.npz', 'metrics_h36m16_F100_N50_B2_f64.npz'
)
# Golden arrays are float64 and our inputs float32: where a value is itself the
# small difference of two lengths, rounding the input moves it this much.
ROUNDING = 2.4e-7
EDGES = np.asarray(H36M16.edges)


@pytest.fixture(scope='module', params=FILES)
def golden(request, golden_dir):
  with np.load(golden_dir / request.param) as file:
    return dict(file)


@pytest.fixture(scope='module')
def values(golden):
  """The whole suite on the golden predictions; truths lie in one bank."""
  counts = golden['mm_counts']
  index = np.cumsum(counts) - counts
  bank = golden['mm_concat'].astype(np.float32)
  starts, sizes, apd = (np.zeros(len(bank), t) for t in 'iif')
  starts[index], sizes[index], apd[index] = index, counts, golden['apde_gt_APD']
  members = np.arange(len(bank) + 64, dtype=np.int32) % len(bank)
  sets = forecasting.Multimodal(members, starts, sizes)
  truth = suites.Truth(bank, sets, apd, apd)
  pred = golden['pred'].astype(np.float32)
  found = suites.suite(H36M16)(pred, index.astype(np.int32), truth)
  assert found.metrics['ADE'].dtype == np.float32
  return jax.device_get(found)


@pytest.mark.parametrize(
    'metric, field',
    [(name, name) for name in ('ADE', 'FDE', 'MAE', 'MMADE', 'MMFDE', 'APD')]
    + [
        ('stretch mean', 'StretchMean'), ('stretch RMSE', 'StretchRMSE'),
        ('jitter mean', 'JitterMean'), ('jitter RMSE', 'JitterRMSE'),
    ],
)
def test_suite_agrees(golden, values, metric, field):
  found = values.metrics[metric]
  np.testing.assert_allclose(found, golden[f'out_{field}'], rtol=1e-6)
  mean = found.astype(float).mean()
  np.testing.assert_allclose(mean, golden[f'final_{field}'], rtol=1e-6)
  assert metric in values.counted and values.counted[metric].all()


def test_mpjpe_of_the_best_sample_agrees(golden, values):
  found = values.metrics['MPJPE']
  np.testing.assert_allclose(found, golden['out_MPJPE'], rtol=1e-6)


def test_distances_of_each_sample_agree(golden):
  pred, target = (golden[k].astype(np.float32) for k in ('pred', 'target'))
  distance = jax.vmap(forecasting.frame_distance)(pred, target)
  average = np.asarray(distance.mean(-1))
  np.testing.assert_allclose(
      average, golden['out_ADE_persample'], rtol=1e-6
  )
  np.testing.assert_allclose(
      distance[:, :, -1], golden['out_FDE_persample'], rtol=1e-6
  )
  np.testing.assert_array_equal(average.argmin(1), golden['best_sample_idx'])


def test_ade_fde_apd_alone_agree(golden):
  pred, target = (golden[k][0].astype(np.float32) for k in ('pred', 'target'))
  for name in ('ADE', 'FDE'):
    found = getattr(forecasting, name.lower())(pred, target)
    np.testing.assert_allclose(found, golden[f'out_{name}'][0], rtol=1e-6)
  found = forecasting.apd(pred)
  np.testing.assert_allclose(found, golden['out_APD'][0], rtol=1e-6)


def test_apde_agrees_and_drops_truths_without_diversity(golden, values):
  counted = values.counted['APDE']
  np.testing.assert_array_equal(counted, golden['apde_gt_APD'] > 0)
  found = values.metrics['APDE'].astype(float)[counted].mean()
  np.testing.assert_allclose(found, golden['final_APDE'], rtol=1e-6)


def test_diversity_of_the_multimodal_truth_agrees(golden):
  counts = golden['mm_counts'].astype(np.int32)
  members = np.arange(counts.sum(), dtype=np.int32)
  starts = (np.cumsum(counts) - counts).astype(np.int32)
  sets = forecasting.Multimodal(members, starts, counts)
  found = forecasting.multimodal_apd(golden['mm_concat'], sets, block=7)
  np.testing.assert_allclose(found, golden['apde_gt_APD'], rtol=1e-6)


def test_cmd_agrees(golden, values):
  np.testing.assert_allclose(values.speed, golden['cmd_motion'], rtol=1e-6)
  labels, mean = golden['cmd_class_idx'], golden['cmd_mean_motion_per_class']
  single = forecasting.cmd_single(values.speed.astype(float), mean[labels])
  np.testing.assert_allclose(single, golden['out_cmd_single'], rtol=1e-6)
  found = forecasting.cmd(values.speed, labels, mean)
  np.testing.assert_allclose(found.mean, golden['final_CMD'], rtol=1e-6)


@pytest.mark.parametrize('kind', ['Stretch', 'Jitter'])
@pytest.mark.parametrize('moment', ['Mean', 'RMSE'])
@pytest.mark.parametrize('double', [False, True])
def test_each_limb_agrees(golden, kind, moment, double):
  field = f'out_{kind}{moment}'
  with jax.enable_x64(double):
    dtype = np.float64 if double else np.float32
    pred, target = (golden[k].astype(dtype) for k in ('pred', 'target'))
    errors = jax.vmap(lambda p, t: realism.limb_errors(p, t, EDGES))(
        pred, target
    )
  found = np.asarray(getattr(errors, f'{kind}_{moment}'.lower()), np.float64)
  np.testing.assert_allclose(
      found,
      golden[f'{field}_perlimb_unscaled'],
      rtol=1e-6,
      atol=0.0 if double else ROUNDING,
  )
  np.testing.assert_allclose(
      found.mean(-1), golden[f'{field}_persample_unscaled'], rtol=1e-6
  )


@pytest.mark.parametrize('extreme', ['mean', 'max', 'min'])
def test_limb_statistics_agree(golden, extreme):
  # The least change of a length is of the order of float32's rounding of the
  # input, so the minima are compared in float64.
  double = extreme == 'min'
  with jax.enable_x64(double):
    dtype = np.float64 if double else np.float32
    pred, target = (golden[k].astype(dtype) for k in ('pred', 'target'))
    found = jax.vmap(lambda p, t: realism.limb_statistics(p, t, EDGES))(
        pred, target
    )
  for name, spread in found.items():
    np.testing.assert_allclose(
        getattr(spread, extreme),
        golden[f'out_limb_length_{name}_{extreme}'],
        rtol=1e-6,
    )


def test_frechet_agrees(golden):
  found = distribution.frechet(golden['fid_act_gt'], golden['fid_act_pred'])
  np.testing.assert_allclose(found, golden['final_FID'], rtol=1e-6)


def test_ranks_agree(golden):
  pred, target = golden['pred'][0], golden['target'][0]
  closest = forecasting.rank_closest(pred, target)
  np.testing.assert_array_equal(closest[:1], golden['rank_closest_idx'])
  diverse = forecasting.rank_diverse(pred, target, 5)
  np.testing.assert_array_equal(diverse, golden['rank_furthest_idx'])


def test_skeleton_has_the_golden_limbs_and_angles(golden):
  np.testing.assert_array_equal(EDGES, golden['limbseq'])
  np.testing.assert_array_equal(
      forecasting.angle_pairs(H36M16), golden['limb_angles_idx_flat_pairs']
  )
