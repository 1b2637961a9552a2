"""Golden figures: how the `gguf` package of llama.cpp decodes blocks of each type.

    pip install gguf==0.19.0 numpy
    python blocks.py > blocks.json

Blocks come from a formula that tests/golden.rs knows too: the bytes of splitmix64, with half-precision numbers
kept below 2. Of what they decode to, the first eight values and a hash (FNV-1a, 64 bits) of all are kept.
"""

import json

import gguf
import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType as Type

BLOCKS = 64

# Where the half-precision numbers of a block are.
HALVES = {
    Type.F16: [0],
    Type.BF16: [0],
    Type.Q8_0: [0],
    Type.Q4_0: [0],
    Type.Q4_1: [0, 2],
    Type.Q4_K: [0, 2],
    Type.Q6_K: [208],
}


def blocks(kind):
    size = GGML_QUANT_SIZES[kind][1]
    count = -(-size * BLOCKS // 8)
    with np.errstate(over="ignore"):
        bits = np.uint64(kind.value) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        bits = bits ^ (bits >> np.uint64(31))
    rows = bits.astype("<u8").view(np.uint8)[: size * BLOCKS].reshape(BLOCKS, size).copy()
    for at in HALVES[kind]:
        rows[:, at + 1] &= 0xBF
    return rows


def fnv(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 % (1 << 64)
    return value


def main():
    kinds = {}
    for kind in HALVES:
        values = gguf.dequantize(blocks(kind), kind).astype("<f4").reshape(-1)
        kinds[kind.name] = {"first": values[:8].view("<u4").tolist(), "hash": f"{fnv(values.tobytes()):016x}"}
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(kind)}" for name, kind in kinds.items())
    print("{\n" + lines + "\n}")


main()
