"""The noise of latents [J, D]: white, as the skeleton says, or as measured.

Noise is correlated over the joints J and white over the features D. Where its
covariance comes from is a setting, `correlation`:

  adjacency, reachability, hip_reachability   A, R or R_hip of the skeleton
  latent   what the trained encoder makes of futures (`diffusion.empirical`)

The first three are known when a system is built. The last is measured when a
run starts (`System.prepare`), from the futures of its first batch, and kept
with the parameters, untrained. Typed layers give joints of different types
features of different meaning: latents tell how much each joint varies, and how
mirrored joints vary together, more than how the joints of a limb do.

References:
  Curreli et al., "Nonisotropic Gaussian Diffusion for Realistic 3D Human
  Motion Prediction", CVPR 2025, Eq. 4-6, Sec. 4.2, E.2, Tables 4, 5 and 7.
"""

from collections.abc import Callable, Mapping
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from diffax.body.skeletons import adjacency
from diffax.body.skeletons import Skeleton
from diffax.diffusion import covariance as covariances
from diffax.diffusion import empirical
from diffax.diffusion import process as processes
from diffax.diffusion import schedules
from diffax.errors import UserError
from diffax.typing import Array
from diffax.typing import Params


class Noise(NamedTuple):
  """Hold the forward process of latents, or how to build it from numbers.

  Attributes:
    steps: T.
    process: measured numbers -> the process; its basis turns the joint axis.
    measure: latents `[B, J, D]` -> those numbers; None where none are needed.
    unmeasured: numbers of white noise, to be replaced; None likewise.
  """

  steps: int
  process: Callable[[Params], processes.Process]
  measure: Callable[[Array], Params] | None = None
  unmeasured: Params = None


def build(
    skeleton: Skeleton,
    *,
    noise: str = 'nonisotropic',
    steps: int = 10,
    betas: str = 'cosine',
    gammas: str = 'released',
    correlation: str = 'adjacency',
    eta: float = 0.5,
    shift: str = 'released',
    normalise: str = 'spectral',
    ridge: float | None = None,
    shrinkage: float = 0.1,
) -> Noise:
  """Build the noise of latents on a skeleton.

  Args:
    skeleton: whose nodes the latents belong to.
    noise: `nonisotropic`, or `isotropic` for white noise over the joints.
    steps: T.
    betas: name in `schedules.BETAS`.
    gammas: name in `schedules.GAMMAS`, the share of the covariance; `one` is
      the paper's simple variant, Eq. 3.
    correlation: name in `CORRELATIONS`, or `latent`.
    eta: factor per hop of the reachability.
    shift: `released` or `paper`, of the diagonal of a graph's covariance.
    normalise: `spectral` or `frobenius`.
    ridge: see `covariance.covariance`.
    shrinkage: see `empirical.spectrum`, of measured covariances alone.

  Returns:
    The noise.

  Raises:
    UserError: a name or a setting is wrong.
  """
  table = schedules.betas(betas, steps)
  if noise == 'isotropic':
    white = processes.isotropic(table, ndim=2)
    return Noise(steps, lambda _: white)
  known = sorted([*CORRELATIONS, 'latent'])
  if noise != 'nonisotropic' or correlation not in known:
    raise UserError(
        'process: expected noise nonisotropic or isotropic and correlation '
        f'one of {known}, found {noise!r}, {correlation!r}.'
    )
  shares = schedules.gammas(gammas, table)
  scales = schedules.scales(gammas, table)
  if correlation == 'latent':
    return _measured(skeleton.num_nodes, table, shares, scales, shrinkage,
                     normalise)
  shaped = processes.nonisotropic(
      table, shares, sigma(skeleton, correlation, eta, shift, normalise, ridge),
      axis=0, ndim=2, scales=scales,
  )
  return Noise(steps, lambda _: shaped)


CORRELATIONS: Mapping[str, Callable[[Skeleton, float], np.ndarray]] = {
    'adjacency': lambda body, eta: adjacency(body),
    'reachability': lambda body, eta: covariances.reachability(
        adjacency(body), eta
    ),
    'hip_reachability': lambda body, eta: covariances.hip_reachability(
        adjacency(body), np.asarray(body.hips), eta
    ),
}


def sigma(
    skeleton: Skeleton,
    correlation: str,
    eta: float = 0.5,
    shift: str = 'released',
    normalise: str = 'spectral',
    ridge: float | None = None,
) -> np.ndarray:
  """Return the covariance Sigma_N `[J, J]` of a graph, see `build`."""
  graph = CORRELATIONS[correlation](skeleton, eta)
  return covariances.covariance(graph, shift, normalise, ridge)


def _measured(
    nodes: int, betas: np.ndarray, gammas: np.ndarray, scales: np.ndarray,
    shrinkage: float, normalise: str
) -> Noise:
  empirical.check(shrinkage, normalise)

  def measure(z: Array) -> Params:
    return _numbers(*empirical.spectrum(z, shrinkage, normalise))

  def process(numbers: Params) -> processes.Process:
    held = jax.lax.stop_gradient(numbers)
    # Weight decay shrinks all alike.
    values, basis = (held[name] / held['one'] for name in ('values', 'basis'))
    shaped = functools.partial(
        processes.from_spectrum, betas, gammas, axis=0, ndim=2, scales=scales
    )
    return shaped(values=values, basis=basis)

  white = _numbers(jnp.ones((nodes,)), jnp.eye(nodes))
  return Noise(len(betas), process, measure, white)


def _numbers(values: Array, basis: Array) -> Params:
  return {'one': jnp.ones(()), 'values': values, 'basis': basis}
