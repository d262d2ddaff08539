"""From whole clips to training windows and test segments (NumPy).

All lengths are in frames. A segment is `past + future` frames in a row of one
clip; its start is the index of its first frame in the concatenated clips.

References:
  Curreli et al., "Nonisotropic Gaussian Diffusion for Realistic 3D Human
  Motion Prediction", CVPR 2025, with its released code; below "the paper".
"""

from collections.abc import Sequence
import dataclasses
import functools
import math

import numpy as np

from diffax.body import skeletons
from diffax.errors import UserError


def root_centre(positions: np.ndarray) -> np.ndarray:
  """Subtract the root from every frame and drop it.

  Args:
    positions: [..., J + 1, 3], root first.

  Returns:
    [..., J, 3], of the same type and unit.
  """
  return positions[..., 1:, :] - positions[..., :1, :]


def keep_every(rate: float, fps: float) -> int:
  """Return the published step of resampling: every round(rate / fps)-th frame.

  Args:
    rate: frames per second as recorded.
    fps: frames per second wanted.

  Returns:
    The step, at least 1.

  Raises:
    UserError: if the outcome would be more than 5 % off `fps`.
  """
  step = max(1, round(rate / fps))
  if abs(rate / step / fps - 1) > 0.05:
    raise UserError(
        f'fps: expected {rate:g} divided by a whole number (every n-th frame '
        f'is kept), found {fps:g}; the nearest is {rate / step:g}.'
    )
  return step


def window_starts(
    offsets: np.ndarray, lengths: np.ndarray, window: int
) -> np.ndarray:
  """List every start of a training window in concatenated clips.

  As released, `range(0, L - window)` of each clip: its last start is left out.

  Args:
    offsets: [C] first frame of each clip.
    lengths: [C] frames of each clip.
    window: frames of a segment.

  Returns:
    [S] int64, in the order of the clips.
  """
  counts = np.maximum(np.asarray(lengths) - window, 0)
  return _ranges(np.asarray(offsets), counts, 1)[0]


def segment_starts(
    offsets: np.ndarray,
    lengths: np.ndarray,
    *,
    past: int,
    future: int,
    first: int,
    stride: int,
) -> tuple[np.ndarray, np.ndarray]:
  """List the segments of the published test protocol.

  In each clip the futures start at frames `first, first + stride, ...` as long
  as they are whole; the past are the frames before.

  Args:
    offsets: [C] first frame of each clip.
    lengths: [C] frames of each clip.
    past: observed frames.
    future: predicted frames.
    first: frame of a clip at which its first future starts, at least `past`.
    stride: frames from one future's start to the next.

  Returns:
    Starts of the pasts within the concatenated clips [N], and the clip of each
    [N], both int64.

  Raises:
    UserError: if `first < past` or `stride < 1`.
  """
  if first < past:
    raise UserError(
        f'data.test_first_seconds: expected at least {past} frames, the past, '
        f'found {first}.'
    )
  if stride < 1:
    raise UserError(
        f'data.test_stride_seconds: expected a frame or more, found {stride}.'
    )
  counts = np.maximum((np.asarray(lengths) - future - first) // stride + 1, 0)
  return _ranges(np.asarray(offsets) + first - past, counts, stride)


def training_items(segments: int, stride: int) -> int:
  """Return the items of an epoch: one of `stride` segments each."""
  return segments // stride


def training_segment(
    item: np.ndarray, jitter: np.ndarray, *, stride: int, reach: int,
    segments: int
) -> np.ndarray:
  """Return the segments that the items of an epoch show, as released.

  `stride item + reach + jitter`, with jitter uniform in -reach .. reach.

  Args:
    item: [B] integers below `training_items`.
    jitter: [B] integers within the reach.
    stride: segments per item.
    reach: the largest jitter.
    segments: their number; the last item is kept within it.

  Returns:
    [B] indices into the list of segments.
  """
  return np.minimum(stride * item + reach + jitter, segments - 1)


def augmentation(
    rng: np.random.Generator, count: int
) -> tuple[np.ndarray, np.ndarray]:
  """Draw the published augmentation: flips of x and y, then a turn about z.

  Args:
    rng: where to draw from.
    count: B, how many.

  Returns:
    Matrices [B, 3, 3] float32 that act on columns, and [B] bool, true where
    exactly one axis was flipped, so that left has become right.
  """
  flips = rng.random((count, 2)) < 0.5
  signs = np.where(flips, -1.0, 1.0)
  angle = np.deg2rad(rng.integers(0, 360, count).astype(np.float64))
  sin, cos = np.sin(angle), np.cos(angle)
  matrix = np.zeros((count, 3, 3))
  matrix[:, 0, 0], matrix[:, 0, 1] = cos * signs[:, 0], -sin * signs[:, 1]
  matrix[:, 1, 0], matrix[:, 1, 1] = sin * signs[:, 0], cos * signs[:, 1]
  matrix[:, 2, 2] = 1
  return matrix.astype(np.float32), flips[:, 0] != flips[:, 1]


def augment(motion: np.ndarray, matrix: np.ndarray) -> np.ndarray:
  """Apply one matrix to every position of each motion.

  Args:
    motion: [B, L, J, 3].
    matrix: [B, 3, 3].

  Returns:
    [B, L, J, 3], of the type of `motion`.
  """
  flat = motion.reshape(len(motion), -1, 3)
  return np.matmul(flat, matrix.swapaxes(1, 2)).reshape(motion.shape)


def mirror_joints(names: Sequence[str]) -> np.ndarray:
  """Pair the left joints with the right ones by their names.

  Args:
    names: J names such as LHip and RHip, left_knee and right_knee, Hand_L and
      Hand_R; others are their own mirror image.

  Returns:
    [J] indices: the joint that takes each one's place in a mirror.
  """
  types = np.array(skeletons.mirrored_types(names))
  mirror = np.arange(len(names))
  for kind in set(types.tolist()):
    pair = np.flatnonzero(types == kind)
    if len(pair) == 2:
      mirror[pair] = pair[::-1]
  return mirror


@dataclasses.dataclass(frozen=True)
class Curriculum:
  """How the autoencoder's horizon grows while it learns.

  With f falling from 1 to 0 as a half cosine over `ramp` steps,

      lower = min(1 + floor((floor - 1) step / floor_ramp), floor)
      upper = max(rint((1 - f) F), lower)
      horizon ~ U{lower .. upper - 1},   or lower if upper = lower.

  As released, the upper end is not drawn; the paper prints U{1 .. F}.

  Attributes:
    ramp: steps until the upper end is F (10 epochs in the paper).
    floor_ramp: steps until the lower end is `floor` (200 epochs).
    floor: the highest lower end.
    buckets: lengths that futures are cut to, so that few shapes are compiled;
      by default the quarters of F.
    inclusive: draw the upper end, too.
  """

  ramp: int = 5800
  floor_ramp: int = 116000
  floor: int = 10
  buckets: tuple[int, ...] = ()
  inclusive: bool = False

  def lengths(self, future: int) -> tuple[int, ...]:
    """Return the lengths that futures of F frames are cut to, ascending."""
    quarters = tuple(-(-future * i // 4) for i in (1, 2, 3))
    chosen = {*(self.buckets or quarters), future}
    if min(chosen) < 1 or max(chosen) > future:
      raise UserError(
          f'data.curriculum.buckets: expected lengths of 1 to {future} frames, '
          f'found {sorted(chosen)}.'
      )
    return tuple(sorted(chosen))

  def bounds(self, step: int, future: int) -> tuple[int, int]:
    """Return the lower and the upper end at a step."""
    lower = 1 + (self.floor - 1) * step // max(self.floor_ramp, 1)
    lower = min(lower, self.floor, future)
    done = min(step / max(self.ramp, 1), 1.0)
    upper = np.rint(0.5 * (1 - np.cos(np.pi * done)) * future)
    return lower, max(int(upper), lower)

  def draw(self, rng: np.random.Generator, step: int, future: int) -> int:
    """Draw the horizon of a step, in frames."""
    lower, upper = self.bounds(step, future)
    high = upper + 1 if self.inclusive else upper
    return int(rng.integers(lower, high)) if high > lower else lower


@dataclasses.dataclass(frozen=True)
class Disturbance:
  """How observed positions are disturbed, to test what a model makes of it.

  Two readings of "noise of at most 2 cm on 25 % of the observed keypoints":

      gaussian   a joint of a frame is moved with the probability `share`, by
                 N(0, size^2) along each axis, as released: a third of the
                 moves are longer than 1.9 sizes
      bounded    the paper's words: of the P J positions of each past exactly
                 round(share P J) are moved, in any direction, by a length
                 uniform in 0 .. size

  The root, to which positions refer, is never moved.

  Attributes:
    kind: `gaussian` or `bounded`.
    size: metres.
    share: of the positions.
    seed: of all draws.

  References:
    Curreli et al. 2025, Sec. F.3, Table 10.
  """

  kind: str = 'gaussian'
  size: float = 0.02
  share: float = 0.25
  seed: int = 0

  def __post_init__(self) -> None:
    if self.kind not in ('gaussian', 'bounded'):
      raise UserError(
          "data.test_noise.kind: expected 'gaussian' or 'bounded', found "
          f'{self.kind!r}.'
      )
    if not (self.size >= 0 and 0 <= self.share <= 1):
      raise UserError(
          'data.test_noise: expected a size of 0 m or more and a share within '
          f'[0, 1], found {self.size} and {self.share}.'
      )

  def __call__(self, past: np.ndarray) -> np.ndarray:
    """Disturb pasts [N, P, J, 3] in metres, each by draws of its own."""
    rng = np.random.default_rng([self.seed, 0x401])
    shape = past.shape[:-1]
    move = rng.standard_normal(past.shape, np.float32)
    if self.kind == 'gaussian':
      moved = rng.random(shape, np.float32) < self.share
    else:
      move /= np.linalg.norm(move, axis=-1, keepdims=True)
      move *= rng.random((*shape, 1), np.float32)
      # The smallest of as many random numbers are a choice without repeats.
      order = rng.random((len(past), math.prod(shape[1:])), np.float32)
      rank = np.argsort(np.argsort(order, axis=1), axis=1)
      moved = (rank < round(self.share * rank.shape[1])).reshape(shape)
    return past + np.where(moved[..., None], self.size * move, 0)


@functools.lru_cache(maxsize=4)
def permutation(seed: int, epoch: int, items: int) -> np.ndarray:
  """Return the order of the items in an epoch, from (seed, epoch) alone.

  Args:
    seed: of the run.
    epoch: its number.
    items: how many.

  Returns:
    [items] int64, read-only.
  """
  order = np.random.default_rng([seed, epoch, 0x0E]).permutation(items)
  order.flags.writeable = False
  return order


def batch_items(seed: int, step: int, batch: int, items: int) -> np.ndarray:
  """Return the items of a step: the epochs' orders cut into batches.

  Batches run on across epochs, so that every item is shown exactly once in
  each epoch and all batches are full.

  Args:
    seed: of the run.
    step: 0, 1, ...
    batch: B.
    items: of an epoch.

  Returns:
    [B] int64.
  """
  place = step * batch + np.arange(batch)
  epochs, within = place // items, place % items
  chosen = np.empty(batch, np.int64)
  for epoch in range(epochs[0], epochs[-1] + 1):
    here = epochs == epoch
    chosen[here] = permutation(seed, int(epoch), items)[within[here]]
  return chosen


def _ranges(
    begins: np.ndarray, counts: np.ndarray, stride: int
) -> tuple[np.ndarray, np.ndarray]:
  # arange(counts[c]) * stride + begins[c] for every clip c, in a row.
  clip = np.repeat(np.arange(len(counts)), counts)
  within = np.arange(counts.sum()) - np.repeat(
      np.cumsum(counts) - counts, counts
  )
  return (begins[clip] + stride * within).astype(np.int64), clip
