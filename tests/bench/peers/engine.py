"""engine.py NAME MODEL THREADS N_PROMPT N_GEN SEED WARM REPACK - one measured run of a llama.cpp wheel, as one JSON line.

NAME is llama.cpp (wheel xllamacpp) or ik_llama.cpp (wheel ik-llama-cpp-python); both export llama.h's functions. Their
parameter structs change between releases, so only fields with checked defaults are written: a struct is taken from the
library, as a block of bytes that is surely long enough, and given back changed. That is sound on x86-64 and AArch64
Linux for structs that are passed in memory and read as far as the callee knows them.
Exit 77: the wheel is absent or has other structs.
"""
import ctypes
import glob
import json
import os
import resource
import sys
import sysconfig
import time

U32, I32, U8 = ctypes.c_uint32, ctypes.c_int32, ctypes.c_uint8

# name -> library, and (offset, type, default) of the fields that are set
WHEELS = {
    "llama.cpp": {
        "library": "xllamacpp/xllamacpp*.so",
        "model": {"repack": (74, U8, 1)},
        "context": {"n_ctx": (0, U32, 512), "n_batch": (4, U32, 2048), "n_ubatch": (8, U32, 512)},
    },
    "ik_llama.cpp": {
        "library": "ik_llama_cpp_python.libs/libllama*.so",
        "model": {},
        "context": {"n_ctx": (4, U32, 512), "n_batch": (8, U32, 2048), "n_ubatch": (12, U32, 512)},
    },
}


class Block(ctypes.Structure):
    _fields_ = [("words", ctypes.c_uint64 * 64)]


def skip(why):
    print(f"SKIP: {why}", file=sys.stderr)
    sys.exit(77)


def set_field(name, block, fields, key, value):
    offset, kind, default = fields[key]
    field = kind.from_buffer(block, offset)
    if field.value != default:
        skip(f"{name}: default of {key} is {field.value}, not {default}: the wheel has other structs")
    field.value = value


def load(name):
    found = glob.glob(os.path.join(sysconfig.get_path("platlib"), WHEELS[name]["library"]))
    if not found:
        skip(f"{name}: no {WHEELS[name]['library']}")
    for part in ("libgomp", "libggml"):
        for beside in glob.glob(os.path.join(os.path.dirname(found[0]), part + "*")):
            ctypes.CDLL(beside, mode=ctypes.RTLD_GLOBAL)
    lib = ctypes.CDLL(found[0], mode=ctypes.RTLD_GLOBAL)
    for f in ("llama_model_default_params", "llama_context_default_params", "llama_batch_get_one"):
        getattr(lib, f).restype = Block
    for f in ("llama_model_load_from_file", "llama_init_from_model", "llama_model_get_vocab"):
        getattr(lib, f).restype = ctypes.c_void_p
    log = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda level, text, ctx: None)
    lib.llama_log_set(log, None)
    return lib, log


def random_ids(seed, vocab):
    """The ids that `hotset bench --seed` takes."""
    mask = (1 << 64) - 1
    x = (seed * 0x9E3779B97F4A7C15 & mask) | 1
    while True:
        x ^= x << 13 & mask
        x ^= x >> 7
        x ^= x << 17 & mask
        yield (x >> 16) % vocab


class Run:
    def __init__(self, name, path, threads, room, repack):
        self.lib, self.log = load(name)
        lib, fields = self.lib, WHEELS[name]
        lib.llama_backend_init()
        params = lib.llama_model_default_params()
        if "repack" in fields["model"] and not repack:
            set_field(name, params, fields["model"], "repack", 0)
        self.model = ctypes.c_void_p(lib.llama_model_load_from_file(path.encode(), params))
        if not self.model:
            sys.exit(f"{name}: cannot load {path}")
        params = lib.llama_context_default_params()
        set_field(name, params, fields["context"], "n_ctx", room)
        set_field(name, params, fields["context"], "n_batch", 512)
        set_field(name, params, fields["context"], "n_ubatch", 512)
        self.ctx = ctypes.c_void_p(lib.llama_init_from_model(self.model, params))
        if not self.ctx:
            sys.exit(f"{name}: no context of {room} tokens")
        lib.llama_set_n_threads(self.ctx, U32(threads), U32(threads))
        vocab = ctypes.c_void_p(lib.llama_model_get_vocab(self.model))
        self.vocab = lib.llama_vocab_n_tokens(vocab)
        self.past = 0

    def decode(self, ids):
        for at in range(0, len(ids), 512):
            part = ids[at:at + 512]
            tokens = (I32 * len(part))(*part)
            batch = self.lib.llama_batch_get_one(tokens, I32(len(part)), I32(self.past), I32(0))
            if self.lib.llama_decode(self.ctx, batch):
                sys.exit("llama_decode failed")
            self.past += len(part)
        self.lib.llama_get_logits(self.ctx)

    def forget(self):
        if hasattr(self.lib, "llama_get_memory"):
            self.lib.llama_get_memory.restype = ctypes.c_void_p
            self.lib.llama_memory_clear(ctypes.c_void_p(self.lib.llama_get_memory(self.ctx)), ctypes.c_bool(True))
        else:
            self.lib.llama_kv_cache_clear(self.ctx)
        self.past = 0


def now():
    use = resource.getrusage(resource.RUSAGE_SELF)
    return time.monotonic(), use.ru_utime + use.ru_stime


def main():
    name, path = sys.argv[1:3]
    threads, n_prompt, n_gen, seed, warm, repack = map(int, sys.argv[3:9])
    run = Run(name, path, threads, n_prompt + n_gen + warm + 64, repack)
    if warm:
        ids = random_ids(seed, run.vocab)
        run.decode([next(ids) for _ in range(warm)])
        run.decode([next(ids)])
        run.forget()
    ids = random_ids(seed, run.vocab)
    prompt = [next(ids) for _ in range(n_prompt)]
    t0 = now()
    run.decode(prompt)
    t1 = now()
    for _ in range(n_gen):
        run.decode([next(ids)])
    t2 = now()
    print(json.dumps({"prefill_tokens_per_s": n_prompt / (t1[0] - t0[0]), "decode_tokens_per_s": n_gen / (t2[0] - t1[0]),
                      "prefill_cpu_s": t1[1] - t0[1], "decode_cpu_s": t2[1] - t1[1]}), flush=True)
    os._exit(0)


main()
