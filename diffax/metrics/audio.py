"""Fréchet audio distance, which is only as good as what it listens with.

Waves are cut into frames; an embedding gives each frame a vector, and the
frames of all waves of a set are pooled,

  (1)  d = |mu_a - mu_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^{1/2}).

The distance is called after its embedding: `FAD (VGGish)` is what papers print
as FAD; with another embedding the number is another, and so is its name.

References:
  Kilgour et al., "Fréchet Audio Distance: A Reference-free Metric for
  Evaluating Music Enhancement Algorithms", Interspeech 2019, Eq. 1.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from diffax.errors import UserError
from diffax.metrics import distribution


class Embedding(NamedTuple):
  """Hold what turns sound into vectors.

  Attributes:
    name: of the network, and of what it was trained on if that is not usual.
    apply: from a wave `[N]`, -1 to 1, to frames `[F, D]`.
    rate: of the wave, Hz.
  """

  name: str
  apply: Callable[[np.ndarray], np.ndarray]
  rate: int = 16000

  @property
  def label(self) -> str:
    """Name of the distance."""
    return f'FAD ({self.name})'


class Heard(NamedTuple):
  """Hold the embedded frames of N waves.

  Attributes:
    frames: `[sum F, D]` of all waves.
    items: `[N, D]`, the mean of each wave.
  """

  frames: np.ndarray
  items: np.ndarray


def listen(embedding: Embedding, waves: Sequence[np.ndarray]) -> Heard:
  """Embed waves.

  Args:
    embedding: what listens.
    waves: each `[N]` at the embedding's rate.

  Returns:
    What it hears.

  Raises:
    UserError: there is no wave, or one is not finite or gives no frame.
  """
  if not len(waves):
    raise UserError(f'{embedding.label}: expected waves, found none.')
  parts = []
  for number, wave in enumerate(waves):
    frames = np.asarray(embedding.apply(np.asarray(wave)), np.float64)
    if frames.ndim != 2 or not len(frames) or not np.isfinite(frames).all():
      raise UserError(
          f'{embedding.label}: expected finite frames [F, D] of wave {number}, '
          f'found {list(frames.shape)}, finite: {np.isfinite(frames).all()}.'
      )
    parts.append(frames)
  return Heard(np.concatenate(parts), np.stack([x.mean(0) for x in parts]))


def frechet(truth: Heard, made: Heard) -> float:
  """Return the distance of two sets (Eq. 1).

  Args:
    truth: real music.
    made: generated music.

  Returns:
    The squared distance, >= 0.

  Raises:
    UserError: a set has fewer than two frames.
  """
  return distribution.frechet(truth.frames, made.frames)
