"""VGGish: features of sound, as Fréchet audio distance is defined on them.

Examples of 0.96 s are log-mel images `[96, 64]`. Of a wave at 16 kHz, with
periodic Hann windows of 25 ms every 10 ms,

  (1)  x[n, b] = log(sum_f M[f, b] |X[n, f]| + 0.01)
  (2)  M[f, b] = max(0, min((m_f - l_b) / (c_b - l_b),
                            (u_b - m_f) / (u_b - c_b)))

with 64 bands from 125 to 7500 Hz whose edges l, c, u are even on the scale
m = 1127 log(1 + Hz / 700). Unlike usual filters these triangles are straight
on that scale, not in Hz, and the bin of 0 Hz has weight 0. Then

  (3)  pool(conv 64), pool(conv 128), pool(conv 256 x 2), pool(conv 512 x 2),
       dense 4096, dense 4096, dense 128

with a ReLU after all but, as the usual code for the distance has it, the last.

Weights are not part of this library. Both published forms can be imported:

  here       PyTorch                TensorFlow
  conv_I     features.{0,3,6,...}   vggish/conv1, ..., vggish/conv4/conv4_2
  dense_I    embeddings.{0,2,4}     vggish/fc1/fc1_1, fc1/fc1_2, fc2

References:
  Hershey et al., "CNN architectures for large-scale audio classification",
  ICASSP 2017, and the released front end and checkpoint.
  Kilgour et al., "Fréchet Audio Distance", Interspeech 2019.
"""

from collections.abc import Mapping, Sequence

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from diffax.errors import DataError
from diffax.errors import UserError
from diffax.typing import Array
from diffax.typing import Params

RATE = 16000
EXAMPLE = 96
"""Frames of an example, and from one to the next."""

_BANDS, _LOW, _HIGH = 64, 125.0, 7500.0
_WINDOW, _HOP, _FFT = 400, 160, 512
_OFFSET = 0.01
# Convolutions between the poolings.
_DEPTHS = (1, 1, 2, 2)
_TORCH_CONVS = (0, 3, 6, 8, 11, 13)
_TENSORFLOW = (
    'conv1', 'conv2', 'conv3/conv3_1', 'conv3/conv3_2', 'conv4/conv4_1',
    'conv4/conv4_2', 'fc1/fc1_1', 'fc1/fc1_2', 'fc2',
)


class VGGish(nn.Module):
  """Map examples to features (Eq. 3).

  Attributes:
    widths: of the convolutions between the poolings.
    hidden: of the first two dense layers.
    features: of the last.
  """

  widths: Sequence[int] = (64, 128, 256, 512)
  hidden: int = 4096
  features: int = 128

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Map examples `[B, 96, 64]` to `[B, features]`."""
    x, number = x[..., None], 0
    for width, depth in zip(self.widths, _DEPTHS, strict=True):
      for _ in range(depth):
        conv = nn.Conv(width, (3, 3), padding=1, name=f'conv_{number}')
        x, number = nn.relu(conv(x)), number + 1
      x = nn.max_pool(x, (2, 2), (2, 2))
    x = x.reshape(len(x), -1)
    for number in (0, 1):
      x = nn.relu(nn.Dense(self.hidden, name=f'dense_{number}')(x))
    return nn.Dense(self.features, name='dense_2')(x)


def examples(wave: np.ndarray) -> np.ndarray:
  """Cut a wave into examples (Eq. 1-2).

  Args:
    wave: `[N]` at 16 kHz, -1 to 1, of one channel.

  Returns:
    `[E, 96, 64]` float32; samples that fill no example are dropped.

  Raises:
    UserError: the wave is no vector or shorter than an example.
  """
  needed = _WINDOW + (EXAMPLE - 1) * _HOP
  if wave.ndim != 1 or len(wave) < needed:
    raise UserError(
        f'VGGish: expected a wave of one channel and at least {needed} samples '
        f'at {RATE} Hz, found {list(wave.shape)}.'
    )
  count = (1 + (len(wave) - _WINDOW) // _HOP) // EXAMPLE * EXAMPLE
  places = np.arange(count)[:, None] * _HOP + np.arange(_WINDOW)[None, :]
  hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_WINDOW) / _WINDOW)
  cut = np.asarray(wave, np.float64)[places] * hann[None]
  magnitude = np.abs(np.fft.rfft(cut, _FFT))
  mel = np.log(magnitude @ filters() + _OFFSET)
  return mel.reshape(-1, EXAMPLE, _BANDS).astype(np.float32)


def filters() -> np.ndarray:
  """Return the weights of bins in bands (Eq. 2): `[257, 64]`."""
  def scale(hertz: np.ndarray) -> np.ndarray:
    return 1127.0 * np.log1p(hertz / 700.0)

  bins = scale(np.linspace(0, RATE / 2, _FFT // 2 + 1))[:, None]
  low, high = scale(np.array([_LOW, _HIGH]))
  edges = np.linspace(low, high, _BANDS + 2)[None]
  lower, centre, upper = edges[:, :-2], edges[:, 1:-1], edges[:, 2:]
  rise = (bins - lower) / (centre - lower)
  fall = (upper - bins) / (upper - centre)
  weights = np.maximum(0, np.minimum(rise, fall))
  weights[0] = 0
  return weights


def convert(
    state: Mapping[str, np.ndarray],
    network: VGGish = VGGish(),
    file: str = 'state dict',
) -> Params:
  """Convert published weights of either form.

  Args:
    state: arrays by their names; those of a PCA and of an optimiser are
      ignored.
    network: of the published sizes, or others.
    file: where the state comes from, for messages.

  Returns:
    The variables of the network, float32.

  Raises:
    DataError: names are missing, or a shape differs.
  """
  torch = any(name.startswith('features.') for name in state)
  names = _names(torch)
  missing = sorted(set(sum(names.values(), ())) - set(state))
  if missing:
    raise DataError(
        file, 'names', f'the {2 * len(names)} names of VGGish',
        f'none of {", ".join(missing[:4])} ({len(missing)} are missing)',
        'Give the published PyTorch state dict, or the variables of the '
        'TensorFlow checkpoint saved by name in an .npz'
    )
  expected = jax.eval_shape(
      network.init, jax.random.key(0), jnp.zeros((1, EXAMPLE, _BANDS))
  )['params']
  params = {}
  for layer, (weight, bias) in names.items():
    kernel = np.asarray(state[weight], np.float32)
    if torch:
      # Channels lead in PyTorch; its dense layers read images as ours do.
      kernel = kernel.transpose((2, 3, 1, 0) if kernel.ndim == 4 else (1, 0))
    params[layer] = {
        'kernel': np.ascontiguousarray(kernel),
        'bias': np.asarray(state[bias], np.float32),
    }
    for kind, name in (('kernel', weight), ('bias', bias)):
      shape = params[layer][kind].shape
      if shape != expected[layer][kind].shape:
        raise DataError(
            file, name, f'{expected[layer][kind].shape} as {layer}/{kind} '
            'here', f'{shape}'
        )
  return {'params': params}


def _names(torch: bool) -> dict[str, tuple[str, ...]]:
  """Return the names of weights and biases by our layer."""
  layers = [f'conv_{i}' for i in range(6)] + [f'dense_{i}' for i in range(3)]
  if not torch:
    return {
        layer: (f'vggish/{name}/weights', f'vggish/{name}/biases')
        for layer, name in zip(layers, _TENSORFLOW, strict=True)
    }
  theirs = [f'features.{i}' for i in _TORCH_CONVS]
  theirs += [f'embeddings.{i}' for i in (0, 2, 4)]
  return {
      layer: (f'{name}.weight', f'{name}.bias')
      for layer, name in zip(layers, theirs, strict=True)
  }
