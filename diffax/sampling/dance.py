"""Dance to a song, play to a dance, or make both.

With `--input` of a sound (.wav, .ogg, .flac) the model dances to it, with one
of a movement (.bvh, .amc, .npz) it plays to it; of any length. Without an
input it makes both, `--seconds` long, and what else it can do it does for a
window of the test split. Of each task, into the folder go

  TASK.wav         the music, that of the input if it was given
  TASK.npz         the movement, see `save`; it can be an input again
  TASK.mp4         the figure with the sound, the beats marked
  TASK.html        the same to open in a browser
  TASK_mels.png    the log-mel spectrogram with both kinds of beats
  TASK_mels.html   the same, to zoom into
  TASK_poses.png   poses over time

A movement in space is seen from in front of the body. Its joints are found by
name (`data.mapping`); those of the nose and the neck follow from the head and
the shoulders (`body.poses`).
"""

from collections.abc import Mapping
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import rich.box
import rich.console
import rich.table
import rich.text

from diffax import signal
from diffax.body import poses as poses_lib
from diffax.body.skeletons import AMASS21
from diffax.data import audio
from diffax.data import files
from diffax.data import mapping
from diffax.data import readers
from diffax.errors import DataError
from diffax.errors import UserError
from diffax.sampling import dance_parts
from diffax.sampling import voices
from diffax.trained import Trained
from diffax.typing import Key
from diffax.viz import dance as plots
from diffax.viz import dance_page
from diffax.viz import pages
from diffax.viz import pose

PathLike = pathlib.Path | str

SOUNDS = ('.wav', '.ogg', '.flac', '.mp3')
_SHORTEST = 1.0     # seconds of an input
_SLOWEST = 12.0     # frames per second of a movement
_CLIPPED = 1e-3     # share of samples, above which it is heard
# What a model may do with an input, the first that it can.
_WITH = {
    'sound': ('music_to_motion', 'music_vae'),
    'movement': ('motion_to_music', 'motion_vae'),
}


class Given(NamedTuple):
  """What a user, or the test split, gives.

  Attributes:
    name: for titles.
    arrays: `[1, T, C]` of one modality as models see it; empty for none.
    frames: T.
    wave: `[T hop]` of the music, if there is one.
    scale: torso length of the movement in its unit.
    centre: `[2]` mean place of its neck.
  """

  name: str
  arrays: dict[str, np.ndarray]
  frames: int
  wave: np.ndarray | None = None
  scale: float = 1.0
  centre: np.ndarray = np.zeros(2)


def draw(
    model: Trained,
    workdir: PathLike,
    *,
    seed: int,
    input: PathLike | None = None,
    seconds: float | None = None,
    joint_map: Mapping[str, mapping.Rule] | PathLike | None = None,
    asf: PathLike | None = None,
    vocoder: Mapping[str, Any] | None = None,
) -> dict[str, pathlib.Path]:
  """Make what belongs to an input, or both a dance and its music.

  Args:
    model: as `evaluate.dance` has it.
    workdir: folder of the files.
    seed: of the samples.
    input: a sound or a movement.
    seconds: length of what is made; of an input the beginning counts.
    joint_map: rules for joints that are not found by name, or a JSON file of
      them; see `data.mapping`.
    asf: skeleton of an `.amc`, if it is not beside it.
    vocoder: settings of `voices.voice`.

  Returns:
    The files by name.

  Raises:
    DataError: the input cannot be read or is too short.
    UserError: an argument is wrong, the model cannot do it, or what it makes
      is wrong.
  """
  if seconds is not None and not seconds >= _SHORTEST:
    raise UserError(
        f'--seconds: expected {_SHORTEST:g} or more, found {seconds:g}.'
    )
  able, info = dance_parts.abilities(model), model.source.info
  voice = voices.voice(vocoder)
  if not able:
    raise UserError(
        f"{info['name']}: expected a model of dance and music, found one that "
        'makes neither.'
    )
  if input is None:
    for name, value in (('joint_map', joint_map), ('asf', asf)):
      if value is not None:
        raise UserError(f'--{name}: expected with --input, found without.')
    wanted = _without_input(model, able, seconds)
  else:
    kind = kind_of(input)
    task = next((name for name in _WITH[kind] if name in able), None)
    if task is None:
      raise UserError(
          f'--input {input}: expected a model that makes something of a {kind},'
          f' found one that can do {", ".join(able)}.'
      )
    if kind == 'sound':
      given = read_sound(input, info, seconds)
    else:
      given = read_movement(input, info, seconds, joint_map, asf)
    wanted = {task: given}
  folder = pathlib.Path(workdir)
  written: dict[str, pathlib.Path] = {}
  for number, (task, given) in enumerate(wanted.items()):
    key = jax.random.fold_in(jax.random.key(seed), number)
    written |= write(folder, task, make(model, task, given, key, voice))
  _report(info['name'], written)
  return written


def kind_of(path: PathLike) -> str:
  """Tell a sound from a movement by its suffix.

  Raises:
    UserError: it is neither.
  """
  if pathlib.Path(path).suffix.lower() in SOUNDS:
    return 'sound'
  movements = (*readers.SUFFIXES, *readers.TABLES)
  if files.bare_suffix(path) in movements:
    return 'movement'
  raise UserError(
      f'--input {path}: expected a sound ({", ".join(SOUNDS)}) or a movement '
      f'({", ".join(movements)}), found suffix '
      f'{pathlib.Path(path).suffix!r}.'
  )


def read_sound(
    path: PathLike, info: Mapping[str, Any], seconds: float | None = None
) -> Given:
  """Read a song as a model sees music.

  Args:
    path: a sound of any rate.
    info: of the source that the model was trained on.
    seconds: how much of it; None for all.

  Returns:
    What the model is given.

  Raises:
    DataError: the file cannot be read, is silent or too short.
    UserError: the model knows no sound.
  """
  kind = info['music']['kind']
  if kind not in ('mel', 'wave'):
    raise UserError(
        f"--input {path}: expected a movement, for {info['name']} knows music "
        f'by {kind} that cannot be taken from a sound.'
    )
  rate, hop, fps = info['rate'], info['hop'], float(info['fps'])
  recording = audio.load(path, rate, shortest=_SHORTEST)
  if recording.facts.silent:
    raise DataError(path, 'samples', 'a sound above -80 dB', 'silence')
  if recording.facts.clipped > _CLIPPED:
    print(f'{path}: {100 * recording.facts.clipped:.1f} % of the samples are '
          'clipped, which moves onsets.')
  frames = _frames(len(recording.wave) / rate, fps, seconds)
  wave = recording.wave[:frames * hop]
  if kind == 'wave':
    music = wave.reshape(1, frames, hop)
  else:
    # The whole sound, so that the last frames see what follows.
    music = np.asarray(signal.log_mel(jnp.asarray(recording.wave), signal.MAA))
    music = music[None, :frames]
  return Given(pathlib.Path(path).name, {'music': music}, frames, wave)


def read_movement(
    path: PathLike,
    info: Mapping[str, Any],
    seconds: float | None = None,
    joint_map: Mapping[str, mapping.Rule] | PathLike | None = None,
    asf: PathLike | None = None,
) -> Given:
  """Read a movement as a model sees it.

  Args:
    path: a movement in space, or an `.npz` of `save`.
    info: of the source that the model was trained on.
    seconds: how much of it; None for all.
    joint_map: as for `draw`.
    asf: as for `draw`.

  Returns:
    What the model is given.

  Raises:
    DataError: the file cannot be read, lacks joints, or is too short or slow.
    UserError: an argument is wrong.
  """
  arrays = files.read_arrays(path) if (
      files.bare_suffix(path) == '.npz'
  ) else {}
  if 'keypoints' in arrays:
    flat, fps = _flat(path, arrays)
  else:
    flat, fps = _in_space(path, joint_map, asf)
  if not fps >= _SLOWEST:
    raise DataError(
        path, 'fps', f'at least {_SLOWEST:g}', f'{fps:g}',
        'Beats between the frames cannot be made up'
    )
  if len(flat) < _SHORTEST * fps:
    raise DataError(
        path, 'frames', f'at least {_SHORTEST:g} s', f'{len(flat) / fps:.2f} s',
        'The clip is too short'
    )
  own = float(info['fps'])
  flat = poses_lib.resample(flat, fps, own)
  frames = _frames(len(flat) / own, own, seconds)
  normal, centre, scale = poses_lib.normalise(flat[:frames], str(path))
  if info['motion']['kind'] == 'directions':
    normal = poses_lib.directions(normal)
  motion = normal.reshape(1, frames, -1).astype(np.float32)
  return Given(
      pathlib.Path(path).name, {'motion': motion}, frames, None, float(scale),
      centre
  )


def make(
    model: Trained, task: str, given: Given, key: Key, voice: voices.Voice
) -> plots.Dance:
  """Make what a task makes of what is given, and finish it.

  Args:
    model: as for `draw`.
    task: key of `dance_parts.TASKS`.
    given: what the task needs.
    key: of the draws.
    voice: that log-mels have.

  Returns:
    The dance with its music.

  Raises:
    UserError: what the model makes is wrong.
  """
  info, plan = model.source.info, dance_parts.TASKS[task]
  windows = given.arrays or {'motion': np.zeros((1, given.frames, 0))}
  made = dance_parts.generate(
      model, plan, windows, given.frames, batch_size=1, key=key
  ).arrays
  # A set of features has no sound of its own.
  fps, rate = float(info['fps']), info['rate'] or signal.MAA.rate
  wave = given.wave
  if 'music' in made:
    wave = dance_parts.to_waves(
        made['music'], info, voice=voice, key=key
    )[0]
  if wave is None:
    wave = np.zeros(int(given.frames / fps * rate), np.float32)
  motion = made.get('motion', given.arrays.get('motion'))
  if motion is None:
    # An autoencoder of music has no figure.
    motion = standing(info, given.frames)
  poses = dance_parts.to_poses(
      motion, info, scale=np.array([given.scale]), centre=given.centre[None],
      correct='motion' in made
  )[0]
  heard = bool(np.abs(wave).max() > audio.QUIET)
  return plots.Dance(
      f"{task.replace('_', ' ')}: {given.name}", poses, fps,
      poses_lib.JOINTS, poses_lib.BONES, wave, rate,
      dance_parts.onsets([wave], rate)[0] if heard else np.zeros(0),
      dance_parts.steps([poses], fps)[0], dance_parts.amplitude(poses),
  )


def standing(info: Mapping[str, Any], frames: int) -> np.ndarray:
  """Return a figure that stands still, `[1, frames, C]`, as models see it."""
  flat = np.array([(0, -1)] * len(poses_lib.BONES), np.float64)
  names = [poses_lib.JOINTS[child] for _, child in poses_lib.BONES]
  for bone, name in enumerate(names):
    if name == 'nose':
      flat[bone] = 0, 1
    if name.endswith('shoulder'):
      flat[bone] = (1 if name[0] == 'l' else -1), 0
  if info['motion']['kind'] == 'positions':
    flat = poses_lib.from_directions(flat, info['motion']['lengths'])
  return np.tile(flat.reshape(1, 1, -1), (1, frames, 1)).astype(np.float32)


def write(
    folder: pathlib.Path, name: str, dance: plots.Dance
) -> dict[str, pathlib.Path]:
  """Write a dance in every form.

  Args:
    folder: of the files.
    name: with which their names begin.
    dance: with its music.

  Returns:
    The files by name.

  Raises:
    UserError: a file cannot be written.
  """
  written = {}

  def place(suffix: str) -> pathlib.Path:
    written[f'{name}{suffix}'] = pose.writable(folder / f'{name}{suffix}')
    return folder / f'{name}{suffix}'

  audio.write(place('.wav'), dance.wave, dance.rate)
  save(place('.npz'), dance)
  dance_page.page(place('.html'), dance)
  for package, suffix, drawn in (
      ('matplotlib', '_poses.png', _draw_poses),
      ('matplotlib', '_mels.png', _draw_mels),
      ('plotly', '_mels.html', _mels_page),
      ('imageio_ffmpeg', '.mp4', plots.film),
  ):
    if pose.installed(package):
      drawn(place(suffix), dance)
  return written


def save(path: pathlib.Path, dance: plots.Dance) -> None:
  """Write a movement.

  Args:
    path: the `.npz`, which holds `keypoints` `[T, 14, 2]` float32, y up,
      `joints` `[14]` and `bones` `[13, 2]`, `fps`, `amplitude` `[T]`, and
      seconds of the beats, `kinematic_beats` and `musical_beats`.
    dance: of which the movement is.

  Raises:
    UserError: it cannot be written.
  """
  try:
    np.savez_compressed(
        path, keypoints=dance.poses.astype(np.float32),
        joints=np.array(dance.joints), bones=np.array(dance.bones),
        fps=np.float64(dance.fps), amplitude=dance.amplitude,
        kinematic_beats=dance.steps, musical_beats=dance.onsets,
    )
  except OSError as error:
    raise UserError(f'{path}: cannot write: {error}') from error


def _without_input(
    model: Trained, able: tuple[str, ...], seconds: float | None
) -> dict[str, Given]:
  """Return what each task is given where a user gives nothing."""
  info, wanted = model.source.info, {}
  if seconds is not None and 'joint' not in able:
    raise UserError(
        '--seconds: expected with --input, for this model cannot make a dance '
        'and its music at once.'
    )
  if 'joint' in able:
    fps = float(info['fps'])
    frames = info['frames'] if seconds is None else (
        dance_parts.whole_frames(seconds, fps)
    )
    wanted['joint'] = Given(f'{frames / fps:g} s', {}, frames)
  rest = [name for name in able if name != 'joint']
  if seconds is None and rest:
    windows = model.source.segments('test')
    wanted |= {name: _window(windows, name) for name in rest}
  return wanted


def _window(windows: Mapping[str, np.ndarray], task: str) -> Given:
  (name,) = dance_parts.TASKS[task].given
  motion = windows['motion']
  sound = name == 'music' or task == 'motion_vae'
  return Given(
      'a window of the test split', {name: windows[name][:1]}, motion.shape[1],
      windows['wave'][0] if sound and 'wave' in windows else None,
      float(windows['scale'][0]) if name == 'motion' else 1.0,
      windows['centre'][0] if name == 'motion' else np.zeros(2),
  )


def _frames(length: float, fps: float, seconds: float | None) -> int:
  """Return whole frames of an input, or of its beginning."""
  return dance_parts.whole_frames(
      length if seconds is None else min(length, seconds), fps
  )


def _in_space(
    path: PathLike, joint_map: Mapping[str, mapping.Rule] | PathLike | None,
    asf: PathLike | None
) -> tuple[np.ndarray, float]:
  """Read a movement in space, as it is seen from in front `[T, 14, 2]`."""
  options = {} if asf is None else {'asf': asf}
  recording = readers.load(path, 'motion', **options)
  if isinstance(joint_map, (str, pathlib.Path)):
    joint_map = mapping.read_map(joint_map)
  joints = mapping.to_skeleton(recording, AMASS21, joint_map, show=True)
  front = pose.facing(joints, AMASS21) or 0.0
  return poses_lib.from_joints(joints, 'amass21', yaw=front), recording.fps


def _flat(
    path: PathLike, arrays: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, float]:
  """Read keypoints `[T, 14, 2]`, gaps filled, and their rate."""
  points = arrays['keypoints']
  if points.dtype.kind != 'f' or points.ndim != 3 or (
      points.shape[1:] != (len(poses_lib.JOINTS), 2) or not len(points)
  ):
    raise DataError(
        path, 'keypoints', f'numbers [T, {len(poses_lib.JOINTS)}, 2] of '
        f'{", ".join(poses_lib.JOINTS)}, y up',
        f'{points.dtype} {list(points.shape)}'
    )
  joints = arrays.get('joints')
  if joints is not None and tuple(joints.tolist()) != poses_lib.JOINTS:
    raise DataError(
        path, 'joints', ', '.join(poses_lib.JOINTS),
        ', '.join(map(str, joints.tolist()))
    )
  fps = arrays.get('fps', np.zeros(0))
  if fps.size != 1 or fps.dtype.kind not in 'fiu' or not np.all(fps > 0):
    raise DataError(
        path, 'fps', 'frames per second', repr(fps.tolist())[:60]
    )
  rate = float(fps.reshape(()))
  points = points.astype(np.float64)
  return poses_lib.fill_gaps(points, rate, name=str(path)), rate


def _draw_poses(path: pathlib.Path, dance: plots.Dance) -> None:
  plots.strip(path, {dance.title: dance}, title='poses')


def _mel(dance: plots.Dance) -> np.ndarray:
  return np.asarray(
      signal.log_mel(jnp.asarray(dance.wave, jnp.float32), signal.MAA)
  )


def _mels_page(path: pathlib.Path, dance: plots.Dance) -> None:
  beats = {'musical beats': dance.onsets, 'kinematic beats': dance.steps}
  pages.of_sounds(path, [
      pages.Spectrogram(dance.title, _mel(dance), signal.MAA.fps, beats)
  ], title='log-mel spectrogram and beats')


def _draw_mels(path: pathlib.Path, dance: plots.Dance) -> None:
  plots.spectrograms(
      path, {dance.title: _mel(dance)}, signal.MAA.fps,
      onsets={dance.title: dance.onsets}, steps={dance.title: dance.steps},
      title='log-mel spectrogram and beats',
  )


def _report(name: str, written: Mapping[str, pathlib.Path]) -> None:
  table = rich.table.Table(
      # A Text, because a name may hold brackets, which mark up strings.
      title=rich.text.Text(f'{name}: dances with their music'),
      box=rich.box.SIMPLE_HEAD
  )
  table.add_column('file', no_wrap=True)
  table.add_column('size', justify='right', no_wrap=True)
  for file, path in written.items():
    table.add_row(file, f'{path.stat().st_size / 1024:,.0f} kB')
  rich.console.Console().print(table)
  # Not in the table, which would break a long path.
  print(f'in {next(iter(written.values())).parent}')
