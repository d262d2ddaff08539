"""Line plots, looked at as pixels."""

import sys

import numpy as np
import pytest

from diffax.errors import UserError
from diffax.viz import curves

Image = pytest.importorskip('PIL.Image')
pytest.importorskip('matplotlib')

X = np.arange(5.0)


def _pixels(path):
  with Image.open(path) as file:
    return np.asarray(file.convert('RGB')).astype(int)


def test_lines_have_their_own_colours(tmp_path):
  path = tmp_path / 'deep' / 'a.png'
  curves.lines(path, {'model': (X, X), 'zero_velocity': (X, -X)}, 'x, %',
               'y, m', 'two')
  image = _pixels(path)
  assert image.shape == (640, 1024, 3)
  blue = (image[..., 2] - image[..., 0]) > 120
  red = (image[..., 0] - image[..., 2]) > 120
  rows = [np.nonzero(part[:, :600])[0] for part in (blue, red)]
  # The first rises, the second falls.
  assert rows[0].mean() < 320 < rows[1].mean()


def test_a_logarithm_makes_powers_straight(tmp_path):
  heights = []
  for logy in (False, True):
    path = tmp_path / f'{logy}.png'
    curves.lines(path, {'one': (X, 10.0**X)}, 'x', 'y', 'title', logy)
    image = _pixels(path)
    rows, columns = np.nonzero(image[..., 2] - image[..., 0] > 120)
    middle = np.abs(columns - (columns.min() + columns.max()) / 2) < 5
    heights.append(
        (rows.max() - rows[middle].mean()) / (rows.max() - rows.min())
    )
  assert heights[0] < 0.1
  assert heights[1] == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize('series, logy, message', [
    ({}, False, 'at least one line'),
    ({'a': (X, X[:3])}, False, "line 'a': expected x and y of one length"),
    ({'a': (X[:0], X[:0])}, False, "line 'a': expected x and y"),
    ({'a': (X, -X)}, True, "line 'a': expected values above 0"),
])
def test_mistakes_are_named(tmp_path, series, logy, message):
  with pytest.raises(UserError, match=message):
    curves.lines(tmp_path / 'a.png', series, 'x', 'y', 'title', logy)


def test_a_missing_package_says_what_to_install(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'matplotlib', None)
  with pytest.raises(UserError, match=r"pip install 'diffax\[viz\]'"):
    curves.lines(tmp_path / 'a.png', {'a': (X, X)}, 'x', 'y', 'title')


def test_a_long_legend_stands_beside_the_lines(tmp_path):
  path = tmp_path / 'a.png'
  ends = []
  for count in (4, 5):
    lines = {f'number {i}': (X, X + i) for i in range(count)}
    curves.lines(path, lines, 'x', 'y', 'title')
    dark = _pixels(path).max(-1) < 60
    # The axis at the bottom is the longest dark row.
    ends.append(np.nonzero(dark[dark.sum(1).argmax()])[0].max())
  assert ends[0] > 1000
  assert ends[1] < 900


def test_panels_show_each_quantity_that_has_lines(tmp_path):
  path = tmp_path / 'a.png'
  rising = curves.Line((1, 2, 4), (1, 2, 3), (0, 0.1, 0.2))
  falling = curves.Line((1, 2, 4), (3, 2, 1), (0, 0, 0))
  both = {'one': rising, 'other': falling}
  curves.panels(
      path, {'ADE': both, 'FDE': {}, 'APD': both}, 'steps', 'three')
  image = _pixels(path)
  # Two panels: that of no line is left out.
  assert image.shape == (512, 1024, 3)
  for half in (image[:, :512], image[:, 512:]):
    blue = (half[..., 2] - half[..., 0]) > 120
    red = (half[..., 0] - half[..., 2]) > 120
    ends = [
        [np.nonzero(part[90:420, place])[0].mean() for place in (
            slice(0, 200), slice(330, 512))] for part in (blue, red)
    ]
    assert ends[0][0] > ends[0][1] and ends[1][0] < ends[1][1]


def test_panels_without_lines_are_refused(tmp_path):
  with pytest.raises(UserError, match='at least one line'):
    curves.panels(tmp_path / 'a.png', {'ADE': {}}, 'steps', 'none')
