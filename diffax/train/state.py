"""What a run carries from step to step."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from diffax.systems.base import System
from diffax.typing import Array
from diffax.typing import Batch
from diffax.typing import Key
from diffax.typing import Params


@flax.struct.dataclass
class TrainState:
  """Hold a run; there is no key, it follows from the seed and the step.

  Attributes:
    step: number of steps taken, int32.
    params: trained parameters.
    frozen: given parameters, by part.
    ema: moving average of `params`.
    opt_state: of the optimiser.
    skipped: steps in a row that were not finite, int32.
  """

  step: Array
  params: Params
  frozen: Params
  ema: Params
  opt_state: Any
  skipped: Array


def create(
    system: System,
    optimiser: optax.GradientTransformation,
    key: Key,
    batch: Batch,
    frozen: Params | None = None,
) -> TrainState:
  """Initialise a run.

  Args:
    system: to train.
    optimiser: whose state is made.
    key: of the initial parameters.
    batch: an example.
    frozen: parts that replace the freshly initialised ones.

  Returns:
    The state at step 0; the average starts as the parameters.
  """
  params, made = system.init(key, batch)
  given = made if frozen is None else frozen
  if system.prepare is not None:
    params = system.prepare(params, given, batch, jax.random.fold_in(key, 0))
  return TrainState(
      step=jnp.zeros((), jnp.int32),
      params=params,
      frozen=given,
      ema=params,
      opt_state=optimiser.init(params),
      skipped=jnp.zeros((), jnp.int32),
  )
