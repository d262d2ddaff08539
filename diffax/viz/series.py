"""Pictures of time series: real against generated, black against red.

Each takes plain arrays. A panel is one pair of axes with one channel; series
bear their unit on the axis, and a shaded band is one standard deviation.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import pathlib
import re
import textwrap
from typing import Any

import numpy as np

from diffax.errors import UserError
from diffax.viz import pose

REAL = '#000000'
SAMPLED = '#d55e00'
GIVEN = '#0072b2'
"""Colours that colour-blind readers can tell apart (Okabe and Ito)."""

_GRID = '#e6e8eb'
_MARKED = '#e3e8ee'
# More channels than this are too many for one picture of several windows.
_FEW = 4


@dataclasses.dataclass(frozen=True)
class Channels:
  """What turns standardised values of a modality into labelled ones.

  Attributes:
    names: C names.
    units: C units.
    mean: [C], in these units.
    std: [C], likewise.
    rate: samples per unit of time.
    clock: the unit of time.
  """

  names: Sequence[str]
  units: Sequence[str]
  mean: np.ndarray
  std: np.ndarray
  rate: float
  clock: str = 's'

  @classmethod
  def of(cls, info: Mapping[str, Any], modality: str) -> 'Channels':
    """Take them from the `info` of a source of paired series."""
    return cls(
        info['channels'][modality], info['units'][modality],
        info['mean'][modality], info['std'][modality],
        info['rate'], info.get('clock', 's'),
    )

  def times(self, length: int) -> np.ndarray:
    """Return the times of samples, [length]."""
    return np.arange(length) / self.rate

  @property
  def xlabel(self) -> str:
    """Return what the axis of time is called."""
    return f'time, {self.clock}'

  def name(self, channel: int) -> str:
    """Return the name of a channel in words, without its unit."""
    unit = re.sub(r'\W', '', self.units[channel]).lower()
    name = self.names[channel]
    return (name.removesuffix(f'_{unit}') if unit else name).replace('_', ' ')

  def label(self, channel: int) -> str:
    """Return the name and unit of a channel, in lines of a few words."""
    unit = self.units[channel]
    return textwrap.fill(self.name(channel) + f', {unit}' * bool(unit), 22)

  def scaled(self, values: np.ndarray) -> np.ndarray:
    """Return standardised values `[..., C]` in their units, float64."""
    values = np.asarray(values, np.float64)
    shape = (1,) * (values.ndim - 1) + (-1,)
    return values * self.std.reshape(shape) + self.mean.reshape(shape)


@dataclasses.dataclass(frozen=True)
class Panel:
  """One pair of axes of `panels`.

  Attributes:
    title: above it.
    ylabel: quantity and unit.
    sampled: [L], the generated line.
    real: [L], or None where it is unknown.
    sampled_std: [L] half height of the band about `centre`, or None.
    centre: [L] middle of the band; by default `sampled`.
    real_std: [L] half height of a band about `real`, drawn as its edges.
    marked: [L] bool, samples whose background is shaded, or None.
  """

  title: str
  ylabel: str
  sampled: np.ndarray
  real: np.ndarray | None = None
  sampled_std: np.ndarray | None = None
  centre: np.ndarray | None = None
  real_std: np.ndarray | None = None
  marked: np.ndarray | None = None


def panels(
    path: pathlib.Path | str,
    shown: Sequence[Panel],
    time: np.ndarray,
    *,
    xlabel: str,
    title: str,
    columns: int = 3,
    common: bool = False,
    names: Mapping[str, str] | None = None,
) -> None:
  """Draw real and generated series on a grid.

  Args:
    path: the file, `.png`, `.pdf` or `.svg`.
    shown: row by row.
    time: [L], of all panels.
    xlabel: quantity and unit of time.
    title: of the picture.
    columns: of the grid.
    common: the panels of a row show one channel, on one scale.
    names: what the legend calls `real`, `edge` (of its band), `sampled`,
      `band` and `marked`.

  Raises:
    UserError: if there is no panel, a series has another length, or
      matplotlib is missing.
  """
  figures = pose.matplotlib_figures()
  time = np.asarray(time, float)
  _check_panels(path, shown, time)
  columns = min(columns, len(shown))
  rows = -(-len(shown) // columns)
  figure = figures.Figure(
      figsize=(max(3.3 * columns, 6.6), 1.75 * rows + 0.95),
      layout='constrained',
  )
  grid = figure.subplots(
      rows, columns, squeeze=False, sharex=True,
      sharey='row' if common else False,
  )
  legend: dict[str, Any] = {}
  for axes, panel in zip(grid.flat, shown):
    legend |= _draw_panel(axes, panel, time)
  for number, axes in enumerate(grid.flat):
    if number >= len(shown):
      axes.set_visible(False)
    # Shared axes hide their labels, also above a gap in the last row.
    elif number + columns >= len(shown):
      axes.tick_params(labelbottom=True)
      axes.set_xlabel(xlabel, fontsize=9)
    if common and number % columns:
      axes.set_ylabel('')
  figure.align_ylabels()
  said = {
      'real': 'real', 'edge': 'real \u00b1 std', 'sampled': 'generated',
      'band': 'samples, mean \u00b1 std', 'marked': 'unknown',
  } | dict(names or {})
  figure.suptitle(title, fontsize=11)
  figure.legend(
      list(legend.values()), [said[key] for key in legend],
      loc='outside lower center', ncols=len(legend), frameon=False, fontsize=9,
  )
  figure.savefig(pose.writable(path), dpi=160)


def reconstructions(
    path: pathlib.Path | str,
    channels: Channels,
    samples: np.ndarray,
    real: np.ndarray | None = None,
    *,
    title: str,
    headings: Sequence[str] | None = None,
    wanted: Sequence[int] | None = None,
    marked: np.ndarray | None = None,
    columns: int | None = None,
) -> None:
  """Draw windows beside each other, or all channels of a single one.

  Args:
    path: the file, `.png`, `.pdf` or `.svg`.
    channels: of the modality.
    samples: [N, K, L, C] standardised, K of each of N windows; the first is
      drawn as a line, mean and spread of several as a band.
    real: [N, L, C] standardised, or None.
    title: of the picture.
    headings: N, above the windows.
    wanted: channels to draw; by default all.
    marked: [L] bool, shaded as unknown.
    columns: of the channels of a single window; by default as fit.

  Raises:
    UserError: as `panels`.
  """
  drawn = channels.scaled(samples)
  truth = None if real is None else channels.scaled(real)
  several, single = samples.shape[1] > 1, len(samples) == 1
  rows = range(samples.shape[-1]) if wanted is None else wanted
  shown = [
      Panel(
          channels.name(row) if single else
          headings[n] if headings and row == rows[0] else '',
          channels.units[row] if single else channels.label(row),
          drawn[n, 0, :, row],
          real=None if truth is None else truth[n, :, row],
          sampled_std=drawn[n, ..., row].std(0) if several else None,
          centre=drawn[n, ..., row].mean(0) if several else None,
          marked=marked,
      )
      for row in rows for n in range(len(samples))
  ]
  if single and headings:
    title = f'{title}, {headings[0]}'
  panels(
      path, shown, channels.times(samples.shape[2]), xlabel=channels.xlabel,
      title=title, common=not single,
      columns=(columns or _columns(len(rows))) if single else len(samples),
  )


def _columns(count: int) -> int:
  """Choose columns that leave no gap, if there is such a number."""
  return next((n for n in (3, 4, 2) if count % n == 0), 3)


def typical(
    path: pathlib.Path | str, channels: Channels,
    samples: np.ndarray, real: np.ndarray, *, title: str
) -> None:
  """Draw evenly chosen windows, all channels of one if there are many.

  Args:
    path: as for `reconstructions`.
    channels: of the modality.
    samples: [N, K, L, C] standardised.
    real: [N, L, C] standardised.
    title: of the picture.
  """
  count = 3 if samples.shape[-1] <= _FEW else 1
  # In the middle of equal parts, as neighbours overlap.
  rows = _spread(len(real), count)
  reconstructions(
      path, channels, samples[rows], real[rows], title=title,
      headings=[f'window {row}' for row in rows],
  )


def failures(
    path: pathlib.Path | str, channels: Channels,
    samples: np.ndarray, real: np.ndarray, place: np.ndarray, *, title: str
) -> None:
  """Draw the windows of largest error, in the channels that err most.

  Args:
    path: as for `reconstructions`.
    channels: of the modality.
    samples: [N, K, L, C] standardised; the error is of the first of K.
    real: [N, L, C] standardised.
    place: [N] first sample in the recording; windows that overlap a worse one
      are passed over.
    title: of the picture.
  """
  square = np.square(samples[:, 0] - real)
  error = square.mean((1, 2))
  rows: list[int] = []
  for row in np.argsort(-error, kind='stable'):
    if all(abs(place[row] - place[other]) >= real.shape[1] for other in rows):
      rows.append(int(row))
  rows = rows[:3]
  most = np.argsort(-square[rows].mean((0, 1)), kind='stable')[:_FEW]
  reconstructions(
      path, channels, samples[rows], real[rows], title=title,
      headings=[f'window {row}, MSE {error[row]:.3g}' for row in rows],
      wanted=sorted(most.tolist()),
  )


def bands(
    path: pathlib.Path | str, channels: Channels,
    sampled: np.ndarray, real: np.ndarray, label: np.ndarray,
    classes: Sequence[str], *, title: str
) -> None:
  """Draw mean and spread over the windows of a class, real and generated.

  Args:
    path: as for `reconstructions`.
    channels: of the modality.
    sampled: [N, L, C] standardised.
    real: [N, L, C] standardised.
    label: [N] index into `classes`; of many, three are drawn.
    classes: names.
    title: of the picture.
  """
  kinds = np.unique(label)
  kinds = kinds[_spread(len(kinds), 3)]
  rows = _spread(real.shape[-1], _FEW)
  made, true = channels.scaled(sampled), channels.scaled(real)
  shown = []
  for row in rows:
    for kind in kinds:
      chosen = label == kind
      ours, theirs = made[chosen, :, row], true[chosen, :, row]
      heading = f'{classes[kind]} ({chosen.sum()} windows)'
      shown.append(Panel(
          heading if row == rows[0] else '', channels.label(row),
          ours.mean(0), real=theirs.mean(0), sampled_std=ours.std(0),
          real_std=theirs.std(0),
      ))
  panels(
      path, shown, channels.times(real.shape[1]), xlabel=channels.xlabel,
      title=title, columns=len(kinds), common=True,
      names={'real': 'real, mean', 'sampled': 'generated, mean',
             'band': 'generated \u00b1 std'},
  )


def _spread(total: int, wanted: int) -> np.ndarray:
  """Return the middles of `wanted` equal parts of `total` things."""
  wanted = min(wanted, total)
  return ((np.arange(wanted) + 0.5) * total / wanted).astype(int)


def _check_panels(
    path: pathlib.Path | str, shown: Sequence[Panel], time: np.ndarray
) -> None:
  if not shown:
    raise UserError(f'{path}: expected at least one panel, found none.')
  for panel in shown:
    for field in dataclasses.fields(Panel):
      value = getattr(panel, field.name)
      if isinstance(value, np.ndarray) and value.shape != time.shape:
        raise UserError(
            f'{path}: panel {panel.title!r}: {field.name}: expected '
            f'{list(time.shape)} as the time, found {list(value.shape)}.'
        )


def _draw_panel(axes: Any, panel: Panel, time: np.ndarray) -> dict[str, Any]:
  """Draw one panel; return what the legend shows by role."""
  found = {}
  if panel.marked is not None:
    found['marked'] = axes.fill_between(
        time, 0, 1, where=panel.marked, color=_MARKED, linewidth=0,
        transform=axes.get_xaxis_transform(), zorder=0,
    )
  if panel.real is not None:
    if panel.real_std is not None:
      # Two bands would hide each other.
      for edge in (-panel.real_std, panel.real_std):
        found['edge'] = axes.plot(
            time, panel.real + edge, color=REAL, linewidth=0.8,
            linestyle=(0, (1, 1.5)),
        )[0]
    found['real'] = axes.plot(time, panel.real, color=REAL, linewidth=1.5)[0]
  if panel.sampled_std is not None:
    centre = panel.sampled if panel.centre is None else panel.centre
    found['band'] = _band(axes, time, centre, panel.sampled_std, SAMPLED)
  found['sampled'] = axes.plot(
      time, panel.sampled, color=SAMPLED, linewidth=1.3,
      linestyle=(0, (5, 1.2)) if panel.real is not None else '-',
  )[0]
  axes.set_title(panel.title, fontsize=9)
  axes.set_ylabel(panel.ylabel, fontsize=9)
  axes.margins(x=0)
  style(axes)
  order = ('real', 'edge', 'sampled', 'band', 'marked')
  return {role: found[role] for role in order if role in found}


def _band(
    axes: Any, x: np.ndarray, centre: np.ndarray, half: np.ndarray, colour: str
) -> Any:
  return axes.fill_between(
      x, centre - half, centre + half, color=colour, alpha=0.22, linewidth=0
  )


def style(axes: Any) -> None:
  """Give axes the look of all pictures: a light grid, no frame above."""
  axes.grid(color=_GRID, linewidth=0.8)
  axes.spines[['top', 'right']].set_visible(False)
  axes.tick_params(labelsize=8)
  axes.set_axisbelow(True)


@dataclasses.dataclass(frozen=True)
class Portrait:
  """One pair of axes of `portraits`: orbits in a plane.

  Attributes:
    title: above it.
    x: [N, L] of N orbits.
    y: [N, L].
    colour: of the orbits.
  """

  title: str
  x: np.ndarray
  y: np.ndarray
  colour: str = REAL


def portraits(
    path: pathlib.Path | str,
    shown: Sequence[Portrait],
    *,
    xlabel: str,
    ylabel: str,
    title: str,
    columns: int,
) -> None:
  """Draw phase portraits on a grid with common axes.

  Args:
    path: the file, `.png`, `.pdf` or `.svg`.
    shown: row by row.
    xlabel: quantity and unit.
    ylabel: quantity and unit.
    title: of the picture.
    columns: of the grid.

  Raises:
    UserError: if there is nothing to draw, shapes differ, or matplotlib is
      missing.
  """
  figures = pose.matplotlib_figures()
  if not shown:
    raise UserError(f'{path}: expected at least one portrait, found none.')
  for one in shown:
    if one.x.ndim != 2 or one.x.shape != one.y.shape:
      raise UserError(
          f'{path}: portrait {one.title!r}: expected x and y [N, L] of one '
          f'shape, found {list(one.x.shape)} and {list(one.y.shape)}.'
      )
  rows = -(-len(shown) // columns)
  figure = figures.Figure(
      figsize=(max(3.0 * columns, 4.5), 2.7 * rows + 0.6),
      layout='constrained',
  )
  grid = figure.subplots(
      rows, columns, squeeze=False, sharex=True, sharey=True
  )
  for axes, one in zip(grid.flat, shown):
    few = len(one.x) == 1
    for x, y in zip(one.x, one.y):
      axes.plot(x, y, color=one.colour, linewidth=1.4 if few else 0.6,
                alpha=1.0 if few else 0.35)
    axes.set_title(one.title, fontsize=9)
    style(axes)
  for number, axes in enumerate(grid.flat):
    if number >= len(shown):
      axes.set_visible(False)
    if number % columns == 0:
      axes.set_ylabel(ylabel, fontsize=9)
    if number + columns >= len(shown):
      axes.tick_params(labelbottom=True)
      axes.set_xlabel(xlabel, fontsize=9)
  figure.suptitle(title, fontsize=11)
  figure.savefig(pose.writable(path), dpi=160)


def bars(
    path: pathlib.Path | str,
    groups: Mapping[str, Mapping[str, float]],
    *,
    ylabel: str,
    title: str,
    levels: Mapping[str, float] | None = None,
) -> None:
  """Draw groups of bars with their values on top.

  Args:
    path: the file, `.png`, `.pdf` or `.svg`.
    groups: heights by name of the bar, by name of the group; each group has
      the same bars.
    ylabel: quantity and unit.
    title: of the plot.
    levels: dashed lines by name, such as chance.

  Raises:
    UserError: if there is no bar, groups differ in bars, or matplotlib is
      missing.
  """
  figures = pose.matplotlib_figures()
  kinds = list(next(iter(groups.values()), {}))
  if not kinds or any(list(group) != kinds for group in groups.values()):
    raise UserError(
        f'{path}: expected groups of the same bars, found '
        f'{[list(group) for group in groups.values()]}.'
    )
  figure = figures.Figure(
      figsize=(max(1.5 * len(groups) * len(kinds) / 2 + 2.0, 5.0), 3.8),
      layout='constrained',
  )
  axes = figure.add_subplot()
  width = 0.8 / len(kinds)
  places = np.arange(len(groups))
  for number, kind in enumerate(kinds):
    heights = np.array([group[kind] for group in groups.values()], float)
    drawn = axes.bar(
        places + (number - (len(kinds) - 1) / 2) * width, heights, 0.92 * width,
        label=kind, color=(GIVEN, SAMPLED, *pose.DIVERSE[1:])[number % 7],
    )
    axes.bar_label(drawn, fmt='%.2f', fontsize=8, padding=2)
  for number, (name, level) in enumerate((levels or {}).items()):
    axes.axhline(level, label=name, color=REAL, linewidth=1.2,
                 linestyle=('--', ':', '-.')[number % 3])
  axes.set_xticks(places, list(groups))
  axes.set_ylabel(ylabel)
  axes.set_title(title, fontsize=11)
  style(axes)
  axes.grid(axis='x', visible=False)
  axes.margins(y=0.12)
  figure.legend(
      loc='outside lower center', ncols=len(kinds) + len(levels or {}),
      frameon=False, fontsize=9,
  )
  figure.savefig(pose.writable(path), dpi=160)


def curve(
    path: pathlib.Path | str,
    x: np.ndarray,
    lines: Mapping[str, tuple[np.ndarray, np.ndarray]],
    *,
    xlabel: str,
    ylabel: str,
    title: str,
    limits: tuple[float, float] | None = None,
) -> None:
  """Draw means with shaded bands of one standard deviation.

  Args:
    path: the file, `.png`, `.pdf` or `.svg`.
    x: [N] abscissae.
    lines: mean [N] and standard deviation [N] by name.
    xlabel: quantity and unit.
    ylabel: quantity and unit.
    title: of the plot.
    limits: of the ordinate.

  Raises:
    UserError: if there is no line, lengths differ, or matplotlib is missing.
  """
  figures = pose.matplotlib_figures()
  if not lines:
    raise UserError(f'{path}: expected at least one line, found none.')
  figure = figures.Figure(figsize=(6.4, 3.6), layout='constrained')
  axes = figure.add_subplot()
  colours = (GIVEN, SAMPLED, *pose.DIVERSE[1:])
  for number, (name, (mean, std)) in enumerate(lines.items()):
    if not x.shape == mean.shape == std.shape:
      raise UserError(
          f'{path}: line {name!r}: expected mean and std {list(x.shape)}, '
          f'found {list(mean.shape)} and {list(std.shape)}.'
      )
    colour = colours[number % len(colours)]
    _band(axes, x, mean, std, colour)
    axes.plot(x, mean, color=colour, linewidth=1.8, label=name)
  axes.set_xlabel(xlabel)
  axes.set_ylabel(ylabel)
  axes.set_title(title, fontsize=11)
  axes.margins(x=0)
  if limits:
    axes.set_ylim(*limits)
  style(axes)
  axes.legend(frameon=False, fontsize=9)
  figure.savefig(pose.writable(path), dpi=160)
