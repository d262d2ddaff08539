"""A dance with its music and beats as a page, in one file.

The page needs no network: the sound is inside, and a script of our own draws
the figure and a timeline by the clock of the sound. Places travel as 16-bit
integers of an even step, the sound as a 16-bit WAV.
"""

import io
import pathlib
from typing import Any

import numpy as np
from scipy.io import wavfile

from diffax.viz import dance as dances
from diffax.viz import movie
from diffax.viz import template


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
  template.write(path, 'dance.html', dance.title, scene)


def _scene(dance: dances.Dance) -> dict[str, Any]:
  """Return what the page's script reads."""
  # Far from the origin an even step would be a coarse one.
  centred = dance.poses - dance.poses.mean((0, 1))
  full = template.LARGEST
  step = max(float(np.abs(centred).max()), 1e-6) / full
  return {
      'title': dance.title,
      'fps': float(dance.fps),
      'joints': len(dance.joints),
      'bones': [[int(a), int(b)] for a, b in dance.bones],
      'tints': dances.tints(dance.joints, dance.bones),
      'step': step,
      'poses': template.pack(centred / step),
      'amplitude': template.pack(full * np.clip(dance.amplitude, 0, 1)),
      'loudness': template.pack(full * dances.loudness(dance.wave)),
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


def _wav(wave: np.ndarray, rate: int) -> str:
  file = io.BytesIO()
  wavfile.write(file, rate, movie.to_pcm(wave))
  return template.text_of(file.getvalue())
