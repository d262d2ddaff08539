#!/usr/bin/env bash
# A run on a pod of TPU virtual machines, from your own machine, by gcloud:
#
#   export TPU=momu ZONE=us-central2-b
#   bash launch/tpu_pod.sh create v4-32          # machines
#   bash launch/tpu_pod.sh sync                  # this folder and its packages
#   bash launch/tpu_pod.sh run --config=experiments/momu_joint.py \
#     --workdir=/mnt/shared/runs/momu            # starts, or resumes
#   bash launch/tpu_pod.sh logs                  # follows the first machine
#   bash launch/tpu_pod.sh status                # how every machine ended
#   bash launch/tpu_pod.sh stop                  # saves and leaves
#   bash launch/tpu_pod.sh delete
#
# Also: PROJECT of gcloud, VERSION of the machines' software, SPOT=1 for
# machines that may be taken away, MOUNT, a command that every machine runs
# before `run` to mount the disk that all share, SETUP, one that installs Python
# 3.11 or newer before `sync` installs packages, PREFLIGHT=0 to leave out the
# check before the start. DRY=1 prints the commands and runs none.
#
# The run goes on when this terminal is closed. Its status, by `status`: 0 done,
# 75 saved and wants `run` again, 2 a mistake of yours, other a fault. After
# machines were taken away: delete, create, sync, run.
set -euo pipefail
cd "$(dirname "$0")/.."

refuse() {
  echo "error: $1" >&2
  exit 2
}

TPU=${TPU:-}
ZONE=${ZONE:-}
PLACE=diffax
SETUP=${SETUP:-'{ command -v python3.11 || { sudo apt-get update && \
sudo apt-get install --yes python3.11-venv; }; }'}

gcloud_tpu() {
  local command=$1
  shift
  set -- gcloud compute tpus tpu-vm "$command" "$@" --zone="$ZONE" \
    ${PROJECT:+--project="$PROJECT"}
  if [ "${DRY:-0}" = 1 ]; then
    printf '%q ' "$@"
    echo
  else
    "$@"
  fi
}

everywhere() {
  gcloud_tpu ssh "$TPU" --worker=all --command="$1"
}

usage() {
  sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "$0"
}

create() {
  [ $# = 1 ] || refuse "create: expected the kind of TPU, e.g. v4-32"
  gcloud_tpu create "$TPU" --accelerator-type="$1" \
    --version="${VERSION:-tpu-ubuntu2204-base}" ${SPOT:+--spot}
}

sync() {
  local archive
  archive=$(mktemp -d)/diffax.tgz
  [ "${DRY:-0}" = 1 ] || tar --exclude=./.git --exclude=./.venv --exclude=./runs \
    --exclude=__pycache__ -czf "$archive" .
  gcloud_tpu scp "$archive" "$TPU:diffax.tgz" --worker=all
  rm -r "$(dirname "$archive")"
  everywhere "mkdir -p $PLACE && tar -xzf diffax.tgz -C $PLACE && $SETUP && \
cd $PLACE && . launch/install.sh && install viz && \
.venv/bin/pip install --quiet --constraint launch/constraints.txt 'jax[tpu]'"
}

run() {
  local flags task
  case " $* " in
    *" --workdir="*) ;;
    *) refuse "--workdir: expected a folder that all machines share" ;;
  esac
  flags=$(printf '%q ' "$@")
  task="export DIFFAX_PROCESSES=auto PYTHONUNBUFFERED=1; "
  if [ "${PREFLIGHT:-1}" = 1 ]; then
    task+=".venv/bin/python launch/preflight.py --platform=tpu -- $flags && "
  fi
  # The list before `&` has a shell of its own, which gives way to Python: so
  # the number in `pid` is Python's.
  task+="exec .venv/bin/python -m diffax.main $flags & echo \$! > pid; "
  task+="wait \$!; echo \$? > status"
  everywhere "${MOUNT:+$MOUNT && }cd $PLACE && rm -f status && \
nohup bash -c $(printf '%q' "$task") > log.txt 2>&1 < /dev/null &"
}

case ${1:-} in
  create | sync | run | logs | status | stop | delete) ;;
  *)
    usage
    exit 2
    ;;
esac
[ -n "$TPU" ] && [ -n "$ZONE" ] || refuse "TPU and ZONE: expected in the environment"
action=$1
shift
case $action in
  create) create "$@" ;;
  sync) sync ;;
  run) run "$@" ;;
  logs) gcloud_tpu ssh "$TPU" --worker="${WORKER:-0}" \
    --command="tail -n 100 -F $PLACE/log.txt" ;;
  status) everywhere "cd $PLACE && \
if [ -f status ]; then echo left with \$(cat status); else echo runs; fi" ;;
  stop) everywhere "kill \$(cat $PLACE/pid)" ;;
  delete) gcloud_tpu delete "$TPU" --quiet ;;
esac
