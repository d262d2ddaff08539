"""A prepared data set: one folder, one array, one manifest, checksums.

  folder/
    manifest.json   what is inside: clips, frames, minutes, splits, checksums
    positions.npy   float32 [sum of L, J + 1, 3], metres, Z up, root first

A store is whole or absent, see `data.folders`.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import hashlib
import json
import os
import pathlib
from typing import Any

import numpy as np
import rich
from rich import table as rich_table

from diffax.body import skeletons
from diffax.data import base
from diffax.data import folders
from diffax.errors import DataError
from diffax.errors import UserError

FORMAT = 1
POSITIONS = 'positions.npy'
SPLITS = ('train', 'val', 'test')
_REMEDY = 'Prepare the store again: python -m diffax.data prepare NAME'


def default_folder(
    name: str,
    fps: float,
    options: Mapping[str, Any] | None = None,
    root: str | os.PathLike[str] | None = None,
) -> pathlib.Path:
  """Return where a prepared data set lies unless the user says otherwise.

  Args:
    name: of the data set.
    fps: frames per second it was prepared for.
    options: how it was prepared, if not by the defaults; each choice has a
      folder of its own.
    root: of the raw files, if these are the user's own and not a data set that
      is the same everywhere; each has a folder of its own.

  Returns:
    `$DIFFAX_STORE/name-fps`, by default below `~/.cache/diffax`.
  """
  home = os.environ.get('DIFFAX_STORE') or '~/.cache/diffax'
  leaf = f'{name}-{fps:g}'
  marks = dict(options or {})
  if root is not None:
    marks['root'] = str(pathlib.Path(root).expanduser().resolve())
  if marks:
    text = json.dumps(marks, sort_keys=True, default=str)
    leaf += '-' + hashlib.sha256(text.encode()).hexdigest()[:8]
  return pathlib.Path(home).expanduser() / leaf


def write(
    folder: str | os.PathLike[str],
    clips: Sequence[base.Clip],
    skeleton: skeletons.Skeleton,
    info: Mapping[str, Any],
) -> dict[str, Any]:
  """Write clips to a folder, whole or not at all; replace an older store.

  Args:
    folder: of the store.
    clips: all of one rate, on the joints of `skeleton`.
    skeleton: kept in the manifest, so that any skeleton can be read back.
    info: further entries of the manifest, e.g. `name`, `expected` (a dict of
      `clips`, `frames`, `minutes` or `subjects` as published), `skipped`.

  Returns:
    The manifest.

  Raises:
    DataError: if a clip fails `check_clip`, a name is taken twice, or the
      rates differ.
    UserError: if the folder cannot be written.
  """
  folder = pathlib.Path(folder).expanduser().absolute()
  _check_clips(folder, clips, skeleton)
  try:
    with folders.filling(folder) as work:
      positions = np.concatenate(
          [np.asarray(clip.positions, np.float32) for clip in clips]
      )
      np.save(work / POSITIONS, positions)
      return folders.write_manifest(
          work, _manifest(clips, skeleton, info), [POSITIONS]
      )
  except OSError as error:
    raise UserError(f'{folder}: cannot write the store: {error}') from error


def load(
    folder: str | os.PathLike[str],
) -> tuple[np.ndarray, dict[str, Any]]:
  """Read a store as one array.

  Args:
    folder: of the store.

  Returns:
    Positions [sum of L, J + 1, 3], float32, mapped from disk, and the
    manifest, whose `clips` have `offset` and `frames`.

  Raises:
    DataError: if the store is absent, cut, changed or of another format.
  """
  folder = pathlib.Path(folder).expanduser()
  manifest = read_manifest(folder)
  return folders.load(folder, POSITIONS, manifest, _REMEDY), manifest


def read(
    folder: str | os.PathLike[str],
) -> tuple[list[base.Clip], dict[str, Any]]:
  """Read a store as clips; see `load`."""
  positions, manifest = load(folder)
  clips = [
      base.Clip(
          name=row['name'],
          positions=positions[row['offset']:row['offset'] + row['frames']],
          fps=manifest['fps'],
          subject=row['subject'],
          label=row['label'],
          split=row['split'],
          file=row['file'],
      )
      for row in manifest['clips']
  ]
  return clips, manifest


def read_manifest(folder: str | os.PathLike[str]) -> dict[str, Any]:
  """Read and check the manifest of a store; see `load`."""
  return folders.read_manifest(pathlib.Path(folder), FORMAT, _REMEDY)


def skeleton_of(manifest: Mapping[str, Any]) -> skeletons.Skeleton:
  """Return the skeleton that a manifest describes."""
  return skeletons.Skeleton(
      **{key: _tuples(value) for key, value in manifest['skeleton'].items()}
  )


def print_manifest(manifest: Mapping[str, Any]) -> None:
  """Print what a store holds as a table, beside what was expected."""
  table = rich_table.Table(
      title=f'{manifest.get("name", "store")}: {manifest["fps"]:g} fps, '
      f'{manifest["skeleton"]["name"]}, {manifest["unit"]}'
  )
  table.add_column('split')
  for column in ('clips', 'frames', 'minutes', 'subjects'):
    table.add_column(column, justify='right')
  rows = {**manifest['splits'], 'all': manifest['found']}
  for split, row in rows.items():
    table.add_row(split, *_cells(row))
  if manifest.get('expected'):
    table.add_row('expected', *_cells(manifest['expected']))
  rich.print(table)
  labels = ', '.join(f'{k} {v}' for k, v in manifest['labels'].items())
  rich.print(f'clips per label: {labels}')
  if manifest.get('skipped'):
    rich.print(f'skipped {len(manifest["skipped"])}:')
    for reason in manifest['skipped']:
      rich.print(f'  {reason}')


def _cells(row: Mapping[str, Any]) -> list[str]:
  return [
      f'{row["clips"]:,}' if 'clips' in row else '',
      f'{row["frames"]:,}' if 'frames' in row else '',
      f'{row["minutes"]:.1f}' if 'minutes' in row else '',
      f'{row["subjects"]}' if 'subjects' in row else '',
  ]


def _check_clips(
    folder: pathlib.Path, clips: Sequence[base.Clip],
    skeleton: skeletons.Skeleton
) -> None:
  if not clips:
    raise DataError(folder, 'clips', 'at least one', 'none')
  seen: set[str] = set()
  for clip in clips:
    if clip.fps != clips[0].fps:
      raise DataError(
          clip.file, f'fps of clip {clip.name}', f'{clips[0].fps:g} like the '
          'others', f'{clip.fps:g}'
      )
    if clip.name in seen:
      raise DataError(clip.file, 'clip name', 'another name', clip.name)
    seen.add(clip.name)
    base.check_clip(clip, skeleton)


def _manifest(
    clips: Sequence[base.Clip], skeleton: skeletons.Skeleton,
    info: Mapping[str, Any]
) -> dict[str, Any]:
  offsets = np.cumsum([0] + [len(clip.positions) for clip in clips])
  rows = [
      {
          **{
              field.name: getattr(clip, field.name)
              for field in dataclasses.fields(clip)
              if field.name not in ('positions', 'fps')
          },
          'offset': int(offset),
          'frames': len(clip.positions),
      }
      for clip, offset in zip(clips, offsets)
  ]
  splits = {
      split: _count([row for row in rows if row['split'] == split], clips[0])
      for split in SPLITS
  }
  labels = sorted({row['label'] for row in rows})
  return {
      **info,
      'format': FORMAT,
      'unit': 'm',
      'up': 'z',
      'fps': clips[0].fps,
      'skeleton': dataclasses.asdict(skeleton),
      'found': _count(rows, clips[0]),
      'splits': splits,
      'labels': {x: sum(row['label'] == x for row in rows) for x in labels},
      'subjects': sorted({row['subject'] for row in rows}),
      'clips': rows,
  }


def _count(rows: Sequence[Mapping[str, Any]], clip: base.Clip) -> dict:
  frames = sum(row['frames'] for row in rows)
  return {
      'clips': len(rows),
      'frames': frames,
      'minutes': round(frames / clip.fps / 60, 3),
      'subjects': len({row['subject'] for row in rows}),
  }


def _tuples(value: Any) -> Any:
  if isinstance(value, list):
    return tuple(_tuples(item) for item in value)
  return value
