#!/bin/sh
# headers.sh ROOT CC INCLUDE_DIR... - every header compiles alone.
set -eu
cd "$1"
cc=$2
shift 2
flags="-std=c11 -D_GNU_SOURCE -DHOTSET_VERSION=\"lint\" -Wall -Wextra -Werror -Wno-unused -Isrc -Iinclude -I."
for dir in "$@"; do
    flags="$flags -isystem $dir"
done
bad=0
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
for h in $(find src cache include -name '*.h' | sort); do
    printf '#include "%s"\n' "$PWD/$h" > "$tmp/alone.c"
    arch=
    case $h in
    *avx512*) arch="-mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni" ;;
    *avx2*) arch="-mavx2 -mfma -mf16c" ;;
    esac
    # shellcheck disable=SC2086
    $cc $flags $arch -fsyntax-only "$tmp/alone.c" || { echo "$h: does not compile alone"; bad=1; }
done
exit $bad
