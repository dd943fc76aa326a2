#!/bin/sh
# A shard damaged under a running daemon: the request that needs a damaged record ends with a sentence that names it, and
# when the shard is whole again the next answer is the right one.
. "$(dirname "$0")/lib.sh"

ask() {
    "$HOTSET" run tale "Tell me a story." --socket "$SOCKET" --config "$WORK/empty.conf" --temp 0 --max-tokens 20
}
expect 0 "$HOTSET" pack "$MODEL" "$WORK/packed" --codec zstd
start_daemon --model "tale=$WORK/packed" --set cache.size=10%
expect 0 ask
cp "$WORK/out" "$WORK/right"
shard=$WORK/packed/experts-00000.hss
chmod u+w "$shard"
cp "$shard" "$WORK/keep"
dd if=/dev/urandom of="$shard" bs=1M seek=4 count=20 conv=notrunc 2> /dev/null
expect 1 ask
says "experts-00000.hss, record"
cat "$WORK/keep" > "$shard"
expect 0 ask
cmp "$WORK/out" "$WORK/right" || fail "another answer after the damage"
stop_daemon
