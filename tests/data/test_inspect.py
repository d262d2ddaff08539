"""What the command prints of every kind of file, and of a broken one."""

import dataclasses
import io
import pathlib

import numpy as np
import pytest
import rich.console

from diffax.data import __main__ as command
from diffax.data import audio
from diffax.data import inspect
from diffax.data import writers
from diffax.data.base import ForcePlate
from diffax.data.base import Recording


def printed(report: inspect.Report) -> str:
  console = rich.console.Console(file=io.StringIO(), width=110)
  inspect.show(report, console)
  return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_motion_on_bones(person: Recording, tmp_path: pathlib.Path) -> None:
  writers.save(tmp_path / 'a[b].bvh', person)
  report = inspect.look(tmp_path / 'a[b].bvh')
  facts = report.facts
  assert facts['kind'] == 'motion: 22 joints, 1 root'
  assert facts['rate'] == '60 frames per second'
  assert facts['length'] == '90 frames, 1.500 s'
  assert facts['unit'].startswith('cm: guessed: ')
  assert facts['up'].startswith('Y: ') and facts['gaps'] == 'none'
  assert facts['body'] == 'amass21, by the names of amass21'
  rows = {row[0]: row[1:] for row in report.grids[1].rows}
  thigh = np.linalg.norm(
      person.positions[:, 4] - person.positions[:, 1], axis=-1)
  assert rows['LHip - LKnee'] == (f'{1000 * thigh.mean():.1f}', '0.00')
  assert len(rows) == 21
  text = printed(report)
  assert 'a[b].bvh' in text and 'LHip - LKnee' in text


def test_gaps_and_bones_that_stretch(
    person: Recording, tmp_path: pathlib.Path
) -> None:
  positions = person.positions.copy()
  positions[10:13, 5] = np.nan
  positions[20, 5] = np.nan
  positions[:45, 21] += [0, 0, 0.01]
  writers.save(tmp_path / 'a.c3d', dataclasses.replace(
      person, positions=positions))
  report = inspect.look(tmp_path / 'a.c3d')
  assert report.facts['gaps'] == '4 of 1980 points, in 4 frames'
  gaps, bones, _ = report.grids
  assert gaps.rows == [(person.joints[5], '4', '4.4%', '3')]
  spread = {row[0]: float(row[2]) for row in bones.rows}
  assert spread['LElbow - LWrist'] < 0.01 < spread['RElbow - RWrist']


def test_markers_and_a_force_plate(
    person: Recording, tmp_path: pathlib.Path
) -> None:
  corners = np.array([[0.6, 0, 0], [0.0, 0, 0], [0, 0.4, 0], [0.6, 0.4, 0]])
  forces = np.zeros((90, 3))
  forces[:45, 2] = 812
  plate = ForcePlate(
      'p', forces, np.zeros((90, 3)), np.full((90, 3), np.nan),
      corners.mean(0), corners, 60.0, 'N, Nmm, mm')
  writers.save(tmp_path / 'a.c3d', dataclasses.replace(
      person, parents=(-1,) * 22, plates=(plate,)))
  report = inspect.look(tmp_path / 'a.c3d')
  assert report.facts['kind'] == 'motion: 22 markers, which have no parents'
  assert not report.grids[1].rows
  assert report.grids[2].rows == [(
      'plate 1', '60', '1.50', 'N, Nmm, mm', '0.60 x 0.40 at 0.30, 0.20, 0.00',
      '812', '50%')]


def test_a_table_of_a_sensor(tmp_path: pathlib.Path) -> None:
  times = np.arange(200) / 50
  times[120:] += 0.5
  rows = [f'{t:.3f},0.1,0.2,9.8,{"" if i == 7 else 1},walk'
          for i, t in enumerate(times)]
  (tmp_path / 'a.csv').write_text(
      '\n'.join(['time,acc_x,acc_y,acc_z,gyr_x,what', *rows]))
  report = inspect.look(tmp_path / 'a.csv')
  facts = report.facts
  assert facts['kind'] == 'signals: 4 columns'
  assert facts['rate'] == '50 samples per second'
  assert facts['gaps in time'] == (
      '1, the longest 0.520 s, the first at 2.380 s')
  assert facts['missing cells'] == '1'
  assert facts['acceleration'].endswith('looks like m/s^2 with gravity')
  assert facts['other columns'] == 'what'
  assert report.grids[0].rows[3] == ('gyr_x', '1', '1', '1', '0', '1')


def test_a_table_without_a_clock_says_so(tmp_path: pathlib.Path) -> None:
  (tmp_path / 'a.csv').write_text('ax,ay,az\n' + '0,0,1\n' * 9)
  facts = inspect.look(tmp_path / 'a.csv').facts
  assert facts['rate'].startswith('not in the file')
  assert facts['length'] == '9 samples'
  assert facts['acceleration'].endswith('looks like g with gravity')
  (tmp_path / 'b.csv').write_text(
      'a_foot_x,a_foot_y,a_foot_z,hip_x,hip_y,hip_z\n' + '0,0,0,0,0,1\n' * 9)
  facts = inspect.look(tmp_path / 'b.csv').facts
  assert facts['kind'] == 'motion: 2 markers, which have no parents'
  assert facts['rate'].startswith('not in the file')
  assert inspect.look(tmp_path / 'b.csv', fps=10.0).facts['rate'] == (
      '10 frames per second')


def test_a_sound(tmp_path: pathlib.Path) -> None:
  pytest.importorskip('soundfile')
  wave = np.clip(1.5 * np.sin(np.arange(16000) / 10), -1, 1)
  audio.write(tmp_path / 'a.wav', wave, 8000)
  facts = inspect.look(tmp_path / 'a.wav').facts
  assert facts['rate'] == '8000 samples per second'
  assert (facts['channels'], facts['length']) == ('1', '2.000 s')
  assert facts['level'].startswith('-1.')
  assert facts['level'].endswith(('peak 0.0 dB', 'peak -0.0 dB'))
  assert float(facts['clipped'].split('%')[0]) > 40
  audio.write(tmp_path / 'b.wav', np.zeros(8000), 8000)
  assert inspect.look(tmp_path / 'b.wav').facts['level'] == 'silence'


def test_the_command_shows_what_it_can_and_leaves_with_2(
    person: Recording, tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str]
) -> None:
  writers.save(tmp_path / 'a.csv', person)
  (tmp_path / 'b.c3d').write_bytes(b'no such thing' * 99)
  whole, broken = str(tmp_path / 'a.csv'), str(tmp_path / 'b.c3d')
  assert command.main(['inspect', whole]) == 0
  assert 'LHip - LKnee' in capsys.readouterr().out
  assert command.main(['inspect', broken, whole, 'c.fbx']) == 2
  out, err = capsys.readouterr()
  assert 'LHip - LKnee' in out
  lines = err.strip().splitlines()
  assert len(lines) == 2
  assert lines[0].startswith(f'error: {broken}: header: expected ')
  assert 'c.fbx' in lines[1]
  assert command.main(['inspect', whole, '--unit', 'mm']) == 2
  assert 'unit' in capsys.readouterr().err


def test_real_files_are_shown(data_dir: pathlib.Path) -> None:
  report = inspect.look(data_dir / 'gait/rbds_running/RBDS09runT35.c3d')
  assert report.facts['kind'].startswith('motion: 33 markers')
  assert report.facts['force plates'] == '1'
  assert 'mean vector' in inspect.look(
      sorted((data_dir / 'imu/motionsense/wlk_7').iterdir())[0]
  ).facts['acceleration']
