"""Real dances upon real music: the warp, and what comes of it."""

import csv
import pathlib

import numpy as np
import pytest

from diffax.body import beats
from diffax.body import poses as poses_lib
from diffax.data import dance
from diffax.data import dance_aligned as aligned
from diffax.data import dance_store
from diffax.errors import DataError
from diffax.errors import UserError

soundfile = pytest.importorskip('soundfile')

FPS = 62.5


def _dancer(seconds: float, seed: int, hertz: float = 1.1) -> np.ndarray:
  """Make someone who sways, [T, 14, 3] metres, Z up."""
  rng = np.random.default_rng(seed)
  heights = {'nose': 1.6, 'neck': 1.45, 'shoulder': 1.45, 'elbow': 1.2,
             'wrist': 1.0, 'hip': 0.95, 'knee': 0.5, 'ankle': 0.08}
  rest = np.array([
      (0.0, {'l': 0.2, 'r': -0.2}.get(name[0] if '_' in name else '', 0.0),
       heights[name.split('_')[-1]]) for name in poses_lib.JOINTS
  ])
  time = np.arange(round(seconds * FPS))[:, None, None] / FPS
  rates = hertz * rng.choice([0.5, 1, 2], (14, 3))
  sway = np.sin(2 * np.pi * (rates * time + rng.uniform(size=(14, 3))))
  return rest + 0.12 * sway * (rest[:, 2:] > 0.1)


def _song(
    name: str = 'song', bpm: float = 112.0, seconds: float = 24.0
) -> aligned.Song:
  times = np.arange(0.4, seconds - 0.1, 60 / bpm)
  wave = 0.01 * np.random.default_rng(0).normal(size=int(seconds * 16000))
  decay = np.exp(-np.arange(1600) / 300) * np.sin(np.arange(1600) * 0.3)
  for start in (times * 16000).astype(int):
    wave[start:start + 1600] += 0.8 * decay[:len(wave) - start]
  track = dance_store.Track(
      name, wave.astype(np.float32), f'{name}.ogg',
      {'licence': 'none', 'beats': times.tolist()})
  return aligned.Song(track, times)


def _f1(found: np.ndarray, true: np.ndarray) -> float:
  near = np.abs(found[:, None] - true).min(1) <= 0.1
  hit = np.abs(true[:, None] - found).min(1) <= 0.1
  precision, recall = near.mean(), hit.mean()
  return 2 * precision * recall / max(precision + recall, 1e-9)


@pytest.fixture(scope='module')
def moves() -> list[aligned.Move]:
  return [
      aligned.move(f'{person}_{i}', _dancer(9, 7 * i + ord(person)), 'salsa',
                   person)
      for person in 'abc' for i in range(2)
  ]


def test_kinematic_beats_move_onto_the_music(moves):
  song = _song()
  scores = {}
  for limit, push in ((1.0, 0.0), (1.25, 1.0)):
    made = aligned.perform(moves[:2], song, 'train', limit, push)
    scores[push] = np.mean([
        _f1(beats.kinematic_beats(dance.seen(made.poses, yaw), FPS),
            song.beats) for yaw in (0.0, 0.8, 1.6)
    ])
  assert scores[1.0] > 0.75 > 0.55 > scores[0.0]


def test_without_limit_and_push_all_is_as_recorded(moves):
  made = aligned.perform(moves[:1], _song(), 'train', 1.0, 0.0)
  assert made.facts['speed'] == pytest.approx([1.0, 1.0])
  first = moves[0].poses
  fade = round(0.5 * FPS)
  np.testing.assert_allclose(
      made.poses[:len(first) - fade], first[:-fade], atol=1e-5)


def test_the_clock_never_stands_still_and_keeps_its_bounds(moves):
  song = _song(bpm=170)
  times, worth, stress = aligned.targets(song)
  knots = aligned.match(moves[0], times, worth, 1.25)
  slopes = np.diff(knots[:, 1]) / np.diff(knots[:, 0])
  assert len(knots) > 4
  assert slopes.min() >= 1 / 1.26 and slopes.max() <= 1.26
  for push, low, high in ((0.0, 1 / 1.26, 1.26), (1.0, 0.1, 2.6)):
    shown, speed = aligned.warp(
        knots, len(moves[0].poses), song.beats, push * stress)
    assert (np.diff(shown) > 0).all() and shown[0] == 0
    assert low <= speed.min() and speed.max() <= high
    assert shown[-1] <= (len(moves[0].poses) - 1) / FPS


def test_matches_are_kept_by_the_pulses(moves):
  song = _song()
  times, worth, stress = aligned.targets(song)
  knots = aligned.match(moves[0], times, worth, 1.25)
  knots = knots[np.isin(knots[:, 0], song.beats)]
  shown, _ = aligned.warp(
      aligned.match(moves[0], times, worth, 1.25), len(moves[0].poses),
      song.beats, stress)
  found = np.interp(knots[:, 0], np.arange(len(shown)) / FPS, shown)
  assert len(knots) > 3
  assert np.abs(found - knots[:, 1]).max() < 0.06


def test_a_pulse_has_mean_one_between_beats():
  beat = np.array([0.5, 1.0, 1.4, 3.0])
  stress = np.array([0.4, 1.0, 0.7, 1.0])
  time = np.arange(0, 4, 1e-4)
  speed = aligned.pulse(time, beat, stress)
  for start, end in zip(beat, beat[1:]):
    inside = (time >= start) & (time < end)
    assert speed[inside].mean() == pytest.approx(1, abs=2e-3)
    assert speed[inside].min() > 0
  outside = (time < 0.5) | (time >= 3)
  assert (speed[outside] == 1).all()


def test_dances_follow_without_a_jump():
  one, two = _dancer(4, 0), _dancer(4, 1) @ np.array(
      [[0, 1, 0], [-1, 0, 0], [0, 0, 1.0]]) + (3, 2, 0)
  joined = aligned.join(one, two, 31)
  assert len(joined) == 2 * 250 - 31
  steps = np.linalg.norm(np.diff(joined, axis=0), axis=-1)
  own = np.linalg.norm(np.diff(one, axis=0), axis=-1)
  assert steps.max() < 2.5 * own.max()
  np.testing.assert_array_equal(joined[:219], one[:219])


def test_tempi_agree_but_for_octaves():
  assert aligned.misfit(0.5, 0.25) == 0
  assert aligned.misfit(0.55, 0.5) == pytest.approx(np.log2(1.1))


def test_no_track_and_no_person_is_in_two_splits(moves):
  tracks = [_song(f's{i}', seconds=12) for i in range(3)]
  _, dances, info = aligned.assemble(
      moves, tracks, limit_speed=1.25, push=1.0, val_subjects=['b'],
      test_subjects=['c'], val_tracks=['s1'], test_tracks=['s2'])
  for key in ('subject', 'track'):
    splits = {getattr(d, key): set() for d in dances}
    for made in dances:
      splits[getattr(made, key)].add(made.split)
    assert all(len(found) == 1 for found in splits.values())
  assert {d.split for d in dances} == {'train', 'val', 'test'}
  assert 0 < info['speed'][0] < 1 < info['speed'][1] < 3
  assert 'did not hear' in info['what'] and info['licence']['music'] == ['none']
  row = dances[0].facts['recordings'][0]
  assert set(row) == {
      'name', 'at', 'mirrored', 'tempo', 'matches', 'speed'}


@pytest.mark.parametrize('change, words', [
    ({'val_subjects': ['z']}, 'val_subjects.*z'),
    ({'test_tracks': []}, 'test_tracks.*none'),
    ({'test_subjects': ['b']}, 'one of them'),
    ({'val_subjects': ['a', 'b']}, 'some in neither'),
])
def test_wrong_splits_are_refused(moves, change, words):
  settings = {'val_subjects': ['b'], 'test_subjects': ['c'],
              'val_tracks': ['s1'], 'test_tracks': ['s2'], **change}
  with pytest.raises(UserError, match=words):
    aligned.assemble(
        moves, [_song(f's{i}', seconds=12) for i in range(3)],
        limit_speed=1.25, push=1.0, **settings)


@pytest.mark.parametrize('field, value', [('limit_speed', 3.0), ('push', -1.0)])
def test_wrong_settings_are_refused(field, value):
  with pytest.raises(UserError, match=field):
    aligned.dance_aligned(seed=0, batch_size=1, **{field: value})


def _music(root: pathlib.Path) -> pathlib.Path:
  song = _song(seconds=3)
  (root / 'tracks').mkdir(parents=True)
  soundfile.write(root / 'tracks' / 'a.wav', song.track.sound, 16000)
  (root / 'tracks' / 'a.beats.txt').write_text(
      '\n'.join(f'{t:.3f}' for t in song.beats))
  soundfile.write(root / 'tracks' / 'loop.wav', song.track.sound, 16000)
  with (root / 'index.csv').open('w') as file:
    writer = csv.writer(file)
    writer.writerow(['file', 'artist', 'title', 'licence'])
    for name in ('a', 'loop'):
      writer.writerow([f'tracks/{name}.wav', 'someone', name, 'CC0'])
  return root


def test_tracks_with_beats_are_read(tmp_path):
  found = aligned.songs(_music(tmp_path / 'music'))
  assert [song.track.name for song in found] == ['a']
  assert found[0].track.facts['licence'] == 'CC0'
  assert found[0].period == pytest.approx(60 / 112, abs=1e-3)


def test_training_tracks_are_played_at_other_speeds_and_danced_again(moves):
  tracks = [_song(f's{i}', seconds=12) for i in range(3)]
  played, dances, _ = aligned.assemble(
      moves, tracks, limit_speed=1.25, push=1.0, val_subjects=['b'],
      test_subjects=['c'], val_tracks=['s1'], test_tracks=['s2'],
      takes=2, speeds=(1.0, 0.8))
  assert [track.name for track in played] == ['s0', 's0@0.8', 's1', 's2']
  assert [dance.name for dance in dances] == [
      'a/s0', 'a/s0#1', 'a/s0@0.8', 'a/s0@0.8#1', 'b/s1', 'c/s2']
  assert len(played[1].sound) == pytest.approx(15 * 16000, abs=2)
  one, again = dances[:2]
  assert one.poses.shape == again.poses.shape
  assert np.abs(one.poses - again.poses).max() > 0.05
  for made, track in ((again, played[0]), (dances[3], played[1])):
    score = np.mean([
        _f1(beats.kinematic_beats(dance.seen(made.poses, yaw), FPS),
            np.asarray(track.facts['beats'])) for yaw in (0.0, 0.8, 1.6)
    ])
    assert score > 0.7


def test_a_track_at_another_speed_has_its_beats_there():
  slow = aligned.at_speed(_song(seconds=12), 0.5)
  wave, start = slow.track.sound, (slow.beats * 16000).astype(int)
  loud = [np.abs(wave[at:at + 1600]).mean() for at in start]
  quiet = [np.abs(wave[at - 2400:at - 400]).mean() for at in start]
  assert min(loud) > 3 * max(quiet)


def test_a_take_begins_later_and_keeps_two_seconds(moves):
  for take in range(1, 6):
    rest = aligned.later(moves[0], take)
    assert 2 * FPS <= len(rest.poses) < len(moves[0].poses)
    start = len(moves[0].poses) - len(rest.poses)
    np.testing.assert_array_equal(rest.poses[0], moves[0].poses[start])
    np.testing.assert_allclose(
        rest.beats, moves[0].beats[-len(rest.beats):] - start / FPS)


@pytest.mark.parametrize('settings', [
    {'takes': 0}, {'speeds': ()}, {'speeds': (1.0, 3.0)},
    {'speeds': (1.0, 1.0)},
])
def test_takes_and_speeds_out_of_range_are_refused(settings):
  with pytest.raises(UserError, match='data.takes, data.speeds'):
    aligned.dance_aligned(seed=0, batch_size=1, **settings)


@pytest.mark.parametrize('text, words', [
    ('0.1 0.2 0.2 0.4', 'rise'), ('0.1 0.2', 'found 2'), ('a b c d', 'beats'),
])
def test_broken_beats_are_refused(tmp_path, text, words):
  path = tmp_path / 'x.beats.txt'
  path.write_text(text)
  with pytest.raises(DataError, match=words):
    aligned.read_beats(path)


def test_a_missing_track_is_named(tmp_path):
  root = _music(tmp_path / 'music')
  (root / 'tracks' / 'a.wav').unlink()
  with pytest.raises(DataError, match='a.wav'):
    aligned.songs(root)
  with pytest.raises(DataError, match='index.csv'):
    aligned.songs(tmp_path / 'nowhere')


def test_a_real_dancer_is_found(data_dir):
  rows = [row for row in aligned.cmu.index(data_dir / 'motion')
          if row['subject'] == '93']
  clips = aligned.cmu.clips_of(data_dir / 'motion', rows[0], FPS)[0]
  made = aligned.move(
      'x', poses_lib.body14(clips[0].positions, 'amass21'),
      aligned.style_of(rows[0]['action']), '93')
  assert made.style == 'charleston' and 0.3 <= made.period <= 1.2
  assert made.poses[:, 1, 2].min() > 1 and len(made.beats) > 3
