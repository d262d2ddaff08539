"""Generate the modalities that a recording lacks.

Without an input, of a few windows of the test split, into the folder go

  samples.npz                     see `sample_windows`
  reconstructions_X_given_Y.png   each modality given the others
  inpainting_X.png                the middle third of X from the rest and Y
  windows.html                    both, to zoom into

With `--input=TABLE` of the channels of some modalities, all others follow:

  generated.csv        time_s (or time_CLOCK, where the data are not in
                       seconds); of each channel the mean over samples
                       (NAME_mean) and the first sample (NAME_sample)
  samples.npz          see `complete`
  generated_X.png      the series
  generated.html       the same, to zoom into

A series longer than a window is cut into windows that overlap by half, and
their series are cross-faded: with w(l) = min(l + 1, L - l) in each window,

  (1)  x(t) = sum_i w(t - s_i) x_i(t - s_i) / sum_i w(t - s_i)

Samples of neighbouring windows are drawn independently, so where they overlap
a sample varies less than the model does; the mean is not affected.
"""

from collections.abc import Callable, Mapping
import csv
import pathlib
from typing import Any

import jax
import numpy as np
import rich.box
import rich.console
import rich.progress
import rich.table
import rich.text

from diffax.data import tables
from diffax.data.base import Source
from diffax.errors import DataError
from diffax.errors import UserError
from diffax.trained import Trained
from diffax.typing import Batch
from diffax.typing import Key
from diffax.viz import pages
from diffax.viz import pose
from diffax.viz import series as plots

SampleFn = Callable[[Batch, Key], Mapping[str, Any]]
PathLike = pathlib.Path | str

_BATCH = 16
# Deviations from the training mean that hint at a wrong unit.
_FAR = 10.0


def draw(
    model: Trained,
    workdir: PathLike,
    *,
    seed: int,
    input: PathLike | None = None,
) -> dict[str, pathlib.Path]:
  """Complete a user's table, or without one reconstruct test windows.

  Args:
    model: its `sample` goes from given modalities `[B, L, C]` to all others
      `[B, K, L, C]`, standardised.
    workdir: folder of the files.
    seed: of the samples.
    input: a `.csv`, plain or compressed, whose columns bear the names of
      channels; modalities that it lacks are generated.

  Returns:
    The files by name.

  Raises:
    DataError, UserError: as `complete` and `sample_windows`.
  """
  folder = pathlib.Path(workdir)
  if input is not None:
    return complete(model.sample, model.source.info, input, folder, seed=seed)
  return sample_windows(model.sample, model.source, folder, seed=seed)


def complete(
    sample_fn: SampleFn,
    info: Mapping[str, Any],
    path: PathLike,
    folder: pathlib.Path,
    *,
    seed: int = 0,
) -> dict[str, pathlib.Path]:
  """Generate the modalities that a table lacks.

  Args:
    sample_fn: as the `sample` of a `Trained`.
    info: of the source that the model was trained on.
    path: the table.
    folder: of the files.
    seed: of the samples.

  Returns:
    The files by name. `samples.npz` holds `NAME` `[K, T, C]` of each generated
    and `[T, C]` of each given modality in the units of the table, `rate`, and
    the names `NAME_channels`.

  Raises:
    DataError: the table cannot be read, holds no modality or all of them, or
      is shorter than a window.
    UserError: the model's series are not finite, or a file cannot be written.
  """
  given = _read(path, info)
  made = _generate(sample_fn, info, given, seed)
  scales = {name: plots.Channels.of(info, name) for name in info['modalities']}
  values = {name: scales[name].scaled(part) for name, part in made.items()}
  written = {'generated.csv': _writable(folder, 'generated.csv')}
  _write_csv(written['generated.csv'], values, info)
  written['samples.npz'] = _save(
      folder, {**given, **values}, info, list(info['modalities'])
  )
  if pose.installed('matplotlib'):
    for name, part in made.items():
      file = f'generated_{name}.png'
      written[file] = _writable(folder, file)
      plots.reconstructions(
          written[file], scales[name], part[None],
          title=f'{pathlib.Path(path).name}: {name} given {_and(given)}',
          # A long series needs the width.
          columns=1 if part.shape[1] > 2 * info['length'] else None,
      )
  written |= _page(folder / 'generated.html', pathlib.Path(path).name, [
      pages.Window(f'{name} given {_and(given)}', scales[name], part)
      for name, part in made.items()
  ])
  _report(f'{_and(made)} of {pathlib.Path(path).name}', written)
  return written


def _read(path: PathLike, info: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """Return the modalities of a table, `[T, C]`, some but not all."""
  channels, length, rate = info['channels'], info['length'], info['rate']
  clock = info.get('clock', 's')
  given = tables.read_series(
      path, channels, need=(), rate=rate if clock == 's' else None
  )
  if len(given) in (0, len(channels)):
    columns = '; '.join(f'{k}: {", ".join(c)}' for k, c in channels.items())
    raise DataError(
        path, 'columns', f'those of some modalities but not of all ({columns})',
        'those of all' if given else 'none of them',
        'Leave out what is to be generated' if given else ''
    )
  frames = len(next(iter(given.values())))
  if frames < length:
    raise DataError(
        path, 'rows', f'at least {length} samples ({length / rate:.2f} {clock} '
        f'of {rate:g}), one window of the model',
        f'{frames} ({frames / rate:.2f} {clock})', 'The series is too short'
    )
  for name, values in given.items():
    far = np.abs(values - info['mean'][name]) / info['std'][name]
    worst = int(far.max(0).argmax())
    if far.max() > _FAR:
      print(
          f'{path}: {channels[name][worst]} lies {far.max():.0f} deviations '
          f'from the training data; is its unit {info["units"][name][worst]}?'
      )
  return given


def _generate(
    sample_fn: SampleFn, info: Mapping[str, Any],
    given: Mapping[str, np.ndarray], seed: int
) -> dict[str, np.ndarray]:
  """Return `[K, T, C]` standardised of every modality that is not given."""
  frames, length = len(next(iter(given.values()))), info['length']
  starts = window_starts(frames, length)
  windows = {
      name: np.stack([
          ((values[s:s + length] - info['mean'][name]) / info['std'][name])
          for s in starts
      ]).astype(np.float32)
      for name, values in given.items()
  }
  wanted = [name for name in info['modalities'] if name not in given]
  size = min(_BATCH, len(starts))
  index = np.append(np.arange(len(starts)), np.full(-len(starts) % size, -1))
  parts: dict[str, list[np.ndarray]] = {name: [] for name in wanted}
  for number, rows in enumerate(rich.progress.track(
      index.reshape(-1, size), 'windows', console=rich.console.Console()
  )):
    key = jax.random.fold_in(jax.random.key(seed), number)
    batch = {name: values[rows] for name, values in windows.items()}
    found = _checked(sample_fn(batch, key), wanted, info, size)
    for name in wanted:
      parts[name].append(found[name])
  return {
      name: crossfade(np.concatenate(part)[:len(starts)], starts, frames)
      for name, part in parts.items()
  }


def window_starts(frames: int, length: int) -> np.ndarray:
  """Return starts of windows that overlap by half; the last ends the series.

  Args:
    frames: T, of the series, at least `length`.
    length: L, of a window.

  Returns:
    Increasing starts, [N].
  """
  last = frames - length
  return np.append(np.arange(0, last, max(length // 2, 1)), last)


def crossfade(
    windows: np.ndarray, starts: np.ndarray, frames: int
) -> np.ndarray:
  """Join overlapping windows (Eq. 1).

  Args:
    windows: [N, K, L, C].
    starts: [N].
    frames: T.

  Returns:
    [K, T, C].
  """
  _, count, length, channels = windows.shape
  place = np.arange(length)
  weight = np.minimum(place + 1, length - place).astype(np.float64)
  total = np.zeros((count, frames, channels))
  weights = np.zeros(frames)
  for window, start in zip(windows, starts):
    total[:, start:start + length] += weight[None, :, None] * window
    weights[start:start + length] += weight
  return total / weights[None, :, None]


def sample_windows(
    sample_fn: SampleFn,
    source: Source,
    folder: pathlib.Path,
    *,
    seed: int = 0,
    split: str = 'test',
    count: int = 3,
) -> dict[str, pathlib.Path]:
  """Generate each modality of a few windows from the others.

  Args:
    sample_fn: as the `sample` of a `Trained`.
    source: of the windows.
    folder: of the files.
    seed: of the samples.
    split: of the source.
    count: N, windows from the middles of equal parts of the split.

  Returns:
    The files by name. `samples.npz` holds in the units of the data, of each
    modality, `NAME` `[N, L, C]`, `NAME_generated` `[N, K, L, C]`, and of the
    first `NAME_inpainted` `[N, K, L, C]` and `NAME_known` `[L]`; `window`
    `[N]`, `rate`, and the names `NAME_channels`.

  Raises:
    UserError: the model's series are of a wrong shape or not finite, or a file
      cannot be written.
  """
  info, arrays = source.info, source.segments(split)
  total = len(arrays['label'])
  rows = np.unique(((np.arange(count) + 0.5) * total / count).astype(int))
  names = list(info['modalities'])
  windows = {name: arrays[name][rows] for name in names}
  made: dict[tuple[str, str], np.ndarray] = {}
  for number, name in enumerate(names):
    key = jax.random.fold_in(jax.random.key(seed), number)
    batch = {other: windows[other] for other in names if other != name}
    found = _checked(sample_fn(batch, key), [name], info, len(rows))
    made[name, 'generated'] = found[name]
  known = _inpaint(sample_fn, info, windows, made, seed)
  scales = {name: plots.Channels.of(info, name) for name in names}
  values = {name: scales[name].scaled(windows[name]) for name in names}
  for (name, kind), samples in made.items():
    values[f'{name}_{kind}'] = scales[name].scaled(samples)
  values['window'] = rows
  if known is not None:
    values[f'{names[0]}_known'] = known
  written = {'samples.npz': _save(folder, values, info, names)}
  if pose.installed('matplotlib'):
    written |= _draw(folder, info, rows, windows, made, known)
  written |= _page(
      folder / 'windows.html', f"{info['name']} {split}",
      _shown(info, rows, windows, made, known)
  )
  _report(f"{len(rows)} windows of {info['name']} {split}", written)
  return written


def _inpaint(
    sample_fn: SampleFn, info: Mapping[str, Any], windows: Batch,
    made: dict[tuple[str, str], np.ndarray], seed: int
) -> np.ndarray | None:
  """Hide the middle third of the first modality and add what fills it.

  Returns:
    [L] bool, what was known; None if the system cannot do it.
  """
  name, length = next(iter(info['modalities'])), info['length']
  known = np.ones(length, bool)
  known[length // 3:length - length // 3] = False
  count = len(windows[name])
  # What is unknown must not be seen.
  hidden = np.where(known[None, :, None], windows[name], 0)
  batch = {
      **windows, name: hidden.astype(np.float32),
      f'{name}_known': np.tile(known, (count, 1)),
  }
  key = jax.random.fold_in(jax.random.key(seed), len(info['modalities']))
  try:
    found = sample_fn(batch, key)
  except UserError as error:
    print(f'No in-painting: {error}')
    return None
  if name not in found:
    print('No in-painting: the system generates whole modalities only.')
    return None
  made[name, 'inpainted'] = _checked(found, [name], info, count)[name]
  return known


def _checked(
    found: Mapping[str, Any], wanted: list[str], info: Mapping[str, Any],
    count: int
) -> dict[str, np.ndarray]:
  """Return `[B, K, L, C]` of the wanted modalities."""
  values = {}
  for name in wanted:
    part = np.asarray(found[name])
    width = info['modalities'][name]
    if part.ndim != 4 or not part.shape[1] or (
        (part.shape[0], *part.shape[2:]) != (count, info['length'], width)
    ):
      raise UserError(
          f'{name}: expected series [{count}, K, {info["length"]}, {width}], '
          f'found {list(part.shape)}.'
      )
    if not np.isfinite(part).all():
      raise UserError(
          f'{name}: expected finite series, found NaN or infinity. Did the '
          'training diverge?'
      )
    values[name] = part
  return values


def _draw(
    folder: pathlib.Path, info: Mapping[str, Any], rows: np.ndarray,
    windows: Batch, made: Mapping[tuple[str, str], np.ndarray],
    known: np.ndarray | None
) -> dict[str, pathlib.Path]:
  written = {}
  names = list(info['modalities'])
  for (name, kind), samples in made.items():
    others = [other for other in names if other != name]
    painted = kind == 'inpainted'
    file = (
        f'inpainting_{name}.png' if painted else
        f'reconstructions_{name}_given_{"_".join(others)}.png'
    )
    what = _and(others) + f' and part of {name}' * painted
    # All channels of several windows would not fit.
    few = slice(3 if info['modalities'][name] <= 4 else 1)
    written[file] = _writable(folder, file)
    plots.reconstructions(
        written[file], plots.Channels.of(info, name),
        samples[few], windows[name][few],
        title=f"{info['name']}: {name} given {what}",
        headings=[f'window {row}' for row in rows[few]],
        marked=~known if painted and known is not None else None,
    )
  return written


def _shown(
    info: Mapping[str, Any], rows: np.ndarray, windows: Batch,
    made: Mapping[tuple[str, str], np.ndarray], known: np.ndarray | None
) -> list[pages.Window]:
  """Return what the page shows: each window, modality after modality."""
  shown = []
  for number, row in enumerate(rows):
    for (name, kind), samples in made.items():
      others = _and([other for other in info['modalities'] if other != name])
      hidden = kind == 'inpainted' and known is not None
      shown.append(pages.Window(
          f'window {row}: {name} given {others}'
          + f' and part of {name}' * hidden,
          plots.Channels.of(info, name), samples[number], windows[name][number],
          marked=~known if hidden and known is not None else None,
      ))
  return shown


def _page(
    path: pathlib.Path, title: str, shown: list[pages.Window]
) -> dict[str, pathlib.Path]:
  if not pose.installed('plotly'):
    return {}
  pages.of_series(path, shown, title=title)
  return {path.name: path}


def _writable(folder: pathlib.Path, file: str) -> pathlib.Path:
  try:
    folder.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise UserError(f'{folder}: cannot write: {error}') from error
  return folder / file


def _write_csv(
    path: pathlib.Path, values: Mapping[str, np.ndarray],
    info: Mapping[str, Any]
) -> None:
  header, columns = [f"time_{info.get('clock', 's')}"], []
  for name, samples in values.items():
    for number, channel in enumerate(info['channels'][name]):
      header += [f'{channel}_mean', f'{channel}_sample']
      columns += [samples[..., number].mean(0), samples[0, :, number]]
  time = np.arange(len(columns[0])) / info['rate']
  with path.open('w', newline='', encoding='utf-8') as file:
    writer = csv.writer(file)
    writer.writerow(header)
    writer.writerows(
        [f'{value:.8g}' for value in row] for row in zip(time, *columns)
    )


def _save(
    folder: pathlib.Path, values: Mapping[str, np.ndarray],
    info: Mapping[str, Any], names: list[str]
) -> pathlib.Path:
  path = _writable(folder, 'samples.npz')
  arrays: dict[str, Any] = {'rate': np.float64(info['rate']), **values}
  for name in names:
    arrays[f'{name}_channels'] = np.array(info['channels'][name])
  np.savez_compressed(path, **arrays)
  return path


def _and(names: Any) -> str:
  return ' and '.join(names)


def _report(name: str, written: Mapping[str, pathlib.Path]) -> None:
  table = rich.table.Table(
      # A Text, because a name may hold brackets, which mark up strings.
      title=rich.text.Text(name), box=rich.box.SIMPLE_HEAD
  )
  table.add_column('file', no_wrap=True)
  table.add_column('size', justify='right', no_wrap=True)
  for file, path in written.items():
    table.add_row(file, f'{path.stat().st_size / 1024:,.0f} kB')
  rich.console.Console().print(table)
  # Not in the table, which would break a long path.
  print(f'in {next(iter(written.values())).parent}')
