"""Inputs and files of dances: what is read, written and refused."""

import importlib.util
import inspect
import pathlib

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.io import wavfile

from diffax import main
from diffax import sampling
from diffax.body import poses as poses_lib
from diffax.body import skeletons
from diffax.data import readers
from diffax.errors import DataError
from diffax.errors import UserError
from diffax.sampling import dance
from diffax.sampling import dance_parts
from diffax.trained import Trained

_SPEC = importlib.util.spec_from_file_location(
    'dances', pathlib.Path(__file__).parents[1] / 'evaluate' / 'dances.py'
)
dances = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(dances)

TEST = dances.PARTS['test']
FORMS = (
    '.wav', '.npz', '.html', '_poses.png', '_mels.png', '_mels.html', '.mp4'
)


def both(batch, key):
  """A model of both tasks that knows one window."""
  if len(batch) != 1:
    raise UserError('sample: too much')
  (name, given), = batch.items()
  frames = given.shape[1]
  made = {
      part: jnp.asarray(np.tile(TEST[part][:1], (1, 8, 1))[:, :frames])
      for part in ('music', 'motion') if part != name
  }
  return {part: jnp.repeat(x, len(given), 0) for part, x in made.items()}


def only(part):
  """A model of one task."""
  def sample(batch, key):
    if part in batch or 'frames' in batch:
      raise UserError('sample: expected other parts')
    return {part: both(batch, key)[part]}

  return sample


def autoencoder(part):
  return lambda batch, key: {part: jnp.asarray(batch[part])}


def draw(tmp_path, sample=both, source=None, **options):
  model = Trained(source or dances.source(), sample)
  return sampling.DRAWERS['dance'](model, tmp_path / 'out', seed=0, **options)


@pytest.fixture
def quick(monkeypatch):
  """Leave out what draws, which other tests do."""
  for name in ('_draw_poses', '_draw_mels'):
    monkeypatch.setattr(dance, name, lambda path, dance: path.touch())
  monkeypatch.setattr(
      dance.plots, 'film', lambda path, dance: path.touch()
  )


@pytest.fixture
def song(tmp_path):
  path = tmp_path / 'a song.wav'
  wavfile.write(path, 16000, np.int16(20000 * TEST['wave'][0]))
  return path


@pytest.fixture
def clip(tmp_path):
  """A person in space who walks off, saved as our own npz."""
  from diffax.body import kinematics
  places = np.zeros((22, 3))
  for joint, parent in enumerate(skeletons.AMASS21.parents):
    if parent >= 0:
      places[joint] = places[parent] + kinematics.SMPL_OFFSETS[joint]
  # SMPL: x left, y up, z forwards; here z is up and the body faces y.
  places = np.stack([-places[:, 0], places[:, 2], places[:, 1]], -1)
  motion = np.tile(places, (60, 1, 1))
  motion[:, :, 0] += np.linspace(0, 1, 60)[:, None]
  wrist = skeletons.AMASS21.joints.index('LWrist')
  motion[:, wrist, 2] += 0.1 * np.sin(np.arange(60) / 3)
  path = tmp_path / 'walk.npz'
  readers.save_npz(
      path, skeletons.AMASS21.joints, skeletons.AMASS21.parents, motion, 30.0
  )
  return path


def test_a_song_is_danced_to_and_stays_what_it_is(tmp_path, song):
  pytest.importorskip('imageio_ffmpeg')
  found = draw(tmp_path, input=song)
  assert set(found) == {f'music_to_motion{form}' for form in FORMS}
  assert all(path.stat().st_size > 100 for path in found.values())
  rate, wave = wavfile.read(found['music_to_motion.wav'])
  assert rate == 16000 and len(wave) == dances.FRAMES * dances.HOP
  _, given = wavfile.read(song)
  np.testing.assert_allclose(wave, given, atol=2)
  with np.load(found['music_to_motion.npz']) as arrays:
    places = TEST['motion'][0].reshape(-1, 14, 2).astype(float)
    np.testing.assert_allclose(arrays['keypoints'], places, atol=1e-4)
    assert arrays['fps'] == 62.5 and len(arrays['musical_beats']) > 2


def test_the_beats_of_a_song_come_through(tmp_path, song, quick):
  found = draw(tmp_path, input=song)
  with np.load(found['music_to_motion.npz']) as arrays:
    music, motion = arrays['musical_beats'], arrays['kinematic_beats']
  # The model knows the dance of just this song.
  near = np.abs(music[:, None] - motion[None]).min(1)
  assert (near < 0.1).mean() > 0.7


def test_a_song_of_any_rate_and_length_is_cut_to_seconds(tmp_path, quick):
  path = tmp_path / 'a.wav'
  stereo = np.int16(9000 * np.sin(np.arange(2 * 44100 * 3) / 20))
  wavfile.write(path, 44100, stereo.reshape(-1, 2))
  whole = draw(tmp_path, input=path)['music_to_motion.npz']
  with np.load(whole) as arrays:
    assert len(arrays['keypoints']) == 184
  cut = draw(tmp_path, input=path, seconds=2.0)['music_to_motion.npz']
  with np.load(cut) as arrays:
    assert len(arrays['keypoints']) == 124


def test_a_movement_is_played_to(tmp_path, clip, quick, capsys):
  found = draw(tmp_path, input=clip)
  assert set(found) == {f'motion_to_music{form}' for form in FORMS}
  with np.load(found['motion_to_music.npz']) as arrays:
    poses, fps = arrays['keypoints'], arrays['fps']
  # 2 s at 62.5 frames per second, a multiple of four.
  assert poses.shape == (120, 14, 2) and fps == 62.5
  names = list(poses_lib.JOINTS)
  height = poses[0, names.index('neck'), 1] - poses[
      0, names.index('l_ankle'), 1]
  assert 1.0 < height < 1.7
  # From in front the left hand is on the right, and the person walks left.
  left, right = (poses[0, names.index(f'{s}_wrist'), 0] for s in 'lr')
  assert left > right
  assert poses[-1, 1, 0] - poses[0, 1, 0] < -0.8
  rate, wave = wavfile.read(found['motion_to_music.wav'])
  assert rate == 16000 and len(wave) == 120 * 256
  assert 'LShoulder' in capsys.readouterr().out


def test_what_is_written_can_be_read_again(tmp_path, clip, quick):
  first = draw(tmp_path, input=clip)['motion_to_music.npz']
  kept = tmp_path / 'kept.npz'
  first.rename(kept)
  again = draw(tmp_path, input=kept)['motion_to_music.npz']
  with np.load(kept) as a, np.load(again) as b:
    np.testing.assert_allclose(a['keypoints'], b['keypoints'], atol=1e-4)


def test_without_an_input_a_model_shows_all_it_can(tmp_path, quick):
  found = draw(tmp_path)
  tasks = {name.partition('.')[0] for name in found if name.endswith('.wav')}
  assert tasks == {'joint', 'music_to_motion', 'motion_to_music'}
  with np.load(found['joint.npz']) as arrays:
    assert len(arrays['keypoints']) == dances.FRAMES
  with np.load(found['motion_to_music.npz']) as arrays:
    # In the unit of the window, not in torso lengths.
    places = TEST['motion'][0].reshape(-1, 14, 2).astype(float)
    expected = poses_lib.denormalise(
        places, TEST['centre'][0], TEST['scale'][0])
    np.testing.assert_allclose(arrays['keypoints'], expected, atol=1e-4)


def test_seconds_ask_for_a_dance_alone(tmp_path, quick):
  found = draw(tmp_path, seconds=2.0)
  assert set(found) == {f'joint{form}' for form in FORMS}
  rate, wave = wavfile.read(found['joint.wav'])
  assert len(wave) == 124 * 256


def test_abilities_are_found_by_tracing():
  def able(sample):
    return dance_parts.abilities(Trained(dances.source(), sample))

  assert able(both) == ('motion_to_music', 'music_to_motion', 'joint')
  assert able(only('motion')) == ('music_to_motion',)
  assert able(only('music')) == ('motion_to_music',)
  assert able(autoencoder('music')) == ('music_vae',)
  assert able(autoencoder('motion')) == ('motion_vae',)


@pytest.mark.parametrize('part', ['music', 'motion'])
def test_autoencoders_show_what_they_keep(tmp_path, quick, part):
  found = draw(tmp_path, autoencoder(part))
  assert set(found) == {f'{part}_vae{form}' for form in FORMS}
  rate, wave = wavfile.read(found[f'{part}_vae.wav'])
  assert len(wave) == dances.FRAMES * 256 and np.abs(wave).max() > 1000


def test_what_a_model_cannot_do_is_said(tmp_path, song, clip):
  with pytest.raises(UserError, match='of a sound, found.*motion_to_music'):
    draw(tmp_path, only('music'), input=song)
  with pytest.raises(UserError, match='of a movement, .*music_to_motion'):
    draw(tmp_path, only('motion'), input=clip)
  with pytest.raises(UserError, match='--seconds: expected with --input'):
    draw(tmp_path, only('motion'), seconds=5.0)
  with pytest.raises(UserError, match='makes neither'):
    draw(tmp_path, lambda batch, key: {})


def test_arguments_that_do_not_fit_are_named(tmp_path, song):
  with pytest.raises(UserError, match="found suffix '.txt'"):
    draw(tmp_path, input=tmp_path / 'a.txt')
  with pytest.raises(UserError, match='--seconds: expected 1 or more'):
    draw(tmp_path, seconds=0.5)
  with pytest.raises(UserError, match='--asf: expected with --input'):
    draw(tmp_path, asf='a.asf')
  features = dances.source(music={'kind': 'features', 'dims': 80})
  with pytest.raises(UserError, match='by features that cannot be taken'):
    draw(tmp_path, only('motion'), features, input=song)


def write_wave(path, wave, rate=16000):
  wavfile.write(path, rate, wave)
  return path


def test_bad_songs_are_refused(tmp_path):
  cases = {
      'short': np.int16(9000 * np.sin(np.arange(8000) / 9)),
      'silent': np.zeros(48000, np.int16),
      'nan': np.full(48000, np.nan, np.float32),
  }
  for name, wave in cases.items():
    path = write_wave(tmp_path / f'{name}.wav', wave)
    with pytest.raises(DataError, match=f'{name}.wav'):
      draw(tmp_path, input=path)
  (tmp_path / 'text.ogg').write_text('no sound')
  with pytest.raises(DataError, match='text.ogg'):
    draw(tmp_path, input=tmp_path / 'text.ogg')
  with pytest.raises(DataError, match='none.wav'):
    draw(tmp_path, input=tmp_path / 'none.wav')


def test_bad_movements_are_refused(tmp_path):
  good = {'keypoints': np.tile(dances.REST, (90, 1, 1)), 'fps': 30.0,
          'joints': np.array(poses_lib.JOINTS)}
  gap = good['keypoints'].copy()
  gap[10:60, 3] = np.nan
  cases = {
      'shape': good | {'keypoints': good['keypoints'][:, :13]},
      'order': good | {'joints': good['joints'][::-1]},
      'fps': good | {'fps': 0.0},
      'slow': good | {'fps': 5.0},
      'short': good | {'keypoints': good['keypoints'][:20]},
      'gap': good | {'keypoints': gap},
      'point': good | {'keypoints': 0 * good['keypoints']},
  }
  for name, arrays in cases.items():
    path = tmp_path / f'{name}.npz'
    np.savez(path, **arrays)
    with pytest.raises(DataError, match=f'{name}.npz'):
      draw(tmp_path, input=path)


def test_clipped_songs_are_told(tmp_path, quick, capsys):
  wave = np.clip(3 * np.sin(np.arange(48000) / 9), -1, 1)
  path = write_wave(tmp_path / 'loud.wav', np.int16(32767 * wave))
  draw(tmp_path, input=path)
  assert 'clipped' in capsys.readouterr().out


def test_the_flags_reach_the_drawer():
  known = set(inspect.signature(dance.draw).parameters)
  assert {'input', 'seconds', 'asf', 'joint_map', 'seed'} <= known
  assert main.flags.FLAGS['seconds'].default is None
