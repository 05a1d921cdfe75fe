#!/usr/bin/env bash
# Everything that needs a GPU, in one run of at most 12 minutes:
#
#     benchmarks/gpu.sh [--dry-run] [FOLDER]
#
# Runs the tests of the CUDA operators, the tables of their speed, the rates of the detector with
# a comparison of its catalogue with the CPU's, frames made on the device, and 500 training steps.
# Writes one log for each step and the table gpu.md into FOLDER (default: build/gpu). A step that
# fails or runs out of time is marked in the table, and the others still run; the exit status
# is 1 then. --dry-run runs the same on the CPU with small sizes and limits ten times as long, to
# check this script.
#
# PYTHON is the environment's Python, by default .tox/skyduel/bin/python.
set -uo pipefail
cd "$(dirname "$0")/.."

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; }
device=cuda
out=build/gpu
for word in "$@"; do
    case $word in
        --dry-run) device=cpu ;;
        -h | --help) usage; exit 0 ;;
        -*) echo "gpu.sh: --dry-run or a folder is required, got $word" >&2; exit 2 ;;
        *) out=$word ;;
    esac
done
python=${PYTHON:-.tox/skyduel/bin/python}
"$python" -c 'import skyduel' || { echo "gpu.sh: PYTHON has to name a Python with skyduel, got $python" >&2; exit 2; }
if [ $device = cuda ] && ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    echo "gpu.sh: a CUDA device is required, torch sees none; --dry-run runs on the CPU" >&2
    exit 2
fi
mkdir -p "$out"
table=$out/gpu.md
failed=0

# step NAME SECONDS COMMAND...: run one step with a time limit, log it, add its line to the table.
step() {
    local name=$1 limit=$(($2 * slower)) began=$SECONDS status=0 outcome
    shift 2
    echo "$name ..."
    timeout "$limit" "$@" >"$out/$name.log" 2>&1 || status=$?
    case $status in
        0) outcome=passed ;;
        124) outcome="stopped after $limit s" ;;
        *) outcome="failed with status $status" ;;
    esac
    [ $status = 0 ] || { failed=1; tail -n 5 "$out/$name.log"; }
    echo "| $name | $outcome | $((SECONDS - began)) s |" >>"$table"
}

if [ $device = cuda ]; then
    title="# On a GPU"
    machine=$(nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>&1)
    tests=(-m gpu)
    slower=1 small=() repeats=15 steps=500 batch=64 workers=$(($(nproc) > 8 ? 8 : $(nproc)))
else
    title="# Dry run on the CPU: nothing here was measured on a GPU"
    machine="no GPU"
    tests=(tests/cuda_ops/test_library.py)
    slower=10 small=(--small) repeats=1 steps=2 batch=2 workers=1
fi
{
    printf '%s\n\n' "$title"
    printf '%s, commit %s, %s CPUs, %s\n\n' "$(date -u +%F)" "$(git rev-parse --short HEAD 2>/dev/null || echo unknown)" "$(nproc)" "$machine"
    printf '| step | outcome | time |\n|---|---|---:|\n'
} >"$table"

# The limits add up to 12 minutes.
step tests 120 "$python" -m pytest -q -p no:cacheprovider "${tests[@]}"
step operators 100 "$python" benchmarks/speed/ops.py --device $device --quick --repeats $repeats
step detector 200 "$python" benchmarks/speed/gpu.py --device $device --repeats $repeats "${small[@]}"
if [ $device = cuda ]; then
    step frames 100 "$python" benchmarks/speed/simulate.py
fi
step training 200 "$python" benchmarks/speed/gpu.py --device $device --training-steps $steps \
    --batch $batch --workers $workers
{
    for name in detector operators frames training; do
        [ -f "$out/$name.log" ] && printf '\n## %s\n\n' "$name" && cat "$out/$name.log"
    done
} >>"$table"
sed -n '1,/^## /{/^## /d;p}' "$table"
echo "written: $table"
exit $failed
