"""Read an exported folder: a model without a data set."""

from collections.abc import Mapping
import json
import os
import pathlib
from typing import Any

import jax
import ml_collections
import numpy as np

from diffax import config as configs
from diffax import trained
from diffax.data.base import Source
from diffax.errors import DataError
from diffax.errors import UserError
from diffax.export import codec
from diffax.export import layout
from diffax.export import weights as files
from diffax.systems.base import Variables
from diffax.trained import Trained
from diffax.typing import Batch


def load(folder: str | os.PathLike[str]) -> Trained:
  """Load an exported model.

  Args:
    folder: that `--mode=export` wrote; every byte of it is checked.

  Returns:
    The model: `sample(batch, key)` gives arrays by name, on the same machine
    those of the run bit for bit; `source.info` is what it knows of its data,
    `config` its settings. Of the data there are no more than the windows that
    some systems take moments of, `source.segments('train')`.

  Raises:
    UserError: there is no such folder, or the weights are of another model.
    DataError: a file of it is missing, cut, changed or of a newer format.
  """
  place = pathlib.Path(folder).expanduser()
  step = layout.verify(place)['step']
  config = ml_collections.ConfigDict(_object(place / layout.CONFIG, {}))
  arrays = files.read_arrays(place / layout.ARRAYS)
  facts = _object(place / layout.INFO, arrays)
  _place_vocoder(config, place)
  settings = configs.stage(config, config.stages[-1])
  source = _source(facts['info'], facts['example'], place)
  system = configs.system(settings, source.info)
  found = files.read(place / layout.WEIGHTS)
  variables = Variables(found.get('params', {}), found.get('frozen', {}))
  example = _structs(facts['example'])
  configs.check_shapes(
      variables, trained.shapes_for(system, example),
      str(place / layout.WEIGHTS)
  )
  return trained.bind(
      trained.Parts(config, settings, source, system, variables, step)
  )


def _object(
    path: pathlib.Path, arrays: Mapping[str, np.ndarray]
) -> dict[str, Any]:
  try:
    found = codec.decode(
        json.loads(path.read_text(encoding='utf-8')), arrays, path
    )
  except (OSError, ValueError) as error:
    if isinstance(error, DataError):
      raise
    raise DataError(path, 'text', 'a JSON object', f'{error}') from error
  if not isinstance(found, dict):
    raise DataError(path, 'text', 'a JSON object', type(found).__name__)
  return found


def _structs(
    example: Mapping[str, tuple[tuple[int, ...], str]]
) -> dict[str, jax.ShapeDtypeStruct]:
  return {
      name: jax.ShapeDtypeStruct(shape, dtype)
      for name, (shape, dtype) in example.items()
  }


def _source(
    info: Mapping[str, Any],
    example: Mapping[str, tuple[tuple[int, ...], str]],
    folder: pathlib.Path,
) -> Source:
  """Return a source that has facts but no data."""

  def lacking(what: str) -> UserError:
    return UserError(
        f'{folder}: an exported model has no {what}; give it data of yours '
        '(--input, or --seconds where it needs none).'
    )

  def train(step: int) -> Batch:
    raise lacking(f'training batches, found asked for step {step}')

  def segments(split: str) -> Batch:
    if split != 'train':
      raise lacking(f'split {split!r}')
    return dict(info.get('picked') or {
        name: np.zeros((0, *shape[1:]), dtype)
        for name, (shape, dtype) in example.items()
    })

  return Source(info, train, segments)


def _place_vocoder(
    config: ml_collections.ConfigDict, folder: pathlib.Path
) -> None:
  """Let the settings name the folder's vocoder where it lies now."""
  if config.eval.get('vocoder', {}).get('weights'):
    with config.unlocked():
      config.eval.vocoder.weights = str(folder / layout.VOCODER)
