"""LaMbDA: one conditional diffusion per modality, trained together, aligned.

Each modality m of a paired series has a denoiser that is given the others
(`nn.crossmodal`). All see one time t per sample and noise of their own:

  (1)  m_t = alpha_t m_0 + sigma_t eps_m
  (2)  m_hat, z_m = f_m(m_t, t, others)
  (3)  loss = sum_m |m_hat - m_0|^2 + sum_m |E(m_hat) - E(m_0)|^2
              + weight (alignment of the z_m)

The latents z_m depend on m_t alone, so sampling one modality runs one network
and the alignment costs nothing then. A batch holds standardised windows
`[B, L, C]` by modality; `sample` generates the modalities it lacks.

References:
  "LaMbDA: Local Latent Embedding Alignment for Cross-modal Time-series
  Diffusion", Eq. 1-8, Alg. 1. The paper's Eq. 1 is read with the accumulated
  signal, as its Alg. 1 has it.
"""

from collections.abc import Callable, Mapping
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from diffax.diffusion import alignment as alignments
from diffax.diffusion import gaussian
from diffax.diffusion import guidance
from diffax.diffusion import losses
from diffax.diffusion import process as processes
from diffax.diffusion import schedules
from diffax.errors import UserError
from diffax.nn.crossmodal import CrossModal
from diffax.nn.crossmodal import QUERIES
from diffax.systems import generate
from diffax.systems.base import System
from diffax.systems.base import Variables
from diffax.typing import Array
from diffax.typing import Batch
from diffax.typing import DenoiseFn
from diffax.typing import Key
from diffax.typing import Params

# The time at which clean series are encoded: the least noise there is.
_CLEAN = 1


def twin(
    info: Mapping[str, Any],
    *,
    process: Mapping[str, Any],
    sampler: Mapping[str, Any],
    network: Mapping[str, Any] | None = None,
    alignment: Mapping[str, Any] | None = None,
    energy: Mapping[str, Any] | None = None,
    condition_dropout: float = 0.0,
    samples: int = 1,
    dtype: str = 'float32',
) -> System:
  """Build the denoisers of all modalities as one system.

  Args:
    info: of the data source: `modalities`, `length`, `covariance`.
    process: arguments of `series_process`.
    sampler: `name` ddpm, ddim or dpm_solver_pp and its arguments; `steps`,
      `start`, `clip` (None for standardised data).
    network: arguments of `nn.crossmodal.CrossModal`.
    alignment: arguments of `alignment_loss`; None trains independent models.
    energy: `weight` and `norm` of the energy loss (Eq. 7); None for none.
    condition_dropout: rate at which each given modality is hidden while
      training, so that any of them may be missing when sampling.
    samples: K, series per condition.
    dtype: of the computation; parameters stay float32.

  Returns:
    A system whose `sample` draws `[B, K, L, C]` of every modality that the
    batch lacks, or of which `{modality}_known` `[B, L]` marks the known part;
    `encode` returns the latents `[B, L / patch, D]` of the batch's modalities.

  Raises:
    UserError: a setting is wrong.
  """
  model = Twin(
      networks=networks(
          info, {'dtype': jnp.dtype(dtype), **(network or {})},
          condition_dropout > 0
      ),
      processes={
          name: series_process(info['covariance'][name], **process)
          for name in info['modalities']
      },
      generate=generate.generator(process['steps'], **sampler),
      align=alignment_loss(**alignment) if alignment else None,
      energy=dict(energy) if energy else None,
      condition_dropout=condition_dropout,
      samples=samples,
      info=info,
  )
  return System(model.init, model.loss, model.sample, model.encode)


@dataclasses.dataclass(frozen=True)
class Twin:
  """The functions of `twin`, over what it builds.

  Attributes:
    networks: denoiser by modality.
    processes: forward process by modality.
    generate: (key, processes, denoise, shapes) -> samples.
    align: (params, latents by modality, level) -> scalar and metrics.
    energy: `weight` and `norm`, or None.
    condition_dropout: rate.
    samples: K.
    info: of the source.
  """

  networks: Mapping[str, CrossModal]
  processes: Mapping[str, processes.Process]
  generate: Callable[..., Any]
  align: 'Align | None'
  energy: Mapping[str, Any] | None
  condition_dropout: float
  samples: int
  info: Mapping[str, Any]

  @property
  def steps(self) -> int:
    """T."""
    return next(iter(self.processes.values())).steps

  def init(self, key: Key, batch: Batch) -> Variables:
    """Initialise the denoisers, and the weight of the alignment."""
    params: dict[str, Any] = {}
    for name, part in zip(self.networks, _keys(key, self.networks)):
      one = {m: jnp.asarray(batch[m][:1]) for m in self.networks}
      t = jnp.ones((1,), jnp.int32)
      params[name] = self.networks[name].init(
          part, one[name], t, _without(one, name)
      )
    if self.align is not None:
      params['log_weight'] = jnp.zeros(())
    return Variables(params, {})

  def loss(
      self, params: Params, frozen: Params, batch: Batch, key: Key
  ) -> tuple[Array, dict[str, Array]]:
    """Return the loss of Eq. 3 and its parts."""
    del frozen
    clean = {name: batch[name] for name in self.networks}
    key_t, key_noise, key_drop, key_hide = jax.random.split(key, 4)
    t = self.times(key_t, batch)
    noisy = self.corrupt(key_noise, clean, t)
    present = self.present(key_hide, len(t))
    predicted, latents = {}, {}
    for name, part in zip(self.networks, _keys(key_drop, self.networks)):
      predicted[name], latents[name] = self.networks[name].apply(
          params[name], noisy[name], t, _without(clean, name), present,
          train=True, rngs={'dropout': part},
      )
    total, metrics = self.objective(predicted, clean)
    if self.align is not None:
      level = next(iter(self.processes.values())).at(t)
      aligned, more = self.align(params['log_weight'], latents, level)
      total, metrics = total + aligned, metrics | more
    return total, metrics

  def times(self, key: Key, batch: Batch) -> Array:
    """Draw a time for each sample, shared by the modalities: `[B]`."""
    count = len(batch[next(iter(self.networks))])
    return jax.random.randint(key, (count,), 1, self.steps + 1)

  def corrupt(self, key: Key, clean: Batch, t: Array) -> dict[str, Array]:
    """Add noise of its own to each modality (Eq. 1)."""
    return {
        name: gaussian.corrupt(
            self.processes[name], clean[name],
            jax.random.normal(part, clean[name].shape), t
        )
        for name, part in zip(clean, _keys(key, clean))
    }

  def present(self, key: Key, count: int) -> dict[str, Array]:
    """Draw which conditions are shown, `[B]` each; none are named if all."""
    if not self.condition_dropout:
      return {}
    return {
        name: jax.random.bernoulli(part, 1 - self.condition_dropout, (count,))
        for name, part in zip(self.networks, _keys(key, self.networks))
    }

  def objective(
      self, predicted: Mapping[str, Array], clean: Batch
  ) -> tuple[Array, dict[str, Array]]:
    """Return denoising and energy losses, summed over the modalities."""
    metrics = {
        f'mse_{name}': jnp.mean((predicted[name] - clean[name]) ** 2)
        for name in predicted
    }
    total: Array = sum(metrics.values(), jnp.zeros(()))
    if self.energy is not None:
      energies = [
          losses.energy(predicted[m], clean[m], self.energy['norm'])
          for m in predicted
      ]
      metrics['energy'] = sum(energies, jnp.zeros(()))
      total = total + self.energy['weight'] * metrics['energy']
    return total, metrics

  def sample(
      self, params: Params, frozen: Params, batch: Batch, key: Key
  ) -> dict[str, Array]:
    """Draw `[B, K, L, C]` of every modality that is not wholly given."""
    del frozen
    given, partly = self.split(batch)
    if not given and not (partly and self.condition_dropout):
      raise UserError(
          f'sample: expected some of {list(self.networks)} given whole, found '
          f'{sorted(batch)}.'
      )
    wanted = [name for name in self.networks if name not in given]
    if len(wanted) > 1 and not self.condition_dropout:
      raise UserError(
          f'sample: expected all but one of {list(self.networks)}, found '
          f'{sorted(given)}; system.condition_dropout > 0 trains a model that '
          'takes any.'
      )
    return {
        name: self._draw(params[name], name, given, partly.get(name), part)
        for name, part in zip(wanted, _keys(key, wanted))
    }

  def split(
      self, batch: Batch
  ) -> tuple[dict[str, Array], dict[str, tuple[Array, Array]]]:
    """Return what is given whole, and (values, known) of the rest."""
    given = {
        name: batch[name] for name in self.networks
        if name in batch and f'{name}_known' not in batch
    }
    partly = {
        name: (batch[name], batch[f'{name}_known']) for name in self.networks
        if f'{name}_known' in batch
    }
    return given, partly

  def _draw(
      self,
      params: Params,
      name: str,
      given: Mapping[str, Array],
      partly: tuple[Array, Array] | None,
      key: Key,
  ) -> Array:
    reference = partly[0] if partly else next(iter(given.values()))
    count = reference.shape[0]
    shape = (count * self.samples, self.info['length'],
             self.info['modalities'][name])
    repeat = functools.partial(jnp.repeat, repeats=self.samples, axis=0)
    conditions = jax.tree.map(repeat, dict(given))

    def predict(xt: Array, t: Array) -> Any:
      return self.networks[name].apply(params, xt, t, conditions)[0]

    denoise: DenoiseFn = predict
    if partly is not None:
      values, known = map(repeat, partly)
      mask = jnp.broadcast_to(known[..., None], shape)
      denoise = guidance.inpaint(predict, values, mask)
    drawn = self.generate(key, self.processes[name], denoise, shape)
    return drawn.reshape(count, self.samples, *shape[1:])

  def encode(
      self, params: Params, frozen: Params, batch: Batch, key: Key
  ) -> dict[str, Array]:
    """Return the latents `[B, L / patch, D]` of the batch's clean series."""
    del frozen, key

    def latents(name: str) -> Any:
      t = jnp.full((len(batch[name]),), _CLEAN, jnp.int32)
      network = self.networks[name]
      return network.apply(params[name], batch[name], t, method='encode')

    return {name: latents(name) for name in self.networks if name in batch}


# (z_x, z_y, weight [B] or None by name) -> scalar
Pairwise = Callable[..., Array]
Align = Callable[
    [Array, Mapping[str, Array], processes.Level],
    tuple[Array, dict[str, Array]],
]


def networks(
    info: Mapping[str, Any], settings: Mapping[str, Any], nullable: bool
) -> dict[str, CrossModal]:
  """Build a denoiser for each modality.

  Args:
    info: of the data source.
    settings: of `CrossModal`.
    nullable: whether conditions may be missing.

  Returns:
    Modules by modality.

  Raises:
    UserError: a setting is unknown, or does not fit the data.
  """
  known = {field.name for field in dataclasses.fields(CrossModal)}
  unknown = set(settings) - known
  if unknown:
    raise UserError(
        f'config.system.network: unknown {sorted(unknown)}; it has '
        f'{sorted(known - {"parent", "name", "channels", "others"})}.'
    )
  if len(info['modalities']) < 2:
    raise UserError(
        'data.modalities: expected two or more, found '
        f'{list(info["modalities"])}.'
    )
  built = {
      name: CrossModal(
          channels, tuple(_without(info['modalities'], name)),
          nullable=nullable, **settings
      )
      for name, channels in info['modalities'].items()
  }
  one = next(iter(built.values()))
  if one.queries not in QUERIES:
    raise UserError(
        f'config.system.network.queries: expected one of {QUERIES}, found '
        f'{one.queries!r}.'
    )
  if info['length'] % one.patch:
    raise UserError(
        f'config.system.network.patch: expected a divisor of data.length '
        f'{info["length"]}, found {one.patch}.'
    )
  if one.width % one.heads or one.width % 2 or one.width < 4:
    raise UserError(
        'config.system.network.width: expected an even multiple of heads '
        f'{one.heads} of 4 or more, found {one.width}.'
    )
  return built


def series_process(
    covariance: np.ndarray,
    *,
    steps: int = 1000,
    betas: str = 'cosine',
    noise: str = 'isotropic',
    ridge: float = 0.05,
) -> processes.Process:
  """Build the forward process of series `[L, C]`.

  Args:
    covariance: of the standardised channels, [C, C].
    steps: T.
    betas: name in `schedules.BETAS`.
    noise: `isotropic` (the paper's), or `nonisotropic` with the channels
      correlated as in the data.
    ridge: share of white noise in that covariance, which keeps the weakest
      direction noisy.

  Returns:
    The process; its basis turns the channel axis.
  """
  table = schedules.betas(betas, steps)
  if noise == 'isotropic':
    return processes.isotropic(table, ndim=2)
  if noise != 'nonisotropic' or not 0 < ridge <= 1:
    raise UserError(
        'config.system.process: expected noise isotropic or nonisotropic and '
        f'a ridge within (0, 1], found {noise!r} and {ridge:g}.'
    )
  # Trace C, as white noise has, so that schedules mean the same.
  scaled = covariance * len(covariance) / np.trace(covariance)
  sigma = (1 - ridge) * scaled + ridge * np.eye(len(covariance))
  ones = np.ones_like(table)
  return processes.nonisotropic(table, ones, sigma, axis=1, ndim=2)


def _local(
    contrastive: Mapping[str, Any] | None, covariance: Mapping[str, Any] | None
) -> dict[str, Pairwise]:
  parts: dict[str, Pairwise] = {}
  if contrastive is not None:
    parts['contrast'] = functools.partial(
        losses.window_contrastive, **contrastive
    )
  if covariance is not None:
    parts['covariance'] = _unweighted(
        functools.partial(losses.covariance_alignment, **covariance)
    )
  return parts


def _unweighted(loss: Callable[[Array, Array], Array]) -> Pairwise:
  return lambda z_x, z_y, weight: loss(z_x, z_y)


def _pooled(loss: Callable[..., Array]) -> Callable[..., dict[str, Pairwise]]:
  # The rivals compare one embedding per series, the mean over time.
  def parts(**options: Any) -> dict[str, Pairwise]:
    return {
        'align': lambda z_x, z_y, weight: loss(
            z_x.mean(1), z_y.mean(1), **options
        )
    }

  return parts


ALIGNMENTS: Mapping[str, Callable[..., dict[str, Pairwise]]] = {
    'lambda': _local,
    'simclr': _pooled(alignments.nt_xent),
    'barlow': _pooled(alignments.barlow_twins),
    'vicreg': _pooled(alignments.vicreg),
    'latent_mse': lambda: {'align': _unweighted(alignments.latent_mse)},
}
AMONG = ('pairwise', 'centroid')


def alignment_loss(
    *,
    name: str = 'lambda',
    rule: str = 'uncertainty',
    alpha: float = 0.1,
    among: str = 'pairwise',
    time_weight: str = 'none',
    options: Mapping[str, Any] | None = None,
) -> Align:
  """Build the weighted alignment of latents (Eq. 6, 8).

  Args:
    name: key of `ALIGNMENTS`: the paper's, or a rival's.
    rule: of the weight, see `losses.weighted`.
    alpha: the weight of the rule `fixed`.
    among: of more than two modalities, align each `pairwise` pair, or each
      with the `centroid` of all.
    time_weight: `none`, or `alphabar`: count noisy times less (contrastive
      loss only).
    options: of the alignment's loss, for `lambda`: `contrastive` (arguments
      of `losses.window_contrastive`, None for none) and `covariance`
      (arguments of `losses.covariance_alignment`, None for none).

  Returns:
    (log weight, latents by modality, level) -> weighted loss and its parts.

  Raises:
    UserError: a name is unknown.
  """
  for field, value, expected in (
      ('name', name, tuple(ALIGNMENTS)), ('among', among, AMONG),
      ('time_weight', time_weight, ('none', 'alphabar')),
  ):
    if value not in expected:
      raise UserError(
          f'config.system.alignment.{field}: expected one of {expected}, found '
          f'{value!r}.'
      )
  try:
    terms = ALIGNMENTS[name](**(options or {}))
  except TypeError as error:
    raise UserError(f'config.system.alignment.options: {error}') from error

  def align(
      log_weight: Array, latents: Mapping[str, Array], level: processes.Level
  ) -> tuple[Array, dict[str, Array]]:
    weight = None
    if time_weight == 'alphabar':
      weight = jnp.mean(level.alpha**2, axis=(1, 2))
    every = list(latents.values())
    parts = {
        term: alignments.align(
            lambda a, b: loss(a, b, weight=weight),  # noqa: B023
            every, among
        )
        for term, loss in terms.items()
    }
    whole = sum(parts.values(), jnp.zeros(()))
    total = losses.weighted(whole, log_weight, rule, alpha=alpha)
    return total, {**parts, 'log_weight': log_weight}

  return align


def _keys(key: Key, names: Any) -> Array:
  return jax.random.split(key, len(names))


def _without(table: Mapping[str, Any], name: str) -> dict[str, Any]:
  return {k: v for k, v in table.items() if k != name}
