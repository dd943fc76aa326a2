"""peers.py - hotset beside llama.cpp and ik_llama.cpp: alternating runs, medians, ratios. See README.md."""
import argparse
import json
import os
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from group import Group, forget_file, size  # noqa: E402

PEERS = ("llama.cpp", "ik_llama.cpp")
FIGURES = ("prefill_tokens_per_s", "decode_tokens_per_s", "prefill_cpu_s", "decode_cpu_s")


def command(a, name, limit):
    warm = getattr(a, "warm", 1 if limit else a.prompt + a.gen)
    if name != "hotset":
        return [sys.executable, os.path.join(HERE, "engine.py"), name, a.model,
                *(str(n) for n in (a.threads, a.prompt, a.gen, a.seed, warm, 0 if limit else 1))]
    line = [a.hotset, "bench", a.model, "--json", "--set", f"compute.threads={a.threads}"]
    for flag, value in (("--prompt", a.prompt), ("--gen", a.gen), ("--seed", a.seed), ("--warm", warm)):
        line += [flag, str(value)]
    return line + (["--set", f"memory.limit={limit}"] if limit else []) + getattr(a, "more", [])


def run(a, name, limit):
    """One run's figures; None: the peer is not installed."""
    if limit:
        forget_file(a.model)
    group = Group(limit)
    try:
        p = subprocess.run(command(a, name, limit), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                           preexec_fn=group.enter, check=False)
    finally:
        held = group.close()
    if p.returncode == 77:
        print(p.stderr.strip(), file=sys.stderr)
        return None
    if p.returncode:
        sys.exit(f"{name}: exit status {p.returncode}: {p.stderr.strip()[-2000:]}")
    figures = json.loads(p.stdout)
    kept = ("hit_rate", "bytes_read", "disk_bytes_per_s", "prefill_bytes_read", "prefill_disk_bytes_per_s", "phases",
            "prefill_phases")
    return {k: figures[k] for k in FIGURES} | held | {k: figures[k] for k in kept if k in figures}


def medians(runs):
    keys = [k for k in runs[0] if isinstance(runs[0][k], (int, float))]
    return {k: statistics.median(r[k] for r in runs) for k in keys}


def measure(a, limit):
    names = ["hotset", *a.peers.split(",")]
    runs = {n: [] for n in names}
    for _ in range(a.rounds):
        for n in list(runs):
            r = run(a, n, limit)
            if r is None:
                del runs[n]
            else:
                runs[n].append(r)
    if len(runs) == 1:
        print("SKIP: no peer is installed")
        sys.exit(77)
    return {"model": a.model, "threads": a.threads, "prompt": a.prompt, "gen": a.gen, "rounds": a.rounds,
            "limit": limit, "load_average": os.getloadavg()[0], "medians": {n: medians(r) for n, r in runs.items()},
            "runs": runs}


def table(result):
    limit = result["limit"]
    print(f"{result['model']}: {result['threads']} threads, {result['prompt']} prompt and {result['gen']} generated "
          f"tokens, medians of {result['rounds']} alternating runs, load average {result['load_average']:.1f}, "
          + (f"{limit / 2**20:.0f} MiB of memory" if limit else "all in memory"))
    print(f"  {'':14}{'prefill':>10}{'hotset is':>11}{'decode':>10}{'hotset is':>11}{'CPU s':>9}{'CPU s':>9}"
          + (f"{'peak MiB':>11}{'file cache':>12}" if limit else ""))
    own = result["medians"]["hotset"]
    for name, m in result["medians"].items():
        line = f"  {name:14}"
        for key in FIGURES[:2]:
            ratio = "" if m is own else f"{own[key] / m[key]:.2f}x"
            line += f"{m[key]:10.2f}{ratio:>11}"
        line += f"{m['prefill_cpu_s']:9.2f}{m['decode_cpu_s']:9.2f}"
        if limit:
            line += f"{m['group_peak'] / 2**20:11.0f}{m['group_file_cache'] / 2**20:12.1f}"
        print(line)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("model", help="a GGUF file")
    p.add_argument("--hotset", required=True, help="the program")
    p.add_argument("--peers", default=",".join(PEERS))
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--prompt", type=int, default=512)
    p.add_argument("--gen", type=int, default=32)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--small", action="store_true", help="in a memory cgroup of a quarter of the file's size (root)")
    p.add_argument("--limit", type=size, help="the same with this many bytes, e.g. 1600M")
    p.add_argument("--json", action="store_true", help="every run and the medians as one JSON value")
    a = p.parse_args()
    limit = a.limit or (os.path.getsize(a.model) // 4 if a.small else None)
    result = measure(a, limit)
    if a.json:
        print(json.dumps(result))
    else:
        table(result)


if __name__ == "__main__":
    main()
