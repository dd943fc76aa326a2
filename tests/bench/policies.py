"""policies.py - tables of what bench_policies prints: what belady, one who knows the chances, and ewma hit above lru, in
points, for each kind of routes and cache size; then how many cells keep what ewma promises.

  bench_policies --knowing | policies.py [--policy ewma] [--before FILE]

After a cell: ! under lru (by more than 2 points within 1.2 times a token's experts), * less than 2.5 over it where
belady has 10, - so, but one who knows the chances has no 2.5 either, z less than a quarter of belady below one token's
experts. --before: the same of another build; its points are subtracted.
"""
import argparse
import collections
import json
import sys


def flag(cell, rate):
    over, room = rate - cell["lru"], cell["belady"] - cell["lru"]
    if cell["cycle"] < 1:
        return "z" if rate < cell["belady"] / 4 else " "
    if cell["cycle"] <= 1.2:
        return "!" if over < -2 else " "
    if over < 0:
        return "!"
    if room < 10 or over >= 2.5:
        return " "
    return "-" if cell.get("knowing", 100) - cell["lru"] < 2.5 else "*"


def load(file):
    return {(c["routes"], c["cache"]): c for c in map(json.loads, file)}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--policy", default="ewma")
    p.add_argument("--before", type=argparse.FileType())
    a = p.parse_args()
    cells, before = load(sys.stdin), load(a.before) if a.before else {}
    rows, count = collections.defaultdict(list), collections.defaultdict(collections.Counter)
    gain = collections.defaultdict(float)
    for key, c in cells.items():
        rate, half = c[a.policy], "held out" if c["held_out"] else "developed on"
        f = flag(c, rate)
        count[half][f] += 1
        text = f"{c['belady'] - c['lru']:.1f}/"
        if "knowing" in c:
            text += f"{c['knowing'] - c['lru']:.1f}/"
        text += f"{rate - c['lru']:.1f}{f}"
        if key in before:
            gain[half] += rate - before[key][a.policy]
            text += f"({rate - before[key][a.policy]:+.1f})"
        rows[c["routes"]].append(text)
    sizes = sorted({size for _, size in cells})
    print(f"{'':>24} " + " ".join(f"{f'{s} %':>18}" for s in sizes))
    for name, texts in rows.items():
        print(f"{name:>24} " + " ".join(f"{t:>18}" for t in texts))
    for half, n in count.items():
        all_of = sum(n.values())
        print(f"{half}: {all_of} cells; under lru {n['!']}; under 2.5 where belady has 10: {n['*'] + n['-']}, of which "
              f"{n['-']} cannot be known; below a quarter of belady: {n['z']}"
              + (f"; mean gain {gain[half] / all_of:+.3f}" if before else ""))


main()
