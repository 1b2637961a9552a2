//! The library that a config loads: what it computes, its laws, the program that loads it, and the docs that have its
//! options. Not of a program with libtorch linked in (its feature `libtorch`), which has the tag already.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod docs;
mod equal;
mod laws;
mod program;

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::path::PathBuf;

use mobillm_core::side_network::SideNetworkConfig;
use mobillm_plugin::Library;
use serde_json::{Value, json};

/// The library, which cargo built beside its tests.
fn path() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    program.with_file_name(format!("{DLL_PREFIX}mobillm_adapter_libtorch{DLL_SUFFIX}"))
}

fn library() -> &'static Library {
    // SAFETY: it is this crate.
    unsafe { Library::load(&path()) }.unwrap()
}

/// The table of its component with these options, as serde reads it.
fn table(options: Value) -> Value {
    json!({ "type": "loaded", "tag": "libtorch", "options": options })
}

fn loaded(options: Value) -> Box<dyn SideNetworkConfig> {
    library();
    serde_json::from_value(table(options)).unwrap()
}
