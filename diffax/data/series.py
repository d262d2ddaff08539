"""Paired time series: windows of several modalities, split without leaks.

A reader yields tracks, stretches of synchronous recording by one subject. A
window never crosses tracks. Three ways to split a track of T samples, with
windows of L and a share r for training:

  (1)  subjects       fold i of K holds out the subjects i, i + K, i + 2 K, ...
  (2)  chronological  trains on samples [0, b), b = round(r T), and tests on
                      [b + L, T); no window of one part shares a sample with
                      one of the other, nor follows it directly
  (3)  random         trains on round(r N) of all N windows, shuffled;
                      overlapping ones fall on both sides and leak, as in many
                      published protocols

Channels are standardised with the mean and deviation over all samples of the
training windows (a sample counts as often as windows hold it),

  (4)  z = (v - mean) / std,  v = mean + std z.
"""

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
import math
import re
from typing import Any, NamedTuple

import numpy as np

from diffax.data import transforms
from diffax.data.base import Source
from diffax.errors import DataError
from diffax.errors import UserError
from diffax.typing import Batch

SPLITS = ('subjects', 'chronological', 'random')
PARTS = ('train', 'test')


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


class Stretch(NamedTuple):
  """Samples of a track that belong to one part.

  Attributes:
    track: its index.
    begin: first sample.
    end: the sample after the last.
  """

  track: int
  begin: int
  end: int

  @property
  def samples(self) -> int:
    """Return how many there are."""
    return self.end - self.begin


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
    held_out, split, epoch_size`, and `short`: by part, the names of tracks
    too short there for a window.

  Raises:
    UserError: a setting is wrong, or a fold is empty.
    DataError: a part has no stretch as long as a window, a track has NaN or
      another shape than the facts say, or a channel is constant.
  """
  _check_settings(facts, batch_size, modalities, length, stride, split, fold,
                  folds, train_share)
  _check_tracks(tracks, facts, modalities)
  classes = _ordered(track.label for track in tracks)
  subjects = _ordered(track.subject for track in tracks)
  stretches = _stretches(tracks, subjects, length, split, fold, folds,
                         train_share)
  short = _short(tracks, stretches, length, split)

  def cut(part: str) -> Windows:
    return windows(tracks, classes, subjects, modalities, length, stride,
                   stretches[part])

  parts = (
      _shuffled(cut('train'), train_share, split_seed) if split == 'random'
      else {part: cut(part) for part in PARTS}
  )
  info = {
      'name': facts.name,
      'rate': facts.rate,
      'length': length,
      'modalities': {m: len(facts.channels[m]) for m in modalities},
      'channels': {m: tuple(facts.channels[m]) for m in modalities},
      'units': {m: tuple(facts.units[m]) for m in modalities},
      'classes': classes,
      'subjects': subjects,
      'held_out': tuple(subjects[i] for i in np.unique(parts['test'].subject)),
      'split': split,
      'short': short,
  }
  return _served(parts, info, seed, batch_size)


def standardise(
    values: np.ndarray, info: Mapping[str, Any], modality: str
) -> np.ndarray:
  """Apply Eq. 4 to values in the units of the files.

  Args:
    values: `[..., C]`.
    info: of the source.
    modality: which.

  Returns:
    `[..., C]` float64.

  Raises:
    UserError: the modality, or C, is not that of the source.
  """
  mean, std = _scale(values, info, modality)
  return (np.asarray(values, np.float64) - mean) / std


def restore(
    values: np.ndarray, info: Mapping[str, Any], modality: str
) -> np.ndarray:
  """Undo `standardise`.

  Args:
    values: `[..., C]`, standardised.
    info: of the source.
    modality: which.

  Returns:
    `[..., C]` float64, in `info['units'][modality]`.

  Raises:
    UserError: the modality, or C, is not that of the source.
  """
  mean, std = _scale(values, info, modality)
  return np.asarray(values, np.float64) * std + mean


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
    stretches: Sequence[Stretch] | None = None,
) -> Windows:
  """Cut stretches of tracks into windows.

  Args:
    tracks: that `track` of the windows indexes.
    classes: names that labels index.
    subjects: names that subjects index.
    modalities: which to cut.
    length: L.
    stride: between starts.
    stretches: what to cut, in the order of the windows; by default all tracks.

  Returns:
    All whole windows, stretch by stretch.

  Raises:
    DataError: no stretch holds a window.
  """
  if stretches is None:
    stretches = _whole(tracks)
  rows = [
      (index, int(begin + start))
      for index, begin, end in stretches
      for start in window_starts(end - begin, length, stride)
  ]
  if not rows:
    raise _too_short(tracks, stretches, length, 'length', 'Shorten the windows')
  return Windows(
      {
          name: np.stack([
              np.asarray(tracks[i].values[name][s:s + length], np.float64)
              for i, s in rows
          ])
          for name in modalities
      },
      np.array([classes.index(tracks[i].label) for i, _ in rows], np.int32),
      np.array([subjects.index(tracks[i].subject) for i, _ in rows], np.int32),
      np.array([i for i, _ in rows], np.int32),
      np.array([s for _, s in rows], np.int32),
  )


def _samples(track: Track) -> int:
  return len(next(iter(track.values.values())))


def _whole(tracks: Sequence[Track]) -> list[Stretch]:
  return [Stretch(i, 0, _samples(track)) for i, track in enumerate(tracks)]


def _ordered(names: Iterable[str]) -> tuple[str, ...]:
  return tuple(sorted(set(names), key=_natural))


def _natural(name: str) -> tuple[bool, float, list[float | str], str]:
  # Numbers by value, so that AB10 comes after AB9; the name itself comes last,
  # or the order of 1 and 01 would differ from process to process.
  try:
    value = float(name)
  except ValueError:
    value = math.nan
  if math.isfinite(value):
    return False, value, [], name
  pieces = re.split('([0-9]+)', name)
  return True, 0.0, [
      float(piece) if i % 2 else piece for i, piece in enumerate(pieces)
  ], name


def _stretches(
    tracks: Sequence[Track], subjects: Sequence[str], length: int, split: str,
    fold: int, folds: int, train_share: float
) -> dict[str, list[Stretch]]:
  """Return what each part may cut; for `random` both the same."""
  whole = _whole(tracks)
  if split == 'random':
    return {'train': whole, 'test': whole}
  if split == 'chronological':
    borders = [round(train_share * end) for _, _, end in whole]
    return {
        'train': [Stretch(i, 0, b) for (i, _, _), b in zip(whole, borders)],
        'test': [
            Stretch(i, min(b + length, end), end)
            for (i, _, end), b in zip(whole, borders)
        ],
    }
  held = set(subjects[fold::folds])
  if not held or len(held) == len(subjects):
    count = len(subjects)
    mend = (
        f'Take data.folds of 2 to {count}' if count > 1
        else "Take another data.split than 'subjects'"
    )
    raise UserError(
        f'data.fold: expected a fold that holds out some of the subjects, not '
        f'all, found {len(held)} of {count} in fold {fold} of {folds}. {mend}.'
    )
  return {
      'train': [s for s in whole if tracks[s.track].subject not in held],
      'test': [s for s in whole if tracks[s.track].subject in held],
  }


def _short(
    tracks: Sequence[Track], stretches: Mapping[str, Sequence[Stretch]],
    length: int, split: str
) -> dict[str, tuple[str, ...]]:
  """Return the tracks without a window by part; raise if that is all."""
  short = {}
  for part, found in stretches.items():
    names = [tracks[s.track].name for s in found if s.samples < length]
    if len(names) == len(found):
      other = {
          'chronological': ' or change data.train_share',
          'subjects': ' or hold out another data.fold',
      }.get(split, '')
      raise _too_short(
          tracks, found, length, f'{part} part of the {split} split',
          f'Shorten data.length{other}'
      )
    short[part] = tuple(names)
  return short


def _too_short(
    tracks: Sequence[Track], stretches: Sequence[Stretch], length: int,
    field: str, mend: str
) -> DataError:
  longest = max(stretches, key=lambda s: s.samples, default=None)
  if longest is None:
    return DataError('series', field, 'a track', 'none')
  track = tracks[longest.track]
  return DataError(
      track.file, field, f'a stretch of at least {length} samples',
      f'{longest.samples} in the longest, {track.name} from sample '
      f'{longest.begin}', mend
  )


def _shuffled(
    whole: Windows, train_share: float, seed: int
) -> dict[str, Windows]:
  count = len(whole.label)
  border = round(train_share * count)
  if not 0 < border < count:
    raise UserError(
        'data.train_share: expected windows in both parts of the random '
        f'split, found {border} and {count - border}.'
    )
  order = np.random.default_rng(seed).permutation(count)
  rows = {'train': order[:border], 'test': order[border:]}
  return {part: _take(whole, np.sort(found)) for part, found in rows.items()}


def _take(whole: Windows, rows: np.ndarray) -> Windows:
  return Windows(
      {name: values[rows] for name, values in whole.values.items()},
      whole.label[rows], whole.subject[rows], whole.track[rows],
      whole.start[rows],
  )


def _served(
    parts: Mapping[str, Windows], info: Mapping[str, Any], seed: int,
    batch_size: int
) -> Source:
  """Standardise the parts and answer batches and segments from them."""
  scale: dict[str, dict[str, np.ndarray]] = {'mean': {}, 'std': {}}
  for name, values in parts['train'].values.items():
    scale['mean'][name], scale['std'][name] = _moments(
        values, info['name'], name, info['channels'][name]
    )
  scaled = {part: _scaled(found, scale) for part, found in parts.items()}
  train = {name: scaled['train'][name] for name in info['modalities']}
  size = len(parts['train'].label)

  def batch(step: int) -> Batch:
    items = transforms.batch_items(seed, step, batch_size, size)
    return {name: values[items] for name, values in train.items()}

  def segments(part: str) -> Batch:
    if part not in scaled:
      raise UserError(
          f'split: expected one of {sorted(scaled)}, found {part!r}.'
      )
    return dict(scaled[part])

  covariance = {name: _covariance(values) for name, values in train.items()}
  whole = {**info, **scale, 'covariance': covariance, 'epoch_size': size}
  return Source(whole, batch, segments)


def _moments(
    values: np.ndarray, data: str, modality: str, channels: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
  """Return mean and deviation [C] of windows [N, L, C], unless one is 0."""
  flat = values.reshape(-1, values.shape[-1])
  mean, std = flat.mean(0), flat.std(0)
  # Rounding leaves some 1e-16 of the size to the deviation of a constant.
  constant = np.flatnonzero(std <= 1e-12 * np.abs(flat).max(0))
  if constant.size:
    channel = constant[0]
    raise DataError(
        data, f'{modality} {channels[channel]}',
        'a channel that varies in the training windows',
        f'the constant {mean[channel]:g}'
    )
  return mean, std


def _scaled(
    part: Windows, scale: Mapping[str, Mapping[str, np.ndarray]]
) -> Batch:
  return {
      **{
          name: standardise(values, scale, name).astype(np.float32)
          for name, values in part.values.items()
      },
      'label': part.label,
      'subject': part.subject,
      'track': part.track,
      'start': part.start,
  }


def _scale(
    values: np.ndarray, info: Mapping[str, Any], modality: str
) -> tuple[np.ndarray, np.ndarray]:
  if modality not in info['mean']:
    raise UserError(
        f"modality: expected one of {sorted(info['mean'])}, found "
        f'{modality!r}.'
    )
  mean, std = info['mean'][modality], info['std'][modality]
  if np.shape(values)[-1:] != mean.shape:
    raise UserError(
        f'{modality}: expected values [..., {len(mean)}], found shape '
        f'{list(np.shape(values))}.'
    )
  return mean, std


def _covariance(values: np.ndarray) -> np.ndarray:
  flat = values.reshape(-1, values.shape[-1]).astype(np.float64)
  return np.atleast_2d(np.cov(flat.T, bias=True))


def _check_settings(
    facts: Facts, batch_size: int, modalities: Sequence[str], length: int,
    stride: int, split: str, fold: int, folds: int, train_share: float
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
  if batch_size < 1:
    raise UserError(f'batch_size: expected 1 or more, found {batch_size}.')
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


def _check_tracks(
    tracks: Sequence[Track], facts: Facts, modalities: Sequence[str]
) -> None:
  if not tracks:
    raise DataError(facts.name, 'tracks', 'at least one', 'none')
  for track in tracks:
    for name in modalities:
      _check_shape(track, name, facts.channels[name])
    lengths = {name: len(values) for name, values in track.values.items()}
    if len(set(lengths.values())) > 1:
      raise DataError(
          track.file, f'{track.name}', 'modalities of one length',
          ', '.join(f'{k} {v}' for k, v in lengths.items()) + ' samples'
      )
    for name in modalities:
      _check_finite(track, name, facts.channels[name])


def _check_shape(
    track: Track, modality: str, channels: Sequence[str]
) -> None:
  field = f'{track.name}, {modality}'
  expected = f'values of shape [T, {len(channels)}]'
  if modality not in track.values:
    raise DataError(track.file, field, expected, f'only {list(track.values)}')
  shape = list(np.shape(track.values[modality]))
  if len(shape) != 2 or shape[1] != len(channels):
    raise DataError(track.file, field, expected, f'{shape}')


def _check_finite(
    track: Track, modality: str, channels: Sequence[str]
) -> None:
  values = track.values[modality]
  bad = ~np.isfinite(values)
  if bad.any():
    row, channel = (int(i) for i in np.argwhere(bad)[0])
    raise DataError(
        track.file,
        f'{track.name}, {modality} {channels[channel]}, sample {row}',
        'a finite number', f'{values[row, channel]} '
        f'({int(bad.any(1).sum())} of {len(bad)} samples are affected)'
    )
