"""A dance with its music and beats as a page, in one file.

The page needs no network: the sound is inside, and a script of our own draws
the figure and a timeline by the clock of the sound. Places travel as 16-bit
integers of an even step, the sound as a 16-bit WAV.
"""

import base64
import html
import io
import json
import pathlib
import re
from typing import Any

import numpy as np
from scipy.io import wavfile

from diffax.errors import UserError
from diffax.viz import dance as dances
from diffax.viz import movie
from diffax.viz import pose

_TEMPLATE = pathlib.Path(__file__).with_name('dance.html')


def page(
    path: pathlib.Path | str, dance: dances.Dance, *, facts: str = ''
) -> None:
  """Write the page: play, pause, timeline, speed, beats.

  Args:
    path: the file, `.html`.
    dance: what to show.
    facts: a line below the title.

  Raises:
    UserError: the sound is no wave, or the file cannot be written.
  """
  scene = _scene(dance) | {'facts': facts or _facts(dance)}
  # Inside a script only the start of a tag could end it.
  data = json.dumps(scene).replace('<', '\\u003c')
  values = {'title': html.escape(dance.title), 'data': data}
  # In one pass, so that a title cannot name a place.
  text = re.sub(
      r'\{\{(title|data)\}\}', lambda found: values[found[1]],
      _TEMPLATE.read_text('utf-8'),
  )
  path = pose.writable(path)
  try:
    path.write_text(text, 'utf-8')
  except OSError as error:
    raise UserError(f'{path}: cannot write: {error}') from error


def _scene(dance: dances.Dance) -> dict[str, Any]:
  """Return what the page's script reads."""
  # Far from the origin an even step would be a coarse one.
  centred = dance.poses - dance.poses.mean((0, 1))
  step = max(float(np.abs(centred).max()), 1e-6) / 32767
  return {
      'title': dance.title,
      'fps': float(dance.fps),
      'joints': len(dance.joints),
      'bones': [[int(a), int(b)] for a, b in dance.bones],
      'tints': dances.tints(dance.joints, dance.bones),
      'step': step,
      'poses': _pack(centred / step),
      'amplitude': _pack(32767 * np.clip(dance.amplitude, 0, 1)),
      'loudness': _pack(32767 * dances.loudness(dance.wave)),
      'seconds': len(dance.wave) / dance.rate,
      'onsets': np.round(dance.onsets, 4).tolist(),
      'steps': np.round(dance.steps, 4).tolist(),
      'sound': _wav(dance.wave, dance.rate),
  }


def _facts(dance: dances.Dance) -> str:
  return (
      f'{dance.seconds:.1f} s, {len(dance.onsets)} musical and '
      f'{len(dance.steps)} kinematic beats; {len(dance.joints)} joints, '
      f'{dance.fps:g} frames per second'
  )


def _pack(numbers: np.ndarray) -> str:
  return _text(np.round(numbers).astype('<i2').tobytes())


def _wav(wave: np.ndarray, rate: int) -> str:
  file = io.BytesIO()
  wavfile.write(file, rate, movie.to_pcm(wave))
  return _text(file.getvalue())


def _text(data: bytes) -> str:
  return base64.b64encode(data).decode('ascii')
