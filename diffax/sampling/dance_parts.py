"""From a dance model's arrays to sound, poses and beats.

What a model makes, of any task of `TASKS`, is finished in the same way for
pictures and for tables:

  music    a wave: log-mels through a vocoder, frames of a waveform joined
  motion   poses in the unit of their clip: directions become bones of mean
           length, the normalisation is undone, and bones that are more than
           1.3 times too long are shortened (paper, App. E)
  beats    onsets of the wave, peaks of the poses' kinematic amplitude
"""

from collections.abc import Iterable, Iterator, Mapping
import time
from typing import Any, NamedTuple

import jax
import numpy as np

from diffax.body import beats
from diffax.body import poses as poses_lib
from diffax.errors import UserError
from diffax.metrics import rhythm
from diffax.sampling import voices
from diffax.trained import Trained
from diffax.typing import Batch
from diffax.typing import Key

MULTIPLE = 4
"""Frames of a clip are a multiple of it."""


class Task(NamedTuple):
  """What is made, given what."""

  given: tuple[str, ...]
  made: tuple[str, ...]


TASKS: Mapping[str, Task] = {
    'motion_to_music': Task(('motion',), ('music',)),
    'music_to_motion': Task(('music',), ('motion',)),
    'joint': Task((), ('music', 'motion')),
    'music_vae': Task(('music',), ('music',)),
    'motion_vae': Task(('motion',), ('motion',)),
}
"""Tasks by name; those that make what is given reconstruct it."""


class Made(NamedTuple):
  """Hold what a model made, and how long it took.

  Attributes:
    arrays: `[N, T, C]` by modality.
    seconds: computing time without that of the first batch, which compiles,
      unless it is the only one.
    windows: made in that time.
    compiled: whether the time is without compilation.
  """

  arrays: dict[str, np.ndarray]
  seconds: float
  windows: int
  compiled: bool


def generate(
    model: Trained,
    task: Task,
    windows: Batch,
    frames: int,
    *,
    batch_size: int,
    key: Key,
) -> Made:
  """Run a task on windows.

  Args:
    model: its `sample` goes from what is given, or from `frames`
      `[B, T, 0]` if nothing is, to what is made.
    task: one of `TASKS`.
    windows: arrays by name with leading axis N; only what is given is seen.
    frames: T, of the windows, or to be made if nothing is given.
    batch_size: windows at once.
    key: of the draws; batch i draws from fold_in(key, i).

  Returns:
    What was made.

  Raises:
    UserError: arrays are of a wrong shape or not finite.
  """
  info = model.source.info
  total = len(next(iter(windows.values())))
  parts: dict[str, list[np.ndarray]] = {name: [] for name in task.made}
  times = [time.perf_counter()]
  groups = list(_groups(total, batch_size))
  for number, rows in enumerate(groups):
    batch = {name: windows[name][rows] for name in task.given}
    if not batch:
      batch = {'frames': np.zeros((len(rows), frames, 0), np.float32)}
    found = jax.block_until_ready(
        model.sample(batch, jax.random.fold_in(key, number))
    )
    times.append(time.perf_counter())
    for name in task.made:
      shape = len(rows), frames, info[name]['dims']
      parts[name].append(checked(found, name, shape))
  begin = 1 if len(groups) > 1 else 0
  return Made(
      {name: np.concatenate(part)[:total] for name, part in parts.items()},
      times[-1] - times[begin],
      len(groups[0]) * (len(groups) - begin),
      begin > 0,
  )


def abilities(model: Trained) -> tuple[str, ...]:
  """Return the tasks that a model can do, found by tracing it."""
  info, found = model.source.info, []
  key = jax.random.key(0)
  for name, task in TASKS.items():
    batch = {
        part: jax.ShapeDtypeStruct((1, MULTIPLE, info[part]['dims']), 'float32')
        for part in task.given
    } or {'frames': jax.ShapeDtypeStruct((1, MULTIPLE, 0), 'float32')}
    try:
      made = jax.eval_shape(model.sample, batch, key)
    except (UserError, KeyError):
      # The batch lacks what an autoencoder reads, or asks for too much.
      continue
    if set(task.made) <= set(made):
      found.append(name)
  return tuple(found)


def checked(
    found: Mapping[str, Any], name: str, shape: tuple[int, ...]
) -> np.ndarray:
  """Return an array of a model as float32.

  Raises:
    UserError: it is missing, of another shape or not finite.
  """
  if name not in found:
    raise UserError(
        f'{name}: expected the model to make it, found {sorted(found)}. Does '
        'config.system.tasks name what is asked of it?'
    )
  values = np.asarray(found[name], np.float32)
  if values.shape != shape:
    raise UserError(
        f'{name}: expected [B, T, C] of {list(shape)}, found '
        f'{list(values.shape)}.'
    )
  if not np.isfinite(values).all():
    raise UserError(
        f'{name}: expected finite values, found NaN or infinity. Did the '
        'training diverge?'
    )
  return values


def to_waves(
    music: np.ndarray,
    info: Mapping[str, Any],
    *,
    voice: voices.Voice,
    key: Key,
) -> np.ndarray:
  """Turn music as models see it into sound, a clip at a time.

  Args:
    music: `[N, T, C]`, log-mels or frames of a waveform.
    info: of the source: `music`, `hop`.
    voice: that log-mels have.
    key: of the voice's first phases, the same for all.

  Returns:
    `[N, T hop]` float32, within -1 and 1.

  Raises:
    UserError: the set has features, which no one can hear.
  """
  kind = info['music']['kind']
  if kind == 'wave':
    return np.clip(music.reshape(len(music), -1), -1, 1)
  if kind != 'mel':
    raise UserError(
        f"{info['name']}: expected music as mel or wave to make sound of, "
        f'found {kind}.'
    )
  # One length is compiled once, however many clips there are.
  return np.stack([voice.apply(clip, key) for clip in music])


def to_poses(
    motion: np.ndarray,
    info: Mapping[str, Any],
    *,
    scale: np.ndarray | None = None,
    centre: np.ndarray | None = None,
    correct: bool = True,
) -> np.ndarray:
  """Turn motion as models see it into poses.

  Args:
    motion: `[N, T, C]`, normalised places or directions of bones.
    info: of the source: `motion`.
    scale: `[N]` torso lengths to undo the normalisation; None leaves it.
    centre: `[N, 2]` mean places of the neck, likewise.
    correct: shorten bones that are too long.

  Returns:
    `[N, T, 14, 2]` float64.
  """
  facts = info['motion']
  lengths = np.asarray(facts['lengths'], np.float64)
  places = np.asarray(motion, np.float64).reshape(*motion.shape[:2], -1, 2)
  if facts['kind'] == 'directions':
    places = poses_lib.from_directions(places, lengths)
  if correct:
    places = poses_lib.correct_bones(places, lengths)
  if scale is None or centre is None:
    return places
  return poses_lib.denormalise(
      places, np.asarray(centre, np.float64), np.asarray(scale, np.float64)
  )


def onsets(waves: Iterable[np.ndarray], rate: int) -> list[np.ndarray]:
  """Return the musical beats of waves, seconds."""
  return [rhythm.onsets(wave, rate) for wave in waves]


def steps(poses: Iterable[np.ndarray], fps: float) -> list[np.ndarray]:
  """Return the kinematic beats of poses `[T, 14, 2]`, seconds."""
  return [beats.kinematic_beats(clip, fps) for clip in poses]


def amplitude(poses: np.ndarray) -> np.ndarray:
  """Return the kinematic amplitude `[T]` of poses `[T, 14, 2]`."""
  return beats.amplitude(beats.directogram(np.asarray(poses, np.float64)))


def whole_frames(seconds: float, fps: float) -> int:
  """Return how many frames a clip of so many seconds has, at least 4."""
  return max(MULTIPLE * int(seconds * fps / MULTIPLE + 1e-9), MULTIPLE)


def _groups(total: int, size: int) -> Iterator[np.ndarray]:
  """Yield rows of equal batches; the last is filled by repetition."""
  size = min(size, total)
  rows = np.append(np.arange(total), np.full(-total % size, total - 1))
  yield from rows.reshape(-1, size)
