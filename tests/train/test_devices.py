"""Meshes, batches and the wish of the environment to run on several hosts."""

import ctypes
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from diffax.errors import UserError
from diffax.train import devices


def test_a_batch_is_cut_in_order():
  mesh = devices.mesh()
  x = np.arange(32.0).reshape(16, 2)
  (laid,) = devices.shard({'x': x}, mesh).values()
  np.testing.assert_array_equal(laid, x)
  for k, piece in enumerate(laid.addressable_shards):
    np.testing.assert_array_equal(piece.data, x[2 * k: 2 * k + 2])


@pytest.mark.parametrize('size, used', [(16, 8), (12, 6), (4, 4), (7, 7)])
def test_as_many_devices_as_divide_the_batch(size, used, capsys):
  assert devices.mesh(batch_size=size).size == used
  assert (f'{used} of 8 devices' in capsys.readouterr().out) == (used < 8)


def test_a_batch_that_does_not_fit_is_refused():
  with pytest.raises(UserError, match='multiple of the 8 devices, found 12'):
    devices.shard({'x': np.zeros((12, 2))}, devices.mesh())


def test_axes_are_auto():
  types = devices.mesh().axis_types
  assert types == (jax.sharding.AxisType.Auto,)


@pytest.mark.parametrize('env, calls', [
    ({}, []),
    ({'SLURM_NTASKS': '2'}, []),
    ({'SLURM_NTASKS': '2', 'SLURM_STEP_NODELIST': 'n[1-2]'}, [{}]),
    ({'SLURM_NTASKS': '1', 'SLURM_STEP_NODELIST': 'n1'}, []),
    ({'OMPI_COMM_WORLD_SIZE': '4'}, [{}]),
    ({'TPU_WORKER_HOSTNAMES': 'a'}, []),
    ({'TPU_WORKER_HOSTNAMES': 'a,b'}, [{}]),
    ({'JAX_COORDINATOR_ADDRESS': 'h:1', 'JAX_NUM_PROCESSES': '2',
      'JAX_PROCESS_ID': '0'},
     [{'coordinator_address': 'h:1', 'num_processes': 2, 'process_id': 0}]),
])
def test_several_processes_are_joined_when_there_are(monkeypatch, env, calls):
  made = []
  monkeypatch.setattr(
      jax.distributed, 'initialize', lambda **options: made.append(options)
  )
  for name, value in env.items():
    monkeypatch.setenv(name, value)
  devices.initialise()
  assert made == calls


def test_a_missing_number_is_named(monkeypatch):
  monkeypatch.setenv('JAX_COORDINATOR_ADDRESS', 'h:1')
  monkeypatch.setenv('JAX_NUM_PROCESSES', '2')
  with pytest.raises(UserError, match='JAX_PROCESS_ID'):
    devices.initialise()


_FAULTS = """
import resource, threading
from diffax.train import devices
devices.keep_memory()
def work():
  for _ in range(9):
    bytearray(1 << 26)
count = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
work(), count()
before = count()
thread = threading.Thread(target=work)
thread.start()
thread.join()
print(count() - before)
"""


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), 'gnu_get_libc_version'), reason='not glibc'
)
def test_freed_memory_is_kept_unless_the_user_says_otherwise():
  def faults(**more: str) -> int:
    env = {k: v for k, v in os.environ.items() if not k.startswith('MALLOC_')}
    found = subprocess.run(
        [sys.executable, '-c', _FAULTS], env={**env, **more}, text=True,
        capture_output=True, check=True,
    )
    return int(found.stdout)

  # An array is 16384 pages; each of nine is zeroed by the kernel or none.
  assert faults() < 1000
  assert faults(MALLOC_CHECK_='0') > 10_000
