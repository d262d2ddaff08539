"""The shell scripts, the JobSet and the image, as far as they run here."""

import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[2]
LAUNCH = ROOT / 'launch'
SCRIPTS = sorted([*LAUNCH.glob('*.sh'), *LAUNCH.glob('*.sbatch')])
TABLE = re.compile(r'^\| `?(\w+)`? \|', re.M)


@pytest.mark.parametrize('path', SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_bash_and_stop_at_a_mistake(path):
  subprocess.run(['bash', '-n', str(path)], check=True)
  # install.sh is read by the others.
  if path.name != 'install.sh':
    assert re.search('^set -euo pipefail$', path.read_text(), re.M)


@pytest.mark.skipif(not shutil.which('shellcheck'), reason='needs shellcheck')
def test_shellcheck_has_nothing_to_say():
  done = subprocess.run(
      ['shellcheck', '-x', '-s', 'bash', *map(str, SCRIPTS)], cwd=ROOT,
      capture_output=True, text=True,
  )
  assert done.returncode == 0, done.stdout


def test_every_file_is_in_the_readme_and_the_statuses_too():
  said = (LAUNCH / 'README.md').read_text()
  ignored = {'README.md', '__pycache__'}
  for path in LAUNCH.iterdir():
    assert path.name in ignored or path.name in said, path.name
  assert set(TABLE.findall(said)) >= {'0', '75', '2', 'other'}


@pytest.fixture
def cloud(tmp_path):
  """A function that runs tpu_pod.sh and returns the calls of gcloud."""
  program = tmp_path / 'gcloud'
  program.write_text(
      '#!/usr/bin/env python3\nimport json, sys\n'
      f'with open({str(tmp_path / "calls")!r}, "a") as file:\n'
      '  file.write(json.dumps(sys.argv[1:]) + "\\n")\n'
  )
  program.chmod(0o755)

  def call(*arguments, **env):
    done = subprocess.run(
        ['bash', str(LAUNCH / 'tpu_pod.sh'), *arguments], capture_output=True,
        text=True, timeout=200, env={
            'PATH': f'{tmp_path}:{os.environ["PATH"]}', 'TPU': 'pod',
            'ZONE': 'zone', **env,
        },
    )
    calls = tmp_path / 'calls'
    lines = calls.read_text().splitlines() if calls.is_file() else []
    calls.unlink(missing_ok=True)
    return done, [json.loads(line) for line in lines]

  return call


def _commands(calls):
  return [
      word.removeprefix('--command=') for call in calls for word in call
      if word.startswith('--command=')
  ]


PLACE = ['--zone=zone']


def test_machines_are_made_and_given_back(cloud):
  done, calls = cloud('create', 'v4-32', SPOT='1', PROJECT='mine')
  assert done.returncode == 0, done.stderr
  (call,) = calls
  assert call[:5] == ['compute', 'tpus', 'tpu-vm', 'create', 'pod']
  assert {'--accelerator-type=v4-32', '--spot', '--zone=zone',
          '--project=mine'} <= set(call)
  _, calls = cloud('delete')
  assert calls == [
      ['compute', 'tpus', 'tpu-vm', 'delete', 'pod', '--quiet', *PLACE]
  ]


def test_the_folder_goes_to_every_machine_and_is_installed(cloud):
  done, (copy, install) = cloud('sync')
  assert done.returncode == 0, done.stderr
  assert copy[3] == 'scp' and '--worker=all' in copy
  (command,) = _commands([install])
  assert 'constraints.txt' in command and 'jax[tpu]' in command
  subprocess.run(['bash', '-n', '-c', command], check=True)


@pytest.mark.parametrize('check, status', [('1', 2), ('1', 0), ('0', 0)])
def test_what_runs_on_a_machine_outlives_the_terminal(
    cloud, tmp_path, check, status
):
  flags = '--config=f.py', '--workdir=/mnt/a b', "--config.x=('y',)"
  _, calls = cloud('run', *flags, PREFLIGHT=check, MOUNT='touch mounted')
  assert '--worker=all' in calls[0]
  (command,) = _commands(calls)
  # The machine: its Python says how it was called.
  python = tmp_path / 'diffax/.venv/bin/python'
  python.parent.mkdir(parents=True)
  python.write_text(
      '#!/bin/bash\nprintf "%s|" "$DIFFAX_PROCESSES" "$@"\necho\n'
      f'case $1 in launch/*) exit {status} ;; esac\nexit 75\n'
  )
  python.chmod(0o755)
  subprocess.run(['bash', '-c', command], cwd=tmp_path, check=True)
  place = tmp_path / 'diffax'
  for _ in range(200):
    if (place / 'status').is_file() and (place / 'status').read_text():
      break
    subprocess.run(['sleep', '0.05'], check=True)
  assert (tmp_path / 'mounted').exists()
  assert (place / 'status').read_text() == f'{status or 75}\n'
  assert (place / 'pid').read_text().strip().isdigit()
  theirs = '|'.join(flags)
  lines = (place / 'log.txt').read_text().splitlines()
  checked = f'auto|launch/preflight.py|--platform=tpu|--|{theirs}|'
  started = f'auto|-m|diffax.main|{theirs}|'
  assert lines == [checked] * (check == '1') + [started] * (not status)


def test_logs_status_and_stop_are_of_the_machines(cloud):
  _, calls = cloud('logs', WORKER='3')
  assert '--worker=3' in calls[0]
  assert 'tail' in _commands(calls)[0]
  for action in ('status', 'stop'):
    _, calls = cloud(action)
    assert '--worker=all' in calls[0]
  assert 'kill $(cat diffax/pid)' in _commands(calls)


@pytest.mark.parametrize('arguments, env, named', [
    (['run', '--config=f.py'], {}, '--workdir'),
    (['create'], {}, 'kind of TPU'),
    (['logs'], {'ZONE': ''}, 'TPU and ZONE'),
    (['fly'], {}, ''),
])
def test_mistakes_end_with_status_2(cloud, arguments, env, named):
  done, calls = cloud(*arguments, **env)
  assert done.returncode == 2
  assert named in done.stderr and not calls


def test_a_dry_run_prints_and_calls_nothing(cloud):
  done, calls = cloud('sync', DRY='1')
  assert done.returncode == 0 and not calls
  assert done.stdout.count('gcloud compute tpus tpu-vm') == 2


@pytest.fixture(scope='module')
def jobset():
  """The manifest, its job and its container."""
  whole = yaml.safe_load((LAUNCH / 'gke/jobset.yaml').read_text())
  (workers,) = whole['spec']['replicatedJobs']
  job = workers['template']['spec']
  (container,) = job['template']['spec']['containers']
  return whole, workers, job, container


def test_the_jobset_fails_at_2_and_restarts_at_75(jobset):
  whole, _, job, container = jobset
  assert whole['apiVersion'] == 'jobset.x-k8s.io/v1alpha2'
  assert whole['kind'] == 'JobSet'
  (rule,) = job['podFailurePolicy']['rules']
  assert rule['action'] == 'FailJob'
  assert rule['onExitCodes'] == {
      'containerName': container['name'], 'operator': 'In', 'values': [2]
  }
  # Only then does that status fail the set; others start it anew.
  policy = whole['spec']['failurePolicy']
  (whole_rule,) = policy['rules']
  assert whole_rule['action'] == 'FailJobSet'
  assert whole_rule['onJobFailureReasons'] == ['PodFailurePolicy']
  assert policy['maxRestarts'] > 10 and job['backoffLimit'] == 0
  # Kubernetes demands it of a podFailurePolicy.
  assert job['template']['spec']['restartPolicy'] == 'Never'
  assert job['template']['spec']['terminationGracePeriodSeconds'] >= 30


def test_the_processes_of_the_jobset_find_each_other(jobset):
  whole, workers, job, container = jobset
  env = {item['name']: item for item in container['env']}
  count = int(env['JAX_NUM_PROCESSES']['value'])
  assert job['parallelism'] == job['completions'] == count
  assert job['completionMode'] == 'Indexed'
  name = whole['metadata']['name']
  host, port = env['JAX_COORDINATOR_ADDRESS']['value'].split(':')
  assert host == f'{name}-{workers["name"]}-0-0.{name}'
  assert whole['spec']['network']['enableDNSHostnames'] is True
  assert int(port) in {x['containerPort'] for x in container['ports']}
  path = env['JAX_PROCESS_ID']['valueFrom']['fieldRef']['fieldPath']
  assert 'job-completion-index' in path
  mounts = {x['name']: x['mountPath'] for x in container['volumeMounts']}
  (workdir,) = [x for x in container['args'] if x.startswith('--workdir=')]
  assert workdir.startswith(f'--workdir={mounts["shared"]}/')


def test_the_image_holds_what_the_lock_says_and_hands_signals_on():
  lines = (LAUNCH / 'Dockerfile').read_text().replace('\\\n', ' ')
  steps = [x.split(maxsplit=1) for x in lines.splitlines()
           if x and not x.startswith('#')]
  install = [text for word, text in steps if word == 'RUN' and 'pip' in text]
  assert len(install) == 1
  assert '--constraint launch/constraints.txt' in install[0]
  for word, text in steps:
    if word == 'COPY':
      for source in text.split()[:-1]:
        assert (ROOT / source).exists(), source
  (entry,) = [text for word, text in steps if word == 'ENTRYPOINT']
  # Without a shell in between, which would keep the signal.
  assert json.loads(entry) == ['bash', 'launch/container.sh']
  start = (LAUNCH / 'container.sh').read_text()
  assert start.splitlines()[-1] == 'exec python -m diffax.main "$@"'


@pytest.mark.parametrize('first, flags, status, calls', [
    ('0', ['--workdir=/w'], 75, 2), ('3', ['--workdir=/w'], 2, 1),
    ('3', [], 75, 1),
])
def test_the_container_checks_and_then_becomes_the_run(
    tmp_path, first, flags, status, calls
):
  python = tmp_path / 'python'
  python.write_text(
      f'#!/bin/bash\necho "$*" >> {tmp_path}/calls\n'
      f'case $1 in launch/*) exit {first} ;; esac\nexit 75\n'
  )
  python.chmod(0o755)
  done = subprocess.run(
      ['bash', str(LAUNCH / 'container.sh'), *flags],
      env={'PATH': f'{tmp_path}:{os.environ["PATH"]}'},
  )
  assert done.returncode == status
  assert len((tmp_path / 'calls').read_text().splitlines()) == calls
