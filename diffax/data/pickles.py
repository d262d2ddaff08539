"""Pickles of arrays, read without running their code.

A pickle can name any function, and the usual reader calls it. Here only what
makes arrays and containers may be named. A damaged pickle can also number an
entry of its memo so high that the reader sets aside gigabytes for it; no entry
has a higher number than the place where it stands.
"""

import io
import pickle
import pickletools
from typing import Any

from diffax.data import files
from diffax.errors import DataError

_ALLOWED = {
    ('numpy', 'ndarray'), ('numpy', 'dtype'), ('_codecs', 'encode'),
    *((f'numpy.{core}.{module}', name) for core in ('core', '_core')
      for module, name in (
          ('multiarray', '_reconstruct'), ('multiarray', 'scalar'),
          ('numeric', '_frombuffer'))),
}


class _Plain(pickle.Unpickler):
  """Unpickle arrays and containers; refuse everything else."""

  def find_class(self, module: str, name: str) -> Any:
    """Look up what a pickle asks for."""
    if (module, name) not in _ALLOWED:
      raise pickle.UnpicklingError(f'{module}.{name} is no array')
    return super().find_class(module, name)


def loads(data: bytes) -> Any:
  """Unpickle arrays and containers.

  Args:
    data: a pickle, of Python 2 or 3.

  Returns:
    What it holds.

  Raises:
    Exception: of any kind, as a damaged pickle raises whatever its bytes happen
      to mean; UnpicklingError if it asks for anything but arrays.
  """
  for code, number, place in pickletools.genops(data):
    if code.name.endswith('PUT') and int(number or 0) > (place or 0):
      raise pickle.UnpicklingError('the memo has a number no entry can have')
  return _Plain(io.BytesIO(data), encoding='latin1').load()


def read(path: files.PathLike) -> dict[str, Any]:
  """Read a pickled dictionary of arrays without running its code.

  Raises:
    DataError: the file is missing, broken, or holds anything else.
  """
  data = files.read_bytes(path)
  try:
    found = loads(data)
  except Exception as error:
    raise DataError(
        path, 'pickle', 'a dictionary of arrays',
        f'{type(error).__name__}: {error}'
    ) from error
  if not isinstance(found, dict):
    raise DataError(
        path, 'pickle', 'a dictionary of arrays', type(found).__name__
    )
  return found
