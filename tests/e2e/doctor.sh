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
grep -q ' model  *m: fits' "$WORK/out" || fail "the configuration's model"

# Every drive that a model lies on is looked at.
if shm=$(mktemp -d /dev/shm/hotset-e2e-XXXXXX 2> /dev/null) && [ "$(stat -c %d "$shm")" != "$(stat -c %d "$MODEL")" ]; then
    mkdir "$WORK/spread"
    cp "$MODEL/model.safetensors" "$shm/"
    ln -s "$MODEL"/*.json "$shm/model.safetensors" "$WORK/spread/"
    head -c 2M /dev/zero > "$WORK/spread/other"
    expect 0 "$HOTSET" doctor "$WORK/spread" --config "$WORK/empty.conf"
    [ "$(grep -c '^[A-Z]*  *drive ' "$WORK/out")" -eq 2 ] || fail "one of two drives is not looked at"
    [ "$(grep -c '^[A-Z]*  *O_DIRECT ' "$WORK/out")" -eq 2 ] || fail "one of two drives is not read from"
fi
rm -rf "$shm"

# Models share the memory, and each has its own section: what doctor says is what serve plans.
printf '[model one]\npath = %s\ncache = 30%%\n[model two]\npath = %s/\ncontext = 64\n' "$MODEL" "$MODEL" > "$WORK/two.conf"
experts() {
    sed -n "s/.* $1: fits.* \([0-9]*\) of 320 experts.*/\1/p" "$WORK/out"
}
expect 0 "$HOTSET" doctor --config "$WORK/two.conf"
[ "$(experts one)" = 96 ] && [ "$(experts two)" = 320 ] || fail "the sections are not heard"
expect 0 "$HOTSET" doctor --config "$WORK/two.conf" "$MODEL"
[ "$(experts one)" = 96 ] && [ -z "$(experts two)" ] || fail "one of the configuration"
expect 0 "$HOTSET" doctor --config "$WORK/two.conf" "$MODEL/."
grep -q ' model  *fits.* 320 of 320 experts' "$WORK/out" || fail "one that is not of the configuration"
# A limit that is enough for each of them, not for both.
floor=$("$HOTSET" plan "$MODEL" --json --config "$WORK/empty.conf" | sed 's/.*"floor": *\([0-9]*\).*/\1/')
limit=$((floor + 6000000))
expect 0 "$HOTSET" doctor "$MODEL" --config "$WORK/empty.conf" --set "memory.limit=$limit"
expect 1 "$HOTSET" doctor --config "$WORK/two.conf" --set "memory.limit=$limit"
grep '^FAIL  model' "$WORK/out" | grep -q 'model one.*floor\|model one.*cache' || fail "models that do not fit together"
grep -q 'two: not planned, because one does not fit' "$WORK/out" || fail "the other one"
expect 1 "$HOTSET" serve --check-config --config "$WORK/two.conf" --set "memory.limit=$limit"
printf '[model m]\ncontext = 64\n' > "$WORK/pathless.conf"
expect 1 "$HOTSET" doctor --config "$WORK/pathless.conf"
grep -q '^FAIL  model .*\[model m\] has no path' "$WORK/out" || fail "a section without path"
expect 2 "$HOTSET" doctor a b
