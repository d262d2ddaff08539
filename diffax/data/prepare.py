"""Prepare a data set: read every file once, store the clips, say what came.

A preparer is a function `(root, fps, **options) -> Work`: a skeleton, entries
of the manifest, and a list of jobs, each of which reads one file into clips.
`prepare` runs the jobs and writes the store.
"""

from collections.abc import Callable, Mapping
import dataclasses
import functools
import hashlib
import os
import pathlib
from typing import Any

import numpy as np
import rich
from rich import progress

from diffax.body.skeletons import AMASS21, FREEMAN17, H36M16, Skeleton
from diffax.data import amass, bandai, clips, cmu, files, freeman, h36m
from diffax.data import mapping, readers, store, synthetic, threedpw
from diffax.data.base import Clip, Recording
from diffax.errors import DataError, UserError

Job = Callable[[], tuple[list[Clip], list[str]]]


@dataclasses.dataclass(frozen=True)
class Work:
  """What there is to do for a data set.

  Attributes:
    skeleton: of all clips.
    jobs: (file, function that returns its clips and notes).
    info: entries of the manifest; `expected` among them if it is known.
  """

  skeleton: Skeleton
  jobs: list[tuple[str, Job]]
  info: Mapping[str, Any]


def data_root(root: files.PathLike | None = None) -> pathlib.Path:
  """Return the folder of the data: given, `$DIFFAX_DATA`, or `data`."""
  return pathlib.Path(root or os.environ.get('DIFFAX_DATA') or 'data')


def prepare(
    name: str,
    root: files.PathLike | None = None,
    out: files.PathLike | None = None,
    *,
    fps: float = 60.0,
    skip_bad: bool = False,
    **options: Any,
) -> dict[str, Any]:
  """Read a data set and write its store.

  Args:
    name: a key of `PREPARERS`.
    root: folder of the data; see `data_root`.
    out: folder of the store; see `store.default_folder`.
    fps: frames per second of the store.
    skip_bad: go on after a file that cannot be used, and list it.
    **options: of the preparer.

  Returns:
    The manifest.

  Raises:
    DataError: a file that cannot be used.
    UserError: an unknown data set or option, or no usable clip.
  """
  if name not in PREPARERS:
    raise UserError(f'data set: expected one of {", ".join(PREPARERS)}, found'
                    f' {name!r}.')
  if name == 'bvh' and root is None:
    raise UserError(
        'bvh: expected a root, the folder of the motion files: --root on the '
        'command line, config.data.root in an experiment.'
    )
  if not fps > 0:
    raise UserError(f'fps: expected a rate above 0, found {fps}.')
  options = {key: value for key, value in options.items() if value is not None}
  known = set(PREPARERS[name].__annotations__) - {'root', 'fps', 'return'}
  for key in options:
    if key not in known:
      raise UserError(f'{name}: no option {key!r}; it has'
                      f' {", ".join(sorted(known))}.')
  work = PREPARERS[name](data_root(root), fps, **options)
  made, notes, skipped = run(work, skip_bad, name)
  if not made:
    raise UserError(f'{name}: no usable clip in {data_root(root)}.'
                    + ''.join(f'\n  {line}' for line in skipped))
  info = {
      'name': name, **work.info, 'files_read': len(work.jobs) - len(skipped),
      'cuts': notes, 'skipped': skipped,
  }
  if name in LICENCES:
    info['licence'] = LICENCES[name]
  own = root if name == 'bvh' else None
  folder = out or store.default_folder(name, fps, options, own)
  return store.write(folder, made, work.skeleton, info)


def run(
    work: Work, skip_bad: bool = False, name: str = ''
) -> tuple[list[Clip], list[str], list[str]]:
  """Run the jobs of a data set, with a progress bar.

  Args:
    work: what to do.
    skip_bad: go on after a `DataError`.
    name: shown beside the bar.

  Returns:
    Clips, notes on cuts, and the reasons why files were skipped.
  """
  made: list[Clip] = []
  notes: list[str] = []
  skipped: list[str] = []
  with progress.Progress(transient=True) as bar:
    task = bar.add_task(f'reading {name}', total=len(work.jobs))
    for _, job in work.jobs:
      try:
        found, note = job()
        made += found
        notes += note
      except DataError as error:
        if not skip_bad:
          raise
        skipped.append(str(error))
      bar.advance(task)
  return made, notes, skipped


def prepare_cmu(
    root: files.PathLike, fps: float, max_speed: float = clips.MAX_SPEED
) -> Work:
  """Plan the CMU set on AMASS21; see `diffax.data.cmu`.

  Args:
    root: folder with `motion/index.csv`.
    fps: rate of the store.
    max_speed: metres per second that mark a glitch; 0 cuts nothing.
  """
  place = cmu.folder(root)
  rows = cmu.index(place)
  return Work(
      AMASS21, list(cmu.jobs(place, fps, max_speed)),
      {'expected': cmu.expected(rows, fps), 'max_speed': max_speed,
       'joints_from': 'Acclaim and DAZ BVH, by diffax.data.mapping'},
  )


def prepare_bandai(
    root: files.PathLike, fps: float, max_speed: float = clips.MAX_SPEED
) -> Work:
  """Plan the Bandai-Namco set on AMASS21; see `diffax.data.bandai`.

  Args:
    root: folder with `motion/index.csv`.
    fps: rate of the store.
    max_speed: metres per second that mark a glitch; 0 cuts nothing.
  """
  rows = cmu.index(cmu.folder(root), bandai.DATASET)
  return Work(
      AMASS21, list(bandai.jobs(root, fps, max_speed)),
      {'expected': cmu.expected(rows, fps), 'max_speed': max_speed,
       'joints_from': 'BVH, by diffax.data.mapping'},
  )


def prepare_amass(
    root: files.PathLike,
    fps: float,
    body_model: str | None = None,
    max_speed: float = 0.0,
    hands: bool = False,
) -> Work:
  """Plan AMASS by the published split and rate; see `diffax.data.amass`.

  Args:
    root: folder with the unpacked sets, or with `amass/` that holds them.
    fps: rate of the store.
    body_model: the user's SMPL-H folder or file; the mean body if None.
    max_speed: metres per second that mark a glitch; 0, as published, cuts
      nothing.
    hands: keep the fingers: 51 nodes, which need the body model.
  """
  found = amass.sets(root)
  known = [name for names in amass.SPLIT.values() for name in names]
  return Work(
      amass.skeleton(hands),
      list(amass.jobs(root, fps, body_model, max_speed, hands)),
      {
          'joints_from': f'SMPL-H model {body_model}' if body_model else
          'mean neutral body (approximate: no shape, no gender)',
          'max_speed': max_speed,
          'sets': sorted(found),
          'missing_sets': [name for name in known if name not in found],
          'published_test_segments': amass.TEST_SEGMENTS,
      },
  )


def prepare_h36m(
    root: files.PathLike,
    fps: float,
    s8: str = 'train',
    max_speed: float = 0.0,
) -> Work:
  """Plan Human3.6M by the published split; see `diffax.data.h36m.jobs`.

  Args:
    root: folder with `S1/MyPoseFeatures/D3_Positions` and so on, or with
      `h36m/` or `Human36M/` that holds them.
    fps: rate of the store: 50, or that divided by a whole number.
    s8: the split of S8: train, val or, as published, both.
    max_speed: metres per second that mark a glitch; 0, as published, cuts
      nothing.
  """
  jobs = list(h36m.jobs(root, fps, s8, max_speed))
  found = h36m.sequences(root)
  known = [person for who in h36m.SPLIT.values() for person in who]
  return Work(
      H36M16, jobs,
      {
          'expected': h36m.expected(s8),
          'joints_from': 'D3_Positions, 17 of 32 joints',
          'max_speed': max_speed,
          'sets': list(found),
          'missing_sets': [name for name in known if name not in found],
          's8': s8,
          'published_test_segments': h36m.TEST_SEGMENTS,
      },
  )


def prepare_freeman(
    root: files.PathLike,
    fps: float,
    annotations: str | None = None,
    protocol: str = 'published',
    upright: str = 'negate',
    max_speed: float = 0.0,
) -> Work:
  """Plan FreeMan by the published lists; see `diffax.data.freeman.jobs`.

  Args:
    root: folder with `keypoints3d/` and `ignore_list.txt`, or with `freeman/`
      or `FreeMan/` that holds them.
    fps: rate of the store: 30, or that divided by a whole number.
    annotations: folder of the published lists; `annotations` beside
      `keypoints3d` if None.
    protocol: published or, without lists, rule.
    upright: negate, as published, or turn, which keeps left and right.
    max_speed: metres per second that mark a glitch; 0, as published, cuts
      nothing.
  """
  jobs = list(freeman.jobs(
      root, fps, annotations, protocol, upright, max_speed))
  promised = {'expected': freeman.expected(root, annotations)} if (
      protocol == 'published') else {}
  return Work(
      FREEMAN17, jobs,
      {
          **promised,
          'joints_from': f'keypoints3d, cut as {protocol}, Z by {upright}',
          'max_speed': max_speed,
          'protocol': protocol,
          'upright': upright,
          'published_test_segments': freeman.TEST_SEGMENTS,
      },
  )


def prepare_3dpw(
    root: files.PathLike,
    fps: float,
    body_model: str | None = None,
    axes: str = 'upright',
    actors: str = 'both',
    split: str = 'test',
    max_speed: float = 0.0,
) -> Work:
  """Plan 3DPW on AMASS21, for models of AMASS; see `diffax.data.threedpw`.

  Args:
    root: folder with `3dpw/sequenceFiles` or `sequenceFiles`.
    fps: rate of the store; the files have 60.
    body_model: the user's SMPL-H or SMPL folder or file; if None, the bodies
      that the files' own joints have.
    axes: `'upright'`, or `'released'`, which mirrors all motion.
    actors: `'both'` of a sequence, or the `'last'`, which the release keeps.
    split: `'test'` for all sequences, as the paper evaluates, or `'folder'`
      for the data set's own.
    max_speed: metres per second that mark a glitch; 0, as published, cuts
      nothing.
  """
  found = list(threedpw.jobs(
      root, fps, body_model, axes, actors, split, max_speed))
  info = {
      'joints_from': f'body model {body_model}' if body_model else
      'the body of each file, by its own joints',
      'max_speed': max_speed, 'axes': axes, 'actors': actors,
      'split_by': split,
      'sequences': len(found),
      'published_sequences': threedpw.SEQUENCES,
      'published_test_segments': threedpw.TEST_SEGMENTS,
  }
  if actors == 'last':
    info['expected'] = {'clips': threedpw.SEQUENCES}
  return Work(AMASS21, found, info)


def prepare_synthetic(
    root: files.PathLike,
    fps: float,
    seed: int = 0,
    persons: int = 24,
    seconds: float = 15.0,
) -> Work:
  """Plan the generated set; see `diffax.data.synthetic.generate`.

  Args:
    root: not used; nothing is read.
    fps: rate of the store.
    seed: of everything.
    persons: how many.
    seconds: of each clip.
  """
  del root
  return Work(
      AMASS21,
      [('generated', lambda: (
          synthetic.generate(seed, persons, seconds, fps), []))],
      {'seed': seed, 'persons': persons, 'seconds': seconds,
       'joints_from': 'formulas'},
  )


def prepare_bvh(
    root: files.PathLike,
    fps: float,
    skeleton: str = 'amass21',
    joint_map: str | None = None,
    split: str = 'hash',
    unit: str | None = None,
    up: str | None = None,
    skip_first: int = 0,
    max_speed: float = clips.MAX_SPEED,
) -> Work:
  """Plan a user's own folder of motion files, sub-folders included.

  A clip's label is its sub-folder, its subject its file.

  Args:
    root: the folder.
    fps: rate of the store.
    skeleton: `'amass21'` to map joints by name, `'own'` to keep the skeleton
      of the files, which must then be one and the same.
    joint_map: JSON file with the user's own rules, see `mapping.read_map`.
    split: `'hash'` gives a tenth of the files (at least one each, of three or
      more) to val and to test, by the hash of their names; `'folder'` reads
      the split from the first sub-folder: train, val or test.
    unit: unit of length, if it cannot be guessed.
    up: vertical axis, if it cannot be guessed.
    skip_first: frames to leave out at the start of BVH files.
    max_speed: metres per second that mark a glitch; 0 cuts nothing.
  """
  for value, name, choices in ((skeleton, 'skeleton', ('amass21', 'own')),
                               (split, 'split', ('hash', 'folder'))):
    if value not in choices:
      raise UserError(f'{name}: expected {" or ".join(choices)}, found'
                      f' {value!r}.')
  paths = _motion_files(pathlib.Path(root))
  splits = _splits(pathlib.Path(root), paths, split)
  options = {'unit': unit, 'up': up, 'skip_first': skip_first or None}
  body = _Body(skeleton, mapping.read_map(joint_map) if joint_map else None)

  def job(path: pathlib.Path) -> tuple[list[Clip], list[str]]:
    recording = _load(path, options)
    place = path.relative_to(root)
    return clips.make(
        (place.parent / files.bare_name(path)).with_suffix('').as_posix(),
        body.positions(recording), recording.fps, fps,
        subject=path.name, label=place.parent.name or 'motion',
        split=splits[path], file=place.as_posix(), max_speed=max_speed)

  return Work(
      AMASS21 if skeleton == 'amass21' else body.first(paths, options),
      [(path.as_posix(), functools.partial(job, path)) for path in paths],
      {'rigs': body.rigs, 'max_speed': max_speed, 'split_by': split,
       'joints_from': 'the files, by name' if skeleton == 'amass21' else
       'the files, on their own skeleton'},
  )


class _Body:
  """Joints of a folder's recordings: mapped by name, or the files' own."""

  def __init__(
      self, kind: str, joint_map: Mapping[str, mapping.Rule] | None
  ):
    self.kind, self.joint_map = kind, joint_map
    self.skeleton: Skeleton | None = None
    self.rigs: dict[str, int] = {}

  def first(
      self, paths: list[pathlib.Path], options: Mapping[str, Any]
  ) -> Skeleton:
    """Return the skeleton of the first file that can be used."""
    reasons = []
    for path in paths:
      try:
        self.positions(_load(path, options))
      except DataError as error:
        reasons.append(str(error))
      if self.skeleton is not None:
        self.rigs.clear()
        return self.skeleton
    raise UserError('no file has a skeleton of use:\n  '
                    + '\n  '.join(reasons))

  def positions(self, recording: Recording) -> np.ndarray:
    """Return a recording's joints [L, J + 1, 3] on the common skeleton."""
    if self.kind == 'own':
      return self._own(recording)
    plan = mapping.find(
        recording.joints, AMASS21, self.joint_map, recording.file)
    if plan.rig not in self.rigs:
      rich.print(mapping.table(plan, recording.file))
    self.rigs[plan.rig] = self.rigs.get(plan.rig, 0) + 1
    return mapping.to_skeleton(recording, AMASS21, self.joint_map)

  def _own(self, recording: Recording) -> np.ndarray:
    skeleton, positions = mapping.own_skeleton(recording)
    self.skeleton = self.skeleton or skeleton
    if skeleton != self.skeleton:
      raise DataError(
          recording.file, 'skeleton', 'that of the first file:'
          f' {", ".join(self.skeleton.joints)}', ', '.join(skeleton.joints))
    self.rigs['own'] = self.rigs.get('own', 0) + 1
    return positions


def _load(path: pathlib.Path, options: Mapping[str, Any]) -> Recording:
  """Read one file of a folder, with the options that its kind has."""
  own = 'unit', 'up'
  kinds = {
      '.bvh': (*own, 'skip_first'), '.npz': own, '.c3d': own, '.trc': own,
  }
  known = kinds.get(files.bare_suffix(path), ())
  return readers.load(path, 'motion', **{
      key: value for key, value in options.items()
      if key in known and value is not None})


def _motion_files(root: pathlib.Path) -> list[pathlib.Path]:
  """List the motion files below a folder."""
  paths = sorted(
      path for path in root.rglob('*')
      if path.is_file() and files.bare_suffix(path) in readers.SUFFIXES)
  if not paths:
    raise DataError(root, 'folder', f'{", ".join(readers.SUFFIXES)} files',
                    'none', 'Set --root to the folder of the motion files')
  return paths


def _splits(
    root: pathlib.Path, paths: list[pathlib.Path], how: str
) -> dict[pathlib.Path, str]:
  """Divide files into train, val and test."""
  if how == 'folder':
    names = {path: path.relative_to(root).parts[0] for path in paths}
    for path, name in names.items():
      if name not in store.SPLITS:
        raise DataError(path, 'split', f'a sub-folder {", ".join(store.SPLITS)}'
                        f' of {root}', repr(name), 'Or pass split=hash')
    return names
  order = sorted(paths, key=lambda path: hashlib.sha256(
      path.relative_to(root).as_posix().encode()).digest())
  few = max(1, round(len(order) / 10)) if len(order) > 2 else 0
  return {
      path: 'test' if i < few else 'val' if i < 2 * few else 'train'
      for i, path in enumerate(order)
  }


PREPARERS: dict[str, Callable[..., Work]] = {
    'cmu': prepare_cmu,
    'bandai': prepare_bandai,
    'amass': prepare_amass,
    '3dpw': prepare_3dpw,
    'h36m': prepare_h36m,
    'freeman': prepare_freeman,
    'bvh': prepare_bvh,
    'synthetic': prepare_synthetic,
}

LICENCES: Mapping[str, str] = {
    'cmu': 'mocap.cs.cmu.edu, NSF EIA-0196217; free to use, not to be resold',
    'bandai': 'CC BY-NC 4.0',
    'amass': 'by the terms of AMASS and of each of its sets, no commerce',
    '3dpw': 'by the terms of 3DPW, no commerce',
    'h36m': 'by the terms of Human3.6M, academic use alone',
    'freeman': 'by the terms of FreeMan, no commerce',
    'synthetic': 'as diffax',
}
"""Of data sets, for their manifests; nobody knows those of own files."""

RATES: Mapping[str, float] = {'h36m': 50.0, 'freeman': 30.0, 'bandai': 30.0}
"""Frames per second of sets; 60 of all others."""


def rate(name: str) -> float:
  """Return the rate at which a data set is stored unless said otherwise."""
  return RATES.get(name, 60.0)
