"""Time an evaluation at AMASS size: 12,727 segments, 50 futures of each.

Run:   python -m tests.benchmarks.evaluation
       python -m tests.benchmarks.evaluation --segments=512 --batches=2

The multimodal truth is searched among all segments, as an evaluation does it.
Metrics and futures are timed on some batches of 16 after a warm-up; medians,
extrapolated to all segments, on which work depends only by the number of each
one's truths. Segments are generated motion, each turned at random about the
vertical, networks have the sizes of `experiments/skeleton_amass.py` and random
weights: times depend on neither.
"""

import argparse
import json
import math
import resource
import time
from typing import Any

import jax
import numpy as np
import rich

from diffax import benchmark
from diffax.body import skeletons
from diffax.data import synthetic
from diffax.metrics import suite as suites
from tests.benchmarks import streaming

FPS, PAST, FUTURE = 60, 30, 120
_SECONDS = 15.0
_STEP = 15


def segments(count: int) -> tuple[np.ndarray, np.ndarray]:
  """Return pasts `[N, 30, 21, 3]` and futures `[N, 120, 21, 3]`, metres."""
  whole = PAST + FUTURE
  starts = range(0, round(_SECONDS * FPS) - whole + 1, _STEP)
  persons = max(6, math.ceil(count / len(synthetic.HABITS) / len(starts)))
  random = np.random.default_rng(0)
  found = np.empty((count, whole, skeletons.AMASS21.num_nodes, 3), np.float32)
  number = 0
  for clip in synthetic.generate(0, persons, _SECONDS, FPS):
    poses = np.asarray(clip.positions)
    poses = (poses - poses[:, :1])[:, 1:]
    for start in starts:
      if number < count:
        angle = random.uniform(0, 2 * np.pi)
        cos, sin = np.cos(angle), np.sin(angle)
        turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
        found[number] = poses[start:start + whole] @ turn.T
        number += 1
  return found[:, :PAST], found[:, PAST:]


def main() -> None:
  """Time the parts and print what a whole evaluation takes."""
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--segments', type=int, default=12_727)
  parser.add_argument('--samples', type=int, default=50)
  parser.add_argument('--batch_size', type=int, default=16)
  parser.add_argument('--batches', type=int, default=8, help='that are timed')
  parser.add_argument('--variant', default='', help='of the card')
  given = parser.parse_args()
  past, future = segments(given.segments)

  began = time.perf_counter()
  truth = jax.block_until_ready(suites.truth(past, future, threshold=0.4))
  searched = time.perf_counter() - began
  found: dict[str, Any] = {
      'segments': given.segments, 'samples': given.samples,
      'truths of a segment': float(np.mean(truth.sets.counts)),
      'search of truths s': searched,
  }

  measure = suites.suite(skeletons.AMASS21)
  random = np.random.default_rng(1)
  every = np.linspace(0, given.segments - 1, given.batches * given.batch_size)
  indices = iter(np.tile(
      every.astype(np.int32).reshape(given.batches, given.batch_size), (2, 1)
  ))

  noise = 0.1 * random.standard_normal(
      (given.batch_size, given.samples, *future.shape[1:]), np.float32
  )

  def metrics() -> Any:
    index = next(indices)
    return measure(future[index][:, None] + noise, index, truth)

  share = benchmark.seconds(metrics, given.batches)
  found['metrics of a batch s'] = share

  model, parameters = streaming.build(given.variant, 10, 'ddpm', given.samples)
  batch = {'past': past[:given.batch_size]}
  sampled = benchmark.seconds(
      lambda: model.sample(batch, jax.random.key(0)), min(given.batches, 3)
  )
  calls = math.ceil(given.segments / given.batch_size)
  memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
  found |= {
      'parameters': parameters,
      'futures of a batch s': sampled,
      'metrics of all, with the search, min': (searched + calls * share) / 60,
      'whole evaluation, min': (searched + calls * (share + sampled)) / 60,
      'timed share': given.batches / calls,
      'peak resident memory GiB': memory,
      'GFLOP/s of this machine': benchmark.peak() / 1e9,
  }
  rich.print(json.dumps(found, indent=2))


if __name__ == '__main__':
  main()
