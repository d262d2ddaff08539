#!/usr/bin/env bash
# Entry point of the container: check, then run, with the flags of diffax.main.
# `exec` hands SIGTERM and the exit status on. PREFLIGHT=0 leaves out the check.
set -euo pipefail
cd "$(dirname "$0")/.."
workdir=
for flag in "$@"; do
  case $flag in --workdir=*) workdir=${flag#*=} ;; esac
done
if [ "${PREFLIGHT:-1}" = 1 ] && [ -n "$workdir" ]; then
  # Machines are found, and images fetched, at different times.
  python launch/preflight.py --wait=900 -- "$@" || exit 2
fi
exec python -m diffax.main "$@"
