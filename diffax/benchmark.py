"""Time a system on this machine: `--mode=benchmark`.

Times are medians of calls after a warm-up, every call awaited. Work is counted
from the traced program: two operations per multiply-add of every matrix product
and convolution, loop bodies times their trip count. The machine's peak is
measured in the same run as the best rate of square float32 products.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
import functools
import json
import math
import pathlib
import resource
import statistics
import time
from typing import Any, NamedTuple

from jax.extend import core as jex_core
import jax
import jax.numpy as jnp
import rich.console
import rich.table

from diffax import config as configs
from diffax.train import optim
from diffax.train import state as states
from diffax.train import step as steps

_PEAK_SIDE = 2048


class Timing(NamedTuple):
  """Median seconds of a call and the operations of products in it."""

  seconds: float
  flops: float


def count(tree: Any) -> int:
  """Return the number of parameters in a tree of arrays or shapes."""
  return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def flops(function: Callable[..., Any], *args: Any) -> float:
  """Count the operations of all products and convolutions in one call.

  Args:
    function: a traceable function.
    *args: its arguments, arrays or shapes.

  Returns:
    2 x multiply-adds; the body of a scan counts as often as it runs, of the
    branches of a conditional the largest counts.
  """
  return _jaxpr_flops(jax.make_jaxpr(function)(*args).jaxpr)


def _jaxpr_flops(jaxpr: Any) -> float:
  return sum(_equation_flops(equation) for equation in jaxpr.eqns)


def _equation_flops(equation: Any) -> float:
  if equation.primitive.name == 'dot_general':
    (contracting, _), _ = equation.params['dimension_numbers']
    left, out = equation.invars[0].aval.shape, equation.outvars[0].aval.shape
    return 2.0 * math.prod(out) * math.prod(left[i] for i in contracting)
  if equation.primitive.name == 'conv_general_dilated':
    return _convolution_flops(equation)
  inner = [_jaxpr_flops(j) for j in _inner_jaxprs(equation.params.values())]
  if equation.primitive.name == 'scan':
    return equation.params['length'] * sum(inner)
  return max(inner, default=0.0) if 'branches' in equation.params else sum(
      inner
  )


def _convolution_flops(equation: Any) -> float:
  """Count 2 for each tap and input feature of each output number.

  Zeros that padding or dilation put between numbers count like others.
  """
  kernel = equation.invars[1].aval.shape
  features = equation.params['dimension_numbers'].rhs_spec[0]
  taps = math.prod(kernel) / kernel[features]
  return 2.0 * math.prod(equation.outvars[0].aval.shape) * taps


def _inner_jaxprs(values: Iterable[Any]) -> list[Any]:
  found = []
  for value in values:
    if isinstance(value, jex_core.ClosedJaxpr):
      found.append(value.jaxpr)
    elif isinstance(value, jex_core.Jaxpr):
      found.append(value)
    elif isinstance(value, (tuple, list)):
      found.extend(_inner_jaxprs(value))
  return found


def seconds(call: Callable[[], Any], repeats: int) -> float:
  """Return the median wall time of `call`, its result awaited, warmed up."""
  jax.block_until_ready(call())
  times = []
  for _ in range(repeats):
    start = time.perf_counter()
    jax.block_until_ready(call())
    times.append(time.perf_counter() - start)
  return statistics.median(times)


def peak(repeats: int = 9) -> float:
  """Measure this machine's rate of float32 matrix products, operations/s."""
  x = jax.random.normal(jax.random.key(0), (_PEAK_SIDE, _PEAK_SIDE))
  product = jax.jit(jnp.matmul)
  jax.block_until_ready(product(x, x))
  times = []
  for _ in range(repeats):
    start = time.perf_counter()
    jax.block_until_ready(product(x, x))
    times.append(time.perf_counter() - start)
  return 2.0 * _PEAK_SIDE**3 / min(times)


def stage_timings(
    settings: Mapping[str, Any],
    batch_size: int,
    pasts: int,
    repeats: int,
    given: Sequence[str] | None = None,
) -> tuple[dict[str, int], dict[str, Timing]]:
  """Time one training step and one sampling call of a stage.

  Args:
    settings: of the stage, from `configs.stage`.
    batch_size: of the training step.
    pasts: batch size of the sampling call, the conditions; at most that of
      the training step.
    repeats: timed calls.
    given: parts of a batch that the sampling call sees; all by default.

  Returns:
    Parameter counts (`params`, `frozen`), and timings by name.
  """
  settings = {**settings, 'batch_size': batch_size}
  # Whole futures, where a curriculum would cut them.
  settings['data'] = {
      k: v for k, v in settings['data'].items() if k != 'curriculum'
  }
  settings, source, system = configs.parts(settings)
  batch = jax.tree.map(jnp.asarray, source.train(0))
  optimiser = optim.optimiser(**settings['optim'])
  key = jax.random.key(0)
  state = jax.jit(
      lambda key: states.create(system, optimiser, key, batch)
  )(key)
  counts = {'params': count(state.params), 'frozen': count(state.frozen)}
  step = steps.make_step(system, optimiser, settings['ema'])
  sample = jax.jit(system.sample)
  few = {k: v[:pasts] for k, v in batch.items() if given is None or k in given}
  drawn = len(jax.tree.leaves(few)[0])
  work = {
      f'training step, batch {batch_size}': functools.partial(
          jax.jit(step), state, batch
      ),
      f'sampling, {drawn} condition(s)': functools.partial(
          sample, state.params, state.frozen, few
      ),
  }
  timings = {
      name: Timing(
          seconds(functools.partial(call, key), repeats), flops(call, key)
      )
      for name, call in work.items()
  }
  return counts, timings


def run(config: Any, workdir: pathlib.Path) -> dict[str, Any]:
  """Time every stage of a config and print and save the table.

  Args:
    config: with `benchmark = {batch_size: {stage: int}, pasts, repeats}`, and
      `given = {stage: names}` where samples follow from some parts of a batch.
    workdir: where `benchmark.json` goes.

  Returns:
    What was written.
  """
  section = config.benchmark.to_dict()
  rate = peak()
  rows: dict[str, Any] = {
      'device': jax.devices()[0].device_kind,
      'peak_gflops': rate / 1e9,
      'stages': {},
  }
  table = rich.table.Table(title=f'peak {rate / 1e9:.0f} GFLOP/s, float32')
  for column in ('stage', 'parameters', 'what', 's', 'GFLOP', 'of peak'):
    table.add_column(column, justify='right')
  for name in config.stages:
    counts, timings = stage_timings(
        configs.stage(config, name),
        section['batch_size'][name],
        section['pasts'],
        section['repeats'],
        section.get('given', {}).get(name),
    )
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    rows['stages'][name] = {
        **counts, 'peak_resident_gib_so_far': memory, 'timings': {}
    }
    for what, timing in timings.items():
      share = timing.flops / timing.seconds / rate
      rows['stages'][name]['timings'][what] = {
          **timing._asdict(), 'share_of_peak': share
      }
      table.add_row(
          name, f'{counts["params"]:,}', what, f'{timing.seconds:.3f}',
          f'{timing.flops / 1e9:.1f}', f'{share:.0%}',
      )
    print(f'{name}: peak resident memory so far {memory:.2f} GiB')
  rich.console.Console().print(table)
  workdir.mkdir(parents=True, exist_ok=True)
  (workdir / 'benchmark.json').write_text(json.dumps(rows, indent=2) + '\n')
  return rows
