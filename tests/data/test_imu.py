"""Windows, the person held out, picks and batches."""

from collections.abc import Callable
import dataclasses
import io
from typing import Any

import numpy as np
import pytest
import rich

from diffax.data import imu
from diffax.data import imu_recordings
from diffax.data import imu_signals
from diffax.data.base import Source
from diffax.errors import DataError
from diffax.errors import UserError

CLASSES = ('walking', 'running', 'jumping')
FACTS = imu_signals.FACTS


@pytest.fixture(scope='module')
def reading() -> imu_recordings.Reading:
  """Four people, three classes, 24 s each."""
  found = imu_signals.generate(4, 24.0, classes=CLASSES)
  return imu_recordings.prepare(list(found), FACTS)


def build(reading: imu_recordings.Reading, **options: Any) -> Source:
  settings: dict[str, Any] = {'seed': 0, 'batch_size': 6, 'classes': CLASSES}
  return imu.source(reading, FACTS, **settings | options)


def change(
    reading: imu_recordings.Reading, subject: str,
    do: Callable[[np.ndarray], np.ndarray]
) -> imu_recordings.Reading:
  """Change the values of one person."""
  return reading._replace(recordings=tuple(
      dataclasses.replace(r, values=do(r.values)) if r.subject == subject
      else r for r in reading.recordings
  ))


def shorten(
    reading: imu_recordings.Reading, subject: str, label: str, samples: int
) -> imu_recordings.Reading:
  """Cut the recording of one person in one class."""
  return reading._replace(recordings=tuple(
      dataclasses.replace(r, values=r.values[:samples])
      if (r.subject, r.label) == (subject, label) else r
      for r in reading.recordings
  ))


def test_windows_are_stretches_of_the_recordings(
    reading: imu_recordings.Reading
) -> None:
  source = build(reading, fold=2)
  info = source.info
  assert (info['rate'], info['length'], info['shift']) == (50.0, 160, 40)
  assert info['channels'][:3] == ('acc_x', 'acc_y', 'acc_z')
  assert info['sensors'] == {'acc': (0, 1, 2), 'gyr': (3, 4, 5)}
  assert info['units'] == {'acc': 'm/s^2', 'gyr': 'rad/s'}
  assert info['classes'] == CLASSES
  assert info['subjects'] == ('P01', 'P02', 'P03', 'P04')
  assert info['test_subject'] == 'P03'
  for split in imu.SPLITS:
    part = source.segments(split)
    assert part['window'].dtype == np.float32
    assert part['window'].shape == (len(part['label']), 160, 6)
    held = part['subject'] == 2
    assert held.all() if split == 'test' else not held.any()
    raw = imu.restore(part['window'], info)
    for i in range(0, len(raw), 7):
      recording = reading.recordings[part['recording'][i]]
      assert recording.name == info['recordings'][part['recording'][i]]
      assert recording.subject == info['subjects'][part['subject'][i]]
      assert recording.label == CLASSES[part['label'][i]]
      start = part['start'][i]
      np.testing.assert_allclose(
          raw[i], recording.values[start:start + 160], atol=1e-4)


@pytest.mark.parametrize('samples', [159, 160, 199, 200, 201, 556, 3627])
def test_the_number_of_windows(samples: int) -> None:
  one = imu_recordings.Recording('a', np.zeros((samples, 6)), 'p', 'x', 'f')
  two = dataclasses.replace(one, name='b')
  found = imu.cut([one, two], ['x'], ['p'], 160, 40)
  expected = max(0, (samples - 160) // 40 + 1)
  assert np.bincount(found.recording, minlength=2).tolist() == [expected] * 2
  assert (found.start + 160 <= samples).all()


def test_the_parts_share_no_sample(reading: imu_recordings.Reading) -> None:
  source = build(reading)
  parts = {name: source.segments(name) for name in imu.SPLITS}
  # 24 s hold 27 windows: round(0.2 27) are for validation, and the three
  # before these overlap them.
  assert source.info['counts']['val'].tolist() == [3 * 5] * 3
  assert source.info['counts']['full'].tolist() == [3 * (27 - 5 - 3)] * 3
  seen = {name: set() for name in ('full', 'val')}
  for name, samples in seen.items():
    for index, start in zip(parts[name]['recording'], parts[name]['start']):
      samples |= {(index, s) for s in range(start, start + 160)}
  assert not seen['full'] & seen['val']
  full = set(zip(parts['full']['recording'], parts['full']['start']))
  picked = list(zip(parts['train']['recording'], parts['train']['start']))
  assert len(picked) == 3 * 3 * 2 == source.info['epoch_size']
  assert set(picked) <= full
  for i, (index, start) in enumerate(picked):
    for other, second in picked[:i]:
      assert index != other or abs(start - second) >= 160
  np.testing.assert_array_equal(source.info['picks'], picked)
  for name, values in source.segments('train').items():
    np.testing.assert_array_equal(source.info['picked'][name], values)


def test_validation_may_take_whole_recordings(
    reading: imu_recordings.Reading
) -> None:
  # Recordings of ten windows each: the last two are validation, and no window
  # of an earlier recording overlaps them.
  pieces = tuple(
      dataclasses.replace(r, name=f'{r.name}/{i}', values=r.values[a:a + 200])
      for r in reading.recordings for i, a in enumerate(range(0, 1000, 200))
  )
  source = build(reading._replace(recordings=pieces))
  assert source.info['counts']['val'].tolist() == [3 * 2] * 3
  assert source.info['counts']['full'].tolist() == [3 * 8] * 3
  assert build(reading, val_share=0.0).info['counts']['full'].tolist() == (
      [3 * 27] * 3)


def test_picks_depend_on_their_seed_alone(
    reading: imu_recordings.Reading
) -> None:
  def chosen(**options: Any) -> set[tuple[int, int]]:
    picks = build(reading, **options).info['picks']
    return {(int(a), int(b)) for a, b in picks}

  first = chosen(fold=3)
  assert chosen(fold=3, seed=9, batch_size=4) == first
  assert chosen(fold=3, pick_seed=1) != first
  other = chosen(fold=0)
  mine = {
      i for i, r in enumerate(reading.recordings)
      if r.subject in ('P02', 'P03')
  }
  assert {p for p in first if p[0] in mine} == {
      p for p in other if p[0] in mine}
  # Of another order of the classes too.
  again = build(reading, fold=3, classes=CLASSES[::-1]).info['picks']
  assert {(int(a), int(b)) for a, b in again} == first


def test_picks_leave_room_for_each_other() -> None:
  windows = imu.Windows(*(
      np.zeros(5, np.int32), np.arange(0, 200, 40, dtype=np.int32),
      np.zeros(5, np.int32), np.zeros(5, np.int32)
  ))
  for seed in range(20):
    rng = np.random.default_rng(seed)
    # Any but the first and the last would be alone.
    assert imu.draw(windows, np.arange(5), 2, 160, rng).tolist() == [0, 4]
    assert len(imu.draw(windows, np.arange(5), 3, 160, rng)) == 2
  ones = {
      int(imu.draw(windows, np.arange(5), 1, 160, np.random.default_rng(s))[0])
      for s in range(60)
  }
  assert ones == set(range(5))


def test_the_person_held_out_changes_nothing(
    reading: imu_recordings.Reading
) -> None:
  whole = build(reading, fold=1)
  leak = build(change(reading, 'P02', lambda v: 3 * v[::-1] + 1), fold=1)
  for split in ('train', 'full', 'val'):
    before, after = whole.segments(split), leak.segments(split)
    for key in before:
      np.testing.assert_array_equal(before[key], after[key], err_msg=key)
  for key in ('mean', 'std', 'picks'):
    np.testing.assert_array_equal(whole.info[key], leak.info[key])
  for step in range(4):
    np.testing.assert_array_equal(
        whole.train(step)['window'], leak.train(step)['window'])
  assert not np.array_equal(
      whole.segments('test')['window'], leak.segments('test')['window'])
  # A training person does change them, so that this test can fail.
  seen = build(change(reading, 'P01', lambda v: 3 * v[::-1] + 1), fold=1)
  assert np.abs(seen.info['mean'] - whole.info['mean']).max() > 0.1


def test_standardisation(reading: imu_recordings.Reading) -> None:
  source = build(reading, val_share=0.0)
  # Without validation, `full` is every window of the training persons.
  flat = source.segments('full')['window'].reshape(-1, 6).astype(np.float64)
  np.testing.assert_allclose(flat.mean(0), 0, atol=1e-5)
  np.testing.assert_allclose(flat.std(0), 1, atol=1e-5)
  values = np.random.default_rng(0).normal(size=(3, 160, 6))
  np.testing.assert_allclose(imu.restore(
      imu.standardise(values, source.info), source.info), values, atol=1e-12)
  np.testing.assert_allclose(
      build(reading).info['std'], source.info['std'], rtol=1e-12)


def test_batches(reading: imu_recordings.Reading) -> None:
  source = build(reading, batch_size=9)
  picked = source.segments('train')
  shown = np.concatenate([source.train(s)['window'] for s in range(2)])
  # Two batches of nine are an epoch of eighteen.
  assert {w.tobytes() for w in shown} == {w.tobytes() for w in picked['window']}
  np.testing.assert_array_equal(
      source.train(1)['window'], build(reading, batch_size=9).train(1)['window']
  )
  balanced = build(reading, batch_size=12, per_class=True)
  batch = balanced.train(0)
  assert batch['label'].tolist() == [0] * 4 + [1] * 4 + [2] * 4
  assert batch['label'].dtype == np.int32
  rows = {w.tobytes(): k for w, k in zip(picked['window'], picked['label'])}
  assert [rows[w.tobytes()] for w in batch['window']] == (
      batch['label'].tolist())
  other = build(reading, batch_size=12, per_class=True, seed=1).train(0)
  assert not np.array_equal(batch['window'], other['window'])


def test_batches_of_augmented_copies(reading: imu_recordings.Reading) -> None:
  plain = build(reading, batch_size=9)
  wide = build(reading, batch_size=18, augment={
      'kinds': ('scaling', 'rotation'), 'copies': 3, 'share': 1.0})
  picked, bank = plain.segments('train'), wide.info['picked']
  # Classifiers still see the picks alone.
  np.testing.assert_array_equal(
      wide.segments('train')['window'], picked['window'])
  np.testing.assert_array_equal(
      bank['window'][:len(picked['label'])], picked['window'])
  assert np.bincount(bank['label']).tolist() == (
      4 * np.bincount(picked['label'])).tolist()
  known = {w.tobytes() for w in bank['window']}
  shown = {w.tobytes() for step in range(4) for w in wide.train(step)['window']}
  assert shown == known and len(known) == 4 * len(picked['label'])
  # A rotation keeps the length of a vector but for the scaling of its axes.
  again = build(reading, batch_size=18, augment={
      'kinds': ('rotation',), 'copies': 1, 'share': 1.0}).info
  count = len(picked['label'])
  lengths = [
      np.sort(np.linalg.norm(imu.restore(w, again)[..., :3], axis=-1).ravel())
      for w in (again['picked']['window'][:count],
                again['picked']['window'][count:])
  ]
  np.testing.assert_allclose(*lengths, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(('settings', 'expected'), [
    ({'kinds': ('mixup',)}, 'several classes'),
    ({'kinds': ('jitters',)}, "found 'jitters'"),
    ({'kinds': ()}, 'found none'),
    ({'kinds': ('jitter',), 'copies': 0}, 'found 0 and 0.5'),
    ({'kinds': ('jitter',), 'copy': 2}, r'data\.augment\.copy'),
])
def test_wrong_augmentation(
    reading: imu_recordings.Reading, settings: Any, expected: str
) -> None:
  with pytest.raises(UserError, match=expected):
    build(reading, augment=settings)


def test_a_class_that_a_person_lacks(reading: imu_recordings.Reading) -> None:
  info = build(shorten(reading, 'P02', 'jumping', 100)).info
  assert info['lacking'] == (('P02', 'jumping'),)
  assert info['windows'][1].tolist() == [27, 27, 0]
  assert info['epoch_size'] == 3 * 6 - 2
  assert any('P02' not in n and '2.0 s in all' in n for n in info['notes'])
  text = io.StringIO()
  rich.print(imu.table(info), file=text)
  assert '24.0 (27)' in text.getvalue() and 'P02' in text.getvalue()


def test_nothing_is_left(reading: imu_recordings.Reading) -> None:
  gone = reading
  for subject in ('P02', 'P03', 'P04'):
    gone = shorten(gone, subject, 'jumping', 100)
  build(gone, fold=1)
  with pytest.raises(DataError, match='class jumping.*P01, who is held out'):
    build(gone, fold=0)
  with pytest.raises(DataError, match='class rowing: expected a recording'):
    build(reading, classes=('walking', 'rowing'))
  with pytest.raises(DataError, match='160 samples .*found 100 in the longest'):
    build(change(reading, 'P01', lambda v: v)._replace(recordings=tuple(
        dataclasses.replace(r, values=r.values[:100])
        for r in reading.recordings)))
  still = reading
  for subject in ('P01', 'P02', 'P03', 'P04'):
    still = change(still, subject, lambda v: v * [1, 1, 1, 0, 1, 1])
  with pytest.raises(DataError, match='gyr_x: .* the constant 0'):
    build(still)


@pytest.mark.parametrize('option, message', [
    ({'fold': 4}, 'data.fold: expected 0 to 3.*P04.*found 4'),
    ({'fold': -1}, 'data.fold'),
    ({'length': 0}, 'data.length'),
    ({'shift': 0}, 'data.shift'),
    ({'picks': 0}, 'data.picks'),
    ({'val_share': 1.0}, 'data.val_share'),
    ({'batch_size': 0}, 'batch_size'),
    ({'batch_size': 8, 'per_class': True}, 'batch_size: .* multiple of 3'),
    ({'classes': ('walking',)}, 'data.classes'),
    ({'classes': ('walking', 'walking')}, 'data.classes'),
])
def test_wrong_settings(
    reading: imu_recordings.Reading, option: dict, message: str
) -> None:
  with pytest.raises(UserError, match=message):
    build(reading, **option)


def test_unknown_split_and_lone_person(reading: imu_recordings.Reading) -> None:
  with pytest.raises(UserError, match='split: .*train.*trian'):
    build(reading).segments('trian')
  lone = reading._replace(recordings=reading.recordings[:3])
  with pytest.raises(UserError, match='two persons or more'):
    build(lone)
