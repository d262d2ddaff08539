"""The loop: exact resuming, other devices, stopping, refusing."""

import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import threading
import time

import jax
import numpy as np
import pytest
import toy

from diffax.errors import UserError
from diffax.train import checkpoint
from diffax.train import devices
from diffax.train import log
from diffax.train import loop

PROGRAM = pathlib.Path(__file__).with_name('run_toy.py')
ROOT = PROGRAM.parents[2]


def _fit(workdir, steps, train=None, system=None, **changes):
  mesh = devices.mesh(jax.devices()[:2])
  arguments = {**toy.ARGUMENTS, 'mesh': mesh, **changes}
  return loop.fit(
      system or toy.system(), train or toy.train(), steps=steps,
      workdir=workdir, **arguments,
  )


def _assert_same(a, b):
  leaves = zip(
      jax.tree_util.tree_leaves_with_path(a), jax.tree.leaves(b), strict=True
  )
  for (path, x), y in leaves:
    name = jax.tree_util.keystr(path)
    assert x.dtype == y.dtype, name
    np.testing.assert_array_equal(x, y, err_msg=name)


def _rows(workdir):
  return (workdir / 'metrics.jsonl').read_text()


@pytest.fixture(scope='module')
def straight(tmp_path_factory):
  """Twelve steps without a break: the state and its folder."""
  workdir = tmp_path_factory.mktemp('straight')
  return _fit(workdir, 12), workdir


@pytest.mark.parametrize('pause', [1, 5, 8])
def test_a_resumed_run_equals_a_straight_one(straight, tmp_path, pause):
  state, workdir = straight
  _fit(tmp_path, pause)
  _assert_same(_fit(tmp_path, 12), state)
  assert _rows(tmp_path) == _rows(workdir)


def test_training_learns(tmp_path):
  schedule = {'name': 'constant', 'value': 0.2}
  state = _fit(tmp_path, 100, optim={'name': 'adam', 'schedule': schedule})
  rows = log.read(tmp_path / 'metrics.jsonl')
  assert rows[-1]['loss'] < 0.05 * rows[0]['loss']
  # The weights that made the targets, less the shrinkage by the input noise.
  truth = np.array([[1, 2], [3, 4], [5, 6]])
  np.testing.assert_allclose(state.params['w'], truth, atol=0.5)


def test_one_and_eight_devices_agree_to_1e_5(tmp_path):
  states = {
      n: _fit(tmp_path / str(n), 20, mesh=devices.mesh(jax.devices()[:n]))
      for n in (1, 8)
  }
  assert len(states[8].params['w'].sharding.device_set) == 8
  for a, b in zip(*map(jax.tree.leaves, states.values()), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_run_goes_on_with_another_number_of_devices(straight, tmp_path):
  _fit(tmp_path, 7, mesh=devices.mesh(jax.devices()[:8]))
  state = _fit(tmp_path, 12)
  assert len(state.params['w'].sharding.device_set) == 2
  for a, b in zip(*map(jax.tree.leaves, (state, straight[0])), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_finished_run_is_only_restored(straight):
  state, workdir = straight
  before = _rows(workdir)
  _assert_same(_fit(workdir, 12), state)
  assert _rows(workdir) == before


def test_the_step_is_traced_once(tmp_path):
  traces = []
  _fit(tmp_path, 30, system=toy.system(traces))
  assert len(traces) == 1


def test_batches_are_asked_for_once_each_and_in_order(tmp_path):
  asked = []

  def train(step):
    asked.append(step)
    return toy.train()(step)

  _fit(tmp_path, 9, train)
  # The first is also the example from which parameters are made.
  assert asked == [0, *range(9)]


def test_one_bad_batch_is_skipped(tmp_path, capsys):
  state = _fit(tmp_path, 12, toy.train(bad=[5]))
  assert 'step 6: loss or gradient not finite' in capsys.readouterr().out
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(state))
  rows = {row['step']: row for row in log.read(tmp_path / 'metrics.jsonl')}
  assert rows[6]['loss'] is None and rows[6]['skipped'] == 1
  assert rows[8]['skipped'] == 0


def test_ten_bad_batches_in_a_row_stop_the_run(tmp_path):
  with pytest.raises(UserError, match='steps 8 to 17: expected finite'):
    _fit(tmp_path, 40, toy.train(bad=range(7, 40)))
  assert checkpoint.steps(tmp_path)


def test_nine_bad_batches_in_a_row_do_not(tmp_path):
  assert int(_fit(tmp_path, 20, toy.train(bad=range(7, 16))).step) == 20


def test_skips_in_a_row_are_counted_across_a_break(tmp_path):
  bad = toy.train(bad=range(7, 40))
  _fit(tmp_path, 12, bad)
  with pytest.raises(UserError, match='steps 8 to 17'):
    _fit(tmp_path, 40, bad)


def _signalling(number, at):
  """Return batches; the one of step `at` sends this process a signal."""

  def train(step):
    if step == at and threading.current_thread() is not _MAIN:
      os.kill(os.getpid(), number)
    return toy.train()(step)

  return train


_MAIN = threading.main_thread()


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_exits_with_75(straight, tmp_path, number):
  before = signal.getsignal(number)
  with pytest.raises(SystemExit) as caught:
    _fit(tmp_path, 12, _signalling(number, 7))
  assert caught.value.code == loop.STOPPED == 75
  assert signal.getsignal(number) is before
  (newest,) = checkpoint.steps(tmp_path)[-1:]
  # Sent while a batch is fetched ahead: the step under way is finished.
  assert 6 <= newest <= 8
  state, workdir = straight
  _assert_same(_fit(tmp_path, 12), state)
  assert _rows(tmp_path) == _rows(workdir)


def test_a_signal_during_the_last_step_is_not_lost(tmp_path):
  with pytest.raises(SystemExit):
    _fit(tmp_path, 12, _signalling(signal.SIGTERM, 11))
  assert checkpoint.steps(tmp_path)[-1] >= 11


def test_validation_is_written_and_does_not_disturb(straight, tmp_path):
  def validate(state):
    return {'norm': np.linalg.norm(state.ema['w'])}

  state = _fit(tmp_path, 12, validate=validate)
  _assert_same(state, straight[0])
  rows = log.read(tmp_path / 'metrics.jsonl')
  assert [row['step'] for row in rows if 'val/norm' in row] == [5, 10]


def test_frozen_parts_are_used_kept_and_compared(tmp_path):
  frozen = {'scale': np.array([2.0, 0.5], np.float32)}
  state = _fit(tmp_path, 6, frozen=frozen)
  np.testing.assert_array_equal(frozen['scale'], [2, 0.5])
  np.testing.assert_array_equal(state.frozen['scale'], [2, 0.5])
  kept, _ = checkpoint.load(tmp_path, 'frozen')
  np.testing.assert_array_equal(kept['scale'], [2, 0.5])
  assert int(_fit(tmp_path, 8, frozen=frozen).step) == 8
  other = {'scale': np.array([2.0, 0.6], np.float32)}
  with pytest.raises(UserError, match=r"other frozen weights: \['scale'\]"):
    _fit(tmp_path, 10, frozen=other)


CONFIG = {
    'steps': 6,
    'system': {'name': 'toy', 'width': 3},
    'data': {'root': '/a', 'fps': 20.0},
    'optim': {'schedule': {'steps': 5}},
}


def test_what_may_change_is_let_through(tmp_path):
  _fit(tmp_path, 6, config=CONFIG)
  data = {'root': '/b', 'fps': 20.0}
  _fit(tmp_path, 7, config={**CONFIG, 'steps': 7, 'data': data})
  system = {**CONFIG['system'], 'sampler': {'steps': 5}, 'guidance': 2.0}
  _fit(tmp_path, 8, config={**CONFIG, 'system': system})


@pytest.mark.parametrize('change, named', [
    ({'system': {'name': 'toy', 'width': 4}}, 'system.width: was 3, is 4'),
    ({'system': {'name': 'toy'}}, 'system.width: was 3, is None'),
    ({'data': {'root': '/a', 'fps': 60.0}}, 'data.fps: was 20.0, is 60.0'),
    ({'optim': {'schedule': {'steps': 7}}}, 'optim.schedule.steps: was 5'),
])
def test_another_config_is_refused_field_by_field(tmp_path, change, named):
  folder = tmp_path / 'checkpoints' / '00000006'
  folder.mkdir(parents=True)
  (folder / 'file').touch()
  (tmp_path / 'config.json').write_text(json.dumps(CONFIG))
  with pytest.raises(UserError, match=named) as caught:
    _fit(tmp_path, 7, config={**CONFIG, **change})
  assert str(caught.value).count(' was ') == 1


@pytest.mark.parametrize('changes, named', [
    ({'checkpoint': {'every': 5}}, 'checkpoint.keep'),
    ({'checkpoint': {'every': 0, 'keep': 1}}, 'checkpoint.every'),
    ({'log_every': 0}, 'log_every'),
])
def test_mistakes_are_named(tmp_path, changes, named):
  with pytest.raises(UserError, match=named):
    _fit(tmp_path, 1, **changes)


def _program(workdir, steps, every, delay, **env):
  return subprocess.Popen(
      [sys.executable, str(PROGRAM), str(workdir), str(steps), str(every),
       str(delay)],
      env={**os.environ, 'PYTHONPATH': str(ROOT), **env},
      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
  )


def _wait_for(condition, process, seconds=120):
  end = time.monotonic() + seconds
  while not condition():
    assert process.poll() is None, process.stdout.read()
    assert time.monotonic() < end
    time.sleep(0.02)


# Of a program, to sum as the tests do.
DEVICES = {'JAX_NUM_CPU_DEVICES': '8'}


def test_a_program_is_killed_stopped_and_resumed(tmp_path):
  """Kill it during saves, then ask it to stop; no number is lost."""
  chance = random.Random(0)
  for _ in range(2):
    seen = max(checkpoint.steps(tmp_path), default=0)
    process = _program(tmp_path, 10**6, 1, 0, **DEVICES)
    _wait_for(
        lambda: max(checkpoint.steps(tmp_path), default=0) > seen + 3, process
    )
    time.sleep(0.3 * chance.random())
    process.kill()
    process.communicate()
    # At most the step that was being written is lost.
    checkpoint.good(tmp_path)
    assert checkpoint.good(tmp_path).name == f'{_last(tmp_path):08d}'
  process = _program(tmp_path, 10**6, 1, 0, **DEVICES)
  seen = _last(tmp_path)
  _wait_for(lambda: _last(tmp_path) > seen + 3, process)
  process.send_signal(signal.SIGTERM)
  said, _ = process.communicate(timeout=60)
  assert process.returncode == 75, said
  last = _last(tmp_path)
  assert f'stopped and saved at step {last}' in said
  arguments = {'checkpoint': {'every': 10**6, 'keep': 2}, 'mesh': None}
  straight = _fit(tmp_path / 'straight', last, **arguments)
  _assert_same(_fit(tmp_path, last, **arguments), straight)


def _last(workdir):
  return checkpoint.steps(workdir)[-1]


def test_two_processes_agree_with_one_and_stop_together(tmp_path):
  with socket.socket() as free:
    free.bind(('localhost', 0))
    port = free.getsockname()[1]
  env = {
      'JAX_COORDINATOR_ADDRESS': f'localhost:{port}',
      'JAX_NUM_PROCESSES': '2',
  }
  # They go on from a run of one process.
  _fit(tmp_path, 3)
  pair = [
      _program(tmp_path, 10**6, 4, 0.02, JAX_PROCESS_ID=str(k), **env)
      for k in range(2)
  ]
  try:
    _wait_for(lambda: _last(tmp_path) > 3, pair[0])
    pair[1].send_signal(signal.SIGTERM)
    said = [process.communicate(timeout=60)[0] for process in pair]
  finally:
    for process in pair:
      process.kill()
  assert [process.returncode for process in pair] == [75, 75], said
  last = _last(tmp_path)
  arguments = {'checkpoint': {'every': 10**6, 'keep': 2}}
  straight = _fit(tmp_path / 'straight', last, **arguments)
  both = _fit(tmp_path, last, **arguments)
  for a, b in zip(*map(jax.tree.leaves, (both, straight)), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
