"""Projections of latents and how groups and classes are told apart."""

import importlib.util
import sys
import types

import numpy as np
import pytest

from diffax.errors import UserError
from diffax.viz import embedding

Image = pytest.importorskip('PIL.Image')
pytest.importorskip('matplotlib')


_LEFT = 1030


def _pixels(path):
  with Image.open(path) as file:
    return np.asarray(file.convert('RGB')).astype(int)


def _distances(points):
  return np.linalg.norm(points[:, None] - points[None], axis=-1)


def test_principal_components_keep_a_plane():
  rng = np.random.default_rng(0)
  plane = rng.normal(size=(30, 2)) * (3.0, 1.0)
  basis = np.linalg.qr(rng.normal(size=(9, 2)))[0]
  places = embedding.project(plane @ basis.T + 5.0, 'pca')
  np.testing.assert_allclose(_distances(places), _distances(plane), atol=1e-9)
  assert places[:, 0].var() > places[:, 1].var()


def test_one_dimension_lies_on_a_line():
  places = embedding.project(np.arange(5.0)[:, None], 'pca')
  assert places.shape == (5, 2) and not places[:, 1].any()
  assert np.ptp(places[:, 0]) == pytest.approx(4)


class _Umap:
  """Note the settings; return the first two dimensions."""

  def __init__(self, **settings):
    _Umap.settings = settings

  def fit_transform(self, points):
    return points[:, :2]


def test_umap_gets_the_settings_that_do_not_warn(monkeypatch):
  monkeypatch.setitem(
      sys.modules, 'umap', types.SimpleNamespace(UMAP=_Umap)
  )
  monkeypatch.setattr(embedding, 'available', lambda method: method)
  points = np.random.default_rng(0).normal(size=(40, 3))
  np.testing.assert_allclose(embedding.project(points, seed=4), points[:, :2])
  assert _Umap.settings == {
      'n_neighbors': 15, 'min_dist': 0.1, 'random_state': 4, 'n_jobs': 1,
      'init': 'spectral',
  }
  embedding.project(points[:6])
  assert _Umap.settings['n_neighbors'] == 5
  assert _Umap.settings['init'] == 'random'


@pytest.mark.slow
def test_umap_separates_two_clouds_without_a_warning():
  pytest.importorskip('umap')
  rng = np.random.default_rng(0)
  points = rng.normal(size=(60, 5)) + 20 * (np.arange(60) % 2)[:, None]
  places = embedding.project(points, 'umap')
  apart = _distances(places)
  other = (np.arange(60)[:, None] + np.arange(60)) % 2 == 1
  assert apart[other].min() > apart[~other].max() / 2


def test_principal_components_stand_in_for_umap(monkeypatch):
  assert embedding.available('pca') == 'pca'
  found = importlib.util.find_spec
  for spec, expected in ((None, 'pca'), (object(), 'umap')):
    monkeypatch.setattr(
        importlib.util, 'find_spec',
        lambda name: spec if name == 'umap' else found(name)
    )
    assert embedding.available('umap') == expected
  with pytest.raises(UserError, match="found 'tsne'"):
    embedding.available('tsne')


@pytest.mark.parametrize('points', [np.zeros((2, 4)), np.zeros(5)])
def test_too_few_points_are_refused(points):
  with pytest.raises(UserError, match='three or more points'):
    embedding.project(points, 'pca')


def _scatter(path, classes, labels):
  side = np.array([[0.0, 0.0], [0.0, 1.0]])
  places = {'x': side, 'y': side + (1.0, 0.0)}
  embedding.scatter(
      path, places, {name: np.asarray(labels) for name in places}, classes,
      axis='PC', title='t',
  )
  # Right of it is the legend.
  return _pixels(path)[:, :_LEFT]


def test_colours_are_classes_or_else_groups(tmp_path):
  def middles(image, colour):
    rows, columns = np.nonzero(np.abs(image - colour).max(-1) < 70)
    return (rows.mean(), columns.mean()) if rows.size > 20 else None

  blue, red = (0, 0x72, 0xb2), (0xd5, 0x5e, 0)
  one = _scatter(tmp_path / 'a.png', ['only'], [0, 0])
  assert middles(one, blue)[1] < 300 and middles(one, red)[1] > 500
  two = _scatter(tmp_path / 'b.png', ['p', 'q'], [0, 1])
  # Class p below, class q above.
  assert middles(two, blue)[0] > middles(two, red)[0] + 200
  many = _scatter(tmp_path / 'c.png', [f'c{i}' for i in range(27)], [0, 26])
  assert middles(many, red) is None


@pytest.mark.parametrize('places, labels, message', [
    (np.zeros((3, 3)), np.zeros(3, int), "group 'x': expected places"),
    (np.zeros((3, 2)), np.zeros(2, int), "group 'x': expected places"),
    (np.zeros((0, 2)), np.zeros(0, int), 'at least one point'),
])
def test_unfit_points_are_refused(tmp_path, places, labels, message):
  with pytest.raises(UserError, match=message):
    embedding.scatter(
        tmp_path / 'a.png', {'x': places}, {'x': labels}, ['c'], axis='PC',
        title='t',
    )
