"""Time a live stream: from the arrival of a frame to its futures.

Run:   python -m tests.benchmarks.streaming
       python -m tests.benchmarks.streaming --steps 10 5 2 1 --sampler ddim
       python -m tests.benchmarks.streaming --variant smoke --calls 20

The networks have the sizes of `experiments/skeleton_amass.py` and random
weights, on which times do not depend. Median and 99th percentile of calls, one
after the other, after a warm-up: every call takes one pose, bridges the past,
draws K futures by the given number of steps, decodes them and fetches them.
At 60 frames per second a call that takes longer than 17 ms cannot follow every
frame; it then predicts at every n-th.
"""

import argparse
import json
import time
from typing import Any

from experiments import skeleton_amass
import jax
import numpy as np
import rich

from diffax import benchmark
from diffax import config as configs
from diffax.body import skeletons
from diffax.data.base import Source
from diffax.sampling import streaming
from diffax.trained import Trained


def build(
    variant: str, steps: int, sampler: str, samples: int | None
) -> tuple[Trained, int]:
  """Return the model of the card with random weights, and its parameters."""
  config = skeleton_amass.get_config(variant)
  config.diffusion.system.sampler.update({'name': sampler, 'steps': steps})
  if samples is not None:
    config.diffusion.system.samples = samples
  body, fps = skeletons.AMASS21, config.data.fps
  info: dict[str, Any] = {
      'name': 'random weights', 'skeleton': body, 'fps': fps,
      'past': round(config.data.past_seconds * fps),
      'future': round(config.data.future_seconds * fps),
      'classes': ('any',),
  }
  system = configs.system(configs.stage(config, 'diffusion'), info)
  batch = {
      part: np.zeros((1, info[part], body.num_nodes, 3), np.float32)
      for part in ('past', 'future')
  }
  weights = jax.jit(lambda key: system.init(key, batch))(jax.random.key(0))
  call = jax.jit(system.sample)
  model = Trained(
      Source(info, lambda step: batch, lambda split: batch),
      lambda batch, key: call(*weights, dict(batch), key),
  )
  return model, benchmark.count(weights)


def main() -> None:
  """Time them and print the table."""
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--variant', default='', help='of the card')
  parser.add_argument('--steps', type=int, nargs='+', default=[10, 5, 2])
  parser.add_argument('--sampler', default='ddpm')
  parser.add_argument('--samples', type=int, help='K, by default the card\'s')
  parser.add_argument('--calls', type=int, default=1000)
  given = parser.parse_args()
  rows = []
  for steps in given.steps:
    model, parameters = build(
        given.variant, steps, given.sampler, given.samples
    )
    start = time.perf_counter()
    predictor = streaming.StreamingPredictor(model)
    compiled = time.perf_counter() - start
    found = streaming.latency(predictor, given.calls)
    rows.append({
        'steps': steps,
        'parameters': parameters,
        'median s': found.median,
        '99th percentile s': found.percentile_99,
        'calls per second': 1 / found.median,
        'first call s': compiled,
    })
    rich.print(json.dumps(rows[-1]))
  rich.print(json.dumps({
      'variant': given.variant or 'AMASS size',
      'sampler': given.sampler,
      'calls': given.calls,
      'device': jax.devices()[0].device_kind,
      'rows': rows,
  }, indent=2))


if __name__ == '__main__':
  main()
