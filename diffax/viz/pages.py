"""Series and spectrograms as pages: zoom, hide lines, read values.

Each page is one file, which needs no network: Plotly's script is inside, 4.6 MB
of it. Plots are drawn by Plotly in the browser; what they show is what the
pictures of `series`, `spectrogram` and `dance` show.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import html
import pathlib
from typing import Any

import numpy as np

from diffax.errors import UserError
from diffax.viz import pose
from diffax.viz import series
from diffax.viz import spectrogram

_TOP, _BOTTOM = 70, 50
_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ font-family: system-ui, sans-serif; margin: 1.5rem auto;
  max-width: 75rem; padding: 0 1rem; color: #1b1f24 }}
h1 {{ font-size: 1.25rem }} h2 {{ font-size: 1rem; margin-top: 2rem }}
p {{ color: #57606a; font-size: .9rem }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>Drag to zoom, double click to go back, click a name to hide it.</p>
"""


@dataclasses.dataclass(frozen=True)
class Window:
  """A window of a modality, generated and real.

  Attributes:
    title: above it.
    channels: names, units, scale and rate.
    samples: `[K, L, C]` standardised; the first is a line, mean and deviation
      of several are a band.
    real: `[L, C]` standardised, or None.
    marked: `[L]` bool, shaded as unknown, or None.
  """

  title: str
  channels: series.Channels
  samples: np.ndarray
  real: np.ndarray | None = None
  marked: np.ndarray | None = None

  def __post_init__(self) -> None:
    count = len(self.channels.names)
    shape = np.shape(self.samples)
    if len(shape) != 3 or not shape[0] or shape[2] != count:
      raise UserError(
          f'{self.title}: expected samples [K, L, {count}], found '
          f'{list(shape)}.'
      )
    if self.real is not None and np.shape(self.real) != shape[1:]:
      raise UserError(
          f'{self.title}: expected a real window {list(shape[1:])}, found '
          f'{list(np.shape(self.real))}.'
      )


@dataclasses.dataclass(frozen=True)
class Spectrogram:
  """A spectrogram of a sound, with beats.

  Attributes:
    title: above it.
    image: `[N, B]` log magnitudes of B bands.
    fps: frames per second.
    beats: seconds of beats by name.
  """

  title: str
  image: np.ndarray
  fps: float
  beats: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)


def of_series(
    path: pathlib.Path | str, shown: Sequence[Window], *, title: str
) -> None:
  """Write generated series over real ones.

  Args:
    path: the file, `.html`.
    shown: from top to bottom.
    title: of the page.

  Raises:
    UserError: nothing is to be shown, plotly is missing, or the file cannot be
      written.
  """
  _write(path, title, [(one.title, _series(one)) for one in shown])


def of_windows(
    path: pathlib.Path | str,
    shown: Mapping[str, Sequence[spectrogram.View]],
    channels: series.Channels,
    *,
    title: str,
) -> None:
  """Write windows of each class: curves over each other, then spectrograms.

  Args:
    path: the file, `.html`.
    shown: views by class, such as a real and a generated window.
    channels: names, units and rate.
    title: of the page.

  Raises:
    UserError: as `of_series`, or shapes do not fit.
  """
  for views in shown.values():
    spectrogram.check(path, views, len(channels.names))
  _write(path, title, [
      (name, _windows(views, channels)) for name, views in shown.items()
  ])


def of_sounds(
    path: pathlib.Path | str, shown: Sequence[Spectrogram], *, title: str
) -> None:
  """Write spectrograms with their beats.

  Args:
    path: the file, `.html`.
    shown: from top to bottom.
    title: of the page.

  Raises:
    UserError: as `of_series`.
  """
  _write(path, title, [(one.title, _sound(one)) for one in shown])


def _plotly() -> tuple[Any, Any, Any]:
  try:
    from plotly import graph_objects
    from plotly import io
    from plotly import subplots
  except ImportError as error:
    raise pose.missing('plotly') from error
  return graph_objects, subplots, io


def _write(
    path: pathlib.Path | str, title: str, figures: Sequence[tuple[str, Any]]
) -> None:
  if not figures:
    raise UserError(f'{path}: expected something to show, found nothing.')
  _, _, io = _plotly()
  parts = [_HEAD.format(title=html.escape(title))]
  for number, (heading, figure) in enumerate(figures):
    parts += [
        f'<h2>{html.escape(heading)}</h2>\n',
        io.to_html(
            figure, include_plotlyjs=not number, full_html=False,
            div_id=f'plot-{number}', config={'displaylogo': False},
        ), '\n',
    ]
  path = pose.writable(path)
  try:
    path.write_text(''.join([*parts, '</body>\n</html>\n']), 'utf-8')
  except OSError as error:
    raise UserError(f'{path}: cannot write: {error}') from error


def _laid_out(figure: Any, rows: int, height: int) -> Any:
  figure.update_layout(
      template='simple_white', height=height * rows + _TOP + _BOTTOM,
      margin={'l': 70, 'r': 20, 't': _TOP, 'b': _BOTTOM},
      legend={'orientation': 'h', 'y': 1.0, 'yanchor': 'bottom'},
  )
  return figure


def _plain(text: str) -> str:
  """Return text that Plotly, which knows some tags, shows as it is."""
  return html.escape(text, quote=False)


def _series(one: Window) -> Any:
  objects, subplots, _ = _plotly()
  channels, count = one.channels, len(one.channels.names)
  times = channels.times(np.shape(one.samples)[1])
  drawn = channels.scaled(one.samples)
  figure = subplots.make_subplots(
      rows=count, cols=1, shared_xaxes=True,
      vertical_spacing=min(0.03, 0.3 / count),
  )
  for channel in range(count):
    lines = _lines(one, drawn[..., channel], times, channel)
    for name, style in lines.items():
      figure.add_trace(objects.Scatter(
          name=name, legendgroup=name, mode='lines',
          showlegend=channel == 0 and name != _LOWER, **style,
      ), row=channel + 1, col=1)
    for start, end in _runs(one.marked):
      figure.add_vrect(
          times[start], times[end - 1], row=channel + 1, col=1,
          fillcolor='#e3e8ee', line_width=0, layer='below',
      )
    figure.update_yaxes(
        title_text=_plain(channels.label(channel)).replace('\n', '<br>'),
        title_font_size=11, row=channel + 1, col=1,
    )
  figure.update_xaxes(title_text=_plain(channels.xlabel), row=count, col=1)
  figure.update_layout(hovermode='x unified')
  return _laid_out(figure, count, 130)


# The lower edge of a band has no name of its own.
_LOWER = 'lower edge'


def _lines(
    one: Window, drawn: np.ndarray, times: np.ndarray, channel: int
) -> dict[str, dict[str, Any]]:
  """Return the lines of a channel, `drawn` being [K, L] in its unit."""
  lines: dict[str, dict[str, Any]] = {}
  if len(drawn) > 1:
    mean, deviation = drawn.mean(0), drawn.std(0)
    edge = {'x': times, 'line': {'width': 0}, 'hoverinfo': 'skip'}
    lines[_LOWER] = {**edge, 'y': mean - deviation}
    lines[f'mean ± std of {len(drawn)}'] = {
        **edge, 'y': mean + deviation, 'fill': 'tonexty',
        'fillcolor': 'rgba(213, 94, 0, 0.22)',
    }
  if one.real is not None:
    real = one.channels.scaled(one.real)[:, channel]
    lines['real'] = {'x': times, 'y': real, 'line': {
        'color': series.REAL, 'width': 1.6}}
  lines['generated'] = {'x': times, 'y': drawn[0], 'line': {
      'color': series.SAMPLED, 'width': 1.4}}
  for style in lines.values():
    # Six digits are more than a screen shows.
    style['y'] = np.asarray(style['y'], np.float32)
  return lines


def _runs(marked: np.ndarray | None) -> list[tuple[int, int]]:
  """Return starts and ends of the stretches that are marked."""
  if marked is None:
    return []
  edges = np.diff(np.concatenate([[0], np.asarray(marked, int), [0]]))
  return list(zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)))


def _windows(
    views: Sequence[spectrogram.View], channels: series.Channels
) -> Any:
  objects, subplots, _ = _plotly()
  count, columns = len(channels.names), 1 + len(views)
  figure = subplots.make_subplots(
      rows=count, cols=columns, shared_xaxes=True, horizontal_spacing=0.06,
      vertical_spacing=min(0.03, 0.3 / count),
      column_titles=['', *(_plain(view.title) for view in views)],
  )
  colours = (series.REAL, series.SAMPLED, series.GIVEN)
  for channel in range(count):
    top = max(view.image[channel].max() for view in views)
    for number, view in enumerate(views):
      figure.add_trace(objects.Scatter(
          x=channels.times(len(view.window)),
          y=np.asarray(view.window[:, channel], np.float32),
          name=_plain(view.title), legendgroup=view.title,
          showlegend=channel == 0, mode='lines',
          line={'color': colours[number % 3], 'width': 1.4},
      ), row=channel + 1, col=1)
      level = spectrogram.decibels(view.image[channel], top)
      figure.add_trace(objects.Heatmap(
          z=np.round(level, 1).astype(np.float32),
          zmin=-spectrogram.RANGE, zmax=0, colorscale='Magma',
          x=_cells(len(view.window) / channels.rate, level.shape[1]),
          y=_cells(channels.rate / 2, level.shape[0]),
          showscale=not channel and not number,
          colorbar={'title': 'dB', 'len': 0.5},
          hovertemplate='%{x:.2f} s, %{y:.1f} Hz: %{z} dB<extra></extra>',
      ), row=channel + 1, col=number + 2)
    figure.update_yaxes(
        title_text=_plain(channels.label(channel)).replace('\n', '<br>'),
        title_font_size=11, row=channel + 1, col=1,
    )
    figure.update_yaxes(title_text='Hz', row=channel + 1, col=2)
  figure.update_xaxes(title_text=_plain(channels.xlabel), row=count)
  return _laid_out(figure, count, 130)


def _cells(length: float, count: int) -> np.ndarray:
  """Return the middles of cells that fill a length."""
  return np.round((np.arange(count) + 0.5) * length / count, 5)


def _sound(one: Spectrogram) -> Any:
  objects, _, _ = _plotly()
  frames, bands = one.image.shape
  figure = objects.Figure(objects.Heatmap(
      z=np.round(np.asarray(one.image.T, np.float32), 2),
      colorscale='Magma',
      x=_cells(frames / one.fps, frames), y=np.arange(bands),
      colorbar={'title': 'log'},
      hovertemplate='%{x:.2f} s, band %{y}: %{z}<extra></extra>',
  ))
  places = (1.02 * bands, 1.10 * bands)
  # The colours of beats in `viz/dance.html`.
  symbols = (('triangle-down', series.SAMPLED), ('diamond', series.GIVEN))
  for number, (name, beats) in enumerate(one.beats.items()):
    symbol, colour = symbols[number % 2]
    figure.add_trace(objects.Scatter(
        x=np.round(beats, 4), y=np.full(len(beats), places[number % 2]),
        name=_plain(name), mode='markers',
        marker={'symbol': symbol, 'color': colour, 'size': 9},
    ))
  figure.update_xaxes(title_text='time, s', range=[0, frames / one.fps])
  figure.update_yaxes(title_text='mel band')
  return _laid_out(figure, 1, 340)
