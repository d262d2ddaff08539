"""FreeMan: 3-D keypoints from eight cameras, pruned, to eighteen joints.

The set holds `keypoints3d/20220818_857ffafc02_subj22.npy` and so on, each a
pickled dictionary of arrays [F, 17, 3] in centimetres at 30 frames per second,
the joints in COCO's order, and `ignore_list.txt`, the files not to be used.
Three derivations occur, `KINDS`, and the most precise one a file has is read.
FREEMAN17 has the legs first, and its root is the middle of the hips.

Keypoints taken from pictures fail now and then. The published protocol keeps
the stretches in which no limb's length changes by more than 5 cm from a frame
to the next; its outcome is a folder of lists, `LISTS`, that comes with the
released code of Curreli et al. With these the clips are those of the paper.
Without them `protocol='rule'` prunes and splits anew: by the same words, not
the same code, so that some clips begin or end some frames apart.

Z points down in the files, and the released code negates it. That makes left
and right change places: who wants people instead of their mirror images, as
for joining them with another set, says `upright='turn'`.

References:
  Wang et al., "FreeMan: Towards Benchmarking 3D Human Pose Estimation under
  Real-World Conditions", CVPR 2024. Pruning, split and segments are those of
  Curreli et al., CVPR 2025 (Appendix and released code).
"""

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
import dataclasses
import functools
import io
import json
import pathlib
import re
from typing import Any

import numpy as np

from diffax.body.skeletons import FREEMAN17
from diffax.data import clips, files, pickles, segments, transforms
from diffax.data.base import Clip, Recording, check_motion, check_recording
from diffax.errors import DataError, UserError

FPS = 30.0
"""Frames per second of the files."""

PROTOCOL = {'past': 15, 'future': 60, 'first': 15, 'stride': 15}
"""The published list as arguments of `transforms.segment_starts`."""

SETTINGS: dict[str, Any] = {
    'fps': FPS, 'skeleton': FREEMAN17.name, 'past_seconds': 0.5,
    'future_seconds': 2.0, 'train_stride': 10, 'train_jitter': 5,
    'test_first_seconds': 0.5, 'test_stride_seconds': 0.5,
}
"""The published settings of `motion.motion`."""

KINDS = (
    'keypoints3d_smoothnet32', 'keypoints3d_smoothnet', 'keypoints3d_optim')
"""The derivations of the keypoints, the most precise one first."""

LEGS = 11
"""How many joints of a file, those of head and arms, come before the legs."""

LISTS = {'train': 'train.txt', 'val': 'valid.txt', 'test': 'test.txt'}
"""Files of the published lists: the names of the clips of each split."""

SLICES = 'illlposed_slices_idxs.json'
BAD = 'bad_sequences.json'
LABELS = 'seq_actions_labels.txt'
IGNORED = 'ignore_list.txt'

TEST_SEGMENTS = {'FreeMan': 11015}
"""Published test segments, of 305 clips."""

SUBJECTS = {
    'val': (4, 5, 23, 39),
    'test': (10, 15, 25, 27, 28, 32, 33, 34, 38, 40),
}
"""The persons of the published lists by split; all others train."""

LARGEST_CHANGE = 0.05
"""Metres by which a limb may change from frame to frame."""

SHORTEST = PROTOCOL['past'] + PROTOCOL['future']
"""Frames of the shortest stretch that is kept."""

PROTOCOLS = ('published', 'rule')
UPRIGHT = {'negate': (1.0, 1.0, -1.0), 'turn': (1.0, -1.0, -1.0)}
"""Signs of the axes that make Z point up: a mirror, and a half turn."""

Span = tuple[int, int]
Spans = Mapping[str, Span | None]


@dataclasses.dataclass(frozen=True)
class Lists:
  """The published lists.

  Attributes:
    splits: of each clip by name, in the order of the lists.
    slices: stretches `[start, stop)` of each file that is cut, by name.
    bad: files of which nothing is left.
    labels: action of each file, by name.
  """

  splits: Mapping[str, str]
  slices: Mapping[str, tuple[Span, ...]]
  bad: frozenset[str]
  labels: Mapping[str, str]


def read(path: files.PathLike, upright: str = 'negate') -> Recording:
  """Read a whole file, which must have no gap.

  Args:
    path: a file of `keypoints3d/`.
    upright: a key of `UPRIGHT`.

  Returns:
    The joints of FREEMAN17, metres, Z up, 30 frames per second.

  Raises:
    DataError: the file holds something else, or a gap.
  """
  recording = Recording(
      joints=FREEMAN17.joints, parents=FREEMAN17.parents,
      positions=body(read_points(path), upright), fps=FPS, file=str(path),
      unit='cm')
  check_recording(recording)
  return recording


def body(points: np.ndarray, upright: str = 'negate') -> np.ndarray:
  """Put the joints of a file in the order of FREEMAN17.

  Args:
    points: [F, 17, 3] centimetres, Z down, as in the files.
    upright: a key of `UPRIGHT`.

  Returns:
    [F, 18, 3] metres, Z up, the root in the middle of the hips.
  """
  legs, rest = points[:, LEGS:], points[:, :LEGS]
  root = legs[:, :2].mean(1, keepdims=True)
  joints = np.concatenate([root, legs, rest], 1)
  return joints * (files.METRES['cm'] * np.array(UPRIGHT[upright]))


def read_points(path: files.PathLike) -> np.ndarray:
  """Read the keypoints of the best of `KINDS`.

  Returns:
    [F, 17, 3] float64, centimetres, Z down; gaps are not a number.

  Raises:
    DataError: the file is broken, or holds something else.
  """
  arrays = _arrays(path)
  kind = next((kind for kind in KINDS if kind in arrays), None)
  if kind is None:
    raise DataError(path, 'keypoints', f'one of {", ".join(KINDS)}',
                    ', '.join(map(str, arrays)) or 'none')
  points = np.asarray(arrays[kind])
  if points.dtype.kind not in 'fiu' or points.shape[1:] != (17, 3):
    raise DataError(path, kind, 'numbers [frames, 17, 3]',
                    f'{points.dtype} {list(points.shape)}')
  return points.astype(np.float64)


def _arrays(path: files.PathLike) -> dict[str, Any]:
  """Read an npy file of one pickled dictionary without running its code."""
  data = io.BytesIO(files.read_bytes(path))
  try:
    version = np.lib.format.read_magic(data)
    header = (np.lib.format.read_array_header_1_0 if version == (1, 0) else
              np.lib.format.read_array_header_2_0)
    header(data)
    found = np.ravel(pickles.loads(data.read()))
  except Exception as error:
    # A damaged pickle raises whatever its bytes happen to mean.
    raise DataError(
        path, 'npy', 'a dictionary of arrays',
        f'{type(error).__name__}: {error}') from error
  if len(found) != 1 or not isinstance(found[0], dict):
    raise DataError(
        path, 'npy', 'a dictionary of arrays', f'{len(found)} of '
        f'{type(found[0]).__name__ if len(found) else "nothing"}')
  return found[0]


def prune(
    positions: np.ndarray,
    largest: float = LARGEST_CHANGE,
    shortest: int = SHORTEST,
) -> list[Span]:
  """Find the stretches in which every limb keeps its length.

  A step is good if both frames are whole and no limb changes by more than
  `largest`. A file of good steps is kept as it is; else each run i .. j - 1 of
  good steps becomes the frames i .. j - 1, one less than the run touches, which
  is how the published slices look: none begins less than two frames after
  another ends.

  Args:
    positions: [F, 18, 3] metres; gaps are not a number.
    largest: metres.
    shortest: frames.

  Returns:
    Stretches `[start, stop)`.
  """
  bones = positions - positions[:, np.maximum(FREEMAN17.parents, 0)]
  change = np.abs(np.diff(np.linalg.norm(bones, axis=-1), axis=0))
  # No comparison with what is not a number is true.
  good = (change <= largest).all(-1)
  if good.all() and np.isfinite(positions).all():
    return [(0, len(positions))]
  edges = np.flatnonzero(np.diff(good, prepend=False, append=False))
  return [
      (int(start), int(stop)) for start, stop in zip(edges[::2], edges[1::2])
      if stop - start >= shortest
  ]


def names_of(file: str, spans: int) -> list[str]:
  """Name the clips of a file: its own name, or `_slice1`, ... if several."""
  if spans == 1:
    return [file]
  return [f'{file}_slice{index + 1}' for index in range(spans)]


def subject(name: str) -> int:
  """Return the number of the person in the name of a file or a clip.

  Raises:
    DataError: there is none.
  """
  found = re.search(r'_subj(\d+)(_slice\d+)?$', name)
  if not found:
    raise DataError(name, 'name', 'date_session_subjN', repr(name))
  return int(found[1])


def split_of(name: str) -> str:
  """Return the split of the person; see `SUBJECTS`."""
  number = subject(name)
  return next((s for s, who in SUBJECTS.items() if number in who), 'train')


def folder(root: files.PathLike) -> pathlib.Path:
  """Find the folder of `keypoints3d`.

  Returns:
    `root/freeman`, `root/FreeMan` or `root`, or `30FPS` below one of them.

  Raises:
    DataError: none has the files.
  """
  top = pathlib.Path(root)
  for place in (top / 'freeman', top / 'FreeMan', top):
    for found in (place, place / '30FPS'):
      if any((found / 'keypoints3d').glob('*.npy')):
        return found
  raise DataError(root, 'folder', 'keypoints3d/*.npy', 'none',
                  'Unpack the keypoints of FreeMan there')


def read_lists(place: files.PathLike) -> Lists:
  """Read the published lists.

  Args:
    place: folder of the files of `LISTS`, `SLICES`, `BAD` and `LABELS`.

  Raises:
    DataError: one is missing, not as published, or contradicts another.
  """
  place = pathlib.Path(place)
  for name in (*LISTS.values(), SLICES, BAD, LABELS):
    if not (place / name).is_file():
      raise DataError(
          place / name, 'file', 'a published list', 'no such file',
          'Copy datasets/annotations/FreeMan/hmp of the released code there,'
          " set annotations to its place, or pass protocol='rule'")
  splits: dict[str, str] = {}
  for split, name in LISTS.items():
    for clip in _lines(place / name):
      if clip in splits:
        raise DataError(place / name, 'names', 'each clip once in all lists',
                        f'{clip} again')
      subject(clip)
      splits[clip] = split
  lists = Lists(
      splits=splits, slices=read_slices(place / SLICES),
      bad=frozenset(map(str, _json(place / BAD, (list,), 'names of files'))),
      labels=read_labels(place / LABELS))
  for clip in splits:
    file, _ = file_of(lists.slices, clip, place)
    if file not in lists.labels:
      raise DataError(place / LABELS, 'names', f'the action of {file}', 'none')
  return lists


def read_slices(path: files.PathLike) -> dict[str, tuple[Span, ...]]:
  """Read which stretches of which files are kept.

  The published file is a JSON string of a Python dictionary; one of JSON
  itself is read, too.

  Raises:
    DataError: the file is neither.
  """
  found = _json(path, (str, dict), 'stretches of files')
  if isinstance(found, str):
    try:
      found = ast.literal_eval(found)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
      raise DataError(path, 'text', 'a dictionary of stretches',
                      f'{type(error).__name__}: {error}') from error
  if not isinstance(found, dict):
    raise DataError(path, 'text', 'a dictionary of stretches',
                    type(found).__name__)
  for name, spans in found.items():
    whole = isinstance(spans, (list, tuple)) and len(spans) > 0 and all(
        isinstance(span, (list, tuple)) and len(span) == 2
        and all(isinstance(x, int) for x in span) and 0 <= span[0] < span[1]
        for span in spans)
    if not whole:
      raise DataError(path, f'stretches of {name}', '(start, stop), ...',
                      repr(spans)[:60])
  return {
      name: tuple((span[0], span[1]) for span in spans)
      for name, spans in found.items()}


def read_labels(path: files.PathLike) -> dict[str, str]:
  """Read the actions, lines `clip,action`.

  Returns:
    The action of each file; its clips have the same.

  Raises:
    DataError: a line is not such a one.
  """
  found: dict[str, str] = {}
  for line in _lines(path):
    name, comma, text = line.partition(',')
    if not (comma and text.strip()):
      raise DataError(path, 'line', 'clip,action', repr(line[:60]))
    found.setdefault(name.strip().partition('_slice')[0], text.strip())
  return found


def file_of(
    slices: Mapping[str, tuple[Span, ...]], clip: str,
    where: files.PathLike = ''
) -> tuple[str, Span | None]:
  """Return the file of a clip, and the stretch of it; None for all.

  Raises:
    DataError: the slices do not know the clip.
  """
  if clip in slices and len(slices[clip]) == 1:
    return clip, slices[clip][0]
  file, _, number = clip.rpartition('_slice')
  spans = slices.get(file or clip, ())
  if not file and not spans:
    return clip, None
  if file and number.isdigit() and 1 <= int(number) <= len(spans) > 1:
    return file, spans[int(number) - 1]
  raise DataError(
      where, 'lists', f'{clip} among the stretches of {file or clip}',
      f'{len(spans)} stretches', 'The lists are of different versions')


def jobs(
    root: files.PathLike,
    fps: float = FPS,
    annotations: files.PathLike | None = None,
    protocol: str = 'published',
    upright: str = 'negate',
    max_speed: float = 0.0,
) -> Iterator[tuple[str, Any]]:
  """Yield a name and a function that makes clips, for each file.

  Args:
    root: folder of the set; see `folder`.
    fps: rate of the clips: 30, or that divided by a whole number.
    annotations: folder of the published lists; `annotations` beside
      `keypoints3d` if None. Not the lists of FreeMan itself: these have other
      splits, and no slices.
    protocol: `'published'` keeps the clips of the lists, in their order;
      `'rule'` prunes by `prune` and splits by `SUBJECTS`, and needs no list.
    upright: a key of `UPRIGHT`.
    max_speed: metres per second that mark a glitch; 0, as published, cuts
      nothing.

  Raises:
    DataError: files or lists are missing.
    UserError: a setting is none of the above.
  """
  transforms.keep_every(FPS, fps)
  if protocol not in PROTOCOLS:
    raise UserError(f'protocol: expected {" or ".join(PROTOCOLS)}, found'
                    f' {protocol!r}.')
  if upright not in UPRIGHT:
    raise UserError(f'upright: expected {" or ".join(UPRIGHT)}, found'
                    f' {upright!r}.')
  make = functools.partial(
      _clips, fps=fps, upright=upright, max_speed=max_speed)
  place = folder(root)
  if protocol == 'rule':
    yield from _by_rule(place, annotations, make)
  else:
    yield from _by_lists(place, annotations, make)


def expected(
    root: files.PathLike, annotations: files.PathLike | None = None
) -> dict[str, int]:
  """Count what the published lists promise; see `jobs`."""
  listed = read_lists(annotations or folder(root) / 'annotations').splits
  return {'clips': len(listed), 'subjects': len(set(map(subject, listed)))}


def _by_lists(
    place: pathlib.Path, annotations: files.PathLike | None,
    make: Callable[..., Any]
) -> Iterator[tuple[str, Any]]:
  """Yield the jobs of the published lists."""
  lists = read_lists(annotations or place / 'annotations')
  left_out = lists.bad | _ignored(place)
  spans: dict[str, dict[str, Span | None]] = {}
  for clip in lists.splits:
    file, span = file_of(lists.slices, clip)
    spans.setdefault(file, {})[clip] = span
  for file in spans:
    if file not in left_out:
      path = place / 'keypoints3d' / f'{file}.npy'
      yield path.as_posix(), functools.partial(
          make, path, spans[file], lists.splits.__getitem__,
          lists.labels[file])


def _by_rule(
    place: pathlib.Path, annotations: files.PathLike | None,
    make: Callable[..., Any]
) -> Iterator[tuple[str, Any]]:
  """Yield the jobs of the rule; the actions are read where they are known."""
  actions = pathlib.Path(annotations or place / 'annotations') / LABELS
  labels = read_labels(actions) if actions.is_file() else {}
  left_out = _ignored(place)
  for path in sorted((place / 'keypoints3d').glob('*.npy')):
    if path.stem not in left_out:
      yield path.as_posix(), functools.partial(
          make, path, None, split_of, labels.get(path.stem, 'motion'))


def _clips(
    path: pathlib.Path,
    spans: Spans | None,
    split: Callable[[str], str],
    label: str,
    *,
    fps: float,
    upright: str,
    max_speed: float,
) -> tuple[list[Clip], list[str]]:
  """Read the stretches of a file into clips, those of `prune` if None."""
  positions = body(read_points(path), upright)
  step = transforms.keep_every(FPS, fps)
  made: list[Clip] = []
  notes: list[str] = []
  if spans is None:
    found = prune(positions)
    spans = dict(zip(names_of(path.stem, len(found)), found))
    lost = len(positions) - sum(stop - start for start, stop in found)
    if lost:
      notes = [f'{path.stem}: {lost} of {len(positions)} frames lost around'
               f' limbs that change by more than {LARGEST_CHANGE:g} m;'
               f' {len(found)} pieces kept']
  for name, span in spans.items():
    start, stop = span or (0, len(positions))
    if stop > len(positions):
      raise DataError(path, 'frames', f'{stop} or more, by the lists',
                      f'{len(positions)}', 'Is it the set at 30 fps?')
    piece = positions[start:stop]
    check_motion(piece, FREEMAN17.joints, FREEMAN17.parents, FPS,
                 file=f'{path} from frame {start}')
    clip, note = clips.make(
        name, piece[::step], FPS / step, FPS / step,
        subject=f'subj{subject(name):02d}', label=label, split=split(name),
        file=f'keypoints3d/{path.name}', max_speed=max_speed)
    made, notes = made + clip, notes + note
  return made, notes


def read_segments(path: files.PathLike) -> list[segments.Segment]:
  """Read a published list: name, init, pred_init, pred_end.

  Returns:
    Its segments in frames of 30 fps, the clips named as those of the store.

  Raises:
    DataError: the file is no such list.
  """
  return segments.read(path, ('name',), lambda row: row['name'].strip())


def count_segments(manifest: Mapping[str, Any]) -> dict[str, int]:
  """Count the segments that the rule cuts from the test clips of a store.

  Returns:
    Their number, to hold against `TEST_SEGMENTS`.

  Raises:
    UserError: the store is not one of 30 fps.
  """
  return segments.count(segments.by_rule(manifest, FPS, PROTOCOL), _group)


def compare_segments(
    manifest: Mapping[str, Any],
    published: Sequence[segments.Segment],
    split: str = 'test',
) -> segments.Comparison:
  """Hold the segments of a store against a published list.

  Args:
    manifest: of a store at 30 frames per second.
    published: see `read_segments`.
    split: of the store: test or val.

  Raises:
    UserError: the list is empty, or the store of another rate.
  """
  return segments.compare(
      segments.by_rule(manifest, FPS, PROTOCOL, split), published, _group,
      manifest)


def _group(clip: str) -> str:
  del clip
  return 'FreeMan'


def _ignored(place: pathlib.Path) -> frozenset[str]:
  """Read which files the set says not to use."""
  path = place / IGNORED
  if not path.is_file():
    raise DataError(path, 'file', 'the list of files not to use', 'no such'
                    ' file', 'It comes with FreeMan; it may be empty')
  lines = _lines(path) if path.read_bytes().strip() else []
  return frozenset(line.removesuffix('.npy') for line in lines)


def _lines(path: files.PathLike) -> list[str]:
  lines = (line.strip() for line in files.read_text(path).splitlines())
  return [line for line in lines if line]


def _json(path: files.PathLike, kinds: tuple[type, ...], what: str) -> Any:
  """Read a JSON file of one of the kinds."""
  try:
    found = json.loads(files.read_text(path))
  except (json.JSONDecodeError, RecursionError) as error:
    raise DataError(path, 'text', 'JSON', str(error)) from error
  if not isinstance(found, kinds):
    raise DataError(path, 'text', what, type(found).__name__)
  return found
