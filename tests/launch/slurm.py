"""Stands for SLURM's `srun`: tasks with the variables that JAX reads.

With --kill-on-bad-exit=1 the first task that fails ends the others, and the
status is the highest, as of the real one. A SIGTERM is passed on to the tasks,
as a SLURM daemon does for --signal.
"""

import os
import signal
import subprocess
import sys
import time


def main(argv):
  """Start SLURM_NTASKS tasks and wait for them."""
  command = argv[argv.index('bash'):]
  count = int(os.environ['SLURM_NTASKS'])
  tasks = [
      subprocess.Popen(command, env={
          **os.environ, 'SLURM_STEP_NODELIST': 'localhost',
          'SLURM_PROCID': str(k), 'SLURM_LOCALID': str(k),
      })
      for k in range(count)
  ]

  def forward(number, frame):
    del frame
    for task in tasks:
      task.send_signal(number)

  signal.signal(signal.SIGTERM, forward)
  told = '--kill-on-bad-exit=1' not in argv
  while None in (found := [task.poll() for task in tasks]):
    if not told and any(found):
      told = True
      forward(signal.SIGTERM, None)
    time.sleep(0.01)
  return max(128 - status if status < 0 else status for status in found)


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
