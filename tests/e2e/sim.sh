#!/bin/sh
# sim: known hit rates of recorded routes, traces that eval writes, and mistakes.
. "$(dirname "$0")/lib.sh"

between() {
    awk -v x="$1" -v least="$2" -v most="$3" 'BEGIN { exit !(x >= least && x <= most) }' ||
        fail "$1 is not from $2 to $3"
}

tale_routes > "$WORK/tale.csv"
expect 0 "$HOTSET" sim "$WORK/tale.csv" --cache 10%,25%,50%
grep -q '1000 tokens, the first 250 of them uncounted' "$WORK/out" || fail "heading"
row() {
    awk -v cache="$1" '$1 == cache { print $2, $3, $5, $6 }' "$WORK/out"
}
[ "$(row 10%)" = "32 39.7 14.6 15.0" ] || fail "10 %: $(row 10%)"
[ "$(row 25%)" = "80 62.8 29.7 33.8" ] || fail "25 %: $(row 25%)"
[ "$(row 50%)" = "160 83.5 57.5 60.7" ] || fail "50 %: $(row 50%)"

expect 0 "$HOTSET" sim "$WORK/tale.csv" --cache 25% --policy lru --warmup 0 --json
one_line
case $(cat "$WORK/out") in
'{"results":[{"trace":"'*'","policy":"belady","cache":0.25,"accesses":30000,'*'{"trace":"'*'","policy":"lru",'*'}]}') ;;
*) fail "json" ;;
esac
[ "$(field bytes_read)" -eq $((1000 * (30000 - $(field hits)))) ] || fail "bytes_read is not what was missed"

# Speed: each of the five layers computes 20 ms and reads less; one after the other takes longer than both at a time.
expect 0 "$HOTSET" sim "$WORK/tale.csv" --cache 25% --policy lru --disk-bw 1M --compute-ms 100 --json
alone=$(field tokens_per_s)
between "$alone" 7 9
expect 0 "$HOTSET" sim "$WORK/tale.csv" --cache 25% --policy lru --disk-bw 1M --compute-ms 100 --prefetch auto --json
between "$(field tokens_per_s)" 9.98 10.001
# Experts in memory are computed meanwhile; a late drive and decoding add to what is missed.
expect 0 "$HOTSET" sim "$WORK/tale.csv" --cache 25% --policy lru --disk-bw 1M --compute-ms 100 --experts-ms 90 --json
between "$(field tokens_per_s)" "$alone" 10
misses=$(($(field accesses) - $(field hits)))
expect 0 "$HOTSET" sim "$WORK/tale.csv" --cache 25% --policy lru --disk-bw 1M --decode-ms 2 --json
slow=$(field seconds)
expect 0 "$HOTSET" sim "$WORK/tale.csv" --cache 25% --policy lru --disk-bw 1M --json
between "$slow" "$(field seconds)" "$(field seconds | awk -v n="$misses" '{ print $1 + 0.002 * n + 0.001 }')"
# Reads alone take as long as the drive says, and a layer's first so much later.
between "$(field seconds)" "$(awk -v n="$misses" 'BEGIN { print n * 1000 / 1048576 - 0.001 }')" \
    "$(awk -v n="$misses" 'BEGIN { print n * 1000 / 1048576 + 0.001 }')"
expect 0 "$HOTSET" sim "$WORK/tale.csv" --cache 25% --policy lru --disk-bw 1M --disk-latency 1 --warmup 0 --json
late=$(field seconds)
expect 0 "$HOTSET" sim "$WORK/tale.csv" --cache 25% --policy lru --disk-bw 1M --warmup 0 --json
between "$late" "$(field seconds | awk '{ print $1 + 4.5 }')" "$(field seconds | awk '{ print $1 + 5.001 }')"
expect 0 "$HOTSET" sim "$WORK/tale.csv" --cache 25% --policy lru --disk-bw 0.5M --expert-size 500 --warmup 0 --json
between "$(field seconds | awk -v half="$late" '{ print half - $1 }')" 4.5 5.001
# Without a drive's speed there is a time only where nothing is read.
expect 0 "$HOTSET" sim "$WORK/tale.csv" --cache 50%,100% --policy lru --compute-ms 100
[ "$(grep -c 'tokens/s' "$WORK/out")" -eq 2 ] || fail "speed lines"
grep tokens/s "$WORK/out" | tr -s ' ' > "$WORK/speeds"
[ "$(cat "$WORK/speeds")" = " tokens/s - -
 tokens/s 10.00 10.00" ] || fail "speeds without --disk-bw"
expect 0 "$HOTSET" sim "$WORK/tale.csv" --cache 25% --policy lru --scope layer
[ "$(awk '$1 == "25%" { print $3, $4 }' "$WORK/out")" = "62.8 29.6" ] || fail "by layer"
expect 2 "$HOTSET" sim "$WORK/tale.csv" --disk-latency 5
says "--disk-latency needs --disk-bw"
expect 2 "$HOTSET" sim "$WORK/tale.csv" --disk-bw 1M --experts-ms 5 --compute-ms 4
says "a part of --compute-ms"

# A warm tier: the same memory holds more, every use is decoded, and auto takes it where that is faster.
warm() {
    expect 0 "$HOTSET" sim "$WORK/tale.csv" --cache 40% --policy ewma --compressed 0.8 --disk-bw 1M --json "$@"
    one_line
}
warm --decode-ms 0.1
off=$(field tokens_per_s)
[ "$(field slots) $(field warm_tier) $(field warm_hits)" = "128 false 0" ] || fail "off"
[ "$(field bytes_read)" -eq $((800 * (22500 - $(field hits)))) ] || fail "what is read is not compressed"
warm --decode-ms 0.1 --warm-tier on
on=$(field tokens_per_s)
[ "$(field slots) $(field warm_tier)" = "160 true" ] || fail "on"
[ "$(field warm_hits)" -eq "$(field hits)" ] || fail "hits that are not decoded"
between "$on" "$off" 1000
warm --decode-ms 0.1 --warm-tier auto
[ "$(field warm_tier) $(field tokens_per_s)" = "true $on" ] || fail "auto, slow drive"
# Decoding that takes as long as reading: not even the experts that are found are worth it.
warm --decode-ms 1 --warm-tier on
on=$(field tokens_per_s)
warm --decode-ms 1 --warm-tier auto
[ "$(field warm_tier)" = false ] || fail "auto, slow processors"
between "$on" 0 "$(field tokens_per_s)"
expect 0 "$HOTSET" sim "$WORK/tale.csv" --cache 40% --compressed 0.8 --disk-bw 1M --decode-ms 0.1 --warm-tier auto
grep -q '^ *warm tier *on *on' "$WORK/out" || fail "the table does not say what auto chose"
expect 2 "$HOTSET" sim "$WORK/tale.csv" --warm-tier on
says "needs --compressed"
expect 2 "$HOTSET" sim "$WORK/tale.csv" --warm-tier auto --compressed 0.8 --disk-bw 1M
says "needs --disk-bw and --decode-ms"
expect 2 "$HOTSET" sim "$WORK/tale.csv" --decode-ms 1
says "--decode-ms needs --disk-bw"

# What eval records: prompt and answer.
"$HOTSET" eval "$MODEL" --ids "$DATA/short.ids" --greedy 8 --routes "$WORK/eval.csv" --config "$WORK/empty.conf" \
    > "$WORK/out" 2> "$WORK/err" || fail "eval --routes"
expect 0 "$HOTSET" sim "$WORK/eval.csv" --cache 100% --policy lru,ewma,lru --warmup 0 --json
decode=$(field accesses)
[ "$(tr , '\n' < "$WORK/out" | grep -c '"policy":"lru"')" -eq 1 ] || fail "a policy named twice is replayed twice"
expect 0 "$HOTSET" sim - --cache 100% --policy lru --warmup 0 --json --phase all < "$WORK/eval.csv"
[ "$(field accesses)" -eq "$(grep -vc '[a-z]' "$WORK/eval.csv")" ] || fail "not every row is replayed"
[ "$(field accesses)" -gt "$decode" ] || fail "prefill rows are not left out"

# The same, gzipped: written so, and read from file and pipe; what another gzip made of it, too.
"$HOTSET" eval "$MODEL" --ids "$DATA/short.ids" --greedy 8 --routes "$WORK/eval.csv.gz" --config "$WORK/empty.conf" \
    > "$WORK/out" 2> "$WORK/err" || fail "eval --routes .gz"
gzip -dc "$WORK/eval.csv.gz" | cut -d, -f1-7 > "$WORK/unpacked"
cut -d, -f1-7 "$WORK/eval.csv" | cmp - "$WORK/unpacked" || fail "unpacked it is another trace"
[ "$(wc -c < "$WORK/eval.csv.gz")" -lt $(($(wc -c < "$WORK/eval.csv") / 3)) ] || fail "it is not compressed"
gzip -9 < "$WORK/eval.csv" > "$WORK/other.gz"
for input in "$WORK/eval.csv.gz" "$WORK/other.gz" -; do
    expect 0 "$HOTSET" sim "$input" --cache 100% --policy lru --warmup 0 --json < "$WORK/eval.csv.gz"
    [ "$(field accesses)" -eq "$decode" ] || fail "$input: $(field accesses) uses"
done
head -c 700 "$WORK/eval.csv.gz" > "$WORK/cut.gz"
expect 1 "$HOTSET" sim "$WORK/cut.gz"
says "cut.gz: the gzip data ends too early, after 700 bytes"
expect 1 "$HOTSET" eval "$MODEL" --ids "$DATA/short.ids" --routes "$WORK/no/a.csv.gz" --config "$WORK/empty.conf"
says "no/a.csv.gz: cannot write"

# The same as colibri lists it: by calls.
awk -F, '/^[0-9]/ { key = $2 " " $3 " " $4
    if (key != last) { printf "%s%d 0 %d", n++ ? "\n" : "", n, $4; last = key }
    printf " %d:%.4f", $6, $7 } END { print "" }' "$WORK/eval.csv" > "$WORK/calls"
for input in "$WORK/calls" "$WORK/eval.csv"; do
    expect 0 "$HOTSET" sim "$input" --cache 10%,50% --policy ewma --phase all --json
    echo "$(field accesses) $(field hits)"
done | sort -u > "$WORK/counts"
[ "$(wc -l < "$WORK/counts")" -eq 1 ] || fail "by calls: $(cat "$WORK/counts")"
expect 1 "$HOTSET" sim "$WORK/calls" --disk-bw 1G
says "does not tell the experts' sizes"
expect 0 "$HOTSET" sim "$WORK/calls" --disk-bw 1G --expert-size 1.5M
grep -q tokens/s "$WORK/out" || fail "no speed of calls"

expect 2 "$HOTSET" sim
expect 2 "$HOTSET" sim "$WORK/tale.csv" --policy mru
says "there is no policy 'mru'"
expect 2 "$HOTSET" sim "$WORK/tale.csv" --cache 10
says "'10' is not a share"
expect 2 "$HOTSET" sim "$WORK/tale.csv" --cache 101%
expect 2 "$HOTSET" sim "$WORK/tale.csv" --cache ''
expect 2 "$HOTSET" sim "$WORK/tale.csv" --phase prefill
expect 1 "$HOTSET" sim "$WORK/tale.csv" --cache 0.1%
says "0.1% of 320 experts is not even one"
expect 1 "$HOTSET" sim "$WORK/tale.csv" --warmup 1000
says "leaves none of its 1000 tokens"
expect 1 "$HOTSET" sim "$WORK/none.csv"
says "$WORK/none.csv"
expect 1 "$HOTSET" sim "$MODEL"
says "not a regular file"
echo '0,1,0,9,0,0,1,0,0' >> "$WORK/tale.csv"
expect 1 "$HOTSET" sim "$WORK/tale.csv" --json
says "tale.csv:30009: the header does not list this layer"
[ ! -s "$WORK/out" ] || fail "a failure writes to stdout"
