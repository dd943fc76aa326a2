#!/bin/sh
# The memory plan: a budget at the floor runs, one under it is refused with the figures by every verb, and the process
# never grows beyond what was planned.
. "$(dirname "$0")/lib.sh"

expect 0 "$HOTSET" plan "$MODEL" --config "$WORK/empty.conf" --json
one_line
floor=$(field floor)
recommended=$(field recommended)
[ "$floor" -gt 0 ] && [ "$recommended" -ge "$floor" ] || fail "floor $floor, recommended $recommended"
[ "$(field fits)" = true ] || fail "fits"

expect 0 "$HOTSET" plan "$MODEL" --config "$WORK/empty.conf" --ram "$floor" --disk-bw 1G --json
[ "$(field total)" -le "$floor" ] || fail "total $(field total) is over the limit $floor"
expect 1 "$HOTSET" plan "$MODEL" --config "$WORK/empty.conf" --ram $((floor - 1)) --json
one_line
[ "$(field fits)" = false ] || fail "a plan under the floor fits"
says floor

for limit in 0 1 8M; do
    expect 1 "$HOTSET" plan "$MODEL" --config "$WORK/empty.conf" --ram $limit
    says floor
    expect 1 "$HOTSET" eval "$MODEL" --config "$WORK/empty.conf" --ids "$DATA/short.ids" --set memory.limit=$limit
    says floor
done
# A cache that the limit can never hold, and one that holds more than all experts.
expect 1 "$HOTSET" plan "$MODEL" --config "$WORK/empty.conf" --ram 1G --set cache.size=2G
says "cache.size of 2.0 GiB exceeds memory.limit, 1.0 GiB; all 320 experts take 33.8 MiB"
expect 0 "$HOTSET" plan "$MODEL" --config "$WORK/empty.conf" --ram 1G --set cache.size=1G --disk-bw 1G --json
[ "$(field slots)" = 320 ] || fail "a cache for all experts has $(field slots)"
expect 1 "$HOTSET" bench "$MODEL" --config "$WORK/empty.conf" --set cache.size=1%
says floor
expect 1 "$HOTSET" serve --config "$WORK/empty.conf" --model "tale=$MODEL" --listen "unix:$SOCKET" --set memory.limit=8M
says floor
[ ! -e "$SOCKET" ] || fail "a socket of a daemon that did not start"
expect 1 "$HOTSET" run "$MODEL" hello --config "$WORK/empty.conf" --set cache.size=1k
says floor

expect 0 "$HOTSET" eval "$MODEL" --config "$WORK/empty.conf" --ids "$DATA/oz.ids" --greedy 8 --set "memory.limit=$floor" --json
# Two models share one limit.
expect 0 "$HOTSET" serve --config "$WORK/empty.conf" --check-config --model "a=$MODEL" --model "b=$MODEL" \
    --set memory.limit=600M
expect 1 "$HOTSET" serve --config "$WORK/empty.conf" --check-config --model "a=$MODEL" --model "b=$MODEL" \
    --set "memory.limit=$floor"
says floor

# What the drive gives.
expect 0 "$HOTSET" bench --disk "$MODEL" --seconds 0.05 --json --config "$WORK/empty.conf"
one_line
[ "$(grep -o '"pattern":"random"' "$WORK/out" | wc -l)" -eq 9 ] || fail "bench --disk: random"
[ "$(grep -o '"pattern":"sequential"' "$WORK/out" | wc -l)" -eq 9 ] || fail "bench --disk: sequential"
grep -q '"bare_bytes_per_s":[1-9]' "$WORK/out" || fail "bench --disk: what the drive gives"
grep -q '"choice":null' "$WORK/out" || fail "bench --disk: a small file was calibrated with"

# Calibration: kept for the drive, used where options are open.
cp -r "$MODEL" "$WORK/model"
truncate -s 260M "$WORK/model/big"
calibrate() {
    expect 0 "$HOTSET" bench --disk "$WORK/model" --seconds 0.05 --json --config "$WORK/empty.conf" \
        --set "state.dir=$WORK/state" "$@"
}
calibrate --set io.calibrate=off
grep -q '"choice":null' "$WORK/out" || fail "calibrated though it is off"
[ ! -e "$WORK/state" ] || fail "kept though it is off"
calibrate
grep -q '"kept":true' "$WORK/out" || fail "the calibration is not kept"
sed -i 's/"read_size": [0-9]*/"read_size": 524288/' "$WORK/state"/drive-*.json
reads() {
    want=$1
    shift
    start_daemon --model "tale=$WORK/model" --set cache.size=10% --set "state.dir=$WORK/state" "$@"
    stop_daemon
    grep -q "pieces of $want" "$WORK/serve.log" || fail "reads should be pieces of $want"
}
reads "512.0 KiB"
reads "1.0 MiB" --set io.calibrate=off
reads "2.0 MiB" --set io.read_size=2M
# plan takes the drive as it has been kept.
sed -i 's/"bytes_per_s": [0-9.e+]*/"bytes_per_s": 1000000000.0/; s/"lone_bytes_per_s": [0-9.e+]*/"lone_bytes_per_s": 500000000.0/' \
    "$WORK/state"/drive-*.json
expected_drive() {
    expect 0 "$HOTSET" plan "$WORK/model" --config "$WORK/empty.conf" --set cache.size=25% --set "state.dir=$WORK/state" \
        --json "$@"
    [ "$(field disk)" = "$want" ] || fail "the drive is $(field disk) instead of $want"
}
want='"kept"'
expected_drive
[ "$(field disk_bytes_per_s)" = 1000000000.0 ] || fail "a drive kept as 1000000000.0 bytes/s is $(field disk_bytes_per_s)"
want='"measured"'
expected_drive --set io.calibrate=off
want='"given"'
expected_drive --disk-bw 1.5G
# A folder that cannot be written costs the memory of it, not the start.
reads "" --set state.dir=/dev/null/x
grep -q "not kept.*/dev/null" "$WORK/serve.log" || fail "nobody says that the calibration is not kept"
expect 1 "$HOTSET" bench --disk "$WORK/empty.conf" --config "$WORK/empty.conf"
says "1 MiB"

# A model that is not here: by name, and by its config.json alone, which must say what the files say.
expect 0 "$HOTSET" plan --list
grep -q '^deepseek-v3 ' "$WORK/out" || fail "plan --list"
expect 0 "$HOTSET" plan olmoe-1b-7b --type q4_k_m --ram 3G --disk-bw 500M --config "$WORK/empty.conf" --json
one_line
[ "$(field decode_limit)" != null ] && [ "$(field disk_bytes_per_s)" = 524288000.0 ] || fail "what is expected"
expect 1 "$HOTSET" plan deepseek-v3 --ram 4G --config "$WORK/empty.conf"
says floor
expect 1 "$HOTSET" plan mixtral-8x7 --config "$WORK/empty.conf"
says "did you mean mixtral-8x7b?"
expect 1 "$HOTSET" plan llama4 --config "$WORK/empty.conf"
says "did you mean llama-4-scout or llama-4-maverick?"
expect 1 "$HOTSET" plan qwen3-next-80b-a3b --config "$WORK/empty.conf"
says "qwen3-next-80b-a3b is not served: it needs gated delta networks"
expect 0 "$HOTSET" plan allenai/OLMoE-1B-7B --ram 8G --disk-bw 1G --config "$WORK/empty.conf" --json
bf16=$(field model_bytes)
expect 0 "$HOTSET" plan olmoe-1b-7b --type fp8 --ram 8G --disk-bw 1G --config "$WORK/empty.conf" --json
[ "$(field model_bytes)" -gt $((bf16 / 2)) ] && [ "$(field model_bytes)" -lt $((bf16 * 11 / 20)) ] ||
    fail "FP8 takes $(field model_bytes) of $bf16 bytes"
expect 1 "$HOTSET" plan gpt-oss-20b --type fp8 --ram 32G --config "$WORK/empty.conf"
says "only mxfp4 is"
expect 2 "$HOTSET" plan --config "$WORK/empty.conf"
expect 2 "$HOTSET" plan "$MODEL" --list
expect 2 "$HOTSET" plan "$MODEL" --disk "$MODEL" --disk-bw 1G
expect 1 "$HOTSET" plan "$MODEL" --type q8_0 --config "$WORK/empty.conf"
says "has its tensors"
mkdir "$WORK/alone"
cp "$MODEL/config.json" "$WORK/alone"
expect 0 "$HOTSET" plan "$MODEL" --ram 1G --disk-bw 1G --config "$WORK/empty.conf" --json
bytes="$(field dense) $(field model_bytes) $(field experts)"
expect 0 "$HOTSET" plan "$WORK/alone" --ram 1G --disk-bw 1G --config "$WORK/empty.conf" --json
[ "$(field dense) $(field model_bytes) $(field experts)" = "$bytes" ] || fail "config.json alone: not $bytes"
# A hit rate that is known takes the place of the curve.
expect 0 "$HOTSET" plan "$MODEL" --set cache.size=25% --hit-rate 0.75 --disk-bw 1G --config "$WORK/empty.conf" --json
[ "$(field hit_rate)" = 0.75 ] || fail "a hit rate given as 0.75 is $(field hit_rate)"
expect 2 "$HOTSET" plan "$MODEL" --hit-rate 0.5 --routing real
[ "$(field decode_ahead_tokens_per_s)" != null ] || fail "nothing is said of reading ahead"
expect 0 "$HOTSET" plan "$MODEL" --set cache.size=25% --set prefetch.mode=off --disk-bw 1G --config "$WORK/empty.conf" --json
[ "$(field decode_ahead_tokens_per_s)" = null ] || fail "reading ahead that is off brings something"
# A cache for a quarter: uniform routing hits a quarter.
expect 0 "$HOTSET" plan "$MODEL" --set cache.size=25% --routing uniform --disk-bw 1G --config "$WORK/empty.conf" --json
[ "$(field hit_rate)" = 0.25 ] || fail "uniform routing hits $(field hit_rate)"

# Several drives: figures for all together or for each, of the shares that the pack has.
expect 2 "$HOTSET" plan "$MODEL" --config "$WORK/empty.conf" --disk-bw 1G,x
says "--disk-bw: 'x' is not a size like 3.5G"
expect 1 "$HOTSET" plan "$MODEL" --config "$WORK/empty.conf" --disk-bw 1G,2G
says "--disk-bw: 2 figures, but the model's experts are on 1 drive"
expect 0 "$HOTSET" plan deepseek-v2-lite --config "$WORK/empty.conf" --ram 16G --disk-bw 1G,2G --json
[ "$(field disk_bytes_per_s)" = 3221225472.0 ] || fail "drives to be striped over: $(field disk_bytes_per_s)"
if [ "$(stat -c %d "$WORK")" != "$(stat -c %d /dev/shm 2> /dev/null)" ] && far=$(mktemp -d /dev/shm/hotset-e2e-XXXXXX); then
    expect 0 "$HOTSET" pack "$MODEL" "$WORK/striped" --stripe "$far" --shares 1,1 --codec raw
    expect 0 "$HOTSET" plan "$WORK/striped" --config "$WORK/empty.conf" --set cache.size=25% --disk-bw 1G,3G --json
    tr '{' '\n' < "$WORK/out" > "$WORK/drives"
    rm -r "$far"
    [ "$(grep -c '"copy":0,"share":0.\(5\|4[5-9]\)[0-9]*,"source":"given"' "$WORK/drives")" -eq 2 ] || fail "shares of two drives"
    rate=$(field disk_bytes_per_s)
    [ "${rate%.*}" -gt 1900000000 ] && [ "${rate%.*}" -lt 2300000000 ] ||
        fail "half of it on a drive of 1 GiB/s: $rate bytes/s together"
fi
