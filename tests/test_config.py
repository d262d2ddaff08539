"""From a config to parts: overlays, lengths in epochs, and messages."""

import types

from experiments import skeleton_amass
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from diffax import config as configs
from diffax.errors import UserError
from diffax.systems.base import System
from diffax.systems.base import Variables
from diffax.train import loop


def two_stages():
  """Return a config with a shared and an own value in each section."""
  config = ml_collections.ConfigDict()
  config.seed = 4
  config.stages = ('first', 'second')
  config.data = {'name': 'toy', 'size': 3}
  config.system = {'width': 8, 'depth': 2}
  config.ema = {'decay': 0.5}
  config.checkpoint = {'every': 5}
  config.first = {
      'epochs': 6, 'batch_size': 4, 'seed': 9,
      'system': {'name': 'toy', 'depth': 7},
      'data': {'curriculum': {'ramp': 2, 'floor_ramp': 3, 'start': 1}},
      'optim': {
          'name': 'adam',
          'schedule': {
              'name': 'step_decay', 'value': 0.1, 'hold': 2, 'every': 1,
              'factor': 0.5,
          },
      },
  }
  config.second = {'steps': 11, 'batch_size': 2, 'system': {'name': 'toy'}}
  return config


def builder(info, width, depth=1, *, dtype='float32'):
  return info, width, depth, dtype


def test_build_joins_and_passes_the_section():
  section = {'name': 'a', 'width': 3, 'dtype': 'bfloat16'}
  built = configs.build({'a': builder}, section, 'system', info='i')
  assert built == ('i', 3, 1, 'bfloat16')
  assert section['name'] == 'a'


@pytest.mark.parametrize(
    'section, message',
    [
        ({'name': 'b'}, r"config.system.name: expected one of \['a'\]"),
        ({'width': 1}, r"config.system.name: .* found None"),
        (
            {'name': 'a', 'widht': 3},
            r"config.system.widht: 'a' has no such setting. Did you mean "
            r"'width'\? It has \['depth', 'dtype', 'width'\]",
        ),
        ({'name': 'a', 'zzz': 3}, r"zzz: 'a' has no such setting. It has"),
        ({'name': 'a'}, r"config.system: 'a' needs \['width'\]"),
    ],
)
def test_build_names_what_is_wrong(section, message):
  with pytest.raises(UserError, match=message):
    configs.build({'a': builder}, section, 'system', info=None)


def test_a_stage_overlays_the_shared_sections():
  settings = configs.stage(two_stages(), 'first')
  assert settings['system'] == {'width': 8, 'depth': 7, 'name': 'toy'}
  assert settings['data']['size'] == 3
  assert settings['seed'] == 4 + 9
  assert settings['epochs'] == 6 and settings['steps'] is None
  assert settings['ema'] == {'decay': 0.5}
  assert settings['checkpoint'] == {'every': 5}
  assert settings['pretrained'] == {}


def test_stages_do_not_share_what_is_their_own():
  config = two_stages()
  settings = configs.stage(config, 'second')
  assert settings['system'] == {'width': 8, 'depth': 2, 'name': 'toy'}
  assert 'curriculum' not in settings['data']
  assert settings['seed'] == 4
  assert settings['optim'] == {}


@pytest.mark.parametrize('name', ['third', 'data'])
def test_a_stage_that_is_not_listed_is_refused(name):
  with pytest.raises(UserError, match=f"config.stages: .* found '{name}'"):
    configs.stage(two_stages(), name)


def test_a_stage_with_an_unknown_key_is_refused():
  config = two_stages()
  config.first.epoch = 3
  with pytest.raises(UserError, match=r"config.first: unknown \['epoch'\]"):
    configs.stage(config, 'first')


def test_a_stage_without_a_batch_size_is_refused():
  config = two_stages()
  del config.second.batch_size
  with pytest.raises(UserError, match='config.second.batch_size: expected'):
    configs.stage(config, 'second')


def test_lengths_in_epochs_become_steps():
  settings = configs.stage(two_stages(), 'first')
  found = configs.in_steps(settings, 100)
  assert found['steps'] == 600 and found['epochs'] is None
  schedule = found['optim']['schedule']
  assert (schedule['hold'], schedule['every']) == (200, 100)
  assert (schedule['value'], schedule['factor']) == (0.1, 0.5)
  assert found['data']['curriculum'] == {
      'ramp': 200, 'floor_ramp': 300, 'start': 1
  }
  assert settings['optim']['schedule']['hold'] == 2


def toy_system(info, width, depth, dim=3):
  """Fit w to its frozen target; `info` and `depth` are only recorded."""

  def init(key, batch):
    del key, batch
    frozen = {'part': {'w': jnp.zeros((dim,))}} if depth == 2 else {}
    return Variables({'w': jnp.ones((dim,))}, frozen)

  def loss(params, frozen, batch, key):
    del frozen, batch, key
    return jnp.sum(params['w'] ** 2) * width, {'epoch': jnp.float32(info)}

  return System(init, loss, lambda *_: {})


def toy_source(seed, batch_size, size, curriculum=None):
  def train(step):
    draw = np.random.default_rng([seed, step])
    return {'x': draw.normal(size=(batch_size, 2)).astype(np.float32)}

  del curriculum
  return types.SimpleNamespace(
      info={'epoch_size': size * 3 + 1}, train=train
  )


@pytest.fixture
def toys(monkeypatch):
  """Put a toy source and system where the real ones stand."""
  monkeypatch.setattr(configs.data, 'SOURCES', {'toy': toy_source})
  monkeypatch.setattr(
      configs.systems, 'SYSTEMS',
      {'toy': lambda info, width, depth: toy_system(1, width, depth)},
  )


def test_an_epoch_is_the_source_s_rounded_up(toys):
  del toys
  settings, _, _ = configs.parts(configs.stage(two_stages(), 'first'))
  # 10 items in batches of 4.
  assert settings['steps'] == 6 * 3
  assert settings['optim']['schedule']['hold'] == 2 * 3


def test_a_given_epoch_length_wins(toys):
  del toys
  config = two_stages()
  config.first.epoch_steps = 580
  settings, _, _ = configs.parts(configs.stage(config, 'first'))
  assert settings['steps'] == 6 * 580
  assert settings['data']['curriculum']['ramp'] == 2 * 580


def test_steps_stay_as_they_are(toys):
  del toys
  settings, source, _ = configs.parts(configs.stage(two_stages(), 'second'))
  assert settings['steps'] == 11
  assert source.train(0)['x'].shape == (2, 2)


def test_a_stage_without_a_length_is_refused(toys):
  del toys
  config = two_stages()
  config.second.steps = None
  with pytest.raises(UserError, match='needs `steps` or `epochs`'):
    configs.parts(configs.stage(config, 'second'))


def train_first(workdir, dim=3):
  """Train a part of `dim` numbers into a folder of two steps."""
  loop.fit(
      toy_system(1, 1.0, 1, dim), toy_source(0, 8, 1).train,
      name='first', seed=0, steps=2, log_every=1, workdir=workdir / 'first',
      optim={'name': 'adam', 'schedule': {'name': 'constant', 'value': 0.1}},
      ema={'decay': 0.5, 'every': 1, 'start': 0},
      checkpoint={'every': 2, 'keep': 1},
  )


def shapes(dim=3):
  return {'part': {'w': jax.ShapeDtypeStruct((dim,), jnp.float32)}}


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  """Return the folder of a run whose stage `first` is trained."""
  workdir = tmp_path_factory.mktemp('run')
  train_first(workdir)
  return workdir


def test_frozen_parts_come_from_an_earlier_stage(trained):
  found = configs.frozen({'pretrained': {'part': 'first'}}, trained, shapes())
  assert found['part']['w'].shape == (3,)
  assert np.all(found['part']['w'] < 0.9)


def test_frozen_parts_come_from_a_folder(trained, tmp_path):
  place = str(trained / 'first')
  found = configs.frozen({'pretrained': {'part': place}}, tmp_path, shapes())
  near = configs.frozen({'pretrained': {'part': 'first'}}, trained, shapes())
  np.testing.assert_array_equal(found['part']['w'], near['part']['w'])


def test_frozen_parts_of_another_shape_are_refused(trained):
  with pytest.raises(
      UserError,
      match=r"first: weights of another model. .*'w'.*\(5,\), found \(3,\)",
  ):
    configs.frozen({'pretrained': {'part': 'first'}}, trained, shapes(5))


def test_a_part_that_is_not_named_is_refused(tmp_path):
  with pytest.raises(UserError, match=r"expected the parts \['part'\], found"):
    configs.frozen({'pretrained': {}}, tmp_path, shapes())


def test_a_part_that_is_not_trained_is_refused(tmp_path):
  with pytest.raises(
      UserError, match="config.pretrained.part: .* found 'first'; neither"
  ):
    configs.frozen({'pretrained': {'part': 'first'}}, tmp_path, shapes())


def test_a_folder_without_a_checkpoint_is_refused(tmp_path):
  (tmp_path / 'first').mkdir()
  with pytest.raises(UserError, match='expected a checkpoint, found none'):
    configs.frozen({'pretrained': {'part': 'first'}}, tmp_path, shapes())


def test_shapes_that_are_missing_or_too_many_are_named():
  leaf = np.zeros(2)
  with pytest.raises(UserError) as found:
    configs.check_shapes(
        {'a': leaf, 'b': leaf}, {'b': leaf, 'c': leaf}, 'weights.npz'
    )
  message = str(found.value)
  assert "['a']: expected None, found (2,)" in message
  assert "['c']: expected (2,), found None" in message
  assert "['b']" not in message


def test_the_config_is_written_as_it_runs(tmp_path):
  config = two_stages()
  configs.save(config, tmp_path / 'run')
  text = (tmp_path / 'run/config.json').read_text()
  assert '"stages": [' in text and '"size": 3' in text


def test_a_workdir_that_cannot_be_made_is_named(tmp_path):
  (tmp_path / 'taken').write_text('')
  with pytest.raises(UserError, match='--workdir .*taken/run: cannot write'):
    configs.save(two_stages(), tmp_path / 'taken/run')


def test_the_seed_of_a_run_moves_those_of_its_stages():
  config = two_stages()
  seeds = {}
  for seed in (0, 4):
    config.seed = seed
    seeds[seed] = [configs.stage(config, s)['seed'] for s in config.stages]
  assert seeds == {0: [9, 0], 4: [13, 4]}


@pytest.mark.parametrize('variant', ['', 'brief', 'smoke'])
def test_seeds_of_a_study_train_other_networks(variant):
  config = skeleton_amass.get_config(variant)
  found = []
  for config.seed in (0, 1):
    found.append([configs.stage(config, s)['seed'] for s in config.stages])
  assert all(a != b for a, b in zip(*found))
