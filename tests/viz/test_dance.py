"""Films, strips and spectrograms of dances: what is in the files."""

import dataclasses
import re
import subprocess

import numpy as np
import pytest

from diffax.body import poses as poses_lib
from diffax.errors import UserError
from diffax.viz import dance
from diffax.viz import movie

RATE = 16000


def made(seconds=2.0, fps=62.5, title='a dance'):
  """A figure that raises its left hand every half second, with clicks."""
  time = np.arange(int(seconds * fps)) / fps
  rest = np.array([
      [0, 0.4], [0, 0], [-0.3, 0], [-0.4, -0.4], [-0.4, -0.8], [0.3, 0],
      [0.4, -0.4], [0.4, -0.8], [-0.2, -1], [-0.2, -1.6], [-0.2, -2.2],
      [0.2, -1], [0.2, -1.6], [0.2, -2.2],
  ])
  poses = np.tile(rest, (len(time), 1, 1))
  poses[:, poses_lib.JOINTS.index('l_wrist'), 1] += np.sin(4 * np.pi * time)
  wave = np.zeros(int(seconds * RATE))
  wave[::RATE // 2] = 0.9
  beats = np.arange(0, seconds, 0.5)
  return dance.Dance(
      title, poses, fps, poses_lib.JOINTS, poses_lib.BONES, wave, RATE, beats,
      beats + 0.1, np.abs(np.sin(2 * np.pi * time)),
  )


def probe(path):
  """What ffmpeg says of a file."""
  imageio_ffmpeg = pytest.importorskip('imageio_ffmpeg')
  found = subprocess.run(
      [imageio_ffmpeg.get_ffmpeg_exe(), '-i', str(path)],
      capture_output=True, text=True, check=False,
  )
  return found.stderr


@pytest.fixture(scope='module')
def shown(tmp_path_factory):
  pytest.importorskip('imageio_ffmpeg')
  path = tmp_path_factory.mktemp('film') / 'deep' / 'a.mp4'
  dance.film(path, made())
  return path


def test_a_film_has_pictures_and_sound_of_one_length(shown):
  text = probe(shown)
  assert 'Video: h264' in text and 'Audio: aac' in text
  assert '720x560' in text and '16000 Hz' in text
  # Of 62.5 frames per second every third is shown, in real time.
  assert '20.83 fps' in text
  minutes, seconds = re.search(r'Duration: 00:(\d+):([\d.]+)', text).groups()
  assert minutes == '00' and abs(float(seconds) - 2.0) < 0.15
  assert not list(shown.parent.glob('tmp*'))


def test_sound_that_goes_on_is_cut(tmp_path):
  pytest.importorskip('imageio_ffmpeg')
  long = made(1.0)
  long = dataclasses.replace(long, wave=np.tile(long.wave, 5))
  dance.film(tmp_path / 'a.mp4', long)
  found = re.search(r'Duration: 00:00:([\d.]+)', probe(tmp_path / 'a.mp4'))
  assert float(found[1]) < 1.3


def test_lamps_flash_with_the_beats():
  frames = list(dance._images(made(1.0), 1))
  width = frames[0].shape[1]
  music, motion = (
      np.array([float(frame[30, x].min()) for frame in frames])
      for x in (width - 120, width - 60)
  )
  time = np.arange(len(frames)) / 62.5
  # The music's beats are at 0 and 0.5 s, those of the dance 0.1 s later.
  assert music.argmin() in (0, np.searchsorted(time, 0.5))
  assert abs(time[motion.argmin()] % 0.5 - 0.1) < 0.02
  assert music[(time % 0.5) > 0.2].min() > 200


def test_the_cursor_and_the_hand_move():
  frames = list(dance._images(made(1.0), 1))
  assert len(frames) == 62 and frames[0].shape == (560, 720, 3)
  track = slice(560 - 118, 560 - 30)
  columns = [
      (frame[track] != frames[-1][track]).any((0, 2)).nonzero()[0]
      for frame in frames[:-1]
  ]
  # Two cursors differ between a picture and the last one: theirs.
  left = np.array([found.min() for found in columns])
  assert (np.diff(left) > 0).all()
  stage = slice(0, 560 - 150)
  assert (frames[0][stage] != frames[8][stage]).any()


def test_left_is_bright_and_right_is_dark():
  colours = dance.tints(poses_lib.JOINTS, poses_lib.BONES)
  by_name = {
      poses_lib.JOINTS[child]: colour
      for (_, child), colour in zip(poses_lib.BONES, colours)
  }
  assert by_name['l_wrist'] == by_name['l_ankle'] != by_name['r_wrist']
  brightness = [int(by_name[n][1:3], 16) + int(by_name[n][3:5], 16)
                for n in ('l_wrist', 'r_wrist')]
  assert brightness[0] > brightness[1]


def test_loudness_is_relative_and_of_silence_zero():
  wave = np.concatenate([0.1 * np.ones(50), 0.5 * np.ones(50)])
  np.testing.assert_allclose(dance.loudness(wave, 4), [0.2, 0.2, 1, 1])
  assert not dance.loudness(np.zeros(100), 4).any()
  assert len(dance.loudness(np.ones(3), 10)) == 10


@pytest.mark.parametrize('rows', [1, 3])
def test_pictures_have_a_row_for_each(tmp_path, rows):
  from PIL import Image
  dances = {f'row {i} $x$': made() for i in range(rows)}
  dance.strip(tmp_path / 's.png', dances, title='poses')
  mels = {name: np.random.default_rng(0).normal(size=(125, 80))
          for name in dances}
  dance.spectrograms(
      tmp_path / 'm.png', mels, 62.5, title='mels',
      onsets={name: np.array([0.5, 1.0]) for name in mels},
      steps={'row 0 $x$': np.array([0.25])},
  )
  heights = []
  for file in ('s.png', 'm.png'):
    with Image.open(tmp_path / file) as image:
      heights.append(image.height)
  assert heights[0] == round(140 * (2.6 * rows + 0.6))
  assert heights[1] == round(140 * (1.9 * rows + 0.8))


def test_what_cannot_be_shown_is_refused(tmp_path):
  good = made(1.0)
  with pytest.raises(UserError, match=r'\[T, 14, 2\], found \[62, 13, 2\]'):
    dataclasses.replace(good, poses=good.poses[:, :13])
  with pytest.raises(UserError, match='NaN'):
    dataclasses.replace(good, poses=good.poses * np.nan)
  with pytest.raises(UserError, match=r'amplitude \[62\], found \[3\]'):
    dataclasses.replace(good, amplitude=np.zeros(3))
  with pytest.raises(UserError, match='.mp4'):
    dance.film(tmp_path / 'a.gif', good)
  with pytest.raises(UserError, match='none'):
    dance.strip(tmp_path / 'a.png', {}, title='')
  with pytest.raises(UserError, match='none'):
    dance.spectrograms(tmp_path / 'a.png', {}, 1, onsets={}, title='')
  with pytest.raises(UserError, match='finite: False'):
    movie.to_pcm(np.array([np.nan]))


def test_pcm_is_clipped_not_wrapped():
  found = movie.to_pcm(np.array([0.0, 1.0, -1.0, 2.0, -2.0]))
  assert found.tolist() == [0, 32767, -32767, 32767, -32767]


def test_a_film_that_cannot_be_written_is_named(tmp_path):
  pytest.importorskip('imageio_ffmpeg')
  odd = iter([np.zeros((5, 5, 3), np.uint8)])
  with pytest.raises(UserError, match='ffmpeg could not write'):
    movie.write(tmp_path / 'a.mp4', odd, 10)
