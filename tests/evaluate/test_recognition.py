"""The evaluator on toy windows, with models whose worth is known."""

import functools
import json
import sys

import numpy as np
import pytest

from diffax import evaluate
from diffax.data.base import Source
from diffax.errors import UserError
from diffax.evaluate import recognition
from diffax.metrics import quality
from diffax.trained import Trained

LENGTH, RATE, CLASSES = 24, 20.0, ('walk', 'run', 'jump up')
CHANNELS = ('acc_x', 'acc_y', 'acc_z', 'gyr_x', 'gyr_y', 'gyr_z')
NETWORK = {'filters': (2, 2, 4), 'hidden': (16, 8), 'dropout': 0.0}


def _windows(each, seed):
  """Windows of each class: a rhythm, at any phase, in noise."""
  rng = np.random.default_rng(seed)
  label = np.tile(np.arange(3, dtype=np.int32), each)
  pace = np.array([1.0, 2.2, 3.4])[label] * rng.normal(1, 0.03, len(label))
  phase = rng.uniform(0, 6.3, (len(label), 1, 6))
  time = np.arange(LENGTH)[None, :, None] / RATE
  wave = np.sin(2 * np.pi * pace[:, None, None] * time + phase)
  noise = rng.normal(0, 0.3, wave.shape)
  return (wave + noise).astype(np.float32), label


def _part(each, seed, subjects, start=0):
  window, label = _windows(each, seed)
  number = np.arange(len(label), dtype=np.int32)
  return {
      'window': window, 'label': label,
      'subject': np.asarray(subjects, np.int32)[number % len(subjects)],
      'start': start + LENGTH * number, 'recording': 0 * number,
  }


# Five windows of each class are too few to learn from.
PARTS = {
    'train': _part(5, 0, (0, 1)), 'full': _part(40, 1, (0, 1), 10_000),
    'val': _part(8, 2, (0, 1), 20_000), 'test': _part(20, 3, (2,)),
}
INFO = {
    'name': 'toy', 'rate': RATE, 'length': LENGTH, 'channels': CHANNELS,
    'sensors': {'acc': (0, 1, 2), 'gyr': (3, 4, 5)},
    'units': {'acc': 'g', 'gyr': 'deg/s'}, 'classes': CLASSES,
    'subjects': ('A', 'B', 'C'), 'fold': 2, 'test_subject': 'C',
    'mean': np.arange(6.0), 'std': np.linspace(1, 2, 6), 'epoch_size': 3,
}


def source(parts=PARTS):
  return Source(INFO, lambda step: {}, lambda split: parts[split])


class Model:
  """Give windows of a pool in turn, each of the class asked for."""

  def __init__(self, pool, label):
    self.pool, self.label, self.turn = pool, label, [0, 0, 0]
    self.keys = []

  def __call__(self, batch, key):
    assert set(batch) == {'label'} and batch['label'].dtype == np.int32
    self.keys.append(tuple(np.asarray(key._base_array)))
    return {'window': np.stack([self._next(k) for k in batch['label']])}

  def _next(self, kind):
    mine = self.pool[self.label == kind]
    self.turn[kind] += 1
    return mine[(self.turn[kind] - 1) % len(mine)]


def fresh():
  """A model that is right: other windows of the same classes."""
  return Model(*_windows(60, 9))


def noise():
  window, label = _windows(60, 9)
  return Model(np.random.default_rng(0).normal(size=window.shape).astype(
      np.float32), label)


def mixed_up():
  window, label = _windows(60, 9)
  return Model(window, np.random.default_rng(0).permutation(label))


def copier():
  return Model(PARTS['train']['window'], PARTS['train']['label'])


def run(tmp_path, sample, parts=PARTS, **options):
  options = {
      'seed': 0, 'workdir': tmp_path, 'per_class': 60, 'batch_size': 50,
      'conditions': ('few', 'few+synthetic', 'synthetic', 'full', 'trts'),
      'doses': (), 'seeds': 2, 'figures': False, 'keep': False,
      # Equal settings and sizes share the compiled training.
      'classifier': {'steps': 90, 'rate': 0.02, 'batch_size': 32,
                     'validations': 3, 'network': NETWORK},
      'quality': {'discriminative': None, 'clusters': None},
  } | options
  model = Trained(source(parts), sample)
  return evaluate.EVALUATORS['recognition'](model, **options)


def score(result, name):
  return result['conditions'][name]['macro-F1']['mean']


@pytest.fixture(scope='module')
def results(tmp_path_factory):
  return {
      name: run(tmp_path_factory.mktemp(name), model())
      for name, model in (('fresh', fresh), ('mixed up', mixed_up))
  }


def test_right_windows_help_and_those_of_any_class_do_not(results):
  good, bad = results['fresh'], results['mixed up']
  few = score(good, 'few')
  assert few == score(bad, 'few')
  assert score(good, 'few+synthetic') > few + 0.15
  assert score(good, 'synthetic') > 0.85
  assert score(good, 'trts') > 0.85 and score(good, 'full') > 0.85
  assert score(bad, 'few+synthetic') < few + 0.05
  assert score(bad, 'synthetic') < 0.6 and score(bad, 'trts') < 0.6
  assert score(good, 'full') == score(bad, 'full')


def test_metrics_json_has_the_agreed_layout(tmp_path, capsys):
  result = run(
      tmp_path, fresh(), conditions=('few', 'trts'), doses=(10, 100),
      paper={'few': 'below 0.7', 'gain': 'up to 0.3'},
  )
  out = capsys.readouterr().out
  assert json.loads((tmp_path / 'metrics.json').read_text()) == result
  assert list(result) == [
      'conditions', 'doses', 'quality', 'sampling', 'classes', 'held_out'
  ]
  assert result['classes'] == list(CLASSES) and result['held_out'] == 'C'
  assert list(result['conditions']) == ['few', 'trts']
  assert list(result['doses']) == ['10', '100']
  summaries = {'macro-F1', 'macro-F1 last', 'accuracy'}
  for row in (*result['conditions'].values(), *result['doses'].values()):
    assert set(row) == summaries | {
        'F1', 'persons', 'confusion', 'windows', 'seconds'
    }
    assert all(set(row[k]) == {'mean', 'std', 'n'} for k in summaries)
    assert row['macro-F1']['n'] == 2 and set(row['F1']) == set(CLASSES)
  few, trts = result['conditions'].values()
  assert few['windows'] == {'real': 15, 'added': 0}
  assert list(few['persons']) == ['C'] and trts['persons'] == {}
  assert few['persons']['C']['macro-F1'] == few['macro-F1']
  np.testing.assert_allclose(np.sum(few['confusion'], 1), 20)
  np.testing.assert_allclose(np.sum(trts['confusion'], 1), 60)
  assert result['doses']['10']['windows'] == {'real': 15, 'added': 18}
  assert result['doses']['100']['windows']['added'] == 180
  quality = result['quality']
  assert set(quality) == {'spectra', 'axes', 'copies'}
  assert set(quality['spectra']) == {*CLASSES, 'mean'}
  assert set(quality['axes']) == {'generated', 'training', 'held out'}
  assert all(len(values) == 6 for values in quality['axes'].values())
  assert set(quality['copies']) == {*CLASSES, 'mean'}
  assert result['sampling']['windows'] == 180
  row = next(line for line in out.splitlines() if line.split()[:1] == ['few'])
  assert row.rstrip().endswith('below 0.7')
  other = next(line for line in out.splitlines() if 'gain (paper)' in line)
  assert other.rstrip().endswith('up to 0.3')


def test_copies_of_training_windows_are_flagged(tmp_path, results):
  copied = run(tmp_path, copier(), conditions=())
  found = copied['quality']['copies']['mean']
  assert found == {'ratio': 0.0, 'share': 1.0}
  unseen = results['fresh']['quality']['copies']['mean']
  assert unseen['ratio'] == pytest.approx(1, abs=0.1)
  assert unseen['share'] < 0.5


def test_held_out_windows_that_touch_training_ones_do_not_count(tmp_path):
  # Otherwise the copies of these would look no nearer than unseen windows.
  val = {k: np.concatenate([v, PARTS['train'][k]])
         for k, v in PARTS['val'].items()}
  found = [
      run(tmp_path, fresh(), parts, conditions=())['quality']['copies']
      for parts in (PARTS, PARTS | {'val': val})
  ]
  assert found[0] == found[1]


def test_noise_teaches_nothing_and_has_other_spectra(tmp_path, results):
  result = run(tmp_path, noise(), conditions=('synthetic',))
  assert score(result, 'synthetic') < 0.7
  good, bad = (
      x['quality']['spectra']['mean'] for x in (results['fresh'], result)
  )
  assert good['generated'] < 1.5 < bad['generated']
  assert good['held out'] == bad['held out'] < 1.5


def test_every_condition_has_a_set_of_its_own():
  made, label = _windows(60, 9)
  data = recognition._Data(
      INFO, PARTS, made, label, {'jitter': {'sigma': 1e-9}}
  )
  sets = {
      name: recognition._training_set(recipe, data, 0)
      for name, recipe in recognition.CONDITIONS.items()
  }
  sizes = {name: len(x) for name, (x, _) in sets.items()}
  # Augmented windows are as many as generated ones.
  assert {sizes[f'few+{kind}'] for kind in (
      'jitter', 'scaling', 'rotation', 'timewarp', 'mixup', 'classical',
      'synthetic',
  )} == {15 + 180}
  assert sizes['few'] == 15 and sizes['synthetic'] == 180
  assert sizes['full'] == sizes['trts'] == 120
  assert sizes['full+synthetic'] == 300
  for name, (x, target) in sets.items():
    assert recognition._size(recognition.CONDITIONS[name], data) == len(x)
    np.testing.assert_allclose(target.sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(target.mean(0), 1 / 3, atol=0.05)
  np.testing.assert_array_equal(sets['few+synthetic'].x[15:], made)
  # Settings of a kind reach it.
  gap = sets['few+jitter'].x[15:, None] - PARTS['train']['window'][None]
  assert np.abs(gap).max((2, 3)).min(1).max() < 1e-4


def test_equal_sets_are_trained_once():
  names = tuple(recognition.CONDITIONS)
  jobs = recognition._jobs(names, (50, 100))
  assert len(jobs) == len(names)
  rows = {job.recipe: job.rows for job in jobs}
  assert rows[recognition.CONDITIONS['few+synthetic']] == [
      ('conditions', 'few+synthetic', 'test'), ('doses', '100', 'test')
  ]
  assert rows[recognition.CONDITIONS['full']] == [
      ('conditions', 'full', 'test'), ('conditions', 'trts', 'made')
  ]


def test_windows_are_saved_in_their_units_whatever_the_last_batch(tmp_path):
  window, label = _windows(60, 9)
  quiet = {'conditions': (), 'quality': {'skip': True}, 'keep': True}
  run(tmp_path, fresh(), batch_size=50, **quiet)
  with np.load(tmp_path / 'synthetic.npz') as arrays:
    assert arrays['label'].tolist() == [0, 1, 2] * 60
    assert arrays['units'].tolist() == ['g'] * 3 + ['deg/s'] * 3
    assert arrays['channels'].tolist() == list(CHANNELS)
    np.testing.assert_allclose(
        arrays['window'][:150],
        (window * INFO['std'] + INFO['mean'])[:150], rtol=1e-5, atol=1e-5
    )


def test_draws_depend_on_the_seed_and_the_batch_alone(tmp_path):
  quiet = {'conditions': (), 'quality': {'skip': True}}
  models = [fresh() for _ in range(3)]
  run(tmp_path, models[0], **quiet)
  run(tmp_path, models[1], per_class=100, **quiet)
  run(tmp_path, models[2], seed=1, **quiet)
  first, more, other = (model.keys for model in models)
  assert len(set(first)) == len(first) == 4
  assert more[:4] == first and not set(first) & set(other)


def test_validation_windows_are_spread():
  data = recognition._Data(INFO, PARTS, *_windows(2, 9), {})
  window, label = recognition._validation(
      data, recognition.Classifier(val_windows=4)
  )
  np.testing.assert_array_equal(window, PARTS['val']['window'][[0, 7, 15, 23]])
  assert label.tolist() == [0, 1, 0, 2]
  whole = recognition._validation(data, recognition.Classifier())
  np.testing.assert_array_equal(whole[0], PARTS['val']['window'])
  assert recognition._validation(
      data, recognition.Classifier(select='last')
  ) is None


def test_epochs_train_larger_sets_longer():
  plan = recognition.Classifier(steps=None, epochs=100)
  assert plan.length(88) == 138 and plan.length(640) == 1000
  assert recognition.Classifier(steps=7).length(640) == 7


@pytest.mark.parametrize('options, message', [
    ({'per_class': 0}, 'eval.per_class: expected 1 or more, found 0'),
    ({'batch_size': 0}, 'eval.batch_size'),
    ({'seeds': 0}, 'eval.seeds'),
    ({'conditions': ('all',)}, "eval.conditions: .*found 'all'"),
    ({'doses': (0,)}, 'eval.doses'),
    ({'doses': (101,)}, 'eval.doses'),
    ({'projection': 'tsne'}, 'eval.projection'),
    ({'classifier': {'width': 3}}, 'eval.classifier: unknown'),
    ({'classifier': {'steps': 5, 'epochs': 5}}, 'one of steps and epochs'),
    ({'classifier': {'steps': None}}, 'one of steps and epochs'),
    ({'classifier': {'steps': 0}}, 'eval.classifier.steps'),
    ({'classifier': {'select': 'test'}}, 'eval.classifier.select'),
    ({'classifier': {'network': {'depth': 3}}}, 'eval.classifier.network'),
    ({'augmentation': {'flip': {}}}, "eval.augmentation: .*found 'flip'"),
    ({'augmentation': {'jitter': {'scale': 1}}}, 'augmentation.jitter'),
    ({'quality': {'fid': True}}, 'eval.quality: unknown'),
    ({'quality': {'clusters': {'k': 3}}}, 'eval.quality.clusters: unknown'),
    ({'quality': {'discriminative': {'steps': 3}}}, 'quality.discriminative'),
])
def test_wrong_settings_are_named(tmp_path, options, message):
  with pytest.raises(UserError, match=message):
    run(tmp_path, fresh(), **options)


def test_bad_windows_are_named(tmp_path):
  def diverged(batch, key):
    return {'window': np.full((len(batch['label']), LENGTH, 6), np.nan)}

  def short(batch, key):
    return {'window': np.zeros((len(batch['label']), 3, 6))}

  with pytest.raises(UserError, match='NaN or infinity. Did the training'):
    run(tmp_path, diverged)
  with pytest.raises(UserError, match=r'\[50, 24, 6\], found \[50, 3, 6\]'):
    run(tmp_path, short)


def test_selection_needs_validation_windows(tmp_path):
  parts = PARTS | {'val': {k: v[:0] for k, v in PARTS['val'].items()}}
  with pytest.raises(UserError, match='data.val_share'):
    run(tmp_path, fresh(), parts)


def test_figures_are_drawn(tmp_path, monkeypatch):
  pytest.importorskip('matplotlib')

  @functools.wraps(quality.dtw_clusters)
  def halves(windows, count, seed):
    # All real windows, and the first two generated ones, in one cluster.
    label = (np.arange(len(windows)) >= len(windows) // 2 + 2).astype(int)
    return quality.Clusters(label, windows[:count, ::2])

  @functools.wraps(recognition.learned.discriminative_score)
  def guess(truth, pred, seed, seeds):
    assert truth.shape == pred.shape == (24, LENGTH, 6)
    return np.linspace(0.1, 0.3, seeds)

  monkeypatch.setattr(recognition.measures, 'dtw_clusters', halves)
  monkeypatch.setattr(recognition.learned, 'discriminative_score', guess)
  parts = PARTS | {'test': _part(20, 3, (2, 0))}
  found = run(
      tmp_path, fresh(), parts, conditions=('few', 'full'), doses=(50, 100),
      quality={'windows': 24, 'discriminative': {'seeds': 2},
               'clusters': {'count': 2}},
      figures=True, projection='pca',
  )['quality']
  assert {path.name for path in tmp_path.glob('*.png')} == {
      'confusion.png', 'conditions.png', 'persons.png', 'doses.png', 'map.png',
      'spectra.png', 'copies.png', 'clusters.png', 'view_walk.png',
      'view_run.png', 'view_jump_up.png',
  }
  assert found['discriminative'] == pytest.approx(
      {'mean': 0.2, 'std': 0.1, 'n': 2}
  )
  assert found['clusters']['covered'] == 1
  assert found['clusters']['divergence'] == pytest.approx(
      quality.divergence(np.array([1, 0]), np.array([2, 22]) / 24)
  )


def test_what_is_missing_is_said(tmp_path, monkeypatch, capsys):
  monkeypatch.setitem(sys.modules, 'matplotlib', None)
  monkeypatch.setattr(
      'diffax.metrics.quality.importlib.util.find_spec', lambda name: None
  )
  result = run(
      tmp_path, fresh(), conditions=(), figures=True,
      quality={'discriminative': None, 'clusters': {}},
  )
  out = capsys.readouterr().out
  assert 'matplotlib is missing' in out and 'tslearn is missing' in out
  assert 'clusters' not in result['quality']
  assert not list(tmp_path.glob('*.png'))
