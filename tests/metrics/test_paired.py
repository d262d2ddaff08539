"""Errors of generated windows against hand-made ones."""

import jax.numpy as jnp
import numpy as np
import pytest

from diffax.errors import UserError
from diffax.metrics import paired

RNG = np.random.default_rng(0)
TRUTH = RNG.normal(size=(5, 7, 3)).astype(np.float32)
SAMPLES = RNG.normal(size=(5, 4, 7, 3)).astype(np.float32)


def test_known_errors_of_two_samples():
  truth = jnp.ones((1, 2, 1))
  samples = jnp.stack([jnp.full((2, 1), -1.0), jnp.full((2, 1), 2.0)])[None]
  expected = {
      'first': 4.0, 'mean': 2.5, 'of_mean': 0.25, 'best': 1.0,
      'first_sign': 0.0, 'mean_sign': 0.5, 'of_mean_sign': 0.25,
      'best_sign': 0.0,
  }
  found = paired.errors(truth, samples)
  assert found.keys() == expected.keys()
  for name, value in expected.items():
    np.testing.assert_allclose(found[name], [value], err_msg=name)


def test_each_window_agrees_with_a_loop():
  found = paired.errors(TRUTH, SAMPLES)
  for n, (x, drawn) in enumerate(zip(TRUTH, SAMPLES)):
    plain = [np.mean((x - xh) ** 2) for xh in drawn]
    free = [min(e, np.mean((x + xh) ** 2)) for e, xh in zip(plain, drawn)]
    for suffix, values in (('', plain), ('_sign', free)):
      for name, value in (
          ('first', values[0]), ('mean', np.mean(values)),
          ('best', np.min(values)),
      ):
        np.testing.assert_allclose(
            found[name + suffix][n], value, rtol=1e-5, err_msg=name
        )


def test_the_mean_error_is_that_of_the_mean_and_the_spread():
  found = paired.errors(TRUTH, SAMPLES)
  spread = SAMPLES.var(1).mean((1, 2))
  np.testing.assert_allclose(
      found['mean'], found['of_mean'] + spread, rtol=1e-5
  )


def test_a_sign_is_forgiven_to_whole_windows_only():
  flipped = TRUTH * np.array([1, -1, 1, -1, -1], np.float32)[:, None, None]
  half = TRUTH.copy()
  half[:, :3] *= -1
  for series, nought in ((flipped, True), (half, False)):
    error = paired.mse(TRUTH, series[:, None], sign_invariant=True)
    assert (np.asarray(error) == 0).all() == nought
  negated = paired.errors(TRUTH, -SAMPLES)
  for name, value in paired.errors(TRUTH, SAMPLES).items():
    if name.endswith('_sign'):
      np.testing.assert_allclose(negated[name], value, rtol=1e-6)


def test_a_true_sampler_errs_twice_as_much_as_the_best_regressor():
  rng = np.random.default_rng(1)
  truth = rng.normal(size=(200, 20, 1)).astype(np.float32)
  samples = rng.normal(size=(200, 50, 20, 1)).astype(np.float32)
  found = {k: v.mean() for k, v in paired.errors(truth, samples).items()}
  np.testing.assert_allclose(found['first'], 2.0, rtol=0.05)
  np.testing.assert_allclose(found['of_mean'], 1 + 1 / 50, rtol=0.05)


def test_unfit_arguments_are_refused():
  with pytest.raises(UserError, match='of_mean'):
    paired.mse(TRUTH, SAMPLES, kind='median')
  with pytest.raises(AssertionError):
    paired.mse(TRUTH, SAMPLES[:, :, :, :2])
