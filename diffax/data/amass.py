"""AMASS: the published npz files, to joint positions at the paper's rate.

A file holds pose parameters of the SMPL-H body: `poses [F, 156]` axis-angle
rotations of 52 joints, `trans [F, 3]`, `betas [16]`, `gender` and
`mocap_framerate`. Z points up. The 22 body joints follow from the rest joints
o of the shaped body by forward kinematics, the root at `trans + o_0`.

The rest joints come from the user's own SMPL-H model files (`body_model`, a
folder `{male,female,neutral}/model.npz`), read by the package `body-models`;
or, without one, from the mean neutral body below, which ignores shape and
gender: bones are then those of one average person, and joints lie some
centimetres from where the shaped body has them.

References:
  Mahmood et al., "AMASS: Archive of Motion Capture as Surface Shapes", ICCV
  2019. The split is that of Curreli et al., CVPR 2025 (released code).
"""

from collections.abc import Iterator
import dataclasses
import functools
import pathlib
from typing import Any

import numpy as np

from diffax.body import kinematics
from diffax.body.skeletons import AMASS21
from diffax.data import clips, files
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


@dataclasses.dataclass(frozen=True)
class Motion:
  """The pose parameters of one file.

  Attributes:
    poses: `[F, 22, 3]` axis-angle rotations of the body joints, radians.
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


def read(
    path: files.PathLike, body_model: files.PathLike | None = None
) -> Recording:
  """Read a published npz file.

  Args:
    path: the file.
    body_model: folder of SMPL-H model files, or one file; the mean body if
      None.

  Returns:
    The 22 body joints, named as AMASS21's, metres, Z up.

  Raises:
    DataError: a key is missing or holds what it should not.
    UserError: the body model is missing.
  """
  motion = read_parameters(path)
  offsets = REST if body_model is None else rest_offsets(
      model_file(body_model, motion.gender), motion.betas)
  positions, _ = kinematics.forward(
      kinematics.axis_angle(motion.poses), offsets, AMASS21.parents,
      motion.trans + offsets[0])
  recording = Recording(
      joints=AMASS21.joints, parents=AMASS21.parents, positions=positions,
      fps=motion.fps, file=str(path), unit='m')
  check_recording(recording)
  return recording


def read_parameters(path: files.PathLike) -> Motion:
  """Read the pose parameters of a published npz file.

  Raises:
    DataError: a key is missing or holds what it should not.
  """
  arrays = files.read_arrays(path)
  for key in ('poses', 'trans', 'mocap_framerate'):
    if key not in arrays and not (
        key == 'mocap_framerate' and 'mocap_frame_rate' in arrays):
      raise DataError(path, key, 'this array', ', '.join(arrays) or 'none')
  poses = files.check_numbers(path, 'poses', arrays['poses'])
  trans = files.check_numbers(path, 'trans', arrays['trans'])
  if poses.ndim != 2 or poses.shape[1] < 66:
    raise DataError(path, 'poses', '[frames, 156]', str(list(poses.shape)))
  if trans.shape != (len(poses), 3):
    raise DataError(path, 'trans', f'[{len(poses)}, 3]',
                    str(list(trans.shape)))
  rate = arrays.get('mocap_framerate', arrays.get('mocap_frame_rate'))
  betas = files.check_numbers(
      path, 'betas', arrays.get('betas', np.zeros(0))).reshape(-1)
  return Motion(
      poses=poses[:, :66].reshape(-1, 22, 3), trans=trans, betas=betas[:16],
      gender=_gender(path, arrays.get('gender', np.array('neutral'))),
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


def rest_offsets(model: files.PathLike, betas: np.ndarray) -> np.ndarray:
  """Return the offsets `[22, 3]` of a shaped body in its rest pose, metres.

  Args:
    model: an SMPL-H model file.
    betas: shape coefficients; those beyond the model's are left out.

  Raises:
    DataError: the file is not an SMPL-H model.
  """
  smplh, width = _model(str(model))
  shape = np.zeros(width, np.float32)
  shape[:len(betas[:width])] = betas[:width]
  still = np.zeros((1, 51, 3), np.float32)
  joints = np.asarray(smplh.forward_skeleton(
      still[:, :21], still[:, 21:], shape=shape[None]))[0, :22, :3, 3]
  if joints.shape != (22, 3) or not np.isfinite(joints).all():
    raise DataError(model, 'joints', '22 finite body joints',
                    str(list(joints.shape)))
  offsets = joints.astype(np.float64)
  offsets[1:] -= joints[list(AMASS21.parents[1:])]
  return offsets


@functools.lru_cache(maxsize=4)
def _model(path: str) -> tuple[Any, int]:
  """Load an SMPL-H model once, with the number of its shape coefficients."""
  # The package is slow to import and only users of model files need it.
  from body_models.smplh.numpy import SMPLH
  try:
    model = SMPLH(model_path=path)
    return model, int(np.load(path, allow_pickle=True)['shapedirs'].shape[-1]
                      ) if path.endswith('.npz') else 16
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


def _gender(path: files.PathLike, value: np.ndarray) -> str:
  """Read a gender that may be text, bytes or the text of bytes."""
  found = value.reshape(-1)[0] if value.size else ''
  text = found.decode('ascii', 'replace') if isinstance(found, bytes) else (
      str(found))
  text = text.removeprefix("b'").removesuffix("'").lower()
  if text not in GENDERS:
    raise DataError(path, 'gender', ', '.join(GENDERS), repr(text))
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
) -> tuple[list[Clip], list[str]]:
  """Read one file into clips by the published protocol.

  Every round(rate / fps)-th frame is kept and counted as `fps`, also where
  the rate is no multiple of it (100 becomes 50), as the released code does.
  """
  recording = read(path, body_model)
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
) -> Iterator[tuple[str, Any]]:
  """Yield a name and a function that makes clips, for each motion file."""
  split_of = {name: s for s, names in SPLIT.items() for name in names}
  for name, folder in sets(root).items():
    for path in sorted(folder.rglob('*.npz')):
      # These hold the shape or the markers of a person, and no motion.
      if path.stem == 'shape' or path.stem.endswith('_stagei'):
        continue
      yield path.as_posix(), functools.partial(
          clips_of, path, folder, name, split_of[name], fps, body_model,
          max_speed)
