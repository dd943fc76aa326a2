#!/bin/sh
# tune: what it writes is a configuration that other verbs take; policies follow the trace; mistakes are refused.
. "$(dirname "$0")/lib.sh"

# The model's own shape.
tale_routes > "$WORK/tale.csv"

# A trace alone: [cache], nothing else; hit rates as sim counts them.
# lines : what the last stdout sets or would set, without values
lines() {
    sed -n 's/^#\{0,1\}\([a-z_]*\) = .*/\1/p; s/^\(\[.*\]\)$/\1/p' "$WORK/out" | tr '\n' ' '
}
# prose : the comments on the last stdout as one line
prose() {
    sed -n 's/^# *//p' "$WORK/out" | tr '\n' ' '
}
# choice SECTION KEY : its value in the JSON on the last stdout
choice() {
    sed "s/.*\"choices\":.*\"$1\":{[^}]*\(}[^}]*\)*\"$2\":{\"value\":\"\([^\"]*\)\".*/\2/" "$WORK/out"
}
expect 0 "$HOTSET" tune "$WORK/tale.csv" --config "$WORK/empty.conf"
cp "$WORK/out" "$WORK/trace.conf"
[ "$(lines)" = "[cache] policy scope size " ] || fail "a trace alone"
prose | grep -q '80 of 320 experts' || fail "a trace alone: a quarter by default"
expect 0 "$HOTSET" serve --config "$WORK/trace.conf" --print-config
expect 0 "$HOTSET" tune "$WORK/tale.csv" --config "$WORK/empty.conf" --json
one_line
[ "$(grep -o '"policy":"[a-z0-9]*","scope"' "$WORK/out" | wc -l)" -ge 10 ] || fail "not every policy in both scopes"
tr '{' '\n' < "$WORK/out" | sed -n 's/.*"policy":"lru","scope":"\(.*\)","hit_rate":\([0-9.]*\).*/\1 \2/p' > "$WORK/lru"
tr '{' '\n' < "$WORK/out" | sed -n 's/.*"slots":\([0-9]*\),"share":.*"hit_rate":\([0-9.]*\).*/\1 \2/p' > "$WORK/sizes"
for scope in global layer; do
    expect 0 "$HOTSET" sim "$WORK/tale.csv" --sets --scope $scope --policy lru --cache 25% --json
    tr '{' '\n' < "$WORK/out" | grep '"policy":"lru"' | sed -n 's/.*"hit_rate":\([0-9.]*\).*/'$scope' \1/p'
done > "$WORK/sim"
[ -s "$WORK/lru" ] && cmp "$WORK/lru" "$WORK/sim" || fail "tune and sim disagree about lru"
expect 0 "$HOTSET" tune "$WORK/tale.csv" --config "$WORK/empty.conf" --set cache.size=10% --json
[ "$(choice cache policy)" = ewma ] && grep -q "^32 $(tr '{' '\n' < "$WORK/out" |
    sed -n 's/.*"policy":"ewma","scope":"global","hit_rate":\([0-9.]*\).*/\1/p')$" "$WORK/sizes" || fail "the table of sizes"

# With a drive: tokens/s, between what sim tells without and with reading ahead.
expect 0 "$HOTSET" tune "$WORK/tale.csv" --config "$WORK/empty.conf" --disk-bw 100000 --compute-ms 20 --json
tr '{' '\n' < "$WORK/out" | sed -n 's/.*"slots":32,.*"tokens_per_s":\([0-9.]*\),"tokens_per_s_overlapped":\([0-9.]*\).*/\1 \2/p' \
    > "$WORK/speeds"
for ahead in off auto; do
    expect 0 "$HOTSET" sim "$WORK/tale.csv" --sets --policy ewma --cache 10% --disk-bw 100000 --compute-ms 20 \
        --prefetch $ahead --json
    tr '{' '\n' < "$WORK/out" | sed -n 's/.*"policy":"ewma".*"tokens_per_s":\([0-9.]*\).*/\1/p'
done | tr '\n' ' ' | sed 's/ $//' > "$WORK/sim"
echo >> "$WORK/sim"
cmp "$WORK/speeds" "$WORK/sim" || fail "tune and sim disagree about tokens/s"

# What is configured goes when another reads clearly less, and stays otherwise. A line that puts the default back is
# none that changes nothing.
expect 0 "$HOTSET" tune "$WORK/tale.csv" --config "$WORK/empty.conf" --set cache.policy=lru
grep -q '^policy = ' "$WORK/out" && ! grep -q '^policy = lru' "$WORK/out" || fail "lru stays, the worst"
prose | grep -q 'Expected: .* % ([-0-9.]* to [-0-9.]* %) less read' || fail "not told what it brings"
expect 0 "$HOTSET" tune "$WORK/tale.csv" --config "$WORK/empty.conf" --set cache.policy=lru --set cache.size=100%
grep -q '^policy = lru' "$WORK/out" || fail "lru goes though everything fits"
expect 0 "$HOTSET" tune "$WORK/tale.csv" --config "$WORK/empty.conf" --set cache.size=32000
prose | grep -q '32 of 320 experts' || fail "a size in bytes"
# Of few tokens nothing is told.
awk -F , '!/^[0-9]/ || $3 < 10' "$WORK/tale.csv" > "$WORK/short.csv"
expect 0 "$HOTSET" tune "$WORK/short.csv" --config "$WORK/empty.conf" --set cache.policy=lru
grep -q '^policy = lru' "$WORK/out" && prose | grep -q 'not told apart' || fail "ten tokens decide"

# A model: a whole configuration, which others take as it is.
expect 0 "$HOTSET" tune "$MODEL" --config "$WORK/empty.conf" --set cache.size=25% --seconds 8
[ "$(lines)" = "[cache] policy scope size [io] engine direct read_size in_flight [prefetch] mode [compute] threads " ] ||
    fail "the lines of a model"
awk '/^#?[a-z_]+ = / { if (before !~ /^# /) exit 1 } { before = $0 }' "$WORK/out" || fail "a line without reason"
grep -q '^size = 25%' "$WORK/out" || fail "cache.size"
grep -q '^#engine = auto' "$WORK/out" || fail "what changes nothing is not a comment"
cp "$WORK/out" "$WORK/tuned.conf"
for which in as_it_is all; do
    [ $which = as_it_is ] || sed -i 's/^#\([a-z_]* = \)/\1/' "$WORK/tuned.conf"
    expect 0 "$HOTSET" serve --config "$WORK/tuned.conf" --print-config
    grep -v '^#\|^$' "$WORK/tuned.conf" | grep = | while IFS= read -r line; do
        grep -qxF -- "$line" "$WORK/out" || fail "the printed configuration lacks '$line'"
    done
done
expect 0 "$HOTSET" eval "$MODEL" --config "$WORK/tuned.conf" --ids "$DATA/short.ids" --greedy 48 --json
[ "$(field greedy)" = "[$(tr ' ' , < "$DATA/short.greedy")]" ] || fail "other tokens with the tuned configuration"

# Routes of a file instead of the model's own; figures as JSON; too little time is said to be too little.
expect 0 "$HOTSET" tune "$MODEL" --config "$WORK/empty.conf" --set cache.size=25% --set cache.policy=lru \
    --trace "$WORK/tale.csv" --seconds 1 --json
one_line
[ "$(choice cache policy)" != lru ] || fail "the trace is not taken"
grep -q '"source"\|of 750 tokens of the trace' "$WORK/out" || fail "the trace is not named"
[ "$(grep -o '"against_configured":' "$WORK/out" | wc -l)" -ge 2 ] || fail "no runs"
expect 0 "$HOTSET" tune "$MODEL" --config "$WORK/empty.conf" --set cache.size=100% --seconds 1
grep -q '^#mode = auto' "$WORK/out" && prose | grep -q 'fits in memory' || fail "prefetch is tried where nothing is read"

# Into a file: whole or not at all, and never over another unasked.
expect 0 "$HOTSET" tune "$WORK/tale.csv" --config "$WORK/empty.conf" --out "$WORK/made.conf"
cmp "$WORK/made.conf" "$WORK/trace.conf" || fail "the file is not what stdout would be"
[ ! -s "$WORK/out" ] || fail "stdout beside the file"
echo '# mine' > "$WORK/made.conf"
expect 1 "$HOTSET" tune "$WORK/tale.csv" --config "$WORK/empty.conf" --out "$WORK/made.conf"
says "--replace"
[ "$(cat "$WORK/made.conf")" = '# mine' ] || fail "the file was written over"
expect 0 "$HOTSET" tune "$WORK/tale.csv" --config "$WORK/empty.conf" --out "$WORK/made.conf" --replace --json
one_line
cmp "$WORK/made.conf" "$WORK/trace.conf" || fail "--replace"
expect 1 "$HOTSET" tune "$WORK/tale.csv" --config "$WORK/empty.conf" --out "$WORK/nowhere/made.conf"
says "$WORK/nowhere/made.conf"
[ -z "$(find "$WORK" -name '*.tmp-*')" ] || fail "half a file is left behind"

# A drive that has been measured before: another choice than the configured one has to prove itself.
cp -r "$MODEL" "$WORK/model"
truncate -s 260M "$WORK/model/big"
drive() {
    expect 0 "$HOTSET" tune "$WORK/model" --config "$WORK/empty.conf" --set "state.dir=$WORK/state" --seconds 8 "$@"
}
drive
prose | grep -q 'calibration made now\|pairs of turns' || fail "the drive is not measured"
sed -i 's/"read_size": [0-9]*/"read_size": 65536/; s/"in_flight": [0-9]*/"in_flight": 1048576/' "$WORK/state"/drive-*.json
drive
prose | grep -q 'in [0-9]* pairs' && grep -q '^#*read_size = \(auto\|64k\)$' "$WORK/out" || fail "the kept calibration is not tried"
drive --set io.calibrate=off
prose | grep -q 'io.calibrate is off' || fail "calibration is off"

expect 2 "$HOTSET" tune
says "missing operand"
expect 2 "$HOTSET" tune "$WORK/tale.csv" --trace "$WORK/tale.csv"
expect 2 "$HOTSET" tune "$WORK/tale.csv" --seconds 5
expect 2 "$HOTSET" tune "$MODEL" --disk-bw 1G
expect 2 "$HOTSET" tune "$WORK/tale.csv" --compute-ms 1
expect 2 "$HOTSET" tune "$WORK/tale.csv" --replace
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
