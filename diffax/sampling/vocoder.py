"""Send sound through a trained vocoder: its mel, and back.

Written are `true.wav` and `made.wav`, to be heard one after the other.
"""

import os
import pathlib

import jax
import numpy as np

from diffax.data import audio
from diffax.errors import UserError
from diffax.trained import Trained

PathLike = str | os.PathLike[str]
# Samples: whole hops of every mel, and enough to be reflected.
_STEP, _LEAST = 512, 4096


def vocoder(
    model: Trained,
    workdir: PathLike,
    *,
    seed: int,
    input: PathLike | None = None,
    start: float = 0.0,
    seconds: float = 8.0,
) -> dict[str, pathlib.Path]:
  """Resynthesise a user's sound, or without one a held-out track.

  Args:
    model: its `sample` goes from `wave` `[B, N]` to `wave`, through the mel.
    workdir: folder of the files.
    seed: of the sample; a vocoder with weights draws nothing.
    input: a sound file of any rate.
    start: second of it at which to begin.
    seconds: at most so many.

  Returns:
    The files by name.

  Raises:
    DataError: the file cannot be read, or is too short.
    UserError: there is too little after `start`, or a file cannot be written.
  """
  folder, rate = pathlib.Path(workdir), model.source.info['rate']
  wave = _wave(model, input, rate)[max(int(start * rate), 0):]
  wave = wave[:int(min(seconds, len(wave) / rate) * rate) // _STEP * _STEP]
  if len(wave) < _LEAST:
    raise UserError(
        f'--start {start:g}, --seconds {seconds:g}: expected at least '
        f'{_LEAST / rate:.2f} s of sound, found {len(wave) / rate:.2f} s.'
    )
  made = model.sample({'wave': wave[None]}, jax.random.key(seed))['wave'][0]
  written = {name: folder / name for name in ('true.wav', 'made.wav')}
  try:
    folder.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise UserError(f'{folder}: cannot be written: {error}') from error
  for path, samples in zip(written.values(), (wave, np.asarray(made))):
    audio.write(path, samples, rate)
  print(f'through the vocoder: {", ".join(map(str, written.values()))}')
  return written


def _wave(model: Trained, path: PathLike | None, rate: int) -> np.ndarray:
  """Return the file's wave, or the first held-out track's: `[N]`."""
  if path is not None:
    return audio.read(pathlib.Path(path), rate)
  segments = model.source.segments('test')
  return segments['wave'][segments['track'] == segments['track'][0]].ravel()
