"""A folder of arrays that is whole or absent: manifest, checksums, renaming.

A folder is filled beside its place and renamed, so that no reader sees half of
it. `manifest.json` names the size and SHA-256 of each file, and seals itself:
reading compares every byte.
"""

from collections.abc import Iterable, Iterator, Mapping
import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import tempfile
from typing import Any

import numpy as np

from diffax.errors import DataError

MANIFEST = 'manifest.json'


@contextlib.contextmanager
def filling(folder: pathlib.Path) -> Iterator[pathlib.Path]:
  """Give an empty folder that takes the place of `folder` if all goes well.

  Args:
    folder: where it shall be; an older one is replaced.

  Yields:
    The folder to fill.

  Raises:
    OSError: the place cannot be written; an older folder is then kept.
  """
  folder = folder.expanduser().absolute()
  folder.parent.mkdir(parents=True, exist_ok=True)
  work = pathlib.Path(
      tempfile.mkdtemp(prefix=f'.{folder.name}-', dir=folder.parent)
  )
  try:
    yield work
    # mkdtemp makes private folders; a store may be shared.
    work.chmod(0o755)
    _replace(work, folder)
  finally:
    shutil.rmtree(work, ignore_errors=True)


def write_manifest(
    folder: pathlib.Path, manifest: Mapping[str, Any], names: Iterable[str]
) -> dict[str, Any]:
  """Write the manifest of a filled folder.

  Args:
    folder: to describe.
    manifest: what is inside; whatever is no JSON becomes text.
    names: of its files.

  Returns:
    The manifest as it is read back, with `files` and `sha256`.
  """
  files = {
      name: {'sha256': digest(folder / name),
             'bytes': (folder / name).stat().st_size}
      for name in names
  }
  rest = json.loads(json.dumps({**manifest, 'files': files}, default=str))
  sealed = {**rest, 'sha256': _seal(rest)}
  (folder / MANIFEST).write_text(json.dumps(sealed, indent=1) + '\n')
  return sealed


def read_manifest(
    folder: pathlib.Path, version: int, remedy: str
) -> dict[str, Any]:
  """Read a manifest.

  Args:
    folder: that it describes.
    version: its `format`.
    remedy: what helps if it is broken.

  Returns:
    The manifest.

  Raises:
    DataError: it is absent, changed or of another format.
  """
  path = folder.expanduser() / MANIFEST
  try:
    manifest = json.loads(path.read_text())
  except OSError as error:
    raise DataError(
        path, 'file', 'a readable manifest', f'{error}', remedy
    ) from error
  except ValueError as error:
    raise DataError(path, 'text', 'a JSON object', f'{error}', remedy) from (
        error
    )
  found = manifest.get('format') if isinstance(manifest, dict) else None
  if found != version:
    raise DataError(path, 'format', f'{version}', f'{found}', remedy)
  seal = _seal(manifest)
  if manifest.get('sha256') != seal:
    raise DataError(
        path, 'SHA-256', f'{manifest.get("sha256")}', seal, remedy
    )
  return manifest


def load(
    folder: pathlib.Path, name: str, manifest: Mapping[str, Any], remedy: str
) -> np.ndarray:
  """Read an array, mapped from disk.

  Args:
    folder: where it lies.
    name: of the file.
    manifest: of the folder.
    remedy: what helps if it is broken.

  Returns:
    The array.

  Raises:
    DataError: it is absent, cut or changed.
  """
  path, expected = folder.expanduser() / name, manifest['files'][name]
  if not path.is_file():
    raise DataError(
        path, 'file', 'an array of the store', 'no such file', remedy
    )
  size = path.stat().st_size
  if size != expected['bytes']:
    raise DataError(
        path, 'size', f'{expected["bytes"]} bytes', f'{size} bytes', remedy
    )
  found = digest(path)
  if found != expected['sha256']:
    raise DataError(path, 'SHA-256', expected['sha256'], found, remedy)
  return np.load(path, mmap_mode='r')


def digest(path: pathlib.Path) -> str:
  """Return the SHA-256 of a file."""
  with path.open('rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def _seal(manifest: Mapping[str, Any]) -> str:
  rest = {key: value for key, value in manifest.items() if key != 'sha256'}
  text = json.dumps(rest, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()


def _replace(work: pathlib.Path, folder: pathlib.Path) -> None:
  if not folder.exists():
    try:
      os.replace(work, folder)
      return
    except OSError:
      # Another process may have been quicker with the same data.
      if not (folder / MANIFEST).is_file():
        raise
      return
  # A folder cannot be renamed over a full one.
  old = pathlib.Path(tempfile.mkdtemp(prefix='.old-', dir=folder.parent))
  os.replace(folder, old / folder.name)
  os.replace(work, folder)
  shutil.rmtree(old, ignore_errors=True)
