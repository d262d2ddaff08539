"""The LaMbDA paper's tables, ours beside the printed numbers.

Run:   python -m diffax.study --config=experiments/lambda_tables.py:table2
       python -m diffax.study --jobs=2 \\
         --config=experiments/lambda_tables.py:table1,table3,rbds,budget
Cost:  the runs are those of the cards lambda_*.py. Tables of one study, and
       studies of one data set with the same --workdir, share them.

Variants, in any order with commas:
  table1   three pairs of gait signals, with and without alignment
  table2   dynamical systems, both splits, three seeds
  table3   probes of the latents after rival alignments
  table4   probes of the latents of rival models
  table5   without parts of the objective
  table6   one encoder for both modalities
  table7   model dimension and window length
  table8   entropies of the data
  embry    the paper's data (default; gated)
  rbds     running, open data
  synthetic  generated gait, to try the tables out
  budget, brief, smoke, large, ddpm, nonisotropic  variants of every card

Folds, or seeds in Table 2, can be chosen: --config.over.data.fold="(0, 1)".
The paper's numbers of gait are of `embry` and stand beside no other data.
Added to the paper's tables are ridge regression and the nearest training
window, other readings of the errors, the latents without alignment, and a
classifier that always names the most frequent class.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import ml_collections

OPTIONS = ('budget', 'brief', 'smoke', 'large', 'ddpm', 'nonisotropic')
# Held-out folds, of 10, 5 and 10.
FOLDS = {'embry': range(10), 'rbds': range(5), 'synthetic': range(3)}

_ALIGNED = 'w/o alignment', 'with alignment'
_SYSTEMS = {
    'lorenz': 'Lorenz attractor',
    'pendulum': 'Double pendulum (non-chaotic)',
    'pendulum_chaotic': 'Double pendulum (chaotic)',
}
_SPLITS = {'chronological': 'chronological split', 'random': 'shuffled windows'}
_PAIRS = {
    'angles_moments': ('angles', 'moments'),
    'angles_grf': ('angles', 'grf'),
    'moments_grf': ('moments', 'grf'),
}
_ABLATIONS = {
    'no_contrast': 'LaMbDA w/o contrast',
    'no_covariance': 'LaMbDA w/o covariance',
    'no_energy': 'LaMbDA w/o energy',
    'lambda': 'LaMbDA',
}
# What tables share: where their cells lie.
_RUN = '{pair}-{method}'
_ERROR = {'run': _RUN, 'path': ('{way}', '{source}', '{metric}'),
          'source': 'model', 'metric': 'MSE'}
_PROBE = {'run': _RUN, 'path': ('probes', '{target}', '{kind}'),
          'better': 'higher'}

Table = dict[str, Any]


class Choice(NamedTuple):
  """What the variants of a study choose: the data, and options of its cards."""

  data: str
  options: tuple[str, ...]

  def printed(self, columns: Sequence[str], numbers: str) -> dict[str, str]:
    """Return a printed line by column, if it is of these data."""
    found = dict(zip(columns, numbers.split(), strict=True))
    return found if self.data == 'embry' else {}


def get_config(variant: str = 'table2') -> ml_collections.ConfigDict:
  """Return the study; `variant` is a comma-separated list of names."""
  names = variant.split(',')
  for name in names:
    if name not in {*TABLES, *FOLDS, *OPTIONS}:
      raise KeyError(name)
  data = [name for name in names if name in FOLDS] or ['embry']
  choice = Choice(data[0], tuple(n for n in names if n in OPTIONS))
  studies = [TABLES[name](choice) for name in names if name in TABLES]
  overs = [study['over'] for study in studies]
  if len(data) > 1 or not studies or overs != overs[:1] * len(overs):
    raise KeyError(f'{variant}: one study has one data set, or Table 2 alone')
  runs = {run['name']: run for study in studies for run in study['runs']}
  for run in runs.values():
    # Pictures are the cards' own business; a study wants numbers.
    run['set'] = {'eval.figures': False, **run.get('set', {})}
  return ml_collections.ConfigDict({
      'runs': tuple(runs.values()),
      'over': overs[0],
      'tables': tuple(t for study in studies for t in study['tables']),
  })


def card(name: str, *variants: str) -> str:
  """Return the file of an experiment with its variants."""
  path = f'experiments/lambda_{name}.py'
  return f'{path}:{",".join(variants)}' if variants else path


def gait(
    choice: Choice, pairs: Sequence[str], methods: Sequence[str],
    *tables: Table
) -> dict[str, Any]:
  """Return a study of pairs of gait signals over the held-out folds.

  Args:
    choice: data and options.
    pairs: of `_PAIRS`.
    methods: variants of the cards; `lambda` is none.
    *tables: of the study; their runs are named PAIR-METHOD.
  """
  runs = tuple(
      {
          'name': f'{pair}-{method}',
          'config': card(
              f'{choice.data}_{pair}', *choice.options,
              *(() if method == 'lambda' else (method,))
          ),
      }
      for pair in pairs for method in methods
  )
  folds = tuple(FOLDS[choice.data])
  return {'runs': runs, 'over': {'data': {'fold': folds}}, 'tables': tables}


def ways(pair: str) -> tuple[dict[str, str], dict[str, str]]:
  """Return the fields of X|Y and Y|X of a pair."""
  x, y = _PAIRS[pair]
  short = pair.replace('_', '-').replace('grf', 'GRF')
  return (
      {'title': f'{short} X|Y', 'pair': pair, 'way': f'{x}|{y}', 'target': x},
      {'title': f'{short} Y|X', 'pair': pair, 'way': f'{y}|{x}', 'target': y},
  )


def both(pairs: Sequence[str] = tuple(_PAIRS)) -> list[dict[str, str]]:
  """Return the fields of both ways of all pairs."""
  return [way for pair in pairs for way in ways(pair)]


def table1(choice: Choice) -> dict[str, Any]:
  """Return generation with and without alignment."""
  metrics = {'MSE': 'MSE', 'FID': 'FID', 'Pred': 'predictive MAE'}
  columns = [
      {'title': f'{short} {align}', 'metric': metric, 'method': method}
      for short, metric in metrics.items()
      for align, method in zip(('w/o', 'with'), ('unaligned', 'lambda'))
  ]
  titles = [column['title'] for column in columns]
  numbers = (
      '0.18±0.03 0.14±0.02 37.8±9.6 32.4±7.2 0.18±0.06 0.16±0.03',
      '0.08±0.02 0.07±0.01 20.4±12.1 14.2±2.8 0.08±0.01 0.07±0.01',
      '0.22±0.03 0.19±0.03 66.7±51.5 40.4±8.3 0.30±0.23 0.16±0.02',
      '0.07±0.03 0.06±0.03 24.8±34.2 5.8±3.6 0.12±0.12 0.08±0.07',
      '0.08±0.02 0.07±0.02 16.5±4.0 13.7±3.2 0.08±0.01 0.07±0.01',
      '0.03±0.02 0.03±0.02 6.6±2.5 4.3±2.5 0.07±0.04 0.05±0.04',
  )
  groups = tuple(tuple(titles[i:i + 2]) for i in (0, 2, 4))
  main = {
      'title': f'Table 1, {choice.data}',
      **_ERROR,
      'rows': tuple(
          {**way, 'paper': choice.printed(titles, line)}
          for way, line in zip(both(), numbers, strict=True)
      ),
      'columns': tuple(columns),
      'best': groups,
      'compare': tuple(group[::-1] for group in groups),
  }
  return gait(
      choice, tuple(_PAIRS), ('lambda', 'unaligned'), main, _beside(choice)
  )


def _beside(choice: Choice) -> Table:
  """Return the errors of predictors without training beside the models'."""
  columns = [
      {'title': f'{short}{metric}', 'metric': metric, **fields}
      for metric in ('MSE', 'MSE of mean')
      for short, fields in (
          ('w/o: ', {'method': 'unaligned'}),
          ('with: ', {'method': 'lambda'}),
          ('ridge: ', {'method': 'lambda', 'source': 'ridge'}),
          ('1-NN: ', {'method': 'lambda', 'source': 'nearest_neighbour'}),
      )
      if metric == 'MSE' or 'source' not in fields
  ]
  titles = tuple(column['title'] for column in columns)
  return {
      'title': f'Table 1, {choice.data}, beside predictors without training',
      **_ERROR,
      'rows': tuple(both()),
      'columns': tuple(columns),
      'best': (titles,),
  }


def table2(choice: Choice) -> dict[str, Any]:
  """Return the dynamical systems; the data are generated, so the paper's."""
  methods = {'lambda': (), 'unaligned': ('unaligned',)}
  runs = tuple(
      {
          'name': f'{system}-{split}-{method}',
          'config': card(
              system, *choice.options,
              *(('random',) if split == 'random' else ()), *variants
          ),
      }
      for split in _SPLITS
      for system in _SYSTEMS
      for method, variants in methods.items()
  )
  tables = [
      {'title': f'Table 2, {title}{what}', 'rows': rows, **_dynamical(split)}
      for split, title in _SPLITS.items()
      for what, rows in (
          (', MSE', _systems()), (', other readings of the error', _readings())
      )
  ]
  return {'runs': runs, 'over': {'seed': (0, 1, 2)}, 'tables': tuple(tables)}


def _dynamical(split: str) -> Table:
  """Return what tables of the dynamical systems share."""
  return {
      'run': f'{{system}}-{split}-{{method}}',
      'path': ('{way}', '{source}', '{metric}'),
      'columns': (
          {'title': _ALIGNED[0], 'method': 'unaligned', 'source': 'model'},
          {'title': _ALIGNED[1], 'method': 'lambda', 'source': 'model'},
          {'title': 'ridge', 'method': 'lambda', 'source': 'ridge'},
          {'title': '1-NN', 'method': 'lambda', 'source': 'nearest_neighbour'},
      ),
      'best': ((*_ALIGNED, 'ridge', '1-NN'),),
      'compare': (_ALIGNED[::-1],),
  }


def _systems() -> tuple[Table, ...]:
  numbers = {
      ('lorenz', 'x|y'): '0.678 0.425',
      ('lorenz', 'y|x'): '0.135 0.004',
      ('pendulum', 'x|y'): '2.5e-3 2.5e-3',
      ('pendulum', 'y|x'): '6.6e-3 6.4e-3',
      ('pendulum_chaotic', 'x|y'): '0.042 0.028',
      ('pendulum_chaotic', 'y|x'): '0.031 0.021',
  }
  return tuple(
      {
          'title': f'{_SYSTEMS[system]} {way.upper()}',
          'system': system,
          'way': way,
          'metric': 'MSE',
          'paper': dict(zip(_ALIGNED, line.split(), strict=True)),
      }
      for (system, way), line in numbers.items()
  )


def _readings() -> tuple[Table, ...]:
  metrics = {(s, w): ['MSE of mean', 'MSE best']
             for s in _SYSTEMS for w in ('x|y', 'y|x')}
  # z does not know the sign of x.
  metrics['lorenz', 'x|y'] += ['MSE sign', 'MSE sign best']
  return tuple(
      {
          'title': f'{_SYSTEMS[system]} {way.upper()}, {metric}',
          'system': system,
          'way': way,
          'metric': metric,
      }
      for (system, way), names in metrics.items() for metric in names
  )


def table3(choice: Choice) -> dict[str, Any]:
  """Return probes of the latents after rival alignments."""
  names = {
      'barlow': 'Barlow', 'simclr': 'SimCLR', 'latent_mse': 'MSE',
      'vicreg': 'VICReg', 'lambda': 'LaMbDA',
  }
  linear = (
      '0.70±0.08 0.71±0.08 0.64±0.06 0.63±0.06 0.53±0.08 0.51±0.10',
      '0.82±0.04 0.79±0.06 0.68±0.06 0.78±0.04 0.78±0.04 0.80±0.08',
      '0.72±0.04 0.72±0.06 0.62±0.10 0.74±0.03 0.82±0.04 0.83±0.05',
      '0.65±0.09 0.64±0.06 0.66±0.07 0.62±0.07 0.54±0.07 0.59±0.09',
      '0.86±0.05 0.78±0.05 0.80±0.06 0.75±0.04 0.82±0.04 0.83±0.07',
  )
  nonlinear = (
      '0.72±0.06 0.73±0.07 0.66±0.08 0.68±0.05 0.63±0.07 0.57±0.10',
      '0.83±0.05 0.80±0.06 0.74±0.07 0.81±0.05 0.64±0.07 0.68±0.09',
      '0.74±0.05 0.75±0.06 0.65±0.10 0.76±0.05 0.85±0.05 0.85±0.05',
      '0.64±0.09 0.64±0.07 0.72±0.07 0.66±0.06 0.64±0.07 0.68±0.09',
      '0.86±0.05 0.80±0.05 0.83±0.06 0.78±0.05 0.85±0.05 0.84±0.05',
  )
  columns = both()
  titles = [column['title'] for column in columns]
  tables = []
  for kind, numbers in (('linear', linear), ('nonlinear', nonlinear)):
    rows = [
        {'title': title, 'method': method, 'kind': kind,
         'paper': choice.printed(titles, line)}
        for (method, title), line in zip(names.items(), numbers, strict=True)
    ]
    tables.append({
        'title': f'Table 3, {choice.data}, {kind} probing',
        'rows': (
            *rows,
            {'title': 'w/o alignment', 'method': 'unaligned', 'kind': kind},
            {'title': 'most frequent', 'method': 'lambda', 'kind': 'majority'},
        ),
        'columns': tuple(columns),
        'compare': tuple(('LaMbDA', row['title']) for row in rows[:-1]),
        'best': ((*names.values(), 'w/o alignment'),),
        **_PROBE,
    })
  return gait(choice, tuple(_PAIRS), (*names, 'unaligned'), *tables)


def table4(choice: Choice) -> dict[str, Any]:
  """Return probes, and errors, of rival models; the paper's are of one fold."""
  numbers = {
      'regressor': ('Transformer Regressor', '0.05 0.05 0.05 0.05'),
      'cvae': ('CVAE w/o align', '0.48 0.35 0.65 0.4'),
      'cvae_aligned': ('CVAE w/align', '0.54 0.53 0.69 0.67'),
      'cdcd': ('CDCD-like', '0.06 0.47 0.04 0.5'),
      'cmmd': ('CMMD-like', '0.65 0.78 0.76 0.89'),
      'lambda': ('LaMbDA', '0.89 0.88 0.89 0.88'),
  }
  pair = ways('angles_moments')
  probes = [
      {**way, 'title': f'{kind} {letters}', 'kind': kind}
      for kind in ('linear', 'nonlinear')
      for way, letters in zip(pair, ('X|Y', 'Y|X'))
  ]
  errors = [
      {**way, 'title': f'MSE {letters}', 'better': 'lower',
       'path': ('{way}', 'model', 'MSE')}
      for way, letters in zip(pair, ('X|Y', 'Y|X'))
  ]
  titles = [column['title'] for column in probes]
  table = {
      'title': f'Table 4, {choice.data}, X = angles, Y = moments',
      'rows': tuple(
          {'title': title, 'method': method,
           'paper': choice.printed(titles, line)}
          for method, (title, line) in numbers.items()
      ),
      'columns': (*probes, *errors),
      'best': (tuple(title for title, _ in numbers.values()),),
      **_PROBE,
  }
  return gait(choice, ('angles_moments',), tuple(numbers), table)


def table5(choice: Choice) -> dict[str, Any]:
  """Return the ablation of the objective."""
  numbers = (
      '0.18±0.03 0.08±0.03', '0.17±0.03 0.07±0.02', '0.17±0.02 0.07±0.02',
      '0.14±0.02 0.07±0.01',
  )
  columns = ways('angles_moments')
  titles = [column['title'] for column in columns]
  rows = [
      {'title': title, 'method': method, 'paper': choice.printed(titles, line)}
      for (method, title), line in zip(_ABLATIONS.items(), numbers, strict=True)
  ]
  table = {
      'title': f'Table 5, {choice.data}, MSE',
      'rows': tuple(rows),
      'columns': columns,
      'best': (tuple(_ABLATIONS.values()),),
      'compare': tuple(('LaMbDA', row['title']) for row in rows[:-1]),
      **_ERROR,
  }
  return gait(choice, ('angles_moments',), tuple(_ABLATIONS), table)


def table6(choice: Choice) -> dict[str, Any]:
  """Return one encoder for both modalities against one for each."""
  numbers = {
      'shared': (
          'Shared encoder',
          '0.98±0.02 1.02±0.03 1.00±0.02 1.13±0.04 0.95±0.01 1.14±0.03',
      ),
      'lambda': (
          'LaMbDA',
          '0.14±0.02 0.07±0.01 0.07±0.02 0.03±0.02 0.19±0.03 0.06±0.03',
      ),
  }
  columns = both(('angles_moments', 'moments_grf', 'angles_grf'))
  titles = [column['title'] for column in columns]
  table = {
      'title': f'Table 6, {choice.data}, MSE',
      'rows': tuple(
          {'title': title, 'method': method,
           'paper': choice.printed(titles, line)}
          for method, (title, line) in numbers.items()
      ),
      'columns': tuple(columns),
      'best': (('LaMbDA', 'Shared encoder'),),
      'compare': (('LaMbDA', 'Shared encoder'),),
      **_ERROR,
  }
  return gait(choice, tuple(_PAIRS), tuple(numbers), table)


def table7(choice: Choice) -> dict[str, Any]:
  """Return the sweeps of model dimension and window length."""
  sizes = [(d, 300) for d in (32, 64, 128, 256)]
  sizes += [(128, length) for length in (150, 300, 450)]
  numbers = (
      '0.045 0.039 0.037 0.038 0.044 0.037 0.037',
      '0.020 0.021 0.014 0.013 0.017 0.014 0.014',
  )
  # The one with both defaults stands in both sweeps.
  titles = [f'D = {d}' for d, _ in sizes[:4]]
  titles += [f'L = {length}' for _, length in sizes[4:]]
  table = {
      'title': f'Table 7, {choice.data}, X = moments, Y = GRF, MSE',
      'rows': tuple(
          {**way, 'paper': choice.printed(titles, line)}
          for way, line in zip(ways('moments_grf'), numbers, strict=True)
      ),
      'columns': tuple(
          {'title': title, 'method': f'd{d}-l{length}'}
          for title, (d, length) in zip(titles, sizes, strict=True)
      ),
      'best': (tuple(titles[:4]), tuple(titles[4:])),
      **_ERROR,
  }
  study = gait(choice, (), (), table)
  study['runs'] = tuple(
      {
          'name': f'moments_grf-d{d}-l{length}',
          'config': card(f'{choice.data}_moments_grf', *choice.options),
          'set': {
              'system.network.width': d, 'data.length': length,
              'data.stride': length // 2,
          },
      }
      for d, length in dict.fromkeys(sizes)
  )
  return study


def table8(choice: Choice) -> dict[str, Any]:
  """Return the entropies of the data; its models are not trained."""
  numbers = (
      '2.12±0.56 -3.55±0.40', '2.38±0.54 -6.74±0.44', '-3.52±0.45 -6.96±0.45',
  )
  titles = ('H(X|Y)', 'H(Y|X)')
  rows = [
      {'title': f'X = {x}, Y = {y}'.replace('grf', 'GRF'), 'pair': pair,
       'x': x, 'y': y, 'paper': choice.printed(titles, line)}
      for (pair, (x, y)), line in zip(_PAIRS.items(), numbers, strict=True)
  ]
  table = {
      'title': f'Table 8, {choice.data}, nats',
      'run': '{pair}-entropy',
      'rows': tuple(rows),
      'columns': (
          {'title': titles[0], 'path': ('entropy', 'H({x}|{y})')},
          {'title': titles[1], 'path': ('entropy', 'H({y}|{x})')},
      ),
  }
  study = gait(choice, (), (), table)
  study['runs'] = tuple(
      {
          'name': f'{pair}-entropy',
          'config': card(f'{choice.data}_{pair}', *choice.options),
          'set': {
              'eval.entropy': True, 'eval.max_windows': 2, 'twin.steps': 1,
          },
      }
      for pair in _PAIRS
  )
  return study


TABLES = {
    'table1': table1, 'table2': table2, 'table3': table3, 'table4': table4,
    'table5': table5, 'table6': table6, 'table7': table7, 'table8': table8,
}
