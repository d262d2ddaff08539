"""Guidance: functions that turn one denoiser into another.

A denoiser maps (x_t, t [B]) to a prediction of x_0. All decorators but
`in_basis` act in data space and take trees of samples as well. A linear mix of
x_0 with weights that sum to 1 is the same mix of noises, since both are affine
in each other at given x_t.

References:
  Ho and Salimans, "Classifier-Free Diffusion Guidance", 2022, Eq. 6.
  You et al., "MoMu-Diffusion", NeurIPS 2024, Eq. 7, Alg. 2 (cross-guidance).
  Tseng et al., "EDGE", CVPR 2023, Sec. 3.3 (overlapping windows).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from diffax.diffusion.process import Process
from diffax.errors import UserError
from diffax.typing import Array, DenoiseFn, PyTree

Expert = Callable[[Array, Array, Array | None], Array]
BLENDS = ('first', 'mean')


def is_process(node: PyTree) -> bool:
  """Say whether `node` is a process, the leaf of a tree of processes."""
  return isinstance(node, Process)


def map_processes(
    function: Callable[..., PyTree], process: PyTree, *trees: PyTree
) -> PyTree:
  """Apply `function` to each process and its part of the other trees."""
  return jax.tree.map(function, process, *trees, is_leaf=is_process)


def in_basis(denoise: DenoiseFn, process: PyTree) -> DenoiseFn:
  """Let a data-space denoiser act on the directions of a process.

  Args:
    denoise: denoiser in data space.
    process: Process, or a tree of them that matches the samples.

  Returns:
    Denoiser in directions: x -> U^T denoise(U x).
  """

  def rotated(xt: PyTree, t: Array) -> PyTree:
    x0 = denoise(map_processes(Process.from_basis, process, xt), t)
    return map_processes(Process.to_basis, process, x0)

  return rotated


def clip_x0(
    denoise: DenoiseFn, low: float = -1.0, high: float = 1.0
) -> DenoiseFn:
  """Clip predictions of x_0 into [low, high]."""

  def clipped(xt: PyTree, t: Array) -> PyTree:
    return jax.tree.map(lambda x: jnp.clip(x, low, high), denoise(xt, t))

  return clipped


def _mix(null: PyTree, conditional: PyTree, scale: float) -> PyTree:
  return jax.tree.map(lambda u, c: u + scale * (c - u), null, conditional)


def classifier_free(
    conditional: DenoiseFn, unconditional: DenoiseFn, scale: float
) -> DenoiseFn:
  """Extrapolate from the unconditional to the conditional prediction.

  x_0 = unconditional + scale (conditional - unconditional).

  Args:
    conditional: denoiser with the condition closed over.
    unconditional: denoiser with the null condition.
    scale: 0 is unconditional, 1 conditional, more is sharper.

  Returns:
    Denoiser.

  References:
    Ho and Salimans 2022, Eq. 6; You et al. 2024, Eq. 7.
  """

  def guided(xt: PyTree, t: Array) -> PyTree:
    return _mix(unconditional(xt, t), conditional(xt, t), scale)

  return guided


def cross(
    first: Expert, second: Expert, scale: float, until: int
) -> DenoiseFn:
  """Generate a pair of modalities jointly with two conditional experts.

  While t > until both experts run without a condition. Then each takes the
  other's unconditional prediction of x_0 at the same t as its condition, with
  classifier-free guidance.

  Args:
    first: (x_t, t, condition or None) -> x_0 of the first modality.
    second: the same of the second.
    scale: scale of the classifier-free guidance.
    until: last time T_c with guidance; the paper uses T / 2.

  Returns:
    Denoiser of pairs (first, second).

  References:
    You et al. 2024, Eq. 8-9, Alg. 2.
  """

  def guided(xt: PyTree, t: Array) -> PyTree:
    null = (first(xt[0], t, None), second(xt[1], t, None))

    def exchange() -> PyTree:
      informed = (first(xt[0], t, null[1]), second(xt[1], t, null[0]))
      return jax.tree.map(
          lambda u, x: jnp.where(_expand(t <= until, u), x, u),
          null,
          _mix(null, informed, scale),
      )

    # The condition spares the second pair of evaluations at early steps.
    return jax.lax.cond(jnp.any(t <= until), exchange, lambda: null)

  return guided


def _expand(mask: Array, x: Array) -> Array:
  return mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim))


def inpaint(denoise: DenoiseFn, known: PyTree, mask: PyTree) -> DenoiseFn:
  """Fix the known part of x_0: frames, joints or any elements.

  Each reverse step then draws the known part from q(x_s | x_t, x_0) of its
  true x_0, so it stays on the forward process and ends at `known`.

  Args:
    denoise: denoiser in data space.
    known: x_0 [B, *S], read where `mask` is true.
    mask: [B, *S] bool, true where x_0 is known.

  Returns:
    Denoiser.
  """

  def completed(xt: PyTree, t: Array) -> PyTree:
    return jax.tree.map(jnp.where, mask, known, denoise(xt, t))

  return completed


def windowed(expert: Expert, size: int, blend: str = 'first') -> Expert:
  """Let an expert of short series act on series of any length.

  Series are cut into windows, half of each within the next; the last one ends
  with the series. All windows are denoised at once, as a batch. Since samples
  are one series all along, windows agree where they overlap at every step,
  with any sampler: that is EDGE's copying of halves.

  Args:
    expert: (x_t [N, L, C], t [N], condition [N, L, D] or None) -> x_0.
    size: L that the expert takes; shorter series are given to it as they are.
    blend: what stands where windows overlap: the prediction of the `first`, as
      released by EDGE, or the `mean`.

  Returns:
    Expert of [B, any length, C].

  Raises:
    UserError: unknown blend, or a size below 2.

  References:
    Tseng et al. 2023, Sec. 3.3.
  """
  if blend not in BLENDS or size < 2:
    raise UserError(
        f'windows: expected a blend of {BLENDS} and a size of 2 or more, found '
        f'{blend!r} and {size}.'
    )

  def long(xt: Array, t: Array, condition: Array | None) -> Array:
    length = xt.shape[1]
    if length <= size:
      return expert(xt, t, condition)
    places, shares = _windows(length, size, blend)

    def cut(x: Array) -> Array:
      return x[:, places].reshape(-1, size, x.shape[-1])

    given = None if condition is None else cut(condition)
    x0 = expert(cut(xt), jnp.repeat(t, len(places)), given)
    parts = x0.reshape(len(xt), *places.shape, -1)
    parts = parts * jnp.asarray(shares, x0.dtype)[None, :, :, None]
    empty = jnp.zeros((*xt.shape[:2], x0.shape[-1]), x0.dtype)
    return empty.at[:, places].add(parts)

  return long


def _windows(
    length: int, size: int, blend: str
) -> tuple[np.ndarray, np.ndarray]:
  """Return which steps W windows hold, and their shares there: [W, size]."""
  starts = np.append(np.arange(0, length - size, size // 2), length - size)
  places = starts[:, None] + np.arange(size)[None]
  if blend == 'mean':
    return places, 1 / np.bincount(places.ravel())[places]
  _, first = np.unique(places, return_index=True)
  shares = np.zeros(places.size)
  shares[first] = 1
  return places, shares.reshape(places.shape)
