#!/usr/bin/env python3
"""Run a command as N processes of one run on this machine.

  python launch/local_processes.py 2 -- \\
    python -m diffax.main --config=experiments/skeleton_quickstart.py:smoke

It does what a cluster does: every process gets the address of the first and a
number of its own, and JAX joins them over the loopback. Each has one CPU
device, or --devices; lines of output begin with the number of the process.

SIGTERM and Ctrl-C are passed on to all. The first process that leaves with
another status than 0 decides the status of the whole (128 + n if signal n
ended it), as the others cannot go on without it: like `srun` with
--kill-on-bad-exit=1, this ends them by a SIGTERM, and --grace seconds later by
a SIGKILL. With diffax.main that status is 0 done, 75 saved and wants to be
started again, 2 a mistake of the user, other a fault.
"""

import argparse
from collections.abc import Iterator, Sequence
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from types import FrameType

_POLL = 0.05


def environments(count: int, devices: int, port: int) -> list[dict[str, str]]:
  """Return the variables by which JAX joins processes, for each of them.

  Args:
    count: of processes.
    devices: CPU devices of each.
    port: free one, for the first process.
  """
  return [
      {
          'JAX_PLATFORMS': 'cpu',
          'PYTHONUNBUFFERED': '1',
          **os.environ,
          'JAX_NUM_CPU_DEVICES': str(devices),
          'JAX_COORDINATOR_ADDRESS': f'localhost:{port}',
          'JAX_NUM_PROCESSES': str(count),
          'JAX_PROCESS_ID': str(k),
      }
      for k in range(count)
  ]


def free_port() -> int:
  """Return a port that nothing listens on now."""
  with socket.socket() as probe:
    probe.bind(('localhost', 0))
    return probe.getsockname()[1]


def run(
    command: Sequence[str], count: int, devices: int = 1, grace: float = 30.0
) -> int:
  """Run a command as several processes and wait for all.

  Args:
    command: and its arguments.
    count: of processes.
    devices: CPU devices of each.
    grace: seconds between SIGTERM and SIGKILL once one has failed.

  Returns:
    The exit status of the whole.
  """
  processes = [
      subprocess.Popen(
          command, env=variables, stdin=subprocess.DEVNULL,
          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
          errors='replace', start_new_session=True,
      )
      for variables in environments(count, devices, free_port())
  ]
  readers = [
      threading.Thread(target=_echo, args=(process, k))
      for k, process in enumerate(processes)
  ]
  for reader in readers:
    reader.start()
  with _forwarded(processes):
    status = _wait(processes, grace)
  for reader in readers:
    reader.join()
  return status


def _wait(processes: Sequence[subprocess.Popen[str]], grace: float) -> int:
  """Return the first bad status, or 0, when none runs any more."""
  first, deadline = 0, float('inf')
  running = list(processes)
  while running:
    for process in list(running):
      status = process.poll()
      if status is None:
        continue
      running.remove(process)
      if status and not first:
        first, deadline = status, time.monotonic() + grace
        for other in running:
          other.terminate()
    if time.monotonic() > deadline:
      for process in running:
        process.kill()
    time.sleep(_POLL)
  return first if first >= 0 else 128 - first


def _echo(process: subprocess.Popen[str], number: int) -> None:
  assert process.stdout is not None
  with process.stdout as lines:
    for line in lines:
      # One write: lines of several processes do not mix.
      sys.stdout.write(f'[{number}] {line.rstrip()}\n')
      sys.stdout.flush()


@contextlib.contextmanager
def _forwarded(processes: Sequence[subprocess.Popen[str]]) -> Iterator[None]:
  def forward(number: int, frame: FrameType | None) -> None:
    del frame
    for process in processes:
      process.send_signal(number)

  wanted = signal.SIGTERM, signal.SIGINT
  old = {each: signal.signal(each, forward) for each in wanted}
  try:
    yield
  finally:
    for each, handler in old.items():
      signal.signal(each, handler)


def main(argv: Sequence[str]) -> int:
  """Read the command line and run."""
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter,
      usage='local_processes.py [options] N -- command ...',
  )
  parser.add_argument('count', type=int, metavar='N', help='processes')
  parser.add_argument(
      '--devices', type=int, default=1, help='CPU devices of each process'
  )
  parser.add_argument(
      '--grace', type=float, default=30, metavar='SECONDS',
      help='between SIGTERM and SIGKILL once one has failed',
  )
  # A second `--` is the command's own.
  place = argv.index('--') if '--' in argv else len(argv)
  given, command = parser.parse_args(argv[:place]), argv[place + 1:]
  if given.count < 1 or given.devices < 1:
    parser.error('N and --devices: expected at least 1')
  if not command:
    parser.error('expected a command after --')
  try:
    return run(command, given.count, given.devices, given.grace)
  except OSError as error:
    parser.error(f'{command[0]}: cannot start: {error}')


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
