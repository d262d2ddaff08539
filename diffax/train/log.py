"""Metrics to JSON lines and TensorBoard, progress to the terminal."""

from collections.abc import Iterator, Mapping
import contextlib
import json
import math
import os
import pathlib
import time
from types import TracebackType
from typing import Any

import rich.console
import rich.progress

from diffax.errors import UserError


class Writer:
  """Append metrics to `metrics.jsonl`, the source of truth, and TensorBoard.

  Lines after `step` are cut off first, so that a resumed run leaves the same
  file as an uninterrupted one.
  """

  def __init__(self, workdir: pathlib.Path, step: int):
    self._path = path = workdir / 'metrics.jsonl'
    with self._named():
      kept = [row for row in read(path) if row['step'] <= step]
      part = path.with_suffix('.part')
      part.write_text(''.join(_line(row) for row in kept))
      os.replace(part, path)
      # Without a buffer nothing is left to fail when the file is closed.
      self._file = path.open('ab', buffering=0)
      # Here, since it imports torch where that is installed, which takes
      # seconds that those who only evaluate and sample need not wait.
      import tensorboardX
      self._board = tensorboardX.SummaryWriter(
          str(workdir / 'tensorboard'), purge_step=step + 1
      )

  @contextlib.contextmanager
  def _named(self) -> Iterator[None]:
    """Turn a disk that fails into a message with the file's name."""
    try:
      yield
    except OSError as error:
      raise UserError(f'{self._path}: cannot write: {error}') from error

  def __enter__(self) -> 'Writer':
    return self

  def __exit__(
      self,
      kind: type[BaseException] | None,
      error: BaseException | None,
      trace: TracebackType | None,
  ) -> None:
    self._file.close()
    # Only a view of the metrics: its loss on a full disk is not told twice.
    with contextlib.suppress(OSError):
      self._board.close()

  def write(self, step: int, values: Mapping[str, Any]) -> None:
    """Write scalars by name.

    Raises:
      UserError: if the disk is full.
    """
    scalars = {name: float(value) for name, value in values.items()}
    with self._named():
      self._file.write(_line({'step': step, **scalars}).encode())
      for name, value in scalars.items():
        self._board.add_scalar(name, value, step)


def _line(row: Mapping[str, Any]) -> str:
  # JSON has no NaN or infinity.
  safe = {
      k: None if isinstance(v, float) and not math.isfinite(v) else v
      for k, v in row.items()
  }
  return json.dumps(safe) + '\n'


def read(path: pathlib.Path) -> list[dict[str, Any]]:
  """Return the rows of a JSON-lines file; a cut last line is left out."""
  rows = []
  if path.is_file():
    for line in path.read_text().splitlines():
      try:
        rows.append(json.loads(line))
      except json.JSONDecodeError:
        break
  return rows


class Progress:
  """Show steps, loss and speed: a bar on a terminal, lines elsewhere."""

  def __init__(
      self,
      name: str,
      start: int,
      steps: int,
      console: rich.console.Console | None = None,
  ):
    self._console = console or rich.console.Console()
    self._name, self._steps = name, steps
    self._last = (start, time.monotonic())
    self._bar: rich.progress.Progress | None = None
    if self._console.is_terminal:
      columns = (
          rich.progress.TextColumn('{task.description}'),
          rich.progress.BarColumn(),
          rich.progress.MofNCompleteColumn(),
          rich.progress.TextColumn('{task.fields[status]}'),
          rich.progress.TimeRemainingColumn(),
      )
      self._bar = rich.progress.Progress(*columns, console=self._console)
      self._task = self._bar.add_task(
          name, total=steps, completed=start, status=''
      )

  def __enter__(self) -> 'Progress':
    if self._bar:
      self._bar.start()
    return self

  def __exit__(
      self,
      kind: type[BaseException] | None,
      error: BaseException | None,
      trace: TracebackType | None,
  ) -> None:
    if self._bar:
      self._bar.stop()

  def advance(self, step: int) -> None:
    """Move the bar to a step."""
    if self._bar:
      self._bar.update(self._task, completed=step)

  def report(self, step: int, loss: float) -> None:
    """Show the loss, and the speed since the last report."""
    (last, then), now = self._last, time.monotonic()
    self._last = (step, now)
    rate = (step - last) / max(now - then, 1e-9)
    status = f'loss {loss:.4f}  {rate:.2f} steps/s'
    if self._bar:
      self._bar.update(self._task, completed=step, status=status)
    else:
      left = (self._steps - step) / max(rate, 1e-9)
      self.note(f'{step}/{self._steps}  {status}  {left:.0f} s left')

  def note(self, text: str) -> None:
    """Print a line; the bar stays below it."""
    self._console.print(
        f'{self._name} {text}', highlight=False, markup=False, soft_wrap=True
    )
