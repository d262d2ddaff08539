"""Evaluate a vocoder: how much of held-out music comes back from its mel.

`metrics.json` holds `{row: {metric: {"mean", "std", "n"}}}` over clips. Rows
are `model` and, for the same mels, `griffin_lim`; metrics are

  mel L1       mean distance of log-mels, in their logarithm
  convergence  |S' - S| / |S| of the magnitudes of short-time spectra
  onset F1     onsets of the clip found within 50 ms, percent
  seconds      of computing for a second of sound

Clips are whole stretches of held-out tracks.
"""

from collections.abc import Callable, Mapping
import json
import pathlib
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import rich.box
import rich.console
import rich.table

from diffax import signal
from diffax.errors import UserError
from diffax.metrics import rhythm
from diffax.trained import Trained
from diffax.typing import Batch
from diffax.typing import Key

METRICS = ('mel L1', 'convergence', 'onset F1', 'seconds')
_TOLERANCE = 0.05  # Seconds: what a listener takes for the same moment.
Resynthesise = Callable[[np.ndarray, Key], np.ndarray]


def vocoder(
    model: Trained,
    *,
    seed: int,
    workdir: pathlib.Path,
    mel: str = 'make_an_audio',
    split: str = 'test',
    seconds: float = 8.0,
    clips: int = 16,
    iterations: int = 32,
    figures: bool = True,
) -> dict[str, Any]:
  """Compare a trained vocoder with Griffin and Lim's algorithm.

  Args:
    model: its `sample` goes from `wave` `[B, N]` to `wave`, through the mel.
    seed: of the phases.
    workdir: folder for metrics.json.
    mel: that it was trained on, a name in `signal.MELS`.
    split: whose tracks are heard.
    seconds: of a clip; at most as long as the shortest track.
    clips: at most so many, taken evenly.
    iterations: of the algorithm.
    figures: unused; whether samples are written after training.

  Returns:
    What metrics.json holds.

  Raises:
    UserError: no track is long enough, or the folder cannot be written.
  """
  del figures
  preset = signal.preset(mel)
  waves = cut(model.source.segments(split), preset, seconds, clips)

  def trained(wave: np.ndarray, key: Key) -> np.ndarray:
    return np.asarray(model.sample({'wave': wave[None]}, key)['wave'])[0]

  def algorithm(wave: np.ndarray, key: Key) -> np.ndarray:
    bands = signal.log_mel(jnp.asarray(wave), preset)
    return np.asarray(signal.griffin_lim(bands, preset, key, iterations))

  rows = {'model': trained, 'griffin_lim': algorithm}
  results = {
      name: measure(function, waves, preset, seed)
      for name, function in rows.items()
  }
  _print(results, f'{len(waves)} clips of {seconds:g} s')
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=2, allow_nan=False)
    (workdir / 'metrics.json').write_text(text + '\n')
  except OSError as error:
    raise UserError(f'--workdir {workdir}: cannot write: {error}') from error
  return results


def cut(
    segments: Batch, mel: signal.Mel, seconds: float, clips: int
) -> np.ndarray:
  """Join the stretches of each track and cut clips from it.

  Args:
    segments: `wave` `[M, N]` in order, and `track` `[M]`.
    mel: whose hop a clip is a multiple of.
    seconds: of a clip.
    clips: at most so many, taken evenly from all.

  Returns:
    `[K, L]`.

  Raises:
    UserError: no track is that long.
  """
  length = max(int(seconds * mel.fps), 1) * mel.hop
  found = []
  for track in np.unique(segments['track']):
    whole = segments['wave'][segments['track'] == track].ravel()
    count = len(whole) // length
    found.append(whole[:count * length].reshape(count, length))
  all_clips = np.concatenate(found)
  if not len(all_clips):
    raise UserError(
        f'config.eval.seconds: expected at most the length of a held-out '
        f'track, found {seconds:g}.'
    )
  count = min(clips, len(all_clips))
  return all_clips[np.linspace(0, len(all_clips) - 1, count).astype(int)]


def measure(
    resynthesise: Resynthesise, waves: np.ndarray, mel: signal.Mel, seed: int
) -> dict[str, Any]:
  """Return the metrics of clips `[K, L]` that go through their mel."""
  key = jax.random.key(seed)
  resynthesise(waves[0], key)  # Compiles.
  scores = []
  for i, wave in enumerate(waves):
    start = time.perf_counter()
    made = resynthesise(wave, jax.random.fold_in(key, i))
    spent = time.perf_counter() - start
    scores.append([*compare(made, wave, mel), spent / (len(wave) / mel.rate)])
  return {
      name: {
          'mean': float(np.mean(values)),
          'std': float(np.std(values, ddof=1)) if len(values) > 1 else 0.0,
          'n': len(values),
      }
      for name, values in zip(METRICS, np.array(scores).T)
  }


def compare(
    made: np.ndarray, true: np.ndarray, mel: signal.Mel
) -> tuple[float, float, float]:
  """Return mel L1, convergence and onset F1 of a wave `[L]`."""
  waves = [jnp.asarray(wave) for wave in (made, true)]
  bands = [signal.log_mel(wave, mel) for wave in waves]
  spectra = [
      np.asarray(signal.magnitudes(wave, mel.fft, mel.hop)) for wave in waves
  ]
  gap = np.linalg.norm(spectra[0] - spectra[1]) / np.linalg.norm(spectra[1])
  beats = [rhythm.onsets(wave, mel.rate) for wave in (made, true)]
  counts = rhythm.count_matches(beats[0], beats[1], _TOLERANCE)
  precision, recall = rhythm.precision_recall(counts)
  harmonic = 2 * precision * recall / max(precision + recall, 1e-9)
  return float(jnp.abs(bands[0] - bands[1]).mean()), float(gap), 100 * harmonic


def _print(results: Mapping[str, Any], title: str) -> None:
  table = rich.table.Table(title=title, box=rich.box.SIMPLE_HEAD)
  table.add_column('')
  for name in METRICS:
    table.add_column(name, justify='right')
  for row, metrics in results.items():
    table.add_row(row, *(f'{metrics[name]["mean"]:#.3g}' for name in METRICS))
  rich.console.Console().print(table)
