"""The house rules that a reader of the imports can check."""

import ast
import configparser
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / 'diffax'
COMMON = {'typing', 'errors'}
ALLOWED = {
    'typing': set(),
    'errors': set(),
    'diffusion': set(),
    'signal': set(),
    'body': set(),
    'nn': set(),
    'data': {'body', 'signal'},
    'metrics': {'body'},
    'viz': {'body'},
    'systems': {'body', 'diffusion', 'nn', 'data', 'metrics', 'signal'},
    'train': {'systems', 'data', 'metrics'},
}


def _room(path: pathlib.Path) -> str:
  return path.relative_to(PACKAGE).parts[0].removesuffix('.py')


def _imported_rooms(tree: ast.AST) -> set[str]:
  names = []
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      names += [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
      names += [f'{node.module}.{alias.name}' for alias in node.names]
  parts = [name.split('.') for name in names]
  return {p[1] for p in parts if p[0] == 'diffax' and len(p) > 1}


FILES = [p for p in PACKAGE.rglob('*.py') if _room(p) in ALLOWED]


@pytest.mark.parametrize(
    'path', FILES, ids=[str(p.relative_to(PACKAGE)) for p in FILES]
)
def test_imports_flow_one_way(path):
  room = _room(path)
  rooms = _imported_rooms(ast.parse(path.read_text()))
  assert rooms - COMMON - ALLOWED[room] <= {room}


def test_train_knows_only_the_interfaces():
  for path in (PACKAGE / 'train').glob('*.py'):
    for node in ast.walk(ast.parse(path.read_text())):
      if isinstance(node, ast.ImportFrom) and node.module:
        for room in ('systems', 'data'):
          if node.module.startswith(f'diffax.{room}'):
            assert node.module == f'diffax.{room}.base', path
          if node.module == 'diffax':
            assert room not in [alias.name for alias in node.names], path


def test_the_rule_sees_a_wrong_import():
  tree = ast.parse('from diffax.nn import graph\nimport diffax.data.base')
  assert _imported_rooms(tree) == {'nn', 'data'}


def test_every_pin_is_locked():
  setup = configparser.ConfigParser()
  setup.read(ROOT / 'setup.cfg')
  lines = setup['options']['install_requires'].split()
  for extra in ('viz', 'audio', 'data', 'test'):
    lines += setup['options.extras_require'][extra].split()
  names = {line.split('>')[0].split('[')[0].lower() for line in lines}
  locked = {
      line.split('==')[0].strip().lower().replace('_', '-')
      for line in (ROOT / 'launch/constraints.txt').read_text().splitlines()
      if '==' in line
  }
  assert {n.replace('_', '-') for n in names} - {'diffax'} <= locked


def test_nothing_outside_the_project_is_named():
  # The one place that may look beside the checkout is the CI entry.
  word = '..' + '/shared'
  for folder in ('diffax', 'experiments', 'launch', 'tests', 'colabs'):
    for path in (ROOT / folder).rglob('*'):
      if path.is_file() and path.suffix in {'.py', '.sh', '.md', '.ipynb'}:
        assert word not in path.read_text(), path
