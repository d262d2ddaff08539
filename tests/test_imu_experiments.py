"""IMUDiffusion's cards: every variant builds, and the smoke runs from flags."""

import importlib
import json
import os
import pathlib
import subprocess
import sys

from experiments import imu_realdisp
import jax
import numpy as np
import pytest

from diffax import benchmark
from diffax import config as configs
from diffax import study

ROOT = pathlib.Path(__file__).parents[1]
CARDS = sorted(
    p.stem for p in (ROOT / 'experiments').glob('imu_*.py')
    if p.stem != 'imu_tables'
)


def card(name, variant=''):
  return importlib.import_module(f'experiments.{name}').get_config(variant)


def trace(config):
  """Trace a loss and samples without computing them; return the shapes."""
  settings = configs.stage(config, 'diffusion')
  count, classes, length = settings['batch_size'], 4, config.data.length
  rng = np.random.default_rng(0)
  batch = {
      'window': rng.normal(size=(count, length, 6)).astype(np.float32),
      'label': np.repeat(np.arange(classes, dtype=np.int32), count // classes),
  }
  info = {
      'length': length, 'channels': tuple('abcdef'), 'classes': tuple('wxyz'),
      'sensors': {'acc': (0, 1, 2), 'gyr': (3, 4, 5)}, 'picked': batch,
  }
  system, key = configs.system(settings, info), jax.random.key(0)
  params, frozen = jax.eval_shape(system.init, key, batch)
  loss, _ = jax.eval_shape(system.loss, params, frozen, batch, key)
  assert loss.shape == ()
  drawn = jax.eval_shape(
      system.sample, params, frozen, {'label': batch['label']}, key
  )
  assert drawn['window'].shape == (count, length, 6)
  return params


@pytest.mark.parametrize('name', CARDS)
def test_every_card_builds_at_full_size(name):
  trace(card(name))


@pytest.mark.parametrize('variant', sorted(imu_realdisp.VARIANTS))
def test_every_variant_builds(variant):
  config = card('imu_dsads', variant)
  config.system.network.blocks = 1
  trace(config)


def test_sizes():
  apart, one = (
      benchmark.count(trace(card('imu_realdisp', variant)))
      for variant in ('', 'conditional')
  )
  # Four networks against one, which knows four classes and their absence.
  assert apart == 4 * (one - 5 * 128)


@pytest.mark.filterwarnings('ignore:the load_module')
@pytest.mark.parametrize('variant', [
    'loso', 'dsads,budget', 'samplers,budget,motionsense',
    'ablations,synthetic,smoke', 'samplers,smoke,basicmotions',
])
def test_studies_name_runs_that_can_be_built(variant):
  what = card('imu_tables', variant).to_dict()
  rows = [row['name'] for row in what['runs']]
  used = {
      place.row for each in what['tables']
      for place in study.places(each, rows).values()
  }
  assert used == set(rows)
  runs = study.expand(what, pathlib.Path('w'))
  assert len(runs) == 3 * len(what['over']['data']['fold']) * len(rows)
  first = {run.row: study.resolve(run) for run in reversed(runs)}
  if 'samplers' in variant:
    assert [c['system']['sampler']['name'] for c in first.values()] == [
        'dpm_solver_pp', 'ddim', 'ddpm']


@pytest.mark.parametrize('variant', ['loso,ablations', 'dsads,synthetic', 'x'])
def test_studies_that_do_not_go_together_are_refused(variant):
  with pytest.raises(KeyError):
    card('imu_tables', variant)


@pytest.mark.slow
def test_synthetic_smoke_runs(tmp_path):
  found = subprocess.run(
      [
          sys.executable, '-m', 'diffax.main',
          '--config=experiments/imu_synthetic.py:smoke',
          f'--workdir={tmp_path}',
      ],
      cwd=ROOT, capture_output=True, text=True, check=False,
      env={
          **os.environ,
          'JAX_COMPILATION_CACHE_DIR': str(tmp_path / 'cache'),
          'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0.1',
      },
  )
  assert found.returncode == 0, found.stdout + found.stderr
  metrics = json.loads((tmp_path / 'metrics.json').read_text())
  assert set(metrics['conditions']) == {'few', 'few+synthetic'}
  assert metrics['conditions']['few']['windows'] == {'real': 88, 'added': 0}
  assert metrics['sampling']['windows'] == 32
  assert (tmp_path / 'synthetic.npz').is_file()
  assert list((tmp_path / 'samples').glob('*.csv'))


def test_missing_recordings_are_asked_for(tmp_path):
  found = subprocess.run(
      [
          sys.executable, '-m', 'diffax.main',
          '--config=experiments/imu_realdisp.py:smoke',
          f'--workdir={tmp_path}/run',
      ],
      cwd=ROOT, env={**os.environ, 'DIFFAX_DATA': str(tmp_path)},
      capture_output=True, text=True, check=False,
  )
  assert found.returncode == 2
  assert 'subject' in found.stderr and 'realdisp' in found.stderr
  assert 'Traceback' not in found.stderr
