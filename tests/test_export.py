"""Exported folders: alone, whole, and bit for bit what the run samples."""

import json
import os
import pathlib
import pickle
import re
import shutil
import subprocess
import sys
from typing import NamedTuple

from absl import flags
from absl.testing import flagsaver
from experiments import imu_synthetic
from experiments import lambda_lorenz
from experiments import momu_joint
from experiments import skeleton_quickstart
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

import diffax
from diffax import config as configs
from diffax import export
from diffax import main
from diffax import trained
from diffax.body.skeletons import AMASS21
from diffax.data import audio
from diffax.data import base
from diffax.data import bvh
from diffax.data import folders
from diffax.data import imu_signals
from diffax.errors import DataError
from diffax.errors import UserError
from diffax.export import codec
from diffax.export import layout
from diffax.export import samplers
from diffax.export import weights
from diffax.sampling import voices
from diffax.systems import vocoder
from diffax.train import checkpoint
from diffax.train.state import TrainState

ROOT = pathlib.Path(__file__).parents[1]
SEED = 7
# ml_collections loads cards with a method that newer Pythons deprecate.
pytestmark = pytest.mark.filterwarnings('ignore:the load_module')


class Run(NamedTuple):
  """A run whose weights are numbers drawn at random, and its export."""

  found: trained.Parts
  folder: pathlib.Path


def skeleton():
  config = skeleton_quickstart.get_config('smoke')
  config.data.options = {'persons': 6, 'seconds': 6.0}
  config.diffusion.system.denoiser.depth = 1
  config.system.encoder_layers = 1
  return config


def lambda_twin():
  config = lambda_lorenz.get_config('smoke')
  config.data.update({'steps': 1500, 'length': 40})
  return config


def imu():
  config = imu_synthetic.get_config('smoke')
  config.data.update({
      'classes': tuple(imu_signals.ACTIVITIES)[:2], 'people': 3,
      'seconds': 16.0,
  })
  config.system.conditional = True
  config.diffusion.batch_size = 8
  return config


def momu():
  config = momu_joint.get_config('smoke')
  config.data.update({
      'tracks': 24, 'track_seconds': 4.0, 'limit': 4, 'seconds': 2.0,
  })
  config.diffusion.system.update({'tasks': ('music',), 'guidance': 1.0})
  return config


# A vocoder whose weights lie elsewhere, as `experiments/vocoder.py` trains it.
VOICE = {
    'rates': (16, 16), 'kernels': (32, 32), 'width': 8, 'blocks': (3,),
    'dilations': ((1,),), 'pairs': False,
}


def save_voice(folder):
  """Write the checkpoint of a vocoder and name it as a config would."""
  init = vocoder.bigvgan(size=VOICE).init
  drawn = draw(jax.eval_shape(init, jax.random.key(0)), 3)
  judges = {'x': jnp.ones(2)}
  save_checkpoint(folder, {}, {'generator': drawn, 'judges': judges})
  return {'name': 'bigvgan', 'weights': str(folder), 'size': VOICE}


def draw(shapes, seed):
  """Return a tree of small numbers above 0, as scales have to be."""
  rng = np.random.default_rng(seed)
  return jax.tree.map(
      lambda x: jnp.asarray(rng.uniform(0.01, 0.2, x.shape), jnp.float32),
      shapes
  )


def save_checkpoint(folder, params, ema):
  none = jnp.zeros((), jnp.int32)
  state = TrainState(
      none + 4, params or {'none': none}, {}, ema, {'none': none}, none
  )
  with checkpoint.Saver(folder, 1) as saver:
    saver.save(state)
    saver.wait()


SYSTEMS = {
    'skeleton': skeleton, 'lambda_twin': lambda_twin, 'imu': imu, 'momu': momu,
}


def save_weights(config, workdir):
  """Write every stage's checkpoint as training would, without training."""
  last = config.stages[-1]
  settings = configs.stage(config, last)
  source = configs.source(settings)
  shapes = trained.shapes(configs.system(settings, source.info), source)
  earlier = {settings['pretrained'][k]: v for k, v in shapes.frozen.items()}
  trees = {**earlier, last: shapes.params}
  for number, (name, tree) in enumerate(trees.items()):
    save_checkpoint(workdir / name, draw(tree, number), draw(tree, 9 + number))


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
  """Return a function that makes the run of a system, once."""
  made = {}

  def get(name):
    if name not in made:
      place = tmp_path_factory.mktemp(name)
      with pytest.MonkeyPatch.context() as patch:
        patch.setenv('DIFFAX_STORE', str(place / 'store'))
        config = SYSTEMS[name]()
        if name == 'momu':
          config.eval.vocoder = save_voice(place / 'voice')
        if name != 'skeleton':
          # Lowering takes seconds; theirs is seen in the slow test.
          patch.setattr(samplers, '_export', described)
          patch.setattr(samplers, 'write', lambda *_: False)
        save_weights(config, place / 'run')
        model = trained.parts(config, place / 'run')
        patch.setattr(trained, 'parts', lambda *_: model)
        export.save(config, place / 'run', place / 'sent')
      made[name] = Run(model, place / 'sent')
    return made[name]

  return get


def described(model, name, size, inputs):
  """Return what a sampler takes, without the program."""
  del model
  return samplers.Sampler(name, size, inputs, {}), None


def batch_of(name, found, size=2):
  """Return what a system is asked, by the way it is asked."""
  info, rng = found.source.info, np.random.default_rng(1)

  def normal(*shape):
    return rng.normal(size=shape).astype(np.float32)

  if name == 'skeleton':
    return 'futures', {'past': normal(size, info['past'], 21, 3)}
  if name == 'lambda_twin':
    return 'x_given_y', {'y': normal(size, info['length'], 1)}
  if name == 'imu':
    return 'windows', {'label': np.array([1, 0, 0, 1], np.int32)}
  return 'motion_to_music', {'motion': normal(1, info['frames'], 28)}


def arrays_of(made):
  return {name: np.asarray(value) for name, value in made.items()}


_SAMPLED = {}


def sampled(found, batch):
  """Return what the run itself draws."""
  asked = id(found), tuple(x.tobytes() for x in batch.values())
  if asked not in _SAMPLED:
    made = trained.bind(found).sample(batch, jax.random.key(SEED))
    _SAMPLED[asked] = arrays_of(made)
  return _SAMPLED[asked]


def start(script, *arguments, **variables):
  """Start a script in a process that knows no data and no store."""
  env = {
      name: value for name, value in os.environ.items()
      if not name.startswith('DIFFAX')
  }
  path = {'PYTHONPATH': str(ROOT), 'DIFFAX_STORE': '/nowhere', **variables}
  return subprocess.Popen(
      [sys.executable, '-c', script, *map(str, arguments)],
      stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd='/',
      env={**env, **path},
  )


def finish(process):
  """Wait for a script and return what it printed."""
  with process:
    try:
      out, errors = process.communicate(timeout=500)
    except subprocess.TimeoutExpired:
      process.kill()
      raise
  assert process.returncode == 0, errors
  return out


def alone(script, *arguments, **variables):
  """Run a script; see `start`."""
  return finish(start(script, *arguments, **variables))


LOADS = """
import pathlib, sys
import jax
import numpy as np
import diffax
assert 'jax' in sys.modules and 'diffax.export' not in sys.modules
for folder in map(pathlib.Path, sys.argv[2:]):
  model = diffax.load_pretrained(folder / 'sent')
  with np.load(folder / 'asked.npz') as asked:
    made = model.sample(dict(asked), jax.random.key(int(sys.argv[1])))
  np.savez(folder / 'made.npz', **{k: np.asarray(v) for k, v in made.items()})
"""


def check_alone(places):
  """Compare runs with their folders in a fresh process, bit for bit."""
  asked = {name: batch_of(name, found)[1] for name, (found, _, _)
           in places.items()}
  for name, (_, folder, place) in places.items():
    np.savez(place / 'asked.npz', **asked[name])
    # What was sent is not where it was made.
    shutil.copytree(folder, place / 'sent')
  process = start(LOADS, SEED, *(place for _, _, place in places.values()))
  # Meanwhile, here:
  expected = {
      name: sampled(found, asked[name])
      for name, (found, _, _) in places.items()
  }
  finish(process)
  for name, (_, _, place) in places.items():
    with np.load(place / 'made.npz') as made:
      assert set(made) == set(expected[name])
      for part, value in expected[name].items():
        assert np.isfinite(value).all() and value.std() > 0, (name, part)
        np.testing.assert_array_equal(made[part], value, f'{name} {part}')


def test_a_folder_alone_samples_bit_for_bit_as_the_run(runs, tmp_path):
  places = {}
  for name in SYSTEMS:
    found, folder = runs(name)
    (tmp_path / name).mkdir()
    places[name] = found, folder, tmp_path / name
  check_alone(places)


def test_a_vocoder_goes_along(runs):
  found, folder = runs('momu')
  mine = found.config.eval.vocoder.to_dict()
  sent = export.load(folder).config.eval.vocoder.to_dict()
  assert sent['weights'] == str(folder / 'vocoder')
  assert vocoder.size_of(sent['size']) == vocoder.size_of(mine['size'])
  assert 'BigVGAN' in voices.voice(sent).name
  theirs, ours = (
      checkpoint.load(pathlib.Path(x['weights']), 'ema')[0]
      for x in (mine, sent)
  )
  assert set(theirs) == {'generator', 'judges'} and set(ours) == {'generator'}
  jax.tree.map(
      np.testing.assert_array_equal, ours['generator'], theirs['generator']
  )


@pytest.mark.parametrize('name', SYSTEMS)
def test_nothing_of_this_machine_is_in_a_folder(name, runs):
  _, folder = runs(name)
  for path in folder.glob('*'):
    if path.is_file():
      assert str(folder.parent).encode() not in path.read_bytes(), path.name


def test_info_comes_back_as_it_was(runs):
  for name in SYSTEMS:
    found, folder = runs(name)
    arrays = weights.read_arrays(folder / layout.ARRAYS)
    text = json.loads((folder / layout.INFO).read_text())
    info = codec.decode(text, arrays, layout.INFO)['info']
    want = {k: v for k, v in found.source.info.items() if k in info}
    assert jax.tree.structure(info) == jax.tree.structure(want)
    for ours, theirs in zip(jax.tree.leaves(info), jax.tree.leaves(want)):
      assert type(ours) is type(theirs)
      np.testing.assert_array_equal(ours, theirs)
  kept = set(info)
  assert not kept & {'store', 'manifest', 'dances'}
  assert list(info['motion']) == list(want['motion'])


def test_nothing_is_unpickled(runs, monkeypatch):
  def refuse(*args, **kwargs):
    raise AssertionError('unpickled')

  _, folder = runs('lambda_twin')
  for name in ('load', 'loads', 'Unpickler'):
    monkeypatch.setattr(pickle, name, refuse)
  model = diffax.load_pretrained(str(folder))
  monkeypatch.undo()
  assert model.config.eval.name == 'crossmodal'
  for call in (lambda: model.source.train(0),
               lambda: model.source.segments('test')):
    with pytest.raises(UserError, match=f'{folder}: an exported model has no'):
      call()
  rows = model.source.segments('train')
  assert rows['x'].shape == (0, 40, 1) and rows['x'].dtype == np.float32


def test_importing_the_package_costs_nothing():
  out = alone('import sys, diffax; print("jax" in sys.modules)')
  assert out.strip() == 'False'


def test_samplers_take_any_batch_where_the_system_can(runs):
  found, _ = runs('skeleton')
  (sampler, program), = samplers.make(found)
  assert sampler.name == 'futures' and sampler.batch is None
  assert program.platforms == ('cpu', 'cuda', 'tpu')
  tree, _ = weights.flatten(found.weights._asdict())
  numbers = np.array([0, SEED], np.uint32)
  np.testing.assert_array_equal(
      jax.random.key_data(jax.random.key(SEED)), numbers
  )
  for size in (1, 3):
    _, batch = batch_of('skeleton', found, size)
    made = jax.eval_shape(program.call, tree, numbers, batch)
    assert made['motion'].shape[0] == size
  _, batch = batch_of('skeleton', found)
  made = arrays_of(program.call(tree, numbers, batch))
  for name, value in sampled(found, batch).items():
    np.testing.assert_allclose(made[name], value, atol=1e-5)


@pytest.mark.parametrize('name', SYSTEMS)
def test_the_card_says_how_to_sample(name, runs):
  found, folder = runs(name)
  text = (folder / 'README.md').read_text()
  system = found.settings['system']['name']
  assert f'# {system} on {found.source.info["name"]}' in text
  count = sum(x.size for x in jax.tree.leaves(found.weights.params))
  assert f'| trained in this stage | {count:,} |' in text
  assert ('windows of the training data' in text) == (name == 'imu')
  made_here = name in ('momu', 'skeleton')
  said = 'as diffax' if made_here else 'not stated in the manifest'
  assert f'Licence of the data: {said}' in text
  way, _ = batch_of(name, found)
  lines = {block.partition('\n')[0] for block in text.split('```python')[1:]}
  assert lines and way in text
  for block in re.findall(r'```python\n(.*?)```', text, re.S):
    compile(block, 'README.md', 'exec')


def test_metrics_stand_in_the_folder_and_on_the_card(
    runs, tmp_path, monkeypatch
):
  found, _ = runs('skeleton')
  rows = {'model': {'ADE': {'mean': 0.5, 'std': float('nan'), 'n': 96}},
          'Zero': {'ADE': {'mean': 0.7, 'std': 0.1, 'n': 96}}}
  (tmp_path / 'metrics.json').write_text(json.dumps(rows))
  monkeypatch.setattr(trained, 'parts', lambda *_: found)
  way = samplers.Sampler('futures', None, {}, {})
  monkeypatch.setattr(samplers, 'make', lambda _: [(way, None)])
  monkeypatch.setattr(samplers, 'write', lambda *_: False)
  for _ in range(2):
    # The second takes the place of the first.
    export.save(found.config, tmp_path, tmp_path / 'out')
  kept = json.loads((tmp_path / 'out' / 'metrics.json').read_text())
  assert kept['model']['ADE'] == {'mean': 0.5, 'std': None, 'n': 96}
  text = (tmp_path / 'out' / 'README.md').read_text()
  assert '| model / ADE | 0.5 | 96 |' in text and '0.7' not in text
  layout.verify(tmp_path / 'out')
  (tmp_path / 'out' / 'mine.txt').write_text('')
  with pytest.raises(UserError, match='--out .*found mine.txt'):
    export.save(found.config, tmp_path, tmp_path / 'out')


def test_a_run_that_is_not_trained_is_not_exported(tmp_path, monkeypatch):
  monkeypatch.setenv('DIFFAX_STORE', str(tmp_path / 'store'))
  with pytest.raises(UserError, match='expected a trained stage'):
    export.save(lambda_twin(), tmp_path / 'run', tmp_path / 'out')
  assert not (tmp_path / 'out').exists()


FILES = (
    layout.CARD, layout.CONFIG, layout.INFO, layout.ARRAYS, layout.WEIGHTS,
    layout.SAMPLERS, folders.MANIFEST,
)


def flip(path):
  data = bytearray(path.read_bytes())
  middle = len(data) // 2
  # Of text a character that says something.
  places = [i for i, c in enumerate(data) if i >= middle and chr(c).isalnum()]
  data[next(iter(places), middle)] ^= 1
  path.write_bytes(bytes(data))


def cut(path):
  path.write_bytes(path.read_bytes()[:-7])


@pytest.mark.parametrize('harm', [flip, cut, pathlib.Path.unlink])
@pytest.mark.parametrize('file', FILES)
def test_a_broken_file_is_named(file, harm, runs, tmp_path):
  _, folder = runs('lambda_twin')
  place = shutil.copytree(folder, tmp_path / 'sent')
  harm(place / file)
  with pytest.raises(DataError) as found:
    export.load(place)
  assert found.value.file == str(place / file)


def reseal(place, **changes):
  """Write a manifest that is true of the folder as it is now."""
  manifest = json.loads((place / folders.MANIFEST).read_text())
  folders.write_manifest(place, {**manifest, **changes}, manifest['files'])


def test_a_newer_folder_and_none_are_refused(runs, tmp_path):
  _, folder = runs('lambda_twin')
  place = shutil.copytree(folder, tmp_path / 'sent')
  reseal(place, format=2)
  with pytest.raises(DataError, match='at most 1, found 2.*exported by diffax'):
    export.load(place)
  with pytest.raises(UserError, match='--mode=export wrote'):
    export.load(tmp_path / 'nothing')
  with pytest.raises(DataError, match='manifest.json'):
    export.load(tmp_path)


def test_weights_of_another_model_are_refused(runs, tmp_path):
  _, folder = runs('lambda_twin')
  place = shutil.copytree(folder, tmp_path / 'sent')
  arrays = safetensors.numpy.load_file(place / layout.WEIGHTS)
  name = next(k for k in arrays if k.endswith('kernel'))
  arrays[name] = np.zeros((2, 3), np.float32)
  safetensors.numpy.save_file(arrays, place / layout.WEIGHTS)
  with pytest.raises(DataError, match='weights.safetensors'):
    export.load(place)
  reseal(place)
  with pytest.raises(UserError, match='weights.safetensors: weights of anoth'):
    export.load(place)


def test_info_of_an_unknown_form_is_refused(runs, tmp_path):
  _, folder = runs('lambda_twin')
  place = shutil.copytree(folder, tmp_path / 'sent')
  path = place / layout.INFO
  for text, match in (
      ('{"info": {"$set": [1]}, "example": {}}', 'found \\$set.*newer'),
      ('{"info": {"$array": "gone"}}', 'gone: expected an array'),
      ('{"info": {"$skeleton": {"name": 3}}}', 'skeleton: expected a value'),
      ('[]', 'expected a JSON object, found list'),
      ('{', 'expected a JSON object'),
  ):
    path.write_text(text)
    reseal(place)
    with pytest.raises(DataError, match=match) as found:
      export.load(place)
    assert found.value.file == str(path)


def test_values_survive_the_codec():
  value = {
      'tuple': (1, (2.5, None), [True, 'x']), 'nan': float('nan'),
      'inf': -float('inf'), 'odd': {3: 'three', ('a', 1): {}}, '$': {'$x': 1},
      'scalars': (np.float64(0.1), np.float32(0.1), np.int32(-3),
                  np.bool_(True)),
      'array': np.arange(6.0).reshape(2, 3).T, 'text': np.array(['a', 'bcd']),
      'zero': np.array(2, np.int16), 'body': AMASS21, 'exact': 0.1 + 0.2,
  }
  arrays = {}
  text = json.dumps(codec.encode(value, arrays, 'v'), allow_nan=False)
  found = codec.decode(json.loads(text), arrays, 'file')
  assert list(found) == list(value)
  for key in ('tuple', 'inf', 'odd', '$', 'scalars', 'body', 'exact'):
    assert found[key] == value[key], key
  assert [type(x) for x in found['scalars']] == [
      type(x) for x in value['scalars']
  ]
  assert np.isnan(found['nan'])
  for key in ('array', 'text', 'zero'):
    np.testing.assert_array_equal(found[key], value[key])


@pytest.mark.parametrize(
    'value', [len, {1, 2}, np.array([None]), pathlib.Path('x'),
              Run(None, None), b'x']
)
def test_what_has_no_form_is_refused_by_its_place(value):
  with pytest.raises(UserError, match=r'info\.a\.1: expected'):
    codec.encode({'a': (0, value)}, {}, 'info')


def test_trees_survive_a_file(tmp_path):
  strided = np.arange(12, dtype=np.float32).reshape(3, 4).T[::2]
  tree = {'a': {'b': strided, 'empty': {}}, 'c': np.array(1.5), 'none': {}}
  weights.write(tmp_path / 'w', tree)
  found = weights.read(tmp_path / 'w')
  assert jax.tree.structure(found) == jax.tree.structure(tree)
  np.testing.assert_array_equal(found['a']['b'], strided)
  assert found['c'].shape == ()


@pytest.mark.parametrize(
    'tree', [{'a/b': np.zeros(2)}, {3: np.zeros(2)}, {'a': [object()]}]
)
def test_trees_of_another_kind_are_refused(tree):
  with pytest.raises(UserError, match='weights'):
    weights.flatten(tree)


@pytest.fixture
def told():
  """Let a test give flags as on the command line."""
  # Tests of one process share the flags; another may have named a config.
  with flagsaver.flagsaver(config=None):
    yield lambda *given: flags.FLAGS(['main', *given])
  flags.FLAGS.unparse_flags()


def test_a_folder_is_sampled_without_a_config(
    runs, told, tmp_path, monkeypatch
):
  _, folder = runs('skeleton')
  calls = []

  def draw(model, workdir, *, seed, input=None, start=None):
    calls.append((model, workdir, seed, input, start))

  monkeypatch.setattr(main.sampling, 'DRAWERS', {'forecasting': draw})
  monkeypatch.setattr(main.devices, 'keep_memory', lambda: None)
  told('--mode=sample', f'--pretrained={folder}', '--input=walk.bvh',
       '--seed=3', f'--workdir={tmp_path}')
  main.run(['main'])
  (model, place, *rest), = calls
  assert model.source.info['skeleton'] == AMASS21
  assert place == tmp_path / 'samples' and rest == [3, 'walk.bvh', None]


@pytest.mark.parametrize(
    'given, message', [
        (['--mode=train', '--pretrained=x'], '--pretrained: expected with'),
        (['--mode=train', '--seed=3'], '--seed: expected with --mode=sample'),
        (['--mode=sample', '--pretrained=/none'], '/none: expected a folder'),
    ]
)
def test_flags_that_do_not_fit_are_refused(given, message, told, monkeypatch):
  monkeypatch.setattr(main.devices, 'keep_memory', lambda: None)
  told(*given)
  with pytest.raises(UserError, match=message):
    main.run(['main'])


# A process in which this package does not exist runs what the card says.
STRANGER = r"""
import pathlib, re, sys
sys.modules['diffax'] = None
import numpy as np
place, way, seed = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
text = pathlib.Path('README.md').read_text()
code, = re.findall(r'```python\n(from jax.*?)```', text, re.S)
known = {}
exec(code, known)
first = known['made']
program = known['export'].deserialize(
    bytearray(pathlib.Path(f'samplers/{way}.jax').read_bytes())
)
with np.load(place / 'asked.npz') as asked:
  made = program.call(
      known['weights'], np.array([0, seed], np.uint32), dict(asked)
  )
np.savez(place / 'made.npz', **{k: np.asarray(v) for k, v in made.items()})
try:
  import diffax
except ImportError:
  print('alone')
"""


def check_stranger(name, found, folder, place):
  """Compare a program that runs without this package with our sampling."""
  facts = json.loads((folder / layout.SAMPLERS).read_text())
  way, batch = batch_of(name, found)
  size = facts[way]['batch']
  if size != 'any':
    batch = {k: np.resize(v, (size, *v.shape[1:])) for k, v in batch.items()}
  np.savez(place / 'asked.npz', **batch)
  script = f'import os; os.chdir({str(folder)!r})\n{STRANGER}'
  assert 'alone' in alone(script, place, way, SEED, PYTHONPATH='')
  with np.load(place / 'made.npz') as made:
    for part, value in sampled(found, batch).items():
      # Between platforms' branches sums are taken in another order.
      np.testing.assert_allclose(made[part], value, atol=1e-4, rtol=1e-4)


def test_a_sampler_runs_without_this_package(runs, tmp_path):
  check_stranger('skeleton', *runs('skeleton'), tmp_path)


CARDS = {
    'skeleton': skeleton_quickstart, 'lambda_twin': lambda_lorenz,
    'imu': imu_synthetic, 'momu': momu_joint,
}


@pytest.mark.slow
@pytest.mark.parametrize('name', SYSTEMS)
def test_a_trained_run_and_its_folder_agree(name, tmp_path, monkeypatch):
  monkeypatch.setenv('DIFFAX_STORE', str(tmp_path / 'store'))
  config = CARDS[name].get_config('smoke')
  main.train(config, tmp_path / 'run')
  found = trained.parts(config, tmp_path / 'run')
  export.save(config, tmp_path / 'run', tmp_path / 'out')
  places = {name: (found, tmp_path / 'out', tmp_path / 'place')}
  (tmp_path / 'place').mkdir()
  check_alone(places)
  tree, _ = weights.flatten(found.weights._asdict())
  rng = np.random.default_rng(0)
  for sampler, program in samplers.make(found):
    batch = {
        part: rng.integers(0, 2, (sampler.batch or 2, *shape[1:])).astype(dtype)
        for part, (shape, dtype) in sampler.inputs.items()
    }
    made = program.call(tree, np.array([0, SEED], np.uint32), batch)
    for part, value in sampled(found, batch).items():
      np.testing.assert_allclose(made[part], value, atol=1e-4, rtol=1e-4)
  check_stranger(name, found, tmp_path / 'out', tmp_path)


@pytest.mark.slow
def test_a_stranger_draws_futures_and_music_of_a_clip_and_dances_to_a_song(
    runs, tmp_path, monkeypatch
):
  rng = np.random.default_rng(0)
  figure = np.cumsum(rng.normal(size=(22, 3)), 0)
  clip = figure * 1.7 / base.reach(figure[None], AMASS21.parents)
  sway = 0.01 * np.sin(np.arange(90) / 9)[:, None, None]
  bvh.write(
      tmp_path / 'walk.bvh', AMASS21.joints, AMASS21.parents, clip + sway, 30.0
  )
  beat = np.sin(np.arange(48_000) / 9) * (np.arange(48_000) % 8000 < 800)
  audio.write(tmp_path / 'song.wav', 0.5 * beat)
  monkeypatch.setenv('DIFFAX_STORE', str(tmp_path / 'store'))
  config = momu()
  config.diffusion.system.tasks = ('motion',)
  save_weights(config, tmp_path / 'run')
  export.save(config, tmp_path / 'run', tmp_path / 'dancer')
  folders_of = {name: runs(name).folder for name in ('skeleton', 'imu', 'momu')}
  folders_of['dancer'] = tmp_path / 'dancer'
  for name, file, made in (
      ('dancer', 'song.wav', 'music_to_motion.npz'),
      ('momu', 'walk.bvh', 'motion_to_music.wav'),
      ('skeleton', 'walk.bvh', 'futures.npz'),
      ('imu', None, 'windows.npz'),
  ):
    given = [f'--input={tmp_path / file}'] if file else []
    alone(
        'import sys; from absl import app; from diffax import main; '
        'app.run(main.main, flags_parser=main.parse)',
        '--mode=sample', f'--pretrained={folders_of[name]}',
        f'--workdir={tmp_path / "drawn" / name}', *given,
    )
    assert (tmp_path / 'drawn' / name / 'samples' / made).stat().st_size
