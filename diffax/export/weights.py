"""Trees of arrays as one safetensors file.

The names of an array's place are joined by `/`. Nodes without arrays, which
such a file cannot hold, are listed in its metadata.
"""

from collections.abc import Mapping, Sequence
import json
import pathlib
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from diffax.errors import DataError
from diffax.errors import UserError
from diffax.typing import PyTree

_EMPTY = 'empty'


def flatten(tree: PyTree) -> tuple[dict[str, np.ndarray], list[str]]:
  """Return the arrays of nested dicts by name, and the names of empty ones.

  Raises:
    UserError: a node is no dict, or a key no name.
  """
  arrays: dict[str, np.ndarray] = {}
  empty: list[str] = []

  def walk(node: PyTree, path: tuple[str, ...]) -> None:
    name = '/'.join(path)
    if not isinstance(node, Mapping):
      # safetensors writes strided arrays wrongly, without a word.
      arrays[name] = np.array(node, order='C')
      if arrays[name].dtype.kind not in 'biuf':
        raise UserError(
            f'weights {name}: expected an array in nested dicts, found '
            f'{type(node).__name__}.'
        )
      return
    if not node and path:
      empty.append(name)
    for key, value in node.items():
      if not isinstance(key, str) or '/' in key or not key:
        raise UserError(
            f'weights {name}: expected a name without /, found {key!r}.'
        )
      walk(value, (*path, key))

  walk(tree, ())
  return arrays, empty


def unflatten(arrays: Mapping[str, Any], empty: Sequence[str]) -> PyTree:
  """Undo `flatten`."""
  tree: dict[str, PyTree] = {}
  for name, value in [*arrays.items(), *((name, {}) for name in empty)]:
    *path, last = name.split('/')
    node = tree
    for key in path:
      node = node.setdefault(key, {})
    node[last] = value
  return tree


def write(path: pathlib.Path, tree: PyTree) -> None:
  """Write a tree.

  Raises:
    UserError: as `flatten`.
    OSError: the file cannot be written.
  """
  arrays, empty = flatten(tree)
  safetensors.numpy.save_file(arrays, path, {_EMPTY: json.dumps(empty)})


def read(path: pathlib.Path) -> PyTree:
  """Read a tree of NumPy arrays.

  Raises:
    DataError: it is no such file.
  """
  arrays = read_arrays(path)
  try:
    with safetensors.safe_open(path, 'numpy') as file:
      empty = json.loads((file.metadata() or {}).get(_EMPTY, '[]'))
    return unflatten(arrays, empty)
  except (TypeError, AttributeError, ValueError) as error:
    raise DataError(path, 'names', 'those of a tree', f'{error}') from error


def read_arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
  """Read arrays by name.

  Raises:
    DataError: it is no safetensors file.
  """
  try:
    found: dict[str, np.ndarray] = safetensors.numpy.load_file(path)
    return found
  except (OSError, safetensors.SafetensorError) as error:
    raise DataError(
        path, 'content', 'a safetensors file', f'{error}'
    ) from error
