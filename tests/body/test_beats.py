"""Directograms against loops, amplitudes, and beats of figures that keep time.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.body import beats
from diffax.body import poses
from diffax.errors import UserError

RNG = np.random.default_rng(0)
MOVES = RNG.normal(size=(30, 14, 2)).cumsum(0)


def _inside(angle: float, number: int, bins: int, window: str) -> bool:
  """Say whether an angle lies in a bin, without remainders."""
  if window == 'loris':
    degrees = math.degrees(angle)
    degrees += 180 if degrees < 0 else 0
    return int(degrees if degrees < 180 else 0) % bins == number
  centre = -math.pi + 2 * math.pi * number / bins
  away = min(abs(angle - centre + turn) for turn in (-2 * math.pi, 0.0,
                                                     2 * math.pi))
  return away <= {'exact': 1, 'paper': 2}[window] * math.pi / bins


def _oracle(clip: np.ndarray, bins: int, window: str) -> np.ndarray:
  """Sum up Eq. 1 and 2 joint by joint."""
  out = np.zeros((len(clip), bins))
  for frame in range(1, len(clip)):
    for x, y in clip[frame] - clip[frame - 1]:
      for number in range(bins):
        if _inside(math.atan2(y, x), number, bins, window):
          out[frame, number] += math.hypot(x, y)
  out[0] = out[1]
  return out


@pytest.mark.parametrize('window', beats.WINDOWS)
@pytest.mark.parametrize('bins', [10, 12])
def test_directogram_equals_loops(window, bins):
  np.testing.assert_allclose(
      beats.directogram(MOVES, bins, window), _oracle(MOVES, bins, window),
      atol=1e-12
  )


def test_each_joint_is_in_one_bin_and_in_two_or_three_of_the_paper():
  far = np.linalg.norm(np.diff(MOVES, axis=0), axis=-1).sum(-1)
  for window, times in (('exact', 1), ('paper', 2), ('loris', 1)):
    found = beats.directogram(MOVES, 12, window)[1:].sum(-1)
    np.testing.assert_allclose(found, times * far)
  # Along an axis lies a centre, and the neighbours are just reached.
  slide = np.zeros((3, 1, 2))
  slide[:, 0, 1] = [0, 1, 2]
  counts = [(beats.directogram(slide, 12, w)[1] > 0).sum()
            for w in ('exact', 'paper')]
  assert counts == [1, 3]


@pytest.mark.parametrize('window', ['exact', 'paper'])
def test_angles_are_wrapped(window):
  # The first bin is centred on the half turn, which is both -pi and pi.
  for y in (1e-3, -1e-3):
    slide = np.zeros((2, 1, 2))
    slide[1, 0] = [-1, y]
    found = beats.directogram(slide, 12, window)[1]
    near = {'exact': [0], 'paper': [0, 1 if y < 0 else 11]}[window]
    assert np.flatnonzero(found).tolist() == sorted(near)


def test_turning_the_figure_by_a_bin_shifts_the_directogram():
  sin, cos = np.sin(np.pi / 6), np.cos(np.pi / 6)
  turned = MOVES @ np.array([[cos, sin], [-sin, cos]])
  for window in ('exact', 'paper'):
    np.testing.assert_allclose(
        beats.directogram(turned, 12, window),
        np.roll(beats.directogram(MOVES, 12, window), 1, -1), atol=1e-9
    )


@pytest.mark.parametrize('flux, sign', [('rise', 1), ('fall', -1)])
def test_amplitude_equals_loops(flux, sign):
  image = _oracle(MOVES, 12, 'exact')
  flow = [0.0] + [
      sum(max(0.0, sign * (b - a)) for a, b in zip(image[r - 1], image[r]))
      for r in range(1, len(image))
  ]
  found = beats.amplitude(image, flux)
  np.testing.assert_allclose(found, np.array(flow) / max(flow))
  assert found.max() == 1 and found.min() >= 0
  # Neither unit nor rate counts, and each clip has its own maximum.
  pair = beats.amplitude(np.stack([image, 7 * image]), flux)
  np.testing.assert_allclose(pair, [found, found])


def test_who_stands_still_or_slides_has_no_amplitude():
  still = np.zeros((8, 14, 2))
  slide = still + np.arange(8)[:, None, None] * 0.5
  for clip in (still, slide):
    found = beats.amplitude(beats.directogram(clip))
    np.testing.assert_array_equal(found, np.zeros(8))
    assert not len(beats.kinematic_beats(clip, 25.0))


def test_latents_have_the_larger_of_two_frames():
  values = np.array([[0.1, 0.4, 0.3, 0.2], [0.0, 0.0, 1.0, 0.5]])
  np.testing.assert_array_equal(
      beats.latent_amplitude(values), [[0.4, 0.3], [0, 1]]
  )
  with pytest.raises(UserError, match='multiple of 2 frames, found 3'):
    beats.latent_amplitude(values[:, :3])


@pytest.mark.parametrize('window', beats.WINDOWS)
def test_batches_compile_and_agree_with_numpy(window):
  batch = RNG.normal(size=(2, 16, 14, 2)).cumsum(1).astype(np.float32)

  def run(x):
    return beats.latent_amplitude(
        beats.amplitude(beats.directogram(x, 12, window))
    )

  found, expected = jax.jit(run)(batch), run(batch)
  assert isinstance(found, jax.Array) and found.dtype == jnp.float32
  assert isinstance(expected, np.ndarray) and expected.dtype == np.float32
  np.testing.assert_allclose(found, expected, atol=1e-6)
  np.testing.assert_allclose(expected[1], run(batch[1]), atol=1e-7)


def test_peaks_of_loris_as_its_windows_say():
  # Bumps about as high as the threshold asks for.
  values = 1 + 0.12 * RNG.normal(size=80)
  # Runs of equal values: the last counts.
  values[20:23] = 1.5
  found = beats.loris_peaks(values)
  raw = []
  for r in range(80):
    ahead = list(values[r:r + 6])
    high = max(ahead) if len(ahead) == 6 else 0
    mean = sum(values[r:r + 4]) / 4 if r + 4 <= 80 else 0
    raw.append(values[r] == high and high - mean > 0.1 * np.mean(values))
  expected = [r for r in range(79) if raw[r] and not raw[r + 1]]
  assert found.tolist() == expected and 22 in expected and 20 not in expected


STAND = np.array([
    [0, 1.3], [0, 1], [-0.3, 1], [-0.45, 0.5], [-0.5, 0], [0.3, 1],
    [0.45, 0.5], [0.5, 0], [-0.2, 0], [-0.2, -0.7], [-0.2, -1.4], [0.2, 0],
    [0.2, -0.7], [0.2, -1.4],
])


def _dance(
    rng: np.random.Generator, kind: str, fps: float
) -> tuple[np.ndarray, np.ndarray]:
  """Return 10 s of a figure in another pose on each beat, and the beats.

  It leaves a pose on the beat (`start`), or reaches the next on it (`hit`).
  """
  period = 60 / rng.uniform(80, 140)
  first = rng.uniform(0.3, period)
  phase = (np.arange(round(10 * fps)) / fps - first) / period + 1
  number, part = np.floor(phase).astype(int), phase % 1
  part = np.clip(2 * part - (kind == 'hit'), 0, 1)
  weight = (0.5 - 0.5 * np.cos(np.pi * part))[:, None]
  spread = np.array([.1, .1, .6, .9, .6, .9, .05, .3, .3, .05, .3, .3, .1])
  held = rng.normal(size=(30, 13)) * spread
  angles = held[number] * (1 - weight) + held[number + 1] * weight
  x, y = np.moveaxis(poses.directions(STAND), -1, 0)
  sin, cos = np.sin(angles), np.cos(angles)
  vectors = np.stack([cos * x - sin * y, sin * x + cos * y], -1)
  clip = poses.from_directions(vectors, poses.bone_lengths(STAND))
  return clip + 0.003 * rng.normal(size=clip.shape), np.arange(
      first, 10, period
  )


def _found(made: np.ndarray, true: np.ndarray) -> tuple[float, float]:
  """Return which parts of the beats are within 0.1 s of one another."""
  near = np.abs(np.subtract.outer(made, true)) <= 0.1
  return near.any(1).mean(), near.any(0).mean()


@pytest.mark.parametrize('kind, flux', [('start', 'rise'), ('hit', 'fall')])
@pytest.mark.parametrize('fps', [30.0, 60.0])
def test_beats_of_a_figure_in_time_are_found(kind, flux, fps):
  rng = np.random.default_rng(1)
  scores, raw = [], []
  for _ in range(20):
    clip, true = _dance(rng, kind, fps)
    clip = poses.resample(clip, fps)
    made = beats.kinematic_beats(clip, 62.5, flux=flux)
    scores.append(_found(made, true))
    raw.append(len(beats.kinematic_beats(
        clip, 62.5, flux=flux, smooth=0, apart=0.1
    )) / 10)
  precise, complete = np.mean(scores, 0)
  assert precise > 0.8 and complete > 0.95
  # Why the amplitude is smoothed first.
  assert np.mean(raw) > 4.5


def test_beats_keep_their_distance_and_height():
  clip, _ = _dance(np.random.default_rng(2), 'start', 62.5)
  for apart in (0.2, 0.5):
    found = beats.kinematic_beats(clip, 62.5, apart=apart)
    assert np.diff(found).min() >= apart - 1 / 62.5
  assert len(beats.kinematic_beats(clip, 62.5, height=0.9)) < len(found)


def test_wrong_settings_are_refused():
  for options, words in [
      (dict(window='wide'), "'loris'.*found 'wide'"),
      (dict(flux='up'), "'fall'.*found 'up'"),
  ]:
    with pytest.raises(UserError, match=words):
      beats.kinematic_beats(MOVES, 25.0, **options)
  for shape in [(14, 2), (1, 14, 2), (5, 14, 3)]:
    with pytest.raises(UserError, match='2 or more frames'):
      beats.directogram(np.zeros(shape))
