"""Tables of paired series: columns by name, and each way they break."""

import gzip
import lzma
import pathlib

import numpy as np
import pytest

from diffax.data import tables
from diffax.errors import DataError
from diffax.errors import UserError

CHANNELS = {'angles': ('hip', 'knee'), 'grf': ('vert',)}
TABLE = """time_s,knee,note,vert,hip
0.00,1,a,7,4
0.01,2,b,8,5
0.02,3,"c, d",9,6
"""


def write(folder: pathlib.Path, text: str) -> pathlib.Path:
  path = folder / 'trial.csv'
  path.write_text(text)
  return path


def test_reads_columns_by_name(tmp_path: pathlib.Path) -> None:
  found = tables.read_series(
      write(tmp_path, TABLE), CHANNELS, need=('angles',), rate=100
  )
  assert list(found) == ['angles', 'grf']
  np.testing.assert_array_equal(found['angles'], [[4, 1], [5, 2], [6, 3]])
  np.testing.assert_array_equal(found['grf'], [[7], [8], [9]])
  assert found['grf'].dtype == np.float64


@pytest.mark.parametrize('name, pack', [
    ('trial.csv.gz', gzip.compress), ('trial.csv.xz', lzma.compress),
    # As spreadsheets write it.
    ('trial.csv', lambda data: b'\xef\xbb\xbf' + data.replace(b'\n', b'\r\n')),
])
def test_reads_packed_tables(tmp_path: pathlib.Path, name: str, pack) -> None:
  path = tmp_path / name
  path.write_bytes(pack(TABLE.encode()))
  found = tables.read_series(path, CHANNELS, need=('grf',))
  np.testing.assert_array_equal(found['grf'], [[7], [8], [9]])


def test_leaves_out_a_modality_that_is_not_there(
    tmp_path: pathlib.Path
) -> None:
  path = write(tmp_path, 'hip,knee\n1,2\n3,4\n')
  found = tables.read_series(path, CHANNELS, need=('angles',))
  assert list(found) == ['angles']
  with pytest.raises(DataError, match='grf, column vert'):
    tables.read_series(path, CHANNELS, need=('grf',))
  with pytest.raises(UserError, match="'force'"):
    tables.read_series(path, CHANNELS, need=('force',))


def test_a_part_of_a_modality_is_an_error(tmp_path: pathlib.Path) -> None:
  path = write(tmp_path, 'vert,hip,kneee\n1,2,3\n')
  with pytest.raises(DataError) as error:
    tables.read_series(path, CHANNELS, need=('grf',))
  for part in (str(path), 'angles, column knee', 'hip, knee', 'kneee',
               'Did you mean kneee?'):
    assert part in str(error.value)
  assert error.value.field == 'angles, column knee'


@pytest.mark.parametrize('old, new, message', [
    (TABLE, '', 'an empty file'),
    (TABLE, 'time_s,knee,vert,hip\n', 'rows.*none'),
    ('note', 'hip', 'line 1: .*hip more than once'),
    ('0.01,2,b,8,5', '0.01,2,b,8', 'line 3: expected 5 cells.* found 4'),
    ('0.01,2,b,8,5', '0.01,2,b,8,x', "line 3, hip: .* found 'x'"),
    ('0.01,2,b,8,5', '0.01,2,b,8,', 'line 3, hip: .* an empty cell'),
    ('0.01,2,b,8,5', '0.01,2,b,8,nan', 'line 3, hip: .* found nan'),
    ('0.01,2,b,8,5', '0.01,2,b,8,inf', 'line 3, hip: .* found inf'),
    (',', ';', 'Separate the columns by commas'),
    ('a', '\0', 'binary'),
])
def test_names_what_is_broken(
    tmp_path: pathlib.Path, old: str, new: str, message: str
) -> None:
  path = write(tmp_path, TABLE.replace(old, new))
  with pytest.raises(DataError, match=message) as error:
    tables.read_series(path, CHANNELS, need=('angles',))
  assert str(path) in str(error.value)


def test_a_missing_or_cut_file(tmp_path: pathlib.Path) -> None:
  with pytest.raises(DataError, match='No such file'):
    tables.read_series(tmp_path / 'no.csv', CHANNELS, need=('grf',))
  path = tmp_path / 'cut.csv.gz'
  path.write_bytes(gzip.compress(TABLE.encode())[:-12])
  with pytest.raises(DataError, match='compression'):
    tables.read_series(path, CHANNELS, need=('grf',))


@pytest.mark.parametrize('rate', [100.0, None])
@pytest.mark.parametrize('change, message', [
    (lambda t: np.delete(t, 4), 'sample 4: expected 0.04 s.* found 0.05 s'),
    (lambda t: np.insert(t, 4, t[3]), 'sample 4: expected 0.04.* found 0.03'),
    (lambda t: np.r_[t[:5], t[:5]], 'sample 5: expected 0.05 .* found 0 s'),
    (lambda t: t[::-1], 'steps of -0.01 s'),
    (lambda t: 0 * t, 'steps of 0 s'),
])
def test_time_must_advance_evenly(rate, change, message) -> None:
  time = np.arange(10) / 100
  tables.check_clock('file', time, rate)
  tables.check_clock('file', time + 0.002 * np.sin(7 * np.arange(10)), rate)
  with pytest.raises(DataError, match=message):
    tables.check_clock('file', change(time), rate)


@pytest.mark.parametrize('found', [50.0, 97.0, 110.0, 300.0])
def test_the_rate_must_fit(found: float) -> None:
  time = np.arange(50) / found
  tables.check_clock('file', time)
  with pytest.raises(DataError, match='expected a step of 0.01 s'):
    tables.check_clock('file', time, 100.0)


def test_one_sample_has_no_rate() -> None:
  tables.check_clock('file', np.array([3.0]), 100.0)
