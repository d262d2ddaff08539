"""What is fit to start, and what is refused with host and field named."""

import contextlib
import json
import os
import pathlib
import subprocess
import sys

import jax
import ml_collections
import numpy as np
import preflight
import pytest

from diffax.errors import UserError

ROOT = pathlib.Path(preflight.__file__).parents[1]
CARD = f'{ROOT}/experiments/imu_synthetic.py:smoke'
pytestmark = pytest.mark.filterwarnings('ignore:the load_module')


def facts(**changes):
  return {'host': 'a', 'jax': '1', 'config': 'x', 'speed': '9', **changes}


def test_equal_facts_are_fit():
  assert preflight.compare([facts(), facts(host='b', speed='7')]) == []


@pytest.mark.parametrize('other, line', [
    ({'jax': '2'},
     'b (process 1): jax: expected 1, as a (process 0) has, found 2'),
    ({'data': preflight.Bad('no such file')},
     'b (process 1): data: no such file'),
    ({'scipy': '3'},
     'b (process 1): scipy: expected nothing, as a (process 0) has, found 3'),
])
def test_what_differs_is_named_with_host_and_field(other, line):
  found = preflight.compare([facts(), facts(host='b', **other)])
  assert found == [line]


def test_a_fault_of_the_first_is_not_told_of_the_others():
  first = facts(data=preflight.Bad('gone'))
  found = preflight.compare([first, facts(data='hash')])
  assert found == ['a (process 0): data: gone']


def test_batches_have_one_hash_whatever_the_order_of_names():
  x, y = np.arange(4.0), np.ones((2, 2), np.int32)
  expected = preflight.batch_hash([{'x': x, 'y': y}])
  assert preflight.batch_hash([{'y': y, 'x': x.copy()}]) == expected
  changed = x.copy()
  changed[3] = np.nextafter(3, 4)
  others = [
      {'x': changed, 'y': y}, {'x': x.astype(np.float32), 'y': y},
      {'x': x, 'y': y.reshape(4)}, {'z': x, 'y': y},
  ]
  hashes = {preflight.batch_hash([other]) for other in others}
  assert len(hashes) == 4 and expected not in hashes


def test_configs_differ_by_one_override():
  config = ml_collections.ConfigDict({'a': {'b': 1}, 'c': (1, 2)})
  before = preflight.config_hash(config)
  assert preflight.config_hash(config.copy_and_resolve_references()) == before
  config.a.b = 2
  assert preflight.config_hash(config) != before


def test_versions_hold_the_source_and_what_changes_numbers(monkeypatch):
  monkeypatch.setenv('JAX_ENABLE_X64', '1')
  monkeypatch.setattr(preflight, 'PACKAGES', ('jax', 'no-such-package'))
  found = preflight.versions()
  assert found['jax'] == jax.__version__
  assert found['no-such-package'] == 'absent'
  assert found['JAX_ENABLE_X64'] == '1'
  assert len(found['diffax source']) == 32


@pytest.mark.parametrize('expected, named', [
    ((1, 8, 'cpu'), None),
    ((2, None, None), 'processes: expected 2, found 1'),
    ((None, 16, None), 'devices: expected 16, found 8'),
    ((None, None, 'gpu'), 'platform: expected gpu, found cpu'),
])
def test_expected_numbers_are_checked(expected, named):
  found = preflight.counts(*expected)
  assert [named] == [x.partition('): ')[2] for x in found] if named else (
      found == []
  )


def test_tasks_of_slurm_that_did_not_join_are_noticed(monkeypatch):
  monkeypatch.setenv('SLURM_STEP_NODELIST', 'n[1-2]')
  monkeypatch.setenv('SLURM_NTASKS', '2')
  assert 'expected 2, found 1' in preflight.counts(None, None, None)[0]


def test_sums_and_gathers_over_eight_devices_are_right(monkeypatch):
  assert preflight.collectives() == 'right'
  monkeypatch.setattr(jax, 'device_count', lambda: 7)
  with contextlib.suppress(UserError):
    assert isinstance(preflight.collectives(), preflight.Bad)


def test_marks_survive_the_exchange():
  given = {'host': 'a', 'data': preflight.Bad('gone')}
  (found,) = preflight.exchange(given)
  assert found == given
  assert isinstance(found['data'], preflight.Bad)
  assert not isinstance(found['host'], preflight.Bad)


def test_the_workdir_is_written_and_left_clean(tmp_path):
  found = preflight.write_and_look(tmp_path / 'run', 1)
  assert found['workdir'] == 'written and seen by all'
  assert found['speed'].endswith('MiB/s')
  assert list((tmp_path / 'run').iterdir()) == []


def test_a_workdir_that_cannot_be_written_is_bad(tmp_path):
  (tmp_path / 'run').write_text('a file in the way')
  found = preflight.write_and_look(tmp_path / 'run', 1)
  assert isinstance(found['workdir'], preflight.Bad)
  assert 'expected to write' in found['workdir']


def test_a_file_that_others_do_not_see_is_bad(tmp_path, monkeypatch):
  monkeypatch.setattr(preflight, '_LOOKED_FOR', 0.1)
  (tmp_path / '7-0').touch()
  wrong = preflight._look([tmp_path / '7-0', tmp_path / '7-1'])
  assert 'none of process 1' in wrong and 'share' in wrong
  (tmp_path / '7-1').touch()
  assert preflight._look([tmp_path / '7-0', tmp_path / '7-1']) is None


def run(*arguments, **env):
  return subprocess.run(
      [sys.executable, *map(str, arguments)], cwd=ROOT, capture_output=True,
      text=True, timeout=200,
      env={**os.environ, 'PYTHONPATH': str(ROOT), **env},
  )


# Stands for preflight.py on two hosts, the second of which has other data.
OTHER = '''
import os, sys
sys.path.insert(0, {folder!r})
import preflight
if os.environ['JAX_PROCESS_ID'] == '1':
  preflight.data_hashes = lambda config: {{'data of diffusion': 'other'}}
  preflight.socket.gethostname = lambda: 'second'
sys.exit(preflight.main(sys.argv[1:]))
'''


def test_two_processes_with_other_data_are_refused(tmp_path):
  program = tmp_path / 'other.py'
  program.write_text(OTHER.format(folder=str(ROOT / 'launch')))
  done = run(
      ROOT / 'launch/local_processes.py', 2, '--', sys.executable, program,
      '--megabytes=1', '--processes=2', '--', f'--config={CARD}',
      f'--workdir={tmp_path}/run',
  )
  assert done.returncode == 2, done.stdout
  lines = [x for x in done.stdout.splitlines() if 'error: ' in x]
  assert len(lines) == 1
  assert lines[0].startswith(
      '[0] error: second (process 1): data of diffusion: expected '
  )
  assert 'found other' in lines[0]
  assert 'not fit to start' in done.stdout


def test_who_waits_for_others_in_vain_is_refused(tmp_path):
  done = run(
      ROOT / 'launch/preflight.py', '--wait=1', '--', f'--config={CARD}',
      f'--workdir={tmp_path}', JAX_COORDINATOR_ADDRESS='localhost:1',
      JAX_NUM_PROCESSES='2', JAX_PROCESS_ID='1',
  )
  assert done.returncode == 2, done.stderr
  assert 'processes: coming together: expected within 1 s' in done.stderr


@pytest.mark.parametrize('arguments, named', [
    (['--', f'--config={CARD}'], '--workdir'),
    (['--', f'--config={CARD}', '--config.nonsense=1'], 'nonsense'),
])
def test_flags_of_the_training_are_checked(arguments, named, capsys):
  with pytest.raises(SystemExit) as caught:
    preflight.main(arguments)
  assert caught.value.code == 2
  assert named in capsys.readouterr().err


@pytest.mark.slow
def test_one_and_two_processes_are_fit_within_a_minute(tmp_path):
  for count in (1, 2):
    done = run(
        ROOT / 'launch/local_processes.py', count, '--', sys.executable,
        ROOT / 'launch/preflight.py', '--', f'--config={CARD}',
        f'--workdir={tmp_path}/run',
    )
    assert done.returncode == 0, done.stdout
    assert f'{count} processes with {count} devices' in done.stdout
    print(json.dumps(done.stdout.splitlines()[-2:]))
