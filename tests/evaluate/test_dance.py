"""The evaluator of dances on toy windows, with models whose worth is known."""

import importlib.util
import json
import pathlib

from experiments import momu_tables
import numpy as np
import pytest

from diffax import evaluate
from diffax import study
from diffax.errors import UserError
from diffax.evaluate import dance
from diffax.evaluate import dance_judges
from diffax.sampling import dance_parts
from diffax.trained import Trained

_SPEC = importlib.util.spec_from_file_location(
    'dances', pathlib.Path(__file__).with_name('dances.py')
)
dances = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(dances)

JUDGES = {'steps': 20, 'batch_size': 8, 'motion_clip': 64, 'music_clip': 64,
          'rate': 0.01}


def encode(batch, key):
  """An autoencoder that loses a little."""
  (name, x), = batch.items()
  return {name: x, f'{name}_decoded': x + 0.02}


def run(tmp_path, sample, source=None, **options):
  options = {
      'seed': 0, 'workdir': tmp_path, 'batch_size': 4,
      'vocoder': {'iterations': 4}, 'chance': 5, 'figures': False,
      'judges': {'skip': True},
  } | options
  model = Trained(source or dances.source(), sample, options.pop(
      'encode', encode))
  return evaluate.EVALUATORS['dance'](model, **options)


def value(result, task, row, metric):
  return result[task][row][metric]['mean']


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp('right')


@pytest.fixture(scope='module')
def shown():
  """Return the titles of the rows of each picture of beats, once drawn."""
  return {}


@pytest.fixture(scope='module')
def right(folder, shown):
  overlay = dance.rhythms.overlay

  def noted(path, tracks, **options):
    shown[path.name] = [track.title for track in tracks]
    overlay(path, tracks, **options)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(dance.rhythms, 'overlay', noted)
    return run(
        folder, dances.Copier(), judges=JUDGES, repeats=2, repeated=2,
        lengths=(2.0, 6.0), figures=True,
    )


@pytest.fixture(scope='module')
def wrong(tmp_path_factory):
  return run(
      tmp_path_factory.mktemp('wrong'), dances.Copier(shift=1),
      tasks=('motion_to_music', 'music_to_motion'), encode=None,
  )


def test_metrics_are_saved_as_they_are_returned(right, folder):
  saved = json.loads((folder / 'metrics.json').read_text())
  assert saved == right
  assert set(right) >= {'motion_to_music', 'music_to_motion', 'joint',
                        'judges', 'sampling', 'lengths'}


@pytest.mark.parametrize('task', ['motion_to_music', 'music_to_motion'])
def test_a_right_model_beats_chance_and_a_wrong_one_does_not(
    right, wrong, task
):
  for chance in ('metronome', 'shuffled', 'shuffled truth'):
    levels = [value(right, task, row, 'F1 100ms') for row in ('model', chance)]
    assert levels[0] - levels[1] > 15, chance
  level = value(right, task, 'shuffled truth', 'F1 100ms')
  assert value(wrong, task, 'model', 'F1 100ms') < level + 15


def test_a_copy_is_as_good_as_the_truth(right):
  rows = right['music_to_motion']
  assert rows['model']['F1 100ms'] == rows['true motion']['F1 100ms']
  assert rows['model']['FID']['mean'] < 1e-6
  assert rows['model']['Mean KLD']['mean'] < 1e-6
  rows = right['motion_to_music']
  for metric in ('BCS', 'F1', 'F1 100ms'):
    # The true log-mels through the same vocoder.
    assert rows['model'][metric] == rows['vocoder'][metric]
  assert rows['vocoder']['F1 100ms']['mean'] > 60


def test_cells_are_in_percent_and_counted(right):
  cell = right['motion_to_music']['model']['BCS']
  assert 1 < cell['mean'] <= 100 and cell['n'] == 6
  spread = right['motion_to_music']['model']['CSD']['mean']
  assert cell['std'] == spread
  assert right['motion_to_music']['metronome']['BCS']['n'] == 30


def test_distances_say_what_listens(right):
  row = right['motion_to_music']['model']
  names = [name for name in row if 'FAD' in name]
  assert names == ['FAD (trained mel CNN)']
  assert right['judges']['music']['embedding'] == 'trained mel CNN'
  assert right['judges']['motion']['label'] == 'style'
  for task in ('motion_to_music', 'music_to_motion'):
    assert 'training split' in right[task]
    # A copier says one thing to one input.
    assert right[task]['model']['Diversity intra']['mean'] < 1e-3
    assert right[task]['model']['Diversity inter']['mean'] > 0


def test_known_beats_of_tracks_are_a_reference(tmp_path):
  parts = {
      name: part | {'beat': np.zeros(part['motion'].shape[:2], bool)}
      for name, part in dances.PARTS.items()
  }
  for marks, poses in zip(parts['test']['beat'], parts['test']['motion']):
    found = dance_parts.steps(poses.reshape(1, -1, 14, 2), dances.FPS)[0]
    marks[(found * dances.FPS).astype(int)] = True
  rows = run(
      tmp_path, dances.Copier(parts=parts), dances.source(parts),
      tasks=('music_to_motion',),
  )['music_to_motion']
  assert rows['model']['beat F1 50ms']['mean'] == 100
  assert rows['true motion']['beat F1 50ms']['mean'] == 100
  for chance in ('metronome', 'shuffled', 'shuffled truth'):
    assert rows[chance]['beat F1 100ms']['mean'] < 80
  # Onsets are a reference of their own.
  assert rows['model']['F1 50ms']['mean'] != 100


@pytest.mark.parametrize('name', [*momu_tables.TABLES])
def test_tables_find_their_numbers(right, name):
  config = momu_tables.get_config(f'{name},dance_synthetic,smoke').to_dict()
  names = [row['name'] for row in config['runs']]
  for table in config['tables']:
    for place in study.places(table, names).values():
      assert study.pick(right, place.path, 'metrics.json') is not None


def test_joint_generation_is_judged_by_itself(right):
  row, chance = (right['joint'][name] for name in ('model', 'metronome'))
  assert row['F1 100ms']['mean'] > chance['F1 100ms']['mean']
  assert {'FID', 'FAD (trained mel CNN)', 'Diversity inter of music',
          'Diversity inter of motion'} <= set(row)
  assert 'Mean KLD' not in row


def test_times_are_told(right):
  assert set(right['lengths']['joint']) == {'2', '6'}
  for task in dance.TASKS:
    facts = right['sampling'][task]
    assert facts['windows'] == 6
    assert facts['computing seconds per second'] > 0
    for row in right['lengths'][task].values():
      assert row['output seconds per second'] > 0


def test_pictures_are_drawn(right, folder):
  pytest.importorskip('matplotlib')
  files = {path.name for path in folder.glob('*.png')}
  expected = {'lengths.png'}
  for task in dance.TASKS:
    expected |= {f'{what}_{task}.png' for what in ('mels', 'poses', 'beats')}
    if task != 'motion_to_music':
      expected.add(f'bones_{task}.png')
  assert files == expected


def test_what_was_given_is_not_called_generated(right, shown):
  assert shown == {
      'beats_motion_to_music.png': [
          'music, the reference', 'music, generated', 'movement, given'],
      'beats_music_to_motion.png': [
          'music, the reference', 'movement, generated', 'movement, true'],
      'beats_joint.png': ['music, the reference', 'movement, generated'],
  }


def test_the_model_sees_what_is_given_alone(tmp_path):
  sample = dances.Copier()
  run(tmp_path, sample, joint_seconds=(2.0, 4.0))
  first = sample.seen[0]
  assert first == {'motion': (4, dances.FRAMES, 28)}
  assert {'music': (4, dances.FRAMES, 80)} in sample.seen
  # Half of the clips last two seconds, half four.
  assert sample.seen[-2:] == [{'frames': (3, 124, 0)}, {'frames': (3, 248, 0)}]


def test_autoencoders_are_measured(tmp_path):
  def reconstruct(batch, key):
    return {name: x + 0.1 for name, x in batch.items()}

  found = run(
      tmp_path, reconstruct, tasks=('music_vae', 'motion_vae'), encode=None
  )
  for task in ('music_vae', 'motion_vae'):
    np.testing.assert_allclose(
        value(found, task, 'model', 'L1'), 0.1, atol=1e-5
    )
    assert 'metronome' in found[task]


def test_what_autoencoders_allow_is_a_row(right, tmp_path):
  assert 'VAE' in right['motion_to_music'] and 'VAE' in right['music_to_motion']

  def exact(batch, key):
    return {f'{name}_decoded': x for name, x in batch.items()}

  # Features that are not encoded need no such row.
  found = run(
      tmp_path, dances.Copier(), tasks=('motion_to_music',), encode=exact
  )
  assert 'VAE' not in found['motion_to_music']


def test_sets_without_sound_have_movement_alone(tmp_path):
  parts = {
      split: {name: x for name, x in part.items() if name != 'wave'}
      for split, part in dances.PARTS.items()
  }
  source = dances.source(
      parts, music={'kind': 'features', 'dims': 80}, rate=None
  )
  found = run(
      tmp_path, dances.Copier(), source, tasks=('music_to_motion',),
  )
  # There is nothing to hold beats against.
  assert found['music_to_motion']['model'] == {}
  assert found['sampling']['music_to_motion']['windows'] == 6


def test_directions_become_poses(tmp_path):
  from diffax.body import poses as poses_lib
  parts = {}
  for split, part in dances.PARTS.items():
    places = part['motion'].reshape(*part['motion'].shape[:2], 14, 2)
    turned = poses_lib.directions(places)
    parts[split] = part | {
        'motion': turned.reshape(*turned.shape[:2], -1).astype(np.float32)
    }
  facts = dances.INFO['motion'] | {'kind': 'directions', 'dims': 26}
  found = run(
      tmp_path, dances.Copier(parts=parts), dances.source(parts, motion=facts),
      tasks=('music_to_motion',),
  )
  gap = value(found, 'music_to_motion', 'model', 'F1 100ms') - value(
      found, 'music_to_motion', 'metronome', 'F1 100ms')
  assert gap > 15


def test_wrong_settings_are_named(tmp_path):
  sample = dances.Copier()
  for options, message in (
      ({'tasks': ('dance',)}, "eval.tasks: .*'dance'"),
      ({'batch_size': 0}, 'eval.batch_size: expected 1 or more'),
      ({'repeats': 1}, 'eval.repeats: expected 2 or more'),
      ({'lengths': (0.0,)}, 'eval.lengths: expected seconds above 0'),
      ({'max_windows': 1}, 'two windows or more'),
      ({'vocoder': {'name': 'hifi'}}, "eval.vocoder.name: .*'hifi'"),
      ({'vocoder': {'iterations': 0}}, 'eval.vocoder.iterations'),
      ({'vocoder': {'steps': 2}}, 'eval.vocoder: .*steps'),
      ({'vocoder': {'name': 'bigvgan'}}, 'eval.vocoder.weights'),
      ({'judges': {'epochs': 1}}, "eval.judges: unknown \\['epochs'\\]"),
      ({'judges': {'steps': 0}}, 'eval.judges.steps'),
      ({'judges': {'vggish': str(tmp_path / 'w.txt')}}, 'w.txt'),
  ):
    with pytest.raises(UserError, match=message):
      run(tmp_path, sample, **options)


def test_a_model_that_fails_is_named(tmp_path):
  cases = (
      (lambda batch, key: {}, 'expected the model to make it'),
      (lambda batch, key: {'music': np.zeros((4, 3, 80))}, r'\[4, 248, 80\]'),
      (lambda batch, key: {'music': np.full((4, 248, 80), np.nan)}, 'NaN'),
  )
  for sample, message in cases:
    with pytest.raises(UserError, match=f'music: .*{message}'):
      run(tmp_path, sample, tasks=('motion_to_music',))


def test_one_track_is_shuffled_by_window(tmp_path):
  part = dances.PARTS['test']
  parts = dances.PARTS | {'test': part | {'track': 0 * part['track']}}
  found = run(
      tmp_path, dances.Copier(), dances.source(parts),
      tasks=('motion_to_music',),
  )
  assert 'shuffled' in found['motion_to_music']


def test_a_judge_needs_something_to_tell_apart():
  part = {name: x[:4] for name, x in dances.PARTS['train'].items()}
  one = part | {name: 0 * part[name] for name in ('style', 'track', 'subject')}
  found = dance_judges.train(
      one, one, dances.INFO, dance_judges.Settings(), True, True
  )
  assert found.motion is None and found.music is None
  assert found.facts['motion'] == {'label': None}
