"""Golden figures: token ids of byte pairs over bytes, for every way to split texts that GGUF files name.

    pip install transformers==5.23.0 torch==2.13.0 gguf==0.19.0
    python byte_level.py > byte_level.json

A small vocabulary is trained here. tests/gguf/tokenizer.rs puts it into GGUF files, as llama.cpp does, and compares what
the imported tokenizers make of the texts.
"""

import json

import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers.integrations.gguf.gguf_tokenizer_mapping import convert_gguf_tokenizer
from transformers.models.qwen2.tokenization_qwen2 import Qwen2Tokenizer

TEXTS = [
    "",
    " ",
    "   x   ",
    "\n",
    "line\n\nends\r\n\r\n and\ttabs\t\t",
    " \n \n x",
    "it's we're I'll they've I'd 'tis IT'S WE'RE'LL",
    "1 12 123 1234567 3.14159 2024-11-21 x12y",
    "½ ² Ⅷ ٣٤٥ ①②",
    "naïve café Ångström cafe\u0301 A\u030angstro\u0308m",
    "日本語のテキスト 한국어",
    "Привет Мир ПРИВЕТ",
    "camelCase PascalCase SCREAMING XMLHttp",
    "👍🏽 flags 🇩🇪",
    "!!! ??\n!!\n (a) [b]/c //d\\e ...",
    "a\u00a0b\u2003c\u3000d\u200be",
    "<|begin|>the<|end|> <|begin|>",
    "the <tool>the</tool>",
    "the device the device thedevice  the",
]

NAMES = ["gpt-2", "smollm", "starcoder", "llama3", "llama-v3", "llama-bpe", "smaug-bpe", "qwen2", "tekken"]

ADDED = [("<|begin|>", 3), ("<|end|>", 3), ("<tool>", 4)]


def train():
    # Splitting on spaces only: merges cross all that the ways to split keep apart.
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    trainer = trainers.BpeTrainer(
        vocab_size=520,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    plain = [text for text in TEXTS if not any(token in text for token, _ in ADDED)]
    tokenizer.train_from_iterator([text for text in plain for _ in range(3)], trainer)
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    merges = [" ".join(merge) for merge in model["merges"]]
    return tokens + [token for token, _ in ADDED], merges


def reference(name, tokens, types, merges):
    if name == "qwen2":
        # The class also composes characters.
        vocab = {token: id for id, token in enumerate(tokens)}
        tokenizer = Qwen2Tokenizer(vocab=vocab, merges=[tuple(merge.split(" ")) for merge in merges])
        tokenizer.add_special_tokens({"additional_special_tokens": [t for t, kind in ADDED if kind == 3]})
        tokenizer.add_tokens([t for t, kind in ADDED if kind == 4])
        return tokenizer.backend_tokenizer
    metadata = {
        "tokenizer_type": "gpt2",
        "pre_tokenizer_type": name,
        "tokens": tokens,
        "token_type": types,
        "merges": merges,
    }
    tokenizer, _ = convert_gguf_tokenizer("llama", metadata)
    if name in ["smollm", "starcoder"]:
        # Not known to transformers by these names, but their own tokenizer.json says so.
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
    if name in ["llama3", "llama-v3", "llama-bpe", "tekken"]:
        # As in their own tokenizer.json.
        model = json.loads(tokenizer.to_str())
        model["model"]["ignore_merges"] = True
        tokenizer = Tokenizer.from_str(json.dumps(model))
    return tokenizer


def main():
    tokens, merges = train()
    types = [dict(ADDED).get(token, 1) for token in tokens]
    splits = []
    for name in NAMES:
        tokenizer = reference(name, tokens, types, merges)
        ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS]
        splits.append(json.dumps({"name": name, "ids": ids}))
    made_with = f"transformers {transformers.__version__}"
    golden = {"made_with": made_with, "tokens": tokens, "types": types, "merges": merges, "texts": TEXTS}
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in golden.items()]
    lines.append('"splits": [\n' + ",\n".join(splits) + "\n]")
    print("{\n" + ",\n".join(lines) + "\n}")


main()
