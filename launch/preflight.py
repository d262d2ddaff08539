#!/usr/bin/env python3
"""Refuse to start a run that would fail, or be wrong, on some of its hosts.

  srun python launch/preflight.py --processes=8 --platform=gpu -- \\
    --config=experiments/momu_joint.py --workdir=/shared/momu

Start it as the training is started, once per process, with the training's flags
after `--`. Once all processes are there it finds out, within --seconds (60),

  processes    as many as expected, and all came; likewise devices and platform
  versions     Python, JAX and the other packages, diffax's own source and the
               variables that change numbers are the same everywhere
  config       the same everywhere, to the last override
  data         the first batches of every stage are the same to the bit
               everywhere: each host builds the global batch for itself
  collectives  a sum and a gather over all devices are right
  workdir      every process writes a file there and sees those of all others

and prints it, with the speed of writing.

Exit status: 0 all is well, 2 it is not: every finding names host and field.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
import contextlib
import hashlib
from importlib import metadata
import json
import os
import pathlib
import platform
import shutil
import socket
import sys
import threading
import time
from typing import Any, NoReturn

from absl import flags
import jax
from jax.experimental import multihost_utils
import numpy as np

import diffax
from diffax import config as configs
from diffax import main as single
from diffax.errors import UserError
from diffax.train import devices

PACKAGES = (
    'jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy', 'scipy',
    'grain',
)
VARIABLES = (
    'JAX_ENABLE_X64', 'JAX_DEFAULT_MATMUL_PRECISION',
    'JAX_DEFAULT_PRNG_IMPL', 'JAX_THREEFRY_PARTITIONABLE', 'XLA_FLAGS',
)
# What differs between hosts that are fit: it is only printed.
OWN = ('host', 'speed', 'free')
_LOOKED_FOR = 10.0
_BATCHES = 2
_MEBI = 2**20


class Bad(str):
  """Mark a finding that refuses the start."""


class Watch:
  """End the process when time is up, and say at what."""

  def __init__(self, at: str, seconds: float):
    self.at, self._seconds = at, seconds
    self._timer = threading.Timer(seconds, self._end)
    self._timer.daemon = True

  def __enter__(self) -> 'Watch':
    self._timer.start()
    return self

  def __exit__(self, *unused: object) -> None:
    self._timer.cancel()

  def _end(self) -> None:
    host = socket.gethostname()
    refuse([
        f'{host}: {self.at}: expected within {self._seconds:g} s, found no end'
    ], hard=True)


def refuse(findings: Sequence[str], hard: bool = False) -> NoReturn:
  """Print what is wrong and leave with status 2."""
  for line in findings:
    print(f'error: {line}', file=sys.stderr, flush=True)
  print('preflight: not fit to start', file=sys.stderr, flush=True)
  if hard:
    # A thread that waits for other hosts cannot be asked to stop.
    os._exit(2)
  sys.exit(2)


def code_hash() -> str:
  """Return the SHA-256 of diffax's source, the first half."""
  folder = pathlib.Path(diffax.__file__).parent
  total = hashlib.sha256()
  for path in sorted(folder.rglob('*.py')):
    total.update(str(path.relative_to(folder)).encode())
    total.update(hashlib.sha256(path.read_bytes()).digest())
  return total.hexdigest()[:32]


def versions() -> dict[str, str]:
  """Return versions by name, `absent` for what is not installed."""
  found = {'python': platform.python_version(), 'diffax source': code_hash()}
  for name in PACKAGES:
    try:
      found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
      found[name] = 'absent'
  return {**found, **{k: os.environ.get(k, 'unset') for k in VARIABLES}}


def config_hash(config: Any) -> str:
  """Return the SHA-256 of a config with its overrides, the first half."""
  text = json.dumps(config.to_dict(), sort_keys=True, default=str)
  return hashlib.sha256(text.encode()).hexdigest()[:32]


def batch_hash(batches: Sequence[Mapping[str, Any]]) -> str:
  """Return the SHA-256 of names, types, shapes and numbers, the first half."""
  total = hashlib.sha256()
  for batch in batches:
    for path, leaf in jax.tree_util.tree_leaves_with_path(dict(batch)):
      array = np.ascontiguousarray(leaf)
      name = jax.tree_util.keystr(path)
      total.update(f'{name} {array.dtype} {array.shape}'.encode())
      total.update(array.tobytes())
  return total.hexdigest()[:32]


def data_hashes(config: Any) -> dict[str, str]:
  """Return the hash of the first batches of each stage, equal stages once."""
  found: dict[str, str] = {}
  seen = []
  for name in config.stages:
    settings = configs.stage(config, name)
    key = settings['data'], settings['seed'], settings['batch_size']
    if key not in seen:
      seen.append(key)
      source = configs.source(settings)
      batches = [source.train(step) for step in range(_BATCHES)]
      found[f'data of {name}'] = batch_hash(batches)
  return found


def local_facts(config: Any) -> dict[str, str]:
  """Return what this process sees; what fails is marked as bad."""
  local = jax.local_devices()
  found = {
      'host': socket.gethostname(),
      'devices of the process': f'{len(local)} {local[0].device_kind}',
      **versions(),
      'config': config_hash(config),
  }
  try:
    found |= data_hashes(config)
  except (UserError, OSError) as error:
    found['data'] = Bad(str(error))
  return found


def collectives() -> str:
  """Return whether a sum and a gather over all devices are right."""
  count, size = jax.device_count(), 1000
  over = devices.mesh()
  rows = np.arange(1.0, count + 1, dtype=np.float32)[:, None]
  given = devices.shard({'x': np.repeat(rows, size, 1)}, over)['x']
  whole = devices.replicated(over)
  total = jax.jit(lambda x: x.sum(0), out_shardings=whole)(given)
  expected = count * (count + 1) / 2
  if not np.all(np.asarray(total.addressable_data(0)) == expected):
    return Bad(f'expected sums of {expected}, found {total[:3]}')
  every = jax.jit(lambda x: 2 * x, out_shardings=whole)(given)
  if not np.all(np.asarray(every.addressable_data(0)) == 2 * rows):
    return Bad('expected the rows of all devices in order, found others')
  return 'right'


def exchange(facts: Mapping[str, str]) -> list[dict[str, str]]:
  """Return the facts of every process, in order of their numbers."""
  marked = {k: [v, isinstance(v, Bad)] for k, v in facts.items()}
  text = np.frombuffer(json.dumps(marked).encode(), np.uint8)
  sizes = np.ravel(_gather(np.array([text.size], np.int32)))
  padded = np.zeros(sizes.max(), np.uint8)
  padded[:text.size] = text
  rows = _gather(padded).reshape(len(sizes), -1)
  found = []
  for row, size in zip(rows, sizes):
    loaded = json.loads(row[:size].tobytes())
    found.append({k: Bad(v) if bad else v for k, (v, bad) in loaded.items()})
  return found


def _gather(x: np.ndarray) -> np.ndarray:
  return np.asarray(multihost_utils.process_allgather(x[None], tiled=True))


def write_and_look(workdir: pathlib.Path, mebibytes: int) -> dict[str, str]:
  """Write a file to the folder of the run and look for those of the others.

  Args:
    workdir: of the run.
    mebibytes: to write.

  Returns:
    `workdir`, `speed` and `free`, the first bad if something is wrong.
  """
  seed = np.frombuffer(os.urandom(4), np.uint32)
  token = int(multihost_utils.broadcast_one_to_all(seed)[0])
  me, count = jax.process_index(), jax.process_count()
  folder = workdir / '.preflight'
  paths = [folder / f'{token}-{k}' for k in range(count)]
  found: dict[str, str] = {'workdir': 'written and seen by all'}
  try:
    folder.mkdir(parents=True, exist_ok=True)
    seconds = _write(paths[me], mebibytes)
    free = shutil.disk_usage(folder).free / _MEBI
    found['speed'] = f'{mebibytes / seconds:.0f} MiB/s'
    found['free'] = f'{free:.0f} MiB'
  except OSError as error:
    found['workdir'] = Bad(f'expected to write to it, found {error}')
  multihost_utils.sync_global_devices('written')
  if not isinstance(found['workdir'], Bad):
    found['workdir'] = _look(paths) or found['workdir']
  multihost_utils.sync_global_devices('looked')
  with contextlib.suppress(OSError):
    paths[me].unlink(missing_ok=True)
    folder.rmdir()
  return found


def _write(path: pathlib.Path, mebibytes: int) -> float:
  block = os.urandom(_MEBI)
  begun = time.monotonic()
  with path.open('wb') as file:
    for _ in range(mebibytes):
      file.write(block)
    file.flush()
    os.fsync(file.fileno())
  return max(time.monotonic() - begun, 1e-6)


def _look(paths: Sequence[pathlib.Path]) -> str | None:
  """Return what is not seen; other hosts may see a file seconds later."""
  end = time.monotonic() + _LOOKED_FOR
  missing = list(paths)
  while missing and time.monotonic() < end:
    # Listing the folder makes a network disk look again.
    with contextlib.suppress(OSError):
      names = set(os.listdir(paths[0].parent))
      missing = [path for path in paths if path.name not in names]
    if missing:
      time.sleep(0.2)
  if missing:
    who = ', '.join(path.name.rpartition('-')[2] for path in missing)
    return Bad(
        f'expected the files of all processes, found none of process {who}: '
        'it must be on a disk that all hosts share'
    )
  return None


def compare(facts: Sequence[Mapping[str, str]]) -> list[str]:
  """Return what is bad, and what is not as the first process has it.

  Args:
    facts: of every process.

  Returns:
    Lines with host and field; none if all is well.
  """
  findings = []
  for k, mine in enumerate(facts):
    where = f'{mine["host"]} (process {k})'
    for field, value in mine.items():
      if isinstance(value, Bad):
        findings.append(f'{where}: {field}: {value}')
      elif field not in OWN and facts[0].get(field) != value:
        expected = facts[0].get(field, 'nothing')
        if not isinstance(expected, Bad):
          findings.append(
              f'{where}: {field}: expected {expected}, as '
              f'{facts[0]["host"]} (process 0) has, found {value}'
          )
  return findings


def counts(
    processes: int | None, total: int | None, kind: str | None
) -> list[str]:
  """Return which of the expected numbers are not there."""
  if processes is None and 'SLURM_STEP_NODELIST' in os.environ:
    processes = int(os.environ.get('SLURM_NTASKS', '1'))
  checks = [
      ('processes', processes, jax.process_count()),
      ('devices', total, jax.device_count()),
      ('platform', kind, jax.default_backend()),
  ]
  host = socket.gethostname()
  return [
      f'{host} (process {jax.process_index()}): {field}: expected {expected}, '
      f'found {found}'
      for field, expected, found in checks
      if expected is not None and expected != found
  ]


def report(facts: Sequence[Mapping[str, str]], seconds: float) -> None:
  """Print what is the same, and what each host has of its own."""
  for field, value in facts[0].items():
    if field not in OWN:
      print(f'  {field}: {value}')
  for k, mine in enumerate(facts):
    own = ', '.join(f'{x} {mine[x]}' for x in OWN if x in mine)
    print(f'  process {k}: {own}')
  print(
      f'preflight: {jax.process_count()} processes with {jax.device_count()} '
      f'devices ({jax.default_backend()}) are fit to start, {seconds:.0f} s'
  )


def check(given: argparse.Namespace, config: Any, workdir: pathlib.Path) -> int:
  """Do all checks; leave with status 2 if one fails.

  Args:
    given: the flags of this script.
    config: of the training.
    workdir: of the training.

  Returns:
    The status 0.
  """
  begun = time.monotonic()
  with Watch('processes: coming together', given.wait):
    # Longer than the watch, which ends with a message and JAX does not.
    devices.initialise(timeout=int(2 * given.wait) + 1)
  with Watch('platform', given.seconds) as watch:
    wrong = counts(given.processes, given.devices, given.platform)
    if wrong:
      refuse(wrong)
    parts: tuple[tuple[str, Callable[[], dict[str, str]]], ...] = (
        ('collectives', lambda: {'collectives': collectives()}),
        ('config and data', lambda: local_facts(config)),
        ('workdir', lambda: write_and_look(workdir, given.megabytes)),
    )
    mine: dict[str, str] = {}
    for watch.at, part in parts:
      mine |= part()
    watch.at = 'exchange of findings'
    facts = exchange(mine)
    findings = compare(facts)
  with devices.first_alone() as first:
    if first and not findings:
      report(facts, time.monotonic() - begun)
  if findings:
    refuse(findings if first else [])
  return 0


def main(argv: Sequence[str]) -> int:
  """Read the command line and check."""
  place = argv.index('--') if '--' in argv else len(argv)
  own, theirs = argv[:place], argv[place + 1:]
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter,
      usage='preflight.py [options] -- --config=F --workdir=D [...]',
  )
  parser.add_argument(
      '--processes', type=int, help='expected; default: of the SLURM step'
  )
  parser.add_argument('--devices', type=int, help='expected on all hosts')
  parser.add_argument('--platform', choices=['cpu', 'gpu', 'tpu'])
  parser.add_argument('--seconds', type=float, default=60)
  parser.add_argument(
      '--wait', type=float, default=60, metavar='SECONDS',
      help='for all processes to come',
  )
  parser.add_argument(
      '--megabytes', type=int, default=64, help='each process writes'
  )
  given = parser.parse_args(own)
  single.parse(['preflight', *theirs])
  if flags.FLAGS.config is None or not flags.FLAGS.workdir:
    parser.error('--config and --workdir: expected after --')
  try:
    return check(given, flags.FLAGS.config, pathlib.Path(flags.FLAGS.workdir))
  except UserError as error:
    refuse([f'{socket.gethostname()}: {error}'])


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
