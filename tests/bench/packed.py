"""packed.py - packs of a model against the model itself, on slower drives (a control group holds reading back; root) and
for caches of several sizes: alternating runs of hotset bench, tokens per second, ratios to the model's own; raw: the
share of the packs' reads that took the raw way. Packs are made in DIR once, auto one for each drive.

  packed.py HOTSET MODEL DIR
  packed.py HOTSET MODEL DIR --packs exponent --rates 300M,1G,0 --caches 25,50 --prefix 'chrt -f 10' --least 0.99
"""
import argparse
import json
import os
import statistics
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from group import call, size  # noqa: E402


def pack(a, codec, rate):
    """The folder of the pack that serves a drive of this rate."""
    told = codec == "auto" and rate
    path = os.path.join(a.dir, os.path.basename(os.path.normpath(a.model)) + f"-{codec}" + (f"-{rate}" if told else ""))
    if not os.path.exists(os.path.join(path, "manifest.json")):
        os.makedirs(a.dir, exist_ok=True)
        call([a.hotset, "pack", "--codec", codec, *(["--disk-bw", str(rate)] if told else []), a.model, path])
    return path


def run(a, model, rate, cache):
    line = [*a.prefix.split(), a.hotset, "bench", model, "--json", "--prompt", str(a.prompt), "--gen", str(a.gen),
            "--set", f"cache.size={cache}%", "--set", f"state.dir={a.dir}"]
    return json.loads(call(line, rate))


def row(a, rate, cache):
    """Ratios of the packs, by the median of rounds each and by the best of each."""
    models = [a.model] + [pack(a, codec, rate) for codec in a.packs]
    runs = [[] for _ in models]
    for k in range(a.rounds):
        for i in (range(len(models)) if k % 2 == 0 else reversed(range(len(models)))):
            runs[i].append(run(a, models[i], rate, cache))
    speeds = [[r["decode_tokens_per_s"] for r in x] for x in runs]
    ratios = [statistics.median(p / d for p, d in zip(x, speeds[0])) for x in speeds[1:]]
    bests = [max(x) / max(speeds[0]) for x in speeds[1:]]
    raw = [statistics.median(r["unpacked"] / max(r["misses"] + r["prefetch_issued"], 1) for r in x) for x in runs[1:]]
    print(f"{f'{rate / 2**20:.0f} MiB/s' if rate else 'as it is':>12} {cache:>4}% {statistics.median(speeds[0]):9.2f} "
          + "".join(f"   {r:6.3f} {b:6.3f} {u:4.2f}" for r, b, u in zip(ratios, bests, raw)), flush=True)
    return ratios


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("hotset", help="the program")
    p.add_argument("model", help="a folder of safetensors or a GGUF file")
    p.add_argument("dir", help="where the packs are made")
    p.add_argument("--packs", default="raw,exponent,zstd,auto", help="codecs")
    p.add_argument("--rates", default="300M,1G,0", help="bytes per second that a drive may read; 0: as it is")
    p.add_argument("--caches", default="10,25,50,75", help="shares of all experts in memory, percent")
    p.add_argument("--prompt", type=int, default=16)
    p.add_argument("--gen", type=int, default=64)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--prefix", default="", help="before each command, e.g. 'chrt -f 10'")
    p.add_argument("--least", type=float, help="exit status 1 if a ratio is under it")
    a = p.parse_args()
    a.packs = a.packs.split(",")
    print(f"{a.model}: a prompt of {a.prompt}, {a.gen} tokens, {a.rounds} rounds; ratio: median of rounds, best / best,"
          f" raw")
    print(f"{'drive':>12} {'cache':>5} {'tok/s':>9} " + "".join(f"   {c:<18}" for c in a.packs))
    ratios = [r for rate in map(size, a.rates.split(",")) for cache in a.caches.split(",")
              for r in row(a, rate or None, cache)]
    print(f"least {min(ratios):.3f}, median {statistics.median(ratios):.3f}, most {max(ratios):.3f}")
    if a.least and min(ratios) < a.least:
        sys.exit(f"a pack is slower than {a.least} of the model itself")


main()
