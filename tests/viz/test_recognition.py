"""Pictures of recognition: that numbers land where they belong."""

import numpy as np
import pytest

from diffax.errors import UserError
from diffax.viz import recognition

pytest.importorskip('matplotlib')
CLASSES = ('walking', 'jump_up')


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


def _said(axes):
  return [text.get_text() for text in axes.texts]


def test_confusions_are_shares_of_the_true_class(tmp_path, figures):
  counts = {'few': np.array([[6.0, 2], [0, 0]]), 'full': np.eye(2) * 5}
  recognition.confusions(tmp_path / 'a.png', counts, CLASSES, title='toy')
  few, full = (axes for axes in figures[0].axes if axes.get_visible())
  np.testing.assert_allclose(few.images[0].get_array(), [[0.75, 0.25], [0, 0]])
  # Of a class without windows no share is known.
  assert _said(few) == ['75', '25'] and _said(full) == ['100', '0', '0', '100']
  assert few.get_title() == 'few' and (tmp_path / 'a.png').stat().st_size
  names = [label.get_text() for label in few.get_xticklabels()]
  assert names == ['walking', 'jump up']


def test_doses_have_their_band_and_levels(tmp_path, figures):
  mean, std = np.array([0.5, 0.7, 0.9]), np.array([0.1, 0.1, 0.0])
  recognition.doses(
      tmp_path / 'a.png', (1, 10, 100), {'few+synthetic': (mean, std)},
      ylabel='macro-F1', title='toy', levels={'few': (0.4, 0.02)},
  )
  axes = figures[0].axes[0]
  line, level = axes.lines
  np.testing.assert_allclose(line.get_xydata().T, [[1, 10, 100], mean])
  assert list(level.get_ydata()) == [0.4, 0.4]
  band = axes.collections[0].get_paths()[0].vertices[:, 1]
  assert band.min() == pytest.approx(0.4) and band.max() == pytest.approx(0.9)
  assert axes.get_xscale() == 'log'


def test_bars_stand_in_their_group(tmp_path, figures):
  recognition.bars(
      tmp_path / 'a.png',
      {'P1': {'few': (0.4, 0.1), 'full': (0.8, 0.0)},
       'P2': {'few': (0.5, 0.1), 'full': (0.9, 0.0)}},
      ylabel='macro-F1', title='toy',
  )
  axes = figures[0].axes[0]
  few, full = (c for c in axes.containers if hasattr(c, 'patches'))
  assert [bar.get_height() for bar in few] == [0.4, 0.5]
  assert [bar.get_height() for bar in full] == [0.8, 0.9]
  assert [round(b.get_x() + b.get_width() / 2) for b in few] == [0, 1]
  spread = few.errorbar.lines[2][0].get_segments()[0][:, 1]
  np.testing.assert_allclose(spread, [0.3, 0.5])


def test_copies_are_shares_from_zero(tmp_path, figures):
  generated, held = np.full(8, 0.01), np.array([1.0, 2.0])
  recognition.copies(
      tmp_path / 'a.png', {'walking': (generated, held)}, xlabel='distance',
      title='toy',
  )
  axes = figures[0].axes[0]
  heights = np.array([bar.get_height() for bar in axes.patches])
  made, real = np.split(heights, 2)
  assert made[0] == 1 and made[1:].max() == 0
  assert sorted(real)[-2:] == [0.5, 0.5] and real.sum() == pytest.approx(1)


def test_centroids_are_sorted_by_size(tmp_path, figures):
  curves = np.arange(2)[:, None, None] + np.zeros((2, 5, 3))
  recognition.centroids(
      tmp_path / 'a.png', curves, np.array([[1, 4], [0, 3]]), np.arange(5) / 10,
      ('x', 'y', 'z'), title='toy',
  )
  first, second = (axes for axes in figures[0].axes if axes.get_visible())
  assert first.get_title() == '4 real, 3 generated'
  assert len(first.lines) == 3 and first.lines[0].get_ydata()[0] == 1
  assert second.get_title() == '1 real, 0 generated'


@pytest.mark.parametrize('draw, message', [
    (lambda p: recognition.confusions(p, {}, CLASSES, title=''), 'one matrix'),
    (lambda p: recognition.confusions(
        p, {'few': np.eye(3)}, CLASSES, title=''), r"'few': .*\[2, 2\]"),
    (lambda p: recognition.doses(p, (1,), {}, ylabel='', title=''), '0 lines'),
    (lambda p: recognition.doses(
        p, (0, 1), {'a': (np.ones(2), np.ones(2))}, ylabel='', title=''),
     'above 0'),
    (lambda p: recognition.doses(
        p, (1, 2), {'a': (np.ones(3), np.ones(3))}, ylabel='', title=''),
     r"line 'a': .*\[2\], found \[3\]"),
    (lambda p: recognition.bars(p, {}, ylabel='', title=''), 'same bars'),
    (lambda p: recognition.bars(
        p, {'a': {'x': (1, 0)}, 'b': {'y': (1, 0)}}, ylabel='', title=''),
     'same bars'),
    (lambda p: recognition.copies(p, {}, xlabel='', title=''), 'found none'),
    (lambda p: recognition.copies(
        p, {'a': (np.ones(2), np.ones(0))}, xlabel='', title=''), 'found none'),
    (lambda p: recognition.centroids(
        p, np.ones((2, 4, 3)), np.ones((2, 3)), np.arange(4), 'abc', title=''),
     r'counts \[2, K\], found'),
])
def test_what_does_not_fit_is_named(tmp_path, draw, message):
  with pytest.raises(UserError, match=message):
    draw(tmp_path / 'a.png')
