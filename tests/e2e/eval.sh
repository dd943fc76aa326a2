#!/bin/sh
# eval against the reference's greedy tokens; routes and logits have their shapes and do not depend on where experts
# come from.
. "$(dirname "$0")/lib.sh"

expect 0 "$HOTSET" pack "$MODEL" "$WORK/packed" --codec zstd

for name in short oz unicode; do
    wanted=[$(tr ' ' , < "$DATA/$name.greedy")]
    n=$(wc -w < "$DATA/$name.ids")
    for model in "$MODEL" "$WORK/packed"; do
        expect 0 "$HOTSET" eval "$model" --config "$WORK/empty.conf" --ids "$DATA/$name.ids" --greedy 48 --json
        one_line
        [ "$(field greedy)" = "$wanted" ] || fail "$name on $model: greedy $(field greedy) instead of $wanted"
        [ "$(field tokens)" -eq "$n" ] || fail "$name: tokens"
    done
done

# Text goes the same way as its ids.
expect 0 "$HOTSET" eval "$MODEL" --config "$WORK/empty.conf" --ids "$DATA/oz.ids" --json
nll=$(field nll)
expect 0 "$HOTSET" eval "$MODEL" --config "$WORK/empty.conf" --text "$DATA/oz.txt" --json
[ "$(field nll)" = "$nll" ] || fail "nll of text and of ids differ"

# Same bits, whatever the cache does.
run() {
    out=$1
    shift
    expect 0 "$HOTSET" eval "$@" --config "$WORK/empty.conf" --ids "$DATA/unicode.ids" --greedy 12 \
        --logits "$WORK/$out.npy" --routes "$WORK/$out.csv" --json
    cut -d, -f1-7 "$WORK/$out.csv" | grep -v '^#' > "$WORK/$out.routes"
}
run a "$MODEL"
n=$(wc -w < "$DATA/unicode.ids")
[ "$(wc -c < "$WORK/a.npy")" -eq $((128 + n * 4096 * 4)) ] || fail "size of the logits"
[ "$(wc -l < "$WORK/a.routes")" -eq $((1 + (n + 11) * 5 * 6)) ] || fail "rows of the routes"
head -n 1 "$WORK/a.csv" | grep -q '^# route_trace v1$' || fail "trace header"
run b "$WORK/packed" --set cache.size=25% --set cache.policy=lru --set io.engine=pread --set compute.threads=1
run c "$WORK/packed" --set cache.size=25% --set prefetch.mode=off
for x in b c; do
    cmp "$WORK/a.npy" "$WORK/$x.npy" || fail "logits of $x differ"
    cmp "$WORK/a.routes" "$WORK/$x.routes" || fail "routes of $x differ"
done

# Pipes are read and written as they are, and never replaced.
mkfifo "$WORK/in.fifo" "$WORK/out.fifo"
cat "$DATA/unicode.ids" > "$WORK/in.fifo" &
cat "$WORK/out.fifo" > "$WORK/piped.npy" &
expect 0 "$HOTSET" eval "$MODEL" --config "$WORK/empty.conf" --ids "$WORK/in.fifo" --logits "$WORK/out.fifo" --json
wait
cmp "$WORK/piped.npy" "$WORK/a.npy" || fail "logits through a pipe"
[ -p "$WORK/out.fifo" ] || fail "a pipe was replaced by a file"
"$HOTSET" eval "$MODEL" --config "$WORK/empty.conf" --ids - --json < "$DATA/oz.ids" > "$WORK/out" || fail "ids on stdin"
[ "$(field nll)" = "$nll" ] || fail "nll of ids on stdin"
expect 1 "$HOTSET" eval "$MODEL" --config "$WORK/empty.conf" --ids "$DATA/oz.ids" --logits "$WORK"
says "Is a directory"
expect 2 "$HOTSET" eval "$MODEL" --ids "$DATA/oz.ids" --logits "$WORK/same" --routes "$WORK/same"
says "same file"

# Refusals leave nothing behind.
echo '1 2 4096' > "$WORK/bad.ids"
expect 1 "$HOTSET" eval "$MODEL" --ids "$WORK/bad.ids" --logits "$WORK/bad.npy"
says "token 2: id 4096 is outside the vocabulary of 4096"
printf '1 2\nthree\n' > "$WORK/bad.ids"
expect 1 "$HOTSET" eval "$MODEL" --ids "$WORK/bad.ids"
says "bad.ids: line 2: 'three' is not a token id"
: > "$WORK/bad.ids"
expect 1 "$HOTSET" eval "$MODEL" --ids "$WORK/bad.ids"
says "holds no tokens"
expect 1 "$HOTSET" eval "$MODEL" --ids "$DATA/short.ids" --greedy 5000
says "context of 4096"
expect 1 "$HOTSET" eval "$MODEL" --ids "$DATA/short.ids" --logits "$WORK/no/such/folder.npy"
[ ! -e "$WORK/bad.npy" ] || fail "logits of a refused eval"

# Without tokenizer files.
mkdir "$WORK/bare"
ln -s "$MODEL/model.safetensors" "$MODEL/config.json" "$WORK/bare/"
expect 0 "$HOTSET" eval "$WORK/bare" --config "$WORK/empty.conf" --ids "$DATA/oz.ids" --json
[ "$(field nll)" = "$nll" ] || fail "nll without tokenizer files"
expect 0 "$HOTSET" bench "$WORK/bare" --config "$WORK/empty.conf" --prompt 16 --gen 4 --json
one_line
for key in prefill_tokens_per_s decode_tokens_per_s bytes_read disk_bytes_per_s hit_rate prefetch_issued; do
    [ -n "$(field $key)" ] || fail "bench lacks $key"
done
grep -q '"phases":{"compute":[0-9.e-]*,"disk_wait":[0-9.e-]*,"decode":[0-9.e-]*,"other":[0-9.e-]*}' "$WORK/out" ||
    fail "bench's phases"
# The layers' figures are those of the whole.
sum() { grep -o '"prefetch_layers":\[[^]]*\]' "$WORK/out" | grep -o "\"$1\":[0-9]*" | awk -F: '{ n += $2 } END { print n + 0 }'; }
whole() { grep -o "\"$1\":[0-9]*" "$WORK/out" | tail -1 | cut -d: -f2; }
[ "$(sum absent)" -gt 0 ] && [ "$(sum absent)" -eq $(($(whole misses) + $(whole prefetch_useful))) ] &&
    [ "$(sum issued)" -eq "$(whole prefetch_issued)" ] || fail "bench's layers"
