"""LaMbDA's cards: every variant builds, and the smokes run from flags."""

import importlib
import json
import os
import pathlib
import subprocess
import sys

from experiments import lambda_lorenz
import jax
import numpy as np
import pytest

from diffax import benchmark
from diffax import config as configs

ROOT = pathlib.Path(__file__).parents[1]
CARDS = sorted(
    p.stem for p in (ROOT / 'experiments').glob('lambda_*.py')
    if p.stem != 'lambda_tables'
)
WIDTHS = {'x': 1, 'y': 1, 'angles': 15, 'moments': 9, 'grf': 3}


def card(name, variant=''):
  return importlib.import_module(f'experiments.{name}').get_config(variant)


def build(config):
  settings = configs.stage(config, 'twin')
  modalities = config.data.modalities
  info = {
      'modalities': {name: WIDTHS[name] for name in modalities},
      'length': config.data.length,
      'covariance': {name: np.eye(WIDTHS[name]) for name in modalities},
  }
  batch = {
      name: jax.ShapeDtypeStruct((4, config.data.length, width), np.float32)
      for name, width in info['modalities'].items()
  }
  return configs.system(settings, info), batch


def trace(config, targets=None):
  """Trace a loss and samples of targets without computing them."""
  system, batch = build(config)
  key = jax.random.key(0)
  arrays = {name: np.zeros(x.shape, x.dtype) for name, x in batch.items()}
  params, frozen = jax.eval_shape(system.init, key, arrays)
  loss, _ = jax.eval_shape(system.loss, params, frozen, batch, key)
  assert loss.shape == ()
  for target in targets or batch:
    given = {name: x for name, x in batch.items() if name != target}
    drawn = jax.eval_shape(system.sample, params, frozen, given, key)
    samples = config.eval.get('samples', 1)
    expected = (4, samples, *batch[target].shape[1:])
    assert drawn[target].shape == expected
  return params


@pytest.mark.parametrize('name', CARDS)
def test_every_card_builds_at_full_size(name):
  trace(card(name))


@pytest.mark.parametrize('variant', sorted(lambda_lorenz.VARIANTS))
def test_every_variant_builds(variant):
  config = card('lambda_embry_angles_moments', f'budget,{variant}')
  config.system.network.update({'encoder_layers': 1, 'decoder_layers': 1})
  trace(config, ('moments',))


def test_sizes_of_the_paper():
  sizes = {
      variant: benchmark.count(trace(card('lambda_lorenz', variant)))
      for variant in ('', 'large')
  }
  # Two models: at the printed widths 1.9 M each, "about 25 M" needs more.
  np.testing.assert_allclose(sizes[''] / 2e6, 1.89, atol=0.02)
  np.testing.assert_allclose(sizes['large'] / 2e6, 25.0, atol=2.0)


@pytest.mark.parametrize('name', CARDS)
def test_smokes_train_no_network_for_a_score(name):
  assert card(name).eval.learned
  assert not card(name, 'smoke').eval.learned


@pytest.fixture(scope='module')
def environment(tmp_path_factory):
  cache = tmp_path_factory.mktemp('cache')
  return {
      **os.environ,
      'JAX_COMPILATION_CACHE_DIR': str(cache),
      'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0.1',
  }


def run(environment, *flags):
  return subprocess.run(
      [sys.executable, '-m', 'diffax.main', *map(str, flags)],
      cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
  )


def check_smoke(environment, name, folder):
  flags = f'--config=experiments/{name}.py:smoke', f'--workdir={folder}'
  first = run(environment, *flags)
  assert first.returncode == 0, first.stdout + first.stderr
  rows = json.loads((folder / 'metrics.json').read_text())
  for target in card(name).data.modalities:
    route = next(key for key in rows if key.startswith(f'{target}|'))
    assert {'model', 'ridge', 'nearest_neighbour', 'mean'} <= set(rows[route])
    assert rows[route]['model']['MSE']['n'] == 16
  assert (folder / 'samples' / 'samples.npz').is_file()
  assert list(folder.glob('*.png'))
  return rows, flags


@pytest.mark.slow
def test_lorenz_smoke_runs_and_repeats(environment, tmp_path):
  rows, flags = check_smoke(environment, 'lambda_lorenz', tmp_path)
  again = run(environment, *flags, '--mode=evaluate')
  assert again.returncode == 0, again.stdout + again.stderr
  assert json.loads((tmp_path / 'metrics.json').read_text()) == rows


@pytest.mark.slow
def test_generated_gait_smoke_probes_its_tasks(environment, tmp_path):
  rows, _ = check_smoke(
      environment, 'lambda_synthetic_angles_moments', tmp_path
  )
  assert set(rows['probes']) == {'angles', 'moments'}


@pytest.mark.slow
def test_running_smoke_takes_three_modalities(environment, tmp_path, data_dir):
  del data_dir
  rows, _ = check_smoke(environment, 'lambda_rbds_all', tmp_path)
  assert 'grf|angles,moments' in rows


def test_gated_data_are_asked_for(environment, tmp_path):
  found = run(
      {**environment, 'DIFFAX_DATA': str(tmp_path)},
      '--config=experiments/lambda_embry_angles_grf.py:smoke',
      f'--workdir={tmp_path}/run',
  )
  assert found.returncode == 2
  assert 'InclineExperiment' in found.stderr
  assert 'Traceback' not in found.stderr
