"""Vocoders: log-mels to waves, without weights, published or trained here.

A vocoder is a pair of pure functions and the mel that they hear. One is
trained, from waves x alone, with its judges D_i in one loss,

  (1)  x' = G(m(x))
  (2)  generator = mel_weight |m(x') - m(x)| + sum_i mean (1 - D_i(x'))^2
                   + feature_weight sum_i sum_l mean |D_il(x') - D_il(x)|
  (3)  judges = sum_i mean (1 - D_i(x))^2 + mean D_i(x')^2

where m is the log-mel (its difference in natural logarithm whatever its own),
D_i a verdict and D_il what layer l saw. Eq. 2 sees the parameters of D, and
Eq. 3 the wave x', through `stop_gradient`: one gradient of their sum is the
gradient of Eq. 2 for the generator and of Eq. 3 for the judges.

References:
  Kong et al., "HiFi-GAN", 2020, Eq. 1-6. Lee et al., "BigVGAN", ICLR 2023.
  Mao et al., "Least Squares Generative Adversarial Networks", ICCV 2017.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from diffax import signal
from diffax.errors import UserError
from diffax.nn.vocoder import ACTIVATIONS
from diffax.nn.vocoder import Discriminators
from diffax.nn.vocoder import Generator
from diffax.nn.vocoder import Size
from diffax.nn.vocoder import SIZES
from diffax.signal.mel import LOGS
from diffax.systems.base import System
from diffax.systems.base import Variables
from diffax.typing import Array
from diffax.typing import Batch
from diffax.typing import Key
from diffax.typing import Params

# (window, hop) of the spectra that are judged, at any rate.
RESOLUTIONS = ((1024, 120), (2048, 240), (512, 50))
Verdicts = Sequence[tuple[Array, Sequence[Array]]]


class Vocoder(NamedTuple):
  """Hold a vocoder as pure functions.

  Attributes:
    mel: that it was made for; `signal.check_mel` compares it with another.
    init: key -> params, empty where there is nothing to learn.
    apply: (params, log_mels `[B, T, M]`, key) -> waves `[B, T hop]`.
  """

  mel: signal.Mel
  init: Callable[[Key], Params]
  apply: Callable[[Params, Array, Key], Array]


def griffin_lim(
    mel: str | signal.Mel = 'make_an_audio',
    *,
    iterations: int = 32,
    momentum: float = 0.99,
    spread: int = 100,
) -> Vocoder:
  """Build the vocoder that needs no weights; arguments of `griffin_lim`."""
  chosen = signal.preset(mel)

  def apply(params: Params, log_mels: Array, key: Key) -> Array:
    del params
    return signal.griffin_lim(
        log_mels, chosen, key, iterations, momentum=momentum, spread=spread
    )

  return Vocoder(chosen, lambda key: {}, apply)


def bigvgan(
    mel: str | signal.Mel = 'make_an_audio',
    *,
    size: str | Mapping[str, Any] | Size = 'small',
) -> Vocoder:
  """Build a vocoder with weights, published or trained by `vocoder`.

  Args:
    mel: name in `signal.MELS`, or its settings.
    size: name in `nn.vocoder.SIZES`, or the fields of a `Size`.

  Returns:
    A vocoder whose `apply` ignores its key.

  Raises:
    UserError: a setting is wrong, or the size has another hop than the mel.
  """
  chosen, generator = signal.preset(mel), Generator(size_of(size))
  if generator.size.hop != chosen.hop:
    raise UserError(
        f'config.system.size: expected rates whose product is the hop of the '
        f'mel, {chosen.hop}, found {generator.size.rates} ('
        f'{generator.size.hop}).'
    )

  def init(key: Key) -> Params:
    return generator.init(key, jnp.zeros((1, 4, chosen.bands)))

  def apply(params: Params, log_mels: Array, key: Key) -> Array:
    del key
    if log_mels.ndim != 3 or log_mels.shape[-1] != chosen.bands:
      raise UserError(
          f'log_mels: expected [B, T, {chosen.bands}], found '
          f'{list(log_mels.shape)}.'
      )
    made: Any = generator.apply(params, log_mels)
    return made

  return Vocoder(chosen, init, apply)


VOCODERS: Mapping[str, Callable[..., Vocoder]] = {
    'griffin_lim': griffin_lim, 'bigvgan': bigvgan,
}


def size_of(size: str | Mapping[str, Any] | Size) -> Size:
  """Return a `Size` by its name or from its fields, checked.

  Raises:
    UserError: the name or a field is unknown, missing or wrong.
  """
  if isinstance(size, str):
    if size not in SIZES:
      raise UserError(
          f'config.system.size: expected one of {sorted(SIZES)}, found '
          f'{size!r}.'
      )
    return SIZES[size]
  if not isinstance(size, Size):
    size = _size_of_fields(size)
  steps = len(size.rates)
  rules = {
      'kernels': (
          len(size.kernels) == steps and all(
              kernel >= rate and (kernel - rate) % 2 == 0
              for kernel, rate in zip(size.kernels, size.rates)
          ),
          f'one for each rate {size.rates}, larger by an even number'
      ),
      'width': (size.width >= 2**steps and size.width % 2**steps == 0,
                f'a multiple of {2**steps}'),
      'blocks': (all(taps % 2 for taps in size.blocks), 'odd numbers of taps'),
      'dilations': (len(size.dilations) == len(size.blocks),
                    f'one tuple for each of the blocks {size.blocks}'),
      'activation': (size.activation in ACTIVATIONS, f'one of {ACTIVATIONS}'),
  }
  for field, (holds, wanted) in rules.items():
    if not holds:
      raise UserError(
          f'config.system.size.{field}: expected {wanted}, found '
          f'{getattr(size, field)!r}.'
      )
  return size


def _size_of_fields(fields: Mapping[str, Any]) -> Size:
  needed = {f for f in Size._fields if f not in Size._field_defaults}
  wrong = set(fields) - set(Size._fields) | needed - set(fields)
  if wrong:
    raise UserError(
        f'config.system.size: unknown or missing {sorted(wrong)}; it has '
        f'{list(Size._fields)}.'
    )
  return Size(**{name: _frozen(value) for name, value in fields.items()})


def _frozen(value: Any) -> Any:
  """Turn lists, and lists in lists, into tuples, which modules can hold."""
  if isinstance(value, (tuple, list)):
    return tuple(_frozen(part) for part in value)
  return value


def vocoder(
    info: Mapping[str, Any],
    *,
    mel: str = 'make_an_audio',
    size: str | Mapping[str, Any] = 'small',
    periods: Sequence[int] = (2, 3, 5, 7, 11),
    period_width: int = 32,
    spectrum_width: int = 32,
    resolutions: Sequence[tuple[int, int]] = RESOLUTIONS,
    mel_weight: float = 45.0,
    feature_weight: float = 2.0,
    start: int = 0,
) -> System:
  """Build a vocoder and its judges, to be trained from scratch.

  Args:
    info: of a source of waves: `rate`, `samples`.
    mel: name in `signal.MELS`.
    size: of the generator, as for `bigvgan`.
    periods: of the judges of waves.
    period_width: channels of their first layer; 32 as published.
    spectrum_width: channels of the judges of spectra; 32 as published.
    resolutions: (window, hop) of those spectra, in samples.
    mel_weight: of Eq. 2.
    feature_weight: of Eq. 2.
    start: step from which the generator heeds the judges; before it, they
      learn and it follows the mel alone.

  Returns:
    A system that learns from `wave` `[B, N]` and `step` `[B]`, and whose
    `sample` turns `music` `[B, T, M]`, or else the mel of `wave`, into `wave`
    `[B, T hop]`. The generator's weights are `params['generator']`, those of
    `bigvgan`.

  Raises:
    UserError: a setting is wrong, or does not fit the data.
  """
  made = bigvgan(mel, size=size)
  if info['rate'] != made.mel.rate:
    raise UserError(
        f'config.system.mel: {mel} is of waves at {made.mel.rate} Hz, found a '
        f'source at {info["rate"]} Hz.'
    )
  windows = [made.mel.fft, *(window for window, _ in resolutions)]
  if info['samples'] % made.mel.hop or info['samples'] < max(windows):
    raise UserError(
        f'config.data.samples: expected a multiple of the hop {made.mel.hop} '
        f'of at least {max(windows)}, found {info["samples"]}.'
    )
  model = _Adversaries(
      made, Discriminators(tuple(periods), period_width, spectrum_width),
      tuple((window, hop) for window, hop in resolutions), mel_weight,
      feature_weight, start
  )
  return System(model.init, model.loss, model.sample)


@dataclasses.dataclass(frozen=True)
class _Adversaries:
  """The functions of `vocoder`, over what it builds."""

  vocoder: Vocoder
  judges: Discriminators
  resolutions: tuple[tuple[int, int], ...]
  mel_weight: float
  feature_weight: float
  start: int

  def init(self, key: Key, batch: Batch) -> Variables:
    """Initialise the generator and its judges."""
    key_generator, key_judges = jax.random.split(key)
    wave = jnp.asarray(batch['wave'][:1])
    return Variables({
        'generator': self.vocoder.init(key_generator),
        'judges': self.judges.init(key_judges, wave, self._spectra(wave)),
    }, {})

  def loss(
      self, params: Params, frozen: Params, batch: Batch, key: Key
  ) -> tuple[Array, dict[str, Array]]:
    """Return the sum of Eq. 2 and 3, and their parts."""
    del frozen
    wave = batch['wave']
    bands = signal.log_mel(wave, self.vocoder.mel)
    made = self.vocoder.apply(params['generator'], bands, key)
    still, judges = jax.lax.stop_gradient((made, params['judges']))
    of_true = self._judge(params['judges'], wave)
    of_still = self._judge(params['judges'], still)
    of_made = self._judge(judges, made)
    heard = signal.log_mel(made, self.vocoder.mel)
    metrics = {
        'mel': jnp.mean(jnp.abs(heard - bands)),
        'adversarial': pleased(of_made),
        'feature': apart(of_made, of_true),
        'judges': judged(of_true, of_still),
    }
    heed = jnp.where(batch['step'][0] >= self.start, 1.0, 0.0)
    generator = self._natural * self.mel_weight * metrics['mel'] + heed * (
        metrics['adversarial'] + self.feature_weight * metrics['feature']
    )
    return generator + metrics['judges'], metrics

  def sample(
      self, params: Params, frozen: Params, batch: Batch, key: Key
  ) -> dict[str, Array]:
    """Return `wave` of the batch's mels, or of the mels of its waves."""
    del frozen
    if 'music' in batch:
      bands = batch['music']
    else:
      bands = signal.log_mel(batch['wave'], self.vocoder.mel)
    return {'wave': self.vocoder.apply(params['generator'], bands, key)}

  @property
  def _natural(self) -> float:
    """What turns differences of log-mels into natural logarithms."""
    return LOGS[self.vocoder.mel.log]

  def _judge(self, params: Params, wave: Array) -> Verdicts:
    verdicts: Any = self.judges.apply(params, wave, self._spectra(wave))
    return verdicts

  def _spectra(self, wave: Array) -> list[Array]:
    return [signal.magnitudes(wave, *pair) for pair in self.resolutions]


def pleased(of_made: Verdicts) -> Array:
  """Return how far the judges are from taking made waves for true ones."""
  parts = [jnp.mean((1 - verdict) ** 2) for verdict, _ in of_made]
  return sum(parts, jnp.zeros(()))


def judged(of_true: Verdicts, of_made: Verdicts) -> Array:
  """Return the loss of the judges, Eq. 3."""
  parts = [
      jnp.mean((1 - true) ** 2) + jnp.mean(made**2)
      for (true, _), (made, _) in zip(of_true, of_made)
  ]
  return sum(parts, jnp.zeros(()))


def apart(of_made: Verdicts, of_true: Verdicts) -> Array:
  """Return the distance of features; those of true waves are given."""
  parts = [
      jnp.mean(jnp.abs(made - jax.lax.stop_gradient(true)))
      for (_, mades), (_, trues) in zip(of_made, of_true)
      for made, true in zip(mades, trues)
  ]
  return sum(parts, jnp.zeros(()))
