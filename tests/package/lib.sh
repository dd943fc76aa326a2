# lib.sh - sourced by what runs as root in the bare system of lifecycle.sh, where systemd is the init.
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8

# Steps start the daemon more often than the unit allows in so short a time.
step() {
    echo "== $*"
    systemctl reset-failed hotset.service 2> /dev/null || true
}
fail() {
    why=$*
    trap - EXIT
    systemctl --no-pager status hotset.service hotset.socket || true
    journalctl --no-pager -q -n 60 _COMM=hotset + _PID=1 || true
    cat /test/err
    echo "FAIL: $why"
    exit 1
}
trap 'fail "a command failed"' EXIT
state() { systemctl show -P "$2" "$1"; }
is() { # is UNIT PROPERTY VALUE
    [ "$(state "$1" "$2")" = "$3" ] || fail "$2 of $1 is $(state "$1" "$2"), not $3"
}
# wait_for TEXT COMMAND... : until it succeeds; ten minutes, for a processor that is computed, on a machine with other work
wait_for() {
    _end=$(($(date +%s) + 600))
    _text=$1
    shift
    until "$@" > /dev/null 2>&1; do
        [ "$(date +%s)" -lt $_end ] || fail "$_text"
        sleep 0.1
    done
}
said() { journalctl -q -u hotset.service -b | grep -q -- "$1"; }
manager_said() { journalctl -q -b _PID=1 | grep -q -- "$1"; }
ask() { # USER FILE FLAG... : a few tokens from the daemon
    _user=$1
    _file=$2
    shift 2
    runuser -u "$_user" -- hotset run tale "Once upon a time" --temp 0 --max-tokens 12 "$@" > "$_file" 2> /test/err
}
# answers TEXT : in the end, since clients are told to come back while the model is loaded; and always the same
answers() {
    wait_for "$1" ask friend /test/answer
    [ -s /test/answer ] || fail "$1: an empty answer"
    [ -e /test/first ] || cp /test/answer /test/first
    cmp /test/first /test/answer || fail "$1: another answer"
}
