"""Turn recordings into clips: cut at glitches, change the frame rate."""

from collections.abc import Sequence

import numpy as np
from scipy import interpolate

from diffax.data.base import Clip

MAX_SPEED = 20.0
"""Metres per second that no joint of a person reaches; faster is a glitch."""

MARGIN, SHORTEST = 0.1, 0.5
"""Seconds left out around a glitch, and of the shortest piece that is kept."""


def resample(
    positions: np.ndarray, fps: float, target: float
) -> tuple[np.ndarray, float]:
  """Change the frame rate.

  A rate within 1 % of a whole multiple of the target loses frames and changes
  no number; any other is interpolated by cubic splines.

  Args:
    positions: `[L, N, 3]`.
    fps: their rate.
    target: the rate wanted.

  Returns:
    Positions `[L', N, 3]` at `target`, and the share of time between the last
    frame kept and the end that was lost, in seconds.
  """
  step = max(1, round(fps / target))
  if abs(fps / step - target) <= 0.01 * target:
    kept = positions[::step]
    return kept, (len(positions) - 1 - (len(kept) - 1) * step) / fps
  last = (len(positions) - 1) / fps
  times = np.arange(int(last * target + 1e-6) + 1) / target
  spline = interpolate.CubicSpline(np.arange(len(positions)) / fps, positions)
  return spline(times), last - float(times[-1])


def glitches(
    positions: np.ndarray, fps: float, max_speed: float = MAX_SPEED
) -> np.ndarray:
  """Find frames around steps that are faster than any person.

  Args:
    positions: `[L, N, 3]` metres, global.
    fps: their rate.
    max_speed: metres per second.

  Returns:
    `[L]` bool, true from `MARGIN` before to `MARGIN` after such a step.
  """
  steps = np.linalg.norm(np.diff(positions, axis=0), axis=-1).max(axis=-1)
  bad = np.zeros(len(positions), bool)
  reach = int(round(MARGIN * fps))
  for step in np.flatnonzero(steps * fps > max_speed):
    bad[max(0, step - reach):step + 2 + reach] = True
  return bad


def pieces(bad: np.ndarray, fps: float) -> list[slice]:
  """Return the stretches without bad frames that last `SHORTEST` or more.

  A clip without a bad frame is returned whole, however short.
  """
  if not bad.any():
    return [slice(0, len(bad))]
  edges = np.flatnonzero(np.diff(np.concatenate([[True], bad, [True]])))
  return [
      slice(int(start), int(stop))
      for start, stop in zip(edges[::2], edges[1::2])
      if stop - start >= SHORTEST * fps
  ]


def make(
    name: str,
    positions: np.ndarray,
    fps: float,
    target: float,
    *,
    subject: str,
    label: str,
    split: str,
    file: str,
    max_speed: float = MAX_SPEED,
) -> tuple[list[Clip], list[str]]:
  """Cut a motion at its glitches and bring the pieces to the target rate.

  Args:
    name: of the clip; pieces get `-1`, `-2`, ...
    positions: `[L, N, 3]` metres, Z up, on the joints of the skeleton.
    fps: their rate.
    target: the rate of the clips.
    subject: the person.
    label: the action.
    split: `'train'`, `'val'` or `'test'`.
    file: where the motion came from.
    max_speed: metres per second that mark a glitch; 0 cuts nothing.

  Returns:
    The clips, and one line about the cut if there was any.
  """
  bad = np.zeros(len(positions), bool)
  if max_speed:
    bad = glitches(positions, fps, max_speed)
  kept = [s for s in pieces(bad, fps) if s.stop - s.start >= 2]
  names: Sequence[str] = [name]
  notes = []
  if bad.any():
    names = [f'{name}-{index + 1}' for index in range(len(kept))]
    lost = len(bad) - sum(s.stop - s.start for s in kept)
    notes = [f'{name}: {lost} of {len(bad)} frames lost around steps faster'
             f' than {max_speed:g} m/s; {len(kept)} pieces kept']
  clips = [
      Clip(
          name=piece, fps=target, subject=subject, label=label, split=split,
          positions=resample(positions[s], fps, target)[0].astype(np.float32),
          file=file,
      )
      for piece, s in zip(names, kept)
  ]
  return [clip for clip in clips if len(clip.positions) >= 2], notes
