"""Studies: what runs, what is passed over, and what the tables say."""

import fcntl
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest

from diffax import study
from diffax.errors import UserError

ROOT = pathlib.Path(__file__).parents[1]

# ml_collections loads cards with a method that newer Pythons deprecate.
pytestmark = pytest.mark.filterwarnings('ignore:the load_module')

CARD = '''
import ml_collections
def get_config(variant=''):
  config = ml_collections.ConfigDict({
      'seed': 0, 'act': 'good', 'data': {'fold': 0}, 'width': 1.5,
  })
  for name in filter(None, variant.split(',')):
    {'wide': lambda: config.update({'width': 2.5})}[name]()
  return config
'''

# Stands for diffax.main: MSE = width * (1 + seed + 10 fold).
FAKE = '''
import json, os, pathlib, signal, sys, time
given = dict(x[2:].split('=', 1) for x in sys.argv[1:])
folder = pathlib.Path(given['workdir'])
def leave(*unused):
  (folder / 'saved').touch()
  sys.exit(75)
signal.signal(signal.SIGTERM, leave)
with (folder / 'calls').open('a') as file:
  cores = sorted(os.sched_getaffinity(0))
  time.sleep(0.05)
  file.write(json.dumps({'given': given, 'cores': cores}) + '\\n')
act = given.get('config.act', 'good')
print('speaks of', act)
if act == 'wait':
  (folder / 'waits').touch()
  time.sleep(60)
elif act != 'good' and act != 'empty':
  sys.exit(int(act))
stage = folder / 'first'
if not stage.is_dir():
  stage.mkdir()
  (stage / 'by').write_text(folder.parent.name)
value = 1 + int(given.get('config.seed', 0))
value += 10 * int(given.get('config.data.fold', 0))
value *= 2.5 if ':wide' in given['config'] else 1.5
metrics = {'x|y': {'model': {'MSE': {'mean': value, 'std': 9, 'n': 4}}},
           'probes': {'x': {'linear': value / 100, 'none': None}}}
if act != 'empty':
  (folder / 'metrics.json').write_text(json.dumps(metrics))
'''


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
  monkeypatch.syspath_prepend(str(ROOT))
  monkeypatch.setattr(study, '_POLL', 0.01)


@pytest.fixture
def place(tmp_path):
  (tmp_path / 'card.py').write_text(CARD)
  (tmp_path / 'fake.py').write_text(FAKE)
  return tmp_path


def table(**changes):
  return {
      'title': 'T', 'run': '{method}', 'path': ('{way}', 'model', 'MSE'),
      'rows': ({'title': 'X|Y', 'way': 'x|y', 'paper': {'ours': '0.1±0.2'}},),
      'columns': ({'title': 'ours', 'method': 'a'},),
      **changes,
  }


def plan(place, *rows, **sections):
  rows = rows or ({'name': 'a'},)
  card = f'{place}/card.py'
  return {'runs': tuple({'config': card, **row} for row in rows), **sections}


def conduct(place, what, **options):
  command = (sys.executable, str(place / 'fake.py'))
  return study.conduct(what, place / 'out', command=command, **options)


def calls(place):
  found = {}
  for path in (place / 'out').rglob('calls'):
    lines = path.read_text().splitlines()
    found[str(path.parent.relative_to(place / 'out'))] = [
        json.loads(line) for line in lines
    ]
  return found


def read(place, row, column='ours', number=0):
  found = json.loads((place / 'out/tables.json').read_text())
  return found[number]['rows'][row][column]


def test_a_study_is_the_product_of_rows_and_values(place):
  rows = (
      {'name': 'a', 'set': {'data.split': 'random', 'x': (1, 2)}},
      {'name': 'b'},
  )
  over = {'data': {'fold': (3, 4)}, 'seed': (0, 1)}
  runs = study.expand(plan(place, *rows, over=over), pathlib.Path('w'))
  assert len(runs) == 8
  assert [run.row for run in runs[:4]] == ['a', 'b', 'a', 'b']
  assert runs[2].over == (('data.fold', 3), ('seed', 1))
  assert str(runs[2].folder) == 'w/a/data.fold=3,seed=1'
  assert runs[2].flags == (
      f'--config={place}/card.py', '--config.data.split=random',
      '--config.x=(1, 2)', '--config.data.fold=3', '--config.seed=1',
  )
  assert len({run.folder for run in runs}) == 8


@pytest.mark.parametrize(
    'rows, sections, message',
    [
        ([{'name': 'a'}, {'name': 'a'}], {}, "each once, found 'a'"),
        ([{'name': '../a'}], {}, "names of folders, .* found '../a'"),
        ([{'name': 'a'}], {'over': {'seed': 3}}, 'over.seed: expected a tuple'),
        ([{'name': 'a'}], {'over': {'seed': ()}}, 'over.seed: expected a tup'),
        ([{'name': 'a'}], {'average': ('seed',)}, r"found \['seed'\]"),
        ([{'name': 'a'}], {'overs': {}}, r"found \['overs'\]"),
        (
            [{'name': 'a', 'set': {'seed': 1}}], {'over': {'seed': (1,)}},
            "'a': sets seed, which study.over varies",
        ),
    ],
)
def test_a_wrong_study_is_named(place, rows, sections, message):
  with pytest.raises(UserError, match=message):
    study.expand(plan(place, *rows, **sections), place)


def test_an_empty_study_is_named(place):
  with pytest.raises(UserError, match='found no runs'):
    study.expand({'runs': ()}, place)


@pytest.mark.parametrize(
    'row, message',
    [
        ({'set': {'wdth': 3}}, "'a seed=0': --config.wdth: .* mean 'width'"),
        ({'set': {'width': 'broad'}}, "'a seed=0': .*config.width=broad"),
        ({'config': 'absent.py'}, 'absent.py: expected a config file'),
    ],
)
def test_a_wrong_row_is_named_before_anything_runs(place, row, message):
  rows = {'name': 'good'}, {'name': 'a', **row}
  with pytest.raises(UserError, match=message):
    conduct(place, plan(place, *rows, over={'seed': (0,)}))
  assert not calls(place)


def test_an_unknown_variant_is_named(place):
  what = plan(place, {'name': 'a', 'config': f'{place}/card.py:tall'})
  with pytest.raises(UserError, match="card.py:tall: there is no 'tall'"):
    conduct(place, what)


def test_finished_runs_are_passed_over_and_changed_ones_run(place):
  rows = {'name': 'a'}, {'name': 'b'}
  what = plan(place, *rows, over={'seed': (0, 1)}, tables=(table(),))
  assert conduct(place, what) == 0
  assert {k: len(v) for k, v in calls(place).items()} == {
      'a/seed=0': 1, 'a/seed=1': 1, 'b/seed=0': 1, 'b/seed=1': 1,
  }
  assert conduct(place, what) == 0
  assert {len(v) for v in calls(place).values()} == {1}
  # A setting of one row: that row alone, and no number of the old one counts.
  changed = plan(
      place, {'name': 'a', 'set': {'width': 2.0}}, rows[1],
      over={'seed': (0, 1)}, tables=(table(),),
  )
  assert conduct(place, changed, dry=True) == 0
  assert read(place, 'X|Y')['n'] == 0
  assert conduct(place, changed) == 0
  assert {k: len(v) for k, v in calls(place).items()} == {
      'a/seed=0': 2, 'a/seed=1': 2, 'b/seed=0': 1, 'b/seed=1': 1,
  }
  assert read(place, 'X|Y')['n'] == 2
  # The file of a row, too, though the command stays.
  (place / 'card.py').write_text(CARD.replace('1.5', '1.75'))
  assert conduct(place, what, only=['b']) == 0
  assert {k: len(v) for k, v in calls(place).items()} == {
      'a/seed=0': 2, 'a/seed=1': 2, 'b/seed=0': 2, 'b/seed=1': 2,
  }


def test_again_repeats_and_only_chooses(place):
  what = plan(place, {'name': 'ab'}, {'name': 'ac'}, {'name': 'd'})
  assert conduct(place, what, only=['a*', 'ac']) == 0
  assert set(calls(place)) == {'ab', 'ac'}
  assert conduct(place, what, only=['ab'], again=True) == 0
  assert {k: len(v) for k, v in calls(place).items()} == {'ab': 2, 'ac': 1}
  with pytest.raises(UserError, match=r"--only: .*\['ab', 'ac', 'd'\].*'e'"):
    conduct(place, what, only=['e'])


@pytest.mark.parametrize('act, status', [('2', 2), ('7', 1), ('empty', 1)])
def test_others_go_on_when_a_run_fails(place, capfd, act, status):
  rows = {'name': 'bad', 'set': {'act': act}}, {'name': 'a'}
  columns = (
      {'title': 'ours', 'method': 'a'}, {'title': 'bad', 'method': 'bad'}
  )
  what = plan(
      place, *rows, over={'seed': (0, 1)}, tables=(table(columns=columns),)
  )
  assert conduct(place, what) == status
  assert read(place, 'X|Y')['n'] == 2
  assert read(place, 'X|Y', 'bad')['failed'] == 2
  assert '| - 2 failed |' in (place / 'out/tables.md').read_text()
  shown = capfd.readouterr().out
  assert f'bad seed=0: failed with status {2 if act == "2" else status}' in (
      shown.replace('status 7', 'status 1')
  )
  assert f'speaks of {act}' in shown
  assert '2 of 4 runs are finished' in shown
  # The next command tries again; one that only prints remembers.
  assert conduct(place, what, dry=True) == 0
  assert read(place, 'X|Y', 'bad')['failed'] == 2
  assert conduct(place, what) == status
  assert [len(v) for v in calls(place).values()].count(2) == 2


def test_a_row_starts_from_stages_of_another(place, capfd):
  rows = [
      {'name': 'a'}, {'name': 'b', 'reuse': {'first': 'a'}}, {'name': 'c'},
  ]
  what = plan(place, *rows, over={'seed': (0, 1)})
  # Without the other's run there is nothing to take, and nothing runs.
  assert conduct(place, what, only=['b']) == 2
  assert "out/a/seed=0/first; run the row 'a' first" in capfd.readouterr().out
  assert not calls(place)
  assert conduct(place, what, jobs=2) == 0
  made = {
      f'{row}{seed}': (place / f'out/{row}/seed={seed}/first/by').read_text()
      for row in 'abc' for seed in (0, 1)
  }
  assert made == {
      'a0': 'a', 'a1': 'a', 'b0': 'a', 'b1': 'a', 'c0': 'c', 'c1': 'c',
  }
  # What a row has already stays.
  (place / 'out/b/seed=0/first/by').write_text('b')
  assert conduct(place, what, only=['b'], again=True) == 0
  assert (place / 'out/b/seed=0/first/by').read_text() == 'b'


def test_runs_that_others_need_start_first(place, capfd):
  rows = (
      {'name': 'own'}, {'name': 'a'}, {'name': 'b', 'reuse': {'first': 'a'}},
  )
  assert conduct(place, plan(place, *rows, over={'seed': (0, 1)})) == 0
  started = [
      line.partition(':')[0] for line in capfd.readouterr().out.splitlines()
      if ': runs, see' in line
  ]
  assert started == [
      'a seed=0', 'a seed=1', 'own seed=0', 'b seed=0', 'own seed=1',
      'b seed=1',
  ]


def test_a_row_whose_stages_are_of_a_failed_run_fails(place, capfd):
  rows = [
      {'name': 'a', 'set': {'act': '2'}},
      {'name': 'b', 'reuse': {'first': 'a'}},
  ]
  assert conduct(place, plan(place, *rows), jobs=2) == 2
  assert set(calls(place)) == {'a'}
  assert "needs the stage 'first' of a, which failed" in capfd.readouterr().out


def test_stages_come_from_rows_before(place):
  rows = {'name': 'a', 'reuse': {'first': 'b'}}, {'name': 'b'}
  with pytest.raises(UserError, match=r"'a': reuse.first: .* \[\], found 'b'"):
    conduct(place, plan(place, *rows))


def test_a_run_that_was_stopped_stops_the_others(place):
  rows = [
      {'name': 'long', 'set': {'act': 'wait'}},
      {'name': 'told', 'set': {'act': '75'}},
      {'name': 'later'},
  ]
  assert conduct(place, plan(place, *rows), jobs=2) == 75
  assert set(calls(place)) == {'long', 'told'}
  assert (place / 'out/long/saved').exists()
  assert not (place / 'out/told/study.json').exists()


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_the_runs(place, number):
  waits = place / 'out/long/waits'

  def stop():
    while not waits.exists():
      time.sleep(0.01)
    os.kill(os.getpid(), number)

  before = signal.getsignal(number)
  thread = threading.Thread(target=stop)
  thread.start()
  rows = {'name': 'long', 'set': {'act': 'wait'}}, {'name': 'later'}
  assert conduct(place, plan(place, *rows)) == 75
  thread.join()
  assert set(calls(place)) == {'long'}
  assert (place / 'out/long/saved').exists()
  assert signal.getsignal(number) is before


def test_a_run_of_another_process_is_left_alone(place, capfd):
  folder = place / 'out/a'
  folder.mkdir(parents=True)
  with (folder / 'log.txt').open('ab') as log:
    fcntl.flock(log, fcntl.LOCK_EX)
    what = plan(place, {'name': 'a'}, {'name': 'b'})
    assert conduct(place, what) == 2
  assert set(calls(place)) == {'b'}
  assert 'another process runs it' in capfd.readouterr().out
  assert conduct(place, what) == 0


@pytest.mark.skipif(
    len(os.sched_getaffinity(0)) < 2, reason='there is one core'
)
def test_runs_at_once_have_cores_of_their_own(place):
  rows = [{'name': name} for name in 'abcd']
  assert conduct(place, plan(place, *rows), jobs=2) == 0
  cores = {tuple(found[0]['cores']) for found in calls(place).values()}
  assert len(cores) == 2
  one, other = map(set, cores)
  assert not one & other
  assert one | other == os.sched_getaffinity(0)


def test_cores_are_divided():
  cores = os.sched_getaffinity(0)
  assert study.shares(1) == [set()]
  for jobs in (2, 3, 64):
    found = study.shares(jobs)
    assert len(found) == jobs
    assert set().union(*found) == cores
    assert all(found)


def test_variables_of_the_user_are_kept(monkeypatch):
  monkeypatch.delenv('XLA_PYTHON_CLIENT_MEM_FRACTION', raising=False)
  monkeypatch.setenv('JAX_COMPILATION_CACHE_DIR', 'mine')
  found = study.environment(pathlib.Path('w'), 2)
  assert found['JAX_COMPILATION_CACHE_DIR'] == 'mine'
  assert found['XLA_PYTHON_CLIENT_MEM_FRACTION'] == '0.45'
  monkeypatch.delenv('JAX_COMPILATION_CACHE_DIR')
  found = study.environment(pathlib.Path('w'), 1)
  assert found['JAX_COMPILATION_CACHE_DIR'] == os.path.abspath('w/.cache')
  assert 'XLA_PYTHON_CLIENT_MEM_FRACTION' not in found


def test_tables_hold_mean_deviation_paper_and_pairs(place, capfd):
  rows = {'name': 'a'}, {'name': 'b', 'config': f'{place}/card.py:wide'}
  columns = (
      {'title': 'ours', 'method': 'a'}, {'title': 'wide', 'method': 'b'},
  )
  what = plan(
      place, *rows, over={'seed': (0, 1, 2)}, tables=(
          table(columns=columns, best=(('ours', 'wide'),),
                compare=(('ours', 'wide'),)),
      ),
  )
  assert conduct(place, what, only=['a']) == 0
  # Values 1.5, 3, 4.5 and 2.5, 5, 7.5.
  assert (place / 'out/tables.md').read_text().splitlines() == [
      "T: mean±sample std over seed (3); in brackets the paper's numbers",
      '',
      '|  | ours | wide |',
      '| --- | --- | --- |',
      '| X\\|Y | 3.00±1.50 (0.1±0.2) | - |',
  ]
  assert conduct(place, what) == 0
  assert (place / 'out/tables.md').read_text().splitlines()[4:] == [
      '| X\\|Y | **3.00±1.50** (0.1±0.2) | 5.00±2.50 |',
      '',
      '|  | difference | better in | sign p | Wilcoxon p |',
      '| --- | --- | --- | --- | --- |',
      '| X\\|Y: ours - wide | -2.00±1.00 | 3 of 3 | - | - |',
  ]
  found = read(place, 'X|Y', 'wide')
  assert (found['mean'], found['std'], found['n']) == (5, 2.5, 3)
  assert found['runs'][1] == {'seed': 1, 'value': 5}
  shown = capfd.readouterr().out
  assert '(0.1±0.2)' in shown and 'X|Y: ours - wide' in shown


def test_a_table_that_is_too_wide_cuts_no_number(place, capfd):
  columns = tuple(
      {'title': f'column {i}' if i else 'ours', 'method': 'a'}
      for i in range(13)
  )
  what = plan(
      place, {'name': 'a'}, over={'seed': (0, 1, 2)},
      tables=(table(columns=columns),),
  )
  assert conduct(place, what) == 0
  shown = capfd.readouterr().out
  assert '\N{HORIZONTAL ELLIPSIS}' not in shown
  assert shown.count('3.00') == shown.count('±1.50') == 13


def test_seeds_are_averaged_within_folds(place):
  what = plan(
      place, over={'data': {'fold': (0, 1)}, 'seed': (0, 2)},
      average=('seed',), tables=(table(),),
  )
  assert conduct(place, what) == 0
  # Seeds 0 and 2: 1.5 and 4.5, and 15 more in fold 1.
  found = read(place, 'X|Y')
  assert found['runs'] == [
      {'data.fold': 0, 'value': 3}, {'data.fold': 1, 'value': 18},
  ]
  assert found['n'] == 2
  assert found['std'] == pytest.approx(15 / 2**0.5)
  note = 'std over data.fold (2) of averages over seed (2)'
  assert note in (place / 'out/tables.md').read_text()


def test_rows_can_be_compared_and_columns_have_their_own_sense(place):
  rows = {'name': 'a'}, {'name': 'b', 'config': f'{place}/card.py:wide'}
  what = plan(place, *rows, over={'seed': (0, 1)}, tables=(table(
      rows=(
          {'title': 'narrow', 'method': 'a'}, {'title': 'wide', 'method': 'b'},
      ),
      columns=(
          {'title': 'MSE', 'way': 'x|y'},
          {'title': 'probe', 'path': ('probes', 'x', 'linear'),
           'better': 'higher'},
          {'title': 'none', 'path': ('probes', 'x', 'none')},
      ),
      best=(('narrow', 'wide'),), compare=(('narrow', 'wide'),),
  ),))
  assert conduct(place, what) == 0
  lines = (place / 'out/tables.md').read_text().splitlines()
  # Values 1.5, 3 and 2.5, 5.
  assert lines[4:6] == [
      '| narrow | **2.25±1.06** | 0.0225±0.0106 | - |',
      '| wide | 3.75±1.77 | **0.0375±0.0177** | - |',
  ]
  assert lines[9:] == [
      '| MSE: narrow - wide | -1.50±0.71 | 2 of 2 | - | - |',
      '| probe: narrow - wide | -0.0150±0.0071 | 0 of 2 | - | - |',
  ]


def _two(**changes):
  return table(
      rows=(
          {'title': 'narrow', 'method': 'a', 'line': 'one', 'x': 2},
          {'title': 'wide', 'method': 'b', 'line': 'one', 'x': 4},
      ),
      columns=({'title': 'MSE', 'way': 'x|y'},),
      **changes,
  )


def test_the_difference_of_single_runs_is_not_printed(place):
  rows = {'name': 'a'}, {'name': 'b', 'config': f'{place}/card.py:wide'}
  what = plan(
      place, *rows, over={'seed': (0,)},
      tables=(_two(compare=(('narrow', 'wide'),)),))
  assert conduct(place, what) == 0
  found = (place / 'out/tables.md').read_text()
  assert found.startswith('T: one run') and 'difference' not in found


def test_a_figure_shows_columns_against_x(place, capfd, monkeypatch):
  pytest.importorskip('matplotlib')
  rows = {'name': 'a'}, {'name': 'b', 'config': f'{place}/card.py:wide'}
  figure = {'file': 'f.png', 'xlabel': 'steps'}
  what = plan(
      place, *rows, over={'seed': (0, 1)}, tables=(_two(figure=figure),))
  seen = []
  panels = study.curves.panels
  monkeypatch.setattr(
      study.curves, 'panels', lambda *args: (seen.append(args), panels(*args)))
  # Nothing ran: there is nothing to draw.
  assert conduct(place, what, dry=True) == 0
  assert not seen
  assert conduct(place, what) == 0
  path, quantities, xlabel, title = seen[0]
  assert path.read_bytes()[:4] == b'\x89PNG'
  assert xlabel == 'steps' and title.startswith('T: mean')
  line = quantities['MSE']['one']
  assert line.x == (2, 4)
  assert line.mean == (2.25, 3.75)
  assert line.std == pytest.approx((1.125**0.5, 3.125**0.5))
  assert f'figure: {path}' in capfd.readouterr().out


@pytest.mark.parametrize(
    'changes, words',
    [
        ({'figure': {'file': 'f.png'}}, "expected file and xlabel, found"),
        (
            {'figure': {'file': 'f.png', 'xlabel': 'x'},
             'rows': ({'title': 'narrow', 'method': 'a', 'x': 0},)},
            "'narrow': a figure needs its line and an x above 0, found None",
        ),
        (
            {'figure': {'file': 'f.png', 'xlabel': 'x'},
             'rows': ({'title': 'n', 'method': 'a', 'line': 'l', 'x': '1'},)},
            "an x above 0, found 'l' and '1'",
        ),
    ],
)
def test_a_figure_that_cannot_be_drawn_is_refused(place, changes, words):
  what = plan(place, tables=({**table(), 'columns': (
      {'title': 'MSE', 'way': 'x|y'},), 'rows': (
      {'title': 'narrow', 'method': 'a'},), **changes},))
  with pytest.raises(UserError, match=words):
    conduct(place, what)


def _values(*numbers: float) -> study.Values:
  return {(('seed', i),): number for i, number in enumerate(numbers)}


def test_the_tests_of_differences_are_exact():
  # All 2^5 signs are as likely: two of them are as extreme.
  found = study.difference(
      _values(1, 2, 3, 4, 5), _values(1.5, 3, 4.6, 6, 7.7), 'lower'
  )
  assert found and found.better == found.n == 5
  assert found.sign == found.wilcoxon == pytest.approx(2 / 32)
  # One win of the least rank against six: W = 1 has two of 2^7 below or at it.
  found = study.difference(
      _values(1, 12, 13, 14, 15, 16, 17), _values(2, 10, 10, 10, 10, 10, 10),
      'lower',
  )
  assert found and found.better == 1
  assert found.sign == pytest.approx(2 * (1 + 7) / 128)
  assert found.wilcoxon == pytest.approx(2 * 2 / 128)


def test_differences_need_pairs():
  first = _values(1, 2, 3)
  later: study.Values = {(('seed', 2),): 5.0, (('seed', 9),): 1.0}
  assert study.difference(first, _values(), 'lower') is None
  found = study.difference(first, later, 'higher')
  assert found == (-2, None, 1, 0, None, None)
  equal = _values(1, 2, 3, 4, 5)
  assert study.difference(equal, equal, 'lower') == (0, 0, 5, 0, None, None)


@pytest.mark.parametrize(
    'mean, std, shown',
    [
        (0.4251, None, '0.425'), (0.4251, 0.0123, '0.425±0.012'),
        (37.84, 9.61, '37.8±9.6'), (1234.5, 10, '1234±10'),
        (0.00251, 0.0001, '0.00251±0.00010'), (0, 0.01, '0.0000±0.0100'),
        (2.5e-5, 1e-6, '2.50e-05±1.00e-06'), (0, None, '0'),
        (-3.551, 0.4, '-3.55±0.40'), (1.3512, 0.0021, '1.351±0.002'),
        (1.35, 1e-9, '1.3500±0.0000'),
    ],
)
def test_numbers_have_three_digits(mean, std, shown):
  assert study.number(mean, std) == shown


def test_a_path_that_is_not_there_is_named(place, capfd):
  what = plan(
      place, over={'seed': (0, 1)},
      tables=(table(path=('{way}', 'ridge', 'MSE')),),
  )
  assert conduct(place, what) == 2
  error = capfd.readouterr().err
  assert error.count('error: ') == 1
  assert f'{place}/out/a/seed=0/metrics.json: x|y/ridge/MSE' in error
  assert "expected the key 'ridge', found ['model'] in x|y" in error


@pytest.mark.parametrize(
    'path, message',
    [
        (('b',), r"the key 'b', found \['a'\] in the file"),
        (('a', 'c', 'd'), "the key 'd', found 'text' in a/c"),
        (('a', 'c'), "a finite number, found 'text'"),
        (('a', 'nan'), 'a finite number, found nan'),
        (('a',), 'a finite number, found {'),
    ],
)
def test_a_place_without_a_number_is_named(path, message):
  metrics = {'a': {'c': 'text', 'nan': float('nan')}}
  with pytest.raises(UserError, match=message):
    study.pick(metrics, path, 'm.json')


@pytest.mark.parametrize('name', ['metrics.json', 'study.json'])
def test_a_file_that_is_cut_is_named(place, name):
  assert conduct(place, plan(place)) == 0
  path = place / 'out/a' / name
  path.write_text(path.read_text()[:-9])
  with pytest.raises(UserError, match=f'{name}: content: .*Delete .*study.js'):
    conduct(place, plan(place))


@pytest.mark.parametrize(
    'changes, message',
    [
        ({'run': '{metod}'}, "cell .'X|Y', 'ours'. needs 'metod'"),
        ({'run': 'c'}, r"of the run 'c', expected one of \['a'\]"),
        ({'columns': ({'title': 'ours', 'method': 'a'},) * 2}, 'two cells'),
        ({'best': (('ours', 'X|Y'),)}, 'best: expected titles'),
        ({'compare': (('ours', 'his'),)}, 'compare: .* found .*his'),
        (
            {'columns': ({'title': 'his', 'method': 'a'},)},
            r"paper of 'X\|Y': expected columns of \['his'\]",
        ),
    ],
)
def test_a_wrong_table_is_named_before_anything_runs(place, changes, message):
  with pytest.raises(UserError, match=message):
    conduct(place, plan(place, tables=(table(**changes),)))
  assert not calls(place)


def test_the_time_left_follows_from_the_finished(place):
  run, = study.expand(plan(place), place)
  board = study.Board(6, 2, study.rich.console.Console(quiet=True))
  assert board.status([3]) == '1 running'
  board.done(run, 100)
  board.done(run, 200)
  board.failed(run, study.Failure(2, ''))
  # Three are left of 150 s, one of them since 30 s, on two processes.
  assert board.status([30, 0]) == '2 running, 1 failed, about 3 min 30 s left'


def test_the_command_line(place):
  what = plan(place, over={'seed': (0, 1)})
  (place / 'plan.py').write_text(
      'import ml_collections\n'
      'def get_config(variant=""):\n'
      f'  return ml_collections.ConfigDict({what})'
  )
  done = subprocess.run(
      [sys.executable, '-m', 'diffax.study', f'--config={place}/plan.py',
       f'--workdir={place}/out', '--print', '--config.over.seed=(4, 5, 6)'],
      cwd=ROOT, capture_output=True, text=True, timeout=120,
  )
  assert done.returncode == 0, done.stderr
  assert '0 of 3 runs are finished' in done.stdout


def paper(variant):
  from experiments import lambda_tables
  return lambda_tables.get_config(variant).to_dict()


TABLES = 'table1,table3,table4,table5,table6,table7,table8'


@pytest.mark.parametrize(
    'variant', [f'{TABLES},embry', f'smoke,rbds,{TABLES}', 'table2,budget']
)
def test_the_papers_tables_name_runs_that_can_be_built(variant):
  what = paper(variant)
  rows = [row['name'] for row in what['runs']]
  used = {
      place.row for each in what['tables']
      for place in study.places(each, rows).values()
  }
  assert used == set(rows)
  runs = study.expand(what, pathlib.Path('w'))
  for run in runs[:len(rows)]:
    study.resolve(run)


def test_the_papers_numbers_stand_beside_its_data_alone():
  def count(variant):
    return sum(
        len(row.get('paper', {})) for each in paper(variant)['tables']
        for row in each['rows']
    )

  # 6 x 6, 2 x 5 x 6, 6 x 4, 4 x 2, 2 x 6, 2 x 7, 3 x 2.
  assert count(TABLES) == 36 + 60 + 24 + 8 + 12 + 14 + 6
  assert count(f'{TABLES},rbds') == 0
  assert count('table2') == 2 * 12


@pytest.mark.parametrize(
    'variant', ['table1,table2', 'table1,rbds,embry', 'rbds', 'table9']
)
def test_tables_that_do_not_go_together_are_refused(variant):
  with pytest.raises(KeyError):
    paper(variant)
