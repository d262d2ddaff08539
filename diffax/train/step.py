"""One training step as a pure function."""

from collections.abc import Callable, Mapping
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from diffax.errors import UserError
from diffax.systems.base import System
from diffax.train import optim
from diffax.train.state import TrainState
from diffax.typing import Batch
from diffax.typing import Key
from diffax.typing import Metrics

Step = Callable[[TrainState, Batch, Key], tuple[TrainState, Metrics]]


def make_step(
    system: System,
    optimiser: optax.GradientTransformation,
    ema: Mapping[str, Any],
) -> Step:
  """Build the step of a system.

  A loss or gradient that is not finite leaves parameters, average and
  optimiser as they were, to the bit, and counts in `skipped`.

  Args:
    system: to train.
    optimiser: from `optim.optimiser`.
    ema: arguments of `optim.ema_decay`.

  Returns:
    (state, batch, key) -> (state, metrics), to be jitted; the metrics are
    `loss`, `gradient_norm` before clipping, `skipped` (steps in a row, this
    one included) and the system's own.

  Raises:
    UserError: if an argument of `ema` is unknown or missing.
  """
  optim.check(optim.ema_decay, ema, 'ema', given=1)
  optim.at_least(1, 'ema.every', ema['every'])
  if ema.get('warmup', 'power') not in optim.WARMUPS:
    raise UserError(
        f'ema.warmup: expected one of {sorted(optim.WARMUPS)}, found '
        f'{ema["warmup"]!r}.'
    )

  def step(
      state: TrainState, batch: Batch, key: Key
  ) -> tuple[TrainState, Metrics]:
    objective = jax.value_and_grad(system.loss, has_aux=True)
    (loss, metrics), grads = objective(state.params, state.frozen, batch, key)
    norm = optax.tree.norm(grads)
    finite = jnp.isfinite(loss) & jnp.isfinite(norm)
    updates, opt_state = optimiser.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    decay = optim.ema_decay(state.step + 1, **ema)
    averaged = optim.update_ema(state.ema, params, decay)

    def keep(new: Any, old: Any) -> Any:
      return jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, old)

    skipped = jnp.where(finite, 0, state.skipped + 1)
    state = dataclasses.replace(
        state,
        step=state.step + 1,
        params=keep(params, state.params),
        ema=keep(averaged, state.ema),
        opt_state=keep(opt_state, state.opt_state),
        skipped=skipped,
    )
    report = {'loss': loss, 'gradient_norm': norm, 'skipped': skipped}
    return state, {**metrics, **report}

  return step
