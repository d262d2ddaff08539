"""Rhythm: do the beats of what was generated fall on those of the truth?

Of a clip with N_s beats generated, N_t true ones and N_m matched,

  (1)  coverage BCS = N_m / N_s,    hit BHS = N_m / N_t,    0 where empty;

over clips, CSD and HSD are their standard deviations (of a sample) and

  (2)  F1 = 2 mean(BCS) mean(BHS) / (mean(BCS) + mean(BHS)),

the harmonic mean of the means, as the tables of LORIS and MoMu-Diffusion
have it. There are two ways to match:

  seconds     a clip is cut into whole seconds, one counts if it holds a beat,
              and is matched if it does in both: what LORIS computes;
  one to one  as many pairs (generated, true) as possible that are at most a
              tolerance apart, each beat in one pair.

The first saturates: a metronome has a beat in every second, as has most music.
So every table needs the rows of `chance`: a metronome of random tempo and
phase, and beats that were generated for another clip.

Other ratios in use: CDCD and D2M-GAN take N_s / N_t for coverage, which can
exceed 1; Dancing-to-Music takes N_s / N_t and N_m / N_s. DiffGesture's
consistency is the mean over true beats t of

  (3)  exp(-min_s (t - s)^2 / (2 sigma^2)).

Beats are times in seconds, rising. All scores are fractions; times 100 they
are the tables' percent.

References:
  Yu et al., "Long-Term Rhythmic Video Soundtracker", ICML 2023 (LORIS), and
  its released code (Eq. 1 and 2 by seconds, the settings of the onsets).
  You et al., "MoMu-Diffusion", NeurIPS 2024, Appendix B.4 and B.5.
  Zhu et al., "Discrete Contrastive Diffusion for Cross-Modal Music and Image
  Generation", ICLR 2023 (CDCD). Lee et al., "Dancing to Music", NeurIPS 2019.
  Zhu et al., "Taming Diffusion Models for Audio-Driven Co-Speech Gesture
  Generation", CVPR 2023 (DiffGesture, Eq. 3).
  Raffel et al., "mir_eval", ISMIR 2014 (the matching).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
import fcntl
import math
import os
import pathlib
from typing import Any, NamedTuple

import numpy as np

from diffax.errors import UserError

RATE = 22050

DETECTORS: Mapping[str, Mapping[str, Any]] = {
    'loris': dict(wait=1, delta=0.2, pre_avg=3, post_avg=3, pre_max=3,
                  post_max=3),
    'cdcd': dict(wait=1, delta=0.2, pre_avg=1, post_avg=1, post_max=1),
}
"""Settings of librosa's onsets at `RATE`, in frames of 512 samples."""

Pair = tuple[np.ndarray, np.ndarray]
"""Beats generated and true, seconds."""

Scores = Mapping[str, float | None]
Row = Mapping[str, Scores]


class Counts(NamedTuple):
  """How many beats (or seconds with beats) of a clip there are.

  Attributes:
    made: N_s, generated.
    true: N_t.
    matched: N_m.
  """

  made: int
  true: int
  matched: int


def onsets(
    wave: np.ndarray, rate: int, detector: str = 'loris'
) -> np.ndarray:
  """Find the onsets of music, its beats in all tables.

  Args:
    wave: `[N]` mono, at least a tenth of a second.
    rate: samples per second; resampled to 22050.
    detector: a key of `DETECTORS`.

  Returns:
    Seconds, rising; multiples of 512 / 22050.

  Raises:
    UserError: the wave is no finite mono sound, or librosa is missing.
  """
  if detector not in DETECTORS:
    raise UserError(
        f'detector: expected one of {[*DETECTORS]}, found {detector!r}.'
    )
  wave = np.asarray(wave, np.float32)
  if wave.ndim != 1 or len(wave) < rate / 10 or not np.isfinite(wave).all():
    raise UserError(
        f'wave: expected [N] finite samples, at least {rate / 10:g} of them, '
        f'found {list(wave.shape)}'
        f'{"" if np.isfinite(wave).all() else " with NaN or infinity"}.'
    )
  librosa = import_librosa()
  if rate != RATE:
    wave = librosa.resample(
        wave, orig_sr=rate, target_sr=RATE, res_type='soxr_hq'
    )
  return librosa.onset.onset_detect(
      y=wave, sr=RATE, units='time', **DETECTORS[detector]
  )


def import_librosa() -> Any:
  """Import librosa, one process of an installation at a time.

  Where its parts are first imported they compile and store functions (numba).
  Two processes that do this together store halves that do not fit each other,
  and whoever loads them, then or later, dies of a segmentation fault (numba
  issue 10128).

  Returns:
    The module, all that `onsets` needs compiled.

  Raises:
    UserError: if it is missing.
  """
  try:
    import librosa
  except ImportError as error:
    raise _missing('librosa') from error
  with _alone(pathlib.Path(librosa.__file__).parent):
    # It imports a part when that is first named.
    _ = librosa.onset.onset_detect, librosa.util.peak_pick
  return librosa


@contextlib.contextmanager
def _alone(folder: pathlib.Path) -> Iterator[None]:
  """Hold the lock of a folder, which needs no right to write there."""
  descriptor = os.open(folder, os.O_RDONLY)
  try:
    # Some file systems lock nothing: better unguarded there than not at all.
    with contextlib.suppress(OSError):
      fcntl.flock(descriptor, fcntl.LOCK_EX)
    yield
  finally:
    os.close(descriptor)


def count_seconds(made: np.ndarray, true: np.ndarray, seconds: float) -> Counts:
  """Count the whole seconds of a clip that hold beats.

  Args:
    made: beats generated.
    true: true beats.
    seconds: length of the clip; a part of a second at its end counts as one.

  Returns:
    Numbers of seconds with a beat generated, with a true one, with both.
  """
  a, b = _bins(made, seconds), _bins(true, seconds)
  return Counts(int(a.sum()), int(b.sum()), int((a & b).sum()))


def count_matches(
    made: np.ndarray, true: np.ndarray, tolerance: float
) -> Counts:
  """Count beats, and the pairs of a largest one-to-one matching.

  Args:
    made: beats generated.
    true: true beats.
    tolerance: largest distance within a pair, seconds.

  Returns:
    The counts.

  Raises:
    UserError: mir_eval is missing.
  """
  try:
    from mir_eval import util
  except ImportError as error:
    raise _missing('mir_eval') from error
  pairs = util.match_events(
      np.asarray(true, float), np.asarray(made, float), tolerance
  )
  return Counts(len(made), len(true), len(pairs))


def precision_recall(counts: Counts) -> tuple[float, float]:
  """Return BCS and BHS as LORIS and MoMu-Diffusion define them (Eq. 1)."""
  made, true, matched = counts
  return _ratio(matched, made), _ratio(matched, true)


def cdcd(counts: Counts) -> tuple[float, float]:
  """Return coverage and hits of CDCD and D2M-GAN: N_s / N_t, N_m / N_t."""
  made, true, matched = counts
  return _ratio(made, true), _ratio(matched, true)


def d2m(counts: Counts) -> tuple[float, float]:
  """Return coverage and hits of Dancing-to-Music: N_s / N_t, N_m / N_s."""
  made, true, matched = counts
  return _ratio(made, true), _ratio(matched, made)


def consistency(
    made: np.ndarray, true: np.ndarray, sigma: float = 0.1
) -> float:
  """Return how near the generated beats are to each true one (Eq. 3).

  Args:
    made: beats generated.
    true: true beats.
    sigma: seconds.

  Returns:
    Between 0 and 1; 0 where either is empty.
  """
  if not len(made) or not len(true):
    return 0.0
  near = np.abs(np.subtract.outer(true, made)).min(-1)
  return float(np.exp(-near**2 / (2 * sigma**2)).mean())


def summarise(scores: Sequence[tuple[float, float]]) -> Scores:
  """Join the scores of clips (Eq. 2).

  Args:
    scores: (BCS, BHS) of each clip.

  Returns:
    `bcs`, `csd`, `bhs`, `hsd`, `f1`; None for the deviations of one clip.

  Raises:
    UserError: there is no clip.
  """
  if not len(scores):
    raise UserError('clips: expected at least one to score, found none.')
  values = np.asarray(scores, float)
  bcs, bhs = values.mean(0).tolist()
  csd, hsd = (
      values.std(0, ddof=1).tolist() if len(values) > 1 else (None, None)
  )
  f1 = _ratio(2 * bcs * bhs, bcs + bhs)
  return {'bcs': bcs, 'csd': csd, 'bhs': bhs, 'hsd': hsd, 'f1': f1}


class Protocol(NamedTuple):
  """How a clip is scored.

  Attributes:
    ratios: from counts to (coverage, hit).
    tolerance: of a one-to-one matching, seconds; None matches seconds.
  """

  ratios: Callable[[Counts], tuple[float, float]]
  tolerance: float | None = None


PROTOCOLS: Mapping[str, Protocol] = {
    'loris': Protocol(precision_recall),
    'within_0.05': Protocol(precision_recall, 0.05),
    'within_0.07': Protocol(precision_recall, 0.07),
    'within_0.1': Protocol(precision_recall, 0.1),
    'within_0.2': Protocol(precision_recall, 0.2),
    'cdcd': Protocol(cdcd),
    'd2m': Protocol(d2m, 0.1),
}
"""Columns of a row. `cdcd` is CDCD's own only of onsets of its detector, and
`d2m` follows the paper, which gives no tolerance and released no code."""


def score(
    made: np.ndarray, true: np.ndarray, seconds: float, protocol: str
) -> tuple[float, float]:
  """Score a clip.

  Args:
    made: beats generated.
    true: true beats.
    seconds: length of the clip.
    protocol: a key of `PROTOCOLS`.

  Returns:
    Coverage and hit.

  Raises:
    UserError: the protocol is unknown.
  """
  if protocol not in PROTOCOLS:
    raise UserError(
        f'protocol: expected one of {[*PROTOCOLS]}, found {protocol!r}.'
    )
  ratios, tolerance = PROTOCOLS[protocol]
  if tolerance is None:
    return ratios(count_seconds(made, true, seconds))
  return ratios(count_matches(made, true, tolerance))


def row(pairs: Sequence[Pair], seconds: float | Sequence[float]) -> Row:
  """Score clips by all protocols: a row of the tables.

  Args:
    pairs: beats generated and true of each clip: onsets of generated and of
      true music, or kinematic beats of generated motion and onsets of music.
    seconds: length of all clips, or of each.

  Returns:
    `bcs`, `csd`, `bhs`, `hsd` and `f1` by protocol, where `cdcd` and `d2m`
    have no `f1`; `consistency` (Eq. 3) under `diffgesture`; `made` and `true`
    under `beats_per_second`.

  Raises:
    UserError: there is no clip, or not as many lengths as clips.
  """
  lengths = _lengths(pairs, seconds)
  table: dict[str, Scores] = {}
  for name, protocol in PROTOCOLS.items():
    found = summarise([
        score(made, true, length, name)
        for (made, true), length in zip(pairs, lengths)
    ])
    # No harmonic mean of a coverage that can exceed 1.
    own = protocol.ratios is precision_recall
    table[name] = found if own else {**found, 'f1': None}
  near = [consistency(made, true) for made, true in pairs]
  table['diffgesture'] = {'consistency': float(np.mean(near))}
  total = sum(lengths)
  table['beats_per_second'] = {
      'made': sum(len(made) for made, _ in pairs) / total,
      'true': sum(len(true) for _, true in pairs) / total,
  }
  return table


def chance(
    pairs: Sequence[Pair],
    seconds: float | Sequence[float],
    *,
    seed: int,
    repeats: int = 20,
    groups: Sequence[int] | None = None,
) -> Mapping[str, Row]:
  """Score what knows nothing of a clip: the two rows each table needs.

  Args:
    pairs: as in `row`. Give (true, true) to shuffle the truth itself.
    seconds: length of all clips, or of each.
    seed: of the draws.
    repeats: draws for each clip, that the rows may be compared with.
    groups: number of each clip's group, such as its track. The beats that
      replace those of a clip come from another group; by default each clip is
      a group of its own.

  Returns:
    `metronome`: regular beats of 70 to 140 per minute and any phase against
    the truth; `shuffled`: beats generated for another clip against it. Each
    is as `row` has it, of `repeats` times as many clips.

  Raises:
    UserError: there are fewer than two groups, or lengths do not fit.
  """
  lengths = list(_lengths(pairs, seconds))
  own = np.arange(len(pairs)) if groups is None else np.asarray(groups)
  if own.shape != (len(pairs),) or len(np.unique(own)) < 2:
    raise UserError(
        f'groups: expected a group for each of {len(pairs)} clips, two groups '
        f'or more, found {own.tolist()}.'
    )
  rng = np.random.default_rng([seed, 0xBEA7])
  regular, shuffled = [], []
  for _ in range(repeats):
    for (_, true), length, group in zip(pairs, lengths, own):
      regular.append((metronome(rng, length), true))
      other = int(rng.choice(np.flatnonzero(own != group)))
      # What goes on after the end of this clip is no mistake of the other.
      made = np.asarray(pairs[other][0])
      shuffled.append((made[made < length], true))
  return {
      'metronome': row(regular, lengths * repeats),
      'shuffled': row(shuffled, lengths * repeats),
  }


def metronome(
    rng: np.random.Generator,
    seconds: float,
    slowest: float = 70.0,
    fastest: float = 140.0,
) -> np.ndarray:
  """Draw regular beats of random tempo and phase.

  Args:
    rng: of the draw.
    seconds: length of the clip.
    slowest: beats per minute.
    fastest: beats per minute.

  Returns:
    Seconds, rising.
  """
  period = 60 / rng.uniform(slowest, fastest)
  return np.arange(rng.uniform(0, period), seconds, period)


def _bins(beats: np.ndarray, seconds: float) -> np.ndarray:
  """Return which whole seconds hold beats: [ceil(seconds)] bool."""
  bins = np.zeros(math.ceil(seconds), bool)
  place = np.trunc(np.asarray(beats, float)).astype(int)
  bins[place[place < len(bins)]] = True
  return bins


def _ratio(part: float, whole: float) -> float:
  return part / whole if whole else 0.0


def _lengths(
    pairs: Sequence[Pair], seconds: float | Sequence[float]
) -> Sequence[float]:
  if isinstance(seconds, (int, float)):
    seconds = [seconds] * len(pairs)
  if not len(pairs) or len(seconds) != len(pairs):
    raise UserError(
        f'clips: expected at least one and a length for each, found '
        f'{len(pairs)} clips and {len(seconds)} lengths.'
    )
  return seconds


def _missing(package: str) -> UserError:
  return UserError(
      f'scoring beats needs {package}, which is not installed: '
      "pip install 'diffax[audio]'"
  )
