"""Devices and hosts: one mesh, batches split over it, state on all of it."""

from collections.abc import Callable
import os
from typing import Any

import jax
import numpy as np

from diffax.errors import UserError
from diffax.typing import Batch
from diffax.typing import PyTree

AXIS = 'data'
_CLUSTER = ('SLURM_NTASKS', 'OMPI_COMM_WORLD_SIZE', 'JAX_COORDINATOR_ADDRESS')


def initialise() -> None:
  """Join the other processes when a cluster started several.

  SLURM, Open MPI and TPU pods are recognised by JAX itself; elsewhere set
  JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID.
  """
  if jax.distributed.is_initialized():
    return
  several = any(os.environ.get(name, '1') != '1' for name in _CLUSTER)
  if several or os.environ.get('TPU_WORKER_HOSTNAMES', '').count(','):
    jax.distributed.initialize(**_explicit())


def _explicit() -> dict[str, Any]:
  if 'JAX_COORDINATOR_ADDRESS' not in os.environ:
    return {}
  return {
      'coordinator_address': os.environ['JAX_COORDINATOR_ADDRESS'],
      'num_processes': int(os.environ['JAX_NUM_PROCESSES']),
      'process_id': int(os.environ['JAX_PROCESS_ID']),
  }


def mesh(devices: list[jax.Device] | None = None) -> jax.sharding.Mesh:
  """Return a mesh of one axis over all devices of all hosts, or those given."""
  devices = jax.devices() if devices is None else devices
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
    cut: Callable[[Any], np.ndarray] = x.__getitem__
    return jax.make_array_from_callback(x.shape, sharding, cut)

  return jax.tree.map(place, dict(batch))


def fetch(tree: PyTree) -> PyTree:
  """Copy a replicated tree to NumPy on this host."""
  return jax.tree.map(lambda x: np.asarray(x.addressable_data(0)), tree)
