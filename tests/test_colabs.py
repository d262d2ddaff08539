"""Notebooks: whole, stripped, of names that exist, and run from top to bottom.

Those of the systems are also the suite's runs of a whole small experiment, from
training to its table and pictures.
"""

import ast
from collections.abc import Iterator
import importlib
import inspect
import json
import os
import pathlib
import re
from typing import Any

import nbclient
import nbformat
import pytest

ROOT = pathlib.Path(__file__).parents[1]
FOLDER = ROOT / 'colabs'
# Of each the pictures that it shows in its quick form, and what its table has.
NOTEBOOKS = {
    'imu': (8, {'conditions', 'sampling'}),
    'kernels': (10, set()),
    'lambda': (7, {'angles|moments', 'moments|angles'}),
    'momu': (8, {'motion_to_music', 'music_to_motion', 'joint'}),
    'own_data': (4, set()),
    'skeleton': (6, {'model', 'zero_velocity', 'nearest_neighbour'}),
}
NAMES = sorted(NOTEBOOKS)
# ml_collections loads cards with a method that newer Pythons deprecate.
pytestmark = pytest.mark.filterwarnings('ignore:the load_module')


def _read(name: str) -> Any:
  return nbformat.read(FOLDER / f'{name}.ipynb', 4)


def _cells(name: str, kind: str) -> list[str]:
  return [c.source for c in _read(name).cells if c.cell_type == kind]


def _tree(name: str) -> ast.Module:
  """Parse the code of a notebook without what is for IPython alone."""
  code = '\n'.join(_cells(name, 'code'))
  return ast.parse(re.sub(r'^(\s*)%.*$', r'\1pass', code, flags=re.MULTILINE))


def test_there_is_a_notebook_for_each_name_and_nothing_else():
  found = {path.name for path in FOLDER.iterdir() if not path.name[0] == '.'}
  assert found == {f'{name}.ipynb' for name in NAMES}


@pytest.mark.parametrize('name', NAMES)
def test_a_notebook_is_valid_normalised_and_stripped(name):
  notebook = _read(name)
  nbformat.validate(notebook)
  text = (FOLDER / f'{name}.ipynb').read_text()
  assert text == nbformat.writes(notebook) + '\n'
  for cell in notebook.cells:
    assert cell.metadata == {}
    if cell.cell_type == 'code':
      assert cell.outputs == []
      assert cell.execution_count is None
  assert set(notebook.metadata) == {'kernelspec', 'language_info'}


@pytest.mark.parametrize('name', NAMES)
def test_a_notebook_installs_itself_and_can_be_made_quick(name):
  first, second, *_ = _cells(name, 'code')
  assert first == _cells('kernels', 'code')[0]
  assert '%pip install -q {place}[viz,audio,data]' in first
  assert "QUICK = os.environ.get('DIFFAX_QUICK') == '1'" in second


@pytest.mark.parametrize('name', NAMES)
def test_a_notebook_has_short_lines_and_no_place_of_one_machine(name):
  for cell in _read(name).cells:
    assert not re.search(r'https?://|[\'"`( ]/(?:\w+/)+|~/', cell.source)
    for line in cell.source.splitlines():
      assert len(line) <= 80 or line.startswith('|'), line
      if cell.cell_type == 'code':
        assert line == line.rstrip()


@pytest.mark.parametrize('name', NAMES)
def test_a_notebook_defines_next_to_nothing(name):
  for node in ast.walk(_tree(name)):
    assert not isinstance(node, ast.ClassDef)
    if isinstance(node, ast.FunctionDef):
      assert node.end_lineno - node.lineno < 10, node.name


def _imports(tree: ast.Module) -> dict[str, Any]:
  """Return what a notebook imports of this project, by its name there."""
  found = {}
  for node in ast.walk(tree):
    if isinstance(node, ast.ImportFrom):
      if node.module.split('.')[0] not in ('diffax', 'experiments'):
        continue
      for alias in node.names:
        name = alias.asname or alias.name
        try:
          found[name] = importlib.import_module(f'{node.module}.{alias.name}')
        except ModuleNotFoundError:
          module = importlib.import_module(node.module)
          assert hasattr(module, alias.name), f'{node.module}.{alias.name}'
          found[name] = getattr(module, alias.name)
  return found


def _dotted(node: ast.AST) -> list[str]:
  """Return the names of `a.b.c`, none of anything else."""
  if isinstance(node, ast.Name):
    return [node.id]
  if isinstance(node, ast.Attribute):
    before = _dotted(node.value)
    return [*before, node.attr] if before else []
  return []


def _ours(tree: ast.Module) -> Iterator[tuple[ast.AST, Any]]:
  """Yield each use of a name of this project, and what it names."""
  known = _imports(tree)
  for node in ast.walk(tree):
    first, *rest = _dotted(node) or ['']
    if first in known:
      found = known[first]
      for part in rest:
        assert inspect.ismodule(found) is False or hasattr(found, part), (
            f'{".".join(_dotted(node))}: there is no {part}')
        found = getattr(found, part, None)
      yield node, found


@pytest.mark.parametrize('name', NAMES)
def test_what_a_notebook_calls_is_there_and_takes_these_arguments(name):
  tree = _tree(name)
  named = {id(node): found for node, found in _ours(tree)}
  calls = 0
  for node in ast.walk(tree):
    found = named.get(id(getattr(node, 'func', None)))
    if not isinstance(node, ast.Call) or found is None:
      continue
    if any(isinstance(a, ast.Starred) for a in node.args):
      continue
    calls += 1
    keywords = {k.arg: None for k in node.keywords if k.arg}
    inspect.signature(found).bind(*[None] * len(node.args), **keywords)
  assert calls >= 6


@pytest.mark.parametrize('name', NAMES)
def test_the_cards_that_a_notebook_names_are_there(name):
  text = '\n'.join(_cells(name, 'markdown'))
  named = re.findall(r'experiments/(\w+)\.py(?::([\w,]+))?', text)
  assert named
  for card, variant in named:
    module = importlib.import_module(f'experiments.{card}')
    module.get_config(variant)


@pytest.fixture(scope='module')
def shared(tmp_path_factory):
  """Return the variables of folders that notebooks have in common."""
  folder = tmp_path_factory.mktemp('shared')
  # Two of them train the same small model.
  return {
      'DIFFAX_STORE': str(folder / 'store'),
      'JAX_COMPILATION_CACHE_DIR': str(folder / 'cache'),
      'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0.1',
  }


@pytest.mark.timeout(900)
@pytest.mark.parametrize('name', NAMES)
def test_a_notebook_runs(name, tmp_path, shared):
  pictures, rows = NOTEBOOKS[name]
  # Without MPLBACKEND, which keeps figures from being shown.
  env = {k: v for k, v in os.environ.items() if k != 'MPLBACKEND'}
  env |= {
      **shared, 'DIFFAX_QUICK': '1', 'TMPDIR': str(tmp_path),
  }
  notebook, before = _read(name), sorted(FOLDER.rglob('*'))
  nbclient.NotebookClient(
      notebook, timeout=800, startup_timeout=300, kernel_name='python3',
      resources={'metadata': {'path': str(FOLDER)}},
  ).execute(env=env)
  outputs = [o for cell in notebook.cells for o in cell.get('outputs', ())]
  assert not [o for o in outputs if o.output_type == 'error']
  shown = [o.data for o in outputs if 'data' in o]
  seen = [data for data in shown if {'image/png', 'image/gif'} & set(data)]
  assert len(seen) >= pictures
  for path in tmp_path.glob(f'{name}-*/metrics.json'):
    rows = rows - set(json.loads(path.read_text()))
  assert not rows
  # It leaves nothing beside itself.
  assert sorted(FOLDER.rglob('*')) == before
