"""What the generated stick figure can do: joint angles as formulas of time.

An action draws its parameters once and returns a smooth function of time and
how long it lasts. The function gives degrees of freedom by name, each [L], for
times [L] in seconds since the action began; those it leaves out stay as in
`STANDING`. Past its end an action keeps a pose from which others can go on.

Angles are in degrees. Flexion is positive where people bend: thighs, arms,
elbows and trunk forwards, knees backwards, toes up. `turn` is in degrees per
second to the left, `lift` in metres, `flight` is 1 without ground contact.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses

import numpy as np
from scipy import interpolate

from diffax.data import gait

Pose = dict[str, np.ndarray]
Motion = Callable[[np.ndarray], Pose]

SIDES = ('l', 'r')
_LIMBS = {
    'hip': 3.0, 'spread': 3.0, 'hip_turn': 6.0, 'knee': 6.0, 'ankle': 3.0,
    'shrug': 0.0, 'arm': 2.0, 'raise': 10.0, 'arm_turn': 15.0, 'elbow': 16.0,
}
# A person at ease; every degree of freedom is here.
STANDING: Mapping[str, float] = {
    'pelvis_pitch': 0.0, 'pelvis_yaw': 0.0, 'pelvis_roll': 0.0,
    'bend': 2.0, 'twist': 0.0, 'lean': 0.0,
    'nod': 3.0, 'look': 0.0, 'tilt': 0.0,
    'turn': 0.0, 'lift': 0.0, 'flight': 0.0,
    **{f'{side}_{key}': x for side in SIDES for key, x in _LIMBS.items()},
}


@dataclasses.dataclass(frozen=True)
class Style:
  """How one person moves.

  Attributes:
    tempo: factor of all rates.
    reach: factor of all amplitudes.
    stoop: degrees of forward bend.
    swing: factor of the arms' swing.
    elbow: further degrees of elbow flexion.
    wide: further degrees between arm and trunk.
    bounce: factor of the flight in a running step.
    left: probability of using the left side.
  """

  tempo: float
  reach: float
  stoop: float
  swing: float
  elbow: float
  wide: float
  bounce: float
  left: float


def draw_style(rng: np.random.Generator) -> Style:
  """Draw how a person moves."""
  return Style(
      tempo=rng.uniform(0.9, 1.12),
      reach=rng.uniform(0.88, 1.12),
      stoop=rng.uniform(-2, 8),
      swing=rng.uniform(0.6, 1.4),
      elbow=rng.uniform(-6, 14),
      wide=rng.uniform(-3, 7),
      bounce=rng.uniform(0.7, 1.2),
      left=rng.choice([0.2, 0.8]),
  )


Action = Callable[[np.random.Generator, Style], tuple[Motion, float]]


def idle(rng: np.random.Generator, style: Style) -> tuple[Motion, float]:
  """Stand: shift the weight, breathe, look around, perhaps arms akimbo."""
  rate, phase = rng.uniform(0.15, 0.35), rng.uniform(0, 2 * np.pi)
  shift, gaze = rng.uniform(1, 4), rng.uniform(-40, 40)
  akimbo = rng.random() < 0.25
  seconds = rng.uniform(0.8, 2.5)

  def pose(t: np.ndarray) -> Pose:
    wave = np.sin(2 * np.pi * rate * t + phase)
    arms = {'raise': 34.0, 'arm': -14.0, 'arm_turn': 62.0, 'elbow': 88.0}
    return {
        'pelvis_roll': shift * wave,
        'lean': -shift * wave,
        'l_spread': 3 - shift * wave,
        'r_spread': 3 + shift * wave,
        'bend': 2 + np.sin(1.6 * t + phase),
        'look': gaze * _keys(t, (0, 0.5, 1.3, 2.2), (0, 1, 1, 0)),
        **{f'{side}_{key}': np.full_like(t, x) for side in SIDES
           for key, x in arms.items() if akimbo},
    }

  return pose, seconds


def walk(rng: np.random.Generator, style: Style) -> tuple[Motion, float]:
  """Walk, straight or in a curve."""
  speed = rng.uniform(0.65, 1.6) * style.reach
  way = gait.walking(speed, (0.6 + 0.31 * speed) * style.tempo)
  start, curve = _heading(rng, 35)
  arms = 13 * style.swing * (0.4 + 0.6 * speed)

  def pose(t: np.ndarray) -> Pose:
    phase = way.rate * t + start
    cosine, sine = np.cos(2 * np.pi * phase), np.sin(2 * np.pi * phase)
    motion = {
        'turn': np.full_like(t, curve),
        'pelvis_yaw': -5 * cosine,
        'pelvis_roll': 3 * sine,
        'lean': -3 * sine,
        'twist': 10 * cosine,
        'look': -4 * cosine,
    }
    legs, _ = _legs(way, phase)
    motion |= legs
    for side, sign in (('l', 1), ('r', -1)):
      motion |= {
          f'{side}_spread': 1 - 2 * sign * sine,
          f'{side}_arm': 2 - sign * arms * cosine,
          f'{side}_elbow': 20 - 8 * sign * style.swing * cosine,
      }
    return motion

  return pose, rng.uniform(1.5, 5)


def run(rng: np.random.Generator, style: Style) -> tuple[Motion, float]:
  """Run, straight or in a curve, with a flight in every step."""
  speed = rng.uniform(1.9, 3.4) * style.reach
  way = gait.running(
      speed, (1.22 + 0.08 * speed) * style.tempo,
      (0.45 + 0.17 * speed) * style.bounce
  )
  start, curve = _heading(rng, 40)
  arms = 28 * style.swing

  def pose(t: np.ndarray) -> Pose:
    phase = way.rate * t + start
    cosine, sine = np.cos(2 * np.pi * phase), np.sin(2 * np.pi * phase)
    legs, clear = _legs(way, phase)
    lift = clear + style.bounce * gait.hop(way, phase)
    motion = {
        'turn': np.full_like(t, curve),
        'pelvis_yaw': -7 * cosine,
        'pelvis_roll': 2.5 * sine,
        'lean': -2.5 * sine,
        'bend': np.full_like(t, 11.0),
        'nod': np.full_like(t, -4.0),
        'twist': 15 * cosine,
        'look': -7 * cosine,
        'lift': lift,
        'flight': lift / (lift + 0.005),
    }
    motion |= legs
    for side, sign in (('l', 1), ('r', -1)):
      motion |= {
          f'{side}_spread': 1 - 1.5 * sign * sine,
          f'{side}_arm': -6 - sign * arms * cosine,
          f'{side}_elbow': 84 - 14 * sign * cosine,
          f'{side}_raise': np.full_like(t, 13.0),
          f'{side}_arm_turn': np.full_like(t, 30.0),
      }
    return motion

  return pose, rng.uniform(1.5, 4)


def turn(rng: np.random.Generator, style: Style) -> tuple[Motion, float]:
  """Turn round on the spot in small steps, the head first."""
  angle = rng.uniform(60, 190) * rng.choice([-1, 1])
  seconds = (0.5 + abs(angle) / 150) / style.tempo
  steps = max(1, round(1.6 * seconds))

  def pose(t: np.ndarray) -> Pose:
    share = np.clip(t / seconds, 0, 1)
    under_way = np.sin(np.pi * share) ** 2
    left = 2 * np.pi * steps * share
    head = _keys(share, (0, 0.25, 0.8, 1), (0, 1, 0.2, 0))
    motion = {
        'turn': 2 * angle / seconds * under_way,
        'look': np.sign(angle) * 35 * head,
        'twist': np.sign(angle) * 12 * head,
    }
    for side, phase in (('l', left), ('r', left + np.pi)):
      step = _bump(phase, 0.25, 2.5) * under_way
      motion |= {
          f'{side}_hip': 3 + 26 * step,
          f'{side}_knee': 6 + 46 * step,
          f'{side}_ankle': 3 - 6 * step,
          f'{side}_arm': 2 + 8 * np.sin(phase) * under_way,
          f'{side}_raise': 10 + 6 * under_way,
      }
    return motion

  return pose, seconds


def squat(rng: np.random.Generator, style: Style) -> tuple[Motion, float]:
  """Squat one to three times, arms forwards or at the sides."""
  period = rng.uniform(1.7, 3.0) / style.tempo
  depth = min(rng.uniform(0.5, 1.0) * style.reach, 1.05)
  times, sharp = rng.integers(1, 4), rng.uniform(0.8, 1.5)
  arms = rng.choice([0.2, 1.0], p=[0.25, 0.75])
  seconds = times * period

  def pose(t: np.ndarray) -> Pose:
    phase = 2 * np.pi * np.clip(t, 0, seconds) / period
    down = depth * (0.5 - 0.5 * np.cos(phase)) ** sharp
    motion = _crouch(down)
    for side in SIDES:
      motion[f'{side}_arm'] = 2 + 82 * arms * np.sqrt(down * down + 1e-4)
      motion[f'{side}_raise'] = 10 + 2 * down
    return motion

  return pose, seconds


def jump(rng: np.random.Generator, style: Style) -> tuple[Motion, float]:
  """Jump one to three times: crouch, push off, fly, land."""
  aloft = rng.uniform(0.3, 0.5) * np.sqrt(style.reach)
  low, up = rng.uniform(0.5, 0.8), rng.uniform(60, 150) * style.reach
  times, spin = rng.integers(1, 4), rng.choice([0, 0, 0, -90, 90, 180])
  off = 0.42 / style.tempo + 0.2
  land = off + aloft
  once = land + 0.62

  def pose(t: np.ndarray) -> Pose:
    s = np.where(t < times * once, t % once, 0.0)
    down = _keys(
        s, (0, off - 0.2, off, off + aloft / 2, land, land + 0.16, once),
        (0, low, -0.02, 0.16, 0.1, 0.75 * low, 0)
    )
    motion = _crouch(down)
    points = _keys(
        s, (0, off - 0.12, off, land - 0.05, land + 0.07, once),
        (0, 0, 1, 0.6, 0, 0)
    )
    arm = _keys(
        s, (0, off - 0.2, off + 0.04, land, land + 0.2, once),
        (2, -42, up, 0.6 * up, 18, 2)
    )
    inside = (s > off) & (s < land)
    motion['lift'] = np.where(
        inside, 0.5 * gait.GRAVITY * (s - off) * (land - s), 0
    )
    motion['flight'] = inside.astype(float)
    motion['turn'] = np.where(
        inside, spin / aloft * (1 - np.cos(2 * np.pi * (s - off) / aloft)), 0
    )
    for side in SIDES:
      motion[f'{side}_ankle'] = motion[f'{side}_ankle'] - 36 * points
      motion[f'{side}_arm'] = arm
      motion[f'{side}_elbow'] = 16 + 0.3 * np.abs(arm)
    return motion

  return pose, times * once


def kick(rng: np.random.Generator, style: Style) -> tuple[Motion, float]:
  """Kick forwards, from a raised knee or like at a ball, once or twice."""
  side = _side(rng, style)
  other = 'r' if side == 'l' else 'l'
  chambered, times = rng.random() < 0.55, rng.integers(1, 3)
  once, high = 1.25 / style.tempo, rng.uniform(0.75, 1.15) * style.reach
  at = np.array((0, 0.27, 0.46, 0.62, 1)) * once
  hip, knee = (
      ((3, 68 * high, 84 * high, 62 * high, 3), (6, 100, 10, 82, 6))
      if chambered else
      ((3, -30, 38 * high, 62 * high, 3), (6, 62, 14, 22, 6))
  )
  sign = 1 if side == 'l' else -1

  def pose(t: np.ndarray) -> Pose:
    s = np.where(t < times * once, t % once, 0.0)
    strike = _keys(s, at, (0, 0.2, 1, 0.7, 0))
    ready = _keys(s, at, (0, 1, 0.9, 0.8, 0))
    return {
        'pelvis_pitch': -11 * strike,
        'pelvis_yaw': -sign * 14 * strike,
        'twist': sign * 16 * strike,
        'bend': 2 + 9 * strike,
        'pelvis_roll': -sign * 3 * ready,
        f'{side}_hip': _keys(s, at, hip),
        f'{side}_knee': _keys(s, at, knee),
        f'{side}_ankle': 3 - 24 * strike,
        # The leg that stands keeps its foot flat below a pelvis that tilts.
        f'{other}_hip': 3 + 4 * ready - 11 * strike,
        f'{other}_knee': 6 + 9 * ready,
        f'{other}_ankle': 3 + 5 * ready,
        f'{other}_spread': 3 - 4 * ready,
        f'{side}_arm': 2 - 26 * strike,
        f'{other}_arm': 2 + 36 * strike,
        f'{side}_raise': 10 + 18 * ready,
        f'{other}_raise': 10 + 22 * ready,
        f'{side}_elbow': 16 + 30 * ready,
        f'{other}_elbow': 16 + 40 * ready,
    }

  return pose, times * once


def wave(rng: np.random.Generator, style: Style) -> tuple[Motion, float]:
  """Wave a hand, sometimes both, standing or on the walk."""
  below, _ = (walk if rng.random() < 0.3 else idle)(rng, style)
  sides = SIDES if rng.random() < 0.15 else (_side(rng, style),)
  rate = rng.uniform(1.2, 2.2) * style.tempo
  width, elbow = rng.uniform(16, 30) * style.reach, rng.uniform(60, 85)
  height, ahead = rng.uniform(62, 108), rng.uniform(0, 25)
  seconds = rng.uniform(1.6, 3.6)

  def pose(t: np.ndarray) -> Pose:
    motion = {key: np.full_like(t, x) for key, x in STANDING.items()}
    motion |= below(t)
    up = _keys(t, (0, 0.45), (0, 1))
    swing = np.sin(2 * np.pi * rate * t)
    target = {
        'raise': height + 5 * swing, 'arm': ahead, 'arm_turn': -78 + 8 * swing,
        'elbow': elbow + width * swing, 'shrug': 8.0,
    }
    for side in sides:
      for key, value in target.items():
        own = motion[f'{side}_{key}']
        motion[f'{side}_{key}'] = own + up * (value - own)
    return motion

  return pose, seconds


ACTIONS: Mapping[str, Action] = {
    'idle': idle, 'walk': walk, 'run': run, 'turn': turn, 'squat': squat,
    'jump': jump, 'wave': wave, 'kick': kick,
}


def _crouch(down: np.ndarray) -> Pose:
  # The ankle is what keeps the foot flat: pitch - hip + knee - ankle = 0.
  motion = {
      'pelvis_pitch': 22 * down, 'bend': 2 + 18 * down, 'nod': 3 - 18 * down
  }
  for side in SIDES:
    motion |= {
        f'{side}_hip': 3 + 95 * down,
        f'{side}_knee': 6 + 110 * down,
        f'{side}_ankle': 3 + 37 * down,
        f'{side}_spread': 3 + 9 * down,
        f'{side}_hip_turn': 6 + 10 * down,
    }
  return motion


def _legs(way: gait.Gait, phase: np.ndarray) -> tuple[Pose, np.ndarray]:
  # The angles of both, half a stride apart, and the lower foot's height.
  motion: Pose = {}
  clear = []
  for side, shift in (('l', 0.0), ('r', 0.5)):
    angles = gait.leg(way, phase + shift)
    clear.append(angles.pop('clear'))
    motion |= {f'{side}_{key}': value for key, value in angles.items()}
  return motion, np.minimum(*clear)


def _bump(phase: np.ndarray, centre: float, sharp: float) -> np.ndarray:
  # 1 at `centre` (in cycles), falling smoothly around it; periodic.
  return np.exp(sharp * (np.cos(phase - 2 * np.pi * centre) - 1))


def _keys(
    t: np.ndarray, times: Sequence[float] | np.ndarray, values: Sequence[float]
) -> np.ndarray:
  # Smooth, without overshoot, and constant outside the keys.
  curve = interpolate.PchipInterpolator(times, values)
  return curve(np.clip(t, times[0], times[-1]))


def _side(rng: np.random.Generator, style: Style) -> str:
  return 'l' if rng.random() < style.left else 'r'


def _heading(rng: np.random.Generator, most: float) -> tuple[float, float]:
  # Where in the stride it begins; degrees per second, half the time straight.
  curve = rng.uniform(-most, most) if rng.random() < 0.5 else 0.0
  return rng.uniform(0, 1), curve
