"""Show docstrings as they were laid out: equations, tables and brackets.

Docstrings are plain text. A site would run the lines of an equation together
and take `[B, *E]` for the beginning of a link or of italics. Here blocks that
are indented become blocks of code, and marks outside of code are escaped.
"""

import re
import textwrap
from typing import Any

import griffe

_INDENT = 2
# Sections of a docstring, whose entries are indented but are no equations.
_SECTION = re.compile(r'[A-Z][A-Za-z ]*:$')
_ENTRY = re.compile(r'(\s*\*{0,2}\w+:\s)(.*)')
_CODE = re.compile(r'(`+)(.+?)\1')
_MARKS = re.compile(r'([*\[\]<|])')


def laid_out(text: str) -> str:
  """Return a docstring as Markdown that looks as the docstring does.

  Args:
    text: of a docstring, without its own indentation.

  Returns:
    The text. Lines that are indented by two or more characters, follow an
    empty line and are of no section are a block of code; other lines have
    their marks escaped, but for code within them.
  """
  out: list[str] = []
  block: list[str] = []
  section = False
  for line in [*text.splitlines(), '.']:
    indented = line.startswith(' ' * _INDENT)
    if block and (indented or not line.strip()):
      block.append(line)
      continue
    if block:
      out += _fenced(block)
      block = []
    section = bool(_SECTION.match(line)) or section and (
        indented or not line.strip()
    )
    if indented and not section and not (out and out[-1].strip()):
      block.append(line)
    else:
      out.append(_escaped(line))
  return '\n'.join(out[:-1])


def _fenced(block: list[str]) -> list[str]:
  """Return the lines between fences, and empty ones at their end behind."""
  used = max(i for i, line in enumerate(block) if line.strip()) + 1
  inside = textwrap.dedent('\n'.join(block[:used]))
  return ['```text', *inside.splitlines(), '```', *block[used:]]


def _escaped(line: str) -> str:
  """Escape what Markdown would take for more than a letter."""
  # The name of an argument must stay what it is in the signature.
  entry = _ENTRY.match(line)
  head, rest = entry.groups() if entry else ('', line)
  places = [match.span() for match in _CODE.finditer(rest)]
  return head + _MARKS.sub(
      lambda mark: mark[0] if any(
          first <= mark.start() < last for first, last in places
      ) else '\\' + mark[0],
      rest,
  )


class Equations(griffe.Extension):
  """Lay out the docstrings of all objects."""

  def on_instance(self, *, obj: Any, **kwargs: Any) -> None:
    """Change the docstring of a module, class, function or attribute."""
    if obj.docstring is not None:
      obj.docstring.value = laid_out(obj.docstring.value)
