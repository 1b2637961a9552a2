//! A row's texts to the tokens that the backbone takes: as they are, or in the task's prompt.

use mobillm_bundle::{Bundle, BundleError, BundleTokenizer, Encoded};
use mobillm_task::TaskConfig;
use mobillm_task::prompt::Template;

use crate::error::RunError;

/// The model's tokenizer and the task's prompt.
#[derive(Debug, Clone)]
pub struct RowTokenizer {
    tokenizer: BundleTokenizer,
    template: Option<Template>,
}

impl RowTokenizer {
    /// For rows of `task`, a sample of which has at most `max_tokens` tokens, or as many as the model
    /// takes.
    ///
    /// # Errors
    /// If the tokenizer's file or the template cannot be used, or `max_tokens` leaves no room for text.
    pub fn new(
        bundle: &Bundle,
        task: &TaskConfig,
        max_tokens: Option<usize>,
    ) -> Result<Self, RunError> {
        let template = task.prompt.as_ref().map(|prompt| prompt.template());
        let template = template.transpose().map_err(RunError::Template)?;
        Ok(Self { tokenizer: bundle.tokenizer(max_tokens)?, template })
    }

    /// The tokens of `text`, or of `text` and `pair`. What is too long is cut in the texts, not in the
    /// template around them.
    ///
    /// # Errors
    /// If the tokenizer has no token for a part of the text, or the template leaves no room for any of it.
    pub fn encode(&self, text: &str, pair: Option<&str>) -> Result<Encoded, BundleError> {
        match &self.template {
            None => self.tokenizer.encode(text, pair),
            Some(template) => {
                let prompt = template.fill(text, pair);
                self.tokenizer.encode_prompt(&prompt.text, &prompt.inserted)
            }
        }
    }
}
