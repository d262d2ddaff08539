"""The Bandai-Namco set: rows, classes, and the real files where they are."""

import csv
import hashlib
import os
import pathlib

import numpy as np
import pytest

from diffax.data import bandai
from diffax.data import bvh
from diffax.data import cmu
from diffax.data.base import Recording


def test_classes_are_actions_whatever_their_style(
    tmp_path: pathlib.Path, person: Recording
) -> None:
  path = tmp_path / 'motion' / 'bow_active.bvh'
  bvh.write(path, person.joints, person.parents, person.positions, 30.0)
  row = dict.fromkeys(cmu.FIELDS, '') | {
      'file': 'bow_active.bvh', 'dataset': bandai.DATASET, 'split': 'val',
      'action': 'bow|active', 'fps': '30', 'frames': '90', 'skip_first': '0',
      'seconds': '3', 'unit_to_m': '0.01',
      'sha256_raw': hashlib.sha256(path.read_bytes()).hexdigest()}
  with (tmp_path / 'motion' / 'index.csv').open('w', newline='') as file:
    writer = csv.DictWriter(file, cmu.FIELDS)
    writer.writeheader()
    writer.writerow(row)
    writer.writerow(row | {'dataset': 'CMU', 'file': 'no such file'})
  (name, job), = bandai.jobs(tmp_path, 15.0)
  (clip,), notes = job()
  assert name == 'bow_active.bvh' and not notes
  assert (clip.name, clip.subject, clip.label, clip.split, clip.fps) == (
      'bow_active', 'unknown', 'bow', 'val', 15.0)
  np.testing.assert_allclose(clip.positions, person.positions[::2], atol=1e-6)


@pytest.mark.skipif(
    'DIFFAX_DATA' not in os.environ, reason='DIFFAX_DATA is not set'
)
def test_the_real_files_have_people_in_them() -> None:
  jobs = list(bandai.jobs(os.environ['DIFFAX_DATA'], 30.0))
  assert len(jobs) == 174
  (clip,), _ = jobs[0][1]()
  assert 1.2 < clip.positions[:, :, 2].max(1).mean() < 2.1
