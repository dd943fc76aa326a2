#!/bin/sh
# memory.sh - memory of the service under a real systemd with control groups v2. Whatever inside.sh has
# left goes first.
. /test/lib.sh

dpkg -P hotset > /dev/null 2>&1 || true
rm -rf /etc/systemd/system/hotset.service.d
systemctl daemon-reload
[ -d /srv/models/tale ] || mv /home/friend/tale /srv/models/tale
chmod -R a+rX /srv/models

id friend > /dev/null 2>&1 || useradd -m friend
group=/sys/fs/cgroup/system.slice/hotset.service
slots() { # KEY
    curl -s --unix-socket /run/hotset/api.sock http://localhost/metrics |
        sed -n "s/^hotset_expert_cache_$1{[^}]*} \([0-9]*\).*/\1/p"
}
is_full() { [ "$(slots slots)" = "$(slots slots_planned)" ]; }
is_smaller() { [ "$(slots slots)" -lt "$(slots slots_planned)" ]; }
ready() { curl -s -o /dev/null -w '%{http_code}' --unix-socket /run/hotset/api.sock http://localhost/ready; }
events() { sed -n "s/^$1 //p" "$group/memory.events"; }
# told COUNT TEXT : the journal of this start has it so often
since() { state hotset.service InvocationID; }
told() { [ "$(journalctl -q "_SYSTEMD_INVOCATION_ID=$(since)" | grep -c -- "$2")" -ge "$1" ]; }
# asking, all the time, until /test/enough is there; a failure or another answer is left in /test/asked.bad
asking() {
    rm -f /test/enough /test/asked.bad
    : > /test/asked
    (
        until [ -e /test/enough ]; do
            runuser -u friend -- hotset run tale "Once upon a time" --temp 0 --max-tokens 300 > /test/asked.now 2>> /test/err &&
                cmp /test/long /test/asked.now >> /test/err || touch /test/asked.bad
            echo >> /test/asked
        done
    ) &
    asker=$!
}
# asked N : at least so many since then, all well
asked() {
    _n=$(($(wc -l < /test/asked) + $1))
    wait_for "requests are not answered" sh -c "[ \$(wc -l < /test/asked) -ge $_n ]"
    [ ! -e /test/asked.bad ] || fail "a request failed or had another answer"
}
enough() {
    touch /test/enough
    wait $asker
    [ ! -e /test/asked.bad ] || fail "a request failed or had another answer"
}

step "a machine with control groups v2 and pressure stall information"
[ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ] || fail "no control groups v2"
[ -r /proc/pressure/memory ] || fail "no pressure stall information"
grep -m1 'model name' /proc/cpuinfo

step "enable --now: returns when it is ready"
dpkg -i /test/hotset.deb
usermod -aG hotset friend
cat > /etc/hotset/hotset.conf.d/tale.conf << 'CONF'
[log]
level = debug
[model tale]
path = /srv/models/tale
CONF
systemctl enable --now hotset.service
is hotset.service SubState running
is hotset.service StatusText "serving 1 model"
[ "$(ready)" = 200 ] || fail "/ready is $(ready)"
systemctl --no-pager status hotset.service
runuser -u friend -- hotset run tale "Once upon a time" --temp 0 --max-tokens 300 > /test/long
[ -s /test/long ] || fail "no answer"
wait_for "the cache is not full" is_full
cat "$group/memory.current" "$group/memory.events" "$group/memory.pressure"

step "what the service sees inside its sandbox"
pid=$(state hotset.service MainPID)
uid=$(stat -c %u "/proc/$pid")
for file in /proc/meminfo /proc/pressure/memory $group/memory.pressure $group/memory.high $group/memory.stat; do
    nsenter -t "$pid" -m -- setpriv --reuid "$uid" --clear-groups cat "$file" > /dev/null || fail "$file cannot be read"
done
grep -E 'Max (locked|open)' "/proc/$pid/limits"
grep -E 'VmLck|VmRSS' "/proc/$pid/status"
ls -la /var/lib/private/hotset

step "set-property MemoryHigh, down and up, while requests are answered"
asking
asked 1
systemctl set-property --runtime hotset.service MemoryHigh=215M
wait_for "nothing is given back" is_smaller
wait_for "no sentence" told 1 'memory is short'
asked 3
cat "$group/memory.current" "$group/memory.events" "$group/memory.pressure"
systemctl set-property --runtime hotset.service MemoryHigh=infinity
wait_for "the cache is not back" is_full
asked 1
enough
is hotset.service NRestarts 0
is hotset.service MainPID "$pid"

step "stop and start: expert uses are kept and read ahead"
systemctl stop hotset.service
is hotset.service Result success
ls /var/lib/private/hotset/heat-*-default
systemctl start hotset.service
wait_for "nothing was read ahead" told 1 'experts that were used most before have been read ahead'
answers "no answer"

step "reload with another cache.size: a sentence, and it goes on"
printf '[cache]\nsize = 50%%\n' > /etc/hotset/hotset.conf.d/cache.conf
systemctl reload hotset.service
wait_for "no sentence" told 1 'another cache.size, which only a restart applies'
systemctl restart hotset.service
[ "$(slots slots_planned)" = 160 ] || fail "the restart does not apply it"
rm /etc/hotset/hotset.conf.d/cache.conf
systemctl restart hotset.service

step "kill -s KILL: started again"
pid=$(state hotset.service MainPID)
systemctl kill -s KILL hotset.service
restarted() { [ "$(state hotset.service NRestarts)" = 1 ]; }
wait_for "not started again" restarted
answers "no answer"

step "MemoryHigh under the plan's floor: the cache goes to its floor, and requests are answered"
asking
asked 1
systemctl set-property --runtime hotset.service MemoryHigh=60M
asked 2
enough
systemctl set-property --runtime hotset.service MemoryHigh=infinity
wait_for "the cache is not back" is_full
[ "$(events oom_kill)" = 0 ] || fail "something was killed"

step "MemoryMax under what it holds: killed, started again, and a sentence; it comes back when there is memory"
# Less than the weights of every token, or the governor may be quick enough to give back what is too much.
systemctl set-property --runtime hotset.service MemoryMax=8M
wait_for "it was not killed" manager_said "hotset.service: Failed with result 'oom-kill'"
systemctl set-property --runtime hotset.service MemoryMax=40M
wait_for "no sentence" said "is under what this needs"
wait_for "it is tried again and again" systemctl is-failed hotset.service
systemctl set-property --runtime hotset.service MemoryMax=infinity
systemctl reset-failed hotset.service hotset.socket || true
systemctl start hotset.socket
answers "no answer with memory"

systemctl stop hotset.service
step "a process takes half of a group's memory for 20 seconds: tests/e2e/governor.sh"
/test/tests/e2e/governor.sh /usr/bin/hotset /test > /test/governor.log 2>&1 || {
    cat /test/governor.log
    fail "governor.sh"
}
grep SKIP /test/governor.log && fail "governor.sh was skipped"

step "purge"
dpkg -P hotset

trap - EXIT
echo "all is well"
