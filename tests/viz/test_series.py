"""Pictures of series: which numbers are drawn, and some as pixels."""

import sys

import numpy as np
import pytest

from diffax.errors import UserError
from diffax.viz import series

Image = pytest.importorskip('PIL.Image')
pytest.importorskip('matplotlib')

TIME = np.arange(20) / 10
SCALE = series.Channels(
    ('hip_flexion_deg', 'knee'), ('deg', ''), np.array([10.0, 1.0]),
    np.array([2.0, 0.5]), 10.0,
)


def _pixels(path):
  with Image.open(path) as file:
    return np.asarray(file.convert('RGB')).astype(int)


def _red(image):
  return (image[..., 0] - image[..., 2] > 150) & (image[..., 1] < 120)


@pytest.fixture
def shown(monkeypatch):
  """Panels and options that `panels` would draw."""
  found = []
  monkeypatch.setattr(
      series, 'panels', lambda path, panels, time, **options: found.append(
          (panels, time, options)
      )
  )
  return found


def test_channels_turn_numbers_into_units_and_words():
  np.testing.assert_allclose(
      SCALE.scaled(np.array([[[1.0, -2.0]]])), [[[12.0, 0.0]]]
  )
  assert SCALE.label(0) == 'hip flexion, deg' and SCALE.label(1) == 'knee'
  assert SCALE.xlabel == 'time, s'
  info = {
      'channels': {'x': ('a_nmkg',)}, 'units': {'x': ('N m / kg',)},
      'mean': {'x': np.zeros(1)}, 'std': {'x': np.ones(1)}, 'rate': 5.0,
  }
  taken = series.Channels.of(info, 'x')
  assert taken.name(0) == 'a'
  np.testing.assert_allclose(taken.times(3), [0, 0.2, 0.4])


def test_windows_stand_beside_each_other(shown):
  rng = np.random.default_rng(0)
  samples, real = rng.normal(size=(3, 4, 20, 2)), rng.normal(size=(3, 20, 2))
  series.reconstructions(
      'a.png', SCALE, samples, real, title='t', headings=list('abc')
  )
  panels, time, options = shown[0]
  np.testing.assert_allclose(time, TIME)
  assert options['columns'] == 3 and options['common']
  assert [panel.title for panel in panels] == ['a', 'b', 'c', '', '', '']
  one = panels[4]
  knee = 0.5 * samples[1, ..., 1] + 1
  assert one.ylabel == 'knee'
  np.testing.assert_allclose(one.sampled, knee[0])
  np.testing.assert_allclose(one.centre, knee.mean(0))
  np.testing.assert_allclose(one.sampled_std, knee.std(0))
  np.testing.assert_allclose(one.real, 0.5 * real[1, :, 1] + 1)


def test_a_single_window_gets_a_grid_of_channels(shown):
  series.reconstructions(
      'a.png', SCALE, np.zeros((1, 1, 20, 2)), title='t', headings=['w']
  )
  panels, _, options = shown[0]
  assert [panel.title for panel in panels] == ['hip flexion', 'knee']
  assert [panel.ylabel for panel in panels] == ['deg', '']
  assert panels[0].sampled_std is None and panels[0].real is None
  assert options['title'] == 't, w' and options['columns'] == 2


def test_failures_are_the_windows_that_err_most(shown):
  real = np.zeros((5, 20, 6))
  size = np.array([0.1, 3, 1, 2, 0.5])[:, None, None]
  samples = (real + size * np.array([1, 5, 1, 4, 3, 2]))[:, None]
  wide = series.Channels(
      tuple('abcdef'), ('m',) * 6, np.zeros(6), np.ones(6), 10.0
  )
  series.failures(
      'a.png', wide, samples, real, np.arange(5) * 20, title='t'
  )
  panels, _, _ = shown[0]
  square = np.mean(np.square([1, 5, 1, 4, 3, 2]))
  assert [panel.title for panel in panels[:3]] == [
      f'window {n}, MSE {s * s * square:.3g}'
      for n, s in ((1, 3), (3, 2), (2, 1))
  ]
  assert [panel.ylabel for panel in panels[::3]] == [
      'b, m', 'd, m', 'e, m', 'f, m'
  ]


def test_failures_do_not_repeat_each_other(shown):
  size = np.array([5.0, 4, 3, 2])[:, None, None, None]
  series.failures(
      'a.png', SCALE, size * np.ones((1, 1, 20, 2)), np.zeros((4, 20, 2)),
      np.array([0, 19, 20, 60]), title='t',
  )
  titles = [panel.title.partition(',')[0] for panel in shown[0][0][:3]]
  assert titles == ['window 0', 'window 2', 'window 3']


def test_bands_are_means_of_a_class(shown):
  rng = np.random.default_rng(0)
  sampled, real = rng.normal(size=(2, 12, 20, 2))
  label = np.arange(12) % 4
  series.bands('a.png', SCALE, sampled, real, label, list('pqrs'), title='t')
  panels, _, options = shown[0]
  assert options['columns'] == 3
  # Three of the four classes, from the middles of equal parts.
  assert [panel.title[0] for panel in panels[:3]] == ['p', 'r', 's']
  hip = 2 * real[label == 2, :, 0] + 10
  np.testing.assert_allclose(panels[1].real, hip.mean(0))
  np.testing.assert_allclose(panels[1].real_std, hip.std(0))
  made = 0.5 * sampled[label == 3, :, 1] + 1
  np.testing.assert_allclose(panels[5].sampled, made.mean(0))
  np.testing.assert_allclose(panels[5].sampled_std, made.std(0))


def test_real_is_black_and_generated_is_red(tmp_path):
  path = tmp_path / 'deep' / 'a.png'
  panel = series.Panel(
      'one', 'y, m', TIME - 3, TIME + 1, sampled_std=0.1 + 0 * TIME,
      marked=TIME > 1,
  )
  series.panels(path, [panel], TIME, xlabel='time, s', title='t')
  image = _pixels(path)
  red = np.nonzero(_red(image)[:300])[0]
  inner = image[40:300, 200:1000]
  black = np.nonzero(inner.max(-1) < 40)[0] + 40
  # The real line lies above the generated one.
  assert black.mean() + 50 < red.mean()
  grey = (np.abs(inner - [0xe3, 0xe8, 0xee]).max(-1) < 3).nonzero()[1]
  assert grey.size and grey.min() > 250


def test_portraits_share_their_axes(tmp_path):
  turn = np.linspace(0, 2 * np.pi, 60)[None]
  path = tmp_path / 'a.png'
  series.portraits(
      path,
      [series.Portrait('real', np.cos(turn), np.sin(turn)),
       series.Portrait('made', np.cos(turn) / 2, np.sin(turn) / 2,
                       series.SAMPLED)],
      xlabel='x, m', ylabel='y, m', title='t', columns=2,
  )
  image = _pixels(path)
  width = image.shape[1]
  rows, columns = np.nonzero(_red(image))
  black = image[60:-80, 110:width // 2 - 8].max(-1) < 40
  height = np.ptp(np.nonzero(black[:, 20:])[0])
  assert columns.min() > width // 2
  assert np.ptp(rows) == pytest.approx(height / 2, rel=0.05)


def test_bars_have_their_heights(tmp_path):
  path = tmp_path / 'a.png'
  series.bars(
      path, {'x': {'linear': 0.8, 'nonlinear': 0.4}}, ylabel='share', title='t',
      levels={'chance': 0.1},
  )
  image = _pixels(path)[:-70]
  blue = (image[..., 2] - image[..., 0] > 150) & (image[..., 1] < 130)
  tall, low = (np.ptp(np.nonzero(part)[0]) for part in (blue, _red(image)))
  assert low / tall == pytest.approx(0.5, abs=0.02)


def test_a_curve_lies_within_its_band(tmp_path):
  path = tmp_path / 'a.png'
  series.curve(
      path, TIME, {'a, b': (0 * TIME, 0.5 + 0 * TIME)}, xlabel='t, s',
      ylabel='r', title='t', limits=(-1, 1),
  )
  image = _pixels(path)
  band = np.nonzero((image[:, 500, 2] - image[:, 500, 0]) > 30)[0]
  line = np.nonzero((image[:, 500, 2] - image[:, 500, 0]) > 150)[0]
  assert line.mean() == pytest.approx(band.mean(), abs=3)
  axis = np.nonzero(image[:, 500].max(-1) < 40)[0]
  assert band.mean() < axis.max() and np.ptp(band) > 80


@pytest.mark.parametrize('draw, message', [
    (lambda p: series.panels(p, [], TIME, xlabel='', title=''), 'one panel'),
    (lambda p: series.panels(
        p, [series.Panel('a', '', TIME, TIME[:3])], TIME, xlabel='', title=''
    ), r"panel 'a': real: expected \[20\] as the time, found \[3\]"),
    (lambda p: series.portraits(
        p, [], xlabel='', ylabel='', title='', columns=1
    ), 'one portrait'),
    (lambda p: series.portraits(
        p, [series.Portrait('a', TIME, TIME)], xlabel='', ylabel='', title='',
        columns=1,
    ), "portrait 'a'"),
    (lambda p: series.bars(p, {}, ylabel='', title=''), 'same bars'),
    (lambda p: series.bars(
        p, {'x': {'a': 1.0}, 'y': {'b': 1.0}}, ylabel='', title=''
    ), 'same bars'),
    (lambda p: series.curve(p, TIME, {}, xlabel='', ylabel='', title=''),
     'one line'),
    (lambda p: series.curve(
        p, TIME, {'a': (TIME, TIME[:2])}, xlabel='', ylabel='', title=''
    ), "line 'a'"),
])
def test_mistakes_are_named(tmp_path, draw, message):
  with pytest.raises(UserError, match=message):
    draw(tmp_path / 'a.png')


def test_a_missing_package_says_what_to_install(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'matplotlib', None)
  with pytest.raises(UserError, match=r"pip install 'diffax\[viz\]'"):
    series.curve(
        tmp_path / 'a.png', TIME, {'a': (TIME, TIME)}, xlabel='', ylabel='',
        title='',
    )
