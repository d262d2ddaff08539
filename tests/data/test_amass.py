"""AMASS npz files that the tests write, with and without a body model."""

import pathlib
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from diffax.data import amass
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


def _model(path: pathlib.Path) -> pathlib.Path:
  """Write an SMPL-H model of 60 vertices with the published keys."""
  rng = np.random.default_rng(1)
  parents = list(PARENTS) + [20, 22, 23, 20, 25, 26, 20, 28, 29, 20, 31, 32,
                             20, 34, 35, 21, 37, 38, 21, 40, 41, 21, 43, 44,
                             21, 46, 47, 21, 49, 50]
  template = np.zeros((60, 3))
  for joint, parent in enumerate(parents[:22]):
    template[joint] = amass.REST[joint] + (template[parent] if joint else 0)
  template[22:] = rng.normal(scale=0.3, size=(38, 3))
  weights = rng.random((60, 52))
  path.parent.mkdir(parents=True, exist_ok=True)
  np.savez(
      path, v_template=template, f=np.arange(60).reshape(20, 3),
      weights=weights / weights.sum(1, keepdims=True),
      shapedirs=rng.normal(scale=0.01, size=(60, 3, 16)),
      posedirs=np.zeros((60, 3, 459)), J_regressor=np.eye(52, 60),
      kintree_table=np.array([[2**32 - 1, *parents[1:]], range(52)]),
      hands_meanl=np.zeros(45), hands_meanr=np.zeros(45))
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
  model = SMPLH(model_path=tmp_path / 'smplh' / 'female' / 'model.npz')
  motion = np.load(path)
  poses = motion['poses'].reshape(12, 52, 3).astype(np.float32)
  expected = model.forward_skeleton(
      poses[:, 1:22], poses[:, 22:], pelvis_rotation=poses[:, 0],
      shape=np.tile(motion['betas'].astype(np.float32), (12, 1)),
      global_translation=motion['trans'].astype(np.float32))
  np.testing.assert_allclose(
      got.positions, np.asarray(expected)[:, :22, :3, 3], atol=1e-5)
  plain = amass.read(path)
  assert np.abs(plain.positions - got.positions).max() > 1e-3


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
