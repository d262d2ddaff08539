"""Mapping by name: every rig, a user's own map, refusals."""

from collections.abc import Callable
import dataclasses
import io
import json
import pathlib

import numpy as np
import pytest
import rich.console

from diffax.body import skeletons
from diffax.data import mapping
from diffax.data.base import Recording
from diffax.errors import DataError, UserError

AMASS21 = skeletons.AMASS21


def _names(rule: mapping.Rule) -> tuple[str, ...]:
  return (rule,) if isinstance(rule, str) else rule[:2]


@pytest.mark.parametrize('rig', sorted(mapping.RIGS))
def test_finds_every_rig_by_its_own_names(rig: str) -> None:
  rules = mapping.RIGS[rig]
  assert len(rules) == 22
  joints = sorted({name for rule in rules for name in _names(rule)})
  plan = mapping.find(joints, AMASS21)
  assert tuple(plan.rules) == AMASS21.joints
  assert tuple(plan.rules.values()) == rules
  # Left never comes from the right.
  for target, rule in plan.rules.items():
    if target in ('LHip', 'LWrist', 'LHeel', 'LSI'):
      mirror = plan.rules['R' + target[1:]]
      assert set(_names(rule)) != set(_names(mirror))


@pytest.mark.parametrize('prefix', ['', 'mixamorig:', 'mixamorig_', 'Ann:'])
def test_ignores_prefix_case_and_separators(prefix: str) -> None:
  joints = [prefix + str(rule).upper() for rule in mapping.RIGS['Mixamo']]
  plan = mapping.find(joints, AMASS21)
  assert plan.rig == 'Mixamo'
  assert plan.rules['LKnee'] == f'{prefix}LEFTLEG'


def test_carries_positions_over(
    person: Recording, rename: Callable[..., Recording]
) -> None:
  other = rename(person, mapping.SMPL)
  np.testing.assert_array_equal(
      mapping.to_skeleton(other, AMASS21), person.positions)
  np.testing.assert_array_equal(
      mapping.to_skeleton(person, AMASS21), person.positions)


def test_points_between_joints_and_own_map(person: Recording) -> None:
  own: dict[str, mapping.Rule] = {
      'BMN': ('Neck', 'Head', 0.25), 'left_wrist': 'LElbow'}
  plan = mapping.find(person.joints, AMASS21, own)
  got = mapping.apply(person, plan)
  index = AMASS21.joints.index
  neck = person.positions[:, index('Neck')]
  head = person.positions[:, index('Head')]
  np.testing.assert_allclose(
      got[:, index('BMN')], 0.75 * neck + 0.25 * head, atol=1e-12)
  np.testing.assert_array_equal(
      got[:, index('LWrist')], person.positions[:, index('LElbow')])
  assert 'own map' in plan.rig


def test_own_map_completes_a_rig_that_lacks_joints() -> None:
  joints = [str(rule) for rule in mapping.RIGS['LAFAN1']]
  joints[joints.index('Spine2')] = 'Brust'
  with pytest.raises(DataError) as caught:
    mapping.find(joints, AMASS21, file='a.bvh')
  assert 'Neck (Spine2)' in caught.value.expected
  assert 'LAFAN1' in caught.value.expected
  assert 'Brust' in caught.value.found
  plan = mapping.find(joints, AMASS21, {'Neck': 'Brust'})
  assert plan.rules['Neck'] == 'Brust'


@pytest.mark.parametrize('own', [
    {'Tail': 'Hips'},
    {'Head': 'Horn'},
    {'Head': ('Neck', 'Head')},
    {'Head': ('Neck', 'Horn', 0.5)},
    {'Head': ('Neck', 'Head', 'half')},
])
def test_refuses_a_map_that_fits_neither_side(
    person: Recording, own: dict[str, mapping.Rule]
) -> None:
  with pytest.raises(UserError, match='map'):
    mapping.find(person.joints, AMASS21, own)


def test_finds_other_skeletons_by_their_names() -> None:
  joints = [name.upper() for name in skeletons.H36M16.joints]
  plan = mapping.find(joints, skeletons.H36M16)
  assert plan.rules['LKnee'] == 'LKNEE'
  with pytest.raises(DataError, match='h36m16'):
    mapping.find(joints[1:], skeletons.H36M16)


def test_refuses_bodies_of_another_size(person: Recording) -> None:
  # Inches read as centimetres: no body of metres, but one of a small child.
  small = dataclasses.replace(
      person, positions=person.positions / 2.54, unit='cm')
  with pytest.raises(DataError) as caught:
    mapping.to_skeleton(small, AMASS21)
  assert caught.value.field == 'unit'
  assert str(caught.value).endswith('State the unit: in')


def test_refuses_bones_without_length(person: Recording) -> None:
  positions = person.positions.copy()
  positions[:, 4] = positions[:, 1]
  broken = dataclasses.replace(person, positions=positions)
  with pytest.raises(DataError, match='LKnee'):
    mapping.to_skeleton(broken, AMASS21)
  with pytest.raises(DataError, match='LKnee'):
    mapping.own_skeleton(broken)


def test_takes_the_skeleton_of_the_file(person: Recording) -> None:
  keep = (0, 1, 4, 7, 3)
  part = dataclasses.replace(
      person, joints=tuple(person.joints[i] for i in keep),
      parents=(-1, 0, 1, 2, 0), positions=person.positions[:, keep])
  skeleton, positions = mapping.own_skeleton(part, 'leg')
  assert skeleton.name == 'leg'
  assert skeleton.joints == part.joints
  assert set(skeleton.edges) == {(0, 3), (0, 1), (1, 2)}
  np.testing.assert_array_equal(positions, part.positions)
  with pytest.raises(DataError, match='at least 3'):
    mapping.own_skeleton(dataclasses.replace(
        part, joints=part.joints[:2], parents=(-1, 0),
        positions=part.positions[:, :2]))


def test_ends_of_limbs_make_no_other_skeleton(person: Recording) -> None:
  plain, positions = mapping.own_skeleton(person)
  foot = person.joints.index('LFoot')
  ended = dataclasses.replace(
      person, joints=(*person.joints, 'End_LFoot'),
      parents=(*person.parents, foot),
      positions=np.concatenate(
          [person.positions, person.positions[:, [foot]] + 0.05], axis=1))
  skeleton, found = mapping.own_skeleton(ended)
  assert skeleton == plain
  np.testing.assert_array_equal(found, positions)


def test_prints_which_joint_became_which(person: Recording) -> None:
  plan = mapping.find(person.joints, AMASS21, {'BMN': ('Neck', 'Head', 0.25)})
  out = rich.console.Console(file=io.StringIO(), width=80)
  out.print(mapping.table(plan, 'a[b].bvh'))
  text = out.file.getvalue()  # type: ignore[attr-defined]
  assert 'a[b].bvh' in text
  assert 'Neck + 0.25 (Head - Neck)' in text
  assert all(joint in text for joint in AMASS21.joints)


def test_reads_a_map_file(tmp_path: pathlib.Path) -> None:
  path = tmp_path / 'map.json'
  path.write_text(json.dumps({'Head': ['Neck', 'Head', 0.5], 'LHip': 'thigh'}))
  assert mapping.read_map(path) == {
      'Head': ('Neck', 'Head', 0.5), 'LHip': 'thigh'}
  for text in ('[1]', '{', ''):
    path.write_text(text)
    with pytest.raises(DataError, match='JSON object'):
      mapping.read_map(path)
  with pytest.raises(DataError):
    mapping.read_map(tmp_path / 'no.json')


def test_markers_are_carried_over_by_name_or_given_parents(
    person: Recording
) -> None:
  rules = mapping.RIGS['Plug-in Gait markers']
  names = sorted({name for rule in rules for name in _names(rule)})
  plan = mapping.find(names, AMASS21)
  assert plan.rig == 'Plug-in Gait markers'
  markers = dataclasses.replace(person, parents=(-1,) * 22)
  assert not markers.has_bones
  np.testing.assert_array_equal(
      mapping.to_skeleton(markers, AMASS21), person.positions)
  with pytest.raises(DataError, match='22 markers, which have no parents'):
    mapping.own_skeleton(markers)
  tree = {joint: person.joints[parent] if parent >= 0 else None
          for joint, parent in zip(person.joints, person.parents)}
  # Listed backwards, they come out with parents first.
  turned = dataclasses.replace(
      markers, joints=markers.joints[::-1],
      positions=markers.positions[:, ::-1])
  grown = mapping.with_parents(turned, tree)
  assert all(up < joint for joint, up in enumerate(grown.parents))
  skeleton, _ = mapping.own_skeleton(grown)
  assert set(skeleton.joints) == set(person.joints)
  with pytest.raises(DataError, match='Did you mean Head'):
    mapping.with_parents(markers, {'Heda': 'Neck'})
  with pytest.raises(UserError, match='22 indices'):
    mapping.with_parents(markers, (-1, 0))


def test_points_of_a_pose_from_video_are_carried_over() -> None:
  names = ('Hip', 'RHip', 'RKnee', 'RAnkle', 'RBigToe', 'RSmallToe', 'RHeel',
           'LHip', 'LKnee', 'LAnkle', 'LBigToe', 'LSmallToe', 'LHeel', 'Neck',
           'Head', 'Nose', 'RShoulder', 'RElbow', 'RWrist', 'LShoulder',
           'LElbow', 'LWrist')
  plan = mapping.find(names, AMASS21)
  assert plan.rig == 'HALPE 26 (Pose2Sim)'
  assert plan.rules['LFoot'] == 'LBigToe' and plan.rules['RHeel'] == 'RAnkle'
