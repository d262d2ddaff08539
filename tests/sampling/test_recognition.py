"""Generated windows as files: which, in which units, and what is refused."""

import csv
import sys

import numpy as np
import pytest
import rich.console

from diffax import sampling
from diffax.data.base import Source
from diffax.errors import UserError
from diffax.sampling import recognition
from diffax.trained import Trained

LENGTH, RATE, CLASSES = 40, 20.0, ('Walking', 'jump up')
INFO = {
    'name': 'toy', 'rate': RATE, 'length': LENGTH,
    'channels': ('acc_x', 'acc_y', 'acc_z', 'gyr_x', 'gyr_y', 'gyr_z'),
    'sensors': {'acc': (0, 1, 2), 'gyr': (3, 4, 5)},
    'units': {'acc': 'm/s^2', 'gyr': 'rad/s'}, 'classes': CLASSES,
    'mean': np.arange(6.0), 'std': np.linspace(1, 2, 6),
}


def segments(split):
  assert split == 'train'
  rng = np.random.default_rng(0)
  return {'window': rng.normal(size=(4, LENGTH, 6)).astype(np.float32),
          'label': np.array([0, 1, 0, 1])}


class Model:
  """Number the windows; those of class 1 are negative."""

  def __init__(self):
    self.keys = []

  def __call__(self, batch, key):
    label = batch['label']
    number = 100 * len(self.keys) + np.arange(len(label))
    self.keys.append(tuple(np.asarray(key._base_array)))
    sign = 1 - 2 * label
    return {'window': np.tile(
        np.float32(sign * number)[:, None, None], (1, LENGTH, 6)
    )}


def draw(tmp_path, sample, seed=3):
  model = Trained(Source(INFO, lambda step: {}, segments), sample)
  return sampling.DRAWERS['recognition'](model, tmp_path / 'out', seed=seed)


def test_files_hold_windows_in_their_units(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'matplotlib', None)
  monkeypatch.setitem(sys.modules, 'plotly', None)
  files = draw(tmp_path, Model())
  assert set(files) == {'windows.npz', 'walking.csv', 'jump_up.csv'}
  with np.load(files['windows.npz']) as arrays:
    assert arrays['window'].shape == (16, LENGTH, 6)
    assert arrays['window'].dtype == np.float32 and arrays['rate'] == RATE
    assert arrays['label'].tolist() == [0, 1] * 8
    assert arrays['classes'].tolist() == list(CLASSES)
    assert arrays['units'].tolist() == ['m/s^2'] * 3 + ['rad/s'] * 3
    np.testing.assert_allclose(
        arrays['window'][3, 0], -3 * INFO['std'] + INFO['mean'], rtol=1e-6
    )
  with files['jump_up.csv'].open() as file:
    header, *rows = csv.reader(file)
  assert header == ['window', 'time_s', *INFO['channels']]
  table = np.array(rows, float)
  assert len(table) == 8 * LENGTH
  np.testing.assert_allclose(table[:LENGTH, 1], np.arange(LENGTH) / RATE)
  # The second of the class is number 3 of all.
  assert table[LENGTH, 0] == 1
  np.testing.assert_allclose(
      table[LENGTH, 2:], -3 * INFO['std'] + INFO['mean'], rtol=1e-6
  )


def test_pictures_are_of_each_class(tmp_path):
  pytest.importorskip('matplotlib')
  files = draw(tmp_path, Model())
  assert {name for name in files if name.endswith('.png')} == {
      'walking.png', 'jump_up.png'
  }
  assert '<h2>jump up</h2>' in files['windows.html'].read_text('utf-8')
  assert all(path.stat().st_size for path in files.values())


def generate(count, size, seed=0):
  sample = Model()
  model = Trained(Source(INFO, lambda step: {}, segments), sample)
  label = recognition.labels(2, count)
  windows = recognition.generate(
      model, label, seed=seed, batch_size=size,
      console=rich.console.Console(quiet=True)
  )
  return windows, sample.keys


def test_the_last_batch_is_filled_and_cut():
  windows, keys = generate(5, 4)
  assert windows.shape == (10, LENGTH, 6) and len(keys) == 3
  np.testing.assert_array_equal(
      np.abs(windows[:, 0, 0]), [0, 1, 2, 3, 100, 101, 102, 103, 200, 201]
  )


def test_more_windows_begin_with_the_same():
  few, keys = generate(4, 4)
  many, more = generate(8, 4)
  np.testing.assert_array_equal(many[:8], few)
  assert more[:2] == keys and len(set(more)) == 4
  assert not set(generate(4, 4, seed=1)[1]) & set(keys)


def test_bad_windows_are_named(tmp_path):
  with pytest.raises(UserError, match=r'\[16, 40, 6\], found \[16, 40\]'):
    draw(tmp_path, lambda batch, key: {'window': np.zeros((16, LENGTH))})
  with pytest.raises(UserError, match='NaN or infinity. Did the training'):
    draw(tmp_path, lambda batch, key: {
        'window': np.full((16, LENGTH, 6), np.inf)})


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
  (tmp_path / 'out').write_text('a file')
  with pytest.raises(UserError, match='cannot write'):
    draw(tmp_path, Model())
