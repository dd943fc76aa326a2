#!/bin/sh
# bench --replay: the daemon's cache, given a trace's routes, hits exactly what hotset sim --sets says it hits.
. "$(dirname "$0")/lib.sh"

"$HOTSET" eval "$MODEL" --ids "$DATA/short.ids" --greedy 200 --routes "$WORK/a.csv" --config "$WORK/empty.conf" \
    > "$WORK/out" 2> "$WORK/err" || fail "eval --routes"

counts() {
    echo "$(field accesses) $(field hits)"
}
for policy in $("$HOTSET" sim "$WORK/a.csv" --cache 50% | sed -n 2p | tr -s ' ' '\n' |
    grep -v -e cache -e experts -e belady -e hit -e rate -e '%' -e '^$'); do
    for cache in 10% 25% 60% 100%; do
        # The policy's line comes last, behind belady's.
        expect 0 "$HOTSET" sim "$WORK/a.csv" --sets --policy "$policy" --cache $cache --json
        wanted=$(counts)
        expect 0 "$HOTSET" bench "$MODEL" --replay "$WORK/a.csv" --config "$WORK/empty.conf" --json \
            --set cache.policy="$policy" --set cache.size=$cache --set prefetch.mode=off
        one_line
        [ "$(counts)" = "$wanted" ] || fail "$policy, $cache: $(counts) instead of $wanted accesses and hits"
        seen="${seen:-} $policy"
    done
done
case $seen in *lru*ewma* | *ewma*lru*) ;; *) fail "policies tried:$seen" ;; esac

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
