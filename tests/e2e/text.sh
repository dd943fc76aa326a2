#!/bin/sh
# tokenize and template on a folder that holds only tokenizer files.
. "$(dirname "$0")/lib.sh"

mkdir "$WORK/text"
cp "$MODEL/tokenizer.json" "$MODEL/tokenizer_config.json" "$WORK/text/"
for name in short oz unicode; do
    "$HOTSET" tokenize "$WORK/text" < "$DATA/$name.txt" > "$WORK/out" || fail "tokenize $name"
    cmp "$WORK/out" "$DATA/$name.ids" || fail "ids of $name"
    "$HOTSET" tokenize "$WORK/text" --decode < "$DATA/$name.ids" > "$WORK/out" || fail "decode $name"
    cmp "$WORK/out" "$DATA/$name.txt" || fail "text of $name"
done
printf '["Once upon", "", "a\\u0000b"]' > "$WORK/in"
"$HOTSET" tokenize "$WORK/text" --json < "$WORK/in" > "$WORK/ids" || fail "tokenize --json"
[ "$(wc -l < "$WORK/ids")" -eq 1 ] || fail "not one line"
"$HOTSET" tokenize "$WORK/text" --json --decode < "$WORK/ids" > "$WORK/out" || fail "decode --json"
[ "$(cat "$WORK/out")" = '["Once upon","","a\u0000b"]' ] || fail "there and back: $(cat "$WORK/out")"

cat > "$WORK/chat" <<'JSON'
{"messages": [{"role": "user", "content": "Tell me a story about a fox and a king."}], "add_generation_prompt": true}
JSON
"$HOTSET" template "$WORK/text" < "$WORK/chat" > "$WORK/out" || fail template
cmp "$WORK/out" "$DATA/short.txt" || fail "rendered prompt"
printf '{{ strftime_now("%%Y-%%m-%%d %%H:%%M") }} {{ bos_token }}{{ colour }}' > "$WORK/t.jinja"
echo '{"messages": [], "chat_template_kwargs": {"colour": "red"}}' > "$WORK/chat"
"$HOTSET" template "$WORK/text" --template "$WORK/t.jinja" --now 2031-02-03T04:05:06 < "$WORK/chat" > "$WORK/out" ||
    fail "template --template --now"
[ "$(cat "$WORK/out")" = '2031-02-03 04:05 <｜begin▁of▁sentence｜>red' ] || fail "rendered: $(cat "$WORK/out")"

# Bad input: a sentence with its place, status 1.
bad() {
    printf '%s' "$1" > "$WORK/in"
    shift
    got=0
    "$HOTSET" "$@" < "$WORK/in" > "$WORK/out" 2> "$WORK/err" || got=$?
    [ $got -eq 1 ] || fail "status $got: $*"
}
bad '["a", 3]' tokenize "$WORK/text" --json
says "item 1 is not a string"
bad '[[1, -2]]' tokenize "$WORK/text" --json --decode
says "item 0, place 1"
bad '{"a"' tokenize "$WORK/text" --json
says "stdin: line 1"
bad '1 x' tokenize "$WORK/text" --decode
says "line 1: 'x'"
bad '{}' template "$WORK/text"
says "messages is missing"
bad '{"messages": 3}' template "$WORK/text"
says "messages must be a list"
printf 'a\n{%% if %%}' > "$WORK/t.jinja"
bad '{"messages": []}' template "$WORK/text" --template "$WORK/t.jinja"
says "t.jinja"
expect 2 "$HOTSET" template "$WORK/text" --now yesterday
says "--now needs a time"
