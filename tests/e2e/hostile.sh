#!/bin/sh
# labels: e2e fault
# Model folders that lie: every verb refuses them with one sentence that names file and field, exit status 1, within
# seconds and in bounded memory, and leaves nothing behind.
. "$(dirname "$0")/lib.sh"

ST=model.safetensors
INDEX=model.safetensors.index.json
n_cases=0

# folder : a new $M that is the model, by symbolic links
folder() {
    n_cases=$((n_cases + 1))
    M=$WORK/case$n_cases
    mkdir "$M"
    ln -s "$MODEL"/*.json "$MODEL/$ST" "$M/"
}
# put NAME : stdin becomes that file of $M
put() {
    rm -f "$M/$1"
    cat > "$M/$1"
}
le64() {
    _n=$1
    for _i in 1 2 3 4 5 6 7 8; do
        printf "$(printf '\\%03o' $((_n & 255)))"
        _n=$((_n >> 8))
    done
}
# header TEXT [DATA-BYTES [LENGTH]] : a safetensors file
header() {
    { le64 "${3:-${#1}}" && printf %s "$1" && head -c "${2:-0}" /dev/zero; } | put $ST
}
# many N FORMAT : the numbers below N through a printf format, commas between
many() {
    awk -v n="$1" -v f="$2" 'BEGIN { for (i = 0; i < n; i++) { if (i) printf ","; printf f, i, i } }'
}
# repeat N TEXT
repeat() {
    awk -v n="$1" -v t="$2" 'BEGIN { for (i = 0; i < n; i++) printf "%s", t }'
}
# tensor NAME SHAPE OFFSETS : an entry of a header
tensor() {
    printf '"%s":{"dtype":"F32","shape":[%s],"data_offsets":[%s]}' "$1" "$2" "$3"
}
bounded() {
    (
        [ -n "${SANITIZED:-}" ] || ulimit -v 1500000
        exec timeout 60 "$@"
    )
}
# refused "VERB..." TEXT... : each verb, each text in its sentence
refused() {
    verbs=$1
    shift
    turn=$n_cases
    for verb in $verbs; do
        # A sanitizer's process takes a while to start: every second verb there, by turns.
        turn=$((turn + 1))
        [ -z "${SANITIZED:-}" ] || [ $((turn % 2)) -eq 0 ] || [ "$verb" = "$verbs" ] || continue
        config="--config $WORK/empty.conf"
        case $verb in
            inspect | verify) set_words="$verb $M" ;;
            plan) set_words="plan $M $config" ;;
            pack | unpack) set_words="$verb $M $WORK/new" ;;
            eval) set_words="eval $M $config --ids $DATA/short.ids --logits $WORK/new" ;;
            run) set_words="run $M hello $config --max-tokens 1" ;;
            bench) set_words="bench $M $config --prompt 2 --gen 1" ;;
            serve) set_words="serve $config --model m=$M --listen unix:$SOCKET" ;;
            *) set_words="$verb $M" ;;
        esac
        echo '{"messages": [{"role": "user", "content": "hi"}]}' > "$WORK/in"
        expect 1 bounded "$HOTSET" $set_words < "$WORK/in"
        for text in "$@"; do
            says "$text"
        done
        [ "$verb" = serve ] || [ "$(wc -l < "$WORK/err")" -eq 1 ] || fail "$verb says more than a sentence"
        if LC_ALL=C grep -q "[$(printf '\001')-$(printf '\010')$(printf '\033')]" "$WORK/err"; then
            fail "control characters on stderr"
        fi
        [ ! -e "$WORK/new" ] && [ ! -e "$SOCKET" ] || fail "$verb left something behind"
        [ -z "$(find "$WORK" -maxdepth 1 -name 'new*')" ] || fail "$verb left a temporary file behind"
    done
}
MODELS="inspect plan eval bench run serve"
ANY="inspect eval pack verify"

# ---- safetensors ----

for length in -1 $((1 << 62)) 100000001 99999999 11 0; do
    folder
    header '{"a":{}}' 0 $length
    refused "$ANY" "$M/$ST"
done
folder
head -c 7 /dev/zero | put $ST
refused "$ANY $MODELS" "$M/$ST: too short"
folder
header "{\"a\":$(repeat 20000 '[')"
refused "$ANY" "$M/$ST" "tensor a"
folder
header "{\"__metadata__\":$(repeat 20000 '{\"a\":')"
refused "$ANY" "$M/$ST"
folder
header "{$(tensor a 2 0,8),$(tensor b 2 4,12)}" 12
refused "$ANY" "$M/$ST" "tensor b overlaps"
folder
header "{$(tensor a 1 0,4),$(tensor b 1 8,12)}" 12
refused "$ANY" "$M/$ST"
folder
header "{$(tensor a 1 0,4),$(tensor a 1 4,8)}" 8
refused "$ANY" "tensor a appears twice"
for bad in "4611686018427387905 0,4" "1 18446744073709551612,18446744073709551616" "1 8,4" "1 0,99" "NaN 0,4" "-1 0,4" \
    "1.5 0,4" "1,1,1,1,1,1,1,1,1 0,4" "1 0" "18446744073709551615,18446744073709551615 0,4"; do
    folder
    header "{$(tensor a "${bad% *}" "${bad#* }")}" 8
    refused "$ANY" "$M/$ST" "tensor a"
done
for type in '"F31"' 7 null '"F4"'; do
    folder
    header "{\"a\":{\"dtype\":$type,\"shape\":[1],\"data_offsets\":[0,4]}}" 4
    refused "inspect pack" "$M/$ST" "tensor a"
done
folder
header "{$(tensor "a$(printf '\\u001b')[31m$(printf '\\n')b" 1 9,4)}" 8
refused "$ANY" "a?[31m?b" "$M/$ST"
folder
{ printf '{' && many 300000 '"t%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}' && printf '}'; } > "$WORK/header"
{ le64 "$(wc -c < "$WORK/header")" && cat "$WORK/header"; } | put $ST
refused "$MODELS" model.embed_tokens.weight
folder
header '{}'
refused "$MODELS" "the files have 0 tensors"

# ---- config.json ----

# config SED-SCRIPT
config() {
    sed "$1" "$MODEL/config.json" | put config.json
}
while read -r field value; do
    folder
    config "s/\"$field\": *[^,]*/\"$field\": $value/"
    refused "$MODELS" "$M/config.json" "$field"
done << 'END'
hidden_size -1
hidden_size "256"
n_routed_experts 4611686018427387904
num_experts_per_tok 65
num_hidden_layers 1.5
vocab_size []
rms_norm_eps "x"
rope_theta -1
kv_lora_rank null
END
folder
config 's/"num_hidden_layers": *[^,]*/"num_hidden_layers": 99999999999999999999999999/'
refused "$MODELS" "$M/config.json: line"
folder
config 's/"hidden_size": *[^,]*/"hidden_size": 3/'
refused "$MODELS" "config.json implies"
for name in config.json generation_config.json $INDEX manifest.json; do
    folder
    repeat 1000000 '[' | put $name
    refused "$ANY" "$M/$name"
    folder
    { printf '{"a":[' && repeat 1200000 '{},' && printf '{}]}'; } | put $name
    refused "$ANY" "$M/$name"
    folder
    echo '[]' | put $name
    [ $name = manifest.json ] || refused "$ANY" "$M/$name" # a manifest that is not ours is another tool's
    folder
    : | put $name
    refused "$ANY" "$M/$name"
    folder
    rm -f "$M/$name"
    mkfifo "$M/$name"
    refused "$ANY" "$M/$name: not a regular file"
    folder
    rm -f "$M/$name"
    ln -s /dev/zero "$M/$name"
    refused "$ANY" "$M/$name: not a regular file"
    folder
    rm -f "$M/$name"
    mkdir "$M/$name"
    refused "$ANY" "$M/$name: not a regular file"
    folder
    ln -sf nothing "$M/$name"
    refused "$ANY" "$M/$name: No such file"
    folder
    ln -sf $name "$M/$name"
    refused "$ANY" "$M/$name: Too many levels"
    folder
    echo '{}' | put $name
    dd if=/dev/null of="$M/$name" bs=1 seek=4000000000 2> /dev/null
    refused "$ANY" "$M/$name: 4000000000 bytes"
done
folder
{ printf '{' && many 1000000 '"%d":0' && printf '}'; } | put config.json
refused "$MODELS" "$M/config.json"
folder
rm "$M/config.json"
refused "$ANY $MODELS" "$M/config.json"
folder
config 's/"eos_token_id": *[^,]*/"eos_token_id": 4096/'
refused "$MODELS" "$M/config.json: eos_token_id"
folder
echo '{"eos_token_id": [1, "x"]}' | put generation_config.json
refused "$MODELS" "generation_config.json: eos_token_id"

# ---- the index ----

for name in ../model.safetensors /etc/passwd . .. '' a/b; do
    folder
    echo "{\"weight_map\": {\"some.weight\": \"$name\"}}" | put $INDEX
    refused "$ANY" "$M/$INDEX: weight_map.some.weight is not a plain file name"
done
folder
echo '{"weight_map": {"some.weight": 7}}' | put $INDEX
refused "$ANY" "$M/$INDEX: weight_map.some.weight"
folder
echo '{"weight_map": {"some.weight": "none.safetensors"}}' | put $INDEX
refused "$ANY" none.safetensors
folder
mkfifo "$M/pipe.safetensors"
echo '{"weight_map": {"some.weight": "pipe.safetensors"}}' | put $INDEX
refused "$ANY" "pipe.safetensors: not a regular file"
folder
{ printf '{"weight_map": {' && many 5000 '"a%d":"f%d.safetensors"' && printf '}}'; } | put $INDEX
refused "$ANY" "$M/$INDEX"

# ---- tokenizer and template ----

TEXT="tokenize run serve"
# tokenizer SED-SCRIPT
tokenizer() {
    sed "$1" "$MODEL/tokenizer.json" | put tokenizer.json
}
folder
repeat 1000000 '[' | put tokenizer.json
refused "$TEXT" "$M/tokenizer.json"
folder
{ printf '{"model":' && repeat 100000 '{"a":' ; } | put tokenizer.json
refused "$TEXT" "$M/tokenizer.json"
folder
tokenizer 's/"merges"/"mergers"/'
refused "$TEXT" "$M/tokenizer.json" merges
folder
tokenizer 's/"vocab"/"vocabulary"/'
refused "$TEXT" "$M/tokenizer.json" vocab
folder
tokenizer 's/"type": *"BPE"/"type": "Evil\\u001b[2J"/'
refused "$TEXT" "$M/tokenizer.json"
folder
mkfifo "$M/fifo" && ln -sf fifo "$M/tokenizer.json"
refused "$TEXT" "$M/tokenizer.json: not a regular file"
folder
rm "$M/tokenizer.json"
refused "$TEXT" "$M/tokenizer.json: No such file"

while read -r template; do
    folder
    printf %s "$template" | put chat_template.jinja
    refused template "$M/chat_template.jinja: line 1"
done << 'END'
{% for i in range(1000000000) %}x{% endfor %}
{% for i in range(9999) %}{% for j in range(9999) %}{% for k in range(9999) %}{% endfor %}{% endfor %}{% endfor %}
{{ "a" * 1000000000 }}
{% set n = namespace(x="aaaa") %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}{{ n.x }}
{% set n = namespace(x=[1]) %}{% for i in range(99) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x | tojson }}
{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}
{{ 10 ** 10000 }}
{{ raise_exception("no") }}
{{ "abc
END
folder
{ printf '{{ ' && repeat 100000 '(' ; } | put chat_template.jinja
refused template "$M/chat_template.jinja: line 1"
folder
head -c 3000000 /dev/zero | tr '\0' x | put chat_template.jinja
refused "template" "$M/chat_template.jinja: 3000000 bytes"
echo "$n_cases folders"
