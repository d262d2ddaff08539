"""Evaluation of a vocoder: clips of tracks, and what each metric sees."""

import json

import numpy as np
import pytest

from diffax import signal
from diffax.data.base import Source
from diffax.errors import UserError
from diffax.evaluate import vocoder
from diffax.trained import Trained

pytest.importorskip('librosa')
pytest.importorskip('mir_eval')


def clicks(seconds=2.0, seed=0):
  """Bursts every quarter of a second over a tone and some noise."""
  rng, time = np.random.default_rng(seed), np.arange(int(16000 * seconds))
  wave = 0.05 * np.sin(time * 0.3) + 0.01 * rng.normal(size=len(time))
  for start in range(2000, len(time) - 800, 4000):
    wave[start:start + 800] += 0.5 * rng.normal(size=800)
  return np.float32(np.clip(wave, -1, 1))


@pytest.fixture
def model():
  """A source of two tracks, and a vocoder that returns half the wave."""
  parts = [clicks(seed=seed)[:30720].reshape(-1, 2048) for seed in (0, 1)]
  arrays = {
      'wave': np.concatenate(parts),
      'track': np.repeat([3, 5], len(parts[0])),
  }
  source = Source({'rate': 16000}, lambda step: {}, lambda name: arrays)
  return Trained(source, lambda batch, key: {'wave': batch['wave'] / 2})


def test_clips_are_stretches_of_one_track(model):
  waves = vocoder.cut(model.source.segments('test'), signal.MAA, 0.5, 5)
  assert waves.shape == (5, 31 * 256)
  whole = clicks(seed=0)
  np.testing.assert_array_equal(waves[0], whole[:31 * 256])
  np.testing.assert_array_equal(waves[-1], clicks(seed=1)[
      2 * 31 * 256:3 * 31 * 256])
  with pytest.raises(UserError, match='seconds: expected at most'):
    vocoder.cut(model.source.segments('test'), signal.MAA, 5.0, 5)


def test_metrics_see_what_they_should():
  true = clicks()
  same = vocoder.compare(true, true, signal.MAA)
  np.testing.assert_allclose(same, [0, 0, 100], atol=1e-4)
  half = vocoder.compare(true / 2, true, signal.MAA)
  # A factor of two is 0.301 in each band above the floor.
  np.testing.assert_allclose(half[:2], [np.log10(2), 0.5], atol=0.01)
  late = vocoder.compare(np.roll(true, 2000), true, signal.MAA)
  assert late[2] < 60 and late[0] > 0.05


def test_the_table_has_the_model_and_the_algorithm(model, tmp_path, capsys):
  found = vocoder.vocoder(
      model, seed=0, workdir=tmp_path, seconds=1.0, clips=2, iterations=3
  )
  assert json.loads((tmp_path / 'metrics.json').read_text()) == found
  assert set(found) == {'model', 'griffin_lim'}
  assert set(found['model']) == set(vocoder.METRICS)
  assert found['model']['mel L1']['n'] == 2
  assert abs(found['model']['convergence']['mean'] - 0.5) < 0.01
  assert 'griffin_lim' in capsys.readouterr().out
