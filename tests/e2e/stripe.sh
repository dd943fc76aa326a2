#!/bin/sh
# labels: e2e fault
# A model packed over two folders: the same tokens as direct, bit for bit back, damage found in either folder, a missing
# one named; interrupted, on a full disk or on one that cannot be written, it never loads and is finished afterwards.
. "$(dirname "$0")/lib.sh"

OPTIONS="--codec any --shard-size 2M"
# pack DST DIR[,DIR] FLAG...
pack() {
    dst=$1
    dirs=$2
    shift 2
    "$HOTSET" pack "$MODEL" "$dst" --stripe "$dirs" $OPTIONS "$@"
}
answer() {
    "$HOTSET" eval "$@" --config "$WORK/empty.conf" --ids "$DATA/short.ids" --greedy 4 --json
}
# damage FILE OFFSET : one byte becomes another
damage() {
    byte=$(od -An -tu1 -j "$2" -N 1 "$1" | tr -d ' ')
    printf "$(printf '\\%03o' $(((byte + 1) % 256)))" | dd of="$1" bs=1 seek="$2" conv=notrunc 2> /dev/null
}
first_in() {
    find "$1" -name 'experts-*.hss' -type f | sort | head -n 1
}

expect 0 answer "$MODEL"
right=$(field greedy)
expect 0 pack "$WORK/p" "$WORK/b" --shares 1,2
[ -z "$(find "$WORK/p" "$WORK/b" -name 'hotset-pack.*' -o -name '*.tmp')" ] || fail "pack left files of its own"
here=$(find "$WORK/p" -name 'experts-*' -type f -size +0 -exec cat {} + | wc -c)
there=$(cat "$WORK"/b/experts-* | wc -c)
[ $((there * 10)) -gt $((here * 18)) ] && [ $((there * 10)) -lt $((here * 22)) ] ||
    fail "shares 1,2 gave $here and $there bytes"

# Everything takes it; so it does where one expert lies on several drives.
expect 0 pack "$WORK/s" "$WORK/sb,$WORK/sc" --split 16k
grep -q '"version": 4' "$WORK/s/manifest.json" || fail "split experts need version 4"
for packed in p s; do
    for set in cache.size=5% cache.size=100% cache.warm_tier=on io.engine=pread prefetch.mode=off; do
        expect 0 answer "$WORK/$packed" --set $set
        [ "$(field greedy)" = "$right" ] || fail "other tokens with $set"
    done
done
expect 0 "$HOTSET" verify "$WORK/s"
expect 0 "$HOTSET" unpack "$WORK/s" "$WORK/back.s"
diff -r "$MODEL" "$WORK/back.s" || fail "unpack of split experts is not what was packed"
damage "$(first_in "$WORK/sc")" 5000
expect 1 "$HOTSET" verify "$WORK/s"
says "$(basename "$(first_in "$WORK/sc")"), record 0"
expect 1 answer "$WORK/s" --set cache.warm_tier=on # which reads packed records only
says "$(basename "$(first_in "$WORK/sc")"), record 0"
expect 0 "$HOTSET" inspect "$WORK/p"
expect 0 "$HOTSET" plan "$WORK/p" --config "$WORK/empty.conf"
expect 0 "$HOTSET" verify "$WORK/p"
expect 0 "$HOTSET" unpack "$WORK/p" "$WORK/back"
diff -r "$MODEL" "$WORK/back" || fail "unpack is not what was packed"
expect 0 pack "$WORK/p" "$WORK/b"
expect 0 "$HOTSET" pack --check "$MODEL" "$WORK/p"
start_daemon --model "m=$WORK/p"
stop_daemon
# A copy on one drive is its mirror.
cp -rL "$WORK/p" "$WORK/copy"
expect 0 answer "$WORK/p" --mirror "$WORK/copy"
[ "$(field greedy)" = "$right" ] || fail "other tokens with a mirror"

# Damage in either folder is found, named and mended.
for folder in "$WORK/p" "$WORK/b"; do
    shard=$(first_in "$folder")
    damage "$shard" 5000
    expect 1 "$HOTSET" verify "$WORK/p"
    says "$(basename "$shard"), record 0"
    expect 0 "$HOTSET" verify "$WORK/p" --repair
    expect 0 "$HOTSET" verify "$WORK/p"
done

# A drive that is not there.
mv "$WORK/b" "$WORK/away"
gone=$(basename "$(first_in "$WORK/away")")
for verb in eval "inspect" "plan" "verify" "unpack"; do
    case $verb in
        eval) expect 1 answer "$WORK/p" ;;
        unpack) expect 1 "$HOTSET" unpack "$WORK/p" "$WORK/back2" ;;
        *) expect 1 "$HOTSET" $verb "$WORK/p" ;;
    esac
    says "$WORK/b/$gone"
    says "is that drive mounted?"
done
expect 1 "$HOTSET" serve --config "$WORK/empty.conf" --check-config --model "m=$WORK/p"
says "$WORK/b/$gone"
# Mounted elsewhere, its links made anew.
for shard in "$WORK"/away/*.hss; do
    ln -sfn "$shard" "$WORK/p/$(basename "$shard")"
done
expect 0 answer "$WORK/p"
[ "$(field greedy)" = "$right" ] || fail "other tokens from a drive that was mounted elsewhere"
mv "$WORK/away" "$WORK/b"

# Usage.
for flags in "--stripe ," "--stripe $WORK/x, --shares 1,1" "--stripe $WORK/x --shares 1" "--stripe $WORK/x --shares 1,x" \
    "--stripe $WORK/x --shares 1,2,3" "--shares 1,1" "--split 1M" "--stripe $WORK/x --shares 1,1000001" "--stripe $WORK/x --shares ,"; do
    expect 2 "$HOTSET" pack "$MODEL" "$WORK/none" $flags
    says "--stripe"
done
[ ! -e "$WORK/none" ] && [ ! -e "$WORK/x" ] || fail "refused flags made a folder"

# Killed at any moment; the same command, or one without folders, finishes it to the same bytes.
expect 0 pack "$WORK/whole" "$WORK/w" --shares 1,2
rounds=0
for delay in 0.01 0.03 0.05 0.08 0.11 0.15 0.2 0.3; do
    "$HOTSET" pack "$MODEL" "$WORK/k" --stripe "$WORK/kb" --shares 1,2 $OPTIONS > "$WORK/out" 2> "$WORK/err" &
    victim=$!
    sleep $delay
    kill -KILL $victim 2> /dev/null || true
    wait $victim 2> /dev/null || true
    if [ ! -e "$WORK/k/manifest.json" ]; then
        [ ! -d "$WORK/k" ] || expect 1 "$HOTSET" verify "$WORK/k"
        [ ! -d "$WORK/k" ] || expect 1 answer "$WORK/k"
    fi
    rounds=$((rounds + 1))
done
if [ -e "$WORK/k/hotset-pack.state" ] && [ ! -e "$WORK/k/manifest.json" ]; then
    expect 0 "$HOTSET" pack "$MODEL" "$WORK/k" $OPTIONS
else
    expect 0 pack "$WORK/k" "$WORK/kb" --shares 1,2
fi
diff -r "$WORK/w" "$WORK/kb" || fail "the second folder is not the same"
diff -r "$WORK/whole" "$WORK/k" || fail "the first folder is not the same"
echo "$rounds kills"

# The second drive is full, then read-only.
if on_disk 6M true 2> /dev/null; then
    cat > "$WORK/full.sh" << 'END'
got=0
"$1" pack "$2" "$3/f" --stripe "$3/disk/f" --codec any --shard-size 1M || got=$?
[ $got -eq 1 ] || exit 20
[ ! -e "$3/f/manifest.json" ] || exit 21
"$1" eval "$3/f" --config "$3/empty.conf" --ids "$4" && exit 22
mount -o remount,ro "$3/disk"
"$1" pack "$2" "$3/f" --stripe "$3/disk/f" --codec any --shard-size 1M || got=$?
[ $got -eq 1 ] || exit 23
mount -o remount,rw,size=60M "$3/disk"
"$1" pack "$2" "$3/f" --codec any --shard-size 1M || exit 24
"$1" eval "$3/f" --config "$3/empty.conf" --ids "$4" --greedy 4 --json > "$3/answer" || exit 25
END
    expect 0 on_disk 6M sh "$WORK/full.sh" "$HOTSET" "$MODEL" "$WORK" "$DATA/short.ids"
    says "No space left on device"
    says "Read-only file system"
    cp "$WORK/answer" "$WORK/out"
    [ "$(field greedy)" = "$right" ] || fail "other tokens after a full disk"
else
    echo "no file system of our own here: a full second drive is not tested"
fi
