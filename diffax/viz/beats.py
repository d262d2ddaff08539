"""Pictures of rhythm: beats over curves, and bones before and after.

Each takes plain arrays that are measured elsewhere.
"""

from collections.abc import Sequence
import dataclasses
import pathlib
from typing import Any

import numpy as np

from diffax.body import poses as poses_lib
from diffax.body.skeletons import BODY14
from diffax.errors import UserError
from diffax.viz import pose
from diffax.viz import series

HIT = '#009e73'
MISSED = '#d55e00'
"""Of beats that lie near one of the reference, and of the others."""

_BAND = '#e3e8ee'
# More samples than this are drawn as the span of each column.
_COLUMNS = 1200


@dataclasses.dataclass(frozen=True)
class Track:
  """A curve with its beats.

  Attributes:
    title: such as `music, generated`.
    values: `[N]`: a wave, or the kinematic amplitude of a movement.
    rate: of the values, per second.
    beats: `[K]` seconds: onsets, or kinematic beats.
  """

  title: str
  values: np.ndarray
  rate: float
  beats: np.ndarray


def overlay(
    path: pathlib.Path | str,
    tracks: Sequence[Track],
    *,
    title: str,
    tolerance: float = 0.1,
) -> None:
  """Draw curves one below the other, with the beats of each.

  Bands on all rows are the beats of the first, as wide as the tolerance on
  each side. Beats of the other rows are full lines where they fall into a
  band, and dashed ones where not.

  Args:
    path: the file, `.png`, `.pdf` or `.svg`.
    tracks: the reference first, such as true music, then what is held against
      it.
    title: of the picture.
    tolerance: seconds.

  Raises:
    UserError: there is no track, one is empty or not finite, or matplotlib is
      missing.
  """
  figures = pose.matplotlib_figures()
  _check(path, tracks)
  figure = figures.Figure(
      figsize=(9.6, 1.15 * len(tracks) + 1.0), layout='constrained'
  )
  grid = figure.subplots(len(tracks), 1, squeeze=False, sharex=True)[:, 0]
  reference = tracks[0].beats
  for number, (axes, track) in enumerate(zip(grid, tracks)):
    for beat in reference:
      axes.axvspan(beat - tolerance, beat + tolerance, color=_BAND, zorder=0)
    _draw_curve(axes, track, (series.REAL, series.GIVEN)[number > 0])
    near = [_near(beat, reference, tolerance) for beat in track.beats]
    for beat, hit in zip(track.beats, near):
      axes.axvline(
          beat, color=HIT if hit else MISSED, linewidth=1.4,
          linestyle='-' if hit else (0, (3, 2)), zorder=3,
      )
    said = f'{len(near)} beats'
    if number:
      said += f', {sum(near)} within {1000 * tolerance:g} ms'
    axes.set_title(f'{track.title}: {said}', fontsize=9, loc='left')
    series.style(axes)
    axes.grid(visible=False)
    axes.set_yticks([])
    axes.spines['left'].set_visible(False)
  grid[-1].set_xlabel(
      f'time, s (bands: beats of the first row \u00b1 {1000 * tolerance:g} ms)',
      fontsize=9,
  )
  end = max(len(track.values) / track.rate for track in tracks)
  grid[-1].set_xlim(0, end)
  figure.suptitle(title, fontsize=11)
  figure.savefig(pose.writable(path), dpi=150)


def _draw_curve(axes: Any, track: Track, colour: str) -> None:
  values = np.asarray(track.values, float)
  if len(values) <= _COLUMNS:
    time = np.arange(len(values)) / track.rate
    axes.plot(time, values, color=colour, linewidth=1.2)
    axes.set_ylim(min(values.min(), 0), 1.08 * values.max() or 1)
    return
  # A line through every sample would be a blot, and slow to draw.
  edges = np.linspace(0, len(values), _COLUMNS + 1).astype(int)
  low = np.minimum.reduceat(values, edges[:-1])
  high = np.maximum.reduceat(values, edges[:-1])
  middle = (edges[:-1] + edges[1:]) / 2 / track.rate
  axes.fill_between(middle, low, high, color=colour, alpha=0.55, linewidth=0)


def _near(beat: float, reference: np.ndarray, tolerance: float) -> bool:
  return bool(len(reference) and np.abs(reference - beat).min() <= tolerance)


def _check(path: pathlib.Path | str, tracks: Sequence[Track]) -> None:
  if not tracks:
    raise UserError(f'{path}: expected at least one track, found none.')
  for track in tracks:
    values = np.asarray(track.values)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
      raise UserError(
          f'{path}: {track.title!r}: expected finite values [N], found '
          f'{list(values.shape)}.'
      )
    if not track.rate > 0:
      raise UserError(
          f'{path}: {track.title!r}: expected a rate above 0, found '
          f'{track.rate}.'
      )


def bones(
    path: pathlib.Path | str,
    before: np.ndarray,
    lengths: np.ndarray,
    *,
    title: str,
    limit: float = 1.3,
    columns: int = 6,
) -> None:
  """Draw poses with bones that are too long, and below them corrected.

  Args:
    path: the file, `.png`, `.pdf` or `.svg`.
    before: `[T, 14, 2]` as generated.
    lengths: `[13]` mean lengths of the bones.
    title: of the picture.
    limit: how many times its mean length a bone may have.
    columns: poses shown: those whose worst bones are the longest, in order of
      time.

  Raises:
    UserError: the poses do not fit, or matplotlib is missing.
  """
  figures = pose.matplotlib_figures()
  before = np.asarray(before, float)
  if before.ndim != 3 or before.shape[1:] != (14, 2) or not len(before):
    raise UserError(
        f'{path}: expected poses [T, 14, 2], found {list(before.shape)}.'
    )
  after = poses_lib.correct_bones(before, lengths, limit)
  ratio = poses_lib.bone_lengths(before) / lengths
  worst = np.argsort(-ratio.max(-1), kind='stable')[:columns]
  shown = np.sort(worst)
  figure = figures.Figure(
      figsize=(max(1.6 * len(shown), 5.0), 5.4), layout='constrained'
  )
  grid = figure.subplots(2, len(shown), squeeze=False, sharex=True, sharey=True)
  long = ratio > limit
  for row, motion in enumerate((before, after)):
    for axes, frame in zip(grid[row], shown):
      _draw_pose(axes, motion[frame] - motion[frame, 1], long[frame])
  for axes, frame in zip(grid[0], shown):
    axes.set_title(
        f'frame {frame}\nlongest {ratio[frame].max():.2f} of its mean',
        fontsize=8,
    )
  for axes, name in zip(grid[:, 0], ('as generated', 'corrected')):
    axes.set_ylabel(name, fontsize=9)
  figure.suptitle(
      f'{title}: {long.sum()} of {long.size} bones exceed {limit:g} times '
      'their mean length', fontsize=10,
  )
  figure.savefig(pose.writable(path), dpi=150)


def _draw_pose(axes: Any, joints: np.ndarray, long: np.ndarray) -> None:
  """Draw a pose `[14, 2]`; `long` [13] bones have another colour."""
  names = BODY14.nodes
  for (parent, child), wrong in zip(poses_lib.BONES, long):
    where = pose.side(names[child], names)
    tint = MISSED if wrong else pose.shade(pose.CLOSEST, where)
    axes.plot(*joints[[parent, child]].T, color=tint, linewidth=2.4,
              solid_capstyle='round', zorder=3 if wrong else 2)
  axes.plot(*joints[0], 'o', color=pose.shade(pose.CLOSEST, 'centre'),
            markersize=7, zorder=4)
  axes.set_aspect('equal')
  axes.set_xticks([])
  axes.set_yticks([])
  axes.spines[:].set_visible(False)
