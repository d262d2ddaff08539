"""BVH: hand-computed frames, an independent reader, round trips, bad files."""

import dataclasses
import lzma
import pathlib

import numpy as np
import pybvh
import pytest

from diffax.data import bvh
from diffax.data.base import Recording
from diffax.errors import DataError, UserError

REFERENCE = {
    '60_01': 'cmu/bvh_daz/60/60_01.bvh.xz',
    '135_03': 'cmu/bvh_daz/135/135_03.bvh.xz',
    'dataset-1_walk_happy_001':
        'bandai/bvh/dataset-1_walk_happy_001.bvh.xz',
}


def test_reads_hand_computed_joints(bvh_file: pathlib.Path) -> None:
  got = bvh.read(bvh_file)
  # The end of the leg has no length and says nothing.
  assert got.joints == ('Hips', 'Chest', 'Arm', 'End_Arm', 'Leg')
  assert got.parents == (-1, 0, 1, 2, 0)
  assert (got.fps, got.unit) == (30.0, 'cm')
  rest = [[0, 0, .9], [0, 0, 1.5], [.2, 0, 1.5], [.8, 0, 1.5], [.1, 0, 0]]
  np.testing.assert_allclose(got.positions[0], rest, atol=1e-12)
  # A turn by 90 degrees about the vertical takes X to -Z of the file: Y here.
  x, y, z = np.array(rest).T
  np.testing.assert_allclose(
      got.positions[1], np.stack([-y, x, z], -1), atol=1e-12)
  # Chest bent by 90 degrees about Z: the arm points up; then bent about Z
  # again by its own channel: it points back along -X.
  bent = [[.05, 0, .9], [.05, 0, 1.5], [.05, 0, 1.7], [-.55, 0, 1.7],
          [.15, 0, 0]]
  np.testing.assert_allclose(got.positions[2], bent, atol=1e-12)


def test_position_channels_replace_the_offset(bvh_file: pathlib.Path) -> None:
  lines = bvh_file.read_text().splitlines()
  lines[-3] = '0 90 0 0 0 0 0 0 0 30 5 0 0 0 0 0 0 0'
  bvh_file.write_text('\n'.join(lines))
  got = bvh.read(bvh_file, unit='cm').positions[0]
  np.testing.assert_allclose(got[2] - got[1], [.3, 0, .05], atol=1e-12)


def test_agrees_with_an_independent_reader(tmp_path: pathlib.Path) -> None:
  rng = np.random.default_rng(0)
  path = _random_file(tmp_path / 'tree.bvh', rng, joints=12, frames=7)
  got = bvh.read(path, unit='m', up='z')
  other = pybvh.read_bvh_file(path, world_up='+y')
  names = [node.name for node in other.nodes]
  expected = pybvh.frames_to_node_positions(other)
  for i, joint in enumerate(got.joints):
    node = names.index(joint.replace('End_', 'EndSite'))
    np.testing.assert_allclose(
        got.positions[:, i], expected[:, node], atol=1e-9)


def _random_file(
    path: pathlib.Path, rng: np.random.Generator, joints: int, frames: int
) -> pathlib.Path:
  """Write a chain with branches, every joint with its own order of axes."""
  parents = [-1] + [int(rng.integers(max(0, j - 2), j)) for j in range(
      1, joints)]
  orders = ('ZXY', 'XYZ', 'YZX', 'ZYX', 'XZY', 'YXZ')

  def block(joint: int) -> str:
    offset = ' '.join(f'{v:.5f}' for v in rng.uniform(-.3, .3, 3))
    order = orders[joint % 6]
    names = ' '.join(f'{axis}rotation' for axis in order)
    below = ''.join(
        block(child) for child in range(joints) if parents[child] == joint)
    head = (f'ROOT j{joint} {{ \n OFFSET {offset}\n CHANNELS 6 Xposition'
            f' Yposition Zposition {names}\n' if joint == 0 else
            f'JOINT j{joint}\n{{\nOFFSET {offset}\nCHANNELS 3 {names}\n')
    end = below or f'End Site\n{{\nOFFSET {offset}\n}}\n'
    return f'{head}{end}}}\n'

  motion = rng.uniform(-180, 180, (frames, 3 + 3 * joints))
  motion[:, :3] /= 180
  rows = '\n'.join(' '.join(f'{v:.6f}' for v in row) for row in motion)
  path.write_text(f'HIERARCHY\n{block(0)}MOTION\nFrames: {frames}\n'
                  f'Frame Time: 0.008333\n{rows}\n')
  return path


@pytest.mark.parametrize('name', sorted(REFERENCE))
def test_agrees_with_independent_positions(
    name: str, data_dir: pathlib.Path
) -> None:
  root = data_dir / 'motion'
  with np.load(root / 'reference' / 'fk_reference.npz') as reference:
    expected = reference[f'{name}/positions_m_every50th']
    names = reference[f'{name}/names'].tolist()
  got = bvh.read(root / REFERENCE[name])
  assert got.unit == 'cm'
  common = [joint for joint in got.joints if joint in names]
  assert len(common) >= 21
  positions = got.positions[::50][:, [got.joints.index(n) for n in common]]
  expected = expected[:, [names.index(n) for n in common]]
  assert positions.shape == expected.shape
  x, y, z = np.moveaxis(expected, -1, 0)
  np.testing.assert_allclose(
      positions, np.stack([x, -z, y], -1), atol=1e-4)


@pytest.mark.parametrize('unit', ['m', 'cm', 'mm', 'in'])
@pytest.mark.parametrize('suffix', ['.bvh', '.bvh.xz'])
def test_round_trip_keeps_rigid_motion(
    person: Recording, tmp_path: pathlib.Path, unit: str, suffix: str
) -> None:
  path = tmp_path / f'person{suffix}'
  error = bvh.write(path, person.joints, person.parents, person.positions,
                    120.0, unit)
  got = bvh.read(path)
  assert error < 1e-9
  assert (got.fps, got.unit) == (120.0, unit)
  assert len(got.positions) == len(person.positions)
  assert set(got.joints) == set(person.joints)
  order = [got.joints.index(joint) for joint in person.joints]
  np.testing.assert_allclose(
      got.positions[:, order], person.positions, atol=1e-6)
  assert [got.joints[got.parents[i]] if got.parents[i] >= 0 else None
          for i in order] == [
              person.joints[p] if p >= 0 else None for p in person.parents]


def test_states_the_error_of_motion_that_is_not_rigid(
    person: Recording, tmp_path: pathlib.Path
) -> None:
  rng = np.random.default_rng(0)
  positions = person.positions + 0.01 * rng.normal(size=(90, 22, 3))
  path = tmp_path / 'noisy.bvh'
  error = bvh.write(path, person.joints, person.parents, positions, 60.0)
  got = bvh.read(path)
  order = [got.joints.index(joint) for joint in person.joints]
  found = np.linalg.norm(got.positions[:, order] - positions, axis=-1).max()
  assert error == pytest.approx(found, abs=1e-6)
  # It adds up along the chain, but stays of the size of the noise.
  assert 0.01 < error < 0.15


def test_writes_another_reader_s_joints(
    person: Recording, tmp_path: pathlib.Path
) -> None:
  path = tmp_path / 'person.bvh'
  bvh.write(path, person.joints, person.parents, person.positions, 60.0)
  other = pybvh.read_bvh_file(path, world_up='+y')
  names = [node.name for node in other.nodes]
  made = pybvh.frames_to_node_positions(other) / 100
  x, y, z = np.moveaxis(person.positions, -1, 0)
  for i, joint in enumerate(person.joints):
    np.testing.assert_allclose(
        made[:, names.index(joint)],
        np.stack([x, z, -y], -1)[:, i], atol=1e-6)


def test_vertical_axis(person: Recording, tmp_path: pathlib.Path) -> None:
  path = tmp_path / 'person.bvh'
  bvh.write(path, person.joints, person.parents, person.positions, 60.0)
  y_up = bvh.read(path)
  # Turned so that its file has Z up, it comes out as it was.
  x, y, z = np.moveaxis(person.positions, -1, 0)
  bvh.write(path, person.joints, person.parents,
            np.stack([x, -z, y], -1), 60.0)
  np.testing.assert_allclose(
      bvh.read(path).positions, y_up.positions, atol=1e-6)
  assert np.abs(bvh.read(path, up='y').positions - y_up.positions).max() > 0.5


def test_drops_a_root_on_the_floor(
    person: Recording, tmp_path: pathlib.Path
) -> None:
  path = tmp_path / 'person.bvh'
  bvh.write(path, person.joints, person.parents, person.positions, 60.0)
  plain = bvh.read(path)
  text = path.read_text()
  head, _, motion = text.partition('MOTION\n')
  head = head.replace('ROOT', 'JOINT').replace(
      'HIERARCHY\n', 'HIERARCHY\nROOT floor\n{\nOFFSET 0 0 0\nCHANNELS 3'
      ' Xposition Yposition Zposition\n') + '}\n'
  rows = motion.splitlines()
  motion = '\n'.join(rows[:2] + ['0 0 0 ' + row for row in rows[2:]])
  path.write_text(f'{head}MOTION\n{motion}\n')
  got = bvh.read(path)
  assert got.joints == plain.joints and got.parents == plain.parents
  np.testing.assert_allclose(got.positions, plain.positions, atol=1e-9)


@pytest.mark.parametrize('word, fps', [
    ('0.0333333', 30), ('0.033333', 30), ('0.00833333', 120), ('0.04', 25),
    ('.0166667', 60), ('0.0416667', 24), ('0.041708', 1 / 0.041708),
    ('8.33333e-3', 120), ('0.01', 100), ('2', 0.5),
])
def test_frame_rate_undoes_rounding(word: str, fps: float) -> None:
  assert bvh.frame_rate('x', word) == pytest.approx(fps, rel=1e-12)


@pytest.mark.parametrize('old, new, field', [
    ('HIERARCHY', 'BIERARCHY', 'HIERARCHY'),
    ('MOTION', 'EMOTION', 'HIERARCHY'),
    ('MOTION', 'MOTIO', 'MOTION'),
    ('Frames: 3', 'Frames: 4', 'Frames'),
    ('Frames: 3', 'Frames: 2', 'Frames'),
    ('Frames: 3', 'Frames: -3', 'Frames'),
    ('Frame Time: 0.0333333', 'Frame Time: -0.0333333', 'Frame Time'),
    ('Frame Time: 0.0333333', 'Frame Time: 0', 'Frame Time'),
    ('Frame Time: 0.0333333', 'Frame Time: nan', 'Frame Time'),
    ('0 90 0 0 0 90', '0 90 0 nan 0 90', 'motion'),
    ('0 90 0 0 0 90', '0 90 0 1,5 0 90', 'motion'),
    ('OFFSET 0 60 0', 'OFFSET 0 60', "OFFSET of 'Chest'"),
    ('OFFSET 0 60 0', '', "OFFSET of 'Chest'"),
    ('JOINT Leg', 'JOINT Chest', 'joint names'),
    ('JOINT Leg', 'ROOT Leg', 'HIERARCHY'),
    ('JOINT Leg', 'BONE Leg', 'HIERARCHY'),
    ('CHANNELS 3 Zrotation', 'CHANNELS 4 Zrotation', 'CHANNELS'),
    ('CHANNELS 3 Zrotation', 'CHANNELS 3 Xrotation', 'CHANNELS'),
    ('CHANNELS 3 Zrotation', 'CHANNELS 3 Zscale', 'CHANNELS'),
])
def test_refuses_a_bad_file(
    bvh_file: pathlib.Path, old: str, new: str, field: str
) -> None:
  text = bvh_file.read_text()
  assert old in text
  bvh_file.write_text(text.replace(old, new))
  with pytest.raises(DataError) as caught:
    bvh.read(bvh_file)
  assert field in caught.value.field
  assert caught.value.file == str(bvh_file)


def test_refuses_a_wrong_unit(bvh_file: pathlib.Path) -> None:
  with pytest.raises(DataError, match='unit'):
    bvh.read(bvh_file, unit='m')
  with pytest.raises(DataError, match='unit'):
    bvh.read(bvh_file, unit='mm')
  with pytest.raises(UserError, match='parsec'):
    bvh.read(bvh_file, unit='parsec')
  with pytest.raises(UserError, match="'x'"):
    bvh.read(bvh_file, up='x')
  text = bvh_file.read_text()
  bvh_file.write_text(text.replace('0 60 0', '0 900 0'))
  with pytest.raises(DataError, match='State the unit'):
    bvh.read(bvh_file)


def test_refuses_binary_empty_and_missing_files(
    tmp_path: pathlib.Path, bvh_file: pathlib.Path
) -> None:
  for name, data in {'a.bvh': b'', 'b.bvh': bytes(range(256)), 'c.bvh':
                     b' \n', 'd.bvh': b'\xff' * 99}.items():
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError):
      bvh.read(tmp_path / name)
  packed = lzma.compress(bvh_file.read_bytes())
  (tmp_path / 'e.bvh.xz').write_bytes(packed[:-20])
  (tmp_path / 'f.bvh.xz').write_bytes(bvh_file.read_bytes())
  for name in ('e.bvh.xz', 'f.bvh.xz'):
    with pytest.raises(DataError, match='compression'):
      bvh.read(tmp_path / name)
  for missing in (tmp_path / 'no.bvh', tmp_path):
    with pytest.raises(DataError, match='readable file'):
      bvh.read(missing)
  with pytest.raises(DataError, match='frames'):
    bvh.read(bvh_file, skip_first=2)


@pytest.mark.parametrize('change', [
    {'positions': np.zeros((3, 21, 3))},
    {'positions': np.full((3, 22, 3), np.nan)},
    {'parents': (0,) + (0,) * 21},
    {'parents': (-1, 2) + (0,) * 20},
    {'fps': 0.0},
    {'unit': 'ell'},
])
def test_refuses_to_write_nonsense(
    person: Recording, tmp_path: pathlib.Path, change: dict[str, object]
) -> None:
  good = dataclasses.replace(person, unit='cm')
  bad = dataclasses.replace(good, **change)  # type: ignore[arg-type]
  with pytest.raises(UserError):
    bvh.write(tmp_path / 'x.bvh', bad.joints, bad.parents, bad.positions,
              bad.fps, bad.unit)
