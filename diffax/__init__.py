"""Diffusion models of human movement in JAX and Flax."""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
  from diffax.trained import Trained

__version__ = '0.1.0'


def load_pretrained(folder: 'str | os.PathLike[str]') -> 'Trained':
  """Load a model that `--mode=export` wrote; see `diffax.export.load`."""
  # Here, so that importing the package costs nothing.
  from diffax import export

  return export.load(folder)
