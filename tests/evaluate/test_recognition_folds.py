"""Runs of a study drawn together: averages over seeds, then over persons."""

import json

import numpy as np
import pytest

from diffax.evaluate import recognition_folds as folds
from diffax.errors import UserError

pytest.importorskip('matplotlib')


def _row(person, mean, std=0.1):
  value = {'mean': mean, 'std': std, 'n': 3}
  return {
      'macro-F1': value, 'persons': {person: {'macro-F1': value}},
      'confusion': [[mean, 1 - mean], [0.0, 1.0]],
  }


def _write(folder, person, few, dose):
  folder.mkdir(parents=True)
  metrics = {
      'conditions': {'few': _row(person, few), 'full': _row(person, 1.0)},
      'doses': {'100': _row(person, dose), '5': _row(person, dose / 2)},
      'classes': ['a', 'b'], 'held_out': person,
  }
  (folder / folds.METRICS).write_text(json.dumps(metrics))


@pytest.fixture
def study(tmp_path):
  _write(tmp_path / 'fold=0,seed=0', 'P1', 0.2, 0.5)
  _write(tmp_path / 'fold=0,seed=1', 'P1', 0.4, 0.7)
  _write(tmp_path / 'fold=1,seed=0', 'P2', 0.9, 1.0)
  return tmp_path


def test_seeds_of_a_person_are_averaged_first(study):
  rows = [run['conditions'] for run in folds.read(study)]
  found = folds.by_person(rows, 'few')
  assert found['P1'] == pytest.approx((0.3, 0.1))
  assert found['P2'] == (0.9, 0.1)


def test_folds_come_in_the_order_of_their_numbers(tmp_path):
  for fold in (10, 9, 0):
    _write(tmp_path / f'fold={fold}', f'P{fold}', 0.5, 0.5)
  persons = [run['held_out'] for run in folds.read(tmp_path)]
  assert persons == ['P0', 'P9', 'P10']


def test_what_is_drawn(study, monkeypatch):
  drawn = {}

  def note(name):
    def keep(path, *given, **options):
      drawn[name] = given, options

    return keep

  for name in ('bars', 'confusions', 'doses'):
    monkeypatch.setattr(folds.plots, name, note(name))
  written = folds.draw(study)
  assert set(written) == {'persons.png', 'confusion.png', 'doses.png'}
  (groups,), _ = drawn['bars']
  assert list(groups) == ['P1', 'P2'] and groups['P2']['few'] == (0.9, 0.1)
  (matrices, classes), _ = drawn['confusions']
  np.testing.assert_allclose(matrices['few'], [[1.5, 1.5], [0, 3]])
  assert classes == ['a', 'b']
  (percents, lines), options = drawn['doses']
  mean, std = next(iter(lines.values()))
  assert percents == [5, 100]
  # Persons have 0.6 and 1.0 at the full dose.
  np.testing.assert_allclose(mean, [0.4, 0.8])
  np.testing.assert_allclose(std, [0.1, 0.2])
  assert options['levels']['few'] == pytest.approx((0.6, 0.3))


def test_the_command_writes_pictures(study, capsys):
  assert folds.main([str(study)]) == 0
  assert len(list(study.glob('*.png'))) == 3
  assert 'persons.png' in capsys.readouterr().out


def test_folders_without_such_runs_are_named(tmp_path, capsys):
  with pytest.raises(UserError, match='found none'):
    folds.read(tmp_path)
  (tmp_path / folds.METRICS).write_text('{"x|y": 1}')
  assert folds.main([str(tmp_path)]) == 2
  assert 'metrics.json: content: expected metrics of' in capsys.readouterr().err
