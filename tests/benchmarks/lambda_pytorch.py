"""Time the LaMbDA twin written plainly in PyTorch, and ours beside it.

  python tests/benchmarks/lambda_pytorch.py --batch 16 --length 300
  python tests/benchmarks/lambda_pytorch.py --ours experiments/lambda_lorenz.py

The rival is what one writes without thinking of speed: the layers that
`torch.nn` has, eager, its optimiser, its moving average. Both train the same
model on the same loss: two denoisers, x_0 and energy errors, window contrast
and covariance of the batch under a learned weight; gradients clipped, AdamW,
averaged weights. With `--ours` the sizes are those of the card, the weights of
a flax twin are copied into PyTorch once, and the largest difference of what
the two then predict is printed beside the parameter counts and times: they are
one model.

`torch.nn` also drops attention weights, for which its CPU kernels leave their
fast path; ours drops after attention only, and so does the rival unless
`--attention_dropout` says otherwise.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping
import os
import runpy
import statistics
import sys
import time
from typing import Any, NamedTuple

STEPS = 1000
WINDOW = 10
TEMPERATURE = 0.1
BOUND = 3.0


class Network(NamedTuple):
  """Sizes of a denoiser, named as in the cards."""

  width: int = 128
  encoder_layers: int = 4
  decoder_layers: int = 4
  heads: int = 4
  hidden: int = 512
  dropout: float = 0.1
  patch: int = 1


def denoiser(
    network: Network, channels: int, given: int, attention_dropout: float
) -> Any:
  """Build the layers of a denoiser.

  Args:
    network: sizes.
    channels: of the denoised modality.
    given: channels of the other.
    attention_dropout: rate at which attention weights are dropped.

  Returns:
    A torch.nn.ModuleDict.
  """
  from torch import nn
  width, patch = network.width, network.patch
  options: dict[str, Any] = {
      'd_model': width, 'nhead': network.heads,
      'dim_feedforward': network.hidden, 'dropout': network.dropout,
      'activation': 'gelu', 'batch_first': True, 'norm_first': True,
  }
  parts = nn.ModuleDict({
      'read': nn.Linear(channels * patch, width),
      'condition': nn.Linear(given * patch, width),
      'time': nn.Sequential(
          nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width)
      ),
      'encoder': nn.TransformerEncoder(
          nn.TransformerEncoderLayer(**options), network.encoder_layers,
          nn.LayerNorm(width), enable_nested_tensor=False
      ),
      'decoder': nn.TransformerDecoder(
          nn.TransformerDecoderLayer(**options), network.decoder_layers,
          nn.LayerNorm(width)
      ),
      'write': nn.Linear(width, channels * patch),
  })
  for module in parts.modules():
    if isinstance(module, nn.MultiheadAttention):
      module.dropout = attention_dropout
  return parts


def sinusoidal(t: Any, width: int) -> Any:
  """Embed times or places `[N]` as `[N, width]`, the sines first."""
  import torch
  half = width // 2
  rates = 10000.0 ** (-torch.arange(half) / (half - 1))
  angles = t[:, None].float() * rates
  return torch.cat([angles.sin(), angles.cos()], dim=-1)


def denoise(
    parts: Any, patch: int, xt: Any, t: Any, given: Any
) -> tuple[Any, Any]:
  """Return x_0 `[B, L, C]` and the latents `[B, L / patch, D]`."""
  import torch
  tokens, embedded = (
      x.reshape(x.shape[0], x.shape[1] // patch, -1) for x in (xt, given)
  )
  width = parts['read'].out_features
  place = sinusoidal(torch.arange(tokens.shape[1]), width)
  place = place[None] + parts['time'](sinusoidal(t, width))[:, None]
  z = parts['encoder'](parts['read'](tokens) + place)
  out = parts['decoder'](parts['condition'](embedded) + place, z)
  return parts['write'](out).reshape(xt.shape), z


def signal() -> Any:
  """Return the accumulated signal of the cosine schedule `[STEPS]`."""
  import torch
  u = torch.arange(STEPS + 1, dtype=torch.float64) / STEPS
  power = torch.cos((u + 0.008) / 1.008 * torch.pi / 2) ** 2
  betas = (1 - power[1:] / power[:-1]).clamp(max=0.999)
  return torch.cumprod(1 - betas, 0).float()


def energy(pred: Any, truth: Any) -> Any:
  """Return the mean squared error of energies of first differences."""
  error = (pred.diff(dim=1) ** 2 - truth.diff(dim=1) ** 2) / 2
  return (error**2).mean()


def contrast(z_x: Any, z_y: Any, size: int) -> Any:
  """Return the InfoNCE of windows of `size` tokens, from X to Y."""
  import torch
  from torch.nn import functional
  batch, length, _ = z_x.shape
  count = length // size
  x, y = (
      functional.normalize(
          z[:, :count * size].reshape(batch * count, -1), dim=-1
      )
      for z in (z_x, z_y)
  )
  return functional.cross_entropy(
      x @ y.T / TEMPERATURE, torch.arange(batch * count)
  )


def covariance(z_x: Any, z_y: Any) -> Any:
  """Return the mean squared difference of covariances over the batch."""
  import torch
  found = []
  for z in (z_x, z_y):
    z = z - z.mean(dim=0)
    found.append(torch.einsum('bli,blj->lij', z, z) / (len(z) - 1))
  return ((found[0] - found[1]) ** 2).mean()


def objective(
    model: Any, patch: int, clean: tuple[Any, Any], noisy: tuple[Any, Any],
    t: Any
) -> Any:
  """Return the loss of the twin, a scalar."""
  pred_x, z_x = denoise(model['x'], patch, noisy[0], t, clean[1])
  pred_y, z_y = denoise(model['y'], patch, noisy[1], t, clean[0])
  losses = [
      ((pred - truth) ** 2).mean() + energy(pred, truth)
      for pred, truth in zip((pred_x, pred_y), clean)
  ]
  # A window is WINDOW samples long, or one token.
  size = max(WINDOW // patch, 1)
  aligned = contrast(z_x, z_y, size) + covariance(z_x, z_y)
  s = model['weight'].log_weight.clamp(-BOUND, BOUND)
  return sum(losses) + (-s).exp() * aligned + s


def trainer(
    model: Any, patch: int, clean: tuple[Any, Any]
) -> Callable[[], float]:
  """Return a function that trains the model by one step."""
  import torch
  from torch.optim import swa_utils
  power = signal()
  weight = [model['weight'].log_weight]
  groups: list[dict[str, Any]] = [
      {'params': [p for p in model.parameters() if p is not weight[0]]},
      {'params': weight, 'lr': 1e-3, 'weight_decay': 0.0},
  ]
  optimiser = torch.optim.AdamW(groups, lr=2e-4, weight_decay=1e-2)
  average = swa_utils.AveragedModel(
      model, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.999)
  )

  def step() -> float:
    t = torch.randint(1, STEPS + 1, (len(clean[0]),))
    alpha2 = power[t - 1][:, None, None]
    noisy = tuple(
        alpha2.sqrt() * x + (1 - alpha2).sqrt() * torch.randn_like(x)
        for x in clean
    )
    loss = objective(model, patch, clean, noisy, t)
    optimiser.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    average.update_parameters(model)
    return loss.item()

  return step


def twin(
    network: Network, channels: tuple[int, int], attention_dropout: float
) -> Any:
  """Build both denoisers and the weight of the alignment."""
  import torch
  from torch import nn
  x, y = channels
  weight = nn.Module()
  weight.register_parameter('log_weight', nn.Parameter(torch.zeros(())))
  return nn.ModuleDict({
      'x': denoiser(network, x, y, attention_dropout),
      'y': denoiser(network, y, x, attention_dropout),
      'weight': weight,
  })


def count(model: Any) -> int:
  """Return how many numbers a torch model trains."""
  return sum(p.numel() for p in model.parameters())


def torch_step(
    model: Any, network: Network, channels: tuple[int, int],
    arguments: argparse.Namespace
) -> Callable[[], float]:
  """Return a training step of the torch model on noise."""
  import torch
  clean = (
      torch.randn(arguments.batch, arguments.length, channels[0]),
      torch.randn(arguments.batch, arguments.length, channels[1]),
  )
  return trainer(model.train(), network.patch, clean)


def card_settings(
    path: str, length: int
) -> tuple[dict[str, Any], Network, tuple[int, int]]:
  """Read a card `FILE[:variant]`: its stage, its sizes, its channels."""
  from diffax import config as configs
  file, _, variant = path.partition(':')
  config = runpy.run_path(file)['get_config'](variant)
  config.data.length = length
  settings = configs.stage(config, 'twin')
  sizes = settings['system']['network']
  network = Network(**{k: sizes[k] for k in Network._fields})
  _, source, _ = configs.parts(settings)
  x, y = source.info['modalities'].values()
  return settings, network, (x, y)


def our_step(
    settings: Mapping[str, Any], batch_size: int
) -> tuple[int, Callable[[], Any]]:
  """Return how many numbers the card's twin trains, and a training step."""
  import jax

  from diffax import benchmark
  from diffax import config as configs
  from diffax.train import optim
  from diffax.train import state as states
  from diffax.train import step as steps
  settings, source, system = configs.parts(
      {**settings, 'batch_size': batch_size}
  )
  batch = jax.tree.map(jax.numpy.asarray, source.train(0))
  optimiser = optim.optimiser(**settings['optim'])
  key = jax.random.key(0)
  state = jax.jit(
      lambda key: states.create(system, optimiser, key, batch)
  )(key)
  step = jax.jit(steps.make_step(system, optimiser, settings['ema']))
  return benchmark.count(state.params), lambda: jax.block_until_ready(
      step(state, batch, key)
  )


def medians(
    calls: Mapping[str, Callable[[], Any]], warmup: int, repeats: int
) -> dict[str, float]:
  """Time calls in turns, so that what else the machine does slows all.

  The first call of a turn is not counted: it has to get from the machine the
  memory that the other library gave back.
  """
  times: dict[str, list[float]] = {name: [] for name in calls}
  for turn in range(warmup + repeats):
    for name, call in calls.items():
      call()
      start = time.perf_counter()
      call()
      if turn >= warmup:
        times[name].append(time.perf_counter() - start)
  return {name: statistics.median(found) for name, found in times.items()}


def weights(ours: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
  """Name the numbers of a flax denoiser as torch does.

  Args:
    ours: its `params`.

  Yields:
    Name in the torch ModuleDict and array.
  """
  import numpy as np
  norms = {'encoder': ('self', ''), 'decoder': ('self', 'cross', '')}
  condition, = (k for k in ours if k.startswith('condition'))
  linears = {
      'read': ours['read'], 'write': ours['write'],
      'condition': ours[condition], 'time.0': ours['time']['hidden'],
      'time.2': ours['time']['output'],
  }
  for name in norms:
    yield from _norm(f'{name}.norm', ours[name]['norm'])
    stacked = ours[name]['layers']
    for i in range(len(stacked['in']['bias'])):
      at = f'{name}.layers.{i}'
      layer = _take(stacked, i)
      for j, kind in enumerate(norms[name]):
        norm = layer[f'norm_{kind}' if kind else 'norm']
        yield from _norm(f'{at}.norm{j + 1}', norm)
      linears |= {f'{at}.linear1': layer['in'], f'{at}.linear2': layer['out']}
      for kind, place in (('self', 'self_attn'), ('cross', 'multihead_attn')):
        if kind in layer:
          yield from _attention(f'{at}.{place}', layer[kind])
  for name, linear in linears.items():
    yield f'{name}.weight', np.asarray(linear['kernel']).T
    yield f'{name}.bias', np.asarray(linear['bias'])


def _take(tree: Any, i: int) -> Any:
  import numpy as np
  if isinstance(tree, Mapping):
    return {k: _take(v, i) for k, v in tree.items()}
  return np.asarray(tree[i])


def _norm(name: str, norm: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
  yield f'{name}.weight', norm['scale']
  yield f'{name}.bias', norm['bias']


def _attention(name: str, ours: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
  import numpy as np
  width = len(ours['out']['bias'])
  into = [ours[k] for k in ('query', 'key', 'value')]
  yield f'{name}.in_proj_weight', np.concatenate(
      [part['kernel'].reshape(width, width).T for part in into]
  )
  yield f'{name}.in_proj_bias', np.concatenate(
      [part['bias'].reshape(width) for part in into]
  )
  yield f'{name}.out_proj.weight', ours['out']['kernel'].reshape(
      width, width
  ).T
  yield f'{name}.out_proj.bias', ours['out']['bias']


def difference(
    model: Any, settings: Mapping[str, Any], network: Network
) -> float:
  """Copy weights from flax and compare what both predict.

  Args:
    model: torch twin of the same sizes; its weights are replaced.
    settings: of the card's stage.
    network: its sizes.

  Returns:
    The largest difference of x_0 and latents of X, without dropout.
  """
  import jax
  import numpy as np
  import torch

  from diffax import config as configs
  from diffax.systems import lambda_twin
  _, source, system = configs.parts({**settings, 'batch_size': 2})
  batch = {k: np.array(v) for k, v in source.train(0).items()}
  params = system.init(jax.random.key(0), batch).params
  x, y = source.info['modalities']
  ours = lambda_twin.networks(
      source.info, settings['system']['network'], False
  )[x]
  t = np.array([7, 700])
  want = ours.apply(params[x], batch[x], t, {y: batch[y]})
  copied = {
      k: torch.tensor(np.array(v)) for k, v in weights(params[x]['params'])
  }
  model['x'].load_state_dict(copied)
  model.eval()
  with torch.no_grad():
    got = denoise(
        model['x'], network.patch, torch.tensor(batch[x]), torch.tensor(t),
        torch.tensor(batch[y])
    )
  return max(
      float(np.max(np.abs(np.asarray(a) - b.numpy())))
      for a, b in zip(want, got)
  )


def show(counts: Mapping[str, int], seconds: Mapping[str, float]) -> None:
  """Print parameters, times and how many times faster than the first."""
  print(f'{"":10}{"parameters":>12}{"s / step":>10}{"steps / s":>11}'
        f'{"ratio":>7}')
  first = next(iter(seconds.values()))
  for name, each in seconds.items():
    print(f'{name:10}{counts[name]:12,}{each:10.3f}{1 / each:11.2f}'
          f'{first / each:7.2f}')


def parse(words: list[str]) -> argparse.Namespace:
  """Read the command line."""
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter
  )
  parser.add_argument('--steps', type=int, default=5, help='timed turns')
  parser.add_argument('--warmup', type=int, default=1, help='turns before')
  parser.add_argument('--batch', type=int, default=64)
  parser.add_argument('--length', type=int, default=300)
  parser.add_argument('--channels', type=int, nargs=2, default=(1, 1))
  parser.add_argument('--threads', type=int, default=2, help='CPU cores')
  parser.add_argument('--attention_dropout', type=float, default=0.0)
  parser.add_argument('--ours', help='card FILE[:variant] of ours to time too')
  return parser.parse_args(words)


def main(words: list[str]) -> None:
  """Time the models and print the table."""
  arguments = parse(words)
  # Both libraries size their thread pools by the cores they may use.
  if hasattr(os, 'sched_setaffinity'):
    cores = sorted(os.sched_getaffinity(0))[:arguments.threads]
    os.sched_setaffinity(0, cores)
  os.environ.setdefault('JAX_PLATFORMS', 'cpu')
  import torch
  torch.set_num_threads(arguments.threads)
  network, channels = Network(), tuple(arguments.channels)
  settings = None
  if arguments.ours:
    settings, network, channels = card_settings(
        arguments.ours, arguments.length
    )
  model = twin(network, channels, arguments.attention_dropout)
  if settings:
    gap = difference(model, settings, network)
    print(f'same weights: predictions and latents differ by {gap:.1e} at most')
  counts = {'PyTorch': count(model)}
  calls = {'PyTorch': torch_step(model, network, channels, arguments)}
  if settings:
    counts['diffax'], calls['diffax'] = our_step(settings, arguments.batch)
  show(counts, medians(calls, arguments.warmup, arguments.steps))


if __name__ == '__main__':
  main(sys.argv[1:])
