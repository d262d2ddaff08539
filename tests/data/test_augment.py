"""Classical augmentation: what each kind changes, and what it leaves."""

import numpy as np
import pytest

from diffax.data import augment
from diffax.errors import UserError

SIGNALS = augment.Signals(
    ((0, 1, 2), (3, 4, 5)), np.arange(6.0), np.linspace(0.5, 3, 6)
)
KINDS = tuple(augment.AUGMENTATIONS)


def windows(count=400, length=50, seed=0):
  rng = np.random.default_rng(seed)
  target = np.eye(4)[np.arange(count) % 4]
  return augment.Windows(rng.normal(size=(count, length, 6)), target)


def change(kind, given, seed=0, **options):
  rng = np.random.default_rng(seed)
  return augment.AUGMENTATIONS[kind](rng, given, SIGNALS, **options)


@pytest.mark.parametrize('kind', KINDS)
def test_shapes_stay_the_input_too_and_draws_repeat(kind):
  given = windows(20)
  before = given.x.copy()
  first, again, other = (change(kind, given, s) for s in (0, 0, 1))
  assert first.x.shape == given.x.shape
  np.testing.assert_array_equal(given.x, before)
  np.testing.assert_array_equal(first.x, again.x)
  assert np.abs(first.x - other.x).max() > 0
  np.testing.assert_allclose(first.target.sum(1), 1)


def test_jitter_is_a_share_of_the_deviation_of_the_channel():
  given = windows()
  noise = change('jitter', given, sigma=0.1).x - given.x
  np.testing.assert_allclose(noise.std((0, 1)), 0.1 * SIGNALS.std, rtol=0.03)
  assert abs(np.corrcoef(noise[:, :-1, 0].ravel(), noise[:, 1:, 0].ravel())[
      0, 1]) < 0.03


def test_scaling_has_one_factor_for_a_channel_of_a_window():
  given = windows()
  factor = change('scaling', given, sigma=0.2).x / given.x
  np.testing.assert_allclose(factor, factor[:, :1] + 0 * factor, rtol=1e-9)
  assert factor[:, 0].mean() == pytest.approx(1, abs=0.02)
  assert factor[:, 0].std() == pytest.approx(0.2, rel=0.05)


def test_rotation_turns_all_sensors_alike():
  given = windows(50)
  turned = change('rotation', given, degrees=180).x
  for axes in SIGNALS.triples:
    np.testing.assert_allclose(
        np.linalg.norm(turned[..., list(axes)], axis=-1),
        np.linalg.norm(given.x[..., list(axes)], axis=-1),
    )
  # The angle between the sensors' vectors does not change either.
  acc, gyr = (list(axes) for axes in SIGNALS.triples)
  np.testing.assert_allclose(
      (turned[..., acc] * turned[..., gyr]).sum(-1),
      (given.x[..., acc] * given.x[..., gyr]).sum(-1), atol=1e-9
  )


def test_rotation_keeps_to_its_angle():
  x = np.zeros((500, 1, 6))
  x[..., 0] = 1
  given = augment.Windows(x, np.eye(4)[np.zeros(500, int)])
  turned = change('rotation', given, degrees=20).x[:, 0, :3]
  angle = np.rad2deg(np.arccos(np.clip(turned[:, 0], -1, 1)))
  assert 10 < angle.max() <= 20 + 1e-6
  assert np.abs(turned[:, 1:].mean(0)).max() < 0.03


def test_rotation_needs_three_axes():
  odd = SIGNALS._replace(triples=((0, 1), (3, 4, 5)))
  with pytest.raises(UserError, match='three axes of each sensor'):
    augment.rotation(np.random.default_rng(0), windows(4), odd)


def test_timewarp_moves_values_in_time_only():
  time = np.linspace(0, 1, 80)
  x = np.tile(time[None, :, None], (100, 1, 6))
  given = augment.Windows(x, np.eye(4)[np.zeros(100, int)])
  warped = change('timewarp', given, sigma=0.3).x
  # What was time is now the warp itself, alike in all channels.
  np.testing.assert_allclose(warped, warped[..., :1] + 0 * warped)
  np.testing.assert_allclose(warped[:, [0, -1], 0], [[0, 1]] * 100, atol=1e-9)
  steps = np.diff(warped[..., 0], axis=1) * 79
  assert steps.min() > 0
  assert 0.1 < np.log(steps).std() < 0.5
  assert np.abs(np.diff(steps, axis=1)).max() < 0.5


def test_a_timewarp_without_strength_changes_nothing():
  given = windows(10)
  np.testing.assert_allclose(
      change('timewarp', given, sigma=0).x, given.x, atol=1e-9
  )


def test_mixup_mixes_windows_and_targets_alike():
  given = windows(200)
  # The first samples tell the class, so that they can be compared.
  given.x[:, 0, :4] = given.target
  mixed = change('mixup', given, alpha=1.0)
  np.testing.assert_allclose(mixed.x[:, 0, :4], mixed.target, atol=1e-12)
  assert ((mixed.target > 0).sum(1) == 2).mean() > 0.5
  assert mixed.target.min() >= 0


def expand(kinds, **options):
  rng = np.random.default_rng(0)
  label = np.array([0, 0, 0, 1, 1, 3])
  x = rng.normal(size=(6, 20, 6)).astype(np.float32)
  options = {'classes': 4, 'per_class': 8, 'seed': 0} | options
  return x, label, augment.expand(x, label, kinds, SIGNALS, **options)


def test_without_a_kind_windows_are_repeated_evenly():
  x, label, new = expand(())
  assert new.x.dtype == new.target.dtype == np.float32
  np.testing.assert_array_equal(new.target.sum(0), [8, 8, 0, 8])
  gap = np.abs(new.x[:, None] - x[None]).max((2, 3))
  assert gap.min(1).max() < 1e-5
  source = gap.argmin(1)
  np.testing.assert_array_equal(label[source], new.target.argmax(1))
  assert set(np.bincount(source, minlength=6)) <= {2, 3, 4, 8}


def test_kinds_act_in_the_units_of_the_sensors():
  x, _, new = expand(('rotation',), options={'rotation': {'degrees': 180}})
  norms = [
      np.sort(np.linalg.norm(SIGNALS.physical(part)[..., :3], axis=-1).ravel())
      for part in (x, new.x)
  ]
  assert norms[1].min() == pytest.approx(norms[0].min(), rel=1e-4)
  assert norms[1].max() == pytest.approx(norms[0].max(), rel=1e-4)
  plain = np.linalg.norm(new.x[..., :3], axis=-1).max()
  assert plain != pytest.approx(np.linalg.norm(x[..., :3], axis=-1).max(),
                                rel=1e-3)


def test_a_share_of_the_windows_changes():
  x, _, new = expand(('jitter',), share=0.5, per_class=200)
  gap = np.abs(new.x[:, None] - x[None]).max((2, 3)).min(1)
  assert (gap > 1e-4).mean() == pytest.approx(0.5, abs=0.08)


def test_unknown_kinds_are_named():
  with pytest.raises(UserError, match="found 'flip'"):
    expand(('flip',))
  with pytest.raises(UserError, match="found 'flip'"):
    expand(('jitter',), options={'flip': {}})


def test_signals_of_a_source():
  signals = augment.Signals.of({
      'sensors': {'acc': (0, 1, 2), 'gyr': (3, 4, 5)}, 'mean': SIGNALS.mean,
      'std': SIGNALS.std,
  })
  assert signals.triples == SIGNALS.triples
  x = np.random.default_rng(0).normal(size=(3, 5, 6))
  there = signals.physical(x)
  np.testing.assert_allclose(there[0, 0], x[0, 0] * SIGNALS.std + SIGNALS.mean)
  np.testing.assert_allclose(signals.standardised(there), x)
