"""Names in an exported folder, and the check that nothing in it has changed."""

import json
import pathlib
from typing import Any

from diffax.data import folders
from diffax.errors import DataError
from diffax.errors import UserError

FORMAT = 1
"""Version of the layout; a reader refuses another."""

CARD = 'README.md'
CONFIG = 'config.json'
INFO = 'info.json'
ARRAYS = 'info.safetensors'
WEIGHTS = 'weights.safetensors'
SAMPLERS = 'samplers.json'
METRICS = 'metrics.json'
VOCODER = 'vocoder'
_NEEDED = (CARD, CONFIG, INFO, ARRAYS, WEIGHTS, SAMPLERS)
_REMEDY = 'Copy the folder again, or export the run again'


def verify(folder: pathlib.Path) -> dict[str, Any]:
  """Compare every file with the manifest.

  Args:
    folder: exported.

  Returns:
    The manifest.

  Raises:
    UserError: there is no such folder.
    DataError: naming a file that is missing, cut, changed or of a newer
      format.
  """
  if not folder.is_dir():
    raise UserError(
        f'{folder}: expected a folder that --mode=export wrote, found none.'
    )
  _check_format(folder / folders.MANIFEST)
  manifest = folders.read_manifest(folder, FORMAT, _REMEDY)
  for name in sorted({*_NEEDED, *manifest['files']}):
    _check_file(folder / name, manifest['files'].get(name))
  return manifest


def listed(folder: pathlib.Path) -> set[str]:
  """Return the names of an export's files; none of any other folder."""
  try:
    manifest = folders.read_manifest(folder, FORMAT, _REMEDY)
  except DataError:
    return set()
  files = manifest.get('files', {})
  return {folders.MANIFEST, *files} if WEIGHTS in files else set()


def _check_format(path: pathlib.Path) -> None:
  try:
    manifest = json.loads(path.read_text(encoding='utf-8'))
  except (OSError, ValueError):
    # The reader says what is wrong.
    return
  found = manifest.get('format') if isinstance(manifest, dict) else None
  if isinstance(found, int) and found > FORMAT:
    made_with = manifest.get('versions', {}).get('diffax')
    raise DataError(
        path, 'format', f'at most {FORMAT}', f'{found}',
        f'It was exported by diffax {made_with}; install that or a newer one'
    )


def _check_file(path: pathlib.Path, expected: Any) -> None:
  if expected is None:
    raise DataError(
        path, 'file', f'an entry in {folders.MANIFEST}', 'none', _REMEDY
    )
  if not path.is_file():
    raise DataError(path, 'file', 'one of the folder', 'no such file', _REMEDY)
  size = path.stat().st_size
  if size != expected['bytes']:
    raise DataError(
        path, 'size', f'{expected["bytes"]} bytes', f'{size} bytes', _REMEDY
    )
  found = folders.digest(path)
  if found != expected['sha256']:
    raise DataError(path, 'SHA-256', expected['sha256'], found, _REMEDY)
