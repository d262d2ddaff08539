"""What all pictures of a pose share: sides of the body, colours, a camera.

A camera at azimuth a and elevation e looks at the origin. With the unit vector
c = (cos a, sin a, 0) towards it, a point p is seen at

  (1)  u = (-sin a, cos a, 0) . p,
       v = p_z cos e - (c . p) sin e,

and is nearer the larger (c . p) cos e + p_z sin e is.
"""

from collections.abc import Sequence
import colorsys
import dataclasses
import pathlib
import re
from typing import Any

import numpy as np

from diffax.body.skeletons import Skeleton
from diffax.errors import UserError

PAST = '#8a8f98'
TRUTH = '#009e73'
CLOSEST = '#0072b2'
DIVERSE = ('#d55e00', '#b0579a', '#d69500', '#3fa7dd', '#7a5c3d', '#5b4fb8')
"""Colours that colour-blind readers can tell apart (after Okabe and Ito)."""

_SHADE = {'left': 1.0, 'centre': 0.78, 'right': 0.5}
_THREE_QUARTERS = np.deg2rad(50.0)


@dataclasses.dataclass(frozen=True)
class Camera:
  """An orthographic camera (Eq. 1).

  Attributes:
    azimuth: of the direction towards the camera, radians from x to y.
    elevation: radians above the ground.
  """

  azimuth: float
  elevation: float = 0.2

  def __call__(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Project points.

    Args:
      points: `[..., 3]`, Z up.

    Returns:
      Places `[..., 2]`, right and up, and nearness `[...]`.
    """
    sin, cos = np.sin(self.azimuth), np.cos(self.azimuth)
    x, y, z = np.moveaxis(np.asarray(points), -1, 0)
    towards = cos * x + sin * y
    low, high = np.sin(self.elevation), np.cos(self.elevation)
    places = np.stack([cos * y - sin * x, z * high - towards * low], -1)
    return places, towards * high + z * low


def complete(
    motion: np.ndarray, skeleton: Skeleton, name: str = 'motion'
) -> np.ndarray:
  """Check a motion, and add the root at the origin where it is missing.

  Args:
    motion: `[L, J + 1, 3]`, or root-centred `[L, J, 3]`; metres, Z up.
    skeleton: of the motion.
    name: of the motion, for messages.

  Returns:
    `[L, J + 1, 3]` float64, metres.

  Raises:
    UserError: if the shape does not fit or a number is not finite.
  """
  motion = np.asarray(motion, np.float64)
  nodes = skeleton.num_nodes
  shapes = ((nodes, 3), (nodes + 1, 3))
  if motion.ndim != 3 or not len(motion) or motion.shape[1:] not in shapes:
    raise UserError(
        f'{name}: expected [frames, {nodes} or {nodes + 1}, 3] for skeleton '
        f'{skeleton.name}, found {list(motion.shape)}.'
    )
  if not np.isfinite(motion).all():
    frame = int(np.argwhere(~np.isfinite(motion))[0][0])
    raise UserError(
        f'{name}: expected finite positions, found NaN or infinity in frame '
        f'{frame}.'
    )
  if motion.shape[1] == nodes:
    return np.pad(motion, ((0, 0), (1, 0), (0, 0)))
  return motion


def side(name: str, names: Sequence[str]) -> str:
  """Tell the side of the body that a joint's name speaks of.

  Args:
    name: such as `LHip`, `left_knee`, `rfemur`, `Hand_L`, `Bip01 R Thigh`.
    names: of all joints; a leading letter counts if its mirror is there.

  Returns:
    'left', 'right' or 'centre'.
  """
  for word in ('left', 'right'):
    if word in name.lower():
      return word
  letter = re.search(r'(?:^|[ _.:-])([lr])(?:[ _.-]|$)', name, re.IGNORECASE)
  if letter:
    return 'left' if letter[1] in 'lL' else 'right'
  other = {'l': 'r', 'r': 'l', 'L': 'R', 'R': 'L'}.get(name[:1])
  if other and other + name[1:] in names:
    return 'left' if name[0] in 'lL' else 'right'
  return 'centre'


def sides(skeleton: Skeleton) -> tuple[str, ...]:
  """Return the side of each joint, root first, J + 1."""
  return tuple(side(name, skeleton.joints) for name in skeleton.joints)


def shade(colour: str, where: str) -> str:
  """Darken a colour for the right side, and half as much for the centre.

  Args:
    colour: `#rrggbb`.
    where: 'left', 'right' or 'centre'.

  Returns:
    `#rrggbb`.
  """
  values = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
  hue, light, saturation = colorsys.rgb_to_hls(*values)
  made = colorsys.hls_to_rgb(hue, light * _SHADE[where], saturation)
  return '#' + ''.join(f'{round(255 * value):02x}' for value in made)


def facing(motion: np.ndarray, skeleton: Skeleton) -> float | None:
  """Return the heading of a body: its left turned a quarter clockwise.

  Args:
    motion: `[L, J + 1, 3]`; the mean over frames counts.
    skeleton: of the motion.

  Returns:
    Radians from x to y, or None if the names tell no left from right.
  """
  where = np.array(sides(skeleton))
  # Limbs swing: the hips, or whatever mirrored joints sit on the root, do not.
  near = np.array(skeleton.parents) == 0
  if not {'left', 'right'} <= set(where[near]):
    near = np.ones(len(where), bool)
  left, right = where == 'left', where == 'right'
  if not (left & near).any() or not (right & near).any():
    return None
  across = (
      motion[:, left & near].mean((0, 1)) - motion[:, right & near].mean((0, 1))
  )
  return float(np.arctan2(across[1], across[0]) - np.pi / 2)


def camera(motion: np.ndarray, skeleton: Skeleton) -> Camera:
  """Place a camera that sees the body from three quarters in front.

  Args:
    motion: `[L, J + 1, 3]`.
    skeleton: of the motion.

  Returns:
    The camera.
  """
  return Camera((facing(motion, skeleton) or 0.0) + _THREE_QUARTERS)


def heads(skeleton: Skeleton) -> np.ndarray:
  """Return a mask `[J + 1]` of the joints to draw as a head."""
  named = [
      'head' in name.lower() and 'end' not in name.lower()
      for name in skeleton.joints
  ]
  return np.array(named)


def colours(count: int) -> tuple[str, ...]:
  """Return colours for the closest future and `count - 1` diverse ones."""
  return tuple(
      DIVERSE[(i - 1) % len(DIVERSE)] if i else CLOSEST for i in range(count)
  )


def matplotlib_figures() -> Any:
  """Return the module `matplotlib.figure`.

  Raises:
    UserError: if matplotlib is not installed.
  """
  try:
    from matplotlib import figure
  except ImportError as error:
    raise missing('matplotlib') from error
  return figure


def missing(package: str) -> UserError:
  """Return the error that says how to install an optional package."""
  return UserError(
      f'drawing needs {package}, which is not installed: '
      "pip install 'diffax[viz]'"
  )


def installed(package: str) -> bool:
  """Return whether an optional package is there, and say so if not."""
  try:
    __import__(package)
  except ImportError:
    print(f'Left out: {missing(package)}')
    return False
  return True


def writable(path: pathlib.Path | str) -> pathlib.Path:
  """Return a path after making its folder.

  Raises:
    UserError: if there can be no such folder or the path is one.
  """
  path = pathlib.Path(path)
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise UserError(f'{path}: cannot write: {error}') from error
  if path.is_dir():
    raise UserError(f'{path}: expected a file to write, found a folder.')
  return path
