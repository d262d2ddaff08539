"""Checkpoints: whole or absent, unchanged or passed over."""

import dataclasses
import json
import pathlib
import resource
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy

from diffax.errors import UserError
from diffax.train import checkpoint
from diffax.train import loop
from diffax.train.state import TrainState


def _state(step, size=3):
  draw = np.random.default_rng(step)
  params = {'layer': {'w': jnp.asarray(draw.normal(size=(size, 2)))}}
  double = jax.tree.map(lambda x: 2 * x, params)
  moments = (jnp.asarray(step, jnp.int32), double, ())
  return TrainState(
      step=jnp.asarray(step, jnp.int32), params=params, frozen={}, ema=double,
      opt_state=moments, skipped=jnp.zeros((), jnp.int32),
  )


def _save(workdir, *states, keep=9):
  with checkpoint.Saver(workdir, keep) as saver:
    for state in states:
      saver.save(state)
    saver.wait()


def _assert_same(a, b):
  assert jax.tree.structure(a) == jax.tree.structure(b)
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    assert x.dtype == y.dtype
    np.testing.assert_array_equal(x, y)


@pytest.fixture(scope='module')
def two(tmp_path_factory):
  """A folder with the steps 1 and 2; copy it before any damage."""
  workdir = tmp_path_factory.mktemp('two')
  _save(workdir, _state(1), _state(2))
  return workdir


def test_a_state_comes_back_to_the_bit(two):
  _assert_same(checkpoint.restore(two, _state(0)), _state(2))


def test_parts_are_read_alone(two):
  params, step = checkpoint.load(two, 'params')
  assert step == 2
  _assert_same(params, jax.tree.map(np.asarray, _state(2).params))
  average, step = checkpoint.load(two, 'ema', step=1)
  assert step == 1
  np.testing.assert_array_equal(
      average['layer']['w'], _state(1).ema['layer']['w']
  )
  assert checkpoint.load(two, 'frozen') == ({}, 2)


def test_old_steps_go_and_the_newest_stay(tmp_path):
  _save(tmp_path, *map(_state, (1, 2, 3, 12)), keep=2)
  assert checkpoint.steps(tmp_path) == [3, 12]


def test_an_empty_folder_is_no_step(tmp_path):
  assert checkpoint.restore(tmp_path, _state(0)) is None
  _save(tmp_path, _state(1))
  (tmp_path / 'checkpoints' / '00000007').mkdir()
  assert checkpoint.steps(tmp_path) == [1]
  assert int(checkpoint.restore(tmp_path, _state(0)).step) == 1


def test_a_half_written_step_is_no_step(two, tmp_path):
  workdir = _copied(two, tmp_path)
  folder = workdir / 'checkpoints'
  shutil.move(folder / '00000002', folder / '00000002.part')
  assert checkpoint.steps(workdir) == [1]
  _save(workdir, _state(3))
  assert sorted(p.name for p in folder.iterdir()) == ['00000001', '00000003']


def _copied(two, tmp_path):
  return pathlib.Path(shutil.copytree(two, tmp_path / 'copy'))


def _flip(path):
  data = bytearray(path.read_bytes())
  data[len(data) // 2] ^= 1
  path.write_bytes(data)


def _truncate(path):
  path.write_bytes(path.read_bytes()[:-1])


DAMAGES = {'flip': _flip, 'truncate': _truncate, 'delete': pathlib.Path.unlink}


@pytest.mark.parametrize('damage', DAMAGES)
def test_every_damaged_file_is_found_and_named(two, tmp_path, damage, capsys):
  workdir = _copied(two, tmp_path)
  newest = workdir / 'checkpoints' / '00000002'
  files = [p for p in newest.rglob('*') if p.is_file() and p.stat().st_size]
  assert len(files) > 20
  for path in files:
    whole = path.read_bytes()
    DAMAGES[damage](path)
    assert checkpoint.good(workdir).name == '00000001', path
    said = capsys.readouterr().out
    assert 'checkpoint 2 is broken' in said
    # A wrong sum may also be the fault of the file of sums: both are named.
    assert path.name in said, path
    assert path.name == 'SHA256.json' or f'{path}: ' in said
    path.write_bytes(whole)
  assert checkpoint.good(workdir).name == '00000002'


def test_an_added_file_is_found(two, tmp_path):
  workdir = _copied(two, tmp_path)
  (workdir / 'checkpoints' / '00000002' / 'ema' / 'more').write_text('x')
  assert checkpoint.good(workdir).name == '00000001'


def test_a_broken_step_is_set_aside_and_written_again(two, tmp_path):
  workdir = _copied(two, tmp_path)
  _flip(workdir / 'checkpoints' / '00000002' / 'params' / '_METADATA')
  state = checkpoint.restore(workdir, _state(0))
  _assert_same(state, _state(1))
  assert (workdir / 'checkpoints' / '00000002.broken').is_dir()
  # It must not count among the newest, which stay.
  _save(workdir, _state(2), keep=1)
  assert checkpoint.steps(workdir) == [2]
  _assert_same(checkpoint.restore(workdir, _state(0)), _state(2))


def test_a_run_with_a_damaged_newest_step_ends_the_same(tmp_path):
  def fit(workdir, steps):
    return loop.fit(
        toy.system(), toy.train(), steps=steps, workdir=workdir,
        **toy.ARGUMENTS,
    )

  state = fit(tmp_path, 12)
  newest = tmp_path / 'checkpoints' / '00000012'
  largest = max(newest.rglob('d/*'), key=lambda p: p.stat().st_size)
  _flip(largest)
  _assert_same(fit(tmp_path, 12), state)
  assert checkpoint.good(tmp_path).name == '00000012'


def test_all_broken_is_an_error_with_names(two, tmp_path):
  workdir = _copied(two, tmp_path)
  for step in ('00000001', '00000002'):
    _truncate(workdir / 'checkpoints' / step / 'ema' / '_METADATA')
  with pytest.raises(UserError, match='no good') as caught:
    checkpoint.restore(workdir, _state(0))
  for step in ('00000001', '00000002'):
    assert f'{step}/ema/_METADATA' in str(caught.value)


@pytest.mark.parametrize('item, step, named', [
    ('weights', None, "found 'weights'"),
    ('ema', 5, r'expected step 5, found \[1, 2\]'),
])
def test_asking_for_what_is_not_there(two, item, step, named):
  with pytest.raises(UserError, match=named):
    checkpoint.load(two, item, step)


def test_no_checkpoint_is_said(tmp_path):
  with pytest.raises(UserError, match='found none. Train first'):
    checkpoint.load(tmp_path, 'params')


def test_another_model_is_refused(two):
  with pytest.raises(UserError, match=r"\['layer'\]\['w'\].*other shapes"):
    checkpoint.restore(two, _state(0, size=4))
  other = dataclasses.replace(_state(0), opt_state=())
  with pytest.raises(UserError, match='expected 0 arrays, found 2'):
    checkpoint.restore(two, other)


def test_a_full_disk_is_said_and_older_steps_stay_whole(tmp_path):
  big = 50_000
  _save(tmp_path, _state(1, big))
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  # No file may grow beyond this: a write fails as on a full disk.
  resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
  try:
    with pytest.raises(UserError, match='00000002.*could not be written'):
      _save(tmp_path, _state(2, big))
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
  assert [p.name for p in (tmp_path / 'checkpoints').iterdir()] == ['00000001']
  _assert_same(checkpoint.restore(tmp_path, _state(0, big)), _state(1, big))


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
  (tmp_path / 'checkpoints').write_text('a file in the way')
  with pytest.raises(UserError, match='could not be written'):
    _save(tmp_path, _state(1))


def test_the_sums_are_of_every_file(two):
  folder = two / 'checkpoints' / '00000002'
  named = json.loads((folder / 'SHA256.json').read_text())
  files = {str(p.relative_to(folder)) for p in folder.rglob('*')
           if p.is_file()}
  assert set(named) == files - {'SHA256.json'}
  assert all(len(value) == 64 for value in named.values())
