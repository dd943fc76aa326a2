#!/bin/sh
# labels: e2e slow
# A real control group: somebody else takes half of its memory, for 20 seconds at least, while requests are answered.
# Nothing is killed, the answers are the same, the cache gets smaller and is back at full size afterwards; so too when
# the group's limit itself changes.
. "$(dirname "$0")/lib.sh"

[ "$(id -u)" -eq 0 ] || skip "only root makes control groups"
[ -z "${SANITIZED:-}" ] || skip "a sanitizer's memory is in no plan"
NAME=hotset-e2e-$$
if [ -e /sys/fs/cgroup/memory/memory.limit_in_bytes ]; then
    GROUP=/sys/fs/cgroup/memory/$NAME
    MAX=memory.limit_in_bytes
elif grep -qw memory /sys/fs/cgroup/cgroup.subtree_control 2> /dev/null; then
    GROUP=/sys/fs/cgroup/$NAME
    MAX=memory.max
else
    skip "no memory controller"
fi
mkdir "$GROUP" 2> /dev/null || skip "no control group can be made"
HOG=
tidy() {
    status=$?
    [ -z "$HOG" ] || kill "$HOG" 2> /dev/null || true
    [ -z "$DAEMON" ] || kill -KILL "$DAEMON" 2> /dev/null || true
    wait
    DAEMON=
    rmdir "$GROUP" 2> /dev/null || true
    (exit $status)
    cleanup
}
trap tidy EXIT
echo 480M > "$GROUP/$MAX" || skip "the group takes no limit"
REAL=$HOTSET
cat > "$WORK/hotset" << END
#!/bin/sh
echo \$\$ > $GROUP/cgroup.procs
exec $REAL "\$@"
END
chmod +x "$WORK/hotset"
HOTSET=$WORK/hotset

ask() {
    "$REAL" run tale "Once upon a time" --config "$WORK/none.conf" --temp 0 --max-tokens 400 --socket "$SOCKET" \
        > "$1" 2> "$WORK/err" || fail "a request failed: $(cat "$WORK/err")"
}
# slots KEY : of the daemon, a whole number
slots() {
    "$REAL" ps --json --config "$WORK/none.conf" --socket "$SOCKET" | sed "s/.*\"$1\": *\([0-9]*\).*/\1/"
}
# back N : for the Nth time the cache has its planned size
back() {
    logged 'memory is there again' "$1"
    tries=0
    until [ "$(slots slots)" = "$(slots slots_planned)" ]; do
        tries=$((tries + 1))
        [ $tries -lt 300 ] || fail "$(slots slots) slots of $(slots slots_planned)"
        sleep 0.1
    done
}
# is_room MIB : the group has so much left, page cache counted as free
is_room() {
    case $MAX in
        memory.max) usage=memory.current prefix= ;;
        *) usage=memory.usage_in_bytes prefix=total_ ;;
    esac
    awk -v used="$(cat "$GROUP/$usage")" -v max="$(cat "$GROUP/$MAX")" -v mib="$1" -v prefix="$prefix" '
        $1 == prefix "inactive_file" || $1 == prefix "active_file" { used -= $2 }
        END { exit !(max - used >= mib * 1048576) }' "$GROUP/memory.stat"
}
: > "$WORK/none.conf"

start_daemon --model "tale=$MODEL" --set "state.dir=$WORK/state" --set log.level=debug
ask "$WORK/golden"
[ "$(counted 'memory is short')" -eq 0 ] || fail "memory is short although nobody takes any"

# tail keeps what has no line end
(
    echo "$(sh -c 'echo $PPID')" > "$GROUP/cgroup.procs"
    # As fast as programs take memory that they fill; the kernel's own pace would be a race with the daemon's next look.
    # On a machine so busy that the daemon does not get to look at all, the next piece waits, but not for ever.
    (
        for i in $(seq 48); do
            tries=0
            until is_room 8 || [ $tries -ge 200 ]; do
                tries=$((tries + 1))
                sleep 0.1
            done
            head -c 5M /dev/zero
            sleep 0.05
        done
        touch "$WORK/taken"
        until [ -e "$WORK/enough" ]; do sleep 0.2; done
    ) | tail > /dev/null
) &
HOG=$!
asked=0
until [ -e "$WORK/taken" ]; do # while it is being taken
    ask "$WORK/answer"
    cmp -s "$WORK/golden" "$WORK/answer" || fail "another answer while memory gets short"
    kill -0 "$HOG" 2> /dev/null || fail "the other process was killed"
    asked=$((asked + 1))
    [ $asked -lt 100 ] || fail "the other process gets no memory"
done
logged 'memory is short' 1
logged 'room for [0-9]* experts instead of 320' 1
since=$(date +%s)
until [ $(($(date +%s) - since)) -ge 20 ]; do # and while it is held
    ask "$WORK/answer"
    cmp -s "$WORK/golden" "$WORK/answer" || fail "another answer while memory is short"
    [ "$(slots slots)" -lt "$(slots slots_planned)" ] || fail "the cache is as big as ever"
    sleep 1
done
touch "$WORK/enough"
wait "$HOG" || fail "the other process was killed"
HOG=
back 1
ask "$WORK/answer"
cmp -s "$WORK/golden" "$WORK/answer" || fail "another answer afterwards"

# systemctl set-property MemoryMax, as the kernel sees it
echo 215M > "$GROUP/$MAX"
logged 'memory is short' 2
ask "$WORK/answer"
cmp -s "$WORK/golden" "$WORK/answer" || fail "another answer under a lower limit"
echo 480M > "$GROUP/$MAX"
back 2

# systemctl set-property MemoryHigh: nothing is killed for it, but what is over it is made to wait
if [ -e "$GROUP/memory.high" ]; then
    echo 215M > "$GROUP/memory.high"
    logged 'memory is short' 3
    ask "$WORK/answer"
    cmp -s "$WORK/golden" "$WORK/answer" || fail "another answer under a lower soft limit"
    echo max > "$GROUP/memory.high"
    back 3
fi
grep -q 'oom_kill [1-9]' "$GROUP/memory.events" "$GROUP/memory.oom_control" 2> /dev/null && fail "something was killed"
stop_daemon
