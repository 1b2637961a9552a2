//! Text to tokens, as the model's own `tokenizer.json` says.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use mobillm_core::backbone::Tokens;
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

/// A bundle's tokenizer with its limit.
#[derive(Debug, Clone)]
pub struct BundleTokenizer {
    tokenizer: Tokenizer,
    max_tokens: usize,
    path: PathBuf,
}

impl BundleTokenizer {
    pub(crate) fn open(path: &Path, max_tokens: usize) -> Result<Self, BundleError> {
        let path = path.to_owned();
        let text =
            fs::read(&path).map_err(|source| BundleError::Read { path: path.clone(), source })?;
        let parsed = contain(|| {
            let mut tokenizer = Tokenizer::from_bytes(text)?;
            // The file's own padding and truncation are those of whoever saved it last. Batches
            // are padded by core, and texts are cut here, where the cut is counted.
            tokenizer.with_padding(None).with_truncation(None)?;
            Ok(tokenizer)
        });
        let tokenizer = parsed.map_err(|problem| BundleError::Tokenizer {
            path: path.clone(),
            problem: format!("{problem}; expected a tokenizer.json of Hugging Face tokenizers"),
        })?;
        let this = Self { tokenizer, max_tokens, path };
        let special = this.special_tokens(true);
        if max_tokens <= special {
            return Err(this.error(format!(
                "max_tokens is {max_tokens}, but a pair has {special} special tokens; \
                 expected at least {}",
                special + 1
            )));
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

/// Runs `work` of the tokenizers crate, which panics on some damaged files. It only reads the
/// tokenizer, so there is nothing that a panic could leave half done.
fn contain<T>(work: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("the file contradicts itself".to_owned()),
    }
}
