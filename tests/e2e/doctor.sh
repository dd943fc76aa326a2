#!/bin/sh
# doctor: what fits, what does not, and which mistake is whose.
. "$(dirname "$0")/lib.sh"

expect 0 "$HOTSET" doctor "$MODEL" --config "$WORK/empty.conf"
grep -q '^OK    model ' "$WORK/out" || grep -q '^WARN  model ' "$WORK/out" || fail "the model"
grep -q '^OK    config ' "$WORK/out" || fail "the configuration"
[ ! -e "$WORK/learnt" ] || fail "doctor changes something"
expect 0 "$HOTSET" doctor --config "$WORK/empty.conf" --json
one_line
[ "$(field failures)" = 0 ] || fail "failures"
expect 1 "$HOTSET" doctor "$MODEL" --config "$WORK/empty.conf" --set memory.limit=8M
grep '^FAIL  model' "$WORK/out" | grep -q floor || fail "a model that does not fit"
expect 1 "$HOTSET" doctor "$WORK/nowhere" --config "$WORK/empty.conf"
grep -q '^FAIL  model .*nowhere' "$WORK/out" || fail "a model that is not there"
printf '[cache]\nsise = 1\n' > "$WORK/bad.conf"
expect 1 "$HOTSET" doctor --config "$WORK/bad.conf" --json
one_line
[ "$(field failures)" = 1 ] || fail "a bad configuration"
printf '[model m]\npath = %s\n' "$MODEL" > "$WORK/model.conf"
expect 0 "$HOTSET" doctor --config "$WORK/model.conf"
grep -q ' model  *fits' "$WORK/out" || fail "the configuration's model"
expect 2 "$HOTSET" doctor a b
