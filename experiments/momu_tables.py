"""The MoMu-Diffusion paper's tables, ours beside the printed numbers.

Run:   python -m diffax.study --config=experiments/momu_tables.py:table2
       python -m diffax.study --jobs=2 --config=experiments/momu_tables.py:\\
         table2,table5,table6,table7,table10,chance,dance_synthetic,budget
Cost:  a training of momu_joint and one for each ablation, which start from its
       autoencoders where these do not differ; other T_c (Table 10) are sampled
       with its weights. Its denoisers share nothing, so its runs also give what
       is of one direction (Tables 2, 5 and 6). Studies of one data set with the
       same --workdir share runs.

Variants, in any order with commas:
  table2   motion to music: beats, beside chance and what sound allows
  table5   music to motion: beats
  table6   music to motion: quality
  table7   ablations
  table10  when joint generation begins to exchange
  chance   beats of all tasks beside chance, with and without contrast
  aist, dance_synthetic, dance_aligned, loris_dance  the data (default aist)
  budget, dpm, smoke                                 variants of every card

Seeds can be chosen: --config.over.seed="(0, 1, 2)". The paper's numbers are of
AIST++ and stand in brackets beside any data, to compare orders and gaps, not
values. Its FAD is that of VGGish and its FID that of another classifier; what
ours listens with is in the columns' names. Added are one-to-one matches within
0.1 s and the rows of chance, which the paper does not print.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections

OPTIONS = ('budget', 'dpm', 'smoke')
DATA = ('aist', 'dance_synthetic', 'dance_aligned', 'loris_dance')
FAD = 'FAD (trained mel CNN)'

_BEATS = ('BCS', 'CSD', 'BHS', 'HSD', 'F1')
_EXACT = ('BCS 100ms', 'CSD 100ms', 'BHS 100ms', 'HSD 100ms', 'F1 100ms')
# Rows of metrics.json that stand beside the model's.
_CHANCE = ('metronome', 'shuffled', 'shuffled truth')
_LOW = ('CSD', 'HSD', 'CSD 100ms', 'HSD 100ms', 'FID', 'Mean KLD', FAD)
_ABLATIONS = {
    'directions': ('#1 directional vectors', '10.9 91.4 14.7 38.0'),
    'wave': ('#2 w/o mel-spectrogram', '12.8 95.6 9.5 41.6'),
    'no_contrast': ('#3 w/o contrastive learning', '8.5 93.1 8.1 37.9'),
    'unet': ('#4 w/o feed-forward transformer', '11.0 95.8 11.6 41.4'),
}
_JOINT = ('#5 joint generation', '8.1 96.5 8.8 45.4')
_VARIABLE = ('#6 joint, variable length', '9.1 97.6 8.5 49.6')
_CROSS = ('#7 cross generation', '8.9 98.1 7.3 46.2')
# By T_c / T; the card has 0.5.
_SWITCHES = {
    0.9: '14.8 82.4 17.3 25.8',
    0.7: '10.9 95.9 9.7 37.8',
    0.5: '8.1 96.5 8.8 45.4',
    0.3: '7.5 90.4 9.0 42.1',
    0.1: '8.0 85.5 9.5 32.6',
}
_AUTOENCODERS = ('music', 'motion')
# Stages that a variant trains as the card itself does.
_SHARED = {
    'no_contrast': ('music',), 'unet': _AUTOENCODERS,
    'variable_length': _AUTOENCODERS,
    **{f'switch{10 * share:.0f}': (*_AUTOENCODERS, 'diffusion')
       for share in _SWITCHES if share != 0.5},
}

Table = dict[str, Any]


def get_config(variant: str = 'table2') -> ml_collections.ConfigDict:
  """Return the study; `variant` is a comma-separated list of names."""
  names = variant.split(',')
  for name in names:
    if name not in {*TABLES, *DATA, *OPTIONS}:
      raise KeyError(name)
  data = [name for name in names if name in DATA] or ['aist']
  tables = [TABLES[name](data[0]) for name in names if name in TABLES]
  if len(data) > 1 or not tables:
    raise KeyError(f'{variant}: expected one data set and some of {[*TABLES]}')
  options = [name for name in names if name in OPTIONS]
  wanted = {run for table in tables for run in table.pop('variants')}
  every = dict.fromkeys(('', *_ABLATIONS, *_SHARED))
  order = [name for name in every if name in wanted]
  return ml_collections.ConfigDict({
      'runs': tuple(run(name, data[0], options) for name in order),
      'over': {'seed': (0,)},
      'tables': tuple(tables),
  })


def run(own: str, data: str, options: Sequence[str]) -> dict[str, Any]:
  """Return a row of runs.

  Args:
    own: a variant of the card, or nothing.
    data: of `DATA`.
    options: of `OPTIONS`.
  """
  # Options shrink what is there, so they come last.
  variants = [
      name for name in (data, own, *options) if name not in ('', 'aist')
  ]
  path = 'experiments/momu_joint.py'
  # Pictures and times are the card's own business; a study wants numbers.
  settings = {'eval.figures': False, 'eval.lengths': '()'}
  if 'switch' in own:
    settings['eval.tasks'] = "('joint',)"
  return {
      'name': f'joint-{own}' if own else 'joint',
      'config': f'{path}:{",".join(variants)}' if variants else path,
      'set': settings,
      'reuse': dict.fromkeys(_SHARED.get(own, ()), 'joint'),
  }


def table2(data: str) -> Table:
  """Return motion to music beside chance, and what sound allows."""
  rows = [
      ours('MoMu-Diffusion', 'model', _BEATS, '97.5 5.2 98.6 2.8 98.1'),
      *({'title': row, 'source': row} for row in ('VAE', 'vocoder', *_CHANCE)),
  ]
  return {
      'title': f'Table 2, {data}: motion to music, percent; paper: AIST++',
      'variants': ('',),
      'run': 'joint',
      'path': ('motion_to_music', '{source}', '{metric}'),
      'rows': tuple(rows),
      'columns': columns((*_BEATS, *_EXACT, 'F1 50ms')),
  }


def table5(data: str) -> Table:
  """Return music to motion beside chance, and the truth."""
  # Where the source knows the beats of tracks, they are a reference, too.
  known = ('beat F1 100ms',) if data == 'dance_aligned' else ()
  rows = [
      ours('MoMu-Diffusion', 'model', _EXACT, '39.2 10.2 56.3 12.0 46.2'),
      *({'title': row, 'source': row}
        for row in ('VAE', 'true motion', *_CHANCE)),
  ]
  return {
      'title': f'Table 5, {data}: music to motion, percent; paper: AIST++',
      'variants': ('',),
      'run': 'joint',
      'path': ('music_to_motion', '{source}', '{metric}'),
      'rows': tuple(rows),
      'columns': columns((*_EXACT, *known, *_BEATS, 'F1 50ms')),
  }


def table6(data: str) -> Table:
  """Return the quality of movement."""
  metrics = 'FID', 'Diversity inter', 'Mean KLD'
  return {
      'title': f'Table 6, {data}: quality of movement; paper: AIST++, another '
               'judge',
      'variants': ('',),
      'run': 'joint',
      'path': ('music_to_motion', '{source}', '{metric}'),
      'rows': (
          ours('MoMu-Diffusion', 'model', metrics, '7.3 52.7 4.9'),
          {'title': 'VAE', 'source': 'VAE'},
      ),
      'columns': columns(metrics),
  }


def table7(data: str) -> Table:
  """Return the ablations, all of one card that does every task."""
  cross = {'music': 'motion_to_music', 'motion': 'music_to_motion'}
  joint = {'music': 'joint', 'motion': 'joint'}
  rows = [
      {**ablation(title, numbers), 'run': f'joint-{name}', **cross}
      for name, (title, numbers) in _ABLATIONS.items()
  ]
  rows += [
      {**ablation(*_JOINT), 'run': 'joint', **joint},
      {**ablation(*_VARIABLE), 'run': 'joint-variable_length', **joint},
      {**ablation(*_CROSS), 'run': 'joint', **cross},
  ]
  title = f'Table 7, {data}: ablations; paper: AIST++, VGGish, another judge'
  return {
      'title': title,
      'variants': ('', *_ABLATIONS, 'variable_length'),
      'rows': tuple(rows),
      'columns': both(),
  }


def table10(data: str) -> Table:
  """Return joint generation by when the exchange begins."""
  rows = [
      {**ablation(f'T_c = {share} T', numbers), 'music': 'joint',
       'motion': 'joint',
       'run': 'joint' if share == 0.5 else f'joint-switch{10 * share:.0f}'}
      for share, numbers in _SWITCHES.items()
  ]
  title = f'Table 10, {data}: joint generation; paper: AIST++, VGGish'
  return {
      'title': title,
      'variants': ('', *(name for name in _SHARED if 'switch' in name)),
      'rows': tuple(rows),
      'columns': both(),
  }


def chance(data: str) -> Table:
  """Return what beats are worth beside what knows nothing of the other."""
  asked = {
      'motion to music': ('motion_to_music', 'F1 100ms'),
      'music to motion': ('music_to_motion', 'F1 100ms'),
      'music to motion, beats of the track': (
          'music_to_motion', 'beat F1 100ms'),
      'joint': ('joint', 'F1 100ms'),
  }
  if data != 'dance_aligned':
    del asked['music to motion, beats of the track']
  runs = {'': 'joint', ', no contrast': 'joint-no_contrast'}
  columns = [
      {'title': f'{title}{words}', 'task': task, 'metric': metric, 'run': run}
      for title, (task, metric) in asked.items()
      for words, run in runs.items()
  ]
  return {
      'title': f'Chance, {data}: F1 of beats within 0.1 s, percent',
      'variants': ('', 'no_contrast'),
      'path': ('{task}', '{source}', '{metric}'),
      'better': 'higher',
      'rows': tuple({'title': source, 'source': source}
                    for source in ('model', 'metronome', 'shuffled')),
      'columns': tuple(columns),
  }


def ours(
    title: str, source: str, names: Sequence[str], numbers: str
) -> dict[str, Any]:
  """Return a row with printed numbers."""
  return {
      'title': title, 'source': source,
      'paper': dict(zip(names, numbers.split(), strict=True)),
  }


def ablation(title: str, numbers: str) -> dict[str, Any]:
  """Return a row of Table 7 or 10 with its printed numbers."""
  names = [column['title'] for column in both() if column['printed']]
  return {
      'title': title, 'paper': dict(zip(names, numbers.split(), strict=True)),
  }


def columns(metrics: Sequence[str]) -> tuple[dict[str, str], ...]:
  """Return a column for each metric."""
  return tuple(
      {'title': metric, 'metric': metric,
       'better': 'lower' if metric in _LOW else 'higher'}
      for metric in metrics
  )


def both() -> tuple[dict[str, Any], ...]:
  """Return the columns of both modalities."""
  found = (
      ('music FAD', 'music', FAD, True), ('music F1', 'music', 'F1', True),
      ('music F1 100ms', 'music', 'F1 100ms', False),
      ('motion FID', 'motion', 'FID', True),
      ('motion F1 100ms', 'motion', 'F1 100ms', True),
      ('motion F1', 'motion', 'F1', False),
  )
  return tuple(
      {'title': title, 'printed': printed,
       # Braces stay for the row, which says what task a modality is of.
       'path': (f'{{{part}}}', 'model', metric),
       'better': 'lower' if metric in _LOW else 'higher'}
      for title, part, metric, printed in found
  )


TABLES: Mapping[str, Any] = {
    'table2': table2, 'table5': table5, 'table6': table6, 'table7': table7,
    'table10': table10, 'chance': chance,
}
