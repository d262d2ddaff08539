"""The SkeletonDiffusion paper's tables, ours beside the printed numbers.

Run:   python -m diffax.study --config=experiments/skeleton_tables.py:table1
       python -m diffax.study --config=experiments/skeleton_tables.py:\\
         table4,table7,cmu,brief
Cost:  a training for each row of Tables 4 to 8, which share one autoencoder for
       a seed; rows of Tables 3, 10 and 11 and of `beyond` that differ in how
       futures are drawn are evaluations of one trained model. At the paper's
       size each training is 6 days of a 48 GB GPU.

Variants, in any order with commas:
  table1   AMASS                     table2   FreeMan
  table3   AMASS's model on 3DPW     table4   A, R, R_hip
  table5   normalisation of Sigma    table6   9 M and 34 M parameters
  table7   the components            table8   what was discarded
  table9   Human3.6M                 table10  3DPW with disturbed pasts
  table11  5 s by going on           beyond   what the paper has not
  figure11 quality by training steps, isotropic and not
  amass, cmu, bandai, synthetic      the data of Tables 4 to 8 and 11, of beyond
                                     and Figure 11 (default amass)
  budget, brief, smoke               variants of every card

Table 12 is `python -m diffax.main --config=experiments/skeleton_h36m.py
--mode=benchmark`. Figures 7, 9, 10 and 12 are drawn by every evaluation of a
card, futures by --mode=sample. Seeds can be chosen:
--config.over.seed="(0, 1, 2)". The paper's numbers of Tables 4 to 8 and 11 are
of AMASS and stand in brackets beside any data, to compare orders and gaps, not
values.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import ml_collections

OPTIONS = ('budget', 'brief', 'smoke')
DATA = ('amass', 'cmu', 'bandai', 'synthetic')
_CARDS = {'synthetic': 'quickstart'}

_LIMBS = ('stretch mean', 'jitter mean', 'stretch RMSE', 'jitter RMSE')
_SHORT = ('ADE', 'FDE', 'MMADE', 'MMFDE', 'APD', 'CMD')
_ABLATION = (*_SHORT, *_LIMBS)
_FULL = ('ADE', 'FDE', 'MAE', 'MMADE', 'MMFDE', 'APD', 'CMD', *_LIMBS)
_BOTH = ('autoencoder', 'diffusion')
# Variants that train an autoencoder of their own.
_OWN = ('dct',)
# Variants that differ from the card in how they draw.
_DRAWING = (
    'noisy', 'noisy_bounded', 'long', 'long_oracle', 'ddim', 'dpm', 'matched',
    'bones',
)
_OURS = '0.480 0.545 0.561 0.580 9.456 11.417 3.15 0.20 4.45 0.26'

# Steps of Figure 11, by option; each is a checkpoint.
_STEPS = {
    'brief': (100, 200, 400, 800), 'budget': (500, 1000, 2000, 3500),
    'smoke': (5, 10), '': (20_000, 40_000, 80_000, 160_000),
}

Table = dict[str, Any]


class Row(NamedTuple):
  """A row of a table.

  Attributes:
    title: of the row.
    variants: of the card, in order; none for the card itself.
    numbers: printed, or none.
    source: row of metrics.json.
    settings: of the evaluation, by name.
  """

  title: str
  variants: tuple[str, ...] = ()
  numbers: str = ''
  source: str = 'model'
  settings: tuple[tuple[str, Any], ...] = ()

  @property
  def name(self) -> str:
    """The name of its run, after that of the card."""
    more = [f'{key.rpartition(".")[2]}={x}' for key, x in self.settings]
    return '-'.join([*self.variants, *more])


def get_config(variant: str = 'table1') -> ml_collections.ConfigDict:
  """Return the study; `variant` is a comma-separated list of names."""
  names = variant.split(',')
  for name in names:
    if name not in {*TABLES, *DATA, *OPTIONS}:
      raise KeyError(name)
  data = [name for name in names if name in DATA] or ['amass']
  options = tuple(name for name in names if name in OPTIONS)
  made = [TABLES[name](data[0], options) for name in names if name in TABLES]
  if len(data) > 1 or not made:
    raise KeyError(f'{variant}: expected one data set and some of {[*TABLES]}')
  runs = {run['name']: run for table in made for run in table.pop('runs')}
  if 'figure11' in names:
    # Its steps are evaluated after the training, so all have to be kept.
    kept = {'checkpoint.every': steps(options)[0], 'checkpoint.keep': 100}
    for run in runs.values():
      run['set'] |= kept
  return ml_collections.ConfigDict({
      # Runs that others start from come first.
      'runs': tuple(sorted(runs.values(), key=lambda run: len(run['reuse']))),
      'over': {'seed': (0,)},
      'tables': tuple(made),
  })


def run(
    card: str, row: Row, options: Sequence[str], base: str
) -> dict[str, Any]:
  """Return a row of runs.

  Args:
    card: name after `skeleton_`.
    row: what the run is for.
    options: of `OPTIONS`.
    base: name of the run whose stages it starts from.
  """
  # Options size what variants then change, but for `smoke`, which sizes last.
  variants = [*(o for o in options if o != 'smoke'), *row.variants]
  variants += [o for o in options if o == 'smoke']
  path = f'experiments/skeleton_{card}.py'
  name = '-'.join(filter(None, (card, row.name)))
  shared: tuple[str, ...] = ('autoencoder',)
  stepped = 'eval.step' in dict(row.settings)
  if set(row.variants) <= set(_DRAWING) or stepped:
    shared = _BOTH
  if set(row.variants) & set(_OWN) or name == base:
    shared = ()
  return {
      'name': name,
      'config': f'{path}:{",".join(variants)}' if variants else path,
      # Pictures and neighbours are the cards' own business.
      'set': {
          'eval.figures': False, 'eval.baselines': ('zero_velocity',),
          **dict(row.settings),
      },
      'reuse': dict.fromkeys(shared, base),
  }


def steps(options: Sequence[str]) -> tuple[int, ...]:
  """Return the steps of Figure 11."""
  sizes = [o for o in ('smoke', 'brief', 'budget') if o in options]
  return _STEPS[sizes[0] if sizes else '']


def table(
    title: str, card: str, columns: Sequence[str], rows: Sequence[Row],
    options: Sequence[str], base: str | None = None
) -> Table:
  """Return a table of runs of one card, and its runs.

  Args:
    title: of the table.
    card: name after `skeleton_`.
    columns: metrics.
    rows: of the table; a run each, or rows of one.
    options: of `OPTIONS`.
    base: name of the run whose stages the others start from, if it is of
      another card.
  """
  runs = {}
  start = base or card
  if base is None:
    runs[start] = run(card, Row(''), options, start)
  else:
    runs[start] = run(base, Row(''), options, start)
  named = []
  for row in rows:
    whole_run = start
    if row.variants and 'eval.step' in dict(row.settings):
      # Of its own training, not of the card's.
      trained = run(card, Row('', row.variants), options, start)
      runs[trained['name']] = trained
      whole_run = trained['name']
    made = run(card, row, options, whole_run)
    runs[made['name']] = made
    numbers = row.numbers.split()
    named.append({
        'title': row.title, 'run': made['name'], 'source': row.source,
        'paper': dict(zip(columns, numbers, strict=True)) if numbers else {},
    })
  return {
      'title': title,
      'runs': tuple(runs.values()),
      'path': ('{source}', '{metric}'),
      'rows': tuple(named),
      'columns': tuple(
          {'title': metric, 'metric': metric,
           'better': 'higher' if metric == 'APD' else 'lower'}
          for metric in columns
      ),
  }


def whole(
    number: int, card: str, title: str, ours: str, still: str,
    more: Sequence[Row] = ()
) -> Callable[..., Table]:
  """Return a function that makes the table of a data set of the paper."""

  def made(data: str, options: Sequence[str]) -> Table:
    del data
    rows = (
        Row('Zero-Velocity', (), still, 'zero_velocity'),
        *more,
        Row('SkeletonDiffusion', (), ours),
    )
    base = 'amass' if card == '3dpw' else None
    return table(f'Table {number}: {title}', card, _FULL, rows, options, base)

  return made


def ablation(
    number: int, title: str, columns: Sequence[str], rows: Sequence[Row]
) -> Callable[..., Table]:
  """Return a function that makes a table of variants on chosen data."""

  def made(data: str, options: Sequence[str]) -> Table:
    beside = '' if data == 'amass' else '; paper: AMASS'
    found = table(
        f'Table {number}, {data}: {title}{beside}', _CARDS.get(data, data),
        columns, rows, options
    )
    *others, last = [row.title for row in rows]
    return found | {'compare': tuple((last, other) for other in others)}

  return made


def table10(data: str, options: Sequence[str]) -> Table:
  """Return AMASS's model on 3DPW with disturbed pasts, both readings."""
  del data
  ours = '0.517 0.587 7.106 0.567 0.603 10.547 8.188 4.56 0.22 5.95 0.30'
  still = '0.764 1.016 10.921 0.785 1.019 0.000 40.695 4.52 0.00 4.52 0.00'
  rows = (
      Row('Zero-Velocity, as released', ('noisy',), still, 'zero_velocity'),
      Row('N(0, 2 cm), as released', ('noisy',), ours),
      Row('at most 2 cm, as printed', ('noisy_bounded',), ours),
  )
  title = 'Table 10: AMASS on 3DPW, noise on a quarter of what is observed'
  return table(title, '3dpw', _FULL, rows, options, 'amass')


def beyond(data: str, options: Sequence[str]) -> Table:
  """Return what the paper has not: samplers, noise, weights, bones."""
  rows = (
      Row('10 steps of DDPM'),
      *(Row(f'{steps} steps of DDPM', settings=(
          ('diffusion.system.sampler.steps', steps),)) for steps in (5, 3, 2)),
      *(Row(f'{steps} steps of DDIM', ('ddim',), settings=(
          ('diffusion.system.sampler.steps', steps),)) for steps in (5, 3, 2)),
      *(Row(f'{steps} steps of DPM-Solver++', ('dpm',), settings=(
          ('diffusion.system.sampler.steps', steps),)) for steps in (5, 3, 2)),
      Row('noise as latents are correlated', ('latent_noise',)),
      Row('start from matched noise', ('matched',)),
      Row('average of weights (EMA)', (), settings=(('eval.weights', 'ema'),)),
      Row('bones of the past', ('bones',)),
      Row('and a rigid pelvis', settings=(
          ('diffusion.system.bones', 'rigid'),)),
  )
  return table(
      f'Beyond the paper, {data}', _CARDS.get(data, data),
      (*_FULL, 'ECE'), rows, options
  )


def figure11(data: str, options: Sequence[str]) -> Table:
  """Return quality by training steps."""
  rows = [
      Row(f'{title}, {step} steps', variants, settings=(('eval.step', step),))
      for title, variants in (('SkeletonDiffusion', ()),
                              ('isotropic', ('isotropic',)))
      for step in steps(options)
  ]
  made = table(
      f'Figure 11, {data}: quality by training steps', _CARDS.get(data, data),
      ('ADE', 'FDE', 'APD', 'CMD'), rows, options
  )
  for row, shown in zip(rows, made['rows']):
    shown['line'] = 'isotropic' if row.variants else 'nonisotropic'
    shown['x'] = dict(row.settings)['eval.step']
  return made | {'figure': {
      'file': f'figure11_{data}.png', 'xlabel': 'training steps',
  }}


TABLES: Mapping[str, Callable[[str, Sequence[str]], Table]] = {
    'table1': whole(
        1, 'amass', 'AMASS',
        '0.480 0.545 6.124 0.561 0.580 9.456 11.417 3.15 0.20 4.45 0.26',
        '0.755 0.992 7.779 0.814 1.015 0.000 39.262 0.00 0.00 0.00 0.00',
    ),
    'table2': whole(
        2, 'freeman', 'FreeMan',
        '0.374 0.457 7.424 0.506 0.508 6.732 3.166 7.58 0.51 9.64 0.66',
        '0.603 0.835 9.841 0.687 0.865 0.000 14.734 6.37 0.00 6.37 0.00',
    ),
    'table3': whole(
        3, '3dpw', 'AMASS on 3DPW, zero-shot',
        '0.472 0.575 6.025 0.535 0.594 9.814 10.474 3.02 0.17 4.16 0.23',
        '0.755 1.011 7.294 0.777 1.013 0.000 40.695 0.00 0.00 0.00 0.00',
    ),
    'table4': ablation(4, 'what Sigma_N is made of', _ABLATION, (
        Row('R', ('reach',),
            '0.481 0.540 0.562 0.574 9.504 11.542 3.16 0.20 4.51 0.27'),
        Row('R_hip', ('reach_hips',),
            '0.475 0.543 0.558 0.579 8.629 12.499 3.14 0.19 4.35 0.25'),
        Row('A (SkeletonDiffusion)', (), _OURS),
    )),
    'table5': ablation(5, 'how Sigma_N is normalised', _ABLATION, (
        Row('Frobenius', ('frobenius',),
            '0.480 0.539 0.561 0.575 9.468 12.066 3.26 0.20 4.54 0.26'),
        Row('spectral (SkeletonDiffusion)', (), _OURS),
    )),
    'table6': ablation(6, 'parameters', _SHORT, (
        Row('isotropic, 9 M', ('small', 'isotropic'),
            '0.509 0.571 0.576 0.598 7.875 16.229'),
        Row('SkeletonDiffusion, 9 M', ('small',),
            '0.493 0.554 0.565 0.585 7.865 15.767'),
        Row('isotropic, 34 M', ('isotropic',),
            '0.499 0.553 0.568 0.583 8.788 15.603'),
        Row('SkeletonDiffusion, 34 M', (),
            '0.480 0.545 0.561 0.580 9.456 11.417'),
    )),
    'table7': ablation(7, 'components', _ABLATION, (
        Row('w/o TG-Att', ('no_attention',),
            '0.502 0.567 0.576 0.597 8.021 14.934 3.90 0.20 5.31 0.27'),
        Row('iso', ('isotropic',),
            '0.499 0.553 0.568 0.583 8.788 15.603 3.72 0.18 4.93 0.24'),
        Row('noniso', ('gamma_one',),
            '0.489 0.547 0.567 0.581 9.483 11.812 2.77 0.20 4.06 0.27'),
        Row('SkeletonDiffusion', (),
            '0.480 0.545 0.562 0.579 9.456 11.418 3.15 0.20 4.45 0.26'),
    )),
    'table8': ablation(8, 'discarded components', _ABLATION, (
        Row('+Past', ('tuned_past',),
            '0.574 0.584 0.607 0.599 9.856 16.993 10.16 0.24 11.04 0.38'),
        Row('+DCT', ('dct',),
            '0.534 0.572 0.595 0.600 11.215 16.783 5.20 0.25 7.59 0.35'),
        Row('k = 1', ('one_draw',),
            '0.489 0.601 0.577 0.639 4.984 16.574 3.50 0.17 4.56 0.23'),
        Row('k = 50, latent argmin', ('latent_choice',),
            '0.476 0.545 0.558 0.580 8.497 12.885 3.17 0.19 4.35 0.25'),
        Row('SkeletonDiffusion', (),
            '0.480 0.545 0.562 0.579 9.456 11.418 3.15 0.20 4.45 0.26'),
    )),
    'table9': whole(
        9, 'h36m', 'Human3.6M',
        '0.344 0.450 5.556 0.487 0.512 7.249 4.178 3.90 0.16 4.96 0.21',
        '0.597 0.884 6.753 0.683 0.909 0.000 22.812 0.00 0.00 0.00 0.00',
    ),
    'table10': table10,
    'table11': ablation(
        11, '5 s by going on', ('ADE', 'FDE', 'MAE', *_LIMBS), (
            Row('each future by itself', ('long',)),
            Row('from the closest, as released', ('long_oracle',),
                '0.660 0.779 9.045 3.67 0.14 4.94 0.24'),
        )
    ),
    'beyond': beyond,
    'figure11': figure11,
}
