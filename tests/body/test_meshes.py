"""Bodies fitted to joints, on model files that the tests write."""

import importlib.util
import pathlib

import numpy as np
import pytest

from diffax.body import kinematics
from diffax.body import meshes
from diffax.body.skeletons import AMASS21
from diffax.errors import DataError
from diffax.errors import UserError

_SPEC = importlib.util.spec_from_file_location(
    'tubes', pathlib.Path(__file__).with_name('tubes.py')
)
tubes = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(tubes)

NAMES = AMASS21.joints


@pytest.fixture(scope='module', params=[24, 52], ids=['smpl', 'smplh'])
def model(request, tmp_path_factory):
  suffix = {24: 'pkl', 52: 'npz'}[request.param]
  path = tmp_path_factory.mktemp('model') / f'model.{suffix}'
  return meshes.load(tubes.write(path, request.param))


def _random(seed=0, frames=30, scale=0.5):
  rng = np.random.default_rng(seed)
  turns = kinematics.axis_angle(rng.normal(scale=scale, size=(frames, 22, 3)))
  return turns, rng.normal(size=(frames, 3))


def _joints(model, turns, root, shape=None):
  shape = np.zeros(10) if shape is None else shape
  return kinematics.forward(
      turns, model.offsets(shape), AMASS21.parents, root
  )[0]


def _still(frames=1):
  return np.tile(np.eye(3), (frames, 22, 1, 1))


def _bend(turns, name, vector):
  turns[:, NAMES.index(name)] = kinematics.axis_angle(np.array(vector))


def test_joints_of_the_mean_body_come_back_within_a_micrometre(model):
  joints = _joints(model, *_random())
  body = meshes.fit(joints, model)
  np.testing.assert_allclose(body.joints, joints, atol=1e-6)
  assert body.gap < 1e-6
  np.testing.assert_allclose(body.shape, 0, atol=1e-6)


def test_joints_of_another_shape_come_back_within_millimetres(model):
  shape = np.random.default_rng(1).normal(size=10)
  joints = _joints(model, *_random(), shape)
  body = meshes.fit(joints, model)
  assert body.gap < 0.006
  assert np.linalg.norm(body.joints - joints, axis=-1).mean() < 0.003
  # Unlike without the shape, and exactly where it is known.
  assert meshes.fit(joints, model, np.zeros(10)).gap > 2 * body.gap
  assert meshes.fit(joints, model, shape).gap < 1e-6
  assert abs(body.shape[0] - shape[0]) < 0.5


def test_the_gap_is_the_farthest_joint(model):
  joints = _joints(model, *_random())
  # Longer by 3 cm than any other frame has it: only the wrist can be off.
  wrist, elbow = NAMES.index('LWrist'), NAMES.index('LElbow')
  bone = joints[7, wrist] - joints[7, elbow]
  joints[7, wrist] += 0.03 * bone / np.linalg.norm(bone)
  body = meshes.fit(joints, model)
  assert body.gap == pytest.approx(0.03, abs=1e-4)
  off = np.linalg.norm(body.joints - joints, axis=-1)
  assert np.unravel_index(off.argmax(), off.shape) == (7, wrist)
  assert np.sort(off.ravel())[-2] < 1e-3


def test_an_error_does_not_run_down_a_limb(model):
  joints = _joints(model, *_random(2))
  joints[5, NAMES.index('LHip')] += [0.02, 0, 0]
  body = meshes.fit(joints, model, np.zeros(10))
  off = np.linalg.norm(body.joints - joints, axis=-1)[5]
  # Bones in the given directions would put all of the leg as far off.
  assert off[NAMES.index('LHip')] > 0.01
  assert off[NAMES.index('LHeel')] < 0.005


def test_rotations_make_the_joints(model):
  noise = np.random.default_rng(3).normal(scale=0.02, size=(30, 22, 3))
  joints = _joints(model, *_random(3)) + noise
  body = meshes.fit(joints, model)
  np.testing.assert_allclose(np.linalg.det(body.rotations), 1, atol=1e-9)
  np.testing.assert_allclose(
      body.rotations @ np.swapaxes(body.rotations, -1, -2), _still(30),
      atol=1e-9,
  )
  made = _joints(model, body.rotations, joints[:, 0], body.shape)
  np.testing.assert_allclose(made, body.joints, atol=1e-9)
  assert np.array_equal(body.joints[:, 0], joints[:, 0])


def _about_bone(model, turns, name, end, angle):
  bone = model.offsets(np.zeros(10))[NAMES.index(end)]
  _bend(turns, name, angle * bone / np.linalg.norm(bone))


@pytest.mark.parametrize('upper, lower, axis', [
    ('LShoulder', 'LElbow', (0, -1, 0)), ('RShoulder', 'RElbow', (0, 1, 0)),
    ('LHip', 'LKnee', (1, 0, 0)), ('RHip', 'RKnee', (1, 0, 0)),
])
def test_hinges_tell_how_a_limb_turns_about_itself(model, upper, lower, axis):
  for bend in (0.5, 1.0, 1.5):
    for angle in (-1.0, 0.4, 0.9):
      turns = _still()
      _bend(turns, 'Pelvis', [0.2, 1.0, 0.1])
      _about_bone(model, turns, upper, lower, angle)
      _bend(turns, lower, bend * np.array(axis))
      joints = _joints(model, turns, np.zeros((1, 3)))
      found = meshes.fit(joints, model).rotations[0]
      joint = NAMES.index(upper)
      # The norm of the difference is sqrt(8) sin(angle / 2).
      off = np.linalg.norm(found[joint] - turns[0, joint])
      # Without the rule it would be off by the whole angle, 23 degrees up.
      assert 2 * np.arcsin(off / np.sqrt(8)) < np.deg2rad(15)


def test_pure_bends_and_rest_turn_no_limb_about_itself(model):
  turns = _still(3)
  _bend(turns[1:2], 'LElbow', [0, -1.0, 0])
  _bend(turns[2:], 'RKnee', [1.2, 0, 0])
  found = meshes.fit(_joints(model, turns, np.zeros((3, 3))), model).rotations
  upper = [NAMES.index(n) for n in ('LShoulder', 'RShoulder', 'LHip', 'RHip')]
  np.testing.assert_allclose(found[:, upper], turns[:, upper], atol=1e-6)
  np.testing.assert_allclose(found[0], turns[0], atol=1e-6)


def test_the_spine_shares_the_turn_of_the_chest(model):
  turns = _still()
  _about_bone(model, turns, 'Neck', 'Neck', 0.9)
  found = meshes.fit(_joints(model, turns, np.zeros((1, 3))), model)
  assert found.gap < 1e-6
  for name in ('Spine1', 'Spine3', 'Neck'):
    turn = found.rotations[0, NAMES.index(name)]
    angle = np.arccos((np.trace(turn) - 1) / 2)
    assert angle == pytest.approx(0.3, abs=0.06)


def test_limbs_that_point_backwards_have_proper_rotations(model):
  offsets = model.offsets(np.zeros(10))
  joints = np.zeros((2, 22, 3))
  for joint, parent in enumerate(AMASS21.parents[1:], 1):
    joints[0, joint] = joints[0, parent] - offsets[joint]
  # And all joints in one place, which shows no direction.
  body = meshes.fit(joints, model, np.zeros(10))
  assert np.isfinite(body.rotations).all()
  np.testing.assert_allclose(np.linalg.det(body.rotations), 1, atol=1e-9)


def test_the_skin_follows_the_joints(model):
  turns, root = _random(4, frames=40)
  body = meshes.fit(_joints(model, turns, root), model)
  skin = meshes.vertices(body, model)
  assert skin.shape == (40, model.skin.num_vertices, 3)
  assert skin.dtype == np.float32
  # The first vertices are the joints; the pose moves the skin by millimetres.
  np.testing.assert_allclose(skin[:, :22], body.joints, atol=0.01)
  one = meshes.vertices(
      body._replace(
          rotations=body.rotations[33:34], joints=body.joints[33:34]
      ), model)
  np.testing.assert_allclose(skin[33:34], one, atol=1e-6)


def test_skin_and_joints_agree_with_the_package(tmp_path):
  still = np.zeros((len(tubes.arrays()['v_template']), 3, 459))
  model = meshes.load(tubes.write(tmp_path / 'm.npz', posedirs=still))
  shape = np.random.default_rng(5).normal(size=10)
  turns, root = _random(5, frames=4)
  body = meshes.fit(_joints(model, turns, root, shape), model)
  skin = meshes.vertices(body, model)
  np.testing.assert_allclose(skin[:, :22], body.joints, atol=1e-5)
  # A vertex on the tube of the left thigh, by hand.
  data = tubes.arrays()
  hip = NAMES.index('LHip')
  first = np.flatnonzero(data['weights'][:, hip] == 1)[5]
  rest = data['v_template'][first]
  rest = rest + data['shapedirs'][first, :, :10] @ body.shape
  anchor = (model.joints + model.directions @ body.shape)[hip]
  whole = body.rotations[:, 0] @ body.rotations[:, hip]
  np.testing.assert_allclose(
      skin[:, first], body.joints[:, hip] + whole @ (rest - anchor), atol=1e-5
  )


def test_the_axis_that_is_up_does_not_matter(model):
  turns, root = _random(6)
  joints = _joints(model, turns, root)
  tilt = kinematics.axis_angle(np.array([np.pi / 2, 0, 0]))
  first = meshes.vertices(meshes.fit(joints, model), model)
  second = meshes.vertices(meshes.fit(joints @ tilt.T, model), model)
  np.testing.assert_allclose(second, first @ tilt.T, atol=1e-4)


def test_folders_are_searched_the_neutral_body_first(tmp_path):
  names = ('a/basicmodel_m_lbs_10_207_0_v1.1.0.pkl', 'b/SMPL_MALE.pkl',
           'SMPLH_FEMALE.pkl', 'c/SMPL_NEUTRAL.npz', 'neutral/model.npz')
  found = []
  for name in names:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b'')
    (tmp_path / 'SMPL_NEUTRAL.txt').write_bytes(b'')
    found.append(meshes.find(tmp_path).relative_to(tmp_path).as_posix())
  # The male body is preferred to the female one, SMPL-H to SMPL.
  assert found == [names[0], names[1], names[1], names[3], names[4]]
  assert meshes.find(tmp_path / names[0]) == tmp_path / names[0]


@pytest.mark.parametrize('name', ['no.npz', 'empty', 'deep/no.pkl'])
def test_a_missing_file_is_named_with_where_to_get_it(tmp_path, name):
  (tmp_path / 'empty').mkdir()
  with pytest.raises(UserError) as caught:
    meshes.load(tmp_path / name)
  assert str(tmp_path / name) in str(caught.value)
  assert 'https://smpl.is.tue.mpg.de' in str(caught.value)


def _broken(key, index, value):
  array = np.array(tubes.arrays()[key], float)
  array[index] = value
  return {key: array}


@pytest.mark.parametrize('change, message', [
    ({'weights': None}, 'body model: expected a model file .*weights'),
    ({'shapedirs': np.zeros((9, 3, 10))}, 'expected a model file'),
    ({'kintree_table': np.array([[0, *range(51)], range(52)])},
     'kintree_table: expected parents'),
    ({'f': np.array([[0, 1, 99999]])}, 'f: expected triangles'),
    (_broken('v_template', 3, np.nan), 'v_template: expected finite'),
    (_broken('shapedirs', (3, 0, 2), np.inf), 'v_template: expected finite'),
])
def test_a_damaged_file_is_named(tmp_path, change, message):
  path = tubes.write(tmp_path / 'bad.npz', **change)
  with pytest.raises(DataError, match=message) as caught:
    meshes.load(path)
  assert caught.value.file == str(path)


@pytest.mark.parametrize('suffix', ['npz', 'pkl', 'txt'])
def test_a_file_of_something_else_is_named(tmp_path, suffix):
  path = tmp_path / f'bad.{suffix}'
  path.write_bytes(b'no model')
  with pytest.raises(DataError, match='a model file of SMPL or SMPL-H'):
    meshes.load(path)


@pytest.mark.parametrize('joints, message', [
    (np.zeros((5, 21, 3)), r'expected .frames, 22, 3. .* found .5, 21, 3.'),
    (np.zeros((0, 22, 3)), 'found .0, 22, 3.'),
    (np.full((3, 22, 3), np.nan), 'NaN or infinity in frame 0'),
])
def test_joints_of_no_body_are_named(model, joints, message):
  with pytest.raises(UserError, match=message):
    meshes.fit(joints, model)
