"""Body meshes: a body of SMPL or SMPL-H fitted to the joints of a motion.

Bones tell nearly all. Their lengths give the shape b of the body, their
directions the rotations, from the root outwards and each in closed form. With
the rest offsets o_c(b) of the joints from their parents, the given places p,
those of the fitted body q, and what is left to reach, a_c = p_c - q_parent(c):

    b = argmin  sum_c (|o_c(b)| - l_c)^2 / s^2 + |b|^2                     (1)
    G_j = argmax tr(R^T sum_c a_c o_c^T)           if j has several children (2)
    G_j = S(G_parent(j) o_c -> a_c) G_parent(j)    if j has one child c    (3)
    q_c = q_j + G_j o_c                                                    (4)

l_c is the median length of a bone over the frames, s how far a length may be
off, (2) the orthogonal Procrustes problem, S(u -> v) the shortest rotation. A
bone is aimed at the given place of its end, so that errors do not add up along
a limb; what remains is how far its length is off.

Joints do not show how a bone turns about itself. Two rules do: elbows and
knees are hinges, so the upper arm or thigh turns until its hinge axis h is
where the lower one bends about,

    phi = atan2((f - f_0) . h, (d x (f - f_0)) . h + e),                   (5)

d, f the directions of the two bones, f_0 that of the lower one before any
bend, and e small, so that a straight limb does not turn; and what the chest is
turned against the pelvis is shared evenly by the joints of the spine. Hands
keep the relaxed pose of the model.

Model files are licensed to their users, none comes with this package. They
are read and skinned by the package `body-models`. A `.pkl` is a pickle and can
run what it likes: read your own only.

References:
  Loper et al., "SMPL: A Skinned Multi-Person Linear Model", SIGGRAPH Asia
  2015. Romero et al., "Embodied Hands", SIGGRAPH Asia 2017 (SMPL-H).
"""

from collections.abc import Sequence
import dataclasses
import pathlib
from typing import Any, NamedTuple

import numpy as np

from diffax.body import kinematics
from diffax.body.skeletons import AMASS21
from diffax.errors import DataError
from diffax.errors import UserError

JOINTS = len(AMASS21.joints)
"""Of the body without hands; the first of every model of the family."""

COEFFICIENTS = 10
"""Of the shape; every file of the family has at least as many."""

WHERE = (
    'Register at https://smpl.is.tue.mpg.de for SMPL or at '
    'https://mano.is.tue.mpg.de for SMPL-H, download the model and name its '
    '.npz or .pkl file, or its folder'
)

_DOUBT = 0.005
_STRAIGHT = 0.2
_CHUNK = 32
# In the rest pose X is to the body's left, Y up, Z forwards, arms to the sides.
_HINGES = {
    'LHip': (1.0, 0.0, 0.0), 'RHip': (1.0, 0.0, 0.0),
    'LShoulder': (0.0, -1.0, 0.0), 'RShoulder': (0.0, 1.0, 0.0),
}


@dataclasses.dataclass(frozen=True)
class Model:
  """A body model.

  Attributes:
    file: that it was read from.
    joints: `[22, 3]` places in the rest pose of the mean body, metres, Y up.
    directions: `[22, 3, 10]` what each shape coefficient adds to them.
    faces: `[F, 3]` vertices of each triangle, anticlockwise from outside.
    skin: the model of the package `body-models`.
  """

  file: pathlib.Path
  joints: np.ndarray
  directions: np.ndarray
  faces: np.ndarray
  skin: Any

  def offsets(self, shape: np.ndarray) -> np.ndarray:
    """Return the offsets `[22, 3]` of a shaped body, metres; root: its place.

    Args:
      shape: `[10]` coefficients.
    """
    places = self.joints + self.directions @ shape
    return _relative(places)


class Fit(NamedTuple):
  """A body in the poses of a motion.

  Attributes:
    shape: `[10]` coefficients.
    rotations: `[L, 22, 3, 3]` of each joint in its parent's frame, of the root
      in the world.
    joints: `[L, 22, 3]` places of the body's joints, metres.
    gap: the largest distance of a joint from where it was given, metres.
  """

  shape: np.ndarray
  rotations: np.ndarray
  joints: np.ndarray
  gap: float


def find(body_model: pathlib.Path | str) -> pathlib.Path:
  """Find a model file.

  Args:
    body_model: the file, or a folder of files under their published names;
      of several the neutral body is taken, or else the male or female one.

  Raises:
    UserError: there is none.
  """
  place = pathlib.Path(body_model).expanduser()
  if place.is_file():
    return place
  if not place.is_dir():
    raise UserError(
        f'body_model: expected a model file of SMPL or SMPL-H at {place}, '
        f'found no such file. {WHERE}.'
    )
  for gender in ('neutral', 'male', 'female'):
    for pattern in (
        f'{gender}/model.npz', f'SMPLH_{gender.upper()}.*',
        f'SMPLH_{gender}.*', f'SMPL_{gender.upper()}.*',
        f'basic[mM]odel_{gender}_lbs_*.pkl',
        f'basic[mM]odel_{gender[0]}_lbs_*.pkl',
    ):
      for path in sorted(place.glob(f'**/{pattern}')):
        if path.suffix in ('.npz', '.pkl'):
          return path
  raise UserError(
      'body_model: expected a model file such as neutral/model.npz, '
      f'SMPLH_NEUTRAL.npz or SMPL_NEUTRAL.pkl in {place}, found none. {WHERE}.'
  )


def load(body_model: pathlib.Path | str) -> Model:
  """Read a model of SMPL or SMPL-H.

  Args:
    body_model: as for `find`.

  Raises:
    UserError: there is no such file.
    DataError: the file is damaged or holds another model.
  """
  path = find(body_model)
  try:
    skin = _skin(path)
    shapes = np.concatenate([np.zeros((1, COEFFICIENTS)), np.eye(COEFFICIENTS)])
    # What is not finite is told below.
    with np.errstate(invalid='ignore'):
      made = skin.prepare_identity(shapes.astype(np.float32))
    places = np.asarray(made['rest_joints'], np.float64)[:, :JOINTS]
    faces = np.asarray(skin.faces)
    parents, vertices = tuple(skin.parents), skin.num_vertices
  except DataError:
    raise
  except Exception as error:
    # The package raises whatever the damaged part of a file makes it raise.
    raise DataError(
        path, 'body model', 'a model file of SMPL or SMPL-H',
        f'{type(error).__name__}: {error}'
    ) from error
  if parents[:JOINTS] != AMASS21.parents:
    raise DataError(
        path, 'kintree_table', f'parents {list(AMASS21.parents)} of the body',
        str(list(parents[:JOINTS]))
    )
  if not np.isfinite(places).all() or not np.isfinite(
      np.asarray(made['rest_vertices'])
  ).all():
    raise DataError(path, 'v_template', 'finite numbers', 'NaN or infinity')
  if faces.ndim != 2 or faces.shape[1:] != (3,) or not len(faces) or (
      faces.min() < 0 or faces.max() >= vertices
  ):
    raise DataError(
        path, 'f', f'triangles of the vertices 0..{vertices - 1}',
        f'{list(faces.shape)} of others'
    )
  return Model(
      path, places[0], np.moveaxis(places[1:] - places[0], 0, -1), faces, skin
  )


def _skin(path: pathlib.Path) -> Any:
  # The package is slow to import and only users of model files need it.
  from body_models.smpl.numpy import SMPL
  from body_models.smplh.numpy import SMPLH
  skin = SMPLH(model_path=path, rotation_type='rotmat')
  if skin.num_joints == SMPL.NUM_JOINTS:
    return SMPL(model_path=path, rotation_type='rotmat')
  if skin.num_joints != SMPLH.NUM_JOINTS:
    raise DataError(
        path, 'kintree_table', '24 joints of SMPL or 52 of SMPL-H',
        str(skin.num_joints)
    )
  return skin


def shape_of(joints: np.ndarray, model: Model) -> np.ndarray:
  """Return the likeliest shape `[10]` for the bones of a motion, Eq. 1.

  Args:
    joints: `[L, 22, 3]`, metres.
    model: of the body.

  Raises:
    UserError: the joints are none of the body's.
  """
  lengths = np.median(
      kinematics.bone_lengths(_checked(joints), AMASS21.parents), axis=0
  )
  shape = np.zeros(COEFFICIENTS)
  slopes = _relative(model.directions)[1:]
  # Lengths are nearly linear in the shape: Newton's method needs few steps.
  for _ in range(10):
    bones = model.offsets(shape)[1:]
    norms = np.linalg.norm(bones, axis=-1)
    along = np.einsum('jd,jdk->jk', _unit(bones), slopes)
    wanted = lengths - norms + along @ shape
    square = along.T @ along + _DOUBT**2 * np.eye(COEFFICIENTS)
    shape = np.linalg.solve(square, along.T @ wanted)
  return shape


def fit(
    joints: np.ndarray, model: Model, shape: np.ndarray | None = None
) -> Fit:
  """Fit a body to every frame of a motion, Eqs. 2 to 5.

  Args:
    joints: `[L, 22, 3]` in the order of AMASS21, metres, any axis up.
    model: of the body.
    shape: `[10]` coefficients, such as those of the same person's past; by
      default those of Eq. 1.

  Returns:
    The body; its root is where the root was given.

  Raises:
    UserError: the joints are none of the body's.
  """
  given = _checked(joints)
  shape = shape_of(given, model) if shape is None else shape
  offsets = model.offsets(shape)
  turns: list[np.ndarray] = []
  places = {0: given[:, 0]}
  for joint, parent in enumerate(AMASS21.parents):
    above = turns[parent] if joint else np.tile(np.eye(3), (len(given), 1, 1))
    below = _children(joint)
    aims = given[:, below] - places[joint][:, None]
    turn = _turn(above, offsets[below], aims)
    for child in below:
      places[child] = places[joint] + turn @ offsets[child]
    if AMASS21.joints[joint] in _HINGES:
      elbow, = below
      wrist, = _children(elbow)
      turn = _hinge(
          turn, aims[:, 0], given[:, wrist] - places[elbow], offsets[wrist],
          np.array(_HINGES[AMASS21.joints[joint]]),
      )
    turns.append(turn)
  _share_twist(turns, offsets)
  found = np.stack([places[joint] for joint in range(JOINTS)], 1)
  rotations = [turns[0]] + [
      np.swapaxes(turns[parent], -1, -2) @ turns[joint]
      for joint, parent in enumerate(AMASS21.parents) if joint
  ]
  gap = np.linalg.norm(found - given, axis=-1).max()
  return Fit(shape, np.stack(rotations, 1), found, float(gap))


def vertices(body: Fit, model: Model) -> np.ndarray:
  """Return the skin `[L, V, 3]` float32 of a fitted body, metres.

  Args:
    body: from `fit`.
    model: that it was fitted with.
  """
  identity = model.skin.prepare_identity(body.shape.astype(np.float32))
  shift = body.joints[:, 0] - np.asarray(identity['rest_joints'])[0]
  parts = []
  # All frames at once would need gigabytes.
  for start in range(0, len(shift), _CHUNK):
    stop = start + _CHUNK
    turns = body.rotations[start:stop].astype(np.float32)
    parts.append(np.asarray(model.skin.forward_vertices(
        pelvis_rotation=turns[:, 0], identity=identity,
        global_translation=shift[start:stop].astype(np.float32),
        **_pose(turns[:, 1:], model.skin),
    )))
  return np.concatenate(parts)


def _pose(turns: np.ndarray, skin: Any) -> dict[str, np.ndarray]:
  """Return the package's arguments of a pose, the hands at rest."""
  more = skin.num_joints - JOINTS
  still = np.broadcast_to(
      np.eye(3, dtype=np.float32), (len(turns), more, 3, 3)
  )
  if skin.has_hands:
    return {'body_pose': turns, 'hand_pose': still}
  return {'body_pose': np.concatenate([turns, still], 1)}


def _checked(joints: np.ndarray) -> np.ndarray:
  joints = np.asarray(joints, np.float64)
  if joints.ndim != 3 or not len(joints) or joints.shape[1:] != (JOINTS, 3):
    raise UserError(
        f'joints: expected [frames, {JOINTS}, 3] in the order of '
        f'{AMASS21.name}, found {list(joints.shape)}.'
    )
  if not np.isfinite(joints).all():
    frame = int(np.argwhere(~np.isfinite(joints))[0][0])
    raise UserError(
        'joints: expected finite positions, found NaN or infinity in frame '
        f'{frame}.'
    )
  return joints


def _relative(places: np.ndarray) -> np.ndarray:
  """Return `[22, ...]` less the parent's; the root's as it is."""
  offsets = places.copy()
  offsets[1:] -= places[list(AMASS21.parents[1:])]
  return offsets


def _children(joint: int) -> list[int]:
  return [c for c, parent in enumerate(AMASS21.parents) if parent == joint]


def _turn(
    above: np.ndarray, offsets: np.ndarray, aims: np.ndarray
) -> np.ndarray:
  """Return the rotations `[L, 3, 3]` of a joint, Eqs. 2 and 3.

  Args:
    above: `[L, 3, 3]` rotations of the parent.
    offsets: `[C, 3]` of the children.
    aims: `[L, C, 3]` where they should be, from the joint.
  """
  if not len(offsets):
    return above
  if len(offsets) == 1:
    return _shortest(above @ offsets[0], aims[:, 0]) @ above
  left, _, right = np.linalg.svd(np.einsum('lci,cj->lij', aims, offsets))
  # A mirrored body would fit better to a few poses; there is none.
  left[..., -1] *= np.sign(np.linalg.det(left @ right))[:, None]
  return left @ right


def _shortest(source: np.ndarray, target: np.ndarray) -> np.ndarray:
  """Return the shortest rotations `[L, 3, 3]` of one direction to another.

  They are two half turns, about the first direction and about the middle. A
  direction that vanishes is left as it is.
  """
  a = _unit(source)
  b = np.where(np.linalg.norm(target, axis=-1, keepdims=True) > 1e-9,
               _unit(target), a)
  middle = a + b
  # Opposite directions have many: any direction across will do.
  across = _unit(np.cross(a, np.eye(3)[np.abs(a).argmin(-1)]))
  opposite = np.linalg.norm(middle, axis=-1, keepdims=True) < 1e-6
  return _half_turn(np.where(opposite, across, _unit(middle))) @ _half_turn(a)


def _half_turn(axis: np.ndarray) -> np.ndarray:
  return 2 * axis[..., :, None] * axis[..., None, :] - np.eye(3)


def _hinge(
    turn: np.ndarray, upper: np.ndarray, lower: np.ndarray, rest: np.ndarray,
    axis: np.ndarray
) -> np.ndarray:
  """Turn a bone about itself to where its end bends as a hinge does, Eq. 5.

  Args:
    turn: `[L, 3, 3]` rotations of the bone.
    upper: `[L, 3]` along it.
    lower: `[L, 3]` along the next bone.
    rest: `[3]` along the next bone at rest.
    axis: `[3]` of the hinge at rest.
  """
  d, h = _unit(upper), turn @ axis
  bend = _unit(lower) - _unit(turn @ rest)
  sine = (bend * h).sum(-1)
  cosine = (np.cross(d, bend) * h).sum(-1) + _STRAIGHT
  return _about(d, np.arctan2(sine, cosine)) @ turn


def _share_twist(turns: list[np.ndarray], offsets: np.ndarray) -> None:
  """Share what the chest is turned among the spine, in place."""
  chest = AMASS21.joints.index('Neck')
  spine = [AMASS21.parents[AMASS21.parents[chest]], AMASS21.parents[chest]]
  ends: Sequence[int] = [spine[1], chest]
  local = np.swapaxes(turns[spine[1]], -1, -2) @ turns[chest]
  angle = _twist(local, _unit(offsets[chest]))
  for number, (joint, end) in enumerate(zip(spine, ends), 1):
    share = number / (len(spine) + 1)
    axes = np.broadcast_to(_unit(offsets[end]), (len(angle), 3))
    turns[joint] = turns[joint] @ _about(axes, share * angle)


def _twist(turns: np.ndarray, axis: np.ndarray) -> np.ndarray:
  """Return the angles `[L]` about an axis `[3]` nearest to rotations."""
  skew = turns - np.swapaxes(turns, -1, -2)
  vector = np.stack([skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0]], -1)
  along = np.einsum('i,lij,j->l', axis, turns, axis)
  return np.arctan2(
      vector @ axis, np.trace(turns, axis1=-2, axis2=-1) - along
  )


def _about(axis: np.ndarray, angle: np.ndarray) -> np.ndarray:
  return kinematics.axis_angle(axis * angle[:, None])


def _unit(vectors: np.ndarray) -> np.ndarray:
  norm = np.linalg.norm(vectors, axis=-1, keepdims=True)
  return vectors / np.where(norm > 1e-9, norm, 1)
