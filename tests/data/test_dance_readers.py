"""Readers of AIST++, LORIS and BHS Dance, on files in their layouts."""

import pathlib
import pickle

import numpy as np
import pytest

from diffax.body import poses as poses_lib
from diffax.data import aist
from diffax.data import bhs
from diffax.data import loris
from diffax.data import pickles
from diffax.errors import DataError
from diffax.errors import UserError

soundfile = pytest.importorskip('soundfile')

# COCO's 17 joints of someone who stands, metres, x to their left, y up.
COCO = np.array([
    (0, 1.6), (0.03, 1.63), (-0.03, 1.63), (0.07, 1.6), (-0.07, 1.6),
    (0.2, 1.4), (-0.2, 1.4), (0.25, 1.15), (-0.25, 1.15), (0.27, 0.9),
    (-0.27, 0.9), (0.12, 0.9), (-0.12, 0.9), (0.13, 0.5), (-0.13, 0.5),
    (0.13, 0.1), (-0.13, 0.1),
])


def _body(frames: int, fps: float = 60.0) -> np.ndarray:
  """Let COCO's body wave, [T, 17, 3] metres, y up, z to the front."""
  time = np.arange(frames) / fps
  body = np.repeat(np.c_[COCO, np.zeros(17)][None], frames, 0)
  body[:, 9, 1] += 0.3 * np.sin(2 * np.pi * time)
  body[:, 10, 2] += 0.3 * np.cos(2 * np.pi * time)
  return body


def _picture(frames: int, fps: float) -> np.ndarray:
  """See it in a picture, [T, 17, 3] pixels, y down, and confidences."""
  places = _body(frames, fps)[..., :2] * (200, -200) + (320, 400)
  return np.concatenate([places, np.full((frames, 17, 1), 0.9)], -1)


def _tone(path: pathlib.Path, seconds: float, rate: int) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  time = np.arange(int(seconds * rate)) / rate
  soundfile.write(path, 0.5 * np.sin(2 * np.pi * 220 * time), rate)


NAMES = ('gBR_sBM_cAll_d04_mBR0_ch01', 'gBR_sFM_cAll_d05_mBR1_ch02',
         'gPO_sBM_cAll_d10_mPO3_ch01')


def _aist(root: pathlib.Path, seconds: float = 4.0) -> pathlib.Path:
  frames = int(60 * seconds)
  for kind in ('keypoints3d', 'keypoints2d', 'splits'):
    (root / kind).mkdir(parents=True)
  for name in NAMES:
    _write(root / 'keypoints3d' / f'{name}.pkl',
           {'keypoints3d': 100 * _body(frames)})
    _write(root / 'keypoints2d' / f'{name}.pkl', {
        'keypoints2d': np.stack([_picture(frames, 60)] * 9),
        'det_scores': np.ones((9, frames)),
        'timestamps': np.arange(frames) * 16667,
    })
    _tone(root / 'wav' / f'{name.split("_")[4]}.wav', seconds, 22050)
  for split, name in zip(('train', 'val', 'test'), NAMES):
    (root / 'splits' / f'crossmodal_{split}.txt').write_text(name + '\n')
  return root


def _write(path: pathlib.Path, value: object) -> None:
  path.write_bytes(pickle.dumps(value))


def test_aist_is_read(tmp_path):
  _, dances, info = aist.read(_aist(tmp_path))
  assert [d.split for d in dances] == ['test', 'val', 'train']
  assert [d.style for d in dances] == ['break', 'break', 'pop']
  assert dances[0].subject == 'd04' and dances[0].track == 'mBR0'
  # 240 frames at 60 a second become 249 at 62.5.
  assert dances[0].poses.shape == (249, 14, 3)
  nose = dances[0].poses[:, 0]
  np.testing.assert_allclose(nose[0], (0, 0, 1.6), atol=1e-6)
  left = dances[0].poses[0, poses_lib.JOINTS.index('l_shoulder')]
  np.testing.assert_allclose(left, (0, 0.2, 1.4), atol=1e-6)
  assert info['skipped'] == [] and 'CC BY 4.0' in info['licence']


def test_aist_is_served(tmp_path):
  source = aist.aist(
      seed=0, batch_size=2, root=str(_aist(tmp_path / 'raw')),
      store=str(tmp_path / 'set'), seconds=2.0)
  assert source.train(0)['motion'].shape == (2, 124, 28)
  assert source.info['music'] == {'kind': 'mel', 'dims': 80}
  assert source.segments('test')['wave'].shape == (2, 124 * 256)
  assert source.info['styles'][:2] == ('break', 'pop')


def test_the_front_camera_sees_the_same_in_space_and_picture(tmp_path):
  root = _aist(tmp_path)
  flat = aist.read(root, '2d')[1][0].poses
  space = aist.read(root, '3d')[1][0].poses
  seen = poses_lib.project(space, target=np.zeros(3))
  for one, two in zip(poses_lib.normalise(flat), poses_lib.normalise(seen)):
    if one.ndim == 3:
      np.testing.assert_allclose(one, two, atol=1e-6)


def test_splits_of_aist(tmp_path):
  root = _aist(tmp_path)
  chosen = list(aist.sequences(root))
  official = aist.divide(root, chosen, 'official')
  assert [official[name] for name in NAMES] == ['train', 'val', 'test']
  assert set(aist.divide(root, chosen, 'random')) == set(NAMES)
  (root / 'ignore_list.txt').write_text(NAMES[0])
  assert [s.name for s in aist.sequences(root)] == list(NAMES[1:])
  (root / 'splits' / 'crossmodal_val.txt').unlink()
  with pytest.raises(DataError, match='crossmodal_val'):
    aist.divide(root, chosen, 'official')


def _gap(frames: slice) -> dict:
  body = 100 * _body(240)
  body[frames, 9] = np.nan
  return {'keypoints3d': body}


@pytest.mark.parametrize('value, words', [
    ({'keypoints3d': np.zeros((9, 16, 3))}, r'\[T, 17, 3\]'),
    ({'keypoints3d': np.zeros((1, 17, 3))}, '2 frames'),
    ({'points': np.zeros((9, 17, 3))}, 'keypoints3d'),
    ({'keypoints3d': np.zeros((9, 17, 3), object)}, 'object'),
    ([1, 2], 'dictionary'),
    ({'keypoints3d': 100 * _body(60)[..., [0, 2, 1]]}, 'another axis'),
    (_gap(slice(60, 120)), 'l_wrist'),
])
def test_broken_joints_of_aist_are_refused(tmp_path, value, words):
  path = tmp_path / 'x.pkl'
  _write(path, value)
  with pytest.raises(DataError, match=words):
    aist.read_3d(path)


def test_short_gaps_of_aist_are_filled(tmp_path):
  _write(tmp_path / 'x.pkl', _gap(slice(60, 70)))
  assert np.isfinite(aist.read_3d(tmp_path / 'x.pkl')).all()


def test_code_in_a_pickle_is_not_run(tmp_path):
  class Trap:
    """Write a file when unpickled."""

    def __reduce__(self):
      return (pathlib.Path.write_text, (tmp_path / 'sprung', 'x'))

  _write(tmp_path / 'x.pkl', {'keypoints3d': Trap()})
  with pytest.raises(DataError, match='no array'):
    pickles.read(tmp_path / 'x.pkl')
  assert not (tmp_path / 'sprung').exists()
  (tmp_path / 'y.pkl').write_bytes(pickle.dumps({'a': np.ones(3)})[:-9])
  with pytest.raises(DataError, match='pickle'):
    pickles.read(tmp_path / 'y.pkl')


def test_another_rate_of_aist_is_refused(tmp_path):
  path = tmp_path / 'x.pkl'
  picture = np.stack([_picture(60, 60)] * 2)
  _write(path, {'keypoints2d': picture, 'timestamps': np.arange(60) / 30})
  with pytest.raises(DataError, match='1/60'):
    aist.read_2d(path)
  _write(path, {'keypoints2d': picture, 'timestamps': np.arange(60) / 60})
  assert aist.read_2d(path).shape == (60, 14, 2)
  with pytest.raises(DataError, match='3 cameras'):
    aist.read_2d(path, 3)


def test_missing_music_of_aist_is_named(tmp_path):
  root = _aist(tmp_path)
  (root / 'wav' / 'mPO3.wav').unlink()
  with pytest.raises(DataError, match='mPO3.wav'):
    aist.read(root)


def test_bad_sequences_of_aist_can_be_skipped(tmp_path):
  root = _aist(tmp_path)
  _write(root / 'keypoints3d' / f'{NAMES[2]}.pkl', [])
  with pytest.raises(DataError):
    aist.read(root)
  _, dances, info = aist.read(root, skip_bad=True)
  assert len(dances) == 2 and NAMES[2] in info['skipped'][0]
  (root / 'keypoints3d' / 'x.pkl').write_bytes(b'1')
  with pytest.raises(DataError, match='x.pkl'):
    list(aist.sequences(root))


@pytest.mark.parametrize('field, value', [
    ('keypoints', '4d'), ('split', 'mine'), ('camera', 10)])
def test_wrong_settings_of_aist_are_named(field, value):
  with pytest.raises(UserError, match=field):
    aist.aist(seed=0, batch_size=1, **{field: value})


SEGMENTS = {
    'train': ('gKR_sFM_c09_d28_mKR1_ch02', 'gKR_sFM_c01_d28_mKR2_ch02'),
    'test': ('gHO_sFM_c09_d19_mHO5_ch06',),
}


def _loris(
    root: pathlib.Path, fps: float = 20.0, part: str = 'dance'
) -> pathlib.Path:
  place = root / part
  for split, names in SEGMENTS.items():
    for kind, suffix in (('audio', 'wav'), ('pose2d', 'npy')):
      (place / f'{kind}_s25').mkdir(parents=True, exist_ok=True)
      (place / f'{part}_{kind}_s25_{split}_segment.txt').write_text(''.join(
          f'yourpath/LORIS/{part}/{kind}_s25/{name}.{suffix}\n'
          for name in names))
    for name in names:
      np.save(place / 'pose2d_s25' / f'{name}.npy',
              _picture(int(25 * fps), fps))
      _tone(place / 'audio_s25' / f'{name}.wav', 25, 22050)
  return place


def test_loris_is_read(tmp_path):
  place = _loris(tmp_path)
  tracks, dances, info = loris.read(place, 'dance')
  assert [d.split for d in dances] == ['train', 'train', 'test']
  assert dances[0].style == 'krump' and dances[0].subject == 'd28'
  assert dances[0].facts['fps'] == 20
  assert abs(len(dances[0].poses) / 62.5 - 25) < 0.1
  wrist = dances[0].poses[:, poses_lib.JOINTS.index('l_wrist'), 1]
  # y is up again: the wrist of 0.9 m rises first.
  assert wrist[16] > wrist[0] and np.ptp(wrist) == pytest.approx(120, rel=0.02)
  assert len(tracks[0].sound) == 25 * 16000
  assert info['published'] == (1692, 189)
  assert info['found'] == {'train': 2, 'test': 1}


def test_loris_is_served(tmp_path):
  _loris(tmp_path / 'loris')
  source = loris.loris(
      seed=0, batch_size=2, root=str(tmp_path), store=str(tmp_path / 'set'))
  assert source.train(0)['music'].shape == (2, 624, 80)
  assert source.segments('test')['motion'].shape == (2, 624, 28)


def test_loris_by_music(tmp_path):
  dances = loris.read(_loris(tmp_path), 'dance', split='music')[1]
  splits = {d.name.split('_')[4]: d.split for d in dances}
  assert splits['mKR2'] == splits['mHO5'] == 'test'
  assert splits['mKR1'] != 'test'


def test_videos_of_loris_are_not_divided():
  found = {
      loris._split(f'2019_SWJ_LF_Anna_seg{i}', 'train', 'published', 0.5)
      for i in range(4)
  }
  assert len(found) == 1
  drawn = [loris._split(f'{i}_seg0', 'train', 'published', 0.1)
           for i in range(500)]
  assert 25 < drawn.count('val') < 80


@pytest.mark.parametrize('points, words', [
    (np.zeros((500, 18, 3)), '17, 3'),
    (np.zeros((500, 17, 2)), '17, 3'),
    (_picture(100, 4), '4 a second'),
    (_picture(2500, 100), '100 a second'),
    (np.where(np.arange(17)[:, None] == 3, np.nan, _picture(500, 20)), None),
    (np.where(np.arange(17)[:, None] == 9, np.nan, _picture(500, 20)),
     'l_wrist'),
    (_picture(500, 20) * (1, 1, 0.1), 'nose'),
])
def test_poses_of_loris_are_checked(tmp_path, points, words):
  place = _loris(tmp_path)
  name = SEGMENTS['train'][0]
  np.save(place / 'pose2d_s25' / f'{name}.npy', points)
  if words is None:
    # An ear is none of the 14 joints.
    assert np.isfinite(
        loris.read_dance(place, 'dance', name, 25, 'train').poses).all()
    return
  with pytest.raises(DataError, match=words):
    loris.read_dance(place, 'dance', name, 25, 'train')


def test_sounds_of_loris_are_checked(tmp_path):
  place = _loris(tmp_path)
  path = place / 'audio_s25' / f'{SEGMENTS["train"][0]}.wav'
  _tone(path, 20, 22050)
  with pytest.raises(DataError, match='20.00 s'):
    loris.read(place, 'dance')
  path.unlink()
  with pytest.raises(DataError, match=path.name):
    loris.read(place, 'dance')
  _, dances, info = loris.read(place, 'dance', skip_bad=True)
  assert len(dances) == 2 and len(info['skipped']) == 1


def test_lists_of_loris_must_agree(tmp_path):
  place = _loris(tmp_path)
  path = place / 'dance_pose2d_s25_train_segment.txt'
  lines = path.read_text().splitlines()
  path.write_text('\n'.join(reversed(lines)))
  with pytest.raises(DataError, match='line 1'):
    loris.names(place, 'dance', 25, 'train')
  path.write_text(lines[0])
  with pytest.raises(DataError, match='lines'):
    loris.names(place, 'dance', 25, 'train')


@pytest.mark.parametrize('settings, words', [
    ({'part': 'polo'}, 'data.part'),
    ({'segment_seconds': 50}, 'segment_seconds'),
    ({'part': 'fs', 'split': 'music'}, 'data.split'),
    ({'val_share': 0.0}, 'val_share'),
])
def test_wrong_settings_of_loris_are_named(settings, words):
  with pytest.raises(UserError, match=words):
    loris.loris(seed=0, batch_size=1, **settings)


VIDEOS = ('v00', 'v01', 'v02')
UNITS = np.stack([
    _picture(32, 15)[:, [0, 6, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15], :2]
] * 3)


def _bhs(root: pathlib.Path, videos: int = 60) -> pathlib.Path:
  rng = np.random.default_rng(0)
  (root / 'unitList').mkdir(parents=True)
  for label in bhs.CLASSES:
    lines = []
    for number in range(videos if label == 'zumba' else 1):
      clip = root / label / f'v{number:02d}' / '7'
      for folder in ('pose', 'aud'):
        (clip / folder).mkdir(parents=True)
      np.save(clip / 'pose' / 'a.npy', UNITS)
      np.save(clip / 'aud' / 'c7_fps15.npy', rng.normal(2, 3, (30, 28)))
      lines.append(f'data/{label}/v{number:02d}/7/pose/a.npy')
    (root / 'unitList' / f'{label}_unitseq3.txt').write_text('\n'.join(lines))
    (root / 'unitList' / f'{label}_unitseq4.txt').write_text(lines[0] + '\n')
  return root


def test_bhs_is_read(tmp_path):
  tracks, dances, info = bhs.read(_bhs(tmp_path))
  # Each line counts once, though lists share some.
  assert len(dances) == len(tracks) == 62
  assert {d.style for d in dances} == set(bhs.CLASSES)
  assert dances[0].poses.shape == (96, 14, 2)
  assert dances[0].poses[0, 0, 1] > dances[0].poses[0, 10, 1]
  assert tracks[0].sound.shape == (96, 28)
  train = {d.track for d in dances if d.split == 'train'}
  values = np.concatenate([t.sound for t in tracks if t.name in train])
  np.testing.assert_allclose(values.mean(0), 0, atol=1e-6)
  np.testing.assert_allclose(values.std(0), 1, atol=1e-6)
  assert np.shape(info['mean']) == (28,)


def test_bhs_takes_published_moments(tmp_path):
  root = _bhs(tmp_path, 2)
  plain = bhs.read(root)
  raw = plain[0][0].sound * plain[2]['std'] + plain[2]['mean']
  (root / 'stats').mkdir()
  np.save(root / 'stats' / 'all_aud_mean.npy', np.full(28, 2.0))
  np.save(root / 'stats' / 'all_aud_std.npy', np.full(28, 4.0))
  np.testing.assert_allclose(bhs.read(root)[0][0].sound, (raw - 2) / 4)
  np.save(root / 'stats' / 'all_aud_std.npy', np.ones(27))
  with pytest.raises(DataError, match='all_aud_std'):
    bhs.read(root)


def test_bhs_is_served(tmp_path):
  source = bhs.bhs(
      seed=0, batch_size=2, root=str(_bhs(tmp_path / 'raw')),
      store=str(tmp_path / 'set'), seconds=4.0)
  assert source.info['music'] == {'kind': 'features', 'dims': 28}
  assert source.info['fps'] == 15 and source.info['frames'] == 60
  batch = source.train(0)
  assert batch['music'].shape == (2, 60, 28)
  assert batch['motion'].shape == (2, 60, 28)


def test_plain_poses_of_bhs_need_as_many_features(tmp_path):
  root = _bhs(tmp_path, 1)
  pose = root / 'ballet' / 'v00' / '7' / 'pose' / 'a.npy'
  np.save(pose, UNITS.reshape(-1, 14, 2)[:31])
  assert len(bhs.read(root)[0][0].sound) == 31
  np.save(pose, UNITS.reshape(-1, 14, 2)[:40])
  with pytest.raises(DataError, match='15 a second'):
    bhs.read(root)


def _missing(frames: slice) -> np.ndarray:
  points = UNITS.reshape(-1, 14, 2).copy()
  points[frames, 4] = -1
  return points


@pytest.mark.parametrize('points, words', [
    (np.zeros((3, 30, 14, 2)), '32, 14, 2'),
    (np.zeros((90, 14, 3)), '32, 14, 2'),
    (_missing(slice(10, 40)), 'r_wrist'),
])
def test_broken_poses_of_bhs_are_refused(tmp_path, points, words):
  np.save(tmp_path / 'a.npy', points)
  with pytest.raises(DataError, match=words):
    bhs.read_poses(tmp_path / 'a.npy')


def test_missing_joints_of_bhs_are_filled(tmp_path):
  np.save(tmp_path / 'a.npy', _missing(slice(10, 14)))
  found = bhs.read_poses(tmp_path / 'a.npy')
  assert (found[..., 1] < -1).all() and (found[..., 0] > 1).all()


@pytest.mark.parametrize('values, words', [
    (np.zeros((30, 27)), r'\[T, 28\]'),
    (np.full((30, 28), np.nan), 'frame 0'),
])
def test_broken_features_of_bhs_are_refused(tmp_path, values, words):
  np.save(tmp_path / 'a.npy', values)
  with pytest.raises(DataError, match=words):
    bhs.read_features(tmp_path / 'a.npy')


def test_missing_music_and_broken_lists_of_bhs_are_named(tmp_path):
  root = _bhs(tmp_path, 1)
  path = root / 'ballet' / 'v00' / '7' / 'aud' / 'c7_fps15.npy'
  path.unlink()
  with pytest.raises(DataError, match='c7_fps15'):
    bhs.read(root)
  (root / 'unitList' / 'ballet_unitseq3.txt').write_text('data/../x.npy\n')
  with pytest.raises(DataError, match='line 1'):
    bhs.read(root)
  with pytest.raises(UserError, match='data.classes'):
    bhs.bhs(seed=0, batch_size=1, classes=['tango'])
