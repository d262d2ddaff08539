"""3DPW: people filmed outdoors, their SMPL angles at 60 Hz to joints.

A file `sequenceFiles/{train,validation,test}/NAME.pkl` holds lists with an
entry per actor, one or two: `poses_60Hz [F, 72]` axis-angle rotations of
SMPL's 24 joints, of which the first 22 are used, `trans_60Hz [F, 3]`, `betas`,
`genders`, and at 30 Hz `poses`, `trans` and `jointPositions [N, 72]`. Y points
up. The files are Python pickles; they are read by an unpickler that makes
arrays and containers and refuses everything else, so that no code of theirs
runs.

Joints p follow by forward kinematics from the offsets o of the actor's body at
rest. These come from the user's own SMPL-H or SMPL model files; or, without
one, from the file itself, whose rotations and joints at 30 Hz give them back,

  (1)  o_j = mean_f G_parent(j),f^T (p_j,f - p_parent(j),f),
       o_0 = mean_f (p_0,f - trans_f);

or, where the two disagree or the joints are missing, from the mean body of
`diffax.data.amass`.

Axes come in two ways. `upright` turns the world about X, (x, -z, y): Z points
up and left is left. `released` is what the paper's code does: it exchanges
axes, (x, z, y), which is a mirror, and then the names of left and right, so
that bodies are whole again but everything they do is mirrored.

The release writes both actors of a sequence to one name, so that only the last
is left: 60 clips, 3,252 segments. Here `actors` keeps both or that one.

References:
  von Marcard et al., "Recovering Accurate 3D Human Pose in The Wild Using
  IMUs and a Moving Camera", ECCV 2018, with the notes beside its files.
  Protocol: Curreli et al., CVPR 2025, with its released code.
"""

from collections.abc import Iterator, Mapping, Sequence
import dataclasses
import functools
import pathlib
from typing import Any

import numpy as np

from diffax.body import kinematics
from diffax.body.skeletons import AMASS21
from diffax.data import amass, clips, files, pickles, segments, transforms
from diffax.data.base import Clip, Recording, check_recording
from diffax.errors import DataError, UserError

RATE = 60.0
"""Frames per second of `poses_60Hz`."""

FOLDERS = {'train': 'train', 'validation': 'val', 'test': 'test'}
"""Split of each folder. The paper evaluates on all of them, zero-shot."""

SEQUENCES = 60
TEST_SEGMENTS = 3252
"""Published counts, of one actor per sequence."""

PROTOCOL = {'past': 30, 'future': 120, 'first': 30, 'stride': 30}
"""The published list as arguments of `transforms.segment_starts`."""

FIT = 0.02
"""Metres within which a file's own joints have to follow its rotations."""

AXES = ('upright', 'released')
ACTORS = ('both', 'last')
SPLITS = ('test', 'folder')

JOINTS = len(AMASS21.joints)


@dataclasses.dataclass(frozen=True)
class Actor:
  """One person of a sequence.

  Attributes:
    motion: the pose parameters at 60 Hz, Y up.
    offsets: `[22, 3]` of the body at rest as the file's own joints have it,
      Eq. 1, metres; None if they do not.
    reason: why they do not.
  """

  motion: amass.Motion
  offsets: np.ndarray | None
  reason: str = ''


def read(
    path: files.PathLike,
    body_model: files.PathLike | None = None,
    axes: str = 'upright',
) -> list[Recording]:
  """Read a file.

  Args:
    path: the pickle.
    body_model: folder of SMPL-H or SMPL model files, or one file; if None,
      the body that the file's own joints have, else the mean body.
    axes: one of `AXES`.

  Returns:
    The 22 body joints of each actor, named as AMASS21's, metres, Z up.

  Raises:
    DataError: a key is missing or holds what it should not.
    UserError: the body model is missing, or the axes are unknown.
  """
  _choose('axes', axes, AXES)
  return [
      _recording(path, number, actor, body_model, axes)
      for number, actor in enumerate(read_actors(path))
  ]


def read_actors(path: files.PathLike) -> list[Actor]:
  """Read the pose parameters and the own body of each actor of a file.

  Raises:
    DataError: the pickle asks for more than arrays, or a key is missing or
      holds what it should not.
  """
  arrays = pickles.read(path)
  poses = _entries(path, arrays, 'poses_60Hz')
  actors = []
  for number in range(len(poses)):
    turns = _array(path, arrays, 'poses_60Hz', number, (None, 72))
    trans = _array(path, arrays, 'trans_60Hz', number, (len(turns), 3))
    genders = np.asarray(_entries(path, arrays, 'genders', len(poses))[number])
    motion = amass.Motion(
        poses=turns[:, :3 * JOINTS].reshape(-1, JOINTS, 3),
        trans=trans,
        # SMPL has ten; the release cuts there, too.
        betas=_array(path, arrays, 'betas', number).reshape(-1)[:10],
        gender=amass.read_gender(path, f'genders, actor {number}', genders),
        fps=RATE,
    )
    actors.append(Actor(motion, *_own_body(path, arrays, number)))
  return actors


def body_offsets(
    poses: np.ndarray, trans: np.ndarray, joints: np.ndarray
) -> tuple[np.ndarray, float]:
  """Recover a body from posed joints and their rotations, Eq. 1.

  Args:
    poses: `[N, 22, 3]` axis-angle rotations, radians.
    trans: `[N, 3]` metres.
    joints: `[N, 22, 3]` metres.

  Returns:
    Offsets `[22, 3]`, and by how much the worst of them varies over the
    frames, root mean square, metres: 0 for a rigid body.
  """
  up = list(AMASS21.parents[1:])
  turns = kinematics.forward(
      kinematics.axis_angle(poses), np.zeros((JOINTS, 3)), AMASS21.parents,
      trans)[1]
  bones = np.einsum(
      'fjba,fjb->fja', turns[:, up], joints[:, 1:] - joints[:, up])
  offsets = np.concatenate([joints[:, :1] - trans[:, None], bones], 1)
  mean = offsets.mean(0)
  return mean, float(np.sqrt(((offsets - mean)**2).sum(-1).mean(0).max()))


def to_z_up(positions: np.ndarray, axes: str) -> np.ndarray:
  """Turn positions `[..., 22, 3]` of 3DPW, Y up, so that Z points up.

  Args:
    positions: in metres.
    axes: 'upright' is a rotation; 'released' mirrors the world, then names
      left and right anew.
  """
  if axes == 'upright':
    return files.to_z_up(positions, 'y')
  sides = transforms.mirror_joints(AMASS21.joints)
  return positions[..., sides, :][..., (0, 2, 1)]


def folder(root: files.PathLike) -> pathlib.Path:
  """Find `sequenceFiles` below `root/3dpw`, `root/3DPW` or `root`, or `root`.

  Raises:
    DataError: none of them holds a folder of `FOLDERS`.
  """
  places = [
      pathlib.Path(root, *parts) for parts in (
          ('3dpw', 'sequenceFiles'), ('3DPW', 'sequenceFiles'),
          ('sequenceFiles',), ())
  ]
  for place in places:
    if any((place / name).is_dir() for name in FOLDERS):
      return place
  raise DataError(
      root, 'folder', f'sequenceFiles/{{{",".join(FOLDERS)}}}', 'none',
      'Unpack sequenceFiles.zip of 3DPW there')


def sequences(root: files.PathLike) -> list[tuple[pathlib.Path, str]]:
  """List the files and the split of each.

  Raises:
    DataError: there is none.
  """
  place = folder(root)
  found = [
      (path, split) for name, split in FOLDERS.items()
      for path in sorted((place / name).glob('*.pkl'))
  ]
  if not found:
    raise DataError(place, 'files', 'pickles of sequences', 'none')
  return found


def clips_of(
    path: pathlib.Path,
    root: pathlib.Path,
    split: str,
    fps: float,
    body_model: files.PathLike | None = None,
    axes: str = 'upright',
    actors: str = 'both',
    max_speed: float = 0.0,
) -> tuple[list[Clip], list[str]]:
  """Read one file into clips, `NAME/0` and `NAME/1` for its actors.

  A clip's label is its sequence, the class of the published CMD.

  Returns:
    The clips, and notes on cuts and on actors who got the mean body.
  """
  made, notes = [], []
  people = list(enumerate(read_actors(path)))
  for number, actor in people[-1:] if actors == 'last' else people:
    name = f'{path.stem}/{number}'
    recording = _recording(path, number, actor, body_model, axes)
    found, cuts = clips.make(
        name, recording.positions, RATE, fps, subject=name, label=path.stem,
        split=split, file=path.relative_to(root).as_posix(),
        max_speed=max_speed)
    made += found
    notes += cuts
    if body_model is None and actor.offsets is None:
      notes.append(f'{name}: mean body, {actor.reason}')
  return made, notes


def jobs(
    root: files.PathLike,
    fps: float,
    body_model: files.PathLike | None = None,
    axes: str = 'upright',
    actors: str = 'both',
    split: str = 'test',
    max_speed: float = 0.0,
) -> Iterator[tuple[str, Any]]:
  """Yield a name and a function that makes clips, for each sequence.

  Args:
    root: see `folder`.
    fps: rate of the clips.
    body_model: see `read`.
    axes: one of `AXES`.
    actors: 'both', or 'last' as the release keeps.
    split: 'test' makes every sequence a test sequence, as published; 'folder'
      keeps the data set's own split.
    max_speed: metres per second that mark a glitch; 0 cuts nothing.
  """
  for name, value, choices in (
      ('axes', axes, AXES), ('actors', actors, ACTORS),
      ('split', split, SPLITS)):
    _choose(name, value, choices)
  place = folder(root)
  for path, own in sequences(root):
    yield path.as_posix(), functools.partial(
        clips_of, path, place, 'test' if split == 'test' else own, fps,
        body_model, axes, actors, max_speed)


def read_segments(path: files.PathLike) -> list[segments.Segment]:
  """Read the published list: name, init, pred_init, pred_end.

  Raises:
    DataError: a column or a frame is not as published.
  """
  return segments.read(path, ('name',), lambda row: row['name'].strip())


def count_segments(manifest: Mapping[str, Any]) -> dict[str, int]:
  """Count the segments of each sequence's last actor, whatever the split.

  Args:
    manifest: of a store at 60 frames per second.

  Returns:
    Segments by sequence; together `TEST_SEGMENTS` if all are there.

  Raises:
    UserError: the store is of another rate.
  """
  return segments.count(
      segments.by_rule(_as_released(manifest), RATE, PROTOCOL), str)


def compare_segments(
    manifest: Mapping[str, Any], published: Sequence[segments.Segment]
) -> segments.Comparison:
  """Hold the segments of each sequence's last actor against the list.

  Args:
    manifest: of a store at 60 frames per second.
    published: see `read_segments`.

  Raises:
    UserError: the list is empty, or the store of another rate.
  """
  released = _as_released(manifest)
  return segments.compare(
      segments.by_rule(released, RATE, PROTOCOL), published, str, released)


def _as_released(manifest: Mapping[str, Any]) -> dict[str, Any]:
  """Keep the last actor of each sequence, under its name and for the test."""
  last = {row['label']: row for row in manifest['clips']}
  return {**manifest, 'clips': [
      {**row, 'name': name, 'split': 'test'} for name, row in last.items()]}


def _recording(
    path: files.PathLike, number: int, actor: Actor,
    body_model: files.PathLike | None, axes: str
) -> Recording:
  if body_model is not None:
    offsets = amass.rest_offsets(
        amass.model_file(body_model, actor.motion.gender), actor.motion.betas)
  else:
    offsets = amass.REST if actor.offsets is None else actor.offsets
  positions = to_z_up(amass.pose(actor.motion, offsets, AMASS21), axes)
  recording = Recording(
      joints=AMASS21.joints, parents=AMASS21.parents, positions=positions,
      fps=RATE, file=str(path), unit='m')
  check_recording(recording)
  _check_upright(path, number, positions)
  return recording


def _own_body(
    path: files.PathLike, arrays: Mapping[str, Any], number: int
) -> tuple[np.ndarray | None, str]:
  """Return the body that the file's joints at 30 Hz have, or why not."""
  missing = [
      key for key in ('jointPositions', 'poses', 'trans') if key not in arrays]
  if missing:
    return None, f'for want of {", ".join(missing)}'
  joints = _array(path, arrays, 'jointPositions', number, (None, 72))
  if not len(joints):
    return None, 'as jointPositions is empty'
  poses = _array(path, arrays, 'poses', number, (len(joints), 72))
  trans = _array(path, arrays, 'trans', number, (len(joints), 3))
  offsets, misfit = body_offsets(
      poses.reshape(-1, 24, 3)[:, :JOINTS], trans,
      joints.reshape(-1, 24, 3)[:, :JOINTS])
  if misfit > FIT:
    return None, (f'as jointPositions stray {100 * misfit:.1f} cm from the '
                  'rotations')
  return offsets, ''


def _entries(
    path: files.PathLike, arrays: Mapping[str, Any], key: str,
    count: int | None = None
) -> Sequence[Any]:
  """Return the entries of a key, one per actor."""
  if key not in arrays:
    raise DataError(path, key, 'an entry per actor',
                    ', '.join(map(str, arrays)) or 'no key')
  found = arrays[key]
  fits = isinstance(found, (list, tuple)) or (
      isinstance(found, np.ndarray) and found.ndim > 0)
  number = len(found) if fits else 0
  if not number or count not in (None, number):
    raise DataError(
        path, key, 'an entry per actor' if count is None else
        f'{count} entries, one per actor', f'{number} in a '
        f'{type(found).__name__}')
  return found


def _array(
    path: files.PathLike, arrays: Mapping[str, Any], key: str, number: int,
    shape: tuple[int | None, ...] | None = None
) -> np.ndarray:
  """Return one actor's numbers in float64; None in the shape is any size."""
  actors = len(_entries(path, arrays, 'poses_60Hz'))
  field = f'{key}, actor {number}'
  entry = _entries(path, arrays, key, actors)[number]
  try:
    found = np.asarray(entry)
  except ValueError as error:
    raise DataError(path, field, 'an array', str(error)) from error
  if shape is not None and (found.ndim != len(shape) or any(
      want not in (None, size) for want, size in zip(shape, found.shape))):
    wanted = ', '.join('F' if size is None else str(size) for size in shape)
    raise DataError(path, field, f'[{wanted}]', str(list(found.shape)))
  return files.check_numbers(path, field, found)


def _check_upright(
    path: files.PathLike, number: int, positions: np.ndarray
) -> None:
  """Raise if a body has its head below its heels most of the time."""
  index = AMASS21.joints.index
  heels = positions[:, [index('LHeel'), index('RHeel')], 2].mean(1)
  height = float(np.mean(positions[:, index('Head'), 2] - heels))
  if height < 0:
    raise DataError(
        path, f'poses_60Hz, actor {number}', 'Y up, as in the published files',
        f'a head {-height:.2f} m below the heels on average')


def _choose(name: str, value: str, choices: Sequence[str]) -> None:
  if value not in choices:
    raise UserError(f'{name}: expected {" or ".join(choices)}, found'
                    f' {value!r}.')
