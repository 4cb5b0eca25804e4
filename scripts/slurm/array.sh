#!/usr/bin/env bash
# Submit a suite as one job array, task i of SHARES runs share i, and return:
#   PARTITION=gpu TIME=4:00:00 GPUS=1 SHARES=16 scripts/slurm/array.sh SUITE [--jobs 4] [--output runs] [--dry-run]
# An empty variable leaves it to the cluster, or to the default in docs/slurm.md.
set -euo pipefail
exec "${PYTHON:-python}" -m tl_research.cli benchmark "$@" --slurm \
    account="${ACCOUNT:-}" partition="${PARTITION:-}" time="${TIME:-}" gpus="${GPUS:-}" cpus="${CPUS:-}" \
    memory="${MEMORY:-}" shares="${SHARES:-}" parallel="${PARALLEL:-}" notice="${NOTICE:-}" \
    environment="${ENVIRONMENT:-}" options="${OPTIONS:-}"
