#!/usr/bin/env bash
# The first nine minutes on a GPU, most important step first.
#
#     benchmarks/gpu.sh [--budget SECONDS] [--out FOLDER]     (540, benchmarks/results/gpu)
#     benchmarks/gpu.sh --dry-run [--out FOLDER]              each step in miniature on a CPU, in a new folder
#     python benchmarks/gpu_tables.py                         folds the figures into docs/kernels.md
#
# A step gets its own limit or the rest of the budget, whichever is less. It is killed when its time is over, keeps the
# lines that it has, and goes on from there when this script is run again: what is in the CSV files is not measured again.
# Ends with 1 where a step failed, 2 where there is no card, and 3 where time ran out.
set -uo pipefail
from=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
budget=540 out='' dry=''
while (($#)); do
    case $1 in
        --budget) budget=$2 && shift 2 ;;
        --out) out=$2 && shift 2 ;;
        --dry-run) dry=1 && shift ;;
        *) sed -n '2,/^set/{/^set/!p}' "$0" >&2 && exit 2 ;;
    esac
done
results=$PWD/benchmarks/results
if [ -n "$dry" ]; then
    out=$(cd "$from" && realpath -m "${out:-$(mktemp -d)}")
    case $out/ in "$results"/*)
        echo "a miniature's figures may not lie in $results" >&2
        exit 2
        ;;
    esac
    threads=1
    # a compiler's minutes are no miniature, and a card is not asked for
    export TORCH_COMPILE_DISABLE=1 CUDA_VISIBLE_DEVICES=
else
    out=$(cd "$from" && realpath -m "${out:-$results/gpu}")
    threads=$(nproc)
fi
export OMP_NUM_THREADS=$threads WANDB_MODE=offline PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
failed=() left=()

# step NAME LIMIT SCRIPT WORDS...: one script; what it says is on the screen and in a file.
step() {
    local name=$1 limit=$2 rest=$((budget - SECONDS)) status begun=$SECONDS
    shift 2
    if ((rest < 5)); then
        left+=("$name (not begun)")
        echo "== $name: does not fit any more"
        return
    fi
    ((limit < rest)) || limit=$rest
    echo "== $name: at most $limit s of the $rest s left"
    timeout --kill-after=5 "$limit" python "benchmarks/$1" "${@:2}" 2>&1 | tee "$out/screen/$name.txt"
    status=${PIPESTATUS[0]}
    # 137 is the limit's second signal, or memory that ran out before
    ((status != 137 || SECONDS - begun < limit)) || status=124
    case $status in
        0) echo "== $name: done in $((SECONDS - begun)) s" ;;
        124)
            left+=("$name (begun)")
            echo "== $name: stopped after $limit s; its lines are kept"
            ;;
        *)
            if [ "$status" = 1 ] && [ "$1" = scaling.py ] && ! grep -q '^Traceback' "$out/screen/$name.txt"; then
                echo "== $name: done in $((SECONDS - begun)) s; a bar is missed"
            else
                failed+=("$name")
                echo "== $name: FAILED with status $status"
            fi
            ;;
    esac
}

kernels=(--threads "$threads" --out "$out/kernels.csv" --form gram gram_compiled keops ours)
closed=(--scale --error-rows 0 --threads "$threads" --limit 30 --out "$out/closed_form.csv")
if [ -n "$dry" ]; then
    device=(--device cpu)
    rates=(--side 128 --copy-mb 2)
    grid=(--rows 16 --width 8 --bandwidths 2 --dtype bf16 fp32 --rate-side 128 --no-memory)
    rest=(--rows 16 --width 4 --bandwidths 1 --dtype fp32 --rate-side 128 --no-memory)
    small=(--rows 8 --width 8 --dtype fp32)
    paths=(--rows 16 32 --widths 8 24)
    images=(--vision-device cpu --model test_resnet --size 32 --vision-batch 2 --vision-steps 1 --repeats 1)
    few=(--scale-rows 120 --scale-columns 6 --method coral)
    many=("${few[@]}")
    rows=(--devices cpu --processes 1 --methods dan --steps 2 --repeats 1 --batch-size 8)
    files=(tests/kernels/test_linear.py)
else
    python benchmarks/card.py || exit 2 # there is no card
    device=(--device cuda)
    rates=()
    grid=(--width 256 --bandwidths 5 --dtype bf16 fp32 --limit 5)
    rest=(--dtype bf16 fp32 --limit 3)
    small=()
    paths=()
    images=(--vision-steps 10 --repeats 3)
    few=(--method coral "tca rbf" jda ot_mapping meda kmm ulsif tjm)
    many=()
    rows=(--devices gpu --repeats 2)
    files=(tests/kernels/test_triton.py)
fi

mkdir -p "$out/screen"
step tests 100 gpu_tests.py --out "$out/tests.csv"
step rates 20 device_rates.py "${device[@]}" "${rates[@]}" --out "$out/rates.csv"
step kernels 150 kernels.py "${device[@]}" "${kernels[@]}" "${grid[@]}"
step host_time 40 kernel_host_time.py "${device[@]}" "${small[@]}" --out "$out/host_time.csv"
step paths 30 kernel_paths.py "${device[@]}" "${paths[@]}" --out "$out/paths.csv"
step images 170 scaling.py --only vision --turns 1 "${images[@]}" --out "$out/scaling.csv"
step closed_form 60 closed_form.py "${device[@]}" "${closed[@]}" "${few[@]}"
step scaling 40 scaling.py --only scaling "${rows[@]}" --out "$out/scaling.csv"
# with the time that is left
step all_kernel_tests 120 gpu_tests.py --files "${files[@]}" --out "$out/tests.csv"
step whole_grid "$budget" kernels.py "${device[@]}" "${kernels[@]}" "${rest[@]}"
step all_closed_forms "$budget" closed_form.py "${device[@]}" "${closed[@]}" "${many[@]}"

if [ -n "$dry" ]; then
    step tables 60 gpu_tables.py --device cpu --folder "$out" --page "$out/kernels.md"
fi
echo "== $SECONDS s of $budget; figures in $out"
((${#failed[@]} == 0)) || echo "== failed: ${failed[*]}"
((${#left[@]} == 0)) || { IFS=,; echo "== not finished: ${left[*]}; run this again to go on"; }
[ -n "$dry" ] || echo "== next: python benchmarks/gpu_tables.py --folder $out"
((${#failed[@]} == 0)) || exit 1
((${#left[@]} == 0)) || exit 3
