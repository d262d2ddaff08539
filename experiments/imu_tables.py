"""IMUDiffusion's proof that synthetic windows help, and its ablations.

Run:   python -m diffax.study --jobs=2 \\
         --config=experiments/imu_tables.py:loso,dsads,budget
Cost:  a run is one person held out with the card of the data set. With
       `budget`: about four minutes of a core; with the paper's setting, four
       times 8 minutes to train and hours to sample, as the paper says.

Variants, in any order with commas:
  loso       every person held out in turn (default): what synthetic windows
             are worth, learnt from the picked windows or from augmented copies
             of them, too, beside classical augmentation and all real windows
  ablations  domain, schedules, prior, noise, terminal signal, prediction,
             augmentation, no training
  samplers   DDPM with all steps, DDIM-100, DPM-Solver++-25: speed and worth
  realdisp   the paper's data (default)
  dsads, motionsense, basicmotions, synthetic  other data
  budget, smoke  variants of every card

Choose persons by --config.over.data.fold="(0, 1)" and draws of the two picked
windows by --config.over.data.pick_seed="(0,)": three are the default, averaged
before the deviation over persons is taken. Figures of all persons together:
python -m diffax.evaluate.recognition_folds runs/STUDY/ROW.

The paper gives no table of its numbers, but counts of persons, which stand in
the cards.
"""

from collections.abc import Mapping
from typing import Any

import ml_collections

# Persons of each data set.
PERSONS = {
    'realdisp': 12, 'dsads': 8, 'motionsense': 21, 'basicmotions': 4,
    'synthetic': 12,
}
OPTIONS = ('budget', 'smoke')

_SETS = {
    'few': '2-Sample',
    'few+classical': '+ classical augmentation',
    'few+synthetic': '+ synthetic (2-Sample-Full-Synth)',
    'few+classical+synthetic': '+ classical + synthetic',
    'synthetic': 'synthetic alone (TSTR)',
    'full': 'Full-Set',
}
_ABLATIONS = {
    'reference': ((), {}),
    'augmented': (('augmented',), {}),
    'time domain': (('time',), {}),
    'shared schedule': (('shared',), {}),
    'standard prior': (('standard',), {}),
    'zero terminal SNR': (('zero_terminal',), {}),
    'nonisotropic noise': (('nonisotropic',), {}),
    'noise prediction': ((), {'system.prediction': 'noise'}),
    'untrained': (('gaussian',), {}),
}
_SAMPLERS = {
    'DDPM-3000': 'ddpm', 'DDIM-100': 'ddim', 'DPM-Solver++-25': 'dpm',
}

Table = dict[str, Any]


def get_config(variant: str = 'loso') -> ml_collections.ConfigDict:
  """Return the study; `variant` is a comma-separated list of names."""
  names = variant.split(',')
  for name in names:
    if name not in {*STUDIES, *PERSONS, *OPTIONS}:
      raise KeyError(name)
  data = [name for name in names if name in PERSONS] or ['realdisp']
  studies = [name for name in names if name in STUDIES] or ['loso']
  if len(data) > 1 or len(studies) > 1:
    raise KeyError(f'{variant}: one study of one data set')
  options = tuple(name for name in names if name in OPTIONS)
  study = STUDIES[studies[0]](data[0], options)
  return ml_collections.ConfigDict({
      'over': {'data': {
          'fold': tuple(range(PERSONS[data[0]])), 'pick_seed': (0, 1, 2),
      }},
      'average': ('data.pick_seed',),
      **study,
  })


def run(
    name: str, data: str, variants: tuple[str, ...],
    changes: Mapping[str, Any] | None = None
) -> dict[str, Any]:
  """Return a row of runs; a study wants numbers, not pictures."""
  return {
      'name': name,
      'config': f'experiments/imu_{data}.py:{",".join(variants)}',
      'set': {'eval.figures': False, 'eval.keep': False, **(changes or {})},
  }


def loso(data: str, options: tuple[str, ...]) -> dict[str, Any]:
  """Return what synthetic windows are worth."""
  learnt = {
      'picked': (), 'augmented': ('augmented',), 'gaussian': ('gaussian',),
  }
  titles = {
      'picked': 'learnt from the picks', 'augmented': 'and augmented copies',
      'gaussian': 'Gaussian, moments of the picks',
  }
  columns = tuple(
      {'title': title, 'learnt': name} for name, title in titles.items()
  )
  worth = {
      'title': f'Leave one subject out, {data}, macro-F1',
      'run': '{learnt}',
      'path': ('conditions', '{set}', 'macro-F1'),
      'better': 'higher',
      'rows': tuple({'title': t, 'set': name} for name, t in _SETS.items()),
      'columns': columns,
      'best': (tuple(t for name, t in _SETS.items() if name != 'full'),),
      'compare': tuple(
          (_SETS[name], _SETS[rival])
          for name in ('few+synthetic', 'few+classical+synthetic')
          for rival in ('few', 'few+classical', 'full')
      ),
  }
  runs = tuple(
      run(name, data, (*options, *variants))
      for name, variants in learnt.items()
  )
  quality = {
      'title': f'Generated windows, {data}', 'run': '{learnt}',
      'rows': columns, 'columns': _measures(),
  }
  return {'runs': runs, 'tables': (worth, quality)}


def ablations(data: str, options: tuple[str, ...]) -> dict[str, Any]:
  """Return rows that change one choice each."""
  known = ('synthetic', 'few+synthetic')
  rows = tuple(
      {'title': title, 'row': title.replace(' ', '_')} for title in _ABLATIONS
  )
  return {
      'runs': tuple(
          run(title.replace(' ', '_'), data, (*options, *variants),
              {'eval.conditions': known, **changes})
          for title, (variants, changes) in _ABLATIONS.items()
      ),
      'tables': ({
          'title': f'Ablations, {data}',
          'run': '{row}',
          'rows': rows,
          'columns': (*_worth(known), *_measures()),
      },),
  }


def samplers(data: str, options: tuple[str, ...]) -> dict[str, Any]:
  """Return speed and worth of three samplers, on as few windows as it takes."""
  known = ('few', 'synthetic', 'few+synthetic')
  few = {'eval.per_class': 16, 'eval.batch_size': 32}
  # The last to be named decides.
  first = tuple(name for name in options if name != 'smoke')
  last = tuple(name for name in options if name == 'smoke')
  return {
      'runs': tuple(
          run(title, data, (*first, 'augmented', variant, *last),
              {'eval.conditions': known, **({} if last else few)})
          for title, variant in _SAMPLERS.items()
      ),
      'tables': ({
          'title': f'Samplers, {data}',
          'run': '{row}',
          'rows': tuple({'title': t, 'row': t} for t in _SAMPLERS),
          'columns': (*_worth(known), *_measures()),
      },),
  }


def _worth(sets: tuple[str, ...]) -> tuple[Table, ...]:
  """Return columns of macro-F1."""
  return tuple(
      {
          'title': f'{_SETS[name]}, macro-F1',
          'path': ('conditions', name, 'macro-F1'),
          'better': 'higher',
      }
      for name in sets
  )


def _measures() -> tuple[Table, ...]:
  """Return columns of how generated windows are."""
  return (
      {'title': 'spectra, dB', 'path': ('quality', 'spectra', 'mean',
                                        'generated'), 'better': 'lower'},
      {'title': 'of another person, dB', 'better': 'lower',
       'path': ('quality', 'spectra', 'mean', 'held out')},
      {'title': 'distance to training / that of unseen', 'better': 'higher',
       'path': ('quality', 'copies', 'mean', 'ratio')},
      {'title': 'windows/s', 'path': ('sampling', 'windows_per_second'),
       'better': 'higher'},
  )


STUDIES = {'loso': loso, 'ablations': ablations, 'samplers': samplers}
