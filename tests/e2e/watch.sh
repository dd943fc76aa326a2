#!/bin/sh
# ps and top: what a daemon says of itself, before, during and after it runs.
. "$(dirname "$0")/lib.sh"

expect 1 "$HOTSET" ps --config "$WORK/empty.conf" --socket "$SOCKET"
says "no server at unix:$SOCKET"
expect 1 "$HOTSET" top --once --config "$WORK/empty.conf" --socket "$SOCKET"
says "no server at unix:$SOCKET"
expect 2 "$HOTSET" ps tale
expect 2 "$HOTSET" top --interval 0

start_daemon --model "tale=$MODEL" --set cache.size=25%
expect 0 "$HOTSET" ps --config "$WORK/empty.conf" --socket "$SOCKET"
grep -q '^tale  *loaded  *0/80 ' "$WORK/out" || fail "ps"
[ ! -s "$WORK/err" ] || fail "ps writes to stderr"
# The address comes from server.listen too.
printf '[server]\nlisten = unix:%s\n' "$SOCKET" > "$WORK/listen.conf"
expect 0 "$HOTSET" ps --config "$WORK/listen.conf" --json
one_line
[ "$(field generated_tokens)" = 0.0 ] && [ "$(field slots)" = 80.0 ] || fail "ps --json"

"$HOTSET" run tale "Tell me a story." --temp 0 --max-tokens 20 --config "$WORK/listen.conf" > /dev/null 2>&1
expect 0 "$HOTSET" top --config "$WORK/listen.conf" --interval 0.1 --json
one_line
[ "$(field generated_tokens)" = 20.0 ] || fail "top counts $(field generated_tokens) tokens"
[ "$(field decode_tokens_per_s)" = 0.0 ] || fail "an idle daemon decodes"
# stdout that is no terminal: one picture, without control characters.
expect 0 "$HOTSET" top --config "$WORK/listen.conf" --interval 0.1
grep -q 'of 320 experts in memory' "$WORK/out" || fail "top"
if LC_ALL=C grep -q "$(printf '\033')" "$WORK/out"; then fail "control characters in a file"; fi
# Every model's every layer.
expect 0 "$HOTSET" ps --config "$WORK/listen.conf" --json
grep -o '"resident":[0-9.]*' "$WORK/out" | awk -F: '/\./ { all = $2; next } { sum += $2; n++ }
    END { exit !(n > 0 && sum == all) }' || fail "the layers' experts are not those of the cache"

# A terminal: q ends it, and the terminal is as before.
if command -v script > /dev/null; then
    : > "$WORK/out"
    (
        tries=0
        until grep -q 'tale (deepseek_v3)' "$WORK/out" || [ $tries -gt 600 ]; do
            sleep 0.1
            tries=$((tries + 1))
        done
        printf q
        until grep -q ' icanon\|-icanon' "$WORK/out" || [ $tries -gt 1200 ]; do # stdin stays open: q ends it, not its end
            sleep 0.1
            tries=$((tries + 1))
        done
    ) | timeout 120 script -qefc "$HOTSET top --config $WORK/listen.conf --interval 0.2; stty -a" \
        /dev/null > "$WORK/out" || fail "q does not end top"
    grep -q ' icanon' "$WORK/out" || fail "the terminal is not put back"
    grep -q 'tale (deepseek_v3)' "$WORK/out" || fail "the live view is empty"
fi
stop_daemon
expect 1 "$HOTSET" ps --config "$WORK/listen.conf"
# A server that is no daemon.
if command -v python3 > /dev/null; then
    python3 - "$WORK/odd.sock" << 'END' &
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen(4)
body = b"hotset_ready\x1b[2J"
while True:
    c, _ = s.accept()
    c.recv(4096)
    c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    c.close()
END
    DAEMON=$!
    while [ ! -S "$WORK/odd.sock" ]; do sleep 0.05; done
    expect 1 "$HOTSET" ps --config "$WORK/empty.conf" --socket "$WORK/odd.sock"
    says "odd.sock: /v1/models"
fi
