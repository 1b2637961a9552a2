//! What the backbone computes and what it refuses.
#![expect(clippy::unwrap_used, reason = "what fails to set a test up fails the test")]

mod config;
mod decoder;
mod foreign;
mod golden;
mod golden_smollm2;
mod head;
mod laws;
mod setup;
mod streaming;
