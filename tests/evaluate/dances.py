"""Windows of a toy dance: a figure that swings a hand with every click."""

import jax
import numpy as np

from diffax import signal
from diffax.body import beats
from diffax.body import poses as poses_lib
from diffax.data.base import Source

RATE, HOP, FPS, FRAMES = 16000, 256, 62.5, 248
REST = np.array([
    [0, 0.4], [0, 0], [-0.3, 0], [-0.4, -0.4], [-0.4, -0.8], [0.3, 0],
    [0.4, -0.4], [0.4, -0.8], [-0.2, -1], [-0.2, -1.6], [-0.2, -2.2],
    [0.2, -1], [0.2, -1.6], [0.2, -2.2],
])
_LOG_MEL = jax.jit(signal.log_mel)


def window(rng, style, frames=FRAMES):
  """Return a click track and a movement that share irregular beats."""
  gaps = rng.choice([0.4, 0.6, 0.8], 20)
  times = rng.uniform(0.1, 0.4) + np.cumsum(gaps)
  times = times[times < frames / FPS - 0.2]
  wave = np.zeros(frames * HOP)
  for time in times:
    start = int(time * RATE)
    tail = np.arange(min(1600, len(wave) - start)) / RATE
    tone = np.sin(2 * np.pi * (400 + 300 * style) * tail)
    wave[start:start + len(tail)] += 0.7 * tone * np.exp(-tail / 0.03)
  clock = np.arange(frames) / FPS
  since = clock[:, None] - times[None]
  x = np.maximum(since, 0) / 0.03
  ramps = np.where(since > 0, 1 - (1 + x) * np.exp(-x), 0)
  signs = (-1.0) ** np.arange(len(times))
  poses = np.tile(REST, (frames, 1, 1))
  hand, elbow = (
      poses_lib.JOINTS.index(f'{"lr"[style]}_{name}')
      for name in ('wrist', 'elbow')
  )
  # Bones keep their lengths: the forearm turns.
  angle = 0.7 + 1.4 * (ramps * signs[None]).sum(1)
  poses[:, hand] = poses[:, elbow] + 0.4 * np.stack(
      [np.sin(angle), -np.cos(angle)], 1
  )
  return wave.astype(np.float32), poses, times


def windows(count, seed, frames=FRAMES):
  """Return a split: two styles and tracks of two windows each."""
  rng = np.random.default_rng(seed)
  style = np.arange(count, dtype=np.int32) % 2
  made = [window(rng, s, frames) for s in style]
  wave = np.stack([x[0] for x in made])
  poses, centre, scale = poses_lib.normalise(np.stack([x[1] for x in made]))
  return {
      'music': np.stack([np.asarray(_LOG_MEL(w)) for w in wave]),
      'motion': poses.reshape(count, frames, -1).astype(np.float32),
      'amplitude': beats.amplitude(beats.directogram(poses)).astype(
          np.float32),
      'style': style, 'track': np.arange(count, dtype=np.int32) // 2,
      'subject': style, 'wave': wave, 'start': np.zeros(count),
      'scale': scale, 'centre': centre,
  }


PARTS = {'train': windows(8, 0), 'val': windows(4, 1), 'test': windows(6, 2)}
INFO = {
    'name': 'toy dance', 'rate': RATE, 'hop': HOP, 'fps': FPS,
    'frames': FRAMES, 'eval_frames': FRAMES,
    'music': {'kind': 'mel', 'dims': 80},
    'motion': {
        'kind': 'positions', 'dims': 28, 'joints': poses_lib.JOINTS,
        'bones': tuple(poses_lib.BONES),
        'lengths': poses_lib.bone_lengths(
            poses_lib.normalise(REST[None])[0]).mean(0),
    },
    'styles': ('left', 'right'), 'subjects': ('A', 'B'),
    'tracks': ('one', 'two', 'three', 'four'), 'epoch_size': 8,
}


def source(parts=None, **facts):
  parts = PARTS if parts is None else parts
  return Source(INFO | facts, lambda step: {}, lambda split: parts[split])


class Copier:
  """Make what belongs to the given test window, or to another one."""

  def __init__(self, shift=0, parts=None):
    self.truth = (PARTS if parts is None else parts)['test']
    self.shift, self.seen = shift, []

  def __call__(self, batch, key):
    self.seen.append({name: x.shape for name, x in batch.items()})
    (name, given), = batch.items()
    if name == 'frames':
      rows = np.arange(len(given)) % len(self.truth['music'])
      return {
          part: _length(self.truth[part][rows + 0 * self.shift], given.shape[1])
          for part in ('music', 'motion')
      }
    other = {'music': 'motion', 'motion': 'music'}[name]
    frames = min(given.shape[1], FRAMES)
    rows = [
        int(np.abs(self.truth[name][:, :frames] - x[None, :frames]).sum(
            (1, 2)).argmin())
        for x in given
    ]
    rows = (np.array(rows) + self.shift) % len(self.truth[name])
    return {other: _length(self.truth[other][rows], given.shape[1])}


def _length(x, frames):
  again = -(-frames // x.shape[1])
  return np.tile(x, (1, again, 1))[:, :frames]
