"""Sweeps: rows, values and columns, processes and jobs, one table."""

import importlib.util
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
import sweep

from diffax import study
from diffax.errors import UserError

ROOT = pathlib.Path(sweep.__file__).parents[1]
pytestmark = pytest.mark.filterwarnings('ignore:the load_module')
needs_submitit = pytest.mark.skipif(
    importlib.util.find_spec('submitit') is None, reason='needs submitit'
)

CARD = '''
import ml_collections
def get_config(variant=''):
  return ml_collections.ConfigDict({
      'seed': 0, 'act': 'good', 'data': {'fold': 0}, 'rate': 1.5, 'size': 1,
  })
'''

# Stands for diffax.main: error = rate * size + seed + 10 fold.
FAKE = '''
import json, os, pathlib, signal, sys, time
given = dict(x[2:].split('=', 1) for x in sys.argv[1:])
folder = pathlib.Path(given['workdir'])
def leave(*unused):
  (folder / 'saved').touch()
  sys.exit(75)
signal.signal(signal.SIGTERM, leave)
with (folder / 'calls').open('a') as file:
  file.write('x')
act = given.get('config.act', 'good')
if act == 'wait' and not (folder / 'saved').exists():
  (folder / 'waits').touch()
  time.sleep(60)
elif act.isdigit():
  sys.exit(int(act))
error = float(given.get('config.rate', 1.5)) * int(given.get('config.size', 1))
error += int(given['config.seed']) + 10 * int(given.get('config.data.fold', 0))
metrics = {'model': {'error': {'mean': error, 'std': 9}, 'n': 4, 'word': 'x'},
           'hits': 2 * error, 'none': None}
(folder / 'metrics.json').write_text(json.dumps(metrics))
'''


@pytest.fixture
def place(tmp_path, monkeypatch):
  (tmp_path / 'card.py').write_text(CARD)
  (tmp_path / 'fake.py').write_text(FAKE)
  monkeypatch.syspath_prepend(str(ROOT))
  monkeypatch.setenv('PYTHONPATH', str(ROOT))
  monkeypatch.setattr(study, '_POLL', 0.01)
  return tmp_path


def run(place, *flags):
  flags = (f'--config={place}/card.py', f'--workdir={place}/out', *flags)
  return sweep.main(flags, (sys.executable, str(place / 'fake.py')))


def tables(place):
  (found,) = json.loads((place / 'out/tables.json').read_text())
  return found['rows']


@pytest.mark.parametrize('text, expected', [
    ('1e-4,3', (1e-4, 3)), ('a', ('a',)), ("True,'b'", (True, 'b')),
])
def test_values_are_plain(text, expected):
  assert sweep.values(text) == expected


@pytest.mark.parametrize('words', [['a'], ['a=1', 'a=2']])
def test_settings_are_pairs_each_once(words):
  with pytest.raises(UserError, match=r'--grid: expected KEY=VALUE once'):
    sweep.pairs(words, '--grid')


def test_rows_are_configs_times_the_grid():
  grid = {'optim.rate': (0.1, 0.2), 'width': ((8, 8),)}
  found = sweep.rows(['e/a.py:x,y', 'b.py'], grid, {'steps': 5})
  assert [row['name'] for row in found] == [
      'a-x-y-rate=0.1-width=_8__8_', 'a-x-y-rate=0.2-width=_8__8_',
      'b-rate=0.1-width=_8__8_', 'b-rate=0.2-width=_8__8_',
  ]
  assert found[1]['config'] == 'e/a.py:x,y'
  assert found[1]['set'] == {'steps': 5, 'optim.rate': 0.2, 'width': (8, 8)}


def test_numbers_are_found_in_order():
  metrics = {
      'b': {'x': {'mean': 1.0}, 'y': {'z': 2}}, 'a': 3, 'no': None,
      'word': 'x', 'flag': True, 'bad': float('nan'), 'with/slash': 4,
  }
  assert sweep.numbers(metrics) == ['b/x', 'b/y/z', 'a']


def test_a_sweep_ends_with_one_table(place, capsys):
  flags = (
      '--seeds=2', '--folds=2', '--grid', 'rate=1.5,2.5', '--set', 'size=2',
      '--metric', 'model/error', 'hits:higher', '--jobs=2',
  )
  assert run(place, *flags) == 0
  found = tables(place)
  assert list(found) == ['card-rate=1.5', 'card-rate=2.5']
  # 3 + {0, 1} + {0, 10}.
  cell = found['card-rate=1.5']['model/error']
  assert cell['mean'] == 8.5 and cell['n'] == 4
  assert sorted(run['value'] for run in cell['runs']) == [3, 4, 13, 14]
  assert found['card-rate=2.5']['hits']['mean'] == 21
  text = (place / 'out/tables.md').read_text()
  assert text.count('**') == 4
  best = [line for line in text.splitlines() if '**' in line]
  assert best[0].startswith('| card-rate=1.5 | **8.5')
  assert '**21' in best[1]
  # The same command again runs nothing.
  before = capsys.readouterr().out
  assert run(place, *flags) == 0
  assert 'done in' in before and 'done in' not in capsys.readouterr().out


def test_columns_are_found_where_none_is_named(place, capsys):
  assert run(place, '--seeds=2') == 0
  cells = tables(place)['card']
  assert list(cells) == ['model/error', 'model/n', 'hits']
  assert cells['hits']['mean'] == 4
  assert '3 of 3 metrics' in capsys.readouterr().out


@pytest.mark.parametrize('act, status', [('2', 2), ('7', 1)])
def test_a_run_that_fails_gives_the_status(place, act, status):
  assert run(place, '--seeds=1', '--set', f'act={act}') == status


@pytest.mark.parametrize('flags, named', [
    (['--grid', 'rate'], '--grid'),
    (['--grid', 'nonsense=1'], 'nonsense'),
    (['--metric', 'hits:best'], 'PATH:higher'),
    (['--jobs=0'], '--jobs'),
    (['--seeds=1', '--set', 'seed=3'], 'sets seed'),
])
def test_mistakes_are_one_line_and_status_2(place, flags, named, capsys):
  assert run(place, *flags) == 2
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith('error: ') and named in line


def test_submitit_is_asked_for_by_name(place, monkeypatch, capsys):
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
  assert run(place, '--seeds=1', '--slurm') == 2
  assert 'pip install' in capsys.readouterr().err


@needs_submitit
def test_jobs_give_the_table_that_processes_give(place):
  flags = '--seeds=2', '--metric', 'model/error', '--jobs=2'
  assert run(place, *flags, '--slurm', 'timeout_min=5', '--cluster=local') == 0
  cell = tables(place)['card']['model/error']
  assert cell['mean'] == 2 and cell['n'] == 2
  logs = [path.read_text() for path in (place / 'out').rglob('log.txt')]
  assert len(logs) == 2
  for log in logs:
    assert 'is submitted' in log and 'left with status 0' in log
  assert not list((place / 'out').rglob('slurm/job'))


@needs_submitit
def test_a_job_is_told_to_save_and_resumes(place):
  folder = place / 'out/card/seed=0'
  options = {
      'command': [sys.executable, str(place / 'fake.py')],
      'cluster': 'local', 'parameters': {'timeout_min': 5},
  }
  program = [
      sys.executable, str(ROOT / 'launch/job.py'), json.dumps(options),
      f'--config={place}/card.py', '--config.act=wait', '--config.seed=0',
      f'--workdir={folder}',
  ]
  process = subprocess.Popen(program, stdout=subprocess.PIPE, text=True)
  try:
    end = time.monotonic() + 240
    while not (folder / 'waits').exists():
      assert process.poll() is None, process.communicate()[0]
      assert time.monotonic() < end
      time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=200)
  finally:
    process.kill()
  assert process.returncode == 75, said
  assert (folder / 'saved').exists() and not (folder / 'slurm/job').exists()
  done = subprocess.run(program, capture_output=True, text=True, timeout=240)
  assert done.returncode == 0, done.stdout
  assert (folder / 'metrics.json').is_file()
  assert (folder / 'calls').read_text() == 'xx'


@needs_submitit
def test_a_job_that_runs_is_found_again_and_not_submitted_twice(place):
  folder = place / 'run'
  options = {
      'command': [sys.executable, '-c', 'import time; time.sleep(2)'],
      'cluster': 'local', 'parameters': {'timeout_min': 5},
  }
  program = [
      sys.executable, str(ROOT / 'launch/job.py'), json.dumps(options),
      f'--workdir={folder}',
  ]
  first = subprocess.Popen(program, stdout=subprocess.PIPE, text=True)
  said = first.stdout.readline()
  first.kill()
  first.communicate()
  assert 'is submitted' in said
  number = said.split()[1]
  # A local job is only known to who started it, so its end is awaited here.
  results = list((folder / 'slurm').glob('*_result.pkl'))
  end = time.monotonic() + 200
  while not results and time.monotonic() < end:
    time.sleep(0.1)
    results = list((folder / 'slurm').glob('*_result.pkl'))
  done = subprocess.run(program, capture_output=True, text=True, timeout=200)
  assert done.returncode == 0
  assert f'job {number} was submitted before' in done.stdout
  assert f'job {number} left with status 0' in done.stdout


class _Child:

  def __init__(self):
    self.said = []

  def terminate(self):
    self.said.append('terminate')

  def wait(self):
    self.said.append('wait')


@needs_submitit
def test_before_the_time_limit_a_job_saves_and_asks_for_more(tmp_path):
  import job

  training = job.Training(['a', '--b'], tmp_path / 'stop')
  training._child = child = _Child()
  delayed = training.checkpoint()
  assert child.said == ['terminate', 'wait']
  again = delayed.function
  assert again.command == ['a', '--b'] and again._child is None


@needs_submitit
def test_a_job_that_is_to_stop_does_not_start(tmp_path):
  import job

  (tmp_path / 'stop').touch()
  assert job.Training(['/no/such/program'], tmp_path / 'stop')() == 75


@pytest.mark.slow
def test_a_real_system_is_swept(tmp_path):
  flags = [
      f'--config={ROOT}/experiments/skeleton_quickstart.py:smoke',
      f'--workdir={tmp_path}', '--seeds=2', '--metric', 'model/ADE',
  ]
  done = subprocess.run(
      [sys.executable, str(ROOT / 'launch/sweep.py'), *flags], cwd=ROOT,
      env={**os.environ, 'PYTHONPATH': str(ROOT)}, capture_output=True,
      text=True, timeout=580,
  )
  assert done.returncode == 0, done.stdout
  (table,) = json.loads((tmp_path / 'tables.json').read_text())
  cell = table['rows']['skeleton_quickstart-smoke']['model/ADE']
  assert cell['n'] == 2
  print(cell)
