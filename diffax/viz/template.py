"""Pages in one file: a template of ours, a title and what its script reads.

Numbers travel as 16-bit integers of an even step, in base 64.
"""

import base64
from collections.abc import Mapping
import html
import json
import pathlib
import re
from typing import Any

import numpy as np

from diffax.errors import UserError
from diffax.viz import pose

LARGEST = 32767
"""Of the integers."""


def write(
    path: pathlib.Path | str, template: str, title: str,
    scene: Mapping[str, Any]
) -> None:
  """Fill a template and write the page.

  Args:
    path: the file, `.html`.
    template: name of a file beside this one, with places `{{title}}` and
      `{{data}}`.
    title: of the page.
    scene: what the script of the page reads, as JSON.

  Raises:
    UserError: the file cannot be written.
  """
  # Inside a script only the start of a tag could end it.
  data = json.dumps(scene).replace('<', '\\u003c')
  values = {'title': html.escape(title), 'data': data}
  # In one pass, so that a title cannot name a place.
  text = re.sub(
      r'\{\{(title|data)\}\}', lambda found: values[found[1]],
      pathlib.Path(__file__).with_name(template).read_text('utf-8'),
  )
  path = pose.writable(path)
  try:
    path.write_text(text, 'utf-8')
  except OSError as error:
    raise UserError(f'{path}: cannot write: {error}') from error


def pack(numbers: np.ndarray) -> str:
  """Return numbers within `LARGEST` as text, rounded."""
  return text_of(np.round(numbers).astype('<i2').tobytes())


def text_of(data: bytes) -> str:
  """Return bytes as text."""
  return base64.b64encode(data).decode('ascii')
