"""Points of many dimensions in the plane: UMAP, or principal components.

References:
  McInnes, Healy, Melville, "UMAP: Uniform manifold approximation and
  projection for dimension reduction", 2018.
"""

from collections.abc import Mapping, Sequence
import importlib.util
import pathlib
from typing import Any
import warnings

import numpy as np

from diffax.errors import UserError
from diffax.viz import pose
from diffax.viz import series

METHODS = ('umap', 'pca')
_MARKERS = ('o', '^', 's', 'D', 'P', 'X')
# More classes than this are told by a scale instead of a legend.
_LISTED = 10
_TINTS = (
    '#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9',
    '#7a5c3d', '#5b4fb8', '#8a8f98', '#000000',
)


def available(method: str) -> str:
  """Return the method, or `pca` if UMAP is wanted and not installed.

  Args:
    method: one of `METHODS`.

  Returns:
    A method that `project` can do.

  Raises:
    UserError: the method is unknown.
  """
  if method not in METHODS:
    raise UserError(f'projection: expected one of {METHODS}, found {method!r}.')
  if method == 'umap' and importlib.util.find_spec('umap') is None:
    return 'pca'
  return method


def project(
    points: np.ndarray,
    method: str = 'umap',
    *,
    seed: int = 0,
    neighbours: int = 15,
    min_dist: float = 0.1,
) -> np.ndarray:
  """Project points to the plane.

  Args:
    points: [N, D].
    method: one of `METHODS`; see `available`.
    seed: of UMAP.
    neighbours: of UMAP, fewer if there are fewer points.
    min_dist: of UMAP.

  Returns:
    [N, 2] places; of principal components those of largest variance first.

  Raises:
    UserError: the method is unknown, or there are fewer than three points.
  """
  points = np.asarray(points, np.float64)
  if points.ndim != 2 or len(points) < 3:
    raise UserError(
        f'projection: expected three or more points [N, D], found '
        f'{list(points.shape)}.'
    )
  if available(method) == 'pca':
    return _principal(points)
  with warnings.catch_warnings():
    # UMAP tells at import that its extra for TensorFlow is missing.
    warnings.simplefilter('ignore', ImportWarning)
    import umap
  # A seed allows one thread only; asked for more, UMAP warns.
  model = umap.UMAP(
      n_neighbors=min(neighbours, len(points) - 1), min_dist=min_dist,
      random_state=seed, n_jobs=1,
      # Its spectral start needs more points than that.
      init='spectral' if len(points) > 10 else 'random',
  )
  return np.asarray(model.fit_transform(points))


def _principal(points: np.ndarray) -> np.ndarray:
  centred = points - points.mean(0)
  left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
  places = left[:, :2] * sizes[:2]
  # A single dimension still needs an ordinate.
  return np.pad(places, ((0, 0), (0, 2 - places.shape[1])))


def scatter(
    path: pathlib.Path | str,
    places: Mapping[str, np.ndarray],
    labels: Mapping[str, np.ndarray],
    classes: Sequence[str],
    *,
    axis: str,
    title: str,
) -> None:
  """Draw groups of points: the colour is the class, the marker the group.

  Args:
    path: the file, `.png`, `.pdf` or `.svg`.
    places: [N, 2] by group; N may differ.
    labels: [N] index into `classes` by group.
    classes: names; if there is only one, colours tell the groups.
    axis: what the axes are called before their number, such as `UMAP`.
    title: of the picture.

  Raises:
    UserError: if there are no points, labels do not fit, or matplotlib is
      missing.
  """
  figures = pose.matplotlib_figures()
  for name, xy in places.items():
    if xy.ndim != 2 or xy.shape[1:] != (2,) or labels[name].shape != xy.shape[
        :1]:
      raise UserError(
          f'{path}: group {name!r}: expected places [N, 2] and labels [N], '
          f'found {list(xy.shape)} and {list(labels[name].shape)}.'
      )
  if not sum(map(len, places.values())):
    raise UserError(f'{path}: expected at least one point, found none.')
  figure = figures.Figure(figsize=(7.2, 4.8), layout='constrained')
  axes = figure.add_subplot()
  tints = _tints(len(classes))
  plain = len(classes) == 1
  for number, (name, xy) in enumerate(places.items()):
    colour = _TINTS[number % 10] if plain else tints[labels[name]]
    axes.scatter(
        *xy.T, c=colour, s=16, marker=_MARKERS[number % 6], linewidths=0,
        alpha=0.75,
    )
  handles = _legend(places, classes, tints)
  figure.legend(
      handles=handles, loc='outside right upper', frameon=False, fontsize=9
  )
  if len(classes) > _LISTED:
    _scale(figure, axes, classes, tints)
  axes.set_xlabel(f'{axis} 1')
  axes.set_ylabel(f'{axis} 2')
  axes.set_title(title, fontsize=11)
  series.style(axes)
  figure.savefig(pose.writable(path), dpi=160)


def _tints(count: int) -> np.ndarray:
  """Return `[count, 4]` colours: distinct if few, else along a scale."""
  from matplotlib import colormaps
  from matplotlib import colors

  if count <= _LISTED:
    return colors.to_rgba_array(_TINTS[:count])
  # The pale end of the scale would vanish on paper.
  return colormaps['viridis'](np.linspace(0, 0.95, count))


def _legend(
    places: Mapping[str, np.ndarray], classes: Sequence[str],
    tints: np.ndarray
) -> list[Any]:
  from matplotlib import lines

  plain = len(classes) == 1
  handles = [
      lines.Line2D([], [], linestyle='', marker=_MARKERS[i % 6], label=name,
                   color=_TINTS[i % 10] if plain else '#5c6570')
      for i, name in enumerate(places)
  ]
  if 1 < len(classes) <= _LISTED:
    handles += [
        lines.Line2D([], [], linestyle='', marker='o', color=tint, label=name)
        for name, tint in zip(classes, tints)
    ]
  return handles


def _scale(
    figure: Any, axes: Any, classes: Sequence[str], tints: np.ndarray
) -> None:
  from matplotlib import cm
  from matplotlib import colors

  norm = colors.BoundaryNorm(np.arange(len(classes) + 1) - 0.5, len(classes))
  bar = figure.colorbar(
      cm.ScalarMappable(norm, colors.ListedColormap(tints)), ax=axes,
      fraction=0.05,
  )
  step = -(-len(classes) // 14)
  ticks = list(range(0, len(classes), step))
  bar.set_ticks(ticks, labels=[classes[i] for i in ticks])
  bar.ax.minorticks_off()
  bar.ax.tick_params(labelsize=8, length=0)
