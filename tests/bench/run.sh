#!/bin/sh
# run.sh BUILD_DIR [GIB] - the figures that README quotes: the small model with all and with a quarter of its experts
# resident, and the drive reached on a synthetic model of GIB (default 8) beside what fio gets from the same file.
# Runs alternate, medians are printed. The synthetic model is made once, in BUILD_DIR/bench.
set -eu
build=$1
gib=${2:-8}
root=$(cd "$(dirname "$0")/../.." && pwd)
hotset=$build/hotset
work=$build/bench
rounds=5
mkdir -p "$work"

field() { sed -n "s/.*\"$1\":\([-0-9.eE+]*\).*/\1/p"; }
# phase NAME : of the decode phase
phase() { sed -n "s/.*\"phases\":{[^}]*\"$1\":\([-0-9.eE+]*\).*/\1/p"; }
median() { sort -g | awk '{v[NR] = $1} END {print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2}'; }
# column FIELD FILE : median of a field over the runs in FILE
column() { while read -r line; do echo "$line" | field "$1"; done < "$2" | median; }
phases() {
    for p in compute disk_wait decode other; do
        printf ' %s %.3f' "$p" "$(while read -r line; do echo "$line" | phase "$p"; done < "$2" | median)"
    done
}

small_model() {
    "$hotset" pack --codec zstd "$root/tests/models/tale-moe-fp8" "$work/tale" 2> "$work/log"
    rm -f "$work"/small.*
    for round in $(seq $rounds); do
        for size in 100 25; do
            for form in direct packed; do
                for mode in auto off; do
                    model=$work/tale
                    [ $form = packed ] || model=$root/tests/models/tale-moe-fp8
                    "$hotset" bench "$model" --prompt 128 --gen 256 --json --set "cache.size=$size%" \
                        --set "prefetch.mode=$mode" >> "$work/small.$size.$form.$mode" 2>> "$work/log"
                done
            done
        done
    done
    echo "tale-moe-fp8, 128 prompt and 256 generated tokens, medians of $rounds alternating runs; seconds of decode by phase"
    for size in 100 25; do
        for form in direct packed; do
            for mode in auto off; do
                f=$work/small.$size.$form.$mode
                printf '  %3s%% resident, %-6s prefetch %-4s  %6.0f tok/s decode  %6.0f tok/s prefill  hit rate %.3f  recall %.2f ' \
                    $size $form $mode "$(column decode_tokens_per_s "$f")" "$(column prefill_tokens_per_s "$f")" \
                    "$(column hit_rate "$f")" "$(column predict_recall "$f")"
                phases decode "$f"
                printf '  prefetch: issued %.0f useful %.0f wasted %.0f\n' "$(column prefetch_issued "$f")" \
                    "$(column prefetch_useful "$f")" "$(column prefetch_wasted "$f")"
            done
        done
    done
}

# The generator's default expert is 4.5 MiB; a layer of 128 of them is 577 MiB.
make_synthetic() {
    model=$work/synthetic-$gib
    [ ! -e "$model/config.json" ] || return 0
    echo "writing a synthetic model of about $gib GiB to $model" >&2
    "$build/tests/tools/synth_model" "$model" --layers $((1 + gib * 1024 / 590))
}

drive() {
    if ! command -v fio > /dev/null; then
        echo "SKIP: fio is not installed"
        return
    fi
    make_synthetic
    echo "synthetic DeepSeek-V3 of $gib GiB in FP8"
    python3 "$root/tests/bench/missbound.py" "$hotset" "$model" --rounds $rounds
}

[ "$(nproc)" -gt 0 ] && sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1 | sed "s/\$/, $(nproc) processors/"
small_model
drive
