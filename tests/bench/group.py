"""group.py - a smaller machine or a slower drive, on this one: a control group (v1 or v2; root) with a limit."""
import os
import subprocess
import sys

V2 = os.path.exists("/sys/fs/cgroup/cgroup.controllers")


def size(text):
    """1600M -> bytes; a fraction may stand before the unit."""
    unit = {"k": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1])
    return int(float(text[:-1]) * unit) if unit else int(text)


def disks():
    """major:minor of every whole disk, and of every loop device in use."""
    names = [n for n in os.listdir("/sys/block") if not n.startswith(("ram", "zram", "dm-"))
             and (not n.startswith("loop") or os.path.exists(f"/sys/block/{n}/loop"))]
    for name in names:
        with open(f"/sys/block/{name}/dev", encoding="ascii") as f:
            yield f.read().strip()


class Group:
    """memory: bytes, page cache included; read: bytes/s of every disk, or {major:minor: bytes/s}; None: no limit. Both
    None: no group."""

    def __init__(self, memory=None, read=None):
        self.memory = self.blkio = None
        name = f"hotset-bench-{os.getpid()}"
        if memory is not None or (V2 and read is not None):
            self.memory = self.make("" if V2 else "memory", name)
        if read is not None:
            self.blkio = self.memory if V2 else self.make("blkio", name)
        if memory is not None:
            self.write(self.memory, "memory.max" if V2 else "memory.limit_in_bytes", memory)
            if V2:
                self.write(self.memory, "memory.swap.max", 0)
        rates = {} if read is None else read if isinstance(read, dict) else {disk: read for disk in disks()}
        for disk, rate in rates.items():
            self.write(self.blkio, "io.max" if V2 else "blkio.throttle.read_bps_device",
                       f"{disk} rbps={rate}" if V2 else f"{disk} {rate}")

    @staticmethod
    def make(controller, name):
        path = os.path.join("/sys/fs/cgroup", controller, name)
        os.mkdir(path)
        return path

    @staticmethod
    def write(group, name, value):
        with open(os.path.join(group, name), "w", encoding="ascii") as f:
            f.write(str(value))

    def read(self, name):
        try:
            with open(os.path.join(self.memory, name), encoding="ascii") as f:
                return f.read()
        except OSError:
            return "0"

    def enter(self):
        """In the child, before exec."""
        for group in {self.memory, self.blkio} - {None}:
            self.write(group, "cgroup.procs", os.getpid())

    def close(self):
        """What it held: peak and file cache in bytes; the groups are gone afterwards."""
        held = {}
        if self.memory:
            stat = dict(line.split() for line in self.read("memory.stat").splitlines())
            held = {"group_peak": int(self.read("memory.peak" if V2 else "memory.max_usage_in_bytes")),
                    "group_file_cache": int(stat["file" if V2 else "cache"])}
        for group in {self.memory, self.blkio} - {None}:
            os.rmdir(group)
        return held


def forget_file(path):
    """Drops a file's pages from the page cache, so that none is free for a group."""
    fd = os.open(path, os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def call(line, read=None):
    """The command's standard output, from drives of `read` bytes/s (as Group has it); ends the program if it fails."""
    group = Group(read=read)
    try:
        p = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=group.enter,
                           check=False)
    finally:
        group.close()
    if p.returncode:
        sys.exit(f"{' '.join(line)}: exit status {p.returncode}: {p.stderr.strip()[-2000:]}")
    return p.stdout
