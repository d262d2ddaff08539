"""Line plots of measured numbers."""

from collections.abc import Mapping
import pathlib

import numpy as np

from diffax.errors import UserError
from diffax.viz import pose

_COLOURS = (pose.CLOSEST, pose.DIVERSE[0], pose.TRUTH, *pose.DIVERSE[1:])
_STYLES = ('-', '--', '-.', ':')


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
  axes.grid(color='#e6e8eb', linewidth=0.8)
  axes.spines[['top', 'right']].set_visible(False)
  axes.set_axisbelow(True)
  if len(series) > 1:
    axes.legend(frameon=False, fontsize=9)
  figure.savefig(pose.writable(path), dpi=160)
