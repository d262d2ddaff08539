"""Futures of clips and segments: what is read, chosen and written."""

import base64
import importlib.util
import json
import pathlib
import re
import types

import jax
import numpy as np
import pytest
import trimesh

from diffax.body import meshes
from diffax.body import skeletons
from diffax.data import bvh
from diffax.data import readers
from diffax.data import synthetic
from diffax.data.base import Source
from diffax.errors import DataError
from diffax.errors import UserError
from diffax.sampling import forecasting as sampling

_SPEC = importlib.util.spec_from_file_location(
    'tubes', pathlib.Path(__file__).parents[1] / 'body' / 'tubes.py'
)
tubes = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(tubes)

AMASS = skeletons.AMASS21
PAST, FUTURE, FPS = 6, 12, 20.0
INFO = {
    'name': 'toy', 'skeleton': AMASS, 'fps': FPS, 'past': PAST,
    'future': FUTURE, 'classes': ('any',), 'unit': 'm',
    'clips': {'test': ('first', 'second')},
}
NPZ = ('npz',)


@pytest.fixture(scope='module')
def walk():
  """Global motion `[80, 22, 3]` at 40 frames per second."""
  return synthetic.generate(0, 6, 2.0, 40.0)[0].positions


@pytest.fixture(scope='module')
def nodes(walk):
  """What the model should see of it: every second frame, root-centred."""
  return (walk - walk[:, :1])[::2, 1:]


@pytest.fixture(scope='module')
def clip(walk, tmp_path_factory):
  path = tmp_path_factory.mktemp('clip') / 'walk.npz'
  readers.save_npz(path, AMASS.joints, AMASS.parents, walk, 40.0)
  return path


class Model:
  """Hold the last pose, raised by k millimetres in sample k; keep the past."""

  def __init__(self, samples=5, frames=FUTURE):
    self.samples, self.frames = samples, frames

  def __call__(self, batch, key):
    assert set(batch) == {'past'}
    self.past, self.key = np.asarray(batch['past']), key
    lift = 1e-3 * np.arange(self.samples)[:, None, None, None]
    held = np.repeat(self.past[0, -1:], self.frames, 0)[None]
    return (held + lift * np.array([0, 0, 1.0]))[None]


def test_the_end_of_the_clip_is_the_past(clip, nodes, tmp_path):
  model = Model()
  sampling.forecast(model, INFO, clip, tmp_path, formats=NPZ, seed=3)
  np.testing.assert_allclose(model.past, nodes[None, -PAST:], atol=1e-6)
  assert model.past.dtype == np.float32
  assert model.key == jax.random.key(3)


def test_start_is_where_the_future_begins(clip, nodes, tmp_path):
  model = Model()
  files = sampling.forecast(
      model, INFO, clip, tmp_path, start=0.9, formats=NPZ
  )
  np.testing.assert_allclose(model.past, nodes[None, 12:18], atol=1e-6)
  with np.load(files['futures.npz']) as arrays:
    truth = arrays['truth']
  assert not truth[:, 0].any()
  np.testing.assert_allclose(truth[:, 1:], nodes[18:30], atol=1e-6)


def test_npz_holds_all_futures_with_their_root(clip, tmp_path):
  model = Model()
  files = sampling.forecast(
      model, INFO, clip, tmp_path / 'deep', diverse=2, formats=NPZ
  )
  assert list(files) == ['futures.npz']
  with np.load(files['futures.npz']) as arrays:
    found = dict(arrays)
  assert found['positions'].shape == (5, FUTURE, 22, 3)
  assert found['past'].shape == (PAST, 22, 3)
  assert not found['positions'][:, :, 0].any()
  np.testing.assert_allclose(
      found['positions'][:, :, 1:],
      model({'past': model.past}, model.key)[0], atol=1e-6,
  )
  assert tuple(found['joints']) == AMASS.joints
  assert tuple(found['parents']) == AMASS.parents
  assert found['fps'] == FPS and found['unit'] == 'm' and found['up'] == 'z'
  assert 'truth' not in found
  # The mean is sample 2; farthest from it are 0 and 4.
  assert found['typical'] == 2
  assert sorted(found['diverse']) == [0, 4]


def test_the_closest_is_measured_against_the_truth(nodes, tmp_path):
  arrays = {
      'past': nodes[None, :PAST], 'clip': np.array([1]),
      'start': np.array([10]), 'label': np.array([0]),
  }
  held = np.repeat(nodes[PAST - 1:PAST], FUTURE, 0)
  arrays['future'] = held[None] + 3e-3 * np.array([0, 0, 1.0])
  source = Source(INFO, lambda step: arrays, lambda split: arrays)
  files = sampling.forecast_segment(Model(), source, tmp_path, formats=NPZ)
  with np.load(files['futures.npz']) as found:
    assert found['closest'] == 3
    assert found['diverse'][0] == 0


def test_bvh_stands_on_the_ground_and_reads_back(clip, nodes, tmp_path):
  files = sampling.forecast(
      Model(), INFO, clip, tmp_path, start=1.0, diverse=1, formats=('bvh',)
  )
  assert list(files) == ['closest.bvh', 'diverse_1.bvh']
  read = bvh.read(files['diverse_1.bvh'])
  assert read.fps == FPS and len(read.positions) == PAST + FUTURE
  assert np.ptp(read.positions[:, 0], axis=0).max() < 1e-6
  assert read.positions[:PAST, :, 2].min() == pytest.approx(0, abs=0.02)
  order = [read.joints.index(name) for name in AMASS.nodes]
  found = read.positions[:, order] - read.positions[:, :1]
  np.testing.assert_allclose(found[:PAST], nodes[14:20], atol=0.02)


def test_bvh_of_a_skeleton_whose_parents_come_late(tmp_path):
  body = skeletons.BODY14
  assert any(p > j for j, p in enumerate(body.parents))
  # Held still, so that the rigid bones of the file lose nothing.
  pose = 0.1 * np.random.default_rng(0).normal(size=(14, 3))
  held = np.tile(pose, (3, 1, 1))
  gap = sampling._save_bvh(tmp_path / 'a.bvh', held, held, body, FPS)
  read = bvh.read(tmp_path / 'a.bvh', unit='cm', up='y')
  assert set(read.joints) == set(body.joints)
  for name, joint in zip(body.joints, body.parents):
    above = read.parents[read.joints.index(name)]
    assert joint < 0 or read.joints[above] == body.joints[joint]
  order = [read.joints.index(name) for name in body.nodes]
  found = read.positions[:, order] - read.positions[:, :1]
  np.testing.assert_allclose(found[:3], held, atol=1e-5)
  assert gap < 1e-5


def test_every_format_is_written(clip, tmp_path, capsys):
  pytest.importorskip('matplotlib')
  pytest.importorskip('imageio_ffmpeg')
  files = sampling.forecast(
      Model(3), INFO, clip, tmp_path / '[run]', start=1.0, diverse=1
  )
  assert [name.partition('.')[2] for name in files] == [
      'npz', 'bvh', 'bvh', 'gif', 'mp4', 'png', 'html'
  ]
  assert all(path.stat().st_size > 2000 for path in files.values())
  printed = capsys.readouterr().out
  assert 'walk.npz from 1.00 s' in printed
  assert f'in {tmp_path}/[run]\n' in printed
  for name in files:
    assert f' {name} ' in printed
  page = files['futures.html'].read_text('utf-8')
  assert 'ground truth' in page and 'diverse 1' in page


def test_a_map_of_joints_may_be_a_file(walk, nodes, tmp_path):
  names = [f'bone{i}' for i in range(22)]
  path, rules = tmp_path / 'odd.npz', tmp_path / 'map.json'
  readers.save_npz(path, names, AMASS.parents, walk, 40.0)
  with pytest.raises(DataError, match='joints: expected the joints of amass21'):
    sampling.forecast(Model(), INFO, path, tmp_path, formats=NPZ)
  pairs = [f'"{a}": "{b}"' for a, b in zip(AMASS.joints, names)]
  rules.write_text('{' + ', '.join(pairs) + '}')
  for given in (rules, str(rules), dict(zip(AMASS.joints, names))):
    model = Model()
    sampling.forecast(
        model, INFO, path, tmp_path, joint_map=given, formats=NPZ
    )
    np.testing.assert_allclose(model.past, nodes[None, -PAST:], atol=1e-6)


@pytest.mark.parametrize('rate, frames, message', [
    (15.0, 80, 'fps: expected at least 20, .* found 15'),
    (40.0, 9, r'frames: expected at least 6 at 20 fps .* found 5 \(0.25 s\)'),
])
def test_a_clip_of_no_use_is_refused(walk, tmp_path, rate, frames, message):
  path = tmp_path / 'clip.npz'
  readers.save_npz(path, AMASS.joints, AMASS.parents, walk[:frames], rate)
  with pytest.raises(DataError, match=message):
    sampling.forecast(Model(), INFO, path, tmp_path, formats=NPZ)


def test_a_rate_a_hair_below_is_taken(walk, nodes, tmp_path):
  path = tmp_path / 'clip.npz'
  readers.save_npz(path, AMASS.joints, AMASS.parents, walk[::2], 19.98)
  model = Model()
  sampling.forecast(model, INFO, path, tmp_path, formats=NPZ)
  np.testing.assert_allclose(model.past, nodes[None, -PAST:], atol=1e-6)


@pytest.mark.parametrize('change, message', [
    ({'start': 0.2}, r'start: expected 0.30..2.00 s .* found 0.2 s'),
    ({'start': 2.2}, 'start: expected 0.30'),
    ({'start': float('nan')}, 'start: expected 0.30'),
    ({'formats': ('avi',)}, "formats: expected some of .* found 'avi'"),
    ({'diverse': -1}, 'diverse: expected 0 or more'),
    ({'input_path': 'walk.fbx'}, "found suffix '.fbx'"),
    ({'asf': 'body.asf'}, "no option 'asf'"),
    ({'sample_fn': lambda b, k: np.zeros((1, 5, 12, 20, 3))},
     r'expected .1, K, F, 21, 3., found .1, 5, 12, 20, 3.'),
    ({'sample_fn': lambda b, k: np.full((1, 5, 12, 21, 3), np.nan)},
     'futures: expected finite'),
])
def test_mistakes_are_named(clip, tmp_path, change, message):
  arguments = {
      'sample_fn': Model(), 'info': INFO, 'input_path': clip,
      'workdir': tmp_path, 'formats': NPZ,
  } | change
  with pytest.raises(UserError, match=message):
    sampling.forecast(**arguments)


def test_a_workdir_that_is_a_file_is_named(clip, tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(UserError, match='cannot write'):
    sampling.forecast(Model(), INFO, clip, tmp_path / 'file', formats=NPZ)


def test_the_seed_draws_the_segment_and_an_index_takes_it(nodes, tmp_path):
  total = 9
  arrays = {
      'past': np.stack([nodes[i:i + PAST] for i in range(total)]),
      'future': np.stack([nodes[i:i + FUTURE] for i in range(total)]),
      'clip': np.arange(total) % 2, 'start': np.arange(total),
      'label': np.zeros(total, int),
  }
  source = Source(INFO, lambda step: arrays, lambda split: arrays)

  def past(**options):
    model = Model()
    sampling.forecast_segment(
        model, source, tmp_path, formats=NPZ, **options
    )
    return model.past[0]

  np.testing.assert_array_equal(past(seed=1), past(seed=1))
  assert len({past(seed=seed).tobytes() for seed in range(5)}) > 1
  np.testing.assert_array_equal(past(segment=4), arrays['past'][4])
  with pytest.raises(UserError, match='segment: expected 0..8 of split'):
    past(segment=9)


def test_without_packages_files_are_written_and_pictures_named(
    clip, tmp_path, monkeypatch, capsys
):
  monkeypatch.setattr(sampling, '_installed', lambda package: False)
  files = sampling.forecast(Model(), INFO, clip, tmp_path, diverse=0)
  assert list(files) == ['futures.npz', 'typical.bvh', 'futures.html']
  assert 'No GIF drawn' in capsys.readouterr().out
  with pytest.raises(UserError, match=r"pip install 'diffax\[viz\]'"):
    sampling.forecast(Model(), INFO, clip, tmp_path, formats=('gif',))


def test_futures_longer_than_the_truth_are_compared_where_it_is(
    clip, tmp_path
):
  files = sampling.forecast(
      Model(frames=2 * FUTURE), INFO, clip, tmp_path, start=1.0, formats=NPZ
  )
  with np.load(files['futures.npz']) as arrays:
    assert arrays['positions'].shape[1] == 2 * FUTURE
    assert len(arrays['truth']) == FUTURE
    assert 'closest' in arrays


def test_amc_with_its_skeleton_elsewhere(data_dir, tmp_path):
  cmu = data_dir / 'motion' / 'cmu'
  path = sorted((cmu / 'amc' / '35').glob('*.xz'))[0]
  model = Model()
  sampling.forecast(model, INFO, path, tmp_path, start=1.0, formats=NPZ,
                    asf=cmu / 'asf' / '35.asf')
  head = AMASS.nodes.index('Head')
  assert 0.4 < model.past[0, :, head, 2].mean() < 0.9


@pytest.fixture(scope='module')
def body_model(tmp_path_factory):
  folder = tmp_path_factory.mktemp('smplh')
  tubes.write(folder / 'neutral' / 'model.npz')
  return folder


def _scene(page):
  text = page.read_text('utf-8')
  return json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])


def test_bodies_are_written_and_shown(
    clip, nodes, body_model, tmp_path, capsys
):
  files = sampling.forecast(
      Model(), INFO, clip, tmp_path, start=1.0, diverse=1,
      formats=('glb', 'obj', 'html'), body_model=body_model,
  )
  assert list(files) == [
      'closest.glb', 'diverse_1.glb', 'closest_000.obj', 'closest_002.obj',
      'closest_005.obj', 'closest_008.obj', 'closest_011.obj', 'futures.html',
  ]
  # What stands in the files is the body of the past, on the ground.
  past = np.pad(nodes[14:20], ((0, 0), (1, 0), (0, 0)))
  model = meshes.load(body_model)
  skin = meshes.vertices(meshes.fit(past, model), model)
  first, = trimesh.load(files['closest.glb'], process=False).geometry.values()
  expected = skin[0] - [0, 0, skin[..., 2].min()]
  np.testing.assert_allclose(
      first.vertices, expected[:, [0, 2, 1]] * [1, 1, -1], atol=1e-5)
  read = trimesh.load(files['closest_011.obj'], process=False)
  assert read.faces.shape == first.faces.shape
  assert 1.3 < np.ptp(read.vertices[:, 1]) < 2.2
  scene = _scene(files['futures.html'])
  titles = ['ground truth', 'closest', 'diverse 1']
  assert sorted(scene['skin']['futures']) == sorted(titles)
  assert len(base64.b64decode(scene['skin']['past'])) % 6 == 0
  printed = capsys.readouterr().out
  assert re.search(r'moving body, joints within \d+ mm', printed)
  assert 'body at +0.60 s' in printed


def test_by_default_bodies_are_drawn_if_there_is_a_model(
    clip, body_model, tmp_path, monkeypatch
):
  monkeypatch.setattr(sampling, '_installed', lambda package: False)
  files = sampling.forecast(
      Model(), INFO, clip, tmp_path, diverse=0, body_model=body_model)
  assert list(files) == ['futures.npz', 'typical.bvh', 'typical.glb'] + [
      f'typical_{frame:03d}.obj' for frame in (0, 2, 5, 8, 11)
  ] + ['futures.html']
  assert list(_scene(files['futures.html'])['skin']['futures']) == ['typical']


def test_without_the_model_file_sticks_are_drawn_and_it_is_named(
    clip, tmp_path, capsys
):
  lost = tmp_path / 'SMPLH_NEUTRAL.npz'
  files = sampling.forecast(
      Model(), INFO, clip, tmp_path, diverse=0, body_model=lost)
  printed = ' '.join(capsys.readouterr().out.split())
  assert 'No bodies drawn, but stick figures: body_model: expected' in printed
  assert str(lost) in printed and 'smpl.is.tue.mpg.de' in printed
  assert not [name for name in files if name.endswith(('glb', 'obj'))]
  scene = _scene(files['futures.html'])
  assert scene['skin'] is None and scene['motions'][0]['data']
  # Whoever asks for bodies alone is told by an error.
  with pytest.raises(UserError, match='found no such file'):
    sampling.forecast(Model(), INFO, clip, tmp_path, formats=('glb',),
                      body_model=lost)
  with pytest.raises(UserError, match="formats: 'obj' needs a body_model"):
    sampling.forecast(Model(), INFO, clip, tmp_path, formats=('obj',))


@pytest.mark.parametrize('given', [True, False])
def test_the_command_passes_the_body_model_on(
    clip, nodes, body_model, tmp_path, monkeypatch, given
):
  monkeypatch.setattr(sampling, '_installed', lambda package: False)
  arrays = {
      'past': nodes[None, :PAST], 'future': nodes[None, PAST:PAST + FUTURE],
      'clip': np.zeros(1, int), 'start': np.zeros(1, int),
      'label': np.zeros(1, int),
  }
  source = Source(INFO, lambda step: arrays, lambda split: arrays)
  trained = types.SimpleNamespace(
      source=source, sample=lambda batch, key: {'motion': Model()(batch, key)})
  files = sampling.draw(
      trained, tmp_path, seed=0, body_model=body_model,
      **({'input': clip, 'start': 1.0} if given else {}))
  assert 'closest.glb' in files


def test_a_skeleton_without_a_body_is_drawn_as_sticks(
    body_model, tmp_path, capsys
):
  body = skeletons.BODY14
  held = np.tile(0.1 * np.random.default_rng(0).normal(size=(14, 3)), (6, 1, 1))
  arrays = {
      'past': held[None], 'future': held[None], 'clip': np.zeros(1, int),
      'start': np.zeros(1, int), 'label': np.zeros(1, int),
  }
  info = INFO | {'skeleton': body}
  source = Source(info, lambda step: arrays, lambda split: arrays)
  files = sampling.forecast_segment(
      Model(frames=6), source, tmp_path, formats=('html',),
      body_model=body_model)
  assert 'found skeleton body14' in capsys.readouterr().out
  assert _scene(files['futures.html'])['skin'] is None


def test_hands_are_left_to_the_model(body_model, tmp_path):
  body = skeletons.AMASS51
  rest = tubes.rest(52)
  held = np.tile((rest - rest[0])[1:], (6, 1, 1))
  arrays = {
      'past': held[None], 'future': held[None], 'clip': np.zeros(1, int),
      'start': np.zeros(1, int), 'label': np.zeros(1, int),
  }
  info = INFO | {'skeleton': body}
  source = Source(info, lambda step: arrays, lambda split: arrays)
  files = sampling.forecast_segment(
      Model(frames=6), source, tmp_path, formats=('glb',), diverse=0,
      body_model=body_model)
  assert list(files) == ['closest.glb']
