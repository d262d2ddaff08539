"""Guidance: functions that turn one denoiser into another.

A denoiser maps (x_t, t [B]) to a prediction of x_0. All decorators but
`in_basis` act in data space and take trees of samples as well. A linear mix of
x_0 with weights that sum to 1 is the same mix of noises, since both are affine
in each other at given x_t.

References:
  Ho and Salimans, "Classifier-Free Diffusion Guidance", 2022, Eq. 6.
  You et al., "MoMu-Diffusion", NeurIPS 2024, Eq. 7, Alg. 2 (cross-guidance).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from diffax.diffusion.process import Process
from diffax.typing import Array, DenoiseFn, PyTree

Expert = Callable[[Array, Array, Array | None], Array]


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
