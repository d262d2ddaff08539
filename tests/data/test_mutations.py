"""Damaged files: refused in a sentence, whatever the damage, and quickly.

Each reader gets a sound file, damaged at random in one of eleven ways. It may
read what is left or refuse it; it may not raise anything but a UserError, take
5 s, or half a gigabyte. The short form draws 30 damages per reader, the long
form 1,000.
"""

from collections.abc import Callable
import dataclasses
import gzip
import pathlib
import random
import resource
import time
from typing import NamedTuple

import numpy as np
import pytest

from diffax.data import audio
from diffax.data import imu_csv
from diffax.data import inspect
from diffax.data import readers
from diffax.data import tables
from diffax.data import writers
from diffax.data.base import ForcePlate
from diffax.data.base import Recording
from diffax.errors import UserError

SECONDS = 5.0
MEGABYTES = 500
WORDS = ('nan', '1e300', '-1e300', 'inf', 'walk', '', '0', '-1', '1e-300',
         '7,5', '99999999999999999999', '0x1F', '1_0', '\u0663')
READERS = ('bvh', 'amc', 'asf', 'c3d', 'trc', 'mot', 'csv', 'npz', 'wav',
           'flac', 'ogg', 'imu', 'imu_gz', 'signals', 'series', 'bvh_xz')


class Case(NamedTuple):
  """A sound file, and how to read it."""

  path: pathlib.Path
  read: Callable[[], object]


def plate(frames: int) -> ForcePlate:
  """A plate of 60 x 40 cm under one foot."""
  time_s = np.arange(2 * frames)[:, None] / 120
  forces = np.array([20, -10, 700.0]) * np.sin(np.pi * time_s / time_s[-1])
  at = np.array([0.3, 0.2, 0.0]) + 0.05 * time_s
  corners = np.array([[0.6, 0, 0], [0.0, 0, 0], [0, 0.4, 0], [0.6, 0.4, 0]])
  middle = corners.mean(0)
  return ForcePlate(
      'plate 1', forces, np.cross(at - middle, forces), at, middle, corners,
      120.0, 'N, Nmm, mm')


@pytest.fixture
def cases(
    amc: pathlib.Path, bvh_file: pathlib.Path, person: Recording,
    tmp_path: pathlib.Path
) -> Callable[[str], Case]:
  """Make the sound file of a reader."""
  short = dataclasses.replace(
      person, positions=person.positions[:12], plates=(plate(12),))

  def load(path: pathlib.Path, **options: object) -> Case:
    return Case(path, lambda: readers.load(path, **options))  # type: ignore

  def make(name: str) -> Case:
    if name in ('c3d', 'trc', 'csv', 'npz'):
      path = tmp_path / f'a.{name}'
      writers.save(path, short)
      return load(path)
    if name == 'bvh_xz':
      path = tmp_path / 'a.bvh.xz'
      writers.save(path, short)
      return load(path)
    if name in ('wav', 'flac', 'ogg'):
      path = tmp_path / f'a.{name}'
      audio.write(path, 0.5 * np.sin(np.arange(2400) / 5), 8000)
      return load(path, rate=8000)
    if name == 'mot':
      path = tmp_path / 'a.mot'
      path.write_text(MOT)
      return load(path)
    if name == 'amc':
      return load(amc)
    if name == 'asf':
      return Case(amc.with_name('01.asf'), lambda: readers.load(amc))
    if name == 'bvh':
      return load(bvh_file)
    if name == 'series':
      path = tmp_path / 'a.csv'
      path.write_text(SENSOR)
      return Case(path, lambda: tables.read_series(
          path, {'acc': ('ax', 'ay', 'az')}, need=('acc',)))
    if name == 'signals':
      path = tmp_path / 'a.csv'
      path.write_text(SENSOR)
      return load(path)
    path = tmp_path / ('a.csv.gz' if name == 'imu_gz' else 'a.csv')
    data = SENSOR.encode()
    path.write_bytes(gzip.compress(data) if name == 'imu_gz' else data)
    return Case(path, lambda: imu_csv.recordings(
        path, path.name, ('ax', 'ay', 'az', 'gx', 'gy', 'gz'),
        {'subject': 'who', 'label': 'what'}, None, {}, 'time', 1.0, 50.0, 3.0))

  return make


MOT = '\n'.join([
    'Forces', 'version=1', 'nRows=20', 'nColumns=10', 'inDegrees=no',
    'endheader', '\t'.join([
        'time', *(f'ground_force_r_{k}{a}' for k in 'vp' for a in 'xyz'),
        *(f'ground_torque_r_{a}' for a in 'xyz')]),
    *('\t'.join(f'{v:.5f}' for v in (
        i / 100, 5, 600 + i, 2, 0.1 * i, 0, 0.2, 0, 1, 0)) for i in range(20)),
]) + '\n'

SENSOR = '\n'.join([
    'time,ax,ay,az,gx,gy,gz,who,what',
    *(','.join([f'{i / 50:.2f}', *(f'{np.sin(i + k):.4f}' for k in range(6)),
                'Ann', 'walk' if i < 30 else 'run']) for i in range(60)),
]) + '\n'


def damaged(data: bytes, rng: random.Random) -> bytes:
  """Damage a file in one of eleven ways."""
  kind = rng.randrange(11)
  size = len(data)
  broken = bytearray(data)
  start = rng.randrange(size)
  # Half of the damage goes to the beginning, where the headers are.
  if rng.random() < 0.5:
    start = rng.randrange(min(size, 1024))
  stretch = rng.randrange(1, 1 + max(1, size // 4))
  if kind == 0:
    return bytes(broken[:start])
  if kind == 1:
    return bytes(broken[start:])
  if kind == 2:
    broken[start] ^= 1 << rng.randrange(8)
  elif kind == 3:
    for _ in range(rng.randrange(1, 20)):
      broken[(start + rng.randrange(64)) % size] = rng.randrange(256)
  elif kind == 4:
    del broken[start:start + stretch]
  elif kind == 5:
    broken[start:start] = broken[start:start + stretch]
  elif kind == 6:
    broken[start:start + 4] = np.array(
        rng.choice([np.nan, np.inf, 1e30, -1e-40]), '<f4').tobytes()
  elif kind == 7:
    broken[start:start + 2] = rng.choice([b'\xff\xff', b'\0\0', b'\xff\x7f'])
  elif kind == 8:
    broken[start:start + stretch] = bytes(len(broken[start:start + stretch]))
  else:
    parts = bytes(broken).split(b'\n')
    if kind == 9:
      at = rng.randrange(len(parts))
      some = parts[at:at + 8]
      rng.shuffle(some)
      parts[at:at + 8] = some
    else:
      at = rng.randrange(len(parts))
      mark = b',' if b',' in parts[at] else b'\t' if b'\t' in parts[at] else (
          b' ')
      words = parts[at].split(mark)
      words[rng.randrange(len(words))] = rng.choice(WORDS).encode()
      parts[at] = mark.join(words)
    return b'\n'.join(parts)
  return bytes(broken)


def survey(case: Case, count: int) -> dict[str, float]:
  """Damage a file `count` times; return what came of it."""
  whole = case.path.read_bytes()
  case.read()
  found = {'read': 0, 'refused': 0, 'slowest': 0.0}
  before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  for seed in range(count):
    case.path.write_bytes(damaged(whole, random.Random(seed)))
    start = time.perf_counter()
    try:
      case.read()
      found['read'] += 1
    except UserError as error:
      assert str(error) and '\n' not in str(error), f'seed {seed}: {error}'
      found['refused'] += 1
    except BaseException as error:
      raise AssertionError(
          f'seed {seed}: {type(error).__name__}: {error}') from error
    found['slowest'] = max(found['slowest'], time.perf_counter() - start)
  after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  found['megabytes'] = (after - before) / 1024
  return found


def check(found: dict[str, float]) -> None:
  assert found['slowest'] < SECONDS
  assert found['megabytes'] < MEGABYTES
  # Some damage is harmless: a name, a digit, a sample of a wave.
  assert found['refused'] >= 0.1 * (found['refused'] + found['read'])


@pytest.mark.parametrize('name', READERS)
def test_damage_is_refused_in_a_sentence(
    name: str, cases: Callable[[str], Case]
) -> None:
  check(survey(cases(name), 30))


@pytest.mark.slow
@pytest.mark.parametrize('name', READERS)
def test_a_thousand_damages_are_refused_in_a_sentence(
    name: str, cases: Callable[[str], Case]
) -> None:
  found = survey(cases(name), 1000)
  print(name, found)
  check(found)


@pytest.mark.parametrize('name', ['c3d', 'trc', 'csv', 'mot', 'signals', 'npz'])
def test_damage_is_looked_at_without_a_traceback(
    name: str, cases: Callable[[str], Case]
) -> None:
  case = cases(name)
  check(survey(Case(case.path, lambda: inspect.look(case.path)), 30))
