#!/bin/sh
# Exit statuses and sentences: help, wrong flags, wrong options, wrong config lines.
. "$(dirname "$0")/lib.sh"

expect 0 "$HOTSET" help
for verb in serve run ps top pack unpack verify inspect plan eval tokenize template bench sim doctor tune help version; do
    grep -q "^  $verb" "$WORK/out" || fail "help does not list $verb"
done
for verb in serve run ps top pack unpack verify inspect plan eval tokenize template bench sim doctor tune help version; do
    expect 0 "$HOTSET" $verb --help
    grep -q "^usage: hotset $verb" "$WORK/out" || fail "$verb --help"
    [ ! -s "$WORK/err" ] || fail "$verb --help writes to stderr"
    expect 0 "$HOTSET" help $verb
done
expect 0 "$HOTSET" --version
grep -q '^hotset [0-9]' "$WORK/out" || fail version
expect 0 "$HOTSET" version --json
one_line

expect 2 "$HOTSET"
expect 2 "$HOTSET" srve
says "did you mean serve?"
says "See hotset help."
expect 2 "$HOTSET" pack "$MODEL"
says "missing operand: hotset pack SRC DST"
says "See hotset pack --help."
expect 2 "$HOTSET" pack "$MODEL" a b
expect 2 "$HOTSET" eval "$MODEL" --ids "$DATA/short.ids" --gredy 3
says "unknown flag --gredy; did you mean --greedy?"
expect 2 "$HOTSET" eval "$MODEL"
says "--ids FILE or --text FILE"
expect 2 "$HOTSET" eval "$MODEL" --ids "$DATA/short.ids" --greedy x
expect 2 "$HOTSET" eval "$MODEL" --ids "$DATA/short.ids" --set cache.size=huge
says "cache.size: 'huge' is not auto, a percentage or a size"
expect 2 "$HOTSET" eval "$MODEL" --ids "$DATA/short.ids" --set cash.size=1G
says "unknown section [cash]; did you mean cache.size?"
expect 2 "$HOTSET" eval "$MODEL" --ids "$DATA/short.ids" --set cache.polcy=lru
says "unknown key 'polcy' in [cache]; did you mean cache.policy?"
expect 2 "$HOTSET" serve --model "m=$MODEL" --set model.m.contxt=5
says "did you mean context?"
for address in foo unix:relative tcp:1.2.3.4:99999 "unix:$WORK/a foo"; do
    expect 2 "$HOTSET" serve --model "m=$WORK/nowhere" --listen "$address"
    says "See hotset serve --help."
done
expect 1 "$HOTSET" serve --config "$WORK/empty.conf" --model "m=$WORK/nowhere" --set server.listen=foo
says "server.listen: foo"
expect 2 "$HOTSET" plan "$MODEL" --set memory.limit=1024T
says "memory.limit: 1024T is outside 0 B to 909.5 TiB"
expect 2 "$HOTSET" serve --model "$MODEL"
says "--model needs NAME=PATH"
expect 2 "$HOTSET" serve --model "m=$MODEL" --model "m=$WORK/nowhere"
says "two models are called m"
# What would end serve at its start is told by --check-config.
for set in server.socket_group=no-such-group server.api_key_file=/nowhere/keys server.listen=tcp:0.0.0.0:80 \
    model.m.alias=m; do
    expect 1 "$HOTSET" serve --config "$WORK/empty.conf" --check-config --model "m=$MODEL" --set "$set"
done
expect 2 "$HOTSET" bench
[ ! -s "$WORK/out" ] || fail "a usage error writes to stdout"

# The name of a published model where files are needed: told so, and what to give in its place.
cd "$WORK"
for verb in tune inspect verify template bench sim doctor "pack - x" "unpack - x" "eval - --text $0"; do
    case $verb in
    *-*) words=$(echo "$verb" | sed 's/ - / deepseek-v3 /') ;;
    *) words="$verb deepseek-v3" ;;
    esac
    # shellcheck disable=SC2086
    expect 1 "$HOTSET" $words
    says "deepseek-v3: nothing is there. It is the name of a published model, of which 'hotset plan deepseek-v3' tells"
done
expect 1 "$HOTSET" run deepseek-ai/DeepSeek-V3 hello --config "$WORK/empty.conf"
says "'hotset plan deepseek-ai/DeepSeek-V3' tells"
expect 1 "$HOTSET" serve --config "$WORK/empty.conf" --model m=deepseek-v3 --listen "unix:$WORK/sock"
says "model m: deepseek-v3: nothing is there"
expect 1 "$HOTSET" tune llama-4-scout
says "is not served: it needs chunked attention"
expect 1 "$HOTSET" tune nowhere
says "nowhere: No such file or directory"
cd "$OLDPWD"

# A wrong line in a file: file and line, status 1.
printf '[cache]\nsize = 25%%\n\n[io]\nengien = pread\n' > "$WORK/bad.conf"
expect 1 "$HOTSET" plan "$MODEL" --config "$WORK/bad.conf"
says "$WORK/bad.conf:5: unknown key 'engien' in [io]"
printf '[cache]\nnonsense\n' > "$WORK/bad.conf"
expect 1 "$HOTSET" plan "$MODEL" --config "$WORK/bad.conf"
says "$WORK/bad.conf:2:"
expect 1 "$HOTSET" plan "$MODEL" --config "$WORK/none.conf"
says "$WORK/none.conf"
expect 1 env HOTSET_CACHE_SIZE=much "$HOTSET" plan "$MODEL" --config "$WORK/empty.conf"
says "environment HOTSET_CACHE_SIZE"
expect 0 env HOTSET_CACHE_SISE=1% HOTSET_PORT=tcp://1.2.3.4:80 "$HOTSET" serve --config "$WORK/empty.conf" --print-config
says "HOTSET_CACHE_SISE in the environment sets nothing; did you mean HOTSET_CACHE_SIZE?"
if grep -q HOTSET_PORT "$WORK/err"; then fail "another program's variable"; fi

# Precedence: flag over environment over file over default.
printf '[cache]\npolicy = lru\n[io]\nread_size = 2M\n[prefetch]\nmode = off\n' > "$WORK/good.conf"
expect 0 env HOTSET_CACHE_POLICY=lfu HOTSET_IO_READ_SIZE=512k "$HOTSET" serve --config "$WORK/good.conf" \
    --set io.read_size=256k --print-config
origin() {
    grep -B 1 "^$1\$" "$WORK/out" | grep -qF -- "$2" || fail "'$1' does not come from $2"
}
origin 'policy = lfu' HOTSET_CACHE_POLICY
origin 'read_size = 256k' --set
origin 'mode = off' "$WORK/good.conf:6"
origin 'engine = auto' default
# One option through all four.
printf '[cache]\nsize = 1%%\n' > "$WORK/size.conf"
size() {
    expect 0 "$@" --print-config
    grep -A 6 '^\[cache\]' "$WORK/out" | sed -n 's/^size = //p'
}
[ "$(size "$HOTSET" serve --config "$WORK/empty.conf")" = auto ] || fail "the default"
[ "$(size "$HOTSET" serve --config "$WORK/size.conf")" = 1% ] || fail "file over default"
[ "$(size env HOTSET_CACHE_SIZE=2% "$HOTSET" serve --config "$WORK/size.conf")" = 2% ] || fail "environment over file"
[ "$(size env HOTSET_CACHE_SIZE=2% "$HOTSET" serve --config "$WORK/size.conf" --set cache.size=3%)" = 3% ] ||
    fail "flag over environment"
expect 0 env HOTSET_CACHE_POLICY=lfu HOTSET_IO_READ_SIZE=512k "$HOTSET" serve --config "$WORK/good.conf" \
    --set io.read_size=256k --print-config
# What is printed can be loaded again.
grep -v '^#' "$WORK/out" > "$WORK/a"
cp "$WORK/out" "$WORK/printed.conf"
expect 0 "$HOTSET" serve --config "$WORK/printed.conf" --print-config
grep -v '^#' "$WORK/out" > "$WORK/b"
cmp "$WORK/a" "$WORK/b" || fail "the printed configuration is not what is loaded from it"

# No model, no such model, a file that is no model.
expect 1 "$HOTSET" serve --config "$WORK/empty.conf"
says "no model to serve"
expect 1 "$HOTSET" inspect "$WORK/nowhere"
says "$WORK/nowhere"
expect 1 "$HOTSET" run "$WORK/nowhere" hello --config "$WORK/empty.conf"
mkdir "$WORK/empty"
expect 1 "$HOTSET" inspect "$WORK/empty"
says "neither a packed model"

# stdout that cannot be written.
if [ -w /dev/full ]; then
    got=0
    "$HOTSET" help > /dev/full 2> "$WORK/err" || got=$?
    [ $got -eq 1 ] || fail "a full stdout is not noticed"
    says "stdout"
fi
