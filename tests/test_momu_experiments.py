"""MoMu-Diffusion's cards: every variant builds, at the printed sizes."""

import importlib
import json
import os
import pathlib
import subprocess
import sys

from experiments import momu_joint
from experiments import momu_tables
import jax
import numpy as np
import pytest

from diffax import benchmark
from diffax import config as configs
from diffax import study
from diffax.errors import UserError

ROOT = pathlib.Path(__file__).parents[1]
CARDS = sorted(
    p.stem for p in (ROOT / 'experiments').glob('momu_*.py')
    if p.stem != 'momu_tables'
)
OWN = {name: importlib.import_module(f'experiments.{name}').VARIANTS
       for name in CARDS}


def card(name, variant=''):
  return importlib.import_module(f'experiments.{name}').get_config(variant)


def info(config):
  """Facts of a source that a card asks for."""
  data = config.data
  features = data.name == 'bhs'
  fps = 15.0 if features else 62.5
  kind = 'features' if features else data.music
  pose = data.get('pose', 'positions')
  return {
      'fps': fps, 'frames': 4 * int(data.seconds * fps / 4),
      'music': {
          'kind': kind,
          'dims': {'mel': 80, 'wave': 256, 'features': 28}[kind],
      },
      'motion': {'kind': pose, 'dims': 28 if pose == 'positions' else 26,
                 'lengths': np.ones(13)},
  }


def build(config, stage):
  settings, facts = configs.stage(config, stage), info(config)
  frames = facts['frames']
  batch = {
      name: jax.ShapeDtypeStruct((2, frames, facts[name]['dims']), 'float32')
      for name in ('music', 'motion')
  }
  batch['amplitude'] = jax.ShapeDtypeStruct((2, frames), 'float32')
  batch['step'] = jax.ShapeDtypeStruct((2,), 'int32')
  return configs.system(settings, facts), batch


def shapes(config, stage):
  """Return the shapes of a stage's parameters, and of what it is given."""
  system, batch = build(config, stage)
  return jax.eval_shape(system.init, jax.random.key(0), batch)


def chained(config):
  """Return the parameters of all stages, each given what another trained."""
  made = {stage: shapes(config, stage) for stage in config.stages}
  for stage, variables in made.items():
    given = configs.stage(config, stage)['pretrained']
    assert set(given) == set(variables.frozen)
    for part, place in given.items():
      configs.check_shapes(made[place].params, variables.frozen[part], stage)
  assert set(config.benchmark.batch_size) == set(config.stages)
  return {stage: variables.params for stage, variables in made.items()}


def test_the_printed_sizes_and_the_chain_of_stages():
  made = chained(card('momu_joint'))
  for stage, millions in (('music', 212.96), ('motion', 212.76)):
    count = benchmark.count(made[stage]['autoencoder'])
    assert round(count / 1e6, 2) == millions
  for task in ('music', 'motion'):
    # The printed 158 M; with positions for 50 s it is 1.3 M more.
    assert 158.0 < benchmark.count(made['diffusion'][task]) / 1e6 < 160.0


@pytest.mark.parametrize('name, variant', [
    *((name, 'smoke') for name in CARDS if name != 'momu_joint'),
    ('momu_motion_to_music', 'loris_floor,smoke'),
    ('momu_music_to_motion', 'bhs,smoke'), ('momu_joint', 'wave,smoke'),
    ('momu_joint', 'directions,smoke'),
])
def test_small_cards_chain_their_stages(name, variant):
  chained(card(name, variant))


@pytest.mark.parametrize('name, variant', [
    (name, variant) for name, variants in OWN.items() for variant in variants
])
def test_every_variant_builds(name, variant):
  config = card(name, f'{variant},budget' if variant != 'smoke' else variant)
  for stage in config.stages:
    build(config, stage)


@pytest.mark.parametrize('name, variant', [
    ('momu_joint', 'smoke,variable_length'), ('momu_joint', 'unet,smoke'),
    ('momu_motion_to_music', 'loris_floor,smoke'),
    ('momu_music_to_motion', 'bhs,smoke'),
])
def test_losses_and_samples_trace(name, variant):
  config = card(name, variant)
  config.data.seconds = 4.0
  key = jax.random.key(0)
  # Earlier stages are those of every card; their tests are elsewhere.
  system, batch = build(config, 'diffusion')
  params, frozen = jax.eval_shape(system.init, key, batch)
  loss, _ = jax.eval_shape(system.loss, params, frozen, batch, key)
  assert loss.shape == ()
  for task in config.eval.tasks:
    given = {
        'motion_to_music': ('motion',), 'music_to_motion': ('music',),
        'joint': (),
    }[task]
    asked = {part: batch[part] for part in given} or {
        'frames': jax.ShapeDtypeStruct(
            (2, batch['motion'].shape[1], 0), 'float32')
    }
    drawn = jax.eval_shape(system.sample, params, frozen, asked, key)
    for part in drawn:
      assert drawn[part].shape == batch[part].shape


def test_variants_of_another_card_are_refused():
  for name, variant in (('momu_mel_vae', 'unet'), ('momu_joint', 'bhs'),
                        ('momu_music_to_motion', 'switch9')):
    with pytest.raises(KeyError):
      card(name, variant)


def test_paper_numbers_have_their_places():
  paper = momu_joint.PAPER['AIST++ MoMu-Diffusion']
  music, motion = paper['motion_to_music'], paper['music_to_motion']
  assert (music['BCS'], music['BHS'], music['F1']) == (97.5, 98.6, 98.1)
  assert motion['F1 100ms'] == 46.2 and motion['Mean KLD'] == 4.9
  for row in (music, {k[:3].strip(): v for k, v in motion.items()}):
    # F1 is the harmonic mean of the printed means.
    expected = 2 * row['BCS'] * row['BHS'] / (row['BCS'] + row['BHS'])
    np.testing.assert_allclose(row.get('F1', row.get('F1 100ms')), expected,
                               atol=0.1)


@pytest.mark.parametrize('name', [*momu_tables.TABLES])
def test_tables_name_runs_and_places_that_exist(name):
  config = momu_tables.get_config(f'{name},dance_synthetic,smoke').to_dict()
  names = [row['name'] for row in config['runs']]
  for table in config['tables']:
    for place in study.places(table, names).values():
      assert place.path[0] in momu_joint.TASKS
      assert not any('{' in key for key in place.path)
  for row in config['runs']:
    _, _, variant = row['config'].partition(':')
    stem = pathlib.Path(row['config'].partition(':')[0]).stem
    card(stem, variant)


def test_tables_share_runs_and_trained_stages():
  found = momu_tables.get_config('table7,table10,budget')
  rows = {row['name']: row for row in map(dict, found.to_dict()['runs'])}
  assert len(found.runs) == len(rows) == 10
  assert rows['joint']['reuse'] == {}
  assert rows['joint-unet']['reuse'] == {'music': 'joint', 'motion': 'joint'}
  assert set(rows['joint-switch9']['reuse']) == set(card('momu_joint').stages)


@pytest.mark.parametrize('name', momu_tables._SHARED)
def test_stages_are_reused_only_where_they_are_trained_alike(name):
  base, other = card('momu_joint'), card('momu_joint', name)
  alike = [
      stage for stage in base.stages
      if configs.stage(base, stage) == configs.stage(other, stage)
  ]
  # Of switches the denoisers are alike, too, but are sampled otherwise.
  shared = set(momu_tables._SHARED[name])
  assert shared - {'diffusion'} <= set(alike) < set(base.stages)


@pytest.mark.parametrize(
    'variant', ['table2,aist,dance_aligned', 'budget', 'table3']
)
def test_tables_of_two_sets_or_none_are_refused(variant):
  with pytest.raises(KeyError):
    momu_tables.get_config(variant)


@pytest.mark.slow
@pytest.mark.parametrize('name', CARDS)
def test_smoke_runs_and_repeats(name, tmp_path):
  flags = f'--config=experiments/{name}.py:smoke', f'--workdir={tmp_path}/run'
  environment = {
      **os.environ, 'DIFFAX_STORE': str(tmp_path / 'store'),
      'JAX_COMPILATION_CACHE_DIR': str(tmp_path / 'cache'),
      'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0.1',
  }

  def run(*more):
    return subprocess.run(
        [sys.executable, '-m', 'diffax.main', *flags, *more], cwd=ROOT,
        env=environment, capture_output=True, text=True, check=False,
    )

  first = run()
  assert first.returncode == 0, first.stdout + first.stderr
  metrics = json.loads((tmp_path / 'run' / 'metrics.json').read_text())
  for task in card(name).eval.tasks:
    assert {'model', 'metronome', 'shuffled'} <= set(metrics[task])
    assert list((tmp_path / 'run' / 'samples').glob(f'{task}.*'))
  again = run('--mode=evaluate')
  assert again.returncode == 0, again.stdout + again.stderr
  repeated = json.loads((tmp_path / 'run' / 'metrics.json').read_text())
  for task in card(name).eval.tasks:
    assert repeated[task] == metrics[task]


def test_missing_data_are_asked_for(tmp_path):
  config = card('momu_joint')
  settings = configs.stage(config, 'music')
  settings['data'] = settings['data'] | {
      'root': str(tmp_path), 'store': str(tmp_path / 'store'),
  }
  with pytest.raises(UserError, match=str(tmp_path)):
    configs.parts(settings)


@pytest.mark.parametrize('variant', [
    'dance_aligned,budget,directions', 'directions,dance_aligned,budget',
])
def test_the_rhythm_is_not_asked_of_directions(variant):
  system = momu_joint.get_config(variant).diffusion.system
  assert system.prediction == 'velocity' and not system.rhythm
  positions = momu_joint.get_config('dance_aligned,budget')
  assert positions.diffusion.system.rhythm
