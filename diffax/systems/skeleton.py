"""SkeletonDiffusion: futures of human motion from skeleton-shaped noise.

Two systems, trained one after the other. The autoencoder maps a future to one
latent per joint and back, given the past:

  (1)  z = E(future),  future = D(past, z)

The diffusion draws latents given the past, with noise whose covariance over
the joints follows the skeleton graph (`diffusion.process.nonisotropic`):

  (2)  x_t = sqrt(alphabar_t) z + U Lambdabar_t^{1/2} eps
  (3)  z_hat = g(x_t, tanh(E(past)), t)
  (4)  loss = alphabar_t mean |Lambdabar_t^{-1/2} U^T (z_hat - z)|

of the best of K noise draws, chosen without gradients by the distance of the
decoded motion to the truth. Batches are metres; the networks see metres
divided by `box_size`, or what else `skeleton_space` makes of them.

Settings beyond those of the paper's model are the variants of its tables and
what we add: the noise has those of `skeleton_noise`, futures longer than the
trained ones those of `continuation`, the bones of drawn futures those of
`skeleton_bones`.

References:
  Curreli et al., "Nonisotropic Gaussian Diffusion for Realistic 3D Human
  Motion Prediction", CVPR 2025: Eq. 4-8, Sec. 4.2-4.3. Where the paper and
  its released code differ, the released choice is the default.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import functools
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from diffax.body.skeletons import Skeleton
from diffax.diffusion import gaussian
from diffax.diffusion import losses
from diffax.diffusion import process as processes
from diffax.errors import UserError
from diffax.nn.skeleton import Decoder
from diffax.nn.skeleton import Denoiser
from diffax.nn.skeleton import Encoder
from diffax.systems import continuation as continuations
from diffax.systems import generate
from diffax.systems import skeleton_bones
from diffax.systems import skeleton_noise
from diffax.systems.base import System
from diffax.systems.base import Variables
from diffax.systems.skeleton_noise import Noise
from diffax.systems.skeleton_space import Space
from diffax.typing import Array
from diffax.typing import Batch
from diffax.typing import Key
from diffax.typing import Params


def autoencoder(
    info: Mapping[str, Any],
    *,
    box_size: float,
    width: int = 96,
    encoder_layers: int = 2,
    representation: str = 'frames',
    dtype: str = 'float32',
) -> System:
  """Build the first stage, the autoencoder of futures (Eq. 1).

  Args:
    info: of the data source: `skeleton`, `future`.
    box_size: metres that the networks see as one.
    width: features per joint, D.
    encoder_layers: layers of the encoder's GRU.
    representation: of motions, see `skeleton_space`.
    dtype: of the computation; parameters stay float32.

  Returns:
    A system whose `sample` is the reconstruction, `motion` `[B, 1, F, J, 3]`.
  """
  encoder, decoder = _networks(
      info['skeleton'], width, encoder_layers, dtype
  )
  space = Space(box_size, representation)
  unit = 100.0 * box_size if representation == 'frames' else 1.0
  measure = 'l1_cm' if representation == 'frames' else 'l1_coefficients'

  def init(key: Key, batch: Batch) -> Variables:
    return Variables(_init_networks(encoder, decoder, key, batch), {})

  def reconstruct(params: Params, batch: Batch, horizon: Array | None) -> Any:
    past, future = space.enter(batch['past']), space.enter(batch['future'])
    z = encoder.apply(params['encoder'], future, horizon)
    length = future.shape[1]
    return decoder.apply(params['decoder'], past, z, length)

  def loss(
      params: Params, frozen: Params, batch: Batch, key: Key
  ) -> tuple[Array, dict[str, Array]]:
    del frozen, key
    horizon = batch.get('horizon')
    space.check_whole(batch['future'].shape[1], info['future'])
    recovered = reconstruct(params, batch, horizon)
    future = space.enter(batch['future'])
    error = jnp.mean(motion_distance(recovered, future, horizon))
    return error, {measure: error * unit}

  def sample(
      params: Params, frozen: Params, batch: Batch, key: Key
  ) -> dict[str, Array]:
    del frozen, key
    motion = space.leave(reconstruct(params, batch, None))
    return {'motion': motion[:, None]}

  return System(init, loss, sample)


def diffusion(
    info: Mapping[str, Any],
    *,
    box_size: float,
    process: Mapping[str, Any],
    denoiser: Mapping[str, Any],
    sampler: Mapping[str, Any],
    width: int = 96,
    encoder_layers: int = 2,
    dtype: str = 'float32',
    relaxation: int = 50,
    selection: str = 'motion',
    norm: str = 'l1',
    weight: str = 'alphabar',
    chunk: int | None = None,
    samples: int = 50,
    representation: str = 'frames',
    past_encoder: str = 'frozen',
    bones: str = 'free',
    continuation: str = 'own',
) -> System:
  """Build the second stage, the diffusion of latents (Eq. 2-4).

  Args:
    info: of the data source: `skeleton`, `past`, `future` and, where futures
      of segments are longer than those of training, `test_future`.
    box_size: metres that the networks see as one.
    process: arguments of `skeleton_noise.build`.
    denoiser: arguments of the denoiser: width, depth, heads, head_width,
      attention.
    sampler: `name` ddpm, ddim or dpm_solver_pp and its arguments; `steps`,
      `start` (white | matched) and `clip` (bound of z_hat; None for none).
    width: features per joint of the trained autoencoder.
    encoder_layers: layers of the trained encoder.
    dtype: of the computation; parameters stay float32.
    relaxation: K, the noise draws of which the best is trained.
    selection: what is compared, `motion` (decoded, as in the paper) or
      `latent` (the loss itself).
    norm: of the whitened error: `l1` (released), `l2` or `norm` (Eq. 8).
    weight: of the loss at t, a name of `losses.WEIGHTS`.
    chunk: draws scored at once, a divisor of K, to bound memory.
    samples: futures per past when sampling.
    representation: of motions, that of the trained autoencoder.
    past_encoder: that of the pasts, `frozen` as the autoencoder has it, or
      `tuned`, a copy that is trained with the denoiser.
    bones: of drawn futures, see `skeleton_bones`; `free` leaves them as the
      decoder makes them.
    continuation: how futures longer than those of training go on, see
      `systems.continuation`.

  Returns:
    A system whose `sample` draws `motion` `[B, samples, F, J, 3]`, where F is
    `test_future`, and whose `encode` returns the latents `past` and `future`
    `[B, J, D]` of what a batch has.

  Raises:
    UserError: a setting is wrong.
  """
  _one_of('selection', selection, SELECTIONS)
  _one_of('past_encoder', past_encoder, PAST_ENCODERS)
  _one_of('bones', bones, skeleton_bones.KINDS)
  continuations.check(continuation)
  skeleton: Skeleton = info['skeleton']
  encoder, decoder = _networks(skeleton, width, encoder_layers, dtype)
  noise = _built(skeleton_noise.build, 'process', skeleton, **process)
  model = _LatentDiffusion(
      encoder=encoder,
      decoder=decoder,
      network=_built(
          Denoiser, 'denoiser', skeleton.types, latent=width,
          dtype=jnp.dtype(dtype), **denoiser
      ),
      noise=noise,
      # Latents lie within the encoder's tanh.
      generate=generate.generator(noise.steps, **{'clip': 1.0, **sampler}),
      objective=functools.partial(
          losses.mahalanobis, norm=norm, weight=weight
      ),
      space=Space(box_size, representation),
      draws=relaxation,
      by_motion=selection == 'motion',
      chunk=chunk,
      samples=samples,
      window=info['future'],
      length=info.get('test_future', info['future']),
      tuned=past_encoder == 'tuned',
      fix_bones=functools.partial(
          skeleton_bones.fixed, bones, skeleton.parents
      ),
      continuation=continuation,
  )
  prepare = model.prepare if model.tuned or noise.measure else None
  return System(model.init, model.loss, model.sample, model.encode, prepare)


class Given(NamedTuple):
  """What the draws of one training step share.

  Attributes:
    z: clean latents `[B, J, D]`.
    t: times 1..T `[B]`.
    condition: latents of the past `[B, J, D]`.
  """

  z: Array
  t: Array
  condition: Array


@dataclasses.dataclass(frozen=True)
class _LatentDiffusion:
  """The functions of `diffusion`, over what it builds.

  Beside the denoiser's, parameters are `past_encoder`, if it is tuned, and the
  numbers of the `noise`, if it is measured.
  """

  encoder: Encoder
  decoder: Decoder
  network: Denoiser
  noise: Noise
  generate: generate.Generate
  objective: Callable[[processes.Process, Array, Array], Array]
  space: Space
  draws: int
  by_motion: bool
  chunk: int | None
  samples: int
  window: int
  length: int
  tuned: bool
  fix_bones: Callable[[Array, Array], Array]
  continuation: str

  @property
  def shape(self) -> tuple[int, int]:
    """Shape of a latent, (J, D)."""
    return len(self.network.types), self.network.latent

  def init(self, key: Key, batch: Batch) -> Variables:
    """Initialise the denoiser, and an autoencoder to be replaced."""
    key_frozen, key_params = jax.random.split(key)
    z = jnp.zeros((1, *self.shape))
    params = self.network.init(key_params, z, z, jnp.zeros((1,), jnp.int32))
    frozen = _init_networks(self.encoder, self.decoder, key_frozen, batch)
    if self.tuned:
      params = {**params, 'past_encoder': frozen['encoder']}
    if self.noise.measure:
      params = {**params, 'noise': self.noise.unmeasured}
    return Variables(params, {'autoencoder': frozen})

  def prepare(
      self, params: Params, frozen: Params, batch: Batch, key: Key
  ) -> Params:
    """Take over the trained encoder, and measure what it makes of futures."""
    del key
    if self.tuned:
      trained = frozen['autoencoder']['encoder']
      params = {**params, 'past_encoder': trained}
    if self.noise.measure:
      z = self.latents(frozen, batch['future'])
      params = {**params, 'noise': self.noise.measure(z)}
    return params

  def process(self, params: Params) -> processes.Process:
    """Return the forward process of latents."""
    return self.noise.process(params.get('noise'))

  def latents(self, frozen: Params, motion: Array) -> Any:
    """Return latents of motions `[B, L, J, 3]` in metres."""
    parts = frozen['autoencoder']
    return self.encoder.apply(parts['encoder'], self.space.enter(motion))

  def decode(self, frozen: Params, past: Array, z: Array, length: int) -> Any:
    """Return motions `[B, K, length, J, 3]` as the networks see them."""
    parts = frozen['autoencoder']
    return self.decoder.apply(
        parts['decoder'], self.space.enter(past), z, length
    )

  def condition(self, params: Params, frozen: Params, past: Array) -> Array:
    """Return what the denoiser is told of the past, `[B, J, D]`."""
    if self.tuned:
      frozen = {'autoencoder': {'encoder': params['past_encoder']}}
    # The encoder ends in tanh already; the released denoiser adds a second.
    return jnp.tanh(self.latents(frozen, past))

  def predict(self, params: Params, xt: Array, given: Array, t: Array) -> Any:
    """Return z_hat of noisy latents (Eq. 3)."""
    own = {'params': params['params']}
    # The network counts its times from 0, the process from 1 (0 is clean).
    return self.network.apply(own, xt, given, t - 1)

  def errors(
      self, params: Params, given: Given, noise: Array
  ) -> tuple[Array, Array]:
    """Return z_hat `[B, K, J, D]` and losses `[K, B]` (Eq. 4).

    Args:
      params: of the denoiser.
      given: what the draws share.
      noise: `[K, B, J, D]`.
    """
    count, process = noise.shape[0], self.process(params)
    flat = noise.reshape(-1, *noise.shape[2:])
    z, t = (jnp.tile(x, (count,) + (1,) * (x.ndim - 1)) for x in given[:2])
    xt = gaussian.corrupt(process, z, flat, t)
    xt = jnp.swapaxes(xt.reshape(noise.shape), 0, 1)
    z_hat = self.predict(params, xt, given.condition, given.t)
    flat_hat = jnp.swapaxes(z_hat, 0, 1).reshape(flat.shape)
    return z_hat, self.objective(process, flat_hat - z, t).reshape(count, -1)

  def score(
      self, inputs: tuple[Params, Params, Batch, Given], noise: Array
  ) -> Array:
    """Return what the best draw has least of, `[K, B]`."""
    params, frozen, batch, given = inputs
    z_hat, loss = self.errors(params, given, noise)
    if not self.by_motion:
      return loss
    future = self.space.enter(batch['future'])
    motion = self.decode(frozen, batch['past'], z_hat, future.shape[1])
    return motion_distance(motion, future[:, None]).T

  def loss(
      self, params: Params, frozen: Params, batch: Batch, key: Key
  ) -> tuple[Array, dict[str, Array]]:
    """Return the loss of the best of K draws."""
    key_t, key_noise = jax.random.split(key)
    self.space.check_whole(batch['future'].shape[1], self.window)
    z = self.latents(frozen, batch['future'])
    t = jax.random.randint(key_t, z.shape[:1], 1, self.noise.steps + 1)
    given = Given(z, t, self.condition(params, frozen, batch['past']))
    noise = jax.random.normal(key_noise, (self.draws, *z.shape))
    if self.draws > 1:
      inputs = (params, frozen, batch, given)
      best = losses.best_of(self.score, inputs, noise, self.chunk)
      noise = best.candidate[None]
    z_hat, error = self.errors(params, given, noise)
    rms = jnp.sqrt(jnp.mean((z_hat[:, 0] - z) ** 2))
    return jnp.mean(error), {'latent_rms': rms}

  def draw(
      self, params: Params, frozen: Params, past: Array, samples: int, key: Key
  ) -> tuple[Array, Array]:
    """Draw futures `[B, samples, F, J, 3]` in metres, and their latents."""
    given = self.condition(params, frozen, past)
    batched = (past.shape[0], samples)

    def denoise(xt: Array, t: Array) -> Array:
      z_hat = self.predict(
          params, xt.reshape(*batched, *self.shape), given,
          t.reshape(batched)[:, 0],
      )
      return z_hat.reshape(xt.shape)

    shape = (batched[0] * batched[1], *self.shape)
    z = self.generate(key, self.process(params), denoise, shape)
    z = z.reshape(*batched, *self.shape)
    motion = self.space.leave(self.decode(frozen, past, z, self.window))
    return self.fix_bones(past, motion), z

  def sample(
      self, params: Params, frozen: Params, batch: Batch, key: Key
  ) -> dict[str, Array]:
    """Draw `motion` in metres and, of a single window, its `latent`."""
    if self.length == self.window:
      motion, z = self.draw(params, frozen, batch['past'], self.samples, key)
      return {'motion': motion, 'latent': z}

    def draw(key: Key, past: Array, samples: int) -> Array:
      return self.draw(params, frozen, past, samples, key)[0]

    motion = continuations.continued(
        self.continuation, draw, key, batch, self.samples, self.window,
        self.length
    )
    return {'motion': motion}

  def encode(
      self, params: Params, frozen: Params, batch: Batch, key: Key
  ) -> dict[str, Array]:
    """Return the latents of the `past` and the `future` of a batch."""
    del params, key
    return {
        name: self.latents(frozen, batch[name])
        for name in ('past', 'future') if name in batch
    }


def motion_distance(
    motion: Array, target: Array, horizon: Array | None = None
) -> Array:
  """Return the L1 distance of motions, summed over x, y, z.

  Args:
    motion: `[..., F, J, 3]`.
    target: broadcastable to `motion`, of its rank.
    horizon: frames that count, `[B]`, for motions `[B, F, J, 3]`.

  Returns:
    Means over joints and frames, `[...]`, in the unit of the motions.
  """
  frames = jnp.mean(jnp.sum(jnp.abs(motion - target), axis=-1), axis=-1)
  if horizon is None:
    return jnp.mean(frames, axis=-1)
  chex.assert_rank([frames, horizon], [2, 1])
  counted = jnp.arange(frames.shape[1])[None] < horizon[:, None]
  return jnp.sum(frames * counted, axis=1) / horizon


SELECTIONS = ('motion', 'latent')
PAST_ENCODERS = ('frozen', 'tuned')


def _one_of(field: str, value: str, known: Sequence[str]) -> None:
  if value not in known:
    raise UserError(f'{field}: expected one of {known}, found {value!r}.')


def _built(
    function: Callable[..., Any], field: str, *given: Any, **settings: Any
) -> Any:
  """Call `function`, and name the section of a setting that it lacks."""
  try:
    return function(*given, **settings)
  except TypeError as error:
    raise UserError(f'config.system.{field}: {error}') from error


def _networks(
    skeleton: Skeleton, width: int, encoder_layers: int, dtype: str
) -> tuple[Encoder, Decoder]:
  types = skeleton.types
  encoder = Encoder(types, width, encoder_layers, dtype=jnp.dtype(dtype))
  return encoder, Decoder(types, width, dtype=jnp.dtype(dtype))


def _init_networks(
    encoder: Encoder, decoder: Decoder, key: Key, batch: Batch
) -> Params:
  key_encoder, key_decoder = jax.random.split(key)
  past = jnp.asarray(batch['past'][:1])
  params = encoder.init(key_encoder, past)
  z = encoder.apply(params, past)
  return {
      'encoder': params,
      'decoder': decoder.init(key_decoder, past, z, 1),
  }
