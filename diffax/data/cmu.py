"""CMU motion capture: 122 recordings of 25 people, split by person.

The folder `motion/` holds the files and `index.csv`, which says for each its
frame rate (two subjects' headers are wrong by a factor two), the calibration
frames to skip, the unit, the split by person, the action and the SHA-256 of
the uncompressed file. Two forms occur: Acclaim AMC with one skeleton per
person, and the DAZ-friendly BVH with one skeleton for all; both are carried
over to the AMASS21 joints by `diffax.data.mapping`.

Recordings hold optical glitches. A recording is cut where any joint moves
faster than 20 m/s, `clips.MARGIN` seconds around; what was lost is listed in
the manifest under `cuts`.
"""

from collections.abc import Iterator, Mapping
import csv
import hashlib
import io
import pathlib
from typing import Any

from diffax.body.skeletons import AMASS21
from diffax.data import asf, bvh, clips, files, mapping
from diffax.data.base import Clip, Recording
from diffax.errors import DataError

FIELDS = ('file', 'dataset', 'split', 'subject', 'action', 'fps', 'frames',
          'skip_first', 'seconds', 'unit_to_m', 'sha256_raw', 'note')

CLASSES = (
    ('walk, jump', 'mixed'),
    ('multi-activity', 'mixed'),
    ('playground', 'climb'),
    ('dance', 'dance'),
    ('martial', 'fight'),
    ('punch', 'fight'),
    ('sword', 'fight'),
    ('soccer', 'soccer'),
    ('backflip', 'exercise'),
    ('jumping jacks', 'exercise'),
    ('balance on one', 'balance'),
    ('run', 'run'),
    ('jump', 'jump'),
    ('walk', 'walk'),
)
"""Words of an action and the class they mean, the first that occurs counts;
`everyday` if none does. The classes weight the CMD metric."""


def label(action: str) -> str:
  """Return the coarse class of an action."""
  text = action.lower()
  return next((name for word, name in CLASSES if word in text), 'everyday')


def index(root: files.PathLike, dataset: str = 'CMU') -> list[dict[str, str]]:
  """Read the rows of a data set from `root/index.csv`.

  Raises:
    DataError: the index is missing, or lacks a column or all rows.
  """
  path = pathlib.Path(root) / 'index.csv'
  rows = list(csv.DictReader(io.StringIO(files.read_text(path))))
  missing = [f for f in FIELDS if not rows or f not in rows[0]]
  if missing:
    raise DataError(path, 'columns', ', '.join(FIELDS),
                    f'no {", ".join(missing)}')
  rows = [row for row in rows if row['dataset'] == dataset]
  if not rows:
    raise DataError(path, 'dataset', f'rows of {dataset}', 'none')
  return rows


def folder(root: files.PathLike) -> pathlib.Path:
  """Find the folder of `index.csv`: the root, or `motion` below it.

  Raises:
    DataError: neither holds an index.
  """
  for place in (pathlib.Path(root) / 'motion', pathlib.Path(root)):
    if (place / 'index.csv').is_file():
      return place
  raise DataError(root, 'folder', 'motion/index.csv', 'no such file',
                  'Set --root or DIFFAX_DATA to the folder of the data')


def read(root: files.PathLike, row: Mapping[str, str]) -> Recording:
  """Read one recording as the index describes it.

  Raises:
    DataError: the file is not the one of the index, or not readable.
  """
  path = pathlib.Path(root) / row['file']
  found = hashlib.sha256(files.read_bytes(path)).hexdigest()
  if found != row['sha256_raw']:
    raise DataError(path, 'SHA-256', row['sha256_raw'], found,
                    'The file differs from the one that was indexed')
  fps = float(files.numbers(path, 'fps of the index', [row['fps']])[0])
  skip = files.whole(path, 'skip_first of the index', row['skip_first'])
  if files.bare_suffix(path) == '.bvh':
    return bvh.read(path, fps=fps, unit='cm', up='y', skip_first=skip)
  skeleton = path.parents[2] / 'asf' / f'{row["subject"]}.asf'
  return asf.read(path, skeleton, fps=fps,
                  allow_cut='frame numbers start' in row['note'])


def clips_of(
    root: files.PathLike,
    row: Mapping[str, str],
    fps: float,
    max_speed: float = clips.MAX_SPEED,
) -> tuple[list[Clip], list[str]]:
  """Read one recording into clips of AMASS21 joints; see `clips.make`."""
  recording = read(root, row)
  return clips.make(
      pathlib.Path(files.bare_name(row['file'])).stem,
      mapping.to_skeleton(recording, AMASS21), recording.fps, fps,
      subject=row['subject'], label=label(row['action']), split=row['split'],
      file=row['file'], max_speed=max_speed,
  )


def expected(rows: list[dict[str, str]], fps: float) -> dict[str, Any]:
  """Count what the index promises, before glitches are cut."""
  seconds = sum(float(row['seconds']) for row in rows)
  return {
      'clips': len(rows),
      'frames': round(seconds * fps),
      'minutes': round(seconds / 60, 3),
      'subjects': len({row['subject'] for row in rows}),
  }


def jobs(
    root: files.PathLike, fps: float, max_speed: float = clips.MAX_SPEED
) -> Iterator[tuple[str, Any]]:
  """Yield a name and a function that makes clips, for each recording."""
  place = folder(root)
  for row in index(place):
    yield row['file'], lambda row=row: clips_of(place, row, fps, max_speed)
