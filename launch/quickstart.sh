#!/usr/bin/env bash
# Install, train a small SkeletonDiffusion on generated motion, print the
# metric table beside Zero-Velocity, draw the futures. Flags pass through:
#   bash launch/quickstart.sh --config=experiments/skeleton_quickstart.py:smoke
set -euo pipefail
cd "$(dirname "$0")/.."
. launch/install.sh
install viz
exec python -m diffax.main --config=experiments/skeleton_quickstart.py "$@"
