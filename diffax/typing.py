"""Names of types, and the legend of dimensions used in every docstring.

  B  batch            K  samples (futures) per batch element
  P  past frames      F  future frames        L  frames in general
  J  joints, root excluded                    D  features of a joint
  T  diffusion steps  *E per-direction shape of a process (see process.py)
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax

Array = jax.Array
Key = jax.Array
PyTree = Any
Params = Any
Batch = Mapping[str, Any]
Metrics = Mapping[str, Array]
DenoiseFn = Callable[[PyTree, Array], PyTree]
