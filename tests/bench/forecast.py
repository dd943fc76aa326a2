"""forecast.py - what hotset plan expects beside what hotset bench measures, for caches of several sizes and drives of
several rates (a control group holds reading back; root): alternating runs, medians, predicted / measured.

The time is compared with the measured hit rate and the measured number of a prompt's experts given to plan, so that
its error is the time's alone; the hit rate that plan would have taken by itself stands beside the measured one. Of
models with random weights it is far off: their routes hardly depend on the token. bench warms up with the
tokens that it measures.

  forecast.py HOTSET MODEL... --rates 0,1000M,300M --caches 10,25,50,100 --prefix 'chrt -f 10'
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from group import Group, size  # noqa: E402


class Refused(Exception):
    """A cache under the floor, or memory that is not there."""


def run(a, rate, *words):
    group = Group(read=rate)
    with tempfile.TemporaryDirectory() as state:
        line = [*a.prefix.split(), a.hotset, *words, "--json", *a.config, "--set", f"state.dir={state}", *a.set]
        try:
            p = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
                               preexec_fn=group.enter)
        finally:
            group.close()
    if p.returncode:
        raise Refused(p.stderr.strip()[-300:])
    return json.loads(p.stdout)


def compare(a, model, cache, rate):
    """One row: medians of everything."""
    rounds, size_of = [], ("--set", f"cache.size={cache}%")
    for _ in range(a.rounds):
        b = run(a, rate, "bench", model, "--prompt", str(a.prompt), "--gen", str(a.gen), "--warm",
                str(a.prompt + a.gen), *size_of)
        own = rounds[0]["own"] if rounds else run(a, None, "plan", model, "--prompt", str(a.prompt), *size_of,
                                                  "--disk-bw", "1G", "--routing", a.routing)
        expert = own["bytes_per_token_cold"] / own["token_cycle"]
        p = run(a, rate, "plan", model, "--prompt", str(a.prompt), *size_of, "--hit-rate", f"{b['hit_rate']:.6f}",
                "--prompt-experts", str(b["prefill_experts"]), "--prompt-reads",
                str(round(b["prefill_bytes_read"] / expert)))["expected"]
        rounds.append({
            "bench": b, "plan": p, "own": own,
            "decode": p["decode_tokens_per_s"] / b["decode_tokens_per_s"],
            "prompt": p["prefill_tokens_per_s"] / b["prefill_tokens_per_s"]})
        if a.raw:
            a.raw.write(json.dumps({"model": model, "cache": cache, "rate": rate, **rounds[-1]}) + "\n")
    return rounds


def middle(rounds, key, name):
    return statistics.median(r[key].get("expected", r[key])[name] or 0 for r in rounds)


def report(model, cache, rate, rounds):
    decode, prompt = (statistics.median(r[k] for r in rounds) for k in ("decode", "prompt"))
    print(f"{os.path.basename(model):>12} {f'{rate / 2**20:.0f}M' if rate else 'as is':>6} {cache:>4}%"
          f" {middle(rounds, 'own', 'hit_rate'):6.2f} {middle(rounds, 'bench', 'hit_rate'):6.3f}"
          f" {middle(rounds, 'own', 'prefill_experts'):7.0f} {middle(rounds, 'bench', 'prefill_experts'):6.0f}"
          f" {middle(rounds, 'plan', 'decode_tokens_per_s'):8.2f} {middle(rounds, 'bench', 'decode_tokens_per_s'):8.2f}"
          f" {decode:6.2f}"
          f" {middle(rounds, 'plan', 'prefill_tokens_per_s'):8.1f}"
          f" {middle(rounds, 'bench', 'prefill_tokens_per_s'):8.1f} {prompt:6.2f}", flush=True)
    return decode, prompt


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("hotset", help="the program")
    p.add_argument("models", nargs="+")
    p.add_argument("--rates", default="0,1000M,300M", help="bytes per second that a drive may read; 0: as it is")
    p.add_argument("--caches", default="10,25,50,100", help="shares of all experts in memory, percent")
    p.add_argument("--prompt", type=int, default=128)
    p.add_argument("--gen", type=int, default=96, help="many: the first ones fill memory that is fresh")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--prefix", default="", help="before each command, e.g. 'chrt -f 10'")
    p.add_argument("--routing", default="real", help="plan's own assumption")
    p.add_argument("--config", help="as hotset's")
    p.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    p.add_argument("--within", type=float, help="exit status 1 if a ratio is over that, or under 1 by it")
    p.add_argument("--raw", type=argparse.FileType("a"), help="all answers go there, one JSON object a round")
    a = p.parse_args()
    a.config = ["--config", a.config] if a.config else []
    a.set = [word for s in a.set for word in ("--set", s)]
    print(f"a prompt of {a.prompt}, {a.gen} tokens; medians of {a.rounds} rounds; own: what plan assumes by itself")
    print(f"{'model':>12} {'drive':>6} {'cache':>5} {'hits:':>6} {'':>6} {'experts':>7} {'':>6} {'decode':>8} {'':>8}"
          f" {'plan /':>6} {'prefill':>8} {'':>8} {'plan /':>6}")
    print(f"{'':>12} {'':>6} {'':>5} {'own':>6} {'bench':>6} {'own':>7} {'bench':>6} {'plan':>8} {'bench':>8}"
          f" {'bench':>6} {'plan':>8} {'bench':>8} {'bench':>6}")
    ratios = []
    for model in a.models:
        for rate in map(size, a.rates.split(",")):
            for cache in a.caches.split(","):
                try:
                    ratios.append(report(model, cache, rate, compare(a, model, cache, rate or None)))
                except Refused as why:
                    print(f"{os.path.basename(model):>12} {rate:>6} {cache:>4}% left out: {why}", flush=True)
    for i, what in enumerate(("decode", "prefill")):
        each = [r[i] for r in ratios]
        near = sum(0.85 <= r <= 1.15 for r in each)
        if each:
            print(f"{what}: plan / bench {min(each):.2f} to {max(each):.2f}, {near} of {len(each)} within 15 %")
    if a.within and not (ratios and all(1 / a.within <= x <= a.within for r in ratios for x in r)):
        sys.exit("plan and bench do not agree")


main()
