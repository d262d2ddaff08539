"""Schedules against published numbers and their defining formulas."""

import numpy as np
import pytest

from diffax.diffusion import schedules
from diffax.errors import UserError


def test_cosine_gives_the_released_table():
  # The table of SkeletonDiffusion's ten steps, printed to five digits.
  alphas = [.97209, .92451, .87560, .82281, .76272, .69012, .59600, .46300,
            .25617, .00100]
  np.testing.assert_allclose(1 - schedules.cosine(10), alphas, atol=6e-6)


def test_cosine_is_clipped_last():
  assert schedules.cosine(50)[-1] == 0.999
  assert schedules.cosine(50, clip=0.5).max() == 0.5


def test_linear_ends():
  betas = schedules.betas('linear', 1000)
  assert (betas[0], betas[-1]) == (1e-4, 0.02)
  np.testing.assert_allclose(np.diff(betas, 2), 0, atol=1e-17)


def test_scaled_linear_gives_the_latent_diffusion_power():
  betas = schedules.betas('scaled_linear', 1000)
  np.testing.assert_allclose(np.prod(1 - betas), 4.66e-3, rtol=1e-3)
  np.testing.assert_allclose(np.diff(np.sqrt(betas), 2), 0, atol=1e-15)


def test_constant_power_is_geometric():
  betas = schedules.betas('constant', 3000, value=9e-4)
  np.testing.assert_allclose(np.prod(1 - betas), np.exp(
      3000 * np.log1p(-9e-4)), rtol=1e-10)


@pytest.mark.parametrize('betas', [
    schedules.linear(3000, 1e-4, 9e-4),
    np.stack([schedules.linear(50), schedules.constant(50, 1e-3)], 1),
])
def test_zero_terminal_leaves_the_floor(betas):
  stretched = schedules.zero_terminal(betas, floor=1e-3)
  before, after = (
      np.sqrt(np.cumprod(1 - table, axis=0)) for table in (betas, stretched)
  )
  np.testing.assert_allclose(after[-1], 1e-3, rtol=1e-9)
  np.testing.assert_array_equal(stretched[0], betas[0])
  # An affine map: what lay halfway between two levels still does.
  share = (before - before[-1]) / (before[0] - before[-1])
  np.testing.assert_allclose(
      after, 1e-3 + share * (before[0] - 1e-3), rtol=1e-9
  )


def test_gammas():
  betas = schedules.cosine(4)
  alphas = 1 - betas
  np.testing.assert_array_equal(schedules.gammas('released', betas), betas)
  np.testing.assert_array_equal(
      schedules.gammas('linear', betas), [1, .75, .5, .25])
  np.testing.assert_array_equal(schedules.gammas('one', betas), 1)
  np.testing.assert_array_equal(schedules.gammas('zero', betas), 0)
  np.testing.assert_array_equal(schedules.gammas('discarded', betas), alphas)
  np.testing.assert_array_equal(schedules.scales('discarded', betas), 1)
  np.testing.assert_array_equal(schedules.scales('released', betas), betas)


@pytest.mark.parametrize('call', [
    lambda: schedules.betas('cosin', 10),
    lambda: schedules.betas('constant', 10, value=1.0),
    lambda: schedules.betas('linear', 0),
    lambda: schedules.zero_terminal(np.full(9, 0.1), floor=0.9),
    lambda: schedules.zero_terminal(np.full(9, 0.1), floor=0.0),
    lambda: schedules.gammas('two', np.ones(3)),
    lambda: schedules.scales('two', np.ones(3)),
])
def test_mistakes_are_named(call):
  with pytest.raises(UserError, match='expected'):
    call()
