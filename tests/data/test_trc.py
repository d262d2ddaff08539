"""TRC, MOT and STO: hand-made files, real forces, refusals."""

import json
import pathlib

import numpy as np
import pytest

from diffax.data import readers
from diffax.data import trc
from diffax.errors import DataError
from diffax.errors import UserError

TRC = '\n'.join([
    'PathFileType\t4\t(X/Y/Z)\twalk.trc',
    'DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate'
    '\tOrigDataStartFrame\tOrigNumFrames',
    '100.000\t100.000\t4\t3\tmm\t100.000\t1\t4',
    'Frame#\tTime\tHEAD\t\t\tHIP\t\t\tTOE\t\t',
    '\t\tX1\tY1\tZ1\tX2\tY2\tZ2\tX3\tY3\tZ3',
    '',
    *(f'{i + 1}\t{i / 100:.5f}\t{i}\t1700\t100\t0\t900\t100\t200\t50\t100'
      for i in range(4)),
]) + '\n'

MOT = """Forces of two feet
version=1
nRows=4
nColumns=19
inDegrees=no
endheader
time {names}
""".format(names=' '.join(
    f'{pattern}{axis}' for side in ('1_', '2_')
    for pattern in (f'{side}ground_force_v', f'{side}ground_force_p',
                    f'{side}ground_torque_')
    for axis in 'xyz')) + '\n'.join(
        f'{i / 100} 10 700 -5 {0.1 * i} 0 0.2 0 3 0 0 1 0 9 0 9 0 0 0'
        for i in range(4)) + '\n'


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
  (tmp_path / 'a.trc').write_text(TRC)
  return tmp_path / 'a.trc'


@pytest.fixture
def forces(tmp_path: pathlib.Path) -> pathlib.Path:
  (tmp_path / 'a.mot').write_text(MOT)
  return tmp_path / 'a.mot'


def test_reads_markers_in_metres_with_z_up(path: pathlib.Path) -> None:
  got = readers.load(path, 'motion')
  assert got.joints == ('HEAD', 'HIP', 'TOE')
  assert got.parents == (-1, -1, -1) and not got.has_bones
  assert (got.fps, got.unit) == (100.0, 'mm')
  np.testing.assert_allclose(
      got.positions[2],
      [[0.002, -0.1, 1.7], [0, -0.1, 0.9], [0.2, -0.1, 0.05]], atol=1e-12)
  assert got.notes['up'].startswith('Y: the points reach 1650 units')
  assert got.notes['unit'] == "stated by the file: 'mm'"


def test_a_gap_is_an_empty_cell_and_may_be_cut_off_at_the_end(
    path: pathlib.Path
) -> None:
  lines = TRC.splitlines()
  lines[7] = '2\t0.01000\t1\t1700\t100\t\t\t\t200\t50\t100'
  lines[8] = '3\t0.02000\t2\t1700\t100\t0\t900\t100'
  path.write_text('\n'.join(lines))
  with pytest.raises(DataError, match='frame 1, joint HIP'):
    trc.read(path)
  kept = trc.read(path, gaps='keep').positions
  assert np.argwhere(np.isnan(kept).all(-1)).tolist() == [[1, 1], [2, 2]]
  filled = trc.read(path, gaps='fill').positions
  np.testing.assert_allclose(filled[1, 1], [0, -0.1, 0.9], atol=1e-12)


@pytest.mark.parametrize('old, new, field', [
    ('PathFileType', 'FileType', 'line 1'),
    ('100.000\t100.000\t4', '100.000\t100.000\t5', 'NumFrames'),
    ('100.000\t100.000\t4', '100.000\t100.000\tx', 'NumFrames'),
    ('\t3\tmm', '\t4\tmm', 'NumMarkers'),
    ('100.000\t100.000\t4', '50.000\t100.000\t4', 'DataRate'),
    ('100.000\t100.000\t4', 'fast\t100.000\t4', 'DataRate'),
    ('100.000\t100.000\t4', '0\t100.000\t4', 'DataRate'),
    ('\tmm\t', '\tm\t', 'unit'),
    ('HIP', 'HEAD', 'line 4'),
    ('Time', 'When', 'line 4'),
    ('3\t0.02000', '3\t0.00500', 'time'),
    ('3\t0.02000', '3\t9.02000', 'time'),
    ('3\t0.02000', '3\t', 'time'),
    ('\t900\t', '\tnine\t', 'line 7'),
    ('\t900\t', '\t1e300\t', 'rows'),
    ('\t900\t', '\t900\t1\t', 'line 7'),
])
def test_refuses_a_bad_trc(
    path: pathlib.Path, old: str, new: str, field: str
) -> None:
  assert old in TRC
  path.write_text(TRC.replace(old, new))
  with pytest.raises(DataError) as caught:
    trc.read(path)
  assert field in caught.value.field


def test_a_unit_that_is_not_stated_is_guessed_or_asked_for(
    path: pathlib.Path
) -> None:
  path.write_text(TRC.replace('\tmm\t', '\t?\t'))
  got = trc.read(path)
  assert got.unit == 'mm' and got.notes['unit'].startswith('guessed: 1662')
  path.write_text(TRC.replace('\tmm\t', '\t?\t').replace('1700', '9000'))
  with pytest.raises(DataError, match='State the unit'):
    trc.read(path)
  assert trc.read(path, unit='mm', fps=50).fps == 50.0


def test_columns_of_forces_become_plates(forces: pathlib.Path) -> None:
  got = readers.load(forces, 'signals')
  assert len(got.columns) == 18 and got.values.shape == (4, 18)
  assert got.rate == 100.0 and got.notes['angles'].startswith('radians')
  first, second = got.plates
  assert (first.name, second.name) == ('1', '2')
  assert first.corners is None and first.rate == 100.0
  np.testing.assert_allclose(first.forces[0], [10, 5, 700])
  np.testing.assert_allclose(first.pressure[3], [0.3, -0.2, 0], atol=1e-12)
  # Torque at the point, and the force with its arm.
  np.testing.assert_allclose(
      first.moments[3],
      np.array([0, 0, 3]) + np.cross([0.3, -0.2, 0], [10, 5, 700]), atol=1e-9)
  # The second foot is in the air.
  assert np.isnan(second.pressure).all()


@pytest.mark.parametrize('stem, torque', [
    ('ground_force_', 'ground_torque_'),
    ('ground_force_r_', 'ground_torque_r_'),
    ('ground_force1_', 'ground_torque1_'),
    ('1_ground_force_', '1_ground_moment_m'),
    ('ground_force_calcn_l_', 'ground_moment_calcn_l_m'),
])
def test_every_spelling_of_a_ground_force_is_known(
    tmp_path: pathlib.Path, stem: str, torque: str
) -> None:
  path = tmp_path / 'a.sto'
  names = [f'{stem}v{a}' for a in 'xyz'] + [f'{stem}p{a}' for a in 'xyz'] + [
      f'{torque}{a}' for a in 'xyz']
  path.write_text('x\nendheader\n' + '\t'.join(['time', *names]) + '\n'
                  '0\t0\t500\t0\t0\t0\t0\t0\t7\t0\n'
                  '0.01\t0\t500\t0\t0\t0\t0\t0\t7\t0\n')
  plate, = trc.read_mot(path).plates
  np.testing.assert_allclose(plate.moments, [[0, 0, 7]] * 2, atol=1e-12)


def test_real_forces_carry_the_body(data_dir: pathlib.Path) -> None:
  place = data_dir / 'gait' / 'arnold_walking' / 'subject01'
  got = readers.load(place / 'grf.mot')
  assert got.rate == 200.0 and len(got.plates) == 2
  mass = json.loads((place / '_subject.json').read_text())['massKg']
  total = sum(plate.forces[:, 2].mean() for plate in got.plates)
  assert total / (9.81 * mass) == pytest.approx(1, abs=0.05)
  angles = readers.load(place / 'coordinates.sto')
  assert angles.columns[0] == 'pelvis_tilt' and not angles.plates


@pytest.mark.parametrize('old, new, field', [
    ('endheader', 'end', 'header'),
    ('nRows=4', 'nRows=5', 'nrows'),
    ('nColumns=19', 'nColumns=18', 'ncolumns'),
    ('time 1_', 'when 1_', 'line 7'),
    ('2_ground_force_vx', '1_ground_force_vx', 'line 7'),
    ('0.02 10', '0.005 10', 'time'),
    ('0.02 10', '0.02 ten', 'line 10'),
    ('0.02 10', '0.02 nan', 'line 10'),
    ('0.02 10', '0.02 1e300', 'rows'),
    ('0.02 10', '0.02 10 10', 'line 10'),
    ('0.02 10', 'nan 10', 'line 10, time'),
])
def test_refuses_a_bad_mot(
    forces: pathlib.Path, old: str, new: str, field: str
) -> None:
  assert old in MOT
  forces.write_text(MOT.replace(old, new))
  with pytest.raises(DataError) as caught:
    trc.read_mot(forces)
  assert field in caught.value.field


def test_a_missing_sample_is_kept_if_asked_for(forces: pathlib.Path) -> None:
  forces.write_text(MOT.replace('0.02 10', '0.02 nan'))
  assert np.isnan(trc.read_mot(forces, gaps='keep').values).sum() == 1
  with pytest.raises(UserError, match='fill'):
    trc.read_mot(forces, gaps='fill')
