"""Systems of one kind that train side by side, in one compiled step.

Every array of the parameters and of a batch has a leading axis of M members.
Member m draws from the key fold_in(key, m), and

  (1)  loss = sum_m loss_m,

of which no part knows the parameters of another member. So each member's
gradient is that of its own loss, and an optimiser that acts number by number
(Adam, momentum, decoupled weight decay) trains each as if it were alone.

Two things look at all members at once. Clipping by the global norm of the
gradient sees the norm over all of them: leave `optim.clip` unset and give
`clip` here, which bounds each member's own. And a step whose loss is not finite
is skipped by all, not only by the member that failed.

Members may be classes, folds or seeds. `init` gives every member the same
`frozen` parts; where theirs differ, stack them and give them to the trainer.
"""

from collections.abc import Callable
import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax

from diffax.errors import UserError
from diffax.systems.base import System
from diffax.systems.base import Variables
from diffax.typing import Array
from diffax.typing import Batch
from diffax.typing import Key
from diffax.typing import Params


def ensemble(
    system: System, members: int, clip: float | None = None
) -> System:
  """Combine members of one kind into one system.

  Args:
    system: of each member.
    members: M.
    clip: greatest norm of each member's gradient; None for no bound.

  Returns:
    A system whose parameters, batches `[M, B, ...]` and outputs have a leading
    axis of members. Its metrics are means over the members.

  Raises:
    UserError: M is below 1, or a batch does not have M members.
  """
  if members < 1:
    raise UserError(f'members: expected 1 or more, found {members}.')

  def mapped(function: Callable[..., Any]) -> Callable[..., Any]:
    return functools.partial(_map, function, members)

  def init(key: Key, batch: Batch) -> Variables:
    return _map(
        lambda _, __, batch, key: system.init(key, batch), members, {}, {},
        batch, key
    )

  def alone(
      params: Params, frozen: Params, batch: Batch, key: Key
  ) -> tuple[Array, dict[str, Array]]:
    return system.loss(bounded(params, clip), frozen, batch, key)

  def loss(
      params: Params, frozen: Params, batch: Batch, key: Key
  ) -> tuple[Array, dict[str, Array]]:
    each, metrics = _map(alone, members, params, frozen, batch, key)
    return jnp.sum(each), jax.tree.map(lambda x: jnp.mean(x, 0), metrics)

  return System(
      init, loss, mapped(system.sample),
      None if system.encode is None else mapped(system.encode),
  )


def _map(
    function: Callable[..., Any], members: int, params: Params, frozen: Params,
    batch: Batch, key: Key
) -> Any:
  """Call (params, frozen, batch, key) -> tree for each member: `[M, ...]`."""
  for name, value in batch.items():
    if value.shape[:1] != (members,):
      raise UserError(
          f'batch[{name!r}]: expected a leading axis of {members} members, '
          f'found shape {value.shape}.'
      )
  keys = jax.vmap(lambda m: jax.random.fold_in(key, m))(jnp.arange(members))
  return jax.vmap(function)(params, frozen, dict(batch), keys)


def bounded(params: Params, clip: float | None) -> Params:
  """Return `params`, of which the gradient is bounded by its global norm.

  Args:
    params: of one member.
    clip: greatest norm; None for no bound.

  Returns:
    The same numbers.
  """
  return params if clip is None else _bounded(params, clip)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _bounded(params: Params, clip: float) -> Params:
  del clip
  return params


def _forward(params: Params, clip: float) -> tuple[Params, None]:
  del clip
  return params, None


def _backward(clip: float, saved: None, grads: Params) -> tuple[Params]:
  del saved
  limit = optax.clip_by_global_norm(clip)
  return (limit.update(grads, limit.init(grads))[0],)


_bounded.defvjp(_forward, _backward)
