"""What is written comes back: positions, frames, rate, parents, plates."""

import dataclasses
import pathlib
from typing import Any

import numpy as np
import pytest

from diffax.data import base
from diffax.data import readers
from diffax.data import writers
from diffax.data.base import ForcePlate
from diffax.data.base import Recording
from diffax.errors import DataError
from diffax.errors import UserError

# Metres: 1e-4 mm, and 1e-3 mm of the text of a BVH.
WITHIN = {'.npz': 0.0, '.csv': 1e-7, '.trc': 1e-7, '.c3d': 1e-7, '.bvh': 1e-6}


@pytest.fixture(scope='module')
def plate() -> ForcePlate:
  """A plate turned by 30 degrees, 180 samples at 120 Hz."""
  rng = np.random.default_rng(0)
  turn = np.deg2rad(30)
  x = np.array([np.cos(turn), np.sin(turn), 0])
  y = np.array([np.sin(turn), -np.cos(turn), 0])
  middle = np.array([0.4, -0.3, 0.01])
  corners = middle + np.stack(
      [0.3 * a * x + 0.2 * b * y for a, b in ((1, 1), (-1, 1), (-1, -1),
                                              (1, -1))])
  forces = rng.normal(size=(180, 3)) * [50, 50, 100] + [0, 0, 700]
  at = middle + rng.uniform(-0.1, 0.1, (180, 2)) @ np.stack([x, y])
  free = rng.normal(size=(180, 1)) * [0, 0, 5.0]
  return ForcePlate(
      'plate 1', forces, np.cross(at - middle, forces) + free, at, middle,
      corners, 120.0, 'N, Nmm, mm')


@pytest.mark.parametrize('fps', [60.0, 59.94, 1 / 0.0333667])
@pytest.mark.parametrize('suffix', writers.MOTIONS)
def test_what_is_written_comes_back(
    person: Recording, tmp_path: pathlib.Path, suffix: str, fps: float
) -> None:
  path = tmp_path / 'sub' / f'a{suffix}'
  given = dataclasses.replace(person, fps=fps)
  saved = writers.save(path, given)
  got = readers.load(path, 'motion')
  assert saved.path == path and saved.error <= WITHIN[suffix]
  assert got.positions.shape == given.positions.shape
  # A C3D holds the rate in four bytes, a BVH ten digits of its inverse.
  assert got.fps == pytest.approx(
      fps, rel={'.c3d': 6e-8, '.bvh': 1e-8}.get(suffix, 0), abs=0)
  if fps == 60.0:
    assert got.fps == 60.0
  order = [got.joints.index(joint) for joint in given.joints]
  assert sorted(order) == list(range(22))
  found = np.abs(got.positions[:, order] - given.positions).max()
  assert found <= WITHIN[suffix] and found <= saved.error + 1e-6 * (
      suffix == '.bvh')
  if suffix == '.trc':
    assert saved.dropped == ('parents',)
    assert not got.has_bones
  else:
    assert not saved.dropped
    above = [got.joints[got.parents[i]] if got.parents[i] >= 0 else None
             for i in order]
    assert above == [given.joints[p] if p >= 0 else None
                     for p in given.parents]


@pytest.mark.parametrize('suffix', ['.csv', '.trc', '.c3d'])
@pytest.mark.parametrize('unit', ['m', 'cm', 'mm'])
def test_units_and_compression_come_back(
    person: Recording, tmp_path: pathlib.Path, suffix: str, unit: str
) -> None:
  path = tmp_path / f'a{suffix}.xz'
  writers.save(path, person, unit=unit)
  assert path.read_bytes()[:4] == b'\xfd7zX'
  got = readers.load(path, 'motion')
  assert got.unit == unit
  np.testing.assert_allclose(got.positions, person.positions, atol=3e-7)


@pytest.mark.parametrize('suffix', ['.npz', '.csv', '.trc', '.c3d'])
def test_gaps_come_back_and_are_refused_kept_or_filled(
    person: Recording, tmp_path: pathlib.Path, suffix: str
) -> None:
  positions = person.positions.copy()
  positions[40:43, 5] = np.nan
  path = tmp_path / f'a{suffix}'
  writers.save(path, dataclasses.replace(person, positions=positions))
  with pytest.raises(DataError, match=f'frame 40, joint {person.joints[5]}'):
    readers.load(path)
  kept = readers.load(path, gaps='keep').positions
  np.testing.assert_array_equal(np.isnan(kept), np.isnan(positions))
  filled = readers.load(path, gaps='fill')
  assert '3 points' in filled.notes['gaps']
  np.testing.assert_allclose(filled.positions, person.positions, atol=2e-3)
  np.testing.assert_allclose(
      filled.positions[:40], person.positions[:40], atol=1e-7)
  with pytest.raises(DataError, match='frames 40 to 42'):
    readers.load(path, gaps='fill', max_gap=0.04)
  with pytest.raises(UserError, match='gaps'):
    readers.load(path, gaps='guess')


@pytest.mark.parametrize('suffix', ['.npz', '.c3d'])
def test_force_plates_come_back(
    person: Recording, plate: ForcePlate, tmp_path: pathlib.Path, suffix: str
) -> None:
  path = tmp_path / f'a{suffix}'
  other = dataclasses.replace(
      plate, name='plate 2', origin=np.zeros(3),
      moments=plate.moments + np.cross(plate.origin, plate.forces))
  saved = writers.save(
      path, dataclasses.replace(person, plates=(plate, other)))
  assert not saved.dropped
  first, second = readers.load(path).plates
  assert (first.name, second.name) == ('plate 1', 'plate 2')
  for got in (first, second):
    assert (got.rate, got.unit) == (120.0, 'N, Nmm, mm')
    np.testing.assert_allclose(got.forces, plate.forces, atol=1e-3)
    np.testing.assert_allclose(got.corners, plate.corners, atol=1e-7)
    np.testing.assert_allclose(got.pressure, plate.pressure, atol=1e-6)
  np.testing.assert_allclose(first.moments, plate.moments, atol=1e-3)
  # A C3D has one point for the moments, the middle of the surface.
  moved = other.moments if suffix == '.npz' else plate.moments
  np.testing.assert_allclose(second.moments, moved, atol=1e-3)


def test_what_a_format_cannot_hold_is_named(
    person: Recording, plate: ForcePlate, tmp_path: pathlib.Path
) -> None:
  given = dataclasses.replace(person, plates=(plate,))
  assert writers.save(tmp_path / 'a.trc', given).dropped == (
      'force plates', 'parents')
  assert writers.save(tmp_path / 'a.bvh', given).dropped == ('force plates',)
  markers = dataclasses.replace(person, parents=(-1,) * 22)
  with pytest.raises(UserError, match='22 roots. Markers fit into .c3d'):
    writers.save(tmp_path / 'b.bvh', markers)
  for changed in (
      dataclasses.replace(plate, corners=None),
      dataclasses.replace(plate, rate=100.0),
      dataclasses.replace(plate, forces=plate.forces[:-1]),
  ):
    with pytest.raises(UserError, match='Write npz instead'):
      writers.save(
          tmp_path / 'b.c3d', dataclasses.replace(person, plates=(changed,)))
  assert sorted(p.name for p in tmp_path.iterdir()) == ['a.bvh', 'a.trc']


@pytest.mark.parametrize('suffix', ['.npz', '.csv', '.trc', '.c3d'])
def test_markers_come_back_as_markers(
    person: Recording, tmp_path: pathlib.Path, suffix: str
) -> None:
  path = tmp_path / f'a{suffix}'
  writers.save(path, dataclasses.replace(person, parents=(-1,) * 22))
  got = readers.load(path)
  assert got.parents == (-1,) * 22 and not got.has_bones
  assert got.joints == person.joints


@pytest.mark.parametrize('suffix, within', [
    ('.wav', 2**-15), ('.flac', 2**-15), ('.ogg', 0.05)])
def test_a_sound_comes_back_by_the_same_two_functions(
    tmp_path: pathlib.Path, suffix: str, within: float
) -> None:
  pytest.importorskip('soundfile')
  wave = 0.5 * np.sin(np.arange(8000) / 20).astype(np.float32)
  saved = writers.save(tmp_path / f'a{suffix}', wave, rate=8000)
  got = readers.load(tmp_path / f'a{suffix}', 'sound', rate=8000)
  assert saved.gain == 1.0 and not saved.dropped
  assert (got.facts.rate, got.wave.shape) == (8000, (8000,))
  np.testing.assert_allclose(got.wave, wave, atol=within)
  again = writers.save(tmp_path / f'b{suffix}', got, rate=8000)
  assert again.path.is_file()


@pytest.mark.parametrize('name, what, options, message', [
    ('a.fbx', 'motion', {}, 'expected the suffix of a motion'),
    ('a.wav', 'motion', {}, 'expected the suffix of a motion'),
    ('a.bvh', 'sound', {}, 'expected the suffix of a sound'),
    ('a.wav', 'sound', {'unit': 'm'}, 'unit: expected none for a sound'),
    ('a.bvh', 'motion', {'rate': 8000}, 'rate: expected none for a motion'),
    ('a.npz', 'motion', {'unit': 'mm'}, 'plain npz in metres'),
    ('a.npz.xz', 'motion', {}, 'plain npz in metres'),
    ('a.c3d', 'motion', {'unit': 'in'}, 'unit: expected m, cm or mm'),
    ('a.csv', 'motion', {'unit': 'ell'}, 'ell'),
    ('a.trc', 'motion', {'unit': 'ell'}, 'ell'),
])
def test_refuses_what_does_not_fit(
    person: Recording, tmp_path: pathlib.Path, name: str, what: str,
    options: dict[str, Any], message: str
) -> None:
  given = person if what == 'motion' else np.zeros(8000, np.float32)
  with pytest.raises(UserError, match=message):
    writers.save(tmp_path / name, given, **options)
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('suffix', writers.MOTIONS)
@pytest.mark.parametrize('change', [
    {'fps': 0.0},
    {'fps': float('nan')},
    {'joints': ('a',) * 22},
    {'positions': np.zeros((90, 21, 3))},
    {'positions': np.zeros((1, 22, 3))},
    {'parents': (0,) * 22},
    {'parents': (-1, 5) + (0,) * 20},
])
def test_refuses_nonsense(
    person: Recording, tmp_path: pathlib.Path, suffix: str,
    change: dict[str, Any]
) -> None:
  with pytest.raises(UserError):
    writers.save(
        tmp_path / f'a{suffix}', dataclasses.replace(person, **change))
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('suffix', writers.MOTIONS)
def test_a_place_that_cannot_be_written_is_named(
    person: Recording, tmp_path: pathlib.Path, suffix: str
) -> None:
  (tmp_path / 'file').write_text('in the way')
  with pytest.raises(UserError, match='cannot be written'):
    writers.save(tmp_path / 'file' / f'a{suffix}', person)


def test_a_kind_that_was_not_asked_for_is_refused(
    person: Recording, tmp_path: pathlib.Path
) -> None:
  writers.save(tmp_path / 'a.csv', person)
  (tmp_path / 'b.csv').write_text('time,acc_x,acc_y,acc_z\n0,1,2,3\n.1,1,2,3\n')
  assert isinstance(readers.load(tmp_path / 'a.csv'), Recording)
  assert isinstance(readers.load(tmp_path / 'b.csv'), base.Signals)
  assert readers.load(tmp_path / 'a.csv', 'signals').rate == 60.0
  with pytest.raises(DataError, match='joints such as hip_x'):
    readers.load(tmp_path / 'b.csv', 'motion')
  for name, kind in (('a.wav', 'motion'), ('a.mot', 'motion'),
                     ('a.bvh', 'sound'), ('a.c3d', 'signals')):
    with pytest.raises(UserError, match=f'{name}: expected .* found suffix'):
      readers.load(tmp_path / name, kind)
  with pytest.raises(UserError, match='dance'):
    readers.load(tmp_path / 'a.csv', 'dance')  # type: ignore[call-overload]
