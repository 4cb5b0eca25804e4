#!/usr/bin/env bash
# Lint, check types, check every configuration, run the tests. Arguments go to pytest: scripts/test.sh tests/data -k shots
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
# One thread a process: two workers of two threads each are slower than two of one.
export OMP_NUM_THREADS=1
ruff check .
ruff format --check .
mypy
shopt -s globstar
tl-research check configs/**/*.yaml benchmarks/suites/*.yaml
# By file, because the contract tests of one file share the runs that they train.
python -m pytest -n "${TEST_WORKERS:-2}" --dist loadfile "$@"
