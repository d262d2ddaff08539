"""Continue a motion: futures of a clip as files, animations and a web page.

Into the folder go

  futures.npz      every future; see `forecast`
  closest.bvh      past and future of the sample closest to what happened
                   (`typical.bvh`, closest to the mean, if that is unknown)
  diverse_N.bvh    likewise, of samples that differ most from each other
  futures.gif, futures.mp4, futures.png (a strip of poses), futures.html

and, if the user has a model of the body, SMPL's or SMPL-H's,

  closest.glb, diverse_N.glb   past and future with a skin, animated
  closest_FRAME.obj            five poses of the closest future

and bodies instead of stick figures in the page.

Poses are about the root, as models see them. Files need a root that is
somewhere: it stands still, so high that the lowest foot of the past is at 0.
"""

from collections.abc import Callable, Mapping, Sequence
import importlib.util
import pathlib
from typing import Any, NamedTuple

import jax
import numpy as np
import rich.box
import rich.console
import rich.table
import rich.text

from diffax.body import meshes
from diffax.body.skeletons import AMASS21
from diffax.body.skeletons import Skeleton
from diffax.data import bvh
from diffax.data import clips
from diffax.data import mapping
from diffax.data import readers
from diffax.data import transforms
from diffax.data.base import Source
from diffax.errors import DataError
from diffax.errors import UserError
from diffax.metrics import forecasting as measures
from diffax.trained import Trained
from diffax.typing import Array
from diffax.typing import Batch
from diffax.typing import Key
from diffax.viz import html
from diffax.viz import mesh
from diffax.viz import pose
from diffax.viz import stick

SampleFn = Callable[[Batch, Key], Array]
PathLike = pathlib.Path | str

FORMATS = ('npz', 'bvh', 'glb', 'obj', 'gif', 'mp4', 'png', 'html')
SKINS = ('glb', 'obj')
"""The formats that need a body model."""

_NEEDS = {
    'gif': ('matplotlib', 'PIL'),
    'mp4': ('matplotlib', 'imageio_ffmpeg'),
    'png': ('matplotlib',),
}


class Segment(NamedTuple):
  """A past, and what followed if that is known.

  Attributes:
    name: for titles.
    past: `[P, J, 3]` float32, metres, about the root.
    truth: `[F, J, 3]`, or None.
  """

  name: str
  past: np.ndarray
  truth: np.ndarray | None


class _Skins(NamedTuple):
  """Bodies of the motions drawn, and how well they fit.

  Attributes:
    bodies: about the root.
    gaps: by title, how far a joint is at most from the body's, metres.
  """

  bodies: mesh.Bodies
  gaps: Mapping[str, float]


class _Chosen(NamedTuple):
  """A future to draw: a name for its file, a title, its number, its poses."""

  file: str
  title: str
  number: int
  motion: np.ndarray


def draw(
    model: Trained,
    workdir: PathLike,
    *,
    seed: int,
    input: PathLike | None = None,
    start: float | None = None,
    joint_map: Mapping[str, mapping.Rule] | PathLike | None = None,
    asf: PathLike | None = None,
    body_model: PathLike | None = None,
) -> dict[str, pathlib.Path]:
  """Draw futures of a clip, or without one of a test segment.

  Args:
    model: its `sample` goes from `past` to `motion`.
    workdir: folder of the files.
    seed: of the futures.
    input: a user's clip.
    start: second of it at which the future begins.
    joint_map: as for `forecast`.
    asf: as for `forecast`.
    body_model: as for `forecast`.

  Returns:
    The files by name.

  Raises:
    DataError, UserError: as `forecast`; an option without an input.
  """

  def sample(batch: Batch, key: Key) -> Array:
    return model.sample(batch, key)['motion']

  if input is not None:
    return forecast(
        sample, model.source.info, input, workdir, seed=seed, start=start,
        joint_map=joint_map, asf=asf, body_model=body_model
    )
  for name, value in (('start', start), ('joint_map', joint_map), ('asf', asf)):
    if value is not None:
      raise UserError(f'--{name}: expected with --input, found without.')
  return forecast_segment(
      sample, model.source, workdir, seed=seed, body_model=body_model
  )


def forecast(
    sample_fn: SampleFn,
    info: Mapping[str, Any],
    input_path: PathLike,
    workdir: PathLike,
    *,
    seed: int = 0,
    start: float | None = None,
    joint_map: Mapping[str, mapping.Rule] | PathLike | None = None,
    asf: PathLike | None = None,
    diverse: int = 4,
    formats: Sequence[str] | None = None,
    body_model: PathLike | None = None,
) -> dict[str, pathlib.Path]:
  """Draw futures of a user's clip.

  Args:
    sample_fn: from a batch with `past` `[1, P, J, 3]`, metres about the root,
      and a key to futures `[1, K, F, J, 3]`.
    info: of the source that the model was trained on.
    input_path: a `.bvh`, `.npz` or `.amc`, plain or `.xz`.
    workdir: folder of the files.
    seed: of the futures.
    start: second of the clip at which the future begins; by default its end.
    joint_map: rules for joints that are not found by name, or a JSON file of
      them; see `data.mapping`.
    asf: skeleton of an `.amc`, if it is not beside it.
    diverse: how many diverse futures to draw and write as BVH.
    formats: some of `FORMATS`; by default all that installed packages and the
      body model allow.
    body_model: the user's file of SMPL or SMPL-H, or a folder of them; if it
      cannot be used that is printed, and the page shows stick figures.

  Returns:
    The files by name. `futures.npz` holds `positions [K, F, J + 1, 3]` and
    `past [P, J + 1, 3]` in metres, Z up, the root first and at the origin,
    `truth` likewise if known, `joints`, `parents`, `fps`, `unit`, `up`, and
    the indices `closest` and `diverse` of the futures drawn.

  Raises:
    DataError: the clip cannot be read, is too short, lacks joints or has fewer
      frames per second than the model.
    UserError: an argument is wrong.
  """
  body = _body(body_model, info['skeleton'], formats)
  kinds = _formats(formats, diverse, body)
  segment = _read(input_path, info, start, joint_map, asf)
  return _write(sample_fn, info, segment, workdir, seed, diverse, kinds, body)


def forecast_segment(
    sample_fn: SampleFn,
    source: Source,
    workdir: PathLike,
    *,
    seed: int = 0,
    split: str = 'test',
    segment: int | None = None,
    diverse: int = 4,
    formats: Sequence[str] | None = None,
    body_model: PathLike | None = None,
) -> dict[str, pathlib.Path]:
  """Draw futures of a segment of the data.

  Args:
    sample_fn: as for `forecast`.
    source: of the segments.
    workdir: folder of the files.
    seed: of the futures, and of the choice of the segment.
    split: of the source.
    segment: its index; by default one is drawn.
    diverse: as for `forecast`.
    formats: as for `forecast`.
    body_model: as for `forecast`.

  Returns:
    The files by name, as `forecast`.

  Raises:
    UserError: an argument is wrong.
  """
  body = _body(body_model, source.info['skeleton'], formats)
  kinds = _formats(formats, diverse, body)
  arrays = source.segments(split)
  total = len(arrays['past'])
  if segment is None and total:
    segment = int(np.random.default_rng(seed).integers(total))
  if segment is None or not 0 <= segment < total:
    raise UserError(
        f'segment: expected 0..{total - 1} of split {split!r}, found {segment}.'
    )
  info = source.info
  clip = info['clips'][split][int(arrays['clip'][segment])]
  begin = (int(arrays['start'][segment]) + info['past']) / info['fps']
  found = Segment(
      f"{info['name']} {clip} from {begin:.2f} s",
      arrays['past'][segment],
      arrays['future'][segment],
  )
  return _write(sample_fn, info, found, workdir, seed, diverse, kinds, body)


def _body(
    body_model: PathLike | None, skeleton: Skeleton,
    formats: Sequence[str] | None
) -> meshes.Model | None:
  """Load the body model, or say why there is none and do without it."""
  if body_model is None:
    return None
  try:
    if skeleton.joints[:meshes.JOINTS] != AMASS21.joints:
      raise UserError(
          f'body_model: expected the joints of {AMASS21.name}, which a body '
          f'can be fitted to, found skeleton {skeleton.name}.'
      )
    return meshes.load(body_model)
  except UserError as error:
    if set(SKINS) & set(formats or ()):
      raise
    print(f'No bodies drawn, but stick figures: {error}')
    return None


def _formats(
    formats: Sequence[str] | None, diverse: int, body: meshes.Model | None
) -> tuple[str, ...]:
  """Check formats, or find those whose packages are there."""
  if diverse < 0:
    raise UserError(f'diverse: expected 0 or more, found {diverse}.')
  for kind in formats or ():
    if kind not in FORMATS:
      raise UserError(
          f'formats: expected some of {", ".join(FORMATS)}, found {kind!r}.'
      )
  kept = []
  for kind in FORMATS if formats is None else formats:
    if kind in SKINS and body is None:
      if formats is None:
        continue
      raise UserError(f'formats: {kind!r} needs a body_model, found none.')
    lost = [p for p in _NEEDS.get(kind, ()) if not _installed(p)]
    if lost and formats is not None:
      raise pose.missing(lost[0])
    if lost:
      print(f'No {kind.upper()} drawn: {pose.missing(lost[0])}')
    else:
      kept.append(kind)
  return tuple(kept)


def _installed(package: str) -> bool:
  return importlib.util.find_spec(package) is not None


def _read(
    path: PathLike, info: Mapping[str, Any], start: float | None,
    joint_map: Mapping[str, mapping.Rule] | PathLike | None,
    asf: PathLike | None
) -> Segment:
  """Read a clip, carry it over to the model's skeleton and rate, cut it."""
  options = {} if asf is None else {'asf': asf}
  recording = readers.load(path, 'motion', **options)
  fps, past, future = float(info['fps']), info['past'], info['future']
  # The published rates of 60 fps are often 59.94.
  if recording.fps < 0.99 * fps:
    raise DataError(
        path, 'fps', f'at least {fps:g}, the rate of the model',
        f'{recording.fps:g}', 'Motion between the frames cannot be made up'
    )
  if isinstance(joint_map, (str, pathlib.Path)):
    joint_map = mapping.read_map(joint_map)
  joints = mapping.to_skeleton(
      recording, info['skeleton'], joint_map, show=True
  )
  poses = transforms.root_centre(clips.resample(joints, recording.fps, fps)[0])
  length = len(poses)
  if length < past:
    raise DataError(
        path, 'frames', f'at least {past} at {fps:g} fps ({past / fps:.2f} s), '
        'which the model observes', f'{length} ({length / fps:.2f} s)',
        'The clip is too short'
    )
  seconds = length / fps if start is None else start
  if not (past - 0.5) / fps <= seconds <= (length + 0.5) / fps:
    raise UserError(
        f'start: expected {past / fps:.2f}..{length / fps:.2f} s of {path}, '
        f'found {start:g} s.'
    )
  begin = min(max(round(seconds * fps), past), length)
  poses = poses.astype(np.float32)
  following = poses[begin:begin + future]
  return Segment(
      f'{pathlib.Path(path).name} from {begin / fps:.2f} s',
      poses[begin - past:begin],
      following if len(following) == future else None,
  )


def _write(
    sample_fn: SampleFn, info: Mapping[str, Any], segment: Segment,
    workdir: PathLike, seed: int, diverse: int, kinds: Sequence[str],
    body: meshes.Model | None
) -> dict[str, pathlib.Path]:
  futures = _sample(sample_fn, segment, seed, info['skeleton'])
  chosen = _choose(futures, segment.truth, diverse)
  skins = None
  if body is not None and {'html', *SKINS} & set(kinds):
    skins = _skins(segment, chosen, body)
  skeleton, fps = info['skeleton'], float(info['fps'])
  folder = pathlib.Path(workdir)
  written: dict[str, pathlib.Path] = {}
  notes: dict[str, str] = {}
  if 'npz' in kinds:
    written['futures.npz'] = pose.writable(folder / 'futures.npz')
    _save(written['futures.npz'], segment, futures, chosen, skeleton, fps)
    notes['futures.npz'] = f'{len(futures)} futures'
  if 'bvh' in kinds:
    for choice in chosen:
      name = f'{choice.file}.bvh'
      written[name] = pose.writable(folder / name)
      gap = _save_bvh(written[name], segment.past, choice.motion, skeleton, fps)
      notes[name] = f'rigid bones, joints within {1000 * gap:.0f} mm'
  if skins is not None:
    for name, note in _save_meshes(folder, chosen, skins, fps, kinds).items():
      written[name], notes[name] = folder / name, note
  drawn = [kind for kind in kinds if kind in ('gif', 'mp4', 'png')]
  for kind in drawn + ['html'] * ('html' in kinds):
    name = f'futures.{kind}'
    written[name] = folder / name
    _draw(written[name], segment, chosen, skeleton, fps, skins)
    notes[name] = _SHOWS[kind]
  _report(segment.name, written, notes)
  # Not in the table, which would break a long path.
  print(f'in {folder}')
  return written


_POSES = 5
_TRUTH = 'ground truth'
_SHOWS = {
    'gif': 'animation',
    'mp4': 'film',
    'png': 'strip of poses',
    'html': 'open in a browser: turn, zoom, play',
}


def _sample(
    sample_fn: SampleFn, segment: Segment, seed: int, skeleton: Skeleton
) -> np.ndarray:
  """Return futures `[K, F, J, 3]`."""
  batch = {'past': np.asarray(segment.past, np.float32)[None]}
  motion = np.asarray(sample_fn(batch, jax.random.key(seed)))
  if motion.ndim != 5 or motion.shape[0] != 1 or not motion.shape[1] or (
      motion.shape[3:] != (skeleton.num_nodes, 3)
  ):
    raise UserError(
        f'futures: expected [1, K, F, {skeleton.num_nodes}, 3], found '
        f'{list(motion.shape)}.'
    )
  if not np.isfinite(motion).all():
    raise UserError(
        'futures: expected finite positions, found NaN or infinity. Did the '
        'training diverge?'
    )
  return motion[0]


def _choose(
    futures: np.ndarray, truth: np.ndarray | None, diverse: int
) -> list[_Chosen]:
  """Choose the futures to draw; without a truth, the mean stands for it."""
  if truth is not None and len(truth) != len(futures[0]):
    frames = min(len(truth), len(futures[0]))
    reference, compared = truth[:frames], futures[:, :frames]
  else:
    reference = futures.mean(0) if truth is None else truth
    compared = futures
  first = int(measures.rank_closest(compared, reference)[0])
  name = 'typical' if truth is None else 'closest'
  chosen = [_Chosen(name, name, first, futures[first])]
  others = measures.rank_diverse(compared, reference, diverse)
  for number, index in enumerate(others, 1):
    chosen.append(_Chosen(
        f'diverse_{number}', f'diverse {number}', int(index), futures[index]
    ))
  return chosen


def _skins(
    segment: Segment, chosen: Sequence[_Chosen], body: meshes.Model
) -> _Skins:
  """Fit the body to the motions drawn; its shape is that of the past."""
  observed = _with_root(segment.past)[:, :meshes.JOINTS]
  shape = meshes.shape_of(observed, body)
  past = meshes.vertices(meshes.fit(observed, body, shape), body)
  motions = {choice.title: choice.motion for choice in chosen}
  if segment.truth is not None:
    motions[_TRUTH] = segment.truth
  fits = {
      title: meshes.fit(_with_root(motion)[:, :meshes.JOINTS], body, shape)
      for title, motion in motions.items()
  }
  futures = {title: meshes.vertices(fit, body) for title, fit in fits.items()}
  return _Skins(
      mesh.Bodies(body.faces, body.skin.rest_vertices, past, futures),
      {title: fit.gap for title, fit in fits.items()},
  )


def _save_meshes(
    folder: pathlib.Path, chosen: Sequence[_Chosen], skins: _Skins, fps: float,
    kinds: Sequence[str]
) -> dict[str, str]:
  """Write bodies that stand on the ground; return notes by name of a file."""
  faces, _, past, futures = skins.bodies
  ground = np.array([0, 0, past[..., 2].min()], past.dtype)
  notes = {}
  if 'glb' in kinds:
    for choice in chosen:
      name = f'{choice.file}.glb'
      whole = np.concatenate([past, futures[choice.title]]) - ground
      mesh.write_glb(folder / name, whole, faces, fps)
      gap = 1000 * skins.gaps[choice.title]
      notes[name] = f'moving body, joints within {gap:.0f} mm'
  if 'obj' in kinds:
    future = futures[chosen[0].title]
    for frame in np.unique(np.linspace(0, len(future) - 1, _POSES).astype(int)):
      name = f'{chosen[0].file}_{frame:03d}.obj'
      mesh.write_obj(folder / name, future[frame] - ground, faces)
      notes[name] = f'body at +{(frame + 1) / fps:.2f} s'
  return notes


def _save(
    path: pathlib.Path, segment: Segment, futures: np.ndarray,
    chosen: Sequence[_Chosen], skeleton: Skeleton, fps: float
) -> None:
  arrays: dict[str, Any] = {
      'positions': _with_root(futures),
      'past': _with_root(segment.past),
      'joints': np.array(skeleton.joints),
      'parents': np.array(skeleton.parents),
      'fps': np.float64(fps),
      'unit': np.array('m'),
      'up': np.array('z'),
      chosen[0].file: np.int64(chosen[0].number),
      'diverse': np.array([c.number for c in chosen[1:]], np.int64),
  }
  if segment.truth is not None:
    arrays['truth'] = _with_root(segment.truth)
  np.savez_compressed(path, **arrays)


def _with_root(motion: np.ndarray) -> np.ndarray:
  """Return `[..., J + 1, 3]`: the root at the origin, then the joints."""
  root = np.zeros_like(motion[..., :1, :])
  return np.concatenate([root, motion], axis=-2)


def _save_bvh(
    path: pathlib.Path, past: np.ndarray, future: np.ndarray,
    skeleton: Skeleton, fps: float
) -> float:
  """Write past and future; return how far rigid bones put a joint, metres."""
  motion = _with_root(np.concatenate([past, future]).astype(np.float64))
  motion[..., 2] -= past[..., 2].min()
  # A BVH lists parents before their children.
  order = _parents_first(skeleton.parents)
  above = [
      -1 if skeleton.parents[j] < 0 else order.index(skeleton.parents[j])
      for j in order
  ]
  names = [skeleton.joints[j] for j in order]
  return bvh.write(path, names, above, motion[:, order], fps)


def _parents_first(parents: Sequence[int]) -> list[int]:
  order = [0]
  for joint in order:
    order += [child for child, above in enumerate(parents) if above == joint]
  return order


def _draw(
    path: pathlib.Path, segment: Segment, chosen: Sequence[_Chosen],
    skeleton: Skeleton, fps: float, skins: _Skins | None
) -> None:
  shown = {choice.title: choice.motion for choice in chosen}
  tints = dict(zip(shown, pose.colours(len(shown))))
  if segment.truth is not None:
    shown = {_TRUTH: segment.truth} | shown
    tints[_TRUTH] = pose.TRUTH
  if path.suffix == '.html':
    html.page(
        path, segment.past, shown, skeleton, fps,
        f'Futures of {segment.name}', colours=tints,
        reference=_TRUTH if _TRUTH in shown else None,
        bodies=None if skins is None else skins.bodies,
    )
    return
  whole = [np.concatenate([segment.past, motion]) for motion in shown.values()]
  stick.animate(
      path, whole, skeleton, fps, list(shown), len(segment.past),
      colours=[tints[title] for title in shown],
  )


def _report(
    name: str, written: Mapping[str, pathlib.Path], notes: Mapping[str, str]
) -> None:
  table = rich.table.Table(
      # A Text, because a name may hold brackets, which mark up strings.
      title=rich.text.Text(f'Futures of {name}'), box=rich.box.SIMPLE_HEAD
  )
  table.add_column('file', no_wrap=True)
  table.add_column('size', justify='right', no_wrap=True)
  table.add_column('what')
  for file, path in written.items():
    size = path.stat().st_size / 1024
    table.add_row(file, f'{size:,.0f} kB', notes[file])
  if 'typical.bvh' in written:
    table.caption = (
        'No full ground truth in the clip: `typical` is closest to the mean.'
    )
  rich.console.Console().print(table)
