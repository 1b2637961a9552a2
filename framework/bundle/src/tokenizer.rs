//! Text to tokens, as the model's own `tokenizer.json` says.

use std::fs;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use mobillm_core::backbone::Tokens;
use serde::Deserialize;
use tokenizers::models::ModelWrapper;
use tokenizers::utils::truncation::truncate_encodings;
use tokenizers::{
    Encoding, PostProcessor, Tokenizer, TruncationDirection, TruncationParams, TruncationStrategy,
};

use crate::bundle::BundleError;

/// The tokens of a text, and how many more there would have been.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Encoded {
    /// What goes into the model.
    pub tokens: Tokens,
    /// Tokens of text that were cut off to fit the limit.
    pub truncated: usize,
}

/// Texts that a word is put behind, to see which tokens it adds. Letters may merge with a letter before them,
/// numbers with a number; behind a line break words stay whole in tokenizers that only cut at white space.
const BEFORE: [&str; 3] = ["a", "1", "\n"];

/// A bundle's tokenizer with its limit.
#[derive(Debug, Clone)]
pub struct BundleTokenizer {
    tokenizer: Tokenizer,
    /// The token for all that the vocabulary lacks.
    unknown: Option<u32>,
    max_tokens: usize,
    path: PathBuf,
}

impl BundleTokenizer {
    pub(crate) fn open(path: &Path, max_tokens: usize) -> Result<Self, BundleError> {
        let json =
            fs::read(path).map_err(|source| BundleError::Read { path: path.to_owned(), source })?;
        Self::parse(path, &json, max_tokens)
    }

    /// The tokenizer whose `tokenizer.json` is `json`; errors name `path`.
    pub(crate) fn parse(path: &Path, json: &[u8], max_tokens: usize) -> Result<Self, BundleError> {
        let path = path.to_owned();
        let parsed = contain(|| {
            let mut tokenizer = Tokenizer::from_bytes(json)?;
            // The file's own padding and truncation are those of whoever saved it last. Batches
            // are padded by core, and texts are cut here, where the cut is counted.
            tokenizer.with_padding(None).with_truncation(None)?;
            let unknown = unknown(&tokenizer, json)?;
            Ok((tokenizer, unknown))
        });
        let (tokenizer, unknown) = parsed.map_err(|problem| BundleError::Tokenizer {
            path: path.clone(),
            problem: format!("{problem}; expected a tokenizer.json of Hugging Face tokenizers"),
        })?;
        let this = Self { tokenizer, unknown, max_tokens, path };
        let tokens = this.special_tokens(true);
        if max_tokens <= tokens {
            return Err(BundleError::NoRoom { around: "an empty pair", tokens, max_tokens });
        }
        Ok(this)
    }

    /// Tokens that a text may have, special ones included.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// The tokens of `text`, or of `text` and `pair`, with the model's special tokens. What does
    /// not fit is cut off at the end, of a pair from whichever is longer.
    ///
    /// # Errors
    /// If the tokenizer has no token for a part of the text, not even an unknown one.
    pub fn encode(&self, text: &str, pair: Option<&str>) -> Result<Encoded, BundleError> {
        contain(|| self.try_encode(text, pair)).map_err(|problem| self.error(problem))
    }

    fn try_encode(&self, text: &str, pair: Option<&str>) -> tokenizers::Result<Encoded> {
        let first = self.tokenizer.encode_fast(text, false)?;
        let second = pair.map(|pair| self.tokenizer.encode_fast(pair, false)).transpose()?;
        let length = |second: &Option<Encoding>| second.as_ref().map_or(0, Encoding::len);
        let before = first.len() + length(&second);

        let params = TruncationParams {
            direction: TruncationDirection::Right,
            max_length: self.max_tokens - self.special_tokens(pair.is_some()),
            strategy: TruncationStrategy::LongestFirst,
            stride: 0,
        };
        let (mut first, mut second) = truncate_encodings(first, second, &params)?;
        // What was cut off is not of interest, and special tokens would be put around all of it.
        first.set_overflowing(Vec::new());
        if let Some(second) = &mut second {
            second.set_overflowing(Vec::new());
        }
        let truncated = before - first.len() - length(&second);
        let encoding = self.tokenizer.post_process(first, second, true)?;
        let ids = encoding.get_ids().to_vec();
        let segments = encoding.get_type_ids().to_vec();
        Ok(Encoded { tokens: Tokens { ids, segments }, truncated })
    }

    /// The tokens of the whole `text` with the model's special tokens. If they are too many, those that lie
    /// within `inserted` (bytes of `text`) are cut off from its ends, from the longest part first.
    ///
    /// # Errors
    /// As [`encode`](Self::encode), and if what must stay leaves no room for any of `inserted`.
    pub fn encode_prompt(
        &self,
        text: &str,
        inserted: &[Range<usize>],
    ) -> Result<Encoded, BundleError> {
        let encoding = contain(|| self.tokenizer.encode(text, true));
        let encoding = encoding.map_err(|problem| self.error(problem))?;
        let offsets = encoding.get_offsets();
        let within = |part: &Range<usize>| -> Vec<usize> {
            let inside = |&at: &usize| {
                let (start, end) = offsets[at];
                start < end && part.start <= start && end <= part.end
            };
            (0..offsets.len()).filter(inside).collect()
        };
        let mut parts: Vec<Vec<usize>> = inserted.iter().map(within).collect();
        let mut keeps = vec![true; encoding.len()];
        let excess = encoding.len().saturating_sub(self.max_tokens);
        let texts: usize = parts.iter().map(Vec::len).sum();
        if excess > 0 && excess >= texts {
            let (around, tokens) = ("the template of `task.prompt`", encoding.len() - texts);
            return Err(BundleError::NoRoom { around, tokens, max_tokens: self.max_tokens });
        }
        for _ in 0..excess {
            // Of parts that are equally long the last is cut.
            let longest = parts.iter_mut().max_by_key(|part| part.len());
            if let Some(at) = longest.and_then(Vec::pop) {
                keeps[at] = false;
            }
        }
        let kept = |values: &[u32]| {
            values
                .iter()
                .zip(&keeps)
                .filter(|(_, keeps)| **keeps)
                .map(|(value, _)| *value)
                .collect()
        };
        let (ids, segments) = (kept(encoding.get_ids()), kept(encoding.get_type_ids()));
        Ok(Encoded { tokens: Tokens { ids, segments }, truncated: excess })
    }

    /// The one token that `word` is behind a text, as a model would write it next: " good" is another word
    /// than "good".
    ///
    /// # Errors
    /// If it is more tokens than one, or none, or one that stands for more than the word, such as the token
    /// for all that is unknown; the message lists them.
    pub fn word(&self, word: &str) -> Result<u32, String> {
        // The start of a text may differ from what is inside: many tokenizers put a space there.
        let mut found = self.ids(word)?;
        for before in BEFORE {
            let all = self.ids(&format!("{before}{word}"))?;
            let Some(added) = all.strip_prefix(&self.ids(before)?[..]) else { continue };
            if let &[token] = added
                && same_word(&self.text(token), word)
                && self.unknown != Some(token)
            {
                return Ok(token);
            }
            if !added.is_empty() {
                found = added.to_vec();
            }
        }
        let texts: Vec<String> = found.iter().map(|&id| format!("{:?}", self.text(id))).collect();
        match &texts[..] {
            [other] => {
                Err(format!("{word:?} is no word of this model, which reads the token {other}"))
            }
            texts => {
                let (count, texts) = (texts.len(), texts.join(", "));
                Err(format!("{word:?} is {count} tokens of this model ({texts})"))
            }
        }
    }

    /// The tokens of `text` by itself.
    fn ids(&self, text: &str) -> Result<Vec<u32>, String> {
        Ok(contain(|| self.tokenizer.encode_fast(text, false))?.get_ids().to_vec())
    }

    /// What `token` stands for.
    fn text(&self, token: u32) -> String {
        contain(|| self.tokenizer.decode(&[token], false)).unwrap_or_default()
    }

    /// Token ids are below this.
    pub(crate) fn vocabulary(&self) -> usize {
        self.tokenizer.get_vocab(true).into_values().max().map_or(0, |id| id as usize + 1)
    }

    /// The id of `token`.
    pub(crate) fn id(&self, token: &str) -> Option<u32> {
        self.tokenizer.token_to_id(token)
    }

    fn special_tokens(&self, pair: bool) -> usize {
        self.tokenizer.get_post_processor().map_or(0, |processor| processor.added_tokens(pair))
    }

    fn error(&self, problem: String) -> BundleError {
        BundleError::Tokenizer { path: self.path.clone(), problem }
    }
}

/// The token for all that the vocabulary of `tokenizer`, which was read from `json`, lacks.
fn unknown(tokenizer: &Tokenizer, json: &[u8]) -> tokenizers::Result<Option<u32>> {
    /// What unigrams keep to themselves.
    #[derive(Deserialize)]
    struct File {
        model: Numbered,
    }
    #[derive(Deserialize)]
    struct Numbered {
        unk_id: Option<u32>,
    }

    let token = match tokenizer.get_model() {
        ModelWrapper::BPE(model) => model.unk_token.as_ref(),
        ModelWrapper::WordPiece(model) => Some(&model.unk_token),
        ModelWrapper::WordLevel(model) => Some(&model.unk_token),
        ModelWrapper::Unigram(_) => {
            return Ok(serde_json::from_slice::<File>(json)?.model.unk_id);
        }
    };
    Ok(token.and_then(|token| tokenizer.token_to_id(token)))
}

/// Whether `text`, which a token stands for, is `word`. A space before it is lost where a text starts with
/// the token, and is no part of it where words are cut at white space.
fn same_word(text: &str, word: &str) -> bool {
    text.trim_start_matches(' ') == word.trim_start_matches(' ')
}

/// Runs `work` of the tokenizers crate, which panics on some damaged files. It only reads the
/// tokenizer, so there is nothing that a panic could leave half done.
fn contain<T>(work: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("the file contradicts itself".to_owned()),
    }
}
