"""Carry a recording's joints over to a skeleton of ours, by name.

A rule gives a joint of ours either one joint of the file or a point on the
line between two, `(a, b, t)` for `a + t (b - a)`. The rigs below are rules for
the 22 joints of the SMPL body in its order. They are geometric approximations
made for this library: where a rig has no such joint, the nearest place.

Names are compared without case, separators and a prefix such as
`mixamorig:`, so `mixamorig:LeftUpLeg` and `left_up_leg` are one name.
"""

import dataclasses
import json
import pathlib
import re
from collections.abc import Mapping, Sequence

import numpy as np
import rich
from rich import table as rich_table
from rich import text as rich_text

from diffax.body.skeletons import AMASS21, Skeleton, from_tree
from diffax.data import base, files, points
from diffax.errors import DataError, UserError

Rule = str | tuple[str, str, float]

SMPL = (
    'pelvis', 'left_hip', 'right_hip', 'spine1', 'left_knee', 'right_knee',
    'spine2', 'left_ankle', 'right_ankle', 'spine3', 'left_foot', 'right_foot',
    'neck', 'left_collar', 'right_collar', 'head', 'left_shoulder',
    'right_shoulder', 'left_elbow', 'right_elbow', 'left_wrist', 'right_wrist',
)
"""The 22 body joints of SMPL, in order; AMASS21 is these without the pelvis."""

_CENTRE = ('pelvis', 'spine1', 'spine2', 'spine3', 'neck', 'head')
_SIDES = ('hip', 'knee', 'ankle', 'foot', 'collar', 'shoulder', 'elbow',
          'wrist')


def _rig(
    centre: Sequence[Rule], limbs: Sequence[Rule], left: str, right: str
) -> tuple[Rule, ...]:
  """Spell out a rig: `*` in a name of a limb becomes its side."""
  def side(rule: Rule, word: str) -> Rule:
    if isinstance(rule, str):
      return rule.replace('*', word)
    return rule[0].replace('*', word), rule[1].replace('*', word), rule[2]

  rules: dict[str, Rule] = dict(zip(_CENTRE, centre, strict=True))
  for name, rule in zip(_SIDES, limbs, strict=True):
    rules['left_' + name] = side(rule, left)
    rules['right_' + name] = side(rule, right)
  return tuple(rules[name] for name in SMPL)


_HIK_LIMBS = ('*UpLeg', '*Leg', '*Foot')
_HIK_ARMS = ('*Shoulder', '*Arm', '*ForeArm', '*Hand')

RIGS: dict[str, tuple[Rule, ...]] = {
    'SMPL': SMPL,
    'SMPL (L_Hip)': _rig(
        ('Pelvis', 'Spine1', 'Spine2', 'Spine3', 'Neck', 'Head'),
        ('*_Hip', '*_Knee', '*_Ankle', '*_Foot', '*_Collar', '*_Shoulder',
         '*_Elbow', '*_Wrist'), 'L', 'R'),
    'CMU ASF': _rig(
        ('root', 'lowerback', 'upperback', ('upperback', 'thorax', 0.5),
         'upperneck', 'head'),
        ('*hipjoint', '*femur', '*tibia', '*foot',
         ('thorax', '*clavicle', 0.45), '*clavicle', '*humerus', '*wrist'),
        'l', 'r'),
    'DAZ (cgspeed)': _rig(
        (('hip', 'abdomen', 0.56), 'abdomen', 'chest',
         ('chest', 'neck', 0.22), 'neck', 'head'),
        ('*Thigh', '*Shin', '*Foot', 'End_*Foot', '*Collar', '*Shldr',
         '*ForeArm', '*Hand'), 'l', 'r'),
    'MotionBuilder (cgspeed)': _rig(
        ('Hips', 'Spine', 'Spine1', ('Spine1', 'Neck', 0.5), 'Head',
         'End_Head'),
        (*_HIK_LIMBS, '*ToeBase', ('Neck', '*Arm', 0.45), '*Arm', '*ForeArm',
         '*FingerBase'), 'Left', 'Right'),
    'Bandai-Namco': _rig(
        (('Hips', 'Spine', 0.43), 'Spine', 'Chest', ('Chest', 'Neck', 0.3),
         'Neck', 'Head'),
        ('UpperLeg_*', 'LowerLeg_*', 'Foot_*', 'Toes_*', 'Shoulder_*',
         'UpperArm_*', 'LowerArm_*', 'Hand_*'), 'L', 'R'),
    'Mixamo': _rig(
        ('Hips', 'Spine', 'Spine1', 'Spine2', 'Neck', 'Head'),
        (*_HIK_LIMBS, '*ToeBase', *_HIK_ARMS), 'Left', 'Right'),
    'LAFAN1': _rig(
        ('Hips', 'Spine', 'Spine1', 'Spine2', 'Neck', 'Head'),
        (*_HIK_LIMBS, '*Toe', *_HIK_ARMS), 'Left', 'Right'),
    'Xsens BVH': _rig(
        ('Hips', 'Chest', 'Chest2', 'Chest4', 'Neck', 'Head'),
        ('*Hip', '*Knee', '*Ankle', '*Toe', '*Collar', '*Shoulder', '*Elbow',
         '*Wrist'), 'Left', 'Right'),
    'Xsens MVN': _rig(
        ('Pelvis', 'L5', 'L3', 'T8', 'Neck', 'Head'),
        ('*UpperLeg', '*LowerLeg', '*Foot', '*Toe', '*Shoulder', '*UpperArm',
         '*ForeArm', '*Hand'), 'Left', 'Right'),
    'Rokoko': _rig(
        ('Hips', 'Spine1', 'Spine2', 'Spine4', 'Neck', 'Head'),
        ('*Thigh', '*Shin', '*Foot', '*Toe', *_HIK_ARMS), 'Left', 'Right'),
    'Plug-in Gait markers': _rig(
        (('LASI', 'RPSI', 0.5), ('RPSI', 'STRN', 0.35), ('T10', 'STRN', 0.4),
         ('T10', 'CLAV', 0.4), ('C7', 'CLAV', 0.35), ('LFHD', 'RBHD', 0.5)),
        (('*ASI', '*KNE', 0.2), '*KNE', '*ANK', '*TOE', ('CLAV', '*SHO', 0.35),
         ('*SHO', '*ELB', 0.15), '*ELB', ('*WRA', '*WRB', 0.5)), 'L', 'R'),
    'HALPE 26 (Pose2Sim)': _rig(
        ('Hip', ('Hip', 'Neck', 0.25), ('Hip', 'Neck', 0.5),
         ('Hip', 'Neck', 0.62), 'Neck', ('Neck', 'Head', 0.5)),
        ('*Hip', '*Knee', '*Ankle', '*BigToe', ('Neck', '*Shoulder', 0.4),
         '*Shoulder', '*Elbow', '*Wrist'), 'L', 'R'),
}
"""Rules for the 22 SMPL joints, by the name of the rig that has such joints.

Markers lie on the skin; joints between two of them are within a few
centimetres, which serves to carry a movement over and not to measure it."""

GROWN = (1.1, 3.4)
"""Metres through the bones, hand to foot, of a person on the 22 joints."""


@dataclasses.dataclass(frozen=True)
class Plan:
  """Which joints of a file make which joint of a skeleton.

  Attributes:
    rig: the table of names that fits, or how else the joints were found.
    rules: from joints of the skeleton, root first, to joints of the file.
  """

  rig: str
  rules: Mapping[str, Rule]


def find(
    joints: Sequence[str],
    skeleton: Skeleton = AMASS21,
    joint_map: Mapping[str, Rule] | None = None,
    file: files.PathLike = 'recording',
) -> Plan:
  """Find the joints of a skeleton among those of a file.

  Args:
    joints: names in the file.
    skeleton: the target.
    joint_map: the user's own rules, from joints of the target (ours or SMPL's
      names) to joints of the file; the rest is found by name.
    file: named in errors.

  Returns:
    A rule for every joint of the target.

  Raises:
    DataError: joints are missing; lists them, and what the file has.
    UserError: the user's map names a joint that neither side has.
  """
  own = _user_rules(joints, skeleton, joint_map or {}, file)
  names = {_plain(name): name for name in reversed(joints)}
  tables: dict[str, tuple[Rule, ...]] = {skeleton.name: skeleton.joints}
  if skeleton.name == AMASS21.name:
    tables = {**RIGS, **tables}
  best: tuple[int, str, list[str]] | None = None
  for rig, rules in tables.items():
    found = {
        target: _resolve(rule, names)
        for target, rule in zip(skeleton.joints, rules)
    }
    lost = [t for t, r in found.items() if r is None and t not in own]
    if not lost:
      chosen = {t: own.get(t, found[t]) for t in skeleton.joints}
      return Plan(f'{rig} + own map' if own else rig,
                  {t: r for t, r in chosen.items() if r is not None})
    if best is None or len(lost) < best[0]:
      wanted = [f'{t} ({_spell(dict(zip(skeleton.joints, rules))[t])})'
                for t in lost]
      best = (len(lost), rig, wanted)
  assert best is not None
  raise DataError(
      file, 'joints', f'the joints of {skeleton.name}; the nearest rig,'
      f' {best[1]}, lacks {", ".join(best[2])}', ', '.join(joints),
      'Give a map of the missing joints, or keep the file\'s own skeleton')


def apply(recording: base.Recording, plan: Plan) -> np.ndarray:
  """Return the joints that a plan makes of a recording.

  Args:
    recording: N joints.
    plan: rules for J + 1 joints.

  Returns:
    Positions `[L, J + 1, 3]`, metres, float64.
  """
  index = {name: i for i, name in enumerate(recording.joints)}
  points = []
  for rule in plan.rules.values():
    if isinstance(rule, str):
      points.append(recording.positions[:, index[rule]])
    else:
      a, b = (recording.positions[:, index[name]] for name in rule[:2])
      points.append(a + rule[2] * (b - a))
  return np.stack(points, axis=1)


def to_skeleton(
    recording: base.Recording,
    skeleton: Skeleton = AMASS21,
    joint_map: Mapping[str, Rule] | None = None,
    *,
    show: bool = False,
) -> np.ndarray:
  """Carry a recording over to a skeleton.

  Args:
    recording: from any reader.
    skeleton: the target.
    joint_map: the user's own rules, see `find`.
    show: print which joint became which.

  Returns:
    Positions `[L, J + 1, 3]`, metres, Z up, global, root first.

  Raises:
    DataError: missing joints, a bone of no length, or a body that is not of a
      person's size.
    UserError: a map that fits neither side.
  """
  plan = find(recording.joints, skeleton, joint_map, recording.file)
  if show:
    rich.print(table(plan, recording.file))
  positions = apply(recording, plan)
  base.check_motion(positions, skeleton.joints, skeleton.parents,
                    recording.fps, file=recording.file)
  size = base.reach(positions, skeleton.parents)
  if not GROWN[0] <= size <= GROWN[1]:
    unit = files.guess_unit(size / files.METRES.get(recording.unit, 1.0))
    raise DataError(
        recording.file, 'unit', f'a person of {GROWN[0]:g} to {GROWN[1]:g} m'
        f' through the bones', f'{size:.3g} m (file read in'
        f' {recording.unit})', f'State the unit: {unit}' if unit else '')
  return positions


def own_skeleton(
    recording: base.Recording, name: str = 'own'
) -> tuple[Skeleton, np.ndarray]:
  """Take the skeleton from the file itself.

  Args:
    recording: from any reader.
    name: of the skeleton.

  Returns:
    The skeleton, and positions `[L, J + 1, 3]` on its joints. The ends of
    limbs, which have no channels, are left out: files of one rig differ in
    whether they write them.

  Raises:
    DataError: a bone of no length, or too few joints to make a graph.
  """
  if not recording.has_bones:
    raise DataError(
        recording.file, 'parents', 'a tree of joints',
        f'{len(recording.joints)} markers, which have no parents',
        'Give the markers parents, or map them to a skeleton')
  recording = _without_ends(recording)
  if len(recording.joints) < 3 or recording.parents.count(-1) != 1:
    raise DataError(
        recording.file, 'joints', 'one tree of at least 3 joints',
        f'{len(recording.joints)} joints, {recording.parents.count(-1)} roots')
  base.check_motion(recording.positions, recording.joints, recording.parents,
                    recording.fps, file=recording.file)
  skeleton = from_tree(name, recording.joints, recording.parents)
  order = [recording.joints.index(joint) for joint in skeleton.joints]
  return skeleton, recording.positions[:, order]


def with_parents(
    recording: base.Recording, parents: points.Parents
) -> base.Recording:
  """Give joints or markers other parents.

  Args:
    recording: from any reader.
    parents: from joints to parents, None or '' for a root; or N indices.

  Returns:
    The recording, its joints in an order with parents before children.

  Raises:
    DataError: a name that is no joint, joints in a ring, or bones that are
      not those of a body.
    UserError: indices that do not fit.
  """
  order, above = points.tree(recording.file, recording.joints, parents)
  found = dataclasses.replace(
      recording, joints=tuple(recording.joints[i] for i in order),
      parents=tuple(above), positions=recording.positions[:, order])
  base.check_recording(found, gaps=True)
  return found


def _without_ends(recording: base.Recording) -> base.Recording:
  keep = [
      i for i, joint in enumerate(recording.joints)
      if i in recording.parents or not joint.startswith('End_')
  ]
  index = {old: new for new, old in enumerate(keep)} | {-1: -1}
  return dataclasses.replace(
      recording,
      joints=tuple(recording.joints[i] for i in keep),
      parents=tuple(index[recording.parents[i]] for i in keep),
      positions=recording.positions[:, keep],
  )


def table(plan: Plan, title: object = '') -> rich_table.Table:
  """Return a plan as a table to print."""
  text = f'{title}: joints of {plan.rig}'.strip(': ')
  # A Text, because a path may hold brackets, which mark up strings.
  result = rich_table.Table(title=rich_text.Text(text))
  result.add_column('joint')
  result.add_column('from the file')
  for target, rule in plan.rules.items():
    result.add_row(target, _spell(rule))
  return result


def read_map(path: files.PathLike) -> dict[str, Rule]:
  """Read a user's map, a JSON object such as
  `{"Pelvis": ["Hips", "Spine", 0.4], "LHip": "thigh_l"}`.

  Raises:
    DataError: the file is no such object.
  """
  try:
    found = json.loads(pathlib.Path(path).read_text())
  except (OSError, ValueError) as error:
    raise DataError(path, 'map', 'a JSON object', str(error)) from error
  if not isinstance(found, dict):
    raise DataError(path, 'map', 'a JSON object', type(found).__name__)
  return {
      key: tuple(rule) if isinstance(rule, list) else rule  # type: ignore
      for key, rule in found.items()
  }


def _user_rules(
    joints: Sequence[str],
    skeleton: Skeleton,
    joint_map: Mapping[str, Rule],
    file: files.PathLike,
) -> dict[str, Rule]:
  """Check a user's map against both sides."""
  alias = {_plain(name): name for name in skeleton.joints}
  if skeleton.name == AMASS21.name:
    alias |= {
        _plain(smpl): ours for smpl, ours in zip(SMPL, skeleton.joints)
        if smpl in ('pelvis', 'head') or '_' in smpl
    }
  rules: dict[str, Rule] = {}
  for target, rule in joint_map.items():
    if _plain(target) not in alias:
      raise UserError(f'map: {target!r} is no joint of {skeleton.name}:'
                      f' expected one of {", ".join(skeleton.joints)}.')
    parts = (rule,) if isinstance(rule, str) else tuple(rule)
    sound = len(parts) == 1 or (
        len(parts) == 3 and isinstance(parts[2], (int, float)))
    if not sound or any(part not in joints for part in parts[:2]):
      raise UserError(f'map: {target}: {rule!r}: expected a joint of {file},'
                      f' or two and a number, of {", ".join(joints)}.')
    rules[alias[_plain(target)]] = rule
  return rules


def _resolve(rule: Rule, names: Mapping[str, str]) -> Rule | None:
  """Return a rule in the file's own spelling, or None if a joint is absent."""
  if isinstance(rule, str):
    return names.get(_plain(rule))
  a, b = names.get(_plain(rule[0])), names.get(_plain(rule[1]))
  return None if a is None or b is None else (a, b, rule[2])


def _plain(name: str) -> str:
  """Reduce a name to lower-case letters and digits, without a prefix."""
  name = name.rsplit(':', 1)[-1].rsplit('|', 1)[-1]
  name = re.sub(r'^mixamorig\d*_?', '', name, flags=re.IGNORECASE)
  return re.sub(r'[^a-z0-9]', '', name.lower())


def _spell(rule: Rule) -> str:
  """Write a rule for people."""
  if isinstance(rule, str):
    return rule
  return f'{rule[0]} + {rule[2]:g} ({rule[1]} - {rule[0]})'
