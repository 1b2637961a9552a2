//! The tokenizer of a GGUF file as a `tokenizer.json` of Hugging Face tokenizers.
//!
//! `tokenizer.ggml.model` is "gpt2" for byte pairs over bytes, with merges and a way to split texts, or
//! "llama" for byte pairs of SentencePiece, where scores stand for merges and characters that are in no
//! piece fall back to bytes.

use std::collections::HashMap;

use mobillm_gguf::{Array, Gguf, GgufError};
use serde_json::{Map, json};

use super::merges;
use super::split::{Split, byte_level};

/// What to do about a tokenizer that is not known.
pub(super) const INSTEAD: &str =
    "import the model from its Hugging Face folder, which has a tokenizer.json";

const TOKENS: &str = "tokenizer.ggml.tokens";
const TYPES: &str = "tokenizer.ggml.token_type";
const SCORES: &str = "tokenizer.ggml.scores";
const MERGES: &str = "tokenizer.ggml.merges";

/// What a token is, by its number in `tokenizer.ggml.token_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Normal,
    Unknown,
    /// Never in a text, such as its beginning.
    Control,
    /// Found in a text before all else.
    UserDefined,
    Unused,
    /// Stands for a byte of a character that is in no piece.
    Byte,
}

impl Kind {
    const ALL: [Self; 6] =
        [Self::Normal, Self::Unknown, Self::Control, Self::UserDefined, Self::Unused, Self::Byte];
}

/// The `tokenizer.json` of a model that embeds `embedded` tokens.
///
/// # Errors
/// If the tokenizer is of an unknown kind, contradicts itself, or has another number of tokens.
pub(super) fn json(gguf: &Gguf, embedded: usize) -> Result<Vec<u8>, GgufError> {
    const MODEL: &str = "tokenizer.ggml.model";
    let vocabulary = Vocabulary::of(gguf, embedded)?;
    let (parts, begins) = match gguf.text(MODEL)? {
        Some("gpt2") => byte_pairs(gguf, &vocabulary)?,
        Some("llama") => sentence_piece(gguf, &vocabulary)?,
        Some(other) => {
            let problem =
                format!("is {other:?}, but only \"gpt2\" and \"llama\" are known; {INSTEAD}");
            return Err(GgufError::metadata(MODEL, problem));
        }
        None => return Err(GgufError::metadata(MODEL, format!("is missing; {INSTEAD}"))),
    };
    let Parts { normalizer, pre_tokenizer, decoder, model } = parts;
    let tokenizer = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": vocabulary.added(),
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": vocabulary.post_processor(gguf, begins)?,
        "decoder": decoder,
        "model": model,
    });
    Ok(tokenizer.to_string().into_bytes())
}

/// Parts of a `tokenizer.json` in which the kinds differ.
struct Parts {
    normalizer: serde_json::Value,
    pre_tokenizer: serde_json::Value,
    decoder: serde_json::Value,
    model: serde_json::Value,
}

/// Byte pairs over bytes, and whether texts start with a token of their own if the file does not say.
fn byte_pairs(gguf: &Gguf, vocabulary: &Vocabulary<'_>) -> Result<(Parts, bool), GgufError> {
    const PRE: &str = "tokenizer.ggml.pre";
    let split = Split::of(gguf.text(PRE)?).map_err(|problem| GgufError::metadata(PRE, problem))?;
    let merges = texts(gguf, MERGES)?.ok_or_else(|| GgufError::metadata(MERGES, "is missing"))?;
    let merges = merges::listed(MERGES, &merges)?;
    let parts = Parts {
        normalizer: split.normalizer(),
        pre_tokenizer: split.pre_tokenizer(),
        decoder: byte_level(true),
        model: json!({
            "type": "BPE",
            "dropout": null,
            "unk_token": null,
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": false,
            "byte_fallback": false,
            "ignore_merges": split.ignores_merges,
            "vocab": vocabulary.ids(),
            "merges": merges,
        }),
    };
    Ok((parts, split.begins))
}

/// Byte pairs of SentencePiece: spaces are U+2581, and one stands before the text.
fn sentence_piece(gguf: &Gguf, vocabulary: &Vocabulary<'_>) -> Result<(Parts, bool), GgufError> {
    let prefixed = gguf.flag("tokenizer.ggml.add_space_prefix")?.unwrap_or(true);
    let scores = numbers(gguf, SCORES)?.ok_or_else(|| GgufError::metadata(SCORES, "is missing"))?;
    same_length(SCORES, scores.len(), vocabulary.tokens.len())?;
    let takes_part =
        |(id, _): &(usize, &str)| matches!(vocabulary.kinds[*id], Kind::Normal | Kind::UserDefined);
    let pieces = vocabulary.tokens.iter().copied().enumerate().filter(takes_part);
    let pieces: Vec<_> = pieces.map(|(id, piece)| (id, piece, scores[id])).collect();
    let merges = match texts(gguf, MERGES)? {
        Some(merges) => merges::listed(MERGES, &merges)?,
        None => merges::implied(TOKENS, &pieces)?,
    };
    let unknown = vocabulary.kinds.iter().position(|kind| *kind == Kind::Unknown);
    let space = "\u{2581}";
    let mut normalizers = vec![json!({ "type": "Prepend", "prepend": space })];
    let mut decoders = vec![
        json!({ "type": "Replace", "pattern": { "String": space }, "content": " " }),
        json!({ "type": "ByteFallback" }),
        json!({ "type": "Fuse" }),
        json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 }),
    ];
    if !prefixed {
        normalizers.clear();
        decoders.pop();
    }
    normalizers.push(json!({ "type": "Replace", "pattern": { "String": " " }, "content": space }));
    let parts = Parts {
        normalizer: json!({ "type": "Sequence", "normalizers": normalizers }),
        pre_tokenizer: serde_json::Value::Null,
        decoder: json!({ "type": "Sequence", "decoders": decoders }),
        model: json!({
            "type": "BPE",
            "dropout": null,
            "unk_token": unknown.map(|id| vocabulary.tokens[id]),
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": true,
            "byte_fallback": true,
            "ignore_merges": false,
            "vocab": vocabulary.ids(),
            "merges": merges,
        }),
    };
    Ok((parts, true))
}

/// All tokens; their ids are their places.
struct Vocabulary<'a> {
    tokens: Vec<&'a str>,
    kinds: Vec<Kind>,
}

impl<'a> Vocabulary<'a> {
    fn of(gguf: &'a Gguf, embedded: usize) -> Result<Self, GgufError> {
        let tokens = texts(gguf, TOKENS)?
            .ok_or_else(|| GgufError::metadata(TOKENS, format!("is missing; {INSTEAD}")))?;
        if tokens.len() != embedded {
            let problem = format!(
                "has {} tokens, but the model embeds {embedded}; they are not of one model",
                tokens.len()
            );
            return Err(GgufError::metadata(TOKENS, problem));
        }
        let mut places = HashMap::new();
        for (id, token) in tokens.iter().enumerate() {
            if let Some(other) = places.insert(token, id) {
                let problem = format!("is {token:?}, which token {other} is already");
                return Err(GgufError::metadata(format!("{TOKENS}[{id}]"), problem));
            }
        }
        let kinds = match numbers(gguf, TYPES)? {
            None => vec![Kind::Normal; tokens.len()],
            Some(types) => {
                same_length(TYPES, types.len(), tokens.len())?;
                types.into_iter().enumerate().map(kind).collect::<Result<_, _>>()?
            }
        };
        Ok(Self { tokens, kinds })
    }

    fn ids(&self) -> Map<String, serde_json::Value> {
        let ids = self.tokens.iter().enumerate();
        ids.map(|(id, token)| ((*token).to_owned(), id.into())).collect()
    }

    /// Tokens that are found in a text before it is split.
    fn added(&self) -> Vec<serde_json::Value> {
        let added =
            self.tokens.iter().zip(&self.kinds).enumerate().filter_map(|(id, (token, kind))| {
                let special = match kind {
                    Kind::Control => true,
                    Kind::UserDefined => false,
                    Kind::Normal | Kind::Unknown | Kind::Unused | Kind::Byte => return None,
                };
                Some(json!({
                    "id": id,
                    "content": token,
                    "single_word": false,
                    "lstrip": false,
                    "rstrip": false,
                    "normalized": false,
                    "special": special,
                }))
            });
        added.collect()
    }

    /// What puts tokens before and behind texts.
    fn post_processor(&self, gguf: &Gguf, begins: bool) -> Result<serde_json::Value, GgufError> {
        let begin = gguf.flag("tokenizer.ggml.add_bos_token")?.unwrap_or(begins);
        let end = gguf.flag("tokenizer.ggml.add_eos_token")?.unwrap_or(false);
        let token = |asked: bool, key: &str| match asked {
            true => self.token(gguf, key).map(Some),
            false => Ok(None),
        };
        let begin = token(begin, "tokenizer.ggml.bos_token_id")?;
        let end = token(end, "tokenizer.ggml.eos_token_id")?;
        if begin.is_none() && end.is_none() {
            return Ok(serde_json::Value::Null);
        }
        let special = |token: Option<(usize, &str)>, text: u32| {
            token.map(|(_, token)| json!({ "SpecialToken": { "id": token, "type_id": text } }))
        };
        let framed = |name: &str, text: u32| {
            let sequence = json!({ "Sequence": { "id": name, "type_id": text } });
            [special(begin, text), Some(sequence), special(end, text)].into_iter().flatten()
        };
        let tokens: Map<String, serde_json::Value> = [begin, end]
            .into_iter()
            .flatten()
            .map(|(id, token)| {
                (token.to_owned(), json!({ "id": token, "ids": [id], "tokens": [token] }))
            })
            .collect();
        Ok(json!({
            "type": "TemplateProcessing",
            "single": framed("A", 0).collect::<Vec<_>>(),
            "pair": framed("A", 0).chain(framed("B", 1)).collect::<Vec<_>>(),
            "special_tokens": tokens,
        }))
    }

    /// The token whose id is at `key`.
    fn token(&self, gguf: &Gguf, key: &str) -> Result<(usize, &'a str), GgufError> {
        let wrong = |problem: String| GgufError::metadata(key, problem);
        let id = gguf.unsigned(key)?.ok_or_else(|| wrong("is missing".to_owned()))?;
        let found = usize::try_from(id).ok().and_then(|at| Some((at, *self.tokens.get(at)?)));
        found.ok_or_else(|| wrong(format!("is {id}, but there are {} tokens", self.tokens.len())))
    }
}

fn kind((id, number): (usize, f64)) -> Result<Kind, GgufError> {
    let found = Kind::ALL.into_iter().zip(1..).find(|(_, known)| f64::from(*known) == number);
    found.map(|(kind, _)| kind).ok_or_else(|| {
        let problem = format!("is {number}, expected 1 to {}", Kind::ALL.len());
        GgufError::metadata(format!("{TYPES}[{id}]"), problem)
    })
}

fn same_length(key: &str, length: usize, tokens: usize) -> Result<(), GgufError> {
    if length == tokens {
        return Ok(());
    }
    Err(GgufError::metadata(key, format!("has {length} elements, but there are {tokens} tokens")))
}

/// The texts of the array `key`, if it is there.
fn texts<'a>(gguf: &'a Gguf, key: &str) -> Result<Option<Vec<&'a str>>, GgufError> {
    gguf.array(key)?
        .map(|array| match array {
            Array::Text(texts) => Ok(texts.iter().map(String::as_str).collect()),
            _ => Err(GgufError::metadata(key, "has other elements than texts")),
        })
        .transpose()
}

/// The numbers of the array `key`, if it is there.
fn numbers(gguf: &Gguf, key: &str) -> Result<Option<Vec<f64>>, GgufError> {
    let Some(array) = gguf.array(key)? else { return Ok(None) };
    let numbers: Vec<f64> = match array {
        Array::Unsigned(numbers) => numbers.iter().map(|&number| number as f64).collect(),
        Array::Signed(numbers) => numbers.iter().map(|&number| number as f64).collect(),
        Array::Float(numbers) => numbers.clone(),
        Array::Bool(_) | Array::Text(_) => {
            return Err(GgufError::metadata(key, "has other elements than numbers"));
        }
    };
    match numbers.iter().position(|number| number.is_nan()) {
        None => Ok(Some(numbers)),
        Some(at) => Err(GgufError::metadata(format!("{key}[{at}]"), "is not a number")),
    }
}
