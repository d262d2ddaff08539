"""Flags and files that do not exist end in one line and status 2."""

import pathlib
import subprocess
import sys

from experiments import momu_joint
from experiments import skeleton_quickstart
import pytest

from diffax import main
from diffax.errors import UserError

ROOT = pathlib.Path(__file__).parents[1]
CARD = f'{ROOT}/experiments/skeleton_cmu.py'

# ml_collections loads cards with a method that newer Pythons deprecate.
pytestmark = pytest.mark.filterwarnings('ignore:the load_module')


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
  # Cards import each other, as in a run from the root of the checkout.
  monkeypatch.syspath_prepend(str(ROOT))


def check(*arguments):
  main.check_overrides(['main', *arguments])


def test_good_overrides_pass():
  check(
      f'--config={CARD}:smoke,isotropic',
      '--config.seed=3',
      '--config.diffusion.system.process.eta=.4',
      '--config.stages=("diffusion",)',
      '--noconfig.seed',
  )


def test_nothing_is_checked_without_a_config():
  check('--config.nonsense=1')


@pytest.mark.parametrize(
    'override, key',
    [
        ('--config.nonsense=1', "'nonsense'"),
        ('--config.diffusion.system.widht=3', "'widht'"),
        ('--config.seed.deeper=3', "'deeper'"),
        ('-config.sed=3', "Did you mean 'seed'?"),
        (
            '--config.diffusion.system.relaxtion=3',
            "Did you mean 'relaxation'?",
        ),
    ],
)
@pytest.mark.parametrize('form', [[f'--config={CARD}'], ['--config', CARD]])
def test_an_unknown_override_is_named(override, key, form):
  with pytest.raises(UserError, match=r'there is no setting') as found:
    check(*form, override)
  assert key in str(found.value)
  assert override.split('=')[0].split('.', 1)[1] in str(found.value)


def test_an_unknown_file_is_named(tmp_path):
  with pytest.raises(UserError, match='absent.py: expected a config file'):
    check(f'--config={tmp_path}/absent.py')


def test_an_unknown_variant_is_named():
  with pytest.raises(UserError, match="cmu.py:tiny: there is no 'tiny'"):
    check(f'--config={CARD}:tiny')


def run(*arguments):
  return subprocess.run(
      [sys.executable, '-m', 'diffax.main', *arguments],
      cwd=ROOT, capture_output=True, text=True, timeout=120,
  )


@pytest.mark.parametrize(
    'arguments, message',
    [
        ([f'--config={CARD}', '--config.nonsense=1'], 'config.nonsense'),
        ([f'--config={CARD}', '--config.seed=abc'], '--config.seed=abc'),
        ([], '--config is needed'),
    ],
)
def test_a_mistake_is_one_line_and_status_2(arguments, message):
  done = run(*arguments)
  assert done.returncode == 2, done.stderr
  lines = [x for x in done.stderr.splitlines() if x.startswith('error: ')]
  assert len(lines) == 1
  assert message in lines[0]
  assert 'Traceback' not in done.stderr


def test_a_stage_that_is_not_trained_is_named(tmp_path):
  done = run(
      f'--config={ROOT}/experiments/skeleton_quickstart.py:smoke',
      '--mode=evaluate', f'--workdir={tmp_path}/run',
  )
  assert done.returncode == 2, done.stderr
  assert f'{tmp_path}/run' in done.stderr
  assert '--mode=train first' in done.stderr
  assert 'Traceback' not in done.stderr


def test_a_workdir_that_is_a_file_is_named(tmp_path):
  place = tmp_path / 'taken'
  place.write_text('')
  done = run(f'--config={CARD}', f'--workdir={place}')
  assert done.returncode == 2, done.stderr
  assert f'--workdir {place}: cannot write' in done.stderr


def test_a_mistake_in_the_evaluation_does_not_wait_for_the_training(
    monkeypatch,
):
  config = skeleton_quickstart.get_config('smoke')
  with config.unlocked():
    config.eval.sample = 3
  with pytest.raises(UserError, match=r"eval.sample: .*'samples'"):
    main.check_report(config)
  card = momu_joint.get_config('smoke')
  main.check_report(card)
  found = main.importlib.util.find_spec
  monkeypatch.setattr(
      main.importlib.util, 'find_spec',
      lambda name: None if name == 'librosa' else found(name),
  )
  with pytest.raises(UserError, match=r"needs librosa.*audio"):
    main.check_report(card)
