"""Pictures of recognition: what is taken for what, and what adding data does.

Each takes plain arrays of numbers that are measured elsewhere.
"""

from collections.abc import Mapping, Sequence
import pathlib
from typing import Any

import numpy as np

from diffax.errors import UserError
from diffax.viz import pose
from diffax.viz import series

Level = tuple[float, float]
"""Mean and standard deviation."""

_COLOURS = (
    series.GIVEN, series.SAMPLED, '#009e73', '#cc79a7', '#e69f00', '#56b4e9',
    '#7a5c3d', '#5b4fb8',
)
_DASHES = ('--', ':', '-.', (0, (5, 1, 1, 1, 1, 1)))


def confusions(
    path: pathlib.Path | str,
    matrices: Mapping[str, np.ndarray],
    classes: Sequence[str],
    *,
    title: str,
    columns: int | None = None,
) -> None:
  """Draw what share of the windows of each class is called what.

  Args:
    path: the file, `.png`, `.pdf` or `.svg`.
    matrices: `[K, K]` counts by name, rows are true.
    classes: K names.
    title: of the picture.
    columns: of the grid; by default a number that leaves no gap.

  Raises:
    UserError: if there is no matrix, one does not fit the classes, or
      matplotlib is missing.
  """
  figures = pose.matplotlib_figures()
  count = len(classes)
  if not matrices:
    raise UserError(f'{path}: expected at least one matrix, found none.')
  for name, counts in matrices.items():
    if counts.shape != (count, count):
      raise UserError(
          f'{path}: {name!r}: expected counts [{count}, {count}], found '
          f'{list(counts.shape)}.'
      )
  columns = columns or next(
      (n for n in (3, 4, 2) if len(matrices) % n == 0), 3
  )
  columns = min(columns, len(matrices))
  rows = -(-len(matrices) // columns)
  side = 0.52 * count + 0.9
  figure = figures.Figure(
      figsize=(side * columns + 1.0, (side + 0.3) * rows + 0.7),
      layout='constrained',
  )
  grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
  for number, axes in enumerate(grid.flat):
    axes.set_visible(number < len(matrices))
    if number % columns == 0:
      axes.set_ylabel('true', fontsize=9)
    if number + columns >= len(matrices):
      axes.tick_params(labelbottom=True)
      axes.set_xlabel('called', fontsize=9)
  for axes, (name, counts) in zip(grid.flat, matrices.items()):
    _draw_confusion(axes, counts, classes)
    axes.set_title(name, fontsize=9)
  figure.suptitle(f'{title}, % of the true class', fontsize=11)
  figure.savefig(pose.writable(path), dpi=160)


def _draw_confusion(
    axes: Any, counts: np.ndarray, classes: Sequence[str]
) -> None:
  total = counts.sum(1, keepdims=True)
  share = counts / np.where(total > 0, total, 1)
  axes.imshow(share, cmap='Blues', vmin=0, vmax=1)
  for (i, j), value in np.ndenumerate(share):
    if total[i, 0]:
      axes.text(
          j, i, f'{100 * value:.0f}', ha='center', va='center', fontsize=8,
          color='white' if value > 0.55 else '#202428',
      )
  places = range(len(classes))
  names = [name.replace('_', ' ') for name in classes]
  axes.set_xticks(places, names, rotation=40, ha='right', fontsize=8)
  axes.set_yticks(places, names, fontsize=8)
  axes.tick_params(length=0)
  axes.spines[:].set_visible(False)


def doses(
    path: pathlib.Path | str,
    percents: Sequence[float],
    lines: Mapping[str, tuple[np.ndarray, np.ndarray]],
    *,
    ylabel: str,
    title: str,
    levels: Mapping[str, Level] | None = None,
) -> None:
  """Draw a score against the share of generated windows added.

  Args:
    path: the file, `.png`, `.pdf` or `.svg`.
    percents: P of them, above 0; the axis is logarithmic.
    lines: mean [P] and standard deviation [P] by name.
    ylabel: name of the score.
    title: of the picture.
    levels: scores without any, as dashed lines.

  Raises:
    UserError: if there is no line, lengths differ, a percentage is not above
      0, or matplotlib is missing.
  """
  figures = pose.matplotlib_figures()
  x = np.asarray(percents, float)
  if not lines or not x.size or x.min() <= 0:
    raise UserError(
        f'{path}: expected lines over percentages above 0, found {len(lines)} '
        f'lines over {list(percents)}.'
    )
  figure = figures.Figure(figsize=(6.8, 4.0), layout='constrained')
  axes = figure.add_subplot()
  for number, (name, (mean, std)) in enumerate(lines.items()):
    if not x.shape == mean.shape == std.shape:
      raise UserError(
          f'{path}: line {name!r}: expected mean and std {list(x.shape)}, '
          f'found {list(mean.shape)} and {list(std.shape)}.'
      )
    colour = _COLOURS[1:][number % 7]
    axes.fill_between(
        x, mean - std, mean + std, color=colour, alpha=0.22, linewidth=0
    )
    axes.plot(x, mean, color=colour, linewidth=1.8, marker='o', markersize=4,
              label=name)
  tones = ('#202428', series.GIVEN, '#009e73', '#7a5c3d')
  for number, (name, (level, spread)) in enumerate((levels or {}).items()):
    axes.axhline(
        level, color=tones[number % 4], linewidth=1.3,
        linestyle=_DASHES[number % 4],
        label=f'{name} ({level:.3f} \u00b1 {spread:.3f})',
    )
  axes.set_xscale('log')
  axes.set_xticks(x, [f'{value:g}' for value in x])
  axes.minorticks_off()
  axes.set_xlabel('generated windows added, % (logarithmic)')
  axes.set_ylabel(ylabel)
  axes.set_title(title, fontsize=11)
  series.style(axes)
  figure.legend(
      loc='outside lower center', ncols=2, frameon=False, fontsize=9
  )
  figure.savefig(pose.writable(path), dpi=160)


def bars(
    path: pathlib.Path | str,
    groups: Mapping[str, Mapping[str, Level]],
    *,
    ylabel: str,
    title: str,
) -> None:
  """Draw scores of groups, such as persons, with their deviations.

  Args:
    path: the file, `.png`, `.pdf` or `.svg`.
    groups: mean and standard deviation by name of the bar, by name of the
      group; each group has the same bars.
    ylabel: name of the score.
    title: of the picture.

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
  total = len(groups) * len(kinds)
  figure = figures.Figure(
      figsize=(min(max(0.34 * total + 0.2 * len(groups) + 1.5, 5.0), 16.0),
               4.2),
      layout='constrained',
  )
  axes = figure.add_subplot()
  width, places = 0.82 / len(kinds), np.arange(len(groups))
  for number, kind in enumerate(kinds):
    mean, std = np.array([group[kind] for group in groups.values()], float).T
    axes.bar(
        places + (number - (len(kinds) - 1) / 2) * width, mean, 0.9 * width,
        yerr=std, label=kind, color=_COLOURS[number % len(_COLOURS)],
        error_kw={'linewidth': 1.0, 'capsize': 2, 'ecolor': '#202428'},
    )
  names = [name.replace('_', ' ') for name in groups]
  long = max(map(len, names)) > 5 and len(names) > 4
  axes.set_xticks(
      places, names, rotation=40 if long else 0,
      ha='right' if long else 'center',
  )
  axes.set_ylabel(ylabel)
  axes.set_ylim(0, 1.05)
  axes.margins(x=0.02)
  axes.set_title(title, fontsize=11)
  series.style(axes)
  axes.grid(axis='x', visible=False)
  if len(kinds) > 1:
    figure.legend(
        loc='outside lower center', ncols=min(len(kinds), 5), frameon=False,
        fontsize=9,
    )
  figure.savefig(pose.writable(path), dpi=160)


def copies(
    path: pathlib.Path | str,
    distances: Mapping[str, tuple[np.ndarray, np.ndarray]],
    *,
    xlabel: str,
    title: str,
    columns: int = 2,
) -> None:
  """Draw how far generated and unseen windows lie from those of training.

  Args:
    path: the file, `.png`, `.pdf` or `.svg`.
    distances: of generated and of held-out windows, by class.
    xlabel: what the distance is, and its unit.
    title: of the picture.
    columns: of the grid.

  Raises:
    UserError: if there is no class or no distance, or matplotlib is missing.
  """
  figures = pose.matplotlib_figures()
  if not distances or any(not min(map(len, d)) for d in distances.values()):
    raise UserError(f'{path}: expected distances of each class, found none.')
  columns = min(columns, len(distances))
  rows = -(-len(distances) // columns)
  figure = figures.Figure(
      figsize=(max(3.4 * columns, 5.0), 2.0 * rows + 0.9), layout='constrained'
  )
  grid = figure.subplots(rows, columns, squeeze=False)
  shown: list[Any] = []
  for axes, (name, pair) in zip(grid.flat, distances.items()):
    # From 0, where copies are.
    edges = np.linspace(0, 1.02 * max(map(np.max, pair)), 36)
    shown = [
        axes.hist(values, edges, weights=np.full(len(values), 1 / len(values)),
                  color=colour, alpha=0.55)[2]
        for values, colour in zip(pair, (series.SAMPLED, series.REAL))
    ]
    axes.set_title(name.replace('_', ' '), fontsize=9)
    series.style(axes)
  for number, axes in enumerate(grid.flat):
    axes.set_visible(number < len(distances))
    if number % columns == 0:
      axes.set_ylabel('share of windows', fontsize=9)
  figure.supxlabel(xlabel, fontsize=9)
  figure.suptitle(title, fontsize=11)
  grid[0, 0].legend(
      shown, ['generated', 'real, held out'], loc='best', frameon=False,
      fontsize=8,
  )
  figure.savefig(pose.writable(path), dpi=160)


def centroids(
    path: pathlib.Path | str,
    curves: np.ndarray,
    counts: np.ndarray,
    time: np.ndarray,
    names: Sequence[str],
    *,
    title: str,
    columns: int = 5,
) -> None:
  """Draw barycentres of clusters, and how many windows of each kind they hold.

  Args:
    path: the file, `.png`, `.pdf` or `.svg`.
    curves: `[K, M, C]` standardised.
    counts: `[2, K]` real and generated windows; the largest cluster is first.
    time: `[M]` seconds.
    names: of the C channels.
    title: of the picture.
    columns: of the grid.

  Raises:
    UserError: if shapes do not fit, or matplotlib is missing.
  """
  figures = pose.matplotlib_figures()
  if (curves.ndim != 3 or not len(curves) or counts.shape != (2, len(curves))
      or curves.shape[1:] != (len(time), len(names))):
    raise UserError(
        f'{path}: expected centroids [K, {len(time)}, {len(names)}] with '
        f'counts [2, K], found {list(curves.shape)} and {list(counts.shape)}.'
    )
  columns = min(columns, len(curves))
  rows = -(-len(curves) // columns)
  figure = figures.Figure(
      figsize=(max(2.2 * columns, 5.5), 1.5 * rows + 1.0), layout='constrained'
  )
  # A cluster of one wild window would flatten all others on one scale.
  grid = figure.subplots(rows, columns, squeeze=False, sharex=True)
  lines: list[Any] = []
  for axes, k in zip(grid.flat, np.argsort(-counts.sum(0), kind='stable')):
    lines = [
        axes.plot(time, curves[k, :, c], linewidth=1.1,
                  color=_COLOURS[c % len(_COLOURS)])[0]
        for c in range(len(names))
    ]
    real, made = counts[:, k]
    axes.set_title(f'{real:.0f} real, {made:.0f} generated', fontsize=8,
                   color='#202428' if real and made else series.SAMPLED)
    series.style(axes)
    axes.margins(x=0)
  for number, axes in enumerate(grid.flat):
    axes.set_visible(number < len(curves))
    if number + columns >= len(curves):
      axes.tick_params(labelbottom=True)
      axes.set_xlabel('time, s', fontsize=8)
  figure.suptitle(title, fontsize=11)
  figure.legend(
      lines, [name.replace('_', ' ') for name in names],
      loc='outside lower center', ncols=len(names), frameon=False, fontsize=9,
  )
  figure.savefig(pose.writable(path), dpi=160)
