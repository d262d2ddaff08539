"""Rivals of LaMbDA that are trained: other uses of the same networks.

  shared     one encoder of all noisy modalities, a decoder for each (Table 6)
  cvae       z ~ q(z | m), m_hat = f(z, others); loss + beta KL(q | N(0, I))
  regressor  m_hat = f(others), no noise
  cdcd       the twin without alignment, pushed away from shuffled targets
  cmmd       one model of all modalities, any of which may be given clean

The last two are diffusion on series after ideas of the cited papers, not their
models: read "CDCD-like" and "CMMD-like". What the paper leaves open:

  - shared: at sampling the given modalities enter the encoder with noise of
    the level that the sample has, as in training. Its latents are of all
    modalities together, so it has no `encode`.
  - cvae: the encoder sees its own modality alone, as a twin's does, so that
    latents compare; beta is constant, for losses know no step.
  - regressor: the latents are of what is given: those of `x` come from the
    encoder of y|x. With three modalities they mix two, and there is none.

References:
  "LaMbDA: Local Latent Embedding Alignment for Cross-modal Time-series
  Diffusion", Sec. 4.2, A.5, Tables 4 and 6.
  Sohn et al., "Learning Structured Output Representation using Deep
  Conditional Generative Models", NeurIPS 2015.
  Zhu et al., "Discrete Contrastive Diffusion for Cross-Modal Music and Image
  Generation", ICLR 2023 (CDCD).
  Yang et al., "CMMD: Contrastive Multi-Modal Diffusion for Video-Audio
  Conditional Modeling", 2024.
"""

from collections.abc import Callable, Mapping
import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from diffax.diffusion import alignment as alignments
from diffax.diffusion import gaussian
from diffax.diffusion import guidance
from diffax.diffusion import losses
from diffax.diffusion import process as processes
from diffax.errors import UserError
from diffax.nn import rivals
from diffax.nn.crossmodal import CrossModal
from diffax.systems import generate
from diffax.systems import lambda_twin
from diffax.systems.base import System
from diffax.systems.base import Variables
from diffax.typing import Array
from diffax.typing import Batch
from diffax.typing import DenoiseFn
from diffax.typing import Key
from diffax.typing import Params


def shared_encoder(
    info: Mapping[str, Any],
    *,
    process: Mapping[str, Any],
    sampler: Mapping[str, Any],
    network: Mapping[str, Any] | None = None,
    energy: Mapping[str, Any] | None = None,
    samples: int = 1,
    dtype: str = 'float32',
) -> System:
  """Build a diffusion with one encoder and a decoder per modality.

  Args:
    info: of the data source: `modalities`, `length`, `covariance`.
    process: arguments of `lambda_twin.series_process`.
    sampler: arguments of `generate.generator`.
    network: arguments of `nn.crossmodal.CrossModal`.
    energy: `weight` and `norm` of the energy loss; None for none.
    samples: K, series per condition.
    dtype: of the computation; parameters stay float32.

  Returns:
    A system without `encode`.

  Raises:
    UserError: a setting is wrong.
  """
  fields = _fields(info, CrossModal, network, dtype, process, sampler)
  one = next(iter(fields['networks'].values()))
  encoder = one.clone(channels=sum(info['modalities'].values()), others=())
  model = _Shared(**fields, energy=energy, samples=samples, encoder=encoder)
  return System(model.init, model.loss, model.sample)


def cvae(
    info: Mapping[str, Any],
    *,
    network: Mapping[str, Any] | None = None,
    alignment: Mapping[str, Any] | None = None,
    energy: Mapping[str, Any] | None = None,
    beta: float = 0.01,
    samples: int = 1,
    dtype: str = 'float32',
) -> System:
  """Build conditional variational autoencoders, aligned or not.

  Args:
    info: of the data source: `modalities`, `length`.
    network: arguments of `nn.crossmodal.CrossModal`.
    alignment: arguments of `lambda_twin.alignment_loss`, of the means of the
      latents; None trains independent models.
    energy: `weight` and `norm` of the energy loss; None for none.
    beta: weight of the divergence from the prior, in nats per token.
    samples: K, series per condition.
    dtype: of the computation; parameters stay float32.

  Returns:
    A system that samples from the prior and encodes to the means.

  Raises:
    UserError: a setting is wrong.
  """
  _positive('beta', beta)
  model = _Autoencoders(
      **_fields(info, rivals.Variational, network, dtype, alignment=alignment),
      energy=energy, samples=samples, beta=beta,
  )
  return System(model.init, model.loss, model.sample, model.encode)


def regressor(
    info: Mapping[str, Any],
    *,
    network: Mapping[str, Any] | None = None,
    samples: int = 1,
    dtype: str = 'float32',
) -> System:
  """Build transformers that predict one modality from the others.

  Args:
    info: of the data source: `modalities`, `length`.
    network: arguments of `nn.crossmodal.CrossModal`.
    samples: K equal copies per condition.
    dtype: of the computation; parameters stay float32.

  Returns:
    A system that draws no random numbers, with `encode` for two modalities.

  Raises:
    UserError: a setting is wrong.
  """
  model = _Regressors(
      **_fields(info, rivals.Regressor, network, dtype),
      energy=None, samples=samples,
  )
  encode = model.encode if len(model.networks) == 2 else None
  return System(model.init, model.loss, model.sample, encode)


def cdcd_like(
    info: Mapping[str, Any],
    *,
    process: Mapping[str, Any],
    sampler: Mapping[str, Any],
    network: Mapping[str, Any] | None = None,
    energy: Mapping[str, Any] | None = None,
    shuffles: int = 10,
    weight: float = 5e-5,
    condition_dropout: float = 0.0,
    samples: int = 1,
    dtype: str = 'float32',
) -> System:
  """Build a twin with negatives within each series instead of an alignment.

  Args:
    info: of the data source: `modalities`, `length`, `covariance`.
    process: arguments of `lambda_twin.series_process`.
    sampler: arguments of `generate.generator`.
    network: arguments of `nn.crossmodal.CrossModal`.
    energy: `weight` and `norm` of the energy loss; None for none.
    shuffles: negatives, the target with its samples in random order.
    weight: of the negatives.
    condition_dropout: rate at which each given modality is hidden.
    samples: K, series per condition.
    dtype: of the computation; parameters stay float32.

  Returns:
    A system like `lambda_twin.twin`.

  Raises:
    UserError: a setting is wrong.
  """
  _positive('shuffles', shuffles)
  model = _Contrasted(
      **_fields(info, CrossModal, network, dtype, process, sampler,
                condition_dropout=condition_dropout),
      energy=energy, samples=samples, shuffles=shuffles, weight=weight,
  )
  return System(model.init, model.loss, model.sample, model.encode)


def cmmd_like(
    info: Mapping[str, Any],
    *,
    process: Mapping[str, Any],
    sampler: Mapping[str, Any],
    network: Mapping[str, Any] | None = None,
    energy: Mapping[str, Any] | None = None,
    contrast: float = 0.1,
    temperature: float = 0.1,
    samples: int = 1,
    dtype: str = 'float32',
) -> System:
  """Build one diffusion of all modalities, any of which may be given clean.

  Args:
    info: of the data source: `modalities`, `length`, `covariance`.
    process: arguments of `lambda_twin.series_process`.
    sampler: arguments of `generate.generator`.
    network: arguments of `nn.crossmodal.CrossModal`.
    energy: `weight` and `norm` of the energy loss; None for none.
    contrast: weight of the InfoNCE between fused features.
    temperature: of the InfoNCE.
    samples: K, series per condition.
    dtype: of the computation; parameters stay float32.

  Returns:
    A system that generates whatever is not given, jointly.

  Raises:
    UserError: a setting is wrong.
  """
  _positive('temperature', temperature)
  model = _Joint(
      **_fields(info, rivals.Fused, network, dtype, process, sampler),
      energy=energy, samples=samples, contrast=contrast,
      temperature=temperature,
  )
  return System(model.init, model.loss, model.sample, model.encode)


class _Prediction(NamedTuple):
  """What a rival makes of a batch.

  Attributes:
    series: x_0 `[B, L, C]` by modality.
    latents: `[B, L / patch, D]` by modality, to be aligned.
    penalties: terms of the loss by name.
  """

  series: dict[str, Array]
  latents: dict[str, Array]
  penalties: dict[str, Array]


@dataclasses.dataclass(frozen=True)
class _Rival(lambda_twin.Twin):
  """A twin with parts to replace: its prediction, and its denoisers."""

  def predict(
      self, params: Params, clean: Batch, t: Array, key: Key
  ) -> _Prediction:
    """Predict each modality of a training batch at times `t` `[B]`."""
    key_noise, key_drop, key_hide = jax.random.split(key, 3)
    noisy = self.corrupt(key_noise, clean, t)
    present = self.present(key_hide, len(t))
    found = {
        name: _apply(
            network, params[name], noisy[name], t, _without(clean, name),
            present, key=part,
        )
        for (name, network), part in self.keyed(key_drop)
    }
    series, latents = _unzip(found)
    return _Prediction(series, latents, {})

  def denoiser(
      self, params: Params, name: str, given: Mapping[str, Array], key: Key
  ) -> DenoiseFn:
    """Return (x_t, t) -> x_0 of one modality, given others."""
    del key

    def denoise(xt: Array, t: Array) -> Any:
      return self.networks[name].apply(params, xt, t, given)[0]

    return denoise

  def keyed(self, key: Key) -> Any:
    """Return ((modality, network), key) of each modality."""
    return zip(
        self.networks.items(), jax.random.split(key, len(self.networks))
    )

  def loss(
      self, params: Params, frozen: Params, batch: Batch, key: Key
  ) -> tuple[Array, dict[str, Array]]:
    """Return the twin's loss with the penalties, and its parts."""
    del frozen
    clean = {name: jnp.asarray(batch[name]) for name in self.networks}
    key_t, key_predict = jax.random.split(key)
    t = self.times(key_t, batch)
    found = self.predict(params, clean, t, key_predict)
    total, metrics = self.objective(found.series, clean)
    total = sum(found.penalties.values(), total)
    metrics = metrics | found.penalties
    if self.align is not None:
      level = next(iter(self.processes.values())).at(t)
      aligned, more = self.align(params['log_weight'], found.latents, level)
      total, metrics = total + aligned, metrics | more
    return total, metrics

  def _draw(
      self,
      params: Params,
      name: str,
      given: Mapping[str, Array],
      partly: tuple[Array, Array] | None,
      key: Key,
  ) -> Array:
    key_given, key = jax.random.split(key)
    reference = partly[0] if partly else next(iter(given.values()))
    count = len(reference)
    repeat = functools.partial(jnp.repeat, repeats=self.samples, axis=0)
    conditions = {m: repeat(jnp.asarray(x)) for m, x in given.items()}
    denoise = self.denoiser(params, name, conditions, key_given)
    shape = self.shape(name, count)
    if partly is not None:
      known = jnp.broadcast_to(repeat(partly[1])[..., None], shape)
      denoise = guidance.inpaint(denoise, repeat(partly[0]), known)
    drawn = self.generate(key, self.processes[name], denoise, shape)
    return drawn.reshape(count, self.samples, *shape[1:])

  def shape(self, name: str, count: int) -> tuple[int, int, int]:
    """Return the shape of all samples of `count` conditions."""
    return (
        count * self.samples, self.info['length'],
        self.info['modalities'][name],
    )


@dataclasses.dataclass(frozen=True)
class _Shared(_Rival):
  """The functions of `shared_encoder`.

  Attributes:
    encoder: of all noisy modalities, side by side.
  """

  encoder: CrossModal

  def init(self, key: Key, batch: Batch) -> Variables:
    """Initialise the encoder and the decoders."""
    key_encoder, key_decoders = jax.random.split(key)
    one = {name: jnp.asarray(batch[name][:1]) for name in self.networks}
    t = jnp.ones((1,), jnp.int32)
    z, params = self.encoder.init_with_output(
        key_encoder, self.beside(one), t, method='encode'
    )
    decoders = {
        name: network.init(part, z, t, _without(one, name), method='decode')
        for (name, network), part in self.keyed(key_decoders)
    }
    return Variables({'encoder': params, **decoders}, {})

  def beside(self, series: Mapping[str, Array]) -> Array:
    """Return all modalities as one, `[B, L, sum of C]`."""
    return jnp.concatenate([series[name] for name in self.networks], axis=-1)

  def predict(
      self, params: Params, clean: Batch, t: Array, key: Key
  ) -> _Prediction:
    """Encode all modalities at once, decode each given the clean others."""
    key_noise, key_encoder, key_drop = jax.random.split(key, 3)
    z = _apply(
        self.encoder, params['encoder'],
        self.beside(self.corrupt(key_noise, clean, t)), t,
        method='encode', key=key_encoder,
    )
    series = {
        name: _apply(
            network, params[name], z, t, _without(clean, name),
            method='decode', key=part,
        )
        for (name, network), part in self.keyed(key_drop)
    }
    return _Prediction(series, {}, {})

  def sample(
      self, params: Params, frozen: Params, batch: Batch, key: Key
  ) -> dict[str, Array]:
    """Draw `[B, K, L, C]` of the modality that is not wholly given."""
    pairs = {name: (params['encoder'], params[name]) for name in self.networks}
    return super().sample(pairs, frozen, batch, key)

  def denoiser(
      self, params: Params, name: str, given: Mapping[str, Array], key: Key
  ) -> DenoiseFn:
    """Return a denoiser that adds noise of level t to what is given."""
    encoder, decoder = params
    noise = {
        other: jax.random.normal(part, given[other].shape)
        for other, part in zip(given, jax.random.split(key, len(given)))
    }

    def denoise(xt: Array, t: Array) -> Any:
      noisy = {
          other: gaussian.corrupt(
              self.processes[other], given[other], noise[other], t
          )
          for other in given
      }
      z = self.encoder.apply(
          encoder, self.beside({**noisy, name: xt}), t, method='encode'
      )
      return self.networks[name].apply(decoder, z, t, given, method='decode')

    return denoise


@dataclasses.dataclass(frozen=True)
class _Autoencoders(_Rival):
  """The functions of `cvae`, over one step of a process without noise.

  Attributes:
    beta: weight of the divergence.
  """

  beta: float

  def predict(
      self, params: Params, clean: Batch, t: Array, key: Key
  ) -> _Prediction:
    """Encode each modality, draw a latent and decode it."""
    key_noise, key_drop = jax.random.split(key)
    draws = jax.random.split(key_noise, len(self.networks))
    series, means, penalties = {}, {}, {}
    for ((name, network), part), draw in zip(self.keyed(key_drop), draws):
      mean, log_variance = _apply(
          network, params[name], clean[name], t, method='moments', key=part
      )
      z = mean + jnp.exp(log_variance / 2) * jax.random.normal(draw, mean.shape)
      series[name] = _apply(
          network, params[name], z, t, _without(clean, name),
          method='decode', key=part,
      )
      means[name] = mean
      nats = jnp.sum(losses.kl_normal(mean, log_variance), axis=-1)
      penalties[f'kl_{name}'] = self.beta * jnp.mean(nats)
    return _Prediction(series, means, penalties)

  def denoiser(
      self, params: Params, name: str, given: Mapping[str, Array], key: Key
  ) -> DenoiseFn:
    """Return a decoder of latents from the prior."""
    network = self.networks[name]

    def denoise(xt: Array, t: Array) -> Any:
      tokens = (len(xt), xt.shape[1] // network.patch, network.width)
      z = jax.random.normal(key, tokens)
      return network.apply(params, z, t, given, method='decode')

    return denoise


@dataclasses.dataclass(frozen=True)
class _Regressors(_Rival):
  """The functions of `regressor`, over one step of a process without noise."""

  def encode(
      self, params: Params, frozen: Params, batch: Batch, key: Key
  ) -> dict[str, Array]:
    """Return latents `[B, L / patch, D]`, from the model of the other one."""
    crossed = {
        other: params[name]
        for name, network in self.networks.items() for other in network.others
    }
    return super().encode(crossed, frozen, batch, key)


@dataclasses.dataclass(frozen=True)
class _Contrasted(_Rival):
  """The functions of `cdcd_like`.

  Attributes:
    shuffles: negatives per series.
    weight: of the negatives.
  """

  shuffles: int
  weight: float

  def predict(
      self, params: Params, clean: Batch, t: Array, key: Key
  ) -> _Prediction:
    """Predict like the twin, away from shuffled targets."""
    key_predict, key_shuffle = jax.random.split(key)
    found = super().predict(params, clean, t, key_predict)
    return found._replace(penalties={
        f'contrast_{name}': losses.negative_contrast(
            found.series[name], clean[name], part, self.shuffles, self.weight
        )
        for (name, _), part in self.keyed(key_shuffle)
    })

  def objective(
      self, predicted: Mapping[str, Array], clean: Batch
  ) -> tuple[Array, dict[str, Array]]:
    """Return the energy loss alone: the penalties hold the errors."""
    _, metrics = super().objective(predicted, clean)
    if self.energy is None:
      return jnp.zeros(()), metrics
    return self.energy['weight'] * metrics['energy'], metrics


@dataclasses.dataclass(frozen=True)
class _Joint(_Rival):
  """The functions of `cmmd_like`; a given modality has the time 0.

  Attributes:
    contrast: weight of the InfoNCE.
    temperature: of the InfoNCE.
  """

  contrast: float
  temperature: float

  def init(self, key: Key, batch: Batch) -> Variables:
    """Initialise the networks."""
    t = jnp.ones((1,), jnp.int32)
    params = {}
    for (name, network), part in self.keyed(key):
      tokens = (1, self.info['length'] // network.patch, network.width)
      latents = {other: jnp.zeros(tokens) for other in network.others}
      params[name] = network.init(part, batch[name][:1], t, latents)
    return Variables(params, {})

  def fuse(
      self,
      params: Params,
      noisy: Mapping[str, Array],
      times: Mapping[str, Array],
      key: Key | None = None,
  ) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return x_0 and fused features of all modalities; `key` to train."""
    keys: dict[str, Any] = dict.fromkeys(self.networks)
    if key is not None:
      keys = {name: part for (name, _), part in self.keyed(key)}
    z = {
        name: _apply(
            network, params[name], noisy[name], times[name],
            method='encode', key=keys[name],
        )
        for name, network in self.networks.items()
    }
    return _unzip({
        name: _apply(
            network, params[name], z[name], _without(z, name),
            method='fuse', key=keys[name],
        )
        for name, network in self.networks.items()
    })

  def predict(
      self, params: Params, clean: Batch, t: Array, key: Key
  ) -> _Prediction:
    """Predict what is not given; of the given, return the truth."""
    key_noise, key_given, key_drop = jax.random.split(key, 3)
    given = draw_given(key_given, tuple(clean), len(t))
    times = {name: jnp.where(given[name], 0, t) for name in clean}
    noises = jax.random.split(key_noise, len(clean))
    noisy = {
        name: gaussian.corrupt(
            self.processes[name], clean[name],
            jax.random.normal(part, clean[name].shape), times[name]
        )
        for name, part in zip(clean, noises)
    }
    predicted, fused = self.fuse(params, noisy, times, key_drop)
    series = {
        name: jnp.where(given[name][:, None, None], clean[name], found)
        for name, found in predicted.items()
    }
    contrast = functools.partial(
        losses.window_contrastive, size=next(iter(fused.values())).shape[1],
        temperature=self.temperature, pool='mean', symmetric=True,
    )
    apart = alignments.align(contrast, list(fused.values()))
    return _Prediction(series, {}, {'contrast': self.contrast * apart})

  def sample(
      self, params: Params, frozen: Params, batch: Batch, key: Key
  ) -> dict[str, Array]:
    """Draw `[B, K, L, C]` of all that is not wholly given, jointly."""
    del frozen
    given, partly = self.split(batch)
    if not given and not partly:
      raise UserError(
          f'sample: expected some of {list(self.networks)}, found '
          f'{sorted(batch)}.'
      )
    values = {**given, **{name: part[0] for name, part in partly.items()}}
    count = len(next(iter(values.values())))
    shapes = {
        name: self.shape(name, count)
        for name in self.networks if name not in given
    }
    repeat = functools.partial(jnp.repeat, repeats=self.samples, axis=0)
    conditions = {name: repeat(jnp.asarray(x)) for name, x in given.items()}

    def denoise(xt: Mapping[str, Array], t: Array) -> dict[str, Array]:
      times = {
          name: t if name in xt else jnp.zeros_like(t) for name in self.networks
      }
      found, _ = self.fuse(params, {**conditions, **xt}, times)
      return {name: found[name] for name in xt}

    known, mask = _completed(partly, shapes, repeat)
    drawn = self.generate(
        key, {name: self.processes[name] for name in shapes},
        guidance.inpaint(denoise, known, mask), shapes
    )
    return {
        name: x.reshape(count, self.samples, *x.shape[1:])
        for name, x in drawn.items()
    }


def draw_given(
    key: Key, names: tuple[str, ...], count: int
) -> dict[str, Array]:
  """Draw which modalities are given: any of them but all, equally likely.

  Args:
    key: random key.
    names: of the modalities.
    count: B.

  Returns:
    Masks `[B]` by name.
  """
  subset = jax.random.randint(key, (count,), 0, 2**len(names) - 1)
  return {name: (subset >> bit) % 2 == 1 for bit, name in enumerate(names)}


def _fields(
    info: Mapping[str, Any],
    kind: type[CrossModal],
    network: Mapping[str, Any] | None,
    dtype: str,
    process: Mapping[str, Any] | None = None,
    sampler: Mapping[str, Any] | None = None,
    *,
    alignment: Mapping[str, Any] | None = None,
    condition_dropout: float = 0.0,
) -> dict[str, Any]:
  """Return what a rival shares with the twin, as arguments of `Twin`.

  Without a process there is one step of next to no noise, and one prediction
  is a sample: such a model ignores x_t.
  """
  plain = lambda_twin.networks(
      info, {'dtype': jnp.dtype(dtype), **(network or {})},
      condition_dropout > 0
  )
  if process is None or sampler is None:
    step = processes.isotropic(np.full(1, 1e-4), ndim=2)
    made = {name: step for name in plain}
    draw = generate.generator(1, name='ddim', steps=1)
  else:
    made = {
        name: lambda_twin.series_process(info['covariance'][name], **process)
        for name in plain
    }
    draw = generate.generator(process['steps'], **sampler)
  align = lambda_twin.alignment_loss(**alignment) if alignment else None
  return {
      'networks': {name: _as(kind, one) for name, one in plain.items()},
      'processes': made,
      'generate': draw,
      'align': align,
      'condition_dropout': condition_dropout,
      'info': info,
  }


def _as(kind: type[CrossModal], network: CrossModal) -> CrossModal:
  """Return a network of another class with the same attributes."""
  return kind(**{
      field.name: getattr(network, field.name)
      for field in dataclasses.fields(CrossModal)
      if field.name not in ('parent', 'name')
  })


def _apply(
    network: CrossModal,
    params: Params,
    *inputs: Any,
    method: str | None = None,
    key: Key | None = None,
) -> Any:
  """Apply a network: to train with a `key` of its dropout, or to sample."""
  rngs = None if key is None else {'dropout': key}
  return network.apply(
      params, *inputs, train=key is not None, method=method, rngs=rngs
  )


def _completed(
    partly: Mapping[str, tuple[Array, Array]],
    shapes: Mapping[str, tuple[int, ...]],
    repeat: Callable[[Array], Array],
) -> tuple[dict[str, Array], dict[str, Array]]:
  """Return known values and their masks, all of the shapes of the samples."""
  values = {name: jnp.zeros(shape) for name, shape in shapes.items()}
  masks = {name: jnp.zeros(shape, bool) for name, shape in shapes.items()}
  for name, (known, mask) in partly.items():
    values[name] = repeat(jnp.asarray(known))
    masks[name] = jnp.broadcast_to(repeat(mask)[..., None], shapes[name])
  return values, masks


def _unzip(
    pairs: Mapping[str, tuple[Array, Array]]
) -> tuple[dict[str, Array], dict[str, Array]]:
  first = {name: pair[0] for name, pair in pairs.items()}
  return first, {name: pair[1] for name, pair in pairs.items()}


def _without(table: Mapping[str, Any], name: str) -> dict[str, Any]:
  return {k: v for k, v in table.items() if k != name}


def _positive(field: str, value: float) -> None:
  if value <= 0:
    raise UserError(
        f'config.system.{field}: expected more than 0, found {value:g}.'
    )
