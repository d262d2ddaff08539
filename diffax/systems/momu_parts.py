"""What MoMu-Diffusion is built of: its series, networks, process, checks.

A modality is diffused as a series of latents (kind `vae`) or of features as
they are (`raw`), several frames to a step, so that both modalities have one
rate. Motion that is only given may be read by a learned `encoder` instead.

With `rhythm` the series of motion has one channel more, its kinematic amplitude
(`body.beats`, Eq. 3, the largest of a step's frames). A beat of movement is a
change of speed, spread over all latents and small in each: what music has to do
with it would be learned only after how to find it. The amplitude follows from
what is given, and what is generated of it is dropped. The paper uses it for the
contrast alone.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp

from diffax.body import beats
from diffax.diffusion import process as processes
from diffax.diffusion import schedules
from diffax.errors import UserError
from diffax.nn.feedforward import FeedForwardTransformer
from diffax.nn.feedforward import JOINS
from diffax.nn.feedforward import POSITIONS
from diffax.nn.series_unet import SeriesUNet
from diffax.systems import momu_vae
from diffax.typing import Array
from diffax.typing import Params

OTHER = {'music': 'motion', 'motion': 'music'}
KINDS = {'music': ('vae', 'raw'), 'motion': ('vae', 'raw', 'encoder')}
NETWORKS: Mapping[str, Callable[..., Any]] = {
    'fft': FeedForwardTransformer, 'unet': SeriesUNet,
}
# Frames per latent of an autoencoder.
FOLD = 2
# The number of frames is a multiple of this, so that a UNet can halve latents.
FRAMES = 4


class Space(NamedTuple):
  """The series in which a modality is diffused.

  Attributes:
    channels: D; 0 if a learned encoder makes it.
    part: autoencoder; None for features as they are.
    fold: frames of a step of the series.
    rhythm: whether the last channel is the kinematic amplitude.
  """

  channels: int
  part: momu_vae.Part | None
  fold: int
  rhythm: bool = False

  def encode(self, frozen: Params, x: Array) -> Array:
    """Map `[B, T, C]` to `[B, L, D]`."""
    if self.part is not None:
      z = self.part.encode(frozen[self.part.name], x).mean
    else:
      z = x.reshape(len(x), x.shape[1] // self.fold, -1)
    if not self.rhythm:
      return z
    poses = x.reshape(*x.shape[:2], -1, 2)
    amplitude = beats.latent_amplitude(
        beats.amplitude(beats.directogram(poses)), self.fold
    )
    return jnp.concatenate([z, amplitude[..., None]], axis=-1)

  def decode(self, frozen: Params, z: Array) -> Array:
    """Map `[B, L, D]` to `[B, T, C]`."""
    if self.rhythm:
      z = z[..., :-1]
    if self.part is not None:
      return self.part.decode(frozen[self.part.name], z)
    return z.reshape(len(z), z.shape[1] * self.fold, -1)


def space_of(
    info: Mapping[str, Any],
    name: str,
    kind: str,
    fold: int,
    settings: Mapping[str, Any] | None,
    dtype: str,
    rhythm: bool = False,
) -> Space:
  """Build the space of a modality.

  Args:
    info: of the data source.
    name: of the modality.
    kind: `vae`, `raw` or `encoder`.
    fold: frames of a step.
    settings: of `momu_vae.part_of`, for kind `vae`.
    dtype: of the computation.
    rhythm: of `Space`; for motion as positions.

  Returns:
    The space.

  Raises:
    UserError: a setting is wrong.
  """
  if kind != 'vae' and settings:
    raise UserError(
        f'config.system.{name}: describes an autoencoder, but '
        f'config.system.kinds.{name} is {kind!r}.'
    )
  if rhythm and (
      kind == 'encoder' or info[name].get('kind', 'positions') != 'positions'
  ):
    raise UserError(
        'config.system.rhythm: expected False for motion that is read by a '
        'learned encoder or not given as positions, found True.'
    )
  if kind == 'raw':
    return Space(fold * info[name]['dims'] + rhythm, None, fold, rhythm)
  if kind == 'encoder':
    return Space(0, None, fold)
  part = momu_vae.described(info, name, settings or {}, dtype)
  return Space(part.network.latent + rhythm, part, fold, rhythm)


def network_of(name: str, channels: int, settings: Mapping[str, Any]) -> Any:
  """Build the denoiser of series of some channels.

  Args:
    name: key of `NETWORKS`.
    channels: D.
    settings: of the network.

  Returns:
    The module.

  Raises:
    UserError: a setting is unknown or does not fit.
  """
  one_of('network', name, tuple(NETWORKS))
  options = {'channels': channels, **settings}
  built = momu_vae.built(NETWORKS[name], options, 'denoiser')
  width, groups = (
      (built.width, built.groups) if name == 'fft'
      else (built.base, built.groups)
  )
  if width % groups or width % built.heads or groups % 2:
    raise UserError(
        'config.system.denoiser: expected a width that is a multiple of heads '
        f'{built.heads} and of an even number of groups, found width {width} '
        f'and groups {groups}.'
    )
  if name == 'fft':
    one_of('denoiser.join', built.join, JOINS)
    one_of('denoiser.positions', built.positions, POSITIONS)
  return built


def reverse(sampler: Mapping[str, Any]) -> dict[str, Any]:
  """Complete the settings of a sampler by the paper's."""
  found = {'name': 'ddim', 'steps': 50, **sampler}
  if found['name'] == 'ddim':
    found.setdefault('spacing', 'late')
  return found


def latent_process(
    *, steps: int = 1000, betas: str = 'scaled_linear', **options: float
) -> processes.Process:
  """Build the forward process of series `[L, D]`, white noise.

  Args:
    steps: T.
    betas: name in `schedules.BETAS`; `scaled_linear` is a linear root.
    **options: of the betas, such as `start` and `stop`.

  Returns:
    The process.

  Raises:
    UserError: a setting is wrong.
  """
  return processes.isotropic(schedules.betas(betas, steps, **options), ndim=2)


def check(
    tasks: Sequence[str],
    kinds: Mapping[str, str],
    dropout: float,
    guidance: float,
    switch: float,
) -> None:
  """Raise a UserError unless settings of `momu.momu_diffusion` fit."""
  if not tasks or set(tasks) - set(OTHER) or len(set(tasks)) < len(tasks):
    raise UserError(
        f'config.system.tasks: expected some of {tuple(OTHER)}, found '
        f'{tuple(tasks)}.'
    )
  if set(kinds) != set(OTHER):
    raise UserError(
        f'config.system.kinds: expected {tuple(OTHER)}, found {tuple(kinds)}.'
    )
  for name, kind in kinds.items():
    one_of(f'kinds.{name}', kind, KINDS[name])
    if kind == 'encoder' and name in tasks:
      raise UserError(
          f'config.system.kinds.{name}: {kind} reads motion but cannot be '
          f'decoded; expected vae or raw for the task {name}.'
      )
  if not 0 <= dropout < 1 or (guidance != 1 and not dropout):
    raise UserError(
        'config.system.condition_dropout: expected a rate within [0, 1), above '
        f'0 for guidance {guidance:g}, found {dropout:g}.'
    )
  if not 0 <= switch <= 1:
    raise UserError(
        f'config.system.switch: expected a share within [0, 1], found {switch}.'
    )


def crop_frames(crop: int | None, frames: int) -> int | None:
  """Return the frames of training stretches; None for whole series."""
  if crop is not None and (crop % FRAMES or crop < FRAMES):
    raise UserError(
        f'config.system.crop: expected a multiple of {FRAMES} frames, found '
        f'{crop}.'
    )
  return None if crop is None or crop >= frames else crop


def shortest_steps(
    frames: int | None, network: str, fold: int
) -> int | None:
  """Return the steps of the shortest training series, or raise."""
  if frames is None:
    return None
  if network != 'fft' or frames < FRAMES:
    raise UserError(
        f'config.system.shortest: expected {FRAMES} frames or more, and the '
        f'network fft, which hides what is cut, found {frames}, {network!r}.'
    )
  return frames // fold


def window_steps(
    frames: int, window: int | None, fold: int, networks: Mapping[str, Any]
) -> int:
  """Return the steps of a window, if it and training series are possible."""
  window = frames if window is None else window
  for name, count in (('data: info.frames', frames),
                      ('config.system.window', window)):
    if count < FRAMES or count % FRAMES:
      raise UserError(
          f'{name}: expected a multiple of {FRAMES} frames, found {count}.'
      )
    for network in networks.values():
      longest = network.longest
      if longest is not None and count // fold > longest:
        raise UserError(
            f'{name}: {count} frames are {count // fold} steps, but there are '
            f'learned positions for {longest}; raise denoiser.places.'
        )
  return window // fold


def one_of(field: str, value: str, known: Sequence[str]) -> None:
  """Raise a UserError unless a setting is one of the known."""
  if value not in known:
    raise UserError(
        f'config.system.{field}: expected one of {tuple(known)}, found '
        f'{value!r}.'
    )
