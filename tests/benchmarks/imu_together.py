"""Time the networks of all classes in one step against one after the other.

Run:   python -m tests.benchmarks.imu_together
       python -m tests.benchmarks.imu_together --variant=budget --repeats=9

All train the card's networks on the same windows: those of all K classes side
by side in one compiled step (`systems.ensemble`), K calls of the compiled step
of one, and one step of the conditional network, which replaces all K. Medians
of calls in turns, after a warm-up.
"""

import argparse
import json
import statistics
import time
from typing import Any

from experiments import imu_synthetic
import jax
import jax.numpy as jnp
import rich

from diffax import benchmark
from diffax import config as configs
from diffax.train import optim
from diffax.train import state as states
from diffax.train import step as steps


def build(variant: str, **changes: Any) -> tuple[Any, dict[str, Any]]:
  """Return a compiled step with its state, and a batch of all classes."""
  config = imu_synthetic.get_config(variant)
  config.system.update(changes)
  settings, source, system = configs.parts(configs.stage(config, 'diffusion'))
  batch = jax.tree.map(jnp.asarray, source.train(0))
  optimiser = optim.optimiser(**settings['optim'])
  state = jax.jit(
      lambda key: states.create(system, optimiser, key, batch)
  )(jax.random.key(0))
  step = jax.jit(steps.make_step(system, optimiser, settings['ema']))
  return (step, state), batch


def single(variant: str, batch: dict[str, Any]) -> tuple[Any, Any]:
  """Return the compiled step of one class, with its state."""
  config = imu_synthetic.get_config(variant)
  # A conditional system of one class is the member that `per_class` repeats,
  # but for an embedding of that class.
  config.system.update({
      'conditional': True, 'class_dropout': 0.0, 'guidance': 1.0,
  })
  settings, source, _ = configs.parts(configs.stage(config, 'diffusion'))
  system = configs.system(settings, {
      **source.info, 'classes': source.info['classes'][:1],
      'picked': {**batch, 'label': jnp.zeros_like(batch['label'])},
  })
  optimiser = optim.optimiser(**settings['optim'])
  state = jax.jit(
      lambda key: states.create(system, optimiser, key, batch)
  )(jax.random.key(0))
  return jax.jit(steps.make_step(system, optimiser, settings['ema'])), state


def main() -> None:
  """Time them and print the ratio."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--variant', default='')
  parser.add_argument('--repeats', type=int, default=5)
  given = parser.parse_args()
  key = jax.random.key(1)
  apart = {'conditional': False, 'class_dropout': 0.0, 'guidance': 1.0}
  together, batch = build(given.variant, **apart)
  conditional, _ = build(given.variant, conditional=True, guidance=1.0)
  classes = int(batch['label'].max()) + 1
  parts = [
      {name: x[batch['label'] == k] * (1 if name == 'window' else 0)
       for name, x in batch.items()}
      for k in range(classes)
  ]
  alone, state = single(given.variant, parts[0])
  calls = {
      'all side by side in one step': lambda: together[0](
          together[1], batch, key
      ),
      'one class after the other': lambda: [
          alone(state, part, key) for part in parts
      ],
      'one conditional network': lambda: conditional[0](
          conditional[1], batch, key
      ),
  }
  times: dict[str, list[float]] = {name: [] for name in calls}
  for call in calls.values():
    jax.block_until_ready(call())
  for _ in range(given.repeats):
    for name, call in calls.items():
      start = time.perf_counter()
      jax.block_until_ready(call())
      times[name].append(time.perf_counter() - start)
  medians = {name: statistics.median(found) for name, found in times.items()}
  side, turns, one = medians.values()
  rich.print(json.dumps({
      'variant': given.variant or 'paper size',
      'windows': len(batch['label']),
      'parameters': {
          'all classes': benchmark.count(together[1].params),
          'one class': benchmark.count(state.params),
          'conditional': benchmark.count(conditional[1].params),
      },
      'seconds': medians,
      'one after the other / side by side': turns / side,
      'one after the other / conditional': turns / one,
  }, indent=2))


if __name__ == '__main__':
  main()
