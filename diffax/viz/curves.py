"""Line plots of measured numbers."""

from collections.abc import Mapping, Sequence
import pathlib
from typing import NamedTuple

import numpy as np

from diffax.errors import UserError
from diffax.viz import pose
from diffax.viz.series import style

_COLOURS = (pose.CLOSEST, pose.DIVERSE[0], pose.TRUTH, *pose.DIVERSE[1:])
_STYLES = ('-', '--', '-.', ':')
# With more names than these a legend hides lines.
_INSIDE = 4


class Line(NamedTuple):
  """Means of runs at some abscissae, in rising order.

  Attributes:
    x: abscissae `[N]`.
    mean: ordinates `[N]`.
    std: their deviations over runs `[N]`; 0 for single ones.
  """

  x: Sequence[float]
  mean: Sequence[float]
  std: Sequence[float]


def lines(
    path: pathlib.Path | str,
    series: Mapping[str, tuple[np.ndarray, np.ndarray]],
    xlabel: str,
    ylabel: str,
    title: str,
    logy: bool = False,
) -> None:
  """Plot named lines into a picture.

  Args:
    path: the file, `.png`, `.pdf` or `.svg`.
    series: abscissae `[N]` and ordinates `[N]` by name.
    xlabel: quantity and unit.
    ylabel: quantity and unit.
    title: of the plot.
    logy: logarithmic ordinates.

  Raises:
    UserError: if a line is empty or ragged, has nothing above zero on a
      logarithmic axis, or matplotlib is missing.
  """
  figures = pose.matplotlib_figures()
  figure = figures.Figure(figsize=(6.4, 4.0), layout='constrained')
  axes = figure.add_subplot()
  if not series:
    raise UserError(f'{path}: expected at least one line, found none.')
  for number, (name, (x, y)) in enumerate(series.items()):
    x, y = np.asarray(x, float), np.asarray(y, float)
    if x.ndim != 1 or x.shape != y.shape or not x.size:
      raise UserError(
          f'{path}: line {name!r}: expected x and y of one length, found '
          f'{list(x.shape)} and {list(y.shape)}.'
      )
    if logy and not (y > 0).any():
      raise UserError(
          f'{path}: line {name!r}: expected values above 0 on a logarithmic '
          'axis, found none.'
      )
    axes.plot(
        x, y, label=name.replace('_', ' '), linewidth=1.8,
        color=_COLOURS[number % len(_COLOURS)],
        linestyle=_STYLES[number % len(_STYLES)],
        marker='o' if x.size == 1 else None,
    )
  if logy:
    axes.set_yscale('log')
  axes.set_xlabel(xlabel)
  axes.set_ylabel(ylabel)
  axes.set_title(title, fontsize=11)
  style(axes)
  if len(series) > _INSIDE:
    figure.legend(frameon=False, fontsize=9, loc='outside right upper')
  elif len(series) > 1:
    axes.legend(frameon=False, fontsize=9)
  figure.savefig(pose.writable(path), dpi=160)


def panels(
    path: pathlib.Path | str,
    quantities: Mapping[str, Mapping[str, Line]],
    xlabel: str,
    title: str,
) -> None:
  """Plot quantities side by side against doublings of a common abscissa.

  Args:
    path: the file, `.png`, `.pdf` or `.svg`.
    quantities: lines by name, by the name of the quantity; bars are one
      deviation up and down.
    xlabel: quantity and unit.
    title: of the picture.

  Raises:
    UserError: if there is nothing to draw, or matplotlib is missing.
  """
  figures = pose.matplotlib_figures()
  shown = {name: lines for name, lines in quantities.items() if lines}
  if not shown:
    raise UserError(f'{path}: expected at least one line, found none.')
  figure = figures.Figure(
      figsize=(3.2 * len(shown), 3.2), layout='constrained'
  )
  grid = figure.subplots(1, len(shown), squeeze=False)[0]
  for axes, (name, lines) in zip(grid, shown.items()):
    for number, (label, line) in enumerate(lines.items()):
      axes.errorbar(
          line.x, line.mean, yerr=line.std, label=label, linewidth=1.6,
          color=_COLOURS[number % len(_COLOURS)], capsize=2, marker='o',
          linestyle=_STYLES[number % len(_STYLES)], markersize=4,
      )
    ticks = sorted({x for line in lines.values() for x in line.x})
    axes.set_xscale('log', base=2)
    axes.set_xticks(ticks, [f'{x:,g}' for x in ticks], fontsize=8)
    axes.set_xlabel(xlabel)
    axes.set_title(name, fontsize=10)
    style(axes)
  grid[0].legend(frameon=False, fontsize=9)
  figure.suptitle(title, fontsize=11)
  figure.savefig(pose.writable(path), dpi=160)
