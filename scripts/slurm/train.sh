#!/usr/bin/env bash
# Submit one run over NODES nodes with GPUS processes on each, and return:
#   GPUS=4 NODES=2 PARTITION=gpu scripts/slurm/train.sh RECIPE [KEY=VALUE ...] [--dry-run]
# An empty variable leaves it to the cluster, or to the default in docs/slurm.md.
set -euo pipefail
exec "${PYTHON:-python}" -m tl_research.cli fit "$@" --slurm \
    account="${ACCOUNT:-}" partition="${PARTITION:-}" time="${TIME:-}" nodes="${NODES:-}" gpus="${GPUS:-}" \
    tasks="${TASKS:-}" cpus="${CPUS:-}" memory="${MEMORY:-}" notice="${NOTICE:-}" \
    environment="${ENVIRONMENT:-}" options="${OPTIONS:-}"
