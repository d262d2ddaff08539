"""Adversarial losses by hand."""

import jax
import jax.numpy as jnp
import numpy as np

from diffax.diffusion import adversarial


def test_critic_and_generator():
  true, made = jnp.array([[1.0, 0.0]]), jnp.array([[2.0, 0.0]])
  np.testing.assert_allclose(
      adversarial.critic(true, made), 0.5 * 0.5 + 0.5 * 2
  )
  np.testing.assert_allclose(adversarial.generator(made), -1.0)
  assert adversarial.critic(jnp.ones(3), jnp.zeros(3)) == 0


def test_the_penalty_of_a_linear_critic_is_that_of_its_weights():
  weights = jnp.array([[1.0, -2.0, 3.0]])
  x = jnp.ones((4, 3))

  def penalty(w):
    return adversarial.penalty(lambda y: jnp.sum(y * w, -1), x)

  np.testing.assert_allclose(penalty(weights), 14 / 3, rtol=1e-6)
  np.testing.assert_allclose(jax.grad(penalty)(weights), 2 / 3 * weights)


def test_weighted_gradients_pull_alike():
  reconstruction = {'a': jnp.array([3.0, 0.0]), 'b': jnp.array([4.0])}
  gan = {'a': jnp.array([0.0, 0.5]), 'b': jnp.array([0.0])}
  np.testing.assert_allclose(
      adversarial.weight(reconstruction, gan), 5 / (0.5 + 1e-4), rtol=1e-6
  )
  none = jax.tree.map(jnp.zeros_like, gan)
  assert adversarial.weight(reconstruction, none) == 1e4
  slope = jax.grad(lambda s: adversarial.weight(
      jax.tree.map(lambda x: s * x, reconstruction), gan
  ))(1.0)
  assert slope == 0
