"""Legs of the generated stick figure in walking and running.

The ball of the foot is planned, the joint angles follow. Relative to a hip
that moves at constant speed v, the ball goes back by v t while it is loaded
and returns on a cubic that meets that speed at both ends, so a loaded foot
does not slide. The foot's pitch is a curve over the stride: toes up on
landing, flat, heel up to push off. Thigh and knee solve the triangle of hip,
knee and ankle:

    cos(knee')  = (a^2 + b^2 - r^2) / (2 a b)                            (1)
    thigh = atan2(x, -z) + acos((a^2 + r^2 - b^2) / (2 a r))             (2)

with thigh a, shank b, ankle (x, z) at distance r from the hip, and knee' the
inner angle at the knee.
"""

import dataclasses

import numpy as np
from scipy import interpolate

GRAVITY = 9.81
# The mean SMPL leg in the plane of walking, metres and degrees.
_THIGH, _SHANK = 0.379, 0.401
_FOOT = np.array([0.121, -0.052])
_SOLE = 0.02
_REST_KNEE, _REST_HIP = 5.8, 0.7


@dataclasses.dataclass(frozen=True)
class Gait:
  """A way of walking or running.

  Attributes:
    speed: metres per second on the mean body.
    rate: strides (two steps) per second.
    duty: share of the stride in which a foot is loaded.
    ahead: how far before the middle of its path under the hip the ball lands,
      metres.
    clear: height of the ball in mid-swing, metres.
    bend: shortest distance that the hip keeps from a straight leg, metres.
    bob: rise of the hip in mid-stance, metres; it sinks in running.
    pitch: degrees of the foot, heel up positive, at the shares `at` of the
      stride.
    at: ascending, from 0 to 1.
  """

  speed: float
  rate: float
  duty: float
  ahead: float
  clear: float
  bend: float
  bob: float
  pitch: tuple[float, ...]
  at: tuple[float, ...]


def walking(speed: float, rate: float) -> Gait:
  """Return a walk at a speed in m/s with a rate in strides per second."""
  push = 26 + 20 * min(speed, 1.6)
  return Gait(
      speed, rate, duty=0.61, ahead=0.02, clear=0.04, bend=0.003,
      bob=0.008 + 0.012 * speed,
      pitch=(-16, 0, 0, 0.4 * push, push, 0.8 * push, -8, -16),
      at=(0, 0.13, 0.3, 0.48, 0.59, 0.66, 0.9, 1),
  )


def running(speed: float, rate: float, knees: float) -> Gait:
  """Return a run; `knees` scales how high the feet are lifted."""
  return Gait(
      speed, rate, duty=0.38 - 0.02 * speed, ahead=0.03, clear=0.15 * knees,
      bend=0.01, bob=-0.022, pitch=(-4, 0, 6, 52, 85 * knees, 30, -4),
      at=(0, 0.06, 0.15, 0.33, 0.52, 0.8, 1),
  )


def hop(gait: Gait, phase: np.ndarray) -> np.ndarray:
  """Compute the free flight between two steps, `g t (T - t) / 2`.

  Args:
    gait: the way of walking.
    phase: [L] in strides since a foot landed.

  Returns:
    Rise of the body [L], metres; 0 while a foot is loaded.
  """
  aloft = (0.5 - gait.duty) / gait.rate
  time = (phase % 0.5 - gait.duty) / gait.rate
  return np.maximum(0.5 * GRAVITY * time * (aloft - time), 0)


def leg(gait: Gait, phase: np.ndarray) -> dict[str, np.ndarray]:
  """Compute the angles of one leg over its stride.

  Args:
    gait: the way of walking.
    phase: [L] in strides since this foot landed.

  Returns:
    Degrees [L] of `hip`, `knee` and `ankle` below a level pelvis, and the
    height `clear` [L] of the ball above the ground, metres.
  """
  share = phase % 1
  ball = _ball(gait, share)
  pitch = _periodic(gait, share)
  ankle = ball - _turned(_FOOT, np.maximum(pitch, 0))
  hip = _hip_height(gait) + _bob(gait, share)
  thigh, knee = _triangle(ankle[:, 0], hip - ankle[:, 1])
  hip_angle, knee_angle = thigh + _REST_HIP, knee - _REST_KNEE
  return {
      'hip': hip_angle,
      'knee': knee_angle,
      'ankle': knee_angle - hip_angle - pitch,
      'clear': ball[:, 1] - _SOLE,
  }


def _ball(gait: Gait, share: np.ndarray) -> np.ndarray:
  # Ahead of the hip and above the ground, [L, 2].
  stride = gait.speed / gait.rate
  front = gait.duty * stride / 2 + gait.ahead
  loaded = front - stride * share
  u = np.clip((share - gait.duty) / (1 - gait.duty), 0, 1)
  slope = -stride * (1 - gait.duty)
  swing = (
      (front - gait.duty * stride)
      + slope * u * (1 - u) * (1 - 2 * u)
      + gait.duty * stride * u * u * (3 - 2 * u)
  )
  # Highest early in the swing, and no vertical speed at either end.
  rise = gait.clear * u**2 * (1 - u) ** 3 / (0.4**2 * 0.6**3)
  x = np.where(share < gait.duty, loaded, swing)
  return np.stack([x, _SOLE + rise], -1)


def _hip_height(gait: Gait) -> float:
  # As high as the legs allow while they are loaded.
  share = np.linspace(0, gait.duty, 32)
  pitch = np.maximum(_periodic(gait, share), 0)
  ankle = _ball(gait, share) - _turned(_FOOT, pitch)
  longest = _THIGH + _SHANK - gait.bend
  across = np.minimum(np.abs(ankle[:, 0]), 0.9 * longest)
  reach = ankle[:, 1] + np.sqrt(longest**2 - across**2)
  return float((reach - _bob(gait, share)).min())


def _bob(gait: Gait, share: np.ndarray) -> np.ndarray:
  return gait.bob * np.cos(4 * np.pi * (share - gait.duty / 2))


def _periodic(gait: Gait, share: np.ndarray) -> np.ndarray:
  at = np.array(gait.at)
  curve = interpolate.PchipInterpolator(
      np.concatenate([at[:-1] - 1, at, at[1:] + 1]),
      np.concatenate([gait.pitch[:-1], gait.pitch, gait.pitch[1:]]),
  )
  return curve(share)


def _turned(vector: np.ndarray, pitch: np.ndarray) -> np.ndarray:
  # Heel up: the toes turn down about the ankle.
  sin, cos = np.sin(np.deg2rad(pitch)), np.cos(np.deg2rad(pitch))
  x, z = vector
  return np.stack([cos * x + sin * z, cos * z - sin * x], -1)


def _triangle(
    ahead: np.ndarray, below: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  # Eq. 1 and 2 in degrees; a foot out of reach is approached, not stretched to.
  a, b = _THIGH, _SHANK
  reach = np.hypot(ahead, below)
  reach = np.clip(reach, abs(a - b) + 0.02, a + b - 1e-3)
  inner = np.arccos((a * a + b * b - reach**2) / (2 * a * b))
  lead = np.arccos((a * a + reach**2 - b * b) / (2 * a * reach))
  thigh = np.arctan2(ahead, below) + lead
  return np.rad2deg(thigh), np.rad2deg(np.pi - inner)
