"""Golden figures: the logits that `transformers` computes for small models with a head.

    pip install torch==2.13.0 transformers==5.23.0
    python head.py > head.json

The models are `TinyBert` of mobillm-bundle with the sizes that tests/all/head.rs gives it, and the samples are
the ones there. Weights come from a formula: none are kept.
"""

import json

import numpy as np
import torch
import transformers

SEED = 1
LENGTHS = [7, 1, 64, 3, 12]


def uniform(start, count):
    """Numbers `start` to `start + count` of splitmix64 from SEED, as float32 in -1..1."""
    with np.errstate(over="ignore"):
        steps = np.arange(start + 1, start + count + 1, dtype=np.uint64)
        bits = np.uint64(SEED) + steps * np.uint64(0x9E3779B97F4A7C15)
        bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        bits = bits ^ (bits >> np.uint64(31))
    return (bits >> np.uint64(40)).astype(np.float32) / np.float32(1 << 23) - np.float32(1)


def model(outputs):
    config = transformers.BertConfig(
        vocab_size=17,
        hidden_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=256,
        max_position_embeddings=64,
        layer_norm_eps=1e-12,
        num_labels=outputs,
        attn_implementation="eager",
    )
    model = transformers.BertForSequenceClassification(config).eval()
    taken = 0
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            center = np.float32(1 if name.endswith("LayerNorm.weight") else 0)
            values = center + np.float32(0.2) * uniform(taken, parameter.numel())
            parameter.copy_(torch.from_numpy(values).reshape(parameter.shape))
            taken += parameter.numel()
    return model


def batch():
    shape = (len(LENGTHS), max(LENGTHS))
    ids, mask, segments = (torch.zeros(shape, dtype=torch.long) for _ in range(3))
    for row, length in enumerate(LENGTHS):
        for at in range(length):
            ids[row, at] = (at * at + 3 * at + 5 * row) % 17
            mask[row, at] = 1
            segments[row, at] = int(row == 2 and at > length // 2)
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": segments}


def main():
    made_with = f"transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}, float32"
    models = []
    for outputs in [1, 3]:
        with torch.no_grad():
            logits = model(outputs)(**batch()).logits
        rows = [[float(f"{value:.8g}") for value in row] for row in logits.tolist()]
        models.append(json.dumps({"made_with": made_with, "logits": rows}))
    print("[\n" + ",\n".join(models) + "\n]")


main()
