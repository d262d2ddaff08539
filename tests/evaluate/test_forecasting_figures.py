"""Figures of forecasts: components, pairs, covariances, pictures."""

import numpy as np
import pytest

from diffax.body import skeletons
from diffax.errors import UserError
from diffax.evaluate import forecasting_figures as figures
from diffax.viz import latents
from diffax.viz import matrices


def test_the_principal_component_is_the_direction_that_varies():
  rng = np.random.default_rng(0)
  along = rng.normal(size=(200, 2, 1))
  axes = np.array([[3.0, 4.0, 0.0], [0.0, 0.0, -1.0]])
  axes /= np.linalg.norm(axes, axis=1, keepdims=True)
  z = 5 + along * axes + 1e-3 * rng.normal(size=(200, 2, 3))
  mean, found = figures.principal(z)
  np.testing.assert_allclose(found, [axes[0], -axes[1]], atol=1e-2)
  np.testing.assert_allclose(
      figures.project(z, mean, found)[:, 0],
      along[:, 0, 0] - along[:, 0, 0].mean(), atol=1e-2,
  )
  assert figures.project(z[:, None], mean, found).shape == (200, 1, 2)


def test_pairs_are_the_most_and_the_least_correlated():
  rng = np.random.default_rng(0)
  x = rng.normal(size=(500, 6))
  x[:, 4] = -x[:, 1] + 0.01 * x[:, 4]
  found = figures.pairs(x, 3)
  assert found[0] == (1, 4)
  size = np.abs(np.corrcoef(x.T))
  np.fill_diagonal(size, 1)
  free = [j for j in range(6) if j not in (1, 4)]
  assert size[found[1]] == size[np.ix_(free, free)].min()
  assert len({joint for pair in found for joint in pair}) == 6


def test_every_graph_has_a_covariance():
  found = figures.covariances(skeletons.H36M16)
  assert set(found) == {'adjacency', 'reachability', 'hip_reachability'}
  for matrix in found.values():
    values = np.linalg.eigvalsh(matrix)
    assert values.min() > 0 and values.max() == pytest.approx(1, rel=1e-5)


def test_pictures_are_drawn_and_wrong_shapes_refused(tmp_path):
  rng = np.random.default_rng(0)
  names = skeletons.H36M16.nodes
  path = tmp_path / 'a.png'
  matrices.heatmaps(path, figures.covariances(skeletons.H36M16), names, 't')
  latents.pairs(
      tmp_path / 'b.png', rng.normal(size=(5, 16)),
      rng.normal(size=(5, 3, 16)), [(0, 1), (2, 3)], names, 't',
  )
  for file in ('a.png', 'b.png'):
    assert (tmp_path / file).stat().st_size > 10_000
  with pytest.raises(UserError, match=r'shape \[16, 16\]'):
    matrices.heatmaps(path, {'a': np.eye(3)}, names, 't')
  with pytest.raises(UserError, match='at least one'):
    matrices.heatmaps(path, {}, names, 't')
  with pytest.raises(UserError, match='pair of joints'):
    latents.pairs(path, np.ones((5, 16)), np.ones((4, 3, 16)), [(0, 1)],
                  names, 't')
