"""The CMU set: index, labels, and the real recordings when they are there."""

import csv
import hashlib
import pathlib
import shutil

import numpy as np
import pytest

from diffax.body.skeletons import AMASS21
from diffax.data import bvh, cmu
from diffax.data.base import Recording
from diffax.errors import DataError


@pytest.fixture
def small(tmp_path: pathlib.Path, person: Recording) -> pathlib.Path:
  """A set of one recording of 85 frames, after 5 frames to skip."""
  root = tmp_path / 'data'
  path = root / 'motion' / 'cmu' / '60_01.bvh'
  bvh.write(path, person.joints, person.parents, person.positions, 120.0)
  row = dict.fromkeys(cmu.FIELDS, '') | {
      'file': 'cmu/60_01.bvh', 'dataset': 'CMU', 'split': 'train',
      'subject': '60', 'action': 'salsa dance', 'fps': '60', 'frames': '90',
      'skip_first': '5', 'seconds': '1.5', 'unit_to_m': '0.01',
      'sha256_raw': hashlib.sha256(path.read_bytes()).hexdigest()}
  with (root / 'motion' / 'index.csv').open('w', newline='') as file:
    writer = csv.DictWriter(file, cmu.FIELDS)
    writer.writeheader()
    writer.writerow(row)
    writer.writerow(row | {'dataset': 'other', 'file': 'no such file'})
  return root


def test_reads_what_the_index_says(
    small: pathlib.Path, person: Recording
) -> None:
  place = cmu.folder(small)
  rows = cmu.index(place)
  assert len(rows) == 1
  # The header says 120 frames per second, the index 60.
  (clip,), notes = cmu.clips_of(place, rows[0], 30.0)
  assert (clip.name, clip.subject, clip.label, clip.split, clip.fps) == (
      '60_01', '60', 'dance', 'train', 30.0)
  assert not notes
  np.testing.assert_allclose(clip.positions, person.positions[5::2], atol=1e-6)
  assert cmu.expected(rows, 30.0) == {
      'clips': 1, 'frames': 45, 'minutes': 0.025, 'subjects': 1}


def test_refuses_another_file_than_the_indexed(small: pathlib.Path) -> None:
  place = cmu.folder(small)
  path = place / 'cmu' / '60_01.bvh'
  path.write_text(path.read_text() + '\n')
  with pytest.raises(DataError, match='SHA-256'):
    cmu.read(place, cmu.index(place)[0])


@pytest.mark.parametrize('old, new, field', [
    ('sha256_raw', 'sha', 'columns'),
    ('CMU', 'UMC', 'dataset'),
    (',60,90,', ',fast,90,', 'fps of the index'),
    (',90,5,', ',90,-5,', 'skip_first'),
])
def test_refuses_a_bad_index(
    small: pathlib.Path, old: str, new: str, field: str
) -> None:
  path = small / 'motion' / 'index.csv'
  assert old in path.read_text()
  path.write_text(path.read_text().replace(old, new))
  with pytest.raises(DataError) as caught:
    for _, job in cmu.jobs(small, 60.0):
      job()
  assert field in caught.value.field


def test_names_the_folder_that_is_missing(tmp_path: pathlib.Path) -> None:
  with pytest.raises(DataError, match='DIFFAX_DATA'):
    cmu.folder(tmp_path)


@pytest.mark.parametrize('action, label', [
    ('walk', 'walk'), ('walk on uneven terrain', 'walk'),
    ('zombie walk', 'walk'), ('run/jog', 'run'), ('jump, balance', 'jump'),
    ('playground - climb, jump down', 'climb'), ('Indian dance', 'dance'),
    ('martial arts (karate kata, kicks)', 'fight'), ('swordplay', 'fight'),
    ('soccer - kick ball', 'soccer'), ('wash self', 'everyday'),
    ('balance on one leg, outstretched arms', 'balance'),
    ('walk, jump, punch, leg kick (long, multi-activity)', 'mixed'),
    ('jumping jacks, side twists, bend over, squats', 'exercise'),
])
def test_labels_are_coarse_actions(action: str, label: str) -> None:
  assert cmu.label(action) == label


def test_real_index_splits_by_person(data_dir: pathlib.Path) -> None:
  rows = cmu.index(cmu.folder(data_dir))
  split_of: dict[str, str] = {}
  for row in rows:
    assert split_of.setdefault(row['subject'], row['split']) == row['split']
  counts = {s: sum(r['split'] == s for r in rows)
            for s in ('train', 'val', 'test')}
  assert counts == {'train': 83, 'val': 27, 'test': 12}
  assert cmu.expected(rows, 60.0)['subjects'] == 25


@pytest.mark.parametrize('name', ['07_03', '87_backflip', '10_01', '60_11'])
def test_real_recordings_are_people(
    name: str, data_dir: pathlib.Path
) -> None:
  place = cmu.folder(data_dir)
  row = next(r for r in cmu.index(place) if f'/{name}.' in r['file'])
  made, notes = cmu.clips_of(place, row, 60.0)
  assert len(made) == (2 if name == '60_11' else 1)
  assert bool(notes) == (name == '60_11')
  frames = int(row['frames']) - int(row['skip_first'])
  kept = sum(len(clip.positions) for clip in made)
  assert frames - 20 <= kept * float(row['fps']) / 60 <= frames + 1
  positions = np.concatenate([clip.positions for clip in made])
  joint = AMASS21.joints.index
  thigh = np.linalg.norm(
      positions[:, joint('LKnee')] - positions[:, joint('LHip')], axis=-1)
  assert 0.35 < thigh.mean() < 0.48
  assert thigh.std() < 1e-3
  # Z is up: feet near the floor, head at a person's height.
  floor = np.percentile(positions[:, joint('LFoot'), 2], 5)
  head = np.percentile(positions[:, joint('Head'), 2], 90)
  assert -0.15 < floor < 0.25
  assert 1.2 < head - floor < 1.9


def test_a_set_without_its_files_is_refused(small: pathlib.Path) -> None:
  shutil.rmtree(small / 'motion' / 'cmu')
  ((name, job),) = cmu.jobs(small, 60.0)
  with pytest.raises(DataError, match='60_01.bvh'):
    job()
  assert name == 'cmu/60_01.bvh'
