"""Optimisers, learning rates and averaging by name, from a config section.

With the gradient g_n of step n = 1, 2, ... and the rate eta_n:

  (1)  step_decay(n) = max(value factor^(1 + floor((n - hold) / every)), floor)
       for n >= hold, else value
  (2)  m_n = b1 m_{n-1} + (1 - b1) g_n,  v_n = b2 v_{n-1} + (1 - b2) g_n^2
  (3)  w_n = max(w_{n-1}, v_n),
       update = -eta_n ((m_n / (1 - b1^n)) / (sqrt(w_n / (1 - b2^n)) + eps)
                        + weight_decay params)
  (4)  decay of the average = min(decay, 1 - (1 + n - start - 1)^(-2/3))
  (5)  or min(decay, (1 + n - start) / (10 + n - start))

Eq. 1 covers the released learning rates of SkeletonDiffusion, Eq. 3 is AMSGrad
as in PyTorch: the maximum is over the moments before their bias is corrected.

References:
  Kingma and Ba, "Adam", 2015. Loshchilov and Hutter, "Decoupled Weight Decay
  Regularization", 2019. Reddi et al., "On the Convergence of Adam", 2018.
"""

from collections.abc import Callable, Mapping
import inspect
from typing import Any

import chex
import jax
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
  at_least(1, 'optim.schedule.every', every)

  def rate(step: Array) -> Array:
    decays = jnp.where(step >= hold, 1 + (step - hold) // every, 0)
    return jnp.maximum(value * factor ** decays.astype(jnp.float32), floor)

  return rate


def cosine(
    value: float, steps: int, warmup: int = 0, end: float = 0.0
) -> Schedule:
  """Rise linearly for `warmup` steps, then fall as a half cosine.

  Args:
    value: greatest rate, reached after the warm-up.
    steps: length of the whole, warm-up included.
    warmup: steps of the rise from 0.
    end: last rate.

  Returns:
    Rate by step.
  """
  at_least(warmup + 1, 'optim.schedule.steps', steps)
  return optax.warmup_cosine_decay_schedule(
      0.0 if warmup else value, value, warmup, steps, end
  )


SCHEDULES: Mapping[str, Callable[..., Schedule]] = {
    'constant': constant,
    'step_decay': step_decay,
    'cosine': cosine,
}


def scale_by_amsgrad(
    b1: float, b2: float, eps: float
) -> optax.GradientTransformation:
  """Scale by the greatest second moment so far (Eq. 3).

  `optax.scale_by_amsgrad` takes the maximum of corrected moments instead,
  which holds the first steps' large corrections for ever.

  Args:
    b1: decay of the first moment.
    b2: decay of the second moment.
    eps: added to the root of the second moment.

  Returns:
    A gradient transformation.
  """

  def init(params: Params) -> optax.ScaleByAmsgradState:
    zeros = optax.tree.zeros_like
    return optax.ScaleByAmsgradState(
        jnp.zeros((), jnp.int32), zeros(params), zeros(params), zeros(params)
    )

  def update(
      grads: Params, state: Any, params: Params | None = None
  ) -> tuple[Params, optax.ScaleByAmsgradState]:
    del params
    count = optax.safe_increment(state.count)
    mu = optax.tree.update_moment(grads, state.mu, b1, 1)
    nu = optax.tree.update_moment(grads, state.nu, b2, 2)
    most = jax.tree.map(jnp.maximum, state.nu_max, nu)
    scaled = jax.tree.map(
        lambda m, w: m / (jnp.sqrt(w) + eps),
        optax.tree.bias_correction(mu, b1, count),
        optax.tree.bias_correction(most, b2, count),
    )
    return scaled, optax.ScaleByAmsgradState(count, mu, nu, most)

  return optax.GradientTransformation(init, update)


_SCALINGS: Mapping[str, Callable[..., optax.GradientTransformation]] = {
    'adam': optax.scale_by_adam,
    'adamw': optax.scale_by_adam,
    'adamw_amsgrad': scale_by_amsgrad,
}


def make_schedule(name: str, **options: float) -> Schedule:
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
  check(SCHEDULES[name], options, 'optim.schedule')
  return SCHEDULES[name](**options)


def optimiser(**options: Any) -> optax.GradientTransformation:
  """Build an optimiser from a config section.

  Args:
    **options: arguments of `chain`.

  Returns:
    A gradient transformation.

  Raises:
    UserError: if an option is unknown or missing, and as `chain`.
  """
  check(chain, options, 'optim')
  return chain(**options)


def chain(
    name: str,
    schedule: Mapping[str, Any],
    clip: float | None = None,
    weight_decay: float = 0.0,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    rates: Mapping[str, float] | None = None,
) -> optax.GradientTransformation:
  """Chain clipping, scaling, weight decay and learning rate.

  Args:
    name: adam, adamw or adamw_amsgrad; decay is decoupled in the latter two.
    schedule: `name` and arguments of a learning rate.
    clip: greatest global norm of the gradient; None for no bound.
    weight_decay: rate of the decay; adam takes none.
    b1: decay of the first moment.
    b2: decay of the second moment.
    eps: added to the root of the second moment.
    rates: constant rates of parameters of their own, by their top-level name,
      such as a learned weight of a loss; they are not decayed.

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
  check(make_schedule, schedule, 'optim.schedule')
  scale = _SCALINGS[name](b1=b1, b2=b2, eps=eps)
  parts = [scale]
  if weight_decay:
    parts.append(optax.add_decayed_weights(weight_decay))
  parts.append(optax.scale_by_learning_rate(make_schedule(**schedule)))
  if rates:
    parts = [_partition(optax.chain(*parts), scale, rates)]
  if clip is not None:
    parts.insert(0, optax.clip_by_global_norm(clip))
  return optax.chain(*parts)


def _partition(
    rest: optax.GradientTransformation,
    scale: optax.GradientTransformation,
    rates: Mapping[str, float],
) -> optax.GradientTransformation:
  own = {
      name: optax.chain(scale, optax.scale_by_learning_rate(rate))
      for name, rate in rates.items()
  }

  def label(params: Params) -> Params:
    return {name: name if name in rates else 'rest' for name in params}

  return optax.partition({'rest': rest, **own}, label)


WARMUPS: Mapping[str, Callable[[Array], Array]] = {
    'power': lambda n: 1.0 - (1.0 + n) ** (-2.0 / 3.0),
    'ratio': lambda n: (2.0 + n) / (11.0 + n),
}


def ema_decay(
    step: Array, decay: float, every: int, start: int, warmup: str = 'power'
) -> Array:
  """Return the decay of the moving average after a step (Eq. 4 or 5).

  The average moves after the first of every `every` steps. It is a copy of
  the parameters up to the first move after `start` steps.

  Args:
    step: number of steps taken, n, at least 1.
    decay: greatest decay.
    every: steps between moves.
    start: steps before the averaging.
    warmup: `power` (Eq. 4) or `ratio` (Eq. 5).

  Returns:
    A scalar within [0, 1]: 1 where the average stays, 0 where it is a copy.

  References:
    The ema_pytorch library, as used by SkeletonDiffusion's released code.
  """
  before = step - 1
  n = jnp.maximum(before - start, 0).astype(jnp.float32)
  moving = jnp.minimum(decay, WARMUPS[warmup](n))
  moving = jnp.where(before <= (start // every + 1) * every, 0.0, moving)
  return jnp.where(before % every == 0, moving, 1.0)


def update_ema(ema: Params, params: Params, decay: Array) -> Params:
  """Return decay ema + (1 - decay) params."""
  chex.assert_trees_all_equal_shapes(ema, params)
  return optax.incremental_update(params, ema, 1.0 - decay)


def check(
    function: Callable[..., Any],
    options: Mapping[str, Any],
    field: str,
    given: int = 0,
) -> None:
  """Raise unless `options` are arguments of a function.

  Args:
    function: that takes them.
    options: by name.
    field: where they stand in the config, for the message.
    given: leading arguments that do not come from the config.

  Raises:
    UserError: naming what is unknown or missing, and what there is.
  """
  known = dict(list(inspect.signature(function).parameters.items())[given:])
  kinds = {p.kind for p in known.values()}
  named = {k: p for k, p in known.items() if p.kind != p.VAR_KEYWORD}
  for key in options:
    if key not in named and inspect.Parameter.VAR_KEYWORD not in kinds:
      raise UserError(
          f'{field}.{key}: no such setting; expected some of {sorted(named)}.'
      )
  for key, parameter in named.items():
    if parameter.default is parameter.empty and key not in options:
      raise UserError(f'{field}.{key}: expected a value, found none.')


def at_least(least: int, field: str, found: int) -> None:
  """Raise a UserError that names the field of a number that is too small."""
  if found < least:
    raise UserError(f'{field}: expected at least {least}, found {found!r}.')
