"""All forecasting metrics of a batch of segments in one compiled function."""

from collections.abc import Callable, Mapping
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from diffax.body.skeletons import Skeleton
from diffax.metrics import calibration
from diffax.metrics import forecasting
from diffax.metrics import realism
from diffax.typing import Array

# The names of the paper's Table 1, in its order.
TABLE = (
    'ADE', 'FDE', 'MAE', 'MMADE', 'MMFDE', 'APDE', 'APD', 'CMD',
    'stretch mean', 'jitter mean', 'stretch RMSE', 'jitter RMSE',
)
# Percent of the limb's length, the horizontal axes of Fig. 7 and Fig. 12.
STRETCH_TOLERANCES = np.linspace(0.0, 50.0, 101, dtype=np.float32)
JITTER_TOLERANCES = np.linspace(0.0, 10.0, 101, dtype=np.float32)


class Truth(NamedTuple):
  """Hold what the metrics know of a split.

  Attributes:
    futures: `[N, F, J, 3]`, metres.
    sets: multimodal truth of each segment, itself included (released).
    apd: diversity of `sets`, `[N]`, metres.
    apd_others: the same without the segment itself (paper), `[N]`, metres.
  """

  futures: Array | np.ndarray
  sets: forecasting.Multimodal
  apd: Array | np.ndarray
  apd_others: Array | np.ndarray


class Values(NamedTuple):
  """Hold what `suite` returns of a batch of B segments.

  Attributes:
    metrics: `[B]` by name; metres, degrees, or percent of a limb.
    counted: masks `[B]` by name, False where a metric is not defined.
    speed: mean speed of the samples `[B, F - 1]`, metres per frame, for CMD.
    curves: `[B, 101]` by name: shares of valid samples at
      `STRETCH_TOLERANCES` and `JITTER_TOLERANCES`, APD of those valid by
      jitter, metres. `coverage` is `[B, K // 2]`, see `calibration.coverage`.
  """

  metrics: dict[str, Array]
  counted: dict[str, Array]
  speed: Array
  curves: dict[str, Array]


def truth(
    past: np.ndarray, future: np.ndarray, threshold: float
) -> Truth:
  """Search the multimodal truth of a split.

  Args:
    past: `[N, P, J, 3]`, metres.
    future: `[N, F, J, 3]`, metres.
    threshold: of the last observed poses, metres.

  Returns:
    The truth, on the device.
  """
  sets = forecasting.multimodal(past[:, -1], threshold)
  apd, apd_others = (
      x.astype(np.float32) for x in forecasting.multimodal_apds(future, sets)
  )
  return jax.device_put(
      Truth(np.asarray(future, np.float32), sets, apd, apd_others)
  )


@functools.cache
def suite(skeleton: Skeleton) -> Callable[[Array, Array, Truth], Values]:
  """Build the compiled function of all metrics, once for each skeleton.

  Segments are taken one after another, so that memory holds one segment's
  intermediates.

  Args:
    skeleton: whose limbs and angles are measured.

  Returns:
    A function of predictions `[B, K, F, J, 3]` in metres, the segments'
    indices `[B]` in the truth, and the truth.
  """
  edges = np.asarray(skeleton.edges)
  pairs = forecasting.angle_pairs(skeleton)

  def measure(pred: Array, index: Array, known: Truth) -> Values:
    return jax.lax.map(
        lambda x: _segment(x[0], x[1], known, edges, pairs), (pred, index)
    )

  return jax.jit(measure)


def _segment(
    pred: Array, index: Array, known: Truth, edges: np.ndarray,
    pairs: np.ndarray
) -> Values:
  target = jnp.asarray(known.futures)[index]
  distance = forecasting.frame_distance(pred, target)
  average = jnp.mean(distance, axis=-1)
  joints = forecasting.mpjpe(pred, target)
  sets = known.sets
  multi = forecasting.multimodal_errors(
      pred, index, jnp.asarray(known.futures), jnp.asarray(sets.members),
      jnp.asarray(sets.starts)[index], jnp.asarray(sets.counts)[index]
  )
  apart = forecasting.pairwise_distance(pred)
  samples = pred.shape[0]
  apd = jnp.sum(apart) / max(samples * (samples - 1), 1)
  metrics = {
      'ADE': jnp.min(average),
      'FDE': jnp.min(distance[:, -1]),
      'MAE': forecasting.mae(pred, target, edges, pairs),
      'MPJPE': joints[jnp.argmin(average)],
      'MMADE': multi.ade,
      'MMFDE': multi.fde,
      'MMADE (paper)': multi.ade_paper,
      'MMFDE (paper)': multi.fde_paper,
      'APD': apd,
  }
  counted = {name: jnp.ones((), bool) for name in metrics}
  counted['MMADE (paper)'] = counted['MMFDE (paper)'] = multi.others > 0
  diversity = _diversity(apd, index, known, multi.others > 0)
  limbs, curves = _limbs(pred, target, edges, apart)
  metrics |= {name: value for name, (value, _) in diversity.items()} | limbs
  counted |= {name: mask for name, (_, mask) in diversity.items()}
  counted |= {name: jnp.ones((), bool) for name in limbs}
  curves['coverage'] = calibration.coverage(pred, target)
  speed = jnp.mean(forecasting.motion_speed(pred), axis=0)
  return Values(metrics, counted, speed, curves)


def _diversity(
    apd: Array, index: Array, known: Truth, others: Array
) -> dict[str, tuple[Array, Array]]:
  error, _ = forecasting.apde(apd, known.apd_others[index], 'all')
  return {
      'APDE': forecasting.apde(apd, known.apd[index], 'released'),
      'APDE (keep all)': forecasting.apde(apd, known.apd[index], 'all'),
      'APDE (paper)': (error, others),
  }


def _limbs(
    pred: Array, target: Array, edges: np.ndarray, apart: Array
) -> tuple[dict[str, Array], dict[str, Array]]:
  released, printed = (
      realism.limb_errors(pred, target, edges, stretch)
      for stretch in ('released', 'paper')
  )
  parts: Mapping[str, Array] = {
      'stretch mean': released.stretch_mean,
      'stretch RMSE': released.stretch_rmse,
      'jitter mean': released.jitter_mean,
      'jitter RMSE': released.jitter_rmse,
      'stretch mean (paper)': printed.stretch_mean,
  }
  stretches, jitters = map(jnp.asarray, (STRETCH_TOLERANCES, JITTER_TOLERANCES))
  stretch, jitter = 100 * released.stretch_max, 100 * released.jitter_max
  curves = {
      'valid by stretch': realism.validity(stretch, stretches),
      'valid by jitter': realism.validity(jitter, jitters),
      'APD of valid': realism.valid_apd(apart, jitter, jitters),
  }
  return {name: 100 * jnp.mean(x) for name, x in parts.items()}, curves
