#!/bin/sh
# The daemon, asked through its socket by `hotset run`: the same answer as in-process, receipts, names, signals.
. "$(dirname "$0")/lib.sh"

question="Tell me a story about a fox and a king."
ask() {
    "$HOTSET" run "$@" --config "$WORK/empty.conf" --temp 0 --max-tokens 40
}
expect 0 ask "$MODEL" "$question"
says "hit rate"
cp "$WORK/out" "$WORK/local"
[ -s "$WORK/local" ] || fail "no answer"
"$HOTSET" tokenize "$MODEL" --decode < "$DATA/short.greedy" > "$WORK/golden"
head -c 100 "$WORK/local" > "$WORK/a"
head -c 100 "$WORK/golden" > "$WORK/b"
cmp "$WORK/a" "$WORK/b" || fail "run does not say what the reference says"
printf '%s\n' "$question" | ask "$MODEL" > "$WORK/out" 2> "$WORK/err" || fail "prompt on stdin"
cmp "$WORK/out" "$WORK/local" || fail "prompt on stdin gives another answer"

# The same seed, the same answer; stdout has the answer alone.
sample() {
    "$HOTSET" run "$@" --config "$WORK/empty.conf" --temp 0.8 --top-p 0.95 --seed 7 --max-tokens 40 "$question"
}
expect 0 sample "$MODEL"
cp "$WORK/out" "$WORK/sampled"

expect 0 "$HOTSET" pack "$MODEL" "$WORK/packed" --codec zstd
start_daemon --model "tale=$WORK/packed" --set cache.size=25%
grep -q 'memory plan of model tale' "$WORK/serve.log" || fail "no memory plan in the log"
[ -S "$SOCKET" ] || fail "no socket"
expect 0 ask tale "$question" --socket "$SOCKET"
cmp "$WORK/out" "$WORK/local" || fail "the daemon's answer differs"
for word in "hit rate" "read" "disk wait" "prefetch"; do says "$word"; done
expect 0 sample tale --socket "unix:$SOCKET"
cmp "$WORK/out" "$WORK/sampled" || fail "the daemon's sampled answer differs"

# Four at once.
for i in 1 2 3 4; do
    ask tale "$question" --socket "$SOCKET" > "$WORK/many.$i" 2> "$WORK/many.err.$i" &
    eval "pid$i=\$!"
done
for i in 1 2 3 4; do
    eval "wait \$pid$i" || fail "client $i: $(cat "$WORK/many.err.$i")"
    cmp "$WORK/many.$i" "$WORK/local" || fail "client $i got another answer"
done

# All that, and the process never took more than was planned.
peak=$(sed -n 's/^VmHWM: *\([0-9]*\) kB$/\1/p' "/proc/$DAEMON/status")
expect 0 "$HOTSET" plan "$WORK/packed" --config "$WORK/empty.conf" --set cache.size=25% --json
if [ -n "$peak" ] && [ -z "${SANITIZED:-}" ]; then
    [ $((peak * 1024)) -le "$(field total)" ] || fail "peak memory $peak kB is over the plan of $(field total) bytes"
fi

expect 1 ask other "$question" --socket "$SOCKET"
says other
printf '[server]\nidle_timeout = 30\n' > "$WORK/empty.conf"
kill -HUP "$DAEMON"
expect 0 ask tale "$question" --socket "$SOCKET"
stop_daemon
[ ! -e "$SOCKET" ] || fail "the socket is left behind"
[ ! -s "$WORK/serve.out" ] || fail "the daemon writes to stdout"
expect 1 ask tale "$question" --socket "$SOCKET"
says "$SOCKET"
