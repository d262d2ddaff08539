"""The vocoder's card: every variant builds, at its size."""

from experiments import vocoder as card
import jax
import numpy as np
import pytest

from diffax import config as configs
from diffax.data import waves
from diffax.evaluate import vocoder as evaluation
from diffax.systems import vocoder


@pytest.mark.parametrize('variant, least, most', [
    ('', 0.45e6, 0.47e6), ('large', 112e6, 113e6), ('smoke', 1e3, 2e4),
])
def test_every_variant_builds(variant, least, most):
  settings = configs.stage(card.get_config(variant), 'vocoder')
  samples, count = settings['data']['samples'], settings['batch_size']
  system = configs.build(
      {'vocoder': vocoder.vocoder}, settings['system'], 'system',
      info={'rate': 16000, 'samples': samples},
  )
  batch = {
      'wave': jax.ShapeDtypeStruct((count, samples), np.float32),
      'step': jax.ShapeDtypeStruct((count,), np.int32),
  }
  zeros = {'wave': np.zeros((1, samples), np.float32)}
  params, _ = jax.eval_shape(lambda k: system.init(k, zeros), jax.random.key(0))
  size = sum(leaf.size for leaf in jax.tree.leaves(params['generator']))
  assert least < size < most
  loss, _ = jax.eval_shape(
      system.loss, params, {}, batch, jax.random.key(0)
  )
  assert loss.shape == ()


def test_sections_are_arguments_of_their_builders():
  config = card.get_config('smoke').to_dict()
  for section, function, given in (
      (config['data'], waves.waves, {'seed', 'batch_size'}),
      (config['eval'], evaluation.vocoder,
       {'model', 'seed', 'workdir', 'weights'}),
  ):
    known = set(function.__kwdefaults__ or {}) | given
    assert set(section) - {'name'} <= known
