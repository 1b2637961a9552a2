//! The whole walk with a fake backbone: no native library, no download.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod additive;
mod answers;
mod bad_input;
mod cached;
mod capture;
mod every_variant;
mod misfit;
mod mistakes;
mod plugins;
mod prompt;
mod refused;
mod resume;
mod setup;
mod tap_wire;
mod whole;
