#!/bin/sh
# pack, verify, check, unpack: bit for bit there and back; damage is found, named, and ends what would use it.
. "$(dirname "$0")/lib.sh"

expect 0 "$HOTSET" pack "$MODEL" "$WORK/packed" --codec zstd --json
one_line
case $(field ratio) in 0.*) ;; *) fail "ratio $(field ratio)" ;; esac
expect 0 "$HOTSET" pack "$MODEL" "$WORK/packed"
expect 0 "$HOTSET" pack --check "$MODEL" "$WORK/packed"
expect 0 "$HOTSET" verify "$WORK/packed" --json
one_line
[ "$(field ok)" = true ] || fail "verify of a sound pack"
expect 0 "$HOTSET" inspect "$WORK/packed" --json
one_line
[ "$(field packed)" = true ] || fail "inspect: packed"
[ "$(field arch)" = '"deepseek_v3"' ] || fail "inspect: arch"
[ "$(field experts_per_layer)" = 64 ] || fail "inspect: experts_per_layer"
expect 0 "$HOTSET" unpack "$WORK/packed" "$WORK/back"
diff -r "$MODEL" "$WORK/back" || fail "unpack is not what was packed"
expect 0 "$HOTSET" unpack "$WORK/packed" "$WORK/back"

# A different file in the way is not overwritten.
echo other > "$WORK/back/config.json"
expect 1 "$HOTSET" unpack "$WORK/packed" "$WORK/back"
says config.json
[ "$(cat "$WORK/back/config.json")" = other ] || fail "unpack overwrote a file"

# damage FILE OFFSET : one byte becomes another
damage() {
    byte=$(od -An -tu1 -j "$2" -N 1 "$1" | tr -d ' ')
    printf "$(printf '\\%03o' $(((byte + 1) % 256)))" | dd of="$1" bs=1 seek="$2" conv=notrunc 2> /dev/null
}
# Another config.json would give other results.
cp "$WORK/packed/config.json" "$WORK/config.keep"
chmod u+w "$WORK/packed/config.json"
sed 's/routed_scaling_factor/rkuted_scaling_factor/' "$WORK/config.keep" > "$WORK/packed/config.json"
expect 1 "$HOTSET" eval "$WORK/packed" --ids "$DATA/short.ids"
says "config.json"
cat "$WORK/config.keep" > "$WORK/packed/config.json"

# Neither is another end token, tokenizer or template taken for the packed one, nor a wrong byte in the manifest for a
# missing shard.
cp -r "$WORK/packed" "$WORK/other"
chmod -R u+w "$WORK/other"
# wrong FILE VERB... : with another byte in FILE
wrong() {
    damage "$WORK/other/$1" 40
    name=$1
    shift
    expect 1 "$@" < /dev/null
    says "$WORK/other/$name: "
    cat "$WORK/packed/$name" > "$WORK/other/$name"
}
wrong generation_config.json "$HOTSET" eval "$WORK/other" --ids "$DATA/short.ids"
for name in tokenizer.json tokenizer_config.json; do
    wrong $name "$HOTSET" run "$WORK/other" hello --config "$WORK/empty.conf"
    wrong $name "$HOTSET" tokenize "$WORK/other"
    wrong $name "$HOTSET" template "$WORK/other"
done
echo '{{ messages }}' > "$WORK/other/chat_template.jinja"
expect 1 "$HOTSET" inspect "$WORK/other"
says "chat_template.jinja: is no part of the packed model"
rm "$WORK/other/chat_template.jinja"
sed 's/"experts-00000.hss"/"experts-00001.hss"/' "$WORK/packed/manifest.json" > "$WORK/other/manifest.json"
expect 1 "$HOTSET" inspect "$WORK/other"
says "$WORK/other/manifest.json: damaged (checksum)"
cat "$WORK/packed/manifest.json" > "$WORK/other/manifest.json"
rm "$WORK/other/generation_config.json"
expect 1 "$HOTSET" inspect "$WORK/other"
says "generation_config.json"
# Who brings token ids needs no text files.
cp "$WORK/packed/generation_config.json" "$WORK/other/"
rm "$WORK/other"/tokenizer*.json
expect 0 "$HOTSET" eval "$WORK/other" --ids "$DATA/short.ids"

shard=$(ls "$WORK/packed"/experts-*.hss | head -n 1)
size=$(wc -c < "$shard")
damage "$shard" 5000
expect 1 "$HOTSET" verify "$WORK/packed"
says "$(basename "$shard")"
says "record 0"
expect 1 "$HOTSET" pack --check "$MODEL" "$WORK/packed"
expect 1 "$HOTSET" unpack "$WORK/packed" "$WORK/back2"
# Every expert of the first layer is used by a long enough prompt. With its source at hand a pack answers all the same;
# where packed records are all that is read, the error names the record, and no file is left.
seq 5 404 > "$WORK/many.ids"
expect 0 "$HOTSET" eval "$MODEL" --ids "$WORK/many.ids" --logits "$WORK/right.npy"
expect 0 "$HOTSET" eval "$WORK/packed" --ids "$WORK/many.ids" --logits "$WORK/l.npy"
says "record 0"
cmp "$WORK/l.npy" "$WORK/right.npy" || fail "what it was packed from gives other logits"
rm "$WORK/l.npy" "$WORK/right.npy"
expect 1 "$HOTSET" eval "$WORK/packed" --ids "$WORK/many.ids" --logits "$WORK/l.npy" --routes "$WORK/r.csv" \
    --set cache.warm_tier=on
says "record 0"
[ ! -e "$WORK/l.npy" ] && [ ! -e "$WORK/r.csv" ] || fail "output of a failed eval"
[ -z "$(ls "$WORK" | grep tmp || true)" ] || fail "temporary files of a failed eval"

dd if="$shard" of="$WORK/short" bs=4096 count=$((size / 8192)) 2> /dev/null
mv "$WORK/short" "$shard"
expect 1 "$HOTSET" verify "$WORK/packed"
says "$(basename "$shard")"
expect 1 "$HOTSET" eval "$WORK/packed" --ids "$DATA/short.ids"
says "$(basename "$shard")"

# Raw records beside compressed ones: the same answer, tried both ways, without the source.
expect 2 "$HOTSET" pack "$MODEL" "$WORK/kept" --codec raw --keep-raw
says "--keep-raw keeps"
[ ! -e "$WORK/kept" ] || fail "a refused pack left something"
mkdir "$WORK/away"
cp "$MODEL"/*.json "$MODEL/model.safetensors" "$WORK/away/"
expect 0 "$HOTSET" pack "$WORK/away" "$WORK/kept" --codec exponent --keep-raw --shard-size 8M
rm -r "$WORK/away"
expect 0 "$HOTSET" verify "$WORK/kept"
expect 0 "$HOTSET" inspect "$WORK/kept" --json
case $(field kept_raw_bytes) in [1-9]*) ;; *) fail "inspect does not know what is kept" ;; esac
few="--config $WORK/empty.conf --set cache.size=10% --temp 0 --max-tokens 60"
expect 0 "$HOTSET" run "$MODEL" "Once upon a time" $few
cp "$WORK/out" "$WORK/answer"
expect 0 "$HOTSET" run "$WORK/kept" "Once upon a time" $few
cmp "$WORK/out" "$WORK/answer" || fail "both ways do not give one answer"
says "read unpacked"
# Damage of raw records is no damage of the answer.
for shard in "$WORK/kept"/raw-*.hss; do
    for at in 5000 2000000 4000000; do damage "$shard" $at; done
done
expect 1 "$HOTSET" verify "$WORK/kept"
expect 0 "$HOTSET" run "$WORK/kept" "Once upon a time" $few
cmp "$WORK/out" "$WORK/answer" || fail "damaged raw records change the answer"

# A truncated safetensors file.
mkdir "$WORK/cut"
cp "$MODEL"/*.json "$WORK/cut/"
dd if="$MODEL/model.safetensors" of="$WORK/cut/model.safetensors" bs=65536 count=100 2> /dev/null
for verb in inspect plan; do
    expect 1 "$HOTSET" $verb "$WORK/cut"
    says model.safetensors
done
expect 1 "$HOTSET" pack "$WORK/cut" "$WORK/cutpack"
says model.safetensors
