"""Waves from mels: spread the bands over the bins, then find phases.

From log-mels m, magnitudes S >= 0 with W^T S = e^m follow from the filters W
by the multiplicative steps that lower the Kullback-Leibler divergence,

  (1)  S <- S  W (e^m / W^T S) / W 1,    first S = W (e^m / W^T 1) / W 1,

which keep S smooth where a band spans many bins. Phases that agree between
frames follow from projections in turn: P onto spectra that a signal has, Q
onto those with magnitudes S,

  (2)  c_n = P Q t_{n-1},   t_n = c_n + momentum (c_n - c_{n-1}),

from random phases t_0. The signal is longer by (fft - hop) / 2 at both ends,
as the mel's reflected one, and is cut at the end.

References:
  Lee and Seung, "Algorithms for Non-negative Matrix Factorization", 2000.
  Griffin and Lim, "Signal Estimation from Modified Short-Time Fourier
  Transform", 1984.
  Perraudin, Balazs and Sondergaard, "A Fast Griffin-Lim Algorithm", 2013.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from diffax.errors import UserError
from diffax.signal.fourier import analyse
from diffax.signal.fourier import hann
from diffax.signal.fourier import synthesise
from diffax.signal.mel import expand
from diffax.signal.mel import MAA
from diffax.signal.mel import Mel
from diffax.signal.mel import mel_filters
from diffax.typing import Array
from diffax.typing import Key

_TINY = 1e-12


def linear_magnitudes(
    log_mels: Array, mel: Mel = MAA, iterations: int = 100
) -> Array:
  """Estimate the magnitudes behind a log-mel spectrogram, Eq. 1.

  Args:
    log_mels: `[..., T, B]`.
    mel: its settings.
    iterations: steps of Eq. 1.

  Returns:
    `[..., T, F]`, 0 in bins that no band spans.
  """
  filters = jnp.asarray(mel_filters(mel))
  product = functools.partial(
      jnp.matmul, precision=jax.lax.Precision.HIGHEST
  )
  reach = jnp.maximum(filters.sum(1), _TINY)
  bands = expand(log_mels, mel)

  def step(_: int, linear: Array) -> Array:
    ratio = bands / jnp.maximum(product(linear, filters), _TINY)
    return linear * product(ratio, (filters / reach[:, None]).T)

  # Ones stand for the spectrum whose bands are the filters' sums.
  shape = (*log_mels.shape[:-1], filters.shape[0])
  return jax.lax.fori_loop(0, iterations + 1, step, jnp.ones(shape))


def find_phase(
    linear: Array,
    key: Key,
    *,
    fft: int,
    hop: int,
    iterations: int = 32,
    momentum: float = 0.99,
) -> Array:
  """Find a signal whose spectrum has given magnitudes, Eq. 2.

  Args:
    linear: magnitudes `[..., T, F]`.
    key: of the first phases.
    fft: samples of a window.
    hop: samples between frames.
    iterations: steps of Eq. 2.
    momentum: 0 is the algorithm of 1984.

  Returns:
    `[..., (T - 1) hop + fft]`.
  """
  window = hann(fft)

  def impose(spectrum: Array) -> Array:
    return linear * spectrum / jnp.maximum(jnp.abs(spectrum), _TINY)

  def step(
      state: tuple[Array, Array], _: None
  ) -> tuple[tuple[Array, Array], None]:
    guess, last = state
    new = analyse(synthesise(impose(guess), window, hop), window, hop)
    return (new + momentum * (new - last), new), None

  turns = jax.random.uniform(key, linear.shape, maxval=2 * np.pi)
  first = linear * jnp.exp(1j * turns)
  (guess, _), _ = jax.lax.scan(
      step, (first, jnp.zeros_like(first)), None, iterations
  )
  return synthesise(impose(guess), window, hop)


@functools.partial(jax.jit, static_argnames=('mel', 'iterations', 'spread'))
def griffin_lim(
    log_mels: Array,
    mel: Mel = MAA,
    key: Key | None = None,
    iterations: int = 32,
    *,
    momentum: float = 0.99,
    spread: int = 100,
) -> Array:
  """Turn a log-mel spectrogram into a wave, Eq. 1 and 2.

  Args:
    log_mels: `[..., T, B]`.
    mel: its settings.
    key: of the first phases; None for key 0.
    iterations: steps of Eq. 2.
    momentum: of Eq. 2, 0 to 1.
    spread: steps of Eq. 1.

  Returns:
    `[..., T hop]`, at `mel.rate`.

  Raises:
    UserError: the number of bands is not the mel's.
  """
  if log_mels.ndim < 2 or log_mels.shape[-1] != mel.bands:
    raise UserError(
        f'log_mels: expected [..., T, {mel.bands}], found '
        f'{list(log_mels.shape)}.'
    )
  key = jax.random.key(0) if key is None else key
  linear = linear_magnitudes(log_mels, mel, spread)
  wave = find_phase(
      linear, key, fft=mel.fft, hop=mel.hop, iterations=iterations,
      momentum=momentum
  )
  before = (mel.fft - mel.hop) // 2
  return wave[..., before:before + log_mels.shape[-2] * mel.hop]
