"""Metrics to JSON lines and TensorBoard, progress to the terminal."""

from collections.abc import Mapping
import json
import math
import pathlib
import time
from types import TracebackType
from typing import Any

import rich.console
import rich.progress
import tensorboardX


class Writer:
  """Append metrics to `metrics.jsonl`, the source of truth, and TensorBoard.

  Lines after `step` are cut off first, so that a resumed run leaves the same
  file as an uninterrupted one.
  """

  def __init__(self, workdir: pathlib.Path, step: int):
    path = workdir / 'metrics.jsonl'
    kept = [row for row in read(path) if row['step'] <= step]
    self._file = path.open('w')
    self._board = tensorboardX.SummaryWriter(
        str(workdir / 'tensorboard'), purge_step=step + 1
    )
    for row in kept:
      self._line(row)

  def __enter__(self) -> 'Writer':
    return self

  def __exit__(
      self,
      kind: type[BaseException] | None,
      error: BaseException | None,
      trace: TracebackType | None,
  ) -> None:
    self._file.close()
    self._board.close()

  def write(self, step: int, values: Mapping[str, Any]) -> None:
    """Write scalars by name."""
    row = {'step': step, **{k: float(v) for k, v in values.items()}}
    self._line(row)
    for name, value in row.items():
      if name != 'step':
        self._board.add_scalar(name, value, step)

  def _line(self, row: Mapping[str, Any]) -> None:
    # JSON has no NaN or infinity.
    safe = {
        k: v if math.isfinite(v) else None for k, v in row.items()
    }
    self._file.write(json.dumps(safe) + '\n')
    self._file.flush()


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

  def __init__(self, name: str, start: int, steps: int):
    self._console = rich.console.Console()
    self._name, self._steps = name, steps
    self._begin, self._start, self._loss = time.monotonic(), start, math.nan
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
    """Show the loss and the speed at a step."""
    rate = (step - self._start) / max(time.monotonic() - self._begin, 1e-9)
    status = f'loss {loss:.4f}  {rate:.2f} steps/s'
    if self._bar:
      self._bar.update(self._task, completed=step, status=status)
    else:
      left = (self._steps - step) / max(rate, 1e-9)
      print(
          f'{self._name} {step}/{self._steps}  {status}  {left:.0f} s left',
          flush=True,
      )
