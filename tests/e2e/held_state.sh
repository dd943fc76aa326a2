#!/bin/sh
# labels: e2e slow
# The drive of the state folder does not answer while expert uses are saved: memory is looked at and given back as ever,
# requests are answered, and a stop ends. The drive is a pipe that nobody reads, in the place of the temporary file.
. "$(dirname "$0")/lib.sh"

[ "$(uname -m)" = x86_64 ] || skip "the number of a system call"
STATE=$WORK/state
serve() {
    start_daemon --model "tale=$MODEL" --set "state.dir=$STATE" --set log.level=debug
}
ask() {
    "$HOTSET" run tale "Once upon a time" --config "$WORK/none.conf" --temp 0 --max-tokens 30 --socket "$SOCKET" \
        > "$1" 2> "$WORK/err" || fail "a request failed: $(cat "$WORK/err")"
}
# is_held : the saver's thread is inside openat
is_held() {
    for task in "/proc/$DAEMON/task/"*; do
        [ "$(cat "$task/comm")" != hs-saver ] || grep -q '^257 ' "$task/syscall" || return 1
    done
}
: > "$WORK/none.conf"

serve
ask "$WORK/golden"
stop_daemon
file=$(echo "$STATE"/heat-*-default)
[ -f "$file" ] || fail "nothing was kept"
cp "$file" "$WORK/before"
mkfifo "$file.tmp"

serve
cat "/proc/$DAEMON/syscall" > "$WORK/out" 2> "$WORK/err" || skip "nobody may see system calls here"
grep -qx hs-saver "/proc/$DAEMON/task/"*/comm || fail "no thread that saves"
ask "$WORK/answer"
cmp -s "$WORK/golden" "$WORK/answer" || fail "another answer"
tries=0
until is_held; do
    tries=$((tries + 1))
    [ $tries -lt 1800 ] || fail "nothing is saved while it runs"
    sleep 0.1
done

printf '[memory]\nlimit = %sM\n[log]\nlevel = debug\n' $(($(planned_mib) - 20)) > "$WORK/empty.conf"
kill -HUP "$DAEMON"
logged 'room for [0-9]* experts instead of 320' # the governor looks
ask "$WORK/answer"
cmp -s "$WORK/golden" "$WORK/answer" || fail "another answer while the drive does not answer"
is_held || fail "the drive has answered"
stop_daemon
grep -q 'the drive of state.dir does not answer' "$WORK/serve.log" || fail "no sentence about the drive"
cmp -s "$WORK/before" "$file" || fail "the file has changed"

# It answers again.
rm "$file.tmp"
: > "$WORK/empty.conf"
serve
logged 'experts that were used most before have been read ahead'
ask "$WORK/answer"
stop_daemon
cmp -s "$WORK/before" "$file" && fail "uses are not kept again"
exit 0
