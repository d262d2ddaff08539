"""Accumulators against NumPy on the whole."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest

from diffax.metrics import base

VALUES = np.random.default_rng(0).normal(3.0, 2.0, 23).astype(np.float32)


@pytest.mark.parametrize('cuts', [(), (1,), (5, 9), (7, 7, 20)])
def test_merged_moments_equal_those_of_the_whole(cuts):
  parts = [base.moments(jnp.asarray(x)) for x in np.split(VALUES, cuts)]
  result = base.summary(functools.reduce(base.merge, parts))
  assert result['n'] == 23
  np.testing.assert_allclose(result['mean'], VALUES.mean(), rtol=1e-6)
  np.testing.assert_allclose(result['std'], VALUES.std(), rtol=1e-6)


def test_masked_values_do_not_count():
  where = VALUES > 2.5
  poisoned = np.where(where, VALUES, np.nan)
  result = base.summary(base.moments(jnp.asarray(poisoned), where))
  assert result['n'] == where.sum()
  np.testing.assert_allclose(result['std'], VALUES[where].std(), rtol=1e-6)


def test_merging_takes_plain_numbers():
  parts = [base.Moments(1, float(x), 0.0) for x in VALUES]
  result = base.summary(functools.reduce(base.merge, parts))
  np.testing.assert_allclose(result['std'], VALUES.std(), rtol=1e-6)


def test_nothing_has_no_mean():
  nothing = base.moments(jnp.zeros(3), jnp.zeros(3, bool))
  assert base.summary(nothing) == {'mean': None, 'std': None, 'n': 0}
  merged = base.merge(nothing, base.moments(jnp.ones(2)))
  assert base.summary(merged) == {'mean': 1.0, 'std': 0.0, 'n': 2}


def test_means_merge():
  a, b = base.mean(jnp.asarray(VALUES[:4])), base.mean(jnp.asarray(VALUES[4:]))
  found = base.merge_means(a, b).result()
  np.testing.assert_allclose(found, VALUES.mean(), rtol=1e-6)
  where = np.zeros(23, bool)
  assert np.isnan(base.mean(jnp.asarray(VALUES), where).result())
