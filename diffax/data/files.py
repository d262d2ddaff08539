"""Open motion files: plain, xz or gz, text or npz; every fault a DataError.

The readers share what is here: decompression, numbers, units and axes.
"""

from collections.abc import Sequence
import gzip
import io
import lzma
import math
import pathlib
import zipfile
import zlib

import numpy as np

from diffax.errors import DataError
from diffax.errors import UserError

PathLike = str | pathlib.Path

METRES = {
    'm': 1.0,
    'cm': 0.01,
    'mm': 0.001,
    'in': 0.0254,
    'ft': 0.3048,
    'acclaim': 0.0254 / 0.45,
}
"""Metres in one unit of length; `acclaim` is the 0.45 units per inch of CMU."""

BODY_SPAN = (1.55, 3.35)
"""Metres along the bones of a grown person, from hand to opposite foot."""

LARGEST = 1e9
"""Bound of any number in a file; squares of larger ones lose meaning."""


LARGEST_FILE = 2**30
"""Bytes in a compressed file at most, so that a small one fills no memory."""


def bare_suffix(path: PathLike) -> str:
  """Return the suffix in lower case, seen through a final `.xz` or `.gz`."""
  return pathlib.Path(bare_name(path)).suffix.lower()


def bare_name(path: PathLike) -> str:
  """Return the file name without a final `.xz` or `.gz`."""
  name = pathlib.Path(path).name
  return name[:-3] if name.lower().endswith(('.xz', '.gz')) else name


def read_bytes(path: PathLike) -> bytes:
  """Read a file; decompress `.xz`, and gzip under any name.

  Args:
    path: the file.

  Returns:
    Its bytes, never empty.

  Raises:
    DataError: the file is missing, unreadable, empty or a damaged archive.
  """
  try:
    data = pathlib.Path(path).read_bytes()
  except OSError as error:
    raise DataError(
        path, 'file', 'a readable file', error.strerror or str(error)
    ) from error
  if pathlib.Path(path).suffix.lower() == '.xz':
    # Only this format has check sums, and bounds what it asks for.
    data = _unpacked(path, 'xz', lzma.LZMAFile(
        io.BytesIO(data), format=lzma.FORMAT_XZ))
  elif data[:2] == b'\x1f\x8b':
    data = _unpacked(path, 'gzip', gzip.GzipFile(fileobj=io.BytesIO(data)))
  elif pathlib.Path(path).suffix.lower() == '.gz':
    raise DataError(
        path, 'compression', 'a gzip archive', f'bytes {data[:2].hex()}')
  if not data.strip():
    raise DataError(path, 'file', 'a motion', 'an empty file')
  return data


def _unpacked(
    path: PathLike, kind: str, archive: lzma.LZMAFile | gzip.GzipFile
) -> bytes:
  try:
    data = archive.read(LARGEST_FILE + 1)
  except (lzma.LZMAError, zlib.error, EOFError, OSError) as error:
    raise DataError(
        path, 'compression', f'a whole {kind} archive', str(error)
    ) from error
  if len(data) > LARGEST_FILE:
    raise DataError(
        path, 'compression', f'at most {LARGEST_FILE} bytes inside', 'more')
  return data


def write_bytes(path: PathLike, data: bytes) -> None:
  """Write a file and the folders it lies in, compressed if it ends in `.xz`.

  Raises:
    UserError: it cannot be written.
  """
  place = pathlib.Path(path)
  try:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(lzma.compress(data) if place.suffix == '.xz' else data)
  except OSError as error:
    raise UserError(f'{path}: cannot be written: {error}') from error


def read_text(path: PathLike) -> str:
  """Read a text file, decompressed.

  Raises:
    DataError: as `read_bytes`, or the file is binary.
  """
  data = read_bytes(path)
  if b'\0' in data:
    raise DataError(
        path, 'file', 'text', f'a zero byte at {data.index(0)} (binary data)'
    )
  return data.decode('utf-8-sig', errors='replace')


def read_arrays(path: PathLike) -> dict[str, np.ndarray]:
  """Read every array of an npz file, refusing pickled objects.

  Raises:
    DataError: as `read_bytes`, or an array cannot be decoded.
  """
  data = read_bytes(path)
  try:
    _check_archive(data)
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
      return {key: arrays[key] for key in arrays.files}
  except Exception as error:
    # zipfile, zlib and NumPy each raise their own kinds on a damaged archive.
    raise DataError(
        path, 'npz archive', 'whole arrays without Python objects',
        f'{type(error).__name__}: {error}',
    ) from error


def _check_archive(data: bytes) -> None:
  """Raise a ValueError if arrays claim more than their archive holds.

  NumPy sets aside what the header of an array claims before it reads on.
  """
  with zipfile.ZipFile(io.BytesIO(data)) as archive:
    members = archive.infolist()
    if sum(member.file_size for member in members) > LARGEST_FILE:
      raise ValueError(f'more than {LARGEST_FILE} bytes inside')
    for member in members:
      with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        shape, _, dtype = (
            np.lib.format.read_array_header_1_0 if version == (1, 0)
            else np.lib.format.read_array_header_2_0)(file)
        claimed = math.prod(shape) * dtype.itemsize
        if not 0 <= claimed <= member.file_size and not dtype.hasobject:
          raise ValueError(
              f'{member.filename} claims {claimed} bytes and has '
              f'{member.file_size}')


def numbers(
    path: PathLike,
    field: str,
    tokens: Sequence[str],
    count: int | None = None,
    width: int | None = None,
) -> np.ndarray:
  """Convert words to finite numbers.

  Args:
    path: the file, for the message.
    field: what the words stand for, for the message.
    tokens: the words.
    count: how many there must be; any number if None.
    width: numbers in a row, for a table.

  Returns:
    The numbers `[count]`, or `[rows, width]`, float64.

  Raises:
    DataError: a wrong count, a word that is no number, or `check_numbers`.
  """
  if count is not None and len(tokens) != count:
    raise DataError(path, field, f'{count} numbers', f'{len(tokens)}')
  try:
    values = np.array(tokens, dtype=np.float64)
  except ValueError:
    bad = next(token for token in tokens if not is_number(token))
    raise DataError(path, field, 'numbers', repr(bad[:40])) from None
  if width is not None:
    values = values.reshape(-1, width)
  return check_numbers(path, field, values)


def check_numbers(
    path: PathLike, field: str, array: np.ndarray
) -> np.ndarray:
  """Convert an array to float64 and refuse values that no motion has.

  Raises:
    DataError: not numbers, NaN, infinity, or beyond `LARGEST`.
  """
  if array.dtype.kind not in 'fiu':
    raise DataError(path, field, 'numbers', f'dtype {array.dtype}')
  array = array.astype(np.float64)
  bad = ~(np.abs(array) < LARGEST)
  if bad.any():
    where = np.argwhere(bad)[0].tolist()
    raise DataError(
        path, field, f'finite numbers below {LARGEST:g}',
        f'{array[tuple(where)]:g} at {where} ({bad.sum()} in all)')
  return array


def is_number(token: str) -> bool:
  """Say whether a word is a number in the sense of `float`."""
  try:
    float(token)
  except ValueError:
    return False
  return True


def whole(path: PathLike, field: str, token: str) -> int:
  """Convert a word to a whole number of at most nine digits.

  Raises:
    DataError: the word is not such a number.
  """
  if token.isascii() and token.isdigit() and len(token) <= 9:
    return int(token)
  raise DataError(path, field, 'a whole number', repr(token[:40]))


def to_z_up(positions: np.ndarray, up: str) -> np.ndarray:
  """Turn positions so that Z points up, by a proper rotation about X.

  Args:
    positions: `[..., 3]`.
    up: the axis that points up, `'y'` or `'z'`.

  Returns:
    `(x, -z, y)` for `'y'`, the positions themselves for `'z'`.
  """
  if up == 'z':
    return positions
  x, y, z = np.moveaxis(positions, -1, 0)
  return np.stack([x, -z, y], axis=-1)


def to_y_up(positions: np.ndarray) -> np.ndarray:
  """Turn Z-up positions so that Y points up; undoes `to_z_up`."""
  x, y, z = np.moveaxis(positions, -1, 0)
  return np.stack([x, z, -y], axis=-1)


def guess_unit(size: float) -> str | None:
  """Name the unit in which `size` is the reach of a grown person.

  The candidates differ by more than people do, so at most one fits.

  Args:
    size: longest path through the bones, in an unknown unit.

  Returns:
    A key of `METRES`, or None.
  """
  low, high = BODY_SPAN
  for unit in ('m', 'cm', 'in', 'mm', 'acclaim'):
    if low <= size * METRES[unit] <= high:
      return unit
  return None
