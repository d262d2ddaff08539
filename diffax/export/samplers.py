"""A model's ways of sampling as StableHLO that runs without this package.

A sampler is a function of arrays alone,

  (1)  (weights by name, key [2] uint32, batch by name) -> arrays by name,

lowered once for several platforms. Its weights are named as in
`weights.safetensors`; its key is `jax.random.key_data(key)`, of a seed below
2**32 the numbers 0 and the seed. The batch is of any size where the system
traces with one that is not known, and else of the size that is stated.
"""

from collections.abc import Callable, Mapping, Sequence
import pathlib
from typing import Any, NamedTuple

import jax
from jax import export as jax_export

from diffax import signal
from diffax.errors import UserError
from diffax.export import weights as files
from diffax.sampling import dance_parts
from diffax.trained import Parts
from diffax.typing import Array

PLATFORMS = ('cpu', 'cuda', 'tpu')
_KEY_KIND = 'threefry2x32'
_ANY = 'B'

# Shape, of which the first is the batch's, and dtype by name.
Inputs = Mapping[str, tuple[tuple[Any, ...], str]]


class Sampler(NamedTuple):
  """Describe an exported sampler.

  Attributes:
    name: of the way of sampling.
    batch: size of a batch; None for any.
    inputs: shape and dtype by name.
    outputs: likewise.
  """

  name: str
  batch: int | None
  inputs: Inputs
  outputs: Inputs

  @property
  def file(self) -> str:
    """Its place in the folder."""
    return f'samplers/{self.name}.jax'

  def facts(self) -> dict[str, Any]:
    """Return what `samplers.json` says of it."""
    return {
        'file': self.file, 'platforms': list(PLATFORMS),
        'batch': 'any' if self.batch is None else self.batch,
        'inputs': _plain(self.inputs), 'outputs': _plain(self.outputs),
    }


def _plain(inputs: Inputs) -> dict[str, Any]:
  return {
      name: {
          'shape': [n if isinstance(n, int) else str(n) for n in shape],
          'dtype': dtype,
      }
      for name, (shape, dtype) in inputs.items()
  }


class _Model(NamedTuple):
  """The function of Eq. 1, and the shapes of its weights and key."""

  sample: Callable[..., dict[str, Array]]
  fixed: tuple[Mapping[str, jax.ShapeDtypeStruct], jax.ShapeDtypeStruct]


Made = tuple[Sampler, jax_export.Exported]


def make(found: Parts) -> list[Made]:
  """Lower every way in which a model can sample.

  Args:
    found: parts of the model.

  Returns:
    What they take and give, and the programs.

  Raises:
    UserError: the model can do nothing of what models of its kind do.
  """
  model = _model(found)
  return [
      _export(model, name, size, inputs)
      for name, (size, inputs) in _ways(found, model).items()
  ]


def write(folder: pathlib.Path, made: Sequence[Made]) -> None:
  """Write programs as `samplers/*.jax`.

  Args:
    folder: exported.
    made: from `make`.

  Raises:
    OSError: a file cannot be written.
  """
  (folder / 'samplers').mkdir()
  for sampler, exported in made:
    (folder / sampler.file).write_bytes(exported.serialize())


def _model(found: Parts) -> _Model:
  arrays, empty = files.flatten(found.weights._asdict())

  def sample(
      weights: Mapping[str, Array], key: Array, batch: Mapping[str, Array]
  ) -> dict[str, Array]:
    tree = files.unflatten(weights, empty)
    made: dict[str, Array] = found.system.sample(
        tree['params'], tree['frozen'], dict(batch),
        jax.random.wrap_key_data(key, impl=_KEY_KIND),
    )
    return made

  weights = {
      name: jax.ShapeDtypeStruct(x.shape, x.dtype) for name, x in arrays.items()
  }
  return _Model(sample, (weights, jax.ShapeDtypeStruct((2,), 'uint32')))


def _export(
    model: _Model, name: str, size: int, inputs: Inputs
) -> Made:
  """Export for any size of a batch or, if that cannot be traced, for one."""
  (any_size,) = jax_export.symbolic_shape(_ANY, constraints=[f'{_ANY} >= 1'])
  try:
    return _exported(model, name, None, _sized(inputs, any_size))
  except Exception:
    # Code that was not written for unknown sizes fails in many ways; what is
    # really wrong fails again.
    return _exported(model, name, size, _sized(inputs, size))


def _exported(
    model: _Model, name: str, size: int | None, inputs: Inputs
) -> Made:
  exported = jax_export.export(jax.jit(model.sample), platforms=PLATFORMS)(
      *model.fixed, _structs(inputs)
  )
  named = jax.tree.unflatten(exported.out_tree, exported.out_avals)
  made = {key: (x.shape, x.dtype.name) for key, x in named.items()}
  return Sampler(name, size, inputs, made), exported


def _structs(inputs: Inputs) -> dict[str, jax.ShapeDtypeStruct]:
  return {
      name: jax.ShapeDtypeStruct(shape, dtype)
      for name, (shape, dtype) in inputs.items()
  }


def _sized(inputs: Inputs, size: Any) -> Inputs:
  return {
      name: ((size, *shape[1:]), dtype)
      for name, (shape, dtype) in inputs.items()
  }


Ways = dict[str, tuple[int, Inputs]]


def _ways(found: Parts, model: _Model) -> Ways:
  """Return the batches that a model takes, by name: (size, inputs).

  A size is used where it must be stated; in the shapes it is 1.
  """
  kind = found.config.eval.name
  if kind not in WAYS:
    raise UserError(
        f'config.eval.name: expected one of {sorted(WAYS)}, whose samplers can '
        f'be exported, found {kind!r}.'
    )
  possible: Ways = {}
  for name, (size, inputs) in WAYS[kind](found).items():
    if any(_less(other, inputs) for _, other in possible.values()):
      # It makes the same of less.
      continue
    given = _structs(_sized(inputs, size))
    try:
      made = jax.eval_shape(model.sample, *model.fixed, given)
    except (UserError, KeyError):
      # It lacks what this model reads, or asks for what it does not make.
      continue
    task = dance_parts.TASKS.get(name)
    if task is None or set(task.made) <= set(made):
      possible[name] = size, inputs
  if not possible:
    raise UserError(
        f'{found.settings["system"]["name"]}: expected a model that makes one '
        f'of {sorted(WAYS[kind](found))}, found none.'
    )
  return possible


def _less(one: Inputs, other: Inputs) -> bool:
  return set(one) < set(other)


def _futures(found: Parts) -> Ways:
  info = found.source.info
  joints = info['skeleton'].num_nodes
  past = (1, info['past'], joints, 3), 'float32'
  future = (1, info['future'], joints, 3), 'float32'
  return {
      'futures': (16, {'past': past}),
      # An autoencoder, or a chain that is held against the truth.
      'futures_given_truth': (16, {'past': past, 'future': future}),
  }


def _modalities(found: Parts) -> Ways:
  info = found.source.info
  series = {
      name: ((1, info['length'], channels), 'float32')
      for name, channels in info['modalities'].items()
  }
  ways: Ways = {}
  for name in series:
    others = {k: v for k, v in series.items() if k != name}
    ways[f'{name}_given_{"_".join(others)}'] = 16, others
  return ways


def _windows(found: Parts) -> Ways:
  # As many of each class, which is what a network for each class wants.
  size = 2 * len(found.source.info['classes'])
  return {'windows': (size, {'label': ((1,), 'int32')})}


def _dances(found: Parts) -> Ways:
  info = found.source.info
  ways: Ways = {}
  for name, task in dance_parts.TASKS.items():
    inputs: Inputs = {
        part: ((1, info['frames'], info[part]['dims']), 'float32')
        for part in task.given
    } or {'frames': ((1, info['frames'], 0), 'float32')}
    ways[name] = 1, inputs
  return ways


def _sounds(found: Parts) -> Ways:
  mel = signal.preset(found.config.eval.get('mel', 'make_an_audio'))
  frames = found.source.info['samples'] // mel.hop
  return {'sound': (1, {'music': ((1, frames, mel.bands), 'float32')})}


WAYS: Mapping[str, Callable[[Parts], Ways]] = {
    'forecasting': _futures,
    'crossmodal': _modalities,
    'recognition': _windows,
    'dance': _dances,
    'vocoder': _sounds,
}
"""What models may be asked for, by the name of the config's evaluator."""
