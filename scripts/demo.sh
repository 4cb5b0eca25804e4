#!/usr/bin/env bash
# Did the old data help? Two files as a shop has them, made here, and `compare`: a verdict, a picture, a model, within a
# minute after installing. Then the demo suite of networks: at most three minutes more on two cores. No download.
# DEMO_OUTPUT names another folder than demo_output.
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
output=${DEMO_OUTPUT:-$root/demo_output}
mkdir -p "$output"
python scripts/demo_files.py "$output"
(
    cd "$output"
    echo "tl-research compare old.csv new.csv --label bought --shots 30"
    tl-research compare old.csv new.csv --label bought --shots 30
)
echo "the picture: $(ls -d "$output"/answers/*/answer.png)"
echo
echo "Now the demo suite: networks and adaptation methods, as a benchmark runs them."
tl-research benchmark benchmarks/suites/demo.yaml --jobs 2 --output "$output/runs" --results "$output"
