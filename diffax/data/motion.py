"""Forecasting data from a prepared store: training batches, test segments."""

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
import inspect
import pathlib
import sys
from typing import Any

import grain
import numpy as np

from diffax.body import skeletons
from diffax.data import folders
from diffax.data import store as store_lib
from diffax.data import transforms
from diffax.data.base import Source
from diffax.errors import DataError
from diffax.errors import UserError
from diffax.typing import Batch


@dataclasses.dataclass(frozen=True)
class _Split:
  """The clips of a split in a row, root-centred and at the wanted rate."""

  poses: np.ndarray     # [sum of L, J, 3] float32, metres
  offsets: np.ndarray   # [C]
  lengths: np.ndarray   # [C]
  labels: np.ndarray    # [C] int32
  names: tuple[str, ...]


def motion(
    name: str,
    *,
    seed: int,
    batch_size: int,
    root: str | None = None,
    store: str | None = None,
    fps: float = 60.0,
    past_seconds: float = 0.5,
    future_seconds: float = 2.0,
    skeleton: str | None = None,
    train_stride: int = 60,
    train_jitter: int = 30,
    augment: bool = True,
    swap_sides: bool = False,
    curriculum: Mapping[str, Any] | None = None,
    test_first_seconds: float = 3.0,
    test_stride_seconds: float = 2.0,
    test_future_seconds: float | None = None,
    test_left_seconds: float | None = None,
    test_noise: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Source:
  """Build the forecasting source of a data set, preparing it when absent.

  Args:
    name: of the data set, a key of `diffax.data.SOURCES`.
    seed: of the order, the jitter and the augmentation.
    batch_size: of the global batch.
    root: folder of the raw files; by default `$DIFFAX_DATA`.
    store: folder of the prepared store; by default `store.default_folder`.
    fps: frames per second; the store's, or that divided by a whole number.
    past_seconds: observed time.
    future_seconds: predicted time.
    skeleton: name that the store's skeleton must have, if given.
    train_stride: start frames per training item and epoch.
    train_jitter: largest shift of an item's start, in frames.
    augment: flip x, flip y, each with probability 0.5, and turn about z.
    swap_sides: exchange left and right joints where one axis is flipped, so
      that the body stays a human one; the released code does not.
    curriculum: keyword arguments of `transforms.Curriculum`; None trains on
      whole futures.
    test_first_seconds: into each clip at which its first future starts; 3 is
      frame 180 at 60 fps, as published.
    test_stride_seconds: between futures of the segment list.
    test_future_seconds: predicted time of segments, where it is longer than
      that of training (`future_seconds`, the default).
    test_left_seconds: time that a clip must have left after the past of a
      segment; that of its future if None.
    test_noise: keyword arguments of `transforms.Disturbance`, by which the
      pasts of segments are disturbed, but for those of the training split;
      None leaves all as they are.
    options: further settings of `prepare`, used when the store is absent.

  Returns:
    The source. Its batches hold `past` [B, P, J, 3] and `future` [B, F, J, 3]
    in metres, root-centred; with a curriculum the futures are cut to the
    smallest bucket above `horizon` [B]. With `test_noise`, segments hold
    `clean_past` beside the disturbed `past`.

  Raises:
    UserError: if a setting does not fit the data.
    DataError: if the store is broken or of another skeleton.
  """
  folder = _find(name, root, store, fps, options)
  positions, manifest = store_lib.load(folder)
  body = store_lib.skeleton_of(manifest)
  if skeleton is not None and skeleton != body.name:
    raise DataError(
        folder, 'skeleton', repr(skeleton), repr(body.name),
        'Change data.skeleton or name another store'
    )
  step = transforms.keep_every(manifest['fps'], fps)
  splits = {
      split: _split(positions, manifest, split, step)
      for split in store_lib.SPLITS
  }
  fps = manifest['fps'] / step
  past, future = round(past_seconds * fps), round(future_seconds * fps)
  if past < 1 or future < 1:
    raise UserError(
        'data.past_seconds, data.future_seconds: expected at least one frame '
        f'each at {fps:g} fps, found {past} and {future}.'
    )
  test_future = _test_future(test_future_seconds, fps, future)
  noise = _settings(transforms.Disturbance, test_noise, 'test_noise')
  windows = _Windows(
      name, seed, batch_size, splits['train'], past, future, train_stride,
      train_jitter, augment, _mirror(body, swap_sides), _curriculum(curriculum)
  )
  dataset = grain.MapDataset.source(windows)
  info = {
      'name': name,
      'skeleton': body,
      'fps': fps,
      'past': past,
      'future': future,
      'test_future': test_future,
      'classes': tuple(manifest['labels']),
      'epoch_size': windows.items,
      'unit': 'm',
      'clips': {split: rows.names for split, rows in splits.items()},
      'store': str(folder),
      'sha256': manifest['sha256'],
  }
  left = 0 if test_left_seconds is None else round(test_left_seconds * fps)
  protocol = {
      'left': max(left, test_future),
      'past': past,
      'future': test_future,
      'first': round(test_first_seconds * fps),
      'stride': round(test_stride_seconds * fps),
  }

  def segments(split: str) -> Batch:
    """Cut the segment list of a split; see `Source`."""
    if split not in splits:
      raise UserError(f'split: expected {sorted(splits)}, found {split!r}.')
    cut = _segments(splits[split], split, folder, **protocol)
    # Rivals continue training windows, which nothing has disturbed.
    if noise is None or split == 'train':
      return cut
    return {**cut, 'past': noise(cut['past']), 'clean_past': cut['past']}

  def train(step: int) -> Batch:
    if not windows.items:
      raise UserError(
          f'data.name: {name!r} has no training split; it can be evaluated, as '
          'config.eval.data, by a model that was trained on other data.'
      )
    return dataset[step]

  return Source(info, train, segments)


class _Windows:
  """Training batches by step: a random-access source for grain."""

  def __init__(
      self, name: str, seed: int, batch_size: int, split: _Split, past: int,
      future: int, stride: int, jitter: int, augment: bool,
      mirror: np.ndarray | None, curriculum: transforms.Curriculum | None
  ):
    self.name, self.seed, self.batch_size = name, seed, batch_size
    self.past, self.future = past, future
    self.stride, self.jitter, self.augment = stride, jitter, augment
    self.mirror, self.curriculum = mirror, curriculum
    self.poses = split.poses
    self.starts = transforms.window_starts(
        split.offsets, split.lengths, past + future
    )
    if batch_size < 1 or stride < 1 or jitter < 0:
      raise UserError(
          'batch_size >= 1, data.train_stride >= 1, data.train_jitter >= 0: '
          f'found {batch_size}, {stride}, {jitter}.'
      )
    self.items = transforms.training_items(len(self.starts), stride)
    if self.items < 1 and split.lengths.size:
      raise UserError(
          f'data.train_stride: expected at most {len(self.starts)}, the start '
          f'frames of windows of {past + future} frames in the training split '
          f'of {name!r}, found {stride}.'
      )
    self.buckets = curriculum.lengths(future) if curriculum else (future,)

  def __len__(self) -> int:
    return sys.maxsize

  def __repr__(self) -> str:
    # Grain refuses to restore a data position under another name, and the
    # default one holds a memory address.
    return (
        f'diffax.motion(name={self.name!r}, seed={self.seed}, '
        f'batch_size={self.batch_size}, items={self.items}, past={self.past}, '
        f'future={self.future})'
    )

  def __getitem__(self, step: int) -> Batch:
    """Return the batch of a step, a function of (seed, step) alone."""
    rng = np.random.default_rng([self.seed, step, 0x5E])
    horizon = self.future
    if self.curriculum:
      horizon = self.curriculum.draw(rng, step, self.future)
    length = self.past + min(b for b in self.buckets if b >= horizon)
    items = transforms.batch_items(
        self.seed, step, self.batch_size, self.items
    )
    shift = rng.integers(-self.jitter, self.jitter + 1, self.batch_size)
    chosen = transforms.training_segment(
        items, shift, stride=self.stride, reach=self.jitter,
        segments=len(self.starts)
    )
    batch = _cut(self.poses, self.starts[chosen], length)
    if self.augment:
      matrix, mirrored = transforms.augmentation(rng, self.batch_size)
      batch = transforms.augment(batch, matrix)
      if self.mirror is not None:
        batch[mirrored] = batch[mirrored][:, :, self.mirror]
    parts = {'past': batch[:, :self.past], 'future': batch[:, self.past:]}
    if self.curriculum:
      parts['horizon'] = np.full(self.batch_size, horizon, np.int32)
    return parts


def _find(
    name: str, root: str | None, store: str | None, fps: float,
    options: Mapping[str, Any] | None
) -> pathlib.Path:
  if store:
    folder = pathlib.Path(store).expanduser()
  else:
    own = root if name == 'bvh' else None
    folder = store_lib.default_folder(name, fps, options, own)
  if not (folder / folders.MANIFEST).is_file():
    # Readers are heavy, and a prepared store does not need them.
    from diffax.data import prepare
    prepare.prepare(name, root or None, folder, fps=fps, **(options or {}))
  return folder


def _split(
    positions: np.ndarray, manifest: Mapping[str, Any], split: str, step: int
) -> _Split:
  rows = [row for row in manifest['clips'] if row['split'] == split]
  classes = list(manifest['labels'])
  clips = [
      transforms.root_centre(
          positions[row['offset']:row['offset'] + row['frames']:step]
      )
      for row in rows
  ]
  lengths = np.array([len(clip) for clip in clips], np.int64)
  joints = positions.shape[1] - 1
  return _Split(
      np.concatenate([np.zeros((0, joints, 3), np.float32), *clips]),
      np.cumsum(lengths) - lengths,
      lengths,
      np.array([classes.index(row['label']) for row in rows], np.int32),
      tuple(row['name'] for row in rows),
  )


def _segments(
    rows: _Split, split: str, folder: pathlib.Path, *, past: int, future: int,
    left: int, first: int, stride: int
) -> Batch:
  starts, clip = transforms.segment_starts(
      rows.offsets, rows.lengths, past=past, future=left, first=first,
      stride=stride
  )
  if not starts.size:
    raise DataError(
        folder, f'split {split!r}', f'a clip of at least {first + left} '
        'frames (data.test_first_seconds and the future)',
        f'{rows.lengths.max(initial=0)} frames in the longest of '
        f'{len(rows.lengths)}'
    )
  cut = _cut(rows.poses, starts, past + future)
  return {
      'past': cut[:, :past],
      'future': cut[:, past:],
      'label': rows.labels[clip],
      'clip': clip.astype(np.int32),
      'start': (starts - rows.offsets[clip]).astype(np.int32),
  }


def _cut(poses: np.ndarray, starts: np.ndarray, length: int) -> np.ndarray:
  # A slice per window copies whole rows; an index array of frames is slower.
  return np.stack([poses[start:start + length] for start in starts])


def _mirror(
    body: skeletons.Skeleton, swap_sides: bool
) -> np.ndarray | None:
  return transforms.mirror_joints(body.nodes) if swap_sides else None


def _test_future(seconds: float | None, fps: float, future: int) -> int:
  frames = future if seconds is None else round(seconds * fps)
  if frames < future:
    raise UserError(
        'data.test_future_seconds: expected at least data.future_seconds, '
        f'{future} frames, found {frames}.'
    )
  return frames


def _curriculum(
    settings: Mapping[str, Any] | None
) -> transforms.Curriculum | None:
  if settings is not None:
    settings = {**settings, 'buckets': tuple(settings.get('buckets', ()))}
  return _settings(transforms.Curriculum, settings, 'curriculum')


def _settings(
    kind: Callable[..., Any], settings: Mapping[str, Any] | None, name: str
) -> Any:
  """Build the dataclass `kind`, or None; refuse fields that it lacks."""
  if settings is None:
    return None
  known = sorted(inspect.signature(kind).parameters)
  unknown = sorted(set(settings) - set(known))
  if unknown:
    raise UserError(f'data.{name}: unknown {unknown}; it has {known}.')
  return kind(**settings)
