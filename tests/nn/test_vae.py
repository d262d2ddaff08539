"""The autoencoder of sequences: its size, its rate, its posterior."""

import functools

import einops
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.nn import vae
from diffax.nn.discriminator import PatchCritic
from diffax.nn.discriminator import patches
from diffax.nn.unet import parameters

SMALL = {'width': 8, 'multiples': (1, 2), 'blocks': 1, 'groups': 4,
         'latent': 3}


def noise(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def scrambled(module, *args):
  """Make parameters that are noise, so that none is at its start."""
  shapes = jax.eval_shape(module.init, jax.random.key(0), *args)
  rng = np.random.default_rng(0)
  return jax.tree.map(
      lambda x: jnp.asarray(rng.normal(size=x.shape) * 0.2, jnp.float32),
      shapes,
  )


@pytest.mark.parametrize('channels, millions', [(80, 212.96), (28, 212.76)])
def test_the_size_is_the_papers(channels, millions):
  network = vae.Autoencoder(channels)
  shapes = jax.eval_shape(
      network.init, jax.random.key(0), jnp.zeros((1, 8, channels))
  )
  assert round(parameters(shapes) / 1e6, 2) == millions
  # The paper rounds to 213 M for each modality.
  assert round(parameters(shapes) / 1e6) == 213


@pytest.fixture(scope='module')
def made():
  network, x = vae.Autoencoder(5, **SMALL), noise(2, 12, 5)
  params = scrambled(network, x)

  @functools.partial(jax.jit, static_argnames='method')
  def run(params, x, method='__call__'):
    return network.apply(params, x, method=method)

  return run, params, x


def test_latents_have_half_the_rate(made):
  run, params, x = made
  posterior = run(params, x, method='encode')
  assert posterior.mean.shape == posterior.log_variance.shape == (2, 6, 3)
  out = run(params, posterior.mean, method='decode')
  assert out.shape == x.shape
  np.testing.assert_allclose(run(params, x), out, atol=1e-6)


def test_the_last_layer_stands_alone(made):
  run, params, _ = made
  z = noise(2, 6, 3)
  features = run(params, z, method='features')
  p = params['params']['write']['conv']
  wide = np.pad(features, ((0, 0), (2, 2), (0, 0)))
  kernel, bias = (np.asarray(p[name]) for name in ('kernel', 'bias'))
  want = sum(wide[:, k:k + 12] @ kernel[k] for k in range(5)) + bias
  np.testing.assert_allclose(
      run(params, z, method='decode'), want, atol=1e-5
  )


def test_a_draw_has_the_moments_of_its_posterior():
  mean, log_variance = jnp.array([1.0, -2.0]), jnp.log(jnp.array([0.25, 4.0]))
  posterior = vae.Posterior(
      *(jnp.broadcast_to(x, (20000, 2)) for x in (mean, log_variance))
  )
  drawn = posterior.draw(jax.random.key(0))
  np.testing.assert_allclose(drawn.mean(0), mean, atol=0.05)
  np.testing.assert_allclose(drawn.std(0), [0.5, 2.0], rtol=0.05)


def test_log_variances_are_bounded(made):
  run, params, x = made
  moments = params['params']['moments']['conv']
  huge = {'kernel': moments['kernel'], 'bias': moments['bias'] + 1e3}
  inner = {**params['params'], 'moments': {'conv': huge}}
  found = run({'params': inner}, x, method='encode')
  np.testing.assert_array_equal(found.log_variance, vae.BOUNDS[1])


def test_the_critic_judges_patches():
  x = noise(2, 48, 80)
  critic = PatchCritic(8)
  params = scrambled(critic, x)
  run = jax.jit(critic.apply)
  plain = run(params, x)
  # Halved thrice, and one less for each of the last two layers.
  assert plain.shape == (2, 48 // 8 - 2, 80 // 8 - 2)
  assert plain.dtype == jnp.float32
  assert np.abs(run(params, x + 1) - plain).max() > 1e-3


@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('size', [(12, 16), (13, 15), (14, 13)])
def test_patches_make_a_convolution(stride, size):
  x = noise(2, *size, 3)
  kernel = noise(4, 4, 3, 5)
  want = jax.lax.conv_general_dilated(
      x, kernel, (stride, stride), ((1, 1), (1, 1)),
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
  )
  # Rows of a patch come block by block.
  flat = einops.rearrange(
      kernel, '(a i) (b j) c f -> (a b i j c) f', i=stride, j=stride
  )
  got = patches(x, 4, stride) @ flat
  np.testing.assert_allclose(got, want, atol=1e-4)


def test_the_size_of_the_critic():
  shapes = jax.eval_shape(
      PatchCritic().init, jax.random.key(0), jnp.zeros((1, 48, 80))
  )
  want = 4 * 4 * (64 + 64 * 128 + 128 * 256 + 256 * 512 + 512) + 961
  assert parameters(shapes) == want + 2 * (128 + 256 + 512)


def test_what_does_not_change_has_no_ends_if_they_are_held():
  still = jnp.broadcast_to(jnp.linspace(-2.0, 3.0, 6), (1, 16, 6))
  moved = {}
  for ends in ('hold', 'zeros'):
    net = vae.Autoencoder(
        6, width=4, multiples=(1, 2), blocks=1, latent=3, groups=2, ends=ends
    )

    def run(net=net):
      return net.apply(net.init(jax.random.key(0), still), still)

    made = jax.jit(run)()
    assert made.shape == still.shape
    moved[ends] = jnp.ptp(made, axis=1).max()
  assert moved['hold'] < 1e-4 < 1e-2 < moved['zeros']
