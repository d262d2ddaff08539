"""Animations and strips, looked at as pixels."""

import subprocess
import sys

import numpy as np
import pytest

from diffax.body import skeletons
from diffax.errors import UserError
from diffax.viz import pose
from diffax.viz import stick

Image = pytest.importorskip('PIL.Image')
pytest.importorskip('matplotlib')

AMASS = skeletons.AMASS21


def _frames(path):
  with Image.open(path) as gif:
    images, seconds = [], 0.0
    for number in range(gif.n_frames):
      gif.seek(number)
      images.append(np.asarray(gif.convert('RGB')).astype(int))
      seconds += gif.info['duration'] / 1000
  return np.stack(images), seconds


def _count(image, colour):
  tint = [int(colour[i:i + 2], 16) for i in (1, 3, 5)]
  return int((np.abs(image - tint).max(-1) < 6).sum())


@pytest.fixture(scope='module')
def gif(swing, tmp_path_factory):
  path = tmp_path_factory.mktemp('gif') / 'deep' / 'a.gif'
  stick.animate(
      path, [swing, swing[:, 1:] - swing[:, :1]], AMASS, 50.0,
      ['ground truth', 'closest'], past=10,
      colours=[pose.TRUTH, pose.CLOSEST],
  )
  return _frames(path)


def test_gif_runs_in_real_time(gif):
  images, seconds = gif
  assert len(images) == 20
  assert seconds == pytest.approx(40 / 50, abs=0.011)


def test_the_whole_body_is_in_view(gif):
  images, _ = gif
  for edge in (images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]):
    assert np.ptp(edge, axis=-1).max() < 12
  assert (images[0, 0, 0] == 255).all()


def test_the_past_is_grey_and_the_future_coloured(gif):
  images, _ = gif
  body = images[:, 40:-46]
  for colour in (pose.TRUTH, pose.CLOSEST):
    for side in ('left', 'right'):
      tint = pose.shade(colour, side)
      assert not _count(body[4], tint)
      assert _count(body[5], tint) > 60
  assert _count(body[4], pose.PAST) > 120
  assert not _count(body[5], pose.PAST)


def test_only_the_moving_arm_moves(gif):
  images, _ = gif
  # The last two pictures, above the timeline.
  moved = np.abs(images[-1] - images[-4])[:-46].max(-1) > 40
  half = images.shape[2] // 2
  for panel in (moved[:, :half], moved[:, half:]):
    rows, columns = np.nonzero(panel)
    assert rows.size
    assert rows.max() < 180
    # The camera sees the left arm at the right.
    assert columns.min() > panel.shape[1] / 2


def test_motions_of_two_lengths_and_many_panels(swing, tmp_path):
  path = tmp_path / 'a.gif'
  stick.animate(path, [swing] + 7 * [swing[:9]], AMASS, 30.0,
                [f'sample {i}' for i in range(8)])
  images, seconds = _frames(path)
  assert len(images) == 40 and seconds == pytest.approx(40 / 30, abs=0.011)
  # Two rows: the second holds the last two panels only.
  low = images[-1, images.shape[1] // 2:-46]
  third = low.shape[1] // 3
  assert (low[:, :third] < 100).any() and (low[:, -third:] > 250).all()


def test_mp4_holds_the_frames(swing, tmp_path):
  ffmpeg = pytest.importorskip('imageio_ffmpeg').get_ffmpeg_exe()
  path = tmp_path / 'a.mp4'
  stick.animate(path, [swing], AMASS, 20.0, ['one'], 5)
  size = stick._layout([swing], AMASS, 1, 1, 250.0).size
  raw = subprocess.run(
      [ffmpeg, '-loglevel', 'error', '-i', str(path), '-f', 'rawvideo',
       '-pix_fmt', 'rgb24', '-'], capture_output=True, check=True,
  ).stdout
  images = np.frombuffer(raw, np.uint8).reshape(-1, size[1], size[0], 3)
  assert len(images) == 40
  assert np.ptp(images[-1].astype(int), axis=-1).max() > 60
  assert np.ptp(images[2, 40:-46].astype(int), axis=-1).max() < 40


def test_mp4_that_cannot_be_written_says_so(swing, tmp_path, monkeypatch):
  ffmpeg = pytest.importorskip('imageio_ffmpeg')
  monkeypatch.setattr(ffmpeg, 'get_ffmpeg_exe', lambda: 'false')
  with pytest.raises(UserError, match='ffmpeg could not write'):
    stick.animate(tmp_path / 'a.mp4', [swing], AMASS, 20.0, ['one'])


def test_strip_shows_poses_over_time(swing, tmp_path):
  path = tmp_path / 'a.png'
  stick.animate(path, [swing, swing], AMASS, 20.0, ['one', 'two'], 10,
                colours=[pose.TRUTH, pose.DIVERSE[0]])
  with Image.open(path) as file:
    image = np.asarray(file.convert('RGB')).astype(int)
  width = image.shape[1] // 9
  top, low = np.split(image[:2 * (image.shape[0] // 2)], 2)
  for column in range(9):
    part = slice(column * width, (column + 1) * width)
    grey = column < 2
    assert (_count(top[40:, part], pose.PAST) > 100) == grey
    assert (_count(top[60:, part], pose.TRUTH) > 100) == (not grey)
    assert (_count(low[:-60, part], pose.DIVERSE[0]) > 100) == (not grey)


@pytest.mark.parametrize('length, past, expected', [
    (150, 30, [0, 29, 46, 63, 80, 98, 115, 132, 149]),
    (9, 0, list(range(9))),
    (4, 0, [0, 1, 2, 3]),
    (5, 5, [0, 1, 2, 3, 4]),
])
def test_times_of_a_strip(length, past, expected):
  assert stick._times(length, past, 9) == expected


def test_a_global_motion_keeps_its_way(swing, tmp_path):
  way = np.linspace(0, 3, 40)[:, None, None] * np.array([1.0, 0, 0])
  path = tmp_path / 'a.gif'
  stick.animate(path, [swing + way], AMASS, 20.0, ['one'])
  images, _ = _frames(path)

  def middle(image):
    return np.nonzero(_dark(image))[1].mean() / image.shape[1]

  assert abs(middle(images[0]) - middle(images[-1])) > 0.3
  assert images.shape[2] <= 640 + 40


def _dark(image):
  return image[40:-46].min(-1) < 60


@pytest.mark.parametrize('change, message', [
    ({'titles': []}, 'titles: expected one'),
    ({'motions': [], 'titles': []}, 'titles: expected one'),
    ({'past': 41}, 'past: expected 0..40'),
    ({'past': -1}, 'past: expected 0..40'),
    ({'fps': 0.0}, 'fps: expected a rate'),
    ({'colours': []}, 'colours: expected 1'),
    ({'max_fps': 0.0}, 'max_fps: expected above 0'),
    ({'path': 'a.webm'}, "found suffix '.webm'"),
])
def test_mistakes_are_named(swing, tmp_path, change, message):
  arguments = {
      'path': 'a.gif', 'motions': [swing], 'skeleton': AMASS, 'fps': 20.0,
      'titles': ['one'],
  } | change
  arguments['path'] = tmp_path / arguments['path']
  with pytest.raises(UserError, match=message):
    stick.animate(**arguments)
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('package, suffix', [
    ('matplotlib', 'gif'), ('matplotlib', 'png'), ('imageio_ffmpeg', 'mp4'),
])
def test_a_missing_package_says_what_to_install(
    swing, tmp_path, monkeypatch, package, suffix
):
  monkeypatch.setitem(sys.modules, package, None)
  with pytest.raises(UserError, match=r"pip install 'diffax\[viz\]'"):
    stick.animate(tmp_path / f'a.{suffix}', [swing], AMASS, 20.0, ['one'])


def test_a_title_is_cut_and_is_no_formula(swing, tmp_path):
  assert stick._fitted('a' * 99, 100.0, 11) == 'aaaaaaaaa\u2026'
  stick.animate(tmp_path / 'a.png', [swing], AMASS, 20.0, ['$\\no_macro{$'])
