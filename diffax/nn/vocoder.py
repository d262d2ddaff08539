"""Networks that turn log-mels into waves, and the ones that judge them.

The generator widens time step by step; after each transposed convolution the
outputs of some AMP blocks, one for each kernel size, are averaged:

  (1)  snake(x)     = x + sin^2(alpha x) / alpha
       snakebeta(x) = x + sin^2(alpha x) / beta
  (2)  A(x) = down(snake(up(x)))
  (3)  AMP(x) = x + conv_1(A(conv_d(A(x)))) for d in the dilations, in turn,

where `up` doubles the rate and `down` halves it, both through one low-pass

  (4)  f[i] ~ kaiser[i] sinc(i - 5.5) / 2, sum f = 1, 12 taps,

so that the overtones which Eq. 1 makes do not fold back. Signals repeat their
ends. alpha and beta belong to channels and are kept as logarithms where the
published weights are.

Discriminators judge waves folded into rows of a period, and magnitudes of
short-time spectra; beside the verdict they return what their layers saw.

Convolutions hold plain weights. Published ones are normalised, w = g v / |v|,
a way to train that a product replaces afterwards (`systems.vocoder_import`).

References:
  Lee et al., "BigVGAN: A Universal Neural Vocoder with Large-Scale Training",
  ICLR 2023: Eq. 1-3, sizes of the released configs.
  Karras et al., "Alias-Free Generative Adversarial Networks", 2021 (Eq. 4).
  Kong et al., "HiFi-GAN", 2020 (periods). Jang et al., "UnivNet", 2021
  (resolutions).
"""

from collections.abc import Callable, Mapping, Sequence
import math
from typing import Any, NamedTuple

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import scipy.signal

from diffax.typing import Array

# Eq. 4: half of the taps are between the samples of one phase.
TAPS = 12
_HALF = TAPS // 2
_TRANSITION = 0.3  # Half width of the band where the low-pass falls.
_LEAKS = 0.1
_SMALL = 1e-9
ACTIVATIONS = ('snake', 'snakebeta')


class Size(NamedTuple):
  """Settings of a generator, as its published config has them.

  Attributes:
    rates: factors by which time widens; their product is the mel's hop.
    kernels: taps of the transposed convolutions; kernel - rate is even.
    width: channels before the first; each step halves them.
    blocks: taps of the AMP blocks.
    dilations: of each block's convolutions.
    activation: `snake` or `snakebeta`.
    logarithmic: whether alpha and beta are kept as logarithms.
    pairs: whether an AMP block has conv_1 of Eq. 3; else conv_d alone.
    bias: whether the last convolution has one.
    tanh: whether tanh bounds the wave; else it is cut at -1 and 1.
  """

  rates: tuple[int, ...]
  kernels: tuple[int, ...]
  width: int
  blocks: tuple[int, ...] = (3, 7, 11)
  dilations: tuple[tuple[int, ...], ...] = ((1, 3, 5),) * 3
  activation: str = 'snakebeta'
  logarithmic: bool = True
  pairs: bool = True
  bias: bool = True
  tanh: bool = True

  @property
  def hop(self) -> int:
    """Samples of a mel frame."""
    return math.prod(self.rates)


_BASE = Size((8, 8, 2, 2), (16, 16, 4, 4), 512)
_LARGE = Size((4, 4, 2, 2, 2, 2), (8, 8, 4, 4, 4, 4), 1536)
_SECOND = _LARGE._replace(bias=False, tanh=False)
SIZES: Mapping[str, Size] = {
    'bigvgan_base_22khz_80band': _BASE,
    'bigvgan_22khz_80band': _LARGE,
    'bigvgan_base_24khz_100band': _BASE,
    'bigvgan_24khz_100band': _LARGE,
    'bigvgan_v2_22khz_80band_256x': _SECOND,
    'bigvgan_v2_22khz_80band_fmax8k_256x': _SECOND,
    'bigvgan_v2_24khz_100band_256x': _SECOND,
    'bigvgan_v2_44khz_128band_256x': _SECOND,
    'bigvgan_v2_44khz_128band_512x': _SECOND._replace(
        rates=(8, 4, 2, 2, 2, 2), kernels=(16, 8, 4, 4, 4, 4)
    ),
    'make_an_audio': _LARGE,
    # Ours: a hop of 256 that two cores can train.
    'small': Size((8, 8, 2, 2), (16, 16, 4, 4), 128, (3, 7), ((1, 3),) * 2),
}


def low_pass() -> np.ndarray:
  """Return the taps of Eq. 4, [12] float64; symmetric."""
  attenuation = scipy.signal.kaiser_atten(_HALF, 4 * _TRANSITION)
  window = np.kaiser(TAPS, scipy.signal.kaiser_beta(attenuation))
  taps = window * np.sinc((np.arange(TAPS) - _HALF + 0.5) / 2)
  return taps / taps.sum()


def without_aliases(function: Callable[[Array], Array], x: Array) -> Array:
  """Apply a function of samples at twice the rate, Eq. 2.

  The doubled signal is kept as its two phases, each six taps of the signal,
  and halving it takes six taps of each: no zeros are multiplied.

  Args:
    function: of samples, each by itself.
    x: `[B, T, C]`.

  Returns:
    `[B, T, C]`.
  """
  taps = low_pass()
  even, odd = taps[::2], taps[1::2]
  wide = _extend(x, x, x, 3, 3)
  first = function(_weigh(wide[:, :-1], 2 * even))
  second = function(_weigh(wide[:, 1:], 2 * odd))
  return (
      _weigh(_extend(first, first, second, 2, 3), odd)
      + _weigh(_extend(second, first, second, 3, 2), even)
  )


def _extend(
    x: Array, left: Array, right: Array, before: int, after: int
) -> Array:
  """Repeat the start of `left` before `x` and the end of `right` after it."""
  start = jnp.repeat(left[:, :1], before, axis=1)
  end = jnp.repeat(right[:, -1:], after, axis=1)
  # Else compilers that fuse compute `x` anew for each tap that reads it.
  return jax.lax.optimization_barrier(
      jnp.concatenate([start, x, end], axis=1)
  )


def _weigh(x: Array, taps: np.ndarray) -> Array:
  """Return sum_r taps[r] x[t + r]: `[B, T + 5, C]` to `[B, T, C]`."""
  length = x.shape[1] - len(taps) + 1
  parts = [float(tap) * x[:, r:r + length] for r, tap in enumerate(taps)]
  return sum(parts[1:], parts[0])


def _convolution(
    features: int,
    taps: int,
    name: str,
    *,
    dilation: int = 1,
    bias: bool = True,
) -> nn.Conv:
  return nn.Conv(
      features, (taps,), kernel_dilation=(dilation,), padding='SAME',
      use_bias=bias, kernel_init=_uniform(), name=name,
  )


def _uniform() -> Any:
  """Return weights uniform within 1 / sqrt(inputs), as PyTorch draws them."""
  return nn.initializers.variance_scaling(1 / 3, 'fan_in', 'uniform')


class Snake(nn.Module):
  """Apply Eq. 2 with one of Eq. 1.

  Attributes:
    kind: `snake` or `snakebeta`.
    logarithmic: whether alpha and beta are kept as logarithms.
  """

  kind: str = 'snakebeta'
  logarithmic: bool = True

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Map `[B, T, C]` to `[B, T, C]`."""
    one = nn.initializers.zeros if self.logarithmic else nn.initializers.ones
    shape = (1, 1, x.shape[-1])

    def factor(name: str) -> Array:
      kept = self.param(name, one, shape[-1:]).reshape(shape)
      return jnp.exp(kept) if self.logarithmic else kept

    alpha = factor('alpha')
    beta = factor('beta') if self.kind == 'snakebeta' else alpha
    scale = 1 / (beta + _SMALL)
    return without_aliases(lambda y: y + scale * jnp.sin(alpha * y) ** 2, x)


class AmpBlock(nn.Module):
  """Apply Eq. 3.

  Attributes:
    size: of the generator.
    taps: of the convolutions, odd.
    dilations: d.
  """

  size: Size
  taps: int
  dilations: tuple[int, ...]

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Map `[B, T, C]` to `[B, T, C]`."""
    width = x.shape[-1]

    def activate(y: Array, name: str) -> Array:
      kind, logarithmic = self.size.activation, self.size.logarithmic
      return Snake(kind, logarithmic, name=name)(y)

    for i, dilation in enumerate(self.dilations):
      y = activate(x, f'snake_{i}')
      y = _convolution(width, self.taps, f'conv_{i}', dilation=dilation)(y)
      if self.size.pairs:
        y = activate(y, f'snake_out_{i}')
        y = _convolution(width, self.taps, f'conv_out_{i}')(y)
      x = x + y
    return x


class Generator(nn.Module):
  """Turn log-mels into waves.

  Attributes:
    size: its settings.
  """

  size: Size

  @nn.compact
  def __call__(self, log_mels: Array) -> Array:
    """Map `[B, T, M]` to `[B, T hop]`, within -1 and 1."""
    size = self.size
    x = _convolution(size.width, 7, 'in')(log_mels)
    for i, (rate, taps) in enumerate(zip(size.rates, size.kernels)):
      x = self._widen(x, i, rate, taps)
      blocks = [
          AmpBlock(size, kernel, dilations, name=f'block_{i}_{j}')(x)
          for j, (kernel, dilations) in enumerate(
              zip(size.blocks, size.dilations)
          )
      ]
      x = sum(blocks[1:], blocks[0]) / len(blocks)
    x = Snake(size.activation, size.logarithmic, name='snake')(x)
    x = _convolution(1, 7, 'out', bias=size.bias)(x)[..., 0]
    return jnp.tanh(x) if size.tanh else jnp.clip(x, -1, 1)

  def _widen(self, x: Array, step: int, rate: int, taps: int) -> Array:
    """Map `[B, T, C]` to `[B, T rate, width / 2^(step + 1)]`."""
    # As a convolution of the stretched input: what PyTorch pads less.
    pad = taps - 1 - (taps - rate) // 2
    return nn.ConvTranspose(
        self.size.width // 2 ** (step + 1), (taps,), (rate,),
        padding=((pad, pad),), kernel_init=_uniform(), name=f'widen_{step}',
    )(x)


class PeriodDiscriminator(nn.Module):
  """Judge a wave by what lies a period apart.

  Attributes:
    period: samples of a row.
    width: channels of the first layer.
  """

  period: int
  width: int = 32

  @nn.compact
  def __call__(self, wave: Array) -> tuple[Array, list[Array]]:
    """Map `[B, N]` to a verdict `[B, V]` and features, all `[B p, n, C]`."""
    count, length = wave.shape
    short = -length % self.period
    x = jnp.pad(wave, ((0, 0), (0, short)), mode='reflect')
    x = x.reshape(count, -1, self.period).swapaxes(1, 2)
    x = x.reshape(count * self.period, -1, 1)
    features = []
    for i, (widening, stride) in enumerate(
        zip((1, 4, 16, 32, 32), (3, 3, 3, 3, 1))
    ):
      x = nn.Conv(
          widening * self.width, (5,), (stride,), padding=((2, 2),),
          kernel_init=_uniform(), name=f'conv_{i}',
      )(x)
      x = jax.nn.leaky_relu(x, _LEAKS)
      features.append(x)
    x = _convolution(1, 3, 'out')(x)
    return x.reshape(count, -1), features


class SpectrumDiscriminator(nn.Module):
  """Judge the magnitudes of a short-time spectrum.

  Attributes:
    width: channels.
  """

  width: int = 32

  @nn.compact
  def __call__(self, linear: Array) -> tuple[Array, list[Array]]:
    """Map `[B, T, F]` to a verdict `[B, V]` and features `[B, t, F, C]`."""
    x, features = linear[..., None], []
    layers = ((9, 1), (9, 2), (9, 2), (9, 2), (3, 1))
    for i, (taps, stride) in enumerate(layers):
      x = nn.Conv(
          self.width, (taps, 3), (stride, 1),
          padding=((taps // 2, taps // 2), (1, 1)), kernel_init=_uniform(),
          name=f'conv_{i}',
      )(x)
      x = jax.nn.leaky_relu(x, _LEAKS)
      features.append(x)
    x = nn.Conv(1, (3, 3), kernel_init=_uniform(), name='out')(x)
    return x.reshape(len(x), -1), features


class Discriminators(nn.Module):
  """Judge waves by several periods and resolutions.

  Attributes:
    periods: primes, so that no two see the same.
    period_width: channels of the first layer of each.
    spectrum_width: channels of those of spectra.
  """

  periods: Sequence[int] = (2, 3, 5, 7, 11)
  period_width: int = 32
  spectrum_width: int = 32

  @nn.compact
  def __call__(
      self, wave: Array, spectra: Sequence[Array]
  ) -> list[tuple[Array, list[Array]]]:
    """Judge.

    Args:
      wave: `[B, N]`.
      spectra: its magnitudes `[B, T, F]`, in some resolutions.

    Returns:
      Verdict and features of each discriminator.
    """
    by_period = [
        PeriodDiscriminator(p, self.period_width, name=f'period_{p}')(wave)
        for p in self.periods
    ]
    by_spectrum = [
        SpectrumDiscriminator(self.spectrum_width, name=f'spectrum_{i}')(x)
        for i, x in enumerate(spectra)
    ]
    return by_period + by_spectrum
