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
"""

from collections.abc import Callable, Mapping, Sequence
import importlib.util
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
from diffax.systems import lambda_rivals as rivals
from diffax.trained import Trained
from diffax.typing import Array
from diffax.typing import Batch
from diffax.typing import Key

SampleFn = Callable[[Batch, Key], Array]
Row = dict[str, dict[str, float | int | None]]

METRICS = ('mse', 'fid')
TABLE = (
    'MSE', 'MSE mean', 'MSE of mean', 'MSE best', 'MSE sign', 'MSE sign best',
    'FID', 'Context-FID', 'predictive MAE', 'predictive MSE', 'discriminative',
)
_ENTROPY_SAMPLES = 20000


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
    learned: settings of learned scores by name, of those to compute:
      `context_fid`, `predictive`, `discriminative`.
    sign_invariant: modalities of which the data tell no sign.
    probes: classify the labels from latents, if the model has latents.
    latent_windows: of the split, for correlation and CKA.
    probe_windows: of the training split, for the probes.
    entropy: estimate entropies of the data's samples.
    baselines: names in `systems.lambda_rivals.PREDICTORS`.
    paper: printed numbers, `{row: {direction: {metric: value}}}`.
    figures: draw pictures.

  Returns:
    What metrics.json holds.

  Raises:
    UserError: if a setting, or the shape or finiteness of series, is wrong.
  """
  info = model.source.info
  routes = directions_of(directions, tuple(info['modalities']))
  _check(split, baselines, metrics, sign_invariant, info, {
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
    truth, rows = windows[route.target], {}
    for row, method in _methods(model, route, baselines).items():
      series = _generate(
          console, f'{route.name} {row}', method, route, windows, batch_size,
          samples if row == 'model' else 1, key
      )
      signless = route.target in sign_invariant
      rows[row] = _errors(truth, series, metrics, signless)
      if row == 'model':
        drawn[route.name] = series
        rows[row] |= _learned(truth, series[:, 0], learned or {}, seed)
    results[route.name] = rows
  found = _latents(console, model, windows, batch_size, latent_windows,
                   probe_windows if probes else 0)
  results |= {
      'latents': _agreement(found),
      'probes': _probes(console, found, info['classes'], seed),
      'entropy': _entropies(model.source, seed) if entropy else {},
  }
  _print(console, results, routes, paper or {}, _title(info, split, windows,
                                                       samples))
  _save(pathlib.Path(workdir), results)
  return results


def _there(name: str) -> bool:
  return importlib.util.find_spec(f'diffax.metrics.{name}') is not None


def _learned(
    truth: np.ndarray, series: np.ndarray,
    learned: Mapping[str, Mapping[str, Any]], seed: int
) -> Row:
  if learned:
    raise UserError(f'eval.learned: not there yet, found {list(learned)}.')
  return {}


def _check(
    split: str, baselines: Sequence[str], metrics: Sequence[str],
    sign_invariant: Sequence[str], info: Mapping[str, Any],
    least: Mapping[str, int]
) -> None:
  for field, names, known in (
      ('baselines', baselines, rivals.PREDICTORS),
      ('metrics', metrics, METRICS),
      ('sign_invariant', sign_invariant, info['modalities']),
  ):
    for name in names:
      if name not in known:
        raise UserError(
            f'eval.{field}: expected some of {sorted(known)}, found {name!r}.'
        )
  if split == 'train' and 'nearest_neighbour' in baselines:
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


def _methods(
    model: Trained, route: Direction, baselines: Sequence[str]
) -> dict[str, SampleFn]:
  def sample(batch: Batch, key: Key) -> Array:
    return model.sample(batch, key)[route.target]

  def keyless(predict: Callable[[Batch], Array]) -> SampleFn:
    return lambda batch, key: predict(batch)

  return {'model': sample} | {
      name: keyless(
          rivals.PREDICTORS[name](model.source, route.given, route.target)
      )
      for name in baselines
  }


def _batches(total: int, size: int) -> list[np.ndarray]:
  """Return indices of equal batches; the last is filled by repetition."""
  index = np.arange(total)
  filled = np.append(index, np.full(-total % size, total - 1))
  return list(filled.reshape(-1, size))


def _generate(
    console: rich.console.Console, title: str, method: SampleFn,
    route: Direction, windows: Batch, batch_size: int, samples: int, key: Key
) -> np.ndarray:
  """Return `[N, K, L, C]`; the method sees the given modalities only."""
  truth = windows[route.target]
  expected = (batch_size, samples, *truth.shape[1:])
  parts = []
  for number, index in enumerate(rich.progress.track(
      _batches(len(truth), batch_size), title, console=console
  )):
    batch = {name: windows[name][index] for name in route.given}
    drawn = np.asarray(method(batch, jax.random.fold_in(key, number)))
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
    for name, values in _squares(truth, series).items():
      if signless or 'sign' not in name:
        row[name] = _summary(values)
  if 'fid' in metrics and len(truth) > 1:
    distance = distribution.frechet(
        truth.reshape(len(truth), -1), series[:, 0].reshape(len(truth), -1)
    )
    row['FID'] = {'mean': distance, 'std': None, 'n': len(truth)}
  return row


def _squares(truth: np.ndarray, series: np.ndarray) -> dict[str, np.ndarray]:
  over = np.square(truth[:, None] - series).mean((2, 3))
  either = np.minimum(over, np.square(truth[:, None] + series).mean((2, 3)))
  return {
      'MSE': over[:, 0],
      'MSE mean': over.mean(1),
      'MSE of mean': np.square(truth - series.mean(1)).mean((1, 2)),
      'MSE best': over.min(1),
      'MSE sign': either[:, 0],
      'MSE sign best': either.min(1),
  }


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
    label: [n] of these windows.
    test: [N, D] time means of the split's windows.
    test_label: [N].
    train: [M, D] time means of the training windows.
    train_label: [M].
  """

  whole: dict[str, np.ndarray]
  label: np.ndarray
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
  return _Latents(
      whole, some['label'], test, windows['label'], train, label
  )


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
      _batches(total, batch_size), title, console=console
  ):
    batch = {name: windows[name][index] for name in names}
    found = jax.device_get(model.encode(batch, jax.random.key(0)))
    for name, z in found.items():
      parts.setdefault(name, []).append(z.mean(1) if pooled else z)
  return {name: np.concatenate(z)[:total] for name, z in parts.items()}


def _agreement(latents: _Latents | None) -> dict[str, Any]:
  """Measure how much alike the latents of each two modalities are."""
  if latents is None or not _there('representation'):
    return {}
  from diffax.metrics import representation
  found = {}
  for a, b in itertools.combinations(latents.whole, 2):
    z_a, z_b = (
        latents.whole[name].reshape(-1, latents.whole[name].shape[-1])
        for name in (a, b)
    )
    mean, std = representation.latent_correlation(z_a, z_b)
    found[f'{a},{b}'] = {
        'correlation': {'mean': float(mean), 'std': float(std)},
        'cka': float(representation.cka(z_a, z_b)),
    }
  return found


def _probes(
    console: rich.console.Console, latents: _Latents | None,
    classes: Sequence[str], seed: int
) -> dict[str, dict[str, float]]:
  """Classify windows by their latents; say so if there is nothing to tell."""
  if latents is None:
    console.print('No probes: the system has no latents.')
    return {}
  if not latents.train or not _there('representation'):
    return {}
  from diffax.metrics import representation
  kinds = np.unique(latents.train_label)
  if len(kinds) < 2:
    console.print(
        f'No probes: all training windows are of one class, '
        f'{classes[kinds[0]]!r}.'
    )
    return {}
  counts = np.bincount(latents.train_label)
  common = float(np.mean(latents.test_label == counts.argmax()))
  found = {}
  for name, z in rich.progress.track(
      latents.train.items(), 'probes', console=console
  ):
    found[name] = {
        kind: float(representation.probe(
            z, latents.train_label, latents.test[name], latents.test_label,
            kind=kind, seed=seed
        ))
        for kind in ('linear', 'nonlinear')
    } | {'chance': 1 / len(kinds), 'majority': common}
  return found


def _entropies(source: Source, seed: int) -> dict[str, float]:
  """Estimate entropies of samples in time, all channels together, nats."""
  from diffax.metrics import information
  names = tuple(source.info['modalities'])
  parts = [source.segments(part) for part in ('train', 'test')]
  joint = np.concatenate([
      np.concatenate([part[name] for name in names], -1).reshape(-1, sum(
          source.info['modalities'].values()
      ))
      for part in parts
  ])
  # Windows overlap, and a sample counted twice has a neighbour at distance 0.
  joint = np.unique(joint, axis=0)
  if len(joint) > _ENTROPY_SAMPLES:
    rows = np.random.default_rng(seed).choice(
        len(joint), _ENTROPY_SAMPLES, replace=False
    )
    joint = joint[rows]
  borders = np.cumsum(list(source.info['modalities'].values()))[:-1]
  series = dict(zip(names, np.split(joint, borders, axis=1)))
  found = {
      f'H({name})': float(information.entropy(values))
      for name, values in series.items()
  }
  for a, b in itertools.combinations(names, 2):
    shared = float(information.mutual_information(series[a], series[b]))
    found[f'I({a};{b})'] = shared
    found[f'H({a}|{b})'] = found[f'H({a})'] - shared
    found[f'H({b}|{a})'] = found[f'H({b})'] - shared
  return found


def _title(
    info: Mapping[str, Any], split: str, windows: Batch, samples: int
) -> str:
  return (
      f"{info['name']} {split}: {len(windows['label'])} windows of "
      f"{info['length']} samples, {samples} drawn for each"
  )


def _print(
    console: rich.console.Console, results: Mapping[str, Any],
    routes: Sequence[Direction],
    paper: Mapping[str, Mapping[str, Mapping[str, float]]], title: str
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
  ]
  for direction, metric in columns:
    table.add_column(
        f'{direction}\n' + metric.replace(' ', '\n'), justify='right'
    )
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
  width = max(console.width, 24 + 11 * len(columns))
  rich.console.Console(width=width).print(table)
  _print_latents(console, results)


def _print_latents(
    console: rich.console.Console, results: Mapping[str, Any]
) -> None:
  lines = [
      f"latents {name}: correlation {value['correlation']['mean']:.3f} \u00b1 "
      f"{value['correlation']['std']:.3f} over dimensions, CKA "
      f"{value['cka']:.3f}"
      for name, value in results['latents'].items()
  ]
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
  return '-' if value is None else f'{value:.3g}'


def _save(workdir: pathlib.Path, results: Mapping[str, Any]) -> None:
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=2, allow_nan=False)
    (workdir / 'metrics.json').write_text(text + '\n')
  except OSError as error:
    raise UserError(f'--workdir {workdir}: cannot write: {error}') from error
