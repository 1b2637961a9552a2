//! The whole walk with a fake backbone: no native library, no download.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bad_input;
mod capture;
mod resume;
mod setup;
mod whole;
