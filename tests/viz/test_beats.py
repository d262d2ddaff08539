"""Pictures of rhythm: that beats land where they belong."""

import sys

import numpy as np
import pytest

from diffax.body import poses
from diffax.errors import UserError
from diffax.viz import beats

pytest.importorskip('matplotlib')
WAVE = np.sin(np.arange(48000) / 7.0)
TRUE = np.array([0.5, 1.0, 1.5])


@pytest.fixture
def figures(monkeypatch):
  """Figures that were saved, in the order of saving."""
  from matplotlib import figure

  saved = []
  keep = figure.Figure.savefig

  def save(self, path, **options):
    saved.append(self)
    keep(self, path, **options)

  monkeypatch.setattr(figure.Figure, 'savefig', save)
  return saved


def _lines(axes):
  """Return (second, colour) of the upright lines."""
  return [
      (line.get_xdata()[0], line.get_color()) for line in axes.lines
      if len(line.get_xdata()) == 2 and len(set(line.get_xdata())) == 1
  ]


def test_beats_near_the_reference_are_told_from_others(tmp_path, figures):
  amplitude = np.linspace(0, 1, 188)
  beats.overlay(tmp_path / 'a.png', [
      beats.Track('true', WAVE, 16000, TRUE),
      beats.Track('made', WAVE, 16000, np.array([0.56, 1.2, 1.49])),
      beats.Track('moved', amplitude, 62.5, np.array([2.0])),
  ], title='toy')
  first, made, moved = figures[0].axes
  assert _lines(made) == [
      (0.56, beats.HIT), (1.2, beats.MISSED), (1.49, beats.HIT)
  ]
  assert _lines(moved) == [(2.0, beats.MISSED)]
  assert made.get_title(loc='left') == 'made: 3 beats, 2 within 100 ms'
  assert first.get_title(loc='left') == 'true: 3 beats'
  # The reference is a band on each row, a tenth of a second to both sides.
  for axes in (first, made, moved):
    bands = [(p.get_x(), p.get_x() + p.get_width()) for p in axes.patches]
    np.testing.assert_allclose(bands, np.stack([TRUE - 0.1, TRUE + 0.1], 1))
  curve = next(x for x in moved.lines if len(x.get_xdata()) == 188)
  np.testing.assert_allclose(curve.get_xdata()[-1], 187 / 62.5)
  assert (tmp_path / 'a.png').stat().st_size


def test_a_long_wave_keeps_its_extremes(tmp_path, figures):
  wave = np.zeros(48000)
  wave[[100, 30001]] = [3.0, -2.0]
  beats.overlay(
      tmp_path / 'a.png', [beats.Track('true', wave, 16000, TRUE[:0])],
      title='toy', tolerance=0.05,
  )
  span = figures[0].axes[0].collections[0].get_paths()[0].vertices
  assert span[:, 1].max() == 3 and span[:, 1].min() == -2
  low = span[span[:, 1].argmin(), 0]
  assert low == pytest.approx(30001 / 16000, abs=0.003)


@pytest.mark.parametrize('tracks, words', [
    ([], 'at least one track'),
    ([beats.Track('x', WAVE[:0], 16000, TRUE)], "'x': expected finite values"),
    ([beats.Track('x', WAVE * np.nan, 16000, TRUE)], "'x': expected finite"),
    ([beats.Track('x', WAVE, 0, TRUE)], 'a rate above 0, found 0'),
])
def test_wrong_tracks_are_refused(tmp_path, tracks, words):
  with pytest.raises(UserError, match=words):
    beats.overlay(tmp_path / 'a.png', tracks, title='toy')


def test_the_longest_bones_are_shown_and_corrected(tmp_path, figures):
  motion = np.random.default_rng(0).normal(size=(1, 14, 2)).repeat(20, 0)
  lengths = poses.bone_lengths(motion[0])
  motion[7, 4] += 2 * (motion[7, 4] - motion[7, 3])
  motion[3, 4] += 1 * (motion[3, 4] - motion[3, 3])
  beats.bones(tmp_path / 'a.png', motion, lengths, title='toy', columns=2)
  axes = figures[0].axes
  assert [a.get_title().split('\n') for a in axes[:2]] == [
      ['frame 3', 'longest 2.00 of its mean'],
      ['frame 7', 'longest 3.00 of its mean'],
  ]
  assert '2 of 260 bones exceed 1.3' in figures[0]._suptitle.get_text()
  for column, (above, below) in enumerate(zip(axes[:2], axes[2:])):
    drawn = [
        [line for line in a.lines if line.get_color() == beats.MISSED]
        for a in (above, below)
    ]
    # Bone 3 joins elbow and wrist.
    sizes = [
        float(np.hypot(*np.diff(lines[0].get_xydata(), axis=0)[0]))
        for lines in drawn
    ]
    assert len(drawn[0]) == len(drawn[1]) == 1
    np.testing.assert_allclose(sizes, lengths[3] * np.array([2 + column, 1]))


def test_wrong_poses_are_refused(tmp_path):
  for shape in [(3, 13, 2), (0, 14, 2)]:
    with pytest.raises(UserError, match=r'expected poses \[T, 14, 2\]'):
      beats.bones(tmp_path / 'a.png', np.zeros(shape), np.ones(13), title='')


def test_a_missing_package_says_what_to_install(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'matplotlib', None)
  with pytest.raises(UserError, match=r"pip install 'diffax\[viz\]'"):
    beats.overlay(tmp_path / 'a.png', [], title='')
