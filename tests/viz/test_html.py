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
from diffax.viz import mesh
from diffax.viz import pose

AMASS = skeletons.AMASS21
EVIL = '</script><b>"A & B"</b> {{data}}'


def _bodies(motion):
  """Return octahedra around joints `[L, 22, 3]`: `[L, 132, 3]`, and faces."""
  tips = 0.09 * np.concatenate([np.eye(3), -np.eye(3)])
  faces = [(0, 1, 2), (1, 3, 2), (3, 4, 2), (4, 0, 2),
           (1, 0, 5), (3, 1, 5), (4, 3, 5), (0, 4, 5)]
  faces = np.array(faces) + 6 * np.arange(22)[:, None, None]
  skin = motion[:, :, None] + tips
  return skin.reshape(len(motion), 132, 3), faces.reshape(-1, 3)


@pytest.fixture(scope='module')
def bodied(swing, tmp_path_factory):
  """A page of which the first and last motion have a body."""
  path = tmp_path_factory.mktemp('bodied') / 'a.html'
  skin, faces = _bodies(swing)
  futures = {'ground truth': swing[10:], 'constructor': swing[10:],
             EVIL: swing[10:31]}
  bodies = mesh.Bodies(faces, skin[0], skin[:10], {
      'ground truth': skin[10:], EVIL: skin[10:31]})
  html.page(
      path, swing[:10], futures, AMASS, 45.0, EVIL, bodies=bodies,
      reference='ground truth',
  )
  return path


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


def test_bodies_survive_to_a_tenth_of_a_millimetre(bodied, swing):
  scene = _scene(bodied)
  skin, faces = _bodies(swing)
  skin = skin - np.append(swing[9, 0, :2], 0)

  def decode(text):
    numbers = np.frombuffer(base64.b64decode(text), '<i2')
    return numbers.reshape(-1, 132, 3) * scene['step']

  # 45 frames per second and 15 key poses: each third, and the last.
  assert scene['skin']['stride'] == 3
  np.testing.assert_allclose(
      decode(scene['skin']['past']), skin[[0, 3, 6, 9]], atol=1e-4)
  futures = scene['skin']['futures']
  assert set(futures) == {'ground truth', EVIL}
  np.testing.assert_allclose(
      decode(futures['ground truth']), skin[[*range(10, 39, 3), 39]], atol=1e-4)
  np.testing.assert_allclose(
      decode(futures[EVIL]), skin[[*range(10, 29, 3), 30]], atol=1e-4)
  packed = np.frombuffer(base64.b64decode(scene['skin']['faces']), '<i2')
  np.testing.assert_array_equal(packed.reshape(-1, 3), faces)
  assert scene['facts'].endswith('; bodies thinned to 132 vertices')


def test_without_bodies_the_page_has_no_skin(page):
  assert _scene(page)['skin'] is None


def test_bodies_of_other_motions_are_refused(swing, tmp_path):
  skin, faces = _bodies(swing)
  bodies = mesh.Bodies(faces, skin[0], skin, {'two': skin})
  with pytest.raises(UserError, match="expected those of .'one'., found 'two'"):
    html.page(tmp_path / 'a.html', swing, {'one': swing}, AMASS, 20.0, 'title',
              bodies=bodies)
  assert not list(tmp_path.iterdir())


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


def test_a_browser_reads_bodies_between_the_key_poses(
    bodied, swing, browse, tmp_path
):
  probe = (
      '<script>document.body.dataset.read = JSON.stringify('
      '[4, 9, 10, 14, 30, 31, 39].map(f => [...skinOf(motions[2], f)]));'
      'document.body.dataset.bare = skinOf(motions[1], 20);</script></body>'
  )
  probed = tmp_path / 'probed.html'
  text = bodied.read_text('utf-8')
  probed.write_text(text.replace('</body>', probe), 'utf-8')
  done = browse(probed.as_uri(), '--dump-dom')
  assert 'CONSOLE' not in done.stderr
  read = json.loads(re.search(r'data-read="([^"]*)"', done.stdout)[1])
  skin = _bodies(swing)[0] - np.append(swing[9, 0, :2], 0)
  # Frame 4 lies between 3 and 6; 14 between 13 and 16; after 30 it is over.
  expected = [
      (2 * skin[3] + skin[6]) / 3, skin[9], skin[10],
      (2 * skin[13] + skin[16]) / 3, skin[30], skin[30], skin[30],
  ]
  np.testing.assert_allclose(
      np.reshape(read, (7, 132, 3)), expected, atol=2e-4)
  assert re.search(r'data-bare="null"', done.stdout)


def test_a_browser_draws_faces_towards_it_the_nearest_last(
    bodied, swing, browse, tmp_path
):
  # A pen that notes the first corner of each face, and a view along -x.
  probe = (
      '<script>const noted = []; mesh({beginPath() {}, lineTo() {}, fill() {},'
      'closePath() {}, stroke() {}, moveTo(x, y) { noted.push([x, y]); }}, '
      '(x, y, z) => [y, -z, x, 1], pastSkin.slice(0, 396), "#009e73");'
      'document.body.dataset.read = JSON.stringify(noted);</script></body>'
  )
  probed = tmp_path / 'probed.html'
  text = bodied.read_text('utf-8')
  probed.write_text(text.replace('</body>', probe), 'utf-8')
  done = browse(probed.as_uri(), '--dump-dom')
  assert 'CONSOLE' not in done.stderr
  read = json.loads(re.search(r'data-read="([^"]*)"', done.stdout)[1])
  skin, faces = _bodies(swing)
  corners = (skin[0] - np.append(swing[9, 0, :2], 0))[faces]
  normals = np.cross(
      corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
  seen = corners[normals[:, 0] > 0]
  assert len(read) == len(seen) == len(faces) / 2
  # The four faces of an octahedron that are seen are equally near.
  order = np.argsort(seen[:, :, 0].sum(1), kind='stable')
  found = np.array(read).reshape(22, 4, 2).mean(1)
  expected = seen[order, 0].reshape(22, 4, 3).mean(1)[:, 1:] * [1, -1]
  np.testing.assert_allclose(found, expected, atol=2e-4)


@pytest.mark.parametrize('ticked', ['', 'bodies', 'stick figures'])
def test_a_browser_draws_bodies_or_sticks(bodied, browse, tmp_path, ticked):
  image = pytest.importorskip('PIL.Image')
  # A tick, as a user would set it.
  script = (
      '<script>for (const label of document.querySelectorAll("label")) '
      f'if (label.textContent === "{ticked}") label.click();</script></body>'
  )
  path, shot = tmp_path / 'ticked.html', tmp_path / 'ticked.png'
  path.write_text(bodied.read_text('utf-8').replace('</body>', script), 'utf-8')
  done = browse(f'{path.as_uri()}#25', f'--screenshot={shot}')
  assert 'CONSOLE' not in done.stderr
  with image.open(shot) as file:
    pixels = np.asarray(file.convert('RGB')).astype(int)
  # The reference on the left, below its caption.
  left = pixels[230:, :300]
  sticks = []
  for side in ('left', 'right'):
    code = pose.shade(pose.TRUTH, side)
    tint = [int(code[i:i + 2], 16) for i in (1, 3, 5)]
    sticks.append((np.abs(left - tint).max(-1) < 3).sum())
  # Also where a body is pale, with its sticks inside.
  area = (left.max(-1) - left.min(-1) > 20).sum()
  assert (min(sticks) > 100) == bool(ticked)
  assert (area > 5000) == (ticked != 'bodies')


def test_a_fault_in_the_page_would_be_seen(page, browse, tmp_path):
  broken = tmp_path / 'broken.html'
  broken.write_text(page.read_text('utf-8').replace('"bones"', '"bonés"'))
  done = browse(broken.as_uri(), '--dump-dom')
  assert 'This page failed' in done.stdout
