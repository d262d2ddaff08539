"""What the README shows must run."""

import pathlib
import re

README = (pathlib.Path(__file__).parents[1] / 'README.md').read_text()


def test_the_kernels_example_runs(capsys):
  (block,) = re.findall(r'```python\n(.*?)```', README, re.DOTALL)
  exec(compile(block, 'README.md', 'exec'), {})
  assert capsys.readouterr().out.strip() == '(8, 21, 96)'


def test_every_path_named_exists():
  root = pathlib.Path(__file__).parents[1]
  paths = re.findall(r'\b((?:launch|experiments|tests)/[\w.]+\.\w+)', README)
  assert len(set(paths)) >= 5
  for path in paths:
    assert (root / path).is_file(), path
