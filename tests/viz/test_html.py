"""The page: what it carries, and that a browser shows it."""

import base64
import configparser
import json
import pathlib
import re

import numpy as np
import pytest

from diffax.body import skeletons
from diffax.errors import UserError
from diffax.viz import html
from diffax.viz import pose

AMASS = skeletons.AMASS21
EVIL = '</script><b>"A & B"</b> {{data}}'


@pytest.fixture(scope='module')
def page(swing, tmp_path_factory):
  path = tmp_path_factory.mktemp('page') / 'deep' / 'a.html'
  nodes = (swing - swing[:, :1])[:, 1:]
  html.page(
      path, nodes[:10], {'ground truth': nodes[10:], EVIL: nodes[10:30]},
      AMASS, 20.0, EVIL, reference='ground truth',
  )
  return path


def _scene(path):
  text = path.read_text('utf-8')
  found = re.search(r'id="data">(.*?)</script>', text, re.DOTALL)
  return json.loads(found[1])


def _decode(scene, text):
  numbers = np.frombuffer(base64.b64decode(text), '<i2')
  return numbers.reshape(-1, 22, 3) * scene['step']


def test_positions_survive_to_a_tenth_of_a_millimetre(page, swing):
  scene = _scene(page)
  centred = swing - swing[:, :1]
  np.testing.assert_allclose(
      _decode(scene, scene['past']), centred[:10], atol=1e-4
  )
  first, second = (_decode(scene, m['data']) for m in scene['motions'])
  np.testing.assert_allclose(first, centred[10:], atol=1e-4)
  np.testing.assert_allclose(second, centred[10:30], atol=1e-4)


def test_the_scene_names_bones_sides_and_colours(page):
  scene = _scene(page)
  assert [tuple(bone) for bone in scene['bones']] == list(AMASS.bones)
  assert scene['sides'][AMASS.joints.index('LHip')] == 0
  assert scene['sides'][AMASS.joints.index('RHip')] == 2
  assert scene['reference'] == 0 and scene['fps'] == 20
  assert scene['motions'][0]['tints'][0] == pose.TRUTH
  assert scene['motions'][1]['tints'][0] == pose.CLOSEST


def test_titles_cannot_leave_their_place(page):
  text = page.read_text('utf-8')
  assert EVIL not in text
  assert text.count('</script>') == 2
  assert '<title>&lt;/script&gt;' in text
  assert _scene(page)['title'] == EVIL
  assert _scene(page)['motions'][1]['title'] == EVIL


def test_nothing_is_loaded_from_elsewhere(page):
  text = page.read_text('utf-8')
  assert not re.search(r'https?:|src=|href=|@import|fetch\(', text)


def test_fifty_futures_stay_small(swing, tmp_path):
  path = tmp_path / 'a.html'
  long = np.tile(swing[:, 1:], (3, 1, 1))
  html.page(path, swing[:, 1:], {str(i): long for i in range(50)}, AMASS,
            60.0, 'many')
  assert path.stat().st_size < 2e6


def test_the_installed_package_has_the_templates():
  root = pathlib.Path(__file__).parents[2]
  setup = configparser.ConfigParser()
  setup.read(root / 'setup.cfg')
  packed = setup['options.package_data']['diffax.viz']
  there = {path.name for path in (root / 'diffax/viz').glob(packed)}
  assert there >= {'viewer.html', 'dance.html'}


@pytest.mark.parametrize('change, message', [
    ({'futures': {}}, 'futures: expected at least one'),
    ({'fps': -1.0}, 'fps: expected a rate'),
    ({'reference': 'no'}, "expected one of .'one'., found 'no'"),
    ({'colours': {'two': '#000000'}}, "found 'two'"),
    ({'past': np.zeros((3, 5, 3))}, 'past: expected .frames'),
    ({'futures': {'one': np.full((3, 21, 3), np.inf)}}, 'one: .* frame 0'),
])
def test_mistakes_are_named(swing, tmp_path, change, message):
  arguments = {
      'past': swing, 'futures': {'one': swing}, 'skeleton': AMASS,
      'fps': 20.0, 'title': 'title',
  } | change
  with pytest.raises(UserError, match=message):
    html.page(tmp_path / 'a.html', **arguments)
  assert not list(tmp_path.iterdir())


def test_a_browser_draws_the_page(page, browse, tmp_path):
  image = pytest.importorskip('PIL.Image')
  shot = tmp_path / 'shot.png'
  done = browse(f'{page.as_uri()}#25', f'--screenshot={shot}')
  assert 'CONSOLE' not in done.stderr
  with image.open(shot) as file:
    pixels = np.asarray(file.convert('RGB')).astype(int)
  # Both bodies, left and right limbs, below the captions.
  for half, colour in zip(np.split(pixels[200:], 2, 1),
                          (pose.TRUTH, pose.CLOSEST)):
    for side in ('left', 'right'):
      code = pose.shade(colour, side)
      tint = [int(code[i:i + 2], 16) for i in (1, 3, 5)]
      assert (np.abs(half - tint).max(-1) < 6).sum() > 200


def test_a_browser_plays_the_page_without_a_fault(page, browse, tmp_path):
  # Without a window no pictures are due, so let the clock ask for them.
  stub = (
      "'use strict';\nwindow.requestAnimationFrame = "
      'act => setTimeout(() => act(performance.now()), 16);'
  )
  played = tmp_path / 'played.html'
  text = page.read_text('utf-8')
  assert text.count("'use strict';") == 1
  played.write_text(text.replace("'use strict';", stub), 'utf-8')
  done = browse(played.as_uri(), '--dump-dom')
  assert 'CONSOLE' not in done.stderr
  # 1.5 s at 20 frames per second, less the start.
  assert 10 < int(re.search(r'data-frame="(\d+)"', done.stdout)[1]) <= 30
  assert re.search(r'<p id="fault" hidden="">', done.stdout)
  assert done.stdout.count('<figcaption') == 2


def test_a_browser_reads_the_positions_that_were_written(
    page, swing, browse, tmp_path
):
  # Frame 9 is the last observed one; a motion that is over holds its end.
  probe = (
      '<script>document.body.dataset.read = JSON.stringify([9, 12, 39].map('
      'f => [...poseOf(motions[1], f)]));</script></body>'
  )
  probed = tmp_path / 'probed.html'
  text = page.read_text('utf-8')
  assert text.count('</body>') == 1
  probed.write_text(text.replace('</body>', probe), 'utf-8')
  done = browse(probed.as_uri(), '--dump-dom')
  read = json.loads(re.search(r'data-read="([^"]*)"', done.stdout)[1])
  centred = swing - swing[:, :1]
  np.testing.assert_allclose(
      np.reshape(read, (3, 22, 3)), centred[[9, 12, 29]], atol=1e-4
  )


def test_a_fault_in_the_page_would_be_seen(page, browse, tmp_path):
  broken = tmp_path / 'broken.html'
  broken.write_text(page.read_text('utf-8').replace('"bones"', '"bonés"'))
  done = browse(broken.as_uri(), '--dump-dom')
  assert 'This page failed' in done.stdout
