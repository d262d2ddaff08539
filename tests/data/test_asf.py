"""ASF/AMC: hand-computed frames, independent joint positions, bad files."""

import lzma
import pathlib

import numpy as np
import pytest

from diffax.data import asf
from diffax.errors import DataError

UNIT = 0.0254 / 0.45
REFERENCE = ('35_01', '02_05')


def test_reads_hand_computed_joints(amc: pathlib.Path) -> None:
  got = asf.read(amc)
  assert got.joints == ('root', 'femur', 'tibia', 'toe')
  assert got.parents == (-1, 0, 1, 2)
  assert got.fps == 120.0
  assert got.unit == 'inch/0.45'
  # X, Z up, and -Z of the file as Y.
  rest = [[0, 0, 18], [0, 0, 9], [0, 0, 1], [0, -4.5, 1]]
  np.testing.assert_allclose(got.positions[0], np.array(rest) * UNIT,
                             atol=1e-12)
  # The root turned by 90 degrees about the vertical takes the toe to X.
  turned = [[1, 0, 18], [1, 0, 9], [1, 0, 1], [5.5, 0, 1]]
  np.testing.assert_allclose(got.positions[1], np.array(turned) * UNIT,
                             atol=1e-12)


def test_degrees_of_freedom_turn_in_the_frame_of_the_bone(
    amc: pathlib.Path
) -> None:
  # The femur's axes are turned by 90 degrees about z, so its `ry` by 30 is
  # the turn by -30 about the x of the world, and the tibia's `rx` by 90 on
  # top of it makes 60: the shank goes to y = -cos 60, z = -sin 60.
  got = asf.read(amc).positions[2] / UNIT
  angle = np.radians(-30)
  knee = np.array([1, 18 - 9 * np.cos(angle), -9 * np.sin(angle)])
  angle = np.radians(60)
  ankle = knee + 8 * np.array([0, -np.cos(angle), -np.sin(angle)])
  np.testing.assert_allclose(got[1], knee[[0, 2, 1]] * [1, -1, 1], atol=1e-12)
  np.testing.assert_allclose(got[2], ankle[[0, 2, 1]] * [1, -1, 1], atol=1e-12)


def test_reads_xz_and_radians(amc: pathlib.Path) -> None:
  text = amc.read_text().replace('root 1 18 0 0 90 0',
                                 f'root 1 18 0 0 {np.pi / 2} 0')
  text = text.replace('femur 0 30 0', 'femur 0 0 0').replace(
      'tibia 90', f'tibia {np.pi / 2}')
  packed = amc.with_name('01_02.amc.xz')
  packed.write_bytes(lzma.compress(text.encode()))
  skeleton = amc.with_name('01.asf')
  skeleton.write_text(skeleton.read_text().replace('angle deg', 'angle rad')
                      .replace('0 0 90 XYZ', f'0 0 {np.pi / 2} XYZ'))
  got = asf.read(packed, fps=60)
  np.testing.assert_allclose(got.positions[1, 3] / UNIT, [5.5, 0, 1],
                             atol=1e-12)
  assert got.fps == 60.0


@pytest.mark.parametrize('name', REFERENCE)
def test_agrees_with_independent_positions(
    name: str, data_dir: pathlib.Path
) -> None:
  root = data_dir / 'motion'
  with np.load(root / 'reference' / 'fk_reference.npz') as reference:
    expected = reference[f'{name}/positions_m_every50th']
    names = reference[f'{name}/names'].tolist()
  subject = name.split('_')[0]
  got = asf.read(root / 'cmu' / 'amc' / subject / f'{name}.amc.xz')
  positions = got.positions[::50][:, [got.joints.index(n) for n in names]]
  assert positions.shape == expected.shape
  x, y, z = np.moveaxis(expected, -1, 0)
  np.testing.assert_allclose(
      positions, np.stack([x, -z, y], -1), atol=1e-4)


@pytest.mark.parametrize('old, new, field, found', [
    ('tibia 90\n', '', 'frame 3', "'tibia'|2 lines"),
    ('femur 0 30 0', 'femur 0 30', 'frame 3', 'femur'),
    ('femur 0 30 0', 'thigh 0 30 0', 'frame 3', 'thigh'),
    ('femur 0 30 0', 'femur 0 nan 0', 'motion', 'nan'),
    ('femur 0 30 0', 'femur 0 x 0', 'motion', 'x'),
    ('\n2\n', '\n0\n', 'frame numbers', 'backwards'),
    ('\n2\n', '\n7\n', 'frame numbers', 'gap'),
    ('\n1\n', '\n', 'first frame', 'root'),
    ('tibia', 'fibula', "bone 'fibula'", '1 numbers'),
    ('root', 'pelvis', "bone 'pelvis'", '6 numbers'),
    ('2\nroot 1 18 0 0 90 0\nfemur 0 0 0\ntibia 0\n3\nroot 1 18 0 0 0 0\n'
     'femur 0 30 0\ntibia 90\n', '', 'frames', '1 '),
])
def test_refuses_a_bad_motion(
    amc: pathlib.Path, old: str, new: str, field: str, found: str
) -> None:
  text = amc.read_text()
  assert old in text
  amc.write_text(text.replace(old, new))
  with pytest.raises(DataError) as caught:
    asf.read(amc)
  assert field in caught.value.field
  assert any(word in caught.value.found for word in found.split('|'))
  assert caught.value.file == str(amc)


def test_refuses_a_motion_that_is_cut_at_its_start(amc: pathlib.Path) -> None:
  text = amc.read_text()
  for number in (3, 2, 1):
    text = text.replace(f'\n{number}\n', f'\n{number + 9}\n')
  amc.write_text(text)
  with pytest.raises(DataError, match='first frame 1, found 10'):
    asf.read(amc)
  assert len(asf.read(amc, allow_cut=True).positions) == 3


@pytest.mark.parametrize('old, new, field', [
    ('length 0.45', 'length 0', ':units length'),
    ('length 0.45', 'length 45', 'unit'),
    ('length 0.45', 'length inch', ':units length'),
    ('position 0 0 0', 'position 0 1 0', ':root position'),
    ('orientation 0 0 0', 'orientation 0 1', ':root orientation'),
    ('direction 0 0 1', 'direction 0 1', "direction of 'toe'"),
    ('axis 0 0 90 XYZ', 'axis 0 0 90 XXZ', 'axis'),
    ('dof rx ry rz', 'dof rx rx rz', "dof of 'femur'"),
    ('dof rx\n', 'dof l\n', "dof of 'tibia'"),
    (':hierarchy', ':tree', ':hierarchy'),
    ('femur tibia', 'thigh tibia', ':hierarchy'),
    ('tibia toe', 'tibia femur', ':hierarchy'),
    ('tibia toe', 'tibia heel', ':bonedata'),
    ('length 8', 'size 8', "bone 'tibia'"),
])
def test_refuses_a_bad_skeleton(
    amc: pathlib.Path, old: str, new: str, field: str
) -> None:
  skeleton = amc.with_name('01.asf')
  assert old in skeleton.read_text()
  skeleton.write_text(skeleton.read_text().replace(old, new))
  with pytest.raises(DataError) as caught:
    asf.read(amc)
  assert field in caught.value.field


def test_finds_the_skeleton(amc: pathlib.Path, tmp_path: pathlib.Path) -> None:
  assert asf.find_skeleton(amc) == amc.with_name('01.asf')
  deep = tmp_path / 'amc' / '07' / '07_01.amc'
  (tmp_path / 'asf').mkdir()
  (tmp_path / 'asf' / '07.asf').write_text('x')
  deep.parent.mkdir(parents=True)
  assert asf.find_skeleton(deep) == tmp_path / 'asf' / '07.asf'
  amc.with_name('01.asf').rename(amc.with_name('body.asf'))
  assert asf.find_skeleton(amc) == amc.with_name('body.asf')
  amc.with_name('body.asf').unlink()
  with pytest.raises(DataError, match='01.asf beside the motion'):
    asf.find_skeleton(amc)
