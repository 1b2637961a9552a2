//! GGUF files: what becomes of models, blocks and tokenizers, and what is refused.
#![expect(clippy::unwrap_used, reason = "what fails to set a test up fails the test")]

mod bad_input;
mod blocks;
mod models;
mod same_bundle;
mod tokenizer;
