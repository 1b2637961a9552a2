//! The command as people use it: the real binary, real ONNX Runtime, a tiny model with random
//! weights. ONNX Runtime comes from the user's cache, where `mobillm pull onnxruntime` puts it.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod begin;
mod bundles;
mod cached;
mod compare;
mod data;
mod disk;
mod guides;
mod laws;
#[cfg(feature = "libtorch")]
mod libtorch;
mod look;
mod misfits;
mod pae;
mod plugins;
mod processes;
mod pull;
mod run;
mod setup;
mod shell;
mod signals;
mod store;
mod streams;
mod templates;
mod r#use;
