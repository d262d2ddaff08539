"""The compiled suite against its parts, one by one."""

import jax
from jax.sharding import AxisType
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec
import numpy as np
import pytest

from diffax.body import skeletons
from diffax.metrics import calibration
from diffax.metrics import forecasting
from diffax.metrics import realism
from diffax.metrics import suite as suites

BODY = skeletons.AMASS21
EDGES = np.asarray(BODY.edges)


@pytest.fixture(scope='module')
def case():
  rng = np.random.default_rng(0)
  pose = rng.normal(size=(6, 1, 21, 3))
  pose[3:5] = pose[0]
  motion = pose + rng.normal(size=(6, 9, 21, 3)).cumsum(1) * 0.01
  motion = motion.astype(np.float32)
  past, future = motion[:, :4], motion[:, 4:]
  pred = future[:, None] + rng.normal(size=(6, 3, 5, 21, 3)) * 0.02
  truth = suites.truth(past, future, 0.9)
  pred = pred.astype(np.float32)
  index = np.arange(6, dtype=np.int32)
  return pred, future, truth, suites.suite(BODY)(pred, index, truth)


def test_table_names_are_measured(case):
  values = case[-1]
  assert set(suites.TABLE) - {'CMD'} <= set(values.metrics)
  assert set(values.metrics) == set(values.counted)
  for value in values.metrics.values():
    assert value.shape == (6,)


def test_each_metric_equals_its_function(case):
  pred, future, truth, values = case
  found = jax.device_get(values.metrics)
  for i in range(6):
    expected = {
        'ADE': forecasting.ade(pred[i], future[i]),
        'FDE': forecasting.fde(pred[i], future[i]),
        'MAE': forecasting.mae(
            pred[i], future[i], EDGES, forecasting.angle_pairs(BODY)
        ),
        'APD': forecasting.apd(pred[i]),
        'APDE': abs(forecasting.apd(pred[i]) - truth.apd[i]),
        'stretch mean (paper)': 100 * realism.limb_errors(
            pred[i], future[i], EDGES, 'paper'
        ).stretch_mean.mean(),
    }
    for name, value in expected.items():
      np.testing.assert_allclose(found[name][i], value, rtol=1e-4, err_msg=name)


def test_lone_segments_count_only_where_defined(case):
  values = case[-1]
  together = np.array([True, False, False, True, True, False])
  for name in ('APDE', 'APDE (paper)', 'MMADE (paper)', 'MMFDE (paper)'):
    np.testing.assert_array_equal(values.counted[name], together, name)
  for name in ('MMADE', 'APDE (keep all)'):
    assert values.counted[name].all()
  alone = ~together
  np.testing.assert_allclose(
      values.metrics['MMADE'][alone], values.metrics['ADE'][alone], rtol=1e-5
  )


def test_curves_rise_to_one_and_to_the_whole_diversity(case):
  values = case[-1]
  for name in ('valid by stretch', 'valid by jitter'):
    curve = np.asarray(values.curves[name])
    assert (np.diff(curve, axis=1) >= 0).all() and curve.max() <= 1
  full = np.asarray(values.curves['valid by jitter'])[:, -1] == 1
  assert full.any()
  np.testing.assert_allclose(
      values.curves['APD of valid'][full, -1], values.metrics['APD'][full],
      rtol=1e-5,
  )


def test_coverage_is_measured_of_each_segment(case):
  pred, future, _, values = case
  assert values.curves['coverage'].shape == (6, 1)
  whole = calibration.calibration(pred, future)
  np.testing.assert_allclose(
      values.curves['coverage'].mean(0), whole.coverage, rtol=1e-5
  )
  assert 0 < whole.coverage < 1


def test_predictions_may_lie_on_several_devices(case):
  pred, _, truth, values = case
  mesh = jax.make_mesh((2,), ('data',), (AxisType.Auto,))
  spread = jax.device_put(pred, NamedSharding(mesh, PartitionSpec('data')))
  found = suites.suite(BODY)(spread, np.arange(6, dtype=np.int32), truth)
  for name, value in values.metrics.items():
    np.testing.assert_allclose(found.metrics[name], value, rtol=1e-5)
