"""Skeletons: released tables, typing rules and graphs of any tree."""

import dataclasses

import numpy as np
import pytest

from diffax.body import skeletons
from diffax.errors import UserError

ALL = list(skeletons.SKELETONS.values())


@pytest.mark.parametrize(
    'name, nodes, types, edges, angles',
    [
        ('amass21', 21, 13, 21, 19),
        ('amass51', 51, 43, 51, 39),
        ('h36m16', 16, 10, 16, 12),
        ('freeman17', 17, 9, 17, 14),
        ('body14', 14, 8, 13, 8),
    ],
)
def test_sizes(name, nodes, types, edges, angles):
  skeleton = skeletons.SKELETONS[name]
  assert skeleton.num_nodes == len(skeleton.nodes) == nodes
  assert skeleton.num_types == types
  assert len(skeleton.edges) == edges
  assert sum(len(c) - 1 for c in skeleton.angle_chains) == angles


def test_h36m16_as_released(golden_dir):
  golden = np.load(golden_dir / 'tables_h36m16_A_f64.npz')
  skeleton = skeletons.H36M16
  assert list(skeleton.nodes) == golden['node_names'].tolist()
  np.testing.assert_array_equal(skeleton.edges, golden['edges'])
  np.testing.assert_array_equal(skeleton.types, golden['node_types'])
  np.testing.assert_array_equal(
      skeletons.adjacency(skeleton), golden['adjacency']
  )
  golden = np.load(golden_dir / 'metrics_h36m16_F60_N50_B4_f64.npz')
  np.testing.assert_array_equal(skeleton.edges, golden['limbseq'])
  pairs = [
      pair for chain in skeleton.angle_chains for pair in zip(chain, chain[1:])
  ]
  np.testing.assert_array_equal(pairs, golden['limb_angles_idx_flat_pairs'])


@pytest.mark.parametrize('skeleton', ALL, ids=lambda s: s.name)
def test_graph_is_bones_and_root_triangle(skeleton):
  bones = {
      frozenset((child - 1, parent - 1))
      for child, parent in skeleton.bones
      if parent > 0
  }
  edges = {frozenset(edge) for edge in skeleton.edges}
  assert bones <= edges
  below = [child - 1 for child, parent in skeleton.bones if parent == 0]
  extra = {frozenset((a, b)) for a in below for b in below if a < b}
  if skeleton.name == 'body14':  # The hips hang on the neck, not together.
    extra = {edge for edge in extra if edge & {1}}
  assert edges == bones | extra


@pytest.mark.parametrize('skeleton', ALL, ids=lambda s: s.name)
def test_graph_is_connected(skeleton):
  reach = np.linalg.matrix_power(
      skeletons.adjacency(skeleton) + np.eye(skeleton.num_nodes),
      skeleton.num_nodes,
  )
  assert (reach > 0).all()


def test_adjacency_is_symmetric_without_diagonal():
  matrix = skeletons.adjacency(skeletons.AMASS21)
  np.testing.assert_array_equal(matrix, matrix.T)
  assert not matrix.diagonal().any()
  assert matrix.sum() == 2 * len(skeletons.AMASS21.edges)


def test_released_type_rule_splits_lower_case_sides():
  names = ['LHip', 'RHip', 'LSI', 'RSI', 'Head', 'left_index1', 'right_index1']
  assert skeletons.joint_types(names) == (0, 0, 1, 1, 2, 3, 4)


@pytest.mark.parametrize(
    'names, types',
    [
        (['lfemur', 'rfemur', 'lowerback', 'root'], (0, 0, 1, 2)),
        (['LeftArm', 'RightArm', 'LeftHandThumb1'], (0, 0, 1)),
        (['arm_l', 'arm_r', 'Leg.L', 'Leg.R', 'all'], (0, 0, 1, 1, 2)),
        (['mixamorig:LeftUpLeg', 'Spine', 'mixamorig:RightUpLeg'], (0, 1, 0)),
        (['upleg left', 'upleg right'], (0, 0)),
        (['Lamp', 'Ramp2'], (0, 1)),
    ],
)
def test_types_of_any_naming_scheme(names, types):
  assert skeletons.mirrored_types(names) == types


@pytest.mark.parametrize(
    'skeleton', [skeletons.AMASS21, skeletons.H36M16, skeletons.FREEMAN17],
    ids=lambda s: s.name,
)
def test_from_tree_finds_the_released_graph(skeleton):
  made = skeletons.from_tree('made', skeleton.joints, skeleton.parents)
  np.testing.assert_array_equal(
      skeletons.adjacency(made), skeletons.adjacency(skeleton)
  )
  assert made.types == skeleton.types
  np.testing.assert_array_equal(made.hips, skeleton.hips)


def test_from_tree_chains_cover_every_pair_of_joined_bones_once():
  made = skeletons.from_tree(
      'made', skeletons.AMASS21.joints, skeletons.AMASS21.parents
  )
  pairs = [p for chain in made.angle_chains for p in zip(chain, chain[1:])]
  bones = [(p - 1, c - 1) for c, p in made.bones if p > 0]
  expected = {(a, b) for a in bones for b in bones if a[1] == b[0]}
  found = [(made.edges[i], made.edges[j]) for i, j in pairs]
  assert len(found) == len(set(found)) and set(found) == expected


def test_hips_without_the_name_are_the_mirrored_children_of_the_root():
  made = skeletons.from_tree(
      'made',
      ['Hips', 'Spine', 'LeftUpLeg', 'RightUpLeg', 'LeftLeg', 'RightLeg'],
      [-1, 0, 0, 0, 2, 3],
  )
  np.testing.assert_array_equal(made.hips, [False, True, True, False, False])


def test_hips_of_the_released_skeletons():
  for skeleton in ALL:
    named = {n for n, hip in zip(skeleton.nodes, skeleton.hips) if hip}
    assert named == {'LHip', 'RHip'}


@pytest.mark.parametrize(
    'joints, parents, words',
    [
        (['a', 'a'], [-1, 0], 'distinct names'),
        (['a', 'b', 'c'], [-1, 0], 'expected 3 entries, found 2'),
        (['a', 'b'], [0, 0], 'expected -1 for the first joint'),
        (['a', 'b', 'c'], [-1, 2, 1], 'loop at joint b'),
    ],
)
def test_from_tree_refuses_what_is_no_tree(joints, parents, words):
  with pytest.raises(UserError, match=words):
    skeletons.from_tree('made', joints, parents)


@pytest.mark.parametrize(
    'change, words',
    [
        ({'types': (0,)}, 'types: expected 16 entries, found 1'),
        ({'types': (5,) * 16}, 'without gaps'),
        ({'edges': ((0, 16),)}, r'edges: .* found \(0, 16\)'),
        ({'angle_chains': ((0, 99),)}, 'angle_chains: .* found 99'),
    ],
)
def test_skeleton_refuses_contradictions(change, words):
  with pytest.raises(UserError, match=words):
    dataclasses.replace(skeletons.H36M16, **change)
