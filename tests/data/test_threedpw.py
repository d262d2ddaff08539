"""3DPW pickles that the tests write, as Python 2 wrote the published ones."""

from collections.abc import Callable
import pathlib
import pickle
import re
import struct
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from diffax.body.skeletons import AMASS21
from diffax.data import amass, prepare, store, threedpw
from diffax.errors import DataError, UserError

PARENTS = AMASS21.parents
INDEX = AMASS21.joints.index
# SMPL's hands hang from its wrists.
PARENTS24 = (*PARENTS, 20, 21)
BODIES = np.random.default_rng(5).normal(scale=0.02, size=(2, 24, 3)) + (
    np.concatenate([amass.REST, [[0.08, 0, 0], [-0.08, 0, 0]]]))


def _pose(
    poses: np.ndarray, trans: np.ndarray, offsets: np.ndarray
) -> np.ndarray:
  """Return joints [F, 24, 3], one after the other, by SciPy's rotations."""
  turns = [Rotation.from_rotvec(poses[:, 0])]
  joints = [trans + offsets[0]]
  for joint, parent in enumerate(PARENTS24[1:], 1):
    joints.append(joints[parent] + turns[parent].apply(offsets[joint]))
    turns.append(turns[parent] * Rotation.from_rotvec(poses[:, joint]))
  return np.stack(joints, 1)


def _sequence(actors: int = 2, frames: int = 24, **change: Any) -> dict:
  """Return what a published file holds; None leaves a key out."""
  rng = np.random.default_rng(frames)
  found: dict[str, list] = {key: [] for key in (
      'poses_60Hz', 'trans_60Hz', 'poses', 'trans', 'jointPositions')}
  for actor in range(actors):
    poses = 0.3 * rng.normal(size=(frames, 24, 3))
    poses[:, 0] = 0.1 * poses[:, 0] + [0, actor, 0]
    trans = np.cumsum(0.01 * rng.normal(size=(frames, 3)), 0) + [2 * actor, 1,
                                                                 0]
    found['poses_60Hz'].append(poses.reshape(frames, 72))
    found['trans_60Hz'].append(trans)
    found['poses'].append(poses[::2].reshape(-1, 72))
    found['trans'].append(trans[::2])
    found['jointPositions'].append(
        _pose(poses, trans, BODIES[actor])[::2].reshape(-1, 72))
  arrays = {
      **found,
      'betas': [rng.normal(size=10) for _ in range(actors)],
      'genders': ['m', 'f'][:actors],
      'sequence': 'courtyard_test_00',
      'img_frame_ids': np.arange(0, frames, 2),
      'campose_valid': [np.ones(frames // 2, bool)] * actors,
      **change,
  }
  return {k: v for k, v in arrays.items() if v is not None}


def _python2(value: Any) -> bytes:
  """Return the opcodes that Python 2 writes for an object."""
  if isinstance(value, dict):
    return b'}' + b''.join(
        _python2(k) + _python2(v) + b's' for k, v in value.items())
  if isinstance(value, list):
    return b']' + b''.join(_python2(v) + b'a' for v in value)
  if isinstance(value, tuple):
    return b'(' + b''.join(map(_python2, value)) + b't'
  if isinstance(value, int):
    return b'J' + struct.pack('<i', value)
  if isinstance(value, (str, bytes)):
    data = value.encode('latin1') if isinstance(value, str) else value
    return b'T' + struct.pack('<i', len(data)) + data
  assert isinstance(value, np.ndarray)
  kind = value.dtype.str
  made = (b'cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n'
          + _python2((0,)) + _python2('b') + b'tR')
  dtype = (b'cnumpy\ndtype\n' + _python2((kind[1:], 0, 1)) + b'R(J\3\0\0\0'
           + _python2(kind[0]) + b'NNN' + _python2(-1) + _python2(-1)
           + _python2(0) + b'tb')
  return made + b'(' + _python2(1) + _python2(value.shape) + dtype + (
      b'I00\n' + _python2(value.tobytes()) + b'tb')


def _write(path: pathlib.Path, arrays: Any) -> pathlib.Path:
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(b'\x80\x02' + _python2(arrays) + b'.')
  return path


@pytest.fixture
def root(tmp_path: pathlib.Path) -> pathlib.Path:
  """A data set of four sequences, two of them with two actors."""
  folder = tmp_path / 'data' / '3DPW' / 'sequenceFiles'
  for name, actors, frames in (
      ('train/courtyard_a_00', 2, 24), ('train/outdoors_b_01', 1, 20),
      ('validation/outdoors_c_00', 1, 26), ('test/downtown_d_00', 2, 22)):
    _write(folder / f'{name}.pkl', _sequence(actors, frames))
  return tmp_path / 'data'


def test_both_actors_have_the_body_of_the_file(tmp_path: pathlib.Path) -> None:
  arrays = _sequence()
  path = _write(tmp_path / 'a.pkl', arrays)
  got = threedpw.read(path)
  assert len(got) == 2
  for actor, recording in enumerate(got):
    assert recording.joints == AMASS21.joints
    assert (recording.fps, recording.unit) == (60.0, 'm')
    x, y, z = np.moveaxis(_pose(
        arrays['poses_60Hz'][actor].reshape(-1, 24, 3),
        arrays['trans_60Hz'][actor], BODIES[actor])[:, :22], -1, 0)
    np.testing.assert_allclose(
        recording.positions, np.stack([x, -z, y], -1), atol=1e-9)
  offsets = threedpw.read_actors(path)[1].offsets
  assert offsets is not None
  np.testing.assert_allclose(offsets, BODIES[1, :22], atol=1e-9)


def test_a_body_is_recovered_from_noisy_joints() -> None:
  rng = np.random.default_rng(0)
  arrays = _sequence(1, 400)
  poses = arrays['poses'][0].reshape(-1, 24, 3)
  joints = arrays['jointPositions'][0].reshape(-1, 24, 3)
  noisy = joints + rng.normal(scale=0.005, size=joints.shape)
  offsets, misfit = threedpw.body_offsets(
      poses[:, :22], arrays['trans'][0], noisy[:, :22])
  np.testing.assert_allclose(offsets, BODIES[0, :22], atol=0.003)
  # Two ends of a bone, three axes each.
  assert misfit == pytest.approx(0.005 * np.sqrt(6), rel=0.15)


def test_joints_that_do_not_fit_give_way_to_the_mean_body(
    tmp_path: pathlib.Path
) -> None:
  arrays = _sequence()
  bent = arrays['jointPositions'][1].copy()
  bent[::2, 30:33] += 0.1
  arrays['jointPositions'][1] = bent
  path = _write(tmp_path / 'seq.pkl', arrays)
  clips, notes = threedpw.clips_of(path, tmp_path, 'test', 60.0)
  (note,) = notes
  found = re.fullmatch(
      'seq/1: mean body, as jointPositions stray (.*) cm from the rotations',
      note)
  assert found
  # A shift d of every other frame: d / 2 if the bone keeps its direction, and
  # d / sqrt(2) if it takes all.
  shift = 10 * np.sqrt(3)
  assert shift / 2 - 0.1 < float(found[1]) < shift / np.sqrt(2) + 0.1
  bones = np.linalg.norm(
      clips[1].positions[:, 1:] - clips[1].positions[:, PARENTS[1:]], axis=-1)
  np.testing.assert_allclose(
      bones, np.tile(np.linalg.norm(amass.REST[1:], axis=-1), (24, 1)),
      atol=1e-5)
  del arrays['jointPositions']
  _, notes = threedpw.clips_of(_write(path, arrays), tmp_path, 'test', 60.0)
  assert notes == [
      f'seq/{i}: mean body, for want of jointPositions' for i in (0, 1)]


def _side(positions: np.ndarray) -> np.ndarray:
  """Return how far the left hip is on the left, seen by who looks ahead."""
  hips = positions[:, INDEX('LHip')] - positions[:, INDEX('RHip')]
  ahead = positions[:, INDEX('LFoot')] - positions[:, INDEX('LHeel')]
  up = positions[:, INDEX('Head')] - positions[:, INDEX('Pelvis')]
  return np.einsum('fi,fi->f', np.cross(up, ahead), hips)


def test_upright_keeps_sides_and_released_mirrors(
    tmp_path: pathlib.Path
) -> None:
  poses = np.zeros((8, 24, 3))
  # A quarter turn about Z lifts the left arm, which points along X.
  poses[:, 16] = (0, 0, np.pi / 2)
  path = _write(tmp_path / 'a.pkl', _sequence(
      1, 8, poses_60Hz=[poses.reshape(8, 72)], jointPositions=None))
  (upright,), (released,) = (
      threedpw.read(path, axes=axes) for axes in threedpw.AXES)
  for recording in (upright, released):
    # Z is up in both, and left is on the left.
    height = recording.positions[:, INDEX('Head'), 2] - (
        recording.positions[:, INDEX('LHeel'), 2])
    assert (height > 1.2).all()
    assert (_side(recording.positions) > 0).all()
  wrists = [INDEX('LWrist'), INDEX('RWrist')]
  left, right = upright.positions[0, wrists, 2] - (
      upright.positions[0, INDEX('Neck'), 2])
  assert left > 0.4 and abs(right) < 0.2
  left, right = released.positions[0, wrists, 2] - (
      released.positions[0, INDEX('Neck'), 2])
  assert right > 0.4 and abs(left) < 0.2


def test_released_axes_are_the_published_permutations() -> None:
  positions = np.random.default_rng(0).normal(size=(5, 22, 3))
  sides = [0, 2, 1, 3, 5, 4, 6, 8, 7, 9, 11, 10, 12, 14, 13, 15, 17, 16, 19,
           18, 21, 20]
  expected = np.stack(
      [positions[..., 0], positions[..., 2], positions[..., 1]], -1)[:, sides]
  np.testing.assert_array_equal(
      threedpw.to_z_up(positions, 'released'), expected)
  # The two differ by a mirror of Y and the exchange of sides.
  np.testing.assert_array_equal(
      threedpw.to_z_up(positions, 'upright')[:, sides] * [1, -1, 1], expected)


@pytest.mark.filterwarnings('default')
@pytest.mark.parametrize('count', [24, 52])
def test_a_body_model_goes_before_the_files_own_body(
    tmp_path: pathlib.Path, count: int
) -> None:
  rng = np.random.default_rng(1)
  parents = np.array(PARENTS24) if count == 24 else (
      np.array(amass.AMASS51.parents))
  template = np.zeros((60, 3))
  for joint, parent in enumerate(parents):
    template[joint] = (
        amass.REST[joint] if joint < 22 else rng.normal(scale=0.02, size=3)
    ) + (template[parent] if joint else 0)
  shapes = {}
  for gender in ('male', 'female'):
    shapes[gender] = rng.normal(scale=0.004, size=(60, 3, 10))
    path = tmp_path / 'model' / gender / 'model.npz'
    path.parent.mkdir(parents=True)
    np.savez(
        path, v_template=template, f=np.arange(60).reshape(20, 3),
        weights=np.full((60, count), 1 / count), shapedirs=shapes[gender],
        posedirs=np.zeros((60, 3, 9 * (count - 1))),
        J_regressor=np.eye(count, 60),
        kintree_table=np.array([parents % 2**32, np.arange(count)]))
  arrays = _sequence()
  path = _write(tmp_path / 'a.pkl', arrays)
  for actor, gender in enumerate(('male', 'female')):
    rest = template[:22] + shapes[gender][:22] @ arrays['betas'][actor]
    offsets = rest - np.concatenate([[[0, 0, 0]], rest[list(PARENTS[1:])]])
    x, y, z = np.moveaxis(_pose(
        arrays['poses_60Hz'][actor].reshape(-1, 24, 3),
        arrays['trans_60Hz'][actor],
        np.concatenate([offsets, np.zeros((2, 3))]))[:, :22], -1, 0)
    got = threedpw.read(path, tmp_path / 'model')[actor]
    np.testing.assert_allclose(
        got.positions, np.stack([x, -z, y], -1), atol=1e-5)
  with pytest.raises(UserError, match='male/model.npz'):
    threedpw.read(path, tmp_path)


def test_code_in_a_pickle_is_not_run(tmp_path: pathlib.Path) -> None:
  class Trap:
    """Write a file when unpickled."""

    def __reduce__(self) -> tuple:
      return (pathlib.Path.write_text, (tmp_path / 'sprung', 'x'))

  path = tmp_path / 'trap.pkl'
  path.write_bytes(pickle.dumps({**_sequence(), 'texture_maps': Trap()}))
  with pytest.raises(DataError, match='no array'):
    threedpw.read(path)
  # The name that Python 2 has for the same kind of mischief.
  path.write_bytes(b"\x80\x02cposix\nsystem\n(U\x04exittR.")
  with pytest.raises(DataError, match='posix.system is no array'):
    threedpw.read(path)
  assert not (tmp_path / 'sprung').exists()


def test_a_number_in_a_pickle_takes_no_memory(tmp_path: pathlib.Path) -> None:
  path = _write(tmp_path / 'a.pkl', _sequence(1, 4))
  whole = path.read_bytes()
  # LONG_BINPUT: the list on the stack becomes entry 1,000,000,000.
  path.write_bytes(whole[:3] + b'r' + struct.pack('<I', 10**9) + whole[3:])
  with pytest.raises(DataError, match='no entry'):
    threedpw.read(path)
  path.write_bytes(whole[:3] + b'r' + struct.pack('<I', 2) + whole[3:])
  assert len(threedpw.read(path)) == 1


def test_reads_pickles_of_python_3(tmp_path: pathlib.Path) -> None:
  arrays = _sequence()
  old = threedpw.read(_write(tmp_path / 'a.pkl', arrays))
  for protocol in (0, 2, pickle.HIGHEST_PROTOCOL):
    path = tmp_path / f'{protocol}.pkl'
    path.write_bytes(pickle.dumps(arrays, protocol))
    new = threedpw.read(path)
    for one, other in zip(old, new, strict=True):
      np.testing.assert_array_equal(one.positions, other.positions)


@pytest.mark.parametrize('genders', [
    ['m', 'f'], ['M', 'Female'], [b'male', b'f'], [np.array('m'), "b'female'"],
])
def test_reads_gender_in_every_spelling(
    tmp_path: pathlib.Path, genders: list
) -> None:
  path = tmp_path / 'a.pkl'
  path.write_bytes(pickle.dumps(_sequence(genders=genders)))
  assert [actor.motion.gender for actor in threedpw.read_actors(path)] == [
      'male', 'female']


def _one(key: str, value: Any) -> dict:
  """Change the second actor's entry of a key."""
  return {key: [_sequence()[key][0], value]}


@pytest.mark.parametrize('change, field', [
    ({'poses_60Hz': None}, 'poses_60Hz'),
    ({'trans_60Hz': None}, 'trans_60Hz'),
    ({'betas': None}, 'betas'),
    ({'genders': None}, 'genders'),
    ({'poses_60Hz': []}, 'poses_60Hz'),
    ({'poses_60Hz': 'none'}, 'poses_60Hz'),
    ({'genders': ['m']}, 'genders'),
    ({'genders': ['m', 'x']}, 'genders, actor 1'),
    ({'genders': 'mf'}, 'genders'),
    ({'betas': [np.zeros(10)] * 3}, 'betas'),
    (_one('betas', np.full(10, np.nan)), 'betas, actor 1'),
    (_one('poses_60Hz', np.zeros((24, 66))), 'poses_60Hz, actor 1'),
    (_one('poses_60Hz', np.zeros((24, 24, 3))), 'poses_60Hz, actor 1'),
    (_one('poses_60Hz', np.full((24, 72), np.nan)), 'poses_60Hz, actor 1'),
    (_one('poses_60Hz', np.zeros((30, 72))), 'trans_60Hz, actor 1'),
    (_one('trans_60Hz', np.zeros((23, 3))), 'trans_60Hz, actor 1'),
    (_one('trans_60Hz', np.full((24, 3), np.inf)), 'trans_60Hz, actor 1'),
    (_one('trans_60Hz', 'here'), 'trans_60Hz, actor 1'),
    (_one('trans_60Hz', [[1, 2, 3], [4]]), 'trans_60Hz, actor 1'),
    (_one('jointPositions', np.zeros((12, 66))), 'jointPositions, actor 1'),
    (_one('jointPositions', np.full((12, 72), np.nan)),
     'jointPositions, actor 1'),
    (_one('poses', np.zeros((24, 72))), 'poses, actor 1'),
    ({'frames': 1}, 'frames'),
    # Half a turn about X stands everybody on the head.
    ({'poses_60Hz': [np.tile([np.pi] + 71 * [0.0], (24, 1))] * 2},
     'poses_60Hz, actor 0'),
])
def test_refuses_a_bad_file(
    tmp_path: pathlib.Path, change: dict[str, Any], field: str
) -> None:
  path = tmp_path / 'a.pkl'
  path.write_bytes(pickle.dumps(_sequence(**change)))
  with pytest.raises(DataError) as caught:
    threedpw.read(path)
  assert caught.value.field == field
  assert caught.value.file == str(path)


@pytest.mark.parametrize('data', [
    b'', b'no pickle', pickle.dumps([1, 2]), pickle.dumps(_sequence())[:-40],
    pickle.dumps({1: 2}),
])
def test_refuses_what_is_no_sequence(
    tmp_path: pathlib.Path, data: bytes
) -> None:
  path = tmp_path / 'a.pkl'
  path.write_bytes(data)
  with pytest.raises(DataError):
    threedpw.read(path)


def test_prepares_a_store(root: pathlib.Path, tmp_path: pathlib.Path) -> None:
  out = tmp_path / 'store'
  manifest = prepare.prepare('3dpw', root, out, fps=60)
  clips, again = store.read(out)
  assert again == manifest
  assert store.skeleton_of(manifest) == AMASS21
  assert [(c.name, c.label, c.split, len(c.positions)) for c in clips] == [
      ('courtyard_a_00/0', 'courtyard_a_00', 'test', 24),
      ('courtyard_a_00/1', 'courtyard_a_00', 'test', 24),
      ('outdoors_b_01/0', 'outdoors_b_01', 'test', 20),
      ('outdoors_c_00/0', 'outdoors_c_00', 'test', 26),
      ('downtown_d_00/0', 'downtown_d_00', 'test', 22),
      ('downtown_d_00/1', 'downtown_d_00', 'test', 22),
  ]
  assert clips[0].file == 'train/courtyard_a_00.pkl'
  assert 'expected' not in manifest
  assert (manifest['sequences'], manifest['published_sequences']) == (4, 60)
  assert manifest['cuts'] == []
  path = root / '3DPW' / 'sequenceFiles' / 'train' / 'courtyard_a_00.pkl'
  for clip, recording in zip(clips, threedpw.read(path)):
    np.testing.assert_allclose(
        clip.positions, recording.positions, atol=1e-6)
  assert not np.allclose(clips[0].positions, clips[1].positions, atol=0.5)


def test_prepares_what_the_release_keeps(
    root: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  manifest = prepare.prepare(
      '3dpw', root, tmp_path / 's', axes='released', actors='last',
      split='folder')
  clips, _ = store.read(tmp_path / 's')
  assert [(clip.name, clip.split) for clip in clips] == [
      ('courtyard_a_00/1', 'train'), ('outdoors_b_01/0', 'train'),
      ('outdoors_c_00/0', 'val'), ('downtown_d_00/1', 'test')]
  assert manifest['expected'] == {'clips': 60}
  path = root / '3DPW' / 'sequenceFiles' / 'test' / 'downtown_d_00.pkl'
  np.testing.assert_allclose(
      clips[-1].positions, threedpw.read(path, axes='released')[1].positions,
      atol=1e-6)


def test_refuses_wrong_settings(
    root: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  for name in ('axes', 'actors', 'split'):
    with pytest.raises(UserError, match=f'{name}: expected .* found .sideways'):
      prepare.prepare('3dpw', root, tmp_path / 's', **{name: 'sideways'})
  with pytest.raises(UserError, match='sideways'):
    threedpw.read(
        root / '3DPW/sequenceFiles/test/downtown_d_00.pkl', axes='sideways')
  with pytest.raises(DataError, match='sequenceFiles'):
    prepare.prepare('3dpw', tmp_path / 'nowhere', tmp_path / 's')
  (tmp_path / 'empty' / 'train').mkdir(parents=True)
  with pytest.raises(DataError, match='pickles'):
    prepare.prepare('3dpw', tmp_path / 'empty', tmp_path / 's')


LIST = """name,init,pred_init,pred_end
courtyard_a_00,0,30,149
courtyard_a_00,30,60,179
outdoors_b_01,0,30,149
"""


def _manifest(**frames: int) -> dict[str, Any]:
  """Return what `compare_segments` reads of a store of both actors."""
  return {'fps': 60.0, 'clips': [
      {'name': f'{name}/{actor}', 'label': name, 'split': 'train',
       'frames': count} for name, count in frames.items()
      for actor in (0, 1)]}


def test_compares_with_the_published_list(tmp_path: pathlib.Path) -> None:
  path = tmp_path / 'segments_test_zero_shot.csv'
  path.write_text(LIST)
  published = threedpw.read_segments(path)
  assert published[1] == ('courtyard_a_00', 30, 60, 180)
  manifest = _manifest(courtyard_a_00=209, outdoors_b_01=150, short_00=149)
  # One actor of each sequence counts, as in the release.
  assert threedpw.count_segments(manifest) == {
      'courtyard_a_00': 2, 'outdoors_b_01': 1}
  got = threedpw.compare_segments(manifest, published)
  assert got.generated == got.published == {
      'courtyard_a_00': 2, 'outdoors_b_01': 1}
  assert (got.differing, got.difference) == (0, '')
  got = threedpw.compare_segments(
      _manifest(courtyard_a_00=210, outdoors_b_01=150), published)
  assert got.difference == (
      'courtyard_a_00 (210 frames): published 2, generated 3; only generated: '
      'frames 60 to 209')
  with pytest.raises(UserError, match='found 30'):
    threedpw.count_segments({**manifest, 'fps': 30.0})
  with pytest.raises(UserError, match='segments'):
    threedpw.compare_segments(manifest, [])
  path.write_text(LIST.replace('pred_init', 'start'))
  with pytest.raises(DataError, match='pred_init'):
    threedpw.read_segments(path)
  path.write_text(LIST.replace('60,179', '60,178'))
  with pytest.raises(DataError, match='line 3'):
    threedpw.read_segments(path)


def test_survives_damage(
    tmp_path: pathlib.Path, mutate: Callable[[bytes, int], bytes],
    survives: Callable[[Callable[[], object]], bool]
) -> None:
  path = _write(tmp_path / 'a.pkl', _sequence(2, 4))
  whole = path.read_bytes()
  read = []
  for seed in range(200):
    path.write_bytes(mutate(whole, seed))
    read.append(survives(lambda: threedpw.read(path)))
  assert 0 < sum(read) < len(read)
