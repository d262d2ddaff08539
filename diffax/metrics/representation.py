"""What latents tell: of a label, and of the latents of another modality.

With Z_x [N, D] and Z_y [N, E] latents of the same N time steps, centred,

  (1)  r_d = <Z_x[:, d], Z_y[:, d]> / (|Z_x[:, d]| |Z_y[:, d]|)
  (2)  CKA = |Z_x^T Z_y|_F^2 / (|Z_x^T Z_x|_F |Z_y^T Z_y|_F)

Eq. 1 compares dimension by dimension, so it falls when one of the latents is
rotated; Eq. 2 does not change. A probe is a classifier of latents that is
trained on some subjects and scored on others.

References:
  Kornblith et al., "Similarity of neural network representations revisited",
  ICML 2019, Eq. 3-5. Alain and Bengio, "Understanding intermediate layers
  using linear classifier probes", 2017. LaMbDA, Sec. 4.2, Fig. 4.
"""

from typing import NamedTuple
import warnings

import numpy as np

from diffax.errors import UserError

KINDS = ('linear', 'nonlinear')
# A spread below this share of the size is what rounding leaves of a constant.
_DEAD = 1e-6


class Chance(NamedTuple):
  """Accuracies of classifiers that see no latent.

  Attributes:
    uniform: 1 / number of classes of the training part.
    majority: share of the held-out part that is of the training part's most
      frequent class.
  """

  uniform: float
  majority: float


def chance(train_label: np.ndarray, test_label: np.ndarray) -> Chance:
  """Return what a probe's accuracy has to be compared with.

  Args:
    train_label: `[N]` classes.
    test_label: `[M]` classes.

  Returns:
    Shares between 0 and 1.
  """
  kinds, counts = np.unique(train_label, return_counts=True)
  common = kinds[np.argmax(counts)]
  return Chance(
      1 / len(kinds), float(np.mean(np.asarray(test_label) == common))
  )


def probe(
    train_z: np.ndarray,
    train_label: np.ndarray,
    test_z: np.ndarray,
    test_label: np.ndarray,
    kind: str = 'linear',
    *,
    seed: int = 0,
    iterations: int = 1000,
    hidden: int = 256,
) -> float:
  """Return the accuracy of a classifier of latents on held-out ones.

  Latents are z-scored by the training part. 'linear' is a multinomial logistic
  regression with C = 1; 'nonlinear' has one hidden layer of ReLU, trained by
  Adam at 1e-3 until a tenth of the training part, held out by class, is no
  longer classified better (until the training loss stalls, where a tenth is
  too little for one of each class).

  Args:
    train_z: `[N, D]`, one latent for each window, such as the mean over time.
    train_label: `[N]` classes.
    test_z: `[M, D]`.
    test_label: `[M]`; a class that training has not seen counts as an error.
    kind: one of `KINDS`.
    seed: of the weights and the order of 'nonlinear'; 'linear' draws nothing.
    iterations: at most so many, of L-BFGS ('linear') or epochs ('nonlinear').
    hidden: units of 'nonlinear'.

  Returns:
    A share between 0 and 1; `chance` says what guessing gives.

  Raises:
    UserError: the arrays do not fit, or there is one class only.
  """
  # Scikit-learn takes seconds to import, and few need it.
  from sklearn import exceptions

  train_z, test_z = np.asarray(train_z), np.asarray(test_z)
  train_label, test_label = np.asarray(train_label), np.asarray(test_label)
  _check_probe(train_z, train_label, test_z, test_label, kind)
  mean, std = train_z.mean(0)[None], train_z.std(0)[None]
  std = np.where(std > _DEAD * np.abs(mean), std, 1)
  model = _classifier(kind, train_label, seed, iterations, hidden)
  with warnings.catch_warnings():
    # The number of iterations is part of the protocol, not a failure.
    warnings.simplefilter('ignore', exceptions.ConvergenceWarning)
    model.fit((train_z - mean) / std, train_label)
  return float(np.mean(model.predict((test_z - mean) / std) == test_label))


def _check_probe(
    train_z: np.ndarray, train_label: np.ndarray, test_z: np.ndarray,
    test_label: np.ndarray, kind: str
) -> None:
  if kind not in KINDS:
    raise UserError(f'kind: expected one of {KINDS}, found {kind!r}.')
  shapes = [x.shape for x in (train_z, train_label, test_z, test_label)]
  if (
      train_z.ndim != 2 or test_z.ndim != 2
      or train_z.shape[1] != test_z.shape[1]
      or train_label.shape != train_z.shape[:1]
      or test_label.shape != test_z.shape[:1] or not len(test_z)
  ):
    raise UserError(
        'probe: expected latents [N, D] and [M, D] with labels [N] and [M], '
        f'found {shapes[0]} and {shapes[2]} with {shapes[1]} and {shapes[3]}.'
    )
  if not (np.isfinite(train_z).all() and np.isfinite(test_z).all()):
    raise UserError('probe: expected finite latents, found NaN or infinity.')
  if len(np.unique(train_label)) < 2:
    raise UserError(
        'probe: expected two or more classes to train on, found '
        f'{len(np.unique(train_label))}.'
    )


def _classifier(
    kind: str, label: np.ndarray, seed: int, iterations: int, hidden: int
):
  from sklearn import linear_model
  from sklearn import neural_network

  if kind == 'linear':
    return linear_model.LogisticRegression(C=1.0, max_iter=iterations)
  counts = np.unique(label, return_counts=True)[1]
  enough = counts.min() > 1 and len(label) >= 10 * len(counts)
  return neural_network.MLPClassifier(
      (hidden,), activation='relu', solver='adam', learning_rate_init=1e-3,
      max_iter=iterations, early_stopping=bool(enough), random_state=seed
  )


def correlations(zx: np.ndarray, zy: np.ndarray) -> np.ndarray:
  """Return the correlation of each dimension (Eq. 1).

  Args:
    zx: `[..., D]`; all leading axes are samples.
    zy: as `zx`.

  Returns:
    `[D]` between -1 and 1, NaN where a dimension of either is constant.

  Raises:
    UserError: the shapes differ or there is nothing to correlate.
  """
  zx, zy = np.asarray(zx, np.float64), np.asarray(zy, np.float64)
  if zx.shape != zy.shape or zx.ndim < 2 or not zx.size:
    raise UserError(
        'latent_correlation: expected two arrays of one shape [..., D], found '
        f'{zx.shape} and {zy.shape}.'
    )
  zx, zy = _centred(zx), _centred(zy)
  scale = np.linalg.norm(zx, axis=0) * np.linalg.norm(zy, axis=0)
  return np.sum(zx * zy, axis=0) / np.where(scale > 0, scale, np.nan)


def latent_correlation(
    zx: np.ndarray, zy: np.ndarray, dead: str = 'zero'
) -> tuple[float, float]:
  """Return mean and spread over dimensions of their correlation (Eq. 1).

  Args:
    zx: `[..., D]`; all leading axes are samples.
    zy: as `zx`.
    dead: what a dimension that is constant in either counts: 'zero', as it
      tells nothing of the other, or 'skip', which flatters collapsed latents.

  Returns:
    The mean and the standard deviation (of the population).

  Raises:
    UserError: unfit arguments, or nothing left by 'skip'.
  """
  if dead not in ('zero', 'skip'):
    raise UserError(f"dead: expected 'zero' or 'skip', found {dead!r}.")
  found = correlations(zx, zy)
  alive = np.isfinite(found)
  if dead == 'zero':
    found = np.where(alive, found, 0.0)
  elif not alive.any():
    raise UserError(
        f'latent_correlation: all {len(found)} dimensions are constant.'
    )
  else:
    found = found[alive]
  return float(found.mean()), float(found.std())


def cka(zx: np.ndarray, zy: np.ndarray) -> float:
  """Return the linear centred kernel alignment (Eq. 2).

  Args:
    zx: `[..., D]`; all leading axes are samples.
    zy: `[..., E]` of the same leading axes.

  Returns:
    Between 0 and 1, 1 for latents equal up to rotation, scale and shift; 0
    where either is constant.

  Raises:
    UserError: the samples differ in number.
  """
  zx, zy = np.asarray(zx, np.float64), np.asarray(zy, np.float64)
  if zx.shape[:-1] != zy.shape[:-1] or zx.ndim < 2 or not zx.size * zy.size:
    raise UserError(
        'cka: expected latents [..., D] and [..., E] of the same samples, '
        f'found {zx.shape} and {zy.shape}.'
    )
  zx, zy = _centred(zx), _centred(zy)
  across, x, y = (np.linalg.norm(m) for m in (zx.T @ zy, zx.T @ zx, zy.T @ zy))
  return float(across**2 / (x * y)) if x * y else 0.0


def _centred(z: np.ndarray) -> np.ndarray:
  """Return `[N, D]` without its mean, exactly 0 where it is constant."""
  z = z.reshape(-1, z.shape[-1])
  mean = z.mean(0)
  spread = z - mean[None]
  alive = np.abs(spread).max(0) > _DEAD * np.abs(mean)
  return np.where(alive[None], spread, 0.0)
