"""Samplers from a config section, as every diffusion system takes them."""

from collections.abc import Callable, Mapping
from typing import Any

from diffax.diffusion import guidance
from diffax.diffusion import process as processes
from diffax.diffusion import samplers
from diffax.errors import UserError
from diffax.typing import DenoiseFn
from diffax.typing import Key
from diffax.typing import PyTree

SAMPLERS: Mapping[str, Callable[..., samplers.Sampler]] = {
    'ddpm': samplers.ddpm,
    'ddim': samplers.ddim,
    'dpm_solver_pp': samplers.dpm_solver_pp,
}
Generate = Callable[[Key, processes.Process, DenoiseFn, PyTree], PyTree]


def generator(
    T: int,
    *,
    name: str,
    steps: int,
    start: str = 'white',
    clip: float | None = None,
    spacing: str = 'trailing',
    **options: Any,
) -> Generate:
  """Build a function that draws samples.

  Args:
    T: steps of the process.
    name: key of `SAMPLERS`.
    steps: of the sampler.
    start: noise at T, `white` or `matched`.
    clip: bound of the predictions of x_0; None for none.
    spacing: of the times, see `samplers.timesteps`.
    **options: of the sampler, e.g. `eta`.

  Returns:
    (key, process, denoise, shape) -> samples; process and shape may be trees.

  Raises:
    UserError: a name or a setting is wrong.
  """
  if name not in SAMPLERS:
    raise UserError(
        f'sampler.name: expected one of {sorted(SAMPLERS)}, found {name!r}.'
    )
  try:
    sampler = SAMPLERS[name](**options)
  except TypeError as error:
    raise UserError(f'sampler: {error}') from error
  times = samplers.timesteps(T, steps, spacing)

  def generate(
      key: Key, process: processes.Process, denoise: DenoiseFn, shape: PyTree
  ) -> PyTree:
    if clip is not None:
      denoise = guidance.clip_x0(denoise, -clip, clip)
    return samplers.sample(key, process, denoise, sampler, times, shape, start)

  return generate
