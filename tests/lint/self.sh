#!/bin/sh
# self.sh LINT_DIR - the lint itself finds what it should: each check fails on a small tree with one mistake in it.
set -eu
lint=$1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# tree FILE LINE... : a correct tree, then FILE with these lines after its first comment
tree() {
    rm -rf "$tmp/t"
    mkdir -p "$tmp/t/src/base" "$tmp/t/src/store" "$tmp/t/src/model" "$tmp/t/cache" "$tmp/t/include/hotset" "$tmp/t/tests/lint"
    cp "$lint/strip.awk" "$tmp/t/tests/lint/"
    printf '/* ok */\n#include "base/err.h"\n' > "$tmp/t/src/base/err.c"
    printf '/* ok */\n#include <stdint.h>\n' > "$tmp/t/cache/policy.c"
    printf '/* ok: "malloc(" and exit( */\n' > "$tmp/t/include/hotset/hotset.h"
    file=$1
    shift
    printf '/* file */\n' > "$tmp/t/$file"
    printf '%s\n' "$@" >> "$tmp/t/$file"
}
must_pass() {
    "$lint/$1" "$tmp/t" > "$tmp/out" 2>&1 || { echo "$1 refuses a correct tree:"; cat "$tmp/out"; exit 1; }
}
must_fail() {
    if "$lint/$1" "$tmp/t" > "$tmp/out" 2>&1; then
        echo "$1 does not find: $2"
        exit 1
    fi
}

tree src/store/a.c '#include <zstd.h>' '#include "base/err.h"' 'const char *s = "malloc( exit( \" getenv(";' '/* printf( */'
for check in may_use.sh banned.sh shape.sh; do must_pass $check; done
tree src/store/a.c '#include "model/model.h"'
must_fail may_use.sh 'an upward include'
tree src/store/a.c '#include <uv.h>'
must_fail may_use.sh 'a foreign library'
tree src/store/a.c '#include "a.h"'
must_fail may_use.sh 'an include without its room'
tree src/model/a.c '#include "base/x_int.h"'
must_fail may_use.sh 'an internal header of another room'
tree src/store/a.c 'void *p = malloc(3);'
must_fail banned.sh malloc
tree src/store/a.c 'x = "quote \" in"; puts(s);'
must_fail banned.sh 'printing after a string'
tree src/store/a.c '/* comment */ exit(1); /* open' 'still */ x;'
must_fail banned.sh 'exit between comments'
tree src/store/a.c 'getenv("X");'
must_fail banned.sh getenv
tree src/store/a.c 'int x; '
must_fail shape.sh 'a trailing blank'
tree src/store/a.c '/* TODO: later */'
must_fail shape.sh 'a note to self'
tree src/store/a.c ok
printf 'int x;\n' > "$tmp/t/src/store/b.c"
must_fail shape.sh 'a file without opening comment'
