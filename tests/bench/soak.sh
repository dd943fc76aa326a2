#!/bin/sh
# soak.sh [MINUTES] [BUILD_DIR] - a hundred misbehaving clients and three honest ones against one daemon for a long time
# (30 minutes on build/asan-ubsan unless told otherwise). Every answer is compared with its golden. Exit 1: a wrong
# answer, a stuck request, memory that is not flat within 1 % after the warm-up, a leak, or a daemon that does not end.
set -eu
minutes=${1:-30}
root=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "${2:-$root/build/asan-ubsan}" && pwd)
# What was freed is kept for a while, but not so much that memory grows with it for hours.
export ASAN_OPTIONS="quarantine_size_mb=8:thread_local_quarantine_size_kb=64${ASAN_OPTIONS:+:$ASAN_OPTIONS}"
uname -srm
uptime
status=0
"$build/tests/e2e/clients" "$build/hotset" "$root/tests/models/tale-moe-fp8" "$root/tests/e2e/data" \
    "$((minutes * 60))" flat || status=$?
uptime
exit $status
