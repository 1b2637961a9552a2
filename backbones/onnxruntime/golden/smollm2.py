"""Golden figures: what `transformers` computes for SmolLM2-135M-Instruct from its GGUF file.

    pip install torch==2.13.0 transformers==5.23.0 gguf==0.19.0 accelerate
    python smollm2.py MODEL.gguf > smollm2.json

MODEL.gguf is what `mobillm pull smollm2-135m-instruct` fetches. tests/all/golden_smollm2.rs compares with the figures:
token ids of texts, the hidden state of every layer before the final norm, logits, and the tokens that follow
a prompt greedily. Hidden states are projected onto 16 vectors of random signs, as minilm.py says.
"""

import json
import os
import sys

import numpy as np
import torch
import transformers
from tokenizers import pre_tokenizers

PROJECTIONS = 16

TEXTS = [
    "The capital of France is",
    "Review: a gorgeous, witty, seductive movie.\nSentiment:",
    "Yes",
    "WINNER!! Call 555-0199 now & claim your FREE prize, ends 2nd of May...",
    "Der Zug nach Köln hält heute nicht in Brühl, naïve café-goers said.",
]

PROMPTS = [
    ("The capital of France is", 8),
    ("<|im_start|>user\nWhat is 2+2?<|im_end|>\n<|im_start|>assistant\n", 7),
]

# Texts that tokenizers trip over: spaces, digits, contractions, other scripts, special tokens.
TRICKY = [
    "",
    " ",
    "   ",
    "\n",
    " \n\n \t x",
    "a  b   c    d",
    "trailing spaces   ",
    "tabs\tand\r\nline ends\r",
    "it's we're I'll they've I'd 'tis IT'S WE'RE",
    "1 12 123 1234567 3.14159 1,000,000 2024-11-21",
    " 7 x7 7x x7x",
    "½ ² ³ ٣ ४ Ⅷ 一二三 ①",
    "naïve café Ångström",
    "cafe\u0301 decomposed",
    "日本語のテキスト。한국어 텍스트",
    "Привет, мир! Γειά σου Κόσμε",
    "مرحبا بالعالم שלום עולם",
    "👩‍👩‍👧‍👦 family 🇩🇪 flag 👍🏽",
    "zero\u200bwidth\u00a0nbsp\u2003em\u3000wide",
    "def f(x):\n    return x**2  # squares\n",
    "<html><body class=\"a\">&amp;</body></html>",
    "$100 €50 £3 50% #tag @user a_b-c/d\\e",
    "...!!!??? --- ___ ((([[[{{{",
    "snake_case camelCase PascalCase SCREAMING_CASE",
    "https://example.org/a?b=c&d=e#f",
    "<|im_start|>user\nHi<|im_end|>",
    "<|endoftext|>text<|endoftext|>",
    "<|im_start|><|im_start|>",
    "<|im_start <repo_name>x<file_sep>",
    "x<|im_end|>y <|im_end|> z",
    "\u0000\u0001\u007f",
    "\ufeffbyte order mark",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "Zażółć gęślą jaźń",
    "Llama2 GPT4 x86_64 utf8",
    "Ġ Ċ ▁ <0x0A>",
    "e\u0301\u0302\u0303",
    "word" * 20,
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


def projected(state):
    values = state.double().numpy().reshape(-1)
    return {
        "norm": float(f"{np.linalg.norm(values):.8g}"),
        "projections": [float(f"{value:.8g}") for value in signs(values.size) @ values],
    }


def load(path):
    folder, name = os.path.split(os.path.abspath(path))
    options = {"gguf_file": name}
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **options)
    # What SmolLM2's own tokenizer.json and llama.cpp have behind the name "smollm", which transformers does not
    # look up: each digit stands alone. Of the texts here only one with digits of other scripts tells.
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", **options
    )
    return tokenizer, model.eval()


def states(model, ids):
    """The residual stream before the first layer and behind each, and the last token's logits."""
    layers = []
    hooks = [model.model.layers[0].register_forward_pre_hook(lambda _, inputs: layers.append(inputs[0]))]
    for layer in model.model.layers:
        hooks.append(
            layer.register_forward_hook(lambda _, __, out: layers.append(out[0] if isinstance(out, tuple) else out))
        )
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids])).logits[0, -1]
    for hook in hooks:
        hook.remove()
    return [layer[0] for layer in layers], logits


def greedy(model, ids, count):
    new = []
    with torch.no_grad():
        for _ in range(count):
            new.append(int(model(input_ids=torch.tensor([ids + new])).logits[0, -1].argmax()))
    return new


def main():
    tokenizer, model = load(sys.argv[1])
    encode = lambda text: tokenizer(text)["input_ids"]
    made_with = f"transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}, float32"
    samples = []
    for text in TEXTS:
        ids = encode(text)
        layers, logits = states(model, ids)
        top = logits.topk(5)
        samples.append({
            "text": text,
            "ids": ids,
            "logits": [[int(token), float(f"{value:.8g}")] for value, token in zip(top.values, top.indices)],
            "layers": [projected(layer) for layer in layers],
        })
    prompts = []
    for text, count in PROMPTS:
        new = greedy(model, encode(text), count)
        prompts.append({"text": text, "new": new, "continuation": tokenizer.decode(new)})
    tricky = [{"text": text, "ids": encode(text)} for text in TRICKY]

    def lines(items):
        return ",\n".join(json.dumps(item, ensure_ascii=True) for item in items)

    print(f'{{"made_with": {json.dumps(made_with)},')
    for name, items in [("samples", samples), ("prompts", prompts), ("tricky", tricky)]:
        print(f'"{name}": [\n{lines(items)}\n]{"}" if name == "tricky" else ","}')


main()
