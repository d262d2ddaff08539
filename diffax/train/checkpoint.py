"""Checkpoints that are whole or absent, and known to be unchanged.

A step is written by orbax into a folder with a temporary name, the SHA-256 of
every file is added, and one rename makes it count. Restoring checks the sums
and falls back to the newest older step that passes, naming the bad file:
array data on disk carry no checksum of their own, so a flipped bit would
otherwise be restored as a wrong number.
"""

import hashlib
import json
import pathlib
import shutil
from typing import Any

import jax
from jax.experimental import multihost_utils
import numpy as np
import orbax.checkpoint as ocp

from diffax.errors import UserError
from diffax.train.state import TrainState
from diffax.typing import PyTree

_SUMS = 'SHA256.json'
_ITEMS = ('params', 'ema', 'opt_state', 'counters')


def _folder(workdir: pathlib.Path) -> pathlib.Path:
  return pathlib.Path(workdir).absolute() / 'checkpoints'


def steps(workdir: pathlib.Path) -> list[int]:
  """Return the finished steps in a stage's folder, ascending."""
  folder = _folder(workdir)
  found = folder.iterdir() if folder.is_dir() else ()
  return sorted(
      int(path.name) for path in found
      if path.name.isdigit() and (path / _SUMS).is_file()
  )


def _items(state: TrainState) -> dict[str, Any]:
  return {
      'params': state.params,
      'ema': state.ema,
      'opt_state': state.opt_state,
      'counters': {'step': state.step, 'skipped': state.skipped},
  }


def save(workdir: pathlib.Path, state: TrainState, keep: int = 3) -> None:
  """Write a step; all hosts call this together.

  Args:
    workdir: folder of the stage.
    state: to save; `frozen` is not, since it is given.
    keep: newest steps that stay.

  Raises:
    UserError: if the disk is full or not writable; older steps stay whole.
  """
  folder, step = _folder(workdir), int(state.step)
  final = folder / f'{step:08d}'
  if step in steps(workdir):
    return
  work = folder / f'{step:08d}.part'
  try:
    if jax.process_index() == 0:
      folder.mkdir(parents=True, exist_ok=True)
      for stale in (*folder.glob('*.part'), final):
        shutil.rmtree(stale, ignore_errors=True)
    _barrier(f'clean {step}')
    with ocp.StandardCheckpointer() as checkpointer:
      for name, item in _items(state).items():
        checkpointer.save(work / name, item)
        checkpointer.wait_until_finished()
    if jax.process_index() == 0:
      (work / _SUMS).write_text(json.dumps(_sums(work), indent=1))
      work.rename(final)
      for old in steps(workdir)[:-keep]:
        shutil.rmtree(folder / f'{old:08d}')
    _barrier(f'saved {step}')
  except OSError as error:
    raise UserError(
        f'{final}: the checkpoint could not be written: {error}. Older ones '
        f'are whole: {steps(workdir)}.'
    ) from error
  except ValueError as error:
    # Orbax wraps a full disk in its storage layer's own error.
    if 'space' not in str(error) and 'ermission' not in str(error):
      raise
    raise UserError(
        f'{final}: the checkpoint could not be written: {error}'
    ) from error


def restore(workdir: pathlib.Path, like: TrainState) -> TrainState | None:
  """Return the newest good step, or None if there is no checkpoint.

  Args:
    workdir: folder of the stage.
    like: a state of the same structure, whose placement is taken over.

  Returns:
    The saved state; `frozen` is that of `like`.

  Raises:
    UserError: if there are checkpoints and all are broken.
  """
  if not steps(workdir):
    return None
  folder = good(workdir)
  items = _items(like)
  with ocp.StandardCheckpointer() as checkpointer:
    found = {
        name: checkpointer.restore(
            folder / name, jax.tree.map(ocp.utils.to_shape_dtype_struct, item)
        )
        for name, item in items.items()
    }
  return like.replace(
      params=found['params'],
      ema=found['ema'],
      opt_state=found['opt_state'],
      **found['counters'],
  )


def load(
    workdir: pathlib.Path, item: str, step: int | None = None
) -> tuple[PyTree, int]:
  """Read one part of a run without knowing its shapes.

  Args:
    workdir: folder of the stage.
    item: `params` or `ema`.
    step: which; by default the newest good one.

  Returns:
    A tree of NumPy arrays, and the step.

  Raises:
    UserError: if there is no such item or step, or it is broken.
  """
  if item not in ('params', 'ema'):
    raise UserError(f'weights: expected params or ema, found {item!r}.')
  if not steps(workdir):
    raise UserError(
        f'{_folder(workdir)}: expected a checkpoint, found none. Train first.'
    )
  folder = good(workdir, step)
  checkpointer = ocp.PyTreeCheckpointer()
  shapes = checkpointer.metadata(folder / item).item_metadata.tree
  as_numpy = jax.tree.map(
      lambda _: ocp.RestoreArgs(restore_type=np.ndarray), shapes
  )
  tree = checkpointer.restore(folder / item, restore_args=as_numpy)
  return tree, int(folder.name)


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
  wanted = steps(workdir)[::-1] if step is None else [step]
  faults = []
  for number in wanted:
    folder = _folder(workdir) / f'{number:08d}'
    fault = _fault(folder)
    if fault is None:
      return folder
    faults.append(fault)
    print(f'checkpoint {number} is broken and passed over: {fault}')
  raise UserError(f'no good checkpoint: {"; ".join(faults)}')


def _fault(folder: pathlib.Path) -> str | None:
  try:
    expected = json.loads((folder / _SUMS).read_text())
  except (OSError, ValueError) as error:
    return f'{folder / _SUMS}: {error}'
  found = _sums(folder)
  for name in sorted(set(expected) | set(found)):
    if name not in found:
      return f'{folder / name}: expected a file, found none'
    if found[name] != expected.get(name):
      return (
          f'{folder / name}: expected SHA-256 {expected.get(name)}, found '
          f'{found[name]}'
      )
  return None


def _sums(folder: pathlib.Path) -> dict[str, str]:
  return {
      str(path.relative_to(folder)): _sum(path)
      for path in sorted(folder.rglob('*'))
      if path.is_file() and path.name != _SUMS
  }


def _sum(path: pathlib.Path) -> str:
  with path.open('rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def _barrier(name: str) -> None:
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices(name)
