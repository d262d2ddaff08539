"""Meshes, batches and the wish of the environment to run on several hosts."""

import ctypes
import os
import signal
import subprocess
import sys
import threading

import jax
import numpy as np
import pytest

from diffax.errors import UserError
from diffax.systems import momu
from diffax.systems import momu_vae
from diffax.train import devices
from diffax.train import optim
from diffax.train import state as states


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
  assert types == (jax.sharding.AxisType.Auto,) * 2


@pytest.mark.parametrize('fsdp, size, shape', [
    (1, None, (8, 1)), (2, None, (4, 2)), (8, 16, (1, 8)), (2, 12, (3, 2)),
    (3, 12, (2, 3)),
])
def test_a_mesh_is_as_wide_as_asked(fsdp, size, shape):
  if size is None:
    assert devices.mesh(fsdp=fsdp).devices.shape == shape
  else:
    assert devices.mesh(batch_size=size, fsdp=fsdp).devices.shape == shape


@pytest.mark.parametrize('fsdp, size', [(3, None), (5, 16), (16, 16)])
def test_a_width_that_does_not_fit_is_refused(fsdp, size):
  with pytest.raises(UserError, match=f'devices.fsdp: .*found {fsdp}'):
    devices.mesh(batch_size=size, fsdp=fsdp)


def test_neighbours_share_one_copy():
  grid = devices.mesh(fsdp=2).devices
  assert [device.id for device in grid.ravel()] == list(range(8))


@pytest.mark.parametrize('shape, piece', [
    ((64, 96), (64, 24)), ((96, 64), (24, 64)), ((3, 64, 99), (3, 16, 99)),
    ((64, 64), (16, 64)), ((6, 10), (6, 10)), ((63, 65), (63, 65)),
    ((4096,), (1024,)), ((), ()),
])
def test_the_longest_axis_that_fits_is_cut(shape, piece):
  array = jax.ShapeDtypeStruct(shape, np.float32)
  mesh = devices.mesh(fsdp=4)
  assert devices.placed(array, mesh, 100).shard_shape(shape) == piece
  whole = devices.placed(array, mesh, 10**6)
  assert whole.is_fully_replicated
  assert devices.placed(array, devices.mesh(), 1).is_fully_replicated


def test_bytes_are_counted_by_hand():
  mesh = devices.mesh(fsdp=4)
  state = {
      'cut': jax.ShapeDtypeStruct((8, 4), np.float32),
      'whole': jax.ShapeDtypeStruct((3,), np.int32),
  }
  placed = devices.placed(state, mesh, 4)
  assert devices.bytes_per_device(state, placed) == 4 * 8 + 4 * 3


def _sizes(system, pieces):
  """Return gibibytes of a state on one device, for each number of pieces."""
  schedule = {'name': 'constant', 'value': 2e-4}
  optimiser = optim.optimiser(name='adamw', schedule=schedule, clip=1.0)
  shapes = jax.eval_shape(
      lambda key: states.create(system, optimiser, key, {}), jax.random.key(0)
  )
  held = [
      devices.bytes_per_device(
          shapes, devices.placed(shapes, devices.mesh(fsdp=n))
      )
      for n in pieces
  ]
  return np.array(held) / 2**30


def test_a_quarter_of_the_213_million_lies_on_each_of_four_devices():
  info = {'music': {'dims': 80}, 'motion': {'dims': 28}}
  sizes = _sizes(momu_vae.momu_mel_vae(info), (1, 4, 8))
  # 212,958,212 of the autoencoder and 2,764,481 of its critic, times four:
  # parameters, average, two moments.
  np.testing.assert_allclose(sizes[0], 16 * 215_722_693 / 2**30, rtol=1e-6)
  np.testing.assert_allclose(sizes, [3.2145, 0.8054, 0.4039], atol=1e-4)


def test_a_quarter_of_both_158_million_lies_on_each_of_four_devices():
  info = {'music': {'dims': 80}, 'motion': {'dims': 28}, 'frames': 624}
  system = momu.momu_diffusion(info)._replace(prepare=None)
  whole, cut = _sizes(system, (1, 4))
  # Two denoisers with average and moments, and the two given autoencoders.
  assert 6.2 < whole < 6.6
  assert 0.25 <= cut / whole < 0.26


@pytest.mark.parametrize('env, calls', [
    ({}, []),
    ({'SLURM_NTASKS': '2'}, []),
    ({'SLURM_NTASKS': '2', 'SLURM_STEP_NODELIST': 'n[1-2]'}, [{}]),
    ({'SLURM_NTASKS': '1', 'SLURM_STEP_NODELIST': 'n1'}, []),
    ({'OMPI_COMM_WORLD_SIZE': '4'}, [{}]),
    ({'TPU_WORKER_HOSTNAMES': 'a'}, []),
    ({'TPU_WORKER_HOSTNAMES': 'a,b'}, [{}]),
    ({'DIFFAX_PROCESSES': 'auto'}, [{}]),
    ({'JAX_COORDINATOR_ADDRESS': 'h:1', 'JAX_NUM_PROCESSES': '2',
      'JAX_PROCESS_ID': '0'},
     [{'coordinator_address': 'h:1', 'num_processes': 2, 'process_id': 0}]),
])
def test_several_processes_are_joined_when_there_are(monkeypatch, env, calls):
  made = []
  monkeypatch.setattr(
      jax.distributed, 'initialize', lambda **options: made.append(options)
  )
  waits = {'initialization_timeout': 300, 'heartbeat_timeout_seconds': 60}
  for name, value in env.items():
    monkeypatch.setenv(name, value)
  devices.initialise()
  assert made == [{**call, **waits} for call in calls]


def test_a_missing_number_is_named(monkeypatch):
  monkeypatch.setenv('JAX_COORDINATOR_ADDRESS', 'h:1')
  monkeypatch.setenv('JAX_NUM_PROCESSES', '2')
  with pytest.raises(UserError, match='JAX_PROCESS_ID'):
    devices.initialise()


def test_a_process_that_cannot_join_is_said(monkeypatch):
  def fail(**options):
    raise RuntimeError('nobody there\nat all')

  monkeypatch.setattr(jax.distributed, 'initialize', fail)
  monkeypatch.setenv('DIFFAX_PROCESSES', 'auto')
  with pytest.raises(UserError, match='within 7 s, found: nobody there$'):
    devices.initialise(timeout=7)


@pytest.mark.parametrize('place', [devices.stoppable, devices.first_alone])
def test_a_sigterm_leaves_with_75_where_nothing_is_lost(place):
  before = signal.getsignal(signal.SIGTERM)
  with pytest.raises(SystemExit) as caught, place():
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(10)
  assert caught.value.code == devices.STOPPED == 75
  assert signal.getsignal(signal.SIGTERM) is before


def test_the_only_process_is_the_first():
  with devices.first_alone() as first:
    assert first


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
