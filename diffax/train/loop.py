"""The one training loop.

The random key of a step is fold_in(fold_in(key(seed), name), step) and its
batch is a function of (seed, step), so a restart, or another number of
devices, sees the same numbers and nothing but the step has to be saved.
"""

import collections
from collections.abc import Callable, Iterator, Mapping
import concurrent.futures
import contextlib
import os
import pathlib
import signal
import threading
from types import FrameType
from typing import Any, NamedTuple
import zlib

import jax
from jax.experimental import multihost_utils
import optax

from diffax.errors import UserError
from diffax.systems.base import System
from diffax.train import checkpoint as checkpoints
from diffax.train import devices
from diffax.train import log
from diffax.train import optim as optims
from diffax.train import settings
from diffax.train import state as states
from diffax.train import step as steps_lib
from diffax.train.state import TrainState
from diffax.typing import Batch
from diffax.typing import Key
from diffax.typing import Params

STOPPED = devices.STOPPED
MOST_SKIPPED = 10
# Steps whose metrics may be outstanding: the host never waits for the newest.
_AHEAD = 4

Validate = Callable[[TrainState], Mapping[str, Any]]
_Create = Callable[[Batch, Params | None], TrainState]


class _Run(NamedTuple):
  """What the loop needs beside the state."""

  step: Callable[[TrainState, Batch], tuple[TrainState, Any]]
  train: Callable[[int], Batch]
  steps: int
  every: int
  log_every: int
  validate: Validate | None
  saver: checkpoints.Saver
  stop: threading.Event


class _Output(NamedTuple):
  """Where the first process writes."""

  writer: log.Writer
  progress: log.Progress


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
    validate: Validate | None = None,
    config: Mapping[str, Any] | None = None,
    mesh: jax.sharding.Mesh | None = None,
    sharing: Mapping[str, Any] | None = None,
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
    validate: state -> scalars by name, called at every checkpoint that is due;
      it must not keep the state, whose memory the next step reuses.
    config: settings that a resumed run must share.
    mesh: devices; by default all of all hosts.
    sharing: how devices share the state, which a resumed run may change:
      `fsdp`, the devices that hold one copy together, by default 1, and
      `least`, numbers of the smallest array that is cut.

  Returns:
    The state after the last step.

  Raises:
    UserError: if an argument or the config differs from the saved run's, if
      the disk fails, or after ten steps in a row that were not finite.
    SystemExit: with status 75 when a SIGTERM or SIGINT asked to stop; the
      state is saved.
  """
  workdir = pathlib.Path(workdir)
  optims.check(_checkpoint_options, checkpoint, 'checkpoint')
  _checkpoint_options(**checkpoint)
  optims.check(_sharing, sharing or {}, 'devices')
  fsdp, least = _sharing(**(sharing or {}))
  optims.at_least(1, 'log_every', log_every)
  optimiser = optims.optimiser(**optim)
  step = steps_lib.make_step(system, optimiser, ema)
  settings.keep(workdir, config or {})
  with _signals() as stop:
    first = train(0)
    mesh = mesh or devices.mesh(batch_size=_batch_size(first), fsdp=fsdp)
    key = _Key(seed, name)
    create = _creator(system, optimiser, key)
    shapes = jax.eval_shape(create, first, frozen)
    placed = devices.placed(shapes, mesh, least)
    state = _start(create, first, frozen, placed, mesh, workdir)
    with checkpoints.Saver(workdir, checkpoint['keep']) as saver:
      run = _Run(
          jit_step(step, key, mesh, placed),
          lambda i: devices.shard(train(i), mesh),
          steps, checkpoint['every'], log_every, validate, saver, stop,
      )
      state = _through(run, state, name, workdir)
  return state


def _checkpoint_options(every: int, keep: int) -> None:
  optims.at_least(1, 'checkpoint.every', every)
  optims.at_least(1, 'checkpoint.keep', keep)


def _sharing(fsdp: int = 1, least: int = devices.LEAST) -> tuple[int, int]:
  optims.at_least(1, 'devices.fsdp', fsdp)
  optims.at_least(1, 'devices.least', least)
  return fsdp, least


def _batch_size(batch: Batch) -> int:
  return len(jax.tree.leaves(dict(batch))[0])


class _Key(NamedTuple):
  """The random key of a stage, made where it is used, on any device."""

  seed: int
  name: str

  def make(self) -> Key:
    crc = zlib.crc32(self.name.encode())
    return jax.random.fold_in(jax.random.key(self.seed), crc)


def jit_step(
    step: steps_lib.Step,
    key: _Key,
    mesh: jax.sharding.Mesh,
    placed: Any = None,
) -> Callable[[TrainState, Batch], tuple[TrainState, Any]]:
  """Compile a step that draws its own key and reuses the state's memory.

  Args:
    step: from `make_step`.
    key: of the stage.
    mesh: over which the batch is cut.
    placed: where the state lies; by default whole on every device.

  Returns:
    (state, batch) -> (state, metrics); the given state is deleted.
  """
  whole, cut = devices.replicated(mesh), devices.split(mesh)
  held = whole if placed is None else placed

  def keyed(state: TrainState, batch: Batch) -> tuple[TrainState, Any]:
    return step(state, batch, jax.random.fold_in(key.make(), state.step))

  return jax.jit(
      keyed,
      in_shardings=(held, cut),
      out_shardings=(held, whole),
      donate_argnums=0,
  )


def _creator(
    system: System, optimiser: optax.GradientTransformation, key: _Key
) -> _Create:
  def create(batch: Batch, frozen: Params | None) -> TrainState:
    # A copy, since the state's memory is reused and the caller's must not be.
    frozen = jax.tree.map(lambda x: x.copy(), frozen)
    return states.create(system, optimiser, key.make(), batch, frozen)

  return create


def _start(
    create: _Create,
    batch: Batch,
    frozen: Params | None,
    placed: Any,
    mesh: jax.sharding.Mesh,
    workdir: pathlib.Path,
) -> TrainState:
  state = jax.jit(create, out_shardings=placed)(
      devices.shard(batch, mesh), frozen
  )
  restored = checkpoints.restore(workdir, state)
  checkpoints.keep_frozen(workdir, state.frozen)
  return state if restored is None else restored


def _through(
    run: _Run, state: TrainState, name: str, workdir: pathlib.Path
) -> TrainState:
  """Take the steps that are left and save the last; exit if told to stop."""
  start = int(state.step)
  if start >= run.steps:
    return state
  with contextlib.ExitStack() as stack:
    output = None
    if devices.is_first():
      output = _Output(
          stack.enter_context(log.Writer(workdir, start)),
          stack.enter_context(log.Progress(name, start, run.steps)),
      )
      if start:
        output.progress.note(f'resumes at step {start} of {run.steps}')
    state = _loop(run, state, start, output)
    run.saver.save(state)
    run.saver.wait()
    if jax.process_count() > 1:
      multihost_utils.sync_global_devices(f'{name} saved')
    reached = int(state.step)
    if reached < run.steps or run.stop.is_set():
      if output:
        output.progress.note(f'stopped and saved at step {reached}')
      devices.leave()
  return state


def _loop(
    run: _Run, state: TrainState, start: int, output: _Output | None
) -> TrainState:
  pending: collections.deque[tuple[int, Any]] = collections.deque()
  with concurrent.futures.ThreadPoolExecutor(1) as pool:
    coming = pool.submit(run.train, start)
    for i in range(start, run.steps):
      batch = coming.result()
      if i + 1 < run.steps:
        coming = pool.submit(run.train, i + 1)
      state, metrics = run.step(state, batch)
      pending.append((i + 1, metrics))
      _drain(pending, _AHEAD, run, output)
      if (i + 1) % run.every == 0:
        _drain(pending, 0, run, output)
        _due(run, state, i + 1, output)
      if _asked_to_stop(run.stop, i):
        break
    _drain(pending, 0, run, output)
  return state


def _due(
    run: _Run, state: TrainState, step: int, output: _Output | None
) -> None:
  """Save and validate; the last step is saved by the caller."""
  if step < run.steps:
    run.saver.save(state)
  if run.validate:
    values = run.validate(state)
    if output:
      output.writer.write(step, {f'val/{k}': v for k, v in values.items()})


def _drain(
    pending: collections.deque[tuple[int, Any]],
    most: int,
    run: _Run,
    output: _Output | None,
) -> None:
  """Report finished steps, waiting only if more than `most` are outstanding."""
  while pending and (
      len(pending) > most or pending[0][1]['skipped'].is_ready()
  ):
    step, metrics = pending.popleft()
    skipped = int(metrics['skipped'])
    if skipped >= MOST_SKIPPED:
      raise UserError(
          f'steps {step - skipped + 1} to {step}: expected finite losses and '
          'gradients, found none. Batches follow from (seed, step), so these '
          'can be drawn again; lower optim.schedule.value or optim.clip.'
      )
    if output:
      _report(step, metrics, skipped, run.log_every, output)


def _report(
    step: int,
    metrics: Mapping[str, Any],
    skipped: int,
    log_every: int,
    output: _Output,
) -> None:
  output.progress.advance(step)
  if skipped:
    output.progress.note(f'step {step}: loss or gradient not finite, skipped')
  if step % log_every == 0:
    values = {k: float(v) for k, v in metrics.items()}
    output.writer.write(step, values)
    output.progress.report(step, values['loss'])


def _asked_to_stop(stop: threading.Event, step: int) -> bool:
  if jax.process_count() > 1:
    return bool(multihost_utils.reached_preemption_sync_point(step))
  return stop.is_set()


@contextlib.contextmanager
def _signals() -> Iterator[threading.Event]:
  """Turn SIGTERM and SIGINT into an event; a second Ctrl-C interrupts."""
  event = threading.Event()

  def note(number: int, frame: FrameType | None) -> None:
    del frame
    event.set()
    if number == signal.SIGINT:
      signal.signal(signal.SIGINT, signal.default_int_handler)

  def forward(number: int, frame: FrameType | None) -> None:
    del number, frame
    os.kill(os.getpid(), signal.SIGTERM)

  # With several processes JAX listens for SIGTERM and agrees on a step.
  several = jax.process_count() > 1
  wanted: dict[signal.Signals, Any] = (
      {signal.SIGINT: forward} if several
      else {signal.SIGTERM: note, signal.SIGINT: note}
  )
  # Python hands signals to the main thread only.
  if threading.current_thread() is not threading.main_thread():
    wanted = {}
  old = {number: signal.signal(number, to) for number, to in wanted.items()}
  try:
    yield event
  finally:
    for number, handler in old.items():
      signal.signal(number, handler)
