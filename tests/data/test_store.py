"""A store comes back as it went in, or says what is wrong with it."""

import dataclasses
import json

import numpy as np
import pytest

from diffax.body import skeletons
from diffax.data import base
from diffax.data import folders
from diffax.data import store
from diffax.data import synthetic
from diffax.errors import DataError
from diffax.errors import UserError


@pytest.fixture(scope='module')
def clips() -> list[base.Clip]:
  return synthetic.generate(seed=3, persons=6, seconds=1.0, fps=30)


@pytest.fixture
def folder(tmp_path, clips):
  info = {'name': 'made', 'expected': {'clips': 25}, 'skipped': ['x: why']}
  store.write(tmp_path / 'made', clips, skeletons.AMASS21, info)
  return tmp_path / 'made'


def test_what_is_read_is_what_was_written(folder, clips):
  found, manifest = store.read(folder)
  assert len(found) == len(clips)
  for a, b in zip(found, clips):
    np.testing.assert_array_equal(a.positions, b.positions)
    assert dataclasses.replace(a, positions=b.positions) == b
  assert store.skeleton_of(manifest) == skeletons.AMASS21
  assert [p.name for p in folder.parent.iterdir()] == ['made']


def test_the_manifest_counts(folder):
  manifest = store.read_manifest(folder)
  assert manifest['found'] == {
      'clips': 24, 'frames': 720, 'minutes': 0.4, 'subjects': 6
  }
  assert [manifest['splits'][s]['clips'] for s in store.SPLITS] == [16, 4, 4]
  assert manifest['labels'] == dict.fromkeys(sorted(synthetic.HABITS), 6)
  assert manifest['unit'] == 'm' and manifest['fps'] == 30


def test_the_table_shows_found_beside_expected(folder, capsys):
  store.print_manifest(store.read_manifest(folder))
  out = capsys.readouterr().out
  for word in ('train', 'expected', '25', '720', 'x: why', 'exercise 6'):
    assert word in out


def test_writing_returns_what_reading_finds_and_replaces(folder, clips):
  manifest = store.write(folder, clips[:5], skeletons.AMASS21, {'name': 'b'})
  assert store.read_manifest(folder) == manifest
  assert len(store.read(folder)[0]) == 5
  assert [p.name for p in folder.parent.iterdir()] == ['made']


def test_a_write_that_fails_leaves_the_old_store(folder, clips, monkeypatch):
  def full(*_):
    raise OSError('disk full')

  monkeypatch.setattr(np, 'save', full)
  with pytest.raises(UserError, match='cannot write the store: disk full'):
    store.write(folder, clips[:1], skeletons.AMASS21, {})
  assert len(store.read(folder)[0]) == len(clips)
  assert [p.name for p in folder.parent.iterdir()] == ['made']


def test_cut_changed_and_absent_arrays_are_refused(folder):
  path = folder / store.POSITIONS
  whole = path.read_bytes()
  path.write_bytes(whole[:-8])
  with pytest.raises(DataError, match=r'positions.npy: size: expected \d+ by'):
    store.read(folder)
  path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
  with pytest.raises(DataError, match='positions.npy: SHA-256') as caught:
    store.read(folder)
  assert 'Prepare the store again' in str(caught.value)
  path.unlink()
  with pytest.raises(DataError, match='positions.npy: file'):
    store.read(folder)


def test_cut_changed_old_and_absent_manifests_are_refused(folder):
  path = folder / folders.MANIFEST
  whole = path.read_text()
  path.write_text(whole[: len(whole) // 2])
  with pytest.raises(DataError, match='manifest.json: text: expected a JSON'):
    store.read(folder)
  manifest = json.loads(whole)
  manifest['fps'] = 60.0
  path.write_text(json.dumps(manifest))
  with pytest.raises(DataError, match='manifest.json: SHA-256'):
    store.read(folder)
  path.write_text('{"format": 0}')
  with pytest.raises(DataError, match='format: expected 1, found 0'):
    store.read(folder)
  path.unlink()
  with pytest.raises(DataError, match='manifest.json: file'):
    store.read(folder)


def test_bad_clips_are_not_written(tmp_path, clips):
  def write(found):
    store.write(tmp_path / 's', found, skeletons.AMASS21, {})

  with pytest.raises(DataError, match='clips: expected at least one'):
    write([])
  with pytest.raises(DataError, match='expected another name, found p000'):
    write([clips[0], clips[0]])
  with pytest.raises(DataError, match='fps of clip .*expected 30 .*found 25'):
    write([clips[0], dataclasses.replace(clips[1], fps=25.0)])
  bad = clips[0].positions.copy()
  bad[3, 2] = np.nan
  with pytest.raises(DataError, match='frame 3, joint RHip'):
    write([dataclasses.replace(clips[0], positions=bad)])
  assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_a_user_error(tmp_path, clips):
  (tmp_path / 'file').write_text('')
  with pytest.raises(UserError, match='cannot write the store'):
    store.write(tmp_path / 'file' / 's', clips, skeletons.AMASS21, {})


def test_default_folders_differ_by_every_choice(monkeypatch, tmp_path):
  monkeypatch.setenv('DIFFAX_STORE', str(tmp_path))
  assert store.default_folder('cmu', 60.0) == tmp_path / 'cmu-60'
  made = {
      store.default_folder('bvh', 60.0),
      store.default_folder('bvh', 30.0),
      store.default_folder('bvh', 60.0, {'up': 'y'}),
      store.default_folder('bvh', 60.0, {'up': 'z'}),
      store.default_folder('bvh', 60.0, root='a'),
      store.default_folder('bvh', 60.0, root='b'),
  }
  assert len(made) == 6
