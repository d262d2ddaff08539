"""Matrices over the joints as heat maps, side by side on one scale."""

from collections.abc import Mapping, Sequence
import pathlib

import numpy as np

from diffax.errors import UserError
from diffax.viz import pose


def heatmaps(
    path: pathlib.Path | str,
    matrices: Mapping[str, np.ndarray],
    names: Sequence[str],
    title: str,
) -> None:
  """Draw matrices.

  Args:
    path: the file, `.png`, `.pdf` or `.svg`.
    matrices: `[J, J]` by name.
    names: of the J rows and columns.
    title: of the picture.

  Raises:
    UserError: if there is no matrix, one is of another shape, or matplotlib is
      missing.
  """
  count = len(names)
  if not matrices:
    raise UserError(f'{path}: expected at least one matrix, found none.')
  for name, matrix in matrices.items():
    if np.shape(matrix) != (count, count):
      raise UserError(
          f'{path}: matrix {name!r}: expected shape {[count, count]}, found '
          f'{list(np.shape(matrix))}.'
      )
  figures = pose.matplotlib_figures()
  side = max(3.4, 0.16 * count)
  figure = figures.Figure(
      figsize=(1.2 + side * len(matrices), side + 1.3), layout='constrained'
  )
  largest = max(float(np.abs(matrix).max()) for matrix in matrices.values())
  panels = figure.subplots(1, len(matrices), squeeze=False)[0]
  for number, (axes, (name, matrix)) in enumerate(
      zip(panels, matrices.items())
  ):
    image = axes.imshow(matrix, cmap='RdBu_r', vmin=-largest, vmax=largest)
    axes.set_title(name.replace('_', ' '), fontsize=11)
    axes.set_xticks(range(count), names, rotation=90, fontsize=7)
    axes.set_yticks(range(count), names if number == 0 else [''] * count,
                    fontsize=7)
    axes.tick_params(length=0)
  figure.colorbar(image, ax=list(panels), shrink=0.8)
  figure.suptitle(title, fontsize=12)
  figure.savefig(pose.writable(path), dpi=140)
