"""Say what is in a file: `python -m diffax.data inspect walk.c3d song.wav`.

Everything is shown as a reader sees it, and wherever a reader had to decide
what a file does not say (its unit, which way is up) the reason stands beside
the decision. Gaps, which a reader refuses, are counted here.
"""

from collections.abc import Sequence
import pathlib
import re
from typing import Any, NamedTuple

import numpy as np
import rich.console
from rich import table as rich_table
from rich import text as rich_text

from diffax.body.skeletons import AMASS21
from diffax.data import audio
from diffax.data import base
from diffax.data import c3d
from diffax.data import files
from diffax.data import mapping
from diffax.data import readers
from diffax.data import tables
from diffax.data.base import ForcePlate
from diffax.data.base import Recording
from diffax.data.base import Signals
from diffax.errors import DataError

_UNKNOWN = 'not in the file: state it when reading'
_MOST_ROWS = 60


class Grid(NamedTuple):
  """A table of words: title, names of columns, rows."""

  title: str
  columns: tuple[str, ...]
  rows: Sequence[tuple[str, ...]]


class Report(NamedTuple):
  """What is in a file.

  Attributes:
    path: of the file.
    facts: names and what they are, in the order to show them.
    grids: tables below the facts; those without rows say nothing.
  """

  path: str
  facts: dict[str, str]
  grids: tuple[Grid, ...] = ()


def look(path: files.PathLike, **options: Any) -> Report:
  """Describe a file.

  Args:
    path: of any kind that `readers.load` reads.
    **options: of its reader.

  Returns:
    The report.

  Raises:
    DataError: the file cannot be read.
    UserError: an unknown kind of file or option.
  """
  suffix = files.bare_suffix(path)
  if suffix in readers.SOUNDS:
    return _sound(path, audio.facts(path))
  known = readers.options(path)
  unknown = False
  if suffix == '.csv':
    unknown = _without_rate(path, options)
    options |= {('rate' if 'rate' in known else 'fps'): 1.0} if unknown else {}
  if 'gaps' in known:
    options = {'gaps': 'keep', **options}
  found = readers.load(path, **options)
  if isinstance(found, Signals):
    return _signals(found, unknown)
  return _motion(found, unknown)


def show(
    report: Report, console: rich.console.Console | None = None
) -> None:
  """Print a report."""
  console = console or rich.console.Console()
  facts = Grid(report.path, ('', ''), list(report.facts.items()))
  for grid in (facts, *report.grids):
    if grid.rows:
      console.print(_table(grid))


def _motion(recording: Recording, unknown: bool) -> Report:
  seen = np.isfinite(recording.positions).all(-1)
  count, frames = len(recording.joints), len(recording.positions)
  roots = recording.parents.count(-1)
  what = f'{count} joints, {roots} root{"s" if roots > 1 else ""}' if (
      recording.has_bones) else f'{count} markers, which have no parents'
  notes = dict(recording.notes)
  facts = {
      'kind': f'motion: {what}',
      'rate': _UNKNOWN if unknown else
      f'{recording.fps:g} frames per second{_why(notes)}',
      'length': f'{frames} frames' + (
          '' if unknown else f', {frames / recording.fps:.3f} s'),
      'unit': f'{recording.unit}: {notes.pop("unit", "of the format")}',
      'up': notes.pop('up', 'Z'),
      'gaps': f'{int((~seen).sum())} of {seen.size} points, in '
              f'{int((~seen.all(1)).sum())} frames' if (~seen).any()
              else 'none',
      'size': _size(recording, seen),
      'body': _rig(recording),
      'force plates': f'{len(recording.plates)}' if recording.plates
      else 'none',
      **notes,
      'names': ', '.join(recording.joints) or 'none',
  }
  gaps = Grid('gaps', ('joint', 'frames', 'share', 'longest'), [
      (name, f'{int(n)}', f'{n / frames:.1%}', f'{_longest(~seen[:, j])}')
      for j, name in enumerate(recording.joints)
      if (n := (~seen[:, j]).sum())
  ])
  return Report(recording.file, facts, (
      gaps, _bones(recording), _plates(recording.plates)))


def _signals(signals: Signals, unknown: bool) -> Report:
  steps = np.diff(signals.times) * signals.rate
  late = np.flatnonzero(steps > 1.5)
  seconds = signals.times[-1] + 1 / signals.rate
  notes = dict(signals.notes)
  missing = ~np.isfinite(signals.values)
  facts = {
      'kind': f'signals: {len(signals.columns)} columns',
      'rate': _UNKNOWN if unknown else f'{signals.rate:g} samples per second',
      'length': f'{len(signals.values)} samples' + (
          '' if unknown else f', {seconds:.3f} s'),
      'gaps in time': 'none' if not late.size else
      f'{late.size}, the longest {steps.max() / signals.rate:.3f} s, the first '
      f'at {signals.times[late[0]]:.3f} s',
      'missing cells': f'{int(missing.sum())}' if missing.any() else 'none',
      **_sensors(signals),
      'force plates': f'{len(signals.plates)}' if signals.plates else 'none',
      **notes,
  }
  columns = Grid(
      'columns', ('column', 'least', 'mean', 'greatest', 'spread', 'missing'),
      [_column(name, signals.values[:, i])
       for i, name in enumerate(signals.columns)])
  return Report(signals.file, facts, (columns, _plates(signals.plates)))


def _sound(path: files.PathLike, facts: audio.Facts) -> Report:
  return Report(str(path), {
      'kind': 'sound',
      'rate': f'{facts.rate} samples per second',
      'channels': f'{facts.channels}',
      'length': f'{facts.seconds:.3f} s',
      'level': 'silence' if facts.silent else
      f'{_decibel(facts.level)}, peak {_decibel(facts.peak)}',
      'clipped': f'{facts.clipped:.4%} of the samples' if facts.clipped
      else 'none',
  })


def _without_rate(path: files.PathLike, options: dict[str, Any]) -> bool:
  """Say whether nothing tells the rate of a table."""
  table = tables.read(path)
  clock = tables.clock(
      path, table, options.get('time'), options.get('time_unit'))
  return clock is None and not {'fps', 'rate'} & {*options, *table.said}


def _why(notes: dict[str, str]) -> str:
  reason = notes.pop('rate', '')
  return f': {reason}' if reason else ''


def _size(recording: Recording, seen: np.ndarray) -> str:
  whole = recording.positions[seen.all(1)]
  if not whole.size:
    return 'no frame has every point'
  spans = np.ptp(whole, axis=1)
  text = ' x '.join(f'{v:.2f}' for v in np.median(spans, axis=0))
  text = f'{text} m across in a usual frame (x, y, z up)'
  if recording.has_bones:
    length = base.reach(whole, recording.parents)
    text += f'; {length:.2f} m along the bones from end to end'
  return text


def _rig(recording: Recording) -> str:
  """Say whether the joints are those of a person, by name."""
  try:
    plan = mapping.find(recording.joints, AMASS21, file=recording.file)
  except DataError as error:
    lost = error.expected.partition(' lacks ')[2].split('), ')
    return f'not that of {AMASS21.name} by name ({len(lost)} joints lack)'
  return f'{AMASS21.name}, by the names of {plan.rig}'


def _bones(recording: Recording) -> Grid:
  rows = []
  for joint, parent in enumerate(recording.parents):
    if parent < 0:
      continue
    ends = recording.positions[:, [joint, parent]]
    lengths = np.linalg.norm(ends[:, 0] - ends[:, 1], axis=-1)
    lengths = lengths[np.isfinite(lengths)]
    mean = lengths.mean() if lengths.size else np.nan
    spread = lengths.std() if lengths.size else np.nan
    rows.append((
        f'{recording.joints[parent]} - {recording.joints[joint]}',
        f'{1000 * mean:.1f}', f'{1000 * spread:.2f}'))
  return Grid('bones', ('bone', 'mean, mm', 'spread, mm'), rows)


def _plates(plates: Sequence[ForcePlate]) -> Grid:
  rows = []
  for plate in plates:
    up = plate.forces[:, 2]
    loaded = up >= c3d.LOADED
    where = 'unknown'
    if plate.corners is not None:
      sides = np.linalg.norm(np.diff(plate.corners[:3], axis=0), axis=-1)
      middle = ', '.join(f'{v:.2f}' for v in plate.corners.mean(0))
      where = f'{sides[0]:.2f} x {sides[1]:.2f} at {middle}'
    rows.append((
        plate.name, f'{plate.rate:g}', f'{len(up) / plate.rate:.2f}',
        plate.unit, where, f'{up.max(initial=0.0):.0f}',
        f'{loaded.mean() if loaded.size else 0:.0%}'))
  return Grid(
      'force plates', ('plate', 'Hz', 's', 'units', 'surface, m', 'peak up, N',
                       'loaded'), rows)


def _sensors(signals: Signals) -> dict[str, str]:
  """Guess the unit of acceleration from the size of gravity."""
  places = {name.lower(): i for i, name in enumerate(signals.columns)}
  for name in places:
    # ax, acc_x, userAcceleration.x and the like.
    if not re.fullmatch(r'(?:.*acc\w*?[\s_.:\-]*|a)x(?:[\s_(\[].*)?', name):
      continue
    at = re.sub(r'[\s_(\[][^x]*$', '', name).rindex('x')
    triple = [name[:at] + axis + name[at + 1:] for axis in 'xyz']
    if not all(column in places for column in triple):
      continue
    values = signals.values[:, [places[column] for column in triple]]
    values = values[np.isfinite(values).all(1)]
    size = float(np.linalg.norm(values.mean(0))) if len(values) else 0.0
    unit = next(
        (f'looks like {unit} with gravity' for unit, g in
         (('g', 1.0), ('m/s^2', 9.80665), ('mg', 1000.0))
         if 0.6 * g <= size <= 1.5 * g),
        'without gravity, or not of a sensor that keeps its attitude')
    return {'acceleration': f'{", ".join(triple)}: mean vector {size:.4g}, '
                            f'{unit}'}
  return {}


def _column(name: str, values: np.ndarray) -> tuple[str, ...]:
  known = values[np.isfinite(values)]
  gone = f'{len(values) - len(known)}'
  if not known.size:
    return name, '-', '-', '-', '-', gone
  return name, *(
      f'{v:.5g}' for v in (known.min(), known.mean(), known.max(), known.std())
  ), gone


def _longest(gone: np.ndarray) -> int:
  edges = np.flatnonzero(np.diff(np.concatenate([[0], gone, [0]])))
  return int((edges[1::2] - edges[::2]).max(initial=0))


def _decibel(value: float) -> str:
  return f'{20 * np.log10(value):.1f} dB' if value > 0 else 'nothing'


def _table(grid: Grid) -> rich_table.Table:
  # A Text, because names may hold brackets, which mark up strings.
  facts = not any(grid.columns)
  title = pathlib.Path(grid.title).name if facts else grid.title
  table = rich_table.Table(
      title=rich_text.Text(title), show_header=not facts, title_justify='left')
  for i, column in enumerate(grid.columns):
    table.add_column(
        column, overflow='fold', justify='left' if facts or not i else 'right')
  for row in grid.rows[:_MOST_ROWS]:
    table.add_row(*(rich_text.Text(cell) for cell in row))
  if len(grid.rows) > _MOST_ROWS:
    table.add_row(f'and {len(grid.rows) - _MOST_ROWS} more')
  return table
