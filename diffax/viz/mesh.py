"""Body meshes as files and for the page: OBJ, animated GLB, thinned triangles.

Files have Y up, as tools expect of OBJ and glTF demands, metres and triangles
that are anticlockwise from outside. A GLB holds the first pose V_0 and, for
every later key pose k, the morph target V_k - V_0; at the time of key k the
weight of target k is 1 and that of the others 0. Weights are interpolated
linearly, so that vertices are, too,

    V(t) = V_0 + sum_k w_k(t) (V_k - V_0),                                 (1)

and the file shows exactly what it was given at the key poses, whatever the
body model did to its skin.

A page must stay small, so `thin` keeps vertices that are evenly spread on the
body at rest, each standing for those nearest to it along the skin. A triangle
of the full mesh whose corners fall to three of them makes one of the thin mesh,
which is closed where the full one is.

References:
  Khronos Group, "glTF 2.0 Specification", 2021, Secs. 3.7.2.2 and 3.11.
"""

from collections.abc import Mapping
import json
import pathlib
import struct
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from diffax.errors import UserError
from diffax.viz import pose
from diffax.viz import template

RATE = 15.0
"""Key poses per second, of a GLB and of the page; between them is a line."""

PAGE_VERTICES = 1000
PAGE_BYTES = 3_000_000
"""Of the meshes of a page, about; thinner meshes and fewer keys if needed."""

_LEAST_VERTICES = 250


class Bodies(NamedTuple):
  """Meshes of the motions of a page, in their place and axes.

  Attributes:
    faces: `[F, 3]` vertices of each triangle, anticlockwise from outside.
    rest: `[V, 3]` a pose in which no parts touch, to thin the mesh in.
    past: `[P, V, 3]` metres, Z up.
    futures: by title, each `[F, V, 3]`; motions without one keep their sticks.
  """

  faces: np.ndarray
  rest: np.ndarray
  past: np.ndarray
  futures: Mapping[str, np.ndarray]


class Thinned(NamedTuple):
  """What a page draws of its bodies.

  Attributes:
    faces: `[F, 3]` triangles of the K vertices kept.
    stride: frames from one key pose to the next.
    past: `[keys, K, 3]` metres, Z up.
    futures: likewise, by title.
  """

  faces: np.ndarray
  stride: int
  past: np.ndarray
  futures: Mapping[str, np.ndarray]

  def moved(self, step: np.ndarray) -> 'Thinned':
    """Return the bodies moved by `[3]` metres."""
    return self._replace(past=self.past + step, futures={
        name: motion + step for name, motion in self.futures.items()
    })

  def reach(self) -> float:
    """Return the largest coordinate, metres."""
    return float(max(
        np.abs(motion).max() for motion in (self.past, *self.futures.values())
    ))

  def packed(self, step: float) -> dict[str, Any]:
    """Return what the page's script reads, in steps of `step` metres."""
    return {
        'faces': template.pack(self.faces),
        'stride': self.stride,
        'past': template.pack(self.past / step),
        'futures': {
            name: template.pack(motion / step)
            for name, motion in self.futures.items()
        },
    }


def write_obj(
    path: pathlib.Path | str, vertices: np.ndarray, faces: np.ndarray
) -> None:
  """Write one pose as OBJ.

  Args:
    path: the file, `.obj`.
    vertices: `[V, 3]` metres, Z up.
    faces: `[F, 3]`.

  Raises:
    UserError: if the mesh is none or the file cannot be written.
  """
  places = _y_up(_checked(path, np.asarray(vertices)[None], faces)[0])
  lines = ['# metres, Y up']
  lines += [f'v {x:.5f} {y:.5f} {z:.5f}' for x, y, z in places]
  # Vertices count from 1.
  lines += [f'f {a} {b} {c}' for a, b, c in np.asarray(faces, np.int64) + 1]
  _write(path, ('\n'.join(lines) + '\n').encode('ascii'))


def write_glb(
    path: pathlib.Path | str,
    vertices: np.ndarray,
    faces: np.ndarray,
    fps: float,
    *,
    rate: float = RATE,
    colour: str = pose.CLOSEST,
) -> None:
  """Write a moving mesh as GLB, Eq. 1.

  Args:
    path: the file, `.glb`.
    vertices: `[L, V, 3]` metres, Z up.
    faces: `[F, 3]`.
    fps: frames per second.
    rate: key poses per second, about; all frames if it is above `fps`.
    colour: `#rrggbb` of the body.

  Raises:
    UserError: if the mesh is none or the file cannot be written.
  """
  if not fps > 0 or not rate > 0:
    raise UserError(
        f'{path}: fps, rate: expected above 0, found {fps}, {rate}.'
    )
  motion = _checked(path, vertices, faces)
  keys = key_frames(len(motion), max(1, round(fps / rate)))
  poses = _y_up(motion[keys].astype(np.float32))
  blob = _Blob()
  attributes = {'POSITION': blob.points(poses[0], 'ARRAY_BUFFER')}
  targets = [
      {'POSITION': blob.points(later - poses[0], 'ARRAY_BUFFER')}
      for later in poses[1:]
  ]
  indices = blob.add(
      np.asarray(faces, np.uint32).reshape(-1), 'SCALAR', 'ELEMENT_ARRAY_BUFFER'
  )
  primitive = {'attributes': attributes, 'indices': indices, 'material': 0}
  mesh: dict[str, Any] = {'primitives': [primitive]}
  scene: dict[str, Any] = {
      'asset': {'version': '2.0', 'generator': 'diffax'},
      'scene': 0,
      'scenes': [{'nodes': [0]}],
      'nodes': [{'mesh': 0, 'name': 'body'}],
      'meshes': [mesh],
      'materials': [_material(colour)],
  }
  if targets:
    primitive['targets'] = targets
    mesh['weights'] = [0.0] * len(targets)
    times = blob.add((keys / fps).astype(np.float32), 'SCALAR', limits=True)
    weights = np.eye(len(keys), dtype=np.float32)[:, 1:]
    output = blob.add(weights.reshape(-1), 'SCALAR')
    scene['animations'] = [{
        'name': 'motion',
        'samplers': [
            {'input': times, 'output': output, 'interpolation': 'LINEAR'}
        ],
        'channels': [
            {'sampler': 0, 'target': {'node': 0, 'path': 'weights'}}
        ],
    }]
  scene |= blob.tables()
  _write(path, _glb(scene, b''.join(blob.parts)))


class _Blob:
  """Collect the binary part of a GLB and the tables that describe it."""

  _KINDS = {'ARRAY_BUFFER': 34962, 'ELEMENT_ARRAY_BUFFER': 34963}
  _TYPES = {'f': 5126, 'u': 5125}

  def __init__(self) -> None:
    self.parts: list[bytes] = []
    self.views: list[dict[str, Any]] = []
    self.accessors: list[dict[str, Any]] = []
    self.length = 0

  def points(self, places: np.ndarray, kind: str) -> int:
    """Add `[V, 3]` float32; return the number of the accessor."""
    return self.add(places, 'VEC3', kind, limits=True)

  def add(
      self, numbers: np.ndarray, shape: str, kind: str | None = None,
      limits: bool = False
  ) -> int:
    """Add numbers of 4 bytes; return the number of the accessor."""
    data = np.ascontiguousarray(numbers).tobytes()
    view = {'buffer': 0, 'byteOffset': self.length, 'byteLength': len(data)}
    if kind is not None:
      view['target'] = self._KINDS[kind]
    accessor = {
        'bufferView': len(self.views), 'type': shape, 'count': len(numbers),
        'componentType': self._TYPES[numbers.dtype.kind],
    }
    if limits:
      table = numbers.reshape(len(numbers), -1)
      accessor['min'] = table.min(0).tolist()
      accessor['max'] = table.max(0).tolist()
    self.parts.append(data)
    self.length += len(data)
    self.views.append(view)
    self.accessors.append(accessor)
    return len(self.accessors) - 1

  def tables(self) -> dict[str, Any]:
    """Return the tables of what was added."""
    return {
        'buffers': [{'byteLength': self.length}],
        'bufferViews': self.views,
        'accessors': self.accessors,
    }


def _material(colour: str) -> dict[str, Any]:
  values = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
  # The format wants linear light, colours are written for the screen.
  linear = [
      v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055)**2.4 for v in values
  ]
  return {
      'pbrMetallicRoughness': {
          'baseColorFactor': [*linear, 1.0],
          'metallicFactor': 0.0,
          'roughnessFactor': 0.8,
      },
  }


def _glb(scene: Mapping[str, Any], blob: bytes) -> bytes:
  """Put a scene and its numbers into the container."""
  text = json.dumps(scene, separators=(',', ':')).encode('ascii')
  text += b' ' * (-len(text) % 4)
  blob += b'\0' * (-len(blob) % 4)
  body = b''.join(
      struct.pack('<I4s', len(part), name) + part
      for name, part in ((b'JSON', text), (b'BIN\0', blob))
  )
  return struct.pack('<4sII', b'glTF', 2, 12 + len(body)) + body


def key_frames(frames: int, stride: int) -> np.ndarray:
  """Return the key frames: every `stride`-th, and the last one."""
  keys = np.arange(0, frames, stride)
  return keys if keys[-1] == frames - 1 else np.append(keys, frames - 1)


def thin(
    rest: np.ndarray, faces: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
  """Thin a mesh to `count` of its vertices.

  Args:
    rest: `[V, 3]` vertices of a pose in which no parts touch.
    faces: `[F, 3]`.
    count: of the vertices kept, if there are more.

  Returns:
    Indices `[K]` of the vertices kept and the triangles `[F', 3]` of these.
  """
  used = np.unique(faces)
  faces = np.searchsorted(used, faces)
  if len(used) <= count:
    return used, faces
  places = np.asarray(rest, np.float64)[used]
  seeds = _spread(places, count)
  owner = _owners(places, faces, seeds)
  rank = np.full(len(used) + 1, -1)
  rank[seeds] = np.arange(len(seeds))
  # A part without a seed belongs to none, which is the last entry.
  corners = rank[owner][faces]
  a, b, c = corners.T
  corners = corners[(a != b) & (b != c) & (c != a) & (corners.min(1) >= 0)]
  # The smallest corner first, so that a triangle met twice is seen as one.
  first = corners.argmin(1)[:, None]
  turned = np.take_along_axis(corners, (first + np.arange(3)) % 3, 1)
  return used[seeds], np.unique(turned, axis=0)


def _spread(places: np.ndarray, count: int) -> np.ndarray:
  """Return `count` indices, each the farthest from those before it."""
  chosen = [0]
  nearest = np.full(len(places), np.inf)
  for _ in range(count - 1):
    step = places - places[chosen[-1]]
    nearest = np.minimum(nearest, np.einsum('vd,vd->v', step, step))
    chosen.append(int(nearest.argmax()))
  return np.sort(chosen)


def _owners(
    places: np.ndarray, faces: np.ndarray, seeds: np.ndarray
) -> np.ndarray:
  """Return the seed nearest to each vertex along the edges, or -1."""
  edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
  a, b = np.unique(np.sort(edges, 1), axis=0).T
  lengths = np.linalg.norm(places[a] - places[b], axis=1)
  # No edge may vanish: a length of 0 would be none.
  graph = sparse.csr_array(
      (np.maximum(lengths, 1e-9), (a, b)), (len(places), len(places))
  )
  _, _, owner = csgraph.dijkstra(
      graph, directed=False, indices=seeds, min_only=True,
      return_predecessors=True,
  )
  return np.where(owner >= 0, owner, -1)


def thinned(
    bodies: Bodies, observed: int, frames: Mapping[str, int], fps: float
) -> Thinned:
  """Check bodies and choose what of them fits into a page.

  Args:
    bodies: of the motions.
    observed: frames of the past.
    frames: of each future, by title.
    fps: frames per second.

  Returns:
    Thinned bodies at key poses, about `PAGE_BYTES` as text.

  Raises:
    UserError: if the bodies are not those of the motions.
  """
  _check_body('past', bodies.past, observed, bodies)
  for name, motion in bodies.futures.items():
    if name not in frames:
      raise UserError(
          f'bodies: expected those of {list(frames)}, found {name!r}.'
      )
    _check_body(name, motion, frames[name], bodies)
  lengths = [observed, *(frames[name] for name in bodies.futures)]
  stride = max(1, round(fps / RATE))
  while True:
    keys = sum(len(key_frames(length, stride)) for length in lengths)
    # Three numbers of two bytes, in base 64.
    count = min(PAGE_VERTICES, PAGE_BYTES // (8 * keys))
    if count >= _LEAST_VERTICES or stride >= max(lengths):
      break
    stride += 1
  kept, faces = thin(bodies.rest, bodies.faces, max(count, 4))

  def keep(motion: np.ndarray) -> np.ndarray:
    keys = key_frames(len(motion), stride)
    return np.asarray(motion, np.float64)[keys][:, kept]

  futures = {name: keep(motion) for name, motion in bodies.futures.items()}
  return Thinned(faces, stride, keep(bodies.past), futures)


def _check_body(
    name: str, motion: np.ndarray, frames: int, bodies: Bodies
) -> None:
  _checked(f'bodies: {name}', motion, bodies.faces)
  wanted = [frames, *np.shape(bodies.rest)]
  if list(np.shape(motion)) != wanted:
    raise UserError(
        f'bodies: {name}: expected {wanted}, found {list(np.shape(motion))}.'
    )


def _checked(
    where: pathlib.Path | str, vertices: np.ndarray, faces: np.ndarray
) -> np.ndarray:
  """Return the vertices `[L, V, 3]`, or name what is wrong with a mesh."""
  vertices, faces = np.asarray(vertices), np.asarray(faces)
  if vertices.ndim != 3 or vertices.shape[-1] != 3 or not vertices.size:
    raise UserError(
        f'{where}: vertices: expected [frames, vertices, 3], found '
        f'{list(vertices.shape)}.'
    )
  if not np.isfinite(vertices).all():
    raise UserError(
        f'{where}: vertices: expected finite numbers, found NaN or infinity.'
    )
  if faces.ndim != 2 or faces.shape[-1] != 3 or not len(faces) or (
      faces.min() < 0 or faces.max() >= vertices.shape[1]
  ):
    raise UserError(
        f'{where}: faces: expected [faces, 3] of the vertices '
        f'0..{vertices.shape[1] - 1}, found {list(faces.shape)} of others.'
    )
  return vertices


def _y_up(places: np.ndarray) -> np.ndarray:
  """Turn Z up into Y up: x stays, y goes to the back."""
  return np.stack([places[..., 0], places[..., 2], -places[..., 1]], -1)


def _write(path: pathlib.Path | str, data: bytes) -> None:
  path = pose.writable(path)
  try:
    path.write_bytes(data)
  except OSError as error:
    raise UserError(f'{path}: cannot write: {error}') from error
