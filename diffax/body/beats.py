"""The rhythm of a movement: directogram, kinematic amplitude and beats.

With the places p(r, j) of J joints in frame r and K bins of angles,

  (1)  F(r, j) = p(r, j) - p(r - 1, j),       F(0, j) = F(1, j),
  (2)  D(r, k) = sum_j |F(r, j)| I_k(angle F(r, j)),
  (3)  Q(r) = sum_k max(0, D(r, k) - D(r - 1, k)),   Q(0) = 0,

and the kinematic amplitude is Q over its largest value in the clip. The centre
of bin k is t_k = -pi + 2 pi k / K. With differences of angles wrapped to half a
turn, the windows I_k(a) are 1

  exact  where -pi / K <= a - t_k < pi / K: each joint in one bin;
  paper  where |a - t_k| <= 2 pi / K: each joint in two, or three at a centre;
  loris  where floor(a in degrees mod 180) mod K = k, as in the code of LORIS:
         the two ways along a line are one, and bins are no sectors,

and 0 elsewhere. Where the body hits a pose and stops, D falls: the beats of
Davis and Agrawala, which Eq. 3 finds with D exchanged for -D (`fall`).

A kinematic beat is a peak of the amplitude. At 62.5 frames per second the
amplitude as it is has five to seven peaks a second, whatever the body does:
they find every beat of any music, and say nothing. So beats are those of a D
that is smoothed over 0.12 s, at least 0.3 s apart: of a figure that leaves, or
reaches, a pose on each beat, nine of ten are then found within 0.1 s.

Everything but the beats takes NumPy and JAX arrays and returns what it was
given.

References:
  You et al., "MoMu-Diffusion", NeurIPS 2024, Eq. 1 and 2. K, the border of the
  first frames and the peaks are choices: they are not specified.
  Davis and Agrawala, "Visual Rhythm and Beat", SIGGRAPH 2018 (directogram).
  Yu et al., "Long-Term Rhythmic Video Soundtracker", ICML 2023 (LORIS), and
  its released code.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy import ndimage
from scipy import signal

from diffax.body.kinematics import AnyArray
from diffax.errors import UserError


# Who moves along an axis is on a border; rounding shall not decide.
_EDGE = 1e-5


def _exact(angle: AnyArray, number: AnyArray, bins: int) -> AnyArray:
  xp = angle.__array_namespace__()
  place = (angle + np.pi) * (bins / (2 * np.pi)) + 0.5
  return xp.floor(place + _EDGE) % bins == number


def _paper(angle: AnyArray, number: AnyArray, bins: int) -> AnyArray:
  xp = angle.__array_namespace__()
  apart = angle - number * (2 * np.pi / bins) + np.pi
  apart = xp.abs((apart + np.pi) % (2 * np.pi) - np.pi)
  return apart <= 2 * np.pi / bins + _EDGE


def _loris(angle: AnyArray, number: AnyArray, bins: int) -> AnyArray:
  xp = angle.__array_namespace__()
  return xp.floor(angle * (180 / np.pi) % 180) % bins == number


FLUXES: Mapping[str, int] = {'rise': 1, 'fall': -1}
"""Sign of D in Eq. 3."""

WINDOWS: Mapping[str, Callable] = {
    'exact': _exact, 'paper': _paper, 'loris': _loris
}
"""Whether angles `[..., 1]` lie in the bins numbered `[..., K]`, of K."""


def directogram(
    poses: AnyArray, bins: int = 12, window: str = 'exact'
) -> AnyArray:
  """Sum up how far the joints move in each direction (Eq. 1 and 2).

  Args:
    poses: `[..., T, J, 2]`, T of at least 2.
    bins: K; LORIS has 10.
    window: a key of `WINDOWS`.

  Returns:
    `[..., T, K]` in the unit of the poses, per frame.

  Raises:
    UserError: the window is unknown, or the poses are no poses in a plane.
  """
  if window not in WINDOWS:
    raise UserError(f'window: expected one of {[*WINDOWS]}, found {window!r}.')
  if poses.ndim < 3 or poses.shape[-1] != 2 or poses.shape[-3] < 2:
    raise UserError(
        'poses: expected [..., 2 or more frames, joints, 2], found '
        f'{list(poses.shape)}.'
    )
  xp = poses.__array_namespace__()
  steps = poses[..., 1:, :, :] - poses[..., :-1, :, :]
  steps = xp.concat([steps[..., :1, :, :], steps], axis=-3)
  angle = xp.atan2(steps[..., 1], steps[..., 0])
  number = xp.arange(bins, dtype=poses.dtype).reshape(*[1] * angle.ndim, -1)
  inside = WINDOWS[window](angle[..., None], number, bins)
  far = xp.sqrt(xp.sum(steps * steps, axis=-1))[..., None]
  return xp.sum(xp.where(inside, far, 0), axis=-2)


def amplitude(directogram: AnyArray, flux: str = 'rise') -> AnyArray:
  """Return the kinematic amplitude (Eq. 3), whose maximum is 1.

  Args:
    directogram: `[..., T, K]`.
    flux: a key of `FLUXES`; `rise` is the paper's.

  Returns:
    `[..., T]` in [0, 1]; all 0 for a body whose speed never rises.

  Raises:
    UserError: the flux is unknown.
  """
  if flux not in FLUXES:
    raise UserError(f'flux: expected one of {[*FLUXES]}, found {flux!r}.')
  xp = directogram.__array_namespace__()
  change = directogram[..., 1:, :] - directogram[..., :-1, :]
  total = xp.sum(xp.maximum(FLUXES[flux] * change, 0), axis=-1)
  total = xp.concat([xp.zeros_like(total[..., :1]), total], axis=-1)
  top = xp.max(total, axis=-1)[..., None]
  return total / xp.where(top > 0, top, 1)


def latent_amplitude(values: AnyArray, factor: int = 2) -> AnyArray:
  """Return the amplitude of latents: the largest of each one's frames.

  Args:
    values: `[..., T]` amplitudes of frames, T a multiple of the factor.
    factor: frames of a latent.

  Returns:
    `[..., T / factor]`.

  Raises:
    UserError: the frames do not make whole latents.
  """
  if values.shape[-1] % factor:
    raise UserError(
        f'amplitude: expected a multiple of {factor} frames, found '
        f'{values.shape[-1]}.'
    )
  xp = values.__array_namespace__()
  return xp.max(values.reshape(*values.shape[:-1], -1, factor), axis=-1)


def peaks(
    values: np.ndarray, fps: float, height: float = 0.1, apart: float = 0.3
) -> np.ndarray:
  """Find peaks of an amplitude.

  Args:
    values: `[T]` in [0, 1].
    fps: frames per second.
    height: least of a peak.
    apart: least time between peaks, seconds; of closer ones the highest stays.

  Returns:
    Frames `[N]`, rising.
  """
  distance = max(round(apart * fps), 1)
  return signal.find_peaks(values, height=height, distance=distance)[0]


def loris_peaks(values: np.ndarray) -> np.ndarray:
  """Find peaks of an amplitude as the code of LORIS does.

  Frame r is one where the amplitude is the largest of the 6 frames from r on,
  exceeds the mean of the 4 from r on by 0.1 times the mean of the clip, and
  the next frame is none. Windows that leave the clip count as 0.

  Args:
    values: `[T]` in [0, 1], T of at least 6.

  Returns:
    Frames `[N]`, rising.
  """
  windows = np.lib.stride_tricks.sliding_window_view
  size = len(values)
  mean, high = np.zeros(size), np.zeros(size)
  mean[:size - 3] = windows(values, 4).mean(-1)
  high[:size - 5] = windows(values, 6).max(-1)
  peak = (values == high) & (high - mean > 0.1 * values.mean())
  last = np.r_[~peak[1:], False]
  return np.flatnonzero(peak & last)


def smooth_amplitude(
    poses: np.ndarray,
    fps: float,
    *,
    bins: int = 12,
    window: str = 'exact',
    flux: str = 'rise',
    smooth: float = 0.12,
) -> np.ndarray:
  """Return the amplitude whose peaks are the beats.

  Args:
    poses: `[T, J, 2]`.
    fps: frames per second.
    bins: K of the directogram.
    window: of the directogram.
    flux: `rise` for where movements begin, `fall` for where they stop.
    smooth: deviation of the Gaussian that smooths the directogram in time,
      seconds; 0 leaves it as it is.

  Returns:
    `[T]` in [0, 1].

  Raises:
    UserError: a setting is unknown, or the poses are no poses in a plane.
  """
  image = directogram(np.asarray(poses), bins, window)
  if smooth:
    image = ndimage.gaussian_filter1d(image, smooth * fps, axis=0)
  return amplitude(image, flux)


def kinematic_beats(
    poses: np.ndarray,
    fps: float,
    *,
    height: float = 0.1,
    apart: float = 0.3,
    **options: Any,
) -> np.ndarray:
  """Find the beats of a movement: peaks of its smoothed amplitude.

  Args:
    poses: `[T, J, 2]`.
    fps: frames per second.
    height: least amplitude of a beat.
    apart: least time between beats, seconds.
    **options: of `smooth_amplitude`.

  Returns:
    Seconds `[N]` from the first frame, rising.

  Raises:
    UserError: a setting is unknown, or the poses are no poses in a plane.
  """
  curve = smooth_amplitude(poses, fps, **options)
  return peaks(curve, fps, height, apart) / fps
