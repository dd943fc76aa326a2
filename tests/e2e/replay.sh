#!/bin/sh
# bench --replay: the daemon's cache, given a trace's routes, hits exactly what hotset sim --sets says it hits.
. "$(dirname "$0")/lib.sh"

"$HOTSET" eval "$MODEL" --ids "$DATA/short.ids" --greedy 200 --routes "$WORK/a.csv" --config "$WORK/empty.conf" \
    > "$WORK/out" 2> "$WORK/err" || fail "eval --routes"

counts() {
    echo "$(field accesses) $(field hits)"
}
# The same routes as three conversations: a policy hears where each begins.
awk -F, -v OFS=, '/^[0-9]/ { $1 = $3 < first + 70 ? 0 : $3 < first + 110 ? 1 : 2 } { print }' \
    first="$(awk -F, '/^[0-9]/ && $2 == 1 { print $3; exit }' "$WORK/a.csv")" "$WORK/a.csv" > "$WORK/turns.csv"
[ "$(awk -F, '/^[0-9]/ && $2 == 1 { print $1 }' "$WORK/turns.csv" | sort -u | wc -l)" -eq 3 ] || fail "no three turns"

# agree TRACE POLICY CACHE SCOPE
agree() {
    # The policy's line comes last, behind belady's.
    expect 0 "$HOTSET" sim "$1" --sets --policy "$2" --cache "$3" --scope "$4" --json
    wanted=$(counts)
    expect 0 "$HOTSET" bench "$MODEL" --replay "$1" --config "$WORK/empty.conf" --json \
        --set cache.policy="$2" --set cache.size="$3" --set cache.scope="$4" --set prefetch.mode=off
    one_line
    [ "$(counts)" = "$wanted" ] || fail "$*: $(counts) instead of $wanted accesses and hits"
}
for policy in $("$HOTSET" sim "$WORK/a.csv" --cache 50% | sed -n 2p | tr -s ' ' '\n' |
    grep -v -e cache -e experts -e belady -e hit -e rate -e '%' -e '^$'); do
    seen="${seen:-} $policy"
    # A hit is a hit under a sanitizer too, which would take minutes for all of these.
    [ -n "${SANITIZED:-}" ] || for cache in 10% 25% 60% 100%; do
        agree "$WORK/a.csv" "$policy" $cache global
    done
    for scope in global layer; do
        agree "$WORK/turns.csv" "$policy" 25% $scope
        [ -n "${SANITIZED:-}" ] || agree "$WORK/turns.csv" "$policy" 60% $scope
    done
done
for policy in lru lfu ewma s3fifo arc; do
    case " $seen " in *" $policy "*) ;; *) fail "policies tried:$seen" ;; esac
done
# The warm tier, as bench prints it for sim: as many slots, hits, and hits that were decoded.
"$HOTSET" pack "$MODEL" "$WORK/packed" --codec exponent > "$WORK/out" 2> "$WORK/err" || fail "pack"
warm_counts() {
    echo "$(field slots) $(field accesses) $(field hits) $(field warm_hits)"
}
for cache in 15% 40%; do
    [ -z "${SANITIZED:-}" ] || [ $cache = 40% ] || continue
    hits=
    for tier in off on; do
        expect 0 "$HOTSET" bench "$WORK/packed" --replay "$WORK/turns.csv" --config "$WORK/empty.conf" --json \
            --set cache.size=$cache --set cache.warm_tier=$tier --set prefetch.mode=off
        wanted=$(warm_counts)
        hits="$hits $(field hits)"
        [ "$(field warm_hits)" -eq $([ $tier = on ] && field hits || echo 0) ] || fail "$tier: $wanted"
        sed 's/.*"sim": *"\([^"]*\)".*/\1/' "$WORK/out" > "$WORK/options"
        # shellcheck disable=SC2046
        expect 0 "$HOTSET" sim "$WORK/turns.csv" --json $(cat "$WORK/options")
        [ "$(warm_counts)" = "$wanted" ] || fail "$cache $tier: sim has $(warm_counts) instead of $wanted"
    done
    echo "$hits" | awk '{ exit !($2 > $1) }' || fail "$cache: hits without and with a warm tier:$hits"
done

expect 1 "$HOTSET" bench "$MODEL" --replay "$WORK/turns.csv" --config "$WORK/empty.conf" --set kv.context=64
says "does not fit in kv.context = 64"

# The count begins behind --warm; a prompt's rows are replayed if asked for.
expect 0 "$HOTSET" bench "$MODEL" --replay "$WORK/a.csv" --warm 190 --config "$WORK/empty.conf" --json
[ "$(field accesses)" -eq $((9 * 30)) ] || fail "--warm 190 leaves $(field accesses) uses"
expect 0 "$HOTSET" bench "$MODEL" --replay "$WORK/a.csv" --phase all --warm 0 --config "$WORK/empty.conf" --json
[ "$(field accesses)" -eq $((30 * (199 + $(wc -w < "$DATA/short.ids")))) ] || fail "not every row is replayed"
expect 0 "$HOTSET" bench "$MODEL" --replay "$WORK/a.csv" --config "$WORK/empty.conf"
grep -q 'hit rate' "$WORK/out" || fail "no figures for people"

# Traces that do not fit.
expect 1 "$HOTSET" bench "$MODEL" --replay "$WORK/a.csv" --warm 199 --config "$WORK/empty.conf"
says "leaves none of its 199 tokens"
sed '$d' "$WORK/a.csv" > "$WORK/cut.csv"
expect 1 "$HOTSET" bench "$MODEL" --replay "$WORK/cut.csv" --config "$WORK/empty.conf"
says "experts of every layer"
awk -F, -v OFS=, '$5 == 1 { $6 = last } { last = $6; print }' "$WORK/a.csv" > "$WORK/twice.csv"
expect 1 "$HOTSET" bench "$MODEL" --replay "$WORK/twice.csv" --config "$WORK/empty.conf"
says "token 0 does not use 6 different experts of every layer"
sed 's/n_expert=64/n_expert=65/' "$WORK/a.csv" > "$WORK/more.csv"
expect 1 "$HOTSET" bench "$MODEL" --replay "$WORK/more.csv" --config "$WORK/empty.conf"
says "5 layers of 65 experts, 6 used, but $MODEL has 5 of 64, 6 used"
expect 1 "$HOTSET" bench "$MODEL" --replay "$WORK/none.csv" --config "$WORK/empty.conf"
says "$WORK/none.csv"
expect 2 "$HOTSET" bench "$MODEL" --replay "$WORK/a.csv" --gen 4 --config "$WORK/empty.conf"
says "does not go with --replay"
expect 2 "$HOTSET" bench "$MODEL" --phase all --config "$WORK/empty.conf"
says "--phase goes with --replay"
