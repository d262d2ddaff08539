"""Real and generated windows in time and in frequency, side by side.

The transform is the caller's: pictures take its magnitudes.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import pathlib

import numpy as np

from diffax.errors import UserError
from diffax.viz import pose
from diffax.viz import series

# Decibels below the largest magnitude of a row that are told apart.
RANGE = 50.0
_COLOURS = (series.REAL, series.SAMPLED, series.GIVEN)
_STYLES = ('-', (0, (5, 1.2)), (0, (1, 1.2)))


@dataclasses.dataclass(frozen=True)
class View:
  """A window in time and in frequency.

  Attributes:
    title: above it.
    window: `[L, C]` in the units of the channels.
    image: `[C, F, N]` magnitudes of its short-time Fourier transform.
  """

  title: str
  window: np.ndarray
  image: np.ndarray


def beside(
    path: pathlib.Path | str,
    shown: Sequence[View],
    channels: series.Channels,
    *,
    title: str,
) -> None:
  """Draw all channels of windows: their curves, then their spectrograms.

  Args:
    path: the file, `.png`, `.pdf` or `.svg`.
    shown: such as a real window and a generated one; a row of axes has one
      scale for all.
    channels: names, units and rate.
    title: of the picture.

  Raises:
    UserError: if there is no window, shapes do not fit, or matplotlib is
      missing.
  """
  figures = pose.matplotlib_figures()
  rows = len(channels.names)
  check(path, shown, rows)
  figure = figures.Figure(
      figsize=(2.9 * 2 * len(shown), 1.25 * rows + 1.0), layout='constrained'
  )
  grid = figure.subplots(
      rows, 2 * len(shown), squeeze=False, sharex='col', sharey=False
  )
  image = None
  for row in range(rows):
    for column, view in enumerate(shown):
      axes = grid[row, column]
      axes.plot(
          channels.times(len(view.window)), view.window[:, row],
          color=_COLOURS[column % 3], linewidth=1.2,
      )
      axes.set_ylim(*_limits([v.window[:, row] for v in shown]))
      axes.margins(x=0)
      series.style(axes)
      if column:
        axes.tick_params(labelleft=False)
    top = max(view.image[row].max() for view in shown)
    for column, view in enumerate(shown, len(shown)):
      level = decibels(view.image[row], top)
      image = grid[row, column].imshow(
          level, origin='lower', aspect='auto', cmap='magma', vmin=-RANGE,
          vmax=0, extent=(0, len(view.window) / channels.rate, 0,
                          channels.rate / 2),
      )
      grid[row, column].tick_params(
          labelsize=8, labelleft=column == len(shown)
      )
    grid[row, 0].set_ylabel(channels.label(row), fontsize=9)
    grid[row, len(shown)].set_ylabel('Hz', fontsize=9)
  for column, axes in enumerate(grid[0]):
    axes.set_title(shown[column % len(shown)].title, fontsize=9)
  for axes in grid[-1]:
    axes.set_xlabel(channels.xlabel, fontsize=9)
  figure.colorbar(image, ax=grid, shrink=0.5, pad=0.01).set_label(
      'dB of the largest in the row', fontsize=9
  )
  figure.suptitle(title, fontsize=11)
  figure.savefig(pose.writable(path), dpi=140)


def spectra(
    path: pathlib.Path | str,
    frequency: np.ndarray,
    power: Mapping[str, Mapping[str, np.ndarray]],
    channels: series.Channels,
    *,
    title: str,
) -> None:
  """Draw mean power spectra, a row for each class and a column for each axis.

  Args:
    path: the file, `.png`, `.pdf` or `.svg`.
    frequency: `[F]`, Hz.
    power: `[C, F]` by name of the set, such as `real`, by class; each class
      has the same sets.
    channels: names and units; the power is of their standardised values.
    title: of the picture.

  Raises:
    UserError: if there is no class, shapes do not fit, or matplotlib is
      missing.
  """
  figures = pose.matplotlib_figures()
  count = len(channels.names)
  if not power:
    raise UserError(f'{path}: expected spectra of a class, found none.')
  for kind, sets in power.items():
    for name, values in sets.items():
      if values.shape != (count, len(frequency)):
        raise UserError(
            f'{path}: {kind}: {name}: expected power [{count}, '
            f'{len(frequency)}], found {list(values.shape)}.'
        )
  figure = figures.Figure(
      figsize=(1.9 * count + 0.6, 1.5 * len(power) + 1.0), layout='constrained'
  )
  grid = figure.subplots(
      len(power), count, squeeze=False, sharex=True, sharey='row'
  )
  lines = []
  for axes, (kind, sets) in zip(grid, power.items()):
    for column, one in enumerate(axes):
      lines = [
          one.semilogy(frequency, values[column], linewidth=1.3,
                       color=_COLOURS[number % 3],
                       linestyle=_STYLES[number % 3])[0]
          for number, values in enumerate(sets.values())
      ]
      series.style(one)
    axes[0].set_ylabel(f'{kind.replace("_", " ")}\npower per Hz', fontsize=9)
    # Numbers far below the peak would fill the axes.
    top = max(values.max() for values in sets.values())
    axes[0].set_ylim(top * 1e-6, top * 2)
  for column in range(count):
    grid[0, column].set_title(channels.name(column), fontsize=9)
    grid[-1, column].set_xlabel('frequency, Hz', fontsize=9)
  figure.suptitle(title, fontsize=11)
  figure.legend(
      lines, list(next(iter(power.values()))), loc='outside lower center',
      ncols=len(lines), frameon=False, fontsize=9,
  )
  figure.savefig(pose.writable(path), dpi=150)


def _limits(curves: Sequence[np.ndarray]) -> tuple[float, float]:
  low, high = min(c.min() for c in curves), max(c.max() for c in curves)
  room = 0.06 * (high - low) or 1.0
  return float(low - room), float(high + room)


def decibels(magnitude: np.ndarray, top: float) -> np.ndarray:
  """Return magnitudes in decibels of a largest one; none is above zero."""
  return 20 * np.log10(
      np.maximum(magnitude, np.finfo(float).tiny) / (top or 1)
  )


def check(
    path: pathlib.Path | str, shown: Sequence[View], count: int
) -> None:
  """Check that windows can be shown.

  Args:
    path: named in messages.
    shown: the windows.
    count: C channels that they should have.

  Raises:
    UserError: there is no window, or one has another shape.
  """
  if not shown:
    raise UserError(f'{path}: expected at least one window, found none.')
  for view in shown:
    if (view.window.shape[1:] != (count,) or view.image.ndim != 3
        or view.image.shape[0] != count):
      raise UserError(
          f'{path}: {view.title!r}: expected a window [L, {count}] with '
          f'magnitudes [{count}, F, N], found {list(view.window.shape)} and '
          f'{list(view.image.shape)}.'
      )
