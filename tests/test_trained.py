"""Restoring a run: what is evaluated may be other data than was trained on."""

import pathlib

from experiments import skeleton_quickstart
import pytest

from diffax import config as configs
from diffax import main
from diffax import trained
from diffax.errors import UserError


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
