"""Several processes: the same numbers, pieces of a state, signals, a loss.

What takes a program is one test with several findings, as it takes seconds to
start one; the full grid of topologies is slow.
"""

import itertools
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

from experiments import momu_joint
import jax
import numpy as np
import pytest
import run_wide

from diffax import main
from diffax.train import checkpoint
from diffax.train import devices
from diffax.train import log

ROOT = pathlib.Path(__file__).parents[2]
LAUNCHER = ROOT / 'launch' / 'local_processes.py'
PROGRAM = ROOT / 'tests' / 'train' / 'run_wide.py'
PIECES = {'fsdp': 2, 'least': 1}


def _fit(workdir, steps, count=2, **options):
  sharing = options.get('sharing', {})
  mesh = devices.mesh(jax.devices()[:count], fsdp=sharing.get('fsdp', 1))
  return run_wide.fit(workdir, steps, mesh=mesh, **options)


def _start(workdir, steps, processes, devices=1, **options):
  """Start a run; it and its processes are a group of their own."""
  env = {**os.environ, 'PYTHONPATH': str(ROOT)}
  return subprocess.Popen(
      [sys.executable, str(LAUNCHER), str(processes), f'--devices={devices}',
       '--grace=120', '--', sys.executable, str(PROGRAM), str(workdir),
       str(steps), json.dumps(options)],
      env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
  )


def _run(*arguments, **options):
  process = _start(*arguments, **options)
  said, _ = process.communicate(timeout=300)
  assert process.returncode == 0, said
  return said


def _losses(workdir):
  return [row['loss'] for row in log.read(workdir / 'metrics.jsonl')]


def _assert_near(state, expected):
  leaves = zip(*map(jax.tree.leaves, (state, expected)), strict=True)
  for a, b in leaves:
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def _until(condition, process, seconds=120):
  end = time.monotonic() + seconds
  while not condition():
    if process.poll() is not None:
      raise AssertionError(process.communicate()[0])
    assert time.monotonic() < end
    time.sleep(0.02)


@pytest.mark.parametrize('pieces', [4])
def test_a_state_in_pieces_gives_the_numbers_of_a_whole_one(tmp_path, pieces):
  sharing = {'fsdp': pieces, 'least': 1}
  cut = _fit(tmp_path / 'cut', 30, 8, sharing=sharing)
  whole = _fit(tmp_path / 'whole', 30, 8)
  np.testing.assert_allclose(
      _losses(tmp_path / 'cut'), _losses(tmp_path / 'whole'), rtol=1e-5
  )
  _assert_near(cut, whole)
  wide = [x for x in jax.tree.leaves(cut) if x.shape == (8, 64)]
  # Parameters, average, three moments.
  assert len(wide) == 5
  for array in wide:
    assert array.addressable_shards[0].data.shape == (8, 64 // pieces)


@pytest.mark.parametrize('first, second', [(4, 1), (1, 4)])
def test_pieces_are_restored_as_others(tmp_path, first, second):
  sharings = [{'fsdp': n, 'least': 1} for n in (first, second)]
  saved = _fit(tmp_path, 5, 4, sharing=sharings[0])
  whole = jax.tree.map(np.asarray, saved)
  again = _fit(tmp_path, 5, 4, sharing=sharings[1])
  for a, b in zip(*map(jax.tree.leaves, (whole, again)), strict=True):
    np.testing.assert_array_equal(a, b)
  placed = again.params['w0'].sharding.shard_shape((8, 64))
  assert placed == (8, 64 // second)


def test_two_processes_hold_a_piece_each_and_stop_without_a_loss(tmp_path):
  """Go on from one process, stop at a SIGTERM, go on with one process."""
  straight = tmp_path / 'straight'
  run = tmp_path / 'run'
  _fit(run, 3, 4, sharing={'fsdp': 4, 'least': 1})
  process = _start(run, 10**6, 2, every=6, delay=0.02, sharing=PIECES)
  try:
    _until(lambda: checkpoint.steps(run)[-1] > 6, process)
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=200)
    seconds = time.monotonic() - begun
  finally:
    process.kill()
  assert process.returncode == 75, said
  assert seconds < 10
  last = checkpoint.steps(run)[-1]
  assert f'stopped and saved at step {last}' in said
  # No step was taken and not saved.
  assert len(_losses(run)) == last
  names = {path.name for path in (run / 'checkpoints').rglob('ocdbt.process*')}
  assert names == {'ocdbt.process_0', 'ocdbt.process_1'}
  _assert_near(_fit(run, last + 2), _fit(straight, last + 2))
  np.testing.assert_allclose(_losses(run), _losses(straight), rtol=1e-5)


def test_a_damaged_piece_is_found_and_passed_over(tmp_path):
  sharing = {'fsdp': 4, 'least': 1}
  _fit(tmp_path, 4, 4, every=2, sharing=sharing)
  newest = tmp_path / 'checkpoints' / '00000004'
  largest = max(newest.rglob('d/*'), key=lambda path: path.stat().st_size)
  data = bytearray(largest.read_bytes())
  data[len(data) // 2] ^= 1
  largest.write_bytes(data)
  assert checkpoint.good(tmp_path).name == '00000002'


# Processes, devices of each, pieces: all are eight devices.
GRID = list(itertools.product([(1, 8), (2, 4), (4, 2)], [1, 8]))


@pytest.mark.slow
def test_every_topology_gives_the_same_100_losses(tmp_path):
  found = {}
  for (processes, count), fsdp in GRID:
    sharing = {'fsdp': fsdp, 'least': 1}
    for repeat in range(2):
      folder = tmp_path / f'{processes}x{count}-{fsdp}-{repeat}'
      _run(folder, 100, processes, count, sharing=sharing)
      found[processes, count, fsdp, repeat] = _losses(folder)
  one = tmp_path / 'one'
  _run(one, 100, 1)
  expected = np.array(_losses(one))
  assert len(expected) == 100
  for key, losses in found.items():
    assert losses == found[*key[:3], 0], key
    apart = np.max(np.abs(np.array(losses) / expected - 1))
    print(key, f'{apart:.1e}')
    assert apart < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize('fsdp', [1, 4])
def test_what_two_saved_one_and_four_restore_and_back(tmp_path, fsdp):
  """Steps of 2, 1, 2, 4 and 2 processes, against a straight run."""
  sharing = {'fsdp': fsdp, 'least': 1}
  run, straight = tmp_path / 'run', tmp_path / 'straight'
  for steps, processes in ((20, 2), (40, 1), (60, 2), (80, 4), (100, 2)):
    _run(run, steps, processes, 4 // processes, sharing=sharing)
  _run(straight, 100, 1, 4)
  apart = np.array(_losses(run)) / np.array(_losses(straight)) - 1
  print(f'{np.abs(apart).max():.1e}')
  assert np.abs(apart).max() < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize('processes', [1, 2])
@pytest.mark.parametrize('fsdp', [1, 2])
def test_a_sigterm_saves_all_within_ten_seconds(tmp_path, processes, fsdp):
  process = _start(
      tmp_path, 10**6, processes, 2 // processes, delay=0.05,
      sharing={'fsdp': fsdp, 'least': 1},
  )
  _until(lambda: len(_losses(tmp_path)) > 20, process)
  begun = time.monotonic()
  process.send_signal(signal.SIGTERM)
  said, _ = process.communicate(timeout=200)
  seconds = time.monotonic() - begun
  print(f'{processes} processes, fsdp {fsdp}: {seconds:.1f} s')
  assert process.returncode == 75, said
  assert seconds < 10
  assert checkpoint.steps(tmp_path) == [len(_losses(tmp_path))]


def _children(process):
  """Return the numbers of the processes of a launcher, in order."""
  tasks = pathlib.Path(f'/proc/{process.pid}/task')
  found = [p.read_text() for p in tasks.glob('*/children')]
  return sorted(int(number) for text in found for number in text.split())


@pytest.mark.slow
@pytest.mark.parametrize('lost', [0, 1])
@pytest.mark.parametrize('fsdp', [1, 2])
def test_when_one_of_two_is_lost_the_other_leaves(tmp_path, lost, fsdp):
  sharing = {'fsdp': fsdp, 'least': 1}
  process = _start(
      tmp_path, 10**6, 2, every=10, delay=0.02, sharing=sharing
  )
  _until(lambda: len(checkpoint.steps(tmp_path)) > 1, process)
  dying, other = _children(process)[::1 - 2 * lost]
  begun = time.monotonic()
  os.kill(dying, signal.SIGKILL)
  _until(lambda: not pathlib.Path(f'/proc/{other}').exists(), process, 120)
  print(f'fsdp {fsdp}, lost {lost}: {time.monotonic() - begun:.1f} s')
  said, _ = process.communicate(timeout=200)
  assert process.returncode == 128 + signal.SIGKILL, said
  last = int(checkpoint.good(tmp_path).name)
  said = _run(tmp_path, last + 20, 2, sharing=sharing)
  assert f'resumes at step {last} of {last + 20}' in said


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_the_stages_of_a_real_system_agree_in_pieces(tmp_path):
  """A card with `devices` trains three stages, one copy on eight devices."""
  found = {}
  for fsdp in (1, 4):
    config = momu_joint.get_config('dance_synthetic,smoke')
    with config.unlocked():
      config.devices = {'fsdp': fsdp, 'least': 64}
      config.log_every = 1
      for stage in config.stages:
        config[stage].batch_size = 8
    main.train(config, tmp_path / str(fsdp))
    found[fsdp] = {
        stage: _losses(tmp_path / str(fsdp) / stage) for stage in config.stages
    }
  for stage, whole in found[1].items():
    apart = np.abs(np.array(found[4][stage]) / np.array(whole) - 1)
    print(stage, len(whole), f'{apart.max():.1e}')
    assert apart.max() < 1e-5


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_two_processes_train_and_the_first_evaluates(tmp_path):
  """The whole command, with one process and with two."""
  card = f'{ROOT}/experiments/skeleton_quickstart.py:smoke'
  found = {}
  for processes in (1, 2):
    folder = tmp_path / str(processes)
    done = subprocess.run(
        [sys.executable, str(LAUNCHER), str(processes), '--grace=120', '--',
         sys.executable, '-m', 'diffax.main', f'--config={card}',
         f'--workdir={folder}'],
        env={**os.environ, 'PYTHONPATH': str(ROOT)}, cwd=ROOT,
        capture_output=True, text=True, timeout=1400,
    )
    assert done.returncode == 0, done.stdout
    tables = [x for x in done.stdout.splitlines() if 'zero_velocity' in x]
    assert tables and all(line.startswith('[0]') for line in tables)
    found[processes] = json.loads((folder / 'metrics.json').read_text())
  one, two = (found[k]['model']['ADE']['mean'] for k in (1, 2))
  print(one, two)
  assert abs(two / one - 1) < 1e-3
