"""Learned scores on sets that are alike, and on sets that are not."""

import numpy as np
import pytest

from diffax.errors import UserError
from diffax.metrics import learned

FID: dict = {'iterations': 30, 'features': 8, 'hidden': 4, 'depth': 2}
PREDICT: dict = {'iterations': 150, 'seeds': 2, 'hidden': 8, 'rate': 1e-2}
JUDGE: dict = {'iterations': 100, 'seeds': 2, 'hidden': 4, 'rate': 2e-2}


def waves(count, seed, channels=2, length=12):
  """Return sines of random phase; the next values follow from the last."""
  rng = np.random.default_rng(seed)
  phase = rng.uniform(0, 2 * np.pi, size=(count, 1, 1))
  time = 2 * np.pi * np.arange(length)[None, :, None] / 10
  lag = np.pi / 2 * np.arange(channels)
  return np.sqrt(2) * np.sin(time + phase + lag[None, None])


def noise(count, seed, channels=2, length=12):
  return np.random.default_rng(seed).normal(size=(count, length, channels))


def test_context_fid_orders_sets():
  real = waves(64, 0)
  same, alike, other = (
      learned.context_fid(real, x, **FID)[0]
      for x in (real, waves(64, 1), noise(64, 1))
  )
  assert same < 1e-6
  assert same < alike < 0.2 * other
  # One order of both sets, or of either, is no difference.
  order = np.random.default_rng(0).permutation(64)
  np.testing.assert_allclose(
      learned.context_fid(real, waves(64, 1)[order], **FID), alike, rtol=1e-3
  )


def test_predictive_score_knows_what_can_be_learnt():
  real = waves(100, 0)
  good, bad = (
      learned.predictive_score(real, x, **PREDICT)
      for x in (waves(100, 1), noise(2000, 1))
  )
  assert good.mae.shape == good.mse.shape == (2,)
  assert good.mse.max() < 0.5 < bad.mse.min()
  # The mean of noise is 0, of which the error is the variance.
  np.testing.assert_allclose(bad.mse, 1.0, atol=0.3)
  assert (good.mae**2 <= good.mse).all()


def test_steps_in_the_wrong_order_are_noticed():
  real, fake = waves(100, 0), waves(100, 1)
  shuffled = np.random.default_rng(0).permuted(fake, axis=1)
  good, bad = (
      learned.predictive_score(real, x, **PREDICT).mae.mean()
      for x in (fake, shuffled)
  )
  assert good < 0.7 * bad


def test_the_timegan_mode_predicts_the_last_channel_in_its_range():
  real, fake = 50 + 10 * waves(100, 0, 4), 50 + 10 * waves(100, 1, 4)
  settings = PREDICT | {'mode': 'timegan'}
  good = learned.predictive_score(real, fake, **settings)
  # Only the last channel is shuffled, only it is lost.
  broken = fake.copy()
  broken[..., -1] = np.random.default_rng(0).permuted(fake[..., -1], axis=1)
  bad = learned.predictive_score(real, broken, **settings)
  assert (good.mae < 0.12).all()
  assert (bad.mae > 0.25).all()


def test_the_discriminator_tells_what_differs_only():
  real = waves(150, 0)
  alike, other = (
      learned.discriminative_score(real, x, **JUDGE)
      for x in (waves(150, 1), 3 + waves(150, 1))
  )
  assert alike.shape == (2,)
  assert (alike <= 0.2).all()
  assert (other > 0.45).all()


def test_accuracy_does_not_count_the_larger_set_more():
  # Always answering with the larger set would be right in 9 of 10.
  found = learned.discriminative_score(
      noise(180, 0), noise(20, 1), **JUDGE | {'iterations': 3}
  )
  assert (found < 0.35).all()


@pytest.mark.parametrize(
    'score, settings',
    [
        (learned.context_fid, FID),
        (learned.predictive_score, PREDICT),
        (learned.discriminative_score, JUDGE),
    ],
)
def test_a_seed_fixes_every_run(score, settings):
  settings = settings | {'iterations': 3}
  real, fake = noise(24, 0), noise(24, 1)
  first, again = (
      np.asarray(score(real, fake, **settings | {'seeds': 2}))
      for _ in range(2)
  )
  np.testing.assert_array_equal(first, again)
  # A run is the same whatever runs beside it.
  alone = np.asarray(score(real, fake, **settings | {'seeds': 1}))
  np.testing.assert_allclose(first[..., :1], alone, rtol=1e-4)
  if score is not learned.discriminative_score:
    assert not np.array_equal(first[..., 0], first[..., 1])


@pytest.mark.parametrize(
    'score',
    [
        learned.context_fid, learned.predictive_score,
        learned.discriminative_score,
    ],
)
def test_unfit_windows_are_refused(score):
  real = noise(10, 0)
  for fake, match in (
      (real[:, :6], r'\(10, 6, 2\)'),
      (real[:0], r'\(0, 12, 2\)'),
      (np.full_like(real, np.nan), 'finite'),
  ):
    with pytest.raises(UserError, match=match):
      score(real, fake)
  with pytest.raises(UserError, match='seeds: expected 1'):
    score(real, real, seeds=0)


def test_unfit_settings_are_refused():
  real = noise(10, 0)
  with pytest.raises(UserError, match='undefined for one channel'):
    learned.predictive_score(real[..., :1], real[..., :1], 'timegan')
  with pytest.raises(UserError, match='as many generated windows'):
    learned.context_fid(real, real[:9])
  with pytest.raises(UserError, match='mode'):
    learned.predictive_score(real, real, 'lstm')
  with pytest.raises(UserError, match='loss'):
    learned.predictive_score(real, real, loss='l3')
  with pytest.raises(UserError, match='iterations'):
    learned.predictive_score(real, real, iterations=0)
  with pytest.raises(UserError, match='both sides'):
    learned.discriminative_score(real, real, train_share=1.0)
