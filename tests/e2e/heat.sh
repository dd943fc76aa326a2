#!/bin/sh
# What a daemon has used is in memory when the next one is ready, and its answers are the same; a file that is damaged
# or cannot be written is a warning. SIGHUP gives the cache another limit.
. "$(dirname "$0")/lib.sh"

STATE=$WORK/state
serve() {
    start_daemon --model "tale=$MODEL" --set "state.dir=$STATE" --set cache.size=50% "$@"
}
ask() {
    expect 0 "$HOTSET" run tale "Once upon a time" --config "$WORK/empty.conf" --temp 0 --max-tokens 30 --socket "$SOCKET"
    [ -s "$WORK/out" ] || fail "no answer"
    if [ -s "$WORK/golden" ]; then
        cmp -s "$WORK/golden" "$WORK/out" || fail "another answer"
    else
        cp "$WORK/out" "$WORK/golden"
    fi
}
logged() {
    tries=0
    until grep -q "$1" "$WORK/serve.log"; do
        tries=$((tries + 1))
        [ $tries -lt 300 ] || fail "the log lacks '$1'"
        sleep 0.1
    done
}

serve
grep -q 'read ahead' "$WORK/serve.log" && fail "read ahead without having learnt anything"
ask
stop_daemon
[ "$(ls "$STATE" | grep -c '^heat-.*-default$')" -eq 1 ] || fail "nothing was kept"

serve
logged 'model tale: [1-9][0-9]* of [1-9][0-9]* experts that were used most before have been read ahead'
ask
stop_daemon

serve --set cache.preload_seconds=0
grep -q 'read ahead' "$WORK/serve.log" && fail "read ahead although it is off"
stop_daemon
serve --set model.tale.expert_profile=other
grep -q 'read ahead' "$WORK/serve.log" && fail "another profile's experts were read ahead"
stop_daemon

for f in "$STATE"/heat-*-default; do printf 'nonsense' > "$f"; done
serve
logged "warning: $STATE/heat-.*: not a file of expert uses"
ask
stop_daemon
serve
logged 'read ahead' # it was written anew
stop_daemon

rm -rf "$STATE"
: > "$STATE" # not a folder
serve
ask
stop_daemon
logged 'warning: which experts are used is not remembered'

# memory.limit, live: lower, under the floor, and back
rm -f "$STATE"
start_daemon --model "tale=$MODEL" --set "state.dir=$STATE" --set log.level=debug
limit() {
    printf '[memory]\nlimit = %s\n[log]\nlevel = debug\n' "$1" > "$WORK/empty.conf"
    kill -HUP "$DAEMON"
}
ask
limit 215M
logged 'room for [0-9]* experts instead of 320'
ask
limit 10M
logged 'the configuration stays as it was: memory.limit of 10.0 MiB is under'
limit auto
logged 'memory is there again'
ask
stop_daemon
