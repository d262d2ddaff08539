"""The LaMbDA paper's tables, ours beside the printed numbers.

Run:   python -m diffax.study --config=experiments/lambda_tables.py:table2
       (a few minutes of one core per run: table2,budget)

Table 2, the dynamical systems: with and without alignment, on the
chronological split and on shuffled windows (which leak: they overlap by 97 %),
over three seeds. Ridge regression and the nearest training window stand beside
them; the paper has neither. The second table of each split has readings of the
error that do not punish a sampler for a sign that cannot be known.
"""

from collections.abc import Sequence
from typing import Any

import ml_collections

OPTIONS = ('budget', 'large', 'ddpm', 'nonisotropic', 'smoke')
_PAIR = 'w/o alignment', 'with alignment'
_SYSTEMS = {
    'lorenz': 'Lorenz attractor',
    'pendulum': 'Double pendulum (non-chaotic)',
    'pendulum_chaotic': 'Double pendulum (chaotic)',
}
_SPLITS = {
    'chronological': 'Table 2, chronological split',
    'random': 'Table 2, shuffled windows',
}


def get_config(variant: str = 'table2') -> ml_collections.ConfigDict:
  """Return the study; `variant` is a comma-separated list of names."""
  names = variant.split(',')
  config = ml_collections.ConfigDict()
  config.update(TABLES[names[0]](names[1:]))
  return config


def card(name: str, options: Sequence[str], *variants: str) -> str:
  """Return an experiment with its variants."""
  wanted = ','.join([*options, *variants])
  path = f'experiments/lambda_{name}.py'
  return f'{path}:{wanted}' if wanted else path


def printed(columns: Sequence[str], numbers: str) -> dict[str, str]:
  """Return a line of a printed table by column."""
  return dict(zip(columns, numbers.split(), strict=True))


def table2(options: Sequence[str]) -> dict[str, Any]:
  """Return the study of the dynamical systems."""
  methods = {'lambda': (), 'unaligned': ('unaligned',)}
  runs = tuple(
      {
          'name': f'{system}-{split}-{method}',
          'config': card(
              system, options, *(('random',) if split == 'random' else ()),
              *variants
          ),
      }
      for split in _SPLITS
      for system in _SYSTEMS
      for method, variants in methods.items()
  )
  tables = []
  for split, title in _SPLITS.items():
    tables += [_table2(split, title), _readings(split, title)]
  return {'runs': runs, 'over': {'seed': (0, 1, 2)}, 'tables': tuple(tables)}


def _table2(split: str, title: str) -> dict[str, Any]:
  numbers = {
      ('lorenz', 'x|y'): '0.678 0.425',
      ('lorenz', 'y|x'): '0.135 0.004',
      ('pendulum', 'x|y'): '2.5e-3 2.5e-3',
      ('pendulum', 'y|x'): '6.6e-3 6.4e-3',
      ('pendulum_chaotic', 'x|y'): '0.042 0.028',
      ('pendulum_chaotic', 'y|x'): '0.031 0.021',
  }
  return {
      'title': f'{title}, MSE',
      'metric': 'MSE',
      'rows': tuple(
          {**_line(system, way), 'paper': printed(_PAIR, line)}
          for (system, way), line in numbers.items()
      ),
      'compare': (_PAIR[::-1],),
      **_dynamical(split),
  }


def _readings(split: str, title: str) -> dict[str, Any]:
  lines = [
      {**_line(system, way), 'metric': metric}
      for system in _SYSTEMS
      for way in ('x|y', 'y|x')
      for metric in ('MSE of mean', 'MSE best')
  ]
  # z does not know the sign of x.
  lines += [
      {**_line('lorenz', 'x|y'), 'metric': metric}
      for metric in ('MSE sign', 'MSE sign best')
  ]
  rows = [{**x, 'title': f'{x["title"]}, {x["metric"]}'} for x in lines]
  return {
      'title': f'{title}, other readings of the error',
      'rows': tuple(rows),
      **_dynamical(split),
  }


def _line(system: str, way: str) -> dict[str, str]:
  title = f'{_SYSTEMS[system]} {way.upper()}'
  return {'title': title, 'system': system, 'way': way}


def _dynamical(split: str) -> dict[str, Any]:
  """Return what tables of the dynamical systems share."""
  return {
      'run': f'{{system}}-{split}-{{method}}',
      'path': ('{way}', '{row}', '{metric}'),
      'columns': (
          {'title': _PAIR[0], 'method': 'unaligned', 'row': 'model'},
          {'title': _PAIR[1], 'method': 'lambda', 'row': 'model'},
          {'title': 'ridge', 'method': 'lambda', 'row': 'ridge'},
          {'title': '1-NN', 'method': 'lambda', 'row': 'nearest_neighbour'},
      ),
      'best': (_PAIR,),
  }


TABLES = {'table2': table2}
