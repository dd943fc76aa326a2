"""drives.py - one setting against another on slower drives (a control group holds reading back; root) and for caches of
several sizes: alternating runs of hotset bench, medians, ratios. Each setting is a list of hotset bench arguments.

  drives.py HOTSET --a 'MODEL --set prefetch.mode=off' --b MODEL
  drives.py HOTSET --a MODEL --b PACKED --rates 300M,1G --caches 25,50
"""
import argparse
import json
import os
import statistics
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from group import call, size  # noqa: E402


def run(a, setting, rate, cache):
    line = [a.hotset, "bench", *setting.split(), "--json", "--prompt", str(a.prompt), "--gen", str(a.gen), "--seed",
            str(a.seed), "--set", f"cache.size={cache}%"]
    return json.loads(call(line, rate))


def compare(a, rate, cache):
    runs = {"a": [], "b": []}
    for _ in range(a.rounds):
        for which, setting in (("a", a.a), ("b", a.b)):
            runs[which].append(run(a, setting, rate, cache))
    return runs


def median(runs, key):
    return statistics.median(r[key] or 0 for r in runs)


def report(rate, cache, runs):
    x, y = (median(runs[w], "decode_tokens_per_s") for w in "ab")
    b = runs["b"]
    missed = median(b, "misses") + median(b, "prefetch_useful")
    useful = median(b, "prefetch_useful")
    print(f"{f'{rate / 2**20:.0f} MiB/s' if rate else 'as it is':>12} {cache:>5}% {x:10.2f} {y:10.2f} {y / x:8.3f}"
          f" {median(b, 'hit_rate'):9.3f} {(median(b, 'disk_bytes_per_s')) / 2**20:9.0f}"
          f" {useful / missed if missed else 0:9.2f}"
          f" {median(b, 'prefetch_wasted') / useful if useful else 0:9.2f}", flush=True)
    return y / x


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("hotset", help="the program")
    p.add_argument("--a", required=True, help="model and flags")
    p.add_argument("--b", required=True, help="model and flags of what is compared with it")
    p.add_argument("--rates", default="300M,1G,0", help="bytes per second that a drive may read; 0: as it is")
    p.add_argument("--caches", default="10,25,50,75,90", help="shares of all experts in memory, percent")
    p.add_argument("--prompt", type=int, default=16)
    p.add_argument("--gen", type=int, default=64)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    print(f"a: {a.a}\nb: {a.b}\nmedians of {a.rounds} alternating runs, {a.gen} tokens; hit rate, drive, shares of b")
    print(f"{'drive':>12} {'cache':>6} {'a tok/s':>10} {'b tok/s':>10} {'b / a':>8} {'hit rate':>9} {'MiB/s':>9}"
          f" {'covered':>9} {'wasted':>9}")
    ratios = [report(rate or None, cache, compare(a, rate or None, cache))
              for rate in map(size, a.rates.split(",")) for cache in a.caches.split(",")]
    print(f"b / a: least {min(ratios):.3f}, median {statistics.median(ratios):.3f}, most {max(ratios):.3f}")


main()
