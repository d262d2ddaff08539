"""Continue a live stream of poses: K futures of what was seen last.

A predictor keeps the last P frames of a stream, as many as its model observes,
and continues them whenever it is asked. Trackers lose joints, cameras lose
frames and clocks jitter, but the model sees the same shape every time, so one
compiled function serves the whole stream: frame k of its past is at

  (1)  t_k = t_last - (P - 1 - k) / fps

and joint j there, about the root, between the nearest times a <= t_k <= b at
which it was seen,

  (2)  x_j(t_k) = x_j(a) + (t_k - a) / (b - a) (x_j(b) - x_j(a)).

A joint that was seen on one side only is held where it was there. Poses are
about the root, so a frame without its root is a frame without anything.

A joint is called bridged at t_k if it was not seen within 0.75 frames. What is
bridged is reported, and too much of it refused: the model would continue what
was made up. A stream of more frames per second than the model's is taken at
the model's; one of fewer is bridged between its frames, and so refused at half
the rate already.
"""

import collections
from collections.abc import Iterable, Sequence
import time as clock
from typing import NamedTuple

import jax
import numpy as np

from diffax.body.skeletons import Skeleton
from diffax.data import base
from diffax.errors import DataError
from diffax.errors import UserError
from diffax.trained import Trained

ABOUT = ('root', 'last_root')
# In frames: more than a jittering clock is off, less than a lost frame is.
_NEAR = 0.75
# In frames: differences of times that are equal but for rounding.
_SLACK = 1e-3
# Metres: a person, for timing.
_TALL = 1.7


class NotReady(UserError):
  """Report that a stream has too few frames yet, or has lost too many."""


class Bridged(NamedTuple):
  """Say which joints of a past were not seen.

  Attributes:
    mask: `[P, J]` bool, True where the joint was not seen (Eq. 2).
    held: `[P, J]` bool, those of them that were seen on one side only.
  """

  mask: np.ndarray
  held: np.ndarray

  @property
  def frames(self) -> int:
    """How many of the P frames were lost whole."""
    return int(self.mask.all(axis=1).sum())

  @property
  def joints(self) -> int:
    """How many joints were lost in the other frames, over all of them."""
    return int(self.mask.sum()) - self.frames * self.mask.shape[1]

  @property
  def share(self) -> float:
    """Which part of all joints in all frames was lost."""
    return float(self.mask.mean())

  @property
  def longest(self) -> np.ndarray:
    """Frames in a row that each joint was lost for at most, `[J]`."""
    run = longest = np.zeros(self.mask.shape[1], int)
    for row in self.mask if self.mask.any() else ():
      run = (run + 1) * row
      longest = np.maximum(longest, run)
    return longest


class Prediction(NamedTuple):
  """Hold futures of a stream.

  Attributes:
    motion: `[K, F, J, 3]` float32, metres, about the root of each frame, or
      about the place where the root was seen last.
    root: where that was, `[3]`, metres, in the stream's coordinates.
    time: of the newest frame, seconds; the future begins one frame later.
    bridged: what was not seen of the past.
  """

  motion: np.ndarray
  root: np.ndarray
  time: float
  bridged: Bridged


class Latency(NamedTuple):
  """How long a frame takes, from its arrival to its futures on the host.

  Attributes:
    median: seconds.
    percentile_99: seconds that one call in a hundred exceeds.
    calls: how many were timed.
  """

  median: float
  percentile_99: float
  calls: int


class StreamingPredictor:
  """Keep the last frames of a stream and predict what follows.

    predictor = StreamingPredictor(trained.restore(config, workdir))
    for pose in camera:                      # [J + 1, 3], metres, root first
      predictor.push(pose)                   # None where a frame was lost
      if predictor.ready:
        futures = predictor.predict().motion # [K, F, J, 3]

  Attributes:
    skeleton: of the poses.
    fps: frames per second of the model.
    past: P, frames that it observes.
  """

  def __init__(
      self,
      model: Trained,
      *,
      seed: int = 0,
      about: str = 'root',
      max_gap: float = 0.1,
      max_missing: float = 0.25,
  ):
    """Compile the model for one past, so that no frame waits for it.

    Args:
      model: its `sample` goes from `past` `[1, P, J, 3]` to `motion`
        `[1, K, F, J, 3]`, metres about the root.
      seed: of the futures; call n draws from fold_in(key(seed), n).
      about: `root`, as models see poses, or `last_root`: added to where the
        root was seen last, in the stream's coordinates. The root itself is
        not predicted.
      max_gap: seconds in a row that a joint may be lost for.
      max_missing: share of all joints in all frames that may be lost.

    Raises:
      UserError: an argument is wrong, or the model gives other shapes.
    """
    if about not in ABOUT:
      raise UserError(f'about: expected one of {ABOUT}, found {about!r}.')
    if not (max_gap >= 0 and 0 <= max_missing <= 1):
      raise UserError(
          'max_gap, max_missing: expected seconds >= 0 and a share of 0..1, '
          f'found {max_gap}, {max_missing}.'
      )
    info = model.source.info
    self.skeleton: Skeleton = info['skeleton']
    self.fps, self.past = float(info['fps']), int(info['past'])
    self._model, self._about = model, about
    self._max_gap, self._max_missing = max_gap, max_missing
    self._key = jax.random.key(seed)
    self._calls = 0
    # Times, poses about the root [J, 3] (NaN: not seen), roots [3].
    self._frames: collections.deque[
        tuple[float, np.ndarray, np.ndarray]
    ] = collections.deque()
    self.reset()
    self._sample(np.zeros((self.past, self.skeleton.num_nodes, 3), np.float32))

  def reset(self) -> None:
    """Forget the stream; the compiled function and the draws go on."""
    self._frames.clear()
    self._root: np.ndarray | None = None
    self._checked = False

  def push(
      self,
      poses: np.ndarray | Sequence[np.ndarray | None] | None,
      times: float | Sequence[float | None] | np.ndarray | None = None,
  ) -> None:
    """Take one frame or several.

    Args:
      poses: `[J + 1, 3]` or `[N, J + 1, 3]` in metres, root first, Z up, NaN
        where a joint was not seen; None, alone or in a list, is a frame that
        was lost.
      times: seconds, rising, of any origin; a frame without one comes 1 / fps
        after the frame before it. Lost frames need not be pushed if times
        tell of them.

    Raises:
      DataError: poses of another shape or unit, or times that do not rise.
    """
    found = self._as_frames(poses)
    for pose, time in zip(found, _as_times(times, len(found)), strict=True):
      self._add(pose, time)

  @property
  def ready(self) -> bool:
    """Whether `predict` would predict."""
    try:
      self._observe()
    except NotReady:
      return False
    return True

  def predict(self) -> Prediction:
    """Return futures of the frames so far.

    Raises:
      NotReady: there are not enough frames yet, or too much was lost.
      UserError: the model returned NaN or infinity.
    """
    past, bridged = self._observe()
    motion = self._sample(past.astype(np.float32))
    self._calls += 1
    if not np.isfinite(motion).all():
      raise UserError(
          'futures: expected finite positions, found NaN or infinity. Did the '
          'training diverge?'
      )
    # Something was seen, so the root was.
    root = np.zeros(3) if self._root is None else self._root
    if self._about == 'last_root':
      motion = motion + root[None, None, None].astype(np.float32)
    return Prediction(motion, root, self._frames[-1][0], bridged)

  def __call__(
      self,
      poses: np.ndarray | Sequence[np.ndarray | None] | None,
      times: float | Sequence[float | None] | np.ndarray | None = None,
  ) -> Prediction:
    """Take frames and predict; see `push` and `predict`."""
    self.push(poses, times)
    return self.predict()

  def _sample(self, past: np.ndarray) -> np.ndarray:
    key = jax.random.fold_in(self._key, self._calls)
    made = self._model.sample({'past': past[None]}, key)['motion']
    motion = np.asarray(made, np.float32)
    nodes = self.skeleton.num_nodes
    if motion.ndim != 5 or len(motion) != 1 or motion.shape[3:] != (nodes, 3):
      raise UserError(
          f'futures: expected [1, K, F, {nodes}, 3], found '
          f'{list(motion.shape)}.'
      )
    return motion[0]

  def _as_frames(
      self, poses: np.ndarray | Sequence[np.ndarray | None] | None
  ) -> np.ndarray:
    """Return `[N, J + 1, 3]` float64, NaN what was lost."""
    joints = self.skeleton.joints
    lost = np.full((len(joints), 3), np.nan)
    if poses is None:
      return lost[None]
    if isinstance(poses, (list, tuple)):
      poses = [lost if pose is None else pose for pose in poses]
    try:
      found = np.asarray(poses, np.float64)
      said = f'shape {list(found.shape)}'
    except (TypeError, ValueError):
      found, said = np.zeros(0), 'no numbers, or poses of several shapes'
    found = found[None] if found.ndim == 2 else found
    if found.ndim != 3 or found.shape[1:] != (len(joints), 3):
      raise DataError(
          'stream', 'pose', f'[{len(joints)}, 3] or [N, {len(joints)}, 3] for '
          f'{joints[0]}, {joints[1]}, ...', said
      )
    return found

  def _add(self, pose: np.ndarray, time: float | None) -> None:
    last = self._frames[-1][0] if self._frames else None
    if time is None:
      time = 0.0 if last is None else last + 1 / self.fps
    if not np.isfinite(time) or (last is not None and time <= last):
      raise DataError(
          'stream', 'time', 'a finite number of seconds' if last is None
          else f'a time after that of the last frame, {last:g} s',
          f'{time:g} s', 'Leave out frames that arrive late'
      )
    seen = np.isfinite(pose).all(axis=-1, keepdims=True)
    pose = np.where(seen, pose, np.nan)
    if seen.all() and not self._checked:
      base.check_motion(
          pose[None], self.skeleton.joints, self.skeleton.parents, self.fps,
          file='stream', min_frames=1, zero_bones=True
      )
      self._checked = True
    if seen[0, 0]:
      self._root = pose[0]
    self._frames.append((float(time), pose[1:] - pose[:1], pose[0]))
    # What is older than this tells nothing of the past, nor bridges into it.
    oldest = time - (self.past + _NEAR) / self.fps - self._max_gap
    while self._frames[0][0] < oldest:
      self._frames.popleft()

  def _observe(self) -> tuple[np.ndarray, Bridged]:
    """Return the past `[P, J, 3]` and what of it was bridged (Eq. 1-2)."""
    need = f'{self.past} frames ({self.past / self.fps:.2f} s)'
    if not self._frames:
      raise NotReady(f'stream: expected {need}, found none yet.')
    times = np.array([frame[0] for frame in self._frames])
    grid = times[-1] - np.arange(self.past - 1, -1, -1) / self.fps
    if times[0] > grid[0] + _NEAR / self.fps:
      found = int(round((times[-1] - times[0]) * self.fps)) + 1
      raise NotReady(
          f'stream: expected {need} in a row, found {found} so far.'
      )
    poses = np.stack([frame[1] for frame in self._frames])
    past, bridged = bridge(poses, times, grid, self.fps)
    self._check(past, bridged)
    return past, bridged

  def _check(self, past: np.ndarray, bridged: Bridged) -> None:
    longest = bridged.longest
    worst = int(longest.argmax())
    most = self._max_gap * self.fps + _SLACK
    if longest[worst] > most or not np.isfinite(past).all():
      raise NotReady(
          f'stream: expected gaps of at most {int(most)} frames '
          f'({self._max_gap:g} s), found {longest[worst]} without '
          f'{self.skeleton.nodes[worst]}.'
      )
    if bridged.share > self._max_missing:
      raise NotReady(
          f'stream: expected at most {self._max_missing:.0%} of the joints '
          f'lost, found {bridged.share:.0%} of the last {self.past} frames. '
          f'Does the stream have {self.fps:g} frames per second, as the model?'
      )


def bridge(
    poses: np.ndarray, times: np.ndarray, grid: np.ndarray, fps: float
) -> tuple[np.ndarray, Bridged]:
  """Return poses at wanted times, between those that were seen (Eq. 2).

  Args:
    poses: `[N, J, 3]`, NaN where a joint was not seen.
    times: of the poses, `[N]`, rising, seconds.
    grid: wanted, `[P]`, seconds.
    fps: of the grid.

  Returns:
    `[P, J, 3]`, NaN of a joint that was never seen, and what was bridged.
  """
  total = len(times)
  order = np.arange(total)[:, None]
  seen = np.isfinite(poses).all(axis=-1)
  before = np.maximum.accumulate(np.where(seen, order, -1), axis=0)
  after = np.where(seen, order, total)[::-1]
  after = np.minimum.accumulate(after, axis=0)[::-1]
  # Number `at` of the frames are not later; none may be, and all may be.
  at = np.searchsorted(times, grid + _SLACK / fps, side='right')
  edge = np.ones_like(before[:1])
  left = np.concatenate([-edge, before])[at]
  right = np.concatenate([after, total * edge])[at]
  first, last = left < 0, right == total
  a, b = np.where(first, right, left), np.where(last, left, right)
  # Of joints that were never seen frame 0, which holds NaN, stands for both.
  never = first & last
  a, b = np.where(never, 0, a), np.where(never, 0, b)
  since, width = grid[:, None] - times[a], times[b] - times[a]
  weight = np.clip(since / np.where(width > 0, width, 1.0), 0.0, 1.0)
  joints = np.arange(poses.shape[1])[None]
  start, end = poses[a, joints], poses[b, joints]
  filled = start + (weight * (width > 0))[..., None] * (end - start)
  near = np.minimum(np.abs(since), np.abs(grid[:, None] - times[b]))
  mask = never | (near * fps > _NEAR)
  return filled, Bridged(mask, mask & (first | last))


def latency(predictor: StreamingPredictor, calls: int = 1000) -> Latency:
  """Time a predictor: a frame in, its futures out.

  Args:
    predictor: what it has seen is forgotten, before and after.
    calls: how many are timed, after one that is not.

  Returns:
    Median and 99th percentile of the seconds of a call.

  Raises:
    UserError: there are no calls.
  """
  if calls < 1:
    raise UserError(f'calls: expected 1 or more, found {calls}.')
  predictor.reset()
  pose = _figure(predictor.skeleton)
  predictor([pose] * predictor.past)
  seconds = []
  for _ in range(calls):
    start = clock.perf_counter()
    predictor(pose)
    seconds.append(clock.perf_counter() - start)
  predictor.reset()
  return Latency(
      float(np.median(seconds)), float(np.percentile(seconds, 99)), calls
  )


def _figure(skeleton: Skeleton) -> np.ndarray:
  """Return a pose `[J + 1, 3]` of plausible size; only its shape matters."""
  rng = np.random.default_rng(0)
  pose = np.cumsum(rng.normal(size=(len(skeleton.joints), 3)), axis=0)
  return pose * _TALL / base.reach(pose[None], skeleton.parents)


def _as_times(
    times: float | Sequence[float | None] | np.ndarray | None, count: int
) -> Iterable[float | None]:
  """Return as many times as there are frames, None where they are unknown."""
  if times is None:
    return [None] * count
  found = list(times) if isinstance(times, Sequence) else np.ravel(times)
  if len(found) != count:
    raise DataError(
        'stream', 'times', f'one for each of {count} frames',
        f'{len(found)}'
    )
  return [None if time is None else float(time) for time in found]
