"""C3D: another library's reading, hand-made numbers, every processor."""

from collections.abc import Callable
import dataclasses
import pathlib
import struct

import numpy as np
import pytest

from diffax.data import c3d
from diffax.data import files
from diffax.data import writers
from diffax.data.base import ForcePlate
from diffax.data.base import Recording
from diffax.errors import DataError
from diffax.errors import UserError

REAL = 'gait/rbds_running/RBDS09runT35.c3d'


@pytest.fixture
def markers(person: Recording) -> Recording:
  return dataclasses.replace(
      person, positions=person.positions[:6], parents=(-1,) * 22)


@pytest.fixture
def file(markers: Recording, tmp_path: pathlib.Path) -> pathlib.Path:
  """Six frames of 22 markers and a plate with a man on it."""
  forces = np.tile([10.0, -20, 700], (12, 1))
  corners = np.array([[0.6, 0, 0], [0.0, 0, 0], [0, 0.4, 0], [0.6, 0.4, 0]])
  middle = corners.mean(0)
  at = np.tile([0.4, 0.1, 0], (12, 1))
  plate = ForcePlate(
      'p', forces, np.cross(at - middle, forces) + [0, 0, 3], at, middle,
      corners, 120.0, 'N, Nmm, mm')
  writers.save(
      tmp_path / 'a.c3d', dataclasses.replace(markers, plates=(plate,)))
  return tmp_path / 'a.c3d'


def change(
    path: pathlib.Path, name: str, edit: Callable[[bytearray, int], None]
) -> None:
  """Edit a file at the type byte of a parameter."""
  data = bytearray(path.read_bytes())
  at = data.index(bytes([len(name)]), 512)
  while data[at + 2:at + 2 + len(name)] != name.encode() or (
      data[at] != len(name)):
    at += 1
  edit(data, at + 4 + len(name))
  path.write_bytes(data)


def test_agrees_with_another_library_on_a_real_file(
    data_dir: pathlib.Path
) -> None:
  ezc3d = pytest.importorskip('ezc3d')
  got = c3d.read(data_dir / REAL)
  assert got.positions.shape == (4500, 33, 3) and got.fps == 150.0
  assert got.unit == 'mm' and got.parents == (-1,) * 33
  assert got.notes['up'] == 'Y: stated by the file: Y_SCREEN +Y'
  other = ezc3d.c3d(str(data_dir / REAL), extract_forceplat_data=True)
  assert got.joints == tuple(other['parameters']['POINT']['LABELS']['value'])
  np.testing.assert_allclose(
      got.positions, files.to_z_up(
          other['data']['points'][:3].transpose(2, 1, 0) / 1000, 'y'),
      atol=1e-12)
  plate, = got.plates
  theirs = other['data']['platform'][0]
  assert plate.rate == 300.0 and plate.unit == 'N, Nmm, mm'
  for mine, name, scale in (
      (plate.forces, 'force', 1), (plate.moments, 'moment', 1000),
      (plate.pressure, 'center_of_pressure', 1000),
      (plate.corners, 'corners', 1000)):
    assert mine is not None
    seen = np.isfinite(mine).all(-1)
    np.testing.assert_allclose(
        mine[seen], files.to_z_up(theirs[name].T / scale, 'y')[seen],
        atol=1e-9)
  # A runner of 1.7 kN at most, on a treadmill at the height of the floor.
  assert 1500 < plate.forces[:, 2].max() < 2000
  assert np.abs(plate.pressure[np.isfinite(plate.pressure[:, 2]), 2]).max() < (
      1e-9)


def test_another_library_reads_what_is_written(
    file: pathlib.Path, markers: Recording
) -> None:
  ezc3d = pytest.importorskip('ezc3d')
  other = ezc3d.c3d(str(file), extract_forceplat_data=True)
  assert other['parameters']['POINT']['LABELS']['value'] == list(markers.joints)
  assert other['parameters']['POINT']['RATE']['value'][0] == 60.0
  np.testing.assert_allclose(
      other['data']['points'][:3].transpose(2, 1, 0) / 1000,
      markers.positions, atol=1e-7)
  plate = other['data']['platform'][0]
  np.testing.assert_allclose(plate['force'][:, 0], [10, -20, 700], atol=1e-4)
  np.testing.assert_allclose(
      plate['center_of_pressure'][:, 0], [400, 100, 0], atol=1e-2)


@pytest.mark.parametrize('kind', [1, 2, 3, 4])
def test_every_type_of_plate_agrees_with_another_library(
    file: pathlib.Path, kind: int
) -> None:
  ezc3d = pytest.importorskip('ezc3d')
  rng = np.random.default_rng(kind)
  raw = c3d.parse(file)
  samples = rng.normal(size=(12, 8)) * 50 + 100
  # Two more channels, and a plate of another type, in a file of their own.
  base = c3d.read(file)
  _write_plate(file, base, kind, samples, rng)
  got, = c3d.read(file, up='z').plates
  other = ezc3d.c3d(str(file), extract_forceplat_data=True)
  theirs = other['data']['platform'][0]
  sign = np.sign(got.forces[0, 2] / theirs['force'][2, 0])
  np.testing.assert_allclose(got.forces, sign * theirs['force'].T, rtol=1e-6)
  seen = np.isfinite(got.pressure).all(-1)
  assert seen.any()
  np.testing.assert_allclose(
      got.pressure[seen], theirs['center_of_pressure'].T[seen] / 1000,
      atol=1e-6)
  if kind != 1:
    np.testing.assert_allclose(
        got.moments, sign * theirs['moment'].T / 1000, atol=1e-6)
  assert raw.subframes == 2


def _write_plate(
    path: pathlib.Path, recording: Recording, kind: int, samples: np.ndarray,
    rng: np.random.Generator
) -> None:
  width = 8 if kind == 3 else 6
  corners = np.array(
      [[600.0, 0, 0], [0.0, 0, 0], [0, 400, 0], [600, 400, 0]])
  groups = {
      'POINT': {
          'USED': 22, 'SCALE': -1.0, 'RATE': 60.0, 'FRAMES': np.uint16(6),
          'LABELS': list(recording.joints), 'UNITS': ['mm'],
      },
      'ANALOG': {
          'USED': width, 'RATE': 120.0, 'GEN_SCALE': 1.0,
          'SCALE': np.ones(width, np.float32),
          'OFFSET': np.zeros(width, np.int16),
          'LABELS': [f'c{i}' for i in range(width)], 'UNITS': ['N'],
      },
      'FORCE_PLATFORM': {
          'USED': 1, 'TYPE': np.array([kind], np.int16),
          'ZERO': np.zeros(2, np.int16),
          'CHANNEL': np.arange(1, width + 1, dtype=np.int16)[None],
          'CORNERS': corners[None].astype(np.float32),
          'ORIGIN': np.array([[120.0, 80, -40]], np.float32),
          'CAL_MATRIX': (np.eye(6) + 0.1 * rng.normal(size=(1, 6, 6))).astype(
              np.float32),
      },
  }
  section = c3d._section(groups)
  header = np.zeros(256, '<u2')
  header[:10] = (2 + (0x50 << 8), 22, 2 * width, 1, 6, 0, 0, 0,
                 2 + len(section) // 512, 2)
  header[6:8] = np.array([-1.0], '<f4').view('<u2')
  header[10:12] = np.array([60.0], '<f4').view('<u2')
  points = np.concatenate(
      [recording.positions * 1000, np.zeros((6, 22, 1))], -1).reshape(6, -1)
  table = np.concatenate([points, samples[:, :width].reshape(6, -1)], -1)
  data = header.tobytes() + section + table.astype('<f4').tobytes()
  path.write_bytes(data + bytes(-len(data) % 512))


def test_numbers_of_a_vax_and_of_big_endians() -> None:
  # 1.0 of a VAX: exponent 129, no mantissa, halves swapped.
  assert c3d._floats(b'\x80\x40\x00\x00', 0, 1, '<', True)[0] == 1.0
  assert c3d._floats(b'\x20\xc1\x00\x00', 0, 1, '<', True)[0] == -2.5
  assert c3d._floats(b'\0\0\0\0', 0, 1, '<', True)[0] == 0.0
  assert c3d._floats(struct.pack('>f', -7.25), 0, 1, '>', False)[0] == -7.25


@pytest.mark.parametrize('order, vax, byte', [
    ('<', True, 85), ('>', False, 86)])
def test_other_processors_give_the_same_points(
    file: pathlib.Path, order: str, vax: bool, byte: int
) -> None:
  expected = c3d.read(file)
  raw = c3d.parse(file)
  data = bytearray(file.read_bytes())
  words = np.frombuffer(bytes(data), '<u2')
  data[515] = byte
  start = 512 * (int(words[8]) - 1)
  _swap_section(data, start, order, vax)
  numbers = np.frombuffer(bytes(data[start:]), '<f4')
  data[start:] = _coded(numbers, order, vax)
  if order == '>':
    data[2:20] = words[1:10].astype('>u2').tobytes()
  file.write_bytes(data)
  got = c3d.read(file)
  np.testing.assert_array_equal(got.positions, expected.positions)
  np.testing.assert_array_equal(
      got.plates[0].forces, expected.plates[0].forces)
  assert c3d.parse(file).rate == raw.rate


def _coded(numbers: np.ndarray, order: str, vax: bool) -> bytes:
  if not vax:
    return numbers.astype('>f4').tobytes()
  bits = np.where(numbers == 0, 0, (numbers * 4).view('<u4'))
  return np.stack([bits >> 16, bits & 0xFFFF], -1).astype('<u2').tobytes()


def _swap_section(
    data: bytearray, end: int, order: str, vax: bool
) -> None:
  """Recode the parameters of a file of ours for another processor."""
  at = 516
  while data[at]:
    body = at + 2 + data[at]
    step = int.from_bytes(data[body:body + 2], 'little')
    if order == '>':
      data[body:body + 2] = step.to_bytes(2, 'big')
    if data[at + 1] < 128:
      kind, rank = data[body + 2], data[body + 3]
      first = body + 4 + rank
      count = int(np.prod(list(data[body + 4:first]), dtype=int))
      if kind == 2 and order == '>':
        part = np.frombuffer(bytes(data[first:first + 2 * count]), '<i2')
        data[first:first + 2 * count] = part.astype('>i2').tobytes()
      if kind == 4:
        part = np.frombuffer(bytes(data[first:first + 4 * count]), '<f4')
        data[first:first + 4 * count] = _coded(part, order, vax)
    at = body + step


def test_whole_numbers_are_scaled(
    file: pathlib.Path, markers: Recording
) -> None:
  data = bytearray(file.read_bytes())
  start = 512 * (struct.unpack_from('<H', data, 16)[0] - 1)
  numbers = np.frombuffer(bytes(data[start:]), '<f4')
  width = 22 * 4 + 12
  frames = numbers[:6 * width].reshape(6, width)
  # Tenths of a millimetre; the plate in whole newtons.
  whole = np.concatenate([frames[:, :88] / 0.1, frames[:, 88:]], 1)
  data[start:] = np.round(whole).astype('<i2').tobytes()
  file.write_bytes(data)
  change(file, 'SCALE', lambda d, at: struct.pack_into('<f', d, at + 2, 0.1))
  np.testing.assert_allclose(
      c3d.read(file, plates=False).positions, markers.positions, atol=6e-5)


def test_points_that_are_no_places_are_left_out(
    markers: Recording, tmp_path: pathlib.Path
) -> None:
  path = tmp_path / 'a.c3d'
  writers.save(path, markers)
  section = path.read_bytes()
  groups = {'POINT': {
      'USED': 22, 'SCALE': -1.0, 'RATE': 60.0, 'UNITS': ['mm'],
      'LABELS': ['LKneeAngles', '', '', *markers.joints[3:]],
      'ANGLES': ['LKneeAngles', 'RKneeAngles'],
  }}
  made = c3d._section(groups)
  old = struct.unpack_from('<H', section, 16)[0]
  data = bytearray(section[:512] + made + section[512 * (old - 1):])
  struct.pack_into('<H', data, 16, 2 + len(made) // 512)
  path.write_bytes(data)
  got = c3d.read(path)
  assert got.joints == ('point2', 'point3', *markers.joints[3:])
  assert '1 angles' in got.notes['left out'] and '2 points' in (
      got.notes['names'])
  np.testing.assert_allclose(
      got.positions, markers.positions[:, 1:], atol=1e-7)


def test_more_frames_than_the_header_can_count(
    tmp_path: pathlib.Path
) -> None:
  path = tmp_path / 'long.c3d'
  rng = np.random.default_rng(0)
  positions = rng.uniform(0, 1, (70000, 3, 3))
  c3d.write(path, ('a', 'b', 'c'), (-1, -1, -1), positions, 100.0)
  got = c3d.read(path)
  assert got.positions.shape == positions.shape
  np.testing.assert_allclose(got.positions, positions, atol=1e-7)


@pytest.mark.parametrize('reach, within', [(2.0, 1e-7), (10.0, 6e-7)])
def test_single_precision_keeps_its_promise(
    tmp_path: pathlib.Path, reach: float, within: float
) -> None:
  path = tmp_path / 'a.c3d'
  positions = np.random.default_rng(1).uniform(-reach, reach, (500, 9, 3))
  stated = c3d.write(path, tuple('abcdefghi'), (-1,) * 9, positions, 100.0)
  error = np.abs(c3d.read(path).positions - positions)
  assert error.max() <= within and error.max() <= stated
  assert (error <= 2.0**-24 * np.abs(positions) + 1e-15).all()


def test_the_vertical_is_stated_or_guessed(
    file: pathlib.Path, markers: Recording
) -> None:
  assert c3d.read(file).notes['up'] == 'Z: stated by the file: Y_SCREEN +Z'

  def rename(data: bytearray, at: int) -> None:
    data[at + 4:at + 6] = b'??'

  change(file, 'Y_SCREEN', rename)
  got = c3d.read(file)
  assert got.notes['up'] == 'Z: the force plate lies across it'
  np.testing.assert_allclose(got.positions, markers.positions, atol=1e-7)
  flat = c3d.read(file, up='y')
  assert flat.notes['up'] == 'Y: as the caller says'
  np.testing.assert_allclose(
      flat.positions, files.to_z_up(markers.positions, 'y'), atol=1e-7)


def test_forces_on_the_plate_are_turned_round(file: pathlib.Path) -> None:
  up = c3d.read(file).plates[0]
  # The scales of all six channels become -1.
  raw = file.read_bytes()
  at = raw.index(b'\x05\x02SCALE') + 9
  data = bytearray(raw)
  data[at + 3:at + 27] = struct.pack('<6f', *[-1.0] * 6)
  file.write_bytes(data)
  assert c3d._array(c3d.parse(file).parameters, 'ANALOG:SCALE').tolist() == (
      [-1.0] * 6)
  np.testing.assert_allclose(c3d.read(file).plates[0].forces, up.forces)
  np.testing.assert_allclose(c3d.read(file).plates[0].moments, up.moments)


@pytest.mark.parametrize('name, edit, field', [
    ('USED', lambda d, at: struct.pack_into('<h', d, at + 2, 21),
     'POINT:USED'),
    ('RATE', lambda d, at: struct.pack_into('<f', d, at + 2, 0.0),
     'POINT:RATE'),
    ('RATE', lambda d, at: struct.pack_into('<f', d, at + 2, np.nan),
     'POINT:RATE'),
    ('UNITS', lambda d, at: d.__setitem__(slice(at + 4, at + 6), b'm '),
     'unit'),
    ('TYPE', lambda d, at: struct.pack_into('<h', d, at + 3, 21), 'TYPE'),
    ('CHANNEL', lambda d, at: struct.pack_into('<h', d, at + 4, 77),
     'CHANNEL'),
    ('CORNERS', lambda d, at: d.__setitem__(
        slice(at + 5, at + 53), bytes(48)), 'CORNERS'),
    ('CORNERS', lambda d, at: d.__setitem__(at, 9), "'CORNERS'"),
])
def test_refuses_a_bad_parameter(
    file: pathlib.Path, name: str, edit: Callable[[bytearray, int], None],
    field: str
) -> None:
  change(file, name, edit)
  with pytest.raises(DataError) as caught:
    c3d.read(file)
  assert field in caught.value.field
  if field in ('TYPE', 'CHANNEL', 'CORNERS'):
    assert 'plates=False' in str(caught.value)
    assert not c3d.read(file, plates=False).plates


def test_refuses_a_cut_file(file: pathlib.Path) -> None:
  data = file.read_bytes()
  for end in (0, 1, 511, 513, 600, 1000, len(data) // 2, len(data) - 600):
    file.write_bytes(data[:end])
    with pytest.raises(DataError):
      c3d.read(file)


def test_refuses_to_write_what_the_format_cannot_hold(
    markers: Recording, tmp_path: pathlib.Path
) -> None:
  path = tmp_path / 'a.c3d'
  many = tuple(f'm{i}' for i in range(256))
  with pytest.raises(UserError, match='255'):
    c3d.write(path, many, (-1,) * 256, np.zeros((2, 256, 3)), 60.0)
  with pytest.raises(UserError, match='infinity'):
    c3d.write(path, ('a',), (-1,), np.full((2, 1, 3), np.inf), 60.0)
  assert not path.exists()
