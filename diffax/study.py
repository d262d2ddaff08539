"""Run many runs of `diffax.main`, and reduce their metrics to tables.

  python -m diffax.study --config=experiments/lambda_tables.py:table2 --jobs=2

  --config=F    a study file `F[:variant,...]`; its values can be overridden,
                e.g. --config.over.seed="(0,)"
  --workdir=D   folder of the study; default runs/NAME[-variant]
  --jobs=N      runs at once, each on its share of the processor's cores
  --only=A,B*   run these rows alone
  --print       run nothing, print what there is
  --again       also run what is finished; only its evaluation is repeated

The same command again resumes. A study is a config of plain values:

  runs      ({'name': row, 'config': 'experiments/F.py:variant',
              'set': {'data': {'split': 'random'}}}, ...)
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
              'compare': pairs of titles}, ...)

A cell belongs to the run `run` and the place `path` in its metrics.json, where
the braces are filled from the table, its row and its column, the later first.
A place holds a number, or `{"mean": number}`.

A run lives in workdir/ROW/KEY=VALUE,.../ with its log.txt. It counts as
finished when study.json there, written when it ends well, holds the config
that it would have now. After a change it runs again: `diffax.main` then repeats
the evaluation alone, goes on with the training, or refuses with the name of the
setting and status 2, so a table never mixes settings and no weights are lost.

Over n runs with values v, and d = v - v' for pairs of equal fold, seed, ...:

    mean(v),  std(v) = sqrt(sum (v - mean)^2 / (n - 1))                   (1)
    p of mean(d) = 0: exact sign test, Wilcoxon signed rank, from n = 5   (2)

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

# Importing `main` defines --config and --workdir.
_JOBS = flags.DEFINE_integer('jobs', 1, 'Runs at once.', lower_bound=1)
_ONLY = flags.DEFINE_list('only', None, 'Names or patterns of rows to run.')
_PRINT = flags.DEFINE_bool('print', False, 'Print the tables, run nothing.')
_AGAIN = flags.DEFINE_bool('again', False, 'Run finished runs, too.')

COMMAND = (sys.executable, '-m', 'diffax.main')
RECORD = 'study.json'
LOG = 'log.txt'
# A test on fewer pairs cannot reach any usual level.
_LEAST_PAIRS = 5
_STOPPED = (loop.STOPPED, -signal.SIGTERM, -signal.SIGINT)
_TAIL = 8
_POLL = 0.1
_TABLE_WIDTH = 120

Over = tuple[tuple[str, Any], ...]
Values = dict[Over, float]


class Run(NamedTuple):
  """One call of `diffax.main`.

  Attributes:
    row: name in the study.
    over: the varied settings with this run's values.
    folder: its --workdir.
    flags: the others of its flags.
  """

  row: str
  over: Over
  folder: pathlib.Path
  flags: tuple[str, ...]

  @property
  def name(self) -> str:
    """Row and values, for messages."""
    return ' '.join([self.row, *(f'{k}={v}' for k, v in self.over)])


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
    sign: p-value of the exact sign test; None for few pairs.
    wilcoxon: p-value of the signed-rank test, exact up to n = 50 without ties.
  """

  mean: float
  std: float | None
  n: int
  better: int
  sign: float | None
  wilcoxon: float | None


class Failure(NamedTuple):
  """A run that did not end well: its status and the end of its log."""

  status: int
  tail: str


def flatten(tree: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
  """Return the leaves of nested dicts by dotted name."""
  flat = {}
  for key, value in tree.items():
    if isinstance(value, Mapping):
      flat.update(flatten(value, f'{prefix}{key}.'))
    else:
      flat[f'{prefix}{key}'] = value
  return flat


def expand(study: Mapping[str, Any], workdir: pathlib.Path) -> list[Run]:
  """List the runs of a study, the rows in order within each combination.

  Args:
    study: plain values, see above.
    workdir: of the study.

  Returns:
    The runs; complete sets of rows come first, so that tables fill evenly.

  Raises:
    UserError: if there is none, or a name or value is wrong.
  """
  over = flatten(study.get('over', {}))
  for key, values in over.items():
    if not isinstance(values, (tuple, list)) or not values:
      raise UserError(
          f'study.over.{key}: expected a tuple of values, found {values!r}.'
      )
  rows = study.get('runs', ())
  names = [row['name'] for row in rows]
  for name in names:
    if not re.fullmatch(r'[\w+.=-]+', name) or names.count(name) > 1:
      raise UserError(
          f'study.runs: expected names of folders, each once, found {name!r}.'
      )
  if not rows:
    raise UserError('study.runs: expected at least one run, found none.')
  combinations = itertools.product(*over.values())
  return [
      _run(row, tuple(zip(over, values)), workdir)
      for values in combinations for row in rows
  ]


def _run(row: Mapping[str, Any], over: Over, workdir: pathlib.Path) -> Run:
  fixed = flatten(row.get('set', {}))
  for key, _ in over:
    if key in fixed:
      raise UserError(
          f'study.runs {row["name"]!r}: sets {key}, which study.over varies.'
      )
  settings = [f'{key}={value}' for key, value in [*fixed.items(), *over]]
  part = ','.join(f'{key}={value}' for key, value in over)
  return Run(
      row['name'],
      over,
      workdir / row['name'] / re.sub(r'[^\w.,=+-]', '_', part),
      (f'--config={row["config"]}', *(f'--config.{s}' for s in settings)),
  )


def select(runs: Sequence[Run], patterns: Sequence[str] | None) -> list[Run]:
  """Return the runs whose row is named or matched; all if none is given.

  Raises:
    UserError: if a pattern matches no row.
  """
  if not patterns:
    return list(runs)
  names = list(dict.fromkeys(run.row for run in runs))
  for pattern in patterns:
    if not fnmatch.filter(names, pattern):
      raise UserError(f'--only: expected some of {names}, found {pattern!r}.')
  return [
      run for run in runs
      if any(fnmatch.fnmatch(run.row, pattern) for pattern in patterns)
  ]


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
    config_flags.DEFINE_config_file(
        'config', flag_values=values, sys_argv=argv
    )
    values(argv)
  except (UserError, flags.Error) as error:
    raise UserError(f'study.runs {run.name!r}: {error}') from error
  return json.loads(json.dumps(values.config.to_dict(), default=str))


def finished(run: Run, config: Mapping[str, Any]) -> bool:
  """Return whether a run has ended well with this config."""
  record = run.folder / RECORD
  if not record.is_file() or not (run.folder / 'metrics.json').is_file():
    return False
  return read(record).get('config') == config


def read(path: pathlib.Path) -> dict[str, Any]:
  """Read a JSON file.

  Raises:
    UserError: with its name, if it cannot be read.
  """
  try:
    return json.loads(path.read_text())
  except (OSError, ValueError) as error:
    raise DataError(
        path, 'content', 'JSON', f'{error}', 'Delete it to run that run again.'
    ) from error


def places(
    table: Mapping[str, Any], rows: Sequence[str]
) -> dict[tuple[str, str], Place]:
  """Find where the values of each cell lie.

  Args:
    table: of a study.
    rows: names of the study's rows.

  Returns:
    A place for every pair of titles (row, column).

  Raises:
    UserError: if a brace has no value, or a title or run does not exist.
  """
  where = f'study.tables {table["title"]!r}'
  found = {}
  for row, column in itertools.product(table['rows'], table['columns']):
    cell = row['title'], column['title']
    fields = {**table, **row, **column}
    try:
      name = fields['run'].format(**fields)
      path = tuple(key.format(**fields) for key in fields['path'])
    except KeyError as error:
      raise UserError(f'{where}: cell {cell} needs {error}.') from error
    if name not in rows:
      raise UserError(
          f'{where}: cell {cell} is of the run {name!r}, expected one of '
          f'{list(rows)}.'
      )
    if cell in found:
      raise UserError(f'{where}: there are two cells {cell}.')
    found[cell] = Place(name, path)
  _check_titles(table, where)
  return found


def _check_titles(table: Mapping[str, Any], where: str) -> None:
  rows = [row['title'] for row in table['rows']]
  columns = [column['title'] for column in table['columns']]
  for key in ('best', 'compare'):
    for group in table.get(key, ()):
      if not (set(group) <= set(rows) or set(group) <= set(columns)):
        raise UserError(
            f'{where}: {key}: expected titles of {rows} or of {columns}, '
            f'found {tuple(group)}.'
        )
  for row in table['rows']:
    strange = set(row.get('paper', {})) - set(columns)
    if strange:
      raise UserError(
          f'{where}: paper of {row["title"]!r}: expected columns of {columns}, '
          f'found {sorted(strange)}.'
      )


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
      raise DataError(
          file, '/'.join(path), f'the key {key!r}',
          f'{there} in {"/".join(path[:depth]) or "the file"}',
      )
    inner = inner[key]
  if isinstance(inner, Mapping) and 'mean' in inner:
    inner = inner['mean']
  if inner is not None and not isinstance(inner, (int, float)):
    raise DataError(file, '/'.join(path), 'a number', f'{inner!r}')
  return inner


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
  array = np.array(list(values.values()), float)
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
  sign = wilcoxon = None
  unequal = int((change != 0).sum())
  if len(change) >= _LEAST_PAIRS and unequal:
    sign = float(stats.binomtest(wins, unequal).pvalue)
    wilcoxon = float(stats.wilcoxon(change).pvalue)
  return Difference(*moments, wins, sign, wilcoxon)


class Table(NamedTuple):
  """A table with its numbers.

  Attributes:
    title: of the table.
    rows: titles.
    columns: titles.
    values: by titles (row, column).
    paper: printed numbers by titles.
    bold: titles of the best cells.
    compared: (cell, cell, comparison).
    note: what deviations and n are over.
    n: values of a complete cell.
  """

  title: str
  rows: list[str]
  columns: list[str]
  values: dict[tuple[str, str], Values]
  paper: dict[tuple[str, str], str]
  bold: set[tuple[str, str]]
  compared: list[tuple[tuple[str, str], tuple[str, str], Difference]]
  note: str
  n: int


def tabulate(
    table: Mapping[str, Any],
    study: Mapping[str, Any],
    metrics: Mapping[Run, Mapping[str, Any]],
    problems: list[str],
) -> Table:
  """Fill a table from the metrics of the runs that there are.

  Args:
    table: of the study.
    study: plain values.
    metrics: contents of metrics.json by finished run.
    problems: gets a line for every cell without the place it names.

  Returns:
    The table.
  """
  names = [row['name'] for row in study['runs']]
  averaged = study.get('average', ())
  values = {}
  for cell, place in places(table, names).items():
    found: Values = {}
    for run, content in metrics.items():
      if run.row == place.row:
        try:
          value = pick(content, place.path, run.folder / 'metrics.json')
        except UserError as error:
          problems.append(f'{table["title"]}: {error}')
          continue
        if value is not None:
          found[run.over] = value
    values[cell] = average(found, averaged)
  over = flatten(study.get('over', {}))
  kept = {key: vals for key, vals in over.items() if key not in averaged}
  rows = [row['title'] for row in table['rows']]
  columns = [column['title'] for column in table['columns']]
  return Table(
      table['title'], rows, columns, values, _printed(table),
      _bold(table, rows, columns, values),
      _compared(table, rows, columns, values),
      _note(kept, averaged, over),
      math.prod(len(vals) for vals in kept.values()),
  )


def _printed(table: Mapping[str, Any]) -> dict[tuple[str, str], str]:
  return {
      (row['title'], column): printed
      for row in table['rows']
      for column, printed in row.get('paper', {}).items()
  }


def _better(table: Mapping[str, Any], row: str, column: str) -> str:
  parts = [r for r in table['rows'] if r['title'] == row]
  parts += [c for c in table['columns'] if c['title'] == column]
  found = 'lower'
  for part in (table, *parts):
    found = part.get('better', found)
  return found


def _cells(
    group: Sequence[str], rows: Sequence[str], columns: Sequence[str]
) -> list[list[tuple[str, str]]]:
  """Return the cells to compare: of some columns by row, or the reverse."""
  if set(group) <= set(columns):
    return [[(row, title) for title in group] for row in rows]
  return [[(title, column) for title in group] for column in columns]


def _bold(
    table: Mapping[str, Any], rows: Sequence[str], columns: Sequence[str],
    values: Mapping[tuple[str, str], Values],
) -> set[tuple[str, str]]:
  bold = set()
  for group in table.get('best', ()):
    for cells in _cells(group, rows, columns):
      means = {
          cell: float(np.mean(list(values[cell].values())))
          for cell in cells if values[cell]
      }
      if len(means) > 1:
        choose = min if _better(table, *cells[0]) == 'lower' else max
        bold.add(choose(means, key=lambda cell: means[cell]))
  return bold


def _compared(
    table: Mapping[str, Any], rows: Sequence[str], columns: Sequence[str],
    values: Mapping[tuple[str, str], Values],
) -> list[tuple[tuple[str, str], tuple[str, str], Difference]]:
  found = []
  for pair in table.get('compare', ()):
    for first, second in _cells(pair, rows, columns):
      result = difference(
          values[first], values[second], _better(table, *first)
      )
      if result:
        found.append((first, second, result))
  return found


def _note(
    kept: Mapping[str, Any], averaged: Sequence[str], over: Mapping[str, Any]
) -> str:
  parts = [f'{len(values)} {key}' for key, values in kept.items()]
  text = f'mean±std (sample) over {" x ".join(parts)}' if parts else 'one run'
  first = [f'{len(over[key])} {key}' for key in averaged if key in over]
  return f'{text}, each averaged over {" x ".join(first)}' if first else text


def number(mean: float, std: float | None = None) -> str:
  """Write three significant digits, the deviation to the same place."""
  if not math.isfinite(mean):
    return str(mean)
  scale = max(abs(mean), std or 0)
  if scale and not 1e-3 <= scale < 1e5:
    texts = [f'{value:.2e}' for value in (mean, std) if value is not None]
  else:
    digits = max(0, 2 - math.floor(math.log10(scale))) if scale else 0
    texts = [
        f'{value:.{digits}f}' for value in (mean, std) if value is not None
    ]
  return '±'.join(texts)


def ours(table: Table, cell: tuple[str, str]) -> str:
  """Write a cell: `mean±std`, and n if it is not complete; `-` if empty."""
  moments = summary(table.values[cell])
  if moments is None:
    return '-'
  text = number(moments.mean, moments.std)
  return text if moments.n == table.n else f'{text} n={moments.n}'


def _headline(table: Table) -> str:
  paper = '; in brackets the paper\'s numbers' if table.paper else ''
  return f'{table.title}: {table.note}{paper}'


_COMPARISON = ('', 'difference', 'better in', 'sign p', 'Wilcoxon p')


def _comparison(table: Table) -> list[tuple[str, ...]]:
  lines = []
  for first, second, found in table.compared:
    same = first[0] == second[0]
    common, names = (
        (first[0], (first[1], second[1])) if same
        else (first[1], (first[0], second[0]))
    )
    values = [
        '-' if p is None else f'{p:.2g}' for p in (found.sign, found.wilcoxon)
    ]
    lines.append((
        f'{common}: {names[0]} - {names[1]}',
        number(found.mean, found.std),
        f'{found.better} of {found.n}',
        *values,
    ))
  return lines


def markdown(table: Table) -> str:
  """Write a table as GitHub shows it."""
  lines = [f'{_escape(_headline(table))}', '']
  lines += _markdown_lines(['', *table.columns])
  for row in table.rows:
    cells = [row]
    for column in table.columns:
      text = ours(table, (row, column))
      if (row, column) in table.bold:
        text = f'**{text}**'
      printed = table.paper.get((row, column))
      cells.append(f'{text} ({printed})' if printed else text)
    lines.append(_markdown_line(cells))
  if table.compared:
    lines += ['', *_markdown_lines(_COMPARISON)]
    lines += [_markdown_line(cells) for cells in _comparison(table)]
  return '\n'.join(lines) + '\n'


def _markdown_lines(titles: Sequence[str]) -> list[str]:
  return [_markdown_line(titles), _markdown_line(['---'] * len(titles))]


def _markdown_line(cells: Sequence[str]) -> str:
  return f'| {" | ".join(_escape(cell) for cell in cells)} |'


def _escape(text: str) -> str:
  return text.replace('|', '\\|')


def pictures(table: Table) -> list[rich.table.Table]:
  """Return a table, and its comparisons if there are any, for a terminal."""
  shown = rich.table.Table(
      title=_headline(table), box=rich.box.SIMPLE_HEAD, title_justify='left',
      padding=(0, 1, 0, 0),
  )
  shown.add_column('')
  for column in table.columns:
    shown.add_column(rich.text.Text(column), justify='right')
  for row in table.rows:
    cells = [rich.text.Text(row)]
    for column in table.columns:
      style = 'bold' if (row, column) in table.bold else ''
      cell = rich.text.Text(ours(table, (row, column)), style)
      printed = table.paper.get((row, column))
      if printed:
        cell.append(f'\n({printed})', 'dim not bold')
      cells.append(cell)
    shown.add_row(*cells)
  if not table.compared:
    return [shown]
  pairs = rich.table.Table(box=rich.box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
  for title in _COMPARISON:
    pairs.add_column(title, justify='right' if title else 'left')
  for line in _comparison(table):
    pairs.add_row(*map(rich.text.Text, line))
  return [shown, pairs]


def contents(table: Table) -> dict[str, Any]:
  """Return a table as tables.json holds it."""
  def cell(place: tuple[str, str]) -> dict[str, Any]:
    moments = summary(table.values[place])
    found = {'mean': None, 'std': None, 'n': 0}
    return {
        **(moments._asdict() if moments else found),
        'paper': table.paper.get(place),
        'runs': [
            {**dict(over), 'value': value}
            for over, value in table.values[place].items()
        ],
    }

  return {
      'title': table.title,
      'over': table.note,
      'rows': {
          row: {column: cell((row, column)) for column in table.columns}
          for row in table.rows
      },
      'compare': [
          {'first': first, 'second': second, **found._asdict()}
          for first, second, found in table.compared
      ],
  }


class Board:
  """Tell which runs start, end and fail: a bar on a terminal, lines always."""

  def __init__(self, total: int, jobs: int, console: rich.console.Console):
    self._total, self._jobs, self._console = total, jobs, console
    self._seconds: list[float] = []
    self._failed = 0
    self._bar: rich.progress.Progress | None = None
    if console.is_terminal:
      self._bar = rich.progress.Progress(
          rich.progress.TextColumn('runs'),
          rich.progress.BarColumn(),
          rich.progress.MofNCompleteColumn(),
          rich.progress.TextColumn('{task.fields[status]}', markup=False),
          rich.progress.TimeElapsedColumn(),
          console=console,
      )
      self._task = self._bar.add_task('', total=total, status='')

  def __enter__(self) -> 'Board':
    if self._bar:
      self._bar.start()
    return self

  def __exit__(self, *unused: object) -> None:
    if self._bar:
      self._bar.stop()

  def ended(
      self, run: Run, seconds: float, failure: Failure | None = None
  ) -> None:
    """Tell that a run ended."""
    if failure:
      self._failed += 1
      self.note(f'{run.name}: failed with status {failure.status}')
    else:
      self._seconds.append(seconds)
      self.note(f'{run.name}: done in {_clock(seconds)}')
    if self._bar:
      self._bar.advance(self._task)

  def tick(self, running: Sequence[float]) -> None:
    """Show the number of runs, and the time left.

    Args:
      running: seconds since each of the running ones started.
    """
    if self._bar:
      self._bar.update(self._task, status=self.status(running))

  def status(self, running: Sequence[float]) -> str:
    """Return what `tick` shows."""
    parts = [f'{len(running)} running']
    if self._failed:
      parts.append(f'{self._failed} failed')
    if self._seconds:
      mean = float(np.mean(self._seconds))
      runs = self._total - self._failed - len(self._seconds)
      left = mean * runs - sum(min(mean, past) for past in running)
      parts.append(f'about {_clock(left / self._jobs)} left')
    return ', '.join(parts)

  def note(self, text: str) -> None:
    """Print a line; the bar stays below it."""
    self._console.print(text, highlight=False, markup=False, soft_wrap=True)


def _clock(seconds: float) -> str:
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
  """Children on their shares of the cores, and the runs that wait for one."""

  def __init__(
      self,
      runs: Mapping[Run, Mapping[str, Any]],
      jobs: int,
      workdir: pathlib.Path,
      command: Sequence[str],
      board: Board,
  ):
    self.failures: dict[Run, Failure] = {}
    self._runs, self._waiting = runs, list(runs)
    self._command, self._board = command, board
    self._environment = environment(workdir, jobs)
    self._free, self._children = shares(jobs), list[_Child]()
    self._told = False

  def busy(self) -> bool:
    """Return whether a run waits or runs."""
    return bool(self._waiting or self._children)

  def fill(self) -> None:
    """Start runs while there are cores."""
    while self._waiting and self._free:
      run = self._waiting.pop(0)
      process = _open(run, self._command, self._environment, self._free[0])
      if process is None:
        text = f'{run.folder / LOG}: another process writes it.'
        self._fail(run, 0, Failure(2, text))
        continue
      child = _Child(run, process, self._free.pop(0), time.monotonic())
      self._children.append(child)
      self._board.note(f'{run.name}: runs, see {run.folder / LOG}')

  def reap(self) -> bool:
    """Note which runs ended; return whether one was stopped by a signal."""
    stopped = False
    for child in list(self._children):
      status = child.process.poll()
      if status is None:
        continue
      self._children.remove(child)
      self._free.append(child.cores)
      seconds = time.monotonic() - child.started
      if status in _STOPPED:
        stopped = True
      elif status or not (child.run.folder / 'metrics.json').is_file():
        self._fail(child.run, seconds, Failure(status, _tail(child.run)))
      else:
        _record(child.run, self._runs[child.run], seconds)
        self._board.ended(child.run, seconds)
    self._board.tick([time.monotonic() - c.started for c in self._children])
    return stopped

  def _fail(self, run: Run, seconds: float, failure: Failure) -> None:
    self.failures[run] = failure
    self._board.ended(run, seconds, failure)

  def stop(self) -> None:
    """Start no more, and tell those that run once to save and leave."""
    self._waiting.clear()
    for child in () if self._told else self._children:
      child.process.send_signal(signal.SIGTERM)
    self._told = True

  def kill(self) -> None:
    """End what still runs."""
    for child in self._children:
      child.process.kill()
      child.process.wait()


def shares(jobs: int) -> list[set[int]]:
  """Divide the cores that this process may use among `jobs`; empty: no limit.

  A process sizes its thread pools by the cores it may use. XLA_FLAGS and
  OMP_NUM_THREADS do not bound those of XLA on a CPU.
  """
  if jobs == 1 or not hasattr(os, 'sched_getaffinity'):
    return [set() for _ in range(jobs)]
  cores = sorted(os.sched_getaffinity(0))
  return [
      set(cores[i::jobs]) or {cores[i % len(cores)]} for i in range(jobs)
  ]


def environment(workdir: pathlib.Path, jobs: int) -> dict[str, str]:
  """Return the variables of a run; those that are set already are kept."""
  cache = workdir.absolute() / '.cache'
  wanted = {
      'JAX_COMPILATION_CACHE_DIR': str(cache),
      'PYTHONUNBUFFERED': '1',
  }
  if jobs > 1:
    # By default the first process takes three quarters of a GPU's memory.
    wanted['XLA_PYTHON_CLIENT_MEM_FRACTION'] = f'{0.9 / jobs:.2f}'
  return {**wanted, **os.environ}


def _open(
    run: Run, command: Sequence[str], variables: Mapping[str, str],
    cores: set[int]
) -> subprocess.Popen[bytes] | None:
  """Start a run; None if its log is another's, be it a child left alone."""
  argv = [*command, *run.flags, f'--workdir={run.folder}']
  try:
    run.folder.mkdir(parents=True, exist_ok=True)
    with (run.folder / LOG).open('ab', buffering=0) as log:
      try:
        # The child inherits the lock with the file.
        fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
      except BlockingIOError:
        return None
      log.write(f'$ {shlex.join(argv)}\n'.encode())
      # In a session of its own, a Ctrl-C reaches it through this process.
      child = subprocess.Popen(
          argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
          env=variables, start_new_session=True,
      )
  except OSError as error:
    raise UserError(f'--workdir {run.folder}: {error}') from error
  if cores:
    with contextlib.suppress(ProcessLookupError):
      os.sched_setaffinity(child.pid, cores)
  return child


def _tail(run: Run) -> str:
  lines = (run.folder / LOG).read_text(errors='replace').splitlines()
  return '\n'.join(lines[-_TAIL:])


def _record(run: Run, config: Mapping[str, Any], seconds: float) -> None:
  content = {'config': config, 'seconds': round(seconds, 1)}
  _write(run.folder / RECORD, json.dumps(content, indent=2) + '\n')


def _write(path: pathlib.Path, text: str) -> None:
  """Write a file that is whole or as it was."""
  part = path.with_name(f'{path.name}.part')
  try:
    part.write_text(text)
    os.replace(part, path)
  except OSError as error:
    raise UserError(f'{path}: cannot write: {error}') from error


@contextlib.contextmanager
def _signals() -> Iterator[threading.Event]:
  """Turn SIGTERM and SIGINT into an event; a second Ctrl-C interrupts."""
  event = threading.Event()

  def note(number: int, frame: object) -> None:
    del frame
    event.set()
    if number == signal.SIGINT:
      signal.signal(signal.SIGINT, signal.default_int_handler)

  numbers = signal.SIGTERM, signal.SIGINT
  old = {number: signal.signal(number, note) for number in numbers}
  try:
    yield event
  finally:
    for number, handler in old.items():
      signal.signal(number, handler)


def execute(
    runs: Mapping[Run, Mapping[str, Any]],
    *,
    jobs: int,
    workdir: pathlib.Path,
    console: rich.console.Console,
    command: Sequence[str] = COMMAND,
) -> tuple[dict[Run, Failure], bool]:
  """Run runs, `jobs` at once, and record those that end well.

  Args:
    runs: their configs, in the order to start them.
    jobs: processes at once.
    workdir: of the study.
    console: for progress.
    command: to which the flags of a run are appended.

  Returns:
    The runs that failed, and whether this process or a run was asked to stop;
    in that case the others were told, and have ended.
  """
  with _signals() as stop, Board(len(runs), jobs, console) as board:
    pool = _Pool(runs, jobs, workdir, command, board)
    try:
      while pool.busy():
        if stop.is_set():
          pool.stop()
        else:
          pool.fill()
        if pool.reap():
          stop.set()
        time.sleep(_POLL)
    finally:
      # Some are left after a fault here or a second Ctrl-C alone.
      pool.kill()
    return pool.failures, stop.is_set()


def collect(
    study: Mapping[str, Any], configs: Mapping[Run, Mapping[str, Any]]
) -> tuple[list[Table], list[str]]:
  """Fill the tables from the runs that are finished.

  Args:
    study: plain values.
    configs: of all runs.

  Returns:
    The tables, and what is wrong in the files of the runs.
  """
  problems: list[str] = []
  metrics = {}
  for run, config in configs.items():
    try:
      if finished(run, config):
        metrics[run] = read(run.folder / 'metrics.json')
    except UserError as error:
      problems.append(str(error))
  tables = [
      tabulate(table, study, metrics, problems) for table in study['tables']
  ]
  return tables, list(dict.fromkeys(problems))


def show(
    tables: Sequence[Table], workdir: pathlib.Path,
    console: rich.console.Console
) -> None:
  """Print tables, and write tables.json and tables.md."""
  wide = rich.console.Console(
      file=console.file, width=max(console.width, _TABLE_WIDTH)
  )
  for table in tables:
    wide.print(*pictures(table), sep='\n')
  text = json.dumps([contents(table) for table in tables], indent=2)
  try:
    workdir.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise UserError(f'--workdir {workdir}: cannot write: {error}') from error
  _write(workdir / 'tables.json', text + '\n')
  _write(workdir / 'tables.md', '\n'.join(map(markdown, tables)))


def conduct(
    study: Mapping[str, Any],
    workdir: pathlib.Path,
    *,
    jobs: int = 1,
    only: Sequence[str] | None = None,
    again: bool = False,
    dry: bool = False,
    command: Sequence[str] = COMMAND,
) -> int:
  """Do what the module says.

  Args:
    study: plain values.
    workdir: of the study.
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
  console = rich.console.Console()
  runs = expand(study, workdir)
  chosen = select(runs, only)
  for table in study['tables']:
    places(table, [row['name'] for row in study['runs']])
  configs = {run: resolve(run) for run in runs}
  failures: dict[Run, Failure] = {}
  stopped = False
  if not dry:
    due = {
        run: configs[run] for run in chosen
        if again or not finished(run, configs[run])
    }
    failures, stopped = execute(
        due, jobs=jobs, workdir=workdir, console=console, command=command
    )
  tables, problems = collect(study, configs)
  show(tables, workdir, console)
  return _close(configs, failures, problems, stopped)


def _close(
    configs: Mapping[Run, Mapping[str, Any]], failures: Mapping[Run, Failure],
    problems: Sequence[str], stopped: bool
) -> int:
  """Print what is missing or wrong, and return the exit status."""
  done = sum(finished(run, config) for run, config in configs.items())
  print(f'{done} of {len(configs)} runs are finished')
  for run, failure in failures.items():
    print(f'\n{run.name} failed with status {failure.status}:\n{failure.tail}')
  for problem in problems:
    print(f'error: {problem}', file=sys.stderr)
  if stopped:
    print('stopped; the same command goes on')
    return loop.STOPPED
  if any(failure.status != 2 for failure in failures.values()):
    return 1
  return 2 if failures or problems else 0


def _workdir() -> pathlib.Path:
  if flags.FLAGS.workdir:
    return pathlib.Path(flags.FLAGS.workdir)
  path, _, variant = config_flags.get_config_filename(
      flags.FLAGS['config']
  ).partition(':')
  name = [pathlib.Path(path).stem, *filter(None, variant.split(','))]
  return pathlib.Path('runs') / '-'.join(name)


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
