"""missbound.py - decoding that waits for the drive, beside fio on the same files: hotset bench and fio in turns, medians.

  missbound.py HOTSET MODEL --cache 20 --prefix 'chrt -f 10'

fio reads the model's files at random in the same pieces, as many at a time, with O_DIRECT through io_uring, and into
huge pages as hotset does (a tunable of glibc and aligned buffers; with pages of 4 KiB a piece may be more segments
than the drive takes in one request, and fio half as fast). Each run of hotset is compared with the mean of the fio runs before and after it. Of
a token's time, from bench's counters:

  waiting      the engine thread stood still for reads
  overlapped   it computed while a read was in flight: time with a read in flight (bytes read / bytes per second)
               less waiting
  idle drive   it computed and nothing was read: the rest

  I/O bound      bytes read per token / fio's bytes per second
  compute bound  seconds of computing per token, of the same run (so it bears what reading costs the processor)

Aims, with a cache that makes the I/O bound the larger one: bytes/s, while something is in flight, >= 0.95 of fio's;
time per token <= 1.10 of the larger bound. The figures are printed, never asserted.
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from group import Group, size  # noqa: E402

SMALLEST = 64 << 20  # files with experts in them
HUGE = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


def run(a, line, env=None):
    group = Group(read=a.rate)
    try:
        p = subprocess.run([*a.prefix.split(), *line], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                           preexec_fn=group.enter, check=False, env={**os.environ, **(env or {})})
    finally:
        group.close()
    if p.returncode:
        sys.exit(f"{' '.join(line)}: exit status {p.returncode}: {p.stderr.strip()[-2000:]}")
    return json.loads(p.stdout[p.stdout.index("{"):])


def weights(model):
    folder = [os.path.join(model, n) for n in sorted(os.listdir(model))] if os.path.isdir(model) else [model]
    files = [os.path.realpath(f) for f in folder if os.path.isfile(f) and os.path.getsize(f) >= SMALLEST]
    return files or sys.exit(f"{model}: no file of {SMALLEST >> 20} MiB or more to read")


def fio(a):
    o = run(a, ["fio", "--name=read", f"--filename={':'.join(weights(a.model))}", "--readonly", "--rw=randread",
                f"--bs={a.read_size}", f"--iodepth={a.in_flight // a.read_size}", "--direct=1", "--ioengine=io_uring",
                "--mem=malloc", "--iomem_align=2M", "--time_based",
                f"--runtime={a.seconds}", "--output-format=json"], HUGE)
    return o["jobs"][0]["read"]["bw_bytes"]


def bench(a, mode):
    return run(a, [a.hotset, "bench", a.model, "--json", "--prompt", str(a.prompt), "--gen", str(a.gen), "--set",
                   f"cache.size={a.cache}%", "--set", f"prefetch.mode={mode}", "--set", f"io.read_size={a.read_size}",
                   "--set", f"io.in_flight={a.in_flight}", *(w for s in a.set for w in ("--set", s))])


def figures(o, fio_bytes_per_s):
    """Of one run; times in ms per token."""
    ms = 1e3 / o["generated_tokens"]
    reached = o["disk_bytes_per_s"] or float("nan")
    busy, wait, all_ = o["bytes_read"] / reached * ms, o["phases"]["disk_wait"] * ms, o["decode_s"] * ms
    io_bound, compute_bound = o["bytes_read"] / fio_bytes_per_s * ms, o["phases"]["compute"] * ms
    return {"hotset_bytes_per_s": reached, "fio_bytes_per_s": fio_bytes_per_s, "of_fio": reached / fio_bytes_per_s,
            "hit_rate": o["hit_rate"], "token_ms": all_, "waiting_ms": wait, "overlapped_ms": busy - wait,
            "idle_drive_ms": all_ - busy, "io_bound_ms": io_bound, "compute_bound_ms": compute_bound,
            "over_bound": all_ / max(io_bound, compute_bound), "over_sum": all_ / (io_bound + compute_bound)}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("hotset", help="the program")
    p.add_argument("model")
    p.add_argument("--cache", type=float, default=20, help="share of all experts in memory, percent")
    p.add_argument("--modes", default="off,auto", help="prefetch.mode")
    p.add_argument("--read-size", type=size, default=1 << 20)
    p.add_argument("--in-flight", type=size, default=16 << 20)
    p.add_argument("--set", action="append", default=[], help="another option of hotset, section.key=value")
    p.add_argument("--rate", type=size, help="bytes per second that the drive is held to, for both (root)")
    p.add_argument("--prefix", default="", help="put before both: chrt -f 10, where others use the machine")
    p.add_argument("--prompt", type=int, default=8)
    p.add_argument("--gen", type=int, default=24)
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--seconds", type=int, default=2, help="of a fio run")
    p.add_argument("--json", action="store_true", help="all runs, one JSON value")
    a = p.parse_args()
    if not shutil.which("fio"):
        print("SKIP: fio is not installed")
        return
    modes = a.modes.split(",")
    runs = {m: [] for m in modes}
    for _ in range(a.rounds):
        before = fio(a)
        for m in modes:
            o, after = bench(a, m), fio(a)
            runs[m].append(figures(o, (before + after) / 2))
            before = after
    if a.json:
        print(json.dumps(runs))
        return
    print(f"{a.model}, {a.cache:g} % of the experts in memory, pieces of {a.read_size >> 10} KiB, {a.in_flight >> 20} MiB "
          f"in flight; medians of {a.rounds} alternating runs")
    for m in modes:
        v = {k: statistics.median(r[k] for r in runs[m]) for k in runs[m][0]}
        print(f"  prefetch {m:4} {v['hotset_bytes_per_s'] / 1e6:5.0f} MB/s, fio {v['fio_bytes_per_s'] / 1e6:5.0f}: "
              f"{v['of_fio']:.2f}   hit rate {v['hit_rate']:.3f}   {v['token_ms']:.0f} ms per token: waiting "
              f"{v['waiting_ms']:.0f}, overlapped {v['overlapped_ms']:.0f}, idle drive {v['idle_drive_ms']:.0f}; I/O "
              f"bound {v['io_bound_ms']:.0f}, compute bound {v['compute_bound_ms']:.0f}: {v['over_bound']:.2f} of the "
              f"larger, {v['over_sum']:.2f} of both")


main()
