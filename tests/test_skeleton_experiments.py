"""SkeletonDiffusion's cards: every variant builds, at the printed sizes."""

import importlib
import pathlib

from experiments import skeleton_amass
from experiments import skeleton_tables
import jax
import pytest

from diffax import benchmark
from diffax import config as configs
from diffax import study
from diffax.body import skeletons

# Variants with other networks.
SIZED = (
    'no_attention', 'tuned_past', 'latent_noise', 'budget', 'brief', 'smoke',
)
# Of each card: the skeleton, the frames of past and future, the parameters of
# autoencoder and diffusion.
CARDS = {
    'amass': (skeletons.AMASS21, 30, 120, 2_100_207, 32_135_979),
    '3dpw': (skeletons.AMASS21, 30, 120, 2_100_207, 32_135_979),
    'h36m': (skeletons.H36M16, 25, 100, 1_055_902, 25_501_184),
    'freeman': (skeletons.FREEMAN17, 15, 60, 950_722, 23_292_899),
    'hands': (skeletons.AMASS51, 30, 120, 6_955_977, 98_494_779),
    'cmu': (skeletons.AMASS21, 30, 120, 2_100_207, 32_135_979),
    'bandai': (skeletons.AMASS21, 15, 60, 2_100_207, 32_135_979),
}


def card(name, variant=''):
  module = importlib.import_module(f'experiments.skeleton_{name}')
  return module.get_config(variant)


def parameters(name, variant=''):
  """Return the parameters of both stages, found without making any."""
  skeleton, past, future = CARDS[name][:3]
  config = card(name, variant)
  assert config.data.get('skeleton', skeleton.name) in (skeleton.name, None)
  step = config.data.fps / 60 if name in ('amass', 'cmu') else 1
  past, future = round(past * step), round(future * step)
  info = {'skeleton': skeleton, 'past': past, 'future': future, 'fps': 60.0}
  if config.eval.get('data', {}).get('test_future_seconds'):
    info['test_future'] = future * 5 // 2
  nodes = skeleton.num_nodes
  batch = {
      'past': jax.ShapeDtypeStruct((2, past, nodes, 3), 'float32'),
      'future': jax.ShapeDtypeStruct((2, future, nodes, 3), 'float32'),
  }
  found = []
  for stage in config.stages:
    system = configs.system(configs.stage(config, stage), info)
    made = jax.eval_shape(system.init, jax.random.key(0), batch)
    found.append(benchmark.count(made.params))
  return tuple(found)


@pytest.mark.parametrize('name', CARDS)
def test_the_printed_sizes(name):
  assert parameters(name) == CARDS[name][3:]


@pytest.mark.parametrize('variant', skeleton_amass.VARIANTS)
def test_every_variant_builds(variant):
  autoencoder, diffusion = parameters('amass', variant)
  if variant == 'small':
    assert round((autoencoder + diffusion) / 1e6) == 9
  elif variant not in SIZED:
    assert (autoencoder, diffusion) == CARDS['amass'][3:]
  parameters('cmu', f'brief,{variant}')


def test_data_of_the_evaluation_add_up():
  data = card('3dpw', 'noisy').eval.data
  assert data.name == '3dpw' and data.test_noise.kind == 'gaussian'
  assert card('3dpw', 'long').eval.data.test_stride_seconds == 0.5


@pytest.mark.filterwarnings('ignore:the load_module')
@pytest.mark.parametrize('name', skeleton_tables.TABLES)
def test_tables_name_runs_that_exist(name):
  config = skeleton_tables.get_config(f'{name},bandai,brief').to_dict()
  runs = {run['name']: run for run in config['runs']}
  for table in config['tables']:
    for place in study.places(table, list(runs)).values():
      assert place.row in runs
  for each in study.expand(config, pathlib.Path('w')):
    study.resolve(each)
  order = list(runs)
  for own, run in runs.items():
    path, _, variant = run['config'].partition(':')
    mine = importlib.import_module(
        path.removesuffix('.py').replace('/', '.')
    ).get_config(variant)
    for stage, base in run['reuse'].items():
      assert order.index(base) < order.index(own)
      path, _, variant = runs[base]['config'].partition(':')
      other = importlib.import_module(
          path.removesuffix('.py').replace('/', '.')
      ).get_config(variant)
      theirs, ours = (configs.stage(c, stage) for c in (other, mine))
      for settings in (theirs, ours):
        # What a trained run may change.
        for key in ('sampler', 'bones', 'continuation'):
          settings['system'].pop(key, None)
      assert theirs == ours


@pytest.mark.parametrize('option', ['smoke', 'brief', 'budget'])
def test_the_steps_of_figure_11_are_kept(option):
  config = skeleton_tables.get_config(f'figure11,cmu,{option}')
  last = card('cmu', option).diffusion.steps
  for run in config.runs:
    every, keep = (run['set'][f'checkpoint.{k}'] for k in ('every', 'keep'))
    step = run['set'].get('eval.step', last)
    assert step <= last <= every * keep and step % every == 0


@pytest.mark.parametrize('variant', ['', 'cmu', 'table4,cmu,amass', 'table0'])
def test_studies_without_a_table_or_of_two_sets_are_refused(variant):
  with pytest.raises(KeyError):
    skeleton_tables.get_config(variant)
