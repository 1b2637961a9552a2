"""Golden figures: what `transformers` computes for all-MiniLM-L6-v2, layer by layer.

    pip install torch==2.13.0 transformers==5.23.0
    python minilm.py MODEL_FOLDER > minilm.json

MODEL_FOLDER holds config.json, model.safetensors and tokenizer.json (`mobillm pull
all-minilm-l6-v2` prints it). tests/all/golden.rs compares the backbone with the figures.

All hidden states of a few texts would be megabytes. Instead each is projected onto 16 vectors of
random signs: the mean of the squared differences of two states' projections estimates the squared
distance of the states, over all of their values (Johnson and Lindenstrauss 1984).
"""

import json
import sys

import numpy as np
import torch
import transformers

PROJECTIONS = 16

TEXTS = [
    ("A tap leaves as soon as its layer is computed.", None),
    ("Yes", None),
    ("Is the bundle written twice?", "No: it is written once, whole or not at all."),
    ("WINNER!! Call 555-0199 now & claim your FREE prize, ends 2nd of May...", None),
    ("Der Zug nach Köln hält heute nicht in Brühl, naïve café-goers said.", None),
    (
        "The device runs the frozen model forward and sends what each layer computed; the server "
        "trains a small network beside it, and the device never waits for the server to finish a "
        "step, because the next batch is under way before the last one has been looked at. What "
        "is sent is a few numbers for each token, rounded to four bits, and no text.",
        None,
    ),
]


def signs(size):
    """[PROJECTIONS, size] of -1 and 1: bit k of splitmix64(i + 1) is the sign of value i in vector k."""
    with np.errstate(over="ignore"):
        bits = np.arange(1, size + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        bits = bits ^ (bits >> np.uint64(31))
    rows = [(bits >> np.uint64(k)) & np.uint64(1) for k in range(PROJECTIONS)]
    return np.stack(rows).astype(np.float64) * 2 - 1


def main():
    folder = sys.argv[1]
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=f"{folder}/tokenizer.json", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    )
    model = transformers.BertModel.from_pretrained(folder, attn_implementation="eager").eval()
    encoded = [
        tokenizer(text, pair, truncation=False, padding=False, return_token_type_ids=True)
        for text, pair in TEXTS
    ]
    batch = tokenizer.pad(encoded, padding="longest", return_tensors="pt")
    with torch.no_grad():
        states = model(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            token_type_ids=batch["token_type_ids"],
            output_hidden_states=True,
        ).hidden_states
    samples = []
    for row, (text, pair) in enumerate(TEXTS):
        length = int(batch["attention_mask"][row].sum())
        layers = []
        for state in states:
            values = state[row, :length].double().numpy().reshape(-1)
            projections = signs(values.size) @ values
            layers.append({
                "norm": float(f"{np.linalg.norm(values):.8g}"),
                "projections": [float(f"{value:.8g}") for value in projections],
            })
        samples.append({
            "text": text,
            "pair": pair,
            "ids": batch["input_ids"][row, :length].tolist(),
            "segments": batch["token_type_ids"][row, :length].tolist(),
            "layers": layers,
        })
    made_with = f"transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}, float32"
    lines = ",\n".join(json.dumps(sample, ensure_ascii=False) for sample in samples)
    print(f'{{"made_with": {json.dumps(made_with)}, "samples": [\n{lines}\n]}}')


main()
