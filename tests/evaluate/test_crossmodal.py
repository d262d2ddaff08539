"""The evaluator on toy windows, with models whose numbers are known."""

import json
import sys

import numpy as np
import pytest

from diffax import evaluate
from diffax.data.base import Source
from diffax.errors import UserError
from diffax.evaluate import crossmodal
from diffax.metrics import information
from diffax.trained import Trained

LENGTH = 8
WIDTHS = {'x': 2, 'y': 1}
COUNTS = {'train': 24, 'test': 10}


def _segments(split, widths=WIDTHS):
  rng = np.random.default_rng(len(split))
  count = COUNTS[split]
  arrays = {
      name: rng.normal(size=(count, LENGTH, width)).astype(np.float32)
      for name, width in widths.items()
  }
  number = np.arange(count, dtype=np.int32)
  return {
      **arrays, 'label': number % 2, 'track': 0 * number,
      'start': LENGTH * number,
  }


def source(widths=WIDTHS, classes=('slow', 'fast'), segments=_segments):
  info = {
      'name': 'toy', 'rate': 4.0, 'length': LENGTH, 'modalities': widths,
      'channels': {m: [f'{m}{c}' for c in range(n)] for m, n in widths.items()},
      'units': {m: ['m'] * n for m, n in widths.items()},
      'mean': {m: np.zeros(n) for m, n in widths.items()},
      'std': {m: np.ones(n) for m, n in widths.items()},
      'classes': classes,
  }
  return Source(info, lambda step: {}, lambda split: segments(split, widths))


TEST = _segments('test')


def oracle(change=lambda truth: truth[:, None], widths=WIDTHS):
  """Return a sampler that finds the truth by what it is given, and changes it.
  """
  test = _segments('test', widths)

  def sample(batch, key):
    assert set(batch) < set(widths)
    name, given = next(iter(batch.items()))
    rows = [np.flatnonzero((test[name] == x).all((1, 2)))[0] for x in given]
    return {m: change(test[m][rows]) for m in widths if m not in batch}

  return sample


def run(tmp_path, sample=oracle(), encode=None, data=None, **options):
  options = {
      'seed': 0, 'workdir': tmp_path, 'batch_size': 4, 'figures': False,
      'baselines': (),
  } | options
  model = Trained(data or source(), sample, encode)
  return evaluate.EVALUATORS['crossmodal'](model, **options)


def test_metrics_json_has_the_agreed_layout(tmp_path):
  encode = (lambda batch, key: {m: np.tile(x[..., :1], 2)
                                for m, x in batch.items()})
  result = run(
      tmp_path, encode=encode, baselines=('ridge', 'nearest_neighbour', 'mean'),
      sign_invariant=('x',),
  )
  assert json.loads((tmp_path / 'metrics.json').read_text()) == result
  assert list(result) == ['x|y', 'y|x', 'latents', 'probes', 'entropy']
  errors = {'MSE', 'MSE mean', 'MSE of mean', 'MSE best', 'FID'}
  signs = {'MSE sign', 'MSE sign best'}
  for name, expected in (('x|y', errors | signs), ('y|x', errors)):
    assert list(result[name]) == ['model', 'ridge', 'nearest_neighbour', 'mean']
    for row in result[name].values():
      assert set(row) == expected
      assert all(set(v) == {'mean', 'std', 'n'} for v in row.values())
  assert set(result['latents']) == {'x,y'}
  assert set(result['latents']['x,y']) == {'correlation', 'cka'}
  assert set(result['latents']['x,y']['correlation']) == {'mean', 'std'}
  assert set(result['probes']) == {'x', 'y'}
  for value in result['probes'].values():
    assert set(value) == {'linear', 'nonlinear', 'chance', 'majority'}


def test_the_truth_has_no_error(tmp_path):
  result = run(tmp_path)
  for name in ('x|y', 'y|x'):
    row = result[name]['model']
    assert row['MSE'] == {'mean': 0.0, 'std': 0.0, 'n': 10}
    assert row['MSE best']['mean'] == row['MSE mean']['mean'] == 0.0
    assert row['FID']['mean'] == pytest.approx(0, abs=1e-9)
    assert row['FID']['n'] == 10


def test_errors_are_of_the_first_the_mean_and_the_best_sample(tmp_path):
  change = (lambda truth: truth[:, None] + np.array(
      [2.0, -1.0, 5.0, 9.0], np.float32
  )[None, :, None, None])
  row = run(tmp_path, oracle(change), samples=3)['x|y']['model']
  for metric, expected in (
      ('MSE', 4), ('MSE mean', (4 + 1 + 25) / 3), ('MSE of mean', 4),
      ('MSE best', 1),
  ):
    assert row[metric]['mean'] == pytest.approx(expected, rel=1e-5)
  # A shift moves the Gaussian by 2 in each of its L C dimensions.
  assert row['FID']['mean'] == pytest.approx(4 * LENGTH * 2, rel=1e-5)


def test_a_sign_is_forgiven_where_it_cannot_be_known(tmp_path):
  result = run(
      tmp_path, oracle(lambda truth: -truth[:, None]), sign_invariant=('x',)
  )
  row = result['x|y']['model']
  assert row['MSE sign']['mean'] == row['MSE sign best']['mean'] == 0.0
  square = np.square(TEST['x'].astype(float)).mean((1, 2))
  assert row['MSE']['mean'] == pytest.approx(4 * square.mean(), rel=1e-5)
  assert row['MSE']['std'] == pytest.approx(4 * square.std(), rel=1e-5)
  assert 'MSE sign' not in result['y|x']['model']


def test_learned_scores_are_those_asked_for(tmp_path, monkeypatch):
  def score(truth, pred, *, seed, seeds=1):
    # The first sample lies 1 above the truth.
    runs = seed + np.arange(float(seeds)) + np.mean(pred - truth)
    return runs, 10 * runs

  fake = crossmodal.LEARNED['predictive']._replace(function=score)
  monkeypatch.setitem(crossmodal.LEARNED, 'predictive', fake)
  result = run(
      tmp_path, oracle(lambda x: np.stack([x + 1, x], 1)), samples=2, seed=5,
      directions=('x|y',), metrics=(), learned={'predictive': {'seeds': 3}},
      baselines=('mean',),
  )['x|y']
  assert set(result['model']) == {'predictive MAE', 'predictive MSE'}
  assert result['mean'] == {}
  value = result['model']['predictive MSE']
  assert value['mean'] == pytest.approx(70, rel=1e-6) and value['n'] == 3
  assert value['std'] == pytest.approx(10 * np.sqrt(2 / 3), rel=1e-5)


@pytest.mark.slow
def test_learned_scores_tell_the_truth_from_noise(tmp_path):
  short = {'iterations': 100, 'seeds': 1}
  learned = {'context_fid': {**short, 'features': 8, 'depth': 2},
             'predictive': short, 'discriminative': {**short, 'rate': 0.05}}
  good, bad = (
      run(tmp_path, oracle(change), learned=learned, directions=('x|y',))
      for change in (lambda x: x[:, None], lambda x: 9 + 3 * x[:, None])
  )
  for metric in ('Context-FID', 'predictive MAE', 'predictive MSE',
                 'discriminative'):
    worse = bad['x|y']['model'][metric]
    assert worse['mean'] > good['x|y']['model'][metric]['mean'], metric
    assert worse['n'] == 1 and worse['std'] == 0.0


def test_the_mean_row_has_the_variance_as_its_error(tmp_path):
  row = run(tmp_path, baselines=('mean',))['y|x']['mean']
  assert row['MSE']['mean'] == pytest.approx(np.mean(TEST['y']**2), rel=1e-5)


def test_the_model_sees_what_is_given_and_no_more(tmp_path):
  widths = {'a': 1, 'b': 2, 'c': 1}
  seen = []
  whole = oracle(widths=widths)

  def sample(batch, key):
    seen.append(set(batch))
    return whole(batch, key)

  result = run(
      tmp_path, sample, data=source(widths), batch_size=10,
      directions=('a|b', 'c|a,b'),
  )
  assert seen == [{'b'}, {'a', 'b'}]
  assert list(result)[:2] == ['a|b', 'c|a,b']
  assert result['c|a,b']['model']['MSE']['mean'] == 0.0
  names = [route.name for route in crossmodal.directions_of(None, list('abc'))]
  assert names == ['a|b,c', 'b|a,c', 'c|a,b']


def test_draws_depend_on_seed_direction_and_batch(tmp_path):
  keys = []

  def sample(batch, key):
    keys.append(tuple(np.asarray(key._base_array)))
    return oracle()(batch, key)

  run(tmp_path, sample)
  run(tmp_path, sample)
  first, again = keys[:6], keys[6:]
  assert first == again and len(set(first)) == 6
  run(tmp_path, sample, seed=1)
  assert not set(first) & set(keys[12:])


def test_filling_the_last_batch_changes_nothing(tmp_path):
  change = (lambda truth: (truth * 1.5)[:, None])
  several = run(tmp_path, oracle(change), batch_size=4)
  whole = run(tmp_path, oracle(change), batch_size=10)
  assert several == whole


def test_max_windows_are_spread(tmp_path):
  row = run(
      tmp_path, oracle(lambda x: 0 * x[:, None]), max_windows=3
  )['x|y']['model']
  assert row['MSE']['n'] == row['FID']['n'] == 3
  square = np.mean(TEST['x'][[0, 4, 9]] ** 2)
  assert row['MSE']['mean'] == pytest.approx(square, rel=1e-5)


def _labelled(split, widths):
  """Windows whose level in x, not in y, tells their label."""
  arrays = _segments(split, widths)
  level = 4.0 * arrays['label'][:, None, None]
  return {**arrays, 'x': (arrays['x'] + level).astype(np.float32)}


def test_probes_read_the_label_from_the_latents_of_one_modality(tmp_path):
  encode = (lambda batch, key: batch)
  data = source(segments=_labelled)

  def sample(batch, key):
    return {m: np.zeros((len(next(iter(batch.values()))), 1, LENGTH, n))
            for m, n in WIDTHS.items() if m not in batch}

  probes = run(tmp_path, sample, encode, data)['probes']
  assert probes['x']['linear'] == probes['x']['nonlinear'] == 1.0
  assert probes['y']['linear'] < 1.0
  assert probes['x']['chance'] == probes['x']['majority'] == 0.5


def test_latents_agree_by_dimension(tmp_path):
  def encode(batch, key):
    assert set(batch) == {'x', 'y'}
    z = batch['y']
    return {'x': np.concatenate([z, z**2], -1),
            'y': np.concatenate([z, -2 * z**2], -1)}

  found = run(tmp_path, encode=encode, probes=False)['latents']['x,y']
  assert found['correlation']['mean'] == pytest.approx(0, abs=1e-6)
  assert found['correlation']['std'] == pytest.approx(1, abs=1e-6)
  same = run(tmp_path, encode=lambda batch, key: {
      m: batch['x'] * (1 + (m == 'y')) for m in batch
  }, probes=False)
  assert same['latents']['x,y']['cka'] == pytest.approx(1, abs=1e-6)
  assert same['probes'] == {}


@pytest.mark.parametrize('encode, classes, reason', [
    (None, ('slow', 'fast'), 'no latents'),
    (lambda batch, key: batch, ('only',), "one class, 'only'"),
])
def test_no_probes_for_a_reason(tmp_path, capsys, encode, classes, reason):
  def segments(split, widths):
    arrays = _segments(split, widths)
    return {**arrays, 'label': arrays['label'] * (len(classes) - 1)}

  data = source(classes=classes, segments=segments)
  widths = run(tmp_path, encode=encode, data=data)
  assert widths['probes'] == {}
  assert reason in capsys.readouterr().out


def test_overlap_does_not_count_in_entropies(tmp_path):
  rng = np.random.default_rng(0)
  series = rng.normal(size=(400, 3)).astype(np.float32)
  series[:, 2] += series[:, 0]

  def segments(split, widths):
    part = series[:200] if split == 'train' else series[200:]
    starts = range(0, 200 - LENGTH + 1, 2)
    whole = np.stack([part[s:s + LENGTH] for s in starts])
    return {'x': whole[..., :2], 'y': whole[..., 2:],
            'label': np.zeros(len(whole), np.int32)}

  def sample(batch, key):
    return {m: np.zeros((len(next(iter(batch.values()))), 1, LENGTH, n))
            for m, n in WIDTHS.items() if m not in batch}

  found = run(tmp_path, sample, data=source(segments=segments), entropy=True,
              metrics=('mse',))['entropy']
  expected = information.entropy(series[:, :2])
  assert found['H(x)'] == pytest.approx(expected, abs=1e-3)
  shared = information.mutual_information(series[:, :2], series[:, 2:])
  assert found['I(x;y)'] == pytest.approx(shared, abs=1e-3)
  assert found['H(y|x)'] == pytest.approx(found['H(y)'] - found['I(x;y)'])
  assert set(found) == {'H(x)', 'H(y)', 'I(x;y)', 'H(x|y)', 'H(y|x)'}


def test_a_diverged_model_is_reported(tmp_path):
  def change(truth):
    bad = (truth == TEST['y'][7]).all((1, 2))[:, None, None]
    return np.where(bad, np.nan, truth)[:, None]

  def sample(batch, key):
    return oracle(change)(batch, key) if 'x' in batch else oracle()(batch, key)

  with pytest.raises(UserError, match=r'y\|x model: .*NaN.* window 7 \(1 of'):
    run(tmp_path, sample)


@pytest.mark.parametrize('options, message', [
    ({'samples': 0}, 'eval.samples: expected 1 or more, found 0'),
    ({'samples': 2}, r'expected series \[B, K, L, C\] of \(4, 2, 8, 2\)'),
    ({'batch_size': 0}, 'eval.batch_size'),
    ({'max_windows': 0}, 'eval.max_windows'),
    ({'directions': ('x|z',)}, "'x|z'"),
    ({'directions': ('x|x',)}, 'eval.directions'),
    ({'directions': ('x',)}, 'eval.directions'),
    ({'directions': ('x|y,y',)}, 'eval.directions'),
    ({'metrics': ('mae',)}, 'eval.metrics'),
    ({'learned': {'inception': {}}}, 'eval.learned'),
    ({'learned': {'predictive': {'steps': 3}}}, 'predictive: unknown'),
    ({'sign_invariant': ('z',)}, 'eval.sign_invariant'),
    ({'projection': 'tsne'}, 'eval.projection'),
    ({'baselines': ('oracle',)}, 'eval.baselines'),
    ({'split': 'train', 'baselines': ('nearest_neighbour',)}, 'own windows'),
])
def test_wrong_settings_are_named(tmp_path, options, message):
  with pytest.raises(UserError, match=message):
    run(tmp_path, **options)


def test_paper_rows_stand_below_the_table(tmp_path, capsys):
  run(tmp_path, paper={'LaMbDA': {'y|x': {'MSE': 0.004}}})
  out = capsys.readouterr().out
  line = next(x for x in out.splitlines() if 'LaMbDA (paper)' in x)
  assert line.split()[2:] == ['-', '-', '0.00400', '-']


def test_figures_are_drawn(tmp_path):
  pytest.importorskip('matplotlib')
  run(tmp_path, oracle(lambda x: np.stack([x, 0.9 * x], 1)), samples=2,
      encode=lambda batch, key: {m: np.tile(x[..., :1], 2)
                                 for m, x in batch.items()},
      figures=True, projection='pca', directions=('x|y',))
  expected = {
      f'{kind}_x_given_y.png'
      for kind in ('reconstructions', 'failures', 'bands')
  } | {'phase_x_y.png', 'latent_correlation.png', 'latents.png', 'probes.png'}
  assert {path.name for path in tmp_path.glob('*.png')} == expected


def test_figures_need_no_matplotlib(tmp_path, monkeypatch, capsys):
  monkeypatch.setitem(sys.modules, 'matplotlib', None)
  run(tmp_path, figures=True)
  assert 'matplotlib is missing' in capsys.readouterr().out
  assert not list(tmp_path.glob('*.png'))
