"""Realism of futures by the features of a classifier of actions (FID).

A classifier learns the classes of the training split's true futures. Its
features of all predicted and of all true futures are taken as Gaussians,

  (1)  FID = |mu - mu'|^2 + tr(S + S' - 2 (S S')^{1/2}),

whose squared distance is 0 if they agree in means and covariances. The
network is that of the literature: two gated recurrent units of 128 read the
poses, and of the state h after the last frame,

  (2)  f = tanh(W h),  logits = V f,  f of 30 numbers.

It begins from a state of zeros, where the released classifier draws one at
random whenever it is asked, so that its FID differs from call to call.

By default it learns from every motion at random headings, which is ours: of
few people it would learn where they look instead of what they do.

Values compare only with those of the same training split, settings and seed,
never with printed ones, whose classifier is another. They depend on the number
of futures, too.

References:
  Barquero et al., "BeLFusion", ICCV 2023, and its released code;
  Guo et al., "Action2Motion", ACM MM 2020, for the network.
  Curreli et al., CVPR 2025, Appendix D.1 (Human3.6M only).
"""

from collections.abc import Mapping
import dataclasses
from typing import Any, NamedTuple

from flax import linen as nn
import jax.numpy as jnp
import numpy as np

from diffax.errors import UserError
from diffax.metrics import dance
from diffax.metrics import distribution
from diffax.metrics import recognition
from diffax.typing import Array

NAME = 'FID (own classifier)'


@dataclasses.dataclass(frozen=True)
class Settings:
  """How the classifier is trained.

  Attributes:
    steps: batches.
    batch_size: futures of a batch.
    rate: of Adam.
    windows: of the training split that it learns from, at most.
    turn: whether each is turned at random about the vertical; then there are
      as many as `windows` says, where need be the same at several headings.
    width: of the recurrent units.
    seed: of the classifier, not of the run.
  """

  steps: int = 1000
  batch_size: int = 64
  rate: float = 1e-3
  windows: int = 4096
  turn: bool = True
  width: int = 128
  seed: int = 0


class Reference(NamedTuple):
  """Hold a trained classifier and what it sees in the truth.

  Attributes:
    judge: the classifier.
    truth: features `[N, 30]` of the true futures.
    facts: how good the classifier is: `known`, true futures of a class that
      it learnt, its `accuracy` on those and `chance`, that of always naming
      their commonest class, None if there are none; `training accuracy`, on
      what it learnt from.
  """

  judge: dance.Judge
  truth: np.ndarray
  facts: dict[str, Any]


class ActionClassifier(nn.Module):
  """Tell the class of a motion by its last state (Eq. 2).

  Attributes:
    classes: how many.
    width: of the recurrent units.
    layers: of them.
    features: of a motion.
  """

  classes: int
  width: int = 128
  layers: int = 2
  features: int = 30

  def setup(self) -> None:
    self.units = [
        nn.RNN(nn.GRUCell(self.width)) for _ in range(self.layers)
    ]
    self.bottleneck = nn.Dense(self.features)
    self.logits = nn.Dense(self.classes)

  def __call__(self, x: Array, train: bool = False) -> Array:
    """Map motions `[B, F, 3 J]` to logits `[B, classes]`."""
    return self.logits(self.encode(x, train))

  def encode(self, x: Array, train: bool = False) -> Array:
    """Map motions `[B, F, 3 J]` to features `[B, features]`, -1 to 1."""
    for unit in self.units:
      x = jnp.asarray(unit(x))
    return nn.tanh(self.bottleneck(x[:, -1]))


def settings(given: Mapping[str, Any]) -> Settings:
  """Return settings that differ from the usual ones by those given.

  Raises:
    UserError: one is unknown or out of range.
  """
  known = [field.name for field in dataclasses.fields(Settings)]
  strange = set(given) - set(known)
  if strange:
    raise UserError(f'eval.fid: unknown {sorted(strange)}; it has {known}.')
  found = Settings(**given)
  for field in ('steps', 'batch_size', 'windows', 'width'):
    if getattr(found, field) < 1:
      raise UserError(
          f'eval.fid.{field}: expected 1 or more, found '
          f'{getattr(found, field)}.'
      )
  return found


def reference(
    futures: np.ndarray,
    label: np.ndarray,
    truth: np.ndarray,
    truth_label: np.ndarray,
    classes: int,
    plan: Settings,
) -> Reference:
  """Train the classifier and let it see the truth.

  Args:
    futures: of the training split, `[N, F, J, 3]`.
    label: their classes, `[N]`.
    truth: futures to which predictions are compared, `[M, F, J, 3]`.
    truth_label: their classes, `[M]`; the classifier need not know them.
    classes: how many there are.
    plan: settings.

  Returns:
    The classifier and the features of the truth.

  Raises:
    UserError: there is one class only.
  """
  if len(np.unique(label)) < 2:
    raise UserError(
        'eval.fid: expected a training split of two or more classes for the '
        f'classifier to tell apart, found {len(np.unique(label))} in '
        f'{len(label)} windows.'
    )
  rows = _rows(len(label), plan)
  learnt, named = futures[rows], label[rows]
  learnt = _flat(turned(learnt, plan.seed) if plan.turn else learnt)
  judge = dance.train_judge(
      ActionClassifier(classes, plan.width), learnt, named, futures.shape[1],
      steps=plan.steps,
      training=recognition.Training(plan.batch_size, plan.rate),
      seed=plan.seed, held=(learnt, named),
  )
  seen = dance.read(judge, _flat(truth))
  known = np.isin(truth_label, named)
  called = seen.probability[known].argmax(1)
  facts = {
      'known': int(known.sum()),
      **_accuracy(called, truth_label[known]),
      'training accuracy': judge.accuracy,
  }
  return Reference(judge, seen.clips, facts)


def _rows(total: int, plan: Settings) -> np.ndarray:
  """Choose windows, evenly where there are too many."""
  if plan.turn and plan.windows > total:
    return np.arange(plan.windows) % total
  few = min(plan.windows, total)
  return np.linspace(0, total - 1, few).astype(int)


def turned(motions: np.ndarray, seed: int) -> np.ndarray:
  """Turn motions `[N, F, J, 3]` about z, each by an angle of its own."""
  angle = np.random.default_rng(seed).uniform(0, 2 * np.pi, len(motions))
  cos, sin = (f(angle)[:, None, None] for f in (np.cos, np.sin))
  x, y, z = np.moveaxis(motions, -1, 0)
  found = np.stack([cos * x - sin * y, sin * x + cos * y, z], axis=-1)
  return found.astype(np.float32)


def _accuracy(called: np.ndarray, label: np.ndarray) -> dict[str, float | None]:
  if not len(label):
    return {'accuracy': None, 'chance': None}
  return {
      'accuracy': float((called == label).mean()),
      'chance': float(np.bincount(label).max() / len(label)),
  }


def features(known: Reference, motions: np.ndarray) -> np.ndarray:
  """Return the features `[N, 30]` of motions `[..., F, J, 3]`."""
  return dance.read(known.judge, _flat(motions)).clips


def distance(known: Reference, made: np.ndarray) -> float:
  """Return the FID (Eq. 1) of features `[N, 30]` of predictions."""
  return distribution.frechet(known.truth, made)


def _flat(motions: np.ndarray) -> np.ndarray:
  """Turn motions `[..., F, J, 3]` to `[N, F, 3 J]`."""
  motions = np.asarray(motions)
  frames, joints = motions.shape[-3:-1]
  return motions.reshape(-1, frames, 3 * joints)
