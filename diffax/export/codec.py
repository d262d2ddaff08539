"""Settings and facts as JSON, without loss and without pickle.

What JSON knows stands as it is, mappings in their order. Anything else is an
object with one key that begins with a dollar:

  {"$tuple": [...]}            {"$pairs": [[key, value], ...]}, odd mappings
  {"$array": NAME}             an array of the safetensors file beside it
  {"$strings": [...]}          an array of strings
  {"$number": [DTYPE, text]}   a number of NumPy's, or one that is not finite
  {"$skeleton": {...}}         a `body.skeletons.Skeleton`

Values that are none of these, such as functions, are refused.
"""

from collections.abc import Mapping
import dataclasses
import math
from typing import Any

import jax
import numpy as np

from diffax.body.skeletons import Skeleton
from diffax.errors import DataError
from diffax.errors import UserError


def encode(value: Any, arrays: dict[str, np.ndarray], place: str) -> Any:
  """Turn a value into JSON.

  Args:
    value: nested mappings, tuples, lists, arrays, skeletons, plain values.
    arrays: filled with the arrays, by their place.
    place: of the value, such as `info`; for messages and names of arrays.

  Returns:
    What `json.dumps` takes.

  Raises:
    UserError: naming the place of a value that has no such form.
  """
  if isinstance(value, np.generic) and not isinstance(value, np.str_):
    return {'$number': [value.dtype.name, str(value)]}
  if value is None or isinstance(value, (bool, int, str)):
    return value
  if isinstance(value, float):
    return value if math.isfinite(value) else {'$number': ['float', str(value)]}
  if isinstance(value, (np.ndarray, jax.Array)):
    return _encode_array(np.asarray(value), arrays, place)
  if isinstance(value, Skeleton):
    fields = {
        field.name: getattr(value, field.name)
        for field in dataclasses.fields(value)
    }
    return {'$skeleton': encode(fields, arrays, place)}
  if isinstance(value, Mapping):
    return _encode_mapping(value, arrays, place)
  if isinstance(value, (tuple, list)) and not hasattr(value, '_fields'):
    items = [encode(x, arrays, f'{place}.{i}') for i, x in enumerate(value)]
    return {'$tuple': items} if isinstance(value, tuple) else items
  raise UserError(
      f'{place}: expected numbers, text, arrays, a skeleton, or mappings and '
      f'lists of them, which can be exported, found {type(value).__name__}.'
  )


def decode(value: Any, arrays: Mapping[str, np.ndarray], file: object) -> Any:
  """Undo `encode`.

  Args:
    value: as read by `json.loads`.
    arrays: of the file beside it.
    file: named in messages.

  Returns:
    The value.

  Raises:
    DataError: it is none that `encode` makes.
  """
  if isinstance(value, list):
    return [decode(item, arrays, file) for item in value]
  if not isinstance(value, dict):
    return value
  tag = next(iter(value), '')
  if len(value) != 1 or not tag.startswith('$'):
    return {key: decode(item, arrays, file) for key, item in value.items()}
  if tag not in _DECODERS:
    raise DataError(
        file, 'form of a value', f'one of {sorted(_DECODERS)}', tag,
        'It was written by a newer diffax'
    )
  if tag == '$array' and value[tag] not in arrays:
    raise DataError(file, str(value[tag]), 'an array beside it', 'none')
  try:
    inner = value[tag] if tag == '$array' else decode(value[tag], arrays, file)
    return _DECODERS[tag](inner, arrays)
  except (TypeError, ValueError, AttributeError) as error:
    raise DataError(file, tag, 'a value of this form', str(error)) from error


def _encode_array(
    value: np.ndarray, arrays: dict[str, np.ndarray], place: str
) -> Any:
  if value.dtype.kind == 'U':
    return {'$strings': value.tolist()}
  if value.dtype.kind not in 'biuf':
    raise UserError(
        f'{place}: expected an array of numbers or text, found {value.dtype}.'
    )
  arrays[place] = value
  return {'$array': place}


def _encode_mapping(
    value: Mapping[Any, Any], arrays: dict[str, np.ndarray], place: str
) -> Any:
  named = all(isinstance(k, str) and not k.startswith('$') for k in value)
  if named:
    return {k: encode(x, arrays, f'{place}.{k}') for k, x in value.items()}
  return {'$pairs': [
      [encode(k, arrays, f'{place} key {i}'),
       encode(x, arrays, f'{place}.{i}')]
      for i, (k, x) in enumerate(value.items())
  ]}


def _number(inner: Any, arrays: Mapping[str, np.ndarray]) -> Any:
  del arrays
  kind, text = inner
  if kind == 'float':
    return float(text)
  if kind == 'bool':
    return np.bool_(text == 'True')
  return np.dtype(kind).type(text)


_DECODERS = {
    '$tuple': lambda inner, arrays: tuple(inner),
    '$pairs': lambda inner, arrays: {key: item for key, item in inner},
    '$array': lambda inner, arrays: arrays[inner],
    '$strings': lambda inner, arrays: np.array(inner, np.str_),
    '$number': _number,
    '$skeleton': lambda inner, arrays: Skeleton(**inner),
}
