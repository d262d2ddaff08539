"""What a trainable model is: three pure functions."""

from collections.abc import Callable
from typing import Any, NamedTuple

from diffax.typing import Array
from diffax.typing import Batch
from diffax.typing import Key
from diffax.typing import Params


class Variables(NamedTuple):
  """Hold what a system's functions take.

  Attributes:
    params: trained.
    frozen: given, by part; filled from earlier stages.
  """

  params: Params
  frozen: Params


class System(NamedTuple):
  """Hold a trainable model as pure functions.

  Attributes:
    init: (key, batch) -> Variables.
    loss: (params, frozen, batch, key) -> (scalar, metrics by name).
    sample: (params, frozen, batch, key) -> arrays by name, for example
      `motion` `[B, K, F, J, 3]` in metres. What a batch lacks is generated.
    encode: (params, frozen, batch, key) -> latents by name; None without.
    prepare: (params, frozen, batch, key) -> params in which what follows from
      the given parts and an example is set, such as the scale of latents; once
      at the start of a run, whose checkpoints keep it. None without.
  """

  init: Callable[[Key, Batch], Variables]
  loss: Callable[[Params, Params, Batch, Key], tuple[Array, dict[str, Array]]]
  sample: Callable[[Params, Params, Batch, Key], dict[str, Any]]
  encode: Callable[[Params, Params, Batch, Key], dict[str, Any]] | None = None
  prepare: Callable[[Params, Params, Batch, Key], Params] | None = None
