"""Windows beside their spectrograms: values, scales, and what is refused."""

import numpy as np
import pytest

from diffax.errors import UserError
from diffax.viz import series
from diffax.viz import spectrogram

pytest.importorskip('matplotlib')
SCALE = series.Channels(
    ('acc_x', 'gyr_x'), ('g', 'deg/s'), np.zeros(2), np.ones(2), 10.0
)


@pytest.fixture
def figures(monkeypatch):
  """Figures that were saved, in the order of saving."""
  from matplotlib import figure

  saved = []
  monkeypatch.setattr(
      figure.Figure, 'savefig', lambda self, path, **options: saved.append(self)
  )
  return saved


def view(title, gain=1.0):
  window = gain * np.arange(20.0).reshape(10, 2)
  return spectrogram.View(title, window, gain * np.ones((2, 3, 4)))


def test_curves_and_images_share_the_scale_of_their_row(tmp_path, figures):
  spectrogram.beside(
      tmp_path / 'a.png', [view('real', 10.0), view('generated')], SCALE,
      title='toy',
  )
  axes = np.array(figures[0].axes[:8]).reshape(2, 4)
  assert [a.get_title() for a in axes[0]] == ['real', 'generated'] * 2
  np.testing.assert_allclose(
      axes[1, 0].lines[0].get_xydata(),
      np.stack([np.arange(10) / 10, 10 * np.arange(1, 20, 2)], 1)
  )
  for row in axes:
    assert row[0].get_ylim() == row[1].get_ylim()
    # The generated one is 20 dB below the real one.
    np.testing.assert_allclose(row[2].images[0].get_array(), 0, atol=1e-9)
    np.testing.assert_allclose(row[3].images[0].get_array(), -20)
    assert list(row[2].images[0].get_extent()) == [0, 1, 0, 5]
  assert axes[0, 0].get_ylabel() == 'acc x, g'


def test_silence_is_drawn(tmp_path, figures):
  spectrogram.beside(tmp_path / 'a.png', [view('real', 0.0)], SCALE, title='')
  assert np.isfinite(figures[0].axes[1].images[0].get_array()).all()


def test_spectra_stand_in_rows_of_classes(tmp_path, figures):
  power = {
      kind: {'real': scale * np.ones((2, 5)), 'generated': np.ones((2, 5))}
      for kind, scale in (('walking', 2.0), ('jump_up', 3.0))
  }
  spectrogram.spectra(
      tmp_path / 'a.png', np.arange(1.0, 6), power, SCALE, title='toy'
  )
  axes = np.array(figures[0].axes).reshape(2, 2)
  assert [a.get_title() for a in axes[0]] == ['acc x', 'gyr x']
  assert axes[1, 0].get_ylabel().startswith('jump up')
  real, made = axes[1, 1].lines
  assert real.get_ydata()[0] == 3 and made.get_ydata()[0] == 1
  assert axes[0, 0].get_yscale() == 'log'


def test_pictures_are_written(tmp_path):
  spectrogram.beside(tmp_path / 'a.png', [view('real')], SCALE, title='toy')
  spectrogram.spectra(
      tmp_path / 'b.png', np.arange(1.0, 6), {'a': {'real': np.ones((2, 5))}},
      SCALE, title='toy'
  )
  for name in 'ab':
    assert (tmp_path / f'{name}.png').read_bytes()[:4] == b'\x89PNG'


@pytest.mark.parametrize('draw, message', [
    (lambda p: spectrogram.beside(p, [], SCALE, title=''), 'one window'),
    (lambda p: spectrogram.beside(
        p, [spectrogram.View('a', np.ones((5, 3)), np.ones((2, 3, 4)))], SCALE,
        title=''), r"'a': expected a window \[L, 2\]"),
    (lambda p: spectrogram.beside(
        p, [spectrogram.View('a', np.ones((5, 2)), np.ones((3, 4)))], SCALE,
        title=''), r'magnitudes \[2, F, N\], found'),
    (lambda p: spectrogram.spectra(p, np.ones(3), {}, SCALE, title=''),
     'found none'),
    (lambda p: spectrogram.spectra(
        p, np.ones(3), {'a': {'real': np.ones((2, 4))}}, SCALE, title=''),
     r'a: real: expected power \[2, 3\], found \[2, 4\]'),
])
def test_what_does_not_fit_is_named(tmp_path, draw, message):
  with pytest.raises(UserError, match=message):
    draw(tmp_path / 'a.png')


def test_decibels_are_of_the_largest():
  level = spectrogram.decibels(np.array([2.0, 0.2, 0.0]), 2.0)
  np.testing.assert_allclose(level[:2], [0, -20], atol=1e-12)
  assert np.isfinite(level).all() and level[2] < -1000
  assert np.isfinite(spectrogram.decibels(np.zeros(2), 0.0)).all()
