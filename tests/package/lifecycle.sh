#!/bin/sh
# lifecycle.sh DEB ROOT STICK WORK - the package's life in a bare Debian 12: installed and purged without an init system;
# then inside.sh in a container that systemd has booted. Root only. WORK keeps the bare system for the next run
# (debootstrap takes a minute); HOTSET_DEBIAN=FOLDER takes that one instead. What inside.sh said is in WORK/log.
set -eu
deb=$1
root=$2
stick=$3
work=$4
here=$(dirname "$(readlink -f "$0")")

skip() {
    echo "SKIP: $*"
    exit 77
}
fail() {
    echo "FAIL: $*" >&2
    exit 1
}
[ "$(id -u)" = 0 ] || skip "only root can make a container"
[ -e "$deb" ] || skip "no package: ./dev package"
command -v systemd-nspawn > /dev/null || skip "systemd-nspawn is not installed (systemd-container)"
mkdir -p "$work"
base=${HOTSET_DEBIAN:-$work/base}
if [ ! -d "$base" ]; then
    command -v debootstrap > /dev/null || skip "debootstrap is not installed"
    rm -rf "$work/base.part"
    debootstrap --variant=minbase --include=systemd-sysv,dbus,libpam-systemd,procps bookworm "$work/base.part" > "$work/debootstrap.log" ||
        skip "no bare system: $work/debootstrap.log"
    mv "$work/base.part" "$base"
fi

machine=$work/machine
rm -rf "$machine" "$work/newer"
cp -a --reflink=auto "$base" "$machine"
mkdir "$machine/test"
cp "$deb" "$machine/test/hotset.deb"
cp "$stick" "$machine/test/stick"
cp "$here/inside.sh" "$machine/test/inside.sh"
mkdir -p "$machine/srv/models"
cp -a "$root/tests/models/tale-moe-fp8" "$machine/srv/models/tale"
chmod -R a+rX "$machine/srv/models"

# The same package, newer, with another default configuration.
dpkg-deb -R "$deb" "$work/newer"
version=$(dpkg-deb -f "$deb" Version)
sed -i "s/^Version:.*/Version: $version+newer/" "$work/newer/DEBIAN/control"
echo "# a newer package's line" >> "$work/newer/etc/hotset/hotset.conf"
dpkg-deb --root-owner-group -b "$work/newer" "$machine/test/newer.deb" > "$work/newer.log"

# 1. Without an init system: everything is installed, the program runs, purge leaves nothing.
in_root() {
    systemd-nspawn -q -D "$machine" --register=no --keep-unit --as-pid2 --setenv=DEBIAN_FRONTEND=noninteractive "$@" < /dev/null
}
in_root sh -eu -c '
    apt-get update -q
    apt-get install -y -q --no-install-recommends /test/hotset.deb
    [ "$(hotset --version)" = "hotset $(dpkg-query -W -f="\${Version}" hotset)" ]
    hotset --help > /dev/null
    hotset serve --model tale=/srv/models/tale --check-config
    getent group hotset
    [ -z "$(dpkg --verify hotset)" ]
    [ -L /etc/systemd/system/sockets.target.wants/hotset.socket ]
    dpkg-query -L hotset > /test/files
    apt-get purge -y -q hotset
    ! dpkg-query -W hotset 2> /dev/null
    for path in $(grep hotset /test/files); do [ ! -e "$path" ] || { echo "left behind: $path"; exit 1; }; done
    [ -z "$(find /etc/systemd /var/lib/systemd -name "*hotset*" -not -type d)" ] || { find /etc/systemd /var/lib/systemd -name "*hotset*"; exit 1; }
' > "$work/install.log" 2>&1 || {
    tail -n 30 "$work/install.log"
    fail "installing or purging without an init system: $work/install.log"
}

# 2. Under systemd.
cat > "$machine/etc/systemd/system/inside.service" << 'UNIT'
[Unit]
After=multi-user.target
SuccessAction=poweroff-force
FailureAction=poweroff-force
[Service]
Type=oneshot
ExecStart=/test/inside.sh
StandardOutput=file:/test/log
StandardError=inherit
TimeoutStartSec=5min
[Install]
WantedBy=default.target
UNIT
systemctl --quiet --root="$machine" enable inside.service
timeout -k 10 360 systemd-nspawn -q -D "$machine" --register=no --keep-unit --private-network --machine=hotset-package -b \
    < /dev/null > "$work/boot.log" 2>&1 || true
cp "$machine/test/log" "$work/log" 2> /dev/null || skip "the container did not boot: $work/boot.log"
grep '^== ' "$work/log"
grep -q '^all is well$' "$work/log" || {
    tail -n 40 "$work/log"
    fail "under systemd: $work/log"
}
rm -rf "$machine" "$work/newer"
