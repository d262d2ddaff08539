"""Let the tests here import the programs in launch/, which is no package."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / 'launch'))
