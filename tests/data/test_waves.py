"""Stretches of sound: whole tracks to a split, batches that can be redrawn."""

import numpy as np
import pytest

from diffax.data import audio
from diffax.data import waves
from diffax.errors import DataError
from diffax.errors import UserError

pytest.importorskip('soundfile')


@pytest.fixture
def folder(tmp_path):
  """Seven tracks of a second and more; each sample names its track."""
  place = tmp_path / 'music' / 'tracks'
  place.mkdir(parents=True)
  for i in range(7):
    rise = np.linspace(0, 0.01, 16000 + 100 * i)
    audio.write(place / f'track_{i}.wav', 0.1 * (i + 1) + rise)
  (place / 'track_0.beats.txt').write_text('0.5')
  return tmp_path


def build(root, **options):
  settings = {'seed': 3, 'batch_size': 16, 'samples': 1024, 'folds': 4}
  return waves.waves(root=root, **settings | options)


def tracks_of(batch):
  return set(np.round(10 * batch['wave'].mean(1) - 1.05).astype(int))


def test_splits_share_no_track(folder):
  source = build(folder)
  heard = set()
  for step in range(20):
    batch = source.train(step)
    assert batch['wave'].shape == (16, 1024)
    assert batch['wave'].dtype == np.float32
    np.testing.assert_array_equal(batch['step'], np.full(16, step, np.int32))
    heard |= tracks_of(batch)
  assert heard == {2, 3, 6}
  for split, numbers in (('test', [0, 4]), ('val', [1, 5])):
    found = source.segments(split)
    assert sorted(set(found['track'])) == numbers == sorted(tracks_of(found))
    assert found['wave'].shape == (len(found['track']), 1024)
  assert source.info['epoch_size'] == 15 * 2 + 16
  assert source.info['tracks'][2] == 'track_2'


def test_batches_follow_from_seed_and_step(folder):
  first, again, other = (build(folder, seed=s) for s in (3, 3, 4))
  np.testing.assert_array_equal(first.train(5)['wave'], again.train(5)['wave'])
  assert np.any(first.train(5)['wave'] != first.train(6)['wave'])
  assert np.any(first.train(5)['wave'] != other.train(5)['wave'])


def test_segments_are_the_track_in_order(folder):
  found = build(folder).segments('test')
  own = found['wave'][found['track'] == 4]
  wave = audio.read(folder / 'music' / 'tracks' / 'track_4.wav')
  np.testing.assert_array_equal(own.ravel(), wave[:own.size])
  np.testing.assert_allclose(
      found['start'][found['track'] == 4], np.arange(len(own)) * 0.064
  )


def test_wrong_settings_and_folders_are_named(folder, tmp_path):
  for option, words in (
      ({'folds': 2}, 'folds: expected 3'), ({'samples': 0}, 'samples'),
      ({'folds': 3, 'folder': 'music/none'}, 'music/none: files: .*none'),
  ):
    with pytest.raises(UserError, match=words):
      build(folder, **option)
  with pytest.raises(UserError, match="'dev'"):
    build(folder).segments('dev')
  with pytest.raises(DataError, match=r'track_0.wav: length: .*at least 1\.02'):
    build(folder, samples=16384)
  for path in (folder / 'music' / 'tracks').glob('track_[1-6].wav'):
    path.unlink()
  with pytest.raises(DataError, match='files: expected 4 or more tracks, fou'):
    build(folder)
