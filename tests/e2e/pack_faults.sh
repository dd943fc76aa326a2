#!/bin/sh
# labels: e2e fault
# pack and unpack killed at any moment, on a full disk, onto a folder that cannot be written, from a source that changes,
# two at a time: what is left never loads wrongly, and the same command finishes it to the same bytes.
. "$(dirname "$0")/lib.sh"

SRC=$WORK/src
mkdir "$SRC"
cp "$MODEL"/*.json "$MODEL/model.safetensors" "$SRC/"
OPTIONS="--codec any --shard-size 1M"
pack() {
    "$HOTSET" pack "$SRC" "$@" $OPTIONS
}
answer() {
    "$HOTSET" eval "$1" --config "$WORK/empty.conf" --ids "$DATA/short.ids" --greedy 4 --json
}
# same FOLDER FOLDER : names and bytes
same() {
    diff -r "$1" "$2" > "$WORK/out" || fail "$2 is not $1"
}
# half_done FOLDER : refused by every reader, or complete
half_done() {
    [ -d "$1" ] || return 0
    got=0
    answer "$1" > "$WORK/out" 2> "$WORK/err" || got=$?
    if [ $got -eq 0 ]; then
        [ "$(field greedy)" = "$right" ] || fail "an interrupted folder gives another answer"
    else
        [ $got -eq 1 ] || fail "eval of an interrupted folder ends with $got"
        expect 1 "$HOTSET" verify "$1"
        expect 1 "$HOTSET" serve --config "$WORK/empty.conf" --check-config --model "m=$1"
    fi
}
# killed DELAY PROGRAM... : SIGKILL after DELAY seconds
killed() {
    delay=$1
    shift
    "$@" > "$WORK/out" 2> "$WORK/err" &
    victim=$!
    sleep "$delay"
    kill -KILL $victim 2> /dev/null || true
    wait $victim 2> /dev/null || true
}

expect 0 pack "$WORK/whole"
expect 0 answer "$WORK/whole"
right=$(field greedy)
expect 0 answer "$SRC"
[ "$(field greedy)" = "$right" ] || fail "packed and direct do not agree"

# Killed: again and again on one folder, and once from the start for each moment.
rounds=0
for delay in 0.004 0.02 0.04 0.06 0.08 0.11 0.14 0.18 0.22 0.26; do
    rm -rf "$WORK/one" "$WORK/back"
    killed $delay "$HOTSET" pack "$SRC" "$WORK/one" $OPTIONS
    half_done "$WORK/one"
    killed $delay "$HOTSET" pack "$SRC" "$WORK/many" $OPTIONS
    killed $delay "$HOTSET" unpack "$WORK/whole" "$WORK/back"
    half_done "$WORK/back"
    rounds=$((rounds + 3))
done
half_done "$WORK/many"
mkdir -p "$WORK/one" "$WORK/back" "$WORK/many"
expect 0 pack "$WORK/one"
same "$WORK/whole" "$WORK/one"
expect 0 pack "$WORK/many"
same "$WORK/whole" "$WORK/many"
expect 0 "$HOTSET" unpack "$WORK/whole" "$WORK/back"
same "$SRC" "$WORK/back"
echo "$rounds kills"

# All in two shards, killed at any moment: what is written of a shard is not written again, and nothing else comes of it.
OPTIONS="--codec any --threads 1"
expect 0 pack "$WORK/big"
rm -rf "$WORK/many"
rounds=0
behind=0
while [ $rounds -lt 30 ] && [ ! -e "$WORK/many/manifest.json" ]; do
    rounds=$((rounds + 1))
    killed 0.$(printf '%03d' $((20 + rounds * 37 % 90))) "$HOTSET" pack "$SRC" "$WORK/many" $OPTIONS
    ! grep -q "goes on behind record" "$WORK/err" || behind=$((behind + 1))
    half_done "$WORK/many"
done
expect 0 pack "$WORK/many"
same "$WORK/big" "$WORK/many"
echo "$rounds kills of which $behind came after a run that went on inside a shard"
rm -rf "$WORK/big" "$WORK/many"
OPTIONS="--codec any --shard-size 1M"

# A run that was stopped after the manifest leaves files that the next one removes.
: > "$WORK/one/hotset-pack.lock"
: > "$WORK/one/hotset-pack.state"
expect 0 pack "$WORK/one"
same "$WORK/whole" "$WORK/one"

# Files may not grow beyond a limit: as a full disk, for any user.
limited() {
    (
        ulimit -f $1
        shift
        "$@"
    )
}
rm -rf "$WORK/one" "$WORK/back"
expect 1 limited 2000 pack "$WORK/one"
says "File too large"
half_done "$WORK/one"
expect 0 pack "$WORK/one"
same "$WORK/whole" "$WORK/one"
expect 1 limited 20000 "$HOTSET" unpack "$WORK/whole" "$WORK/back"
says "File too large"
[ -z "$(ls "$WORK/back")" ] || fail "a failed unpack left files"

# A disk that is full, and one that cannot be written.
if on_disk 12M true 2> /dev/null; then
    cat > "$WORK/full.sh" << 'END'
got=0
"$1" pack "$2" "$3/disk/p" --codec zstd --shard-size 1M || got=$?
[ $got -eq 1 ] || exit 20
[ ! -e "$3/disk/p/manifest.json" ] || exit 21
"$1" eval "$3/disk/p" --config "$3/empty.conf" --ids "$4" && exit 22
"$1" unpack "$3/whole" "$3/disk/b" || got=$?
[ $got -eq 1 ] || exit 23
[ -z "$(ls "$3/disk/b")" ] || exit 24
mount -o remount,ro "$3/disk"
"$1" pack "$2" "$3/disk/p" --codec zstd --shard-size 1M || got=$?
[ $got -eq 1 ] || exit 25
"$1" unpack "$3/whole" "$3/disk/q" || got=$?
[ $got -eq 1 ] || exit 26
END
    expect 0 on_disk 12M sh "$WORK/full.sh" "$HOTSET" "$SRC" "$WORK" "$DATA/short.ids"
    says "No space left on device"
    says "Read-only file system"
    says "disk/p has room for 12.0 MiB, the pack may take "
else
    echo "no file system of our own here: a full disk is tested by ulimit alone"
fi

# A source that changes between two runs, or holds what could not be given back.
rm -rf "$WORK/one"
expect 1 limited 2000 pack "$WORK/one"
touch "$SRC/model.safetensors"
expect 1 pack "$WORK/one"
says "was changed since"
half_done "$WORK/one"
rm -rf "$WORK/one"
expect 1 limited 2000 pack "$WORK/one"
cp "$SRC/generation_config.json" "$WORK/one/special_tokens_map.json" # as if SRC had had it then
expect 1 pack "$WORK/one"
says "special_tokens_map.json"
half_done "$WORK/one"
rm "$WORK/one/special_tokens_map.json"
expect 0 pack "$WORK/one"
for name in hotset-pack.lock hotset-pack.state hotset-pack.tmp model.safetensors.tmp; do
    : > "$SRC/$name"
    expect 1 pack "$WORK/none"
    says "$SRC/$name"
    [ ! -e "$WORK/none" ] || fail "a refused source left a folder"
    rm "$SRC/$name"
done
for name in manifest.json copied-00000 old.safetensors.header notes.tmp x.hss; do
    echo '{"of": "another tool"}' > "$SRC/$name"
done
expect 0 pack "$WORK/names"
expect 0 answer "$WORK/names"
[ "$(field greedy)" = "$right" ] || fail "files with names of ours change the answer"
expect 0 "$HOTSET" unpack "$WORK/names" "$WORK/names.back"
same "$SRC" "$WORK/names.back"

# One folder for two things.
expect 1 pack "$SRC"
says "same folder"
expect 1 pack "$SRC/sub"
says "lies inside"
expect 1 "$HOTSET" unpack "$WORK/whole" "$WORK/whole/sub"
says "lies inside"
[ ! -e "$SRC/sub" ] && [ ! -e "$WORK/whole/sub" ] || fail "a refused folder was made"
"$HOTSET" pack "$SRC" "$WORK/two" --codec zstd --level 19 --threads 1 > /dev/null 2>&1 &
first=$!
until [ -e "$WORK/two/hotset-pack.state" ]; do
    kill -0 $first || fail "pack --level 19 ended early"
done
expect 1 pack "$WORK/two"
says "another hotset is writing"
kill -INT $first
got=0
wait $first || got=$?
[ $got -eq 1 ] || fail "an interrupted pack ends with $got"
half_done "$WORK/two"
