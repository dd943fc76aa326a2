#!/bin/sh
# inside.sh - the package's life under systemd: hotset is not installed yet.
. /test/lib.sh

useradd -m friend
useradd -m stranger

step "install: the socket listens, the daemon does not run yet"
dpkg -i /test/hotset.deb
usermod -aG hotset friend
is hotset.socket ActiveState active
is hotset.service ActiveState inactive
[ "$(systemctl is-enabled hotset.socket)" = enabled ] || fail "the socket is not enabled"
[ "$(stat -c '%a %U %G' /run/hotset/api.sock)" = "660 root hotset" ] || fail "permissions: $(stat /run/hotset/api.sock)"
systemd-analyze security hotset.service | tail -n 1
systemd-analyze security --threshold=5 hotset.service > /dev/null || fail "more exposed than 0.5"

step "without a model: a sentence in the journal; it is not tried for ever"
ask friend /test/answer && fail "an answer without a model"
wait_for "no sentence" said "no model to serve"
wait_for "it is tried again and again" systemctl is-failed hotset.socket
is hotset.socket Result service-start-limit-hit
is hotset.service NRestarts 0

step "activation: the first connection of a member of group hotset starts it"
cat >> /etc/hotset/hotset.conf << 'CONF'
[cache]
size = 25%
[log]
level = debug
[model tale]
path = /srv/models/tale
CONF
systemctl reset-failed hotset.service
systemctl start hotset.socket
is hotset.service ActiveState inactive
answers "no answer after the first connection"
is hotset.service ActiveState active
ask stranger /test/answer && fail "who is not in the group is let in"
pid=$(state hotset.service MainPID)
[ "$(stat -c %u "/proc/$pid")" -ge 61184 ] || fail "not a dynamic user: $(stat -c %U "/proc/$pid")"
grep -q '^CapEff:\s*0*$' "/proc/$pid/status" || fail "it has capabilities"
[ "$(readlink "/proc/$pid/ns/net")" != "$(readlink /proc/self/ns/net)" ] || fail "it has the network"
wait_for "io_uring does not work under the filter" said "reads through io_uring"

step "reload: same process, new level"
sed -i 's/^level = debug/level = warn/' /etc/hotset/hotset.conf
systemctl reload hotset.service
answers "no answer after a reload"
is hotset.service MainPID "$pid"

step "a broken configuration is refused at reload, and the daemon goes on"
cp /etc/hotset/hotset.conf /test/good.conf
echo 'nonsense' >> /etc/hotset/hotset.conf
systemctl reload hotset.service || true
wait_for "no sentence about the broken line" said "hotset.conf:"
wait_for "no answer after a refused reload" ask friend /test/answer --config /test/good.conf
is hotset.service MainPID "$pid"
cp /test/good.conf /etc/hotset/hotset.conf

step "upgrade: the administrator's configuration stays, the daemon is replaced, the socket stays open"
inode=$(stat -c %i /run/hotset/api.sock)
dpkg -i --force-confold /test/newer.deb
cmp /test/good.conf /etc/hotset/hotset.conf || fail "the configuration has been replaced"
grep -q "a newer package's line" /etc/hotset/hotset.conf.dpkg-dist || fail "no hotset.conf.dpkg-dist"
[ "$(stat -c %i /run/hotset/api.sock)" = "$inode" ] || fail "another socket"
is hotset.service ActiveState active
[ "$(state hotset.service MainPID)" != "$pid" ] || fail "the old program still runs"
answers "no answer after an upgrade"

step "drain: a stop lets the running answer finish; the next connection starts it again"
n=400
until [ -e /test/whole ]; do # of so many tokens that it is all said within the twenty seconds that a stop waits
    rm -f /test/long
    runuser -u friend -- hotset run tale "Once upon a time" --temp 0 --max-tokens $n > /test/long 2> /test/long.err &
    client=$!
    wait_for "the long answer does not begin" test -s /test/long
    kill -0 $client || fail "$n tokens are no long answer"
    stopped=$(date +%s)
    systemctl stop hotset.service
    if wait $client; then
        touch /test/whole
    else
        [ $(($(date +%s) - stopped)) -ge 19 ] || fail "the answer was cut: $(cat /test/long.err)"
        n=$((n / 2))
    fi
done
is hotset.service Result success
answers "no answer after a stop"

step "watchdog: an engine that stands still is killed and started again"
mkdir -p /etc/systemd/system/hotset.service.d
printf '[Service]\nWatchdogSec=15s\nRestartSec=100ms\n' > /etc/systemd/system/hotset.service.d/test.conf
systemctl daemon-reload
systemctl restart hotset.service
pid=$(state hotset.service MainPID)
sleep 20
is hotset.service MainPID "$pid"
engine=$(grep -lx hs-engine "/proc/$pid/task/"*/comm | head -n 1)
[ -n "$engine" ] || fail "no engine thread"
engine=${engine%/comm}
/test/stick "${engine##*/}" &
stick=$!
runuser -u friend -- hotset run tale "Once upon a time" --max-tokens 12 > /dev/null 2>&1 &
wait_for "the stuck daemon goes on" manager_said "hotset.service: Watchdog timeout"
kill $stick # a thread that is held cannot be killed
answers "it is not started again"
[ "$(state hotset.service MainPID)" != "$pid" ] || fail "the same process"
wait_for "no sentence about what stands still" said "nothing advances"

step "a crash: started again"
pid=$(state hotset.service MainPID)
kill -SEGV "$pid"
answers "it is not started again"
[ "$(state hotset.service MainPID)" != "$pid" ] || fail "the same process"
rm -r /etc/systemd/system/hotset.service.d
systemctl daemon-reload

step "models in a home folder, by the drop-in that the unit describes"
mv /srv/models/tale /home/friend/tale
sed -i 's|^path = .*|path = /home/friend/tale|' /etc/hotset/hotset.conf
mkdir -p /etc/systemd/system/hotset.service.d
printf '[Service]\nProtectHome=tmpfs\nBindReadOnlyPaths=/home/friend/tale\n' > /etc/systemd/system/hotset.service.d/home.conf
systemctl daemon-reload
systemctl restart hotset.service
answers "no answer from a model in a home folder"

step "as a user's own service"
systemctl stop hotset.service
mkdir -p /home/friend/.config/hotset
printf '[model tale]\npath = /home/friend/tale\n' > /home/friend/.config/hotset/hotset.conf
chown -R friend: /home/friend
uid=$(id -u friend)
loginctl enable-linger friend
wait_for "no service manager of the user" test -S "/run/user/$uid/systemd/private"
as_friend() { runuser -u friend -- env XDG_RUNTIME_DIR="/run/user/$uid" "$@"; }
as_friend systemctl --user start hotset.socket || fail "the user's socket does not start"
wait_for "the user's service does not answer" ask friend /test/answer --socket "/run/user/$uid/hotset.sock"
cmp /test/first /test/answer || fail "another answer from the user's service"
[ "$(stat -c %a "/run/user/$uid/hotset.sock")" = 600 ] || fail "others may use the user's socket"
as_friend systemctl --user stop hotset.socket hotset.service

step "remove: stopped, configuration and state stay"
answers "no answer before removal"
dpkg -r hotset
[ ! -e /run/hotset/api.sock ] || fail "the socket is left behind"
pgrep -x hotset && fail "the daemon still runs"
[ -e /etc/hotset/hotset.conf ] || fail "the configuration is gone"
[ -d /var/lib/private/hotset ] || fail "the state is gone"

step "install again: enabled as before, with the old configuration"
dpkg -i --force-confold /test/newer.deb
[ "$(systemctl is-enabled hotset.socket)" = enabled ] || fail "the socket is not enabled"
answers "no answer after installing again"

step "what the administrator has disabled stays disabled over an upgrade"
systemctl disable --now hotset.socket hotset.service
dpkg -i --force-confold /test/newer.deb
[ "$(systemctl is-enabled hotset.socket || true)" = disabled ] || fail "the socket has been enabled"

step "purge: nothing is left"
dpkg -P hotset
rm -r /etc/systemd/system/hotset.service.d
for path in /etc/hotset /var/lib/hotset /var/lib/private/hotset /usr/bin/hotset /usr/share/doc/hotset; do
    [ ! -e "$path" ] && [ ! -L "$path" ] || fail "left behind: $path"
done
left=$(find /etc/systemd /var/lib/systemd -name '*hotset*' -not -type d)
[ -z "$left" ] || fail "left behind: $left"

trap - EXIT
echo "all is well"
