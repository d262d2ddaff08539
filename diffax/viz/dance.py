"""A dance with its music: a film, a strip of poses, and spectrograms.

A film shows the figure above a timeline. On the timeline lie the loudness of
the music, the kinematic amplitude of the dance, the musical beats as dashes
and the kinematic ones as dots; two lamps flash with them. Left limbs are
bright, right limbs dark, as the names of the joints say.
"""

from collections.abc import Iterator, Mapping, Sequence
import dataclasses
import pathlib
from typing import Any

import numpy as np

from diffax.errors import UserError
from diffax.viz import movie
from diffax.viz import pose

MUSIC, MOTION = '#d55e00', '#0072b2'
"""Colours of what belongs to the music and to the dance."""

_TEXT, _FAINT = '#24292f', '#d9dde2'
_SIZE = 720, 560           # pixels of a film
_STAGE = 150.0             # pixels below the figure
_TRACK = 30.0, 118.0       # lowest and highest pixel of the timeline
_MARGIN = 24.0
_FLASH = 0.15              # seconds until a lamp is out
_BINS = 480                # parts of the loudness
_ROW = 7.0                 # width of a row of poses, in heights of a figure


@dataclasses.dataclass(frozen=True)
class Dance:
  """A dance and its music, each of which may be given or generated.

  Attributes:
    title: of pictures.
    poses: `[T, J, 2]`, y up.
    fps: frames per second.
    joints: J names.
    bones: pairs of indices.
    wave: `[N]`, -1 to 1.
    rate: of the wave, Hz.
    onsets: seconds of musical beats.
    steps: seconds of kinematic beats.
    amplitude: `[T]` kinematic amplitude, 0 to 1.
  """

  title: str
  poses: np.ndarray
  fps: float
  joints: Sequence[str]
  bones: Sequence[tuple[int, int]]
  wave: np.ndarray
  rate: int
  onsets: np.ndarray
  steps: np.ndarray
  amplitude: np.ndarray

  def __post_init__(self) -> None:
    poses = np.asarray(self.poses)
    if poses.ndim != 3 or poses.shape[1:] != (len(self.joints), 2) or (
        not len(poses)
    ):
      raise UserError(
          f'{self.title}: expected poses [T, {len(self.joints)}, 2], found '
          f'{list(poses.shape)}.'
      )
    if not np.isfinite(poses).all():
      raise UserError(
          f'{self.title}: expected finite poses, found NaN or infinity.'
      )
    if np.shape(self.amplitude) != poses.shape[:1]:
      raise UserError(
          f'{self.title}: expected an amplitude [{len(poses)}], found '
          f'{list(np.shape(self.amplitude))}.'
      )

  @property
  def seconds(self) -> float:
    """Length of the dance."""
    return len(self.poses) / self.fps


def film(
    path: pathlib.Path | str, dance: Dance, *, max_fps: float = 30.0
) -> None:
  """Write a film with the figure, the sound and the beats.

  Args:
    path: the file, `.mp4`.
    dance: what to show.
    max_fps: pictures per second, at most; others are left out evenly.

  Raises:
    UserError: a package is missing or the file cannot be written.
  """
  path = pathlib.Path(path)
  if path.suffix != '.mp4':
    raise UserError(f'{path}: expected a film (.mp4), found {path.suffix!r}.')
  step = max(1, int(np.ceil(dance.fps / max_fps - 1e-6)))
  # Sound that goes on after the dance would hold the last picture.
  wave = dance.wave[:round(dance.seconds * dance.rate)]
  movie.write(
      path, _images(dance, step), dance.fps / step, wave, dance.rate
  )


def strip(
    path: pathlib.Path | str,
    dances: Mapping[str, Dance],
    *,
    title: str,
    poses: int = 12,
) -> None:
  """Draw poses over time, a row for each dance, with the beats below.

  Args:
    path: the picture, `.png`, `.pdf` or `.svg`.
    dances: by the name of their row.
    title: of the picture.
    poses: of a row, evenly spaced.

  Raises:
    UserError: there is no dance or matplotlib is missing.
  """
  figures = pose.matplotlib_figures()
  if not dances:
    raise UserError(f'{path}: expected at least one dance, found none.')
  figure = figures.Figure(
      figsize=(11, 2.6 * len(dances) + 0.6), layout='constrained'
  )
  grid = figure.subplots(
      2 * len(dances), 1, squeeze=False,
      height_ratios=[3, 1] * len(dances)
  )[:, 0]
  for number, (name, dance) in enumerate(dances.items()):
    stage, track = grid[2 * number:2 * number + 2]
    _poses_in_row(stage, dance, poses)
    stage.set_title(name.replace('$', r'\$'), fontsize=10, loc='left')
    _beats(track, dance)
  grid[-1].set_xlabel('time, s', fontsize=9)
  figure.suptitle(title.replace('$', r'\$'), fontsize=11)
  figure.savefig(pose.writable(path), dpi=140)


def spectrograms(
    path: pathlib.Path | str,
    mels: Mapping[str, np.ndarray],
    fps: float,
    *,
    onsets: Mapping[str, np.ndarray],
    steps: Mapping[str, np.ndarray] | None = None,
    title: str,
) -> None:
  """Draw mel-spectrograms below each other, with beats.

  Args:
    path: the picture, `.png`, `.pdf` or `.svg`.
    mels: `[T, bands]` log10 by name, on one scale.
    fps: frames per second.
    onsets: seconds of the musical beats by the same names, as dashes.
    steps: seconds of the kinematic beats, as dots at the lower edge.
    title: of the picture.

  Raises:
    UserError: there is nothing to draw or matplotlib is missing.
  """
  figures = pose.matplotlib_figures()
  if not mels:
    raise UserError(f'{path}: expected at least one spectrogram, found none.')
  figure = figures.Figure(
      figsize=(11, 1.9 * len(mels) + 0.8), layout='constrained'
  )
  grid = figure.subplots(len(mels), 1, squeeze=False, sharex=True)[:, 0]
  low = min(float(mel.min()) for mel in mels.values())
  high = max(float(mel.max()) for mel in mels.values())
  image = None
  for axes, (name, mel) in zip(grid, mels.items()):
    image = axes.imshow(
        mel.T, origin='lower', aspect='auto', cmap='magma', vmin=low,
        vmax=high, extent=(0, len(mel) / fps, 0, mel.shape[1]),
    )
    axes.vlines(
        onsets.get(name, ()), 0, mel.shape[1], color='white', linewidth=0.9,
        linestyle=(0, (4, 3)), alpha=0.9,
    )
    dots = (steps or {}).get(name, np.zeros(0))
    axes.plot(dots, np.full(len(dots), 2.0), 'o', color='#56d4ff',
              markersize=4, clip_on=False)
    axes.set_title(name.replace('$', r'\$'), fontsize=9, loc='left')
    axes.set_ylabel('band', fontsize=9)
    axes.tick_params(labelsize=8)
  grid[-1].set_xlabel(
      'time, s   (dashes: musical beats'
      + (', dots: kinematic beats)' if steps else ')'), fontsize=9
  )
  figure.colorbar(image, ax=grid, pad=0.01).set_label('log10', fontsize=9)
  figure.suptitle(title.replace('$', r'\$'), fontsize=11)
  figure.savefig(pose.writable(path), dpi=140)


def loudness(wave: np.ndarray, bins: int = _BINS) -> np.ndarray:
  """Return the root mean square of even parts of a wave, the most is 1.

  Args:
    wave: `[N]`.
    bins: parts.

  Returns:
    `[bins]`; all 0 of silence.
  """
  parts = np.array_split(np.asarray(wave, np.float64), bins)
  root = np.array([np.sqrt(np.mean(x**2)) if len(x) else 0.0 for x in parts])
  return root / (root.max() or 1.0)


def tints(joints: Sequence[str], bones: Sequence[tuple[int, int]]) -> list[str]:
  """Return the colour of each bone: bright left, dark right."""
  sides = [pose.side(name, joints) for name in joints]
  return [
      pose.shade(MOTION, sides[b] if sides[b] != 'centre' else sides[a])
      for a, b in bones
  ]


def _poses_in_row(axes: Any, dance: Dance, count: int) -> None:
  from matplotlib import collections
  frames = np.linspace(0, len(dance.poses) - 1, count).round().astype(int)
  centred = dance.poses - dance.poses.mean(1, keepdims=True)
  low = float(centred[frames][..., 1].min())
  high = float(centred[frames][..., 1].max())
  # As wide as the row is, so that poses stand above their times.
  width = max(
      1.15 * float(np.ptp(centred[frames][..., 0])),
      _ROW * (high - low) / count,
  )
  parent, child = np.array(dance.bones).T
  colours = tints(dance.joints, dance.bones)
  for place, frame in enumerate(frames):
    points = centred[frame] + (place * width, 0.0)
    axes.add_collection(collections.LineCollection(
        list(np.stack([points[parent], points[child]], 1)), colors=colours,
        linewidths=2, capstyle='round',
    ))
    axes.plot(*points[0], 'o', color=_TEXT, markersize=5)
    axes.text(place * width, low - 0.04 * (high - low),
              f'{frame / dance.fps:.1f} s', fontsize=7, ha='center', va='top')
  axes.set(
      xlim=(-0.6 * width, (count - 0.4) * width),
      ylim=(low - 0.2 * (high - low), high + 0.05 * (high - low)),
  )
  axes.set_aspect('equal')
  axes.axis('off')


def _beats(axes: Any, dance: Dance) -> None:
  """Draw a timeline of its own."""
  times = np.arange(len(dance.amplitude)) / dance.fps
  seconds = len(dance.wave) / dance.rate
  axes.fill_between(
      (np.arange(_BINS) + 0.5) * seconds / _BINS, loudness(dance.wave),
      color=pose.shade(MUSIC, 'left'), alpha=0.25, linewidth=0,
  )
  axes.plot(times, dance.amplitude, color=MOTION, linewidth=0.9)
  axes.vlines(dance.onsets, 0, 1.1, color=MUSIC, linewidth=0.9,
              linestyle=(0, (4, 3)))
  axes.plot(dance.steps, np.full(len(dance.steps), 1.16), 'o', color=MOTION,
            markersize=3.5)
  axes.set(xlim=(0, dance.seconds), ylim=(0, 1.25), yticks=())
  axes.tick_params(labelsize=8)
  axes.spines[['top', 'right', 'left']].set_visible(False)


def _images(dance: Dance, step: int) -> Iterator[np.ndarray]:
  """Yield pictures `[H, W, 3]` uint8."""
  from matplotlib import collections
  figures = pose.matplotlib_figures()
  width, height = _SIZE
  figure = figures.Figure(
      figsize=(width / 100, height / 100), dpi=100, facecolor='white'
  )
  axes = figure.add_axes((0, 0, 1, 1))
  axes.set(xlim=(0, width), ylim=(0, height))
  axes.axis('off')
  _backdrop(axes, dance)
  places = _places(dance.poses)
  parent, child = np.array(dance.bones).T
  lines = collections.LineCollection(
      [], colors=tints(dance.joints, dance.bones), linewidths=5,
      capstyle='round', animated=True,
  )
  axes.add_collection(lines)
  head = axes.plot([], [], 'o', color=_TEXT, markersize=15, animated=True)[0]
  cursor = axes.plot([], [], color=_TEXT, linewidth=1.4, animated=True)[0]
  lamps = [
      axes.plot(x, height - 30, 'o', color=colour, markersize=16,
                animated=True)[0]
      for x, colour in ((width - 120, MUSIC), (width - 60, MOTION))
  ]
  from matplotlib.backends import backend_agg
  canvas = backend_agg.FigureCanvasAgg(figure)
  # Only what moves is drawn again: ten times faster than whole figures.
  canvas.draw()
  blank = canvas.copy_from_bbox(figure.bbox)
  for frame in range(0, len(places), step):
    canvas.restore_region(blank)
    now = frame / dance.fps
    lines.set_segments(
        list(np.stack([places[frame, parent], places[frame, child]], 1))
    )
    head.set_data(places[frame, :1].T)
    x = _MARGIN + (width - 2 * _MARGIN) * now / dance.seconds
    cursor.set_data([x, x], _TRACK)
    for lamp, beats in zip(lamps, (dance.onsets, dance.steps)):
      lamp.set_alpha(_glow(now, beats))
    for artist in (lines, head, cursor, *lamps):
      axes.draw_artist(artist)
    yield np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _places(poses: np.ndarray) -> np.ndarray:
  """Return pixels of poses `[T, J, 2]`, one scale for all of them."""
  width, height = _SIZE
  low, high = poses.min((0, 1)), poses.max((0, 1))
  room = np.array([width - 4 * _MARGIN, height - _STAGE - 3.5 * _MARGIN])
  scale = (room / np.maximum(high - low, 1e-6)).min()
  middle = np.array([width / 2, _STAGE + room[1] / 2 + _MARGIN / 2])
  return middle + scale * (poses - (low + high) / 2)


def _glow(now: float, beats: np.ndarray) -> float:
  """Return how bright a lamp is: 1 at a beat, then it fades."""
  past = now - np.asarray(beats)[np.asarray(beats) <= now]
  since = past.min() if len(past) else np.inf
  return float(np.clip(1 - since / _FLASH, 0, 1)) * 0.9 + 0.1


def _backdrop(axes: Any, dance: Dance) -> None:
  """Draw what does not move: title, names of the lamps, timeline."""
  width, height = _SIZE
  low, high = _TRACK
  left, right = _MARGIN, width - _MARGIN

  def along(seconds: Any) -> Any:
    return left + (right - left) * np.asarray(seconds) / dance.seconds

  title = ' '.join(dance.title.split()).replace('$', r'\$')
  axes.text(left, height - 30, title if len(title) < 60 else f'{title[:59]}…',
            fontsize=12, fontweight='bold', color=_TEXT, va='center')
  for x, word in ((width - 120, 'music'), (width - 60, 'dance')):
    axes.text(x, height - 52, word, fontsize=9, color=_TEXT, ha='center')
  tall = (high - low) * 0.82
  seconds = len(dance.wave) / dance.rate
  axes.fill_between(
      along((np.arange(_BINS) + 0.5) * seconds / _BINS), low,
      low + tall * loudness(dance.wave), color=MUSIC, alpha=0.22, linewidth=0,
  )
  axes.plot(along(np.arange(len(dance.amplitude)) / dance.fps),
            low + tall * dance.amplitude, color=MOTION, linewidth=0.9)
  axes.vlines(along(dance.onsets), low, high, color=MUSIC, linewidth=0.9,
              linestyle=(0, (4, 3)))
  axes.plot(along(dance.steps), np.full(len(dance.steps), high), 'o',
            color=MOTION, markersize=4)
  axes.plot([left, right], [low, low], color=_FAINT, linewidth=1)
  for second in np.arange(0, dance.seconds + 1e-6, _tick(dance.seconds)):
    axes.text(along(second), low - 14, f'{second:g} s', fontsize=8,
              color=_TEXT, ha='center')


def _tick(seconds: float) -> float:
  return next((x for x in (1, 2, 5, 10) if seconds / x <= 12), 20)
