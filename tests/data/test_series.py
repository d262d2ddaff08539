"""Windows by the samples they hold: decoded, counted and kept apart."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from diffax.data import series
from diffax.errors import DataError
from diffax.errors import UserError

FACTS = series.Facts(
    'made up',
    rate=100.0,
    channels={'x': ('number', 'noise'), 'y': ('negative',), 'z': ('spare',)},
    units={'x': ('1', 'm'), 'y': ('1',), 'z': ('',)},
)
LENGTH = 10


def make_track(
    number: int, samples: int, subject: str = 'A', label: str = 'walk'
) -> series.Track:
  """A track whose values tell the track and the sample."""
  count = np.arange(samples) + 10_000.0 * number
  noise = np.random.default_rng(number).normal(3, 0.1, samples)
  return series.Track(
      f'track {number}',
      {
          'x': np.stack([count, noise], -1),
          'y': -count[:, None],
          'z': np.full((samples, 1), np.nan),
      },
      subject, label, f'file{number}.mat',
  )


def make(tracks, **settings):
  settings = {
      'seed': 0, 'batch_size': 4, 'modalities': ('x', 'y'), 'length': LENGTH,
      'stride': 3, 'split': 'chronological', **settings,
  }
  return series.source(tracks, FACTS, **settings)


def people(count: int = 5, samples: int = 120) -> list[series.Track]:
  """Two tracks of each person, AB1 .. ABn."""
  return [
      make_track(i, samples + i, f'AB{1 + i // 2}', 'walk' if i % 2 else 'run')
      for i in range(2 * count)
  ]


def decoded(source, part: str) -> np.ndarray:
  """The numbers of the samples [N, L]: 10,000 track + sample."""
  values = series.restore(source.segments(part)['x'], source.info, 'x')
  return values[..., 0].round().astype(int)


def numbers(source, part: str) -> set[int]:
  return set(decoded(source, part).ravel().tolist())


def windows_of(source, part: str) -> list[tuple[int, int]]:
  segments = source.segments(part)
  return list(zip(segments['track'].tolist(), segments['start'].tolist()))


SPLITS: dict[str, dict[str, Any]] = {
    'subjects': {'split': 'subjects', 'folds': 3, 'fold': 1},
    'chronological': {'split': 'chronological', 'train_share': 0.5},
    'random': {'split': 'random'},
}


@pytest.mark.parametrize('split', SPLITS)
def test_a_window_is_a_row_of_samples_of_one_track(split):
  tracks = people()
  source = make(tracks, **SPLITS[split])
  for part in ('train', 'test'):
    segments = source.segments(part)
    expected = (
        10_000 * segments['track'][:, None] + segments['start'][:, None]
        + np.arange(LENGTH)
    )
    np.testing.assert_array_equal(decoded(source, part), expected)
    y = series.restore(segments['y'], source.info, 'y')[..., 0]
    np.testing.assert_allclose(y, -expected, atol=0.01)
    for name, names in (('label', 'classes'), ('subject', 'subjects')):
      found = [source.info[names][i] for i in segments[name]]
      assert found == [getattr(tracks[i], name) for i in segments['track']]
    assert segments['x'].dtype == segments['y'].dtype == np.float32
    assert {segments[n].dtype for n in ('label', 'track', 'start')} == {
        np.dtype(np.int32)
    }


def test_whole_windows_start_at_every_stride():
  assert series.window_starts(20, 10, 3).tolist() == [0, 3, 6, 9]
  assert series.window_starts(19, 10, 3).tolist() == [0, 3, 6, 9]
  assert series.window_starts(18, 10, 3).tolist() == [0, 3, 6]
  assert series.window_starts(10, 10, 3).tolist() == [0]
  assert not series.window_starts(9, 10, 3).size
  tracks = [make_track(0, 16), make_track(1, 9), make_track(2, 13)]
  found = series.windows(tracks, ['walk'], ['A'], ['y'], 10, 3)
  assert list(zip(found.track, found.start)) == [
      (0, 0), (0, 3), (0, 6), (2, 0), (2, 3)
  ]
  with pytest.raises(DataError, match='found 9 in the longest, track 1'):
    series.windows(tracks[1:2], ['walk'], ['A'], ['y'], 10, 3)
  with pytest.raises(DataError, match='expected a track, found none'):
    series.windows([], [], [], ['y'], 10, 3)


def test_chronological_parts_are_a_window_apart():
  source = make([make_track(0, 100), make_track(1, 71)], stride=1,
                train_share=0.6)
  train, test = numbers(source, 'train'), numbers(source, 'test')
  # round(0.6 * 71) = 43
  assert train == {*range(60), *range(10_000, 10_043)}
  assert test == {*range(70, 100), *range(10_053, 10_071)}


def test_random_parts_share_out_all_windows_and_leak():
  tracks = people(2, 80)
  source = make(tracks, split='random', train_share=0.7)
  train, test = windows_of(source, 'train'), windows_of(source, 'test')
  expected = [
      (i, start) for i, track in enumerate(tracks)
      for start in range(0, len(track.values['x']) - LENGTH + 1, 3)
  ]
  assert sorted(train + test) == expected
  assert len(train) == round(0.7 * len(expected))
  assert train == sorted(train) and test == sorted(test)
  assert numbers(source, 'train') & numbers(source, 'test')


def test_the_shuffle_of_a_random_split_is_not_that_of_the_training():
  def parts(**seeds):
    source = make(people(2), split='random', **seeds)
    return windows_of(source, 'train'), windows_of(source, 'test')

  assert parts(seed=0) == parts(seed=1)
  assert parts(split_seed=0) != parts(split_seed=1)


def test_folds_hold_out_whole_subjects_once():
  tracks = people(7)
  held, tested = [], []
  for fold in range(3):
    source = make(tracks, split='subjects', fold=fold, folds=3)
    subject = {
        part: {source.info['subjects'][i] for i in windows['subject']}
        for part, windows in (
            (part, source.segments(part)) for part in ('train', 'test')
        )
    }
    assert subject['test'] == set(source.info['held_out'])
    assert subject['train'] == {t.subject for t in tracks} - subject['test']
    held.append(source.info['held_out'])
    tested += windows_of(source, 'test')
  assert held == [('AB1', 'AB4', 'AB7'), ('AB2', 'AB5'), ('AB3', 'AB6')]
  whole = series.windows(
      tracks, ['run', 'walk'], [f'AB{i}' for i in range(1, 8)], ['x'], LENGTH, 3
  )
  assert sorted(tested) == list(zip(whole.track, whole.start))


def test_as_many_folds_as_subjects_leave_one_out():
  for fold in range(4):
    source = make(people(4), split='subjects', fold=fold, folds=4)
    assert source.info['held_out'] == (f'AB{fold + 1}',)


def test_names_are_in_the_order_of_their_numbers():
  names = ['AB10', 'AB9', '10', '-2.5', 'AB9x', '1', '01', 'nan', '-10', 'B']
  tracks = [
      make_track(i, 120, subject=name, label=name)
      for i, name in enumerate(names)
  ]
  source = make(tracks)
  expected = ('-10', '-2.5', '01', '1', '10', 'AB9', 'AB9x', 'AB10', 'B', 'nan')
  assert source.info['subjects'] == source.info['classes'] == expected


def test_training_windows_alone_set_the_scale():
  tracks = people(3)
  settings = {'split': 'subjects', 'folds': 3, 'fold': 0}
  source = make(tracks, **settings)
  train = source.segments('train')
  for name in ('x', 'y'):
    flat = train[name].reshape(-1, train[name].shape[-1]).astype(np.float64)
    np.testing.assert_allclose(flat.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(flat.std(0), 1, atol=1e-6)
  assert abs(source.segments('test')['y'].mean()) > 0.5
  changed = [
      dataclasses.replace(
          track, values={k: 7 * v + 5 for k, v in track.values.items()}
      ) if track.subject in source.info['held_out'] else track
      for track in tracks
  ]
  other = make(changed, **settings)
  for name in ('x', 'y'):
    np.testing.assert_array_equal(train[name], other.segments('train')[name])
    np.testing.assert_array_equal(
        source.info['mean'][name], other.info['mean'][name]
    )


def test_a_sample_counts_as_often_as_windows_hold_it():
  values = np.array([0.0, 3.0, 5.0, 10.0, 0.0, 1.0, 2.0, 4.0])[:, None]
  track = series.Track('one', {'y': values}, 'A', 'walk', 'one.mat')
  source = make([track], modalities=('y',), length=2, stride=1, train_share=0.5)
  # Windows (0, 3), (3, 5), (5, 10): mean 26 / 6, mean square 168 / 6.
  assert source.info['mean']['y'] == pytest.approx([26 / 6])
  assert source.info['std']['y'] == pytest.approx([np.sqrt(28 - (26 / 6)**2)])
  expected = (np.array([[2.0, 4.0]]) - 26 / 6) / np.sqrt(28 - (26 / 6)**2)
  np.testing.assert_allclose(source.segments('test')['y'][..., 0], expected,
                             rtol=1e-6)


def test_batches_are_a_function_of_seed_and_step():
  tracks = people(3)
  source, same = make(tracks, seed=3), make(tracks, seed=3)
  later = source.train(7)
  for step in (0, 5, 7):
    batch, again = source.train(step), same.train(step)
    assert set(batch) == {'x', 'y'}
    for name in batch:
      np.testing.assert_array_equal(batch[name], again[name])
  np.testing.assert_array_equal(later['x'], source.train(7)['x'])
  assert not np.array_equal(later['x'], make(tracks, seed=4).train(7)['x'])
  assert not np.array_equal(later['x'], source.train(8)['x'])


def test_an_epoch_shows_every_training_window_once():
  source = make(people(3), batch_size=7)
  size = source.info['epoch_size']
  seen = np.concatenate([source.train(step)['y'] for step in range(size)])
  train = source.segments('train')['y']
  assert size == len(train) and len(seen) == 7 * size
  for epoch in range(7):
    part = seen[epoch * size:(epoch + 1) * size]
    np.testing.assert_array_equal(
        np.sort(part[:, 0, 0]), np.sort(train[:, 0, 0])
    )


def test_a_batch_keeps_modalities_together():
  source = make(people(3), batch_size=16)
  batch = source.train(2)
  x = series.restore(batch['x'], source.info, 'x')[..., 0]
  y = series.restore(batch['y'], source.info, 'y')[..., 0]
  np.testing.assert_allclose(x, -y, atol=0.02)


def test_modalities_come_in_the_order_asked_for():
  source = make(people(2), modalities=('y', 'x'))
  assert list(source.info['modalities'].items()) == [('y', 1), ('x', 2)]
  assert source.info['channels'] == {
      'y': ('negative',), 'x': ('number', 'noise')
  }
  assert 'x' not in make(people(2), modalities=('y',)).segments('test')


def test_covariance_of_standardised_channels_is_their_correlation():
  rng = np.random.default_rng(0)
  mixed = rng.normal(size=(500, 2)) @ np.array([[1.0, 2.0], [0.0, 1.0]])
  track = series.Track('one', {'x': mixed, 'y': mixed[:, :1]}, 'A', 'a', 'f')
  source = make([track], stride=LENGTH)
  np.testing.assert_allclose(
      source.info['covariance']['x'], np.corrcoef(mixed[:400].T), rtol=1e-5
  )
  np.testing.assert_allclose(source.info['covariance']['y'], [[1]], rtol=1e-5)


def test_standardise_and_restore_undo_each_other():
  tracks = people(2)
  source = make(tracks)
  values = tracks[1].values['x'][:24].reshape(2, 3, 4, 2)
  scaled = series.standardise(values, source.info, 'x')
  assert scaled.shape == values.shape
  np.testing.assert_allclose(
      series.restore(scaled, source.info, 'x'), values, rtol=1e-12
  )
  np.testing.assert_allclose(
      series.standardise(tracks[0].values['x'][:LENGTH], source.info, 'x'),
      source.segments('train')['x'][0], rtol=1e-5,
  )
  for function in (series.standardise, series.restore):
    with pytest.raises(UserError, match="one of .'x', 'y'., found 'z'"):
      function(values, source.info, 'z')
    with pytest.raises(UserError, match=r'\[..., 1\], found shape \[2, 3, 4'):
      function(values, source.info, 'y')
    with pytest.raises(UserError, match=r'found shape \[\]'):
      function(np.array(3.0), source.info, 'y')


def test_tracks_too_short_for_a_part_are_named():
  # 0.5 * 40 leaves 20 samples, a gap of 10 and 10; 0.5 * 39 leaves 20 and 9.
  tracks = [make_track(0, 40), make_track(1, 39), make_track(2, 12)]
  source = make(tracks, train_share=0.5)
  assert source.info['short'] == {
      'train': ('track 2',), 'test': ('track 1', 'track 2')
  }
  assert set(source.segments('train')['track']) == {0, 1}
  assert windows_of(source, 'test') == [(0, 30)]
  assert make(tracks[:1], split='random').info['short'] == {
      'train': (), 'test': ()
  }


def test_a_part_without_a_window_is_refused():
  with pytest.raises(DataError) as caught:
    make([make_track(0, 49), make_track(1, 40)])
  assert str(caught.value) == (
      'file0.mat: test part of the chronological split: expected a stretch of '
      'at least 10 samples, found 0 in the longest, track 0 from sample 49. '
      'Shorten data.length or change data.train_share'
  )
  with pytest.raises(DataError, match='train part of the random split.*found 9 '
                     'in the longest, track 0.*Shorten data.length'):
    make([make_track(0, 9)], split='random')
  tracks = [make_track(0, 60, 'A'), make_track(1, 8, 'B')]
  with pytest.raises(DataError, match='test part of the subjects split.*found '
                     '8 in the longest, track 1.*another data.fold'):
    make(tracks, split='subjects', folds=2, fold=1)
  with pytest.raises(UserError, match='train_share.*found 1 and 0'):
    make([make_track(0, 12)], split='random')


def test_a_fold_without_subjects_is_refused():
  tracks = people(3)
  with pytest.raises(UserError, match='data.fold.*found 0 of 3 in fold 3 of 5. '
                     'Take data.folds of 2 to 3'):
    make(tracks, split='subjects', fold=3, folds=5)
  with pytest.raises(UserError, match="found 1 of 1.*another data.split than"):
    make(tracks[:2], split='subjects', fold=0, folds=2)


@pytest.mark.parametrize('change, message', [
    ({'modalities': ('x', 'force')}, "has .'x', 'y', 'z'., found 'force'"),
    ({'modalities': ('x', 'x')}, 'expected different names'),
    ({'modalities': ()}, 'expected different names'),
    ({'split': 'leaky'}, "expected one of .*chronological.*found 'leaky'"),
    ({'length': 1}, 'at least 2 and 1, found 1 and 3'),
    ({'stride': 0}, 'at least 2 and 1, found 10 and 0'),
    ({'train_share': 1.0}, 'within .0, 1., found 1'),
    ({'train_share': 0.0}, 'within .0, 1., found 0'),
    ({'fold': 4, 'folds': 4}, 'data.fold: .* found 4 of 4'),
    ({'fold': -1, 'folds': 4}, 'data.fold: .* found -1 of 4'),
    ({'fold': 0, 'folds': 1}, 'data.fold: .* found 0 of 1'),
    ({'batch_size': 0}, 'batch_size: expected 1 or more, found 0'),
])
def test_wrong_settings_are_named(change, message):
  with pytest.raises(UserError, match=message):
    make(people(5), **change)


def test_wrong_parts_are_named():
  with pytest.raises(UserError, match="'test', 'train'., found 'val'"):
    make(people(2)).segments('val')


def spoiled(change) -> list[series.Track]:
  tracks = people(2)
  change(tracks[1].values)
  return tracks


@pytest.mark.parametrize('change, message', [
    (lambda v: v['x'].__setitem__((slice(4, 7), 1), np.nan),
     r'file1.mat: track 1, x noise, sample 4: expected a finite number, found '
     r'nan \(3 of 121 samples'),
    (lambda v: v['y'].__setitem__((5, 0), -np.inf),
     'track 1, y negative, sample 5: expected a finite number, found -inf'),
    (lambda v: v.update(y=v['y'][1:]),
     'file1.mat: track 1: expected modalities of one length, found x 121, y '),
    (lambda v: v.update(y=v['x']),
     r'track 1, y: expected values of shape \[T, 1\], found \[121, 2\]'),
    (lambda v: v.update(y=v['y'][:, 0]), r'shape \[T, 1\], found \[121\]'),
    (lambda v: v.pop('y'), "track 1, y: .*found only .'x', 'z'"),
])
def test_bad_tracks_are_named(change, message):
  with pytest.raises(DataError, match=message):
    make(spoiled(change))


def test_no_track_is_refused():
  with pytest.raises(DataError, match='made up: tracks: expected at least one'):
    make([])


@pytest.mark.parametrize('level', [0.0, 0.1, -1e9])
def test_a_channel_that_stands_still_in_training_is_refused(level):
  track = make_track(0, 200)
  track.values['x'][:160, 1] = level
  with pytest.raises(DataError, match='made up: x noise: expected a channel '
                     'that varies in the training windows, found the constant'):
    make([track])


def test_a_channel_of_tiny_values_is_not_constant():
  track = make_track(0, 200)
  track.values['x'][:, 1] *= 1e-18
  scaled = make([track]).segments('train')['x'][..., 1]
  assert scaled.std() == pytest.approx(1, rel=1e-5)
