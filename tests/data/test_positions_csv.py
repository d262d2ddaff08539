"""Joints in a table: names of columns, rates, parents, what is refused."""

import pathlib
from typing import Any

import numpy as np
import pytest

from diffax.data import positions_csv
from diffax.data import readers
from diffax.data import tables
from diffax.errors import DataError
from diffax.errors import UserError

JOINTS = ('head', 'hip', 'toe')
UP = (1.7, 0.9, 0.0)


def table(
    pattern: str = '{joint}_{axis}', time: str | None = 'time', above: str = '',
    rows: int = 5, scale: float = 1.0
) -> str:
  names = [pattern.format(joint=j, axis=a, AXIS=a.upper())
           for j in JOINTS for a in 'xyz']
  lines = [','.join([*([time] if time else []), *names])]
  for i in range(rows):
    numbers = [v * scale for up in UP for v in (0.01 * i, 0.02, up)]
    lines.append(','.join([*([f'{i / 50:.3f}'] if time else []),
                           *(f'{v:g}' for v in numbers)]))
  return above + '\n'.join(lines) + '\n'


def put(folder: pathlib.Path, text: str) -> pathlib.Path:
  (folder / 'a.csv').write_text(text)
  return folder / 'a.csv'


@pytest.mark.parametrize('pattern', [
    '{joint}_{axis}', '{joint}.{axis}', '{joint}:{axis}', '{joint} {axis}',
    '{joint}-{AXIS}', '{joint}{AXIS}', '{joint}_{axis}_m', '{joint}_{axis} [m]',
    '{joint}.{axis} (m)',
])
def test_columns_are_known_by_their_names(
    tmp_path: pathlib.Path, pattern: str
) -> None:
  got = readers.load(put(tmp_path, table(pattern)))
  assert got.joints == JOINTS and got.parents == (-1,) * 3
  assert (got.fps, got.unit) == (50.0, 'm')
  np.testing.assert_allclose(got.positions[2, 1], [0.02, 0.02, 0.9])


def test_sensors_are_no_joints() -> None:
  columns = [f'{name}{axis}' for name in (
      'acc_', 'gyr.', 'userAcceleration.', 'a', 'g', 'mag_', 'rotationRate.',
      'ground_force_r_', 'LKneeAngles_', 'gyroscope ') for axis in 'xyz']
  assert not positions_csv.joints_of(columns)
  joints = ('gluteus_minimus', 'acromion', 'inferior_tip', 'LForeArm')
  assert tuple(positions_csv.joints_of(
      [f'{j}_{a}' for j in joints for a in 'xyz'])) == joints


@pytest.mark.parametrize('time, scale', [
    ('time', 1), ('Time_s', 1), ('timestamp [ms]', 1000), ('t', 1),
    ('elapsed_us', 1e6)])
def test_the_clock_is_known_by_its_name(
    tmp_path: pathlib.Path, time: str, scale: float
) -> None:
  lines = table(time=time).splitlines()
  rows = [line.split(',') for line in lines]
  text = '\n'.join([lines[0], *(
      ','.join([f'{float(row[0]) * scale:g}', *row[1:]]) for row in rows[1:])])
  assert readers.load(put(tmp_path, text)).fps == pytest.approx(50)


def test_rounded_times_give_a_whole_rate(tmp_path: pathlib.Path) -> None:
  lines = table(rows=61).splitlines()
  text = '\n'.join([lines[0], *(
      ','.join([f'{i / 60:.3f}', *line.split(',')[1:]])
      for i, line in enumerate(lines[1:]))])
  assert readers.load(put(tmp_path, text)).fps == 60.0


def test_the_rate_comes_from_the_caller_or_a_line_above(
    tmp_path: pathlib.Path
) -> None:
  path = put(tmp_path, table(time=None))
  with pytest.raises(DataError, match='fps'):
    readers.load(path)
  assert readers.load(path, fps=25).fps == 25.0
  put(tmp_path, table(time=None, above='# fps: 59.94\n'))
  assert readers.load(path).fps == 59.94
  put(tmp_path, table(above='# fps: 60\n'))
  with pytest.raises(DataError, match='# fps'):
    readers.load(path)


def test_units_and_axes_are_stated_or_guessed(tmp_path: pathlib.Path) -> None:
  path = put(tmp_path, table(scale=1000))
  got = readers.load(path)
  assert got.unit == 'mm' and got.notes['unit'].startswith('guessed: 1700')
  assert got.notes['up'].startswith('Z: the points reach 1700')
  put(tmp_path, table('{joint}_{axis}_cm', scale=100))
  assert readers.load(path).notes['unit'] == "stated by the file: 'cm'"
  put(tmp_path, table('{joint}_{axis}_m', scale=100))
  with pytest.raises(DataError, match='State the unit: cm'):
    readers.load(path)
  put(tmp_path, table(above='# unit: m\n# up: y\n'))
  got = readers.load(path)
  np.testing.assert_allclose(got.positions[0, 0], [0, -1.7, 0.02])
  put(tmp_path, table(above='# up: down\n'))
  with pytest.raises(DataError, match='# up'):
    readers.load(path)


def test_parents_in_any_order_and_form(tmp_path: pathlib.Path) -> None:
  path = put(tmp_path, table(above='# parents: head=hip, hip=, toe=hip\n'))
  got = readers.load(path)
  assert got.joints == ('hip', 'head', 'toe') and got.parents == (-1, 0, 0)
  np.testing.assert_allclose(got.positions[0, 1], [0, 0.02, 1.7])
  for given in ({'head': 'hip', 'toe': 'hip'}, (1, -1, 1)):
    put(tmp_path, table())
    again = readers.load(path, parents=given)
    assert (again.joints, again.parents) == (got.joints, got.parents)
  with pytest.raises(DataError, match="'hipp'. Did you mean hip"):
    readers.load(path, parents={'head': 'hipp'})
  with pytest.raises(DataError, match='ring'):
    readers.load(path, parents={'head': 'hip', 'hip': 'head'})
  with pytest.raises(UserError, match='3 indices'):
    readers.load(path, parents=(1, 2))


@pytest.mark.parametrize('old, new, field', [
    ('head_x', 'head_w', None),
    ('0.040,', '0.010,', 'time'),
    ('0.040,', '0.200,', 'time'),
    ('0.040,', ',', 'time'),
    ('0.040,0.02', '0.040,high', 'line 4, head_x'),
    ('0.040,0.02', '0.040,inf', 'line 4, head_x'),
    ('0.040,0.02', '0.040,1e300', 'table'),
    ('0.040,0.02', '0.040', 'line 4'),
    ('0.040,0.02', '0.040,', 'frame 2, joint head'),
    ('0.040,0.02', '0.040,nan', 'frame 2, joint head'),
    ('head_y', 'head_x', 'line 1'),
])
def test_refuses_a_bad_table(
    tmp_path: pathlib.Path, old: str, new: str, field: str | None
) -> None:
  text = table()
  assert old in text
  path = put(tmp_path, text.replace(old, new))
  if field is None:
    # Two joints are left, and the columns of the third are passed over.
    assert readers.load(path).joints == JOINTS[1:]
    return
  with pytest.raises(DataError) as caught:
    readers.load(path)
  assert field in caught.value.field


def test_tables_of_signals_keep_their_clock(tmp_path: pathlib.Path) -> None:
  rows = [f'{t},{t * 2},{w},' for t, w in (
      (0.0, 'walk'), (0.01, 'walk'), (0.02, 'run'), (0.5, 'run'))]
  path = put(tmp_path, '\n'.join(['time,acc_x,what,empty', *rows]))
  with pytest.raises(DataError, match="empty"):
    readers.load(path)
  got = readers.load(path, gaps='keep')
  assert got.columns == ('acc_x', 'empty') and got.rate == pytest.approx(100)
  np.testing.assert_allclose(got.times, [0, 0.01, 0.02, 0.5])
  assert got.notes == {'other columns': 'what'}
  assert np.isnan(got.values[:, 1]).all()


@pytest.mark.parametrize('options, message', [
    ({'time': 'tim'}, 'Did you mean time'),
    ({'time_unit': 'h'}, "found 'h'"),
    ({'rate': -1.0}, 'rate'),
    ({'gaps': 'fill'}, 'gaps'),
])
def test_refuses_bad_options_of_signals(
    tmp_path: pathlib.Path, options: dict[str, Any], message: str
) -> None:
  path = put(tmp_path, 'time,v\n0,1\n.1,2\n')
  with pytest.raises(UserError, match=message):
    tables.read_signals(path, **options)


def test_compressed_files_that_hold_too_much_are_refused(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  import gzip
  import lzma
  monkeypatch.setattr('diffax.data.files.LARGEST_FILE', 1000)
  data = table(rows=99).encode()
  for name, pack in (('a.csv.gz', gzip.compress), ('a.csv.xz', lzma.compress)):
    (tmp_path / name).write_bytes(pack(data))
    with pytest.raises(DataError, match='at most 1000 bytes'):
      readers.load(tmp_path / name)
