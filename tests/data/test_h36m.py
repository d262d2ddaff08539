"""Human3.6M: cdf files that the tests write in the published layout."""

from collections.abc import Callable
import pathlib
import sys

import cdflib.cdfwrite
import numpy as np
import pytest

from diffax.body.skeletons import H36M16
from diffax.data import h36m, motion, prepare, segments, store
from diffax.errors import DataError, UserError

# A standing person by hand, millimetres: x to the left, z up.
STANCE = {
    'Pelvis': (0, 0, 950), 'RHip': (-130, 0, 950), 'RKnee': (-130, 0, 500),
    'RAnkle': (-130, 0, 60), 'LHip': (130, 0, 950), 'LKnee': (130, 0, 500),
    'LAnkle': (130, 0, 60), 'Torso': (0, 0, 1180), 'Neck': (0, 0, 1430),
    'Nose': (0, -80, 1520), 'Head': (0, 0, 1630), 'LShoulder': (150, 0, 1400),
    'LElbow': (150, 0, 1120), 'LWrist': (150, 0, 870),
    'RShoulder': (-150, 0, 1400), 'RElbow': (-150, 0, 1120),
    'RWrist': (-150, 0, 870),
}
# The joints of the files, by the names that H36M16 has for them; the others
# repeat these, or are hands and toes.
PLACES = {
    0: 'Pelvis', 1: 'RHip', 2: 'RKnee', 3: 'RAnkle', 6: 'LHip', 7: 'LKnee',
    8: 'LAnkle', 12: 'Torso', 13: 'Neck', 14: 'Nose', 15: 'Head',
    17: 'LShoulder', 18: 'LElbow', 19: 'LWrist', 25: 'RShoulder',
    26: 'RElbow', 27: 'RWrist',
}


def _pose(frames: int, scale: float = 1.0) -> np.ndarray:
  """Return 32 joints [1, frames, 96] of a person who walks along x."""
  pose = np.full((frames, 32, 3), 7777.0)
  for place, name in PLACES.items():
    pose[:, place] = STANCE[name]
  pose[:, :, 0] += 10 * np.arange(frames)[:, None]
  return (scale * pose).reshape(1, frames, 96)


def _write(
    root: pathlib.Path, person: str, name: str,
    pose: np.ndarray | None = None, variable: str = 'Pose'
) -> pathlib.Path:
  """Write a file as published, 130 frames unless a pose is given."""
  path = root / person / 'MyPoseFeatures' / 'D3_Positions' / f'{name}.cdf'
  path.parent.mkdir(parents=True, exist_ok=True)
  pose = _pose(130) if pose is None else pose
  file = cdflib.cdfwrite.CDF(path, delete=True)
  file.write_var(
      {'Variable': variable, 'Data_Type': 44, 'Num_Elements': 1,
       'Rec_Vary': True, 'Dim_Sizes': list(pose.shape[1:])},
      var_data=pose.astype(np.float32))
  file.close()
  return path


@pytest.fixture
def small(tmp_path: pathlib.Path) -> pathlib.Path:
  """Six files of four persons, two in other words, one broken."""
  root = tmp_path / 'raw'
  _write(root / 'h36m', 'S1', 'TakingPhoto 1')
  _write(root / 'h36m', 'S8', 'WalkingDog')
  _write(root / 'h36m', 'S9', 'WalkDog 1', _pose(180))
  _write(root / 'h36m', 'S11', 'Directions', np.zeros((1, 4, 96)))
  _write(root / 'h36m', 'S11', 'Directions 1', _pose(124))
  _write(root / 'h36m', 'S11', 'SittingDown', _pose(125))
  return root


def _csv(path: pathlib.Path, rows: list[str]) -> pathlib.Path:
  path.write_text('\n'.join(
      ['subject,action,init,pred_init,pred_end', *rows]) + '\n')
  return path


LISTED = ['S9,WalkDog 1,0,25,124', 'S9,WalkDog 1,25,50,149',
          'S9,WalkingDog 1,50,75,174', 'S11,SittingDown,0,25,124']


@pytest.mark.parametrize('name, want, label', [
    ('Walking', 'Walking', 'Walking'),
    ('Walking 1', 'Walking_1', 'Walking'),
    ('TakingPhoto', 'Photo', 'Photo'),
    ('TakingPhoto 1', 'Photo_1', 'Photo'),
    ('WalkingDog 2', 'WalkDog_2', 'WalkDog'),
    ('WalkingDog_1', 'WalkDog_1', 'WalkDog'),
    ('Photo_1', 'Photo_1', 'Photo'),
])
def test_recordings_have_one_name(name: str, want: str, label: str) -> None:
  assert h36m.action(name) == want
  assert h36m.label(name) == label


def test_reads_seventeen_of_the_joints_in_metres(
    tmp_path: pathlib.Path
) -> None:
  path = _write(tmp_path, 'S1', 'Walking')
  got = h36m.read(path)
  assert got.joints == H36M16.joints
  assert (got.fps, got.unit, got.positions.shape) == (50.0, 'mm', (130, 17, 3))
  want = np.array([STANCE[name] for name in H36M16.joints]) / 1000
  np.testing.assert_allclose(got.positions[0], want, atol=1e-6)
  np.testing.assert_allclose(
      got.positions[7], want + [0.07, 0, 0], atol=1e-6)


def test_reads_a_file_without_the_leading_axis(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  path = _write(tmp_path, 'S1', 'Walking')
  want = h36m.read(path).positions
  monkeypatch.setattr(h36m, '_pose', lambda path: _pose(130)[0])
  np.testing.assert_allclose(h36m.read(path).positions, want, atol=1e-6)


@pytest.mark.parametrize('pose, field', [
    (np.zeros((1, 130, 95)), 'Pose'),
    (np.zeros((1, 130, 32, 3)), 'Pose'),
    (np.zeros((2, 130, 96)), 'Pose'),
    (np.where(np.arange(96) == 5, np.nan, _pose(130)), 'Pose'),
    (_pose(130, 0.001), 'unit'),
    (_pose(130, 0.1), 'unit'),
    (_pose(1), 'frames'),
])
def test_refuses_a_bad_pose(
    tmp_path: pathlib.Path, pose: np.ndarray, field: str
) -> None:
  path = _write(tmp_path, 'S1', 'Walking', pose)
  with pytest.raises(DataError) as caught:
    h36m.read(path)
  assert (caught.value.field, caught.value.file) == (field, str(path))


def test_refuses_what_is_no_cdf(tmp_path: pathlib.Path) -> None:
  path = _write(tmp_path, 'S1', 'Walking', variable='Angles')
  with pytest.raises(DataError, match='variable Pose'):
    h36m.read(path)
  path.write_bytes(b'no cdf at all')
  with pytest.raises(DataError, match='a whole file'):
    h36m.read(path)
  path.unlink()
  with pytest.raises(DataError, match='a whole file'):
    h36m.read(path)


@pytest.mark.filterwarnings('default')
def test_damage_never_gives_a_traceback(
    tmp_path: pathlib.Path, mutate: Callable[[bytes, int], bytes],
    survives: Callable[[Callable[[], object]], bool]
) -> None:
  path = _write(tmp_path, 'S1', 'Walking', _pose(20))
  whole = path.read_bytes()
  read = 0
  for seed in range(60):
    path.write_bytes(mutate(whole, seed))
    read += survives(lambda: h36m.read(path))
  assert read < 60


def test_says_which_package_is_missing(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  path = _write(tmp_path, 'S1', 'Walking')
  monkeypatch.setitem(sys.modules, 'cdflib', None)
  with pytest.raises(UserError, match=r'diffax\[data\]'):
    h36m.read(path)


def test_prepares_the_published_split(
    small: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  out = tmp_path / 'store'
  manifest = prepare.prepare('h36m', small, out, fps=50)
  clips, again = store.read(out)
  assert again == manifest
  assert store.skeleton_of(manifest) == H36M16
  assert manifest['fps'] == 50
  # The broken recording is left out without being read.
  assert [(c.name, c.subject, c.label, c.split) for c in clips] == [
      ('S1/Photo_1', 'S1', 'Photo', 'train'),
      ('S8/WalkDog', 'S8', 'WalkDog', 'train'),
      ('S9/WalkDog_1', 'S9', 'WalkDog', 'test'),
      ('S11/Directions_1', 'S11', 'Directions', 'test'),
      ('S11/SittingDown', 'S11', 'SittingDown', 'test'),
  ]
  assert clips[0].file == 'S1/MyPoseFeatures/D3_Positions/TakingPhoto 1.cdf'
  np.testing.assert_allclose(
      clips[2].positions[179, 0], [1.79, 0, 0.95], atol=1e-6)
  assert manifest['expected'] == {'clips': 209, 'subjects': 7}
  assert manifest['missing_sets'] == ['S5', 'S6', 'S7']
  assert manifest['published_test_segments'] == {'S9': 3041, 'S11': 2127}
  assert sum(h36m.TEST_SEGMENTS.values()) == 5168


def test_keeps_every_nth_frame_and_refuses_another_rate(
    small: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  manifest = prepare.prepare('h36m', small, tmp_path / 's', fps=25)
  clips, _ = store.read(tmp_path / 's')
  assert manifest['fps'] == 25
  assert [len(clip.positions) for clip in clips] == [65, 65, 90, 62, 63]
  np.testing.assert_allclose(
      clips[2].positions[1, 0], [0.02, 0, 0.95], atol=1e-6)
  with pytest.raises(UserError, match='nearest is 50'):
    prepare.prepare('h36m', small, tmp_path / 's', fps=60)


@pytest.mark.parametrize('s8, names, clips', [
    ('train', {'S8/WalkDog': 'train'}, 209),
    ('val', {'S8/WalkDog': 'val'}, 209),
    ('both', {'S8/WalkDog': 'train', 'val/S8/WalkDog': 'val'}, 239),
])
def test_validates_on_s8_if_told(
    small: pathlib.Path, tmp_path: pathlib.Path, s8: str,
    names: dict[str, str], clips: int
) -> None:
  manifest = prepare.prepare('h36m', small, tmp_path / 's', fps=50, s8=s8)
  rows = [row for row in manifest['clips'] if row['subject'] == 'S8']
  assert {row['name']: row['split'] for row in rows} == names
  assert manifest['expected'] == {'clips': clips, 'subjects': 7}
  listed = _csv(tmp_path / 'valid.csv', ['S8,WalkDog,0,25,124'])
  found = h36m.compare_segments(
      manifest, h36m.read_segments(listed), 'val')
  assert found.differing == (s8 == 'train')
  assert found.generated == ({} if s8 == 'train' else found.published)


def test_refuses_wrong_settings_and_folders(
    small: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  with pytest.raises(UserError, match='train, val, both'):
    prepare.prepare('h36m', small, tmp_path / 's', fps=50, s8='twice')
  with pytest.raises(DataError, match=r'D3_Positions/\*\.cdf'):
    prepare.prepare('h36m', tmp_path / 'no', tmp_path / 's', fps=50)
  twin = _write(small / 'h36m', 'S1', 'Photo 1')
  with pytest.raises(DataError, match='Photo_1, like Photo 1.cdf'):
    prepare.prepare('h36m', small, tmp_path / 's', fps=50)
  twin.rename(twin.with_name('Skating.cdf'))
  with pytest.raises(DataError, match='found Skating'):
    prepare.prepare('h36m', small, tmp_path / 's', fps=50)


def test_a_bad_file_is_skipped_and_listed(
    small: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  _write(small / 'h36m', 'S9', 'Eating', np.zeros((1, 4, 95)))
  with pytest.raises(DataError, match='Eating.cdf'):
    prepare.prepare('h36m', small, tmp_path / 's', fps=50)
  manifest = prepare.prepare(
      'h36m', small, tmp_path / 's', fps=50, skip_bad=True)
  assert manifest['found']['clips'] == 5
  (reason,) = manifest['skipped']
  assert 'Eating.cdf: Pose' in reason


def test_reads_a_published_list(tmp_path: pathlib.Path) -> None:
  got = h36m.read_segments(_csv(tmp_path / 'a.csv', LISTED))
  assert got[2:] == [
      segments.Segment('S9/WalkDog_1', 50, 75, 175),
      segments.Segment('S11/SittingDown', 0, 25, 125)]
  # The list for validation has a column without a name, which begins anew
  # with each recording.
  path = tmp_path / 'b.csv'
  path.write_text(
      ',subject,action,init,pred_init,pred_end\n0,S8,Posing_1,0,25,124\n'
      '0,S8,Posing,0,25,124\n')
  assert [s.clip for s in h36m.read_segments(path)] == [
      'S8/Posing_1', 'S8/Posing']


@pytest.mark.parametrize('rows, match', [
    ([], 'no row'),
    (['S9,Eating,0,25'], 'line 2: expected 5 columns'),
    (['S9,Eating,0,x,124'], 'pred_init of line 2'),
    (['S9,Eating,-25,0,99'], 'init of line 2'),
    (['S9,Eating,25,25,124'], 'init < pred_init'),
    (['S9,Eating,0,25,24'], 'init < pred_init'),
    (['S9,Eating,0,25,124', 'S9,Eating,25,50,99'], 'line 3: expected 25'),
    (['S9,Photo,0,25,124', 'S9,TakingPhoto,0,25,124'], 'that of line 2'),
])
def test_refuses_a_bad_list(
    tmp_path: pathlib.Path, rows: list[str], match: str
) -> None:
  with pytest.raises(DataError, match=match):
    h36m.read_segments(_csv(tmp_path / 'a.csv', rows))


def test_refuses_a_list_of_another_set(tmp_path: pathlib.Path) -> None:
  path = tmp_path / 'a.csv'
  path.write_text('name,init,pred_init,pred_end\nx,0,15,74\n')
  with pytest.raises(DataError, match='found no subject, action'):
    h36m.read_segments(path)


def test_the_rule_gives_the_published_segments(
    small: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  out = tmp_path / 'store'
  manifest = prepare.prepare('h36m', small, out, fps=50)
  rule = segments.by_rule(manifest, 50, h36m.PROTOCOL)
  # 124 frames hold no segment, 125 one, 180 three.
  assert rule == h36m.read_segments(_csv(tmp_path / 'a.csv', LISTED))
  assert h36m.count_segments(manifest) == {'S9': 3, 'S11': 1}
  found = h36m.compare_segments(manifest, rule[::-1])
  assert found == segments.Comparison(
      {'S9': 3, 'S11': 1}, {'S11': 1, 'S9': 3}, 0, '')
  source = motion.motion(
      'h36m', seed=0, batch_size=2, store=str(out), **h36m.SETTINGS)
  cut = source.segments('test')
  names = source.info['clips']['test']
  assert [(names[c], s) for c, s in zip(cut['clip'], cut['start'])] == [
      (s.clip, s.start) for s in rule]
  assert cut['past'].shape == (4, 25, 16, 3)
  assert cut['future'].shape == (4, 100, 16, 3)
  assert source.train(0)['past'].shape == (2, 25, 16, 3)


@pytest.mark.parametrize('rows, differing, difference', [
    ([*LISTED[:2], 'S9,WalkDog 1,75,100,199'], 2,
     'S9/WalkDog_1 (180 frames): published 3, generated 3; only generated:'
     ' frames 50 to 174'),
    ([*LISTED, 'S9,Eating,0,25,124'], 1,
     'S9/Eating (not in the store): published 1, generated 0; only published:'
     ' frames 0 to 124'),
    ([*LISTED, 'S11,SittingDown,25,50,149'], 1,
     'S11/SittingDown (125 frames): published 2, generated 1; only published:'
     ' frames 25 to 149'),
])
def test_the_first_difference_is_named(
    small: pathlib.Path, tmp_path: pathlib.Path, rows: list[str],
    differing: int, difference: str
) -> None:
  manifest = prepare.prepare('h36m', small, tmp_path / 's', fps=50)
  listed = h36m.read_segments(_csv(tmp_path / 'a.csv', rows))
  found = h36m.compare_segments(manifest, listed)
  assert found.generated == {'S9': 3, 'S11': 1}
  assert sum(found.published.values()) == len(rows)
  assert (found.differing, found.difference) == (differing, difference)


def test_a_store_of_another_rate_is_not_compared(
    small: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  manifest = prepare.prepare('h36m', small, tmp_path / 's', fps=25)
  with pytest.raises(UserError, match='store at 50'):
    h36m.count_segments(manifest)
  manifest = prepare.prepare('h36m', small, tmp_path / 's', fps=50)
  with pytest.raises(UserError, match='expected a published list'):
    h36m.compare_segments(manifest, [])
