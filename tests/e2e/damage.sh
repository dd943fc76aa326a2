#!/bin/sh
# labels: e2e fault
# Model files that change under a running daemon: damaged, cut, longer, replaced, unlinked. A request gets the right tokens
# or ends with a sentence that names the file; the daemon lives, and answers rightly when the file is whole again.
. "$(dirname "$0")/lib.sh"

ask() {
    "$HOTSET" run tale "Tell me a story." --socket "$SOCKET" --config "$WORK/empty.conf" --temp 0 --max-tokens 20
}
right() {
    expect 0 ask
    cmp "$WORK/out" "$WORK/right" || fail "another answer after: $*"
}
# whole : the file's bytes again, in place
whole() {
    cat "$WORK/keep" > "$file"
}
# files FILE NAME : what both kinds of model go through; FILE belongs to the daemon's model
files() {
    file=$1
    cp "$file" "$WORK/keep"
    size=$(wc -c < "$file")
    echo "one more line" >> "$file"
    right "$2 was appended to"
    for left in $((size / 2)) 0; do
        dd if=/dev/null of="$file" bs=1 seek=$left 2> /dev/null
        expect 1 ask
        says "$2"
        whole
        right "$2 was cut to $left bytes"
    done
    dd if=/dev/urandom of="$file.new" bs=65536 count=4 2> /dev/null
    mv "$file.new" "$file"
    right "$2 was replaced"
    rm "$file"
    right "$2 was unlinked"
}

mkdir "$WORK/direct"
cp "$MODEL"/*.json "$MODEL/model.safetensors" "$WORK/direct/"
start_daemon --model "tale=$WORK/direct" --set cache.size=10%
expect 0 ask
cp "$WORK/out" "$WORK/right"
files "$WORK/direct/model.safetensors" model.safetensors
stop_daemon

# What it is packed from goes away: an engine that has both may read either.
cp -r "$WORK/direct" "$WORK/source"
cp "$MODEL/model.safetensors" "$WORK/source/"
expect 0 "$HOTSET" pack "$WORK/source" "$WORK/packed" --codec zstd
rm -r "$WORK/source"
start_daemon --model "tale=$WORK/packed" --set cache.size=10%
right "packing"
shard=$WORK/packed/experts-00000.hss
chmod u+w "$shard"
cp "$shard" "$WORK/keep"
dd if=/dev/urandom of="$shard" bs=1M seek=4 count=20 conv=notrunc 2> /dev/null
expect 1 ask
says "experts-00000.hss, record"
grep -q "warning: model tale: a request has failed: experts-00000.hss, record .*damaged" "$WORK/serve.log" || fail "the log does not tell"
file=$shard
whole
right "the shard was damaged"
files "$shard" experts-00000.hss
stop_daemon

# None of them is found by a new daemon.
for model in direct packed; do
    expect 1 "$HOTSET" serve --config "$WORK/empty.conf" --check-config --model "tale=$WORK/$model"
    says "$WORK/$model"
done

# With a mirror: damage in one copy changes no answer, is told with file and record, and is mended under the daemon.
cp -r "$MODEL" "$WORK/origin"
expect 0 "$HOTSET" pack "$WORK/origin" "$WORK/a" --codec zstd
cp -r "$WORK/a" "$WORK/b"
shard=$WORK/a/experts-00000.hss
chmod u+w "$shard"
start_daemon --model "tale=$WORK/a" --set "model.tale.mirror=$WORK/b" --set cache.size=3%
right "a mirror"
dd if=/dev/urandom of="$shard" bs=1M seek=1 count=20 conv=notrunc 2> /dev/null
right "one copy was damaged"
grep -q "warning: .*experts-00000.hss, record [0-9]*.*damaged" "$WORK/serve.log" || fail "nobody says what is damaged"
expect 1 "$HOTSET" verify "$WORK/a"
said() {
    model=$1
    shift
    "$HOTSET" run "$model" "Once upon a time" --config "$WORK/empty.conf" --set cache.size=3% --temp 0 --max-tokens 24 "$@"
}
expect 0 said "$WORK/b"
cp "$WORK/out" "$WORK/words"
expect 1 said "$WORK/a" --set cache.warm_tier=on # which reads packed records only
says "experts-00000.hss, record"
expect 0 said "$WORK/a"
says "raw bytes are read in its place"
cmp "$WORK/out" "$WORK/words" || fail "what it was packed from answers otherwise"
expect 0 said "$WORK/a" --mirror "$WORK/b"
cmp "$WORK/out" "$WORK/words" || fail "run with a mirror answers otherwise"
expect 1 said "$WORK/a" --mirror "$MODEL"
says "not a copy"
expect 2 "$HOTSET" run tale "Once" --mirror "$WORK/b"
for verb in plan "tune --seconds 1"; do
    expect 0 "$HOTSET" $verb "$WORK/b" --mirror "$WORK/a" --config "$WORK/empty.conf"
    expect 1 "$HOTSET" $verb "$WORK/a" --mirror "$MODEL" --config "$WORK/empty.conf"
    says "not a copy"
done
expect 2 "$HOTSET" plan gpt-oss-120b --mirror "$WORK/b" --config "$WORK/empty.conf"
expect 2 "$HOTSET" verify "$WORK/a" --mirror "$WORK/b"
expect 1 "$HOTSET" verify "$WORK/a" --repair --mirror "$MODEL"
expect 0 "$HOTSET" verify "$WORK/a" --repair --mirror "$WORK/b"
says "repaired from"
cmp "$shard" "$WORK/b/experts-00000.hss" || fail "the repaired shard is another one"
expect 0 "$HOTSET" verify "$WORK/a"
right "the copy was repaired"
stop_daemon
# The same from what was packed.
dd if=/dev/urandom of="$shard" bs=1M seek=1 count=3 conv=notrunc 2> /dev/null
expect 0 "$HOTSET" verify "$WORK/a" --repair
says "repaired from"
cmp "$shard" "$WORK/b/experts-00000.hss" || fail "the shard made again is another one"
# Shards on several drives: links to them, without a copy.
mkdir "$WORK/drive"
mv "$shard" "$WORK/drive/"
ln -s "$WORK/drive/experts-00000.hss" "$shard"
expect 0 "$HOTSET" verify "$WORK/a"
start_daemon --model "tale=$WORK/a" --set cache.size=10%
right "a shard was moved to another drive"
stop_daemon
expect 1 "$HOTSET" serve --config "$WORK/empty.conf" --check-config --model "tale=$WORK/a" --set "model.tale.mirror=$MODEL"
says "not a copy"
