//! What the backbone computes, in which order, and what it refuses.
#![expect(clippy::unwrap_used, reason = "what fails to set a test up fails the test")]

mod agreement;
mod config;
mod golden;
mod laws;
mod setup;
mod streaming;
