"""Run many runs of `diffax.main`, and reduce their metrics to tables.

  python -m diffax.study --config=experiments/lambda_tables.py:table2 --jobs=2

  --config=F    a study file `F[:variant,...]`; its values can be overridden,
                e.g. --config.over.seed="(0,)"
  --workdir=D   folder of the study; default runs/NAME[-variant]
  --jobs=N      runs at once, each on its share of the processor's cores
  --only=A,B*   run these rows alone
  --print       run nothing, print what there is
  --again       also run what is finished; `diffax.main` repeats the evaluation

The same command again resumes. A study is a config of plain values:

  runs      ({'name': row, 'config': 'experiments/F.py:variant',
              'set': {'data.split': 'random'},
              'reuse': {'autoencoder': 'another row'}}, ...)
  over      {'data': {'fold': (0, 1, 2)}, 'seed': (0, 1)}: every row runs with
            every combination
  average   names in `over`, e.g. ('seed',), over which values are averaged
            first: deviations, n and tests are then over the others
  tables    ({'title': ..., 'run': '{system}-{method}',
              'path': ('{way}', 'model', 'MSE'), 'better': 'lower',
              'rows': ({'title': ..., 'system': ..., 'way': 'x|y',
                        'paper': {column: '0.18±0.03'}}, ...),
              'columns': ({'title': ..., 'method': ...}, ...),
              'best': groups of titles whose best is set in bold,
              'compare': pairs of titles,
              'figure': {'file': 'f.png', 'xlabel': ...}}, ...)

With `figure`, rows have a `line` and an `x`, and a picture in the folder of the
study shows each column against x, a line for rows of the same `line`.

A row with `reuse` waits for the runs of other rows with the same values of
`over`, and starts from copies of those trained stages, which must have been
trained with its own settings; stages that it has already stay. Runs that
others wait for start first.

A cell belongs to the runs of row `run` and the place `path` in metrics.json,
where braces are filled from the table, its row and its column, the later
first. A place holds a number, or `{"mean": number}`.

A run lives in workdir/ROW/KEY=VALUE,.../ with its log.txt. It is finished when
study.json there, written when it ends, has status 0 and the config that it
would have now. After a change it runs again: then `diffax.main` repeats the
evaluation alone, goes on with the training, or refuses with the name of the
setting and status 2. So no table mixes settings, and no weights are lost.

Over n runs with values v, and d = v - v' for pairs of equal fold, seed, ...:

    mean(v),  std(v) = sqrt(sum (v - mean)^2 / (n - 1))                   (1)
    two-sided p of no difference, from n = 5: exact sign test, Wilcoxon
    signed rank; not corrected for the number of comparisons              (2)

Exit status: 0 done, 2 a run or the study has a mistake that the user can mend,
1 a run failed otherwise, 75 stopped by a signal with everything saved.
"""

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import fcntl
import fnmatch
import itertools
import json
import math
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from typing import Any, NamedTuple

from absl import app
from absl import flags
from ml_collections import config_flags
import numpy as np
import rich.box
import rich.console
import rich.progress
import rich.table
import rich.text
from scipy import stats

from diffax import main as single
from diffax.errors import DataError
from diffax.errors import UserError
from diffax.train import loop
from diffax.viz import curves
from diffax.viz import pose

# Importing `main` defines --config and --workdir.
_JOBS = flags.DEFINE_integer('jobs', 1, 'Runs at once.', lower_bound=1)
_ONLY = flags.DEFINE_list('only', None, 'Names or patterns of rows to run.')
_PRINT = flags.DEFINE_bool('print', False, 'Print the tables, run nothing.')
_AGAIN = flags.DEFINE_bool('again', False, 'Run finished runs, too.')

COMMAND = (sys.executable, '-m', 'diffax.main')
METRICS = 'metrics.json'
RECORD = 'study.json'
LOG = 'log.txt'
_KEYS = {'runs', 'over', 'average', 'tables'}
# A test on fewer pairs cannot reach any usual level.
_LEAST_PAIRS = 5
_STOPPED = (loop.STOPPED, -signal.SIGTERM, -signal.SIGINT)
_TAIL = 8
_POLL = 0.1
_TABLE_WIDTH = 120

Over = tuple[tuple[str, Any], ...]
Values = dict[Over, float]
Titles = tuple[str, str]
Config = Mapping[str, Any]


class Run(NamedTuple):
  """One call of `diffax.main`.

  Attributes:
    row: name in the study.
    over: the varied settings with this run's values.
    folder: its --workdir.
    flags: the others of its flags.
    reuse: trained stages and the rows that they are of.
  """

  row: str
  over: Over
  folder: pathlib.Path
  flags: tuple[str, ...]
  reuse: tuple[tuple[str, str], ...] = ()

  @property
  def name(self) -> str:
    """Row and values, for messages."""
    return ' '.join([self.row, *(f'{k}={v}' for k, v in self.over)])


class Outcome(NamedTuple):
  """What is known of a run: its metrics if it is finished, or a failure."""

  metrics: Mapping[str, Any] | None = None
  failed: bool = False


class Failure(NamedTuple):
  """How a run failed: its status, and what it said at last."""

  status: int
  words: str


class Place(NamedTuple):
  """Where a cell's values lie: a row of runs, and keys in metrics.json."""

  row: str
  path: tuple[str, ...]


class Summary(NamedTuple):
  """Moments over runs, eq. 1; `std` is None for one run."""

  mean: float
  std: float | None
  n: int


class Difference(NamedTuple):
  """Paired differences between two cells, eq. 2.

  Attributes:
    mean: of the first minus the second.
    std: None for one pair.
    n: pairs.
    better: pairs in which the first is better.
    sign: p-value of the sign test without ties; None for few pairs.
    wilcoxon: p-value of the signed-rank test; exact up to n = 50 if there are
      no ties, up to n = 13 if there are.
  """

  mean: float
  std: float | None
  n: int
  better: int
  sign: float | None
  wilcoxon: float | None


class Cell(NamedTuple):
  """A cell of a table.

  Attributes:
    values: by the varied settings.
    failed: number of its runs that failed.
    paper: the printed number.
    bold: whether it is the best of a group.
  """

  values: Values
  failed: int
  paper: str | None
  bold: bool


class Table(NamedTuple):
  """A table with its numbers.

  Attributes:
    title: of the table.
    note: what the deviations are over.
    n: values of a complete cell.
    cells: by titles (row, column), row after row.
    compared: cell, cell, comparison.
    problems: what is wrong with places that its cells name.
  """

  title: str
  note: str
  n: int
  cells: dict[Titles, Cell]
  compared: list[tuple[Titles, Titles, Difference]]
  problems: list[str]

  @property
  def rows(self) -> list[str]:
    """Titles of the rows."""
    return list(dict.fromkeys(row for row, _ in self.cells))

  @property
  def columns(self) -> list[str]:
    """Titles of the columns."""
    return list(dict.fromkeys(column for _, column in self.cells))


def flatten(tree: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
  """Return the leaves of nested dicts by dotted name."""
  flat = {}
  for key, value in tree.items():
    if isinstance(value, Mapping):
      flat.update(flatten(value, f'{prefix}{key}.'))
    else:
      flat[f'{prefix}{key}'] = value
  return flat


def varied(study: Config) -> dict[str, tuple[Any, ...]]:
  """Return the values of each setting in `over`, by dotted name.

  Raises:
    UserError: if one is not a tuple, or is empty.
  """
  over = flatten(study.get('over', {}))
  for key, values in over.items():
    if not isinstance(values, tuple) or not values:
      raise UserError(
          f'study.over.{key}: expected a tuple of values, found {values!r}.'
      )
  strange = set(study.get('average', ())) - set(over)
  if strange:
    raise UserError(
        f'study.average: expected some of {sorted(over)}, found '
        f'{sorted(strange)}.'
    )
  return over


def expand(study: Config, workdir: pathlib.Path) -> list[Run]:
  """List the runs of a study, all rows for the first values, and so on.

  Args:
    study: plain values, see above.
    workdir: of the study.

  Returns:
    The runs in the order to start them.

  Raises:
    UserError: if there is none, or a name or value is wrong.
  """
  strange = set(study) - _KEYS
  if strange or not study.get('runs'):
    raise UserError(
        f'study: expected some of {sorted(_KEYS)} with at least one of runs, '
        f'found {sorted(strange) or "no runs"}.'
    )
  names = [row['name'] for row in study['runs']]
  for name in names:
    if not re.fullmatch(r'[\w+=-][\w+.=-]*', name) or names.count(name) > 1:
      raise UserError(
          f'study.runs: expected names of folders, each once, found {name!r}.'
      )
  _check_reuse(study['runs'])
  over = varied(study)
  return [
      _run(row, tuple(zip(over, values)), workdir)
      for values in itertools.product(*over.values()) for row in study['runs']
  ]


def _check_reuse(rows: Sequence[Config]) -> None:
  """Raise a UserError unless rows take stages from rows before them."""
  for place, row in enumerate(rows):
    before = [other['name'] for other in rows[:place]]
    for stage, other in row.get('reuse', {}).items():
      if other not in before:
        raise UserError(
            f'study.runs {row["name"]!r}: reuse.{stage}: expected one of the '
            f'rows before it, {before}, found {other!r}.'
        )


def _run(row: Config, over: Over, workdir: pathlib.Path) -> Run:
  fixed = flatten(row.get('set', {}))
  for key, _ in over:
    if key in fixed:
      raise UserError(
          f'study.runs {row["name"]!r}: sets {key}, which study.over varies.'
      )
  settings = [f'--config.{key}={value}' for key, value in fixed.items()]
  settings += [f'--config.{key}={value}' for key, value in over]
  return Run(
      row['name'],
      over,
      _folder(workdir, row['name'], over),
      (f'--config={row["config"]}', *settings),
      tuple(row.get('reuse', {}).items()),
  )


def _folder(workdir: pathlib.Path, row: str, over: Over) -> pathlib.Path:
  part = ','.join(f'{key}={value}' for key, value in over)
  return workdir / row / re.sub(r'[^\w.,=+-]', '_', part)


def select(runs: Sequence[Run], patterns: Sequence[str] | None) -> list[Run]:
  """Return the runs whose row is named or matched; all if none is given.

  Raises:
    UserError: if a pattern matches no row.
  """
  if not patterns:
    return list(runs)
  names = list(dict.fromkeys(run.row for run in runs))
  chosen = set()
  for pattern in patterns:
    found = fnmatch.filter(names, pattern)
    if not found:
      raise UserError(f'--only: expected some of {names}, found {pattern!r}.')
    chosen.update(found)
  return [run for run in runs if run.row in chosen]


def resolve(run: Run) -> dict[str, Any]:
  """Return the config that a run would have, as JSON holds it.

  Raises:
    UserError: if its file, variant or a setting does not exist, or a value is
      of another type.
  """
  argv = ['study', *run.flags]
  values = flags.FlagValues()
  try:
    single.check_overrides(argv)
    config_flags.DEFINE_config_file('config', flag_values=values, sys_argv=argv)
    values(argv)
  except (UserError, flags.Error) as error:
    raise UserError(f'study.runs {run.name!r}: {error}') from error
  return json.loads(json.dumps(values.config.to_dict(), default=str))


def outcome(run: Run, config: Config) -> Outcome:
  """Return what is known of a run with this config.

  Raises:
    UserError: if a file of it cannot be read.
  """
  if not (run.folder / RECORD).is_file():
    return Outcome()
  record = _read(run.folder / RECORD)
  if record.get('config') != config:
    return Outcome()
  if record.get('status'):
    return Outcome(failed=True)
  return Outcome(_read(run.folder / METRICS))


def _read(path: pathlib.Path) -> dict[str, Any]:
  try:
    return json.loads(path.read_text())
  except (OSError, ValueError) as error:
    mend = f'Delete {path.with_name(RECORD)} to run that run again.'
    raise DataError(path, 'content', 'JSON', f'{error}', mend) from error


def places(table: Config, names: Sequence[str]) -> dict[Titles, Place]:
  """Find where the values of each cell lie.

  Args:
    table: of a study.
    names: of the study's rows.

  Returns:
    A place for every pair of titles (row, column).

  Raises:
    UserError: if a brace has no value, or a title or run does not exist.
  """
  where = f'study.tables {table["title"]!r}'
  found: dict[Titles, Place] = {}
  for row, column in itertools.product(table['rows'], table['columns']):
    cell = row['title'], column['title']
    fields = {**table, **row, **column}
    try:
      name = fields['run'].format(**fields)
      path = tuple(key.format(**fields) for key in fields['path'])
    except KeyError as error:
      raise UserError(f'{where}: cell {cell} needs {error}.') from error
    if name not in names:
      raise UserError(
          f'{where}: cell {cell} is of the run {name!r}, expected one of '
          f'{list(names)}.'
      )
    if cell in found:
      raise UserError(f'{where}: there are two cells {cell}.')
    found[cell] = Place(name, path)
  _check_titles(table, where)
  _check_figure(table, where)
  return found


def _check_figure(table: Config, where: str) -> None:
  if 'figure' not in table:
    return
  if set(table['figure']) != {'file', 'xlabel'}:
    raise UserError(
        f'{where}: figure: expected file and xlabel, found '
        f'{sorted(table["figure"])}.'
    )
  for row in table['rows']:
    line, x = row.get('line'), row.get('x')
    known = isinstance(line, str) and isinstance(x, (int, float))
    if not known or not x > 0:
      raise UserError(
          f'{where}: row {row["title"]!r}: a figure needs its line and an x '
          f'above 0, found {line!r} and {x!r}.'
      )


def _check_titles(table: Config, where: str) -> None:
  rows, columns = _titles(table)
  used = [(key, g) for key in ('best', 'compare') for g in table.get(key, ())]
  for key, group in used:
    if not (set(group) <= set(rows) or set(group) <= set(columns)):
      raise UserError(
          f'{where}: {key}: expected titles of {rows} or of {columns}, found '
          f'{tuple(group)}.'
      )
  for row in table['rows']:
    strange = set(row.get('paper', {})) - set(columns)
    if strange:
      raise UserError(
          f'{where}: paper of {row["title"]!r}: expected columns of {columns}, '
          f'found {sorted(strange)}.'
      )


def _titles(table: Config) -> tuple[list[str], list[str]]:
  rows, columns = table['rows'], table['columns']
  return [x['title'] for x in rows], [x['title'] for x in columns]


def pick(
    metrics: Mapping[str, Any], path: Sequence[str], file: object
) -> float | None:
  """Return the number at a path; None where a metric is undefined.

  Args:
    metrics: of a run.
    path: keys from the top; a dict at the end gives its `mean`.
    file: of the metrics, for messages.

  Raises:
    UserError: naming the keys that there are instead.
  """
  inner: Any = metrics
  for depth, key in enumerate(path):
    if not isinstance(inner, Mapping) or key not in inner:
      there = list(inner) if isinstance(inner, Mapping) else repr(inner)
      inside = '/'.join(path[:depth]) or 'the file'
      raise DataError(
          file, '/'.join(path), f'the key {key!r}', f'{there} in {inside}'
      )
    inner = inner[key]
  if isinstance(inner, Mapping) and 'mean' in inner:
    inner = inner['mean']
  if inner is None:
    return None
  if not isinstance(inner, (int, float)) or not math.isfinite(inner):
    raise DataError(file, '/'.join(path), 'a finite number', f'{inner!r}')
  return float(inner)


def average(values: Values, names: Sequence[str]) -> Values:
  """Average values over the named settings, e.g. over seeds within a fold."""
  groups: dict[Over, list[float]] = {}
  for over, value in values.items():
    rest = tuple(pair for pair in over if pair[0] not in names)
    groups.setdefault(rest, []).append(value)
  return {over: float(np.mean(group)) for over, group in groups.items()}


def summary(values: Values) -> Summary | None:
  """Reduce the values of a cell by eq. 1; None if there are none."""
  if not values:
    return None
  array = np.array(list(values.values()))
  std = float(array.std(ddof=1)) if len(array) > 1 else None
  return Summary(float(array.mean()), std, len(array))


def difference(first: Values, second: Values, better: str) -> Difference | None:
  """Compare two cells by eq. 2.

  Args:
    first: values by run.
    second: values by run; those in both count.
    better: `lower` or `higher`.

  Returns:
    The comparison, None if no run is in both.
  """
  pairs = {
      over: first[over] - second[over] for over in first if over in second
  }
  moments = summary(pairs)
  if moments is None:
    return None
  change = np.array(list(pairs.values()))
  wins = int(((change < 0) if better == 'lower' else (change > 0)).sum())
  unequal = int((change != 0).sum())
  sign = wilcoxon = None
  if len(change) >= _LEAST_PAIRS and unequal:
    sign = float(stats.binomtest(wins, unequal).pvalue)
    wilcoxon = float(stats.wilcoxon(change).pvalue)
  return Difference(*moments, wins, sign, wilcoxon)


def tabulate(
    table: Config, study: Config, outcomes: Mapping[Run, Outcome]
) -> Table:
  """Fill a table from the runs that there are.

  Args:
    table: of the study.
    study: plain values.
    outcomes: of its runs.

  Returns:
    The table.
  """
  over, averaged = varied(study), study.get('average', ())
  values: dict[Titles, Values] = {}
  failed: dict[Titles, int] = {}
  problems: dict[str, str] = {}
  found = places(table, [row['name'] for row in study['runs']])
  for titles, place in found.items():
    runs = {run: x for run, x in outcomes.items() if run.row == place.row}
    failed[titles] = sum(x.failed for x in runs.values())
    picked: Values = {}
    for run, (metrics, _) in runs.items():
      if metrics is None:
        continue
      try:
        value = pick(metrics, place.path, run.folder / METRICS)
      except UserError as error:
        # One message for the many runs that lack the same.
        problems.setdefault('/'.join(place.path), f'{error}')
        continue
      if value is not None:
        picked[run.over] = value
    values[titles] = average(picked, averaged)
  paper = _printed(table)
  bold = _bold(table, values)
  return Table(
      table['title'],
      _note(over, averaged),
      math.prod(len(v) for key, v in over.items() if key not in averaged),
      {
          titles: Cell(
              values[titles], failed[titles], paper.get(titles), titles in bold
          )
          for titles in found
      },
      _compared(table, values),
      list(problems.values()),
  )


def _printed(table: Config) -> dict[Titles, str]:
  return {
      (row['title'], column): number
      for row in table['rows']
      for column, number in row.get('paper', {}).items()
  }


def _note(over: Mapping[str, Any], averaged: Sequence[str]) -> str:
  if all(len(values) == 1 for values in over.values()):
    return 'one run'
  kept = [f'{key} ({len(v)})' for key, v in over.items() if key not in averaged]
  text = f'mean±sample std over {" x ".join(kept) or "nothing"}'
  first = [f'{key} ({len(over[key])})' for key in averaged]
  return f'{text} of averages over {" x ".join(first)}' if first else text


def _better(table: Config, titles: Titles) -> str:
  parts = [row for row in table['rows'] if row['title'] == titles[0]]
  parts += [part for part in table['columns'] if part['title'] == titles[1]]
  found = [part['better'] for part in (table, *parts) if 'better' in part]
  return found[-1] if found else 'lower'


def _groups(table: Config, group: Sequence[str]) -> list[list[Titles]]:
  """Return cells to compare: of some columns in each row, or the reverse."""
  rows, columns = _titles(table)
  if set(group) <= set(columns):
    return [[(row, title) for title in group] for row in rows]
  return [[(title, column) for title in group] for column in columns]


def _bold(table: Config, values: Mapping[Titles, Values]) -> set[Titles]:
  bold: set[Titles] = set()
  for group in table.get('best', ()):
    for cells in _groups(table, group):
      means = {
          cell: np.mean(list(values[cell].values()))
          for cell in cells if values[cell]
      }
      if len(means) > 1:
        choose = min if _better(table, cells[0]) == 'lower' else max
        best = choose(means.values())
        bold.update(cell for cell, mean in means.items() if mean == best)
  return bold


def _compared(
    table: Config, values: Mapping[Titles, Values]
) -> list[tuple[Titles, Titles, Difference]]:
  pairs = [
      cells for pair in table.get('compare', ())
      for cells in _groups(table, pair)
  ]
  results = [
      (a, b, difference(values[a], values[b], _better(table, a)))
      for a, b in pairs
  ]
  # The difference of single runs can be seen in the table.
  return [
      (a, b, result) for a, b, result in results if result and result.n > 1
  ]


def number(mean: float, std: float | None = None) -> str:
  """Write three digits that count, or more to show one of the deviation."""
  scale = max(abs(mean), std or 0)
  if scale and not 1e-3 <= scale < 1e5:
    form = '.2e'
  else:
    digits = max(0, 2 - math.floor(math.log10(scale))) if scale else 0
    if std:
      digits = max(digits, min(digits + 2, -math.floor(math.log10(std))))
    form = f'.{digits}f'
  return '±'.join(f'{x:{form}}' for x in (mean, std) if x is not None)


def text(cell: Cell, complete: int) -> str:
  """Write a cell: `mean±std`, what it lacks of `complete`; `-` if empty."""
  moments = summary(cell.values)
  parts = ['-']
  if moments:
    parts = [number(moments.mean, moments.std)]
    if moments.n != complete:
      parts.append(f'n={moments.n}')
  if cell.failed:
    parts.append(f'{cell.failed} failed')
  return ' '.join(parts)


def headline(table: Table) -> str:
  """Write what stands above a table."""
  printed = any(cell.paper for cell in table.cells.values())
  brackets = '; in brackets the paper\'s numbers' if printed else ''
  return f'{table.title}: {table.note}{brackets}'


def comparisons(table: Table) -> list[tuple[str, ...]]:
  """Write the comparisons, a line for each, under a line of titles."""
  lines: list[tuple[str, ...]] = [
      ('', 'difference', 'better in', 'sign p', 'Wilcoxon p')
  ]
  for first, second, found in table.compared:
    side = 1 if first[0] == second[0] else 0
    lines.append((
        f'{first[1 - side]}: {first[side]} - {second[side]}',
        number(found.mean, found.std),
        f'{found.better} of {found.n}',
        *('-' if p is None else f'{p:.2g}' for p in found[-2:]),
    ))
  return lines


def markdown(table: Table) -> str:
  """Write a table as GitHub shows it."""
  lines = [('', *table.columns)]
  for row in table.rows:
    cells = []
    for column in table.columns:
      cell = table.cells[row, column]
      ours = text(cell, table.n)
      ours = f'**{ours}**' if cell.bold else ours
      cells.append(f'{ours} ({cell.paper})' if cell.paper else ours)
    lines.append((row, *cells))
  parts = [_escape(headline(table)), _grid(lines)]
  if table.compared:
    parts.append(_grid(comparisons(table)))
  return '\n\n'.join(parts) + '\n'


def _grid(lines: Sequence[Sequence[str]]) -> str:
  title, *rest = [f'| {" | ".join(map(_escape, cells))} |' for cells in lines]
  return '\n'.join([title, '| --- ' * len(lines[0]) + '|', *rest])


def _escape(words: str) -> str:
  return words.replace('|', '\\|')


def drawn(table: Table) -> list[rich.table.Table]:
  """Return a table, and its comparisons if any, for a terminal."""
  shown = _frame(['', *table.columns])
  for row in table.rows:
    cells = [rich.text.Text(row)]
    for column in table.columns:
      cell = table.cells[row, column]
      # A narrow terminal breaks a line at the space.
      value = text(cell, table.n).replace('±', ' ±')
      words = rich.text.Text(value, 'bold' if cell.bold else '')
      if cell.paper:
        words.append(f'\n({cell.paper})', 'dim not bold')
      cells.append(words)
    shown.add_row(*cells)
  if not table.compared:
    return [shown]
  titles, *lines = comparisons(table)
  pairs = _frame(titles)
  for line in lines:
    pairs.add_row(*map(rich.text.Text, line))
  return [shown, pairs]


def _frame(titles: Sequence[str]) -> rich.table.Table:
  frame = rich.table.Table(box=rich.box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
  for place, words in enumerate(titles):
    side: Any = 'right' if place else 'left'
    # No number is cut, however narrow the terminal is.
    frame.add_column(rich.text.Text(words), justify=side, overflow='fold')
  return frame


def contents(table: Table) -> dict[str, Any]:
  """Return a table as tables.json holds it."""
  rows: dict[str, dict[str, Any]] = {row: {} for row in table.rows}
  for (row, column), cell in table.cells.items():
    mean, std, n = summary(cell.values) or (None, None, 0)
    rows[row][column] = {
        'mean': mean, 'std': std, 'n': n, 'failed': cell.failed,
        'paper': cell.paper,
        'runs': [{**dict(o), 'value': v} for o, v in cell.values.items()],
    }
  compared = [
      {'first': first, 'second': second, **found._asdict()}
      for first, second, found in table.compared
  ]
  return {
      'title': table.title, 'note': table.note, 'rows': rows,
      'compare': compared,
  }


class Board:
  """Tell which runs start, end and fail: lines, and a bar on a terminal."""

  def __init__(self, total: int, jobs: int, console: rich.console.Console):
    self._total, self._jobs, self._console = total, jobs, console
    self._seconds: list[float] = []
    self._failed = 0
    self._bar = rich.progress.Progress(
        rich.progress.TextColumn('runs'),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TextColumn('{task.fields[status]}', markup=False),
        console=console,
        disable=not console.is_terminal or not total,
    )
    self._task = self._bar.add_task('', total=total, status='')

  def __enter__(self) -> 'Board':
    self._bar.start()
    return self

  def __exit__(self, *unused: object) -> None:
    self._bar.stop()

  def done(self, run: Run, seconds: float) -> None:
    """Tell that a run ended well."""
    self._seconds.append(seconds)
    self.note(f'{run.name}: done in {clock(seconds)}')
    self._bar.advance(self._task)

  def failed(self, run: Run, failure: Failure) -> None:
    """Tell that a run failed."""
    self._failed += 1
    self.note(f'{run.name}: failed with status {failure.status}')
    self._bar.advance(self._task)

  def tick(self, running: Sequence[float]) -> None:
    """Show the number of runs and the time left.

    Args:
      running: seconds since each of the running ones started.
    """
    self._bar.update(self._task, status=self.status(running))

  def status(self, running: Sequence[float]) -> str:
    """Return what `tick` shows; the mean of finished runs gives the time."""
    parts = [f'{len(running)} running']
    if self._failed:
      parts.append(f'{self._failed} failed')
    if self._seconds:
      mean = float(np.mean(self._seconds))
      runs = self._total - self._failed - len(self._seconds)
      left = mean * runs - sum(min(mean, past) for past in running)
      parts.append(f'about {clock(left / self._jobs)} left')
    return ', '.join(parts)

  def note(self, line: str) -> None:
    """Print a line; the bar stays below it."""
    self._console.print(line, highlight=False, markup=False, soft_wrap=True)


def clock(seconds: float) -> str:
  """Write a time in its two largest units."""
  minutes, rest = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  if hours:
    return f'{hours} h {minutes} min'
  return f'{minutes} min {rest} s' if minutes else f'{rest} s'


class _Child(NamedTuple):
  run: Run
  process: subprocess.Popen[bytes]
  cores: set[int]
  started: float


class _Pool:
  """Processes on their shares of the cores, and the runs that wait for one."""

  def __init__(
      self,
      runs: Mapping[Run, Config],
      jobs: int,
      workdir: pathlib.Path,
      command: Sequence[str],
      board: Board,
  ):
    self.failures: dict[Run, Failure] = {}
    self._runs = runs
    needed = {(row, run.over) for run in runs for _, row in run.reuse}
    # Those that others need come first, or a core waits for the last of them.
    self._waiting = sorted(
        runs, key=lambda run: (run.row, run.over) not in needed
    )
    self._command, self._board = command, board
    self._environment = environment(workdir, jobs)
    self._free = shares(jobs)
    self._workdir = workdir
    self._children: list[_Child] = []
    self._told = False

  def busy(self) -> bool:
    """Return whether a run waits or runs."""
    return bool(self._waiting or self._children)

  def fill(self) -> None:
    """Start runs while there are cores, and stages for them."""
    while self._free and (run := self._next()):
      self._waiting.remove(run)
      if words := self._lacks(run) or _take(run, self._workdir):
        self._fail(run, Failure(2, f'  {words}'))
        continue
      process = _start(run, self._command, self._environment, self._free[0])
      if process is None:
        self._fail(run, Failure(2, '  another process runs it'))
        continue
      child = _Child(run, process, self._free.pop(0), time.monotonic())
      self._children.append(child)
      self._board.note(f'{run.name}: runs, see {run.folder / LOG}')

  def _next(self) -> Run | None:
    """Return the first run that needs none that waits or runs."""
    running = [child.run for child in self._children]
    busy = {(run.row, run.over) for run in (*self._waiting, *running)}
    for run in self._waiting:
      if not any((row, run.over) in busy for _, row in run.reuse):
        return run
    return None

  def _lacks(self, run: Run) -> str | None:
    """Return which run failed that this one needs."""
    failed = {(other.row, other.over): other for other in self.failures}
    for stage, row in run.reuse:
      if other := failed.get((row, run.over)):
        return f'needs the stage {stage!r} of {other.name}, which failed'
    return None

  def reap(self) -> bool:
    """Note which runs ended; return whether one was stopped by a signal."""
    stopped = False
    for child in list(self._children):
      status = child.process.poll()
      if status is None:
        continue
      self._children.remove(child)
      self._free.append(child.cores)
      if status in _STOPPED:
        stopped = True
      else:
        self._note(child, status)
    self._board.tick([time.monotonic() - c.started for c in self._children])
    return stopped

  def _note(self, child: _Child, status: int) -> None:
    run = child.run
    seconds = round(time.monotonic() - child.started, 1)
    if not status and not (run.folder / METRICS).is_file():
      status = 1
    record = {
        'status': status, 'seconds': seconds, 'config': self._runs[run],
    }
    _write(run.folder / RECORD, json.dumps(record, indent=2) + '\n')
    if status:
      self._fail(run, Failure(status, _tail(run)))
    else:
      self._board.done(run, seconds)

  def _fail(self, run: Run, failure: Failure) -> None:
    self.failures[run] = failure
    self._board.failed(run, failure)

  def stop(self) -> None:
    """Start no more, and tell those that run once to save and leave."""
    self._waiting.clear()
    for child in () if self._told else self._children:
      child.process.send_signal(signal.SIGTERM)
    self._told = True

  def kill(self) -> None:
    """End what runs at once."""
    for child in self._children:
      child.process.kill()

  def wait(self) -> None:
    """Wait until nothing runs."""
    for child in self._children:
      child.process.wait()


def shares(jobs: int) -> list[set[int]]:
  """Divide the cores that this process may use among `jobs`; empty: no limit.

  XLA and BLAS size their thread pools by the cores that a process may use;
  neither XLA_FLAGS nor OMP_NUM_THREADS bounds XLA's on a CPU.
  """
  if jobs == 1 or not hasattr(os, 'sched_getaffinity'):
    return [set() for _ in range(jobs)]
  cores = sorted(os.sched_getaffinity(0))
  return [set(cores[i::jobs]) or {cores[i % len(cores)]} for i in range(jobs)]


def environment(workdir: pathlib.Path, jobs: int) -> dict[str, str]:
  """Return the variables of a run; those that are set already are kept."""
  wanted = {
      'JAX_COMPILATION_CACHE_DIR': str(workdir.absolute() / '.cache'),
      'PYTHONUNBUFFERED': '1',
  }
  if jobs > 1:
    # By default the first process takes three quarters of a GPU's memory.
    wanted['XLA_PYTHON_CLIENT_MEM_FRACTION'] = f'{0.9 / jobs:.2f}'
  return {**wanted, **os.environ}


def _take(run: Run, workdir: pathlib.Path) -> str | None:
  """Copy the stages that a run reuses and lacks; return what is wrong."""
  for stage, row in run.reuse:
    source = _folder(workdir, row, run.over) / stage
    if (run.folder / stage).is_dir():
      continue
    if not source.is_dir():
      return f'expected the trained stage {source}; run the row {row!r} first'
    part = run.folder / f'{stage}.part'
    try:
      shutil.rmtree(part, ignore_errors=True)
      shutil.copytree(source, part)
      part.rename(run.folder / stage)
    except OSError as error:
      raise UserError(f'{part}: cannot copy {source}: {error}') from error
  return None


def _start(
    run: Run, command: Sequence[str], variables: Mapping[str, str],
    cores: set[int]
) -> subprocess.Popen[bytes] | None:
  """Start a run that adds to its log; None if another process runs it."""
  argv = [*command, *run.flags, f'--workdir={run.folder}']
  try:
    run.folder.mkdir(parents=True, exist_ok=True)
    with (run.folder / LOG).open('ab') as log:
      # The process inherits the lock with the file, and keeps it if this one
      # dies.
      fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
      (run.folder / RECORD).unlink(missing_ok=True)
      log.write(f'$ {shlex.join(argv)}\n'.encode())
      log.flush()
      # In a session of its own, a Ctrl-C reaches it through this process.
      process = subprocess.Popen(
          argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
          env=variables, start_new_session=True,
      )
  except BlockingIOError:
    return None
  except OSError as error:
    raise UserError(f'{run.folder}: cannot start: {error}') from error
  if cores:
    with contextlib.suppress(ProcessLookupError):
      os.sched_setaffinity(process.pid, cores)
  return process


def _write(path: pathlib.Path, content: str) -> None:
  """Write a file that is whole or as it was."""
  part = path.with_name(f'{path.name}.part')
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    part.write_text(content)
    os.replace(part, path)
  except OSError as error:
    raise UserError(f'{path}: cannot write: {error}') from error


@contextlib.contextmanager
def _signals() -> Iterator[threading.Event]:
  """Turn SIGTERM and SIGINT into an event; a second Ctrl-C interrupts."""
  event = threading.Event()

  def note(given: int, frame: object) -> None:
    del frame
    event.set()
    if given == signal.SIGINT:
      signal.signal(signal.SIGINT, signal.default_int_handler)

  wanted = signal.SIGTERM, signal.SIGINT
  old = {each: signal.signal(each, note) for each in wanted}
  try:
    yield event
  finally:
    for each, handler in old.items():
      signal.signal(each, handler)


def execute(
    runs: Mapping[Run, Config],
    *,
    jobs: int,
    workdir: pathlib.Path,
    command: Sequence[str] = COMMAND,
) -> tuple[dict[Run, Failure], bool]:
  """Run runs, `jobs` at once, and record how they end.

  Args:
    runs: their configs, in the order to start them.
    jobs: processes at once.
    workdir: of the study.
    command: to which the flags of a run are appended.

  Returns:
    The runs that failed, and whether this process or a run was asked to stop;
    in that case the others were told, and have left.

  Raises:
    UserError: if a folder cannot be written.
  """
  board = Board(len(runs), jobs, rich.console.Console())
  pool = _Pool(runs, jobs, workdir, command, board)
  with _signals() as stop, board:
    try:
      while pool.busy():
        if stop.is_set():
          pool.stop()
        else:
          pool.fill()
        if pool.reap():
          stop.set()
        time.sleep(_POLL)
    except KeyboardInterrupt:
      board.note('a second Ctrl-C: what came after a checkpoint is lost')
      pool.kill()
    finally:
      # After a fault here, too, runs leave with everything saved.
      pool.stop()
      pool.wait()
    return pool.failures, stop.is_set()


def conduct(
    study: Config,
    workdir: pathlib.Path,
    *,
    jobs: int = 1,
    only: Sequence[str] | None = None,
    again: bool = False,
    dry: bool = False,
    command: Sequence[str] = COMMAND,
) -> int:
  """Run what is not finished, print the tables and what went wrong.

  Args:
    study: plain values.
    workdir: of the study; tables.json and tables.md are written there.
    jobs: runs at once.
    only: names or patterns of rows to run.
    again: run what is finished, too.
    dry: run nothing.
    command: to which the flags of a run are appended.

  Returns:
    The exit status.

  Raises:
    UserError: if something in the study is wrong, before anything runs.
  """
  runs = expand(study, workdir)
  chosen = select(runs, only)
  for table in study.get('tables', ()):
    places(table, [row['name'] for row in study['runs']])
  configs = {run: resolve(run) for run in runs}
  due = {
      run: configs[run] for run in chosen
      if again or outcome(run, configs[run]).metrics is None
  }
  failures, stopped = execute(
      {} if dry else due, jobs=jobs, workdir=workdir, command=command
  )
  outcomes = {run: outcome(run, configs[run]) for run in runs}
  tables = [
      tabulate(table, study, outcomes) for table in study.get('tables', ())
  ]
  _show(tables, workdir)
  for config, table in zip(study.get('tables', ()), tables):
    if 'figure' in config:
      _plot(config, table, workdir)
  return _close(outcomes, tables, failures, stopped)


def _show(tables: Sequence[Table], workdir: pathlib.Path) -> None:
  """Print tables, and write tables.json and tables.md."""
  width = max(rich.console.Console().width, _TABLE_WIDTH)
  console = rich.console.Console(width=width)
  for table in tables:
    title = rich.text.Text(headline(table), 'bold')
    console.print(title, *drawn(table), sep='\n')
  content = json.dumps([contents(table) for table in tables], indent=2)
  _write(workdir / 'tables.json', content + '\n')
  _write(workdir / 'tables.md', '\n'.join(map(markdown, tables)))


def _plot(config: Config, table: Table, workdir: pathlib.Path) -> None:
  """Draw the figure of a table as far as there are runs."""
  quantities = {
      column: _lines(config, table, column) for column in table.columns
  }
  if not any(quantities.values()) or not pose.installed('matplotlib'):
    return
  path = workdir / config['figure']['file']
  title = f'{table.title}: {table.note}'
  curves.panels(path, quantities, config['figure']['xlabel'], title)
  print(f'figure: {path}')


def _lines(
    config: Config, table: Table, column: str
) -> dict[str, curves.Line]:
  """Return the lines of a column, of rows that have runs, by rising x."""
  found: dict[str, list[tuple[float, float, float]]] = {}
  for row in config['rows']:
    moments = summary(table.cells[row['title'], column].values)
    if moments:
      point = (row['x'], moments.mean, moments.std or 0.0)
      found.setdefault(row['line'], []).append(point)
  return {
      name: curves.Line(*zip(*sorted(points)))
      for name, points in found.items()
  }


def _close(
    outcomes: Mapping[Run, Outcome], tables: Sequence[Table],
    failures: Mapping[Run, Failure], stopped: bool
) -> int:
  """Print what is missing or wrong, and return the exit status."""
  for run, (status, words) in failures.items():
    print(f'{run.name}: failed with status {status}\n{words}\n')
  problems = [problem for table in tables for problem in table.problems]
  for problem in dict.fromkeys(problems):
    print(f'error: {problem}', file=sys.stderr)
  done = sum(found.metrics is not None for found in outcomes.values())
  print(f'{done} of {len(outcomes)} runs are finished')
  if stopped:
    print('stopped; the same command again goes on')
    return loop.STOPPED
  if any(failure.status != 2 for failure in failures.values()):
    return 1
  return 2 if failures or problems else 0


def _tail(run: Run) -> str:
  """Return the end of the log of a run's last start."""
  lines = (run.folder / LOG).read_text(errors='replace').splitlines()
  first = max(i for i, line in enumerate(lines) if line.startswith('$ '))
  return '\n'.join(f'  {line}' for line in lines[first + 1:][-_TAIL:])


def _workdir() -> pathlib.Path:
  if flags.FLAGS.workdir:
    return pathlib.Path(flags.FLAGS.workdir)
  path, _, variant = config_flags.get_config_filename(
      flags.FLAGS['config']
  ).partition(':')
  names = [pathlib.Path(path).stem, *filter(None, variant.split(','))]
  return pathlib.Path('runs') / '-'.join(names)


def main(argv: list[str]) -> None:
  """Run, and print a user's mistake as one line instead of a traceback."""
  try:
    if len(argv) > 1:
      raise UserError(f'expected flags only, found {argv[1:]}.')
    if flags.FLAGS.config is None:
      raise UserError('--config is needed, e.g. experiments/lambda_tables.py.')
    for name in ('mode', 'input', 'start', 'joint_map', 'asf'):
      if flags.FLAGS[name].present:
        raise UserError(f'--{name}: is a flag of diffax.main alone.')
    status = conduct(
        flags.FLAGS.config.to_dict(),
        _workdir(),
        jobs=_JOBS.value,
        only=_ONLY.value,
        again=_AGAIN.value,
        dry=_PRINT.value,
    )
  except UserError as error:
    print(f'error: {error}', file=sys.stderr)
    status = 2
  sys.exit(status)


if __name__ == '__main__':
  app.run(main, flags_parser=single.parse)
