"""AMASS: the published npz files, to joint positions at the paper's rate.

A file holds pose parameters of the SMPL-H body: `poses [F, 156]` axis-angle
rotations of 52 joints, `trans [F, 3]`, `betas [16]`, `gender` and
`mocap_framerate`. Z points up. The 22 body joints, or with `hands` all 52,
follow from the rest joints o of the shaped body by forward kinematics, the
root at `trans + o_0`.

The rest joints come from the user's own SMPL-H model files (`body_model`, a
folder `{male,female,neutral}/model.npz`), read by the package `body-models`;
or, without one, from the mean neutral body below, which ignores shape and
gender: bones are then those of one average person, and joints lie some
centimetres from where the shaped body has them. That body has no fingers, so
that hands need a model file.

The paper evaluates on a list of segments, the futures at frames 180, 300, ...
of every test file. `count_segments` counts what this rule cuts from a store,
`compare_segments` holds it against the list itself.

References:
  Mahmood et al., "AMASS: Archive of Motion Capture as Surface Shapes", ICCV
  2019. Split, rate and segments are those of Curreli et al., CVPR 2025, with
  its released code, after Barquero et al., "BeLFusion", ICCV 2023.
"""

from collections.abc import Iterator, Mapping, Sequence
import csv
import dataclasses
import functools
import io
import pathlib
from typing import Any, NamedTuple

import numpy as np

from diffax.body import kinematics
from diffax.body.skeletons import AMASS21, AMASS51, Skeleton
from diffax.data import clips, files, segments
from diffax.data.base import Clip, Recording, check_recording
from diffax.errors import DataError, UserError

SPLIT = {
    'train': ('ACCAD', 'BMLhandball', 'BMLmovi', 'BMLrub', 'CMU', 'EKUT',
              'EyesJapanDataset', 'KIT', 'PosePrior', 'TCDHands',
              'TotalCapture'),
    'val': ('HumanEva', 'HDM05', 'SFU', 'MoSh'),
    'test': ('DFaust', 'DanceDB', 'GRAB', 'HUMAN4D', 'SOMA', 'SSM',
             'Transitions'),
}
"""The 22 sets by split."""

FOLDERS = {
    'BioMotionLab_NTroje': 'BMLrub', 'Eyes_Japan_Dataset': 'EyesJapanDataset',
    'MPI_Limits': 'PosePrior', 'TCD_handMocap': 'TCDHands',
    'MPI_HDM05': 'HDM05', 'MPI_mosh': 'MoSh', 'DFaust_67': 'DFaust',
    'DFaust67': 'DFaust', 'SSM_synced': 'SSM', 'Transitions_mocap':
    'Transitions', 'TotalCapture_mocap': 'TotalCapture',
}
"""Other names under which the sets' folders are found."""

TEST_SEGMENTS = {
    'DanceDB': 5979, 'GRAB': 4116, 'HUMAN4D': 1880, 'SOMA': 410,
    'Transitions': 233, 'DFaust': 97, 'SSM': 12,
}
"""Published test segments of each set; together 12,727 of 1,827 files."""

RATE = 60.0
"""Frames per second at which the published lists count."""

PROTOCOL = {'past': 30, 'future': 120, 'first': 180, 'stride': 120}
"""The published list as arguments of `transforms.segment_starts`."""

LONG_TERM = {**PROTOCOL, 'future': 480}
"""The list of the long-term table: the same starts, where 8 s are left. Of the
480 frames the paper predicts and measures the first 300, its 5 s. With a
stride of 120 a file of n segments has max(n - 3, 0) of these."""

LONG_TERM_SEGMENTS = 8494
"""Published number of them."""

REST = np.array([
    [-.0018, -.2233, .0282], [.0695, -.0914, -.0068], [-.0677, -.0905, -.0043],
    [-.0025, .1090, -.0267], [.0343, -.3752, -.0045], [-.0383, -.3826, -.0089],
    [.0055, .1352, .0011], [-.0136, -.3980, -.0437], [.0158, -.3984, -.0423],
    [.0015, .0529, .0254], [.0264, -.0558, .1193], [-.0254, -.0481, .1233],
    [-.0028, .2139, -.0429], [.0788, .1217, -.0341], [-.0818, .1188, -.0386],
    [.0052, .0650, .0513], [.0910, .0305, -.0089], [-.0960, .0326, -.0091],
    [.2596, -.0128, -.0275], [-.2537, -.0133, -.0214], [.2492, .0090, -.0012],
    [-.2553, .0078, -.0056],
])
"""Offsets `[22, 3]` of the mean neutral body, metres, rest pose, Y up."""

GENDERS = ('male', 'female', 'neutral')

_LETTERS = {name[0]: name for name in GENDERS}
_ENDINGS = ('_poses', '_stageii')
_COLUMNS = ('dataset', 'file', 'file_idx', 'pred_init', 'pred_end')


@dataclasses.dataclass(frozen=True)
class Motion:
  """The pose parameters of one file.

  Attributes:
    poses: `[F, N, 3]` axis-angle rotations of the first 22 or all 52 joints,
      radians.
    trans: `[F, 3]` metres, Z up.
    betas: shape coefficients.
    gender: one of `GENDERS`.
    fps: frames per second, whole rates made whole.
  """

  poses: np.ndarray
  trans: np.ndarray
  betas: np.ndarray
  gender: str
  fps: float


def skeleton(hands: bool = False) -> Skeleton:
  """Return AMASS51 with hands, else AMASS21."""
  return AMASS51 if hands else AMASS21


def read(
    path: files.PathLike,
    body_model: files.PathLike | None = None,
    hands: bool = False,
) -> Recording:
  """Read a published npz file.

  Args:
    path: the file.
    body_model: folder of SMPL-H model files, or one file; the mean body if
      None.
    hands: keep the fingers, too.

  Returns:
    The 22 body joints or all 52, named as AMASS21's or AMASS51's, metres, Z
    up.

  Raises:
    DataError: a key is missing or holds what it should not.
    UserError: the body model is missing.
  """
  check_hands(hands, body_model)
  body = skeleton(hands)
  motion = read_parameters(path, hands)
  offsets = REST if body_model is None else rest_offsets(
      model_file(body_model, motion.gender), motion.betas, hands)
  recording = Recording(
      joints=body.joints, parents=body.parents,
      positions=pose(motion, offsets, body), fps=motion.fps, file=str(path),
      unit='m')
  check_recording(recording)
  return recording


def check_hands(hands: bool, body_model: files.PathLike | None) -> None:
  """Raise a UserError if hands are wanted of the mean body."""
  if hands and body_model is None:
    raise UserError(
        'hands: expected body_model, the SMPL-H model files, found none. The '
        'mean body has no fingers; leave hands out to use it.')


def pose(motion: Motion, offsets: np.ndarray, body: Skeleton) -> np.ndarray:
  """Return joints `[F, N, 3]` of a body with offsets `[N, 3]`, metres."""
  return kinematics.forward(
      kinematics.axis_angle(motion.poses), offsets, body.parents,
      motion.trans + offsets[0])[0]


def read_parameters(path: files.PathLike, hands: bool = False) -> Motion:
  """Read the pose parameters of a published npz file.

  Raises:
    DataError: a key is missing or holds what it should not.
  """
  arrays = files.read_arrays(path)
  for key in ('poses', 'trans', 'mocap_framerate'):
    if key not in arrays and not (
        key == 'mocap_framerate' and 'mocap_frame_rate' in arrays):
      raise DataError(path, key, 'this array', ', '.join(arrays) or 'none')
  count = len(skeleton(hands).joints)
  poses = files.check_numbers(path, 'poses', arrays['poses'])
  trans = files.check_numbers(path, 'trans', arrays['trans'])
  if poses.ndim != 2 or poses.shape[1] < 3 * count:
    raise DataError(
        path, 'poses', '[frames, 156]', str(list(poses.shape)),
        'Its body has no fingers; leave hands out' if hands else '')
  if trans.shape != (len(poses), 3):
    raise DataError(path, 'trans', f'[{len(poses)}, 3]',
                    str(list(trans.shape)))
  rate = arrays.get('mocap_framerate', arrays.get('mocap_frame_rate'))
  betas = files.check_numbers(
      path, 'betas', arrays.get('betas', np.zeros(0))).reshape(-1)
  return Motion(
      poses=poses[:, :3 * count].reshape(-1, count, 3), trans=trans,
      betas=betas[:16],
      gender=read_gender(
          path, 'gender', arrays.get('gender', np.array('neutral'))),
      fps=_rate(path, files.check_numbers(
          path, 'mocap_framerate', np.asarray(rate))))


def model_file(body_model: files.PathLike, gender: str) -> pathlib.Path:
  """Find the SMPL-H file of a gender.

  Raises:
    UserError: the folder holds no such file.
  """
  place = pathlib.Path(body_model)
  if place.is_file():
    return place
  for name in (f'{gender}/model.npz', f'SMPLH_{gender.upper()}.npz',
               f'SMPLH_{gender}.pkl', f'SMPLH_{gender.upper()}.pkl'):
    if (place / name).is_file():
      return place / name
  raise UserError(f'body_model: expected {place}/{gender}/model.npz, found no'
                  ' such file. It comes with SMPL-H; leave body_model out to'
                  ' use the mean body instead.')


def rest_offsets(
    model: files.PathLike, betas: np.ndarray, hands: bool = False
) -> np.ndarray:
  """Return the offsets `[N, 3]` of a shaped body in its rest pose, metres.

  Args:
    model: an SMPL-H model file; without hands an SMPL one, too.
    betas: shape coefficients; those beyond the model's are left out.
    hands: of all 52 joints, not only the 22 of the body.

  Raises:
    DataError: the file is no such model.
  """
  body = skeleton(hands)
  smpl, width = _model(str(model))
  shape = np.zeros(width, np.float32)
  shape[:len(betas[:width])] = betas[:width]
  still = np.zeros((1, 51, 3), np.float32)
  parts = (still[:, :21], still[:, 21:]) if smpl.num_joints == 52 else (
      still[:, :23],)
  joints = np.asarray(
      smpl.forward_skeleton(*parts, shape=shape[None]))[0, :, :3, 3]
  joints = joints[:len(body.joints)]
  if len(joints) < len(body.joints) or not np.isfinite(joints).all():
    raise DataError(model, 'joints', f'{len(body.joints)} finite joints',
                    str(list(joints.shape)), 'Fingers need SMPL-H'
                    if hands else '')
  offsets = joints.astype(np.float64)
  offsets[1:] -= joints[list(body.parents[1:])]
  return offsets


@functools.lru_cache(maxsize=4)
def _model(path: str) -> tuple[Any, int]:
  """Load a model once, with the number of its shape coefficients."""
  # The package is slow to import and only users of model files need it.
  from body_models.smpl.numpy import SMPL
  from body_models.smplh.numpy import SMPLH
  try:
    # The angles of AMASS are those of a flat hand, not of the mean one.
    model = SMPLH(model_path=path, flat_hand_mean=True)
    if len(model.parents) == SMPL.NUM_JOINTS:
      model = SMPL(model_path=path)
    elif len(model.parents) != SMPLH.NUM_JOINTS:
      raise ValueError(f'{len(model.parents)} joints')
    return model, int(model._assets.shapedirs.shape[-1])
  except Exception as error:
    # The package raises whatever the damaged part of a file makes it raise.
    raise DataError(path, 'body model', 'an SMPL-H model file',
                    f'{type(error).__name__}: {error}') from error


def _rate(path: files.PathLike, rate: np.ndarray) -> float:
  """Check a frame rate; 120.00004577636719 is 120."""
  if rate.size != 1 or not 1 <= float(rate.reshape(())) <= 10000:
    raise DataError(path, 'mocap_framerate', 'frames per second',
                    str(rate.tolist()))
  value = float(rate.reshape(()))
  return float(round(value)) if abs(value - round(value)) < 1e-3 else value


def read_gender(path: files.PathLike, field: str, value: np.ndarray) -> str:
  """Read a gender: text, bytes or the text of bytes, whole or its letter.

  Raises:
    DataError: it is none of `GENDERS`.
  """
  found = value.reshape(-1)[0] if value.size else ''
  text = found.decode('ascii', 'replace') if isinstance(found, bytes) else (
      str(found))
  text = text.removeprefix("b'").removesuffix("'").lower()
  text = _LETTERS.get(text, text)
  if text not in GENDERS:
    raise DataError(path, field, ', '.join(GENDERS), repr(text))
  return text


def keep_every(fps: float, target: float) -> int:
  """Return the published stride, round(rate / target), at least 1."""
  return max(1, round(fps / target))


def clips_of(
    path: pathlib.Path,
    root: pathlib.Path,
    name: str,
    split: str,
    fps: float,
    body_model: files.PathLike | None,
    max_speed: float,
    hands: bool = False,
) -> tuple[list[Clip], list[str]]:
  """Read one file into clips by the published protocol.

  Every round(rate / fps)-th frame is kept and counted as `fps`, also where
  the rate is no multiple of it (100 becomes 50), as the released code does.
  """
  recording = read(path, body_model, hands)
  kept = recording.positions[::keep_every(recording.fps, fps)]
  person = path.relative_to(root).parts[0]
  return clips.make(
      f'{name}/{path.relative_to(root).with_suffix("").as_posix()}', kept,
      fps, fps, subject=f'{name}/{person}', label=name, split=split,
      file=path.relative_to(root.parent).as_posix(), max_speed=max_speed)


def sets(root: files.PathLike) -> dict[str, pathlib.Path]:
  """Find the folders of the sets below `root/amass`, `root/AMASS` or `root`.

  Raises:
    DataError: none is there.
  """
  split_of = {name for names in SPLIT.values() for name in names}
  for place in (pathlib.Path(root) / 'amass', pathlib.Path(root) / 'AMASS',
                pathlib.Path(root)):
    found = {}
    for folder in sorted(place.iterdir()) if place.is_dir() else ():
      name = FOLDERS.get(folder.name, folder.name)
      if folder.is_dir() and name in split_of:
        found[name] = folder
    if found:
      return found
  raise DataError(
      root, 'folder', f'folders of AMASS such as {", ".join(SPLIT["train"])}',
      'none', 'Unpack the SMPL-H archives of AMASS there')


def jobs(
    root: files.PathLike,
    fps: float,
    body_model: files.PathLike | None = None,
    max_speed: float = 0.0,
    hands: bool = False,
) -> Iterator[tuple[str, Any]]:
  """Yield a name and a function that makes clips, for each motion file."""
  check_hands(hands, body_model)
  split_of = {name: s for s, names in SPLIT.items() for name in names}
  for name, folder in sets(root).items():
    for path in sorted(folder.rglob('*.npz')):
      # These hold the shape or the markers of a person, and no motion.
      if path.stem == 'shape' or path.stem.endswith('_stagei'):
        continue
      yield path.as_posix(), functools.partial(
          clips_of, path, folder, name, split_of[name], fps, body_model,
          max_speed, hands)


class Listed(NamedTuple):
  """One future of a published list.

  Attributes:
    name: of the set.
    file: name of the file, without folder and suffix.
    number: of the file among those of its set that the release could read; a
      file more or less shifts it, so that nothing is looked up by it.
    first: frame at which the future starts.
    last: its last frame.
  """

  name: str
  file: str
  number: int
  first: int
  last: int


def read_segments(path: files.PathLike) -> list[Listed]:
  """Read a published list: dataset, file, file_idx, pred_init, pred_end.

  Raises:
    DataError: a column, a set or a frame is not as published.
  """
  known = {name for names in SPLIT.values() for name in names}
  found: dict[Listed, int] = {}
  for line, row in enumerate(_rows(path), 2):
    name = FOLDERS.get(row['dataset'], row['dataset'])
    if name not in known:
      raise DataError(path, f'line {line}, dataset',
                      f'one of {", ".join(sorted(known))}', repr(name))
    listed = Listed(name, row['file'], *(
        files.whole(path, f'line {line}, {column}', row[column].strip())
        for column in _COLUMNS[2:]))
    length = _length(next(iter(found), listed))
    if _length(listed) != length or length < 1:
      raise DataError(path, f'line {line}', f'a future of {max(length, 1)}'
                      f' frames', f'frames {listed.first} to {listed.last}')
    if listed in found:
      raise DataError(path, f'line {line}', 'a new segment',
                      f'that of line {found[listed]}')
    found[listed] = line
  return list(found)


def count_segments(
    manifest: Mapping[str, Any], protocol: Mapping[str, int] | None = None
) -> dict[str, int]:
  """Count the segments that the rule cuts from the test clips of a store.

  Args:
    manifest: of a store at 60 frames per second.
    protocol: arguments of `transforms.segment_starts`, by default `PROTOCOL`.

  Returns:
    Segments of each set, to hold against `TEST_SEGMENTS`.

  Raises:
    UserError: the store is of another rate.
  """
  return segments.count(
      segments.by_rule(manifest, RATE, protocol or PROTOCOL), _set)


def compare_segments(
    manifest: Mapping[str, Any], published: Sequence[Listed]
) -> segments.Comparison:
  """Hold the segments of a store's test clips against a published list.

  The futures are as long as the list's, so that the one of the long-term table
  is compared in the same way. Files are matched by set and name.

  Args:
    manifest: of a store at 60 frames per second.
    published: see `read_segments`.

  Raises:
    UserError: the list is empty, or the store of another rate.
  """
  future = _length(published[0]) if published else PROTOCOL['future']
  generated = segments.by_rule(
      manifest, RATE, {**PROTOCOL, 'future': future})
  places = _places(generated, published)
  return segments.compare(
      generated, [
          segments.Segment(
              places[listed[:3]], listed.first - PROTOCOL['past'],
              listed.first, listed.last + 1)
          for listed in published
      ], _set, manifest)


def _places(
    generated: Sequence[segments.Segment], published: Sequence[Listed]
) -> dict[tuple[str, str, int], str]:
  """Find the clip of each file of a list.

  Several files of a set may share a name. Those with the same segments are
  matched first, the others in their order.
  """
  ours: dict[tuple[str, str], dict[str, set[int]]] = {}
  for segment in generated:
    named = ours.setdefault((_set(segment.clip), _bare(segment.clip)), {})
    named.setdefault(segment.clip, set()).add(segment.future)
  theirs: dict[tuple[str, str, int], set[int]] = {}
  for listed in published:
    theirs.setdefault(listed[:3], set()).add(listed.first)
  found = {}
  for exact in (True, False):
    for (name, file, number), frames in theirs.items():
      free = ours.get((name, _bare(file)), {})
      clip = next((c for c in free if free[c] == frames or not exact), None)
      if (name, file, number) not in found and clip is not None:
        found[name, file, number] = clip
        del free[clip]
  return {
      key: found.get(key, f'{key[0]}/{key[1]}, file_idx {key[2]}')
      for key in theirs
  }


def _rows(path: files.PathLike) -> list[dict[str, str]]:
  rows = list(csv.DictReader(io.StringIO(files.read_text(path))))
  missing = [name for name in _COLUMNS if not rows or name not in rows[0]]
  if missing:
    raise DataError(path, 'columns', f'{", ".join(_COLUMNS)} and a row or more',
                    f'no {", ".join(missing)}' if rows else 'no row')
  for line, row in enumerate(rows, 2):
    if any(row[name] is None for name in _COLUMNS):
      raise DataError(path, f'line {line}', f'{len(_COLUMNS)} cells', 'fewer')
  return rows


def _length(listed: Listed) -> int:
  return listed.last - listed.first + 1


def _set(clip: str) -> str:
  """Return the set of a clip."""
  return clip.split('/')[0]


def _bare(name: str) -> str:
  """Return the name of a file as every release of AMASS has it."""
  bare = name.rsplit('/', 1)[-1].replace(' ', '_')
  for ending in _ENDINGS:
    bare = bare.removesuffix(ending)
  return bare
