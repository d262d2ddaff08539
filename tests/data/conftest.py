"""Small motion files, and a body that moves, for the tests of the readers."""

import dataclasses
from collections.abc import Callable
import pathlib
import random

import numpy as np
import pytest

from diffax.body import kinematics
from diffax.data import amass
from diffax.data.base import Recording
from diffax.errors import DataError

ASF = """# a leg of two bones
:version 1.10
:units
  mass 1.0
  length 0.45
  angle deg
:root
  order TX TY TZ RX RY RZ
  axis XYZ
  position 0 0 0
  orientation 0 0 0
:bonedata
  begin
    id 1
    name femur
    direction 0 -1 0
    length 9
    axis 0 0 90 XYZ
    dof rx ry rz
    limits (-160.0 20.0)
           (-70.0 70.0)
           (-60.0 70.0)
  end
  begin
    id 2
    name tibia
    direction 0 -1 0
    length 8
    axis 0 0 0 XYZ
    dof rx
  end
  begin
    id 3
    name toe
    direction 0 0 1
    length 4.5
    axis 0 0 0 XYZ
  end
:hierarchy
  begin
    root femur
    femur tibia
    tibia toe
  end
"""

AMC = """#!OML:ASF test
:FULLY-SPECIFIED
:DEGREES
1
root 0 18 0 0 0 0
femur 0 0 0
tibia 0
2
root 1 18 0 0 90 0
femur 0 0 0
tibia 0
3
root 1 18 0 0 0 0
femur 0 30 0
tibia 90
"""

BVH = """HIERARCHY
ROOT Hips
{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT Chest
  {
    OFFSET 0 60 0
    CHANNELS 3 Zrotation Xrotation Yrotation
    JOINT Arm
    {
      OFFSET 20 0 0
      CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
      End Site
      {
        OFFSET 60 0 0
      }
    }
  }
  JOINT Leg
  {
    OFFSET 10 -90 0
    CHANNELS 3 Zrotation Xrotation Yrotation
    End Site
    {
      OFFSET 0 0 0
    }
  }
}
MOTION
Frames: 3
Frame Time: 0.0333333
0 90 0 0 0 0 0 0 0 20 0 0 0 0 0 0 0 0
0 90 0 0 0 90 0 0 0 20 0 0 0 0 0 0 0 0
5 90 0 0 0 0 90 0 0 20 0 0 90 0 0 0 0 0
"""


@pytest.fixture
def amc(tmp_path: pathlib.Path) -> pathlib.Path:
  """A motion `01_01.amc` of three frames beside its skeleton `01.asf`."""
  (tmp_path / '01.asf').write_text(ASF)
  (tmp_path / '01_01.amc').write_text(AMC)
  return tmp_path / '01_01.amc'


@pytest.fixture
def bvh_file(tmp_path: pathlib.Path) -> pathlib.Path:
  """A motion of three frames in centimetres, Y up."""
  (tmp_path / 'small.bvh').write_text(BVH)
  return tmp_path / 'small.bvh'


@pytest.fixture(scope='session')
def person() -> Recording:
  """A person of 22 SMPL joints, who sways for a second and a half at 60 Hz."""
  time = np.arange(90)[:, None, None] / 60
  phase = np.arange(22)[:, None] + np.arange(3)
  angles = 0.3 * np.sin(2 * np.pi * time + phase)
  # The rest pose of SMPL has Y up.
  angles[:, 0] = (np.pi / 2, 0, 0)
  turns = kinematics.axis_angle(angles)
  root = np.concatenate([time[:, 0] * [0.5, 0, 0] + [0, 0, 0.95]])
  positions, _ = kinematics.forward(
      turns, amass.REST, amass.AMASS21.parents, root)
  return Recording(
      joints=amass.AMASS21.joints, parents=amass.AMASS21.parents,
      positions=positions, fps=60.0, file='person', unit='m')


@pytest.fixture(scope='session')
def rename() -> Callable[..., Recording]:
  """Give a recording other names of its joints."""
  def change(recording: Recording, joints: tuple[str, ...]) -> Recording:
    return dataclasses.replace(recording, joints=joints)

  return change


@pytest.fixture(scope='session')
def mutate() -> Callable[[bytes, int], bytes]:
  """Damage a file: cut it, flip bytes, drop or double a stretch."""
  def damage(data: bytes, seed: int) -> bytes:
    rng = random.Random(seed)
    broken = bytearray(data)
    start = rng.randrange(len(data))
    kind = rng.randrange(4)
    if kind == 0:
      return bytes(broken[:start])
    if kind == 1:
      for _ in range(rng.randrange(1, 4)):
        broken[rng.randrange(len(data))] = rng.randrange(256)
      return bytes(broken)
    stretch = broken[start:start + rng.randrange(1, 60)]
    if kind == 2:
      del broken[start:start + len(stretch)]
    else:
      broken[start:start] = stretch
    return bytes(broken)

  return damage


@pytest.fixture(scope='session')
def survives() -> Callable[[Callable[[], object]], bool]:
  """Call a reader; say whether it read, or refused with a DataError."""
  def call(read: Callable[[], object]) -> bool:
    try:
      read()
    except DataError as error:
      assert all((error.file, error.field, error.expected, error.found))
      return False
    return True

  return call
