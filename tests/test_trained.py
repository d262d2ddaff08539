"""Restoring a run: what is evaluated may be other data than was trained on."""

import pathlib

from experiments import skeleton_quickstart
import pytest

from diffax import config as configs
from diffax import main
from diffax import trained
from diffax.errors import UserError
from diffax.train import settings


@pytest.mark.filterwarnings('ignore:the load_module')
def test_other_data_can_be_evaluated(tmp_path: pathlib.Path, monkeypatch):
  config = skeleton_quickstart.get_config('smoke')
  seen = []
  build = configs.source
  monkeypatch.setattr(
      configs, 'source', lambda settings: seen.append(settings['data']) or
      build(settings)
  )
  monkeypatch.setenv('DIFFAX_STORE', str(tmp_path))
  with config.unlocked():
    config.eval.data = {'test_stride_seconds': 1.5}
  main.check_report(config)
  with pytest.raises(UserError, match='expected a trained stage'):
    trained.restore(config, tmp_path)
  own = configs.stage(config, config.stages[-1])['data']
  assert own['test_stride_seconds'] != 1.5
  assert seen == [{**own, 'test_stride_seconds': 1.5}]


def trained_by(config, workdir: pathlib.Path) -> None:
  """Leave what a trained run leaves of its settings."""
  name = config.stages[-1]
  settings.keep(workdir / name, configs.stage(config, name))


@pytest.mark.parametrize('change, message', [
    (lambda c: c.data.update(future_seconds=1.0), 'data.future_seconds'),
    (lambda c: c.update(seed=1), 'seed'),
    # A sampler may be another; only weights are missing then.
    (lambda c: c.diffusion.system.sampler.update(steps=2), 'a checkpoint'),
])
def test_a_run_is_not_judged_by_other_settings_than_its_own(
    tmp_path, monkeypatch, change, message
):
  config = skeleton_quickstart.get_config('smoke')
  monkeypatch.setenv('DIFFAX_STORE', str(tmp_path))
  trained_by(config, tmp_path / 'run')
  with config.unlocked():
    change(config)
  with pytest.raises(UserError, match=message):
    trained.restore(config, tmp_path / 'run')
