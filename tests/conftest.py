"""Fixtures and the settings of every test: 8 CPU devices, strict ranks."""

import os
import pathlib

os.environ.setdefault('JAX_PLATFORMS', 'cpu')
# Tests compile much and compute little.
os.environ['XLA_FLAGS'] = ' '.join((
    os.environ.get('XLA_FLAGS', ''),
    '--xla_backend_optimization_level=0',
    '--xla_cpu_use_fusion_emitters=false',
    '--xla_llvm_disable_expensive_passes=true',
))
os.environ.setdefault('MPLBACKEND', 'agg')

import jax  # noqa: E402
import pytest  # noqa: E402

jax.config.update('jax_numpy_rank_promotion', 'raise')
# Not by a flag: programs that tests start would have them, too, and compile
# everything for several.
jax.config.update('jax_num_cpu_devices', 8)


def _folder(variable: str) -> pathlib.Path:
  value = os.environ.get(variable)
  if not value or not pathlib.Path(value).is_dir():
    pytest.skip(f'{variable} does not name a folder')
  return pathlib.Path(value)


@pytest.fixture(scope='session')
def golden_dir() -> pathlib.Path:
  """Folder of reference numbers from independent code."""
  return _folder('DIFFAX_GOLDEN')


@pytest.fixture(scope='session')
def data_dir() -> pathlib.Path:
  """Folder of real data sets."""
  return _folder('DIFFAX_DATA')
