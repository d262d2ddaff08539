"""AMASS npz files that the tests write, with and without a body model."""

import pathlib
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from diffax.data import amass, prepare, store
from diffax.errors import DataError, UserError

PARENTS = amass.AMASS21.parents


def _write(path: pathlib.Path, frames: int = 12, **change: Any) -> pathlib.Path:
  """Write a file of the published layout; None leaves a key out."""
  rng = np.random.default_rng(0)
  arrays: dict[str, Any] = {
      'poses': rng.normal(scale=0.3, size=(frames, 156)),
      'trans': np.cumsum(rng.normal(scale=0.01, size=(frames, 3)), 0),
      'betas': rng.normal(size=16),
      'gender': np.array('female'),
      'mocap_framerate': np.array(120.0),
      'dmpls': np.zeros((frames, 8)),
  }
  arrays.update(change)
  path.parent.mkdir(parents=True, exist_ok=True)
  np.savez(path, **{k: v for k, v in arrays.items() if v is not None})
  return path


def _model(path: pathlib.Path, count: int = 52) -> pathlib.Path:
  """Write an SMPL-H (or SMPL) model of 60 vertices with the published keys."""
  rng = np.random.default_rng(1)
  parents = list(PARENTS) + [20, 22, 23, 20, 25, 26, 20, 28, 29, 20, 31, 32,
                             20, 34, 35, 21, 37, 38, 21, 40, 41, 21, 43, 44,
                             21, 46, 47, 21, 49, 50]
  parents = parents[:count]
  template = np.zeros((60, 3))
  for joint, parent in enumerate(parents[:22]):
    template[joint] = amass.REST[joint] + (template[parent] if joint else 0)
  template[22:] = rng.normal(scale=0.03, size=(38, 3))
  for joint, parent in enumerate(parents[22:], 22):
    template[joint] += template[parent]
  weights = rng.random((60, count))
  path.parent.mkdir(parents=True, exist_ok=True)
  np.savez(
      path, v_template=template, f=np.arange(60).reshape(20, 3),
      weights=weights / weights.sum(1, keepdims=True),
      shapedirs=rng.normal(scale=0.003, size=(60, 3, 16)),
      posedirs=np.zeros((60, 3, 9 * (count - 1))),
      J_regressor=np.eye(count, 60),
      kintree_table=np.array([[2**32 - 1, *parents[1:]], range(count)]),
      hands_meanl=rng.normal(size=45), hands_meanr=rng.normal(size=45))
  return path


def test_mean_body_follows_the_angles(tmp_path: pathlib.Path) -> None:
  path = _write(tmp_path / 'a.npz')
  got = amass.read(path)
  motion = np.load(path)
  assert got.joints == amass.AMASS21.joints
  assert (got.fps, got.unit, got.positions.shape) == (120.0, 'm', (12, 22, 3))
  # One chain by hand: the left ankle of frame 5.
  turn = Rotation.identity()
  place = motion['trans'][5] + amass.REST[0]
  angles = motion['poses'][5].reshape(52, 3)
  for joint in (0, 1, 4, 7):
    if joint:
      place = place + turn.apply(amass.REST[joint])
    turn = turn * Rotation.from_rotvec(angles[joint])
  np.testing.assert_allclose(got.positions[5, 7], place, atol=1e-9)


def test_mean_body_stands_like_a_person() -> None:
  rest = np.zeros((22, 3))
  for joint, parent in enumerate(PARENTS[1:], 1):
    rest[joint] = rest[parent] + amass.REST[joint]
  names = amass.AMASS21.joints
  assert 1.3 < np.ptp(rest[:, 1]) < 1.6
  assert rest[names.index('LWrist'), 0] > 0.6
  assert rest[names.index('RWrist'), 0] < -0.6
  assert rest[names.index('LFoot'), 2] > rest[names.index('LHeel'), 2]


@pytest.mark.parametrize('gender', [
    np.array('female'), np.array(b'female'), np.array("b'female'"),
    np.array(['Female']),
])
def test_reads_gender_in_every_spelling(
    tmp_path: pathlib.Path, gender: np.ndarray
) -> None:
  path = _write(tmp_path / 'a.npz', gender=gender)
  assert amass.read_parameters(path).gender == 'female'


def test_reads_frame_rates(tmp_path: pathlib.Path) -> None:
  path = _write(tmp_path / 'a.npz',
                mocap_framerate=np.array(120.00004577636719))
  assert amass.read_parameters(path).fps == 120.0
  path = _write(tmp_path / 'b.npz', mocap_framerate=np.array(59.94))
  assert amass.read_parameters(path).fps == 59.94
  path = _write(tmp_path / 'c.npz', mocap_framerate=None,
                mocap_frame_rate=np.array([100]))
  assert amass.read_parameters(path).fps == 100.0


@pytest.mark.filterwarnings('default')
def test_body_model_shapes_the_body(tmp_path: pathlib.Path) -> None:
  _model(tmp_path / 'smplh' / 'female' / 'model.npz')
  path = _write(tmp_path / 'a.npz')
  got = amass.read(path, tmp_path / 'smplh')
  # The package's own posing of all 52 joints is the oracle.
  from body_models.smplh.numpy import SMPLH
  model = SMPLH(model_path=tmp_path / 'smplh' / 'female' / 'model.npz',
                flat_hand_mean=True)
  motion = np.load(path)
  poses = motion['poses'].reshape(12, 52, 3).astype(np.float32)
  expected = model.forward_skeleton(
      poses[:, 1:22], poses[:, 22:], pelvis_rotation=poses[:, 0],
      shape=np.tile(motion['betas'].astype(np.float32), (12, 1)),
      global_translation=motion['trans'].astype(np.float32))
  np.testing.assert_allclose(
      got.positions, np.asarray(expected)[:, :22, :3, 3], atol=1e-5)
  hands = amass.read(path, tmp_path / 'smplh', hands=True)
  assert hands.joints == amass.AMASS51.joints
  np.testing.assert_allclose(
      hands.positions, np.asarray(expected)[..., :3, 3], atol=1e-5)
  plain = amass.read(path)
  assert np.abs(plain.positions - got.positions).max() > 1e-3


def test_hands_need_a_body_with_fingers(tmp_path: pathlib.Path) -> None:
  path = _write(tmp_path / 'a.npz')
  with pytest.raises(UserError, match='hands: expected body_model'):
    amass.read(path, hands=True)
  with pytest.raises(UserError, match='hands: expected body_model'):
    list(amass.jobs(tmp_path, 60.0, hands=True))
  short = _write(tmp_path / 'b.npz', poses=np.zeros((12, 66)))
  assert amass.read(short).positions.shape == (12, 22, 3)
  with pytest.raises(DataError, match='leave hands out'):
    amass.read_parameters(short, hands=True)


@pytest.mark.filterwarnings('default')
def test_smpl_has_a_body_but_no_fingers(tmp_path: pathlib.Path) -> None:
  path = _write(tmp_path / 'a.npz')
  smpl = _model(tmp_path / 'smpl.npz', 24)
  betas = np.load(path)['betas']
  model = np.load(smpl)
  # The regressor picks the first vertices.
  rest = model['v_template'][:22] + model['shapedirs'][:22] @ betas
  offsets = amass.rest_offsets(smpl, betas)
  np.testing.assert_allclose(
      offsets[1:], rest[1:] - rest[list(PARENTS[1:])], atol=1e-6)
  np.testing.assert_allclose(offsets[0], rest[0], atol=1e-6)
  with pytest.raises(DataError, match='Fingers need SMPL-H'):
    amass.read(path, smpl, hands=True)
  with pytest.raises(DataError, match='30 joints'):
    amass.read(path, _model(tmp_path / 'odd.npz', 30))


@pytest.mark.filterwarnings('default')
def test_prepares_hands(tmp_path: pathlib.Path) -> None:
  model = _model(tmp_path / 'smplh.npz')
  path = _write(tmp_path / 'AMASS' / 'GRAB' / 's1' / 'cup_lift_poses.npz')
  out = tmp_path / 'store'
  with pytest.raises(UserError, match='hands'):
    prepare.prepare('amass', tmp_path, out, hands=True)
  prepare.prepare('amass', tmp_path, out, hands=True, body_model=str(model))
  (clip,), manifest = store.read(out)
  assert store.skeleton_of(manifest) == amass.AMASS51
  np.testing.assert_allclose(
      clip.positions, amass.read(path, model, hands=True).positions[::2],
      atol=1e-5)


@pytest.mark.filterwarnings('default')
def test_names_the_body_model_that_is_missing(tmp_path: pathlib.Path) -> None:
  path = _write(tmp_path / 'a.npz')
  with pytest.raises(UserError, match='female/model.npz'):
    amass.read(path, tmp_path)
  (tmp_path / 'bad.npz').write_bytes(b'no model')
  with pytest.raises(DataError, match='SMPL-H'):
    amass.read(path, tmp_path / 'bad.npz')
  _write(tmp_path / 'other.npz')
  with pytest.raises(DataError, match='SMPL-H'):
    amass.read(path, tmp_path / 'other.npz')


@pytest.mark.parametrize('change, field', [
    ({'poses': None}, 'poses'),
    ({'trans': None}, 'trans'),
    ({'mocap_framerate': None}, 'mocap_framerate'),
    ({'poses': np.zeros((12, 63))}, 'poses'),
    ({'poses': np.zeros((12, 52, 3))}, 'poses'),
    ({'poses': np.full((12, 156), np.nan)}, 'poses'),
    ({'trans': np.zeros((11, 3))}, 'trans'),
    ({'trans': np.full((12, 3), np.inf)}, 'trans'),
    ({'trans': np.full((12, 3), 'x')}, 'trans'),
    ({'mocap_framerate': np.array(0.0)}, 'mocap_framerate'),
    ({'mocap_framerate': np.array(-120.0)}, 'mocap_framerate'),
    ({'mocap_framerate': np.array([60.0, 60.0])}, 'mocap_framerate'),
    ({'gender': np.array('robot')}, 'gender'),
    ({'betas': np.array([np.nan])}, 'betas'),
    ({'frames': 1}, 'frames'),
])
def test_refuses_a_bad_file(
    tmp_path: pathlib.Path, change: dict[str, Any], field: str
) -> None:
  path = _write(tmp_path / 'a.npz', **change)
  with pytest.raises(DataError) as caught:
    amass.read(path)
  assert caught.value.field == field
  assert caught.value.file == str(path)


@pytest.mark.parametrize('fps, step', [
    (60.0, 1), (120.0, 2), (100.0, 2), (150.0, 2), (250.0, 4), (59.94, 1),
    (30.0, 1),
])
def test_keeps_every_nth_frame_as_published(fps: float, step: int) -> None:
  assert amass.keep_every(fps, 60.0) == step


def test_split_is_the_published_one() -> None:
  sets = [name for names in amass.SPLIT.values() for name in names]
  assert [len(names) for names in amass.SPLIT.values()] == [11, 4, 7]
  assert len(set(sets)) == 22
  assert sum(amass.TEST_SEGMENTS.values()) == 12727
  assert set(amass.TEST_SEGMENTS) == set(amass.SPLIT['test'])


def test_finds_sets_and_leaves_shapes_out(tmp_path: pathlib.Path) -> None:
  root = tmp_path / 'AMASS'
  _write(root / 'BioMotionLab_NTroje' / 'rub001' / '0000_run_poses.npz')
  _write(root / 'SSM_synced' / 'p1' / 'kick_poses.npz', frames=9)
  _write(root / 'SSM_synced' / 'p1' / 'shape.npz', poses=None)
  _write(root / 'Unknown' / 'p1' / 'kick_poses.npz')
  made = [
      clip for _, job in amass.jobs(tmp_path, 60.0) for clip in job()[0]]
  assert [(c.name, c.split, c.label, c.subject) for c in made] == [
      ('BMLrub/rub001/0000_run_poses', 'train', 'BMLrub', 'BMLrub/rub001'),
      ('SSM/p1/kick_poses', 'test', 'SSM', 'SSM/p1'),
  ]
  assert [c.positions.shape for c in made] == [(6, 22, 3), (5, 22, 3)]
  assert {c.fps for c in made} == {60.0}
  with pytest.raises(DataError, match='ACCAD'):
    amass.sets(root / 'Unknown')


def _manifest(
    frames: dict[str, int], fps: float = 60.0, split: str = 'test'
) -> dict[str, Any]:
  """Return what `count_segments` and `compare_segments` read of a store."""
  return {'fps': fps, 'clips': [
      {'name': name, 'label': name.split('/')[0], 'split': split,
       'frames': count} for name, count in frames.items()]}


LIST = """dataset,file,file_idx,pred_init,pred_end
Transitions_mocap,walk_run_poses,49,180,299
Transitions_mocap,walk_run_poses,49,300,419
SOMA,sit_003_stageii,27,180,299
SOMA,sit_003_stageii,63,180,299
SOMA,sit_003_stageii,63,300,419
"""

STORE = {
    # One frame short of a third future.
    'Transitions/m1/walk_run_poses': 539,
    'SOMA/s1/sit 003_poses': 420, 'SOMA/s2/sit_003_stageii': 300,
    'SOMA/s2/too_short_stageii': 299,
}


def test_reads_a_published_list(tmp_path: pathlib.Path) -> None:
  path = tmp_path / 'segments_test.csv'
  path.write_text(LIST)
  published = amass.read_segments(path)
  assert published[0] == ('Transitions', 'walk_run_poses', 49, 180, 299)
  assert [listed.number for listed in published] == [49, 49, 27, 63, 63]


def test_counts_segments_by_the_published_rule() -> None:
  manifest = _manifest(STORE)
  assert amass.count_segments(manifest) == {'Transitions': 2, 'SOMA': 3}
  assert amass.count_segments(_manifest(STORE, split='train')) == {}
  for frames in (299, 300, 539, 540, 659, 660, 779, 1500):
    one = _manifest({'SSM/p/a_poses': frames})
    short = amass.count_segments(one).get('SSM', 0)
    assert short == max(0, (frames - 180) // 120)
    long = amass.count_segments(one, amass.LONG_TERM).get('SSM', 0)
    assert long == max(short - 3, 0)
  with pytest.raises(UserError, match='found 30'):
    amass.count_segments(_manifest(STORE, fps=30.0))


def test_a_store_agrees_with_its_list(tmp_path: pathlib.Path) -> None:
  path = tmp_path / 'segments_test.csv'
  path.write_text(LIST)
  # Numbers of files shift with every file that a reader leaves out.
  published = [listed._replace(number=listed.number + 5)
               for listed in amass.read_segments(path)]
  for order in (published, published[::-1]):
    got = amass.compare_segments(_manifest(STORE), order)
    assert got.generated == got.published == {'Transitions': 2, 'SOMA': 3}
    assert (got.differing, got.difference) == (0, '')
  long = [amass.Listed('SSM', 'a_poses', 0, 180, 659)]
  got = amass.compare_segments(_manifest({'SSM/p/a_poses': 700}), long)
  assert (got.generated, got.differing) == ({'SSM': 1}, 0)
  with pytest.raises(UserError, match='segments'):
    amass.compare_segments(_manifest(STORE), [])


@pytest.mark.parametrize('change, count, words', [
    ({'Transitions/m1/walk_run_poses': 540},
     3, 'Transitions/m1/walk_run_poses (540 frames): published 2, generated 3;'
     ' only generated: frames 390 to 539'),
    # The file with the same segments is found first, whatever the order.
    ({'SOMA/s1/sit 003_poses': 540},
     4, 'SOMA/s1/sit 003_poses (540 frames): published 2, generated 3; only'
     ' generated: frames 390 to 539'),
    ({'SOMA/s1/sit 003_poses': 100},
     1, 'SOMA/sit_003_stageii, file_idx 63 (not in the store): published 2,'
     ' generated 0; only published: frames 150 to 299'),
    ({'SOMA/s3/run_stageii': 300},
     4, 'SOMA/s3/run_stageii (300 frames): published 0, generated 1; only'
     ' generated: frames 150 to 299'),
])
def test_the_first_difference_to_a_list_is_told(
    tmp_path: pathlib.Path, change: dict[str, int], count: int, words: str
) -> None:
  path = tmp_path / 'segments_test.csv'
  path.write_text(LIST)
  got = amass.compare_segments(
      _manifest({**STORE, **change}), amass.read_segments(path))
  (group,) = {name.split('/')[0] for name in change}
  assert got.generated[group] == count
  assert (got.differing, got.difference) == (1, words)


@pytest.mark.parametrize('old, new, field', [
    ('file_idx', 'file_index', 'columns'),
    ('SOMA,sit_003_stageii,27', 'Soma,sit_003_stageii,27', 'line 4, dataset'),
    ('49,300', '49,third', 'line 3, pred_init'),
    ('27,180,299', '27,180,298', 'line 4'),
    ('27,180,299', '27,180', 'line 4'),
    ('49,300,419', '49,180,299', 'line 3'),
    ('49,180,299', '49,180,100', 'line 2'),
])
def test_refuses_a_list_that_is_damaged(
    tmp_path: pathlib.Path, old: str, new: str, field: str
) -> None:
  path = tmp_path / 'segments_test.csv'
  path.write_text(LIST.replace(old, new))
  with pytest.raises(DataError) as caught:
    amass.read_segments(path)
  assert caught.value.field == field
  path.write_text(LIST.splitlines()[0])
  with pytest.raises(DataError, match='found no row'):
    amass.read_segments(path)
