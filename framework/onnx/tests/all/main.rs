//! Graphs of others: how they are read, searched and rewritten, and what is refused.
#![expect(clippy::unwrap_used, reason = "what fails to set a test up fails the test")]

mod builder;
mod mutations;
mod rewrite;
mod stream;
mod wire;
