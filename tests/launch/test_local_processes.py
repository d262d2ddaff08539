"""The launcher: variables, output, signals and the status of the whole."""

import pathlib
import signal
import subprocess
import sys
import time

import local_processes
import pytest

PROGRAM = pathlib.Path(local_processes.__file__)


def launch(code, count=2, **options):
  """Run Python code as processes; it knows its number as `k`."""
  code = (
      f'import os, signal, sys, time\nk = int(os.environ["JAX_PROCESS_ID"])\n'
      f'{code}'
  )
  return local_processes.run((sys.executable, '-c', code), count, **options)


def test_processes_know_each_other_and_lines_name_them(capsys):
  code = (
      'names = "PROCESS_ID", "NUM_PROCESSES", "NUM_CPU_DEVICES"\n'
      'print(*(os.environ["JAX_" + name] for name in names))\n'
      'print(os.environ["JAX_COORDINATOR_ADDRESS"], file=sys.stderr)\n'
  )
  assert launch(code, 3, devices=2) == 0
  lines = sorted(capsys.readouterr().out.splitlines())
  addresses = {x.split()[1] for x in lines if 'localhost' in x}
  assert len(lines) == 6 and len(addresses) == 1
  assert [x for x in lines if 'localhost' not in x] == [
      '[0] 0 3 2', '[1] 1 3 2', '[2] 2 3 2'
  ]


def test_ports_are_free_and_differ():
  ports = {local_processes.free_port() for _ in range(5)}
  assert len(ports) > 1 and all(1024 <= port < 2**16 for port in ports)


@pytest.mark.parametrize('code, status', [
    ('', 0),
    ('sys.exit(75)', 75),
    ('time.sleep(k); sys.exit(2 if k == 0 else 1)', 2),
    ('sys.exit(3 if k == 1 else time.sleep(60))', 3),
    ('os.kill(os.getpid(), 9) if k else time.sleep(60)', 137),
])
def test_the_first_bad_status_is_that_of_all(code, status):
  begun = time.monotonic()
  assert launch(code) == status
  assert time.monotonic() - begun < 30


def test_who_does_not_listen_is_killed():
  code = (
      'signal.signal(signal.SIGTERM, signal.SIG_IGN)\n'
      'time.sleep(0.5 if k else 60)\n'
      'sys.exit(5)'
  )
  begun = time.monotonic()
  assert launch(code, grace=0.5) == 5
  assert time.monotonic() - begun < 30


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_signals_are_passed_on(number):
  code = (
      'import signal, sys, time\n'
      'def leave(*_): print("told"); sys.exit(75)\n'
      'for each in (signal.SIGTERM, signal.SIGINT):\n'
      '  signal.signal(each, leave)\n'
      'print("ready"); time.sleep(60)'
  )
  process = subprocess.Popen(
      [sys.executable, str(PROGRAM), '2', '--', sys.executable, '-c', code],
      stdout=subprocess.PIPE, text=True,
  )
  said = {process.stdout.readline() for _ in range(2)}
  assert said == {'[0] ready\n', '[1] ready\n'}
  process.send_signal(number)
  rest, _ = process.communicate(timeout=200)
  assert process.returncode == 75
  # Both are told, or one by the other's end.
  assert sorted(rest.splitlines()) == ['[0] told', '[1] told']


@pytest.mark.parametrize('arguments, named', [
    (['0', '--', 'true'], 'at least 1'),
    (['2'], 'command'),
    (['1', '--', '/no/such/program'], 'cannot start'),
])
def test_mistakes_end_with_status_2(arguments, named, capsys):
  with pytest.raises(SystemExit) as caught:
    local_processes.main(arguments)
  assert caught.value.code == 2
  assert named in capsys.readouterr().err
