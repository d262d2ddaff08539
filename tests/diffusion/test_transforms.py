"""Every kernel under jit, vmap, grad and pmap; gradients free of NaN."""

from absl.testing import parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from diffax.diffusion import covariance
from diffax.diffusion import gaussian
from diffax.diffusion import guidance
from diffax.diffusion import losses
from diffax.diffusion import process
from diffax.diffusion import samplers
from diffax.diffusion import schedules

STEPS = 10
BETAS = schedules.cosine(STEPS)
CHAIN = np.eye(5, k=1) + np.eye(5, k=-1)
NONISOTROPIC = process.nonisotropic(
    BETAS, BETAS, covariance.covariance(CHAIN), 0, 2)
ISOTROPIC = process.isotropic(BETAS, 2)
PER_AXIS = process.per_axis(
    np.stack([schedules.linear(STEPS, 1e-4, stop) for stop in (.1, .2, .3)],
             1), 1, 2)
PROCESSES = {
    'nonisotropic': NONISOTROPIC, 'isotropic': ISOTROPIC, 'per_axis': PER_AXIS}
SAMPLERS = {
    'ddpm': samplers.ddpm(), 'ddim': samplers.ddim(.5),
    'dpm1': samplers.dpm_solver_pp(1), 'dpm2': samplers.dpm_solver_pp(2)}


def shrink(x, t):
  return x / (1 + t[:, None, None])


def expert(x, t, condition):
  base = shrink(x, t)
  return base if condition is None else base + .1 * condition


def sampler_step(sampler):
  def kernel(forward, x, y, t):
    s, t = forward.at(t - 1), forward.at(t)
    return sampler.step(jax.random.key(0), y, x, s, t, sampler.init(x, t))[0]

  return kernel


def sampling(sampler):
  def kernel(forward, x, y, t):
    denoise = guidance.clip_x0(lambda x, t: shrink(x, t) + y)
    return samplers.reverse(
        jax.random.key(0), forward, denoise, sampler, np.array([10, 3, 1, 0]),
        x)

  return kernel


def pairwise(forward, x, y, t):
  return guidance.cross(expert, expert, 2., 5)((x, y), t)[0]


KERNELS = {
    'diffuse': lambda p, x, y, t: gaussian.diffuse(x, y, p.at(t)),
    'step': lambda p, x, y, t: gaussian.step(x, y, p.at(t - 1), p.at(t)),
    'corrupt': lambda p, x, y, t: gaussian.corrupt(p, x, y, t),
    'posterior': lambda p, x, y, t: gaussian.posterior(
        x, y, p.at(t - 1), p.at(t))[0],
    'to_noise': lambda p, x, y, t: gaussian.to_noise(x, y, p.at(t)),
    **{f'to_x0_{kind}': lambda p, x, y, t, kind=kind: gaussian.to_x0(
        kind, x, y, p.at(t)) for kind in gaussian.KINDS},
    **{f'target_{kind}': lambda p, x, y, t, kind=kind: gaussian.target(
        kind, x, y, p.at(t)) for kind in gaussian.KINDS},
    'standardise': lambda p, x, y, t: gaussian.standardise(x - y, p.at(t)),
    'mahalanobis': lambda p, x, y, t: gaussian.mahalanobis(
        'velocity', x - y, p.at(t)),
    'posterior_kl': lambda p, x, y, t: gaussian.posterior_kl(
        'noise', x - y, p.at(t - 1), p.at(t)),
    'start_noise': lambda p, x, y, t: x + gaussian.start_noise(
        jax.random.key(0), p.at(t), x.shape, 'matched'),
    **{f'loss_{norm}': lambda p, x, y, t, norm=norm: losses.mahalanobis(
        p, x - y, t, norm, 'snr') for norm in losses.NORMS},
    'kl_normal': lambda p, x, y, t: losses.kl_normal(x, y),
    'best_of': lambda p, x, y, t: x * losses.best_of(
        lambda a, c: jnp.sum((a[None] - c) ** 2, (2, 3)), x,
        jnp.stack([y, x, -y])).candidate,
    'in_basis': lambda p, x, y, t: guidance.in_basis(shrink, p)(x, t),
    'clip_x0': lambda p, x, y, t: guidance.clip_x0(shrink)(x, t),
    'classifier_free': lambda p, x, y, t: guidance.classifier_free(
        shrink, lambda x, t: y, 2.)(x, t),
    'cross': pairwise,
    'inpaint': lambda p, x, y, t: guidance.inpaint(shrink, y, y > 0)(x, t),
    **{f'step_{name}': sampler_step(s) for name, s in SAMPLERS.items()},
    **{f'sample_{name}': sampling(s) for name, s in SAMPLERS.items()},
}


def inputs(t):
  x, y = jax.random.normal(jax.random.key(3), (2, len(t), 5, 3))
  return x, y, jnp.array(t)


class TransformTest(chex.TestCase):

  @chex.variants(with_jit=True, with_device=True, with_pmap=True)
  @parameterized.named_parameters(
      *((name, name) for name in KERNELS if not name.startswith('sample')),
      ('sample_ddpm', 'sample_ddpm'), ('sample_dpm2', 'sample_dpm2'))
  def test_variants_agree(self, name):
    def kernel(x, y, t):
      return KERNELS[name](NONISOTROPIC, x, y, t)

    arguments = inputs([1, 4, 10])
    np.testing.assert_allclose(
        self.variant(kernel)(*arguments), kernel(*arguments), rtol=1e-4,
        atol=1e-5)

  @parameterized.named_parameters(*((name, name) for name in KERNELS))
  def test_vmap(self, name):
    arguments = inputs([2, 5, 9, 10])

    def kernel(x, y, t):
      return KERNELS[name](NONISOTROPIC, x, y, t)

    if 'sample' in name or 'step_dd' in name or name == 'start_noise':
      # These draw noise by the shape of the batch: compare with a loop.
      want = jnp.stack([kernel(*(a[i:i + 1] for a in arguments))
                        for i in range(4)])
    else:
      want = kernel(*arguments)[:, None]
    split = jax.tree.map(lambda a: a[:, None], arguments)
    np.testing.assert_allclose(
        jax.vmap(kernel)(*split), want, rtol=1e-4, atol=1e-5)

  @parameterized.parameters(*PROCESSES)
  def test_gradients_are_finite_at_both_ends(self, name):
    forward = PROCESSES[name]

    @jax.jit
    def gradients(x, y, t):
      return {
          key: jax.grad(
              lambda x, y: jnp.sum(jnp.sin(kernel(forward, x, y, t))),
              (0, 1))(x, y)
          for key, kernel in KERNELS.items()}

    x, y, t = inputs([1, STEPS])
    for other in (y, x):  # x = y is where norms have their corner
      for key, grads in gradients(x, other, t).items():
        for grad in jax.tree.leaves(grads):
          assert np.isfinite(grad).all(), key
    used = gradients(x, y, t)
    unused = {key for key, grads in used.items()
              if not any(np.any(grad) for grad in grads)}
    assert not unused, unused

  def test_gradients_match_finite_differences(self):
    x, y, t = inputs([3, 5])
    for name in ('posterior', 'to_x0_velocity', 'loss_norm', 'sample_dpm2'):
      def total(x):
        return jnp.sum(jnp.sin(KERNELS[name](NONISOTROPIC, x, y, t)))

      step = 1e-2
      ahead, behind = (total(x + sign * step * y) for sign in (1, -1))
      numeric = (ahead - behind) / (2 * step)
      analytic = jnp.sum(jax.grad(total)(x) * y)
      np.testing.assert_allclose(analytic, numeric, rtol=3e-2, atol=3e-3)

  def test_the_whole_sampler_under_pmap(self):
    keys = jax.random.split(jax.random.key(0), 2)

    def draw(key):
      return samplers.sample(
          key, NONISOTROPIC, shrink, samplers.ddpm(),
          samplers.timesteps(STEPS, 4), (2, 5, 3))

    want = jnp.stack([draw(key) for key in keys])
    np.testing.assert_allclose(
        jax.pmap(draw)(keys), want, rtol=1e-4, atol=1e-5)
    assert np.abs(want[0] - want[1]).max() > .1
