"""Optimisers and learning rates by name, from a config section.

  (1)  step_decay(n) = max(value factor^(1 + floor((n - hold) / every)), floor)
       for n >= hold, else value

covers the released schedules of SkeletonDiffusion.

References:
  Kingma and Ba, "Adam", 2015. Loshchilov and Hutter, "Decoupled Weight Decay
  Regularization", 2019. Reddi et al., "On the Convergence of Adam", 2018.
"""

from collections.abc import Callable, Mapping
import inspect
from typing import Any

import chex
import jax.numpy as jnp
import optax

from diffax.errors import UserError
from diffax.typing import Array
from diffax.typing import Params

Schedule = Callable[[Array], Array]


def constant(value: float) -> Schedule:
  """Return the same rate at every step."""
  return optax.constant_schedule(value)


def step_decay(
    value: float, hold: int, every: int, factor: float, floor: float = 0.0
) -> Schedule:
  """Hold a rate, then multiply it every so many steps (Eq. 1).

  Args:
    value: first rate.
    hold: steps before the first decay.
    every: steps between decays.
    factor: of one decay.
    floor: least rate.

  Returns:
    Rate by step.
  """

  def rate(step: Array) -> Array:
    decays = jnp.where(step >= hold, 1 + (step - hold) // every, 0)
    return jnp.maximum(value * factor ** decays.astype(jnp.float32), floor)

  return rate


def cosine(
    value: float, steps: int, warmup: int = 0, end: float = 0.0
) -> Schedule:
  """Rise linearly for `warmup` steps, then fall as a half cosine to `end`."""
  return optax.warmup_cosine_decay_schedule(
      0.0 if warmup else value, value, warmup, steps, end
  )


SCHEDULES: Mapping[str, Callable[..., Schedule]] = {
    'constant': constant,
    'step_decay': step_decay,
    'cosine': cosine,
}


_SCALINGS: Mapping[str, Callable[..., optax.GradientTransformation]] = {
    'adam': optax.scale_by_adam,
    'adamw': optax.scale_by_adam,
    # Takes the maximum of bias-corrected second moments; PyTorch corrects the
    # maximum. The two agree once the moments have warmed up.
    'adamw_amsgrad': optax.scale_by_amsgrad,
}


def schedule(name: str, **options: float) -> Schedule:
  """Build a learning rate.

  Args:
    name: key of `SCHEDULES`.
    **options: its arguments.

  Returns:
    Rate by step.

  Raises:
    UserError: if the name or an option is unknown or missing.
  """
  if name not in SCHEDULES:
    raise UserError(
        f'optim.schedule.name: expected one of {sorted(SCHEDULES)}, found '
        f'{name!r}.'
    )
  try:
    inspect.signature(SCHEDULES[name]).bind(**options)
  except TypeError as error:
    raise UserError(f'optim.schedule: {name!r}: {error}.') from error
  return SCHEDULES[name](**options)


def optimiser(
    *,
    name: str,
    schedule: Mapping[str, Any],
    clip: float | None = None,
    weight_decay: float = 0.0,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
) -> optax.GradientTransformation:
  """Build an optimiser.

  Args:
    name: adam, adamw or adamw_amsgrad; decay is decoupled in the latter two.
    schedule: `name` and arguments of a learning rate.
    clip: greatest global norm of the gradient; None for no bound.
    weight_decay: rate of the decay; adam takes none.
    b1: decay of the first moment.
    b2: decay of the second moment.
    eps: added to the root of the second moment.

  Returns:
    A gradient transformation.

  Raises:
    UserError: if a name is unknown or adam is given a weight decay.
  """
  if name not in _SCALINGS:
    raise UserError(
        f'optim.name: expected one of {sorted(_SCALINGS)}, found {name!r}.'
    )
  if name == 'adam' and weight_decay:
    raise UserError('optim.weight_decay: adam takes none; use adamw.')
  parts = [] if clip is None else [optax.clip_by_global_norm(clip)]
  parts.append(_SCALINGS[name](b1=b1, b2=b2, eps=eps))
  if weight_decay:
    parts.append(optax.add_decayed_weights(weight_decay))
  parts.append(optax.scale_by_learning_rate(_build_schedule(**schedule)))
  return optax.chain(*parts)


_build_schedule = schedule


def ema_decay(step: Array, decay: float, every: int, start: int) -> Array:
  """Return the decay of the moving average after a step.

  The average is a copy of the parameters up to step `start`; from then on it
  moves every `every` steps with min(decay, 1 - (1 + n)^(-2/3)), where n is the
  number of steps since; between, and where it does not move, the decay is 1.

  Args:
    step: number of steps taken, at least 1.
    decay: greatest decay.
    every: steps between moves.
    start: first steps, which copy.

  Returns:
    A scalar within [0, 1].

  References:
    The ema_pytorch library, as used by SkeletonDiffusion's released code.
  """
  n = jnp.maximum(step - start - 1, 0).astype(jnp.float32)
  moving = jnp.minimum(decay, 1.0 - (1.0 + n) ** (-2.0 / 3.0))
  moving = jnp.where(step <= start, 0.0, moving)
  return jnp.where(step % every == 0, moving, 1.0)


def update_ema(ema: Params, params: Params, decay: Array) -> Params:
  """Return decay ema + (1 - decay) params."""
  chex.assert_trees_all_equal_shapes(ema, params)
  return optax.incremental_update(params, ema, 1.0 - decay)
