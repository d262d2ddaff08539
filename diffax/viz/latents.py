"""Latents of joints against each other: what is true, and what was drawn."""

from collections.abc import Sequence
import pathlib

import numpy as np

from diffax.errors import UserError
from diffax.viz import pose


def pairs(
    path: pathlib.Path | str,
    truth: np.ndarray,
    drawn: np.ndarray,
    joints: Sequence[tuple[int, int]],
    names: Sequence[str],
    title: str,
) -> None:
  """Draw a panel for each pair of joints; a past has a colour of its own.

  Args:
    path: the file, `.png`, `.pdf` or `.svg`.
    truth: a coordinate of each joint `[N, J]`, drawn as stars.
    drawn: of K draws for each, `[N, K, J]`, drawn as circles.
    joints: pairs of indices, at least one.
    names: of the J joints.
    title: of the picture.

  Raises:
    UserError: if shapes do not fit, or matplotlib is missing.
  """
  if not joints or drawn.shape[::2] != truth.shape or (
      len(names) != truth.shape[1]
  ):
    raise UserError(
        f'{path}: expected a pair of joints or more, truth [N, J], drawn '
        f'[N, K, J] and J names, found {len(joints)}, {list(truth.shape)}, '
        f'{list(drawn.shape)} and {len(names)}.'
    )
  figures = pose.matplotlib_figures()
  figure = figures.Figure(
      figsize=(3.4 * len(joints), 3.9), layout='constrained'
  )
  hue = np.linspace(0, 1, len(truth), endpoint=False)
  panels = figure.subplots(1, len(joints), squeeze=False)[0]
  for axes, (a, b) in zip(panels, joints):
    axes.scatter(
        drawn[..., a].ravel(), drawn[..., b].ravel(), s=9, alpha=0.45,
        c=np.repeat(hue, drawn.shape[1]), cmap='hsv', vmin=0, vmax=1,
        linewidths=0,
    )
    axes.scatter(
        truth[:, a], truth[:, b], s=60, c=hue, cmap='hsv', vmin=0, vmax=1,
        marker='*', edgecolors='#24292f', linewidths=0.5,
    )
    axes.set_xlabel(names[a])
    axes.set_ylabel(names[b])
    axes.spines[['top', 'right']].set_visible(False)
  figure.suptitle(
      f'{title}: test futures (stars), futures drawn from their pasts',
      fontsize=11,
  )
  figure.savefig(pose.writable(path), dpi=140)
