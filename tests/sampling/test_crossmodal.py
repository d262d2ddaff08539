"""Completed tables and test windows: what is given, generated and written."""

import sys

import jax
import numpy as np
import pytest

from diffax.data import series
from diffax.errors import DataError
from diffax.errors import UserError
from diffax.sampling import crossmodal as sampling
from diffax.trained import Trained

LENGTH, RATE = 10, 20.0
CHANNELS = {'x': ('hip_deg', 'knee_deg'), 'y': ('force_n',)}


@pytest.fixture(autouse=True)
def no_pictures(request, monkeypatch):
  """Draw in the test of pictures only, as drawing takes seconds."""
  if 'picture' not in request.node.name:
    monkeypatch.setitem(sys.modules, 'matplotlib', None)
    monkeypatch.setitem(sys.modules, 'plotly', None)


def _track(number):
  rng = np.random.default_rng(number)
  x = rng.normal(size=(64, 2)) * (3.0, 0.5) + (10.0, -2.0)
  return series.Track(
      f't{number}', {'x': x, 'y': 5 * x[:, :1] - 2 * x[:, 1:] + 7},
      f's{number}', 'walk', 'file'
  )


SOURCE = series.source(
    [_track(i) for i in range(4)],
    series.Facts('toy', RATE, CHANNELS, {'x': ('deg',) * 2, 'y': ('N',)}),
    seed=0, batch_size=4, modalities=('x', 'y'), length=LENGTH, stride=5,
    split='subjects', folds=2,
)
INFO = SOURCE.info


def raw(name, values):
  return values * INFO['std'][name] + INFO['mean'][name]


def standard(name, values):
  return (values - INFO['mean'][name]) / INFO['std'][name]


class Model:
  """Know y of x exactly; give the k-th of three samples k more (in N)."""

  def __init__(self):
    self.batches, self.keys = [], []

  def __call__(self, batch, key):
    self.batches.append({k: np.asarray(v) for k, v in batch.items()})
    self.keys.append(tuple(np.asarray(key._base_array)))
    count = len(next(iter(batch.values())))
    if 'x' in batch and 'x_known' not in batch:
      x = raw('x', batch['x'].astype(float))
      y = 5 * x[..., :1] - 2 * x[..., 1:] + 7
      return {'y': standard(
          'y', y[:, None] + np.arange(3.0)[None, :, None, None]
      )}
    filled = batch.get('x', np.zeros((count, LENGTH, 2)))
    return {'x': np.repeat(filled[:, None], 3, 1)}


def write(path, values, names, rate=RATE):
  time = np.arange(len(values)) / rate
  rows = [','.join(('time_s', *names))]
  rows += [','.join(f'{v:.9g}' for v in (t, *row))
           for t, row in zip(time, values)]
  path.write_text('\n'.join(rows) + '\n')
  return path


def complete(tmp_path, values, names=CHANNELS['x'], model=None):
  path = write(tmp_path / 'in.csv', values, names)
  trained = Trained(SOURCE, model or Model())
  return sampling.draw(trained, tmp_path / 'out', seed=3, input=path)


@pytest.mark.parametrize('frames', [10, 11, 23, 25, 40])
def test_the_absent_modality_follows_sample_by_sample(tmp_path, frames):
  x = _track(9).values['x'][:frames]
  files = complete(tmp_path, x)
  header, *rows = files['generated.csv'].read_text().splitlines()
  assert header == 'time_s,force_n_mean,force_n_sample'
  table = np.array([row.split(',') for row in rows], float)
  y = 5 * x[:, 0] - 2 * x[:, 1] + 7
  np.testing.assert_allclose(table[:, 0], np.arange(frames) / RATE)
  np.testing.assert_allclose(table[:, 1], y + 1, atol=1e-4)
  np.testing.assert_allclose(table[:, 2], y, atol=1e-4)
  with np.load(files['samples.npz']) as arrays:
    assert arrays['y'].shape == (3, frames, 1)
    np.testing.assert_allclose(arrays['y'][2, :, 0], y + 2, atol=1e-4)
    np.testing.assert_allclose(arrays['x'], x, rtol=1e-7)
    assert arrays['y_channels'].tolist() == ['force_n']
    assert arrays['rate'] == RATE


def test_the_model_sees_standardised_windows_of_what_is_given(tmp_path):
  model, x = Model(), _track(9).values['x'][:40]
  complete(tmp_path, x, model=model)
  (batch,) = model.batches
  assert set(batch) == {'x'} and batch['x'].dtype == np.float32
  assert batch['x'].shape == (7, LENGTH, 2)
  np.testing.assert_allclose(
      batch['x'][2], standard('x', x[10:20]), atol=1e-5
  )


def test_long_series_go_in_equal_batches_with_keys_of_their_own(tmp_path):
  model, x = Model(), np.tile(_track(9).values['x'], (3, 1))
  files = complete(tmp_path, x, model=model)
  assert {len(batch['x']) for batch in model.batches} == {16}
  assert len(set(model.keys)) == len(model.batches) == 3
  with np.load(files['samples.npz']) as arrays:
    np.testing.assert_allclose(
        arrays['y'][0, :, 0], 5 * x[:, 0] - 2 * x[:, 1] + 7, atol=1e-4
    )


def test_windows_of_a_series_join_to_the_series():
  rng = np.random.default_rng(0)
  for frames in (10, 14, 15, 37):
    whole = rng.normal(size=(2, frames, 3))
    starts = sampling.window_starts(frames, LENGTH)
    assert starts[0] == 0 and starts[-1] == frames - LENGTH
    assert set(np.diff(starts)) <= set(range(1, LENGTH // 2 + 1))
    windows = np.stack([whole[:, s:s + LENGTH] for s in starts])
    np.testing.assert_allclose(
        sampling.crossfade(windows, starts, frames), whole, atol=1e-12
    )


def test_crossfade_goes_from_one_window_to_the_next():
  windows = np.array([0.0, 1.0])[:, None, None, None] * np.ones((2, 1, 4, 1))
  joined = sampling.crossfade(windows, np.array([0, 2]), 6)
  # Weights 1 2 2 1: at sample 2 they are 2 and 1, at sample 3 1 and 2.
  np.testing.assert_allclose(joined[0, :, 0], [0, 0, 1 / 3, 2 / 3, 1, 1])


@pytest.mark.parametrize('rows, names, message', [
    (9, CHANNELS['x'], r'rows: expected at least 10 .*0.50 s.*found 9 .*0.45'),
    (12, (*CHANNELS['x'], *CHANNELS['y']), 'found those of all'),
    (12, ('a', 'b'), 'found none of them'),
    (12, ('hip_deg', 'b'), 'knee_deg'),
])
def test_unfit_tables_are_refused(tmp_path, rows, names, message):
  values = np.tile(_track(9).values['x'][:rows], 2)[:, :len(names)]
  with pytest.raises(DataError, match=message):
    complete(tmp_path, values, names)


def test_another_unit_is_suspected(tmp_path, capsys):
  x = _track(9).values['x'][:12]
  complete(tmp_path, x)
  assert 'is its unit' not in capsys.readouterr().out
  complete(tmp_path, x * 57.3)
  assert 'knee_deg lies' in capsys.readouterr().out


def windows(tmp_path, model):
  return sampling.draw(Trained(SOURCE, model), tmp_path, seed=0)


def test_windows_are_generated_both_ways_in_units_of_the_data(tmp_path):
  model = Model()
  files = windows(tmp_path, model)
  assert list(files) == ['samples.npz']
  with np.load(files['samples.npz']) as arrays:
    saved = dict(arrays)
  # Eleven windows of each of two held-out tracks.
  assert saved['window'].tolist() == [3, 11, 18]
  x = _track(0).values['x'][15:25]
  np.testing.assert_allclose(saved['x'][0], x, atol=1e-4)
  np.testing.assert_allclose(
      saved['y_generated'][0, 2], 5 * x[:, :1] - 2 * x[:, 1:] + 9, atol=1e-4
  )
  assert saved['x_generated'].shape == (3, 3, LENGTH, 2)
  assert [set(batch) for batch in model.batches] == [
      {'y'}, {'x'}, {'x', 'x_known', 'y'}
  ]
  assert len(set(model.keys)) == 3


def test_what_is_to_be_painted_in_is_hidden(tmp_path):
  model = Model()
  files = windows(tmp_path, model)
  batch = model.batches[-1]
  known = np.array([True] * 3 + [False] * 4 + [True] * 3)
  np.testing.assert_array_equal(batch['x_known'], np.tile(known, (3, 1)))
  assert not batch['x'][:, ~known].any()
  with np.load(files['samples.npz']) as arrays:
    np.testing.assert_array_equal(arrays['x_known'], known)
    np.testing.assert_allclose(
        arrays['x_inpainted'][:, 1, known], arrays['x'][:, known], atol=1e-5
    )


def test_a_system_that_cannot_paint_in_says_so(tmp_path, capsys):
  def stubborn(batch, key):
    if 'x_known' in batch:
      raise UserError('this model only generates whole modalities.')
    return Model()(batch, key)

  files = windows(tmp_path, stubborn)
  assert 'No in-painting: this model' in capsys.readouterr().out
  with np.load(files['samples.npz']) as arrays:
    assert 'x_inpainted' not in arrays and 'y_generated' in arrays


def test_a_diverged_model_is_reported(tmp_path):
  def diverged(batch, key):
    return jax.tree.map(lambda x: x * np.nan, Model()(batch, key))

  with pytest.raises(UserError, match='x: expected finite'):
    windows(tmp_path, diverged)
  with pytest.raises(UserError, match='y: expected finite'):
    complete(tmp_path, _track(9).values['x'][:12], model=diverged)


def test_pictures_are_drawn(tmp_path):
  pytest.importorskip('matplotlib')
  pytest.importorskip('plotly')
  files = windows(tmp_path, Model())
  files |= complete(tmp_path, _track(9).values['x'][:12])
  text = files['windows.html'].read_text('utf-8')
  assert text.count('<h2>') == 3 * 3
  assert 'window 11: x given y and part of x' in text
  assert files['generated.html'].read_text('utf-8').count('<h2>') == 1
  drawn = [name for name in files if name.endswith('.png')]
  assert drawn == [
      'reconstructions_x_given_y.png', 'reconstructions_y_given_x.png',
      'inpainting_x.png', 'generated_y.png',
  ]
  for name in drawn:
    assert files[name].read_bytes().startswith(b'\x89PNG')
