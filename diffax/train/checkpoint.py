"""Checkpoints that are whole or absent, and known to be unchanged.

  checkpoints/00001000/{params,ema,opt_state,counters}/  one step
  checkpoints/00001000/SHA256.json                       sums of its files
  checkpoints/frozen/                                    written once

A folder is written by orbax under a temporary name, the SHA-256 of every file
is added, and one rename makes it count. The first process writes what it holds
whole; of a state in pieces every process writes and reads its own. Either is
restored by any number of processes, in pieces or not. Restoring checks the
sums and falls back to the newest older step that passes, naming the bad file:
array data on disk carry no checksum of their own, so a flipped bit would
otherwise be restored as a wrong number.
"""

from collections.abc import Iterator, Mapping
import concurrent.futures
import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
from types import TracebackType
from typing import Any

import jax
from jax.experimental import multihost_utils
import numpy as np
import orbax.checkpoint as ocp

from diffax.errors import UserError
from diffax.train import devices
from diffax.train.state import TrainState
from diffax.typing import Params
from diffax.typing import PyTree

ITEMS = ('params', 'ema', 'frozen')
_SUMS = 'SHA256.json'
_FROZEN = 'frozen'


def _folder(workdir: pathlib.Path) -> pathlib.Path:
  return pathlib.Path(workdir).absolute() / 'checkpoints'


def _step_folder(workdir: pathlib.Path, step: int) -> pathlib.Path:
  return _folder(workdir) / f'{step:08d}'


def steps(workdir: pathlib.Path) -> list[int]:
  """Return the steps in a stage's folder, ascending; empty ones don't count."""
  folder = _folder(workdir)
  found = folder.iterdir() if folder.is_dir() else ()
  return sorted(
      int(path.name) for path in found
      if path.name.isdigit() and path.is_dir() and any(path.iterdir())
  )


def _items(state: TrainState) -> dict[str, Any]:
  return {
      'params': state.params,
      'ema': state.ema,
      'opt_state': state.opt_state,
      'counters': {'step': state.step, 'skipped': state.skipped},
  }


class Saver:
  """Write steps in the background, one at a time.

  A state is copied to this host's memory when it is given, so that the next
  step may overwrite it. Of several processes the first one writes, unless the
  state lies in pieces that it does not have.
  """

  def __init__(self, workdir: pathlib.Path, keep: int):
    self._workdir, self._keep = workdir, keep
    self._pool = concurrent.futures.ThreadPoolExecutor(1)
    self._writing: concurrent.futures.Future[None] | None = None

  def __enter__(self) -> 'Saver':
    return self

  def __exit__(
      self,
      kind: type[BaseException] | None,
      error: BaseException | None,
      trace: TracebackType | None,
  ) -> None:
    self._pool.shutdown()

  def save(self, state: TrainState) -> None:
    """Begin to write a step; `frozen` is not part of it.

    Raises:
      UserError: if the step before could not be written.
    """
    self.wait()
    items = _items(state)
    if _spread(items):
      step = int(state.step)
      self._writing = self._pool.submit(
          _finish, _begin(self._workdir, step, items), self._workdir, step,
          self._keep,
      )
    elif devices.is_first():
      items = _copy(items)
      self._writing = self._pool.submit(
          _write_step, self._workdir, items, self._keep
      )

  def wait(self) -> None:
    """Wait for the step that is being written.

    Raises:
      UserError: if it could not be; the older ones are whole.
    """
    if self._writing is not None:
      self._writing.result()
      self._writing = None


def _spread(tree: PyTree) -> bool:
  """Return whether no process holds all of it."""
  return any(
      not (x.is_fully_addressable or x.is_fully_replicated)
      for x in jax.tree.leaves(tree)
  )


def _copy(tree: PyTree) -> PyTree:
  """Return NumPy copies of arrays of which this process holds all."""

  def copy(x: jax.Array) -> np.ndarray:
    return np.array(x.addressable_data(0) if x.is_fully_replicated else x)

  return jax.tree.map(copy, tree)


def _gather(tree: PyTree) -> PyTree:
  """Return NumPy copies of arrays; all processes have to ask together."""
  if _spread(tree):
    return multihost_utils.process_allgather(tree, tiled=True)
  return _copy(tree)


def _write_step(
    workdir: pathlib.Path, items: Mapping[str, PyTree], keep: int
) -> None:
  step = int(items['counters']['step'])
  _write(_step_folder(workdir, step), items)
  _forget(workdir, keep)


def _forget(workdir: pathlib.Path, keep: int) -> None:
  for old in steps(workdir)[:-keep]:
    shutil.rmtree(_step_folder(workdir, old), ignore_errors=True)


def _write(final: pathlib.Path, items: Mapping[str, PyTree]) -> None:
  """Write trees of NumPy arrays into a folder that appears when it is whole.

  Args:
    final: the folder; one of that name is replaced.
    items: trees by name.

  Raises:
    UserError: if the disk is full or not writable.
  """
  with _part(final) as work:
    _clean(final)
    for name, item in items.items():
      _orbax().save(work / name, args=ocp.args.StandardSave(item))
    _seal(work, final)


def _begin(
    workdir: pathlib.Path, step: int, items: Mapping[str, PyTree]
) -> ocp.AsyncCheckpointer:
  """Copy this process's pieces to its memory and begin to write them."""
  final = _step_folder(workdir, step)
  with _part(final) as work:
    if devices.is_first():
      _clean(final)
    # Starts with a barrier, so no other process is before the cleaning.
    writer = ocp.AsyncCheckpointer(ocp.CompositeCheckpointHandler())
    pieces = {k: ocp.args.StandardSave(item) for k, item in items.items()}
    writer.save(work, args=ocp.args.Composite(**pieces))
  return writer


def _finish(
    writer: ocp.AsyncCheckpointer, workdir: pathlib.Path, step: int, keep: int
) -> None:
  """Wait until all processes have written; the first makes it count."""
  final = _step_folder(workdir, step)
  with _part(final) as work:
    writer.wait_until_finished()
    writer.close()
    if devices.is_first():
      _seal(work, final)
      _forget(workdir, keep)


@contextlib.contextmanager
def _part(final: pathlib.Path) -> Iterator[pathlib.Path]:
  """Give the folder to write to, and turn a bad disk into a message."""
  work = final.with_name(f'{final.name}.part')
  try:
    yield work
  except (OSError, ValueError) as error:
    # The storage layer reports a full disk as a ValueError.
    if isinstance(error, ValueError) and 'os_error_code' not in str(error):
      raise
    shutil.rmtree(work, ignore_errors=True)
    reason = str(error).splitlines()[0]
    raise UserError(
        f'{final}: the checkpoint could not be written: {reason}. The older '
        'ones are whole.'
    ) from error


def _clean(final: pathlib.Path) -> None:
  final.parent.mkdir(parents=True, exist_ok=True)
  for stale in final.parent.glob('*.part*'):
    shutil.rmtree(stale)


def _seal(work: pathlib.Path, final: pathlib.Path) -> None:
  (work / _SUMS).write_text(json.dumps(_sums(work), indent=1))
  if final.exists():
    shutil.rmtree(final)
  os.rename(work, final)


def _alone() -> ocp.options.MultiprocessingOptions:
  """Let each process read or write for itself, without waiting for others."""
  if jax.process_count() == 1:
    return ocp.options.MultiprocessingOptions()
  me = jax.process_index()
  return ocp.options.MultiprocessingOptions(
      primary_host=me,
      active_processes={me},
      barrier_sync_key_prefix=f'process{me}',
  )


def _orbax() -> ocp.Checkpointer:
  handler = ocp.StandardCheckpointHandler(multiprocessing_options=_alone())
  return ocp.Checkpointer(handler, multiprocessing_options=_alone())


def _untyped() -> ocp.Checkpointer:
  """Return a reader that needs no example, and knows no tuples."""
  handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=_alone())
  return ocp.Checkpointer(handler, multiprocessing_options=_alone())


def restore(workdir: pathlib.Path, like: TrainState) -> TrainState | None:
  """Return the newest good step, or None if there is no checkpoint.

  Newer steps that are broken are renamed to `<step>.broken`.

  Args:
    workdir: folder of the stage.
    like: a state of the same structure, whose placement is taken over.

  Returns:
    The saved state; `frozen` is that of `like`.

  Raises:
    UserError: if there are checkpoints and all are broken, or if they hold
      another model.
  """
  step = _newest(workdir)
  if step is None:
    return None
  folder = _step_folder(workdir, step)
  found = {}
  for name, item in _items(like).items():
    _check_shapes(folder / name, item)
    found[name] = _place(_read_like(folder / name, item), item)
  counters = found.pop('counters')
  return dataclasses.replace(like, **found, **counters)


def _read_like(folder: pathlib.Path, like: PyTree) -> PyTree:
  if all(x.is_fully_replicated for x in jax.tree.leaves(like)):
    # Each process reads for itself and lays the numbers over its devices.
    wanted = jax.tree.map(lambda x: np.empty(x.shape, x.dtype), like)
    return _orbax().restore(folder, args=ocp.args.StandardRestore(wanted))
  # Each reads the pieces of its devices, and no other.
  wanted = jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
      like,
  )
  reader = ocp.Checkpointer(ocp.StandardCheckpointHandler())
  return reader.restore(folder, args=ocp.args.StandardRestore(wanted))


def _place(tree: PyTree, like: PyTree) -> PyTree:
  """Lay arrays over devices as `like` is; a jit owns its results."""
  shardings = jax.tree.map(lambda x: x.sharding, like)

  def copy(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda x: x.copy(), tree)

  return jax.jit(copy, out_shardings=shardings)(tree)


def _newest(workdir: pathlib.Path) -> int | None:
  """Return the newest good step as the first process sees it."""
  step = -1
  if devices.is_first() and steps(workdir):
    step = int(good(workdir).name)
    for newer in steps(workdir):
      if newer > step:
        _set_aside(_step_folder(workdir, newer))
  if jax.process_count() > 1:
    step = int(multihost_utils.broadcast_one_to_all(np.int32(step)))
    if step >= 0 and step not in steps(workdir):
      raise UserError(
          f'{_folder(workdir)}: expected step {step}, which process 0 sees, '
          f'found {steps(workdir)}. --workdir must be on a shared disk.'
      )
  return step if step >= 0 else None


def _set_aside(folder: pathlib.Path) -> None:
  aside = folder.with_name(f'{folder.name}.broken')
  try:
    shutil.rmtree(aside, ignore_errors=True)
    folder.rename(aside)
  except OSError as error:
    raise UserError(f'{folder}: cannot be renamed: {error}') from error


def load(
    workdir: pathlib.Path, item: str, step: int | None = None
) -> tuple[PyTree, int]:
  """Read one part of a run without knowing its shapes.

  Args:
    workdir: folder of the stage.
    item: `params`, `ema` or `frozen`.
    step: which; by default the newest good one.

  Returns:
    A tree of NumPy arrays, and the step.

  Raises:
    UserError: if there is no such item or step, or it is broken.
  """
  if item not in ITEMS:
    raise UserError(f'weights: expected one of {ITEMS}, found {item!r}.')
  if not steps(workdir):
    raise UserError(
        f'{_folder(workdir)}: expected a checkpoint, found none. Train first.'
    )
  folder = good(workdir, step)
  number = int(folder.name)
  if item == _FROZEN:
    return _read_frozen(workdir), number
  return _read(folder / item), number


def _read(folder: pathlib.Path) -> PyTree:
  as_numpy = jax.tree.map(
      lambda _: ocp.RestoreArgs(restore_type=np.ndarray), _shapes(folder)
  )
  return _untyped().restore(
      folder, args=ocp.args.PyTreeRestore(restore_args=as_numpy)
  )


def _shapes(folder: pathlib.Path) -> PyTree:
  return _untyped().metadata(folder).item_metadata.tree


def _check_shapes(folder: pathlib.Path, like: PyTree) -> None:
  """Raise unless a saved tree has the shapes of `like`."""
  found = [leaf.shape for leaf in jax.tree.leaves(_shapes(folder))]
  paths = jax.tree_util.tree_leaves_with_path(like)
  expected = [tuple(leaf.shape) for _, leaf in paths]
  if len(found) != len(expected):
    raise UserError(
        f'{folder}: expected {len(expected)} arrays, found {len(found)}: it '
        'was saved by another model or optimiser.'
    )
  if sorted(found) == sorted(expected):
    return
  wrong = [
      jax.tree_util.keystr(path) for path, leaf in paths
      if tuple(leaf.shape) not in found
  ]
  raise UserError(
      f'{folder}: the arrays {", ".join(wrong[:3])} have other shapes: it was '
      'saved by another model.'
  )


def keep_frozen(workdir: pathlib.Path, frozen: Params) -> None:
  """Write the frozen parts once; later, check that they are the same.

  Args:
    workdir: folder of the stage.
    frozen: given parameters, by part; nothing is done if there are none.

  Raises:
    UserError: if a run there was started with others.
  """
  if not jax.tree.leaves(frozen):
    return
  given = _gather(frozen)
  if not devices.is_first():
    return
  folder = _folder(workdir) / _FROZEN
  if not folder.is_dir() or _fault(folder) is not None:
    _write(folder, {_FROZEN: given})
    return
  found, now = _named(_read_frozen(workdir)), _named(given)
  other = [
      name for name in sorted(set(found) | set(now))
      if name not in found or name not in now
      or not np.array_equal(found[name], now[name])
  ]
  if other:
    raise UserError(
        f'{folder}: the run there was started with other frozen weights: '
        f'{", ".join(other[:3])} and so on differ ({len(other)} of '
        f'{len(now)}). Name another --workdir, or give the same weights.'
    )


def _named(tree: PyTree) -> dict[str, np.ndarray]:
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}


def _read_frozen(workdir: pathlib.Path) -> PyTree:
  folder = _folder(workdir) / _FROZEN
  if not folder.is_dir():
    return {}
  fault = _fault(folder)
  if fault is not None:
    raise UserError(f'the frozen weights are broken: {fault}')
  return _read(folder / _FROZEN)


def good(workdir: pathlib.Path, step: int | None = None) -> pathlib.Path:
  """Return the folder of a step whose files are unchanged.

  Args:
    workdir: folder of the stage.
    step: which; by default the newest that passes.

  Returns:
    Its folder.

  Raises:
    UserError: naming the bad files, if none passes.
  """
  present = steps(workdir)
  if step is not None and step not in present:
    raise UserError(
        f'{_folder(workdir)}: expected step {step}, found {present}.'
    )
  faults = []
  for number in present[::-1] if step is None else [step]:
    folder = _step_folder(workdir, number)
    fault = _fault(folder)
    if fault is None:
      return folder
    faults.append(fault)
    print(f'checkpoint {number} is broken and passed over: {fault}')
  raise UserError(f'no good checkpoint: {"; ".join(faults)}')


def _fault(folder: pathlib.Path) -> str | None:
  """Return what is wrong with a folder, None if its sums are right."""
  try:
    expected = json.loads((folder / _SUMS).read_text())
    found = _sums(folder)
    names = sorted(set(expected) | set(found))
  except (OSError, ValueError, TypeError) as error:
    return f'{folder / _SUMS}: {error}'
  for name in names:
    if name not in found:
      return f'{folder / name}: expected a file, as in {_SUMS}, found none'
    if name not in expected:
      return f'{folder / name}: not in {_SUMS}'
    if found[name] != expected[name]:
      return (
          f'{folder / name}: expected SHA-256 {expected[name]}, as in {_SUMS}, '
          f'found {found[name]}'
      )
  return None


def _sums(folder: pathlib.Path) -> dict[str, str]:
  return {
      str(path.relative_to(folder)): _sum(path)
      for path in sorted(folder.rglob('*'))
      if path.is_file() and path != folder / _SUMS
  }


def _sum(path: pathlib.Path) -> str:
  with path.open('rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()
