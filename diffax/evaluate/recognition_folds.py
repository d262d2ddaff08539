"""Draw the persons of a leave-one-subject-out study together.

  python -m diffax.evaluate.recognition_folds runs/STUDY/ROW

Each run of evaluator `recognition` below the folder holds out one person; runs
of one person with other seeds are averaged first. Into the folder go

  persons.png     macro-F1 of each person; deviations are over classifiers, or
                  over runs where a person has several
  doses.png       mean and deviation over persons of the dose response
  confusion.png   windows of all persons

The numbers of the tables come from `python -m diffax.study`.
"""

import argparse
from collections.abc import Mapping, Sequence
import json
import pathlib
import re
import sys
from typing import Any

import numpy as np

from diffax.errors import DataError
from diffax.errors import UserError
from diffax.evaluate.recognition import DRAWN
from diffax.viz import recognition as plots

METRICS = 'metrics.json'
_LEVELS = ('few', 'few+classical', 'full')

Rows = Mapping[str, Any]


def read(folder: pathlib.Path) -> list[dict[str, Any]]:
  """Return the metrics of all runs below a folder.

  Args:
    folder: a row of a study, or any with runs in it.

  Returns:
    What the files metrics.json hold.

  Raises:
    UserError: there is none, or one is not of this evaluator.
  """
  found = []
  for path in sorted(folder.glob(f'**/{METRICS}'), key=_in_order):
    metrics = json.loads(path.read_text())
    if not {'conditions', 'doses', 'held_out'} <= set(metrics):
      raise DataError(
          path, 'content', "metrics of eval.name = 'recognition'",
          f'{sorted(metrics)}'
      )
    found.append(metrics)
  if not found:
    raise UserError(f'{folder}: expected runs with {METRICS}, found none.')
  return found


def _in_order(path: pathlib.Path) -> list[str | int]:
  # Fold 2 comes before fold 10.
  return [int(piece) if i % 2 else piece
          for i, piece in enumerate(re.split('([0-9]+)', str(path)))]


def by_person(rows: Sequence[Rows], name: str) -> dict[str, plots.Level]:
  """Return the macro-F1 of a condition, or dose, by person.

  Args:
    rows: `conditions` or `doses` of each run.
    name: of the condition.

  Returns:
    Mean and deviation over classifiers, or over a person's runs if several.
  """
  found: dict[str, list[plots.Level]] = {}
  for row in rows:
    for person, scores in row[name]['persons'].items():
      value = scores['macro-F1']
      found.setdefault(person, []).append((value['mean'], value['std']))
  return {
      person: levels[0] if len(levels) == 1 else _over([m for m, _ in levels])
      for person, levels in found.items()
  }


def draw(folder: pathlib.Path) -> dict[str, pathlib.Path]:
  """Draw the pictures of a folder of runs.

  Args:
    folder: see `read`.

  Returns:
    The files by name.

  Raises:
    UserError: as `read`, or matplotlib is missing.
  """
  runs = read(folder)
  rows = [run['conditions'] for run in runs]
  names = [n for n in DRAWN if all(n in row for row in rows)]
  written = {}
  scores = {name: by_person(rows, name) for name in names}
  if names:
    count = len(scores[names[0]])
    title = f'{folder.name}, {count} persons held out in turn'
    written['persons.png'] = folder / 'persons.png'
    plots.bars(
        folder / 'persons.png',
        {person: {name: scores[name][person] for name in names}
         for person in scores[names[0]]},
        ylabel='macro-F1', title=title,
    )
    written['confusion.png'] = folder / 'confusion.png'
    plots.confusions(
        folder / 'confusion.png',
        {name: np.sum([row[name]['confusion'] for row in rows], axis=0)
         for name in names},
        runs[0]['classes'], title=title,
    )
  doses = [run['doses'] for run in runs]
  common = [d for d in doses[0] if all(d in row for row in doses)]
  if common:
    common.sort(key=float)
    over = np.array([_mean_over(by_person(doses, d)) for d in common])
    written['doses.png'] = folder / 'doses.png'
    plots.doses(
        folder / 'doses.png', [float(d) for d in common],
        {'few+synthetic, mean ± std over persons': (over[:, 0], over[:, 1])},
        ylabel='macro-F1', title=f'{folder.name}: dose response',
        levels={n: _mean_over(scores[n]) for n in _LEVELS if n in scores},
    )
  return written


def _mean_over(persons: Mapping[str, plots.Level]) -> plots.Level:
  return _over([mean for mean, _ in persons.values()])


def _over(values: Sequence[float]) -> plots.Level:
  return float(np.mean(values)), float(np.std(values))


def main(argv: Sequence[str] | None = None) -> int:
  """Run the command line; 2 after a mistake of the user's."""
  parser = argparse.ArgumentParser(
      'python -m diffax.evaluate.recognition_folds'
  )
  parser.add_argument('folder', type=pathlib.Path, help='a row of a study')
  try:
    written = draw(parser.parse_args(argv).folder)
  except UserError as error:
    print(f'error: {error}', file=sys.stderr)
    return 2
  for path in written.values():
    print(path)
  return 0


if __name__ == '__main__':
  sys.exit(main())
