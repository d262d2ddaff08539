"""Write pictures and sound as a film."""

from collections.abc import Iterator
import contextlib
import itertools
import pathlib
import subprocess
import tempfile

import numpy as np
from scipy.io import wavfile

from diffax.errors import UserError
from diffax.viz import pose

_VIDEO = (
    '-c:v', 'libx264', '-crf', '20', '-preset', 'veryfast',
    '-pix_fmt', 'yuv420p', '-movflags', '+faststart',
)


def write(
    path: pathlib.Path | str,
    images: Iterator[np.ndarray],
    fps: float,
    wave: np.ndarray | None = None,
    rate: int = 16000,
) -> None:
  """Write an MP4.

  Args:
    path: the file, `.mp4`.
    images: `[H, W, 3]` uint8, of one even size; at least one.
    fps: pictures per second.
    wave: `[N]` of one channel, -1 to 1, what is beyond is clipped; None for a
      silent film. It begins with the first picture.
    rate: of the wave, Hz.

  Raises:
    UserError: the sound is no wave, ffmpeg is missing or cannot write.
  """
  try:
    import imageio_ffmpeg
  except ImportError as error:
    raise pose.missing('imageio-ffmpeg') from error
  path, first = pose.writable(path), next(images)
  height, width = first.shape[:2]
  with _sound(path, wave, rate) as sound:
    # Started here and not by imageio-ffmpeg, which forks: a fork of a process
    # that runs JAX's threads can hang.
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(), '-y', '-loglevel', 'error',
        '-f', 'rawvideo', '-pix_fmt', 'rgb24', '-s', f'{width}x{height}',
        '-r', f'{fps:.6f}', '-i', '-', *sound, *_VIDEO, str(path.resolve()),
    ]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as ffmpeg:
      assert ffmpeg.stdin is not None
      # The exit status and the message tell why a pipe broke.
      with contextlib.suppress(BrokenPipeError):
        for image in itertools.chain([first], images):
          ffmpeg.stdin.write(image.tobytes())
      message = ffmpeg.communicate()[1].decode(errors='replace').strip()
  if ffmpeg.returncode:
    raise UserError(f'{path}: ffmpeg could not write it: {message}')


def to_pcm(wave: np.ndarray) -> np.ndarray:
  """Turn a wave, -1 to 1, into 16-bit numbers; what is beyond is clipped.

  Raises:
    UserError: it is no vector of finite numbers, or empty.
  """
  wave = np.asarray(wave, np.float64)
  if wave.ndim != 1 or not wave.size or not np.isfinite(wave).all():
    raise UserError(
        'sound: expected a wave [N] of finite numbers, found '
        f'{list(wave.shape)}, finite: {np.isfinite(wave).all()}.'
    )
  return np.round(32767 * np.clip(wave, -1, 1)).astype('<i2')


@contextlib.contextmanager
def _sound(
    path: pathlib.Path, wave: np.ndarray | None, rate: int
) -> Iterator[list[str]]:
  """Give ffmpeg's arguments for a sound, in a file while they are needed."""
  if wave is None:
    yield []
    return
  samples = to_pcm(wave)
  with tempfile.TemporaryDirectory(dir=path.parent) as folder:
    file = pathlib.Path(folder).resolve() / 'sound.wav'
    wavfile.write(file, rate, samples)
    yield ['-i', str(file), '-c:a', 'aac', '-b:a', '128k']
