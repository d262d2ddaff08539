"""Stretches of the sound files of a folder, to train a vocoder on.

Tracks are split whole: of every `folds` tracks in the order of their names,
one is for testing and the next for validation, so that no stretch of a
held-out track is heard in training. Training stretches start anywhere, longer
tracks more often.
"""

from collections.abc import Callable, Sequence
import pathlib
from typing import NamedTuple

import numpy as np

from diffax.data import audio
from diffax.data import files
from diffax.data import prepare
from diffax.data.base import Source
from diffax.errors import DataError
from diffax.errors import UserError
from diffax.typing import Batch

SPLITS = ('train', 'val', 'test')


class Track(NamedTuple):
  """Hold a sound and its name."""

  name: str
  wave: np.ndarray


def waves(
    *,
    seed: int,
    batch_size: int,
    root: files.PathLike | None = None,
    folder: str = 'music/tracks',
    rate: int = 16000,
    samples: int = 8192,
    folds: int = 7,
) -> Source:
  """Build a source of mono waves.

  Args:
    seed: of the batches.
    batch_size: B.
    root: folder of the data; see `prepare.data_root`.
    folder: of the sound files, below the root.
    rate: samples per second that they are read at.
    samples: N, of a stretch.
    folds: one track of so many is tested, another validated; 3 or more.

  Returns:
    `train(step)` gives `wave` `[B, N]` and `step` `[B]`; `segments` the
    stretches of a split one after the other, `wave` `[M, N]`, with `track`
    `[M]` and `start` `[M]` in seconds.

  Raises:
    UserError: a setting is wrong.
    DataError: the folder has too few sounds, or one cannot be used.
  """
  for name, value, least in (('samples', samples, 1), ('folds', folds, 3)):
    if value < least:
      raise UserError(
          f'config.data.{name}: expected {least} or more, found {value}.'
      )
  tracks = read_folder(prepare.data_root(root) / folder, rate, samples)
  splits = split(len(tracks), folds)
  if not all(splits.values()):
    raise DataError(
        prepare.data_root(root) / folder, 'files', f'{folds} or more tracks',
        f'{len(tracks)}'
    )
  chosen = [tracks[i] for i in splits['train']]

  def segments(name: str) -> Batch:
    if name not in SPLITS:
      raise UserError(f'split: expected one of {SPLITS}, found {name!r}.')
    return _stretches([(i, tracks[i]) for i in splits[name]], samples, rate)

  info = {
      'name': 'waves',
      'rate': rate,
      'samples': samples,
      'tracks': tuple(track.name for track in tracks),
      'epoch_size': sum(len(t.wave) // samples for t in chosen),
      'seconds': sum(len(t.wave) for t in chosen) / rate,
  }
  return Source(info, _batches(chosen, seed, batch_size, samples), segments)


def read_folder(
    folder: pathlib.Path, rate: int, samples: int
) -> list[Track]:
  """Read the sounds of a folder, in the order of their names.

  Raises:
    DataError: there is none, or one is silent, shorter than `samples` or not
      to be read.
  """
  paths = sorted(
      path for path in folder.glob('*')
      if path.suffix.lower() in audio.FORMATS
  )
  if not paths:
    raise DataError(
        folder, 'files', f'sounds that end in one of {sorted(audio.FORMATS)}',
        'none', 'Set $DIFFAX_DATA or data.root'
    )
  shortest = max(samples / rate, audio.SHORTEST)
  return [
      Track(path.stem, audio.read(path, rate, shortest=shortest))
      for path in paths
  ]


def split(tracks: int, folds: int) -> dict[str, list[int]]:
  """Return the numbers of the tracks of each split."""
  part = {0: 'test', 1: 'val'}
  found: dict[str, list[int]] = {name: [] for name in SPLITS}
  for i in range(tracks):
    found[part.get(i % folds, 'train')].append(i)
  return found


def _batches(
    tracks: Sequence[Track], seed: int, batch_size: int, samples: int
) -> Callable[[int], Batch]:
  """Return step -> batch, a function of (seed, step) alone."""
  starts = np.array([len(track.wave) - samples + 1 for track in tracks])
  ends = np.cumsum(starts)

  def train(step: int) -> Batch:
    rng = np.random.default_rng([seed, step])
    draws = rng.integers(ends[-1], size=batch_size)
    which = np.searchsorted(ends, draws, side='right')
    places = draws - (ends - starts)[which]
    cut = [tracks[i].wave[k:k + samples] for i, k in zip(which, places)]
    return {
        'wave': np.stack(cut),
        'step': np.full(batch_size, step, np.int32),
    }

  return train


def _stretches(
    tracks: Sequence[tuple[int, Track]], samples: int, rate: int
) -> Batch:
  parts, numbers, starts = [], [], []
  for number, track in tracks:
    count = len(track.wave) // samples
    parts.append(track.wave[:count * samples].reshape(count, samples))
    numbers.append(np.full(count, number, np.int32))
    starts.append(np.arange(count, dtype=np.float32) * samples / rate)
  return {
      'wave': np.concatenate(parts),
      'track': np.concatenate(numbers),
      'start': np.concatenate(starts).astype(np.float32),
  }
