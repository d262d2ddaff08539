# Sourced by the other scripts: `install EXTRA` makes ./.venv if there is none
# and installs diffax with EXTRA at the versions of launch/constraints.txt.
# An active virtual environment, or PYTHON, is used instead where given.

install() {
  local extra=$1 python
  if [ -n "${VIRTUAL_ENV:-}" ]; then
    python="$VIRTUAL_ENV/bin/python"
  else
    if [ ! -x .venv/bin/python ]; then
      for python in "${PYTHON:-}" python3.11 python3.12 python3; do
        [ -n "$python" ] && "$python" -c \
          'import sys, venv; sys.exit(sys.version_info < (3, 11))' \
          2>/dev/null && break
        python=
      done
      if [ -z "$python" ]; then
        echo "error: Python 3.11 or newer with venv is needed; set PYTHON" >&2
        exit 2
      fi
      echo "making .venv with $("$python" --version)"
      "$python" -m venv .venv
    fi
    python=$PWD/.venv/bin/python
  fi
  # Only what is imported is compiled, and once: where bytecode is not written,
  # each process would take seconds more to start.
  unset PYTHONDONTWRITEBYTECODE
  "$python" -m pip install --quiet --disable-pip-version-check --no-compile \
    --constraint launch/constraints.txt --editable ".[$extra]"
  PATH="$(dirname "$python"):$PATH"
}
