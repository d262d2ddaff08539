"""What the site takes from elsewhere: the API's docstrings, README's words.

  API      one page for each public module; DIFFAX_DOCS_API='linked' keeps
           those that other pages link to, which is several times faster
  README   a line `<!-- README: HEADING -->` becomes what README.md has below
           that heading, so that no number is written twice; with `, beginning`
           before the `-->` only what stands before the next heading of any kind
"""

import os
import pathlib
import posixpath
import re
from typing import Any

ROOT = pathlib.Path(__file__).parents[2]
PACKAGE = 'diffax'

_PLACE = re.compile(
    r'^<!-- README: (.+?)(, beginning)? -->$', re.MULTILINE
)
_LINK = re.compile(r'(!?)\[([^\]]*)\]\((?!\w+:|#)([^)\s]+)\)')
_API = re.compile(r'\bapi/([\w.]+)\.md')


def modules(root: pathlib.Path = ROOT) -> list[str]:
  """Return the dotted names of all public modules, packages before theirs."""
  found = []
  for path in sorted((root / PACKAGE).rglob('*.py')):
    parts = path.relative_to(root).with_suffix('').parts
    if parts[-1] == '__init__':
      parts = parts[:-1]
    if not any(part.startswith('_') for part in parts):
      found.append('.'.join(parts))
  return sorted(found)


def linked(root: pathlib.Path = ROOT) -> list[str]:
  """Return the modules whose pages other pages link to."""
  texts = (path.read_text() for path in (root / 'docs').rglob('*.md'))
  return sorted({name for text in texts for name in _API.findall(text)})


def pages(root: pathlib.Path = ROOT) -> dict[str, str]:
  """Return the text of the API's pages by their place in the site."""
  few = os.environ.get('DIFFAX_DOCS_API') == 'linked'
  names = linked(root) if few else modules(root)
  return {f'api/{name}.md': f'::: {name}\n' for name in names}


def section(readme: str, heading: str, beginning: bool = False) -> str:
  """Return what stands below a heading of README.md.

  Args:
    readme: the whole file.
    heading: without its marks.
    beginning: end at the next heading of any level.

  Returns:
    The text up to the next heading of the same or a higher level; headings
    within it are left as they are.

  Raises:
    KeyError: there is no such heading, or more than one.
  """
  # A line of `#` within a block of code is no heading.
  blank = re.sub(
      r'^```.*?^```', lambda m: re.sub(r'[^\n]', '.', m[0]), readme,
      flags=re.DOTALL | re.MULTILINE,
  )
  found = list(
      re.finditer(rf'^(#+) {re.escape(heading)}$', blank, re.MULTILINE)
  )
  if len(found) != 1:
    raise KeyError(f'README.md: expected one heading {heading!r}, found '
                   f'{len(found)}')
  level = 6 if beginning else len(found[0][1])
  end = re.compile(rf'^#{{1,{level}}} ', re.MULTILINE).search(
      blank, found[0].end()
  )
  return readme[found[0].end():end.start() if end else None].strip()


def fill(text: str, place: str, readme: str, root: pathlib.Path = ROOT) -> str:
  """Put parts of README.md where a page asks for them.

  Args:
    text: of the page.
    place: of the page within docs/, such as `systems/imu.md`.
    readme: the whole file.
    root: of the repository.

  Returns:
    The text; links of README.md are turned to lead on from the page.
  """

  def link(match: re.Match[str]) -> str:
    picture, words, target = match.groups()
    if target.startswith('docs/'):
      target = target.removeprefix('docs/')
    elif picture and (root / target).is_file():
      target = f'readme/{target}'
    else:
      return words
    there = posixpath.relpath(target, posixpath.dirname(place) or '.')
    return f'{picture}[{words}]({there})'

  return _PLACE.sub(
      lambda match: _LINK.sub(link, section(readme, match[1], bool(match[2]))),
      text,
  )


def on_config(config: Any) -> Any:
  """Add the API to the navigation, package by package."""
  groups: dict[str, list[Any]] = {}
  for place in pages():
    name = place.removeprefix('api/').removesuffix('.md')
    head = '.'.join(name.split('.')[:2])
    groups.setdefault(head, []).append({name: place})
  config.nav.append({'API': [
      {head: entries} if len(entries) > 1 else entries[0]
      for head, entries in groups.items()
  ]})
  return config


def on_files(files: Any, config: Any) -> Any:
  """Add the pages of the API, and the pictures of README.md."""
  # All else here works where the site cannot be built.
  from mkdocs.structure import files as site_files

  for place, text in pages().items():
    files.append(site_files.File.generated(config, place, content=text))
  readme = (ROOT / 'README.md').read_text()
  for picture, _, target in _LINK.findall(readme):
    path = ROOT / target
    if picture and not target.startswith('docs/') and path.is_file():
      files.append(site_files.File.generated(
          config, f'readme/{target}', abs_src_path=str(path)
      ))
  return files


def on_page_markdown(markdown: str, page: Any, **kwargs: Any) -> str:
  """Fill in what README.md says."""
  readme = (ROOT / 'README.md').read_text()
  return fill(markdown, page.file.src_uri, readme)
