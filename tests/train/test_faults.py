"""What clusters do to runs: stops, kills, bad batches, long hours, big states.

The long forms are slow and print the number that they measure; of each there
is a short one that runs always, here or in `test_loop`.
"""

import functools
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

from experiments import imu_synthetic
from experiments import lambda_pendulum
from experiments import momu_joint
from experiments import skeleton_quickstart
import jax
import numpy as np
import pytest
import toy

from diffax import config as configs
from diffax import main
from diffax.train import checkpoint
from diffax.train import devices
from diffax.train import log
from diffax.train import loop
from diffax.train import optim
from diffax.train.state import TrainState

PROGRAM = pathlib.Path(__file__).with_name('run_toy.py')
ROOT = PROGRAM.parents[2]
KILLS = 100


def _fit(workdir, steps, train=None, count=1, **changes):
  mesh = devices.mesh(jax.devices()[:count])
  arguments = {**toy.ARGUMENTS, 'mesh': mesh, **changes}
  return loop.fit(
      toy.system(), train or toy.train(), steps=steps, workdir=workdir,
      **arguments,
  )


def _rows(workdir):
  return (workdir / 'metrics.jsonl').read_text()


def _assert_same_bits(a, b):
  leaves = zip(
      jax.tree_util.tree_leaves_with_path(a), jax.tree.leaves(b), strict=True
  )
  for (path, x), y in leaves:
    name = jax.tree_util.keystr(path)
    assert (x.dtype, x.shape) == (y.dtype, y.shape), name
    assert np.asarray(x).tobytes() == np.asarray(y).tobytes(), name


def _signalled_at(at):
  """Return a `loop.jit_step` whose step number `at` gets a SIGTERM first.

  The main thread sends it to itself, so it is always the same step that is the
  last; the batches are fetched ahead by another thread.
  """
  original = loop.jit_step

  def jit_step(*arguments):
    step = original(*arguments)

    def signalled(state, batch):
      if int(state.step) == at:
        signal.raise_signal(signal.SIGTERM)
      return step(state, batch)

    return signalled

  return jit_step


def _stop(run, at, monkeypatch):
  """Call `run` and stop it during the step number `at`, from 0."""
  with monkeypatch.context() as patch:
    patch.setattr(loop, 'jit_step', _signalled_at(at))
    with pytest.raises(SystemExit) as caught:
      run()
  assert caught.value.code == 75


def _assert_stops_leave_no_trace(
    straight, run, workdirs, steps, monkeypatch
):
  """Stop at the first, a middle and the last step, and compare at the end.

  Args:
    straight: () -> the state of a run without a break.
    run: () -> the state of the run to be stopped.
    workdirs: of both, in this order.
    steps: of both.
    monkeypatch: the fixture.
  """
  expected = straight()
  for at in (0, steps // 2 + 1, steps - 1):
    _stop(run, at, monkeypatch)
    # The step during which the signal came is the last, and saved.
    assert checkpoint.steps(workdirs[1])[-1] == at + 1
  found = run()
  assert int(found.step) == steps
  _assert_same_bits(found, expected)
  assert _rows(workdirs[1]) == _rows(workdirs[0])


def _trained(config, workdir, monkeypatch):
  """Train as the command does; return the state of the last stage."""
  states, original = [], loop.fit
  with monkeypatch.context() as patch:
    patch.setattr(
        loop, 'fit', lambda *a, **k: states.append(original(*a, **k))
    )
    main.train(config, workdir)
  return states[-1]


def _skeleton():
  return skeleton_quickstart.get_config('smoke')


def _lambda():
  return lambda_pendulum.get_config('smoke')


def _imu():
  config = imu_synthetic.get_config('smoke')
  # Fewer than five steps an epoch: the second stop is amid the second.
  config.diffusion.batch_size = 20
  return config


def _momu():
  return momu_joint.get_config('smoke')


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize('card', [_skeleton, _lambda, _imu, _momu])
def test_a_system_stopped_at_three_places_equals_a_straight_run(
    card, tmp_path, monkeypatch
):
  config = card()
  config.log_every = 1
  *before, last = config.stages
  straight, stopped = tmp_path / 'straight', tmp_path / 'stopped'
  steps = config[last].steps
  stopped.mkdir()

  def first():
    state = _trained(config, straight, monkeypatch)
    for stage in before:
      shutil.copytree(straight / stage, stopped / stage)
    config.stages = (last,)
    return state

  _assert_stops_leave_no_trace(
      first, lambda: _trained(config, stopped, monkeypatch),
      (straight / last, stopped / last), steps, monkeypatch,
  )


def test_a_small_system_stopped_at_three_places_equals_a_straight_run(
    tmp_path, monkeypatch
):
  settings = configs.stage(_skeleton(), 'autoencoder')
  settings, source, system = configs.parts({**settings, 'batch_size': 2})
  folders = tmp_path / 'straight', tmp_path / 'stopped'
  # Both programs take seconds to compile; the slow test makes them anew.
  for name in ('_creator', 'jit_step'):
    monkeypatch.setattr(loop, name, _once(getattr(loop, name)))

  def fit(workdir):
    return loop.fit(
        system, source.train, name='small', seed=settings['seed'], steps=6,
        optim=settings['optim'], ema=settings['ema'], log_every=1,
        checkpoint={'every': 2, 'keep': 2}, workdir=workdir, config=settings,
        mesh=devices.mesh(jax.devices()[:1]),
    )

  straight, stopped = (functools.partial(fit, folder) for folder in folders)
  _assert_stops_leave_no_trace(straight, stopped, folders, 6, monkeypatch)


def _once(make):
  """Return a function that gives what `make` returned the first time."""
  made = []

  def keep(*arguments):
    if not made:
      made.append(make(*arguments))
    return made[0]

  return keep


def _start(workdir, steps, every, delay):
  path = os.pathsep.join(
      filter(None, (str(ROOT), os.environ.get('PYTHONPATH')))
  )
  return subprocess.Popen(
      [sys.executable, str(PROGRAM), str(workdir), str(steps), str(every),
       str(delay)],
      env={**os.environ, 'PYTHONPATH': path},
      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
  )


def _newest(workdir):
  return max(checkpoint.steps(workdir), default=0)


def _killed(workdir, every, delay, chance, began):
  """Start a program and kill it at a random moment.

  Returns:
    What it said, whether it had saved, seconds until then, and the newest
    step that was whole when it was killed.
  """
  seen, start = _newest(workdir), time.monotonic()
  process = _start(workdir, 10**9, every, delay)
  # One in five dies before it has saved: while it starts, restores, compiles.
  early = chance.random() < 0.2
  end = start + (chance.random() * began if early else 120)
  while _newest(workdir) == seen and time.monotonic() < end:
    assert process.poll() is None, process.communicate()[0]
    time.sleep(0.01)
  saved = _newest(workdir) > seen
  assert saved or early
  took = time.monotonic() - start
  time.sleep(chance.random() if saved else 0)
  whole = _newest(workdir)
  process.kill()
  said, _ = process.communicate()
  assert process.returncode == -signal.SIGKILL, said
  return said, saved, took, whole


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_after_100_kills_no_number_is_lost(tmp_path):
  """Every life begins at the newest whole step; the last ends as if alone."""
  every, delay = 50, 0.01
  killed, alone = tmp_path / 'killed', tmp_path / 'alone'
  chance, began = random.Random(0), 10.0
  lost, under_way, lives = [], 0, 0
  for _ in range(KILLS):
    expected = _newest(killed)
    said, saved, took, whole = _killed(killed, every, delay, chance, began)
    began = took if saved else began
    if saved and expected:
      lives += 1
      assert f'resumes at step {expected} of' in said, said
    assert 'broken' not in said and 'Error' not in said, said
    if not checkpoint.steps(killed):
      continue
    newest = int(checkpoint.good(killed).name)
    # What was whole stays, and no newer one is half written.
    assert newest == _newest(killed) >= whole
    rows = log.read(killed / 'metrics.jsonl')
    lost.append(max(rows[-1]['step'] - newest, 0))
    under_way += any((killed / 'checkpoints').glob('*.part*'))
    # One interval, and another if the save at its end was being written.
    assert lost[-1] <= 2 * every
  total = (_newest(killed) // every + 1) * every
  for folder in (killed, alone):
    process = _start(folder, total, every if folder == killed else 10**9, 0)
    said, _ = process.communicate(timeout=1000)
    assert process.returncode == 0, said
  print(
      f'{KILLS} kills, {under_way} amid a save, {lives} restarts checked; '
      f'steps lost, of {every} between saves: most {max(lost)}, above one '
      f'interval {sum(n > every for n in lost)}; {total} steps in all'
  )
  options = {'checkpoint': {'every': 10**9, 'keep': 2}}
  _assert_same_bits(
      _fit(killed, total, **options), _fit(alone, total, **options)
  )
  assert _rows(killed) == _rows(alone)


def test_ten_bad_batches_end_the_command_with_2_and_can_be_drawn_again(
    tmp_path, monkeypatch, capsys
):
  bad = toy.train(bad=range(7, 40))
  monkeypatch.setattr(main, 'run', lambda argv: _fit(tmp_path, 40, bad))
  with pytest.raises(SystemExit) as caught:
    main.main(['main'])
  assert caught.value.code == 2
  said = capsys.readouterr().err
  assert said.startswith('error: steps 8 to 17: expected finite')
  # Step 8 takes the batch number 7.
  finite = [np.isfinite(bad(step - 1)['x']).all() for step in range(7, 18)]
  assert finite == [True] + 10 * [False]


def test_a_bad_batch_changes_the_final_loss_by_less_than_1_percent(tmp_path):
  def final(name, bad):
    schedule = {'name': 'constant', 'value': 0.05}
    _fit(
        tmp_path / name, 300, toy.train(bad), log_every=2,
        checkpoint={'every': 10**6, 'keep': 1},
        optim={'name': 'adam', 'schedule': schedule},
    )
    rows = log.read(tmp_path / name / 'metrics.jsonl')
    # The batch number 199 is of step 200.
    assert rows[99]['step'] == 200 and rows[99]['skipped'] == len(bad)
    return np.mean([row['loss'] for row in rows[-25:]])

  clean, other = final('clean', []), final('other', [199])
  apart = abs(other / clean - 1)
  print(f'final loss {clean:.4f}, with a NaN batch {apart:.2%} apart')
  assert clean != other
  assert apart < 0.01


def _resident():
  """Return the bytes of this process in memory."""
  pages = pathlib.Path('/proc/self/statm').read_text().split()[1]
  return int(pages) * os.sysconf('SC_PAGE_SIZE')


def _compiles_and_memory(workdir, steps, caplog):
  """Train the toy; return how often its step was compiled, and bytes used."""
  used = []

  def train(step):
    if step % 50 == 0:
      used.append(_resident())
    return toy.train()(step)

  with jax.log_compiles():
    _fit(workdir, steps, train, checkpoint={'every': 100, 'keep': 2})
  compiled = [
      message for message in caplog.messages
      if 'Finished XLA compilation' in message and 'keyed' in message
  ]
  # The first is the example.
  return len(compiled), np.array(used[1:])


def test_500_steps_compile_once(tmp_path, caplog):
  compiles, used = _compiles_and_memory(tmp_path, 500, caplog)
  assert compiles == 1
  assert len(used) == 10


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_10_000_steps_compile_once_and_do_not_grow(tmp_path, caplog):
  compiles, used = _compiles_and_memory(tmp_path, 10_000, caplog)
  assert compiles == 1
  # From step 2,000 on, means of 500 steps.
  means = used[40:].reshape(-1, 10).mean(1)
  growth = means[-1] / means[0] - 1
  print(f'{means[0] / 2**20:.1f} MiB, growth {growth:.2%}')
  assert growth < 0.01


def _large_state(numbers):
  """Return a state with so many parameters, an average and Adam's moments."""
  optimiser = optim.optimiser(
      name='adam', schedule={'name': 'constant', 'value': 1e-3}
  )

  @jax.jit
  def make(key):
    keys = jax.random.split(key, 8)
    # Noise, which cannot be compressed, in all parts.
    params = {
        f'w{i}': jax.random.normal(k, (1000, numbers // 8000))
        for i, k in enumerate(keys)
    }
    _, moments = optimiser.update(params, optimiser.init(params), params)
    zero = jax.numpy.zeros((), jax.numpy.int32)
    ema = jax.tree.map(lambda x: 0.5 * x, params)
    return TrainState(zero, params, {}, ema, moments, zero)

  return jax.block_until_ready(make(jax.random.key(0)))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_save_a_minute_holds_training_up_for_less_than_5_percent(tmp_path):
  state = _large_state(32_000_000)
  held, worked, written = [], [], []
  with checkpoint.Saver(tmp_path, 1) as saver:
    for _ in range(3):
      begun, before = time.monotonic(), time.thread_time()
      saver.save(state)
      held.append(time.monotonic() - begun)
      worked.append(time.thread_time() - before)
      saver.wait()
      written.append(time.monotonic() - begun)
  shutil.rmtree(tmp_path / 'checkpoints')
  # Other programs stretch the seconds by the clock, so the least of them
  # count; the work of this thread they do not stretch. What takes longer than
  # a minute to write would hold the next save up.
  seconds = max(min(held), *worked) + max(min(written) - 60, 0)
  print(
      f'held up {np.round(held, 2)} s, {np.round(worked, 2)} s of work, '
      f'written after {np.round(written, 1)} s: {seconds / 60:.2%}'
  )
  assert seconds / 60 < 0.05
