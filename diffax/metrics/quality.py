"""Quality of generated windows: their spectra, whether they are copies, kinds.

With P and Q the mean power spectra of two sets of windows, one channel,

  (1)  distance = sqrt(mean_f (10 log10(P_f / Q_f))^2)   in dB.

A model that was trained on few windows can repeat them. With d(A) the
distances of windows A to their nearest training windows, held-out real windows
H of the same persons and generated ones G,

  (2)  ratio = median d(G) / median d(H)
  (3)  share = |{g : d(g) < q-quantile of d(H)}| / |G|

which are about 1 and q if G is as far from training as unseen windows are;
copies have ratio 0 and share 1. More than 1 is no merit: noise is far away.

Clusters by dynamic time warping, real and generated windows together, say which
kinds of real windows were never generated.

References:
  Gray and Markel, "Distance measures for speech processing", 1976 (1).
  Petitjean et al., "A global averaging method for dynamic time warping", 2011
  (DBA, the centroids). Meehan et al., "A non-parametric test to detect
  data-copying in generative models", 2020 (the comparison behind 2 and 3).
"""

import importlib.util
from typing import NamedTuple
import warnings

import numpy as np
from scipy import signal
from scipy.spatial import distance as distances

from diffax.errors import UserError

# Power below this share of a channel's peak is taken for the noise of sensors.
_FLOOR = 1e-4


class Spectrum(NamedTuple):
  """Mean power of windows by frequency.

  Attributes:
    frequency: `[F]`, Hz, without 0.
    power: `[C, F]`, squared unit of the windows per Hz.
  """

  frequency: np.ndarray
  power: np.ndarray


class Copies(NamedTuple):
  """How near windows lie to those of training, against unseen real ones.

  Attributes:
    ratio: Eq. 2.
    share: Eq. 3.
    generated: `[G]` distances of the generated windows.
    held: `[H]` distances of the held-out ones.
  """

  ratio: float
  share: float
  generated: np.ndarray
  held: np.ndarray


class Clusters(NamedTuple):
  """Clusters of windows.

  Attributes:
    label: `[N]` number of the cluster.
    centroid: `[K, M, C]` barycentres; M as the windows were thinned.
  """

  label: np.ndarray
  centroid: np.ndarray


def spectra(
    windows: np.ndarray, rate: float, segment: int | None = None
) -> Spectrum:
  """Return the mean power spectrum of windows by Welch's method.

  Each segment loses its mean, so the power at 0 Hz is none and left out.

  Args:
    windows: `[N, L, C]`.
    rate: samples per second.
    segment: samples of a segment; by default half a window.

  Returns:
    The spectrum.

  Raises:
    UserError: there are no windows.
  """
  windows = np.asarray(windows, np.float64)
  if windows.ndim != 3 or not len(windows):
    raise UserError(
        f'spectra: expected windows [N, L, C], found {list(windows.shape)}.'
    )
  frequency, power = signal.welch(
      windows, rate, nperseg=segment or windows.shape[1] // 2, axis=1
  )
  return Spectrum(frequency[1:], power.mean(0).T[:, 1:])


def spectral_distance(real: Spectrum, made: Spectrum) -> np.ndarray:
  """Return the log-spectral distance of each channel (Eq. 1).

  Args:
    real: of real windows; 40 dB below its peak both spectra are cut off.
    made: of the others, at the same frequencies.

  Returns:
    `[C]` dB, 0 for equal spectra.
  """
  floor = _FLOOR * real.power.max(1, keepdims=True)
  # A channel that is constant has no spectrum to compare.
  floor = np.where(floor > 0, floor, np.finfo(np.float64).tiny)
  p, q = (np.log10(np.maximum(x.power, floor)) for x in (real, made))
  return 10 * np.sqrt(np.mean((p - q) ** 2, axis=1))


def nearest(windows: np.ndarray, training: np.ndarray) -> np.ndarray:
  """Return the distance to the nearest training window.

  Args:
    windows: `[N, L, C]`.
    training: `[M, L, C]`.

  Returns:
    `[N]` roots of the mean squared difference, in the unit of the windows.

  Raises:
    UserError: the windows differ in shape, or a set is empty.
  """
  if (windows.ndim != 3 or windows.shape[1:] != training.shape[1:]
      or not min(len(windows), len(training))):
    raise UserError(
        'nearest: expected windows [N, L, C] and [M, L, C], N and M >= 1, '
        f'found {list(windows.shape)} and {list(training.shape)}.'
    )
  flat = [np.reshape(x, (len(x), -1)) for x in (windows, training)]
  return distances.cdist(*flat).min(1) / np.sqrt(flat[0].shape[1])


def copies(
    generated: np.ndarray, held: np.ndarray, training: np.ndarray,
    quantile: float = 0.05
) -> Copies:
  """Compare distances to training with those of unseen windows (Eq. 2-3).

  Args:
    generated: `[G, L, C]` of one class, as the others.
    held: `[H, L, C]` real windows that share no sample with `training`.
    training: `[M, L, C]` windows that the model learnt from.
    quantile: q of Eq. 3.

  Returns:
    The comparison.

  Raises:
    UserError: the windows do not fit.
  """
  ours, theirs = nearest(generated, training), nearest(held, training)
  ratio = np.median(ours) / max(np.median(theirs), np.finfo(float).tiny)
  share = np.mean(ours < np.quantile(theirs, quantile))
  return Copies(float(ratio), float(share), ours, theirs)


def apart(
    start: np.ndarray, recording: np.ndarray, other_start: np.ndarray,
    other_recording: np.ndarray, length: int
) -> np.ndarray:
  """Tell which windows share no sample with any of the others.

  Args:
    start: `[N]` first samples.
    recording: `[N]` where they are from.
    other_start: `[M]`.
    other_recording: `[M]`.
    length: L, samples of a window.

  Returns:
    `[N]` bool.
  """
  near = np.abs(start[:, None] - other_start[None]) < length
  same = recording[:, None] == other_recording[None]
  return ~(near & same).any(1)


def dtw_clusters(
    windows: np.ndarray, count: int = 20, *, seed: int = 0,
    iterations: int = 10, averaging: int = 10, thin: int = 1
) -> Clusters:
  """Cluster windows by k-means with dynamic time warping and DBA centroids.

  Args:
    windows: `[N, L, C]`, best standardised.
    count: K clusters, fewer if there are fewer windows.
    seed: of the first centroids.
    iterations: of k-means, at most.
    averaging: of the barycentres within each, at most.
    thin: keep every so many samples; the time needed falls by its square.

  Returns:
    The clusters.

  Raises:
    UserError: tslearn is missing, or there are no windows.
  """
  if importlib.util.find_spec('tslearn') is None:
    raise UserError('clusters: tslearn is missing (diffax[viz]).')
  if windows.ndim != 3 or not len(windows):
    raise UserError(
        f'clusters: expected windows [N, L, C], found {list(windows.shape)}.'
    )
  with warnings.catch_warnings():
    # It tells at import which of its other parts lack packages.
    warnings.simplefilter('ignore')
    # Importing numba takes seconds, and few need it.
    from tslearn import clustering
  model = clustering.TimeSeriesKMeans(
      n_clusters=min(count, len(windows)), metric='dtw', max_iter=iterations,
      max_iter_barycenter=averaging, random_state=seed
  )
  label = model.fit_predict(np.asarray(windows, np.float64)[:, ::thin])
  return Clusters(np.asarray(label), np.asarray(model.cluster_centers_))


def shares(
    label: np.ndarray, group: np.ndarray, clusters: int, groups: int
) -> np.ndarray:
  """Count how the windows of each group spread over the clusters.

  Args:
    label: `[N]` cluster of each window.
    group: `[N]` group of each, such as 0 for real and 1 for generated.
    clusters: K.
    groups: G.

  Returns:
    `[G, K]`, each row sums to 1 (to 0 of a group without windows).
  """
  counts = np.zeros((groups, clusters))
  np.add.at(counts, (group, label), 1)
  return counts / np.maximum(counts.sum(1, keepdims=True), 1)


def divergence(p: np.ndarray, q: np.ndarray) -> float:
  """Return the Jensen-Shannon divergence of two rows of shares.

  Args:
    p: `[K]`, sums to 1.
    q: `[K]`, sums to 1.

  Returns:
    0 for equal ones to 1 for ones that share no cluster (bits).
  """
  return float(distances.jensenshannon(p, q, base=2) ** 2)
