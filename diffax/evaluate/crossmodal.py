"""Evaluate cross-modal generation: each modality given the others.

`metrics.json` holds `{direction: {row: {metric: {"mean", "std", "n"}}}}`, where
a direction `x|y` generates x given y, rows are `model` and the baselines, and

  MSE            of the first sample, as the paper reports
  MSE mean       averaged over the K samples
  MSE of mean    of the mean of the K samples
  MSE best       least of the K samples
  MSE sign       of the first sample or of its negative, whichever is nearer
  MSE sign best  least of the K samples and of their negatives
  FID            of flattened windows as Gaussians, first samples
  Context-FID, predictive MAE, predictive MSE, discriminative
                 learned scores of first samples, those named in `learned`

in standardised units. The errors' `std` is over windows, that of learned
scores over their runs; `n` counts either, of an FID the windows on which it
depends. Beside the directions stand `latents` (correlation and CKA of two
modalities' latents, `x,y`), `probes` (accuracy of classifiers of the time mean
of a modality's latents, trained on the training split) and `entropy` (nats).

Pictures, with figures of the paper that they are like:

  reconstructions_x_given_y.png  windows from the middles of equal parts (7)
  failures_x_given_y.png         windows of largest error (8)
  bands_x_given_y.png            mean and spread of a class, if there are any
  phase_x_y.png                  first channels against each other (3B, 5)
  latents.png                    latents in the plane, UMAP (4, 6, 9)
  latent_correlation.png         by time, over latent dimensions (4)
  probes.png                     accuracy of the probes (4)

References:
  LaMbDA, Tables 1-5 and 8, App. A.6.4.
"""

from collections.abc import Callable, Mapping, Sequence
import inspect
import itertools
import json
import pathlib
from typing import Any, NamedTuple

import jax
import numpy as np
import rich.box
import rich.console
import rich.progress
import rich.table

from diffax.data.base import Source
from diffax.errors import UserError
from diffax.metrics import distribution
from diffax.metrics import information
from diffax.metrics import learned as learners
from diffax.metrics import paired
from diffax.metrics import representation
from diffax.systems import lambda_rivals as rivals
from diffax.trained import Trained
from diffax.typing import Batch
from diffax.typing import Key
from diffax.viz import embedding
from diffax.viz import series as plots

SampleFn = Callable[[Batch, Key], Any]
Row = dict[str, dict[str, float | int | None]]

METRICS = ('mse', 'fid')
TABLE = (
    'MSE', 'MSE of mean', 'MSE best', 'MSE sign', 'MSE sign best', 'FID',
    'Context-FID', 'predictive MAE', 'predictive MSE', 'discriminative',
)
_ERRORS = {
    'MSE': 'first',
    'MSE mean': 'mean',
    'MSE of mean': 'of_mean',
    'MSE best': 'best',
    'MSE sign': 'first_sign',
    'MSE sign best': 'best_sign',
}
# With one sample these say the same as another column.
_OF_SEVERAL = ('MSE of mean', 'MSE best', 'MSE sign best')
# Points of one modality on the map of latents.
_MAPPED = 600


class Score(NamedTuple):
  """A score of generated windows that trains a network.

  Attributes:
    function: (truth, pred), both `[N, L, C]`, and keywords -> `[runs]` of each
      metric.
    metrics: what it measures.
  """

  function: Callable[..., Any]
  metrics: tuple[str, ...]


LEARNED: Mapping[str, Score] = {
    'context_fid': Score(learners.context_fid, ('Context-FID',)),
    'predictive': Score(
        learners.predictive_score, ('predictive MAE', 'predictive MSE')
    ),
    'discriminative': Score(
        learners.discriminative_score, ('discriminative',)
    ),
}


class Direction(NamedTuple):
  """What is generated given what.

  Attributes:
    name: `target|given`, several given ones between commas.
    target: modality to generate.
    given: modalities that the model sees.
  """

  name: str
  target: str
  given: tuple[str, ...]


def directions_of(
    names: Sequence[str] | None, modalities: Sequence[str]
) -> list[Direction]:
  """Read directions; by default each modality given all the others.

  Args:
    names: such as `x|y` or `angles|moments,grf`; None for the default.
    modalities: of the data.

  Returns:
    The directions.

  Raises:
    UserError: a name is no direction between the modalities.
  """
  if names is None:
    names = [
        f'{target}|{",".join(m for m in modalities if m != target)}'
        for target in modalities
    ]
  found = []
  for name in names:
    target, _, rest = name.partition('|')
    given = tuple(rest.split(','))
    known = {target, *given} <= set(modalities)
    if not known or target in given or len(set(given)) < len(given):
      raise UserError(
          'eval.directions: expected TARGET|GIVEN,GIVEN of different '
          f'modalities of {list(modalities)}, found {name!r}.'
      )
    found.append(Direction(name, target, given))
  return found


def crossmodal(
    model: Trained,
    *,
    seed: int,
    workdir: pathlib.Path | str,
    split: str = 'test',
    samples: int = 1,
    batch_size: int = 64,
    max_windows: int | None = None,
    directions: Sequence[str] | None = None,
    metrics: Sequence[str] = METRICS,
    learned: Mapping[str, Mapping[str, Any]] | None = None,
    sign_invariant: Sequence[str] = (),
    probes: bool = True,
    latent_windows: int = 512,
    probe_windows: int = 4096,
    entropy: bool = False,
    baselines: Sequence[str] = tuple(rivals.PREDICTORS),
    paper: Mapping[str, Mapping[str, Mapping[str, float]]] | None = None,
    figures: bool = True,
    projection: str = 'umap',
) -> dict[str, Any]:
  """Generate every window of a split in every direction, print the table.

  Args:
    model: its `sample` goes from a batch of the given modalities `[B, L, C]`
      and a key to every other modality `[B, K, L, C]`, standardised.
    seed: of the samples; batch i of direction d draws from
      fold_in(fold_in(key(seed), d), i), so the draws depend on `batch_size`.
    workdir: folder for metrics.json and the figures.
    split: of the source.
    samples: K that count; the model must give as many or more.
    batch_size: windows at once.
    max_windows: evaluate this many, evenly spaced.
    directions: names `target|given`; by default each modality given the rest.
    metrics: some of `METRICS`.
    learned: those of `LEARNED` to compute, of the model, with keywords of
      their functions in `metrics.learned`, such as `{'predictive': {}}`.
    sign_invariant: modalities of which the data tell no sign.
    probes: classify the labels from latents, if the model has latents.
    latent_windows: of the split, for correlation and CKA.
    probe_windows: of the training split, for the probes.
    entropy: estimate entropies of the data's samples.
    baselines: names in `systems.lambda_rivals.PREDICTORS`.
    paper: printed numbers, `{row: {direction: {metric: value}}}`.
    figures: draw pictures.
    projection: of the latents to the plane, `umap` or the quick `pca`.

  Returns:
    What metrics.json holds.

  Raises:
    UserError: if a setting, or the shape or finiteness of series, is wrong.
  """
  info = model.source.info
  routes = directions_of(directions, tuple(info['modalities']))
  plan = _Plan(seed, samples, batch_size, tuple(metrics), dict(learned or {}),
               tuple(sign_invariant), tuple(baselines))
  _check(plan, split, projection, info, {
      'samples': samples, 'batch_size': batch_size,
      'latent_windows': latent_windows, 'probe_windows': probe_windows,
      'max_windows': 1 if max_windows is None else max_windows,
  })
  console = rich.console.Console()
  windows = _subset(model.source.segments(split), max_windows)
  results: dict[str, Any] = {}
  drawn: dict[str, np.ndarray] = {}
  for number, route in enumerate(routes):
    key = jax.random.fold_in(jax.random.key(seed), number)
    results[route.name], drawn[route.name] = _direction(
        console, model, route, windows, plan, key
    )
  found = _latents(console, model, windows, batch_size, latent_windows,
                   probe_windows if probes else 0)
  results |= {
      'latents': _agreement(found),
      'probes': _probes(console, found, info['classes'], seed),
      'entropy': _entropies(model.source, seed) if entropy else {},
  }
  title = (
      f"{info['name']} {split}: {len(windows['label'])} windows of "
      f"{info['length']} samples, {samples} drawn for each"
  )
  _print(console, results, routes, paper or {}, title, samples > 1)
  _save(pathlib.Path(workdir), results)
  if figures:
    _draw(console, pathlib.Path(workdir), info, windows, routes, drawn, found,
          results, projection)
  return results


class _Plan(NamedTuple):
  """Hold the settings of `crossmodal` that every direction needs."""

  seed: int
  samples: int
  batch_size: int
  metrics: tuple[str, ...]
  learned: dict[str, Mapping[str, Any]]
  sign_invariant: tuple[str, ...]
  baselines: tuple[str, ...]


def _check(
    plan: _Plan, split: str, projection: str, info: Mapping[str, Any],
    least: Mapping[str, int]
) -> None:
  for field, names, known in (
      ('baselines', plan.baselines, rivals.PREDICTORS),
      ('metrics', plan.metrics, METRICS),
      ('learned', plan.learned, LEARNED),
      ('sign_invariant', plan.sign_invariant, info['modalities']),
      ('projection', (projection,), embedding.METHODS),
  ):
    for name in names:
      if name not in known:
        raise UserError(
            f'eval.{field}: expected some of {sorted(known)}, found {name!r}.'
        )
  for name, options in plan.learned.items():
    settings = inspect.signature(LEARNED[name].function).parameters
    unknown = set(options) - (set(settings) - {'truth', 'pred'})
    if unknown:
      raise UserError(
          f'eval.learned.{name}: unknown {sorted(unknown)}; it has '
          f'{sorted(set(settings) - {"truth", "pred"})}.'
      )
  if split == 'train' and 'nearest_neighbour' in plan.baselines:
    raise UserError(
        "eval.baselines: 'nearest_neighbour' finds the training split's own "
        "windows in eval.split 'train'; leave it out."
    )
  for field, value in least.items():
    if value < 1:
      raise UserError(f'eval.{field}: expected 1 or more, found {value}.')


def _subset(windows: Batch, wanted: int | None) -> Batch:
  total = len(windows['label'])
  if wanted is None or wanted >= total:
    return windows
  chosen = np.linspace(0, total - 1, wanted).round().astype(int)
  return {name: values[chosen] for name, values in windows.items()}


def _direction(
    console: rich.console.Console, model: Trained, route: Direction,
    windows: Batch, plan: _Plan, key: Key
) -> tuple[dict[str, Row], np.ndarray]:
  """Return the rows of one direction, and the model's `[N, K, L, C]`."""
  truth = windows[route.target]
  methods = _methods(model, route, plan.baselines)
  rows = {}
  for name, method in methods.items():
    several = plan.samples if name == 'model' else 1
    series = _generate(
        console, f'{route.name} {name}', method, route, windows,
        plan.batch_size, several, key
    )
    signless = route.target in plan.sign_invariant
    rows[name] = _errors(truth, series, plan.metrics, signless)
    if name == 'model':
      drawn = series
  rows['model'] |= _learned(console, route, truth, drawn[:, 0], plan)
  return rows, drawn


def _learned(
    console: rich.console.Console, route: Direction, truth: np.ndarray,
    series: np.ndarray, plan: _Plan
) -> Row:
  row: Row = {}
  if not plan.learned:
    return row
  title = f'{f"{route.name} learned scores":<32}'
  for name, options in rich.progress.track(
      plan.learned.items(), title, console=console
  ):
    score = LEARNED[name]
    found = score.function(truth, series, **{'seed': plan.seed, **options})
    row |= zip(score.metrics, map(_summary, np.atleast_2d(found)))
  return row


def _methods(
    model: Trained, route: Direction, baselines: Sequence[str]
) -> dict[str, SampleFn]:
  def keyless(predict: Callable[[Batch], np.ndarray]) -> SampleFn:
    return lambda batch, key: predict(batch)

  methods: dict[str, SampleFn] = {
      'model': lambda batch, key: model.sample(batch, key)[route.target]
  }
  for name in baselines:
    predict = rivals.PREDICTORS[name](model.source, route.given, route.target)
    methods[name] = keyless(predict)
  return methods


def _batches(total: int, size: int) -> list[np.ndarray]:
  """Return indices of equal batches; the last is filled by repetition."""
  size, index = min(size, total), np.arange(total)
  filled = np.append(index, np.full(-total % size, total - 1))
  return list(filled.reshape(-1, size))


def _generate(
    console: rich.console.Console, title: str, method: SampleFn,
    route: Direction, windows: Batch, batch_size: int, samples: int, key: Key
) -> np.ndarray:
  """Return `[N, K, L, C]`; the method sees the given modalities only."""
  truth = windows[route.target]
  parts = []
  for number, index in enumerate(rich.progress.track(
      _batches(len(truth), batch_size), f'{title:<32}', console=console
  )):
    batch = {name: windows[name][index] for name in route.given}
    drawn = np.asarray(method(batch, jax.random.fold_in(key, number)))
    expected = (len(index), samples, *truth.shape[1:])
    if drawn[:, :samples].shape != expected:
      raise UserError(
          f'{title}: expected series [B, K, L, C] of {expected}, found '
          f'{drawn.shape}; is eval.samples more than the system draws?'
      )
    parts.append(drawn[:, :samples])
  series = np.concatenate(parts)[:len(truth)]
  bad = np.flatnonzero(~np.isfinite(series).all((1, 2, 3)))
  if bad.size:
    raise UserError(
        f'{title}: expected finite series, found NaN or infinity in window '
        f'{bad[0]} ({bad.size} of {len(series)} windows). Did the training '
        'diverge?'
    )
  return series


def _errors(
    truth: np.ndarray, series: np.ndarray, metrics: Sequence[str],
    signless: bool
) -> Row:
  row: Row = {}
  if 'mse' in metrics:
    found = jax.device_get(paired.errors(truth, series))
    for name, kind in _ERRORS.items():
      if signless or not kind.endswith('sign'):
        row[name] = _summary(found[kind])
  if 'fid' in metrics and len(truth) > 1:
    distance = distribution.frechet_windows(truth, series[:, 0])
    row['FID'] = {'mean': distance, 'std': None, 'n': len(truth)}
  return row


def _summary(values: np.ndarray) -> dict[str, float | int | None]:
  values = np.asarray(values, np.float64)
  return {
      'mean': float(values.mean()), 'std': float(values.std()),
      'n': len(values),
  }


class _Latents(NamedTuple):
  """Latents by modality.

  Attributes:
    whole: [n, P, D] of some windows of the split.
    test: [N, D] time means of the split's windows.
    test_label: [N].
    train: [M, D] time means of the training windows.
    train_label: [M].
  """

  whole: dict[str, np.ndarray]
  test: dict[str, np.ndarray]
  test_label: np.ndarray
  train: dict[str, np.ndarray]
  train_label: np.ndarray


def _latents(
    console: rich.console.Console, model: Trained, windows: Batch,
    batch_size: int, latent_windows: int, probe_windows: int
) -> _Latents | None:
  if model.encode is None:
    return None
  some = _subset(windows, latent_windows)
  whole = _encode(console, 'latents', model, some, batch_size, False)
  test = _encode(console, 'latents, time mean', model, windows, batch_size)
  train, label = {}, np.zeros(0, np.int32)
  if probe_windows:
    part = _subset(model.source.segments('train'), probe_windows)
    train = _encode(console, 'latents of train', model, part, batch_size)
    label = part['label']
  return _Latents(whole, test, windows['label'], train, label)


def _encode(
    console: rich.console.Console, title: str, model: Trained, windows: Batch,
    batch_size: int, pooled: bool = True
) -> dict[str, np.ndarray]:
  """Return latents `[N, P, D]`, or their means over time `[N, D]`."""
  assert model.encode is not None
  names = tuple(model.source.info['modalities'])
  parts: dict[str, list[np.ndarray]] = {}
  total = len(windows['label'])
  for index in rich.progress.track(
      _batches(total, batch_size), f'{title:<32}', console=console
  ):
    batch = {name: windows[name][index] for name in names}
    found = jax.device_get(model.encode(batch, jax.random.key(0)))
    for name, z in found.items():
      parts.setdefault(name, []).append(z.mean(1) if pooled else z)
  return {name: np.concatenate(z)[:total] for name, z in parts.items()}


def _agreement(latents: _Latents | None) -> dict[str, Any]:
  """Measure how much alike the latents of each two modalities are.

  Correlation needs latents of one width, CKA of one number of steps.
  """
  if latents is None:
    return {}
  found = {}
  for a, b in itertools.combinations(latents.whole, 2):
    z_a, z_b = latents.whole[a], latents.whole[b]
    pair: dict[str, Any] = {}
    if z_a.shape == z_b.shape:
      mean, std = representation.latent_correlation(z_a, z_b)
      pair['correlation'] = {'mean': mean, 'std': std}
    if z_a.shape[:2] == z_b.shape[:2]:
      pair['cka'] = representation.cka(z_a, z_b)
    found[f'{a},{b}'] = pair
  return found


def _probes(
    console: rich.console.Console, latents: _Latents | None,
    classes: Sequence[str], seed: int
) -> dict[str, dict[str, float]]:
  """Classify windows by their latents; say so if there is nothing to tell."""
  if latents is None:
    console.print('No probes: the system has no latents.')
    return {}
  if not latents.train:
    return {}
  kinds = np.unique(latents.train_label)
  if len(kinds) < 2:
    console.print(
        f'No probes: all training windows are of one class, '
        f'{classes[kinds[0]]!r}.'
    )
    return {}
  guess = representation.chance(latents.train_label, latents.test_label)
  found = {}
  for name, z in rich.progress.track(
      latents.train.items(), f'{"probes":<32}', console=console
  ):
    found[name] = {
        kind: float(representation.probe(
            z, latents.train_label, latents.test[name], latents.test_label,
            kind=kind, seed=seed
        ))
        for kind in representation.KINDS
    } | {'chance': guess.uniform, 'majority': guess.majority}
  return found


def _entropies(source: Source, seed: int) -> dict[str, float]:
  """Estimate entropies of samples in time, all channels together, nats."""
  widths = source.info['modalities']
  parts = [source.segments(part) for part in ('train', 'test')]
  joint = np.concatenate([
      np.concatenate([part[name] for name in widths], -1).reshape(
          -1, sum(widths.values())
      )
      for part in parts
  ])
  # Windows overlap, and a sample counted twice has a neighbour at distance 0.
  joint = np.unique(joint, axis=0)
  borders = np.cumsum(list(widths.values()))[:-1]
  series = dict(zip(widths, np.split(joint, borders, axis=1)))
  found = {
      f'H({name})': information.entropy(values, seed=seed)
      for name, values in series.items()
  }
  for a, b in itertools.combinations(widths, 2):
    shared = information.mutual_information(series[a], series[b], seed=seed)
    found[f'I({a};{b})'] = shared
    found[f'H({a}|{b})'] = found[f'H({a})'] - shared
    found[f'H({b}|{a})'] = found[f'H({b})'] - shared
  return found


def _print(
    console: rich.console.Console, results: Mapping[str, Any],
    routes: Sequence[Direction],
    paper: Mapping[str, Mapping[str, Mapping[str, float]]], title: str,
    several: bool
) -> None:
  table = rich.table.Table(
      title=title, box=rich.box.SIMPLE_HEAD, padding=(0, 1, 0, 0),
      caption='standardised units; std, n and more in metrics.json',
  )
  table.add_column('', no_wrap=True)
  rows = {
      name: {route.name: results[route.name][name] for route in routes}
      for name in results[routes[0].name]
  }
  columns = [
      (route.name, metric) for route in routes for metric in TABLE
      if any(metric in row[route.name] for row in rows.values())
      and (several or metric not in _OF_SEVERAL)
  ]
  for direction, metric in columns:
    words = (direction, *metric.split(), '', '')
    table.add_column('\n'.join(words[:4]), justify='right')
  for name, row in rows.items():
    cells = [
        row[direction].get(metric, {}).get('mean')
        for direction, metric in columns
    ]
    table.add_row(name, *map(_cell, cells))
  table.add_section()
  for name, printed in paper.items():
    mark = name if 'paper' in name else f'{name} (paper)'
    cells = [
        printed.get(direction, {}).get(metric) for direction, metric in columns
    ]
    table.add_row(mark, *map(_cell, cells), style='dim')
  width = 26 + sum(2 + max(9, len(direction)) for direction, _ in columns)
  width = max(console.width, width)
  rich.console.Console(width=width).print(table)
  _print_latents(console, results)


def _print_latents(
    console: rich.console.Console, results: Mapping[str, Any]
) -> None:
  lines = []
  for name, pair in results['latents'].items():
    said = []
    if 'correlation' in pair:
      value = pair['correlation']
      said.append(f"correlation {value['mean']:.3f} \u00b1 {value['std']:.3f} "
                  'over dimensions')
    if 'cka' in pair:
      said.append(f"CKA {pair['cka']:.3f}")
    lines.append(f'latents {name}: {", ".join(said)}')
  lines += [
      f"probes of {name}: linear {value['linear']:.3f}, nonlinear "
      f"{value['nonlinear']:.3f} (chance {value['chance']:.3f}, most frequent "
      f"class {value['majority']:.3f})"
      for name, value in results['probes'].items()
  ]
  if results['entropy']:
    lines.append('nats: ' + ', '.join(
        f'{name} {value:.3f}' for name, value in results['entropy'].items()
    ))
  for line in lines:
    console.print(line, highlight=False, soft_wrap=True)


def _cell(value: float | None) -> str:
  return '-' if value is None else f'{value:#.3g}'.rstrip('.')


def _save(workdir: pathlib.Path, results: Mapping[str, Any]) -> None:
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=2, allow_nan=False)
    (workdir / 'metrics.json').write_text(text + '\n')
  except OSError as error:
    raise UserError(f'--workdir {workdir}: cannot write: {error}') from error


def _draw(
    console: rich.console.Console, workdir: pathlib.Path,
    info: Mapping[str, Any], windows: Batch, routes: Sequence[Direction],
    drawn: Mapping[str, np.ndarray], latents: _Latents | None,
    results: Mapping[str, Any], projection: str
) -> None:
  try:
    import matplotlib  # noqa: F401
  except ImportError:
    console.print('No figures drawn: matplotlib is missing (diffax[viz]).')
    return
  for route in routes:
    _draw_direction(workdir, info, windows, route, drawn[route.name])
  for a, b in itertools.combinations(info['modalities'], 2):
    made = {
        name: drawn[f'{name}|{other}'] for name, other in ((a, b), (b, a))
        if f'{name}|{other}' in drawn
    }
    if made:
      _draw_phase(workdir, info, windows, (a, b), made)
  if latents is not None:
    _draw_latents(console, workdir, info, latents, projection)
  if results['probes']:
    guess = next(iter(results['probes'].values()))
    plots.bars(
        workdir / 'probes.png',
        {
            name: {kind: value[kind] for kind in representation.KINDS}
            for name, value in results['probes'].items()
        },
        ylabel='accuracy',
        title=f"{info['name']}: probes of latents of held-out windows",
        levels={
            'chance': guess['chance'],
            'most frequent class': guess['majority'],
        },
    )


def _file(kind: str, route: Direction) -> str:
  return f'{kind}_{route.target}_given_{"_".join(route.given)}.png'


def _draw_direction(
    workdir: pathlib.Path, info: Mapping[str, Any], windows: Batch,
    route: Direction, samples: np.ndarray
) -> None:
  channels = plots.Channels.of(info, route.target)
  real = windows[route.target]
  what = f"{info['name']}: {route.target} given {' and '.join(route.given)}"
  plots.typical(
      workdir / _file('reconstructions', route), channels, samples, real,
      title=what,
  )
  # Of different recordings nothing overlaps.
  apart = int(windows['start'].max()) + info['length']
  plots.failures(
      workdir / _file('failures', route), channels, samples, real,
      windows['start'] + apart * windows['track'].astype(int),
      title=f'{what}, largest errors',
  )
  if len(info['classes']) > 1:
    plots.bands(
        workdir / _file('bands', route), channels, samples[:, 0], real,
        windows['label'], info['classes'], title=f'{what}, means of classes',
    )


def _draw_phase(
    workdir: pathlib.Path, info: Mapping[str, Any], windows: Batch,
    pair: tuple[str, str], made: Mapping[str, np.ndarray]
) -> None:
  """Draw the first channels of two modalities against each other."""
  x, y = pair
  scale = {name: plots.Channels.of(info, name) for name in pair}
  real = {name: scale[name].scaled(windows[name])[..., 0] for name in pair}
  some = np.unique(np.linspace(0, len(windows['label']) - 1, 200).astype(int))
  shown = []
  for rows, what in (
      (some[len(some) // 2:][:1], 'one window'), (some, 'all')
  ):
    shown.append(plots.Portrait(f'real, {what}', real[x][rows], real[y][rows]))
    for name, samples in made.items():
      both = real | {name: scale[name].scaled(samples[:, 0])[..., 0]}
      shown.append(plots.Portrait(
          f'{name} generated, {what}', both[x][rows], both[y][rows],
          plots.SAMPLED,
      ))
  plots.portraits(
      workdir / f'phase_{x}_{y}.png', shown, xlabel=scale[x].label(0),
      ylabel=scale[y].label(0), columns=1 + len(made),
      title=f"{info['name']}: one window, and {len(some)} windows",
  )


def _draw_latents(
    console: rich.console.Console, workdir: pathlib.Path,
    info: Mapping[str, Any], latents: _Latents, projection: str
) -> None:
  lines, steps = {}, np.zeros(0)
  for a, b in itertools.combinations(latents.whole, 2):
    z_a, z_b = latents.whole[a], latents.whole[b]
    if len(z_a) < 2 or z_a.shape != z_b.shape:
      continue
    # A dimension that is constant tells nothing of the other.
    found = np.nan_to_num([
        representation.correlations(z_a[:, p], z_b[:, p])
        for p in range(z_a.shape[1])
    ])
    steps = (np.arange(len(found)) + 0.5) * info['length'] / len(found)
    lines[f'{a}, {b}'] = found.mean(1), found.std(1)
  if lines:
    plots.curve(
        workdir / 'latent_correlation.png', steps / info['rate'], lines,
        xlabel=f"time in the window, {info.get('clock', 's')}",
        ylabel='correlation of latents',
        title=f"{info['name']}: mean \u00b1 std over latent dimensions",
        limits=(-1.05, 1.05),
    )
  _draw_map(console, workdir, info, latents, projection)


def _draw_map(
    console: rich.console.Console, workdir: pathlib.Path,
    info: Mapping[str, Any], latents: _Latents, projection: str
) -> None:
  """Draw windows by class, or single steps if there is one class only."""
  method = embedding.available(projection)
  if method != projection:
    console.print('UMAP is missing (diffax[viz]): principal components drawn.')
  names = list(latents.whole)
  if len(info['classes']) > 1:
    points, what = latents.test, 'time means of windows'
    label = latents.test_label
  else:
    points = {k: z.reshape(-1, z.shape[-1]) for k, z in latents.whole.items()}
    label = np.zeros(len(points[names[0]]), int)
    what = 'single steps'
  rows = np.unique(
      np.linspace(0, len(label) - 1, _MAPPED).round().astype(int)
  )
  if len({points[name].shape for name in names}) > 1 or len(rows) < 3:
    return
  console.print(f'Projecting latents ({method}) ...')
  places = embedding.project(
      np.concatenate([points[name][rows] for name in names]), method
  )
  embedding.scatter(
      workdir / 'latents.png',
      dict(zip(names, np.split(places, len(names)))),
      {name: label[rows] for name in names},
      info['classes'],
      axis={'umap': 'UMAP', 'pca': 'principal component'}[method],
      title=f"{info['name']}: latents of held-out windows, {what}",
  )
