"""A body that swings one arm, for pictures, and a browser for pages."""

import shutil
import subprocess

import numpy as np
import pytest

from diffax.body import kinematics
from diffax.body import skeletons


@pytest.fixture(scope='session')
def swing():
  """Motion `[40, 22, 3]` that faces y: the left forearm turns, else rest."""
  rest = kinematics.SMPL_OFFSETS.copy()
  places = np.zeros_like(rest)
  parents = skeletons.AMASS21.parents
  for joint, parent in enumerate(parents):
    if parent >= 0:
      places[joint] = places[parent] + rest[joint]
  # SMPL: x left, y up, z forwards; here z is up and the body faces y.
  places = np.stack([-places[:, 0], places[:, 2], places[:, 1]], -1)
  motion = np.tile(places, (40, 1, 1))
  elbow = skeletons.AMASS21.joints.index('LElbow')
  wrist = skeletons.AMASS21.joints.index('LWrist')
  angle = np.linspace(0, np.pi / 2, 40)
  motion[:, wrist] = motion[:, elbow] + 0.26 * np.stack(
      [-np.cos(angle), 0 * angle, np.sin(angle)], -1
  )
  return motion


@pytest.fixture
def browse(tmp_path):
  """Open a page without a window: (address, *flags) -> the finished process."""
  browser = next(filter(None, map(shutil.which, (
      'chromium', 'chromium-browser', 'google-chrome', 'chrome'
  ))), None)
  if browser is None:
    pytest.skip('no Chromium to open the page with')

  def opened(page, *flags):
    return subprocess.run(
        [browser, '--headless', '--no-sandbox', '--disable-gpu',
         '--hide-scrollbars', '--window-size=900,640',
         '--enable-logging=stderr', '--virtual-time-budget=1500',
         f'--user-data-dir={tmp_path}/profile', *flags, page],
        capture_output=True, text=True, timeout=120, check=True,
    )

  return opened
