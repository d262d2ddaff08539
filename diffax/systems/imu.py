"""IMUDiffusion: windows of inertial sensors, each sensor with its schedule.

A window is an image x_0 `[F, N, D]` (`diffax.signal`): a spectrogram, or the
samples themselves. Its channels belong to sensors k, each with betas of its
own. One time t holds for all sensors of a window,

  (1)  x_t = alpha_{k,t} x_0 + sigma_{k,t} eps
  (2)  loss = mean smooth_l1(eps_hat(x_t, t, class) - eps),

over the coefficients that can differ from 0; the others are hidden from the
network and stay 0. The paper's betas leave a quarter of the signal's power at
T, so a sample starts from what is left of the windows of its class c,

  (3)  x_T ~ N(alpha_T mu_c, alpha_T^2 s_c^2 + sigma_T^2)        'matched'
  (4)  x_T ~ N(0, 1), as the paper reads                       'standard',

with mu_c, s_c of each bin and channel over the picked windows. Choosing
`zero_terminal` betas closes the gap from the other end.

Spectra are small beside the noise, and smaller with every bin: the network has
to return most of its input to great precision, which takes it long to learn.
With the prediction `residual` it need not. Given the moments mu, s of Eq. 3,

  (5)  x_0 = E[x_0 | x_t] + std(x_0 | x_t) r(x_t, t, class)

with the mean and deviation of Gaussian data (`gaussian.guess`), and the loss
of Eq. 2 is of r. Before any training r = 0, and samples are Gaussian with the
spectrum of their class.

The paper trains one network for each class. Its rival here is one network for
all, given the class or, at times, none, and guided,

  (6)  x_0 = x_0(no class) + scale (x_0(class) - x_0(no class)).

The moments and the covariance of nonisotropic noise come from
`info['picked']`, not from an earlier stage: a run that is restored builds its
source, hence them, anew.

References:
  Oppel and Munz, "IMUDiffusion: A Diffusion Model for Multivariate Time Series
  Synthetisation for Inertial Motion Capturing Systems", 2024.
  Ho and Salimans, "Classifier-Free Diffusion Guidance", 2022, Eq. 6.
  Karras et al., "Elucidating the Design Space of Diffusion-Based Generative
  Models", 2022, Table 1, for Eq. 5.
  Lin et al., "Common Diffusion Noise Schedules and Sample Steps are Flawed",
  WACV 2024.
"""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from diffax import signal
from diffax.diffusion import gaussian
from diffax.diffusion import guidance as guidances
from diffax.diffusion import losses
from diffax.diffusion import process as processes
from diffax.diffusion import samplers
from diffax.diffusion import schedules
from diffax.errors import UserError
from diffax.nn.unet import ATTENTION
from diffax.nn.unet import UNet
from diffax.systems import generate
from diffax.systems.base import System
from diffax.systems.base import Variables
from diffax.systems.ensemble import ensemble
from diffax.typing import Array
from diffax.typing import Batch
from diffax.typing import DenoiseFn
from diffax.typing import Key
from diffax.typing import Params

PREDICTIONS = (*gaussian.KINDS, 'residual')
# Of coefficients that hardly move, so that a residual has a scale.
_LEAST_STD = 1e-3
PRIORS = ('matched', 'standard')
NOISES = ('isotropic', 'nonisotropic')
BLOCKS = ('sensor', 'all')


def imu_diffusion(
    info: Mapping[str, Any],
    *,
    process: Mapping[str, Any],
    sampler: Mapping[str, Any],
    network: Mapping[str, Any] | None = None,
    domain: str = 'stft',
    layout: Mapping[str, Any] | None = None,
    conditional: bool = True,
    prior: str = 'matched',
    prediction: str = 'noise',
    beta: float = 1.0,
    class_dropout: float = 0.1,
    guidance: float = 1.0,
    member_clip: float | None = None,
    dtype: str = 'float32',
) -> System:
  """Build a generator of windows of given classes.

  Args:
    info: of the data source: `length`, `channels`, `sensors`, `classes`, and
      `picked`, the windows to learn from as `segments('train')` returns them,
      if anything is computed from them (moments, covariance).
    process: arguments of `window_process`.
    sampler: `name` ddpm, ddim or dpm_solver_pp and its arguments; `steps`,
      `spacing`.
    network: of `nn.unet.UNet`: `base`, `blocks`, `attention` and so on.
    domain: key of `signal.LAYOUTS`: `stft` or `time`.
    layout: of `signal.Spectrogram`: `size`, `hop`, `frames` and so on.
    conditional: one network for all classes; else the paper's one for each,
      trained side by side (`per_class`).
    prior: what a sample starts from, `matched` or `standard` (Eq. 3 or 4).
    prediction: of the network: noise (the paper's), x0, velocity or residual
      (Eq. 5).
    beta: width of the parabola of the smooth L1 loss.
    class_dropout: rate at which the class is hidden while training.
    guidance: scale of Eq. 6; 1 runs the network once a step.
    member_clip: greatest norm of the gradient of each class's network, where
      they are apart; None for no bound.
    dtype: of the network; parameters stay float32.

  Returns:
    A system that learns from `window` `[B, L, C]` (standardised) and `label`
    `[B]`, and of which `sample` draws `window` `[B, L, C]` for `label` `[B]`.

  Raises:
    UserError: a setting is wrong, or `info` lacks what it needs.
  """
  _one_of('prior', prior, PRIORS)
  _one_of('prediction', prediction, PREDICTIONS)
  _one_of('domain', domain, tuple(signal.LAYOUTS))
  _check_guidance(conditional, class_dropout, guidance)
  if process.get('zero_terminal') and prediction == 'noise':
    raise UserError(
        'config.system.prediction: noise says nothing about x_0 where no '
        'signal is left; with process.zero_terminal take velocity, x0 or '
        'residual.'
    )
  images = _built(signal.LAYOUTS[domain], layout or {}, 'layout')
  shape = images.shape(info['length'], len(info['channels']))
  classes = len(info['classes'])
  model = Diffusion(
      layout=images,
      length=info['length'],
      shape=shape,
      network=unet(
          shape, classes if conditional else 0,
          {'dtype': jnp.dtype(dtype), **(network or {})},
      ),
      process=_built(
          lambda **options: window_process(info, images, **options),
          process, 'process',
      ),
      sampler=reverse_sampler(process['steps'], **sampler),
      moments=(
          moments(info, images)
          if prior == 'matched' or prediction == 'residual' else None
      ),
      prior=prior,
      sensors=channels_of(info['sensors'], images.parts),
      prediction=prediction,
      beta=beta,
      class_dropout=class_dropout,
      guidance=guidance,
  )
  system = System(model.init, model.loss, model.sample)
  return system if conditional else per_class(system, classes, member_clip)


class Moments(NamedTuple):
  """Hold moments of images by class, over windows and frames.

  Attributes:
    mean: [K + 1, F, 1, D] float32, that of all classes last.
    std: [K + 1, F, 1, D] float32, the same.
  """

  mean: np.ndarray
  std: np.ndarray


class Reverse(NamedTuple):
  """Hold a reverse sampler and the times [steps + 1] that it visits."""

  sampler: samplers.Sampler
  times: np.ndarray


@dataclasses.dataclass(frozen=True)
class Diffusion:
  """The functions of `imu_diffusion`, over what it builds.

  Attributes:
    layout: of images.
    length: L.
    shape: (F, N, D) of an image.
    network: predicts what `prediction` names.
    process: forward process of images.
    sampler: what draws them.
    moments: of the picked windows; None if nothing needs them.
    prior: what a sample starts from.
    sensors: channels of an image by sensor.
    prediction: noise, x0, velocity or residual.
    beta: of the loss.
    class_dropout: rate.
    guidance: scale.
  """

  layout: signal.Layout
  length: int
  shape: tuple[int, int, int]
  network: UNet
  process: processes.Process
  sampler: Reverse
  moments: Moments | None
  prior: str
  sensors: Mapping[str, Sequence[int]]
  prediction: str
  beta: float
  class_dropout: float
  guidance: float

  @property
  def mask(self) -> Array:
    """Where coefficients can differ from 0: [1, F, 1, D] bool."""
    channels = self.shape[2] // self.layout.parts
    return jnp.asarray(self.layout.mask(channels))[None]

  def init(self, key: Key, batch: Batch) -> Variables:
    """Initialise the network."""
    x = jnp.zeros((1, *self.shape))
    one = jnp.zeros((1,), jnp.int32)
    del batch
    return Variables(self.network.init(key, x, one, one), {})

  def loss(
      self, params: Params, frozen: Params, batch: Batch, key: Key
  ) -> tuple[Array, dict[str, Array]]:
    """Return the loss of Eq. 2, and that of each sensor."""
    del frozen
    x0 = self.layout.to_image(batch['window'])
    key_t, key_noise, key_class = jax.random.split(key, 3)
    t = jax.random.randint(key_t, (len(x0),), 1, self.process.steps + 1)
    noise = jax.random.normal(key_noise, x0.shape)
    label = self.hide(key_class, batch['label'])
    xt, target = self.corrupt(x0, noise, t, label)
    error = self.predict(params, xt, t, label) - target
    by_sensor = {
        f'loss_{name}': self.reduce(error, channels)
        for name, channels in self.sensors.items()
    }
    return self.reduce(error, range(self.shape[2])), by_sensor

  def corrupt(
      self, x0: Array, noise: Array, t: Array, label: Array
  ) -> tuple[Array, Array]:
    """Return x_t and what the network should say of it, in data space."""
    level, turned = self.process.at(t), self.process.to_basis(x0)
    xt = self.process.from_basis(gaussian.diffuse(turned, noise, level))
    if self.prediction == 'residual':
      guess = self.guess(xt, t, label)
      return xt, (x0 - guess.mean) / guess.std
    target = gaussian.target(self.prediction, turned, noise, level)
    return xt, self.process.from_basis(target)

  def guess(self, xt: Array, t: Array, label: Array) -> gaussian.Guess:
    """Guess x_0 from the moments of the labels `[B]`."""
    mean, std = self.of_classes(label)
    std = jnp.maximum(std, _LEAST_STD)
    return gaussian.guess(xt, mean, std, *self.process.marginal(t))

  def of_classes(self, label: Array) -> tuple[Array, Array]:
    """Return mean and deviation of labels `[B]`: `[B, F, 1, D]` each."""
    assert self.moments is not None
    mean, std = self.moments
    return jnp.asarray(mean)[label], jnp.asarray(std)[label]

  def hide(self, key: Key, label: Array) -> Array:
    """Replace some labels `[B]` by the null class, if there is one."""
    if not self.network.classes:
      return label
    hidden = jax.random.bernoulli(key, self.class_dropout, label.shape)
    return jnp.where(hidden, self.network.classes, label)

  def predict(
      self, params: Params, xt: Array, t: Array, label: Array
  ) -> Array:
    """Run the network on what can differ from 0."""
    if self.prediction == 'residual':
      xt = self.guess(xt, t, label).unit
    seen = jnp.where(self.mask, xt, 0)
    return jnp.asarray(self.network.apply(params, seen, t, label))

  def reduce(self, error: Array, channels: Sequence[int]) -> Array:
    """Return the mean loss over some channels."""
    chosen = np.isin(np.arange(self.shape[2]), channels)
    mask = self.mask & jnp.asarray(chosen)[None, None, None]
    return jnp.mean(losses.smooth_l1(error, mask, self.beta))

  def denoiser(self, params: Params, label: Array) -> DenoiseFn:
    """Return the prediction of x_0 for labels `[B]`, the null class too."""

    def denoise(xt: Array, t: Array) -> Array:
      said = self.predict(params, xt, t, label)
      return jnp.where(self.mask, self.to_x0(said, xt, t, label), 0)

    return denoise

  def to_x0(self, said: Array, xt: Array, t: Array, label: Array) -> Array:
    """Turn what the network says into x_0, all in data space."""
    if self.prediction == 'residual':
      guess = self.guess(xt, t, label)
      return guess.mean + guess.std * said
    turn = self.process.to_basis
    x0 = gaussian.to_x0(
        self.prediction, turn(said), turn(xt), self.process.at(t)
    )
    return self.process.from_basis(x0)

  def begin(self, key: Key, label: Array) -> Array:
    """Draw what samples start from (Eq. 3 or 4), `[B, F, N, D]`."""
    shape = (len(label), *self.shape)
    if self.prior == 'standard':
      return jax.random.normal(key, shape)
    mean, std = self.of_classes(label)
    t = jnp.full(label.shape, int(self.sampler.times[0]))
    return gaussian.start_data(key, self.process, mean, std, t, shape)

  def sample(
      self, params: Params, frozen: Params, batch: Batch, key: Key
  ) -> dict[str, Array]:
    """Draw a window for each label: `[B, L, C]`, standardised."""
    del frozen
    label = jnp.asarray(batch['label'])
    denoise = self.denoiser(params, label)
    if self.guidance != 1:
      denoise = guidances.classifier_free(
          denoise,
          self.denoiser(params, jnp.full_like(label, self.network.classes)),
          self.guidance,
      )
    key_start, key = jax.random.split(key)
    image = samplers.reverse(
        key, self.process, denoise, *self.sampler, self.begin(key_start, label)
    )
    return {'window': self.layout.to_window(image, self.length)}


def per_class(
    member: System, classes: int, clip: float | None = None
) -> System:
  """Train a network for each class, all in one step.

  Args:
    member: system of one class.
    classes: K.
    clip: greatest norm of each network's gradient; None for no bound.

  Returns:
    A system of batches `[B, ...]`. It learns from those that hold the same
    number of every class (`data.per_class`); any other gives a loss of NaN.
    It samples any labels, but at K times the cost if their numbers differ.
  """
  every = ensemble(member, classes, clip)

  def init(key: Key, batch: Batch) -> Variables:
    return every.init(key, _grouped(batch, classes))

  def loss(
      params: Params, frozen: Params, batch: Batch, key: Key
  ) -> tuple[Array, dict[str, Array]]:
    groups = _grouped(batch, classes)
    total, metrics = every.loss(params, frozen, groups, key)
    return jnp.where(_is_even(groups), total, jnp.nan), metrics

  def sample(
      params: Params, frozen: Params, batch: Batch, key: Key
  ) -> dict[str, Array]:
    label = jnp.asarray(batch['label'])
    rows = jnp.arange(len(label))

    def choose() -> dict[str, Array]:
      own = jnp.broadcast_to(jnp.arange(classes)[:, None], (classes, len(rows)))
      drawn = every.sample(params, frozen, {'label': own}, key)
      return jax.tree.map(lambda x: x[label, rows], drawn)

    def flatten() -> dict[str, Array]:
      drawn = every.sample(params, frozen, groups, key)
      back = jnp.argsort(jnp.argsort(label))
      return jax.tree.map(
          lambda x: x.reshape(-1, *x.shape[2:])[back], drawn
      )

    if len(label) % classes:
      return choose()
    groups = _grouped({'label': label}, classes)
    return jax.lax.cond(_is_even(groups), flatten, choose)

  return System(init, loss, sample)


def _grouped(batch: Batch, classes: int) -> dict[str, Array]:
  """Sort the arrays [B, ...] of a batch by class: [K, B / K, ...]."""
  count, order = len(batch['label']), jnp.argsort(batch['label'])
  if count % classes:
    raise UserError(
        f'batch_size: expected a multiple of {classes}, the number of classes, '
        f'for config.system.conditional=False, found {count}.'
    )
  return {
      name: jnp.asarray(x)[order].reshape(classes, -1, *x.shape[1:])
      for name, x in batch.items()
  }


def _is_even(groups: Mapping[str, Array]) -> Array:
  label = groups['label']
  return jnp.all(label == jnp.arange(len(label))[:, None])


def window_process(
    info: Mapping[str, Any],
    layout: signal.Layout,
    *,
    steps: int,
    betas: str = 'linear',
    zero_terminal: bool = False,
    noise: str = 'isotropic',
    blocks: str = 'sensor',
    ridge: float = 0.05,
    **options: Any,
) -> processes.Process:
  """Build the forward process of images `[F, N, D]`.

  Args:
    info: of the data source.
    layout: of images.
    steps: T.
    betas: name in `schedules.BETAS`.
    zero_terminal: leave almost no signal at T (`schedules.zero_terminal`).
    noise: `isotropic`, or `nonisotropic` with axes correlated as in the picked
      windows. A real and an imaginary part are never correlated.
    blocks: which axes: those of one `sensor`, or `all`, for which the sensors
      must share one schedule.
    ridge: share of white noise in that covariance, which keeps the weakest
      direction noisy.
    **options: of the betas, such as `start` and `stop`: a number, or a number
      for each sensor by its name.

  Returns:
    The process; its schedule, and its basis if any, are along the channels.

  Raises:
    UserError: a setting is wrong.
  """
  _one_of('process.noise', noise, NOISES)
  _one_of('process.blocks', blocks, BLOCKS)
  sensors = info['sensors']
  channels = channels_of(sensors, layout.parts)
  table = sensor_betas(tuple(sensors), betas, steps, **options)
  if zero_terminal:
    table = schedules.zero_terminal(table)
  if noise == 'isotropic':
    widths = [len(own) for own in channels.values()]
    return processes.per_axis(np.repeat(table, widths, axis=1), -1, 3)
  axes = [np.asarray(own) for own in sensors.values()]
  if blocks == 'all':
    if np.any(table != table[:, :1]):
      raise UserError(
          'config.system.process: noise that correlates sensors has directions '
          'across them, so blocks="all" needs one schedule for all; found '
          'others. Give plain numbers, or take blocks="sensor".'
      )
    table, axes = table[:, :1], [np.concatenate(axes)]
  spread = axis_covariance(picked(info)['window'], ridge)
  same = np.eye(layout.parts)
  covariances = [np.kron(_unit_trace(spread[np.ix_(a, a)]), same) for a in axes]
  return processes.per_block(table, covariances, -1, 3)


def sensor_betas(
    sensors: Sequence[str], name: str, steps: int, **options: Any
) -> np.ndarray:
  """Build the betas of each sensor.

  Args:
    sensors: names of S sensors.
    name: in `schedules.BETAS`.
    steps: T.
    **options: of the schedule: a number, or a number by sensor.

  Returns:
    [T, S] float64.

  Raises:
    UserError: an option lacks a sensor, or names another.
  """
  for option, value in options.items():
    if isinstance(value, Mapping) and set(value) != set(sensors):
      raise UserError(
          f'config.system.process.{option}: expected a number for each of '
          f'{list(sensors)}, found {sorted(value)}.'
      )
  return np.stack([
      schedules.betas(name, steps, **{
          option: value[sensor] if isinstance(value, Mapping) else value
          for option, value in options.items()
      })
      for sensor in sensors
  ], axis=1)


def channels_of(
    sensors: Mapping[str, Sequence[int]], parts: int
) -> dict[str, tuple[int, ...]]:
  """Return which channels of an image are a sensor's.

  Args:
    sensors: axes of each sensor, one sensor after another.
    parts: channels of one axis.

  Returns:
    Channels by sensor.

  Raises:
    UserError: the axes are not 0, 1, 2 and so on.
  """
  axes = [axis for own in sensors.values() for axis in own]
  if axes != list(range(len(axes))):
    raise UserError(
        'info.sensors: expected the axes 0, 1, ... sensor after sensor, found '
        f'{dict(sensors)}.'
    )
  return {
      name: tuple(parts * axis + part for axis in own for part in range(parts))
      for name, own in sensors.items()
  }


def axis_covariance(window: np.ndarray, ridge: float) -> np.ndarray:
  """Return the covariance [C, C] of windows [N, L, C], trace C, and a ridge."""
  if not 0 < ridge <= 1:
    raise UserError(
        'config.system.process.ridge: expected a share within (0, 1], found '
        f'{ridge:g}.'
    )
  values = np.asarray(window, np.float64).reshape(-1, window.shape[-1])
  scaled = _unit_trace(np.cov(values.T))
  return (1 - ridge) * scaled + ridge * np.eye(len(scaled))


def _unit_trace(matrix: np.ndarray) -> np.ndarray:
  # As much noise as white noise has, so that schedules mean the same.
  return matrix * len(matrix) / np.trace(matrix)


def moments(info: Mapping[str, Any], layout: signal.Layout) -> Moments:
  """Measure images of the picked windows, of each class and of all."""
  data = picked(info)
  image = np.asarray(jax.jit(layout.to_image)(data['window']), np.float64)
  groups = [image[data['label'] == k] for k in range(len(info['classes']))]
  if not all(map(len, groups)):
    lacking = [k for k, group in zip(info['classes'], groups) if not len(group)]
    raise UserError(f'info.picked: expected every class, found no {lacking}.')
  groups.append(image)
  return Moments(*(
      np.stack([f(x, (0, 2), keepdims=True)[0] for x in groups]).astype('f4')
      for f in (np.mean, np.std)
  ))


def picked(info: Mapping[str, Any]) -> Mapping[str, np.ndarray]:
  """Return the windows to learn from, `window` and `label`."""
  if 'picked' not in info:
    raise UserError(
        'info.picked: expected the windows to learn from, whose moments the '
        'matched prior, residuals and nonisotropic noise need, found none; '
        "prior='standard', prediction='noise', noise='isotropic' do without."
    )
  return info['picked']


def reverse_sampler(
    T: int, *, name: str, steps: int, spacing: str = 'trailing', **options: Any
) -> Reverse:
  """Build a sampler and its times.

  Args:
    T: steps of the process.
    name: key of `generate.SAMPLERS`.
    steps: of the sampler.
    spacing: of the times, see `samplers.timesteps`.
    **options: of the sampler, e.g. `eta`.

  Returns:
    The sampler and its times.

  Raises:
    UserError: a name or a setting is wrong.
  """
  _one_of('sampler.name', name, tuple(generate.SAMPLERS))
  built = _built(generate.SAMPLERS[name], options, 'sampler')
  return Reverse(built, samplers.timesteps(T, steps, spacing))


def unet(
    shape: tuple[int, int, int], classes: int, settings: Mapping[str, Any]
) -> UNet:
  """Build the network of images `[F, N, D]`.

  Args:
    shape: (F, N, D).
    classes: to condition on; 0 for none.
    settings: of `UNet`.

  Returns:
    The module.

  Raises:
    UserError: a setting is unknown, or does not fit the images.
  """
  built: UNet = _built(
      UNet, {'channels': shape[2], 'classes': classes, **settings}, 'network'
  )
  _one_of('network.attention', built.attention, tuple(ATTENTION))
  for name in ('groups', 'heads'):
    if built.base % getattr(built, name):
      raise UserError(
          f'config.system.network.base: expected a multiple of {name} '
          f'{getattr(built, name)}, found {built.base}.'
      )
  if shape[1] % 2:
    raise UserError(
        'config.system.layout.frames: expected an even number, since the '
        f'network halves it, found {shape[1]}.'
    )
  return built


def _check_guidance(
    conditional: bool, dropout: float, guidance: float
) -> None:
  if not 0 <= dropout < 1:
    raise UserError(
        'config.system.class_dropout: expected a rate within [0, 1), found '
        f'{dropout:g}.'
    )
  if guidance != 1 and not (conditional and dropout):
    raise UserError(
        'config.system.guidance: expected 1, since no network learns to do '
        f'without the class, found {guidance:g}; it takes conditional=True and '
        'class_dropout > 0.'
    )


def _built(function: Any, options: Mapping[str, Any], field: str) -> Any:
  try:
    return function(**options)
  except TypeError as error:
    raise UserError(f'config.system.{field}: {error}') from error


def _one_of(field: str, value: str, known: Sequence[str]) -> None:
  if value not in known:
    raise UserError(
        f'config.system.{field}: expected one of {tuple(known)}, found '
        f'{value!r}.'
    )
