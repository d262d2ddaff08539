"""Bad files of every kind that people have: each refused by name, in a line."""

from collections.abc import Callable
import dataclasses
import pathlib
import time
from typing import Any

import numpy as np
import pytest

from diffax.data import mapping
from diffax.data import readers
from diffax.data import writers
from diffax.data.base import Recording
from diffax.errors import DataError

Folder = pathlib.Path
Make = Callable[[Folder, Recording], pathlib.Path]


def saved(name: str, **change: Any) -> Make:
  """Write a person, changed."""
  def make(folder: Folder, person: Recording) -> pathlib.Path:
    path = folder / name
    writers.save(path, dataclasses.replace(person, **change))
    return path

  return make


def edited(name: str, old: str, new: str, count: int = 1) -> Make:
  """Write a person and change words of the file."""
  def make(folder: Folder, person: Recording) -> pathlib.Path:
    path = saved(name)(folder, person)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, count))
    return path

  return make


def cut(name: str, keep: float) -> Make:
  """Write a person and cut the file."""
  def make(folder: Folder, person: Recording) -> pathlib.Path:
    path = saved(name)(folder, person)
    data = path.read_bytes()
    path.write_bytes(data[:int(len(data) * keep)])
    return path

  return make


def holding(name: str, data: bytes) -> Make:
  """Write bytes."""
  def make(folder: Folder, person: Recording) -> pathlib.Path:
    (folder / name).write_bytes(data)
    return folder / name

  return make


def arrays(**change: Any) -> Make:
  """Write our npz, changed."""
  def make(folder: Folder, person: Recording) -> pathlib.Path:
    values = {
        'positions': person.positions, 'joints': np.array(person.joints),
        'parents': np.array(person.parents), 'fps': np.array(60.0)}
    for key, value in change.items():
      values[key] = value(values[key]) if callable(value) else value
    np.savez(folder / 'a.npz', **values)
    return folder / 'a.npz'

  return make


def spoilt(values: np.ndarray) -> np.ndarray:
  values = values.copy()
  values[30:33, 4] = np.nan
  return values


def rows(line: Callable[[int], str], head: str = 'time,hip_x,hip_y,hip_z,'
         'toe_x,toe_y,toe_z') -> bytes:
  return '\n'.join([head, *(line(i) for i in range(20))]).encode()


def steady(i: int) -> str:
  return f'{i / 50},0,0,0.9,0,0,0'


# What is wrong, the file, the field that is named.
BAD: dict[str, tuple[Make, str]] = {
    'an empty file': (holding('a.bvh', b''), 'file'),
    'an empty table': (holding('a.csv', b''), 'file'),
    'names without rows': (holding('a.csv', b'time,hip_x,hip_y,hip_z\n'),
                           'rows'),
    'a picture with the wrong name': (
        holding('a.bvh', b'\x89PNG\r\n\x1a\n\0\0\0\rIHDR'), 'file'),
    'a web page with the wrong name': (
        holding('a.c3d', b'<!DOCTYPE html><html>' * 99), 'header'),
    'a web page for a table': (
        holding('a.trc', b'<!DOCTYPE html><html>\n' * 99), 'line 1'),
    'a cut C3D': (cut('a.c3d', 0.6), 'frames'),
    'a C3D cut in its parameters': (cut('a.c3d', 0.01), 'header'),
    'a cut BVH': (cut('a.bvh', 0.7), 'Frames'),
    'a cut hierarchy': (cut('a.bvh', 0.05), 'MOTION'),
    'a cut TRC': (cut('a.trc', 0.7), 'NumFrames'),
    'a cut archive': (cut('a.npz', 0.7), 'npz archive'),
    'a cut table': (cut('a.csv', 0.6997), 'line'),
    'a cut xz': (cut('a.bvh.xz', 0.5), 'compression'),
    'a cut gzip': (holding('a.csv.gz', b'\x1f\x8b\x08\0\0\0'), 'compression'),
    'a frame of NaN': (arrays(positions=spoilt), 'frame 30, joint LKnee'),
    'NaN in a BVH': (edited('a.bvh', '\n0 ', '\nnan '), 'motion'),
    'infinity': (arrays(positions=lambda x: x + np.inf), 'positions'),
    'millimetres for metres': (arrays(positions=lambda x: x * 1000), 'unit'),
    'centimetres for metres': (arrays(positions=lambda x: x * 100), 'unit'),
    'metres for millimetres': (
        edited('a.trc', '\tmm\t', '\tm\t'), 'unit'),
    'a dwarf in a table': (
        edited('a.csv', '# unit: m', '# unit: mm'), 'unit'),
    'no rate': (arrays(fps=np.array('fast')), 'fps'),
    'a rate of zero': (arrays(fps=np.array(0.0)), 'fps'),
    'a rate that the times deny': (
        edited('a.csv', '# fps: 60.0', '# fps: 30'), '# fps'),
    'a frame time of zero': (
        edited('a.bvh', 'Frame Time: 0.01', 'Frame Time: 0.00 #'),
        'Frame Time'),
    'time runs backwards': (
        holding('a.csv', rows(lambda i: steady(i if i != 9 else 5))), 'time'),
    'time stands still': (
        holding('a.csv', rows(lambda i: steady(min(i, 9)))), 'time'),
    'time jumps': (
        holding('a.csv', rows(lambda i: steady(i + 50 * (i > 9)))), 'time'),
    'a date for a time': (
        holding('a.csv', rows(lambda i: f'2024-05-0{i % 9},0,0,0.9,0,0,0')),
        'time'),
    'a missing axis': (
        holding('a.csv', b'# unit: m\n' + rows(
            steady, 'time,hip_x,hip_y,hip_z,toe_x,toe_y,to')),
        'none'),
    'a decimal comma': (
        holding('a.csv', rows(lambda i: steady(i).replace('0.9', '0,9'))),
        'line 2'),
    'semicolons': (
        holding('a.csv', rows(steady).replace(b',', b';')), 'columns'),
    'a joint twice': (
        holding('a.csv', rows(steady).replace(b'toe', b'hip')), 'line 1'),
    'a parent that is no joint': (
        edited('a.csv', 'LHip=Pelvis', 'LHip=Pelvic'), 'parents, LHip'),
    'parents in a ring': (
        edited('a.csv', '# parents: Pelvis=,', '# parents: Pelvis=LKnee,'),
        'parents'),
    'too few parents': (arrays(parents=lambda p: p[:-1]), 'parents'),
    'joints for no positions': (arrays(joints=lambda j: j[:-1]), 'parents'),
    'positions in two dimensions': (
        arrays(positions=lambda x: x[..., :2]), 'positions'),
    'one frame': (arrays(positions=lambda x: x[:1]), 'frames'),
    'a pickle': (arrays(positions=np.array([{}], dtype=object)),
                 'npz archive'),
    'a folder': (lambda folder, person: folder / '..' / folder.name / 'b.bvh',
                 'file'),
}


def test_there_are_thirty_kinds() -> None:
  assert len(BAD) >= 30


@pytest.mark.parametrize('what', sorted(BAD))
def test_is_refused_by_name(
    what: str, person: Recording, tmp_path: pathlib.Path
) -> None:
  make, field = BAD[what]
  path = make(tmp_path, person)
  if what == 'a folder':
    path.mkdir()
  start = time.perf_counter()
  if field == 'none':
    # A joint without three axes is none; it is missed by who needs it.
    with pytest.raises(DataError) as caught:
      mapping.to_skeleton(readers.load(path, 'motion'))
    assert caught.value.field == 'joints'
  else:
    with pytest.raises(DataError) as caught:
      readers.load(path)
    assert field in caught.value.field
  assert time.perf_counter() - start < 5
  error = caught.value
  assert error.file == str(path)
  assert error.expected and error.found and '\n' not in str(error)


def test_a_bone_of_no_length_is_refused_by_who_needs_it(
    person: Recording, tmp_path: pathlib.Path
) -> None:
  positions = person.positions.copy()
  positions[:, 4] = positions[:, 1]
  path = saved('a.csv', positions=positions)(tmp_path, person)
  with pytest.raises(DataError, match='bone LHip - LKnee'):
    mapping.own_skeleton(readers.load(path, 'motion'))
