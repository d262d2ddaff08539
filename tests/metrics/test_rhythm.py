"""Scores of beats against loops, a released protocol and known chance."""

import fcntl
import itertools
import os
import sys
import threading

import numpy as np
import pytest

from diffax.errors import UserError
from diffax.metrics import rhythm

RNG = np.random.default_rng(0)


def _clicks(beats: np.ndarray, seconds: float, rate: int) -> np.ndarray:
  """Return a click on each beat: `[seconds * rate]`."""
  wave = np.zeros(int(seconds * rate) + rate, np.float32)
  time = np.arange(int(0.03 * rate)) / rate
  click = np.exp(-time / 0.005) * np.sin(2000 * np.pi * time)
  for beat in beats:
    start = int(beat * rate)
    wave[start:start + len(click)] += click
  return wave[:int(seconds * rate)]


def _released(pairs, rate):
  """Follow the evaluation of LORIS step by step: waves in, five numbers out.

  Args:
    pairs: waves generated and true.
    rate: of the waves.
  """
  librosa = rhythm.import_librosa()
  marks = []
  for waves in pairs:
    rows = []
    for wave in waves:
      wave = librosa.resample(wave, orig_sr=rate, target_sr=22050)
      envelope = librosa.onset.onset_strength(y=wave, sr=22050)
      frames = librosa.onset.onset_detect(
          onset_envelope=envelope, sr=22050, wait=1, delta=0.2, pre_avg=3,
          post_avg=3, pre_max=3, post_max=3
      )
      line = [0] * int(np.ceil(len(wave) / 22050))
      for frame in frames:
        line[int(frame * 512 / 22050)] = 1
      rows.append(line)
    marks.append(rows)
  cover, hit = [], []
  for made, true in marks:
    true = true[:len(made)]
    assert len(true) == len(made)
    both = sum(a * b for a, b in zip(made, true))
    cover.append(both / sum(made) if sum(made) else 0)
    hit.append(both / sum(true) if sum(true) else 0)
  a, b = sum(cover) / len(cover), sum(hit) / len(hit)
  spread = [
      (sum((x - m) ** 2 for x in xs) / (len(xs) - 1)) ** 0.5
      for xs, m in ((cover, a), (hit, b))
  ]
  return {'bcs': a, 'csd': spread[0], 'bhs': b, 'hsd': spread[1],
          'f1': 2 * a * b / (a + b)}


def test_scores_are_those_of_loris_from_waves_to_table():
  pytest.importorskip('librosa')
  pytest.importorskip('mir_eval')
  pairs = []
  for _ in range(6):
    # Few beats, or every second holds one and all scores are 1.
    beats = [np.sort(RNG.uniform(0.2, 7.4, n)) for n in (6, 7)]
    pairs.append([_clicks(b, 7.5, 16000) for b in beats])
  pairs[0][0] = np.zeros_like(pairs[0][0])
  found = rhythm.row(
      [tuple(rhythm.onsets(w, 16000) for w in pair) for pair in pairs], 7.5
  )['loris']
  assert 0 < found['f1'] < 1 and found['csd'] > 0
  assert found == pytest.approx(_released(pairs, 16000))


@pytest.mark.parametrize('detector, frames', [('loris', 3), ('cdcd', 1)])
def test_onsets_follow_the_published_windows(detector, frames):
  """Pick the peaks of librosa's strength by the definition of its windows."""
  pytest.importorskip('librosa')
  librosa = rhythm.import_librosa()
  rng = np.random.default_rng(9)
  # Bursts of any loudness in noise: many are near the threshold.
  wave = 0.02 * rng.normal(size=4 * 22050)
  for start in rng.integers(0, 80000, 60):
    wave[start:start + 800] += rng.uniform(0, 0.3) * rng.normal(size=800)
  wave = wave.astype(np.float32)
  strength = librosa.onset.onset_strength(y=wave, sr=22050)
  strength = (strength - strength.min()) / np.ptp(strength)
  expected, last = [], -2
  for n, value in enumerate(strength):
    # A window ends before its `post` frame.
    high = strength[max(n - frames, 0):n + frames].max()
    mean = strength[max(n - frames, 0):n + frames].mean()
    if value == high and value >= mean + 0.2 and n > last + 1:
      expected.append(n)
      last = n
  found = rhythm.onsets(wave, 22050, detector)
  assert 10 < len(expected)
  np.testing.assert_allclose(found, np.array(expected) * 512 / 22050)


def test_onsets_are_where_clicks_are_at_any_rate():
  pytest.importorskip('librosa')
  beats = np.arange(0.5, 6, 0.53)
  for rate in (16000, 22050):
    found = rhythm.onsets(_clicks(beats, 6, rate), rate)
    np.testing.assert_allclose(found, beats, atol=0.03)
  # Windows of one frame lose some, and invent none.
  other = rhythm.onsets(_clicks(beats, 6, 16000), 16000, 'cdcd')
  assert 9 <= len(other) <= len(beats)
  assert (np.abs(np.subtract.outer(other, beats)).min(1) < 0.03).all()
  assert not len(rhythm.onsets(np.zeros(16000, np.float32), 16000))


@pytest.mark.parametrize('wave, detector, words', [
    (np.zeros((2, 16000)), 'loris', r'expected \[N\] finite samples'),
    (np.zeros(100), 'loris', 'at least 1600 of them, found .100.'),
    (np.full(16000, np.nan), 'loris', 'with NaN or infinity'),
    (np.zeros(16000), 'librosa', "'loris', 'cdcd'.*found 'librosa'"),
])
def test_wrong_waves_are_refused(wave, detector, words):
  with pytest.raises(UserError, match=words):
    rhythm.onsets(wave, 16000, detector)


def test_librosa_is_imported_by_one_process_at_a_time():
  librosa = pytest.importorskip('librosa')
  thread = threading.Thread(target=rhythm.import_librosa)
  another = os.open(os.path.dirname(librosa.__file__), os.O_RDONLY)
  try:
    fcntl.flock(another, fcntl.LOCK_EX)
    thread.start()
    thread.join(0.3)
    assert thread.is_alive()
  finally:
    os.close(another)
  thread.join(60)
  assert not thread.is_alive()


def test_librosa_is_imported_where_nothing_can_be_locked(monkeypatch):
  pytest.importorskip('librosa')

  def refuse(*unused):
    raise OSError('no locks here')

  monkeypatch.setattr(rhythm.fcntl, 'flock', refuse)
  assert rhythm.import_librosa().onset


@pytest.mark.parametrize('package, call', [
    ('librosa', lambda: rhythm.onsets(np.zeros(16000), 16000)),
    ('mir_eval', lambda: rhythm.count_matches(np.ones(1), np.ones(1), 0.1)),
])
def test_a_missing_package_says_what_to_install(monkeypatch, package, call):
  monkeypatch.setitem(sys.modules, package, None)
  with pytest.raises(
      UserError, match=rf"needs {package}.*pip install 'diffax\[audio\]'"
  ):
    call()


def test_seconds_are_counted_once_and_the_last_part_is_one():
  made = np.array([0.0, 0.2, 0.9, 2.5, 3.2])
  true = np.array([0.99, 1.0, 3.0, 7.0])
  # Seconds 0, 2, 3 against 0, 1, 3; what lies behind the clip is cut.
  assert rhythm.count_seconds(made, true, 3.5) == (3, 3, 2)
  assert rhythm.count_seconds(made, true, 3.0) == (2, 2, 1)
  assert rhythm.count_seconds(made, true[:0], 3.5) == (3, 0, 0)


def test_matching_is_one_to_one_and_the_largest():
  pytest.importorskip('mir_eval')
  # The first beat must leave the nearer partner to the second.
  made, true = np.array([1.0, 1.09]), np.array([0.92, 1.01])
  assert rhythm.count_matches(made, true, 0.1).matched == 2
  # Many beats around one count once.
  crowd = np.linspace(0.95, 1.05, 9)
  assert rhythm.count_matches(crowd, true[1:], 0.1) == (9, 1, 1)
  assert rhythm.count_matches(made, true[:0], 0.1) == (2, 0, 0)


def test_matching_equals_trying_all_assignments():
  pytest.importorskip('mir_eval')
  for _ in range(30):
    made, true = (np.sort(RNG.uniform(0, 1, n)) for n in (4, 5))
    best = max(
        sum(abs(a - b) <= 0.12 for a, b in zip(made, order))
        for order in itertools.permutations(true, 4)
    )
    assert rhythm.count_matches(made, true, 0.12).matched == best


def test_ratios_of_the_papers():
  counts = rhythm.Counts(made=8, true=4, matched=2)
  assert rhythm.precision_recall(counts) == (0.25, 0.5)
  assert rhythm.cdcd(counts) == (2.0, 0.5)
  assert rhythm.d2m(counts) == (2.0, 0.25)
  nothing = rhythm.Counts(0, 0, 0)
  for ratios in (rhythm.precision_recall, rhythm.cdcd, rhythm.d2m):
    assert ratios(nothing) == (0.0, 0.0)


def test_f1_is_of_the_means_and_deviations_are_of_a_sample():
  found = rhythm.summarise([(1.0, 0.2), (0.5, 0.6)])
  assert found == pytest.approx({
      'bcs': 0.75, 'csd': 0.125**0.5, 'bhs': 0.4, 'hsd': 0.08**0.5,
      'f1': 0.6 / 1.15,
  })
  assert rhythm.summarise([(0.0, 0.0)]) == {
      'bcs': 0.0, 'csd': None, 'bhs': 0.0, 'hsd': None, 'f1': 0.0
  }
  with pytest.raises(UserError, match='at least one to score, found none'):
    rhythm.summarise([])


@pytest.mark.parametrize('bcs, bhs, f1', [
    # Rows of the paper's tables 2 and 5: F1 follows from the means.
    (97.5, 98.6, 98.0), (39.2, 56.3, 46.2),
])
def test_f1_of_published_rows(bcs, bhs, f1):
  assert rhythm.summarise([(bcs, bhs)])['f1'] == pytest.approx(f1, abs=0.06)


def test_consistency_by_hand():
  made, true = np.array([1.0, 2.2]), np.array([1.1, 2.0, 9.0])
  parts = np.exp([-0.5, -2.0, -(6.8**2) / 0.02])
  assert rhythm.consistency(made, true) == pytest.approx(parts.mean())
  assert rhythm.consistency(made[:0], true) == 0
  assert rhythm.consistency(true, true) == 1


def test_perfect_beats_score_one_and_no_beats_zero():
  pytest.importorskip('mir_eval')
  true = [np.sort(RNG.uniform(0, 5, 8)) for _ in range(3)]
  perfect = rhythm.row([(t, t) for t in true], [5.0, 5, 5])
  silent = rhythm.row([(t[:0], t) for t in true], 5)
  for name in rhythm.PROTOCOLS:
    for key in ('bcs', 'bhs'):
      assert perfect[name][key] == 1 and silent[name][key] == 0
    # A harmonic mean with what can exceed 1 would be no F1.
    expected = (None, None) if name in ('cdcd', 'd2m') else (1, 0)
    assert (perfect[name]['f1'], silent[name]['f1']) == expected
  assert perfect['diffgesture'] == {'consistency': 1.0}
  assert silent['beats_per_second'] == {
      'made': 0.0, 'true': pytest.approx(1.6)
  }


def test_wider_tolerances_match_more():
  pytest.importorskip('mir_eval')
  pairs = [tuple(np.sort(RNG.uniform(0, 9, 15)) for _ in 'ab')
           for _ in range(5)]
  found = rhythm.row(pairs, 9.0)
  scores = [found[f'within_{t}']['f1'] for t in (0.05, 0.07, 0.1, 0.2)]
  assert scores == sorted(scores) and scores[0] < scores[-1]


def test_wrong_lists_are_refused():
  pairs = [(np.ones(1), np.ones(1))] * 3
  with pytest.raises(UserError, match='found 3 clips and 2 lengths'):
    rhythm.row(pairs, [1.0, 2.0])
  with pytest.raises(UserError, match='found 0 clips'):
    rhythm.row([], 1.0)
  with pytest.raises(UserError, match="found 'f1'"):
    rhythm.score(*pairs[0], 1.0, 'f1')
  for groups in ([0, 0, 0], [0, 1]):
    with pytest.raises(UserError, match='two groups'):
      rhythm.chance(pairs, 1.0, seed=0, groups=groups)


def _regular(rng, rate, seconds=10.0):
  return np.arange(rng.uniform(0, 1 / rate), seconds, 1 / rate)


def test_by_seconds_a_metronome_is_perfect():
  pytest.importorskip('mir_eval')
  rng = np.random.default_rng(3)
  true = [_regular(rng, rng.uniform(80, 130) / 60) for _ in range(40)]
  rows = rhythm.chance([(t, t) for t in true], 10.0, seed=0, repeats=2)
  for name in ('metronome', 'shuffled'):
    assert rows[name]['loris'] == {
        'bcs': 1.0, 'csd': 0.0, 'bhs': 1.0, 'hsd': 0.0, 'f1': 1.0
    }
    assert 0.25 < rows[name]['within_0.1']['f1'] < 0.45


@pytest.mark.slow
def test_by_seconds_a_metronome_that_is_heard_is_perfect():
  rng = np.random.default_rng(4)
  pairs = [
      tuple(rhythm.onsets(_clicks(beats, 10, 16000), 16000) for beats in (
          rhythm.metronome(rng, 10), _regular(rng, rng.uniform(80, 130) / 60)
      )) for _ in range(40)
  ]
  assert rhythm.row(pairs, 10.0)['loris']['f1'] == 1


@pytest.mark.parametrize('tolerance, bcs, bhs, f1', [
    (0.05, 18, 26, 21), (0.07, 25, 36, 29), (0.1, 36, 51, 42),
    (0.2, 66, 94, 78),
])
def test_chance_of_regular_beats(tolerance, bcs, bhs, f1):
  """Regular beats, 1.44 times as many as the truth has, and any phase."""
  pytest.importorskip('mir_eval')
  rng, scores = np.random.default_rng(5), []
  for _ in range(300):
    rate = rng.uniform(80, 130) / 60
    counts = rhythm.count_matches(
        _regular(rng, 1.44 * rate, 25), _regular(rng, rate, 25), tolerance
    )
    scores.append(rhythm.precision_recall(counts))
  found = rhythm.summarise(scores)
  for name, value in (('bcs', bcs), ('bhs', bhs), ('f1', f1)):
    assert 100 * found[name] == pytest.approx(value, abs=2)
  # Beats that fall on others by chance do so in twice the tolerance.
  if tolerance < 0.1:
    rate = 1.44 * 105 / 60
    assert found['bhs'] == pytest.approx(2 * tolerance * rate, abs=0.02)


def test_metronomes_are_regular_within_their_tempi():
  rng = np.random.default_rng(6)
  steps, starts = [], []
  for _ in range(200):
    beats = rhythm.metronome(rng, 8.0)
    step = np.diff(beats)
    np.testing.assert_allclose(step, step[0])
    assert 0 <= beats[0] < step[0] and 8 - step[0] <= beats[-1] < 8
    steps.append(step[0])
    starts.append(beats[0] / step[0])
  assert 60 / 140 <= min(steps) < 0.45 and 0.83 < max(steps) <= 60 / 70
  assert np.mean(starts) == pytest.approx(0.5, abs=0.06)


def test_chance_rows_are_seeded_and_of_other_groups():
  pytest.importorskip('mir_eval')
  # Clips of a group are equal, so that its own beats would be perfect.
  lists = [_regular(np.random.default_rng(g), 1.3 + 0.3 * g) for g in range(3)]
  groups = [0, 0, 1, 1, 2, 2]
  pairs = [(lists[g], lists[g]) for g in groups]
  first, again = (
      rhythm.chance(pairs, 10.0, seed=7, groups=groups) for _ in 'ab'
  )
  assert first == again
  assert first != rhythm.chance(pairs, 10.0, seed=8, groups=groups)
  strict = first['shuffled']['within_0.05']
  loose = rhythm.chance(pairs, 10.0, seed=7)['shuffled']['within_0.05']
  assert strict['f1'] < 0.4
  # One partner in five is then the clip's twin.
  assert loose['f1'] == pytest.approx(0.2 + 0.8 * strict['f1'], abs=0.08)


def test_shuffled_beats_end_with_the_clip_they_are_held_against():
  pytest.importorskip('mir_eval')
  long, short = np.arange(0.5, 20, 1.0), np.arange(0.5, 5, 1.0)
  rows = rhythm.chance([(long, long), (short, short)], [20.0, 5.0], seed=0)
  # 20 true beats find 5 in the short clip; 5 find all their own.
  assert rows['shuffled']['within_0.05']['bcs'] == 1
  assert rows['shuffled']['within_0.05']['bhs'] == pytest.approx(0.625)
