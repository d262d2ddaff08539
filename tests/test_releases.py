"""Models that earlier releases exported are still loaded and draw the same."""

import json
import pathlib

import jax
import numpy as np
import pytest

import diffax
from tests.releases import make

FOLDERS = sorted(path.parent for path in make.FOLDER.glob('*/model'))


def test_this_release_has_one():
  assert make.FOLDER / diffax.__version__ in FOLDERS


@pytest.mark.parametrize('folder', FOLDERS, ids=lambda path: path.name)
def test_what_a_release_exported_draws_the_same(folder: pathlib.Path):
  manifest = json.loads((folder / 'model' / 'manifest.json').read_text())
  assert manifest['versions']['diffax'] == folder.name
  model = diffax.load_pretrained(folder / 'model')
  with np.load(folder / 'asked.npz') as asked:
    drawn = model.sample(dict(asked), jax.random.key(make.SEED))
  with np.load(folder / 'drawn.npz') as wanted:
    assert set(wanted) == set(drawn)
    for name, values in wanted.items():
      # Another JAX adds up in another order.
      np.testing.assert_allclose(drawn[name], values, rtol=1e-3, atol=1e-4)
