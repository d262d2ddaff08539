"""Spectra, copies and clusters of windows whose answer is known."""

import numpy as np
import pytest

from diffax.errors import UserError
from diffax.metrics import quality

RATE = 50.0


def noise(count=60, length=160, channels=2, seed=0):
  rng = np.random.default_rng(seed)
  return rng.normal(size=(count, length, channels))


def test_a_sine_has_its_power_at_its_frequency():
  time = np.arange(160) / RATE
  wave = 3 * np.sin(2 * np.pi * 5 * time) + 7
  found = quality.spectra(np.tile(wave[None, :, None], (4, 1, 1)), RATE)
  assert found.frequency[0] > 0
  assert found.frequency[found.power[0].argmax()] == pytest.approx(5, abs=0.4)
  width = found.frequency[1] - found.frequency[0]
  assert found.power[0].sum() * width == pytest.approx(9 / 2, rel=0.02)


def test_white_noise_is_flat_and_has_its_variance():
  found = quality.spectra(2 * noise(400), RATE)
  assert found.power.shape == (2, 40)
  np.testing.assert_allclose(
      found.power[:, 2:-1], 4 / (RATE / 2) + 0 * found.power[:, 2:-1], rtol=0.2
  )


def test_the_distance_of_a_gain_is_its_decibels():
  real = quality.spectra(noise(), RATE)
  louder = quality.spectra(10 * noise(), RATE)
  np.testing.assert_allclose(
      quality.spectral_distance(real, louder), 20, rtol=1e-9
  )
  np.testing.assert_array_equal(quality.spectral_distance(real, real), 0)


def test_what_is_far_below_the_peak_does_not_count():
  time = np.arange(160) / RATE
  wave = np.sin(2 * np.pi * 5 * time)[None, :, None] + 0 * noise(8, channels=1)
  tiny = 1e-5 * noise(8, channels=1)
  sets = [quality.spectra(wave + part, RATE) for part in (0, tiny)]
  assert quality.spectral_distance(*sets)[0] < 0.01


def test_a_constant_channel_has_no_distance_to_itself():
  found = quality.spectra(np.ones((3, 160, 1)), RATE)
  np.testing.assert_array_equal(quality.spectral_distance(found, found), 0)


def test_nearest_is_the_root_of_the_mean_square():
  training = np.stack([np.zeros((4, 2)), np.full((4, 2), 3.0)])
  found = quality.nearest(np.full((1, 4, 2), 2.5), training)
  np.testing.assert_allclose(found, [0.5])


def test_copies_are_flagged_and_fresh_windows_are_not():
  training, held, fresh = (noise(50, seed=s) for s in range(3))
  found = quality.copies(training, held, training)
  assert found.ratio == 0 and found.share == 1
  near = quality.copies(training + 0.01 * fresh, held, training)
  assert near.ratio < 0.02 and near.share == 1
  new = quality.copies(fresh, held, training, quantile=0.2)
  assert new.ratio == pytest.approx(1, abs=0.05)
  assert new.share == pytest.approx(0.2, abs=0.15)
  assert len(new.generated) == len(new.held) == 50


def test_windows_that_share_samples_are_found():
  start, recording = np.array([0, 9, 10, 0]), np.array([0, 0, 0, 1])
  found = quality.apart(start, recording, np.array([0]), np.array([0]), 10)
  np.testing.assert_array_equal(found, [False, False, True, True])


def test_clusters_find_shapes_whatever_their_time():
  pytest.importorskip('tslearn')
  rng = np.random.default_rng(0)
  time = np.arange(24)
  kind = np.arange(16) % 2
  centre = 6 + 12 * rng.random(16)
  bump = np.exp(-((time[None] - centre[:, None]) / 2) ** 2)
  x = ((1 - 2 * kind)[:, None] * bump)[..., None]
  found = quality.dtw_clusters(x, 2, iterations=3, averaging=3)
  assert found.centroid.shape == (2, 24, 1)
  assert len(set(zip(found.label, kind))) == 2
  thin = quality.dtw_clusters(x, 40, iterations=1, averaging=1, thin=2)
  assert thin.centroid.shape == (16, 12, 1)


def test_clusters_need_tslearn(monkeypatch):
  monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
  with pytest.raises(UserError, match='tslearn is missing'):
    quality.dtw_clusters(noise(4))


def test_shares_and_their_divergence():
  found = quality.shares(
      np.array([0, 0, 1, 2]), np.array([0, 0, 0, 1]), 3, 3
  )
  np.testing.assert_allclose(found, [[2 / 3, 1 / 3, 0], [0, 0, 1], [0, 0, 0]])
  assert quality.divergence(found[0], found[1]) == pytest.approx(1)
  assert quality.divergence(found[0], found[0]) == 0


@pytest.mark.parametrize('function, arguments', [
    (quality.spectra, (np.zeros((0, 4, 2)), RATE)),
    (quality.nearest, (np.zeros((2, 4, 2)), np.zeros((2, 4, 3)))),
    (quality.nearest, (np.zeros((0, 4, 2)), np.zeros((2, 4, 2)))),
    (quality.dtw_clusters, (np.zeros((4, 2)),)),
])
def test_windows_that_do_not_fit_are_named(function, arguments):
  with pytest.raises(UserError, match='expected windows'):
    function(*arguments)
