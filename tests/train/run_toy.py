"""Train the toy as a program: run_toy.py WORKDIR STEPS EVERY DELAY."""

import pathlib
import sys
import time

import toy

from diffax.train import devices
from diffax.train import loop


def main(workdir, steps, every, delay):
  """Train with so many seconds between the batches."""
  devices.initialise()
  batches = toy.train()

  def slow(step):
    time.sleep(float(delay))
    return batches(step)

  arguments = dict(toy.ARGUMENTS, checkpoint={'every': int(every), 'keep': 2})
  loop.fit(
      toy.system(), slow, steps=int(steps), workdir=pathlib.Path(workdir),
      **arguments,
  )


if __name__ == '__main__':
  main(*sys.argv[1:])
