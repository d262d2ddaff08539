"""Interfaces of the data sets, and the checks that every clip has to pass."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
from typing import Any, NamedTuple

import numpy as np

from diffax.body import skeletons
from diffax.data import files
from diffax.errors import DataError
from diffax.typing import Batch

# Longest path through the bones, metres: a small child's to a giant's.
PLAUSIBLE = (0.5, 4.0)
UNITS = {
    'm': 'metres',
    'cm': 'centimetres',
    'mm': 'millimetres',
    'in': 'inches',
    'acclaim': 'ASF units of 0.45 per inch',
}
SHORTEST_BONE = 1e-4


class Source(NamedTuple):
  """A data set as two pure functions.

  Attributes:
    info: facts that systems and evaluators need: `name, skeleton, fps, past,
      future, classes, epoch_size, unit, clips`.
    train: from a step to the global training batch of NumPy arrays; a
      function of (seed, step) alone.
    segments: from the name of a split to its arrays, with leading axis N.
  """

  info: Mapping[str, Any]
  train: Callable[[int], Batch]
  segments: Callable[[str], Batch]


@dataclasses.dataclass(frozen=True)
class Clip:
  """A motion on the joints of a `Skeleton`.

  Attributes:
    name: unique in its data set.
    positions: [L, J + 1, 3] float32, metres, Z up, global, root first.
    fps: frames per second.
    subject: the person.
    label: the action, or another class.
    split: 'train', 'val' or 'test'.
    file: where it came from.
  """

  name: str
  positions: np.ndarray
  fps: float
  subject: str
  label: str
  split: str
  file: str


@dataclasses.dataclass(frozen=True)
class ForcePlate:
  """What a plate, or the ground under one foot, did to the body.

  Attributes:
    name: of the plate.
    forces: [T, 3] float64, newtons, of the ground on the body, Z up.
    moments: [T, 3] float64, newton metres, about `origin`.
    pressure: [T, 3] float64, the centre of pressure, metres; NaN where the
      plate is not loaded.
    origin: [3] metres, the point that the moments are about.
    corners: [4, 3] metres; None if the file does not say where the plate is.
    rate: samples per second.
    unit: units of force, moment and length as found, `N, Nmm, mm`.
  """

  name: str
  forces: np.ndarray
  moments: np.ndarray
  pressure: np.ndarray
  origin: np.ndarray
  corners: np.ndarray | None
  rate: float
  unit: str


@dataclasses.dataclass(frozen=True)
class Recording:
  """A motion on the joints, or the markers, of its own file.

  Attributes:
    joints: N names.
    parents: N indices into `joints`, -1 for the root; -1 for every marker, as
      no marker hangs on another.
    positions: [L, N, 3] float64, metres, Z up, global; NaN where a reader was
      told to keep gaps.
    fps: frames per second.
    file: the file it was read from.
    unit: unit of length as found in the file.
    plates: force plates under the motion.
    notes: how a reader came to what the file does not plainly say, by `unit`,
      `up` and the like.
  """

  joints: tuple[str, ...]
  parents: tuple[int, ...]
  positions: np.ndarray
  fps: float
  file: str
  unit: str
  plates: tuple[ForcePlate, ...] = ()
  notes: Mapping[str, str] = dataclasses.field(default_factory=dict)

  @property
  def has_bones(self) -> bool:
    """Whether any joint hangs on another; markers hang on none."""
    return any(parent >= 0 for parent in self.parents)


@dataclasses.dataclass(frozen=True)
class Signals:
  """Named channels over time: angles, forces, inertial axes.

  Attributes:
    columns: C names.
    values: [T, C] float64, in the units of the file; NaN where a reader was
      told to keep gaps.
    times: [T] seconds from the first sample.
    rate: samples per second.
    file: the file it was read from.
    plates: what the ground did, if some columns are forces on the feet.
    notes: see `Recording`.
  """

  columns: tuple[str, ...]
  values: np.ndarray
  times: np.ndarray
  rate: float
  file: str
  plates: tuple[ForcePlate, ...] = ()
  notes: Mapping[str, str] = dataclasses.field(default_factory=dict)


def reach(positions: np.ndarray, parents: Sequence[int]) -> float:
  """Measure the longest path through the bones, which no pose changes.

  Args:
    positions: [L, N, 3].
    parents: N indices, each before its child or -1.

  Returns:
    The length of the longest path from joint to joint, with every bone at its
    median length, in the unit of `positions`.
  """
  lengths = _median_lengths(positions, parents)
  down = np.zeros(len(parents))
  best = 0.0
  for joint in _leaves_first(parents):
    parent = parents[joint]
    if parent >= 0:
      arm = down[joint] + lengths[joint]
      best = max(best, down[parent] + arm)
      down[parent] = max(down[parent], arm)
  return float(best)


def check_motion(
    positions: np.ndarray,
    joints: Sequence[str],
    parents: Sequence[int],
    fps: float,
    *,
    file: str,
    min_frames: int = 2,
    zero_bones: bool = False,
    gaps: bool = False,
) -> None:
  """Raise unless a motion is complete, finite and in metres.

  Args:
    positions: [L, N, 3], metres.
    joints: N names.
    parents: N indices, -1 for the root.
    fps: frames per second.
    file: named in the message.
    min_frames: the shortest motion of use.
    zero_bones: allow bones of no length, which some files have.
    gaps: allow NaN; the bones are then judged where they are seen.

  Raises:
    DataError: naming file, frame, joint, expected and found.
  """
  positions = np.asarray(positions)
  if positions.ndim != 3 or positions.shape[1:] != (len(joints), 3):
    raise DataError(
        file, 'joints', f'positions of shape [L, {len(joints)}, 3] for '
        f'{_some(joints)}', f'shape {list(positions.shape)}'
    )
  _check_parents(parents, joints, file)
  if not (np.isfinite(fps) and fps > 0):
    raise DataError(file, 'fps', 'frames per second > 0', f'{fps!r}')
  if len(positions) < min_frames:
    raise DataError(
        file, 'frames', f'at least {min_frames} ({min_frames / fps:.2f} s at '
        f'{fps:g} fps)', f'{len(positions)} ({len(positions) / fps:.2f} s)',
        'The clip is too short'
    )
  if gaps:
    positions = positions[np.isfinite(positions).all((1, 2))]
    if not len(positions):
      return
  _check_finite(positions, joints, file)
  _check_unit(positions, parents, file)
  if not zero_bones:
    _check_bones(positions, joints, parents, file)


def check_clip(
    clip: Clip, skeleton: skeletons.Skeleton, min_frames: int = 2
) -> None:
  """Raise a DataError unless the clip fits the skeleton and `check_motion`."""
  if clip.split not in ('train', 'val', 'test'):
    raise DataError(
        clip.file, f'split of clip {clip.name}', "'train', 'val' or 'test'",
        repr(clip.split)
    )
  check_motion(
      clip.positions, skeleton.joints, skeleton.parents, clip.fps,
      file=clip.file, min_frames=min_frames
  )


def check_recording(
    recording: Recording, min_frames: int = 2, gaps: bool = False
) -> None:
  """Raise a DataError unless the recording passes `check_motion`.

  Bones of no length are allowed: files often put two joints in one place, and
  the map to a skeleton drops one of them.
  """
  check_motion(
      recording.positions, recording.joints, recording.parents, recording.fps,
      file=recording.file, min_frames=min_frames, zero_bones=True, gaps=gaps
  )


def check_times(times: np.ndarray, file: str, field: str = 'time') -> float:
  """Return the rate of a column of timestamps.

  Args:
    times: [L] seconds.
    file: named in the message.
    field: name of the column.

  Returns:
    Frames per second, 1 / median step.

  Raises:
    DataError: if time is not finite or does not run forwards, naming the
      frame.
  """
  times = np.asarray(times, np.float64)
  bad = np.flatnonzero(~np.isfinite(times))
  if bad.size:
    raise DataError(
        file, f'{field} of frame {bad[0]}', 'a finite number of seconds',
        f'{times[bad[0]]}'
    )
  if times.size < 2:
    raise DataError(file, field, 'at least 2 timestamps', f'{times.size}')
  steps = np.diff(times)
  back = np.flatnonzero(steps <= 0)
  if back.size:
    frame = int(back[0]) + 1
    raise DataError(
        file, f'{field} of frame {frame}', f'later than {times[frame - 1]:g} s',
        f'{times[frame]:g} s', 'Time runs backwards or stands still'
    )
  return float(1 / np.median(steps))


def _check_parents(
    parents: Sequence[int], joints: Sequence[str], file: str
) -> None:
  count = len(joints)
  if len(parents) != count or not all(-1 <= p < count for p in parents):
    raise DataError(
        file, 'parents', f'an index of a joint or -1 for each of {count}',
        str(list(parents))[:80]
    )
  for joint, up in enumerate(parents):
    steps = 0
    while up >= 0 and steps <= count:
      up, steps = parents[up], steps + 1
    if up >= 0:
      raise DataError(
          file, 'parents', 'a tree', f'a ring above {joints[joint]}')


def _check_finite(
    positions: np.ndarray, joints: Sequence[str], file: str
) -> None:
  bad = ~np.isfinite(positions).all(-1)
  if bad.any():
    frame, joint = (int(i) for i in np.argwhere(bad)[0])
    raise DataError(
        file, f'frame {frame}, joint {joints[joint]}', 'finite positions',
        f'{positions[frame, joint].tolist()} ({int(bad.any(1).sum())} of '
        f'{len(bad)} frames are affected)'
    )


def _check_unit(
    positions: np.ndarray, parents: Sequence[int], file: str
) -> None:
  length = reach(positions, parents)
  low, high = PLAUSIBLE
  if length == 0 or low <= length <= high:
    return
  unit = UNITS.get(files.guess_unit(length) or '')
  raise DataError(
      file, 'unit', f'metres: a longest path through the bones of {low:g} to '
      f'{high:g} m', f'{length:.4g}',
      f'The numbers look like {unit}; convert them or give the unit' if unit
      else 'The scale is not that of a body in any known unit'
  )


def _check_bones(
    positions: np.ndarray, joints: Sequence[str], parents: Sequence[int],
    file: str
) -> None:
  lengths = _median_lengths(positions, parents)
  for joint, parent in enumerate(parents):
    if parent >= 0 and lengths[joint] < SHORTEST_BONE:
      raise DataError(
          file, f'bone {joints[parent]} - {joints[joint]}',
          f'a length above {SHORTEST_BONE:g} m', f'{lengths[joint]:.2g} m'
      )


def _median_lengths(
    positions: np.ndarray, parents: Sequence[int]
) -> np.ndarray:
  # A few hundred frames tell a median as well as an hour does.
  few = np.asarray(positions)[:: max(1, len(positions) // 256)]
  up = np.where(np.asarray(parents) < 0, np.arange(len(parents)), parents)
  bones = (few - few[:, up]).astype(np.float64)
  return np.median(np.linalg.norm(bones, axis=-1), axis=0)


def _leaves_first(parents: Sequence[int]) -> list[int]:
  depth = []
  for joint in range(len(parents)):
    level, parent = 0, parents[joint]
    while parent >= 0:
      level, parent = level + 1, parents[parent]
    depth.append(level)
  return sorted(range(len(parents)), key=lambda joint: -depth[joint])


def _some(names: Sequence[str], most: int = 6) -> str:
  more = f', ... ({len(names)})' if len(names) > most else ''
  return ', '.join(names[:most]) + more
