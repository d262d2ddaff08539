"""Skeletons: names, kinematic tree, node graph and limb angles of a body.

A skeleton has J + 1 joints, the root first. Networks, noise and metrics see
its J nodes, the joints without the root, joined by

  (1)  edges = {bones that do not touch the root}
               + {every pair of the root's children},

so that the graph stays connected without the root. Joints that mirror each
other share a type, and with it the weights of a typed layer.

References:
  Curreli et al., "Nonisotropic Gaussian Diffusion for Realistic 3D Human
  Motion Prediction", CVPR 2025, Sec. 4 and its released code, whose joint
  names and orders AMASS21, AMASS51, H36M16 and FREEMAN17 keep.
"""

from collections.abc import Sequence
import dataclasses
import itertools
import re

import numpy as np

from diffax.errors import UserError

_SIDES = {'left': 'right', 'Left': 'Right', 'LEFT': 'RIGHT'}
_SIDES |= {right: left for left, right in _SIDES.items()}
_LETTERS = {'l': 'r', 'r': 'l', 'L': 'R', 'R': 'L'}


@dataclasses.dataclass(frozen=True)
class Skeleton:
  """Describe a body; every index of a node is that of its joint minus one.

  Attributes:
    name: of the skeleton.
    joints: names, root first, J + 1.
    parents: joint index of each joint's parent, -1 for the root, J + 1.
    types: type of each node, J; equal types share weights.
    edges: pairs of nodes; limb metrics report in this order.
    angle_chains: chains of indices into `edges`; consecutive edges of a chain
      enclose one of the angles of the mean angle error.

  Raises:
    UserError: the fields contradict each other.
  """

  name: str
  joints: tuple[str, ...]
  parents: tuple[int, ...]
  types: tuple[int, ...]
  edges: tuple[tuple[int, int], ...]
  angle_chains: tuple[tuple[int, ...], ...]

  def __post_init__(self) -> None:
    _check_tree(self.name, self.joints, self.parents)
    nodes = len(self.joints) - 1
    if len(self.types) != nodes:
      raise UserError(
          f'skeleton {self.name}: types: expected {nodes} entries, '
          f'found {len(self.types)}'
      )
    if sorted(set(self.types)) != list(range(len(set(self.types)))):
      raise UserError(
          f'skeleton {self.name}: types: expected 0, 1, ... without gaps, '
          f'found {self.types}'
      )
    for a, b in self.edges:
      if a == b or not (0 <= a < nodes and 0 <= b < nodes):
        raise UserError(
            f'skeleton {self.name}: edges: expected two of the nodes '
            f'0..{nodes - 1}, found ({a}, {b})'
        )
    for edge in itertools.chain.from_iterable(self.angle_chains):
      if not 0 <= edge < len(self.edges):
        raise UserError(
            f'skeleton {self.name}: angle_chains: expected one of '
            f'{len(self.edges)} edges, found {edge}'
        )

  @property
  def nodes(self) -> tuple[str, ...]:
    """Names of the J joints without the root."""
    return self.joints[1:]

  @property
  def num_nodes(self) -> int:
    """J, the number of joints without the root."""
    return len(self.joints) - 1

  @property
  def num_types(self) -> int:
    """Number of distinct node types."""
    return len(set(self.types))

  @property
  def bones(self) -> tuple[tuple[int, int], ...]:
    """Pairs (child, parent) of joint indices, the root included."""
    return tuple(enumerate(self.parents))[1:]

  @property
  def hips(self) -> np.ndarray:
    """Mask `[J]` of the hips.

    They are the nodes named so or, where no name says it, the children of the
    root that mirror each other.
    """
    named = np.array(['hip' in name.lower() for name in self.nodes])
    if named.any():
      return named
    below = [node for node, parent in enumerate(self.parents[1:]) if not parent]
    counts = np.bincount([self.types[node] for node in below])
    return np.array([
        node in below and counts[self.types[node]] > 1
        for node in range(self.num_nodes)
    ])


def adjacency(skeleton: Skeleton) -> np.ndarray:
  """Return the 0/1 adjacency `[J, J]` of the node graph, zero diagonal."""
  matrix = np.zeros((skeleton.num_nodes,) * 2)
  rows, columns = np.array(skeleton.edges).reshape(-1, 2).T
  matrix[rows, columns] = matrix[columns, rows] = 1.0
  return matrix


def joint_types(names: Sequence[str]) -> tuple[int, ...]:
  """Number the types of joints by first appearance, as the paper's code does.

  A leading L or R before an upper-case letter is the side; names equal but
  for it share a type (`LHip` and `RHip`, not `left_index1`).
  """
  return _number([re.sub(r'^[LR](?=[A-Z])', '', name) for name in names])


def mirrored_types(names: Sequence[str]) -> tuple[int, ...]:
  """Number the types of joints of any naming scheme.

  Two names share a type when exchanging the side turns one into the other:
  `left` and `right` anywhere, `l` and `r` in front, or behind a separator
  (`LeftArm`, `lfemur`, `arm_l`, `Arm.L`).
  """
  known = set(names)
  return _number([
      min({name, *(known & set(_mirrors(name)))}) for name in names
  ])


def from_tree(
    name: str, joints: Sequence[str], parents: Sequence[int]
) -> Skeleton:
  """Make the skeleton of any kinematic tree (Eq. 1).

  The types follow `mirrored_types`; the angles are those between consecutive
  bones.

  Args:
    name: of the new skeleton.
    joints: names, root first, J + 1.
    parents: joint index of each joint's parent, -1 for the root, J + 1.

  Returns:
    The skeleton of J nodes.

  Raises:
    UserError: names repeat, or parents are no tree with the root first.
  """
  _check_tree(name, joints, parents)
  below = [joint for joint, parent in enumerate(parents) if parent == 0]
  joined = [(a - 1, b - 1) for a, b in itertools.combinations(below, 2)]
  bones = [(p - 1, j - 1) for j, p in enumerate(parents) if p > 0]
  chains = [
      chain
      for joint in below
      for chain in _chains(joint - 1, bones, ())
      if len(chain) > 1
  ]
  return Skeleton(
      name=name,
      joints=tuple(joints),
      parents=tuple(int(parent) for parent in parents),
      types=mirrored_types(joints[1:]),
      edges=tuple(joined + bones),
      angle_chains=tuple(
          tuple(len(joined) + bone for bone in chain) for chain in chains
      ),
  )


def _number(keys: Sequence[str]) -> tuple[int, ...]:
  order = {key: number for number, key in enumerate(dict.fromkeys(keys))}
  return tuple(order[key] for key in keys)


def _mirrors(name: str) -> list[str]:
  found = [re.sub('|'.join(_SIDES), lambda m: _SIDES[m[0]], name, count=1)]
  if name[:1] in _LETTERS:
    found.append(_LETTERS[name[0]] + name[1:])
  if re.search(r'[ _.-][lrLR]$', name):
    found.append(name[:-1] + _LETTERS[name[-1]])
  return found


def _chains(
    node: int, bones: Sequence[tuple[int, int]], above: tuple[int, ...]
) -> list[tuple[int, ...]]:
  """Split the tree below `node` where it branches; `above` leads to it."""
  out = [bone for bone, (parent, _) in enumerate(bones) if parent == node]
  if not out:
    return [above]
  if len(out) == 1:
    return _chains(bones[out[0]][1], bones, (*above, out[0]))
  branches = [_chains(bones[b][1], bones, (*above[-1:], b)) for b in out]
  return [above, *itertools.chain.from_iterable(branches)]


def _check_tree(
    name: str, joints: Sequence[str], parents: Sequence[int]
) -> None:
  if len(joints) < 2 or len(set(joints)) != len(joints):
    raise UserError(
        f'skeleton {name}: joints: expected two or more distinct names, '
        f'found {tuple(joints)}'
    )
  if len(parents) != len(joints):
    raise UserError(
        f'skeleton {name}: parents: expected {len(joints)} entries, '
        f'found {len(parents)}'
    )
  if parents[0] != -1 or any(
      not 0 <= parent < len(joints) for parent in parents[1:]
  ):
    raise UserError(
        f'skeleton {name}: parents: expected -1 for the first joint and '
        f'0..{len(joints) - 1} for the others, found {tuple(parents)}'
    )
  for joint in range(len(joints)):
    ancestor = joint
    for _ in joints:
      ancestor = parents[ancestor] if ancestor > 0 else 0
    if ancestor:
      raise UserError(
          f'skeleton {name}: parents: expected a tree, found a loop at joint '
          f'{joints[joint]}'
      )


def _named(
    name: str,
    joints: str,
    parents: Sequence[int],
    edges: Sequence[tuple[int, int]],
    angle_chains: Sequence[Sequence[int]],
) -> Skeleton:
  names = tuple(joints.split())
  return Skeleton(
      name=name,
      joints=names,
      parents=tuple(parents),
      types=joint_types(names[1:]),
      edges=tuple(edges),
      angle_chains=tuple(tuple(chain) for chain in angle_chains),
  )


AMASS21 = _named(
    'amass21',
    # SMPL's joints 0..21 under the released names: Spine3 is SMPL's second
    # spine joint, Neck its third, BMN its neck; LSI and RSI are the collars.
    'Pelvis LHip RHip Spine1 LKnee RKnee Spine3 LHeel RHeel Neck LFoot RFoot '
    'BMN LSI RSI Head LShoulder RShoulder LElbow RElbow LWrist RWrist',
    (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19),
    (
        (0, 1), (0, 2), (1, 2), (2, 5), (5, 8), (8, 11), (11, 14), (8, 13),
        (13, 16), (16, 18), (18, 20), (8, 12), (12, 15), (15, 17), (17, 19),
        (1, 4), (4, 7), (7, 10), (0, 3), (3, 6), (6, 9),
    ),
    (
        (0, 2, 3, 4, 5, 6), (0, 3), (4, 7, 8, 9, 10), (4, 11, 12, 13, 14),
        (0, 15, 16, 17), (18, 19, 20),
    ),
)

H36M16 = _named(
    'h36m16',
    'Pelvis RHip RKnee RAnkle LHip LKnee LAnkle Torso Neck Nose Head '
    'LShoulder LElbow LWrist RShoulder RElbow RWrist',
    (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15),
    (
        (0, 3), (0, 6), (3, 6), (0, 1), (1, 2), (3, 4), (4, 5), (6, 7),
        (7, 8), (8, 9), (7, 10), (7, 13), (10, 11), (11, 12), (13, 14),
        (14, 15),
    ),
    ((3, 4), (0, 2, 7, 8, 9), (1, 7, 10, 12, 13), (7, 11, 14, 15)),
)

FREEMAN17 = _named(
    'freeman17',
    'Pelvis LHip RHip LKnee RKnee LAnkle RAnkle Nose LEye REye LEar REar '
    'LShoulder RShoulder LElbow RElbow LWrist RWrist',
    (-1, 0, 0, 1, 2, 3, 4, 0, 7, 7, 8, 9, 7, 7, 12, 13, 14, 15),
    (
        (1, 0), (1, 6), (0, 6), (0, 2), (1, 3), (2, 4), (3, 5), (6, 7),
        (6, 8), (7, 9), (8, 10), (6, 11), (6, 12), (11, 13), (12, 14),
        (13, 15), (14, 16),
    ),
    (
        (0, 1, 7, 9), (0, 4, 6), (1, 8, 10), (3, 5), (2, 11, 13, 15),
        (1, 12, 14, 16),
    ),
)

# OpenPose's first fourteen joints; the bones join the hips to the neck.
BODY14 = _named(
    'body14',
    'MidHip Nose Neck RShoulder RElbow RWrist LShoulder LElbow LWrist RHip '
    'RKnee RAnkle LHip LKnee LAnkle',
    (-1, 2, 0, 2, 3, 4, 2, 6, 7, 0, 9, 10, 0, 12, 13),
    (
        (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9),
        (9, 10), (1, 11), (11, 12), (12, 13), (1, 0),
    ),
    ((0, 2, 3), (1, 4, 5), (6, 7, 8), (9, 10, 11)),
)


def _with_hands(body: Skeleton) -> Skeleton:
  """Add SMPL-H's fifteen joints per hand, three in a row per finger."""
  joints, parents = list(body.joints), list(body.parents)
  edges, chains = list(body.edges), list(body.angle_chains)
  for side, wrist in (('left', 'LWrist'), ('right', 'RWrist')):
    for finger in ('index', 'middle', 'pinky', 'ring', 'thumb'):
      parent, chain = joints.index(wrist), []
      for phalanx in (1, 2, 3):
        chain.append(len(edges))
        edges.append((parent - 1, len(joints) - 1))
        parents.append(parent)
        parent = len(joints)
        joints.append(f'{side}_{finger}{phalanx}')
      chains.append(tuple(chain))
  return _named('amass51', ' '.join(joints), parents, edges, chains)


AMASS51 = _with_hands(AMASS21)

SKELETONS = {
    skeleton.name: skeleton
    for skeleton in (AMASS21, AMASS51, H36M16, FREEMAN17, BODY14)
}
