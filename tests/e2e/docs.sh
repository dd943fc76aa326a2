#!/bin/sh
# Manual pages and shell completion: every verb, flag and option is in them, and their readers take them as they are.
. "$(dirname "$0")/lib.sh"

verbs=$("$HOTSET" help | sed -n 's/^  \([a-z]*\) .*/\1/p')
# in_page TEXT : as it stands in the page just made, roff's escapes removed
in_page() {
    grep -qF -- "$1" "$WORK/page" || fail "the page lacks '$1'"
}
page() {
    expect 0 "$HOTSET" help --as "$1"
    cp "$WORK/out" "$WORK/$1"
    sed 's/\\[&:]//g; s/\\f[BIR]//g; s/\\-/-/g; s/\\e/\\/g' "$WORK/$1" > "$WORK/page"
    if command -v groff > /dev/null; then
        groff -ww -man -Tutf8 -z "$WORK/$1" > "$WORK/err" 2>&1 || fail "groff fails on $1"
        [ ! -s "$WORK/err" ] || fail "groff has something to say about $1"
    fi
}

[ "$(echo "$verbs" | wc -l)" -gt 10 ] || fail "no verbs in the help"
page man
for verb in $verbs; do
    in_page ".SS hotset $verb"
    "$HOTSET" "$verb" --help | sed -n 's/^  \(--[a-z-]*\)/\1/p' > "$WORK/flags.$verb"
    sed -n "/^\.SS hotset $verb/,/^\.S[SH] /p" "$WORK/page" > "$WORK/part"
    while IFS= read -r flag; do
        case $flag in --help) continue ;; esac
        grep -qxF -- "$flag" "$WORK/part" || sed 's/ (repeatable)/   (repeatable)/' "$WORK/part" | grep -qxF -- "$flag" ||
            fail "the page lacks $flag of $verb"
    done < "$WORK/flags.$verb"
done

page man-conf
"$HOTSET" serve --print-reference | sed -n 's/^# \([a-z_]* =.*\)/\1/p' > "$WORK/options"
[ "$(wc -l < "$WORK/options")" -gt 20 ] || fail "no options in the reference"
while IFS= read -r option; do
    sed 's/ *$//' "$WORK/page" | grep -qxF -- "${option% }" || fail "the page lacks '$option'"
done < "$WORK/options"
for section in server limits log memory cache io prefetch compute kv "model NAME"; do in_page ".SH [$section]"; done

for shell in bash zsh fish; do
    expect 0 "$HOTSET" help --as $shell
    cp "$WORK/out" "$WORK/$shell"
    for verb in $verbs; do
        grep -qw -- "$verb" "$WORK/$shell" || fail "$shell: no $verb"
        for flag in $(sed 's/^--//; s/ .*//' "$WORK/flags.$verb"); do
            grep -qE -- "(--|-l )$flag" "$WORK/$shell" || [ "$flag" = help ] || fail "$shell: no --$flag"
        done
    done
    if command -v $shell > /dev/null; then
        $shell -n "$WORK/$shell" > "$WORK/err" 2>&1 || fail "$shell cannot read its script"
    fi
done

# What bash offers.
command -v bash > /dev/null || exit 0
offers() {
    wanted=$1
    shift
    bash -c '
        compopt() { :; }
        . "$0"
        COMP_WORDS=("$@")
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        _hotset
        echo "${COMPREPLY[*]}"' "$WORK/bash" "$@" > "$WORK/out" 2> "$WORK/err" || fail "completion of '$*' fails"
    [ "$(cat "$WORK/out")" = "$wanted" ] || fail "'$*' is not completed to '$wanted'"
}
offers "unpack" hotset unp
offers "--codec --cores" hotset pack --co
offers "zstd" hotset pack --codec z
offers "zstd" hotset pack --codec = z
offers "auto zstd exponent any raw" hotset pack --codec =
offers "cache.size=" hotset serve --set cache.si
offers "eval" hotset help ev
offers "" hotset inspect /some/pa
