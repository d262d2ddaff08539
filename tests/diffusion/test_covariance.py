"""Covariances of graphs: by hand, by search, and by their definitions."""

import numpy as np
import pytest

from diffax.diffusion import covariance
from diffax.diffusion import process
from diffax.diffusion import schedules
from diffax.errors import UserError

# A hip triangle 0, 1, 2; legs 0-3-5 and 1-4; a back 2-6-7 with a branch 6-8.
EDGES = [(0, 1), (0, 2), (1, 2), (0, 3), (3, 5), (1, 4), (2, 6), (6, 7), (6, 8)]
HIPS = np.arange(9) < 2


def graph(edges, size):
  adjacency = np.zeros((size, size))
  for i, j in edges:
    adjacency[i, j] = adjacency[j, i] = 1
  return adjacency


def floyd_warshall(adjacency):
  hops = np.where(adjacency > 0, 1.0, np.inf)
  np.fill_diagonal(hops, 0)
  for k in range(len(hops)):
    hops = np.minimum(hops, hops[:, k:k + 1] + hops[k:k + 1, :])
  return hops


@pytest.mark.parametrize('seed', range(3))
def test_reachability_is_eta_to_the_distance(tree, seed):
  adjacency = tree(12, seed)
  hops = floyd_warshall(adjacency)
  expected = np.where(hops > 0, 0.3 ** (hops - 1), 0)
  np.testing.assert_allclose(covariance.reachability(adjacency, .3), expected)


def test_reachability_leaves_parts_apart():
  pair = graph([(0, 1)], 3)
  np.testing.assert_array_equal(covariance.reachability(pair), pair)


def test_hip_reachability_stops_near_the_hips():
  related = covariance.hip_reachability(graph(EDGES, 9), HIPS, .5)
  expected = graph(EDGES, 9)
  expected[7, 8] = expected[8, 7] = .5  # both beyond the first back joint
  np.testing.assert_array_equal(related, expected)


def test_golden_graph_matrices(golden_dir):
  for name in ('A', 'R', 'Rhip'):
    table = np.load(golden_dir / f'tables_h36m16_{name}_f64.npz')
    adjacency = table['adjacency']
    hips = np.array(['Hip' in node for node in table['node_names']])
    matrix = {
        'A': adjacency,
        'R': covariance.reachability(adjacency),
        'Rhip': covariance.hip_reachability(adjacency, hips),
    }[name]
    np.testing.assert_allclose(matrix, table['corr'], atol=1e-14)
    for key, options in {
        'Sigma_N': {},
        'frob_Sigma_N': {'normalise': 'frobenius'},
        'submin_Sigma_N': {'shift': 'paper', 'ridge': 1e-6},
    }.items():
      sigma = covariance.covariance(matrix, **options)
      np.testing.assert_allclose(sigma, table[key], rtol=0, atol=1e-14)
    values, basis = covariance.eigen(covariance.covariance(matrix))
    np.testing.assert_allclose(values, table['Lambda_N'], atol=1e-14)
    # Unique up to the sign of each column: compare the absolute overlaps.
    overlap = np.abs(basis.T @ table['U'])
    np.testing.assert_allclose(overlap, np.eye(16), atol=1e-9)


@pytest.mark.parametrize('shift', ['released', 'paper'])
@pytest.mark.parametrize('normalise', ['spectral', 'frobenius'])
def test_normalised_covariances(tree, shift, normalise):
  sigma = covariance.covariance(tree(9, 1), shift, normalise)
  values = np.linalg.eigvalsh(sigma)
  if normalise == 'spectral':
    np.testing.assert_allclose(values[-1], 1)
  else:
    np.testing.assert_allclose(np.trace(sigma), 9)
  assert values[0] > (-1e-12 if shift == 'paper' else 1e-9)


def test_paper_shift_is_equation_4(tree):
  adjacency = tree(7, 2)
  values = np.linalg.eigvalsh(adjacency)
  expected = (adjacency - values[0] * np.eye(7)) / (values[-1] - values[0])
  np.testing.assert_allclose(
      covariance.covariance(adjacency, 'paper'), expected, atol=1e-14)
  assert covariance.eigen(expected)[0][0] == 0


def test_singular_covariance_is_refused_regularised_or_blended(tree):
  betas = schedules.cosine(10)
  one, released = (schedules.gammas(g, betas) for g in ('one', 'released'))
  singular = covariance.covariance(tree(6, 0), 'paper')
  with pytest.raises(UserError, match='ridge'):
    process.nonisotropic(betas, one, singular, 0, 1)
  ridged = covariance.covariance(tree(6, 0), 'paper', ridge=1e-6)
  assert process.nonisotropic(betas, one, ridged, 0, 1).sigma[1:].min() > 0
  blended = process.nonisotropic(betas, released, singular, 0, 1)
  assert blended.sigma[1:].min() > 0


def test_eigen_rebuilds_with_fixed_signs(tree):
  sigma = covariance.covariance(tree(8, 3))
  values, basis = covariance.eigen(sigma)
  np.testing.assert_allclose((basis * values) @ basis.T, sigma, atol=1e-14)
  np.testing.assert_allclose(basis.T @ basis, np.eye(8), atol=1e-14)
  np.testing.assert_allclose(basis.max(0), np.abs(basis).max(0), atol=1e-9)


@pytest.mark.parametrize('matrix, match', [
    ([[0, 1], [0, 0]], 'symmetric'),
    ([[0, np.nan], [np.nan, 0]], 'finite'),
    ([[1, 1], [1, 0]], 'diagonal'),
    ([[0, 1, 0], [1, 0, 0]], 'square'),
    ([[0, 2], [2, 0]], '0 and 1'),
])
def test_bad_graphs_are_named(matrix, match):
  with pytest.raises(UserError, match=match):
    covariance.reachability(np.array(matrix, float))


@pytest.mark.parametrize('call, match', [
    (lambda a: covariance.reachability(a, 0.0), 'eta'),
    (lambda a: covariance.hip_reachability(a, HIPS[:3]), 'hips'),
    (lambda a: covariance.covariance(a, 'peer'), 'shift'),
    (lambda a: covariance.covariance(a, normalise='max'), 'normalise'),
    (lambda a: covariance.covariance(a, ridge=-1.0), 'ridge'),
    (lambda a: covariance.covariance(0 * a, 'paper'), 'edge'),
    (lambda a: covariance.eigen(a), 'eigenvalue'),
])
def test_bad_choices_are_named(call, match):
  with pytest.raises(UserError, match=match):
    call(graph(EDGES, 9))
