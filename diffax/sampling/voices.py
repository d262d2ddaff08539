"""What turns log-mels into sound: no weights, trained here, or published.

A voice is chosen by plain settings, as they stand in a config:

  {'name': 'griffin_lim', 'iterations': 64}
  {'name': 'bigvgan', 'weights': 'runs/vocoder/vocoder', 'size': 'small'}
  {'name': 'bigvgan', 'weights': 'g_05000000', 'release': 'make_an_audio'}

where the second names the folder of a trained stage and the third a file, whose
`config.json` lies beside it or whose `release` is known.
"""

from collections.abc import Callable, Mapping
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from diffax import signal
from diffax.errors import UserError
from diffax.systems import vocoder
from diffax.systems import vocoder_import
from diffax.train import checkpoint
from diffax.typing import Array
from diffax.typing import Key
from diffax.typing import Params


class Voice(NamedTuple):
  """Hold a vocoder with its weights inside.

  Attributes:
    name: of the vocoder, with its weights if it has any.
    apply: (log-mel `[T, 80]`, key) -> wave `[256 T]`; compiled once for each
      length.
  """

  name: str
  apply: Callable[[np.ndarray, Key], np.ndarray]


def voice(settings: Mapping[str, Any] | None = None) -> Voice:
  """Build a voice of the models' mel.

  Args:
    settings: `name`, and options of that voice; None for Griffin and Lim's
      algorithm with 32 iterations.

  Returns:
    The voice.

  Raises:
    UserError: a setting is wrong, or weights are of another mel.
    DataError: a file of weights is damaged.
  """
  options = dict(settings or {})
  name = options.pop('name', 'griffin_lim')
  if name not in VOICES:
    raise UserError(
        f'eval.vocoder.name: expected one of {sorted(VOICES)}, found {name!r}.'
    )
  try:
    return VOICES[name](**options)
  except TypeError as error:
    raise UserError(f'eval.vocoder: {error}') from error


def griffin_lim(iterations: int = 32, **options: Any) -> Voice:
  """Build the voice that needs no weights; options of `signal.griffin_lim`."""
  if iterations < 1:
    raise UserError(
        f'eval.vocoder.iterations: expected 1 or more, found {iterations}.'
    )
  made = vocoder.griffin_lim(signal.MAA, iterations=iterations, **options)
  # It is compiled already, and all voices of one kind share that.
  return _bound('Griffin-Lim', made.apply, {})


def bigvgan(
    weights: str | None = None,
    *,
    size: str | Mapping[str, Any] = 'small',
    release: str | None = None,
    config: str | None = None,
    log: str = 'log10',
) -> Voice:
  """Build a voice with weights.

  Args:
    weights: folder of a trained stage, or a published file.
    size: of the generator of a trained stage.
    release: name of a published one, see `vocoder_import.load`.
    config: its `config.json`, if it is not beside the weights.
    log: of its mel, which no config says.

  Returns:
    The voice.

  Raises:
    UserError: there are no weights, or they are of another mel.
    DataError: a file of weights is damaged.
  """
  if weights is None or not pathlib.Path(weights).exists():
    raise UserError(
        'eval.vocoder.weights: expected the folder of a trained stage or a '
        f'published file, found {weights!r}.'
    )
  if pathlib.Path(weights).is_dir():
    params, _ = checkpoint.load(pathlib.Path(weights), 'ema')
    made = vocoder.bigvgan(signal.MAA, size=size)
    return _bound(
        f'BigVGAN of {weights}', jax.jit(made.apply), params['generator']
    )
  found = vocoder_import.load(
      weights, mel=signal.MAA, config=config, name=release, log=log
  )
  return _bound(
      f'BigVGAN of {weights}', jax.jit(found.vocoder.apply), found.params
  )


VOICES: Mapping[str, Callable[..., Voice]] = {
    'griffin_lim': griffin_lim, 'bigvgan': bigvgan,
}


def _bound(
    name: str, call: Callable[[Params, Array, Key], Array], params: Params
) -> Voice:
  def apply(log_mel: np.ndarray, key: Key) -> np.ndarray:
    wave = np.asarray(call(params, jnp.asarray(log_mel[None]), key))[0]
    return np.clip(wave, -1, 1)

  return Voice(name, apply)
