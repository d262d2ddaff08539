"""The SLURM script, with programs of the same names that stand for SLURM's."""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from diffax.train import checkpoint

ROOT = pathlib.Path(__file__).parents[2]
HERE = pathlib.Path(__file__).parent
SCRIPT = ROOT / 'launch' / 'slurm.sbatch'

# Leaves with the statuses that the test wants.
PYTHON = '''
echo "$SLURM_PROCID ${JAX_LOCAL_DEVICE_IDS:-any} $*" >> "$CALLS"
case $1 in launch/preflight.py) exit "${FIRST:-0}" ;; esac
exit "${SECOND:-0}"
'''


def place(folder, python, launch=True):
  """Fill a folder with stand-ins, and return the variables of a job there."""
  scripts = {
      'srun': f'exec {sys.executable} {HERE}/slurm.py "$@"',
      'scontrol': f'echo "scontrol $*" >> {folder}/calls',
      'python': python,
  }
  for name, text in scripts.items():
    path = folder / 'bin' / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f'#!/bin/bash\n{text}\n')
    path.chmod(0o755)
  if launch:
    shutil.copytree(ROOT / 'launch', folder / 'launch')
  return {
      **os.environ, 'PATH': f'{folder}/bin:{os.environ["PATH"]}',
      'CALLS': f'{folder}/calls', 'SLURM_SUBMIT_DIR': str(folder),
      'SLURM_JOB_ID': str(job()), 'SLURM_NTASKS': '2', 'PYTHONPATH': str(ROOT),
  }


def job():
  """Return a number of a job whose port, as JAX computes it, is free."""
  for number in range(1000, 5096):
    with socket.socket() as probe:
      try:
        probe.bind(('localhost', number % 4096 + 61440))
        return number
      except OSError:
        continue
  raise AssertionError('no port is free')


def run(folder, env, *flags, **more):
  done = subprocess.run(
      ['bash', str(SCRIPT), *flags], env={**env, **more}, capture_output=True,
      text=True, timeout=120,
  )
  calls = folder / 'calls'
  lines = calls.read_text().splitlines() if calls.is_file() else []
  return done, sorted(lines)


FLAGS = '--config=f.py', '--workdir=/shared/a b'


def test_the_check_comes_first_and_flags_pass_through(tmp_path):
  done, calls = run(tmp_path, place(tmp_path, PYTHON), *FLAGS)
  assert done.returncode == 0, done.stderr
  flags = '--config=f.py --workdir=/shared/a b'
  assert calls == [
      f'{k} any {what} {flags}' for k in range(2)
      for what in ('-m diffax.main', 'launch/preflight.py --')
  ]


@pytest.mark.parametrize('status, queued', [
    (0, False), (75, True), (2, False), (1, False), (143, False),
])
def test_only_what_was_saved_goes_back_into_the_queue(
    tmp_path, status, queued
):
  env = place(tmp_path, PYTHON)
  done, calls = run(
      tmp_path, env, *FLAGS, SECOND=str(status), PREFLIGHT='0', SLURM_NTASKS='1'
  )
  assert done.returncode == status
  asked = [line for line in calls if line.startswith('scontrol')]
  assert asked == [f'scontrol requeue {env["SLURM_JOB_ID"]}'] * queued


def test_a_refusal_of_the_check_is_status_2_and_nothing_starts(tmp_path):
  env = place(tmp_path, PYTHON)
  done, calls = run(tmp_path, env, *FLAGS, FIRST='2')
  assert done.returncode == 2
  assert not [line for line in calls if 'diffax.main' in line]
  assert not [line for line in calls if 'scontrol' in line]


@pytest.mark.parametrize('tasks, gpus, seen', [
    ('1', '4', '0,1,2,3'), ('4', '4', 'any'), ('1', '1', '0'), ('1', '', 'any'),
])
def test_one_task_per_node_has_all_its_gpus(tmp_path, tasks, gpus, seen):
  more = {'SLURM_GPUS_ON_NODE': gpus} if gpus else {}
  _, calls = run(
      tmp_path, place(tmp_path, PYTHON), *FLAGS, PREFLIGHT='0',
      SLURM_NTASKS_PER_NODE=tasks, **more
  )
  assert [line.split()[1] for line in calls] == [seen] * 2


@pytest.mark.parametrize('flags, launch, named', [
    (['--config=f.py'], True, '--workdir'),
    (FLAGS, False, 'in the folder of diffax'),
])
def test_mistakes_are_named(tmp_path, flags, launch, named):
  done, calls = run(tmp_path, place(tmp_path, PYTHON, launch), *flags)
  assert done.returncode == 2
  assert named in done.stderr and not calls


def test_the_script_asks_for_what_resuming_needs():
  options = [
      line.split()[1] for line in SCRIPT.read_text().splitlines()
      if line.startswith('#SBATCH')
  ]
  needed = {'--requeue', '--signal=TERM@120', '--open-mode=append'}
  assert needed <= set(options)


def test_tasks_find_each_other_save_at_a_sigterm_and_are_requeued(tmp_path):
  """Two processes with nothing but SLURM's variables train, stop, resume."""
  options = json.dumps(
      {'every': 5, 'delay': 0.02, 'sharing': {'fsdp': 2, 'least': 1}}
  )
  env = place(tmp_path, (
      f'exec {sys.executable} {ROOT}/tests/train/run_wide.py '
      f"{tmp_path}/run 1000000 '{options}'"
  ))
  env.update(PREFLIGHT='0', JAX_NUM_CPU_DEVICES='1')
  process = subprocess.Popen(
      ['bash', str(SCRIPT), *FLAGS], env=env, text=True,
      stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
  )
  try:
    end = time.monotonic() + 240
    while not checkpoint.steps(tmp_path / 'run'):
      assert process.poll() is None, process.communicate()[0]
      assert time.monotonic() < end
      time.sleep(0.05)
    # As the daemon does: to the tasks and not to the script.
    children = pathlib.Path(f'/proc/{process.pid}/task/{process.pid}/children')
    os.kill(int(children.read_text().split()[0]), signal.SIGTERM)
    said, _ = process.communicate(timeout=240)
  finally:
    process.kill()
  assert process.returncode == 75, said
  assert 'stopped and saved at step' in said
  names = {p.name for p in (tmp_path / 'run').rglob('ocdbt.process*')}
  assert names == {'ocdbt.process_0', 'ocdbt.process_1'}
  calls = (tmp_path / 'calls').read_text()
  assert calls == f'scontrol requeue {env["SLURM_JOB_ID"]}\n'
