"""Entropy and mutual information of continuous samples, by neighbours.

With N samples of d features, eps_i the Chebyshev distance of sample i to its
k-th neighbour and psi the digamma function,

  (1)  H(X) = psi(N) - psi(k) + d ln 2 + d mean_i ln eps_i
  (2)  I(X; Y) = psi(k) + psi(N) - mean_i (psi(nx_i + 1) + psi(ny_i + 1))
  (3)  H(X | Y) = H(X) - I(X; Y)

in nats. In (2) eps_i is the distance in the joint space, the larger of those
in X and in Y, and nx_i counts the other samples strictly nearer than eps_i in
X. (3) follows LaMbDA in joining two estimators whose biases differ.

A differential entropy depends on units: by default features are z-scored, and
H is that of the z-scored ones (the entropy in a feature's own unit is larger by
ln of its deviation). I does not depend on the unit of a feature.

Both estimators need a density. Values that recur (clipped signals, a force of
exactly 0 in swing, windows that overlap) have distance 0, and the tiny noise
that breaks the ties then sets the result: each share p of such samples adds
about p d ln(jitter) to H. Let each sample in time occur once.

References:
  Kozachenko and Leonenko, "Sample estimate of the entropy of a random vector",
  1987. Kraskov, Stögbauer, Grassberger, "Estimating mutual information", 2004,
  Eq. 8 and 20. LaMbDA, App. A.8.
"""

import numpy as np
from scipy import spatial
from scipy import special

from diffax.errors import UserError

# Share of samples whose k-th neighbour may lie at rounding or jitter distance.
_REPEATED = 0.5


def entropy(
    x: np.ndarray,
    k: int = 20,
    *,
    standardise: bool = True,
    jitter: float = 1e-10,
    limit: int | None = 20_000,
    seed: int = 0,
) -> float:
  """Return the differential entropy (Eq. 1).

  Args:
    x: `[N, d]` samples.
    k: which neighbour.
    standardise: z-score the features; else H is in their own units.
    jitter: deviation of the normal noise that breaks ties, in the unit that
      `standardise` leaves.
    limit: at most so many samples, drawn without replacement; None for all.
    seed: of the draw and of the jitter.

  Returns:
    Nats; may be negative.

  Raises:
    UserError: too few samples, a constant feature, NaN, or samples that mostly
      repeat each other.
  """
  (x,) = _prepared([x], k, standardise, jitter, limit, seed)
  count, width = x.shape
  distance = _neighbour(x, k)
  _check_spread(distance, jitter, k)
  volume = width * (np.log(2) + np.mean(np.log(distance)))
  return float(special.digamma(count) - special.digamma(k) + volume)


def mutual_information(
    x: np.ndarray,
    y: np.ndarray,
    k: int = 20,
    *,
    standardise: bool = True,
    jitter: float = 1e-10,
    limit: int | None = 20_000,
    seed: int = 0,
) -> float:
  """Return the mutual information (Eq. 2, the first estimator of the paper).

  Args:
    x: `[N, d]` samples.
    y: `[N, e]`, the same samples.
    k: which neighbour.
    standardise: z-score the features, so that none rules the distance.
    jitter: as of `entropy`.
    limit: as of `entropy`; the same samples of both are drawn.
    seed: of the draw and of the jitter.

  Returns:
    Nats; near 0 the estimate may fall below it, and is not clipped.

  Raises:
    UserError: as `entropy`, or the numbers of samples differ.
  """
  x, y = _prepared([x, y], k, standardise, jitter, limit, seed)
  distance = _neighbour(np.concatenate([x, y], axis=1), k)
  _check_spread(distance, jitter, k)
  near = sum(special.digamma(_within(z, distance)) for z in (x, y))
  top = special.digamma(k) + special.digamma(len(x))
  return float(top - np.mean(near))


def conditional_entropy(
    x: np.ndarray, y: np.ndarray, k: int = 20, **options
) -> float:
  """Return the entropy of x that y leaves (Eq. 3).

  Args:
    x: `[N, d]` samples.
    y: `[N, e]`, the same samples.
    k: which neighbour.
    **options: keywords of `entropy`.

  Returns:
    Nats.

  Raises:
    UserError: as `mutual_information`.
  """
  return (
      entropy(x, k, **options) - mutual_information(x, y, k, **options)
  )


def _prepared(
    parts: list[np.ndarray], k: int, standardise: bool, jitter: float,
    limit: int | None, seed: int
) -> list[np.ndarray]:
  parts = [np.asarray(part, np.float64) for part in parts]
  _check(parts, k, limit)
  rng = np.random.default_rng(seed)
  if limit is not None and len(parts[0]) > limit:
    rows = rng.choice(len(parts[0]), limit, replace=False)
    parts = [part[rows] for part in parts]
  found = []
  for part in parts:
    mean, std = part.mean(0)[None], part.std(0)[None]
    dead = np.flatnonzero(std[0] <= 1e-12 * np.abs(mean[0]))
    if dead.size:
      raise UserError(
          f'information: expected features that vary, found feature {dead[0]} '
          'constant; leave it out.'
      )
    part = (part - mean) / std if standardise else part
    found.append(part + jitter * rng.normal(size=part.shape))
  return found


def _check(parts: list[np.ndarray], k: int, limit: int | None) -> None:
  shapes = ' and '.join(str(part.shape) for part in parts)
  if any(part.ndim != 2 or not part.shape[1] for part in parts) or any(
      len(part) != len(parts[0]) for part in parts
  ):
    raise UserError(
        f'information: expected samples [N, d] of one N, found {shapes}.'
    )
  count = len(parts[0]) if limit is None else min(len(parts[0]), limit)
  if not 1 <= k < count:
    raise UserError(
        f'information: expected 1 <= k < number of samples, found k = {k} and '
        f'{count} samples.'
    )
  if not all(np.isfinite(part).all() for part in parts):
    raise UserError('information: expected finite samples, found others.')


def _check_spread(distance: np.ndarray, jitter: float, k: int) -> None:
  # Jittered copies lie within a few deviations of each other.
  repeated = np.sum(distance <= 20 * jitter)
  if repeated > _REPEATED * len(distance) or not distance.all():
    raise UserError(
        f'information: expected samples of a density, found {repeated} of '
        f'{len(distance)} with {k} or more copies; do windows overlap, or is '
        'a signal discrete?'
    )


def _neighbour(x: np.ndarray, k: int) -> np.ndarray:
  """Return the Chebyshev distance to the k-th other sample, `[N]`."""
  tree = spatial.cKDTree(x)
  # The nearest of k + 1 is the sample itself.
  return tree.query(x, [k + 1], p=np.inf, workers=-1)[0][:, 0]


def _within(x: np.ndarray, distance: np.ndarray) -> np.ndarray:
  """Count the samples strictly nearer than `distance`, itself included."""
  tree = spatial.cKDTree(x)
  # The ball is closed; the next smaller radius makes it an open one.
  return tree.query_ball_point(
      x, np.nextafter(distance, 0), p=np.inf, return_length=True, workers=-1
  )
