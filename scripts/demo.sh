#!/usr/bin/env bash
# The demo suite, from installation to table: no download, at most three minutes on two cores after installing.
# DEMO_OUTPUT names another folder than demo_output.
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
output=${DEMO_OUTPUT:-$root/demo_output}
tl-research benchmark benchmarks/suites/demo.yaml --jobs 2 --output "$output/runs" --results "$output"
