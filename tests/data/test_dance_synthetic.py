"""Made-up dances: their beats are where the score has its accents."""

import numpy as np
import pytest

from diffax.body import beats
from diffax.body import poses as poses_lib
from diffax.data import dance
from diffax.data import dance_synthetic
from diffax.errors import UserError


def _matches(a: np.ndarray, b: np.ndarray, tolerance: float = 0.1) -> float:
  """Return the F1 of the most pairs that can be matched."""
  i = j = matched = 0
  while i < len(a) and j < len(b):
    if abs(a[i] - b[j]) <= tolerance:
      i, j, matched = i + 1, j + 1, matched + 1
    elif a[i] < b[j]:
      i += 1
    else:
      j += 1
  return 2 * matched / (len(a) + len(b))


@pytest.fixture(scope='module')
def pieces() -> tuple:
  return dance_synthetic.generate(24, 12.0)


def test_the_same_seed_makes_the_same_set(pieces):
  def fifth(seed: int) -> tuple:
    return dance_synthetic.piece(
        np.random.default_rng([seed, 5]), 'latin005', 'latin', 'train1',
        'train', 12.0)

  (again, same), (other, _) = fifth(0), fifth(1)
  np.testing.assert_array_equal(pieces[0][5].sound, again.sound)
  np.testing.assert_array_equal(pieces[1][5].poses, same.poses)
  assert not np.array_equal(again.sound, other.sound)


def test_movement_and_music_have_the_beats_of_the_score(pieces):
  tracks, dances, _ = pieces
  scores, strangers = [], []
  for number, (track, danced) in enumerate(zip(tracks, dances)):
    accents = np.array(track.facts['accents'])
    found = beats.kinematic_beats(dance.seen(danced.poses, 0.3), 62.5)
    scores.append(_matches(found, accents))
    strange = np.array(tracks[(number + 3) % 24].facts['accents'])
    strangers.append(_matches(found, strange))
  assert np.mean(scores) > 0.95
  assert np.mean(strangers) < 0.45


def test_sound_sets_in_at_the_accents(pieces):
  for track in pieces[0][:6]:
    power = track.sound[:len(track.sound) // 160 * 160].reshape(-1, 160)
    level = np.sqrt((power**2).mean(1))
    at = (np.array(track.facts['accents']) * 100).round().astype(int)
    before = np.array([level[max(i - 4, 0):i - 1].mean() for i in at if i > 4])
    after = np.array([level[i:i + 4].mean() for i in at if i > 4])
    assert np.mean(after > before) > 0.9


def test_no_metronome_has_the_accents(pieces):
  best = []
  for track in pieces[0]:
    beat = 60 / track.facts['tempo']
    accents = np.array(track.facts['accents'])
    best.append(max(
        _matches(np.arange(start, 12, beat), accents, 0.05)
        for start in np.arange(0, beat, 0.03)))
  assert np.mean(best) < 0.8


def test_bodies_stand_upright_and_keep_their_bones(pieces):
  for danced in pieces[1][:6]:
    height = danced.poses[..., 2]
    joints = poses_lib.JOINTS.index
    feet = height[:, [joints('l_ankle'), joints('r_ankle')]]
    assert (height[:, joints('neck')] > height[:, joints('l_hip')]).all()
    assert (height[:, joints('nose')] > feet.max(1)).all()
    assert 0 <= feet.min() and feet.min() < 0.2
    lower = danced.poses[:, joints('l_knee')] - danced.poses[:, joints(
        'l_ankle')]
    assert np.ptp(np.linalg.norm(lower, axis=-1)) < 1e-4


def test_splits_have_all_styles_and_share_no_dancer(pieces):
  dances = pieces[1]
  for split in ('train', 'val', 'test'):
    assert {d.style for d in dances if d.split == split} == {
        'step', 'waltz', 'latin'}
  owners = {d.subject: d.split for d in dances}
  assert all(owners[d.subject] == d.split for d in dances)


def test_the_source_serves_it(tmp_path):
  source = dance_synthetic.dance_synthetic(
      seed=0, batch_size=2, tracks=24, track_seconds=6.0, seconds=2.0,
      store=str(tmp_path / 'set'))
  assert source.info['styles'] == ('step', 'waltz', 'latin')
  assert source.train(0)['music'].shape == (2, 124, 80)
  rows = source.info['manifest']['tracks']
  assert all(80 <= row['tempo'] <= 140 for row in rows)
  assert all(np.diff(row['accents']).min(initial=1) > 0.2 for row in rows)


def test_too_few_tracks_are_refused():
  with pytest.raises(UserError, match='data.tracks'):
    dance_synthetic.dance_synthetic(seed=0, batch_size=2, tracks=8)
