//! The laws of stored matrices and of the files that hold them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod blocks;
mod encoding;
mod file;
mod header;
mod setup;
mod source;
