"""SkeletonDiffusion's `:smoke`, as users run it, from flags to pictures.

In every run of the suite the notebook of the system does the same.
"""

import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
# Of each kind one: the others differ in data that are not here, or in settings.
NAMES = '3dpw', 'bvh', 'h36m', 'quickstart'


@pytest.fixture(scope='module')
def environment(tmp_path_factory):
  folder = tmp_path_factory.mktemp('shared')
  return {
      **os.environ,
      'DIFFAX_STORE': str(folder / 'store'),
      'JAX_COMPILATION_CACHE_DIR': str(folder / 'cache'),
      'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0.1',
  }


def _main(environment, *flags):
  return subprocess.run(
      [sys.executable, '-m', 'diffax.main', *map(str, flags)],
      cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
  )


@pytest.mark.slow
@pytest.mark.parametrize('name', NAMES)
def test_smoke(name, environment, tmp_path):
  config = f'experiments/skeleton_{name}.py:smoke'
  flags = f'--config={config}', f'--workdir={tmp_path}'
  first = _main(environment, *flags)
  assert first.returncode == 0, first.stdout + first.stderr
  rows = json.loads((tmp_path / 'metrics.json').read_text())
  assert {'model', 'zero_velocity'} <= set(rows)
  assert ('nearest_neighbour' in rows) == (name != '3dpw')
  assert ('FID (own classifier)' in rows['model']) == (name == 'h36m')
  assert rows['zero_velocity']['APD']['mean'] == 0
  assert rows['model']['ADE']['n'] == 16
  suffixes = {p.suffix for p in (tmp_path / 'samples').iterdir()}
  assert {'.gif', '.html', '.npz', '.bvh'} <= suffixes
  # Run again, it restores and reports the same numbers.
  again = _main(environment, *flags, '--mode=evaluate')
  assert again.returncode == 0, again.stdout + again.stderr
  assert json.loads((tmp_path / 'metrics.json').read_text()) == rows
