"""Figures of a forecasting run: curves, latents, covariances.

  validity.png         futures without a limb stretched beyond a tolerance
  valid_diversity.png  how much of the diversity is theirs
  calibration.png      coverage of the intervals between samples
  latents.png          of pairs of joints the first principal component of each
                       joint's latents: test futures, and futures drawn from
                       the same past
  covariances.png      the graph's covariances that noise can have

Latents of a drawn future are those of its motion, encoded: what the decoder
made of a latent counts, not the latent.

References:
  Curreli et al., "Nonisotropic Gaussian Diffusion for Realistic 3D Human
  Motion Prediction", CVPR 2025, Fig. 7, 9, 10 and 12.
"""

from collections.abc import Mapping, Sequence
import pathlib

import jax
import numpy as np
import rich.console

from diffax.body.skeletons import Skeleton
from diffax.metrics import suite as suites
from diffax.systems import skeleton_noise
from diffax.trained import Trained
from diffax.typing import Batch

# Segments and futures of each in the picture of latents.
_SHOWN, _DRAWN = 50, 15
_PAIRS = 4


def draw(
    workdir: pathlib.Path,
    model: Trained,
    segments: Batch,
    curves: Mapping[str, Mapping[str, list[float]]],
    given: Sequence[str],
    batch_size: int,
    seed: int,
    console: rich.console.Console,
) -> None:
  """Draw all figures into the folder of a run.

  Args:
    workdir: the folder.
    model: of the run.
    segments: of the split that was evaluated.
    curves: by row, see `evaluate.forecasting`.
    given: what of a segment the model sees.
    batch_size: segments at once.
    seed: of the futures.
    console: for a message if matplotlib is missing.
  """
  try:
    import matplotlib  # noqa: F401
  except ImportError:
    console.print('No figures drawn: matplotlib is missing (diffax[viz]).')
    return
  from diffax.viz import matrices

  _lines(workdir, curves)
  body: Skeleton = model.source.info['skeleton']
  found = covariances(body)
  matrices.heatmaps(
      workdir / 'covariances.png', found, body.nodes,
      'Covariance of the noise over the joints (Fig. 10)',
  )
  if model.encode is not None:
    _latents(workdir, model, segments, given, batch_size, seed)


def covariances(body: Skeleton) -> dict[str, np.ndarray]:
  """Return Sigma_N `[J, J]` of each kind of graph that fits a skeleton."""
  found = {}
  for name in skeleton_noise.CORRELATIONS:
    if name == 'hip_reachability' and not len(body.hips):
      continue
    found[name] = skeleton_noise.sigma(body, name)
  return found


def principal(latents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Return of each joint the mean and first principal axis of its latents.

  Args:
    latents: `[N, J, D]`.

  Returns:
    Means and axes, both `[J, D]`; axes are of length 1, their largest entry is
    positive.
  """
  mean = latents.mean(0)
  centred = np.swapaxes(latents - mean, 0, 1)
  axes = np.linalg.svd(centred, full_matrices=False)[2][:, 0]
  largest = np.argmax(np.abs(axes), axis=1)
  signs = np.sign(axes[np.arange(len(axes)), largest])
  return mean, axes * signs[:, None]


def project(
    latents: np.ndarray, mean: np.ndarray, axes: np.ndarray
) -> np.ndarray:
  """Return coordinates `[..., J]` of latents `[..., J, D]` along axes."""
  return np.einsum('...jd,jd->...j', latents - mean, axes)


def pairs(truth: np.ndarray, count: int = _PAIRS) -> list[tuple[int, int]]:
  """Choose pairs of joints: the most and the least correlated in turn.

  Args:
    truth: coordinates `[N, J]`.
    count: how many pairs.

  Returns:
    Indices, each joint at most once.
  """
  size = np.abs(np.corrcoef(truth.T))
  rows, columns = np.triu_indices(len(size), 1)
  order = np.argsort(-size[rows, columns])
  chosen: list[tuple[int, int]] = []
  used: set[int] = set()
  for number in range(count):
    for place in order if number % 2 == 0 else order[::-1]:
      pair = int(rows[place]), int(columns[place])
      if not used & set(pair):
        chosen.append(pair)
        used |= set(pair)
        break
  return chosen


def _latents(
    workdir: pathlib.Path, model: Trained, segments: Batch,
    given: Sequence[str], batch_size: int, seed: int
) -> None:
  from diffax.viz import latents as scatters

  assert model.encode is not None
  total = len(segments['past'])
  rows = np.unique(
      np.linspace(0, total - 1, min(total, _SHOWN)).round().astype(int)
  )
  window = model.source.info['future']
  key = jax.random.key(seed)
  true, drawn = [], []
  for start in range(0, len(rows), batch_size):
    part = rows[start:start + batch_size]
    # One shape compiles once; the filling does not count.
    index = np.concatenate([part, part[-1:].repeat(batch_size - len(part))])
    motion = model.sample(
        {name: segments[name][index] for name in given},
        jax.random.fold_in(key, start),
    )['motion'][:len(part), :_DRAWN, :window]
    # Futures longer than those of training are seen as far as those.
    both = np.concatenate(
        [segments['future'][part][:, None, :window], np.asarray(motion)], axis=1
    )
    flat = both.reshape(-1, *both.shape[2:])
    z = np.asarray(model.encode({'future': flat}, key)['future'])
    z = z.reshape(*both.shape[:2], *z.shape[1:])
    true.append(z[:, 0])
    drawn.append(z[:, 1:])
  mean, axes = principal(np.concatenate(true))
  truth = project(np.concatenate(true), mean, axes)
  made = project(np.concatenate(drawn), mean, axes)
  scatters.pairs(
      workdir / 'latents.png', truth, made, pairs(truth),
      model.source.info['skeleton'].nodes,
      'First principal components of joints (Fig. 9)',
  )


def _lines(
    workdir: pathlib.Path, curves: Mapping[str, Mapping[str, list[float]]]
) -> None:
  from diffax.viz import curves as plots

  for file, key, tolerance, ylabel, label, title in (
      ('validity.png', 'valid by stretch', suites.STRETCH_TOLERANCES,
       'valid futures (share)', 'stretch', 'Validity (Fig. 7)'),
      ('valid_diversity.png', 'share of APD', suites.JITTER_TOLERANCES,
       'APD of the valid / APD', 'jitter', 'Diversity of the valid (Fig. 12)'),
  ):
    plots.lines(
        workdir / file,
        {
            name: (tolerance, np.asarray(row[key]))
            for name, row in curves.items()
        },
        f'tolerated limb {label}, % of its length',
        ylabel,
        title,
    )
  covered = {
      name: (np.asarray(row['coverage level']), np.asarray(row['coverage']))
      for name, row in curves.items() if row['coverage']
  }
  if covered:
    plots.lines(
        workdir / 'calibration.png',
        {**covered, 'calibrated': (np.array([0, 1]), np.array([0, 1]))},
        'level of the interval between samples',
        'coordinates within it (share)',
        'Calibration',
    )
