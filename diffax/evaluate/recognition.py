"""Evaluate generated windows by what they do for recognition.

A classifier learns from a training set and is tested on the windows of the
person held out. The sets, of `CONDITIONS`:

  few               the windows that the diffusion model learnt from
  few+KIND          and as many augmented ones as there are generated ones
  few+classical     and as many that go through all kinds, each with
                    probability 1/2, one after the other
  few+synthetic     and the generated ones
  few+classical+synthetic  and both, so twice as many
  synthetic         the generated ones alone: train on synthetic, test on real
  full              all windows of the training persons but those of `val`
  full+synthetic    and the generated ones
  trts              trained as `full`, tested on the generated windows instead

Doses are few+synthetic with the first p percent of the generated windows of
each class. Number s of S seeds has the same first weights in all of them.
Classifiers are those of the best validation on `val`, the later time of the
training persons (`select` 'val'), or those of the last step ('last'); the
former choose by windows that `few` would not have, in all conditions alike.

`metrics.json` holds, with v = {"mean", "std", "n"} over the seeds,

  conditions  {name: {"macro-F1": v, "accuracy": v, "macro-F1 last": v (of the
              last step), "F1": {class: v}, "persons": {name: {"macro-F1": v,
              "accuracy": v}}, "confusion": [K, K] mean counts, rows are true,
              "windows": {"real", "added"}, "seconds"}}
  doses       the same by percentage, "5"
  quality     spectra: {class or "mean": {set: dB}}, the log-spectral distance
              from `full`, mean over axes, of the sets generated, training (the
              few) and held out (another person); axes: {set: [C]};
              copies: {class or "mean": {"ratio", "share"}}, see
              `metrics.quality`; discriminative: v;
              clusters: {"divergence", "covered" (share of real windows whose
              cluster has generated ones)}
  sampling    windows, seconds, windows_per_second (without the first batch,
              which compiles)
  classes     K names
  held_out    the person

so a study finds a cell at ('conditions', 'few+synthetic', 'macro-F1').

Pictures: confusion.png, conditions.png, persons.png (of several), doses.png,
map.png (UMAP), view_CLASS.png (time and frequency), spectra.png, copies.png,
clusters.png. The generated windows go to synthetic.npz.

References:
  Oppel and Munz, "IMUDiffusion", 2024: conditions, doses, UMAP, clusters.
  Esteban, Hyland, Rätsch, "Real-valued (medical) time series generation with
  recurrent conditional GANs", 2017: train on synthetic, test on real, and the
  reverse.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import inspect
import json
import pathlib
import time
from typing import Any, NamedTuple

import jax
import numpy as np
import rich.box
import rich.console
import rich.progress
import rich.table

from diffax.data import augment
from diffax.errors import UserError
from diffax.metrics import learned
from diffax.metrics import quality as measures
from diffax.metrics import recognition as learning
from diffax.nn.recognition import Recogniser
from diffax.sampling import recognition as sampling
from diffax.trained import Trained
from diffax.typing import Batch
from diffax.viz import embedding
from diffax.viz import recognition as plots
from diffax.viz import spectrogram

SPLITS = ('train', 'full', 'val', 'test')
SELECT = ('val', 'last')
DOSES = (1, 2, 5, 10, 20, 50, 100)
DRAWN = ('few', 'few+classical', 'few+synthetic', 'synthetic', 'full',
         'full+synthetic')
"""Conditions that are drawn person by person and as confusion matrices."""

# Windows of each set on the map.
_MAPPED = 300


class Recipe(NamedTuple):
  """What a training set is made of.

  Attributes:
    real: the split of real windows, or None.
    kinds: augmentations of them, in place of generated windows.
    share: of the windows that each kind changes.
    percent: of the generated windows.
  """

  real: str | None
  kinds: tuple[str, ...] = ()
  share: float = 1.0
  percent: float = 0.0


CONDITIONS: Mapping[str, Recipe] = {
    'few': Recipe('train'),
    **{f'few+{kind}': Recipe('train', (kind,))
       for kind in augment.AUGMENTATIONS},
    'few+classical': Recipe('train', tuple(augment.AUGMENTATIONS), 0.5),
    'synthetic': Recipe(None, percent=100),
    'few+synthetic': Recipe('train', percent=100),
    'few+classical+synthetic': Recipe(
        'train', tuple(augment.AUGMENTATIONS), 0.5, 100
    ),
    'full': Recipe('full'),
    'full+synthetic': Recipe('full', percent=100),
    'trts': Recipe('full'),
}


@dataclasses.dataclass(frozen=True)
class Classifier:
  """How classifiers are trained.

  Attributes:
    steps: batches, the same for every set; None if `epochs` is given.
    epochs: of every set, so that larger ones train longer; None for `steps`.
    batch_size: windows of a batch.
    rate: of Adam.
    decay: of the weights.
    validations: how often validation windows are classified.
    val_windows: how many of them, evenly spaced, at most.
    select: one of `SELECT`.
    together: seeds trained side by side, 0 for all; None is one after the
      other on a processor and all on accelerators.
    network: settings of `nn.recognition.Recogniser`.
  """

  steps: int | None = 1000
  epochs: int | None = None
  batch_size: int = 64
  rate: float = 1e-3
  decay: float = 1e-4
  validations: int = 10
  val_windows: int = 512
  select: str = 'val'
  together: int | None = None
  network: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  def length(self, windows: int) -> int:
    """Return the number of steps for so many windows."""
    if self.epochs is None:
      return int(self.steps or 0)
    return -(-self.epochs * windows // self.batch_size)


@dataclasses.dataclass(frozen=True)
class Quality:
  """Which measures of quality are taken.

  Attributes:
    segment: samples of a segment of the spectra; None is half a window.
    quantile: of the distances of held-out windows, below which a generated
      one counts as near.
    discriminative: keywords of `learned.discriminative_score`, or None.
    clusters: keywords of `quality.dtw_clusters`, or None.
    windows: real ones and generated ones, of all classes, that are clustered
      and discriminated, at most.
  """

  segment: int | None = None
  quantile: float = 0.05
  discriminative: Mapping[str, Any] | None = dataclasses.field(
      default_factory=dict
  )
  clusters: Mapping[str, Any] | None = dataclasses.field(default_factory=dict)
  windows: int = 200


class _Job(NamedTuple):
  """A training set and the rows that it fills: section, name, test set."""

  recipe: Recipe
  rows: list[tuple[str, str, str]]


class _Data(NamedTuple):
  """Windows of all kinds, standardised."""

  info: Mapping[str, Any]
  parts: Mapping[str, Batch]
  made: np.ndarray
  label: np.ndarray
  augmentation: Mapping[str, Mapping[str, Any]]

  @property
  def classes(self) -> tuple[str, ...]:
    """Names of the classes."""
    return tuple(self.info['classes'])

  @property
  def per_class(self) -> int:
    """Generated windows of each class."""
    return len(self.label) // len(self.classes)

  def tested(self, name: str) -> Batch:
    """Return the windows of a test set; `made` are the generated ones."""
    if name == 'made':
      return {'window': self.made, 'label': self.label}
    return self.parts[name]


def recognition(
    model: Trained,
    *,
    seed: int,
    workdir: pathlib.Path | str,
    per_class: int = 3840,
    batch_size: int = 128,
    conditions: Sequence[str] = tuple(CONDITIONS),
    doses: Sequence[float] = DOSES,
    seeds: int = 3,
    classifier: Mapping[str, Any] | None = None,
    augmentation: Mapping[str, Mapping[str, Any]] | None = None,
    quality: Mapping[str, Any] | None = None,
    keep: bool = True,
    figures: bool = True,
    projection: str = 'umap',
    paper: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
  """Generate windows, train classifiers on all conditions, print the table.

  Args:
    model: its `sample` goes from `label` `[B]` to `window` `[B, L, C]`,
      standardised; its source serves recognition, see `data.imu`.
    seed: of the windows, of augmentation and of the classifiers.
    workdir: folder for metrics.json, synthetic.npz and the figures.
    per_class: generated windows of each class, and augmented ones.
    batch_size: windows generated at once.
    conditions: names in `CONDITIONS`.
    doses: percentages of the generated windows, at least one of each class.
    seeds: S, classifiers of each condition.
    classifier: settings of `Classifier` that differ from its own.
    augmentation: settings of `data.augment` by kind, likewise.
    quality: settings of `Quality`, likewise; `{'skip': True}` for none.
    keep: write synthetic.npz.
    figures: draw pictures.
    projection: of windows to the plane, `umap` or the quick `pca`.
    paper: what is printed of a condition, a number or words, by its name;
      other names get lines of their own.

  Returns:
    What metrics.json holds.

  Raises:
    UserError: a setting is wrong, or the model's windows are.
  """
  console = rich.console.Console()
  info = model.source.info
  plan = _classifier(dict(classifier or {}))
  grades = _quality(dict(quality or {}))
  for kind, options in (augmentation or {}).items():
    if kind not in augment.AUGMENTATIONS:
      raise UserError(
          'eval.augmentation: expected some of '
          f'{list(augment.AUGMENTATIONS)}, found {kind!r}.'
      )
    _check_options(f'augmentation.{kind}', augment.AUGMENTATIONS[kind], options)
  _check(plan, grades, conditions, doses, projection, {
      'per_class': per_class, 'batch_size': batch_size, 'seeds': seeds,
  })
  label = sampling.labels(len(info['classes']), per_class)
  made, speed = _generate(console, model, label, seed, batch_size)
  parts = {name: model.source.segments(name) for name in SPLITS}
  data = _Data(info, parts, made, label, augmentation or {})
  results = _recognise(console, data, _jobs(conditions, doses), plan, seeds,
                       seed)
  found = _Quality({}, {}, {}, None)
  if grades is not None:
    found = _measure(console, data, grades, seed)
  results |= {
      'quality': found.results, 'sampling': speed,
      'classes': list(data.classes), 'held_out': info['test_subject'],
  }
  _print(console, results, data, seeds, paper or {})
  folder = pathlib.Path(workdir)
  _save(folder, results)
  if keep:
    sampling.save(folder / 'synthetic.npz', made, label, info)
  if figures:
    _draw(console, folder, data, results, found, projection)
  return results


def _classifier(given: dict[str, Any]) -> Classifier:
  if given.get('epochs') is not None:
    # The other way to give the length is then not meant.
    given.setdefault('steps', None)
  plan = _settings(Classifier, given, 'classifier')
  if (plan.steps is None) == (plan.epochs is None):
    raise UserError(
        'eval.classifier: expected one of steps and epochs, found steps '
        f'{plan.steps} and epochs {plan.epochs}.'
    )
  if plan.select not in SELECT:
    raise UserError(
        f'eval.classifier.select: expected one of {SELECT}, found '
        f'{plan.select!r}.'
    )
  known = {f.name for f in dataclasses.fields(Recogniser)}
  strange = set(plan.network) - (known - {'classes', 'parent', 'name'})
  if strange:
    raise UserError(
        f'eval.classifier.network: unknown {sorted(strange)}; it has '
        f"{sorted(known - {'classes', 'parent', 'name'})}."
    )
  return plan


def _quality(given: dict[str, Any]) -> Quality | None:
  skip = given.pop('skip', False)
  grades = _settings(Quality, given, 'quality')
  for field, function in (
      ('discriminative', learned.discriminative_score),
      ('clusters', measures.dtw_clusters),
  ):
    options = getattr(grades, field) or {}
    _check_options(f'quality.{field}', function, options)
  return None if skip else grades


def _settings(kind: Any, given: Mapping[str, Any], field: str) -> Any:
  known = [f.name for f in dataclasses.fields(kind)]
  strange = set(given) - set(known)
  if strange:
    raise UserError(
        f'eval.{field}: unknown {sorted(strange)}; it has {known}.'
    )
  return kind(**given)


def _check_options(
    field: str, function: Callable[..., Any], options: Mapping[str, Any]
) -> None:
  parameters = inspect.signature(function).parameters.values()
  known = {p.name for p in parameters if p.default is not p.empty}
  strange = set(options) - known
  if strange:
    raise UserError(
        f'eval.{field}: unknown {sorted(strange)}; it has {sorted(known)}.'
    )


def _check(
    plan: Classifier, grades: Quality | None, conditions: Sequence[str],
    doses: Sequence[float], projection: str, least: Mapping[str, int]
) -> None:
  least = {
      **least,
      **{f'classifier.{name}': value for name, value in (
          ('steps', plan.steps), ('epochs', plan.epochs),
          ('batch_size', plan.batch_size), ('validations', plan.validations),
          ('val_windows', plan.val_windows),
      ) if value is not None},
      **({} if grades is None else {'quality.windows': grades.windows}),
  }
  for field, value in least.items():
    if value < 1:
      raise UserError(f'eval.{field}: expected 1 or more, found {value}.')
  for field, names, known in (
      ('conditions', conditions, CONDITIONS),
      ('projection', (projection,), embedding.METHODS),
  ):
    for name in names:
      if name not in known:
        raise UserError(
            f'eval.{field}: expected some of {list(known)}, found {name!r}.'
        )
  for percent in doses:
    if not 0 < percent <= 100:
      raise UserError(
          'eval.doses: expected percentages above 0, at most 100, found '
          f'{percent}.'
      )


def _jobs(
    conditions: Sequence[str], doses: Sequence[float]
) -> list[_Job]:
  """List the training sets, each once, with the rows that they fill."""
  wanted = [
      (CONDITIONS[name],
       ('conditions', name, 'made' if name == 'trts' else 'test'))
      for name in conditions
  ]
  wanted += [
      (Recipe('train', percent=float(percent)),
       ('doses', f'{percent:g}', 'test'))
      for percent in doses
  ]
  rows: dict[Recipe, list[tuple[str, str, str]]] = {}
  for recipe, row in wanted:
    rows.setdefault(recipe, []).append(row)
  return [_Job(recipe, found) for recipe, found in rows.items()]


def _generate(
    console: rich.console.Console, model: Trained, label: np.ndarray,
    seed: int, batch_size: int
) -> tuple[np.ndarray, dict[str, float | int | None]]:
  """Return the windows, and how fast they came."""
  times: list[float] = []

  def timed(batch: Batch, key: Any) -> Any:
    found = jax.block_until_ready(model.sample(batch, key))
    times.append(time.perf_counter())
    return found

  start = time.perf_counter()
  made = sampling.generate(
      model._replace(sample=timed), label, seed=seed, batch_size=batch_size,
      console=console
  )
  warm = times[-1] - times[0]
  size = min(batch_size, len(label))
  return made, {
      'windows': len(label),
      'seconds': times[-1] - start,
      'windows_per_second': (len(times) - 1) * size / warm if warm else None,
  }


def _training_set(recipe: Recipe, data: _Data, seed: int) -> augment.Windows:
  """Return real windows, then those added to them."""
  count, made = len(data.classes), _generated(recipe, data)
  sets = []
  if recipe.real is not None:
    real = data.parts[recipe.real]
    sets.append((real['window'], np.eye(count)[real['label']]))
    if recipe.kinds:
      sets.append(augment.expand(
          real['window'], real['label'], recipe.kinds,
          augment.Signals.of(data.info), classes=count,
          per_class=data.per_class, seed=seed, share=recipe.share,
          options={k: v for k, v in data.augmentation.items()
                   if k in recipe.kinds},
      ))
  if recipe.percent:
    sets.append((data.made[:made], np.eye(count)[data.label[:made]]))
  x, target = (np.concatenate(parts) for parts in zip(*sets))
  return augment.Windows(x, target.astype(np.float32))


def _added(recipe: Recipe, data: _Data) -> int:
  augmented = len(data.label) if recipe.kinds else 0
  return augmented + _generated(recipe, data)


def _generated(recipe: Recipe, data: _Data) -> int:
  if not recipe.percent:
    return 0
  each = max(round(recipe.percent / 100 * data.per_class), 1)
  return each * len(data.classes)


def _size(recipe: Recipe, data: _Data) -> int:
  real = len(data.parts[recipe.real]['label']) if recipe.real else 0
  return real + _added(recipe, data)


def _recognise(
    console: rich.console.Console, data: _Data, jobs: Sequence[_Job],
    plan: Classifier, seeds: int, seed: int
) -> dict[str, Any]:
  """Train on every set, and test."""
  network = Recogniser(len(data.classes), **plan.network)
  together = plan.together
  if together is None:
    together = 1 if jax.default_backend() == 'cpu' else 0
  training = learning.Training(
      plan.batch_size, plan.rate, plan.decay, together
  )
  results: dict[str, Any] = {'conditions': {}, 'doses': {}}
  # Sets of one size share the compiled code.
  capacity = max((_size(job.recipe, data) for job in jobs), default=0)
  validation = _validation(data, plan)
  for job in rich.progress.track(
      jobs, f'{"classifiers":<32}', console=console
  ):
    start = time.perf_counter()
    x, target = _training_set(job.recipe, data, seed)
    fitted = jax.block_until_ready(learning.fit(
        network, training, x, target, steps=plan.length(len(x)), seeds=seeds,
        seed=seed, validation=validation, validations=plan.validations,
        capacity=capacity
    ))
    seconds = time.perf_counter() - start
    for section, name, test in job.rows:
      results[section][name] = _row(data, test, network, fitted) | {
          'windows': {'real': len(x) - _added(job.recipe, data),
                      'added': _added(job.recipe, data)},
          'seconds': seconds,
      }
  # In the order asked for, not that of the training sets.
  order = [name for name in CONDITIONS if name in results['conditions']]
  results['conditions'] = {n: results['conditions'][n] for n in order}
  return results


def _validation(
    data: _Data, plan: Classifier
) -> tuple[np.ndarray, np.ndarray] | None:
  if plan.select == 'last':
    return None
  part = data.parts['val']
  if not len(part['label']):
    raise UserError(
        "eval.classifier.select: expected validation windows for 'val', found "
        "none; give data.val_share, or take 'last'."
    )
  total = len(part['label'])
  rows = np.unique(
      np.linspace(0, total - 1, min(total, plan.val_windows)).astype(int)
  )
  return part['window'][rows], part['label'][rows]


def _row(
    data: _Data, test: str, network: Recogniser, fitted: learning.Fitted
) -> dict[str, Any]:
  """Score S classifiers on a test set."""
  part, count = data.tested(test), len(data.classes)
  truth = np.asarray(part['label'], np.int64)
  best, last = (
      learning.predict(network, params, part['window'])
      for params in (fitted.best, fitted.last)
  )
  counts = [learning.confusion(truth, called, count) for called in best]
  row: dict[str, Any] = _scores(counts)
  row['macro-F1 last'] = _summary([
      learning.macro_f1(learning.confusion(truth, called, count))
      for called in last
  ])
  each = np.array([learning.f1(matrix) for matrix in counts])
  row['F1'] = {
      name: _summary(each[:, k]) for k, name in enumerate(data.classes)
      if (truth == k).any()
  }
  row['persons'] = {}
  if 'subject' in part:
    for person in np.unique(part['subject']):
      mine = part['subject'] == person
      row['persons'][data.info['subjects'][person]] = _scores([
          learning.confusion(truth[mine], called[mine], count)
          for called in best
      ])
  row['confusion'] = np.mean(counts, 0).tolist()
  return row


def _scores(counts: Sequence[np.ndarray]) -> dict[str, Any]:
  return {
      'macro-F1': _summary([learning.macro_f1(matrix) for matrix in counts]),
      'accuracy': _summary([learning.accuracy(matrix) for matrix in counts]),
  }


def _summary(values: Any) -> dict[str, float | int]:
  array = np.asarray(values, np.float64)
  return {
      'mean': float(array.mean()), 'std': float(array.std()), 'n': len(array)
  }


class _Quality(NamedTuple):
  """Measures of quality, and what their pictures need."""

  results: dict[str, Any]
  spectra: dict[str, dict[str, measures.Spectrum]]
  copies: dict[str, measures.Copies]
  clusters: tuple[measures.Clusters, np.ndarray] | None


def _measure(
    console: rich.console.Console, data: _Data, grades: Quality, seed: int
) -> _Quality:
  results: dict[str, Any] = {}
  spectra = _spectra(data, grades)
  results['spectra'], results['axes'] = _distances(spectra)
  copies = _copies(data, grades)
  results['copies'] = {
      name: {'ratio': found.ratio, 'share': found.share}
      for name, found in copies.items()
  }
  if copies:
    results['copies']['mean'] = {
        field: float(np.mean([getattr(c, field) for c in copies.values()]))
        for field in ('ratio', 'share')
    }
  real, made, _ = _alike(data, grades.windows, seed)
  clusters = None
  if grades.discriminative is not None and len(real) > 4:
    console.print('Telling real from generated windows ...')
    found = learned.discriminative_score(
        real, made, **{'seed': seed, **grades.discriminative}
    )
    results['discriminative'] = _summary(found)
  if grades.clusters is not None and len(real):
    clusters = _clusters(console, real, made, grades.clusters, seed)
    if clusters is not None:
      real_share, made_share = clusters[1] / clusters[1].sum(1, keepdims=True)
      results['clusters'] = {
          'divergence': measures.divergence(real_share, made_share),
          'covered': float(real_share[made_share > 0].sum()),
      }
  return _Quality(results, spectra, copies, clusters)


def _spectra(
    data: _Data, grades: Quality
) -> dict[str, dict[str, measures.Spectrum]]:
  """Return spectra by set, by class that all sets have."""
  sets = {
      'real': data.parts['full'], 'generated': data.tested('made'),
      'training': data.parts['train'], 'held out': data.parts['test'],
  }
  found = {}
  for number, name in enumerate(data.classes):
    mine = {
        title: part['window'][part['label'] == number]
        for title, part in sets.items()
    }
    if min(map(len, mine.values())):
      found[name] = {
          title: measures.spectra(x, data.info['rate'], grades.segment)
          for title, x in mine.items()
      }
  return found


def _distances(
    spectra: Mapping[str, Mapping[str, measures.Spectrum]]
) -> tuple[dict[str, dict[str, float]], dict[str, list[float]]]:
  """Return distances from `real` by class and set, and by set and axis."""
  table = {
      name: {
          title: measures.spectral_distance(sets['real'], one)
          for title, one in sets.items() if title != 'real'
      }
      for name, sets in spectra.items()
  }
  if not table:
    return {}, {}
  axes = {
      title: np.mean([sets[title] for sets in table.values()], 0)
      for title in next(iter(table.values()))
  }
  rows = {
      name: {title: float(one.mean()) for title, one in sets.items()}
      for name, sets in (*table.items(), ('mean', axes))
  }
  return rows, {title: one.tolist() for title, one in axes.items()}


def _copies(data: _Data, grades: Quality) -> dict[str, measures.Copies]:
  """Compare within classes; held-out windows are `val`, of the same persons."""
  train, held = data.parts['train'], data.parts['val']
  fresh = measures.apart(
      held['start'], held['recording'], train['start'], train['recording'],
      data.info['length']
  )
  found = {}
  for number, name in enumerate(data.classes):
    made, unseen, known = (
        x[label == number] for x, label in (
            (data.made, data.label),
            (held['window'][fresh], held['label'][fresh]),
            (train['window'], train['label']),
        )
    )
    if min(map(len, (made, unseen, known))):
      found[name] = measures.copies(made, unseen, known, grades.quantile)
  return found


def _alike(
    data: _Data, most: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Draw as many real as generated windows of each class, from `full`.

  Returns:
    Real windows, generated ones and the labels of either, in one order.
  """
  rng = np.random.default_rng(seed)
  real, rows, made = data.parts['full'], [], []
  each = max(most // len(data.classes), 1)
  for number in range(len(data.classes)):
    sets = [
        rng.permutation(np.flatnonzero(label == number))
        for label in (real['label'], data.label)
    ]
    size = min(each, *map(len, sets))
    rows.append(sets[0][:size])
    made.append(sets[1][:size])
  chosen, drawn = np.concatenate(rows), np.concatenate(made)
  return real['window'][chosen], data.made[drawn], data.label[drawn]


def _clusters(
    console: rich.console.Console, real: np.ndarray, made: np.ndarray,
    options: Mapping[str, Any], seed: int
) -> tuple[measures.Clusters, np.ndarray] | None:
  """Cluster both sets; return also their counts `[2, K]` by cluster."""
  console.print(f'Clustering {2 * len(real)} windows by time warping ...')
  try:
    found = measures.dtw_clusters(
        np.concatenate([real, made]), **{'seed': seed, **options}
    )
  except UserError as error:
    console.print(f'No clusters: {error}')
    return None
  counts = np.stack([
      np.bincount(part, minlength=len(found.centroid))
      for part in np.split(found.label, 2)
  ])
  return found, counts


def _print(
    console: rich.console.Console, results: Mapping[str, Any], data: _Data,
    seeds: int, paper: Mapping[str, Any]
) -> None:
  info = data.info
  table = rich.table.Table(
      title=f"{info['name']}, {info['test_subject']} held out: "
      f'{len(data.parts["test"]["label"])} windows, {data.per_class} generated '
      f'of each class, {seeds} classifiers',
      box=rich.box.SIMPLE_HEAD, padding=(0, 1, 0, 0),
      caption='mean ± std over classifiers; more in metrics.json',
  )
  table.add_column('trained on', no_wrap=True)
  heads = ['real', 'added', 'macro-F1', 'accuracy', 'macro-F1 last']
  heads += [f'F1 {name}' for name in data.classes]
  for head in heads:
    table.add_column(head, justify='right')
  table.add_column('paper')
  doses = {f'dose {k} %': row for k, row in results['doses'].items()}
  for name, row in (results['conditions'] | doses).items():
    cells = [str(row['windows'][key]) for key in ('real', 'added')]
    cells += [_cell(row[key])
              for key in ('macro-F1', 'accuracy', 'macro-F1 last')]
    cells += [
        f'{row["F1"][kind]["mean"]:.3f}' if kind in row['F1'] else '-'
        for kind in data.classes
    ]
    table.add_row(name, *cells, _words(paper.get(name)))
  table.add_section()
  for name, said in paper.items():
    if name not in results['conditions']:
      table.add_row(f'{name} (paper)', *['-'] * len(heads), _words(said),
                    style='dim')
  width = max(console.width, 110 + 9 * len(data.classes))
  rich.console.Console(width=width).print(table)
  for line in _lines(results):
    console.print(line, highlight=False, soft_wrap=True)


def _lines(results: Mapping[str, Any]) -> list[str]:
  found, speed = results['quality'], results['sampling']
  lines = []
  if speed['windows_per_second']:
    lines.append(f"generated {speed['windows']} windows at "
                 f"{speed['windows_per_second']:.3g} per second")
  if found.get('spectra'):
    said = ', '.join(
        f'{name} {value:.2f}'
        for name, value in found['spectra']['mean'].items()
    )
    lines.append(f'spectra, dB from real training persons: {said}')
  if found.get('copies'):
    mean = found['copies']['mean']
    lines.append(
        f"distance to the nearest training window: {mean['ratio']:.3f} of that "
        f"of unseen windows; {mean['share']:.3f} of the generated are near"
    )
  if 'discriminative' in found:
    lines.append('discriminative score (0 to 0.5): '
                 f"{_cell(found['discriminative'])}")
  if 'clusters' in found:
    lines.append(
        'clusters by time warping: divergence of real and generated '
        f"{found['clusters']['divergence']:.3f} bits, "
        f"{found['clusters']['covered']:.3f} of the real windows covered"
    )
  return lines


def _cell(value: Mapping[str, float]) -> str:
  return f"{value['mean']:.3f} ± {value['std']:.3f}"


def _words(said: Any) -> str:
  return '' if said is None else f'{said}'


def _save(folder: pathlib.Path, results: Mapping[str, Any]) -> None:
  try:
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=2, allow_nan=False)
    (folder / 'metrics.json').write_text(text + '\n')
  except OSError as error:
    raise UserError(f'--workdir {folder}: cannot write: {error}') from error


def _draw(
    console: rich.console.Console, folder: pathlib.Path, data: _Data,
    results: Mapping[str, Any], found: _Quality, projection: str
) -> None:
  try:
    import matplotlib  # noqa: F401
  except ImportError:
    console.print('No figures drawn: matplotlib is missing (diffax[viz]).')
    return
  title = f"{data.info['name']}, {data.info['test_subject']} held out"
  _draw_scores(folder, data, results, title)
  sampling.views(
      folder, data.info, data.parts['train'], data.made, data.label, 'view_'
  )
  channels = sampling.channels_of(data.info)
  if found.spectra:
    frequency = next(iter(found.spectra.values()))['real'].frequency
    spectrogram.spectra(
        folder / 'spectra.png', frequency,
        {kind: {name: sets[name].power
                for name in ('real', 'generated', 'held out')}
         for kind, sets in found.spectra.items()},
        channels, title=f'{title}: mean power spectra, standardised',
    )
  if found.copies:
    plots.copies(
        folder / 'copies.png',
        {kind: (c.generated, c.held) for kind, c in found.copies.items()},
        xlabel='distance to the nearest training window, standardised',
        title=f'{title}: are generated windows copies?',
    )
  if found.clusters is not None:
    clusters, counts = found.clusters
    samples = clusters.centroid.shape[1]
    thin = -(-data.info['length'] // samples)
    plots.centroids(
        folder / 'clusters.png', clusters.centroid, counts,
        np.arange(samples) * thin / data.info['rate'], data.info['channels'],
        title=f'{title}: clusters by time warping, barycentres, standardised',
    )
  _draw_map(console, folder, data, title, projection)


def _draw_scores(
    folder: pathlib.Path, data: _Data, results: Mapping[str, Any], title: str
) -> None:
  def level(row: Mapping[str, Any]) -> plots.Level:
    return row['macro-F1']['mean'], row['macro-F1']['std']

  rows = results['conditions']
  if rows:
    chosen = [name for name in DRAWN if name in rows] or list(rows)
    plots.confusions(
        folder / 'confusion.png',
        {name: np.array(rows[name]['confusion']) for name in chosen},
        data.classes, title=title,
    )
    plots.bars(
        folder / 'conditions.png',
        {name: {'macro-F1': level(row)} for name, row in rows.items()},
        ylabel='macro-F1', title=title,
    )
    persons = {
        person: {name: level(rows[name]['persons'][person]) for name in chosen}
        for person in rows[chosen[0]]['persons']
    }
    if len(persons) > 1:
      plots.bars(
          folder / 'persons.png', persons, ylabel='macro-F1', title=title
      )
  if results['doses']:
    line = np.array([level(row) for row in results['doses'].values()])
    percents = [float(percent) for percent in results['doses']]
    order = np.argsort(percents)
    plots.doses(
        folder / 'doses.png', np.array(percents)[order].tolist(),
        {'few+synthetic, mean ± std over classifiers': (
            line[order, 0], line[order, 1]
        )},
        ylabel='macro-F1', title=title,
        levels={name: level(rows[name])
                for name in ('few', 'few+classical', 'full') if name in rows},
    )


def _draw_map(
    console: rich.console.Console, folder: pathlib.Path, data: _Data,
    title: str, projection: str
) -> None:
  """Draw windows, flattened, in the plane."""
  method = embedding.available(projection)
  if method != projection:
    console.print('UMAP is missing (diffax[viz]): principal components drawn.')
  rng = np.random.default_rng(0)
  sets = {
      'real, training persons': data.parts['full'],
      'real, held out': data.parts['test'], 'generated': data.tested('made'),
  }
  chosen = {
      name: rng.permutation(len(part['label']))[:_MAPPED]
      for name, part in sets.items()
  }
  points = [sets[name]['window'][rows] for name, rows in chosen.items()]
  flat = np.concatenate([x.reshape(len(x), -1) for x in points])
  console.print(f'Projecting {len(flat)} windows ({method}) ...')
  places = embedding.project(flat, method)
  borders = np.cumsum([len(x) for x in points])[:-1]
  embedding.scatter(
      folder / 'map.png',
      dict(zip(sets, np.split(places, borders))),
      {name: sets[name]['label'][rows] for name, rows in chosen.items()},
      data.classes,
      axis={'umap': 'UMAP', 'pca': 'principal component'}[method],
      title=f'{title}: windows',
  )
