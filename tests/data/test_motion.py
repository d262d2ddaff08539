"""Batches as a function of (seed, step), segments, and what is refused."""

import sys
import types

import grain
import numpy as np
import pytest

from diffax import data
from diffax.body import kinematics
from diffax.body import skeletons
from diffax.data import motion as motion_lib
from diffax.data import store
from diffax.data import synthetic
from diffax.data import transforms
from diffax.errors import DataError
from diffax.errors import UserError


@pytest.fixture(scope='module')
def clips():
  return synthetic.generate(seed=1, persons=6, seconds=8.0, fps=30)


@pytest.fixture(scope='module')
def folder(tmp_path_factory, clips):
  folder = tmp_path_factory.mktemp('stores') / 'made'
  store.write(folder, clips, skeletons.AMASS21, {'name': 'made'})
  return str(folder)


def build(folder, **settings):
  settings = {'seed': 0, 'batch_size': 6, 'fps': 30, **settings}
  return motion_lib.motion('made', store=folder, **settings)


def same(a, b):
  return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def test_info_and_shapes(folder):
  source = build(folder)
  info = source.info
  assert info['skeleton'] == skeletons.AMASS21
  assert (info['fps'], info['past'], info['future']) == (30, 15, 60)
  assert info['classes'] == tuple(sorted(synthetic.HABITS))
  assert info['unit'] == 'm' and info['epoch_size'] == 16 * (240 - 75) // 60
  batch = source.train(0)
  assert batch['past'].shape == (6, 15, 21, 3)
  assert batch['future'].shape == (6, 60, 21, 3)
  assert {x.dtype for x in batch.values()} == {np.dtype(np.float32)}


def test_a_batch_is_a_function_of_seed_and_step(folder):
  first, again, other = build(folder), build(folder), build(folder, seed=1)
  later = first.train(9)
  assert same(later, again.train(9))          # with no step before it
  assert same(first.train(0), again.train(0))
  assert not same(first.train(0), first.train(1))
  assert not same(first.train(0), other.train(0))
  assert same(later, first.train(np.int64(9)))


def test_an_epoch_shows_each_item_once(folder, clips):
  source = build(folder, train_jitter=0, augment=False, batch_size=5)
  poses = np.concatenate([
      transforms.root_centre(clip.positions) for clip in clips
      if clip.split == 'train'
  ])
  place = {poses[i].tobytes(): i for i in range(len(poses))}
  epoch = source.info['epoch_size']
  found = [
      place[row.tobytes()] for step in range(epoch // 5 * 5)
      for row in source.train(step)['past'][:, 0]
  ][:3 * epoch]
  shown = np.array(found).reshape(3, epoch)
  for row in shown:
    assert len(set(row.tolist())) == epoch
    assert set(row.tolist()) == set(shown[0].tolist())
  assert shown[0].tolist() != shown[1].tolist()


def test_windows_stay_within_a_clip_and_follow_on(folder, clips):
  source = build(folder, augment=False, batch_size=64)
  whole = {
      clip.name: transforms.root_centre(clip.positions) for clip in clips
      if clip.split == 'train'
  }
  heads = {
      pose[i].tobytes(): (name, i) for name, pose in whole.items()
      for i in range(len(pose))
  }
  batch = source.train(3)
  for past, future in zip(batch['past'], batch['future']):
    name, start = heads[past[0].tobytes()]
    expected = whole[name][start:start + 75]
    np.testing.assert_array_equal(np.concatenate([past, future]), expected)


def test_augmentation_keeps_the_body(folder):
  plain = build(folder, augment=False).train(2)
  moved = build(folder).train(2)
  assert not same(plain, moved)

  def lengths(batch):
    root = np.zeros_like(batch['past'][:, :, :1])
    whole = np.concatenate([root, batch['past']], 2)
    return kinematics.bone_lengths(whole, skeletons.AMASS21.parents)

  np.testing.assert_allclose(lengths(plain), lengths(moved), atol=1e-5)


def test_swapped_sides_make_a_mirror_image_a_possible_body(folder):
  released = build(folder, batch_size=40).train(2)['past']
  swapped = build(folder, batch_size=40, swap_sides=True).train(2)['past']
  nodes = skeletons.AMASS21.nodes
  left, right = nodes.index('LHip'), nodes.index('RHip')
  toe, heel = nodes.index('LFoot'), nodes.index('LHeel')

  def chirality(x):
    # Left of the body, forwards and up make a right-handed frame.
    across, ahead = x[:, 0, left] - x[:, 0, right], x[:, 0, toe] - x[:, 0, heel]
    return np.cross(across, ahead)[:, 2]

  assert (chirality(released) > 0).any() and (chirality(released) < 0).any()
  # A kicked foot may point backwards for a moment.
  assert abs(np.sign(chirality(swapped)).sum()) > 30
  assert abs(np.sign(chirality(released)).sum()) < 25


def test_the_curriculum_grows_in_few_lengths(folder):
  plan = {'ramp': 40, 'floor_ramp': 80, 'floor': 10, 'buckets': [20, 40]}
  source = build(folder, curriculum=plan, batch_size=2)
  shapes, horizons = set(), []
  for step in range(0, 200, 4):
    batch = source.train(step)
    horizon = batch['horizon']
    assert horizon.dtype == np.int32 and horizon.shape == (2,)
    assert len(set(horizon.tolist())) == 1
    length = batch['future'].shape[1]
    assert length == min(b for b in (20, 40, 60) if b >= horizon[0])
    shapes.add(length)
    horizons.append(int(horizon[0]))
  assert shapes == {20, 40, 60}
  assert horizons[0] == 1 and 40 < max(horizons) < 60
  assert min(horizons[20:]) >= 10
  assert same(source.train(77), build(folder, curriculum=plan,
                                      batch_size=2).train(77))


def test_segments_are_the_protocol_with_their_labels(folder, clips):
  source = build(folder, test_first_seconds=3.0, test_stride_seconds=2.0)
  rows = source.segments('test')
  kept = [clip for clip in clips if clip.split == 'test']
  assert source.info['clips']['test'] == tuple(clip.name for clip in kept)
  expected = [(c, future - 15) for c in range(4) for future in (90, 150)]
  assert list(zip(rows['clip'], rows['start'])) == expected
  for i, (c, start) in enumerate(expected):
    clip = kept[c]
    assert source.info['classes'][rows['label'][i]] == clip.label
    pose = transforms.root_centre(clip.positions[start:start + 75])
    np.testing.assert_array_equal(rows['past'][i], pose[:15])
    np.testing.assert_array_equal(rows['future'][i], pose[15:])
  # By default the first future starts after 3 s, the next 2 s later.
  assert build(folder).segments('val')['start'].tolist() == [75, 135] * 4


def test_segments_may_have_longer_futures_than_training(folder):
  plain, longer = build(folder), build(folder, test_future_seconds=5.0)
  assert longer.info['future'] == 60 and longer.info['test_future'] == 150
  assert plain.info['test_future'] == 60
  assert same(plain.train(3), longer.train(3))
  rows, short = longer.segments('test'), plain.segments('test')
  assert rows['future'].shape[1:] == (150, 21, 3)
  assert rows['past'].shape[1:] == (15, 21, 3)
  # Clips of 240 frames have one whole future of 150 from frame 90 on.
  assert rows['start'].tolist() == [75] * 4
  np.testing.assert_array_equal(rows['future'][:, :60], short['future'][::2])


def test_segments_may_need_more_time_than_they_measure(folder):
  rows = build(folder, test_left_seconds=5.0).segments('test')
  assert rows['future'].shape[1:] == (60, 21, 3)
  assert rows['start'].tolist() == [75] * 4
  assert same(build(folder, test_left_seconds=1.0).segments('test'),
              build(folder).segments('test'))


def test_a_set_without_a_training_split_can_be_evaluated(tmp_path, clips):
  rest = [clip for clip in clips if clip.split == 'test']
  store.write(tmp_path / 'a', rest, skeletons.AMASS21, {'name': 'made'})
  source = build(str(tmp_path / 'a'))
  assert source.info['epoch_size'] == 0
  assert len(source.segments('test')['past']) > 0
  with pytest.raises(UserError, match='no training split.*config.eval.data'):
    source.train(0)


def test_noise_disturbs_the_pasts_of_segments_alone(folder):
  plain = build(folder)
  clean = plain.segments('test')
  for kind in ('gaussian', 'bounded'):
    noisy = build(folder, test_noise={'kind': kind})
    assert same(plain.train(3), noisy.train(3))
    assert same(plain.segments('train'), noisy.segments('train'))
    rows, again = noisy.segments('test'), noisy.segments('test')
    assert same(rows, again)
    other = build(folder, test_noise={'kind': kind, 'seed': 1})
    assert not same(rows, other.segments('test'))
    np.testing.assert_array_equal(rows['clean_past'], clean['past'])
    np.testing.assert_array_equal(rows['future'], clean['future'])
    moved = (rows['past'] != clean['past']).any(-1)
    assert rows['past'].dtype == np.float32 and 0.2 < moved.mean() < 0.3


def test_a_lower_rate_keeps_every_second_frame(folder, clips):
  source = build(folder, fps=15)
  assert (source.info['fps'], source.info['past']) == (15, 8)
  rows = source.segments('test')
  clip = [c for c in clips if c.split == 'test'][rows['clip'][0]]
  every = transforms.root_centre(clip.positions[::2])
  start = rows['start'][0]
  np.testing.assert_array_equal(rows['past'][0], every[start:start + 8])


def test_grain_reads_the_same_batches_in_threads(folder):
  source = build(folder, batch_size=3)
  windows = motion_lib._Windows(
      'made', 0, 3, motion_lib._split(*store.load(folder), 'train', 1), 15, 60,
      60, 30, True, None, None
  )
  dataset = grain.MapDataset.source(windows)
  reader = iter(dataset.to_iter_dataset(
      grain.ReadOptions(num_threads=4, prefetch_buffer_size=4)
  ))
  for step in range(5):
    assert same(next(reader), source.train(step))
  assert repr(windows) == (
      "diffax.motion(name='made', seed=0, batch_size=3, items=44, past=15, "
      'future=60)'
  )


def test_absent_stores_are_prepared_once(monkeypatch, tmp_path, clips):
  calls = []

  def prepare(name, root, out, *, fps, **options):
    calls.append((name, root, fps, options))
    return store.write(out, clips, skeletons.AMASS21, {'name': name})

  fake = types.ModuleType('diffax.data.prepare')
  fake.prepare = prepare
  monkeypatch.setitem(sys.modules, 'diffax.data.prepare', fake)
  monkeypatch.setattr(data, 'prepare', fake, raising=False)
  monkeypatch.setenv('DIFFAX_STORE', str(tmp_path))
  settings = {
      'seed': 0, 'batch_size': 2, 'fps': 30, 'options': {'persons': 6}
  }
  first = data.SOURCES['synthetic'](**settings)
  again = data.SOURCES['synthetic'](**settings)
  assert same(first.train(4), again.train(4))
  assert calls == [('synthetic', None, 30, {'persons': 6})]
  assert first.info['name'] == 'synthetic'


@pytest.mark.parametrize('settings, words', [
    ({'fps': 25}, 'fps: expected 30 divided by a whole number'),
    ({'past_seconds': 0}, 'at least one frame each at 30 fps, found 0 and 60'),
    ({'future_seconds': 9.0}, 'train_stride: expected at most 0'),
    ({'train_stride': 0}, 'data.train_stride >= 1'),
    ({'batch_size': 0}, 'batch_size >= 1'),
    ({'test_future_seconds': 1.0}, 'at least .* 60 frames, found 30'),
    ({'test_noise': {'sise': 3}}, r"test_noise: unknown \['sise'\]"),
    ({'test_noise': {'kind': 'salt'}}, "'bounded', found 'salt'"),
    ({'test_noise': {'share': 3}}, 'share within .0, 1., found 0.02 and 3'),
    ({'curriculum': {'rmap': 3}}, r"unknown \['rmap'\]; it has .*'ramp'"),
    ({'curriculum': {'buckets': [99]}}, 'buckets: expected lengths of 1 to 60'),
])
def test_settings_that_do_not_fit_are_named(folder, settings, words):
  with pytest.raises(UserError, match=words):
    build(folder, **settings)


def test_other_skeletons_splits_and_short_clips_are_refused(folder):
  with pytest.raises(DataError, match="skeleton: expected 'h36m16', found 'am"):
    build(folder, skeleton='h36m16')
  with pytest.raises(UserError, match="expected .*'test'.* found 'dev'"):
    build(folder).segments('dev')
  with pytest.raises(DataError, match="'test': expected a clip of at least 260"
                     ' frames .*found 240 frames'):
    build(folder, test_first_seconds=200 / 30).segments('test')
