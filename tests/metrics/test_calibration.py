"""Calibration of sets of futures whose distribution is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.metrics import calibration

B, F, J = 40, 5, 4


def ensemble(samples, spread, seed=0):
  """Truths and samples about the same means; `spread` 1 is calibrated."""
  rng = np.random.default_rng(seed)
  mean = rng.normal(size=(B, F, J, 3))
  target = mean + rng.normal(size=mean.shape)
  noise = rng.normal(size=(B, samples, F, J, 3))
  return (
      np.float32(mean[:, None] + spread * noise), np.float32(target)
  )


@pytest.mark.parametrize('samples', [2, 5, 50])
def test_what_draws_the_truth_is_calibrated_however_few_it_draws(samples):
  found = calibration.calibration(*ensemble(samples, 1.0))
  assert found.level.shape == found.coverage.shape == (samples // 2,)
  # Three deviations of a share of 2,400 coordinates.
  assert found.error < 3 * 0.5 / np.sqrt(B * F * J * 3)
  assert abs(found.bias) <= found.error + 1e-12


def test_levels_of_very_many_samples_would_be_wrong_of_few():
  found = calibration.calibration(*ensemble(5, 1.0))
  # Intervals from the i-th least to the i-th greatest of 5 hold 2/3 and 1/3,
  # not the shares 1 - 2 i / K of the samples that lie between.
  np.testing.assert_allclose(found.level, [2 / 3, 1 / 3])
  naive = np.array([3 / 5, 1 / 5])
  assert np.abs(found.coverage - naive).mean() > 5 * found.error


def test_narrow_sets_cover_too_little_and_wide_ones_too_much():
  narrow, exact, wide = (
      calibration.calibration(*ensemble(50, spread))
      for spread in (0.4, 1.0, 2.5)
  )
  assert narrow.bias < -0.2 and narrow.error == pytest.approx(-narrow.bias)
  assert wide.bias > 0.2 and wide.error == pytest.approx(wide.bias)
  assert exact.error < 0.1 * min(narrow.error, wide.error)


def test_coverage_of_a_gaussian_of_half_the_spread_is_known():
  samples = 199
  found = calibration.calibration(*ensemble(samples, 0.5, seed=1))
  # |y| < 0.5 z_p, where z_p bounds the level p of the samples' own Gaussian.
  z = np.asarray(jax.scipy.stats.norm.ppf((1 + found.level) / 2))
  expected = 2 * np.asarray(jax.scipy.stats.norm.cdf(0.5 * z)) - 1
  np.testing.assert_allclose(found.coverage, expected, atol=0.03)


def test_a_shift_is_seen():
  pred, target = ensemble(20, 1.0)
  assert calibration.calibration(pred + 2.0, target).bias < -0.2


def test_ranks_count_what_is_below_and_half_of_what_is_equal():
  pred = jnp.array([[1.0, 1.0, 1.0], [2.0, 1.0, 2.0], [3.0, 4.0, 3.0]])
  found = calibration.ranks(pred, jnp.array([2.5, 1.0, 0.0]))
  np.testing.assert_array_equal(found, [2.0, 1.0, 0.0])


def test_copies_cover_the_truth_only_where_they_are_it():
  target = np.zeros((3, 2, 3), np.float32)
  pred = np.zeros((4, 3, 2, 3), np.float32)
  np.testing.assert_array_equal(calibration.coverage(pred, target), [1, 1])
  pred[:, :, 0] = 1.0
  np.testing.assert_array_equal(calibration.coverage(pred, target), [0.5, 0.5])


def test_one_sample_has_no_interval():
  pred, target = ensemble(1, 1.0)
  found = calibration.calibration(pred, target)
  assert found.error is None and found.bias is None
  assert found.coverage.shape == (0,)


def test_segments_are_averaged_before_the_error():
  # Each half is far off, to the one side and to the other.
  level = calibration.levels(4)
  found = calibration.summary(
      np.mean([level - 0.2, level + 0.2], axis=0), 4
  )
  assert found.error == pytest.approx(0.0, abs=1e-12)
