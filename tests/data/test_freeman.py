"""FreeMan: npy files and lists that the tests write as they are published."""

from collections.abc import Callable
import json
import pathlib
from typing import Any

import numpy as np
import pytest

from diffax.body.skeletons import FREEMAN17
from diffax.data import freeman, motion, prepare, segments, store
from diffax.errors import DataError, UserError

# A standing person in COCO's order, centimetres: x to the left, z down.
STANCE = np.array([
    (0, -9, -160), (3, -8, -164), (-3, -8, -164), (7, 0, -162), (-7, 0, -162),
    (17, 0, -140), (-17, 0, -140), (17, 0, -112), (-17, 0, -112),
    (17, 0, -87), (-17, 0, -87), (12, 0, -95), (-10, 0, -95), (12, 0, -50),
    (-10, 0, -50), (12, 0, -6), (-10, 0, -6),
], float)
COCO = ('Nose LEye REye LEar REar LShoulder RShoulder LElbow RElbow LWrist '
        'RWrist LHip RHip LKnee RKnee LAnkle RAnkle').split()


def _points(frames: int = 100, shift: float = 0.0) -> np.ndarray:
  """Return keypoints [frames, 17, 3] of a person who glides along x."""
  steps = np.zeros((frames, 1, 3))
  steps[:, 0, 0] = shift + np.arange(frames)
  return STANCE + steps


def _write(
    root: pathlib.Path, name: str, points: np.ndarray | None = None,
    **kinds: Any
) -> pathlib.Path:
  """Write a file as published; by default of the last derivation."""
  path = root / 'keypoints3d' / f'{name}.npy'
  path.parent.mkdir(parents=True, exist_ok=True)
  kinds = kinds or {'keypoints3d_optim': (
      _points() if points is None else points)}
  np.save(path, np.array([{'keypoints3d': _points(shift=999), **kinds}]),
          allow_pickle=True)
  return path


WALK, SIT, DANCE, JUMP = (
    '20220818_857ffafc02_subj22', '20221018_b2bead8253_subj39',
    '20220927_be9491dc05_subj10', '20221001_7d3cdec615_subj29')
SPOILT, BROKEN = '20220814_3d18837f02_subj35', '20220813_99078b0f07_subj32'


@pytest.fixture
def small(tmp_path: pathlib.Path) -> pathlib.Path:
  """Six files: whole, cut once, cut in three, unlisted, spoilt, broken."""
  place = tmp_path / 'raw' / 'FreeMan'
  _write(place, WALK)
  _write(place, SIT, _points(120))
  torn = _points(400)
  torn[[0, 150, 151, 399]] = np.nan
  _write(place, DANCE, torn)
  _write(place, JUMP)
  _write(place, SPOILT, np.full((90, 17, 3), np.nan))
  _write(place, BROKEN).write_bytes(b'no npy')
  (place / freeman.IGNORED).write_text(f'{BROKEN}\n')
  lists = place / 'annotations'
  lists.mkdir()
  (lists / 'train.txt').write_text(f'{WALK}\n')
  (lists / 'valid.txt').write_text(f'{SIT}\n')
  (lists / 'test.txt').write_text(f'{DANCE}_slice1\n{DANCE}_slice3\n')
  (lists / freeman.BAD).write_text(json.dumps([SPOILT]))
  # As published, the text of a Python dictionary within JSON.
  (lists / freeman.SLICES).write_text(json.dumps(str({
      SIT: [(20, 119)], DANCE: [(1, 150), (152, 240), (250, 340)]})))
  (lists / freeman.LABELS).write_text(
      f'{WALK},move thing\n{SIT},sit/relax\n{DANCE}_slice1,breaking\n'
      f'{DANCE}_slice3,breaking\n{JUMP},latin\n')
  # The set's own lists lie beside its files and must not be taken for these.
  (place / 'test.txt').write_text(f'{WALK}\n{JUMP}\n')
  return tmp_path / 'raw'


def _prepare(root: pathlib.Path, **options: Any) -> dict[str, Any]:
  return prepare.prepare(
      'freeman', root, root.parent / 'store', **{'fps': 30, **options})


def test_puts_the_legs_first_and_the_root_between_the_hips() -> None:
  got = freeman.body(_points(2))
  places = dict(zip(FREEMAN17.joints, got[1]))
  assert list(FREEMAN17.joints[1:]) == COCO[11:] + COCO[:11]
  for name, (x, y, z) in zip(COCO, STANCE):
    np.testing.assert_allclose(places[name], [(x + 1) / 100, y / 100, -z / 100])
  np.testing.assert_allclose(places['Pelvis'], [0.02, 0, 0.95])
  assert places['Nose'][2] > places['LKnee'][2]


def test_negating_an_axis_makes_a_mirror_image_and_a_turn_does_not() -> None:
  def left(points: np.ndarray) -> float:
    joint = dict(zip(FREEMAN17.joints, points[0]))
    forward = joint['Nose'] - joint['LEar'] / 2 - joint['REar'] / 2
    side = np.cross([0, 0, 1], forward)
    return float(side @ (joint['LShoulder'] - joint['RShoulder']))

  # In the file, where down is +z, left of a person who looks along -y is -x.
  raw = _points(1)
  raw[..., 0] *= -1
  assert left(freeman.body(raw, 'turn')) > 0 > left(freeman.body(raw))
  for upright in freeman.UPRIGHT:
    assert freeman.body(raw, upright)[0, 0, 2] > 0


@pytest.mark.parametrize('kinds, best', [
    (('keypoints3d_optim', 'keypoints3d_smoothnet', 'keypoints3d_smoothnet32'),
     'keypoints3d_smoothnet32'),
    (('keypoints3d_optim', 'keypoints3d_smoothnet'), 'keypoints3d_smoothnet'),
    (('keypoints3d_optim',), 'keypoints3d_optim'),
])
def test_reads_the_most_precise_derivation(
    tmp_path: pathlib.Path, kinds: tuple[str, ...], best: str
) -> None:
  path = _write(tmp_path, WALK, **{
      kind: _points(shift=100 * i) for i, kind in enumerate(kinds)})
  got = freeman.read(path)
  assert (got.joints, got.fps, got.unit) == (FREEMAN17.joints, 30.0, 'cm')
  assert got.positions.shape == (100, 18, 3)
  np.testing.assert_allclose(
      got.positions[0, 0, 0], 0.01 + kinds.index(best), atol=1e-9)


@pytest.mark.parametrize('kinds, field', [
    ({'keypoints3d_smooth': _points()}, 'keypoints'),
    ({'keypoints3d_optim': _points()[:, :16]}, 'keypoints3d_optim'),
    ({'keypoints3d_optim': _points()[0]}, 'keypoints3d_optim'),
    ({'keypoints3d_optim': None}, 'keypoints3d_optim'),
    ({'keypoints3d_smoothnet': np.full((9, 17, 3), 'x'),
      'keypoints3d_optim': _points()}, 'keypoints3d_smoothnet'),
    ({'keypoints3d_optim': np.where(
        np.arange(3) == 1, np.nan, _points())}, 'frame 0, joint Pelvis'),
    ({'keypoints3d_optim': _points() / 100}, 'unit'),
    ({'keypoints3d_optim': _points() * 10}, 'unit'),
    ({'keypoints3d_optim': _points(1)}, 'frames'),
])
def test_refuses_bad_keypoints(
    tmp_path: pathlib.Path, kinds: dict[str, Any], field: str
) -> None:
  path = _write(tmp_path, WALK, **kinds)
  with pytest.raises(DataError) as caught:
    freeman.read(path)
  assert (caught.value.field, caught.value.file) == (field, str(path))


def test_refuses_other_files_and_runs_no_code(tmp_path: pathlib.Path) -> None:
  class Trap:
    def __reduce__(self) -> tuple[Any, ...]:
      return (pathlib.Path.touch, (tmp_path / 'sprung',))

  path = tmp_path / 'a.npy'
  for content, match in (
      (np.zeros((5, 17, 3)), 'a dictionary of arrays'),
      (np.array([Trap()]), 'is no array'),
      (np.array([{}, {}]), '2 of dict'),
      (np.array([3], object), '1 of int'),
  ):
    np.save(path, content, allow_pickle=True)
    with pytest.raises(DataError, match=match):
      freeman.read_points(path)
  assert not (tmp_path / 'sprung').exists()
  with pytest.raises(DataError, match='readable'):
    freeman.read_points(tmp_path / 'none.npy')


@pytest.mark.filterwarnings('default')
def test_damage_never_gives_a_traceback(
    tmp_path: pathlib.Path, mutate: Callable[[bytes, int], bytes],
    survives: Callable[[Callable[[], object]], bool]
) -> None:
  path = _write(tmp_path, WALK, _points(3))
  whole = path.read_bytes()
  read = 0
  for seed in range(100):
    path.write_bytes(mutate(whole, seed))
    read += survives(lambda: freeman.read(path))
  assert read < 100


def _torn(*breaks: int, frames: int = 400) -> np.ndarray:
  """Return joints whose left knee jumps for good at the frames named."""
  joints = freeman.body(_points(frames))
  for place in breaks:
    joints[place:, FREEMAN17.joints.index('LKnee'), 2] -= 0.06
  return joints


def test_prunes_where_a_limb_changes_its_length() -> None:
  assert freeman.prune(_torn()) == [(0, 400)]
  # Step 199 is bad: good steps 0 .. 198 give the frames 0 .. 198.
  assert freeman.prune(_torn(200)) == [(0, 199), (200, 399)]
  # Less than five centimetres is no fault, nor is the motion of the whole.
  joints = _torn(200)
  joints[200:, FREEMAN17.joints.index('LKnee'), 2] += 0.02
  assert freeman.prune(joints) == [(0, 400)]
  # A single wrong frame makes two bad steps, hence a gap of two frames.
  joints = _torn()
  joints[100, 5] += 0.5
  assert freeman.prune(joints) == [(0, 99), (101, 399)]
  # What is left must hold a past and a future: 75 frames.
  assert freeman.prune(_torn(76, 152)) == [(0, 75), (76, 151), (152, 399)]
  assert freeman.prune(_torn(75, 150)) == [(150, 399)]
  assert freeman.prune(_torn(60, frames=120)) == []


def test_prunes_gaps() -> None:
  joints = _torn()
  joints[[0, 200, 201]] = np.nan
  spans = freeman.prune(joints)
  assert spans == [(1, 199), (202, 399)]
  assert all(np.isfinite(joints[a:b]).all() for a, b in spans)
  assert freeman.prune(np.full((90, 18, 3), np.nan)) == []


def test_prepares_the_published_clips(small: pathlib.Path) -> None:
  manifest = _prepare(small)
  clips, again = store.read(small.parent / 'store')
  assert again == manifest
  assert store.skeleton_of(manifest) == FREEMAN17
  assert [
      (c.name, c.split, c.label, c.subject, len(c.positions)) for c in clips
  ] == [
      (WALK, 'train', 'move thing', 'subj22', 100),
      # One slice keeps the name of the file, several have numbers; the second
      # is in no list.
      (SIT, 'val', 'sit/relax', 'subj39', 99),
      (f'{DANCE}_slice1', 'test', 'breaking', 'subj10', 149),
      (f'{DANCE}_slice3', 'test', 'breaking', 'subj10', 90),
  ]
  want = freeman.body(_points(400))
  np.testing.assert_allclose(clips[1].positions, want[20:119], atol=1e-5)
  np.testing.assert_allclose(clips[2].positions, want[1:150], atol=1e-5)
  np.testing.assert_allclose(clips[3].positions, want[250:340], atol=1e-5)
  assert clips[3].file == f'keypoints3d/{DANCE}.npy'
  assert manifest['expected'] == {'clips': 4, 'subjects': 3}
  assert manifest['published_test_segments'] == {'FreeMan': 11015}


def test_finds_files_and_lists_elsewhere(small: pathlib.Path) -> None:
  want = _prepare(small)['sha256']
  (small / 'FreeMan' / 'annotations').rename(small / 'lists')
  (small / 'FreeMan').rename(small / '30FPS')
  assert _prepare(small, annotations=str(small / 'lists'))['sha256'] == want
  with pytest.raises(DataError, match=r'keypoints3d/\*\.npy'):
    _prepare(small / 'lists')


def test_keeps_every_nth_frame_and_refuses_another_rate(
    small: pathlib.Path
) -> None:
  assert _prepare(small, fps=15)['fps'] == 15
  clips, _ = store.read(small.parent / 'store')
  assert [len(clip.positions) for clip in clips] == [50, 50, 75, 45]
  with pytest.raises(UserError, match='nearest is 30'):
    _prepare(small, fps=60)


def test_files_to_be_ignored_are_left_out(small: pathlib.Path) -> None:
  place = small / 'FreeMan'
  with (place / 'annotations' / 'train.txt').open('a') as file:
    file.write(f'{BROKEN}\n{SPOILT}\n')
  with (place / 'annotations' / freeman.LABELS).open('a') as file:
    file.write(f'{BROKEN},drink\n{SPOILT},photo\n')
  manifest = _prepare(small)
  assert (manifest['found']['clips'], manifest['expected']['clips']) == (4, 6)
  (place / freeman.IGNORED).write_text('')
  with pytest.raises(DataError, match=f'{BROKEN}.npy: npy'):
    _prepare(small)
  (place / freeman.IGNORED).unlink()
  with pytest.raises(DataError, match='the list of files not to use'):
    _prepare(small)


@pytest.mark.parametrize('name', [
    *freeman.LISTS.values(), freeman.SLICES, freeman.BAD, freeman.LABELS])
def test_names_the_list_that_is_missing(
    small: pathlib.Path, name: str
) -> None:
  (small / 'FreeMan' / 'annotations' / name).unlink()
  with pytest.raises(DataError, match="protocol='rule'") as caught:
    _prepare(small)
  assert caught.value.file.endswith(f'annotations/{name}')


@pytest.mark.parametrize('name, text, match', [
    ('test.txt', f'{WALK}\n', f'{WALK} again'),
    ('test.txt', 'walk_7\n', 'date_session_subjN'),
    ('test.txt', f'{DANCE}_slice4\n', 'found 3 stretches'),
    ('test.txt', f'{DANCE}\n', 'found 3 stretches'),
    ('test.txt', f'{JUMP}_slice1\n', 'found 0 stretches'),
    ('valid.txt', f'{SIT}_slice1\n', 'found 1 stretches'),
    ('test.txt', f'{SPOILT}\n', f'the action of {SPOILT}'),
    (freeman.LABELS, f'{WALK}\n', 'clip,action'),
    (freeman.BAD, '[', 'JSON'),
    (freeman.BAD, '{}', 'names of files'),
    (freeman.SLICES, '[]', 'stretches of files'),
    (freeman.SLICES, '"{"', 'a dictionary of stretches'),
    (freeman.SLICES, '"__import__(\'os\')"', 'a dictionary of stretches'),
    (freeman.SLICES, '"[1]"', 'found list'),
    (freeman.SLICES, '{"a": [[5, 5]]}', 'stretches of a'),
    (freeman.SLICES, '{"a": []}', 'stretches of a'),
])
def test_refuses_bad_lists(
    small: pathlib.Path, name: str, text: str, match: str
) -> None:
  (small / 'FreeMan' / 'annotations' / name).write_text(text)
  with pytest.raises(DataError, match=match):
    _prepare(small)


def test_slices_may_be_json_itself(small: pathlib.Path) -> None:
  path = small / 'FreeMan' / 'annotations' / freeman.SLICES
  want = freeman.read_slices(path)
  path.write_text(json.dumps(want))
  assert freeman.read_slices(path) == want
  assert want[SIT] == ((20, 119),)


def test_a_bad_file_is_skipped_and_listed(small: pathlib.Path) -> None:
  place = small / 'FreeMan'
  (place / 'keypoints3d' / f'{WALK}.npy').unlink()
  _write(place, SIT, _points(110))
  torn = _points(400)
  torn[260, 3] = np.nan
  _write(place, DANCE, torn)
  with pytest.raises(DataError, match='a readable file'):
    _prepare(small)
  with pytest.raises(UserError, match='no usable clip') as caught:
    _prepare(small, skip_bad=True)
  text = str(caught.value)
  assert f'{WALK}.npy: file' in text
  assert '119 or more, by the lists, found 110' in text
  assert f'{DANCE}.npy from frame 250: frame 10, joint LEar' in text


def test_prunes_and_splits_by_rule_without_lists(small: pathlib.Path) -> None:
  manifest = _prepare(small, protocol='rule')
  rows = {row['name']: row for row in manifest['clips']}
  assert {name: (row['split'], row['label'], row['frames'])
          for name, row in rows.items()} == {
      WALK: ('train', 'move thing', 100),
      SIT: ('val', 'sit/relax', 120),
      f'{DANCE}_slice1': ('test', 'breaking', 148),
      f'{DANCE}_slice2': ('test', 'breaking', 246),
      JUMP: ('train', 'latin', 100),
  }
  assert len(manifest['cuts']) == 2
  assert manifest['cuts'][0].startswith(f'{SPOILT}: 90 of 90 frames lost')
  assert '6 of 400 frames' in manifest['cuts'][1]
  assert 'expected' not in manifest
  for path in (small / 'FreeMan' / 'annotations').iterdir():
    path.unlink()
  again = _prepare(small, protocol='rule')
  assert [row['name'] for row in again['clips']] == list(rows)
  assert again['found'] == manifest['found']
  assert set(again['labels']) == {'motion'}


def test_persons_of_the_published_lists_have_one_split() -> None:
  assert freeman.split_of('20220929_95ec39c607_subj01') == 'train'
  assert freeman.split_of(f'{DANCE}_slice12') == 'test'
  assert freeman.split_of('20220702_5dc23c9302_subj23') == 'val'
  assert not set(freeman.SUBJECTS['val']) & set(freeman.SUBJECTS['test'])
  # Those that the paper moved to the training persons.
  moved = {1, 37, 14, 2, 12, 24, 18, 21}
  assert not moved & {x for who in freeman.SUBJECTS.values() for x in who}


def test_turns_upright_if_told(small: pathlib.Path) -> None:
  _prepare(small, upright='turn')
  clips, manifest = store.read(small.parent / 'store')
  np.testing.assert_allclose(
      clips[0].positions, freeman.body(_points(), 'turn'), atol=1e-6)
  assert manifest['upright'] == 'turn'
  for name in ('upright', 'protocol'):
    with pytest.raises(UserError, match=f'{name}: expected'):
      _prepare(small, **{name: 'other'})


LISTED = ['{}_slice1,{},{},{}'.format(DANCE, s, s + 15, s + 74)
          for s in (0, 15, 30, 45, 60)] + [
    f'{DANCE}_slice3,0,15,74', f'{DANCE}_slice3,15,30,89']


def _csv(path: pathlib.Path, rows: list[str]) -> pathlib.Path:
  path.write_text('\n'.join(['name,init,pred_init,pred_end', *rows]) + '\n')
  return path


def test_the_rule_gives_the_published_segments(small: pathlib.Path) -> None:
  manifest = _prepare(small)
  published = freeman.read_segments(_csv(small / 'a.csv', LISTED))
  rule = segments.by_rule(manifest, 30, freeman.PROTOCOL)
  # 149 frames hold five segments: a sixth would end with frame 149 itself.
  assert rule == published
  assert freeman.count_segments(manifest) == {'FreeMan': 7}
  found = freeman.compare_segments(manifest, published)
  assert found == segments.Comparison({'FreeMan': 7}, {'FreeMan': 7}, 0, '')
  source = motion.motion(
      'freeman', seed=0, batch_size=2, store=str(small.parent / 'store'),
      **freeman.SETTINGS)
  cut = source.segments('test')
  assert cut['start'].tolist() == [s.start for s in rule]
  assert cut['past'].shape == (7, 15, 17, 3)
  assert cut['future'].shape == (7, 60, 17, 3)
  assert len(source.segments('val')['start']) == 2


# Lengths of twelve published stretches, and how many segments of each are in
# the published list.
@pytest.mark.parametrize('frames, count', [
    (83, 1), (95, 2), (102, 2), (113, 3), (141, 5), (184, 8), (200, 9),
    (215, 10), (509, 29), (763, 46), (1439, 91), (1859, 119),
])
def test_the_rule_gives_as_many_as_are_published(
    frames: int, count: int
) -> None:
  manifest = {'fps': 30.0, 'clips': [
      {'name': 'a', 'split': 'test', 'frames': frames}]}
  assert freeman.count_segments(manifest) == {'FreeMan': count}


def test_the_first_difference_is_named(small: pathlib.Path) -> None:
  manifest = _prepare(small)
  path = _csv(small / 'a.csv', [*LISTED, f'{DANCE}_slice3,30,45,104'])
  found = freeman.compare_segments(manifest, freeman.read_segments(path))
  assert (found.generated, found.published, found.differing) == (
      {'FreeMan': 7}, {'FreeMan': 8}, 1)
  assert found.difference == (
      f'{DANCE}_slice3 (90 frames): published 3, generated 2; only published:'
      ' frames 30 to 104')


def test_refuses_a_list_of_another_set(tmp_path: pathlib.Path) -> None:
  path = tmp_path / 'a.csv'
  path.write_text('subject,action,init,pred_init,pred_end\nS9,Eating,0,25,124')
  with pytest.raises(DataError, match='found no name'):
    freeman.read_segments(path)
