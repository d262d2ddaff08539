"""Devices and hosts: one mesh, batches cut over it, state whole or cut.

The mesh has two axes, `data` and `fsdp`, and a batch is cut along its first
axis over both, so every device computes on samples of its own. What differs is
where the state lies. With fsdp = 1, the default, every device holds all of it.
With fsdp = F the large arrays of parameters, average and optimiser (and of
given parts) lie in F pieces; the compiler gathers a layer where it is used,
and a device holds about

    4 bytes (2 + m) P / F                                                   (1)

for P parameters and m moments of the optimiser, instead of F times that. The
numbers are those of one device but for the order of sums.

Every host builds the whole global batch, a function of (seed, step), and lays
its own rows on its devices. At the papers' batch sizes that takes 0.1 to 0.6 ms
of one core, 41 ms for MoMu's windows of sound, while the step before runs; a
host that built its rows alone would not be faster where it counts.
"""

from collections.abc import Iterator
import contextlib
import ctypes
import math
import os
import signal
import sys
import threading
from types import FrameType
from typing import Any, NoReturn

import jax
import numpy as np
from orbax.checkpoint import multihost

from diffax.errors import UserError
from diffax.typing import Batch
from diffax.typing import PyTree

AXES = DATA, FSDP = 'data', 'fsdp'
# A smaller array costs more to gather than to keep.
LEAST = 2**16
STOPPED = 75
_LONGEST = 30 * 24 * 3600
# Seconds without a word after which a process counts as lost; JAX has 100.
_SILENCE = 60
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


def initialise(timeout: int = 300) -> None:
  """Join the other processes when a cluster started several.

  SLURM's `srun`, Open MPI and TPUs on Kubernetes are seen by their variables;
  DIFFAX_PROCESSES=auto leaves it to JAX, which also knows a pod of TPU virtual
  machines by asking its metadata server. Elsewhere set JAX_COORDINATOR_ADDRESS,
  JAX_NUM_PROCESSES and JAX_PROCESS_ID.

  Args:
    timeout: seconds to wait for the others.

  Raises:
    UserError: if one of those three is missing or not a number, or the others
      do not come.
  """
  if jax.distributed.is_initialized():
    return
  env = os.environ
  # `sbatch` without `srun` also sets the number of tasks, but starts one.
  slurm = 'SLURM_STEP_NODELIST' in env and env.get('SLURM_NTASKS', '1') != '1'
  mpi = env.get('OMPI_COMM_WORLD_SIZE', '1') != '1'
  pod = ',' in env.get('TPU_WORKER_HOSTNAMES', '')
  auto = env.get('DIFFAX_PROCESSES') == 'auto'
  explicit = _explicit() if 'JAX_COORDINATOR_ADDRESS' in env else {}
  if not (explicit or slurm or mpi or pod or auto):
    return
  try:
    jax.distributed.initialize(
        **explicit,
        initialization_timeout=timeout,
        heartbeat_timeout_seconds=_SILENCE,
    )
  except (RuntimeError, ValueError) as error:
    raise UserError(
        f'processes: expected all to come together within {timeout} s, found: '
        f'{str(error).splitlines()[0]}'
    ) from error


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
    devices: list[jax.Device] | None = None,
    batch_size: int | None = None,
    fsdp: int = 1,
) -> jax.sharding.Mesh:
  """Return a mesh with the axes `data` and `fsdp`.

  Args:
    devices: to use; by default all of all hosts.
    batch_size: if given and there is one host, as many devices are taken as
      divide it.
    fsdp: devices that share one copy of the state. Neighbours do, so those of
      one host before those of several.

  Returns:
    The mesh, `fsdp` wide.

  Raises:
    UserError: if `fsdp` does not divide the devices.
  """
  devices = jax.devices() if devices is None else devices
  most = len(devices)
  counts = [n for n in range(1, most + 1) if n % fsdp == 0]
  if batch_size and jax.process_count() == 1:
    counts = [n for n in counts if batch_size % n == 0]
    if counts and counts[-1] < most:
      print(f'batch of {batch_size}: {counts[-1]} of {most} devices are used')
  else:
    counts = [n for n in counts if n == most]
  if not counts:
    raise UserError(
        f'devices.fsdp: expected a divisor of the {most} devices'
        + (f' and of the batch of {batch_size}' if batch_size else '')
        + f', found {fsdp}.'
    )
  grid = np.array(devices[:counts[-1]]).reshape(-1, fsdp)
  # The default, explicit axes, breaks attention and reshapes of the batch.
  auto = (jax.sharding.AxisType.Auto,) * 2
  return jax.sharding.Mesh(grid, AXES, axis_types=auto)


def replicated(over: jax.sharding.Mesh) -> jax.sharding.NamedSharding:
  """Return the sharding of what every device holds whole."""
  return jax.sharding.NamedSharding(over, jax.sharding.PartitionSpec())


def split(over: jax.sharding.Mesh) -> jax.sharding.NamedSharding:
  """Return the sharding of a batch, cut along its first axis."""
  return jax.sharding.NamedSharding(over, jax.sharding.PartitionSpec(AXES))


def placed(
    shapes: PyTree, over: jax.sharding.Mesh, least: int = LEAST
) -> PyTree:
  """Say where each array of a state lies.

  An array is cut along its longest axis that the mesh's `fsdp` divides; it
  stays whole if it has none, or fewer than `least` numbers.

  Args:
    shapes: a state, or its shapes.
    over: the mesh.
    least: numbers of the smallest array that is cut.

  Returns:
    A tree of shardings.
  """
  pieces = over.shape[FSDP]

  def place(leaf: Any) -> jax.sharding.NamedSharding:
    longest = sorted(range(leaf.ndim), key=lambda axis: -leaf.shape[axis])
    fit = [axis for axis in longest if leaf.shape[axis] % pieces == 0]
    if pieces == 1 or math.prod(leaf.shape) < least or not fit:
      return replicated(over)
    spec = jax.sharding.PartitionSpec(*[None] * fit[0], FSDP)
    return jax.sharding.NamedSharding(over, spec)

  return jax.tree.map(place, shapes)


def bytes_per_device(shapes: PyTree, shardings: PyTree) -> int:
  """Return how many bytes of a state one device holds.

  Args:
    shapes: a state, or its shapes.
    shardings: from `placed`.
  """
  held = jax.tree.map(
      lambda x, where: math.prod(where.shard_shape(x.shape)) * x.dtype.itemsize,
      shapes, shardings,
  )
  return sum(jax.tree.leaves(held))


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


@contextlib.contextmanager
def first_alone() -> Iterator[bool]:
  """Let the first process work while the others wait for it to finish.

  A process that left earlier would end the first one with it. A SIGTERM
  leaves with status 75: what comes after the training is done again.

  Yields:
    Whether this process is the first.
  """
  with _leaving():
    try:
      yield is_first()
    finally:
      if jax.process_count() > 1:
        wait = multihost.get_barrier_sync_fn()
        wait(key='first_alone', timeout_ms=1000 * _LONGEST)


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
  """Leave with status 75 at a SIGTERM, where nothing but time is lost.

  Several processes are left as they are: JAX listens for the signal there, and
  the training loop hears of it at its next step.
  """
  if jax.process_count() > 1:
    yield
    return
  with _leaving():
    yield


def leave() -> NoReturn:
  """Leave with status 75, all processes together.

  Whoever leaves first has a status other than 0, and `srun --kill-on-bad-exit`
  then ends the others by a SIGTERM, which must not become their status.
  """
  if jax.process_count() > 1:
    jax.distributed.shutdown()
    _on_sigterm(signal.SIG_IGN)
  raise SystemExit(STOPPED)


def _on_sigterm(handler: Any) -> Any:
  # Python hands signals to the main thread only.
  if threading.current_thread() is threading.main_thread():
    return signal.signal(signal.SIGTERM, handler)
  return signal.SIG_DFL


@contextlib.contextmanager
def _leaving() -> Iterator[None]:
  def stop(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise SystemExit(STOPPED)

  old = _on_sigterm(stop)
  try:
    yield
  finally:
    # None stands for a handler that is not Python's, JAX's here: it has done
    # its work.
    _on_sigterm(stop if old is None else old)
