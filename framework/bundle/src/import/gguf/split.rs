//! How texts are split before byte pairs are merged, by the name in `tokenizer.ggml.pre`.
//!
//! Expressions are those of the models' own tokenizers (OpenAI's for GPT-2, Meta's for Llama 3, Alibaba's
//! for Qwen2, Mistral's for Tekken).

use serde_json::{Value, json};

/// A way to split texts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Split {
    /// What the file calls it.
    pub(super) name: &'static str,
    kind: Kind,
    /// Whether a piece that is a token is taken whole, without merges.
    pub(super) ignores_merges: bool,
    /// Whether texts start with a token of their own, unless the file says otherwise.
    pub(super) begins: bool,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Words with the space before them, numbers, other signs (Radford et al. 2019).
    Gpt2,
    /// The same with each digit alone.
    Digits,
    /// By an expression.
    Pattern(&'static str),
    /// By an expression, after composed characters have been put together.
    Composed(&'static str),
}

const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

const fn plain(name: &'static str, kind: Kind) -> Split {
    Split { name, kind, ignores_merges: false, begins: false }
}

const fn llama3(name: &'static str) -> Split {
    Split { name, kind: Kind::Pattern(LLAMA3), ignores_merges: true, begins: true }
}

/// All that are known.
const SPLITS: [Split; 9] = [
    plain("gpt-2", Kind::Gpt2),
    plain("smollm", Kind::Digits),
    plain("starcoder", Kind::Digits),
    llama3("llama3"),
    llama3("llama-v3"),
    llama3("llama-bpe"),
    plain("smaug-bpe", Kind::Pattern(LLAMA3)),
    plain("qwen2", Kind::Composed(QWEN2)),
    Split { name: "tekken", kind: Kind::Pattern(TEKKEN), ignores_merges: true, begins: true },
];

impl Split {
    /// The split of that name. Files that name none, or "default", are split by an expression of
    /// llama.cpp's own, whatever the model was trained with.
    pub(super) fn of(name: Option<&str>) -> Result<Self, String> {
        SPLITS.into_iter().find(|split| Some(split.name) == name).ok_or_else(|| {
            let known = SPLITS.map(|split| format!("{:?}", split.name)).join(", ");
            let got = name.map_or("missing".to_owned(), |name| format!("{name:?}"));
            format!("is {got}, but only {known} are known; {}", super::tokenizer::INSTEAD)
        })
    }

    /// The `normalizer` of a `tokenizer.json`.
    pub(super) fn normalizer(self) -> Value {
        match self.kind {
            Kind::Composed(_) => json!({ "type": "NFC" }),
            Kind::Gpt2 | Kind::Digits | Kind::Pattern(_) => Value::Null,
        }
    }

    /// The `pre_tokenizer` of a `tokenizer.json`.
    pub(super) fn pre_tokenizer(self) -> Value {
        let first = match self.kind {
            Kind::Gpt2 => return byte_level(true),
            Kind::Digits => json!({ "type": "Digits", "individual_digits": true }),
            Kind::Pattern(pattern) | Kind::Composed(pattern) => json!({
                "type": "Split",
                "pattern": { "Regex": pattern },
                "behavior": "Isolated",
                "invert": false,
            }),
        };
        let expression = matches!(self.kind, Kind::Digits);
        json!({ "type": "Sequence", "pretokenizers": [first, byte_level(expression)] })
    }
}

/// Bytes as characters; `use_regex` splits as GPT-2 does before that.
pub(super) fn byte_level(use_regex: bool) -> Value {
    json!({
        "type": "ByteLevel",
        "add_prefix_space": false,
        "trim_offsets": true,
        "use_regex": use_regex,
    })
}
