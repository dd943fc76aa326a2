#!/bin/sh
# A conversation on a terminal, and what inspect and plan say to people.
. "$(dirname "$0")/lib.sh"

expect 0 "$HOTSET" inspect "$MODEL"
for text in "deepseek_v3, safetensors" "used per token" "always needed" "one token uses" "experts.N.gate_proj.weight" F8_E4M3; do
    grep -qiF -- "$text" "$WORK/out" || fail "inspect lacks '$text'"
done
expect 0 "$HOTSET" pack "$MODEL" "$WORK/packed" --codec zstd
expect 0 "$HOTSET" inspect "$WORK/packed"
grep -qF "deepseek_v3, packed" "$WORK/out" || fail "inspect does not say packed"
# An architecture that this build does not run: its tensors are shown all the same.
mkdir "$WORK/other"
cp "$MODEL/model.safetensors" "$WORK/other/"
echo '{"model_type": "brand_new", "architectures": ["BrandNewForCausalLM"]}' > "$WORK/other/config.json"
expect 0 "$HOTSET" inspect "$WORK/other"
says note
grep -qF "an architecture this build does not run" "$WORK/out" || fail "inspect of a foreign architecture"
expect 0 "$HOTSET" inspect "$WORK/other" --json
one_line

expect 0 "$HOTSET" plan "$MODEL" --config "$WORK/empty.conf" --set cache.size=100%
grep -q "every expert fits" "$WORK/out" || fail "plan: every expert fits"
expect 0 "$HOTSET" plan "$MODEL" --config "$WORK/empty.conf" --set cache.size=25%
grep -q "expected: hit rate 0.4" "$WORK/out" || fail "plan: the hit rate of a quarter"
expect 1 "$HOTSET" plan "$MODEL" --config "$WORK/empty.conf" --ram 8M
grep -q floor "$WORK/out" || fail "plan under the floor: no figures"
! grep -q expected "$WORK/out" || fail "plan under the floor expects something"

# Everything that run takes, at the daemon's default address.
printf '[server]\nlisten = unix:%s\n' "$SOCKET" > "$WORK/listen.conf"
expect 1 "$HOTSET" run tale "Once" --config "$WORK/listen.conf"
says "start hotset serve, or give the path"
expect 1 "$HOTSET" run "$MODEL" --config "$WORK/empty.conf" < /dev/null
says "stdin holds no prompt"
printf '\377\376' > "$WORK/in"
got=0
"$HOTSET" run "$MODEL" --config "$WORK/empty.conf" < "$WORK/in" > "$WORK/out" 2> "$WORK/err" || got=$?
[ $got -eq 1 ] || fail "a prompt that is no text is taken"
says "not UTF-8"

command -v script > /dev/null || skip "script (a pseudo terminal) is not installed"
start_daemon --model "tale=$WORK/packed" --set cache.size=25%
mkfifo "$WORK/keys"
# A relative socket path, as typed.
(cd "$WORK" && exec script -qefc "$HOTSET run tale --config $WORK/empty.conf --socket api.sock --temp 0 --max-tokens 24 --system 'Be brief.'" \
    "$WORK/typescript" < "$WORK/keys" > "$WORK/screen" 2> "$WORK/err") &
talk=$!
exec 3> "$WORK/keys"
# shows N TEXT : the screen has it N times within a minute
shows() {
    tries=0
    until [ "$(grep -cF -- "$2" "$WORK/screen")" -ge "$1" ]; do
        tries=$((tries + 1))
        [ $tries -lt 600 ] || fail "the terminal does not show '$2' $1 times: $(cat "$WORK/screen")"
        kill -0 $talk 2> /dev/null || fail "the conversation has ended: $(cat "$WORK/screen")"
        sleep 0.1
    done
}
shows 1 "/clear forgets the conversation"
printf 'Tell me a story about a fox.\n' >&3
shows 1 "generated tokens"
printf '\nAnd a king?\n' >&3
shows 2 "generated tokens"
# What has been said before counts as prompt, until it is forgotten.
printf '/clear\nTell me a story about a fox.\n' >&3
shows 3 "generated tokens"
printf '\003' >&3
shows 1 "/exit or Ctrl-D ends."
printf '/exit\n' >&3
got=0
wait $talk || got=$?
exec 3>&-
[ $got -eq 0 ] || fail "the conversation ends with $got"
grep -o '[0-9]* prompt +' "$WORK/screen" > "$WORK/prompts"
first=$(sed -n '1s/ .*//p' "$WORK/prompts")
second=$(sed -n '2s/ .*//p' "$WORK/prompts")
third=$(sed -n '3s/ .*//p' "$WORK/prompts")
[ "$second" -gt $((first + 20)) ] || fail "the second prompt of $second tokens lacks the first turn of $first"
[ "$third" -eq "$first" ] || fail "after /clear the prompt has $third tokens instead of $first"
stop_daemon
