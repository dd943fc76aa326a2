"""striped.py - experts over two drives, beside each of them alone: packs made with --stripe, and a mirror, on two loop
devices whose reading a control group holds back (root); alternating runs of hotset bench, medians.

  striped.py HOTSET DIR                     a synthetic model with experts of 3 MiB, 240 MiB in all; drives of 200 and 100 MB/s
  striped.py HOTSET DIR --model M --rates 300M,300M --prefix 'chrt -f 10'

DIR takes about six times the model while it runs. Of each arm: tokens/s, bytes/s while something is in flight, and these
against the sum of the drives that it reads. 'slow' arms: the second drive has become ten times slower since.
"""
import argparse
import json
import os
import random
import signal
import statistics
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from group import call, size  # noqa: E402

SKIP = 77


def synthetic(path, hidden=1024, width=512, layers=4, experts=20, top_k=4, vocab=512):
    """A Qwen3-MoE in BF16 of arbitrary weights, about 0.01 in size."""
    config = {"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "hidden_size": hidden, "head_dim": 64,
              "num_attention_heads": 8, "num_key_value_heads": 2, "num_hidden_layers": layers, "vocab_size": vocab,
              "num_experts": experts, "num_experts_per_tok": top_k, "moe_intermediate_size": width, "norm_topk_prob": True,
              "rms_norm_eps": 1e-6, "rope_theta": 10000, "max_position_embeddings": 4096, "hidden_act": "silu",
              "decoder_sparse_step": 1, "mlp_only_layers": [], "tie_word_embeddings": False, "torch_dtype": "bfloat16"}
    shapes = {"model.embed_tokens.weight": (vocab, hidden), "lm_head.weight": (vocab, hidden), "model.norm.weight": (hidden,)}
    for n in range(layers):
        at = f"model.layers.{n}."
        shapes |= {at + "input_layernorm.weight": (hidden,), at + "post_attention_layernorm.weight": (hidden,),
                   at + "self_attn.q_norm.weight": (64,), at + "self_attn.k_norm.weight": (64,),
                   at + "self_attn.q_proj.weight": (512, hidden), at + "self_attn.k_proj.weight": (128, hidden),
                   at + "self_attn.v_proj.weight": (128, hidden), at + "self_attn.o_proj.weight": (hidden, 512),
                   at + "mlp.gate.weight": (experts, hidden)}
        for e in range(experts):
            for name, shape in (("gate", (width, hidden)), ("up", (width, hidden)), ("down", (hidden, width))):
                shapes[f"{at}mlp.experts.{e}.{name}_proj.weight"] = shape
    os.makedirs(path)
    header, offset = {}, 0
    for name, shape in shapes.items():
        n = 2
        for d in shape:
            n *= d
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + n]}
        offset += n
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    high = bytes((0x3b, 0x3c, 0xbb, 0xbc)[i % 4] for i in range(256))
    some = random.Random(1)
    with open(os.path.join(path, "model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for shape in header.values():
            data = bytearray(some.randbytes(shape["data_offsets"][1] - shape["data_offsets"][0]))
            data[1::2] = data[1::2].translate(high)
            f.write(data)
    with open(os.path.join(path, "config.json"), "w", encoding="ascii") as f:
        json.dump(config, f)
    return path


def sh(*line):
    p = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if p.returncode:
        raise RuntimeError(f"{' '.join(line)}: {p.stderr.strip()}")
    return p.stdout.strip()


class Drive:
    """A file that is a loop device with an ext4 on it."""

    def __init__(self, folder, name, nbytes):
        self.file, self.path, self.loop = os.path.join(folder, name + ".image"), os.path.join(folder, name), None
        with open(self.file, "wb") as f:
            f.truncate(nbytes)
        os.makedirs(self.path, exist_ok=True)
        self.loop = sh("losetup", "--find", "--show", "--direct-io=on", self.file)
        try:
            sh("mke2fs", "-q", "-F", "-t", "ext4", self.loop)
            sh("mount", self.loop, self.path)
        except RuntimeError:
            self.close()
            raise
        with open(f"/sys/block/{os.path.basename(self.loop)}/dev", encoding="ascii") as f:
            self.dev = f.read().strip()

    def close(self):
        for _ in range(50):  # rings of programs that have ended are gone a little later than these
            if not os.path.ismount(self.path) or not subprocess.run(["umount", "-q", self.path], check=False).returncode:
                break
            time.sleep(0.2)
        subprocess.run(["losetup", "-d", self.loop], check=False)
        os.unlink(self.file)
        os.rmdir(self.path)


def pack(a, where, *flags):
    path = os.path.join(where.path, "stripe" if "--stripe" in flags else "alone")
    subprocess.run([a.hotset, "pack", "--codec", a.codec, *flags, a.model, path], stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, check=True)
    return path


def arms(a, drives, rates):
    """name: (model and flags, rates, what the drives it reads have together)"""
    one, two = drives
    alone = [pack(a, d) for d in drives]
    share = ",".join(str(r // 10**6) for r in rates)
    both = pack(a, one, "--stripe", os.path.join(two.path, "stripe"), "--shares", share)
    least = min(rates)
    pair, fair = {one.dev: rates[0], two.dev: rates[1]}, {one.dev: least, two.dev: least}
    slow, bad = {one.dev: rates[0], two.dev: rates[1] // 10}, {one.dev: least, two.dev: least // 10}
    mirror = [alone[0], "--mirror", alone[1]]
    return {"first alone": ([alone[0]], pair, rates[0]), "second alone": ([alone[1]], pair, rates[1]),
            "stripe": ([both], pair, sum(rates)),
            "stripe, slow": ([both], slow, slow[two.dev] * (1 + rates[0] / rates[1])),
            "mirror": (mirror, fair, 2 * least), "mirror, slow": (mirror, bad, sum(bad.values()))}


def run(a, model, rates):
    return json.loads(call([*a.prefix.split(), a.hotset, "bench", *model, "--json", "--prompt", "16", "--gen", str(a.gen),
                            "--set", f"cache.size={a.cache}%", "--set", f"state.dir={a.dir}/state"], rates))


def compare(a, drives, rates):
    todo = arms(a, drives, rates)
    runs = {name: [] for name in todo}
    for _ in range(a.rounds):
        for name, (model, limits, _) in todo.items():
            runs[name].append(run(a, model, limits))
    print(f"{'':14} {'tok/s':>8} {'MB/s':>8} {'drives, MB/s':>13} {'of these':>9} {'MB a token':>11}")
    for name, (_, _, bound) in todo.items():
        speed, rate, read = (statistics.median(r[k] or 0 for r in runs[name])
                             for k in ("decode_tokens_per_s", "disk_bytes_per_s", "bytes_read"))
        print(f"{name:14} {speed:8.2f} {rate / 1e6:8.1f} {bound / 1e6:13.1f} {rate / bound:9.3f} {read / a.gen / 1e6:11.2f}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("hotset", help="the program")
    p.add_argument("dir", help="where the drives' images are, on a faster drive than these")
    p.add_argument("--model", help="default: a synthetic one")
    p.add_argument("--codec", default="raw")
    p.add_argument("--rates", default="200M,100M", help="bytes per second of the two drives")
    p.add_argument("--cache", default=25, type=int, help="share of all experts in memory, percent")
    p.add_argument("--gen", type=int, default=48)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--prefix", default="", help="before every command, such as chrt -f 10")
    a = p.parse_args()
    if os.geteuid():
        print("SKIP: only root makes loop devices and control groups")
        sys.exit(SKIP)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    a.dir = os.path.join(a.dir, f"striped-{os.getpid()}")
    os.makedirs(a.dir)
    drives = []
    try:
        a.model = a.model or synthetic(os.path.join(a.dir, "model"))
        need = int(sh("du", "-sLB1", a.model).split()[0])
        try:
            for name in ("one", "two"):
                drives.append(Drive(a.dir, name, 2 * need + (64 << 20)))
        except RuntimeError as e:
            print(f"SKIP: {e}")
            sys.exit(SKIP)
        compare(a, drives, [size(r) for r in a.rates.split(",")])
    finally:
        for d in drives:
            d.close()
        sh("rm", "-rf", a.dir)


main()
