#!/bin/sh
# A file whose layers have experts of two sizes: each size has slots of its own, more than slots of the bigger size would
# be; sim and daemon divide them alike; and the bits are those of a cache that holds everything.
. "$(dirname "$0")/lib.sh"

MODEL=$WORK/mixed.gguf
"${MIX_GGUF:?}" "$ROOT/tests/data/gguf/qwen3_moe-256-Q4_K_M.gguf" "$MODEL" 8 || fail "mix_gguf"
awk 'BEGIN { s = 7; for (i = 0; i < 60; i++) { s = (s * 1103515245 + 12345) % 2147483648; print int(s / 65536) % 512 } }' \
    > "$WORK/ids"

planned() {
    expect 0 "$HOTSET" plan "$MODEL" --config "$WORK/empty.conf" --set cache.size="$1" --json
}
planned 2M
slots=$(field slots) big=$(field slot_bytes) small=$(field least_slot_bytes)
[ "$big" -gt "$small" ] || fail "slots of $big and $small bytes"
[ "$slots" -gt $((2097152 / big)) ] || fail "$slots slots of $big and $small bytes in 2 MiB are no more than of one size"
[ "$(field cache)" -le 2097152 ] || fail "the cache takes $(field cache) of 2 MiB"
[ "$(field min_slots)" -eq 4 ] || fail "two classes, 2 experts of a layer at a time: a floor of $(field min_slots)"
planned 100%
[ "$(field cache)" -eq $((16 * (big + small))) ] || fail "all experts take $(field cache)"
expect 1 "$HOTSET" plan "$MODEL" --config "$WORK/empty.conf" --set cache.size=$((2 * big + small))
says "under the floor of 4 experts"

run() {
    expect 0 "$HOTSET" eval "$MODEL" --ids "$WORK/ids" --greedy 100 --config "$WORK/empty.conf" "$@"
}
run --set cache.size=100% --logits "$WORK/all.npy" --routes "$WORK/a.csv"
mv "$WORK/out" "$WORK/all"
for how in 13%:ewma:auto 25%:s3fifo:off 40%:lru:auto 75%:arc:auto; do
    size=${how%%:*} how=${how#*:}
    run --set cache.size="$size" --set cache.policy="${how%:*}" --set prefetch.mode="${how#*:}" --logits "$WORK/some.npy"
    cmp -s "$WORK/all" "$WORK/out" || fail "other tokens with $size, $how"
    cmp -s "$WORK/all.npy" "$WORK/some.npy" || fail "other logits with $size, $how"
done

counts() {
    echo "$(field accesses) $(field hits)"
}
for how in ewma:45% lru:60% lfu:45% s3fifo:45% arc:60%; do
    policy=${how%:*} size=${how#*:}
    for scope in global layer; do
        expect 0 "$HOTSET" sim "$WORK/a.csv" --sets --policy $policy --cache $size --scope $scope --json
        wanted=$(counts)
        [ "$(field hits)" -gt 0 ] || fail "$policy $scope $size hits nothing"
        expect 0 "$HOTSET" bench "$MODEL" --replay "$WORK/a.csv" --config "$WORK/empty.conf" --json \
            --set cache.policy=$policy --set cache.size=$size --set cache.scope=$scope --set prefetch.mode=off
        [ "$(counts)" = "$wanted" ] || fail "$policy $scope $size: $(counts) instead of $wanted accesses and hits"
    done
done
