"""Paired time series: windows of several modalities, split without leaks.

A reader yields tracks, stretches of synchronous recording by one subject. A
window never crosses tracks. Three ways to split:

  subjects       fold i of K holds out every K-th subject
  chronological  the last part of each track is held out, after a gap of one
                 window length, so no window shares a sample with another part
  random         windows are shuffled; overlapping ones fall on both sides and
                 leak, as most published protocols do

Channels are standardised with the mean and deviation of the training windows.
"""

from collections.abc import Mapping, Sequence
import dataclasses

import numpy as np

from diffax.data import transforms
from diffax.data.base import Source
from diffax.errors import DataError
from diffax.errors import UserError
from diffax.typing import Batch

SPLITS = ('subjects', 'chronological', 'random')


@dataclasses.dataclass(frozen=True)
class Track:
  """One stretch of synchronous recording.

  Attributes:
    name: unique in its data set.
    values: [T, C] float64 by modality, of one length T.
    subject: who or what was recorded.
    label: the task, a class.
    file: where it came from.
  """

  name: str
  values: Mapping[str, np.ndarray]
  subject: str
  label: str
  file: str


@dataclasses.dataclass(frozen=True)
class Facts:
  """What a data set says of itself.

  Attributes:
    name: of the data set.
    rate: samples per second (or per cycle, see its reader).
    channels: names by modality.
    units: unit of each channel by modality.
  """

  name: str
  rate: float
  channels: Mapping[str, Sequence[str]]
  units: Mapping[str, Sequence[str]]


@dataclasses.dataclass(frozen=True)
class Windows:
  """Windows of one part.

  Attributes:
    values: [N, L, C] float64 by modality, in the units of the files.
    label: [N] int32 index into the classes.
    subject: [N] int32 index into the subjects.
    track: [N] int32 index of the track.
    start: [N] int32 first sample in the track.
  """

  values: dict[str, np.ndarray]
  label: np.ndarray
  subject: np.ndarray
  track: np.ndarray
  start: np.ndarray


def source(
    tracks: Sequence[Track],
    facts: Facts,
    *,
    seed: int,
    batch_size: int,
    modalities: Sequence[str],
    length: int = 300,
    stride: int = 150,
    split: str = 'subjects',
    fold: int = 0,
    folds: int = 10,
    train_share: float = 0.8,
    split_seed: int = 0,
) -> Source:
  """Build a source of standardised windows.

  Args:
    tracks: of the data set.
    facts: of the data set.
    seed: of the order of training windows.
    batch_size: of the global batch.
    modalities: which to use, in this order (X, Y, ...).
    length: L, samples of a window.
    stride: samples between the starts of windows.
    split: one of `SPLITS`.
    fold: which fold is held out (`subjects`).
    folds: K; as many as subjects leaves one subject out at a time.
    train_share: of the samples (`chronological`) or windows (`random`).
    split_seed: of the shuffle (`random`); not the training seed, so that
      seeds compare on one test set.

  Returns:
    A source with splits `train` and `test`. Batches and segments hold each
    modality `[B, L, C]` float32, standardised; `segments` also `label`,
    `subject`, `track`, `start` `[N]`. `info` holds `name, rate, length,
    modalities {name: C}, channels, units, mean, std, covariance` (of the
    standardised training samples, [C, C]) by modality, `classes, subjects,
    held_out, epoch_size`.

  Raises:
    UserError: a setting is wrong.
    DataError: a track is shorter than a window, or has NaN.
  """
  _check_settings(facts, modalities, length, stride, split, fold, folds,
                  train_share)
  classes = tuple(sorted({t.label for t in tracks}, key=_natural))
  subjects = tuple(sorted({t.subject for t in tracks}, key=_natural))
  for track in tracks:
    _check_track(track, facts, modalities)
  parts = _split(tracks, classes, subjects, modalities, length, stride, split,
                 fold, folds, train_share, split_seed)
  mean, std = {}, {}
  for name in modalities:
    flat = parts['train'].values[name].reshape(-1, len(facts.channels[name]))
    mean[name], std[name] = flat.mean(0), flat.std(0)
    flatline = np.flatnonzero(std[name] <= 1e-12 * (1 + abs(mean[name])))
    if flatline.size:
      raise DataError(
          facts.name, f'{name} {facts.channels[name][flatline[0]]}',
          'a channel that varies', f'the constant {mean[name][flatline[0]]:g}'
      )
  scaled = {
      part: _scaled(windows, mean, std) for part, windows in parts.items()
  }
  size = len(parts['train'].label)
  train = {name: scaled['train'][name] for name in modalities}

  def batch(step: int) -> Batch:
    items = transforms.batch_items(seed, step, batch_size, size)
    return {name: values[items] for name, values in train.items()}

  def segments(part: str) -> Batch:
    if part not in scaled:
      raise UserError(
          f'split: expected one of {sorted(scaled)}, found {part!r}.'
      )
    return scaled[part]

  info = {
      'name': facts.name,
      'rate': facts.rate,
      'length': length,
      'modalities': {m: len(facts.channels[m]) for m in modalities},
      'channels': {m: tuple(facts.channels[m]) for m in modalities},
      'units': {m: tuple(facts.units[m]) for m in modalities},
      'mean': mean,
      'std': std,
      'covariance': {m: _covariance(train[m]) for m in modalities},
      'classes': classes,
      'subjects': subjects,
      'held_out': tuple(subjects[i] for i in np.unique(parts['test'].subject)),
      'split': split,
      'epoch_size': size,
  }
  return Source(info, batch, segments)


def window_starts(samples: int, length: int, stride: int) -> np.ndarray:
  """Return the first samples of all whole windows, [N]."""
  return np.arange(0, samples - length + 1, stride)


def windows(
    tracks: Sequence[Track],
    classes: Sequence[str],
    subjects: Sequence[str],
    modalities: Sequence[str],
    length: int,
    stride: int,
) -> Windows:
  """Cut every track into windows.

  Args:
    tracks: in the order of the windows.
    classes: names that labels index.
    subjects: names that subjects index.
    modalities: which to cut.
    length: L.
    stride: between starts.

  Returns:
    All windows, track by track.

  Raises:
    DataError: no track holds a window.
  """
  rows = [
      (i, start)
      for i, track in enumerate(tracks)
      for start in window_starts(_samples(track), length, stride)
  ]
  if not rows:
    longest = max(tracks, key=_samples, default=None)
    found = 'no track' if longest is None else (
        f'{_samples(longest)} samples in the longest, {longest.name}'
    )
    raise DataError(
        'series' if longest is None else longest.file, 'length',
        f'at least one window of {length} samples', found,
        'Shorten data.length'
    )
  return Windows(
      {
          name: np.stack(
              [tracks[i].values[name][s:s + length] for i, s in rows]
          )
          for name in modalities
      },
      np.array([classes.index(tracks[i].label) for i, _ in rows], np.int32),
      np.array([subjects.index(tracks[i].subject) for i, _ in rows], np.int32),
      np.array([i for i, _ in rows], np.int32),
      np.array([s for _, s in rows], np.int32),
  )


def _samples(track: Track) -> int:
  return len(next(iter(track.values.values())))


def _natural(name: str) -> tuple[int, float | str]:
  # Numbers by value, so that 10 comes after 9.
  try:
    return 0, float(name)
  except ValueError:
    return 1, name


def _split(
    tracks: Sequence[Track], classes: Sequence[str], subjects: Sequence[str],
    modalities: Sequence[str], length: int, stride: int, split: str,
    fold: int, folds: int, train_share: float, split_seed: int
) -> dict[str, Windows]:
  def cut(part: Sequence[Track]) -> Windows:
    return windows(part, classes, subjects, modalities, length, stride)

  if split == 'random':
    whole = cut(tracks)
    count = len(whole.label)
    order = np.random.default_rng(split_seed).permutation(count)
    border = round(train_share * count)
    _check_parts(border, count - border, split)
    return {
        'train': _take(whole, np.sort(order[:border])),
        'test': _take(whole, np.sort(order[border:])),
    }
  if split == 'chronological':
    train, test = zip(
        *(_halves(track, train_share, length) for track in tracks)
    )
    return {'train': cut(train), 'test': cut(test)}
  held = set(subjects[fold::folds])
  return {
      'train': cut([t for t in tracks if t.subject not in held]),
      'test': cut([t for t in tracks if t.subject in held]),
  }


def _halves(
    track: Track, train_share: float, gap: int
) -> tuple[Track, Track]:
  border = round(train_share * _samples(track))
  return tuple(
      dataclasses.replace(
          track, values={k: v[part] for k, v in track.values.items()}
      )
      for part in (slice(border), slice(border + gap, None))
  )


def _take(whole: Windows, rows: np.ndarray) -> Windows:
  return Windows(
      {name: values[rows] for name, values in whole.values.items()},
      whole.label[rows], whole.subject[rows], whole.track[rows],
      whole.start[rows],
  )


def _scaled(
    part: Windows, mean: Mapping[str, np.ndarray], std: Mapping[str, np.ndarray]
) -> Batch:
  return {
      **{
          name: ((values - mean[name]) / std[name]).astype(np.float32)
          for name, values in part.values.items()
      },
      'label': part.label,
      'subject': part.subject,
      'track': part.track,
      'start': part.start,
  }


def _covariance(values: np.ndarray) -> np.ndarray:
  flat = values.reshape(-1, values.shape[-1]).astype(np.float64)
  return np.atleast_2d(np.cov(flat.T, bias=True))


def _check_settings(
    facts: Facts, modalities: Sequence[str], length: int, stride: int,
    split: str, fold: int, folds: int, train_share: float
) -> None:
  for name in modalities:
    if name not in facts.channels:
      raise UserError(
          f'data.modalities: {facts.name} has {sorted(facts.channels)}, found '
          f'{name!r}.'
      )
  if not modalities or len(set(modalities)) != len(modalities):
    raise UserError(
        f'data.modalities: expected different names, found {modalities}.'
    )
  if split not in SPLITS:
    raise UserError(f'data.split: expected one of {SPLITS}, found {split!r}.')
  if length < 2 or stride < 1:
    raise UserError(
        'data.length, data.stride: expected at least 2 and 1, found '
        f'{length} and {stride}.'
    )
  if not 0 < train_share < 1:
    raise UserError(
        f'data.train_share: expected a share within (0, 1), found '
        f'{train_share:g}.'
    )
  if folds < 2 or not 0 <= fold < folds:
    raise UserError(
        'data.fold: expected a number below data.folds, which is at least 2, '
        f'found {fold} of {folds}.'
    )


def _check_parts(train: int, test: int, split: str) -> None:
  if not train or not test:
    raise UserError(
        f'data.train_share: expected windows in both parts of the {split} '
        f'split, found {train} and {test}.'
    )


def _check_track(
    track: Track, facts: Facts, modalities: Sequence[str]
) -> None:
  lengths = {name: len(track.values[name]) for name in modalities}
  if len(set(lengths.values())) > 1:
    raise DataError(
        track.file, f'{track.name}', 'modalities of one length',
        ', '.join(f'{k} {v}' for k, v in lengths.items()) + ' samples'
    )
  for name in modalities:
    bad = ~np.isfinite(track.values[name])
    if bad.any():
      row, channel = (int(i) for i in np.argwhere(bad)[0])
      raise DataError(
          track.file,
          f'{track.name}, {name} {facts.channels[name][channel]}, sample {row}',
          'a finite number', f'{track.values[name][row, channel]} '
          f'({int(bad.any(1).sum())} of {len(bad)} samples are affected)'
      )
