#!/usr/bin/env bash
# Install the test extra and run the suite; arguments pass through to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
. launch/install.sh
install test
exec python -m pytest -n 2 --dist loadfile "$@"
