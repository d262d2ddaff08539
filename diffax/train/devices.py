"""Devices and hosts: one mesh, batches split over it, state on all of it."""

import ctypes
import os
import sys
from typing import Any

import jax
import numpy as np

from diffax.errors import UserError
from diffax.typing import Batch

AXIS = 'data'
# Of mallopt(3): parameter and value.
_ONE_ARENA = (-8, 1)
_NEVER_MAP = (-4, 0)
_NEVER_TRIM = (-1, 2**31 - 1)


def keep_memory() -> None:
  """Let the process keep the memory that a step frees for the next step.

  By default the C library returns large arrays to the kernel, which zeroes
  every page anew when it gives them back. Without that the mel autoencoder of
  `momu_joint:dance_synthetic,budget` trains at 4.7 and 5.4 instead of 3.5 and
  3.7 steps per second (two processor cores, two runs in turn). Other C
  libraries than GNU's are left as they are, and so are settings of the user's
  (MALLOC_ARENA_MAX, GLIBC_TUNABLES, ...). Call it before other threads start.
  """
  if sys.platform != 'linux':
    return
  library = ctypes.CDLL(None)
  if not hasattr(library, 'gnu_get_libc_version'):
    return
  if any(name.startswith(('MALLOC_', 'GLIBC_')) for name in os.environ):
    return
  for parameter, value in (_ONE_ARENA, _NEVER_MAP, _NEVER_TRIM):
    library.mallopt(parameter, value)


def initialise() -> None:
  """Join the other processes when a cluster started several.

  SLURM's `srun`, Open MPI and TPU pods are recognised by JAX itself;
  elsewhere set JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID.

  Raises:
    UserError: if one of those three is missing or not a number.
  """
  if jax.distributed.is_initialized():
    return
  env = os.environ
  # `sbatch` without `srun` also sets the number of tasks, but starts one.
  slurm = 'SLURM_STEP_NODELIST' in env and env.get('SLURM_NTASKS', '1') != '1'
  mpi = env.get('OMPI_COMM_WORLD_SIZE', '1') != '1'
  pod = ',' in env.get('TPU_WORKER_HOSTNAMES', '')
  if 'JAX_COORDINATOR_ADDRESS' in env:
    jax.distributed.initialize(**_explicit())
  elif slurm or mpi or pod:
    jax.distributed.initialize()


def _explicit() -> dict[str, Any]:
  found: dict[str, Any] = {
      'coordinator_address': os.environ['JAX_COORDINATOR_ADDRESS']
  }
  for key in ('num_processes', 'process_id'):
    name = f'JAX_{key.upper()}'
    value = os.environ.get(name, '')
    if not value.isdigit():
      raise UserError(
          f'{name}: expected a number, as JAX_COORDINATOR_ADDRESS is set; '
          f'found {value!r}.'
      )
    found[key] = int(value)
  return found


def mesh(
    devices: list[jax.Device] | None = None, batch_size: int | None = None
) -> jax.sharding.Mesh:
  """Return a mesh of one axis.

  Args:
    devices: to use; by default all of all hosts.
    batch_size: if given and there is one host, as many devices are taken as
      divide it.

  Returns:
    A mesh with the one axis `data`.
  """
  devices = jax.devices() if devices is None else devices
  if batch_size and jax.process_count() == 1:
    most = len(devices)
    count = max(n for n in range(1, most + 1) if batch_size % n == 0)
    if count < most:
      print(f'batch of {batch_size}: {count} of {most} devices are used')
    devices = devices[:count]
  # The default, explicit axes, breaks attention and reshapes of the batch.
  auto = (jax.sharding.AxisType.Auto,)
  return jax.sharding.Mesh(np.array(devices), (AXIS,), axis_types=auto)


def replicated(over: jax.sharding.Mesh) -> jax.sharding.NamedSharding:
  """Return the sharding of what every device holds whole."""
  return jax.sharding.NamedSharding(over, jax.sharding.PartitionSpec())


def split(over: jax.sharding.Mesh) -> jax.sharding.NamedSharding:
  """Return the sharding of a batch, cut along its first axis."""
  return jax.sharding.NamedSharding(over, jax.sharding.PartitionSpec(AXIS))


def shard(batch: Batch, over: jax.sharding.Mesh) -> Batch:
  """Lay a global batch of NumPy arrays over the devices.

  Args:
    batch: arrays `[B, ...]`, the same on every host.
    over: the mesh; its size must divide B.

  Returns:
    The same values as global JAX arrays.

  Raises:
    UserError: if the devices do not divide the batch.
  """
  sharding = split(over)

  def place(x: np.ndarray) -> jax.Array:
    if x.shape[0] % over.size:
      raise UserError(
          f'batch_size: expected a multiple of the {over.size} devices, found '
          f'{x.shape[0]}.'
      )
    return jax.make_array_from_callback(
        x.shape, sharding, lambda index: x[index]
    )

  return jax.tree.map(place, dict(batch))


def is_first() -> bool:
  """Return whether this process is the one that writes and prints."""
  return jax.process_index() == 0
