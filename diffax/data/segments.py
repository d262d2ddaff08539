"""Published lists of test segments: read them, and hold the rule to them.

A protocol is a table of where each test segment begins. With P frames of past,
F of future and a stride of D, the lists of Human3.6M and FreeMan hold for
every clip of L frames

  (1)  start = 0, D, 2 D, ... <= L - P - F,

so a store needs no list: `by_rule` cuts the same segments. Who has the
published file can check that with `compare`, which counts what differs and
names the first difference.

A list is a CSV file; its columns `init`, `pred_init` and `pred_end` are the
first frame of the past, the first of the future and, counted in, the last.
"""

import collections
from collections.abc import Callable, Mapping, Sequence
import csv
import dataclasses
import io
from typing import Any, NamedTuple

import numpy as np

from diffax.data import files, transforms
from diffax.errors import DataError, UserError

FRAMES = ('init', 'pred_init', 'pred_end')


class Segment(NamedTuple):
  """A past and its future in a clip.

  Attributes:
    clip: name in the store.
    start: first frame of the past.
    future: first frame of the future, the one after the past.
    stop: the frame after the last one of the future.
  """

  clip: str
  start: int
  future: int
  stop: int


@dataclasses.dataclass(frozen=True)
class Comparison:
  """What the rule cuts from a store, beside a published list.

  Attributes:
    generated: segments of each group by the rule.
    published: segments of each group in the list.
    differing: number of clips whose segments differ, in whatever order.
    difference: the first difference in words; empty if there is none.
  """

  generated: dict[str, int]
  published: dict[str, int]
  differing: int
  difference: str


def read(
    path: files.PathLike,
    columns: Sequence[str],
    clip: Callable[[Mapping[str, str]], str],
) -> list[Segment]:
  """Read a published list; further columns, such as an index, are ignored.

  Args:
    path: a CSV file with a header.
    columns: those that name the clip.
    clip: from a row to the name of the clip in the store.

  Returns:
    The segments, in the order of the list.

  Raises:
    DataError: the file is no such list, or contradicts itself.
  """
  rows = list(csv.DictReader(io.StringIO(files.read_text(path))))
  wanted = (*columns, *FRAMES)
  missing = [name for name in wanted if not rows or name not in rows[0]]
  if missing:
    raise DataError(path, 'columns', f'{", ".join(wanted)} and a row or more',
                    f'no {", ".join(missing)}' if rows else 'no row')
  found: dict[Segment, int] = {}
  for line, row in enumerate(rows, 2):
    if any(row[name] is None for name in wanted):
      raise DataError(path, f'line {line}', f'{len(rows[0])} columns', 'fewer')
    numbers = [
        files.whole(path, f'{name} of line {line}', row[name].strip())
        for name in FRAMES]
    segment = Segment(clip(row), numbers[0], numbers[1], numbers[2] + 1)
    _check(path, line, segment, next(iter(found), segment))
    if segment in found:
      raise DataError(path, f'line {line}', 'a new segment',
                      f'that of line {found[segment]}')
    found[segment] = line
  return list(found)


def by_rule(
    manifest: Mapping[str, Any],
    fps: float,
    protocol: Mapping[str, int],
    split: str = 'test',
) -> list[Segment]:
  """List the segments of a store by the rule (Eq. 1), in its order.

  Args:
    manifest: of the store.
    fps: the rate at which the protocol counts frames.
    protocol: arguments of `transforms.segment_starts`.
    split: of the store.

  Returns:
    What `Source.segments` cuts from the store.

  Raises:
    UserError: the store has another rate.
  """
  if manifest['fps'] != fps:
    raise UserError(f'fps: expected a store at {fps:g}, at which the published'
                    f' segments count, found {manifest["fps"]:g}.')
  rows = [row for row in manifest['clips'] if row['split'] == split]
  starts, clip = transforms.segment_starts(
      np.zeros(len(rows), np.int64),
      np.array([row['frames'] for row in rows], np.int64), **protocol)
  past, whole = protocol['past'], protocol['past'] + protocol['future']
  return [
      Segment(rows[c]['name'], int(s), int(s) + past, int(s) + whole)
      for s, c in zip(starts, clip)
  ]


def count(
    segments: Sequence[Segment], group: Callable[[str], str]
) -> dict[str, int]:
  """Count the segments of each group of clips."""
  return dict(collections.Counter(group(s.clip) for s in segments))


def compare(
    generated: Sequence[Segment],
    published: Sequence[Segment],
    group: Callable[[str], str],
    manifest: Mapping[str, Any],
) -> Comparison:
  """Hold what the rule cuts from a store against a published list.

  Args:
    generated: see `by_rule`.
    published: see `read`.
    group: from the name of a clip to what its segments are counted under.
    manifest: of the store.

  Raises:
    UserError: the list is empty.
  """
  if not published:
    raise UserError('segments: expected a published list, found none.')
  ours, theirs = _by_clip(generated), _by_clip(published)
  odd = [clip for clip in dict.fromkeys([*theirs, *ours])
         if ours.get(clip) != theirs.get(clip)]
  difference = ''
  if odd:
    frames = {row['name']: row['frames'] for row in manifest['clips']}
    length = f'{frames[odd[0]]} frames' if odd[0] in frames else (
        'not in the store')
    a, b = theirs.get(odd[0], set()), ours.get(odd[0], set())
    first = min(a ^ b)
    difference = (
        f'{odd[0]} ({length}): published {len(a)}, generated {len(b)}; only'
        f' {"published" if first in a else "generated"}: frames {first.start}'
        f' to {first.stop - 1}')
  return Comparison(
      generated=count(generated, group), published=count(published, group),
      differing=len(odd), difference=difference)


def _by_clip(segments: Sequence[Segment]) -> dict[str, set[Segment]]:
  found: dict[str, set[Segment]] = {}
  for segment in segments:
    found.setdefault(segment.clip, set()).add(segment)
  return found


def _check(
    path: files.PathLike, line: int, segment: Segment, first: Segment
) -> None:
  """Raise unless a segment has a past and a future as long as the first's."""
  def lengths(of: Segment) -> tuple[int, int]:
    return of.future - of.start, of.stop - of.future

  past, future = lengths(segment)
  if past < 1 or future < 1:
    raise DataError(
        path, f'line {line}', 'init < pred_init <= pred_end',
        f'{segment.start}, {segment.future}, {segment.stop - 1}')
  wanted = lengths(first)
  if (past, future) != wanted:
    raise DataError(
        path, f'line {line}', f'{wanted[0]} frames of past and {wanted[1]} of'
        ' future, as in line 2', f'{past} and {future}')
