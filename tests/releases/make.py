"""Keep an exported model of this release, which later ones must still load.

  python -m tests.releases.make

writes `tests/releases/VERSION/`: an untrained LaMbDA twin of the smallest size
as `--mode=export` leaves it, what it was asked and what it drew.
`tests/test_releases.py` loads every one of them. Once a release is out its
folder stays as it is.
"""

import pathlib
import tempfile

from experiments import lambda_lorenz
import jax
import numpy as np

import diffax
from diffax import export
from diffax import main
from diffax import trained

FOLDER = pathlib.Path(__file__).parent
SEED = 7


def make(folder: pathlib.Path) -> None:
  """Write the model, `asked.npz` and `drawn.npz` to a folder."""
  config = lambda_lorenz.get_config('smoke')
  config.data.update({'steps': 1500, 'length': 40})
  config.eval.max_windows = 2
  config.twin.steps = 2
  with tempfile.TemporaryDirectory() as name:
    run = pathlib.Path(name)
    main.train(config, run)
    found = trained.parts(config, run)
    export.save(config, run, folder / 'model')
  rng = np.random.default_rng(0)
  asked = rng.normal(size=(2, 40, 1)).astype(np.float32)
  drawn = trained.bind(found).sample({'y': asked}, jax.random.key(SEED))
  np.savez(folder / 'asked.npz', y=asked)
  np.savez(folder / 'drawn.npz', **{k: np.asarray(v) for k, v in drawn.items()})


if __name__ == '__main__':
  place = FOLDER / diffax.__version__
  place.mkdir()
  make(place)
  print(place)
