#!/bin/sh
# The daemon as a service: systemd's socket activation, and how exposed the unit is.
. "$(dirname "$0")/lib.sh"

command -v systemd-socket-activate > /dev/null || skip "systemd-socket-activate is not installed"

systemd-analyze security --offline=true --threshold=5 "$ROOT/systemd/hotset.service" > "$WORK/out" 2>&1 ||
    fail "hotset.service is more exposed than 0.5"

# The first connection starts the daemon, which takes the socket over: no address of its own, and the file stays.
ask() {
    "$HOTSET" run tale "Once" --config "$WORK/empty.conf" --temp 0 --max-tokens 5 --socket "$SOCKET"
}
systemd-socket-activate -l "$SOCKET" "$HOTSET" serve --config "$WORK/empty.conf" --listen unix:/nowhere/at/all \
    --model "tale=$MODEL" --set cache.size=25% > "$WORK/serve.out" 2> "$WORK/serve.log" &
DAEMON=$!
tries=0
until ask > "$WORK/out" 2> "$WORK/err"; do
    kill -0 "$DAEMON" 2> /dev/null || fail "the daemon ended while starting"
    tries=$((tries + 1))
    [ $tries -lt 300 ] || fail "no answer after half a minute"
    sleep 0.1
done
[ -s "$WORK/out" ] || fail "no answer"
grep -q "listening on unix:$SOCKET (inherited)" "$WORK/serve.log" || fail "the socket was not inherited"
stop_daemon
[ -S "$SOCKET" ] || fail "the inherited socket is gone"
