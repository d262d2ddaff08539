"""Write a recording or a sound as a file of the kind that its suffix names.

    suffix             what survives                     positions within
    .npz               everything                        0
    .csv               joints, parents, gaps             1e-4 mm within 100 m
    .trc               names, gaps                       1e-4 mm within 10 m
    .c3d               joints, parents, gaps, plates     1e-4 mm within 2 m
    .bvh               joints, parents                   1e-3 mm, rigid bones
    .wav .flac .ogg    a mono wave

What a format cannot hold is named in the answer, never dropped in silence.
"""

import pathlib
from typing import NamedTuple

import numpy as np

from diffax.data import audio
from diffax.data import base
from diffax.data import bvh
from diffax.data import c3d
from diffax.data import files
from diffax.data import positions_csv
from diffax.data import readers
from diffax.data import trc
from diffax.data.base import Recording
from diffax.errors import UserError

MOTIONS = ('.npz', '.csv', '.trc', '.c3d', '.bvh')
UNITS = {'.csv': 'm', '.trc': 'mm', '.c3d': 'mm', '.bvh': 'cm'}
"""Units of length in files, unless the caller says otherwise."""


class Saved(NamedTuple):
  """What became of what was saved.

  Attributes:
    path: the file.
    error: the largest distance, in metres, between a point given and as
      written, or a bound of it; 0 of a sound.
    gain: the factor by which a sound was multiplied.
    dropped: what the format cannot hold.
  """

  path: pathlib.Path
  error: float = 0.0
  gain: float = 1.0
  dropped: tuple[str, ...] = ()


def save(
    path: files.PathLike,
    recording: Recording | audio.Recording | np.ndarray,
    *,
    unit: str | None = None,
    rate: int | None = None,
) -> Saved:
  """Write a motion or a sound.

  Args:
    path: the file to write; a suffix of `MOTIONS` or of `audio.FORMATS`. Of
      motions, all but npz may also end in `.xz`.
    recording: a motion; or a mono wave [N].
    unit: unit of length in the file of a motion, see `UNITS`; npz is in
      metres.
    rate: samples per second of a wave; 16,000 if None.

  Returns:
    How exact the file is, and what it lacks.

  Raises:
    UserError: an unknown suffix, an option of the other kind, or a recording
      that the format cannot hold.
  """
  suffix = files.bare_suffix(path)
  sound = not isinstance(recording, Recording)
  known = tuple(audio.FORMATS) if sound else MOTIONS
  if suffix not in known:
    raise UserError(
        f'{path}: expected the suffix of a {"sound" if sound else "motion"} '
        f'({", ".join(known)}), found {suffix!r}.'
    )
  for name, value, other in (('unit', unit, sound), ('rate', rate, not sound)):
    if value is not None and other:
      raise UserError(
          f'{path}: {name}: expected none for a '
          f'{"sound" if sound else "motion"}, found {value!r}.'
      )
  if isinstance(recording, Recording):
    return _save_motion(path, suffix, recording, unit)
  wave = recording.wave if isinstance(recording, audio.Recording) else (
      recording)
  gain = audio.write(path, wave, 16000 if rate is None else rate)
  return Saved(pathlib.Path(path), gain=gain)


def _save_motion(
    path: files.PathLike, suffix: str, recording: Recording, unit: str | None
) -> Saved:
  place = pathlib.Path(path)
  gaps = not np.isfinite(recording.positions).all()
  joints, parents = recording.joints, recording.parents
  positions, fps = recording.positions, recording.fps
  if suffix == '.npz':
    if unit not in (None, 'm') or place.suffix != '.npz':
      raise UserError(
          f'{path}: expected plain npz in metres, found unit {unit!r} and '
          f'suffix {place.suffix!r}.'
      )
    readers.save_npz(
        path, joints, parents, positions, fps, recording.plates, gaps)
    return Saved(place)
  _check(path, recording)
  unit = UNITS[suffix] if unit is None else unit
  dropped: tuple[str, ...] = ()
  if suffix != '.c3d' and recording.plates:
    dropped = ('force plates',)
  if suffix == '.c3d':
    error = c3d.write(
        path, joints, parents, positions, fps, unit, recording.plates)
  elif suffix == '.csv':
    error = positions_csv.write(path, joints, parents, positions, fps, unit)
  elif suffix == '.trc':
    dropped += ('parents',) if recording.has_bones else ()
    error = trc.write(path, joints, positions, fps, unit)
  else:
    _check_tree(path, recording)
    error = bvh.write(path, joints, parents, positions, fps, unit)
  return Saved(place, error, dropped=dropped)


def _check(path: files.PathLike, recording: Recording) -> None:
  """Refuse, before anything is written, what could not be read back."""
  base.check_recording(recording, gaps=True)
  if not all(up < joint for joint, up in enumerate(recording.parents)):
    raise UserError(
        f'{path}: parents: expected joints below earlier ones, found '
        f'{list(recording.parents)}. Use mapping.with_parents.'
    )
  for joint in recording.joints:
    if not joint.strip() or not joint.isprintable() or (
        list(recording.joints).count(joint) > 1):
      raise UserError(
          f'{path}: joints: expected different names, found {joint!r}.')


def _check_tree(path: files.PathLike, recording: Recording) -> None:
  if recording.parents.count(-1) != 1:
    raise UserError(
        f'{path}: parents: expected one tree of joints, which a BVH file '
        f'needs, found {recording.parents.count(-1)} roots. Markers fit into '
        '.c3d, .trc, .csv and .npz.'
    )
