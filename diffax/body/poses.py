"""Poses of 14 joints in a plane: where they come from and how they are scaled.

A pose holds the places of `JOINTS` as seen by a camera, x to its right and y
up. `BONES` join them to a tree whose root is the neck n; with the parent a(b)
and the child c(b) of bone b,

  (1)  p_c(b) = p_a(b) + l_b d_b,    |d_b| = 1,

so a pose is its neck, its bones' directions and their lengths. With bars for
means over the frames of a clip and h between the hips, a clip is normalised by

  (2)  p' = (p - n_bar) / s,    s = mean of |n - h|.

A camera at azimuth a, elevation e and distance d looks at a point o. With the
unit vector c = (cos a, sin a, 0) towards it, Z up and q = p - o, it sees p at

  (3)  u = (-sin a, cos a, 0) . q,    v = q_z cos e - (c . q) sin e,
  (4)  (u, v) d / (d - w),            w = (c . q) cos e + q_z sin e,

where Eq. 4 is left out by an orthographic camera, which is infinitely far.
Bones of a prediction that are longer than `limit` times their mean length are
set to it, from the neck outwards,

  (5)  l_b <- mean l_b   if   l_b > limit * mean l_b.

References:
  You et al., "MoMu-Diffusion: On Learning Long-Term Motion-Music
  Synchronization and Correspondence", NeurIPS 2024, Sec. 4.4 (directions) and
  Appendix D (Eq. 5). Eq. 2 and the resampling are choices: neither is
  specified.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy import interpolate

from diffax.body.kinematics import AnyArray
from diffax.body.skeletons import AMASS21, BODY14, FREEMAN17, H36M16
from diffax.errors import DataError
from diffax.errors import UserError

JOINTS = (
    'nose', 'neck', 'r_shoulder', 'r_elbow', 'r_wrist', 'l_shoulder',
    'l_elbow', 'l_wrist', 'r_hip', 'r_knee', 'r_ankle', 'l_hip', 'l_knee',
    'l_ankle',
)
"""The nodes of BODY14, in its order."""

BONES = BODY14.edges
"""Pairs (parent, child) of joints; parents come first, the neck is the root."""

_NECK = JOINTS.index('neck')
_HIPS = [JOINTS.index('r_hip'), JOINTS.index('l_hip')]

Rule = tuple[tuple[str, float], ...]


class Layout(NamedTuple):
  """How the joints of a detector or a skeleton become the 14.

  Attributes:
    names: of its K joints.
    rules: for a joint of ours, names and weights of the sum that it is; a
      joint without a rule has its name in `names`.
  """

  names: tuple[str, ...]
  rules: Mapping[str, Rule]


def _middle(a: str, b: str) -> Rule:
  return (a, 0.5), (b, 0.5)


def _sides(**names: str) -> dict[str, Rule]:
  """Return rules of paired joints; `*` of a name becomes L or R."""
  return {
      f'{side}_{joint}': ((name.replace('*', side.upper()), 1.0),)
      for joint, name in names.items() for side in 'lr'
  }


_COCO17 = tuple(
    'nose l_eye r_eye l_ear r_ear l_shoulder r_shoulder l_elbow r_elbow '
    'l_wrist r_wrist l_hip r_hip l_knee r_knee l_ankle r_ankle'.split()
)
_LIMBS = dict(shoulder='*Shoulder', elbow='*Elbow', wrist='*Wrist', hip='*Hip',
              knee='*Knee', ankle='*Ankle')
# SMPL calls the ankle a heel here and has no nose: the way from the neck to
# the head, once more, ends near it.
_SMPL = {
    **_sides(**_LIMBS | {'ankle': '*Heel'}),
    'nose': (('Head', 2.0), ('BMN', -1.0)),
    'neck': _middle('LShoulder', 'RShoulder'),
}

LAYOUTS: Mapping[str, Layout] = {
    'body14': Layout(JOINTS, {}),
    'coco17': Layout(_COCO17, {'neck': _middle('l_shoulder', 'r_shoulder')}),
    'coco18': Layout((*JOINTS, 'r_eye', 'l_eye', 'r_ear', 'l_ear'), {}),
    'body25': Layout(
        (*JOINTS[:8], 'mid_hip', *JOINTS[8:], 'r_eye', 'l_eye', 'r_ear',
         'l_ear', 'l_big_toe', 'l_small_toe', 'l_heel', 'r_big_toe',
         'r_small_toe', 'r_heel'), {}),
    'amass21': Layout(AMASS21.joints, _SMPL),
    'h36m16': Layout(
        H36M16.joints,
        {**_sides(**_LIMBS), 'nose': (('Nose', 1.0),),
         'neck': _middle('LShoulder', 'RShoulder')}),
    'freeman17': Layout(
        FREEMAN17.joints,
        {**_sides(**_LIMBS), 'nose': (('Nose', 1.0),),
         'neck': _middle('LShoulder', 'RShoulder')}),
}
"""Joints of COCO, OpenPose (18 and 25) and of skeletons with their roots."""


def body14(points: np.ndarray, layout: str) -> np.ndarray:
  """Pick or make the 14 joints.

  Args:
    points: `[..., K, D]` in the layout's order; NaN of a joint passes to
      those made of it.
    layout: a key of `LAYOUTS`.

  Returns:
    `[..., 14, D]`.

  Raises:
    UserError: the layout is unknown or K is not its number of joints.
  """
  if layout not in LAYOUTS:
    raise UserError(f'layout: expected one of {[*LAYOUTS]}, found {layout!r}.')
  names, rules = LAYOUTS[layout]
  if points.ndim < 2 or points.shape[-2] != len(names):
    raise UserError(
        f'layout {layout!r}: expected points [..., {len(names)}, D], found '
        f'{list(points.shape)}.'
    )
  made = []
  for joint in JOINTS:
    parts = rules.get(joint, ((joint, 1.0),))
    made.append(sum(w * points[..., names.index(name), :] for name, w in parts))
  return np.stack(made, -2)


def from_keypoints(
    keypoints: np.ndarray,
    layout: str,
    *,
    threshold: float = 0.0,
    y_down: bool = True,
) -> np.ndarray:
  """Take poses from a detector's keypoints.

  Args:
    keypoints: `[T, K, 2]` places, or `[T, K, 3]` places and confidences.
    layout: a key of `LAYOUTS`.
    threshold: confidences up to it are missing keypoints.
    y_down: the places are of an image, whose y points down.

  Returns:
    `[T, 14, 2]` float64, y up, NaN where missing; see `fill_gaps`.

  Raises:
    UserError: the shape does not fit the layout.
  """
  keypoints = np.asarray(keypoints, np.float64)
  if keypoints.ndim != 3 or keypoints.shape[-1] not in (2, 3):
    raise UserError(
        'keypoints: expected [frames, joints, 2 or 3], found '
        f'{list(keypoints.shape)}.'
    )
  places = keypoints[..., :2] * ((1, -1) if y_down else (1, 1))
  if keypoints.shape[-1] == 3:
    seen = keypoints[..., 2:] > threshold
    places = np.where(seen, places, np.nan)
  return body14(places, layout)


def from_joints(
    positions: np.ndarray,
    layout: str,
    *,
    yaw: float = 0.0,
    elevation: float = 0.0,
    distance: float | None = None,
    up: str = 'z',
) -> np.ndarray:
  """Take poses from joints in space, seen by a camera; see `project`.

  Args:
    positions: `[T, K, 3]`.
    layout: a key of `LAYOUTS`.
    yaw: azimuth of the camera, radians.
    elevation: of the camera, radians.
    distance: of the camera from the middle of all joints; None is
      orthographic.
    up: `z` or `y`.

  Returns:
    `[T, 14, 2]` in the unit of the positions.

  Raises:
    UserError: a setting does not fit.
  """
  joints = body14(np.asarray(positions, np.float64), layout)
  return project(joints, yaw=yaw, elevation=elevation, distance=distance, up=up)


def project(
    points: np.ndarray,
    *,
    yaw: float = 0.0,
    elevation: float = 0.0,
    distance: float | None = None,
    target: np.ndarray | None = None,
    up: str = 'z',
) -> np.ndarray:
  """See points with a camera (Eq. 3 and 4).

  Args:
    points: `[..., 3]`, right-handed.
    yaw: azimuth of the camera, radians from x to y; from z to x if y is up.
    elevation: of the camera, radians above the ground.
    distance: of the camera from its target, in the unit of the points; None
      is orthographic.
    target: `[3]` the camera looks at; by default the mean of all points.
    up: the axis that points up, `z` or `y`.

  Returns:
    `[..., 2]` right and up, in the unit of the points at the target.

  Raises:
    UserError: the camera is not in front of all points, or the axis unknown.
  """
  if up not in ('z', 'y'):
    raise UserError(f"up: expected 'z' or 'y', found {up!r}.")
  centre = points.reshape(-1, 3).mean(0) if target is None else target
  points = points - centre
  x, y, z = np.moveaxis(points, -1, 0)[[0, 1, 2] if up == 'z' else [2, 0, 1]]
  towards = np.cos(yaw) * x + np.sin(yaw) * y
  across = np.cos(yaw) * y - np.sin(yaw) * x
  high = z * np.cos(elevation) - towards * np.sin(elevation)
  places = np.stack([across, high], -1)
  if distance is None:
    return places
  near = towards * np.cos(elevation) + z * np.sin(elevation)
  if not distance > near.max():
    raise UserError(
        f'distance: expected more than {near.max():.3g}, so that the camera '
        f'is in front of all points, found {distance:.3g}.'
    )
  return places * (distance / (distance - near))[..., None]


def fill_gaps(
    poses: np.ndarray, fps: float, *, longest: float = 0.5, name: str = 'poses'
) -> np.ndarray:
  """Fill missing joints linearly in time; at the ends the nearest place stays.

  Args:
    poses: `[T, 14, 2]`, NaN or infinite where missing.
    fps: frames per second.
    longest: gap that may be filled, seconds.
    name: of the file, for messages.

  Returns:
    `[T, 14, 2]` finite; frames that hold a joint keep it.

  Raises:
    DataError: a joint is missing for longer.
  """
  filled, frames = poses.copy(), np.arange(len(poses))
  seen = np.isfinite(poses).all(-1)
  for joint, here in enumerate(seen.T):
    start, end = _longest_gap(here)
    if end - start > longest * fps or not here.any():
      raise DataError(
          name, f'joint {JOINTS[joint]}',
          f'no gap longer than {longest:g} s',
          f'none in frames {start} to {end - 1}, {(end - start) / fps:.2f} s',
          'Cut the clip there, or allow longer gaps'
      )
    for axis in range(poses.shape[-1]):
      filled[~here, joint, axis] = np.interp(
          frames[~here], frames[here], poses[here, joint, axis]
      )
  return filled


def _longest_gap(here: np.ndarray) -> tuple[int, int]:
  """Return start and end of the longest run of False in `[T]`."""
  edges = np.flatnonzero(np.diff(np.r_[True, here, True].astype(int)))
  if not len(edges):
    return 0, 0
  starts, ends = edges[::2], edges[1::2]
  widest = int(np.argmax(ends - starts))
  return int(starts[widest]), int(ends[widest])


def resample(
    poses: np.ndarray, fps: float, to: float = 62.5, kind: str = 'linear'
) -> np.ndarray:
  """Interpolate poses at another rate.

  Args:
    poses: `[T, ...]` finite.
    fps: frames per second.
    to: wanted frames per second; 62.5 is that of the spectrograms.
    kind: `linear`, or `cubic`, whose speed has no steps.

  Returns:
    `[floor((T - 1) to / fps) + 1, ...]`: the frames that lie between the first
    and the last, at the times n / to.

  Raises:
    UserError: a rate or the kind is wrong, or there are too few frames.
  """
  degrees = {'linear': 1, 'cubic': 3}
  if kind not in degrees:
    raise UserError(f'kind: expected one of {[*degrees]}, found {kind!r}.')
  if not fps > 0 or not to > 0:
    raise UserError(f'fps, to: expected rates above 0, found {fps}, {to}.')
  if len(poses) <= degrees[kind]:
    raise UserError(
        f'poses: expected more than {degrees[kind]} frames to interpolate, '
        f'found {len(poses)}.'
    )
  if not np.isfinite(poses).all():
    raise UserError('poses: expected finite places, found NaN or infinity.')
  if fps == to:
    return poses.copy()
  # In frames of the old rate, which are whole numbers and so exact.
  count = int(np.floor((len(poses) - 1) * to / fps + 1e-9)) + 1
  times = np.minimum(np.arange(count) * (fps / to), len(poses) - 1)
  spline = interpolate.make_interp_spline(
      np.arange(len(poses)), poses, degrees[kind]
  )
  return spline(times).astype(np.result_type(poses.dtype, np.float32))


def normalise(
    poses: np.ndarray, name: str = 'poses'
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Centre clips on their neck and scale them by their torso (Eq. 2).

  Args:
    poses: `[..., T, 14, 2]` finite.
    name: of the file, for messages.

  Returns:
    Normalised poses `[..., T, 14, 2]`, centres `[..., 2]` and scales `[...]`
    in the unit of the poses; `denormalise` undoes it.

  Raises:
    DataError: a place is not finite, or a torso has no length.
  """
  if not np.isfinite(poses).all():
    where = np.argwhere(~np.isfinite(poses))[0]
    raise DataError(
        name, f'joint {JOINTS[where[-2]]}', 'finite places',
        f'NaN or infinity in frame {where[-3]}', 'Fill the gaps first'
    )
  neck, hips = poses[..., _NECK, :], poses[..., _HIPS, :].mean(-2)
  centre = neck.mean(-2)
  scale = np.linalg.norm(neck - hips, axis=-1).mean(-1)
  if not np.all(scale > 0):
    raise DataError(
        name, 'torso', 'a distance above 0 between neck and hips',
        'all frames with both in one place'
    )
  shape = (*scale.shape, 1, 1)
  moved = poses - centre[..., None, None, :]
  return moved / scale.reshape(*shape, 1), centre, scale


def denormalise(
    poses: AnyArray, centre: AnyArray, scale: AnyArray
) -> AnyArray:
  """Undo `normalise`.

  Args:
    poses: normalised `[..., T, 14, 2]`.
    centre: `[..., 2]`.
    scale: `[...]`.

  Returns:
    `[..., T, 14, 2]` in the unit of the scale.
  """
  return (
      poses * scale[..., None, None, None] + centre[..., None, None, :]
  )


def bone_vectors(poses: AnyArray) -> AnyArray:
  """Return the bones `[..., 13, 2]`, from parent to child, of `[..., 14, 2]`.
  """
  parent, child = np.array(BONES).T
  return poses[..., child, :] - poses[..., parent, :]


def bone_lengths(poses: AnyArray) -> AnyArray:
  """Return the lengths `[..., 13]` of the bones of poses `[..., 14, 2]`."""
  xp = poses.__array_namespace__()
  return xp.linalg.norm(bone_vectors(poses), axis=-1)


def directions(poses: AnyArray) -> AnyArray:
  """Return the unit vectors of the bones, d of Eq. 1.

  Args:
    poses: `[..., 14, 2]`.

  Returns:
    `[..., 13, 2]`; zero for a bone without length.
  """
  xp = poses.__array_namespace__()
  lengths = bone_lengths(poses)[..., None]
  return bone_vectors(poses) / xp.where(lengths > 0, lengths, 1)


def from_directions(vectors: AnyArray, lengths: AnyArray) -> AnyArray:
  """Build poses from directions and lengths (Eq. 1), the neck at the origin.

  Args:
    vectors: `[..., 13, 2]`, of any length above 0; only directions count.
    lengths: `[13]` or `[..., 13]`.

  Returns:
    `[..., 14, 2]` in the unit of the lengths.
  """
  xp = vectors.__array_namespace__()
  lengths = xp.asarray(lengths, dtype=vectors.dtype)
  lengths = xp.broadcast_to(lengths, vectors.shape[:-1])[..., None]
  norm = xp.linalg.norm(vectors, axis=-1)[..., None]
  return _chain(vectors / xp.where(norm > 0, norm, 1) * lengths)


def correct_bones(
    poses: AnyArray, lengths: np.ndarray, limit: float = 1.3
) -> AnyArray:
  """Set bones that are too long to their mean length (Eq. 5).

  A bone keeps its direction, and all that hangs on it moves along. Poses
  without such bones stay as they are, to the bit.

  Args:
    poses: `[..., 14, 2]`.
    lengths: `[13]` mean lengths, in the unit of the poses.
    limit: how many times its mean length a bone may have.

  Returns:
    `[..., 14, 2]`.

  Raises:
    UserError: a length is not above 0, or the limit is below 1.
  """
  lengths = np.asarray(lengths)
  if lengths.shape != (len(BONES),) or not np.all(lengths > 0):
    raise UserError(
        f'lengths: expected {len(BONES)} bone lengths above 0, found '
        f'{lengths.tolist()}.'
    )
  if not limit >= 1:
    raise UserError(f'limit: expected 1 or more, found {limit}.')
  xp = poses.__array_namespace__()
  bones, found = bone_vectors(poses), bone_lengths(poses)
  mean = xp.broadcast_to(xp.asarray(lengths, dtype=poses.dtype), found.shape)
  long = found > limit * mean
  ratio = xp.where(long, mean / xp.where(long, found, 1), 1)
  # A sum of shifts, not of bones, leaves what is right untouched.
  return poses + _chain(bones * (ratio - 1)[..., None])


def _chain(vectors: AnyArray) -> AnyArray:
  """Sum vectors `[..., 13, 2]` of bones from the neck to each joint."""
  xp = vectors.__array_namespace__()
  places = {_NECK: xp.zeros_like(vectors[..., 0, :])}
  for bone, (parent, child) in enumerate(BONES):
    places[child] = places[parent] + vectors[..., bone, :]
  return xp.stack([places[joint] for joint in range(len(JOINTS))], -2)
