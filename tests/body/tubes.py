"""A body of tubes in the layout of the licensed SMPL and SMPL-H files."""

import pickle

import numpy as np
from scipy import sparse

from diffax.body import kinematics
from diffax.body.skeletons import AMASS21

RINGS, SPOKES = 6, 8
_ROUND = 2 * np.pi * np.arange(SPOKES) / SPOKES
_STUBS = {15: (0, 0.16, 0.02), 20: (0.15, 0, 0), 21: (-0.15, 0, 0),
          10: (0, 0, 0.06), 11: (0, 0, 0.06)}
_WIDTHS = {1: 0.09, 2: 0.09, 3: 0.12, 4: 0.07, 5: 0.07, 6: 0.12, 9: 0.13,
           15: 0.06}


def parents(joints):
  """Return the tree of 24 or 52 joints; hands hang from the wrists."""
  body = list(AMASS21.parents)
  if joints == 24:
    return body + [20, 21]
  for wrist in (20, 21):
    for finger in range(5):
      first = len(body)
      body += [wrist, first, first + 1]
  return body


def rest(joints):
  """Return places `[joints, 3]` in the rest pose, metres, Y up."""
  places = np.zeros((joints, 3))
  for joint, parent in enumerate(parents(joints)):
    if joint < 22:
      step = kinematics.SMPL_OFFSETS[joint]
    else:
      side = 1 if places[parent, 0] > 0 else -1
      step = np.array([0.03 * side, 0, 0.01 * (joint % 5 - 2)])
    places[joint] = step + (places[parent] if joint else 0)
  return places


def arrays(joints=52):
  """Return the arrays of a model by their published names.

  The first vertices are the joints, of no face; tubes follow the bones. The
  first shape coefficient makes the body taller, the others move its joints.
  """
  rng = np.random.default_rng(0)
  places = rest(joints)
  moves = rng.normal(scale=0.004, size=(joints, 3, 16))
  moves[..., 0] = 0.05 * places
  vertices, weights = [places], [np.eye(joints)]
  shapes, faces = [moves], []
  bones = [
      (parent, places[joint], moves[joint], _WIDTHS.get(joint, 0.045))
      for joint, parent in enumerate(AMASS21.parents) if joint
  ] + [
      (joint, places[joint] + step, moves[joint], _WIDTHS.get(joint, 0.045))
      for joint, step in _STUBS.items()
  ]
  start = joints
  for joint, end, end_moves, width in bones:
    made, along = _tube(places[joint], end, width)
    vertices.append(made)
    shapes.append(
        (1 - along)[:, None, None] * moves[joint]
        + along[:, None, None] * end_moves
    )
    weight = np.zeros((len(made), joints))
    weight[:, joint] = 1
    weights.append(weight)
    faces.append(start + _tube_faces())
    start += len(made)
  corners = np.concatenate(vertices)
  return {
      'v_template': corners,
      'f': np.concatenate(faces).astype(np.uint32),
      'weights': np.concatenate(weights),
      'shapedirs': np.concatenate(shapes),
      'posedirs': rng.normal(
          scale=2e-4, size=(len(corners), 3, 9 * (joints - 1))
      ),
      'J_regressor': np.eye(joints, len(corners)),
      'kintree_table': np.array(
          [[2**32 - 1, *parents(joints)[1:]], range(joints)]
      ),
  }


def write(path, joints=52, **change):
  """Write a model file, `.npz` or as the older ones a `.pkl`; None drops."""
  made = {k: v for k, v in (arrays(joints) | change).items() if v is not None}
  path.parent.mkdir(parents=True, exist_ok=True)
  if path.suffix == '.npz':
    np.savez(path, **made)
  else:
    made['J_regressor'] = sparse.csc_matrix(made['J_regressor'])
    path.write_bytes(pickle.dumps(made))
  return path


def _tube(start, end, width):
  """Return the vertices of a closed tube and how far along each is."""
  axis = (end - start) / np.linalg.norm(end - start)
  side = np.cross(axis, np.eye(3)[np.abs(axis).argmin()])
  side /= np.linalg.norm(side)
  circle = np.cos(_ROUND)[:, None] * side + (
      np.sin(_ROUND)[:, None] * np.cross(axis, side)
  )
  along = np.repeat(np.linspace(0, 1, RINGS), SPOKES)
  ring = start + along[:, None] * (end - start) + np.tile(
      width * circle, (RINGS, 1)
  )
  return np.concatenate([ring, [start, end]]), np.append(along, [0.0, 1.0])


def _tube_faces():
  """Return triangles that are anticlockwise from outside."""
  faces = []
  for ring in range(RINGS - 1):
    for spoke in range(SPOKES):
      after = (spoke + 1) % SPOKES
      a, b = ring * SPOKES + spoke, ring * SPOKES + after
      faces += [[a, b, b + SPOKES], [a, b + SPOKES, a + SPOKES]]
  low, high = RINGS * SPOKES, RINGS * SPOKES + 1
  last = (RINGS - 1) * SPOKES
  for spoke in range(SPOKES):
    after = (spoke + 1) % SPOKES
    faces += [[after, spoke, low], [last + spoke, last + after, high]]
  return np.array(faces)
