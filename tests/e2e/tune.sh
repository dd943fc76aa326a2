#!/bin/sh
# tune: what it writes is a configuration that other verbs take; policies follow the trace; mistakes are refused.
. "$(dirname "$0")/lib.sh"

# The routes that the cache's own tests replay: 1000 tokens, 5 layers of 64 experts, 6 used: the model's own shape.
{
    echo '# route_trace v1'
    echo '# model=tale-moe arch=deepseek_v3 n_layer=6 n_expert=64 n_expert_used=6'
    for layer in 1 2 3 4 5; do echo "# layer=$layer expert_bytes=1000 dense_bytes=0"; done
    echo 'turn,phase,step,layer,slot,expert,weight,residency,expert_bytes'
    awk '!/^#/ { for (i = 1; i <= NF; i++)
        printf "0,1,%d,%d,%d,%d,0.16667,0,1000\n", n, int((i - 1) / 6) + 1, (i - 1) % 6, $i; n++ }' \
        "$ROOT/tests/unit/cache/tale-moe.routes"
} > "$WORK/tale.csv"

# A trace alone: policy and scope, nothing else; the same as sim counts.
expect 0 "$HOTSET" tune "$WORK/tale.csv" --config "$WORK/empty.conf"
cp "$WORK/out" "$WORK/trace.conf"
[ "$(grep -v '^#\|^$' "$WORK/out" | sed 's/ =.*//' | tr '\n' ' ')" = "[cache] policy scope " ] || fail "a trace alone"
grep -q '^# .*80 of 320 experts' "$WORK/out" || fail "a trace alone: a quarter by default"
expect 0 "$HOTSET" serve --config "$WORK/trace.conf" --print-config
expect 0 "$HOTSET" tune "$WORK/tale.csv" --config "$WORK/empty.conf" --json
one_line
[ "$(grep -o '"policy":"[a-z0-9]*","scope"' "$WORK/out" | wc -l)" -ge 10 ] || fail "not every policy in both scopes"
tr '{' '\n' < "$WORK/out" | sed -n 's/.*"policy":"lru","scope":"\(.*\)","hit_rate":\([0-9.]*\).*/\1 \2/p' > "$WORK/lru"
for scope in global layer; do
    expect 0 "$HOTSET" sim "$WORK/tale.csv" --sets --scope $scope --policy lru --cache 25% --json
    tr '{' '\n' < "$WORK/out" | grep '"policy":"lru"' | sed -n 's/.*"hit_rate":\([0-9.]*\).*/'$scope' \1/p'
done > "$WORK/sim"
cmp "$WORK/lru" "$WORK/sim" || fail "tune and sim disagree about lru"

# What is configured goes when another is better by half a point, and stays otherwise.
expect 0 "$HOTSET" tune "$WORK/tale.csv" --config "$WORK/empty.conf" --set cache.policy=lru --json
[ "$(sed 's/.*"choices":{"cache":{"policy":"\([a-z0-9]*\)".*/\1/' "$WORK/out")" != lru ] || fail "lru stays, the worst"
expect 0 "$HOTSET" tune "$WORK/tale.csv" --config "$WORK/empty.conf" --set cache.policy=lru --set cache.size=100%
grep -q '^policy = lru' "$WORK/out" || fail "lru goes though everything fits"
expect 0 "$HOTSET" tune "$WORK/tale.csv" --config "$WORK/empty.conf" --set cache.size=32000
grep -q '^# .*32 of 320 experts' "$WORK/out" || fail "a size in bytes"

# A model: a whole configuration, which others take.
expect 0 "$HOTSET" tune "$MODEL" --config "$WORK/empty.conf" --set cache.size=25% --trace "$WORK/tale.csv" --seconds 10
cp "$WORK/out" "$WORK/tuned.conf"
awk '/^[a-z_]+ = / { if (before !~ /^# /) exit 1 } { before = $0 }' "$WORK/tuned.conf" || fail "a line without reason"
[ "$(grep -v '^#\|^$' "$WORK/out" | sed 's/ =.*//' | tr '\n' ' ')" = \
    "[cache] policy scope size [io] engine direct read_size in_flight [prefetch] mode [compute] threads " ] ||
    fail "the lines of a model"
grep -q '^size = 25%' "$WORK/tuned.conf" || fail "cache.size"
expect 0 "$HOTSET" serve --config "$WORK/tuned.conf" --print-config
grep -v '^#\|^$' "$WORK/tuned.conf" | grep = | while IFS= read -r line; do
    grep -qxF -- "$line" "$WORK/out" || fail "the printed configuration lacks '$line'"
done
expect 0 "$HOTSET" eval "$MODEL" --config "$WORK/tuned.conf" --ids "$DATA/short.ids" --greedy 48 --json
[ "$(field greedy)" = "[$(tr ' ' , < "$DATA/short.greedy")]" ] || fail "other tokens with the tuned configuration"

expect 0 "$HOTSET" tune "$MODEL" --config "$WORK/empty.conf" --set cache.size=25% --seconds 10 --json
one_line
[ "$(sed 's/.*"choices":{"cache":{"policy":"\([a-z0-9]*\)".*/\1/' "$WORK/out")" = ewma ] ||
    fail "another policy without a trace"
[ "$(grep -o '"tokens_per_s":\[[0-9]' "$WORK/out" | wc -l)" -ge 2 ] || fail "no runs: $(cat "$WORK/out")"
expect 0 "$HOTSET" tune "$MODEL" --config "$WORK/empty.conf" --set cache.size=100% --seconds 3
grep -B 3 '^mode = auto' "$WORK/out" | grep -q 'fits in memory' || fail "prefetch is tried where nothing is read"

# A drive that has been measured before.
cp -r "$MODEL" "$WORK/model"
truncate -s 260M "$WORK/model/big"
drive() {
    expect 0 "$HOTSET" tune "$WORK/model" --config "$WORK/empty.conf" --set "state.dir=$WORK/state" --seconds 4 "$@"
}
drive
grep -q 'measured now' "$WORK/out" || fail "the drive is not measured"
sed -i 's/"read_size": [0-9]*/"read_size": 524288/' "$WORK/state"/drive-*.json
drive
grep -q '^read_size = 512k' "$WORK/out" || fail "the kept calibration is not taken"
drive --set io.calibrate=off
grep -q '^read_size = auto' "$WORK/out" || fail "calibration is off"

expect 2 "$HOTSET" tune
says "missing operand"
expect 2 "$HOTSET" tune "$WORK/tale.csv" --trace "$WORK/tale.csv"
expect 2 "$HOTSET" tune "$WORK/tale.csv" --seconds 5
expect 1 "$HOTSET" tune "$WORK/nowhere" --config "$WORK/empty.conf"
says "$WORK/nowhere"
expect 1 "$HOTSET" tune "$WORK/tale.csv" --config "$WORK/empty.conf" --set cache.size=999
says "no room for one of its 320 experts"
sed 's/n_expert_used=6/n_expert_used=7/' "$WORK/tale.csv" > "$WORK/other.csv"
expect 1 "$HOTSET" tune "$MODEL" --config "$WORK/empty.conf" --trace "$WORK/other.csv"
says "5 layers of 64 experts, 7 used, but $MODEL has 5 of 64, 6 used"
[ ! -s "$WORK/out" ] || fail "a refusal writes to stdout"
expect 1 "$HOTSET" tune "$MODEL" --config "$WORK/empty.conf" --set memory.limit=8M
says floor
