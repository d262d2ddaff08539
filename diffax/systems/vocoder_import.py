"""Import the published PyTorch weights of BigVGAN.

A release is a state dict and a `config.json`. Convolutions are kept as
`[O, I, K]` and transposed ones as `[I, O, K]` with their taps in the other
direction; ours are `[K, I, O]`. Where training normalised a weight, it is kept
as a length g and a direction v,

  (1)  w = g v / |v|,

with the norm over all axes but the first, and is multiplied out. The taps of
the low-pass are kept for each activation; they must be those of `low_pass`.

  released                            here
  conv_pre, conv_post                 in, out
  ups.I.0                             widen_I
  resblocks.N.convs1.D                block_I_J/conv_D, N = I blocks + J
  resblocks.N.convs2.D                block_I_J/conv_out_D
  resblocks.N.convs.D                 block_I_J/conv_D        (resblock "2")
  resblocks.N.activations.A.act       block_I_J/snake_D, snake_out_D, in turn
  activation_post.act                 snake

References:
  Lee et al., "BigVGAN", ICLR 2023; layouts of the code released with it.
"""

from collections.abc import Mapping
import json
import pathlib
from typing import Any, NamedTuple

import flax.traverse_util
import jax
import numpy as np

from diffax import signal
from diffax.errors import DataError
from diffax.errors import UserError
from diffax.nn.vocoder import low_pass
from diffax.nn.vocoder import Size
from diffax.nn.vocoder import SIZES
from diffax.systems import skeleton_import
from diffax.systems import vocoder
from diffax.typing import Params

State = Mapping[str, np.ndarray]

# Length and direction of Eq. 1, as old and as new PyTorch call them.
_NORMED = (
    ('weight_g', 'weight_v'),
    ('parametrizations.weight.original0', 'parametrizations.weight.original1'),
)
_FILTERS = ('.upsample.filter', '.downsample.lowpass.filter')
# Fields of `Size`: the names in a config, and what an absent one means.
_SIZE = {
    'rates': 'upsample_rates',
    'kernels': 'upsample_kernel_sizes',
    'width': 'upsample_initial_channel',
    'blocks': 'resblock_kernel_sizes',
    'dilations': 'resblock_dilation_sizes',
    'activation': 'activation',
    'logarithmic': 'snake_logscale',
    'pairs': 'resblock',
    'bias': 'use_bias_at_final',
    'tanh': 'use_tanh_at_final',
}
_MEL = {
    'rate': 'sampling_rate',
    'fft': 'n_fft',
    'hop': 'hop_size',
    'bands': 'num_mels',
    'fmin': 'fmin',
    'fmax': 'fmax',
}
_ABSENT = {'use_bias_at_final': True, 'use_tanh_at_final': True}


class Released(NamedTuple):
  """Hold a released vocoder.

  Attributes:
    vocoder: its functions and its mel.
    params: its weights, float32.
  """

  vocoder: vocoder.Vocoder
  params: Params


def load(
    weights: str | pathlib.Path,
    *,
    mel: signal.Mel | None = None,
    config: str | pathlib.Path | None = None,
    name: str | None = None,
    log: str = 'ln',
) -> Released:
  """Load a released vocoder.

  Args:
    weights: a PyTorch checkpoint (`bigvgan_generator.pt`, `g_05000000`), or
      its state dict as `.safetensors` or `.npz`.
    mel: that it shall be given; None accepts any.
    config: the release's `config.json`; by default the one beside the weights.
    name: of the release, in `nn.vocoder.SIZES` and `signal.MELS`, instead of a
      config, such as `make_an_audio`.
    log: `ln` or `log10`, which no config says: all of NVIDIA's are natural.

  Returns:
    The vocoder and its weights.

  Raises:
    UserError: the weights were made for another mel; PyTorch is missing.
    DataError: a file is absent or damaged, a field or a name is missing, or a
      shape differs.
  """
  place = pathlib.Path(weights)
  if name is not None:
    size, own = vocoder.size_of(name), signal.preset(name)
  else:
    path = pathlib.Path(config or place.with_name('config.json'))
    fields = read_config(path)
    size, own = size_of(fields, path), mel_of(fields, log, path)
  if mel is not None:
    signal.check_mel(own, mel, str(place))
  state = read_state(place)
  params = generator_params(state, size, own.bands, file=str(place))
  return Released(vocoder.bigvgan(own, size=size), params)


def read_config(path: str | pathlib.Path) -> dict[str, Any]:
  """Read a release's `config.json`.

  Raises:
    DataError: it is absent, or no JSON object.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise DataError(
        path, 'file', "the release's config.json", 'none',
        f'Put it beside the weights, or name one of {sorted(SIZES)}'
    )
  try:
    fields = json.loads(path.read_text())
  except (OSError, ValueError) as error:
    raise DataError(path, 'content', 'JSON', str(error)) from error
  if not isinstance(fields, dict):
    raise DataError(path, 'content', 'fields', type(fields).__name__)
  return fields


def size_of(config: Mapping[str, Any], file: object = 'config.json') -> Size:
  """Return the size of a generator from a release's config.

  Raises:
    DataError: a field is missing, or its value is none of a BigVGAN.
  """
  found = {ours: _field(config, name, file) for ours, name in _SIZE.items()}
  found['pairs'] = str(found['pairs']) == '1'
  try:
    return vocoder.size_of(found)
  except (UserError, TypeError) as error:
    raise DataError(file, 'size', 'that of a BigVGAN', str(error)) from error


def mel_of(
    config: Mapping[str, Any], log: str = 'ln', file: object = 'config.json'
) -> signal.Mel:
  """Return the mel that a release was trained on.

  Args:
    config: its fields.
    log: `ln` or `log10`, which the config does not say.
    file: for messages.

  Returns:
    The mel.

  Raises:
    DataError: a field is missing or out of range.
  """
  found = {ours: _field(config, name, file) for ours, name in _MEL.items()}
  if config.get('win_size', found['fft']) != found['fft']:
    raise DataError(
        file, 'win_size', f'n_fft, {found["fft"]}', f'{config["win_size"]}'
    )
  try:
    if found['fmax'] is None:
      found['fmax'] = found['rate'] / 2
    limits = {name: float(found[name]) for name in ('fmin', 'fmax')}
    return signal.preset(signal.Mel(**{**found, **limits, 'log': log}))
  except (UserError, TypeError, ValueError) as error:
    raise DataError(file, 'mel', 'that of a BigVGAN', str(error)) from error


def _field(config: Mapping[str, Any], name: str, file: object) -> Any:
  if name in config:
    return config[name]
  if name in _ABSENT:
    return _ABSENT[name]
  raise DataError(file, name, 'a value', 'none', f'It has {sorted(config)}')


def read_state(path: str | pathlib.Path) -> dict[str, np.ndarray]:
  """Read the generator's state dict.

  Args:
    path: `.safetensors`, `.npz`, or else a PyTorch checkpoint, whose entry
      `generator` is taken if it has one.

  Returns:
    Arrays by their released names.

  Raises:
    UserError: PyTorch is missing.
    DataError: the file is absent or not what it should be.
  """
  path = pathlib.Path(path)
  if path.suffix in ('.safetensors', '.npz'):
    return skeleton_import.read_state(path)
  if not path.is_file():
    raise DataError(path, 'file', 'a file', 'none')
  try:
    import torch  # Only this format needs it.
  except ImportError as error:
    raise UserError(
        f'{path}: reading a PyTorch checkpoint needs PyTorch; install it, or '
        'save the entry `generator` as .safetensors or .npz'
    ) from error
  try:
    saved = torch.load(path, map_location='cpu', weights_only=True)
    saved = saved.get('generator', saved)
    return {name: value.float().numpy() for name, value in saved.items()}
  except Exception as error:  # Of many kinds, as the file is damaged.
    raise DataError(
        path, 'content', 'a checkpoint of arrays', f'{error}'
    ) from error


def fold(state: State, file: str = 'state dict') -> dict[str, np.ndarray]:
  """Multiply normalised weights out, Eq. 1.

  Args:
    state: arrays by released names.
    file: for messages.

  Returns:
    The state with `X.weight` for each pair; what has no pair is kept.

  Raises:
    DataError: a direction without its length, or of length 0.
  """
  folded = dict(state)
  for length, direction in _NORMED:
    for name in [n for n in state if n.endswith(f'.{direction}')]:
      base = name.removesuffix(direction)
      if base + length not in state:
        raise DataError(file, base + length, 'a length', 'none')
      g, v = folded.pop(base + length), folded.pop(name)
      axes = tuple(range(1, v.ndim))
      squares = np.square(v, dtype=np.float64)
      norm = np.sqrt(squares.sum(axes, keepdims=True))
      if not (norm > 0).all():
        raise DataError(file, name, 'directions of a length', 'zeros')
      folded[f'{base}weight'] = (g * v / norm).astype(np.float32)
  return folded


def generator_params(
    state: State, size: Size, bands: int, *, file: str = 'state dict'
) -> Params:
  """Convert the weights of a released generator.

  Args:
    state: arrays by released names, normalised or not.
    size: of the generator.
    bands: of its mel.
    file: where the state comes from, for messages.

  Returns:
    The variables of `nn.vocoder.Generator`, float32.

  Raises:
    DataError: names are missing or left over, a shape differs, or the taps
      are not those of `low_pass`.
  """
  weights = _without_filters(fold(state, file), file)
  mel = signal.MAA._replace(bands=bands, hop=size.hop, fft=4 * size.hop)
  made = vocoder.bigvgan(mel, size=size)
  template = jax.eval_shape(made.init, jax.random.key(0))
  shapes = flax.traverse_util.flatten_dict(template)
  names = {path: _released(path, size) for path in shapes}
  missing = sorted(set(names.values()) - set(weights))
  unexpected = sorted(set(weights) - set(names.values()))
  if missing or unexpected:
    raise DataError(
        file, 'names', f'{len(names)} names as released',
        f'missing {missing or "none"}, unexpected {unexpected or "none"}',
        'Check the config'
    )
  return flax.traverse_util.unflatten_dict({
      path: _converted(weights[name], shapes[path].shape, path, name, file)
      for path, name in names.items()
  })


def _without_filters(state: State, file: str) -> dict[str, np.ndarray]:
  """Drop the taps of the low-pass, which are the same everywhere."""
  ours, kept = low_pass(), {}
  for name, value in state.items():
    if not name.endswith(_FILTERS):
      kept[name] = value
    elif value.size != ours.size or np.abs(value.ravel() - ours).max() > 1e-5:
      raise DataError(
          file, name, 'a Kaiser-windowed low-pass of 12 taps',
          f'other taps, shape {list(value.shape)}'
      )
  return kept


def _released(path: tuple[str, ...], size: Size) -> str:
  """Return the released name of our parameter `path`."""
  *modules, kind = path[1:]
  kind = {'kernel': 'weight'}.get(kind, kind)
  if len(modules) == 1:
    return f'{_released_layer(modules[0])}.{kind}'
  step, block = (int(x) for x in modules[0].split('_')[1:])
  place = f'resblocks.{step * len(size.blocks) + block}'
  layer, number = modules[1].rsplit('_', 1)
  if layer.startswith('snake'):
    activation = int(number) * (2 if size.pairs else 1) + (
        layer == 'snake_out'
    )
    return f'{place}.activations.{activation}.act.{kind}'
  lists = {'conv': 'convs1' if size.pairs else 'convs', 'conv_out': 'convs2'}
  return f'{place}.{lists[layer]}.{number}.{kind}'


def _released_layer(name: str) -> str:
  fixed = {
      'in': 'conv_pre', 'out': 'conv_post', 'snake': 'activation_post.act'
  }
  return fixed.get(name) or f'ups.{name.removeprefix("widen_")}.0'


def _converted(
    value: np.ndarray,
    shape: tuple[int, ...],
    path: tuple[str, ...],
    name: str,
    file: str,
) -> np.ndarray:
  """Turn a released array into ours of `shape`."""
  turned = np.asarray(value, np.float32)
  if path[-1] == 'kernel' and value.ndim == 3:
    turned = (_transposed if 'widen' in path[-2] else _plain)(turned)
  if turned.shape != shape:
    raise DataError(
        file, name, f'what turns into shape {shape}', f'shape {value.shape}'
    )
  return np.ascontiguousarray(turned)


def _plain(weight: np.ndarray) -> np.ndarray:
  """Turn `[O, I, K]` into `[K, I, O]`."""
  return weight.transpose(2, 1, 0)


def _transposed(weight: np.ndarray) -> np.ndarray:
  """Turn `[I, O, K]` into `[K, I, O]`, the taps the other way round."""
  return weight.transpose(2, 0, 1)[::-1]
