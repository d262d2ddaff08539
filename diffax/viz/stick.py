"""Stick figures side by side: animations (GIF, MP4) and strips (PNG).

Poses are projected by `pose.Camera` and drawn flat, all panels in one set of
axes whose unit is the pixel. Every panel has the same scale, which holds every
pose of every motion. Left limbs are bright, right limbs dark.
"""

from collections.abc import Iterator, Sequence
import dataclasses
import itertools
import pathlib
import subprocess
from typing import Any

import numpy as np

from diffax.body.skeletons import Skeleton
from diffax.errors import UserError
from diffax.viz import pose

SUFFIXES = ('.gif', '.mp4', '.png')

_BODY = 250.0      # pixels of the tallest pose
_SMALL = 170.0     # likewise, in a strip
_WIDEST = 640.0    # pixels of the widest panel
_PAD = 16.0
_HEAD, _FOOT = 40.0, 46.0
_TEXT, _FAINT = '#24292f', '#d9dde2'
_COLUMNS = 6


@dataclasses.dataclass(frozen=True)
class _Layout:
  """Where panels lie, in pixels from the lower left corner.

  Attributes:
    camera: common to all panels.
    scale: pixels per metre.
    low: `[2]` the lower left corner of all poses, metres on the screen.
    panel: `[2]` width and height of a panel without its title.
    columns: panels in a row.
    rows: rows of panels.
  """

  camera: pose.Camera
  scale: float
  low: np.ndarray
  panel: np.ndarray
  columns: int
  rows: int

  @property
  def size(self) -> tuple[int, int]:
    """Width and height of the picture; even, as video coders ask."""
    width = self.columns * self.panel[0]
    height = self.rows * (self.panel[1] + _HEAD) + _FOOT
    return 2 * round(width / 2), 2 * round(height / 2)

  def corner(self, number: int) -> np.ndarray:
    """Return the lower left corner `[2]` of a panel."""
    row, column = divmod(number, self.columns)
    row = self.rows - 1 - row
    return np.array([
        column * self.panel[0], _FOOT + row * (self.panel[1] + _HEAD)
    ])

  def place(self, points: np.ndarray, number: int) -> np.ndarray:
    """Return pixels `[..., 2]` of points `[..., 3]` in a panel."""
    flat = self.camera(points)[0]
    return self.corner(number) + _PAD + self.scale * (flat - self.low)


def animate(
    path: pathlib.Path | str,
    motions: Sequence[np.ndarray],
    skeleton: Skeleton,
    fps: float,
    titles: Sequence[str],
    past: int = 0,
    *,
    colours: Sequence[str] | None = None,
    max_fps: float = 30.0,
) -> None:
  """Draw motions side by side, as an animation or as a strip.

  Frames are left out evenly so that at most `max_fps` are shown per second;
  the animation runs in real time all the same. A motion that ends early holds
  its last pose.

  Args:
    path: a `.gif`, `.mp4`, or `.png` for `strip`.
    motions: each `[L, J + 1, 3]`, or `[L, J, 3]` about the root; metres, Z up.
    skeleton: of all motions.
    fps: frames per second of the motions.
    titles: one per motion.
    past: how many of the first frames were observed; they are grey.
    colours: `#rrggbb` of each motion's future.
    max_fps: frames per second of the animation.

  Raises:
    UserError: if arguments do not fit together, the suffix is unknown or a
      package is missing.
  """
  path = pathlib.Path(path)
  if path.suffix not in SUFFIXES:
    raise UserError(
        f'{path}: expected a picture ({", ".join(SUFFIXES)}), found suffix '
        f'{path.suffix!r}.'
    )
  if path.suffix == '.png':
    strip(path, motions, skeleton, fps, titles, past, colours=colours)
    return
  full = _check(motions, skeleton, fps, titles, past, colours)
  if not max_fps > 0:
    raise UserError(f'max_fps: expected above 0, found {max_fps}.')
  step = max(1, int(np.ceil(fps / max_fps - 1e-6)))
  write = _write_gif if path.suffix == '.gif' else _write_mp4
  images = _images(
      full, skeleton, fps, titles, past, colours or pose.colours(len(full)),
      step,
  )
  write(pose.writable(path), images, fps / step)


def strip(
    path: pathlib.Path | str,
    motions: Sequence[np.ndarray],
    skeleton: Skeleton,
    fps: float,
    titles: Sequence[str],
    past: int = 0,
    *,
    colours: Sequence[str] | None = None,
    poses: int = 9,
) -> None:
  """Draw each motion as a row of poses over time.

  Args:
    path: the picture, `.png`, `.pdf` or `.svg`.
    motions: as for `animate`.
    skeleton: of all motions.
    fps: frames per second of the motions.
    titles: one per motion.
    past: how many of the first frames were observed; they are grey.
    colours: `#rrggbb` of each motion's future.
    poses: per row; with a past, the first and the last observed frame and
      `poses - 2` evenly spaced ones after it.

  Raises:
    UserError: if arguments do not fit together or matplotlib is missing.
  """
  full = _check(motions, skeleton, fps, titles, past, colours)
  colours = colours or pose.colours(len(full))
  frames = _times(max(map(len, full)), past, poses)
  # Each pose stands at its own place, so where the body went does not count.
  full = [_grounded(motion) for motion in full]
  layout = _layout(full, skeleton, len(frames), len(full), _SMALL)
  figure, axes = _canvas(layout)
  style = _Style(skeleton)
  for row, motion in enumerate(full):
    shown = [f for f in frames if f < len(motion)]
    for column, frame in enumerate(shown):
      tint = pose.PAST if frame < past else colours[row]
      number = row * layout.columns + column
      style.draw(axes, layout, number, motion[frame], tint)
    _row_title(axes, layout, row, titles[row], colours[row])
  for column, frame in enumerate(frames):
    centre = layout.corner(column)[0] + layout.panel[0] / 2
    axes.text(centre, _FOOT / 2, _time(frame, past, fps), fontsize=10,
              color=_TEXT, ha='center', va='center')
  observed = sum(frame < past for frame in frames)
  if 0 < observed < len(frames):
    border = layout.corner(observed)[0]
    axes.plot([border, border], [4, layout.size[1] - 4], color='#aab1ba',
              linewidth=1, linestyle=(0, (4, 4)))
  figure.savefig(pose.writable(path), dpi=160)


def _check(
    motions: Sequence[np.ndarray], skeleton: Skeleton, fps: float,
    titles: Sequence[str], past: int, colours: Sequence[str] | None
) -> list[np.ndarray]:
  if not len(motions) or len(titles) != len(motions):
    raise UserError(
        f'titles: expected one for each of at least one motion, found '
        f'{len(titles)} for {len(motions)}.'
    )
  if colours is not None and len(colours) != len(motions):
    raise UserError(
        f'colours: expected {len(motions)}, found {len(colours)}.'
    )
  if not fps > 0:
    raise UserError(f'fps: expected a rate above 0, found {fps}.')
  full = [
      pose.complete(motion, skeleton, title)
      for motion, title in zip(motions, titles)
  ]
  if not 0 <= past <= min(map(len, full)):
    raise UserError(
        f'past: expected 0..{min(map(len, full))} frames, found {past}.'
    )
  return full


def _layout(
    full: Sequence[np.ndarray], skeleton: Skeleton, columns: int, rows: int,
    body: float
) -> _Layout:
  camera = pose.camera(full[0], skeleton)
  flat = np.concatenate([camera(motion)[0].reshape(-1, 2) for motion in full])
  low, high = flat.min(0), flat.max(0)
  # Room for the head's disc and the width of the lines.
  low, high = low - 0.06, high + 0.12
  extent = high - low
  scale = min(body / extent[1], _WIDEST / extent[0])
  panel = scale * extent + 2 * _PAD
  return _Layout(camera, scale, low, panel, columns, rows)


def _grounded(motion: np.ndarray) -> np.ndarray:
  """Centre every pose above the same place; heights stay."""
  middle = motion[:, :1] * np.array([1.0, 1.0, 0.0])
  return motion - middle


def _times(length: int, past: int, poses: int) -> list[int]:
  if poses < 3:
    raise UserError(f'poses: expected 3 or more, found {poses}.')
  if past == 0 or past == length:
    return sorted(set(np.linspace(0, length - 1, poses).round().astype(int)))
  after = np.linspace(past - 1, length - 1, poses - 1).round().astype(int)
  return sorted({0, *after.tolist()})


def _time(frame: int, past: int, fps: float) -> str:
  seconds = (frame - past + 1) / fps if past else frame / fps
  text = f'{seconds:+.2f} s' if past else f'{seconds:.2f} s'
  return text.replace('-', '\u2212').replace('+0.00', '0.00')


def _canvas(layout: _Layout) -> tuple[Any, Any]:
  """Return a figure at 100 dots per inch and axes whose unit is a dot."""
  width, height = layout.size
  figure = pose.matplotlib_figures().Figure(
      figsize=(width / 100, height / 100), dpi=100, facecolor='white'
  )
  axes = figure.add_axes((0, 0, 1, 1))
  axes.set(xlim=(0, width), ylim=(0, height))
  axes.axis('off')
  return figure, axes


class _Style:
  """Turn poses of one skeleton into coloured lines and heads."""

  def __init__(self, skeleton: Skeleton):
    self.child, self.parent = np.array(skeleton.bones).T
    self.sides = np.array(pose.sides(skeleton))
    self.head = pose.heads(skeleton)

  def shapes(
      self, layout: _Layout, number: int, joints: np.ndarray, colour: str
  ) -> tuple[np.ndarray, list[str], np.ndarray, list[str]]:
    """Return lines `[N, 2, 2]`, their colours, heads `[H, 2]`, theirs."""
    places = layout.place(joints, number)
    near = layout.camera(joints)[1]
    # The nearer limb covers the farther one.
    order = np.argsort(near[self.child] + near[self.parent])
    child, parent = self.child[order], self.parent[order]
    tints = {where: pose.shade(colour, where) for where in set(self.sides)}
    return (
        np.stack([places[parent], places[child]], 1),
        [tints[where] for where in self.sides[child]],
        places[self.head],
        [tints[where] for where in self.sides[self.head]],
    )

  def artists(self, axes: Any) -> tuple[Any, Any]:
    """Add an empty collection of lines and one of heads."""
    from matplotlib import collections
    lines = collections.LineCollection(
        [], linewidths=3.0, capstyle='round', animated=True
    )
    axes.add_collection(lines)
    heads = axes.scatter(
        [], [], s=90, zorder=3, linewidths=0, animated=True
    )
    return lines, heads

  def draw(
      self, axes: Any, layout: _Layout, number: int, joints: np.ndarray,
      colour: str
  ) -> None:
    """Draw one pose for good."""
    lines, heads = self.artists(axes)
    segments, tints, places, fills = self.shapes(
        layout, number, joints, colour
    )
    lines.set(segments=segments, color=tints, animated=False)
    heads.set(offsets=places, facecolor=fills, animated=False)


def _row_title(
    axes: Any, layout: _Layout, row: int, title: str, colour: str
) -> None:
  left, low = layout.corner(row * layout.columns)
  width = layout.size[0] - 2 * _PAD
  axes.text(left + _PAD, low + layout.panel[1] + _HEAD / 2,
            _fitted(title, width, 12), fontsize=12, fontweight='bold',
            color=colour, va='center')


def _fitted(text: str, width: float, points: float) -> str:
  """Cut a text to about `width` pixels at 100 dots per inch."""
  text = ' '.join(text.split()).replace('$', r'\$')
  most = max(4, int(width / (0.62 * points * 100 / 72)))
  return text if len(text) <= most else text[:most - 1] + '\u2026'


def _images(
    full: Sequence[np.ndarray], skeleton: Skeleton, fps: float,
    titles: Sequence[str], past: int, colours: Sequence[str], step: int
) -> Iterator[np.ndarray]:
  """Yield pictures `[H, W, 3]` uint8."""
  columns = min(len(full), _COLUMNS)
  rows = -(-len(full) // columns)
  layout = _layout(full, skeleton, columns, rows, _BODY)
  figure, axes = _canvas(layout)
  style = _Style(skeleton)
  length = max(map(len, full))
  _backdrop(axes, layout, full, titles, colours, past / length)
  lines, heads = style.artists(axes)
  marker = axes.plot([], [], 'o', color=_TEXT, markersize=7, animated=True)[0]
  clock = axes.text(layout.size[0] - _PAD, 17, '', fontsize=10, color=_TEXT,
                    ha='right', va='center', animated=True)
  from matplotlib.backends import backend_agg
  canvas = backend_agg.FigureCanvasAgg(figure)
  # Only what moves is drawn again: ten times faster than whole figures.
  canvas.draw()
  blank = canvas.copy_from_bbox(figure.bbox)
  for frame in range(0, length, step):
    canvas.restore_region(blank)
    parts = [
        style.shapes(layout, i, motion[min(frame, len(motion) - 1)],
                     pose.PAST if frame < past else colours[i])
        for i, motion in enumerate(full)
    ]
    segments, tints, places, fills = zip(*parts)
    lines.set(segments=np.concatenate(segments), color=sum(tints, []))
    heads.set(offsets=np.concatenate(places), facecolor=sum(fills, []))
    start, end = _timeline(layout)
    marker.set_data([start + (end - start) * frame / max(length - 1, 1)], [17])
    clock.set_text(_time(frame, past, fps))
    for artist in (lines, heads, marker, clock):
      axes.draw_artist(artist)
    yield np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _timeline(layout: _Layout) -> tuple[float, float]:
  return _PAD, layout.size[0] - _PAD - 70


def _backdrop(
    axes: Any, layout: _Layout, full: Sequence[np.ndarray],
    titles: Sequence[str], colours: Sequence[str], past: float
) -> None:
  """Draw what does not move: titles, ground, timeline."""
  everything = np.concatenate([motion.reshape(-1, 3) for motion in full])
  for number, (title, colour) in enumerate(zip(titles, colours)):
    for line in _ground(everything):
      axes.plot(*layout.place(line, number).T, color=_FAINT, linewidth=0.8,
                zorder=0)
    corner = layout.corner(number)
    axes.text(corner[0] + layout.panel[0] / 2,
              corner[1] + layout.panel[1] + _HEAD / 2 - 4,
              _fitted(title, layout.panel[0] - 8, 11), fontsize=11,
              fontweight='bold', color=colour, ha='center', va='center')
  start, end = _timeline(layout)
  border = start + (end - start) * past
  for left, right, colour in ((start, border, pose.PAST),
                              (border, end, _FAINT)):
    axes.plot([left, right], [17, 17], color=colour, linewidth=4,
              solid_capstyle='butt', zorder=1)


def _ground(points: np.ndarray) -> list[np.ndarray]:
  """Return lines `[2, 3]` of a grid below all points `[N, 3]`."""
  low, high = points.min(0), points.max(0)
  middle = (low + high) / 2
  reach = np.maximum((high - low) / 2, 0.3)
  lines = []
  for part in np.linspace(-1, 1, 5):
    for along, across in ((0, 1), (1, 0)):
      line = np.tile(np.append(middle[:2], low[2]), (2, 1))
      line[:, along] += [-reach[along], reach[along]]
      line[:, across] += part * reach[across]
      lines.append(line)
  return lines


def _write_gif(
    path: pathlib.Path, images: Iterator[np.ndarray], fps: float
) -> None:
  try:
    from PIL import Image
  except ImportError as error:
    raise pose.missing('pillow') from error
  frames = [Image.fromarray(image) for image in images]
  table = _palette(frames)
  palette = Image.new('P', (1, 1))
  palette.putpalette(table.ravel().tolist())
  white = int(table.sum(1).argmax())
  plain = []
  for frame in frames:
    indices = np.array(
        frame.quantize(palette=palette, dither=Image.Dither.NONE)
    )
    # Pillow takes the near for the nearest, which greys the paper.
    indices[(np.asarray(frame) == 255).all(-1)] = white
    plain.append(Image.fromarray(indices))
    plain[-1].putpalette(table.ravel().tolist())
  # A GIF counts hundredths of a second: spread the rounding over the frames.
  ticks = np.round(100 * np.arange(len(plain) + 1) / fps).astype(int)
  plain[0].save(
      path, save_all=True, append_images=plain[1:], loop=0, optimize=False,
      duration=(10 * np.diff(ticks)).tolist(),
  )


def _palette(frames: Sequence[Any]) -> np.ndarray:
  """Return the most frequent colours `[256, 3]` of all pictures.

  One palette for all, or colours would flicker; the frequent ones exactly, or
  thin lines would lend their hue to each other.
  """
  few = sorted({round(i * (len(frames) - 1) / 6) for i in range(7)})
  pixels = np.concatenate([
      np.asarray(frames[i], np.uint32).reshape(-1, 3) for i in few
  ])
  codes, counts = np.unique(
      pixels @ np.array([1 << 16, 1 << 8, 1], np.uint32), return_counts=True
  )
  kept = codes[np.argsort(-counts, kind='stable')[:256]]
  kept = np.resize(kept, 256)
  return np.stack([kept >> 16, kept >> 8 & 255, kept & 255], 1)


def _write_mp4(
    path: pathlib.Path, images: Iterator[np.ndarray], fps: float
) -> None:
  try:
    import imageio_ffmpeg
  except ImportError as error:
    raise pose.missing('imageio-ffmpeg') from error
  first = next(images)
  height, width = first.shape[:2]
  # Started here and not by imageio-ffmpeg, which forks: a fork of a process
  # that runs JAX's threads can hang.
  command = [
      imageio_ffmpeg.get_ffmpeg_exe(), '-y', '-loglevel', 'error',
      '-f', 'rawvideo', '-pix_fmt', 'rgb24', '-s', f'{width}x{height}',
      '-r', f'{fps:.6f}', '-i', '-',
      '-c:v', 'libx264', '-crf', '20', '-preset', 'veryfast',
      '-pix_fmt', 'yuv420p', '-movflags', '+faststart', str(path.resolve()),
  ]
  with subprocess.Popen(
      command, stdin=subprocess.PIPE, stderr=subprocess.PIPE
  ) as ffmpeg:
    assert ffmpeg.stdin is not None
    try:
      for image in itertools.chain([first], images):
        ffmpeg.stdin.write(image.tobytes())
    except BrokenPipeError:
      pass  # The exit status and the message below tell why.
    message = ffmpeg.communicate()[1].decode(errors='replace').strip()
  if ffmpeg.returncode:
    raise UserError(f'{path}: ffmpeg could not write it: {message}')
