#!/usr/bin/env python3
"""Run one run of a sweep as a job of submitit, and wait for it.

`sweep.py --slurm` starts this program where it would start diffax.main:

  job.py OPTIONS --config=... --workdir=...

OPTIONS is JSON: the `command` that trains, submitit's `cluster` and the
`parameters` of its executor. The exit status is that of the run. It imports
nothing heavy, as a sweep has many of it on a login node.

The job and this program speak through files in WORKDIR/slurm, on a disk that
both see: `job` holds the job's number until its status is reported, so that a
sweep that is started again finds its job; when `stop` appears, the job tells
the run to save and leave.
"""

from collections.abc import Mapping, Sequence
import json
import pathlib
import signal
import subprocess
import sys
import time
from types import FrameType
from typing import Any

import submitit
from submitit import helpers
from submitit.core import utils

STOPPED = 75
_POLL = 1.0


class Training:
  """What a job does: one run, told to save when the job has to end.

  Args:
    command: with all its flags.
    stop: a file; when it appears, the run is told to save and leave.
  """

  def __init__(self, command: Sequence[str], stop: pathlib.Path):
    self.command, self.stop = list(command), stop
    self._child: subprocess.Popen[bytes] | None = None

  def __call__(self) -> int:
    """Return the exit status of the run."""
    if self.stop.exists():
      return STOPPED
    # submitit ignores SIGTERM, which would then not be passed on.
    signal.signal(signal.SIGTERM, lambda *_: self.stop.touch())
    self._child = subprocess.Popen(self.command)
    told = False
    while True:
      try:
        return self._child.wait(_POLL)
      except subprocess.TimeoutExpired:
        if self.stop.exists() and not told:
          self._child.terminate()
          told = True

  def checkpoint(self) -> helpers.DelayedSubmission:
    """Save before the time limit; submitit puts the job into the queue again.

    Returns:
      What it submits: the same run, which resumes.
    """
    if self._child is not None:
      self._child.terminate()
      self._child.wait()
    return helpers.DelayedSubmission(Training(self.command, self.stop))


def find(
    executor: submitit.AutoExecutor, folder: pathlib.Path
) -> submitit.Job[int] | None:
  """Return the job that a sweep before this one submitted and left."""
  record = folder / 'job'
  if not record.is_file():
    return None
  job = executor.job_class(folder, record.read_text(), tasks=[0])
  print(f'job {job.job_id} was submitted before', flush=True)
  return job


def start(
    executor: submitit.AutoExecutor, folder: pathlib.Path,
    command: Sequence[str]
) -> submitit.Job[int]:
  """Submit a run."""
  stop = folder / 'stop'
  stop.unlink(missing_ok=True)
  job = executor.submit(Training(command, stop))
  (folder / 'job').write_text(job.job_id)
  print(f'job {job.job_id} is submitted, see {job.paths.stdout}', flush=True)
  return job


def wait(job: submitit.Job[int], folder: pathlib.Path) -> int:
  """Wait for a job and return its exit status; a SIGTERM stops it.

  Args:
    job: that runs or waits.
    folder: of its files.
  """

  def ask(number: int, frame: FrameType | None) -> None:
    del number, frame
    (folder / 'stop').touch()
    if job.state == 'PENDING':
      job.cancel()
      (folder / 'job').unlink(missing_ok=True)
      raise SystemExit(STOPPED)

  signal.signal(signal.SIGTERM, ask)
  try:
    while not job.done():
      time.sleep(_POLL)
    status = job.result()
  except (utils.UncompletedJobError, utils.FailedJobError) as error:
    print(f'job {job.job_id}: {error}')
    status = 1
  (folder / 'job').unlink(missing_ok=True)
  print(f'job {job.job_id} left with status {status}', flush=True)
  return status


def main(options: Mapping[str, Any], flags: Sequence[str]) -> int:
  """Run one run as a job.

  Args:
    options: see above.
    flags: of the run; the last one names its folder.

  Returns:
    The exit status of the run.
  """
  workdir = pathlib.Path(flags[-1].partition('=')[2])
  folder = (workdir / 'slurm').absolute()
  folder.mkdir(parents=True, exist_ok=True)
  try:
    executor = submitit.AutoExecutor(folder, cluster=options['cluster'])
    executor.update_parameters(
        name=workdir.parent.name, **options['parameters']
    )
  except (RuntimeError, NameError, TypeError, AssertionError) as error:
    print(f'error: --slurm: {error}', file=sys.stderr)
    return 2
  job = find(executor, folder)
  if job is None:
    job = start(executor, folder, [*options['command'], *flags])
  return wait(job, folder)


if __name__ == '__main__':
  sys.exit(main(json.loads(sys.argv[1]), sys.argv[2:]))
