#!/usr/bin/env bash
# run.sh [-t SECONDS] [-m] [NAME...] - runs fuzz targets (default: all), one after the other, each for SECONDS (60).
#
# Builds the preset "fuzz" first. What a target discovers is kept in build/fuzz/fuzz/NAME/corpus and is where the next run
# begins, together with tests/fuzz/corpus/NAME, which is only read. -m: no run, but adds to tests/fuzz/corpus/NAME those
# discoveries that reach something new. At the end one table; exit 1 if there was a finding, whose input is named.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."

seconds=60
merge=
while getopts t:m option; do
    case $option in
    t) seconds=$OPTARG ;;
    m) merge=yes ;;
    *) sed -n '2s/^# //p' "$0" >&2 && exit 2 ;;
    esac
done
shift $((OPTIND - 1))
[[ $seconds =~ ^[1-9][0-9]*$ ]] || { echo "run.sh: -t takes seconds, not '$seconds'" >&2 && exit 2; }
names=("$@")
if ((!$#)); then
    for file in tests/fuzz/fuzz_*.c; do
        name=${file##*/fuzz_}
        names+=("${name%.c}")
    done
fi
for name in "${names[@]}"; do
    [[ -f tests/fuzz/fuzz_$name.c ]] || { echo "run.sh: there is no target $name" >&2 && exit 2; }
done

[[ -f build/fuzz/build.ninja ]] || cmake --preset fuzz >&2
cmake --build build/fuzz --target "${names[@]/#/fuzz_}" >&2

symbolizer=$(command -v llvm-symbolizer-14 || command -v llvm-symbolizer || true)
export ASAN_OPTIONS=${ASAN_OPTIONS:-}:external_symbolizer_path=$symbolizer
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-}:print_stacktrace=1:external_symbolizer_path=$symbolizer

# setting NAME KEY DEFAULT : "KEY: N" in the first line of the target
setting() {
    local value
    value=$(sed -n "1s/.*$2: *\([0-9]*\).*/\1/p" "tests/fuzz/fuzz_$1.c")
    echo "${value:-$3}"
}

# options NAME : limits that are findings when they are passed
options() {
    echo "-max_len=$(setting "$1" max_len 4096)" "-timeout=$(setting "$1" timeout 10)"
    echo "-rss_limit_mb=$(setting "$1" rss_mb 1024)"
    [[ ! -f tests/fuzz/$1.dict ]] || echo "-dict=tests/fuzz/$1.dict"
}

if [[ $merge ]]; then
    for name in "${names[@]}"; do
        mkdir -p "build/fuzz/fuzz/$name/corpus" "tests/fuzz/corpus/$name"
        mapfile -t limits < <(options "$name" | tr ' ' '\n')
        build/fuzz/tests/fuzz/"fuzz_$name" -merge=1 "${limits[@]}" "tests/fuzz/corpus/$name" \
            "build/fuzz/fuzz/$name/corpus" 2>&1 | tail -n1
        du -sh --apparent-size "tests/fuzz/corpus/$name"
    done
    exit 0
fi

found=0
rows=()
for name in "${names[@]}"; do
    work=build/fuzz/fuzz/$name
    mkdir -p "$work/corpus"
    mapfile -t limits < <(options "$name" | tr ' ' '\n')
    echo "run.sh: $name for $seconds s, log in $work/log" >&2
    result="no finding"
    if ! build/fuzz/tests/fuzz/"fuzz_$name" -max_total_time="$seconds" -print_final_stats=1 "${limits[@]}" \
        -artifact_prefix="$work/" "$work/corpus" "tests/fuzz/corpus/$name" > "$work/log" 2>&1; then
        found=1
        result=$(sed -n 's/.*Test unit written to //p' "$work/log" | tail -n1)
        result="FOUND ${result:-nothing to keep; see $work/log}"
        grep -a -m1 -E 'SUMMARY|runtime error|does not hold' "$work/log" >&2 || true
    fi
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/log" | tail -n1)
    edges=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$work/log" | tail -n1)
    features=$(sed -n 's/.* ft: \([0-9]*\) .*/\1/p' "$work/log" | tail -n1)
    rows+=("$(printf '%-16s %12s %8s %10s  %s' "$name" "${runs:--}" "${edges:--}" "${features:--}" "$result")")
done
printf '%-16s %12s %8s %10s  %s\n' target executions edges features result
printf '%s\n' "${rows[@]}"
exit $found
