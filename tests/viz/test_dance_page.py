"""The page of a dance: what it carries, and that its script runs."""

import base64
import dataclasses
import io
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from scipy.io import wavfile

from diffax.body import poses as poses_lib
from diffax.errors import UserError
from diffax.viz import dance as dances
from diffax.viz import dance_page

EVIL = '</script><b>"A & B"</b> {{data}}'


@pytest.fixture(scope='module')
def dance():
  rng = np.random.default_rng(0)
  return dances.Dance(
      EVIL, 50 + rng.normal(size=(20, 14, 2)), 10.0, poses_lib.JOINTS,
      poses_lib.BONES, np.sin(np.arange(32000) / 9), 16000,
      np.array([0.5, 1.0]), np.array([0.25]), np.linspace(0, 1, 20),
  )


@pytest.fixture(scope='module')
def text(dance, tmp_path_factory):
  path = tmp_path_factory.mktemp('page') / 'deep' / 'a.html'
  dance_page.page(path, dance)
  return path.read_text('utf-8')


@pytest.fixture(scope='module')
def scene(text):
  found = re.search(r'id="data">(.*?)</script>', text, re.DOTALL)
  return json.loads(found[1])


def test_places_survive(scene, dance):
  numbers = np.frombuffer(base64.b64decode(scene['poses']), '<i2')
  found = numbers.reshape(20, 14, 2) * scene['step']
  centred = dance.poses - dance.poses.mean((0, 1))
  np.testing.assert_allclose(found, centred, atol=1e-4)
  assert [tuple(bone) for bone in scene['bones']] == list(poses_lib.BONES)


def test_the_sound_is_inside(scene, dance):
  rate, wave = wavfile.read(io.BytesIO(base64.b64decode(scene['sound'])))
  assert rate == 16000 and wave.dtype == np.int16
  np.testing.assert_allclose(wave / 32767, dance.wave, atol=1e-4)


def test_beats_and_facts_are_told(scene):
  assert scene['onsets'] == [0.5, 1.0] and scene['steps'] == [0.25]
  assert '2.0 s, 2 musical and 1 kinematic beats' in scene['facts']


def test_a_title_cannot_break_the_page(text, scene):
  assert scene['title'] == EVIL
  assert text.count('</script>') == 2
  assert 'http' not in text.replace('http-equiv', '')


def test_the_script_is_sound(text, tmp_path):
  node = shutil.which('node')
  if node is None:
    pytest.skip('node is not installed')
  script = re.findall(r'<script>(.*?)</script>', text, re.DOTALL)[-1]
  (tmp_path / 'a.js').write_text(script)
  subprocess.run([node, '--check', str(tmp_path / 'a.js')], check=True)


def test_silence_without_a_wave_is_refused(dance, tmp_path):
  with pytest.raises(UserError, match='sound'):
    dance_page.page(
        tmp_path / 'a.html', dataclasses.replace(dance, wave=np.zeros(0))
    )


def test_a_browser_draws_the_page(text, browse, tmp_path):
  (tmp_path / 'a.html').write_text(text, 'utf-8')
  done = browse((tmp_path / 'a.html').as_uri(), '--dump-dom')
  assert 'CONSOLE' not in done.stderr
  assert '<p id="fault" hidden="">' in done.stdout
  assert '0.00 / 2.00 s' in done.stdout
