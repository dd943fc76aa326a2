#!/bin/sh
# What a daemon has used is in memory when the next one is ready, and its answers are the same; a file that is damaged
# or cannot be written is a warning. A request may bring a profile. SIGHUP gives the cache another limit.
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

# A request names a profile: its uses are that one's, and what it used most comes back when it does, after a restart,
# too. Same answers. `told` is about a profile's own story.
told() { # PROFILE QUESTION TOKENS
    expect 0 "$HOTSET" run tale "$2" --config "$WORK/empty.conf" --temp 0 --max-tokens "$3" --socket "$SOCKET" \
        --expert-profile "$1"
}
picture() { # KEY of profile NAME
    "$HOTSET" ps --config "$WORK/empty.conf" --socket "$SOCKET" --json > "$WORK/out"
    grep -o "{\"name\": *\"$2\"[^}]*}" "$WORK/out" | sed "s/.*\"$1\": *\([0-9]*\).*/\1/"
}
# quiet : nothing is being read
quiet() {
    before=
    while "$HOTSET" ps --config "$WORK/empty.conf" --socket "$SOCKET" --json > "$WORK/out"; do
        now=$(grep -o '"speculative_bytes": *[0-9]*' "$WORK/out")
        [ "$now" = "$before" ] && break
        before=$now
        sleep 0.3
    done
}
# visit PROFILE : the daemon begins anew, hears of the profile, has a moment, and tells its story: misses of that
visit() {
    serve --set cache.size=50% --set prefetch.mode=off
    for q in "Once upon a time" "Tell me of the sea."; do told default "$q" 40; done
    told "$1" "A" 1
    quiet
    before_misses=$(picture misses "$1")
    told "$1" "$fox" 60
    cmp -s "$WORK/out" "$WORK/fox" || fail "another answer with profile $1"
    misses=$(($(picture misses "$1") - before_misses))
    stop_daemon
}
fox="Tell me a story about a fox and a king."
serve --set cache.size=50%
told fox "$fox" 60
cp "$WORK/out" "$WORK/fox"
told fox "$fox" 60
told sea "Tell me of the sea." 60
[ "$(picture requests fox)" = 2 ] && [ "$(picture requests sea)" = 1 ] || fail "requests of profiles"
for bad in "" "no/name" "$(printf '%041d' 0)"; do
    expect 1 "$HOTSET" run tale "x" --config "$WORK/empty.conf" --socket "$SOCKET" --expert-profile "$bad"
    says "expert_profile"
done
# Most of them, and one more.
stop_daemon
for i in $(seq 28); do cp "$(echo "$STATE"/heat-*-fox)" "$(echo "$STATE"/heat-*-fox | sed 's/fox$//')many$i"; done
serve --set cache.size=50%
told many29 "A" 1
expect 1 "$HOTSET" run tale "x" --config "$WORK/empty.conf" --socket "$SOCKET" --expert-profile many30
says "one more than the 32"
told fox "$fox" 60
cmp -s "$WORK/out" "$WORK/fox" || fail "another answer"
# What requests without a name count for changes by SIGHUP.
printf '[model tale]\npath = %s\nexpert_profile = sea\n' "$MODEL" > "$WORK/empty.conf"
kill -HUP "$DAEMON"
logged 'configuration'
ask
[ "$(picture requests sea)" = 1 ] || fail "expert_profile is not reloaded"
printf '[model tale]\npath = %s\nexpert_profile = many31\n' "$MODEL" > "$WORK/empty.conf"
kill -HUP "$DAEMON"
logged 'one more than the 32'
: > "$WORK/empty.conf"
stop_daemon
ls "$STATE"/heat-*-fox "$STATE"/heat-*-sea > /dev/null || fail "profiles are not kept"
rm -f "$STATE"/heat-*-many*
visit fox
with=$misses
visit new
[ "$with" -lt "$misses" ] || fail "$with misses with its profile, $misses without"
echo "$with misses with the profile, $misses without"
rm -f "$STATE"/heat-*-[fsn]*

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
limit $(($(planned_mib) - 20))M
logged 'room for [0-9]* experts instead of 320'
ask
limit 10M
logged 'the configuration stays as it was: memory.limit of 10.0 MiB is under'
limit auto
logged 'memory is there again'
ask
grep -q 'which only a restart applies' "$WORK/serve.log" && fail "an option that was reloaded"
printf '[cache]\nsize = 50%%\n[log]\nlevel = debug\n' > "$WORK/empty.conf"
kill -HUP "$DAEMON"
logged 'warning: the configuration has another cache.size, which only a restart applies'
stop_daemon
