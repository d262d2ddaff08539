"""Meshes as files, read back by another library, and thinned for the page."""

import json
import struct

import numpy as np
import pytest
import trimesh

from diffax.errors import UserError
from diffax.viz import mesh


@pytest.fixture(scope='module')
def ball():
  """A closed surface: vertices `[642, 3]` and faces `[1280, 3]`."""
  made = trimesh.creation.icosphere(subdivisions=3)
  return np.asarray(made.vertices), np.asarray(made.faces)


@pytest.fixture(scope='module')
def motion(ball):
  """The ball `[13, 642, 3]` that rises along z and is squeezed."""
  time = np.arange(13)[:, None, None]
  rise = 0.1 * time * np.array([0, 0, 1])
  return (ball[0] * (1 - 0.02 * time) + rise).astype(np.float32)


def _y_up(places):
  return places @ np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])


def _glb(path):
  """Return the scene of a GLB and a function to its arrays."""
  data = path.read_bytes()
  magic, version, size = struct.unpack('<4sII', data[:12])
  assert (magic, version, size) == (b'glTF', 2, len(data))
  length, name = struct.unpack('<I4s', data[12:20])
  assert name == b'JSON' and length % 4 == 0
  scene = json.loads(data[20:20 + length])
  rest = data[20 + length:]
  length, name = struct.unpack('<I4s', rest[:8])
  assert name == b'BIN\0' and len(rest) == 8 + length
  assert scene['buffers'][0]['byteLength'] <= length

  def array(number):
    accessor = scene['accessors'][number]
    view = scene['bufferViews'][accessor['bufferView']]
    kind = {5126: '<f4', 5125: '<u4'}[accessor['componentType']]
    start = 8 + view['byteOffset']
    found = np.frombuffer(rest[start:start + view['byteLength']], kind)
    shape = {'VEC3': (-1, 3), 'SCALAR': (-1,)}[accessor['type']]
    found = found.reshape(shape)
    assert len(found) == accessor['count']
    return found

  return scene, array


def test_obj_reads_back_with_y_up(ball, tmp_path):
  vertices, faces = ball
  path = tmp_path / 'deep' / 'ball.obj'
  mesh.write_obj(path, 1.7 * vertices, faces)
  read = trimesh.load(path, process=False)
  np.testing.assert_allclose(read.vertices, _y_up(1.7 * vertices), atol=1e-5)
  np.testing.assert_array_equal(read.faces, faces)
  # Turned, not mirrored: outside stays outside.
  assert read.volume == pytest.approx(1.7**3 * 4 / 3 * np.pi, rel=0.03)
  top = vertices[:, 2].argmax()
  assert read.vertices[:, 1].argmax() == top


def test_glb_reads_back_as_the_first_pose(motion, ball, tmp_path):
  path = tmp_path / 'ball.glb'
  mesh.write_glb(path, motion, ball[1], 30.0)
  scene = trimesh.load(path, process=False)
  read, = scene.geometry.values()
  np.testing.assert_allclose(read.vertices, _y_up(motion[0]), atol=1e-6)
  np.testing.assert_array_equal(read.faces, ball[1])
  assert read.is_watertight and read.volume > 0


def test_glb_moves_through_the_key_poses(motion, ball, tmp_path):
  path = tmp_path / 'ball.glb'
  mesh.write_glb(path, motion, ball[1], 60.0, rate=12.0)
  scene, array = _glb(path)
  primitive = scene['meshes'][0]['primitives'][0]
  base = array(primitive['attributes']['POSITION'])
  targets = np.stack([array(t['POSITION']) for t in primitive['targets']])
  sampler, = scene['animations'][0]['samplers']
  times, weights = array(sampler['input']), array(sampler['output'])
  np.testing.assert_allclose(times, [0, 5 / 60, 10 / 60, 12 / 60], rtol=1e-6)
  weights = weights.reshape(len(times), len(targets))
  assert sampler['interpolation'] == 'LINEAR'
  assert scene['animations'][0]['channels'][0]['target']['path'] == 'weights'
  shown = base + np.einsum('kt,tvd->kvd', weights, targets)
  np.testing.assert_allclose(shown, _y_up(motion[[0, 5, 10, 12]]), atol=1e-6)
  # Every accessor of places tells its box, as the format demands.
  for accessor in scene['accessors']:
    if accessor['type'] == 'VEC3':
      assert len(accessor['min']) == len(accessor['max']) == 3


def test_glb_of_one_pose_stands_still(motion, ball, tmp_path):
  path = tmp_path / 'ball.glb'
  mesh.write_glb(path, motion[:1], ball[1], 30.0, colour='#ff0000')
  scene, _ = _glb(path)
  assert 'animations' not in scene
  assert 'targets' not in scene['meshes'][0]['primitives'][0]
  material, = scene['materials']
  assert material['pbrMetallicRoughness']['baseColorFactor'] == [1, 0, 0, 1]


@pytest.mark.parametrize('frames, stride, keys', [
    (1, 1, [0]), (1, 5, [0]), (5, 2, [0, 2, 4]), (6, 2, [0, 2, 4, 5]),
    (3, 9, [0, 2]),
])
def test_the_last_frame_is_a_key(frames, stride, keys):
  assert mesh.key_frames(frames, stride).tolist() == keys


def test_a_thin_mesh_is_closed_and_keeps_its_volume(ball):
  vertices, faces = ball
  kept, thin = mesh.thin(vertices, faces, 200)
  assert len(kept) == 200 == len(np.unique(thin))
  made = trimesh.Trimesh(vertices[kept], thin, process=False)
  assert made.is_watertight and made.is_winding_consistent
  assert made.euler_number == 2
  assert 0.94 < made.volume / (4 / 3 * np.pi) < 1


def test_parts_that_are_near_but_apart_are_not_joined(ball):
  vertices, faces = ball
  # Two balls a hundredth apart: along the skin they are infinitely far.
  both = np.concatenate([vertices, vertices + [2.01, 0, 0]])
  kept, thin = mesh.thin(both, np.concatenate([faces, faces + 642]), 300)
  side = kept[thin] >= 642
  assert (side.all(1) | ~side.any(1)).all()
  assert side.any() and not side.all()


def test_vertices_of_no_face_are_dropped(ball):
  vertices, faces = ball
  stray = np.concatenate([np.full((3, 3), 9.0), vertices])
  kept, thin = mesh.thin(stray, faces + 3, 100)
  assert kept.min() >= 3 and len(kept) == 100
  kept, thin = mesh.thin(stray, faces + 3, 5000)
  np.testing.assert_array_equal(kept, np.arange(3, 645))
  np.testing.assert_array_equal(kept[thin], faces + 3)


def _bodies(motion, ball, frames, titles=('a',)):
  long = np.resize(motion, (frames, *ball[0].shape))
  return mesh.Bodies(ball[1], ball[0], motion, {t: long for t in titles})


def test_a_page_gets_key_poses_of_the_kept_vertices(motion, ball):
  thinned = mesh.thinned(_bodies(motion, ball, 20), 13, {'a': 20}, 60.0)
  assert thinned.stride == 4
  # Few enough to keep them all.
  np.testing.assert_array_equal(thinned.past, motion[[0, 4, 8, 12]])
  assert thinned.futures['a'].shape == (6, 642, 3)
  packed = thinned.moved(np.array([1.0, 0, 0])).packed(1e-3)
  assert set(packed) == {'faces', 'stride', 'past', 'futures'}
  assert thinned.reach() == pytest.approx(np.abs(motion).max(), rel=1e-6)


@pytest.mark.parametrize('frames, motions', [(200, 6), (150, 50), (2000, 9)])
def test_a_page_stays_small_whatever_is_shown(
    motion, ball, monkeypatch, frames, motions
):
  monkeypatch.setattr(mesh, 'PAGE_BYTES', 300_000)
  monkeypatch.setattr(mesh, '_LEAST_VERTICES', 40)
  titles = [str(i) for i in range(motions)]
  bodies = _bodies(motion, ball, frames, titles)
  thinned = mesh.thinned(bodies, 13, dict.fromkeys(titles, frames), 60.0)
  packed = thinned.packed(1e-3)
  size = len(packed['past']) + sum(map(len, packed['futures'].values()))
  assert 100_000 < size <= 300_000 + 8 * motions
  assert thinned.past.shape[1] >= 40


@pytest.mark.parametrize('change, message', [
    ({'futures': {'b': np.zeros((20, 642, 3))}}, "of .'a'., found 'b'"),
    ({'futures': {'a': np.zeros((19, 642, 3))}},
     r'bodies: a: expected .20, 642, 3., found .19, 642, 3.'),
    ({'past': np.zeros((12, 642, 3))}, r'past: expected .13, 642, 3.'),
    ({'past': np.full((13, 642, 3), np.nan)}, 'past: vertices: .* finite'),
    ({'rest': np.zeros((641, 3))}, 'past: expected .13, 641, 3.'),
])
def test_bodies_of_other_motions_are_named(motion, ball, change, message):
  bodies = _bodies(motion, ball, 20)._replace(**change)
  with pytest.raises(UserError, match=message):
    mesh.thinned(bodies, 13, {'a': 20}, 60.0)


@pytest.mark.parametrize('change, message', [
    ({'vertices': np.zeros((4, 3))}, r'vertices: expected .* found .4, 3.'),
    ({'vertices': np.zeros((0, 4, 3))}, 'vertices: expected'),
    ({'vertices': np.full((1, 4, 3), np.inf)}, 'vertices: expected finite'),
    ({'faces': np.array([[0, 1, 4]])}, r'of the vertices 0..3'),
    ({'faces': np.array([[0, -1, 3]])}, r'of the vertices 0..3'),
    ({'faces': np.zeros((0, 3), int)}, r'faces: expected'),
    ({'fps': 0.0}, 'fps, rate: expected above 0'),
    ({'rate': -1.0}, 'fps, rate: expected above 0'),
])
def test_mistakes_are_named(tmp_path, change, message):
  arguments = {
      'vertices': np.zeros((2, 4, 3)), 'faces': np.array([[0, 1, 2]]),
      'fps': 30.0,
  } | change
  with pytest.raises(UserError, match=message):
    mesh.write_glb(tmp_path / 'a.glb', **arguments)
  assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_named(ball, tmp_path):
  with pytest.raises(UserError, match='found a folder'):
    mesh.write_obj(tmp_path, *ball)
