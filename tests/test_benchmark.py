"""Counting of operations and parameters, timing, the table of a config."""

import functools
import json

from experiments import skeleton_quickstart
import jax
import jax.numpy as jnp
import numpy as np

from diffax import benchmark


def test_counts_parameters():
  tree = {'a': jnp.zeros((2, 3)), 'b': [jnp.zeros(4), jnp.zeros(())]}
  assert benchmark.count(tree) == 6 + 4 + 1


def test_counts_two_operations_per_multiply_add():
  x, w = jnp.zeros((5, 3)), jnp.zeros((3, 7))
  assert benchmark.flops(jnp.matmul, x, w) == 2 * 5 * 3 * 7
  batched = jnp.zeros((4, 5, 3)), jnp.zeros((4, 3, 7))
  assert benchmark.flops(jnp.matmul, *batched) == 4 * 2 * 5 * 3 * 7


def test_counts_convolutions():
  # Of 5 frames and 3 features, 3 taps to 7 features, padded to 5 frames.
  x, kernel = jnp.zeros((2, 5, 3)), jnp.zeros((3, 3, 7))

  def convolve(x, kernel):
    return jax.lax.conv_general_dilated(
        x, kernel, (1,), 'SAME', dimension_numbers=('NHC', 'HIO', 'NHC')
    )

  assert benchmark.flops(convolve, x, kernel) == 2 * (2 * 5 * 7) * (3 * 3)


def test_counts_a_loop_as_often_as_it_runs():
  w = jnp.zeros((3, 3))

  def loop(x):
    body = lambda c, _: (jax.jit(jnp.matmul)(c, w), c)  # noqa: E731
    return jax.lax.scan(body, x, length=9)

  assert benchmark.flops(loop, w) == 9 * 2 * 27


def test_counts_the_backward_pass_and_the_larger_branch():
  w = jnp.ones((3, 3))
  loss = lambda w, x: jnp.sum(x @ w)  # noqa: E731
  # The gradient of a linear map needs one product more, of x with the error.
  assert benchmark.flops(jax.value_and_grad(loss), w, w) == 2 * 2 * 27
  branch = functools.partial(
      jax.lax.cond, True, lambda x: x @ w @ w, lambda x: x
  )
  assert benchmark.flops(branch, w) == 2 * 2 * 27


def test_times_and_peak_are_positive_and_consistent():
  x = jnp.ones((64, 64))
  product = jax.jit(lambda: x @ x)
  assert 0 < benchmark.seconds(product, 3) < 1
  assert benchmark.peak(2) > 1e8


def test_table_of_a_config(tmp_path, monkeypatch):
  monkeypatch.setenv('DIFFAX_STORE', str(tmp_path / 'store'))
  config = skeleton_quickstart.get_config('smoke')
  config.benchmark = {
      'batch_size': {'autoencoder': 2, 'diffusion': 2}, 'pasts': 1, 'repeats': 1
  }
  rows = benchmark.run(config, tmp_path)
  assert json.loads((tmp_path / 'benchmark.json').read_text()) == rows
  stages = rows['stages']
  # What the diffusion holds frozen is what the autoencoder trains.
  assert stages['diffusion']['frozen'] == stages['autoencoder']['params'] > 0
  for stage in stages.values():
    for timing in stage['timings'].values():
      assert timing['flops'] > 0 and timing['seconds'] > 0
      np.testing.assert_allclose(
          timing['share_of_peak'],
          timing['flops'] / timing['seconds'] / rows['peak_gflops'] / 1e9,
      )
