"""shares.py - tokens/s of decoding against the share of experts that is in memory, beside llama.cpp with mmap in a control
group of the same memory (root). See README.md."""
import argparse
import json
import os
import statistics
import subprocess
import sys

from peers import run


def limit_of(a, share):
    """What hotset plans with that share, bytes."""
    line = [a.hotset, "plan", a.model, "--json", "--set", f"cache.size={share}%", "--context", str(max(a.prompt + a.gen, a.warm + 1))]
    p = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(p.stdout)["total"]


def speed(a, name, limit, rounds):
    runs = [run(a, name, limit) for _ in range(rounds)]
    if None in runs:
        return None
    return {k: statistics.median(r.get(k, 0) for r in runs) for k in ("decode_tokens_per_s", "hit_rate", "group_peak")}


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("model", help="a GGUF file")
    p.add_argument("--hotset", required=True, help="the program")
    p.add_argument("--shares", default="5,10,25,50,100", help="percent of all experts")
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--prompt", type=int, default=16)
    p.add_argument("--gen", type=int, default=32)
    p.add_argument("--peer-gen", type=int, default=6, help="generated tokens of llama.cpp, which takes seconds for each")
    p.add_argument("--warm", type=int, default=256, help="tokens that both run before, to fill cache or page cache")
    p.add_argument("--rounds", type=int, default=1)
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    print(f"{a.model}: {a.gen} tokens ({a.peer_gen} of llama.cpp) after {a.warm}, medians of {a.rounds}, load {os.getloadavg()[0]:.1f}")
    print("| resident | memory | hotset tok/s | hit rate | llama.cpp tok/s | ratio |\n|---|---|---|---|---|---|")
    for share in a.shares.split(","):
        limit = limit_of(a, share)
        a.more = ["--set", f"cache.size={share}%"]
        own = speed(a, "hotset", limit, a.rounds)
        gen, a.gen = a.gen, a.peer_gen
        peer = speed(a, "llama.cpp", limit, a.rounds)
        a.gen = gen
        if peer is None:
            sys.exit(77)
        rate, other = own["decode_tokens_per_s"], peer["decode_tokens_per_s"]
        print(f"| {share} % | {limit / 2**30:.2f} GiB | {rate:.2f} | {own['hit_rate']:.2f} | {other:.2f} |"
              f" {rate / other:.1f} |", flush=True)


main()
