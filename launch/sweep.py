#!/usr/bin/env python3
"""Run configs over seeds, folds and grids, and print one table.

  python launch/sweep.py --config=experiments/lambda_pendulum.py:budget \\
    --seeds=3 --folds=5 --grid twin.optim.schedule.value=1e-4,3e-4 \\
    --metric 'x|y/model/MSE' --workdir=runs/rates --jobs=2

Every config with every point of the grid is a row of the table; it runs with
every seed and fold, and a cell is mean±std over those. A --metric is a path in
metrics.json, with `:higher` if more is better; without any, the table has the
first numbers that all runs wrote.

On one machine --jobs runs are processes on shares of its cores. With --slurm
each run is a SLURM job (needs `pip install submitit`), --jobs of them at once:

    --slurm gpus_per_node=1 timeout_min=600 slurm_partition=gpu

are parameters of submitit's executor. A job that is preempted or reaches its
time limit saves and is requeued; a sweep that is started again finds its jobs.

This is a thin layer over `python -m diffax.study`, for which one writes a file
when rows, tables and the paper's numbers matter. The same command again
resumes; exit status 0 done, 75 stopped with everything saved, 2 a mistake of
the user, 1 a run failed otherwise.
"""

import argparse
import ast
from collections.abc import Mapping, Sequence
import importlib.util
import itertools
import json
import math
import pathlib
import re
import sys
from typing import Any

from diffax import study
from diffax.errors import UserError

# Columns of a table whose metrics were not named.
_MOST = 8


def values(text: str) -> tuple[Any, ...]:
  """Read `1e-4,3e-4` or `a,b` as a tuple of plain values."""
  return tuple(_value(part) for part in text.split(','))


def _value(text: str) -> Any:
  try:
    return ast.literal_eval(text)
  except (ValueError, SyntaxError):
    return text


def pairs(settings: Sequence[str], flag: str) -> dict[str, str]:
  """Split `KEY=VALUE` words.

  Raises:
    UserError: if one has no `=`, or a key comes twice.
  """
  found: dict[str, str] = {}
  for setting in settings:
    key, sign, value = setting.partition('=')
    if not sign or key in found:
      raise UserError(f'{flag}: expected KEY=VALUE once, found {setting!r}.')
    found[key] = value
  return found


def rows(
    configs: Sequence[str],
    grid: Mapping[str, tuple[Any, ...]],
    fixed: Mapping[str, Any],
) -> list[dict[str, Any]]:
  """Return a row of a study for every config and point of the grid.

  Args:
    configs: files, `F.py[:variant,...]`.
    grid: values by dotted key.
    fixed: further settings of all rows.
  """
  found = []
  for config, point in itertools.product(
      configs, itertools.product(*grid.values())
  ):
    path, _, variant = config.partition(':')
    setting = dict(zip(grid, point))
    parts = [pathlib.Path(path).stem, *filter(None, variant.split(','))]
    parts += [f'{key.split(".")[-1]}={value}' for key, value in setting.items()]
    found.append({
        'name': re.sub(r'[^\w.=+-]', '_', '-'.join(parts)),
        'config': config,
        'set': {**fixed, **setting},
    })
  return found


def table(
    named: Sequence[Mapping[str, Any]], metrics: Sequence[str]
) -> dict[str, Any]:
  """Return the one table: a line for a row, a column for a metric.

  Args:
    named: rows, with names.
    metrics: paths with `/`, and `:higher` where more is better.
  """
  columns = []
  for metric in metrics:
    path, _, better = metric.partition(':')
    if better not in ('', 'lower', 'higher'):
      raise UserError(
          f'--metric: expected PATH, PATH:lower or PATH:higher, found '
          f'{metric!r}.'
      )
    columns.append({
        'title': path, 'path': tuple(path.split('/')),
        'better': better or 'lower',
    })
  titles = tuple(row['name'] for row in named)
  return {
      'title': 'Sweep',
      'run': '{row}',
      'rows': tuple({'title': name, 'row': name} for name in titles),
      'columns': tuple(columns),
      'best': (titles,) if len(titles) > 1 else (),
  }


def numbers(metrics: Mapping[str, Any], prefix: str = '') -> list[str]:
  """Return the paths of all numbers, in order; a dict with a mean is one."""
  found = []
  for key, value in metrics.items():
    path = f'{prefix}{key}'
    if isinstance(value, Mapping) and 'mean' not in value:
      found += numbers(value, f'{path}/')
      continue
    inner = value['mean'] if isinstance(value, Mapping) else value
    plain = isinstance(inner, (int, float)) and not isinstance(inner, bool)
    if plain and math.isfinite(inner) and '/' not in key:
      found.append(path)
  return found


def shared(runs: Sequence[study.Run]) -> list[str]:
  """Return the paths of the numbers that all finished runs wrote."""
  every = [
      numbers(json.loads((run.folder / study.METRICS).read_text()))
      for run in runs
      if (run.folder / study.METRICS).is_file()
      and (run.folder / study.RECORD).is_file()
  ]
  if not every:
    return []
  # A colon would be read as the start of `:higher`.
  return [
      path for path in every[0]
      if ':' not in path and all(path in other for other in every)
  ]


def conduct(given: argparse.Namespace, command: Sequence[str]) -> int:
  """Run the sweep and print its table.

  Args:
    given: the command line.
    command: that trains; a run's flags are appended.

  Returns:
    The exit status.

  Raises:
    UserError: if something is wrong, before anything runs.
  """
  grid = {k: values(v) for k, v in pairs(given.grid, '--grid').items()}
  fixed = {k: _value(v) for k, v in pairs(given.set, '--set').items()}
  over: dict[str, Any] = {}
  if given.seeds:
    over['seed'] = tuple(range(given.seeds))
  if given.folds:
    over['data.fold'] = tuple(range(given.folds))
  plan: dict[str, Any] = {
      'runs': tuple(rows(given.config, grid, fixed)), 'over': over,
  }
  if given.metric:
    plan['tables'] = (table(plan['runs'], given.metric),)
  if given.slurm is not None:
    command = _submitting(pairs(given.slurm, '--slurm'), given.cluster, command)
  workdir = pathlib.Path(given.workdir)
  status = study.conduct(
      plan, workdir, jobs=given.jobs, again=given.again, dry=given.print,
      command=command,
  )
  if given.metric or status not in (0, 1):
    return status
  found = shared(study.expand(plan, workdir))
  if found:
    plan['tables'] = (table(plan['runs'], found[:_MOST]),)
    study.conduct(plan, workdir, dry=True, command=command)
    print(f'{len(found[:_MOST])} of {len(found)} metrics; choose by --metric')
  return status


def _submitting(
    parameters: Mapping[str, str], cluster: str, command: Sequence[str]
) -> list[str]:
  """Return the command that trains by way of a SLURM job."""
  if importlib.util.find_spec('submitit') is None:
    raise UserError(
        '--slurm: needs submitit, which is not installed: pip install '
        "'submitit>=1.5,<2'"
    )
  options = {
      'cluster': cluster,
      'parameters': {k: _value(v) for k, v in parameters.items()},
      'command': list(command),
  }
  program = pathlib.Path(__file__).with_name('job.py')
  return [sys.executable, str(program), json.dumps(options)]


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter
  )
  add = parser.add_argument
  add('--config', action='append', required=True, metavar='F[:VARIANT]')
  add('--workdir', required=True, help='folder of the sweep')
  add('--seeds', type=int, default=0, help='runs with seed 0, 1, ...')
  add('--folds', type=int, default=0, help='runs with data.fold 0, 1, ...')
  add('--grid', nargs='+', default=[], metavar='KEY=V1,V2')
  add('--set', nargs='+', default=[], metavar='KEY=V', help='of all runs')
  add('--metric', nargs='+', default=[], metavar='PATH[:higher]')
  add('--jobs', type=int, default=1, help='runs at once')
  add('--print', action='store_true', help='run nothing, print the table')
  add('--again', action='store_true', help='also run what is finished')
  add(
      '--slurm', nargs='*', metavar='NAME=VALUE',
      help='submit each run; parameters of submitit\'s executor',
  )
  add(
      '--cluster', default='slurm', choices=['slurm', 'local', 'debug'],
      help='submitit\'s; the others try out what --slurm does',
  )
  return parser


def main(
    argv: Sequence[str], command: Sequence[str] = study.COMMAND
) -> int:
  """Read the command line and run."""
  try:
    given = _parser().parse_args(argv)
    if given.jobs < 1 or given.seeds < 0 or given.folds < 0:
      raise UserError('--jobs, --seeds, --folds: expected positive numbers.')
    return conduct(given, command)
  except UserError as error:
    print(f'error: {error}', file=sys.stderr)
    return 2


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
