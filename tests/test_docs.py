"""What the documentation says must be so: links, names, commands, code."""

import ast
import fnmatch
import functools
import importlib
import importlib.util
import logging
import os
import pathlib
import re
import shlex
import subprocess
import sys
import types
from typing import NamedTuple

from absl import flags
import jax
import ml_collections
import numpy as np
import pytest
import yaml

from diffax import config as configs
from diffax import data
from diffax import evaluate
from diffax import main
from diffax import study
from diffax import systems
from diffax import trained
from diffax.data import __main__ as data_main
from diffax.errors import UserError
from diffax.evaluate import crossmodal
from diffax.evaluate import dance
from diffax.evaluate import recognition
from diffax.evaluate import vocoder
from diffax.metrics import rhythm
from diffax.metrics import suite

ROOT = pathlib.Path(__file__).parents[1]
DOCS = ROOT / 'docs'
README = (ROOT / 'README.md').read_text()
CARDS = sorted(path.stem for path in (ROOT / 'experiments').glob('*.py'))
FOLDERS = 'launch', 'experiments', 'tests', 'diffax', 'colabs'


def _load(path: pathlib.Path) -> types.ModuleType:
  """Load a program that builds the site."""
  spec = importlib.util.spec_from_file_location(f'docs_{path.stem}', path)
  assert spec and spec.loader
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


hooks = _load(DOCS / 'make' / 'hooks.py')
PAGES = sorted(str(p.relative_to(DOCS)) for p in DOCS.rglob('*.md'))


@functools.cache
def written(page: str) -> str:
  """Return a page as the site has it, with what it takes from README.md."""
  return hooks.fill((DOCS / page).read_text(), page, README)


class Block(NamedTuple):
  """A block of code of a page."""

  page: str
  language: str
  title: str
  code: str
  skipped: str


_BLOCK = re.compile(
    r'^(?:<!-- not run: (?P<why>[^\n]+) -->\n+)?'
    r'```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?[^\n]*\n'
    r'(?P<code>.*?)^```$',
    re.MULTILINE | re.DOTALL,
)


def blocks(page: str, language: str) -> list[Block]:
  """Return the blocks of a page in a language."""
  return [
      Block(page, language, found['title'] or '', found['code'],
            found['why'] or '')
      for found in _BLOCK.finditer(written(page))
      if found['language'] == language
  ]


ALL = {language: [b for page in PAGES for b in blocks(page, language)]
       for language in ('python', 'bash')}
PLACED = {b.title: b for b in ALL['python'] if b.title}


def _texts() -> dict[str, str]:
  """Return what may name things, by file."""
  return {page: written(page) for page in PAGES}


def _code(text: str) -> list[str]:
  """Return all that stands between single backquotes, outside of blocks."""
  plain = re.sub(r'^```.*?^```$', '', text, flags=re.DOTALL | re.MULTILINE)
  return re.findall(r'`([^`\n]+)`', plain)


# --- Links.


def _anchors(text: str) -> set[str]:
  plain = re.sub(r'^```.*?^```$', '', text, flags=re.DOTALL | re.MULTILINE)
  titles = re.findall(r'^#+ (.+)$', plain, re.MULTILINE)
  return {
      re.sub(r'[-\s]+', '-', re.sub(r'[^\w\s-]', '', t).strip().lower())
      for t in titles
  }


@pytest.mark.parametrize('page', PAGES)
def test_every_link_of_a_page_leads_somewhere(page):
  text = re.sub(r'^```.*?^```$', '', written(page),
                flags=re.DOTALL | re.MULTILINE)
  for target in re.findall(r'\]\(([^)\s]+)\)', text):
    if re.match(r'\w+:', target):
      continue
    place, _, anchor = target.partition('#')
    where = os.path.normpath(pathlib.Path(page).parent / place)
    if not place:
      where = page
    if where.startswith('api/'):
      name = where.removeprefix('api/').removesuffix('.md')
      assert name in hooks.modules(), target
      assert not anchor or _defined(anchor), target
    elif where.startswith('readme/'):
      assert (ROOT / where.removeprefix('readme/')).is_file(), target
    else:
      assert (DOCS / where).is_file(), target
      assert not anchor or anchor in _anchors(written(where)), target


def test_every_page_is_in_the_navigation():
  nav = yaml.safe_load((ROOT / 'mkdocs.yml').read_text())['nav']
  named = set(re.findall(r'[\w/-]+\.md', str(nav)))
  assert named == set(PAGES)


def test_a_section_of_the_readme_ends_where_the_next_begins():
  text = '# A\n\nwhat\n\n## B\n\n```\n# no heading\n```\n\n### C\n\nx\n\n## D\n'
  assert hooks.section(text, 'A', True) == 'what'
  assert hooks.section(text, 'B') == '```\n# no heading\n```\n\n### C\n\nx'
  with pytest.raises(KeyError, match='one heading'):
    hooks.section(text, 'no heading')


def test_links_of_the_readme_are_turned_to_the_page(tmp_path):
  (tmp_path / 'a.png').write_bytes(b'')
  text = '## B\n\n![x](a.png) [y](docs/metrics.md) [z](LICENSE) [w](http://e)'
  found = hooks.fill('<!-- README: B -->', 'systems/imu.md', text, tmp_path)
  assert found == (
      '![x](../readme/a.png) [y](../metrics.md) z [w](http://e)'
  )


# --- Names.


@functools.cache
def _names(path: pathlib.Path) -> dict[str, set[str]]:
  """Return what a module defines, and what its classes do."""
  found: dict[str, set[str]] = {}
  for node in ast.parse(path.read_text()).body:
    inner: set[str] = set()
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
      if isinstance(node, ast.ClassDef):
        inner = {getattr(x, 'name', '') for x in node.body} | {
            x.target.id for x in node.body if isinstance(x, ast.AnnAssign)
            and isinstance(x.target, ast.Name)
        }
      found[node.name] = inner
    elif isinstance(node, ast.Assign):
      for target in node.targets:
        for name in ast.walk(target):
          if isinstance(name, ast.Name):
            found[name.id] = inner
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
      found[node.target.id] = inner
    elif isinstance(node, (ast.Import, ast.ImportFrom)):
      for alias in node.names:
        found[alias.asname or alias.name] = inner
  return found


def _defined(name: str) -> bool:
  """Say whether a dotted name is a module or stands in one."""
  parts = name.split('.')
  for count in range(len(parts), 0, -1):
    place = ROOT.joinpath(*parts[:count])
    path = place.with_suffix('.py')
    if not path.is_file():
      path = place / '__init__.py'
    placed = '/'.join(parts[:count]) + '.py' in PLACED
    if path.is_file() or placed:
      rest = parts[count:]
      if placed or not rest:
        return True
      names = _names(path)
      return rest[0] in names and (
          len(rest) == 1 or rest[1] in names[rest[0]]
      )
  return False


def test_every_module_and_function_that_is_named_exists():
  found = {
      (page, name.rstrip('.'))
      for page, text in _texts().items()
      for name in re.findall(r'\bdiffax(?:\.\w+)+', text)
  }
  assert len(found) > 30
  missing = [
      (page, name) for page, name in found
      if not _defined(name.removesuffix('.md').removesuffix('.html'))
  ]
  assert not missing


def test_every_file_that_is_named_exists():
  pattern = rf'(?<![\w/.$-])((?:{"|".join(FOLDERS)})/[\w./*-]*\w)'
  found = {
      (page, name) for page, text in _texts().items()
      for name in re.findall(pattern, text)
  }
  assert len(found) > 20
  for page, name in found:
    there = name in PLACED or any(ROOT.glob(name))
    assert there or (ROOT / name).is_dir(), f'{page}: {name}'


def test_every_card_is_on_the_page_of_its_system():
  pages = {
      'skeleton': 'systems/skeleton.md', 'lambda': 'systems/lambda.md',
      'imu': 'systems/imu.md', 'momu': 'systems/momu.md',
      'vocoder': 'systems/momu.md',
  }
  for card in CARDS:
    page = pages[card.partition('_')[0]]
    assert card in _code((DOCS / page).read_text()), f'{page}: {card}'


@functools.cache
def _card(name: str) -> types.ModuleType:
  if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))
  return importlib.import_module(f'experiments.{name}')


def _variants(prefixes: tuple[str, ...]) -> set[str]:
  return {
      variant for name in CARDS if name.startswith(prefixes)
      for variant in getattr(_card(name), 'VARIANTS', {})
  }


@pytest.mark.parametrize('page, prefixes, only', [
    ('skeleton', ('skeleton',), set()),
    ('lambda', ('lambda',), {'centroid'}),
    ('imu', ('imu',), set()),
    ('momu', ('momu', 'vocoder'), set()),
])
def test_the_table_of_variants_has_all_and_no_others(page, prefixes, only):
  text = (DOCS / 'systems' / f'{page}.md').read_text()
  (table,) = re.findall(
      r'^\| variant \|.*?\n\n', text, re.DOTALL | re.MULTILINE
  )
  rows = re.findall(r'^\| ([^|]+) \|', table, re.MULTILINE)[2:]
  named = {name for row in rows for name in re.findall(r'`(\w+)`', row)}
  assert named == _variants(prefixes) | only


@functools.cache
def _settings() -> frozenset[str]:
  """Return all keys of the cards' configs and parameters of builders."""
  found: set[str] = set()

  def walk(section: ml_collections.ConfigDict) -> None:
    for key, value in section.items():
      found.add(key)
      if isinstance(value, ml_collections.ConfigDict):
        walk(value)

  for name in CARDS:
    if not name.endswith('tables'):
      walk(_card(name).get_config())
  for folder in ('systems', 'signal'):
    for path in (ROOT / 'diffax' / folder).glob('*.py'):
      for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
          arguments = node.args.args + node.args.kwonlyargs
          found |= {argument.arg for argument in arguments}
  return frozenset(found)


@pytest.mark.parametrize('page', [p for p in PAGES if 'systems' in p])
def test_every_setting_in_a_table_exists(page):
  tables = re.findall(
      r'^\|[^\n]*\| setting \|\n.*?\n\n', (DOCS / page).read_text(),
      re.DOTALL | re.MULTILINE,
  )
  rows = [row.split('|') for table in tables for row in table.splitlines()]
  for row in filter(lambda row: len(row) > 2, rows):
    for name in re.findall(r'`([\w.]+)`', row[-2]):
      unknown = set(name.split('.')) - _settings()
      assert not unknown, f'{page}: {name}'


def _launch_texts() -> str:
  return '\n'.join(
      path.read_text() for path in (ROOT / 'launch').rglob('*')
      if path.is_file() and path.suffix != '.pyc'
  )


@functools.cache
def _flags() -> set[str]:
  """Return the flags of all programs that are ours."""
  ours = 'diffax.main', 'diffax.study', main.__name__, study.__name__
  known = {
      flag.name for module, found in flags.FLAGS.flags_by_module_dict().items()
      for flag in found if module in ours or module.startswith('diffax')
  } | {'config'}
  benchmarks = (ROOT / 'tests/benchmarks').glob('*.py')
  for path in (pathlib.Path(data_main.__file__), *benchmarks):
    known |= set(re.findall(r"'--(\w+)'", path.read_text()))
  return known | set(data_main.OPTIONS)


def test_every_flag_that_is_named_exists():
  scripts = _launch_texts()
  for page, text in _texts().items():
    for code in _code(text):
      for flag in re.findall(r'(?<![\w-])--([a-z][\w-]*)', code):
        known = flag in _flags() or f'--{flag}' in scripts
        assert known or 'mkdocs' in code, f'{page}: --{flag}'


def test_every_data_set_is_named():
  text = written('own-data.md') + written('index.md')
  named = {name for code in _code(text) for name in re.split(r'[^\w]+', code)}
  assert set(data.SOURCES) - {'pendulum'} <= named | {'pendulum'}


def test_every_metric_of_the_evaluators_is_explained():
  text = (DOCS / 'metrics.md').read_text()
  plain = text.replace('`', '').replace('\\|', '|')
  names = {
      *suite.TABLE, 'MPJPE', 'ECE', 'ECE bias', 'FID (own classifier)',
      *crossmodal.TABLE, 'MSE mean', *dance.TABLE, 'Diversity inter',
      'Diversity intra', *vocoder.METRICS, *recognition.CONDITIONS,
      *rhythm.PROTOCOLS,
  }
  assert not {name for name in names if name not in plain}
  assert {'forecasting', *evaluate.EVALUATORS} <= set(_code(text))


def test_every_module_of_metrics_is_named_there():
  text = (DOCS / 'metrics.md').read_text()
  # Sums of streams, and the encoder of Context-FID, are no measures.
  helpers = {'__init__', 'base', 'ts2vec'}
  for path in (ROOT / 'diffax' / 'metrics').glob('*.py'):
    named = f'api/diffax.metrics.{path.stem}.md' in text
    assert named or path.stem in helpers, path.stem


# --- Commands.


def commands(code: str) -> list[list[str]]:
  """Return the words of each command of a block for bash."""
  joined = re.sub(r'\\\n\s*', ' ', code)
  lines = [shlex.split(line, comments=True) for line in joined.splitlines()]
  return [line for line in lines if line]


_PROGRAMS = {
    'bash', 'cd', 'docker', 'export', 'gcloud', 'git', 'kubectl', 'mkdocs',
    'pip', 'python', 'sbatch', 'srun', 'tensorboard',
}


def check(words: list[str]) -> None:
  """Raise unless a command could begin."""
  while re.fullmatch(r'[A-Z_]+=\S*', words[0]):
    words = words[1:]
  assert words[0] in _PROGRAMS, words
  if words[0] == 'srun':
    words = [word for i, word in enumerate(words) if word == 'python' or (
        'python' in words[:i])]
  for word in words[1:]:
    place = word.partition(':')[0]
    if re.match(rf'({"|".join(FOLDERS)})/[\w./-]+$', place):
      assert place in PLACED or (ROOT / place).exists(), place
  if words[:2] == ['python', '-m']:
    _check_module(words[2], words[2:])
  elif words[0] in ('python', 'bash', 'sbatch') and len(words) > 1:
    _check_script(words)


def _check_script(words: list[str]) -> None:
  (script, *_) = [word for word in words[1:] if not word.startswith('-')]
  if script.startswith('launch/'):
    text = _launch_texts()
    for word in words[words.index(script) + 1:]:
      flag = re.match(r'--[\w-]+', word)
      known = flag is None or flag[0] in text or flag[0][2:] in _flags()
      assert known or flag[0] == '--config', word


def _check_module(module: str, argv: list[str]) -> None:
  if module in ('pip', 'pytest', 'http.server', 'venv'):
    return
  assert importlib.util.find_spec(module), module
  if module in ('diffax.main', 'diffax.study'):
    _check_flags(argv)
  elif module == 'diffax.data':
    # Leaves by an exception of its own if a word is not known.
    data_main.parser().parse_args(argv[1:])
  elif module.startswith(('diffax.', 'tests.')):
    path = ROOT.joinpath(*module.split('.'))
    path = path / '__main__.py' if path.is_dir() else path.with_suffix('.py')
    for word in argv[1:]:
      flag = re.match(r'--[\w-]+', word)
      assert not flag or flag[0] in path.read_text(), word


def _check_flags(argv: list[str]) -> None:
  """Check what `main.parse` does, but for values, without its state."""
  known = flags.FLAGS
  config = ''
  exported = any(word.startswith('--pretrained=') for word in argv)
  for word in argv[1:]:
    flag = re.fullmatch(r'--([\w.]+)(?:=(.*))?', word, re.DOTALL)
    assert flag, f'{argv}: {word} is no flag'
    name, value = flag[1], flag[2]
    if name == 'config':
      config = value
    elif name.startswith('config.'):
      assert value is not None, word
    else:
      assert name in known, word
      if name == 'mode':
        assert value in known['mode'].parser.enum_values, word
  assert bool(config) != exported, argv
  if config and config.partition(':')[0] not in PLACED:
    main.check_overrides(argv)


@pytest.mark.filterwarnings('ignore:the load_module:DeprecationWarning')
@pytest.mark.parametrize(
    'block', ALL['bash'], ids=lambda b: f'{b.page}-{ALL["bash"].index(b)}'
)
def test_every_command_could_begin(block, monkeypatch):
  monkeypatch.chdir(ROOT)
  monkeypatch.syspath_prepend(str(ROOT))
  for words in commands(block.code):
    check(words)


@pytest.mark.filterwarnings('ignore:the load_module:DeprecationWarning')
@pytest.mark.parametrize('line', [
    'python -m diffax.main --config=experiments/skeleton_cmu.py:budgets',
    'python -m diffax.main --config=experiments/skeleton_cmu.py --sped=3',
    'python -m diffax.main --config=experiments/imu_dsads.py --config.sed=3',
    'python -m diffax.main --config=experiments/imu_dsads.py --mode=trian',
    'python -m diffax.study --job=2 --config=experiments/imu_tables.py',
    'python -m diffax.nothing', 'python launch/nothing.py', 'pyhton x.py',
    'python -m diffax.evaluate.recognition_folds --nothing',
])
def test_a_command_that_could_not_begin_is_found(line, monkeypatch):
  monkeypatch.chdir(ROOT)
  monkeypatch.syspath_prepend(str(ROOT))
  with pytest.raises((AssertionError, UserError, ModuleNotFoundError)):
    check(shlex.split(line))


# --- Code.


@pytest.mark.parametrize(
    # What README.md shows is run by its own test.
    'block', [b for b in ALL['python'] if not b.title and b.code not in README],
    ids=lambda b: f'{b.page}-{b.code[:24].splitlines()[0]}',
)
def test_every_block_of_python_runs(block, tmp_path, monkeypatch):
  code = compile(block.code, block.page, 'exec')
  if block.skipped:
    # The reason says what it needs; its imports are checked all the same.
    for name in re.findall(r'^(?:from|import) (\S+)', block.code, re.MULTILINE):
      assert importlib.util.find_spec(name), name
    return
  monkeypatch.chdir(tmp_path)
  exec(code, {'__name__': block.page})


@pytest.fixture
def fifth(monkeypatch):
  """Place the blocks of the page where their titles say."""
  placed = {}
  for title, block in PLACED.items():
    if title.endswith('__init__.py'):
      continue
    name = title.removesuffix('.py').replace('/', '.')
    module = types.ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)
    parent, _, tail = name.rpartition('.')
    if not name.startswith('tests.'):
      monkeypatch.setattr(
          importlib.import_module(parent), tail, module, raising=False
      )
    exec(compile(block.code, title, 'exec'), module.__dict__)
    placed[title] = module
  line = PLACED['diffax/systems/__init__.py'].code
  (found,) = re.findall(r"'(\w+)': (\w+)\.(\w+),", line)
  builder = getattr(sys.modules[f'diffax.systems.{found[1]}'], found[2])
  monkeypatch.setitem(systems.SYSTEMS, found[0], builder)
  return placed


def test_the_tests_of_the_fifth_system_pass(fifth):
  tests = fifth['tests/systems/test_residual.py']
  names = [name for name in vars(tests) if name.startswith('test_')]
  assert len(names) == 3
  for name in names:
    getattr(tests, name)()


def test_the_fifth_system_trains_resumes_and_samples(
    fifth, tmp_path, monkeypatch, capsys
):
  monkeypatch.setenv('DIFFAX_STORE', str(tmp_path / 'store'))
  config = fifth['experiments/residual_synthetic.py'].get_config('smoke')
  main.check_report(config)
  main.train(config, tmp_path)
  capsys.readouterr()
  # A finished stage is only restored.
  main.train(config, tmp_path)
  model = trained.restore(config, tmp_path)
  assert 'ema of step 4' in capsys.readouterr().out
  segments = model.source.segments('test')
  batch = {'past': segments['past'][:2]}
  motion = np.asarray(model.sample(batch, jax.random.key(0))['motion'])
  assert motion.shape == (2, 4, *segments['future'].shape[1:])
  assert np.isfinite(motion).all()


@pytest.mark.slow
def test_the_fifth_system_is_evaluated_and_drawn(fifth, tmp_path, monkeypatch):
  monkeypatch.setenv('DIFFAX_STORE', str(tmp_path / 'store'))
  config = fifth['experiments/residual_synthetic.py'].get_config('smoke')
  main.train(config, tmp_path)
  main.report(config, tmp_path)
  assert (tmp_path / 'metrics.json').is_file()


def test_every_card_that_is_shown_has_known_settings(fifth):
  cards = [name for name in fifth if name.startswith('experiments/')]
  assert len(cards) >= 2
  for name in cards:
    for variant in ('', 'smoke'):
      config = fifth[name].get_config(variant)
      main.check_report(config)
      settings = configs.stage(config, config.stages[-1])
      configs.check(data.SOURCES, settings['data'], 'data',
                    ('seed', 'batch_size'))
      configs.check(systems.SYSTEMS, settings['system'], 'system', ('info',))


def test_the_fifth_system_refuses_a_key_that_nobody_reads(fifth):
  config = fifth['experiments/residual_synthetic.py'].get_config('smoke')
  settings = configs.stage(config, 'diffusion')
  section = {**settings['system'], 'widht': 8}
  with pytest.raises(UserError, match="Did you mean 'width'"):
    configs.check(systems.SYSTEMS, section, 'system', ('info',))


# --- The site.


def test_docstrings_keep_their_equations_and_brackets():
  pytest.importorskip('griffe')
  laid_out = _load(DOCS / 'make' / 'equations.py').laid_out
  text = (
      'Do it [B, *E].\n\nWith a,\n\n  (1)  x = a * b\n\n  (2)  y\n\nor `a*b`.\n'
      '\nArgs:\n  x: some [B].\n\n  **more: of `*`.\n\nReferences:\n  N, <2>.'
  )
  assert laid_out(text) == (
      'Do it \\[B, \\*E\\].\n\nWith a,\n\n```text\n(1)  x = a * b\n\n(2)  y\n'
      '```\n\nor `a*b`.\n\nArgs:\n  x: some \\[B\\].\n\n  **more: of `*`.\n\n'
      'References:\n  N, \\<2>.'
  )


def _misread(package: str, root: pathlib.Path, caplog) -> tuple[int, list[str]]:
  """Return how many docstrings there are, and what is wrong with them."""
  griffe = pytest.importorskip('griffe')

  def visit(thing) -> int:
    count = 0
    for member in thing.members.values():
      if member.is_alias or member.name.startswith('_'):
        continue
      if member.docstring:
        count += 1
        member.docstring.parse('google', warn_missing_types=False)
      if member.is_module or member.is_class:
        count += visit(member)
    return count

  with caplog.at_level(logging.WARNING):
    count = visit(griffe.load(package, search_paths=[str(root)]))
  return count, [record.getMessage() for record in caplog.records]


def test_every_docstring_agrees_with_what_it_describes(caplog):
  count, wrong = _misread('diffax', ROOT, caplog)
  assert count > 1000
  assert not wrong


def test_a_docstring_that_names_a_strange_argument_is_found(tmp_path, caplog):
  (tmp_path / 'strange.py').write_text(
      'def f(x):\n  """Do.\n\n  Args:\n    y: what.\n  """\n'
  )
  _, wrong = _misread('strange', tmp_path, caplog)
  assert any("'y'" in message for message in wrong)


def _build(folder: pathlib.Path, **environ: str) -> None:
  if importlib.util.find_spec('mkdocs') is None:
    pytest.skip('mkdocs is not installed')
  for package in ('material', 'mkdocstrings_handlers'):
    if importlib.util.find_spec(package) is None:
      pytest.skip(f'{package} is not installed')
  done = subprocess.run(
      [sys.executable, '-m', 'mkdocs', 'build', '--strict', '--quiet',
       '--site-dir', str(folder)],
      cwd=ROOT, capture_output=True, text=True,
      env={**os.environ, 'NO_MKDOCS_2_WARNING': '1', **environ},
  )
  assert done.returncode == 0, done.stderr + done.stdout
  # What a reader's machine would fetch from elsewhere.
  for path in folder.rglob('*.html'):
    text = path.read_text()
    fetched = re.findall(
        r'<(?:script|img|link|iframe)[^>]+(?:src|href)="?(https?:[^" >]+)', text
    )
    assert not fetched, (path, fetched)


def test_the_site_builds_without_a_warning(tmp_path):
  _build(tmp_path / 'site', DIFFAX_DOCS_API='linked')
  assert (tmp_path / 'site' / 'systems' / 'imu.html').is_file()
  text = (tmp_path / 'site' / 'index.html').read_text()
  assert 'README:' not in text and 'launch/quickstart.sh' in text


@pytest.mark.slow
def test_the_site_has_a_page_for_every_public_module(tmp_path):
  _build(tmp_path / 'site', DIFFAX_DOCS_API='')
  api = {path.stem for path in (tmp_path / 'site' / 'api').glob('*.html')}
  assert api == set(hooks.modules())
  assert len(api) > 100
  everything = fnmatch.filter(api, 'diffax.metrics.*')
  assert 'diffax.metrics.forecasting' in everything
