"""Evaluate forecasts: one table beside baselines and the paper's numbers.

`metrics.json` holds `{row: {metric: {"mean", "std", "n"}}}`. Rows are `model`,
`zero_velocity`, `nearest_neighbour`, `nearest_neighbour_K` (K neighbours as K
samples) and, compared after a turn about the vertical, `turned_neighbour` and
`turned_neighbour_K`. Metrics bear the paper's names and the released code's
definitions, metres, degrees (MAE) or percent of the limb's length (stretch,
jitter); a suffix names another definition:

  (paper)      MMADE, MMFDE: least over all pairs, the segment itself left out
               of its multimodal truth; APDE: likewise left out; CMD: one class
               for all; stretch mean: time mean of the absolute error
  (keep all)   APDE: segments count whose multimodal truth has no diversity
  (segment)    CMD of each segment, averaged

`std` is over segments, of CMD over its classes; `n` counts the segments on
which a metric is defined. Numbers of a whole set have no `std`:

  ECE, ECE bias          calibration of the futures (`metrics.calibration`)
  FID (own classifier)   if `eval.fid` is given (`metrics.action_fid`); `n`
                         futures, with what `action_fid.Reference` says of
                         the classifier

`CMD by class` holds `{class: {"mean", "n", "speed", "true speed"}}`, speeds in
metres per frame, true ones those of the whole split.
"""

from collections.abc import Callable, Mapping, Sequence
import json
import pathlib
from typing import Any

import jax
import numpy as np
import rich.box
import rich.console
import rich.progress
import rich.table

from diffax.data.base import Source
from diffax.errors import UserError
from diffax.evaluate import forecasting_figures
from diffax.metrics import action_fid
from diffax.metrics import base
from diffax.metrics import calibration
from diffax.metrics import forecasting as measures
from diffax.metrics import suite as suites
from diffax.systems import baselines as rivals
from diffax.trained import Trained
from diffax.typing import Array
from diffax.typing import Batch
from diffax.typing import Key

SampleFn = Callable[[Batch, Key], Array]
Row = dict[str, dict[str, Any]]

_TABLE_WIDTH = 136


def forecasting(
    model: Trained,
    *,
    seed: int,
    workdir: pathlib.Path | str,
    split: str = 'test',
    given: Sequence[str] = ('past',),
    samples: int = 50,
    batch_size: int = 16,
    mm_threshold: float = 0.4,
    max_segments: int | None = None,
    baselines: Sequence[str] = tuple(rivals.BASELINES),
    paper: Mapping[str, Mapping[str, float]] | None = None,
    fid: Mapping[str, Any] | None = None,
    figures: bool = True,
) -> dict[str, Row]:
  """Measure futures of every segment of a split, and print the table.

  Args:
    model: its `sample` goes from a batch with `past` `[B, P, J, 3]` and a key
      to `motion` `[B, K, F, J, 3]`, metres.
    seed: of the samples; batch i draws from fold_in(key(seed), i), so the
      draws depend on `batch_size` too.
    workdir: folder for metrics.json, curves.json and the figures.
    split: of the source.
    given: what of a segment the model sees; `future`, too, for an oracle.
    samples: K that count; the model must give as many or more.
    batch_size: segments at once.
    mm_threshold: metres between last poses of one multimodal truth.
    max_segments: evaluate this many, evenly spaced; the multimodal truth is
      searched in the whole split all the same.
    baselines: names in `systems.baselines.BASELINES`.
    paper: rows of printed numbers, `{row: {metric: value}}`.
    fid: settings of `metrics.action_fid.Settings`, `{}` for the usual ones;
      None trains no classifier and measures no FID.
    figures: draw those of `evaluate.forecasting_figures`.

  Returns:
    What metrics.json holds.

  Raises:
    UserError: if a setting, or the shape or finiteness of futures, is wrong.
  """
  _check(split, given, samples, batch_size, max_segments, baselines)
  plan = None if fid is None else action_fid.settings(fid)
  console = rich.console.Console()
  source = model.source
  segments = source.segments(split)
  truth = suites.truth(
      # Disturbances of what is observed do not change what could follow.
      segments.get('clean_past', segments['past']), segments['future'],
      mm_threshold,
  )
  chosen = _subset(len(segments['past']), max_segments)
  judge = None
  if plan is not None:
    judge = _classifier(console, source, segments, chosen, plan)
  rows, curves = {}, {}
  methods = {'model': _futures(model)} | _rivals(source, baselines, samples)
  for name, method in methods.items():
    count = getattr(method, 'samples', samples)
    batches = _predict(
        console, name, method, segments, chosen, given, batch_size, count, seed
    )
    rows[name], curves[name] = _reduce(
        name, batches, truth, segments, source.info, judge
    )
  title = (
      f"{source.info['name']} {split}: {len(chosen)} segments, {samples} "
      f'samples, multimodal threshold {mm_threshold:g} m'
  )
  _print(rows, paper or {}, title, console)
  _save(pathlib.Path(workdir), rows, curves)
  if figures:
    forecasting_figures.draw(
        pathlib.Path(workdir), model, segments, curves, given, batch_size, seed,
        console
    )
  return rows


def _futures(model: Trained) -> SampleFn:
  return lambda batch, key: model.sample(batch, key)['motion']


def _check(
    split: str, given: Sequence[str], samples: int, batch_size: int,
    max_segments: int | None, baselines: Sequence[str]
) -> None:
  if set(given) not in ({'past'}, {'past', 'future'}):
    raise UserError(
        "eval.given: expected ('past',) or, for an oracle, ('past', 'future'), "
        f'found {tuple(given)}.'
    )
  for name in baselines:
    if name not in rivals.BASELINES:
      raise UserError(
          f'eval.baselines: expected some of {sorted(rivals.BASELINES)}, '
          f'found {name!r}.'
      )
    if split == 'train' and 'neighbour' in name:
      raise UserError(
          f"eval.baselines: {name!r} finds the training split's own windows "
          "in eval.split 'train'; leave it out."
      )
  least = {'samples': samples, 'batch_size': batch_size}
  if max_segments is not None:
    least['max_segments'] = max_segments
  for field, value in least.items():
    if value < 1:
      raise UserError(f'eval.{field}: expected 1 or more, found {value}.')


def _subset(total: int, wanted: int | None) -> np.ndarray:
  if wanted is None or wanted >= total:
    return np.arange(total)
  return np.linspace(0, total - 1, wanted).round().astype(int)


def _rivals(
    source: Source, names: Sequence[str], samples: int
) -> dict[str, SampleFn]:
  built: dict[str, SampleFn] = {}
  for name in names:
    method = rivals.BASELINES[name](source, samples)
    if name.endswith('neighbours'):
      name = f'{name.removesuffix("s")}_{method.samples}'
    built[name] = method
  return built


def _classifier(
    console: rich.console.Console, source: Source, segments: Batch,
    chosen: np.ndarray, plan: action_fid.Settings
) -> action_fid.Reference:
  """Train the classifier of the FID, and say how good it is."""
  console.print(f'{action_fid.NAME}: {plan.steps} steps ...')
  windows = source.segments('train')
  judge = action_fid.reference(
      windows['future'], windows['label'], segments['future'][chosen],
      segments['label'][chosen], len(source.info['classes']), plan
  )
  facts = {
      name: '-' if value is None else f'{value:.0%}'
      for name, value in judge.facts.items() if name != 'known'
  }
  console.print(
      f"{action_fid.NAME}: names {facts['training accuracy']} of what it "
      f"learnt and {facts['accuracy']} of the {judge.facts['known']} true "
      f"futures of a class that it learnt; {facts['chance']} are of the "
      'commonest'
  )
  return judge


def _predict(
    console: rich.console.Console, name: str, method: SampleFn,
    segments: Batch, chosen: np.ndarray, given: Sequence[str],
    batch_size: int, samples: int, seed: int
) -> Any:
  """Yield indices `[B]`, the number that count, and futures of each batch."""
  key = jax.random.key(seed)
  expected = (batch_size, samples, *segments['future'].shape[1:])
  starts = range(0, len(chosen), batch_size)
  for number, start in enumerate(
      rich.progress.track(starts, name, console=console)
  ):
    part = chosen[start:start + batch_size]
    # One shape compiles once; the filling does not count.
    index = np.concatenate([part, part[-1:].repeat(batch_size - len(part))])
    batch = {part: segments[part][index] for part in given}
    motion = method(batch, jax.random.fold_in(key, number))[:, :samples]
    if motion.shape != expected:
      raise UserError(
          f'{name}: expected futures [B, K, F, J, 3] of {expected}, found '
          f'{motion.shape}; is eval.samples more than the system draws?'
      )
    yield index.astype(np.int32), len(part), motion


def _reduce(
    name: str, batches: Any, truth: suites.Truth, segments: Batch,
    info: Mapping[str, Any], judge: action_fid.Reference | None
) -> tuple[Row, dict[str, list[float]]]:
  measure = suites.suite(info['skeleton'])
  totals: dict[str, base.Moments] = {}
  speeds, labels, curves, features = [], [], [], []
  samples = 0
  for index, count, motion in batches:
    samples = motion.shape[1]
    values = jax.device_get(measure(motion, index, truth))
    if not np.isfinite(values.metrics['ADE'][:count]).all():
      bad = np.flatnonzero(~np.isfinite(values.metrics['ADE'][:count]))
      raise UserError(
          f'{name}: expected finite futures, found NaN or infinity in segment '
          f'{index[bad[0]]}. Did the training diverge?'
      )
    for metric, value in values.metrics.items():
      parts = _moments(value[:count], values.counted[metric][:count])
      seen = totals.get(metric)
      totals[metric] = parts if seen is None else base.merge(seen, parts)
    if judge is not None:
      features.append(action_fid.features(judge, np.asarray(motion)[:count]))
    speeds.append(values.speed[:count])
    labels.append(segments['label'][index[:count]])
    curves.append({k: v[:count].sum(0) for k, v in values.curves.items()})
  row: Row = {name: base.summary(parts) for name, parts in totals.items()}
  speed, label = np.concatenate(speeds), np.concatenate(labels)
  row |= _cmd(speed, label, segments, info['classes'])
  if judge is not None:
    row |= _fid(judge, np.concatenate(features))
  sums = {k: sum(part[k] for part in curves) for k in curves[0]}
  means = {k: np.asarray(v, float) / len(speed) for k, v in sums.items()}
  total = row['APD']['mean'] or 1.0
  means['share of APD'] = means.pop('APD of valid') / total
  means['coverage level'] = calibration.levels(samples)
  row |= _calibration(means['coverage'], samples, len(speed))
  return row, {k: v.tolist() for k, v in means.items()}


def _moments(values: np.ndarray, counted: np.ndarray) -> base.Moments:
  """Return moments in float64, which the device does not have."""
  kept = values[counted].astype(np.float64)
  centre = kept.mean() if len(kept) else 0.0
  return base.Moments(len(kept), centre, np.sum((kept - centre) ** 2))


def _calibration(covered: np.ndarray, samples: int, segments: int) -> Row:
  found = calibration.summary(covered, samples)
  return {
      name: {'mean': value, 'std': None, 'n': 0 if value is None else segments}
      for name, value in (('ECE', found.error), ('ECE bias', found.bias))
  }


def _fid(judge: action_fid.Reference, made: np.ndarray) -> Row:
  value = action_fid.distance(judge, made)
  return {
      action_fid.NAME: {
          'mean': value, 'std': None, 'n': len(made), **judge.facts
      }
  }


def _cmd(
    speed: np.ndarray, label: np.ndarray, segments: Batch,
    classes: Sequence[str]
) -> Row:
  future, labels = segments['future'], segments['label']
  classwise = measures.mean_speed(future, labels, len(classes))
  overall = measures.mean_speed(future, np.zeros_like(labels), 1)
  single = measures.cmd_single(speed.astype(float), classwise[label])
  values = {
      'CMD': measures.cmd(speed, label, classwise),
      'CMD (paper)': measures.cmd(speed, label, overall, classes='paper'),
      'CMD (segment)': measures.Cmd(float(single.mean()), float(single.std())),
  }
  row: Row = {
      name: {'mean': value.mean, 'std': value.std, 'n': len(speed)}
      for name, value in values.items()
  }
  each = measures.cmd_by_class(speed, label, classwise)
  row['CMD by class'] = {
      str(classes[c]): {
          'mean': float(each.value[c]),
          'n': int(each.segments[c]),
          'speed': float(each.speed[c]),
          'true speed': float(classwise[c]),
      }
      for c in map(int, np.flatnonzero(each.segments))
  }
  return row


def _save(
    workdir: pathlib.Path, rows: Mapping[str, Row],
    curves: Mapping[str, Mapping[str, list[float]]]
) -> None:
  tolerance = {
      'stretch %': suites.STRETCH_TOLERANCES.tolist(),
      'jitter %': suites.JITTER_TOLERANCES.tolist(),
  }
  contents = {
      'metrics.json': rows,
      'curves.json': {'tolerance': tolerance, **curves},
  }
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    for file, content in contents.items():
      text = json.dumps(content, indent=2, allow_nan=False)
      (workdir / file).write_text(text + '\n')
  except OSError as error:
    raise UserError(f'--workdir {workdir}: cannot write: {error}') from error


def _print(
    rows: Mapping[str, Row], paper: Mapping[str, Mapping[str, float]],
    title: str, console: rich.console.Console
) -> None:
  table = rich.table.Table(
      title=title,
      box=rich.box.SIMPLE_HEAD,
      padding=(0, 1, 0, 0),
      caption='metres; MAE degrees; stretch, jitter % of the limb. '
      'Means over segments: std, n and other definitions in metrics.json.',
  )
  table.add_column('', no_wrap=True)
  measured = action_fid.NAME in rows['model']
  metrics = [*suites.TABLE, *[action_fid.NAME] * measured]
  for metric in metrics:
    table.add_column(metric.replace(' ', '\n'), justify='right')
  for name, row in rows.items():
    cells = [row[metric]['mean'] for metric in metrics]
    table.add_row(name, *map(_cell, cells))
  table.add_section()
  for name, printed in paper.items():
    mark = name if 'paper' in name else f'{name} (paper)'
    cells = [printed.get(metric) for metric in metrics]
    table.add_row(mark, *map(_cell, cells), style='dim')
  width = max(console.width, _TABLE_WIDTH)
  rich.console.Console(width=width).print(table)


def _cell(value: float | None) -> str:
  return '-' if value is None else f'{value:.3f}'
