"""One command per data set: stores, manifests, bad files, exit codes."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from diffax.body.skeletons import AMASS21
from diffax.data import __main__ as command
from diffax.data import bvh, cmu, prepare, readers, store
from diffax.data.base import Recording
from diffax.errors import DataError, UserError


@pytest.fixture
def folder(tmp_path: pathlib.Path, person: Recording) -> pathlib.Path:
  """A user's folder: 4 BVH files and an npz in two sub-folders."""
  root = tmp_path / 'mine'
  for i in range(4):
    bvh.write(root / 'dance' / f'{i}.bvh', person.joints, person.parents,
              person.positions[:60 + i], 60.0)
  readers.save_npz(root / 'walk' / 'e.npz', person.joints, person.parents,
                   person.positions, 60.0)
  return root


def test_prepares_a_users_folder(
    folder: pathlib.Path, tmp_path: pathlib.Path, person: Recording
) -> None:
  out = tmp_path / 'store'
  manifest = prepare.prepare('bvh', folder, out, fps=30)
  assert manifest['found'] == {
      'clips': 5, 'frames': 169, 'minutes': round(169 / 1800, 3),
      'subjects': 5}
  assert {s: row['clips'] for s, row in manifest['splits'].items()} == {
      'train': 3, 'val': 1, 'test': 1}
  assert manifest['labels'] == {'dance': 4, 'walk': 1}
  assert manifest['rigs'] == {'amass21': 5}
  assert 'licence' not in manifest
  clips, again = store.read(out)
  assert again == manifest
  walk = next(clip for clip in clips if clip.label == 'walk')
  np.testing.assert_allclose(walk.positions, person.positions[::2], atol=1e-6)
  assert store.skeleton_of(manifest) == AMASS21


def test_two_users_folders_have_two_stores(
    folder: pathlib.Path, tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch
) -> None:
  monkeypatch.setenv('DIFFAX_STORE', str(tmp_path / 'stores'))
  other = tmp_path / 'other'
  (folder / 'walk').rename(other)
  for root, clips in ((folder, 4), (other, 1)):
    prepare.prepare('bvh', root, fps=30)
    place = store.default_folder('bvh', 30, {}, root)
    assert len(store.read_manifest(place)['clips']) == clips
  with pytest.raises(UserError, match='config.data.root'):
    prepare.prepare('bvh')


def test_splits_by_sub_folder(
    folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  with pytest.raises(DataError, match='sub-folder'):
    prepare.prepare('bvh', folder, tmp_path / 's', split='folder')
  (folder / 'dance').rename(folder / 'train')
  (folder / 'walk').rename(folder / 'test')
  manifest = prepare.prepare('bvh', folder, tmp_path / 's', split='folder')
  assert {s: row['clips'] for s, row in manifest['splits'].items()} == {
      'train': 4, 'val': 0, 'test': 1}


def test_split_by_hash_stays_when_a_file_changes(
    folder: pathlib.Path, tmp_path: pathlib.Path, person: Recording
) -> None:
  first = prepare.prepare('bvh', folder, tmp_path / 's')
  bvh.write(folder / 'dance' / '0.bvh', person.joints, person.parents,
            person.positions[30:], 60.0)
  second = prepare.prepare('bvh', folder, tmp_path / 's')
  splits = [{c['name']: c['split'] for c in m['clips']}
            for m in (first, second)]
  assert splits[0] == splits[1]
  assert first['sha256'] != second['sha256']


def test_keeps_the_files_own_skeleton(
    folder: pathlib.Path, tmp_path: pathlib.Path, person: Recording
) -> None:
  keep = (0, 1, 4, 7, 3, 6)
  for path in folder.rglob('*.bvh'):
    bvh.write(path, [f'bone {i}' for i in keep], (-1, 0, 1, 2, 0, 4),
              person.positions[:, keep], 60.0, 'm')
  out = tmp_path / 'store'
  with pytest.raises(DataError, match='that of the first file'):
    prepare.prepare('bvh', folder, out, skeleton='own', unit='m')
  manifest = prepare.prepare(
      'bvh', folder, out, skeleton='own', unit='m', skip_bad=True)
  assert len(manifest['skipped']) == 1
  assert 'e.npz' in manifest['skipped'][0]
  skeleton = store.skeleton_of(manifest)
  assert skeleton.joints == tuple(f'bone_{i}' for i in (0, 1, 4, 7, 3, 6))
  assert skeleton.num_nodes == 5
  assert set(skeleton.edges) == {(0, 1), (1, 2), (3, 4), (0, 3)}


def test_uses_a_users_map(
    folder: pathlib.Path, tmp_path: pathlib.Path, person: Recording
) -> None:
  names = [f'x{i}' for i in range(22)]
  for path in folder.rglob('*.bvh'):
    bvh.write(path, names, person.parents, person.positions, 60.0)
  (folder / 'walk' / 'e.npz').unlink()
  with pytest.raises(DataError, match='Give a map'):
    prepare.prepare('bvh', folder, tmp_path / 's')
  path = tmp_path / 'map.json'
  path.write_text(json.dumps(dict(zip(AMASS21.joints, names))))
  manifest = prepare.prepare(
      'bvh', folder, tmp_path / 's', joint_map=str(path))
  ((rig, count),) = manifest['rigs'].items()
  assert rig.endswith('own map') and count == 4


def test_skip_bad_carries_on_and_lists(
    folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  broken = folder / 'dance' / '1.bvh'
  broken.write_text(broken.read_text()[:-200])
  with pytest.raises(DataError, match='1.bvh'):
    prepare.prepare('bvh', folder, tmp_path / 's')
  assert not (tmp_path / 's').exists()
  manifest = prepare.prepare('bvh', folder, tmp_path / 's', skip_bad=True)
  assert manifest['found']['clips'] == 4
  assert manifest['files_read'] == 4
  (reason,) = manifest['skipped']
  assert '1.bvh: Frames: expected 61 frames' in reason


def test_nothing_usable_is_an_error(
    folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  for path in [*folder.rglob('*.bvh'), *folder.rglob('*.npz')]:
    path.write_bytes(b'x')
  with pytest.raises(UserError, match='no usable clip'):
    prepare.prepare('bvh', folder, tmp_path / 's', skip_bad=True)


@pytest.mark.parametrize('name, change, match', [
    ('kinect', {}, 'kinect'),
    ('bvh', {'fps': 0}, 'fps'),
    ('bvh', {'colour': 1}, 'colour'),
    ('cmu', {'skeleton': 'own'}, 'skeleton'),
    ('bvh', {'skeleton': 'h36m'}, 'h36m'),
    ('bvh', {'split': 'coin'}, 'coin'),
    ('bvh', {'unit': 'ell'}, 'ell'),
    ('bvh', {'root': None}, 'root'),
    ('bvh', {'root': 'no/such/folder'}, 'no/such/folder'),
    ('cmu', {'root': 'no/such/folder'}, 'no/such/folder'),
    ('amass', {'root': 'no/such/folder'}, 'no/such/folder'),
])
def test_refuses_wrong_settings(
    folder: pathlib.Path, tmp_path: pathlib.Path, name: str,
    change: dict[str, object], match: str
) -> None:
  settings = {'root': folder, 'out': tmp_path / 's'} | change
  with pytest.raises(UserError, match=match):
    prepare.prepare(name, **settings)  # type: ignore[arg-type]


def test_prepares_the_generated_set(tmp_path: pathlib.Path) -> None:
  manifest = prepare.prepare(
      'synthetic', out=tmp_path / 's', fps=30, persons=6, seconds=2)
  assert manifest['fps'] == 30
  assert len(manifest['subjects']) == 6
  assert manifest['licence'] == 'as diffax'
  assert all(row['clips'] for row in manifest['splits'].values())


def test_every_published_set_has_a_licence() -> None:
  assert set(prepare.LICENCES) == set(prepare.PREPARERS) - {'bvh'}


def test_prepares_amass(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
  rng = np.random.default_rng(0)
  for name in ('ACCAD', 'SFU', 'SSM_synced'):
    path = tmp_path / 'amass' / name / 'p' / 'a_poses.npz'
    path.parent.mkdir(parents=True)
    np.savez(path, poses=0.1 * rng.normal(size=(60, 156)),
             trans=np.zeros((60, 3)), betas=np.zeros(16), gender=b'male',
             mocap_framerate=120.00004577636719)
  code = command.main(['prepare', 'amass', '--root', str(tmp_path), '--out',
                       str(tmp_path / 's')])
  assert code == 0
  text = capsys.readouterr().out
  assert 'amass: 60 fps, amass21, m' in text
  assert 'joints: mean neutral body' in text
  assert 'sets not found: BMLhandball' in text
  manifest = store.read_manifest(tmp_path / 's')
  assert {s: row['frames'] for s, row in manifest['splits'].items()} == {
      'train': 30, 'val': 30, 'test': 30}
  assert 'approximate' in manifest['joints_from']
  assert len(manifest['missing_sets']) == 19
  assert manifest['labels'] == {'ACCAD': 1, 'SFU': 1, 'SSM': 1}


def test_command_line_tells_mistakes_in_one_message(
    folder: pathlib.Path, tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str]
) -> None:
  out = str(tmp_path / 's')
  assert command.main(['prepare', 'bvh', '--root', str(folder), '--out', out,
                       '--fps', '30']) == 0
  capsys.readouterr()
  (folder / 'walk' / 'e.npz').write_bytes(b'PK garbage')
  assert command.main(['prepare', 'bvh', '--root', str(folder), '--out', out]
                      ) == 2
  text = capsys.readouterr().err
  assert text.startswith('error: ') and text.count('\n') == 1
  assert 'e.npz' in text
  assert command.main(['prepare', 'bvh', '--root', str(folder), '--out', out,
                       '--skip_bad']) == 0
  assert 'skipped 1' in capsys.readouterr().out
  with pytest.raises(SystemExit) as caught:
    command.main(['prepare', 'kinect'])
  assert caught.value.code == 2


def test_runs_as_a_module(tmp_path: pathlib.Path) -> None:
  done = subprocess.run(
      [sys.executable, '-m', 'diffax.data', 'prepare', 'cmu', '--root',
       str(tmp_path)], capture_output=True, text=True, timeout=120)
  assert done.returncode == 2
  assert 'Traceback' not in done.stderr
  assert 'motion/index.csv' in done.stderr


def test_prepares_some_of_cmu(
    data_dir: pathlib.Path, tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch
) -> None:
  rows = cmu.index(cmu.folder(data_dir))
  few = [row for row in rows if row['subject'] in ('38', '43', '55')]
  monkeypatch.setattr(cmu, 'index', lambda place: few)
  manifest = prepare.prepare('cmu', data_dir, tmp_path / 's')
  assert manifest['found']['clips'] == manifest['expected']['clips'] == 5
  assert abs(manifest['found']['frames'] - manifest['expected']['frames']) <= 5
  assert {s: row['clips'] for s, row in manifest['splits'].items()} == {
      'train': 2, 'val': 2, 'test': 1}


def test_root_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch
) -> None:
  monkeypatch.setenv('DIFFAX_DATA', 'somewhere')
  assert prepare.data_root() == pathlib.Path('somewhere')
  assert prepare.data_root('here') == pathlib.Path('here')
  monkeypatch.delenv('DIFFAX_DATA')
  assert prepare.data_root() == pathlib.Path('data')
