"""One training step as a pure function."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from diffax.systems.base import System
from diffax.train import optim
from diffax.train.state import TrainState
from diffax.typing import Array
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
  optimiser as they were and counts in `skipped`.

  Args:
    system: to train.
    optimiser: from `optim.optimiser`.
    ema: arguments of `optim.ema_decay`.

  Returns:
    (state, batch, key) -> (state, metrics), to be jitted.
  """

  def step(
      state: TrainState, batch: Batch, key: Key
  ) -> tuple[TrainState, Metrics]:
    objective = jax.value_and_grad(system.loss, has_aux=True)
    (loss, metrics), grads = objective(state.params, state.frozen, batch, key)
    norm = optax.global_norm(grads)
    finite = jnp.isfinite(loss) & jnp.isfinite(norm)
    updates, opt_state = optimiser.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    decay = optim.ema_decay(state.step + 1, **ema)
    averaged = optim.update_ema(state.ema, params, decay)

    def keep(new: Any, old: Any) -> Any:
      return jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, old)

    state = state.replace(
        step=state.step + 1,
        params=keep(params, state.params),
        ema=keep(averaged, state.ema),
        opt_state=keep(opt_state, state.opt_state),
        skipped=jnp.where(finite, 0, state.skipped + 1),
    )
    return state, _report(loss, norm, state.skipped, metrics)

  return step


def _report(
    loss: Array, norm: Array, skipped: Array, metrics: Metrics
) -> Metrics:
  return {
      'loss': loss, 'gradient_norm': norm, 'skipped': skipped, **metrics
  }
