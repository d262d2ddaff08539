"""Windows of dances: what every set shares, and the store they come from."""

import json
import pathlib

import numpy as np
import pytest

from diffax import signal
from diffax.body import beats
from diffax.body import poses as poses_lib
from diffax.data import dance
from diffax.data import dance_store
from diffax.data.dance_store import HOP
from diffax.errors import DataError
from diffax.errors import UserError

FRAMES = 640
BEATS = [0.5, 3.01, 9.9]


def _poses(frames: int, dims: int, seed: int) -> np.ndarray:
  rng = np.random.default_rng(seed)
  body = rng.normal(size=(14, dims))
  body[[8, 11], -1] -= 3
  time = np.arange(frames)[:, None, None] / 62.5
  sway = np.sin(2 * np.pi * (time * rng.uniform(0.5, 1.5, (14, dims))
                             + rng.uniform(size=(14, dims))))
  return (body + 0.3 * sway).astype(np.float32)


def _collection(dims: int = 3, features: bool = False) -> tuple:
  rng = np.random.default_rng(0)
  tracks = [
      dance_store.Track(
          f't{i}',
          rng.normal(size=(FRAMES, 5)) if features else
          rng.uniform(-0.5, 0.5, FRAMES * HOP + 100).astype(np.float32),
          f't{i}.wav', {'licence': 'none', **({'beats': BEATS} if i == 2
                                              else {})})
      for i in range(3)
  ]
  dances = [
      dance_store.Dance(
          f'd{i}', f't{i}', _poses(FRAMES, dims, i), 'ab'[i % 2], f'p{i}',
          split, f'd{i}.pkl')
      for i, split in enumerate(dance_store.SPLITS)
  ]
  return tracks, dances, {'what': 'a test', 'licence': 'none'}


def _source(folder: pathlib.Path, seed: int = 0, **view) -> dance.Source:
  view = {'seconds': 2.0, **view}
  return dance.source(
      folder, dance.View(**view), seed=seed, batch_size=4)


@pytest.fixture(scope='module')
def stored(tmp_path_factory) -> pathlib.Path:
  folder = tmp_path_factory.mktemp('dance') / 'set'
  return dance.prepared('a set', 1, _collection, store=str(folder))


@pytest.mark.parametrize(
    'seconds, frames', [(10, 624), (25, 1560), (50, 3124), (0.064, 4)])
def test_windows_have_multiples_of_four_frames(seconds, frames):
  assert dance.frame_count(seconds, 62.5) == frames


def test_batches_have_what_systems_ask_for(stored):
  source = _source(stored)
  batch = source.train(3)
  frames = source.info['frames']
  assert frames == 124 and batch['music'].shape == (4, frames, 80)
  assert batch['motion'].shape == (4, frames, 28)
  assert batch['amplitude'].shape == (4, frames)
  assert (batch['amplitude'].max(1) == 1).all()
  assert (batch['amplitude'] >= 0).all()
  assert batch['step'].tolist() == [3] * 4 and batch['style'].dtype == np.int32
  kinds = {str(batch[key].dtype) for key in ('music', 'motion', 'amplitude')}
  assert kinds == {'float32'}


def test_batches_are_a_function_of_seed_and_step(stored):
  one, two = _source(stored), _source(stored)
  two.train(0)
  for key, value in one.train(5).items():
    np.testing.assert_array_equal(value, two.train(5)[key])
  other = _source(stored, seed=1).train(5)['motion']
  assert not np.array_equal(one.train(5)['motion'], other)
  assert not np.array_equal(
      one.train(5)['motion'], one.train(6)['motion'])


def test_an_epoch_shows_all_of_a_dance(stored):
  source = dance.source(
      stored, dance.View(seconds=2.0, yaw=0.0, mirror=False), seed=0,
      batch_size=5)
  assert source.info['epoch_size'] == 5
  music = np.asarray(dance_store.read(stored)[0][0].music)
  starts = []
  for window in source.train(0)['music']:
    distance = [np.abs(music[i:i + 124] - window).max()
                for i in range(FRAMES - 123)]
    assert min(distance) == 0
    starts.append(int(np.argmin(distance)))
  for item, start in enumerate(sorted(starts)):
    assert 124 * item <= start < 124 * (item + 2)


def test_segments_follow_one_another_and_poses_come_back(stored):
  source = _source(stored, yaw=0.0)
  test = source.segments('test')
  assert len(test['motion']) == FRAMES // 124
  np.testing.assert_allclose(
      test['start'], np.arange(5) * 124 / 62.5, rtol=1e-6)
  poses = test['motion'].reshape(-1, 124, 14, 2)
  restored = poses_lib.denormalise(poses, test['centre'], test['scale'])
  part = dance_store.read(stored)[0][2]
  np.testing.assert_allclose(
      restored.reshape(-1, 14, 2), dance.seen(part.poses[:620]), atol=1e-5)
  amplitude = beats.amplitude(beats.directogram(restored))
  np.testing.assert_allclose(test['amplitude'], amplitude, atol=1e-3)


def test_known_beats_are_marked(stored):
  source = _source(stored)
  assert 'beat' not in source.segments('val')
  marks = source.segments('test')['beat']
  assert marks.shape == (5, 124)
  places = np.flatnonzero(marks.reshape(-1))
  np.testing.assert_array_equal(places, np.floor(np.array(BEATS) * 62.5))


def test_the_wave_of_a_segment_has_its_spectrogram(stored):
  test = _source(stored).segments('test')
  found = np.asarray(signal.log_mel(test['wave'], signal.MAA))
  np.testing.assert_allclose(found[:, 2:-2], test['music'][:, 2:-2], atol=2e-4)
  assert test['wave'].shape == (5, 124 * HOP)


def test_a_long_spectrogram_in_pieces_is_that_of_the_whole():
  wave = np.random.default_rng(0).normal(size=HOP * 1500).astype(np.float32)
  whole = np.asarray(signal.log_mel(wave, signal.MAA))
  np.testing.assert_allclose(dance_store.mel(wave), whole, atol=1e-4)


def test_waves_and_directions_instead(stored):
  source = _source(stored, music='wave', pose='directions')
  batch = source.train(0)
  assert source.info['music'] == {'kind': 'wave', 'dims': 256}
  assert batch['music'].shape == (4, 124, 256)
  assert batch['motion'].shape == (4, 124, 26)
  vectors = batch['motion'].reshape(4, 124, 13, 2)
  np.testing.assert_allclose(
      np.linalg.norm(vectors, axis=-1), 1, atol=1e-5)
  poses = poses_lib.from_directions(vectors, source.info['motion']['lengths'])
  np.testing.assert_allclose(
      poses_lib.bone_lengths(poses)[0, 0], source.info['motion']['lengths'],
      rtol=1e-5)
  segments = source.segments('val')
  np.testing.assert_array_equal(
      segments['music'].reshape(5, -1), segments['wave'])


def test_cameras_change_windows_but_not_their_height(stored):
  still = _source(stored, yaw=0.0, mirror=False).train(0)['motion']
  around = _source(stored, yaw=180.0, mirror=False).train(0)['motion']
  scale = [np.ptp(x.reshape(4, -1, 2)[..., 1], 1) for x in (still, around)]
  assert not np.allclose(still, around)
  # Heights agree but for the scale, which the torso in the picture sets.
  ratio = scale[0] / scale[1]
  high = still.reshape(4, 124, 14, 2)[..., 1]
  other = around.reshape(4, 124, 14, 2)[..., 1]
  np.testing.assert_allclose(
      high, other * ratio[:, None, None], atol=1e-4)


def test_a_mirror_exchanges_the_sides():
  poses = _poses(8, 2, 0)
  mirror = dance.mirrored(poses)
  left, right = (poses_lib.JOINTS.index(n) for n in ('l_wrist', 'r_wrist'))
  np.testing.assert_array_equal(mirror[:, left], poses[:, right] * (-1, 1))
  np.testing.assert_array_equal(mirror[:, 0], poses[:, 0] * (-1, 1))
  np.testing.assert_array_equal(dance.mirrored(mirror), poses)


def test_features_have_no_wave(tmp_path):
  folder = dance.prepared(
      'features', 1, lambda: _collection(2, True), fps=15.0,
      store=str(tmp_path / 'set'))
  source = dance.source(
      folder, dance.View(seconds=2.0), seed=0, batch_size=2)
  assert source.info['music'] == {'kind': 'features', 'dims': 5}
  assert source.info['rate'] is None and source.info['fps'] == 15
  assert source.train(0)['music'].shape == (2, 28, 5)
  assert 'wave' not in source.segments('test')
  with pytest.raises(UserError, match='features only'):
    dance.source(folder, dance.View(music='wave'), seed=0, batch_size=2)


def test_a_set_is_made_once(tmp_path):
  calls = []

  def make() -> tuple:
    calls.append(1)
    return _collection()

  for _ in range(2):
    dance.prepared('x', 1, make, store=str(tmp_path / 'set'))
  assert len(calls) == 1


def test_another_version_has_another_folder(tmp_path, monkeypatch):
  monkeypatch.setenv('DIFFAX_STORE', str(tmp_path))
  folders = {dance.prepared('x', version, _collection) for version in (1, 2)}
  assert len(folders) == 2


@pytest.mark.parametrize('view, words', [
    ({'pose': 'angles'}, 'data.pose'),
    ({'music': 'midi'}, 'data.music'),
    ({'yaw': 200.0}, 'data.yaw'),
    ({'limit': 0}, 'data.limit'),
    ({'seconds': 0.01}, '4 frames'),
    ({'seconds': 60.0}, 'Shorten'),
])
def test_wrong_settings_are_named(stored, view, words):
  with pytest.raises(UserError, match=words):
    _source(stored, **view)


def test_unknown_splits_are_named(stored):
  with pytest.raises(UserError, match='split'):
    _source(stored).segments('dev')


@pytest.mark.parametrize('change, words', [
    ({'poses': np.zeros((9, 13, 2))}, r'shape \[T, 14'),
    ({'poses': np.full((9, 14, 2), np.nan)}, 'frame 0, joint nose'),
    ({'poses': np.zeros((1, 14, 2))}, '2 frames'),
    ({'split': 'dev'}, "'dev'"),
    ({'track': 't9'}, 'one of the tracks'),
    ({'start': FRAMES}, 'a frame of the track'),
    ({'name': 'd1'}, 'twice'),
])
def test_broken_dances_are_refused(tmp_path, change, words):
  tracks, dances, info = _collection(2)
  values = {**vars(dances[0]), **change}
  with pytest.raises(DataError, match=words):
    dance_store.write(
        tmp_path / 'x', 'x', 62.5, tracks,
        [dance_store.Dance(**values), *dances[1:]], info)


@pytest.mark.parametrize('sound, words', [
    (np.zeros(HOP), '1024 samples'),
    (np.full(HOP * 99, np.nan), 'finite'),
    (np.zeros((9, 9, 9)), 'wave'),
])
def test_broken_tracks_are_refused(sound, words):
  with pytest.raises(DataError, match=words):
    dance_store.check_track(dance_store.Track('t', sound, 't.wav'))


def test_a_changed_store_is_refused(tmp_path):
  folder = dance.prepared('x', 1, _collection, store=str(tmp_path / 'set'))
  array = folder / 'poses.npy'
  whole = array.read_bytes()
  array.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
  with pytest.raises(DataError, match='SHA-256'):
    dance_store.read(folder)
  array.write_bytes(whole[:-1])
  with pytest.raises(DataError, match='size'):
    dance_store.read(folder)
  array.write_bytes(whole)
  path = folder / 'manifest.json'
  manifest = json.loads(path.read_text())
  path.write_text(json.dumps({**manifest, 'fps': 60.0}))
  with pytest.raises(DataError, match='Delete'):
    dance_store.read(folder)
