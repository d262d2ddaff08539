"""Losses of a critic and of what it judges.

With verdicts D of true data x and of made x',

  (1)  critic     1/2 mean (1 - D(x))^2 + 1/2 mean D(x')^2
  (2)  penalty    mean |d sum D(x) / dx|^2, over the elements of x
  (3)  generator  -mean D(x')
  (4)  weight     clip(|g_rec| / (|g_gan| + 1e-4), 0, 1e4),

where g are gradients of a reconstruction loss and of Eq. 3 with respect to the
weights that make x' last: with it both pull alike.

Both sides can be trained in one step by one gradient of one loss, if Eq. 1-2
see x' and Eq. 3 the critic's parameters through `stop_gradient`.

References:
  Mao et al., "Least Squares Generative Adversarial Networks", ICCV 2017.
  Mescheder et al., "Which Training Methods for GANs do actually Converge?",
  ICML 2018 (R1, Eq. 2).
  Esser et al., "Taming Transformers", CVPR 2021, Eq. 7 (Eq. 4).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from diffax.typing import Array
from diffax.typing import PyTree

_LEAST_NORM = 1e-4
_MOST = 1e4


def critic(true: Array, made: Array) -> Array:
  """Return Eq. 1 of verdicts [...] of true and of made data: scalar."""
  return 0.5 * (jnp.mean((1 - true) ** 2) + jnp.mean(made**2))


def penalty(judge: Callable[[Array], Array], x: Array) -> Array:
  """Return Eq. 2 of true data: scalar.

  Args:
    judge: data -> verdicts.
    x: true data [B, ...].

  Returns:
    Scalar; its gradient takes second derivatives of `judge`.
  """
  return jnp.mean(jax.grad(lambda y: jnp.sum(judge(y)))(x) ** 2)


def generator(made: Array) -> Array:
  """Return Eq. 3 of verdicts [...] of made data: scalar."""
  return -jnp.mean(made)


def weight(reconstruction: PyTree, adversarial: PyTree) -> Array:
  """Return Eq. 4 of two gradients of the same tree: scalar, without gradient.

  References:
    Esser et al. 2021, Eq. 7 and released bounds.
  """
  ratio = optax.tree.norm(reconstruction) / (
      optax.tree.norm(adversarial) + _LEAST_NORM
  )
  return jax.lax.stop_gradient(jnp.clip(ratio, 0, _MOST))
