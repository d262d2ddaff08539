"""What judges generated dances and music: classifiers trained on the set.

A judge learns the training split's classes and follows from its seed alone, so
runs on one set have one judge, whatever their model. It is not that of a
paper: distances of other judges are other numbers.

Music is heard by VGGish if its weights are given, else by a classifier of
log-mels that learnt which track it hears; the name of the distance says which.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import functools
import pathlib
from typing import Any, NamedTuple

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from diffax import signal
from diffax.errors import UserError
from diffax.metrics import audio
from diffax.metrics import dance
from diffax.metrics import recognition
from diffax.nn import vggish
from diffax.nn.motion_classifier import MelClassifier
from diffax.nn.motion_classifier import MotionClassifier
from diffax.sampling import dance_parts
from diffax.systems import skeleton_import
from diffax.typing import Array
from diffax.typing import Batch

TRAINED = 'trained mel CNN'
# Which names of windows are classes to learn, the first of which there are two.
_MOTION_LABELS = 'style', 'subject', 'track'
_MUSIC_LABELS = 'track', 'style'
_PATCH = MotionClassifier.patch


@dataclasses.dataclass(frozen=True)
class Settings:
  """How judges are trained.

  Attributes:
    steps: batches of each.
    batch_size: clips of a batch.
    rate: of Adam.
    windows: of the training split that they learn from, at most.
    motion_clip: frames of a clip of movement.
    music_clip: frames of a clip of sound.
    seed: of the judges, not of the run.
    vggish: weights of VGGish, a state dict of PyTorch or an `.npz` of
      TensorFlow's variables.
  """

  steps: int = 300
  batch_size: int = 32
  rate: float = 1e-3
  windows: int = 256
  motion_clip: int = 128
  music_clip: int = 64
  seed: int = 0
  vggish: str | None = None

  @property
  def training(self) -> recognition.Training:
    """How `metrics.recognition` trains."""
    return recognition.Training(self.batch_size, self.rate)


class Judges(NamedTuple):
  """Hold what judges, None where there is nothing to tell apart.

  Attributes:
    motion: of normalised poses.
    music: of sound.
    facts: of each, for metrics.json.
  """

  motion: dance.Judge | None
  music: audio.Embedding | None
  facts: dict[str, Any]


def settings(given: Mapping[str, Any]) -> Settings:
  """Return settings that differ from the usual ones by those given.

  Raises:
    UserError: one is unknown or out of range.
  """
  known = [field.name for field in dataclasses.fields(Settings)]
  strange = set(given) - set(known)
  if strange:
    raise UserError(
        f'eval.judges: unknown {sorted(strange)}; it has {known}.'
    )
  found = Settings(**given)
  for field in ('steps', 'batch_size', 'windows', 'motion_clip', 'music_clip'):
    if getattr(found, field) < 1:
      raise UserError(
          f'eval.judges.{field}: expected 1 or more, found '
          f'{getattr(found, field)}.'
      )
  return found


def train(
    windows: Batch, held: Batch, info: Mapping[str, Any], plan: Settings,
    motion: bool, music: bool
) -> Judges:
  """Train the judges that are wanted.

  Args:
    windows: of the training split.
    held: of another split, to say how good the judges are.
    info: of the source.
    plan: settings.
    motion: whether movement is judged.
    music: whether sound is judged.

  Returns:
    The judges.

  Raises:
    UserError: weights cannot be read, or windows are shorter than a clip.
  """
  facts: dict[str, Any] = {}
  listener = None
  if music and plan.vggish:
    # First, as a wrong file shall not be found after minutes.
    listener = read_vggish(plan.vggish)
    facts['music'] = {'embedding': listener.name}
  windows, held = (_thinned(part, plan.windows) for part in (windows, held))
  judge = None
  if motion:
    label = _label(windows, _MOTION_LABELS)
    poses = [posed(part['motion'], info) for part in (windows, held)]
    network = MotionClassifier(_classes(info, label))
    judge = _trained(network, windows, held, label, poses, plan.motion_clip,
                     plan)
    facts['motion'] = _facts(judge, label)
  if music and listener is None:
    label = _label(windows, _MUSIC_LABELS)
    mels = [_mels(part) for part in (windows, held)]
    ears = MelClassifier(_classes(info, label))
    heard = _trained(ears, windows, held, label, mels, plan.music_clip, plan)
    if heard is not None:
      listener = audio.Embedding(TRAINED, functools.partial(_hear, heard))
    facts['music'] = {'embedding': TRAINED, **_facts(heard, label)}
  return Judges(judge, listener, facts)


def posed(motion: np.ndarray, info: Mapping[str, Any]) -> np.ndarray:
  """Return normalised places `[N, T, 28]` of motion `[N, T, C]`."""
  poses = dance_parts.to_poses(motion, info, correct=False)
  return poses.reshape(*poses.shape[:2], -1).astype(np.float32)


def read_vggish(path: str | pathlib.Path) -> audio.Embedding:
  """Read published weights of VGGish.

  Args:
    path: `.pth`, `.pt`, `.safetensors` or `.npz`.

  Returns:
    The embedding.

  Raises:
    UserError, DataError: the file cannot be read or holds other weights.
  """
  network = vggish.VGGish()
  params = vggish.convert(
      skeleton_import.read_state(path), network, file=str(path)
  )
  apply = jax.jit(network.apply)
  return audio.Embedding(
      'VGGish', lambda wave: np.asarray(apply(params, vggish.examples(wave)))
  )


def _trained(
    network: nn.Module, windows: Batch, held: Batch, label: str | None,
    items: Sequence[np.ndarray], clip: int, plan: Settings
) -> dance.Judge | None:
  if label is None:
    return None
  known = np.isin(held[label], windows[label])
  clip = min(clip, items[0].shape[1] // _PATCH * _PATCH)
  return dance.train_judge(
      network, items[0], windows[label], clip,
      steps=plan.steps, training=plan.training, seed=plan.seed,
      # Tracks of other splits are no classes.
      held=(items[1][known], held[label][known]),
  )


def _label(windows: Batch, names: Sequence[str]) -> str | None:
  """Return the first name of which there are two classes or more."""
  several = [x for x in names if len(np.unique(windows[x])) > 1]
  return several[0] if several else None


def _classes(info: Mapping[str, Any], label: str | None) -> int:
  return len(info[f'{label}s']) if label else 1


def _facts(judge: dance.Judge | None, label: str | None) -> dict[str, Any]:
  if judge is None:
    return {'label': None}
  accuracy = None if np.isnan(judge.accuracy) else judge.accuracy
  return {'label': label, 'held-out accuracy': accuracy, 'clip': judge.clip}


def _thinned(windows: Batch, most: int) -> Batch:
  total = len(windows['motion'])
  rows = np.unique(np.linspace(0, total - 1, min(most, total)).astype(int))
  return {name: values[rows] for name, values in windows.items()}


def _mels(windows: Batch) -> np.ndarray:
  return np.stack([mel(wave) for wave in windows['wave']])


def mel(wave: np.ndarray) -> np.ndarray:
  """Return the log-mel `[T, 80]` of a wave at 16 kHz."""
  return np.asarray(_log_mel(jnp.asarray(wave, jnp.float32)))


@jax.jit
def _log_mel(wave: Array) -> Array:
  return signal.log_mel(wave, signal.MAA)


def _hear(judge: dance.Judge, wave: np.ndarray) -> np.ndarray:
  """Return features `[F, D]` of the clips of a wave."""
  return dance.read(judge, mel(wave)[None]).clips
