"""The settings that a run was started with, and that it must keep."""

from collections.abc import Mapping
import json
import pathlib
from typing import Any

import numpy as np

from diffax.errors import UserError
from diffax.train import checkpoint
from diffax.train import devices

# These do not change what a step computes. The weights that `pretrained`
# names are compared themselves, wherever they lie. How a trained system draws
# samples is no part of its training.
_MAY_CHANGE = (
    'steps', 'epochs', 'epoch_steps', 'checkpoint', 'log_every', 'pretrained',
    'data.root', 'data.store',
    'system.sampler', 'system.guidance', 'system.switch', 'system.window',
    'system.blend', 'system.bones', 'system.continuation', 'system.samples',
    'data.test_noise', 'data.test_future_seconds', 'data.test_left_seconds',
)


def keep(workdir: pathlib.Path, config: Mapping[str, Any]) -> None:
  """Write the config of a run, or compare it with that of the run to resume.

  Args:
    workdir: folder of the stage.
    config: nested, of plain values.

  Raises:
    UserError: naming every field that differs, or if the folder cannot be
      written or read.
  """
  path = workdir / 'config.json'
  try:
    if path.is_file() and checkpoint.steps(workdir):
      _compare(path, json.loads(path.read_text()), config)
    elif devices.is_first():
      workdir.mkdir(parents=True, exist_ok=True)
      path.write_text(_text(config) + '\n')
  except (OSError, json.JSONDecodeError) as error:
    raise UserError(f'{path}: {error}') from error


def check(workdir: pathlib.Path, config: Mapping[str, Any]) -> None:
  """Compare a config with that of the run whose weights are to be used.

  Other data or another split would let a model be judged, without a word, by
  what it was trained on.

  Args:
    workdir: folder of the stage; without a config nothing is compared.
    config: nested, of plain values.

  Raises:
    UserError: naming every field that differs, or if the config of the run
      cannot be read.
  """
  path = workdir / 'config.json'
  try:
    if path.is_file():
      _compare(path, json.loads(path.read_text()), config)
  except (OSError, json.JSONDecodeError) as error:
    raise UserError(f'{path}: {error}') from error


def _compare(
    path: pathlib.Path, old: Mapping[str, Any], new: Mapping[str, Any]
) -> None:
  was, now = _flat(old), _flat(json.loads(_text(new)))
  differing = [
      f'{key}: was {was.get(key)!r}, is {now.get(key)!r}'
      for key in sorted(set(was) | set(now))
      if was.get(key) != now.get(key) and not _may_change(key)
  ]
  if differing:
    raise UserError(
        f'{path}: the run there has another config. ' + '; '.join(differing)
        + '. Name another --workdir, or undo the change.'
    )


def _may_change(key: str) -> bool:
  return any(key == free or key.startswith(f'{free}.') for free in _MAY_CHANGE)


def _flat(tree: Any, prefix: str = '') -> dict[str, Any]:
  if not isinstance(tree, Mapping):
    return {prefix.rstrip('.'): tree}
  return {
      key: value
      for name, branch in tree.items()
      for key, value in _flat(branch, f'{prefix}{name}.').items()
  }


def _text(config: Mapping[str, Any]) -> str:
  return json.dumps(config, indent=2, default=_plain)


def _plain(value: Any) -> Any:
  return value.tolist() if isinstance(value, np.ndarray) else str(value)
