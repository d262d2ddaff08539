"""A trained run, as evaluators and `--mode=sample` use it."""

from collections.abc import Callable, Mapping
import pathlib
from typing import Any, NamedTuple

import jax

from diffax import config as configs
from diffax.data.base import Source
from diffax.errors import UserError
from diffax.systems.base import System
from diffax.systems.base import Variables
from diffax.train import checkpoint
from diffax.train import settings as trained_with
from diffax.typing import Array
from diffax.typing import Batch
from diffax.typing import Key


class Trained(NamedTuple):
  """Hold a trained model: its data, and its functions with weights inside.

  Attributes:
    source: of the last stage, or what is evaluated instead; of an exported
      model its `info` alone.
    sample: (batch, key) -> arrays by name, as the system's; compiled once for
      each set of keys and shapes of the batch. What the batch does not hold
      the model does not see.
    encode: (batch, key) -> arrays by name, if the system has latents.
    config: of the run, if it is known.
  """

  source: Source
  sample: Callable[[Batch, Key], dict[str, Array]]
  encode: Callable[[Batch, Key], dict[str, Array]] | None = None
  config: Any = None


class Parts(NamedTuple):
  """What a trained model is made of.

  Attributes:
    config: of the run.
    settings: of its last stage.
    source: of that stage, or what is evaluated instead.
    system: of that stage.
    weights: trained ones, and those of earlier stages.
    step: that the trained ones are of.
  """

  config: Any
  settings: Mapping[str, Any]
  source: Source
  system: System
  weights: Variables
  step: int


def example(source: Source) -> dict[str, jax.ShapeDtypeStruct]:
  """Return the shapes of a batch."""
  # A set that is only evaluated has no training windows.
  trains = source.info.get('epoch_size', 1)
  batch = source.train(0) if trains else source.segments('test')
  return jax.eval_shape(lambda batch: batch, dict(batch))


def shapes(system: System, source: Source) -> Variables:
  """Return the shapes of a system's variables."""
  return shapes_for(system, example(source))


def shapes_for(
    system: System, batch: Mapping[str, jax.ShapeDtypeStruct]
) -> Variables:
  """Return the shapes of a system's variables for batches like an example."""
  found: Variables = jax.eval_shape(system.init, jax.random.key(0), batch)
  return found


def restore(config: Any, workdir: pathlib.Path) -> Trained:
  """Load the last stage as a model; see `parts`."""
  return bind(parts(config, workdir))


def parts(config: Any, workdir: pathlib.Path) -> Parts:
  """Load the last stage's weights, `config.eval.weights` params or ema.

  They are those of the last step, or of `config.eval.step` if it was kept.

  Args:
    config: of the run; `config.eval.data` are settings of the data that differ
      from those of the training, e.g. another set.
    workdir: of the run.

  Returns:
    The parts of the trained model.

  Raises:
    UserError: if the run is not trained, was trained with other settings than
      those that may change, or has weights of another model.
  """
  name = config.stages[-1]
  settings = configs.stage(config, name)
  trained_with.check(workdir / name, settings)
  settings['data'] |= config.eval.to_dict().get('data', {})
  source = configs.source(settings)
  system = configs.system(settings, source.info)
  folder = workdir / name
  if not folder.is_dir():
    raise UserError(
        f'--workdir {workdir}: expected a trained stage {name!r}, found no '
        f'folder {folder}. Run --mode=train first.'
    )
  wanted = config.eval.get('step')
  params, step = checkpoint.load(folder, config.eval.weights, wanted)
  expected = shapes(system, source)
  configs.check_shapes(params, expected.params, str(folder))
  print(f'{name}: {config.eval.weights} of step {step} from {folder}')
  frozen = configs.frozen(settings, workdir, expected.frozen)
  return Parts(
      config, settings, source, system, Variables(params, frozen), step
  )


def bind(found: Parts) -> Trained:
  """Return the functions of a model, with its weights inside."""

  def bound(function: Callable[..., Any]) -> Callable[[Batch, Key], Any]:
    # The weights are arguments: as constants they would be compiled in.
    call = jax.jit(function)
    return lambda batch, key: call(*found.weights, dict(batch), key)

  system = found.system
  encode = None if system.encode is None else bound(system.encode)
  return Trained(found.source, bound(system.sample), encode, found.config)
