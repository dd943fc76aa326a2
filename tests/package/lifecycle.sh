#!/bin/sh
# lifecycle.sh DEB ROOT STICK WORK container|vm - the package's life in a bare Debian 12: installed and purged without an
# init system; then inside.sh where systemd is the init, in a container or in a virtual machine, and in the machine, whose
# kernel is its own, memory.sh too. Root only. WORK keeps the bare system for the next run (debootstrap takes a minute);
# HOTSET_DEBIAN=FOLDER takes that one instead (a machine's needs a kernel), HOTSET_VM_ACCEL=kvm makes the machine fast where
# that works. What the scripts said is in WORK/log.
set -eu
deb=$1
root=$2
stick=$3
work=$4
where=$5
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
packages=systemd-sysv,dbus,libpam-systemd,procps,curl
base=${HOTSET_DEBIAN:-$work/base-$where}
case $where in
container) ;;
vm)
    packages=$packages,linux-image-cloud-amd64,initramfs-tools
    for tool in qemu-system-x86_64 mke2fs; do
        command -v $tool > /dev/null || skip "$tool is not installed (qemu-system-x86, e2fsprogs)"
    done
    ;;
*) fail "container or vm, not '$where'" ;;
esac
mkdir -p "$work"
if [ ! -d "$base" ]; then
    command -v debootstrap > /dev/null || skip "debootstrap is not installed"
    rm -rf "$base.part"
    debootstrap --variant=minbase --include=$packages bookworm "$base.part" > "$work/debootstrap.log" ||
        skip "no bare system: $work/debootstrap.log"
    mv "$base.part" "$base"
fi

machine=$work/machine
rm -rf "$machine" "$work/newer"
cp -a --reflink=auto "$base" "$machine"
mkdir "$machine/test"
cp "$deb" "$machine/test/hotset.deb"
cp "$stick" "$machine/test/stick"
cp "$here/lib.sh" "$here/inside.sh" "$here/memory.sh" "$machine/test/"
mkdir -p "$machine/srv/models" "$machine/test/tests/models"
cp -a "$root/tests/e2e" "$machine/test/tests/"
cp -a "$root/tests/models/tale-moe-fp8" "$machine/srv/models/tale"
cp -a "$root/tests/models/tale-moe-fp8" "$machine/test/tests/models/"
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

# 2. Under systemd: inside.service runs the scripts, one after the other whether they fail or not, and then it is over.
# unit OUTPUT SCRIPT...
unit() {
    cat << UNIT
[Unit]
After=multi-user.target
SuccessAction=poweroff-force
FailureAction=poweroff-force
[Service]
Type=oneshot
StandardOutput=file:$1
StandardError=inherit
TimeoutStartSec=60min
UNIT
    shift
    printf 'ExecStart=-/test/%s\n' "$@"
    printf '[Install]\nWantedBy=default.target\n'
}
in_container() {
    unit /test/log inside.sh > "$machine/etc/systemd/system/inside.service"
    systemctl --quiet --root="$machine" enable inside.service
    timeout -k 10 1200 systemd-nspawn -q -D "$machine" --register=no --keep-unit --private-network --machine=hotset-package -b \
        < /dev/null > "$work/boot.log" 2>&1 || true
    cp "$machine/test/log" "$work/log" 2> /dev/null || skip "the container did not boot: $work/boot.log"
}
# Two gigabytes and one processor, which is computed too; no network. The first serial line is the console, the second
# what the scripts say.
in_vm() {
    unit /dev/ttyS1 inside.sh memory.sh > "$machine/etc/systemd/system/inside.service"
    systemctl --quiet --root="$machine" enable inside.service
    echo '/dev/vda / ext4 rw 0 1' > "$machine/etc/fstab"
    rm -f "$work/image"
    mke2fs -q -t ext4 -d "$machine" "$work/image" 3G
    rm -f "$work/log"
    timeout -k 10 3600 qemu-system-x86_64 -accel "${HOTSET_VM_ACCEL:-tcg}" -cpu max,arch-capabilities=off -smp 1 -m 2G -nodefaults \
        -no-reboot -display none -kernel "$machine/vmlinuz" -initrd "$machine/initrd.img" \
        -append "root=/dev/vda rw console=ttyS0 panic=-1 no_timer_check quiet" -drive "file=$work/image,if=virtio,format=raw,cache=unsafe" \
        -serial "file:$work/boot.log" -serial "file:$work/log" < /dev/null > "$work/qemu.log" 2>&1 || true
    rm -f "$work/image"
    [ -s "$work/log" ] || skip "the machine did not boot: $work/boot.log, $work/qemu.log"
}
"in_$where"
tr -d '\r' < "$work/log" | grep '^== '
[ "$(tr -d '\r' < "$work/log" | grep -c '^all is well$')" = "$([ "$where" = vm ] && echo 2 || echo 1)" ] || {
    tail -n 40 "$work/log"
    fail "under systemd: $work/log"
}
rm -rf "$machine" "$work/newer"
