#!/bin/sh
# Under systemd's hands: socket activation through systemd-socket-activate, READY on the notify socket, and how much of
# the system the unit leaves exposed.
. "$(dirname "$0")/lib.sh"

command -v systemd-socket-activate > /dev/null || skip "systemd-socket-activate is not installed"
command -v systemd-analyze > /dev/null || skip "systemd-analyze is not installed"

# threshold is in tenths: an exposure of 0.6 at most.
expect 0 systemd-analyze security --offline=true --threshold=6 "$ROOT/systemd/hotset.service"

# The daemon starts with the first connection and answers on the socket it inherits; server.listen is not used.
socket=$WORK/activated.sock
systemd-socket-activate -l "$socket" "$HOTSET" serve --config "$WORK/empty.conf" --model "tale=$MODEL" \
    --listen "unix:$WORK/other.sock" > /dev/null 2> "$WORK/serve.log" &
DAEMON=$!
waited=0
while [ ! -S "$socket" ]; do
    waited=$((waited + 1))
    [ $waited -lt 100 ] || fail "no socket"
    sleep 0.1
done
waited=0
until "$HOTSET" run tale "Tell me a story." --socket "$socket" --config "$WORK/empty.conf" --temp 0 --max-tokens 8 \
    > "$WORK/out" 2> "$WORK/err"; do
    waited=$((waited + 1))
    [ $waited -lt 200 ] || fail "no answer on the inherited socket"
    kill -0 "$DAEMON" || fail "the daemon is gone"
    sleep 0.1
done
[ -s "$WORK/out" ] || fail "an empty answer"
[ ! -e "$WORK/other.sock" ] || fail "listens on server.listen besides the inherited socket"
kill -TERM "$DAEMON"
status=0
wait "$DAEMON" || status=$?
DAEMON=
[ $status -eq 0 ] || fail "exit status $status after SIGTERM"
