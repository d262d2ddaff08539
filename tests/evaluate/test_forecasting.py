"""The evaluator on a toy source, with models whose numbers are known."""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax import evaluate
from diffax.body.skeletons import H36M16
from diffax.data.base import Source
from diffax.errors import UserError
from diffax.trained import Trained

PAST, FUTURE = 3, 6


def _segments(split):
  rng = np.random.default_rng(len(split))
  count = {'train': 9, 'test': 11}[split]
  pose = rng.normal(size=(count, 1, 16, 3))
  pose[:6] = pose[:1]
  drift = rng.normal(size=(count, PAST + FUTURE, 16, 3)).cumsum(1) * 0.005
  motion = (pose + drift).astype(np.float32)
  return {
      'past': motion[:, :PAST],
      'future': motion[:, PAST:],
      'label': np.arange(count, dtype=np.int32) % 2,
  }


SOURCE = Source(
    {
        'name': 'toy', 'skeleton': H36M16, 'fps': 3, 'past': PAST,
        'future': FUTURE, 'classes': ('a', 'b'),
    },
    lambda step: {},
    _segments,
)
TEST = _segments('test')


def drawing(batch, key):
  """Four random futures about the last pose."""
  last = batch['past'][:, -1][:, None, None]
  shape = (len(last), 4, FUTURE, 16, 3)
  return last + 0.01 * jax.random.normal(key, shape)


def run(tmp_path, sample_fn=drawing, **options):
  options = {
      'seed': 0, 'workdir': tmp_path, 'samples': 4, 'batch_size': 4,
      'mm_threshold': 0.9, 'figures': False,
  } | options
  model = Trained(SOURCE, lambda *given: {'motion': sample_fn(*given)})
  return evaluate.EVALUATORS['forecasting'](model, **options)


@pytest.fixture(scope='module')
def result(tmp_path_factory):
  folder = tmp_path_factory.mktemp('run')
  return run(folder), folder


def test_metrics_json_holds_the_rows(result):
  rows, folder = result
  assert json.loads((folder / 'metrics.json').read_text()) == rows
  assert list(rows) == [
      'model', 'zero_velocity', 'nearest_neighbour', 'nearest_neighbour_4',
      'turned_neighbour', 'turned_neighbour_4',
  ]
  for row in rows.values():
    for name, value in row.items():
      if name != 'CMD by class':
        assert set(value) == {'mean', 'std', 'n'}
  table = {
      'ADE', 'FDE', 'MAE', 'MMADE', 'MMFDE', 'APDE', 'APD', 'CMD',
      'stretch mean', 'stretch RMSE', 'jitter mean', 'jitter RMSE',
  }
  assert table <= set(rows['model'])


def test_zero_velocity_row_is_right(result):
  row = result[0]['zero_velocity']
  gap = (TEST['future'] - TEST['past'][:, -1:]).astype(np.float64)
  norm = np.sqrt((gap**2).sum((2, 3)))
  for name, errors in (('ADE', norm.mean(1)), ('FDE', norm[:, -1])):
    np.testing.assert_allclose(row[name]['mean'], errors.mean(), rtol=1e-5)
    np.testing.assert_allclose(row[name]['std'], errors.std(), rtol=1e-4)
    assert row[name]['n'] == 11
  assert row['APD'] == {'mean': 0.0, 'std': 0.0, 'n': 11}
  assert row['jitter mean']['mean'] == 0.0
  # A body that stands still misses all of the classes' mean speed.
  step = np.diff(TEST['future'].astype(float), axis=1)
  speed = np.sqrt((step**2).sum(-1)).mean((1, 2))
  weights = np.arange(FUTURE - 1, 0, -1).sum()
  np.testing.assert_allclose(
      row['CMD']['mean'], weights * speed.mean(), rtol=1e-5
  )


def test_cmd_by_class_adds_up_to_the_whole(result):
  for row in result[0].values():
    classes = row['CMD by class']
    assert {name: part['n'] for name, part in classes.items()} == {
        'a': 6, 'b': 5
    }
    whole = sum(part['mean'] * part['n'] for part in classes.values()) / 11
    np.testing.assert_allclose(row['CMD']['mean'], whole, rtol=1e-12)
  still = result[0]['zero_velocity']['CMD by class']
  weights = np.arange(FUTURE - 1, 0, -1).sum()
  for part in still.values():
    assert part['speed'] == 0.0 < part['true speed']
    np.testing.assert_allclose(
        part['mean'], weights * part['true speed'], rtol=1e-6
    )


def test_calibration_is_measured_where_there_are_several_samples(
    result, tmp_path
):
  row = result[0]['model']
  assert row['ECE']['n'] == 11 and row['ECE']['std'] is None
  assert 0 < abs(row['ECE bias']['mean']) <= row['ECE']['mean'] < 0.4
  copies = result[0]['zero_velocity']
  assert copies['ECE'] == {'mean': None, 'std': None, 'n': 0}

  def narrow(batch, key):
    last = batch['past'][:, -1][:, None, None]
    return last + 0.01 * (drawing(batch, key) - last)

  row = run(tmp_path, narrow, baselines=())['model']
  # Hardly any truth lies within: the mean of the levels 0.6 and 0.2 is lost.
  assert row['ECE bias']['mean'] == pytest.approx(-0.4, abs=0.02)


def test_undefined_segments_do_not_count(result):
  row = result[0]['model']
  assert row['MMADE']['n'] == row['APDE (keep all)']['n'] == 11
  assert row['APDE']['n'] == row['MMADE (paper)']['n'] == 6


def test_the_same_seed_draws_the_same_numbers(result, tmp_path):
  again = run(tmp_path, baselines=())
  assert again == {'model': result[0]['model']}
  other = run(tmp_path, baselines=(), seed=1)
  assert other['model']['ADE']['mean'] != again['model']['ADE']['mean']


def test_filling_the_last_batch_changes_nothing(result, tmp_path):
  whole = run(tmp_path, batch_size=11, baselines=('nearest_neighbours',))
  name = 'nearest_neighbour_4'
  for metric, value in result[0][name].items():
    for key, number in jax.tree_util.tree_leaves_with_path(value):
      found = dict(jax.tree_util.tree_leaves_with_path(whole[name][metric]))
      np.testing.assert_allclose(
          found[key], number, rtol=1e-5, atol=1e-7, err_msg=metric
      )


def test_a_perfect_model_has_no_error(tmp_path):
  def oracle(batch, key):
    found = [
        np.flatnonzero((TEST['past'] == past).all((1, 2, 3)))[0]
        for past in batch['past']
    ]
    return np.repeat(TEST['future'][found][:, None], 4, axis=1)

  row = run(tmp_path, oracle, baselines=())['model']
  for name in ('ADE', 'FDE', 'MAE', 'MPJPE'):
    assert row[name]['mean'] == 0.0


def test_max_segments_are_spread_and_keep_the_truths(tmp_path):
  row = run(tmp_path, max_segments=3, baselines=())['model']
  # Of segments 0, 5 and 10 the first two share their past with four others.
  assert row['ADE']['n'] == 3 and row['APDE']['n'] == 2


def test_no_multimodal_truth_leaves_a_gap(tmp_path, capsys):
  row = run(tmp_path, mm_threshold=1e-9, baselines=())['model']
  assert row['APDE'] == {'mean': None, 'std': None, 'n': 0}
  assert ' - ' in capsys.readouterr().out


def test_paper_rows_are_marked(tmp_path, capsys):
  run(tmp_path, baselines=(), paper={'SkeletonDiffusion': {'ADE': 0.48}})
  out = capsys.readouterr().out
  line = next(x for x in out.splitlines() if 'SkeletonDiffusion (paper)' in x)
  assert line.split()[2:5] == ['0.480', '-', '-']


def test_curves_are_written(result):
  curves = json.loads((result[1] / 'curves.json').read_text())
  assert set(curves) == {'tolerance', *result[0]}
  still = curves['zero_velocity']
  assert still['valid by jitter'] == [1.0] * 101
  assert set(still['share of APD']) == {0.0}
  assert len(curves['tolerance']['stretch %']) == 101


def test_curves_hold_the_coverage_of_the_samples(result):
  curves = json.loads((result[1] / 'curves.json').read_text())
  assert curves['model']['coverage level'] == pytest.approx([0.6, 0.2])
  assert len(curves['model']['coverage']) == 2
  assert curves['zero_velocity']['coverage'] == []


def test_a_classifier_of_the_set_measures_the_fid(tmp_path, capsys):
  plan = {'steps': 2, 'batch_size': 4, 'windows': 12, 'width': 4}
  rows = run(tmp_path, baselines=('zero_velocity',), fid=plan)
  name = 'FID (own classifier)'
  model, still = (rows[x][name] for x in ('model', 'zero_velocity'))
  assert model['n'] == 44 and still['n'] == 11
  assert 0 <= model['mean'] and model['std'] is None
  assert model['accuracy'] == still['accuracy'] and model['chance'] == 6 / 11
  assert json.loads((tmp_path / 'metrics.json').read_text()) == rows
  printed = capsys.readouterr().out
  assert model['known'] == 11 and 0 <= model['training accuracy'] <= 1
  assert f'and {model["accuracy"]:.0%} of the 11 true futures' in ' '.join(
      printed.split()
  )
  lines = [line.rstrip() for line in printed.splitlines()]
  assert any(line.endswith(' classifier)') for line in lines)
  assert any(line.endswith(f' {model["mean"]:.3f}') for line in lines)
  with pytest.raises(UserError, match='eval.fid: unknown'):
    run(tmp_path, fid={'epochs': 2})


def test_figures_are_drawn(tmp_path):
  pytest.importorskip('matplotlib')
  run(tmp_path, baselines=('zero_velocity',), figures=True)
  for name in ('validity.png', 'valid_diversity.png', 'calibration.png'):
    assert (tmp_path / name).read_bytes().startswith(b'\x89PNG')


def test_figures_need_no_matplotlib(tmp_path, monkeypatch, capsys):
  monkeypatch.setitem(sys.modules, 'matplotlib', None)
  run(tmp_path, baselines=(), figures=True)
  assert 'matplotlib is missing' in capsys.readouterr().out
  assert not list(tmp_path.glob('*.png'))


def test_a_diverged_model_is_reported(tmp_path):
  with pytest.raises(UserError, match='model: expected finite.*segment 0'):
    run(tmp_path, lambda batch, key: np.nan * drawing(batch, key))


@pytest.mark.parametrize('options, message', [
    ({'samples': 5}, 'model: expected futures'),
    ({'samples': 0}, 'eval.samples'),
    ({'batch_size': 0}, 'eval.batch_size'),
    ({'max_segments': 0}, 'eval.max_segments'),
    ({'baselines': ('oracle',)}, 'eval.baselines'),
    ({'split': 'train'}, 'own windows'),
])
def test_wrong_settings_are_named(tmp_path, options, message):
  with pytest.raises(UserError, match=message):
    run(tmp_path, **options)


def test_only_an_oracle_sees_the_future(tmp_path):
  seen = []

  def telling(batch, key):
    seen.append(set(batch))
    if 'future' in batch:
      return jnp.repeat(batch['future'][:, None], 4, axis=1)
    return drawing(batch, key)

  run(tmp_path, telling, baselines=())
  rows = run(tmp_path, telling, baselines=(), given=('past', 'future'))
  assert seen == [{'past'}] * 3 + [{'past', 'future'}] * 3
  assert rows['model']['ADE']['mean'] == 0
  with pytest.raises(UserError, match='eval.given: .*oracle'):
    run(tmp_path, given=('label',))


def test_disturbed_pasts_leave_the_multimodal_truth_alone(
    result, tmp_path, monkeypatch
):
  noisy = {**TEST, 'clean_past': TEST['past'], 'past': TEST['past'] + 9}
  monkeypatch.setattr(
      sys.modules[__name__], 'SOURCE',
      SOURCE._replace(segments=lambda split: noisy),
  )
  rows = run(tmp_path, baselines=('zero_velocity',))
  still = result[0]['zero_velocity']
  # The body stands elsewhere, but what could have followed is the same.
  assert rows['zero_velocity']['ADE']['mean'] > still['ADE']['mean'] + 1
  assert rows['zero_velocity']['APDE'] == still['APDE']
  far = {**noisy, 'clean_past': np.random.default_rng(0).normal(
      size=TEST['past'].shape).astype(np.float32)}
  monkeypatch.setattr(
      sys.modules[__name__], 'SOURCE',
      SOURCE._replace(segments=lambda split: far),
  )
  alone = run(tmp_path, baselines=('zero_velocity',))['zero_velocity']
  assert alone['APDE'] != still['APDE']
