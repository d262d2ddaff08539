"""Metrics files and progress."""

import io
import math
import resource

import pytest
import rich.console

from diffax.errors import UserError
from diffax.train import log


def test_rows_survive_and_later_ones_are_cut(tmp_path):
  with log.Writer(tmp_path, 0) as writer:
    for step in (1, 2, 3):
      writer.write(step, {'loss': 0.1 * step})
  with log.Writer(tmp_path, 2) as writer:
    writer.write(4, {'loss': math.inf})
  assert log.read(tmp_path / 'metrics.jsonl') == [
      {'step': 1, 'loss': 0.1}, {'step': 2, 'loss': 0.2},
      {'step': 4, 'loss': None},
  ]
  boards = list((tmp_path / 'tensorboard').iterdir())
  assert any(b'loss' in board.read_bytes() for board in boards)


def test_a_cut_last_line_is_left_out(tmp_path):
  path = tmp_path / 'metrics.jsonl'
  path.write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "lo')
  assert log.read(path) == [{'step': 1, 'loss': 2.0}]
  assert log.read(tmp_path / 'none') == []


def _shown(terminal):
  file = io.StringIO()
  console = rich.console.Console(
      file=file, force_terminal=terminal, width=120
  )
  with log.Progress('stage', 0, 10, console) as progress:
    progress.advance(3)
    progress.report(4, 0.25)
    progress.note('[a note]')
  return file.getvalue()


def test_progress_is_lines_in_a_file_and_a_bar_on_a_terminal():
  lines = _shown(False).splitlines()
  assert lines[0].startswith('stage 4/10  loss 0.2500  ')
  assert lines[0].endswith('s left')
  assert lines[1] == 'stage [a note]'
  bar = _shown(True)
  assert '4/10' in bar and 'steps/s' in bar and '\x1b[' in bar


def test_a_full_disk_is_said(tmp_path):
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  with log.Writer(tmp_path, 0) as writer:
    writer.write(1, {'loss': 0.5})
    # No file may grow: a write fails as on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
    try:
      with pytest.raises(UserError, match='metrics.jsonl: cannot write'):
        writer.write(2, {'loss': 0.25})
    finally:
      resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
  assert log.read(tmp_path / 'metrics.jsonl') == [{'step': 1, 'loss': 0.5}]


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
  (tmp_path / 'metrics.jsonl').mkdir()
  with pytest.raises(UserError, match='metrics.jsonl: cannot write'):
    log.Writer(tmp_path, 0)
