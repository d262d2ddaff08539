"""Pages of series and spectrograms: what they hold; a browser draws them."""

import re
import subprocess

import numpy as np
import pytest

from diffax.errors import UserError
from diffax.viz import pages
from diffax.viz import series
from diffax.viz import spectrogram

pytest.importorskip('plotly')

CHANNELS = series.Channels(
    ['knee_deg', 'hip <b>&</b>'], ['deg', 'rad'], np.array([10.0, 0.0]),
    np.array([2.0, 1.0]), 50.0,
)


@pytest.fixture
def window():
  time = np.linspace(0, 6, 100)
  real = np.stack([np.sin(time), np.cos(time)], -1)
  marked = np.zeros(100, bool)
  marked[30:60] = True
  samples = real + 0.1 * np.arange(3)[:, None, None]
  return pages.Window('knee given <force>', CHANNELS, samples, real, marked)


@pytest.fixture
def views():
  random = np.random.default_rng(0)
  return [
      spectrogram.View(title, random.normal(size=(40, 2)),
                       random.uniform(size=(2, 12, 21)))
      for title in ('real', 'generated')
  ]


@pytest.fixture
def sound():
  image = np.random.default_rng(0).normal(size=(125, 80))
  beats = {'musical beats': np.array([0.5, 1.0]), 'steps': np.array([0.52])}
  return pages.Spectrogram('song', image, 62.5, beats)


def seen(page, browse):
  """Open a page and return what the browser made of it, without faults."""
  done = browse(page.as_uri(), '--dump-dom')
  assert 'CONSOLE' not in done.stderr
  return done.stdout


def test_series_bear_units_and_nothing_is_loaded(window, tmp_path):
  page = tmp_path / 'a.html'
  pages.of_series(page, [window, window], title='a & b')
  text = page.read_text('utf-8')
  assert '<h1>a &amp; b</h1>' in text
  assert text.count('knee given &lt;force&gt;') == 2
  assert not re.search(r'<(script|link|img)[^>]+(src|href)=', text)
  # The script of Plotly is there once.
  assert len(text) < 7e6
  assert 'knee, deg' in text
  assert 'mean \\u00b1 std of 3' in text or 'mean ± std of 3' in text


def test_a_band_is_in_the_units_of_the_channel(window):
  lines = pages._lines(
      window, CHANNELS.scaled(window.samples)[..., 0], np.arange(100), 0
  )
  lower = lines[pages._LOWER]['y']
  upper = lines['mean ± std of 3']['y']
  real = 10 + 2 * window.real[:, 0]
  deviation = 2 * 0.1 * np.sqrt(2 / 3)
  np.testing.assert_allclose(upper, real + 0.2 + deviation, rtol=1e-5)
  np.testing.assert_allclose(lower, real + 0.2 - deviation, rtol=1e-5)
  np.testing.assert_allclose(lines['real']['y'], real, rtol=1e-5)
  np.testing.assert_allclose(lines['generated']['y'], real, rtol=1e-5)


def test_one_sample_has_no_band_and_real_may_be_unknown():
  alone = pages.Window('x', CHANNELS, np.zeros((1, 5, 2)))
  assert list(pages._lines(alone, np.zeros((1, 5)), np.arange(5), 0)) == [
      'generated'
  ]


@pytest.mark.parametrize('marked, runs', [
    (None, []), ([0, 0, 0], []), ([1, 1, 0, 1], [(0, 2), (3, 4)]),
    ([0, 1, 1, 0], [(1, 3)]),
])
def test_runs_of_what_is_marked(marked, runs):
  given = None if marked is None else np.array(marked, bool)
  assert pages._runs(given) == runs


@pytest.mark.parametrize('write', ['of_series', 'of_sounds'])
def test_nothing_to_show_is_refused(write, tmp_path):
  with pytest.raises(UserError, match='something to show'):
    getattr(pages, write)(tmp_path / 'a.html', [], title='x')
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('samples, real', [
    ((3, 10, 1), None), ((10, 2), None), ((0, 10, 2), None),
    ((3, 10, 2), (9, 2)),
])
def test_other_shapes_are_refused(samples, real):
  with pytest.raises(UserError, match='knee: expected'):
    pages.Window('knee', CHANNELS, np.zeros(samples),
                 None if real is None else np.zeros(real))


def test_views_of_other_channels_are_refused(views, tmp_path):
  odd = spectrogram.View('odd', np.zeros((40, 3)), np.zeros((3, 12, 21)))
  with pytest.raises(UserError, match='odd'):
    pages.of_windows(
        tmp_path / 'a.html', {'walk': [*views, odd]}, CHANNELS, title='x'
    )


def test_windows_share_a_scale_and_axes_have_units(views):
  figure = pages._windows(views, CHANNELS)
  curves = [trace for trace in figure.data if trace.type == 'scatter']
  images = [trace for trace in figure.data if trace.type == 'heatmap']
  np.testing.assert_allclose(curves[3].y, views[1].window[:, 1], rtol=1e-6)
  np.testing.assert_allclose(curves[3].x, np.arange(40) / 50)
  top = max(view.image[1].max() for view in views)
  np.testing.assert_allclose(
      images[3].z, 20 * np.log10(views[1].image[1] / top), atol=0.051
  )
  # Cells of 21 frames fill 0.8 s, those of 12 bins 25 Hz.
  ends = np.stack([images[3].x[[0, -1]], images[3].y[[0, -1]]])
  np.testing.assert_allclose(
      ends, [[0.01905, 0.78095], [1.04167, 23.95833]], atol=1e-5
  )


def test_beats_stand_at_their_seconds(sound):
  image, *beats = pages._sound(sound).data
  np.testing.assert_allclose(image.z, sound.image.T, atol=0.0051)
  assert image.x[-1] == pytest.approx(2.0 - 0.008)
  assert [(trace.name, trace.x.tolist()) for trace in beats] == [
      ('musical beats', [0.5, 1.0]), ('steps', [0.52])
  ]


def test_a_place_that_cannot_be_written_is_named(sound, tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(UserError, match='cannot write'):
    pages.of_sounds(tmp_path / 'file' / 'a.html', [sound], title='x')


def test_a_browser_draws_series(window, browse, tmp_path):
  page = tmp_path / 'a.html'
  pages.of_series(page, [window, window], title='two')
  text = seen(page, browse)
  # Of each of two channels: lower edge, band, real, generated.
  assert len(re.findall(r'<g class="trace scatter', text)) == 2 * 2 * 4
  assert 'hip &lt;b&gt;' in text
  assert 'class="js-fill"' in text


def test_a_browser_draws_windows_and_sounds(views, sound, browse, tmp_path):
  page = tmp_path / 'a.html'
  pages.of_windows(
      page, {'walk': views, 'run': views}, CHANNELS, title='two'
  )
  text = seen(page, browse)
  assert len(re.findall(r'<g class="trace scatter', text)) == 2 * 2 * 2
  images = re.findall(r'<image[^>]+href="data:image/png;base64,([^"]+)', text)
  assert len(images) == 2 * 2 * 2 and min(map(len, images)) > 500
  pages.of_sounds(page, [sound], title='a song')
  text = seen(page, browse)
  assert len(re.findall(r'<path class="point"', text)) == 3


def test_without_plotly_it_says_what_to_install(tmp_path):
  program = (
      'import sys; sys.modules["plotly"] = None\n'
      'import numpy as np\n'
      'from diffax.viz import pages\n'
      'shown = [pages.Spectrogram("x", np.zeros((4, 3)), 2.0)]\n'
      'pages.of_sounds("a.html", shown, title="x")\n'
  )
  done = subprocess.run(
      ['python', '-c', program], capture_output=True, text=True, cwd=tmp_path,
      check=False,
  )
  assert "needs plotly" in done.stderr and 'diffax[viz]' in done.stderr
