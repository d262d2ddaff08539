"""Frame rates and glitches."""

import numpy as np
import pytest

from diffax.data import clips


def _wave(fps: float, seconds: float = 3.0) -> np.ndarray:
  time = np.arange(int(seconds * fps) + 1) / fps
  phase = np.arange(6).reshape(2, 3)
  return np.sin(2 * np.pi * 0.8 * time[:, None, None] + phase)


@pytest.mark.parametrize('fps', [120.0, 119.88, 60.0, 180.0])
def test_whole_multiples_keep_frames_untouched(fps: float) -> None:
  wave = _wave(fps)
  got, _ = clips.resample(wave, fps, 60.0)
  np.testing.assert_array_equal(got, wave[::round(fps / 60)])


@pytest.mark.parametrize('fps', [30.0, 25.0, 50.0, 100.0, 90.0])
def test_other_rates_are_interpolated(fps: float) -> None:
  got, lost = clips.resample(_wave(fps), fps, 60.0)
  assert len(got) == 181
  assert lost == pytest.approx(0, abs=1e-9)
  np.testing.assert_allclose(got, _wave(60.0), atol=2e-3)


def test_says_how_much_time_was_lost() -> None:
  assert clips.resample(_wave(120.0)[:-1], 120.0, 60.0)[1] == (
      pytest.approx(1 / 120))


def test_cuts_around_a_step_that_is_too_fast() -> None:
  positions = np.zeros((600, 3, 3))
  positions[300:, 1, 2] = 0.2
  # 0.2 m in 1/60 s is 12 m/s, in 1/120 s it is 24 m/s.
  assert not clips.glitches(positions, 60.0).any()
  bad = clips.glitches(positions, 120.0)
  assert np.flatnonzero(bad).tolist() == list(range(287, 313))
  made, notes = clips.make(
      'a', positions, 120.0, 60.0, subject='s', label='l', split='train',
      file='f')
  assert [(c.name, len(c.positions)) for c in made] == [
      ('a-1', 144), ('a-2', 144)]
  assert notes == ['a: 26 of 600 frames lost around steps faster than 20 m/s;'
                   ' 2 pieces kept']
  whole, notes = clips.make(
      'a', positions, 120.0, 60.0, subject='s', label='l', split='train',
      file='f', max_speed=0)
  assert [(c.name, len(c.positions)) for c in whole] == [('a', 300)]
  assert not notes
  assert whole[0].positions.dtype == np.float32


def test_drops_pieces_that_are_too_short() -> None:
  bad = np.zeros(300, bool)
  bad[[40, 100, 299]] = True
  assert clips.pieces(bad, 100.0) == [slice(41, 100), slice(101, 299)]
  assert clips.pieces(np.zeros(3, bool), 100.0) == [slice(0, 3)]
  assert clips.pieces(np.ones(300, bool), 100.0) == []
