# lib.sh - sourced by the end-to-end tests: HOTSET (the program) and ROOT (the repository) come as arguments, WORK is a
# folder of this test alone, removed at the end together with the daemons that were started.
set -eu
HOTSET=$1
ROOT=$2
MODEL=$ROOT/tests/models/tale-moe-fp8
DATA=$ROOT/tests/e2e/data
WORK=$(mktemp -d /tmp/hotset-e2e-XXXXXX)
DAEMON=
# Nothing of this machine's own configuration.
for name in $(env | sed -n 's/^\(HOTSET_[A-Z_]*\)=.*/\1/p'); do unset "$name"; done
unset STATE_DIRECTORY
XDG_STATE_HOME=$WORK/learnt
export XDG_STATE_HOME
: > "$WORK/empty.conf"

cleanup() {
    status=$?
    if [ -n "$DAEMON" ]; then
        kill -KILL "$DAEMON" 2> /dev/null || true
        wait "$DAEMON" 2> /dev/null || true
    fi
    rm -rf "$WORK"
    exit $status
}
trap cleanup EXIT
trap 'exit 1' INT TERM HUP

fail() {
    echo "FAIL: $*" >&2
    for f in "$WORK/out" "$WORK/err" "$WORK/serve.log"; do
        if [ -s "$f" ]; then
            echo "--- $f" >&2
            tail -n 20 "$f" >&2
        fi
    done
    exit 1
}
skip() {
    echo "SKIP: $*"
    exit 77
}

# expect STATUS COMMAND... : runs it, stdout in $WORK/out, stderr in $WORK/err
expect() {
    _status=$1
    shift
    got=0
    "$@" > "$WORK/out" 2> "$WORK/err" || got=$?
    [ $got -eq "$_status" ] || fail "exit status $got instead of $_status: $*"
}
# on_disk SIZE COMMAND... : with a file system of that size at $WORK/disk, which only the command sees (root)
on_disk() {
    mkdir -p "$WORK/disk"
    _size=$1
    shift
    unshare -m sh -c 'mount -t tmpfs -o "size=$1" none "$2" && shift 2 && exec "$@"' sh "$_size" "$WORK/disk" "$@"
}
# says TEXT : the last command's stderr has it
says() {
    grep -qF -- "$1" "$WORK/err" || fail "stderr lacks '$1'"
}
# one_line : the last command's stdout is exactly one line
one_line() {
    [ "$(wc -l < "$WORK/out")" -eq 1 ] || fail "stdout is not one line"
}
# field NAME : a number, word or list of the JSON on the last stdout (plain values only)
field() {
    sed -n "s/.*\"$1\":\(\[[^]]*\]\|\"[^\"]*\"\|[^,}]*\).*/\1/p" "$WORK/out"
}

# tale_routes : the routes that the cache's own tests replay, as a trace: 1000 tokens, 5 layers of 64 experts, 6 used
tale_routes() {
    echo '# route_trace v1'
    echo '# model=tale-moe arch=deepseek_v3 n_layer=6 n_expert=64 n_expert_used=6'
    for layer in 1 2 3 4 5; do echo "# layer=$layer expert_bytes=1000 dense_bytes=0"; done
    echo 'turn,phase,step,layer,slot,expert,weight,residency,expert_bytes'
    awk '!/^#/ { for (i = 1; i <= NF; i++)
        printf "0,1,%d,%d,%d,%d,0.16667,0,1000\n", n, int((i - 1) / 6) + 1, (i - 1) % 6, $i; n++ }' \
        "$ROOT/tests/unit/cache/tale-moe.routes"
}

# start_daemon FLAG... : until it is ready; its socket is $SOCKET
SOCKET=$WORK/api.sock
start_daemon() {
    : > "$WORK/serve.log" # the last daemon's is not taken for this one's
    "$HOTSET" serve --config "$WORK/empty.conf" --listen "unix:$SOCKET" "$@" > "$WORK/serve.out" 2> "$WORK/serve.log" &
    DAEMON=$!
    tries=0
    until grep -q '^hotset: ready' "$WORK/serve.log"; do
        kill -0 "$DAEMON" 2> /dev/null || fail "the daemon ended while starting"
        tries=$((tries + 1))
        [ $tries -lt 1800 ] || fail "the daemon is not ready after three minutes"
        sleep 0.1
    done
}
# counted TEXT : lines of the daemon's log that have it
counted() { grep -c "$1" "$WORK/serve.log" || true; }
# planned_mib : of the daemon's log, what one model may take in all
planned_mib() {
    sed -n 's/.*  total *\([0-9]*\)\.[0-9]* MiB .*/\1/p' "$WORK/serve.log" | tail -1
}
# logged TEXT [N] : the log has it N times, by default once, within a minute and a half
logged() {
    tries=0
    until [ "$(counted "$1")" -ge "${2:-1}" ]; do
        kill -0 "$DAEMON" 2> /dev/null || fail "the daemon is gone; the log lacks '$1'"
        tries=$((tries + 1))
        [ $tries -lt 900 ] || fail "the log lacks '$1'"
        sleep 0.1
    done
}
# within_plan : the daemon has never held more memory than the last plan in its log says (the last model's plan counts
# the others). A sanitizer's own memory is in no plan.
within_plan() {
    if ldd "$HOTSET" | grep -q 'lib[at]san'; then return 0; fi
    peak=$(awk '$1 == "VmHWM:" { print $2 }' "/proc/$DAEMON/status")
    plan=$(awk '$1 == "hotset:" && $2 == "total" {
        unit = $4 == "GiB" ? 1048576 : $4 == "MiB" ? 1024 : $4 == "KiB" ? 1 : 0
        total = int($3 * unit)
    } END { print total + 0 }' "$WORK/serve.log")
    [ "$plan" -gt 0 ] || return 0
    [ "$peak" -le "$plan" ] || fail "the daemon has held $peak KiB, its plan was $plan KiB"
}
# stop_daemon : SIGTERM, must end with 0
stop_daemon() {
    within_plan
    kill -TERM "$DAEMON"
    got=0
    wait "$DAEMON" || got=$?
    DAEMON=
    [ $got -eq 0 ] || fail "the daemon ended with $got"
}
