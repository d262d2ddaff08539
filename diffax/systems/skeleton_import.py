"""Import the published PyTorch weights of SkeletonDiffusion.

The released code keeps typed weights as `[types, O, D]` and linear ones as
`[O, D]`; ours are `[types, D, O]` and `[D, O]`. Everything else only changes
its name:

  released                            here
  encoder.initial_hidden1             encoder/start
  encoder.rnn.layers.I                encoder/gru_I
  encoder.fc                          encoder/readout
  decoder.initial_hidden_h            decoder/start
  decoder.rnn.layers.0                decoder/gru
  decoder.fc                          decoder/readout
  model.init_lin                      input
  model.time_mlp.{1,3}                time/{hidden,output}
  model.layers.I.0                    block_I
  model.layers.I.1.fn                 attention_I
  model.final_res_block               final_block
  model.final_glin                    output

References:
  Curreli et al., "Nonisotropic Gaussian Diffusion for Realistic 3D Human
  Motion Prediction", CVPR 2025; layouts of the code released with it.
"""

from collections.abc import Callable, Mapping, Sequence
import pathlib
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy

from diffax.errors import DataError
from diffax.errors import UserError
from diffax.nn.skeleton import Decoder
from diffax.nn.skeleton import Denoiser
from diffax.nn.skeleton import Encoder
from diffax.typing import Params

State = Mapping[str, np.ndarray]
# Our parameter, a path in a tree -> the released name of the same numbers.
Names = dict[tuple[str, ...], str]

_GRU = {
    'input_weight': 'weight_ih',
    'input_bias': 'bias_ih',
    'state_weight': 'weight_hh',
    'state_bias': 'bias_hh',
    'graph': 'G',
}


def read_state(path: str | pathlib.Path) -> dict[str, np.ndarray]:
  """Read a state dict.

  Args:
    path: a `.safetensors` or `.npz` file of named arrays, or a released `.pt`
      checkpoint, which needs PyTorch.

  Returns:
    Arrays by their released names.

  Raises:
    UserError: the suffix is another, or PyTorch is missing.
    DataError: the file is absent or not what its suffix says.
  """
  path = pathlib.Path(path)
  readers: dict[str, Callable[[pathlib.Path], dict[str, np.ndarray]]] = {
      '.safetensors': safetensors.numpy.load_file,
      '.npz': _read_npz,
      '.pt': _read_torch,
      '.pth': _read_torch,
  }
  if path.suffix not in readers:
    raise UserError(
        f'{path}: expected a file that ends in one of {sorted(readers)}, '
        f'found {path.suffix!r}'
    )
  if not path.is_file():
    raise DataError(path, 'file', 'a file', 'none')
  try:
    return readers[path.suffix](path)
  except UserError:
    raise
  except Exception as error:  # Each reader has its own family of errors.
    raise DataError(
        path, 'content', f'a {path.suffix} file of arrays', str(error)
    ) from error


def autoencoder_params(
    state: State,
    types: Sequence[int],
    *,
    width: int = 96,
    encoder_layers: int = 2,
    file: str = 'state dict',
) -> dict[str, Params]:
  """Convert the weights of a released autoencoder.

  Args:
    state: arrays by released names, all of them the autoencoder's.
    types: of the skeleton's nodes, J.
    width: features of a latent.
    encoder_layers: layers of the encoder's GRU.
    file: where the state comes from, for messages.

  Returns:
    `encoder` and `decoder`, each the variables of its module, float32.

  Raises:
    DataError: names are missing or left over, or a shape differs.
  """
  types = tuple(types)
  motion = jnp.zeros((1, 2, len(types), 3))
  z = jnp.zeros((1, len(types), width))
  encoder = Encoder(types, width, encoder_layers)
  decoder = Decoder(types, width)
  key = jax.random.key(0)
  template = {
      'encoder': jax.eval_shape(encoder.init, key, motion),
      'decoder': jax.eval_shape(
          lambda key: decoder.init(key, motion, z, 1), key
      ),
  }
  return _convert(state, template, _autoencoder_names(encoder_layers), file)


def denoiser_params(
    state: State,
    types: Sequence[int],
    *,
    latent: int = 96,
    width: int = 192,
    depth: int = 4,
    heads: int = 8,
    head_width: int = 32,
    prefix: str = 'model.',
    file: str = 'state dict',
) -> Params:
  """Convert the weights of a released denoiser.

  Args:
    state: arrays by released names; those without the prefix are the tables
      of the diffusion process, which are computed here and ignored.
    types: of the skeleton's nodes, J.
    latent: features of a latent.
    width: features inside.
    depth: pairs of residual blocks.
    heads: of the attention.
    head_width: features of a head.
    prefix: of the denoiser's names.
    file: where the state comes from, for messages.

  Returns:
    The variables of the module, float32.

  Raises:
    DataError: names are missing or left over, or a shape differs.
  """
  types = tuple(types)
  module = Denoiser(types, latent, width, depth, heads, head_width)
  z, t = jnp.zeros((1, len(types), latent)), jnp.zeros((1,), jnp.int32)
  template = jax.eval_shape(module.init, jax.random.key(0), z, z, t)
  own = {key: value for key, value in state.items() if key.startswith(prefix)}
  return _convert(own, template, _denoiser_names(depth, prefix), file)


def _autoencoder_names(layers: int) -> Names:
  parts = {
      'encoder.start': 'encoder.initial_hidden1',
      'encoder.readout': 'encoder.fc',
      'decoder.start': 'decoder.initial_hidden_h',
      'decoder.readout': 'decoder.fc',
  }
  names: Names = {}
  for ours, theirs in parts.items():
    module, layer = ours.split('.')
    names |= _typed((module, 'params', layer), theirs)
  units: Names = {
      ('encoder', 'params', f'gru_{i}'): f'encoder.rnn.layers.{i}'
      for i in range(layers)
  }
  decoder: tuple[str, ...] = ('decoder', 'params', 'gru')
  units[decoder] = 'decoder.rnn.layers.0'
  for path, theirs in units.items():
    names |= {(*path, k): f'{theirs}.{v}' for k, v in _GRU.items()}
  names[(*decoder, 'drift')] = f'{units[decoder]}.G_add'
  return names


def _denoiser_names(depth: int, prefix: str) -> Names:
  names = _typed(('params', 'input'), f'{prefix}init_lin')
  names |= _typed(('params', 'output'), f'{prefix}final_glin')
  for layer, index in (('hidden', 1), ('output', 3)):
    names |= _dense(('params', 'time', layer), f'{prefix}time_mlp.{index}')
  blocks = {f'block_{i}': f'{prefix}layers.{i}.0' for i in range(2 * depth)}
  blocks['final_block'] = f'{prefix}final_res_block'
  for block, theirs in blocks.items():
    names |= _dense(('params', block, 'film'), f'{theirs}.mlp.1')
    for i in (0, 1):
      path = ('params', block, f'linear_{i}')
      names |= _typed(path, f'{theirs}.block{i + 1}.proj')
  skip = ('params', 'final_block', 'skip')
  names |= _typed(skip, f'{prefix}final_res_block.res_linear', bias=False)
  for i in range(2 * depth - 1):
    unit, theirs = ('params', f'attention_{i}'), f'{prefix}layers.{i}.1.fn'
    names |= _typed((*unit, 'qkv'), f'{theirs}.fn.to_qkv', bias=False)
    names |= _typed((*unit, 'out'), f'{theirs}.fn.to_out', bias=False)
    names[(*unit, 'norm', 'scale')] = f'{theirs}.norm.g'
  return names


def _typed(path: tuple[str, ...], theirs: str, bias: bool = True) -> Names:
  kinds = {'weight': 'weight', 'graph': 'G', 'bias': 'bias'}
  return {
      (*path, ours): f'{theirs}.{kind}'
      for ours, kind in kinds.items()
      if bias or ours != 'bias'
  }


def _dense(path: tuple[str, ...], theirs: str) -> Names:
  return {
      (*path, 'kernel'): f'{theirs}.weight',
      (*path, 'bias'): f'{theirs}.bias',
  }


def _convert(state: State, template: Any, names: Names, file: str) -> Any:
  """Fill the template, checking every name and shape."""
  shapes = flax.traverse_util.flatten_dict(template)
  if set(shapes) != set(names):
    raise AssertionError(f'name table and networks differ: {names}')
  missing = sorted(set(names.values()) - set(state))
  unexpected = sorted(set(state) - set(names.values()))
  if missing or unexpected:
    raise DataError(
        file, 'names', f'{len(names)} names as released',
        f'missing {missing or "none"}, unexpected {unexpected or "none"}',
        'Check the skeleton and the numbers of layers',
    )
  values = {}
  for path, name in names.items():
    value = np.asarray(state[name], np.float32)
    expected = _stored_shape(shapes[path].shape, path[-1])
    # A norm's scale is stored with axes of length one around it.
    found = value.squeeze().shape if path[-1] == 'scale' else value.shape
    if found != expected:
      raise DataError(file, name, f'shape {expected}', f'{value.shape}')
    values[path] = value.reshape(expected)
    if _is_transposed(path[-1]):
      values[path] = np.ascontiguousarray(values[path].swapaxes(-1, -2))
  return flax.traverse_util.unflatten_dict(values)


def _is_transposed(kind: str) -> bool:
  return kind.endswith('weight') or kind == 'kernel'


def _stored_shape(shape: tuple[int, ...], kind: str) -> tuple[int, ...]:
  if _is_transposed(kind):
    return (*shape[:-2], shape[-1], shape[-2])
  return shape


def _read_npz(path: pathlib.Path) -> dict[str, np.ndarray]:
  with np.load(path) as file:
    return {name: file[name] for name in file.files}


def _read_torch(path: pathlib.Path) -> dict[str, np.ndarray]:
  try:
    import torch  # Only this format needs it.
  except ImportError as error:
    raise UserError(
        f'{path}: reading a PyTorch checkpoint needs PyTorch; install it, or '
        'save the entry `model` of the checkpoint as .safetensors or .npz'
    ) from error
  with torch.serialization.safe_globals(_numpy_globals()):
    saved = torch.load(path, map_location='cpu', weights_only=True)
  saved = saved.get('model', saved)
  return {name: value.numpy() for name, value in saved.items()}


def _numpy_globals() -> list[Any]:
  """List what the random states in a checkpoint need besides tensors."""
  makers: list[Any] = [x.__reduce__()[0] for x in (np.zeros(0), np.float64(0))]
  kinds = {type(np.dtype(name)) for name in ('uint32', 'int64', 'float64')}
  # Files of NumPy 1 call the module numpy.core.
  old = [(m, f'numpy.core.multiarray.{m.__name__}') for m in makers]
  return [np.ndarray, np.dtype, *kinds, *makers, *old]
