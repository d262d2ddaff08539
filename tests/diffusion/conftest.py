"""Graphs and processes shared by the kernel tests."""

import numpy as np
import pytest

from diffax.diffusion import covariance
from diffax.diffusion import process
from diffax.diffusion import schedules


def random_tree(size: int, seed: int) -> np.ndarray:
  """Join each node to a random earlier one: [size, size]."""
  rng = np.random.default_rng(seed)
  adjacency = np.zeros((size, size))
  for node in range(1, size):
    parent = rng.integers(node)
    adjacency[node, parent] = adjacency[parent, node] = 1
  return adjacency


@pytest.fixture
def tree():
  return random_tree


@pytest.fixture
def skeletal():
  """Build a nonisotropic process of samples [5, 3] over a random tree."""

  def build(steps: int = 10, gamma: str = 'released', seed: int = 0):
    betas = schedules.cosine(steps)
    sigma = covariance.covariance(random_tree(5, seed))
    return process.nonisotropic(
        betas, schedules.gammas(gamma, betas), sigma, 0, 2,
        schedules.scales(gamma, betas),
    )

  return build
