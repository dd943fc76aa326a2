#!/usr/bin/env python3
"""list_tensors.py FILE.gguf... - what gguf-py finds in each file, as FILE.tensors: one line per tensor, stacks of experts
as one tensor of each expert: name, type, bytes, XXH3 of the bytes, dimensions (outermost first).
Needs: pip install gguf xxhash"""
import re
import sys

import gguf
import xxhash


def line(name, t, dims, data):
    raw = data.tobytes()
    return f"{name} {t.tensor_type.name} {len(raw)} {xxhash.xxh3_64(raw).hexdigest()} {' '.join(map(str, dims))}"


for path in sys.argv[1:]:
    lines = []
    for t in gguf.GGUFReader(path).tensors:
        dims = [int(n) for n in reversed(t.shape)]
        stacked = re.fullmatch(r"blk\.\d+\.ffn_(gate|up|down|gate_up)_exps\.weight", t.name)
        if stacked and len(dims) == 3:
            lines += [line(f"{t.name}.{i}", t, dims[1:], t.data[i]) for i in range(dims[0])]
        else:
            lines.append(line(t.name, t, dims, t.data))
    with open(path.removesuffix(".gguf") + ".tensors", "w", encoding="utf-8") as out:
        out.write("\n".join(sorted(lines)) + "\n")
