"""Write generated windows of inertial sensors, some of each class.

Into the folder go

  CLASS.csv      window, time_s, and the channels in their units
  windows.npz    see `save`
  CLASS.png      a real and a generated window, in time and in frequency
  windows.html   the same of all classes, to zoom into
"""

from collections.abc import Mapping
import csv
import pathlib
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import rich.box
import rich.console
import rich.progress
import rich.table
import rich.text

from diffax import signal
from diffax.data.augment import Signals
from diffax.errors import UserError
from diffax.trained import Trained
from diffax.typing import Batch
from diffax.viz import pages
from diffax.viz import pose
from diffax.viz import series
from diffax.viz import spectrogram

PathLike = pathlib.Path | str

# Windows of each class that `--mode=sample` writes.
_COUNT = 8


def draw(
    model: Trained, workdir: PathLike, *, seed: int
) -> dict[str, pathlib.Path]:
  """Generate some windows of each class, and draw one beside a real one.

  Args:
    model: its `sample` goes from `label` `[B]` to `window` `[B, L, C]`,
      standardised.
    workdir: folder of the files.
    seed: of the windows.

  Returns:
    The files by name.

  Raises:
    UserError: the model's windows are of a wrong shape or not finite, or a
      file cannot be written.
  """
  folder, info = pathlib.Path(workdir), model.source.info
  label = labels(len(info['classes']), _COUNT)
  windows = generate(
      model, label, seed=seed, batch_size=len(label),
      console=rich.console.Console()
  )
  values = Signals.of(info).physical(windows)
  written = {'windows.npz': save(folder / 'windows.npz', windows, label, info)}
  for number, name in enumerate(info['classes']):
    file = f'{slug(name)}.csv'
    written[file] = folder / file
    _write_csv(folder / file, values[label == number], info)
  if pose.installed('matplotlib'):
    written |= views(
        folder, info, model.source.segments('train'), windows, label
    )
  written |= _page(folder, info, model.source.segments('train'), windows, label)
  _report(info, written)
  return written


def labels(classes: int, per_class: int) -> np.ndarray:
  """Return labels in turn, `[per_class classes]`: any part is balanced."""
  return np.tile(np.arange(classes, dtype=np.int32), per_class)


def generate(
    model: Trained,
    label: np.ndarray,
    *,
    seed: int,
    batch_size: int,
    console: rich.console.Console,
) -> np.ndarray:
  """Draw a window for each label.

  Args:
    model: as for `draw`.
    label: `[N]` classes.
    seed: batch i draws from fold_in(key(seed), i), so more windows begin with
      the same ones, for one batch size.
    batch_size: windows at once.
    console: where the progress is shown.

  Returns:
    `[N, L, C]` float32, standardised.

  Raises:
    UserError: the windows are of a wrong shape or not finite.
  """
  info = model.source.info
  size = min(batch_size, len(label))
  rows = np.append(
      np.arange(len(label)), np.full(-len(label) % size, len(label) - 1)
  ).reshape(-1, size)
  parts = []
  for number, index in enumerate(rich.progress.track(
      rows, f'{"generated windows":<32}', console=console
  )):
    key = jax.random.fold_in(jax.random.key(seed), number)
    found = model.sample({'label': label[index].astype(np.int32)}, key)
    parts.append(_checked(found, size, info))
  return np.concatenate(parts)[:len(label)]


def _checked(
    found: Mapping[str, Any], count: int, info: Mapping[str, Any]
) -> np.ndarray:
  windows = np.asarray(found['window'], np.float32)
  expected = (count, info['length'], len(info['channels']))
  if windows.shape != expected:
    raise UserError(
        f'window: expected generated windows [B, L, C] of {list(expected)}, '
        f'found {list(windows.shape)}.'
    )
  if not np.isfinite(windows).all():
    raise UserError(
        'window: expected finite generated windows, found NaN or infinity. Did '
        'the training diverge?'
    )
  return windows


def save(
    path: pathlib.Path, windows: np.ndarray, label: np.ndarray,
    info: Mapping[str, Any]
) -> pathlib.Path:
  """Write generated windows as arrays.

  Args:
    path: the `.npz`, which holds `window` `[N, L, C]` float32 in `units`,
      `label` `[N]`, and the names `classes`, `channels` and `units` `[C]`;
      `rate` in Hz.
    windows: `[N, L, C]` standardised.
    label: `[N]`.
    info: of the source.

  Returns:
    The path.

  Raises:
    UserError: it cannot be written.
  """
  values = Signals.of(info).physical(windows).astype(np.float32)
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        path, window=values, label=label, rate=np.float64(info['rate']),
        classes=np.array(info['classes']), channels=np.array(info['channels']),
        units=np.array(channels_of(info).units),
    )
  except OSError as error:
    raise UserError(f'{path}: cannot write: {error}') from error
  return path


def channels_of(info: Mapping[str, Any]) -> series.Channels:
  """Return names, units and scale of the channels, for pictures."""
  units = [''] * len(info['channels'])
  for sensor, axes in info['sensors'].items():
    for axis in axes:
      units[axis] = info['units'][sensor]
  return series.Channels(
      info['channels'], units, np.asarray(info['mean']),
      np.asarray(info['std']), info['rate']
  )


def views(
    folder: pathlib.Path, info: Mapping[str, Any], real: Batch,
    windows: np.ndarray, label: np.ndarray, prefix: str = ''
) -> dict[str, pathlib.Path]:
  """Draw a real and a generated window of each class beside each other.

  Args:
    folder: of the pictures `PREFIXCLASS.png`.
    info: of the source.
    real: a split of it.
    windows: `[N, L, C]` generated ones, standardised.
    label: `[N]` of these.
    prefix: of the names of the files.

  Returns:
    The files by name.
  """
  channels, written = channels_of(info), {}
  for name, pair in _pairs(info, real, windows, label).items():
    file = f'{prefix}{slug(name)}.png'
    written[file] = folder / file
    spectrogram.beside(
        written[file], pair, channels, title=f"{info['name']}: {name}"
    )
  return written


def _pairs(
    info: Mapping[str, Any], real: Batch, windows: np.ndarray,
    label: np.ndarray
) -> dict[str, list[spectrogram.View]]:
  """Return a real and a generated window of each class that has both."""
  channels, found = channels_of(info), {}
  for number, name in enumerate(info['classes']):
    mine = [real['window'][real['label'] == number], windows[label == number]]
    if min(map(len, mine)):
      found[name] = [
          _view(title, channels.scaled(part[0]))
          for title, part in zip(('real', 'generated'), mine)
      ]
  return found


def _page(
    folder: pathlib.Path, info: Mapping[str, Any], real: Batch,
    windows: np.ndarray, label: np.ndarray
) -> dict[str, pathlib.Path]:
  if not pose.installed('plotly'):
    return {}
  shown = _pairs(info, real, windows, label)
  if not shown:
    # An exported model has no real windows.
    return {}
  path = folder / 'windows.html'
  pages.of_windows(path, shown, channels_of(info), title=str(info['name']))
  return {path.name: path}


def _view(title: str, window: np.ndarray) -> spectrogram.View:
  magnitude = np.abs(signal.stft(jnp.asarray(window.T, jnp.float32)))
  return spectrogram.View(title, window, np.asarray(magnitude))


def slug(name: str) -> str:
  """Return a class's name as that of a file."""
  return re.sub(r'\W+', '_', name.lower())


def _write_csv(
    path: pathlib.Path, values: np.ndarray, info: Mapping[str, Any]
) -> None:
  try:
    with path.open('w', newline='', encoding='utf-8') as file:
      writer = csv.writer(file)
      writer.writerow(['window', 'time_s', *info['channels']])
      for (window, place), row in zip(
          np.ndindex(*values.shape[:2]), values.reshape(-1, values.shape[-1])
      ):
        time = f'{place / info["rate"]:.6g}'
        writer.writerow([window, time, *(f'{value:.7g}' for value in row)])
  except OSError as error:
    raise UserError(f'{path}: cannot write: {error}') from error


def _report(
    info: Mapping[str, Any], written: Mapping[str, pathlib.Path]
) -> None:
  units = ', '.join(info['units'].values())
  table = rich.table.Table(
      # A Text, because a name may hold brackets, which mark up strings.
      title=rich.text.Text(
          f"{_COUNT} windows of each class, like {info['name']}, {units}"
      ),
      box=rich.box.SIMPLE_HEAD,
  )
  table.add_column('file', no_wrap=True)
  table.add_column('size', justify='right', no_wrap=True)
  for file, path in written.items():
    table.add_row(file, f'{path.stat().st_size / 1024:,.0f} kB')
  rich.console.Console().print(table)
  # Not in the table, which would break a long path.
  print(f'in {next(iter(written.values())).parent}')
