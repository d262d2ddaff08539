"""The one training loop.

The random key of a step is fold_in(fold_in(key(seed), name), step) and its
batch is a function of (seed, step), so a restart, or another number of
devices, sees the same numbers and nothing but the step has to be saved.
"""

from collections.abc import Callable, Mapping
import concurrent.futures
import json
import pathlib
import signal
import threading
from types import FrameType
from typing import Any, NamedTuple
import zlib

import jax
from jax.experimental import multihost_utils
import numpy as np

from diffax.errors import UserError
from diffax.systems.base import System
from diffax.train import checkpoint as checkpoints
from diffax.train import devices
from diffax.train import log
from diffax.train import optim as optims
from diffax.train import state as states
from diffax.train import step as steps_lib
from diffax.train.state import TrainState
from diffax.typing import Batch
from diffax.typing import Key
from diffax.typing import Params

STOPPED = 75
MOST_SKIPPED = 10
_MAY_CHANGE = ('steps', 'checkpoint', 'log_every', 'root', 'store')


class _Run(NamedTuple):
  """What a loop needs, built once."""

  state: TrainState
  step: Callable[[TrainState, Batch, Key], tuple[TrainState, Any]]
  mesh: jax.sharding.Mesh
  key: Key


def fit(
    system: System,
    train: Callable[[int], Batch],
    *,
    name: str,
    seed: int,
    steps: int,
    optim: Mapping[str, Any],
    ema: Mapping[str, Any],
    checkpoint: Mapping[str, Any],
    log_every: int,
    workdir: pathlib.Path,
    frozen: Params | None = None,
    config: Mapping[str, Any] | None = None,
    mesh: jax.sharding.Mesh | None = None,
) -> TrainState:
  """Train a system, from its newest checkpoint if there is one.

  Args:
    system: to train.
    train: step -> global batch of NumPy arrays.
    name: of the stage, part of the random key.
    seed: of the initial parameters and of every step.
    steps: to take in all.
    optim: arguments of `optim.optimiser`.
    ema: arguments of `optim.ema_decay`.
    checkpoint: `every` steps and how many to `keep`.
    log_every: steps between reports.
    workdir: folder of the stage.
    frozen: given parts, for `System.loss`.
    config: settings that a resumed run must share.
    mesh: devices; by default all of all hosts.

  Returns:
    The state after the last step.

  Raises:
    UserError: if the config differs from the saved run's, if the disk fails,
      or after ten steps in a row that were not finite.
    SystemExit: with status 75 when a SIGTERM or SIGINT asked to stop; the
      state is saved.
  """
  mesh = devices.mesh() if mesh is None else mesh
  _prepare(workdir, config or {})
  optimiser = optims.optimiser(**optim)
  key = jax.random.fold_in(jax.random.key(seed), zlib.crc32(name.encode()))
  run = _start(system, optimiser, ema, train, key, frozen, mesh, workdir)
  start = int(run.state.step)
  if start >= steps:
    return run.state
  if start:
    print(f'{name}: resuming at step {start} of {steps}')
  with _Signals() as stop:
    state = _loop(run, train, name, steps, log_every, checkpoint, workdir, stop)
  checkpoints.save(workdir, state, checkpoint['keep'])
  if int(state.step) < steps:
    print(f'{name}: stopped and saved at step {int(state.step)} of {steps}')
    raise SystemExit(STOPPED)
  return state


def _start(
    system: System,
    optimiser: Any,
    ema: Mapping[str, Any],
    train: Callable[[int], Batch],
    key: Key,
    frozen: Params | None,
    mesh: jax.sharding.Mesh,
    workdir: pathlib.Path,
) -> _Run:
  whole, cut = devices.replicated(mesh), devices.split(mesh)
  batch = devices.shard(train(0), mesh)

  def create(key: Key, batch: Batch, frozen: Params | None) -> TrainState:
    return states.create(system, optimiser, key, batch, frozen)

  # The frozen parts enter as an argument: the state is donated at every step,
  # and the caller's arrays must outlive that.
  state = jax.jit(create, out_shardings=whole)(key, batch, frozen)
  state = checkpoints.restore(workdir, state) or state
  step = jax.jit(
      steps_lib.make_step(system, optimiser, ema),
      in_shardings=(whole, cut, whole),
      out_shardings=(whole, whole),
      donate_argnums=0,
  )
  return _Run(state, step, mesh, key)


def _loop(
    run: _Run,
    train: Callable[[int], Batch],
    name: str,
    steps: int,
    log_every: int,
    checkpoint: Mapping[str, Any],
    workdir: pathlib.Path,
    stop: threading.Event,
) -> TrainState:
  state, start = run.state, int(run.state.step)
  pending: tuple[int, Any] | None = None
  with (
      concurrent.futures.ThreadPoolExecutor(1) as pool,
      log.Writer(workdir, start) as writer,
      log.Progress(name, start, steps) as progress,
  ):
    coming = pool.submit(train, start)
    for i in range(start, steps):
      batch = devices.shard(coming.result(), run.mesh)
      if i + 1 < steps:
        coming = pool.submit(train, i + 1)
      state, metrics = run.step(state, batch, jax.random.fold_in(run.key, i))
      # Metrics are read one step late, when the next one is already queued.
      _report(pending, writer, progress, log_every)
      pending = (i + 1, metrics)
      if (i + 1) % checkpoint['every'] == 0:
        checkpoints.save(workdir, state, checkpoint['keep'])
      if _asked_to_stop(stop, i):
        break
    _report(pending, writer, progress, log_every)
  return state


def _report(
    pending: tuple[int, Any] | None,
    writer: log.Writer,
    progress: log.Progress,
    log_every: int,
) -> None:
  if pending is None:
    return
  step, metrics = pending
  skipped = int(metrics['skipped'])
  if skipped >= MOST_SKIPPED:
    raise UserError(
        f'steps {step - skipped + 1} to {step}: expected finite losses and '
        'gradients, found none. Batches depend on (seed, step) alone, so these '
        'can be drawn again; lower optim.schedule.value or optim.clip.'
    )
  progress.advance(step)
  if step % log_every == 0:
    values = {k: float(v) for k, v in metrics.items()}
    writer.write(step, values)
    progress.report(step, values['loss'])


def _asked_to_stop(stop: threading.Event, step: int) -> bool:
  if jax.process_count() > 1:
    return bool(multihost_utils.reached_preemption_sync_point(step))
  return stop.is_set()


class _Signals:
  """Turn SIGTERM and SIGINT into an event while the loop runs."""

  def __enter__(self) -> threading.Event:
    event = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
      del number, frame
      event.set()

    self._old = {}
    # Python hands signals to the main thread only.
    if threading.current_thread() is threading.main_thread():
      self._old = {
          number: signal.signal(number, note)
          for number in (signal.SIGTERM, signal.SIGINT)
      }
    return event

  def __exit__(self, *_: object) -> None:
    for number, old in self._old.items():
      signal.signal(number, old)


def _prepare(workdir: pathlib.Path, config: Mapping[str, Any]) -> None:
  """Write the config, or compare it with that of the run to resume."""
  path = workdir / 'config.json'
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    if path.is_file() and checkpoints.steps(workdir):
      _compare(path, json.loads(path.read_text()), config)
      return
    if jax.process_index() == 0:
      path.write_text(json.dumps(config, indent=2, default=_plain) + '\n')
  except (OSError, json.JSONDecodeError) as error:
    raise UserError(f'{path}: {error}') from error


def _compare(
    path: pathlib.Path, old: Mapping[str, Any], new: Mapping[str, Any]
) -> None:
  new = json.loads(json.dumps(new, default=_plain))
  was, now = _flat(old), _flat(new)
  differing = [
      f'{key}: was {was.get(key)!r}, is {now.get(key)!r}'
      for key in sorted(set(was) | set(now))
      if was.get(key) != now.get(key)
      and not set(key.split('.')) & set(_MAY_CHANGE)
  ]
  if differing:
    raise UserError(
        f'{path}: the run there has another config. ' + '; '.join(differing)
        + '. Name another --workdir, or undo the change.'
    )


def _flat(tree: Any, prefix: str = '') -> dict[str, Any]:
  if not isinstance(tree, Mapping):
    return {prefix.rstrip('.'): tree}
  return {
      key: value
      for name, branch in tree.items()
      for key, value in _flat(branch, f'{prefix}{name}.').items()
  }


def _plain(value: Any) -> Any:
  return value.tolist() if isinstance(value, np.ndarray) else str(value)
