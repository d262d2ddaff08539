"""Precision, coverage, diversity and dynamics of predicted futures.

Of one segment, predictions are `pred` `[K, F, J, 3]` and the truth is `target`
`[F, J, 3]`: root-centred poses in metres, root dropped. |.| is the Euclidean
norm over all joints of a pose (or all frames, where so said).

  (1)  ADE  = min_k mean_f |pred_kf - target_f|
  (2)  FDE  = min_k |pred_kF - target_F|
  (3)  MAE  = min_k mean_{f,a} |angle_a(pred_kf) - angle_a(target_f)|
  (4)  APD  = mean_{k<l} |pred_k - pred_l|, norm over frames and joints
  (5)  MM_j = {m: |past_m - past_j| < threshold}, last observed poses
  (6)  MMADE = mean_{m in MM} min_k mean_f |pred_kf - future_mf|
  (7)  APDE = |APD - APD(MM)|
  (8)  CMD  = sum_{f=1}^{F-1} (F - f) |M_f - Mbar|,
       M_f = mean_j |pose_{f+1,j} - pose_{f,j}|, norm of one joint

The final number of a data set is the mean over its segments, of CMD the
class-weighted sum. Where the paper's formula and the code that produced its
tables differ, both are here and an argument names them.

References:
  Curreli et al., CVPR 2025, Appendix D.1, Eq. 52-61, and its released code;
  CMD and APDE are of Barquero et al., "BeLFusion", ICCV 2023.
"""

from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from diffax.body.skeletons import Skeleton
from diffax.errors import UserError
from diffax.typing import Array

# Products of float32 must not be rounded to bfloat16 or TF32 here.
_EXACT = jax.lax.Precision.HIGHEST
_ANGLE_FLOOR = 1e-7
_CHUNK = 64


def frame_distance(pred: Array, target: Array) -> Array:
  """Return distances of poses.

  Args:
    pred: `[K, F, J, 3]`, metres.
    target: `[F, J, 3]`, metres.

  Returns:
    `[K, F]` metres, norms over joints and coordinates together.
  """
  chex.assert_rank([pred, target], [4, 3])
  return jnp.sqrt(jnp.sum((pred - target[None]) ** 2, axis=(-2, -1)))


def ade(pred: Array, target: Array) -> Array:
  """Return the average distance error, `[]` metres (Eq. 1).

  The paper's Eq. 52 prints the norm without its mean over frames; its tables
  and its code have the mean.

  Args:
    pred: `[K, F, J, 3]`, metres.
    target: `[F, J, 3]`, metres.
  """
  return jnp.min(jnp.mean(frame_distance(pred, target), axis=-1))


def fde(pred: Array, target: Array) -> Array:
  """Return the final distance error, `[]` metres (Eq. 2).

  Its best sample need not be the best of ADE.

  Args:
    pred: `[K, F, J, 3]`, metres.
    target: `[F, J, 3]`, metres.
  """
  return jnp.min(frame_distance(pred, target)[:, -1])


def mpjpe(pred: Array, target: Array) -> Array:
  """Return the mean per-joint position error of each sample.

  Args:
    pred: `[K, F, J, 3]`, metres.
    target: `[F, J, 3]`, metres.

  Returns:
    `[K]` metres, mean over frames and joints. The released validation reports
    it for the sample of least ADE.
  """
  chex.assert_rank([pred, target], [4, 3])
  joints = jnp.sqrt(jnp.sum((pred - target[None]) ** 2, axis=-1))
  return jnp.mean(joints, axis=(1, 2))


def angle_pairs(skeleton: Skeleton) -> np.ndarray:
  """Return the pairs `[A, 2]` of edges that enclose the angles of MAE."""
  pairs = [
      pair
      for chain in skeleton.angle_chains
      for pair in zip(chain, chain[1:])
  ]
  return np.array(pairs, np.int32).reshape(-1, 2)


def limb_angles(motion: Array, edges: np.ndarray, pairs: np.ndarray) -> Array:
  """Return the angles between limbs.

  A limb points from its node of lower to that of higher index. The angle is
  the arc cosine of the released code, taken by the arc tangent, which keeps
  float32 exact where limbs are nearly parallel.

  Args:
    motion: `[..., J, 3]`.
    edges: `[E, 2]` pairs of nodes.
    pairs: `[A, 2]` pairs of edges.

  Returns:
    `[..., A]` degrees, 0 to 180.
  """
  edges = np.asarray(edges)
  limbs = motion[..., edges.max(1), :] - motion[..., edges.min(1), :]
  u, v = limbs[..., pairs[:, 0], :], limbs[..., pairs[:, 1], :]
  dot = jnp.sum(u * v, axis=-1)
  norm = jnp.sqrt(jnp.sum(u**2, axis=-1) * jnp.sum(v**2, axis=-1))
  across = jnp.sqrt(jnp.sum(jnp.cross(u, v) ** 2, axis=-1))
  # Where a limb has no length the released cosine is 0 / 1e-7: 90 degrees.
  floor = jnp.sqrt(jnp.maximum(_ANGLE_FLOOR**2 - dot**2, 0))
  across = jnp.where(norm > _ANGLE_FLOOR, across, floor)
  return jnp.degrees(jnp.arctan2(across, dot))


def mae(
    pred: Array, target: Array, edges: np.ndarray, pairs: np.ndarray
) -> Array:
  """Return the mean angle error, `[]` degrees (Eq. 3).

  Args:
    pred: `[K, F, J, 3]`.
    target: `[F, J, 3]`.
    edges: `[E, 2]` pairs of nodes.
    pairs: `[A, 2]` pairs of edges; without any the error is 0.
  """
  if not len(pairs):
    return jnp.zeros((), pred.dtype)
  truth = limb_angles(target, edges, pairs)
  error = jnp.abs(limb_angles(pred, edges, pairs) - truth[None])
  return jnp.min(jnp.mean(error, axis=(1, 2)))


def pairwise_distance(motions: Array) -> Array:
  """Return the distances between motions, centred before the Gram form.

  Args:
    motions: `[K, F, J, 3]`, metres.

  Returns:
    `[K, K]` metres, norms over frames, joints and coordinates; diagonal 0.
  """
  flat = motions.reshape(motions.shape[0], -1)
  # Without this, float32 loses near-duplicates in the common part.
  flat = flat - jnp.mean(flat, axis=0, keepdims=True)
  gram = jnp.matmul(flat, flat.T, precision=_EXACT)
  square = jnp.diagonal(gram)
  squares = square[:, None] + square[None, :] - 2 * gram
  apart = ~jnp.eye(motions.shape[0], dtype=bool)
  return jnp.sqrt(jnp.maximum(squares, 0)) * apart


def apd(pred: Array) -> Array:
  """Return the average pairwise distance, `[]` metres, 0 of one (Eq. 4).

  Args:
    pred: `[K, F, J, 3]`, metres.
  """
  count = pred.shape[0]
  return jnp.sum(pairwise_distance(pred)) / max(count * (count - 1), 1)


def apde(
    pred_apd: Array, truth_apd: Array, keep: str = 'released'
) -> tuple[Array, Array]:
  """Return the error of the diversity and whether it counts (Eq. 7).

  Args:
    pred_apd: APD of the predictions, `[...]`, metres.
    truth_apd: APD of the multimodal truth, `[...]`, metres.
    keep: `released` drops segments whose truth has APD 0, as when nothing
      else shares their past (2,643 of 12,727 on AMASS); `all` keeps them.

  Returns:
    The errors `[...]` in metres and a mask `[...]` of those to average.
  """
  if keep not in ('released', 'all'):
    raise UserError(
        f"keep: expected 'released' or 'all', found {keep!r}."
    )
  counted = jnp.logical_or(truth_apd > 0, keep == 'all')
  return jnp.abs(pred_apd - truth_apd), counted


class Multimodal(NamedTuple):
  """Hold the multimodal truth of N segments as one list of indices.

  Attributes:
    members: `[M + chunk]` int32; the segments whose futures are truths of
      segment j stand at `starts[j]:starts[j] + counts[j]`. Zeros end it.
    starts: `[N]` int32.
    counts: `[N]` int32.
  """

  members: np.ndarray
  starts: np.ndarray
  counts: np.ndarray


def multimodal(
    last_pose: np.ndarray,
    threshold: float,
    *,
    members: str = 'released',
    block: int = 256,
) -> Multimodal:
  """Find the segments whose last observed pose is similar (Eq. 5).

  Memory holds `block` rows of distances at once and the lists that are found,
  never all N x N pairs.

  Args:
    last_pose: `[N, J, 3]`, metres.
    threshold: metres, norm over joints and coordinates: 0.4 on AMASS and
      3DPW, 0.5 on Human3.6M and FreeMan.
    members: `released` includes the segment itself, `paper` (Eq. 54, m != j)
      does not.
    block: rows compared at once.

  Returns:
    Lists of all N segments, in ascending order of member.
  """
  if members not in ('released', 'paper'):
    raise UserError(
        f"members: expected 'released' or 'paper', found {members!r}."
    )
  poses = np.asarray(last_pose, np.float32)
  total = poses.shape[0]
  poses = poses.reshape(total, -1)
  rows = np.concatenate([poses, poses[:1].repeat(-total % block, 0)])
  counts, found = np.zeros(total, np.int32), [np.zeros(0, np.int32)]
  for i in range(0, total, block):
    close = np.array(_within(rows[i:i + block], poses, threshold))[:total - i]
    if members == 'paper':
      own = np.arange(len(close))
      close[own, i + own] = False
    counts[i:i + block] = close.sum(1)
    found.append(np.nonzero(close)[1].astype(np.int32))
  return Multimodal(
      np.concatenate([*found, np.zeros(_CHUNK, np.int32)]),
      (np.cumsum(counts) - counts).astype(np.int32),
      counts,
  )


@jax.jit
def _within(rows: Array, poses: Array, threshold: float) -> Array:
  # Differences, not the Gram form: a threshold needs the exact distance.
  def near(row: Array) -> Array:
    return jnp.sqrt(jnp.sum((poses - row[None]) ** 2, -1)) < threshold

  return jax.lax.map(near, rows)


class MultimodalErrors(NamedTuple):
  """Errors against the multimodal truth of one segment, metres.

  Attributes:
    ade: over the truths, mean of the least error over samples (released).
    fde: likewise, at the final frame.
    ade_paper: least error over all pairs of sample and other segment, inf
      where there is no other (Eq. 54-55).
    fde_paper: likewise, at the final frame (Eq. 56).
    others: truths besides the segment itself, int32.
  """

  ade: Array
  fde: Array
  ade_paper: Array
  fde_paper: Array
  others: Array


def multimodal_errors(
    pred: Array,
    index: Array,
    futures: Array,
    members: Array,
    start: Array,
    count: Array,
) -> MultimodalErrors:
  """Return MMADE and MMFDE of one segment (Eq. 6), as released and printed.

  The number of truths is data and not shape: no count compiles anew.

  Args:
    pred: `[K, F, J, 3]`, metres.
    index: of the segment among the futures, `[]`.
    futures: `[N, F, J, 3]` of all segments, metres.
    members: `[M + chunk]`, see `Multimodal`, the segment itself included.
    start: of this segment's members, `[]`.
    count: of this segment's members, `[]`.

  Returns:
    Both definitions of both errors.
  """
  # About the truth itself float32 stays exact where predictions are good.
  centre = futures[index][None]
  chex.assert_equal_shape([pred[0], centre[0]])
  flat = _by_frame(pred - centre)
  size = jnp.sum(flat**2, axis=-1)

  def chunk(i: Array, carry: Any) -> Any:
    total, least, others = carry
    begin = start + i * _CHUNK
    ids = jax.lax.dynamic_slice(members, (begin,), (_CHUNK,))
    truth = _by_frame(futures[ids] - centre)
    cross = jnp.einsum('fkd,fmd->fkm', flat, truth, precision=_EXACT)
    truth_size = jnp.sum(truth**2, axis=-1)
    square = size[:, :, None] + truth_size[:, None, :] - 2 * cross
    distance = jnp.sqrt(jnp.maximum(square, 0))
    best = jnp.min(
        jnp.stack([jnp.mean(distance, axis=0), distance[-1]]), axis=1
    )
    used = (jnp.arange(_CHUNK) + i * _CHUNK < count)[None]
    other = used & (ids != index)[None]
    total += jnp.sum(jnp.where(used, best, 0), axis=1)
    least = jnp.minimum(
        least, jnp.min(jnp.where(other, best, jnp.inf), axis=1)
    )
    return total, least, others + jnp.sum(other, dtype=jnp.int32)

  none = jnp.zeros(2, pred.dtype)
  total, least, others = jax.lax.fori_loop(
      0,
      (count + _CHUNK - 1) // _CHUNK,
      chunk,
      (none, none + jnp.inf, jnp.zeros((), jnp.int32)),
  )
  mean = total / count.astype(pred.dtype)
  return MultimodalErrors(mean[0], mean[1], least[0], least[1], others)


def _by_frame(motions: Array) -> Array:
  """Turn `[K, F, J, 3]` to `[F, K, 3 J]`."""
  flat = motions.reshape(*motions.shape[:2], -1)
  return jnp.swapaxes(flat, 0, 1)


def multimodal_apd(
    futures: np.ndarray, sets: Multimodal, *, block: int = 512
) -> np.ndarray:
  """Return the diversity of each segment's multimodal truth (for Eq. 7).

  Args:
    futures: `[N, F, J, 3]`, metres.
    sets: the truths of S of the segments.
    block: segments compared with all others at once.

  Returns:
    APD `[S]` in metres, float64; 0 of fewer than two truths.
  """
  pairs, _ = _pair_totals(futures, sets, block)
  return _mean_of_pairs(pairs, sets.counts)


def multimodal_apds(
    futures: np.ndarray, sets: Multimodal, *, block: int = 512
) -> tuple[np.ndarray, np.ndarray]:
  """Return the diversity with and without the segment itself, in one pass.

  Args:
    futures: `[N, F, J, 3]`, metres.
    sets: the truths of all N segments, each itself included.
    block: segments compared with all others at once.

  Returns:
    APD `[N]` of the truths (released) and of the truths without the segment
    itself (paper), metres, float64; 0 of fewer than two truths.
  """
  pairs, own = _pair_totals(futures, sets, block)
  others = np.where(sets.counts > 2, pairs - 2 * own, 0.0)
  return (
      _mean_of_pairs(pairs, sets.counts),
      _mean_of_pairs(others, sets.counts - 1),
  )


def _mean_of_pairs(pairs: np.ndarray, counts: np.ndarray) -> np.ndarray:
  counts = counts.astype(float)
  return pairs / np.maximum(counts * (counts - 1), 1)


def _pair_totals(
    futures: np.ndarray, sets: Multimodal, block: int
) -> tuple[np.ndarray, np.ndarray]:
  """Sum distances over the members of sets.

  With membership A [S, N] and distances D [N, N] the sums over all pairs are
  the diagonal of A D A^T. D is made once, a block of columns at a time, A a
  block of rows at a time: neither is ever whole.

  Returns:
    Sums over ordered pairs `[S]`; where S = N, sums `[S]` of the distances of
    segment s to the members of its own set.
  """
  total, wanted = futures.shape[0], len(sets.counts)
  flat = np.asarray(futures, np.float32).reshape(total, -1)
  whole = jnp.asarray(flat - flat.mean(0, keepdims=True))
  pairs, own = np.zeros(wanted), np.zeros(wanted)
  for i in range(0, total, block):
    columns = np.arange(i, i + block)
    exists = columns < total
    columns = np.minimum(columns, total - 1)
    distance = _distances(whole, columns)
    for j in range(0, wanted, block):
      chosen = _membership(sets, j, block, total)
      inside = chosen[:, columns] & exists[None]
      sums, itself = _pair_sums(chosen, distance, inside)
      part = slice(j, min(j + block, wanted))
      pairs[part] += np.asarray(sums, float)[:wanted - j]
      if i == j:
        own[part] = np.asarray(itself, float)[:wanted - j]
  return pairs, own


def _membership(
    sets: Multimodal, begin: int, block: int, total: int
) -> np.ndarray:
  """Return rows of the membership matrix, `[block, total]` bool."""
  counts = np.asarray(sets.counts[begin:begin + block])
  chosen = np.zeros((block, total), bool)
  if counts.sum():
    first = int(sets.starts[begin])
    members = np.asarray(sets.members[first:first + counts.sum()])
    chosen[np.repeat(np.arange(len(counts)), counts), members] = True
  return chosen


@jax.jit
def _distances(flat: Array, columns: Array) -> Array:
  """Return distances `[N, block]` of rows `[N, D]` to some of them."""
  part = flat[columns]
  gram = jnp.matmul(flat, part.T, precision=_EXACT)
  size = jnp.sum(flat**2, axis=-1)
  square = size[:, None] + size[columns][None, :] - 2 * gram
  apart = jnp.arange(flat.shape[0])[:, None] != columns[None, :]
  return jnp.sqrt(jnp.maximum(square, 0)) * apart


@jax.jit
def _pair_sums(
    chosen: Array, distance: Array, inside: Array
) -> tuple[Array, Array]:
  """Return sums over chosen rows and columns inside, and the diagonal."""
  sums = jnp.matmul(
      chosen.astype(distance.dtype), distance, precision=_EXACT
  )
  return jnp.sum(sums * inside, axis=-1), jnp.diagonal(sums)


def motion_speed(motion: Array) -> Array:
  """Return the mean displacement of the joints between frames, M of Eq. 8.

  Args:
    motion: `[..., F, J, 3]`, metres.

  Returns:
    `[..., F - 1]` metres per frame.
  """
  step = motion[..., 1:, :, :] - motion[..., :-1, :, :]
  return jnp.mean(jnp.sqrt(jnp.sum(step**2, axis=-1)), axis=-1)


def cmd_single(speed: np.ndarray, mean_speed: np.ndarray) -> np.ndarray:
  """Return the cumulative motion distance of one course of speed (Eq. 8).

  Args:
    speed: M_f `[..., F - 1]`, metres per frame.
    mean_speed: Mbar of the data `[...]`, metres per frame.

  Returns:
    `[...]`, metres (sums of metres per frame over frames).
  """
  left = np.arange(speed.shape[-1], 0, -1.0)
  gaps = np.abs(np.asarray(speed) - np.asarray(mean_speed)[..., None])
  return np.sum(gaps * left, axis=-1)


class Cmd(NamedTuple):
  """CMD of a data set.

  Attributes:
    mean: sum over the classes, weighted by their frequency, metres.
    std: of the classes' values about `mean`, by the same weights; 0 of one.
  """

  mean: float
  std: float


class ClassCmd(NamedTuple):
  """CMD of the C classes of a data set.

  Attributes:
    value: metres, NaN of an absent class, `[C]`.
    speed: mean predicted displacement, metres per frame, NaN likewise, `[C]`.
    segments: how many, `[C]`.
  """

  value: np.ndarray
  speed: np.ndarray
  segments: np.ndarray


def cmd_by_class(
    speed: np.ndarray, labels: np.ndarray, mean_speed: np.ndarray
) -> ClassCmd:
  """Return the cumulative motion distance of each class (Eq. 8).

  Args:
    speed: M of each segment, averaged over its samples, `[N, F - 1]`.
    labels: class of each segment, `[N]`.
    mean_speed: Mbar of each class, `[C]`, from the true futures.

  Returns:
    Values by class.
  """
  speed, labels = np.asarray(speed, np.float64), np.asarray(labels)
  count = np.bincount(labels, minlength=len(mean_speed))
  course = np.full((len(mean_speed), speed.shape[1]), np.nan)
  for c in np.flatnonzero(count):
    course[c] = speed[labels == c].mean(0)
  value = cmd_single(course, np.asarray(mean_speed, np.float64))
  return ClassCmd(value, course.mean(1), count)


def cmd(
    speed: np.ndarray,
    labels: np.ndarray,
    mean_speed: np.ndarray,
    *,
    classes: str = 'released',
    frequency: np.ndarray | None = None,
) -> Cmd:
  """Return the cumulative motion distance of a data set (Eq. 8).

  Args:
    speed: M of each segment, averaged over its samples, `[N, F - 1]`.
    labels: class of each segment, `[N]`.
    mean_speed: Mbar of each class, `[C]`, from the true futures.
    classes: `released` compares within each class and weighs by frequency;
      `paper` (Eq. 61) knows one class: pass the Mbar of all as `[1]`.
    frequency: `[C]` weights; by default the segments of each class.

  Returns:
    Mean and spread over the classes, metres.
  """
  if classes not in ('released', 'paper'):
    raise UserError(
        f"classes: expected 'released' or 'paper', found {classes!r}."
    )
  labels = np.asarray(labels) if classes == 'released' else np.zeros(
      len(speed), int
  )
  found = cmd_by_class(speed, labels, mean_speed)
  present = np.flatnonzero(found.segments)
  weight = found.segments.astype(float) if frequency is None else frequency
  weight, values = np.asarray(weight)[present], found.value[present]
  weight = weight / weight.sum()
  average = float(np.sum(weight * values))
  spread = float(np.sqrt(np.sum(weight * (values - average) ** 2)))
  return Cmd(average, spread)


def mean_speed(
    futures: np.ndarray, labels: np.ndarray, classes: int
) -> np.ndarray:
  """Return Mbar, the mean speed of the true futures of each class.

  Args:
    futures: `[N, F, J, 3]`, metres.
    labels: `[N]`, below `classes`.
    classes: C.

  Returns:
    `[C]` metres per frame, float64; NaN of an absent class.
  """
  speed = np.asarray(_segment_speed(np.asarray(futures, np.float32)), float)
  total = np.bincount(labels, speed, minlength=classes)
  count = np.bincount(labels, minlength=classes).astype(float)
  return total / np.where(count > 0, count, np.nan)


@jax.jit
def _segment_speed(futures: Array) -> Array:
  return jax.lax.map(lambda x: jnp.mean(motion_speed(x)), futures)


def rank_closest(motions: np.ndarray, reference: np.ndarray) -> np.ndarray:
  """Return the samples in order of their distance to a reference.

  Args:
    motions: `[K, F, J, 3]`.
    reference: `[F, J, 3]`.

  Returns:
    `[K]` indices by ascending mean distance of frames (as in ADE).
  """
  gaps = np.asarray(motions, float) - np.asarray(reference, float)[None]
  distance = np.sqrt(np.sum(gaps**2, axis=(2, 3))).mean(1)
  return np.argsort(distance, kind='stable')


def rank_diverse(
    motions: np.ndarray, reference: np.ndarray, count: int | None = None
) -> np.ndarray:
  """Return samples that differ most from each other, greedily.

  Begins with the sample closest to the reference, which is not returned, and
  adds whichever sample is farthest from its nearest one so far.

  Args:
    motions: `[K, F, J, 3]`.
    reference: `[F, J, 3]`.
    count: indices wanted; by default all K - 1.

  Returns:
    `[count]` indices, or K - 1 if that is fewer.
  """
  flat = np.asarray(motions, float).reshape(len(motions), -1)
  count = len(flat) - 1 if count is None else min(count, len(flat) - 1)
  newest = rank_closest(motions, reference)[0]
  nearest = np.full(len(flat), np.inf)
  order: list[int] = []
  for _ in range(count):
    gap = np.sqrt(np.sum((flat - flat[newest][None]) ** 2, axis=1))
    nearest = np.minimum(nearest, gap)
    nearest[newest] = -1.0
    newest = int(np.argmax(nearest))
    order.append(newest)
  return np.array(order, int)
