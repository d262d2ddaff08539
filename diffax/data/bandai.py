"""Bandai-Namco Research Motiondataset 1: 17 minutes of acted styles at 30 fps.

The index of `diffax.data.cmu` lists 174 BVH files under `Bandai-Namco-1`, each
an action in a style (`bow|active`). The classes are the actions. Who acted is
not published, so the split is by file: persons of the test were seen while
training, and numbers on this set say nothing about new people.
"""

from collections.abc import Iterator, Mapping
import pathlib
from typing import Any

from diffax.body.skeletons import AMASS21
from diffax.data import clips
from diffax.data import cmu
from diffax.data import files
from diffax.data import mapping
from diffax.data.base import Clip

DATASET = 'Bandai-Namco-1'


def clips_of(
    root: files.PathLike,
    row: Mapping[str, str],
    fps: float,
    max_speed: float = clips.MAX_SPEED,
) -> tuple[list[Clip], list[str]]:
  """Read one recording into clips of AMASS21 joints; see `clips.make`."""
  recording = cmu.read(root, row)
  action = row['action'].partition('|')[0]
  return clips.make(
      pathlib.Path(files.bare_name(row['file'])).stem,
      mapping.to_skeleton(recording, AMASS21), recording.fps, fps,
      subject=row['subject'] or 'unknown', label=action, split=row['split'],
      file=row['file'], max_speed=max_speed,
  )


def jobs(
    root: files.PathLike, fps: float, max_speed: float = clips.MAX_SPEED
) -> Iterator[tuple[str, Any]]:
  """Yield a name and a function that makes clips, for each recording."""
  place = cmu.folder(root)
  for row in cmu.index(place, DATASET):
    yield row['file'], lambda row=row: clips_of(place, row, fps, max_speed)
