#!/bin/sh
# tokenize and template on a folder that holds only tokenizer files, and on a GGUF file.
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

# A GGUF file brings its own vocabulary and template, and keeps them when it is packed.
"$HOTSET" pack "$ROOT/tests/data/gguf/mixtral-bf16.gguf" "$WORK/packed" > /dev/null 2>&1 || fail pack
for model in "$ROOT/tests/data/gguf/mixtral-bf16.gguf" "$WORK/packed"; do
    printf 'Once upon a time <|end|>' > "$WORK/in"
    "$HOTSET" tokenize "$model" < "$WORK/in" > "$WORK/ids" || fail "tokenize $model"
    [ "$(cat "$WORK/ids")" = "46 404 328 414 261 258 72 76 68 220 498" ] || fail "ids: $(cat "$WORK/ids")"
    "$HOTSET" tokenize "$model" --decode < "$WORK/ids" > "$WORK/out" || fail "decode $model"
    cmp "$WORK/out" "$WORK/in" || fail "text of $model"
    echo '{"messages": [{"role": "user", "content": "hi"}], "add_generation_prompt": true}' > "$WORK/chat"
    "$HOTSET" template "$model" < "$WORK/chat" > "$WORK/out" || fail "template $model"
    [ "$(cat "$WORK/out")" = '<|user|>hi<|end|><|assistant|>' ] || fail "rendered: $(cat "$WORK/out")"
    printf '{{ eos_token }}{{ bos_token }}' > "$WORK/t.jinja"
    "$HOTSET" template "$model" --template "$WORK/t.jinja" < "$WORK/chat" > "$WORK/out" || fail "--template $model"
    [ "$(cat "$WORK/out")" = '<|end|><|begin|>' ] || fail "rendered: $(cat "$WORK/out")"
    expect 0 "$HOTSET" run "$model" hello --max-tokens 4 --config "$WORK/empty.conf"
done

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
