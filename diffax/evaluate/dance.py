"""Evaluate dances and music: each from the other, and both at once.

`metrics.json` holds `{task: {row: {metric: {"mean", "std", "n"}}}}` for the
tasks of `sampling.dance_parts.TASKS`. Rows:

  model           what it made
  VAE             what its autoencoders make of the truth, the best that
                  latents allow
  vocoder         the true log-mels through the vocoder, the best that sound
                  from log-mels allows
  true motion     the kinematic beats of the truth
  training split  as many windows of it, in place of generated ones
  metronome       regular beats of random tempo and phase
  shuffled        the model's beats of another track
  shuffled truth  the true beats of another track

The last three know nothing of a window: what does not beat them is chance.
Beats generated (kinematic ones of motion, onsets of music) are held against
true ones (onsets of the true music); of `joint` generation, kinematic beats of
the generated motion against onsets of the generated music. In percent,

  BCS CSD BHS HSD F1    of whole seconds, as LORIS computes them and papers
                        print them; they saturate, see `metrics.rhythm`
  the same with 100ms   one to one, at most 100 ms apart; and with 50ms
  beat F1, ...          the same against beats of the track, of movement where
                        the source knows them; a track has onsets besides
  BC                    consistency of DiffGesture
  beats/s               generated, not in percent

F1 is the harmonic mean of means, so it has no spread; n counts windows, of the
rows of chance every draw. Of a movement and of sound there are also

  FID, Mean KLD              features of a classifier of movement that is
                             trained on the set (`dance_judges`)
  FAD (EMBEDDING)            named after what listens
  Diversity inter, intra     of different inputs, and of one input
  L1                         of autoencoders: of log-mels, or of normalised
                             poses in torso lengths

`judges` says how good those are on held-out windows, `voice` what makes sound
of log-mels, `sampling` how many seconds of computing a second of output takes,
and whether that is without the compilation, as it is of several batches.
`lengths` times single clips.

Of the first window are drawn mels_TASK.png, poses_TASK.png and beats_TASK.png
(what was made held against what is true), bones_TASK.png (movements of all
windows before and after bones are shortened); lengths.png has the times.

Beats and amplitudes do not depend on the scale of a clip, so normalised poses
serve as well as those in their unit.

References:
  You et al., "MoMu-Diffusion", NeurIPS 2024, Tables 2-7 and 10, App. B.4-5.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import functools
import json
import pathlib
import time
from typing import Any, NamedTuple

import jax
import numpy as np
import rich.box
import rich.console
import rich.table

from diffax.body import poses as poses_lib
from diffax.errors import UserError
from diffax.evaluate import dance_judges
from diffax.metrics import audio
from diffax.metrics import dance as quality
from diffax.metrics import distribution
from diffax.metrics import rhythm
from diffax.sampling import dance_parts
from diffax.sampling import voices
from diffax.trained import Trained
from diffax.typing import Batch
from diffax.typing import Key
from diffax.viz import beats as rhythms
from diffax.viz import curves
from diffax.viz import dance as plots

Row = dict[str, dict[str, float | int | None]]

TASKS = ('motion_to_music', 'music_to_motion', 'joint')
TABLE = (
    'BCS', 'CSD', 'BHS', 'HSD', 'F1', 'BCS 100ms', 'BHS 100ms', 'F1 100ms',
    'F1 50ms', 'beat F1 100ms', 'BC', 'beats/s', 'L1', 'FID', 'Mean KLD',
)
_ENDS = ('Diversity inter', 'Diversity intra')
# Names of a summary's fields, and of ours; the spread of the first is the
# second.
_SPREADS = {'BCS': ('bcs', 'csd'), 'BHS': ('bhs', 'hsd')}
_PROTOCOLS = {
    '': 'loris', ' 100ms': 'within_0.1', ' 50ms': 'within_0.05',
}


@dataclasses.dataclass(frozen=True)
class Plan:
  """What is evaluated, and how much of it.

  Attributes:
    seed: of the samples; the draws depend on `batch_size`, too.
    tasks: names in `TASKS` of `dance_parts`.
    batch_size: windows at once.
    repeats: samples of one input, for the diversity within it.
    repeated: such inputs; 0 leaves that out.
    chance: draws of each window for the rows of chance.
    joint_seconds: lengths of jointly generated clips, in turn; empty for that
      of the windows.
    lengths: seconds of clips that are timed.
  """

  seed: int
  tasks: tuple[str, ...]
  batch_size: int = 16
  repeats: int = 5
  repeated: int = 4
  chance: int = 20
  joint_seconds: tuple[float, ...] = ()
  lengths: tuple[float, ...] = ()


class Clips(NamedTuple):
  """Hold finished clips: those of one task, or the truth.

  Attributes:
    seconds: `[N]` lengths.
    waves: N waves, or none.
    onsets: seconds of their beats, N times.
    motion: N normalised movements `[T, 28]`, or none.
    steps: seconds of their beats, N times.
    raw: the movements before their bones are shortened, or none.
  """

  seconds: list[float]
  waves: list[np.ndarray]
  onsets: list[np.ndarray]
  motion: list[np.ndarray]
  steps: list[np.ndarray]
  raw: list[np.ndarray]


def dance(
    model: Trained,
    *,
    seed: int,
    workdir: pathlib.Path | str,
    split: str = 'test',
    tasks: Sequence[str] = TASKS,
    batch_size: int = 16,
    max_windows: int | None = None,
    vocoder: Mapping[str, Any] | None = None,
    repeats: int = 5,
    repeated: int = 4,
    chance: int = 20,
    joint_seconds: Sequence[float] = (),
    lengths: Sequence[float] = (),
    judges: Mapping[str, Any] | None = None,
    paper: Mapping[str, Mapping[str, Mapping[str, float]]] | None = None,
    figures: bool = True,
) -> dict[str, Any]:
  """Generate for every window of a split, print the tables.

  Args:
    model: its `sample` goes from what is given to what is made, see
      `dance_parts`; its source serves dances, see `data.dance`.
    seed: of the samples.
    workdir: folder for metrics.json and the figures.
    split: of the source.
    tasks: names in `dance_parts.TASKS`.
    batch_size: windows at once.
    max_windows: evaluate this many, evenly spaced.
    vocoder: settings of `sampling.voices.voice`.
    repeats: samples of one input, for the diversity within it.
    repeated: such inputs; 0 leaves that out.
    chance: draws of each window for the rows of chance.
    joint_seconds: lengths of jointly generated clips, in turn; empty for that
      of the windows.
    lengths: seconds of clips that are timed.
    judges: settings of `dance_judges.Settings`; `{'skip': True}` for none.
    paper: printed numbers, `{row: {task: {metric: value}}}`.
    figures: draw pictures.

  Returns:
    What metrics.json holds.

  Raises:
    UserError: a setting is wrong, or what the model makes.
  """
  plan = Plan(seed, tuple(tasks), batch_size, repeats, repeated, chance,
              tuple(joint_seconds), tuple(lengths))
  wanted = dict(judges or {})
  skip = wanted.pop('skip', False)
  settings = dance_judges.settings(wanted)
  _check(plan)
  console = rich.console.Console()
  windows = _subset(model.source.segments(split), max_windows)
  stage = _Stage(console, model, windows, plan, voices.voice(vocoder))
  if not skip:
    stage = stage.with_judges(settings)
  results: dict[str, Any] = {
      'sampling': {}, 'lengths': {}, 'voice': stage.voice.name,
  }
  shown = {}
  for number, name in enumerate(plan.tasks):
    console.print(f'{name} ...')
    key = jax.random.fold_in(jax.random.key(seed), number)
    results[name], shown[name], results['sampling'][name] = _task(
        stage, name, key
    )
    results['lengths'][name] = _timed(stage, name, key)
  results['judges'] = stage.judges.facts if stage.judges else {}
  _print(console, results, plan, paper or {}, stage)
  folder = pathlib.Path(workdir)
  _save(folder, results)
  if figures:
    _draw(console, folder, stage, shown, results)
  return results


def _check(plan: Plan) -> None:
  for name in plan.tasks:
    if name not in dance_parts.TASKS:
      raise UserError(
          f'eval.tasks: expected some of {list(dance_parts.TASKS)}, found '
          f'{name!r}.'
      )
  least = {'batch_size': 1, 'repeats': 2, 'repeated': 0, 'chance': 1}
  for field, bound in least.items():
    if getattr(plan, field) < bound:
      raise UserError(
          f'eval.{field}: expected {bound} or more, found '
          f'{getattr(plan, field)}.'
      )
  for field in ('joint_seconds', 'lengths'):
    for value in getattr(plan, field):
      if not value > 0:
        raise UserError(
            f'eval.{field}: expected seconds above 0, found {value}.'
        )


def _subset(windows: Batch, wanted: int | None) -> Batch:
  total = len(windows['motion'])
  if total < 2 or (wanted is not None and wanted < 2):
    raise UserError(
        'eval.max_windows: expected two windows or more, so that beats can be '
        f'shuffled, found {min(total, wanted or total)}.'
    )
  rows = np.linspace(0, total - 1, min(wanted or total, total))
  rows = rows.round().astype(int)
  return {name: values[rows] for name, values in windows.items()}


class _Stage:
  """Hold what all tasks share: the windows, finished once, and the judges."""

  def __init__(
      self, console: rich.console.Console, model: Trained, windows: Batch,
      plan: Plan, voice: voices.Voice
  ):
    self.console, self.model, self.plan = console, model, plan
    self.windows, self.voice = windows, voice
    self.judges: dance_judges.Judges | None = None
    self.info = model.source.info
    self.fps = float(self.info['fps'])
    self.frames = windows['motion'].shape[1]
    self.heard = 'wave' in windows
    # A frame's beat is somewhere within.
    self.beats = [
        (np.flatnonzero(marks) + 0.5) / self.fps for marks in windows['beat']
    ] if 'beat' in windows else None
    self.truth = self._truth()

  def _truth(self) -> Clips:
    poses = self.poses(self.windows['motion'], correct=False)
    waves = list(self.windows['wave']) if self.heard else []
    return Clips(
        [self.frames / self.fps] * len(poses), waves,
        self.onsets(waves), _flat(poses),
        dance_parts.steps(poses, self.fps), [],
    )

  def with_judges(self, settings: dance_judges.Settings) -> '_Stage':
    """Return the same with judges of what the tasks make."""
    made = {
        part for name in self.plan.tasks
        for part in dance_parts.TASKS[name].made
    }
    self.console.print('judges ...')
    self.judges = dance_judges.train(
        self.training, self.model.source.segments('val'), self.info, settings,
        'motion' in made, 'music' in made and self.heard
    )
    return self

  @functools.cached_property
  def training(self) -> Batch:
    """Windows of the training split."""
    return self.model.source.segments('train')

  def poses(self, motion: np.ndarray, correct: bool = True) -> np.ndarray:
    """Return normalised poses `[N, T, 14, 2]`."""
    return dance_parts.to_poses(motion, self.info, correct=correct)

  def onsets(self, waves: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the beats of waves."""
    return dance_parts.onsets(waves, self.info['rate']) if len(waves) else []

  def waves(self, music: np.ndarray) -> list[np.ndarray]:
    """Return the sound of music."""
    key = jax.random.fold_in(jax.random.key(self.plan.seed), 0x50)
    return list(dance_parts.to_waves(
        music, self.info, voice=self.voice, key=key
    ))

  def finish(self, arrays: Mapping[str, np.ndarray]) -> Clips:
    """Finish what a model made of one length."""
    some = next(iter(arrays.values()))
    waves: list[np.ndarray] = []
    if 'music' in arrays and self.heard:
      waves = self.waves(arrays['music'])
    poses: Any = []
    raw: Any = []
    if 'motion' in arrays:
      poses = self.poses(arrays['motion'])
      raw = self.poses(arrays['motion'], correct=False)
    return Clips(
        [some.shape[1] / self.fps] * len(some), waves, self.onsets(waves),
        _flat(poses), dance_parts.steps(poses, self.fps), _flat(raw),
    )

  @property
  def groups(self) -> np.ndarray | None:
    """Tracks of the windows; None if there is one alone."""
    track = self.windows['track']
    return track if len(np.unique(track)) > 1 else None


def _flat(poses: Sequence[np.ndarray] | np.ndarray) -> list[np.ndarray]:
  return [clip.reshape(len(clip), -1).astype(np.float32) for clip in poses]


def _joined(parts: Sequence[Clips]) -> Clips:
  return Clips(*(sum((list(x) for x in field), []) for field in zip(*parts)))


def _task(
    stage: _Stage, name: str, key: Key
) -> tuple[dict[str, Row], Clips, dict[str, Any]]:
  """Return the rows of a task, what was made, and how long it took."""
  task, plan = dance_parts.TASKS[name], stage.plan
  lengths = [stage.frames]
  if not task.given and plan.joint_seconds:
    lengths = [
        dance_parts.whole_frames(x, stage.fps) for x in plan.joint_seconds
    ]
  total, parts, times = len(stage.windows['motion']), [], []
  compiled = True
  for number, frames in enumerate(lengths):
    rows = np.arange(number, total, len(lengths))
    made = dance_parts.generate(
        stage.model, task, _rows(stage.windows, rows), frames,
        batch_size=plan.batch_size, key=jax.random.fold_in(key, number),
    )
    compiled &= made.compiled
    begin = time.perf_counter()
    parts.append(stage.finish(made.arrays))
    times.append((made.seconds / made.windows * stage.fps / frames,
                  (time.perf_counter() - begin) / len(rows) * stage.fps
                  / frames))
    if number == 0:
      first = made.arrays
  clips = _joined(parts)
  rows_of = _rows_of(stage, name, clips, first, key)
  seconds = np.mean(times, 0)
  return rows_of, clips, {
      'computing seconds per second': float(seconds[0]),
      'finishing seconds per second': float(seconds[1]),
      'windows': total, 'without compilation': compiled,
  }


def _rows(windows: Batch, rows: np.ndarray) -> Batch:
  return {name: values[rows] for name, values in windows.items()}


def _rows_of(
    stage: _Stage, name: str, clips: Clips, made: Mapping[str, np.ndarray],
    key: Key
) -> dict[str, Row]:
  task = dance_parts.TASKS[name]
  rows: dict[str, Row] = {'model': {}}
  others = _others(stage, task)
  joint = not task.given
  for row, shown in {'model': clips, **others}.items():
    rows[row] = _beats(stage, task, shown, joint) | _judged(stage, task, shown)
  rows |= _chance(stage, task, clips, joint)
  if task.given == task.made:
    rows['model'] |= _l1(stage, task, made)
  if task.given and task.given != task.made:
    rows['model'] |= _intra(stage, task, key)
  rows |= _floor(stage, task)
  return rows


def _others(stage: _Stage, task: dance_parts.Task) -> dict[str, Clips]:
  """Return the clips of rows that stand beside the model's."""
  if not task.given:
    return {}
  found, truth = {}, stage.truth
  decoded = _decoded(stage, task.made[0]) if task.given != task.made else None
  if decoded is not None:
    found['VAE'] = stage.finish(decoded)
  if task.made == ('motion',):
    found['true motion'] = truth._replace(waves=[], onsets=[])
  elif stage.info['music']['kind'] == 'mel' and stage.heard:
    found['vocoder'] = stage.finish({'music': stage.windows['music']})
  return found


def _decoded(stage: _Stage, name: str) -> dict[str, np.ndarray] | None:
  """Return what an autoencoder makes of the truth; None without one."""
  if stage.model.encode is None:
    return None
  parts, size = [], stage.plan.batch_size
  truth = stage.windows[name]
  for start in range(0, len(truth), size):
    # A batch of one size is compiled once.
    rows = np.minimum(np.arange(start, start + size), len(truth) - 1)
    found = stage.model.encode({name: truth[rows]}, jax.random.key(0))
    if f'{name}_decoded' not in found:
      return None
    parts.append(np.asarray(found[f'{name}_decoded']))
  values = np.concatenate(parts)[:len(truth)]
  return None if np.allclose(values, truth, atol=1e-4) else {name: values}


def _references(
    stage: _Stage, task: dance_parts.Task, joint: bool
) -> dict[str, list[np.ndarray] | None]:
  """Return what beats are held against, by a mark of the metrics' names.

  None are the onsets of the generated music.
  """
  if not stage.heard:
    return {}
  found: dict[str, list[np.ndarray] | None] = {
      '': None if joint else stage.truth.onsets
  }
  if stage.beats is not None and task.made == ('motion',):
    found['beat '] = stage.beats
  return found


def _made(task: dance_parts.Task, clips: Clips) -> list[np.ndarray]:
  return clips.onsets if task.made == ('music',) else clips.steps


def _pairs(
    task: dance_parts.Task, clips: Clips, true: list[np.ndarray] | None
) -> list[rhythm.Pair]:
  """Return beats made and true."""
  true = clips.onsets if true is None else true
  return list(zip(_made(task, clips), true, strict=True))


def _beats(
    stage: _Stage, task: dance_parts.Task, clips: Clips, joint: bool
) -> Row:
  cells: Row = {}
  for mark, true in _references(stage, task, joint).items():
    pairs = _pairs(task, clips, true)
    cells |= _cells(rhythm.row(pairs, clips.seconds), len(pairs), mark)
  return cells


def _chance(
    stage: _Stage, task: dance_parts.Task, clips: Clips, joint: bool
) -> dict[str, Row]:
  options: dict[str, Any] = {
      'seed': stage.plan.seed, 'repeats': stage.plan.chance,
      # Clips that are made of nothing are not of a track.
      'groups': None if joint else stage.groups,
  }
  rows: dict[str, Row] = {}

  def add(name: str, row: rhythm.Row, mark: str) -> None:
    draws = stage.plan.chance * len(clips.seconds)
    rows[name] = rows.get(name, {}) | _cells(row, draws, mark)

  for mark, true in _references(stage, task, joint).items():
    pairs = _pairs(task, clips, true)
    for name, row in rhythm.chance(pairs, clips.seconds, **options).items():
      add(name, row, mark)
    if true is not None and task.given != task.made:
      truth = _pairs(task, stage.truth, true)
      other = rhythm.chance(truth, stage.truth.seconds, **options)
      add('shuffled truth', other['shuffled'], mark)
  return rows


def _cells(row: rhythm.Row, count: int, reference: str) -> Row:
  """Write a row of `metrics.rhythm` as cells, in percent."""
  cells: Row = {}
  for mark, protocol in _PROTOCOLS.items():
    scores = row[protocol]
    for name, (mean, spread) in _SPREADS.items():
      cells[f'{name}{mark}'] = _cell(scores[mean], scores[spread], count)
      cells[f'{spread.upper()}{mark}'] = _cell(scores[spread], None, count)
    cells[f'F1{mark}'] = _cell(scores['f1'], None, count)
  cells['BC'] = _cell(row['diffgesture']['consistency'], None, count)
  cells = {f'{reference}{name}': cell for name, cell in cells.items()}
  speed = row['beats_per_second']['made']
  return cells | {'beats/s': {'mean': speed, 'std': None, 'n': count}}


def _cell(
    mean: float | None, std: float | None, count: int, scale: float = 100.0
) -> dict[str, float | int | None]:
  return {
      'mean': None if mean is None else scale * mean,
      'std': None if std is None else scale * std, 'n': count,
  }


def _of(values: np.ndarray) -> dict[str, float | int | None]:
  return _cell(float(values.mean()), float(values.std()), len(values), 1.0)


def _judged(stage: _Stage, task: dance_parts.Task, clips: Clips) -> Row:
  """Return what the judges say of clips beside the truth."""
  cells: Row = {}
  if stage.judges is None:
    return cells
  motion, ears = stage.judges.motion, stage.judges.music
  if motion is not None and 'motion' in task.made and clips.motion:
    truth, made = (_read(motion, x.motion) for x in (stage.truth, clips))
    cells['FID'] = _cell(
        distribution.frechet(truth.clips, made.clips), None, len(made.clips), 1
    )
    if task.given:
      cells['Mean KLD'] = _of(
          quality.mean_kld(truth.probability, made.probability)
      )
    cells |= _inter(made.items, stage.plan.seed, 'motion', task)
  if ears is not None and 'music' in task.made and clips.waves:
    heard, own = (audio.listen(ears, x.waves) for x in (stage.truth, clips))
    cells[ears.label] = _cell(
        audio.frechet(heard, own), None, len(own.frames), 1
    )
    cells |= _inter(own.items, stage.plan.seed, 'music', task)
  return cells


def _inter(
    items: np.ndarray, seed: int, name: str, task: dance_parts.Task
) -> Row:
  found = quality.inter_diversity(items, seed=seed)
  # Of two modalities each has its diversity.
  mark = f' of {name}' if len(task.made) > 1 else ''
  return {f'Diversity inter{mark}': _of(found)} if len(found) else {}


def _read(
    judge: quality.Judge, motion: Sequence[np.ndarray]
) -> quality.Reading:
  """Read movements of several lengths, in their order."""
  parts: list[quality.Reading] = [
      quality.read(judge, clip[None]) for clip in motion
  ] if len({len(clip) for clip in motion}) > 1 else [
      quality.read(judge, np.stack(motion))
  ]
  return quality.Reading(*(np.concatenate(x) for x in zip(*parts)))


def _intra(stage: _Stage, task: dance_parts.Task, key: Key) -> Row:
  """Return the diversity of several samples of one input."""
  plan, judges = stage.plan, stage.judges
  if judges is None or not plan.repeated:
    return {}
  total = len(stage.windows['motion'])
  few = np.unique(
      np.linspace(0, total - 1, min(plan.repeated, total)).astype(int)
  )
  windows = _rows(stage.windows, np.repeat(few, plan.repeats))
  made = dance_parts.generate(
      stage.model, task, windows, stage.frames, batch_size=plan.batch_size,
      key=jax.random.fold_in(key, 0x1A),
  )
  clips = stage.finish(made.arrays)
  if task.made == ('motion',) and judges.motion is not None:
    items = _read(judges.motion, clips.motion).items
  elif task.made == ('music',) and judges.music is not None and clips.waves:
    items = audio.listen(judges.music, clips.waves).items
  else:
    return {}
  items = items.reshape(len(few), plan.repeats, -1)
  return {'Diversity intra': _of(quality.intra_diversity(items))}


def _l1(
    stage: _Stage, task: dance_parts.Task, made: Mapping[str, np.ndarray]
) -> Row:
  (name,) = task.made
  gap = np.abs(made[name] - stage.windows[name]).mean((1, 2))
  return {'L1': _of(gap)}


def _floor(stage: _Stage, task: dance_parts.Task) -> dict[str, Row]:
  """Return what the judges say of as many windows of the training split."""
  if stage.judges is None or not task.given:
    return {}
  windows = stage.training
  total, count = len(windows['motion']), len(stage.truth.seconds)
  rows = np.linspace(0, total - 1, min(count, total)).round().astype(int)
  poses = stage.poses(windows['motion'][rows], correct=False)
  waves = list(windows['wave'][rows]) if stage.heard else []
  clips = Clips([], waves, [], _flat(poses), [], [])
  # Its windows are not those of the truth, so there are no pairs.
  cells = _judged(stage, task._replace(given=()), clips)
  return {'training split': cells} if cells else {}


def _timed(stage: _Stage, name: str, key: Key) -> dict[str, Any]:
  """Time single clips of several lengths."""
  task, found = dance_parts.TASKS[name], {}
  for seconds in stage.plan.lengths:
    frames = dance_parts.whole_frames(seconds, stage.fps)
    again = -(-frames // stage.frames)
    windows = {
        part: np.tile(stage.windows[part][:1], (1, again, 1))[:, :frames]
        for part in task.given or ('motion',)
    }
    # The second of two batches of one, which is compiled by then.
    twice = {part: np.repeat(x, 2, 0) for part, x in windows.items()}
    made = dance_parts.generate(
        stage.model, task, twice, frames, batch_size=1, key=key
    )
    length = frames / stage.fps
    found[f'{seconds:g}'] = {
        'seconds': made.seconds,
        'output seconds per second': length / made.seconds,
    }
  return found


def columns(rows: Mapping[str, Row]) -> list[str]:
  """Return the metrics of a task in the order of its table."""
  there = {metric for row in rows.values() for metric in row}
  known = [metric for metric in TABLE if metric in there]
  judged = sorted(metric for metric in there if metric.startswith('FAD'))
  ends = sorted(m for m in there if m.startswith(_ENDS))
  return known + judged + ends


def _print(
    console: rich.console.Console, results: Mapping[str, Any], plan: Plan,
    paper: Mapping[str, Mapping[str, Mapping[str, float]]], stage: _Stage
) -> None:
  for task in plan.tasks:
    rows = results[task]
    shown = columns(rows)
    table = rich.table.Table(
        title=f"{stage.info['name']}, {task.replace('_', ' ')}: "
        f'{len(stage.truth.seconds)} windows of '
        f'{stage.frames / stage.fps:g} s',
        box=rich.box.SIMPLE_HEAD, padding=(0, 1, 0, 0),
        caption='beats in percent; spreads, n and more in metrics.json',
    )
    table.add_column('', no_wrap=True)
    for metric in shown:
      table.add_column(metric.replace(' ', '\n'), justify='right')
    for name, row in rows.items():
      cells = [row.get(metric, {}).get('mean') for metric in shown]
      table.add_row(name, *map(_written, cells))
    table.add_section()
    for name, printed in paper.items():
      if task in printed:
        cells = [printed[task].get(metric) for metric in shown]
        table.add_row(f'{name} (paper)', *map(_written, cells), style='dim')
    width = max(console.width, 22 + 10 * len(shown))
    rich.console.Console(width=width).print(table)
  _print_facts(console, results)


def _print_facts(
    console: rich.console.Console, results: Mapping[str, Any]
) -> None:
  for name, facts in results['judges'].items():
    said = ', '.join(f'{k} {_word(v)}' for k, v in facts.items())
    console.print(f'judge of {name}: {said}', highlight=False)
  for task, facts in results['sampling'].items():
    console.print(
        f"{task}: {facts['computing seconds per second']:.3g} s of computing "
        'for a second of output, and '
        f"{facts['finishing seconds per second']:.3g} s to finish it"
        + (', compilation included' * (not facts['without compilation'])),
        highlight=False, soft_wrap=True,
    )


def _word(value: Any) -> str:
  return f'{value:.3g}' if isinstance(value, float) else str(value)


def _written(value: float | None) -> str:
  return '-' if value is None else f'{value:#.3g}'.rstrip('.')


def _save(workdir: pathlib.Path, results: Mapping[str, Any]) -> None:
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=2, allow_nan=False)
    (workdir / 'metrics.json').write_text(text + '\n')
  except OSError as error:
    raise UserError(f'--workdir {workdir}: cannot write: {error}') from error


def _draw(
    console: rich.console.Console, folder: pathlib.Path, stage: _Stage,
    shown: Mapping[str, Clips], results: Mapping[str, Any]
) -> None:
  try:
    import matplotlib  # noqa: F401
  except ImportError:
    console.print('No figures drawn: matplotlib is missing (diffax[viz]).')
    return
  for task, clips in shown.items():
    _draw_task(folder, stage, task, clips)
  timed = {
      task.replace('_', ' '): (
          np.array([float(x) for x in rows]),
          np.array([row['seconds'] for row in rows.values()]),
      )
      for task, rows in results['lengths'].items() if rows
  }
  if timed:
    curves.lines(
        folder / 'lengths.png', timed, 'seconds of output',
        'seconds of computing', f"{stage.info['name']}: one clip",
    )


def _draw_task(
    folder: pathlib.Path, stage: _Stage, task: str, clips: Clips
) -> None:
  """Draw the first window, what was made beside what is true, and bones."""
  title = f"{stage.info['name']}: {task.replace('_', ' ')}"
  if clips.raw:
    poses = np.concatenate(clips.raw)
    rhythms.bones(
        folder / f'bones_{task}.png', poses.reshape(len(poses), -1, 2),
        np.asarray(stage.info['motion']['lengths'], float), title=title,
    )
  if not stage.heard:
    return
  first = dances(stage, task, clips)
  plots.strip(folder / f'poses_{task}.png', first, title=title)
  plots.spectrograms(
      folder / f'mels_{task}.png',
      {name: dance_judges.mel(shown.wave) for name, shown in first.items()},
      stage.fps, title=title,
      onsets={name: shown.onsets for name, shown in first.items()},
      steps={name: shown.steps for name, shown in first.items()},
  )
  rhythms.overlay(
      folder / f'beats_{task}.png', _tracks(task, first), title=title
  )


def _tracks(
    task: str, shown: Mapping[str, plots.Dance]
) -> list[rhythms.Track]:
  """Return the music that is the reference, and what is held against it."""
  made = shown['generated']
  rows = [_music('music, the reference', shown.get('true', made))]
  if dance_parts.TASKS[task].made == ('music',):
    rows.append(_music('music, generated', made))
  moves = shown
  if 'motion' in dance_parts.TASKS[task].given:
    moves = {'given': made}
  return rows + [
      rhythms.Track(f'movement, {name}', dance.amplitude, dance.fps,
                    dance.steps)
      for name, dance in moves.items()
  ]


def _music(title: str, dance: plots.Dance) -> rhythms.Track:
  return rhythms.Track(title, dance.wave, dance.rate, dance.onsets)


def dances(
    stage: _Stage, task: str, clips: Clips
) -> dict[str, plots.Dance]:
  """Return the first window of a task, and of the truth, to draw."""
  truth = stage.truth
  # What was not made is what was given.
  found = {'generated': clips._replace(
      waves=clips.waves or truth.waves, onsets=clips.onsets or truth.onsets,
      motion=clips.motion or truth.motion, steps=clips.steps or truth.steps,
  )}
  if dance_parts.TASKS[task].given:
    found['true'] = truth
  shown = {}
  for name, part in found.items():
    poses = part.motion[0].reshape(len(part.motion[0]), -1, 2)
    poses = poses.astype(np.float64)
    shown[name] = plots.Dance(
        name, poses, stage.fps, poses_lib.JOINTS, poses_lib.BONES,
        part.waves[0], stage.info['rate'], part.onsets[0], part.steps[0],
        dance_parts.amplitude(poses),
    )
  return shown
