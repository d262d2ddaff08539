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
divided by `box_size`.

References:
  Curreli et al., "Nonisotropic Gaussian Diffusion for Realistic 3D Human
  Motion Prediction", CVPR 2025: Eq. 4-8, Sec. 4.2-4.3. Where the paper and
  its released code differ, the released choice is the default.
"""

from collections.abc import Callable, Mapping
import dataclasses
import functools
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from diffax.body.skeletons import adjacency
from diffax.body.skeletons import Skeleton
from diffax.diffusion import covariance as covariances
from diffax.diffusion import gaussian
from diffax.diffusion import losses
from diffax.diffusion import process as processes
from diffax.diffusion import schedules
from diffax.errors import UserError
from diffax.nn.skeleton import Decoder
from diffax.nn.skeleton import Denoiser
from diffax.nn.skeleton import Encoder
from diffax.systems import generate
from diffax.systems.base import System
from diffax.systems.base import Variables
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
    dtype: str = 'float32',
) -> System:
  """Build the first stage, the autoencoder of futures (Eq. 1).

  Args:
    info: of the data source: `skeleton`, `future`.
    box_size: metres that the networks see as one.
    width: features per joint, D.
    encoder_layers: layers of the encoder's GRU.
    dtype: of the computation; parameters stay float32.

  Returns:
    A system whose `sample` is the reconstruction, `motion` `[B, 1, F, J, 3]`.
  """
  encoder, decoder = _networks(
      info['skeleton'], width, encoder_layers, dtype
  )

  def init(key: Key, batch: Batch) -> Variables:
    return Variables(_init_networks(encoder, decoder, key, batch), {})

  def reconstruct(params: Params, batch: Batch, horizon: Array | None) -> Any:
    past, future = batch['past'] / box_size, batch['future'] / box_size
    z = encoder.apply(params['encoder'], future, horizon)
    length = future.shape[1]
    return decoder.apply(params['decoder'], past, z, length)

  def loss(
      params: Params, frozen: Params, batch: Batch, key: Key
  ) -> tuple[Array, dict[str, Array]]:
    del frozen, key
    horizon = batch.get('horizon')
    recovered = reconstruct(params, batch, horizon)
    error = motion_distance(recovered, batch['future'] / box_size, horizon)
    return jnp.mean(error), {'l1_cm': jnp.mean(error) * box_size * 100.0}

  def sample(
      params: Params, frozen: Params, batch: Batch, key: Key
  ) -> dict[str, Array]:
    del frozen, key
    motion = reconstruct(params, batch, None) * box_size
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
) -> System:
  """Build the second stage, the diffusion of latents (Eq. 2-4).

  Args:
    info: of the data source: `skeleton`, `past`, `future`.
    box_size: metres that the networks see as one.
    process: arguments of `skeleton_process`.
    denoiser: arguments of the denoiser: width, depth, heads, head_width.
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

  Returns:
    A system whose `sample` draws `motion` `[B, samples, F, J, 3]`.
  """
  if selection not in SELECTIONS:
    raise UserError(
        f'selection: expected one of {SELECTIONS}, found {selection!r}.'
    )
  skeleton: Skeleton = info['skeleton']
  encoder, decoder = _networks(skeleton, width, encoder_layers, dtype)
  noise = skeleton_process(skeleton, **process)
  model = _LatentDiffusion(
      encoder=encoder,
      decoder=decoder,
      network=Denoiser(
          skeleton.types, latent=width, dtype=jnp.dtype(dtype), **denoiser
      ),
      process=noise,
      # Latents lie within the encoder's tanh.
      generate=generate.generator(noise.steps, **{'clip': 1.0, **sampler}),
      objective=functools.partial(
          losses.mahalanobis, noise, norm=norm, weight=weight
      ),
      box_size=box_size,
      draws=relaxation,
      by_motion=selection == 'motion',
      chunk=chunk,
      samples=samples,
      length=info['future'],
  )
  return System(model.init, model.loss, model.sample)


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
  """The functions of `diffusion`, over what it builds."""

  encoder: Encoder
  decoder: Decoder
  network: Denoiser
  process: processes.Process
  generate: generate.Generate
  objective: Callable[[Array, Array], Array]
  box_size: float
  draws: int
  by_motion: bool
  chunk: int | None
  samples: int
  length: int

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
    return Variables(params, {'autoencoder': frozen})

  def encode(self, frozen: Params, motion: Array) -> Any:
    """Return latents of motions `[B, L, J, 3]` in metres."""
    parts = frozen['autoencoder']
    return self.encoder.apply(parts['encoder'], motion / self.box_size)

  def decode(self, frozen: Params, past: Array, z: Array, length: int) -> Any:
    """Return motions `[B, K, length, J, 3]` in box units."""
    parts = frozen['autoencoder']
    return self.decoder.apply(
        parts['decoder'], past / self.box_size, z, length
    )

  def condition(self, frozen: Params, past: Array) -> Array:
    """Return what the denoiser is told of the past, `[B, J, D]`."""
    # The encoder ends in tanh already; the released denoiser adds a second.
    return jnp.tanh(self.encode(frozen, past))

  def predict(self, params: Params, xt: Array, given: Array, t: Array) -> Any:
    """Return z_hat of noisy latents (Eq. 3)."""
    # The network counts its times from 0, the process from 1 (0 is clean).
    return self.network.apply(params, xt, given, t - 1)

  def errors(
      self, params: Params, given: Given, noise: Array
  ) -> tuple[Array, Array]:
    """Return z_hat `[B, K, J, D]` and losses `[K, B]` (Eq. 4).

    Args:
      params: of the denoiser.
      given: what the draws share.
      noise: `[K, B, J, D]`.
    """
    count = noise.shape[0]
    flat = noise.reshape(-1, *noise.shape[2:])
    z, t = (jnp.tile(x, (count,) + (1,) * (x.ndim - 1)) for x in given[:2])
    xt = gaussian.corrupt(self.process, z, flat, t)
    xt = jnp.swapaxes(xt.reshape(noise.shape), 0, 1)
    z_hat = self.predict(params, xt, given.condition, given.t)
    flat_hat = jnp.swapaxes(z_hat, 0, 1).reshape(flat.shape)
    return z_hat, self.objective(flat_hat - z, t).reshape(count, -1)

  def score(
      self, inputs: tuple[Params, Params, Batch, Given], noise: Array
  ) -> Array:
    """Return what the best draw has least of, `[K, B]`."""
    params, frozen, batch, given = inputs
    z_hat, loss = self.errors(params, given, noise)
    if not self.by_motion:
      return loss
    future = batch['future'] / self.box_size
    motion = self.decode(frozen, batch['past'], z_hat, future.shape[1])
    return motion_distance(motion, future[:, None]).T

  def loss(
      self, params: Params, frozen: Params, batch: Batch, key: Key
  ) -> tuple[Array, dict[str, Array]]:
    """Return the loss of the best of K draws."""
    key_t, key_noise = jax.random.split(key)
    z = self.encode(frozen, batch['future'])
    t = jax.random.randint(key_t, z.shape[:1], 1, self.process.steps + 1)
    given = Given(z, t, self.condition(frozen, batch['past']))
    noise = jax.random.normal(key_noise, (self.draws, *z.shape))
    if self.draws > 1:
      inputs = (params, frozen, batch, given)
      best = losses.best_of(self.score, inputs, noise, self.chunk)
      noise = best.candidate[None]
    z_hat, error = self.errors(params, given, noise)
    rms = jnp.sqrt(jnp.mean((z_hat[:, 0] - z) ** 2))
    return jnp.mean(error), {'latent_rms': rms}

  def sample(
      self, params: Params, frozen: Params, batch: Batch, key: Key
  ) -> dict[str, Array]:
    """Draw `motion` `[B, samples, F, J, 3]` in metres and its `latent`."""
    past = batch['past']
    given = self.condition(frozen, past)
    batched = (past.shape[0], self.samples)

    def denoise(xt: Array, t: Array) -> Array:
      z_hat = self.predict(
          params, xt.reshape(*batched, *self.shape), given,
          t.reshape(batched)[:, 0],
      )
      return z_hat.reshape(xt.shape)

    shape = (batched[0] * batched[1], *self.shape)
    z = self.generate(key, self.process, denoise, shape)
    z = z.reshape(*batched, *self.shape)
    motion = self.decode(frozen, past, z, self.length)
    return {'motion': motion * self.box_size, 'latent': z}


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


def skeleton_process(
    skeleton: Skeleton,
    *,
    noise: str = 'nonisotropic',
    steps: int = 10,
    betas: str = 'cosine',
    gammas: str = 'released',
    correlation: str = 'adjacency',
    eta: float = 0.5,
    shift: str = 'released',
    normalise: str = 'spectral',
    ridge: float | None = None,
) -> processes.Process:
  """Build the forward process of latents `[J, D]` on a skeleton.

  Args:
    skeleton: whose node graph shapes the noise.
    noise: `nonisotropic`, or `isotropic` for white noise over the joints.
    steps: T.
    betas: name in `schedules.BETAS`.
    gammas: name in `schedules.GAMMAS`, the share of the graph's covariance.
    correlation: name in `CORRELATIONS`: A, R or R_hip of the paper.
    eta: factor per hop of the reachability.
    shift: `released` or `paper`, of the covariance's diagonal.
    normalise: `spectral` or `frobenius`.
    ridge: see `covariance.covariance`.

  Returns:
    The process; its basis turns the joint axis.

  References:
    Curreli et al. 2025, Eq. 4-6, Sec. 4.2, Tables 4, 5 and 7.
  """
  table = schedules.betas(betas, steps)
  if noise == 'isotropic':
    return processes.isotropic(table, ndim=2)
  if noise != 'nonisotropic' or correlation not in CORRELATIONS:
    raise UserError(
        'process: expected noise nonisotropic or isotropic and correlation '
        f'one of {sorted(CORRELATIONS)}, found {noise!r}, {correlation!r}.'
    )
  graph = CORRELATIONS[correlation](skeleton, eta)
  sigma = covariances.covariance(graph, shift, normalise, ridge)
  return processes.nonisotropic(
      table,
      schedules.gammas(gammas, table),
      sigma,
      axis=0,
      ndim=2,
      scales=schedules.scales(gammas, table),
  )


CORRELATIONS: Mapping[str, Callable[[Skeleton, float], np.ndarray]] = {
    'adjacency': lambda body, eta: adjacency(body),
    'reachability': lambda body, eta: covariances.reachability(
        adjacency(body), eta
    ),
    'hip_reachability': lambda body, eta: covariances.hip_reachability(
        adjacency(body), np.asarray(body.hips), eta
    ),
}
SELECTIONS = ('motion', 'latent')


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
