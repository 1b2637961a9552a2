"""Golden figures: token ids of SentencePiece for a small model of byte pairs that is trained here.

    pip install sentencepiece==0.2.3
    python spm.py > spm.json

tests/gguf/tokenizer.rs puts pieces, scores and types into a GGUF file, as llama.cpp does for Llama 2, and compares
what the imported tokenizer makes of the texts.
"""

import io
import json

import sentencepiece

WORDS = """the device runs a frozen model and sends what each layer computed to a server that trains a small
network beside it because the next batch is under way before the last one has been looked at what leaves is a
few numbers for every token rounded to four bits and no text the server never waits and never sees a label""".split()

TEXTS = [
    "the server trains a small network",
    "The Server TRAINS",
    " leading space",
    "  two leading,  two within  and two behind  ",
    "",
    " ",
    "unheard-of wörds, naïve ones: 日本語 👍🏽",
    "line\nends\r\n and\ttabs",
    "batchbatchbatch thethethethe",
    "aaaaaaaaaaaaaaaaaaaaaa",
    "numbers 0123456789 and signs !?#$%&",
    "e\u0301 and \u00e9",
    "\u2581 is the sign itself",
    "ends with the",
]


def train():
    # Sentences from a formula, so that there are frequencies to learn from.
    state, sentences = 1, []
    for _ in range(2000):
        sentence = []
        for _ in range(8):
            state = (state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
            sentence.append(WORDS[(state >> 33) % len(WORDS)])
        sentences.append(" ".join(sentence))
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_writer=model,
        model_type="bpe",
        vocab_size=512,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        user_defined_symbols=["<user>"],
        num_threads=1,
        minloglevel=2,
    )
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def kind(model, id):
    """Numbers of GGUF, which are those of SentencePiece."""
    if model.is_unknown(id):
        return 2
    if model.is_control(id):
        return 3
    if model.is_byte(id):
        return 6
    return 4 if model.id_to_piece(id) == "<user>" else 1


def main():
    model = train()
    ids = range(model.get_piece_size())
    golden = {
        "made_with": f"sentencepiece {sentencepiece.__version__}",
        "pieces": [model.id_to_piece(id) for id in ids],
        "scores": [model.get_score(id) for id in ids],
        "types": [kind(model, id) for id in ids],
        "texts": [{"text": text, "ids": model.encode(text, add_bos=True)} for text in TEXTS],
    }
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in golden.items())
    print("{\n" + lines + "\n}")


main()
