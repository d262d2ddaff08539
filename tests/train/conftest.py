"""Let the tests here, and the programs they start, import `toy`."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
