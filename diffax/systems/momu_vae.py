"""BiCoR-VAE: autoencoders of music and of motion with aligned latents.

Stage one is the autoencoder of music, with a critic (`diffusion.adversarial`):

  (1)  sum |x' - x| + kl sum KL(q(z | x) || N(0, 1)) + weight w generator
       + factor critic + penalty R1,

sums over a sample, means over the batch, x' decoded from a draw of z, and w of
`adversarial.weight` on the last layer. The critic's terms see x' and the
generator's see the critic through `stop_gradient`: one gradient of one loss
trains both as two alternating steps would at the same parameters. All of it is
off until the step `start`.

Stage two is that of motion, given the first and aligned with it
(`diffusion.rhythmic`) through the means of both posteriors:

  (2)  sum |x' - x| + velocity sum |dx' - dx| + kl sum KL
       + contrast L(mean of q(z_a), mean of q(z_m)),

dx the change from frame to frame. The paper has no such term. Kinematic beats
are changes of velocity, so small beside the places themselves that a short
training leaves them out of the latents, and with them what follows the music.

The music's latents do not move: "bidirectional" are the two directions of L.

References:
  You et al., "MoMu-Diffusion", NeurIPS 2024, Sec. 3, Eq. 10-11.
  Huang et al., "Make-An-Audio 2", 2023: sums, factor, penalty and start.
"""

from collections.abc import Callable, Mapping
import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from diffax.diffusion import adversarial
from diffax.diffusion import losses
from diffax.diffusion import rhythmic
from diffax.errors import UserError
from diffax.nn.discriminator import PatchCritic
from diffax.nn.temporal import ENDS
from diffax.nn.vae import Autoencoder
from diffax.nn.vae import Posterior
from diffax.systems.base import System
from diffax.systems.base import Variables
from diffax.typing import Array
from diffax.typing import Batch
from diffax.typing import Key
from diffax.typing import Params

CRITIC = 64
# Frames of a sequence, and channels, that the critic's borders leave a verdict.
_LEAST = 24


class Gan(NamedTuple):
  """Hold the settings of the adversarial part of Eq. 1.

  Attributes:
    weight: of the generator's loss.
    factor: of the losses of both sides.
    penalty: weight of R1.
    start: step before which all of it is off.
    frames: of the stretch of each sequence, elsewhere at each step, that the
      critic sees; None for all of it.
  """

  weight: float = 0.5
  factor: float = 2.0
  penalty: float = 3.0
  start: int = 80_001
  frames: int | None = None


def momu_mel_vae(
    info: Mapping[str, Any],
    *,
    network: Mapping[str, Any] | None = None,
    critic: int = CRITIC,
    gan: Mapping[str, Any] | None = None,
    kl: float = 1e-5,
    dtype: str = 'float32',
) -> System:
  """Build the first stage, the autoencoder of music (Eq. 1).

  Args:
    info: of the data source: `music`.
    network: of `nn.vae.Autoencoder`.
    critic: features of the critic's first layer, a multiple of 8; 0 for none.
    gan: of `Gan`.
    kl: weight of the divergence.
    dtype: of the computation; parameters stay float32.

  Returns:
    A system whose `sample` is the reconstruction `music` `[B, T, C]` and whose
    `encode` returns the latents `music` `[B, T / 2, D]`. What it trains is the
    part `music` of later stages; `network` and `critic` describe it there.

  Raises:
    UserError: a setting is wrong.
  """
  part = part_of(info, 'music', network=network, critic=critic, dtype=dtype)
  settings = built(Gan, gan or {}, 'gan')
  frames = settings.frames
  if frames is not None and not _LEAST <= frames <= info['frames']:
    raise UserError(
        f'config.system.gan.frames: expected {_LEAST} to {info["frames"]}, '
        f'found {frames}.'
    )

  def init(key: Key, batch: Batch) -> Variables:
    del batch
    return Variables(part.init(key), {})

  def loss(
      params: Params, frozen: Params, batch: Batch, key: Key
  ) -> tuple[Array, dict[str, Array]]:
    del frozen
    found = evidence(part, params, batch['music'], key, kl)
    if part.critic is None:
      return found.loss, found.metrics
    on = jnp.max(batch['step']) >= settings.start if 'step' in batch else True
    own = jax.random.fold_in(key, 1)
    cut = _stretch(own, batch['music'], settings.frames)
    more, metrics = _adversarial(part, params, batch['music'], found, settings,
                                 jnp.asarray(on), cut)
    return found.loss + more, {**found.metrics, **metrics}

  def sample(
      params: Params, frozen: Params, batch: Batch, key: Key
  ) -> dict[str, Array]:
    del frozen, key
    return part.reconstructed(params, batch)

  def encode(
      params: Params, frozen: Params, batch: Batch, key: Key
  ) -> dict[str, Array]:
    del frozen, key
    return {'music': part.encode(params, batch['music']).mean}

  return System(init, loss, sample, encode)


def momu_motion_vae(
    info: Mapping[str, Any],
    *,
    network: Mapping[str, Any] | None = None,
    music: Mapping[str, Any] | None = None,
    contrast: float = 1.0,
    clips: Mapping[str, Any] | None = None,
    kl: float = 1e-5,
    velocity: float = 0.0,
    dtype: str = 'float32',
) -> System:
  """Build the second stage, the autoencoder of motion (Eq. 2).

  Args:
    info: of the data source: `music`, `motion`.
    network: of `nn.vae.Autoencoder`.
    music: `network` and `critic` of the trained first stage.
    contrast: weight of the alignment; 0 trains without it.
    clips: of `rhythmic.contrast`: `clip`, `draws`, `categories`, `clips`,
      `temperature`, `batch_negatives`.
    kl: weight of the divergence.
    velocity: weight of the changes from frame to frame; the paper's is 0.
    dtype: of the computation; parameters stay float32.

  Returns:
    A system whose `sample` is the reconstruction `motion` `[B, T, C]` and
    whose `encode` returns the latents `motion` and, if the batch has it,
    `music` `[B, T / 2, D]`. Its frozen part is `music`.

  Raises:
    UserError: a setting is wrong.
  """
  part = part_of(info, 'motion', network=network, critic=0, dtype=dtype)
  given = described(info, 'music', music or {}, dtype)
  if contrast and given.network.latent != part.network.latent:
    raise UserError(
        'config.system.network.latent: expected as many as of the music, '
        f'{given.network.latent}, found {part.network.latent}.'
    )
  if velocity < 0:
    raise UserError(
        f'config.system.velocity: expected 0 or more, found {velocity:g}.'
    )
  options = _known(dict(clips or {}), rhythmic.contrast, 'clips')

  def init(key: Key, batch: Batch) -> Variables:
    del batch
    key_params, key_frozen = jax.random.split(key)
    return Variables(part.init(key_params), {'music': given.init(key_frozen)})

  def loss(
      params: Params, frozen: Params, batch: Batch, key: Key
  ) -> tuple[Array, dict[str, Array]]:
    key, key_clips = jax.random.split(key)
    found = evidence(part, params, batch['motion'], key, kl, velocity)
    if not contrast:
      return found.loss, found.metrics
    apart, accuracy = rhythmic.contrast(
        given.encode(frozen['music'], batch['music']).mean,
        found.posterior.mean, at_latents(batch['amplitude']), key_clips,
        **options,
    )
    metrics = {'contrast': apart, 'contrast_accuracy': accuracy}
    return found.loss + contrast * apart, {**found.metrics, **metrics}

  def sample(
      params: Params, frozen: Params, batch: Batch, key: Key
  ) -> dict[str, Array]:
    del frozen, key
    return part.reconstructed(params, batch)

  def encode(
      params: Params, frozen: Params, batch: Batch, key: Key
  ) -> dict[str, Array]:
    del key
    found = {'motion': part.encode(params, batch['motion']).mean}
    if 'music' in batch:
      found['music'] = given.encode(frozen['music'], batch['music']).mean
    return found

  return System(init, loss, sample, encode)


@dataclasses.dataclass(frozen=True)
class Part:
  """An autoencoder of one modality, as stages hand it on.

  Attributes:
    name: `music` or `motion`.
    network: of it.
    critic: of what it makes; None without.
  """

  name: str
  network: Autoencoder
  critic: PatchCritic | None

  def init(self, key: Key) -> Params:
    """Return `autoencoder`, and `critic` if there is one."""
    key_network, key_critic = jax.random.split(key)
    x = jnp.zeros((1, 2 * _LEAST, self.network.channels))
    params = {'autoencoder': self.network.init(key_network, x)}
    if self.critic is not None:
      params['critic'] = self.critic.init(key_critic, x)
    return params

  def encode(self, params: Params, x: Array) -> Posterior:
    """Return the posterior of sequences `[B, T, C]`."""
    _check_shape(self, x)
    found: Posterior = self._apply(params, x, 'encode')
    return found

  def decode(self, params: Params, z: Array) -> Array:
    """Map latents `[B, T / 2, D]` to sequences `[B, T, C]`."""
    return jnp.asarray(self._apply(params, z, 'decode'))

  def reconstructed(self, params: Params, batch: Batch) -> dict[str, Array]:
    """Decode the mean of the posterior: `[B, T, C]` to `[B, T, C]`."""
    if self.name not in batch:
      raise UserError(
          f'sample: expected {self.name}, of which an autoencoder makes the '
          f'same, found {sorted(batch)}. Is the last of config.stages the one '
          'to sample from?'
      )
    z = self.encode(params, batch[self.name]).mean
    return {self.name: self.decode(params, z)}

  def features(self, params: Params, z: Array) -> Array:
    """Map latents to all but the last layer `[B, T, W]`."""
    return jnp.asarray(self._apply(params, z, 'features'))

  def output(self, params: Params, features: Array) -> Array:
    """Apply the last layer: `[B, T, W]` to `[B, T, C]`."""
    return jnp.asarray(self._apply(params, features, 'output'))

  def judge(self, params: Params, x: Array) -> Array:
    """Return the critic's verdicts on sequences `[B, T, C]`."""
    assert self.critic is not None
    return jnp.asarray(self.critic.apply(params['critic'], x))

  def _apply(self, params: Params, x: Array, method: str) -> Any:
    return self.network.apply(params['autoencoder'], x, method=method)


def part_of(
    info: Mapping[str, Any],
    name: str,
    *,
    network: Mapping[str, Any] | None = None,
    critic: int | None = None,
    dtype: str = 'float32',
) -> Part:
  """Build the autoencoder of a modality.

  Args:
    info: of the data source.
    name: `music` or `motion`.
    network: of `nn.vae.Autoencoder`.
    critic: features of the critic's first layer, 0 for none; by default the
      paper's for music, none for motion.
    dtype: of the computation.

  Returns:
    The part.

  Raises:
    UserError: a setting is wrong.
  """
  settings = {'dtype': jnp.dtype(dtype), **(network or {})}
  net: Autoencoder = built(
      Autoencoder, {'channels': info[name]['dims'], **settings}, 'network'
  )
  if net.width % net.groups or len(net.multiples) < 2:
    raise UserError(
        'config.system.network: expected a width that is a multiple of groups '
        f'and two multiples or more, found width {net.width}, groups '
        f'{net.groups}, multiples {tuple(net.multiples)}.'
    )
  if net.ends not in ENDS:
    raise UserError(
        f'config.system.network.ends: expected one of {ENDS}, found '
        f'{net.ends!r}.'
    )
  if critic is None:
    critic = CRITIC if name == 'music' else 0
  if critic < 0 or critic % 8 or (critic and net.channels < _LEAST):
    raise UserError(
        'config.system.critic: expected a multiple of 8, and 0 for less than '
        f'{_LEAST} channels, found {critic} for {net.channels}.'
    )
  judge = PatchCritic(critic, dtype=jnp.dtype(dtype)) if critic else None
  return Part(name, net, judge)


class Evidence(NamedTuple):
  """Hold what the first two terms of Eq. 1 and 2 are made of.

  Attributes:
    loss: scalar.
    posterior: of the sequences.
    features: of the last layer's input, `[B, T, W]`.
    made: x' `[B, T, C]`.
    metrics: `l1`, `kl` and, if weighed, `velocity`, means over the elements.
  """

  loss: Array
  posterior: Posterior
  features: Array
  made: Array
  metrics: dict[str, Array]


def evidence(
    part: Part, params: Params, x: Array, key: Key, kl: float,
    velocity: float = 0.0
) -> Evidence:
  """Encode, draw, decode and compare.

  Args:
    part: autoencoder.
    params: of it.
    x: `[B, T, C]`.
    key: of the draw.
    kl: weight of the divergence.
    velocity: weight of the changes from frame to frame.

  Returns:
    Evidence.
  """
  posterior = part.encode(params, x)
  features = part.features(params, posterior.draw(key))
  made = part.output(params, features)
  divergence = losses.kl_normal(*posterior)
  loss = _summed(jnp.abs(made - x)) + kl * _summed(divergence)
  metrics = {'l1': jnp.mean(jnp.abs(made - x)), 'kl': jnp.mean(divergence)}
  if velocity:
    apart = jnp.abs(jnp.diff(made, axis=1) - jnp.diff(x, axis=1))
    loss += velocity * _summed(apart)
    metrics['velocity'] = jnp.mean(apart)
  return Evidence(loss, posterior, features, made, metrics)


def at_latents(amplitude: Array) -> Array:
  """Reduce amplitudes of frames `[B, T]` to those of latents `[B, T / 2]`."""
  return jnp.max(amplitude.reshape(len(amplitude), -1, 2), axis=-1)


Cut = Callable[[Array], Array]


def _stretch(key: Key, x: Array, frames: int | None) -> Cut:
  """Return what cuts a stretch of some frames from sequences `[B, T, C]`."""
  if frames is None:
    return lambda y: y
  start = jax.random.randint(key, (), 0, x.shape[1] - frames + 1)
  return lambda y: jax.lax.dynamic_slice_in_dim(y, start, frames, axis=1)


def _adversarial(
    part: Part, params: Params, x: Array, found: Evidence, gan: Gan, on: Array,
    cut: Cut
) -> tuple[Array, dict[str, Array]]:
  """Return the last three terms of Eq. 1, 0 if not `on`, and metrics."""
  names = ('gan_weight', 'generator', 'critic', 'r1')

  def play() -> tuple[Array, dict[str, Array]]:
    fixed = jax.lax.stop_gradient(params)
    made = cut(jax.lax.stop_gradient(found.made))
    weight = gan.weight * _pull(part, fixed, x, found.features, cut)
    fooled = adversarial.generator(part.judge(fixed, cut(found.made)))
    told = adversarial.critic(
        part.judge(params, cut(x)), part.judge(params, made)
    )
    r1 = adversarial.penalty(lambda y: part.judge(params, y), cut(x))
    total = gan.factor * (weight * fooled + told) + gan.penalty * r1
    return total, dict(zip(names, (weight, fooled, told, r1)))

  def rest() -> tuple[Array, dict[str, Array]]:
    return jnp.zeros(()), {name: jnp.zeros(()) for name in names}

  return jax.lax.cond(on, play, rest)


def _pull(
    part: Part, params: Params, x: Array, features: Array, cut: Cut
) -> Array:
  """Return w of Eq. 1, of the last layer's kernel."""
  features = jax.lax.stop_gradient(features)
  tree = params['autoencoder']['params']

  def made(kernel: Array) -> Array:
    conv = {**tree['write']['conv'], 'kernel': kernel}
    inner = {**tree, 'write': {'conv': conv}}
    return part.output({'autoencoder': {'params': inner}}, features)

  kernel = tree['write']['conv']['kernel']
  return adversarial.weight(
      jax.grad(lambda k: _summed(jnp.abs(made(k) - x)))(kernel),
      jax.grad(
          lambda k: adversarial.generator(part.judge(params, cut(made(k))))
      )(kernel),
  )


def _summed(x: Array) -> Array:
  """Sum over a sample, mean over the batch."""
  return jnp.sum(x) / len(x)


def _check_shape(part: Part, x: Array) -> None:
  channels = part.network.channels
  if x.ndim != 3 or x.shape[1] % 2 or x.shape[2] != channels:
    raise UserError(
        f'{part.name}: expected [B, T, {channels}] of an even number of '
        f'frames, found {x.shape}.'
    )


def _known(
    options: dict[str, Any], function: Any, field: str
) -> dict[str, Any]:
  known = set(function.__kwdefaults__)
  if set(options) - known:
    raise UserError(
        f'config.system.{field}: unknown {sorted(set(options) - known)}; it '
        f'has {sorted(known)}.'
    )
  return options


def described(
    info: Mapping[str, Any], name: str, settings: Mapping[str, Any], dtype: str
) -> Part:
  """Build the part of an earlier stage: `part_of`, with its mistakes named."""
  options = {'dtype': dtype, **settings}
  return built(lambda **kw: part_of(info, name, **kw), options, name)


def built(function: Any, options: Mapping[str, Any], field: str) -> Any:
  """Call `function`, and name the section of a setting that it lacks."""
  try:
    return function(**options)
  except TypeError as error:
    raise UserError(f'config.system.{field}: {error}') from error
