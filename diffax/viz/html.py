"""An interactive 3-D page of a past and its futures, in one file.

The page needs no network, no plug-in and no WebGL: a script of our own
projects the joints onto canvases. Positions travel as 16-bit integers of an
even step, below 0.1 mm for a body. `page.html#90` opens at frame 90 and waits.

Motions may have bodies. Of these the page carries thinned meshes at key poses
and draws their triangles from the farthest to the nearest, each in one shade.
"""

from collections.abc import Mapping, Sequence
import pathlib
from typing import Any

import numpy as np

from diffax.body.skeletons import Skeleton
from diffax.errors import UserError
from diffax.viz import mesh
from diffax.viz import pose
from diffax.viz import template

_SIDES = ('left', 'centre', 'right')


def page(
    path: pathlib.Path | str,
    past: np.ndarray,
    futures: Mapping[str, np.ndarray],
    skeleton: Skeleton,
    fps: float,
    title: str,
    *,
    colours: Mapping[str, str] | None = None,
    reference: str | None = None,
    facts: str = '',
    bodies: mesh.Bodies | None = None,
) -> None:
  """Write the page: play, pause, slider, speed, rotation, toggles.

  Args:
    path: the file, `.html`.
    past: `[P, J, 3]` about the root, or `[P, J + 1, 3]`; metres, Z up.
    futures: by title, each `[F, J, 3]` or `[F, J + 1, 3]`, in the order of
      the panels; `F` may differ.
    skeleton: of all motions.
    fps: frames per second.
    title: of the page.
    colours: `#rrggbb` by title of a future; the reference is green and the
      others differ by default.
    reference: title of the future that can be shown behind each other.
    facts: a line below the title.
    bodies: meshes of the past and of some futures, in the place of their
      joints; shown instead of the stick figures, which stay a toggle.

  Raises:
    UserError: if arguments do not fit together or the file cannot be written.
  """
  _check(path, futures, fps, [reference or '', *(colours or {})])
  start = pose.complete(past, skeleton, 'past')
  full = {
      name: pose.complete(motion, skeleton, name)
      for name, motion in futures.items()
  }
  tints = _tints(list(full), reference) | dict(colours or {})
  thinned = None if bodies is None else mesh.thinned(
      bodies, len(start), {name: len(full[name]) for name in full}, fps
  )
  scene = _scene(start, full, skeleton, tints, thinned) | {
      'title': title,
      'facts': facts or _facts(start, full, skeleton, fps, thinned),
      'fps': float(fps),
      'reference': None if reference is None else list(full).index(reference),
  }
  template.write(path, 'viewer.html', title, scene)


def _check(
    path: pathlib.Path | str, futures: Mapping[str, np.ndarray], fps: float,
    names: Sequence[str]
) -> None:
  if not futures:
    raise UserError(f'{path}: futures: expected at least one, found none.')
  if not fps > 0:
    raise UserError(f'{path}: fps: expected a rate above 0, found {fps}.')
  for name in filter(None, names):
    if name not in futures:
      raise UserError(
          f'{path}: reference, colours: expected one of {list(futures)}, '
          f'found {name!r}.'
      )


def _scene(
    start: np.ndarray, full: Mapping[str, np.ndarray], skeleton: Skeleton,
    tints: Mapping[str, str], bodies: mesh.Thinned | None
) -> dict[str, Any]:
  """Return what the page's script reads of the motions."""
  # Turning about the vertical must keep the body in view.
  middle = np.append(start[-1, 0, :2], 0.0)
  start = start - middle
  full = {name: motion - middle for name, motion in full.items()}
  reach = max(np.abs(motion).max() for motion in (start, *full.values()))
  if bodies is not None:
    bodies = bodies.moved(-middle)
    reach = max(reach, bodies.reach())
  step = max(float(reach), 1e-3) / template.LARGEST
  return {
      'step': step,
      'past': template.pack(start / step),
      'bones': [list(map(int, bone)) for bone in skeleton.bones],
      'sides': [_SIDES.index(where) for where in pose.sides(skeleton)],
      'heads': np.flatnonzero(pose.heads(skeleton)).tolist(),
      'azimuth': pose.camera(start, skeleton).azimuth,
      'grey': _shades(pose.PAST),
      'skin': None if bodies is None else bodies.packed(step),
      'motions': [
          {
              'title': name,
              'tints': _shades(tints[name]),
              'data': template.pack(motion / step),
          }
          for name, motion in full.items()
      ],
  }


def _shades(colour: str) -> list[str]:
  return [pose.shade(colour, where) for where in _SIDES]


def _tints(names: list[str], reference: str | None) -> dict[str, str]:
  others = [name for name in names if name != reference]
  tints = dict(zip(others, pose.colours(len(others))))
  return tints if reference is None else tints | {reference: pose.TRUTH}


def _facts(
    start: np.ndarray, full: Mapping[str, np.ndarray], skeleton: Skeleton,
    fps: float, bodies: mesh.Thinned | None
) -> str:
  longest = max(map(len, full.values()))
  drawn = '' if bodies is None else (
      f'; bodies thinned to {bodies.past.shape[1]} vertices'
  )
  return (
      f'{skeleton.name}, {skeleton.num_nodes} joints, {fps:g} frames per '
      f'second; observed {len(start) / fps:.2f} s, future '
      f'{longest / fps:.2f} s{drawn}'
  )
