"""Any motion file by its suffix; our npz; damage never gives a traceback."""

from collections.abc import Callable
import lzma
import pathlib
from typing import Any

import numpy as np
import pytest

from diffax.data import amass, readers
from diffax.data.base import Recording
from diffax.errors import DataError, UserError

MUTATIONS = 400


def _save(path: pathlib.Path, person: Recording, **change: Any) -> None:
  arrays = {
      'positions': person.positions, 'joints': np.array(person.joints),
      'parents': np.array(person.parents), 'fps': np.array(60.0),
      'unit': np.array('m'), 'up': np.array('z'), **change}
  np.savez(path, **{k: v for k, v in arrays.items() if v is not None})


def test_saves_and_loads_npz(
    person: Recording, tmp_path: pathlib.Path
) -> None:
  path = tmp_path / 'sub' / 'a.npz'
  readers.save_npz(path, person.joints, person.parents, person.positions, 60.0)
  got = readers.load(path)
  assert (got.joints, got.parents) == (person.joints, person.parents)
  assert (got.fps, got.unit) == (60.0, 'm')
  np.testing.assert_array_equal(got.positions, person.positions)
  packed = tmp_path / 'b.npz.xz'
  packed.write_bytes(lzma.compress(path.read_bytes()))
  np.testing.assert_array_equal(
      readers.load(packed).positions, person.positions)


def test_converts_units_axes_and_times(
    person: Recording, tmp_path: pathlib.Path
) -> None:
  path = tmp_path / 'a.npz'
  x, y, z = np.moveaxis(person.positions, -1, 0)
  _save(path, person, positions=np.stack([x, z, -y], -1) * 1000,
        unit=np.array('mm'), up=np.array('y'), fps=None,
        time=7 + np.arange(90) / 30)
  got = readers.load(path)
  np.testing.assert_allclose(got.positions, person.positions, atol=1e-12)
  assert got.fps == pytest.approx(30.0)
  assert readers.load(path, fps=25).fps == 25.0
  with pytest.raises(DataError, match='unit'):
    readers.load(path, unit='cm')


@pytest.mark.parametrize('change, field', [
    ({'positions': None}, 'positions'),
    ({'joints': None}, 'joints'),
    ({'parents': None}, 'parents'),
    ({'fps': None}, 'fps'),
    ({'fps': np.array(0.0)}, 'fps'),
    ({'fps': np.array(-60.0)}, 'fps'),
    ({'fps': np.array('60')}, 'fps'),
    ({'positions': np.zeros((90, 21, 3))}, 'positions'),
    ({'positions': np.zeros((90, 66))}, 'positions'),
    ({'joints': np.array(['a'] * 22)}, 'joints'),
    ({'joints': np.arange(22)}, 'joints'),
    ({'parents': np.zeros(22, int)}, 'parents'),
    ({'parents': np.array([-1] + [21] * 21)}, 'parents'),
    ({'unit': np.array('ell')}, 'unit'),
    ({'up': np.array('x')}, 'up'),
    ({'time': np.arange(90)[::-1] / 60}, 'time'),
    ({'time': np.zeros(89)}, 'time'),
])
def test_refuses_a_bad_npz(
    person: Recording, tmp_path: pathlib.Path, change: dict[str, Any],
    field: str
) -> None:
  _save(tmp_path / 'a.npz', person, **change)
  with pytest.raises(DataError) as caught:
    readers.load(tmp_path / 'a.npz')
  assert field in caught.value.field


@pytest.mark.parametrize('scale, likely', [
    (1000, 'milli'), (100, 'centi'), (39.37, 'inch')])
def test_refuses_other_units_than_metres(
    person: Recording, tmp_path: pathlib.Path, scale: float, likely: str
) -> None:
  _save(tmp_path / 'a.npz', person, positions=person.positions * scale)
  with pytest.raises(DataError) as caught:
    readers.load(tmp_path / 'a.npz')
  assert caught.value.field == 'unit'
  assert likely in str(caught.value)


def test_refuses_frames_that_are_not_finite(
    person: Recording, tmp_path: pathlib.Path
) -> None:
  positions = person.positions.copy()
  positions[40:42, 3] = np.nan
  _save(tmp_path / 'a.npz', person, positions=positions)
  with pytest.raises(DataError, match='frame 40.*Spine1.*2 of 90'):
    readers.load(tmp_path / 'a.npz')
  with pytest.raises(DataError):
    readers.save_npz(tmp_path / 'b.npz', person.joints, person.parents,
                     positions, 60.0)


@pytest.mark.parametrize('value', ['1e308', '-1e200', '1e12', 'inf', 'nan'])
def test_refuses_numbers_beyond_any_motion(
    amc: pathlib.Path, bvh_file: pathlib.Path, value: str
) -> None:
  bvh_file.write_text(bvh_file.read_text().replace('0 60 0', f'0 {value} 0'))
  amc.write_text(amc.read_text().replace('tibia 90', f'tibia {value}'))
  with pytest.raises(DataError, match="OFFSET of 'Chest'"):
    readers.load(bvh_file)
  with pytest.raises(DataError, match=r"'tibia' .* at \[2\]"):
    readers.load(amc)


def test_refuses_pickles(tmp_path: pathlib.Path) -> None:
  np.savez(tmp_path / 'a.npz', positions=np.array([{}], dtype=object))
  with pytest.raises(DataError, match='npz archive'):
    readers.load(tmp_path / 'a.npz')


def test_picks_the_reader(
    amc: pathlib.Path, bvh_file: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  assert readers.load(amc, fps=30).fps == 30.0
  assert readers.load(bvh_file, unit='cm').joints[0] == 'Hips'
  np.savez(tmp_path / 'smpl.npz', poses=np.zeros((3, 156)),
           trans=np.zeros((3, 3)), mocap_framerate=60.0)
  assert readers.load(tmp_path / 'smpl.npz').joints == amass.AMASS21.joints
  with pytest.raises(UserError, match="'.fbx'"):
    readers.load(tmp_path / 'a.fbx')
  with pytest.raises(UserError, match="no option 'unit'"):
    readers.load(amc, unit='cm')


@pytest.mark.parametrize('kind', ['bvh', 'amc', 'asf', 'npz', 'amass', 'xz'])
def test_damage_never_gives_a_traceback(
    kind: str,
    amc: pathlib.Path,
    bvh_file: pathlib.Path,
    person: Recording,
    tmp_path: pathlib.Path,
    mutate: Callable[[bytes, int], bytes],
    survives: Callable[[Callable[[], object]], bool],
) -> None:
  _save(tmp_path / 'npz.npz', person, positions=person.positions[:4])
  np.savez(tmp_path / 'amass.npz', poses=np.zeros((2, 66)),
           trans=np.zeros((2, 3)), mocap_framerate=60.0, gender=b'male')
  (tmp_path / 'xz.bvh.xz').write_bytes(lzma.compress(bvh_file.read_bytes()))
  place = {'bvh': bvh_file, 'amc': amc, 'asf': amc.with_name('01.asf'),
           'npz': tmp_path / 'npz.npz', 'amass': tmp_path / 'amass.npz',
           'xz': tmp_path / 'xz.bvh.xz'}[kind]
  motion = amc if kind == 'asf' else place
  whole = place.read_bytes()
  assert survives(lambda: readers.load(motion))
  refused = 0
  for seed in range(MUTATIONS):
    place.write_bytes(mutate(whole, seed))
    refused += not survives(lambda: readers.load(motion))
  # Some damage is harmless (a name, a digit), most is not.
  assert MUTATIONS // 4 < refused <= MUTATIONS
